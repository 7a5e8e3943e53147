package device

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/query"
)

// rolloutArgs is the job that takes all rollouts further.
type rolloutArgs struct{}

// Kind names the job.
func (rolloutArgs) Kind() string { return "device.rollouts" }

const (
	gatherChunk  = 500
	rolloutSweep = 5 * time.Second
	retryAfter   = time.Minute // an eSIM that was busy or failed in passing
	startChunk   = 50          // operations begun in one transaction
)

// advanceRollouts takes all rollouts as far as they can go now. It may run again
// after a crash and beside another: each step is one transaction that holds the
// rollout's row, and what is done is not there to be done again.
func (s *Store) advanceRollouts(ctx context.Context) error {
	var live []string
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		live, err = db.All(ctx, q, db.Only[string],
			`select id from esim_rollout where status in ('gathering', 'running') order by updated_at`)
		return err
	})
	if err != nil {
		return fmt.Errorf("read rollouts: %w", err)
	}
	var failed error
	for _, id := range live {
		if err := s.advance(ctx, id); err != nil {
			failed = errors.Join(failed, fmt.Errorf("rollout %s: %w", id, err))
		}
	}
	return failed
}

// advance takes one rollout further until it has to wait.
func (s *Store) advance(ctx context.Context, id string) error {
	for troubles := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		more := false
		err := s.DB.Write(ctx, func(tx *db.Tx) error {
			r, err := rolloutTable.read(ctx, tx, id, tx.ForUpdate())
			if err != nil {
				return err
			}
			switch r.Status {
			case RolloutGathering:
				more, err = s.gather(ctx, tx, &r)
			case RolloutRunning:
				more, err = s.wave(ctx, tx, &r)
			default:
				more = false
			}
			return err
		})
		if t, ours := errors.AsType[*trouble](err); ours && ctx.Err() == nil && troubles < startChunk {
			// The others of its chunk, which went with it, have their turn now.
			troubles, more = troubles+1, true
			err = s.putOff(ctx, id, t)
		}
		if err != nil || !more {
			return err
		}
	}
}

// gather writes some of the devices down that the query finds. Devices that are
// made later are not among them.
func (s *Store) gather(ctx context.Context, tx *db.Tx, r *Rollout) (more bool, err error) {
	where, err := query.Parse(r.Query, DeviceSchema, r.askedAt)
	if err != nil {
		return false, s.moveRollout(ctx, tx, By{}, r, RolloutCancelled, "The query cannot be read any more: "+err.Error())
	}
	condition, args := where.SQL(4)
	type place struct {
		id string
		at int64
	}
	found, err := db.All(ctx, tx, func(w db.Row) (p place, err error) {
		err = w.Scan(&p.id, &p.at)
		return p, err
	},
		`select d.device_id, d.created_at from device d where d.account_sid = $1 and d.created_at > $2 and d.created_at <= $3 and `+condition+
			` order by d.created_at limit `+fmt.Sprint(gatherChunk), append([]any{r.Account, r.gathered, r.CreatedAt.UnixMicro()}, args...)...)
	if err != nil {
		return false, fmt.Errorf("look for devices: %w", err)
	}
	ids := make([]string, len(found))
	for i, p := range found {
		ids[i], r.gathered = p.id, p.at
	}
	var rows [][]any
	if err := db.QueryIn(ctx, tx, `select eid, device_id from esim where device_id in ({})`, nil, ids, func(w *sql.Rows) error {
		var eid, id string
		err := w.Scan(&eid, &id)
		rows = append(rows, []any{r.ID, eid, id, turn(r.ID, eid), "waiting", "", int64(0), int64(0), ""})
		return err
	}); err != nil {
		return false, fmt.Errorf("read eSIMs: %w", err)
	}
	n, err := tx.ExecMany(ctx, `insert into esim_rollout_item (rollout, eid, device_id, turn, state, operation, attempts, due, message_code)
		values {} on conflict do nothing`, nil, rows)
	if err != nil {
		return false, fmt.Errorf("store eSIMs of a rollout: %w", err)
	}
	r.Targets += n
	if len(found) == gatherChunk {
		return true, s.storeRollout(ctx, tx, r)
	}
	if r.Targets == 0 {
		return false, s.moveRollout(ctx, tx, By{}, r, RolloutComplete, "The query finds no eSIM")
	}
	r.waveEnd = waveEnd(r.Targets, r.Waves[0])
	return true, s.moveRollout(ctx, tx, By{}, r, RolloutRunning, "")
}

// turn shuffles eSIMs, so that the first wave is no particular sort of devices.
func turn(rollout, eid string) int64 {
	h := fnv.New64a()
	h.Write([]byte(rollout + eid))
	return int64(h.Sum64() >> 1)
}

// wave begins some operations of the wave, or ends it.
func (s *Store) wave(ctx context.Context, tx *db.Tx, r *Rollout) (more bool, err error) {
	if err := s.giveUp(ctx, tx, r); err != nil {
		return false, err
	}
	running, err := countEnded(ctx, tx, r)
	if err != nil {
		return false, err
	}
	if failed := r.Failed - r.forgiven; failed*100 > int64(r.FailureRate)*r.waveEnd {
		return false, s.moveRollout(ctx, tx, By{}, r, RolloutStopped,
			fmt.Sprintf("%d of %d eSIMs have failed, more than %d %%", failed, r.waveEnd, r.FailureRate))
	}
	ended := r.Succeeded + r.Failed
	if r.Begun == r.waveEnd && ended == r.Begun {
		if r.waveEnd == r.Targets {
			return false, s.moveRollout(ctx, tx, By{}, r, RolloutComplete, r.Message)
		}
		r.Wave++
		r.waveEnd = waveEnd(r.Targets, r.Waves[r.Wave])
		return true, s.storeRollout(ctx, tx, r)
	}
	room := int64(s.limits().Parallel) - running
	begun, err := s.startItems(ctx, tx, r, min(room, startChunk))
	if err != nil {
		return false, err
	}
	return begun > 0, s.storeRollout(ctx, tx, r)
}

// countEnded counts the eSIMs that have ended since the last time, and returns how
// many are at work. A rollout has up to millions, so none is counted twice.
func countEnded(ctx context.Context, tx *db.Tx, r *Rollout) (running int64, err error) {
	ended, err := db.All(ctx, tx, db.Only[string], `update esim_rollout_item set counted = true
		where rollout = $1 and not counted and state in ('succeeded', 'failed') returning state`, r.ID)
	if err != nil {
		return 0, fmt.Errorf("count items of rollout %s: %w", r.ID, err)
	}
	for _, state := range ended {
		if state == "succeeded" {
			r.Succeeded++
		} else {
			r.Failed++
		}
	}
	err = tx.QueryRowContext(ctx, `select count(*) from esim_rollout_item where rollout = $1 and state = 'running'`, r.ID).Scan(&running)
	if err != nil {
		return 0, fmt.Errorf("count items of rollout %s: %w", r.ID, err)
	}
	return running, nil
}

// An item is one eSIM of a rollout.
type item struct {
	eid      ident.EID
	device   ID
	attempts int64
	due      int64
	troubles int64
}

// startItems begins operations: those again whose time has come, then new ones
// of this wave. It returns how many items it has taken up.
func (s *Store) startItems(ctx context.Context, tx *db.Tx, r *Rollout, room int64) (int, error) {
	if room <= 0 {
		return 0, nil
	}
	now := s.now()
	scan := func(w db.Row) (i item, err error) {
		err = w.Scan(&i.eid, &i.device, &i.attempts, &i.due, &i.troubles)
		return i, err
	}
	const selectItem = `select eid, device_id, attempts, due, troubles from esim_rollout_item where rollout = $1 and state = 'waiting' and `
	list, err := db.All(ctx, tx, scan, selectItem+`due > 0 and due <= $2 order by due limit $3`, r.ID, now.UnixMicro(), room)
	if err != nil {
		return 0, fmt.Errorf("read items: %w", err)
	}
	if fresh := min(room-int64(len(list)), r.waveEnd-r.Begun); fresh > 0 {
		more, err := db.All(ctx, tx, scan, selectItem+`due = 0 order by turn, eid limit $2`, r.ID, fresh)
		if err != nil {
			return 0, fmt.Errorf("read items: %w", err)
		}
		r.Begun += int64(len(more))
		list = append(list, more...)
	}
	for _, i := range list {
		if err := s.startOrTell(ctx, tx, r, i, now); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

func (s *Store) startItem(ctx context.Context, tx *db.Tx, r *Rollout, i item, now time.Time) error {
	o, err := s.begin(ctx, tx, By{Account: r.Account, User: r.CreatedBy, Source: r.Source}, Order{Work: r.Work, Device: i.device, EID: i.eid, Carrier: r.Carrier, rollout: r.ID})
	state, code, due := "running", "", now.UnixMicro()
	switch {
	case fault.Is(err, fault.Conflict):
		state, due = "waiting", now.Add(retryAfter).UnixMicro() // until it is free
	case fault.Is(err, fault.NotFound):
		state, code = "failed", CodeLost
		if err := s.tellItem(ctx, tx, r, i, code, err.Error()); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if err == nil {
		i.attempts++
	}
	if _, err := exec(ctx, tx, "store item", `update esim_rollout_item set state = $3, operation = $4, attempts = $5, due = $6, message_code = $7 where rollout = $1 and eid = $2`,
		r.ID, string(i.eid), state, o.ID, i.attempts, due, code); err != nil {
		return err
	}
	if err == nil && o.Status.Final() {
		return s.itemEnded(ctx, tx, &o) // it was over before it was written down here
	}
	return nil
}

// itemEnded notes the end of an operation that is part of a rollout. One that
// failed in passing begins anew while there are retries.
func (s *Store) itemEnded(ctx context.Context, tx *db.Tx, o *Operation) error {
	if o.Rollout == "" {
		return nil
	}
	var attempts, retries int64
	err := tx.QueryRowContext(ctx, `select i.attempts, r.retries from esim_rollout_item i join esim_rollout r on r.id = i.rollout
		where i.rollout = $1 and i.eid = $2 and i.operation = $3 and i.state = 'running'`, o.Rollout, string(o.EID), o.ID).Scan(&attempts, &retries)
	if db.None(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read item of %s: %w", o.ID, err)
	}
	state, due := "failed", int64(1)
	switch {
	case o.Status == OpSuccessful:
		state = "succeeded"
	case Messages[o.MessageCode].Passing && attempts <= retries:
		state, due = "waiting", s.now().Add(retryAfter).UnixMicro()
	}
	_, err = exec(ctx, tx, "store item", `update esim_rollout_item set state = $3, due = $4, message_code = $5 where rollout = $1 and eid = $2`,
		o.Rollout, string(o.EID), state, due, o.MessageCode)
	return err
}
