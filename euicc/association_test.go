package euicc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
)

func TestAddInitialEim(t *testing.T) {
	e, other := newEim("eim.example.com"), newEim("other.example.com")
	change := func(f func(c *iot.EimConfiguration)) []iot.EimConfiguration {
		c := *e.config()
		f(&c)
		return []iot.EimConfiguration{c}
	}
	many := []iot.EimConfiguration{}
	for i := range maxAssociations + 1 {
		c := *e.config()
		c.ID = fmt.Sprint(i)
		many = append(many, c)
	}
	tests := []struct {
		name string
		list []iot.EimConfiguration
		want int64
	}{
		{"one", []iot.EimConfiguration{*e.config()}, 0},
		{"two", []iot.EimConfiguration{*e.config(), *other.config()}, 0},
		{"none", nil, iot.ResultCommandError},
		{"the same twice", []iot.EimConfiguration{*e.config(), *e.config()}, iot.ResultCommandError},
		{"too many", many, iot.ResultMemory},
		{"a token of its own", change(func(c *iot.EimConfiguration) { c.Token = new(int64(5)) }), iot.ResultInvalidToken},
		{"a token is asked for", change(func(c *iot.EimConfiguration) { c.Token = new(int64(iot.AskToken)) }), 0},
		{"counter", change(func(c *iot.EimConfiguration) { c.Counter = new(int64(7)) }), 0},
		{"counter out of range", change(func(c *iot.EimConfiguration) { c.Counter = new(int64(iot.MaxCounter + 1)) }), iot.ResultCounter},
		{"counter below zero", change(func(c *iot.EimConfiguration) { c.Counter = new(int64(-1)) }), iot.ResultCounter},
		{"CI", change(func(c *iot.EimConfiguration) { c.CI = authorities[pki.P256]().ci.Certificate.SubjectKeyID }), 0},
		{"CI unknown", change(func(c *iot.EimConfiguration) { c.CI = []byte{1, 2, 3, 4} }), iot.ResultCIUnknown},
		{"no key", change(func(c *iot.EimConfiguration) { c.PublicKey = nil }), iot.ResultCommandError},
		{"damaged key", change(func(c *iot.EimConfiguration) { c.PublicKey = unhex("30023000") }), iot.ResultCommandError},
		{"certificate", change(func(c *iot.EimConfiguration) {
			c.PublicKey, c.Certificate = nil, authorities[pki.P256]().dp.Auth.Certificate.Raw
		}), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := newTester(t, iotConfig(pki.P256))
			answer := x.addConfigs(test.list...)
			if answer.Error != test.want {
				t.Fatalf("error %d, want %d", answer.Error, test.want)
			}
			stored := must(iot.ParseEimConfigurations(x.es10(iot.AppendGetEimConfiguration(nil, ""))))
			if test.want != 0 {
				if len(stored) != 0 {
					t.Errorf("%d eIMs are stored", len(stored))
				}
				return
			}
			if len(stored) != len(test.list) || len(answer.Tokens) != len(test.list) {
				t.Fatalf("%d eIMs, %d tokens", len(stored), len(answer.Tokens))
			}
			for i, c := range test.list {
				asked := c.Token != nil
				if made := answer.Tokens[i] != nil; made != asked {
					t.Errorf("token %v, asked for %v", answer.Tokens[i], asked)
				}
				if c.Counter == nil {
					c.Counter = new(int64(0))
				}
				c.Token = answer.Tokens[i]
				if !bytes.Equal(stored[i].Append(nil), c.Append(nil)) {
					t.Errorf("stored %+v, given %+v", stored[i], c)
				}
			}
			if again := x.addConfigs(test.list...); again.Error != iot.ResultAssociated {
				t.Errorf("added again: %d", again.Error)
			}
		})
	}
	x := newTester(t, iotConfig(pki.P256))
	if must(iot.ParseAddInitialEimResult(x.es10(unhex("BF5702A000")))).Error != iot.ResultCommandError {
		t.Error("an empty list was taken")
	}
	if must(iot.ParseAddInitialEimResult(x.es10(unhex("BF5704A0023000")))).Error != iot.ResultCommandError {
		t.Error("an eIM without identifier was taken")
	}
}

// The association token is in every signature, of both sides.
func TestAssociationToken(t *testing.T) {
	x := newTester(t, iotConfig(pki.P256))
	e := newEim("eim.example.com")
	e.token = new(int64(iot.AskToken))
	e.token = x.addInitial(e).Tokens[0]
	if e.token == nil || *e.token <= 0 {
		t.Fatalf("token %v", e.token)
	}
	if got := codes(x.order(e, iot.PSMO{Op: iot.OpGetRAT})); got != "getRAT 0;" {
		t.Error(got)
	}
	p := x.answerTo(e, x.es10(must(e.request(iot.PSMO{Op: iot.OpGetRAT}).Sign(e.key, nil))))
	if !p.Unsigned || p.Token == nil || *p.Token != *e.token {
		t.Errorf("a package without the token: %+v", p)
	}
}

func TestEimCommands(t *testing.T) {
	other := newEim("other.example.com")
	change := func(id string, f func(c *iot.EimConfiguration)) *iot.EimConfiguration {
		c := &iot.EimConfiguration{ID: id}
		f(c)
		return c
	}
	const first = "eim.example.com"
	newKey := must(pki.PublicKeyOf(must(pki.GenerateKey(pki.P256)))).Info()
	add := func(c *iot.EimConfiguration) any { return iot.ECO{Op: iot.OpAddEim, Config: c} }
	update := func(c *iot.EimConfiguration) any { return iot.ECO{Op: iot.OpUpdateEim, Config: c} }
	remove := func(id string) any { return iot.ECO{Op: iot.OpDeleteEim, EimID: id} }
	tests := []struct {
		name     string
		commands []any
		want     string
	}{
		{"add", []any{add(other.config())}, "addEim 0;"},
		{"add twice", []any{add(other.config()), add(other.config())}, "addEim 0;addEim 2;"},
		{"add with a token of its own", []any{add(change("x", func(c *iot.EimConfiguration) { c.PublicKey, c.Token = newKey, new(int64(1)) }))}, "addEim 5;"},
		{"add with an unknown CI", []any{add(change("x", func(c *iot.EimConfiguration) { c.PublicKey, c.CI = newKey, []byte{1} }))}, "addEim 3;"},
		{"add with a great counter", []any{add(change("x", func(c *iot.EimConfiguration) { c.PublicKey, c.Counter = newKey, new(int64(1<<23)) }))}, "addEim 6;"},
		{"add without key", []any{add(change("x", func(*iot.EimConfiguration) {}))}, "addEim 7;"},
		{"update", []any{update(change(first, func(c *iot.EimConfiguration) { c.FQDN = "new.example.com" }))}, "updateEim 0;"},
		{"update unknown", []any{update(other.config())}, "updateEim 1;"},
		{"update with an unknown CI", []any{update(change(first, func(c *iot.EimConfiguration) { c.CI = []byte{1} }))}, "updateEim 3;"},
		{"update with a great counter", []any{update(change(first, func(c *iot.EimConfiguration) { c.Counter = new(int64(1 << 23)) }))}, "updateEim 6;"},
		{"update with a lower counter", []any{update(change(first, func(c *iot.EimConfiguration) { c.Counter = new(int64(0)) }))}, "updateEim 6;"},
		{"update with a lower counter and another key", []any{update(change(first, func(c *iot.EimConfiguration) { c.Counter, c.PublicKey = new(int64(0)), newKey }))}, "updateEim 0;"},
		{"update asks for a token", []any{update(change(first, func(c *iot.EimConfiguration) { c.Token = new(int64(iot.AskToken)) }))}, "updateEim 7;"},
		{"delete unknown", []any{remove("nobody")}, "deleteEim 1;"},
		{"delete another", []any{add(other.config()), remove(other.id)}, "addEim 0;deleteEim 0;"},
		{"delete oneself", []any{add(other.config()), remove(first)}, "addEim 0;deleteEim 0;"},
		{"delete the last", []any{remove(first)}, "deleteEim 2;"},
		{"list", []any{add(other.config()), iot.ECO{Op: iot.OpListEim}}, "addEim 0;listEim 0;"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x, e := newIoT(t)
			p := x.order(e, test.commands...)
			if got := codes(p); got != test.want {
				t.Errorf("results %s, want %s", got, test.want)
			}
			if strings.HasSuffix(test.want, "listEim 0;") {
				want := []iot.EimInfo{{ID: first, Type: iot.EimIDFQDN}, {ID: other.id, Type: iot.EimIDFQDN}}
				if got := p.Results[1].Eims; !slices.Equal(got, want) {
					t.Errorf("eIMs %v", got)
				}
			}
		})
	}
}

// An eIM adds another, changes its own key, and goes.
func TestEimHandover(t *testing.T) {
	x, e := newIoT(t)
	next := newEim("next.example.com")
	c := next.config()
	c.Token, c.Counter = new(int64(iot.AskToken)), new(int64(100))
	p := x.order(e, iot.ECO{Op: iot.OpAddEim, Config: c})
	if next.token = p.Results[0].Token; next.token == nil {
		t.Fatalf("no token in %+v", p.Results[0])
	}
	next.counter = 100
	if got := codes(x.order(next, iot.PSMO{Op: iot.OpGetRAT})); got != "getRAT 0;" {
		t.Error(got)
	}
	old := e.key
	e.key = must(pki.GenerateKey(pki.P256))
	q := e.request(iot.ECO{Op: iot.OpUpdateEim, Config: &iot.EimConfiguration{ID: e.id, PublicKey: must(pki.PublicKeyOf(e.key)).Info()}})
	if got := codes(x.answerTo(e, x.es10(must(q.Sign(old, nil))))); got != "updateEim 0;" {
		t.Error(got)
	}
	if p := x.answerTo(e, x.es10(must(e.request(iot.PSMO{Op: iot.OpGetRAT}).Sign(old, nil)))); !p.Unsigned {
		t.Error("the old key is still good")
	}
	if got := codes(x.order(e, iot.ECO{Op: iot.OpDeleteEim, EimID: e.id})); got != "deleteEim 0;" {
		t.Error(got)
	}
	if p := x.answerTo(e, x.es10(must(e.request(iot.PSMO{Op: iot.OpGetRAT}).Sign(e.key, nil)))); !p.Unsigned {
		t.Error("an eIM that is gone was obeyed")
	}
	if got := x.addInitial(e); got.Error != iot.ResultAssociated {
		t.Errorf("added beside an eIM: %d", got.Error)
	}
	if got := codes(x.order(next, iot.ECO{Op: iot.OpDeleteEim, EimID: next.id})); got != "deleteEim 2;" {
		t.Error(got)
	}
	if got := x.addInitial(e); got.Error != 0 {
		t.Errorf("no eIM is left, and none can be added: %d", got.Error)
	}
}

func TestMemoryResetIoT(t *testing.T) {
	x, e := newIoT(t)
	x.add(1)
	x.order(e, enableOf(testICCID(1)))
	reset := func(options iot.ResetOptions) *iot.MemoryResetResult {
		return must(iot.ParseMemoryResetResult(x.es10(iot.AppendMemoryReset(nil, options))))
	}
	if p := reset(iot.ResetFieldTest); p.Result != rsp.ResultNotFound || p.Eims != nil || p.Immediate != nil {
		t.Errorf("nothing to delete: %+v", p)
	}
	p := reset(iot.ResetOperational | iot.ResetEims | iot.ResetImmediate)
	if p.Result != 0 || p.Eims == nil || *p.Eims != 0 || p.Immediate == nil || *p.Immediate != 0 {
		t.Errorf("reset: %+v", p)
	}
	if len(x.card.state.Profiles) != 0 || len(x.card.state.Eims) != 0 {
		t.Error("something is left")
	}
	if p := reset(iot.ResetEims); *p.Eims != rsp.ResultNotFound {
		t.Errorf("reset without eIM: %d", *p.Eims)
	}
	if got := x.addInitial(e); got.Error != 0 {
		t.Errorf("no eIM can be added after the reset: %d", got.Error)
	}
}

// A chip that leaves the factory with eIMs keeps them, and everything of SGP.32
// survives the end of the process.
func TestIoTReopen(t *testing.T) {
	e := newEim("eim.example.com")
	cfg := iotConfig(pki.P256)
	cfg.Eims = []iot.EimConfiguration{*e.config()}
	dir, x := newDisk(t, cfg)
	x.add(1)
	x.add(2, func(r *run) { r.metadata.FallbackAllowed = new(true) })
	x.order(e, iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(2)}, enableOf(testICCID(1)))
	p := x.order(e, iot.PSMO{Op: iot.OpEnable, ICCID: testICCID(2), Rollback: true})
	before := fmt.Sprint(x.resultNumbers())
	y := reopen(t, x, dir)
	if !y.card.cfg.IoT || fmt.Sprint(y.resultNumbers()) != before || y.card.state.Fallback != testICCID(2) {
		t.Errorf("results %v, fallback %s", y.resultNumbers(), y.card.state.Fallback)
	}
	replayed := y.answerTo(e, y.es10(must((&iot.PackageRequest{
		EimID: e.id, EID: testEID, Counter: p.Counter, PSMO: []iot.PSMO{{Op: iot.OpGetRAT}},
	}).Sign(e.key, nil))))
	if replayed.ErrorCode == nil || *replayed.ErrorCode != iot.PackageReplay {
		t.Errorf("the counter went back: %+v", replayed)
	}
	code, raw, err := iot.ParseRollback(y.es10(iot.AppendRefresh(nil, iot.TagProfileRollback, false)))
	if err != nil || code != 0 || codes(y.answerTo(e, raw)) != "enable 0;rollback 0;" {
		t.Errorf("rollback after a restart: %d %v", code, err)
	}
	cfg.IoT = false
	if _, err := NewMemory(cfg); err == nil {
		t.Error("a consumer chip was given an eIM")
	}
}

// Chips that were made before SGP.32 was known still open.
func TestOldChip(t *testing.T) {
	dir, x := newDisk(t, config(pki.P256))
	iccid := x.add(1)
	if err := x.card.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{cardFile, stateFile} {
		path := filepath.Join(dir, name)
		var content map[string]any
		if err := json.Unmarshal(must(os.ReadFile(path)), &content); err != nil {
			t.Fatal(err)
		}
		content["version"] = 1
		if err := os.WriteFile(path, must(json.Marshal(content)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	card, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	y := testerOf(t, card)
	if y.enable(iccid, false) != rsp.ResultOK {
		t.Error("the profile cannot be enabled")
	}
}
