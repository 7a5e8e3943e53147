package callback

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"godwit/db"
	"godwit/fault"
)

// An endpoint that answers nothing but refusals for long is paused, for the
// account whose callbacks it refuses: its deliveries are held, attempts of theirs
// not counted. Now and then one is let through; when it is taken, or the customer
// says so, all of them follow.

// A Notice says that an endpoint was paused or resumed.
type Notice struct {
	Account, Endpoint string
	Paused            bool
	Failures          int       // one after the other
	Since             time.Time // the first of them
	LastError         string    // in words, when paused
}

// An Endpoint is one that fails.
type Endpoint struct {
	Account, Endpoint string
	Failures          int
	Since             time.Time // the first failure after the last success
	PausedAt          time.Time // zero while it is still tried
}

// held is when a delivery to a paused endpoint is due: never, until it is
// resumed.
const held = math.MaxInt64

type endpointKey struct{ account, endpoint string }

// troubles are the endpoints that fail, as this node knows them. It may know of
// what another node has done some seconds later only.
type troubles struct {
	mu      sync.Mutex
	known   map[endpointKey]bool // whether it is paused
	changes int                  // by this node
}

func (t *troubles) get(k endpointKey) (failing, paused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	paused, failing = t.known[k]
	return failing, paused
}

func (t *troubles) set(k endpointKey, paused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[endpointKey]bool{}
	}
	t.known[k] = paused
	t.changes++
}

func (t *troubles) seen() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changes
}

// replace takes what was read since seen said so, unless this node has changed
// something meanwhile, which may not be among it.
func (t *troubles) replace(all map[endpointKey]bool, seen int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes == seen {
		t.known = all
	}
}

// any reports whether an endpoint is paused.
func (t *troubles) any() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, paused := range t.known {
		if paused {
			return true
		}
	}
	return false
}

func (t *troubles) remove(k endpointKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, k)
	t.changes++
}

// note counts a failure, or forgets all of them.
func (s *Sender) note(ctx context.Context, tx *db.Tx, f finished, now time.Time) error {
	k := endpointKey{f.account, f.endpoint}
	if f.err == "" {
		if failing, _ := s.troubles.get(k); !failing {
			return nil
		}
		return s.resumeEndpoint(ctx, tx, k, now)
	}
	var failures, since int64
	var paused sql.NullInt64
	if err := tx.QueryRowContext(ctx, `insert into callback_endpoint (account, endpoint, failures, since, probe_at) values ($1, $2, 1, $3, 0)
		on conflict (account, endpoint) do update set failures = callback_endpoint.failures + 1 returning failures, since, paused`,
		k.account, k.endpoint, db.Micros(now)).Scan(&failures, &since, &paused); err != nil {
		return fmt.Errorf("count failures of %s: %w", k.endpoint, err)
	}
	if paused.Valid {
		tx.AfterCommit(func() { s.troubles.set(k, true) })
		return s.holdBack(ctx, tx, k)
	}
	if failures < int64(s.options.PauseFailures) || now.Sub(db.Time(since)) < s.options.PauseAfter {
		tx.AfterCommit(func() { s.troubles.set(k, false) })
		return nil
	}
	if _, err := tx.ExecContext(ctx, `update callback_endpoint set paused = $1, probe_at = $2 where account = $3 and endpoint = $4`,
		db.Micros(now), db.Micros(now.Add(s.options.Probe)), k.account, k.endpoint); err != nil {
		return fmt.Errorf("pause %s: %w", k.endpoint, err)
	}
	tx.AfterCommit(func() { s.troubles.set(k, true) })
	if err := s.holdBack(ctx, tx, k); err != nil {
		return err
	}
	return s.notice(ctx, tx, Notice{Account: k.account, Endpoint: k.endpoint, Paused: true, Failures: int(failures), Since: db.Time(since), LastError: f.err})
}

// holdBack holds what waits for an endpoint and is not held yet, but not what is
// under way: its end decides about it, and comes here again.
func (s *Sender) holdBack(ctx context.Context, tx *db.Tx, k endpointKey) error {
	if _, err := tx.ExecContext(ctx, `update callback_delivery set due_at = $1, apart = false where account = $2 and endpoint = $3 and state = 'due' and due_at <> $1
		and (attempts = 0 or exists (select 1 from callback_attempt a where a.delivery_sid = callback_delivery.sid and a.number = callback_delivery.attempts))`,
		int64(held), k.account, k.endpoint); err != nil {
		return fmt.Errorf("hold deliveries to %s: %w", k.endpoint, err)
	}
	return nil
}

// hold gives claimed deliveries to paused endpoints back and holds them. What
// is left may start.
func (s *Sender) hold(ctx context.Context, tx *db.Tx, list []delivery) ([]delivery, error) {
	start := list[:0]
	still := map[endpointKey]bool{}
	for _, d := range list {
		k := endpointKey{d.account, d.endpoint}
		_, paused := s.troubles.get(k)
		if paused && !d.probe {
			var err error
			if paused, err = s.stillPaused(ctx, tx, k, still); err != nil {
				return nil, err
			}
		}
		if !paused || d.probe {
			start = append(start, d)
			continue
		}
		if _, err := tx.ExecContext(ctx, `update callback_delivery set due_at = $1, attempts = attempts - 1 where sid = $2`, int64(held), d.sid); err != nil {
			return nil, fmt.Errorf("hold %s: %w", d.sid, err)
		}
	}
	return start, nil
}

// stillPaused reports whether an endpoint that this node knows as paused is so.
// What is held for one that has been resumed would wait for ever. That it is
// written to keeps another node from resuming it at the same time.
func (s *Sender) stillPaused(ctx context.Context, tx *db.Tx, k endpointKey, asked map[endpointKey]bool) (bool, error) {
	if still, ok := asked[k]; ok {
		return still, nil
	}
	result, err := tx.ExecContext(ctx, `update callback_endpoint set paused = paused where account = $1 and endpoint = $2 and paused is not null`,
		k.account, k.endpoint)
	if err != nil {
		return false, fmt.Errorf("look whether %s is paused: %w", k.endpoint, err)
	}
	n, err := result.RowsAffected()
	asked[k] = n > 0
	return n > 0, err
}

// probes claims one held delivery of each paused endpoint whose time to be
// looked at has come.
func (s *Sender) probes(ctx context.Context, tx *db.Tx, now time.Time) ([]delivery, error) {
	rows, err := tx.QueryContext(ctx, `update callback_endpoint set probe_at = $1 where paused is not null and probe_at <= $2 returning account, endpoint`,
		db.Micros(now.Add(s.options.Probe)), db.Micros(now))
	if err != nil {
		return nil, fmt.Errorf("look for endpoints to probe: %w", err)
	}
	var due []endpointKey
	for rows.Next() {
		var k endpointKey
		if err := rows.Scan(&k.account, &k.endpoint); err != nil {
			rows.Close()
			return nil, fmt.Errorf("look for endpoints to probe: %w", err)
		}
		due = append(due, k)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("look for endpoints to probe: %w", err)
	}
	var list []delivery
	for _, k := range due {
		one, err := s.claimWhere(ctx, tx, `account = $4 and endpoint = $5 and state = 'due'`, int64(held), now, 1, k.account, k.endpoint)
		if err != nil {
			return nil, err
		}
		for i := range one {
			one[i].probe = true
		}
		list = append(list, one...)
	}
	return list, nil
}

// resumeEndpoint lets everything that was held for an endpoint go.
func (s *Sender) resumeEndpoint(ctx context.Context, tx *db.Tx, k endpointKey, now time.Time) error {
	var failures, since int64
	var paused sql.NullInt64
	err := tx.QueryRowContext(ctx, `delete from callback_endpoint where account = $1 and endpoint = $2 returning failures, since, paused`,
		k.account, k.endpoint).Scan(&failures, &since, &paused)
	tx.AfterCommit(func() { s.troubles.remove(k) })
	if errors.Is(err, sql.ErrNoRows) || err == nil && !paused.Valid {
		return nil
	}
	if err != nil {
		return fmt.Errorf("resume %s: %w", k.endpoint, err)
	}
	// What had its last attempt before the pause gets one more.
	if _, err := tx.ExecContext(ctx, `update callback_delivery set due_at = $1, allowed = case when allowed > attempts then allowed else attempts + 1 end
		where account = $2 and endpoint = $3 and state = 'due' and due_at = $4`,
		db.Micros(now), k.account, k.endpoint, int64(held)); err != nil {
		return fmt.Errorf("resume %s: %w", k.endpoint, err)
	}
	tx.AfterCommit(s.wakeUp)
	return s.notice(ctx, tx, Notice{Account: k.account, Endpoint: k.endpoint, Failures: int(failures), Since: db.Time(since)})
}

func (s *Sender) notice(ctx context.Context, tx *db.Tx, n Notice) error {
	if s.options.Notice == nil {
		return nil
	}
	return s.options.Notice(ctx, tx, n)
}

// Resume lets deliveries to a paused endpoint go again.
func (s *Sender) Resume(ctx context.Context, tx *db.Tx, account, endpoint string) error {
	var paused sql.NullInt64
	err := tx.QueryRowContext(ctx, `select paused from callback_endpoint where account = $1 and endpoint = $2`, account, endpoint).Scan(&paused)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !paused.Valid {
		return fault.New(fault.NotFound, "endpoint %.200q is not paused", endpoint)
	}
	if err != nil {
		return fmt.Errorf("read endpoint %.200q: %w", endpoint, err)
	}
	return s.resumeEndpoint(ctx, tx, endpointKey{account, endpoint}, s.options.Now())
}

// Endpoints returns the endpoints of an account that fail, the worst first.
func (s *Sender) Endpoints(ctx context.Context, q db.Query, account string) ([]Endpoint, error) {
	list, err := db.All(ctx, q, func(r db.Row) (e Endpoint, err error) {
		var since int64
		var paused sql.NullInt64
		err = r.Scan(&e.Account, &e.Endpoint, &e.Failures, &since, &paused)
		e.Since = db.Time(since)
		if paused.Valid {
			e.PausedAt = db.Time(paused.Int64)
		}
		return e, err
	}, `select account, endpoint, failures, since, paused from callback_endpoint
		where account = $1 order by failures desc, endpoint limit 1000`, account)
	if err != nil {
		return nil, fmt.Errorf("list endpoints of %s: %w", account, err)
	}
	return list, nil
}

// surveyTroubles learns what other nodes know about endpoints.
func (s *Sender) surveyTroubles(ctx context.Context, q db.Query) error {
	seen := s.troubles.seen()
	rows, err := q.QueryContext(ctx, `select account, endpoint, paused is not null from callback_endpoint`)
	if err != nil {
		return err
	}
	defer rows.Close()
	all := map[endpointKey]bool{}
	for rows.Next() {
		var k endpointKey
		var paused bool
		if err := rows.Scan(&k.account, &k.endpoint, &paused); err != nil {
			return err
		}
		all[k] = paused
	}
	if err := rows.Err(); err != nil {
		return err
	}
	s.troubles.replace(all, seen)
	return nil
}

// A Range says which deliveries to make once more.
type Range struct {
	From, To time.Time // of their making; From counts, To does not
	State    State     // of those alone; any if empty
	Subject  string    // of those alone; any if empty
}

// RedeliverRange has deliveries of an account made once more, at most limit of
// them, the oldest first, and returns how many these are. Those that are due anyway
// are left alone.
func (s *Sender) RedeliverRange(ctx context.Context, tx *db.Tx, account string, r Range, limit int) (int, error) {
	n, err := tx.Exec(ctx, `update callback_delivery set state = 'due', apart = false, due_at = $1, allowed = attempts + 1, updated_at = $1
		where sid in (select sid from callback_delivery where account = $2 and created_at >= $3 and created_at < $4
			and state <> 'due' and ($5 = '' or state = $5) and ($6 = '' or subject = $6) order by created_at, sid limit $7)`,
		db.Micros(s.options.Now()), account, db.Micros(r.From), db.Micros(r.To), string(r.State), r.Subject, limit)
	if err != nil {
		return 0, fmt.Errorf("redeliver callbacks of %s: %w", account, err)
	}
	tx.AfterCommit(s.wakeUp)
	return int(n), nil
}
