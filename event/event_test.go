package event_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
)

func appendAll(t testing.TB, d *db.DB, l *event.Log, events ...event.Event) {
	t.Helper()
	if err := d.Write(t.Context(), func(tx *db.Tx) error {
		for _, e := range events {
			if err := l.Append(t.Context(), tx, e); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func list(t testing.TB, d *db.DB, l *event.Log, f event.Filter) (events []event.Event) {
	t.Helper()
	if err := d.Read(t.Context(), func(q db.Query) error {
		var err error
		events, err = l.List(t.Context(), q, f)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return events
}

func next(t testing.TB, feed <-chan event.Event) event.Event {
	t.Helper()
	select {
	case e, ok := <-feed:
		if !ok {
			t.Fatal("the feed has ended")
		}
		return e
	case <-time.After(2 * time.Minute):
		t.Fatal("no event within two minutes")
		panic("unreachable")
	}
}

func subscribe(t testing.TB, l *event.Log, f event.Filter, after int64) <-chan event.Event {
	t.Helper()
	feed, err := l.Subscribe(t.Context(), f, after)
	if err != nil {
		t.Fatal(err)
	}
	return feed
}

func TestAppend(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d)
		at := time.Date(2026, 3, 1, 12, 0, 0, 123000, time.UTC)
		l.Now = func() time.Time { return at }
		no := errors.New("no")
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			return errors.Join(l.Append(t.Context(), tx, event.Event{Kind: "never", Subject: "HS0"}), no)
		}); !errors.Is(err, no) {
			t.Fatal(err)
		}
		earlier := at.Add(-time.Hour)
		appendAll(t, d, l,
			event.Event{Kind: "sim.status", Subject: "HS1", Account: "AC1", Data: map[string]string{"to": "active"}, Evidence: []byte{0, 0xff}, EvidenceKind: "core.answer"},
			event.Event{Kind: "sim.seen", Subject: "HS1", At: earlier})
		got := list(t, d, l, event.Filter{})
		if len(got) != 2 {
			t.Fatalf("%d events", len(got))
		}
		e := got[1]
		var data map[string]string
		if err := json.Unmarshal(e.Data.(json.RawMessage), &data); err != nil || data["to"] != "active" {
			t.Errorf("data %s, %v", e.Data, err)
		}
		if e.Kind != "sim.status" || e.Subject != "HS1" || e.Account != "AC1" || !e.At.Equal(at) || !bytes.Equal(e.Evidence, []byte{0, 0xff}) || e.EvidenceKind != "core.answer" {
			t.Errorf("got %+v", e)
		}
		if e := got[0]; !e.At.Equal(earlier) || string(e.Data.(json.RawMessage)) != "{}" || e.Evidence != nil || e.ID <= got[1].ID {
			t.Errorf("got %+v", e)
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			return l.Append(t.Context(), tx, event.Event{Data: func() {}})
		}); err == nil {
			t.Error("what is no JSON was recorded")
		}
	})
}

func TestList(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d)
		for n := range 30 {
			appendAll(t, d, l, event.Event{Kind: []string{"a", "b"}[n%2], Subject: fmt.Sprint("HS", n%3), Account: fmt.Sprint("AC", n%5), Data: n})
		}
		for _, tt := range []struct {
			name   string
			filter event.Filter
			want   int
		}{
			{"all", event.Filter{}, 30},
			{"a subject", event.Filter{Subject: "HS1"}, 10},
			{"an account", event.Filter{Account: "AC4"}, 6},
			{"a kind", event.Filter{Kind: "b"}, 15},
			{"everything at once", event.Filter{Subject: "HS0", Account: "AC0", Kind: "a"}, 1},
			{"nobody", event.Filter{Subject: "HS9"}, 0},
		} {
			t.Run(tt.name, func(t *testing.T) {
				f := tt.filter
				f.Limit = 4
				seen := 0
				last := 31
				for {
					page := list(t, d, l, f)
					for _, e := range page {
						var n int
						if err := json.Unmarshal(e.Data.(json.RawMessage), &n); err != nil {
							t.Fatal(err)
						}
						if n >= last {
							t.Errorf("%d comes after %d", n, last)
						}
						last = n
						seen++
						f.Before = e.ID
					}
					if len(page) < f.Limit {
						break
					}
				}
				if seen != tt.want {
					t.Errorf("%d events, want %d", seen, tt.want)
				}
			})
		}
	})
}

func TestSubscribe(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d)
		if !d.Postgres() { // there a feed may have to wait for a transaction of anybody, and looks again
			l.Unasked()
		}
		appendAll(t, d, l, event.Event{Kind: "old", Subject: "x"}, event.Event{Kind: "old", Subject: "y"})
		all, some := subscribe(t, l, event.Filter{}, 0), subscribe(t, l, event.Filter{Account: "AC2"}, 0)
		appendAll(t, d, l, event.Event{Kind: "new", Subject: "x", Account: "AC1"}, event.Event{Kind: "new", Subject: "y", Account: "AC2"})
		// A feed may begin with some of the last moment: on PostgreSQL as far back
		// as a transaction was open anywhere, another database's included.
		first := next(t, all)
		for first.Kind == "old" {
			first = next(t, all)
		}
		second := next(t, all)
		if first.Subject != "x" || second.Subject != "y" || first.Kind != "new" {
			t.Errorf("got %+v, %+v", first, second)
		}
		if e := next(t, some); e.Subject != "y" || e.Account != "AC2" {
			t.Errorf("got %+v for AC2", e)
		}
		resumed := subscribe(t, l, event.Filter{}, first.ID)
		if e := next(t, resumed); e.ID != second.ID {
			t.Errorf("after %d came %d, want %d", first.ID, e.ID, second.ID)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended, err := l.Subscribe(ctx, event.Filter{Account: "AC3"}, 0) // of others it could begin with some
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		for range ended {
			t.Error("an event of nobody on a feed that is over")
		}
	})
}

// TestFeedIsComplete has eight writers append and subscribers join in the middle,
// one of them on another node: everybody gets everything once, in one order.
func TestFeedIsComplete(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d := dbtest.Open(t, url)
		l := event.New(d)
		appendAll(t, d, l, event.Event{Kind: "start", Subject: "x"})
		start := list(t, d, l, event.Filter{})[0].ID
		other := event.New(dbtest.Open(t, url))

		const writers, each = 8, 40
		total := writers * each
		var all sync.WaitGroup
		feeds := []<-chan event.Event{subscribe(t, l, event.Filter{}, start), subscribe(t, other, event.Filter{}, start)}
		for w := range writers {
			all.Go(func() {
				for n := range each {
					if err := d.Write(t.Context(), func(tx *db.Tx) error {
						return l.Append(t.Context(), tx, event.Event{Kind: "step", Subject: fmt.Sprintf("%d/%d", w, n)})
					}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		feeds = append(feeds, subscribe(t, l, event.Filter{}, start))
		var orders [][]string
		var ids []int64
		for n, feed := range feeds {
			seen := map[string]bool{}
			var order []string
			for range total {
				e := next(t, feed)
				if seen[e.Subject] {
					t.Fatalf("feed %d: %s twice", n, e.Subject)
				}
				seen[e.Subject] = true
				order = append(order, e.Subject)
				if n == 0 {
					ids = append(ids, e.ID)
				}
			}
			orders = append(orders, order)
		}
		all.Wait()
		for n, order := range orders {
			if fmt.Sprint(order) != fmt.Sprint(orders[0]) {
				t.Errorf("feed %d has another order", n)
			}
		}
		// Whoever comes back goes on where it left.
		for _, at := range []int{0, total / 3, total - 2} {
			feed := subscribe(t, other, event.Filter{}, ids[at])
			for n := at + 1; n < total; n++ {
				if e := next(t, feed); e.ID != ids[n] {
					t.Fatalf("after %d: event %d is %d, want %d", at, n, e.ID, ids[n])
				}
			}
		}
	})
}

// TestFeedWaitsForOlder holds a transaction open that has the lower number: the
// feed shows nothing newer until it has ended, and then both.
func TestFeedWaitsForOlder(t *testing.T) {
	d := dbtest.Postgres(t)
	l := event.New(d)
	feed := subscribe(t, l, event.Filter{}, 0)
	appended, commit := make(chan bool), make(chan bool)
	ended := make(chan error, 1)
	go func() {
		ended <- d.Write(t.Context(), func(tx *db.Tx) error {
			if err := l.Append(t.Context(), tx, event.Event{Kind: "older", Subject: "x"}); err != nil {
				return err
			}
			select {
			case appended <- true:
			case <-commit: // in another attempt it has been said
			}
			<-commit
			return nil
		})
	}()
	<-appended
	appendAll(t, d, l, event.Event{Kind: "newer", Subject: "x"})
	select {
	case e := <-feed:
		t.Errorf("%s was shown before the older transaction ended", e.Kind)
	case <-time.After(300 * time.Millisecond):
	}
	close(commit)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if a, b := next(t, feed), next(t, feed); a.Kind != "older" || b.Kind != "newer" {
		t.Errorf("got %s, %s", a.Kind, b.Kind)
	}
}

func TestClockGoesBack(t *testing.T) {
	d := dbtest.SQLite(t)
	l := event.New(d)
	if err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(t.Context(), `insert into event (id, txid, kind, subject, account, at, data, evidence_kind)
			values ($1, 0, 'future', 'x', '', 0, '{}', '')`, time.Now().Add(time.Hour).UnixMicro()<<10)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	feed := subscribe(t, l, event.Filter{}, 0)
	appendAll(t, d, l, event.Event{Kind: "now", Subject: "x"})
	if e := next(t, feed); e.Kind != "now" {
		t.Errorf("got %s", e.Kind)
	}
}

func BenchmarkAppend(b *testing.B) {
	d := dbtest.SQLite(b)
	l := event.New(d)
	if err := d.Write(b.Context(), func(tx *db.Tx) error {
		for b.Loop() {
			if err := l.Append(b.Context(), tx, event.Event{
				Kind: "sim.status", Subject: "HS00000000000000000000000000000001", Account: "AC00000000000000000000000000000001",
				Data: map[string]string{"from": "new", "to": "active"}, Evidence: make([]byte, 300), EvidenceKind: "sgp22.notification",
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

// TestAfter goes through events from a place that was kept, some at a time and
// those of some kinds only, and finds the place where nothing follows.
func TestAfter(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d)
		appendAll(t, d, l, event.Event{Kind: "device.old", Subject: "x", Account: "AC1"})
		var place event.Place
		if err := d.Read(t.Context(), func(q db.Query) (err error) {
			place, err = l.End(t.Context(), q)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for n := range 10 {
			appendAll(t, d, l, event.Event{Kind: []string{"device.a", "esim.b", "sim.c"}[n%3], Subject: fmt.Sprint(n), Account: []string{"AC1", "AC2"}[n/9]})
		}
		f := event.Filter{Account: "AC1", Kinds: []string{"device.%", "esim.%"}}
		var got []string
		// On PostgreSQL a transaction may be under way elsewhere: until it is over,
		// nothing newer is seen.
		for deadline := time.Now().Add(2 * time.Minute); len(got) < 6 && time.Now().Before(deadline); {
			list, next, err := l.After(t.Context(), f, place, 4)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if e.Kind == "device.old" {
					continue // of the last moment
				}
				got = append(got, e.Subject)
				// From the place of each the rest follows.
				if rest, _, err := l.After(t.Context(), f, e.Place, 1); err != nil || len(rest) > 0 && rest[0].Subject <= e.Subject {
					t.Errorf("after %s came %+v, %v", e.Subject, rest, err)
				}
			}
			place = next
		}
		if fmt.Sprint(got) != "[0 1 3 4 6 7]" {
			t.Errorf("got %v", got)
		}
		if list, next, err := l.After(t.Context(), f, place, 4); err != nil || len(list) != 0 || next.TX < place.TX {
			t.Errorf("after the end came %v at %v, %v", list, next, err)
		}
	})
}
