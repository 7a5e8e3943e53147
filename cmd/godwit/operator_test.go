package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// An operator is let in by a name in its certificate, gets another description
// and is shut out, all while the server runs.
func TestOperatorCommands(t *testing.T) {
	p := startServer(t)
	data := p.data
	base := filepath.Join(t.TempDir(), "client")
	godwit(t, "pki", "issue", "operator", "--data", data, "--out", base, "op.example.com")
	refused := func(words string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		command := program(t.Context(), args...)
		command.Stdout, command.Stderr = &out, &out
		if err := command.Run(); err == nil || !strings.Contains(out.String(), words) {
			t.Errorf("godwit %s: %v, %q, want %q", strings.Join(args, " "), err, out.String(), words)
		}
	}
	godwit(t, "operator", "add", "--data", data, "--name", "Example", "--requester", "example-1", "--certificate-name", "op.example.com", "--types", "minimal")
	order := []string{"order", "download", "--data", data, "--certificate", base + ".pem", "--key", base + ".key", "--requester", "example-1", "--type", "lte-5g"}
	refused("403", order...) // nobody vouches for the name

	p.kill()
	p.args = append(p.args, "--operator-ca", p.credentials.CICertificate)
	p.start()
	refused("8.2.5/1.2", order...)
	godwit(t, "operator", "change", "--data", data, "example-1", "--types", "*", "--name", "Example Mobile", "--progress", "")
	godwit(t, order...)
	if list := godwit(t, "operator", "list", "--data", data); !bytes.Contains(list, []byte("Example Mobile")) || !bytes.Contains(list, []byte("name op.example.com, orders *")) {
		t.Errorf("operators:\n%s", list)
	}
	refused("1 orders under way and 0 profiles of its own in stock; --force", "operator", "remove", "--data", data, "example-1")
	godwit(t, "operator", "remove", "--data", data, "example-1", "--force")
	refused("403", order...)
	refused("no operator", "operator", "change", "--data", data, "example-1", "--name", "x")

	key := base + ".key"
	refused("no certificate", "serve", "--data", filepath.Join(t.TempDir(), "other"), "--listen", "127.0.0.1:0", "--rsp-listen", "127.0.0.1:0", "--operator-ca", key)
	refused("retry-failed-installations", "serve", "--data", filepath.Join(t.TempDir(), "other"), "--listen", "127.0.0.1:0", "--rsp-listen", "127.0.0.1:0", "--retry-failed-installations", "-1")
}
