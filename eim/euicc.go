package eim

import (
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
)

// An EUICC is one that the eIM is to serve.
type EUICC struct {
	EID ident.EID
	// AgentKey is a SubjectPublicKeyInfo on P-256. Where it is set, results are
	// signed by the agent with it, because the eUICC is one of SGP.22 that
	// cannot.
	AgentKey []byte
}

// euicc is a row of eim_euicc.
type euicc struct {
	eid         ident.EID
	active      bool
	agentKey    []byte
	signingKey  string
	token       sql.NullInt64
	counter     int64
	certificate []byte
	eum         []byte
	info1       []byte
	contacted   bool
	trouble     string
	listed      int64
	listDue     int64
}

// tokenValue is the association token as signatures take it.
func (e *euicc) tokenValue() *int64 {
	if !e.token.Valid {
		return nil
	}
	return &e.token.Int64
}

// lock reads an eUICC for a transaction that will change what belongs to it:
// others wait, on all nodes. nil is none, or one that was forgotten.
func lock(ctx context.Context, tx *db.Tx, eid ident.EID) (*euicc, error) {
	return readEUICC(ctx, tx, eid, tx.ForUpdate())
}

func readEUICC(ctx context.Context, q db.Query, eid ident.EID, held string) (*euicc, error) {
	e := &euicc{eid: eid}
	err := q.QueryRowContext(ctx, `select active, agent_key, signing_key, token, counter, certificate, eum_certificate, info1, contacted, trouble,
		listed_at, list_due_at from eim_euicc where eid = $1`+held, string(eid)).Scan(&e.active, &e.agentKey, &e.signingKey, &e.token,
		&e.counter, &e.certificate, &e.eum, &e.info1, &e.contacted, &e.trouble, &e.listed, &e.listDue)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !e.active {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read eUICC %s: %w", eid, err)
	}
	return e, nil
}

// parts are what an IPA leaves out of a compact notification.
func (e *euicc) parts() iot.NotificationParts {
	return iot.NotificationParts{EUICCCertificate: e.certificate, EUMCertificate: e.eum}
}

// key is what signs the results, and whose it is.
func (e *euicc) key() (*pki.PublicKey, string, error) {
	if len(e.agentKey) > 0 {
		key, err := pki.ParsePublicKeyInfo(e.agentKey)
		return key, ByAgent, err
	}
	key, err := e.chipKey()
	return key, ByEUICC, err
}

// chipKey is the eUICC's own key; nil where its certificate is not known.
func (e *euicc) chipKey() (*pki.PublicKey, error) {
	if len(e.certificate) == 0 {
		return nil, nil
	}
	c, err := pki.ParseCertificate(e.certificate)
	if err != nil {
		return nil, fmt.Errorf("read certificate of %s: %w", e.eid, err)
	}
	return c.PublicKey, nil
}

// Register has the eIM serve an eUICC. For one that was served before the
// counter goes on, for the eUICC remembers it. At first contact the eIM asks for
// certificates and for the profiles.
func (s *Server) Register(ctx context.Context, tx *db.Tx, e EUICC) error {
	if err := ident.EIDForm(string(e.EID)); err != nil {
		return fault.Field("EID", "%v", err)
	}
	if len(e.AgentKey) > 0 {
		if _, err := pki.ParsePublicKeyInfo(e.AgentKey); err != nil {
			return fault.Field("AgentKey", "%v", err)
		}
	}
	newest, err := newestKey(ctx, tx)
	if err != nil {
		return err
	}
	known, err := lock(ctx, tx, e.EID)
	if err != nil {
		return err
	}
	if known != nil && string(known.agentKey) == string(e.AgentKey) {
		return nil
	}
	now := s.now()
	if _, err := tx.ExecContext(ctx, `insert into eim_euicc (eid, active, agent_key, signing_key, counter, contacted, list_due_at, created_at)
		values ($1, true, $2, $3, 0, false, $4, $5)
		on conflict (eid) do update set active = true, agent_key = $2, contacted = false, trouble = '', list_due_at = $4`,
		string(e.EID), e.AgentKey, newest, now+s.cfg.Refresh.Microseconds(), now); err != nil {
		return fmt.Errorf("register EID %s: %w", e.EID, err)
	}
	if err := s.ask(ctx, tx, e.EID, now, nil, 0); err != nil {
		return err
	}
	return s.wantList(ctx, tx, e.EID, now)
}

// SignsItself reports whether an eUICC has proved that it signs its results
// itself, and still does.
func (s *Server) SignsItself(ctx context.Context, q db.Query, eid ident.EID) (is bool, err error) {
	err = q.QueryRowContext(ctx, `select active and contacted and agent_key is null from eim_euicc where eid = $1`, string(eid)).Scan(&is)
	if err != nil && !db.None(err) {
		return false, fmt.Errorf("read eUICC %s: %w", eid, err)
	}
	return is, nil
}

// Forget has the eIM serve an eUICC no more: its polls are answered with
// eidNotFound. What waits for it is cancelled without an outcome; evidence stays.
func (s *Server) Forget(ctx context.Context, tx *db.Tx, eid ident.EID) error {
	e, err := lock(ctx, tx, eid)
	if err != nil || e == nil {
		return err
	}
	const ended = `, reason = 'cancelled', message = 'the eUICC was taken from the eIM', ended_at = $2 `
	for _, step := range []struct {
		statement string
		args      []any
	}{
		{`update eim_euicc set active = false where eid = $1`, []any{string(eid)}},
		// The one that is sent by its package: there is no index by EID for it.
		{`update eim_task set stage = 'lost'` + ended + `where id = (select task from eim_package where eid = $1) and stage = 'sent'`, []any{string(eid), s.now()}},
		{`update eim_task set stage = 'cancelled'` + ended + `where eid = $1 and stage = 'queued'`, []any{string(eid), s.now()}},
		{`delete from eim_package where eid = $1`, []any{string(eid)}},
	} {
		if _, err := tx.ExecContext(ctx, step.statement, step.args...); err != nil {
			return fmt.Errorf("forget EID %s: %w", eid, err)
		}
	}
	return s.changes(ctx, tx, eid)
}

// Initial returns what an IPA is to give to the eUICC (AddInitialEim) so that it
// takes packages of this eIM. Packages of an earlier association are void: their
// counters are not above the one in here.
func (s *Server) Initial(ctx context.Context, q db.Query, eid ident.EID) (iot.EimConfiguration, error) {
	var key string
	var counter int64
	err := q.QueryRowContext(ctx, `select signing_key, counter from eim_euicc where eid = $1 and active`, string(eid)).Scan(&key, &counter)
	if errors.Is(err, sql.ErrNoRows) {
		return iot.EimConfiguration{}, fault.New(fault.NotFound, "EID %s is not registered at the eIM", eid)
	}
	if err != nil {
		return iot.EimConfiguration{}, fmt.Errorf("read eUICC %s: %w", eid, err)
	}
	public, err := s.publicKey(ctx, q, key)
	if err != nil {
		return iot.EimConfiguration{}, err
	}
	c := iot.EimConfiguration{
		ID: s.cfg.ID, FQDN: s.cfg.FQDN, IDType: idType(s.cfg.ID, s.cfg.FQDN), Counter: &counter, PublicKey: public,
		Protocols: iot.RetrieveHTTPS, Indirect: true,
	}
	if len(s.cfg.TLSTrust) > 0 {
		if _, err := x509.ParsePKIXPublicKey(s.cfg.TLSTrust); err == nil {
			c.TLSPublicKey = s.cfg.TLSTrust
		} else {
			c.TLSCertificate = s.cfg.TLSTrust
		}
	}
	return c, nil
}

// idType is eimIdType: an OID, a domain name or something of our own.
func idType(id, fqdn string) int64 {
	if _, err := ident.ParseOID(id); err == nil {
		return iot.EimIDOID
	}
	if id == fqdn {
		return iot.EimIDFQDN
	}
	return iot.EimIDProprietary
}

// ask queues the first questions. tries counts those that went before.
func (s *Server) ask(ctx context.Context, tx *db.Tx, eid ident.EID, due int64, ci []byte, tries int64) error {
	t, err := s.readTask(ctx, tx, `eid = $1 and stage = 'queued' and urgency = $2 limit 1`, string(eid), int64(urgencyContact))
	if err != nil || t != nil {
		return err
	}
	return s.insert(ctx, tx, &task{
		id: newTaskID(), eid: eid, kind: Data, urgency: urgencyContact, own: true, spec: spec{CI: ci}, attempt: tries, due: due, until: never,
	})
}

// wantList queues a listProfileInfo that goes out before all that waits, unless
// one waits already.
func (s *Server) wantList(ctx context.Context, tx *db.Tx, eid ident.EID, due int64) error {
	moved, err := changed(tx.ExecContext(ctx, `update eim_task set due_at = case when due_at < $2 then due_at else $2 end
		where eid = $1 and stage = 'queued' and own and kind = 'list'`, string(eid), due))
	if err != nil {
		return fmt.Errorf("ask %s for its profiles: %w", eid, err)
	}
	if moved {
		return s.changes(ctx, tx, eid)
	}
	return s.insert(ctx, tx, &task{id: newTaskID(), eid: eid, kind: List, urgency: urgencyList, own: true, due: due, until: never})
}
