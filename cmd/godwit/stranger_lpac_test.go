package main

import (
	"encoding/json"
	"strings"
	"testing"

	"godwit/euicc"
	"godwit/pki"
)

// lpacAnswer is the last line of lpac.
type lpacAnswer struct {
	Type    string `json:"type"`
	Payload struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"payload"`
}

// lpac runs lpac on one chip.
type lpac struct {
	line []string // up to lpac's own arguments
}

func (l lpac) try(t *testing.T, args ...string) (lpacAnswer, string) {
	t.Helper()
	said, err := runStranger(t, l.line, args...)
	var a lpacAnswer
	lastJSON(t, said, &a)
	if a.Type != "lpa" || (err == nil) != (a.Payload.Code == 0) {
		t.Fatalf("lpac %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return a, said
}

// do runs lpac, which must succeed, and reads its data.
func (l lpac) do(t *testing.T, into any, args ...string) {
	t.Helper()
	a, said := l.try(t, args...)
	if a.Payload.Code != 0 {
		t.Fatalf("lpac %s:\n%s", strings.Join(args, " "), said)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(a.Payload.Data, into); err != nil {
		t.Fatalf("lpac %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

type lpacProfile struct {
	ICCID    string `json:"iccid"`
	State    string `json:"profileState"`
	Nickname string `json:"profileNickname"`
	Name     string `json:"profileName"`
	Provider string `json:"serviceProviderName"`
	Class    string `json:"profileClass"`
}

// states returns what stands in the chip's list of profiles.
func (l lpac) states(t *testing.T) map[string]string {
	t.Helper()
	var list []lpacProfile
	l.do(t, &list, "profile", "list")
	out := map[string]string{}
	for _, p := range list {
		out[p.ICCID] = p.State
	}
	return out
}

func (l lpac) want(t *testing.T, iccid, state string) {
	t.Helper()
	if got := l.states(t)[iccid]; got != state {
		t.Fatalf("profile %s is %q in the chip's list, want %q", iccid, got, state)
	}
}

// pending returns the operations that the chip's notifications are of.
func (l lpac) pending(t *testing.T) (list []string) {
	t.Helper()
	var notifications []struct {
		Sequence  int    `json:"seqNumber"`
		Operation string `json:"profileManagementOperation"`
		Address   string `json:"notificationAddress"`
		ICCID     string `json:"iccid"`
	}
	l.do(t, &notifications, "notification", "list")
	for _, n := range notifications {
		if n.Address == "" || n.ICCID == "" || n.Sequence == 0 {
			t.Errorf("a notification lacks something: %+v", n)
		}
		list = append(list, n.Operation)
	}
	return list
}

// report has lpac deliver what the chip has to say: it does nothing of the kind
// by itself.
func (l lpac) report(t *testing.T) {
	t.Helper()
	l.do(t, nil, "notification", "process", "-a", "-r")
	if left := l.pending(t); len(left) != 0 {
		t.Errorf("still waiting in the chip: %v", left)
	}
}

// work is a whole life of two profiles, by lpac.
func (l lpac) work(t *testing.T, p *process, w witness, chip euicc.Config) {
	var info struct {
		EID       string `json:"eidValue"`
		Addresses struct {
			Default string `json:"defaultDpAddress"`
		} `json:"EuiccConfiguredAddresses"`
	}
	l.do(t, &info, "chip", "info")
	if info.EID != string(chip.EID) {
		t.Fatalf("lpac reads EID %s, want %s", info.EID, chip.EID)
	}
	if list := l.states(t); len(list) != 0 {
		t.Fatalf("a new chip lists %v", list)
	}

	// By activation code.
	one := book(t, p, "GenerateMatchingId", "true")
	l.do(t, nil, "profile", "download", "-a", "LPA:"+one.ActivationCode)
	waitFor(t, p, one, "downloaded")
	l.report(t)
	waitFor(t, p, one, "installed")
	if one.EID != string(chip.EID) {
		t.Errorf("the reservation names eUICC %s, want %s", one.EID, chip.EID)
	}
	if kind := w.proof(t, one.SID); kind != "sgp22.installation_result" {
		t.Errorf("the evidence of the installation is of kind %q", kind)
	}
	l.want(t, one.ICCID, "disabled")

	// A code that was used is refused, and lpac says why.
	if a, said := l.try(t, "profile", "download", "-a", "LPA:"+one.ActivationCode); a.Payload.Code == 0 {
		t.Fatalf("a code served twice:\n%s", said)
	}

	// By EID, from the default SM-DP+.
	l.do(t, nil, "chip", "defaultsmdp", p.credentials.SMDPAddress)
	l.do(t, &info, "chip", "info")
	if info.Addresses.Default != p.credentials.SMDPAddress {
		t.Errorf("the default SM-DP+ is %q, want %q", info.Addresses.Default, p.credentials.SMDPAddress)
	}
	two := book(t, p, "Eid", string(chip.EID))
	l.do(t, nil, "profile", "download")
	l.report(t)
	waitFor(t, p, two, "installed")

	// The profiles change places; nothing is reported before lpac is told to.
	l.do(t, nil, "profile", "enable", one.ICCID)
	l.want(t, one.ICCID, "enabled")
	l.do(t, nil, "profile", "enable", two.ICCID)
	l.want(t, one.ICCID, "disabled")
	l.want(t, two.ICCID, "enabled")
	l.do(t, nil, "profile", "nickname", two.ICCID, "Meter 7")
	l.do(t, nil, "profile", "disable", two.ICCID)
	l.want(t, two.ICCID, "disabled")
	l.do(t, nil, "profile", "delete", one.ICCID)
	if got := l.states(t); len(got) != 1 {
		t.Errorf("after the deletion the chip lists %v", got)
	}
	var list []lpacProfile
	l.do(t, &list, "profile", "list")
	if got := list[0]; got.Nickname != "Meter 7" || got.Provider != "Godwit" || got.Class != "operational" {
		t.Errorf("lpac lists %+v", got)
	}
	if got := strings.Join(l.pending(t), " "); got != "enable disable enable disable delete" {
		t.Errorf("notifications that wait: %s", got)
	}
	l.report(t)
	w.wantReported(t, one.ICCID, "install installed", "install", "enable", "disable", "delete")
	w.wantReported(t, two.ICCID, "install installed", "install", "enable", "disable")
}

// testChip makes a chip under the private test CIs of a server.
func testChip(t *testing.T, p *process, serial int) euicc.Config {
	t.Helper()
	config, err := chipOf(p.set(), newEID(t, serial))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// lpacOn puts lpac under a new chip, over its stdio driver.
func lpacOn(t *testing.T, line []string, chip euicc.Config) lpac {
	t.Helper()
	t.Setenv(asProgram, "1") // for the program, which is the test binary
	return lpac{append(program(t.Context(), "euicc", "exec", "--dir", chipIn(t, chip), "--").Args, line...)}
}

// TestStrangerLPAC has lpac work with our eUICC, and download from our SM-DP+
// into it, over lpac's stdio driver.
func TestStrangerLPAC(t *testing.T) {
	line := stranger(t, "GODWIT_LPAC", "lpac")
	t.Setenv("LPAC_HTTP", "curl")
	p := startServer(t)
	w := witnessOf(t, p)
	t.Run("life of two profiles", func(t *testing.T) {
		chip := testChip(t, p, 1)
		lpacOn(t, line, chip).work(t, p, w, chip)
	})
	for i, size := range []string{"6", "250", "255"} {
		t.Run("blocks of "+size, func(t *testing.T) {
			t.Setenv("LPAC_CUSTOM_ES10X_MSS", size)
			r := book(t, p, "GenerateMatchingId", "true")
			l := lpacOn(t, line, testChip(t, p, 10+i))
			l.do(t, nil, "profile", "download", "-a", "LPA:"+r.ActivationCode)
			l.report(t)
			waitFor(t, p, r, "installed")
		})
	}
	t.Run("brainpool alone", func(t *testing.T) {
		chip := testChip(t, p, 20)
		for i, ci := range chip.Roots {
			if ci.PublicKey.Curve() == pki.BrainpoolP256r1 {
				chip.Roots, chip.Credentials = chip.Roots[i:i+1], chip.Credentials[i:i+1]
			}
		}
		r := book(t, p, "GenerateMatchingId", "true")
		l := lpacOn(t, line, chip)
		l.do(t, nil, "profile", "download", "-a", "LPA:"+r.ActivationCode)
		l.report(t)
		waitFor(t, p, r, "installed")
	})
	t.Run("confirmation code", func(t *testing.T) {
		iccid := strings.TrimSpace(string(godwit(t, "order", "download", "--data", p.data, "--type", defaultType)))
		code := strings.TrimSpace(string(godwit(t, "order", "confirm", "--data", p.data, iccid, "--code", "2468")))
		l := lpacOn(t, line, testChip(t, p, 30))
		if a, said := l.try(t, "profile", "download", "-a", code, "-c", "1357"); a.Payload.Code == 0 {
			t.Fatalf("a wrong confirmation code was taken:\n%s", said)
		}
		l.do(t, nil, "profile", "download", "-a", code, "-c", "2468")
		l.report(t)
		w.wantReported(t, iccid, "install installed", "install")
	})
	t.Run("nothing there", func(t *testing.T) {
		a, said := lpacOn(t, line, testChip(t, p, 40)).try(t, "profile", "download", "-a", "LPA:1$"+p.credentials.SMDPAddress+"$NO-SUCH-CODE")
		if a.Payload.Code == 0 || !strings.Contains(said, "es9p_authenticate_client") {
			t.Errorf("a matching ID of nobody:\n%s", said)
		}
	})
}
