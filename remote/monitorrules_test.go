package remote_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"godwit/account"
	"godwit/db"
	"godwit/db/dbtest"
)

// TestMonitorRefusals: what is wrong is named, with the rule.
func TestMonitorRefusals(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), nil)
	good := map[string]any{"type": "http", "topics": []string{"devices"}, "url": "http://127.0.0.1:9/"}
	for _, tt := range []struct {
		change map[string]any
		want   string
	}{
		{map[string]any{"type": nil}, "type is required"},
		{map[string]any{"type": "tcp"}, "type must be http or polling: monitors over TCP are not served here"},
		{map[string]any{"type": "smoke"}, `type must be http or polling, not \"smoke\"`},
		{map[string]any{"type": "polling"}, "url must be left out of a polling monitor"},
		{map[string]any{"topics": nil}, "topics must be an array with some of devices, jobs, esim_profiles, esim_transactions, esim_operations"},
		{map[string]any{"topics": []string{"devices", "DataPoint"}}, `topics has \"DataPoint\", which is none of devices, jobs, esim_profiles, esim_transactions, esim_operations`},
		{map[string]any{"topics": []string{"devices/a/b"}}, `topics has \"devices/a/b\": after a resource the key of one record may follow, as devices/KEY`},
		{map[string]any{"topics": 7}, "topics must be an array of texts"},
		{map[string]any{"url": nil}, "url is required"},
		{map[string]any{"url": "ftp://a.example"}, `url: \"ftp://a.example\" is not an absolute http or https URL`},
		{map[string]any{"url": "http://10.0.0.1/"}, "callbacks go to public addresses"},
		{map[string]any{"url": "http://me:secret@127.0.0.1/"}, "url must have no user and password"},
		{map[string]any{"url": "http://127.0.0.1/" + strings.Repeat("x", 2000)}, "url must have at most 2000 bytes"},
		{map[string]any{"method": "GET"}, "method must be POST or PUT"},
		{map[string]any{"format": "xml"}, `format must be json, not \"xml\"`},
		{map[string]any{"headers": "A: b"}, `headers must be an array of texts like \"Name: value\"`},
		{map[string]any{"headers": []string{"no colon"}}, `headers must be an array of texts like \"Name: value\"`},
		{map[string]any{"headers": []string{"A: b\r\nC: d"}}, "headers has a value for A with characters that headers cannot have"},
		{map[string]any{"headers": []string{"content-length: 5"}}, "headers cannot have Content-Length"},
		{map[string]any{"headers": slices.Repeat([]string{"A: b"}, 31)}, "headers must have at most 30"},
		{map[string]any{"headers": []string{"A: " + strings.Repeat("b", 17<<10)}}, "headers must have at most 16384 bytes"},
		{map[string]any{"auth_token": "ü"}, "auth_token must have visible ASCII characters only"},
		{map[string]any{"auth_token": "a:b", "headers": []string{"Authorization: c"}}, "auth_token cannot be there beside a header Authorization"},
		{map[string]any{"persistent": "perhaps"}, "persistent must be true or false"},
		{map[string]any{"batch_size": 0}, "batch_size must be from 1 to 1000 messages"},
		{map[string]any{"batch_size": 1001}, "batch_size must be from 1 to 1000 messages"},
		{map[string]any{"batch_duration": -1}, "batch_duration must be from 0 to 3600 seconds"},
		{map[string]any{"batch_duration": "soon"}, "batch_duration must be a whole number"},
		{map[string]any{"compression": "zip"}, "compression must be none or gzip"},
		{map[string]any{"schema_type": "handlebars"}, "schema_type must be left out: templates for documents are not served here"},
		{map[string]any{"schema": "{{x}}"}, "schema must be left out: templates for documents are not served here"},
		{map[string]any{"description": strings.Repeat("d", 256)}, "description must have at most 255 characters"},
		{map[string]any{"status": "suspended"}, "status must be active, which switches it on, or disabled"},
	} {
		body := maps.Clone(good)
		maps.Copy(body, tt.change)
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if a, content := w.ask(t, http.MethodPost, "/ws/v1/monitors/inventory", string(text)); a.StatusCode != http.StatusBadRequest || !strings.Contains(content, tt.want) {
			t.Errorf("%v: %d %.300s, want %s", tt.change, a.StatusCode, content, tt.want)
		}
	}
	if a, _ := w.ask(t, http.MethodPost, "/ws/v1/monitors/inventory", `[]`); a.StatusCode != http.StatusBadRequest {
		t.Errorf("an array: %d", a.StatusCode)
	}
	if p := w.page(t, "/ws/v1/monitors/inventory"); p.Count != 0 {
		t.Errorf("%d were made all the same", p.Count)
	}
	// Credentials are not carried to another server by a change of address.
	id := w.monitor(t, map[string]any{"type": "http", "topics": []string{"devices"}, "url": "http://127.0.0.1:9/", "auth_token": "a:b"})
	for body, status := range map[string]int{
		`{"url": "http://127.0.0.1:10/"}`: 400, `{"url": "http://127.0.0.1:9/other"}`: 200, `{"type": "polling"}`: 400, `{"url": "http://127.0.0.1:9/other", "auth_token": "c:d"}`: 200,
	} {
		if a, content := w.ask(t, http.MethodPut, "/ws/v1/monitors/inventory/"+id, body); a.StatusCode != status {
			t.Errorf("%s: %d %s", body, a.StatusCode, content)
		}
	}
}

// TestMonitorBelongs to its account, is changed by roles that write, and has a
// bounded number of others beside it.
func TestMonitorBelongs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, r := newWorld(t, d, nil), newReceiver(t)
		id := w.monitor(t, map[string]any{"type": "http", "topics": []string{"devices"}, "url": r.URL, "batch_duration": 0, "persistent": true})
		var other account.Account
		if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			other, _, err = w.accounts.Create(t.Context(), tx, "", "Other")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		stranger := as("stranger", w.user(t, other.SID, "stranger", account.Administrator))
		reader := as("reader", w.user(t, w.account.SID, "reader", account.ReadOnly))
		for _, tt := range []struct {
			who                  func(*http.Request)
			method, target, body string
			want                 int
		}{
			{stranger, http.MethodGet, "inventory/" + id, "", 404},
			{stranger, http.MethodPut, "inventory/" + id, "{}", 404},
			{stranger, http.MethodDelete, "inventory/" + id, "", 404},
			{stranger, http.MethodGet, "history/" + id, "", 404},
			{reader, http.MethodGet, "inventory/" + id, "", 200},
			{reader, http.MethodGet, "inventory", "", 200},
			{reader, http.MethodGet, "bulk", "", 200},
			{reader, http.MethodGet, "history/" + id, "", 200},
			{reader, http.MethodPost, "inventory", "{}", 403},
			{reader, http.MethodPut, "inventory/" + id, "{}", 403},
			{reader, http.MethodDelete, "inventory/" + id, "", 403},
		} {
			if a, content := w.ask(t, tt.method, "/ws/v1/monitors/"+tt.target, tt.body, tt.who); a.StatusCode != tt.want {
				t.Errorf("%s %s: %d %s, want %d", tt.method, tt.target, a.StatusCode, content, tt.want)
			}
		}
		push(t, w.monitors)
		r.alive(t)
		w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", `{"id": "`+pump+`"}`, stranger)
		w.register(t, 1)
		if m := r.take(t, 1)[0]; m.of() == "devices/"+pump {
			t.Error("another account's device was told")
		}
		for n := 1; n < 100; n++ {
			w.monitor(t, map[string]any{"type": "polling", "topics": []string{"devices"}, "description": fmt.Sprint("no ", n)})
		}
		if a, content := w.ask(t, http.MethodPost, "/ws/v1/monitors/inventory", `{"type": "polling", "topics": ["devices"]}`); a.StatusCode != http.StatusConflict || !strings.Contains(content, "100 monitors") {
			t.Errorf("the 101st: %d %s", a.StatusCode, content)
		}
		if p := w.page(t, "/ws/v1/monitors/inventory?size=7&orderby=description%20desc&query=type%20%3D%20'polling'"); p.Count != 7 || p.Cursor == nil || p.List[0]["description"] != "no 99" {
			t.Errorf("%+v", p)
		}
		if _, content := w.ask(t, http.MethodGet, "/ws/v1/monitors/bulk?fields=id,status,topics&query=type%20%3D%20'http'", ""); content != "id,status,topics\n"+id+",active,devices\n" {
			t.Errorf("%q", content)
		}
	})
}
