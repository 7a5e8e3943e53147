// Package kore is the door of KORE's services around Super SIM: the token
// endpoint, API clients, accounts and their mapping, webhook secrets. Super SIM
// itself, in this dialect too, is in package supersim.
//
// KORE has a host for each service; their paths differ from each other and from
// those of Super SIM, so here all of them are at the same address.
package kore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"godwit/account"
	"godwit/db"
	"godwit/fault"
	"godwit/once"
	"godwit/web"
)

// Options are the choices of a door.
type Options struct {
	DB       *db.DB
	Accounts *account.Store
	Address  web.Address
	Rates    *web.Rates
	Once     *once.Keeper // see [web.Door]
}

type door struct {
	db       *db.DB
	accounts *account.Store
}

// services are the paths that this door serves, each with what follows it.
var services = []string{"/v1/clients", "/v1/ping", "/v1/accounts", "/v1/platform_account_mappings", "/v1/secrets"}

var tokenPaths = []string{"/api-services/v1/auth/token", "/oauth/token", "/oauth/revoke", "/.well-known/jwks.json"}

// Paths reports whether a path belongs to this door.
func Paths(path string) bool {
	if isToken(path) {
		return true
	}
	return slices.ContainsFunc(services, func(s string) bool {
		rest, ok := strings.CutPrefix(path, s)
		return ok && (rest == "" || rest[0] == '/')
	})
}

// isToken reports whether a path is one of the token endpoint's. One slash at
// the end is tolerated, as everywhere.
func isToken(path string) bool { return slices.Contains(tokenPaths, strings.TrimSuffix(path, "/")) }

// A Door is the handler of those paths.
type Door struct{ tokens, accounts, others *web.Door }

// New returns the door.
func New(o Options) *Door {
	d := &door{db: o.DB, accounts: o.Accounts}
	side := func(link string, routes web.Routes) *web.Door {
		return &web.Door{Routes: routes, Authenticate: d.authenticate, Render: render(link), Address: o.Address, Rates: o.Rates, Once: o.Once}
	}
	// What the link to the documentation is called differs.
	return &Door{
		tokens:   d.tokens(),
		accounts: side("more_info", d.accountRoutes()),
		others:   side("info", append(d.clientRoutes(), d.secretRoutes()...)),
	}
}

// Routes are all that the door serves.
func (d *Door) Routes() web.Routes {
	all := slices.Concat(d.tokens.Routes, d.accounts.Routes, d.others.Routes)
	for i := range all {
		if all[i].Path+".json" == tokenPaths[3] {
			all[i].Path = tokenPaths[3] // which its door has shortened
		}
	}
	return all
}

func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case isToken(path):
		d.tokens.ServeHTTP(w, r)
	case strings.HasPrefix(path, "/v1/accounts"), strings.HasPrefix(path, "/v1/platform_account_mappings"):
		d.accounts.ServeHTTP(w, r)
	default:
		d.others.ServeHTTP(w, r)
	}
}

// authenticate takes an access token, and an account's own credentials too:
// with these the first API client is made.
func (d *door) authenticate(r *http.Request) (account.Caller, error) {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return d.accounts.VerifyToken(r.Context(), strings.TrimSpace(token))
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return account.Caller{}, fault.New(fault.Unauthorized, "Authenticate: send an access token as Authorization: Bearer")
	}
	return d.accounts.Verify(r.Context(), user, password)
}

const documentation = "https://docs.korewireless.com/errors/"

// render writes refusals in the shape of these services.
func render(link string) func(http.ResponseWriter, *web.Request, *fault.Error, []*fault.Error) {
	return func(w http.ResponseWriter, _ *web.Request, refusal *fault.Error, _ []*fault.Error) {
		status, code := statusOf(refusal)
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="Super SIM API"`)
		}
		_ = web.WriteJSON(w, status, map[string]any{
			"status": status, "code": code, "message": refusal.Error(), link: documentation + strconv.Itoa(code),
		})
	}
}

// codes are the codes of these services' refusals.
var codes = map[fault.Kind]int{
	fault.Internal:     20500,
	fault.Invalid:      20001,
	fault.Unauthorized: 20003,
	fault.Forbidden:    30010,
	fault.NotFound:     20404,
	fault.Conflict:     20409,
	fault.TooMany:      20429,
	fault.Unavailable:  20503,
}

func statusOf(f *fault.Error) (status, code int) {
	if f.Code == web.MethodNotAllowed {
		return web.Status(f), f.Code
	}
	return web.Status(f), codes[f.Kind]
}

// readJSON reads a request's body. Members that are not known are refused where
// the published document refuses them.
func readJSON(r *web.Request, into any, strict bool) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fault.New(fault.Invalid, "The request body must be JSON, with Content-Type application/json, not %q", r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read request body: %w", err)
	}
	switch text := bytes.TrimSpace(body); {
	case !utf8.Valid(body):
		return fault.New(fault.Invalid, "The request body is not text in UTF-8")
	case len(text) == 0:
		return fault.New(fault.Invalid, "The request body must be a JSON object; it is empty")
	case string(text) == "null": // which a decoder passes over
		return fault.New(fault.Invalid, "The request body must be a JSON object, not null")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(into); err != nil {
		if _, refused := fault.As(err); refused {
			return err
		}
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return wrongType(wrong)
		}
		return fault.New(fault.Invalid, "The request body is not the JSON object that is wanted: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "The request body is more than one JSON object")
	}
	return nil
}

// wrongType says in the words of JSON what a value should have been.
func wrongType(wrong *json.UnmarshalTypeError) error {
	want, is := "a string", "a "+wrong.Value
	switch wrong.Type.Kind() {
	case reflect.Struct:
		want = "an object"
	case reflect.Slice:
		want = "an array"
	case reflect.Int64:
		want = "a whole number"
	}
	if strings.ContainsRune("ao", rune(wrong.Value[0])) { // array, object
		is = "an " + wrong.Value
	}
	if wrong.Field == "" {
		return fault.New(fault.Invalid, "The request body must be a JSON object, not %s", is)
	}
	return fault.Field(wrong.Field, "must be %s, not %s", want, is)
}

// name checks a name that people give.
func name(field string, s *string) error {
	if s == nil || strings.TrimSpace(*s) == "" {
		return fault.Field(field, "is required")
	}
	if len([]rune(*s)) > 255 || strings.ContainsRune(*s, 0) {
		return fault.Field(field, "must be of at most 255 characters, none of them zero")
	}
	return nil
}

// A page of these services: page_size items; page_number counts from 1.
type page struct{ number, size int }

func (p page) offset() int { return (p.number - 1) * p.size }

func readPage(f *web.Form) page {
	return page{int(f.Int("page_number", 1, 1<<20, 1)), int(f.Int("page_size", 1, 1000, 50))}
}

// A meta is the object beside a list. Where there is no page before or after,
// the link is empty: the published documents know no null there.
type meta struct {
	Count    int    `json:"count"`
	Number   int    `json:"page_number"`
	Size     int    `json:"page_size"`
	Previous string `json:"previous_page_url"`
	Next     string `json:"next_page_url"`
}

func (p page) meta(r *web.Request, count int) meta {
	link := func(number int) string {
		q := r.URL.Query()
		q.Set("page_number", strconv.Itoa(number))
		q.Set("page_size", strconv.Itoa(p.size))
		return r.Base + r.URL.EscapedPath() + "?" + q.Encode()
	}
	m := meta{Count: count, Number: p.number, Size: p.size}
	if p.number > 1 {
		m.Previous = link(p.number - 1)
	}
	if p.offset()+p.size < count {
		m.Next = link(p.number + 1)
	}
	return m
}

// accountOf returns the SID of the account that a request names, the caller's
// own for none: itself or one of its children.
func (d *door) accountOf(ctx context.Context, q db.Query, r *web.Request, field, id string) (account.Account, error) {
	sid := r.Caller.Account
	if id != "" {
		if sid = account.ParseKoreID(id); sid == "" {
			return account.Account{}, fault.Field(field, "%.60q is no account: acct_ and 26 letters and digits", id)
		}
	}
	a, err := d.accounts.Get(ctx, q, sid)
	if fault.Is(err, fault.NotFound) || err == nil && sid != r.Caller.Account && a.Parent != r.Caller.Account {
		return account.Account{}, fault.New(fault.NotFound, "account %s was not found", id)
	}
	return a, err
}

// manages refuses API keys, which are for the resources of an account and not
// for the account.
func manages(r *web.Request) error {
	if r.Caller.Key != "" {
		return fault.New(fault.Forbidden, "an API key cannot manage accounts, clients and secrets: use an access token or the account's auth token")
	}
	return nil
}

// A tokenError is a refusal as RFC 6749, 5.2, has it, with the members that
// KORE's own errors have. Descriptions are of the characters that the RFC allows,
// messages are as everywhere.
type tokenError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Code        int    `json:"code"`
	Message     string `json:"message"`
}

// described takes out of a text what error_description must not hold: quotation
// marks, backslashes and all that is no visible ASCII.
func described(message string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"':
			return '\''
		case c == '\\', c < ' ', c > '~':
			return '?'
		}
		return c
	}, message)
}

// unkept has nobody keep an answer of the token endpoint (RFC 6749, 5.1).
func unkept(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
}

func (d *door) tokens() *web.Door {
	token := map[string]web.Handler{http.MethodPost: d.token, http.MethodOptions: func(w http.ResponseWriter, _ *web.Request) error {
		w.Header().Set("Allow", "OPTIONS, POST")
		w.WriteHeader(http.StatusOK)
		return nil
	}}
	return &web.Door{
		Routes: web.Routes{
			{Path: tokenPaths[0], Methods: token},
			{Path: tokenPaths[1], Methods: token},
			{Path: tokenPaths[2], Methods: map[string]web.Handler{http.MethodPost: d.revoke}},
			// Routes leave out a ".json" at the end.
			{Path: strings.TrimSuffix(tokenPaths[3], ".json"), Methods: map[string]web.Handler{http.MethodGet: d.keySet}},
		},
		Authenticate: func(*http.Request) (account.Caller, error) { return account.Caller{}, nil },
		Render: func(w http.ResponseWriter, r *web.Request, refusal *fault.Error, _ []*fault.Error) {
			status, code := statusOf(refusal)
			e := tokenError{Error: "invalid_request", Description: described(refusal.Error()), Code: code, Message: refusal.Error()}
			switch {
			case status == http.StatusUnauthorized:
				e.Error = "invalid_client"
				if _, _, basic := r.BasicAuth(); basic {
					w.Header().Set("WWW-Authenticate", `Basic realm="Super SIM API"`)
				}
			case refusal.Field == "grant_type" && refusal.Code == unsupported:
				e.Error, e.Code = "unsupported_grant_type", 20001
			case status >= 500:
				e.Error = "server_error"
			}
			unkept(w)
			_ = web.WriteJSON(w, status, e)
		},
	}
}

// unsupported marks the refusal of a grant.
const unsupported = -1

// client proves an API client: by members of the form, or by HTTP Basic, whose
// parts are form-encoded (RFC 6749, 2.3.1).
func (d *door) client(r *web.Request, f *web.Form) (account.Client, error) {
	id, secret := f.Single("client_id"), f.Single("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		if secret != "" {
			return account.Client{}, fault.New(fault.Invalid, "the client proves itself twice: in the form and by HTTP Basic")
		}
		inForm := id
		var err, err2 error
		id, err = url.QueryUnescape(user)
		secret, err2 = url.QueryUnescape(password)
		if errors.Join(err, err2) != nil {
			return account.Client{}, fault.New(fault.Invalid, "client_id and client_secret must be form-encoded within HTTP Basic")
		}
		if inForm != "" && inForm != id {
			return account.Client{}, fault.Field("client_id", "is another one in the form than in HTTP Basic")
		}
	}
	if err := f.Err(); err != nil {
		return account.Client{}, err
	}
	if strings.ContainsRune(id, 0) {
		id = ""
	}
	return d.accounts.VerifyClient(r.Context(), strings.ToValidUTF8(id, ""), secret)
}

func (d *door) token(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	switch grant := f.Single("grant_type"); grant {
	case "client_credentials":
	case "":
		f.Refuse(fault.Missing("grant_type"))
		return f.Err()
	default:
		return &fault.Error{Kind: fault.Invalid, Code: unsupported, Field: "grant_type", Message: fmt.Sprintf("must be client_credentials, not %.40q", grant)}
	}
	c, err := d.client(r, f)
	if err != nil {
		return err
	}
	t, err := d.accounts.Issue(r.Context(), c)
	if err != nil {
		return err
	}
	unkept(w)
	return web.WriteJSON(w, http.StatusOK, map[string]any{
		"access_token": t.Text, "expires_in": int64(t.Expires / time.Second), "token_type": "Bearer", "scope": t.Scope,
	})
}

// revoke is RFC 7009: a text that is no token of the client is no error.
func (d *door) revoke(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	text := f.Single("token")
	if text == "" {
		f.Refuse(fault.Missing("token"))
	}
	c, err := d.client(r, f)
	if err != nil {
		return err
	}
	if err := d.accounts.Revoke(r.Context(), c, text); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (d *door) keySet(w http.ResponseWriter, r *web.Request) error {
	set, err := d.accounts.KeySet(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, json.RawMessage(set))
}
