package callback_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/internal/clock"
	"godwit/internal/loopback"
)

const (
	acct  = "AC00000000000000000000000000000001"
	token = "0123456789abcdef0123456789abcdef"
)

func signingOf(_ context.Context, account string) (callback.Signing, error) {
	if account != acct {
		return callback.Signing{}, errors.New("no such account")
	}
	return callback.Signing{Token: db.Secret(token)}, nil
}

func options(c *clock.Clock) callback.Options {
	return callback.Options{Signing: signingOf, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: c.Now}
}

// run delivers until the test ends or stop is called.
func run(t testing.TB, s *callback.Sender) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func send(t testing.TB, d *db.DB, s *callback.Sender, c callback.Callback) (sid string) {
	t.Helper()
	if c.Account == "" {
		c.Account = acct
	}
	if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
		sid, err = s.Send(t.Context(), tx, c)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return sid
}

func get(t testing.TB, d *db.DB, s *callback.Sender, sid string) (got callback.Delivery, attempts []callback.Attempt) {
	t.Helper()
	if err := d.Snapshot(t.Context(), func(q db.Query) (err error) {
		if got, err = s.Get(t.Context(), q, acct, sid); err != nil {
			return err
		}
		attempts, err = s.Attempts(t.Context(), q, sid)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return got, attempts
}

// until reads a delivery until it satisfies ok.
func until(t testing.TB, d *db.DB, s *callback.Sender, sid string, ok func(callback.Delivery, []callback.Attempt) bool) (callback.Delivery, []callback.Attempt) {
	t.Helper()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-look.C {
		got, attempts := get(t, d, s, sid)
		if ok(got, attempts) {
			return got, attempts
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %+v with attempts %+v", got, attempts)
		}
	}
}

func settled(d callback.Delivery, _ []callback.Attempt) bool { return d.State != callback.Due }

func tried(n int) func(callback.Delivery, []callback.Attempt) bool {
	return func(_ callback.Delivery, a []callback.Attempt) bool { return len(a) >= n }
}

// seen is a request as a receiver got it.
type seen struct {
	*http.Request
	body string
}

// receiver answers with what answer says and shows what it got.
func receiver(t testing.TB, answer func(n int, w http.ResponseWriter)) (*httptest.Server, <-chan seen) {
	t.Helper()
	got := make(chan seen, 1000)
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r, string(body)}
		answer(int(n.Add(1)), w)
	}))
	t.Cleanup(server.Close)
	return server, got
}

func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing came within two minutes")
		panic("unreachable")
	}
}

func TestDelivery(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		server, got := receiver(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) })
		s := callback.New(d, options(&clock.Clock{}))
		s.Unasked()
		run(t, s)
		params := []callback.Param{{"SimSid", "HS1"}, {"SimStatus", "active"}, {"Note", ""}, {"Text", "a&b=ü +"}}
		want := url.Values{"SimSid": {"HS1"}, "SimStatus": {"active"}, "Note": {""}, "Text": {"a&b=ü +"}}

		sid := send(t, d, s, callback.Callback{Subject: "HS1", URL: server.URL + "/hook?tenant=7#rc=2", Params: params})
		r := next(t, got)
		form, err := url.ParseQuery(r.body)
		if err != nil || form.Encode() != want.Encode() {
			t.Errorf("form %s, %v", r.body, err)
		}
		if r.Method != "POST" || r.RequestURI != "/hook?tenant=7" || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			t.Errorf("%s %s, %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"))
		}
		if sig := callback.Sign(db.Secret(token), server.URL+"/hook?tenant=7", want); r.Header.Get("X-Twilio-Signature") != sig {
			t.Errorf("signature %s, want %s", r.Header.Get("X-Twilio-Signature"), sig)
		}
		if r.Header.Get("User-Agent") != "TwilioProxy/1.1" {
			t.Errorf("user agent %s", r.Header.Get("User-Agent"))
		}
		delivery, attempts := until(t, d, s, sid, settled)
		if delivery.State != callback.Delivered || delivery.LastStatus != 204 || delivery.LastError != "" || delivery.Subject != "HS1" ||
			delivery.Token == "" || delivery.Token != r.Header.Get("I-Twilio-Idempotency-Token") {
			t.Errorf("delivery %+v", delivery)
		}
		if len(attempts) != 1 || attempts[0].Number != 1 || attempts[0].Status != 204 || attempts[0].Duration <= 0 || attempts[0].Error != "" {
			t.Errorf("attempts %+v", attempts)
		}

		send(t, d, s, callback.Callback{Subject: "HS1", URL: server.URL + "/hook?tenant=7", Method: "get", Params: params})
		r = next(t, got)
		all := r.URL.Query()
		if r.Method != "GET" || r.body != "" || all.Get("tenant") != "7" || all.Get("Text") != "a&b=ü +" || !all.Has("Note") {
			t.Errorf("%s %s %q", r.Method, r.RequestURI, r.body)
		}
		if sig := callback.Sign(db.Secret(token), server.URL+r.RequestURI, nil); r.Header.Get("X-Twilio-Signature") != sig {
			t.Errorf("signature %s, want %s", r.Header.Get("X-Twilio-Signature"), sig)
		}

		if sid := send(t, d, s, callback.Callback{Subject: "HS1"}); sid != "" {
			t.Errorf("something to send nowhere: %s", sid)
		}
		no := errors.New("no")
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			_, err := s.Send(t.Context(), tx, callback.Callback{Account: acct, Subject: "HS1", URL: server.URL})
			return errors.Join(err, no)
		}); !errors.Is(err, no) {
			t.Fatal(err)
		}
		for _, wrong := range []callback.Callback{
			{URL: "nowhere"},
			{URL: server.URL, Method: "PUT"},
			{URL: server.URL, Params: []callback.Param{{"A", "1"}, {"A", "2"}}},
		} {
			if err := d.Write(t.Context(), func(tx *db.Tx) error {
				_, err := s.Send(t.Context(), tx, wrong)
				return err
			}); err == nil {
				t.Errorf("taken: %+v", wrong)
			}
		}
		select {
		case r := <-got:
			t.Errorf("another request: %s %s", r.Method, r.RequestURI)
		default:
		}
	})
}

// TestRepeats fails twice; the token stays, the record grows.
func TestRepeats(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		server, got := receiver(t, func(n int, w http.ResponseWriter) {
			if n <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		// The time stands still but for what is said here: no attempt is made before
		// the one before it has been looked at.
		var now atomic.Int64
		o := options(&clock.Clock{})
		now.Store(time.Now().UnixMicro())
		o.Now = func() time.Time { return time.UnixMicro(now.Load()) }
		s := callback.New(d, o)
		run(t, s)
		sid := send(t, d, s, callback.Callback{Subject: "HS1", URL: server.URL, Params: []callback.Param{{"A", "1"}}})
		first := next(t, got)
		for n := 1; n <= 2; n++ {
			delivery, _ := until(t, d, s, sid, tried(n))
			if delivery.State != callback.Due || !delivery.NextAt.After(o.Now()) || !strings.Contains(delivery.LastError, "503") {
				t.Errorf("after attempt %d: %+v", n, delivery)
			}
			now.Store(delivery.NextAt.UnixMicro())
			again := next(t, got)
			for _, name := range []string{"I-Twilio-Idempotency-Token", "X-Twilio-Signature"} {
				if again.Header.Get(name) != first.Header.Get(name) {
					t.Errorf("%s differs", name)
				}
			}
		}
		delivery, attempts := until(t, d, s, sid, settled)
		if delivery.State != callback.Delivered || delivery.Attempts != 3 || len(attempts) != 3 || attempts[2].Status != 200 {
			t.Errorf("%+v, attempts %+v", delivery, attempts)
		}
	})
}

func TestRefusals(t *testing.T) {
	var handler atomic.Value // of http.HandlerFunc; a request may outlast its case
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(server.Close)
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	closed := loopback.Take(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })

	nowhere := strings.Repeat("nowhere-", 8) + "x.invalid"
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", server.URL+"/elsewhere")
			w.WriteHeader(code)
		}
	}
	d := dbtest.SQLite(t)
	// The time stands still, so that no second attempt follows the first.
	now, o := time.Now(), options(&clock.Clock{})
	o.Now = func() time.Time { return now }
	s := callback.New(d, o)
	stop := run(t, s)
	for _, tt := range []struct {
		name    string
		url     string
		handler http.HandlerFunc
		state   callback.State // after the first attempt
		words   string
	}{
		{"not found", server.URL, status(404), callback.Failed, "answered 404 Not Found"},
		{"gone elsewhere", server.URL, status(302), callback.Failed, "redirects are not followed"},
		{"too many", server.URL, status(429), callback.Due, "429"},
		{"server trouble", server.URL, status(500), callback.Due, "500"},
		{"server trouble, repetitions set", server.URL + "#rc=3", status(500), callback.Failed, "500"},
		{"no connection", "http://" + closed, nil, callback.Due, "connection refused"},
		{"no connection, repetitions set", "http://" + closed + "#rc=1", nil, callback.Due, "connection refused"},
		{"no connection, no repetition", "http://" + closed + "#rc=0", nil, callback.Failed, "connection refused"},
		{"no TLS", "https://" + silent.Addr().String() + "#ct=150", nil, callback.Due, "no connection within 150ms"},
		{"no answer", "http://" + silent.Addr().String() + "#rt=150", nil, callback.Due, "no answer within 150ms"},
		{"no answer in all", "http://" + silent.Addr().String() + "#tt=150", nil, callback.Due, "within 150ms"},
		{"unknown certificate", tlsServer.URL, nil, callback.Due, "not trusted"},
		{"hangs up", server.URL, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, callback.Due, "closed without an answer"},
		// A label is too long, so that no name server is asked, which may be none.
		{"unknown name", "http://" + nowhere + "/", nil, callback.Due, "the name " + nowhere + " does not exist"},
		{"an endless answer", server.URL + "#tt=15000", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, callback.Delivered, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.handler != nil {
				handler.Store(tt.handler)
			}
			sid := send(t, d, s, callback.Callback{Subject: "HS1", URL: tt.url, Params: []callback.Param{{"A", "1"}}})
			delivery, attempts := until(t, d, s, sid, tried(1))
			if delivery.State != tt.state || !strings.Contains(delivery.LastError, tt.words) || attempts[0].Error != delivery.LastError {
				t.Errorf("%s: %q", delivery.State, delivery.LastError)
			}
		})
	}
	stop()
	s = callback.New(d, options(&clock.Clock{}))
	run(t, s)
	t.Run("repetitions set follow each other at once", func(t *testing.T) {
		sid := send(t, d, s, callback.Callback{Subject: "HS1", URL: "http://" + closed + "#rc=3&ct=500"})
		if delivery, attempts := until(t, d, s, sid, settled); delivery.State != callback.Failed || len(attempts) != 4 {
			t.Errorf("%s after %d attempts", delivery.State, len(attempts))
		}
	})
	t.Run("no account", func(t *testing.T) {
		sid := ""
		if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			sid, err = s.Send(t.Context(), tx, callback.Callback{Account: "AC9", Subject: "HS1", URL: server.URL})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		look := time.NewTicker(2 * time.Millisecond)
		defer look.Stop()
		for deadline := time.Now().Add(2 * time.Minute); ; <-look.C {
			var attempts []callback.Attempt
			if err := d.Read(t.Context(), func(q db.Query) (err error) { attempts, err = s.Attempts(t.Context(), q, sid); return err }); err != nil {
				t.Fatal(err)
			}
			if len(attempts) == 1 {
				if !strings.Contains(attempts[0].Error, "token") {
					t.Errorf("attempt %+v", attempts[0])
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no attempt")
			}
		}
	})
}

func TestTrustedCertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	o := options(&clock.Clock{})
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(server.Certificate())
	d := dbtest.SQLite(t)
	s := callback.New(d, o)
	run(t, s)
	if got, _ := until(t, d, s, send(t, d, s, callback.Callback{Subject: "HS1", URL: server.URL}), settled); got.State != callback.Delivered {
		t.Errorf("%+v", got)
	}
}

// TestGuard calls addresses that are not public.
func TestGuard(t *testing.T) {
	server, got := receiver(t, func(int, http.ResponseWriter) {})
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	byName := "http://localhost:" + port
	for _, tt := range []struct {
		name, url string
		allow     []netip.Prefix
		hosts     []string
		ok        bool
	}{
		{"loopback", server.URL, nil, nil, false},
		{"a name that leads there", byName, nil, nil, false},
		{"mapped into IPv6", "http://[::ffff:127.0.0.1]:" + port, nil, nil, false},
		{"written as a number", "http://2130706433:" + port, nil, nil, false},
		{"private", "http://10.1.2.3/", nil, nil, false},
		{"metadata", "http://169.254.169.254/latest/meta-data/", nil, nil, false},
		{"IPv6 loopback", "http://[::1]:" + port, nil, nil, false},
		{"another network is allowed", server.URL, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, nil, false},
		{"the network is allowed", server.URL, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}, nil, true},
		{"the name is allowed", byName, nil, []string{"localhost"}, true},
		{"the name with its port is allowed", byName, nil, []string{"localhost:" + port}, true},
		{"another port is allowed", byName, nil, []string{"localhost:1"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(&clock.Clock{})
			o.Allow, o.AllowHosts = tt.allow, tt.hosts
			d := dbtest.SQLite(t)
			s := callback.New(d, o)
			run(t, s)
			delivery, _ := until(t, d, s, send(t, d, s, callback.Callback{Subject: "HS1", URL: tt.url}), tried(1))
			if ok := delivery.State == callback.Delivered; ok != tt.ok {
				t.Errorf("%s: %q", delivery.State, delivery.LastError)
			}
			if !tt.ok && len(got) > 0 {
				t.Errorf("the receiver was called")
			}
			for len(got) > 0 {
				<-got
			}
		})
	}
}

// TestSlowEndpoint has one endpoint hang with hundreds of deliveries; another's
// are made at once all the same.
func TestSlowEndpoint(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		release := make(chan bool)
		slow, slowGot := receiver(t, func(int, http.ResponseWriter) { <-release })
		quick, quickGot := receiver(t, func(int, http.ResponseWriter) {})
		o := options(&clock.Clock{})
		o.Concurrent, o.PerEndpoint = 24, 8
		s := callback.New(d, o)
		const many = 300
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			for n := range many {
				if _, err := s.Send(t.Context(), tx, callback.Callback{Account: acct, Subject: fmt.Sprint("slow", n), URL: slow.URL}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		run(t, s)
		for range 8 {
			next(t, slowGot)
		}
		// In the common line they would wait for the slow one's to be given up, 300
		// of them for a quarter of a minute each.
		for n := range 50 {
			send(t, d, s, callback.Callback{Subject: fmt.Sprint("quick", n), URL: quick.URL})
		}
		for range 50 {
			next(t, quickGot)
		}
		// One that is given up leaves its place to another.
		if n, given := 8+len(slowGot), 1+int(time.Since(began)/(15*time.Second)); n > 8*given {
			t.Errorf("the slow one got %d, and each of its 8 places can have been given %d times", n, given)
		}
		close(release)
		for range many - 8 {
			next(t, slowGot)
		}
	})
}

// TestTwoSenders shares one database between two nodes: each delivery is made once.
func TestTwoSenders(t *testing.T) {
	url := dbtest.PostgresURL(t)
	server, got := receiver(t, func(int, http.ResponseWriter) {})
	first := dbtest.Open(t, url)
	s := callback.New(first, options(&clock.Clock{}))
	for _, d := range []*db.DB{dbtest.Open(t, url), dbtest.Open(t, url)} {
		run(t, callback.New(d, options(&clock.Clock{})))
	}
	const many = 300
	if err := first.Write(t.Context(), func(tx *db.Tx) error {
		for n := range many {
			if _, err := s.Send(t.Context(), tx, callback.Callback{Account: acct, Subject: fmt.Sprint(n), URL: server.URL}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range many {
		token := next(t, got).Header.Get("I-Twilio-Idempotency-Token")
		if seen[token] {
			t.Errorf("%s twice", token)
		}
		seen[token] = true
	}
}
