package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/ident"
)

const testEID ident.EID = "89049032123451234512345678901235"

// bench is a private CI with one of everything below it.
type bench struct {
	ci, eum  *Issuer
	euicc    *Credential
	identity *Identity
}

func newBench(t testing.TB, c Curve) bench {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ci, err := NewTestCI(c, Request{NotBefore: at, CRLPoints: []string{"http://ci.example.com/CRL-A.crl"}})
	must(err)
	eum, err := ci.IssueEUM(Request{NotBefore: at, OID: "2.999.5", EIDPrefix: "89049032", Subject: Subject{Country: "ES", Organization: "RSP Test EUM", CommonName: "EUM Test"}})
	must(err)
	euicc, err := eum.Issue(Request{Role: EUICC, EID: testEID, NotBefore: at})
	must(err)
	identity, err := ci.IssueIdentity(Subject{Organization: "ACME", CommonName: "TEST SM-DP+"}, "2.999.10", []string{"rsp.example.com", "127.0.0.1", "::1"}, at)
	must(err)
	return bench{ci: ci, eum: eum, euicc: euicc, identity: identity}
}

func TestMadeChains(t *testing.T) {
	for _, c := range curves {
		t.Run(c.String(), func(t *testing.T) {
			b := newBench(t, c)
			trusted := roots(t, b.ci.Certificate)
			chain, err := trusted.VerifyEUICC(b.eum.Certificate.Raw, b.euicc.Certificate.Raw, b.ci.Certificate.SubjectKeyID, at)
			if err != nil || chain.EID != testEID {
				t.Fatalf("chain %+v, %v", chain, err)
			}
			if got := chain.EUICC.Subject.String(); got != "C=ES, O=RSP Test EUM, serialNumber="+string(testEID)+", CN=Test eUICC" {
				t.Errorf("subject of the eUICC = %s", got)
			}
			if !chain.EUICC.NotAfter.Equal(Never) {
				t.Errorf("the eUICC's certificate ends on %s", chain.EUICC.NotAfter)
			}
			for role, credential := range map[Role]*Credential{DPAuth: b.identity.Auth, DPPB: b.identity.PB} {
				if _, err := trusted.VerifyServer(role, credential.Certificate.Raw, b.ci.Certificate.SubjectKeyID); err != nil {
					t.Error(err)
				}
			}
			for _, host := range []string{"RSP.example.com", "127.0.0.1", "::1"} {
				if _, err := trusted.VerifyTLS(0, b.identity.TLS.Certificate.Raw, host, at); err != nil {
					t.Error(err)
				}
			}
			if got := b.identity.TLS.Certificate.CRLPoints; len(got) != 1 {
				t.Errorf("CRL points %q", got)
			}
			for _, role := range []Role{DSAuth, DSTLS, EIM, Operator} {
				made, err := b.ci.Issue(Request{Role: role, OID: "2.999.20", Hosts: []string{"x.example.com"}, NotBefore: at, Subject: Subject{CommonName: "x.example.com"}})
				if err != nil {
					t.Errorf("%s: %v", role, err)
					continue
				}
				if _, err := trusted.VerifyServer(role, made.Certificate.Raw, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestMadeAgainstStandardLibrary has crypto/x509 read what the maker writes, and
// verify the TLS certificate as an ordinary HTTPS client would.
func TestMadeAgainstStandardLibrary(t *testing.T) {
	b := newBench(t, P256)
	for _, c := range []*Certificate{b.ci.Certificate, b.eum.Certificate, b.euicc.Certificate, b.identity.Auth.Certificate, b.identity.PB.Certificate, b.identity.TLS.Certificate} {
		std, err := x509.ParseCertificate(c.Raw)
		if err != nil {
			t.Errorf("%s: %v", c.Subject, err)
			continue
		}
		compareWithStandard(t, c.Subject.String(), c, std)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.ci.Certificate.PEM())
	operator, err := b.ci.Issue(Request{Role: Operator, NotBefore: at, Subject: Subject{CommonName: "operator.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c       *Certificate
		host    string
		purpose x509.ExtKeyUsage
	}{
		{b.identity.TLS.Certificate, "rsp.example.com", x509.ExtKeyUsageServerAuth},
		{b.identity.TLS.Certificate, "127.0.0.1", x509.ExtKeyUsageServerAuth},
		{b.identity.TLS.Certificate, "", x509.ExtKeyUsageClientAuth},
		{operator.Certificate, "", x509.ExtKeyUsageClientAuth},
	} {
		std, err := x509.ParseCertificate(tt.c.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := std.Verify(x509.VerifyOptions{Roots: pool, DNSName: tt.host, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{tt.purpose}}); err != nil {
			t.Errorf("%s for %q: %v", tt.c.Subject, tt.host, err)
		}
	}
}

// forge signs a certificate that the maker would refuse to issue.
func forge(t *testing.T, issuer *Issuer, req Request, edit func(tbs []byte) []byte) []byte {
	t.Helper()
	key, public := newKey(t, P256)
	if req.NotBefore.IsZero() {
		req.NotBefore = at
	}
	if req.NotAfter.IsZero() {
		req.NotAfter = at.AddDate(10, 0, 0)
	}
	req.Key = key
	tbs := appendTBS(nil, req, public, issuer)
	if edit != nil {
		tbs = edit(tbs)
	}
	der, err := seal(tbs, issuer.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func replace(t *testing.T, from, to string) func([]byte) []byte {
	return func(tbs []byte) []byte {
		if n := bytes.Count(tbs, []byte(from)); n != 1 || len(from) != len(to) {
			t.Fatalf("%x occurs %d times", from, n)
		}
		return bytes.Replace(tbs, []byte(from), []byte(to), 1)
	}
}

// TestEveryCheck breaks one thing at a time in a chain that is otherwise good.
func TestEveryCheck(t *testing.T) {
	b, foreign := newBench(t, P256), newBench(t, P256)
	eumRequest := Request{Role: EUM, EIDPrefix: "89049032", Subject: Subject{Country: "ES", Organization: "RSP Test EUM", CommonName: "EUM Test"}}
	eum := func(edit func(*Request), patch func([]byte) []byte) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			req := eumRequest
			if edit != nil {
				edit(&req)
			}
			return forge(t, b.ci, req, patch)
		}
	}
	euicc := func(edit func(*Request), patch func([]byte) []byte) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			req := Request{Role: EUICC, EID: testEID}
			if edit != nil {
				edit(&req)
			}
			return forge(t, b.eum, req, patch)
		}
	}
	for _, tt := range []struct {
		name       string
		eum, euicc func(*testing.T) []byte
		role       Role
		check      Check
	}{
		{"EUM is no certificate", func(*testing.T) []byte { return []byte("0\x00") }, nil, EUM, CheckParse},
		{"EUM of an unknown CI", func(*testing.T) []byte { return foreign.eum.Certificate.Raw }, nil, EUM, CheckRoot},
		{"EUM with another issuer name", eum(nil, func(tbs []byte) []byte {
			return bytes.Replace(tbs, []byte("Godwit Test CI"), []byte("Redhot Test CI"), 1)
		}), nil, EUM, CheckIssuer},
		{"EUM that names no issuer key", eum(nil, replace(t, "\x06\x03"+extAuthorityKeyID, "\x06\x03\x55\x1D\x7E")), nil, EUM, CheckIssuer},
		{"EUM signed by another CI", func(t *testing.T) []byte {
			thief := &Issuer{Credential: &Credential{Certificate: b.ci.Certificate, Key: foreign.ci.Key}}
			return forge(t, thief, eumRequest, nil)
		}, nil, EUM, CheckSignature},
		{"EUM not yet valid", eum(func(r *Request) { r.NotBefore = at.Add(time.Second) }, nil), nil, EUM, CheckValidity},
		{"EUM no longer valid", eum(func(r *Request) { r.NotBefore, r.NotAfter = at.Add(-2*time.Second), at.Add(-time.Second) }, nil), nil, EUM, CheckValidity},
		{"EUM with an unknown critical extension", eum(nil, replace(t, "\x06\x03"+extNameConstraints, "\x06\x03\x55\x1D\x7E")), nil, EUM, CheckUsage},
		{"EUM that may not sign certificates", eum(nil, replace(t, "\x03\x02\x02\x04", "\x03\x02\x02\x80")), nil, EUM, CheckUsage},
		{"EUM that is no issuer", eum(nil, replace(t, "\x30\x06\x01\x01\xFF\x02\x01\x00", "\x30\x06\x01\x01\x00\x02\x01\x00")), nil, EUM, CheckUsage},
		{"EUM with the policy of a server", eum(nil, replace(t, "\x67\x81\x12\x01\x02\x01\x02", "\x67\x81\x12\x01\x02\x01\x04")), nil, EUM, CheckPolicy},
		{"EUM without name constraints", eum(nil, replace(t, "\x06\x03"+extNameConstraints+"\x01\x01\xFF", "\x06\x03\x55\x1D\x7E\x01\x01\x00")), nil, EUM, CheckNameConstraint},
		{"EUM that may have issuers below it", eum(nil, replace(t, "\x30\x06\x01\x01\xFF\x02\x01\x00", "\x30\x06\x01\x01\xFF\x02\x01\x01")), nil, EUM, CheckPathLength},
		{"eUICC is no certificate", nil, func(*testing.T) []byte { return nil }, EUICC, CheckParse},
		{"eUICC of another EUM", nil, func(*testing.T) []byte { return foreign.euicc.Certificate.Raw }, EUICC, CheckIssuer},
		{"eUICC signed by another EUM", nil, func(t *testing.T) []byte {
			thief := &Issuer{Credential: &Credential{Certificate: b.eum.Certificate, Key: foreign.eum.Key}}
			return forge(t, thief, Request{Role: EUICC, EID: testEID}, nil)
		}, EUICC, CheckSignature},
		{"eUICC no longer valid", nil, euicc(func(r *Request) { r.NotBefore, r.NotAfter = at.Add(-2*time.Second), at.Add(-time.Second) }, nil), EUICC, CheckValidity},
		{"eUICC that may sign certificates only", nil, euicc(nil, replace(t, "\x03\x02\x07\x80", "\x03\x02\x02\x04")), EUICC, CheckUsage},
		{"eUICC with the policy of an EUM", nil, euicc(nil, replace(t, "\x67\x81\x12\x01\x02\x01\x01", "\x67\x81\x12\x01\x02\x01\x02")), EUICC, CheckPolicy},
		{"eUICC of another organisation", nil, euicc(nil, func(tbs []byte) []byte {
			at := bytes.LastIndex(tbs, []byte("RSP Test EUM"))
			copy(tbs[at:], "Big Fish EUM")
			return tbs
		}), EUICC, CheckNameConstraint},
		{"eUICC outside the EIDs of the EUM", nil, euicc(func(r *Request) { r.EID = "89049033123451234512345678901234" }, nil), EUICC, CheckNameConstraint},
		{"eUICC without an EID", nil, euicc(func(r *Request) { r.EID = "" }, nil), EUICC, CheckNameConstraint},
	} {
		t.Run(tt.name, func(t *testing.T) {
			above, leaf := b.eum.Certificate.Raw, b.euicc.Certificate.Raw
			if tt.eum != nil {
				above = tt.eum(t)
			}
			if tt.euicc != nil {
				leaf = tt.euicc(t)
			}
			_, err := roots(t, b.ci.Certificate).VerifyEUICC(above, leaf, nil, at)
			wantProblem(t, err, tt.role, tt.check)
		})
	}
}

func TestTLSChecks(t *testing.T) {
	b := newBench(t, P256)
	trusted := roots(t, b.ci.Certificate)
	_, err := trusted.VerifyTLS(DPTLS, b.identity.Auth.Certificate.Raw, "rsp.example.com", at)
	wantProblem(t, err, DPTLS, CheckUsage)
	_, err = trusted.VerifyTLS(DSTLS, b.identity.TLS.Certificate.Raw, "rsp.example.com", at)
	wantProblem(t, err, DSTLS, CheckPolicy)
	for _, host := range []string{"", "example.com", "x.rsp.example.com", "rsp.example.com.", "127.0.0.2", "*.example.com"} {
		_, err = trusted.VerifyTLS(DPTLS, b.identity.TLS.Certificate.Raw, host, at)
		wantProblem(t, err, DPTLS, CheckName)
	}
}

func TestRevocation(t *testing.T) {
	for _, c := range curves {
		t.Run(c.String(), func(t *testing.T) {
			b, foreign := newBench(t, c), newBench(t, c)
			trusted := roots(t, b.ci.Certificate)
			verify := func() error {
				_, err := trusted.VerifyEUICC(b.eum.Certificate.Raw, b.euicc.Certificate.Raw, nil, at)
				return err
			}
			if err := verify(); err != nil { // now the EUM is in the cache
				t.Fatal(err)
			}
			empty, err := b.ci.IssueCRL(1, nil, at, at.AddDate(0, 1, 0))
			if err != nil {
				t.Fatal(err)
			}
			if l, err := trusted.AddCRL(empty); err != nil || l.Len() != 0 || l.Number != 1 {
				t.Fatalf("empty list: %+v, %v", l, err)
			}
			if err := verify(); err != nil {
				t.Error(err)
			}
			full, err := b.ci.IssueCRL(2, []Revocation{{b.eum.Certificate.Serial, at}, {b.identity.Auth.Certificate.Serial, at}}, at.Add(time.Hour), at.AddDate(0, 1, 0))
			if err != nil {
				t.Fatal(err)
			}
			l, err := trusted.AddCRL(full)
			if err != nil || l.Len() != 2 || !l.NextUpdate.Equal(at.AddDate(0, 1, 0)) {
				t.Fatalf("list: %+v, %v", l, err)
			}
			if e := l.Entries(); len(e) != 2 || !e[0].At.Equal(at) || bytes.Compare(e[0].Serial, e[1].Serial) >= 0 {
				t.Errorf("entries %v", e)
			}
			wantProblem(t, verify(), EUM, CheckRevocation)
			_, err = trusted.VerifyServer(DPAuth, b.identity.Auth.Certificate.Raw, nil)
			wantProblem(t, err, DPAuth, CheckRevocation)
			if _, err := trusted.VerifyServer(DPPB, b.identity.PB.Certificate.Raw, nil); err != nil {
				t.Error(err)
			}
			_, err = trusted.AddCRL(empty)
			wantProblem(t, err, CI, CheckValidity)
			stranger, err := foreign.ci.IssueCRL(3, nil, at.AddDate(1, 0, 0), at.AddDate(2, 0, 0))
			if err != nil {
				t.Fatal(err)
			}
			_, err = trusted.AddCRL(stranger)
			wantProblem(t, err, CI, CheckSignature)
			damaged := bytes.Clone(full)
			damaged[len(damaged)/2] ^= 1
			if _, err := trusted.AddCRL(damaged); err == nil {
				t.Error("damaged list taken")
			}
			if c == P256 {
				std, err := x509.ParseRevocationList(full)
				if err != nil || len(std.RevokedCertificateEntries) != 2 || std.Number.Int64() != 2 {
					t.Errorf("crypto/x509 reads %+v, %v", std, err)
				}
			}
		})
	}
}

// TestCacheIsBounded shows many good manufacturers to one set of roots.
func TestCacheIsBounded(t *testing.T) {
	b := newBench(t, P256)
	trusted := roots(t, b.ci.Certificate)
	key, _ := newKey(t, P256)
	for i := range maxEUMs + 20 {
		eum, err := b.ci.IssueEUM(Request{NotBefore: at, EIDPrefix: "89049032", Key: key, Subject: Subject{Organization: fmt.Sprintf("EUM %d", i)}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = trusted.VerifyEUICC(eum.Certificate.Raw, b.euicc.Certificate.Raw, nil, at)
		wantProblem(t, err, EUICC, CheckIssuer)
	}
	if n := len(trusted.eums.verified); n != maxEUMs {
		t.Errorf("%d certificates remembered, want %d", n, maxEUMs)
	}
}

func TestRequestsRefused(t *testing.T) {
	b := newBench(t, P256)
	subject := Subject{Organization: "ACME", CommonName: "x"}
	for _, tt := range []struct {
		name   string
		issuer *Issuer
		req    Request
		says   string
	}{
		{"no role", b.ci, Request{NotBefore: at, Subject: subject}, "no such role"},
		{"no date", b.ci, Request{Role: DPAuth, OID: "2.999.10", Subject: subject}, "beginning of its validity"},
		{"no name", b.ci, Request{Role: DPAuth, OID: "2.999.10", NotBefore: at}, "neither common name"},
		{"country in words", b.ci, Request{Role: DPAuth, OID: "2.999.10", NotBefore: at, Subject: Subject{Country: "Spain", CommonName: "x"}}, "two capital letters"},
		{"no OID", b.ci, Request{Role: DPAuth, NotBefore: at, Subject: subject}, "registered ID"},
		{"no host", b.ci, Request{Role: DPTLS, NotBefore: at, Subject: subject}, "DNS name"},
		{"URL as host", b.ci, Request{Role: DPTLS, Hosts: []string{"https://x"}, NotBefore: at, Subject: subject}, "without scheme"},
		{"host with port", b.ci, Request{Role: DPTLS, Hosts: []string{"x.example.com:443"}, NotBefore: at, Subject: subject}, "without scheme and port"},
		{"eUICC by a CI", b.ci, Request{Role: EUICC, EID: testEID, NotBefore: at}, "EUM issues"},
		{"server by an EUM", b.eum, Request{Role: DPAuth, OID: "2.999.10", NotBefore: at, Subject: subject}, "EUM issues"},
		{"EID of another EUM", b.eum, Request{Role: EUICC, EID: "89049033123451234512345678901234", NotBefore: at}, "may certify"},
		{"EID of 31 digits", b.eum, Request{Role: EUICC, EID: testEID[1:], NotBefore: at}, "32 decimal digits"},
		{"EUM without EIDs", b.ci, Request{Role: EUM, NotBefore: at, Subject: subject}, "8 digits"},
		{"ends before it begins", b.ci, Request{Role: DPAuth, OID: "2.999.10", NotBefore: at, NotAfter: at.Add(-time.Hour), Subject: subject}, "validity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tt.issuer.Issue(tt.req)
			if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, error = %v, want one that says %q", c, err, tt.says)
			}
		})
	}
	if _, err := NewIssuer(b.identity.Auth); !errors.Is(err, ErrRequest) {
		t.Errorf("a server as issuer: %v", err)
	}
}

func TestIdentityRefused(t *testing.T) {
	b, foreign := newBench(t, P256), newBench(t, P256)
	for _, tt := range []struct {
		name string
		edit func(*Identity)
		role Role
		says Check
	}{
		{"no CI", func(i *Identity) { i.CI = nil }, CI, CheckParse},
		{"CI is no CI", func(i *Identity) { i.CI = b.eum.Certificate }, CI, CheckIssuer},
		{"no DPauth", func(i *Identity) { i.Auth = nil }, DPAuth, CheckParse},
		{"DPpb of another CI", func(i *Identity) { i.PB = foreign.identity.PB }, DPPB, CheckIssuer},
		{"TLS in place of DPpb", func(i *Identity) { i.PB = i.TLS }, DPPB, CheckPolicy},
		{"DPauth in place of TLS", func(i *Identity) { i.TLS = i.Auth }, DPTLS, CheckUsage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := *b.identity
			tt.edit(&id)
			wantProblem(t, id.Verify(at), tt.role, tt.says)
		})
	}
	id := *b.identity
	id.TLS = nil
	if err := id.Verify(at); err != nil {
		t.Errorf("without TLS: %v", err)
	}
	id.Auth = &Credential{Certificate: b.identity.Auth.Certificate, Key: b.identity.PB.Key}
	if err := id.Verify(at); !errors.Is(err, ErrKeyMismatch) || !strings.HasPrefix(err.Error(), "DPauth") {
		t.Errorf("with the key of DPpb for DPauth: %v", err)
	}
	if _, err := ParseCredential(b.identity.TLS.Certificate.PEM(), []byte("nothing")); !errors.Is(err, ErrKey) {
		t.Errorf("without a key: %v", err)
	}
}

func TestParseCertificates(t *testing.T) {
	b := newBench(t, P256)
	text := append([]byte("Bag Attributes\n"), b.ci.Certificate.PEM()...)
	text = append(text, b.eum.Certificate.PEM()...)
	list, err := ParseCertificates(text)
	if err != nil || len(list) != 2 || list[1].Role() != EUM {
		t.Errorf("%d certificates, %v", len(list), err)
	}
	for name, in := range map[string][]byte{
		"empty": nil, "a key": []byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
		"damaged": []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), "too long": make([]byte, MaxCertificate+1),
	} {
		if _, err := ParseCertificates(in); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: error = %v, want %v", name, err, ErrCertificate)
		}
	}
	if _, err := b.ci.Certificate.EID(); err == nil {
		t.Error("a CI has an EID")
	}
}

// FuzzParseCertificate reads anything, with crypto/x509 as a second opinion on
// what both of them accept.
func FuzzParseCertificate(f *testing.F) {
	for _, c := range curves {
		b := newBench(f, c)
		for _, seed := range []*Certificate{b.ci.Certificate, b.eum.Certificate, b.euicc.Certificate, b.identity.Auth.Certificate, b.identity.TLS.Certificate} {
			f.Add(seed.Raw)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		own, err := ParseCertificate(der)
		if err != nil {
			return
		}
		_ = own.Role()
		if std, err := x509.ParseCertificate(der); err == nil && own.PublicKey.Curve() == P256 {
			compareLoosely(t, own, std)
		}
	})
}

// compareLoosely compares what a decision could hang on. The standard library
// reads other string types and drops addresses that it cannot parse, so names are
// compared by their octets.
func compareLoosely(t *testing.T, own *Certificate, std *x509.Certificate) {
	if !bytes.Equal(own.TBS, std.RawTBSCertificate) || !bytes.Equal(own.Issuer.Raw, std.RawIssuer) || !bytes.Equal(own.Subject.Raw, std.RawSubject) {
		t.Errorf("other octets than crypto/x509: %x", own.Raw)
	}
	if !own.NotBefore.Equal(std.NotBefore) || !own.NotAfter.Equal(std.NotAfter) {
		t.Errorf("dates %s to %s, crypto/x509 reads %s to %s", own.NotBefore, own.NotAfter, std.NotBefore, std.NotAfter)
	}
	if own.IsCA != std.IsCA || uint16(own.KeyUsage)&0x1FF != uint16(std.KeyUsage) {
		t.Errorf("CA %v with usage %b, crypto/x509 reads %v with %b", own.IsCA, own.KeyUsage, std.IsCA, std.KeyUsage)
	}
	if !bytes.Equal(own.SubjectKeyID, std.SubjectKeyId) || !bytes.Equal(own.AuthorityKeyID, std.AuthorityKeyId) {
		t.Errorf("key identifiers %x and %x, crypto/x509 reads %x and %x", own.SubjectKeyID, own.AuthorityKeyID, std.SubjectKeyId, std.AuthorityKeyId)
	}
	if len(own.Policies) != len(std.Policies) || len(own.DNSNames) != len(std.DNSNames) {
		t.Errorf("policies %v, names %v; crypto/x509 reads %v, %v", own.Policies, own.DNSNames, std.Policies, std.DNSNames)
	}
}

func FuzzParseCRL(f *testing.F) {
	b := newBench(f, P256)
	list, err := b.ci.IssueCRL(7, []Revocation{{b.eum.Certificate.Serial, at}}, at, at.AddDate(0, 1, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(list)
	f.Fuzz(func(t *testing.T, der []byte) {
		own, err := parseCRL(der)
		if err != nil {
			return
		}
		std, err := x509.ParseRevocationList(own.Raw)
		if err == nil && (own.Len() > len(std.RevokedCertificateEntries) || !own.ThisUpdate.Equal(std.ThisUpdate)) {
			t.Errorf("%d entries of %s, crypto/x509 reads %d of %s", own.Len(), own.ThisUpdate, len(std.RevokedCertificateEntries), std.ThisUpdate)
		}
	})
}

func BenchmarkVerifyEUICC(b *testing.B) {
	set := newBench(b, P256)
	trusted := roots(b, set.ci.Certificate)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trusted.VerifyEUICC(set.eum.Certificate.Raw, set.euicc.Certificate.Raw, nil, at); err != nil {
			b.Fatal(err)
		}
	}
}
