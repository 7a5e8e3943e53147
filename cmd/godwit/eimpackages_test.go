package main

import (
	"encoding/json"
	"io"
	"net/http"
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
		r, err := http.NewRequestWithContext(t.Context(), method, y.credentials.BaseURL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(y.credentials.RMUser, y.credentials.RMPassword)
		q, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Body.Close()
		content, err := io.ReadAll(q.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(content, &a); err != nil || q.StatusCode != want {
			t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, q.StatusCode, want, content)
		}
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
