package sim

import (
	"context"
	"time"

	"godwit/account"
	"godwit/callback"
	"godwit/charge"
	"godwit/db"
	"godwit/event"
	"godwit/jobs"
)

// A Store keeps the domain's things. Set its fields, call [Store.Register]
// before the job queue runs, then use it; nothing may be changed afterwards.
type Store struct {
	DB        *db.DB
	Jobs      *jobs.Queue
	Events    *event.Log
	Accounts  *account.Store
	Callbacks *callback.Sender
	Ledger    *charge.Ledger // charges profiles that become available; none are if nil
	Preparer  Preparer
	Handout   Handout // the same SM-DP+ if it keeps its stock in this database, else nil
	Network   CoreNetwork
	Settler   Settler    // brings settings to Sims; Network does if nil
	Catalogue *Catalogue // what Networks there are, [Builtin] if nil

	ProfileType string // profile type of reservations that name none
	Requester   string // functionRequesterIdentifier towards the SM-DP+
	SMDPAddress string // shown where the SM-DP+ does not tell its own address

	// NarrowCallbacks keeps customers from hearing that a profile was
	// downloaded or installed: the parameter's text at the hosted service can
	// be read so.
	NarrowCallbacks bool

	// MoveInactive has Sims move between accounts that are inactive, beside new
	// ones. At the hosted service that is a beta which not everybody has.
	MoveInactive bool

	// What packages above have to do with changes here. Changed is called in
	// the transaction that changes a Sim's account, Fleet or status,
	// FleetChanged in that of a Fleet. DataOff tells whether a Sim is to have no
	// data service although its Fleet has. Each may be nil.
	Changed      func(ctx context.Context, tx *db.Tx, was, is Sim) error
	FleetChanged func(ctx context.Context, tx *db.Tx, was, is Fleet) error
	DataOff      func(ctx context.Context, q db.Query, one Sim) (bool, error)

	Now func() time.Time // the clock, time.Now if nil
}

// Evidence kinds of this package's events.
const (
	evidenceES2 = "es2plus"                   // the SM-DP+'s answer or report, JSON
	evidencePIR = "sgp22.installation_result" // signed by the eUICC, DER
)

// Register sets the handlers of the store's jobs.
func (s *Store) Register() {
	if s.Catalogue == nil {
		s.Catalogue = Builtin()
	}
	// These two find their work in their own tables, and the periodic ones
	// follow up: the queue need not try them again.
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[reserveArgs]) error { return s.reserve(ctx, j.Hand()) },
		jobs.Attempts(1), jobs.Lane("reserve", 4))
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[changeArgs]) error { return s.carryOut(ctx, j.Hand()) },
		jobs.Attempts(1), jobs.Lane("change", 4))
	s.Jobs.Every("sim.reserve", sweep, reserveArgs{})
	s.Jobs.Every("sim.change", sweep, changeArgs{})
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[settingsArgs]) error { return s.bringSettings(ctx, j.Hand()) }, jobs.Attempts(1))
	s.Jobs.Every("sim.settings", sweep, settingsArgs{})
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[cancelArgs]) error { return s.cancelOrder(ctx, j.Args) })
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[syncFleetArgs]) error { return s.syncFleet(ctx, j.Args) })
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[syncSimArgs]) error { return s.syncSim(ctx, j.Args) })
}

func (s *Store) now() time.Time { return db.Now(s.Now) }

// record appends an event of this package.
func (s *Store) record(ctx context.Context, tx *db.Tx, e event.Event) error {
	e.At = s.now()
	return s.Events.Append(ctx, tx, e)
}

// call has a customer told about something of theirs, if they asked for it.
func (s *Store) call(ctx context.Context, tx *db.Tx, account, subject string, to Callback, params []callback.Param) error {
	if to.URL == "" {
		return nil
	}
	_, err := s.Callbacks.Send(ctx, tx, callback.Callback{Account: account, Subject: subject, URL: to.URL, Method: to.method(), Params: params})
	return err
}
