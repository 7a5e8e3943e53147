package supersim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"godwit/account"
	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/supersim"
)

// Who comes with an access token meets the same API in KORE's dialect, and the
// record of callbacks.
func TestAccessToken(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d, "")
		calls := callback.New(d, callback.Options{Signing: h.accounts.Signing, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		var sid string
		var c, other account.Client
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			var err error
			if c, _, err = h.accounts.CreateClient(t.Context(), tx, account.Client{Account: h.account, Name: "c"}, false); err != nil {
				return err
			}
			elsewhere := account.Client{Account: h.account, Name: "o", Products: []string{"ProgrammableWireless"}}
			if other, _, err = h.accounts.CreateClient(t.Context(), tx, elsewhere, false); err != nil {
				return err
			}
			sid, err = calls.Send(t.Context(), tx, callback.Callback{Account: h.account, Subject: "HP1", URL: h.calls.server.URL})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		token, err := h.accounts.Issue(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(supersim.New(h.store, supersim.Options{
			Authenticate: h.accounts.Verify, VerifyToken: h.accounts.VerifyToken, Callbacks: calls, Accounts: h.accounts,
		}))
		defer server.Close()
		ask := func(status int, method, path, authorization string, form url.Values) (map[string]any, http.Header) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Authorization", authorization)
			got, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			body, err := io.ReadAll(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			var out map[string]any
			if err := json.Unmarshal(body, &out); err != nil || got.StatusCode != status {
				t.Fatalf("%s %s: %d %s, %v; want %d", method, path, got.StatusCode, body, err, status)
			}
			return out, got.Header
		}
		auth := "Bearer " + token.Text
		if got, _ := ask(404, "GET", "/v1/Sims/HS1", auth, nil); got["more_info"] != "https://docs.korewireless.com/errors/20404" {
			t.Errorf("refusal %v", got)
		}
		got, head := ask(401, "GET", "/v1/Sims", auth+"x", nil)
		if got["code"] != 20003.0 || !strings.HasPrefix(head.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("refusal %v, %v", got, head)
		}
		elsewhere, err := h.accounts.Issue(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // read, and remembered
			got, _ = ask(403, "GET", "/v1/Sims", "Bearer "+elsewhere.Text, nil)
			if got["code"] != 20003.0 || !strings.Contains(got["message"].(string), "scopes") || got["more_info"] != "https://docs.korewireless.com/errors/20003" {
				t.Errorf("a token for another product: %v", got)
			}
		}
		made, _ := ask(201, "POST", "/v1/ESimProfiles", auth, url.Values{"GenerateMatchingId": {"true"}})
		if made["account_sid"] != h.account {
			t.Errorf("reservation %v", made)
		}

		list, _ := ask(200, "GET", "/v1/Callbacks?SubjectSid=HP1", auth, nil)
		if got := list["callbacks"].([]any); len(got) != 1 || got[0].(map[string]any)["sid"] != sid {
			t.Errorf("callbacks %v", list)
		}
		ask(200, "GET", "/v1/Callbacks/"+sid, auth, nil)
		ask(202, "POST", "/v1/Callbacks/"+sid+"/Redeliveries", auth, nil)
		ask(404, "POST", "/v1/Callbacks/CB0/Redeliveries", auth, nil)
		ask(400, "POST", "/v1/Callbacks/Redeliveries", auth, nil)
		again, _ := ask(202, "POST", "/v1/Callbacks/Redeliveries", auth, url.Values{"StartTime": {"2020-01-01T00:00:00Z"}})
		if again["more"] != false {
			t.Errorf("redelivered %v", again)
		}
		ask(200, "GET", "/v1/Callbacks/Endpoints", auth, nil)
		ask(404, "POST", "/v1/Callbacks/Endpoints", auth, url.Values{"Endpoint": {"https://h"}, "Status": {"active"}})
		ask(400, "POST", "/v1/Callbacks/Settings", auth, url.Values{"Dialect": {"other"}})
		before, _ := ask(200, "GET", "/v1/Callbacks/Settings", auth, nil)
		after, _ := ask(200, "POST", "/v1/Callbacks/Settings", auth, url.Values{"Dialect": {"kore"}, "RotateSigningSecret": {"true"}})
		if before["dialect"] != "twilio" || after["dialect"] != "kore" || before["signing_secret"] == after["signing_secret"] || !strings.HasPrefix(after["signing_secret"].(string), "whsec_") {
			t.Errorf("settings %v, then %v", before, after)
		}
	})
}
