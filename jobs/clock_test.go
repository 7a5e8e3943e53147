package jobs_test

import (
	"context"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/jobs"
)

// TestClockPutBack: jobs that were due before the clock was put back by a day are
// worked, those from before the start and those that come while the queue runs;
// those that are to wait go on waiting.
func TestClockPutBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		q.WatchClock(10 * time.Millisecond)
		got := make(chan string, 100)
		jobs.Register(q, func(_ context.Context, j jobs.Job[greet]) error { got <- j.Args.Name; return nil })
		// The machine's clock cannot be put back here; what is stored is put
		// ahead of it instead.
		ahead := `update river_job set scheduled_at = datetime(scheduled_at, 'subsec', '+1 day') where state = 'available'`
		if d.Postgres() {
			ahead = `update river_job set scheduled_at = scheduled_at + interval '1 day' where state = 'available'`
		}
		before := func(name string) {
			t.Helper()
			if err := d.Write(t.Context(), func(tx *db.Tx) error {
				if err := q.Add(t.Context(), tx, greet{name}); err != nil {
					return err
				}
				_, err := tx.ExecContext(t.Context(), ahead)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error { return q.AddIn(t.Context(), tx, time.Hour, greet{"later"}) }); err != nil {
			t.Fatal(err)
		}
		before("from before the start")
		run(t, q)
		for _, want := range []string{"from before the start", "meanwhile"} {
			if name := next(t, got); name != want {
				t.Errorf("%q is worked, want %q", name, want)
			}
			if want != "meanwhile" {
				before("meanwhile")
			}
		}
	})
}
