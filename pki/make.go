package pki

import (
	"crypto"
	"time"

	"godwit/ident"
)

// An Issuer is a certificate with its key that may issue others: a CI or an
// EUM.
type Issuer struct {
	*Credential
	// CRLPoints, if any, are written into the certificates that are issued.
	CRLPoints []string
}

// A Request says what certificate is wanted. Only Role is always needed; what
// else a role needs is said at the field.
type Request struct {
	Role      Role
	Subject   Subject
	OID       ident.OID     // registered ID: servers, CI, EUM
	Hosts     []string      // DNS names and IP addresses: TLS roles, eIM
	EID       ident.EID     // eUICC
	EIDPrefix string        // EUM: the leading digits of the EIDs that it may use
	NotBefore time.Time     // required
	NotAfter  time.Time     // zero for the usual lifetime of the role
	Key       crypto.Signer // nil for a new key on the issuer's curve
	CRLPoints []string      // instead of the issuer's
}

// A Subject is the name of a certificate's owner. Empty fields are left out;
// where the role prescribes a value, it is set.
type Subject struct {
	Country, Organization, OrganizationalUnit, CommonName string
}

// NewTestCI makes a private test CI in the shape of SGP.26. Nothing that it
// issues is trusted by anybody but those who are given its certificate.
func NewTestCI(curve Curve, req Request) (*Issuer, error) { return nil, nil }

// NewIssuer returns an issuer of an existing CI or EUM.
func NewIssuer(c *Credential) (*Issuer, error) { return nil, nil }

// Issue makes one certificate. For an EUM, use [Issuer.IssueEUM].
func (i *Issuer) Issue(req Request) (*Credential, error) { return nil, nil }

// IssueEUM makes the certificate of an eUICC manufacturer, who can issue eUICC certificates.
func (i *Issuer) IssueEUM(req Request) (*Issuer, error) { return nil, nil }

// IssueIdentity makes all certificates of one server: DPauth, DPpb and TLS with the same
// registered ID, for the given hosts.
func (i *Issuer) IssueIdentity(name string, oid ident.OID, hosts []string, notBefore time.Time) (*Identity, error) {
	return nil, nil
}
