// Package supersim is the door of the Super SIM API, version 1: the paths,
// forms and JSON that software written for the hosted services speaks. What it
// shows is kept by package sim; what it shares with other doors is in web.
//
// Every resource has a file with its routes, its parameters and its JSON. A new
// one drops in by adding its routes to the table in [New].
package supersim

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"godwit/account"
	"godwit/bulk"
	"godwit/callback"
	"godwit/charge"
	"godwit/command"
	"godwit/fault"
	"godwit/once"
	"godwit/sim"
	"godwit/usage"
	"godwit/web"
)

// Options are the choices of a door.
type Options struct {
	// Authenticate checks a user name and a password, as they come with HTTP
	// Basic, and returns whose they are. A refusal is of kind
	// [fault.Unauthorized].
	Authenticate func(ctx context.Context, user, password string) (account.Caller, error)
	// VerifyToken checks an access token, which comes as Authorization: Bearer.
	// None is accepted if it is nil.
	VerifyToken func(ctx context.Context, token string) (account.Caller, error)
	// Rates bounds how fast an account may ask, not at all if it is nil.
	Rates *web.Rates
	// Callbacks has paths for the record of callbacks, for accounts kept in
	// Accounts. They are not there if it is nil.
	Callbacks *callback.Sender
	Accounts  *account.Store
	// Address tells the public address, for links.
	Address web.Address
	// Concurrent bounds the requests of one account under way, no bound if
	// zero.
	Concurrent int
	// Log gets one line for each request; none are written if it is nil.
	Log *slog.Logger
	// Commands keeps SMS and IP commands.
	Commands *command.Store
	// Sessions knows the addresses of devices that have a data session; no
	// device has one if nil.
	Sessions Sessions
	// Usage keeps what Sims use, and their billing periods; their paths are not
	// there if it is nil.
	Usage *usage.Store
	// Orders keeps orders of many profiles, Ledger what profiles cost, and Once
	// answers requests that are repeated under an Idempotency-Key. Their paths
	// are not there, and the header is ignored, where they are nil.
	Orders *bulk.Store
	Ledger *charge.Ledger
	Once   *once.Keeper
}

type door struct {
	calls    *callback.Sender
	accounts *account.Store
	sims     *sim.Store
	commands *command.Store
	sessions Sessions
	usage    *usage.Store
	orders   *bulk.Store
	ledger   *charge.Ledger
}

// New returns the handler of all paths below /v1.
func New(sims *sim.Store, o Options) *web.Door {
	d := &door{calls: o.Callbacks, accounts: o.Accounts, sims: sims, commands: o.Commands, orders: o.Orders, ledger: o.Ledger, sessions: o.Sessions, usage: o.Usage}
	var routes web.Routes
	for _, resource := range [][]web.Route{
		d.orderRoutes(), d.chargeRoutes(),
		d.profileRoutes(), d.simRoutes(), d.fleetRoutes(), d.accessRoutes(), d.networkRoutes(), d.settingsRoutes(),
		d.smsRoutes(), d.ipRoutes(), d.callbackRoutes(), d.usageRoutes(), d.billingRoutes(),
	} {
		routes = append(routes, resource...)
	}
	return &web.Door{
		Routes:       routes,
		Authenticate: bearer(o.VerifyToken, basic(o.Authenticate)),
		Rates:        o.Rates,
		Render:       render,
		Address:      o.Address,
		Concurrent:   o.Concurrent,
		Log:          o.Log,
		Once:         o.Once,
	}
}

// basic reads the credentials of HTTP Basic.
func basic(check func(ctx context.Context, user, password string) (account.Caller, error)) func(*http.Request) (account.Caller, error) {
	return func(r *http.Request) (account.Caller, error) {
		user, password, ok := r.BasicAuth()
		if !ok {
			return account.Caller{}, fault.New(fault.Unauthorized, "Authentication Error - no credentials: send AccountSid and AuthToken, or an API key and its secret, with HTTP Basic")
		}
		return check(r.Context(), user, password)
	}
}

// bearer reads access tokens, and leaves all else to the other way.
func bearer(check func(ctx context.Context, token string) (account.Caller, error), other func(*http.Request) (account.Caller, error)) func(*http.Request) (account.Caller, error) {
	return func(r *http.Request) (account.Caller, error) {
		token, ok := bearerToken(r)
		if !ok || check == nil {
			return other(r)
		}
		c, err := check(r.Context(), token)
		if err == nil && c.Other {
			err = fault.New(fault.Forbidden, "the access token is not for Super SIM: scopes.products of its API client lacks %s", account.SuperSIM)
		}
		return c, err
	}
}

// bearerToken returns the access token of a request. Who sends one speaks
// KORE's dialect.
func bearerToken(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// koreLimit is the largest PageSize of a list for a caller who speaks KORE's
// dialect, where that has a smaller one.
func koreLimit(r *web.Request, kore int) int {
	if r.Caller.Client != "" {
		return kore
	}
	return maxPage
}

// maxPage is the largest PageSize.
const maxPage = 1000

// Generic codes. Those of the catalogue for each resource come with the
// refusals themselves.
const (
	codeParameter    = 20001
	codeCredentials  = 20003
	codeNotFound     = 20404
	codeConflict     = 20409
	codeTooMany      = 20429
	codeInternal     = 20500
	codeUnavailable  = 20503
	documentationURL = "https://www.twilio.com/docs/errors/"
	koreDocumentsURL = "https://docs.korewireless.com/errors/"
)

// A failure is an error in the shape of the hosted service. Code and status are
// numbers: one of its client libraries reads nothing else.
type failure struct {
	Code     int      `json:"code"`
	Message  string   `json:"message"`
	MoreInfo string   `json:"more_info"`
	Status   int      `json:"status"`
	Details  *details `json:"details,omitempty"`
}

// details tell which parameters were refused, each with its reason.
type details struct {
	Parameters map[string]string `json:"parameters"`
}

// render writes a refusal.
func render(w http.ResponseWriter, r *web.Request, refusal *fault.Error, all []*fault.Error) {
	status, code := statusOf(refusal)
	f := failure{Code: code, Message: refusal.Error(), Status: status}
	if len(all) > 1 {
		f.Message = web.Problems(all).Error()
	} else if refusal.Field != "" {
		all = []*fault.Error{refusal}
	}
	for _, one := range all {
		if one.Field == "" {
			continue
		}
		if f.Details == nil {
			f.Details = &details{map[string]string{}}
		}
		f.Details.Parameters[one.Field] = one.Message
	}
	link, challenge := documentationURL, `Basic realm="Super SIM API"`
	if _, ok := bearerToken(r.Request); ok {
		link, challenge = koreDocumentsURL, `Bearer realm="Super SIM API", error="invalid_token"`
	}
	f.MoreInfo = link + strconv.Itoa(code)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	_ = web.WriteJSON(w, status, f) // a failure is made of numbers and text: it can be written
}

// codes are the codes of refusals that bring none.
var codes = map[fault.Kind]int{
	fault.Internal:     codeInternal,
	fault.Invalid:      codeParameter,
	fault.Unauthorized: codeCredentials,
	fault.Forbidden:    codeCredentials,
	fault.NotFound:     codeNotFound,
	fault.Conflict:     codeConflict,
	fault.TooMany:      codeTooMany,
	fault.Unavailable:  codeUnavailable,
}

// statusOf returns the HTTP status and the code of a refusal. Codes of the
// catalogue come with status 400, whatever the reason.
func statusOf(f *fault.Error) (status, code int) {
	switch f.Code {
	case 0:
		return web.Status(f), codes[f.Kind]
	case web.MethodNotAllowed:
		return web.Status(f), f.Code
	}
	return http.StatusBadRequest, f.Code
}

// inPath turns the refusal of a reference in the path into the one for an
// unknown resource.
func inPath(r *web.Request, err error) error {
	if fault.Is(err, fault.NotFound) {
		return web.NotFound(r)
	}
	return err
}

// A date is a time as the API writes it: UTC, whole seconds, a literal Z.
func date(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// text is a property that is null when there is nothing to say.
func text[T ~string](s T) *string {
	if s == "" {
		return nil
	}
	t := string(s)
	return &t
}

// A list is the answer to a list request. Its array stands under the resource's
// own key, beside meta.
func list[T, J any](w http.ResponseWriter, r *web.Request, key string, p web.Page, l sim.List[T], place func(T) sim.Key, show func(T) J) error {
	items := make([]J, len(l.Items))
	for i, one := range l.Items {
		items[i] = show(one)
	}
	first, last := "", ""
	if n := len(l.Items); n > 0 {
		first, last = place(l.Items[0]).String(), place(l.Items[n-1]).String()
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{key: items, "meta": p.Meta(r, key, first, last, l.More)})
}

// page reads the paging parameters of a list request.
func page(f *web.Form) (web.Page, sim.Page) { return pageUpTo(f, maxPage) }

// pageUpTo is page for a list with a limit of its own.
func pageUpTo(f *web.Form, limit int) (web.Page, sim.Page) {
	p := f.Page(limit)
	sp := sim.Page{Limit: p.Size, Offset: p.Offset()}
	if p.Position != "" {
		place, err := sim.ParseKey(p.Position)
		switch {
		case err != nil:
			f.Fail("PageToken", "is not one that this list has given out")
		case p.Backward:
			sp.Before = place
		default:
			sp.After = place
		}
	}
	return p, sp
}
