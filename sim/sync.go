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
// twice changes nothing.
func (s *Store) syncFleet(ctx context.Context, a syncFleetArgs) error {
	var chunk []Sim
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		chunk, err = db.All(ctx, q, scanSim, selectSim+` where fleet_sid = $1 and (created_at, sid) > ($2, $3)
			order by created_at, sid limit `+fmt.Sprint(syncChunk), a.Fleet, a.After.At, a.After.SID)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the Sims of %s: %w", a.Fleet, err)
	}
	for _, one := range chunk {
		if one.Status == Inactive || one.Status == New {
			continue
		}
		if err := s.syncSim(ctx, syncSimArgs{SIM: one.SID}); err != nil {
			return err
		}
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		for _, one := range chunk {
			now, err := oneSim(ctx, tx, "sid", one.SID, tx.ForUpdate())
			if err != nil {
				return err
			}
			if err := s.scheduleSettings(ctx, tx, now); err != nil {
				return err
			}
		}
		if len(chunk) < syncChunk {
			return nil
		}
		return s.Jobs.Add(ctx, tx, syncFleetArgs{Fleet: a.Fleet, After: chunk[len(chunk)-1].Key()})
	})
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
			want, err = s.subscriber(ctx, q, one)
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
		if err := s.Network.Apply(ctx, want); err != nil {
			if refusal, ok := fault.As(err); ok {
				slog.ErrorContext(ctx, "the core network refuses a Sim that it served", "sid", a.SIM, "err", refusal)
				return nil
			}
			return fmt.Errorf("tell the core network about %s: %w", a.SIM, err)
		}
		told = &want
	}
}
