package kore

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"godwit/account"
	"godwit/callback"
	"godwit/db"
	"godwit/fault"
	"godwit/web"
)

func (d *door) clientRoutes() web.Routes {
	return web.Routes{
		{Path: "/v1/ping", Methods: map[string]web.Handler{http.MethodGet: func(w http.ResponseWriter, _ *web.Request) error {
			return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
		}}},
		{Path: "/v1/clients", ShownOnce: true, Methods: map[string]web.Handler{http.MethodGet: d.listClients, http.MethodPost: d.createClient}},
		{Path: "/v1/clients/{id}", Methods: map[string]web.Handler{http.MethodGet: d.fetchClient, http.MethodDelete: d.deleteClient}},
	}
}

// A clientJSON is a client as the service shows it.
type clientJSON struct {
	ID          string `json:"client_id"`
	Account     string `json:"account_id"`
	Name        string `json:"name"`
	Owner       string `json:"client_owner"`
	Type        string `json:"client_type"`
	Locked      bool   `json:"locked"`
	DateCreated string `json:"date_created"`
}

// A locked is the member of that name, which must be there and may be null.
type locked struct {
	given bool
	value *bool
}

func (l *locked) UnmarshalJSON(text []byte) error {
	l.given = true
	if json.Unmarshal(text, &l.value) != nil {
		return fault.Field("locked", "must be true, false or null, not %.40s", text)
	}
	return nil
}

// Every client here is a standard one.
const standardClient = "standard"

func showClient(c account.Client) clientJSON {
	return clientJSON{
		ID: c.ID, Account: account.KoreID(c.Account), Name: c.Name, Owner: c.Owner, Type: standardClient,
		Locked:      c.Locked != nil && *c.Locked,
		DateCreated: c.CreatedAt.UTC().Format(http.TimeFormat),
	}
}

func (d *door) listClients(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, kind := readPage(f), f.OneOf("client_type", "admin", standardClient)
	if err := f.Err(); err != nil {
		return err
	}
	var list []account.Client
	var count int
	if kind != "admin" {
		if err := d.db.Read(r.Context(), func(q db.Query) error {
			list, count, err = d.accounts.Clients(r.Context(), q, r.Caller.Account, p.offset(), p.size)
			return err
		}); err != nil {
			return err
		}
	}
	clients := make([]clientJSON, len(list))
	for i, c := range list {
		clients[i] = showClient(c)
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"meta": p.meta(r, count), "clients": clients})
}

func (d *door) createClient(w http.ResponseWriter, r *web.Request) error {
	if err := manages(r); err != nil {
		return err
	}
	var in struct {
		Account string  `json:"account_id"`
		Name    *string `json:"name"`
		Locked  locked  `json:"locked"`
		Scopes  *struct {
			Products []string `json:"products"`
		} `json:"scopes"`
		Owner    string `json:"client_owner"` // ours: the service knows who asks
		Lifetime int64  `json:"lifetime"`     // ours: there it is chosen in the console
	}
	if err := readJSON(r, &in, true); err != nil {
		return err
	}
	if err := name("name", in.Name); err != nil {
		return err
	}
	switch {
	case !in.Locked.given:
		return fault.Field("locked", "is required: true, false or null")
	case in.Scopes == nil || len(in.Scopes.Products) == 0:
		return fault.Field("scopes", "is required: its products are some of SuperSIM and ProgrammableWireless")
	case len(in.Owner) > 255 || strings.ContainsRune(in.Owner, 0):
		return fault.Field("client_owner", "must be of at most 255 characters, none of them zero")
	case in.Lifetime < 0 || in.Lifetime > 1<<30:
		return fault.Field("lifetime", "must be one of 3600, 86400, 2592000 and 62208000 seconds, not %d", in.Lifetime)
	}
	var made account.Client
	var secret string
	if err := d.db.Write(r.Context(), func(tx *db.Tx) error {
		a, err := d.accountOf(r.Context(), tx, r, "account_id", in.Account)
		if err != nil {
			return err
		}
		made, secret, err = d.accounts.CreateClient(r.Context(), tx, account.Client{
			Account: a.SID, Name: *in.Name, Owner: in.Owner, Products: in.Scopes.Products, Locked: in.Locked.value,
			Lifetime: time.Duration(in.Lifetime) * time.Second,
		}, false)
		return err
	}); err != nil {
		return err
	}
	shown := showClient(made)
	shown.DateCreated = date(made.CreatedAt) // the document has another form here than for a client that is read
	return web.WriteJSON(w, http.StatusCreated, struct {
		Message string `json:"message"`
		Secret  string `json:"client_secret"`
		clientJSON
	}{"The client was created. Keep its secret: it is not shown again.", secret, shown})
}

func (d *door) fetchClient(w http.ResponseWriter, r *web.Request) error {
	var c account.Client
	if err := d.db.Read(r.Context(), func(q db.Query) (err error) {
		c, err = d.accounts.Client(r.Context(), q, r.Caller.Account, r.Param("id"))
		return err
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"client": showClient(c)})
}

// deleteClient is ours: the service withdraws clients in its console only.
func (d *door) deleteClient(w http.ResponseWriter, r *web.Request) error {
	if err := manages(r); err != nil {
		return err
	}
	if err := d.db.Write(r.Context(), func(tx *db.Tx) error {
		return d.accounts.DeleteClient(r.Context(), tx, r.Caller.Account, r.Param("id"))
	}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *door) accountRoutes() web.Routes {
	return web.Routes{
		{Path: "/v1/accounts", Methods: map[string]web.Handler{http.MethodGet: d.listAccounts, http.MethodPost: d.createAccount}},
		{Path: "/v1/platform_account_mappings", Methods: map[string]web.Handler{http.MethodGet: d.mappings}},
	}
}

// An accountJSON is an account as the service shows it.
type accountJSON struct {
	ID          string `json:"id"`
	Parent      string `json:"parent_id"` // empty without one: the document knows no null there
	DateCreated string `json:"date_created"`
	Name        string `json:"friendly_name"`
	Status      string `json:"status"`
}

var statusWords = map[account.Status]string{account.Active: "ACTIVE", account.Suspended: "SUSPENDED", account.Closed: "DEACTIVATED"}

func showAccount(a account.Account) accountJSON {
	out := accountJSON{ID: account.KoreID(a.SID), DateCreated: date(a.CreatedAt), Name: a.Name, Status: statusWords[a.Status]}
	if a.Parent != "" {
		out.Parent = account.KoreID(a.Parent)
	}
	return out
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// mostAccounts is how many accounts one answer lists: the service has no pages
// there.
const mostAccounts = 10_000

// family returns the accounts that a request asks for: the one it names, or the
// caller's own and its children.
func (d *door) family(r *web.Request) (list []account.Account, err error) {
	f, err := web.QueryForm(r)
	if err != nil {
		return nil, err
	}
	id := f.String("account_id")
	if err := f.Err(); err != nil {
		return nil, err
	}
	err = d.db.Read(r.Context(), func(q db.Query) error {
		a, err := d.accountOf(r.Context(), q, r, "account_id", id)
		if err != nil {
			return err
		}
		if list = []account.Account{a}; id == "" {
			list, err = d.accounts.Family(r.Context(), q, a.SID, account.Filter{}, 0, mostAccounts)
		}
		return err
	})
	return list, err
}

func (d *door) listAccounts(w http.ResponseWriter, r *web.Request) error {
	list, err := d.family(r)
	if err != nil {
		return err
	}
	out := make([]accountJSON, len(list))
	for i, a := range list {
		out[i] = showAccount(a)
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"accounts": out})
}

// createAccount makes a child, which gets its callbacks in this dialect. The
// service answers 200 and not 201.
func (d *door) createAccount(w http.ResponseWriter, r *web.Request) error {
	if err := manages(r); err != nil {
		return err
	}
	var in struct {
		Name        *string `json:"friendly_name"`
		Description string  `json:"description"` // taken and never shown, as there
	}
	if err := readJSON(r, &in, false); err != nil {
		return err
	}
	if err := name("friendly_name", in.Name); err != nil {
		return err
	}
	var made account.Account
	if err := d.db.Write(r.Context(), func(tx *db.Tx) (err error) {
		if made, _, err = d.accounts.Create(r.Context(), tx, r.Caller.Account, *in.Name); err != nil {
			return err
		}
		return d.accounts.SetDialect(r.Context(), tx, made.SID, callback.KORE)
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, showAccount(made))
}

func (d *door) mappings(w http.ResponseWriter, r *web.Request) error {
	list, err := d.family(r)
	if err != nil {
		return err
	}
	out := make([]map[string]string, len(list))
	for i, a := range list {
		out[i] = map[string]string{"id": account.KoreID(a.SID), "legacy_account_id": a.SID, "platform": "twilio"}
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"platforms": out})
}

func (d *door) secretRoutes() web.Routes {
	return web.Routes{
		{Path: "/v1/secrets", ShownOnce: true, Methods: map[string]web.Handler{http.MethodGet: d.listSecrets, http.MethodPost: d.createSecret}},
		{Path: "/v1/secrets/{id}", Methods: map[string]web.Handler{http.MethodPatch: d.updateSecret}},
	}
}

// A secretJSON is a webhook secret as the service shows it.
type secretJSON struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Secret       string `json:"secret,omitempty"` // when it is made, and never again
	Status       string `json:"status"`
	LastModified string `json:"last_modified"`
}

func showSecret(s account.WebhookSecret, text string) secretJSON {
	return secretJSON{ID: s.ID, Name: s.Name, Secret: text, Status: string(s.Status), LastModified: date(s.ModifiedAt)}
}

func (d *door) listSecrets(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, status := readPage(f), f.OneOf("status", string(account.SecretActive), string(account.SecretPending))
	if err := f.Err(); err != nil {
		return err
	}
	var list []account.WebhookSecret
	var count int
	if err := d.db.Read(r.Context(), func(q db.Query) error {
		list, count, err = d.accounts.Secrets(r.Context(), q, r.Caller.Account, account.SecretStatus(status), p.offset(), p.size)
		return err
	}); err != nil {
		return err
	}
	out := make([]secretJSON, len(list))
	for i, s := range list {
		out[i] = showSecret(s, "")
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"data": out, "meta_data": p.meta(r, count)})
}

func (d *door) createSecret(w http.ResponseWriter, r *web.Request) error {
	if err := manages(r); err != nil {
		return err
	}
	var in struct {
		Name *string `json:"Name"`
	}
	if err := readJSON(r, &in, false); err != nil {
		return err
	}
	if err := name("Name", in.Name); err != nil {
		return err
	}
	var made account.WebhookSecret
	var text string
	if err := d.db.Write(r.Context(), func(tx *db.Tx) (err error) {
		made, text, err = d.accounts.CreateSecret(r.Context(), tx, r.Caller.Account, *in.Name)
		return err
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showSecret(made, text))
}

func (d *door) updateSecret(w http.ResponseWriter, r *web.Request) error {
	if err := manages(r); err != nil {
		return err
	}
	var in struct {
		Name   *string               `json:"Name"`
		Status *account.SecretStatus `json:"Status"`
	}
	if err := readJSON(r, &in, false); err != nil {
		return err
	}
	if in.Name != nil {
		if err := name("Name", in.Name); err != nil {
			return err
		}
	}
	var changed account.WebhookSecret
	if err := d.db.Write(r.Context(), func(tx *db.Tx) (err error) {
		changed, err = d.accounts.UpdateSecret(r.Context(), tx, r.Caller.Account, r.Param("id"), in.Name, in.Status)
		return err
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, showSecret(changed, ""))
}
