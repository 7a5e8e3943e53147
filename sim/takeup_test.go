package sim

import (
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/jobs"
)

// TestTakenUpAtOnce: what a job had claimed whose process died is taken up when
// the job is worked again, not when its lease ends; another job leaves it alone.
func TestTakenUpAtOnce(t *testing.T) {
	died, other := jobs.Hand{Job: 7}, jobs.Hand{Job: 8, Again: true}
	again := jobs.Hand{Job: 7, Again: true}
	check := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		ctx := t.Context()
		ac := h.account(t, "")
		first, second := h.fleet(t, ac, "first"), h.fleet(t, ac, "second")
		ready := h.available(t, Reservation{Account: ac, EID: testEID})
		one := h.put(t, h.sim(t, ac, ready.SIM), Active, first.SID)

		_, _, err := h.UpdateSim(ctx, ac, one.SID, SimUpdate{Fleet: &second.SID})
		check(t, err)
		if batch, _, err := h.claimChanges(ctx, died); err != nil || len(batch) != 1 {
			t.Fatalf("claimed %d updates, %v", len(batch), err)
		}
		check(t, h.carryOut(ctx, other))
		if is := h.sim(t, ac, one.SID); is.Status != Scheduled {
			t.Fatalf("another job has ended the update: %s", is.Status)
		}
		check(t, h.carryOut(ctx, again))
		if is := h.sim(t, ac, one.SID); is.Status != Active || is.Fleet != second.SID {
			t.Errorf("the Sim is %s in %s", is.Status, is.Fleet)
		}

		p, err := h.Reserve(ctx, Reservation{Account: ac, WantsCode: true})
		check(t, err)
		if batch, _, err := h.claim(ctx, died); err != nil || len(batch) != 1 {
			t.Fatalf("claimed %d reservations, %v", len(batch), err)
		}
		check(t, h.reserve(ctx, other))
		if is := h.profile(t, p); is.Status != ProfileReserving {
			t.Fatalf("another job has ended the reservation: %s", is.Status)
		}
		check(t, h.reserve(ctx, again))
		if is := h.profile(t, p); is.Status != ProfileAvailable {
			t.Errorf("the reservation is %s", is.Status)
		}
	})
}
