// Package apidoc describes the HTTP API to programs and to people: an OpenAPI
// 3.1 document and a reference page, both made from the same tables and both
// cut to what the server's doors really serve. The tables hold what the routes
// cannot tell: parameters, answers, and words.
//
// It serves nothing of the API itself and asks nobody who is calling: what it
// tells is no secret. Its tests hold the tables against the source of the
// doors, so that neither says more than the other.
package apidoc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"godwit/web"
)

// A Field is a parameter of a request or a property of an answer.
type Field struct {
	Name string
	// Kind is one of the kinds in kinds.go, such as "text", "sid HS" or
	// "one of GET, POST". A question mark at its end says that null may stand
	// there.
	Kind     string
	Required bool // of a parameter; properties are always there
	About    string
}

// An Operation is one method of one path.
type Operation struct {
	Method, Path string // variables in braces, spelled as published
	ID           string // as clients generated from the published document call it
	Resource     string
	Summary      string
	About        string
	Params       []Field  // of the query, or of the form of a POST
	Body         string   // schema of a JSON body, where it is no form
	Files        []string // media types of a body that is a file, which is taken beside a form
	Answers      []Answer
	Refusal      string // schema of a refusal, "failure" if empty
	Open         bool   // asks for no credentials of an account
	Basic        bool   // takes no access token
	Users        bool   // takes the credentials of a user of the Remote Manager, and no others
	Many         bool   // the body may be an array of objects, too
	Query        bool   // Params of a POST stand in the query, as they do beside a JSON body
	// Extension marks what the hosted services do not have.
	Extension bool
}

// An Answer is a success: its status and the schema of its body. A list has
// the name under which its items stand.
type Answer struct {
	Status int
	Schema string // "" for an empty body
	List   string // meta.key
	Type   string // media type, JSON if empty
}

// A Schema is an object of answers.
type Schema struct {
	Name      string
	About     string
	Fields    []Field
	Open      bool // of a request: members that it does not know are passed over
	Extension bool
}

// A Resource groups operations.
type Resource struct {
	Name  string
	About string
}

// Options tell about the server that is described.
type Options struct {
	Routes  []web.Route // of all doors
	Address web.Address
	Version string
	Bearer  bool // access tokens are accepted beside HTTP Basic
}

// A Guide describes one server. It is the handler of /openapi.json, /docs and
// the page's own files.
type Guide struct {
	options    Options
	operations []Operation
	mux        *http.ServeMux
}

// New returns the description of what is served. Operations of the tables
// that no route has are left out.
func New(o Options) *Guide {
	g := &Guide{options: o, mux: http.NewServeMux()}
	served := Served(o.Routes)
	for _, op := range all() {
		if served[op.Method+" "+shape(op.Path)] {
			g.operations = append(g.operations, op)
		}
	}
	g.mux.HandleFunc("GET /openapi.json", g.document)
	g.mux.HandleFunc("GET /docs", g.page)
	g.mux.HandleFunc("GET /docs/{file}", g.file)
	return g
}

// Paths are the paths that a guide answers itself.
func Paths(path string) bool {
	return path == "/openapi.json" || path == "/docs" || strings.HasPrefix(path, "/docs/")
}

func (g *Guide) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	g.mux.ServeHTTP(w, r)
}

// Operations returns what the guide describes.
func (g *Guide) Operations() []Operation { return slices.Clone(g.operations) }

// Undocumented returns the served methods and paths that no table has. There
// are none: a test asks.
func Undocumented(routes []web.Route) []string {
	known := map[string]bool{}
	for _, op := range all() {
		known[op.Method+" "+shape(op.Path)] = true
	}
	var missing []string
	for _, r := range routes {
		for method := range r.Methods {
			if !known[method+" "+shape(r.Path)] {
				missing = append(missing, method+" "+r.Path)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// Served returns the methods and paths of routes, variables without names.
func Served(routes []web.Route) map[string]bool {
	served := map[string]bool{}
	for _, r := range routes {
		for method := range r.Methods {
			served[method+" "+shape(r.Path)] = true
		}
	}
	return served
}

var variable = regexp.MustCompile(`\{([^}]*)\}`)

// shape is a path without the names of its variables.
func shape(path string) string { return variable.ReplaceAllString(path, "{}") }

// all returns the tables of all doors.
func all() []Operation { return slices.Concat(tables...) }

// refusal is the schema of an operation's refusals.
func (op Operation) refusal() string {
	if op.Refusal != "" {
		return op.Refusal
	}
	return "failure"
}

// repeatable reports whether an Idempotency-Key counts: wherever an account
// asks for something to be made or changed.
func (op Operation) repeatable() bool {
	return op.Method == http.MethodPost && !op.Open && !op.Users
}

func (g *Guide) document(w http.ResponseWriter, r *http.Request) {
	text, err := json.MarshalIndent(g.OpenAPI(g.options.Address.Of(r)), "", "  ")
	if err != nil {
		panic(fmt.Sprintf("the description is made of maps and text: %v", err))
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(append(text, '\n')) // an error here means that the client has gone
}
