package reader

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/damonto/euicc-go/driver/mbim"
	"github.com/damonto/euicc-go/driver/qmi/core"
)

// A dialect is a protocol of messages as far as it takes to find the answer to a
// request among what a modem says.
type dialect struct {
	name   string // of the protocol
	header int    // octets that tell how long a message is
	// length returns how long the message with this header is, header included.
	length func(header []byte) (int, error)
	// answers reports whether a message answers a request. An error says that the
	// message is none of the protocol.
	answers func(message, request []byte) (bool, error)
}

// maxMessage bounds a message of a modem: QMUX has no longer ones, and MBIM
// agrees on 4096 octets.
const maxMessage = 1 << 16

// A talk is a connection to the proxy that shares a modem's control port. The
// library that makes and reads the messages is given whole messages and nothing
// but answers: what is late, unasked for or in pieces would mislead it. It is a
// net.Conn because the library takes one.
type talk struct {
	net.Conn
	dialect
	proxy   string
	request []byte // the last one
	unread  []byte // of its answer
	broken  error  // the dialogue is out of step
}

// dialProxy connects to a proxy. Their sockets have names without a file.
func dialProxy(socket, proxy, program string, d dialect) (*talk, error) {
	conn, err := net.DialTimeout("unix", socket, commandTime)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("%s is not running: install the package %s; ModemManager starts it, or start %s --no-exit as root", proxy, program, proxy)
	case err != nil:
		return nil, fmt.Errorf("reach %s: %w", proxy, err)
	}
	return &talk{Conn: conn, dialect: d, proxy: proxy}, nil
}

// ask has the library make one exchange, which may take so long. A status of the
// modem is a refusal; anything else breaks the dialogue.
func (t *talk) ask(what string, patience time.Duration, exchange func() error) error {
	if t.broken != nil {
		return t.broken
	}
	// A talk without a connection of ours keeps the library's limits.
	if t.Conn != nil {
		if err := t.SetDeadline(time.Now().Add(patience)); err != nil {
			t.broken = err
			return err
		}
	}
	err := guard(exchange)
	if err == nil {
		return nil
	}
	if told := status(err); told != "" {
		return &refusal{fmt.Sprintf("the modem refused to %s: %s", what, told)}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		err = fmt.Errorf("%s has hung up", t.proxy)
	}
	t.broken = fmt.Errorf("%s over %s: %w", what, t.name, err)
	return t.broken
}

// unopened says what to look at when the proxy does not open a device: it hangs up
// without a word.
func (t *talk) unopened(err error) error {
	if err == nil || isRefusal(err) {
		return err
	}
	what := "is the device there, and does it speak " + t.name + "?"
	if os.Geteuid() != 0 {
		what = "does it take users other than root? " + what
	}
	return fmt.Errorf("%w: %s", err, what)
}

// isRefusal reports whether the modem or its card said no.
func isRefusal(err error) bool {
	_, refused := errors.AsType[*refusal](err)
	return refused
}

// guard turns a panic of the library, which takes some of what a modem says for
// granted, into an error.
func guard(exchange func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the modem's answer cannot be read: %v", fault)
		}
	}()
	return exchange()
}

// status returns what a modem said in place of an answer.
func status(err error) string {
	if q, ok := errors.AsType[core.QMIError](err); ok {
		return fmt.Sprintf("%v (QMI error %d)", q, uint16(q))
	}
	if m, ok := errors.AsType[mbim.MBIMStatus](err); ok {
		return fmt.Sprintf("%v (MBIM status %X)", m, uint32(m))
	}
	return ""
}

// Write sends a request. The library writes each in one piece.
func (t *talk) Write(request []byte) (int, error) {
	t.request, t.unread = slices.Clone(request), nil
	return t.Conn.Write(request)
}

// Read returns octets of the answer to the last request.
func (t *talk) Read(p []byte) (int, error) {
	for len(t.unread) == 0 {
		message, err := t.next()
		if err != nil {
			return 0, err
		}
		ours, err := t.answers(message, t.request)
		if err != nil {
			return 0, fmt.Errorf("%s says what is no %s: %w", t.proxy, t.name, err)
		}
		if ours {
			t.unread = message
		}
	}
	n := copy(p, t.unread)
	t.unread = t.unread[n:]
	return n, nil
}

// next reads a whole message.
func (t *talk) next() ([]byte, error) {
	message := make([]byte, t.header)
	if _, err := io.ReadFull(t.Conn, message); err != nil {
		return nil, late(err)
	}
	n, err := t.length(message)
	if err != nil {
		return nil, fmt.Errorf("%s says what is no %s: %w", t.proxy, t.name, err)
	}
	message = slices.Grow(message, n-t.header)[:n]
	if _, err := io.ReadFull(t.Conn, message[t.header:]); err != nil {
		return nil, late(err)
	}
	return message, nil
}

// late hides from the library that an error is of time: it would try again. A
// message that ends early is the end of the dialogue.
func late(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return errors.New("the modem does not answer in time")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// SetReadDeadline leaves the limit of the whole exchange as it is. The library
// would set one of a second, and lose what it has read by then.
func (*talk) SetReadDeadline(time.Time) error { return nil }

// end hangs up.
func (t *talk) end() error {
	t.broken = errClosed
	return t.Close()
}

// number returns a channel of the modem if it is one of a card's.
func number(n uint32) (int, error) {
	if n == 0 || n > maxOpen {
		return 0, fmt.Errorf("the modem opened channel %d; a card has 1 to %d", n, maxOpen)
	}
	return int(n), nil
}

// waitFor asks a modem again and again whether its card is ready: after another
// slot was chosen it is not at once. A card that never says so may still do: an
// eUICC without a profile has no application to be ready.
func waitFor(ready func() (bool, error)) error {
	for began := time.Now(); time.Since(began) < slotTime; time.Sleep(slotPause) {
		yes, err := ready()
		if yes {
			return nil
		}
		if err != nil && !isRefusal(err) {
			return err
		}
	}
	return nil
}

const (
	slotTime  = 10 * time.Second
	slotPause = 500 * time.Millisecond
)
