package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"godwit/ident"
	"godwit/lpa"
	"godwit/pki"
	"godwit/rsp"
)

// smdppAddress is the only name that osmo-smdpp answers to.
const smdppAddress = "testsmdpplus1.example.com"

// smdppPackages are some of the TS.48 test profiles that osmo-smdpp brings along:
// the matching ID is the name of the file.
var smdppPackages = []ident.MatchingID{
	"TS48V1-A-UNIQUE", "TS48V2-SAIP2-1-NOBERTLV-UNIQUE", "TS48V3-SAIP2-3-BERTLV-UNIQUE", "TS48V4-SAIP2-3-NOBERTLV-UNIQUE",
	"TS48V5-SAIP2-1A-NOBERTLV-UNIQUE", "TS48V5-SAIP2-3-BERTLV-SUCI-UNIQUE",
}

// startSMDPP starts osmo-smdpp on a loopback port, without TLS: its own would
// listen on all interfaces.
func startSMDPP(t *testing.T, args ...string) (address string) {
	t.Helper()
	line := stranger(t, "GODWIT_OSMO_SMDPP", "osmo-smdpp.py")
	address = freePorts(t, 1)[0]
	host, port, _ := net.SplitHostPort(address)
	n := startStranger(t, foreign(context.Background(), line, append([]string{"--host", host, "--port", port, "--nossl", "--in-memory"}, args...)...))
	waitListening(t, n, address)
	return address
}

// tlsFor ends TLS before a plain HTTP server, with a certificate of ours.
func tlsFor(t *testing.T, backend string, certificate *pki.Credential) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{
		Certificate: [][]byte{certificate.Certificate.Raw}, PrivateKey: certificate.Key,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// downloadFromSMDPP fetches packages of osmo-smdpp and works with them.
func downloadFromSMDPP(t *testing.T, assistant *lpa.LPA, ids ...ident.MatchingID) {
	t.Helper()
	for _, id := range ids {
		result, err := assistant.Download(t.Context(), lpa.Request{Address: smdppAddress, MatchingID: &id})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if result.NotifyError != nil {
			t.Errorf("%s: %v", id, result.NotifyError)
		}
		one := rsp.Selector{ICCID: result.Metadata.ICCID}
		for _, step := range []struct {
			name string
			do   func() error
		}{
			{"enable", func() error { return assistant.Chip.Enable(one, false) }},
			{"disable", func() error { return assistant.Chip.Disable(one, false) }},
			{"delete", func() error { return assistant.Chip.Delete(one) }},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s %s: %v", step.name, id, err)
			}
		}
		deliveries, err := assistant.Notify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range deliveries {
			if d.Err != nil {
				t.Errorf("%s: notification of %s: %v", id, d.Metadata.Event, d.Err)
			}
		}
	}
}

// TestStrangerSMDPP downloads from an SM-DP+ of others with our LPA and eUICC,
// which verify all that it signs.
func TestStrangerSMDPP(t *testing.T) {
	t.Run("nist", func(t *testing.T) {
		set := sgp26(t, sgp26NIST)
		address := tlsFor(t, startSMDPP(t), set.Members[0].Identity.TLS)
		roots, err := set.Roots()
		if err != nil {
			t.Fatal(err)
		}
		_, assistant := assistantOn(t, sgp26Chip(t, "nist"))
		assistant.HTTP = lpa.NewHTTPClient(lpa.Trust{Roots: roots, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}})
		downloadFromSMDPP(t, assistant, smdppPackages...)

		_, err = assistant.Download(t.Context(), lpa.Request{Address: smdppAddress, MatchingID: new(ident.MatchingID("NO-SUCH-PROFILE"))})
		if f, ok := rsp.AsFailure(err); !ok || f.StatusCode.String() != rsp.MatchingIDRefused.String() {
			t.Errorf("a matching ID that osmo-smdpp does not know: %v, want %s", err, rsp.MatchingIDRefused)
		}
	})
	t.Run("brainpool", func(t *testing.T) {
		line := stranger(t, "", "curl")
		set := sgp26(t, sgp26Brain)
		stranger(t, "", "nginx")
		proxy := freePorts(t, 1)[0]
		nginxFor(t, proxy, startSMDPP(t, "--brainpool"), set.Members[0].Identity.TLS)
		_, assistant := assistantOn(t, sgp26Chip(t, "brp"))
		assistant.HTTP = &http.Client{Transport: &curl{line: line, authority: ciFile(t, "brp"), connect: proxy}}
		assistant.AnyCI = true
		downloadFromSMDPP(t, assistant, smdppPackages[:2]...)
	})
}
