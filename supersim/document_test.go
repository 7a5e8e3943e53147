package supersim_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"godwit/internal/reference"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// A document is the vendor's published description of the API. Answers are
// checked against it where it is at hand; it is not part of this repository.
type document struct{ router routers.Router }

// documentPath is where the document lies in the folder of published material.
var documentPath = filepath.Join("openapi", "twilio_supersim_v1.json")

var readDocument = sync.OnceValues(func() (*document, error) {
	text, err := os.ReadFile(documentFile)
	if err != nil {
		return nil, nil //nolint:nilnil // no document is no error
	}
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(text)
	if err != nil {
		return nil, err
	}
	// Our door answers elsewhere, and one example in the file is not as its
	// own schema wants it: the document itself is not judged.
	doc.Servers = openapi3.Servers{{URL: "/"}}
	for _, path := range doc.Paths.Map() {
		path.Servers = nil
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &document{router}, nil
})

var documentFile string

// openDocument returns the document, or nil where it is not at hand.
func openDocument(t *testing.T) *document {
	t.Helper()
	dir := os.Getenv("GODWIT_REFERENCE")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "reference", "data") // as package reference has it
	}
	documentFile = filepath.Join(dir, documentPath)
	d, err := readDocument()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDocument says by name whether the letters are checked against the
// vendor's document.
func TestDocument(t *testing.T) {
	reference.File(t, "openapi", "twilio_supersim_v1.json")
	if openDocument(t) == nil {
		t.Errorf("%s is there and was not read", documentPath)
	}
}

// answer checks one exchange. Refusals are not in the document, and orders of
// many profiles are an extension.
func (d *document) answer(q *http.Request, a *http.Response, body []byte) error {
	if d == nil || a.StatusCode >= 300 || strings.HasPrefix(q.URL.Path, "/v1/ESimProfiles/Orders") {
		return nil
	}
	route, params, err := d.router.FindRoute(q)
	if err != nil {
		return err
	}
	return openapi3filter.ValidateResponse(q.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: q, PathParams: params, Route: route},
		Status:                 a.StatusCode,
		Header:                 a.Header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	})
}
