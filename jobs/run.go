package jobs

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"godwit/db"

	"github.com/riverqueue/river"
)

const (
	pollEvery     = time.Second // for jobs that other processes add and for what falls due
	rescueEvery   = 2 * time.Second
	patience      = 10 * time.Second // with jobs under way at the end
	keepCompleted = time.Hour
	keepDead      = 30 * 24 * time.Hour
)

// Run works jobs until ctx is over and then waits for those under way, at most
// for a while; what is cut off is repeated by the next process.
//
// On one SQLite file one process at a time may run.
func (q *Queue) Run(ctx context.Context) error {
	config := q.config()
	node := &node{queue: q, id: config.ID}
	// What a process that died had in its hands is ours at once, instead of
	// after an hour, which is River's patience with a job that says nothing.
	if err := node.begin(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // it was over before it began
		}
		return fmt.Errorf("start job queue: %w", err)
	}
	client, err := river.NewClient[*sql.Tx](q.driver, config)
	if err != nil {
		return fmt.Errorf("job queue: %w", err)
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start job queue: %w", err)
	}
	var clock sync.WaitGroup
	clock.Go(func() { q.watchClock(ctx) })
	node.watch(ctx)
	clock.Wait()
	defer node.end()
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := client.Stop(patient); err == nil {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := client.StopAndCancel(last); err != nil {
		return fmt.Errorf("stop job queue: %w", err)
	}
	return nil
}

func (q *Queue) config() *river.Config {
	q.mu.Lock()
	defer q.mu.Unlock()
	lanes := make(map[string]river.QueueConfig, len(q.lanes))
	for name, workers := range maps.All(q.lanes) {
		lanes[name] = river.QueueConfig{MaxWorkers: workers}
	}
	var reindex river.PeriodicSchedule // nightly on PostgreSQL, as River has it
	if !q.db.Postgres() {
		reindex = never{}
	}
	return &river.Config{
		ID:                          "godwit-" + rand.Text(),
		Logger:                      logger(),
		Queues:                      lanes,
		Workers:                     q.workers,
		PeriodicJobs:                q.periodic,
		FetchCooldown:               time.Millisecond,
		FetchPollInterval:           q.poll,
		JobTimeout:                  longestTimeout,
		RescueStuckJobsAfter:        2 * longestTimeout,
		CompletedJobRetentionPeriod: keepCompleted,
		DiscardedJobRetentionPeriod: keepDead,
		CancelledJobRetentionPeriod: keepDead,
		ReindexerSchedule:           reindex,
		SkipUnknownJobCheck:         true,
	}
}

// never is the schedule of River's nightly rebuilding of indexes on SQLite: the
// indexes that it names are those of PostgreSQL, and each would be an error.
type never struct{}

func (never) Next(now time.Time) time.Time { return now.AddDate(100, 0, 0) }

func (q *Queue) wakeAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for lane := range q.lanes {
		q.driver.wake(lane)
	}
}

// A node is this process among those that work the queue. On PostgreSQL it shows
// that it lives by an advisory lock on its id, which goes when its connection
// goes. (The connection must be a direct one: a pooler that changes connections
// between transactions loses the lock, and jobs are then worked twice.)
type node struct {
	queue *Queue
	id    string
	conn  *sql.Conn // holds the lock; PostgreSQL only
}

// nodeLocks is the first half of the locks' keys; the second is a hash of
// the node's id.
const nodeLocks = 0x60D819

func (n *node) begin(ctx context.Context) error {
	if n.queue.db.Postgres() {
		return errors.Join(n.live(ctx), n.rescue(ctx))
	}
	tx, err := n.queue.db.Pool().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	if _, err := tx.ExecContext(ctx, `update river_job set state = 'available' where state = 'running'`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `delete from river_leader`); err != nil {
		return err
	}
	return tx.Commit()
}

// watch returns when ctx is over. Until then it sees to the jobs of nodes
// that die.
func (n *node) watch(ctx context.Context) {
	if !n.queue.db.Postgres() {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(rescueEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := errors.Join(n.live(ctx), n.rescue(ctx)); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "job queue: cannot look after other nodes' jobs", "err", err)
		}
	}
}

func (n *node) end() {
	if n.conn == nil {
		return
	}
	// Back to the pool without the lock.
	if _, err := n.conn.ExecContext(context.Background(), `select pg_advisory_unlock($1, hashtext($2))`, nodeLocks, n.id); err != nil {
		slog.Warn("job queue: cannot give back the node's lock", "err", err)
	}
	n.conn.Close()
	n.conn = nil
}

// live takes the lock, again if its connection was lost.
func (n *node) live(ctx context.Context) error {
	if n.conn != nil {
		if n.conn.PingContext(ctx) == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.conn.Close()
		n.conn = nil
	}
	conn, err := n.queue.db.Pool().Conn(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, `select pg_advisory_lock($1, hashtext($2))`, nodeLocks, n.id); err != nil {
		conn.Close()
		return err
	}
	n.conn = conn
	return nil
}

// rescue makes the jobs of dead nodes available again. A node is dead when its
// lock can be had.
func (n *node) rescue(ctx context.Context) error {
	if n.conn == nil {
		return nil
	}
	const holder = `attempted_by[array_upper(attempted_by, 1)]`
	others, err := db.All(ctx, n.conn, db.Only[string], `select distinct `+holder+` from river_job where state = 'running' and `+holder+` <> $1
		union select leader_id from river_leader where leader_id <> $1`, n.id)
	if err != nil {
		return err
	}
	for _, id := range others {
		if err := n.bury(ctx, id, holder); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) bury(ctx context.Context, id, holder string) error {
	tx, err := n.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	var dead bool
	if err := tx.QueryRowContext(ctx, `select pg_try_advisory_xact_lock($1, hashtext($2))`, nodeLocks, id).Scan(&dead); err != nil || !dead {
		return err
	}
	result, err := tx.ExecContext(ctx, `update river_job set state = 'available' where state = 'running' and `+holder+` = $1`, id)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `delete from river_leader where leader_id = $1`, id); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if count, err := result.RowsAffected(); err == nil && count > 0 {
		slog.InfoContext(ctx, "job queue: took over the jobs of a node that died", "node", id, "jobs", count)
		n.queue.wakeAll()
	}
	return nil
}
