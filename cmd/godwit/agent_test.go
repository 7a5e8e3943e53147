package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/device"
	"godwit/ident"
)

// TestAgent is the life of a device: it enrols, loads profiles, changes between
// them, reports; with a chip that speaks SGP.32, and with one for which the
// agent speaks.
func TestAgent(t *testing.T) {
	y := newYard(t)
	for _, tt := range []struct {
		name     string
		iot      bool
		evidence string
		more     []string
	}{
		{"iot", true, "euicc-package-result eUICC", nil},
		{"consumer", false, "euicc-package-result agent", nil},
		{"iot, JSON, through the eIM", true, "euicc-package-result eUICC", []string{"--json", "--download", "indirect"}},
		{"consumer, through the eIM", false, "euicc-package-result agent", []string{"--download", "indirect"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			y := &yard{process: &process{t: t, data: y.data, credentials: y.credentials}, app: y.app, by: y.by}
			p := y.newPost(1000+len(tt.name), tt.iot).asUser()
			firmware := filepath.Join(t.TempDir(), "firmware")
			if err := os.WriteFile(firmware, []byte("7.1.2\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.args = append(append(p.args, tt.more...), "--firmware-file", firmware)
			p.must()
			p.wantProfiles()
			d, err := y.devices().Device(t.Context(), y.by.Account, p.id)
			if err != nil || d.FirmwareVersion != "7.1.2" || d.IP != "127.0.0.1" || d.ConnectionStatus != "connected" {
				t.Errorf("the device is %+v, %v", d, err)
			}
			var iccids []ident.ICCID
			for range 2 {
				id := p.act(device.Download, func(r *device.ActionRequest) { r.ActivationCode = y.code() })
				p.must()
				iccids = append(iccids, p.wantDone(id).ICCID)
			}
			p.wantProfiles(string(iccids[0])+" false", string(iccids[1])+" false")
			for _, iccid := range iccids {
				id := p.act(device.Enable, func(r *device.ActionRequest) { r.ICCID = iccid })
				p.must()
				p.wantDone(id)
			}
			p.wantProfiles(string(iccids[0])+" false", string(iccids[1])+" true")
			id := p.act(device.Delete, func(r *device.ActionRequest) { r.ICCID = iccids[0] })
			p.must()
			p.wantDone(id)
			p.wantProfiles(string(iccids[1]) + " true")
			if got := y.evidence(p.eid); !slices.Contains(got, tt.evidence) {
				t.Errorf("evidence %q, want %q among it", got, tt.evidence)
			}
		})
	}
}

// evidence lists the kinds of evidence of a chip and who vouches.
func (y *yard) evidence(eid ident.EID) (list []string) {
	y.t.Helper()
	err := y.app.db.Read(y.t.Context(), func(q db.Query) error {
		rows, err := q.QueryContext(y.t.Context(), `select distinct kind, witness from eim_result where eid = $1 order by kind, witness`, string(eid))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind, witness string
			if err := rows.Scan(&kind, &witness); err != nil {
				return err
			}
			list = append(list, kind+" "+witness)
		}
		return rows.Err()
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return list
}

// TestAgentOnceForgotten has a device that wakes up now and then, and whose token
// the server no longer knows, enrol anew with what vouched for it first.
func TestAgentOnceForgotten(t *testing.T) {
	y := newYard(t)
	p := y.newPost(4714, true).asUser()
	p.must()
	if err := y.devices().DeleteDevice(t.Context(), y.by, p.id); err != nil {
		t.Fatal(err)
	}
	if said := p.must(); !strings.Contains(said, "enrols anew") {
		t.Errorf("the agent says %s", said)
	}
	if e, err := y.devices().ESIM(t.Context(), y.by.Account, p.eid); err != nil || e.ReportedAt.IsZero() {
		t.Errorf("the eSIM is %+v, %v", e, err)
	}
	if err := y.devices().DeleteDevice(t.Context(), y.by, p.id); err != nil {
		t.Fatal(err)
	}
	i := slices.Index(p.args, "--user")
	p.args = slices.Delete(p.args, i, i+4)
	if said, err := p.once(t.Context()); err == nil || !strings.Contains(said, "no longer registered") {
		t.Errorf("with nothing that vouches the agent says %s, %v", said, err)
	}
}

// TestAgentKindChanged drives an eUICC as one of SGP.22 first, and then as the one
// of SGP.32 that it is: from then on it is believed by its own key.
func TestAgentKindChanged(t *testing.T) {
	y := newYard(t)
	p := y.newPost(4715, true).asUser()
	path := "/ws/v1/esims/inventory/" + string(p.eid) + "/packages"
	for _, tt := range []struct{ kind, witness string }{{"consumer", "agent"}, {"iot", "eUICC"}, {"consumer", "agent"}} {
		p.must("--chip", tt.kind)
		var ordered, a struct{ ID, Stage, Witness string }
		y.askAsUser(t, http.MethodPost, path, `{"kind": "list"}`, &ordered)
		p.must("--chip", tt.kind)
		y.askAsUser(t, http.MethodGet, path+"/"+ordered.ID, "", &a)
		if a.Stage != "done" || a.Witness != tt.witness {
			t.Errorf("as %s: %+v, want the word of the %s", tt.kind, a, tt.witness)
		}
	}
}

// TestAgentKilled kills the agent at random moments, as a loss of power would,
// from its enrolment to the last deletion: everything is done in the end, once.
func TestAgentKilled(t *testing.T) {
	y := newYard(t)
	for _, tt := range []struct {
		name string
		iot  bool
		way  string
	}{{"iot", true, "direct"}, {"consumer", false, "direct"}, {"consumer, indirect", false, "indirect"}} {
		t.Run(tt.name, func(t *testing.T) {
			y := &yard{process: &process{t: t, data: y.data, credentials: y.credentials}, app: y.app, by: y.by}
			p := y.newPost(2000+len(tt.name), tt.iot).asUser()
			p.args = append(p.args, "--download", tt.way)
			began := time.Now()
			p.must()
			life := time.Since(began) // of an agent that nobody kills; the shortest so far
			kills := 0
			// persist starts the agent until it comes to its end by itself. The first
			// lives are shorter than one needs, later ones ever longer.
			persist := func() {
				t.Helper()
				for n := range 200 {
					began := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration((0.1+rand.Float64())*float64(life)*(0.9+float64(n)/5)))
					said, err := p.once(ctx)
					killed := ctx.Err() != nil
					cancel()
					if err == nil {
						life = min(life, time.Since(began)) // the first may have had a slow machine
						return
					}
					if !killed {
						t.Fatalf("the agent ended by itself: %v\n%s", err, said)
					}
					kills++
				}
				t.Fatal("the agent does not come to an end in 200 lives")
			}
			var kept []string
			lost := 0
			for n := range 4 {
				iccid := ident.ICCID("")
				for iccid == "" {
					code := y.code()
					id := p.act(device.Download, func(r *device.ActionRequest) { r.ActivationCode = code })
					persist()
					// The chip loses its power with the agent. One that was loading a
					// profile says that the installation was interrupted: a true end.
					switch done := p.transaction(id); {
					case done.Status == device.TxComplete:
						iccid = done.ICCID
					case done.Status == device.TxFailed && strings.Contains(done.Message, "interrupted"):
						lost++
					default:
						t.Fatalf("download is %s: %s", done.Status, done.Message)
					}
					if believed, real := p.profiles(); !slices.Equal(believed, real) || iccid != "" && len(real) != len(kept)+1 || iccid == "" && len(real) != len(kept) {
						t.Fatalf("the server believes %q, the chip has %q, and %d should be there beside a new one %q", believed, real, len(kept), iccid)
					}
				}
				var id string
				if n%2 == 0 {
					id = p.act(device.Enable, func(r *device.ActionRequest) { r.ICCID = iccid })
					kept = append(kept, string(iccid))
				} else {
					id = p.act(device.Delete, func(r *device.ActionRequest) { r.ICCID = iccid })
				}
				persist()
				p.wantDone(id)
			}
			p.wantProfiles(kept[0]+" false", kept[1]+" true")
			t.Logf("the agent, which lives for %s, was killed %d times; %d installations were interrupted", life, kills, lost)
			if kills == 0 {
				t.Error("the agent was never killed")
			}
		})
	}
}

// TestAgentEnrols is about who may enrol what, on both engines.
func TestAgentEnrols(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		y := newYard(t, databaseFlag(url))
		p := y.newPost(1, true)
		code, mac := db.Secret("open sesame"), "00:04:F3:00:00:07"
		puts, err := y.devices().PutDevices(t.Context(), y.by, []device.DevicePatch{
			{ID: p.id, InstallCode: code}, {ID: "00000000-00000000-0004F3FF-FF000007", MAC: &mac, InstallCode: code},
		}, device.PutOptions{})
		if err != nil || puts[0].Err != nil || puts[1].Err != nil {
			t.Fatal(err, puts)
		}
		user, password := y.credentials.RMUser, y.credentials.RMPassword
		good := map[string]any{"device_id": p.id, "eids": []map[string]string{{"eid": string(p.eid), "kind": "iot"}}}
		with := func(change map[string]any) map[string]any {
			out := map[string]any{}
			for _, m := range []map[string]any{good, change} {
				for k, v := range m {
					out[k] = v
				}
			}
			return out
		}
		basic := func(user, password string) func(*http.Request) {
			return func(r *http.Request) { r.SetBasicAuth(user, password) }
		}
		nobody := func(*http.Request) {}
		for _, tt := range []struct {
			name   string
			prove  func(*http.Request)
			body   any
			status int
			field  string
			text   string
		}{
			{"nobody", nobody, good, 401, "", "enrol with HTTP Basic"},
			{"wrong password", basic(user, "x"), good, 401, "", ""},
			{"wrong install code", basic(string(p.id), "x"), good, 401, "", "no device"},
			{"a token of nobody", func(r *http.Request) { r.Header.Set("Authorization", "Bearer agt_x") }, good, 401, "", "enrol again"},
			{"another device than the code's", basic(string(p.id), "open sesame"), with(map[string]any{"device_id": "00000000-00000000-0004F3FF-FF000002"}), 400, "device_id", "not of"},
			{"no eUICC", basic(user, password), with(map[string]any{"eids": nil}), 400, "eids", "1 to 16"},
			{"EID too short", basic(user, password), with(map[string]any{"eids": []map[string]string{{"eid": "89", "kind": "iot"}}}), 400, "eids[0].eid", "32"},
			{"EID twice", basic(user, password), with(map[string]any{"eids": []map[string]string{{"eid": string(p.eid), "kind": "iot"}, {"eid": string(p.eid), "kind": "iot"}}}), 400, "eids[1].eid", "twice"},
			{"a kind of nobody", basic(user, password), with(map[string]any{"eids": []map[string]string{{"eid": string(p.eid), "kind": "esim"}}}), 400, "eids[0].kind", "iot or consumer"},
			{"consumer without key", basic(user, password), with(map[string]any{"eids": []map[string]string{{"eid": string(p.eid), "kind": "consumer"}}}), 400, "eids[0].agent_key", "public key is missing"},
			{"consumer with nonsense", basic(user, password), with(map[string]any{"eids": []map[string]string{{"eid": string(p.eid), "kind": "consumer", "agent_key": "AAAA"}}}), 400, "eids[0].agent_key", ""},
			{"iot with key", basic(user, password), with(map[string]any{"eids": []map[string]string{{"eid": string(p.eid), "kind": "iot", "agent_key": "AAAA"}}}), 400, "eids[0].agent_key", "its own key"},
			{"key that is no base64", basic(user, password), with(map[string]any{"eids": []map[string]string{{"eid": string(p.eid), "kind": "iot", "agent_key": "?"}}}), 400, "", ""},
			{"no device", basic(user, password), with(map[string]any{"device_id": ""}), 400, "device_id", "is missing"},
			{"a device ID of letters", basic(user, password), with(map[string]any{"device_id": "router"}), 400, "device_id", "four groups"},
			{"signal too strong", basic(user, password), with(map[string]any{"signal_strength": 7}), 400, "signal_strength", "-200 to 0"},
			{"IP of nobody", basic(user, password), with(map[string]any{"ip": "here"}), 400, "ip", "IP address"},
			{"a number for a name", basic(user, password), with(map[string]any{"hostname": 7}), 400, "hostname", "a string"},
			{"a text too long", basic(user, password), with(map[string]any{"hostname": strings.Repeat("x", 256)}), 400, "hostname", "255"},
			{"too much", basic(user, password), with(map[string]any{"hostname": strings.Repeat("x", 40<<10)}), 400, "", "at most"},
			{"no object", basic(user, password), []int{1}, 400, "", "JSON object"},
		} {
			status, answer := y.ask(t, "enrol", tt.prove, tt.body)
			if status != tt.status || !strings.HasPrefix(answer.Field, tt.field) || !strings.Contains(answer.Message, tt.text) || answer.Message == "" {
				t.Errorf("%s: %d %+v, want %d, field %q, %q", tt.name, status, answer, tt.status, tt.field, tt.text)
			}
		}

		// The install code, then the token, which is replaced.
		status, first := y.ask(t, "enrol", basic(string(p.id), "open sesame"), good)
		if status != 200 || first.Token == "" || first.DeviceID != string(p.id) || len(first.Eims) != 1 {
			t.Fatalf("with the install code: %d %+v", status, first)
		}
		bearer := func(token string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
		}
		status, second := y.ask(t, "enrol", bearer(first.Token), good)
		if status != 200 || second.Token == first.Token {
			t.Fatalf("with the token: %d %+v", status, second)
		}
		for _, tt := range []struct {
			name, token string
			status      int
		}{
			{"the old token, before the new one was used", first.Token, 200},
			{"the new token", second.Token, 200},
			{"the old token, after", first.Token, 401},
			{"the new token again", second.Token, 200},
		} {
			if status, answer := y.ask(t, "report", bearer(tt.token), map[string]any{"carrier": "Example", "signal_percent": 70}); status != tt.status {
				t.Errorf("report with %s: %d %+v, want %d", tt.name, status, answer, tt.status)
			}
		}
		if d, err := y.devices().Device(t.Context(), y.by.Account, p.id); err != nil || d.Modems[0].Carrier != "Example" {
			t.Errorf("the device is %+v, %v", d, err)
		}
		// By its MAC address, with hyphens, for a colon ends the name.
		other := y.newPost(7, true)
		byMAC := with(map[string]any{"device_id": "", "mac": mac, "eids": []map[string]string{{"eid": string(other.eid), "kind": "iot"}}})
		if status, answer := y.ask(t, "enrol", basic("00-04-f3-00-00-07", "open sesame"), byMAC); status != 200 || answer.DeviceID != string(other.id) {
			t.Errorf("by its MAC address: %d %+v", status, answer)
		}
		// A device cannot have an agent speak for a chip that has spoken for itself; a
		// user can.
		spoke := y.newPost(8, true)
		spoke.asUser().must()
		key := newAgentKey(t)
		asConsumer := with(map[string]any{"device_id": string(other.id), "eids": []map[string]any{{"eid": string(spoke.eid), "kind": "consumer", "agent_key": key}}})
		if status, answer := y.ask(t, "enrol", basic(string(other.id), "open sesame"), asConsumer); status != 403 || answer.Field != "eids[0].kind" || !strings.Contains(answer.Message, "signs for itself") {
			t.Errorf("another's chip by an install code: %d %+v", status, answer)
		}
		if status, answer := y.ask(t, "enrol", basic(user, password), asConsumer); status != 200 {
			t.Errorf("another's chip by a user: %d %+v", status, answer)
		}
		// Who was taken away is nobody any more.
		if err := y.devices().DeleteDevice(t.Context(), y.by, p.id); err != nil {
			t.Fatal(err)
		}
		for _, function := range []string{"report", "enrol"} {
			if status, answer := y.ask(t, function, bearer(second.Token), good); status != 401 || !strings.Contains(answer.Message, "no longer registered") {
				t.Errorf("%s of a device that was deleted: %d %+v", function, status, answer)
			}
		}
		// Nor is he when another is registered in his name.
		puts, err = y.devices().PutDevices(t.Context(), y.by, []device.DevicePatch{{ID: p.id}}, device.PutOptions{})
		if err != nil || puts[0].Err != nil {
			t.Fatal(err, puts)
		}
		if status, answer := y.ask(t, "report", bearer(second.Token), good); status != 401 {
			t.Errorf("report of a device that was deleted and registered again: %d %+v", status, answer)
		}
		// No token is in the database.
		y.wantNowhere(t, first.Token, second.Token)

		// Guessing ends. Every ten seconds one more is let in.
		var last answerOfAgents
		for n := 0; n < 20 && status != 429; n++ {
			status, last = y.ask(t, "enrol", basic(string(other.id), "guess"), good)
		}
		if status != 429 || last.Code != "too_many" {
			t.Errorf("after many guesses: %d %+v", status, last)
		}
	})
}

type answerOfAgents struct {
	Code, Field, Message, Token string
	DeviceID                    string `json:"device_id"`
	Eims                        []struct{ EID, Eim string }
}

// ask asks the agents' door.
func (y *yard) ask(t *testing.T, function string, prove func(*http.Request), body any) (int, answerOfAgents) {
	t.Helper()
	content, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, y.credentials.BaseURL+"/agent/v1/"+function, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	prove(r)
	p, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	var answer answerOfAgents
	if err := json.NewDecoder(p.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return p.StatusCode, answer
}

// wantNowhere looks for texts in the rows of agents and their events.
func (y *yard) wantNowhere(t *testing.T, texts ...string) {
	t.Helper()
	err := y.app.db.Read(t.Context(), func(q db.Query) error {
		for _, text := range texts {
			var n int
			if err := q.QueryRowContext(t.Context(), `select (select count(*) from agent where cast(token_hash as text) like $1 or enrolled_by like $1)
				+ (select count(*) from event where data like $1)`, "%"+text+"%").Scan(&n); err != nil {
				return err
			}
			if n != 0 {
				return errors.New("a token is in the database")
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAgentRefused is what the agent itself says when it cannot begin.
func TestAgentRefused(t *testing.T) {
	y := newYard(t)
	p := y.newPost(1, true)
	for _, tt := range []struct {
		name string
		args []string
		want string
		code int
	}{
		{"nobody vouches", nil, "nothing vouches for this device", 1},
		{"a wrong install code", []string{"--install-code", "x"}, "no device", 1},
		{"a wrong password", []string{"--user", y.credentials.RMUser, "--password", "x"}, "the server refused", 1},
		{"plain HTTP over the network", []string{"--server", "http://example.com"}, "would have the token read", 1},
		{"a card of nobody", []string{"--card", "euicc:/nowhere"}, "there is no eUICC", 1},
		{"no such way", []string{"--card", "usb:1"}, "no way called", 1},
		{"two who vouch", []string{"--user", "a", "--password", "b", "--install-code", "c"}, "one of them", 1},
		{"a flag of nobody", []string{"--nothing"}, "unknown flag", 2},
	} {
		said, err := p.once(t.Context(), tt.args...)
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != tt.code || !strings.Contains(said, tt.want) {
			t.Errorf("%s: %v, want exit %d and %q in\n%s", tt.name, err, tt.code, tt.want, said)
		}
	}
}

// TestAgentOverProgram has the agent reach its chip through a program that
// speaks lpac's stdio protocol.
func TestAgentOverProgram(t *testing.T) {
	y := newYard(t)
	t.Setenv(asProgram, "1")
	p := y.newPost(1, true).asUser()
	card := strings.Join([]string{"exec:" + os.Args[0], "euicc", "stdio", "--dir", p.chip}, " ")
	// A chip behind a program tells only the key identifier of its CI.
	more := []string{"--card", card, "--ca", y.credentials.CICertificate}
	p.must(more...)
	id := p.act(device.Download, func(r *device.ActionRequest) { r.ActivationCode = y.code() })
	p.must(more...)
	iccid := p.wantDone(id).ICCID
	p.wantProfiles(string(iccid) + " false")
}

// TestAgentStays has an agent run on: it fetches work by itself, asks its program
// whether the network is there, goes back to the old profile when it is not,
// enrols anew when it was forgotten, and ends when it is told to.
func TestAgentStays(t *testing.T) {
	t.Parallel() // most of it is the agent's own pauses
	y := newYard(t)
	p := y.newPost(1, false).asUser()
	dir := t.TempDir()
	down, heard, script := filepath.Join(dir, "down"), filepath.Join(dir, "heard"), filepath.Join(dir, "reach")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$GODWIT_EID $GODWIT_EIM_URL\" > "+heard+"\nif [ -e "+down+" ]; then echo no carrier; exit 1; fi\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	metrics := freePorts(t, 1)[0]
	var command *exec.Cmd
	var n *neighbour
	begin := func(reachFor time.Duration) {
		t.Helper()
		command = program(context.Background(), slices.Concat([]string{"agent"}, p.args, []string{
			"--poll", "1s", "--reach-command", script, "--reach-for", reachFor.String(), "--metrics-listen", metrics,
		})...)
		endWithTest(command)
		n = startStranger(t, command)
	}
	end := func() {
		t.Helper()
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-n.ended
		if code := command.ProcessState.ExitCode(); code != 0 {
			t.Errorf("told to end, the agent exits with %d:\n%s", code, n.output)
		}
	}
	begin(longest) // to tell a slow machine from a network that is down
	ended := func(id string) func() bool {
		return func() bool { return p.transaction(id).Status != device.TxInProgress }
	}
	do := func(a device.Action, change func(*device.ActionRequest)) device.Transaction {
		t.Helper()
		id := p.act(a, change)
		until(t, "the "+string(a)+" has ended", n, ended(id))
		return p.transaction(id)
	}
	until(t, "the device is there", n, func() bool {
		e, err := y.devices().ESIM(t.Context(), y.by.Account, p.eid)
		return err == nil && !e.ReportedAt.IsZero()
	})
	var iccids []ident.ICCID
	for range 2 {
		code := y.code()
		got := do(device.Download, func(r *device.ActionRequest) { r.ActivationCode = code })
		if got.Status != device.TxComplete {
			t.Fatalf("download: %s", got.Message)
		}
		until(t, "the profile is reported", n, func() bool {
			_, err := y.devices().Profile(t.Context(), y.by.Account, got.ICCID)
			return err == nil
		})
		iccids = append(iccids, got.ICCID)
	}
	active := func(iccid ident.ICCID) func() bool {
		return func() bool {
			one, err := y.devices().Profile(t.Context(), y.by.Account, iccid)
			return err == nil && one.Active
		}
	}
	for _, iccid := range iccids {
		if got := do(device.Enable, func(r *device.ActionRequest) { r.ICCID = iccid }); got.Status != device.TxComplete {
			t.Fatalf("enable: %s", got.Message)
		}
		until(t, "the profile is reported as active", n, active(iccid))
	}
	if said, err := os.ReadFile(heard); err != nil || string(said) != string(p.eid)+" https://"+y.credentials.SMDPAddress+"\n" {
		t.Errorf("the program heard %q, %v", said, err)
	}
	end()
	if err := os.WriteFile(down, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	begin(time.Second)
	if got := do(device.Enable, func(r *device.ActionRequest) { r.ICCID = iccids[0] }); got.Status != device.TxFailed || got.MessageCode != "rolled_back" {
		t.Errorf("enable without a network: %s %s %s", got.Status, got.MessageCode, got.Message)
	}
	if !active(iccids[1])() {
		t.Error("the old profile is not active again")
	}
	response, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(content), `godwit_agent_steps_total{result="ok",step="rollback"} 1`) {
		t.Errorf("metrics: %v\n%s", err, content)
	}
	end()
	p.wantProfiles(string(iccids[0])+" false", string(iccids[1])+" true")

	// Deleted and forgotten, the device enrols anew with what vouched for it first.
	if err := y.devices().DeleteDevice(t.Context(), y.by, p.id); err != nil {
		t.Fatal(err)
	}
	again := program(context.Background(), slices.Concat([]string{"agent"}, p.args, []string{"--poll", "1s"})...)
	endWithTest(again)
	n = startStranger(t, again)
	until(t, "the device is there again with its profiles", n, active(iccids[1]))

	// The same while it runs: the eIM does not know it, so it asks the server.
	if err := y.devices().DeleteDevice(t.Context(), y.by, p.id); err != nil {
		t.Fatal(err)
	}
	until(t, "the device is there once more", n, active(iccids[1]))
}
