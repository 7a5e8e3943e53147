package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/device"
	"godwit/event"
)

// TestAgentTwoDevicesOneCode has a second device come with the install code of one
// that has enrolled: it is refused, both are named, and the first goes on.
func TestAgentTwoDevicesOneCode(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		y := newYard(t, databaseFlag(url))
		first, second := y.newPost(1, true), y.newPost(2, true)
		puts, err := y.devices().PutDevices(t.Context(), y.by, []device.DevicePatch{{ID: first.id, InstallCode: db.Secret("open sesame")}}, device.PutOptions{})
		if err != nil || puts[0].Err != nil {
			t.Fatal(err, puts)
		}
		for _, p := range []*post{first, second} {
			p.args = append(p.args, "--install-code", "open sesame")
			p.args[len(p.args)-3] = string(first.id)
		}
		first.must()
		for range 2 {
			if said, err := second.once(t.Context()); err == nil || !strings.Contains(said, string(first.eid)) || !strings.Contains(said, string(second.eid)) {
				t.Errorf("the second device: %v\n%s", err, said)
			}
		}
		first.must()
		var told []event.Event
		if err := y.app.db.Read(t.Context(), func(q db.Query) (err error) {
			told, err = y.app.events.List(t.Context(), q, event.Filter{Subject: string(first.id), Limit: 1000})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		enrolled, refused := 0, 0
		for _, e := range told {
			switch e.Kind {
			case "agent.enrolled":
				enrolled++
			case "agent.refused":
				refused++
			}
		}
		if enrolled != 1 || refused != 1 {
			t.Errorf("%d times enrolled, %d times told, want each once", enrolled, refused)
		}
		if e, err := y.devices().ESIM(t.Context(), y.by.Account, second.eid); err == nil {
			t.Errorf("the second device's chip was registered: %+v", e)
		}

		// The first device may lose its state, and a user may give it another eUICC.
		first.args[len(first.args)-5] = t.TempDir()
		first.must()
		puts, err = y.devices().PutDevices(t.Context(), y.by, []device.DevicePatch{{ID: first.id, EIDs: []device.EIDPatch{{EID: second.eid}}}}, device.PutOptions{})
		if err != nil || puts[0].Err != nil {
			t.Fatal(err, puts)
		}
		second.must()
	})
}

// TestAgentTakesNoChip has a device name the chip of another, for which an agent
// signs: that it has moved is for a user to say.
func TestAgentTakesNoChip(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		y := newYard(t, databaseFlag(url))
		mine, theirs := y.newPost(1, true), y.newPost(2, false)
		var patches []device.DevicePatch
		for _, p := range []*post{mine, theirs} {
			patches = append(patches, device.DevicePatch{ID: p.id, InstallCode: db.Secret("open sesame")})
			p.args = append(p.args, "--install-code", "open sesame")
		}
		puts, err := y.devices().PutDevices(t.Context(), y.by, patches, device.PutOptions{})
		if err != nil || puts[0].Err != nil || puts[1].Err != nil {
			t.Fatal(err, puts)
		}
		theirs.must()
		key := newAgentKey(t)
		named := func(chip map[string]any) map[string]any {
			chip["eid"] = theirs.eid
			return map[string]any{"eids": []map[string]any{{"eid": mine.eid, "kind": "iot"}, chip}}
		}
		asConsumer, asIoT := named(map[string]any{"kind": "consumer", "agent_key": key}), named(map[string]any{"kind": "iot"})
		code := func(r *http.Request) { r.SetBasicAuth(string(mine.id), "open sesame") }
		status, enrolled := y.ask(t, "enrol", code, map[string]any{"eids": []map[string]any{{"eid": mine.eid, "kind": "iot"}}})
		if status != 200 {
			t.Fatalf("%d %+v", status, enrolled)
		}
		token := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+enrolled.Token) }
		was, err := y.devices().ESIM(t.Context(), y.by.Account, theirs.eid)
		if err != nil || was.Device != theirs.id || was.AgentKey == nil {
			t.Fatalf("%+v, %v", was, err)
		}
		for _, tt := range []struct {
			name  string
			prove func(*http.Request)
			body  any
		}{
			{"as a consumer chip, by install code", code, asConsumer},
			{"as a consumer chip, by token", token, asConsumer},
			{"as one of SGP.32, by install code", code, asIoT},
			{"as one of SGP.32, by token", token, asIoT},
		} {
			if status, answer := y.ask(t, "enrol", tt.prove, tt.body); status != 403 || answer.Field != "eids[1].eid" || !strings.Contains(answer.Message, string(theirs.id)) {
				t.Errorf("%s: %d %+v", tt.name, status, answer)
			}
		}
		if is, err := y.devices().ESIM(t.Context(), y.by.Account, theirs.eid); err != nil || is.Device != was.Device || string(is.AgentKey) != string(was.AgentKey) {
			t.Errorf("the chip is %+v, %v", is, err)
		}
		theirs.must()
		status, answer := y.ask(t, "enrol", func(r *http.Request) { r.SetBasicAuth(y.credentials.RMUser, y.credentials.RMPassword) },
			map[string]any{"device_id": mine.id, "eids": asConsumer["eids"]})
		if status != 200 {
			t.Errorf("by a user: %d %+v", status, answer)
		}
		if is, err := y.devices().ESIM(t.Context(), y.by.Account, theirs.eid); err != nil || is.Device != mine.id || string(is.AgentKey) != string(key) {
			t.Errorf("by a user it is %+v, %v", is, err)
		}
	})
}

// newAgentKey is the public key of an agent, as it tells it.
func newAgentKey(t *testing.T) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key
}
