package callback_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db/dbtest"
	"godwit/internal/clock"
)

// The pauses of docs/dialects.md: three days in all.
var threeDays = []time.Duration{
	2 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour,
	12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour,
}

// TestThreeDays follows a receiver that is down through the pauses that nobody
// asked to be others, and through the pause of its endpoint.
func TestThreeDays(t *testing.T) {
	for _, tt := range []struct {
		name     string
		failures int // that pause the endpoint; 0 as it is where nobody says
		attempts int // until the delivery ends, or waits with its endpoint
	}{{"to the end", 100, len(threeDays) + 1}, {"to the pause", 0, 10}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // each attempt waits for a look at what is due
			d := dbtest.SQLite(t)
			server, _ := receiver(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
			var now atomic.Int64
			o := options(&clock.Clock{})
			o.PauseFailures, o.PauseAfter = tt.failures, 0
			notices := noticesOf(&o)
			began := time.Date(2026, 10, 24, 23, 0, 0, 0, time.UTC)
			now.Store(began.UnixMicro())
			o.Now = func() time.Time { return time.UnixMicro(now.Load()) }
			s := callback.New(d, o)
			run(t, s)
			sid := send(t, d, s, callback.Callback{Subject: "HS1", URL: server.URL})
			for n := 1; n < tt.attempts; n++ {
				got, _ := until(t, d, s, sid, tried(n))
				pause, want := got.NextAt.Sub(o.Now()), threeDays[n-1]
				if got.State != callback.Due || pause < want*4/5 || pause > want*6/5 || len(notices) > 0 {
					t.Fatalf("after attempt %d: %s, a pause of %s, want about %s; %d notices", n, got.State, pause, want, len(notices))
				}
				now.Store(got.NextAt.UnixMicro())
			}
			if tt.failures == 0 {
				if n := next(t, notices); !n.Paused || n.Failures != tt.attempts || o.Now().Sub(began) < 12*time.Hour {
					t.Errorf("notice %+v after %s", n, o.Now().Sub(began))
				}
				return
			}
			got, attempts := until(t, d, s, sid, settled)
			if got.State != callback.Failed || len(attempts) != tt.attempts {
				t.Errorf("in the end %+v, %d attempts", got, len(attempts))
			}
		})
	}
}
