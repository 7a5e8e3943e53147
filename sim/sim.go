// Package sim is the domain of the Super SIM API: reservations of eSIM
// profiles, the Sims that come of them, Fleets, network access profiles and
// networks. It holds their types, their state machines, their rules and their
// SQL, and the jobs that carry a reservation to an SM-DP+ and an activation to
// the core network.
//
// It knows neither of those two: [Preparer] and [CoreNetwork] say what it needs
// of them. It speaks no HTTP; that is the door's business.
//
// Start reading at state.go.
package sim

import (
	"context"
	"fmt"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// A Sim is one subscription: a plastic card's or an eSIM profile's.
type Sim struct {
	SID        string
	Account    string
	UniqueName string
	ICCID      ident.ICCID
	Status     Status
	Fleet      string // SID, empty for none
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Key returns the Sim's place in lists.
func (s Sim) Key() Key { return Key{s.CreatedAt.UnixMicro(), s.SID} }

const selectSim = `select sid, account_sid, coalesce(unique_name, ''), iccid, status, coalesce(fleet_sid, ''), created_at, updated_at from sim`

func scanSim(r db.Row) (Sim, error) {
	var s Sim
	var created, updated int64
	err := r.Scan(&s.SID, &s.Account, &s.UniqueName, &s.ICCID, &s.Status, &s.Fleet, &created, &updated)
	s.CreatedAt, s.UpdatedAt = db.Time(created), db.Time(updated)
	return s, err
}

func findSim(ctx context.Context, q db.Query, account, ref, suffix string) (Sim, error) {
	s, err := find(ctx, q, scanSim, selectSim, SimPrefix, account, ref, suffix)
	if db.None(err) {
		return s, notFound("Sim", ref)
	}
	if err != nil {
		return s, fmt.Errorf("read Sim: %w", err)
	}
	return s, nil
}

// Sim returns one Sim by SID or unique name.
func (s *Store) Sim(ctx context.Context, account, ref string) (one Sim, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		one, err = findSim(ctx, q, account, ref, "")
		return err
	})
	return one, err
}

// A SimFilter selects Sims; empty members fit all.
type SimFilter struct {
	Status Status
	Fleet  string // SID or unique name
	ICCID  string
}

// Sims lists an account's Sims.
func (s *Store) Sims(ctx context.Context, account string, f SimFilter, p Page) (l List[Sim], err error) {
	c := &Conditions{}
	c.Equal("account_sid", account)
	c.Equal("status", string(f.Status))
	c.Equal("iccid", f.ICCID)
	err = s.DB.Read(ctx, func(q db.Query) error {
		if f.Fleet != "" {
			fleet, err := findFleet(ctx, q, account, f.Fleet, "")
			if fault.Is(err, fault.NotFound) {
				return nil // a filter that names nothing finds nothing
			}
			if err != nil {
				return err
			}
			c.Equal("fleet_sid", fleet.SID)
		}
		l, err = QueryPage(ctx, q, scanSim, selectSim, c, p)
		return err
	})
	return l, err
}

// createSim makes the Sim of a profile that has become available.
func (s *Store) createSim(ctx context.Context, tx *db.Tx, p *Profile, now time.Time) error {
	p.SIM = freshSID(SimPrefix)
	if _, err := tx.ExecContext(ctx, `insert into sim (sid, account_sid, iccid, status, created_at, updated_at) values ($1, $2, $3, $4, $5, $5)`,
		p.SIM, p.Account, string(p.ICCID), string(New), now.UnixMicro()); err != nil {
		return fmt.Errorf("store the Sim of %s: %w", p.SID, err)
	}
	if err := factorySettings(ctx, tx, p.SIM, p.ICCID, now); err != nil {
		return err
	}
	return s.record(ctx, tx, event.Event{
		Kind: "sim.new", Subject: p.SIM, Account: p.Account,
		Data: map[string]any{"iccid": p.ICCID, "esim_profile": p.SID},
	})
}

// Codes of the vendors' catalogue for updates of Sims.
const (
	CodeFleetUnknown   = 83006
	CodeFleetMissing   = 83007
	CodeFleetNeeded    = 83008
	CodeFleetScheduled = 83009
	CodeStatusRefused  = 83010
	CodeNameTaken      = 83011
)

// A SimUpdate is what a customer asks of a Sim; nil and empty members change
// nothing. An empty name or Fleet takes it away.
type SimUpdate struct {
	UniqueName *string
	Status     Status
	Fleet      *string // SID or unique name
	Account    *string // to move the Sim to
	Callback   Callback
}

// UpdateSim changes a Sim. It reports whether the change goes on after the
// answer: then the Sim is scheduled, and the callback is called at the end.
func (s *Store) UpdateSim(ctx context.Context, caller, ref string, u SimUpdate) (one Sim, later bool, err error) {
	if u.Account != nil {
		to := Canonical(*u.Account)
		u.Account = &to
	}
	err = s.named(ctx, deref(u.UniqueName), CodeNameTaken, func(tx *db.Tx) error {
		later = false
		if one, err = s.simToUpdate(ctx, tx, caller, ref, u.Account != nil); err != nil {
			return err
		}
		was := one
		if u.Account != nil && *u.Account != one.Account {
			if err := s.checkMove(ctx, tx, caller, one, u); err != nil {
				return err
			}
			one.Account = *u.Account
		}
		if u.UniqueName != nil {
			one.UniqueName = *u.UniqueName
		}
		if one.UniqueName != was.UniqueName || one.Account != was.Account {
			if err := checkName(ctx, tx, "sim", SimPrefix, one.Account, one.SID, one.UniqueName, CodeNameTaken); err != nil {
				return err
			}
		}
		to, way, err := s.plan(ctx, tx, one, u)
		if err != nil {
			return err
		}
		switch way {
		case AtOnce:
			one.Status, one.Fleet = to.Status, to.Fleet
		case Through:
			one.Status, later = Scheduled, true
			if one.Account != was.Account {
				one.Fleet = "" // the Fleet of the other account
			}
			if err := s.schedule(ctx, tx, was, to, u.Callback); err != nil {
				return err
			}
		}
		if one == was {
			return nil
		}
		one.UpdatedAt = s.now()
		return s.storeSim(ctx, tx, was, one, "")
	})
	return one, later, err
}

// simToUpdate finds the Sim of an update. Only where Sims move between accounts
// does a request reach one of a subaccount, and only by its SID.
func (s *Store) simToUpdate(ctx context.Context, tx *db.Tx, caller, ref string, moving bool) (Sim, error) {
	one, err := findSim(ctx, tx, caller, ref, tx.ForUpdate())
	if !moving || !fault.Is(err, fault.NotFound) || !IsSID(ref, SimPrefix) {
		return one, err
	}
	unknown := err
	one, err = scanSim(tx.QueryRowContext(ctx, selectSim+` where sid = $1`+tx.ForUpdate(), Canonical(ref)))
	if db.None(err) {
		return one, unknown
	}
	if err != nil {
		return one, fmt.Errorf("read Sim: %w", err)
	}
	ours, err := s.within(ctx, tx, caller, one.Account)
	if err == nil && !ours {
		err = unknown
	}
	return one, err
}

// within reports whether an account is the caller's own or a subaccount of it.
func (s *Store) within(ctx context.Context, q db.Query, caller, sid string) (bool, error) {
	if sid == caller {
		return true, nil
	}
	a, err := s.Accounts.Get(ctx, q, sid)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && a.Parent == caller && a.Status == account.Active, err
}

// checkMove refuses a move of a Sim to another account that may not be.
func (s *Store) checkMove(ctx context.Context, q db.Query, caller string, one Sim, u SimUpdate) error {
	ours, err := s.within(ctx, q, caller, *u.Account)
	if err != nil {
		return err
	}
	if !ours {
		return &fault.Error{
			Kind: fault.Forbidden, Field: "AccountSid",
			Message: fmt.Sprintf("%.40q is neither this account nor one of its active subaccounts: a Sim moves only between those", *u.Account),
		}
	}
	switch {
	case one.Status == New, one.Status == Inactive && s.MoveInactive:
	case s.MoveInactive:
		return fault.Field("AccountSid", "only a Sim that is new or inactive can move to another account; this one is %s", one.Status)
	default:
		return fault.Field("AccountSid", "only a Sim that is new can move to another account; this one is %s", one.Status)
	}
	if one.Fleet != "" && u.Fleet == nil {
		return fault.Field("Fleet", "the Sim is in a Fleet of its present account: name a Fleet of the new account, or give an empty Fleet")
	}
	return nil
}

// plan decides what an update makes of a Sim's status and Fleet, and how. The
// way is [Never] when neither changes.
func (s *Store) plan(ctx context.Context, q db.Query, now Sim, u SimUpdate) (to Sim, way Way, err error) {
	to = now
	if u.Status != "" && u.Status != now.Status {
		way = now.Status.Way(u.Status)
		if way == Never {
			return to, way, statusRefused(now.Status, u.Status)
		}
		to.Status = u.Status
	}
	if u.Fleet != nil {
		if now.Status == Scheduled {
			return to, way, refuse(CodeFleetScheduled, "Fleet",
				"the Fleet cannot be changed while an update of the Sim is under way (status scheduled); wait until it has ended")
		}
		if to.Fleet, err = s.fleetOf(ctx, q, now.Account, *u.Fleet); err != nil {
			return to, way, err
		}
		if to.Fleet != now.Fleet {
			way = max(way, now.Status.FleetWay())
		}
	}
	if to.Fleet == "" && to.Status.Attaches() {
		if now.Fleet != "" && now.Status.Attaches() {
			return to, way, refuse(CodeFleetNeeded, "Fleet",
				"a Sim that is %s cannot be without a Fleet; name another Fleet, or make it inactive in the same request", now.Status)
		}
		return to, way, refuse(CodeFleetMissing, "Status",
			"a Sim needs a Fleet to become %s; give Fleet in the same request", to.Status)
	}
	return to, way, nil
}

// fleetOf resolves the Fleet parameter of an update; empty means no Fleet.
func (s *Store) fleetOf(ctx context.Context, q db.Query, account, ref string) (string, error) {
	if ref == "" {
		return "", nil
	}
	f, err := findFleet(ctx, q, account, ref, "")
	if fault.Is(err, fault.NotFound) {
		return "", refuse(CodeFleetUnknown, "Fleet", "%.80q is neither the SID nor the unique name of a Fleet of this account", ref)
	}
	return f.SID, err
}

func refuse(code int, field, format string, args ...any) error {
	return &fault.Error{Kind: fault.Conflict, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

func statusRefused(from, to Status) error {
	switch {
	case from == Scheduled:
		return refuse(CodeStatusRefused, "Status", "the status cannot be changed while an update of the Sim is under way (status scheduled); wait until it has ended")
	case to == Ready:
		return refuse(CodeStatusRefused, "Status", "a Sim that is %s cannot become ready: only a new one can", from)
	}
	return refuse(CodeStatusRefused, "Status", "a Sim that is %s cannot become %s", from, to)
}

// storeSim writes what has changed of a Sim, and the event of a new status or
// Fleet.
func (s *Store) storeSim(ctx context.Context, tx *db.Tx, was, is Sim, why string) error {
	if _, err := tx.ExecContext(ctx, `update sim set account_sid = $1, unique_name = $2, status = $3, fleet_sid = $4, updated_at = $5 where sid = $6`,
		is.Account, db.Null(is.UniqueName), string(is.Status), db.Null(is.Fleet), is.UpdatedAt.UnixMicro(), is.SID); err != nil {
		return fmt.Errorf("store %s: %w", is.SID, err)
	}
	data := map[string]any{}
	kind := "sim.updated"
	if was.Account != is.Account {
		data["account"] = change{was.Account, is.Account}
	}
	if was.UniqueName != is.UniqueName {
		data["unique_name"] = change{was.UniqueName, is.UniqueName}
	}
	if was.Fleet != is.Fleet {
		data["fleet"] = change{was.Fleet, is.Fleet}
	}
	if was.Status != is.Status {
		kind = "sim." + string(is.Status)
		data["status"] = change{string(was.Status), string(is.Status)}
	}
	if why != "" {
		data["reason"] = why
	}
	if err := s.record(ctx, tx, event.Event{Kind: kind, Subject: is.SID, Account: is.Account, Data: data}); err != nil {
		return err
	}
	if was.Fleet != is.Fleet || !was.Status.Attaches() {
		if err := s.scheduleSettings(ctx, tx, s.policies(tx), is); err != nil {
			return err
		}
	}
	if s.Changed == nil || was.Account == is.Account && was.Fleet == is.Fleet && was.Status == is.Status {
		return nil
	}
	return s.Changed(ctx, tx, was, is)
}
