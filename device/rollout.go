package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/query"
)

// A RolloutOrder asks for one operation on every eSIM of the devices that a query
// finds.
type RolloutOrder struct {
	Name        string
	Work        Work
	Carrier     string
	Query       string // of [DeviceSchema]; empty: all devices
	Waves       []int  // percent of all eSIMs at the end of each; 1 and 100 where it is nil
	FailureRate int    // percent of a wave; the rollout stops when more have failed
	Retries     int    // of an eSIM's operation that failed for a passing reason
}

// A Preview is what a rollout would do now.
type Preview struct {
	Devices   int64   // that the query finds
	ESIMs     int64   // in them
	Active    int64   // have an active profile of the carrier: nothing to do
	Present   int64   // have one that is not active: no code is needed
	Download  int64   // need a code
	Codes     int64   // available for the carrier
	Busy      int64   // have an operation running: they would wait for it
	WaveSizes []int64 // eSIMs of each wave
}

const selectRollout = `select id, account_sid, name, status, operation, carrier, query, asked_at, waves, failure_rate, retries, wave, gathered, targets, wave_end,
	begun, succeeded, failed, forgiven, message, job_id, created_by, source, created_at, updated_at from esim_rollout r`

func scanRollout(r db.Row, more ...any) (o Rollout, err error) {
	var waves string
	var asked, created, updated int64
	err = r.Scan(append([]any{
		&o.ID, &o.Account, &o.Name, &o.Status, &o.Work, &o.Carrier, &o.Query, &asked, &waves, &o.FailureRate, &o.Retries, &o.Wave, &o.gathered, &o.Targets, &o.waveEnd,
		&o.Begun, &o.Succeeded, &o.Failed, &o.forgiven, &o.Message, &o.JobID, &o.CreatedBy, &o.Source, &created, &updated,
	}, more...)...)
	if err != nil {
		return o, err
	}
	o.askedAt, o.CreatedAt, o.UpdatedAt = moment(asked), moment(created), later(moment(updated), moment(created))
	if err := json.Unmarshal([]byte(waves), &o.Waves); err != nil {
		return o, fmt.Errorf("read waves of %s: %w", o.ID, err)
	}
	return o, nil
}

// Rollout returns a rollout of an account.
func (s *Store) Rollout(ctx context.Context, account, id string) (Rollout, error) {
	return rolloutTable.get(ctx, s.DB, account, id)
}

// check refuses an order that cannot be carried out and fills in what it leaves
// open.
func (o *RolloutOrder) check(now time.Time) (*query.Expr, error) {
	if o.Waves == nil {
		o.Waves = []int{1, 100}
	}
	if err := (Order{Work: o.Work, Carrier: o.Carrier}).check(); err != nil {
		return nil, err
	}
	switch {
	case len(o.Waves) > 20 || len(o.Waves) == 0 || o.Waves[0] < 1 || o.Waves[len(o.Waves)-1] != 100 || !slices.IsSorted(o.Waves) || len(slices.Compact(slices.Clone(o.Waves))) != len(o.Waves):
		return nil, fault.Field("waves", "must be 1 to 20 growing percentages of which the last is 100")
	case o.FailureRate < 0 || o.FailureRate > 100:
		return nil, fault.Field("failure_rate", "must be a percentage from 0 to 100")
	case o.Retries < 0 || o.Retries > 10:
		return nil, fault.Field("retries", "must be from 0 to 10")
	case len(o.Query) > maxNotes:
		return nil, fault.Field("query", "must have at most %d bytes", maxNotes)
	}
	if err := checkText("name", o.Name, maxText); err != nil {
		return nil, err
	}
	where, err := query.Parse(o.Query, DeviceSchema, now)
	if err != nil {
		return nil, fault.Field("query", "%v", err)
	}
	return where, nil
}

// PreviewRollout says what a rollout would do, and does nothing.
func (s *Store) PreviewRollout(ctx context.Context, by By, o RolloutOrder) (p Preview, err error) {
	where, err := o.check(s.now())
	if err != nil {
		return p, err
	}
	err = s.DB.Snapshot(ctx, func(q db.Query) error {
		keys, err := matchingKeys(ctx, q, by.Account, o.Carrier)
		if err != nil {
			return err
		}
		in, of := placeholders(2, keys)
		condition, more := where.SQL(2 + len(keys))
		args := append(append([]any{by.Account}, of...), more...)
		// Every placeholder is named in each of them: PostgreSQL has no use for
		// others.
		devices, dargs := where.SQL(2)
		if err := q.QueryRowContext(ctx, `select count(*) from device d where d.account_sid = $1 and `+devices, append([]any{by.Account}, dargs...)...).Scan(&p.Devices); err != nil {
			return err
		}
		match := `exists (select 1 from device_profile p where p.eid = e.eid and (p.carrier_key in (` + in + `) or p.code_key in (` + in + `))`
		if err := q.QueryRowContext(ctx, `select count(*),
			coalesce(sum(case when `+match+` and p.status = 'active') then 1 else 0 end), 0),
			coalesce(sum(case when `+match+`) then 1 else 0 end), 0),
			coalesce(sum(case when exists (select 1 from esim_operation b where b.eid = e.eid and b.status not in ('failed', 'successful')) then 1 else 0 end), 0)
			from device d join esim e on e.device_id = d.device_id where d.account_sid = $1 and `+condition, args...).Scan(&p.ESIMs, &p.Active, &p.Present, &p.Busy); err != nil {
			return err
		}
		return q.QueryRowContext(ctx, `select count(*) from activation_code where account_sid = $1 and status = 'available' and carrier_key in (`+in+`)`,
			append([]any{by.Account}, of...)...).Scan(&p.Codes)
	})
	if err != nil {
		return p, fmt.Errorf("preview rollout: %w", err)
	}
	p.Present -= p.Active
	p.Download = p.ESIMs - p.Active - p.Present
	switch o.Work {
	case WorkEnable:
		p.Download = 0
	case WorkDownload: // brings another one to each
		p.Active, p.Present, p.Download = 0, 0, p.ESIMs
	}
	var before int64
	for _, percent := range o.Waves {
		end := waveEnd(p.ESIMs, percent)
		p.WaveSizes = append(p.WaveSizes, end-before)
		before = end
	}
	return p, nil
}

// waveEnd is how many have begun at the end of a wave: at least one.
func waveEnd(targets int64, percent int) int64 {
	return min(targets, max(1, (targets*int64(percent)+99)/100))
}

// StartRollout stores a rollout. It goes on by itself.
func (s *Store) StartRollout(ctx context.Context, by By, o RolloutOrder) (Rollout, error) {
	now := s.now()
	if _, err := o.check(now); err != nil {
		return Rollout{}, err
	}
	waves, err := json.Marshal(o.Waves)
	if err != nil {
		return Rollout{}, fmt.Errorf("write waves: %w", err)
	}
	var r Rollout
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		r = Rollout{
			ID: newUUID(), Account: by.Account, Name: o.Name, Status: RolloutGathering, Work: o.Work, Carrier: o.Carrier, Query: o.Query, Waves: o.Waves,
			FailureRate: o.FailureRate, Retries: o.Retries, CreatedBy: by.User, Source: by.Source, UpdatedAt: now, askedAt: now,
		}
		if r.JobID, err = s.addJob(ctx, tx, Job{Account: by.Account, Type: JobRollout, Subject: r.ID, Description: "roll out " + string(o.Work) + " of " + o.Carrier, CreatedBy: by.User}); err != nil {
			return err
		}
		created, err := s.insert(ctx, tx, "rollout", `insert into esim_rollout (id, account_sid, name, name_folded, status, operation, carrier, query, asked_at, waves,
			failure_rate, retries, job_id, created_by, source, updated_at, wave, gathered, targets, wave_end, begun, succeeded, failed, forgiven, message, created_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, 0, 0, 0, 0, 0, 0, 0, '', $17) on conflict do nothing`,
			r.ID, r.Account, r.Name, query.Fold(r.Name), string(r.Status), string(r.Work), r.Carrier, r.Query, now.UnixMicro(), string(waves), r.FailureRate, r.Retries,
			r.JobID, r.CreatedBy, r.Source, now.UnixMicro())
		if err != nil {
			return err
		}
		r.CreatedAt = moment(created)
		r.UpdatedAt = later(r.UpdatedAt, r.CreatedAt)
		if err := s.record(ctx, tx, event.Event{Kind: "esim_rollout." + string(r.Status), Subject: r.ID, Account: r.Account, Data: by.data(map[string]any{
			"to": r.Status, "operation": r.Work, "carrier": r.Carrier, "query": r.Query, "waves": r.Waves, "failure_rate": r.FailureRate, "job_id": r.JobID,
		})}); err != nil {
			return err
		}
		return s.Jobs.AddUnique(ctx, tx, rolloutArgs{})
	})
	return r, err
}

// moveRollout takes a rollout one step of its life. It is the only way in which
// its status changes.
func (s *Store) moveRollout(ctx context.Context, tx *db.Tx, by By, r *Rollout, to RolloutStatus, message string) error {
	if !r.Status.CanBecome(to) {
		return fault.New(fault.Conflict, "rollout %s is %s and cannot become %s", r.ID, r.Status, to)
	}
	from := r.Status
	r.Status, r.Message = to, message
	if err := s.storeRollout(ctx, tx, r); err != nil {
		return err
	}
	if to.Final() {
		status := map[RolloutStatus]JobStatus{RolloutComplete: JobComplete, RolloutCancelled: JobCanceled}[to]
		if err := s.endJob(ctx, tx, r.Account, r.JobID, status); err != nil {
			return err
		}
	}
	return s.record(ctx, tx, event.Event{Kind: "esim_rollout." + string(to), Subject: r.ID, Account: r.Account, Data: by.data(map[string]any{
		"from": from, "to": to, "message": message, "wave": r.Wave, "targets": r.Targets, "begun": r.Begun, "succeeded": r.Succeeded, "failed": r.Failed,
	})})
}

func (s *Store) storeRollout(ctx context.Context, tx *db.Tx, r *Rollout) error {
	r.UpdatedAt = later(s.now(), r.UpdatedAt)
	_, err := exec(ctx, tx, "store rollout", `update esim_rollout set status = $2, wave = $3, gathered = $4, targets = $5, wave_end = $6, begun = $7, succeeded = $8,
		failed = $9, forgiven = $10, message = $11, updated_at = $12 where id = $1`,
		r.ID, string(r.Status), r.Wave, r.gathered, r.Targets, r.waveEnd, r.Begun, r.Succeeded, r.Failed, r.forgiven, r.Message, r.UpdatedAt.UnixMicro())
	return err
}

// ContinueRollout has a rollout go on that has stopped. The failures that there
// are no longer count.
func (s *Store) ContinueRollout(ctx context.Context, by By, id string) (r Rollout, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if r, err = rolloutTable.find(ctx, tx, by.Account, id, tx.ForUpdate()); err != nil {
			return err
		}
		if r.Status != RolloutStopped {
			return fault.New(fault.Conflict, "rollout %s is %s: only one that has stopped can be continued", r.ID, r.Status)
		}
		r.forgiven = r.Failed
		if err := s.moveRollout(ctx, tx, by, &r, RolloutRunning, ""); err != nil {
			return err
		}
		return s.Jobs.AddUnique(ctx, tx, rolloutArgs{})
	})
	return r, err
}

// CancelRollout ends a rollout. Operations that a device has not got yet are
// cancelled with it; the others come to their own end.
func (s *Store) CancelRollout(ctx context.Context, by By, id string) (r Rollout, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if r, err = rolloutTable.find(ctx, tx, by.Account, id, tx.ForUpdate()); err != nil {
			return err
		}
		if err := s.moveRollout(ctx, tx, by, &r, RolloutCancelled, "Cancelled"); err != nil {
			return err
		}
		return s.Jobs.Add(ctx, tx, withdrawArgs{Rollout: r.ID, Account: by.Account, User: by.User})
	})
	return r, err
}

// withdrawArgs is the job that cancels the running operations of a rollout.
type withdrawArgs struct {
	Rollout string `json:"rollout"`
	Account string `json:"account"`
	User    string `json:"user"`
}

// Kind names the job.
func (withdrawArgs) Kind() string { return "device.withdraw" }

// withdraw may run again: what is cancelled does not run any more.
func (s *Store) withdraw(ctx context.Context, a withdrawArgs) error {
	var running []string
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		running, err = db.All(ctx, q, db.Only[string],
			`select operation from esim_rollout_item where rollout = $1 and state = 'running'`, a.Rollout)
		return err
	})
	if err != nil {
		return fmt.Errorf("read operations of rollout %s: %w", a.Rollout, err)
	}
	var failed error
	for _, id := range running {
		_, err := s.Cancel(ctx, By{Account: a.Account, User: a.User, Source: "rollout"}, id)
		if _, refused := fault.As(err); err != nil && !refused {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// RolloutItems counts a rollout's eSIMs by where they stand: waiting, running,
// succeeded, failed.
func (s *Store) RolloutItems(ctx context.Context, account, id string) (counts map[string]int64, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		r, err := rolloutTable.find(ctx, q, account, id, "")
		if err != nil {
			return err
		}
		counts, err = countItems(ctx, q, r.ID)
		return err
	})
	return counts, err
}

func countItems(ctx context.Context, q db.Query, id string) (map[string]int64, error) {
	counts := map[string]int64{}
	rows, err := q.QueryContext(ctx, `select state, count(*) from esim_rollout_item where rollout = $1 group by state`, id)
	if err != nil {
		return nil, fmt.Errorf("count items of rollout %s: %w", id, err)
	}
	defer rows.Close()
	for rows.Next() {
		var state string
		var n int64
		if err := rows.Scan(&state, &n); err != nil {
			return nil, fmt.Errorf("count items of rollout %s: %w", id, err)
		}
		counts[state] = n
	}
	return counts, rows.Err()
}
