package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"godwit/ipa"
)

// TestPauseAfter keeps to the time that the server names, and otherwise to pauses
// that grow to a bound.
func TestPauseAfter(t *testing.T) {
	for range 200 {
		if p := pauseAfter(0, &refusal{Status: http.StatusTooManyRequests, Wait: 10 * time.Second}); p < 10*time.Second || p > 15*time.Second {
			t.Fatalf("asked to wait for 10 s, the agent waits for %v", p)
		}
		if p := pauseAfter(3, errors.New("away")); p < 8*time.Second || p > 16*time.Second {
			t.Fatalf("after the fourth failure the agent waits for %v", p)
		}
		if p := pauseAfter(100, errors.New("away")); p < longestPause/2 || p > longestPause {
			t.Fatalf("after a hundred failures the agent waits for %v", p)
		}
	}
}

// answers is a server that answers every request alike and remembers when it was
// asked.
type answers struct {
	handler http.HandlerFunc
	at      []time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.at = append(a.at, time.Now())
	w := httptest.NewRecorder()
	a.handler(w, r)
	return w.Result(), nil
}

// TestReportsPause has reports that fail come less and less often, and not before
// the server wants them.
func TestReportsPause(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  http.HandlerFunc
		least   time.Duration
		reports int // at most, in two hours
	}{
		{"Retry-After", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, time.Hour, 2},
		{"failing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, time.Minute, 40},
		{"answered", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) }, 15 * time.Minute, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				there := &answers{handler: tt.answer}
				a := &agent{
					Command: Command{Server: "http://127.0.0.1:1", Report: 15 * time.Minute},
					log:     slog.New(slog.DiscardHandler), metrics: newMetrics(), changed: make(chan struct{}, 1), card: &steady{},
					server: &server{"http://127.0.0.1:1", &http.Client{Transport: there}},
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				if err := a.reports(ctx, &ipa.IPA{}); err != nil {
					t.Fatal(err)
				}
				if n := len(there.at); n < 2 || n > tt.reports {
					t.Errorf("%d reports", n)
				}
				for i := 1; i < len(there.at); i++ {
					if d := there.at[i].Sub(there.at[i-1]); d < tt.least {
						t.Errorf("report %d came %v after the one before", i, d)
					}
				}
			})
		})
	}
}
