package sim

import (
	"strings"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
)

// TestQueriesUseIndexes has SQLite explain what everybody waits for: nothing
// there may grow with the number of Sims.
func TestQueriesUseIndexes(t *testing.T) {
	d := dbtest.SQLite(t)
	page := " and (created_at, sid) < ($2, $3) order by created_at desc, sid desc limit 51"
	for _, tt := range []struct{ name, query string }{
		{"a reservation that waits", nextWaiting},
		{"reservations to claim", claimable},
		{"progress of a profile", selectProfile + ` where iccid = $1 and status <> 'failed'`},
		{"a reservation", selectProfile + ` where sid = $1 and account_sid = $2`},
		{"reservations of a Sim", selectProfile + ` where account_sid = $1 and sim_sid = $4` + page},
		{"a page of reservations", selectProfile + ` where account_sid = $1` + page},
		{"a page of failed reservations", selectProfile + ` where account_sid = $1 and status = $4` + page},
		{"a page of an eUICC's reservations", selectProfile + ` where account_sid = $1 and eid = $4` + page},
		{"a Sim", selectSim + ` where sid = $1 and account_sid = $2`},
		{"a Sim by name", selectSim + ` where account_sid = $1 and unique_name = $2`},
		{"a page of Sims", selectSim + ` where account_sid = $1` + page},
		{"a page of active Sims", selectSim + ` where account_sid = $1 and status = $4` + page},
		{"a page of a Fleet's Sims", selectSim + ` where account_sid = $1 and fleet_sid = $4` + page},
		{"a page of a Fleet's active Sims", selectSim + ` where account_sid = $1 and status = $4 and fleet_sid = $5` + page},
		{"a Sim by ICCID", selectSim + ` where account_sid = $1 and iccid = $4` + page},
		{"Sims of a Fleet to tell of", selectSim + ` where fleet_sid = $1 and (created_at, sid) > ($2, $3) order by created_at, sid limit 200`},
		{"updates to claim", selectPending + ` where lease < $1 order by lease, created_at limit 200`},
		{"Fleets of a profile", `select sid from fleet where network_access_profile_sid = $1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var plan []string
			err := d.Read(t.Context(), func(q db.Query) (err error) {
				plan, err = db.All(t.Context(), q, func(r db.Row) (detail string, err error) {
					var id, parent, unused int
					err = r.Scan(&id, &parent, &unused, &detail)
					return detail, err
				}, "explain query plan "+tt.query, 1, 2, 3, 4, 5)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(plan, "; ")
			if !strings.Contains(text, "SEARCH") || strings.Contains(text, "SCAN") || strings.Contains(text, "TEMP B-TREE") && !strings.Contains(text, "iccid=?") && !strings.Contains(text, "sim_sid=?") {
				t.Errorf("%s", text)
			}
		})
	}
}

// TestFiltersMeetTheirIndex has every combination of filters use the index of
// its narrowest one: those on account and status alone fit a large part of all
// rows, and without statistics SQLite takes them for as good as any other.
func TestFiltersMeetTheirIndex(t *testing.T) {
	d := dbtest.SQLite(t)
	explain := func(t *testing.T, query string, args []any) string {
		t.Helper()
		var plan []string
		if err := d.Read(t.Context(), func(q db.Query) (err error) {
			plan, err = db.All(t.Context(), q, func(r db.Row) (detail string, err error) {
				var id, parent, unused int
				err = r.Scan(&id, &parent, &unused, &detail)
				return detail, err
			}, "explain query plan "+query, args...)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(plan, "; ")
	}
	for _, list := range []struct {
		query   string
		filters []struct{ column, index string } // the widest first
	}{
		{selectSim, []struct{ column, index string }{
			{"account_sid", "sim_page"}, {"status", "sim_status"}, {"fleet_sid", "sim_fleet"}, {"iccid", "sqlite_autoindex_sim_2"},
		}},
		{selectProfile, []struct{ column, index string }{
			{"account_sid", "esim_profile_page"}, {"status", "esim_profile_status"}, {"eid", "esim_profile_eid"}, {"sim_sid", "sqlite_autoindex_esim_profile_2"},
		}},
	} {
		for chosen := range 1 << (len(list.filters) - 1) {
			for _, place := range []string{"", "after", "before"} {
				c := &Conditions{}
				c.Equal("account_sid", "AC")
				want := list.filters[0].index
				for i, f := range list.filters[1:] {
					if chosen&(1<<i) != 0 {
						c.Equal(f.column, "x")
						want = f.index
					}
				}
				order := " order by created_at desc, sid desc"
				switch place {
				case "after":
					c.Add("(created_at, sid) < ($, $)", 1, "x")
				case "before":
					c.Add("(created_at, sid) > ($, $)", 1, "x")
					order = " order by created_at, sid"
				}
				query := list.query + " where " + strings.Join(c.text, " and ") + order + " limit 51"
				if plan := explain(t, query, c.args); !strings.Contains(plan, " "+want) {
					t.Errorf("%s\nuses %s, not %s", query, plan, want)
				}
			}
		}
	}
}
