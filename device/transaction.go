package device

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// An ActionRequest asks for one action on one eSIM.
type ActionRequest struct {
	Action           Action
	Device           ID
	EID              ident.EID
	ICCID            ident.ICCID // required but for a download with its own activation code
	ActivationCode   db.Secret   // of a download, where the code is not registered
	ConfirmationCode db.Secret
}

// A proof is what shows that something happened.
type proof struct {
	Evidence     []byte
	EvidenceKind string
	Witness      string
	Code         int64
	Untouched    bool // the device never had the request
}

const selectTx = `select tx, account_sid, action, status, device_id, eid, iccid, message_code, message, operation, code_iccid, code_carrier,
	reached, created_by, source, deadline, created_at, updated_at from esim_transaction t`

func scanTx(r db.Row, more ...any) (t Transaction, err error) {
	var deadline, created, updated int64
	err = r.Scan(append([]any{
		&t.ID, &t.Account, &t.Action, &t.Status, &t.Device, &t.EID, &t.ICCID, &t.MessageCode, &t.Message, &t.Operation, &t.codeICCID, &t.codeCarrier,
		&t.reached, &t.CreatedBy, &t.Source, &deadline, &created, &updated,
	}, more...)...)
	t.deadline, t.CreatedAt, t.UpdatedAt = moment(deadline), moment(created), later(moment(updated), moment(created))
	return t, err
}

func runningTransaction(ctx context.Context, tx *db.Tx, eid ident.EID) (Transaction, error) {
	return txTable.one(ctx, tx, `where eid = $1 and status = 'in_progress'`+tx.ForUpdate(), string(eid))
}

// Transaction returns a transaction of an account.
func (s *Store) Transaction(ctx context.Context, account, id string) (Transaction, error) {
	return txTable.get(ctx, s.DB, account, id)
}

// Act starts one action on one eSIM and returns its transaction, which is over
// at once where nothing is to be done.
func (s *Store) Act(ctx context.Context, by By, r ActionRequest) (t Transaction, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		t, err = s.act(ctx, tx, by, r)
		return err
	})
	return t, err
}

func (s *Store) act(ctx context.Context, tx *db.Tx, by By, r ActionRequest) (Transaction, error) {
	t := Transaction{Account: by.Account, Action: r.Action, Device: r.Device, EID: r.EID, ICCID: r.ICCID, CreatedBy: by.User, Source: by.Source}
	if err := s.target(ctx, tx, by.Account, r.Device, r.EID); err != nil {
		return t, err
	}
	if r.Action == Download {
		return s.actDownload(ctx, tx, t, r)
	}
	if r.ICCID == "" {
		return t, fault.Field("iccid", "is required: which profile to %s", r.Action)
	}
	p, err := profileOn(ctx, tx, r.EID, r.ICCID)
	if db.None(err) && r.Action != Disable { // of which nobody can say whether it is to be done
		p, err = s.installedOn(ctx, tx, by.Account, r.EID, r.ICCID)
	}
	if db.None(err) {
		return t, fault.New(fault.NotFound, "profile %s is not on eSIM %s", r.ICCID, r.EID)
	}
	if err != nil {
		return t, err
	}
	t.ICCID = p.ICCID
	if err := s.idle(ctx, tx, r.EID); err != nil {
		return t, err
	}
	switch {
	case r.Action == Delete && p.Active:
		return t, fault.New(fault.Conflict, "profile %s is active: disable it first, or enable another", p.ICCID)
	case r.Action == Delete && p.Type == bootstrap:
		return t, fault.New(fault.Conflict, "profile %s is the bootstrap profile: without it the device could not be reached", p.ICCID)
	case r.Action == Enable && p.Active, r.Action == Disable && !p.Active:
		return t, s.done(ctx, tx, &t)
	case r.Action == Disable:
		if err := s.replaceable(ctx, tx, p); err != nil {
			return t, err
		}
	}
	return t, s.startTx(ctx, tx, &t, secrets{})
}

// replaceable refuses to disable a profile after which the device would have
// none.
func (s *Store) replaceable(ctx context.Context, tx *db.Tx, p Profile) error {
	if p.Type == bootstrap {
		return fault.New(fault.Conflict, "profile %s is the bootstrap profile and the active one: enable another instead", p.ICCID)
	}
	var other string
	err := tx.QueryRowContext(ctx, `select iccid from device_profile where eid = $1 and iccid <> $2 and type = 'bootstrap' limit 1`, string(p.EID), string(p.ICCID)).Scan(&other)
	if db.None(err) {
		return fault.New(fault.Conflict, "profile %s is the only active one and no bootstrap profile can take over: enable another instead", p.ICCID)
	}
	if err != nil {
		return fmt.Errorf("look for a bootstrap profile on %s: %w", p.EID, err)
	}
	return nil
}

func (s *Store) actDownload(ctx context.Context, tx *db.Tx, t Transaction, r ActionRequest) (Transaction, error) {
	if len(r.ActivationCode) > 0 {
		sec, err := parseSecret(r.ActivationCode, r.ConfirmationCode)
		if err != nil {
			return t, err
		}
		if err := s.idle(ctx, tx, r.EID); err != nil {
			return t, err
		}
		return t, s.startTx(ctx, tx, &t, sec)
	}
	if r.ICCID == "" {
		return t, fault.Field("iccid", "is required, or an activation_code: what to download")
	}
	c, err := codeOf(ctx, tx, t.Account, r.ICCID)
	if db.None(err) {
		return t, fault.New(fault.NotFound, "no activation code is registered for %s; send one along as activation_code", r.ICCID)
	}
	if err != nil {
		return t, err
	}
	if err := s.idle(ctx, tx, r.EID); err != nil {
		return t, err
	}
	t.ICCID = c.ICCID
	if p, err := profileOn(ctx, tx, r.EID, r.ICCID); err == nil {
		t.ICCID = p.ICCID
		return t, s.done(ctx, tx, &t)
	} else if !db.None(err) {
		return t, err
	}
	if c.Status != CodeAvailable {
		return t, fault.New(fault.Conflict, "the activation code of %s is %s: %s", c.ICCID, c.Status, codeAdvice[c.Status])
	}
	sec, err := s.reserve(ctx, tx, c, &t)
	if err != nil {
		return t, err
	}
	if len(r.ConfirmationCode) > 0 {
		sec.Confirmation = string(r.ConfirmationCode)
	}
	return t, s.startTx(ctx, tx, &t, sec)
}

// target refuses a device or an eSIM that the account does not have.
func (s *Store) target(ctx context.Context, tx *db.Tx, account string, id ID, eid ident.EID) error {
	if _, err := s.FindDevice(ctx, tx, account, id); err != nil {
		return err
	}
	e, err := esimTable.read(ctx, tx, string(eid), tx.ForUpdate())
	if db.None(err) || err == nil && e.Device != id {
		has, err := EIDs(ctx, tx, id)
		if err != nil {
			return err
		}
		if len(has) == 0 {
			return fault.New(fault.NotFound, "device %s has no eSIM", id)
		}
		return fault.New(fault.NotFound, "eSIM %s is not in device %s, which has %s", eid, id, joinEIDs(has))
	}
	if err != nil {
		return fmt.Errorf("read eSIM %s: %w", eid, err)
	}
	return nil
}

func joinEIDs(eids []ident.EID) string {
	all := make([]string, len(eids))
	for i, e := range eids {
		all[i] = string(e)
	}
	return strings.Join(all, ", ")
}

// idle refuses an eSIM on which something runs.
func (s *Store) idle(ctx context.Context, q db.Query, eid ident.EID) error {
	var id string
	err := q.QueryRowContext(ctx, `select id from esim_operation where eid = $1 and status not in ('failed', 'successful')`, string(eid)).Scan(&id)
	if err == nil {
		return fault.New(fault.Conflict, "operation %s is running on eSIM %s", id, eid)
	}
	if !db.None(err) {
		return fmt.Errorf("look for operations on %s: %w", eid, err)
	}
	err = q.QueryRowContext(ctx, `select tx from esim_transaction where eid = $1 and status = 'in_progress'`, string(eid)).Scan(&id)
	if err == nil {
		return fault.New(fault.Conflict, "transaction %s is running on eSIM %s", id, eid)
	}
	if !db.None(err) {
		return fmt.Errorf("look for transactions on %s: %w", eid, err)
	}
	return nil
}

// startTx stores a transaction and has the eIM do it. One whose profile needs a
// confirmation code that is not there fails at once.
func (s *Store) startTx(ctx context.Context, tx *db.Tx, t *Transaction, sec secrets) error {
	if t.ID == "" {
		t.ID = newUUID()
	}
	t.Status, t.MessageCode, t.Message = TxInProgress, CodeQueued, text(CodeQueued, "")
	now := s.now()
	t.deadline = now.Add(s.limits().Transaction)
	if err := s.insertTx(ctx, tx, t, now); err != nil {
		return err
	}
	if sec.needsConfirmation() {
		return s.moveTx(ctx, tx, t, TxFailed, CodeConfirmationRequired, "", proof{Untouched: true})
	}
	if err := s.EIM.Queue(ctx, tx, Task{
		ID: taskID(t.ID), EID: t.EID, Action: t.Action, ICCID: t.ICCID, ActivationCode: db.Secret(sec.Code),
		ConfirmationCode: db.Secret(sec.Confirmation), Rollback: t.Action == Enable, Until: t.deadline,
	}); err != nil {
		return fmt.Errorf("queue %s on eSIM %s: %v", t.Action, t.EID, err) // no refusal: much is written already
	}
	return nil
}

// done stores a transaction that had nothing to do.
func (s *Store) done(ctx context.Context, tx *db.Tx, t *Transaction) error {
	t.ID = newUUID()
	t.Status, t.MessageCode, t.Message = TxInProgress, CodeQueued, ""
	now := s.now()
	t.deadline = now
	if err := s.insertTx(ctx, tx, t, now); err != nil {
		return err
	}
	return s.moveTx(ctx, tx, t, TxComplete, CodeAlreadyDone, "", proof{})
}

func (s *Store) insertTx(ctx context.Context, tx *db.Tx, t *Transaction, now time.Time) error {
	created, err := s.insert(ctx, tx, "transaction", `insert into esim_transaction (tx, account_sid, action, status, device_id, eid, iccid,
		message_code, message, operation, code_iccid, code_carrier, reached, created_by, source, deadline, updated_at, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, false, $13, $14, $15, $16, $17) on conflict do nothing`,
		t.ID, t.Account, string(t.Action), string(t.Status), string(t.Device), string(t.EID), string(t.ICCID), t.MessageCode, t.Message,
		t.Operation, string(t.codeICCID), t.codeCarrier, t.CreatedBy, t.Source, t.deadline.UnixMicro(), now.UnixMicro())
	if err != nil {
		return err
	}
	t.CreatedAt, t.UpdatedAt = moment(created), later(now, moment(created))
	return s.record(ctx, tx, event.Event{Kind: "esim_transaction." + string(t.Status), Subject: t.ID, Account: t.Account, Data: By{User: t.CreatedBy, Source: t.Source}.data(t.data())})
}

func (t *Transaction) data() map[string]any {
	d := map[string]any{"to": t.Status, "action": t.Action, "device_id": t.Device, "eid": t.EID, "message_code": t.MessageCode, "message": t.Message}
	if t.ICCID != "" {
		d["iccid"] = t.ICCID
	}
	if t.Operation != "" {
		d["operation"] = t.Operation
	}
	return d
}

// moveTx takes a transaction one step of its life, with the code that it has and
// the operation that it belongs to. It is the only way in which a transaction's
// status changes.
func (s *Store) moveTx(ctx context.Context, tx *db.Tx, t *Transaction, to TxStatus, code, message string, p proof) error {
	if !t.Status.CanBecome(to) {
		return fmt.Errorf("transaction %s cannot become %s from %s", t.ID, to, t.Status)
	}
	from, last := t.Status, t.MessageCode
	t.Status, t.MessageCode, t.Message, t.UpdatedAt = to, code, text(code, message), later(s.now(), t.UpdatedAt)
	if err := storeTx(ctx, tx, t); err != nil {
		return err
	}
	data := t.data()
	data["from"] = from
	if err := s.recordProof(ctx, tx, "esim_transaction."+string(to), t.ID, t.Account, data, p); err != nil {
		return err
	}
	if err := s.settleCode(ctx, tx, t, !t.reached && unreached(code, last, p.Untouched)); err != nil {
		return err
	}
	return s.follow(ctx, tx, *t, p)
}

func storeTx(ctx context.Context, tx *db.Tx, t *Transaction) error {
	_, err := exec(ctx, tx, "store transaction "+t.ID, `update esim_transaction set status = $2, iccid = $3, message_code = $4, message = $5,
		reached = $6, updated_at = $7 where tx = $1`, t.ID, string(t.Status), string(t.ICCID), t.MessageCode, t.Message, t.reached, t.UpdatedAt.UnixMicro())
	return err
}

// recordProof records an event with what proves it.
func (s *Store) recordProof(ctx context.Context, tx *db.Tx, kind, subject, account string, data map[string]any, p proof) error {
	if p.Witness != "" {
		data["witness"] = p.Witness
	}
	if p.Code != 0 {
		data["code"] = p.Code
	}
	return s.record(ctx, tx, event.Event{Kind: kind, Subject: subject, Account: account, Data: data, Evidence: p.Evidence, EvidenceKind: p.EvidenceKind})
}

// Outcome takes the eIM's news of a task. What comes twice changes nothing. What
// comes after the end is recorded with its evidence and does not change it, but
// for the activation code: that was used or was not.
func (s *Store) Outcome(ctx context.Context, tx *db.Tx, o Outcome) error {
	t, err := txTable.read(ctx, tx, uuidOf(o.TaskID), "")
	if db.None(err) {
		return nil // of a transaction whose time of keeping is over
	}
	if err == nil {
		err = holdESIM(ctx, tx, t.EID)
	}
	if err == nil {
		t, err = txTable.read(ctx, tx, t.ID, tx.ForUpdate())
	}
	if err != nil {
		return fmt.Errorf("read transaction of task %s: %w", o.TaskID, err)
	}
	if o.EID != "" && o.EID != t.EID {
		slog.WarnContext(ctx, "news of a task from another eSIM", "task", o.TaskID, "eid", o.EID, "want", t.EID)
		return nil
	}
	p := proof{Evidence: o.Evidence, EvidenceKind: o.EvidenceKind, Witness: o.Witness, Code: o.Code}
	if o.Stage == StageQueued || o.Stage == StageSent {
		return s.progress(ctx, tx, &t, o)
	}
	p.Untouched = o.Stage == StageExpired || o.Stage == StageCancelled
	t.reached = t.reached || o.Reached
	to, code, message := t.judge(&o)
	if to == "" {
		return fmt.Errorf("task %s has no stage %q", o.TaskID, o.Stage)
	}
	if t.Status.CanBecome(to) {
		if to == TxComplete && o.ICCID != "" {
			t.ICCID = o.ICCID
		}
		return s.moveTx(ctx, tx, &t, to, code, message, p)
	}
	// That time was up says nothing of the device: why it has failed is new.
	known := t.Status == to && t.MessageCode != CodeDeviceTimeout
	if known || to == TxUnknown || o.Stage == StageCancelled || o.Stage == StageExpired {
		return nil
	}
	if err := s.recordProof(ctx, tx, "esim_transaction.late", t.ID, t.Account, map[string]any{
		"status": t.Status, "late": to, "message_code": code, "message": text(code, message), "eid": t.EID,
	}, p); err != nil {
		return err
	}
	t.Status, t.MessageCode, t.Message = to, code, text(code, message)
	if code == CodeRolledBack {
		// Enabled and undone: whoever waits for the device's report of it waits in
		// vain.
		if err := s.followBack(ctx, tx, t, p); err != nil {
			return err
		}
	}
	return s.settleCode(ctx, tx, &t, !t.reached && unreached(code, CodeSent, false))
}

// judge says what an outcome makes of a transaction.
func (t *Transaction) judge(o *Outcome) (to TxStatus, code, message string) {
	code, message = o.Reason, o.Message
	usual := func(c string) {
		if _, known := Messages[code]; !known {
			code = c
		}
	}
	switch o.Stage {
	case StageDone:
		if t.Action == Download && t.ICCID != "" && o.ICCID != "" && !SameICCID(t.ICCID, o.ICCID) {
			return TxFailed, CodeICCIDMismatch, fmt.Sprintf("The profile that was downloaded is %s, not %s", o.ICCID, t.ICCID)
		}
		if code != CodeAlreadyDone {
			code = CodeComplete
		}
		return TxComplete, code, message
	case StageFailed:
		if code == CodeAlreadyDone && t.Action != Download {
			return TxComplete, code, message
		}
		usual(CodeRefused)
		return TxFailed, code, message
	case StageExpired:
		return TxFailed, CodeDeviceTimeout, ""
	case StageCancelled:
		return TxFailed, CodeCancelled, ""
	case StageLost:
		usual(CodeLost)
		return TxUnknown, CodeLost, message
	}
	return "", "", ""
}

// progress shows how far a running transaction has come.
func (s *Store) progress(ctx context.Context, tx *db.Tx, t *Transaction, o Outcome) error {
	code := CodeSent
	if o.Reason == CodeDownloading && t.Action == Download {
		code = CodeDownloading
	}
	if o.Stage != StageSent || t.Status != TxInProgress || code == t.MessageCode || t.MessageCode == CodeDownloading {
		return nil
	}
	t.MessageCode, t.Message, t.UpdatedAt = code, text(code, o.Message), later(s.now(), t.UpdatedAt)
	t.reached = t.reached || code == CodeDownloading
	if err := storeTx(ctx, tx, t); err != nil {
		return err
	}
	return s.recordProof(ctx, tx, "esim_transaction."+code, t.ID, t.Account, t.data(), proof{Witness: o.Witness})
}

// CancelTransaction ends a transaction that the device has not got yet.
func (s *Store) CancelTransaction(ctx context.Context, by By, id string) (t Transaction, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if t, err = txTable.find(ctx, tx, by.Account, id, tx.ForUpdate()); err != nil {
			return err
		}
		return s.cancelTx(ctx, tx, &t)
	})
	return t, err
}

// cancelTx takes a running transaction back from the eIM and ends it.
func (s *Store) cancelTx(ctx context.Context, tx *db.Tx, t *Transaction) error {
	if t.Status != TxInProgress {
		return fault.New(fault.Conflict, "transaction %s is %s: there is nothing to cancel", t.ID, t.Status)
	}
	back, err := s.EIM.Cancel(ctx, tx, taskID(t.ID))
	if err != nil {
		return err
	}
	if !back {
		return fault.New(fault.Conflict, "the device has the request of transaction %s already: wait for its answer", t.ID)
	}
	return s.moveTx(ctx, tx, t, TxFailed, CodeCancelled, "", proof{Untouched: true})
}
