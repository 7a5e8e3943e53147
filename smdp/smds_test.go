package smdp

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/rsp"
)

// An sm-ds that keeps events by the rules of ES12.
type smds struct {
	mu     sync.Mutex
	events map[string]string // event → EID
	refuse bool
}

func (s *smds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := rsp.EventResponse{Header: rsp.Succeeded}
	switch r.URL.Path {
	case rsp.PathES12 + rsp.FnRegisterEvent:
		var q rsp.RegisterEvent
		if json.NewDecoder(r.Body).Decode(&q) != nil || q.ServerAddress != address || q.Header.Call == "" {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		switch _, exists := s.events[q.EventID]; {
		case s.refuse:
			answer.Header = rsp.Refuse(rsp.EIDInvalid, "no").Header()
		case exists:
			answer.Header = rsp.Refuse(rsp.EventExists, "there").Header()
		default:
			s.events[q.EventID] = q.EID
		}
	case rsp.PathES12 + rsp.FnDeleteEvent:
		var q rsp.DeleteEvent
		if json.NewDecoder(r.Body).Decode(&q) != nil {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		if s.events[q.EventID] != q.EID || q.EID == "" {
			answer.Header = rsp.Refuse(rsp.EventUnknown, "unknown").Header()
		}
		delete(s.events, q.EventID)
	}
	json.NewEncoder(w).Encode(answer)
}

func (s *smds) list() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for k, v := range s.events {
		out[k] = v
	}
	return out
}

// Idea 48: confirmOrder with an SM-DS registers the event; installation and
// every other end of the order deletes it.
func TestSMDS(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ds := &smds{events: map[string]string{}}
		server := httptest.NewTLSServer(ds)
		defer server.Close()
		w := newWorld(t, d, func(c *Config) {
			pool := x509.NewCertPool()
			pool.AddCert(server.Certificate())
			c.Trust = &tls.Config{RootCAs: pool}
		})
		at := strings.TrimPrefix(server.URL, "https://")
		drain := func() {
			t.Helper()
			if _, err := w.server.out.drain(t.Context(), `receiver <> 'local'`, 100, leaseAbroad); err != nil {
				t.Fatal(err)
			}
		}
		none := ident.MatchingID("")
		for _, tt := range []struct {
			name string
			id   *ident.MatchingID
			end  func(t *testing.T, c *chip, o ordered)
		}{
			{"installed", nil, func(t *testing.T, c *chip, o ordered) {
				s := w.offeredTo(c, o)
				s.download("")
				if len(ds.list()) != 1 {
					t.Error("the event is gone before the installation")
				}
				s.report(o.iccid, 0)
			}},
			{"installed, order without matching ID", &none, func(t *testing.T, c *chip, o ordered) {
				event := ""
				for event = range ds.list() {
				}
				s := c.start()
				wantCode(t, s.authenticate(&event), "") // the LPA takes the event's identifier
				s.download("")
				s.report(o.iccid, 0)
			}},
			{"cancelled by the user", nil, func(t *testing.T, c *chip, o ordered) {
				wantCode(t, w.offeredTo(c, o).cancel(rsp.CancelUserRejection, nil), "")
			}},
			{"cancelled by the operator", nil, func(t *testing.T, c *chip, o ordered) {
				got, err := w.server.CancelOrders(t.Context(), LocalOperator, []rsp.CancelOrder{{ICCID: o.iccid, EID: c.eid, Final: rsp.FinalAvailable}})
				if err != nil {
					t.Fatal(err)
				}
				wantCode(t, got[0].Header, "")
			}},
			{"not eligible", nil, func(t *testing.T, c *chip, o ordered) {
				c.info2.RSP = 0
				wantCode(t, c.start().authenticate(str(o.id)), "8.2.5/4.3")
			}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				w.t = t
				c := w.chip()
				o := w.order(wish{eid: c.eid, smds: at, id: tt.id})
				events := ds.list()
				for event, eid := range events {
					if eid != string(c.eid) || tt.id == nil && event != string(o.id) {
						t.Errorf("event %s for %s, want %s for %s", event, eid, o.id, c.eid)
					}
				}
				if len(events) != 1 {
					t.Fatalf("%d events, want 1", len(events))
				}
				tt.end(t, c, o)
				drain()
				if left := ds.list(); len(left) != 0 {
					t.Errorf("events are left: %v", left)
				}
			})
		}
		t.Run("refused or without EID", func(t *testing.T) {
			w.t = t
			w.stock("minimal-usim", 1)
			got, err := w.server.DownloadOrders(t.Context(), LocalOperator, []rsp.DownloadOrder{{Type: "minimal-usim"}})
			if err != nil {
				t.Fatal(err)
			}
			confirm := func(eid ident.EID) rsp.ResponseHeader {
				t.Helper()
				answers, err := w.server.ConfirmOrders(t.Context(), LocalOperator, []rsp.ConfirmOrder{{ICCID: got[0].ICCID, EID: eid, SMDSAddress: at}})
				if err != nil {
					t.Fatal(err)
				}
				return answers[0].Header
			}
			wantCode(t, confirm(""), "8.1.1/2.2")
			ds.refuse = true
			wantCode(t, confirm(w.chip().eid), "8.9/4.2")
			w.wantState(got[0].ICCID, Allocated)
			ds.refuse = false
		})
		t.Run("an event of an interrupted call is replaced", func(t *testing.T) {
			w.t = t
			c := w.chip()
			id := ident.MatchingID("LEFT-BEHIND")
			ds.events[string(id)] = string(c.eid)
			w.order(wish{eid: c.eid, smds: at, id: &id})
			if ds.list()[string(id)] != string(c.eid) {
				t.Errorf("events %v", ds.list())
			}
		})
		t.Run("an event whose order was not confirmed goes away", func(t *testing.T) {
			w.t = t
			clear(ds.events)
			// As after a crash: the event is registered, its order is not confirmed.
			w.stock("minimal-usim", 1)
			c := w.chip()
			got, err := w.server.DownloadOrders(t.Context(), LocalOperator, []rsp.DownloadOrder{{Type: "minimal-usim"}})
			if err != nil {
				t.Fatal(err)
			}
			op := local
			if _, err := w.server.registerFor(t.Context(), &op, rsp.ConfirmOrder{ICCID: got[0].ICCID, EID: c.eid, SMDSAddress: at}); err != nil {
				t.Fatal(err)
			}
			drain()
			if len(ds.list()) != 1 {
				t.Fatalf("events %v, want the one registered", ds.list())
			}
			w.clock.Forward(undoAfter + time.Second)
			drain()
			if len(ds.list()) != 0 {
				t.Errorf("events are left: %v", ds.list())
			}
		})
	})
}
