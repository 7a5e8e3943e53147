package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"
)

// fleet makes devices of a group, each with a profile that is not active.
func (h *house) fleet(t *testing.T, n int) {
	t.Helper()
	group := "fleet"
	for i := range n {
		_, eid := h.device(t, i, func(p *DevicePatch) { p.Group = &group })
		h.report(t, eid, is(numberedICCID(t, i), "Northwind", false), Reported{ICCID: numberedICCID(t, 1000+i), Carrier: "Boot", Active: true, Type: "bootstrap"})
	}
}

// answer ends the tasks that have not ended, every fails'th with a failure (0: none).
func (h *house) answer(t *testing.T, fails int, reason string) (n int) {
	t.Helper()
	for i, id := range h.eim.order {
		task := h.eim.tasks[id]
		if task.stage != StageQueued {
			continue
		}
		n++
		if fails > 0 && i%fails == 0 {
			task.stage = StageFailed
			h.outcome(t, Outcome{TaskID: id, EID: task.EID, Stage: StageFailed, Reason: reason})
			continue
		}
		task.stage = StageDone
		h.outcome(t, Outcome{TaskID: id, EID: task.EID, Stage: StageDone, ICCID: task.ICCID})
		h.report(t, task.EID, is(task.ICCID, "Northwind", true))
	}
	return n
}

func (h *house) rollout(t *testing.T, id string) Rollout {
	t.Helper()
	if err := h.advanceRollouts(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := h.Rollout(t.Context(), h.by.Account, id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var toFleet = RolloutOrder{Name: "spring", Work: WorkActivate, Carrier: "northwind", Query: "group = 'fleet'", Waves: []int{10, 50, 100}, FailureRate: 20}

// TestRollout goes through its waves, one after the other.
func TestRollout(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.fleet(t, 20)
		h.device(t, 500) // of no group
		p, err := h.PreviewRollout(t.Context(), h.by, toFleet)
		if err != nil || p.Devices != 20 || p.ESIMs != 20 || p.Present != 20 || p.Active != 0 || p.Download != 0 || fmt.Sprint(p.WaveSizes) != "[2 8 10]" {
			t.Fatalf("%+v, %v", p, err)
		}
		if n := h.eim.count(); n != 0 || len(h.allOf(t, "")) != 0 {
			t.Fatalf("a preview began %d tasks", n)
		}
		r, err := h.StartRollout(t.Context(), h.by, toFleet)
		if err != nil || r.Status != RolloutGathering {
			t.Fatal(r, err)
		}
		for _, begun := range []int64{2, 10, 20} {
			if r = h.rollout(t, r.ID); r.Begun != begun || r.Targets != 20 || r.Status != RolloutRunning {
				t.Fatalf("%+v: want %d begun", r, begun)
			}
			if r = h.rollout(t, r.ID); r.Begun != begun {
				t.Fatalf("the next wave has begun too early: %+v", r)
			}
			h.answer(t, 0, "")
		}
		if r = h.rollout(t, r.ID); r.Status != RolloutComplete || r.Succeeded != 20 || r.Failed != 0 {
			t.Errorf("%+v", r)
		}
		if j, err := h.Job(t.Context(), h.by.Account, r.JobID); err != nil || j.Status != JobComplete || j.Type != JobRollout {
			t.Errorf("%+v, %v", j, err)
		}
		if n := len(h.allOf(t, "rollout = '"+r.ID+"' and status = 'successful'")); n != 20 {
			t.Errorf("%d operations", n)
		}
		if got := h.path(t, r.ID); got != "gathering running complete" {
			t.Errorf("its way: %s", got)
		}
		if p, err := h.PreviewRollout(t.Context(), h.by, toFleet); err != nil || p.Active != 20 || p.Present != 0 {
			t.Errorf("again it would find %+v, %v", p, err)
		}
		h.pass(91 * 24 * time.Hour)
		if err := h.retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		left, err := h.listItems(t)
		if _, gone := h.Rollout(t.Context(), h.by.Account, r.ID); err != nil || left != 0 || !fault.Is(gone, fault.NotFound) {
			t.Errorf("after its time %d eSIMs are left, and %v", left, gone)
		}
	})
}

func (h *house) listItems(t *testing.T) (n int, err error) {
	t.Helper()
	err = h.DB.Read(t.Context(), func(q db.Query) error {
		return q.QueryRowContext(t.Context(), `select count(*) from esim_rollout_item`).Scan(&n)
	})
	return n, err
}

// TestRolloutStops when too many fail, goes on when told to, and ends.
func TestRolloutStops(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.fleet(t, 20)
		r, err := h.StartRollout(t.Context(), h.by, toFleet)
		if err != nil {
			t.Fatal(err)
		}
		h.rollout(t, r.ID)
		h.answer(t, 1, CodePolicy) // both of the first wave
		if r = h.rollout(t, r.ID); r.Status != RolloutStopped || r.Begun != 2 || r.Failed != 2 || r.Message == "" {
			t.Fatalf("%+v", r)
		}
		if r = h.rollout(t, r.ID); r.Begun != 2 {
			t.Fatalf("it goes on by itself: %+v", r)
		}
		if _, err := h.ContinueRollout(t.Context(), h.by, r.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ContinueRollout(t.Context(), h.by, r.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("continued twice: %v", err)
		}
		for range 4 {
			r = h.rollout(t, r.ID)
			h.answer(t, 0, "")
		}
		if r = h.rollout(t, r.ID); r.Status != RolloutComplete || r.Succeeded != 18 || r.Failed != 2 {
			t.Errorf("%+v", r)
		}
	})
}

// TestRolloutRetries what failed in passing, waits for eSIMs that are busy, and
// survives a restart.
func TestRolloutRetries(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.fleet(t, 4)
		busy := h.begins(t, Order{Work: WorkActivate, Device: numberedID(0), EID: numberedEID(t, 0), Carrier: "northwind"})
		order := toFleet
		order.Waves, order.Retries, order.FailureRate = []int{100}, 1, 0
		r, err := h.StartRollout(t.Context(), h.by, order)
		if err != nil {
			t.Fatal(err)
		}
		if r = h.rollout(t, r.ID); r.Begun != 4 {
			t.Fatalf("%+v", r)
		}
		if n := len(h.allOf(t, "")); n != 4 { // busy's own, and three of the rollout
			t.Fatalf("%d operations", n)
		}
		h.answer(t, 1, CodeRolledBack)
		if got := h.op(t, busy.ID); got.Status != OpFailed {
			t.Fatalf("%+v", got)
		}
		h.open(t, d)
		if r = h.rollout(t, r.ID); r.Failed != 0 || r.Status != RolloutRunning {
			t.Fatalf("%+v", r)
		}
		h.pass(2 * time.Minute)
		h.rollout(t, r.ID)
		if n := h.answer(t, 0, ""); n != 4 {
			t.Errorf("%d tasks on the second round", n)
		}
		if r = h.rollout(t, r.ID); r.Status != RolloutComplete || r.Succeeded != 4 {
			t.Errorf("%+v", r)
		}
	})
}

// TestRolloutTrouble has the server itself fail at some eSIMs: the others go on,
// one is healed later, two are given up and told.
func TestRolloutTrouble(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.fleet(t, 20)
		healed, refused, panics := numberedEID(t, 3), numberedEID(t, 7), numberedEID(t, 11)
		sick := true
		h.eim.trouble = func(eid ident.EID) error {
			switch {
			case eid == healed && sick, eid == refused:
				return errors.New("disk I/O error")
			case eid == panics:
				panic("index out of range")
			}
			return nil
		}
		order := toFleet
		order.Waves, order.FailureRate = []int{50, 100}, 25
		r, err := h.StartRollout(t.Context(), h.by, order)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < 40 && r.Status != RolloutComplete; i++ {
			r = h.rollout(t, r.ID)
			h.answer(t, 0, "")
			h.pass(11 * time.Minute)
			sick = r.Begun < 20 && i < 5
		}
		if r.Status != RolloutComplete || r.Begun != 20 || r.Succeeded != 18 || r.Failed != 2 {
			t.Fatalf("%+v", r)
		}
		if r.Message == "" {
			t.Error("the rollout says nothing of it")
		}
		told := map[string]bool{}
		for _, e := range h.events(t, r.ID) {
			if e.Kind == "esim_rollout.esim_failed" {
				var data struct{ EID, Message string }
				if err := json.Unmarshal(e.Data.(json.RawMessage), &data); err != nil || data.Message == "" {
					t.Errorf("%s, %v", e.Data, err)
				}
				told[data.EID] = true
			}
		}
		if len(told) != 2 || !told[string(refused)] || !told[string(panics)] {
			t.Errorf("told: %v", told)
		}
	})
}

// TestRolloutStuck has an operation that nobody can end: its eSIM has failed after
// its time and the rollout goes on.
func TestRolloutStuck(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.fleet(t, 4)
		order := toFleet
		order.Waves, order.FailureRate = []int{25, 100}, 100
		r, err := h.StartRollout(t.Context(), h.by, order)
		if err != nil {
			t.Fatal(err)
		}
		h.rollout(t, r.ID)
		stuck := h.eim.tasks[h.eim.order[0]].EID
		h.eim.trouble = func(eid ident.EID) error {
			if eid == stuck {
				return errors.New("malformed record")
			}
			return nil
		}
		h.pass(h.limits().Operation + time.Minute)
		if err := h.expire(t.Context(), sweepChunk); err == nil {
			t.Fatal("it could be ended")
		}
		if r = h.rollout(t, r.ID); r.Begun != 1 || r.Failed != 0 {
			t.Fatalf("given up too early: %+v", r)
		}
		h.pass(h.limits().Operation)
		if r = h.rollout(t, r.ID); r.Begun != 4 || r.Failed != 1 || r.Message == "" {
			t.Fatalf("%+v", r)
		}
		h.eim.set(h.eim.order[0], StageDone) // so that it is left out of the answers
		h.answer(t, 0, "")
		if r = h.rollout(t, r.ID); r.Status != RolloutComplete || r.Succeeded != 3 || r.Failed != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// TestRolloutCancelled takes back what no device has got.
func TestRolloutCancelled(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.fleet(t, 10)
		order := toFleet
		order.Waves = []int{50, 100}
		r, err := h.StartRollout(t.Context(), h.by, order)
		if err != nil {
			t.Fatal(err)
		}
		h.rollout(t, r.ID)
		got := h.eim.order[0]
		h.eim.set(got, StageSent)
		if j, err := h.CancelJob(t.Context(), h.by, r.JobID); err != nil || j.Status != JobCanceled {
			t.Fatal(j, err)
		}
		if err := h.withdraw(t.Context(), withdrawArgs{Rollout: r.ID, Account: h.by.Account}); err != nil {
			t.Fatal(err)
		}
		if n := len(h.allOf(t, "message_code = 'cancelled'")); n != 4 {
			t.Errorf("%d operations are cancelled", n)
		}
		if r = h.rollout(t, r.ID); r.Status != RolloutCancelled || h.eim.count() != 5 {
			t.Errorf("%+v, %d tasks", r, h.eim.count())
		}
	})
}

// TestRolloutRefused names the field.
func TestRolloutRefused(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	for field, change := range map[string]func(*RolloutOrder){
		"operation":    func(o *RolloutOrder) { o.Work = "reboot" },
		"carrier":      func(o *RolloutOrder) { o.Carrier = "" },
		"query":        func(o *RolloutOrder) { o.Query = "group equals 'x'" },
		"waves":        func(o *RolloutOrder) { o.Waves = []int{50, 10, 100} },
		"failure_rate": func(o *RolloutOrder) { o.FailureRate = 101 },
		"retries":      func(o *RolloutOrder) { o.Retries = -1 },
	} {
		o := toFleet
		change(&o)
		_, err := h.StartRollout(t.Context(), h.by, o)
		if refusal, _ := fault.As(err); refusal == nil || refusal.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
