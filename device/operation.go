package device

import (
	"context"
	"fmt"
	"slices"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// An Order asks for an operation.
type Order struct {
	Work    Work
	Device  ID
	EID     ident.EID
	Carrier string      // one of these two at least
	ICCID   ident.ICCID // decides where both are given

	cause   Cause // CauseRequest where it is empty
	causeID string
	rollout string
	retryOf string
}

const selectOp = `select id, account_sid, operation, status, device_id, eid, carrier, iccid, wanted_iccid, download_tx, enable_tx, job_id, cause, cause_id,
	rollout, retry_of, created_by, source, message_code, message, step_deadline, deadline, created_at, updated_at from esim_operation o`

func scanOp(r db.Row, more ...any) (o Operation, err error) {
	var step, deadline, created, updated int64
	err = r.Scan(append([]any{
		&o.ID, &o.Account, &o.Work, &o.Status, &o.Device, &o.EID, &o.Carrier, &o.ICCID, &o.wanted, &o.DownloadTx, &o.EnableTx, &o.JobID, &o.Cause, &o.CauseID,
		&o.Rollout, &o.RetryOf, &o.CreatedBy, &o.Source, &o.MessageCode, &o.Message, &step, &deadline, &created, &updated,
	}, more...)...)
	o.stepDeadline, o.deadline, o.CreatedAt, o.UpdatedAt = moment(step), moment(deadline), moment(created), later(moment(updated), moment(created))
	return o, err
}

func runningOperation(ctx context.Context, tx *db.Tx, eid ident.EID) (Operation, error) {
	return opTable.one(ctx, tx, `where eid = $1 and status not in ('failed', 'successful')`+tx.ForUpdate(), string(eid))
}

// Operation returns an operation of an account.
func (s *Store) Operation(ctx context.Context, account, id string) (Operation, error) {
	return opTable.get(ctx, s.DB, account, id)
}

// Begin starts an operation. In the same transaction it chooses the profile or
// takes a code and starts the first action, so that the operation returned has
// left "starting": it may be over already, because there is nothing to do or
// nothing to do it with.
func (s *Store) Begin(ctx context.Context, by By, order Order) (o Operation, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		o, err = s.begin(ctx, tx, by, order)
		return err
	})
	return o, err
}

func (s *Store) begin(ctx context.Context, tx *db.Tx, by By, order Order) (Operation, error) {
	if order.cause == "" {
		order.cause = CauseRequest
	}
	o := Operation{
		ID: newUUID(), Account: by.Account, Work: order.Work, Status: OpStarting, Device: order.Device, EID: order.EID, Carrier: order.Carrier,
		ICCID: order.ICCID, wanted: order.ICCID, Cause: order.cause, CauseID: order.causeID, Rollout: order.rollout, RetryOf: order.retryOf,
		CreatedBy: by.User, Source: by.Source, MessageCode: CodeStarting, Message: text(CodeStarting, ""),
	}
	if err := order.check(); err != nil {
		return o, err
	}
	if err := s.target(ctx, tx, by.Account, order.Device, order.EID); err != nil {
		return o, err
	}
	if err := s.idle(ctx, tx, order.EID); err != nil {
		return o, err
	}
	now := s.now()
	job, err := s.addJob(ctx, tx, Job{Account: o.Account, Type: JobOperation, Subject: o.ID, Description: string(o.Work) + " on eSIM " + string(o.EID), CreatedBy: by.User})
	if err != nil {
		return o, err
	}
	o.JobID, o.deadline, o.UpdatedAt = job, now.Add(s.limits().Operation), now
	name, err := carrierOf(ctx, tx, o.Account, o.Carrier)
	if err != nil {
		return o, err
	}
	created, err := s.insert(ctx, tx, "operation", `insert into esim_operation (id, account_sid, operation, status, device_id, eid, carrier, carrier_folded,
		iccid, wanted_iccid, download_tx, enable_tx, job_id, cause, cause_id, rollout, retry_of, created_by, source, message_code, message,
		step_deadline, deadline, updated_at, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, '', '', $10, $11, $12, $13, $14, $15, $16, $17, $18, 0, $19, $20, $21) on conflict do nothing`,
		o.ID, o.Account, string(o.Work), string(o.Status), string(o.Device), string(o.EID), o.Carrier, name.Folded, string(o.wanted), o.JobID,
		string(o.Cause), o.CauseID, o.Rollout, o.RetryOf, o.CreatedBy, o.Source, o.MessageCode, o.Message, o.deadline.UnixMicro(), now.UnixMicro())
	if err != nil {
		return o, err
	}
	o.CreatedAt = moment(created)
	o.UpdatedAt = later(o.UpdatedAt, o.CreatedAt)
	if err := s.record(ctx, tx, event.Event{Kind: "esim_operation." + string(o.Status), Subject: o.ID, Account: o.Account, Data: by.data(o.data())}); err != nil {
		return o, err
	}
	return o, s.choose(ctx, tx, &o)
}

func (order Order) check() error {
	switch {
	case !slices.Contains(Works, order.Work):
		return fault.Field("operation", "must be activate, download or enable")
	case order.Carrier == "" && order.ICCID == "":
		return fault.Field("carrier", "is required, or an iccid: which profile is wanted")
	case order.ICCID == "" && MatchingKey(order.Carrier) == "":
		return fault.Field("carrier", "must have letters or digits")
	}
	return checkText("carrier", order.Carrier, maxText)
}

func (o *Operation) data() map[string]any {
	d := map[string]any{
		"to": o.Status, "operation": o.Work, "device_id": o.Device, "eid": o.EID, "job_id": o.JobID, "cause": o.Cause,
		"message_code": o.MessageCode, "message": o.Message,
	}
	for name, value := range map[string]string{
		"carrier": o.Carrier, "iccid": string(o.ICCID), "cause_id": o.CauseID, "rollout": o.Rollout, "download_tx": o.DownloadTx, "enable_tx": o.EnableTx, "retry_of": o.RetryOf,
	} {
		if value != "" {
			d[name] = value
		}
	}
	return d
}

// choose finds the profile or the code that is wanted and takes the first step.
func (s *Store) choose(ctx context.Context, tx *db.Tx, o *Operation) error {
	p, err := s.wantedProfile(ctx, tx, o)
	if err == nil {
		o.ICCID = p.ICCID
		if o.Work == WorkDownload || p.Active {
			return s.endOperation(ctx, tx, o, OpSuccessful, CodeAlreadyDone, "", proof{})
		}
		return s.startEnable(ctx, tx, o, proof{})
	}
	if !db.None(err) {
		return err
	}
	if o.Work == WorkEnable {
		return s.endOperation(ctx, tx, o, OpFailed, CodeProfileMissing, "", proof{})
	}
	c, err := s.wantedCode(ctx, tx, o)
	if err != nil && !db.None(err) {
		return err
	}
	switch {
	case db.None(err):
		return s.endOperation(ctx, tx, o, OpFailed, CodeNoActivationCode, "", proof{})
	case c.Status != CodeAvailable:
		return s.endOperation(ctx, tx, o, OpFailed, CodeUsed, fmt.Sprintf("The activation code of %s is %s", c.ICCID, c.Status), proof{})
	}
	t := o.step(Download, c.ICCID)
	sec, err := s.reserve(ctx, tx, c, &t)
	if err != nil {
		return err
	}
	o.ICCID, o.DownloadTx = c.ICCID, t.ID
	if err := s.moveOp(ctx, tx, o, OpDownload, CodeQueued, "", proof{}); err != nil {
		return err
	}
	err = s.startTx(ctx, tx, &t, sec)
	if err == nil && t.Status.Final() {
		*o, err = opTable.read(ctx, tx, o.ID, "") // it went along
	}
	return err
}

// wantedProfile finds the profile that an operation wants among those on the
// eSIM; sql.ErrNoRows if there is none.
func (s *Store) wantedProfile(ctx context.Context, tx *db.Tx, o *Operation) (Profile, error) {
	if o.wanted != "" {
		return profileOn(ctx, tx, o.EID, o.wanted)
	}
	keys, err := matchingKeys(ctx, tx, o.Account, o.Carrier)
	if err != nil {
		return Profile{}, err
	}
	if o.Work == WorkDownload {
		keys = nil // it is to bring another one
	}
	return s.profileOfCarrier(ctx, tx, o.EID, keys)
}

// wantedCode finds the code that an operation is to use; sql.ErrNoRows if there
// is none.
func (s *Store) wantedCode(ctx context.Context, tx *db.Tx, o *Operation) (Code, error) {
	if o.wanted != "" {
		return codeOf(ctx, tx, o.Account, o.wanted)
	}
	keys, err := matchingKeys(ctx, tx, o.Account, o.Carrier)
	if err != nil {
		return Code{}, err
	}
	return nextCode(ctx, tx, o.Account, keys)
}

// step is a transaction of this operation, not yet started.
func (o *Operation) step(a Action, iccid ident.ICCID) Transaction {
	return Transaction{
		ID: newUUID(), Account: o.Account, Action: a, Device: o.Device, EID: o.EID, ICCID: iccid, Operation: o.ID, CreatedBy: o.CreatedBy, Source: o.Source,
	}
}

func (s *Store) startEnable(ctx context.Context, tx *db.Tx, o *Operation, p proof) error {
	t := o.step(Enable, o.ICCID)
	o.EnableTx = t.ID
	if err := s.moveOp(ctx, tx, o, OpEnable, CodeQueued, "", p); err != nil {
		return err
	}
	return s.startTx(ctx, tx, &t, secrets{})
}

// moveOp takes an operation one step of its life, and its job along. It is the
// only way in which an operation's status changes.
func (s *Store) moveOp(ctx context.Context, tx *db.Tx, o *Operation, to OpStatus, code, message string, p proof) error {
	if !o.Status.CanBecome(o.Work, to) {
		return fmt.Errorf("operation %s (%s) cannot become %s from %s", o.ID, o.Work, to, o.Status)
	}
	from := o.Status
	now := s.now()
	o.Status, o.MessageCode, o.Message, o.UpdatedAt = to, code, text(code, message), later(now, o.UpdatedAt)
	o.stepDeadline = time.Time{}
	if to == OpDownloadVerify || to == OpEnableVerify {
		o.stepDeadline = now.Add(s.limits().Verify)
	}
	if err := storeOp(ctx, tx, o); err != nil {
		return err
	}
	data := o.data()
	data["from"] = from
	return s.recordProof(ctx, tx, "esim_operation."+string(to), o.ID, o.Account, data, p)
}

func storeOp(ctx context.Context, tx *db.Tx, o *Operation) error {
	_, err := exec(ctx, tx, "store operation "+o.ID, `update esim_operation set status = $2, iccid = $3, download_tx = $4, enable_tx = $5, message_code = $6,
		message = $7, step_deadline = $8, updated_at = $9 where id = $1`,
		o.ID, string(o.Status), string(o.ICCID), o.DownloadTx, o.EnableTx, o.MessageCode, o.Message, micros(o.stepDeadline), o.UpdatedAt.UnixMicro())
	return err
}

// endOperation ends an operation, its job and its part in a rollout.
func (s *Store) endOperation(ctx context.Context, tx *db.Tx, o *Operation, to OpStatus, code, message string, p proof) error {
	if err := s.moveOp(ctx, tx, o, to, code, message, p); err != nil {
		return err
	}
	status := JobFailed
	switch {
	case to == OpSuccessful:
		status = JobComplete
	case code == CodeCancelled:
		status = JobCanceled
	}
	if err := s.endJob(ctx, tx, o.Account, o.JobID, status); err != nil {
		return err
	}
	return s.itemEnded(ctx, tx, o)
}

// follow moves the operation on whose step a transaction is.
func (s *Store) follow(ctx context.Context, tx *db.Tx, t Transaction, p proof) error {
	if t.Operation == "" {
		return nil
	}
	o, err := opTable.read(ctx, tx, t.Operation, tx.ForUpdate())
	if db.None(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read operation %s: %w", t.Operation, err)
	}
	verify := OpDownloadVerify
	switch {
	case o.Status == OpDownload && o.DownloadTx == t.ID:
	case o.Status == OpEnable && o.EnableTx == t.ID:
		verify = OpEnableVerify
	default:
		return nil // it has gone on, or is over
	}
	switch t.Status {
	case TxFailed:
		return s.endOperation(ctx, tx, &o, OpFailed, t.MessageCode, t.Message, p)
	case TxUnknown:
		// A report may still settle it; if none does, time will.
		o.MessageCode, o.Message, o.UpdatedAt = t.MessageCode, t.Message, later(s.now(), o.UpdatedAt)
		if err := storeOp(ctx, tx, &o); err != nil {
			return err
		}
		return s.recordProof(ctx, tx, "esim_operation.unknown", o.ID, o.Account, o.data(), p)
	}
	if t.ICCID != "" {
		o.ICCID = t.ICCID
	}
	if err := s.moveOp(ctx, tx, &o, verify, CodeVerifying, "", p); err != nil {
		return err
	}
	return s.verify(ctx, tx, &o, p)
}

// followBack ends the operation that waits for the report of an enabling which the
// device has undone.
func (s *Store) followBack(ctx context.Context, tx *db.Tx, t Transaction, p proof) error {
	if t.Operation == "" {
		return nil
	}
	o, err := opTable.read(ctx, tx, t.Operation, tx.ForUpdate())
	if db.None(err) || err == nil && (o.Status != OpEnableVerify || o.EnableTx != t.ID) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read operation %s: %w", t.Operation, err)
	}
	return s.endOperation(ctx, tx, &o, OpFailed, t.MessageCode, t.Message, p)
}

// verify leaves a verify state if the device has reported what it waits for.
func (s *Store) verify(ctx context.Context, tx *db.Tx, o *Operation, p proof) error {
	if o.Status != OpDownloadVerify && o.Status != OpEnableVerify {
		return nil
	}
	found, err := profileOn(ctx, tx, o.EID, o.ICCID)
	if db.None(err) {
		return nil
	}
	if err != nil {
		return err
	}
	o.ICCID = found.ICCID
	switch {
	case o.Status == OpDownloadVerify && o.Work == WorkDownload:
		return s.endOperation(ctx, tx, o, OpSuccessful, CodeComplete, "The device reports the profile", p)
	case found.Active:
		return s.endOperation(ctx, tx, o, OpSuccessful, CodeComplete, "The device reports the profile as active", p)
	case o.Status == OpDownloadVerify:
		return s.startEnable(ctx, tx, o, p)
	}
	return nil
}

// Cancel ends an operation. While the device has the request of its running
// step, that is a conflict.
func (s *Store) Cancel(ctx context.Context, by By, id string) (o Operation, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if o, err = opTable.find(ctx, tx, by.Account, id, tx.ForUpdate()); err != nil {
			return err
		}
		o, err = s.cancelOp(ctx, tx, o)
		return err
	})
	return o, err
}

func (s *Store) cancelOp(ctx context.Context, tx *db.Tx, o Operation) (Operation, error) {
	if o.Status.Final() {
		return o, fault.New(fault.Conflict, "operation %s is %s: there is nothing to cancel", o.ID, o.Status)
	}
	t, err := runningTransaction(ctx, tx, o.EID)
	switch {
	case err == nil && t.Operation == o.ID:
		if err := s.cancelTx(ctx, tx, &t); err != nil {
			return o, err
		}
		return opTable.read(ctx, tx, o.ID, "") // it ended with its step
	case err != nil && !db.None(err):
		return o, fmt.Errorf("read transaction of %s: %w", o.ID, err)
	}
	return o, s.endOperation(ctx, tx, &o, OpFailed, CodeCancelled, "Cancelled", proof{})
}

// Retry begins an operation that has failed once more, as a new one.
func (s *Store) Retry(ctx context.Context, by By, id string) (o Operation, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		was, err := opTable.find(ctx, tx, by.Account, id, "")
		if err != nil {
			return err
		}
		if was.Status != OpFailed {
			return fault.New(fault.Conflict, "operation %s is %s: only one that has failed can be tried again", was.ID, was.Status)
		}
		o, err = s.begin(ctx, tx, by, Order{Work: was.Work, Device: was.Device, EID: was.EID, Carrier: was.Carrier, ICCID: was.wanted, retryOf: was.ID})
		return err
	})
	return o, err
}
