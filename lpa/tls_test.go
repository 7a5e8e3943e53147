package lpa

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"godwit/pki"
	"godwit/rsp"
)

// What an LPA demands of the TLS certificate. SGP.22 v2.5, 2.6.6.
func TestTLS(t *testing.T) {
	a, other := theAuthority(), otherAuthority()
	expired := must(a.ci.Issue(pki.Request{
		Role: pki.DPTLS, OID: testOID, Hosts: []string{testAddress}, NotBefore: issued.Add(-48 * time.Hour), NotAfter: issued.Add(-24 * time.Hour),
		Subject: pki.Subject{CommonName: testAddress},
	}))
	ds := must(a.ci.Issue(pki.Request{Role: pki.DSTLS, OID: testOID, Hosts: []string{testAddress}, NotBefore: issued, Subject: pki.Subject{CommonName: testAddress}}))
	for _, tt := range []struct {
		name    string
		server  *pki.Credential
		address string
		check   pki.Check // empty: accepted
	}{
		{"TLS certificate", a.dp.TLS, testAddress, ""},
		{"TLS certificate of an SM-DS", ds, testAddress, ""},
		{"another name", a.dp.TLS, "other.example.com", pki.CheckName},
		{"DPauth in its place", a.dp.Auth, testAddress, pki.CheckUsage},
		{"expired", expired, testAddress, pki.CheckValidity},
		{"another CI", other.dp.TLS, testAddress, pki.CheckRoot},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			server := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{tt.server.Certificate.Raw}, PrivateKey: tt.server.Key}}}
			server.StartTLS()
			defer server.Close()
			server.Config.ErrorLog = nil
			w.lpa.HTTP = w.client(server.Listener.Addr().String(), a.ci.Certificate)
			defer w.lpa.HTTP.CloseIdleConnections()
			q := w.request()
			q.Address = tt.address
			_, err := w.lpa.Download(t.Context(), q)
			if tt.check == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			p, ok := pki.AsProblem(err)
			if !ok || p.Check != tt.check && !(tt.check == pki.CheckUsage && p.Check == pki.CheckPolicy) {
				t.Errorf("error %v", err)
			}
			if calls := w.calls(); len(calls) != 0 {
				t.Errorf("the server was asked %v", calls)
			}
		})
	}
}

// A certificate of a CI that the client trusts and the chip does not know stops
// the download, unless the laboratory says otherwise.
func TestTLSForeignCI(t *testing.T) {
	w := newWorld(t)
	foreign := otherAuthority()
	server := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{foreign.dp.TLS.Certificate.Raw}, PrivateKey: foreign.dp.TLS.Key}}}
	server.StartTLS()
	defer server.Close()
	w.lpa.HTTP = w.client(server.Listener.Addr().String(), w.ci.Certificate, foreign.ci.Certificate)
	defer w.lpa.HTTP.CloseIdleConnections()
	if _, err := w.lpa.Download(t.Context(), w.request()); !isCheck(err) {
		t.Errorf("error %v", err)
	}
	w.lpa.AnyCI = true
	if _, err := w.lpa.Download(t.Context(), w.request()); err != nil {
		t.Error(err)
	}
}

// A server behind another one's TLS certificate is not let through.
func TestTLSForeignOID(t *testing.T) {
	w := newWorld(t)
	other := must(w.ci.IssueIdentity(pki.Subject{Organization: "ACME", CommonName: "SM-DP+ 2"}, "2.999.11", []string{testAddress}, issued))
	server := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{other.TLS.Certificate.Raw}, PrivateKey: other.TLS.Key}}}
	server.StartTLS()
	defer server.Close()
	w.lpa.HTTP = w.client(server.Listener.Addr().String(), w.ci.Certificate)
	defer w.lpa.HTTP.CloseIdleConnections()
	_, err := w.lpa.Download(t.Context(), w.request())
	if e, ok := errors.AsType[*Error](err); !ok || e.Step != StepInitiateAuthentication || !isCheck(err) {
		t.Errorf("error %v", err)
	}
	w.expectCalls(rsp.FnInitiateAuthentication)
}

// Laboratories may trust an ordinary authority besides.
func TestTLSExtra(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewTLSServer(http.HandlerFunc(w.serve)) // for example.com and 127.0.0.1
	defer server.Close()
	chain := []*x509.Certificate{server.Certificate()}
	trust := Trust{Roots: must(pki.NewRoots(w.ci.Certificate))}
	if err := trust.verify("127.0.0.1", chain, time.Now()); err == nil {
		t.Error("an ordinary certificate passes without Extra")
	}
	trust.Extra = x509.NewCertPool()
	trust.Extra.AddCert(server.Certificate())
	if err := trust.verify("127.0.0.1", chain, time.Now()); err != nil {
		t.Error(err)
	}
	if err := trust.verify("other.test", chain, time.Now()); err == nil {
		t.Error("another name passes")
	}
	if err := (&Trust{}).verify("127.0.0.1", chain, time.Now()); err == nil {
		t.Error("a client that trusts nobody trusts")
	}
}

// Connections are kept, and TLS sessions resumed are verified again.
func TestTLSKept(t *testing.T) {
	w := newWorld(t)
	w.events[dsAddress] = []rsp.EventEntry{}
	for range 3 {
		if _, err := w.lpa.Events(t.Context(), dsAddress); err != nil {
			t.Fatal(err)
		}
		w.lpa.HTTP.CloseIdleConnections()
	}
}

var errNoTransport = errors.New("no transport")

func TestNoClient(t *testing.T) {
	w := newWorld(t)
	w.lpa.HTTP = nil
	if _, err := w.lpa.Download(t.Context(), w.request()); err == nil {
		t.Error("a download without an HTTP client")
	}
	w.lpa.HTTP = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errNoTransport })}
	if _, err := w.lpa.Download(t.Context(), w.request()); !errors.Is(err, errNoTransport) {
		t.Errorf("error %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }
