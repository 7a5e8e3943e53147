// Package web holds what all HTTP doors share: the routing table, who is
// calling, request identifiers, limits, forms, pages, the public address, and
// the one place where errors become answers.
//
// A door is a [Door] with its routes, its way of proving callers and its own
// dialect of errors. The package knows no resource and stores nothing.
package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"godwit/account"
	"godwit/fault"
	"godwit/once"
)

// A Request is an HTTP request whose caller is known.
type Request struct {
	*http.Request
	ID     string // names this request in the log and in the answer's headers
	Base   string // the door's public address, without a slash at its end
	Caller account.Caller
	Route  *Route
	params []string // the values of the route's variable segments, in order
}

// A Handler answers a request, or returns why it did not. It must not have
// written anything when it returns an error.
type Handler func(w http.ResponseWriter, r *Request) error

// A Door is an [http.Handler] for one dialect.
type Door struct {
	Routes Routes
	// Authenticate proves the caller. A refusal should be of kind
	// [fault.Unauthorized].
	Authenticate func(r *http.Request) (account.Caller, error)
	// Render writes a refusal in the door's dialect. all holds every refused
	// parameter when there are several; refusal is the first of them.
	Render func(w http.ResponseWriter, r *Request, refusal *fault.Error, all []*fault.Error)
	// Address tells the public address of the door.
	Address Address
	// MaxBody is the largest request body in octets, 64 KiB if zero.
	MaxBody int64
	// Concurrent is how many requests of one account are worked on at a time,
	// any number if zero. More are refused with [fault.TooMany].
	Concurrent int
	// Rates bounds how fast an account may ask; it may be shared with other
	// doors. Not at all if it is nil.
	Rates *Rates
	// Once answers repeated POSTs that carry an Idempotency-Key like the first;
	// the header is ignored if it is nil.
	Once *once.Keeper
	// IDHeader is the header of answers that names the request; empty is the
	// vendor's Twilio-Request-Id.
	IDHeader string
	// Log gets one line for each request; none are written if it is nil.
	// Troubles of our own go to the default logger in any case.
	Log *slog.Logger

	mu   sync.Mutex
	busy map[string]int // requests under way, by account
}

// maxBody is the largest request body in octets, where neither the door nor a
// route takes more, and the largest form.
const maxBody = 64 << 10

// errorTrouble is the refusal that stands for an error of our own.
var errorTrouble = &fault.Error{Kind: fault.Internal, Message: "internal error"}

func (d *Door) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	began := time.Now()
	r := &Request{Request: hr, ID: newRequestID(), Base: d.Address.Of(hr)}
	out := &recorder{ResponseWriter: w}
	out.Header().Set(cmp.Or(d.IDHeader, "Twilio-Request-Id"), r.ID)
	if err := d.serve(out, r); err != nil {
		d.refuse(out, r, err)
	}
	if d.Log != nil {
		pattern := ""
		if r.Route != nil {
			pattern = r.Route.Path
		}
		d.Log.InfoContext(hr.Context(), "request", "method", hr.Method, "route", pattern, "status", out.status,
			"request", r.ID, "account", r.Caller.Account, "took", time.Since(began))
	}
}

func (d *Door) serve(w http.ResponseWriter, r *Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	handler, err := d.Routes.find(w, r)
	if err != nil {
		return err
	}
	if r.Caller, err = d.Authenticate(r.Request); err != nil {
		return err
	}
	if err := d.Rates.take(w, r.Caller.Account); err != nil {
		return err
	}
	if err := d.enter(r.Caller.Account); err != nil {
		w.Header().Set("Retry-After", "1")
		return err
	}
	defer d.leave(r.Caller.Account)
	if r.Route.Patience > 0 {
		c, until := http.NewResponseController(w), time.Now().Add(r.Route.Patience)
		// Where there is no connection, in tests, there is nothing to extend.
		_, _ = c.SetReadDeadline(until), c.SetWriteDeadline(until)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") && r.ContentLength != 0 {
		return fault.New(fault.Invalid, "The request body must be sent as it is, without Content-Encoding %.40q", coding)
	}
	r.Body = received{http.MaxBytesReader(w, r.Body, cmp.Or(r.Route.MaxBody, d.MaxBody, maxBody))}
	if _, keyed := r.Header[onceHeader]; keyed && d.Once != nil && r.Method == http.MethodPost {
		return d.serveOnce(w, r, handler)
	}
	return handler(w, r)
}

// received is the body of a request. That it breaks off or comes damaged is the
// client's trouble, whoever reads it.
type received struct{ io.ReadCloser }

func (b received) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = brokenBody{err}
	}
	return n, err
}

type brokenBody struct{ error }

func (b brokenBody) Unwrap() error { return b.error }

// enter counts a request of an account in.
func (d *Door) enter(account string) error {
	if d.Concurrent == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[account] >= d.Concurrent {
		return fault.New(fault.TooMany, "Too many requests: this account already has %d under way; repeat this one in a moment", d.Concurrent)
	}
	if d.busy == nil {
		d.busy = map[string]int{}
	}
	d.busy[account]++
	return nil
}

func (d *Door) leave(account string) {
	if d.Concurrent == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[account]--; d.busy[account] == 0 {
		delete(d.busy, account)
	}
}

// refuse turns an error into an answer: a refusal as it is, anything else is
// logged and shown as trouble of our own.
func (d *Door) refuse(w *recorder, r *Request, err error) {
	var tooLarge *http.MaxBytesError
	broken, breaks := errors.AsType[brokenBody](err)
	refusal, ok := fault.As(err)
	var all []*fault.Error
	switch problems, several := errors.AsType[Problems](err); {
	case several:
		all = problems
	case ok:
	case errors.As(err, &tooLarge):
		refusal = fault.New(fault.Invalid, "The request body is larger than %d octets", tooLarge.Limit)
	case breaks && errors.Is(err, os.ErrDeadlineExceeded):
		refusal = fault.New(fault.Invalid, "The request body took too long to arrive")
	case breaks:
		refusal = fault.New(fault.Invalid, "The request body could not be read to its end: %v", broken.error)
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		refusal = errorTrouble // the client has gone: nobody reads this, and it is no trouble of ours
	default:
		pattern := ""
		if r.Route != nil {
			pattern = r.Route.Path
		}
		slog.ErrorContext(r.Context(), "request failed", "route", pattern, "request", r.ID, "err", err)
		refusal = errorTrouble
	}
	if w.status != 0 {
		// The answer has begun: all that is left is to break it off.
		panic(http.ErrAbortHandler)
	}
	d.Render(w, r, refusal, all)
}

// bodies are buffers for answers.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keptBody is the largest buffer that is kept for other answers: pages of 1000
// items are rare, and would hold memory for as long as the server lives.
const keptBody = 64 << 10

// WriteJSON writes v as the whole answer.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body := bodies.Get().(*bytes.Buffer)
	defer func() {
		if body.Cap() <= keptBody {
			bodies.Put(body)
		}
	}()
	body.Reset()
	enc := json.NewEncoder(body)
	enc.SetEscapeHTML(false) // links carry ampersands
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(body.Len())) // or larger ones would go in chunks
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // an error here means that the client has gone
	return nil
}

// Param returns the value of a variable segment of the route, decoded.
func (r *Request) Param(name string) string {
	n := 0
	for segment := range strings.SplitSeq(strings.Trim(r.Route.Path, "/"), "/") {
		if v, ok := variable(segment); ok {
			if v == name {
				return r.params[n]
			}
			n++
		}
	}
	panic("route " + r.Route.Path + " has no segment {" + name + "}")
}

func newRequestID() string {
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the program first
	return "RQ" + hex.EncodeToString(random[:])
}

// A recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
