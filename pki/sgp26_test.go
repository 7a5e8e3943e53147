package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"path/filepath"
	"testing"
	"time"

	"godwit/internal/reference"
)

// at is a time within the dates of every published certificate that is meant to
// be good. Tests never look at the clock.
var at = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func load(t testing.TB, path ...string) *Certificate {
	t.Helper()
	c, err := ParseCertificate(reference.File(t, append([]string{"sgp26"}, path...)...))
	if err != nil {
		t.Fatalf("%v: %v", path, err)
	}
	return c
}

func roots(t testing.TB, cis ...*Certificate) *Roots {
	t.Helper()
	r, err := NewRoots(cis...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sets are the published sets: folder and the name's ending.
var sets = []struct {
	folder, suffix string
	curve          Curve
	id             string
}{
	{"nist", "NIST", P256, "f54172bdf98a95d65cbeb88a38a1c11d800a85c3"},
	{"brp", "BRP", BrainpoolP256r1, "c0bc70ba36929d43b467ff57570530e57ab8fcd8"},
}

func TestPublishedSets(t *testing.T) {
	for _, s := range sets {
		t.Run(s.folder, func(t *testing.T) {
			ci := load(t, s.folder, "CERT_CI_ECDSA_"+s.suffix+".der")
			if got := hex.EncodeToString(ci.SubjectKeyID); got != s.id || !bytes.Equal(ci.PublicKey.ID(), ci.SubjectKeyID) {
				t.Errorf("key identifier of the CI = %s, computed %x, want %s", got, ci.PublicKey.ID(), s.id)
			}
			if ci.PublicKey.Curve() != s.curve || ci.Role() != CI || ci.RegisteredID != "2.999.1" || !ci.SelfSigned() || len(ci.CRLPoints) != 2 {
				t.Errorf("CI read as %+v", ci)
			}
			trusted := roots(t, ci)
			eum := reference.File(t, "sgp26", s.folder, "CERT_EUM_ECDSA_"+s.suffix+".der")
			euicc := reference.File(t, "sgp26", s.folder, "CERT_EUICC_ECDSA_"+s.suffix+".der")
			for range 2 { // the second time from the cache
				chain, err := trusted.VerifyEUICC(eum, euicc, ci.SubjectKeyID, at)
				if err != nil {
					t.Fatal(err)
				}
				if chain.EID != "89049032123451234512345678901235" || chain.EUM.RegisteredID != "2.999.5" || chain.CI != ci {
					t.Errorf("chain of %s by %s", chain.EID, chain.EUM.RegisteredID)
				}
			}
			for _, server := range []struct {
				name string
				role Role
				oid  string
			}{
				{"S_SM_DPauth_ECDSA", DPAuth, "2.999.10"},
				{"S_SM_DPpb_ECDSA", DPPB, "2.999.10"},
				{"S_SM_DP2auth_ECDSA", DPAuth, "2.999.12"},
				{"S_SM_DP2pb_ECDSA", DPPB, "2.999.12"},
			} {
				der := reference.File(t, "sgp26", s.folder, "CERT_"+server.name+"_"+s.suffix+".der")
				c, err := trusted.VerifyServer(server.role, der, ci.SubjectKeyID)
				if err != nil {
					t.Errorf("%s: %v", server.name, err)
					continue
				}
				if string(c.RegisteredID) != server.oid {
					t.Errorf("%s has registered ID %s, want %s", server.name, c.RegisteredID, server.oid)
				}
				other := DPPB
				if server.role == DPPB {
					other = DPAuth
				}
				_, err = trusted.VerifyServer(other, der, nil)
				wantProblem(t, err, other, CheckPolicy)
			}
			tls := reference.File(t, "sgp26", s.folder, "CERT_S_SM_DP_VARO_TLS_"+s.suffix+".der")
			if _, err := trusted.VerifyTLS(DPTLS, tls, "TestSMDPplus1.example.com", at); err != nil {
				t.Errorf("TLS: %v", err)
			}
			_, err := trusted.VerifyTLS(DPTLS, tls, "testsmdpplus2.example.com", at)
			wantProblem(t, err, DPTLS, CheckName)
			_, err = trusted.VerifyTLS(DPTLS, tls, "testsmdpplus1.example.com", at.AddDate(1, 0, 0))
			wantProblem(t, err, DPTLS, CheckValidity)
			reissued := reference.File(t, "sgp26", "tls-reissued", "CERT_TLS_"+s.suffix+".der")
			for _, host := range []string{"localhost", "127.0.0.1", "testsmdpplus2.example.com"} {
				if _, err := trusted.VerifyTLS(0, reissued, host, at); err != nil {
					t.Errorf("reissued TLS for %s: %v", host, err)
				}
			}
		})
	}
}

func wantProblem(t *testing.T, err error, role Role, check Check) {
	t.Helper()
	p, ok := AsProblem(err)
	if !ok {
		t.Errorf("error = %v, want a problem of %s at %q", err, role, check)
		return
	}
	if p.Role != role || p.Check != check || p.Detail == "" {
		t.Errorf("problem = %v, want one of %s at %q", p, role, check)
	}
}

// TestInvalid holds each published certificate that must be refused against the
// check that refuses it.
func TestInvalid(t *testing.T) {
	ci := load(t, "nist", "CERT_CI_ECDSA_NIST.der")
	trusted := roots(t, ci)
	for _, tt := range []struct {
		eum, euicc string // "" for the good one
		role       Role
		check      Check
	}{
		{"INVALID", "", EUM, CheckIssuer},
		{"EXPIRED", "", EUM, CheckValidity},
		{"UNKNOWN_CI", "", EUM, CheckRoot},
		{"", "INVALID", EUICC, CheckIssuer},
		{"", "EXPIRED", EUICC, CheckValidity},
		{"", "INVALID_EID", EUICC, CheckNameConstraint},
	} {
		t.Run("EUM "+tt.eum+" eUICC "+tt.euicc, func(t *testing.T) {
			eum := reference.File(t, "sgp26", "nist", "CERT_EUM_ECDSA_NIST.der")
			euicc := reference.File(t, "sgp26", "nist", "CERT_EUICC_ECDSA_NIST.der")
			if tt.eum != "" {
				eum = reference.File(t, "sgp26", "invalid", "CERT_EUM_ECDSA_NIST_"+tt.eum+".der")
			}
			if tt.euicc != "" {
				euicc = reference.File(t, "sgp26", "invalid", "CERT_EUICC_ECDSA_NIST_"+tt.euicc+".der")
			}
			_, err := trusted.VerifyEUICC(eum, euicc, ci.SubjectKeyID, at)
			wantProblem(t, err, tt.role, tt.check)
		})
	}
	t.Run("unknown CI as a root", func(t *testing.T) {
		_, err := NewRoots(load(t, "invalid", "CERT_UNKNOWN_CI_ECDSA_NIST.der"))
		wantProblem(t, err, CI, CheckIssuer)
	})
	// The EID of another chip, certified by the same manufacturer: the chain is
	// good. It is the order, linked to an EID, that such an eUICC fails.
	t.Run("another chip", func(t *testing.T) {
		chain, err := trusted.VerifyEUICC(reference.File(t, "sgp26", "nist", "CERT_EUM_ECDSA_NIST.der"),
			reference.File(t, "sgp26", "invalid", "CERT_EUICC_ECDSA_NIST_UNMATCHED_EID.der"), nil, at)
		if err != nil || chain.EID != "89049032123451234512345678901299" {
			t.Errorf("chain %+v, %v", chain, err)
		}
	})
}

// TestOtherCI offers the chain of one trusted CI where another was asked for.
func TestOtherCI(t *testing.T) {
	nist, brp := load(t, "nist", "CERT_CI_ECDSA_NIST.der"), load(t, "brp", "CERT_CI_ECDSA_BRP.der")
	trusted := roots(t, nist, brp)
	eum := reference.File(t, "sgp26", "nist", "CERT_EUM_ECDSA_NIST.der")
	euicc := reference.File(t, "sgp26", "nist", "CERT_EUICC_ECDSA_NIST.der")
	for range 2 { // with and without the EUM in the cache
		_, err := trusted.VerifyEUICC(eum, euicc, brp.SubjectKeyID, at)
		wantProblem(t, err, EUM, CheckRoot)
		if _, err := trusted.VerifyEUICC(eum, euicc, nil, at); err != nil {
			t.Fatal(err)
		}
	}
	_, err := trusted.VerifyEUICC(eum, euicc, nil, at.AddDate(40, 0, 0))
	wantProblem(t, err, EUM, CheckValidity)
	if ids := trusted.IDs(); len(ids) != 2 || !bytes.Equal(ids[0], nist.SubjectKeyID) {
		t.Errorf("IDs = %x", ids)
	}
	if trusted.Lookup(brp.SubjectKeyID) != brp || trusted.Lookup([]byte{1}) != nil {
		t.Error("Lookup does not find what was added")
	}
}

func TestEIMSet(t *testing.T) {
	ci := load(t, "eim", "CERT_CI_SIG_NIST.der")
	trusted := roots(t, ci)
	if _, err := trusted.VerifyServer(EIM, reference.File(t, "sgp26", "eim", "CERT_S_EIMsign_ECDSA_NIST.der"), nil); err != nil {
		t.Error(err)
	}
	chain, err := trusted.VerifyEUICC(reference.File(t, "sgp26", "eim", "CERT_EUM_SIG_NIST.der"),
		reference.File(t, "sgp26", "eim", "CERT_EUICC_SIG_NIST.der"), nil, at)
	if err != nil {
		t.Fatal(err)
	}
	if chain.EUICC.NotAfter.Year() != 7500 {
		t.Errorf("the eUICC's certificate ends in %d", chain.EUICC.NotAfter.Year())
	}
	// The renewed certificate of the same CI takes the place of the old one.
	if err := trusted.Add(load(t, "nist", "CERT_CI_ECDSA_NIST.der")); err != nil || len(trusted.IDs()) != 1 {
		t.Errorf("after the renewal: %d CIs, %v", len(trusted.IDs()), err)
	}
}

// TestExchangeCertificates verifies the certificates of the recorded exchange.
func TestExchangeCertificates(t *testing.T) {
	file := func(name string) []byte { return reference.File(t, "vectors", "exchange", name) }
	ci, err := ParseCertificate(file("ci.der"))
	if err != nil {
		t.Fatal(err)
	}
	// The manufacturer was certified when the same CI had an older name. Its
	// certificate of that time is not at hand, so it is made again.
	trusted := roots(t, ci)
	_, err = trusted.VerifyEUICC(file("eum.der"), file("euicc.der"), nil, at)
	wantProblem(t, err, EUM, CheckIssuer)
	key, err := ParseKey(reference.File(t, "sgp26", "nist", "SK_CI_ECDSA_NIST.pem"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := NewTestCI(P256, Request{Key: key, NotBefore: at, Subject: Subject{
		CommonName: "GSMA Test CI", OrganizationalUnit: "TESTCERT", Organization: "RSPTEST", Country: "IT",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := trusted.Add(old.Certificate); err != nil || len(trusted.IDs()) != 1 || len(trusted.Certificates()) != 2 {
		t.Fatalf("%d CIs of %d keys, %v", len(trusted.Certificates()), len(trusted.IDs()), err)
	}
	chain, err := trusted.VerifyEUICC(file("eum.der"), file("euicc.der"), nil, at)
	if err != nil {
		t.Fatal(err)
	}
	if chain.EID != "89049032123451234512345678901235" || chain.CI != old.Certificate {
		t.Errorf("EID %s", chain.EID)
	}
	identity := &Identity{CI: ci}
	if identity.Auth, err = ParseCredential(file("dpauth.der"), file("dpauth-key.pem")); err != nil {
		t.Fatal(err)
	}
	if identity.PB, err = ParseCredential(file("dppb.der"), file("dppb-key.pem")); err != nil {
		t.Fatal(err)
	}
	if err := identity.Verify(at); err != nil {
		t.Error(err)
	}
	if _, err := ParseCredential(file("euicc.der"), file("euicc-key.pem")); err != nil {
		t.Error(err)
	}
	if _, err := ParseAgreementKey(P256, file("otsk-dp.bin")); err != nil {
		t.Error(err)
	}
}

// TestIdentityOfPublishedSet loads what a test bench would load, on both curves.
func TestIdentityOfPublishedSet(t *testing.T) {
	for _, s := range sets {
		t.Run(s.folder, func(t *testing.T) {
			credential := func(certificate, key string) *Credential {
				c, err := ParseCredential(reference.File(t, "sgp26", s.folder, certificate+"_"+s.suffix+".der"),
					reference.File(t, "sgp26", s.folder, key+".pem"))
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			ecdsa := "_ECDSA_" + s.suffix
			id := &Identity{
				CI:   load(t, s.folder, "CERT_CI_ECDSA_"+s.suffix+".der"),
				Auth: credential("CERT_S_SM_DPauth_ECDSA", "SK_S_SM_DPauth"+ecdsa),
				PB:   credential("CERT_S_SM_DPpb_ECDSA", "SK_S_SM_DPpb"+ecdsa),
				TLS:  credential("CERT_S_SM_DP_VARO_TLS", "SK_S_SM_DP_TLS_"+s.suffix),
			}
			if err := id.Verify(at); err != nil {
				t.Fatal(err)
			}
			if id.OID() != "2.999.10" || id.Curve() != s.curve || !bytes.Equal(id.ID(), id.CI.SubjectKeyID) {
				t.Errorf("identity %s %s %x", id.OID(), id.Curve(), id.ID())
			}
			mixed := *id
			mixed.PB = credential("CERT_S_SM_DP2pb_ECDSA", "SK_S_SM_DP2pb"+ecdsa)
			wantProblem(t, mixed.Verify(at), DPPB, CheckName)
			swapped := *id
			swapped.Auth, swapped.PB = id.PB, id.Auth
			wantProblem(t, swapped.Verify(at), DPAuth, CheckPolicy)
			wantProblem(t, id.Verify(at.AddDate(1, 0, 0)), DPTLS, CheckValidity)
			if err := id.Verify(time.Time{}); err != nil {
				t.Errorf("without a clock: %v", err)
			}
			ci, err := NewIssuer(credential("CERT_CI_ECDSA", "SK_CI_ECDSA_"+s.suffix))
			if err != nil {
				t.Fatal(err)
			}
			own, err := ci.IssueIdentity(Subject{Organization: "ACME", CommonName: "TEST SM-DP+"}, "2.999.10", []string{"localhost"}, at)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := roots(t, id.CI).VerifyServer(DPPB, own.PB.Certificate.Raw, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAgainstStandardLibrary compares the reading of every published P-256
// certificate with that of crypto/x509.
func TestAgainstStandardLibrary(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(reference.Dir(t), "sgp26", "*", "*.der"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no certificates: %v", err)
	}
	compared := 0
	for _, file := range files {
		rel, _ := filepath.Rel(reference.Dir(t), file)
		der := reference.File(t, rel)
		std, err := x509.ParseCertificate(der)
		if err != nil {
			continue // brainpool
		}
		own, err := ParseCertificate(der)
		if err != nil {
			t.Errorf("%s: %v", rel, err)
			continue
		}
		compareWithStandard(t, rel, own, std)
		compared++
	}
	if compared < 15 {
		t.Errorf("only %d certificates compared", compared)
	}
}
