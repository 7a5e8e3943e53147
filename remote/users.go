package remote

import (
	"net/http"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/fault"
	"godwit/web"
)

// Users, their API keys and the account: the hosted service has them in its
// console and in an older API, so all of this is ours.

// A userJSON is a user.
type userJSON struct {
	Name     string `json:"name"`
	Role     string `json:"role"`
	Password string `json:"password,omitempty"` // when it was made here, and never again
	Customer int64  `json:"customer_id"`
	Created  string `json:"created"`
	Updated  string `json:"updated"`
}

// An apiKeyJSON is an API key of the caller.
type apiKeyJSON struct {
	ID          string `json:"id"`
	Secret      string `json:"secret,omitempty"` // when it is made, and never again
	Description string `json:"description,omitempty"`
	User        string `json:"user"`
	Created     string `json:"created"`
	Expires     string `json:"expires"`
}

// An accountJSON is the caller's account.
type accountJSON struct {
	Customer int64  `json:"customer_id"`
	Account  string `json:"account_sid"`
	Name     string `json:"name"`
	APIKeys  bool   `json:"api_keys_allowed"`
	User     string `json:"user"`
	Role     string `json:"role"`
}

func (d *Door) userRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/account", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.fetchAccount), http.MethodPut: d.managing(d.updateAccount)}},
		{Path: root + "/users", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/users/inventory", Methods: map[string]web.Handler{http.MethodGet: d.managing(d.listUsers), http.MethodPost: d.managing(d.createUser)}},
		{Path: root + "/users/inventory/{name}", Methods: map[string]web.Handler{
			http.MethodGet: d.managing(d.fetchUser), http.MethodPut: d.managing(d.updateUser), http.MethodDelete: d.managing(d.deleteUser),
		}},
		{Path: root + "/api_keys", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		// Anybody may make keys for himself: a key allows what its user may.
		{Path: root + "/api_keys/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.listKeys), http.MethodPost: d.reading(d.createKey)}},
		{Path: root + "/api_keys/inventory/{id}", Methods: map[string]web.Handler{http.MethodDelete: d.reading(d.deleteKey)}},
	}
}

func (d *Door) fetchAccount(w http.ResponseWriter, r *web.Request) error {
	var a account.Account
	var c account.Customer
	if err := d.o.DB.Read(r.Context(), func(q db.Query) (err error) {
		if a, err = d.o.Accounts.Get(r.Context(), q, r.Caller.Account); err != nil {
			return err
		}
		c, err = d.o.Accounts.Customer(r.Context(), q, r.Caller.Account)
		return err
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, accountJSON{c.ID, a.SID, a.Name, c.APIKeys, r.Caller.User, string(r.Caller.Role)})
}

func (d *Door) updateAccount(w http.ResponseWriter, r *web.Request) error {
	b, err := readBody(r)
	if err != nil {
		return err
	}
	allowed := b.truth("api_keys_allowed")
	if b.err != nil {
		return b.err
	}
	if allowed != nil {
		if err := d.o.DB.Write(r.Context(), func(tx *db.Tx) error {
			return d.o.Accounts.AllowAPIKeys(r.Context(), tx, r.Caller.Account, *allowed)
		}); err != nil {
			return err
		}
	}
	return d.fetchAccount(w, r)
}

func showUser(u account.User, customer int64, password string) userJSON {
	return userJSON{Name: u.Name, Role: string(u.Role), Password: password, Customer: customer, Created: at(u.CreatedAt), Updated: at(u.UpdatedAt)}
}

func (d *Door) writeUser(w http.ResponseWriter, r *web.Request, status int, u account.User, password string) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, status, showUser(u, customer, password))
}

func (d *Door) listUsers(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	var list []any
	if err := d.o.DB.Read(r.Context(), func(q db.Query) error {
		list = nil
		users, err := d.o.Accounts.Users(r.Context(), q, r.Caller.Account)
		for _, u := range users {
			list = append(list, showUser(u, customer, ""))
		}
		return err
	}); err != nil {
		return err
	}
	return writeMany(w, http.StatusOK, list)
}

func (d *Door) createUser(w http.ResponseWriter, r *web.Request) error {
	b, err := readBody(r)
	if err != nil {
		return err
	}
	name, roleText, given := b.required("name"), b.required("role"), b.text("password")
	if b.err != nil {
		return b.err
	}
	role, err := account.ParseRole(roleText)
	if err != nil {
		return err
	}
	text := ""
	if given != nil {
		if text = *given; text == "" {
			return fault.Field("password", "must not be empty; leave it out to have one made")
		}
	}
	password, err := account.NewPassword(r.Context(), text)
	if err != nil {
		return err
	}
	var u account.User
	if err := d.o.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		u, err = d.o.Accounts.CreateUser(r.Context(), tx, account.User{Name: name, Account: r.Caller.Account, Role: role}, password, false)
		return err
	}); err != nil {
		return about(err, "name", name)
	}
	made := ""
	if given == nil {
		made = string(password.Text)
	}
	return d.writeUser(w, r, http.StatusCreated, u, made)
}

func (d *Door) fetchUser(w http.ResponseWriter, r *web.Request) error {
	var u account.User
	if err := d.o.DB.Read(r.Context(), func(q db.Query) (err error) {
		u, err = d.o.Accounts.User(r.Context(), q, r.Caller.Account, r.Param("name"))
		return err
	}); err != nil {
		return about(err, "name", r.Param("name"))
	}
	return d.writeUser(w, r, http.StatusOK, u, "")
}

func (d *Door) updateUser(w http.ResponseWriter, r *web.Request) error {
	b, err := readBody(r)
	if err != nil {
		return err
	}
	roleText, text := b.text("role"), b.text("password")
	if b.err != nil {
		return b.err
	}
	var role account.Role
	if roleText != nil {
		if role, err = account.ParseRole(*roleText); err != nil {
			return err
		}
	}
	var password account.Password
	if text != nil {
		if *text == "" {
			return fault.Field("password", "must not be empty")
		}
		if password, err = account.NewPassword(r.Context(), *text); err != nil {
			return err
		}
	}
	var u account.User
	if err := d.o.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if role != "" {
			if _, err := d.o.Accounts.SetRole(r.Context(), tx, r.Caller.Account, r.Param("name"), role); err != nil {
				return err
			}
		}
		if text != nil {
			if err := d.o.Accounts.SetPassword(r.Context(), tx, r.Caller.Account, r.Param("name"), password); err != nil {
				return err
			}
		}
		u, err = d.o.Accounts.User(r.Context(), tx, r.Caller.Account, r.Param("name"))
		return err
	}); err != nil {
		return about(err, "name", r.Param("name"))
	}
	return d.writeUser(w, r, http.StatusOK, u, "")
}

func (d *Door) deleteUser(w http.ResponseWriter, r *web.Request) error {
	if err := d.o.DB.Write(r.Context(), func(tx *db.Tx) error {
		return d.o.Accounts.DeleteUser(r.Context(), tx, r.Caller.Account, r.Param("name"))
	}); err != nil {
		return about(err, "name", r.Param("name"))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func showKey(k account.UserKey, secret string) apiKeyJSON {
	return apiKeyJSON{ID: k.ID, Secret: secret, Description: k.Description, User: k.User, Created: at(k.CreatedAt), Expires: at(k.ExpiresAt)}
}

func (d *Door) listKeys(w http.ResponseWriter, r *web.Request) error {
	var list []any
	if err := d.o.DB.Read(r.Context(), func(q db.Query) error {
		list = nil
		keys, err := d.o.Accounts.UserKeys(r.Context(), q, r.Caller.Account, r.Caller.User)
		for _, k := range keys {
			list = append(list, showKey(k, ""))
		}
		return err
	}); err != nil {
		return err
	}
	return writeMany(w, http.StatusOK, list)
}

// createKey makes an API key for the caller. Not with an API key: it would
// outlive itself.
func (d *Door) createKey(w http.ResponseWriter, r *web.Request) error {
	if r.Caller.Key != "" {
		return fault.New(fault.Forbidden, "an API key cannot make API keys: use the user's name and password")
	}
	b, err := readBody(r)
	if err != nil {
		return err
	}
	description, days := b.word("description"), b.number("lifetime_days")
	if len(description) > 255 {
		b.fail("description", "must have at most 255 bytes")
	}
	life := time.Duration(0)
	if days != nil {
		if *days < 1 || *days > 365 {
			b.fail("lifetime_days", "must be from 1 to 365")
		}
		life = time.Duration(*days) * 24 * time.Hour
	}
	if b.err != nil {
		return b.err
	}
	var k account.UserKey
	var secret string
	if err := d.o.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		k, secret, err = d.o.Accounts.CreateUserKey(r.Context(), tx, r.Caller.Account, r.Caller.User, description, life)
		return err
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showKey(k, secret))
}

func (d *Door) deleteKey(w http.ResponseWriter, r *web.Request) error {
	if err := d.o.DB.Write(r.Context(), func(tx *db.Tx) error {
		return d.o.Accounts.DeleteUserKey(r.Context(), tx, r.Caller.Account, r.Caller.User, r.Param("id"))
	}); err != nil {
		return about(err, "id", r.Param("id"))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
