package reader

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/damonto/euicc-go/driver/mbim"
	"github.com/damonto/euicc-go/driver/qmi/transport/qrtr"

	"godwit/euicc"
	"godwit/ident"
	"godwit/lpa"
	"godwit/reader/modemtest"
	"godwit/rsp"
)

// A protocol is one that modems speak on their control port, by way of a proxy.
type protocol struct {
	dialect dialect
	proxy   string
	open    func(socket, device string, slot uint8) (Card, error)
	begin   func(t *talk, device string, slot uint8) (Card, error)
	serve   func(*modemtest.Modem) func(io.ReadWriteCloser)
	apdu    string // how the modem hears of a command
}

var protocols = []protocol{
	{qmux, "qmi-proxy", OpenQMI, newQMI, func(m *modemtest.Modem) func(io.ReadWriteCloser) { return m.ServeQMI }, "0B 003B"},
	{framed, "mbim-proxy", OpenMBIM, newMBIM, func(m *modemtest.Modem) func(io.ReadWriteCloser) { return m.ServeMBIM }, "c2f6588e 4"},
}

// over opens the card over a connection.
func (p protocol) over(conn net.Conn) (Card, error) {
	return p.begin(&talk{Conn: conn, dialect: p.dialect, proxy: p.proxy}, wdm, 0)
}

// eachProtocol runs a test once for each.
func eachProtocol(t *testing.T, test func(t *testing.T, p protocol)) {
	for _, p := range protocols {
		t.Run(p.dialect.name, func(t *testing.T) { test(t, p) })
	}
}

var sockets atomic.Int64

// freeSocket is a name like those of the proxies, and nobody's.
func freeSocket() string { return fmt.Sprintf("@godwit-test-%d-%d", os.Getpid(), sockets.Add(1)) }

// start has a modem be served where a proxy would listen.
func (p protocol) start(t *testing.T, m *modemtest.Modem) (socket string, stop func()) {
	t.Helper()
	socket = freeSocket()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go m.Listen(l, p.serve(m))
	stop = func() {
		l.Close()
		m.HangUp()
	}
	t.Cleanup(stop)
	return socket, stop
}

const wdm = "/dev/cdc-wdm0"

func TestProxies(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		for _, tt := range []struct {
			name   string
			modem  *modemtest.Modem
			slot   uint8
			active int // slot, at the end
		}{
			{name: "one slot, of which it does not tell", modem: &modemtest.Modem{Cards: []*euicc.Card{terminal(t)}, Single: true}, active: 1},
			{name: "that slot by its number", modem: &modemtest.Modem{Cards: []*euicc.Card{terminal(t)}, Single: true}, slot: 1, active: 1},
			{name: "the slot in use", modem: &modemtest.Modem{Cards: []*euicc.Card{terminal(t), nil}}, active: 1},
			{name: "the slot in use, by its number", modem: &modemtest.Modem{Cards: []*euicc.Card{terminal(t), nil}}, slot: 1, active: 1},
			{name: "the other slot", modem: &modemtest.Modem{Cards: []*euicc.Card{nil, terminal(t)}}, slot: 2, active: 2},
			{name: "a modem that says more than it is asked", modem: &modemtest.Modem{Cards: []*euicc.Card{terminal(t)}, Noisy: true}, active: 1},
		} {
			t.Run(tt.name, func(t *testing.T) {
				socket, _ := p.start(t, tt.modem)
				card, err := p.open(socket, wdm, tt.slot)
				if err != nil {
					t.Fatal(err)
				}
				work(t, card)
				if !slices.Contains(tt.modem.Heard(), p.apdu) {
					t.Errorf("the modem heard %q, and no command to its card", tt.modem.Heard())
				}
				if n, clients, slot := tt.modem.Channels(), tt.modem.Clients(), tt.modem.Active(); n != 0 || clients != 0 || slot != tt.active {
					t.Errorf("it is left with %d channels, %d clients and slot %d", n, clients, slot)
				}
			})
		}
	})
}

// Several channels at a time have each their own at the modem.
func TestProxyChannels(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		m := modemtest.Modem{Cards: []*euicc.Card{terminal(t)}}
		socket, _ := p.start(t, &m)
		card, err := p.open(socket, wdm, 0)
		if err != nil {
			t.Fatal(err)
		}
		var chips []*lpa.Chip
		for range maxOpen {
			chip, err := lpa.OpenChip(card)
			if err != nil {
				t.Fatal(err)
			}
			chips = append(chips, chip)
		}
		if _, err := lpa.OpenChip(card); err == nil {
			t.Error("a channel was opened that no card has")
		}
		for _, chip := range chips[1:] {
			if eid, err := chip.EID(); err != nil || eid != testEID {
				t.Errorf("EID %s, %v", eid, err)
			}
		}
		if err := chips[0].Close(); err != nil {
			t.Error(err)
		}
		if _, err := chips[0].EID(); err == nil {
			t.Error("a closed channel took a command")
		}
		if n := m.Channels(); n != maxOpen-1 {
			t.Errorf("%d channels are open, want %d", n, maxOpen-1)
		}
		if _, err := card.Transmit(make([]byte, maxCarried+1)); err != nil {
			t.Errorf("a long command on the basic channel, which is not ours: %v", err)
		}
		long := append([]byte{0x82, 0xE2, 0x91, 0, 0, 1, 1}, make([]byte, 257)...)
		if _, err := card.Transmit(long); !errors.Is(err, errLong) {
			t.Errorf("a command that modems do not carry: %v", err)
		}
		if eid, err := chips[1].EID(); err != nil || eid != testEID {
			t.Errorf("after that: EID %s, %v", eid, err)
		}
		if err := card.Close(); err != nil {
			t.Error(err)
		}
		if n := m.Channels(); n != 0 {
			t.Errorf("%d channels were left open", n)
		}
	})
}

// What a program that was killed left open is closed for the next one, when there
// is no other channel to have. What the modem itself has open stays.
func TestProxyKilled(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		m := modemtest.Modem{Cards: []*euicc.Card{terminal(t)}, Most: 4}
		socket, _ := p.start(t, &m)
		if err := m.Occupy(); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			killed, err := p.over(conn)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				chip, err := lpa.OpenChip(killed)
				if err != nil {
					t.Fatal(err)
				}
				if eid, err := chip.EID(); err != nil || eid != testEID {
					t.Errorf("EID %s, %v", eid, err)
				}
			}
			conn.Close()
			m.Change(m.ForgetClients)
		}
		m.Change(func() { m.Most = 2 })
		card, err := p.open(socket, wdm, 0)
		if err != nil {
			t.Fatal(err)
		}
		work(t, card)
		if n := m.Channels(); n != 1 {
			t.Errorf("%d channels are open, want the modem's own", n)
		}
	})
}

// What other programs have open at the modem stays open.
func TestMBIMGroup(t *testing.T) {
	m := modemtest.Modem{Cards: []*euicc.Card{terminal(t)}}
	socket, _ := protocols[1].start(t, &m)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other := mbim.OpenLogicalChannelRequest{TransactionID: 1, AppId: rsp.ISDR, Group: 1}
	if err := other.Request().Transmit(conn); err != nil {
		t.Fatal(err)
	}
	card, err := OpenMBIM(socket, wdm, 0)
	if err != nil {
		t.Fatal(err)
	}
	work(t, card)
	if n := m.Channels(); n != 1 {
		t.Errorf("%d channels are open, want the other program's", n)
	}
}

func TestProxyFaults(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		m := modemtest.Modem{Cards: []*euicc.Card{terminal(t), nil}}
		socket, stop := p.start(t, &m)
		wantRefused := func(what string, slot uint8, parts ...string) {
			t.Helper()
			card, err := p.open(socket, wdm, slot)
			if err == nil {
				_, err = lpa.OpenChip(card)
				card.Close()
			}
			for _, part := range parts {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %v, want %q", what, err, part)
				}
			}
		}
		wantRefused("a slot that the modem has not", 3, "modem at /dev/cdc-wdm0", "slot 3")
		m.Change(func() { m.Most = -1 })
		wantRefused("no channel to give", 0, "open a logical channel", "refused", map[string]string{"QMI": "(QMI error 68)", "MBIM": "(MBIM status 87430001)"}[p.dialect.name])
		m.Change(func() { m.Most = 0 })
		m.Change(func() { m.Lost = true })
		wantRefused("a device of nobody", 0, "open the device over "+p.dialect.name+": "+p.proxy+" has hung up", "is the device there")
		m.Change(func() { m.Lost = false })
		m.Change(func() { m.Single = true })
		wantRefused("a second slot of a modem with one", 2, "slot 2", "refused")
		m.Change(func() { m.Single = false })

		m.Change(func() { m.Short = true })
		wantRefused("answers that end early", 0, map[string]string{"QMI": "client ID", "MBIM": "open it over MBIM: the modem's answer cannot be read"}[p.dialect.name])
		m.Change(func() { m.Short = false })

		// The modem is unplugged while it is in use.
		card, err := p.open(socket, wdm, 0)
		if err != nil {
			t.Fatal(err)
		}
		chip, err := lpa.OpenChip(card)
		if err != nil {
			t.Fatal(err)
		}
		m.HangUp()
		for range 2 {
			if _, err := chip.EID(); err == nil || !strings.Contains(err.Error(), p.proxy+" has hung up") {
				t.Errorf("the modem is gone: %v", err)
			}
		}
		if err := card.Close(); err != nil {
			t.Error(err)
		}
		again, err := p.open(socket, wdm, 0)
		if err != nil {
			t.Fatalf("the modem is there again: %v", err)
		}
		work(t, again)

		m.Change(func() { m.Cards[0] = nil })
		wantRefused("no card", 0, "refused", map[string]string{"QMI": "QMI error 102", "MBIM": "MBIM status 3"}[p.dialect.name])
		stop()
		wantRefused("no proxy", 0, p.proxy+" is not running", "install the package lib"+p.proxy, "--no-exit")
	})
}

// TestProxyBabble has something else listen where the proxy would.
func TestProxyBabble(t *testing.T) {
	for _, tt := range []struct{ name, says, want string }{
		{"nothing, and hangs up", "", "hung up"},
		{"half of a header", "\x01", "hung up"},
		{"the web", "HTTP/1.1 400 Bad Request\r\nContent-Length: 4294967295\r\n\r\n", "says what is no"},
		{"zeros", strings.Repeat("\x00", 4096), "says what is no"},
		{"ones", strings.Repeat("\xFF", 4096), "says what is no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, p protocol) {
				near, far := net.Pipe()
				go func() {
					io.ReadAtLeast(far, make([]byte, 4096), 1)
					io.WriteString(far, tt.says)
					far.Close()
				}()
				if _, err := p.over(near); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
			})
		})
	}
}

// A modem that falls silent is given up in time, at any moment of the dialogue,
// and so is one that talks on and on without answering.
func TestProxySilence(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		for _, noisy := range []bool{false, true} {
			for after := range 6 {
				chip := terminal(t)
				// The clock of this bubble runs when all in it wait.
				synctest.Test(t, func(t *testing.T) {
					near, far := net.Pipe()
					m := modemtest.Modem{Cards: []*euicc.Card{chip}, Noisy: noisy}
					done := make(chan struct{})
					go func() {
						mute := &mute{Conn: far, dialect: p.dialect, after: after, noisy: noisy}
						p.serve(&m)(mute)
						mute.going.Wait()
						close(done)
					}()
					began := time.Now()
					_, err := readEID(p, near)
					if err == nil || !strings.Contains(err.Error(), "in time") {
						t.Errorf("silent after %d answers: %v", after, err)
					}
					if d := time.Since(began); d < commandTime || d > apduTime {
						t.Errorf("silent after %d answers: given up after %s", after, d)
					}
					far.Close()
					<-done
				})
			}
		}
	})
}

// A mute connection keeps answers back after so many. If it is noisy it goes on
// saying what is none.
type mute struct {
	net.Conn
	dialect dialect
	after   int
	noisy   bool
	going   sync.WaitGroup
}

func (m *mute) Write(p []byte) (int, error) {
	if m.after--; m.after >= 0 {
		return m.Conn.Write(p)
	}
	if m.noisy && m.after == -1 {
		n, err := m.dialect.length(p[:m.dialect.header])
		if err != nil {
			return 0, err
		}
		m.going.Go(func() {
			for tick := time.NewTicker(time.Second); ; <-tick.C {
				if _, err := m.Conn.Write(p[:n]); err != nil {
					return
				}
			}
		})
	}
	return len(p), nil
}

// TestQRTR has QMI without the header of the control port, message by message,
// as QRTR carries it. The kernel's part is not in it.
func TestQRTR(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("%s skipped: no socket that keeps messages apart: %v", t.Name(), err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "qrtr")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	m := modemtest.Modem{Cards: []*euicc.Card{nil, terminal(t)}}
	go m.ServeQRTR(ends[0])
	u := &uim{talk: &talk{dialect: dialect{name: "QRTR"}, proxy: "the modem"}, transport: qrtr.New(ends[1]), hangUp: ends[1].Close}
	if err := u.choose(2); err != nil {
		t.Fatal(err)
	}
	work(t, &channelled{way: u})
	if n := m.Channels(); n != 0 || m.Active() != 2 {
		t.Errorf("it is left with %d channels and slot %d", n, m.Active())
	}
}

// A channel is the card's whole number: what does not fit is none of a card's.
func TestChannelNumbers(t *testing.T) {
	for n, want := range map[uint32]bool{0: false, 1: true, 19: true, 20: false, 257: false} {
		if _, err := number(n); (err == nil) != want {
			t.Errorf("channel %d: %v", n, err)
		}
	}
}

// FuzzQMI has the proxy say anything.
func FuzzQMI(f *testing.F) { fuzzProxy(f, protocols[0]) }

// FuzzMBIM has the proxy say anything.
func FuzzMBIM(f *testing.F) { fuzzProxy(f, protocols[1]) }

func fuzzProxy(f *testing.F, p protocol) {
	// What a modem really says, with and without noise, is where fuzzing starts.
	for _, noisy := range []bool{false, true} {
		config := testConfig()
		config.Terminal = true
		chip, err := euicc.NewMemory(config)
		if err != nil {
			f.Fatal(err)
		}
		near, far := net.Pipe()
		m := modemtest.Modem{Cards: []*euicc.Card{chip}, Noisy: noisy}
		tape := &tape{Conn: far}
		done := make(chan struct{})
		go func() {
			p.serve(&m)(tape)
			close(done)
		}()
		if _, err := readEID(p, near); err != nil {
			f.Fatal(err)
		}
		<-done
		chip.Close()
		f.Add(tape.said)
		f.Add(tape.said[:len(tape.said)/2])
	}
	f.Fuzz(func(t *testing.T, talk []byte) {
		eid, err := readEID(p, &reciter{rest: talk})
		if err == nil && len(eid) != 32 {
			t.Errorf("the EID is %q", eid)
		}
	})
}

// readEID reads the EID over a connection and closes it.
func readEID(p protocol, conn net.Conn) (ident.EID, error) {
	defer conn.Close()
	card, err := p.over(conn)
	if err != nil {
		return "", err
	}
	defer card.Close()
	chip, err := lpa.OpenChip(card)
	if err != nil {
		return "", err
	}
	eid, err := chip.EID()
	return eid, errors.Join(err, chip.Close())
}

// A tape keeps what is said.
type tape struct {
	net.Conn
	said []byte
}

func (t *tape) Write(p []byte) (int, error) {
	t.said = append(t.said, p...)
	return t.Conn.Write(p)
}

// A reciter is a connection that says what it says, whatever it is asked.
type reciter struct {
	net.Conn
	rest []byte
}

func (c *reciter) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (*reciter) Write(p []byte) (int, error)     { return len(p), nil }
func (*reciter) SetDeadline(time.Time) error     { return nil }
func (*reciter) SetReadDeadline(time.Time) error { return nil }
func (*reciter) Close() error                    { return nil }
