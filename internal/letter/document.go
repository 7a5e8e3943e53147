package letter

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// A Document is a vendor's published description of an API. Answers are checked
// against it where it is at hand; it is not part of this repository.
type Document struct{ router routers.Router }

// OpenDocument returns a document of the folder "openapi" of the published
// material, or nil where it is not at hand.
func OpenDocument(t *testing.T, name string) *Document {
	t.Helper()
	dir := os.Getenv("GODWIT_REFERENCE")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "reference", "data") // as package reference has it
	}
	text, err := os.ReadFile(filepath.Join(dir, "openapi", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	// Our door answers elsewhere, and one example in a file is not as its own
	// schema wants it: the document itself is not judged.
	doc.Servers = openapi3.Servers{{URL: "/"}}
	for _, path := range doc.Paths.Map() {
		path.Servers = nil
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &Document{router}
}

// answer checks one exchange. A success must be described; a refusal need not,
// and what is not of this document at all is another's.
func (d *Document) answer(q *http.Request, a *http.Response, body []byte) error {
	if d == nil {
		return nil
	}
	if strings.HasPrefix(q.URL.Path, "/v1/ESimProfiles/Orders") {
		return nil // an extension where the document has a SID
	}
	route, params, err := d.router.FindRoute(q)
	if err != nil {
		return nil //nolint:nilerr // an extension, or another document's
	}
	if a.StatusCode >= 300 && route.Operation.Responses.Status(a.StatusCode) == nil {
		return nil
	}
	return openapi3filter.ValidateResponse(q.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: q, PathParams: params, Route: route},
		Status:                 a.StatusCode,
		Header:                 a.Header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	})
}
