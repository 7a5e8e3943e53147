package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Users are added, changed and removed on the data directory while the server
// runs, and the first one is among the credentials.
func TestUserCommands(t *testing.T) {
	p := startServer(t)
	asked := func(user, password string) (int, string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.credentials.BaseURL+"/ws/v1/account", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.SetBasicAuth(user, password)
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(body)
	}
	if status, body := asked(p.credentials.RMUser, p.credentials.RMPassword); status != http.StatusOK || !strings.Contains(body, `"role":"administrator"`) {
		t.Errorf("the first user: %d %s", status, body)
	}
	printed := string(godwit(t, "user", "add", "Bot", "--role", "read-only-application", "--data", p.data))
	_, after, ok := strings.Cut(printed, "password ")
	if !ok {
		t.Fatalf("printed %q", printed)
	}
	password, _, _ := strings.Cut(after, " ")
	if status, body := asked("bot", password); status != http.StatusOK || !strings.Contains(body, `"role":"read-only application"`) {
		t.Errorf("a user who was added: %d %s", status, body)
	}
	command := program(t.Context(), "user", "password", "bot", "--password-stdin", "--data", p.data)
	command.Stdin = strings.NewReader("another one\n")
	if out, err := command.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("password: %v, %s", err, out)
	}
	if status, body := asked("bot", "another one"); status != http.StatusOK {
		t.Errorf("the new password: %d %s", status, body)
	}
	godwit(t, "user", "role", "bot", "user", "--data", p.data)
	if list := godwit(t, "user", "list", "--json", "--data", p.data); !bytes.Contains(list, []byte(`"bot"`)) || !bytes.Contains(list, []byte(`"user"`)) {
		t.Errorf("listed %s", list)
	}
	var out bytes.Buffer
	last := program(t.Context(), "user", "remove", "admin", "--data", p.data)
	last.Stderr = &out
	if err := last.Run(); err == nil || !strings.Contains(out.String(), "last administrator") {
		t.Errorf("the last administrator was removed: %v, %s", err, out.String())
	}
	godwit(t, "user", "remove", "bot", "--data", p.data)
	if list := godwit(t, "user", "list", "--data", p.data); bytes.Contains(list, []byte("bot")) {
		t.Errorf("listed %s", list)
	}
}
