package charge

import (
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
)

func TestAmounts(t *testing.T) {
	for in, want := range map[string]string{"1.25": "1.25", "0": "0.00", "3": "3.00", "0.000001": "0.000001", "10.5": "10.50", "1099511627775": "1099511627775.00"} {
		if a, err := ParseAmount(in); err != nil || a.String() != want {
			t.Errorf("%s is %s, %v; want %s", in, a, err, want)
		}
	}
	for _, in := range []string{"", ".", "1.", "-1", "+1", "1,5", "1.0000001", "1e3", "1.-5", " 1"} {
		if a, err := ParseAmount(in); err == nil {
			t.Errorf("%q was taken as %s", in, a)
		}
	}
}

func TestLedger(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := &Ledger{DB: d}
		ctx := t.Context()
		for i, p := range []Price{{"", "", 1 * unit, "EUR", time.Time{}}, {"", "a", 2 * unit, "EUR", time.Time{}}, {"AC1", "", 3 * unit, "USD", time.Time{}}, {"AC1", "a", 4 * unit, "USD", time.Time{}}} {
			if err := l.SetPrice(ctx, p); err != nil {
				t.Fatal(i, err)
			}
		}
		add := func(entries ...Entry) error {
			return d.Write(ctx, func(tx *db.Tx) error { return l.Add(ctx, tx, entries...) })
		}
		at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
		if err := add(
			Entry{Profile: "HP1", Account: "AC1", Type: "a", At: at}, Entry{Profile: "HP2", Account: "AC1", Type: "b", At: at.Add(1e6)},
			Entry{Profile: "HP3", Account: "AC2", Type: "a", At: at}, Entry{Profile: "HP4", Account: "AC2", Type: "=b", At: at.Add(1e6)},
		); err != nil {
			t.Fatal(err)
		}
		if err := add(Entry{Profile: "HP5", Account: "AC1", At: at}, Entry{Profile: "HP1", Account: "AC1", At: at}); !db.IsUnique(err) {
			t.Errorf("a second entry of one profile: %v", err)
		}
		var out strings.Builder
		if err := l.Export(ctx, &out, Filter{}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"HP1,,,a,,4.00,USD", "HP2,,,b,,3.00,USD", "HP3,,,a,,2.00,EUR", "HP4,,,'=b,,1.00,EUR"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s is not in the ledger:\n%s", want, out.String())
			}
		}
		if n := strings.Count(out.String(), "\n"); n != 5 {
			t.Errorf("%d lines", n)
		}
	})
}
