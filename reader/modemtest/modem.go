// Package modemtest is a modem for tests, with a real eUICC in it: it speaks QMI
// and MBIM, as it does on its control port and as the proxies of libqmi and
// libmbim do on their sockets. It makes and reads its messages by itself, so that
// a mistake of the library that the package reader uses is noticed.
package modemtest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"godwit/euicc"
)

// A Modem is a modem with slots for cards.
type Modem struct {
	Cards  []*euicc.Card // by slot; nil is an empty one
	Single bool          // knows nothing of slots
	Noisy  bool          // says things unasked, and answers what nobody asked
	Most   int           // logical channels at a time; 0: as many as the card has, below: none
	Lost   bool          // is not at the device that the proxy is asked for
	Short  bool          // answers with the first octets alone
	Falls  int           // after so many commands to the card from now on the modem restarts

	mu       sync.Mutex
	active   int             // slot
	channels map[int]channel // by number
	clients  []bool          // of QMI; numbers are given again
	heard    []string        // the requests
	conns    map[io.Closer]bool
	fallen   bool // hangs up instead of the answer
}

// A channel is a logical channel that somebody opened.
type channel struct {
	owner uint32 // client of QMI, group of MBIM
	slot  int
}

// Change has f change the modem while it is in use.
func (m *Modem) Change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// Heard returns the requests so far, by name.
func (m *Modem) Heard() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.heard)
}

// Channels is how many logical channels are open.
func (m *Modem) Channels() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.channels)
}

// Clients is how many QMI client IDs are given away.
func (m *Modem) Clients() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, taken := range m.clients {
		if taken {
			n++
		}
	}
	return n
}

// Active is the slot in use, counted from 1.
func (m *Modem) Active() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.active + 1
}

// Listen serves those who come, as a proxy does, until the listener is closed.
func (m *Modem) Listen(l net.Listener, serve func(io.ReadWriteCloser)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go serve(conn)
	}
}

// HangUp ends all connections, and those who had them lose what is theirs: so a
// modem looks that was unplugged. It can be reached again at once.
func (m *Modem) HangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.conns {
		conn.Close()
	}
	m.forget()
}

// ForgetClients has the client IDs of QMI that were given away be free. It is for
// Change.
func (m *Modem) ForgetClients() { m.clients = nil }

func (m *Modem) forget() {
	for n := range m.channels {
		_ = m.closeChannel(n)
	}
	m.clients = nil
}

// fall restarts the modem: its card loses its power.
func (m *Modem) fall() error {
	m.forget()
	m.fallen = true
	m.card().PowerDown()
	return errors.Join(errRefused, m.card().Reset())
}

// stays reports whether the modem is to answer, and not to hang up.
func (m *Modem) stays() bool {
	fallen := m.fallen
	m.fallen = false
	return !fallen
}

func (m *Modem) enter(conn io.ReadWriteCloser) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns == nil {
		m.conns = map[io.Closer]bool{}
	}
	m.conns[conn] = true
}

func (m *Modem) leave(conn io.ReadWriteCloser) {
	conn.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, conn)
}

// serve answers the messages of one connection, each as long as its header says,
// until there is nothing to answer or the modem falls.
func (m *Modem) serve(conn io.ReadWriteCloser, header int, length func([]byte) int, answer func([]byte) ([]byte, bool)) {
	m.enter(conn)
	defer m.leave(conn)
	for {
		message, err := read(conn, header, length)
		if err != nil {
			return
		}
		m.mu.Lock()
		said, stay := answer(message)
		stay = m.stays() && stay
		m.mu.Unlock()
		if !stay {
			return
		}
		if _, err := conn.Write(said); err != nil {
			return
		}
	}
}

// errRefused is a card's "no".
var errRefused = errors.New("refused")

func (m *Modem) card() *euicc.Card {
	if m.active < len(m.Cards) {
		return m.Cards[m.active]
	}
	return nil
}

func (m *Modem) openChannel(owner uint32, aid []byte) (int, error) {
	card := m.card()
	if card == nil || m.Most < 0 || m.Most > 0 && len(m.channels) >= m.Most {
		return 0, errRefused
	}
	n, err := card.OpenChannel(aid)
	if err != nil {
		return 0, errRefused
	}
	if m.channels == nil {
		m.channels = map[int]channel{}
	}
	m.channels[n] = channel{owner, m.active}
	return n, nil
}

// Occupy opens a channel as the modem does for its own needs, with another
// application on it than an assistant's.
func (m *Modem) Occupy() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.openChannel(0, isdr)
	if err != nil {
		return err
	}
	// The card's file system, which is where a channel begins.
	if err := m.card().CloseChannel(n); err != nil {
		return err
	}
	answer, err := m.card().Transmit([]byte{0x00, 0x70, 0x00, 0x00, 0x01})
	if err == nil && (len(answer) != 3 || int(answer[0]) != n) {
		err = errRefused
	}
	return err
}

// isdr is the name of an eUICC's ISD-R. SGP.22 v2.5, 2.2.1.
var isdr = []byte{0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x01, 0x00}

func (m *Modem) closeChannel(n int) error {
	c, ok := m.channels[n]
	if !ok {
		return errRefused
	}
	delete(m.channels, n)
	// The card may have been reset meanwhile, and have forgotten the channel.
	_ = m.Cards[c.slot].CloseChannel(n)
	return nil
}

// closeOf closes the channels of an owner and returns how many there were.
func (m *Modem) closeOf(owner uint32) (n int) {
	for number, c := range m.channels {
		if c.owner == owner {
			_ = m.closeChannel(number)
			n++
		}
	}
	return n
}

// carry sends a command to the card on a channel: whatever the class octet says,
// the modem puts the channel there.
func (m *Modem) carry(n int, apdu []byte) ([]byte, error) {
	c, ok := m.channels[n]
	if !ok || c.slot != m.active || len(apdu) < 4 {
		return nil, errRefused
	}
	if m.Falls > 0 {
		if m.Falls--; m.Falls == 0 {
			return nil, m.fall()
		}
	}
	apdu = slices.Clone(apdu)
	switch {
	case n < 4:
		apdu[0] = apdu[0]&0xBC | byte(n)
	default:
		apdu[0] = apdu[0]&0xB0 | 0x40 | byte(n-4)
	}
	return m.Cards[c.slot].Transmit(apdu)
}

// use makes another slot the one in use: its card starts anew.
func (m *Modem) use(slot int) error {
	if slot < 0 || slot >= len(m.Cards) {
		return errRefused
	}
	for n := range m.channels {
		_ = m.closeChannel(n)
	}
	if card := m.card(); card != nil {
		card.PowerDown()
	}
	m.active = slot
	if card := m.card(); card != nil {
		return card.Reset()
	}
	return nil
}

// cut shortens an answer if the modem does so.
func (m *Modem) cut(answer []byte) []byte {
	if m.Short {
		return answer[:min(len(answer), 1)]
	}
	return answer
}

func le16(v int) []byte    { return binary.LittleEndian.AppendUint16(nil, uint16(v)) }
func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// read reads a message whose length stands in its header.
func read(r io.Reader, header int, length func([]byte) int) ([]byte, error) {
	message := make([]byte, header)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, err
	}
	n := length(message)
	if n < header || n > 1<<16 {
		return nil, errors.New("no message")
	}
	message = append(message, make([]byte, n-header)...)
	_, err := io.ReadFull(r, message[header:])
	return message, err
}
