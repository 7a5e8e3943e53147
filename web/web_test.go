package web_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"godwit/account"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/once"
	"godwit/web"
)

// testDoor is a small door: one resource with every way of ending.
func testDoor() *web.Door {
	return &web.Door{
		Routes: web.Routes{
			{Path: "/v1/Things", Methods: map[string]web.Handler{
				"GET": func(w http.ResponseWriter, r *web.Request) error {
					return web.WriteJSON(w, http.StatusOK, map[string]string{"account": r.Caller.Account, "base": r.Base})
				},
				"POST": func(w http.ResponseWriter, r *web.Request) error {
					f, err := web.PostForm(r)
					if err != nil {
						return err
					}
					f.Int("Number", 1, 10, 1)
					f.Bool("Flag", false)
					if err := f.Err(); err != nil {
						return err
					}
					return web.WriteJSON(w, http.StatusCreated, "made")
				},
			}, MaxBody: 1 << 20}, // of a file
			{Path: "/v1/Things/{sid}", Methods: map[string]web.Handler{
				"GET": func(w http.ResponseWriter, r *web.Request) error {
					switch r.Param("sid") {
					case "panic":
						panic("a mistake")
					case "trouble":
						return errors.New("the disk is on fire")
					case "gone":
						return web.NotFound(r)
					}
					return web.WriteJSON(w, http.StatusOK, r.Param("sid"))
				},
			}},
			{Path: "/v1/Things/{sid}/Parts/{part}", Methods: map[string]web.Handler{
				"DELETE": func(w http.ResponseWriter, r *web.Request) error {
					return web.WriteJSON(w, http.StatusOK, r.Param("sid")+"|"+r.Param("part"))
				},
			}},
		},
		Authenticate: func(r *http.Request) (account.Caller, error) {
			user, _, ok := r.BasicAuth()
			if !ok {
				return account.Caller{}, fault.New(fault.Unauthorized, "who are you?")
			}
			return account.Caller{Account: user}, nil
		},
		Render: func(w http.ResponseWriter, _ *web.Request, refusal *fault.Error, all []*fault.Error) {
			status := map[fault.Kind]int{
				fault.Internal: 500, fault.Invalid: 400, fault.Unauthorized: 401, fault.NotFound: 404, fault.TooMany: 429,
			}[refusal.Kind]
			if refusal.Code == web.MethodNotAllowed {
				status = 405
			}
			fields := []string{}
			for _, one := range all {
				fields = append(fields, one.Field)
			}
			_ = web.WriteJSON(w, status, map[string]any{"message": refusal.Message, "fields": fields})
		},
	}
}

func do(t *testing.T, h http.Handler, method, target, body string, change ...func(*http.Request)) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.SetBasicAuth("AC1", "x")
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	answer, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, strings.TrimSpace(string(answer)), w.Header()
}

func TestDoor(t *testing.T) {
	type test struct {
		name, method, target, body string
		status                     int
		answer                     string // part of it
		change                     func(*http.Request)
	}
	contentType := func(s string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Type", s) }
	}
	for _, tt := range []test{
		{name: "known path", method: "GET", target: "/v1/Things", status: 200, answer: `"account":"AC1"`},
		{name: "head is a get", method: "HEAD", target: "/v1/Things", status: 200},
		{name: "slash at the end", method: "GET", target: "/v1/Things/", status: 200, answer: `"account":"AC1"`},
		{name: "suffix of old clients", method: "GET", target: "/v1/Things/a.json", status: 200, answer: `"a"`},
		{name: "decoded segment", method: "GET", target: "/v1/Things/a%20b%2Fc", status: 200, answer: `"a b/c"`},
		{name: "two variables", method: "DELETE", target: "/v1/Things/a/Parts/b", status: 200, answer: `"a|b"`},
		{name: "unknown path", method: "GET", target: "/v1/Nothing", status: 404, answer: "The requested resource /Nothing was not found"},
		{name: "letter case of the path", method: "GET", target: "/v1/things", status: 404},
		{name: "path too long", method: "GET", target: "/v1/Things/a/b", status: 404},
		{name: "path too short", method: "GET", target: "/v1", status: 404},
		{name: "empty segment is no redirect", method: "GET", target: "/v1//Things", status: 404},
		{name: "segment with a zero", method: "GET", target: "/v1/Things/%00", status: 404},
		{name: "segment that is no text", method: "GET", target: "/v1/Things/%ff", status: 404},
		{name: "unknown method", method: "PUT", target: "/v1/Things", status: 405, answer: "it knows GET and POST"},
		{name: "panic", method: "GET", target: "/v1/Things/panic", status: 500, answer: "internal error"},
		{name: "trouble is not told", method: "GET", target: "/v1/Things/trouble", status: 500, answer: `{"fields":[],"message":"internal error"}`},
		{name: "resource not found", method: "GET", target: "/v1/Things/gone", status: 404, answer: "/Things/gone was not found"},
		{name: "no credentials", method: "GET", target: "/v1/Things", status: 401, change: func(r *http.Request) { r.Header.Del("Authorization") }},
		{name: "form", method: "POST", target: "/v1/Things", body: "Number=3&Flag=True", status: 201, answer: "made"},
		{name: "empty form", method: "POST", target: "/v1/Things", status: 201},
		{name: "form with a charset", method: "POST", target: "/v1/Things", body: "Number=3", status: 201, change: contentType("application/x-www-form-urlencoded; charset=utf-8")},
		{name: "all mistakes at once", method: "POST", target: "/v1/Things", body: "Number=11&Flag=maybe", status: 400, answer: `"fields":["Number","Flag"]`},
		{name: "json is no form", method: "POST", target: "/v1/Things", body: `{"Number":3}`, status: 400, answer: "application/x-www-form-urlencoded", change: contentType("application/json")},
		{name: "malformed escape", method: "POST", target: "/v1/Things", body: "Number=%zz", status: 400},
		{name: "zero in a value", method: "POST", target: "/v1/Things", body: "Number=%00&Flag=maybe", status: 400, answer: `"fields":["Number","Flag"]`},
		{name: "zero in an unknown parameter", method: "POST", target: "/v1/Things", body: "Other=%00", status: 201},
		{name: "body broken off", method: "POST", target: "/v1/Things", status: 400, answer: "could not be read to its end: unexpected EOF", change: func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("Num"), iotest.ErrReader(io.ErrUnexpectedEOF)))
		}},
		{name: "body that is late", method: "POST", target: "/v1/Things", status: 400, answer: "took too long to arrive", change: func(r *http.Request) {
			r.Body = io.NopCloser(iotest.ErrReader(&net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}))
		}},
		{name: "compressed body", method: "POST", target: "/v1/Things", body: "\x1f\x8b", status: 400, answer: `without Content-Encoding \"gzip\"`, change: func(r *http.Request) {
			r.Header.Set("Content-Encoding", "gzip")
		}},
		{name: "body too large", method: "POST", target: "/v1/Things", body: "Number=" + strings.Repeat("1", 2<<20), status: 400, answer: "larger than"},
		{name: "form too large", method: "POST", target: "/v1/Things", body: "Number=" + strings.Repeat("1", 64<<10), status: 400, answer: "larger than 65536"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			change := tt.change
			if change == nil {
				change = func(*http.Request) {}
			}
			status, answer, header := do(t, testDoor(), tt.method, tt.target, tt.body, change)
			if status != tt.status || !strings.Contains(answer, tt.answer) {
				t.Errorf("answer %d %s, want %d with %q in it", status, answer, tt.status, tt.answer)
			}
			if kind := header.Get("Content-Type"); kind != "application/json; charset=utf-8" {
				t.Errorf("content type %q", kind)
			}
			if id := header.Get("Twilio-Request-Id"); len(id) != 34 {
				t.Errorf("request id %q", id)
			}
		})
	}
}

func TestConcurrent(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	door := testDoor()
	door.Concurrent = 1
	door.Routes = append(door.Routes, web.Route{Path: "/v1/Slow", Methods: map[string]web.Handler{
		"GET": func(w http.ResponseWriter, _ *web.Request) error {
			inside <- struct{}{}
			<-leave
			return web.WriteJSON(w, 200, "done")
		},
	}})
	first := make(chan int)
	go func() {
		status, _, _ := do(t, door, "GET", "/v1/Slow", "")
		first <- status
	}()
	<-inside
	status, _, header := do(t, door, "GET", "/v1/Things", "")
	if status != 429 || header.Get("Retry-After") == "" {
		t.Errorf("second request of the account: %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	if status, _, _ := do(t, door, "GET", "/v1/Things", "", func(r *http.Request) { r.SetBasicAuth("AC2", "") }); status != 200 {
		t.Errorf("request of another account: %d", status)
	}
	close(leave)
	if status := <-first; status != 200 {
		t.Errorf("first request: %d", status)
	}
	if status, _, _ := do(t, door, "GET", "/v1/Things", ""); status != 200 {
		t.Errorf("request after the first: %d", status)
	}
}

func TestAddress(t *testing.T) {
	near := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // where httptest's requests come from
	header := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				r.Header.Set(pairs[i], pairs[i+1])
			}
		}
	}
	for _, tt := range []struct {
		name    string
		address web.Address
		change  func(*http.Request)
		want    string
	}{
		{"the request's host", web.Address{}, header(), "http://example.com"},
		{"configured", web.Address{URL: "https://sim.example.net/"}, header(), "https://sim.example.net"},
		{"configured wins over a proxy", web.Address{URL: "https://sim.example.net", Proxies: near}, header("X-Forwarded-Host", "other"), "https://sim.example.net"},
		{"proxy, old headers", web.Address{Proxies: near}, header("X-Forwarded-Proto", "https", "X-Forwarded-Host", "sim.example.net:8443, inner"), "https://sim.example.net:8443"},
		{"proxy, new header", web.Address{Proxies: near}, header("Forwarded", `for=1.2.3.4;proto=https;host="sim.example.net", for=5.6.7.8;host=inner`), "https://sim.example.net"},
		{"proxy that says nonsense", web.Address{Proxies: near}, header("X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "a/b?c"), "http://example.com"},
		{"stranger's header", web.Address{}, header("X-Forwarded-Host", "evil.example"), "http://example.com"},
		{"host that is none", web.Address{}, func(r *http.Request) { r.Host = `a"><b` }, "http://localhost"},
		{"no host, as in HTTP/1.0", web.Address{}, func(r *http.Request) {
			r.Host = ""
			*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv6loopback, Port: 8080}))
		}, "http://[::1]:8080"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(context.Background(), "GET", "/", nil)
			tt.change(r)
			if got := tt.address.Of(r); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"", "sim.example.net", "ftp://x", "https://", "https://x?y=1", "https://user@x"} {
		if got, err := web.ParsePublicURL(bad); err == nil {
			t.Errorf("ParsePublicURL(%q) = %q", bad, got)
		}
	}
}

// TestJSONKeepsLinks guards links against HTML escaping, which is legal JSON
// but not what people paste into a shell.
func TestJSONKeepsLinks(t *testing.T) {
	w := httptest.NewRecorder()
	if err := web.WriteJSON(w, 200, "a&b"); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(w.Body.String()); got != `"a&b"` {
		t.Errorf("wrote %s", got)
	}
	if err := web.WriteJSON(httptest.NewRecorder(), 200, func() {}); err == nil {
		t.Error("a value that is no JSON was written")
	}
}

// A deadlined is a connection that remembers what its deadlines were moved to.
type deadlined struct {
	http.ResponseWriter
	read, write time.Time
}

func (d *deadlined) SetReadDeadline(t time.Time) error  { d.read = t; return nil }
func (d *deadlined) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// TestPatience sends a file to a route that takes its time, with and without a
// key for repetitions: there is time before the first octet is read, but none for
// strangers.
func TestPatience(t *testing.T) {
	for _, tt := range []struct {
		name         string
		key, known   bool
		status, read int
	}{
		{"file", false, true, http.StatusOK, 1},
		{"file with a key", true, true, http.StatusOK, 1},
		{"a stranger's", false, false, http.StatusUnauthorized, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := testDoor()
			d.Routes = append(d.Routes, web.Route{Path: "/v1/Files", Patience: time.Hour, Methods: map[string]web.Handler{
				"POST": func(w http.ResponseWriter, r *web.Request) error {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						return err
					}
					return web.WriteJSON(w, http.StatusOK, "taken")
				},
			}})
			if tt.key {
				d.Once = &once.Keeper{DB: dbtest.SQLite(t)}
			}
			recorder := httptest.NewRecorder()
			w, began, read := &deadlined{ResponseWriter: recorder}, time.Now(), 0
			r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/Files", io.MultiReader(reading(func() {
				if read++; w.read.Before(began.Add(time.Hour)) || w.write.Before(began.Add(time.Hour)) {
					t.Errorf("the file is read with deadlines %v and %v", w.read, w.write)
				}
			}), strings.NewReader("octets")))
			if tt.known {
				r.SetBasicAuth("AC1", "x")
			}
			if tt.key {
				r.Header.Set("Idempotency-Key", "k")
			}
			if d.ServeHTTP(w, r); recorder.Code != tt.status || read != tt.read {
				t.Errorf("answered %d %s, read %d times", recorder.Code, recorder.Body, read)
			}
		})
	}
}

// reading calls a function when it is read, and is empty.
type reading func()

func (f reading) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}
