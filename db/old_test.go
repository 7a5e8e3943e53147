package db_test

import (
	"slices"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
)

// TestAddressesOfOld: the addresses of data sessions that were open before they
// had a table are in it afterwards.
func TestAddressesOfOld(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if err := d.MigrateTo(t.Context(), 28); err != nil {
			t.Fatal(err)
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			for id, s := range map[string]struct {
				addresses string
				open      bool
			}{
				"one": {"100.64.0.1", true}, "two": {"100.64.0.2 2001:db8::2", true}, "twice": {"100.64.0.3 100.64.0.3", true}, "none": {"", true}, "ended": {"100.64.0.9", false},
			} {
				if _, err := tx.Exec(t.Context(), `insert into usage_session (nas, id, sim_sid, seconds, upload, download, wide, addresses, is_open, began_at, last_at)
					values ('gw', $1, 'HS', 0, 0, 0, $2, $3, $4, 0, 0)`, id, false, s.addresses, s.open); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.MigrateTo(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := d.Read(t.Context(), func(q db.Query) (err error) {
			got, err = db.All(t.Context(), q, db.Only[string], `select id || ' ' || address from usage_address order by 1`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if want := []string{"one 100.64.0.1", "twice 100.64.0.3", "two 100.64.0.2", "two 2001:db8::2"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}
