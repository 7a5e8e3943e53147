package supersim

import (
	"fmt"
	"net/http"
	"time"

	"godwit/account"
	"godwit/callback"
	"godwit/db"
	"godwit/fault"
	"godwit/sim"
	"godwit/web"
)

// The record of callbacks is ours: the hosted services show theirs in a
// console. The paths follow the API's own manners.

func (d *door) callbackRoutes() []web.Route {
	if d.calls == nil {
		return nil
	}
	return []web.Route{
		{Path: "/v1/Callbacks", Methods: map[string]web.Handler{http.MethodGet: d.listCallbacks}},
		{Path: "/v1/Callbacks/Redeliveries", Methods: map[string]web.Handler{http.MethodPost: d.redeliverCallbacks}},
		{Path: "/v1/Callbacks/Endpoints", Methods: map[string]web.Handler{http.MethodGet: d.listEndpoints, http.MethodPost: d.resumeEndpoint}},
		{Path: "/v1/Callbacks/Settings", Methods: map[string]web.Handler{http.MethodGet: d.fetchSettings, http.MethodPost: d.updateSettings}},
		{Path: "/v1/Callbacks/{sid}", Methods: map[string]web.Handler{http.MethodGet: d.fetchCallback}},
		{Path: "/v1/Callbacks/{sid}/Redeliveries", Methods: map[string]web.Handler{http.MethodPost: d.redeliverCallback}},
	}
}

// A callbackJSON is a delivery as the API shows it.
type callbackJSON struct {
	SID         string         `json:"sid"`
	AccountSID  string         `json:"account_sid"`
	Subject     string         `json:"subject_sid"`
	CallbackURL string         `json:"callback_url"`
	Method      string         `json:"callback_method"`
	Parameters  string         `json:"parameters"` // URL-encoded
	Token       string         `json:"idempotency_token"`
	Status      string         `json:"status"`
	Attempts    int            `json:"attempt_count"`
	LastStatus  *int           `json:"last_http_status"`
	LastError   *string        `json:"last_error"`
	DateNext    *string        `json:"date_next_attempt"`
	DateCreated string         `json:"date_created"`
	DateUpdated string         `json:"date_updated"`
	URL         string         `json:"url"`
	Log         *[]attemptJSON `json:"attempts,omitempty"` // of a single one
}

// An attemptJSON is one try of a delivery.
type attemptJSON struct {
	Number       int     `json:"number"`
	Date         string  `json:"date"`
	Milliseconds float64 `json:"milliseconds"`
	HTTPStatus   *int    `json:"http_status"`
	Error        *string `json:"error"`
}

func showCallback(r *web.Request) func(callback.Delivery) callbackJSON {
	return func(c callback.Delivery) callbackJSON {
		out := callbackJSON{
			SID: c.SID, AccountSID: c.Account, Subject: c.Subject, CallbackURL: c.URL, Method: c.Method, Parameters: c.Form, Token: c.Token,
			Status: string(c.State), Attempts: c.Attempts, LastStatus: number(c.LastStatus), LastError: text(c.LastError),
			DateCreated: date(c.CreatedAt), DateUpdated: date(c.UpdatedAt), URL: r.Base + "/v1/Callbacks/" + c.SID,
		}
		if !c.NextAt.IsZero() {
			next := date(c.NextAt)
			out.DateNext = &next
		}
		return out
	}
}

// number is a property that is null when there is none.
func number(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func (d *door) listCallbacks(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	// Newest first and forwards only: a log is read from its end.
	p, sp := page(f)
	filter := callback.Filter{
		Account: r.Caller.Account, Subject: f.String("SubjectSid"), State: callback.State(f.OneOf("Status", words(callback.States)...)), Limit: sp.Limit + 1,
	}
	if p.Backward || p.Position == "" && p.Number > 0 {
		f.Fail("Page", "this list goes forwards only: follow next_page_url")
	}
	if p.Position != "" {
		filter.After = &callback.Delivery{SID: sp.After.SID, CreatedAt: db.Time(sp.After.At)}
	}
	if err := f.Err(); err != nil {
		return err
	}
	var found []callback.Delivery
	if err := d.sims.DB.Read(r.Context(), func(q db.Query) error {
		found, err = d.calls.List(r.Context(), q, filter)
		return err
	}); err != nil {
		return err
	}
	l := sim.List[callback.Delivery]{Items: found, More: len(found) > sp.Limit}
	if l.More {
		l.Items = found[:sp.Limit]
	}
	return list(w, r, "callbacks", p, l, func(c callback.Delivery) sim.Key { return sim.Key{At: db.Micros(c.CreatedAt), SID: c.SID} }, showCallback(r))
}

func (d *door) fetchCallback(w http.ResponseWriter, r *web.Request) error {
	var c callback.Delivery
	var attempts []callback.Attempt
	if err := d.sims.DB.Read(r.Context(), func(q db.Query) (err error) {
		if c, err = d.calls.Get(r.Context(), q, r.Caller.Account, r.Param("sid")); err != nil {
			return err
		}
		attempts, err = d.calls.Attempts(r.Context(), q, c.SID)
		return err
	}); err != nil {
		return inPath(r, err)
	}
	out, log := showCallback(r)(c), make([]attemptJSON, len(attempts))
	for i, a := range attempts {
		log[i] = attemptJSON{a.Number, date(a.At), float64(a.Duration.Microseconds()) / 1000, number(a.Status), text(a.Error)}
	}
	out.Log = &log
	return web.WriteJSON(w, http.StatusOK, out)
}

func (d *door) redeliverCallback(w http.ResponseWriter, r *web.Request) error {
	var c callback.Delivery
	if err := d.sims.DB.Write(r.Context(), func(tx *db.Tx) (err error) {
		if err := d.calls.Redeliver(r.Context(), tx, r.Caller.Account, r.Param("sid")); err != nil {
			return err
		}
		c, err = d.calls.Get(r.Context(), tx, r.Caller.Account, r.Param("sid"))
		return err
	}); err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusAccepted, showCallback(r)(c))
}

// mostAgain is how many deliveries one request has made once more.
const mostAgain = 10_000

func (d *door) redeliverCallbacks(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	f.Required("StartTime")
	again := callback.Range{
		From: f.Time("StartTime"), To: f.Time("EndTime"), Subject: f.String("SubjectSid"),
		State: callback.State(f.OneOf("Status", string(callback.Delivered), string(callback.Failed))),
	}
	if !f.Has("Status") {
		again.State = callback.Failed
	}
	if again.To.IsZero() {
		again.To = time.Now()
	}
	if !again.From.IsZero() && !again.From.Before(again.To) {
		f.Fail("EndTime", "must be after StartTime")
	}
	if err := f.Err(); err != nil {
		return err
	}
	var n int
	if err := d.sims.DB.Write(r.Context(), func(tx *db.Tx) error {
		n, err = d.calls.RedeliverRange(r.Context(), tx, r.Caller.Account, again, mostAgain)
		return err
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusAccepted, map[string]any{"redelivered": n, "more": n == mostAgain})
}

// An endpointJSON is an endpoint that fails.
type endpointJSON struct {
	Endpoint   string  `json:"endpoint"`
	Status     string  `json:"status"`
	Failures   int     `json:"failures"`
	DateSince  string  `json:"date_failing_since"`
	DatePaused *string `json:"date_paused"`
}

func (d *door) listEndpoints(w http.ResponseWriter, r *web.Request) error {
	var found []callback.Endpoint
	if err := d.sims.DB.Read(r.Context(), func(q db.Query) (err error) {
		found, err = d.calls.Endpoints(r.Context(), q, r.Caller.Account)
		return err
	}); err != nil {
		return err
	}
	out := make([]endpointJSON, len(found))
	for i, e := range found {
		out[i] = endpointJSON{Endpoint: e.Endpoint, Status: "failing", Failures: e.Failures, DateSince: date(e.Since)}
		if !e.PausedAt.IsZero() {
			paused := date(e.PausedAt)
			out[i].Status, out[i].DatePaused = "paused", &paused
		}
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"endpoints": out})
}

func (d *door) resumeEndpoint(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	endpoint := f.Required("Endpoint")
	if f.Required("Status"); f.OneOf("Status", "active") == "" {
		return f.Err()
	}
	if err := f.Err(); err != nil {
		return err
	}
	if err := d.sims.DB.Write(r.Context(), func(tx *db.Tx) error {
		return d.calls.Resume(r.Context(), tx, r.Caller.Account, endpoint)
	}); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"endpoint": endpoint, "status": "active"})
}

func (d *door) fetchSettings(w http.ResponseWriter, r *web.Request) error {
	if r.Caller.Key != "" {
		return fault.New(fault.Forbidden, "an API key cannot see what signs callbacks: use an access token or the account's auth token")
	}
	s, err := d.accounts.Signing(r.Context(), r.Caller.Account)
	if err != nil {
		return fmt.Errorf("read callback settings: %w", err)
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{
		"account_sid": r.Caller.Account, "dialect": s.Dialect, "signing_secret": account.StandardSecret(s.Standard),
	})
}

func (d *door) updateSettings(w http.ResponseWriter, r *web.Request) error {
	if r.Caller.Key != "" {
		return fault.New(fault.Forbidden, "an API key cannot change what signs callbacks: use an access token or the account's auth token")
	}
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	dialect, rotate := callback.Dialect(f.OneOf("Dialect", string(callback.Twilio), string(callback.KORE))), f.Bool("RotateSigningSecret", false)
	if err := f.Err(); err != nil {
		return err
	}
	if err := d.sims.DB.Write(r.Context(), func(tx *db.Tx) error {
		if dialect != "" {
			if err := d.accounts.SetDialect(r.Context(), tx, r.Caller.Account, dialect); err != nil {
				return err
			}
		}
		if rotate {
			return d.accounts.RotateStandard(r.Context(), tx, r.Caller.Account)
		}
		return nil
	}); err != nil {
		return err
	}
	return d.fetchSettings(w, r)
}
