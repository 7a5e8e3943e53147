package euicc

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"
	"time"

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
)

var testTime = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// bothCurves are the curves that everything is to work on.
var bothCurves = []pki.Curve{pki.P256, pki.BrainpoolP256r1}

// An authority is a private CI with a manufacturer, a chip's credential and two
// servers below it.
type authority struct {
	ci    *pki.Issuer
	eum   *pki.Issuer
	chip  Credential
	dp    *pki.Identity // testOID
	other *pki.Identity // 2.999.11
}

// authorities are made once: certificates cost time, on brainpool much.
var authorities = map[pki.Curve]func() *authority{
	pki.P256:            sync.OnceValue(func() *authority { return newAuthority(pki.P256) }),
	pki.BrainpoolP256r1: sync.OnceValue(func() *authority { return newAuthority(pki.BrainpoolP256r1) }),
}

func newAuthority(curve pki.Curve) *authority {
	a := &authority{}
	a.ci = must(pki.NewTestCI(curve, pki.Request{NotBefore: testTime}))
	a.eum = must(a.ci.IssueEUM(pki.Request{
		NotBefore: testTime, OID: "2.999.5", EIDPrefix: "89049032",
		Subject: pki.Subject{Country: "ES", Organization: "RSP Test EUM", CommonName: "EUM Test"},
	}))
	chip := must(a.eum.Issue(pki.Request{Role: pki.EUICC, EID: testEID, NotBefore: testTime}))
	a.chip = Credential{EUM: a.eum.Certificate, EUICC: chip.Certificate, Key: chip.Key}
	subject := pki.Subject{Organization: "ACME", CommonName: "TEST SM-DP+"}
	a.dp = must(a.ci.IssueIdentity(subject, testOID, nil, testTime))
	a.other = must(a.ci.IssueIdentity(subject, "2.999.11", nil, testTime))
	return a
}

// must is for what cannot fail in a working build; its panic names the line.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// config is a chip that knows the CIs of the given curves.
func config(curves ...pki.Curve) Config {
	cfg := Config{EID: testEID, DefaultDP: "default.example.com", RootDS: "lpa.ds.example.com"}
	for _, curve := range curves {
		a := authorities[curve]()
		cfg.Credentials = append(cfg.Credentials, a.chip)
		cfg.Roots = append(cfg.Roots, a.ci.Certificate)
	}
	return cfg
}

// A tester drives a card as an LPA does, and fails the test when the transport
// goes wrong.
type tester struct {
	testing.TB
	card    *Card
	channel int
}

func newTester(t testing.TB, cfg Config) *tester {
	t.Helper()
	card, err := NewMemory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return testerOf(t, card)
}

func testerOf(t testing.TB, card *Card) *tester {
	t.Helper()
	t.Cleanup(func() { card.Close() })
	x := &tester{TB: t, card: card}
	x.connect()
	return x
}

// connect resets the card and selects the ISD-R.
func (x *tester) connect() {
	x.Helper()
	if err := x.card.Reset(); err != nil {
		x.Fatal(err)
	}
	n, err := x.card.OpenChannel(rsp.ISDR)
	if err != nil {
		x.Fatal(err)
	}
	x.channel = n
}

// apdu sends a command in hexadecimal and returns the answer in the same form.
func (x *tester) apdu(command string) string {
	x.Helper()
	r, err := x.card.Transmit(unhex(command))
	if err != nil {
		x.Fatalf("%s: %v", command, err)
	}
	return fmt.Sprintf("%X", r)
}

func unhex(s string) []byte { return must(hex.DecodeString(s)) }

// send brings a command to the ISD-R in blocks and collects the answer.
func (x *tester) send(data []byte) ([]byte, uint16) {
	x.Helper()
	var r []byte
	for block := 0; len(data) > 0; block++ {
		n := min(len(data), 255)
		p1 := byte(0x11)
		if n == len(data) {
			p1 = 0x91
		}
		var err error
		command := append([]byte{0x80 | byte(x.channel), 0xE2, p1, byte(block), byte(n)}, data[:n]...)
		if r, err = x.card.Transmit(command); err != nil {
			x.Fatal(err)
		}
		data = data[n:]
		if len(data) > 0 && !bytes.Equal(r, []byte{0x90, 0}) {
			x.Fatalf("block %d was answered with %X", block, r)
		}
	}
	var out []byte
	for {
		out = append(out, r[:len(r)-2]...)
		sw := uint16(r[len(r)-2])<<8 | uint16(r[len(r)-1])
		if sw>>8 != 0x61 {
			return out, sw
		}
		var err error
		if r, err = x.card.Transmit([]byte{byte(x.channel), 0xC0, 0, 0, byte(sw)}); err != nil {
			x.Fatal(err)
		}
	}
}

// es10 is send for a command that has to succeed.
func (x *tester) es10(data []byte) []byte {
	x.Helper()
	out, sw := x.send(data)
	if sw != 0x9000 && sw>>8 != 0x91 {
		x.Fatalf("command %.8X was answered with %04X", data, sw)
	}
	return out
}

// result runs a function that answers with a number.
func (x *tester) result(data []byte) int64 {
	x.Helper()
	out := x.es10(data)
	e, err := tlv.Parse(out)
	if err != nil {
		x.Fatal(err)
	}
	n, err := rsp.ParseResult(out, e.Tag)
	if err != nil {
		x.Fatal(err)
	}
	return n
}

// A run is a download as server and LPA see it. The functions that change
// messages on their way are for tests of refusals.
type run struct {
	*tester
	identity *pki.Identity
	curve    pki.Curve

	id         rsp.TransactionID
	challenge  []byte
	signature1 []byte
	euiccKey   []byte
	binding    *rsp.Binding

	// What the server says and how it signs.
	address     string
	ciKeyID     []byte
	auth        *pki.Credential
	pb          *pki.Credential
	code        string // confirmation code that the server wants
	reuse       []byte // one-time key that the server names
	metadata    *rsp.Metadata
	profile     []byte
	profileKeys *rsp.Keys
	sign1       crypto.Signer
}

func (x *tester) run(curve pki.Curve) *run {
	a := authorities[curve]()
	return &run{
		tester: x, identity: a.dp, curve: curve, id: rsp.NewTransactionID(), address: testAddress,
		ciKeyID: a.ci.Certificate.SubjectKeyID, auth: a.dp.Auth, pb: a.dp.PB,
		metadata: testMetadata(testICCID(1)), profile: testProfile(x, testICCID(1)),
	}
}

// testICCID returns the nth ICCID of the bench.
func testICCID(n int) ident.ICCID { return must(ident.NewICCID(fmt.Sprintf("8999901%012d", n))) }

func testMetadata(iccid ident.ICCID) *rsp.Metadata {
	return &rsp.Metadata{
		ICCID: iccid, ServiceProvider: "Godwit", Name: "Test " + string(iccid[len(iccid)-4:]), Class: rsp.ClassOperational,
		Notifications: []rsp.NotificationConfig{
			{Events: rsp.EventEnable | rsp.EventDisable | rsp.EventDelete, Address: testAddress},
			{Events: rsp.EventInstall | rsp.EventDelete, Address: "operator.example.com"},
		},
		Owner: &rsp.OperatorID{PLMN: [3]byte{0x00, 0xF1, 0x10}},
	}
}

// challengeCard opens the run at the card.
func (r *run) challengeCard() {
	r.Helper()
	challenge, err := rsp.ParseChallenge(r.es10(rsp.AppendEmpty(nil, rsp.TagGetEUICCChallenge)))
	if err != nil {
		r.Fatal(err)
	}
	r.challenge = challenge
}

// authenticate sends AuthenticateServer and returns the answer.
func (r *run) authenticate() *rsp.AuthenticateServerResponse {
	r.Helper()
	s := rsp.ServerSigned1{TransactionID: r.id, EUICCChallenge: r.challenge, ServerAddress: r.address, ServerChallenge: rsp.NewChallenge()}
	signer := r.auth.Key
	if r.sign1 != nil {
		signer = r.sign1
	}
	raw, signature, err := s.Sign(signer)
	if err != nil {
		r.Fatal(err)
	}
	matchingID := "GODWIT"
	out := r.es10(rsp.AppendAuthenticateServer(nil, &rsp.InitiateAuthenticationResponse{
		ServerSigned1: raw, ServerSignature1: rsp.AppendSignature(nil, signature),
		CIKeyID: append([]byte{4, byte(len(r.ciKeyID))}, r.ciKeyID...), ServerCertificate: r.auth.Certificate.Raw,
	}, &rsp.CtxParams1{MatchingID: &matchingID, Device: rsp.DeviceInfo{TAC: [4]byte{0x35, 0x29, 6, 0x11}}}))
	answer, err := rsp.ParseAuthenticateServerResponse(out)
	if err != nil {
		r.Fatal(err)
	}
	if answer.Error == 0 {
		chip := authorities[r.curve]().chip.EUICC.PublicKey
		if _, err := answer.Verify(chip); err != nil {
			r.Fatal(err)
		}
		r.signature1 = answer.Signature
	}
	return answer
}

// prepare sends PrepareDownload and returns the answer. hashed is the hash of
// the code that the user gave.
func (r *run) prepare(hashed []byte) *rsp.PrepareDownloadResponse {
	r.Helper()
	s := rsp.SMDPSigned2{TransactionID: r.id, CodeRequired: r.code != "", OneTimeKey: r.reuse}
	raw, signature, err := s.Sign(r.pb.Key, r.signature1)
	if err != nil {
		r.Fatal(err)
	}
	out := r.es10(rsp.AppendPrepareDownload(nil, &rsp.AuthenticateClientResponse{
		SMDPSigned2: raw, SMDPSignature2: rsp.AppendSignature(nil, signature), SMDPCertificate: r.pb.Certificate.Raw,
	}, hashed))
	answer, err := rsp.ParsePrepareDownloadResponse(out)
	if err != nil {
		r.Fatal(err)
	}
	if answer.Error == 0 {
		signed, err := answer.Verify(authorities[r.curve]().chip.EUICC.PublicKey, signature)
		if err != nil {
			r.Fatal(err)
		}
		r.euiccKey = signed.OneTimeKey
	}
	return answer
}

// ready goes through the run up to the package.
func (r *run) ready() *run {
	r.Helper()
	r.challengeCard()
	if a := r.authenticate(); a.Error != 0 {
		r.Fatalf("AuthenticateServer was refused with %d", a.Error)
	}
	if p := r.prepare(nil); p.Error != 0 {
		r.Fatalf("PrepareDownload was refused with %d", p.Error)
	}
	return r
}

// bind makes the bound profile package.
func (r *run) bind() *rsp.BoundProfilePackage {
	r.Helper()
	key := must(pki.GenerateAgreementKey(r.curve))
	z, err := key.Agree(r.euiccKey)
	if err != nil {
		r.Fatal(err)
	}
	host := []byte("godwit")
	r.binding = &rsp.Binding{
		TransactionID: r.id, HostID: host, ServerKey: key.Public(), EUICCKey: r.euiccKey,
		Keys: rsp.DeriveKeys(z[:], host, testEID), OID: testOID, Metadata: r.metadata.AppendStored(nil),
		ProfileKeys: r.profileKeys, Profile: r.profile,
	}
	return r.packed()
}

// packed encodes the binding as it is now.
func (r *run) packed() *rsp.BoundProfilePackage {
	r.Helper()
	der, err := r.binding.Append(nil, r.pb.Key)
	if err != nil {
		r.Fatal(err)
	}
	bpp, err := rsp.ParseBoundProfilePackage(der)
	if err != nil {
		r.Fatal(err)
	}
	return bpp
}

// load brings units to the card until it answers with a result.
func (r *run) load(units [][]byte) *rsp.InstallationResult {
	r.Helper()
	for i, unit := range units {
		out := r.es10(unit)
		if len(out) > 0 {
			return r.verify(out)
		}
		if i == len(units)-1 {
			r.Fatal("the card took the whole package and said nothing")
		}
	}
	return nil
}

// verify reads an installation result and checks who signed it.
func (r *run) verify(der []byte) *rsp.InstallationResult {
	r.Helper()
	p, err := rsp.ParsePendingNotification(der)
	if err != nil {
		r.Fatal(err)
	}
	result, err := p.VerifyInstallation(authorities[r.curve]().chip.EUICC.PublicKey)
	if err != nil {
		r.Fatal(err)
	}
	if result.TransactionID != r.id || result.OID != testOID || result.Notification.Address != r.address {
		r.Fatalf("the result is of another run: %+v", result)
	}
	return result
}

// install is a whole download.
func (r *run) install() *rsp.InstallationResult {
	r.Helper()
	return r.ready().load(r.bind().Units())
}

// add installs the nth profile of the bench, changed by the given functions.
func (x *tester) add(n int, changes ...func(*run)) ident.ICCID {
	x.Helper()
	r := x.run(pki.P256)
	r.metadata, r.profile = testMetadata(testICCID(n)), testProfile(x, testICCID(n))
	for _, change := range changes {
		change(r)
	}
	if result := r.install(); result.Error != 0 {
		x.Fatalf("profile %d was refused with %d, %X", n, result.Error, result.SIMAResponse)
	}
	return r.metadata.ICCID
}

// testKey is the key of profiles of class test.
var testKey = unhex("000102030405060708090A0B0C0D0E0F")

var testOPc = make([]byte, 16)

// testProfile personalises the bench's template.
func testProfile(t testing.TB, iccid ident.ICCID) []byte {
	t.Helper()
	profile, err := saip.MinimalUSIM().Personalise(&saip.Personal{
		ICCID: iccid, IMSI: ident.IMSI("0010100000" + string(iccid[14:19])), Algorithm: saip.Milenage, K: testKey, OPc: testOPc, MNCLength: 2,
		PIN1: "1234", PUK1: "12345678", ADM1: "87654321",
	})
	if err != nil {
		t.Fatal(err)
	}
	return profile
}

// identICCID reads an ICCID whose check digit may be wrong: published test
// profiles have such.
func identICCID(s string) (ident.ICCID, error) {
	return ident.ICCIDFromOctets(ident.ICCID(s).Octets())
}
