package smdp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// Where a run stands.
const (
	runAuthenticated = "authenticated" // the eUICC has proved itself and was offered a profile
	runDelivered     = "delivered"     // it has got the package
	runClosed        = "closed"        // nothing follows any more
)

// A run is one authenticated download.
type run struct {
	id         rsp.TransactionID
	state      string
	iccid      ident.ICCID
	eid        ident.EID
	generation int64 // of the profile when the run began, or when it was delivered
	ci         string
	key        *pki.PublicKey // of the eUICC
	signature2 []byte
	otpk       []byte
	created    int64
	expires    int64
}

// insert stores a new run, or returns false when its transaction was used.
func (r *run) insert(ctx context.Context, tx *db.Tx) (bool, error) {
	ok, err := changed(tx.ExecContext(ctx, `insert into run
		(transaction_id, state, iccid, eid, generation, ci, euicc_key, signature2, created_at, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (transaction_id) do nothing`,
		r.id.String(), r.state, string(r.iccid), string(r.eid), r.generation, r.ci, appendKey(nil, r.key), r.signature2, r.created, r.expires))
	if err != nil {
		return false, fmt.Errorf("store run %s: %w", r.id, err)
	}
	return ok, nil
}

// appendKey and readKey keep a public key with its curve.
func appendKey(dst []byte, k *pki.PublicKey) []byte {
	return append(append(dst, byte(k.Curve())), k.Bytes()...)
}

func readKey(b []byte) (*pki.PublicKey, error) {
	if len(b) == 0 {
		return nil, pki.ErrPoint
	}
	return pki.ParsePublicKey(pki.Curve(b[0]), b[1:])
}

// errNoRun says that no run has a transaction identifier. It never leaves the
// package.
var errNoRun = errors.New("no such run")

// findRun reads a run with its profile.
func findRun(ctx context.Context, q db.Query, id rsp.TransactionID) (*run, *profile, error) {
	r, p := &run{id: id}, &profile{}
	var key []byte
	err := q.QueryRowContext(ctx, `select r.state, r.iccid, r.eid, r.generation, r.ci, r.euicc_key, r.signature2, r.otpk,
		r.created_at, r.expires_at, `+profileColumns+` from run r join profile p on p.iccid = r.iccid where r.transaction_id = $1`,
		id.String()).Scan(append([]any{&r.state, &r.iccid, &r.eid, &r.generation, &r.ci, &key, &r.signature2, &r.otpk,
		&r.created, &r.expires}, p.targets()...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, errNoRun
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read run %s: %w", id, err)
	}
	if r.key, err = readKey(key); err != nil {
		return nil, nil, fmt.Errorf("read run %s: eUICC key: %w", id, err)
	}
	return r, p, nil
}

// close ends a run in a transaction.
func (r *run) close(ctx context.Context, tx *db.Tx) error {
	if _, err := tx.ExecContext(ctx, `update run set state = 'closed' where transaction_id = $1`, r.id.String()); err != nil {
		return fmt.Errorf("close run %s: %w", r.id, err)
	}
	return nil
}

// open reads a run that may still go on, or refuses. Runs of another listener's
// CIs are unknown here.
func (l *Listener) open(ctx context.Context, id rsp.TransactionID) (*run, *profile, *pki.Identity, error) {
	var r *run
	var p *profile
	err := l.db.Read(ctx, func(q db.Query) (err error) {
		r, p, err = findRun(ctx, q, id)
		return err
	})
	if err != nil && !errors.Is(err, errNoRun) {
		return nil, nil, nil, err
	}
	if err == nil && r.state != runClosed && l.now() < r.expires {
		if identity := l.identityNamed(r.ci); identity != nil {
			return r, p, identity, nil
		}
	}
	return nil, nil, nil, rsp.Refuse(rsp.TransactionUnknown, "no such transaction, or it is over")
}
