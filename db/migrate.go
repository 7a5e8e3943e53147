package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// The schema, one set for both engines. A file is never changed after its
// release.
//
//go:embed migrations/*.sql
var files embed.FS

// A Migration brings tables of a library up to date; it does nothing where
// they are. It runs under the same lock as the program's own.
type Migration struct {
	Name    string
	Migrate func(ctx context.Context, pool *sql.DB, postgres bool) error
	Current func(ctx context.Context, pool *sql.DB, postgres bool) (bool, error)
}

// migrationLock is the key of PostgreSQL's advisory lock for migrations. Any
// number does that nobody else takes.
const migrationLock = 0x60D817

// migrate brings the schema up to date. Several processes may try at once.
func (d *DB) migrate(ctx context.Context, o Options) error {
	if d.engine == postgresEngine {
		lock, err := d.write.Conn(ctx)
		if err != nil {
			return err
		}
		defer lock.Close()                                                       // the lock goes with the connection's unlock below
		if _, err := lock.ExecContext(ctx, `set lock_timeout = 0`); err != nil { // another may take its time
			return err
		}
		defer lock.ExecContext(context.WithoutCancel(ctx), `set lock_timeout = '30s'`)
		if _, err := lock.ExecContext(ctx, `select pg_advisory_lock($1)`, migrationLock); err != nil {
			return err
		}
		defer lock.ExecContext(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, migrationLock)
		return d.migrateOnce(ctx, o)
	}
	// SQLite has no lock that spans transactions. Each migration is a
	// transaction of its own; where another process was first, ours fails
	// harmlessly and the next look finds the work done.
	var err error
	for pause := 10 * time.Millisecond; pause < time.Second; pause *= 2 {
		if err = d.migrateOnce(ctx, o); err == nil || ctx.Err() != nil || errors.Is(err, ErrNewer) || errors.Is(err, ErrOlder) || errors.Is(explain(err), ErrCorrupt) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
	return err
}

func (d *DB) migrateOnce(ctx context.Context, o Options) error {
	p, err := d.provider()
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return fmt.Errorf("%w: its schema is %d, this program knows %d", ErrNewer, have, want)
	}
	if have < want {
		if o.NoMigrate {
			return fmt.Errorf("%w: its schema is %d, this program wants %d", ErrOlder, have, want)
		}
		if _, err := p.Up(ctx); err != nil {
			return err
		}
	}
	for _, m := range o.Migrations {
		current, err := m.Current(ctx, d.write, d.Postgres())
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		if current {
			continue
		}
		if o.NoMigrate {
			return fmt.Errorf("%w: the tables of %s are old", ErrOlder, m.Name)
		}
		if err := m.Migrate(ctx, d.write, d.Postgres()); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

func (d *DB) provider() (*goose.Provider, error) {
	dir, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, err
	}
	dialect := goose.DialectSQLite3
	if d.engine == postgresEngine {
		dialect = goose.DialectPostgres
	}
	return goose.NewProvider(dialect, d.write, dir,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_version"), goose.WithLogger(goose.NopLogger()))
}

// Fingerprint tells one state of the program's schema from another. Tests name
// their template databases by it.
func Fingerprint() string {
	h := sha256.New()
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is well formed
	}
	for _, name := range names {
		content, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(content), content)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// A Step is one numbered migration and when it was applied, zero if it was not.
type Step struct {
	Version   int64
	Name      string
	AppliedAt time.Time
}

// Schema lists the migrations that this program knows.
func (d *DB) Schema(ctx context.Context) ([]Step, error) {
	p, err := d.provider()
	if err != nil {
		return nil, err
	}
	list, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read schema version: %w", explain(err))
	}
	steps := make([]Step, len(list))
	for i, s := range list {
		steps[i] = Step{s.Source.Version, s.Source.Path, s.AppliedAt}
	}
	return steps, nil
}
