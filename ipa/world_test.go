package ipa_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"godwit/euicc"
	"godwit/ident"
	"godwit/internal/fuse"
	"godwit/iot"
	"godwit/ipa"
	"godwit/lpa"
	"godwit/pki"
	"godwit/rsp"
	"godwit/saip"
)

const (
	testEID    ident.EID = "89049032123451234512345678901235"
	testOID    ident.OID = "2.999.10"
	dpAddress            = "rsp.example.com"
	eimAddress           = "eim.example.com"
	eimID                = "eim.test"
)

// issued is when everything here was certified.
var issued = time.Now().Add(-time.Hour).Truncate(time.Second)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An authority is a CI and what it certified. It is made once: certificates cost
// time.
type authority struct {
	ci     *pki.Issuer
	chip   euicc.Credential
	dp     *pki.Identity
	eimTLS *pki.Identity
	eimKey crypto.Signer // signs packages
	agent  crypto.Signer // signs results of emulated chips
}

var theAuthority = sync.OnceValue(func() *authority {
	a := &authority{ci: must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: issued}))}
	eum := must(a.ci.IssueEUM(pki.Request{
		NotBefore: issued, OID: "2.999.5", EIDPrefix: "89049032",
		Subject: pki.Subject{Country: "ES", Organization: "RSP Test EUM", CommonName: "EUM Test"},
	}))
	chip := must(eum.Issue(pki.Request{Role: pki.EUICC, EID: testEID, NotBefore: issued}))
	a.chip = euicc.Credential{EUM: eum.Certificate, EUICC: chip.Certificate, Key: chip.Key}
	a.dp = must(a.ci.IssueIdentity(pki.Subject{Organization: "ACME", CommonName: "SM-DP+"}, testOID, []string{dpAddress}, issued))
	a.eimTLS = must(a.ci.IssueIdentity(pki.Subject{Organization: "ACME", CommonName: "eIM"}, "2.999.11", []string{eimAddress}, issued))
	a.eimKey = must(pki.GenerateKey(pki.P256))
	a.agent = must(pki.GenerateKey(pki.P256))
	return a
})

func publicInfo(key crypto.Signer) []byte {
	return must(x509.MarshalPKIXPublicKey(key.Public()))
}

// configuration is what the chip is told of the eIM.
func (a *authority) configuration() iot.EimConfiguration {
	return iot.EimConfiguration{
		ID: eimID, FQDN: eimAddress, IDType: iot.EimIDFQDN, Counter: new(int64(0)), Token: new(int64(iot.AskToken)),
		PublicKey: publicInfo(a.eimKey), TLSPublicKey: publicInfo(a.eimTLS.TLS.Key), Protocols: iot.RetrieveHTTPS,
	}
}

// A kind is one of the two ways to have a chip.
type kind string

const (
	consumerChip kind = "consumer eUICC"
	iotChip      kind = "SGP.32 eUICC"
)

var kinds = []kind{consumerChip, iotChip}

// A world is a device with its chip, an eIM and an SM-DP+. The device can be
// killed and started again; chip and journals stay.
type world struct {
	*authority
	testing.TB
	kind kind
	card *euicc.Card
	eim  *scriptedEIM
	dp   *server

	chipJournal, ipaJournal *ipa.MemoryJournal
	fuse                    *fuse.Fuse
	network                 func(host string) error // refuses connections and requests
	change                  func(*ipa.IPA)          // before a device starts
	device                  *ipa.IPA

	address  map[string]string // host → where it listens
	inMemory bool
	listener map[string]*pipeListener
}

func newWorld(t testing.TB, k kind) *world {
	t.Helper()
	return makeWorld(t, k, false)
}

// makeWorld makes a world whose connections may be in memory, where time can be
// that of testing/synctest.
func makeWorld(t testing.TB, k kind, inMemory bool) *world {
	t.Helper()
	a := theAuthority()
	cfg := euicc.Config{
		EID: testEID, Credentials: []euicc.Credential{a.chip}, Roots: []*pki.Certificate{a.ci.Certificate},
		DefaultDP: dpAddress, IoT: k == iotChip,
	}
	w := &world{
		authority: a, TB: t, kind: k, card: must(euicc.NewMemory(cfg)), fuse: &fuse.Fuse{},
		chipJournal: &ipa.MemoryJournal{}, ipaJournal: &ipa.MemoryJournal{}, address: map[string]string{},
		network: func(string) error { return nil }, inMemory: inMemory, listener: map[string]*pipeListener{},
	}
	t.Cleanup(func() { w.card.Close() })
	w.dp = &server{authority: a, TB: t}
	w.dp.offer(1)
	w.eim = newScriptedEIM(w)
	w.serve(dpAddress, a.dp.TLS, w.dp)
	w.serve(eimAddress, a.eimTLS.TLS, w.eim)
	w.start()
	tokens, err := w.device.Chip.AddInitialEim([]iot.EimConfiguration{a.configuration()})
	if err != nil {
		t.Fatal(err)
	}
	w.eim.token = tokens[0]
	return w
}

// serve starts a real TLS server under a name.
func (w *world) serve(host string, c *pki.Credential, h http.Handler) {
	if w.inMemory {
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		w.listener[host] = l
		s := &http.Server{Handler: h, ErrorLog: quiet, TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{c.Certificate.Raw}, PrivateKey: c.Key}},
		}}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = s.ServeTLS(l, "", "") // ends with Close
		}()
		w.Cleanup(func() {
			s.Close()
			<-ended
		})
		return
	}
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.Certificate.Raw}, PrivateKey: c.Key}}}
	s.StartTLS()
	w.Cleanup(s.Close)
	w.address[host] = s.Listener.Addr().String()
}

// dial connects to the servers of this world.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if err := w.network(host); err != nil {
		return nil, err
	}
	if l := w.listener[host]; l != nil {
		return l.dial(ctx)
	}
	return (&net.Dialer{}).DialContext(ctx, network, w.address[host])
}

// start begins a life of the device: the card is reset, and all that the device
// knows is in the journals.
func (w *world) start() {
	w.Helper()
	if err := w.boot(); err != nil {
		w.Fatal(err)
	}
}

func (w *world) boot() error {
	if err := w.card.Reset(); err != nil {
		return err
	}
	var chip ipa.Chip
	var err error
	if w.kind == iotChip {
		chip, err = ipa.SGP32(&fuse.Card{Card: w.card, Fuse: w.fuse})
	} else {
		chip, err = ipa.Consumer(&fuse.Card{Card: w.card, Fuse: w.fuse}, &fuse.Journal{Journal: w.chipJournal, Fuse: w.fuse}, w.agent)
	}
	if err != nil {
		return err
	}
	config := w.configuration()
	client := must(ipa.NewClient(&config, ipa.Trust{Dial: w.dial}))
	w.Cleanup(client.HTTP.CloseIdleConnections)
	client.HTTP.Transport = &fusedTransport{client.HTTP.Transport, w}
	plain := lpa.NewHTTPClient(lpa.Trust{Roots: must(pki.NewRoots(w.ci.Certificate)), Dial: w.dial})
	w.Cleanup(plain.CloseIdleConnections)
	plain.Transport = &fusedTransport{plain.Transport, w}
	w.device = &ipa.IPA{
		Chip: chip, LPA: &lpa.LPA{Chip: chip.LPA(), HTTP: plain}, ESipa: client,
		Journal: &fuse.Journal{Journal: w.ipaJournal, Fuse: w.fuse}, EimID: eimID, ReachFor: 10 * time.Millisecond,
	}
	if w.change != nil {
		w.change(w.device)
	}
	return nil
}

// settle polls until nothing waits.
func (w *world) settle() {
	w.Helper()
	for range 50 {
		more, err := w.device.Poll(context.Background())
		if err != nil {
			w.Fatal(err)
		}
		if !more {
			return
		}
	}
	w.Fatal("the work does not end")
}

// resultKey is the key that signs results of the chip.
func (w *world) resultKey() *pki.PublicKey {
	if w.kind == iotChip {
		return w.chip.EUICC.PublicKey
	}
	return must(pki.PublicKeyOf(w.agent))
}

// install puts n profiles into the chip by itself, without the eIM.
func (w *world) install(n int) []ident.ICCID {
	w.Helper()
	var out []ident.ICCID
	for i := range n {
		out = append(out, w.dp.offer(100+i))
		if _, err := w.device.LPA.Download(context.Background(), lpa.Request{Address: dpAddress, MatchingID: new(ident.MatchingID("X"))}); err != nil {
			w.Fatal(err)
		}
	}
	w.dp.reset()
	return out
}

// enabled returns the enabled profile.
func (w *world) enabled() ident.ICCID {
	for _, p := range w.card.Profiles() {
		if p.Enabled {
			return p.ICCID
		}
	}
	return ""
}

func (w *world) iccids() []ident.ICCID {
	var out []ident.ICCID
	for _, p := range w.card.Profiles() {
		out = append(out, p.ICCID)
	}
	slices.Sort(out)
	return out
}

// profile makes the nth profile of the bench.
func profile(n int) (*rsp.Metadata, []byte) {
	iccid := must(ident.NewICCID(fmt.Sprintf("8999901%012d", n)))
	m := &rsp.Metadata{
		ICCID: iccid, ServiceProvider: "Godwit", Name: fmt.Sprint("Profile ", n), Class: rsp.ClassOperational,
		FallbackAllowed: new(true),
		Owner:           &rsp.OperatorID{PLMN: [3]byte{0x00, 0xF1, 0x10}},
		Notifications: []rsp.NotificationConfig{
			{Events: rsp.EventEnable | rsp.EventDisable | rsp.EventDelete, Address: dpAddress},
			{Events: rsp.EventInstall, Address: dpAddress},
		},
	}
	return m, must(saip.Templates()[0].Personalise(&saip.Personal{
		ICCID: iccid, IMSI: ident.IMSI(fmt.Sprintf("00101%010d", n)), Algorithm: saip.Milenage,
		K: make([]byte, 16), OPc: make([]byte, 16), MNCLength: 2, PIN1: "1234", PUK1: "12345678", ADM1: "87654321",
	}))
}

type fusedTransport struct {
	http.RoundTripper
	world *world
}

func (t *fusedTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	if err := t.world.fuse.Tick(); err != nil {
		return nil, err
	}
	if err := t.world.network(q.URL.Hostname()); err != nil {
		return nil, err
	}
	p, err := t.RoundTripper.RoundTrip(q)
	if blown := t.world.fuse.Tick(); blown != nil {
		if err == nil {
			p.Body.Close()
		}
		return nil, blown
	}
	return p, err
}

func (t *fusedTransport) CloseIdleConnections() {
	t.RoundTripper.(*http.Transport).CloseIdleConnections()
}

// A pipeListener listens in memory.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }
