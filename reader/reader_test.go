package reader

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"godwit/euicc"
	"godwit/lpa"
	"godwit/rsp"
)

var lpaAll = rsp.Selector{}

// terminal makes a chip that answers as behind a T=0 reader: 61xx, GET RESPONSE.
func terminal(t *testing.T) *euicc.Card {
	t.Helper()
	config := testConfig()
	config.Terminal = true
	card, err := euicc.NewMemory(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	return card
}

func TestModem(t *testing.T) {
	for _, tt := range []struct {
		name  string
		modem *modem
		query string
		heard string // how APDUs came
	}{
		{"logical channels", &modem{cgla: true, csim: true}, "", "AT+CGLA="},
		{"logical channels, with echo and other news", &modem{cgla: true, echo: true, chatty: true}, "", "AT+CGLA="},
		{"plain commands", &modem{csim: true}, "", "AT+CSIM="},
		{"plain commands, because we say so", &modem{cgla: true, csim: true}, "?mode=csim&baud=9600", "AT+CSIM="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.modem.card = terminal(t)
			card, err := Open("at:" + tt.modem.plug(t) + tt.query)
			if err != nil {
				t.Fatal(err)
			}
			work(t, card)
			tt.modem.mu.Lock()
			defer tt.modem.mu.Unlock()
			for _, command := range tt.modem.heard {
				if strings.HasPrefix(command, "AT+CGLA=") || strings.HasPrefix(command, "AT+CSIM=") {
					if !strings.HasPrefix(command, tt.heard) {
						t.Errorf("the modem heard %s, want %s", command, tt.heard)
					}
				}
			}
		})
	}
}

// Two channels at once have each their own session at the modem.
func TestModemChannels(t *testing.T) {
	m := modem{cgla: true, card: terminal(t)}
	card, err := Open("at:" + m.plug(t))
	if err != nil {
		t.Fatal(err)
	}
	first, err := lpa.OpenChip(card)
	if err != nil {
		t.Fatal(err)
	}
	second, err := lpa.OpenChip(card)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if eid, err := second.EID(); err != nil || eid != testEID {
		t.Errorf("on the second channel, the first being closed: %s, %v", eid, err)
	}
	if _, err := first.EID(); err == nil {
		t.Error("a closed channel took a command")
	}
	if err := card.Close(); err != nil {
		t.Error(err)
	}
	if n, err := m.card.OpenChannel(rsp.ISDR); err != nil || n != 1 {
		t.Errorf("channels were left open at the card: the next one is %d, %v", n, err)
	}
}

func TestModemFacts(t *testing.T) {
	m := modem{card: terminal(t), csim: true, chatty: true, script: map[string]string{
		"AT+CGSN": "356938035643809", "AT+CGMR": "EC25EFAR06A03M4G", "AT+QCCID": "+QCCID: 89490200001234567897F", "AT+COPS=3,0": "",
		"AT+COPS?": `+COPS: 0,0,"Example, Mobile",7`, "AT+CSQ": "+CSQ: 20,99",
		"AT+CGDCONT?":  "+CGDCONT: 1,\"IP\",\"iot.example\",\"0.0.0.0\",0,0\r\n+CGDCONT: 2,\"IPV4V6\",\"ims\",\"\",0,0",
		"AT+CGPADDR=1": "+CGPADDR: 1,10.1.2.3", "AT+CNUM": `+CNUM: ,"+49151234567",145`,
	}}
	opened, err := OpenModem(Port{Device: m.plug(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	got, err := opened.Facts()
	want := Facts{
		IMEI: "356938035643809", Firmware: "EC25EFAR06A03M4G", ICCID: "89490200001234567897", Carrier: "Example, Mobile", Network: "LTE",
		APN: "iot.example", Phone: "+49151234567", IP: "10.1.2.3", Signal: "-73", Percent: "64",
	}
	if err != nil || got != want {
		t.Errorf("facts %+v, %v\nwant  %+v", got, err, want)
	}

	mute := modem{card: terminal(t), csim: true, chatty: true}
	silent, err := OpenModem(Port{Device: mute.plug(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if got, err := silent.Facts(); err != nil || got != (Facts{}) {
		t.Errorf("a modem that tells nothing: %+v, %v", got, err)
	}
}

func TestExec(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "chip")
	made, err := euicc.New(dir, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	made.Close()
	t.Setenv(asCard, dir)
	card, err := Exec([]string{os.Args[0]})
	if err != nil {
		t.Fatal(err)
	}
	work(t, card)
	// The program has ended: its chip is free.
	again, err := euicc.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestExecThatEnds(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"at once", "exit 3", "ended its output"},
		{"with a refusal", `read line; echo '{"type":"apdu","payload":{"ecode":-1}}'; read line`, "refused connect with -1"},
		{"with nonsense", `read line; echo '{"type":"apdu","payload":{}}'; read line`, "no ecode"},
		{"after lines of others", `echo hello; echo '{"type":"lpa"}'; read line; echo '{"type":"apdu","payload":{"ecode":-2}}'; read line`, "with -2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Exec([]string{"/bin/sh", "-c", tt.script}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestOpenNames(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"euicc", "it is euicc:DIR"},
		{"usb:1", "no way called"},
		{"at:", "is missing"},
		{"at:/dev/null?mode=raw", "mode is cgla or csim"},
		{"at:/dev/null?baud=fast", "baud is a number"},
		{"at:/dev/null?speed=1", "no setting"},
		{"exec:", "is missing"},
		{"qmi:", "is to be a whole path"},
		{"mbim:cdc-wdm0", "is to be a whole path"},
		{"qrtr:/dev/cdc-wdm0", "QRTR has no device"},
		{"qmi:/dev/cdc-wdm0?slot=0", "slot is a number from 1"},
		{"mbim:/dev/cdc-wdm0?slot=17", "slot is a number from 1"},
		{"qrtr:?slot=esim", "slot is a number from 1"},
		{"qmi:/dev/cdc-wdm0?mode=csim", "it has slot"},
		{"at:/dev/null?slot=1", "it has mode and baud"},
		{"euicc:/nowhere", "there is no eUICC"},
	} {
		if _, err := Open(tt.name); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%q): %v, want %q in it", tt.name, err, tt.want)
		}
		// A name that leads nowhere today may tomorrow.
		if err := Check(tt.name); (err == nil) != (tt.name == "euicc:/nowhere") {
			t.Errorf("Check(%q): %v", tt.name, err)
		}
	}
}

// FuzzModem has a modem say anything: no answer may hang or crash us.
func FuzzModem(f *testing.F) {
	f.Add("OK\r\nOK\r\n\r\n+CCHO: 1\r\nOK\r\n+CGLA: 4,\"9000\"\r\nOK\r\n")
	f.Add("ERROR\rOK\r\nERROR\r\n+CSIM: 6,019000\r\nOK\r\n")
	f.Add("+CME ERROR: 3\nOK\nOK\n1\nOK\n+CGLA: -2,\"\"\nOK\n")
	f.Fuzz(func(t *testing.T, talk string) {
		m, err := newModem(&talker{Reader: strings.NewReader(talk)}, "")
		if err != nil {
			return
		}
		chip, err := lpa.OpenChip(m)
		if err == nil {
			_, _ = chip.EID()
		}
		_, _ = m.Facts()
		m.Close()
	})
}

// A talker says what it says, whatever it is asked.
type talker struct{ io.Reader }

func (*talker) Write(p []byte) (int, error) { return len(p), nil }
func (*talker) Close() error                { return nil }

// FuzzPCSC has pcscd answer anything.
func FuzzPCSC(f *testing.F) {
	readers := make([]byte, pcscReaders*pcscReaderLen)
	copy(readers, "Reader 00 00")
	binary.NativeEndian.PutUint32(readers[pcscNameLen+4:], pcscPresent)
	good := append(make([]byte, 24), readers...)
	good = append(good, make([]byte, 24+pcscNameLen)...)
	transmit := make([]byte, 32)
	binary.NativeEndian.PutUint32(transmit[24:], 3)
	good = append(append(good, transmit...), 1, 0x90, 0)
	f.Add(good)
	f.Add(good[:100])
	f.Fuzz(func(t *testing.T, talk []byte) {
		near, far := net.Pipe()
		go io.Copy(io.Discard, far)
		go func() {
			far.Write(talk)
			far.Close()
		}()
		p := &pcsc{conn: near}
		if err := p.connect(""); err == nil {
			if response, err := p.Transmit([]byte{0, 0x70, 0, 0, 1}); err == nil && len(response) < 2 {
				t.Errorf("a response of %d octets", len(response))
			}
		}
		p.Close()
		far.Close()
	})
}

// TestPCSCExchange holds our side of the protocol to the octets that pcscd's own
// client writes.
func TestPCSCExchange(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	heard := make(chan string, 1)
	go func() {
		b := make([]byte, 8+12)
		io.ReadFull(far, b)
		heard <- hex.EncodeToString(b)
		far.Close()
	}()
	if err := (&pcsc{conn: near}).connect(""); !errors.Is(err, io.EOF) {
		t.Errorf("pcscd that hangs up: %v", err)
	}
	want := "0c00000011000000" + "040000000400000000000000"
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		want = "0000000c00000011" + "000000040000000400000000"
	}
	if got := <-heard; got != want {
		t.Errorf("the first message is %s, want %s", got, want)
	}
}
