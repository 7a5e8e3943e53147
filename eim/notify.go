package eim

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"godwit/db"
	"godwit/ident"
	"godwit/iot"
	"godwit/jobs"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// A notifyJob delivers a notification to the SM-DP+ that it names. Repeating is
// safe: servers know a notification by its sequence number and acknowledge it
// again.
type notifyJob struct {
	Address      string `json:"address"`
	Notification []byte `json:"notification"` // as the eUICC signed it
}

// Kind names the sort of job.
func (notifyJob) Kind() string { return "eim.notify" }

func (s *Server) registerJobs() {
	jobs.Register(s.cfg.Jobs, func(ctx context.Context, j jobs.Job[notifyJob]) error { return s.notify(ctx, j.Args) },
		jobs.Lane("eim", 16), jobs.Attempts(30), jobs.Timeout(callTime+10*time.Second), jobs.Retry(jobs.Backoff(5*time.Second, 6*time.Hour)))
}

// notify delivers. Only status 204 means that the SM-DP+ has it: the eUICC has
// forgotten it by then.
func (s *Server) notify(ctx context.Context, j notifyJob) error {
	if err := rsp.CheckAddress(j.Address); err != nil {
		return jobs.Hopeless(err)
	}
	status, _, err := s.post(ctx, j.Address, rsp.FnHandleNotification, rsp.HandleNotificationRequest{PendingNotification: j.Notification})
	if err != nil {
		countRelay("unreachable")
		return fmt.Errorf("notify %s: %w", j.Address, err)
	}
	if status != http.StatusNoContent {
		countRelay("refused")
		return fmt.Errorf("notify %s: HTTP status %d", j.Address, status)
	}
	countRelay("ok")
	return nil
}

// relay has a notification delivered, after the transaction and as often as it
// takes. One that was proved has its address from an SM-DP+ that an eUICC trusted; of
// the others, of chips whose agents sign, there are no more than [full] lets through.
func (s *Server) relay(ctx context.Context, tx *db.Tx, n *rsp.PendingNotification) error {
	if err := s.cfg.Jobs.AddUnique(ctx, tx, notifyJob{Address: n.Metadata.Address, Notification: n.Raw}); err != nil {
		return fmt.Errorf("queue notification for %s: %w", n.Metadata.Address, err)
	}
	return nil
}

// takeNotifications takes what an eUICC has for SM-DP+s: what is proved is
// relayed and acknowledged; the rest stays with the eUICC.
func (s *Server) takeNotifications(ctx context.Context, tx *db.Tx, c *claim, list [][]byte) error {
	if len(list) == 0 {
		return nil
	}
	var key *pki.PublicKey
	var kept iot.NotificationParts
	if e, err := lock(ctx, tx, c.eid); err != nil {
		return err
	} else if e != nil {
		if key, err = e.chipKey(); err != nil {
			return err
		}
		kept = e.parts()
	}
	for _, raw := range list {
		whole, err := s.whole(ctx, tx, raw, kept)
		if err != nil {
			return err
		}
		n, err := rsp.ParsePendingNotification(whole)
		if err == nil {
			err = c.verifier.notification(n, key)
		}
		if err != nil {
			slog.DebugContext(ctx, "notification not relayed", "eid", c.eid, "err", err)
			countRelay("not believed")
			continue
		}
		if err := s.relay(ctx, tx, n); err != nil {
			return err
		}
		c.acknowledge(n.Metadata.Sequence)
	}
	return nil
}

// whole puts together a notification that an IPA has made compact. What cannot be
// put together comes back as it is.
func (s *Server) whole(ctx context.Context, q db.Query, raw []byte, kept iot.NotificationParts) ([]byte, error) {
	if id := compactRun(raw); !id.IsZero() {
		r, _, err := s.session(ctx, q, id)
		if err != nil || r == nil {
			return raw, err
		}
		kept.Address, kept.OID, kept.ICCID = r.address, r.oid, r.iccid
	}
	if whole, err := iot.ExpandNotification(raw, kept); err == nil {
		return whole, nil
	}
	return raw, nil
}

// compactRun returns the SM-DP+'s transaction of an installation result in compact
// form; zero of anything else.
func compactRun(raw []byte) rsp.TransactionID {
	e, err := tlv.ParseTag(raw, 0xA0)
	if err != nil {
		return rsp.TransactionID{}
	}
	r := e.Reader()
	data := r.Sub(0xA0)
	id, err := rsp.TransactionIDFromOctets(data.Value(0x80))
	if err != nil || data.Err() != nil {
		return rsp.TransactionID{}
	}
	return id
}

// compactEID returns the EID in a notification in compact form; "" of anything
// else.
func compactEID(raw []byte) ident.EID {
	e, err := tlv.ParseTag(raw, 0xA1)
	if err != nil {
		return ""
	}
	r := e.Reader()
	eid, err := ident.EIDFromOctets(r.OptionalValue(rsp.TagICCID)) // 5A is the tag of both
	if err != nil {
		return ""
	}
	return eid
}

// notified takes ESipa.HandleNotification of SGP.32.
func (s *Server) notified(ctx context.Context, q *iot.HandleNotification) error {
	if q.Result != nil {
		_, err := s.provide(ctx, q.Result)
		return err
	}
	v, err := s.foreseeNotification(ctx, q.Notification)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *db.Tx) error {
		c := &claim{eid: compactEID(q.Notification), verifier: v}
		whole, err := s.whole(ctx, tx, q.Notification, iot.NotificationParts{})
		if err != nil {
			return err
		}
		n, err := rsp.ParsePendingNotification(whole)
		if err != nil || !n.Installation {
			return s.takeNotifications(ctx, tx, c, [][]byte{q.Notification})
		}
		// The result of an indirect download: the eIM is the LPA of that session.
		r, t, err := s.session(ctx, tx, n.TransactionID)
		if err != nil {
			return err
		}
		if r == nil || t == nil {
			slog.DebugContext(ctx, "installation result of no session", "transaction", n.TransactionID)
			countRelay("not believed")
			return nil
		}
		c.eid = r.eid
		e, t, w, err := s.place(ctx, tx, c, t.transaction(), nil)
		if err != nil || e == nil {
			return err
		}
		v := &evidence{kind: evidenceInstallation, octets: whole, witness: ByIPA}
		return s.takeInstallation(ctx, tx, c, e, t, w, n.Raw, v)
	})
}
