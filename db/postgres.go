package db

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

func (d *DB) openPostgres(url string, o Options) error {
	d.engine = postgresEngine
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("database URL: %w", err)
	}
	// The driver keeps its prepared statements per connection, 512 of them.
	pool := stdlib.OpenDB(*config)
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
		if err == nil || !repeatable(err) || ctx.Err() != nil || attempt == 100 {
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

func (d *DB) attemptPostgres(ctx context.Context, fn func(*Tx) error) error {
	sqlTx, err := d.write.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
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
