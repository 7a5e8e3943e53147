package device

import (
	"context"
	"slices"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// work works jobs until a condition holds, which is looked at after each event.
func (h *house) work(t *testing.T, until func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	feed, err := h.Events.Subscribe(ctx, event.Filter{Account: h.by.Account}, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	working, end := context.WithCancel(ctx)
	go func() { done <- h.Jobs.Run(working) }()
	for !until() {
		if _, ok := <-feed; !ok {
			t.Fatal("time is up")
		}
	}
	end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (h *house) allOf(t testing.TB, where string) []Operation {
	t.Helper()
	p, err := h.OperationsPage(context.Background(), h.by.Account, spec(t, OperationSchema, where, "", 1000))
	if err != nil {
		t.Fatal(err)
	}
	return p.Items
}

// apply has rules look at an eSIM, as their job does.
func (h *house) apply(t *testing.T, eid ident.EID, trigger string, lost ...string) error {
	t.Helper()
	return h.applyRules(t.Context(), ruleArgs{Account: h.by.Account, EID: eid, Trigger: trigger, Lost: lost, At: h.clock().UnixMicro()})
}

func (h *house) rule(t *testing.T, u Rule) Rule {
	t.Helper()
	u.Enabled = true
	u, err := h.AddRule(t.Context(), h.by, u)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestRuleCollides: a rule whose first attempt to be stored is lost to another
// writer is stored by the second.
func TestRuleCollides(t *testing.T) {
	h := newHouse(t, dbtest.Postgres(t))
	u := Rule{Cause: CauseTemplate, Name: "north", Enabled: true, Group: "north", Work: WorkEnable, Carrier: "Northwind"}
	store := func(name string, write func() (Rule, error)) {
		t.Helper()
		var err error
		if u, err = write(); err != nil {
			t.Fatal(err)
		}
		if stored, err := h.Rule(t.Context(), h.by.Account, u.ID); err != nil || stored.Name != name || !stored.CreatedAt.Equal(u.CreatedAt) {
			t.Errorf("%+v, %v; want %+v", stored, err, u)
		}
	}
	store("north", func() (Rule, error) { return h.AddRule(dbtest.Repeated(t.Context()), h.by, u) })
	store("south", func() (Rule, error) {
		return h.ChangeRule(dbtest.Repeated(t.Context()), h.by, u.ID, func(u *Rule) { u.Name = "south" })
	})
}

// TestAutomation begins an operation when a device first appears and when it
// loses its profile, by the job queue.
func TestAutomation(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		u := h.rule(t, Rule{Cause: CauseAutomation, Name: "welcome", OnFirst: true, OnLost: true, Work: WorkActivate, Carrier: "Northwind"})
		iccid, next := h.code(t, 1, "Northwind"), h.code(t, 2, "Northwind")
		_, eid := h.device(t, 1)
		h.report(t, eid)
		h.work(t, func() bool { return len(h.allOf(t, "")) == 1 })
		o := h.allOf(t, "")[0]
		if o.Cause != CauseAutomation || o.CauseID != u.ID || o.Status != OpDownload || o.ICCID != iccid || o.Source != "v1/automations" {
			t.Fatalf("%+v", o)
		}
		h.done(t)
		h.report(t, eid, is(iccid, "Mobile", false))
		h.done(t)
		h.report(t, eid, is(iccid, "Mobile", true))
		if got := h.op(t, o.ID); got.Status != OpSuccessful {
			t.Fatalf("%+v", got)
		}
		h.report(t, eid, is(iccid, "Mobile", true)) // nothing new
		h.report(t, eid)                            // it is gone, and nobody has deleted it here
		h.work(t, func() bool { return len(h.allOf(t, "")) == 2 })
		if o := h.allOf(t, "")[1]; o.ICCID != next || o.Cause != CauseAutomation {
			t.Errorf("%+v", o)
		}
	})
}

// TestAutomationWaits: a rule begins nothing while something runs, and nothing
// twice.
func TestAutomationWaits(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		u := h.rule(t, Rule{Cause: CauseAutomation, OnFirst: true, Work: WorkActivate, Carrier: "Northwind"})
		h.code(t, 1, "Northwind")
		other := h.code(t, 2, "Other")
		id, eid := h.device(t, 1)
		o := h.begins(t, Order{Work: WorkDownload, Device: id, EID: eid, ICCID: other})
		args := ruleArgs{Account: h.by.Account, EID: eid, Trigger: triggerFirst, At: h.clock().UnixMicro()}
		if err := h.applyRules(t.Context(), args); !fault.Is(err, fault.Conflict) {
			t.Fatalf("while %s runs: %v", o.ID, err)
		}
		if _, err := h.Cancel(t.Context(), h.by, o.ID); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.applyRules(t.Context(), args); err != nil {
				t.Fatal(err)
			}
			h.fails(t, CodeUnreachable)
		}
		if n := len(h.allOf(t, "cause_id = '"+u.ID+"'")); n != 1 {
			t.Errorf("%d operations for one occasion", n)
		}
		if err := h.apply(t, numberedEID(t, 77), triggerFirst); err != nil {
			t.Errorf("an eSIM that is gone: %v", err)
		}
	})
}

// TestDeletedIsNotLost: what was deleted through this server is not brought back.
func TestDeletedIsNotLost(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		gone, stays := numberedICCID(t, 1), numberedICCID(t, 2)
		h.report(t, eid, is(gone, "Northwind", false), is(stays, "Other", true))
		h.rule(t, Rule{Cause: CauseAutomation, OnLost: true, Work: WorkActivate, Carrier: "Northwind"})
		if _, err := h.Act(t.Context(), h.by, ActionRequest{Action: Delete, Device: id, EID: eid, ICCID: gone}); err != nil {
			t.Fatal(err)
		}
		h.done(t)
		h.report(t, eid, is(stays, "Other", true))
		var jobs int
		if err := d.Read(t.Context(), func(q db.Query) error {
			return q.QueryRowContext(t.Context(), `select count(*) from river_job where kind = 'device.rules'`).Scan(&jobs)
		}); err != nil || jobs != 0 {
			t.Errorf("%d jobs of rules, %v", jobs, err)
		}
	})
}

// TestTemplate keeps the devices of a group on a carrier.
func TestTemplate(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		u := h.rule(t, Rule{Cause: CauseTemplate, Name: "north", Group: "/plant/north", Work: WorkActivate, Carrier: "Northwind"})
		if _, err := h.AddRule(t.Context(), h.by, Rule{Cause: CauseTemplate, Enabled: true, Group: "Plant/North", Work: WorkEnable, Carrier: "X"}); !fault.Is(err, fault.Conflict) {
			t.Errorf("a second template for the group: %v", err)
		}
		group := func(g string) func(*DevicePatch) { return func(p *DevicePatch) { p.Group = &g } }
		_, lacks := h.device(t, 1, group("Plant/North/Hall 3"))
		_, has := h.device(t, 2, group("plant/north"))
		moves, elsewhere := h.device(t, 3, group("plant/northern"))
		iccid := numberedICCID(t, 20)
		h.report(t, lacks, is(iccid, "northwind", false))
		h.report(t, has, is(numberedICCID(t, 21), "Northwind", true))
		h.report(t, elsewhere, is(numberedICCID(t, 22), "Northwind", false))
		scan := func() {
			t.Helper()
			if err := h.scanTemplates(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		scan()
		all := h.allOf(t, "")
		if len(all) != 1 || all[0].EID != lacks || all[0].Cause != CauseTemplate || all[0].CauseID != u.ID || all[0].Status != OpEnable {
			t.Fatalf("%+v", all)
		}
		h.pass(2 * time.Hour)
		scan() // while it runs
		h.fails(t, CodePolicy)
		h.pass(2 * time.Hour)
		scan() // it has failed, and its time has not come
		if n := len(h.allOf(t, "")); n != 1 {
			t.Errorf("%d operations", n)
		}
		h.pass(25 * time.Hour)
		scan()
		if n := len(h.allOf(t, "")); n != 2 {
			t.Errorf("%d operations after a day", n)
		}
		// A device that comes into the group is looked at at once.
		puts, err := h.PutDevices(t.Context(), h.by, []DevicePatch{{ID: moves, Group: ptr("plant/north")}}, PutOptions{})
		if err != nil || puts[0].Err != nil {
			t.Fatal(puts, err)
		}
		h.work(t, func() bool {
			return slices.ContainsFunc(h.allOf(t, ""), func(o Operation) bool { return o.EID == elsewhere })
		})
		if err := h.DeleteRule(t.Context(), h.by, u.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Rule(t.Context(), h.by.Account, u.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted: %v", err)
		}
	})
}

// TestRuleChangedMeanwhile: a scan goes over many eSIMs with a rule that was read
// before. What has become of the rule since counts.
func TestRuleChangedMeanwhile(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		_, eid := h.device(t, 1)
		h.report(t, eid, is(numberedICCID(t, 1), "Northwind", false))
		old := h.rule(t, Rule{Cause: CauseTemplate, Name: "old", Work: WorkEnable, Carrier: "Northwind"})
		old, err := h.Rule(t.Context(), h.by.Account, old.ID)
		if err != nil {
			t.Fatal(err)
		}
		h.pass(time.Minute)
		off := func(u *Rule) { u.Enabled = false }
		changed, err := h.ChangeRule(t.Context(), h.by, old.ID, off)
		if err != nil || changed.Enabled || changed.Name != "old" {
			t.Fatal(changed, err)
		}
		if _, err := h.scanSome(t.Context(), &old); err != nil {
			t.Fatal(err)
		}
		if all := h.allOf(t, ""); len(all) != 0 {
			t.Errorf("a rule that is switched off began %+v", all)
		}
		if _, err := h.ChangeRule(t.Context(), h.by, old.ID, func(u *Rule) { u.Enabled = true }); err != nil {
			t.Fatal(err)
		}
		if err := h.scanTemplates(t.Context()); err != nil { // at once, not when the old scan said
			t.Fatal(err)
		}
		if all := h.allOf(t, ""); len(all) != 1 {
			t.Errorf("%+v", all)
		}
		for cause, want := range map[Cause]string{CauseAutomation: "on_first", CauseTemplate: ""} {
			_, err := h.ChangeRule(t.Context(), h.by, old.ID, func(u *Rule) { u.Cause = cause })
			if refusal, _ := fault.As(err); (refusal == nil) != (want == "") || refusal != nil && refusal.Field != want {
				t.Errorf("%s: %v", cause, err)
			}
		}
	})
}

// TestRulesThatCannotBe are refused.
func TestRulesThatCannotBe(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	for _, c := range []struct {
		u     Rule
		field string
	}{
		{Rule{Cause: CauseRequest, Work: WorkEnable, Carrier: "X"}, "cause"},
		{Rule{Cause: CauseAutomation, Work: WorkEnable, Carrier: "X"}, "on_first"},
		{Rule{Cause: CauseTemplate, OnLost: true, Work: WorkEnable, Carrier: "X"}, "on_first"},
		{Rule{Cause: CauseTemplate, Work: WorkDownload, Carrier: "X"}, "operation"},
		{Rule{Cause: CauseTemplate, Work: "reboot", Carrier: "X"}, "operation"},
		{Rule{Cause: CauseTemplate, Work: WorkEnable}, "carrier"},
	} {
		_, err := h.AddRule(t.Context(), h.by, c.u)
		if refusal, _ := fault.As(err); refusal == nil || refusal.Field != c.field {
			t.Errorf("%+v: %v, want it refused for %s", c.u, err, c.field)
		}
	}
}
