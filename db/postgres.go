package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"
)

func (d *DB) openPostgres(url string, o Options) error {
	d.engine = postgresEngine
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("database URL: %w", err)
	}
	// A reader that goes away has its statement cancelled by request; without
	// this the driver would throw the connection away each time.
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: 5 * time.Second}
	}
	// The driver keeps its prepared statements per connection, 512 of them.
	pool := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `set lock_timeout = '30s'`)
		return err
	}))
	size := o.Readers
	if size == 0 {
		size = max(10, 4*runtime.GOMAXPROCS(0))
	}
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	d.read, d.write = pool, pool
	return nil
}

// writePostgres runs fn at repeatable read, where code that is right on SQLite
// stays right: a transaction that worked from something outdated is refused by
// the server and repeated here, instead of losing an update in silence.
func (d *DB) writePostgres(ctx context.Context, fn func(*Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := d.attemptPostgres(ctx, fn)
		if err == nil || !repeatable(err) || ctx.Err() != nil || attempt == mostAttempts {
			return explain(err)
		}
		// Writers that collide once collide again unless they step apart.
		pause := time.Duration(rand.Int64N(int64(time.Millisecond) * int64(min(attempt, 20))))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// mostAttempts bounds the repetitions. Each costs at most some 20 ms of waiting.
const mostAttempts = 100

func (d *DB) attemptPostgres(ctx context.Context, fn func(*Tx) error) error {
	sqlTx, conn, err := d.beginPostgres(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer conn.Close()
	tx := &Tx{tx: sqlTx, engine: postgresEngine}
	defer sqlTx.Rollback() // does nothing after a commit
	err = fn(tx)
	tx.over = true
	if err != nil {
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for _, f := range tx.after {
		f()
	}
	return nil
}

// beginPostgres waits for a connection as long as ctx lasts. The transaction
// itself does not end with ctx: the driver would close the connection with it.
func (d *DB) beginPostgres(ctx context.Context) (*sql.Tx, *sql.Conn, error) {
	for attempt := 1; ; attempt++ {
		conn, err := d.write.Conn(ctx)
		if err != nil {
			return nil, nil, err
		}
		tx, err := conn.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		if err == nil {
			return tx, conn, nil
		}
		conn.Close()
		// The server has closed it since it was last used.
		if !errors.Is(err, driver.ErrBadConn) || attempt == 10 {
			return nil, nil, err
		}
	}
}
