package db

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	clockEvery   = time.Hour
	clockAllowed = 2 * time.Second
)

// WatchClock warns at once and each hour when the clock of this program and that
// of a PostgreSQL server differ: jobs are due by the one and found by the
// other. It returns when ctx ends; on SQLite there is one clock only. now is
// time.Now where it is nil.
func (d *DB) WatchClock(ctx context.Context, now func() time.Time) error {
	if !d.Postgres() {
		return nil
	}
	if now == nil {
		now = time.Now
	}
	every := time.NewTicker(clockEvery)
	defer every.Stop()
	for {
		d.checkClock(ctx, now)
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// checkClock warns. That the clocks could not be compared is no more than a note:
// whoever needs the database says so himself.
func (d *DB) checkClock(ctx context.Context, now func() time.Time) {
	ahead, give, err := d.clockAhead(ctx, now)
	switch {
	case err != nil:
		slog.DebugContext(ctx, "the clocks of the program and of the database server were not compared", "err", err)
	case ahead.Abs() > clockAllowed+give:
		slog.WarnContext(ctx, "the clock of this machine differs from that of the database server, and jobs are worked too early or too late by as much: "+
			"have both keep the time by NTP (chronyc tracking, timedatectl)", "ahead", ahead.Round(time.Millisecond))
	}
}

// clockAhead returns by how much the program's clock is ahead of the server's, give
// or take the time that the question took.
func (d *DB) clockAhead(ctx context.Context, now func() time.Time) (ahead, give time.Duration, err error) {
	var server int64
	var asked time.Time
	err = d.Read(ctx, func(q Query) error {
		asked = now()
		return q.QueryRowContext(ctx, `select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)`).Scan(&server)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("ask the database for the time: %w", err)
	}
	give = now().Sub(asked)
	return asked.Add(give / 2).Sub(Time(server)), give, nil
}
