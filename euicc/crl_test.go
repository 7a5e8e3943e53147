package euicc

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// newCRL makes a revocation list of the NIST test CI with the standard library.
func newCRL(t *testing.T, issuer *pki.Issuer, number int64, at time.Time, revoked ...*pki.Certificate) []byte {
	t.Helper()
	ci, err := x509.ParseCertificate(issuer.Certificate.Raw)
	if err != nil {
		t.Fatal(err)
	}
	list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: at, NextUpdate: at.AddDate(0, 1, 0)}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: new(big.Int).SetBytes(c.Serial), RevocationTime: at,
		})
	}
	return must(x509.CreateRevocationList(rand.Reader, list, ci, issuer.Key))
}

func TestLoadCRL(t *testing.T) {
	a := authorities[pki.P256]()
	dir, x := newDisk(t, config(pki.P256))
	load := func(x *tester, crl []byte) int64 {
		t.Helper()
		e := must(tlv.ParseTag(x.es10(tlv.Append(nil, rsp.TagLoadCRL, crl)), rsp.TagLoadCRL))
		answer := must(tlv.Parse(e.Value))
		if answer.Tag == 0xA0 {
			return 0
		}
		return must(tlv.DecodeInt(answer.Value))
	}
	authenticate := func(x *tester) rsp.AuthenticateError {
		t.Helper()
		r := x.run(pki.P256)
		r.challengeCard()
		return r.authenticate().Error
	}
	good := newCRL(t, a.ci, 2, testTime, a.dp.Auth.Certificate)
	if got := load(x, []byte{0x30, 0x03, 0x02, 0x01, 0x00}); got != crlInvalidFormat {
		t.Errorf("no list: %d", got)
	}
	stranger := must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: testTime}))
	if got := load(x, newCRL(t, stranger, 2, testTime)); got != crlInvalidSignature {
		t.Errorf("list of an unknown CI: %d", got)
	}
	if got := authenticate(x); got != 0 {
		t.Fatalf("before: %d", got)
	}
	if got := load(x, good); got != 0 {
		t.Fatalf("good list: %d", got)
	}
	if got := load(x, newCRL(t, a.ci, 1, testTime.AddDate(0, -1, 0))); got != crlFresherLoaded {
		t.Errorf("older list: %d", got)
	}
	if got := authenticate(x); got != rsp.AuthInvalidCertificate {
		t.Errorf("a server whose certificate was revoked: %d", got)
	}
	x = reopen(t, x, dir)
	if got := authenticate(x); got != rsp.AuthInvalidCertificate {
		t.Errorf("after power off: %d", got)
	}
	// By the rule of tags A0 stands in place of 30, and a newer list replaces.
	newer := newCRL(t, a.ci, 3, testTime.AddDate(0, 1, 0))
	newer[0] = 0xA0
	if got := load(x, newer); got != 0 {
		t.Errorf("newer list: %d", got)
	}
	if got := authenticate(x); got != 0 || len(x.card.state.CRLs) != 1 {
		t.Errorf("taken off the list: %d, %d lists", got, len(x.card.state.CRLs))
	}
}
