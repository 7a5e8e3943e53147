package device

import (
	"context"
	"fmt"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/pki"
)

// An EIDPatch puts an eSIM into a device.
type EIDPatch struct {
	EID      ident.EID
	Kind     string // "iot" or "consumer"; empty: as it was, or iot
	AgentKey []byte // SubjectPublicKeyInfo; nil: as it was
}

// ESIMKinds lists the kinds of eSIMs.
var ESIMKinds = []string{"iot", "consumer"}

const selectESIM = `select eid, device_id, account_sid, kind, agent_key, reported_at, seen_at, created_at, updated_at from esim e`

func scanESIM(r db.Row, more ...any) (e ESIM, err error) {
	var reported, seen, created, updated int64
	err = r.Scan(append([]any{&e.EID, &e.Device, &e.Account, &e.Kind, &e.AgentKey, &reported, &seen, &created, &updated}, more...)...)
	e.ReportedAt, e.SeenAt, e.CreatedAt, e.UpdatedAt = moment(reported), moment(seen), moment(created), later(moment(updated), moment(created))
	return e, err
}

// holdESIM keeps reports of an eSIM, which hold it too, from being taken over
// beside this transaction: each of the two would miss what the other writes, and
// an operation would wait for a report that is there. The eSIM may be gone.
func holdESIM(ctx context.Context, tx *db.Tx, eid ident.EID) error {
	_, err := esimTable.read(ctx, tx, string(eid), tx.ForUpdate())
	if err != nil && !db.None(err) {
		return fmt.Errorf("read eSIM %s: %w", eid, err)
	}
	return nil
}

// ESIM returns an eSIM of an account.
func (s *Store) ESIM(ctx context.Context, account string, eid ident.EID) (ESIM, error) {
	return esimTable.get(ctx, s.DB, account, string(eid))
}

// FindESIM is [Store.ESIM] in a transaction.
func (s *Store) FindESIM(ctx context.Context, q db.Query, account string, eid ident.EID) (ESIM, error) {
	return esimTable.find(ctx, q, account, string(eid), "")
}

// EIDs returns the eSIMs of a device in the order in which they came.
func EIDs(ctx context.Context, q db.Query, id ID) ([]ident.EID, error) {
	eids, err := db.All(ctx, q, db.Only[ident.EID],
		`select eid from esim where device_id = $1 order by created_at`, string(id))
	if err != nil {
		return nil, fmt.Errorf("read eSIMs of %s: %w", id, err)
	}
	return eids, nil
}

// checkESIM refuses an eSIM that cannot be put into a device.
func (s *Store) checkESIM(ctx context.Context, tx *db.Tx, account string, id ID, p EIDPatch) error {
	if err := ident.EIDForm(string(p.EID)); err != nil {
		return fault.Field("eids", "%v", err)
	}
	if p.Kind != "" && p.Kind != "iot" && p.Kind != "consumer" {
		return fault.Field("eids", "the kind of an eSIM is iot or consumer, not %.40q", p.Kind)
	}
	if p.AgentKey != nil {
		if p.Kind == "iot" {
			return fault.Field("eids", "eSIM %s of kind iot signs with its own key, and has no agent key", p.EID)
		}
		if _, err := pki.ParsePublicKeyInfo(p.AgentKey); err != nil { // as the eIM reads it: nothing is refused after this
			return fault.Field("eids", "the agent key of %s must be a SubjectPublicKeyInfo with a key on P-256 or brainpoolP256r1: %v", p.EID, err)
		}
	}
	e, err := esimTable.read(ctx, tx, string(p.EID), tx.ForUpdate())
	switch {
	case db.None(err):
		return nil
	case err != nil:
		return fmt.Errorf("read eSIM %s: %w", p.EID, err)
	case e.Account != account:
		return fault.New(fault.Conflict, "eSIM %s belongs to another account", p.EID)
	case e.Device == id:
		return nil
	}
	return s.idle(ctx, tx, p.EID) // it may move, but not with work on it
}

// putESIM puts an eSIM into a device that exists. One that is in another device
// moves, and its profiles with it.
func (s *Store) putESIM(ctx context.Context, tx *db.Tx, by By, id ID, p EIDPatch) error {
	if p.Kind == "" && p.AgentKey != nil {
		p.Kind = "consumer"
	}
	e, err := esimTable.read(ctx, tx, string(p.EID), tx.ForUpdate())
	if err != nil && !db.None(err) {
		return fmt.Errorf("read eSIM %s: %w", p.EID, err)
	}
	if db.None(err) {
		if p.Kind == "" {
			p.Kind = "iot"
		}
		now := s.now()
		if _, err := s.insert(ctx, tx, "eSIM", `insert into esim (eid, device_id, account_sid, kind, agent_key, reported_at, seen_at, updated_at, created_at)
			values ($1, $2, $3, $4, $5, 0, 0, $6, $7) on conflict do nothing`,
			string(p.EID), string(id), by.Account, p.Kind, p.AgentKey, now.UnixMicro()); err != nil {
			return err
		}
		if err := s.record(ctx, tx, event.Event{Kind: "esim.registered", Subject: string(p.EID), Account: by.Account, Data: by.data(map[string]any{"device_id": id, "kind": p.Kind})}); err != nil {
			return err
		}
		return s.EIM.Register(ctx, tx, EUICC{EID: p.EID, AgentKey: p.AgentKey})
	}
	moved, was := e.Device != id, e
	if p.Kind != "" {
		e.Kind = p.Kind
	}
	if p.AgentKey != nil {
		e.AgentKey = p.AgentKey
	}
	if e.Kind == "iot" {
		e.AgentKey = nil // it signs itself, also if an agent did so for it before
	}
	if !moved && e.Kind == was.Kind && string(e.AgentKey) == string(was.AgentKey) {
		return nil
	}
	if _, err := exec(ctx, tx, "store eSIM", `update esim set device_id = $2, kind = $3, agent_key = $4, updated_at = $5 where eid = $1`,
		string(e.EID), string(id), e.Kind, e.AgentKey, later(s.now(), e.UpdatedAt).UnixMicro()); err != nil {
		return err
	}
	if moved {
		if _, err := exec(ctx, tx, "move profiles", `update device_profile set device_id = $2 where eid = $1`, string(e.EID), string(id)); err != nil {
			return err
		}
		if err := s.recordProfiles(ctx, tx, "moved", e.EID); err != nil {
			return err
		}
	}
	kind := "esim.updated"
	if moved {
		kind = "esim.moved"
	}
	if err := s.record(ctx, tx, event.Event{Kind: kind, Subject: string(e.EID), Account: e.Account, Data: by.data(map[string]any{"from": e.Device, "device_id": id, "kind": e.Kind})}); err != nil {
		return err
	}
	return s.EIM.Register(ctx, tx, EUICC{EID: e.EID, AgentKey: e.AgentKey})
}

// DeleteESIM takes an eSIM out of its device, as [Store.DeleteDevice] does.
func (s *Store) DeleteESIM(ctx context.Context, by By, eid ident.EID) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		if _, err := esimTable.find(ctx, tx, by.Account, string(eid), tx.ForUpdate()); err != nil {
			return err
		}
		return s.dropESIM(ctx, tx, by, eid, "The eSIM was deleted")
	})
}

// dropESIM ends what runs on an eSIM and forgets it. why is for people.
func (s *Store) dropESIM(ctx context.Context, tx *db.Tx, by By, eid ident.EID, why string) error {
	e, err := esimTable.read(ctx, tx, string(eid), tx.ForUpdate())
	if err != nil {
		return fmt.Errorf("read eSIM %s: %w", eid, err)
	}
	o, err := runningOperation(ctx, tx, eid)
	if err == nil {
		err = s.endOperation(ctx, tx, &o, OpFailed, CodeLost, why, proof{})
	}
	if err != nil && !db.None(err) {
		return err
	}
	if err := s.dropTx(ctx, tx, eid, why); err != nil {
		return err
	}
	if err := s.EIM.Forget(ctx, tx, eid); err != nil {
		return err
	}
	if err := s.recordProfiles(ctx, tx, "removed", eid); err != nil {
		return err
	}
	for _, statement := range []string{`delete from device_profile where eid = $1`, `delete from esim where eid = $1`} {
		if _, err := exec(ctx, tx, "delete eSIM", statement, string(eid)); err != nil {
			return err
		}
	}
	return s.record(ctx, tx, event.Event{Kind: "esim.deleted", Subject: string(eid), Account: e.Account, Data: by.data(map[string]any{"device_id": e.Device})})
}

// dropTx ends the transaction that runs on an eSIM which goes. What the eIM can
// take back no device has had: its activation code is not used up.
func (s *Store) dropTx(ctx context.Context, tx *db.Tx, eid ident.EID, why string) error {
	t, err := runningTransaction(ctx, tx, eid)
	if db.None(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read transaction of %s: %w", eid, err)
	}
	back, err := s.EIM.Cancel(ctx, tx, taskID(t.ID))
	if err != nil {
		return err
	}
	return s.moveTx(ctx, tx, &t, TxUnknown, CodeLost, why, proof{Untouched: back})
}
