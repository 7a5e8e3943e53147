// Package db is the ground under everything that is stored: SQLite by default,
// PostgreSQL when one machine is not enough, one SQL text for both.
//
// Reading goes through [DB.Read], writing through [DB.Write]; nothing outside
// gets a raw handle. The package also seals secret fields ([DB.Seal]), brings
// the schema up to date when it opens ([Open]) and makes backups. It knows no
// table of the program: each package keeps its own SQL.
//
// SQL that both engines read alike: placeholders $1, $2; column types text,
// bigint, boolean, bytea; time as microseconds in bigint ([Micros]); JSON as
// text; keys made by us; returning, on conflict, partial unique indexes, check.
// Text parameters get a string, never a number. Write lower(x) like lower($1)
// where case must not matter, and page by key: (created_at, sid) < ($1, $2).
package db

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// Options are the choices of one [Open]. The zero value works, except that
// [DB.Seal] needs a master key.
type Options struct {
	// MasterKey seals secret fields.
	MasterKey MasterKey

	// Migrations are run after the program's own, on every Open. The job
	// queue brings its tables this way.
	Migrations []Migration

	// Readers bounds the connections that read, 0 for a sensible number. On
	// PostgreSQL it bounds all connections.
	Readers int

	// NoMigrate leaves the schema as it is and refuses one that is not
	// current. Commands that only look use it.
	NoMigrate bool
}

// A DB is one open database. Its methods may be called from any goroutine.
type DB struct {
	engine engine
	path   string // of the SQLite file
	keys   MasterKey

	read  *sql.DB // SQLite: query_only connections; PostgreSQL: the one pool
	write *sql.DB // SQLite: one connection; PostgreSQL: the same pool as read
	group *group  // SQLite only
}

type engine int

const (
	sqliteEngine engine = iota
	postgresEngine
)

func (e engine) String() string {
	if e == postgresEngine {
		return "postgres"
	}
	return "sqlite"
}

// Open opens the database at url, "sqlite:PATH" or "postgres://…", and brings
// its schema up to date. Several processes may open one database at once.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	d := &DB{keys: o.MasterKey}
	var err error
	switch path, isSQLite := strings.CutPrefix(url, "sqlite:"); {
	case isSQLite && path != "":
		err = d.openSQLite(path, o)
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		err = d.openPostgres(url, o)
	default:
		return nil, fmt.Errorf(`database %q: want "sqlite:PATH" or "postgres://…"`, withoutPassword(url))
	}
	if err != nil {
		return nil, err
	}
	if err := d.migrate(ctx, o); err != nil {
		d.Close()
		return nil, fmt.Errorf("bring %s up to date: %w", withoutPassword(url), explain(err))
	}
	return d, nil
}

// Close waits for the writes under way and closes the connections.
func (d *DB) Close() error {
	if d.group != nil {
		d.group.close()
	}
	err := d.write.Close()
	if d.read != d.write {
		if e := d.read.Close(); err == nil {
			err = e
		}
	}
	return err
}

// Postgres reports whether the engine is PostgreSQL. Only code that has to
// speak to the engine itself asks.
func (d *DB) Postgres() bool { return d.engine == postgresEngine }

// Ping reports whether the database answers, for readiness checks.
func (d *DB) Ping(ctx context.Context) error { return explain(d.read.PingContext(ctx)) }

// Pool returns the handle that the job queue works on: on SQLite the single
// connection that writes, which group commits share. Nothing else may use it.
func (d *DB) Pool() *sql.DB { return d.write }

// Query is what can be asked inside Read and inside Write, so that a function
// that only reads serves both.
type Query interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Read calls fn with a connection for reading; on SQLite one that cannot write. Each statement sees what
// was committed when it began; statements that must fit together belong in
// [DB.Snapshot]. Close the rows of one query before the next.
func (d *DB) Read(ctx context.Context, fn func(q Query) error) error {
	conn, err := d.read.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to read: %w", explain(err))
	}
	defer conn.Close()
	return explain(fn(reader{conn, d.engine}))
}

// Snapshot is Read where all statements see the same moment.
func (d *DB) Snapshot(ctx context.Context, fn func(q Query) error) error {
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: d.snapshotLevel()})
	if err != nil {
		return fmt.Errorf("begin to read: %w", explain(err))
	}
	defer tx.Rollback()
	return explain(fn(tx))
}

func (d *DB) snapshotLevel() sql.IsolationLevel {
	if d.engine == postgresEngine {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault // every SQLite transaction is a snapshot
}

// Write calls fn in a transaction and commits it if fn returns nil. fn may be
// called more than once, each time in a new transaction in which nothing of the
// earlier call is left; so it has no effect but through tx, and what it
// gathers in variables it gathers anew. What must follow the commit goes into
// [Tx.AfterCommit]. fn must not call Write itself.
//
// A refused statement ends the transaction on PostgreSQL: where a conflict is
// expected, write "on conflict" instead of looking at the error.
//
// On SQLite, functions that wait together share one commit: each has its
// own savepoint, so the failure of one leaves the others as they are.
func (d *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	fn = joined(ctx, fn)
	if d.engine == postgresEngine {
		return d.writePostgres(ctx, fn)
	}
	return d.group.write(ctx, fn)
}

// Micros is a time as it is stored: microseconds since 1970 UTC.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// Time reads what [Micros] wrote.
func Time(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// Now is the time that a clock tells as it is stored, in whole microseconds. A
// nil clock is the system's.
func Now(clock func() time.Time) time.Time {
	if clock == nil {
		clock = time.Now
	}
	return clock().UTC().Truncate(time.Microsecond)
}

// reader is one connection for reading.
type reader struct {
	conn   *sql.Conn
	engine engine
}

func (r reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return r.conn.QueryContext(ctx, query, args...)
}

// QueryRowContext reads one row. On SQLite that takes microseconds, and
// watching for the caller's departure meanwhile would cost two goroutines for
// every row read; so the context is looked at once, before.
func (r reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if r.engine == sqliteEngine && ctx.Err() == nil {
		ctx = context.WithoutCancel(ctx)
	}
	return r.conn.QueryRowContext(ctx, query, args...)
}
