package callback_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/internal/clock"
)

func TestRedeliver(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		server, got := receiver(t, func(n int, w http.ResponseWriter) {
			if n == 1 {
				w.WriteHeader(http.StatusNotFound)
			}
		})
		s := callback.New(d, options(&clock.Clock{}))
		run(t, s)
		sid := send(t, d, s, callback.Callback{Subject: "HS1", URL: server.URL, Params: []callback.Param{{"A", "1"}}})
		first := next(t, got)
		until(t, d, s, sid, func(d callback.Delivery, _ []callback.Attempt) bool { return d.State == callback.Failed })
		redeliver := func(account, sid string) error {
			return d.Write(t.Context(), func(tx *db.Tx) error { return s.Redeliver(t.Context(), tx, account, sid) })
		}
		for n := 2; n <= 3; n++ { // also what was delivered
			if err := redeliver(acct, sid); err != nil {
				t.Fatal(err)
			}
			r := next(t, got)
			if r.body != first.body || r.Header.Get("I-Twilio-Idempotency-Token") != first.Header.Get("I-Twilio-Idempotency-Token") {
				t.Error("the repetition differs")
			}
			until(t, d, s, sid, func(d callback.Delivery, a []callback.Attempt) bool {
				return d.State == callback.Delivered && d.Attempts == n && len(a) == n
			})
		}
		if err := redeliver("AC2", sid); !fault.Is(err, fault.NotFound) {
			t.Errorf("another account's: %v", err)
		}
		if err := redeliver(acct, "CB0"); !fault.Is(err, fault.NotFound) {
			t.Errorf("of nothing: %v", err)
		}
	})
}

func TestList(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := &clock.Clock{}
		s := callback.New(d, options(c))
		for n := range 10 {
			send(t, d, s, callback.Callback{Subject: fmt.Sprint("HS", n%2), URL: "http://127.0.0.1:1/", Account: fmt.Sprint("AC", n%5)})
			c.Forward(time.Second)
		}
		for _, tt := range []struct {
			name   string
			filter callback.Filter
			want   int
		}{
			{"all", callback.Filter{}, 10},
			{"an account", callback.Filter{Account: "AC1"}, 2},
			{"a subject", callback.Filter{Subject: "HS1"}, 5},
			{"a state", callback.Filter{State: callback.Due}, 10},
			{"another state", callback.Filter{State: callback.Delivered}, 0},
			{"both", callback.Filter{Account: "AC1", Subject: "HS1"}, 1},
		} {
			t.Run(tt.name, func(t *testing.T) {
				f := tt.filter
				f.Limit = 3
				count := 0
				for {
					var page []callback.Delivery
					if err := d.Read(t.Context(), func(q db.Query) (err error) { page, err = s.List(t.Context(), q, f); return err }); err != nil {
						t.Fatal(err)
					}
					for _, got := range page {
						if f.After != nil && !got.CreatedAt.Before(f.After.CreatedAt) {
							t.Errorf("%v after %v", got.CreatedAt, f.After.CreatedAt)
						}
						f.After = &got
						count++
					}
					if len(page) < f.Limit {
						break
					}
				}
				if count != tt.want {
					t.Errorf("%d, want %d", count, tt.want)
				}
			})
		}
	})
}

func TestOldRecordsGo(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		server, _ := receiver(t, func(int, http.ResponseWriter) {})
		c := &clock.Clock{}
		s := callback.New(d, options(c))
		stop := run(t, s)
		old := send(t, d, s, callback.Callback{Subject: "HS1", URL: server.URL})
		until(t, d, s, old, settled)
		stop()
		c.Forward(31 * 24 * time.Hour)
		waiting := send(t, d, s, callback.Callback{Subject: "HS2", URL: "http://127.0.0.1:1/"})
		s = callback.New(d, options(c))
		run(t, s)
		until(t, d, s, waiting, tried(1))
		if err := d.Read(t.Context(), func(q db.Query) error {
			_, err := s.Get(t.Context(), q, acct, old)
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("the old record: %v", err)
			}
			attempts, err := s.Attempts(t.Context(), q, old)
			if len(attempts) != 0 {
				t.Errorf("its attempts: %v", attempts)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}
