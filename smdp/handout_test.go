package smdp

import (
	"errors"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
)

func TestHandOut(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.stock("minimal-usim", 3)
		c := w.chip()
		const typ = "minimal-usim"
		wants := []Want{
			{Type: typ, Code: true},
			{Type: typ, EID: c.eid},
			{Type: "unknown", Code: true},
			{Type: typ, EID: "123", Code: true},
			{Type: typ}, // nobody could ever fetch it
			{Type: typ, EID: c.eid, Code: true},
			{Type: typ, Code: true}, // none is left
			{Type: typ, Code: true},
		}
		var got map[int]Handed
		handOut := func(after error) error {
			return d.Write(t.Context(), func(tx *db.Tx) (err error) {
				if got, err = w.server.HandOut(t.Context(), tx, wants); err != nil {
					return err
				}
				return after
			})
		}
		undone := errors.New("undone")
		if err := handOut(undone); !errors.Is(err, undone) {
			t.Fatal(err)
		}
		for _, h := range got {
			w.wantState(h.ICCID, Available)
		}
		if err := handOut(nil); err != nil {
			t.Fatal(err)
		}
		seen := map[ident.ICCID]bool{}
		for i, h := range got {
			seen[h.ICCID] = true
			w.wantState(h.ICCID, Released)
			p := w.profile(h.ICCID)
			if p.EID != wants[i].EID || p.MatchingID != string(h.MatchingID) || (h.MatchingID != "") != wants[i].Code || h.Address != w.server.Address() {
				t.Errorf("want %d: handed %+v, profile %+v", i, h, p)
			}
		}
		if _, first := got[0]; len(got) != 3 || len(seen) != 3 || !first {
			t.Fatalf("handed out %v", got)
		}
		if err := handOut(nil); err != nil || len(got) != 0 {
			t.Errorf("handed out of an empty stock: %v, %v", got, err)
		}
		// The eUICC fetches its profile by its EID alone.
		s := c.start()
		wantCode(t, s.authenticate(nil), "")
	})
}
