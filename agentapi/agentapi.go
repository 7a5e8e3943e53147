// Package agentapi is the door of our own agents on devices in the field: they
// enrol themselves and report what the device knows of itself. The work itself,
// eUICC packages and downloads, is the eIM's and goes over ESipa.
//
// POST /agent/v1/enrol and POST /agent/v1/report, both JSON. docs/agent.md
// describes them.
package agentapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/web"
)

// Root is where the paths of this door begin.
const Root = "/agent/v1/"

// Paths reports whether a path is this door's.
func Paths(path string) bool { return strings.HasPrefix(path, Root) }

// A By is who vouches for an enrolment.
type By struct {
	Account string // SID
	User    string // as records show it
}

// A Device is what an enrolment says about a device: one of the first three at
// least.
type Device struct {
	ID, MAC, IMEI string
	EUICCs        []EUICC
}

// An EUICC is one chip in a device.
type EUICC struct {
	EID      ident.EID
	Kind     string // "iot" speaks SGP.32; "consumer" speaks SGP.22, and the agent does the rest
	AgentKey []byte // SubjectPublicKeyInfo, DER, of a consumer chip's agent
}

// Known is what is known of a chip before an enrolment names it.
type Known struct {
	Device      string // that it is in; empty: nobody's
	Kind        string
	SignsItself bool // it has proved that
}

// Devices is what this door needs of those who keep devices and serve chips.
// Refusals are of type [*fault.Error]; their fields are named as in
// the request.
type Devices interface {
	// Identify returns the ID of a device from what is known of it.
	Identify(d Device) (string, error)
	// ByInstallCode returns the account of the device that has an install code, or
	// a refusal of kind [fault.Unauthorized].
	ByInstallCode(ctx context.Context, q db.Query, id, code string) (account string, err error)
	// Belongs refuses with [fault.NotFound] a device that an account does not have.
	Belongs(ctx context.Context, q db.Query, account, id string) error
	// Put makes the device with the ID known, with its chips: here and at the eIM.
	// Doing it again changes nothing.
	Put(ctx context.Context, tx *db.Tx, by By, id string, d Device) error
	// Chips returns the chips of a device.
	Chips(ctx context.Context, q db.Query, id string) ([]ident.EID, error)
	// Known returns what is known of a chip; nothing of one that another account has.
	Known(ctx context.Context, q db.Query, account string, eid ident.EID) (Known, error)
	// Facts takes over what a device says of itself. Empty fields leave what is
	// there.
	Facts(ctx context.Context, tx *db.Tx, id string, f Facts) error
	// Initial returns the EimConfigurationData that a chip is to be given, DER.
	Initial(ctx context.Context, q db.Query, eid ident.EID) ([]byte, error)
}

// Options are what a door is made with.
type Options struct {
	DB      *db.DB
	Events  *event.Log
	Devices Devices
	// User proves the user behind a request who may register devices: by HTTP
	// Basic or the headers of an API key. It returns false for a request that has
	// neither, or whose Basic credentials are those of a device.
	User func(r *http.Request) (by By, is bool, err error)
	// ESipa tells agents where the eIM is: its URL without a path.
	ESipa string
	// Poll is how often agents are to ask the eIM; [DefaultPoll] if zero.
	Poll time.Duration
	Now  func() time.Time // time.Now if nil
}

// DefaultPoll is how often agents poll where nothing else is said.
const DefaultPoll = time.Minute

// maxBody bounds a request: 16 chips with a key each.
const maxBody = 32 << 10

// A Door serves both functions.
type Door struct {
	o       Options
	mux     *http.ServeMux
	guesses *web.Rates // refused enrolments of one name from one address
	names   *web.Rates // and of one name from anywhere
	reports *web.Rates // of one device
	doubles *web.Rates // events of one device and the chip of another that has its install code
}

// New returns the door.
func New(o Options) *Door {
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Door{
		o: o, mux: http.NewServeMux(),
		guesses: &web.Rates{PerSecond: 0.1, Burst: 5, Now: o.Now},
		names:   &web.Rates{PerSecond: 1, Burst: 60, Now: o.Now},
		reports: &web.Rates{PerSecond: 0.2, Burst: 20, Now: o.Now},
		doubles: &web.Rates{PerSecond: 1.0 / 3600, Burst: 1, Now: o.Now},
	}
	d.mux.Handle(Root+"enrol", d.post(d.enrol))
	d.mux.Handle(Root+"report", d.post(d.report))
	d.mux.HandleFunc(Root, func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, fault.New(fault.NotFound, "there is no %.100q; agents use %senrol and %sreport", r.URL.Path, Root, Root))
	})
	return d
}

func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

// post makes a function a handler of POST requests with a JSON object.
func (d *Door) post(serve func(w http.ResponseWriter, r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			write(w, http.StatusMethodNotAllowed, problem{Code: "invalid", Message: "this is asked with POST"})
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			write(w, http.StatusUnsupportedMediaType, problem{Code: "invalid", Field: "Content-Type", Message: "the body is application/json"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		answer, err := serve(w, r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		write(w, http.StatusOK, answer)
	})
}

// read reads the request's object.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			return fault.New(fault.Invalid, "the body is one JSON object and nothing after it")
		}
		return nil
	}
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return fault.New(fault.Invalid, "the body has at most %d octets", maxBody)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return fault.Field(strings.TrimPrefix(wrong.Field, "reported."), "must be %s, not %s", kindOf(wrong), wrong.Value)
	}
	return fault.New(fault.Invalid, "the body is a JSON object: %v", err)
}

func kindOf(e *json.UnmarshalTypeError) string {
	switch e.Type.String() {
	case "int64":
		return "an integer"
	case "string":
		return "a string"
	case "[]uint8":
		return "base64 in a string"
	}
	return "a list"
}

// A problem is how this door tells a refusal.
type problem struct {
	Code    string `json:"code"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// codes are what the kinds of refusals are called.
var codes = map[fault.Kind]string{
	fault.Invalid:      "invalid",
	fault.Unauthorized: "unauthorized",
	fault.Forbidden:    "forbidden",
	fault.NotFound:     "not_found",
	fault.Conflict:     "conflict",
	fault.TooMany:      "too_many",
	fault.Unavailable:  "unavailable",
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := fault.As(err)
	switch {
	case ok && refusal.Kind != fault.Internal:
		if refusal.Kind == fault.Unauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="enrol", Bearer`)
		}
		write(w, web.Status(refusal), problem{Code: codes[refusal.Kind], Field: refusal.Field, Message: refusal.Message})
	case r.Context().Err() != nil: // nobody listens any more
	default:
		slog.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "err", err)
		write(w, http.StatusInternalServerError, problem{Code: "internal", Message: "internal error"})
	}
}

func write(w http.ResponseWriter, status int, answer any) {
	content, err := json.Marshal(answer)
	if err != nil {
		panic(fmt.Errorf("write answer: %w", err)) // our own types
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	_, _ = w.Write(content)
}

// tooMany refuses what comes too often.
func tooMany(w http.ResponseWriter, wait int, what string) error {
	w.Header().Set("Retry-After", strconv.Itoa(wait))
	return fault.New(fault.TooMany, "%s: come back in %d seconds", what, wait)
}
