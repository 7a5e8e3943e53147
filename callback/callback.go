// Package callback tells customers' servers what happened: signed requests with
// form parameters, tried again until they are taken, with a record of each attempt.
//
// A delivery is added in the transaction that has something to tell, and is
// made at least once afterwards. Order is not guaranteed. The token in
// I-Twilio-Idempotency-Token is the same on every attempt, so that a receiver
// can tell a repetition.
package callback

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
)

// A Param is one parameter of a callback. A name may occur once only: the
// validators of the client libraries disagree about repeated names.
type Param struct{ Name, Value string }

// A Callback is something to tell.
type Callback struct {
	Account string // whose token signs: the owner of the resource
	Subject string // what it tells about, a SID; for the record
	URL     string // checked by CheckURL; its fragment may override limits
	Method  string // GET or POST; POST if empty
	Params  []Param
}

// Prefix begins the SIDs of deliveries.
const Prefix = "CB"

func newSID() string {
	var b [16]byte
	rand.Read(b[:])
	return Prefix + hex.EncodeToString(b[:])
}

// Options are the choices of a Sender.
type Options struct {
	// Signing returns all that signs the callbacks of an account, and in which
	// dialect.
	Signing func(ctx context.Context, account string) (Signing, error)

	// Notice is told, in the same transaction, about endpoints that are paused
	// or resumed.
	Notice func(ctx context.Context, tx *db.Tx, n Notice) error

	// Allow lists networks that may be called although they are not
	// public, AllowHosts host names (with or without port) that may be at any
	// address. Tests and laboratories need them.
	Allow      []netip.Prefix
	AllowHosts []string

	Roots *x509.CertPool // whom to trust; the system's if nil

	Concurrent  int           // requests at a time, 512 if zero
	PerEndpoint int           // requests at a time to one host and port, 16 if zero
	Retention   time.Duration // how long the record is kept, 30 days if zero

	// An endpoint is paused when so many attempts failed one after the other,
	// 10 if zero, over so long a time, 12 hours if zero. One delivery in each
	// Probe, an hour if zero, looks whether it is there again.
	PauseFailures int
	PauseAfter    time.Duration
	Probe         time.Duration

	Now func() time.Time
}

// CheckURL refuses what is no absolute http or https URL. field is the
// parameter's name, for the refusal.
func CheckURL(field, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" {
		return fault.Field(field, "%.100q is not an absolute http or https URL", raw)
	}
	return nil
}

// CheckMethod returns the method in the form it is stored: GET or POST, in any
// case of letters, POST for none.
func CheckMethod(field, method string) (string, error) {
	switch m := strings.ToUpper(method); m {
	case "":
		return http.MethodPost, nil
	case http.MethodGet, http.MethodPost:
		return m, nil
	}
	return "", fault.Field(field, "%.20q is neither GET nor POST", method)
}

// Send adds a delivery to the transaction. It does nothing for a callback
// without URL. It returns the delivery's SID.
func (s *Sender) Send(ctx context.Context, tx *db.Tx, c Callback) (string, error) {
	if c.URL == "" {
		return "", nil
	}
	method, err := CheckMethod("method", c.Method)
	if err != nil {
		return "", err
	}
	target, err := parseTarget(c.URL)
	if err != nil {
		return "", fmt.Errorf("callback about %s: %w", c.Subject, err)
	}
	form := make(url.Values, len(c.Params))
	for _, p := range c.Params {
		if form.Has(p.Name) {
			return "", fmt.Errorf("callback about %s: parameter %s is there twice", c.Subject, p.Name)
		}
		form.Set(p.Name, p.Value)
	}
	var token [16]byte
	rand.Read(token[:])
	now := db.Micros(s.options.Now())
	sid := newSID()
	if _, err := tx.ExecContext(ctx, `insert into callback_delivery
		(sid, account, subject, url, method, form, token, endpoint, state, apart, attempts, allowed, due_at, last_status, last_error, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, 'due', $9, 0, $10, $11, 0, '', $11, $11)`,
		sid, c.Account, c.Subject, c.URL, method, form.Encode(), hex.EncodeToString(token[:]), target.endpoint, false, target.attempts(), now); err != nil {
		return "", fmt.Errorf("store callback about %s: %w", c.Subject, err)
	}
	tx.AfterCommit(s.wakeUp)
	return sid, nil
}

// A State says where a delivery stands.
type State string

const (
	Due       State = "due" // to be tried, for the first time or again
	Delivered State = "delivered"
	Failed    State = "failed" // given up
)

// States lists them all.
var States = []State{Due, Delivered, Failed}

// Known reports whether s is a state.
func (s State) Known() bool { return slices.Contains(States, s) }

// A Delivery is the record of one callback.
type Delivery struct {
	SID, Account, Subject string
	URL, Method           string
	Form                  string // the parameters, URL-encoded
	Token                 string // I-Twilio-Idempotency-Token
	State                 State
	Attempts              int
	LastStatus            int       // HTTP status of the last attempt, 0 for none
	LastError             string    // in words
	NextAt                time.Time // next attempt, while Due; zero while its endpoint is paused
	CreatedAt, UpdatedAt  time.Time
}

// An Attempt is one try of a delivery.
type Attempt struct {
	Number   int
	At       time.Time
	Duration time.Duration
	Status   int    // HTTP status, 0 when there was no answer
	Error    string // in words, empty when it was delivered
}
