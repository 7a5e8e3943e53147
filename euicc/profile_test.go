package euicc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

func (x *tester) enable(iccid ident.ICCID, refresh bool) int64 {
	x.Helper()
	q := rsp.ProfileRequest{Select: rsp.Selector{ICCID: iccid}, Refresh: refresh}
	return x.result(q.Append(nil, rsp.TagEnableProfile))
}

func (x *tester) disable(iccid ident.ICCID, refresh bool) int64 {
	x.Helper()
	q := rsp.ProfileRequest{Select: rsp.Selector{ICCID: iccid}, Refresh: refresh}
	return x.result(q.Append(nil, rsp.TagDisableProfile))
}

func (x *tester) delete(iccid ident.ICCID) int64 {
	x.Helper()
	return x.result(rsp.AppendDeleteProfile(nil, rsp.Selector{ICCID: iccid}))
}

func (x *tester) reset(options rsp.ResetOptions) int64 {
	x.Helper()
	return x.result(rsp.AppendMemoryReset(nil, options))
}

// enabled returns the profiles that are enabled, as the list says.
func (x *tester) enabled() (out []ident.ICCID) {
	x.Helper()
	q := rsp.ProfileInfoListRequest{}
	for _, p := range must(rsp.ParseProfileInfoList(x.es10(q.Append(nil)))) {
		if *p.Enabled {
			out = append(out, p.ICCID)
		}
	}
	return out
}

// Profiles of a rule or a class.
func withPPR(ppr rsp.PPR) func(*run) {
	return func(r *run) { r.metadata.PPRs = ppr }
}

func withClass(class rsp.ProfileClass) func(*run) {
	return func(r *run) { r.metadata.Class = class }
}

// Item 54: the matrix of policy rules and states.
func TestProfileMatrix(t *testing.T) {
	for _, ppr := range []rsp.PPR{0, rsp.PPR1, rsp.PPR2, rsp.PPR1 | rsp.PPR2} {
		for _, refresh := range []bool{false, true} {
			t.Run(fmt.Sprintf("rules %b, refresh %v", ppr, refresh), func(t *testing.T) {
				x := newTester(t, config(pki.P256))
				a := x.add(1, withPPR(ppr))
				b := x.add(2)
				refused := func(rule rsp.PPR, otherwise int64) int64 {
					if ppr&rule != 0 {
						return rsp.ResultPolicy
					}
					return otherwise
				}
				steps := []struct {
					name      string
					got, want int64
				}{
					{"disable a profile that is not enabled", x.disable(a, refresh), rsp.ResultWrongState},
					{"enable", x.enable(a, refresh), rsp.ResultOK},
					{"enable again", x.enable(a, refresh), rsp.ResultWrongState},
					{"delete while enabled", x.delete(a), rsp.ResultWrongState},
					{"enable another", x.enable(b, refresh), refused(rsp.PPR1, rsp.ResultOK)},
					{"disable", x.disable(a, refresh), refused(rsp.PPR1, rsp.ResultWrongState)},
					{"delete", x.delete(a), func() int64 {
						if ppr&rsp.PPR1 != 0 {
							return rsp.ResultWrongState
						}
						return refused(rsp.PPR2, rsp.ResultOK)
					}()},
					{"enable what is not there", x.enable(testICCID(7), refresh), rsp.ResultNotFound},
					{"disable what is not there", x.disable(testICCID(7), refresh), rsp.ResultNotFound},
					{"delete what is not there", x.delete(testICCID(7)), rsp.ResultNotFound},
				}
				for _, s := range steps {
					if s.got != s.want {
						t.Errorf("%s: %d, want %d", s.name, s.got, s.want)
					}
				}
				want := b
				if ppr&rsp.PPR1 != 0 {
					want = a
				}
				if got := x.enabled(); !slices.Equal(got, []ident.ICCID{want}) {
					t.Errorf("enabled %v, want %s alone", got, want)
				}
			})
		}
	}
}

// Whatever is done, at most one profile is enabled, and the numbers of
// notifications grow.
func TestOneProfileEnabled(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := newTester(t, config(pki.P256))
		for n := range 3 {
			x.add(n)
		}
		last := x.card.state.Sequence
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			iccid := testICCID(rapid.IntRange(0, 3).Draw(rt, "profile"))
			switch rapid.SampledFrom([]string{"enable", "disable", "delete", "reset", "power", "remove"}).Draw(rt, "what") {
			case "enable":
				x.enable(iccid, false)
			case "disable":
				x.disable(iccid, true)
			case "delete":
				x.delete(iccid)
			case "reset":
				x.reset(rsp.ResetFieldTest)
			case "power":
				x.connect()
			case "remove":
				for _, n := range must(rsp.ParseNotificationList(x.es10(rsp.AppendListNotification(nil, 0)))) {
					x.result(rsp.AppendRemoveNotification(nil, n.Sequence))
				}
			}
			if got := x.enabled(); len(got) > 1 {
				rt.Fatalf("%v are enabled", got)
			}
			list := must(rsp.ParseNotificationList(x.es10(rsp.AppendListNotification(nil, 0))))
			for i, n := range list {
				if i > 0 && n.Sequence <= list[i-1].Sequence {
					rt.Fatalf("notification %d after %d", n.Sequence, list[i-1].Sequence)
				}
			}
			if x.card.state.Sequence < last {
				rt.Fatalf("the counter went back from %d to %d", last, x.card.state.Sequence)
			}
			last = x.card.state.Sequence
		}
	})
}

// A test profile gives way only to the profile that it took the place of.
func TestWrongReenabling(t *testing.T) {
	x := newTester(t, config(pki.P256))
	a, b, test := x.add(1), x.add(2), x.add(3, withClass(rsp.ClassTest))
	for _, step := range []struct {
		name  string
		iccid ident.ICCID
		want  int64
	}{
		{"first", a, 0}, {"test", test, 0}, {"another than the first", b, rsp.ResultWrongReenabling}, {"the first", a, 0}, {"another", b, 0},
	} {
		if got := x.enable(step.iccid, false); got != step.want {
			t.Errorf("enable %s: %d, want %d", step.name, got, step.want)
		}
	}
}

func TestSelectByAID(t *testing.T) {
	x := newTester(t, config(pki.P256))
	x.add(1)
	q := rsp.ProfileRequest{Select: rsp.Selector{AID: rsp.ISDP(0x10)}}
	if got := x.result(q.Append(nil, rsp.TagEnableProfile)); got != 0 {
		t.Errorf("enable: %d", got)
	}
	if got := x.result(q.Append(nil, rsp.TagDisableProfile)); got != 0 {
		t.Errorf("disable: %d", got)
	}
	if got := x.result(rsp.AppendDeleteProfile(nil, q.Select)); got != 0 {
		t.Errorf("delete: %d", got)
	}
	if aid := x.add(1); aid != testICCID(1) || !slices.Equal(x.card.Profiles()[0].AID, rsp.ISDP(0x11)) {
		t.Errorf("the next profile has AID %X", x.card.Profiles()[0].AID)
	}
}

// The proactive REFRESH after a change, and the busy toolkit.
func TestRefresh(t *testing.T) {
	x := newTester(t, config(pki.P256))
	a, b := x.add(1), x.add(2)
	enable := func(iccid ident.ICCID) string {
		q := rsp.ProfileRequest{Select: rsp.Selector{ICCID: iccid}, Refresh: true}
		data := q.Append(nil, rsp.TagEnableProfile)
		return x.apdu(fmt.Sprintf("8%dE29100%02X%X00", x.channel, len(data), data))
	}
	if got := x.apdu("8012000000"); got != "6985" {
		t.Errorf("FETCH with nothing to fetch: %s", got)
	}
	if got := enable(b); got != "BF3103800100"+"9000" {
		t.Errorf("enable before a terminal without toolkit: %s", got)
	}
	if got := x.apdu("8010000001FF"); got != "9000" {
		t.Errorf("TERMINAL PROFILE: %s", got)
	}
	const command = "D00981030101048202" + "8182"
	if got := enable(a); got != "BF3103800100"+"910B" {
		t.Fatalf("enable: %s", got)
	}
	if got := x.apdu("801200000B"); got != command+"9000" {
		t.Errorf("FETCH: %s", got)
	}
	if got := enable(b); got != "BF3103800105"+"9000" {
		t.Errorf("enable while the toolkit is busy: %s", got)
	}
	if got := x.apdu("801400000C810301010482028281830100"); got != "9000" {
		t.Errorf("TERMINAL RESPONSE: %s", got)
	}
	if got := x.apdu("801400000C810301010482028281830100"); got != "6985" {
		t.Errorf("a second one: %s", got)
	}
	if got := enable(b); !strings.HasSuffix(got, "910B") {
		t.Errorf("enable after it: %s", got)
	}
	x.connect()
	if got := x.apdu("8012000000"); got != "6985" {
		t.Errorf("FETCH after a reset: %s", got)
	}
}

// Item 56: nickname.
func TestNickname(t *testing.T) {
	x := newTester(t, config(pki.P256))
	iccid := x.add(1)
	set := func(iccid ident.ICCID, name string) int64 {
		q := rsp.NicknameRequest{ICCID: iccid, Nickname: name}
		return x.result(q.Append(nil))
	}
	get := func() *string {
		q := rsp.ProfileInfoListRequest{}
		return must(rsp.ParseProfileInfoList(x.es10(q.Append(nil))))[0].Nickname
	}
	long := strings.Repeat("n", 64)
	if got := set(iccid, long); got != 0 || *get() != long {
		t.Errorf("64 octets: %d", got)
	}
	if got := set(iccid, long+"n"); got != rsp.ResultUndefined || *get() != long {
		t.Errorf("65 octets: %d", got)
	}
	if got := set(testICCID(2), "x"); got != rsp.ResultNotFound {
		t.Errorf("unknown profile: %d", got)
	}
	if got := set(iccid, ""); got != 0 || get() != nil {
		t.Errorf("empty: %d", got)
	}
}

// Item 56: memory reset.
func TestMemoryReset(t *testing.T) {
	x := newTester(t, config(pki.P256))
	operational := x.add(1, withPPR(rsp.PPR1|rsp.PPR2))
	x.add(2, withClass(rsp.ClassTest))
	provisioning := x.add(3, withClass(rsp.ClassProvisioning))
	x.enable(operational, false)
	x.es10(rsp.AppendSetDefaultDPAddress(nil, "other.example.com"))
	count := func(want int) {
		t.Helper()
		if got := x.card.Status().Profiles; got != want {
			t.Errorf("%d profiles, want %d", got, want)
		}
	}
	if got := x.reset(0); got != rsp.ResultNotFound {
		t.Errorf("no option: %d", got)
	}
	count(3)
	if got := x.reset(rsp.ResetFieldTest); got != 0 {
		t.Errorf("test profiles: %d", got)
	}
	count(2)
	if got := x.reset(rsp.ResetFieldTest); got != rsp.ResultNotFound {
		t.Errorf("test profiles again: %d", got)
	}
	sequence := x.card.state.Sequence
	if got := x.reset(rsp.ResetOperational | rsp.ResetDefaultDP); got != 0 {
		t.Errorf("operational profiles: %d", got)
	}
	if p := x.card.Profiles(); len(p) != 1 || p[0].ICCID != provisioning {
		t.Errorf("left: %+v", p)
	}
	if got := x.card.Status().DefaultDP; got != "default.example.com" {
		t.Errorf("default SM-DP+ address %q", got)
	}
	// Two addresses want to know of deletions.
	if got := x.card.state.Sequence; got != sequence+2 {
		t.Errorf("the counter stands at %d, want %d", got, sequence+2)
	}
}

// Item 56: default SM-DP+ address.
func TestDefaultAddress(t *testing.T) {
	x := newTester(t, config(pki.P256))
	get := func() rsp.ConfiguredAddresses {
		return *must(rsp.ParseConfiguredAddresses(x.es10([]byte{0xBF, 0x3C, 0})))
	}
	if got := get(); got.DefaultDP != "default.example.com" || got.RootDS != "lpa.ds.example.com" {
		t.Errorf("from the factory: %+v", got)
	}
	for _, tt := range []struct {
		address string
		want    int64
	}{{"rsp.example.com", 0}, {"rsp.example.com:8443", 0}, {"", 0}, {"https://rsp.example.com", rsp.ResultUndefined}} {
		if got := x.result(rsp.AppendSetDefaultDPAddress(nil, tt.address)); got != tt.want {
			t.Errorf("set %q: %d, want %d", tt.address, got, tt.want)
		}
		if got := get().DefaultDP; tt.want == 0 && got != tt.address {
			t.Errorf("set %q, have %q", tt.address, got)
		}
	}
}

func TestProfilesInfo(t *testing.T) {
	x := newTester(t, config(pki.P256))
	icon := int64(1)
	iccid := x.add(1, func(r *run) {
		r.metadata.IconType, r.metadata.Icon = &icon, []byte{0x89, 'P', 'N', 'G'}
		r.metadata.PPRs = rsp.PPR2
		r.metadata.Stored = unhex("3008800388370A81010A")
	})
	x.add(2, withClass(rsp.ClassTest))
	list := func(q rsp.ProfileInfoListRequest) []rsp.ProfileInfo {
		t.Helper()
		return must(rsp.ParseProfileInfoList(x.es10(q.Append(nil))))
	}
	all := list(rsp.ProfileInfoListRequest{})
	if len(all) != 2 || all[0].ICCID != iccid || *all[0].ServiceProvider != "Godwit" || *all[0].IconType != 1 ||
		len(all[0].Icon) != 4 || all[0].PPRs != nil || all[0].Owner != nil {
		t.Errorf("default fields: %+v", all)
	}
	test := rsp.ClassTest
	if got := list(rsp.ProfileInfoListRequest{Select: rsp.Selector{Class: &test}}); len(got) != 1 || got[0].ICCID != testICCID(2) {
		t.Errorf("by class: %+v", got)
	}
	if got := list(rsp.ProfileInfoListRequest{Select: rsp.Selector{ICCID: testICCID(5)}}); len(got) != 0 {
		t.Errorf("by an ICCID that is not there: %+v", got)
	}
	got := list(rsp.ProfileInfoListRequest{Select: rsp.Selector{AID: rsp.ISDP(0x10)}, Tags: unhex("5AB6B7B899BF22")})
	if len(got) != 1 || got[0].AID != nil || len(got[0].Notifications) != 2 || got[0].Owner == nil || *got[0].PPRs != rsp.PPR2 ||
		fmt.Sprintf("%X", got[0].DPProprietary) != "800388370A" || got[0].Stored == nil {
		t.Errorf("by AID with a tag list: %+v", got)
	}
	if got := fmt.Sprintf("%X", x.es10(unhex("BF2D05A003810101"))); got != "BF2D03810101" {
		t.Errorf("unknown criterion: %s", got)
	}
	if got := fmt.Sprintf("%X", x.es10(unhex("BF2D035C019F"))); got != "BF2D03810101" {
		t.Errorf("half a tag: %s", got)
	}
}

func TestRAT(t *testing.T) {
	x := newTester(t, config(pki.P256))
	rules := must(rsp.ParseRAT(x.es10([]byte{0xBF, 0x43, 0})))
	if len(rules) != 1 || rules[0].PPRs != rsp.PPR1|rsp.PPR2 || !rules[0].ConsentRequired || rules[0].Operators[0].PLMN != [3]byte{0xEE, 0xEE, 0xEE} {
		t.Errorf("rules %+v", rules)
	}
}
