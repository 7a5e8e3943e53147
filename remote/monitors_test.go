package remote_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/device"
)

// TestMonitorBegins: a new monitor is inactive until its target has answered an
// empty document, which carries its credentials.
func TestMonitorBegins(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, r := newWorld(t, d, nil), newReceiver(t)
		active := w.awaiting(t, "monitor.active")
		id := w.monitor(t, map[string]any{
			"type": "http", "topics": []string{"devices"}, "url": r.URL + "/hook", "method": "PUT", "compression": "gzip", "auth_token": "pump:S3CRET",
			"headers": []string{"X-Site: S3CRET-A, S3CRET-B", "user-agent: ours"},
		})
		if m := w.show(t, "monitors/inventory/"+id); m["status"] != "inactive" || m["last_connect"] != nil || fmt.Sprint(m["headers"]) != "[X-Site User-Agent]" {
			t.Errorf("before: %v", m)
		}
		push(t, w.monitors)
		got := r.alive(t)
		if user, password, _ := (&http.Request{Header: got.header}).BasicAuth(); user != "pump" || password != "S3CRET" || got.method != http.MethodPut || got.path != "/hook" ||
			got.header.Get("X-Site") != "S3CRET-A, S3CRET-B" || got.header.Get("User-Agent") != "ours" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v", got.method, got.path, got.header)
		}
		active()
		if m := w.show(t, "monitors/inventory/"+id); m["status"] != "active" || m["last_connect"] == nil {
			t.Errorf("after: %v", m)
		}
		w.register(t, 1)
		if m := r.take(t, 1)[0]; m.of() != "devices/00000000-00000000-00000000-00000000" || m.Operation != "INSERTION" {
			t.Errorf("got %+v", m)
		}
		// A token without a colon is a bearer's. Each change has it begin again.
		w.ask(t, http.MethodPut, "/ws/v1/monitors/inventory/"+id, `{"auth_token": "T0KEN", "compression": "none"}`)
		if got := r.alive(t).header; got.Get("Authorization") != "Bearer T0KEN" || got.Get("Content-Encoding") != "" || got.Get("X-Site") == "" {
			t.Errorf("%v", got)
		}
		for _, target := range []string{"monitors/inventory", "monitors/inventory/" + id, "monitors/bulk", "events/inventory", "events/bulk"} {
			if _, content := w.ask(t, http.MethodGet, "/ws/v1/"+target, ""); strings.Contains(content, "S3CRET") || strings.Contains(content, "T0KEN") || len(content) < 50 {
				t.Errorf("%s: %s", target, content)
			}
		}
		if a, _ := w.ask(t, http.MethodDelete, "/ws/v1/monitors/inventory/"+id, ""); a.StatusCode != http.StatusNoContent {
			t.Errorf("delete: %d", a.StatusCode)
		}
		if a, _ := w.ask(t, http.MethodGet, "/ws/v1/monitors/inventory/"+id, ""); a.StatusCode != http.StatusNotFound {
			t.Errorf("after that: %d", a.StatusCode)
		}
	})
}

const (
	pump = "00000000-00000000-0004F3FF-FF00A1B2"
	chip = "89049032123451234512345678901235"
)

// activate goes through a whole activation, as a device's eIM tells it.
func (w *world) activate(t *testing.T) (operation string) {
	t.Helper()
	w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", `{"id": "`+pump+`", "eids": ["`+chip+`"]}`)
	w.ask(t, http.MethodPost, "/ws/v1/esim_activation_codes/inventory", `{"iccid": "8988303000001234568", "carrier": "Northwind", "activation_code": "LPA:1$rsp.example.net$A1B2-C3D4"}`)
	a, content := w.ask(t, http.MethodPost, "/ws/v1/esim_profiles/operations/inventory", `{"operation": "activate", "device_id": "`+pump+`", "eid": "`+chip+`", "carrier": "northwind"}`)
	var o struct{ ID string }
	if err := json.Unmarshal([]byte(content), &o); err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", a.StatusCode, content)
	}
	w.outcome(t, device.Outcome{Stage: device.StageSent})
	w.outcome(t, device.Outcome{Stage: device.StageDone, Reason: "complete"})
	w.report(t, chip, `{"iccid": "8988303000009999999", "status": "active", "carrier": "Boot", "type": "bootstrap"}
{"iccid": "8988303000001234568", "status": "inactive", "carrier": "Mobile", "type": "operational"}`)
	w.outcome(t, device.Outcome{Stage: device.StageDone, Reason: "complete"})
	w.report(t, chip, `{"iccid": "8988303000009999999", "status": "inactive", "carrier": "Boot", "type": "bootstrap"}
{"iccid": "8988303000001234568", "status": "active", "carrier": "Mobile", "type": "operational"}`)
	return o.ID
}

// TestMonitorTopics: what an activation changes is told step by step, each with
// the record as the API shows it.
func TestMonitorTopics(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, r := newWorld(t, d, nil), newReceiver(t)
		w.monitor(t, map[string]any{"type": "http", "url": r.URL, "persistent": true, "topics": []string{"devices", "jobs", "esim_profiles", "esim_transactions", "esim_operations"}})
		narrow := newReceiver(t)
		w.monitor(t, map[string]any{"type": "http", "url": narrow.URL, "persistent": true, "topics": []string{"esim_profiles/8988303000001234568", "devices/00000000-00000000-0004f3ff-ff00a1b2"}})
		push(t, w.monitors)
		r.alive(t)
		narrow.alive(t)
		operation := w.activate(t)
		o := w.show(t, "esim_profiles/operations/inventory/"+operation)
		download, enable, job := o["download_tx"].(string), o["enable_tx"].(string), fmt.Sprintf("%.0f", o["job_id"])
		want := map[string][]string{
			"devices/" + pump:                   {"INSERTION disconnected"},
			"jobs/" + job:                       {"INSERTION in_progress", "UPDATE complete"},
			"esim_operations/" + operation:      {"INSERTION starting", "UPDATE download", "UPDATE download_verify", "UPDATE enable", "UPDATE enable_verify", "UPDATE successful"},
			"esim_transactions/" + download:     {"INSERTION in_progress", "UPDATE in_progress", "UPDATE complete"},
			"esim_transactions/" + enable:       {"INSERTION in_progress", "UPDATE complete"},
			"esim_profiles/8988303000001234568": {"INSERTION inactive", "UPDATE active"},
			"esim_profiles/8988303000009999999": {"INSERTION active", "UPDATE inactive"},
		}
		uris := map[string]string{
			"devices": "devices/inventory", "jobs": "jobs/inventory", "esim_operations": "esim_profiles/operations/inventory",
			"esim_transactions": "esim_profiles/progress", "esim_profiles": "esim_profiles/inventory",
		}
		total := 0
		for _, steps := range want {
			total += len(steps)
		}
		got, last := map[string][]string{}, map[string]string{}
		before := ""
		for _, m := range r.take(t, total) {
			var one map[string]any
			if err := json.Unmarshal([]byte(m.record), &one); err != nil {
				t.Fatal(err)
			}
			status := one["status"]
			for _, name := range []string{"connection_status", "job_status"} {
				if one[name] != nil {
					status = one[name]
				}
			}
			if !strings.HasPrefix(m.Topic, fmt.Sprintf("%d/", w.customer)) || m.Timestamp < before {
				t.Errorf("topic %s, at %s after %s", m.Topic, m.Timestamp, before)
			}
			before = m.Timestamp
			got[m.of()] = append(got[m.of()], fmt.Sprint(m.Operation, " ", status))
			last[m.of()] = m.record
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		for of, record := range last {
			resource, key, _ := strings.Cut(of, "/")
			_, now := w.ask(t, http.MethodGet, "/ws/v1/"+uris[resource]+"/"+key, "")
			if resource != "devices" && !sameJSON(t, record, now) { // reports have come since its registration
				t.Errorf("%s is told as\n%s\nand shown as\n%s", of, record, now)
			}
		}
		for _, m := range narrow.take(t, 3) {
			if of := m.of(); of != "devices/"+pump && of != "esim_profiles/8988303000001234568" {
				t.Errorf("a message of %s, which was not asked for", of)
			}
		}

		// A device comes and speaks; its eSIM moves to another, which goes with it.
		at := time.Now()
		if err := w.devices.Seen(t.Context(), []device.Sighting{{EID: chip, At: at}}); err != nil {
			t.Fatal(err)
		}
		if err := w.devices.Seen(t.Context(), []device.Sighting{{EID: chip, At: at.Add(time.Minute)}}); err != nil {
			t.Fatal(err)
		}
		facts := device.Facts{FirmwareVersion: "22.5"}
		for range 2 { // the second says nothing new
			if err := d.Write(t.Context(), func(tx *db.Tx) error { return w.devices.PutFacts(t.Context(), tx, pump, facts) }); err != nil {
				t.Fatal(err)
			}
		}
		const other = "00000000-00000000-0004F3FF-FF00A1B3"
		w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", `{"id": "`+other+`", "eids": ["`+chip+`"]}`)
		w.ask(t, http.MethodDelete, "/ws/v1/devices/inventory/"+other, "")
		var steps []string
		for _, m := range r.take(t, 8) {
			if steps = append(steps, m.Operation+" "+m.of()); m.Operation == "DELETION" && !strings.Contains(m.record, fmt.Sprintf(`"customer_id":%d`, w.customer)) {
				t.Errorf("the record of %s is %s", m.of(), m.record)
			}
		}
		if want := []string{
			"UPDATE devices/" + pump, "UPDATE devices/" + pump,
			"INSERTION devices/" + other, "UPDATE esim_profiles/8988303000001234568", "UPDATE esim_profiles/8988303000009999999",
			"DELETION esim_profiles/8988303000001234568", "DELETION esim_profiles/8988303000009999999", "DELETION devices/" + other,
		}; !slices.Equal(steps, want) {
			t.Errorf("got %q", steps)
		}
	})
}

// TestMonitorUnknown: that nobody can say what became of a step is a change, too.
func TestMonitorUnknown(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, r := newWorld(t, d, nil), newReceiver(t)
		w.activate(t)
		w.monitor(t, map[string]any{"type": "http", "url": r.URL, "persistent": true, "topics": []string{"esim_operations"}})
		push(t, w.monitors)
		r.alive(t)
		a, content := w.ask(t, http.MethodPost, "/ws/v1/esim_profiles/operations/inventory", `{"operation": "enable", "device_id": "`+pump+`", "eid": "`+chip+`", "iccid": "8988303000009999999"}`)
		var asked struct{ ID string }
		if err := json.Unmarshal([]byte(content), &asked); err != nil || a.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", a.StatusCode, content)
		}
		w.outcome(t, device.Outcome{Stage: device.StageLost})
		var steps []string
		for len(steps) < 3 {
			for _, m := range take(t, r.documents).list {
				var one struct {
					Status string `json:"status"`
					Code   string `json:"message_code"`
				}
				if err := json.Unmarshal([]byte(m.record), &one); err != nil {
					t.Fatal(err)
				}
				if m.of() == "esim_operations/"+asked.ID { // a monitor is told of the moment before it began, too
					steps = append(steps, one.Status+" "+one.Code)
				}
			}
		}
		if fmt.Sprint(steps) != "[starting starting enable queued enable lost]" {
			t.Errorf("got %q", steps)
		}
	})
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

// TestMonitorBatches: a document has as many messages as it may have, and waits
// for them as long as it may.
func TestMonitorBatches(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, r := newWorld(t, d, nil), newReceiver(t)
		id := w.monitor(t, map[string]any{"type": "http", "url": r.URL, "topics": []string{"devices"}, "persistent": true, "batch_size": 3, "batch_duration": 3600})
		push(t, w.monitors)
		r.alive(t)
		w.register(t, 7)
		for n := range 2 {
			if got := take(t, r.documents); len(got.list) != 3 || !strings.HasSuffix(got.list[0].of(), fmt.Sprint(3*n)) {
				t.Errorf("document %d: %s", n, got.text)
			}
		}
		w.ask(t, http.MethodPut, "/ws/v1/monitors/inventory/"+id, `{"batch_duration": 0}`)
		r.alive(t) // the third had waited
		if got := take(t, r.documents); len(got.list) != 1 || !strings.HasSuffix(got.list[0].of(), "6") {
			t.Errorf("the last: %s", got.text)
		}
		// Large records end a document before its time.
		w.ask(t, http.MethodPut, "/ws/v1/monitors/inventory/"+id, `{"batch_size": 1000}`)
		r.alive(t)
		var list []map[string]any
		for n := range 120 {
			list = append(list, map[string]any{"id": fmt.Sprintf("00000000-00000000-00000001-%08X", n), "notes": strings.Repeat("n", 4000), "description": strings.Repeat("d", 4000), "contact": strings.Repeat("c", 4000)})
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", string(text))
		for told := 0; told < 120; {
			got := take(t, r.documents)
			if len(got.text) > 1<<20+1000 || len(got.list) == 0 {
				t.Errorf("a document of %d octets with %d messages", len(got.text), len(got.list))
			}
			told += len(got.list)
		}
	})
}

// TestMonitorKeeps: while its target is away a persistent monitor keeps what comes,
// in order, whatever node delivers; another loses it.
func TestMonitorKeeps(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, nil)
		keeps, loses := newReceiver(t), newReceiver(t)
		w.monitor(t, map[string]any{"type": "http", "url": keeps.URL, "topics": []string{"devices"}, "persistent": true, "batch_size": 4, "batch_duration": 0})
		w.monitor(t, map[string]any{"type": "http", "url": loses.URL, "topics": []string{"devices"}, "batch_duration": 0})
		first := newMonitors(d, w.events)
		first.Source = w.monitors.Source
		stop := push(t, first)
		keeps.alive(t)
		loses.alive(t)
		w.register(t, 1)
		keeps.take(t, 1)
		loses.take(t, 1)
		keeps.refuse.Store(503)
		loses.refuse.Store(302) // which is not followed
		var want []string
		for n := range 10 {
			w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", fmt.Sprintf(`{"id": "00000000-00000000-00000001-%08X"}`, n))
			want = append(want, fmt.Sprintf("devices/00000000-00000000-00000001-%08X", n))
		}
		for range 3 {
			if got := take(t, keeps.refusals); len(got.list) == 0 {
				t.Errorf("a persistent monitor tries %s", got.text)
			}
			take(t, loses.refusals)
		}
		// The node ends; the next one goes on.
		stop()
		push(t, w.monitors)
		take(t, keeps.refusals)
		keeps.refuse.Store(0)
		var got []string
		for _, m := range keeps.take(t, 10) {
			got = append(got, m.of())
		}
		if !slices.Equal(got, want) {
			t.Errorf("kept %q, want %q", got, want)
		}
		// By now the events are past every older transaction, also those of others
		// on this server. An attempt that began earlier may have begun before them.
		for len(loses.refusals) > 0 {
			<-loses.refusals
		}
		take(t, loses.refusals)
		take(t, loses.refusals)
		loses.refuse.Store(0)
		loses.alive(t)
		w.register(t, 1)
		if m := loses.take(t, 1)[0]; m.Operation != "UPDATE" {
			t.Errorf("after the gap came %+v", m)
		}
	})
}

// TestMonitorSwitchedOff: one whose target keeps failing is switched off, says
// why, and goes on where it was when it is switched on.
func TestMonitorSwitchedOff(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, r := newWorld(t, d, nil), newReceiver(t)
		w.monitors.OffFailures = 3
		off := w.awaiting(t, "monitor.disabled")
		id := w.monitor(t, map[string]any{"type": "http", "url": r.URL, "topics": []string{"devices"}, "persistent": true, "batch_duration": 0})
		push(t, w.monitors)
		r.alive(t)
		r.refuse.Store(500)
		w.register(t, 1)
		var data struct {
			Failures int
			Error    string
		}
		if e := off(); e.Subject != id || json.Unmarshal(e.Data.(json.RawMessage), &data) != nil || data.Failures != 3 || data.Error != "answered 500 Internal Server Error" {
			t.Errorf("event %+v %s", e, e.Data)
		}
		if m := w.show(t, "monitors/inventory/"+id); m["status"] != "disabled" || m["last_error"] != data.Error || m["failing_since"] == nil {
			t.Errorf("%v", m)
		}
		r.refuse.Store(0)
		if a, content := w.ask(t, http.MethodPut, "/ws/v1/monitors/inventory/"+id, `{"status": "active"}`); a.StatusCode != http.StatusOK || !strings.Contains(content, `"status":"inactive"`) || strings.Contains(content, "last_error") {
			t.Errorf("%d %s", a.StatusCode, content)
		}
		r.alive(t)
		r.take(t, 1)
		// And by hand.
		if _, content := w.ask(t, http.MethodPut, "/ws/v1/monitors/inventory/"+id, `{"status": "disabled"}`); !strings.Contains(content, `"status":"disabled"`) {
			t.Error(content)
		}
		w.register(t, 2)
		w.ask(t, http.MethodPut, "/ws/v1/monitors/inventory/"+id, `{}`)
		r.alive(t)
		r.take(t, 2)
	})
}

// TestMonitorGuard: a name that leads to an inner address leads nowhere.
func TestMonitorGuard(t *testing.T) {
	d := dbtest.SQLite(t)
	w, r := newWorld(t, d, nil), newReceiver(t)
	w.monitors.Client, w.monitors.OffFailures = callback.Client(callback.Options{}), 1
	off := w.awaiting(t, "monitor.disabled")
	push(t, w.monitors)
	w.monitor(t, map[string]any{"type": "http", "url": strings.Replace(r.URL, "127.0.0.1", "localhost", 1), "topics": []string{"devices"}})
	if e := off(); !strings.Contains(string(e.Data.(json.RawMessage)), "the address is not a public one") {
		t.Errorf("%s", e.Data)
	}
	if len(r.documents) > 0 {
		t.Error("it was called")
	}
}

// TestMonitorTwoNodes: of two nodes one delivers, and the other when that ends.
func TestMonitorTwoNodes(t *testing.T) {
	d := dbtest.Postgres(t)
	w, r := newWorld(t, d, nil), newReceiver(t)
	w.monitor(t, map[string]any{"type": "http", "url": r.URL, "topics": []string{"devices"}, "persistent": true, "batch_duration": 0})
	var stops []func()
	for range 2 {
		node := newMonitors(d, w.events)
		node.Source, node.Lease = w.monitors.Source, 3*time.Second
		stops = append(stops, push(t, node))
	}
	r.alive(t)
	seen := map[string]int{}
	for n := range 40 {
		if n == 20 {
			stops[0]()
		}
		w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", fmt.Sprintf(`{"id": "00000000-00000000-00000001-%08X"}`, n))
	}
	before := ""
	for len(seen) < 40 {
		for _, m := range take(t, r.documents).list {
			// The node that ended may have been cut off from the answer: then its
			// last document comes again, and those after it in their order.
			if seen[m.of()]++; seen[m.of()] == 1 && m.of() < before {
				t.Errorf("%s comes after %s", m.of(), before)
			}
			before = max(before, m.of())
		}
	}
	for of, times := range seen {
		if times > 2 {
			t.Errorf("%s was told %d times", of, times)
		}
	}
}

// TestMonitorClockPutBack: the lease of a node that died before the clock was put
// back by an hour holds nobody up until that hour has come again.
func TestMonitorClockPutBack(t *testing.T) {
	d := dbtest.Postgres(t)
	if err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(t.Context(), `insert into monitor_lead (one, holder, leads_until) values (true, 'gone', $1)
			on conflict (one) do update set holder = excluded.holder, leads_until = excluded.leads_until`, time.Now().Add(time.Hour).UnixMicro())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w, r := newWorld(t, d, nil), newReceiver(t)
	w.monitor(t, map[string]any{"type": "http", "url": r.URL, "topics": []string{"devices"}})
	node := newMonitors(d, w.events)
	node.Source = w.monitors.Source
	push(t, node)
	r.alive(t)
}

// TestMonitorHistory: who fetches goes on by its own cursor.
func TestMonitorHistory(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, nil)
		id := w.monitor(t, map[string]any{"type": "polling", "topics": []string{"devices"}})
		if m := w.show(t, "monitors/inventory/"+id); m["status"] != "active" || m["url"] != nil || m["method"] != nil {
			t.Errorf("%v", m)
		}
		type history struct {
			Count         int
			Cursor        *string
			NextURI       string `json:"next_uri"`
			PollingCursor string `json:"polling_cursor"`
			List          []map[string]json.RawMessage
		}
		fetch := func(target string) (h history) {
			t.Helper()
			a, content := w.ask(t, http.MethodGet, target, "")
			if err := json.Unmarshal([]byte(content), &h); err != nil || a.StatusCode != http.StatusOK || h.Count != len(h.List) {
				t.Fatalf("%s: %d %s", target, a.StatusCode, content)
			}
			return h
		}
		base := "/ws/v1/monitors/history/" + id
		nothing := fetch(base)
		if nothing.Count != 0 || nothing.Cursor != nil || nothing.PollingCursor == "" {
			t.Errorf("%+v", nothing)
		}
		w.register(t, 5)
		last := w.awaiting(t, "device.created") // what it shows can be read
		w.ask(t, http.MethodPost, "/ws/v1/devices/inventory", `{"id": "`+pump+`"}`)
		last()
		var got []string
		target := base + "?size=4"
		for pages := 0; target != "" && pages < 3; pages++ {
			h := fetch(target)
			for _, one := range h.List {
				got = append(got, messageOf(t, one).of())
			}
			target = h.NextURI
		}
		if len(got) != 6 || got[5] != "devices/"+pump || target != "" {
			t.Errorf("got %q, then %q", got, target)
		}
		if h := fetch(base + "?size=1000&cursor=" + nothing.PollingCursor); h.Count != 6 {
			t.Errorf("from an earlier place: %d", h.Count)
		}
		other := w.monitor(t, map[string]any{"type": "polling", "topics": []string{"devices"}, "persistent": false})
		forgets := w.monitor(t, map[string]any{"type": "http", "topics": []string{"devices"}, "url": "http://127.0.0.1:9/"})
		for target, status := range map[string]int{
			base + "?cursor=x": 400, base + "?size=0": 400, "/ws/v1/monitors/history/" + other + "?cursor=" + nothing.PollingCursor: 400, "/ws/v1/monitors/history/1": 404,
			"/ws/v1/monitors/history/" + other: 200, "/ws/v1/monitors/history/" + forgets: 409, "/ws/v1/monitors/history/x": 404,
		} {
			if a, content := w.ask(t, http.MethodGet, target, ""); a.StatusCode != status {
				t.Errorf("%s: %d %s", target, a.StatusCode, content)
			}
		}
	})
}
