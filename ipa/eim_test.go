package ipa_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
)

// A scriptedEIM hands out what a test queued, the same octets until a result of
// them has come, and writes down what came.
type scriptedEIM struct {
	w     *world
	token *int64

	mu      sync.Mutex
	counter int64
	queue   []*task
	done    map[string]*task // by transaction
	polls   []iot.GetEimPackageRequest
	passed  int // notifications that came for the SM-DP+
	errors  []iot.ResultError

	status    int                   // HTTP status in place of answers
	retry     string                // Retry-After
	unknown   bool                  // the EID
	deaf      bool                  // acknowledges nothing
	stuck     bool                  // hands out the same package for ever
	codeless  bool                  // nobody gave it the confirmation code
	unrelayed bool                  // it takes no part in downloads
	keepsCode bool                  // download data stay here: ctxParams1 comes from the eIM
	binding   map[string]int        // how often each was used
	lose      func(after bool) bool // loses requests, or answers
}

type task struct {
	id       string // transaction
	der      []byte
	handed   int      // out
	results  [][]byte // distinct ones, BF51, BF52 or BF54
	package_ *iot.PackageRequest
}

func newScriptedEIM(w *world) *scriptedEIM {
	return &scriptedEIM{w: w, done: map[string]*task{}, binding: map[string]int{}}
}

// set changes what the eIM does.
func (e *scriptedEIM) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

// asked returns the polls so far.
func (e *scriptedEIM) asked() []iot.GetEimPackageRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.polls)
}

// waiting returns how many packages wait.
func (e *scriptedEIM) waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue)
}

// count returns how often a task was handed out, and how many results it has.
func (t *task) count(w *world) (handed, results int) {
	w.eim.mu.Lock()
	defer w.eim.mu.Unlock()
	return t.handed, len(t.results)
}

func newID() []byte {
	id := make([]byte, 16)
	rand.Read(id)
	return id
}

// psmo queues a package of profile operations.
func (e *scriptedEIM) psmo(list ...iot.PSMO) *task {
	return e.order(&iot.PackageRequest{PSMO: list})
}

// eco queues a package of eIM operations.
func (e *scriptedEIM) eco(list ...iot.ECO) *task {
	return e.order(&iot.PackageRequest{ECO: list})
}

func (e *scriptedEIM) order(q *iot.PackageRequest) *task {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counter++
	q.EimID, q.EID, q.Counter, q.TransactionID = eimID, testEID, e.counter, newID()
	return e.add(&task{id: string(q.TransactionID), der: must(q.Sign(e.w.eimKey, e.token)), package_: q})
}

func (e *scriptedEIM) trigger(t iot.DownloadTrigger) *task {
	e.mu.Lock()
	defer e.mu.Unlock()
	t.TransactionID = newID()
	return e.add(&task{id: string(t.TransactionID), der: t.Append(nil)})
}

func (e *scriptedEIM) ask(q iot.DataRequest) *task {
	e.mu.Lock()
	defer e.mu.Unlock()
	q.TransactionID = newID()
	return e.add(&task{id: string(q.TransactionID), der: q.Append(nil)})
}

func (e *scriptedEIM) add(t *task) *task {
	e.queue = append(e.queue, t)
	e.done[t.id] = t
	return t
}

// ServeHTTP is ESipa in both bindings.
func (e *scriptedEIM) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller is gone
	}
	e.mu.Lock()
	lose, retry, status := e.lose, e.retry, e.status
	e.mu.Unlock()
	if lose != nil && lose(false) {
		panic(http.ErrAbortHandler)
	}
	if retry != "" {
		out.Header().Set("Retry-After", retry)
	}
	if status != 0 {
		http.Error(out, "as ordered", status)
		return
	}
	if r.Header.Get("User-Agent") != iot.UserAgent || r.Header.Get(rsp.HeaderProtocol) != iot.Protocol {
		e.w.Errorf("headers %v", r.Header)
	}
	asn1 := r.URL.Path == rsp.PathASN1
	var q any
	if asn1 {
		q, err = iot.ParseASN1Request(body)
	} else {
		q, err = iot.ParseJSONRequest(strings.TrimPrefix(r.URL.Path, iot.PathESipa), body)
	}
	if err != nil {
		e.w.Errorf("%s: %v", r.URL.Path, err)
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	p, err := e.answer(q)
	if err != nil {
		e.w.Errorf("%T: %v", q, err)
	}
	if lose != nil && lose(true) {
		panic(http.ErrAbortHandler)
	}
	e.mu.Lock()
	e.binding[map[bool]string{true: "ASN.1", false: "JSON"}[asn1]]++
	e.mu.Unlock()
	switch {
	case p == nil:
		out.WriteHeader(http.StatusNoContent)
	case asn1:
		_, _ = out.Write(iot.AppendASN1Response(nil, p)) // the caller may be gone
	default:
		_, _ = out.Write(iot.MarshalJSONResponse(p))
	}
}

func (e *scriptedEIM) answer(q any) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch q := q.(type) {
	case *iot.GetEimPackageRequest:
		e.polls = append(e.polls, *q)
		return e.next(q), nil
	case *iot.ProvideEimPackageResult:
		return e.take(q)
	case *iot.HandleNotification:
		e.passed++
		_, err := e.w.dp.answer(&rsp.HandleNotificationRequest{PendingNotification: q.Notification})
		return nil, err
	}
	return e.relay(q)
}

// next returns the package in flight, or the next one.
func (e *scriptedEIM) next(q *iot.GetEimPackageRequest) *iot.GetEimPackageResponse {
	if e.unknown || q.EID != testEID {
		return &iot.GetEimPackageResponse{Error: iot.EimEIDNotFound}
	}
	if len(e.queue) == 0 {
		return &iot.GetEimPackageResponse{Error: iot.EimNoPackage}
	}
	t := e.queue[0]
	t.handed++
	switch t.der[1] {
	case byte(iot.TagPackage & 0xFF):
		return &iot.GetEimPackageResponse{EUICCPackage: t.der}
	case byte(iot.TagData & 0xFF):
		return &iot.GetEimPackageResponse{DataRequest: t.der}
	case byte(iot.TagDownloadTrigger & 0xFF):
		return &iot.GetEimPackageResponse{DownloadTrigger: t.der}
	}
	return &iot.GetEimPackageResponse{Unknown: t.der}
}

// take writes a result down and acknowledges it.
func (e *scriptedEIM) take(q *iot.ProvideEimPackageResult) (*iot.ProvideEimPackageResultResponse, error) {
	p := &iot.ProvideEimPackageResultResponse{}
	switch {
	case q.Error != nil:
		e.errors = append(e.errors, *q.Error)
		if len(e.queue) > 0 {
			e.queue = e.queue[1:]
		}
		return p, nil
	case q.PackageResult != nil:
		r, err := iot.VerifyPackageResult(q.PackageResult, e.w.resultKey(), e.token)
		if err != nil {
			return nil, err
		}
		e.end(string(r.TransactionID), q.PackageResult)
		if r.Sequence != 0 && !e.deaf {
			p.Acknowledged = []int64{r.Sequence}
		}
	case q.DataResponse != nil:
		r, err := iot.ParseDataResponse(q.DataResponse)
		if err != nil {
			return nil, err
		}
		e.end(string(r.TransactionID), q.DataResponse)
	case q.DownloadResult != nil:
		r, err := iot.ParseDownloadResult(q.DownloadResult)
		if err != nil {
			return nil, err
		}
		e.end(string(r.TransactionID), q.DownloadResult)
	}
	return p, nil
}

func (e *scriptedEIM) end(id string, result []byte) {
	t := e.done[id]
	if t == nil {
		e.w.Errorf("a result of an order that nobody gave: %x", id)
		return
	}
	if len(e.queue) > 0 && e.queue[0] == t && !e.stuck {
		e.queue = e.queue[1:]
	}
	for _, known := range t.results {
		if bytes.Equal(known, result) {
			return
		}
	}
	t.results = append(t.results, result)
}

// relay answers the functions of ES9+ by asking the SM-DP+.
func (e *scriptedEIM) relay(q any) (any, error) {
	e.w.dp.mu.Lock()
	code := e.w.dp.code
	e.w.dp.mu.Unlock()
	switch q := q.(type) {
	case *iot.InitiateAuthenticationRequest:
		if e.unrelayed {
			return &iot.InitiateAuthenticationResponse{Refused: iot.Refused{Error: iot.RelayUndefined}}, nil
		}
		p, f, err := relayed[rsp.InitiateAuthenticationResponse](e, &rsp.InitiateAuthenticationRequest{
			SMDPAddress: dpAddress, EUICCChallenge: q.EUICCChallenge, EUICCInfo1: q.EUICCInfo1,
		})
		a := &iot.InitiateAuthenticationResponse{Refused: f}
		if p == nil {
			return a, err
		}
		a.ServerSigned1, a.ServerSignature1, a.CIKeyID, a.ServerCertificate = p.ServerSigned1, p.ServerSignature1, p.CIKeyID, p.ServerCertificate
		if e.keepsCode {
			a.Context = (&rsp.CtxParams1{MatchingID: new("KEPT"), Device: e.w.device.LPA.DeviceInfo()}).Append(nil)
		}
		return a, err
	case *iot.AuthenticateClientRequest:
		p, f, err := relayed[rsp.AuthenticateClientResponse](e, &rsp.AuthenticateClientRequest{
			TransactionID: q.TransactionID, AuthenticateServerResponse: q.AuthenticateServerResponse,
		})
		a := &iot.AuthenticateClientResponse{Refused: f}
		if p == nil {
			return a, err
		}
		a.ProfileMetadata, a.SMDPSigned2, a.SMDPSignature2, a.SMDPCertificate = p.ProfileMetadata, p.SMDPSigned2, p.SMDPSignature2, p.SMDPCertificate
		if e.keepsCode {
			a.ProfileMetadata = nil
		}
		if code != "" && !e.codeless {
			hash := rsp.HashCodeForRun(rsp.HashCode(code), q.TransactionID)
			a.HashedCode = hash[:]
		}
		return a, err
	case *iot.GetBoundProfilePackageRequest:
		p, f, err := relayed[rsp.GetBoundProfilePackageResponse](e, &rsp.GetBoundProfilePackageRequest{
			TransactionID: q.TransactionID, PrepareDownloadResponse: q.PrepareDownloadResponse,
		})
		a := &iot.GetBoundProfilePackageResponse{Refused: f}
		if p != nil {
			a.BoundProfilePackage = p.BoundProfilePackage
		}
		return a, err
	case *iot.CancelSessionRequest:
		_, f, err := relayed[rsp.CancelSessionES9Response](e, &rsp.CancelSessionES9Request{
			TransactionID: q.TransactionID, CancelSessionResponse: q.CancelSessionResponse,
		})
		return &iot.CancelSessionResponse{Refused: f}, err
	}
	return nil, fmt.Errorf("a request of type %T", q)
}

func relayed[A any](e *scriptedEIM, q any) (*A, iot.Refused, error) {
	p, err := e.w.dp.answer(q)
	if f, ok := rsp.AsFailure(err); ok {
		return nil, iot.Refused{Failure: f}, nil
	}
	if err != nil {
		return nil, iot.Refused{Error: iot.RelayUndefined}, err
	}
	return p.(*A), iot.Refused{}, nil
}

// result returns the last result of a package.
func (t *task) result(w *world) *iot.PackageResult {
	w.Helper()
	w.eim.mu.Lock()
	defer w.eim.mu.Unlock()
	if len(t.results) == 0 {
		w.Fatal("there is no result")
	}
	return must(iot.VerifyPackageResult(t.results[len(t.results)-1], w.resultKey(), w.eim.token))
}

// codes returns the codes of the last result.
func (t *task) codes(w *world) []int64 {
	w.Helper()
	r := t.result(w)
	if r.Unsigned {
		return []int64{-1}
	}
	if r.ErrorCode != nil {
		return []int64{-*r.ErrorCode}
	}
	var out []int64
	for _, o := range r.Results {
		out = append(out, o.Code)
	}
	return out
}

// download returns the last result of a download.
func (t *task) download(w *world) *iot.DownloadResult {
	w.Helper()
	w.eim.mu.Lock()
	defer w.eim.mu.Unlock()
	if len(t.results) == 0 {
		w.Fatal("there is no result")
	}
	return must(iot.ParseDownloadResult(t.results[len(t.results)-1]))
}

// operations that tests use.
func enable(iccid ident.ICCID, rollback bool) iot.PSMO {
	return iot.PSMO{Op: iot.OpEnable, ICCID: iccid, Rollback: rollback}
}
func disable(iccid ident.ICCID) iot.PSMO { return iot.PSMO{Op: iot.OpDisable, ICCID: iccid} }
func remove(iccid ident.ICCID) iot.PSMO  { return iot.PSMO{Op: iot.OpDelete, ICCID: iccid} }
func list() iot.PSMO                     { return iot.PSMO{Op: iot.OpList} }
