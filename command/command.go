// Package command is the messages between customers and their devices: SMS
// commands, which go by way of an SMSC, and IP commands, which are UDP datagrams
// to the address that a device has in its data session. It holds their types, their
// state machines, their rules and their SQL, and the jobs that send them.
//
// Whose number or address a device has is known elsewhere: [Numbers] and
// [Sessions] say what this package needs of that.
//
// Start reading at status.go, then sms.go.
package command

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"godwit/account"
	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/jobs"
	"godwit/sim"
	"godwit/smsc"
)

// Prefixes of the identifiers.
const (
	SMSPrefix = "HC"
	IPPrefix  = "HG"
)

// Numbers knows by which number the SMSC reaches a card.
type Numbers interface {
	// Number returns a card's number. The refusal is of kind
	// [fault.NotFound] where it has none.
	Number(ctx context.Context, iccid ident.ICCID) (smsc.Number, error)
	// ICCID returns whose number it is, with the same refusal for nobody's.
	ICCID(ctx context.Context, n smsc.Number) (ident.ICCID, error)
}

// Sessions knows which addresses devices have in their data sessions: what a
// packet gateway reports, or a [Table].
type Sessions interface {
	// Addresses returns the addresses of a Sim's device, none while it is
	// not attached.
	Addresses(ctx context.Context, q db.Query, sim string) ([]netip.Addr, error)
	// Holder returns the SID of the Sim whose device has the address now,
	// empty for nobody's.
	Holder(ctx context.Context, q db.Query, a netip.Addr) (sim string, err error)
}

// A Store keeps commands. Set its fields, call [Store.Register] before the job
// queue runs, then use it; nothing may be changed afterwards.
type Store struct {
	DB        *db.DB
	Jobs      *jobs.Queue
	Events    *event.Log
	Callbacks *callback.Sender
	Sims      *sim.Store

	SMSC     *smsc.Client // nil where none is configured: then messages wait
	Numbers  Numbers
	Port     *Port // nil where none is configured: then IP commands fail
	Sessions Sessions

	// Count, where it is set, counts a short message to or from a Sim, once
	// for each and in the transaction that stores it.
	Count func(ctx context.Context, tx *db.Tx, sim string) error

	Now func() time.Time // the clock, time.Now if nil
}

// What proves this package's events.
const (
	evidenceSMPP = "smpp.deliver_sm" // the SMSC's PDU
	evidenceUDP  = "udp.datagram"    // what the device sent
)

// sweep is how often the jobs look for what was left behind.
const sweep = 5 * time.Second

// Register sets the handlers of the store's jobs.
func (s *Store) Register() {
	// They find their work in their own tables, and the periodic ones follow
	// up: the queue need not try them again.
	jobs.Register(s.Jobs, func(ctx context.Context, _ jobs.Job[smsArgs]) error { return s.sendSMS(ctx) },
		jobs.Attempts(1), jobs.Lane("sms", 2))
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[ipArgs]) error { return s.sendIP(ctx, j.Hand()) },
		jobs.Attempts(1), jobs.Lane("ip", 2))
	s.Jobs.Every("command.sms", sweep, smsArgs{})
	s.Jobs.Every("command.ip", sweep, ipArgs{})
}

// wake has the command sent that the transaction is about to store, and has not
// stored yet. A job that has yet to begin takes it along: where another command
// waits, there is one, and the lock on that command's row keeps the job from its
// end until this transaction's.
func (s *Store) wake(ctx context.Context, tx *db.Tx, table string, job jobs.Args) error {
	var waiting string
	err := tx.QueryRowContext(ctx, `select sid from `+table+` where status = 'queued' and lease = 0 limit 1`+tx.SkipLocked()).Scan(&waiting)
	if db.None(err) {
		return s.Jobs.Add(ctx, tx, job)
	}
	if err != nil {
		return fmt.Errorf("look for commands that wait: %w", err)
	}
	return nil
}

// waits reports whether a command waits that no job has had in its hands.
func (s *Store) waits(ctx context.Context, table string) (more bool, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, `select exists (select 1 from `+table+` where status = 'queued' and lease = 0)`).Scan(&more)
	})
	if err != nil {
		err = fmt.Errorf("look for commands that wait: %w", err)
	}
	return more, err
}

func (s *Store) now() time.Time { return db.Now(s.Now) }

func (s *Store) count(ctx context.Context, tx *db.Tx, sim string) error {
	if s.Count == nil {
		return nil
	}
	return s.Count(ctx, tx, sim)
}

// record appends an event of this package.
func (s *Store) record(ctx context.Context, tx *db.Tx, e event.Event) error {
	e.At = s.now()
	return s.Events.Append(ctx, tx, e)
}

// CodeSim is the catalogue's code of a Sim parameter that names none.
const CodeSim = 83005

// target finds the Sim that a command is for, and its Fleet, and refuses one that
// nothing can be sent to.
func (s *Store) target(ctx context.Context, q db.Query, account, ref string) (one sim.Sim, fleet sim.Fleet, err error) {
	one, err = s.Sims.Find(ctx, q, account, ref)
	if fault.Is(err, fault.NotFound) {
		return one, fleet, &fault.Error{
			Kind: fault.Invalid, Code: CodeSim, Field: "Sim",
			Message: fmt.Sprintf("%.80q is neither the SID nor the unique name of a Sim of this account", ref),
		}
	}
	if err != nil {
		return one, fleet, err
	}
	if !one.Status.Attaches() {
		return one, fleet, fault.Field("Sim", "a command needs a Sim that is ready or active; this one is %s", one.Status)
	}
	fleet, ok, err := s.Sims.FleetOf(ctx, q, one)
	if err == nil && !ok {
		err = fault.Field("Sim", "a command needs a Sim in a Fleet; this one is in none")
	}
	return one, fleet, err
}

// simFilter turns the Sim of a list's filter into its SID. Where it names none,
// none is true: then the list is empty. A SID needs no look: the Sim may have gone
// to another account, its commands have not.
func (s *Store) simFilter(ctx context.Context, q db.Query, account, ref string) (sid string, none bool, err error) {
	if ref == "" {
		return "", false, nil
	}
	one, err := s.Sims.Find(ctx, q, account, ref)
	if !fault.Is(err, fault.NotFound) {
		return one.SID, false, err
	}
	if sim.IsSID(ref, sim.SimPrefix) {
		return sim.Canonical(ref), false, nil
	}
	return "", true, nil
}

func freshSID(prefix string) string { return account.NewSID(prefix) }

// tell has a customer told about a command.
func (s *Store) tell(ctx context.Context, tx *db.Tx, account, sid string, to sim.Callback, params []callback.Param) error {
	if to.URL == "" {
		return nil
	}
	_, err := s.Callbacks.Send(ctx, tx, callback.Callback{Account: account, Subject: sid, URL: to.URL, Method: to.Method, Params: params})
	return err
}

// method is GET or POST; POST is the default.
func method(m string) string {
	if m == "" {
		return "POST"
	}
	return m
}
