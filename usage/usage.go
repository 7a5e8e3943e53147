// Package usage counts what Sims use: octets by hour, reported by the core
// network over RADIUS or imported from files. From the counts come the usage
// records of the API, billing periods, the data limits of Fleets and the step
// from ready to active that a Sim makes by being used.
//
// It carries and blocks no traffic: package sim tells the core network, and
// this package tells sim. It knows no prices.
//
// Start reading at session.go: how reports that repeat, overtake each other or
// get lost still come to the right sum.
package usage

import (
	"context"
	"fmt"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/ident"
	"godwit/jobs"
	"godwit/sim"
)

// A Store keeps what was used. Set its fields, call [Store.Register] before the
// job queue runs, then use it; nothing may be changed afterwards.
type Store struct {
	DB        *db.DB
	Jobs      *jobs.Queue
	Events    *event.Log
	Callbacks *callback.Sender
	Sims      *sim.Store
	Stock     Stock
	Now       func() time.Time // the clock, time.Now if nil

	networks networkCache
}

// Stock knows which card or profile a subscriber of the core network has. The
// SM-DP+ is one; where cards were registered, their list is another.
type Stock interface {
	// Find returns the ICCID of a subscriber. A refusal of kind
	// [fault.NotFound] means that there is none.
	Find(ctx context.Context, q db.Query, who Subscriber) (ident.ICCID, error)
}

// A Subscriber is how a core network names one. One member is enough; where
// there are several, the ICCID counts before the IMSI, and that before the MSISDN.
type Subscriber struct {
	ICCID  ident.ICCID
	IMSI   ident.IMSI
	MSISDN string // digits, without a plus
}

// String names the subscriber in messages.
func (s Subscriber) String() string {
	switch {
	case s.ICCID != "":
		return "ICCID " + string(s.ICCID)
	case s.IMSI != "":
		return "IMSI " + string(s.IMSI)
	case s.MSISDN != "":
		return "MSISDN " + s.MSISDN
	}
	return "nobody"
}

// Register sets the handlers of the store's jobs and listens to changes of Sims.
func (s *Store) Register() {
	jobs.Register(s.Jobs, func(ctx context.Context, _ jobs.Job[sweepArgs]) error { return s.Sweep(ctx) }, jobs.Attempts(1))
	s.Jobs.Every("usage.sweep", sweepInterval, sweepArgs{})
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[limitArgs]) error { return s.limitFleet(ctx, j.Args) })
	s.Sims.Changed = s.simChanged
	s.Sims.FleetChanged = s.fleetChanged
	s.Sims.DataOff = s.dataOff
}

// sweepArgs is the job that does what has become due.
type sweepArgs struct{}

// Kind names the job.
func (sweepArgs) Kind() string { return "usage.sweep" }

const (
	sweepInterval = time.Minute
	sweepBatch    = 500 // in one transaction
)

// Sweep begins the billing periods that have become due, makes Sims active that
// were ready long enough, and forgets old sessions. Repeating it is harmless:
// what was done is not due any more.
func (s *Store) Sweep(ctx context.Context) error {
	for _, part := range []func(context.Context) (int, error){s.rollPeriods, s.activateDue, s.forgetSessions} {
		for {
			n, err := part(ctx)
			if err != nil {
				return err
			}
			if n < sweepBatch {
				break
			}
		}
	}
	return nil
}

func (s *Store) now() time.Time { return db.Now(s.Now) }

// record appends an event of this package.
func (s *Store) record(ctx context.Context, tx *db.Tx, e event.Event) error {
	e.At = s.now()
	return s.Events.Append(ctx, tx, e)
}

// A Use is an amount of data that a Sim used at a time.
type Use struct {
	SIM      sim.Sim
	At       time.Time
	Network  ident.PLMN // where, zero if unknown
	Upload   int64      // octets from the device
	Download int64      // octets to the device
}

// Add counts uses, and does what follows from them: data limits, and ready
// Sims that become active.
func (s *Store) Add(ctx context.Context, tx *db.Tx, uses []Use) error {
	if len(uses) == 0 {
		return nil
	}
	for i := range uses {
		if uses[i].Upload < 0 || uses[i].Download < 0 {
			return fmt.Errorf("a use of %s is negative", uses[i].SIM.SID)
		}
	}
	if err := s.count(ctx, tx, uses); err != nil {
		return err
	}
	return s.follow(ctx, tx, uses)
}
