package sim

import (
	"context"
	"strings"
	"testing"

	"godwit/charge"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
	"godwit/ident"
	"godwit/jobs"
)

// A counter is a [Handout] with a small stock that it names beforehand.
type counter struct{ stock []ident.ICCID }

func (c *counter) HandOut(_ context.Context, _ *db.Tx, wants []Want) (map[int]Handed, error) {
	given := map[int]Handed{}
	for i, w := range wants {
		if i == len(c.stock) {
			break
		}
		given[i] = Handed{ICCID: c.stock[i], Address: "SMDP.example.net:443"}
		if w.Code {
			given[i] = Handed{c.stock[i], ident.NewMatchingID(), given[i].Address}
		}
	}
	return given, nil
}

// TestHandedOut reserves at an SM-DP+ that hands out two profiles, one of them
// with an ICCID that is a Sim's already, and leaves the rest to its calls. Both
// ways in are taken: an order of many, and single reservations.
func TestHandedOut(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.Ledger = &charge.Ledger{DB: d}
		ac := h.account(t, "")
		there := h.available(t, Reservation{Account: ac, WantsCode: true})
		r := Reservation{Account: ac, WantsCode: true}

		h.Handout = &counter{[]ident.ICCID{"8988307000000000017", there.ICCID}}
		var left []Profile
		if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			left, err = h.ReserveMany(t.Context(), tx, "HO1", 1, []Reservation{r, r, r})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if len(left) != 1 || left[0].Item != 3 || left[0].Status != ProfileReserving {
			t.Fatalf("left to be prepared: %+v", left)
		}
		if err := h.Prepare(t.Context(), left); err != nil {
			t.Fatal(err)
		}
		items, err := h.Items(t.Context(), "HO1", 1, 3)
		if err != nil || len(items) != 3 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		wantHanded(t, h, items, there)
		if available, failed, err := countIn(t, h, "HO1"); err != nil || available != 2 || failed != 1 {
			t.Errorf("%d available, %d failed, %v", available, failed, err)
		}

		h.Handout = &counter{[]ident.ICCID{"8988307000000000025", there.ICCID}}
		single := make([]Profile, 3)
		for i := range single {
			if single[i], err = h.Reserve(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.reserve(t.Context(), jobs.Hand{}); err != nil {
			t.Fatal(err)
		}
		for i := range single {
			if single[i], err = h.Profile(t.Context(), ac, single[i].SID); err != nil {
				t.Fatal(err)
			}
		}
		wantHanded(t, h, single, there)
	})
}

// countIn counts an order's items.
func countIn(t *testing.T, h *house, order string) (available, failed int64, err error) {
	t.Helper()
	err = h.DB.Read(t.Context(), func(q db.Query) (err error) {
		available, failed, err = h.CountItems(t.Context(), q, order, 1, 1000)
		return err
	})
	return available, failed, err
}

// wantHanded wants of three reservations one handed out, one refused for its
// ICCID and one prepared by calls, each with its events, the available ones with
// a Sim and a charge.
func wantHanded(t *testing.T, h *house, three []Profile, there Profile) {
	t.Helper()
	for i, p := range three {
		var kinds []string
		charged := 0
		if err := h.DB.Read(t.Context(), func(q db.Query) error {
			events, err := h.Events.List(t.Context(), q, event.Filter{Subject: p.SID})
			for _, e := range events {
				kinds = append(kinds, strings.TrimPrefix(e.Kind, "esim_profile."))
				if settled := e.Kind != "esim_profile.new" && e.Kind != "esim_profile.reserving"; settled != (len(e.Evidence) > 0) {
					t.Errorf("reservation %d: event %s has evidence %q", i, e.Kind, e.Evidence)
				}
			}
			if err != nil {
				return err
			}
			return q.QueryRowContext(t.Context(), `select count(*) from charge where sid = $1`, p.SID).Scan(&charged)
		}); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if p.Status != ProfileFailed || p.ErrorCode != "83501" || p.SIM != "" || charged != 0 || kinds[0] != "failed" {
				t.Errorf("the one whose ICCID is another's: %+v, %v, %d charges", p, kinds, charged)
			}
			continue
		}
		if p.Status != ProfileAvailable || p.ICCID == there.ICCID || p.MatchingID == "" || charged != 1 || kinds[0] != "available" {
			t.Errorf("reservation %d: %+v, %v, %d charges", i, p, kinds, charged)
		}
		if one, err := h.Sim(t.Context(), p.Account, p.SIM); err != nil || one.ICCID != p.ICCID || one.Status != New {
			t.Errorf("its Sim: %+v, %v", one, err)
		}
	}
}
