package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
)

// An ear is a customer's server that remembers every callback with a good
// signature: by address, by what it says, and by the token that repetitions have
// in common.
type ear struct {
	t      *testing.T
	server *httptest.Server
	up     atomic.Int64 // when those who call were started last, in microseconds

	mu    sync.Mutex
	token string
	heard map[string]map[said]map[string]string // forms by URL, word and token
	news  chan struct{}
}

// said is what tells callbacks to one URL apart.
type said struct{ status, payload string }

func newEar(t *testing.T) *ear {
	e := &ear{t: t, heard: map[string]map[said]map[string]string{}, news: make(chan struct{})}
	e.server = httptest.NewServer(e)
	t.Cleanup(e.server.Close)
	return e
}

func (e *ear) url(path string) string { return e.server.URL + "/" + path }
func (e *ear) host() string           { return strings.TrimPrefix(e.server.URL, "http://") }

func (e *ear) believe(token string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.token = token
}

func (e *ear) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if err := q.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form := q.PostForm
	at := e.url(strings.TrimPrefix(q.URL.Path, "/"))
	e.mu.Lock()
	defer e.mu.Unlock()
	if callback.Sign(db.Secret(e.token), at, form) != q.Header.Get("X-Twilio-Signature") {
		e.t.Errorf("a callback to %s has a wrong signature", at)
	}
	word := said{payload: form.Get("Payload") + form.Get("ESimProfileSid")}
	for _, name := range []string{"ESimProfileStatus", "SimStatus", "OrderStatus", "Status"} {
		word.status += form.Get(name)
	}
	if !strings.Contains(at, "/fleet/") && !strings.Contains(at, "/order/") {
		word.payload = "" // the address says it
	}
	if e.heard[at] == nil {
		e.heard[at] = map[said]map[string]string{}
	}
	tokens := e.heard[at][word]
	if tokens == nil {
		tokens = map[string]string{}
		e.heard[at][word] = tokens
	}
	token, text := q.Header.Get("I-Twilio-Idempotency-Token"), form.Encode()
	if before, again := tokens[token]; again && before != text {
		e.t.Errorf("a callback to %s was repeated and says %s, before it said %s", at, text, before)
	}
	tokens[token] = text
	close(e.news)
	e.news = make(chan struct{})
}

// times returns how many callbacks have said something, repetitions apart.
func (e *ear) times(at, status, payload string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.heard[at][said{status, payload}])
}

// late reports whether something that was begun at a time ought to have come
// about: since then nobody was killed for long.
func (e *ear) late(begun time.Time) bool {
	return time.Since(begun) > longest && time.Since(time.UnixMicro(e.up.Load())) > longest
}

// wait waits until a callback has said something.
func (e *ear) wait(t *testing.T, at, status, payload string) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for begun := time.Now(); ; {
		e.mu.Lock()
		n, news := len(e.heard[at][said{status, payload}]), e.news
		e.mu.Unlock()
		if n > 0 || t.Failed() {
			return
		}
		select {
		case <-news:
		case <-look.C:
			if e.late(begun) {
				e.mu.Lock()
				defer e.mu.Unlock()
				t.Errorf("in %s no callback to %s said %s %s; heard was %v", longest, at, status, payload, e.heard[at])
				return
			}
		}
	}
}

// settle waits until so many addresses of a kind have heard so many things, and
// returns them. It gives up in the end, and leaves it to the caller to complain.
func (e *ear) settle(want int, kind string, words int) (all []string) {
	for late := time.Now().Add(longest); ; pause() {
		all = nil
		e.mu.Lock()
		for at, heard := range e.heard {
			if strings.HasPrefix(strings.TrimPrefix(at, e.server.URL), kind) && len(heard) >= words {
				all = append(all, at)
			}
		}
		e.mu.Unlock()
		if len(all) >= want || time.Now().After(late) {
			return all
		}
	}
}

// once checks that something was said by one callback.
func (e *ear) once(at, status, payload string) {
	e.t.Helper()
	e.wait(e.t, at, status, payload)
	if n := e.times(at, status, payload); n != 1 {
		e.t.Errorf("%d callbacks to %s say %s %s", n, at, status, payload)
	}
}

// A listed is one thing of a list, whatever sort it is of.
type listed struct {
	SID, Status, Payload, Direction, ICCID string
	SimSID                                 string `json:"sim_sid"`
	UniqueName                             string `json:"unique_name"`
	DataLimit                              int    `json:"data_limit"`
}

// list reads all pages of a list.
func (w *world) list(path, key string) (all []listed) {
	w.t.Helper()
	for next := w.base + path + "?PageSize=1000"; next != ""; {
		var raw map[string]json.RawMessage
		if err := w.get(strings.TrimPrefix(next, w.base), &raw); err != nil {
			w.t.Fatal(err)
		}
		var part []listed
		var meta struct {
			Next string `json:"next_page_url"`
		}
		for into, text := range map[any]json.RawMessage{&part: raw[key], &meta: raw["meta"]} {
			if err := json.Unmarshal(text, into); err != nil {
				w.t.Fatalf("%s: %v", next, err)
			}
		}
		all, next = append(all, part...), meta.Next
	}
	return all
}

// checkAll holds what the server says, and what was heard of it, against what
// was asked for.
func (w *world) checkAll() {
	w.t.Helper()
	w.checkProfiles()
	w.checkSims()
	w.checkTexts()
	w.checkDatagrams()
	w.checkUsage()
	w.checkRest()
}

// Each reservation that was answered has one profile, one Sim, one entry in the
// ledger and one callback, and there are no others.
func (w *world) checkProfiles() {
	w.t.Helper()
	hooks, total := map[string]string{}, len(w.profiles)
	for hook, sid := range w.profiles {
		hooks[sid] = hook
		w.ear.once(hook, "available", "")
	}
	ordered := map[string]bool{}
	for sid, count := range w.orders {
		var o bulkOrder
		for late := time.Now().Add(longest); !o.ended() && time.Now().Before(late); pause() {
			if err := w.get(ordersPath+"/"+sid, &o); err != nil {
				w.t.Fatal(err)
			}
		}
		if o.Status != "completed" || o.Available != count || o.Failed != 0 {
			w.t.Errorf("order %+v", o)
		}
		total += int(count)
		for _, item := range readCSV(w.t, w.p.body(ordersPath+"/"+sid+"/Results.csv")) {
			ordered[item["esim_profile_sid"]] = true
		}
	}
	sims := map[string]listed{}
	for _, one := range w.list("/v1/Sims", "sims") {
		sims[one.SID] = one
	}
	charges := map[string]int{}
	for _, c := range readCSV(w.t, w.p.body("/v1/Charges.csv")) {
		charges[c["esim_profile_sid"]]++
	}
	all := w.list("/v1/ESimProfiles", "esim_profiles")
	if len(all) != total || len(sims) != total || len(charges) != total {
		w.t.Errorf("%d profiles, %d Sims and %d charges; %d profiles were asked for", len(all), len(sims), len(charges), total)
	}
	taken := map[string]bool{}
	for _, one := range all {
		if hooks[one.SID] == "" && !ordered[one.SID] {
			w.t.Errorf("nobody has asked for %s", one.SID)
		}
		if one.Status != "available" || taken[one.ICCID] || sims[one.SimSID].ICCID != one.ICCID || charges[one.SID] != 1 {
			w.t.Errorf("%+v: its Sim is %+v, it is charged %d times", one, sims[one.SimSID], charges[one.SID])
		}
		taken[one.ICCID] = true
	}
	w.ear.settle(len(w.orders), "/order/", 60+1)
	w.ear.mu.Lock()
	defer w.ear.mu.Unlock()
	for at, words := range w.ear.heard {
		for word, tokens := range words {
			if strings.Contains(at, "/order/") && len(tokens) != 1 {
				w.t.Errorf("%d callbacks to %s say %v", len(tokens), at, word)
			}
		}
		if strings.Contains(at, "/order/") && len(words) != 60+1 {
			w.t.Errorf("%d things were said to %s", len(words), at)
		}
	}
}

// Each Sim is what its last update was to make it, and the core network serves
// it so.
func (w *world) checkSims() {
	w.t.Helper()
	for _, one := range append(w.movers, w.talkers...) {
		var is listed
		if err := w.get("/v1/Sims/"+one.sid, &is); err != nil || is.Status != one.status {
			w.t.Errorf("%s is %s, was told to become %s; %v", one.sid, is.Status, one.status, err)
		}
	}
	w.ear.mu.Lock()
	for at, words := range w.ear.heard {
		if !strings.Contains(at, "/sim/") {
			continue
		}
		for word, tokens := range words {
			if len(words) != 1 || len(tokens) != 1 {
				w.t.Errorf("to %s %d callbacks say %v, and there are %d words", at, len(tokens), word, len(words))
			}
		}
	}
	w.ear.mu.Unlock()
	godwit(w.t, "core", "check", "--data", w.p.data)
}

// Each message to a device was handed over and is delivered; each of a device
// is there once, and the Fleet's webhook was told.
func (w *world) checkTexts() {
	w.t.Helper()
	took := map[string]int{}
	for _, m := range w.smsc.Accepted() {
		took[m.Text]++
	}
	for text, sid := range w.texts {
		var m listed
		w.again(func() bool { return w.get("/v1/SmsCommands/"+sid, &m) == nil && m.Status == "delivered" })
		if m.Payload != text || m.Status != "delivered" || took[text] < 1 {
			w.t.Errorf("%+v should say %q and be delivered; the SMSC has it %d times", m, text, took[text])
		}
	}
	to, from := 0, map[string]int{}
	for _, m := range w.list("/v1/SmsCommands", "sms_commands") {
		if m.Direction == "to_sim" {
			to++
			continue
		}
		from[m.Payload]++
		w.ear.once(w.ear.url("fleet/sms"), "received", m.Payload)
	}
	if to != len(w.texts) {
		w.t.Errorf("%d messages to devices, %d were asked for", to, len(w.texts))
	}
	for text := range w.said {
		if from[text] != 1 {
			w.t.Errorf("what a device said, %q, is there %d times", text, from[text])
		}
	}
	w.checkHooks("/sms/", "sent", "delivered")
}

// Each datagram to a device is sent; each that came from one was told.
func (w *world) checkDatagrams() {
	w.t.Helper()
	to := 0
	for payload, sid := range w.grams {
		var m listed
		w.again(func() bool { return w.get("/v1/IpCommands/"+sid, &m) == nil && m.Status != "queued" })
		if m.Payload != payload || m.Status != "sent" {
			w.t.Errorf("%+v should say %q and be sent", m, payload)
		}
	}
	for _, m := range w.list("/v1/IpCommands", "ip_commands") {
		if m.Direction == "to_sim" {
			to++
			continue
		}
		w.ear.once(w.ear.url("fleet/ip"), "received", m.Payload)
	}
	if to != len(w.grams) {
		w.t.Errorf("%d datagrams to devices, %d were asked for", to, len(w.grams))
	}
	w.checkHooks("/ip/", "sent")
}

// checkHooks checks that each command's URL was told each of its states by one
// callback.
func (w *world) checkHooks(kind string, states ...string) {
	w.t.Helper()
	want := map[string]int{"/sms/": len(w.texts), "/ip/": len(w.grams)}[kind]
	all := w.ear.settle(want, kind, len(states))
	if len(all) != want {
		w.t.Errorf("of %d commands %s, %d were told all of", want, kind, len(all))
	}
	for _, at := range all {
		for _, state := range states {
			w.ear.once(at, state, "")
		}
	}
}

// What the gateway's last confirmed reports said was counted, once.
func (w *world) checkUsage() {
	w.t.Helper()
	for _, one := range w.talkers {
		var answer struct {
			Records []struct {
				Up   uint64 `json:"data_upload"`
				Down uint64 `json:"data_download"`
			} `json:"usage_records"`
		}
		if err := w.get("/v1/UsageRecords?"+url.Values{"Sim": {one.sid}}.Encode(), &answer); err != nil {
			w.t.Fatal(err)
		}
		var up, down uint64
		for _, r := range answer.Records {
			up, down = up+r.Up, down+r.Down
		}
		if up != one.up || down != one.down {
			w.t.Errorf("%s has used %d and %d octets, reported were %d and %d", one.sid, up, down, one.up, one.down)
		}
	}
}

// Each Fleet that was answered is there, changed as it was asked to be, and no
// other; no delivery was given up.
func (w *world) checkRest() {
	w.t.Helper()
	all := w.list("/v1/Fleets", "fleets")
	for _, f := range all {
		if f.UniqueName != "field" && (!w.fleets[f.SID] || f.DataLimit != 100) {
			w.t.Errorf("nobody has asked for %+v", f)
		}
	}
	if len(all) != len(w.fleets)+1 {
		w.t.Errorf("%d Fleets, %d were asked for", len(all), len(w.fleets)+1)
	}
	var given struct {
		Up []json.RawMessage `json:"callbacks"`
	}
	if err := w.get("/v1/Callbacks?Status=failed", &given); err != nil || len(given.Up) > 0 {
		w.t.Errorf("callbacks were given up: %s, %v", given.Up, err)
	}
	w.t.Logf("%d reservations, %d orders, %d Fleets, %d and %d messages, %d datagrams: %s", len(w.profiles), len(w.orders), len(w.fleets), len(w.texts), len(w.said), len(w.grams), fmt.Sprint(w.ids.Load()))
}
