package callback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"godwit/db"
)

// A Sender takes callbacks and, while [Sender.Run] runs, delivers them.
//
// It works from its own table and not through the job queue: a delivery is two
// statements there instead of a job's six, they are taken and recorded many at a time, and
// the state of each endpoint decides what is taken next. Nodes share the table.
type Sender struct {
	db      *db.DB
	options Options
	client  *http.Client
	wake    chan struct{} // something may be due
	poll    time.Duration // how often to look without having been woken

	troubles troubles
}

// New returns the sender of a database.
func New(d *db.DB, o Options) *Sender {
	o.Concurrent = cmp.Or(o.Concurrent, 512)
	o.PerEndpoint = cmp.Or(o.PerEndpoint, 16)
	o.Retention = cmp.Or(o.Retention, 30*24*time.Hour)
	o.PauseFailures = cmp.Or(o.PauseFailures, 10)
	o.PauseAfter = cmp.Or(o.PauseAfter, 12*time.Hour)
	o.Probe = cmp.Or(o.Probe, time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Sender{db: d, options: o, client: Client(o), wake: make(chan struct{}, 1), poll: poll}
}

// delivery is what an attempt needs to know of a row.
type delivery struct {
	sid, account, url, method, form, token string
	endpoint                               string
	attempt, allowed                       int
	until                                  int64 // the lease, as it is stored
	probe                                  bool  // whether a paused endpoint is there again
	target                                 target
}

// finished is an attempt that has ended.
type finished struct {
	delivery
	outcome
}

const (
	takeAtOnce = 128
	poll       = time.Second      // for deliveries of other nodes and for what falls due
	lease      = 30 * time.Second // longer than any attempt; then another node supposes that we died
	survey     = 5 * time.Second  // how often to look for endpoints that other nodes put apart
	slowAnswer = time.Second
	patience   = 5 * time.Second // with attempts under way at the end
)

// errStopped ends attempts that take longer than the end of the process may. They are
// made again when their lease is over.
var errStopped = errors.New("the sender stops")

// Run delivers until ctx is over and then waits for the attempts under way.
func (s *Sender) Run(ctx context.Context) error {
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	line := newLine(s.options.Concurrent, s.options.PerEndpoint)
	ended := make(chan finished, s.options.Concurrent)
	var requests, recorder sync.WaitGroup
	recorder.Go(func() { s.record(context.WithoutCancel(ctx), ended, line) })
	defer func() {
		patience := time.AfterFunc(patience, func() { stop(errStopped) })
		defer patience.Stop()
		requests.Wait()
		close(ended)
		recorder.Wait()
		s.client.CloseIdleConnections()
	}()

	if err := s.resume(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var surveyed, pruned time.Time
	for ctx.Err() == nil {
		if time.Since(surveyed) > survey {
			if err := s.survey(ctx, line); err != nil {
				slog.WarnContext(ctx, "callbacks: cannot look for endpoints put apart", "err", err)
			}
			surveyed = time.Now()
		}
		if time.Since(pruned) > time.Hour {
			if err := s.prune(ctx); err != nil {
				slog.WarnContext(ctx, "callbacks: cannot remove old records", "err", err)
			}
			pruned = time.Now()
		}
		start, full, err := s.take(ctx, line)
		if err != nil && ctx.Err() == nil {
			slog.ErrorContext(ctx, "callbacks: cannot take what is due", "err", err)
		}
		for _, d := range start {
			requests.Go(func() {
				o := s.request(working, d)
				if context.Cause(working) == nil {
					ended <- finished{d, o}
				}
				line.leave(d.endpoint)
				s.wakeUpFor(line, d.endpoint)
			})
		}
		if full && err == nil {
			continue
		}
		timer.Reset(s.poll)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
	}
	return nil
}

// resume takes up at once what an earlier process had in its hands when it died:
// attempts that were begun and have no end. Only on SQLite is it known that
// nobody else is at them; elsewhere their lease has to run out.
func (s *Sender) resume(ctx context.Context) error {
	return s.db.Write(ctx, func(tx *db.Tx) error {
		if tx.Postgres() {
			return nil
		}
		_, err := tx.ExecContext(ctx, `update callback_delivery set due_at = $1 where state = 'due' and due_at > $1 and attempts > 0
			and not exists (select 1 from callback_attempt a where a.delivery_sid = callback_delivery.sid and a.number = callback_delivery.attempts)`,
			db.Micros(s.options.Now()))
		if err != nil {
			return fmt.Errorf("callbacks: take up what was under way: %w", err)
		}
		return nil
	})
}

// wakeUp has Run look for what is due.
func (s *Sender) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// wakeUpFor has Run look again where the end of an attempt makes room that
// somebody waits for.
func (s *Sender) wakeUpFor(l *line, endpoint string) {
	if l.awaited(endpoint) {
		s.wakeUp()
	}
}

// take claims deliveries that are due: first those of endpoints that stand
// apart, as far as each has room, then those of the common line. Whoever is
// found in the common line for an endpoint without room is put apart, so that it is
// not met there again and again.
//
// full says that more may be due.
func (s *Sender) take(ctx context.Context, l *line) (start []delivery, full bool, err error) {
	limit := min(l.room(), takeAtOnce)
	if limit == 0 {
		return nil, false, nil // whoever ends next wakes us
	}
	apart := l.apart()
	probing := s.troubles.any()
	var none []string // endpoints where nobody waits any more
	var surplus []delivery
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		start, surplus, none, full = nil, nil, nil, false
		now := s.options.Now()
		left := limit
		begun := map[string]int{} // in this transaction
		for endpoint, room := range apart {
			if room = min(room, left); room <= 0 {
				continue
			}
			list, err := s.claim(ctx, tx, `endpoint = $4 and apart and state = 'due'`, now, room, endpoint)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				none = append(none, endpoint)
			}
			if list, err = s.hold(ctx, tx, list); err != nil {
				return err
			}
			begun[endpoint] += len(list)
			left -= len(list)
			start = append(start, list...)
		}
		if left == 0 {
			full = true
			return nil
		}
		list, err := s.claim(ctx, tx, `state = 'due' and not apart`, now, left)
		if err != nil {
			return err
		}
		full = len(list) == left
		if list, err = s.hold(ctx, tx, list); err != nil {
			return err
		}
		if probing {
			one, err := s.probes(ctx, tx, now)
			if err != nil {
				return err
			}
			list = append(list, one...)
		}
		for _, d := range list {
			if l.roomAt(d.endpoint) <= begun[d.endpoint] {
				surplus = append(surplus, d)
				continue
			}
			begun[d.endpoint]++
			start = append(start, d)
		}
		return s.putApart(ctx, tx, surplus, now)
	})
	if err != nil {
		return nil, false, err
	}
	for _, endpoint := range none {
		l.join(endpoint)
	}
	for _, d := range surplus {
		l.part(d.endpoint)
	}
	for _, d := range start {
		l.enter(d.endpoint)
	}
	return start, full, nil
}

// claim takes deliveries out of a line for the time of an attempt. The attempt
// is counted now: one that dies with its process has been one.
func (s *Sender) claim(ctx context.Context, tx *db.Tx, where string, now time.Time, limit int, more ...any) ([]delivery, error) {
	return s.claimWhere(ctx, tx, where, db.Micros(now), now, limit, more...)
}

// claimWhere claims what is due up to a time as it is stored.
func (s *Sender) claimWhere(ctx context.Context, tx *db.Tx, where string, due int64, now time.Time, limit int, more ...any) ([]delivery, error) {
	until := db.Micros(now.Add(lease))
	text := `update callback_delivery set due_at = $1, attempts = attempts + 1, apart = false where sid in (
		select sid from callback_delivery where ` + where + ` and due_at <= $2 order by due_at limit $3` + tx.SkipLocked() + `)
		returning sid, account, url, method, form, token, endpoint, attempts, allowed`
	rows, err := tx.QueryContext(ctx, text, append([]any{until, due, limit}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	defer rows.Close()
	var list []delivery
	for rows.Next() {
		d := delivery{until: until}
		if err := rows.Scan(&d.sid, &d.account, &d.url, &d.method, &d.form, &d.token, &d.endpoint, &d.attempt, &d.allowed); err != nil {
			return nil, fmt.Errorf("claim deliveries: %w", err)
		}
		if d.target, err = parseTarget(d.url); err != nil {
			return nil, fmt.Errorf("claim %s: %w", d.sid, err) // it was checked when it was added
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

// putApart gives deliveries back, into the line of their endpoints.
func (s *Sender) putApart(ctx context.Context, tx *db.Tx, list []delivery, now time.Time) error {
	const chunk = 32
	places := make([]string, chunk)
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+2)
	}
	text := `update callback_delivery set apart = true, due_at = $1, attempts = attempts - 1 where sid in (` + strings.Join(places, ", ") + `)`
	for len(list) > 0 {
		n := min(chunk, len(list))
		args := []any{db.Micros(now)}
		for i := range chunk { // always as many, so that the statement stays prepared
			args = append(args, list[min(i, n-1)].sid)
		}
		if _, err := tx.ExecContext(ctx, text, args...); err != nil {
			return fmt.Errorf("put deliveries apart: %w", err)
		}
		list = list[n:]
	}
	return nil
}

// survey learns which endpoints have deliveries apart: put there by another node,
// or before this process began.
func (s *Sender) survey(ctx context.Context, l *line) error {
	return s.db.Read(ctx, func(q db.Query) error {
		if err := s.surveyTroubles(ctx, q); err != nil {
			return err
		}
		rows, err := q.QueryContext(ctx, `select distinct endpoint from callback_delivery where state = 'due' and apart`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var endpoint string
			if err := rows.Scan(&endpoint); err != nil {
				return err
			}
			l.part(endpoint)
		}
		return rows.Err()
	})
}

// record writes down how attempts ended, those that end about the same time
// together.
func (s *Sender) record(ctx context.Context, ended <-chan finished, l *line) {
	for first := range ended {
		batch := []finished{first}
	more:
		for len(batch) < takeAtOnce {
			select {
			case f, ok := <-ended:
				if !ok {
					break more
				}
				batch = append(batch, f)
			default:
				break more
			}
		}
		for _, f := range batch {
			l.answered(f.endpoint, f.duration >= slowAnswer)
		}
		// What cannot be recorded is done again when its lease is over.
		if err := s.db.Write(ctx, func(tx *db.Tx) error {
			for _, f := range batch {
				if err := s.settle(ctx, tx, f); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			slog.ErrorContext(ctx, "callbacks: cannot record attempts", "number", len(batch), "err", err)
			continue
		}
		for _, f := range batch {
			if state, _ := f.next(s.options.Now()); state == Failed {
				slog.WarnContext(ctx, "callback given up", "delivery", f.sid, "account", f.account, "to", f.endpoint, "attempts", f.attempt, "err", f.err)
			}
		}
	}
}

// settle records one attempt and decides what follows.
func (s *Sender) settle(ctx context.Context, tx *db.Tx, f finished) error {
	now := s.options.Now()
	if _, err := tx.ExecContext(ctx, `insert into callback_attempt (delivery_sid, number, at, duration, status, error)
		values ($1, $2, $3, $4, $5, $6) on conflict (delivery_sid, number) do nothing`,
		f.sid, f.attempt, db.Micros(f.at), f.duration.Microseconds(), f.status, f.err); err != nil {
		return fmt.Errorf("record attempt of %s: %w", f.sid, err)
	}
	state, due := f.next(now)
	// Who has lost the lease decides nothing: a redelivery was asked for
	// meanwhile, or another node supposed that we died.
	if _, err := tx.ExecContext(ctx, `update callback_delivery set state = $1, due_at = $2, last_status = $3, last_error = $4, updated_at = $5
		where sid = $6 and state = 'due' and due_at = $7`,
		string(state), db.Micros(due), f.status, f.err, db.Micros(now), f.sid, f.until); err != nil {
		return fmt.Errorf("record end of %s: %w", f.sid, err)
	}
	return s.note(ctx, tx, f, now)
}

// next decides what follows an attempt. A receiver that set the number of
// repetitions in its URL gets the hosted service's behaviour: repeated is what it
// cannot have heard, and at once.
func (f finished) next(now time.Time) (State, time.Time) {
	switch {
	case f.err == "":
		return Delivered, now
	case !f.again, f.attempt >= f.allowed, f.target.limits.retries >= 0 && !f.unheard:
		return Failed, now
	}
	if f.unheard && (f.attempt == 1 || f.target.limits.retries >= 0) {
		return Due, now.Add(fast)
	}
	return Due, now.Add(wait(f.attempt))
}

// prune removes old records.
func (s *Sender) prune(ctx context.Context) error {
	for {
		var n int64
		err := s.db.Write(ctx, func(tx *db.Tx) error {
			result, err := tx.ExecContext(ctx, `delete from callback_delivery where sid in (
				select sid from callback_delivery where created_at < $1 and (state <> 'due' or due_at = $2) limit 500)`,
				db.Micros(s.options.Now().Add(-s.options.Retention)), int64(held))
			if err != nil {
				return err
			}
			n, err = result.RowsAffected()
			return err
		})
		if err != nil || n < 500 {
			return err
		}
	}
}
