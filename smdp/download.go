package smdp

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/pki"
	"godwit/rsp"
)

// getBoundProfilePackage binds the profile to the eUICC's one-time key and
// delivers it. That it was delivered is stored before it leaves, by the second
// of the three durable writes of a download: a profile that may be on a chip is
// never given to another. ES9+.GetBoundProfilePackage, SGP.22 v2.5, 5.6.2.
func (l *Listener) getBoundProfilePackage(ctx context.Context, q *rsp.GetBoundProfilePackageRequest) (*rsp.GetBoundProfilePackageResponse, error) {
	m, err := rsp.ParsePrepareDownloadResponse(q.PrepareDownloadResponse)
	if err != nil {
		return nil, malformed("prepareDownloadResponse: %v", err)
	}
	for try := range tries {
		bpp, err := l.deliver(ctx, q.TransactionID, m, try > 0)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &rsp.GetBoundProfilePackageResponse{
			Header: rsp.Succeeded, TransactionID: q.TransactionID, BoundProfilePackage: bpp,
		}, nil
	}
	return nil, fmt.Errorf("run %s: its order does not come to rest", q.TransactionID)
}

func (l *Listener) deliver(ctx context.Context, id rsp.TransactionID, m *rsp.PrepareDownloadResponse, fresh bool) ([]byte, error) {
	r, p, identity, err := l.open(ctx, id, fresh)
	if err != nil {
		return nil, err
	}
	if m.TransactionID != id {
		return nil, rsp.Refuse(rsp.TransactionUnknown, "transactionId is not the one that the eUICC signed")
	}
	if m.Error != 0 {
		if r.state != runAuthenticated {
			return nil, rsp.Refuse(rsp.TransactionUnknown, "the package has been delivered")
		}
		// The order stays as it is, for another try.
		return nil, l.closeWith(ctx, r, rsp.Refuse(rsp.EUICCFailed, "the eUICC refused the download with error %d", m.Error))
	}
	signed, err := m.Verify(r.key, r.signature2)
	if errors.Is(err, rsp.ErrSignature) {
		return nil, rsp.Refuse(rsp.EUICCSignatureInvalid, "euiccSignature2 does not verify")
	}
	if err != nil {
		return nil, malformed("euiccSigned2: %v", err)
	}
	if _, err := pki.ParsePublicKey(identity.Curve(), signed.OneTimeKey); err != nil {
		return nil, rsp.Refuse(rsp.EUICCSignatureInvalid, "the eUICC's one-time key is %v on %s", err, identity.Curve())
	}
	if r.state == runDelivered {
		return l.again(ctx, r, p, identity, signed)
	}
	if p.generation != r.generation {
		return nil, superseded(r, p)
	}
	// Whatever becomes of it, what is remembered of the run is out of date.
	l.recent.forget(id)
	if err := l.checkCode(ctx, r, p, signed); err != nil {
		return nil, err
	}
	if p.expired(l.now()) {
		return nil, l.closeFailed(ctx, r, p, rsp.PointDownload, rsp.Refuse(rsp.OrderExpired, "the order expired at %s",
			db.Time(p.Expires).Format("2006-01-02 15:04 MST")))
	}
	b, err := l.newBond(p, identity, signed.OneTimeKey)
	if err != nil {
		return nil, err
	}
	bpp, err := l.bind(ctx, r, p, identity, b)
	if err != nil {
		return nil, err
	}
	return bpp, l.storeDelivery(ctx, r, p, b)
}

// superseded refuses a run whose claim on its profile is gone: another eUICC
// was faster, or the order has ended.
func superseded(r *run, p *profile) error {
	switch p.State {
	case Downloaded, Installed:
		if p.EID != r.eid {
			return rsp.Refuse(rsp.EIDMismatch, "the profile was delivered to another eUICC")
		}
		return rsp.Refuse(rsp.RebindingRefused, "the profile was delivered in another run of this eUICC")
	}
	return rsp.Refuse(rsp.TransactionUnknown, "the order has ended")
}

// checkCode checks the confirmation code. A wrong one ends the run and counts
// against the order; the count outlives the run. SGP.22 v2.5, 5.6.2.
func (l *Listener) checkCode(ctx context.Context, r *run, p *profile, signed *rsp.EUICCSigned2) error {
	if len(p.codeHash) == 0 {
		return nil
	}
	if signed.HashedCode == nil {
		return l.closeWith(ctx, r, rsp.Refuse(rsp.CodeMissing, "the order needs a confirmation code"))
	}
	hash, err := l.db.Unseal(codeRow(p.ICCID), p.codeHash)
	if err != nil || len(hash) != rsp.HashSize {
		return orElse(err, fmt.Errorf("code of %s has %d octets", p.ICCID, len(hash)))
	}
	if rsp.CheckCode([rsp.HashSize]byte(hash), r.id, signed.HashedCode) {
		return nil
	}
	left := l.cfg.MaxCodeAttempts - p.CodeAttempts - 1
	refusal := rsp.Refuse(rsp.CodeRefused, "the confirmation code is wrong; tries left: %d", left)
	if left <= 0 {
		refusal = rsp.Refuse(rsp.CodeAttemptsExceeded, "the confirmation code was wrong too often")
	}
	err = l.db.Write(ctx, func(tx *db.Tx) error {
		ok, err := changed(tx.ExecContext(ctx, `update profile set code_attempts = code_attempts + 1, updated_at = $1
			where iccid = $2 and generation = $3 and code_attempts = $4`, l.now(), string(p.ICCID), p.generation, p.CodeAttempts))
		if err != nil || !ok {
			return orElse(err, errMoved)
		}
		if left <= 0 {
			if err := l.fail(ctx, tx, p, r.eid, rsp.PointConfirmation, refusal, nil); err != nil {
				return err
			}
		}
		return r.close(ctx, tx)
	})
	return orElse(err, refusal)
}

// closeWith ends the run, leaves the order, and returns the refusal.
func (l *Listener) closeWith(ctx context.Context, r *run, refusal error) error {
	l.recent.forget(r.id)
	return orElse(l.db.Write(ctx, func(tx *db.Tx) error { return r.close(ctx, tx) }), refusal)
}

// closeFailed ends the run and the order.
func (l *Listener) closeFailed(ctx context.Context, r *run, p *profile, point rsp.NotificationPoint, refusal *rsp.Failure) error {
	err := l.db.Write(ctx, func(tx *db.Tx) error {
		if err := l.fail(ctx, tx, p, r.eid, point, refusal, nil); err != nil {
			return err
		}
		return r.close(ctx, tx)
	})
	return orElse(err, refusal)
}

// A bond is what ties a package to one eUICC.
type bond struct {
	otpk   []byte            // otPK.eUICC
	ci     []byte            // of the identity that was used
	secret *pki.AgreementKey // otSK.DP
	keys   *rsp.Keys         // PPK, or nil
	kept   bool              // it is that of an earlier delivery
}

// keptKey returns the eUICC's one-time key that a profile is bound to under an
// identity, or nil. The CI belongs to it: under another, the same session keys
// would protect other content.
func keptKey(p *profile, identity *pki.Identity) []byte {
	if len(p.bindKey) < 1+rsp.PointSize || pki.Curve(p.bindKey[0]) != identity.Curve() ||
		!bytes.Equal(p.bindKey[1+rsp.PointSize:], identity.ID()) {
		return nil
	}
	return p.bindKey[1 : 1+rsp.PointSize]
}

// newBond ties the profile to an eUICC's key. When the eUICC comes back with the
// key of an earlier delivery, our one-time key of that time is used again and
// every segment comes out as before. With another key of the eUICC there is
// another of ours: one secret never meets two keys. Protection keys of the
// profile stay in either case. SGP.22 v2.5, 5.6.2.
func (l *Listener) newBond(p *profile, identity *pki.Identity, otpk []byte) (*bond, error) {
	b := &bond{otpk: otpk, ci: identity.ID()}
	var old []byte
	if len(p.bindSecret) > 0 {
		var err error
		if old, err = l.db.Unseal(bindRow(p.ICCID), p.bindSecret); err != nil {
			return nil, err
		}
	}
	if len(old) > 32 {
		var err error
		if b.keys, err = rsp.ParseKeys(old[32:]); err != nil {
			return nil, fmt.Errorf("protection keys of %s: %w", p.ICCID, err)
		}
	}
	var err error
	if kept := keptKey(p, identity); kept != nil && bytes.Equal(kept, otpk) && len(old) >= 32 {
		b.kept = true
		b.secret, err = pki.ParseAgreementKey(identity.Curve(), old[:32])
		return b, err
	}
	b.secret, err = pki.GenerateAgreementKey(identity.Curve())
	return b, err
}

// bind makes the package. It is built when it is asked for: template, personal
// data and bond give the same octets each time.
func (l *Listener) bind(ctx context.Context, r *run, p *profile, identity *pki.Identity, b *bond) ([]byte, error) {
	t, err := l.loadType(ctx, p.Type)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.ICCID, err)
	}
	personal, err := l.personal(p, t.defaults)
	if err != nil {
		return nil, err
	}
	upp, err := t.template.Personalise(&personal)
	if err != nil {
		return nil, fmt.Errorf("personalise %s: %w", p.ICCID, err)
	}
	if t.protection == PPK && b.keys == nil {
		b.keys = &rsp.Keys{}
		rand.Read(b.keys.Chaining[:])
		rand.Read(b.keys.ENC[:])
		rand.Read(b.keys.MAC[:])
	}
	z, err := b.secret.Agree(b.otpk)
	if err != nil {
		return nil, fmt.Errorf("agree on session keys: %w", err)
	}
	host := []byte(l.cfg.HostID)
	binding := rsp.Binding{
		TransactionID: r.id,
		HostID:        host,
		ServerKey:     b.secret.Public(),
		EUICCKey:      b.otpk,
		Keys:          rsp.DeriveKeys(z[:], host, r.eid),
		OID:           identity.OID(),
		Metadata:      l.metadataOf(t, p.ICCID).AppendStored(nil),
		ProfileKeys:   b.keys,
		Profile:       upp,
	}
	bpp, err := binding.Append(nil, identity.PB.Key)
	if err != nil {
		return nil, fmt.Errorf("bind %s: %w", p.ICCID, err)
	}
	return bpp, nil
}

var deliverSQL = guarded(Deliver, `eid = $4, run = $5, bind_key = $6, bind_secret = $7, generation = generation + 1`, `generation = $8`)

// storeDelivery takes the profile for this run, against all others.
func (l *Listener) storeDelivery(ctx context.Context, r *run, p *profile, b *bond) error {
	bindKey, bindSecret := p.bindKey, p.bindSecret
	if !b.kept {
		bindKey = append(append([]byte{byte(b.secret.Curve())}, b.otpk...), b.ci...)
		plain := b.secret.Bytes()
		if b.keys != nil {
			plain = append(plain, b.keys.Bytes()...)
		}
		bindSecret = l.db.Seal(bindRow(p.ICCID), plain)
	}
	err := l.db.Write(ctx, func(tx *db.Tx) error {
		ok, err := changed(tx.ExecContext(ctx, deliverSQL, string(Downloaded), l.now(), string(p.ICCID),
			string(r.eid), r.id.String(), bindKey, bindSecret, r.generation))
		if err != nil {
			return fmt.Errorf("deliver %s: %w", p.ICCID, err)
		}
		if !ok {
			return errMoved
		}
		ok, err = changed(tx.ExecContext(ctx, `update run set state = 'delivered', otpk = $1
			where issued_at = $2 and transaction_id = $3 and state = 'authenticated'`, b.otpk, r.issued, r.id.String()))
		if err != nil {
			return fmt.Errorf("deliver in run %s: %w", r.id, err)
		}
		if !ok {
			return errMoved
		}
		return l.out.progress(ctx, tx, p, r.eid, rsp.PointDownload, nil, nil)
	})
	if err != nil {
		return err
	}
	p.State, p.EID, p.run, p.bindKey, p.bindSecret = Downloaded, r.eid, r.id.String(), bindKey, bindSecret
	p.generation++
	r.state, r.otpk = runDelivered, b.otpk
	l.recent.put(r, p)
	return nil
}

// again answers a repetition of the call that was answered before, as after a
// lost connection: the same segments, and nothing is stored.
func (l *Listener) again(ctx context.Context, r *run, p *profile, identity *pki.Identity, signed *rsp.EUICCSigned2) ([]byte, error) {
	if p.State != Downloaded || p.run != r.id.String() || !bytes.Equal(signed.OneTimeKey, r.otpk) {
		return nil, rsp.Refuse(rsp.TransactionUnknown, "the package of this transaction has been delivered")
	}
	b, err := l.newBond(p, identity, signed.OneTimeKey)
	if err != nil {
		return nil, err
	}
	if !b.kept {
		return nil, fmt.Errorf("run %s: the bond of %s is gone", r.id, p.ICCID)
	}
	return l.bind(ctx, r, p, identity, b)
}
