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
// the other, and those that are not the first of a transaction inside a savepoint of
// their own. The writer that comes first hands
// the transaction round, commits, and tells all how it ended; so one that is
// alone wakes nobody. A short-lived goroutine does the same for those that came
// meanwhile.
type group struct {
	pool *sql.DB
	time time.Duration // how long a group lasts

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
	g := &group{pool: pool, time: groupTime}
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
	alone := !g.running
	if alone {
		g.running = true
	} else {
		g.queue = append(g.queue, e)
	}
	g.mu.Unlock()

	var tx *Tx
	waiting := ctx.Done()
	if alone {
		tx = g.lead(e, fn)
		waiting = nil
	}
	for {
		select {
		case <-waiting:
			if g.leave(e) {
				return ctx.Err()
			}
			waiting = nil // its turn has come, so it will be answered
		case tx = <-e.turn:
			tx.perform(fn, tx.shared.used, func(r result) { e.ran <- r })
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

// lead makes a round for a writer that found nobody before it, on the writer's
// own goroutine. The answer lies in the entry afterwards, unless the
// transaction was lost by another and the writer's turn comes again.
func (g *group) lead(e *entry, fn func(*Tx) error) *Tx {
	defer g.rest()
	s, err := g.begin()
	if err != nil {
		e.answer <- err
		return nil
	}
	returned := false
	defer func() {
		// fn has panicked or ended its goroutine. It was the first, so the
		// transaction is nobody else's yet.
		if !returned {
			s.rollback()
		}
	}()
	tx := &Tx{tx: s.conn, shared: s, engine: sqliteEngine}
	var first result
	tx.perform(fn, false, func(r result) { first = r })
	returned = true
	if again := g.carry(s, e, first, nil); len(again) > 0 {
		// One of them may be this writer, which has to wait for its turn then.
		g.mu.Lock()
		g.queue = append(again, g.queue...)
		g.mu.Unlock()
	}
	return tx
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

// perform runs fn and reports how it ended, also when fn panics or ends its
// goroutine. What it did can be taken back alone if it runs in a savepoint of
// its own, which the first of a transaction does not need: with it the whole
// transaction goes, and for a savepoint SQLite would copy each page before it
// is changed.
func (tx *Tx) perform(fn func(*Tx) error, savepoint bool, ended func(result)) {
	r := result{err: errors.New("the function given to Write did not return")}
	defer func() {
		tx.over = true
		for _, rows := range tx.open {
			rows.Close()
			tx.failed = tx.failed || rows.Err() != nil
		}
		if savepoint {
			tx.leaveSavepoint(&r)
		} else if r.err != nil {
			r.lost = true
		} else if (tx.failed || tx.shared.tx != nil) && !tx.shared.alive() {
			r.err, r.lost = errRolledBack, true
		}
		ended(r)
	}()
	if savepoint {
		if _, err := tx.tx.ExecContext(context.Background(), "savepoint w"); err != nil {
			r.err = fmt.Errorf("begin transaction: %w", err)
			return
		}
	}
	tx.shared.used = true
	r.err = fn(tx)
}

// errRolledBack is what a function gets that went on after such an error.
var errRolledBack = errors.New("end of transaction: an error before has rolled it back")

// leaveSavepoint keeps or takes back what was done since the savepoint. An
// error that makes SQLite roll back by itself (disk full, I/O) takes the
// savepoint along, and everybody else's work with it.
func (tx *Tx) leaveSavepoint(r *result) {
	ctx := context.Background()
	end := "rollback to w"
	if r.err == nil {
		end = "release w"
	}
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
}

// rest leaves those that came meanwhile to a goroutine, which makes rounds until
// nobody waits.
func (g *group) rest() {
	if first := g.next(); first != nil {
		go func() {
			for e := first; e != nil; e = g.next() {
				g.round(e)
			}
		}()
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
	again := []*entry{first}
	for len(again) > 0 {
		s, err := g.begin()
		if err != nil {
			for _, e := range again {
				e.answer <- err
			}
			return
		}
		first, others := again[0], again[1:]
		again = g.carry(s, first, first.let(s), others)
	}
}

// let has an entry's caller run its function.
func (e *entry) let(s *shared) result {
	e.turn <- &Tx{tx: s.conn, shared: s, engine: sqliteEngine}
	return <-e.ran
}

// carry goes on with a transaction in which the first function has run: others,
// and those who wait, have their turns, then it ends. It returns those that
// must run once more because the transaction was lost.
func (g *group) carry(s *shared, first *entry, r result, others []*entry) (again []*entry) {
	begun := time.Now()
	var done []*entry // ran without error and wait for the commit
	e := first
	for {
		if r.err != nil {
			e.answer <- r.err
		} else {
			done = append(done, e)
		}
		if r.lost {
			// The one that lost the transaction has its answer; the others
			// run once more without it.
			s.rollback()
			return append(done, others...)
		}
		if len(others) > 0 {
			e, others = others[0], others[1:]
		} else if e = g.more(len(done), begun); e == nil {
			break
		}
		r = e.let(s)
	}
	err := s.commit()
	for _, e := range done {
		e.answer <- err
	}
	return nil
}

// more takes who waits, unless the round is long enough.
func (g *group) more(done int, begun time.Time) *entry {
	if done >= groupSize || time.Since(begun) > g.time {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.take()
}

// A shared is one SQLite transaction that writers have in turn. It is begun
// and ended by statements that stay prepared; one of database/sql would start a
// goroutine for itself and for each query.
type shared struct {
	conn *sql.Conn
	tx   *sql.Tx // for the job queue, if it was asked for
	used bool    // a function has run in it
}

// alive reports whether the transaction is still there: SQLite has only one at
// a time.
func (s *shared) alive() bool {
	if _, err := s.conn.ExecContext(context.Background(), "begin"); err != nil {
		return true
	}
	s.conn.ExecContext(context.Background(), "rollback")
	return false
}

// begin waits for the lock that another process may hold. No caller's context
// counts: the transaction belongs to none of them.
func (g *group) begin() (*shared, error) {
	ctx := context.Background()
	conn, err := g.pool.Conn(ctx)
	if err == nil {
		if _, err = conn.ExecContext(ctx, "begin immediate"); err == nil {
			return &shared{conn: conn}, nil
		}
		conn.Close()
	}
	return nil, fmt.Errorf("begin transaction: %w", err)
}

func (s *shared) commit() error {
	s.leave()
	_, err := s.conn.ExecContext(context.Background(), "commit")
	if err != nil {
		s.rollback() // a commit that fails may leave the transaction open
		return fmt.Errorf("commit: %w", err)
	}
	s.conn.Close()
	return nil
}

// rollback ends the transaction unless SQLite has done so by itself.
func (s *shared) rollback() {
	s.leave()
	s.conn.ExecContext(context.Background(), "rollback")
	s.conn.Close()
}

// sql returns the transaction as one of database/sql, see [joinKey].
func (s *shared) sql() *sql.Tx {
	if s.tx == nil {
		var err error
		if s.tx, err = s.conn.BeginTx(context.WithValue(context.Background(), joinKey{}, true), nil); err != nil {
			panic(err) // it does nothing that could fail
		}
	}
	return s.tx
}

func (s *shared) leave() {
	if s.tx != nil {
		s.tx.Commit()
		s.tx = nil
	}
}
