package device

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/jobs"
)

// An eSIM that meets trouble of our own (a record that cannot be read, a fault in
// the program) does not hold up the rest of its rollout. It is put off, from ten
// seconds to ten minutes, and has failed after about an hour.
const maxTroubles = 10

var troubleWait = jobs.Backoff(10*time.Second, 10*time.Minute)

// A trouble is an error of ours at one eSIM of a rollout.
type trouble struct {
	item item
	err  error
}

func (t *trouble) Error() string { return fmt.Sprintf("begin on eSIM %s: %v", t.item.eid, t.err) }
func (t *trouble) Unwrap() error { return t.err }

// startOrTell begins an operation, or says at which eSIM the trouble was. The
// transaction is lost then.
func (s *Store) startOrTell(ctx context.Context, tx *db.Tx, r *Rollout, i item, now time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			err = &trouble{i, err}
		}
	}()
	return s.startItem(ctx, tx, r, i, now)
}

// putOff has an eSIM wait that met trouble, or gives it up.
func (s *Store) putOff(ctx context.Context, rollout string, t *trouble) error {
	i := t.item
	i.troubles++
	slog.ErrorContext(ctx, "an operation of a rollout could not be begun", "rollout", rollout, "eid", i.eid, "time", i.troubles, "of", maxTroubles, "err", t.err)
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		r, err := rolloutTable.read(ctx, tx, rollout, tx.ForUpdate())
		if err != nil {
			return err
		}
		if r.Status != RolloutRunning {
			return nil
		}
		state, code, due := "waiting", "", s.now().Add(troubleWait(int(i.troubles))).UnixMicro()
		if i.troubles >= maxTroubles {
			state, code = "failed", CodeInternal
		}
		n, err := exec(ctx, tx, "store item", `update esim_rollout_item set state = $3, due = $4, message_code = $5, troubles = $6
			where rollout = $1 and eid = $2 and state = 'waiting' and due = $7`, r.ID, string(i.eid), state, due, code, i.troubles, i.due)
		if err != nil || n == 0 {
			return err
		}
		if i.due == 0 {
			r.Begun++
		}
		if state == "failed" {
			if err := s.tellItem(ctx, tx, &r, i, code, Messages[code].Text); err != nil {
				return err
			}
		}
		return s.storeRollout(ctx, tx, &r)
	})
}

// giveUp has those eSIMs failed whose operation should have ended long ago and
// which nobody could end.
func (s *Store) giveUp(ctx context.Context, tx *db.Tx, r *Rollout) error {
	stuck, err := db.All(ctx, tx, func(w db.Row) (i item, err error) {
		err = w.Scan(&i.eid, &i.device)
		return i, err
	}, `update esim_rollout_item set state = 'failed', message_code = $3 where rollout = $1 and state = 'running' and due < $2 returning eid, device_id`,
		r.ID, s.now().Add(-2*s.limits().Operation).UnixMicro(), CodeInternal)
	if err != nil {
		return fmt.Errorf("give up eSIMs of rollout %s: %w", r.ID, err)
	}
	for _, i := range stuck {
		if err := s.tellItem(ctx, tx, r, i, CodeInternal, Messages[CodeInternal].Text); err != nil {
			return err
		}
	}
	return nil
}

// tellItem says why an eSIM has failed where no operation can say it.
func (s *Store) tellItem(ctx context.Context, tx *db.Tx, r *Rollout, i item, code, message string) error {
	r.Message = fmt.Sprintf("eSIM %s of device %s has failed: %s", i.eid, i.device, message)
	return s.record(ctx, tx, event.Event{Kind: "esim_rollout.esim_failed", Subject: r.ID, Account: r.Account, Data: map[string]any{
		"eid": i.eid, "device_id": i.device, "message_code": code, "message": message,
	}})
}
