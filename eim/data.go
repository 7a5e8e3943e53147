package eim

import (
	"context"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
)

// takeData takes what an IPA tells of itself and of its eUICC, BF52. Nothing in
// it is signed but the certificates, which speak for themselves.
func (s *Server) takeData(ctx context.Context, tx *db.Tx, c *claim, der []byte) error {
	d, err := iot.ParseDataResponse(der)
	if err != nil {
		c.code = undefined
		return nil
	}
	e, t, w, err := s.place(ctx, tx, c, d.TransactionID, isMessage(0x52))
	if err != nil || e == nil {
		return err
	}
	v := &evidence{kind: evidenceData, octets: der, witness: ByIPA}
	if t == nil || w == nil || t.stage != Sent || w.phase != phaseAsk && t.kind != Data {
		// Nobody asks any more. What the eUICC has signed is worth having.
		if err := s.takeResults(ctx, tx, c, d); err != nil {
			return err
		}
		return s.takeNotifications(ctx, tx, c, d.Notifications)
	}
	if w.phase == phaseAsk {
		if err := s.takeAsked(ctx, tx, c, e, t, d); err != nil {
			return err
		}
		return s.takeNotifications(ctx, tx, c, d.Notifications)
	}
	if d.Error != nil {
		message := fmt.Sprintf("the IPA did not answer the questions: error %d", *d.Error)
		if t.own {
			return s.askAgain(ctx, tx, e, t, message, nil)
		}
		if err := s.keep(ctx, tx, c.eid, t.id, v, accepted, ""); err != nil {
			return err
		}
		return s.finish(ctx, tx, t, fail, ending{code: *d.Error, reason: "refused", message: message, evidence: v})
	}
	return s.learn(ctx, tx, c, e, t, d, v)
}

// learn keeps what was told, provided that the certificates are the eUICC's.
func (s *Server) learn(ctx context.Context, tx *db.Tx, c *claim, e *euicc, t *task, d *iot.DataResponse, v *evidence) error {
	trouble := c.verifier.believe(e, d)
	if trouble == nil && len(e.agentKey) == 0 && !e.contacted && len(d.EUICCCertificate) == 0 {
		trouble = errors.New("the IPA sent no certificate of the eUICC")
	}
	if trouble != nil {
		if err := s.keep(ctx, tx, c.eid, t.id, v, refused, trouble.Error()); err != nil {
			return err
		}
		if t.own {
			return s.askAgain(ctx, tx, e, t, trouble.Error(), s.otherCI(d, t))
		}
		return s.finish(ctx, tx, t, fail, ending{code: undefined, reason: "refused", message: trouble.Error(), evidence: v})
	}
	var features int64
	if d.Capabilities != nil {
		features = int64(d.Capabilities.Features)
	}
	token := e.token
	if d.Token != nil {
		token.Int64, token.Valid = *d.Token, true
	}
	if _, err := tx.ExecContext(ctx, `update eim_euicc set contacted = true, trouble = '', token = $2,
		certificate = coalesce($3, certificate), eum_certificate = coalesce($4, eum_certificate),
		info1 = coalesce($5, info1), info2 = coalesce($6, info2), features = $7 where eid = $1`,
		string(e.eid), token, orNull(d.EUICCCertificate), orNull(d.EUMCertificate), orNull(d.Info1), orNull(d.Info2), features); err != nil {
		return fmt.Errorf("keep what %s is: %w", e.eid, err)
	}
	if err := s.keep(ctx, tx, c.eid, t.id, v, accepted, ""); err != nil {
		return err
	}
	if err := s.finish(ctx, tx, t, succeed, ending{reason: "complete", evidence: v}); err != nil {
		return err
	}
	return s.takeNotifications(ctx, tx, c, d.Notifications)
}

// orNull keeps an absent field from being stored as an empty one.
func orNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// believe checks the certificates in an answer, if there are any.
func (v *verifier) believe(e *euicc, d *iot.DataResponse) error {
	if len(d.EUICCCertificate) == 0 {
		return nil
	}
	chain, err := v.chain(d.EUMCertificate, d.EUICCCertificate)
	if err != nil {
		return err
	}
	if chain.EID != e.eid {
		return fmt.Errorf("the certificate is that of EID %s", chain.EID)
	}
	return nil
}

// otherCI finds the CI under which to ask an eUICC of several CIs for its
// certificates, when those that it sent by itself are of one that is not trusted
// here. nil is none.
func (s *Server) otherCI(d *iot.DataResponse, t *task) []byte {
	if t.spec.CI != nil || len(d.Info1) == 0 {
		return nil
	}
	info, err := rsp.ParseEUICCInfo1(d.Info1)
	if err != nil {
		return nil
	}
	var sent []byte
	if eum, err := pki.ParseCertificate(d.EUMCertificate); err == nil {
		sent = eum.AuthorityKeyID
	}
	for _, id := range info.Signing {
		if string(id) != string(sent) && s.cfg.Roots.Lookup(id) != nil {
			return id
		}
	}
	return nil
}

// askAgain puts the first questions anew after an answer that leads nowhere: at
// once where the next question differs, and otherwise after a while, or when a
// task is queued. What waited for the answer has failed then: nobody is to wait
// for an eUICC that cannot be believed.
func (s *Server) askAgain(ctx context.Context, tx *db.Tx, e *euicc, t *task, trouble string, ci []byte) error {
	if err := s.setTrouble(ctx, tx, e, trouble); err != nil {
		return err
	}
	if err := s.finish(ctx, tx, t, fail, ending{code: undefined, reason: "refused", message: trouble}); err != nil {
		return err
	}
	due := s.now()
	if ci == nil && t.attempt%2 == 0 {
		due += s.cfg.ContactRetry.Microseconds()
		if err := s.disappoint(ctx, tx, e.eid, trouble); err != nil {
			return err
		}
	}
	return s.ask(ctx, tx, e.eid, due, ci, t.attempt)
}

// disappoint fails all that others have queued for an eUICC.
func (s *Server) disappoint(ctx context.Context, tx *db.Tx, eid ident.EID, trouble string) error {
	for {
		t, err := s.readTask(ctx, tx, `eid = $1 and stage = 'queued' and not own order by position limit 1`, string(eid))
		if err != nil || t == nil {
			return err
		}
		if err := s.finish(ctx, tx, t, fail, ending{code: undefined, reason: "refused", message: trouble}); err != nil {
			return err
		}
	}
}

// takeAsked takes the results that an eUICC still holds, for a package that it
// says it has executed.
func (s *Server) takeAsked(ctx context.Context, tx *db.Tx, c *claim, e *euicc, t *task, d *iot.DataResponse) error {
	if err := s.takeResults(ctx, tx, c, d); err != nil {
		return err
	}
	now, err := s.readTask(ctx, tx, `id = $1`, t.id)
	if err != nil || now == nil || now.stage != Sent {
		return err
	}
	return s.unresolved(ctx, tx, e, t)
}

// takeResults takes the package results in an answer.
func (s *Server) takeResults(ctx context.Context, tx *db.Tx, c *claim, d *iot.DataResponse) error {
	for _, der := range d.Results {
		if err := s.takePackage(ctx, tx, c, der); err != nil {
			return err
		}
	}
	c.code = 0 // one that cannot be read does not spoil the others
	return nil
}

// unresolved ends a task that the eUICC calls a repetition and holds no result
// of. Its counter is ahead of ours, perhaps because the database is an older copy;
// whether the package was ever executed nobody knows, so it is not sent again.
func (s *Server) unresolved(ctx context.Context, tx *db.Tx, e *euicc, t *task) error {
	// Each time further: a counter that is far ahead is caught up with soon.
	ahead := min(2*e.counter+1000, iot.MaxCounter-1000)
	if _, err := tx.ExecContext(ctx, `update eim_euicc set counter = $2 where eid = $1 and counter < $2`, string(e.eid), ahead); err != nil {
		return fmt.Errorf("store counter of %s: %w", e.eid, err)
	}
	if err := s.finish(ctx, tx, t, lose, ending{
		code: iot.PackageReplay, reason: "lost",
		message: "the eUICC takes the package for a repetition and holds no result of it",
	}); err != nil {
		return err
	}
	return s.wantList(ctx, tx, e.eid, s.now())
}
