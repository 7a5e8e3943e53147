package smdp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/db"
	"godwit/ident"
	"godwit/rsp"
)

// An outbox holds what must still be told to others: progress to operators, the
// end of an event to an SM-DS. A message is written in the transaction of what
// it tells, so none is lost, and delivered by [outbox.run] in batches: at least
// once, each with the same call identifier every time.
type outbox struct {
	s      *Server
	last   atomic.Int64
	inside chan struct{} // messages for the program itself wait
	abroad chan struct{} // messages for others wait

	mu      sync.Mutex
	resting map[string]rest // receivers that failed lately
}

type rest struct {
	until    int64
	failures int
}

// Kinds of messages.
const (
	kindProgress    = "progress"
	kindDeleteEvent = "smds-delete"
)

const (
	// gather is how long messages for the program itself may wait for more to
	// come: one transaction then ends many.
	gather = 50 * time.Millisecond
	// poll finds what other nodes or an earlier life of this one left behind.
	poll = time.Second
	// A lease is how long one node has for what it took before others may take
	// it: what a killed node held back waits that long. Work in the process takes
	// a fraction of a second, a neighbour's server may take its time.
	leaseInside = 5 * time.Second
	leaseAbroad = 2 * time.Minute
	// keepMessages is how long an unreachable receiver is tried.
	keepMessages = 14 * 24 * time.Hour
	longestRest  = 5 * time.Minute
)

func newOutbox(s *Server) *outbox {
	return &outbox{s: s, inside: make(chan struct{}, 1), abroad: make(chan struct{}, 1), resting: map[string]rest{}}
}

// newID returns an identifier that sorts after all earlier ones of this process.
func (o *outbox) newID() string {
	now := o.s.now()
	for {
		last := o.last.Load()
		next := max(now, last+1)
		if o.last.CompareAndSwap(last, next) {
			var random [4]byte
			rand.Read(random[:])
			return fmt.Sprintf("%015x", next) + hex.EncodeToString(random[:])
		}
	}
}

// add writes one message.
func (o *outbox) add(ctx context.Context, tx *db.Tx, id, kind, receiver string, payload any, due int64) error {
	encoded, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode %s for %s: %w", kind, receiver, err)
	}
	if _, err := tx.ExecContext(ctx, `insert into outbox (id, kind, receiver, payload, due_at, created_at) values ($1, $2, $3, $4, $5, $6)`,
		id, kind, receiver, string(encoded), due, o.s.now()); err != nil {
		return fmt.Errorf("store %s for %s: %w", kind, receiver, err)
	}
	tx.AfterCommit(func() { o.wake(receiver) })
	return nil
}

func (o *outbox) wake(receiver string) {
	c := o.abroad
	if receiver == LocalOperator {
		c = o.inside
	}
	select {
	case c <- struct{}{}:
	default: // it is awake already
	}
}

// progress tells the operator of a profile how it gets on. A failure says why;
// nil is success. SGP.22 v2.5, 5.3.5.
func (o *outbox) progress(ctx context.Context, tx *db.Tx, p *profile, eid ident.EID, point rsp.NotificationPoint, failure *rsp.Failure, result []byte) error {
	hears, err := o.s.hears(ctx, tx, p.Operator)
	if err != nil || !hears {
		return err
	}
	id := o.newID()
	info := rsp.ProgressInfo{
		Header: rsp.RequestHeader{Requester: o.s.Address(), Call: id},
		EID:    eid, ICCID: p.ICCID, Type: p.Type,
		Timestamp:  rsp.Timestamp{Time: o.s.cfg.Now()},
		Point:      point,
		Status:     rsp.Succeeded.Execution,
		ResultData: result,
	}
	if failure != nil {
		info.Status = failure.Header().Execution
	}
	return o.add(ctx, tx, id, kindProgress, p.Operator, info, o.s.now())
}

// deleteEvent has the order's event at an SM-DS deleted, if it has one.
func (o *outbox) deleteEvent(ctx context.Context, tx *db.Tx, p *profile) error {
	if p.SMDS == "" {
		return nil
	}
	return o.add(ctx, tx, o.newID(), kindDeleteEvent, p.SMDS, event{EID: p.EID, ID: ident.MatchingID(p.MatchingID.String)}, o.s.now())
}

// run delivers until ctx ends. Messages for the program itself go apart from
// those for others, so that no slow neighbour holds up our own work.
func (o *outbox) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.loop(ctx, o.inside, `receiver = 'local'`, 500, leaseInside) })
	g.Go(func() error { return o.loop(ctx, o.abroad, `receiver <> 'local'`, 100, leaseAbroad) })
	return g.Wait()
}

func (o *outbox) loop(ctx context.Context, wake <-chan struct{}, which string, batch int, lease time.Duration) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		n, err := o.drain(ctx, which, batch, lease)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			slog.ErrorContext(ctx, "deliver from outbox", "err", err)
		}
		if n == batch && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-wake:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(gather):
			}
		}
	}
}

// A message is one row of the outbox.
type message struct {
	id, kind, receiver, payload string
	due, created                int64
}

// drain takes what is due and delivers it, each receiver's in order. It returns
// how much it took.
func (o *outbox) drain(ctx context.Context, which string, limit int, lease time.Duration) (int, error) {
	list, err := o.take(ctx, which, limit, lease)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	slices.SortFunc(list, func(a, b message) int { return strings.Compare(a.id, b.id) })
	byReceiver := map[string][]message{}
	for _, m := range list {
		byReceiver[m.receiver] = append(byReceiver[m.receiver], m)
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, receiver := range slices.Sorted(maps.Keys(byReceiver)) {
		g.Go(func() error { return o.deliver(ctx, receiver, byReceiver[receiver]) })
	}
	return len(list), g.Wait()
}

// take reads what is due. On PostgreSQL, where several nodes deliver, it takes
// a lease at the same time; SQLite serves one.
func (o *outbox) take(ctx context.Context, which string, limit int, lease time.Duration) ([]message, error) {
	const columns = `id, kind, receiver, payload, due_at, created_at`
	now := o.s.now()
	// SQLite plans a statement anew each time a parameter is its limit.
	due := `due_at <= $1 and ` + which + fmt.Sprintf(` order by due_at, id limit %d`, limit)
	var list []message
	read := func(q db.Query, query string, args ...any) (err error) {
		list, err = db.All(ctx, q, func(r db.Row) (m message, err error) {
			err = r.Scan(&m.id, &m.kind, &m.receiver, &m.payload, &m.due, &m.created)
			return m, err
		}, query, args...)
		return err
	}
	err := o.s.db.Read(ctx, func(q db.Query) error {
		return read(q, `select `+columns+` from outbox where `+due, now)
	})
	if err == nil && len(list) > 0 && o.s.db.Postgres() {
		err = o.s.db.Write(ctx, func(tx *db.Tx) error {
			return read(tx, `update outbox set due_at = $2 where (due_at, id) in (select due_at, id from outbox where `+due+tx.SkipLocked()+`)
				returning `+columns, now, now+lease.Microseconds())
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return list, nil
}

// deliver sends one receiver's messages and strikes out what was taken.
func (o *outbox) deliver(ctx context.Context, receiver string, list []message) error {
	if r := o.restOf(receiver); r.until > o.s.now() {
		return o.postpone(ctx, list, r.until, "")
	}
	delivered, failure := o.send(ctx, receiver, list)
	if ctx.Err() != nil && delivered == 0 {
		return nil // going down: what was not delivered stays
	}
	if err := o.strike(ctx, list[:delivered]); err != nil {
		return err
	}
	if failure == nil {
		o.rested(receiver)
		return nil
	}
	slog.WarnContext(ctx, "receiver takes no messages", "receiver", receiver, "waiting", len(list)-delivered, "err", failure)
	rest, old := list[delivered:], o.s.now()-keepMessages.Microseconds()
	kept := slices.DeleteFunc(slices.Clone(rest), func(m message) bool { return m.created < old })
	if len(kept) < len(rest) {
		slog.ErrorContext(ctx, "messages given up", "receiver", receiver, "messages", len(rest)-len(kept))
		if err := o.strike(ctx, slices.DeleteFunc(slices.Clone(rest), func(m message) bool { return m.created >= old })); err != nil {
			return err
		}
	}
	return o.postpone(ctx, kept, o.tire(receiver), failure.Error())
}

// send delivers messages in order and returns how many were taken.
func (o *outbox) send(ctx context.Context, receiver string, list []message) (int, error) {
	if receiver == LocalOperator {
		if o.s.cfg.Progress == nil {
			return len(list), nil
		}
		infos := make([]rsp.ProgressInfo, len(list))
		for i, m := range list {
			if err := json.Unmarshal([]byte(m.payload), &infos[i]); err != nil {
				return 0, fmt.Errorf("read message %s: %w", m.id, err)
			}
		}
		if err := o.s.cfg.Progress(ctx, infos); err != nil {
			return 0, err
		}
		return len(list), nil
	}
	for i, m := range list {
		var err error
		switch m.kind {
		case kindProgress:
			err = o.s.sendProgress(ctx, receiver, m.payload)
		case kindDeleteEvent:
			var e event
			if err = json.Unmarshal([]byte(m.payload), &e); err == nil {
				err = o.s.deleteEvent(ctx, receiver, e, m.id)
			}
		}
		if err != nil {
			return i, err
		}
	}
	return len(list), nil
}

// strike removes messages that were delivered.
func (o *outbox) strike(ctx context.Context, list []message) error {
	return o.eachHundred(ctx, list, func(tx *db.Tx, keys string, args []any) error {
		_, err := tx.ExecContext(ctx, `delete from outbox where (due_at, id) in (values `+keys+`)`, args...)
		return err
	})
}

// postpone puts messages off until a time.
func (o *outbox) postpone(ctx context.Context, list []message, until int64, why string) error {
	if len(why) > 500 {
		why = why[:500]
	}
	return o.eachHundred(ctx, list, func(tx *db.Tx, keys string, args []any) error {
		n := len(args)
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`update outbox set due_at = $%d, attempts = attempts + 1, last_error = $%d
			where (due_at, id) in (values %s)`, n+1, n+2, keys), append(slices.Clone(args), until, why)...)
		return err
	})
}

// eachHundred does something to messages by their keys, in one transaction.
func (o *outbox) eachHundred(ctx context.Context, list []message, do func(tx *db.Tx, keys string, args []any) error) error {
	if len(list) == 0 {
		return nil
	}
	// What was delivered is struck out even when the server is going down.
	ctx = context.WithoutCancel(ctx)
	return o.s.db.Write(ctx, func(tx *db.Tx) error {
		for chunk := range slices.Chunk(list, 100) {
			var keys strings.Builder
			args := make([]any, 0, 2*len(chunk))
			for i, m := range chunk {
				if i > 0 {
					keys.WriteString(", ")
				}
				// A parameter in a list of values has no type of its own.
				fmt.Fprintf(&keys, "(cast($%d as bigint), cast($%d as text))", 2*i+1, 2*i+2)
				args = append(args, m.due, m.id)
			}
			if err := do(tx, keys.String(), args); err != nil {
				return fmt.Errorf("keep outbox: %w", err)
			}
		}
		return nil
	})
}

func (o *outbox) restOf(receiver string) rest {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.resting[receiver]
}

func (o *outbox) rested(receiver string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.resting, receiver)
}

// tire lets a receiver rest, longer after each failure, and returns until when.
// Everything for it becomes due together then, in its order.
func (o *outbox) tire(receiver string) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.resting[receiver]
	pause := min(time.Second<<min(r.failures, 10), longestRest)
	r = rest{until: o.s.now() + pause.Microseconds(), failures: r.failures + 1}
	o.resting[receiver] = r
	return r.until
}
