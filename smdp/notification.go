package smdp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"godwit/db"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// handleNotification takes the word of an eUICC. Whoever sends it hears nothing
// of what becomes of it: the LPA is only the postman, and keeps what is not
// acknowledged. The error is trouble of ours, after which the LPA is to come
// again. ES9+.HandleNotification, SGP.22 v2.5, 5.6.4.
func (l *Listener) handleNotification(ctx context.Context, q *rsp.HandleNotificationRequest) error {
	n, err := rsp.ParsePendingNotification(q.PendingNotification)
	if err != nil {
		return ignored("malformed", err)
	}
	if n.Installation {
		for try := range tries {
			if err := l.installation(ctx, n, try > 0); !errors.Is(err, errMoved) {
				return err
			}
		}
		return fmt.Errorf("run %s: its order does not come to rest", n.TransactionID)
	}
	return l.otherNotification(ctx, n)
}

// An ignoredError says why a notification changed nothing. It is for logs and
// metrics; the sender gets its acknowledgement all the same.
type ignoredError struct {
	reason string
	err    error
}

func (e *ignoredError) Error() string {
	if e.err == nil {
		return "notification ignored: " + e.reason
	}
	return "notification ignored: " + e.reason + ": " + e.err.Error()
}

func ignored(reason string, err error) error { return &ignoredError{reason, err} }

var (
	installedSQL = guarded(InstallDone, `generation = generation + 1, bind_key = null, bind_secret = null`, `eid = $4 and generation = $5`)
	brokenSQL    = guarded(InstallFailed, failedFields, `generation = $5 and run = $6`)
)

// installation takes a profile installation result: the third of the three
// durable writes of a download.
func (l *Listener) installation(ctx context.Context, n *rsp.PendingNotification, fresh bool) error {
	r, p := l.recent.get(n.TransactionID)
	l.recent.forget(n.TransactionID)
	if r == nil || r.state != runDelivered || fresh {
		fresh = true
		err := l.db.Read(ctx, func(q db.Query) (err error) {
			r, p, err = l.findRun(ctx, q, n.TransactionID)
			return err
		})
		if errors.Is(err, errNoRun) {
			return ignored("unknown transaction", nil)
		}
		if err != nil {
			return err
		}
	}
	result, err := n.VerifyInstallation(r.key)
	if err != nil {
		return ignored("not the eUICC's", err)
	}
	identity := l.identityNamed(r.ci)
	if identity == nil || result.OID != identity.OID() {
		return ignored("not for this server", nil)
	}
	if id := result.Notification.ICCID; id != "" && id != p.ICCID {
		return ignored("of another profile", nil)
	}
	return l.db.Write(ctx, func(tx *db.Tx) error {
		outcome := "installed"
		if result.Error != 0 {
			outcome = fmt.Sprintf("error %d in command %d", result.Error, result.Command)
		}
		// The card repeats its notification until it hears 204, so a second one is
		// answered like the first and changes nothing. SGP.22 v2.5, 5.6.4.
		if fresh, err := l.record(ctx, tx, r.eid, p.ICCID, rsp.EventInstall, n, outcome); err != nil || !fresh {
			return err
		}
		if r.state != runDelivered || r.created < p.Ordered {
			// Nothing was delivered in the run, it has ended otherwise, or it was
			// for an earlier order of the profile.
			return nil
		}
		// The run stays as it is: the state of the profile bars every other step.
		var why *rsp.Failure
		if result.Error == 0 {
			// The eUICC vouches for it. That a later run has delivered once more does
			// not take it off the chip.
			ok, err := changed(tx.ExecContext(ctx, installedSQL, string(Installed), l.now(), string(p.ICCID), string(r.eid), p.generation))
			if err != nil {
				return fmt.Errorf("store installation of %s: %w", p.ICCID, err)
			}
			if !ok {
				return l.lateWord(ctx, p, fresh)
			}
		} else {
			why = rsp.Refuse(result.Error.Status(), "the eUICC could not install the profile: reason %d in command %d", result.Error, result.Command)
			if p.run != r.id.String() {
				return nil // a later run is under way: this one's failure is history
			}
			if again, err := l.mayRetry(ctx, tx, r, p, result.Error); err != nil || again {
				return orElse(err, l.retryInstallation(ctx, tx, n, r, p, why, fresh))
			}
			ok, err := changed(tx.ExecContext(ctx, brokenSQL, string(Failed), l.now(), string(p.ICCID),
				why.StatusCode.String(), p.generation, r.id.String()))
			if err != nil {
				return fmt.Errorf("store failure of %s: %w", p.ICCID, err)
			}
			if !ok {
				return l.lateWord(ctx, p, fresh)
			}
		}
		if err := l.out.progress(ctx, tx, p, r.eid, rsp.PointInstallation, why, n.Raw); err != nil {
			return err
		}
		return l.out.deleteEvent(ctx, tx, p)
	})
}

// lateWord has the step made again when the profile has moved meanwhile, and
// accepts that it came too late otherwise.
func (l *Listener) lateWord(ctx context.Context, p *profile, fresh bool) error {
	if !fresh || p.State == Downloaded && p.EID != "" {
		return errMoved
	}
	slog.WarnContext(ctx, "installation result for a profile that waits for none", "iccid", p.ICCID, "state", p.State)
	return nil
}

// record keeps a notification with its evidence. It returns false when it was
// there before. The number is the eUICC's and should say so alone, but an eUICC
// that was set back, or made anew with a published test EID, begins to count
// again: profile and transaction tell its notifications from the former ones.
func (l *Listener) record(ctx context.Context, tx *db.Tx, eid ident.EID, iccid ident.ICCID, e rsp.Event, n *rsp.PendingNotification, result string) (bool, error) {
	ok, err := changed(tx.ExecContext(ctx, `insert into notification (eid, seq, event, iccid, transaction_id, result, evidence, received_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (eid, seq, event, iccid, transaction_id) do nothing`,
		string(eid), n.Metadata.Sequence, e.String(), string(iccid), n.TransactionID.String(), result, n.Raw, l.now()))
	if err != nil {
		return false, fmt.Errorf("store notification of %s: %w", eid, err)
	}
	return ok, nil
}

// points are the notification points for what an eUICC reports later.
var points = map[rsp.Event]rsp.NotificationPoint{
	rsp.EventEnable:  rsp.PointEnabled,
	rsp.EventDisable: rsp.PointDisabled,
	rsp.EventDelete:  rsp.PointDeleted,
}

// otherNotification takes word of an enabled, disabled or deleted profile, or
// of an installation that was asked to be reported here too. Only profiles of ours on
// the eUICC that they were delivered to are recorded.
func (l *Listener) otherNotification(ctx context.Context, n *rsp.PendingNotification) error {
	chain, err := l.roots.VerifyEUICC(n.EUMCertificate, n.EUICCCertificate, nil, l.cfg.Now())
	if err != nil {
		if _, ok := pki.AsProblem(err); ok {
			return ignored("chain", err)
		}
		return err
	}
	metadata, err := n.VerifyOther(chain.EUICC.PublicKey)
	if err != nil {
		return ignored("not the eUICC's", err)
	}
	switch metadata.Event {
	case rsp.EventInstall, rsp.EventEnable, rsp.EventDisable, rsp.EventDelete:
	default:
		return ignored("no single event", nil)
	}
	return l.db.Write(ctx, func(tx *db.Tx) error {
		p, err := profileByICCID(ctx, tx, metadata.ICCID)
		if errors.Is(err, errNoProfile) || err == nil && p.EID != chain.EID {
			return ignored("no profile of ours on this eUICC", nil)
		}
		if err != nil {
			return err
		}
		fresh, err := l.record(ctx, tx, chain.EID, p.ICCID, metadata.Event, n, "")
		point := points[metadata.Event]
		if err != nil || !fresh || point == 0 {
			return err
		}
		return l.out.progress(ctx, tx, p, chain.EID, point, nil, n.Raw)
	})
}
