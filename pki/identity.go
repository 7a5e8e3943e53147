package pki

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"godwit/ident"
)

// ErrKeyMismatch reports a private key that is not the certificate's.
var ErrKeyMismatch = errors.New("the private key does not belong to the certificate")

// A Credential is a certificate with the private key of its subject.
type Credential struct {
	Certificate *Certificate
	Key         crypto.Signer
}

// NewCredential checks that a key is the certificate's.
func NewCredential(c *Certificate, key crypto.Signer) (*Credential, error) {
	public, err := PublicKeyOf(key)
	if err != nil {
		return nil, err
	}
	if !public.Equal(c.PublicKey) {
		return nil, fmt.Errorf("%w of %s", ErrKeyMismatch, c.Subject)
	}
	return &Credential{Certificate: c, Key: key}, nil
}

// ParseCredential reads a certificate and its key, each in PEM or DER, and
// checks that they belong together. Of several certificates the first counts.
func ParseCredential(certificate, key []byte) (*Credential, error) {
	list, err := ParseCertificates(certificate)
	if err != nil {
		return nil, err
	}
	signer, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	return NewCredential(list[0], signer)
}

// Sign signs the SHA-256 of msg and returns the raw signature, 64 octets.
func (c *Credential) Sign(msg []byte) ([]byte, error) { return Sign(c.Key, msg) }

// An Identity is what one CI gives a server: the certificates of its roles with
// their keys. A server has one for each CI whose eUICCs it serves.
type Identity struct {
	CI   *Certificate
	Auth *Credential // DPauth
	PB   *Credential // DPpb
	TLS  *Credential // SM-DP+ TLS; nil where something else ends the TLS connections
	// An SM-DS of the same CI; nil where there is none.
	DSAuth *Credential
	DSTLS  *Credential
}

// Verify checks that the identity is whole and of one piece: every certificate
// comes from the CI and has its role, every key is its certificate's, and all
// certificates of the SM-DP+ name the same registered ID. A zero time leaves the
// dates unchecked. The error says which certificate is at fault.
func (i *Identity) Verify(now time.Time) error {
	if i.CI == nil {
		return problem(CI, CheckParse, "the identity has no CI certificate")
	}
	if err := checkRoot(i.CI); err != nil {
		return err
	}
	if p := checkValidity(CI, i.CI, now); p != nil {
		return p
	}
	for _, part := range []struct {
		role       Role
		credential *Credential
		needed     bool
	}{
		{DPAuth, i.Auth, true},
		{DPPB, i.PB, true},
		{DPTLS, i.TLS, false},
		{DSAuth, i.DSAuth, false},
		{DSTLS, i.DSTLS, false},
	} {
		if part.credential == nil {
			if part.needed {
				return problem(part.role, CheckParse, "the identity of CI %q lacks it", i.CI.Subject)
			}
			continue
		}
		if _, err := NewCredential(part.credential.Certificate, part.credential.Key); err != nil {
			return fmt.Errorf("%s: %w", part.role, err)
		}
		if p := checkIssued(part.role, part.credential.Certificate, i.CI, now); p != nil {
			return p
		}
	}
	return i.verifyOID()
}

// verifyOID: an eUICC refuses a DPpb certificate whose registered ID is not
// DPauth's, and an LPA compares the one of TLS with both. SGP.22, 4.5.2.1.
func (i *Identity) verifyOID() error {
	oid := i.OID()
	if oid == "" {
		return problem(DPAuth, CheckName, "it has no registered ID")
	}
	if other := i.PB.Certificate.RegisteredID; other != oid {
		return problem(DPPB, CheckName, "its registered ID is %q, that of DPauth %q", other, oid)
	}
	if i.TLS != nil {
		if other := i.TLS.Certificate.RegisteredID; other != "" && other != oid {
			return problem(DPTLS, CheckName, "its registered ID is %q, that of DPauth %q", other, oid)
		}
	}
	return nil
}

// ID returns the subject key identifier of the CI.
func (i *Identity) ID() []byte { return i.CI.SubjectKeyID }

// OID returns the registered ID of the SM-DP+.
func (i *Identity) OID() ident.OID { return i.Auth.Certificate.RegisteredID }

// Curve returns the curve of the key agreement: that of DPpb.
func (i *Identity) Curve() Curve { return i.PB.Certificate.PublicKey.Curve() }
