package supersim_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"godwit/callback"
	"godwit/command"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/jobs"
	"godwit/sim"
	"godwit/smsc"
	"godwit/smsc/smsctest"
)

// A field is where the devices are: an SMSC that reaches them by SMPP, and UDP
// sockets that stand for those with a data session. It knows their numbers and
// addresses.
type field struct {
	smsc *smsctest.SMSC
	port *command.Port

	mu      sync.Mutex
	sims    *sim.Store
	devices map[ident.ICCID]*net.UDPConn
}

// newField gives a house its commands. The parts are to be run.
func newField(t testing.TB, d *db.DB, q *jobs.Queue, events *event.Log, calls *callback.Sender, sims *sim.Store) (f *field, s *command.Store, parts []func(context.Context) error) {
	t.Helper()
	port, err := command.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f = &field{smsc: smsctest.Start(t), port: port, sims: sims, devices: map[ident.ICCID]*net.UDPConn{}}
	s = &command.Store{DB: d, Jobs: q, Events: events, Callbacks: calls, Sims: sims, Numbers: f, Port: port, Sessions: f}
	s.SMSC = smsc.New(smsc.Options{
		Address: f.smsc.Addr(), SystemID: smsctest.SystemID, Password: []byte(smsctest.Password), Source: smsc.Number{Digits: "000"},
		Take: s.Take, Bound: s.Bound,
	})
	s.Register()
	return f, s, []func(context.Context) error{s.SMSC.Run, func(ctx context.Context) error { return port.Run(ctx, s.TakeDatagrams) }}
}

// Number is an IMSI made of the ICCID.
func (f *field) Number(_ context.Context, iccid ident.ICCID) (smsc.Number, error) {
	return smsc.Number{Plan: smsc.E212, Digits: string(iccid)[4:19]}, nil
}

func (f *field) ICCID(_ context.Context, n smsc.Number) (ident.ICCID, error) {
	iccid, err := ident.NewICCID("8988" + n.Digits)
	if err != nil {
		return "", fault.New(fault.NotFound, "the number %s is nobody's", n.Digits)
	}
	return iccid, nil
}

// attach gives a card's device an address and a socket.
func (f *field) attach(t testing.TB, iccid string) *net.UDPConn {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, byte(2+len(f.devices)))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	f.devices[ident.ICCID(iccid)] = conn
	return conn
}

func (f *field) Addresses(ctx context.Context, q db.Query, sid string) ([]netip.Addr, error) {
	one, err := f.sims.BySID(ctx, q, sid)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if conn, ok := f.devices[one.ICCID]; ok {
		return []netip.Addr{conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()}, nil
	}
	return nil, nil
}

func (f *field) Holder(ctx context.Context, q db.Query, a netip.Addr) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for iccid, conn := range f.devices {
		if conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr() == a {
			one, err := f.sims.ByICCID(ctx, q, iccid)
			return one.SID, err
		}
	}
	return "", nil
}
