package pki

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"godwit/ident"
)

// ErrCertificate reports octets that are no certificate of the GSMA profile.
var ErrCertificate = errors.New("not a certificate of SGP.22")

// MaxCertificate bounds the octets of one certificate. Those of SGP.26 have
// about 600.
const MaxCertificate = 16 << 10

// KeyUsage is the set of key usages, bit n of the extension as bit n of the
// number. RFC 5280, 4.2.1.3.
type KeyUsage uint16

// The usages that the roles need.
const (
	UsageDigitalSignature KeyUsage = 1 << 0
	UsageCertSign         KeyUsage = 1 << 5
	UsageCRLSign          KeyUsage = 1 << 6
)

// Extended key usages, in dotted form.
const (
	ServerAuth ident.OID = "1.3.6.1.5.5.7.3.1"
	ClientAuth ident.OID = "1.3.6.1.5.5.7.3.2"
)

// A Name is a distinguished name. Raw is compared, the rest is read.
type Name struct {
	Raw                []byte
	Country            string
	Organization       string
	OrganizationalUnit string
	CommonName         string
	SerialNumber       string // the EID in an eUICC certificate
}

func (n Name) String() string {
	var parts []string
	for _, p := range []struct{ key, value string }{
		{"C", n.Country},
		{"O", n.Organization},
		{"OU", n.OrganizationalUnit},
		{"serialNumber", n.SerialNumber},
		{"CN", n.CommonName},
	} {
		if p.value != "" {
			parts = append(parts, p.key+"="+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

// A Certificate is an X.509 certificate as the GSMA profile has them, on either
// curve. Its slices share memory with Raw; nobody may change them. That it could
// be read says nothing about who signed it.
type Certificate struct {
	Raw       []byte // the whole certificate, as it arrived
	TBS       []byte // the part that is signed
	Signature []byte // r | s, 64 octets
	PublicKey *PublicKey

	Serial    []byte // content octets of the serial number
	Issuer    Name
	Subject   Name
	NotBefore time.Time
	NotAfter  time.Time

	SubjectKeyID   []byte
	AuthorityKeyID []byte
	KeyUsage       KeyUsage // 0 when there is no such extension
	ExtKeyUsage    []ident.OID
	Policies       []ident.OID
	IsCA           bool
	MaxPathLength  int // -1 when not limited

	DNSNames       []string
	IPAddresses    []netip.Addr
	RegisteredID   ident.OID // of the server in SAN, "" when there is none
	PermittedNames []Name    // permitted directory names of the name constraints
	CRLPoints      []string

	// UnknownCritical are critical extensions that this program does not know.
	// A chain with one is refused.
	UnknownCritical []ident.OID

	constrained bool // name constraints are present
}

// ParseCertificate reads one certificate in DER.
func ParseCertificate(der []byte) (*Certificate, error) { return parseCertificate(der) }

// ParseCertificates reads certificates in PEM, in their order, or one in DER.
func ParseCertificates(b []byte) ([]*Certificate, error) {
	if !bytes.Contains(b, []byte("-----BEGIN")) {
		c, err := ParseCertificate(b)
		if err != nil {
			return nil, err
		}
		return []*Certificate{c}, nil
	}
	var out []*Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: the PEM text holds no CERTIFICATE block", ErrCertificate)
	}
	return out, nil
}

// PEM returns the certificate as PEM text.
func (c *Certificate) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// EID returns the EID that the subject's serial number holds, or an error for
// anything but an eUICC certificate. Its check digits are not judged: the
// signature of the EUM vouches for the number.
func (c *Certificate) EID() (ident.EID, error) {
	if err := ident.EIDForm(c.Subject.SerialNumber); err != nil {
		return "", fmt.Errorf("subject serial number of %s: %w", c.Subject, err)
	}
	return ident.EID(c.Subject.SerialNumber), nil
}

// Role returns the role that the certificate's policy names, or 0. SGP.26
// writes one policy in each certificate.
func (c *Certificate) Role() Role {
	for role := range roles {
		if policy := roles[role].policy; policy != "" && c.hasPolicy(policy) {
			return Role(role)
		}
	}
	return 0
}

func (c *Certificate) hasPolicy(policy string) bool {
	for _, p := range c.Policies {
		if string(p) == policy {
			return true
		}
	}
	return false
}

// SelfSigned reports whether the certificate is its own issuer and has signed
// itself.
func (c *Certificate) SelfSigned() bool {
	return bytes.Equal(c.Issuer.Raw, c.Subject.Raw) && c.PublicKey.Verify(c.TBS, c.Signature)
}
