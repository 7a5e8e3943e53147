package eim

import (
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
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

// TestNotUndone has an eUICC say that it enabled a profile and could not go back to
// the one before.
func TestNotUndone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		for _, c := range []struct {
			code   int64
			stage  Stage
			reason string
		}{{rsp.ResultOK, Failed, rolledBack}, {127, Done, "complete"}} {
			id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA, Rollback: true})
			order, err := iot.ReadPackageRequest(v.poll().EUICCPackage)
			if err != nil {
				t.Fatal(err)
			}
			v.seq++
			v.counter = order.Counter
			v.provide(&iot.ProvideEimPackageResult{PackageResult: v.sign(&iot.PackageResult{
				EimID: order.EimID, Counter: order.Counter, TransactionID: order.TransactionID, Sequence: v.seq,
				Results: []iot.OpResult{{Op: iot.OpEnable}, {Op: iot.OpRollback, Code: c.code}},
			})})
			if o := w.outcome(id); o.Stage != c.stage || o.Reason != c.reason || o.Message == "" {
				t.Errorf("rollback %d: %s %s (%s), want %s %s", c.code, o.Stage, o.Reason, o.Message, c.stage, c.reason)
			}
			v.run()
		}
	})
}

// TestUndone has the answer to an enabling with rollback lost: the chip goes back,
// and its second word is told as well.
func TestUndone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := newDP(t, d)
		w := newWorld(t, d)
		v := newChipDevice(t, w)
		v.run()
		var profiles [2]ident.ICCID
		for i := range profiles {
			var code string
			code, profiles[i] = p.order(t, "")
			w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret(code)})
			v.run()
		}
		w.queue(Task{EID: v.eid, Kind: Enable, ICCID: profiles[0]})
		v.run()

		enable := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: profiles[1], Rollback: true})
		order := w.ask(&iot.GetEimPackageRequest{EID: v.eid}).(*iot.GetEimPackageResponse)
		w.ask(&iot.ProvideEimPackageResult{EID: v.eid, PackageResult: v.do(order.EUICCPackage)}) // and the answer is lost
		if o := w.outcome(enable); o.Stage != Done {
			t.Fatalf("enabled: %+v", o)
		}
		code, back, err := iot.ParseRollback(v.do(iot.AppendRefresh(nil, iot.TagProfileRollback, true)))
		if err != nil || code != rsp.ResultOK {
			t.Fatalf("roll back: %d, %v", code, err)
		}
		for range 2 { // once more changes nothing
			w.ask(&iot.ProvideEimPackageResult{EID: v.eid, PackageResult: back})
		}
		list := w.outcomesOf(enable)
		if len(list) != 2 || list[1].Stage != Failed || list[1].Reason != rolledBack || list[1].Witness != ByEUICC {
			t.Errorf("outcomes: %+v", list)
		}
		v.run()
		for _, listed := range w.inventories[len(w.inventories)-1].Profiles {
			if on := listed.Enabled != nil && *listed.Enabled; on != (listed.ICCID == profiles[0]) {
				t.Errorf("after that %s is enabled: %v", listed.ICCID, on)
			}
		}
	})
}
