package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"godwit/saip"
)

// Exit codes of the profile commands: 0 for what an eUICC takes, 1 for what it
// refuses, 2 for wrong use.
func TestProfileCommands(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "full.der")
	if code := run([]string{"profile", "templates", "full-usim-isim", "--out", out}); code != 0 {
		t.Fatalf("templates --out ends with %d", code)
	}
	der, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(der, saip.FullUSIM().Bytes()) {
		t.Error("the file is not the template")
	}
	spoilt := filepath.Join(dir, "spoilt.der")
	end := saip.FullUSIM().Package().Element(saip.KindEnd).Bytes()
	if err := os.WriteFile(spoilt, bytes.TrimSuffix(der, end), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
	}{
		{"a valid package", []string{"profile", "check", out}, 0},
		{"as JSON", []string{"profile", "check", "--json", out}, 0},
		{"a package without end", []string{"profile", "check", spoilt}, exitFailed},
		{"no such file", []string{"profile", "check", filepath.Join(dir, "none")}, exitFailed},
		{"no file named", []string{"profile", "check"}, exitUsage},
		{"shown as a tree", []string{"profile", "show", out}, 0},
		{"never over another file", []string{"profile", "templates", "full-usim-isim", "--out", out}, exitFailed},
		{"no such template", []string{"profile", "templates", "none"}, exitFailed},
		{"the list", []string{"profile", "templates"}, 0},
	} {
		if code := run(tt.args); code != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.name, code, tt.code)
		}
	}
}
