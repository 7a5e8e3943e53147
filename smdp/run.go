package smdp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

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
	issued     int64
	created    int64
	expires    int64
}

// insert stores a new run, or returns false when its transaction was used.
func (r *run) insert(ctx context.Context, tx *db.Tx) (bool, error) {
	ok, err := changed(tx.ExecContext(ctx, `insert into run
		(issued_at, transaction_id, state, iccid, eid, generation, ci, euicc_key, signature2, created_at, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (issued_at, transaction_id) do nothing`,
		r.issued, r.id.String(), r.state, string(r.iccid), string(r.eid), r.generation, r.ci, appendKey(nil, r.key), r.signature2, r.created, r.expires))
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

// findRun reads a run with its profile. Identifiers that are none of ours are
// not looked up at all.
func (s *Server) findRun(ctx context.Context, q db.Query, id rsp.TransactionID) (*run, *profile, error) {
	t, ok := s.minter.read(id, s.cfg.Now(), keepRuns)
	if !ok {
		return nil, nil, errNoRun
	}
	r, p := &run{id: id, issued: t.at.Unix()}, &profile{}
	var key []byte
	err := q.QueryRowContext(ctx, `select r.state, r.iccid, r.eid, r.generation, r.ci, r.euicc_key, r.signature2, r.otpk,
		r.created_at, r.expires_at, `+profileColumns+` from run r join profile p on p.iccid = r.iccid
		where r.issued_at = $1 and r.transaction_id = $2`, r.issued, id.String()).Scan(append([]any{
		&r.state, &r.iccid, &r.eid, &r.generation, &r.ci, &key, &r.signature2, &r.otpk,
		&r.created, &r.expires,
	}, p.targets()...)...)
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
	if _, err := tx.ExecContext(ctx, `update run set state = 'closed' where issued_at = $1 and transaction_id = $2`,
		r.issued, r.id.String()); err != nil {
		return fmt.Errorf("close run %s: %w", r.id, err)
	}
	return nil
}

// open reads a run that may still go on, or refuses. Runs of another listener's
// CIs are unknown here. fresh asks for what is stored, not what is remembered.
func (l *Listener) open(ctx context.Context, id rsp.TransactionID, fresh bool) (*run, *profile, *pki.Identity, error) {
	r, p := l.recent.get(id)
	if r == nil || fresh {
		l.recent.forget(id)
		err := l.db.Read(ctx, func(q db.Query) (err error) {
			r, p, err = l.findRun(ctx, q, id)
			return err
		})
		if err != nil && !errors.Is(err, errNoRun) {
			return nil, nil, nil, err
		}
		if err != nil {
			r = nil
		}
	}
	if r != nil && r.state != runClosed && l.now() < r.expires {
		if identity := l.identityNamed(r.ci); identity != nil {
			return r, p, identity, nil
		}
	}
	return nil, nil, nil, rsp.Refuse(rsp.TransactionUnknown, "no such transaction, or it is over")
}

// memory remembers the runs that were stored a moment ago on this node, with
// their profiles, so that the next step need not read them. It is only ever a
// guess: every write is guarded by the profile's generation and the run's state,
// and where the guess was wrong the step is made again on what is stored.
type memory struct {
	mu       sync.Mutex
	new, old map[rsp.TransactionID]remembered
}

type remembered struct {
	run     run
	profile profile
}

// memorySize is how many runs are remembered at least: those of some seconds at
// full load.
const memorySize = 4096

func (m *memory) put(r *run, p *profile) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.new == nil || len(m.new) >= memorySize {
		m.new, m.old = map[rsp.TransactionID]remembered{}, m.new
	}
	m.new[r.id] = remembered{*r, *p}
}

// get returns copies, or nil.
func (m *memory) get(id rsp.TransactionID) (*run, *profile) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.new[id]
	if !ok {
		if found, ok = m.old[id]; !ok {
			return nil, nil
		}
	}
	return &found.run, &found.profile
}

func (m *memory) forget(id rsp.TransactionID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.new, id)
	delete(m.old, id)
}
