package sim

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"godwit/db"
	"godwit/fault"
)

// syncFleetArgs is the job that tells the core network about every Sim of a
// Fleet whose service has changed, a chunk at a time.
type syncFleetArgs struct {
	Fleet string `json:"fleet"`
	After Key    `json:"after"`
}

// Kind names the job.
func (syncFleetArgs) Kind() string { return "sim.sync_fleet" }

// syncSimArgs is the job that tells the core network what a Sim is.
type syncSimArgs struct {
	SIM string `json:"sim"`
}

// Kind names the job.
func (syncSimArgs) Kind() string { return "sim.sync" }

const (
	syncChunk = 200
	// syncWait is how long a Sim is left alone that is just being updated.
	syncWait = 5 * time.Second
)

// syncFleet tells the core network about the next Sims of a Fleet. Telling
// twice changes nothing. Like syncSim it looks again at those that it has told of.
func (s *Store) syncFleet(ctx context.Context, a syncFleetArgs) error {
	chunk, want, err := s.wantedPage(ctx, `where fleet_sid = $1 and (created_at, sid) > ($2, $3) order by created_at, sid limit `+fmt.Sprint(syncChunk),
		a.Fleet, a.After.At, a.After.SID)
	if err != nil || len(chunk) == 0 {
		return err
	}
	first, last := chunk[0].Key(), chunk[len(chunk)-1].Key()
	var alone []string // looked at one by one
	told := map[string]Subscriber{}
	for i, one := range chunk {
		switch one.Status {
		case Inactive, New:
		case Scheduled:
			alone = append(alone, one.SID)
		default:
			if err := s.tellNetwork(ctx, want[i]); err != nil {
				return err
			}
			told[one.SID] = want[i]
		}
	}
	now, want, err := s.wantedPage(ctx, `where fleet_sid = $1 and (created_at, sid) >= ($2, $3) and (created_at, sid) <= ($4, $5) order by created_at, sid`,
		a.Fleet, first.At, first.SID, last.At, last.SID)
	if err != nil {
		return err
	}
	for i, one := range now {
		if was, ok := told[one.SID]; ok && reflect.DeepEqual(was, want[i]) {
			delete(told, one.SID)
		}
	}
	for sid := range told { // changed meanwhile, or no longer in the Fleet
		alone = append(alone, sid)
	}
	for _, sid := range alone {
		if err := s.syncSim(ctx, syncSimArgs{SIM: sid}); err != nil {
			return err
		}
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		p := s.policies(tx)
		now, err := db.All(ctx, tx, scanSim, selectSim+` where fleet_sid = $1 and (created_at, sid) >= ($2, $3) and (created_at, sid) <= ($4, $5)
			order by created_at, sid`+tx.ForUpdate(), a.Fleet, first.At, first.SID, last.At, last.SID)
		if err != nil {
			return fmt.Errorf("read the Sims of %s: %w", a.Fleet, err)
		}
		for _, one := range now {
			if err := s.scheduleSettings(ctx, tx, p, one); err != nil {
				return err
			}
		}
		if len(chunk) < syncChunk {
			return nil
		}
		return s.Jobs.Add(ctx, tx, syncFleetArgs{Fleet: a.Fleet, After: last})
	})
}

// wantedPage returns Sims and what the core network is to know about each.
func (s *Store) wantedPage(ctx context.Context, where string, args ...any) (chunk []Sim, want []Subscriber, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		if chunk, err = db.All(ctx, q, scanSim, selectSim+` `+where, args...); err != nil {
			return fmt.Errorf("read Sims: %w", err)
		}
		p := s.policies(q)
		want = make([]Subscriber, len(chunk))
		for i, one := range chunk {
			if want[i], err = p.subscriber(ctx, one); err != nil {
				return err
			}
		}
		return nil
	})
	return chunk, want, err
}

// tellNetwork makes the core network's subscriber what it should be. A refusal is logged:
// nobody waits for it.
func (s *Store) tellNetwork(ctx context.Context, want Subscriber) error {
	err := s.Network.Apply(ctx, want)
	if refusal, ok := fault.As(err); ok {
		slog.ErrorContext(ctx, "the core network refuses a Sim that it served", "sid", want.SIM, "err", refusal)
		return nil
	}
	if err != nil {
		return fmt.Errorf("tell the core network about %s: %w", want.SIM, err)
	}
	return nil
}

// syncSim makes the core network's subscriber equal to a Sim. Whoever tells the
// network looks again afterwards: of two that tell it at the same time, the one
// whose word came last then finds whether it was the right one.
func (s *Store) syncSim(ctx context.Context, a syncSimArgs) error {
	var told *Subscriber
	for {
		var one Sim
		var want Subscriber
		err := s.DB.Read(ctx, func(q db.Query) (err error) {
			if one, err = scanSim(q.QueryRowContext(ctx, selectSim+` where sid = $1`, a.SIM)); err != nil {
				return err
			}
			want, err = s.policies(q).subscriber(ctx, one)
			return err
		})
		if db.None(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the subscriber of %s: %w", a.SIM, err)
		}
		if one.Status == Scheduled {
			return s.DB.Write(ctx, func(tx *db.Tx) error { return s.Jobs.AddIn(ctx, tx, syncWait, a) })
		}
		if told != nil && reflect.DeepEqual(*told, want) {
			return nil
		}
		if err := s.tellNetwork(ctx, want); err != nil {
			return err
		}
		told = &want
	}
}
