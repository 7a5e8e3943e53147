package remote_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/monitor"
)

// reachable lets the tests' own servers be called.
var reachable = callback.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// newMonitors is impatient, and switches nothing off unless a test says so.
func newMonitors(d *db.DB, events *event.Log) *monitor.Store {
	return &monitor.Store{
		DB: d, Events: events, Client: callback.Client(reachable), Check: callback.New(d, reachable).Check, Words: callback.InWords,
		Retry: func(int64) time.Duration { return 5 * time.Millisecond }, OffFailures: 1 << 40, OffAfter: time.Nanosecond,
	}
}

// push has a node deliver until the test is over or the returned function is
// called.
func push(t *testing.T, s *monitor.Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); all.Wait() }
	t.Cleanup(stop)
	return stop
}

// A document is what a receiver got.
type document struct {
	header http.Header
	method string
	path   string
	text   string
	list   []message
}

type message struct {
	Timestamp, Operation, Topic string
	record                      string // JSON, as it came
}

// of is what a message is about, without the account.
func (m message) of() string {
	_, rest, _ := strings.Cut(m.Topic, "/")
	return rest
}

// A receiver is a customer's server.
type receiver struct {
	*httptest.Server
	documents chan document
	refusals  chan document // what came while it refused
	refuse    atomic.Int64  // the status that it answers with, 0 for 200
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{documents: make(chan document, 1000), refusals: make(chan document, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body := io.Reader(q.Body)
		if q.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(body)
			if err != nil {
				t.Errorf("the document does not unzip: %v", err)
				return
			}
			body = unzipped
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return // the sender has gone
		}
		d := document{header: q.Header, method: q.Method, path: q.URL.Path, text: string(text), list: messages(t, text)}
		if status := r.refuse.Load(); status != 0 {
			if status/100 == 3 {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(int(status))
			select {
			case r.refusals <- d:
			default:
			}
			return
		}
		r.documents <- d
	}))
	t.Cleanup(r.Close)
	return r
}

// messages reads a document.
func messages(t *testing.T, text []byte) (list []message) {
	t.Helper()
	var body struct {
		Document *struct {
			Msg *[]map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &body); err != nil || body.Document == nil || body.Document.Msg == nil {
		t.Errorf("no document: %s, %v", text, err)
		return nil
	}
	for _, one := range *body.Document.Msg {
		list = append(list, messageOf(t, one))
	}
	return list
}

func messageOf(t *testing.T, one map[string]json.RawMessage) (m message) {
	t.Helper()
	for name, to := range map[string]*string{"timestamp": &m.Timestamp, "operation": &m.Operation, "topic": &m.Topic} {
		if err := json.Unmarshal(one[name], to); err != nil {
			t.Errorf("%s of %v: %v", name, one, err)
		}
	}
	resource, _, _ := strings.Cut(m.of(), "/")
	if m.record = string(one[resource]); m.record == "" || len(one) != 4 {
		t.Errorf("the message of %s has %d members, and %q for the record", m.Topic, len(one), m.record)
	}
	return m
}

func take(t *testing.T, from <-chan document) document {
	t.Helper()
	select {
	case d := <-from:
		return d
	case <-time.After(2 * time.Minute):
		t.Fatal("no document within two minutes")
		panic("unreachable")
	}
}

// alive takes the keep-alive of a monitor that begins.
func (r *receiver) alive(t *testing.T) document {
	t.Helper()
	d := take(t, r.documents)
	if d.text != `{"Document":{"Msg":[]}}` {
		t.Fatalf("want a keep-alive, got %s", d.text)
	}
	return d
}

// take takes as many messages, in however many documents they come.
func (r *receiver) take(t *testing.T, count int) (list []message) {
	t.Helper()
	for len(list) < count {
		list = append(list, take(t, r.documents).list...)
	}
	if len(list) > count {
		t.Fatalf("%d messages, want %d: %+v", len(list), count, list)
	}
	return list
}

// awaiting returns what waits for the next event of a kind.
func (w *world) awaiting(t *testing.T, kind string) func() event.Event {
	t.Helper()
	begun := time.Now().Truncate(time.Microsecond)
	feed, err := w.events.Subscribe(t.Context(), event.Filter{Kind: kind}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return func() event.Event {
		t.Helper()
		deadline := time.After(2 * time.Minute)
		for {
			select {
			case e := <-feed:
				if !e.At.Before(begun) { // a feed may begin with some of the last moment
					return e
				}
			case <-deadline:
				t.Fatalf("no event %s within two minutes", kind)
			}
		}
	}
}

// monitor makes a monitor and returns its number.
func (w *world) monitor(t *testing.T, body map[string]any) string {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	a, content := w.ask(t, http.MethodPost, "/ws/v1/monitors/inventory", string(text))
	var m struct {
		ID json.Number `json:"id"`
	}
	if err := json.Unmarshal([]byte(content), &m); err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", a.StatusCode, content)
	}
	return m.ID.String()
}

// show returns a record.
func (w *world) show(t *testing.T, target string) map[string]any {
	t.Helper()
	a, content := w.ask(t, http.MethodGet, "/ws/v1/"+target, "")
	var m map[string]any
	if err := json.Unmarshal([]byte(content), &m); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", target, a.StatusCode, content)
	}
	return m
}
