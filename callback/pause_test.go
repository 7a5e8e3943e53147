package callback_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/internal/clock"
)

// An endpoint that only fails is paused, what is for it is held, one delivery
// now and then sees whether it is there again, and then all of them go.
func TestPausedEndpoint(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var c clock.Clock
		var up atomic.Bool
		var heard atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			heard.Add(1)
			if !up.Load() {
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		defer server.Close()
		o := options(&c)
		o.PauseFailures, o.PauseAfter = 3, time.Hour
		notices := noticesOf(&o)
		s := callback.New(d, o)
		run(t, s)
		for range 2 {
			sid := send(t, d, s, callback.Callback{URL: server.URL})
			until(t, d, s, sid, settled)
		}
		c.Forward(2 * time.Hour)
		last := send(t, d, s, callback.Callback{URL: server.URL})
		until(t, d, s, last, settled)
		if n := next(t, notices); !n.Paused || n.Failures != 3 || n.LastError == "" {
			t.Fatalf("notice %+v", n)
		}

		var waiting []string
		for range 3 {
			waiting = append(waiting, send(t, d, s, callback.Callback{URL: server.URL}))
		}
		for _, sid := range waiting {
			until(t, d, s, sid, func(d callback.Delivery, _ []callback.Attempt) bool { return d.NextAt.IsZero() })
		}
		if n := heard.Load(); n != 3 {
			t.Errorf("a paused endpoint heard %d requests, want the 3 before", n)
		}
		up.Store(true)
		c.Forward(61 * time.Minute)
		for _, sid := range waiting {
			got, attempts := until(t, d, s, sid, settled)
			if got.State != callback.Delivered || len(attempts) != 1 {
				t.Errorf("after the pause: %+v, attempts %+v", got, attempts)
			}
		}
		if n := next(t, notices); n.Paused {
			t.Errorf("notice %+v", n)
		}
		if len(notices) > 0 {
			t.Errorf("another notice: %+v", <-notices)
		}
	})
}

// noticesOf returns the notices that a sender gives. When one comes, the sender
// goes by what it says.
func noticesOf(o *callback.Options) <-chan callback.Notice {
	notices := make(chan callback.Notice, 10)
	o.Notice = func(_ context.Context, tx *db.Tx, n callback.Notice) error {
		tx.AfterCommit(func() { notices <- n })
		return nil
	}
	return notices
}

// A node that has not heard of it yet holds nothing back for an endpoint that
// another node has resumed.
func TestResumedElsewhere(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var c clock.Clock
		var up atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !up.Load() {
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		defer server.Close()
		o := options(&c)
		o.PauseFailures, o.PauseAfter = 2, time.Nanosecond
		elsewhere := callback.New(d, o)
		notices := noticesOf(&o)
		s := callback.New(d, o)
		run(t, s)
		for range 2 {
			sid := send(t, d, s, callback.Callback{URL: server.URL})
			until(t, d, s, sid, settled)
		}
		next(t, notices)
		waiting := send(t, d, s, callback.Callback{URL: server.URL})
		until(t, d, s, waiting, func(d callback.Delivery, _ []callback.Attempt) bool { return d.NextAt.IsZero() })
		up.Store(true)
		if err := d.Write(t.Context(), func(tx *db.Tx) error { return elsewhere.Resume(t.Context(), tx, acct, server.URL) }); err != nil {
			t.Fatal(err)
		}
		for _, sid := range []string{waiting, send(t, d, s, callback.Callback{URL: server.URL})} {
			if got, _ := until(t, d, s, sid, settled); got.State != callback.Delivered {
				t.Errorf("%+v", got)
			}
		}
	})
}

func TestResumeAndRange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var c clock.Clock
		var up atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !up.Load() {
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		defer server.Close()
		o := options(&c)
		o.PauseFailures, o.PauseAfter = 2, time.Nanosecond
		notices := noticesOf(&o)
		s := callback.New(d, o)
		run(t, s)
		begun := c.Now()
		var failed []string
		for range 2 {
			sid := send(t, d, s, callback.Callback{URL: server.URL})
			until(t, d, s, sid, settled)
			failed = append(failed, sid)
		}
		next(t, notices)
		held := send(t, d, s, callback.Callback{URL: server.URL})
		until(t, d, s, held, func(d callback.Delivery, _ []callback.Attempt) bool { return d.NextAt.IsZero() })
		up.Store(true)

		var endpoints []callback.Endpoint
		if err := d.Read(t.Context(), func(q db.Query) (err error) {
			endpoints, err = s.Endpoints(t.Context(), q, acct)
			return err
		}); err != nil || len(endpoints) != 1 || endpoints[0].PausedAt.IsZero() || endpoints[0].Endpoint != server.URL {
			t.Fatalf("endpoints %+v, %v", endpoints, err)
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error { return s.Resume(t.Context(), tx, acct, "https://other") }); !fault.Is(err, fault.NotFound) {
			t.Errorf("resumed another endpoint: %v", err)
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error { return s.Resume(t.Context(), tx, acct, server.URL) }); err != nil {
			t.Fatal(err)
		}
		if got, _ := until(t, d, s, held, settled); got.State != callback.Delivered {
			t.Errorf("held delivery: %+v", got)
		}
		var n int
		if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			n, err = s.RedeliverRange(t.Context(), tx, acct, callback.Range{From: begun, To: c.Now(), State: callback.Failed}, 100)
			return err
		}); err != nil || n != 2 {
			t.Fatalf("redelivered %d, %v", n, err)
		}
		for _, sid := range failed {
			if got, _ := until(t, d, s, sid, settled); got.State != callback.Delivered || got.Attempts != 2 {
				t.Errorf("redelivered: %+v", got)
			}
		}
	})
}
