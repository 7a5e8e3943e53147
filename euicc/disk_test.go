package euicc

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// errCut is the power cut at a step of the store.
var errCut = errors.New("power cut")

func newDisk(t testing.TB, cfg Config) (string, *tester) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "chip")
	card, err := New(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return dir, testerOf(t, card)
}

func reopen(t testing.TB, x *tester, dir string) *tester {
	t.Helper()
	if err := x.card.Close(); err != nil {
		t.Fatal(err)
	}
	card, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return testerOf(t, card)
}

func TestDirectory(t *testing.T) {
	dir, x := newDisk(t, config(bothCurves...))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := New(dir, config(pki.P256)); err == nil {
		t.Error("a chip was made over another")
	}
	for _, name := range []string{"key-1.pem", "key-2.pem", stateFile, cardFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("opened an empty directory")
	}
	if err := x.card.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.card.Transmit([]byte{0, 0x70, 0, 0, 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed card answered: %v", err)
	}
}

// Everything that a chip is to remember survives.
func TestReopen(t *testing.T) {
	dir, x := newDisk(t, config(bothCurves...))
	a := x.add(1)
	x.add(2)
	x.enable(a, false)
	x.delete(testICCID(2))
	nickname := rsp.NicknameRequest{ICCID: a, Nickname: "home"}
	x.result(nickname.Append(nil))
	x.es10(rsp.AppendSetDefaultDPAddress(nil, "other.example.com"))
	pending := x.run(pki.BrainpoolP256r1).ready()
	before, profiles := x.card.Status(), x.card.Profiles()
	y := reopen(t, x, dir)
	if got := y.card.Status(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("status %+v, before %+v", got, before)
	}
	if got := y.card.Profiles(); fmt.Sprint(got) != fmt.Sprint(profiles) {
		t.Errorf("profiles %+v, before %+v", got, profiles)
	}
	entries, err := os.ReadDir(filepath.Join(dir, packageDir))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d packages are left, %v", len(entries), err)
	}
	// The one-time key is kept for the server's next try.
	again := y.run(pki.BrainpoolP256r1)
	again.reuse = pending.euiccKey
	again.metadata, again.profile = testMetadata(testICCID(5)), testProfile(t, testICCID(5))
	again.ready()
	if !slices.Equal(again.euiccKey, pending.euiccKey) {
		t.Error("the one-time key was lost")
	}
	if result := again.load(again.bind().Units()); result.Error != 0 {
		t.Errorf("refused with %d", result.Error)
	}
}

// The power is cut at each step that the store makes. What is found afterwards
// is the chip before the command or after it, never anything between.
func TestPowerCutInStore(t *testing.T) {
	dir, x := newDisk(t, config(pki.P256))
	x.add(1)
	rapid.Check(t, func(rt *rapid.T) {
		if x.card.state.byICCID(testICCID(2)) == nil {
			x.add(2)
		}
		for range rapid.IntRange(1, 3).Draw(rt, "cuts") {
			cut := rapid.IntRange(1, 12).Draw(rt, "step")
			steps := 0
			x.card.store.(*disk).step = func() error {
				if steps++; steps >= cut {
					return errCut
				}
				return nil
			}
			before := snapshot(x.card)
			after, answered := anyCommand(rt, x)
			if x.card.broken == nil {
				x.card.store.(*disk).step = func() error { return nil }
				continue // it took fewer steps
			}
			if answered {
				rt.Fatal("the card answered though its store had failed")
			}
			if err := x.card.Close(); err != nil {
				rt.Fatal(err)
			}
			card, err := Open(dir)
			if err != nil {
				rt.Fatalf("after a cut at step %d: %v", cut, err)
			}
			x = testerOf(t, card)
			if got := snapshot(card); got != before && !after(card) {
				rt.Fatalf("after a cut at step %d: %s, before %s", cut, got, before)
			}
		}
	})
}

// snapshot describes what the card remembers.
func snapshot(c *Card) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	out := fmt.Sprintf("%s %d %d %d;", s.DefaultDP, s.Sequence, len(s.Notifications), len(s.OneTime))
	for _, p := range s.Profiles {
		out += fmt.Sprintf(" %s %v %v", p.ICCID, p.Enabled, p.Nickname != nil)
	}
	return out
}

// anyCommand runs one command that writes, through the card's own functions so that
// a broken store does not end the test, and returns how to tell that it happened.
func anyCommand(rt *rapid.T, x *tester) (happened func(*Card) bool, answered bool) {
	one, two := testICCID(1), testICCID(2)
	var data []byte
	switch rapid.SampledFrom([]string{"enable", "disable", "delete", "address", "remove"}).Draw(rt, "command") {
	case "enable":
		q := rsp.ProfileRequest{Select: rsp.Selector{ICCID: one}}
		data, happened = q.Append(nil, rsp.TagEnableProfile), func(c *Card) bool { return c.state.byICCID(one).Enabled }
	case "disable":
		q := rsp.ProfileRequest{Select: rsp.Selector{ICCID: one}}
		data, happened = q.Append(nil, rsp.TagDisableProfile), func(c *Card) bool { return !c.state.byICCID(one).Enabled }
	case "delete":
		data, happened = rsp.AppendDeleteProfile(nil, rsp.Selector{ICCID: two}), func(c *Card) bool { return c.state.byICCID(two) == nil }
	case "address":
		address := fmt.Sprintf("dp%d.example.com", rand.IntN(1000))
		data, happened = rsp.AppendSetDefaultDPAddress(nil, address), func(c *Card) bool { return c.state.DefaultDP == address }
	case "remove":
		first := int64(0)
		if len(x.card.state.Notifications) > 0 {
			first = x.card.state.Notifications[0].Metadata.Sequence
		}
		data = rsp.AppendRemoveNotification(nil, first)
		happened = func(c *Card) bool {
			return len(c.state.Notifications) == 0 || c.state.Notifications[0].Metadata.Sequence > first
		}
	}
	return happened, x.survives(data)
}

// A process that is killed in the middle of whatever it does leaves a chip that
// opens, with at most one profile enabled and numbers that have not gone back.
func TestKill(t *testing.T) {
	if dir := os.Getenv("GODWIT_TEST_KILL"); dir != "" {
		busy(t, dir)
		return
	}
	dir, x := newDisk(t, config(pki.P256))
	x.add(1)
	x.add(2)
	if err := x.card.Close(); err != nil {
		t.Fatal(err)
	}
	lend(t, dir)
	last := int64(0)
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "GODWIT_TEST_KILL="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The child says after each command how far it is. It is killed after a
		// random number of them, in the middle of the next.
		scanner := bufio.NewScanner(out)
		promised := int64(0)
		for range 5 + rand.IntN(40) {
			if !scanner.Scan() {
				break
			}
			fmt.Sscanf(scanner.Text(), "sequence %d", &promised)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for scanner.Scan() {
			fmt.Sscanf(scanner.Text(), "sequence %d", &promised)
		}
		_ = cmd.Wait() // it was killed
		card, err := Open(dir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		enabled := 0
		for _, p := range card.Profiles() {
			if p.Enabled {
				enabled++
			}
		}
		if s := card.state.Sequence; s < promised || s < last || promised == 0 {
			t.Errorf("round %d: the counter is at %d, the chip had said %d, before %d", round, s, promised, last)
		}
		last = card.state.Sequence
		if enabled > 1 {
			t.Errorf("round %d: %d profiles are enabled", round, enabled)
		}
		if err := card.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// busy changes a chip until it is killed.
func busy(t *testing.T, dir string) {
	card, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	borrow(t, dir, card)
	x := testerOf(t, card)
	iccids := []ident.ICCID{testICCID(1), testICCID(2)}
	for i := 0; ; i++ {
		iccid := iccids[rand.IntN(2)]
		switch rand.IntN(3) {
		case 0:
			x.enable(iccid, false)
		case 1:
			x.disable(iccid, false)
		case 2:
			n := 3 + i%4
			if card.state.byICCID(testICCID(n)) != nil {
				x.delete(testICCID(n))
			} else {
				x.add(n)
			}
		}
		if len(card.state.Notifications) > 50 {
			x.result(rsp.AppendRemoveNotification(nil, card.state.Notifications[0].Metadata.Sequence))
		}
		fmt.Printf("sequence %d\n", card.state.Sequence)
	}
}

// lend writes down what a server signs with, beside the chip, and borrow reads
// it in the other process.
func lend(t *testing.T, dir string) {
	t.Helper()
	dp := authorities[pki.P256]().dp
	for name, credential := range map[string]*pki.Credential{"auth": dp.Auth, "pb": dp.PB} {
		key := must(pki.MarshalKey(credential.Key))
		if err := os.WriteFile(dir+"-"+name+".pem", append(credential.Certificate.PEM(), key...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func borrow(t *testing.T, dir string, card *Card) {
	t.Helper()
	read := func(name string) *pki.Credential {
		content, err := os.ReadFile(dir + "-" + name + ".pem")
		if err != nil {
			t.Fatal(err)
		}
		return must(pki.NewCredential(must(pki.ParseCertificates(content))[0], must(pki.ParseKey(content))))
	}
	a := &authority{
		ci:   &pki.Issuer{Credential: &pki.Credential{Certificate: card.cfg.Roots[0]}},
		chip: card.cfg.Credentials[0],
		dp:   &pki.Identity{Auth: read("auth"), PB: read("pb")},
	}
	authorities[pki.P256] = func() *authority { return a }
}
