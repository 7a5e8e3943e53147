package ipa_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/iot"
	"godwit/ipa"
	"godwit/lpa"
	"godwit/pki"
)

// A ca is an ordinary certification authority, with one server below it.
type ca struct {
	root, leaf *x509.Certificate
	rootKey    *ecdsa.PrivateKey
	leafKey    *ecdsa.PrivateKey
}

func newCA(host string, notAfter time.Time) *ca {
	a := &ca{}
	a.rootKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	a.leafKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: issued, NotAfter: issued.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.root = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, root, root, a.rootKey.Public(), a.rootKey))))
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotBefore: issued, NotAfter: notAfter,
		DNSNames: []string{host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	a.leaf = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, leaf, a.root, a.leafKey.Public(), a.rootKey))))
	return a
}

// TestTrust: the eIM is who the configuration says, and nobody else.
func TestTrust(t *testing.T) {
	good, other := newCA(eimAddress, issued.Add(24*time.Hour)), newCA(eimAddress, issued.Add(24*time.Hour))
	named, expired := newCA("another.example.com", issued.Add(24*time.Hour)), newCA(eimAddress, issued.Add(time.Minute))
	spki := func(c *x509.Certificate) []byte { return c.RawSubjectPublicKeyInfo }
	pool := x509.NewCertPool()
	pool.AddCert(good.root)
	for _, c := range []struct {
		name   string
		server *ca
		whole  bool // sends the CA's certificate too
		trust  ipa.Trust
		ok     bool
	}{
		{"key of the server", good, false, ipa.Trust{PublicKey: spki(good.leaf)}, true},
		{"key of the server, another name", named, false, ipa.Trust{PublicKey: spki(named.leaf)}, true},
		{"key of the server, expired", expired, false, ipa.Trust{PublicKey: spki(expired.leaf)}, true},
		{"key of the CA, sent", good, true, ipa.Trust{PublicKey: spki(good.root)}, true},
		{"key of the CA, not sent", good, false, ipa.Trust{PublicKey: spki(good.root)}, true},
		{"key of the CA, another name", named, false, ipa.Trust{PublicKey: spki(named.root)}, false},
		{"key of the CA, another name, sent", named, true, ipa.Trust{PublicKey: spki(named.root)}, false},
		{"key of the CA, expired", expired, false, ipa.Trust{PublicKey: spki(expired.root)}, false},
		{"key of another", good, true, ipa.Trust{PublicKey: spki(other.root)}, false},
		{"certificate of the server", good, false, ipa.Trust{Certificate: good.leaf.Raw}, true},
		{"certificate of the CA", good, false, ipa.Trust{Certificate: good.root.Raw}, true},
		{"certificate of the CA, another name", named, true, ipa.Trust{Certificate: named.root.Raw}, false},
		{"certificate of another", good, true, ipa.Trust{Certificate: other.root.Raw}, false},
		{"ordinary", good, false, ipa.Trust{Extra: pool}, true},
		{"ordinary, of another", other, true, ipa.Trust{Extra: pool}, false},
		{"CIs", good, true, ipa.Trust{Roots: must(pki.NewRoots(theAuthority().ci.Certificate))}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusNoContent) }))
			s.Config.ErrorLog = quiet
			chain := [][]byte{c.server.leaf.Raw}
			if c.whole {
				chain = append(chain, c.server.root.Raw)
			}
			s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: c.server.leafKey}}}
			s.StartTLS()
			defer s.Close()
			c.trust.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
			}
			client := must(ipa.NewClient(&iot.EimConfiguration{ID: "x", FQDN: eimAddress}, c.trust))
			defer client.HTTP.CloseIdleConnections()
			for range 2 { // the second connection resumes the first
				err := client.HandleNotification(t.Context(), []byte{0x30, 0x00})
				if (err == nil) != c.ok {
					t.Errorf("error %v", err)
				}
				client.HTTP.CloseIdleConnections()
			}
		})
	}
	for _, c := range []iot.EimConfiguration{
		{ID: "x", FQDN: "not a name"},
		{ID: "x"},
		{ID: "x", FQDN: eimAddress},
		{ID: "x", FQDN: eimAddress, TLSPublicKey: []byte{1}},
		{ID: "x", FQDN: eimAddress, TLSCertificate: []byte{1}},
	} {
		if _, err := ipa.NewClient(&c, ipa.Trust{}); err == nil {
			t.Errorf("%+v makes a client", c)
		}
	}
}

// TestAnswers: an answer that is none, too long, or a proxy's.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter)
	}{
		{"endless", func(out http.ResponseWriter) {
			for range 3 << 20 / 1024 {
				if _, err := out.Write(make([]byte, 1024)); err != nil {
					return
				}
			}
		}},
		{"HTML", func(out http.ResponseWriter) { _, _ = out.Write([]byte("<html>Please log in</html>")) }},
		{"empty", func(out http.ResponseWriter) {}},
		{"redirect", func(out http.ResponseWriter) {
			out.Header().Set("Location", "https://other.example.com/")
			out.WriteHeader(http.StatusFound)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { c.answer(out) }))
			defer s.Close()
			for _, json := range []bool{false, true} {
				client := &ipa.Client{URL: s.URL, HTTP: s.Client(), JSON: json}
				client.HTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				_, err := client.GetEimPackage(t.Context(), &iot.GetEimPackageRequest{EID: testEID})
				if _, ok := errors.AsType[*lpa.ProtocolError](err); !ok {
					t.Errorf("error %v", err)
				}
				if err := client.HandleNotification(t.Context(), []byte{0x30, 0x00}); err == nil {
					t.Error("a notification was taken for delivered")
				}
			}
		})
	}
}

// TestFileJournal: the document is there again, and what a loss of power left
// beside it does no harm.
func TestFileJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	j := ipa.FileJournal(dir, "x.json")
	if document, err := j.Load(); document != nil || err != nil {
		t.Errorf("an empty journal has %q, %v", document, err)
	}
	for _, text := range []string{"first", "second"} {
		if err := j.Save([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "x.json.next"), []byte("hal"), 0o600); err != nil {
			t.Fatal(err)
		}
		if document, err := ipa.FileJournal(dir, "x.json").Load(); string(document) != text || err != nil {
			t.Errorf("the journal has %q, %v", document, err)
		}
	}
	if info := must(os.Stat(filepath.Join(dir, "x.json"))); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// TestForeignJournal: the state of one chip is not that of another, and a damaged
// one is not taken for none.
func TestForeignJournal(t *testing.T) {
	w := newWorld(t, consumerChip)
	for _, document := range []string{`{"EID":"89049032123451234512345678901243"}`, `{"EID":`} {
		j := &ipa.MemoryJournal{}
		if err := j.Save([]byte(document)); err != nil {
			t.Fatal(err)
		}
		if _, err := ipa.Consumer(w.card, j, w.agent); err == nil || !strings.Contains(err.Error(), "journal") {
			t.Errorf("error %v", err)
		}
	}
	dir := t.TempDir()
	chip := must(ipa.Consumer(w.card, ipa.FileJournal(dir, "chip.json"), w.agent))
	if _, err := chip.AddInitialEim([]iot.EimConfiguration{w.configuration()}); err != nil {
		t.Fatal(err)
	}
	again := must(ipa.Consumer(w.card, ipa.FileJournal(dir, "chip.json"), w.agent))
	if eims := must(again.Eims()); len(eims) != 1 || eims[0].Token == nil || eims[0].ID != eimID {
		t.Errorf("associations %+v", eims)
	}
	if _, err := ipa.SGP32(w.card); err == nil {
		t.Error("a consumer eUICC was taken for one of SGP.32")
	}
}
