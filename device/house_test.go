package device

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/ident"
	"godwit/jobs"
	"godwit/query"
)

// A bench stands where the eIM is: it keeps what it was given, once the
// transaction that gave it is durable, and gives it back while nobody has
// fetched it.
type bench struct {
	mu    sync.Mutex
	known map[ident.EID]bool
	tasks map[string]*held
	order []string

	trouble func(ident.EID) error // of the server's own, at Queue and Cancel
}

type held struct {
	Task
	stage Stage
}

func (b *bench) later(tx *db.Tx, f func()) {
	tx.AfterCommit(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		f()
	})
}

func (b *bench) Register(_ context.Context, tx *db.Tx, e EUICC) error {
	b.later(tx, func() { b.known[e.EID] = true })
	return nil
}

func (b *bench) Forget(_ context.Context, tx *db.Tx, eid ident.EID) error {
	b.later(tx, func() {
		delete(b.known, eid)
		for _, t := range b.tasks {
			if t.EID == eid {
				t.stage = StageCancelled
			}
		}
	})
	return nil
}

func (b *bench) Queue(_ context.Context, tx *db.Tx, t Task) error {
	if b.trouble != nil {
		if err := b.trouble(t.EID); err != nil {
			return err
		}
	}
	b.later(tx, func() {
		if b.tasks[t.ID] == nil {
			b.tasks[t.ID] = &held{t, StageQueued}
			b.order = append(b.order, t.ID)
		}
	})
	return nil
}

func (b *bench) Cancel(_ context.Context, tx *db.Tx, id string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tasks[id]
	if t != nil && b.trouble != nil {
		if err := b.trouble(t.EID); err != nil {
			return false, err
		}
	}
	if t == nil || t.stage != StageQueued {
		return false, nil
	}
	b.later(tx, func() { t.stage = StageCancelled })
	return true, nil
}

// last returns the newest task.
func (b *bench) last(t testing.TB) Task {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.order) == 0 {
		t.Fatal("the eIM was given nothing")
	}
	return b.tasks[b.order[len(b.order)-1]].Task
}

func (b *bench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.order)
}

func (b *bench) set(id string, stage Stage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tasks[id].stage = stage
}

// A house is a store with its neighbour and a clock that is set by hand.
type house struct {
	*Store
	eim *bench
	by  By

	mu  sync.Mutex
	now time.Time
}

func newHouse(t testing.TB, d *db.DB) *house {
	t.Helper()
	h := &house{
		eim: &bench{known: map[ident.EID]bool{}, tasks: map[string]*held{}},
		by:  By{Account: "AC" + strings.Repeat("0", 32), User: "alice", Source: "v1/esim_profiles"},
		now: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC),
	}
	h.open(t, d)
	return h
}

// open makes a store anew, as a restart does.
func (h *house) open(t testing.TB, d *db.DB) {
	t.Helper()
	q, err := jobs.New(d)
	if err != nil {
		t.Fatal(err)
	}
	events := event.New(d)
	h.Store = &Store{DB: d, Jobs: q, Events: events, EIM: h.eim, Now: h.clock}
	h.Register()
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(time.Microsecond)
	return h.now
}

// pass lets time pass.
func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// numbered makes things that are told apart by a number.
func numberedID(n int) ID { return ID(fmt.Sprintf("00000000-00000000-%08X-FF00A1B2", n)) }

func numberedEID(t testing.TB, n int) ident.EID {
	t.Helper()
	eid, err := ident.NewEID(fmt.Sprintf("890330234271%018d", n))
	if err != nil {
		t.Fatal(err)
	}
	return eid
}

func numberedICCID(t testing.TB, n int) ident.ICCID {
	t.Helper()
	iccid, err := ident.NewICCID(fmt.Sprintf("8988303%011d", n))
	if err != nil {
		t.Fatal(err)
	}
	return iccid
}

// device makes a device with one eSIM.
func (h *house) device(t testing.TB, n int, change ...func(*DevicePatch)) (ID, ident.EID) {
	t.Helper()
	p := DevicePatch{ID: numberedID(n), EIDs: []EIDPatch{{EID: numberedEID(t, n)}}}
	for _, f := range change {
		f(&p)
	}
	puts, err := h.PutDevices(context.Background(), h.by, []DevicePatch{p}, PutOptions{})
	if err != nil || puts[0].Err != nil {
		t.Fatal(err, puts)
	}
	return p.ID, p.EIDs[0].EID
}

// code registers an activation code.
func (h *house) code(t testing.TB, n int, carrier string) ident.ICCID {
	t.Helper()
	iccid := numberedICCID(t, n)
	puts, err := h.PutCodes(context.Background(), h.by, []CodePatch{{
		ICCID: iccid, Carrier: &carrier, ActivationCode: db.Secret(fmt.Sprintf("LPA:1$rsp.example.net$CODE-%d", n)),
	}}, false)
	if err != nil || puts[0].Err != nil {
		t.Fatal(err, puts)
	}
	return iccid
}

func (h *house) codeStatus(t testing.TB, iccid ident.ICCID) CodeStatus {
	t.Helper()
	c, err := h.Code(context.Background(), h.by.Account, iccid)
	if err != nil {
		t.Fatal(err)
	}
	return c.Status
}

// outcome brings the eIM's news.
func (h *house) outcome(t testing.TB, o Outcome) {
	t.Helper()
	if o.EvidenceKind == "" {
		o.Evidence, o.EvidenceKind, o.Witness = []byte{0xBF, 0x51}, "euicc-package-result", "eUICC"
	}
	if err := h.DB.Write(context.Background(), func(tx *db.Tx) error { return h.Outcome(context.Background(), tx, o) }); err != nil {
		t.Fatal(err)
	}
}

// done says that the last task was done.
func (h *house) done(t testing.TB) {
	t.Helper()
	task := h.eim.last(t)
	h.eim.set(task.ID, StageDone)
	h.outcome(t, Outcome{TaskID: task.ID, EID: task.EID, Stage: StageDone, ICCID: task.ICCID})
}

func (h *house) fails(t testing.TB, reason string) {
	t.Helper()
	task := h.eim.last(t)
	h.eim.set(task.ID, StageFailed)
	h.outcome(t, Outcome{TaskID: task.ID, EID: task.EID, Stage: StageFailed, Reason: reason})
}

// report is a device's word: profiles as "carrier", the active one with a star
// behind it.
func (h *house) report(t testing.TB, eid ident.EID, profiles ...Reported) {
	t.Helper()
	err := h.DB.Write(context.Background(), func(tx *db.Tx) error {
		return h.Report(context.Background(), tx, Report{EID: eid, Profiles: profiles, Evidence: []byte{0xBF, 0x51}, EvidenceKind: "euicc-package-result", Witness: "eUICC", At: h.clock()})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func is(iccid ident.ICCID, carrier string, on bool) Reported {
	return Reported{ICCID: iccid, Carrier: carrier, Active: on, Type: "operational"}
}

func (h *house) op(t testing.TB, id string) Operation {
	t.Helper()
	o, err := h.Operation(context.Background(), h.by.Account, id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (h *house) tx(t testing.TB, id string) Transaction {
	t.Helper()
	o, err := h.Transaction(context.Background(), h.by.Account, id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (h *house) begins(t testing.TB, o Order) Operation {
	t.Helper()
	op, err := h.Begin(context.Background(), h.by, o)
	if err != nil {
		t.Fatal(err)
	}
	if stored := h.op(t, op.ID); stored.Status != op.Status || stored.MessageCode != op.MessageCode || stored.ICCID != op.ICCID || stored.DownloadTx != op.DownloadTx {
		t.Fatalf("answered %+v, stored %+v", op, stored)
	}
	return op
}

// events returns what happened to a subject, oldest first.
func (h *house) events(t testing.TB, subject string) []event.Event {
	t.Helper()
	var list []event.Event
	err := h.DB.Read(context.Background(), func(q db.Query) (err error) {
		list, err = h.Events.List(context.Background(), q, event.Filter{Subject: subject, Limit: 10_000})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// path is the way of something through its statuses, as its events tell.
func (h *house) path(t testing.TB, subject string) string {
	t.Helper()
	var steps []string
	for _, e := range h.events(t, subject) {
		var data struct {
			To   string `json:"to"`
			From string `json:"from"`
		}
		if err := json.Unmarshal(e.Data.(json.RawMessage), &data); err != nil {
			t.Fatal(err)
		}
		if _, what, _ := strings.Cut(e.Kind, "."); what == data.To {
			steps = append(steps, data.To)
		}
	}
	return strings.Join(steps, " ")
}

func spec(t testing.TB, schema *query.Schema, where, order string, size int) query.Spec {
	t.Helper()
	e, err := query.Parse(where, schema, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o, err := query.ParseOrder(order, schema)
	if err != nil {
		t.Fatal(err)
	}
	return query.Spec{Where: e, Order: o, Size: size}
}
