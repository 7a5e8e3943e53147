package main

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPackages orders of an eUICC what is no action on a profile, over the door,
// and reads what it signed.
func TestPackages(t *testing.T) {
	y := newYard(t)
	p := y.newPost(4711, true).asUser()
	p.must()
	path := "/ws/v1/esims/inventory/" + string(p.eid) + "/packages"
	type answer struct {
		ID, Kind, Stage, Witness, Evidence string
		Code                               string        `json:"message_code"`
		Words                              string        `json:"evidence_text"`
		Message                            string        `json:"error_message"`
		List                               []answerStage `json:"list"`
	}
	ask := func(method, path, body string, want int) (a answer) {
		t.Helper()
		y.askForStatus(t, method, path, body, want, &a)
		return a
	}
	for _, tt := range []struct{ body, names string }{
		{`{"kind": "dance"}`, "kind"},
		{`{"kind": "set-fallback"}`, "iccid"},
		{`{"kind": "set-default-dp", "address": "no host"}`, "address"},
		{`{"kind": "add-eim", "eim_configuration_data": "AAAA"}`, "eim_configuration_data"},
		{`{"kind": "add-eim", "eim_configuration_data": "&"}`, "eim_configuration_data"},
		{`{"kind": "delete-eim"}`, "eim_id"},
	} {
		if a := ask(http.MethodPost, path, tt.body, http.StatusBadRequest); !strings.Contains(a.Message, tt.names) {
			t.Errorf("%s: %q does not name %s", tt.body, a.Message, tt.names)
		}
	}
	ask(http.MethodGet, path+"/00000000000000000000000000000000", "", http.StatusNotFound)
	if a := ask(http.MethodPost, path, `{"kind": "set-fallback", "iccid": "8988303000000000019"}`, http.StatusNotFound); !strings.Contains(a.Message, "8988303000000000019") {
		t.Errorf("a profile that is not there: %q", a.Message)
	}

	for _, tt := range []struct{ body, stage, code, words string }{
		{`{"kind": "get-rat"}`, "done", "complete", "PPR1 disabling not allowed"},
		{`{"kind": "list-eim"}`, "done", "complete", "localhost"},
		{`{"kind": "set-default-dp", "address": "dp.example.com"}`, "done", "complete", ""},
		{`{"kind": "immediate"}`, "done", "complete", ""},
		{`{"kind": "unset-fallback"}`, "failed", "", ""},
	} {
		ordered := ask(http.MethodPost, path, tt.body, http.StatusOK)
		if ordered.Stage != "queued" {
			t.Errorf("%s: ordered %+v", tt.body, ordered)
		}
		p.must()
		a := ask(http.MethodGet, path+"/"+ordered.ID, "", http.StatusOK)
		if a.Stage != tt.stage || tt.code != "" && a.Code != tt.code || a.Witness != "eUICC" || a.Evidence == "" || !strings.Contains(a.Words, tt.words) {
			t.Errorf("%s: %+v", tt.body, a)
		}
	}
	if a := ask(http.MethodGet, path, "", http.StatusOK); len(a.List) != 5 || a.List[0].Kind != "unset-fallback" {
		t.Errorf("the list: %+v", a.List)
	}
}

type answerStage struct{ Kind, Stage string }

// TestAgentsEvidence verifies what an agent has signed for a consumer eUICC from
// the door's answers alone, also after the device has lost its state and its key
// with it.
func TestAgentsEvidence(t *testing.T) {
	y := newYard(t)
	p := y.newPost(4712, false).asUser()
	p.must()
	path := "/ws/v1/esims/inventory/" + string(p.eid) + "/packages"
	var keys []string
	order := func() string {
		var a struct{ ID string }
		y.askAsUser(t, http.MethodPost, path, `{"kind": "list"}`, &a)
		p.must()
		return a.ID
	}
	verify := func(id string) {
		t.Helper()
		var a struct {
			Stage, Witness, Evidence string
			Key                      []byte `json:"agent_key"`
		}
		y.askAsUser(t, http.MethodGet, path+"/"+id, "", &a)
		if a.Stage != "done" || a.Witness != "agent" {
			t.Fatalf("the package is %+v", a)
		}
		key, err := x509.ParsePKIXPublicKey(a.Key)
		if err != nil {
			t.Fatalf("agent_key: %v", err)
		}
		der, err := base64.StdEncoding.DecodeString(a.Evidence)
		if err != nil {
			t.Fatal(err)
		}
		var result, signed, data, signature asn1.RawValue
		rest := der
		for _, v := range []*asn1.RawValue{&result, &signed, &data} {
			if rest, err = asn1.Unmarshal(rest, v); err != nil {
				t.Fatal(err)
			}
			if v != &data {
				rest = v.Bytes
			}
		}
		if _, err := asn1.Unmarshal(rest, &signature); err != nil || len(signature.Bytes) != 64 {
			t.Fatalf("signature %X, %v", signature.Bytes, err)
		}
		digest := sha256.Sum256(append(slices.Clone(data.FullBytes), 0x84, 1, 0))
		r, s := new(big.Int).SetBytes(signature.Bytes[:32]), new(big.Int).SetBytes(signature.Bytes[32:])
		if !ecdsa.Verify(key.(*ecdsa.PublicKey), digest[:], r, s) {
			t.Errorf("the evidence of %s does not verify with its key", id)
		}
		keys = append(keys, string(a.Key))
	}
	first := order()
	verify(first)
	if i := slices.Index(p.args, "--state"); true {
		p.args[i+1] = filepath.Join(t.TempDir(), "state")
	}
	second := order()
	verify(second)
	verify(first)
	if keys[0] == keys[1] || keys[0] != keys[2] {
		t.Error("the keys are not those that signed")
	}
	// The audit log says which enrolment brought which key.
	var log struct {
		List []struct {
			Details struct {
				Keys map[string]string `json:"agent_keys"`
			}
		}
	}
	y.askAsUser(t, http.MethodGet, "/ws/v1/events/inventory?orderby=start_time&query="+url.QueryEscape("kind = 'agent.enrolled'"), "", &log)
	if len(log.List) != 2 {
		t.Fatalf("%d enrolments", len(log.List))
	}
	for i, e := range log.List {
		if got := e.Details.Keys[string(p.eid)]; got != base64.StdEncoding.EncodeToString([]byte(keys[i])) {
			t.Errorf("enrolment %d brought the key %q", i, got)
		}
	}
	iot := y.newPost(4713, true).asUser()
	iot.must()
	path = "/ws/v1/esims/inventory/" + string(iot.eid) + "/packages"
	p = iot
	id := order()
	var a map[string]any
	y.askAsUser(t, http.MethodGet, path+"/"+id, "", &a)
	if _, there := a["agent_key"]; there || a["witness"] != "eUICC" {
		t.Errorf("of an eUICC that signs itself: %v", a)
	}
}

// askAsUser asks the Remote Manager's door, and wants status 200.
func (p *process) askAsUser(t *testing.T, method, path, body string, into any) {
	t.Helper()
	p.askForStatus(t, method, path, body, http.StatusOK, into)
}

func (p *process) askForStatus(t *testing.T, method, path, body string, want int, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.credentials.BaseURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(p.credentials.RMUser, p.credentials.RMPassword)
	q, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Body.Close()
	content, err := io.ReadAll(q.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil || q.StatusCode != want {
		t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, q.StatusCode, want, content)
	}
}
