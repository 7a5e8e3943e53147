// Package coreapi is the door of what the vendor's core API of 2010 has about
// accounts: subaccounts, their suspension, API keys. Nothing else of that API is
// here.
//
// An account acts on itself and on its subaccounts, with its auth token alone: API
// keys are for resources.
package coreapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"godwit/account"
	"godwit/callback"
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

const (
	beginning = "/2010-04-01/"
	root      = "/2010-04-01/Accounts"
)

// Paths reports whether a path belongs to this door.
func Paths(path string) bool { return strings.HasPrefix(path, beginning) }

// New returns the handler of those paths.
func New(o Options) *web.Door {
	d := &door{db: o.DB, accounts: o.Accounts}
	return &web.Door{
		Routes: web.Routes{
			{Path: root, Methods: map[string]web.Handler{http.MethodGet: d.list, http.MethodPost: d.create}},
			{Path: root + "/{sid}", Methods: map[string]web.Handler{http.MethodGet: d.fetch, http.MethodPost: d.update}},
			{Path: root + "/{sid}/Keys", ShownOnce: true, Methods: map[string]web.Handler{http.MethodGet: d.listKeys, http.MethodPost: d.createKey}},
			{Path: root + "/{sid}/Keys/{key}", Methods: map[string]web.Handler{http.MethodGet: d.fetchKey, http.MethodPost: d.renameKey, http.MethodDelete: d.deleteKey}},
		},
		Authenticate: func(r *http.Request) (account.Caller, error) {
			user, password, ok := r.BasicAuth()
			if !ok {
				return account.Caller{}, fault.New(fault.Unauthorized, "Authentication Error - no credentials: send AccountSid and AuthToken with HTTP Basic")
			}
			c, err := d.accounts.Verify(r.Context(), user, password)
			if err == nil && c.Key != "" {
				err = fault.New(fault.Forbidden, "an API key cannot manage accounts and keys: use AccountSid and AuthToken")
			}
			return c, err
		},
		Render: render, Address: o.Address, Rates: o.Rates, Once: o.Once,
	}
}

// codes are the codes of that API's refusals.
var codes = map[fault.Kind]int{
	fault.Internal:     20500,
	fault.Invalid:      20001,
	fault.Unauthorized: 20003,
	fault.Forbidden:    20003,
	fault.NotFound:     20404,
	fault.Conflict:     20409,
	fault.TooMany:      20429,
	fault.Unavailable:  20503,
}

func render(w http.ResponseWriter, _ *web.Request, refusal *fault.Error, _ []*fault.Error) {
	status, code := web.Status(refusal), codes[refusal.Kind]
	if refusal.Code == web.MethodNotAllowed {
		code = refusal.Code
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Accounts API"`)
	}
	_ = web.WriteJSON(w, status, map[string]any{
		"status": status, "code": code, "message": refusal.Error(), "more_info": "https://www.twilio.com/docs/errors/" + strconv.Itoa(code),
	})
}

// account returns the account in the path: the caller's own or a child of it.
func (d *door) account(ctx context.Context, q db.Query, r *web.Request) (account.Account, error) {
	a, err := d.accounts.Get(ctx, q, r.Param("sid"))
	if fault.Is(err, fault.NotFound) || err == nil && a.SID != r.Caller.Account && a.Parent != r.Caller.Account {
		return account.Account{}, web.NotFound(r)
	}
	return a, err
}

// date is a time as that API writes it, RFC 2822.
func date(t time.Time) string { return t.UTC().Format(time.RFC1123Z) }

// An accountJSON is an account as the API shows it.
type accountJSON struct {
	SID         string            `json:"sid"`
	Owner       string            `json:"owner_account_sid"`
	Name        string            `json:"friendly_name"`
	Status      string            `json:"status"`
	Type        string            `json:"type"`
	AuthToken   string            `json:"auth_token"`
	Dialect     string            `json:"callback_dialect"` // ours
	DateCreated string            `json:"date_created"`
	DateUpdated string            `json:"date_updated"`
	URI         string            `json:"uri"`
	Sub         map[string]string `json:"subresource_uris"`
}

// show reads what belongs to an account, too.
func (d *door) show(ctx context.Context, q db.Query, a account.Account) (accountJSON, error) {
	token, err := d.accounts.Token(ctx, q, a.SID)
	if err != nil {
		return accountJSON{}, err
	}
	dialect, err := d.accounts.Dialect(ctx, q, a.SID)
	if err != nil {
		return accountJSON{}, err
	}
	owner := a.Parent
	if owner == "" {
		owner = a.SID
	}
	return accountJSON{
		SID: a.SID, Owner: owner, Name: a.Name, Status: string(a.Status), Type: "Full", AuthToken: string(token), Dialect: string(dialect),
		DateCreated: date(a.CreatedAt), DateUpdated: date(a.UpdatedAt),
		URI: root + "/" + a.SID + ".json", Sub: map[string]string{"keys": root + "/" + a.SID + "/Keys.json"},
	}, nil
}

func (d *door) answer(w http.ResponseWriter, r *web.Request, status int, a account.Account) error {
	var out accountJSON
	if err := d.db.Read(r.Context(), func(q db.Query) (err error) {
		out, err = d.show(r.Context(), q, a)
		return err
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, status, out)
}

// readPage reads which page is asked for: how many items to pass over, and how
// many to read, one more than are shown.
func readPage(f *web.Form) (p web.Page, offset, limit int) {
	p = f.Page(1000)
	return p, p.Number * p.Size, p.Size + 1
}

// page writes a list in that API's envelope. found are the items of the page and
// perhaps one more, which says that more follow.
func page[T any](w http.ResponseWriter, r *web.Request, key string, p web.Page, found []T) error {
	link := func(number int) string {
		q := r.URL.Query()
		q.Set("Page", strconv.Itoa(number))
		q.Set("PageSize", strconv.Itoa(p.Size))
		return r.URL.EscapedPath() + "?" + q.Encode()
	}
	shown := found[:min(p.Size, len(found))]
	from := p.Number * p.Size
	out := map[string]any{
		key: append([]T{}, shown...), "page": p.Number, "page_size": p.Size, "start": from, "end": max(from, from+len(shown)-1),
		"uri": link(p.Number), "first_page_uri": link(0), "next_page_uri": nil, "previous_page_uri": nil,
	}
	if len(found) > len(shown) {
		out["next_page_uri"] = link(p.Number + 1)
	}
	if p.Number > 0 {
		out["previous_page_uri"] = link(p.Number - 1)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

func (d *door) list(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	filter := account.Filter{Name: f.String("FriendlyName"), Status: account.Status(f.OneOf("Status", "active", "suspended", "closed"))}
	p, offset, limit := readPage(f)
	if err := f.Err(); err != nil {
		return err
	}
	var out []accountJSON
	if err := d.db.Read(r.Context(), func(q db.Query) error {
		found, err := d.accounts.Family(r.Context(), q, r.Caller.Account, filter, offset, limit)
		out = make([]accountJSON, len(found))
		for i := range found {
			if err == nil {
				out[i], err = d.show(r.Context(), q, found[i])
			}
		}
		return err
	}); err != nil {
		return err
	}
	return page(w, r, "accounts", p, out)
}

func (d *door) create(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	name := f.Text("FriendlyName", 64)
	dialect := f.OneOf("CallbackDialect", string(callback.Twilio), string(callback.KORE))
	if err := f.Err(); err != nil {
		return err
	}
	if name == "" {
		name = "SubAccount created at " + time.Now().UTC().Format("2006-01-02 15:04 pm")
	}
	var made account.Account
	if err := d.db.Write(r.Context(), func(tx *db.Tx) (err error) {
		if made, _, err = d.accounts.Create(r.Context(), tx, r.Caller.Account, name); err != nil || dialect == "" {
			return err
		}
		return d.accounts.SetDialect(r.Context(), tx, made.SID, callback.Dialect(dialect))
	}); err != nil {
		return err
	}
	return d.answer(w, r, http.StatusCreated, made)
}

func (d *door) fetch(w http.ResponseWriter, r *web.Request) error {
	var a account.Account
	if err := d.db.Read(r.Context(), func(q db.Query) (err error) {
		a, err = d.account(r.Context(), q, r)
		return err
	}); err != nil {
		return err
	}
	return d.answer(w, r, http.StatusOK, a)
}

func (d *door) update(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	name := f.Text("FriendlyName", 64)
	status := account.Status(f.OneOf("Status", "active", "suspended", "closed"))
	dialect := f.OneOf("CallbackDialect", string(callback.Twilio), string(callback.KORE))
	if err := f.Err(); err != nil {
		return err
	}
	var a account.Account
	if err := d.db.Write(r.Context(), func(tx *db.Tx) (err error) {
		if a, err = d.account(r.Context(), tx, r); err != nil {
			return err
		}
		if status != "" && status != a.Status {
			if a.SID == r.Caller.Account {
				return fault.New(fault.Forbidden, "an account cannot change its own status: its parent or the operator does")
			}
			if err := d.accounts.SetStatus(r.Context(), tx, a.SID, status); err != nil {
				return err
			}
		}
		if name != "" {
			if err := d.accounts.Rename(r.Context(), tx, a.SID, name); err != nil {
				return err
			}
		}
		if dialect != "" {
			if err := d.accounts.SetDialect(r.Context(), tx, a.SID, callback.Dialect(dialect)); err != nil {
				return err
			}
		}
		a, err = d.accounts.Get(r.Context(), tx, a.SID)
		return err
	}); err != nil {
		return err
	}
	return d.answer(w, r, http.StatusOK, a)
}

// A keyJSON is an API key as the API shows it.
type keyJSON struct {
	SID         string `json:"sid"`
	Name        string `json:"friendly_name"`
	Secret      string `json:"secret,omitempty"` // when it is made, and never again
	DateCreated string `json:"date_created"`
	DateUpdated string `json:"date_updated"`
}

func showKey(k account.Key, secret string) keyJSON {
	return keyJSON{SID: k.SID, Name: k.Name, Secret: secret, DateCreated: date(k.CreatedAt), DateUpdated: date(k.UpdatedAt)}
}

func (d *door) listKeys(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, offset, limit := readPage(f)
	if err := f.Err(); err != nil {
		return err
	}
	var out []keyJSON
	if err := d.db.Read(r.Context(), func(q db.Query) error {
		a, err := d.account(r.Context(), q, r)
		if err != nil {
			return err
		}
		found, err := d.accounts.Keys(r.Context(), q, a.SID, offset, limit)
		out = make([]keyJSON, len(found))
		for i, k := range found {
			out[i] = showKey(k, "")
		}
		return err
	}); err != nil {
		return err
	}
	return page(w, r, "keys", p, out)
}

func (d *door) createKey(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	name := f.Text("FriendlyName", 64)
	if err := f.Err(); err != nil {
		return err
	}
	var k account.Key
	var secret string
	if err := d.db.Write(r.Context(), func(tx *db.Tx) error {
		a, err := d.account(r.Context(), tx, r)
		if err != nil {
			return err
		}
		k, secret, err = d.accounts.CreateKey(r.Context(), tx, a.SID, name)
		return err
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showKey(k, secret))
}

func (d *door) fetchKey(w http.ResponseWriter, r *web.Request) error {
	var k account.Key
	err := d.db.Read(r.Context(), func(q db.Query) error {
		a, err := d.account(r.Context(), q, r)
		if err != nil {
			return err
		}
		k, err = d.accounts.Key(r.Context(), q, a.SID, r.Param("key"))
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return web.NotFound(r)
	}
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, showKey(k, ""))
}

func (d *door) renameKey(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	name := f.Text("FriendlyName", 64)
	if err := f.Err(); err != nil {
		return err
	}
	if name != "" { // as with accounts: what is not given stays
		if err := d.db.Write(r.Context(), func(tx *db.Tx) error {
			a, err := d.account(r.Context(), tx, r)
			if err != nil {
				return err
			}
			return d.accounts.RenameKey(r.Context(), tx, a.SID, r.Param("key"), name)
		}); err != nil {
			return err
		}
	}
	return d.fetchKey(w, r)
}

func (d *door) deleteKey(w http.ResponseWriter, r *web.Request) error {
	if err := d.db.Write(r.Context(), func(tx *db.Tx) error {
		a, err := d.account(r.Context(), tx, r)
		if err != nil {
			return err
		}
		return d.accounts.DeleteKey(r.Context(), tx, a.SID, r.Param("key"))
	}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
