package smdp

import (
	"testing"
	"time"

	"godwit/db/dbtest"
	"godwit/pki"
	"godwit/rsp"
)

// TestRevokedManufacturer refuses the eUICCs of a manufacturer whose certificate
// the CI has revoked, at the listener that was given the list and at no other.
func TestRevokedManufacturer(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	ci := w.cis[pki.P256]
	list, err := ci.IssueCRL(1, []pki.Revocation{{Serial: w.eums[pki.P256].Certificate.Serial, At: time.Now()}}, time.Now(), time.Now().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := pki.NewRoots(ci.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := roots.AddCRL(list); err != nil {
		t.Fatal(err)
	}
	c := w.chip()
	w.order(wish{eid: c.eid})
	wantCode(t, c.start().authenticate(nil), "")

	listener, err := w.server.Listen(Trust{Identities: identities()[:1], Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	w.url, w.client = serve(t, listener)
	other := w.chip()
	w.order(wish{eid: other.eid})
	wantCode(t, other.start().authenticate(nil), rsp.EUMInvalid.String())
}

// TestRevokedServer refuses to serve with certificates that the CI has revoked.
func TestRevokedServer(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	ci, identity := w.cis[pki.P256], identities()[0]
	for _, own := range []*pki.Credential{identity.Auth, identity.PB, identity.TLS} {
		list, err := ci.IssueCRL(1, []pki.Revocation{{Serial: own.Certificate.Serial, At: time.Now()}}, time.Now(), time.Now().AddDate(1, 0, 0))
		if err != nil {
			t.Fatal(err)
		}
		roots, err := pki.NewRoots(ci.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := roots.AddCRL(list); err != nil {
			t.Fatal(err)
		}
		if _, err := w.server.Listen(Trust{Identities: identities()[:1], Roots: roots}); err == nil {
			t.Errorf("a listener serves with a revoked certificate of role %s", own.Certificate.Role())
		} else if p, ok := pki.AsProblem(err); !ok || p.Check != pki.CheckRevocation {
			t.Errorf("the listener is refused with %v", err)
		}
	}
}
