package eim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/db"
	"godwit/ident"
)

// Run writes down who has polled, ends what has outlived its time and clears
// away what is long over, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	every := func(what string, interval time.Duration, do func(context.Context) error) {
		g.Go(func() error {
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
				}
				if err := do(ctx); err != nil && ctx.Err() == nil {
					slog.ErrorContext(ctx, what, "err", err)
				}
			}
		})
	}
	every("note who has polled", s.cfg.Flush, s.flush)
	every("end tasks whose time is over", s.cfg.Sweep, s.sweep)
	every("keep up with other nodes", changesMissed/2, s.keepUp)
	every("clear away old tasks and evidence", time.Hour, s.clear)
	err := g.Wait()
	// The last sightings of a server that goes down in order.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e := s.flush(last); e != nil {
		slog.Warn("note who has polled", "err", e)
	}
	return err
}

// sightingsChunk bounds how many rows one transaction of flush writes.
const sightingsChunk = 500

// flush writes down who has polled since the last time.
func (s *Server) flush(ctx context.Context) error {
	list := s.seen.take()
	eids := make([]ident.EID, 0, len(list))
	for eid := range list {
		eids = append(eids, eid)
	}
	// In one order on all nodes, so that they do not wait for each other in a
	// circle.
	slices.Sort(eids)
	for chunk := range slices.Chunk(eids, sightingsChunk) {
		if err := s.flushChunk(ctx, chunk, list); err != nil {
			s.seen.giveBack(list)
			return err
		}
		for _, eid := range chunk {
			delete(list, eid)
		}
	}
	return nil
}

func (s *Server) flushChunk(ctx context.Context, chunk []ident.EID, list map[ident.EID]sighting) error {
	sightings, rows := make([]Sighting, len(chunk)), make([][]any, len(chunk))
	for i, eid := range chunk {
		seen := list[eid]
		sightings[i] = Sighting{EID: eid, At: db.Time(seen.at), Address: seen.address}
		rows[i] = []any{string(eid), seen.at, seen.address}
	}
	err := s.db.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecMany(ctx, `update eim_euicc set seen_at = v.column2, seen_from = v.column3
			from (values {text, bigint, text}) v where eid = v.column1 and seen_at < v.column2`, nil, rows)
		return err
	})
	if err != nil {
		return fmt.Errorf("update eUICCs: %w", err)
	}
	if s.cfg.Seen == nil {
		return nil
	}
	return s.cfg.Seen(ctx, sightings)
}

// sweepChunk is how many tasks are looked for at a time.
const sweepChunk = 200

// sweep ends tasks whose time is over, each in a transaction of its own. One that
// cannot be ended does not keep the others from it.
func (s *Server) sweep(ctx context.Context) error {
	type due struct {
		id    string
		eid   ident.EID
		until int64
	}
	var last due
	var failed error // the first, and how many there were
	failures := 0
	ended := func() error {
		if failures > 1 {
			return fmt.Errorf("%d tasks cannot be ended, the first: %w", failures, failed)
		}
		return failed
	}
	for now := s.now(); ; {
		var list []due
		err := s.db.Read(ctx, func(q db.Query) (err error) {
			list, err = db.All(ctx, q, func(r db.Row) (d due, err error) {
				err = r.Scan(&d.id, &d.eid, &d.until)
				return d, err
			}, fmt.Sprintf(`select id, eid, until_at from eim_task where stage in ('queued', 'sent') and until_at <= $1
				and (until_at, id) > ($2, $3) order by until_at, id limit %d`, sweepChunk), now, last.until, last.id)
			return err
		})
		if err != nil {
			return errors.Join(ended(), fmt.Errorf("look for tasks whose time is over: %w", err))
		}
		for _, d := range list {
			err := s.db.Write(ctx, func(tx *db.Tx) error {
				e, err := lock(ctx, tx, d.eid)
				if err != nil {
					return err
				}
				t, err := s.readTask(ctx, tx, `id = $1`, d.id)
				if err != nil || t == nil || t.stage.ended() || t.until > s.now() {
					return err
				}
				if e == nil { // forgotten, which ends its tasks; this one came after
					e = &euicc{eid: d.eid}
				}
				return s.timeOut(ctx, tx, e, t)
			})
			if err != nil {
				failures++
				failed = cmp.Or(failed, fmt.Errorf("end task %s: %w", d.id, err))
			}
			last = d
		}
		if len(list) < sweepChunk || ctx.Err() != nil {
			return ended()
		}
	}
}

// keepSessions is how long an installation result of an indirect download is
// recognised.
const keepSessions = 30 * 24 * time.Hour

// clear deletes what is long over, some at a time.
func (s *Server) clear(ctx context.Context) error {
	old := s.now() - s.cfg.Retention.Microseconds()
	for _, step := range []struct {
		query  string
		before int64
	}{
		{`delete from eim_result where id in (select id from eim_result where received_at < $1 order by received_at limit 500)`, old},
		{`delete from eim_task where id in (select id from eim_task where ended_at > 0 and ended_at < $1 order by ended_at limit 500)`, old},
		{
			`delete from eim_session where id in (select id from eim_session where created_at < $1 order by created_at limit 500)`,
			s.now() - keepSessions.Microseconds(),
		},
	} {
		for again := true; again; {
			err := s.db.Write(ctx, func(tx *db.Tx) (err error) {
				again, err = changed(tx.ExecContext(ctx, step.query, step.before))
				return err
			})
			if err != nil {
				return fmt.Errorf("clear away old rows: %w", err)
			}
		}
	}
	return nil
}
