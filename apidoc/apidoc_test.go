package apidoc

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"godwit/web"

	"github.com/getkin/kin-openapi/openapi3"
)

// everything is a route table with all that the tables describe.
func everything() (routes []web.Route) {
	for _, op := range all() {
		routes = append(routes, web.Route{Path: op.Path, Methods: map[string]web.Handler{op.Method: nil}})
	}
	return routes
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// TestDocument reads the document with an OpenAPI library, strictly.
func TestDocument(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		g := New(Options{Routes: everything(), Version: "test", Bearer: bearer, Address: web.Address{URL: "https://sim.example.net"}})
		w := get(t, g, "/openapi.json")
		doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.Validate(t.Context()); err != nil {
			t.Error(err)
		}
		if doc.OpenAPI != "3.1.0" || doc.Servers[0].URL != "https://sim.example.net" {
			t.Errorf("openapi %s, servers %v", doc.OpenAPI, doc.Servers)
		}
		for _, op := range all() {
			described := doc.Paths.Value(op.Path).GetOperation(op.Method)
			if described == nil || described.OperationID != op.ID {
				t.Errorf("%s %s is not described", op.Method, op.Path)
				continue
			}
			if _, marked := described.Extensions[extension]; marked != op.Extension {
				t.Errorf("%s %s: marked as an extension: %v", op.Method, op.Path, marked)
			}
		}
	}
}

// TestOnlyWhatIsServed: an operation without a route is not described.
func TestOnlyWhatIsServed(t *testing.T) {
	g := New(Options{Routes: []web.Route{{Path: "/v1/Sims/{sid}", Methods: map[string]web.Handler{"GET": nil}}}})
	var doc struct {
		Paths      map[string]map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(get(t, g, "/openapi.json").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Paths) != 1 || len(doc.Paths["/v1/Sims/{Sid}"]) != 1 || doc.Components.Schemas["fleet"] != nil || doc.Components.Schemas["sim"] == nil {
		t.Errorf("document %+v", doc)
	}
	if page := get(t, g, "/docs").Body.String(); strings.Contains(page, "/v1/Fleets") || !strings.Contains(page, "/v1/Sims/{Sid}") {
		t.Error("the page shows other operations than the one that is served")
	}
	missing := Undocumented([]web.Route{{Path: "/v1/Sims/{x}", Methods: map[string]web.Handler{"GET": nil, "PUT": nil}}, {Path: "/v9", Methods: map[string]web.Handler{"GET": nil}}})
	if strings.Join(missing, ", ") != "GET /v9, PUT /v1/Sims/{x}" {
		t.Errorf("undocumented: %v", missing)
	}
}

// TestPage: everything stands on it, and nothing comes from elsewhere.
func TestPage(t *testing.T) {
	g := New(Options{Routes: everything(), Version: "1.2.3", Address: web.Address{URL: `https://a.example"><script>`}})
	w := get(t, g, "/docs")
	page := w.Body.String()
	if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("page: %d %v", w.Code, w.Header())
	}
	if strings.Contains(page, `"><script>`) || strings.Contains(page, "<no value>") {
		t.Error("the page holds text that was not made fit for HTML, or a gap")
	}
	for _, op := range all() {
		if !strings.Contains(page, `id="`+op.ID+`"`) {
			t.Errorf("%s is not on the page", op.ID)
		}
	}
	for _, file := range []string{"/docs/docs.css", "/docs/docs.js"} {
		if w := get(t, g, file); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "http") {
			t.Errorf("%s: %d, or something comes from elsewhere", file, w.Code)
		}
	}
	if w := get(t, g, "/docs/docs.html"); w.Code != http.StatusNotFound {
		t.Errorf("the template itself is served: %d", w.Code)
	}
}

// TestTables: every operation belongs to a chapter and has a name of its own.
func TestTables(t *testing.T) {
	chapters, ids, paths := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range resources {
		chapters[r.Name] = true
	}
	for _, op := range all() {
		if !chapters[op.Resource] || ids[op.ID] || paths[op.Method+shape(op.Path)] || op.Summary == "" || len(op.Answers) == 0 {
			t.Errorf("operation %s %s is incomplete or there twice", op.Method, op.Path)
		}
		ids[op.ID], paths[op.Method+shape(op.Path)] = true, true
	}
}
