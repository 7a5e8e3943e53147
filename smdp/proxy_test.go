package smdp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/db/dbtest"
	"godwit/internal/loopback"
	"godwit/pki"
	"godwit/rsp"
)

// TLS with a brainpool certificate, which Go's library cannot do, by HAProxy of
// Debian in front; docs/operating.md has the same with nginx. OpenSSL's client
// plays the LPA: it offers brainpool alone.
func TestBrainpoolTLSByProxy(t *testing.T) {
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		if haproxy, err = exec.LookPath("/usr/sbin/haproxy"); err != nil {
			t.Skipf("%s skipped: haproxy is not installed", t.Name())
		}
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skipf("%s skipped: openssl is not installed", t.Name())
	}
	w := newWorld(t, dbtest.SQLite(t))
	dir := t.TempDir()
	write := func(name string, content ...[]byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, bytes.Join(content, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	brainpool := identities()[1]
	key, err := pki.MarshalKey(brainpool.TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := write("brainpool.pem", brainpool.TLS.Certificate.PEM(), key)
	ours := write("ci-nist.pem", identities()[0].CI.PEM())
	theirs := write("ci-brainpool.pem", brainpool.CI.PEM())
	at := loopback.Take(t)
	config := write("haproxy.cfg", fmt.Appendf(nil, `defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend es9plus
    bind %s ssl crt %s curves brainpoolP256r1:P-256 ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2
    default_backend godwit
backend godwit
    server local %s ssl verify required ca-file %s verifyhost %s sni str(%s)
`, at, certificate, strings.TrimPrefix(w.url, "https://"), ours, address, address))

	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	proxy := exec.CommandContext(ctx, haproxy, "-db", "-f", config)
	proxy.Stdout, proxy.Stderr = &log, &log
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		proxy.Wait()
		if t.Failed() {
			t.Logf("haproxy: %s", &log)
		}
	}()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("haproxy does not listen: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}

	c := w.chip(pki.BrainpoolP256r1)
	challenge := rsp.NewChallenge()
	body, err := json.Marshal(rsp.InitiateAuthenticationRequest{SMDPAddress: address, EUICCChallenge: challenge, EUICCInfo1: c.info1.Append(nil)})
	if err != nil {
		t.Fatal(err)
	}
	lpa := exec.CommandContext(ctx, openssl, "s_client", "-connect", at, "-servername", address, "-verify_hostname", address, "-tls1_2", "-curves", "brainpoolP256r1",
		"-CAfile", theirs, "-verify_return_error", "-quiet", "-ign_eof")
	lpa.Stdin = strings.NewReader(fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		rsp.PathES9, rsp.FnInitiateAuthentication, address, len(body), body))
	var trouble bytes.Buffer
	lpa.Stderr = &trouble
	got, err := lpa.Output()
	if err != nil {
		t.Fatalf("openssl s_client: %v\n%s", err, &trouble)
	}
	_, content, _ := strings.Cut(string(got), "\r\n\r\n")
	content = content[strings.Index(content, "{") : strings.LastIndex(content, "}")+1]
	var answer rsp.InitiateAuthenticationResponse
	if err := json.Unmarshal([]byte(content), &answer); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	wantCode(t, answer.Header, "")
	if !bytes.Equal(answer.CIKeyID[2:], brainpool.ID()) {
		t.Errorf("chose CI %X, want the brainpool one", answer.CIKeyID)
	}
}
