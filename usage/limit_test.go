package usage

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/sim"
)

// told returns what a customer was told about a Sim, oldest first.
func (h *house) told(t *testing.T, sid string) (all []url.Values) {
	t.Helper()
	check(t, h.DB.Read(t.Context(), func(q db.Query) error {
		list, err := h.Callbacks.List(t.Context(), q, callback.Filter{Subject: sid, Limit: 100})
		all = nil
		for _, d := range list {
			form, err := url.ParseQuery(d.Form)
			check(t, err)
			all = append(all, form)
		}
		slices.Reverse(all)
		return err
	}))
	return all
}

// TestDataLimit: a Sim that uses up its Fleet's limit has no data service until
// the limit is raised, or the next period begins.
func TestDataLimit(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.run(t)
		fleet := h.fleet(t, 10)
		_, err := h.SetLimitCallback(t.Context(), h.account, sim.Callback{URL: "https://hooks.example.com/limits"})
		check(t, err)
		one, other := h.sim(t, fleet, sim.Active), h.sim(t, fleet, sim.Active)
		on := func(want bool) {
			t.Helper()
			await(t, "data service as it should be", func() bool { return h.core.data(one.SID) == want })
			if !h.core.data(other.SID) {
				t.Error("the other Sim is off")
			}
		}
		on(true)
		h.use(t, one, 4*Megabyte, 6*Megabyte-1)
		on(true)
		h.use(t, one, 1, 0)
		on(false)
		h.use(t, one, 1, 0) // what was still under way changes nothing more
		on(false)

		raise := func(to int64) {
			t.Helper()
			_, err := h.Sims.UpdateFleet(t.Context(), h.account, fleet.SID, sim.FleetUpdate{DataLimit: &to})
			check(t, err)
		}
		raise(11)
		on(true)
		raise(5)
		on(false)

		// In the next period the counter begins anew.
		h.clock.Forward(32 * 24 * time.Hour)
		check(t, h.Sweep(t.Context()))
		on(true)
		h.use(t, one, 5*Megabyte, 0)
		on(false)

		// Inactive and active again within the period: the counter stays.
		h.become(t, one.SID, sim.Inactive)
		h.become(t, one.SID, sim.Active)
		on(false)

		var events, callbacks []string
		for _, kind := range h.events(t, one.SID) {
			if what, ok := strings.CutPrefix(kind, "sim.data_limit_"); ok {
				events = append(events, what)
			}
		}
		for _, form := range h.told(t, one.SID) {
			callbacks = append(callbacks, strings.TrimPrefix(form.Get("EventType"), "data_limit."))
			if form.Get("SimSid") != one.SID || form.Get("FleetSid") != fleet.SID || form.Get("AccountSid") != h.account {
				t.Errorf("told %v", form)
			}
		}
		want := "reached lifted reached lifted reached"
		if got := strings.Join(events, " "); got != want {
			t.Errorf("events: %s, want %s", got, want)
		}
		slices.Sort(callbacks) // the record of deliveries has no order within a moment
		if got := strings.Join(callbacks, " "); got != "lifted lifted reached reached reached" {
			t.Errorf("callbacks: %s", got)
		}
	})
}

// TestPeriods: a period begins with the activation, is used again by a Sim that
// comes back before its end, and is followed by the next without a gap.
func TestPeriods(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.clock.Set(time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC))
		h.run(t)
		one := h.sim(t, h.fleet(t, 10), "")
		if got := h.periods(t, one.SID); len(got) != 0 {
			t.Fatalf("a new Sim has periods: %+v", got)
		}
		show := func() (all []string) {
			for _, p := range h.periods(t, one.SID) {
				all = append(all, string(p.Type)+p.Start.Format(" 0102")+p.End.Format("-0102"))
			}
			return all
		}
		expect := func(want ...string) {
			t.Helper()
			if got := show(); !slices.Equal(got, want) {
				t.Errorf("periods %q, want %q", got, want)
			}
		}
		h.become(t, one.SID, sim.Active)
		expect("active 0131-0228")
		h.become(t, one.SID, sim.Inactive)
		h.clock.Forward(20 * 24 * time.Hour) // February 20
		h.become(t, one.SID, sim.Active)
		expect("active 0131-0228")
		h.clock.Forward(50 * 24 * time.Hour) // April 11
		check(t, h.Sweep(t.Context()))
		expect("active 0331-0430", "active 0228-0331", "active 0131-0228")
		h.become(t, one.SID, sim.Inactive)
		h.clock.Forward(60 * 24 * time.Hour) // June 10
		check(t, h.Sweep(t.Context()))
		expect("active 0331-0430", "active 0228-0331", "active 0131-0228")
		h.become(t, one.SID, sim.Active)
		expect("active 0610-0710", "active 0331-0430", "active 0228-0331", "active 0131-0228")
	})
}

// TestReadyToActive: data, commands or time make a ready Sim active.
func TestReadyToActive(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.run(t)
		fleet := h.fleet(t, 10)
		byData, byCommands, byTime := h.sim(t, fleet, sim.Ready), h.sim(t, fleet, sim.Ready), h.sim(t, fleet, sim.Ready)
		is := func(one sim.Sim, want sim.Status) {
			t.Helper()
			if got := h.one(t, one.SID).Status; got != want {
				t.Errorf("status %s, want %s", got, want)
			}
		}
		command := func() {
			t.Helper()
			check(t, h.DB.Write(t.Context(), func(tx *db.Tx) error { return h.Command(t.Context(), tx, byCommands.SID) }))
		}
		h.use(t, byData, ReadyOctets-1, 0)
		for range ReadyCommands - 1 {
			command()
		}
		is(byData, sim.Ready)
		is(byCommands, sim.Ready)
		h.use(t, byData, 0, 1)
		command()
		is(byData, sim.Active)
		is(byCommands, sim.Active)
		command() // no more than that
		is(byCommands, sim.Active)

		var types []string
		for _, p := range h.periods(t, byData.SID) {
			types = append(types, string(p.Type))
		}
		if got := strings.Join(types, " "); got != "active ready" {
			t.Errorf("periods %s", got)
		}
		h.clock.Forward(89 * 24 * time.Hour)
		check(t, h.Sweep(t.Context()))
		is(byTime, sim.Ready)
		h.clock.Forward(4 * 24 * time.Hour)
		check(t, h.Sweep(t.Context()))
		is(byTime, sim.Active)
	})
}
