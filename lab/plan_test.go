package lab

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"godwit/ident"
	"godwit/pki"
)

const testPrefix = "89049032"

func plan(t *testing.T, seed uint64, number int, life uint64, r Rates) *Plan {
	t.Helper()
	p, err := NewPlan(seed, number, life, testPrefix, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func text(t *testing.T, p *Plan) string {
	t.Helper()
	b, err := json.Marshal(p.Text(0.5, 2000))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSameSeedSamePlan: a plan follows from seed, number, life and rates alone.
func TestSameSeedSamePlan(t *testing.T) {
	rates := Share(0.05)
	for number := 1; number <= 20; number++ {
		first := text(t, plan(t, 7, number, 1, rates))
		if again := text(t, plan(t, 7, number, 1, rates)); again != first {
			t.Fatalf("the plan of device %d is another one the second time", number)
		}
		for what, other := range map[string]*Plan{
			"seed": plan(t, 8, number, 1, rates), "number": plan(t, 7, number+1, 1, rates), "life": plan(t, 7, number, 2, rates),
		} {
			if text(t, other) == first {
				t.Errorf("device %d has the same plan with another %s", number, what)
			}
		}
	}
}

// TestRatesHold counts over many devices: each kind strikes the share of its
// occasions that was asked for.
func TestRatesHold(t *testing.T) {
	rates := Share(0.06)
	rates[Crash] = 0
	struck := map[Kind]float64{}
	const devices, occasions = 2000, 50
	for number := 1; number <= devices; number++ {
		p := plan(t, 3, number, 1, rates)
		for _, k := range p.Lasting {
			struck[k]++
		}
		for _, o := range []Occasion{Request, Notification, Package, Session, Profile} {
			for n := uint64(1); n <= occasions; n++ {
				if k := p.Strikes(o, n); k != "" {
					struck[k]++
				}
			}
		}
	}
	for _, k := range kinds {
		n := float64(devices * occasions)
		if k.Lasting {
			n = devices
		}
		want := n * rates[k.Kind]
		// Six deviations, and what a fault that comes before takes away.
		if d := math.Abs(struck[k.Kind] - want); d > 6*math.Sqrt(want)+0.08*want {
			t.Errorf("%s struck %.0f times of %.0f, want about %.0f", k.Kind, struck[k.Kind], n, want)
		}
	}
}

// TestNumbersOfDevices: EIDs have right check digits, and nothing is there twice.
func TestNumbersOfDevices(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(3) {
		for number := 1; number <= 500; number++ {
			p := plan(t, seed, number, 1, nil)
			if _, err := ident.ParseEID(string(p.EID)); err != nil {
				t.Fatal(err)
			}
			if len(p.IMEI) != 15 {
				t.Fatalf("IMEI %s", p.IMEI)
			}
			if len(p.Lasting) > 0 || p.Strikes(Request, 1) != "" {
				t.Fatal("faults without rates")
			}
			a, err := p.key("key of the eUICC")
			if err != nil {
				t.Fatal(err)
			}
			b, err := p.key("key of the eUICC")
			if err != nil {
				t.Fatal(err)
			}
			if !a.Public().(*ecdsa.PublicKey).Equal(b.Public()) {
				t.Fatal("a device has another key the second time")
			}
			for _, name := range []string{string(p.EID), p.IMEI} {
				if seen[name] {
					t.Fatalf("%s is there twice", name)
				}
				seen[name] = true
			}
		}
	}
}

func TestShares(t *testing.T) {
	for text, want := range map[string]float64{"5%": 0.05, "0.5%": 0.005, "0.25": 0.25, "0": 0, "100%": 1} {
		if n, err := ParseShare(text); err != nil || math.Abs(n-want) > 1e-12 {
			t.Errorf("%s is %v, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "-1%", "101%", "five", "NaN", "5%%"} {
		if n, err := ParseShare(text); err == nil {
			t.Errorf("%s is taken for %v", text, n)
		}
	}
	r := Rates{}
	if err := r.Set("power-cut=2%"); err != nil || r[PowerCut] != 0.02 {
		t.Error(r, err)
	}
	for _, text := range []string{"power-cut", "flood=1%", "crash=2"} {
		if r.Set(text) == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestLastingFaultsAreFew: no device has two.
func TestLastingFaultsAreFew(t *testing.T) {
	for number := 1; number <= 300; number++ {
		p := plan(t, 1, number, 1, Share(0.9))
		if len(p.Lasting) > 1 {
			t.Fatal(p.Lasting)
		}
		if p.Hopeless() != (p.Has(WrongSignature) || p.Has(ForeignCI)) {
			t.Fatal("hopeless", p.Lasting)
		}
	}
}

// TestSameInEachLife starts a lab again whose devices were kept: what each of
// them is stays, also when the settings are others.
func TestSameInEachLife(t *testing.T) {
	ci, err := pki.NewTestCI(pki.P256, pki.Request{NotBefore: time.Now().Add(-time.Hour), Subject: pki.Subject{CommonName: "CI", Organization: "Lab"}})
	if err != nil {
		t.Fatal(err)
	}
	eum, err := ci.IssueEUM(pki.Request{OID: "2.999.5", EIDPrefix: testPrefix, NotBefore: time.Now().Add(-time.Hour), Subject: pki.Subject{CommonName: "EUM", Organization: "Lab"}})
	if err != nil {
		t.Fatal(err)
	}
	rates := Share(0.3)
	config := Config{
		Dir: t.TempDir(), Devices: 20, Seed: 3, Consumer: 0.5, Rates: rates,
		Factory: Factory{EUM: eum, Roots: []*pki.Certificate{ci.Certificate}},
	}
	var first string
	for life, consumer := range []float64{0.5, 0.5, 0, 1} {
		config.Consumer = consumer
		l, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, d := range l.Devices() {
			if err := d.openCard(); err != nil {
				t.Fatal(err)
			}
			if d.consumer() == d.way.card.Status().IoT {
				t.Errorf("life %d: %s drives another kind of eUICC than it has", life+1, d.plan.Name)
			}
			fmt.Fprintln(&all, d.plan.Name, d.plan.EID, d.consumer(), d.plan.Lasting)
			d.shut()
		}
		if first == "" {
			first = all.String()
		}
		if got := all.String(); got != first {
			t.Errorf("life %d:\n%swhile they were made as\n%s", life+1, got, first)
		}
	}
	if !strings.Contains(first, "true") || !strings.Contains(first, "false") || !strings.Contains(first, string(WrongSignature)) {
		t.Errorf("the test shows nothing:\n%s", first)
	}
}
