package reader

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"godwit/euicc"
	"godwit/ident"
	"godwit/lpa"
	"godwit/pki"
)

const testEID ident.EID = "89049032123451234512345678901235"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// testConfig is a chip; its certificates are made once, because they cost time.
var testConfig = sync.OnceValue(func() euicc.Config {
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	ci := must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: began}))
	eum := must(ci.IssueEUM(pki.Request{
		NotBefore: began, OID: "2.999.5", EIDPrefix: "89049032",
		Subject: pki.Subject{Country: "ES", Organization: "RSP Test EUM", CommonName: "EUM Test"},
	}))
	chip := must(eum.Issue(pki.Request{Role: pki.EUICC, EID: testEID, NotBefore: began}))
	return euicc.Config{
		EID: testEID, Roots: []*pki.Certificate{ci.Certificate},
		Credentials: []euicc.Credential{{EUM: eum.Certificate, EUICC: chip.Certificate, Key: chip.Key}},
	}
})

// asCard makes the test binary a program that answers lpac's stdio protocol
// with the chip in a directory.
const asCard = "GODWIT_TEST_CARD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asCard); dir != "" {
		card, err := euicc.Open(dir)
		if err == nil {
			err = card.ServeStdio(os.Stdin, os.Stdout, os.Stderr)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// work does with a card what an assistant does, and closes it.
func work(t *testing.T, card Card) {
	t.Helper()
	for round := range 3 {
		chip, err := lpa.OpenChip(card)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if eid, err := chip.EID(); err != nil || eid != testEID {
			t.Fatalf("round %d: EID %s, %v", round, eid, err)
		}
		// A request of several blocks, and an answer of several.
		if err := chip.SetDefaultDP("rsp.example.com"); err != nil {
			t.Error(err)
		}
		if a, err := chip.Addresses(); err != nil || a.DefaultDP != "rsp.example.com" {
			t.Errorf("addresses %+v, %v", a, err)
		}
		if info, err := chip.Info2(); err != nil || len(info.Verification) != 1 {
			t.Errorf("information %+v, %v", info, err)
		}
		if list, err := chip.Profiles(lpaAll); err != nil || len(list) != 0 {
			t.Errorf("profiles %v, %v", list, err)
		}
		if err := chip.Close(); err != nil {
			t.Errorf("give the channel back: %v", err)
		}
	}
	if err := card.Close(); err != nil {
		t.Error(err)
	}
	if _, err := card.Transmit([]byte{0, 0x70, 0, 0, 1}); err == nil {
		t.Error("a card that is closed took a command")
	}
}

// A modem is the far end of an AT port: it carries APDUs to a chip and answers
// questions about itself, as far as its script goes.
type modem struct {
	card   *euicc.Card
	script map[string]string // answers without the final result
	cgla   bool
	csim   bool
	echo   bool
	chatty bool // says things unasked
	mute   bool // stops answering
	mu     sync.Mutex
	heard  []string
}

// plug starts the modem on a pseudo-terminal and returns the device's name.
func (m *modem) plug(t *testing.T) string {
	t.Helper()
	far, near, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	name := near.Name()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var line []byte
		buf := make([]byte, 4096)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			line = append(line, buf[:n]...)
			for {
				i := bytes.IndexByte(line, '\r')
				if i < 0 {
					break
				}
				answer := m.answer(string(line[:i]))
				line = line[i+1:]
				if _, err := far.WriteString(answer); err != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		near.Close()
		far.Close()
		<-ended
	})
	return name
}

func (m *modem) answer(command string) string {
	m.mu.Lock()
	m.heard = append(m.heard, command)
	m.mu.Unlock()
	if m.mute && command != "ATE0" {
		return ""
	}
	text, ok := m.perform(command)
	out := ""
	if m.echo {
		out = command + "\r"
	}
	if command == "ATE0" {
		m.echo = false
	}
	if m.chatty {
		out += "\r\n+CREG: 1\r\n"
	}
	if !ok {
		return out + "\r\n+CME ERROR: " + text + "\r\n"
	}
	if text != "" {
		out += "\r\n" + text + "\r\n"
	}
	return out + "\r\nOK\r\n"
}

func (m *modem) perform(command string) (string, bool) {
	name, rest, _ := strings.Cut(command, "=")
	switch {
	case command == "ATE0":
		return "", true
	case (name == "AT+CCHO" || name == "AT+CGLA") && !m.cgla, name == "AT+CSIM" && !m.csim:
		return "operation not supported", false
	case command == "AT+CCHO=?":
		return "", true
	case name == "AT+CCHO":
		var aid []byte
		if _, err := fmt.Sscanf(rest, `"%X"`, &aid); err != nil {
			return "incorrect parameters", false
		}
		n, err := m.card.OpenChannel(aid)
		if err != nil {
			return "not found", false
		}
		return fmt.Sprintf("+CCHO: %d", n), true
	case name == "AT+CCHC":
		var n int
		if _, err := fmt.Sscanf(rest, "%d", &n); err != nil || m.card.CloseChannel(n) != nil {
			return "invalid index", false
		}
		return "", true
	case name == "AT+CGLA":
		var session, length int
		var apdu []byte
		if _, err := fmt.Sscanf(rest, `%d,%d,"%X"`, &session, &length, &apdu); err != nil || length != 2*len(apdu) {
			return "incorrect parameters", false
		}
		apdu[0] = onChannel(apdu[0], session)
		return m.carry("+CGLA", apdu)
	case name == "AT+CSIM":
		var length int
		var apdu []byte
		if _, err := fmt.Sscanf(rest, `%d,"%X"`, &length, &apdu); err != nil || length != 2*len(apdu) {
			return "incorrect parameters", false
		}
		return m.carry("+CSIM", apdu)
	}
	text, ok := m.script[command]
	if !ok {
		return "unknown command", false
	}
	return text, true
}

func (m *modem) carry(name string, apdu []byte) (string, bool) {
	response, err := m.card.Transmit(apdu)
	if err != nil {
		return "SIM failure", false
	}
	return fmt.Sprintf(`%s: %d,"%X"`, name, 2*len(response), response), true
}
