package db

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Purge takes what was deleted before out of the files of a SQLite database: the log
// beside the file keeps pages as they were until it is used anew, and is emptied
// here. A long read holds that up; then it is tried again for some seconds, and the
// error says that nothing is lost by trying later. PostgreSQL has vacuum for it and
// does that in its own time: there Purge does nothing.
func (d *DB) Purge(ctx context.Context) error {
	if d.engine == postgresEngine {
		return nil
	}
	// A connection of its own: nobody waits for it but while it empties the log.
	pool, err := sqlitePool(d.path, true, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.ExecContext(ctx, fmt.Sprintf(`pragma busy_timeout = %d`, purgeTurn.Milliseconds())); err != nil {
		return explain(err)
	}
	for range purgeTries {
		var busy, logged, moved int
		if err := pool.QueryRowContext(ctx, `pragma wal_checkpoint(truncate)`).Scan(&busy, &logged, &moved); err != nil {
			return fmt.Errorf("empty the log of %s: %w", d.path, explain(err))
		}
		if busy == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the log of %s: %w", d.path, ErrInUse)
}

// ErrInUse says that somebody's long read keeps the log of a SQLite database from being emptied.
var ErrInUse = errors.New("cannot be emptied now: a long read goes on; do it again later")

// Writers wait while the log is being emptied, and so does it for readers: a short
// while at a time.
const (
	purgeTurn  = 200 * time.Millisecond
	purgeTries = 50
)
