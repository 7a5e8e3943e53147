package callback_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/internal/clock"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("GODWIT_TEST_SENDER"); url != "" {
		d, err := db.Open(context.Background(), url, dbtest.Options())
		if err == nil {
			err = callback.New(d, options(&clock.Clock{})).Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestKilledSender kills the process that delivers in the middle of its work. The
// next one makes all deliveries that have not been made; those that were under
// way come twice, with the same token.
func TestKilledSender(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		const many, before = 400, 100
		killed := make(chan bool)
		server, got := receiver(t, func(n int, _ http.ResponseWriter) {
			if n > before {
				<-killed
			}
		})
		d := dbtest.Open(t, url)
		c := &clock.Clock{}
		s := callback.New(d, options(c))
		sids := make([]string, many)
		if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			for n := range sids {
				if sids[n], err = s.Send(t.Context(), tx, callback.Callback{Account: acct, Subject: fmt.Sprint(n), URL: server.URL}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "GODWIT_TEST_SENDER="+url)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		tokens := map[string]int{}
		for range before + 10 {
			tokens[next(t, got).Header.Get("I-Twilio-Idempotency-Token")]++
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		close(killed)

		run(t, s)
		c.Forward(time.Minute) // past the lease of what the dead one had in its hands
		for _, sid := range sids {
			until(t, d, s, sid, settled)
		}
		for len(got) > 0 {
			tokens[next(t, got).Header.Get("I-Twilio-Idempotency-Token")]++
		}
		if len(tokens) != many {
			t.Errorf("%d deliveries were made, want %d", len(tokens), many)
		}
		for token, times := range tokens {
			if token == "" || times > 2 {
				t.Errorf("token %q came %d times", token, times)
			}
		}
	})
}

// BenchmarkRate adds 500 events a second and shows how long the first attempt takes
// to reach the receiver. Run it with -benchtime 1x.
func BenchmarkRate(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLiteURL, "postgres": dbtest.PostgresURL} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				rate(b, dbtest.Open(b, url(b)))
			}
		})
	}
}

func rate(b *testing.B, d *db.DB) {
	const number, perSecond = 2500, 500
	var mu sync.Mutex
	var took []time.Duration
	done := make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sent, err := time.Parse(time.RFC3339Nano, r.FormValue("At"))
		mu.Lock()
		defer mu.Unlock()
		if took = append(took, time.Since(sent)); err != nil || len(took) == number {
			close(done)
		}
	}))
	defer server.Close()
	s := callback.New(d, options(&clock.Clock{}))
	run(b, s)
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	var all sync.WaitGroup
	for n := range number {
		<-tick.C
		all.Go(func() {
			send(b, d, s, callback.Callback{Subject: fmt.Sprint(n), URL: server.URL, Params: []callback.Param{{"At", time.Now().Format(time.RFC3339Nano)}}})
		})
	}
	all.Wait()
	next(b, done)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(took)
	b.ReportMetric(float64(took[number/2].Microseconds())/1000, "p50_ms")
	b.ReportMetric(float64(took[number*99/100].Microseconds())/1000, "p99_ms")
}
