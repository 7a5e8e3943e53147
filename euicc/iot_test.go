package euicc

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// An eim is a server of SGP.32 with its key and what it knows of the chip.
type eim struct {
	id      string
	key     crypto.Signer
	counter int64
	token   *int64
}

func newEim(id string) *eim { return &eim{id: id, key: must(pki.GenerateKey(pki.P256))} }

func (e *eim) config() *iot.EimConfiguration {
	return &iot.EimConfiguration{
		ID: e.id, FQDN: e.id, IDType: iot.EimIDFQDN, PublicKey: must(pki.PublicKeyOf(e.key)).Info(),
		Protocols: iot.RetrieveHTTPS,
	}
}

func iotConfig(curves ...pki.Curve) Config {
	cfg := config(curves...)
	cfg.IoT = true
	return cfg
}

// newIoT makes an IoT chip with one eIM.
func newIoT(t testing.TB) (*tester, *eim) {
	t.Helper()
	x := newTester(t, iotConfig(pki.P256))
	e := newEim("eim.example.com")
	x.addInitial(e)
	return x, e
}

func (x *tester) addInitial(eims ...*eim) *iot.AddInitialEimResult {
	x.Helper()
	var list []iot.EimConfiguration
	for _, e := range eims {
		c := e.config()
		c.Token = e.token
		list = append(list, *c)
	}
	return x.addConfigs(list...)
}

func (x *tester) addConfigs(list ...iot.EimConfiguration) *iot.AddInitialEimResult {
	x.Helper()
	return must(iot.ParseAddInitialEimResult(x.es10(iot.AppendAddInitialEim(nil, list))))
}

// request makes the next package of an eIM.
func (e *eim) request(commands ...any) *iot.PackageRequest {
	e.counter++
	q := &iot.PackageRequest{EimID: e.id, EID: testEID, Counter: e.counter, TransactionID: []byte{byte(e.counter)}}
	for _, command := range commands {
		switch c := command.(type) {
		case iot.PSMO:
			q.PSMO = append(q.PSMO, c)
		case iot.ECO:
			q.ECO = append(q.ECO, c)
		}
	}
	return q
}

// order sends a package and returns the verified answer.
func (x *tester) order(e *eim, commands ...any) *iot.PackageResult {
	x.Helper()
	q := e.request(commands...)
	return x.answerTo(e, x.es10(must(q.Sign(e.key, e.token))))
}

func (x *tester) answerTo(e *eim, raw []byte) *iot.PackageResult {
	x.Helper()
	p, err := iot.VerifyPackageResult(raw, x.card.cfg.Credentials[0].EUICC.PublicKey, e.token)
	if err != nil {
		x.Fatal(err)
	}
	return p
}

// codes are the results of a package, in order.
func codes(p *iot.PackageResult) string {
	out := ""
	for _, r := range p.Results {
		if r.Terminated {
			out += fmt.Sprintf("terminated %d;", r.Code)
			continue
		}
		out += fmt.Sprintf("%s %d;", r.Op, r.Code)
	}
	return out
}

func enableOf(iccid ident.ICCID) iot.PSMO  { return iot.PSMO{Op: iot.OpEnable, ICCID: iccid} }
func disableOf(iccid ident.ICCID) iot.PSMO { return iot.PSMO{Op: iot.OpDisable, ICCID: iccid} }
func deleteOf(iccid ident.ICCID) iot.PSMO  { return iot.PSMO{Op: iot.OpDelete, ICCID: iccid} }

func (x *tester) resultNumbers() (out []int64) {
	for _, raw := range must(iot.ParseResults(x.es10(iot.AppendRetrieveResults(nil)))) {
		out = append(out, must(iot.ReadResult(raw)).Sequence)
	}
	return out
}

func (x *tester) local(tag tlv.Tag) int64 {
	x.Helper()
	return x.result(iot.AppendRefresh(nil, tag, false))
}

// The checks of a package in their order, each with the answer that it gives.
func TestPackageLadder(t *testing.T) {
	x, e := newIoT(t)
	stranger := newEim("other.example.com")
	tests := []struct {
		name     string
		change   func(q *iot.PackageRequest) []byte // the octets to send; nil: signed as it should be
		code     int64                              // of a signed error
		unsigned bool
	}{
		{name: "good"},
		{name: "eIM unknown", unsigned: true, change: func(q *iot.PackageRequest) []byte {
			q.EimID = stranger.id
			return must(q.Sign(e.key, nil))
		}},
		{name: "key of another", unsigned: true, change: func(q *iot.PackageRequest) []byte { return must(q.Sign(stranger.key, nil)) }},
		{name: "wrong token", unsigned: true, change: func(q *iot.PackageRequest) []byte { return must(q.Sign(e.key, new(int64(7)))) }},
		{name: "one bit flipped", unsigned: true, change: func(q *iot.PackageRequest) []byte {
			raw := must(q.Sign(e.key, nil))
			raw[len(raw)-80] ^= 1
			return raw
		}},
		{name: "another EID", code: iot.PackageInvalidEID, change: func(q *iot.PackageRequest) []byte {
			q.EID = "89049032123451234512345678901236"
			return must(q.Sign(e.key, nil))
		}},
		{name: "counter as before", code: iot.PackageReplay, change: func(q *iot.PackageRequest) []byte {
			q.Counter = 1
			return must(q.Sign(e.key, nil))
		}},
		{name: "counter zero", code: iot.PackageReplay, change: func(q *iot.PackageRequest) []byte {
			q.Counter = 0
			return must(q.Sign(e.key, nil))
		}},
		{name: "counter out of range", code: iot.PackageCounter, change: func(q *iot.PackageRequest) []byte {
			q.Counter = iot.MaxCounter
			raw := must(q.Sign(e.key, nil))
			return resigned(raw, e.key, 0x81, iot.MaxCounter+1) // no eIM of ours makes one
		}},
		{name: "too long", code: iot.PackageTooLong, change: func(q *iot.PackageRequest) []byte {
			q.PSMO = []iot.PSMO{{Op: iot.OpSetDefaultDP, Address: string(bytes.Repeat([]byte{'a'}, maxPackage))}}
			return must(q.Sign(e.key, nil))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := testerOn(x, t)
			q := e.request(iot.PSMO{Op: iot.OpList})
			before, stored := x.card.state.eim(e.id).Counter, len(x.card.state.Results)
			raw := []byte(nil)
			if test.change != nil {
				raw = test.change(q)
			} else {
				raw = must(q.Sign(e.key, nil))
			}
			p := x.answerTo(e, x.es10(raw))
			refused := test.unsigned || test.code != 0
			switch {
			case p.Unsigned != test.unsigned:
				t.Errorf("unsigned %v, want %v", p.Unsigned, test.unsigned)
			case test.code != 0 && (p.ErrorCode == nil || *p.ErrorCode != test.code):
				t.Errorf("error %v, want %d", p.ErrorCode, test.code)
			case !refused && codes(p) != "listProfileInfo 0;":
				t.Errorf("results %s", codes(p))
			case !bytes.Equal(p.TransactionID, q.TransactionID):
				t.Errorf("transaction %X, want %X", p.TransactionID, q.TransactionID)
			}
			if refused && (x.card.state.eim(e.id).Counter != before || len(x.card.state.Results) != stored) {
				t.Error("a package that was refused changed the chip")
			}
		})
	}
	for _, wrong := range []string{"BF51", "BF5100", "BF5103300100"} {
		if _, sw := x.send(unhex(wrong)); sw == swOK {
			t.Errorf("%s was taken", wrong)
		}
	}
}

// testerOn is a tester that reports to another test.
func testerOn(x *tester, t testing.TB) *tester {
	return &tester{TB: t, card: x.card, channel: x.channel}
}

// resigned puts another number into a package and signs it again.
func resigned(raw []byte, key crypto.Signer, tag tlv.Tag, counter int64) []byte {
	e := must(tlv.ParseTag(raw, iot.TagPackage))
	r := e.Reader()
	inner := r.Sub(tlv.Sequence)
	var body []byte
	for !inner.Empty() {
		if f := inner.Next(); f.Tag == tag {
			body = tlv.AppendInt(body, tag, counter)
		} else {
			body = append(body, f.Raw...)
		}
	}
	signed := tlv.Append(nil, tlv.Sequence, body)
	signature := must(pki.Sign(key, append(bytes.Clone(signed), 0x84, 1, 0)))
	return tlv.Append(nil, iot.TagPackage, rsp.AppendSignature(signed, signature))
}

func TestPackageCommands(t *testing.T) {
	with := func(metadata func(m *rsp.Metadata)) func(*run) { return func(r *run) { metadata(r.metadata) } }
	fallbackAllowed := with(func(m *rsp.Metadata) { m.FallbackAllowed = new(true) })
	tests := []struct {
		name     string
		profiles []func(*run) // of profiles 1, 2, ..; nil for nothing special
		prepare  []any        // commands of a package before
		commands []any
		want     string
		enabled  int // number of the profile that is enabled afterwards, 0 for none
	}{
		{"enable", []func(*run){nil}, nil, []any{enableOf(testICCID(1))}, "enable 0;", 1},
		{"enable unknown", nil, nil, []any{enableOf(testICCID(1))}, "enable 1;", 0},
		{"enable again", []func(*run){nil}, []any{enableOf(testICCID(1))}, []any{enableOf(testICCID(1))}, "enable 2;", 1},
		{"enable another", []func(*run){nil, nil}, []any{enableOf(testICCID(1))}, []any{enableOf(testICCID(2))}, "enable 0;", 2},
		{"enable beside PPR1", []func(*run){withPPR(rsp.PPR1), nil}, []any{enableOf(testICCID(1))}, []any{enableOf(testICCID(2))}, "enable 3;", 1},
		{"enable with rollback and nothing to go back to", []func(*run){nil}, nil, []any{iot.PSMO{Op: iot.OpEnable, ICCID: testICCID(1), Rollback: true}}, "enable 20;", 0},
		{"enable and delete the other", []func(*run){nil, nil}, []any{enableOf(testICCID(1))}, []any{enableOf(testICCID(2)), deleteOf(testICCID(1))}, "enable 0;delete 0;", 2},
		{"enable with rollback and delete the other", []func(*run){nil, nil}, []any{enableOf(testICCID(1))}, []any{iot.PSMO{Op: iot.OpEnable, ICCID: testICCID(2), Rollback: true}, deleteOf(testICCID(1))}, "enable 0;delete 20;", 2},
		{"disable", []func(*run){nil}, []any{enableOf(testICCID(1))}, []any{disableOf(testICCID(1))}, "disable 0;", 0},
		{"disable disabled", []func(*run){nil}, nil, []any{disableOf(testICCID(1))}, "disable 2;", 0},
		{"disable unknown", nil, nil, []any{disableOf(testICCID(1))}, "disable 1;", 0},
		{"disable PPR1", []func(*run){withPPR(rsp.PPR1)}, []any{enableOf(testICCID(1))}, []any{disableOf(testICCID(1))}, "disable 3;", 1},
		{"disable and enable", []func(*run){nil, nil}, []any{enableOf(testICCID(1))}, []any{disableOf(testICCID(1)), enableOf(testICCID(2))}, "disable 0;enable 0;", 2},
		{"delete", []func(*run){nil}, nil, []any{deleteOf(testICCID(1))}, "delete 0;", 0},
		{"delete unknown", nil, nil, []any{deleteOf(testICCID(1))}, "delete 1;", 0},
		{"delete enabled", []func(*run){nil}, []any{enableOf(testICCID(1))}, []any{deleteOf(testICCID(1))}, "delete 2;", 1},
		{"delete PPR2", []func(*run){withPPR(rsp.PPR2)}, nil, []any{deleteOf(testICCID(1))}, "delete 3;", 0},
		{"a failure does not stop the rest", []func(*run){nil}, nil, []any{deleteOf(testICCID(9)), enableOf(testICCID(1))}, "delete 1;enable 0;", 1},
		{"list before enable", []func(*run){nil}, nil, []any{iot.PSMO{Op: iot.OpList}, enableOf(testICCID(1))}, "listProfileInfo 0;enable 0;", 1},
		{"rules", nil, nil, []any{iot.PSMO{Op: iot.OpGetRAT}}, "getRAT 0;", 0},
		{"immediate", nil, nil, []any{iot.PSMO{Op: iot.OpImmediate, Immediate: &iot.ImmediateEnable{Allowed: true}}}, "configureImmediateEnable 0;", 0},
		{"default address", nil, nil, []any{iot.PSMO{Op: iot.OpSetDefaultDP, Address: "dp.example.org"}}, "setDefaultDpAddress 0;", 0},
		{"malformed default address", nil, nil, []any{iot.PSMO{Op: iot.OpSetDefaultDP, Address: "a b"}}, "setDefaultDpAddress 127;", 0},
		{"fallback", []func(*run){fallbackAllowed}, nil, []any{iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(1)}}, "setFallbackAttribute 0;", 0},
		{"fallback not allowed", []func(*run){nil}, nil, []any{iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(1)}}, "setFallbackAttribute 2;", 0},
		{"fallback unknown", nil, nil, []any{iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(1)}}, "setFallbackAttribute 1;", 0},
		{"fallback moved away from the enabled profile", []func(*run){fallbackAllowed, fallbackAllowed}, []any{iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(1)}, enableOf(testICCID(1))}, []any{iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(2)}, iot.PSMO{Op: iot.OpDropFallback}}, "setFallbackAttribute 3;unsetFallbackAttribute 3;", 1},
		{"no fallback to take away", nil, nil, []any{iot.PSMO{Op: iot.OpDropFallback}}, "unsetFallbackAttribute 2;", 0},
		{"fallback taken away", []func(*run){fallbackAllowed}, []any{iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(1)}}, []any{iot.PSMO{Op: iot.OpDropFallback}}, "unsetFallbackAttribute 0;", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x, e := newIoT(t)
			for i, change := range test.profiles {
				if change == nil {
					change = func(*run) {}
				}
				x.add(i+1, change)
			}
			if test.prepare != nil {
				x.order(e, test.prepare...)
			}
			p := x.order(e, test.commands...)
			if got := codes(p); got != test.want {
				t.Errorf("results %s, want %s", got, test.want)
			}
			want := ident.ICCID("")
			if test.enabled != 0 {
				want = testICCID(test.enabled)
			}
			if got := enabledICCID(x.card.state); got != want {
				t.Errorf("enabled %s, want %s", got, want)
			}
		})
	}
}

// listProfileInfo comes before changes, never after them.
func TestListAfterChange(t *testing.T) {
	for _, first := range []iot.PSMO{enableOf(testICCID(1)), disableOf(testICCID(1)), deleteOf(testICCID(1))} {
		x, e := newIoT(t)
		x.add(1)
		// Our own eIM does not make such a package: it is put together here.
		q := e.request(first)
		raw := must(q.Sign(e.key, nil))
		raw = withCommand(raw, e.key, unhex("BF2D00"))
		p := x.answerTo(e, x.es10(raw))
		if len(p.Results) != 2 || p.Results[1].Op != iot.OpList || p.Results[1].Code != iot.ResultChangeOngoing {
			t.Errorf("%s: %s", first.Op, codes(p))
		}
	}
}

// withCommand adds a command, in octets, to a package.
func withCommand(raw []byte, key crypto.Signer, command []byte) []byte {
	e := must(tlv.ParseTag(raw, iot.TagPackage))
	r := e.Reader()
	inner := r.Sub(tlv.Sequence)
	var body []byte
	for !inner.Empty() {
		if f := inner.Next(); f.Tag == 0xA0 || f.Tag == 0xA1 {
			body = tlv.Append(body, f.Tag, slices.Concat(f.Value, command))
		} else {
			body = append(body, f.Raw...)
		}
	}
	signed := tlv.Append(nil, tlv.Sequence, body)
	return tlv.Append(nil, iot.TagPackage, rsp.AppendSignature(signed, must(pki.Sign(key, append(bytes.Clone(signed), 0x84, 1, 0)))))
}

// A command that cannot be read ends the list; those before it were executed.
func TestUnknownCommand(t *testing.T) {
	second := hex.EncodeToString(tlv.Append(nil, 0xA3, tlv.Append(nil, rsp.TagICCID, testICCID(1).Octets())))
	for _, command := range []string{second, "AF00", "A3025A00", "A301FF", "BF2D03A001FF"} {
		x, e := newIoT(t)
		x.add(1)
		raw := withCommand(must(e.request(enableOf(testICCID(1))).Sign(e.key, nil)), e.key, unhex(command))
		raw = withCommand(raw, e.key, unhex("A600"))
		p := x.answerTo(e, x.es10(raw))
		if got := codes(p); got != "enable 0;terminated 2;" {
			t.Errorf("%s: %s", command, got)
		}
		if enabledICCID(x.card.state) != testICCID(1) {
			t.Error("the command before was not executed")
		}
	}
}

// Results share their numbers with notifications and stay until they are removed;
// notifications of a package come after its result.
func TestResultsAndNotifications(t *testing.T) {
	x, e := newIoT(t)
	x.add(1)
	for _, n := range x.notifications(rsp.NotificationFilter{}) {
		x.result(rsp.AppendRemoveNotification(nil, n.Metadata.Sequence))
	}
	p := x.order(e, enableOf(testICCID(1)))
	waiting := x.notifications(rsp.NotificationFilter{})
	if len(waiting) == 0 || waiting[0].Metadata.Event != rsp.EventEnable || waiting[0].Metadata.Sequence <= p.Sequence {
		t.Fatalf("result %d, notifications %+v", p.Sequence, waiting)
	}
	if got := x.resultNumbers(); !slices.Equal(got, []int64{p.Sequence}) {
		t.Fatalf("results %v", got)
	}
	if raw := must(iot.ParseResults(x.es10(iot.AppendRetrieveResults(nil))))[0]; !bytes.Equal(raw, p.Raw) {
		t.Error("the stored result is not the one that was given")
	}
	if code := x.result(rsp.AppendRemoveNotification(nil, p.Sequence)); code != rsp.ResultOK {
		t.Errorf("remove: %d", code)
	}
	if code := x.result(rsp.AppendRemoveNotification(nil, p.Sequence)); code != rsp.ResultNotFound {
		t.Errorf("remove again: %d", code)
	}
	if got := x.resultNumbers(); len(got) != 0 || len(x.notifications(rsp.NotificationFilter{})) != len(waiting) {
		t.Errorf("results %v are left", got)
	}
}

func TestRollback(t *testing.T) {
	x, e := newIoT(t)
	x.add(1)
	x.add(2)
	x.order(e, enableOf(testICCID(1)))
	rollback := func() (int64, []byte) {
		code, raw, err := iot.ParseRollback(x.es10(iot.AppendRefresh(nil, iot.TagProfileRollback, false)))
		if err != nil {
			t.Fatal(err)
		}
		return code, raw
	}
	if code, _ := rollback(); code != 1 {
		t.Errorf("rollback that nobody allowed: %d", code)
	}
	undone := x.order(e, iot.PSMO{Op: iot.OpEnable, ICCID: testICCID(2), Rollback: true})
	x.connect() // the device looked for a network, and lost its power
	code, raw := rollback()
	if code != rsp.ResultOK {
		t.Fatalf("rollback: %d", code)
	}
	p := x.answerTo(e, raw)
	if codes(p) != "enable 0;rollback 0;" || p.Counter != undone.Counter || p.Sequence <= undone.Sequence {
		t.Errorf("%s counter %d sequence %d", codes(p), p.Counter, p.Sequence)
	}
	if enabledICCID(x.card.state) != testICCID(1) {
		t.Error("the old profile is not back")
	}
	if got := x.resultNumbers(); slices.Contains(got, undone.Sequence) || !slices.Contains(got, p.Sequence) {
		t.Errorf("results %v", got)
	}
	if code, _ := rollback(); code != 1 {
		t.Errorf("rollback twice: %d", code)
	}
	// Once the eIM has the result the change stays.
	done := x.order(e, iot.PSMO{Op: iot.OpEnable, ICCID: testICCID(2), Rollback: true})
	x.result(rsp.AppendRemoveNotification(nil, done.Sequence))
	if code, _ := rollback(); code != 1 {
		t.Errorf("rollback after the result was delivered: %d", code)
	}
	if got := codes(x.order(e, deleteOf(testICCID(1)))); got != "delete 0;" {
		t.Error(got)
	}
}
