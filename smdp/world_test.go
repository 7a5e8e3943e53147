package smdp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/internal/clock"
	"godwit/pki"
	"godwit/rsp"
	"godwit/saip"
)

const address = "smdp.example.com"

// A world is an SM-DP+ on a real database behind real TLS, with CIs of its own.
type world struct {
	t        *testing.T
	db       *db.DB
	server   *Server
	listener *Listener
	url      string
	client   *http.Client
	cis      map[pki.Curve]*pki.Issuer
	eums     map[pki.Curve]*pki.Issuer
	clock    *clock.Clock
	asn1     bool      // ES9+ in the ASN.1 binding
	curve    pki.Curve // of chips

	mu       sync.Mutex
	progress []rsp.ProgressInfo
	chips    int
	calls    int
}

// authorities are made once: keys and certificates of both curves.
var authorities = sync.OnceValue(func() map[pki.Curve][2]*pki.Issuer {
	out := map[pki.Curve][2]*pki.Issuer{}
	for _, curve := range []pki.Curve{pki.P256, pki.BrainpoolP256r1} {
		since := time.Now().Add(-time.Hour)
		ci, err := pki.NewTestCI(curve, pki.Request{NotBefore: since})
		if err != nil {
			panic(err)
		}
		eum, err := ci.IssueEUM(pki.Request{
			Role: pki.EUM, Subject: pki.Subject{Country: "XX", Organization: "Test EUM", CommonName: "Test EUM"},
			OID: "2.999.5", EIDPrefix: "89049032", NotBefore: since,
		})
		if err != nil {
			panic(err)
		}
		out[curve] = [2]*pki.Issuer{ci, eum}
	}
	return out
})

var identities = sync.OnceValue(func() []*pki.Identity {
	var out []*pki.Identity
	for _, curve := range []pki.Curve{pki.P256, pki.BrainpoolP256r1} {
		i, err := authorities()[curve][0].IssueIdentity(pki.Subject{Organization: "Test", CommonName: "Test SM-DP+"}, "2.999.10",
			[]string{address, "127.0.0.1"}, time.Now().Add(-time.Hour))
		if err != nil {
			panic(err)
		}
		out = append(out, i)
	}
	return out
})

// newWorld opens an SM-DP+ on d. change may alter the configuration.
func newWorld(t *testing.T, d *db.DB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, db: d, clock: &clock.Clock{}, curve: pki.P256, cis: map[pki.Curve]*pki.Issuer{}, eums: map[pki.Curve]*pki.Issuer{}}
	for curve, pair := range authorities() {
		w.cis[curve], w.eums[curve] = pair[0], pair[1]
	}
	config := Config{Addresses: []string{address}, Now: w.clock.Now, Progress: func(_ context.Context, infos []rsp.ProgressInfo) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.progress = append(w.progress, infos...)
		return nil
	}}
	for _, c := range change {
		c(&config)
	}
	var err error
	if w.server, err = Open(t.Context(), d, config); err != nil {
		t.Fatal(err)
	}
	if w.listener, err = w.server.Listen(Trust{Identities: identities()}); err != nil {
		t.Fatal(err)
	}
	w.url, w.client = serve(t, w.listener)
	for _, template := range saip.Templates() {
		err := w.server.AddType(t.Context(), ProfileType{
			ID: template.Name, Template: template.Bytes(), Protection: PPK,
			Metadata: Metadata{
				ServiceProvider: "Test", Name: template.Name,
				Notifications: []Notification{{Events: []string{"enable", "disable", "delete"}}},
			},
		})
		if err != nil && !fault.Is(err, fault.Conflict) { // of an earlier world on this database
			t.Fatal(err)
		}
	}
	return w
}

// serve puts a listener behind TLS and returns its address with a client that
// trusts it.
func serve(t *testing.T, l *Listener) (string, *http.Client) {
	t.Helper()
	config, err := l.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return serveHandler(t, l.Handler(), config), &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS()}, Timeout: time.Minute}
}

func serveHandler(t *testing.T, h http.Handler, config *tls.Config) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func clientTLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities()[pki.P256][0].Certificate.PEM())
	return &tls.Config{RootCAs: pool}
}

// stock brings n fresh profiles of a type into stock.
func (w *world) stock(profileType string, n int) {
	w.t.Helper()
	w.mu.Lock()
	w.calls++
	first := w.calls
	w.mu.Unlock()
	if _, err := w.server.Generate(w.t.Context(), Range{
		Type: profileType, ICCID: fmt.Sprintf("8988%07d00000000", first)[:19], IMSI: ident.IMSI(fmt.Sprintf("00101%04d000000", first)), Count: n,
	}, nil); err != nil {
		w.t.Fatal(err)
	}
}

// An order of the program itself that was confirmed.
type ordered struct {
	iccid ident.ICCID
	id    ident.MatchingID
}

// wish says what order is wanted.
type wish struct {
	typ     string // minimal-usim when empty
	eid     ident.EID
	id      *ident.MatchingID
	code    string
	held    bool // not released
	noStock bool
	smds    string
}

func (w *world) order(want wish) ordered {
	w.t.Helper()
	if want.typ == "" {
		want.typ = "minimal-usim"
	}
	if !want.noStock {
		w.stock(want.typ, 1)
	}
	got, err := w.server.DownloadOrders(w.t.Context(), LocalOperator, []rsp.DownloadOrder{{Type: want.typ, EID: want.eid}})
	if err == nil {
		err = got[0].Header.Err()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	confirmed, err := w.server.ConfirmOrders(w.t.Context(), LocalOperator, []rsp.ConfirmOrder{{
		ICCID: got[0].ICCID, EID: want.eid, MatchingID: want.id, ConfirmationCode: want.code, Release: !want.held, SMDSAddress: want.smds,
	}})
	if err == nil {
		err = confirmed[0].Header.Err()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return ordered{got[0].ICCID, confirmed[0].MatchingID}
}

// state returns where a profile stands.
func (w *world) profile(iccid ident.ICCID) ProfileInfo {
	w.t.Helper()
	info, ok, err := w.server.Profile(w.t.Context(), iccid)
	if err != nil || !ok {
		w.t.Fatalf("profile %s: found %v, error %v", iccid, ok, err)
	}
	return info
}

func (w *world) wantState(iccid ident.ICCID, want State) {
	w.t.Helper()
	if got := w.profile(iccid); got.State != want {
		w.t.Errorf("profile is %s (%s), want %s", got.State, got.Failure, want)
	}
}

// heard delivers what waits in the outbox and returns what the program has heard about a profile.
func (w *world) heard(iccid ident.ICCID) []rsp.ProgressInfo {
	w.t.Helper()
	for {
		n, err := w.server.out.drain(w.t.Context(), `receiver = 'local'`, 100, leaseInside)
		if err != nil {
			w.t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []rsp.ProgressInfo
	for _, info := range w.progress {
		if info.ICCID == iccid {
			out = append(out, info)
		}
	}
	return out
}

// wantHeard checks the last report about a profile. code is "" for success.
func (w *world) wantHeard(iccid ident.ICCID, point rsp.NotificationPoint, code string) rsp.ProgressInfo {
	w.t.Helper()
	infos := w.heard(iccid)
	if len(infos) == 0 {
		w.t.Errorf("nothing was heard about %s, want point %d", iccid, point)
		return rsp.ProgressInfo{}
	}
	last := infos[len(infos)-1]
	got := ""
	if last.Status.Code != nil {
		got = last.Status.Code.StatusCode.String()
	}
	if last.Point != point || got != code {
		w.t.Errorf("heard point %d %q, want point %d %q", last.Point, got, point, code)
	}
	return last
}

// post calls a path with JSON and returns status and body.
func (w *world) post(path string, in any) (int, []byte) {
	w.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.postRaw(path, rsp.ContentType, body)
}

func (w *world) postRaw(path, contentType string, body []byte) (int, []byte) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set(rsp.HeaderProtocol, "gsma/rsp/v2.2.2")
	answer, err := w.client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if answer.StatusCode == http.StatusOK && answer.Header.Get(rsp.HeaderProtocol) == "" {
		w.t.Errorf("%s answers without %s", path, rsp.HeaderProtocol)
	}
	return answer.StatusCode, content
}

// call calls a function of ES9+ and reads its answer, which must come with
// HTTP status 200.
func call[R any](w *world, function string, in any) *R {
	w.t.Helper()
	if w.asn1 {
		return askASN1(w, in).(*R)
	}
	status, body := w.post(rsp.PathES9+function, in)
	if status != http.StatusOK {
		w.t.Fatalf("%s: HTTP status %d: %s", function, status, body)
	}
	out := new(R)
	if err := json.Unmarshal(body, out); err != nil {
		w.t.Fatalf("%s: %v in %s", function, err, body)
	}
	return out
}

// wantCode checks the result of a function; "" is success. An answer that came
// in the ASN.1 binding has only the number that stands for the code there.
func wantCode(t *testing.T, h rsp.ResponseHeader, want string) {
	t.Helper()
	got := ""
	if err := h.Err(); err != nil {
		f, _ := rsp.AsFailure(err)
		got = f.StatusCode.String()
		if like, number, ok := asn1Number(f.Message); ok && want != "" {
			if expected := numberOf(t, like, want); number != expected {
				t.Errorf("error %d in the ASN.1 binding, want %d for %s", number, expected, want)
			}
			return
		}
	}
	if got != want {
		t.Errorf("status code %q (%v), want %q", got, h.Err(), want)
	}
}

func str(id ident.MatchingID) *string { s := string(id); return &s }

// offeredTo begins a run of a chip and has it offered an order.
func (w *world) offeredTo(c *chip, o ordered) *session {
	w.t.Helper()
	s := c.start()
	wantCode(w.t, s.authenticate(str(o.id)), "")
	return s
}

// wantProfile checks that a package holds the profile of an ICCID with its
// keys.
func (w *world) wantProfile(o opened, iccid ident.ICCID) {
	w.t.Helper()
	p, err := saip.Parse(o.profile)
	if err != nil {
		w.t.Fatal(err)
	}
	personal, err := w.server.Personal(w.t.Context(), iccid)
	if err != nil {
		w.t.Fatal(err)
	}
	fs, err := p.FileSystem()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, adf := range fs.ADFs {
		if adf.AKA == nil || !bytes.Equal(adf.AKA.K, personal.K) || !bytes.Equal(adf.AKA.OPc, personal.OPc) {
			w.t.Errorf("application %x has not the keys of %s", adf.AID, iccid)
		}
	}
	m, err := rsp.ParseMetadata(o.metadata)
	if err != nil {
		w.t.Fatal(err)
	}
	if m.ICCID != iccid {
		w.t.Errorf("metadata are of %s, want %s", m.ICCID, iccid)
	}
}
