package sim

import (
	"context"
	"fmt"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
)

// This file is for the packages that keep what else there is to know about
// Sims: they read Sims and Fleets inside their own transactions, and page
// through lists of their own in the same way.

// Find returns a Sim of an account by SID or unique name.
func (s *Store) Find(ctx context.Context, q db.Query, account, ref string) (Sim, error) {
	return findSim(ctx, q, account, ref, "")
}

// FindFleet returns a Fleet of an account by SID or unique name.
func (s *Store) FindFleet(ctx context.Context, q db.Query, account, ref string) (Fleet, error) {
	return findFleet(ctx, q, account, ref, "")
}

// BySID returns a Sim, whoever's it is. The refusal is of kind
// [fault.NotFound] where there is none.
func (s *Store) BySID(ctx context.Context, q db.Query, sid string) (Sim, error) {
	return oneSim(ctx, q, "sid", Canonical(sid), "")
}

// ByICCID returns the Sim of a card or profile, whoever's it is. The refusal is
// of kind [fault.NotFound] where there is none.
func (s *Store) ByICCID(ctx context.Context, q db.Query, iccid ident.ICCID) (Sim, error) {
	return oneSim(ctx, q, "iccid", string(iccid), "")
}

func oneSim(ctx context.Context, q db.Query, column, value, suffix string) (Sim, error) {
	one, err := scanSim(q.QueryRowContext(ctx, selectSim+` where `+column+` = $1`+suffix, value))
	if db.None(err) {
		return one, fault.New(fault.NotFound, "there is no Sim %s", value)
	}
	if err != nil {
		return one, fmt.Errorf("read Sim: %w", err)
	}
	return one, nil
}

// FleetOf returns the Fleet that a Sim is in; ok is false where it is in none.
func (s *Store) FleetOf(ctx context.Context, q db.Query, one Sim) (f Fleet, ok bool, err error) {
	if one.Fleet == "" {
		return f, false, nil
	}
	if f, err = scanFleet(q.QueryRowContext(ctx, selectFleet+` where sid = $1`, one.Fleet)); err != nil {
		return f, false, fmt.Errorf("read %s: %w", one.Fleet, err)
	}
	return f, true, nil
}

// Used makes a Sim that is ready active, because it has been used as much as
// that takes; why says by what. A Sim of another status stays as it is.
func (s *Store) Used(ctx context.Context, tx *db.Tx, sid, why string) error {
	was, err := oneSim(ctx, tx, "sid", sid, tx.ForUpdate())
	if err != nil || was.Status != Ready {
		return err
	}
	is := was
	is.Status, is.UpdatedAt = Active, s.now()
	return s.storeSim(ctx, tx, was, is, why)
}

// Sync has the core network told again what a Sim is, after the transaction.
func (s *Store) Sync(ctx context.Context, tx *db.Tx, sid string) error {
	return s.Jobs.Add(ctx, tx, syncSimArgs{SIM: sid})
}
