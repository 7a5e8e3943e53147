package sim

import (
	"context"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
)

// BenchmarkSyncFleet tells the core network about a Fleet of 10,000 active Sims,
// whose networks are what they were.
func BenchmarkSyncFleet(b *testing.B) {
	const sims = 10_000
	for _, engine := range []struct {
		name string
		open func(testing.TB) *db.DB
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		b.Run(engine.name, func(b *testing.B) {
			ctx := context.Background()
			h := newHouse(b, engine.open(b))
			h.Catalogue = Builtin()
			ours := h.account(b, "")
			networks := h.Catalogue.Networks(NetworkFilter{}, Page{Limit: 50}).Items
			var names []string
			for _, n := range networks {
				names = append(names, n.SID)
			}
			f := h.fleet(b, ours, "big", names...)
			if err := h.Fill(ctx, Filling{Account: ours, Sims: sims, ICCID: "8999955", IMSI: "99955", EID: "8904903295"}, func(int) {}); err != nil {
				b.Fatal(err)
			}
			if err := h.DB.Write(ctx, func(tx *db.Tx) error {
				_, err := tx.ExecContext(ctx, `update sim set status = 'active', fleet_sid = $1`, f.SID)
				return err
			}); err != nil {
				b.Fatal(err)
			}
			var chunks []syncFleetArgs
			all, err := h.Sims(ctx, ours, SimFilter{}, Page{Limit: sims})
			if err != nil || len(all.Items) != sims {
				b.Fatal(len(all.Items), err)
			}
			next := syncFleetArgs{Fleet: f.SID}
			for i := len(all.Items) - 1; i >= 0; i-- { // newest first
				if (len(all.Items)-1-i)%syncChunk == 0 {
					chunks = append(chunks, next)
				}
				next.After = all.Items[i].Key()
			}
			sync := func() {
				for _, c := range chunks {
					if err := h.syncFleet(ctx, c); err != nil {
						b.Fatal(err)
					}
				}
			}
			sync()
			told := h.core.told
			for b.Loop() {
				sync()
			}
			if n := h.core.told - told; n != b.N*sims {
				b.Errorf("the core network was told %d times", n)
			}
		})
	}
}
