package smdp

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"godwit/pki"
	"godwit/rsp"
)

// Trust is what one listener stands for: the CIs whose eUICCs it serves, with
// this server's certificates under each. Test and production trust never share a
// listener, and a transaction begun at one cannot go on at another that does
// not trust the same CIs.
type Trust struct {
	Identities []*pki.Identity
	// Address is the one of the server's addresses at which this listener is
	// reached: eUICCs that load a profile here are told to report to it, since
	// another port may not show a certificate that they trust. "" is the first.
	Address string
	// Roots are the CIs with what they have revoked and the names that they had
	// before; nil for the CIs of Identities as they stand there.
	Roots *pki.Roots
	// Operators are the authorities that may vouch for operators' client
	// certificates by name; nil where certificates are known by their key only.
	Operators *x509.CertPool
}

// A Listener is the SM-DP+ with one [Trust].
type Listener struct {
	*Server
	trust Trust
	roots *pki.Roots
	pairs map[[3]byte]*pair
}

// A pair is one choice that initiateAuthentication can make: the CI under which
// the eUICC signs, and the identity with which we do.
type pair struct {
	euicc    []byte // subject key identifier
	identity *pki.Identity
	tag      [3]byte
}

// Listen returns the server with the trust of one listener.
func (s *Server) Listen(t Trust) (*Listener, error) {
	if len(t.Identities) == 0 {
		return nil, errors.New("smdp: a listener needs the certificates of at least one CI")
	}
	l := &Listener{Server: s, trust: t, pairs: map[[3]byte]*pair{}}
	var err error
	if l.roots = t.Roots; l.roots == nil {
		if l.roots, err = pki.NewRoots(); err != nil {
			return nil, err
		}
	}
	for _, i := range t.Identities {
		if err := i.Verify(s.cfg.Now()); err != nil {
			return nil, fmt.Errorf("smdp: identity under CI %X: %w", i.ID(), err)
		}
		if l.roots.Lookup(i.ID()) == nil {
			if err := l.roots.Add(i.CI); err != nil {
				return nil, fmt.Errorf("smdp: CI %X: %w", i.ID(), err)
			}
		}
		if err := l.notRevoked(i); err != nil {
			return nil, err
		}
	}
	for _, ci := range l.roots.IDs() {
		for _, i := range t.Identities {
			sum := sha256.Sum256(append(bytes.Clone(ci), i.ID()...))
			p := &pair{euicc: ci, identity: i, tag: [3]byte(sum[:3])}
			if other, taken := l.pairs[p.tag]; taken {
				return nil, fmt.Errorf("smdp: CIs %X and %X cannot share a listener", other.euicc, ci)
			}
			l.pairs[p.tag] = p
		}
	}
	return l, nil
}

// notRevoked refuses to serve with a certificate of our own that its CI has
// revoked: peers with the list would refuse it, and those without must not be
// served.
func (l *Listener) notRevoked(i *pki.Identity) error {
	for _, own := range []struct {
		role       pki.Role
		credential *pki.Credential
	}{{pki.DPAuth, i.Auth}, {pki.DPPB, i.PB}, {pki.DPTLS, i.TLS}} {
		if own.credential == nil {
			continue
		}
		if _, err := l.roots.VerifyServer(own.role, own.credential.Certificate.Raw, i.ID()); err != nil {
			return fmt.Errorf("smdp: this server's own certificate: %w", err)
		}
	}
	return nil
}

// address is where this listener is reached.
func (l *Listener) address() string {
	if l.trust.Address == "" {
		return l.Address()
	}
	return l.trust.Address
}

// choose finds the CIs of a run: the first under which the eUICC signs and that
// we trust, and an identity of ours that it can verify, preferably under the
// same. SGP.22 v2.5, 5.6.1.
func (l *Listener) choose(info *rsp.EUICCInfo1) (*pair, error) {
	var signing []byte
	for _, id := range info.Signing {
		if l.roots.Lookup(id) != nil {
			signing = id
			break
		}
	}
	if signing == nil {
		return nil, rsp.Refuse(rsp.CIUnsupported, "none of the CIs under which the eUICC signs is trusted here: %s", keyList(info.Signing))
	}
	var identity *pki.Identity
	for _, id := range info.Verification {
		i := l.identity(id)
		if i != nil && (identity == nil || bytes.Equal(id, signing)) {
			identity = i
		}
	}
	if identity == nil {
		return nil, rsp.Refuse(rsp.CertificateUnavailable, "this server has no certificate of a CI that the eUICC knows: %s", keyList(info.Verification))
	}
	for _, p := range l.pairs {
		if bytes.Equal(p.euicc, signing) && p.identity == identity {
			return p, nil
		}
	}
	return nil, fmt.Errorf("CI pair %X, %X is not prepared", signing, identity.ID())
}

// identity returns our identity under a CI, or nil.
func (l *Listener) identity(ci []byte) *pki.Identity {
	for _, i := range l.trust.Identities {
		if bytes.Equal(i.ID(), ci) {
			return i
		}
	}
	return nil
}

// identityNamed is identity by the hexadecimal form of the key identifier.
func (l *Listener) identityNamed(ci string) *pki.Identity {
	id, err := hex.DecodeString(ci)
	if err != nil {
		return nil
	}
	return l.identity(id)
}

func keyList(ids [][]byte) string {
	if len(ids) == 0 {
		return "none"
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = fmt.Sprintf("%X", id)
	}
	return strings.Join(names, ", ")
}

// ours reports whether an address that an LPA called is one of this server's.
func (s *Server) ours(address string) bool {
	for _, a := range s.cfg.Addresses {
		if sameHost(a, address) {
			return true
		}
	}
	return false
}

// TLS returns the settings of the listener's TLS. Client certificates are asked
// for, not demanded: LPAs have none, and operators are recognised by theirs at
// the doors that need it.
//
// Keys are exchanged on P-256 or X25519, whichever the client offers. The
// post-quantum hybrid would cost each handshake half as much again (0.72 ms of
// both sides against 0.46), and no chip's side asks for it. HTTP/1.1 alone is
// offered: SGP.22 asks for no more, and it is the cheaper one. TLS with a brainpool
// certificate is not possible with Go's library; a terminating proxy does that.
func (l *Listener) TLS() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:       tls.VersionTLS12,
		CurvePreferences: []tls.CurveID{tls.CurveP256, tls.X25519},
		ClientAuth:       tls.RequestClientCert,
		NextProtos:       []string{"http/1.1"},
	}
	for _, i := range l.trust.Identities {
		if i.TLS == nil || i.TLS.Certificate.PublicKey.Curve() != pki.P256 {
			continue
		}
		config.Certificates = append(config.Certificates, tls.Certificate{
			Certificate: [][]byte{i.TLS.Certificate.Raw},
			PrivateKey:  i.TLS.Key,
		})
	}
	if len(config.Certificates) == 0 {
		return nil, errors.New("smdp: no identity of the listener has a TLS certificate on P-256; put a terminating proxy in front")
	}
	return config, nil
}
