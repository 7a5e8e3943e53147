package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/euicc"
	"godwit/iot"
	"godwit/pki"
	"godwit/trust"
)

// newChip makes an eUICC under a fresh set, as `godwit euicc new` does.
func newChip(t *testing.T, command euiccNewCommand) string {
	t.Helper()
	folder := t.TempDir()
	set, err := trust.NewTest("test", []string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Save(folder, false); err != nil {
		t.Fatal(err)
	}
	command.PKI = filepath.Join(folder, "test")
	command.Dir = filepath.Join(t.TempDir(), "chip")
	command.Memory = 64
	if err := command.Run(); err != nil {
		t.Fatal(err)
	}
	return command.Dir
}

func TestEUICCNew(t *testing.T) {
	card, err := euicc.Open(newChip(t, euiccNewCommand{ForbidPPR: []int{1}, DefaultDP: "rsp.example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	s := card.Status()
	if !strings.HasPrefix(string(s.EID), trust.EIDPrefix) || len(s.CIs) != 2 || len(s.SigningCIs) != 2 || s.Memory != 64<<10 || s.DefaultDP != "rsp.example.com" {
		t.Errorf("status %+v", s)
	}
	for _, command := range []euiccNewCommand{
		{Memory: 64, PKI: filepath.Join(t.TempDir(), "nothing")},
		{Memory: 64, CI: []string{"ci.pem"}},
		{Memory: 1, PKI: filepath.Join(t.TempDir(), "nothing")},
	} {
		command.Dir = filepath.Join(t.TempDir(), "chip")
		if err := command.Run(); err == nil {
			t.Errorf("%+v passed", command)
		}
	}
}

// An IoT eUICC knows the eIMs whose configurations were named, in DER or base64.
func TestEUICCNewIoT(t *testing.T) {
	key, err := pki.GenerateKey(pki.P256)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pki.PublicKeyOf(key)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for i, id := range []string{"a.example.com", "b.example.com"} {
		eim := iot.EimConfiguration{ID: id, PublicKey: public.Info(), Counter: new(int64(i * 7)), Token: new(int64(iot.AskToken))}
		content := eim.Append(nil)
		if i == 1 {
			content = []byte(base64.StdEncoding.EncodeToString(content) + "\n")
		}
		files = append(files, filepath.Join(t.TempDir(), id))
		if err := os.WriteFile(files[i], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	card, err := euicc.Open(newChip(t, euiccNewCommand{IoT: true, Eim: files}))
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	s := card.Status()
	if !s.IoT || len(s.Eims) != 2 {
		t.Fatalf("status %+v", s)
	}
	want := fmt.Sprintf("b.example.com, counter 7, association token 2, NIST P-256 key %X", public.ID())
	if got := eimInWords(&s.Eims[1]); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, command := range []euiccNewCommand{{Eim: files[:1]}, {IoT: true, Eim: []string{os.Args[0]}}, {IoT: true, Eim: []string{files[0], files[0]}}} {
		command.Memory, command.Dir = 64, filepath.Join(t.TempDir(), "chip")
		folder := t.TempDir()
		set, err := trust.NewTest("test", []string{"localhost"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Save(folder, false); err != nil {
			t.Fatal(err)
		}
		command.PKI = filepath.Join(folder, "test")
		if err := command.Run(); err == nil {
			t.Errorf("%+v passed", command)
		}
	}
}

// A program that speaks lpac's stdio driver: it asks for the EID, prints the
// answer as lpac prints its own results, and ends with a code of its own.
func TestEUICCExec(t *testing.T) {
	card, err := euicc.Open(newChip(t, euiccNewCommand{EID: "890490320000000000000000000001"}))
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	script := filepath.Join(t.TempDir(), "assistant")
	err = os.WriteFile(script, []byte(`#!/bin/sh
ask() { printf '{"type":"apdu","payload":{"func":"%s","param":%s}}\n' "$1" "$2"; read -r answer; }
test "$LPAC_APDU" = stdio || exit 9
ask connect null
ask logic_channel_open '"a0000005591010ffffffff8900000100"'
ask transmit '"81e2910006bf3e035c015a00"'
printf '{"type":"lpa","payload":%s}\n' "$answer"
exit 3
`), 0o700)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	err = runWithCard(context.Background(), card, []string{script}, &stdout, &stderr)
	var code exitError
	if !errors.As(err, &code) || code != 3 {
		t.Errorf("the program ended with %v, %s", err, stderr.String())
	}
	if want := `"data":"bf3e125a10` + string(card.EID()) + `9000"`; !strings.Contains(stdout.String(), want) {
		t.Errorf("output %s, want %s in it", stdout.String(), want)
	}
	if err := runWithCard(context.Background(), card, []string{filepath.Join(t.TempDir(), "nothing")}, &stdout, &stderr); err == nil {
		t.Error("a program that is not there was run")
	}
}
