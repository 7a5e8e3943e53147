package eim

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
)

// Kind is what a task is about.
type Kind string

// The kinds. All but Download and Data are eUICC packages, signed by the eIM and
// answered under the eUICC's signature.
const (
	Download      Kind = "download"       // profile download trigger; ActivationCode, or the default SM-DP+ without one
	Enable        Kind = "enable"         // ICCID, Rollback
	Disable       Kind = "disable"        // ICCID
	Delete        Kind = "delete"         // ICCID
	List          Kind = "list"           // listProfileInfo
	GetRAT        Kind = "get-rat"        // rules authorisation table
	Immediate     Kind = "immediate"      // configureImmediateEnable; Immediate
	SetFallback   Kind = "set-fallback"   // ICCID
	UnsetFallback Kind = "unset-fallback" //
	SetDefaultDP  Kind = "set-default-dp" // Address
	AddEIM        Kind = "add-eim"        // EIM
	UpdateEIM     Kind = "update-eim"     // EIM
	DeleteEIM     Kind = "delete-eim"     // EIM.ID
	ListEIM       Kind = "list-eim"       //
	Data          Kind = "data"           // what the IPA knows of itself and the eUICC
)

// A Task is something that an eUICC or its IPA is to do.
type Task struct {
	ID               string // the eimTransactionId: 32 hexadecimal digits, in small letters
	EID              ident.EID
	Kind             Kind
	ICCID            ident.ICCID
	ActivationCode   db.Secret // 1$address$identifier, with or without LPA:
	ConfirmationCode db.Secret // for an indirect download, where the eIM answers for the user
	Rollback         bool      // back to the old profile where the new one cannot reach the eIM
	Address          string    // of the default SM-DP+
	EIM              *iot.EimConfiguration
	Immediate        *iot.ImmediateEnable // nil has it allowed for every SM-DP+
	Until            time.Time            // given up then; zero means after Config.Lifetime
}

// spec is what of a task is stored sealed.
type spec struct {
	Code         string                `json:"code,omitempty"`
	Confirmation string                `json:"confirmation,omitempty"`
	Rollback     bool                  `json:"rollback,omitempty"`
	Address      string                `json:"address,omitempty"`
	EIM          *iot.EimConfiguration `json:"eim,omitempty"`
	Immediate    *iot.ImmediateEnable  `json:"immediate,omitempty"`
	Key          string                `json:"key,omitempty"` // UpdateEIM of ourselves: the key it brings
	CI           []byte                `json:"ci,omitempty"`  // Data: under which CI the certificates are wanted
}

// Urgencies of tasks: the first questions come before all else, a list of what
// there is before what comes next.
const (
	urgencyContact = 0
	urgencyList    = 1
	urgencyUsual   = 2
)

// check refuses a task that could never be sent.
func (t *Task) check() error {
	if raw, err := hex.DecodeString(t.ID); err != nil || len(raw) != 16 || hex.EncodeToString(raw) != t.ID {
		return fault.Field("ID", "%.40q is no transaction identifier: 32 hexadecimal digits in small letters", t.ID)
	}
	switch t.Kind {
	case Enable, Disable, Delete, SetFallback:
		if t.ICCID == "" {
			return fault.Field("ICCID", "%s needs the ICCID of a profile", t.Kind)
		}
	case Download:
		if len(t.ActivationCode) > 0 {
			if _, err := rsp.ParseActivationCode(string(t.ActivationCode)); err != nil {
				return fault.Field("ActivationCode", "%v", err)
			}
		}
	case SetDefaultDP:
		if t.Address != "" { // empty has the eUICC forget its own
			if err := rsp.CheckAddress(t.Address); err != nil {
				return fault.Field("Address", "%v", err)
			}
		}
	case AddEIM, UpdateEIM, DeleteEIM:
		if t.EIM == nil || t.EIM.ID == "" || len(t.EIM.ID) > iot.MaxEimID {
			return fault.Field("EIM", "%s needs an eIM with an identifier of 1 to %d characters", t.Kind, iot.MaxEimID)
		}
	case List, GetRAT, Immediate, UnsetFallback, ListEIM, Data:
	default:
		return fault.Field("Kind", "%.40q is no kind of task", t.Kind)
	}
	return nil
}

// Queue adds a task to a transaction. The same ID again changes nothing. An EID
// that is not registered is a [fault.NotFound].
func (s *Server) Queue(ctx context.Context, tx *db.Tx, t Task) error {
	if err := t.check(); err != nil {
		return err
	}
	var active bool
	err := tx.QueryRowContext(ctx, `select active from eim_euicc where eid = $1`, string(t.EID)).Scan(&active)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !active {
		return fault.New(fault.NotFound, "EID %s is not registered at the eIM", t.EID)
	}
	if err != nil {
		return fmt.Errorf("read eUICC %s: %w", t.EID, err)
	}
	w := spec{
		Code: bare(string(t.ActivationCode)), Confirmation: string(t.ConfirmationCode), Rollback: t.Rollback, Address: t.Address,
		EIM: t.EIM, Immediate: t.Immediate,
	}
	if t.Kind == UpdateEIM && t.EIM.ID == s.cfg.ID {
		if err := s.ownUpdate(ctx, tx, &w); err != nil {
			return err
		}
	}
	// First questions that went wrong are worth another try now.
	if _, err := tx.ExecContext(ctx, `update eim_task set due_at = $2 where eid = $1 and stage = 'queued' and own and kind = 'data' and due_at > $2`,
		string(t.EID), s.now()); err != nil {
		return fmt.Errorf("ask %s again: %w", t.EID, err)
	}
	until := s.cfg.Now().Add(s.cfg.Lifetime)
	if !t.Until.IsZero() {
		until = t.Until
	}
	return s.insert(ctx, tx, &task{
		id: t.ID, eid: t.EID, kind: t.Kind, iccid: t.ICCID, urgency: urgencyUsual, spec: w, due: s.now(), until: db.Micros(until),
	})
}

// bare takes what belongs to a QR code alone off an activation code.
func bare(code string) string {
	code = strings.TrimSpace(code)
	if len(code) >= 4 && strings.EqualFold(code[:4], "LPA:") {
		code = code[4:]
	}
	return code
}

// ownUpdate completes an updateEim of this eIM itself: a key that is not named
// is the newest, and it must be one of ours, or nothing could be signed
// afterwards.
func (s *Server) ownUpdate(ctx context.Context, q db.Query, w *spec) error {
	e := *w.EIM
	newest, err := newestKey(ctx, q)
	if err != nil {
		return err
	}
	public, err := s.publicKey(ctx, q, newest)
	if err != nil {
		return err
	}
	if len(e.PublicKey) == 0 && len(e.Certificate) == 0 {
		e.PublicKey = public
	}
	if string(e.PublicKey) != string(public) {
		return fault.Field("EIM.PublicKey", "an update of this eIM takes its own newest key; leave it out")
	}
	w.EIM, w.Key = &e, newest
	return nil
}

// Cancel takes a task back. It returns false when there is none that waits: the
// IPA has it, or it is over. No outcome is reported.
func (s *Server) Cancel(ctx context.Context, tx *db.Tx, id string) (bool, error) {
	ok, err := changed(tx.ExecContext(ctx, guarded(cancel, `ended_at = $3, reason = 'cancelled'`), string(Cancelled), id, s.now()))
	if err != nil {
		return false, fmt.Errorf("cancel task %s: %w", id, err)
	}
	return ok, nil
}

// cancelAll takes back all that waits for an eUICC, and reports it.
func (s *Server) cancelAll(ctx context.Context, tx *db.Tx, eid ident.EID, why string) error {
	for {
		t, err := s.readTask(ctx, tx, `eid = $1 and stage = 'queued' order by urgency, position limit 1`, string(eid))
		if err != nil || t == nil {
			return err
		}
		if err := s.finish(ctx, tx, t, cancel, ending{code: undefined, reason: "cancelled", message: why}); err != nil {
			return err
		}
	}
}

// A task is a row of eim_task.
type task struct {
	id       string
	eid      ident.EID
	kind     Kind
	stage    Stage
	urgency  int64
	own      bool
	iccid    ident.ICCID
	spec     spec
	attempt  int64
	due      int64
	until    int64
	position int64
}

func (s *Server) insert(ctx context.Context, tx *db.Tx, t *task) error {
	encoded, err := json.Marshal(t.spec)
	if err != nil {
		return fmt.Errorf("encode task %s: %w", t.id, err)
	}
	now := s.now()
	_, err = tx.ExecContext(ctx, `insert into eim_task (id, eid, kind, stage, urgency, position, own, iccid, spec, attempt, due_at, until_at, created_at)
		values ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict (id) do nothing`,
		t.id, string(t.eid), string(t.kind), t.urgency, s.numbers.after(now), t.own, string(t.iccid),
		s.db.Seal("eim_task/"+t.id, encoded), t.attempt, t.due, t.until, now)
	if err != nil {
		return fmt.Errorf("store task %s: %w", t.id, err)
	}
	return s.changes(ctx, tx, t.eid)
}

const taskColumns = `id, eid, kind, stage, urgency, own, iccid, spec, attempt, due_at, until_at, position`

// readTask reads one task; nil is none.
func (s *Server) readTask(ctx context.Context, q db.Query, where string, args ...any) (*task, error) {
	t := &task{}
	var sealed []byte
	err := q.QueryRowContext(ctx, `select `+taskColumns+` from eim_task where `+where, args...).Scan(&t.id, &t.eid, &t.kind, &t.stage,
		&t.urgency, &t.own, &t.iccid, &sealed, &t.attempt, &t.due, &t.until, &t.position)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read task: %w", err)
	}
	plain, err := s.db.Unseal("eim_task/"+t.id, sealed)
	if err != nil {
		return nil, fmt.Errorf("read task: %w", err)
	}
	if err := json.Unmarshal(plain, &t.spec); err != nil {
		return nil, fmt.Errorf("read task %s: %w", t.id, err)
	}
	return t, nil
}

// taskByTransaction finds the task of an eimTransactionId; nil is none.
func (s *Server) taskByTransaction(ctx context.Context, q db.Query, transaction []byte) (*task, error) {
	if len(transaction) != 16 {
		return nil, nil // none of ours
	}
	return s.readTask(ctx, q, `id = $1`, hex.EncodeToString(transaction))
}

// transaction is the eimTransactionId.
func (t *task) transaction() []byte {
	raw, _ := hex.DecodeString(t.id) // checked when it was stored
	return raw
}

// changed reports whether a guarded statement found its row.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
