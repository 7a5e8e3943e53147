package euicc

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// A chipModel is what a chip with profiles 1 to 3 and two eIMs ought to be after
// any run of commands. It knows no policy rules and no classes.
type chipModel struct {
	present  map[ident.ICCID]bool
	enabled  ident.ICCID
	counters map[string]int64
	results  []int64 // sequence numbers that wait

	undo     ident.ICCID // the profile to go back to
	undone   int64       // the result that would give way
	hasUndo  bool
	fallback ident.ICCID
	before   ident.ICCID
	inside   bool // the fallback mechanism is in use
}

// change is a swap that was ordered or made by the device itself.
func (m *chipModel) change(to ident.ICCID, local bool) {
	if to == m.enabled {
		return
	}
	m.enabled, m.hasUndo = to, false
	if !local {
		m.inside, m.before = false, ""
	}
}

// command applies one command and says what its result has to be.
func (m *chipModel) command(p *iot.PSMO, start ident.ICCID, undo *ident.ICCID) int64 {
	switch p.Op {
	case iot.OpEnable:
		switch {
		case !m.present[p.ICCID]:
			return 1
		case m.enabled == p.ICCID:
			return 2
		case p.Rollback && (start == "" || !m.present[start]):
			return 20
		}
		if p.Rollback {
			*undo = p.ICCID
		}
		m.enabled = p.ICCID
	case iot.OpDisable:
		switch {
		case !m.present[p.ICCID]:
			return 1
		case m.enabled != p.ICCID:
			return 2
		}
		m.enabled = ""
	case iot.OpDelete:
		switch {
		case !m.present[p.ICCID]:
			return 1
		case m.enabled == p.ICCID:
			return 2
		case *undo != "" && p.ICCID == start, m.hasUndo && p.ICCID == m.undo:
			return 20
		case m.inside && p.ICCID == m.before:
			return 21
		}
		delete(m.present, p.ICCID)
		if m.fallback == p.ICCID {
			m.fallback = ""
		}
	case iot.OpSetFallback:
		switch {
		case !m.present[p.ICCID]:
			return 1
		case m.fallback != "" && m.fallback != p.ICCID && m.fallback == m.enabled:
			return 3
		}
		m.fallback = p.ICCID
	case iot.OpDropFallback:
		switch {
		case m.fallback == "":
			return 2
		case m.fallback == m.enabled:
			return 3
		}
		m.fallback = ""
	}
	return 0
}

// Random runs of packages, replays, rollbacks, fallbacks, power cycles and
// deliveries leave the chip as the model says, and every answer is the model's.
func TestPackagesModel(t *testing.T) {
	x := newTester(t, iotConfig(pki.P256))
	eims := []*eim{newEim("a.example.com"), newEim("b.example.com")}
	x.addInitial(eims...)
	allowed := func(r *run) { r.metadata.FallbackAllowed = new(true) }
	for n := 1; n <= 3; n++ {
		x.add(n, allowed)
	}
	blank := x.card.state.clone()
	rapid.Check(t, func(rt *rapid.T) {
		start := blank.clone()
		start.Sequence = x.card.state.Sequence // numbers never go back, not even for a test
		x.card.state = start
		if err := x.card.Reset(); err != nil {
			rt.Fatal(err)
		}
		x.connect()
		m := &chipModel{present: map[ident.ICCID]bool{}, counters: map[string]int64{}}
		for n := 1; n <= 3; n++ {
			m.present[testICCID(n)] = true
		}
		for _, e := range eims {
			e.counter = 0
		}
		rt.Repeat(map[string]func(*rapid.T){
			"package":  func(rt *rapid.T) { m.order(rt, x, rapid.SampledFrom(eims).Draw(rt, "eim")) },
			"replay":   func(rt *rapid.T) { m.replay(rt, x, rapid.SampledFrom(eims).Draw(rt, "eim")) },
			"rollback": func(rt *rapid.T) { m.rollBack(rt, x) },
			"fallback": func(rt *rapid.T) { m.fallBack(rt, x) },
			"return":   func(rt *rapid.T) { m.comeBack(rt, x) },
			"deliver":  func(rt *rapid.T) { m.deliver(rt, x) },
			"power":    func(*rapid.T) { x.connect() },
			"":         func(rt *rapid.T) { m.check(rt, x) },
		})
	})
}

func (m *chipModel) order(rt *rapid.T, x *tester, e *eim) {
	ops := []iot.Op{iot.OpEnable, iot.OpDisable, iot.OpDelete, iot.OpSetFallback, iot.OpDropFallback, iot.OpGetRAT}
	var list []iot.PSMO
	seen := map[iot.Op]bool{}
	for range rapid.IntRange(1, 4).Draw(rt, "commands") {
		p := iot.PSMO{Op: rapid.SampledFrom(ops).Draw(rt, "op"), ICCID: testICCID(rapid.IntRange(1, 4).Draw(rt, "profile"))}
		if (p.Op == iot.OpEnable || p.Op == iot.OpDisable) && seen[p.Op] {
			continue
		}
		seen[p.Op] = true
		p.Rollback = p.Op == iot.OpEnable && rapid.Bool().Draw(rt, "rollback")
		list = append(list, p)
	}
	if list == nil {
		return
	}
	q := e.request()
	q.PSMO = list
	m.counters[e.id] = e.counter
	p := x.answerTo(e, x.es10(must(q.Sign(e.key, nil))))
	start, undo, got, want := m.enabled, ident.ICCID(""), "", ""
	for i := range list {
		want += fmt.Sprintf("%s %d;", list[i].Op, m.command(&list[i], start, &undo))
	}
	if got = codes(p); got != want {
		rt.Fatalf("results %s, want %s", got, want)
	}
	end := m.enabled
	m.enabled = start
	m.change(end, false)
	if m.hasUndo && !m.present[m.undo] {
		m.hasUndo = false
	}
	if undo != "" && undo == end {
		m.undo, m.undone, m.hasUndo = start, p.Sequence, true
	}
	m.results = append(m.results, p.Sequence)
}

func (m *chipModel) replay(rt *rapid.T, x *tester, e *eim) {
	q := &iot.PackageRequest{
		EimID: e.id, EID: testEID, Counter: rapid.Int64Range(0, m.counters[e.id]).Draw(rt, "counter"),
		PSMO: []iot.PSMO{disableOf(m.enabled)},
	}
	if m.enabled == "" {
		q.PSMO[0] = iot.PSMO{Op: iot.OpGetRAT}
	}
	p := x.answerTo(e, x.es10(must(q.Sign(e.key, nil))))
	if p.ErrorCode == nil || *p.ErrorCode != iot.PackageReplay {
		rt.Fatalf("a replay was answered with %+v", p)
	}
}

func (m *chipModel) rollBack(rt *rapid.T, x *tester) {
	code, raw, err := iot.ParseRollback(x.es10(iot.AppendRefresh(nil, iot.TagProfileRollback, false)))
	if err != nil {
		rt.Fatal(err)
	}
	if !m.hasUndo {
		if code != 1 {
			rt.Fatalf("rollback: %d", code)
		}
		return
	}
	if code != 0 {
		rt.Fatalf("rollback: %d", code)
	}
	m.results = slices.DeleteFunc(m.results, func(n int64) bool { return n == m.undone })
	m.results = append(m.results, must(iot.ReadResult(raw)).Sequence)
	m.change(m.undo, true)
	m.hasUndo = false
}

func (m *chipModel) fallBack(rt *rapid.T, x *tester) {
	want := int64(0)
	switch {
	case m.fallback == "":
		want = 6
	case m.fallback == m.enabled:
		want = 2
	}
	if got := x.result(iot.AppendRefresh(nil, iot.TagExecuteFallback, false)); got != want {
		rt.Fatalf("fallback: %d, want %d", got, want)
	}
	if want == 0 {
		m.inside, m.before = true, m.enabled
		m.change(m.fallback, true)
	}
}

func (m *chipModel) comeBack(rt *rapid.T, x *tester) {
	want := int64(0)
	switch {
	case m.fallback == "":
		want = 6
	case !m.inside || m.fallback != m.enabled || !m.present[m.before]:
		want = 7
	}
	if got := x.result(iot.AppendRefresh(nil, iot.TagReturnFromFallback, false)); got != want {
		rt.Fatalf("return: %d, want %d", got, want)
	}
	if want == 0 {
		m.change(m.before, true)
		m.inside, m.before = false, ""
	}
}

func (m *chipModel) deliver(rt *rapid.T, x *tester) {
	if len(m.results) == 0 {
		return
	}
	n := rapid.SampledFrom(m.results).Draw(rt, "result")
	if code := x.result(rsp.AppendRemoveNotification(nil, n)); code != 0 {
		rt.Fatalf("remove: %d", code)
	}
	m.results = slices.DeleteFunc(m.results, func(r int64) bool { return r == n })
	if m.undone == n {
		m.hasUndo = false
	}
}

func (m *chipModel) check(rt *rapid.T, x *tester) {
	if got := x.resultNumbers(); len(got) != min(len(m.results), maxResults) || len(got) == len(m.results) && !slices.Equal(got, m.results) {
		rt.Fatalf("results %v, want %v", got, m.results)
	}
	q := rsp.ProfileInfoListRequest{}
	for _, p := range must(rsp.ParseProfileInfoList(x.es10(q.Append(nil)))) {
		if !m.present[p.ICCID] {
			rt.Fatalf("profile %s was deleted", p.ICCID)
		}
		if *p.Enabled != (p.ICCID == m.enabled) || p.Fallback != (p.ICCID == m.fallback) {
			rt.Fatalf("profile %s: enabled %v, fallback %v, want %s and %s", p.ICCID, *p.Enabled, p.Fallback, m.enabled, m.fallback)
		}
	}
	if len(x.card.state.Profiles) != len(m.present) {
		rt.Fatalf("%d profiles, want %d", len(x.card.state.Profiles), len(m.present))
	}
}

// The power is cut at each write of a package. Afterwards the chip is the one
// before or the one after: counter, profile, result and notifications together.
func TestPowerCutInPackage(t *testing.T) {
	commands := []func(x *tester, e *eim) []byte{
		func(_ *tester, e *eim) []byte { return must(e.request(enableOf(testICCID(2))).Sign(e.key, nil)) },
		func(_ *tester, e *eim) []byte { return must(e.request(deleteOf(testICCID(2))).Sign(e.key, nil)) },
		func(_ *tester, e *eim) []byte {
			return must(e.request(iot.ECO{Op: iot.OpAddEim, Config: newEim("b").config()}).Sign(e.key, nil))
		},
		func(*tester, *eim) []byte { return iot.AppendRefresh(nil, iot.TagProfileRollback, false) },
		func(*tester, *eim) []byte { return iot.AppendRefresh(nil, iot.TagExecuteFallback, false) },
		func(*tester, *eim) []byte { return iot.AppendMemoryReset(nil, iot.ResetOperational|iot.ResetEims) },
		func(x *tester, _ *eim) []byte {
			return rsp.AppendRemoveNotification(nil, x.card.state.Results[0].Sequence)
		},
	}
	picture := func(c *Card) string {
		s := c.state
		out := fmt.Sprintf("%d %d %d %s %v %s;", s.Sequence, len(s.Results), len(s.Notifications), enabledICCID(s), s.Rollback != nil, s.Fallback)
		for _, a := range s.Eims {
			out += fmt.Sprintf(" %s %d", a.ID, a.Counter)
		}
		return out + fmt.Sprint(len(s.Profiles))
	}
	for i, command := range commands {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			for cut := 1; ; cut++ {
				e := newEim("a.example.com")
				cfg := iotConfig(pki.P256)
				cfg.Eims = []iot.EimConfiguration{*e.config()}
				dir, x := newDisk(t, cfg)
				x.add(1)
				x.add(2)
				x.add(3, func(r *run) { r.metadata.FallbackAllowed = new(true) })
				x.order(e, iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(3)}, enableOf(testICCID(3)))
				x.order(e, iot.PSMO{Op: iot.OpEnable, ICCID: testICCID(1), Rollback: true})
				data := command(x, e)
				before := picture(x.card)
				steps := 0
				x.card.store.(*disk).step = func() error {
					if steps++; steps == cut {
						return errCut
					}
					return nil
				}
				answered := x.survives(data)
				done := x.card.broken == nil
				after := ""
				if done {
					after = picture(x.card)
					if !answered || after == before {
						t.Fatalf("the command did nothing: %s", after)
					}
				} else if answered {
					t.Fatal("the card answered though its store had failed")
				}
				card := reopen(t, x, dir).card
				got := picture(card)
				if done {
					if got != after {
						t.Errorf("%s after the restart, before it %s", got, after)
					}
					return
				}
				if got == before {
					continue
				}
				// It has happened: then all of it has, as a repetition shows.
				y := testerOf(t, card)
				if e := must(tlv.Parse(data)); e.Tag == iot.TagPackage {
					p := must(iot.ReadResult(y.es10(data)))
					if p.ErrorCode == nil || *p.ErrorCode != iot.PackageReplay || len(y.card.state.Results) != 3 {
						t.Errorf("cut at step %d: %s, then %+v", cut, got, p)
					}
				}
			}
		})
	}
}

// FuzzPackage gives the chip packages whose signature is good and whose content is
// anything.
func FuzzPackage(f *testing.F) {
	e := newEim("a.example.com")
	c := e.config()
	for _, seed := range []string{
		"A000", "A100", "A0078005", "A00FA30D5A0A980999100000000000F10500", "A003BF2D00", "A002A600", "A004A7028000", "A002A900",
		"A102AB00", "A105A903800161", "A00FA80D5A0A98099910000000000000F1", "A00BBF65088006612E622E6363",
	} {
		f.Add(unhex(seed))
	}
	f.Add(tlv.Append(nil, 0xA1, tlv.Append(nil, 0xA8, c.Append(nil))))
	f.Fuzz(func(t *testing.T, list []byte) {
		if len(list) > 8<<10 {
			return
		}
		x := newTester(t, iotConfig(pki.P256))
		x.addInitial(e)
		x.add(1)
		body := tlv.AppendString(nil, 0x80, e.id)
		body = tlv.Append(body, rsp.TagICCID, testEID.Octets())
		body = append(tlv.AppendInt(body, 0x81, 1), list...)
		signed := tlv.Append(nil, tlv.Sequence, body)
		signature := must(pki.Sign(e.key, append(slices.Clone(signed), 0x84, 1, 0)))
		raw := tlv.Append(nil, iot.TagPackage, rsp.AppendSignature(signed, signature))
		answer, sw := x.send(raw)
		if sw != swOK {
			return
		}
		p := x.answerTo(e, answer)
		for _, r := range p.Results {
			if r.Op == iot.OpUnknown && !r.Terminated {
				t.Fatalf("a result without a name: %X", p.Raw)
			}
		}
	})
}
