package remote

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"godwit/fault"
	"godwit/query"
	"godwit/web"
)

// A failureJSON is a refusal, as the whole answer or in the place of one record.
type failureJSON struct {
	Status  int            `json:"error_status"`
	Message string         `json:"error_message"`
	Context map[string]any `json:"error_context,omitempty"`
}

// verbs begin the texts that make a sentence with the field before them.
var verbs = []string{"must ", "is ", "has ", "of ", "belongs ", "cannot "}

// failure is a refusal as clients read it. The field that it is about goes before
// its text: "eid is required".
func failure(refusal *fault.Error, context map[string]any) failureJSON {
	message := refusal.Error()
	if refusal.Field != "" && slices.ContainsFunc(verbs, func(v string) bool { return strings.HasPrefix(refusal.Message, v) }) {
		message = refusal.Field + " " + refusal.Message
	}
	return failureJSON{Status: web.Status(refusal), Message: message, Context: context}
}

func writeFailure(w http.ResponseWriter, refusal *fault.Error, context map[string]any) error {
	f := failure(refusal, context)
	return web.WriteJSON(w, f.Status, f)
}

// render writes the refusals of the door itself: unknown paths and callers,
// throttling, and troubles of ours.
func (d *Door) render(w http.ResponseWriter, r *web.Request, refusal *fault.Error, _ []*fault.Error) {
	if refusal.Kind == fault.Unauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Remote Manager", charset="UTF-8"`)
	}
	var context map[string]any
	if refusal.Kind == fault.Internal {
		context = map[string]any{"request": r.ID}
	}
	_ = writeFailure(w, refusal, context)
}

// A concerning is a refusal with the record or key that it is about.
type concerning struct {
	error
	context map[string]any
}

func (c concerning) Unwrap() error { return c.error }

// about gives a refusal its context.
func about(err error, name string, value any) error {
	if err == nil {
		return nil
	}
	return concerning{err, map[string]any{name: value}}
}

// refused returns the refusal in an error that has a context.
func refused(err error) (*fault.Error, map[string]any) {
	if failed, ok := errors.AsType[*query.Error](err); ok {
		return &fault.Error{Kind: fault.Invalid, Message: failed.Error()}, map[string]any{"query": failed.Query, "line": failed.Line, "pos": failed.Pos}
	}
	c, ok := errors.AsType[concerning](err)
	if !ok {
		return nil, nil
	}
	refusal, ok := fault.As(err)
	if !ok {
		return nil, nil
	}
	return refusal, c.context
}

// A listJSON is a page of records.
type listJSON struct {
	Count   int    `json:"count"`
	Size    int    `json:"size"`
	Cursor  string `json:"cursor,omitempty"`
	NextURI string `json:"next_uri,omitempty"`
	List    []any  `json:"list"`
}

// writeMany answers a request for several records: what became of each stands in
// the order of the request. Some that failed make it 207.
func writeMany(w http.ResponseWriter, status int, list []any) error {
	for _, one := range list {
		if _, failed := one.(failureJSON); failed {
			status = http.StatusMultiStatus
		}
	}
	if list == nil {
		list = []any{}
	}
	return web.WriteJSON(w, status, listJSON{Count: len(list), Size: len(list), List: list})
}

// outcome is what stands in a list for a record that was refused.
func outcome(err error, context map[string]any) any {
	refusal, ok := fault.As(err)
	if !ok {
		refusal = &fault.Error{Kind: fault.Internal, Message: "internal error"}
	}
	return failure(refusal, context)
}
