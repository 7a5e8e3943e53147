package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/jobs"
)

// Register sets the handlers of the store's jobs.
func (s *Store) Register() {
	s.registerRules()
	// These find their work in their own tables, and the periodic ones follow
	// up: the queue need not try them again.
	jobs.Register(s.Jobs, func(ctx context.Context, _ jobs.Job[sweepArgs]) error { return s.sweep(ctx) }, jobs.Attempts(1), jobs.Lane("device", 8))
	jobs.Register(s.Jobs, func(ctx context.Context, _ jobs.Job[rolloutArgs]) error { return s.advanceRollouts(ctx) }, jobs.Attempts(1), jobs.Lane("device", 8), jobs.Timeout(20*time.Minute))
	jobs.Register(s.Jobs, func(ctx context.Context, _ jobs.Job[retentionArgs]) error { return s.retain(ctx) }, jobs.Attempts(1), jobs.Timeout(20*time.Minute))
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[withdrawArgs]) error { return s.withdraw(ctx, j.Args) }, jobs.Lane("device", 8))
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[renameArgs]) error { return s.rename(ctx, j.Args) }, jobs.Lane("device", 8))
	s.Jobs.Every("device.sweep", sweepEvery, sweepArgs{})
	s.Jobs.Every("device.rollouts", rolloutSweep, rolloutArgs{})
	s.Jobs.Every("device.retention", time.Hour, retentionArgs{})
}

const (
	sweepEvery = 15 * time.Second
	sweepChunk = 500
)

// sweepArgs is the job that ends what has run out of time.
type sweepArgs struct{}

// Kind names the job.
func (sweepArgs) Kind() string { return "device.sweep" }

// sweep ends transactions, verify states and operations whose time is up, and
// calls devices disconnected that have been silent. It may run again and beside
// another: each end is a transaction that looks first.
func (s *Store) sweep(ctx context.Context) error {
	return errors.Join(s.expire(ctx, sweepChunk), s.silence(ctx))
}

// expire ends what has run out of time, so many at a time.
func (s *Store) expire(ctx context.Context, chunk int) error {
	now := s.now().UnixMicro()
	var failed error
	for _, w := range []struct {
		query string
		end   func(context.Context, *db.Tx, string) error
	}{
		{`select tx from esim_transaction where status = 'in_progress' and deadline <= $1 order by deadline, tx`, s.expireTx},
		{`select id from esim_operation where status in ('download_verify', 'enable_verify') and step_deadline <= $1 order by step_deadline, id`, s.expireOp},
		{`select id from esim_operation where status not in ('failed', 'successful') and deadline <= $1 order by deadline, id`, s.expireOp},
	} {
		for stuck, more := 0, true; more && ctx.Err() == nil; {
			var due []string
			err := s.DB.Read(ctx, func(q db.Query) (err error) {
				// Those that cannot be ended stay in front of the others.
				due, err = db.All(ctx, q, db.Only[string], w.query+fmt.Sprintf(` limit %d offset %d`, chunk, stuck), now)
				return err
			})
			if err != nil {
				return errors.Join(failed, fmt.Errorf("look for what has run out of time: %w", err))
			}
			for _, id := range due {
				if err := s.DB.Write(ctx, func(tx *db.Tx) error { return w.end(ctx, tx, id) }); err != nil {
					stuck++
					failed = errors.Join(failed, fmt.Errorf("end %s: %w", id, err))
				}
			}
			more = len(due) == chunk
		}
	}
	return failed
}

// expireTx ends a transaction whose time is up. What the device did with a
// request that it had, nobody knows.
func (s *Store) expireTx(ctx context.Context, tx *db.Tx, id string) error {
	t, err := txTable.read(ctx, tx, id, tx.ForUpdate())
	if db.None(err) || err == nil && (t.Status != TxInProgress || t.deadline.After(s.now())) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read transaction %s: %w", id, err)
	}
	return s.timeOut(ctx, tx, &t)
}

func (s *Store) timeOut(ctx context.Context, tx *db.Tx, t *Transaction) error {
	back, err := s.EIM.Cancel(ctx, tx, taskID(t.ID))
	if err != nil {
		return err
	}
	return s.moveTx(ctx, tx, t, TxFailed, CodeDeviceTimeout, "", proof{Untouched: back})
}

// expireOp ends an operation whose time is up, or that of its verify state.
func (s *Store) expireOp(ctx context.Context, tx *db.Tx, id string) error {
	o, err := opTable.read(ctx, tx, id, tx.ForUpdate())
	now := s.now()
	if db.None(err) || err == nil && (o.Status.Final() || o.deadline.After(now) && (o.stepDeadline.IsZero() || o.stepDeadline.After(now))) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read operation %s: %w", id, err)
	}
	if o.Status != OpDownload && o.Status != OpEnable {
		return s.endOperation(ctx, tx, &o, OpFailed, CodeDeviceTimeout, "The device has not reported the profile in time", proof{})
	}
	t, err := runningTransaction(ctx, tx, o.EID)
	if err == nil && t.Operation == o.ID {
		return s.timeOut(ctx, tx, &t) // the operation ends with it
	}
	if err != nil && !db.None(err) {
		return fmt.Errorf("read transaction of %s: %w", id, err)
	}
	return s.endOperation(ctx, tx, &o, OpFailed, CodeDeviceTimeout, "", proof{})
}

// silence calls devices disconnected that have given no sign of life.
func (s *Store) silence(ctx context.Context) error {
	now := s.now()
	for {
		var gone []event.Event
		err := s.DB.Write(ctx, func(tx *db.Tx) (err error) {
			if gone, err = db.All(ctx, tx, func(r db.Row) (event.Event, error) {
				e := event.Event{Kind: "device.disconnected", At: now, Data: map[string]any{"to": "disconnected", "reason": "no sign of life"}}
				err := r.Scan(&e.Subject, &e.Account)
				return e, err
			}, fmt.Sprintf(`update device set connection_status = 'disconnected', last_disconnect = $1,
				last_disconnect_reason = 'no sign of life' where device_id in (select device_id from device where connection_status = 'connected' and seen_at < $2
				order by seen_at limit %d) returning device_id, account_sid`, sweepChunk), now.UnixMicro(), now.Add(-s.limits().Silent).UnixMicro()); err != nil {
				return fmt.Errorf("call devices disconnected: %w", err)
			}
			return s.Events.AppendMany(ctx, tx, gone)
		})
		if err != nil || len(gone) < sweepChunk {
			return err
		}
	}
}

// retentionArgs is the job that removes what need not be kept any longer.
type retentionArgs struct{}

// Kind names the job.
func (retentionArgs) Kind() string { return "device.retention" }

// retain removes finished work and used codes after their time. It may run
// again: what is gone is gone.
func (s *Store) retain(ctx context.Context) error {
	limits := s.limits()
	now := s.now()
	work, codes := now.Add(-limits.KeepWork).UnixMicro(), now.Add(-limits.KeepCodes).UnixMicro()
	const (
		txs      = `select tx from esim_transaction where status in ('complete', 'failed', 'unknown') and updated_at < $1 order by updated_at limit 500`
		ops      = `from esim_operation where status in ('failed', 'successful') and updated_at < $1 order by updated_at limit 500`
		rollouts = `from esim_rollout where status in ('cancelled', 'complete') and updated_at < $1 order by updated_at limit 10`
	)
	for _, r := range []struct {
		statements []string
		before     int64
	}{
		{[]string{`delete from esim_transaction where tx in (` + txs + `)`}, work},
		{[]string{`delete from device_job where job_id in (select job_id ` + ops + `)`, `delete from esim_operation where id in (select id ` + ops + `)`}, work},
		{[]string{`delete from esim_rollout_item where (rollout, eid) in (select i.rollout, i.eid from esim_rollout_item i join esim_rollout r on r.id = i.rollout
			where r.status in ('cancelled', 'complete') and r.updated_at < $1 limit 500)`}, work},
		{[]string{`delete from device_job where job_id in (select job_id ` + rollouts + `)`, `delete from esim_rollout where id in (select id ` + rollouts + `)`}, work},
		{[]string{`delete from activation_code where (account_sid, iccid) in (select account_sid, iccid from activation_code
			where status in ('downloaded', 'spent') and ended_at < $1 order by ended_at limit 500)`}, codes},
	} {
		for {
			var n int64
			err := s.DB.Write(ctx, func(tx *db.Tx) (err error) {
				for _, statement := range r.statements {
					if n, err = exec(ctx, tx, "remove old records", statement, r.before); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}
