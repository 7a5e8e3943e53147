package command

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"godwit/account"
	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/ident"
	"godwit/internal/clock"
	"godwit/jobs"
	"godwit/sim"
	"godwit/smsc"
	"godwit/smsc/smsctest"
)

// A house is a store with a real SMSC beside it, a UDP port, and a clock that is
// set by hand.
type house struct {
	*Store
	smsc      *smsctest.SMSC
	numbers   Directory
	addresses map[ident.ICCID]netip.Addr
	account   string

	clock *clock.Clock
	sims  int
}

// newStore joins a store to the parts that it stands on.
func newStore(t testing.TB, d *db.DB, now func() time.Time) *Store {
	t.Helper()
	q, err := jobs.New(d)
	if err != nil {
		t.Fatal(err)
	}
	events := event.New(d)
	accounts := account.New(d, events)
	callbacks := callback.New(d, callback.Options{Signing: accounts.Signing, Now: now})
	sims := &sim.Store{DB: d, Jobs: q, Events: events, Accounts: accounts, Callbacks: callbacks, Now: now}
	sims.Register()
	s := &Store{DB: d, Jobs: q, Events: events, Callbacks: callbacks, Sims: sims, Now: now}
	s.Register()
	return s
}

func newHouse(t testing.TB, d *db.DB) *house {
	t.Helper()
	h := &house{numbers: Directory{}, addresses: map[ident.ICCID]netip.Addr{}, clock: clock.At(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))}
	h.Store = newStore(t, d, h.clock.Now)
	h.Numbers, h.Sessions = h.numbers, Table{h.Sims, h.addresses}
	h.account = h.customer(t)
	return h
}

// bound puts an SMSC beside the house, and waits until it is bound there.
func (h *house) bound(t testing.TB) {
	t.Helper()
	h.smsc = smsctest.Start(t)
	h.SMSC = smsc.New(smsc.Options{
		Address: h.smsc.Addr(), SystemID: smsctest.SystemID, Password: []byte(smsctest.Password), Source: smsc.Number{Digits: "000"},
		Pause: time.Millisecond, MaxPause: 4 * time.Millisecond, Hold: time.Millisecond, MaxHold: 4 * time.Millisecond, Patience: 20 * time.Second, Take: h.Take,
	})
	running(t, h.SMSC.Run)
	h.ready(t)
}

// running runs a part for the time of the test.
func running(t testing.TB, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// ready waits for a link to the SMSC.
func (h *house) ready(t testing.TB) { await(t, "a link to the SMSC", h.SMSC.Ready) }

// await waits until something has come about.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	look, late := time.NewTicker(time.Millisecond), time.After(2*time.Minute)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("no %s in two minutes", what)
		}
	}
}

func (h *house) customer(t testing.TB) string {
	t.Helper()
	var a account.Account
	check(t, h.DB.Write(context.Background(), func(tx *db.Tx) (err error) {
		a, _, err = h.Sims.Accounts.Create(context.Background(), tx, "", "a customer")
		return err
	}))
	return a.SID
}

// fleet makes a Fleet with webhooks.
func (h *house) fleet(t testing.TB, data, sms bool) sim.Fleet {
	t.Helper()
	a, err := h.Sims.CreateAccess(context.Background(), h.account, "", nil)
	check(t, err)
	f, err := h.Sims.CreateFleet(context.Background(), sim.Fleet{
		Account: h.account, Access: a.SID, Data: data, SMS: sms,
		SMSHook: sim.Callback{URL: "https://hooks.example.com/sms"}, IPHook: sim.Callback{URL: "https://hooks.example.com/ip"},
	})
	check(t, err)
	return f
}

// device makes a Sim as activation leaves it, with a number and no session.
func (h *house) device(t testing.TB, fleet string, status sim.Status) sim.Sim {
	t.Helper()
	h.sims++
	iccid, err := ident.NewICCID(fmt.Sprintf("8988307%012d", time.Now().UnixNano()%1_000_000_000_000))
	check(t, err)
	now := h.clock.Now()
	one := sim.Sim{SID: account.NewSID(sim.SimPrefix), Account: h.account, ICCID: iccid, Status: status, Fleet: fleet, UniqueName: fmt.Sprintf("device %d %s", h.sims, h.account)}
	check(t, h.DB.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(context.Background(), `insert into sim (sid, account_sid, unique_name, iccid, status, fleet_sid, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $7)`,
			one.SID, one.Account, one.UniqueName, string(one.ICCID), string(one.Status), db.Null(fleet), now.UnixMicro())
		return err
	}))
	h.numbers[iccid] = smsc.Number{Plan: smsc.E212, Digits: "00101" + string(iccid[9:19])}
	return one
}

func (h *house) sms(t testing.TB, sid string) SMS {
	t.Helper()
	m, err := h.SMS(context.Background(), h.account, sid)
	check(t, err)
	return m
}

func (h *house) ip(t testing.TB, sid string) IP {
	t.Helper()
	m, err := h.IP(context.Background(), h.account, sid)
	check(t, err)
	return m
}

// callbacks returns the callbacks about a subject, oldest first.
func (h *house) callbacks(t testing.TB, subject string) []callback.Delivery {
	t.Helper()
	var list []callback.Delivery
	check(t, h.DB.Read(context.Background(), func(q db.Query) (err error) {
		list, err = h.Callbacks.List(context.Background(), q, callback.Filter{Subject: subject, Limit: 100})
		return err
	}))
	slices.Reverse(list)
	return list
}

// events returns the events about a subject, oldest first.
func (h *house) events(t testing.TB, subject string) []event.Event {
	t.Helper()
	var list []event.Event
	check(t, h.DB.Read(context.Background(), func(q db.Query) (err error) {
		list, err = h.Events.List(context.Background(), q, event.Filter{Subject: subject, Limit: 1000})
		return err
	}))
	slices.Reverse(list)
	return list
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
