package event

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"godwit/db"
)

const (
	feedBatch = 200
	feedPoll  = time.Second            // for what other processes append
	feedAgain = 100 * time.Millisecond // for what waits for an older transaction
	feedPause = 20 * time.Millisecond  // between looks during a rush
)

// tell wakes the feeds of this process.
func (l *Log) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.news)
	l.news = make(chan struct{})
}

func (l *Log) listen() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.news
}

// Subscribe returns the events that are recorded from now on (perhaps with some
// of the last moment), or from after the event with ID after if that is not
// zero, whichever node records them; none is missed and none comes twice. Subject, Account and Kind of f choose among
// them. The channel is closed when ctx is over; a subscriber that is slow
// delays only itself.
//
// Numbers are given before transactions commit, so on PostgreSQL an event may
// appear behind others with a higher number. The feed goes by the number of the
// transaction instead, and only as far as no older transaction is
// under way.
func (l *Log) Subscribe(ctx context.Context, f Filter, after int64) (<-chan Event, error) {
	cursor, err := l.start(ctx, after)
	if err != nil {
		return nil, fmt.Errorf("start feed: %w", err)
	}
	out := make(chan Event, feedBatch)
	go func() {
		defer close(out)
		l.feed(ctx, f, cursor, out)
	}()
	return out, nil
}

// A cursor is the place of an event in the order of the feed.
type cursor struct{ txid, id int64 }

// start finds the place of an event, or of the end of the record.
func (l *Log) start(ctx context.Context, after int64) (c cursor, err error) {
	err = l.db.Read(ctx, func(q db.Query) error {
		if after != 0 {
			// The event itself may have been removed by now: then the
			// first after it tells the place.
			err := q.QueryRowContext(ctx, `select txid, id from event where id >= $1 order by id limit 1`, after).Scan(&c.txid, &c.id)
			if c.id != after {
				c.id--
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		if l.db.Postgres() {
			// All that begin from now on.
			return q.QueryRowContext(ctx, `select pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1, $1::bigint`, int64(1)<<62).Scan(&c.txid, &c.id)
		}
		return q.QueryRowContext(ctx, `select coalesce(max(id), 0) from event`).Scan(&c.id)
	})
	return c, err
}

func (l *Log) feed(ctx context.Context, f Filter, c cursor, out chan<- Event) {
	where, args := f.where()
	timer := time.NewTimer(0)
	defer timer.Stop()
	again := 0 // quick looks left
	for {
		news := l.listen()
		events, next, err := l.after(ctx, where, args, c)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.WarnContext(ctx, "event feed cannot read", "err", err)
		}
		for _, e := range events {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
		c = next
		wait := l.poll
		switch {
		case len(events) == feedBatch:
			continue
		case again > 0:
			again--
			wait = feedAgain
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			continue
		case <-news:
		}
		if l.db.Postgres() {
			again = 10
		}
		// What comes in a rush is read together.
		timer.Reset(feedPause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// after reads what follows c, and says where it ends.
func (l *Log) after(ctx context.Context, where []string, args []any, c cursor) (events []Event, next cursor, err error) {
	args = append(slices.Clone(args), c.id)
	where = slices.Clone(where)
	order := "id"
	if l.db.Postgres() {
		args = append(args, c.txid)
		where = append(where, fmt.Sprintf("(txid, id) > ($%d, $%d)", len(args), len(args)-1),
			"txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
		order = "txid, id"
	} else {
		where = append(where, fmt.Sprintf("id > $%d", len(args)))
	}
	args = append(args, feedBatch)
	next = c
	err = l.db.Read(ctx, func(q db.Query) error {
		events, next = nil, c
		rows, err := q.QueryContext(ctx, `select txid, `+columns+` from event where `+strings.Join(where, " and ")+
			fmt.Sprintf(` order by %s limit $%d`, order, len(args)), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			e, err := scan(rows, &next.txid)
			if err != nil {
				return err
			}
			next.id = e.ID
			events = append(events, e)
		}
		return rows.Err()
	})
	return events, next, err
}
