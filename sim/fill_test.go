package sim

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
)

// TestFillIsImport holds the Sims that are made for measuring against those of
// an imported list: the same rows in all tables, but for SIDs, times and what is
// random anyway.
func TestFillIsImport(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		h := newHouse(t, d)
		ours := h.account(t, "")
		for _, tt := range []struct{ what, eid string }{{"factory", "8904903295"}, {"plastic", ""}} {
			f := Filling{Account: ours, First: 7, Sims: 70, ICCID: "8999955", IMSI: "99955", EID: tt.eid}
			if tt.eid == "" {
				f.First = 1007
			}
			before := everything(t, d)
			sims := 0
			if err := h.Fill(ctx, f, func(n int) { sims = n }); err != nil || sims != f.Sims {
				t.Fatalf("%d Sims, %v", sims, err)
			}
			filled := newRows(before, everything(t, d))

			// The same cards once more, as if they had other numbers.
			cards := make([]Card, f.Sims)
			for i := range cards {
				var err error
				f.IMSI, f.ICCID = "99956", "8999956"
				if cards[i], err = f.card(f.First + i); err != nil {
					t.Fatal(err)
				}
			}
			before = everything(t, d)
			if err := h.ImportCards(ctx, ours, fillSource, cards); err != nil {
				t.Fatal(err)
			}
			imported := newRows(before, everything(t, d))
			imported = slices.DeleteFunc(imported, func(row string) bool { return strings.Contains(row, "card.imported") })
			if len(filled) < 4*f.Sims || !slices.Equal(filled, imported) {
				t.Errorf("%s: %d rows, an import makes %d", tt.what, len(filled), len(imported))
				for i := range min(len(filled), len(imported)) {
					if filled[i] != imported[i] {
						t.Fatalf("filled   %s\nimported %s", filled[i], imported[i])
					}
				}
			}
		}
		all, err := h.Sims(ctx, ours, SimFilter{}, Page{Limit: 1000})
		if err != nil || len(all.Items) != 280 {
			t.Fatalf("%d Sims, %v", len(all.Items), err)
		}
		c, err := h.Card(ctx, all.Items[200].ICCID)
		if err != nil || len(c.K) != 16 || c.SIM != all.Items[200].SID {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// everything returns the rows that a Sim has, with what differs from one to the
// other replaced.
func everything(t *testing.T, d *db.DB) map[string]int {
	t.Helper()
	rows := map[string]int{}
	for _, query := range []string{
		`select 'card', iccid, imsi, msisdn, eid, sim_sid, source, '', '', '', '' from card`,
		`select 'sim', sid, account_sid, coalesce(unique_name, ''), iccid, status, coalesce(fleet_sid, ''), '', '', '', '' from sim`,
		`select 'settings', sid, sim_sid, iccid, status, package, version, settings, reason, cast(lease as text), '' from settings_update`,
		`select 'profile', sid, account_sid, status, eid, profile_type, iccid, sim_sid, callback_method,
			coalesce(matching_id, '') || coalesce(smdp_plus_address, '') || cast(lease as text), case when generate_matching_id then 'y' else 'n' end from esim_profile`,
		`select 'event', kind, subject, account, data, evidence_kind, '', '', '', '', '' from event`,
	} {
		if err := d.Read(context.Background(), func(q db.Query) error {
			found, err := q.QueryContext(context.Background(), query)
			if err != nil {
				return err
			}
			defer found.Close()
			for found.Next() {
				columns := make([]sql.NullString, 11)
				into := make([]any, len(columns))
				for i := range columns {
					into[i] = &columns[i]
				}
				if err := found.Scan(into...); err != nil {
					return err
				}
				rows[fmt.Sprint(columns)]++
			}
			return found.Err()
		}); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// newRows returns the rows that were added, SIDs and the two beginnings of
// numbers made the same.
func newRows(before, after map[string]int) []string {
	var added []string
	for row := range after {
		if before[row] == 0 {
			added = append(added, anonymous(row))
		}
	}
	slices.Sort(added)
	return added
}

func anonymous(row string) string {
	var b strings.Builder
	for len(row) > 0 {
		if len(row) >= 34 && IsSID(row[:34], row[:2]) && row[0] >= 'A' && row[0] <= 'Z' {
			b.WriteString(row[:2] + "…")
			row = row[34:]
			continue
		}
		b.WriteByte(row[0])
		row = row[1:]
	}
	text := b.String()
	for from, to := range map[string]string{"8999956": "8999955", "99956": "99955"} {
		text = strings.ReplaceAll(text, from, to)
	}
	// The check digit follows from the number.
	return maskCheckDigits(text)
}

// maskCheckDigits hides the last digit of ICCIDs.
func maskCheckDigits(text string) string {
	for at := 0; ; {
		i := strings.Index(text[at:], "8999955")
		if i < 0 {
			return text
		}
		end := at + i + 19
		if end > len(text) {
			return text
		}
		text = text[:end-1] + "x" + text[end:]
		at = end
	}
}

// TestSettingsOfManySims lists the updates of an account with more Sims than are
// gathered, and of one with few among them.
func TestSettingsOfManySims(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		h := newHouse(t, d)
		for i, sims := range []int{3, 1010} {
			account := h.account(t, "")
			f := Filling{Account: account, First: 10_000 * i, Sims: sims, ICCID: "8999957", IMSI: "99957"}
			if err := h.Fill(ctx, f, func(int) {}); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for p := (Page{Limit: 500}); ; {
				l, err := h.SettingsUpdates(ctx, account, "", "", p)
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range l.Items {
					one, err := h.Sim(ctx, account, u.SIM)
					if err != nil || seen[u.SID] || one.ICCID != u.ICCID {
						t.Fatalf("update %+v of %+v, %v", u, one, err)
					}
					seen[u.SID] = true
				}
				if !l.More {
					break
				}
				p.After = l.Items[len(l.Items)-1].Key()
			}
			if len(seen) != sims {
				t.Errorf("%d updates of %d Sims", len(seen), sims)
			}
		}
	})
}
