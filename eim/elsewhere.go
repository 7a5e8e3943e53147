package eim

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"godwit/db"
	"godwit/ident"
)

// elsewhere learns what other nodes have changed, so that this one can remember
// what is idle. Who changes something for an eUICC writes its EID down in the same
// transaction, with the transaction's number. A node asks which of these it has not
// seen: those of transactions that were not over at the moment of its
// last question. A poll that memory could answer waits for one question that
// begins after it came. Polls that come at once share it, and the answer is
// nearly always that there is nothing.
type elsewhere struct {
	off bool // on SQLite: there is no other node

	mu      sync.Mutex
	next    *question // not asked yet
	running bool      // one is being asked

	// Of the last question that was answered; it is asked by one goroutine at a
	// time.
	since int64     // the oldest transaction that was not over then
	asked time.Time // when it began

	// Of keepUp alone: all transactions before this one were over at a time.
	below int64
	then  time.Time
}

type question struct {
	done chan struct{}
	err  error
}

const (
	// changesKept is how long a change stays written down, and changesMissed
	// after which time without a question a node takes it that it has missed some.
	// The difference is for questions and deletions that take their time.
	changesKept   = 2 * time.Minute
	changesMissed = time.Minute
	// changesMost bounds an answer. Where more has changed all is forgotten.
	changesMost = 10_000
)

// changes has the next poll of an eUICC look at the database, on all nodes.
func (s *Server) changes(ctx context.Context, tx *db.Tx, eid ident.EID) error {
	if s.elsewhere.off {
		tx.AfterCommit(func() { s.idle.drop(eid) })
		return nil
	}
	if _, err := tx.ExecContext(ctx, `insert into eim_change (tx, eid) values (txid_current(), $1) on conflict do nothing`, string(eid)); err != nil {
		return fmt.Errorf("note a change for %s: %w", eid, err)
	}
	return nil
}

// catchUp returns when all that was committed before it was called has been
// dropped from what is idle.
func (s *Server) catchUp(ctx context.Context) error {
	e := &s.elsewhere
	if e.off {
		return nil
	}
	e.mu.Lock()
	if e.next == nil {
		e.next = &question{done: make(chan struct{})}
	}
	mine := e.next
	if !e.running {
		e.running = true
		go s.askOn(context.WithoutCancel(ctx))
	}
	e.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askOn asks until nobody waits.
func (s *Server) askOn(ctx context.Context) {
	e := &s.elsewhere
	for {
		e.mu.Lock()
		q := e.next
		e.next = nil
		if q == nil {
			e.running = false
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		q.err = s.askElsewhere(ctx)
		close(q.done)
	}
}

func (s *Server) askElsewhere(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	e := &s.elsewhere
	begun := time.Now()
	var since int64
	var changed []sql.NullString // one null where nothing has
	// The order has the planner go by the key whatever it thinks of the number
	// of rows.
	err := s.db.Read(ctx, func(q db.Query) (err error) {
		changed, err = db.All(ctx, q, func(r db.Row) (eid sql.NullString, err error) {
			return eid, r.Scan(&since, &eid)
		}, fmt.Sprintf(`select txid_snapshot_xmin(txid_current_snapshot()), c.eid from (select 1) one
			left join (select eid from eim_change where tx >= $1 order by tx limit %d) c on true`, changesMost), e.since)
		return err
	})
	if err != nil {
		return fmt.Errorf("ask what other nodes have changed: %w", err)
	}
	if len(changed) == changesMost || time.Since(e.asked) > changesMissed || since < e.since {
		s.idle.dropAll()
	} else {
		for _, eid := range changed {
			if eid.Valid {
				s.idle.drop(ident.EID(eid.String))
			}
		}
	}
	e.since, e.asked = since, begun
	return nil
}

// keepUp asks even where nobody polls, so that memory stays good, and deletes
// what all nodes have seen or will take it that they have missed.
func (s *Server) keepUp(ctx context.Context) error {
	e := &s.elsewhere
	if err := s.catchUp(ctx); err != nil || e.off || time.Since(e.then) < changesKept {
		return err
	}
	var below int64
	err := s.db.Write(ctx, func(tx *db.Tx) error {
		if err := tx.QueryRowContext(ctx, `select txid_snapshot_xmin(txid_current_snapshot())`).Scan(&below); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `delete from eim_change where tx < $1`, e.below)
		return err
	})
	if err != nil {
		return fmt.Errorf("clear away changes: %w", err)
	}
	e.below, e.then = below, time.Now()
	return nil
}
