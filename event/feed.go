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
// zero, whichever node records them; none is missed and none comes twice. Subject, Account, Kind and Kinds of f choose among
// them. The channel is closed when ctx is over; a subscriber that is slow
// delays only itself.
//
// Numbers are given before transactions commit, so on PostgreSQL an event may
// appear behind others with a higher number. The feed goes by the number of the
// transaction instead, and only as far as no older transaction is
// under way.
func (l *Log) Subscribe(ctx context.Context, f Filter, after int64) (<-chan Event, error) {
	place, err := l.start(ctx, after)
	if err != nil {
		return nil, fmt.Errorf("start feed: %w", err)
	}
	out := make(chan Event, feedBatch)
	go func() {
		defer close(out)
		l.feed(ctx, f, place, out)
	}()
	return out, nil
}

// A Place is one in the order of the feed: that of an event, or between two. It
// may be kept and gone on from later. The zero place is before everything.
type Place struct{ TX, ID int64 }

// End returns the place after which everything comes that is committed from now
// on, perhaps with some of the last moment.
func (l *Log) End(ctx context.Context, q db.Query) (p Place, err error) {
	if l.db.Postgres() {
		// All that begin from now on.
		p.ID = 1 << 62
		err = q.QueryRowContext(ctx, `select pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1`).Scan(&p.TX)
	} else {
		err = q.QueryRowContext(ctx, `select coalesce(max(id), 0) from event`).Scan(&p.ID)
	}
	if err != nil {
		return p, fmt.Errorf("find the end of the events: %w", err)
	}
	return p, nil
}

// start finds the place of an event, or of the end of the record.
func (l *Log) start(ctx context.Context, after int64) (p Place, err error) {
	err = l.db.Read(ctx, func(q db.Query) error {
		if after != 0 {
			// The event itself may have been removed by now: then the
			// first after it tells the place.
			err := q.QueryRowContext(ctx, `select txid, id from event where id >= $1 order by id limit 1`, after).Scan(&p.TX, &p.ID)
			if p.ID != after {
				p.ID--
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		p, err = l.End(ctx, q)
		return err
	})
	return p, err
}

func (l *Log) feed(ctx context.Context, f Filter, at Place, out chan<- Event) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	again := 0 // quick looks left
	for {
		news := l.listen()
		events, next, err := l.After(ctx, f, at, feedBatch)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.WarnContext(ctx, "event feed cannot read", "err", err)
		}
		for _, e := range events {
			select {
			case out <- e.Event:
			case <-ctx.Done():
				return
			}
		}
		at = next
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

// A Placed is an event with its place in the feed.
type Placed struct {
	Event
	Place Place
}

// After returns what follows a place, limit events at most, and the place to go
// on from: that of the last one, or where the looking ended if there are fewer.
// On PostgreSQL it goes only as far as no older transaction is under way.
func (l *Log) After(ctx context.Context, f Filter, p Place, limit int) (events []Placed, next Place, err error) {
	where, args := f.where()
	order := "id"
	var end Place
	err = l.db.Read(ctx, func(q db.Query) error {
		// What has ended by now is all to be seen by the statement that follows.
		if end, err = l.End(ctx, q); err != nil {
			return err
		}
		events = nil
		where, args := slices.Clone(where), append(slices.Clone(args), p.ID)
		if l.db.Postgres() {
			args = append(args, p.TX, end.TX)
			where = append(where, fmt.Sprintf("(txid, id) > ($%d, $%d) and txid <= $%d and txid > 0", len(args)-1, len(args)-2, len(args)))
			order = "txid, id"
		} else {
			args = append(args, end.ID)
			where = append(where, fmt.Sprintf("id > $%d and id <= $%d", len(args)-1, len(args)))
		}
		args = append(args, limit)
		rows, err := q.QueryContext(ctx, `select txid, `+columns+` from event where `+strings.Join(where, " and ")+
			fmt.Sprintf(` order by %s limit $%d`, order, len(args)), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e Placed
			if e.Event, err = scan(rows, &e.Place.TX); err != nil {
				return err
			}
			e.Place.ID = e.ID
			events = append(events, e)
		}
		return rows.Err()
	})
	switch {
	case err != nil:
		return nil, p, fmt.Errorf("read events after a place: %w", err)
	case len(events) == limit:
		next = events[len(events)-1].Place
	case end.TX == p.TX && end.ID < p.ID:
		next = p
	default:
		next = end // also where p is from beyond: PostgreSQL counts anew after a restore
	}
	return events, next, nil
}
