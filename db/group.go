package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Limits of one group commit. They bound how long the first writer of a
// group waits for the last; under load the group fills while the one before it
// is being flushed to the disk.
const (
	groupSize = 256
	groupTime = 5 * time.Millisecond
)

// A group lets writers that wait together share one SQLite transaction, and so
// one flush of the disk. Each function runs on its caller's goroutine, one after
// the other, inside a savepoint of its own; a short-lived goroutine hands the
// transaction round, commits, and tells all how it ended.
type group struct {
	pool *sql.DB

	mu      sync.Mutex
	queue   []*entry
	running bool // a round is under way and will look at the queue again
	closed  bool
	idle    sync.Cond
}

// An entry is one call of Write.
type entry struct {
	left bool // its caller went away while waiting; under the group's mu

	turn   chan *Tx    // the transaction, when it is this entry's turn; may come again
	ran    chan result // how the function ended
	answer chan error  // what Write returns; buffered
}

// result is how one function ended inside the group's transaction.
type result struct {
	err  error
	lost bool // SQLite has rolled back the whole transaction
}

var errClosed = errors.New("the database is closed")

func newGroup(pool *sql.DB) *group {
	g := &group{pool: pool}
	g.idle.L = &g.mu
	return g
}

// close refuses new writers and waits for those under way.
func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for g.running {
		g.idle.Wait()
	}
}

func (g *group) write(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := &entry{turn: make(chan *Tx), ran: make(chan result), answer: make(chan error, 1)}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return errClosed
	}
	g.queue = append(g.queue, e)
	if !g.running {
		g.running = true
		go g.run()
	}
	g.mu.Unlock()

	waiting := ctx.Done()
	var tx *Tx
	for {
		select {
		case <-waiting:
			if g.leave(e) {
				return ctx.Err()
			}
			waiting = nil // its turn has come, so it will be answered
		case tx = <-e.turn:
			e.perform(tx, fn)
		case err := <-e.answer:
			if err == nil {
				for _, f := range tx.after {
					f()
				}
			}
			return explain(err)
		}
	}
}

// leave takes an entry out of the queue unless its turn has come.
func (g *group) leave(e *entry) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, waiting := range g.queue {
		if waiting == e {
			e.left = true
			return true
		}
	}
	return false
}

// perform runs fn inside a savepoint and reports how it ended, also when fn
// panics or ends its goroutine.
func (e *entry) perform(tx *Tx, fn func(*Tx) error) {
	ctx := context.Background()
	r := result{err: errors.New("the function given to Write did not return")}
	defer func() {
		tx.over = true
		end := "rollback to w"
		if r.err == nil {
			end = "release w"
		}
		// An error that makes SQLite roll back by itself (disk full, I/O) takes
		// the savepoint along, and everybody else's work with it.
		if _, err := tx.tx.ExecContext(ctx, end); err != nil {
			r.lost = true
			if r.err == nil {
				r.err = fmt.Errorf("end of transaction: %w", err)
			}
		} else if r.err != nil {
			if _, err := tx.tx.ExecContext(ctx, "release w"); err != nil {
				r.lost = true
			}
		}
		e.ran <- r
	}()
	if _, err := tx.tx.ExecContext(ctx, "savepoint w"); err != nil {
		r.err = fmt.Errorf("begin transaction: %w", err)
		return
	}
	r.err = fn(tx)
}

// run makes rounds until nobody waits.
func (g *group) run() {
	for {
		first := g.next()
		if first == nil {
			return
		}
		g.round(first)
	}
}

// next takes the entry that has waited longest. When there is none, it ends the
// run under the same lock, so that a writer that comes now starts a new one.
func (g *group) next() *entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.take(); e != nil {
		return e
	}
	g.running = false
	g.idle.Broadcast()
	return nil
}

// take removes and returns the first entry whose caller is still there.
func (g *group) take() *entry {
	for len(g.queue) > 0 {
		e := g.queue[0]
		g.queue[0] = nil
		g.queue = g.queue[1:]
		if !e.left {
			return e
		}
	}
	return nil
}

// round runs first and those who wait behind it in one transaction.
func (g *group) round(first *entry) {
	begun := time.Now()
	var done []*entry // ran without error and wait for the commit
	more := func() *entry {
		if len(done) >= groupSize || time.Since(begun) > groupTime {
			return nil
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.take()
	}
	again := []*entry{first}
	for len(again) > 0 {
		// Another process may hold the lock for long, and a caller may go
		// away meanwhile; the transaction belongs to none of them.
		sqlTx, err := g.pool.BeginTx(context.Background(), nil)
		if err != nil {
			for _, e := range again {
				e.answer <- fmt.Errorf("begin transaction: %w", err)
			}
			return
		}
		todo := again
		again, done = nil, done[:0]
		lost := false
		for len(todo) > 0 && !lost {
			e := todo[0]
			todo = todo[1:]
			e.turn <- &Tx{tx: sqlTx, engine: sqliteEngine}
			r := <-e.ran
			lost = r.lost
			if r.err != nil {
				e.answer <- r.err
			} else {
				done = append(done, e)
			}
			if len(todo) == 0 && !lost {
				if e := more(); e != nil {
					todo = append(todo, e)
				}
			}
		}
		if lost {
			// The one that lost the transaction has its answer; the others
			// run once more without it.
			sqlTx.Rollback()
			again = append(append(again, done...), todo...)
			continue
		}
		err = sqlTx.Commit()
		if err != nil {
			err = fmt.Errorf("commit: %w", err)
		}
		for _, e := range done {
			e.answer <- err
		}
	}
}
