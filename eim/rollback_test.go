package eim

import (
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
)

// TestNothingToGoBackTo enables profiles with rollback on a real chip: the first
// one, which has no way back, and one after another, which has.
func TestNothingToGoBackTo(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := newDP(t, d)
		w := newWorld(t, d)
		v := newChipDevice(t, w)
		v.run()
		var profiles [2]ident.ICCID
		for i := range profiles {
			var code string
			code, profiles[i] = p.order(t, "")
			download := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret(code)})
			v.run()
			if o := w.outcome(download); o.Stage != Done {
				t.Fatalf("download: %+v", o)
			}
		}
		for _, iccid := range profiles {
			enable := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccid, Rollback: true})
			v.run()
			if o := w.outcome(enable); o.Stage != Done || o.Reason != "complete" {
				t.Errorf("enable %s with rollback: %+v", iccid, o)
			}
			last := w.inventories[len(w.inventories)-1]
			for _, listed := range last.Profiles {
				if on := listed.Enabled != nil && *listed.Enabled; on != (listed.ICCID == iccid) {
					t.Errorf("after that %s is enabled: %v", listed.ICCID, on)
				}
			}
		}
		if n := w.count(`select count(*) from eim_task where kind = 'enable' and attempt = 2`); n != 1 {
			t.Errorf("%d of the two were sent twice, want 1", n)
		}
	})
}
