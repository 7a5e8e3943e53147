package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"godwit/lpa"
	"godwit/pki"
	"godwit/rsp"
)

// nginxFor starts nginx with TLS on a brainpool certificate before a server that
// speaks plain HTTP. The configuration is the one of docs/operating.md.
func nginxFor(t *testing.T, listen, backend string, certificate *pki.Credential) {
	t.Helper()
	line := stranger(t, "", "nginx")
	dir := t.TempDir()
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```nginx\n(.*?)```").FindSubmatch(content)
	if block == nil {
		t.Fatal("docs/operating.md has no nginx configuration")
	}
	key, err := pki.MarshalKey(certificate.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"tls.pem": certificate.Certificate.PEM(), "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := string(block[1])
	for old, fresh := range map[string]string{
		"listen 443 ssl": "listen " + listen + " ssl", "smdp.example.com": "localhost testsmdpplus1.example.com",
		"/etc/nginx/brainpool-tls.pem": filepath.Join(dir, "tls.pem"), "/etc/nginx/brainpool-tls.key": filepath.Join(dir, "tls.key"),
		"http://127.0.0.1:8444": "http://" + backend,
	} {
		if !strings.Contains(server, old) {
			t.Fatalf("the nginx configuration of docs/operating.md does not say %q", old)
		}
		server = strings.ReplaceAll(server, old, fresh)
	}
	var temporary strings.Builder // nobody but root may write where nginx does by default
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	file := filepath.Join(dir, "nginx.conf")
	whole := fmt.Sprintf("daemon off;\nmaster_process off;\npid %s;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n",
		filepath.Join(dir, "nginx.pid"), temporary.String(), server)
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startStranger(t, foreign(context.Background(), line, "-e", "stderr", "-c", file))
	waitListening(t, n, listen)
}

// waitListening waits until somebody listens.
func waitListening(t *testing.T, n *neighbour, address string) {
	t.Helper()
	until(t, "somebody listens on "+address, n, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// curl is an HTTP transport whose TLS is curl's, because Go's has no brainpool
// curves.
type curl struct {
	line      []string
	authority string // file with the CI that is believed
	connect   string // where every address is reached; "" where it says
}

func (c *curl) RoundTrip(r *http.Request) (*http.Response, error) {
	args := []string{
		"--silent", "--show-error", "--include", "--raw", "--http1.1", "--max-time", "30", "--cacert", c.authority,
		"--curves", "X25519:brainpoolP256r1:prime256v1", "--request", r.Method, "--data-binary", "@-", "--header", "Expect:",
	}
	if c.connect != "" {
		args = append(args, "--connect-to", "::"+c.connect)
	}
	for name, values := range r.Header {
		for _, v := range values {
			args = append(args, "--header", name+": "+v)
		}
	}
	command := foreign(r.Context(), c.line, append(args, r.URL.String())...)
	command.Stdin = r.Body
	out, err := command.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		return nil, fmt.Errorf("curl: %w: %s", err, failed.Stderr)
	}
	if err != nil {
		return nil, err
	}
	p, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), r)
	if err != nil {
		return nil, fmt.Errorf("read what curl printed: %w", err)
	}
	return p, nil
}

// opensslGroups is a configuration with which programs on OpenSSL offer
// brainpool in TLS.
const opensslGroups = `openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Groups = X25519:P-256:brainpoolP256r1
`

// brainpoolServer starts a server for the published brainpool set alone, behind
// nginx, which ends TLS with the brainpool certificate.
func brainpoolServer(t *testing.T) *process {
	t.Helper()
	stranger(t, "", "nginx")
	set := sgp26(t, sgp26Brain)
	address := freePorts(t, 1)[0]
	_, port, _ := net.SplitHostPort(address)
	p := startServerAs(t, set, "--smdp-address", "localhost:"+port)
	backend, _, _ := strings.Cut(p.args[6], "=") // of --rsp-listen
	nginxFor(t, address, backend, set.Members[0].Identity.TLS)
	return p
}

// TestStrangerBrainpoolTLS downloads with nothing but brainpool: TLS by nginx
// and curl, certificates and key agreement of the download by us.
func TestStrangerBrainpoolTLS(t *testing.T) {
	line := stranger(t, "", "curl")
	p := brainpoolServer(t)
	w := witnessOf(t, p)
	transport := &curl{line: line, authority: p.credentials.CICertificate}
	address := "https://" + p.credentials.SMDPAddress

	t.Run("clients without brainpool are refused", func(t *testing.T) {
		said, err := runStranger(t, line, "--silent", "--show-error", "--curves", "X25519:prime256v1", "--cacert", transport.authority, address)
		if err == nil || !strings.Contains(said, "handshake failure") {
			t.Errorf("curl without the curve: %v %s", err, said)
		}
	})
	t.Run("our LPA and eUICC", func(t *testing.T) {
		r := book(t, p, "GenerateMatchingId", "true")
		card, assistant := assistantOn(t, sgp26Chip(t, "brp"))
		assistant.HTTP = &http.Client{Transport: transport}
		assistant.AnyCI = true // curl has seen the CI; its answer cannot show it
		code, err := rsp.ParseActivationCode("LPA:" + r.ActivationCode)
		if err != nil {
			t.Fatal(err)
		}
		for _, binding := range []bool{false, true} {
			assistant.ASN1 = binding
			result, err := assistant.Download(t.Context(), lpa.FromActivationCode(code))
			if err != nil {
				t.Fatal(err)
			}
			if result.NotifyError != nil {
				t.Fatal(result.NotifyError)
			}
			waitFor(t, p, r, "installed")
			if r.EID != string(card.EID()) {
				t.Errorf("the reservation names eUICC %s, want %s", r.EID, card.EID())
			}
			w.wantReported(t, r.ICCID, "install installed", "install")
			if binding {
				break
			}
			r = book(t, p, "GenerateMatchingId", "true")
			if code, err = rsp.ParseActivationCode("LPA:" + r.ActivationCode); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("es9p_client", func(t *testing.T) {
		client := es9pClient{t, stranger(t, "GODWIT_ES9P_CLIENT", ""), address, transport.authority, "brp"}
		offerBrainpool(t)
		r := book(t, p, "GenerateMatchingId", "true")
		code, err := rsp.ParseActivationCode("LPA:" + r.ActivationCode)
		if err != nil {
			t.Fatal(err)
		}
		client.download(p, r.ICCID, string(code.MatchingID))
		waitFor(t, p, r, "downloaded")
	})
	t.Run("lpac", func(t *testing.T) {
		line := stranger(t, "GODWIT_LPAC", "lpac")
		t.Setenv("LPAC_HTTP", "curl")
		offerBrainpool(t)
		r := book(t, p, "GenerateMatchingId", "true")
		l := lpacOn(t, line, sgp26Chip(t, "brp"))
		l.do(t, nil, "profile", "download", "-a", "LPA:"+r.ActivationCode)
		l.report(t)
		waitFor(t, p, r, "installed")
	})
	t.Run("openssl s_client", func(t *testing.T) {
		said, err := runStranger(t, stranger(t, "", "openssl"), "s_client", "-connect", p.credentials.SMDPAddress, "-tls1_2", "-brief",
			"-groups", "brainpoolP256r1", "-CAfile", transport.authority, "-verify_return_error", "-verify_hostname", "localhost")
		if err != nil || !strings.Contains(said, "Verification: OK") {
			t.Errorf("openssl s_client: %v\n%s", err, said)
		}
	})
}

// offerBrainpool has programs on OpenSSL offer brainpool, for the rest of the
// test.
func offerBrainpool(t *testing.T) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "openssl.cnf")
	if err := os.WriteFile(name, []byte(opensslGroups), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OPENSSL_CONF", name)
}
