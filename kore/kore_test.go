package kore_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"godwit/account"
	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
	"godwit/kore"
)

// A house is the door with what stands behind it, and a clock.
type house struct {
	t        *testing.T
	db       *db.DB
	accounts *account.Store
	server   *httptest.Server
	now      time.Time
	main     account.Account
	token    string // its auth token
	id       string // its API client
	secret   string
}

func newHouse(t *testing.T, d *db.DB) *house {
	h := &house{t: t, db: d, accounts: account.New(d, event.New(d)), now: time.Now().Truncate(time.Second)}
	h.accounts.Now = func() time.Time { return h.now }
	h.write(func(tx *db.Tx) (err error) {
		if h.main, h.token, err = h.accounts.Create(t.Context(), tx, "", "main"); err != nil {
			return err
		}
		c, secret, err := h.accounts.CreateClient(t.Context(), tx, account.Client{Account: h.main.SID, Name: "first"}, true)
		h.id, h.secret = c.ID, secret
		return err
	})
	h.server = httptest.NewServer(kore.New(kore.Options{DB: d, Accounts: h.accounts}))
	t.Cleanup(h.server.Close)
	return h
}

func (h *house) write(fn func(tx *db.Tx) error) {
	h.t.Helper()
	if err := h.db.Write(h.t.Context(), fn); err != nil {
		h.t.Fatal(err)
	}
}

type answer map[string]any

// ask sends a body, as JSON unless it is a form, and demands a status.
func (h *house) ask(status int, method, path, authorization, body string) answer {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if !strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	got, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if got.StatusCode != status {
		h.t.Fatalf("%s %s: %d %s, want %d", method, path, got.StatusCode, text, status)
	}
	var a answer
	if len(text) > 0 {
		if err := json.Unmarshal(text, &a); err != nil {
			h.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return a
}

func (h *house) grant(id, secret string) string {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}.Encode()
}

// bearer gets a token for a client.
func (h *house) bearer(id, secret string) string {
	h.t.Helper()
	return "Bearer " + h.ask(200, "POST", "/api-services/v1/auth/token", "", h.grant(id, secret))["access_token"].(string)
}

// A token is checked here by nothing but the standard library: against the
// published keys, as another program would.
func TestToken(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		for _, path := range []string{"/api-services/v1/auth/token", "/oauth/token"} {
			got := h.ask(200, "POST", path, "", h.grant(h.id, h.secret))
			if got["expires_in"] != 3600.0 || got["token_type"] != "Bearer" || got["scope"] == "" {
				t.Errorf("answer %v", got)
			}
			claims := check(t, h.ask(200, "GET", "/.well-known/jwks.json", "", ""), got["access_token"].(string))
			if claims["exp"] != float64(h.now.Add(time.Hour).Unix()) || claims["client_id"] != h.id || claims["account_id"] != account.KoreID(h.main.SID) {
				t.Errorf("claims %v", claims)
			}
		}
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(h.id+":"+h.secret))
		h.ask(200, "POST", "/oauth/token", basic, "grant_type=client_credentials")
		h.ask(200, "OPTIONS", "/api-services/v1/auth/token", "", "")
		for _, tt := range []struct {
			name, body, want string
			status           int
		}{
			{"wrong secret", h.grant(h.id, "x"), "invalid_client", 401},
			{"unknown client", h.grant("apiclient_x", h.secret), "invalid_client", 401},
			{"no client", "grant_type=client_credentials", "invalid_client", 401},
			{"no grant", "client_id=x", "invalid_request", 400},
			{"another grant", "grant_type=password", "unsupported_grant_type", 400},
			{"JSON", `{"grant_type":"client_credentials"}`, "invalid_request", 400},
			{"a grant in other letters and signs", "grant_type=" + url.QueryEscape("\"пароль\\\n"), "unsupported_grant_type", 400},
			{"the grant twice", h.grant(h.id, h.secret) + "&grant_type=client_credentials", "invalid_request", 400},
			{"the client twice", h.grant(h.id, h.secret) + "&client_id=" + h.id, "invalid_request", 400},
		} {
			got := h.ask(tt.status, "POST", "/oauth/token", "", tt.body)
			if got["error"] != tt.want || got["message"] == "" {
				t.Errorf("%s: %v", tt.name, got)
			}
			// RFC 6749, 5.2, names the characters.
			if why := got["error_description"].(string); why == "" || strings.ContainsFunc(why, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
				t.Errorf("%s: error_description %q", tt.name, why)
			}
		}
		if got := h.ask(400, "POST", "/oauth/token", basic, "grant_type=client_credentials&client_id=another"); got["error"] != "invalid_request" {
			t.Errorf("another client in the form than in the header: %v", got)
		}
		h.ask(200, "POST", "/oauth/token", basic, "grant_type=client_credentials&client_id="+h.id)
		// Tokens are for nobody's cache (5.1).
		response, err := http.PostForm(h.server.URL+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {h.id}, "client_secret": {h.secret}})
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.Header.Get("Cache-Control") != "no-store" || response.Header.Get("Pragma") != "no-cache" {
			t.Errorf("headers %v", response.Header)
		}
	})
}

// check proves an ES256 signature and returns the claims.
func check(t *testing.T, set answer, token string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %s", token)
	}
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var head map[string]string
	if err := json.Unmarshal(decode(parts[0]), &head); err != nil || head["alg"] != "ES256" {
		t.Fatalf("head %v, %v", head, err)
	}
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature := decode(parts[2])
	for _, one := range set["keys"].([]any) {
		k := one.(map[string]any)
		if _, private := k["d"]; private {
			t.Fatal("the key set has a private key")
		}
		if k["kid"] != head["kid"] {
			continue
		}
		point := append(append([]byte{4}, decode(k["x"].(string))...), decode(k["y"].(string))...)
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			t.Fatal(err)
		}
		if len(signature) != 64 || !ecdsa.Verify(key, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			t.Fatal("the signature is wrong")
		}
		if err := json.Unmarshal(decode(parts[1]), &claims); err != nil {
			t.Fatal(err)
		}
		return claims
	}
	t.Fatalf("key %s is not in the set %v", head["kid"], set)
	return nil
}

// A token ends with its time, its own revocation, its client, its account and
// its account's parent; a changed one was never good.
func TestTokenEnds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		good := h.bearer(h.id, h.secret)
		h.ask(200, "GET", "/v1/clients", good, "")
		parts := strings.Split(strings.TrimPrefix(good, "Bearer "), ".")
		claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
		forged := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), `"godwit"`, `"Godwit"`, 1)))
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
		for name, token := range map[string]string{
			"changed": parts[0] + "." + forged + "." + parts[2], "without signature": none + "." + parts[1] + ".",
			"empty": "", "long": strings.Repeat("a", 5000), "no token": "abc",
		} {
			if got := h.ask(401, "GET", "/v1/clients", "Bearer "+token, ""); got["code"] != 20003.0 {
				t.Errorf("%s: %v", name, got)
			}
		}
		revoked := h.bearer(h.id, h.secret)
		h.ask(200, "GET", "/v1/clients", revoked, "")
		h.ask(200, "POST", "/oauth/revoke", "", "token="+strings.TrimPrefix(revoked, "Bearer ")+"&"+h.grant(h.id, h.secret))
		h.ask(200, "POST", "/oauth/revoke", "", "token=nonsense&"+h.grant(h.id, h.secret))
		h.ask(401, "GET", "/v1/clients", revoked, "")
		h.ask(200, "GET", "/v1/clients", good, "")
		h.now = h.now.Add(time.Hour)
		h.ask(401, "GET", "/v1/clients", good, "")

		child := h.ask(200, "POST", "/v1/accounts", h.bearer(h.id, h.secret), `{"friendly_name":"child","description":"x"}`)
		made := h.ask(201, "POST", "/v1/clients", h.bearer(h.id, h.secret),
			`{"name":"c","locked":false,"scopes":{"products":["SuperSIM"]},"account_id":"`+child["id"].(string)+`","lifetime":62208000}`)
		token := h.bearer(made["client_id"].(string), made["client_secret"].(string))
		h.now = h.now.Add(700 * 24 * time.Hour)
		h.ask(200, "GET", "/v1/clients", token, "")
		h.write(func(tx *db.Tx) error { return h.accounts.SetStatus(t.Context(), tx, h.main.SID, account.Suspended) })
		h.ask(401, "GET", "/v1/clients", token, "")
		h.ask(401, "POST", "/oauth/token", "", h.grant(made["client_id"].(string), made["client_secret"].(string)))
		h.write(func(tx *db.Tx) error { return h.accounts.SetStatus(t.Context(), tx, h.main.SID, account.Active) })
		h.ask(200, "GET", "/v1/clients", token, "")
		h.ask(204, "DELETE", "/v1/clients/"+made["client_id"].(string), h.bearer(h.id, h.secret), "")
		h.ask(401, "GET", "/v1/clients", token, "")
	})
}

func TestServices(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		auth := h.bearer(h.id, h.secret)
		child := h.ask(200, "POST", "/v1/accounts", auth, `{"friendly_name":"child"}`)
		if child["status"] != "ACTIVE" || child["parent_id"] != account.KoreID(h.main.SID) || !regexp.MustCompile(`^acct_[0-9a-z]{26}$`).MatchString(child["id"].(string)) {
			t.Errorf("child %v", child)
		}
		if got := h.ask(200, "GET", "/v1/accounts", auth, "")["accounts"].([]any); len(got) != 2 {
			t.Errorf("accounts %v", got)
		}
		sid := account.ParseKoreID(child["id"].(string))
		if got := h.ask(200, "GET", "/v1/platform_account_mappings?account_id="+child["id"].(string), auth, "")["platforms"].([]any); len(got) != 1 || got[0].(map[string]any)["legacy_account_id"] != sid {
			t.Errorf("mappings %v", got)
		}
		if s, err := h.accounts.Signing(t.Context(), sid); err != nil || s.Dialect != callback.KORE {
			t.Errorf("dialect of a child %v, %v", s.Dialect, err)
		}
		h.ask(404, "GET", "/v1/accounts?account_id="+account.KoreID(account.NewSID("AC")), auth, "")
		for _, body := range []string{
			`{"name":"x","locked":false}`, `{"locked":false,"scopes":{"products":["SuperSIM"]}}`, `{"name":"x","scopes":{"products":["SuperSIM"]}}`,
			`{"name":"x","locked":false,"scopes":{"products":["Other"]}}`, `{"name":"x","locked":false,"scopes":{"products":["SuperSIM"]},"more":1}`,
			`{"name":1}`, `{`, `{} {}`, `{"name":"x","locked":false,"scopes":{"products":["SuperSIM"]},"lifetime":5}`,
		} {
			if got := h.ask(400, "POST", "/v1/clients", auth, body); got["info"] != "https://docs.korewireless.com/errors/20001" {
				t.Errorf("%s: %v", body, got)
			}
		}
		made := h.ask(201, "POST", "/v1/clients", auth, `{"name":"x","locked":true,"scopes":{"products":["SuperSIM"]}}`)
		if !regexp.MustCompile(`^apiclient_[0-9a-z]{26}$`).MatchString(made["client_id"].(string)) || made["date_created"] != h.now.UTC().Format(time.RFC3339) || made["locked"] != true {
			t.Errorf("client %v", made)
		}
		h.ask(409, "DELETE", "/v1/clients/"+made["client_id"].(string), auth, "")
		one := h.ask(200, "GET", "/v1/clients/"+made["client_id"].(string), auth, "")["client"].(map[string]any)
		if _, shown := one["client_secret"]; shown || one["date_created"] != h.now.UTC().Format(http.TimeFormat) {
			t.Errorf("client %v", one)
		}
		h.ask(401, "GET", "/v1/clients", "", "")
		h.ask(404, "GET", "/v1/clients/apiclient_x", auth, "")

		// A new secret signs from then on.
		first := h.ask(201, "POST", "/v1/secrets", auth, `{"Name":"one"}`)
		second := h.ask(201, "POST", "/v1/secrets", auth, `{"Name":"two"}`)
		signs := func() string {
			s, err := h.accounts.Signing(context.Background(), h.main.SID)
			if err != nil {
				t.Fatal(err)
			}
			return string(s.Secret)
		}
		if signs() != second["secret"] {
			t.Error("the new secret does not sign")
		}
		h.ask(200, "PATCH", "/v1/secrets/"+first["id"].(string), auth, `{"Status":"active"}`)
		if signs() != first["secret"] {
			t.Error("the secret made active does not sign")
		}
		h.ask(200, "PATCH", "/v1/secrets/"+first["id"].(string), auth, `{"Name":"uno","Status":"pending"}`)
		if signs() != "" {
			t.Error("a pending secret signs")
		}
		h.ask(400, "PATCH", "/v1/secrets/"+first["id"].(string), auth, `{"Status":"other"}`)
		list := h.ask(200, "GET", "/v1/secrets?status=pending&page_size=10&page_number=1", auth, "")
		if got := list["data"].([]any); len(got) != 2 || list["meta_data"].(map[string]any)["count"] != 2.0 {
			t.Errorf("secrets %v", list)
		}
	})
}
