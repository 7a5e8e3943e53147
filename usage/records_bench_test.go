package usage

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/sim"
)

// BenchmarkRecords asks for pages of usage records of a fleet that was used for
// 18 months. The number of its Sims is in GODWIT_BENCH_SIMS; docs/performance.md
// has the figures of 10,000.
func BenchmarkRecords(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkRecords(b, dbtest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { benchmarkRecords(b, dbtest.Postgres(b)) })
}

func benchmarkRecords(b *testing.B, d *db.DB) {
	sims := 500
	if text := os.Getenv("GODWIT_BENCH_SIMS"); text != "" {
		var err error
		if sims, err = strconv.Atoi(text); err != nil {
			b.Fatal("GODWIT_BENCH_SIMS: ", err)
		}
	}
	h := newHouse(b, d)
	h.Sims.Catalogue = sim.Builtin()
	fleet := h.fleet(b, 1000)
	began := time.Now()
	hours, days := h.furnish(b, fleet, sims)
	if d.Postgres() {
		_, err := d.Pool().ExecContext(b.Context(), `vacuum analyze`)
		check(b, err)
	}
	b.Logf("%d Sims: %d rows by the hour, %d by the day, written in %.0f s", sims, hours, days, time.Since(began).Seconds())

	end := h.clock.Now().Truncate(24 * time.Hour)
	german := sim.NetworkFilter{Country: "DE"}
	network := h.Sims.Catalogue.Networks(german, sim.Page{Limit: 1}).Items[0].SID
	for _, granularity := range []Granularity{Whole, Daily, Hourly} {
		for _, group := range append([]Group{""}, Groups...) {
			for _, filter := range []RecordFilter{{}, {Network: network}, {Fleet: fleet.SID, Country: "DE"}} {
				f := filter
				f.Group, f.Granularity, f.End = group, granularity, end
				switch {
				case granularity == Hourly || group == BySIM:
					f.Start = end.AddDate(0, 0, -31)
				case granularity == Daily:
					f.Start = months(end, -monthsOfDays)
				default:
					f.Start = months(end, -monthsKept)
				}
				name := fmt.Sprintf("%s/by_%s", granularity, group)
				if group == "" {
					name = fmt.Sprintf("%s/whole", granularity)
				}
				switch {
				case f.Network != "":
					name += "/of_network"
				case f.Fleet != "":
					name += "/of_fleet_in_country"
				}
				b.Run(name, func(b *testing.B) {
					var found int
					var slowest time.Duration
					for b.Loop() {
						began := time.Now()
						list, _, err := h.Records(b.Context(), h.account, f, RecordPage{Limit: 1000})
						check(b, err)
						slowest, found = max(slowest, time.Since(began)), len(list)
					}
					if found == 0 {
						b.Fatal("no records")
					}
					b.ReportMetric(float64(found), "records")
					b.ReportMetric(float64(slowest.Microseconds())/1000, "ms-slowest")
				})
			}
		}
	}
}

// furnish gives the account Sims with counters: each used data in one hour of
// every day for 18 months, and in every hour of the last 31 days, at one of
// twelve places. Rows are written in the order of time, as in life. The sums by
// day and of the account are those that count would have written.
func (h *house) furnish(b *testing.B, fleet sim.Fleet, sims int) (hours, days int64) {
	now := h.clock.Now().Truncate(24 * time.Hour)
	today, first := now.Unix()/day, months(now, -monthsKept).Unix()/day
	check(b, h.DB.Write(b.Context(), func(tx *db.Tx) error {
		write := func(text string, args ...any) {
			_, err := tx.ExecContext(b.Context(), text, args...)
			check(b, err)
		}
		write(`insert into usage_subject (id, account_sid, sim_sid) values (1, $1, '')`, h.account)
		var rows [][]any
		for i := range sims {
			rows = append(rows, []any{int64(i + 2), h.account, fmt.Sprintf("HS%032x", i*7919)})
		}
		if _, err := tx.ExecMany(b.Context(), `insert into usage_subject (id, account_sid, sim_sid) values {}`, nil, rows); err != nil {
			return err
		}
		networks := h.Sims.Catalogue.Networks(sim.NetworkFilter{}, sim.Page{Limit: 1000}).Items
		seen := 0
		for _, n := range networks {
			if n.Country != "DE" && n.Country != "FR" && n.Country != "AT" && n.Country != "CH" || seen == 12 {
				continue
			}
			seen++
			write(`insert into usage_place (id, account_sid, fleet_sid, network_sid, iso_country) values ($1, $2, $3, $4, $5)`,
				seen, h.account, fleet.SID, n.SID, n.Country)
		}
		return nil
	}))
	step := func(from, to int64, perDay string) {
		check(b, h.DB.Write(b.Context(), func(tx *db.Tx) error {
			_, err := tx.ExecContext(b.Context(), `insert into usage_hour (subject, hour, place, upload, download)
				with recursive d (d) as (select cast($1 as bigint) union all select d + 1 from d where d + 1 < $2),
					h (h) as (select 0 union all select h + 1 from h where h < 23)
				select s.id, d.d * 24 + h.h, 1 + s.id % 12, 1000 + s.id % 100, 5000 + h.h
				from usage_subject s cross join d cross join h where s.id > 1 and `+perDay+` order by 2, 1, 3`, from, to)
			return err
		}))
	}
	for from := first; from < today-31; from += 31 {
		step(from, min(from+31, today-31), `h.h = s.id % 24`)
	}
	step(today-31, today, `1 = 1`)
	for _, one := range []string{
		`insert into usage_day (subject, day, place, upload, download) select subject, hour / 24, place, sum(upload), sum(download) from usage_hour group by 1, 2, 3 order by 2, 1, 3`,
		`insert into usage_hour (subject, hour, place, upload, download) select 1, hour, place, sum(upload), sum(download) from usage_hour group by 2, 3 order by 2`,
		`insert into usage_day (subject, day, place, upload, download) select 1, day, place, sum(upload), sum(download) from usage_day group by 2, 3 order by 2`,
	} {
		check(b, h.DB.Write(b.Context(), func(tx *db.Tx) error {
			_, err := tx.ExecContext(b.Context(), one)
			return err
		}))
	}
	check(b, h.DB.Read(b.Context(), func(q db.Query) error {
		return q.QueryRowContext(b.Context(), `select (select count(*) from usage_hour), (select count(*) from usage_day)`).Scan(&hours, &days)
	}))
	return hours, days
}
