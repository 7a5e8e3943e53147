package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
)

// TestRepeatedBesideTheAPI repeats what makes accounts, keys, clients and secrets
// under one key: each is made once, its secret lies sealed in the database, and an
// API key does not hear what its account was answered.
func TestRepeatedBesideTheAPI(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, database string) {
		p := startServer(t, databaseFlag(database))
		type answer struct {
			status   int
			replayed bool
			body     string
		}
		user, password := p.credentials.AccountSID, p.credentials.AuthToken
		ask := func(key []string, path, kind, body string) answer {
			t.Helper()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.credentials.BaseURL+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			request.SetBasicAuth(user, password)
			request.Header.Set("Content-Type", kind)
			request.Header["Idempotency-Key"] = key
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			return answer{response.StatusCode, response.Header.Get("Idempotency-Replayed") == "true", readAll(t, response)}
		}
		const form, object = "application/x-www-form-urlencoded", "application/json"
		requests := []struct {
			path, kind, body string
			made, lost       int // status of the answer, and where that was lost
			secret           string
		}{
			{"/2010-04-01/Accounts.json", form, "FriendlyName=child", 201, 201, "auth_token"},
			{"/2010-04-01/Accounts/" + user + "/Keys.json", form, "FriendlyName=k", 201, 409, "secret"},
			{"/v1/accounts", object, `{"friendly_name":"child"}`, 200, 409, ""},
			{"/v1/clients", object, `{"name":"c","locked":false,"scopes":{"products":["SuperSIM"]}}`, 201, 409, "client_secret"},
			{"/v1/secrets", object, `{"Name":"s"}`, 201, 409, "secret"},
			{"/v1/Callbacks/Settings", form, "RotateSigningSecret=true", 200, 409, "signing_secret"},
		}
		first := make([]answer, len(requests))
		var secrets []string
		var key struct{ SID, Secret string }
		for i, r := range requests {
			first[i] = ask([]string{r.path}, r.path, r.kind, r.body)
			again := ask([]string{r.path}, r.path, r.kind, r.body)
			if first[i].status != r.made || first[i].replayed || again.status != r.made || !again.replayed || again.body != first[i].body {
				t.Errorf("%s: %+v, and again %+v", r.path, first[i], again)
			}
			var members map[string]any
			if err := json.Unmarshal([]byte(first[i].body), &members); err != nil {
				t.Fatal(err)
			}
			if r.secret != "" {
				secrets = append(secrets, members[r.secret].(string))
			}
			if strings.HasSuffix(r.path, "Keys.json") {
				if err := json.Unmarshal([]byte(first[i].body), &key); err != nil {
					t.Fatal(err)
				}
			}
		}
		var found struct{ Accounts []struct{} }
		if p.call("/2010-04-01/Accounts.json?FriendlyName=child", nil, &found); len(found.Accounts) != 2 {
			t.Errorf("%d accounts of that name, one of each API is wanted", len(found.Accounts))
		}
		if got := ask([]string{""}, requests[0].path, form, requests[0].body); got.status != http.StatusBadRequest || !strings.Contains(got.body, "Idempotency-Key") {
			t.Errorf("an empty key: %+v", got)
		}

		last := requests[len(requests)-1]
		user, password = key.SID, key.Secret
		if got := ask([]string{last.path}, last.path, form, last.body); got.status == http.StatusOK || strings.Contains(got.body, "whsec_") {
			t.Errorf("an API key repeats what it may not ask: %+v", got)
		}
		user, password = p.credentials.AccountSID, p.credentials.AuthToken

		p.kill()
		d := p.database(dataFlags{})
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			bodies, err := db.All(t.Context(), tx, func(row db.Row) (body []byte, err error) { return body, row.Scan(&body) }, `select body from request_once`)
			for _, b := range bodies {
				for _, s := range secrets {
					if strings.Contains(string(b), s) {
						t.Errorf("a secret lies in the database as it is: %s", b)
					}
				}
			}
			if err == nil {
				_, err = tx.ExecContext(t.Context(), `update request_once set status = 0, content_type = '', body = null`)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		p.start()
		for _, r := range requests {
			// What was lost with a secret in it is not answered without.
			if got := ask([]string{r.path}, r.path, r.kind, r.body); got.status != r.lost {
				t.Errorf("%s, its answer lost: %+v, want %d", r.path, got, r.lost)
			}
		}
	})
}
