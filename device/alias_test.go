package device

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/query"
)

// TestAliasOfMany renames more records of a carrier than one transaction takes: some
// at once, all by and by, under whatever alias there is by then.
func TestAliasOfMany(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		many, other := 2*renameChunk+50, "Breeze"
		var codes []CodePatch
		for i := range many + 1 {
			carrier := []string{"Mobile", "MOBILE!"}[i%2]
			if i == many {
				carrier = other
			}
			codes = append(codes, CodePatch{ICCID: numberedICCID(t, i), Carrier: &carrier, ActivationCode: db.Secret(fmt.Sprintf("LPA:1$rsp.example.net$C-%d", i))})
		}
		puts, err := h.PutCodes(t.Context(), h.by, codes, false)
		if err != nil || puts[many].Err != nil {
			t.Fatal(err, puts[many])
		}
		named := func(name string) (n int) {
			t.Helper()
			if err := h.DB.Read(t.Context(), func(q db.Query) error {
				return q.QueryRowContext(t.Context(), `select count(*) from activation_code where normalized_carrier = $1 and normalized_folded = $2`, name, query.Fold(name)).Scan(&n)
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if err := h.PutAlias(t.Context(), h.by, Alias{"mobile", "Southwind"}); err != nil {
			t.Fatal(err)
		}
		if n := named("Southwind"); n != renameChunk {
			t.Errorf("%d are renamed at once, want %d", n, renameChunk)
		}
		if err := h.PutAlias(t.Context(), h.by, Alias{"mobile", "Northwind"}); err != nil {
			t.Fatal(err)
		}
		renamed := func(times int) func() bool {
			return func() bool {
				n := 0
				for _, e := range h.events(t, "mobile") {
					if e.Kind == "carrier.renamed" {
						n++
					}
				}
				return n == times
			}
		}
		h.work(t, renamed(2))
		if n, wrong := named("Northwind"), named("Southwind"); n != many || wrong != 0 || named(other) != 1 {
			t.Errorf("%d have the new name, %d the one before it", n, wrong)
		}
		if err := h.DeleteAlias(t.Context(), h.by, "mobile"); err != nil {
			t.Fatal(err)
		}
		h.work(t, renamed(3))
		if a, b := named("Mobile"), named("MOBILE!"); a != many/2 || b != many/2 {
			t.Errorf("without alias %d and %d have their own names", a, b)
		}
	})
}

// BenchmarkAlias gives half a million profiles out of a million another name, and
// has a small transaction wait for the writer all the while. The databases are
// those of [BenchmarkProfiles].
func BenchmarkAlias(b *testing.B) {
	url := os.Getenv("GODWIT_BENCH_SQLITE")
	if url == "" {
		url = dbtest.SQLiteURL(b)
	}
	h := newHouse(b, dbtest.Open(b, url))
	if p, err := h.ProfilesPage(b.Context(), h.by.Account, spec(b, ProfileSchema, "", "", 1)); err != nil {
		b.Fatal(err)
	} else if len(p.Items) == 0 {
		h.fillProfiles(b, 1_000_000)
	}
	names := []string{"Northwind", "Southwind"}
	for i := 0; b.Loop(); i++ {
		ctx, stop := context.WithCancel(b.Context())
		var longest time.Duration
		var other sync.WaitGroup
		other.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				_ = h.DB.Write(ctx, func(tx *db.Tx) error {
					_, err := tx.ExecContext(ctx, `update device set seen_at = seen_at + 1 where device_id = $1`, string(numberedID(1)))
					return err
				})
				longest = max(longest, time.Since(began))
				time.Sleep(time.Millisecond)
			}
		})
		before := renames(b, h)
		began := time.Now()
		if err := h.PutAlias(b.Context(), h.by, Alias{"Carrier 00", names[i%2]}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/answer")
		working, end := context.WithCancel(b.Context())
		other.Go(func() { _ = h.Jobs.Run(working) })
		for renames(b, h) == before {
			time.Sleep(100 * time.Millisecond)
		}
		end()
		b.ReportMetric(time.Since(began).Seconds(), "s/all")
		stop()
		other.Wait()
		b.ReportMetric(float64(longest.Milliseconds()), "ms/longest-wait")
	}
}

// renames is how often a carrier's profiles have been renamed.
func renames(b *testing.B, h *house) (n int) {
	if err := h.DB.Read(b.Context(), func(q db.Query) error {
		return q.QueryRowContext(b.Context(), `select count(*) from event where kind = 'carrier.renamed'`).Scan(&n)
	}); err != nil {
		b.Fatal(err)
	}
	return n
}
