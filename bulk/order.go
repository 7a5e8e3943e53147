// Package bulk is orders of many profiles, up to a million at a time: what a
// customer asks for in a file or by number, what has become of it, and the
// sheets that go to whoever puts profiles on devices.
//
// An order is cut into chunks. One transaction reserves a chunk's profiles and
// moves the order on, so that whatever dies in between, no profile is reserved
// twice and none is left out. Preparing the reservations is package sim's work.
package bulk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"godwit/account"
	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/jobs"
	"godwit/sim"
)

// Prefix begins the SIDs of orders.
const Prefix = "HO"

// Status is where an order stands.
type Status string

// The statuses of an order.
const (
	Queued    Status = "queued"
	Running   Status = "running"
	Canceling Status = "canceling" // what was begun is still being ended
	Completed Status = "completed" // every profile is available or has failed
	Canceled  Status = "canceled"  // some were never begun
)

// Statuses lists them all.
var Statuses = []Status{Queued, Running, Canceling, Completed, Canceled}

// Final reports whether nothing follows s.
func (s Status) Final() bool { return s == Completed || s == Canceled }

// An Order is many reservations that were asked for at once.
type Order struct {
	SID       string
	Account   string
	Status    Status
	Label     string
	Total     int64 // profiles asked for
	Available int64 // that became available, whatever came later
	Failed    int64 // that failed before
	Canceled  int64 // that were given up before they were begun
	WantsCode bool
	Callback  sim.Callback
	// PerProfile has the callback called for each profile as for single
	// reservations, beside the calls about the order itself.
	PerProfile bool
	CreatedAt  time.Time
	UpdatedAt  time.Time

	chunks, ended int64
}

// Key returns the order's place in lists.
func (o Order) Key() sim.Key { return sim.Key{At: o.CreatedAt.UnixMicro(), SID: o.SID} }

// A Stock tells how many profiles of a type could be ordered now.
type Stock interface {
	// InStock counts up to limit. known is false for a type that does not
	// exist.
	InStock(ctx context.Context, profileType string, limit int64) (n int64, known bool, err error)
}

// A Store keeps orders. Set its fields, call [Store.Register] before the job
// queue runs, then use it.
type Store struct {
	DB        *db.DB
	Jobs      *jobs.Queue
	Events    *event.Log
	Callbacks *callback.Sender
	Sims      *sim.Store
	Stock     Stock            // nil where nobody knows: the SM-DP+ is another's
	Now       func() time.Time // the clock, time.Now if nil
}

func (s *Store) now() time.Time {
	return db.Now(s.Now)
}

// A Request is an order as a customer asks for it.
type Request struct {
	Account    string
	Label      string
	Type       string // profile type of lines that name none; the server's default if empty
	WantsCode  bool   // lines with an EID get a matching ID too; those without always do
	Callback   sim.Callback
	PerProfile bool
	Partial    bool // take the order although the stock is too small for it
	DryRun     bool // look and tell, store nothing
}

// A Plan is what an order would be.
type Plan struct {
	Total    int64
	Lines    int
	Types    []Demand
	Problems []Problem
	More     int // problems beyond those listed
}

// A Demand is how many profiles of one type are asked for.
type Demand struct {
	Type    string
	Wanted  int64
	InStock int64 // at most as many as are wanted; -1 where nobody knows
}

// maxProblems is how many problems a plan lists.
const maxProblems = 1000

func (p *Plan) problem(x Problem) {
	if len(p.Problems) == maxProblems {
		p.More++
		return
	}
	p.Problems = append(p.Problems, x)
}

// Refused is why an order is not taken: what is wrong with its lines.
type Refused struct{ Plan *Plan }

func (e *Refused) Error() string {
	return fmt.Sprintf("%d lines of the order are refused, the first: %v", len(e.Plan.Problems)+e.Plan.More, &e.Plan.Problems[0])
}

const orderColumns = `sid, account_sid, status, label, total, available, failed, canceled, chunks, chunks_ended, wants_code,
	callback_url, callback_method, callback_per, created_at, updated_at`

func scanOrder(r db.Row) (Order, error) {
	var o Order
	var per string
	var created, updated int64
	err := r.Scan(&o.SID, &o.Account, &o.Status, &o.Label, &o.Total, &o.Available, &o.Failed, &o.Canceled, &o.chunks, &o.ended,
		&o.WantsCode, &o.Callback.URL, &o.Callback.Method, &per, &created, &updated)
	o.PerProfile, o.CreatedAt, o.UpdatedAt = per == "profile", db.Time(created), db.Time(updated)
	return o, err
}

// Create takes an order. With DryRun it only looks, and the order is empty.
// Nothing of an order with a refused line is taken: the error is [*Refused]
// then, with every line's reason.
func (s *Store) Create(ctx context.Context, r Request, lines Lines) (Order, *Plan, error) {
	if r.Type == "" {
		r.Type = s.Sims.ProfileType
	}
	// The lines are stored as they come, in transactions of their own that are
	// nobody's work yet.
	l := &loader{s: s, order: account.NewSID(Prefix), dry: r.DryRun, created: s.now()}
	plan, err := s.read(ctx, r, lines, l)
	if err == nil && !r.DryRun {
		err = s.judge(r, plan)
	}
	if err != nil || r.DryRun {
		return Order{}, plan, errors.Join(err, l.drop(ctx))
	}
	now := s.now()
	o := Order{
		SID: l.order, Account: r.Account, Status: Queued, Label: r.Label, Total: plan.Total, WantsCode: r.WantsCode,
		Callback: r.Callback, PerProfile: r.PerProfile, CreatedAt: now, UpdatedAt: now, chunks: int64(len(l.chunks)),
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error { return s.insert(ctx, tx, o, l.chunks) })
	if err != nil {
		return Order{}, plan, errors.Join(err, l.drop(ctx))
	}
	return o, plan, nil
}

func (s *Store) insert(ctx context.Context, tx *db.Tx, o Order, chunks []chunk) error {
	per := "order"
	if o.PerProfile {
		per = "profile"
	}
	if _, err := tx.ExecContext(ctx, `insert into bulk_order (`+orderColumns+`)
		values ($1, $2, $3, $4, $5, 0, 0, 0, $6, 0, $7, $8, $9, $10, $11, $11)`,
		o.SID, o.Account, string(o.Status), o.Label, o.Total, o.chunks, o.WantsCode, o.Callback.URL, o.Callback.Method, per, o.CreatedAt.UnixMicro()); err != nil {
		return fmt.Errorf("store order: %w", err)
	}
	rows := make([][]any, len(chunks))
	for i, c := range chunks {
		rows[i] = []any{o.SID, c.number, c.first, c.items, "waiting", int64(0)}
	}
	if _, err := tx.ExecMany(ctx, `insert into bulk_chunk (order_sid, number, first, items, state, lease) values {}`, nil, rows); err != nil {
		return fmt.Errorf("store chunks: %w", err)
	}
	if err := s.Events.Append(ctx, tx, event.Event{
		Kind: "order.queued", Subject: o.SID, Account: o.Account, At: o.CreatedAt,
		Data: map[string]any{"label": o.Label, "total": o.Total},
	}); err != nil {
		return err
	}
	for range min(len(chunks), s.workers()) {
		if err := s.Jobs.Add(ctx, tx, workArgs{}); err != nil {
			return err
		}
	}
	return nil
}

// judge refuses what a dry run only tells.
func (s *Store) judge(r Request, p *Plan) error {
	if len(p.Problems) > 0 {
		return &Refused{p}
	}
	if r.Partial {
		return nil
	}
	for _, d := range p.Types {
		if d.InStock >= 0 && d.InStock < d.Wanted {
			return &fault.Error{
				Kind: fault.Conflict, Code: sim.CodeNoStock, Field: "Count",
				Message: fmt.Sprintf("the order wants %d profiles of type %q and %d are in stock. Nothing was ordered. "+
					"Order fewer, ask the operator of this server for stock, or give Partial=true to take what there is", d.Wanted, d.Type, d.InStock),
			}
		}
	}
	return nil
}

// Get returns one order.
func (s *Store) Get(ctx context.Context, accountSID, sid string) (o Order, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		o, err = find(ctx, q, accountSID, sid, "")
		return err
	})
	return o, err
}

func find(ctx context.Context, q db.Query, accountSID, sid, suffix string) (Order, error) {
	o, err := scanOrder(q.QueryRowContext(ctx, `select `+orderColumns+` from bulk_order where sid = $1 and account_sid = $2`+suffix, sim.Canonical(sid), accountSID))
	if errors.Is(err, sql.ErrNoRows) {
		return o, fault.New(fault.NotFound, "there is no order %.40q", sid)
	}
	if err != nil {
		return o, fmt.Errorf("read order: %w", err)
	}
	return o, nil
}

// List lists an account's orders, newest first.
func (s *Store) List(ctx context.Context, accountSID string, status Status, p sim.Page) (l sim.List[Order], err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		var c sim.Conditions
		c.Add("account_sid = $", accountSID)
		if status != "" {
			c.Add("status = $", string(status))
		}
		l, err = sim.QueryPage(ctx, q, scanOrder, `select `+orderColumns+` from bulk_order`, &c, p)
		return err
	})
	return l, err
}

// Cancel gives up what has not been begun of an order. Profiles that are
// reserved already are prepared to the end: they have their numbers.
func (s *Store) Cancel(ctx context.Context, accountSID, sid string) (o Order, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if o, err = find(ctx, tx, accountSID, sid, ""); err != nil {
			return err
		}
		// Chunks before their order, as whoever works them: neither waits for
		// the other then.
		items, chunks, err := cancelChunks(ctx, tx, o.SID)
		if err != nil {
			return err
		}
		if o, err = find(ctx, tx, accountSID, o.SID, tx.ForUpdate()); err != nil {
			return err
		}
		switch {
		case o.Status == Canceled || o.Status == Canceling:
			return nil
		case o.Status.Final():
			return &fault.Error{Kind: fault.Conflict, Field: "Status", Message: "the order is completed and cannot be canceled any more"}
		}
		o.Canceled, o.ended = o.Canceled+items, o.ended+chunks
		return s.move(ctx, tx, &o, Canceling)
	})
	return o, err
}

// cancelChunks gives up the chunks of an order that nobody has begun, and
// counts them and their items.
func cancelChunks(ctx context.Context, tx *db.Tx, order string) (items, chunks int64, err error) {
	rows, err := tx.QueryContext(ctx, `update bulk_chunk set state = 'canceled' where order_sid = $1 and state = 'waiting' returning items`, order)
	if err != nil {
		return 0, 0, fmt.Errorf("cancel chunks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return 0, 0, fmt.Errorf("cancel chunks: %w", err)
		}
		items, chunks = items+n, chunks+1
	}
	return items, chunks, rows.Err()
}

// move stores an order with new numbers, and on its way to another status. An
// order whose chunks have all ended has ended.
func (s *Store) move(ctx context.Context, tx *db.Tx, o *Order, to Status) error {
	if o.ended == o.chunks {
		to = Completed
		if o.Canceled > 0 {
			to = Canceled
		}
	}
	from := o.Status
	o.Status, o.UpdatedAt = to, s.now()
	if _, err := tx.ExecContext(ctx, `update bulk_order set status = $1, available = $2, failed = $3, canceled = $4, chunks_ended = $5, updated_at = $6
		where sid = $7`, string(o.Status), o.Available, o.Failed, o.Canceled, o.ended, o.UpdatedAt.UnixMicro(), o.SID); err != nil {
		return fmt.Errorf("store order %s: %w", o.SID, err)
	}
	if from == to {
		return nil
	}
	if err := s.Events.Append(ctx, tx, event.Event{
		Kind: "order." + string(to), Subject: o.SID, Account: o.Account, At: o.UpdatedAt,
		Data: map[string]any{"from": from, "to": to, "available": o.Available, "failed": o.Failed, "canceled": o.Canceled},
	}); err != nil {
		return err
	}
	if !to.Final() || o.Callback.URL == "" {
		return nil
	}
	_, err := s.Callbacks.Send(ctx, tx, callback.Callback{
		Account: o.Account, Subject: o.SID, URL: o.Callback.URL, Method: o.Callback.Method,
		Params: []callback.Param{
			{Name: "OrderSid", Value: o.SID},
			{Name: "OrderStatus", Value: string(o.Status)},
			{Name: "Label", Value: o.Label},
			{Name: "Count", Value: fmt.Sprint(o.Total)},
			{Name: "Available", Value: fmt.Sprint(o.Available)},
			{Name: "Failed", Value: fmt.Sprint(o.Failed)},
			{Name: "Canceled", Value: fmt.Sprint(o.Canceled)},
		},
	})
	return err
}
