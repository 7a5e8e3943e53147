package monitor

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// A worker sends the documents of one monitor, one after the other.
type worker struct {
	s     *Store
	of    Monitor // as it was when the worker was made: number, version, account and topics
	stop  context.CancelFunc
	wake  chan struct{} // something may be to be told
	ended chan struct{}

	monitor Monitor     // as it is stored
	scanned event.Place // up to where the events are in pending
	pending []Message
	octets  int       // of pending
	full    bool      // no more fits
	since   time.Time // when the first of pending was met
}

// over reports whether the worker has ended.
func (w *worker) over() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}

func (w *worker) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

const (
	// idle is how often a monitor that nothing concerns has its place moved over
	// what did not concern it, so that a restart need not read all of that again.
	idle      = 10 * time.Minute
	readAgain = time.Second // after trouble with the database
)

// run works until ctx is over, the monitor is switched off, or somebody else has
// moved it.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		// One that is new, and one that lost what came while its target was away,
		// begins with a keep-alive.
		if w.monitor.Status == Inactive || w.monitor.failures > 0 && !w.monitor.Persistent {
			if err := w.skip(ctx); err != nil {
				slog.WarnContext(ctx, "monitors: cannot find the end of the events", "monitor", w.monitor.ID, "err", err)
				pause(ctx, readAgain)
				continue
			}
			if !w.attempt(ctx, document(nil), w.connected) {
				return
			}
			continue
		}
		if !w.gather(ctx) {
			continue
		}
		if !w.attempt(ctx, document(w.pending), w.delivered) {
			return
		}
	}
}

// skip drops what came until now, unless the monitor keeps it: what comes from
// here on is told if the target answers.
func (w *worker) skip(ctx context.Context) error {
	to := w.monitor.place
	if !w.monitor.Persistent {
		if err := w.s.DB.Read(ctx, func(q db.Query) (err error) {
			to, err = w.s.Events.End(ctx, q)
			return err
		}); err != nil {
			return err
		}
	}
	w.pending, w.octets, w.full, w.scanned = nil, 0, false, to
	return nil
}

// gather reads what is to be told until a document is full, or its first message
// has waited long enough. It is false when there is none.
func (w *worker) gather(ctx context.Context) bool {
	if !w.full {
		list, next, full, err := w.s.messages(ctx, w.monitor, w.scanned, bound{
			size: int(w.monitor.BatchSize) - len(w.pending), octets: MaxDocument - w.octets, one: len(w.pending) == 0,
		})
		if err != nil {
			if ctx.Err() == nil {
				slog.WarnContext(ctx, "monitors: cannot read what is to be told", "monitor", w.monitor.ID, "err", err)
			}
			pause(ctx, readAgain)
			return false
		}
		if len(w.pending) == 0 {
			w.since = time.Now()
		}
		w.pending, w.scanned, w.full = append(w.pending, list...), next, full
		for _, m := range list {
			w.octets += len(m.JSON)
		}
	}
	wait := idle
	if len(w.pending) > 0 {
		if wait = time.Until(w.since.Add(time.Duration(w.monitor.BatchDuration) * time.Second)); w.full || wait <= 0 {
			return true
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-timer.C:
		if len(w.pending) == 0 {
			w.pass(ctx)
		}
	}
	return false
}

// pass moves the place over what does not concern the monitor.
func (w *worker) pass(ctx context.Context) {
	moved := false
	err := w.s.DB.Write(ctx, func(tx *db.Tx) (err error) {
		moved, err = w.s.advance(ctx, tx, w.monitor, w.scanned, "")
		return err
	})
	switch {
	case err != nil:
		slog.WarnContext(ctx, "monitors: cannot move one on", "monitor", w.monitor.ID, "err", err)
	case moved:
		w.monitor.place = w.scanned
	default:
		w.stop()
	}
}

// attempt sends a document and stores what came of it, again until that is
// done. It is false when the worker is to end.
func (w *worker) attempt(ctx context.Context, body []byte, taken func(context.Context, *db.Tx) (Monitor, bool, error)) bool {
	select {
	case w.s.pusherOf().places <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	why := w.s.send(ctx, w.monitor, body)
	<-w.s.places
	if why != "" && ctx.Err() != nil {
		return false
	}
	if why != "" {
		taken = func(ctx context.Context, tx *db.Tx) (Monitor, bool, error) { return w.failed(ctx, tx, why) }
	}
	// The target may have it: that is worth storing even when the process ends.
	ctx, storing := context.WithoutCancel(ctx), ctx
	for {
		var m Monitor
		ours := false
		err := w.s.DB.Write(ctx, func(tx *db.Tx) (err error) {
			m, ours, err = taken(ctx, tx)
			return err
		})
		if err == nil && !ours {
			return false
		}
		if err == nil {
			w.monitor = m
			break
		}
		slog.ErrorContext(ctx, "monitors: cannot store what became of a document", "monitor", w.monitor.ID, "err", err)
		if !pause(storing, readAgain) {
			return false
		}
	}
	if why == "" {
		w.pending, w.octets, w.full = nil, 0, false
		return true
	}
	slog.InfoContext(ctx, "a monitor's target fails", "monitor", w.monitor.ID, "account", w.monitor.Account, "to", endpoint(w.monitor.URL),
		"failures", w.monitor.failures, "err", why, "status", w.monitor.Status)
	if w.monitor.Status == Disabled {
		return false
	}
	return pause(storing, w.s.retry(w.monitor.failures))
}

// connected stores that the target has answered a keep-alive.
func (w *worker) connected(ctx context.Context, tx *db.Tx) (m Monitor, ours bool, err error) {
	m = w.monitor
	now := w.s.now()
	if ours, err = w.unchanged(ctx, tx); err != nil || !ours {
		return m, ours, err
	}
	if ours, err = w.s.advance(ctx, tx, m, w.scanned, `, status = 'active', failures = 0, failing_since = 0, last_error = '', last_connect = $6`, now.UnixMicro()); err != nil || !ours {
		return m, ours, err
	}
	was := m.Status
	m.place, m.Status, m.failures, m.FailingSince, m.LastError, m.LastConnect = w.scanned, Active, 0, time.Time{}, "", now
	if was == Active {
		return m, true, nil
	}
	return m, true, w.s.record(ctx, tx, "active", m, map[string]any{"from": was, "to": Active})
}

// unchanged reports whether nobody has changed the monitor, and keeps it so.
func (w *worker) unchanged(ctx context.Context, tx *db.Tx) (bool, error) {
	var version int64
	err := tx.QueryRowContext(ctx, `select version from monitor where id = $1`+tx.ForUpdate(), w.monitor.ID).Scan(&version)
	if db.None(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read monitor %d: %w", w.monitor.ID, err)
	}
	return version == w.monitor.version, nil
}

// delivered stores that the target has taken the document, whether or not the
// monitor was changed meanwhile.
func (w *worker) delivered(ctx context.Context, tx *db.Tx) (m Monitor, ours bool, err error) {
	m = w.monitor
	now := w.s.now()
	if ours, err = w.s.advance(ctx, tx, m, w.scanned, `, failures = 0, failing_since = 0, last_error = '', last_sent = $6`, now.UnixMicro()); err != nil || !ours {
		return m, ours, err
	}
	m.place, m.failures, m.FailingSince, m.LastError, m.LastSent = w.scanned, 0, time.Time{}, "", now
	return m, true, nil
}

// failed counts a failure, and switches the monitor off after many.
func (w *worker) failed(ctx context.Context, tx *db.Tx, why string) (m Monitor, ours bool, err error) {
	m = w.monitor
	now := w.s.now()
	if m.failures == 0 {
		m.FailingSince = now
	}
	m.failures++
	m.LastError = why
	off := m.failures >= cmp.Or(w.s.OffFailures, 10) && now.Sub(m.FailingSince) >= cmp.Or(w.s.OffAfter, 24*time.Hour)
	if ours, err = w.unchanged(ctx, tx); err != nil || !ours {
		return m, ours, err
	}
	was := m.Status
	if off {
		m.Status = Disabled
	}
	if ours, err = w.s.advance(ctx, tx, m, m.place, `, status = $6, failures = $7, failing_since = $8, last_error = $9`,
		string(m.Status), m.failures, micros(m.FailingSince), why); err != nil || !ours || !off {
		return m, ours, err
	}
	return m, true, w.s.record(ctx, tx, "disabled", m, map[string]any{
		"from": was, "to": Disabled, "failures": m.failures, "failing_since": m.FailingSince, "error": why,
	})
}

// retry is how long to wait after a failure, a fifth more or less.
func (s *Store) retry(failures int64) time.Duration {
	if s.Retry != nil {
		return s.Retry(failures)
	}
	wait := 5 * time.Minute
	if failures < 9 {
		wait = time.Second << (failures - 1)
	}
	return wait - wait/5 + rand.N(2*wait/5)
}

// pause waits, and reports whether ctx is not over.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func errNoHistory(m Monitor) error {
	return fault.New(fault.Conflict, "monitor %d is not persistent, so that it has no history", m.ID)
}
