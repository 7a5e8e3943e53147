package pki

import (
	"crypto"
	"time"

	"godwit/ident"
)

// A Credential is a certificate with the private key of its subject.
type Credential struct {
	Certificate *Certificate
	Key         crypto.Signer
}

// ParseCredential reads a certificate and its key, each in PEM or DER, and checks that
// they belong together.
func ParseCredential(certificate, key []byte) (*Credential, error) { return nil, nil }

// Sign signs the SHA-256 of msg and returns the raw signature, 64 octets.
func (c *Credential) Sign(msg []byte) ([]byte, error) { return Sign(c.Key, msg) }

// An Identity is what one CI gives a server: the certificates of its roles, with
// their keys. A server has one for each CI that it serves eUICCs of.
type Identity struct {
	CI   *Certificate
	Auth *Credential // DPauth
	PB   *Credential // DPpb
	TLS  *Credential // SM-DP+ TLS
	// An SM-DS of the same CI; nil where there is none.
	DSAuth *Credential
	DSTLS  *Credential
}

// Verify checks that the identity is whole and of one piece: every certificate comes from the CI and
// has its role, every key is its certificate's, and all name the same server.
// With a zero time, dates are not checked.
func (i *Identity) Verify(now time.Time) error { return nil }

// ID returns the subject key identifier of the CI.
func (i *Identity) ID() []byte { return i.CI.SubjectKeyID }

// OID returns the registered ID of the SM-DP+.
func (i *Identity) OID() ident.OID { return i.Auth.Certificate.RegisteredID }

// Curve returns the curve of the key agreement: that of DPpb.
func (i *Identity) Curve() Curve { return i.PB.Certificate.PublicKey.Curve() }
