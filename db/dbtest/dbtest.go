// Package dbtest gives every test its own real databases: a fresh SQLite file,
// and a fresh database on a real PostgreSQL server.
//
// The PostgreSQL server is the one at GODWIT_TEST_POSTGRES (a URL of a role that may
// create databases). Without that, one that is installed on the machine is
// started for the test process, on a socket in a temporary folder, and goes
// away with it. To share one server among the packages of a whole run:
//
//	go run ./db/dbtest/withpostgres go test ./...
package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"godwit/db"
	"godwit/db/dbtest/server"
	"godwit/jobs"

	"github.com/jackc/pgx/v5"
)

// Each runs body twice: on a fresh SQLite file and on a fresh PostgreSQL
// database. Where there is no PostgreSQL that half is skipped by name.
func Each(t *testing.T, body func(t *testing.T, d *db.DB)) {
	t.Helper()
	EachURL(t, func(t *testing.T, url string) { body(t, Open(t, url)) })
}

// EachURL is Each for tests that open the database themselves, more than once
// or from another process.
func EachURL(t *testing.T, body func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { body(t, SQLiteURL(t)) })
	t.Run("postgres", func(t *testing.T) { body(t, PostgresURL(t)) })
}

// SQLite opens a fresh file.
func SQLite(t testing.TB) *db.DB {
	t.Helper()
	return Open(t, SQLiteURL(t))
}

// Postgres opens a fresh database on a real PostgreSQL server, or skips the
// test.
func Postgres(t testing.TB) *db.DB {
	t.Helper()
	return Open(t, PostgresURL(t))
}

// masterKeyText is a key for tests only, the same in each process, so that a
// process started by a test can read what the test sealed.
const masterKeyText = "00000001:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// Options are what the databases of tests are opened with.
func Options() db.Options {
	key, err := db.ParseMasterKey(masterKeyText)
	if err != nil {
		panic(err)
	}
	return db.Options{MasterKey: key, Migrations: []db.Migration{jobs.Migration}}
}

// Open opens a database for the time of the test.
func Open(t testing.TB, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), url, Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	return d
}

// Repeated returns a context under which a write is lost once to another, as the
// server has it happen where two collide, so that its function runs again. On SQLite
// writers come one after the other.
func Repeated(ctx context.Context) context.Context { return db.WithAlong(ctx, &collision{}) }

type collision struct{ times atomic.Int64 }

func (c *collision) Begin() {}

func (c *collision) Commit(ctx context.Context, tx *db.Tx) error {
	if !tx.Postgres() || c.times.Add(1)%2 == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `do $$ begin raise exception 'lost to another' using errcode = 'serialization_failure'; end $$`)
	return err
}

// template is a SQLite file with the schema in place, made once per process.
// Copying it is faster than migrating afresh for each test.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "godwit-template-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "template.db")
	d, err := db.Open(context.Background(), "sqlite:"+name, Options())
	if err != nil {
		return nil, err
	}
	// Closing the last connection moves the log into the file.
	if err := d.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(name)
})

// SQLiteURL makes a fresh file with the schema in place and returns its URL.
func SQLiteURL(t testing.TB) string {
	t.Helper()
	content, err := template()
	if err != nil {
		t.Fatalf("make template database: %v", err)
	}
	name := filepath.Join(t.TempDir(), "godwit.db")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + name
}

// postgres is the server of this process and its template database.
var postgres = sync.OnceValues(func() (*pgServer, error) {
	if url := os.Getenv(server.Variable); url != "" {
		return newPgServer(url)
	}
	started, err := server.Start()
	if err != nil {
		return nil, err
	}
	s, err := newPgServer(started.URL)
	if err != nil {
		return nil, errors.Join(err, started.Stop())
	}
	s.started = started
	return s, nil
})

// PostgresURL makes a fresh database with the schema in place and returns its
// URL. It goes away after the test.
func PostgresURL(t testing.TB) string {
	t.Helper()
	s := serverFor(t)
	return s.database(t, s.template)
}

// EmptyPostgresURL is PostgresURL without any schema.
func EmptyPostgresURL(t testing.TB) string {
	t.Helper()
	return serverFor(t).database(t, "template0")
}

func serverFor(t testing.TB) *pgServer {
	t.Helper()
	s, err := postgres()
	if server.IsAbsent(err) {
		t.Skipf("%s skipped: %v", t.Name(), err)
	}
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	return s
}

func (s *pgServer) database(t testing.TB, template string) string {
	t.Helper()
	name := "godwit_test_" + strings.ToLower(rand.Text())
	if err := s.exec("create database " + name + " template " + template); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("drop database if exists " + name + " with (force)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return s.urlOf(name)
}

type pgServer struct {
	url      string
	template string
	started  *server.Server // kept, because it ends when nothing refers to it
}

// templateLock is the key of the advisory lock under which a template is made.
const templateLock = 0x60D818

// newPgServer makes the template database if the server has none for the
// present schema.
func newPgServer(url string) (*pgServer, error) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx) // which gives back the lock
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", templateLock); err != nil {
		return nil, err
	}
	name := "godwit_template_" + db.Fingerprint()
	s := &pgServer{url: url, template: name}
	var there bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&there); err != nil || there {
		return s, err
	}
	// It gets its name when it is complete. Text sorts by octets, as on SQLite.
	draft := name + "_draft"
	for _, statement := range []string{
		"drop database if exists " + draft + " with (force)",
		"create database " + draft + " template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	d, err := db.Open(ctx, s.urlOf(draft), Options())
	if err != nil {
		return nil, err
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "alter database "+draft+" rename to "+name)
	return s, err
}

func (s *pgServer) urlOf(database string) string {
	u, err := url.Parse(s.url)
	if err != nil {
		panic(err) // it has been connected to
	}
	u.Path = "/" + database
	return u.String()
}

// exec runs one statement on a connection of its own.
func (s *pgServer) exec(statement string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}
