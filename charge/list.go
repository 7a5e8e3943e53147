package charge

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"time"

	"godwit/db"
)

// A Place is where an entry stands in the ledger: by time, ties by SID.
type Place struct {
	At  int64 // microseconds
	SID string
}

// Place returns the entry's place.
func (e Entry) Place() Place { return Place{db.Micros(e.At), e.Profile} }

// A Filter selects entries; empty members fit all.
type Filter struct {
	Account    string
	Order      string
	From, To   time.Time // To is the first moment that does not count
	After      Place     // oldest first: what stands behind this place
	Before     Place     // newest first: what stands before this place
	NewestLast bool
	Offset     int
	Limit      int // 1000 if zero
}

// Entries returns entries of the ledger, newest first unless the filter says
// otherwise.
func (l *Ledger) Entries(ctx context.Context, f Filter) (list []Entry, err error) {
	var where []string
	var args []any
	add := func(condition string, more ...any) {
		for _, a := range more {
			args = append(args, a)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	if f.Account != "" {
		add("account_sid = ?", f.Account)
	}
	if f.Order != "" {
		add("order_sid = ?", f.Order)
	}
	if !f.From.IsZero() {
		add("created_at >= ?", db.Micros(f.From))
	}
	if !f.To.IsZero() {
		add("created_at < ?", db.Micros(f.To))
	}
	if f.After != (Place{}) {
		add("(created_at, sid) > (?, ?)", f.After.At, f.After.SID)
	}
	if f.Before != (Place{}) {
		add("(created_at, sid) < (?, ?)", f.Before.At, f.Before.SID)
	}
	text := `select sid, account_sid, sim_sid, iccid, profile_type, order_sid, amount, currency, created_at from charge`
	if len(where) > 0 {
		text += " where " + strings.Join(where, " and ")
	}
	if f.NewestLast {
		text += " order by created_at, sid"
	} else {
		text += " order by created_at desc, sid desc"
	}
	limit := f.Limit
	if limit == 0 {
		limit = 1000
	}
	text += fmt.Sprintf(" limit %d offset %d", limit, f.Offset)
	err = l.DB.Read(ctx, func(q db.Query) error {
		list, err = db.All(ctx, q, func(r db.Row) (e Entry, err error) {
			var at int64
			err = r.Scan(&e.Profile, &e.Account, &e.SIM, &e.ICCID, &e.Type, &e.Order, &e.Amount, &e.Currency, &at)
			e.At = db.Time(at)
			return e, err
		}, text, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	return list, nil
}

// Export writes the entries that a filter selects as CSV, oldest first,
// whatever their number: it reads them in pages.
func (l *Ledger) Export(ctx context.Context, w io.Writer, f Filter) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"date", "account_sid", "esim_profile_sid", "sim_sid", "iccid", "profile_type", "order_sid", "amount", "currency"}); err != nil {
		return err
	}
	f.NewestLast, f.Limit, f.Offset = true, 1000, 0
	for {
		page, err := l.Entries(ctx, f)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := out.Write([]string{
				e.At.UTC().Format(time.RFC3339), e.Account, e.Profile, e.SIM, e.ICCID, plain(e.Type), e.Order, e.Amount.String(), e.Currency,
			}); err != nil {
				return err
			}
		}
		if out.Flush(); out.Error() != nil || len(page) < f.Limit {
			return out.Error()
		}
		f.After = page[len(page)-1].Place()
	}
}

// plain keeps spreadsheets from taking a text for a formula.
func plain(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
