package eim

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/ident"
	"godwit/internal/clock"
	"godwit/iot"
	"godwit/jobs"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

const eimID = "eim.example.com"

// authorities are made once: a CI and an EUM below it.
var authorities = sync.OnceValue(func() (out struct{ ci, eum, foreign *pki.Issuer }) {
	since := time.Now().Add(-time.Hour)
	must := func(i *pki.Issuer, err error) *pki.Issuer {
		if err != nil {
			panic(err)
		}
		return i
	}
	eum := func(ci *pki.Issuer) *pki.Issuer {
		return must(ci.IssueEUM(pki.Request{
			Role: pki.EUM, Subject: pki.Subject{Country: "XX", Organization: "Test EUM", CommonName: "Test EUM"},
			OID: "2.999.5", EIDPrefix: "89049032", NotBefore: since,
		}))
	}
	out.ci = must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: since}))
	out.eum = eum(out.ci)
	out.foreign = eum(must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: since})))
	return out
})

// A world is an eIM on a real database behind real HTTP.
type world struct {
	t      testing.TB
	db     *db.DB
	config Config
	server *Server
	jobs   *jobs.Queue
	clock  *clock.Clock
	http   *httptest.Server
	json   bool

	mu          sync.Mutex
	outcomes    []Outcome // ends
	underWay    []Outcome // the others
	inventories []Inventory
	sightings   []Sighting
	failing     bool // Outcome fails
	devices     int
}

func newWorld(t testing.TB, d *db.DB, change ...func(*Config)) *world {
	t.Helper()
	roots, err := pki.NewRoots(authorities().ci.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: d, clock: &clock.Clock{}}
	w.config = Config{
		ID: eimID, FQDN: eimID, Roots: roots, Now: w.clock.Now,
		Outcome: func(_ context.Context, tx *db.Tx, o Outcome) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.failing {
				return errors.New("no")
			}
			tx.AfterCommit(func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				if o.Stage == Sent {
					w.underWay = append(w.underWay, o)
					return
				}
				w.outcomes = append(w.outcomes, o)
			})
			return nil
		},
		Inventory: func(_ context.Context, tx *db.Tx, i Inventory) error {
			tx.AfterCommit(func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.inventories = append(w.inventories, i)
			})
			return nil
		},
		Seen: func(_ context.Context, list []Sighting) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sightings = append(w.sightings, list...)
			return nil
		},
	}
	for _, c := range change {
		c(&w.config)
	}
	w.open()
	w.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.server.Handler().ServeHTTP(rw, r) }))
	t.Cleanup(w.http.Close)
	return w
}

// open starts the server anew, as after a crash: nothing but the database stays.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.jobs, err = jobs.New(w.db); err != nil {
		w.t.Fatal(err)
	}
	w.config.Jobs = w.jobs
	if w.server, err = Open(w.t.Context(), w.db, w.config); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(fn func(tx *db.Tx) error) {
	w.t.Helper()
	if err := w.db.Write(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

// queue queues a task and returns its id.
func (w *world) queue(t Task) string {
	w.t.Helper()
	if t.ID == "" {
		t.ID = newTaskID()
	}
	w.write(func(tx *db.Tx) error { return w.server.Queue(w.t.Context(), tx, t) })
	return t.ID
}

func (w *world) cancel(id string) (ok bool) {
	w.t.Helper()
	w.write(func(tx *db.Tx) (err error) {
		ok, err = w.server.Cancel(w.t.Context(), tx, id)
		return err
	})
	return ok
}

// outcome returns how a task ended; it must have ended once.
func (w *world) outcome(id string) Outcome {
	w.t.Helper()
	list := w.outcomesOf(id)
	if len(list) != 1 {
		w.t.Fatalf("task %s has %d outcomes, want 1", id, len(list))
	}
	return list[0]
}

func (w *world) outcomesOf(id string) (list []Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.outcomes {
		if o.TaskID == id {
			list = append(list, o)
		}
	}
	return list
}

// heard is what was told of a task while it was under way, as reasons.
func (w *world) heard(id string) (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.underWay {
		if o.TaskID == id {
			list = append(list, o.Reason)
		}
	}
	return list
}

func (w *world) stage(id string) (s Stage) {
	w.t.Helper()
	err := w.db.Read(w.t.Context(), func(q db.Query) error {
		return q.QueryRowContext(w.t.Context(), `select stage from eim_task where id = $1`, id).Scan(&s)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// count counts rows.
func (w *world) count(query string, args ...any) (n int) {
	w.t.Helper()
	err := w.db.Read(w.t.Context(), func(q db.Query) error {
		return q.QueryRowContext(w.t.Context(), query, args...).Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// A device is an eUICC with its IPA, as far as the eIM sees them: it keeps to the
// rules of SGP.32 and holds its results until they are acknowledged.
type device struct {
	w       *world
	eid     ident.EID
	key     crypto.Signer
	agent   crypto.Signer // signs in its place
	chip    *pki.Credential
	eum     *pki.Issuer
	eim     *pki.PublicKey
	token   *int64
	counter int64
	seq     int64
	enabled ident.ICCID
	holds   []ident.ICCID
	pending []held
	done    map[string]int // how often a task was executed, by its transaction
	taken   int            // packages that were executed
}

type held struct {
	seq int64
	der []byte
}

const (
	iccidA = ident.ICCID("8988211000000000001")
	iccidB = ident.ICCID("8988211000000000019")
)

// device makes a device and registers it.
func (w *world) device(change ...func(*device)) *device {
	w.t.Helper()
	w.mu.Lock()
	w.devices++
	n := w.devices
	w.mu.Unlock()
	eid, err := ident.NewEID(fmt.Sprintf("89049032%022d", n))
	if err != nil {
		w.t.Fatal(err)
	}
	v := &device{w: w, eid: eid, eum: authorities().eum, holds: []ident.ICCID{iccidA, iccidB}, done: map[string]int{}}
	for _, c := range change {
		c(v)
	}
	v.chip, err = v.eum.Issue(pki.Request{
		Role: pki.EUICC, Subject: pki.Subject{CommonName: "Test eUICC"}, EID: eid, NotBefore: time.Now().Add(-time.Hour),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	v.key = v.chip.Key
	v.register()
	return v
}

func (v *device) register() {
	v.w.t.Helper()
	var agentKey []byte
	if v.agent != nil {
		public, err := pki.PublicKeyOf(v.agent)
		if err != nil {
			v.w.t.Fatal(err)
		}
		agentKey = public.Info()
		v.key = v.agent
	}
	v.w.write(func(tx *db.Tx) error {
		return v.w.server.Register(v.w.t.Context(), tx, EUICC{EID: v.eid, AgentKey: agentKey})
	})
	err := v.w.db.Read(v.w.t.Context(), func(q db.Query) error {
		c, err := v.w.server.Initial(v.w.t.Context(), q, v.eid)
		if err != nil {
			return err
		}
		v.counter = *c.Counter
		v.eim, err = c.Key()
		return err
	})
	if err != nil {
		v.w.t.Fatal(err)
	}
}

// ask sends a request in the world's binding and returns the answer.
func (w *world) ask(q any) any {
	w.t.Helper()
	path, contentType, body := rsp.PathASN1, rsp.ContentTypeASN1, []byte(nil)
	if w.json {
		path, contentType, body = iot.PathESipa+iot.Function(q), rsp.ContentType, iot.MarshalJSONRequest(q)
	} else {
		body = iot.AppendASN1Request(nil, q)
	}
	status, header, answer := w.post(path, contentType, body)
	if header.Get(rsp.HeaderProtocol) != iot.Protocol {
		w.t.Fatalf("%s is %q", rsp.HeaderProtocol, header.Get(rsp.HeaderProtocol))
	}
	if status == http.StatusNoContent {
		return nil
	}
	if status != http.StatusOK || header.Get("Content-Type") != contentType {
		w.t.Fatalf("HTTP status %d, %s: %s", status, header.Get("Content-Type"), answer)
	}
	var p any
	var err error
	if w.json {
		p, err = iot.ParseJSONResponse(iot.Function(q), answer)
	} else {
		p, err = iot.ParseASN1Response(answer)
	}
	if err != nil {
		w.t.Fatalf("%v: %q", err, answer)
	}
	return p
}

func (w *world) post(path, contentType string, body []byte) (int, http.Header, []byte) {
	w.t.Helper()
	q, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.http.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	q.Header.Set("Content-Type", contentType)
	q.Header.Set("User-Agent", iot.UserAgent)
	q.Header.Set(rsp.HeaderProtocol, iot.Protocol)
	p, err := http.DefaultClient.Do(q)
	if err != nil {
		w.t.Fatal(err)
	}
	defer p.Body.Close()
	answer, err := io.ReadAll(p.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return p.StatusCode, p.Header, answer
}

func (v *device) poll() *iot.GetEimPackageResponse {
	v.w.t.Helper()
	return v.w.ask(&iot.GetEimPackageRequest{EID: v.eid}).(*iot.GetEimPackageResponse)
}

func (v *device) provide(q *iot.ProvideEimPackageResult) *iot.ProvideEimPackageResultResponse {
	v.w.t.Helper()
	q.EID = v.eid
	p := v.w.ask(q).(*iot.ProvideEimPackageResultResponse)
	for _, n := range p.Acknowledged {
		v.pending = slices.DeleteFunc(v.pending, func(h held) bool { return h.seq == n })
	}
	return p
}

// run polls until there is nothing more, and does what it is told.
func (v *device) run() {
	v.w.t.Helper()
	for range 100 {
		p := v.poll()
		if p.Error != 0 {
			if p.Error != iot.EimNoPackage {
				v.w.t.Fatalf("poll: error %d", p.Error)
			}
			return
		}
		v.provide(v.handle(p))
	}
	v.w.t.Fatal("the eIM always has something to do")
}

// handle does what a package says and returns the result.
func (v *device) handle(p *iot.GetEimPackageResponse) *iot.ProvideEimPackageResult {
	v.w.t.Helper()
	switch {
	case p.EUICCPackage != nil:
		return &iot.ProvideEimPackageResult{PackageResult: v.execute(p.EUICCPackage)}
	case p.DataRequest != nil:
		return &iot.ProvideEimPackageResult{DataResponse: v.data(p.DataRequest)}
	}
	t, err := iot.ParseDownloadTrigger(p.DownloadTrigger)
	if err != nil {
		v.w.t.Fatal(err)
	}
	v.done[fmt.Sprintf("%x", t.TransactionID)]++
	r := iot.DownloadResult{TransactionID: t.TransactionID, Installation: v.installation(iccidB, 0)}
	return &iot.ProvideEimPackageResult{DownloadResult: r.Append(nil)}
}

// installation is what the eUICC signs after a download.
func (v *device) installation(iccid ident.ICCID, failure rsp.InstallError) []byte {
	v.w.t.Helper()
	v.seq++
	id, err := rsp.TransactionIDFromOctets([]byte{1, 2, 3, byte(v.seq)})
	if err != nil {
		v.w.t.Fatal(err)
	}
	r := rsp.InstallationResult{
		TransactionID: id, OID: "2.999.10", AID: rsp.ISDP(1), SIMAResponse: []byte{0x30, 0},
		Notification: rsp.NotificationMetadata{Sequence: v.seq, Event: rsp.EventInstall, Address: "smdp.example.com", ICCID: iccid},
		Error:        failure,
	}
	der, err := r.Sign(v.chip.Key)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return der
}

// data answers what the IPA is asked.
func (v *device) data(der []byte) []byte {
	v.w.t.Helper()
	q, err := iot.ParseDataRequest(der)
	if err != nil {
		v.w.t.Fatal(err)
	}
	p := iot.DataResponse{TransactionID: q.TransactionID}
	for _, tag := range q.Tags {
		switch tag {
		case iot.DataResults:
			p.Results = [][]byte{}
			for _, h := range v.pending {
				p.Results = append(p.Results, h.der)
			}
		case iot.DataEUICCCertificate:
			if v.agent == nil {
				p.EUICCCertificate = v.chip.Certificate.Raw
			}
		case iot.DataEUMCertificate:
			if v.agent == nil {
				p.EUMCertificate = v.eum.Certificate.Raw
			}
		case iot.DataToken:
			p.Token = v.token
		}
	}
	return p.Append(nil)
}

func (v *device) sign(r *iot.PackageResult) []byte {
	v.w.t.Helper()
	der, err := r.Sign(v.key, v.token)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return der
}

// execute is the eUICC's side of a package. SGP.32 v1.2, 2.11.1.1.
func (v *device) execute(der []byte) []byte {
	v.w.t.Helper()
	q, err := iot.VerifyPackageRequest(der, v.eim, v.token)
	if err != nil {
		id, transaction, err := iot.ReadPackageHeader(der)
		if err != nil {
			v.w.t.Fatal(err)
		}
		return v.sign(&iot.PackageResult{EimID: id, TransactionID: transaction, Unsigned: true, Token: v.token})
	}
	r := &iot.PackageResult{EimID: q.EimID, Counter: q.Counter, TransactionID: q.TransactionID}
	if q.Counter <= v.counter {
		code := iot.PackageReplay
		r.ErrorCode = &code
		return v.sign(r)
	}
	v.counter = q.Counter
	v.taken++
	v.done[fmt.Sprintf("%x", q.TransactionID)]++
	for _, c := range q.PSMO {
		r.Results = append(r.Results, v.psmo(c))
	}
	for _, c := range q.ECO {
		o := iot.OpResult{Op: c.Op}
		if c.Op == iot.OpUpdateEim {
			if v.eim, err = c.Config.Key(); err != nil {
				v.w.t.Fatal(err)
			}
			if c.Config.Counter != nil {
				v.counter = *c.Config.Counter
			}
		}
		if c.Op == iot.OpListEim {
			o.Eims = []iot.EimInfo{{ID: eimID, Type: iot.EimIDFQDN}}
		}
		r.Results = append(r.Results, o)
	}
	v.seq++
	r.Sequence = v.seq
	signed := v.sign(r)
	v.pending = append(v.pending, held{v.seq, signed})
	return signed
}

func (v *device) psmo(c iot.PSMO) iot.OpResult {
	o := iot.OpResult{Op: c.Op}
	has := slices.Contains(v.holds, c.ICCID)
	switch c.Op {
	case iot.OpEnable:
		switch {
		case !has:
			o.Code = 1
		case v.enabled == c.ICCID:
			o.Code = 2
		default:
			v.enabled = c.ICCID
		}
	case iot.OpDisable:
		switch {
		case !has:
			o.Code = 1
		case v.enabled != c.ICCID:
			o.Code = 2
		default:
			v.enabled = ""
		}
	case iot.OpDelete:
		switch {
		case !has:
			o.Code = 1
		case v.enabled == c.ICCID:
			o.Code = 2
		default:
			v.holds = slices.DeleteFunc(v.holds, func(i ident.ICCID) bool { return i == c.ICCID })
		}
	case iot.OpList:
		o.Profiles = []iot.ProfileInfo{}
		for _, iccid := range v.holds {
			enabled := iccid == v.enabled
			o.Profiles = append(o.Profiles, iot.ProfileInfo{ICCID: iccid, Enabled: &enabled})
		}
	}
	return o
}

// isPackage reports whether an answer is a message with a tag.
func isPackage(p *iot.GetEimPackageResponse, tag tlv.Tag) bool {
	switch tag {
	case iot.TagPackage:
		return p.EUICCPackage != nil
	case iot.TagData:
		return p.DataRequest != nil
	case iot.TagDownloadTrigger:
		return p.DownloadTrigger != nil
	}
	return false
}
