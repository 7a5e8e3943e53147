package db

import (
	"context"
	"database/sql"
	"errors"
)

// A Tx is the transaction of one call of the function given to [DB.Write].
type Tx struct {
	tx     runner
	shared *shared // SQLite only
	engine engine
	over   bool
	after  []func()
	open   []*sql.Rows // SQLite only: handed out, perhaps not closed
	failed bool        // a statement has ended with an error
}

// runner is what runs the statements: a transaction on PostgreSQL, on SQLite
// the connection that is in one.
type runner interface {
	Query
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

var errOver = errors.New("the transaction is over: a Tx may be used only inside the function given to Write")

// ExecContext runs a statement that returns no rows.
func (tx *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := tx.usable(ctx); err != nil {
		return nil, err
	}
	result, err := tx.tx.ExecContext(quiet(ctx), query, args...)
	tx.failed = tx.failed || err != nil
	return result, err
}

// Exec is ExecContext for those who ask how many rows a statement has changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// QueryContext runs a statement that returns rows.
func (tx *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := tx.usable(ctx); err != nil {
		return nil, err
	}
	rows, err := tx.tx.QueryContext(quiet(ctx), query, args...)
	tx.failed = tx.failed || err != nil
	if err == nil && tx.shared != nil {
		tx.open = append(tx.open, rows)
	}
	return rows, err
}

// QueryRowContext runs a statement that returns at most one row. The row must be
// scanned.
func (tx *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if err := tx.usable(ctx); err != nil {
		// A sql.Row cannot be made with an error of ours; one that was asked
		// under a context that is over carries that context's error.
		gone, cancel := context.WithCancelCause(ctx)
		cancel(err)
		return tx.tx.QueryRowContext(gone, query, args...)
	}
	row := tx.tx.QueryRowContext(quiet(ctx), query, args...)
	tx.failed = tx.failed || row.Err() != nil
	return row
}

// ForUpdate is the end of a select whose rows this transaction will change:
// others wait for it. SQLite has one writer at a time and needs no words.
func (tx *Tx) ForUpdate() string {
	if tx.engine == postgresEngine {
		return " for update"
	}
	return ""
}

// SkipLocked is ForUpdate that passes over rows which others hold, for taking
// work from a table.
func (tx *Tx) SkipLocked() string {
	if tx.engine == postgresEngine {
		return " for update skip locked"
	}
	return ""
}

// Postgres reports whether the engine is PostgreSQL, for the few statements
// that have to differ.
func (tx *Tx) Postgres() bool { return tx.engine == postgresEngine }

// AfterCommit has f called once the transaction is durable, by the goroutine
// that called Write, before Write returns. It is for waking others, not for work that
// must happen: a crash may come between.
func (tx *Tx) AfterCommit(f func()) { tx.after = append(tx.after, f) }

// SQL returns the transaction itself for the job queue, whose library asks for
// it. On SQLite several callers share it one after the other, so it must be
// neither committed nor rolled back.
func (tx *Tx) SQL() *sql.Tx {
	if tx.shared != nil {
		return tx.shared.sql()
	}
	return tx.tx.(*sql.Tx)
}

func (tx *Tx) usable(ctx context.Context) error {
	if tx.over {
		return errOver
	}
	return ctx.Err()
}

// quiet takes the cancellation out of ctx, which was looked at before. On SQLite
// interrupting a statement rolls back the whole transaction, which belongs to
// others too; on PostgreSQL it costs the connection.
func quiet(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
