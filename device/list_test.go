package device

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/query"
)

// fillProfiles stores many profiles, five to an eSIM, in a random order of
// ICCIDs: 30 carriers of which the first has half, a tenth of them active.
func (h *house) fillProfiles(t testing.TB, profiles int) {
	t.Helper()
	const chunk, each = 10_000, 5
	r := rand.New(rand.NewPCG(1, 2))
	order := r.Perm(profiles)
	ctx := context.Background()
	blank := Device{ConnectionStatus: "disconnected"}
	blank.RestrictedStatus, blank.MaintenanceMode, blank.Account = "unrestricted", "off", h.by.Account
	for first := 0; first < profiles; first += chunk {
		err := h.DB.Write(ctx, func(tx *db.Tx) error {
			var devices, esims, rows [][]any
			for i := first; i < min(first+chunk, profiles); i++ {
				at := int64(1_000_000_000_000_000 + i)
				id, eid := numberedID(i/each), numberedEID(t, i/each)
				if i%each == 0 {
					blank.ID = id
					values, err := blank.values()
					if err != nil {
						return err
					}
					devices = append(devices, append(values, []byte(nil), at))
					esims = append(esims, []any{string(eid), string(id), h.by.Account, "iot", at, at, at, at})
				}
				n := 0
				if r.IntN(2) == 0 {
					n = 1 + r.IntN(29)
				}
				carrier := fmt.Sprintf("Carrier %02d", n)
				status := inactive
				if i%(2*each) == 0 {
					status = active
				}
				kind := []string{"operational", "operational", "operational", "bootstrap", "test"}[i%each]
				rows = append(rows, []any{
					string(eid), fmt.Sprintf("8988303%013d", order[i]), string(id), h.by.Account, int64(i%each + 1), carrier, strings.ToLower(carrier), MatchingKey(carrier), carrier, strings.ToLower(carrier),
					"", "", "", status, kind, kind, at, at,
				})
			}
			columns := append(append([]string{}, deviceColumns...), foldedColumns...)
			for _, s := range []struct {
				text string
				rows [][]any
			}{
				{`insert into device (` + strings.Join(columns, ", ") + `, install_code, created_at) values {}`, devices},
				{`insert into esim (eid, device_id, account_sid, kind, reported_at, seen_at, created_at, updated_at) values {}`, esims},
				{`insert into device_profile (eid, iccid, device_id, account_sid, number, carrier, carrier_folded, carrier_key, normalized_carrier, normalized_folded,
					code_carrier, code_key, name, status, type, type_folded, created_at, updated_at) values {}`, rows},
			} {
				if _, err := tx.ExecMany(ctx, s.text, nil, s.rows); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// profileQueries are pages that people ask for, by each indexed field.
func profileQueries(t testing.TB, n int) [][2]string {
	iccid, eid, id := fmt.Sprintf("8988303%013d", n/2), numberedEID(t, n/10), numberedID(n/10)
	return [][2]string{
		{"", ""},
		{"iccid = '" + iccid + "'", ""},
		{"iccid = '" + iccid + "'", "carrier desc"},
		{"eid = '" + string(eid) + "'", ""},
		{"eid = '" + string(eid) + "'", "iccid"},
		{"device_id = '" + strings.ToLower(string(id)) + "'", "status desc"},
		{"carrier = 'CARRIER 00'", ""}, // half of all
		{"carrier = 'carrier 00'", "iccid"},
		{"carrier = 'carrier 07'", ""}, // one in sixty
		{"carrier = 'carrier 07'", "eid desc"},
		{"normalized_carrier = 'Carrier 07'", "device_id"},
		{"normalized_carrier startswith 'carrier'", "updated desc"},
		{"status = 'active'", ""},
		{"status = 'active'", "iccid desc"},
		{"status = 'inactive'", "carrier"},
		{"type = 'bootstrap'", ""},
		{"type = 'bootstrap'", "eid"},
		{"status = 'active' and carrier = 'carrier 07'", "iccid"},
		{"iccid startswith '8988303'", "carrier desc"},
		{"iccid startswith '" + iccid[:16] + "'", "carrier"},
		{"", "carrier"},
		{"", "iccid desc"},
	}
}

// BenchmarkProfiles reads the first page and the one after it, of 1000 records
// each, out of a million profiles; GODWIT_BENCH_PROFILES sets another
// number. GODWIT_BENCH_SQLITE and GODWIT_BENCH_POSTGRES are URLs of databases that
// stay, and are filled by the first run.
func BenchmarkProfiles(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("GODWIT_BENCH_PROFILES"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			url := os.Getenv("GODWIT_BENCH_" + strings.ToUpper(engine))
			switch {
			case url != "":
			case engine == "postgres":
				url = dbtest.PostgresURL(b)
			default:
				url = dbtest.SQLiteURL(b)
			}
			h := newHouse(b, dbtest.Open(b, url))
			if p, err := h.ProfilesPage(b.Context(), h.by.Account, spec(b, ProfileSchema, "", "", 1)); err != nil {
				b.Fatal(err)
			} else if len(p.Items) == 0 {
				begin := time.Now()
				h.fillProfiles(b, n)
				if h.DB.Postgres() {
					if _, err := h.DB.Pool().ExecContext(b.Context(), `vacuum analyze`); err != nil {
						b.Fatal(err)
					}
				}
				b.Logf("filled in %v", time.Since(begin).Round(time.Second))
			}
			for _, q := range profileQueries(b, n) {
				b.Run(q[0]+" by "+q[1], func(b *testing.B) {
					var longest, cpu time.Duration
					pages := 0
					for b.Loop() {
						sp := spec(b, ProfileSchema, q[0], q[1], 1000)
						for range 2 {
							begin, used := time.Now(), cpuTime()
							p, err := h.ProfilesPage(b.Context(), h.by.Account, sp)
							if err != nil {
								b.Fatal(err)
							}
							longest, cpu, pages = max(longest, time.Since(begin)), cpu+cpuTime()-used, pages+1
							if sp.After = p.Next; sp.After == nil {
								break
							}
						}
					}
					b.ReportMetric(float64(cpu.Microseconds())/1000/float64(pages), "cpu-ms/page")
					b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-page")
				})
			}
		})
	}
}

// cpuTime is what this process has used of its processors: on a machine with
// other work it says more than a clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestPages reads each list through, page by page, in every order and both
// directions: each record once, in order.
func TestPages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		const n = 300
		h.fillProfiles(t, n)
		for _, field := range ProfileSchema.Names() {
			for _, where := range []string{"", "status = 'inactive'", "carrier startswith 'carrier'"} {
				for _, order := range []string{field, field + " desc"} {
					seen := map[string]int{}
					sp := spec(t, ProfileSchema, where, order, 37)
					for {
						p, err := h.ProfilesPage(t.Context(), h.by.Account, sp)
						if err != nil {
							t.Fatal(err)
						}
						for _, one := range p.Items {
							seen[string(one.ICCID)]++
						}
						if sp.After = p.Next; p.Next == nil {
							break
						}
					}
					want := n
					if strings.HasPrefix(where, "status") {
						want -= n / 10
					}
					for iccid, times := range seen {
						if times != 1 {
							t.Fatalf("%s by %s: %s came %d times", where, order, iccid, times)
						}
					}
					if len(seen) != want {
						t.Errorf("%s by %s: %d profiles, want %d", where, order, len(seen), want)
					}
				}
			}
		}
	})
}

// TestHiddenCondition: where SQLite's planner would sort too many, the condition
// is hidden, and the page is the same.
func TestHiddenCondition(t *testing.T) {
	d := dbtest.SQLite(t)
	h := newHouse(t, d)
	h.fillProfiles(t, manyMatches+5_000)
	sp := spec(t, ProfileSchema, "iccid startswith '8988303'", "carrier desc", 100)
	var text string
	if err := d.Read(t.Context(), func(q db.Query) (err error) {
		text, _, err = profileTable.statement(t.Context(), q, false, h.by.Account, sp)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "case when") {
		t.Fatalf("not hidden: %s", text)
	}
	p, err := h.ProfilesPage(t.Context(), h.by.Account, sp)
	if err != nil || len(p.Items) != 100 || !slices.IsSortedFunc(p.Items, func(a, b Profile) int { return -strings.Compare(a.Carrier, b.Carrier) }) {
		t.Fatalf("%d profiles, %v", len(p.Items), err)
	}
	sp.After = p.Next
	next, err := h.ProfilesPage(t.Context(), h.by.Account, sp)
	if err != nil || len(next.Items) != 100 || next.Items[0].ICCID == p.Items[99].ICCID || next.Items[0].Carrier > p.Items[99].Carrier {
		t.Fatalf("the next page: %d profiles, %v", len(next.Items), err)
	}
}

// TestIndexes asks both planners how they would read a page: a condition on an
// indexed field uses its index, and no page is sorted that can be read in order.
func TestIndexes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.fillProfiles(t, 20_000)
		if d.Postgres() {
			if _, err := d.Pool().ExecContext(t.Context(), `analyze`); err != nil {
				t.Fatal(err)
			}
		}
		iccid, eid, id := fmt.Sprintf("8988303%013d", 77), numberedEID(t, 77), numberedID(77)
		for _, c := range []struct{ where, order, index string }{
			{"", "", "device_profile_page"},
			{"iccid = '" + iccid + "'", "", "device_profile_iccid"},
			{"eid = '" + string(eid) + "'", "carrier", "device_profile_eid"},
			{"iccid = '" + iccid + "'", "carrier desc", "device_profile_iccid"},
			{"iccid startswith '" + iccid[:18] + "'", "", "device_profile_iccid"},
			{"iccid startswith '" + iccid[:18] + "'", "carrier", "device_profile_iccid"},
			{"carrier = 'carrier 07'", "eid desc", "device_profile_carrier"},
			{"device_id = '" + string(id) + "'", "", "device_profile_device"},
			{"carrier = 'carrier 07'", "", "device_profile_carrier"},
			{"normalized_carrier = 'carrier 07'", "", "device_profile_normalized"},
			{"status = 'active'", "", "device_profile_status"},
			{"type = 'test'", "", "device_profile_type"},
			{"", "carrier desc", "device_profile_carrier"},
			{"", "updated", "device_profile_updated"},
		} {
			plan := h.plan(t, c.where, c.order)
			if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "SCAN p\n") || !d.Postgres() && !strings.Contains(plan, c.index) {
				t.Errorf("%s by %s: no use of %s:\n%s", c.where, c.order, c.index, plan)
			}
		}
	})
}

// plan is how a page of profiles is read.
func (h *house) plan(t *testing.T, where, order string) string {
	t.Helper()
	var lines []string
	err := h.DB.Read(t.Context(), func(q db.Query) error {
		text, args, err := profileTable.statement(t.Context(), q, h.DB.Postgres(), h.by.Account, spec(t, ProfileSchema, where, order, 50))
		if err != nil {
			return err
		}
		if h.DB.Postgres() {
			lines, err = db.All(t.Context(), q, db.Only[string], "explain "+text, args...)
			return err
		}
		lines, err = db.All(t.Context(), q, func(r db.Row) (s string, err error) {
			var a, b, c int64
			err = r.Scan(&a, &b, &c, &s)
			return s, err
		}, "explain query plan "+text, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n") + "\n"
}

// TestEveryList asks each list for each of its fields, as a condition and as an
// order: every column is there, on both engines.
func TestEveryList(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1, func(p *DevicePatch) { p.Tags = &[]string{"red"} })
		h.code(t, 1, "Northwind")
		h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, Carrier: "Northwind"})
		h.report(t, eid, is(numberedICCID(t, 5), "Mobile", true))
		if _, err := h.AddRule(t.Context(), h.by, Rule{Cause: CauseAutomation, OnFirst: true, Work: WorkActivate, Carrier: "X", Enabled: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.StartRollout(t.Context(), h.by, RolloutOrder{Work: WorkActivate, Carrier: "X"}); err != nil {
			t.Fatal(err)
		}
		listed(t, h, "devices", DeviceSchema, h.DevicesPage)
		listed(t, h, "esims", ESIMSchema, h.ESIMsPage)
		listed(t, h, "profiles", ProfileSchema, h.ProfilesPage)
		listed(t, h, "codes", CodeSchema, h.CodesPage)
		listed(t, h, "transactions", TransactionSchema, h.TransactionsPage)
		listed(t, h, "operations", OperationSchema, h.OperationsPage)
		listed(t, h, "jobs", JobSchema, h.JobsPage)
		listed(t, h, "rollouts", RolloutSchema, h.RolloutsPage)
		listed(t, h, "rules", RuleSchema, h.RulesPage)
		if p, err := h.DevicesPage(t.Context(), h.by.Account, spec(t, DeviceSchema, "tags = 'RED' and not tags = 'blue'", "", 5)); err != nil || len(p.Items) != 1 {
			t.Errorf("by tag: %+v, %v", p.Items, err)
		}
		if p, err := h.DevicesPage(t.Context(), "another", spec(t, DeviceSchema, "", "", 5)); err != nil || len(p.Items) != 0 {
			t.Errorf("another account sees %+v, %v", p.Items, err)
		}
	})
}

func listed[T any](t *testing.T, h *house, name string, schema *query.Schema, page func(context.Context, string, query.Spec) (query.Page[T], error)) {
	t.Helper()
	if p, err := page(t.Context(), h.by.Account, spec(t, schema, "", "", 1000)); err != nil || len(p.Items) == 0 {
		t.Errorf("%s: %d records, %v", name, len(p.Items), err)
	}
	for _, f := range schema.Fields {
		value := map[query.Kind]string{query.Text: "'x'", query.Number: "1", query.Time: "-1d", query.Bool: "true", query.Tags: "'x'", query.Group: "'x'"}[f.Kind]
		op := " = "
		switch f.Kind {
		case query.Enum:
			value = "'" + f.Values[0] + "'"
		case query.Position:
			value, op = "[-180,-90,180,90]", " within "
		}
		if f.Kind == query.Time {
			op = " > "
		}
		if _, err := page(t.Context(), h.by.Account, spec(t, schema, f.Name+op+value, "", 10)); err != nil {
			t.Errorf("%s: %s%s%s: %v", name, f.Name, op, value, err)
		}
		if f.Kind == query.Tags || f.Kind == query.Position {
			continue
		}
		if _, err := page(t.Context(), h.by.Account, spec(t, schema, f.Name+op+value, f.Name+" desc", 10)); err != nil {
			t.Errorf("%s by %s: %v", name, f.Name, err)
		}
	}
}
