package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"time"

	"godwit/euicc"
	"godwit/pki"
)

// A Factory makes the eUICCs of a lab.
type Factory struct {
	// EUM certifies them. Its CI is one of Roots.
	EUM *pki.Issuer
	// Roots are the CIs by which the chips, and their devices, verify servers.
	Roots []*pki.Certificate

	foreign *pki.Issuer // EUM under a CI that nobody else knows
}

// Prefix begins the EIDs of the chips.
func (f *Factory) prefix() (string, error) {
	for _, permitted := range f.EUM.Certificate.PermittedNames {
		if len(permitted.SerialNumber) >= 8 {
			return permitted.SerialNumber[:8], nil
		}
	}
	return "", errors.New("the EUM's certificate does not say with which 8 digits the EIDs begin that it may certify")
}

// open makes the CI of the devices with [ForeignCI].
func (f *Factory) open(seed uint64, prefix string) error {
	if f.EUM == nil || len(f.Roots) == 0 {
		return errors.New("a lab needs an EUM with its key, and the certificate of its CI")
	}
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	ci, err := pki.NewTestCI(pki.P256, pki.Request{
		NotBefore: start, Subject: pki.Subject{CommonName: "A CI that nobody knows", Organization: "Godwit lab", Country: "XX"},
	})
	if err != nil {
		return fmt.Errorf("make the foreign CI: %w", err)
	}
	f.foreign, err = ci.IssueEUM(pki.Request{
		OID: "2.999.5", EIDPrefix: prefix, NotBefore: start,
		Subject: pki.Subject{CommonName: "Foreign EUM", Organization: "Godwit lab", Country: "XX"},
	})
	if err != nil {
		return fmt.Errorf("make the foreign EUM: %w", err)
	}
	return nil
}

// key returns a key of a device.
func (p *Plan) key(what string) (crypto.Signer, error) {
	for try := range byte(4) { // one in 2^32 is none
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), p.secret(what, try))
		if err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("make the %s of %s", what, p.Name)
}

// tinyMemory holds no profile.
const tinyMemory = 2 << 10

// config is what the chip of a plan leaves the factory with.
func (f *Factory) config(p *Plan, consumer bool) (euicc.Config, error) {
	key, err := p.key("key of the eUICC")
	if err != nil {
		return euicc.Config{}, err
	}
	eum := f.EUM
	if p.Has(ForeignCI) {
		eum = f.foreign
	}
	c, err := eum.Issue(pki.Request{
		Role: pki.EUICC, EID: p.EID, Key: key, NotBefore: time.Now().Add(-time.Hour).Truncate(time.Second),
		Subject: pki.Subject{CommonName: "Godwit lab eUICC"},
	})
	if err != nil {
		return euicc.Config{}, fmt.Errorf("issue the eUICC's certificate of %s: %w", p.Name, err)
	}
	config := euicc.Config{
		EID: p.EID, Roots: f.Roots, Faults: p.chipFaults(), IoT: !consumer,
		Credentials: []euicc.Credential{{EUM: eum.Certificate, EUICC: c.Certificate, Key: c.Key}},
	}
	if p.Has(FullMemory) {
		config.Memory = tinyMemory
	}
	return config, nil
}

// chipFaults is how the chip of the plan misbehaves.
func (p *Plan) chipFaults() (f euicc.Faults) {
	if p.Has(WrongSignature) {
		f.WrongSignature = everySignature
	}
	return f
}

// everySignature is all that a chip signs.
const everySignature euicc.Signed = 0xFF

// A wrongSigner flips one bit of each signature, for agents that sign in place of
// their eUICC.
type wrongSigner struct{ crypto.Signer }

func (w wrongSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	flipped := append([]byte{digest[0] ^ 1}, digest[1:]...)
	return w.Signer.Sign(rand, flipped, opts)
}
