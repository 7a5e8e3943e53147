package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"godwit/ident"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// An inspector stands between clients and a server, and holds every exchange
// that succeeds against OpenAPI documents.
type inspector struct {
	t         *testing.T
	documents map[string]routers.Router
	server    *httptest.Server

	mu   sync.Mutex
	done map[string]map[string]bool // client → operations that succeeded
	card card                       // one that may be registered
	bad  []string                   // refusals, for whom a test fails
}

// A card is what a customer reads on a SIM card.
type card struct{ iccid, code string }

// newCards has a server take a list of cards that may be registered.
func (p *process) newCards(n int) (all []card) {
	p.t.Helper()
	list := "iccid,imsi,k,opc,code\n"
	for i := range n {
		iccid, err := ident.NewICCID(fmt.Sprintf("899970199%09d", i))
		if err != nil {
			p.t.Fatal(err)
		}
		one := card{string(iccid), fmt.Sprintf("H3LL0W0R%02d", i)}
		list += fmt.Sprintf("%s,%015d,%032x,%032x,%s\n", one.iccid, 1010900000000+i, i+1, i+1, one.code)
		all = append(all, one)
	}
	file := filepath.Join(p.t.TempDir(), "cards.csv")
	if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
		p.t.Fatal(err)
	}
	godwit(p.t, "card", "import", "--data", p.data, file)
	return all
}

// inspect places an inspector before a server. Documents are by name.
func inspect(t *testing.T, base string, documents map[string][]byte) *inspector {
	t.Helper()
	i := &inspector{t: t, documents: map[string]routers.Router{}, done: map[string]map[string]bool{}}
	for name, text := range documents {
		doc, err := openapi3.NewLoader().LoadFromData(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		doc.Servers = openapi3.Servers{{URL: "/"}}
		for _, path := range doc.Paths.Map() {
			path.Servers = nil // ours answers elsewhere
		}
		if i.documents[name], err = gorillamux.NewRouter(doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	there, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(there)
		r.Out.Host = r.In.Host // links are to lead back here
	}}
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(asked))
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		i.look(r, asked, answer)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(i.server.Close)
	return i
}

// look judges one exchange. Refusals are in no published document; that they
// are readable is what the clients say.
func (i *inspector) look(r *http.Request, asked []byte, answer *httptest.ResponseRecorder) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if answer.Code >= 300 {
		i.bad = append(i.bad, fmt.Sprintf("%s %s: %d %s", r.Method, r.URL, answer.Code, answer.Body))
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		return
	}
	for name, router := range i.documents {
		q := r.Clone(context.Background())
		q.Body = io.NopCloser(bytes.NewReader(asked))
		route, params, err := router.FindRoute(q)
		if err != nil {
			i.t.Errorf("%s: %s %s: %v", name, r.Method, r.URL.Path, err)
			continue
		}
		input := &openapi3filter.RequestValidationInput{
			Request: q, PathParams: params, Route: route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
		}
		if r.Method != http.MethodPost {
			q.Header.Del("Content-Type") // one of the clients has it on requests without body
		}
		if err := openapi3filter.ValidateRequest(q.Context(), input); err != nil {
			i.t.Errorf("%s: request %s %s %s: %v", name, r.Method, r.URL, asked, err)
		}
		err = openapi3filter.ValidateResponse(q.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: input, Status: answer.Code, Header: answer.Header(),
			Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())), Options: &openapi3filter.Options{IncludeResponseStatus: true},
		})
		if err != nil {
			i.t.Errorf("%s: answer to %s %s: %d %s: %v", name, r.Method, r.URL, answer.Code, answer.Body, err)
		}
		client, _, _ := strings.Cut(r.UserAgent(), "/")
		if i.done[client] == nil {
			i.done[client] = map[string]bool{}
		}
		i.done[client][route.Operation.OperationID] = true
	}
}

// served returns the operations of the API that the server says it serves:
// neither extensions nor other APIs.
func served(t *testing.T, document []byte) (ids []string) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			if _, ours := op.Extensions["x-godwit-extension"]; !ours && slices.Contains(published, op.OperationID) {
				ids = append(ids, op.OperationID)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// published are all operations of the API.
var published = strings.Fields(`ListBillingPeriod CreateEsimProfile ListEsimProfile FetchEsimProfile CreateFleet ListFleet FetchFleet UpdateFleet
	CreateIpCommand ListIpCommand FetchIpCommand FetchNetwork ListNetwork CreateNetworkAccessProfile ListNetworkAccessProfile
	FetchNetworkAccessProfile UpdateNetworkAccessProfile ListNetworkAccessProfileNetwork CreateNetworkAccessProfileNetwork
	DeleteNetworkAccessProfileNetwork FetchNetworkAccessProfileNetwork ListSettingsUpdate CreateSim ListSim FetchSim UpdateSim
	ListSimIpAddress CreateSmsCommand ListSmsCommand FetchSmsCommand ListUsageRecord`)

// TestWholeAPI has the vendor's unmodified clients do every operation that is
// served. What they ask and what they are answered is held against the
// server's own document, and against the published one where it is at hand.
func TestWholeAPI(t *testing.T) {
	p := startServer(t, "--callback-allow", "127.0.0.0/8")
	own := download(t, p.credentials.BaseURL+"/openapi.json")
	documents := map[string][]byte{"own document": own}
	if text := publishedDocument(); text != nil {
		documents["published document"] = text
	} else {
		t.Log("the published document is not at hand: only our own is compared with")
	}
	i := inspect(t, p.credentials.BaseURL, documents)
	wanted := served(t, own)
	for _, id := range published {
		if !slices.Contains(wanted, id) {
			t.Errorf("not served: %s", id)
		}
	}
	cards := p.newCards(3)
	for n, c := range []struct {
		name string
		run  func(t *testing.T, i *inspector, c credentials)
	}{
		{"twilio-go", wholeGo}, {"twilio-node", wholeNode}, {"twilio-python", wholePython},
	} {
		t.Run(c.name, func(t *testing.T) {
			i.bad, i.card = nil, cards[n]
			c.run(t, i, p.credentials)
			i.mu.Lock()
			defer i.mu.Unlock()
			for _, id := range wanted {
				if !i.done[c.name][id] {
					t.Errorf("%s is served, and did not succeed", id)
				}
			}
			if t.Failed() {
				t.Logf("refused:\n%s", strings.Join(i.bad, "\n"))
			}
		})
	}
}

// publishedDocument returns the vendor's description of the API, nil where it
// is not at hand: it is not part of this repository.
func publishedDocument() []byte {
	dir := os.Getenv("GODWIT_REFERENCE")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "reference", "data") // as package reference has it
	}
	text, err := os.ReadFile(filepath.Join(dir, "openapi", "twilio_supersim_v1.json"))
	if err != nil {
		return nil
	}
	return text
}

func download(t *testing.T, from string) []byte {
	t.Helper()
	response, err := http.Get(from)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v", from, response.StatusCode, err)
	}
	return text
}

// clientsDir is the folder into which make test has put clients in other
// languages.
func clientsDir() string {
	if dir := os.Getenv("GODWIT_CLIENTS"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "godwit", "clients")
}

// pythonPackage is the pattern of the place of a package among the clients in Python.
// Where it could not be had the interpreter may be there all the same.
func pythonPackage(name string) string {
	return filepath.Join(clientsDir(), "python", "lib", "python3*", "site-packages", name)
}

func wholeNode(t *testing.T, i *inspector, c credentials) {
	modules := filepath.Join(clientsDir(), "node", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "twilio")); err != nil {
		t.Skip("twilio-node is not installed: make clients")
	}
	wholeScript(t, i, c, []string{"NODE_PATH=" + modules}, "node", "whole.js")
}

func wholePython(t *testing.T, i *inspector, c credentials) {
	if found, err := filepath.Glob(pythonPackage("twilio")); err != nil || len(found) == 0 {
		t.Skip("twilio-python is not installed: make clients")
	}
	wholeScript(t, i, c, nil, filepath.Join(clientsDir(), "python", "bin", "python"), "whole.py")
}

// wholeScript runs a script that does the whole API. It writes one line for
// each step that failed though it may not.
func wholeScript(t *testing.T, i *inspector, c credentials, more []string, program, script string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, filepath.Join("testdata", "clients", script))
	command.Env = append(append(environment(), more...),
		"BASE_URL="+i.server.URL, "ACCOUNT_SID="+c.AccountSID, "AUTH_TOKEN="+c.AuthToken, "CARD_ICCID="+i.card.iccid, "CARD_CODE="+i.card.code, "SERVED="+servedWords(t, i))
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
}

// servedWords tells a script what it is to do.
func servedWords(t *testing.T, i *inspector) string {
	return strings.Join(served(t, download(t, i.server.URL+"/openapi.json")), " ")
}
