package device

import (
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
)

// TestUnlisted enables and deletes a profile that the eUICC has signed to have
// installed and that its list does not name, until it signs that it is gone.
func TestUnlisted(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		iccid := h.code(t, 1, "Mobile")
		act := func(a Action) (Transaction, error) {
			return h.Act(t.Context(), h.by, ActionRequest{Action: a, Device: id, EID: eid, ICCID: iccid})
		}
		h.report(t, eid)
		if _, err := act(Enable); !fault.Is(err, fault.NotFound) {
			t.Fatalf("enable before the download: %v", err)
		}
		for _, a := range []Action{Download, Enable, Delete} {
			tx, err := act(a)
			if err != nil || tx.Status != TxInProgress || tx.ICCID != iccid {
				t.Fatalf("%s: %+v, %v", a, tx, err)
			}
			h.done(t)
			h.report(t, eid) // does not name it
			if tx := h.tx(t, tx.ID); tx.Status != TxComplete {
				t.Fatalf("%s: %+v", a, tx)
			}
			if _, err := act(Disable); !fault.Is(err, fault.NotFound) {
				t.Errorf("disable after %s: %v", a, err)
			}
		}
		if _, err := act(Enable); !fault.Is(err, fault.NotFound) {
			t.Errorf("enable after the deletion: %v", err)
		}
	})
}
