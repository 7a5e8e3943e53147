package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/callback"
	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/jobs"
)

// A CoreNetwork carries the Sims' traffic: the HLR of a mobile operator, or the
// registry of this program that stands in for one.
type CoreNetwork interface {
	// Apply makes the network's subscriber equal to sub. Applying the same
	// subscriber twice changes nothing the second time. A [*fault.Error] means
	// that the network will not have it so; with any other error nothing is
	// known, and the call is made again later.
	Apply(ctx context.Context, sub Subscriber) error
}

// A Subscriber is what the core network has to know about one Sim. The ICCID
// leads it to the keys, which this package never sees.
type Subscriber struct {
	SIM      string // SID
	Account  string
	ICCID    ident.ICCID
	Attach   bool // whether the network serves it at all
	Data     bool
	SMS      bool
	Limit    int64        // megabytes of data in a billing period
	Networks []ident.PLMN // where it may attach
}

// A pending is an update of a Sim that is under way.
type pending struct {
	SIM       string
	ID        string
	From, To  Status
	Fleet     string
	Callback  Callback
	Attempts  int
	CreatedAt time.Time
}

func scanPending(r db.Row) (pending, error) {
	var c pending
	var created int64
	err := r.Scan(&c.SIM, &c.ID, &c.From, &c.To, &c.Fleet, &c.Callback.URL, &c.Callback.Method, &c.Attempts, &created)
	c.CreatedAt = db.Time(created)
	return c, err
}

const selectPending = `select sim_sid, id, from_status, to_status, coalesce(to_fleet_sid, ''), coalesce(callback_url, ''), callback_method, attempts, created_at from sim_change`

// changeArgs is the job that carries all waiting updates to the core network.
type changeArgs struct{}

// Kind names the job.
func (changeArgs) Kind() string { return "sim.change" }

const (
	changeBatch    = 200
	changeRounds   = 50
	changeLease    = time.Minute
	changePatience = 15 * time.Minute // then the Sim goes back to what it was
	changeParallel = 16               // calls to the core network at a time
)

// schedule stores the update that a Sim goes through and has it carried out.
func (s *Store) schedule(ctx context.Context, tx *db.Tx, was, to Sim, tell Callback) error {
	// As with reservations: a job that has yet to begin takes this one along.
	var waiting string
	err := tx.QueryRowContext(ctx, `select sim_sid from sim_change where lease = 0 limit 1`+tx.SkipLocked()).Scan(&waiting)
	if err != nil && !db.None(err) {
		return fmt.Errorf("look for updates that wait: %w", err)
	}
	if db.None(err) {
		if err := s.Jobs.Add(ctx, tx, changeArgs{}); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `insert into sim_change (sim_sid, id, from_status, to_status, to_fleet_sid, callback_url, callback_method, lease, attempts, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, 0, 0, $8)`,
		was.SID, freshSID("CH"), string(was.Status), string(to.Status), db.Null(to.Fleet), db.Null(tell.URL), tell.method(), s.now().UnixMicro()); err != nil {
		return fmt.Errorf("store the update of %s: %w", was.SID, err)
	}
	return nil
}

// carryOut works on updates of Sims until none waits. It may run again after a
// crash and beside others of its kind: the core network does not mind being
// told twice, and an update that another run has ended is not there any more.
func (s *Store) carryOut(ctx context.Context, h jobs.Hand) error {
	if err := h.LetGo(ctx, s.DB, "sim_change", "true"); err != nil {
		return err
	}
	for range changeRounds {
		batch, more, err := s.claimChanges(ctx, h)
		if err != nil {
			return err
		}
		if len(batch) == 0 && !more {
			return nil
		}
		var group errgroup.Group
		group.SetLimit(changeParallel)
		for _, c := range batch {
			group.Go(func() error { return s.applyChange(ctx, c) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error { return s.Jobs.Add(ctx, tx, changeArgs{}) })
}

func (s *Store) claimChanges(ctx context.Context, h jobs.Hand) (batch []pending, more bool, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		now := s.now()
		batch, err = db.All(ctx, tx, scanPending, selectPending+` where lease < $1 order by lease, created_at limit `+
			fmt.Sprint(changeBatch)+tx.SkipLocked(), now.UnixMicro())
		if err != nil {
			return fmt.Errorf("read updates that wait: %w", err)
		}
		for _, c := range batch {
			if _, err := tx.ExecContext(ctx, `update sim_change set lease = $1, holder = $2 where sim_sid = $3`, now.Add(changeLease).UnixMicro(), h.Job, c.SIM); err != nil {
				return fmt.Errorf("claim the update of %s: %w", c.SIM, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	err = s.DB.Read(ctx, func(q db.Query) error {
		var sid string
		err := q.QueryRowContext(ctx, `select sim_sid from sim_change where lease = 0 limit 1`).Scan(&sid)
		if db.None(err) {
			return nil
		}
		more = err == nil
		return err
	})
	return batch, more, err
}

// errMoved says that what the core network was told is no longer what it
// should be told.
var errMoved = errors.New("the Sim's service has changed meanwhile")

// applyChange tells the core network about one update and ends it.
func (s *Store) applyChange(ctx context.Context, c pending) error {
	for {
		var want Subscriber
		err := s.DB.Read(ctx, func(q db.Query) (err error) {
			want, err = s.wanted(ctx, q, c)
			return err
		})
		if db.None(err) {
			return nil // ended by another run
		}
		if err != nil {
			return fmt.Errorf("read the subscriber of %s: %w", c.SIM, err)
		}
		told := s.Network.Apply(ctx, want)
		if told != nil {
			return s.changeFailed(ctx, c, told)
		}
		err = s.DB.Write(ctx, func(tx *db.Tx) error {
			now, err := s.wanted(ctx, tx, c)
			if db.None(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read the subscriber of %s: %w", c.SIM, err)
			}
			if !reflect.DeepEqual(now, want) {
				return errMoved
			}
			return s.endChange(ctx, tx, c, c.To, c.Fleet, "")
		})
		if !errors.Is(err, errMoved) {
			return err
		}
	}
}

// wanted returns what the core network is to know once the update is done. The
// error is sql.ErrNoRows when the update is there no more.
func (s *Store) wanted(ctx context.Context, q db.Query, c pending) (Subscriber, error) {
	var id string
	if err := q.QueryRowContext(ctx, `select id from sim_change where sim_sid = $1 and id = $2`, c.SIM, c.ID).Scan(&id); err != nil {
		return Subscriber{}, err
	}
	one, err := scanSim(q.QueryRowContext(ctx, selectSim+` where sid = $1`, c.SIM))
	if err != nil {
		return Subscriber{}, err
	}
	one.Status, one.Fleet = c.To, c.Fleet
	return s.policies(q).subscriber(ctx, one)
}

// changeFailed ends an update that the core network refuses, and has one that
// it did not answer tried again, for as long as there is patience.
func (s *Store) changeFailed(ctx context.Context, c pending, told error) error {
	ctx = context.WithoutCancel(ctx)
	refusal, refused := fault.As(told)
	late := s.now().Sub(c.CreatedAt) > changePatience
	if !refused {
		slog.WarnContext(ctx, "the core network did not take an update", "sid", c.SIM, "attempt", c.Attempts+1, "err", told)
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		switch {
		case refused:
			return s.endChange(ctx, tx, c, c.From, "", "the core network refused: "+refusal.Message)
		case late:
			return s.endChange(ctx, tx, c, c.From, "", "the core network could not be reached for "+changePatience.String())
		}
		wait := min(time.Second<<min(c.Attempts, 6), time.Minute)
		_, err := tx.ExecContext(ctx, `update sim_change set lease = $1, attempts = attempts + 1 where sim_sid = $2 and id = $3`,
			s.now().Add(wait).UnixMicro(), c.SIM, c.ID)
		return err
	})
}

// endChange gives a scheduled Sim its status and tells the customer. A reason
// means that the update failed: then the Fleet stays as it was, and the core
// network is told to return to it, for it may have been half-way.
func (s *Store) endChange(ctx context.Context, tx *db.Tx, c pending, status Status, fleet, reason string) error {
	gone, err := tx.ExecContext(ctx, `delete from sim_change where sim_sid = $1 and id = $2`, c.SIM, c.ID)
	if err != nil {
		return fmt.Errorf("end the update of %s: %w", c.SIM, err)
	}
	if n, err := gone.RowsAffected(); err != nil || n == 0 {
		return err // ended by another run
	}
	was, err := scanSim(tx.QueryRowContext(ctx, selectSim+` where sid = $1`+tx.ForUpdate(), c.SIM))
	if err != nil {
		return fmt.Errorf("read %s: %w", c.SIM, err)
	}
	is := was
	is.Status, is.UpdatedAt = status, s.now()
	if reason == "" {
		is.Fleet = fleet
	}
	if err := s.storeSim(ctx, tx, was, is, reason); err != nil {
		return err
	}
	if reason != "" {
		if err := s.Jobs.Add(ctx, tx, syncSimArgs{SIM: c.SIM}); err != nil {
			return err
		}
	}
	return s.call(ctx, tx, is.Account, is.SID, c.Callback, []callback.Param{
		{Name: "SimSid", Value: is.SID},
		{Name: "SimUniqueName", Value: is.UniqueName},
		{Name: "SimStatus", Value: string(is.Status)},
		{Name: "AccountSid", Value: is.Account},
	})
}
