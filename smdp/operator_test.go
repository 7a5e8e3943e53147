package smdp

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/es2"
	"godwit/fault"
	"godwit/rsp"
)

// What is changed about an operator counts at once where it calls, and soon at
// every node where it is told of progress.
func TestChangeOperator(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var mu sync.Mutex
		var heard []rsp.ProgressInfo
		system := httptest.NewServer(es2.Receiver(func(_ context.Context, info rsp.ProgressInfo) error {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, info)
			return nil
		}))
		defer system.Close()
		w := newWorld(t, d)
		elsewhere, err := Open(t.Context(), d, Config{Addresses: []string{address}, Now: w.clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		a, o := w.operator(Operator{Name: "A", Requester: "op-a", Types: []string{"full-usim-isim"}})
		w.stock("minimal-usim", 4)
		order := func(client *es2.Client) rsp.DownloadOrderResult {
			t.Helper()
			return one(t, client.DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"})
		}
		wantCode(t, order(a).Header, "8.2.5/1.2")
		deliver := func() {
			t.Helper()
			got := order(a)
			wantCode(t, got.Header, "")
			id := one(t, a.ConfirmOrders, rsp.ConfirmOrder{Header: newCall(), ICCID: got.ICCID, Release: true}).MatchingID
			_, header := w.offeredTo(w.chip(), ordered{got.ICCID, id}).download("")
			wantCode(t, header, "")
			if _, err := w.server.out.drain(t.Context(), `receiver <> 'local'`, 100, leaseAbroad); err != nil {
				t.Fatal(err)
			}
		}
		o.Types = []string{"*"}
		if err := elsewhere.ChangeOperator(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		deliver() // nobody hears of it, which this node now remembers
		o.Progress = system.URL
		if err := elsewhere.ChangeOperator(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		w.clock.Forward(hearsFor)
		deliver()
		mu.Lock()
		if len(heard) != 1 || heard[0].Point != rsp.PointDownload {
			t.Errorf("heard %+v, want one download", heard)
		}
		mu.Unlock()

		renewed := clientCertificate(t, "A", nil)
		o.KeyPin = KeyPin(renewed.Leaf)
		if err := elsewhere.ChangeOperator(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if _, err := a.DownloadOrders(t.Context(), []rsp.DownloadOrder{{Header: newCall(), Type: "minimal-usim"}}); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("the former certificate: error %v, want HTTP status 403", err)
		}
		a = w.es2(renewed, "op-a")
		wantCode(t, order(a).Header, "")

		_, b := w.operator(Operator{Name: "B", Requester: "op-b"})
		for _, tt := range []struct {
			name   string
			change func(*Operator)
			want   fault.Kind
		}{
			{"another's certificate", func(c *Operator) { c.KeyPin = o.KeyPin }, fault.Conflict},
			{"another requester identifier", func(c *Operator) { c.Requester = "op-c" }, fault.NotFound},
			{"no such operator", func(c *Operator) { c.ID = "OP0" }, fault.NotFound},
			{"no name", func(c *Operator) { c.Name = " " }, fault.Invalid},
			{"no certificate", func(c *Operator) { c.KeyPin = "" }, fault.Invalid},
			{"an unknown type", func(c *Operator) { c.Types = []string{"gold"} }, fault.Invalid},
			{"a progress address that is none", func(c *Operator) { c.Progress = "ops.example.com" }, fault.Invalid},
		} {
			changed := b
			tt.change(&changed)
			if err := w.server.ChangeOperator(t.Context(), changed); !fault.Is(err, tt.want) {
				t.Errorf("%s: %v, want kind %v", tt.name, err, tt.want)
			}
		}
		if got, err := w.server.OperatorNamed(t.Context(), "op-b"); err != nil || got.ID != b.ID {
			t.Errorf("%+v (%v), want B as it was", got, err)
		}
	})
}

// An operator that is removed is let in no more; its orders can be downloaded,
// and nobody is asked to hear of them.
func TestRemoveOperator(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		a, o := w.operator(Operator{Name: "A", Requester: "op-a", Progress: "https://127.0.0.1:1"})
		w.stock("minimal-usim", 2)
		call := rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"}
		got := one(t, a.DownloadOrders, call)
		id := one(t, a.ConfirmOrders, rsp.ConfirmOrder{Header: newCall(), ICCID: got.ICCID, Release: true}).MatchingID
		if err := w.server.RemoveOperator(t.Context(), o.ID, false); !fault.Is(err, fault.Conflict) {
			t.Errorf("with an order under way: %v", err)
		}
		if err := w.server.RemoveOperator(t.Context(), o.ID, true); err != nil {
			t.Fatal(err)
		}
		if _, err := a.DownloadOrders(t.Context(), []rsp.DownloadOrder{call}); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("error %v, want HTTP status 403", err)
		}
		s := w.offeredTo(w.chip(), ordered{got.ICCID, id})
		_, header := s.download("")
		wantCode(t, header, "")
		s.report(got.ICCID, 0)
		w.wantState(got.ICCID, Installed)
		if err := w.server.RemoveOperator(t.Context(), o.ID, false); !fault.Is(err, fault.NotFound) {
			t.Errorf("removed twice: %v", err)
		}
		// Another that bears its identifier has calls of its own.
		b, fresh := w.operator(Operator{Name: "B", Requester: "op-a"})
		if again := one(t, b.DownloadOrders, call); again.ICCID == got.ICCID {
			t.Error("an operator gets the answer of another that is gone")
		}
		if _, err := w.server.OperatorNamed(t.Context(), o.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("looked up after it is gone: %v", err)
		}
		if got, err := w.server.OperatorNamed(t.Context(), "op-a"); err != nil || got.ID != fresh.ID {
			t.Errorf("%+v (%v), want the new one", got, err)
		}
	})
}
