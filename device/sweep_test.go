package device

import (
	"context"
	"errors"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
)

// stubborn is an eIM that does not take one task back.
type stubborn struct {
	EIM
	task string
}

func (s stubborn) Cancel(ctx context.Context, tx *db.Tx, id string) (bool, error) {
	if id == s.task {
		return false, errors.New("no")
	}
	return s.EIM.Cancel(ctx, tx, id)
}

// TestSweepPassesBy: what cannot be ended holds up nothing behind it.
func TestSweepPassesBy(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	h.fleet(t, 5)
	for i := range 5 {
		h.begins(t, Order{Work: WorkEnable, Device: numberedID(i), EID: numberedEID(t, i), ICCID: numberedICCID(t, i)})
	}
	h.EIM = stubborn{h.eim, h.eim.order[0]}
	h.pass(24 * time.Hour)
	if err := h.expire(t.Context(), 2); err == nil {
		t.Error("nothing is said of the one that cannot be ended")
	}
	if left := h.allOf(t, "status = 'enable'"); len(left) != 1 {
		t.Errorf("%d are left", len(left))
	}
}
