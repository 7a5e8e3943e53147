package db

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Backup writes a consistent copy of a SQLite database to a new file while the
// server goes on. The copy holds secrets as they are: sealed.
func (d *DB) Backup(ctx context.Context, path string) error {
	if d.engine == postgresEngine {
		return errors.New("backup: PostgreSQL has its own tools; use pg_dump")
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("backup: %s exists already", path)
	}
	// VACUUM INTO makes the file itself, with the process's umask; so make it
	// first, for the owner only. An empty file is accepted as a target.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := d.vacuumInto(ctx, path); err != nil {
		os.Remove(path)
		return fmt.Errorf("backup to %s: %w", path, explain(err))
	}
	return nil
}

// vacuumInto copies under a read transaction, so nobody who writes waits. It needs
// a connection of its own: the readers' may not write anything, not even a copy.
func (d *DB) vacuumInto(ctx context.Context, path string) error {
	pool, err := sqlitePool(d.path, true, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.ExecContext(ctx, `vacuum into $1`, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
