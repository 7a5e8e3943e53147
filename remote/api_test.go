package remote_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/remote"
	"godwit/web"
)

// ask sends a request as admin and returns the answer with its body.
func (w *world) ask(t *testing.T, method, target, body string, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.SetBasicAuth("admin", w.password)
	for _, c := range change {
		c(q)
	}
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	content, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(content)
}

func as(name, password string) func(*http.Request) {
	return func(q *http.Request) { q.SetBasicAuth(name, password) }
}

type page struct {
	Count  int              `json:"count"`
	Size   int              `json:"size"`
	Cursor *string          `json:"cursor"`
	Next   string           `json:"next_uri"`
	List   []map[string]any `json:"list"`
}

func (w *world) page(t *testing.T, target string) page {
	t.Helper()
	a, content := w.ask(t, http.MethodGet, target, "")
	var p page
	if err := json.Unmarshal([]byte(content), &p); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", target, a.StatusCode, content)
	}
	return p
}

// register makes devices with the names n0, n1, ….
func (w *world) register(t *testing.T, count int) {
	t.Helper()
	for from := 0; from < count; from += 1000 {
		var list []map[string]any
		for i := from; i < min(count, from+1000); i++ {
			list = append(list, map[string]any{"id": fmt.Sprintf("00000000-00000000-00000000-%08X", i), "name": fmt.Sprintf("n%d", i)})
		}
		body, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if a, content := w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", string(body)); a.StatusCode != http.StatusCreated {
			t.Fatalf("%d %.300s", a.StatusCode, content)
		}
	}
}

// TestNotUTF8 sends names that are no text: they are not stored as something else.
func TestNotUTF8(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	for _, body := range []string{"{\"mac\": \"0004F3000001\", \"name\": \"\xc3\x28\"}", "\xff\xfe{}"} {
		if a, content := w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", body); a.StatusCode != http.StatusBadRequest || !strings.Contains(content, "UTF-8") {
			t.Errorf("%q: %d %s", body, a.StatusCode, content)
		}
	}
}

// TestEventTimes: a parameter of the audit log says a time, and nothing more.
func TestEventTimes(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	w.register(t, 1)
	for text, want := range map[string]int{
		"-1d": http.StatusOK, "-3H": http.StatusOK, "2026-03-04T05:06:07Z": http.StatusOK, "yesterday": http.StatusBadRequest,
		"-1d or start_time < -2d": http.StatusBadRequest, "-1d'": http.StatusBadRequest,
	} {
		for _, name := range []string{"start_time", "end_time"} {
			target := "/ws/v1/events/inventory?" + url.Values{name: {text}}.Encode()
			if a, content := w.ask(t, http.MethodGet, target, ""); a.StatusCode != want {
				t.Errorf("%s=%s: %d %s", name, text, a.StatusCode, content)
			}
		}
	}
}

// TestOneValue refuses what follows the JSON of a request.
func TestOneValue(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	for _, more := range []string{"}", "]", "{}", "x", "\n}"} {
		body := `{"mac": "0004F3000001"}` + more
		if a, content := w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", body); a.StatusCode != http.StatusBadRequest || !strings.Contains(content, "more than one JSON value") {
			t.Errorf("%q: %d %s", body, a.StatusCode, content)
		}
	}
}

// TestPaging goes on by next_uri and by the cursor with the same parameters, while
// devices come and go.
func TestPaging(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, nil)
		w.register(t, 25)
		first := "/ws/v1/devices/inventory?size=10&orderby=name%20desc&query=" + url.QueryEscape("name startswith 'N'")
		for _, how := range []string{"next_uri", "same parameters"} {
			seen := map[any]bool{}
			for target := first; target != ""; {
				p := w.page(t, target)
				if p.Count != len(p.List) || p.Size != 10 || (p.Cursor == nil) != (p.Next == "") {
					t.Fatalf("%+v", p)
				}
				for _, one := range p.List {
					if seen[one["id"]] {
						t.Errorf("%s: %v comes twice", how, one["id"])
					}
					seen[one["id"]] = true
				}
				w.ask(t, http.MethodDelete, "/ws/v1/devices/inventory/"+p.List[len(p.List)-1]["id"].(string), "")
				if target = p.Next; target != "" && how == "same parameters" {
					target = first + "&cursor=" + url.QueryEscape(*p.Cursor)
				}
			}
			want := 25
			if how != "next_uri" {
				want -= 3 // each page had its last one removed
			}
			if len(seen) != want {
				t.Errorf("%s: %d devices, want %d", how, len(seen), want)
			}
		}
		// A cursor is good for its list, its account and its parameters alone.
		cursor := url.QueryEscape(*w.page(t, first).Cursor)
		for _, target := range []string{
			"/ws/v1/esims/inventory?cursor=" + cursor, "/ws/v1/devices/inventory?cursor=" + cursor + "x", "/ws/v1/devices/inventory?cursor=",
			"/ws/v1/devices/inventory?orderby=name&cursor=" + cursor, "/ws/v1/devices/inventory?query=name%20%3D%20'n1'&cursor=" + cursor,
		} {
			if a, content := w.ask(t, http.MethodGet, target, ""); a.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %d %s", target, a.StatusCode, content)
			}
		}
		var other account.Account
		if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			other, _, err = w.accounts.Create(t.Context(), tx, "", "Other")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		password := w.user(t, other.SID, "stranger", account.Administrator)
		if a, _ := w.ask(t, http.MethodGet, "/ws/v1/devices/inventory?cursor="+cursor, "", as("stranger", password)); a.StatusCode != http.StatusBadRequest {
			t.Errorf("another account's cursor: %d", a.StatusCode)
		}
		if _, content := w.ask(t, http.MethodGet, "/ws/v1/devices/inventory", "", as("stranger", password)); !strings.Contains(content, `"count":0`) {
			t.Errorf("another account sees %s", content)
		}
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if a, _ := w.ask(t, method, "/ws/v1/devices/inventory/00000000-00000000-00000000-00000001", "", as("stranger", password)); a.StatusCode != http.StatusNotFound {
				t.Errorf("%s of another account's device: %d", method, a.StatusCode)
			}
		}
	})
}

// TestExports are cut at their bound or at a smaller size, and say so.
func TestExports(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	w.register(t, 2500)
	for target, want := range map[string]struct {
		lines     int
		truncated string
	}{
		"?fields=id":                                   {2501, ""},
		"?fields=id&size=2500":                         {2501, ""},
		"?fields=id&size=2499":                         {2500, "true"},
		"?fields=id,name&size=1":                       {2, "true"},
		"?query=name%20%3D%20'nobody'&fields=id":       {1, ""},
		"?query=name%20startswith%20'n1'&orderby=name": {1112, ""},
	} {
		a, content := w.ask(t, http.MethodGet, "/ws/v1/devices/bulk"+target, "")
		if n := strings.Count(content, "\n"); n != want.lines || a.Header.Get("Truncated") != want.truncated || a.Header.Get("Content-Type") != "text/csv;charset=utf-8" {
			t.Errorf("%s: %d lines, truncated %q, %s", target, n, a.Header.Get("Truncated"), a.Header.Get("Content-Type"))
		}
	}
}

// TestEvents exports details as the JSON that they are, and takes no more than a
// time for one.
func TestEvents(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	w.register(t, 1)
	_, content := w.ask(t, http.MethodGet, "/ws/v1/events/bulk?fields=details&query=kind%20%3D%20'device.created'", "")
	if !strings.HasPrefix(content, "details\n\"{\"\"") {
		t.Errorf("details in CSV: %.80q", content)
	}
	for value, want := range map[string]int{"-1h": 200, "2026-03-04T05:06:07Z": 200, "-": 400, "-1h or id > 0": 400, "+1d and kind = 'x'": 400} {
		for _, name := range []string{"start_time", "end_time"} {
			if a, content := w.ask(t, http.MethodGet, "/ws/v1/events/inventory?"+url.Values{name: {value}}.Encode(), ""); a.StatusCode != want {
				t.Errorf("%s=%s: %d %s", name, value, a.StatusCode, content)
			}
		}
	}
}

// TestColumnTwice refuses a CSV that does not say which of two values counts.
func TestColumnTwice(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	if a, content := w.ask(t, http.MethodPost, "/ws/v1/devices/bulk", "mac,name,NAME\n0004F3000001,a,b\n"); a.StatusCode != http.StatusBadRequest || !strings.Contains(content, "column 3") {
		t.Errorf("%d %s", a.StatusCode, content)
	}
	if a, content := w.ask(t, http.MethodPost, "/ws/v1/devices/bulk", "mac,,name,\n0004F3000001,,b,\n"); a.StatusCode != http.StatusCreated {
		t.Errorf("columns without names: %d %s", a.StatusCode, content)
	}
}

// TestNUL says what is wrong with a text that has the character, which is UTF-8.
func TestNUL(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	for _, tt := range []struct{ method, target, body, says string }{
		{http.MethodGet, "/ws/v1/devices/inventory?query=name%20%3D%20'a%00'", "", "query must not have the character NUL"},
		{http.MethodGet, "/ws/v1/devices/inventory?orderby=a%00", "", "orderby must not have the character NUL"},
		{http.MethodGet, "/ws/v1/devices/inventory?query=name%20%3D%20'%FF'", "", "query must be text in UTF-8"},
		{http.MethodPost, "/ws/v1/devices/inventory", `{"mac": "0004F3000001", "tags": ["a\u0000"]}`, "tags must not have the character NUL"},
		{http.MethodPost, "/ws/v1/devices/inventory", `{"mac": "0004F3000001", "tags": "a\u0000,b"}`, "tags must not have the character NUL"},
	} {
		if _, content := w.ask(t, tt.method, tt.target, tt.body); !strings.Contains(content, `"error_message":"`+tt.says) || strings.Contains(content, "zero") {
			t.Errorf("%s %s: %s, want %s", tt.target, tt.body, content, tt.says)
		}
	}
}

func TestMethods(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	nobody := func(q *http.Request) { q.Header.Del("Authorization") }
	if a, content := w.ask(t, http.MethodOptions, "/ws/v1/devices/inventory.json", "", nobody); a.StatusCode != http.StatusNoContent || content != "" || a.Header.Get("Allow") != "DELETE, GET, HEAD, POST, OPTIONS" {
		t.Errorf("OPTIONS: %d %s %s", a.StatusCode, a.Header.Get("Allow"), content)
	}
	if a, content := w.ask(t, http.MethodHead, "/ws/v1/devices/inventory", ""); a.StatusCode != http.StatusOK || content != "" || a.ContentLength < 20 {
		t.Errorf("HEAD: %d, %d octets", a.StatusCode, a.ContentLength)
	}
	if a, _ := w.ask(t, http.MethodPatch, "/ws/v1/devices/inventory", ""); a.Header.Get("Allow") != "DELETE, GET, HEAD, POST" {
		t.Errorf("PATCH: Allow %s", a.Header.Get("Allow"))
	}
	if a, _ := w.ask(t, http.MethodGet, "/ws/v1/esim_profiles/download", ""); a.Header.Get("Allow") != "POST" {
		t.Errorf("where nothing is read: Allow %s", a.Header.Get("Allow"))
	}
	for method, target := range map[string]string{http.MethodPatch: "/ws/v1/devices/inventory", http.MethodOptions: "/ws/v1/nothing", "BREW": "/ws/v1/devices"} {
		a, content := w.ask(t, method, target, "")
		var f struct {
			Status  int    `json:"error_status"`
			Message string `json:"error_message"`
		}
		if err := json.Unmarshal([]byte(content), &f); err != nil || f.Status != a.StatusCode || f.Message == "" {
			t.Errorf("%s %s: %d %s", method, target, a.StatusCode, content)
		}
	}
	if a, _ := w.ask(t, http.MethodGet, "/ws/v1/devices/inventory", "", nobody); a.Header.Get("WWW-Authenticate") == "" {
		t.Error("401 without a challenge")
	}
}

// TestThrottle: who asks too often is told when to come back, in the door's own
// form.
func TestThrottle(t *testing.T) {
	now := time.Now()
	w := newWorld(t, dbtest.SQLite(t), func(o *remote.Options) {
		o.Rates = &web.Rates{PerSecond: 0.5, Burst: 2, Now: func() time.Time { return now }}
	})
	for i := range 3 {
		a, content := w.ask(t, http.MethodGet, "/ws/v1/devices", "")
		if (a.StatusCode == http.StatusTooManyRequests) != (i == 2) {
			t.Errorf("request %d: %d", i, a.StatusCode)
		}
		if i == 2 && (a.Header.Get("Retry-After") != "2" || !strings.Contains(content, `"error_status":429`)) {
			t.Errorf("retry after %q: %s", a.Header.Get("Retry-After"), content)
		}
	}
	now = now.Add(2 * time.Second)
	if a, _ := w.ask(t, http.MethodGet, "/ws/v1/devices", ""); a.StatusCode != http.StatusOK {
		t.Errorf("after the time: %d", a.StatusCode)
	}
}

// TestSecrets: what goes in as a secret comes out nowhere.
func TestSecrets(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, nil)
		const code, confirmation, install = "LPA:1$rsp.example.net$S3CRET-CODE", "S3CRET-CONFIRMATION", "S3CRET-INSTALL"
		w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", `{"id": "00000000-00000000-0004F3FF-FF00A1B2", "install_code": "`+install+`", "eids": ["89049032123451234512345678901235"]}`)
		w.ask(t, http.MethodPost, "/ws/v1/esim_activation_codes/inventory", `{"iccid": "8988303000001234568", "carrier": "Northwind", "activation_code": "`+code+`", "confirmation_code": "`+confirmation+`"}`)
		if a, content := w.ask(t, http.MethodPost, "/ws/v1/esim_profiles/download", `{"device_id": "00000000-00000000-0004F3FF-FF00A1B2", "eid": "89049032123451234512345678901235", "iccid": "8988303000001234568"}`); a.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", a.StatusCode, content)
		}
		if task := w.tasks[len(w.tasks)-1]; string(task.ActivationCode) != code || string(task.ConfirmationCode) != confirmation {
			t.Errorf("the eIM was given another code")
		}
		for _, target := range []string{
			"devices/inventory", "devices/bulk", "esim_activation_codes/inventory", "esim_activation_codes/inventory/8988303000001234568", "esim_activation_codes/bulk",
			"esim_profiles/transactions/inventory", "events/inventory", "events/bulk", "jobs/inventory",
		} {
			a, content := w.ask(t, http.MethodGet, "/ws/v1/"+target, "")
			if a.StatusCode != http.StatusOK || len(content) < 20 || strings.Contains(content, "S3CRET") {
				t.Errorf("%s: %d %s", target, a.StatusCode, content)
			}
		}
	})
}
