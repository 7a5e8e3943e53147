package lpa

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/euicc"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
	"godwit/saip"
	"godwit/tlv"
)

const (
	testEID     ident.EID = "89049032123451234512345678901235"
	testOID     ident.OID = "2.999.10"
	testAddress           = "rsp.example.com"
	dsAddress             = "ds.example.com"
	testCode              = "0815"
)

// issued is when everything here was certified.
var issued = time.Now().Add(-time.Hour).Truncate(time.Second)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An authority is a CI, the credentials of a chip and those of servers. It is
// made once: certificates cost time.
type authority struct {
	ci   *pki.Issuer
	chip euicc.Credential
	dp   *pki.Identity
	ds   *pki.Credential // DSauth
}

var (
	theAuthority   = sync.OnceValue(newAuthority)
	otherAuthority = sync.OnceValue(newAuthority)
)

func newAuthority() *authority {
	a := &authority{ci: must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: issued}))}
	eum := must(a.ci.IssueEUM(pki.Request{
		NotBefore: issued, OID: "2.999.5", EIDPrefix: "89049032",
		Subject: pki.Subject{Country: "ES", Organization: "RSP Test EUM", CommonName: "EUM Test"},
	}))
	chip := must(eum.Issue(pki.Request{Role: pki.EUICC, EID: testEID, NotBefore: issued}))
	a.chip = euicc.Credential{EUM: eum.Certificate, EUICC: chip.Certificate, Key: chip.Key}
	a.dp = must(a.ci.IssueIdentity(pki.Subject{Organization: "ACME", CommonName: "SM-DP+"}, testOID, []string{testAddress, dsAddress}, issued))
	a.ds = must(a.ci.Issue(pki.Request{Role: pki.DSAuth, OID: testOID, NotBefore: issued, Subject: pki.Subject{Organization: "ACME", CommonName: "SM-DS"}}))
	return a
}

// A world is a chip, an assistant, and a server that does as it is told. The
// server keeps to SGP.22, but for what a test makes it do wrong.
type world struct {
	*authority
	testing.TB
	card *euicc.Card
	lpa  *LPA

	// What the server offers, and how.
	code     string                      // confirmation code that it wants
	metadata *rsp.Metadata               // of the profile
	profile  []byte                      // package
	refuse   map[string]rsp.StatusCode   // functions that fail
	spoil    map[string]func(answer any) // changes answers on their way
	status   map[string]int              // HTTP status in place of an answer
	events   map[string][]rsp.EventEntry // by address: makes it an SM-DS there
	entered  map[string]func()           // called before a function is answered
	auth     *pki.Credential             // credential for authentication

	// What the server has seen.
	mu        sync.Mutex
	called    []string
	cancelled *rsp.CancelSessionSigned
	results   []*rsp.InstallationResult
	other     []rsp.NotificationMetadata
	seen      *rsp.EUICCSigned1
	errors    []int64 // refusals of the chip

	// The run.
	address           string
	id                rsp.TransactionID
	challenge         []byte
	signature1, sign2 []byte
}

func newWorld(t testing.TB, changes ...func(*euicc.Config)) *world {
	t.Helper()
	a := theAuthority()
	cfg := euicc.Config{
		EID: testEID, Credentials: []euicc.Credential{a.chip}, Roots: []*pki.Certificate{a.ci.Certificate}, RootDS: dsAddress,
	}
	for _, change := range changes {
		change(&cfg)
	}
	w := &world{
		authority: a, TB: t, card: must(euicc.NewMemory(cfg)), auth: a.dp.Auth,
		refuse: map[string]rsp.StatusCode{}, spoil: map[string]func(any){}, status: map[string]int{},
		events: map[string][]rsp.EventEntry{}, entered: map[string]func(){},
	}
	w.offer(1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{
		Certificate: [][]byte{a.dp.TLS.Certificate.Raw}, PrivateKey: a.dp.TLS.Key,
	}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	client := w.client(server.Listener.Addr().String(), a.ci.Certificate)
	chip, err := OpenChip(w.card)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.card.Close() })
	w.lpa = &LPA{Chip: chip, HTTP: client}
	t.Cleanup(client.CloseIdleConnections)
	return w
}

// client returns an HTTP client for which every name leads to one address.
func (w *world) client(address string, cis ...*pki.Certificate) *http.Client {
	return NewHTTPClient(Trust{
		Roots: must(pki.NewRoots(cis...)),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	})
}

// offer prepares the nth profile of the bench.
func (w *world) offer(n int) ident.ICCID {
	iccid := must(ident.NewICCID(fmt.Sprintf("8999901%012d", n)))
	w.metadata = &rsp.Metadata{
		ICCID: iccid, ServiceProvider: "Godwit", Name: fmt.Sprint("Profile ", n), Class: rsp.ClassOperational,
		Owner: &rsp.OperatorID{PLMN: [3]byte{0x00, 0xF1, 0x10}},
		Notifications: []rsp.NotificationConfig{
			{Events: rsp.EventEnable | rsp.EventDisable | rsp.EventDelete, Address: testAddress},
			{Events: rsp.EventInstall, Address: testAddress},
		},
	}
	w.profile = must(saip.Templates()[0].Personalise(&saip.Personal{
		ICCID: iccid, IMSI: ident.IMSI(fmt.Sprintf("00101%010d", n)), Algorithm: saip.Milenage,
		K: make([]byte, 16), OPc: make([]byte, 16), MNCLength: 2, PIN1: "1234", PUK1: "12345678", ADM1: "87654321",
	}))
	return iccid
}

// request asks for the offer by a matching identifier.
func (w *world) request() Request {
	return Request{Address: testAddress, MatchingID: new(ident.MatchingID("GODWIT-1"))}
}

// serve answers in the binding in which it is asked.
func (w *world) serve(out http.ResponseWriter, q *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, err := io.ReadAll(q.Body)
	if err != nil {
		w.Error(err)
	}
	if q.Header.Get("User-Agent") != rsp.UserAgent || q.Header.Get(rsp.HeaderProtocol) != rsp.Protocol {
		w.Errorf("headers %v", q.Header)
	}
	asn1 := q.URL.Path == rsp.PathASN1
	function := strings.TrimPrefix(q.URL.Path, rsp.PathES9)
	var request any
	if asn1 {
		request, err = rsp.ParseASN1Request(body)
		function = map[string]string{
			"*rsp.InitiateAuthenticationRequest": rsp.FnInitiateAuthentication, "*rsp.AuthenticateClientRequest": rsp.FnAuthenticateClient,
			"*rsp.GetBoundProfilePackageRequest": rsp.FnGetBoundProfilePackage, "*rsp.HandleNotificationRequest": rsp.FnHandleNotification,
			"*rsp.CancelSessionES9Request": rsp.FnCancelSession,
		}[fmt.Sprintf("%T", request)]
	} else {
		request = map[string]any{
			rsp.FnInitiateAuthentication: &rsp.InitiateAuthenticationRequest{}, rsp.FnAuthenticateClient: &rsp.AuthenticateClientRequest{},
			rsp.FnGetBoundProfilePackage: &rsp.GetBoundProfilePackageRequest{}, rsp.FnHandleNotification: &rsp.HandleNotificationRequest{},
			rsp.FnCancelSession: &rsp.CancelSessionES9Request{},
		}[function]
		err = json.Unmarshal(body, request)
	}
	if err != nil {
		w.Errorf("%s: %v", q.URL.Path, err)
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	w.called = append(w.called, function)
	if entered := w.entered[function]; entered != nil {
		entered()
	}
	if status := w.status[function]; status != 0 {
		http.Error(out, "as ordered", status)
		return
	}
	answer, err := w.answer(q.Host, request)
	if err != nil {
		w.Errorf("%s: %v", function, err)
	}
	if answer == nil {
		out.WriteHeader(http.StatusNoContent)
		return
	}
	if code, ok := w.refuse[function]; ok {
		header := (&rsp.Failure{StatusCode: code, Message: "as ordered"}).Header()
		answer = map[string]any{
			rsp.FnInitiateAuthentication: &rsp.InitiateAuthenticationResponse{Header: header},
			rsp.FnAuthenticateClient:     &rsp.AuthenticateClientResponse{Header: header},
			rsp.FnGetBoundProfilePackage: &rsp.GetBoundProfilePackageResponse{Header: header},
			rsp.FnCancelSession:          &rsp.CancelSessionES9Response{Header: header},
		}[function]
	}
	if spoil := w.spoil[function]; spoil != nil {
		spoil(answer)
	}
	if asn1 {
		_, err = out.Write(rsp.AppendASN1Response(nil, answer))
	} else {
		err = json.NewEncoder(out).Encode(answer)
	}
	if err != nil {
		w.Error(err)
	}
}

func (w *world) answer(host string, request any) (any, error) {
	key := w.chip.EUICC.PublicKey
	switch q := request.(type) {
	case *rsp.InitiateAuthenticationRequest:
		w.address, w.id, w.challenge = q.Address(), rsp.NewTransactionID(), rsp.NewChallenge()
		if w.address != host {
			return nil, fmt.Errorf("%s was asked for %s", host, w.address)
		}
		if _, err := rsp.ParseEUICCInfo1(q.EUICCInfo1); err != nil {
			return nil, err
		}
		auth := w.auth
		if w.events[w.address] != nil {
			auth = w.ds
		}
		raw, signature, err := (&rsp.ServerSigned1{
			TransactionID: w.id, EUICCChallenge: q.EUICCChallenge, ServerAddress: w.address, ServerChallenge: w.challenge,
		}).Sign(auth.Key)
		return &rsp.InitiateAuthenticationResponse{
			Header: rsp.Succeeded, TransactionID: w.id, ServerSigned1: raw, ServerSignature1: rsp.AppendSignature(nil, signature),
			CIKeyID: tlv.Append(nil, tlv.OctetString, w.ci.Certificate.SubjectKeyID), ServerCertificate: auth.Certificate.Raw,
		}, err
	case *rsp.AuthenticateClientRequest:
		p, err := rsp.ParseAuthenticateServerResponse(q.AuthenticateServerResponse)
		if err != nil {
			return nil, err
		}
		if p.Error != 0 {
			w.errors = append(w.errors, int64(p.Error))
			return &rsp.AuthenticateClientResponse{Header: (&rsp.Failure{StatusCode: rsp.EUICCSignatureInvalid}).Header()}, nil
		}
		if w.seen, err = p.Verify(key); err != nil {
			return nil, err
		}
		if list := w.events[w.address]; list != nil {
			return &rsp.AuthenticateClientES11Response{Header: rsp.Succeeded, TransactionID: w.id, EventEntries: list}, nil
		}
		w.signature1 = p.Signature
		raw, signature, err := (&rsp.SMDPSigned2{TransactionID: w.id, CodeRequired: w.code != ""}).Sign(w.dp.PB.Key, p.Signature)
		w.sign2 = signature
		return &rsp.AuthenticateClientResponse{
			Header: rsp.Succeeded, TransactionID: w.id, ProfileMetadata: w.metadata.Append(nil), SMDPSigned2: raw,
			SMDPSignature2: rsp.AppendSignature(nil, signature), SMDPCertificate: w.dp.PB.Certificate.Raw,
		}, err
	case *rsp.GetBoundProfilePackageRequest:
		return w.bind(q)
	case *rsp.CancelSessionES9Request:
		p, err := rsp.ParseCancelSessionResponse(q.CancelSessionResponse)
		if err != nil {
			return nil, err
		}
		if w.cancelled, err = p.Verify(key); err != nil {
			return nil, err
		}
		if q.TransactionID != w.id || w.cancelled.TransactionID != w.id {
			return nil, errors.New("another transaction is cancelled")
		}
		return &rsp.CancelSessionES9Response{Header: rsp.Succeeded}, nil
	case *rsp.HandleNotificationRequest:
		p, err := rsp.ParsePendingNotification(q.PendingNotification)
		if err != nil {
			return nil, err
		}
		if p.Installation {
			result, err := p.VerifyInstallation(key)
			w.results = append(w.results, result)
			return nil, err
		}
		n, err := p.VerifyOther(key)
		if err == nil {
			w.other = append(w.other, *n)
		}
		return nil, err
	}
	return nil, fmt.Errorf("a request of type %T", request)
}

func (w *world) bind(q *rsp.GetBoundProfilePackageRequest) (any, error) {
	p, err := rsp.ParsePrepareDownloadResponse(q.PrepareDownloadResponse)
	if err != nil {
		return nil, err
	}
	failed := func(code rsp.StatusCode) (any, error) {
		return &rsp.GetBoundProfilePackageResponse{Header: (&rsp.Failure{StatusCode: code}).Header()}, nil
	}
	if p.Error != 0 {
		w.errors = append(w.errors, int64(p.Error))
		return failed(rsp.EUICCSignatureInvalid)
	}
	signed, err := p.Verify(w.chip.EUICC.PublicKey, w.sign2)
	if err != nil {
		return nil, err
	}
	if w.code != "" && !rsp.CheckCode(rsp.HashCode(w.code), w.id, signed.HashedCode) {
		return failed(rsp.CodeRefused)
	}
	key, err := pki.GenerateAgreementKey(w.dp.Curve())
	if err != nil {
		return nil, err
	}
	z, err := key.Agree(signed.OneTimeKey)
	if err != nil {
		return nil, err
	}
	binding := rsp.Binding{
		TransactionID: w.id, HostID: []byte("host"), ServerKey: key.Public(), EUICCKey: signed.OneTimeKey,
		Keys: rsp.DeriveKeys(z[:], []byte("host"), testEID), OID: testOID, Metadata: w.metadata.AppendStored(nil), Profile: w.profile,
	}
	der, err := binding.Append(nil, w.dp.PB.Key)
	return &rsp.GetBoundProfilePackageResponse{Header: rsp.Succeeded, TransactionID: w.id, BoundProfilePackage: der}, err
}

// calls returns what the server was asked, and forgets it.
func (w *world) calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.called
	w.called = nil
	return c
}

// profiles returns the ICCIDs in the chip.
func (w *world) profiles() []ident.ICCID {
	w.Helper()
	list, err := w.lpa.Chip.Profiles(rsp.Selector{})
	if err != nil {
		w.Fatal(err)
	}
	var out []ident.ICCID
	for _, p := range list {
		out = append(out, p.ICCID)
	}
	return out
}

// waiting returns how many notifications the chip holds.
func (w *world) waiting() int {
	w.Helper()
	list, err := w.lpa.Chip.Pending()
	if err != nil {
		w.Fatal(err)
	}
	return len(list)
}

func (w *world) expectCalls(want ...string) {
	w.Helper()
	if got := w.calls(); !slices.Equal(got, want) {
		w.Errorf("the server was asked %v, want %v", got, want)
	}
}
