package usage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"godwit/db"
	"godwit/db/dbtest"
)

const secret = "a secret that both know"

// listen runs a listener for the time of the test.
func (h *house) listen(t *testing.T, clients ...Client) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	l := &Listener{Store: h.Store, Clients: clients}
	go func() { ended <- l.Run(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return conn.LocalAddr().String()
}

// vendor3GPPText makes an attribute of 3GPP.
func vendor3GPPText(kind byte, value string) radius.Attribute {
	a := binary.BigEndian.AppendUint32(nil, vendor3GPP)
	return append(append(a, kind, byte(len(value)+2)), value...)
}

// packet is a report as a gateway sends it.
func packet(kind rfc2866.AcctStatusType, session, imsi string, at time.Time, seconds int, up, down uint64) *radius.Packet {
	p := radius.New(radius.CodeAccountingRequest, []byte(secret))
	for _, err := range []error{
		rfc2866.AcctStatusType_Set(p, kind), rfc2866.AcctSessionID_SetString(p, session), rfc2865.NASIdentifier_SetString(p, "gw1"),
		rfc2869.EventTimestamp_Set(p, at), rfc2866.AcctSessionTime_Set(p, rfc2866.AcctSessionTime(seconds)),
		rfc2866.AcctInputOctets_Set(p, rfc2866.AcctInputOctets(up)), rfc2866.AcctOutputOctets_Set(p, rfc2866.AcctOutputOctets(down)),
		rfc2869.AcctInputGigawords_Set(p, rfc2869.AcctInputGigawords(up>>32)), rfc2869.AcctOutputGigawords_Set(p, rfc2869.AcctOutputGigawords(down>>32)),
		rfc2865.FramedIPAddress_Set(p, net.IPv4(100, 64, 0, 10)),
	} {
		if err != nil {
			panic(err) // values of this file
		}
	}
	p.Add(rfc2865.VendorSpecific_Type, vendor3GPPText(attributeIMSI, imsi))
	p.Add(rfc2865.VendorSpecific_Type, vendor3GPPText(attributeServing, "310410"))
	return p
}

// send sends a packet like a gateway, again and again until it is answered.
func send(t *testing.T, to string, p *radius.Packet) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := radius.Client{Retry: time.Second}
	answer, err := client.Exchange(ctx, p, to)
	check(t, err)
	if answer.Code != radius.CodeAccountingResponse {
		t.Fatalf("answered %v", answer.Code)
	}
}

// TestRADIUS has a real client report a session over UDP, with copies and in a
// wrong order, and strangers try it too.
func TestRADIUS(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		one := h.sim(t, h.fleet(t, 2_000_000), "")
		imsi := fmt.Sprintf("99970%010d", h.sims)
		right, err := ParseClient("127.0.0.1=" + secret)
		check(t, err)
		to := h.listen(t, Client{netip.MustParsePrefix("127.0.0.0/8"), db.Secret("of the whole network")}, right)

		at := h.clock.Now().Add(-30 * time.Minute)
		start := packet(rfc2866.AcctStatusType_Value_Start, "a1", imsi, at, 0, 0, 0)
		first := packet(rfc2866.AcctStatusType_Value_InterimUpdate, "a1", imsi, at.Add(5*time.Minute), 300, 1000, 2000)
		second := packet(rfc2866.AcctStatusType_Value_InterimUpdate, "a1", imsi, at.Add(10*time.Minute), 600, 5<<32, 3000)
		stop := packet(rfc2866.AcctStatusType_Value_Stop, "a1", imsi, at.Add(15*time.Minute), 900, 5<<32+77, 4000)
		for _, p := range []*radius.Packet{start, second, first, second, start, first} {
			send(t, to, p)
		}
		addresses := func() (all []netip.Addr) {
			check(t, d.Read(t.Context(), func(q db.Query) (err error) {
				all, err = h.Addresses(t.Context(), q, one.SID)
				return err
			}))
			return all
		}
		if got := addresses(); len(got) != 1 || got[0].String() != "100.64.0.10" {
			t.Errorf("addresses %v", got)
		}
		for _, p := range []*radius.Packet{stop, second, stop, start} {
			send(t, to, p)
		}
		if got := addresses(); len(got) != 0 {
			t.Errorf("addresses %v after the end", got)
		}
		list, _, err := h.Records(t.Context(), h.account, RecordFilter{SIM: one.SID, Group: ByNetwork}, RecordPage{Limit: 10})
		check(t, err)
		if len(list) != 1 || list[0].Upload != 5<<32+77 || list[0].Download != 4000 {
			t.Fatalf("records %+v", list)
		}
		if n, ok := h.Sims.Catalogue.Network(list[0].Network); !ok || n.Country != "US" || !n.Has("310", "410") {
			t.Errorf("used in %+v", n)
		}

		// A subscriber that is none of ours is answered, or the gateway would
		// never stop asking.
		send(t, to, packet(rfc2866.AcctStatusType_Value_Stop, "a2", "001010000000009", at, 900, 9, 9))
		// Accounting-On ends what was open.
		send(t, to, packet(rfc2866.AcctStatusType_Value_InterimUpdate, "a3", imsi, at, 0, 1, 1))
		send(t, to, packet(rfc2866.AcctStatusType_Value_AccountingOn, "", imsi, at.Add(time.Minute), 0, 0, 0))
		if got := addresses(); len(got) != 0 {
			t.Errorf("addresses %v after a restart", got)
		}

		// Strangers hear nothing and change nothing.
		silent := func(what string, p *radius.Packet) {
			t.Helper()
			conn, err := net.Dial("udp", to)
			check(t, err)
			defer conn.Close()
			octets, err := p.Encode()
			check(t, err)
			_, err = conn.Write(octets)
			check(t, err)
			// What comes after it on the same port is answered: then the other was seen.
			send(t, to, stop)
			check(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
			if n, err := conn.Read(make([]byte, 4096)); err == nil {
				t.Errorf("%s was answered with %d octets", what, n)
			}
		}
		wrong := packet(rfc2866.AcctStatusType_Value_Stop, "a4", imsi, at, 900, 1<<40, 0)
		wrong.Secret = []byte("another secret")
		silent("a wrong secret", wrong)
		access := radius.New(radius.CodeAccessRequest, []byte(secret))
		silent("an access request", access)
		nobody := radius.New(radius.CodeAccountingRequest, []byte(secret))
		check(t, rfc2866.AcctStatusType_Set(nobody, rfc2866.AcctStatusType_Value_Stop))
		check(t, rfc2866.AcctSessionID_SetString(nobody, "a5"))
		silent("a report about nobody", nobody)
		if up, down := h.total(t, RecordFilter{}); up != 5<<32+77+1 || down != 4001 {
			t.Errorf("%d and %d in the end", up, down)
		}
	})
}

// TestBrokenPort: a port that breaks ends the listener, not the program, while a
// report is under way.
func TestBrokenPort(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	client, err := ParseClient("127.0.0.1=" + secret)
	check(t, err)
	octets, err := packet(rfc2866.AcctStatusType_Value_Stop, "a1", "001010000000009", h.clock.Now(), 900, 9, 9).Encode()
	check(t, err)
	conn := &breaking{octets: octets, closed: make(chan struct{})}
	ended := make(chan error, 1)
	returned := make(chan struct{})
	reading := make(chan struct{})
	store := &Store{DB: h.DB, Jobs: h.Jobs, Events: h.Events, Callbacks: h.Callbacks, Sims: h.Sims, Stock: h.Stock}
	var once sync.Once
	store.Now = func() time.Time { // the handler asks for it before it passes the report on
		once.Do(func() { close(reading) })
		select {
		case <-returned:
		case <-conn.closed:
		}
		return h.clock.Now()
	}
	conn.until = reading
	l := &Listener{Store: store, Clients: []Client{client}}
	go func() {
		ended <- l.Run(t.Context(), conn)
		close(returned)
	}()
	if err := <-ended; err == nil {
		t.Error("the listener of a broken port has ended well")
	}
	<-conn.closed
}

// breaking is a port that one packet comes to before it breaks.
type breaking struct {
	net.PacketConn
	octets        []byte
	until, closed chan struct{}
}

func (c *breaking) ReadFrom(b []byte) (int, net.Addr, error) {
	if c.octets == nil {
		<-c.until
		return 0, nil, &net.OpError{Op: "read", Err: errors.New("broken")}
	}
	n := copy(b, c.octets)
	c.octets = nil
	return n, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}, nil
}

func (c *breaking) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (c *breaking) LocalAddr() net.Addr                       { return &net.UDPAddr{Port: 1813} }

func (c *breaking) Close() error {
	close(c.closed)
	return nil
}

// TestUnbelievableCounters: counters that no session has would make sums of them
// overflow.
func TestUnbelievableCounters(t *testing.T) {
	now := time.Now()
	for up, ok := range map[uint64]bool{maxAmount: true, maxAmount + 1: false, 1 << 62: false, 1<<64 - 1: false} {
		p := packet(rfc2866.AcctStatusType_Value_Stop, "a1", "001010000000009", now, 900, up, 1)
		if r, err := readReport(p, "gw", &net.UDPAddr{}, now); (err == nil) != ok {
			t.Errorf("%d octets were read as %d, %v", up, r.Upload, err)
		}
	}
}

func TestParseClient(t *testing.T) {
	for _, tt := range []struct {
		text, network string
		ok            bool
	}{
		{"192.0.2.1=x", "192.0.2.1/32", true},
		{"::ffff:192.0.2.1=x=y", "192.0.2.1/32", true},
		{"192.0.2.1/24=x", "192.0.2.0/24", true},
		{"2001:db8::/32=x", "2001:db8::/32", true},
		{"192.0.2.1", "", false},
		{"192.0.2.1=", "", false},
		{"gateway=x", "", false},
	} {
		t.Run(tt.text, func(t *testing.T) {
			c, err := ParseClient(tt.text)
			if (err == nil) != tt.ok || err == nil && c.Addresses.String() != tt.network {
				t.Errorf("got %v, %v", c.Addresses, err)
			}
			if text := fmt.Sprint(c); err == nil && text != "{"+tt.network+" [secret]}" {
				t.Errorf("prints as %s", text)
			}
		})
	}
}

// FuzzReport reads what anybody may send who knows the secret.
func FuzzReport(f *testing.F) {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	octets, err := packet(rfc2866.AcctStatusType_Value_Stop, "a", "999700000000001", at, 1, 2, 3).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(octets[20:])
	f.Fuzz(func(t *testing.T, attributes []byte) {
		all, err := radius.ParseAttributes(attributes)
		if err != nil {
			return
		}
		r, err := readReport(&radius.Packet{Code: radius.CodeAccountingRequest, Attributes: all}, "c", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)}, at)
		if err != nil || r.Kind > Interim {
			return
		}
		if r.Upload < 0 || r.Download < 0 || r.Session == "" || r.Subscriber == (Subscriber{}) {
			t.Fatalf("read %+v", r)
		}
		have := fresh("HS", r)
		if next, up, down := have.take(r); up < 0 || down < 0 || next.Upload < 0 {
			t.Fatalf("%+v: %d, %d", r, up, down)
		}
	})
}

// A noAnswer is where an answer must not go.
type noAnswer struct{ t *testing.T }

func (s noAnswer) Write(p *radius.Packet) error {
	s.t.Errorf("answered %v", p.Code)
	return nil
}

// TestFlood: what comes while too much waits is dropped without an answer, and
// nobody waits for it.
func TestFlood(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	one, err := ParseClient("127.0.0.1=" + secret)
	check(t, err)
	l := &Listener{Store: h.Store, Clients: []Client{one}, waiting: make(chan waitingReport, 1), restarting: make(chan struct{}, 1)}
	l.waiting <- waitingReport{}
	l.restarting <- struct{}{}
	for _, kind := range []rfc2866.AcctStatusType{rfc2866.AcctStatusType_Value_InterimUpdate, rfc2866.AcctStatusType_Value_AccountingOn} {
		p := packet(kind, "a", "999700000000001", h.clock.Now(), 1, 2, 3)
		l.ServeRADIUS(noAnswer{t}, &radius.Request{RemoteAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}, Packet: p})
	}
	if len(l.waiting) != 1 || len(l.restarting) != 1 {
		t.Error("a report was taken")
	}
}
