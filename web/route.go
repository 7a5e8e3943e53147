package web

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"godwit/fault"
)

// A Route is one path with its methods. Segments in braces are variables:
// /v1/Sims/{sid}.
type Route struct {
	Path    string
	Methods map[string]Handler
	MaxBody int64 // largest request body in octets, the door's if zero
	// Patience is how long the request may take to arrive and its answer to
	// leave, as long as the server gives every request if zero.
	Patience time.Duration
	// ShownOnce says that the answer to a POST has a secret that is not shown
	// again, so that the answer cannot be made anew.
	ShownOnce bool
}

// Routes is a door's whole table. It is ours and not [http.ServeMux], because
// that one redirects unclean paths, which these APIs' clients do not follow, and
// answers unknown paths and methods in plain text, which they cannot read.
type Routes []Route

// find returns the handler of a request and notes its route.
func (routes Routes) find(w http.ResponseWriter, r *Request) (Handler, error) {
	segments, ok := split(r.URL)
	if !ok {
		return nil, NotFound(r)
	}
	for i := range routes {
		params, ok := match(routes[i].Path, segments)
		if !ok {
			continue
		}
		r.Route, r.params = &routes[i], params
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if handler, ok := routes[i].Methods[method]; ok {
			return handler, nil
		}
		w.Header().Set("Allow", strings.Join(routes[i].allowed(), ", "))
		return nil, &fault.Error{
			Kind: fault.Invalid, Code: MethodNotAllowed,
			Message: "Method " + r.Method + " is not allowed on this resource; it knows " + strings.Join(slices.Sorted(maps.Keys(routes[i].Methods)), " and "),
		}
	}
	return nil, NotFound(r)
}

// allowed returns the methods that the header Allow lists, sorted. HEAD is
// answered wherever GET is.
func (r Route) allowed() []string {
	list := slices.Collect(maps.Keys(r.Methods))
	if _, reads := r.Methods[http.MethodGet]; reads {
		list = append(list, http.MethodHead)
	}
	slices.Sort(list)
	return list
}

// Allowed returns the methods of a path, sorted; none for an unknown one.
func (routes Routes) Allowed(u *url.URL) []string {
	segments, ok := split(u)
	if !ok {
		return nil
	}
	for i := range routes {
		if _, ok := match(routes[i].Path, segments); ok {
			return routes[i].allowed()
		}
	}
	return nil
}

// MethodNotAllowed is the code of the refusal of a method on a known path.
const MethodNotAllowed = 20004

var statuses = map[fault.Kind]int{
	fault.Internal:     http.StatusInternalServerError,
	fault.Invalid:      http.StatusBadRequest,
	fault.Unauthorized: http.StatusUnauthorized,
	fault.Forbidden:    http.StatusForbidden,
	fault.NotFound:     http.StatusNotFound,
	fault.Conflict:     http.StatusConflict,
	fault.TooMany:      http.StatusTooManyRequests,
	fault.Unavailable:  http.StatusServiceUnavailable,
}

// Status returns the HTTP status of a refusal.
func Status(refusal *fault.Error) int {
	if refusal.Code == MethodNotAllowed {
		return http.StatusMethodNotAllowed
	}
	return statuses[refusal.Kind]
}

// NotFound is the refusal of a path that names nothing. The text leaves out the
// version at the path's beginning, as the hosted service does.
func NotFound(r *Request) error {
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, "/v1"); ok && strings.HasPrefix(rest, "/") {
		path = rest
	}
	return fault.New(fault.NotFound, "The requested resource %s was not found", path)
}

// split returns the decoded segments of a path. One slash and one ".json" at
// the end are tolerated. A segment that no database would store, being no UTF-8
// or holding a zero, names nothing.
func split(u *url.URL) ([]string, bool) {
	path := strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	path = strings.TrimSuffix(path, ".json")
	segments := strings.Split(path, "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil || decoded == "" || !storable(decoded) {
			return nil, false
		}
		segments[i] = decoded
	}
	return segments, true
}

// storable reports whether both databases keep s as a text.
func storable(s string) bool { return unfit(s) == "" }

// unfit says what keeps s from being a text in both databases; nothing does if it
// is empty.
func unfit(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "must be text in UTF-8"
	case strings.ContainsRune(s, 0):
		return "must not have the character NUL"
	}
	return ""
}

// match compares a path with decoded segments.
func match(path string, segments []string) (params []string, ok bool) {
	rest := strings.TrimPrefix(path, "/")
	for i, got := range segments {
		want, after, more := strings.Cut(rest, "/")
		if _, isVariable := variable(want); isVariable {
			params = append(params, got)
		} else if want != got {
			return nil, false
		}
		if more == (i == len(segments)-1) {
			return nil, false
		}
		rest = after
	}
	return params, true
}

// variable returns the name in a segment in braces.
func variable(segment string) (string, bool) {
	if len(segment) > 2 && segment[0] == '{' && segment[len(segment)-1] == '}' {
		return segment[1 : len(segment)-1], true
	}
	return "", false
}
