package reader

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.bug.st/serial"
)

// A Mode is how a modem carries APDUs. 3GPP TS 27.007, 8.17 and 8.43 to 8.46.
type Mode string

const (
	// CGLA has the modem open logical channels (AT+CCHO) and carry commands on
	// them (AT+CGLA): it goes on using the card beside us.
	CGLA Mode = "cgla"
	// CSIM carries any command as it is (AT+CSIM), those about channels included.
	CSIM Mode = "csim"
)

// A Port is a modem's AT port.
type Port struct {
	Device string
	Mode   Mode // empty: CGLA if the modem knows it, else CSIM
	Baud   int  // 115200 if zero; ports over USB ignore it
}

const (
	baud = 115200
	// commandTime is how long a modem may take for a command that asks no card
	// and no network.
	commandTime = 10 * time.Second
	// tick is how long one read waits.
	tick = 200 * time.Millisecond
	// maxAT bounds a line of a modem, and maxTalk what it says between a command
	// and the end of its answer.
	maxAT   = 140 << 10
	maxTalk = 2 * maxAT
)

// A Modem is a modem that carries APDUs to its card and tells about itself.
type Modem struct {
	Card
	line *line
}

// OpenModem opens a modem's AT port and finds out how it carries APDUs.
func OpenModem(p Port) (*Modem, error) {
	if p.Baud == 0 {
		p.Baud = baud
	}
	port, err := serial.Open(p.Device, &serial.Mode{BaudRate: p.Baud})
	if err != nil {
		return nil, fmt.Errorf("open AT port %s: %w", p.Device, err)
	}
	if err := port.SetReadTimeout(tick); err != nil {
		return nil, errors.Join(err, port.Close())
	}
	m, err := newModem(port, p.Mode)
	if err != nil {
		return nil, fmt.Errorf("modem at %s: %w", p.Device, err)
	}
	return m, nil
}

// newModem begins the dialogue on an open port, whose reads return after a
// while with or without octets.
func newModem(port io.ReadWriteCloser, mode Mode) (*Modem, error) {
	l := &line{port: port}
	// The first command may meet a line that somebody else has left half
	// written: its refusal says nothing.
	_, err := l.ask(commandTime, "ATE0")
	if _, refused := errors.AsType[*refusal](err); refused {
		_, err = l.ask(commandTime, "ATE0")
	}
	if err != nil {
		return nil, errors.Join(err, port.Close())
	}
	if mode == "" {
		mode = CSIM
		if _, err := l.ask(commandTime, "AT+CCHO=?"); err == nil {
			mode = CGLA
		}
	}
	m := &Modem{line: l}
	if mode == CGLA {
		m.Card = &channelled{way: cgla{l}}
	} else {
		m.Card = csim{l}
	}
	return m, nil
}

// cgla carries commands on channels that the modem opens.
type cgla struct{ *line }

func (c cgla) open(aid []byte) (int, error) {
	said, err := c.ask(apduTime, fmt.Sprintf(`AT+CCHO="%X"`, aid))
	if err != nil {
		return 0, err
	}
	// Some modems answer with the number alone.
	text := strings.TrimSpace(said.after("+CCHO:"))
	if text == "" && len(said) > 0 {
		text = said[len(said)-1]
	}
	n, err := strconv.Atoi(strings.Trim(text, `"`))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("AT+CCHO answered %q, which is no number of a session", clip(text))
	}
	return n, nil
}

func (c cgla) close(session int) error {
	_, err := c.ask(apduTime, fmt.Sprintf("AT+CCHC=%d", session))
	return err
}

func (c cgla) transmit(session int, apdu []byte) ([]byte, error) {
	said, err := c.ask(apduTime, fmt.Sprintf(`AT+CGLA=%d,%d,"%X"`, session, 2*len(apdu), apdu))
	if err != nil {
		return nil, err
	}
	return response(said.after("+CGLA:"))
}

func (c cgla) shut() error { return c.port.Close() }

// csim carries any command.
type csim struct{ *line }

func (c csim) Transmit(apdu []byte) ([]byte, error) {
	if len(apdu) < 4 {
		return nil, errShort
	}
	said, err := c.ask(apduTime, fmt.Sprintf(`AT+CSIM=%d,"%X"`, 2*len(apdu), apdu))
	if err != nil {
		return nil, err
	}
	return response(said.after("+CSIM:"))
}

func (c csim) Close() error { return c.port.Close() }

// response reads `length,"octets"`, with or without the quotes.
func response(text string) ([]byte, error) {
	count, digits, found := strings.Cut(text, ",")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	digits = strings.Trim(strings.TrimSpace(digits), `"`)
	if !found || err != nil || n != len(digits) {
		return nil, fmt.Errorf("the modem's answer %q is no length with so many digits", clip(text))
	}
	octets, err := hex.DecodeString(digits)
	if err != nil || len(octets) < 2 {
		return nil, fmt.Errorf("the modem's answer %q is no response APDU in hexadecimal", clip(text))
	}
	return octets, nil
}

// A line is the dialogue on an AT port: one command at a time.
type line struct {
	mu     sync.Mutex
	port   io.ReadWriteCloser
	rest   []byte // read, and not yet a whole line
	broken error  // an answer is overdue: the next one would be the wrong one
}

// said is what a modem answered, line by line, without the final result.
type said []string

// after returns the rest of the first line that begins with prefix.
func (s said) after(prefix string) string {
	for _, line := range s {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// ask sends one command and collects the answer. What the modem says unasked
// in between is among the lines; callers pick theirs by its prefix.
func (l *line) ask(patience time.Duration, command string) (said, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return nil, l.broken
	}
	answer, err := l.exchange(patience, command)
	if _, refused := errors.AsType[*refusal](err); err != nil && !refused {
		l.broken = err
	}
	return answer, err
}

func (l *line) exchange(patience time.Duration, command string) (said, error) {
	if _, err := io.WriteString(l.port, command+"\r"); err != nil {
		return nil, fmt.Errorf("write to the modem: %w", err)
	}
	var answer said
	total := 0
	for deadline := time.Now().Add(patience); ; {
		text, err := l.next(deadline)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", verb(command), err)
		}
		if total += len(text); total > maxTalk {
			return nil, fmt.Errorf("%s: the modem's answer does not end", verb(command))
		}
		switch {
		case text == "" || text == command: // the echo, before ATE0 has worked
		case text == "OK":
			return answer, nil
		case text == "ERROR", strings.HasPrefix(text, "+CME ERROR:"), strings.HasPrefix(text, "+CMS ERROR:"):
			return answer, &refusal{fmt.Sprintf("the modem refused %s: %s", verb(command), clip(text))}
		default:
			answer = append(answer, text)
		}
	}
}

// next returns the next line.
func (l *line) next(deadline time.Time) (string, error) {
	for {
		if i := strings.IndexAny(string(l.rest), "\r\n"); i >= 0 {
			text := strings.TrimSpace(string(l.rest[:i]))
			l.rest = l.rest[i+1:]
			return text, nil
		}
		if len(l.rest) > maxAT {
			return "", errors.New("the modem's line does not end")
		}
		if !time.Now().Before(deadline) {
			return "", errors.New("the modem does not answer in time")
		}
		var buf [4096]byte
		n, err := l.port.Read(buf[:])
		if err != nil {
			return "", fmt.Errorf("read from the modem: %w", err)
		}
		l.rest = append(l.rest, buf[:n]...)
	}
}

// verb is a command without its parameters, which may be long and may be secret.
func verb(command string) string {
	name, _, _ := strings.Cut(command, "=")
	return name
}

// clip shortens what a modem said for a message.
func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}
