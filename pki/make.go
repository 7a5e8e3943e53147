package pki

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
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

// A Request says what certificate is wanted. Role and NotBefore are always
// needed; what else a role needs is said at the field.
type Request struct {
	Role      Role
	Subject   Subject
	OID       ident.OID     // registered ID: servers, EUM, CI
	Hosts     []string      // DNS names and IP addresses: TLS roles, eIM
	EID       ident.EID     // eUICC
	EIDPrefix string        // EUM: the leading digits of the EIDs that it may certify
	NotBefore time.Time     // without a fraction of a second on the wire
	NotAfter  time.Time     // zero for the usual lifetime of the role
	Key       crypto.Signer // nil for a new key on the issuer's curve
	CRLPoints []string      // instead of the issuer's
}

// A Subject is the name of a certificate's owner. Empty fields are left out.
// The organisation and country of an eUICC are its manufacturer's, whatever is
// asked for.
type Subject struct {
	Country, Organization, OrganizationalUnit, CommonName string
}

// ErrRequest reports a request that lacks something or does not fit its issuer.
var ErrRequest = errors.New("cannot issue certificate")

// Never is the end of a certificate that is to have none. RFC 5280, 4.1.2.5.
var Never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// Usual lifetimes, in years; those of SGP.26 except for TLS, which lasts half a
// year there and would make every test bench fail twice a year.
var lifetimes = map[Role]int{
	CI: 35, EUM: 34, DPAuth: 10, DPPB: 10, DSAuth: 10, EIM: 10, DPTLS: 3, DSTLS: 3, Operator: 3,
}

// NewTestCI makes a private test CI in the shape of SGP.26. Nothing that it
// issues is trusted by anybody but those who were given its certificate. Of the
// request it takes subject, registered ID, dates, key and CRL points.
func NewTestCI(curve Curve, req Request) (*Issuer, error) {
	req.Role = CI
	if req.Key == nil {
		key, err := GenerateKey(curve)
		if err != nil {
			return nil, err
		}
		req.Key = key
	}
	if req.Subject == (Subject{}) {
		req.Subject = Subject{CommonName: "Godwit Test CI", OrganizationalUnit: "TESTCERT", Organization: "RSPTEST", Country: "IT"}
	}
	if req.OID == "" {
		req.OID = "2.999.1"
	}
	c, err := issue(req, nil)
	if err != nil {
		return nil, err
	}
	return NewIssuer(c, req.CRLPoints...)
}

// NewIssuer returns an issuer of an existing CI or EUM.
func NewIssuer(c *Credential, crlPoints ...string) (*Issuer, error) {
	if !c.Certificate.IsCA || c.Certificate.KeyUsage&UsageCertSign == 0 {
		return nil, fmt.Errorf("%w: %s may not sign certificates", ErrRequest, c.Certificate.Subject)
	}
	if _, err := NewCredential(c.Certificate, c.Key); err != nil {
		return nil, err
	}
	return &Issuer{Credential: c, CRLPoints: crlPoints}, nil
}

// Issue makes one certificate.
func (i *Issuer) Issue(req Request) (*Credential, error) {
	if (req.Role == EUICC) != (i.Certificate.Role() == EUM) {
		return nil, fmt.Errorf("%w: an EUM issues eUICC certificates and a CI all others", ErrRequest)
	}
	if req.Key == nil {
		key, err := GenerateKey(i.Certificate.PublicKey.Curve())
		if err != nil {
			return nil, err
		}
		req.Key = key
	}
	if req.CRLPoints == nil && req.Role != EUICC {
		req.CRLPoints = i.CRLPoints
	}
	return issue(req, i)
}

// IssueEUM makes the certificate of an eUICC manufacturer, who can issue eUICC
// certificates in turn.
func (i *Issuer) IssueEUM(req Request) (*Issuer, error) {
	req.Role = EUM
	c, err := i.Issue(req)
	if err != nil {
		return nil, err
	}
	return NewIssuer(c)
}

// IssueIdentity makes all certificates of one SM-DP+: DPauth, DPpb and TLS with
// the same registered ID, the last for the given hosts. Without hosts there is
// no TLS certificate.
func (i *Issuer) IssueIdentity(subject Subject, oid ident.OID, hosts []string, notBefore time.Time) (*Identity, error) {
	id := &Identity{CI: i.Certificate}
	for _, part := range []struct {
		role Role
		into **Credential
	}{{DPAuth, &id.Auth}, {DPPB, &id.PB}, {DPTLS, &id.TLS}} {
		req := Request{Role: part.role, Subject: subject, OID: oid, NotBefore: notBefore}
		if part.role == DPTLS {
			if len(hosts) == 0 {
				continue
			}
			req.Hosts = hosts
			req.Subject.CommonName = hosts[0]
		}
		c, err := i.Issue(req)
		if err != nil {
			return nil, err
		}
		*part.into = c
	}
	return id, id.Verify(notBefore)
}

// check says what a request lacks.
func (r *Request) check(issuer *Issuer) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w for %s: %s", ErrRequest, r.Role, fmt.Sprintf(format, args...))
	}
	if r.Role == 0 || int(r.Role) >= len(roles) {
		return fail("there is no such role")
	}
	if r.NotBefore.IsZero() {
		return fail("the beginning of its validity is missing")
	}
	if r.Role != EUICC && r.Subject.CommonName == "" && r.Subject.Organization == "" {
		return fail("the subject has neither common name nor organisation")
	}
	if c := r.Subject.Country; c != "" && (len(c) != 2 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return fail("a country is two capital letters, not %q", c)
	}
	switch r.Role {
	case DPAuth, DPPB, DSAuth:
		if r.OID == "" {
			return fail("the server's registered ID is missing")
		}
	case DPTLS, DSTLS:
		if len(r.Hosts) == 0 {
			return fail("it needs at least one DNS name or IP address")
		}
	case EUM:
		if r.Subject.Organization == "" {
			return fail("the organisation is missing, by which its eUICCs are known")
		}
		if len(r.EIDPrefix) < 2 || len(r.EIDPrefix) > 30 || !strings.HasPrefix(r.EIDPrefix, "89") || strings.Trim(r.EIDPrefix, "0123456789") != "" {
			return fail("the EIDs that it may certify begin with 8 digits such as 89049032, not with %q", r.EIDPrefix)
		}
	case EUICC:
		if err := ident.EIDForm(string(r.EID)); err != nil {
			return fail("%v", err)
		}
		if !strings.HasPrefix(string(r.EID), issuer.eidPrefix()) {
			return fail("EID %s does not begin with %s, which is all that %s may certify", r.EID, issuer.eidPrefix(), issuer.Certificate.Subject)
		}
	}
	for _, host := range r.Hosts {
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		if !hostname(host) {
			return fail("%q is neither a DNS name nor an IP address; give it without scheme and port", host)
		}
	}
	return nil
}

func hostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// eidPrefix returns the leading digits of the EIDs that an EUM may certify.
func (i *Issuer) eidPrefix() string {
	for _, n := range i.Certificate.PermittedNames {
		if n.SerialNumber != "" {
			return n.SerialNumber
		}
	}
	return ""
}

// issue writes a certificate and signs it; the subject signs itself when there
// is no issuer. What was written is read back, so that nothing leaves this
// package that the package would refuse.
func issue(req Request, issuer *Issuer) (*Credential, error) {
	if err := req.check(issuer); err != nil {
		return nil, err
	}
	req.NotBefore = req.NotBefore.UTC().Truncate(time.Second)
	if req.NotAfter.IsZero() {
		req.NotAfter = Never
		if years, ok := lifetimes[req.Role]; ok {
			req.NotAfter = req.NotBefore.AddDate(years, 0, 0)
		}
	}
	req.NotAfter = req.NotAfter.UTC().Truncate(time.Second)
	public, err := PublicKeyOf(req.Key)
	if err != nil {
		return nil, err
	}
	signer := req.Key
	if issuer != nil {
		signer = issuer.Key
	}
	der, err := seal(appendTBS(nil, req, public, issuer), signer)
	if err != nil {
		return nil, err
	}
	c, err := ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read what was issued: %w", err)
	}
	above := c
	if issuer != nil {
		above = issuer.Certificate
	}
	if p := checkIssuedAs(req.Role, c, above); p != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, p)
	}
	return NewCredential(c, req.Key)
}

func checkIssuedAs(role Role, c, issuer *Certificate) *Problem {
	if role == CI {
		p, _ := AsProblem(checkRoot(c))
		return p
	}
	return checkIssued(role, c, issuer, c.NotBefore)
}

// newSerial returns the content octets of a random positive serial number. It
// has 127 random bits, so that no issuer needs to keep a list.
func newSerial() []byte {
	serial := make([]byte, 16)
	rand.Read(serial)                 // never fails: crypto/rand ends the program first
	serial[0] = serial[0]&0x7F | 0x40 // positive, and always 16 octets in DER
	return serial
}
