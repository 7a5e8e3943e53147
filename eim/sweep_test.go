package eim

import (
	"strings"
	"testing"
	"time"

	"godwit/db"
)

// TestSweepPassesOver a task that cannot be ended.
func TestSweepPassesOver(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		until := w.clock.Now().Add(time.Hour)
		var ids []string
		for range 3 {
			v := w.device()
			v.run()
			ids = append(ids, w.queue(Task{EID: v.eid, Kind: Disable, ICCID: iccidA, Until: until}))
		}
		w.write(func(tx *db.Tx) error {
			_, err := tx.ExecContext(t.Context(), `update eim_task set spec = $2, until_at = until_at - 1 where id = $1`, ids[0], []byte("damaged"))
			return err
		})
		w.clock.Forward(2 * time.Hour)
		if err := w.server.sweep(t.Context()); err == nil || !strings.Contains(err.Error(), ids[0]) {
			t.Errorf("of the one that is damaged the sweep says %v", err)
		}
		for _, id := range ids[1:] {
			if o := w.outcome(id); o.Stage != Expired {
				t.Errorf("%+v", o)
			}
		}
		w.write(func(tx *db.Tx) error {
			_, err := tx.ExecContext(t.Context(), `delete from eim_task where id = $1`, ids[0])
			return err
		})
	})
}

func TestSightingsAreWrittenInBatches(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		for range 10 {
			v.poll()
		}
		if n := w.count(`select count(*) from eim_euicc where seen_at > 0 and eid = $1`, string(v.eid)); n != 0 {
			t.Error("a poll was written at once")
		}
		if err := w.server.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(w.sightings) != 1 || w.sightings[0].EID != v.eid || w.sightings[0].Address != "127.0.0.1" {
			t.Errorf("%+v", w.sightings)
		}
		if n := w.count(`select count(*) from eim_euicc where seen_at > 0 and eid = $1`, string(v.eid)); n != 1 {
			t.Error("the poll is not written")
		}
	})
}
