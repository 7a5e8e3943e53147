package usage

import (
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/sim"
)

// TestMove: a Sim that moves to a subaccount leaves behind what it used and what
// was billed, takes its settings along, and does not escape its data limit.
func TestMove(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.run(t)
		parent := h.account
		one := h.sim(t, h.fleet(t, 10), sim.Active)
		h.use(t, one, 6*Megabyte, 0)
		h.become(t, one.SID, sim.Inactive)
		first := h.periods(t, one.SID)[0]

		var sub string
		check(t, d.Write(t.Context(), func(tx *db.Tx) error {
			a, _, err := h.Sims.Accounts.Create(t.Context(), tx, parent, "a subaccount")
			sub = a.SID
			return err
		}))
		none := ""
		move := func() error {
			_, later, err := h.Sims.UpdateSim(t.Context(), parent, one.SID, sim.SimUpdate{Account: &sub, Fleet: &none})
			if later {
				t.Error("a move is done at once")
			}
			return err
		}
		if err := move(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "new can move") {
			t.Fatalf("without the switch: %v", err)
		}
		h.Sims.MoveInactive = true
		check(t, move())
		h.clock.Forward(24*time.Hour + 10*time.Minute)

		h.account = sub
		fleet := h.fleet(t, 10)
		_, _, err := h.Sims.UpdateSim(t.Context(), sub, one.SID, sim.SimUpdate{Status: sim.Active, Fleet: &fleet.SID})
		check(t, err)
		await(t, "an active Sim", func() bool { return h.one(t, one.SID).Status == sim.Active })
		one = h.one(t, one.SID)
		l, err := h.Sims.SettingsUpdates(t.Context(), sub, one.SID, "", sim.Page{Limit: 10})
		check(t, err)
		if len(l.Items) == 0 {
			t.Error("the settings did not come along")
		}
		ours := h.periods(t, one.SID)
		if len(ours) != 1 || ours[0].Account != sub || !ours[0].Start.After(first.Start) || !ours[0].End.Equal(first.End) || ours[0].Used != 6*Megabyte {
			t.Fatalf("periods of the subaccount %+v; before it was %+v", ours, first)
		}
		if up, _ := h.total(t, RecordFilter{}); up != 0 {
			t.Errorf("the subaccount has used %d", up)
		}
		h.use(t, one, 4*Megabyte, 0)
		await(t, "data that is off", func() bool { return !h.core.data(one.SID) })
		if up, _ := h.total(t, RecordFilter{}); up != 4*Megabyte {
			t.Errorf("the subaccount has used %d", up)
		}

		h.account = parent
		if theirs := h.periods(t, one.SID); len(theirs) != 1 || theirs[0].SID != first.SID || !theirs[0].End.Equal(first.End) || theirs[0].Used != 6*Megabyte {
			t.Errorf("periods of the parent %+v", theirs)
		}
		if up, _ := h.total(t, RecordFilter{SIM: one.SID}); up != 6*Megabyte {
			t.Errorf("the parent's records say %d", up)
		}

		// The month after is the subaccount's alone, and its data is on again.
		h.account = sub
		h.clock.Forward(31 * 24 * time.Hour)
		check(t, h.Sweep(t.Context()))
		await(t, "data that is on", func() bool { return h.core.data(one.SID) })
		if next := h.periods(t, one.SID); len(next) != 2 || !next[0].Start.Equal(first.End) || next[0].Used != 0 {
			t.Errorf("periods in the next month %+v", next)
		}
	})
}
