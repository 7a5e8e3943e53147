package bulk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"godwit/db"
	"godwit/jobs"
	"godwit/sim"
)

// workArgs is the job that works chunks until none waits.
type workArgs struct{}

// Kind names the job.
func (workArgs) Kind() string { return "bulk.work" }

// sweepArgs is the job that clears away what was never ordered.
type sweepArgs struct{}

// Kind names the job.
func (sweepArgs) Kind() string { return "bulk.sweep" }

const (
	// lease is how long a chunk is kept from others. One takes well under a
	// second; if the lease lapses too early, both come to the same end.
	lease = 15 * time.Second
	// again is when a chunk is looked at again that could not be ended.
	again = 2 * time.Second
	// shift bounds one run of the job; another one takes over.
	shift = 2 * time.Minute
)

// workers is how many chunks this node works at a time. Where the calls of an
// SM-DP+ take their time, or the database has several writers, it is two. SQLite
// has one: a second worker would gain nothing and have everybody else wait for
// two chunks in place of one.
func (s *Store) workers() int {
	if s.Sims.Handout != nil && !s.DB.Postgres() {
		return 1
	}
	return 2
}

// Register sets the handlers of the store's jobs. They find their work in their
// own tables, and the periodic ones follow up: the queue need not try again.
func (s *Store) Register() {
	jobs.Register(s.Jobs, func(ctx context.Context, _ jobs.Job[workArgs]) error { return s.work(ctx) },
		jobs.Attempts(1), jobs.Lane("bulk", s.workers()), jobs.Timeout(5*time.Minute))
	jobs.Register(s.Jobs, func(ctx context.Context, _ jobs.Job[sweepArgs]) error { return s.sweep(ctx) }, jobs.Attempts(1))
	s.Jobs.Every("bulk.work", 5*time.Second, workArgs{})
	s.Jobs.Every("bulk.sweep", time.Hour, sweepArgs{})
}

// work works chunks until none waits. It may run beside others of its kind and
// be cut off anywhere: a chunk is reserved in one transaction, and whoever comes
// later goes on from there.
func (s *Store) work(ctx context.Context) error {
	for until := s.now().Add(shift); s.now().Before(until); {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := s.claim(ctx)
		if err != nil || t == nil {
			return err
		}
		if err := s.workChunk(ctx, t); err != nil {
			return fmt.Errorf("chunk %d of %s: %w", t.number, t.order, err)
		}
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error { return s.Jobs.Add(ctx, tx, workArgs{}) })
}

// A task is a chunk that this job holds.
type task struct {
	chunk
	order string
	state string
	left  []sim.Profile // reserved this moment and not settled yet
}

func (t *task) last() int64 { return t.first + t.items - 1 }

// claim takes the next chunk and reserves its profiles, unless that was done
// before. A chunk whose profiles could all be handed out is done then: in this
// one transaction, or where another worker may be at the same order, whose row
// only one can write at a time, in a short one that follows. The chunks of several orders take turns by their numbers.
func (s *Store) claim(ctx context.Context) (t *task, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		t = &task{}
		now := s.now()
		err := tx.QueryRowContext(ctx, `select order_sid, number, first, items, state from bulk_chunk
			where state in ('waiting', 'reserved') and lease < $1 order by lease, number limit 1`+tx.SkipLocked(), now.UnixMicro()).
			Scan(&t.order, &t.number, &t.first, &t.items, &t.state)
		if errors.Is(err, sql.ErrNoRows) {
			t = nil
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for chunks: %w", err)
		}
		fresh := t.state == "waiting"
		if fresh {
			if err := s.reserve(ctx, tx, t); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `update bulk_chunk set state = 'reserved', lease = $1 where order_sid = $2 and number = $3`,
			now.Add(lease).UnixMicro(), t.order, t.number); err != nil {
			return fmt.Errorf("claim chunk %d of %s: %w", t.number, t.order, err)
		}
		if !fresh {
			return nil
		}
		if len(t.left) == 0 {
			if s.workers() == 1 {
				t.state = "done"
				return s.end(ctx, tx, t)
			}
			t.left = []sim.Profile{} // nothing, and that is known
			return nil
		}
		o, err := lockOrder(ctx, tx, t.order)
		if err == nil && o.Status == Queued {
			err = s.move(ctx, tx, &o, Running)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// reserve stores the reservations of a chunk.
func (s *Store) reserve(ctx context.Context, tx *db.Tx, t *task) error {
	o, err := scanOrder(tx.QueryRowContext(ctx, `select `+orderColumns+` from bulk_order where sid = $1`, t.order))
	if err != nil {
		return fmt.Errorf("read order %s: %w", t.order, err)
	}
	pieces, err := s.pieces(ctx, tx, t.order, t.number)
	if err != nil {
		return err
	}
	wanted := make([]sim.Reservation, 0, t.items)
	for _, p := range pieces {
		r := sim.Reservation{Account: o.Account, EID: p.EID, WantsCode: o.WantsCode || p.EID == "", Type: p.Type}
		if o.PerProfile {
			r.Callback = o.Callback
		}
		for range p.count() {
			wanted = append(wanted, r)
		}
	}
	if int64(len(wanted)) != t.items {
		return fmt.Errorf("chunk %d of %s has %d items in its lines, %d in its row", t.number, t.order, len(wanted), t.items)
	}
	t.left, err = s.Sims.ReserveMany(ctx, tx, t.order, t.first, wanted)
	return err
}

// lockOrder reads an order that is about to be changed. Whoever changes chunks
// as well does that first.
func lockOrder(ctx context.Context, tx *db.Tx, sid string) (Order, error) {
	o, err := scanOrder(tx.QueryRowContext(ctx, `select `+orderColumns+` from bulk_order where sid = $1`+tx.ForUpdate(), sid))
	if err != nil {
		err = fmt.Errorf("read order %s: %w", sid, err)
	}
	return o, err
}

func (s *Store) pieces(ctx context.Context, q db.Query, order string, number int64) ([]piece, error) {
	var text string
	if err := q.QueryRowContext(ctx, `select lines from bulk_lines where order_sid = $1 and number = $2`, order, number).Scan(&text); err != nil {
		return nil, fmt.Errorf("read lines %d of %s: %w", number, order, err)
	}
	return readPieces(text)
}

// workChunk prepares what is unsettled in a chunk and ends it if all is
// settled.
func (s *Store) workChunk(ctx context.Context, t *task) error {
	if t.state == "done" {
		return nil
	}
	batch := t.left
	if batch == nil {
		var err error
		if batch, err = s.Sims.Unsettled(ctx, t.order, t.first, t.last()); err != nil {
			return err
		}
	}
	var failure error
	if len(batch) > 0 {
		failure = s.Sims.Prepare(ctx, batch)
	}
	ctx = context.WithoutCancel(ctx)
	return errors.Join(failure, s.DB.Write(ctx, func(tx *db.Tx) error { return s.end(ctx, tx, t) }))
}

// end counts what has become of a chunk. What is not settled, because the
// SM-DP+ did not answer or another job has it, is looked at again soon.
func (s *Store) end(ctx context.Context, tx *db.Tx, t *task) error {
	available, failed, err := s.Sims.CountItems(ctx, tx, t.order, t.first, t.last())
	if err != nil {
		return err
	}
	if available+failed < t.items {
		_, err := tx.ExecContext(ctx, `update bulk_chunk set lease = $1 where order_sid = $2 and number = $3 and state = 'reserved'`,
			s.now().Add(again).UnixMicro(), t.order, t.number)
		return err
	}
	result, err := tx.ExecContext(ctx, `update bulk_chunk set state = 'done' where order_sid = $1 and number = $2 and state = 'reserved'`, t.order, t.number)
	if err != nil {
		return fmt.Errorf("end chunk: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err // another job was faster
	}
	o, err := lockOrder(ctx, tx, t.order)
	if err != nil {
		return err
	}
	o.Available, o.Failed, o.ended = o.Available+available, o.Failed+failed, o.ended+1
	to := o.Status
	if to == Queued {
		to = Running
	}
	return s.move(ctx, tx, &o, to)
}
