package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/sim"
	"godwit/smsc"
)

// smsArgs is the job that hands all waiting messages to the SMSC.
type smsArgs struct{}

// Kind names the job.
func (smsArgs) Kind() string { return "command.sms" }

const (
	smsBatch    = 200
	smsRounds   = 100
	smsParallel = 64              // Sims at a time; the client's window bounds what is under way
	smsLease    = 2 * time.Minute // also how long a receipt may take to end a doubt
	smsLife     = 24 * time.Hour  // attempts go on for so long
	// A claim that is older is renewed before the message is handed over. With
	// the client's wait for a turn and for the answer it stays below a lease.
	smsFresh = 20 * time.Second
	// throttledWait is the longest pause of a message that came too fast, but for
	// a quarter of it, so that not all come at once.
	throttledWait = 5 * time.Second
)

// Bound is told that this node is bound to the SMSC again: what waits only for
// that need not wait any longer.
func (s *Store) Bound(ctx context.Context) {
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		if _, err := tx.ExecContext(ctx, `update sms_command set lease = 0 where status = 'queued' and doubt_at = 0 and lease > 0`); err != nil {
			return fmt.Errorf("wake messages: %w", err)
		}
		return s.Jobs.Add(ctx, tx, smsArgs{})
	})
	if err != nil && ctx.Err() == nil {
		slog.ErrorContext(ctx, "messages wait longer than they must", "err", err)
	}
}

// sendSMS hands messages to the SMSC until none waits.
//
// It may run again after a crash and beside others of its kind. Before a message
// leaves, it is stored that it may have left (doubt_at); what the SMSC answered is
// stored after. So a message of which we know that the SMSC has it is never sent
// again. Between the two there is a moment of which nobody knows afterwards: when
// the process dies or the link breaks there, the message waits for a receipt with
// its reference for the time of a lease, and is then sent again. A device may get
// it twice then; not sending it might mean that it never does.
func (s *Store) sendSMS(ctx context.Context) error {
	if err := s.expireSMS(ctx); err != nil {
		return err
	}
	if s.SMSC == nil {
		return nil // another node's, or nobody's
	}
	for range smsRounds {
		if !s.SMSC.Ready() {
			return nil // Bound comes back to it
		}
		batch, err := s.claimSMS(ctx)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			more, err := s.waits(ctx, "sms_command")
			if err != nil || !more {
				return err
			}
			continue // somebody who adds another one has it in hand
		}
		// The messages of one Sim keep their order.
		bySim := map[string][]SMS{}
		for _, m := range batch {
			bySim[m.SIM] = append(bySim[m.SIM], m)
		}
		var group errgroup.Group
		group.SetLimit(smsParallel)
		for _, few := range bySim {
			group.Go(func() error {
				for _, m := range few {
					if err := s.submit(ctx, m); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error { return s.Jobs.Add(ctx, tx, smsArgs{}) })
}

// claimSMS takes messages that wait, and notes that they may be about to leave.
func (s *Store) claimSMS(ctx context.Context) (batch []SMS, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		now := s.now()
		batch, err = db.All(ctx, tx, scanSMS, selectSMS+` where status = 'queued' and lease < $1 order by lease, created_at limit `+
			fmt.Sprint(smsBatch)+tx.SkipLocked(), now.UnixMicro())
		if err != nil {
			return fmt.Errorf("read messages that wait: %w", err)
		}
		for i := range batch {
			m := &batch[i]
			m.claimedAt = now
			if _, err := tx.ExecContext(ctx, `update sms_command set lease = $1, doubt_at = $2, attempts = attempts + 1 where sid = $3`,
				now.Add(smsLease).UnixMicro(), now.UnixMicro(), m.SID); err != nil {
				return fmt.Errorf("claim SMS command %s: %w", m.SID, err)
			}
			if m.doubtAt.IsZero() {
				continue
			}
			if err := s.record(ctx, tx, event.Event{
				Kind: "sms_command.repeated", Subject: m.SID, Account: m.Account,
				Data: map[string]any{"sim": m.SIM, "reason": "the SMSC's answer of " + m.doubtAt.Format(time.RFC3339) + " was lost: whether the device gets the message twice cannot be known"},
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return batch, err
}

// submit hands one message to the SMSC and stores what is known then.
func (s *Store) submit(ctx context.Context, m SMS) error {
	life := m.CreatedAt.Add(smsLife).Sub(s.now())
	if life <= 0 {
		return s.settle(ctx, m, "", errLate)
	}
	to, err := s.number(ctx, m.SIM)
	if err != nil {
		return s.settle(ctx, m, "", err)
	}
	if ours, err := s.renew(ctx, &m); err != nil || !ours {
		return err
	}
	id, told := s.SMSC.Submit(ctx, smsc.Message{To: to, Text: m.Payload, Reference: m.reference, Validity: life})
	if errors.Is(told, smsc.ErrDoubt) {
		slog.WarnContext(ctx, "the SMSC's answer to a message was lost", "sid", m.SID)
		return nil // the doubt stands, and the lease runs
	}
	return s.settle(ctx, m, id, told)
}

// renew keeps a claim that has become old while others had their turn: behind a
// slow SMSC a batch takes longer than a lease. It reports whether the message is
// still ours; one whose lease has lapsed may be in another job's hands.
func (s *Store) renew(ctx context.Context, m *SMS) (ours bool, err error) {
	now := s.now()
	if now.Sub(m.claimedAt) < smsFresh {
		return true, nil
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		done, err := tx.ExecContext(ctx, `update sms_command set lease = $1, doubt_at = $2 where sid = $3 and status = 'queued' and lease = $4`,
			now.Add(smsLease).UnixMicro(), now.UnixMicro(), m.SID, m.claimedAt.Add(smsLease).UnixMicro())
		if err != nil {
			return fmt.Errorf("keep SMS command %s: %w", m.SID, err)
		}
		n, err := done.RowsAffected()
		ours = n == 1
		return err
	})
	m.claimedAt = now
	return ours, err
}

// errLate ends a message that could not be handed over in time.
var errLate = errors.New("out of time")

func (s *Store) number(ctx context.Context, sid string) (smsc.Number, error) {
	var one sim.Sim
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		one, err = s.Sims.BySID(ctx, q, sid)
		return err
	})
	if err != nil {
		return smsc.Number{}, err
	}
	return s.Numbers.Number(ctx, one.ICCID)
}

// settle stores what became of an attempt. What the SMSC has answered is stored
// even while the process is being stopped.
func (s *Store) settle(ctx context.Context, m SMS, id string, told error) error {
	ctx = context.WithoutCancel(ctx)
	if told != nil {
		if reason, final := hopeless(told); final {
			return s.failSMS(ctx, m.SID, reason)
		}
		slog.DebugContext(ctx, "a message waits", "sid", m.SID, "attempt", m.attempts+1, "err", told)
		return s.DB.Write(ctx, func(tx *db.Tx) error {
			_, err := tx.ExecContext(ctx, `update sms_command set lease = $1, doubt_at = 0 where sid = $2 and status = 'queued'`,
				s.now().Add(waitFor(m.attempts, told)).UnixMicro(), m.SID)
			return err
		})
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		m, err := scanSMS(tx.QueryRowContext(ctx, selectSMS+` where sid = $1`+tx.ForUpdate(), m.SID))
		if err != nil {
			return fmt.Errorf("read SMS command: %w", err)
		}
		if m.Status != Queued {
			return nil // a receipt was faster, or another run
		}
		m.messageID = id
		if err := s.advanceSMS(ctx, tx, &m, Sent, event.Event{}); err != nil {
			return err
		}
		return s.takeEarly(ctx, tx, &m)
	})
}

// hopeless says whether another attempt would end the same way, and why.
func hopeless(err error) (reason string, ok bool) {
	if refusal, ok := errors.AsType[*smsc.Refusal](err); ok {
		return refusal.Error(), refusal.Final()
	}
	if f, ok := fault.As(err); ok {
		return f.Message, f.Kind == fault.NotFound
	}
	if errors.Is(err, errLate) {
		return fmt.Sprintf("the SMSC could not be reached, or did not take the message, for %s", smsLife), true
	}
	return "", false
}

// waitFor is the pause after an attempt. A message that came too fast has nothing
// wrong with it and goes again soon: the client holds everything back while the
// SMSC throttles. Anything else may be the message's own, such as a device whose
// queue is full.
func waitFor(attempts int, told error) time.Duration {
	if refusal, ok := errors.AsType[*smsc.Refusal](told); ok && refusal.TooFast() {
		wait := min(time.Second<<min(attempts, 7), throttledWait)
		return wait + rand.N(wait/4)
	}
	return min(5*time.Second<<min(attempts, 7), 5*time.Minute)
}

func (s *Store) failSMS(ctx context.Context, sid, reason string) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		m, err := scanSMS(tx.QueryRowContext(ctx, selectSMS+` where sid = $1 and status = 'queued'`+tx.ForUpdate(), sid))
		if db.None(err) {
			return nil // ended by another run
		}
		if err != nil {
			return fmt.Errorf("read SMS command: %w", err)
		}
		m.Reason = reason
		return s.advanceSMS(ctx, tx, &m, Failed, event.Event{})
	})
}

// expireSMS ends messages that nothing took for their whole life, and forgets
// receipts that no answer followed.
func (s *Store) expireSMS(ctx context.Context) error {
	old := s.now().Add(-smsLife)
	var late []SMS
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		late, err = db.All(ctx, q, scanSMS, selectSMS+` where status = 'queued' and lease < $1 and created_at <= $2 order by created_at limit 1000`,
			s.now().UnixMicro(), old.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("read messages that are late: %w", err)
	}
	for _, m := range late {
		reason, _ := hopeless(errLate)
		if s.SMSC == nil {
			reason = "no SMSC is configured on this server"
		}
		if !m.doubtAt.IsZero() {
			reason = "the SMSC's answer was lost, and no receipt came: whether the device got the message cannot be known"
		}
		if err := s.failSMS(ctx, m.SID, reason); err != nil {
			return err
		}
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `delete from sms_receipt where created_at < $1`, old.UnixMicro())
		return err
	})
}
