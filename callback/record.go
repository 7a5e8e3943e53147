package callback

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
)

// Redeliver has a delivery made once more, whatever came of it before. The
// parameters and the token are the same, the record goes on.
func (s *Sender) Redeliver(ctx context.Context, tx *db.Tx, account, sid string) error {
	now := db.Micros(s.options.Now())
	n, err := tx.Exec(ctx, `update callback_delivery set state = 'due', apart = false, due_at = $1, allowed = attempts + 1, updated_at = $1
		where sid = $2 and account = $3`, now, sid, account)
	if err != nil {
		return fmt.Errorf("redeliver %s: %w", sid, err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "delivery %s was not found", sid)
	}
	tx.AfterCommit(s.wakeUp)
	return nil
}

// A Filter says which deliveries to list. Its zero fields do not matter.
type Filter struct {
	Account, Subject string
	State            State
	After            *Delivery // the last one of the page before
	Limit            int       // 50 where it is zero
}

// List returns deliveries, newest first.
func (s *Sender) List(ctx context.Context, q db.Query, f Filter) ([]Delivery, error) {
	var where []string
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	if f.Account != "" {
		where = append(where, "account = "+arg(f.Account))
	}
	if f.Subject != "" {
		where = append(where, "subject = "+arg(f.Subject))
	}
	if f.State != "" {
		where = append(where, "state = "+arg(string(f.State)))
	}
	if f.After != nil {
		where = append(where, "(created_at, sid) < ("+arg(db.Micros(f.After.CreatedAt))+", "+arg(f.After.SID)+")")
	}
	text := selectDelivery
	if len(where) > 0 {
		text += " where " + strings.Join(where, " and ")
	}
	limit := f.Limit
	if limit == 0 {
		limit = 50
	}
	list, err := db.All(ctx, q, scanDelivery, text+" order by created_at desc, sid desc limit "+arg(limit), args...)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return list, nil
}

// Get returns a delivery of an account.
func (s *Sender) Get(ctx context.Context, q db.Query, account, sid string) (Delivery, error) {
	d, err := scanDelivery(q.QueryRowContext(ctx, selectDelivery+` where sid = $1 and account = $2`, sid, account))
	if errors.Is(err, sql.ErrNoRows) {
		return Delivery{}, fault.New(fault.NotFound, "delivery %s was not found", sid)
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("read delivery %s: %w", sid, err)
	}
	return d, nil
}

// Attempts returns what was tried for a delivery, in order. A number that is
// missing is an attempt that died with its process.
func (s *Sender) Attempts(ctx context.Context, q db.Query, sid string) ([]Attempt, error) {
	list, err := db.All(ctx, q, func(r db.Row) (a Attempt, err error) {
		var at, duration int64
		err = r.Scan(&a.Number, &at, &duration, &a.Status, &a.Error)
		a.At, a.Duration = db.Time(at), time.Duration(duration)*time.Microsecond
		return a, err
	}, `select number, at, duration, status, error from callback_attempt where delivery_sid = $1 order by number`, sid)
	if err != nil {
		return nil, fmt.Errorf("read attempts of %s: %w", sid, err)
	}
	return list, nil
}

const selectDelivery = `select sid, account, subject, url, method, form, token, state, attempts, last_status, last_error, due_at, created_at, updated_at from callback_delivery`

func scanDelivery(row db.Row) (Delivery, error) {
	var d Delivery
	var due, created, updated int64
	err := row.Scan(&d.SID, &d.Account, &d.Subject, &d.URL, &d.Method, &d.Form, &d.Token, &d.State, &d.Attempts, &d.LastStatus, &d.LastError, &due, &created, &updated)
	if d.State == Due && due != held {
		d.NextAt = db.Time(due)
	}
	d.CreatedAt, d.UpdatedAt = db.Time(created), db.Time(updated)
	return d, err
}
