package usage

import (
	"context"
	"fmt"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/sim"
)

// PeriodPrefix begins the SIDs of billing periods.
const PeriodPrefix = "HB"

// A Period is one billing period of a Sim: a month that begins with its
// activation, or where the period before has ended.
type Period struct {
	SID       string
	Account   string
	SIM       string
	Type      sim.Status // Ready or Active
	Start     time.Time
	End       time.Time
	Used      int64 // octets
	Blocked   bool  // data service is off, because the data limit is used up
	CreatedAt time.Time
	UpdatedAt time.Time

	anchor time.Time
	open   bool
}

// Key returns the period's place in lists.
func (p Period) Key() sim.Key { return sim.Key{At: p.CreatedAt.UnixMicro(), SID: p.SID} }

const selectPeriod = `select sid, account_sid, sim_sid, period_type, start_time, end_time, anchor, used, blocked, is_open, created_at, updated_at from billing_period`

func scanPeriod(r db.Row) (Period, error) {
	var p Period
	var start, end, anchor, created, updated int64
	err := r.Scan(&p.SID, &p.Account, &p.SIM, &p.Type, &start, &end, &anchor, &p.Used, &p.Blocked, &p.open, &created, &updated)
	p.Start, p.End, p.anchor = db.Time(start), db.Time(end), db.Time(anchor)
	p.CreatedAt, p.UpdatedAt = db.Time(created), db.Time(updated)
	return p, err
}

// Periods lists the billing periods of a Sim (SID or unique name) that were
// this account's.
func (s *Store) Periods(ctx context.Context, account, ref string, p sim.Page) (l sim.List[Period], err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		one, err := s.Sims.Find(ctx, q, account, ref)
		if fault.Is(err, fault.NotFound) && sim.IsSID(ref, sim.SimPrefix) {
			// One that has moved away leaves its periods here.
			one.SID = sim.Canonical(ref)
			var n int
			if e := q.QueryRowContext(ctx, `select count(*) from billing_period where sim_sid = $1 and account_sid = $2`, one.SID, account).Scan(&n); e != nil || n > 0 {
				err = e
			}
		}
		if err != nil {
			return err
		}
		var c sim.Conditions
		c.Equal("sim_sid", one.SID)
		c.Equal("account_sid", account)
		l, err = sim.QueryPage(ctx, q, scanPeriod, selectPeriod, &c, p)
		return err
	})
	return l, err
}

// months returns the time n months after t, or the end of that month where it
// is shorter: what began on January 31 goes on on February 28.
func months(t time.Time, n int) time.Time {
	moved := t.AddDate(0, n, 0)
	if moved.Day() != t.Day() {
		moved = moved.AddDate(0, 0, -moved.Day())
	}
	return moved
}

// nextEnd returns the end of the period that begins at start, in a row of months
// that began at anchor.
func nextEnd(anchor, start time.Time) time.Time {
	n := max(0, (start.Year()-anchor.Year())*12+int(start.Month()-anchor.Month())-1)
	for {
		if end := months(anchor, n); end.After(start) {
			return end
		}
		n++
	}
}

// openPeriod returns the latest period of a Sim that is not over and done with.
func openPeriod(ctx context.Context, tx *db.Tx, sid string) (p Period, ok bool, err error) {
	p, err = scanPeriod(tx.QueryRowContext(ctx, selectPeriod+` where sim_sid = $1 and is_open`+tx.ForUpdate(), sid))
	if db.None(err) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("read the billing period of %s: %w", sid, err)
	}
	return p, true, nil
}

// ensure sees to it that a Sim which attaches has a period that runs now, and
// returns it. A period that still runs is used again; one of another type ends
// for it. Periods that have ended are followed by the next without a gap.
func (s *Store) ensure(ctx context.Context, tx *db.Tx, one sim.Sim) (Period, error) {
	now := s.now()
	p, ok, err := openPeriod(ctx, tx, one.SID)
	if err != nil {
		return p, err
	}
	if !ok {
		return s.begin(ctx, tx, one, now, now, false)
	}
	if p.Account != one.Account {
		return s.follows(ctx, tx, one, p)
	}
	for p.Type == one.Status && !p.End.After(now) {
		blocked := p.Blocked
		if err := s.endPeriod(ctx, tx, p, p.End); err != nil {
			return p, err
		}
		if p, err = s.begin(ctx, tx, one, p.End, p.anchor, blocked); err != nil {
			return p, err
		}
	}
	if p.Type == one.Status {
		return p, nil
	}
	if err := s.endPeriod(ctx, tx, p, now); err != nil {
		return p, err
	}
	return s.begin(ctx, tx, one, now, now, p.Blocked)
}

// follows begins the period of a Sim that has moved here. The one before stays
// with the account that had it, to its end; until then its months and what was
// used in it count on: a move is no way around a data limit.
func (s *Store) follows(ctx context.Context, tx *db.Tx, one sim.Sim, before Period) (Period, error) {
	now := s.now()
	if err := s.endPeriod(ctx, tx, before, before.End); err != nil {
		return before, err
	}
	if before.Type != one.Status || !before.End.After(now) {
		return s.begin(ctx, tx, one, now, now, before.Blocked)
	}
	p, err := s.begin(ctx, tx, one, now, before.anchor, false)
	if err != nil {
		return p, err
	}
	p.Used, p.Blocked = before.Used, before.Blocked
	if _, err := tx.ExecContext(ctx, `update billing_period set used = $1, blocked = $2 where sid = $3`, p.Used, p.Blocked, p.SID); err != nil {
		return p, fmt.Errorf("go on counting in %s: %w", p.SID, err)
	}
	return p, nil
}

// begin stores a period. The limit of the one before is lifted by it.
func (s *Store) begin(ctx context.Context, tx *db.Tx, one sim.Sim, start, anchor time.Time, wasBlocked bool) (Period, error) {
	now := s.now()
	p := Period{
		SID: account.NewSID(PeriodPrefix), Account: one.Account, SIM: one.SID, Type: one.Status,
		Start: start, End: nextEnd(anchor, start), anchor: anchor, open: true, CreatedAt: now, UpdatedAt: now,
	}
	// Periods that were missed are made in one go; lists go by the time of making.
	if start.Before(now) {
		p.CreatedAt = start
	}
	if _, err := tx.ExecContext(ctx, `insert into billing_period
		(sid, account_sid, sim_sid, period_type, start_time, end_time, anchor, used, blocked, is_open, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, $11)`,
		p.SID, p.Account, p.SIM, string(p.Type), p.Start.UnixMicro(), p.End.UnixMicro(), p.anchor.UnixMicro(), false, true,
		p.CreatedAt.UnixMicro(), now.UnixMicro()); err != nil {
		return p, fmt.Errorf("begin a billing period of %s: %w", one.SID, err)
	}
	if err := s.record(ctx, tx, event.Event{
		Kind: "billing_period.started", Subject: p.SID, Account: p.Account,
		Data: map[string]any{"sim": p.SIM, "type": p.Type, "start": p.Start, "end": p.End},
	}); err != nil || !wasBlocked {
		return p, err
	}
	fleet, _, err := s.Sims.FleetOf(ctx, tx, one)
	if err != nil {
		return p, err
	}
	return p, s.tellLimit(ctx, tx, one, fleet, p, false)
}

// endPeriod closes a period, at its end or before it, and where it began if the
// clock was put back meanwhile.
func (s *Store) endPeriod(ctx context.Context, tx *db.Tx, p Period, at time.Time) error {
	if at.After(p.End) {
		at = p.End
	}
	if at.Before(p.Start) {
		at = p.Start
	}
	if _, err := tx.ExecContext(ctx, `update billing_period set is_open = $1, end_time = $2, updated_at = $3 where sid = $4`,
		false, at.UnixMicro(), s.now().UnixMicro(), p.SID); err != nil {
		return fmt.Errorf("end %s: %w", p.SID, err)
	}
	return nil
}

// rollPeriods ends the periods that have run out. A Sim that attaches gets the
// next one; one that is being updated waits for the end of that.
func (s *Store) rollPeriods(ctx context.Context) (n int, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		due, err := db.All(ctx, tx, db.Only[string], `select p.sim_sid from billing_period p join sim s on s.sid = p.sim_sid
			where p.is_open and p.end_time <= $1 and s.status <> $2 order by p.end_time limit `+fmt.Sprint(sweepBatch), s.now().UnixMicro(), string(sim.Scheduled))
		if err != nil {
			return fmt.Errorf("look for billing periods that have run out: %w", err)
		}
		n = len(due)
		for _, sid := range due {
			one, err := s.Sims.BySID(ctx, tx, sid)
			if err != nil {
				return err
			}
			if one.Status.Attaches() {
				if _, err := s.ensure(ctx, tx, one); err != nil {
					return err
				}
				continue
			}
			p, ok, err := openPeriod(ctx, tx, sid)
			if err != nil {
				return err
			}
			if ok {
				if err := s.endPeriod(ctx, tx, p, p.End); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return n, err
}

// simChanged follows the changes of a Sim: a period begins with its activation,
// being ready is timed, and another Fleet has another data limit.
func (s *Store) simChanged(ctx context.Context, tx *db.Tx, was, is sim.Sim) error {
	switch {
	case is.Status == sim.Ready:
		if err := s.beginReady(ctx, tx, is.SID); err != nil {
			return err
		}
	case is.Status != sim.Scheduled:
		if err := s.endReady(ctx, tx, is.SID); err != nil {
			return err
		}
	}
	if !is.Status.Attaches() {
		return nil
	}
	p, err := s.ensure(ctx, tx, is)
	if err != nil {
		return err
	}
	return s.judge(ctx, tx, is, p)
}
