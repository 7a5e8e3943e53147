package smdp

import (
	"bytes"
	"testing"
	"time"

	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/internal/reference"
	"godwit/pki"
)

// SGP.23 4.3.14, ideas 16 to 18, with certificates of our own.
func TestChainRefused(t *testing.T) {
	for i, curve := range []pki.Curve{pki.P256, pki.BrainpoolP256r1} {
		t.Run(curve.String(), func(t *testing.T) { testChainRefused(t, curve, identities()[i]) })
	}
}

func testChainRefused(t *testing.T, curve pki.Curve, identity *pki.Identity) {
	w := newWorld(t, dbtest.SQLite(t))
	o := w.order(wish{})
	now := time.Now()
	ci, eum := w.cis[curve], w.eums[curve]
	must := func(c *pki.Credential, err error) *pki.Credential {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	issuer := func(i *pki.Issuer, err error) *pki.Issuer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	eumRequest := func(organization, prefix string, from, to time.Time) pki.Request {
		return pki.Request{
			Role: pki.EUM, Subject: pki.Subject{Country: "XX", Organization: organization, CommonName: organization},
			OID: "2.999.5", EIDPrefix: prefix, NotBefore: from, NotAfter: to,
		}
	}
	strangers := issuer(pki.NewTestCI(curve, pki.Request{NotBefore: now.Add(-time.Hour), Subject: pki.Subject{CommonName: "Stranger"}}))
	expiredEUM := issuer(ci.IssueEUM(eumRequest("Test EUM", "89049032", now.Add(-48*time.Hour), now.Add(-24*time.Hour))))
	foreignEUM := issuer(strangers.IssueEUM(eumRequest("Test EUM", "89049032", now.Add(-time.Hour), time.Time{})))
	otherEUM := issuer(ci.IssueEUM(eumRequest("Test EUM", "89049032", now.Add(-time.Hour), time.Time{})))
	request := func(from, to time.Time, eid ident.EID) pki.Request {
		return pki.Request{Role: pki.EUICC, Subject: pki.Subject{CommonName: "Test eUICC"}, EID: eid, NotBefore: from, NotAfter: to}
	}
	eid, err := ident.NewEID("890490320000000000000000000777")
	if err != nil {
		t.Fatal(err)
	}
	flip := func(c *pki.Credential) []byte {
		raw := bytes.Clone(c.Certificate.Raw)
		raw[len(raw)-3] ^= 1
		return raw
	}
	good := must(eum.Issue(request(now.Add(-time.Hour), time.Time{}, eid)))
	ids := [][]byte{ci.Certificate.SubjectKeyID}
	for _, tt := range []struct {
		name       string
		cred       *pki.Credential
		eum, euicc []byte
		code       string
	}{
		{"EUM certificate with a flipped bit", good, flip(eum.Credential), nil, "8.1.2/6.1"},
		{"EUM certificate expired", must(expiredEUM.Issue(request(now.Add(-30*time.Hour), time.Time{}, eid))), expiredEUM.Certificate.Raw, nil, "8.1.2/6.3"},
		{"EUM certificate of an unknown CI", must(foreignEUM.Issue(request(now.Add(-time.Hour), time.Time{}, eid))), foreignEUM.Certificate.Raw, nil, "8.11.1/3.9"},
		{"a DPauth certificate in place of the EUM's", good, identity.Auth.Certificate.Raw, nil, "8.1.2/6.1"},
		{"eUICC certificate with a flipped bit", good, eum.Certificate.Raw, flip(good), "8.1.3/6.1"},
		{"eUICC certificate of another EUM key", must(otherEUM.Issue(request(now.Add(-time.Hour), time.Time{}, eid))), eum.Certificate.Raw, nil, "8.1.3/6.1"},
		{"eUICC certificate expired", must(eum.Issue(request(now.Add(-48*time.Hour), now.Add(-24*time.Hour), eid))), eum.Certificate.Raw, nil, "8.1.3/6.3"},
		{"garbage for a certificate", good, eum.Certificate.Raw, []byte{0x30, 0x03, 0x02, 0x01, 0x05}, "8.1.3/6.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			c := newChip(w, eid, tt.cred, tt.eum, curve, ids)
			if tt.euicc != nil {
				broken := *tt.cred.Certificate
				broken.Raw = tt.euicc
				c.cred = &pki.Credential{Certificate: &broken, Key: tt.cred.Key}
			}
			wantCode(t, c.start().authenticate(str(o.id)), tt.code)
			w.wantState(o.iccid, Released)
		})
	}
}

// Ideas 16 to 18 with the published certificates, and a download under the
// SGP.26 set on both curves.
func TestSGP26(t *testing.T) {
	for _, curve := range []struct{ dir, suffix string }{{"nist", "NIST"}, {"brp", "BRP"}} {
		t.Run(curve.suffix, func(t *testing.T) {
			file := func(name string) []byte { return reference.File(t, "sgp26", curve.dir, name) }
			credential := func(certificate, key string) *pki.Credential {
				c, err := pki.ParseCredential(file(certificate), file(key))
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			ci, err := pki.ParseCertificate(file("CERT_CI_ECDSA_" + curve.suffix + ".der"))
			if err != nil {
				t.Fatal(err)
			}
			identity := &pki.Identity{
				CI:   ci,
				Auth: credential("CERT_S_SM_DPauth_ECDSA_"+curve.suffix+".der", "SK_S_SM_DPauth_ECDSA_"+curve.suffix+".pem"),
				PB:   credential("CERT_S_SM_DPpb_ECDSA_"+curve.suffix+".der", "SK_S_SM_DPpb_ECDSA_"+curve.suffix+".pem"),
			}
			w := newWorld(t, dbtest.SQLite(t))
			w.clock.Set(published)
			// The published TLS certificates end soon; the listener's TLS is the test's own.
			listener, err := w.server.Listen(Trust{Identities: []*pki.Identity{identity}})
			if err != nil {
				t.Fatal(err)
			}
			config, err := w.listener.TLS()
			if err != nil {
				t.Fatal(err)
			}
			w.url = serveHandler(t, listener.Handler(), config)
			euicc := credential("CERT_EUICC_ECDSA_"+curve.suffix+".der", "SK_EUICC_ECDSA_"+curve.suffix+".pem")
			eum := file("CERT_EUM_ECDSA_" + curve.suffix + ".der")
			ids := [][]byte{ci.SubjectKeyID}
			kind := ci.PublicKey.Curve()
			eid := ident.EID("89049032123451234512345678901235")
			t.Run("download", func(t *testing.T) {
				w.t = t
				o := w.order(wish{eid: eid})
				s := newChip(w, eid, euicc, eum, kind, ids).start()
				wantCode(t, s.authenticate(nil), "")
				got, header := s.download("")
				wantCode(t, header, "")
				w.wantProfile(s.open(got.BoundProfilePackage), o.iccid)
				s.report(o.iccid, 0)
				w.wantState(o.iccid, Installed)
			})
			if kind != pki.P256 {
				return
			}
			for _, tt := range []struct{ name, eum, euicc, code string }{
				{"EUM of an unknown CI", "CERT_EUM_ECDSA_NIST_UNKNOWN_CI.der", "", "8.11.1/3.9"},
				{"EUM invalid", "CERT_EUM_ECDSA_NIST_INVALID.der", "", "8.1.2/6.1"},
				{"EUM expired", "CERT_EUM_ECDSA_NIST_EXPIRED.der", "", "8.1.2/6.3"},
				{"eUICC invalid", "", "CERT_EUICC_ECDSA_NIST_INVALID.der", "8.1.3/6.1"},
				{"eUICC expired", "", "CERT_EUICC_ECDSA_NIST_EXPIRED.der", "8.1.3/6.3"},
				{"EID outside the EUM's range", "", "CERT_EUICC_ECDSA_NIST_INVALID_EID.der", "8.1.3/6.1"},
			} {
				t.Run(tt.name, func(t *testing.T) {
					w.t = t
					c := newChip(w, eid, euicc, eum, kind, ids)
					if tt.eum != "" {
						c.eum = reference.File(t, "sgp26", "invalid", tt.eum)
					}
					if tt.euicc != "" {
						broken := *euicc.Certificate
						broken.Raw = reference.File(t, "sgp26", "invalid", tt.euicc)
						c.cred = &pki.Credential{Certificate: &broken, Key: euicc.Key}
					}
					wantCode(t, c.start().authenticate(nil), tt.code)
				})
			}
			t.Run("certificate of another chip", func(t *testing.T) {
				w.t = t
				// It is in order as a certificate; its EID has no order.
				c := newChip(w, eid, euicc, eum, kind, ids)
				broken := *euicc.Certificate
				broken.Raw = reference.File(t, "sgp26", "invalid", "CERT_EUICC_ECDSA_NIST_UNMATCHED_EID.der")
				c.cred = &pki.Credential{Certificate: &broken, Key: euicc.Key}
				w.order(wish{eid: eid})
				if header := c.start().authenticate(nil); header.Err() == nil {
					t.Error("another chip gets the order")
				}
			})
			t.Run("a transaction of another listener", func(t *testing.T) {
				w.t = t
				o := w.order(wish{})
				c := newChip(w, eid, euicc, eum, kind, ids)
				s := c.start()
				url, client := w.url, w.client
				defer func() { w.url, w.client = url, client }()
				w.url, w.client = serve(t, w.listener)
				wantCode(t, s.authenticate(str(o.id)), "8.10.1/3.9")
			})
		})
	}
}
