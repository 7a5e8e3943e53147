package eim

import (
	"crypto"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
)

// foreseen takes an answer of a device as the door does, and says how much was
// verified while the writer was held.
func (w *world) foreseen(t *testing.T, q *iot.ProvideEimPackageResult, meanwhile func()) (before, within int) {
	t.Helper()
	v, err := w.server.foresee(t.Context(), broughtBy(q))
	if err != nil {
		t.Fatal(err)
	}
	before = len(v.verdicts)
	meanwhile()
	w.write(func(tx *db.Tx) error {
		return w.server.take(t.Context(), tx, &claim{eid: q.EID, verifier: v}, q)
	})
	return before, len(v.verdicts) - before
}

// TestForeseen has nothing verified while the writer is held, whatever a device
// brings.
func TestForeseen(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		v := w.device()
		v.enabled = iccidA
		id := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret("LPA:1$smdp.example.com$X")})
		seen := map[string]int{}
		for range 20 {
			p := v.poll()
			if p.Error == iot.EimNoPackage {
				break
			}
			q := v.handle(p)
			what := "data"
			switch {
			case p.EUICCPackage != nil:
				what = "package"
			case p.DownloadTrigger != nil:
				what = "download"
			}
			v.seq++
			m := rsp.NotificationMetadata{Sequence: v.seq, Event: rsp.EventEnable, Address: "smdp.example.com", ICCID: iccidA}
			n, err := m.Sign(v.chip.Key, v.chip.Certificate.Raw, v.eum.Certificate.Raw)
			if err != nil {
				t.Fatal(err)
			}
			q.EID, q.Notifications = v.eid, [][]byte{n}
			before, within := w.foreseen(t, q, func() {})
			if seen[what] += before; within != 0 {
				t.Errorf("%s: %d signatures were verified while the writer was held, %d before", what, within, before)
			}
		}
		// Each has the notification and its chain, and what it is itself.
		if seen["data"] < 2 || seen["package"] < 3 || seen["download"] < 3 {
			t.Errorf("verified before: %v", seen)
		}
		if w.stage(id) != Done {
			t.Errorf("the download is %s", w.stage(id))
		}
	})
}

// TestForeseenByAnotherKey has the key of an agent replaced between the verification
// and the transaction: the verdict by the old one counts nothing.
func TestForeseenByAnotherKey(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		var keys [2]crypto.Signer
		for i := range keys {
			var err error
			if keys[i], err = pki.GenerateKey(pki.P256); err != nil {
				t.Fatal(err)
			}
		}
		v := w.device(func(v *device) { v.agent = keys[0] })
		v.run()
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidB})
		q := v.handle(v.poll())
		q.EID = v.eid
		before, within := w.foreseen(t, q, func() {
			public, err := pki.PublicKeyOf(keys[1])
			if err != nil {
				t.Fatal(err)
			}
			w.write(func(tx *db.Tx) error {
				_, err := tx.ExecContext(t.Context(), `update eim_euicc set agent_key = $2 where eid = $1`, string(v.eid), public.Info())
				return err
			})
		})
		if before != 1 || within != 1 {
			t.Errorf("%d signatures were verified before and %d within, want each once", before, within)
		}
		if w.stage(id) != Sent || w.count(`select count(*) from eim_result where eid = $1 and task = $2 and verdict = 'refused'`, string(v.eid), id) != 1 {
			t.Errorf("a result by the old key was believed: the task is %s", w.stage(id))
		}
	})
}
