package usage

import (
	"context"
	"fmt"
	"strconv"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/sim"
)

// Megabyte is the unit of data limits, in octets.
const Megabyte = 1_000_000

// follow does what follows from uses that were counted: they go into billing
// periods, against data limits, and make ready Sims active.
func (s *Store) follow(ctx context.Context, tx *db.Tx, uses []Use) error {
	for _, u := range uses {
		octets := u.Upload + u.Download
		if octets == 0 {
			continue
		}
		// The Sim as it is now: an earlier use may have changed it.
		one, err := s.Sims.BySID(ctx, tx, u.SIM.SID)
		if err != nil {
			return err
		}
		if one.Status.Attaches() {
			if _, err := s.ensure(ctx, tx, one); err != nil {
				return err
			}
		}
		// The period that ran when it was used. A Sim's first report may be of
		// just before its activation was known here: that counts in the first.
		if _, err := tx.ExecContext(ctx, `update billing_period set used = used + $1, updated_at = $2 where sid =
			(select sid from billing_period where sim_sid = $3 and start_time <= $4 and end_time > $5
			order by case when start_time <= $5 then 0 else 1 end, start_time desc limit 1)`,
			octets, s.now().UnixMicro(), one.SID, u.At.Add(latest).UnixMicro(), u.At.UnixMicro()); err != nil {
			return fmt.Errorf("count in a billing period of %s: %w", one.SID, err)
		}
		if one.Status.Attaches() {
			p, ok, err := openPeriod(ctx, tx, one.SID)
			if err != nil {
				return err
			}
			if ok {
				if err := s.judge(ctx, tx, one, p); err != nil {
					return err
				}
			}
		}
		if err := s.usedWhileReady(ctx, tx, one.SID, octets, 0); err != nil {
			return err
		}
	}
	return nil
}

// judge compares what a Sim has used in its period with its Fleet's data limit,
// and turns its data service off or on.
func (s *Store) judge(ctx context.Context, tx *db.Tx, one sim.Sim, p Period) error {
	fleet, ok, err := s.Sims.FleetOf(ctx, tx, one)
	if err != nil || !ok {
		return err
	}
	over := p.Used >= fleet.DataLimit*Megabyte
	if over == p.Blocked {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `update billing_period set blocked = $1, updated_at = $2 where sid = $3`, over, s.now().UnixMicro(), p.SID); err != nil {
		return fmt.Errorf("store the data limit of %s: %w", one.SID, err)
	}
	return s.tellLimit(ctx, tx, one, fleet, p, over)
}

// tellLimit tells everybody that a data limit is reached or lifted: the record,
// the core network and the customer.
func (s *Store) tellLimit(ctx context.Context, tx *db.Tx, one sim.Sim, fleet sim.Fleet, p Period, reached bool) error {
	what := "lifted"
	if reached {
		what = "reached"
	}
	if err := s.record(ctx, tx, event.Event{
		Kind: "sim.data_limit_" + what, Subject: one.SID, Account: one.Account,
		Data: map[string]any{"billing_period": p.SID, "fleet": fleet.SID, "limit": fleet.DataLimit, "used": p.Used},
	}); err != nil {
		return err
	}
	if err := s.Sims.Sync(ctx, tx, one.SID); err != nil {
		return err
	}
	to, err := limitCallback(ctx, tx, one.Account)
	if err != nil || to.URL == "" {
		return err
	}
	_, err = s.Callbacks.Send(ctx, tx, callback.Callback{
		Account: one.Account, Subject: one.SID, URL: to.URL, Method: to.Method,
		Params: []callback.Param{
			{Name: "EventType", Value: "data_limit." + what},
			{Name: "AccountSid", Value: one.Account},
			{Name: "SimSid", Value: one.SID},
			{Name: "SimUniqueName", Value: one.UniqueName},
			{Name: "SimIccid", Value: string(one.ICCID)},
			{Name: "FleetSid", Value: fleet.SID},
			{Name: "BillingPeriodSid", Value: p.SID},
			{Name: "DataLimit", Value: strconv.FormatInt(fleet.DataLimit, 10)},
			{Name: "DataUsed", Value: strconv.FormatInt(p.Used, 10)},
		},
	})
	return err
}

// dataOff tells package sim whether a Sim has used up its data limit.
func (s *Store) dataOff(ctx context.Context, q db.Query, one sim.Sim) (off bool, err error) {
	err = q.QueryRowContext(ctx, `select blocked from billing_period where sim_sid = $1 and is_open and end_time > $2`, one.SID, s.now().UnixMicro()).Scan(&off)
	if db.None(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the data limit of %s: %w", one.SID, err)
	}
	return off, nil
}

// limitArgs is the job that judges the Sims of a Fleet whose data limit was
// changed.
type limitArgs struct {
	Fleet string `json:"fleet"`
	After string `json:"after"`
}

// Kind names the job.
func (limitArgs) Kind() string { return "usage.limit" }

func (s *Store) fleetChanged(ctx context.Context, tx *db.Tx, was, is sim.Fleet) error {
	if was.DataLimit == is.DataLimit {
		return nil
	}
	return s.Jobs.Add(ctx, tx, limitArgs{Fleet: is.SID})
}

// limitFleet judges the next Sims of a Fleet. Judging twice changes nothing.
func (s *Store) limitFleet(ctx context.Context, a limitArgs) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		sids, err := db.All(ctx, tx, db.Only[string], `select s.sid from sim s join billing_period p on p.sim_sid = s.sid and p.is_open
			where s.fleet_sid = $1 and s.sid > $2 and p.used > 0 order by s.sid limit `+fmt.Sprint(sweepBatch), a.Fleet, a.After)
		if err != nil {
			return fmt.Errorf("read the Sims of %s: %w", a.Fleet, err)
		}
		for _, sid := range sids {
			one, err := s.Sims.BySID(ctx, tx, sid)
			if err != nil {
				return err
			}
			p, ok, err := openPeriod(ctx, tx, sid)
			if err != nil {
				return err
			}
			if ok && p.End.After(s.now()) {
				if err := s.judge(ctx, tx, one, p); err != nil {
					return err
				}
			}
		}
		if len(sids) < sweepBatch {
			return nil
		}
		return s.Jobs.Add(ctx, tx, limitArgs{Fleet: a.Fleet, After: sids[len(sids)-1]})
	})
}

// LimitCallback returns where an account wants to hear of data limits; the
// address is empty for nowhere.
func (s *Store) LimitCallback(ctx context.Context, account string) (c sim.Callback, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		c, err = limitCallback(ctx, q, account)
		return err
	})
	return c, err
}

func limitCallback(ctx context.Context, q db.Query, account string) (c sim.Callback, err error) {
	err = q.QueryRowContext(ctx, `select url, method from usage_callback where account_sid = $1`, account).Scan(&c.URL, &c.Method)
	if db.None(err) {
		return sim.Callback{Method: "POST"}, nil
	}
	if err != nil {
		return c, fmt.Errorf("read where %s hears of data limits: %w", account, err)
	}
	return c, nil
}

// SetLimitCallback sets where an account wants to hear of data limits.
func (s *Store) SetLimitCallback(ctx context.Context, account string, c sim.Callback) (sim.Callback, error) {
	if c.Method == "" {
		c.Method = "POST"
	}
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `insert into usage_callback (account_sid, url, method, updated_at) values ($1, $2, $3, $4)
			on conflict (account_sid) do update set url = excluded.url, method = excluded.method, updated_at = excluded.updated_at`,
			account, c.URL, c.Method, s.now().UnixMicro())
		return err
	})
	return c, err
}
