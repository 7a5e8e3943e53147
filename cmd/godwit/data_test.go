package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestKeptWhole: whoever looks while a server writes down its database, its
// address or its core network finds the former or the new one, never less.
func TestKeptWhole(t *testing.T) {
	f := dataFlags{Data: t.TempDir()}
	urls := []string{"postgres://one/a", "postgres://another.example.com/b"}
	f.Database = urls[0]
	if err := f.keepDatabase(); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		for i := range 200 {
			f := dataFlags{Data: f.Data, Database: urls[i%2]}
			if err := f.keepDatabase(); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for {
		select {
		case err := <-written:
			if err != nil {
				t.Error(err)
			}
			if left, _ := filepath.Glob(filepath.Join(f.Data, "*.next")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if info, err := os.Stat(filepath.Join(f.Data, databaseFile)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			return
		default:
			if got, err := (dataFlags{Data: f.Data}).databaseURL(); err != nil || got != urls[0] && got != urls[1] {
				t.Fatalf("the database is %q, %v", got, err)
			}
		}
	}
}
