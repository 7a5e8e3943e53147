package euicc

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"godwit/pki"
)

// The dialogue of lpac's stdio driver, as it was recorded.
func TestServeStdio(t *testing.T) {
	card := must(NewMemory(config(pki.P256)))
	defer card.Close()
	lines := `{"type":"apdu","payload":{"func":"connect","param":null}}
{"type":"apdu","payload":{"func":"logic_channel_open","param":"a0000005591010ffffffff8900000100"}}
{"type":"progress","payload":{"code":0,"message":"es10b_get_euicc_challenge_and_info","data":null}}
{"type":"apdu","payload":{"func":"transmit","param":"81e2910006bf3e035c015a"}}
{"type":"apdu","payload":{"func":"transmit","param":"81c0000015"}}
{"type":"apdu","payload":{"func":"transmit","param":"zz"}}
{"type":"apdu","payload":{"func":"logic_channel_open","param":"a000000003"}}
{"type":"apdu","payload":{"func":"unknown","param":null}}
{"type":"apdu","payload":{"func":"logic_channel_close","param":"01"}}
{"type":"apdu","payload":{"func":"logic_channel_close","param":"01"}}
not JSON
{"type":"apdu","payload":{"func":"disconnect","param":null}}
{"type":"lpa","payload":{"code":0,"message":"success","data":null}}
`
	var answers, output bytes.Buffer
	if err := card.ServeStdio(strings.NewReader(lines), &answers, &output); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		`{"ecode":0}`, `{"ecode":1}`, `{"ecode":0,"data":"6115"}`,
		`{"ecode":0,"data":"bf3e125a10` + string(testEID) + `9000"}`,
		`{"ecode":-1}`, `{"ecode":-1}`, `{"ecode":-1}`, `{"ecode":0}`, `{"ecode":-1}`, `{"ecode":0}`,
	}, "\n")
	got := strings.TrimSpace(answers.String())
	got = strings.ReplaceAll(strings.ReplaceAll(got, `{"type":"apdu","payload":`, ""), "}}", "}")
	if got != want {
		t.Errorf("answers\n%s\nwant\n%s", got, want)
	}
	if n := strings.Count(output.String(), "\n"); n != 3 || !strings.Contains(output.String(), "not JSON") {
		t.Errorf("passed on:\n%s", output.String())
	}
}

// A reader as vpcd is one: it listens, and the card comes.
func TestServeVPCD(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	card := must(NewMemory(config(pki.P256)))
	defer card.Close()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	go func() { served <- card.ServeVPCD(ctx, conn) }()
	reader, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	say := func(body ...byte) {
		t.Helper()
		if _, err := reader.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func() string {
		t.Helper()
		var length [2]byte
		if _, err := io.ReadFull(reader, length[:]); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(reader, body); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%X", body)
	}
	say(vpcdATR)
	if got := hear(); got != fmt.Sprintf("%X", ATR()) {
		t.Errorf("ATR %s", got)
	}
	say(vpcdOff)
	say(unhex("0070000001")...)
	if got := hear(); got != "6F00" {
		t.Errorf("without power: %s", got)
	}
	say(vpcdOn)
	for _, tt := range []struct{ command, want string }{
		{"80AA00000AA9088100820101830107", "9000"},
		{"0070000001", "019000"},
		{"01A4040010A0000005591010FFFFFFFF8900000100", "6121"},
		{"81E2910006BF3E035C015A", "6115"},
		{"81C0000015", "BF3E125A10" + string(testEID) + "9000"},
		{"00B0000000", "6986"}, // what probes send
		{"00", ""},             // a control message, not a command
		{"00A40000023F00", ""},
	} {
		body := unhex(tt.command)
		say(body...)
		if tt.command == "00" {
			say(vpcdReset)
			continue
		}
		if got := hear(); tt.want != "" && got != tt.want {
			t.Errorf("%s: %s, want %s", tt.command, got, tt.want)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("taken out: %v", err)
	}
}

func TestServeVPCDReaderGone(t *testing.T) {
	card := must(NewMemory(config(pki.P256)))
	defer card.Close()
	a, b := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- card.ServeVPCD(context.Background(), a) }()
	if _, err := b.Write([]byte{0, 5, 0}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := <-served; err != nil {
		t.Errorf("the reader went away in the middle of a message: %v", err)
	}
}
