package smdp

import (
	"context"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/rsp"
)

var postponeSQL = guarded(Postpone, "", "generation = $4")

// cancelSession ends a run that the user, the LPA or the eUICC gave up. For now,
// with reasons 1 and 2: the order stays. For good otherwise: the order ends.
// ES9+.CancelSession, SGP.22 v2.5, 5.6.5.
func (l *Listener) cancelSession(ctx context.Context, q *rsp.CancelSessionES9Request) (*rsp.CancelSessionES9Response, error) {
	m, err := rsp.ParseCancelSessionResponse(q.CancelSessionResponse)
	if err != nil {
		return nil, malformed("cancelSessionResponse: %v", err)
	}
	for range tries {
		err := l.cancel(ctx, q.TransactionID, m)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &rsp.CancelSessionES9Response{Header: rsp.Succeeded}, nil
	}
	return nil, fmt.Errorf("run %s: its order does not come to rest", q.TransactionID)
}

func (l *Listener) cancel(ctx context.Context, id rsp.TransactionID, m *rsp.CancelSessionResponse) error {
	r, p, identity, err := l.open(ctx, id, true)
	if err != nil {
		return err
	}
	if m.Error != 0 {
		return rsp.Refuse(rsp.TransactionUnknown, "the eUICC did not sign: error %d", m.Error)
	}
	if m.TransactionID != id {
		return rsp.Refuse(rsp.TransactionUnknown, "transactionId is not the one that the eUICC signed")
	}
	signed, err := m.Verify(r.key)
	if errors.Is(err, rsp.ErrSignature) {
		return rsp.Refuse(rsp.EUICCSignatureInvalid, "euiccCancelSessionSignature does not verify")
	}
	if err != nil {
		return malformed("euiccCancelSessionSigned: %v", err)
	}
	if signed.OID != identity.OID() {
		return rsp.Refuse(rsp.OIDMismatch, "smdpOid %s is not this server's", signed.OID)
	}
	// A run that has lost its profile to another may be cancelled, but no longer
	// has a say in what becomes of the profile.
	claims := p.generation == r.generation
	if r.state == runDelivered {
		claims = p.State == Downloaded && p.run == id.String()
	}
	return l.db.Write(ctx, func(tx *db.Tx) error {
		if err := r.close(ctx, tx); err != nil || !claims {
			return err
		}
		if !signed.Reason.Temporary() {
			point := rsp.PointDownload
			if r.state == runDelivered {
				point = rsp.PointInstallation
			}
			return l.fail(ctx, tx, p, r.eid, point, rsp.Refuse(signed.Reason.Status(), "the download was cancelled with reason %d", signed.Reason), nil)
		}
		ok, err := changed(tx.ExecContext(ctx, postponeSQL, string(Released), l.now(), string(p.ICCID), p.generation))
		if err != nil {
			return fmt.Errorf("postpone %s: %w", p.ICCID, err)
		}
		if !ok {
			return errMoved
		}
		return nil
	})
}
