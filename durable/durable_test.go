package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"godwit/durable"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state")
	if err := os.WriteFile(name+".next", []byte("cut off in the mid"), 0o666); err != nil { // what a loss of power left
		t.Fatal(err)
	}
	for _, content := range []string{"one", "a longer one", ""} {
		if err := durable.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if is, err := os.ReadFile(name); err != nil || string(is) != content {
			t.Errorf("it holds %q, %v, want %q", is, err, content)
		}
	}
	wantAlone(t, dir, "state")
}

// TestWriteFileReplaced has the file replaced, not written to: whoever has it open
// still reads what was there, whole.
func TestWriteFileReplaced(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state")
	if err := durable.WriteFile(name, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := durable.WriteFile(name, []byte("after"), 0o644); err != nil {
		t.Fatal(err)
	}
	is := make([]byte, 100)
	if n, err := open.Read(is); err != nil || string(is[:n]) != "before" {
		t.Errorf("%q, %v", is[:n], err)
	}
}

// TestWriteFileFails leaves what was there, and nothing else.
func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state")
	if err := os.Mkdir(name, 0o700); err != nil { // no file can take the name of a directory
		t.Fatal(err)
	}
	if err := durable.WriteFile(name, []byte("x"), 0o600); err == nil {
		t.Error("it took the place of a directory")
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("%v, %v", info, err)
	}
	wantAlone(t, dir, "state")
	if err := durable.WriteFile(filepath.Join(dir, "none", "state"), []byte("x"), 0o600); err == nil {
		t.Error("written into a directory that is not there")
	}
}

func wantAlone(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}
