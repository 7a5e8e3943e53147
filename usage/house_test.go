package usage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"godwit/account"
	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/internal/clock"
	"godwit/jobs"
	"godwit/sim"
)

// A core is a core network that remembers what it was told last.
type core struct {
	mu    sync.Mutex
	known map[string]sim.Subscriber
}

func (c *core) Apply(_ context.Context, sub sim.Subscriber) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[sub.SIM] = sub
	return nil
}

func (c *core) data(sid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[sid].Attach && c.known[sid].Data
}

// A directory is a list of subscribers.
type directory map[Subscriber]ident.ICCID

func (d directory) Find(_ context.Context, _ db.Query, who Subscriber) (ident.ICCID, error) {
	for _, one := range []Subscriber{{IMSI: who.IMSI}, {MSISDN: who.MSISDN}} {
		if iccid, ok := d[one]; ok && one != (Subscriber{}) {
			return iccid, nil
		}
	}
	return "", fault.New(fault.NotFound, "%s is nobody", who)
}

// A house is a store with its neighbours and a clock that is set by hand.
type house struct {
	*Store
	core    *core
	stock   directory
	account string
	sims    int

	clock *clock.Clock
}

func newHouse(t testing.TB, d *db.DB) *house {
	t.Helper()
	q, err := jobs.New(d)
	check(t, err)
	events := event.New(d)
	accounts := account.New(d, events)
	h := &house{core: &core{known: map[string]sim.Subscriber{}}, stock: directory{}, clock: clock.At(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))}
	callbacks := callback.New(d, callback.Options{Signing: accounts.Signing, Now: h.clock.Now})
	sims := &sim.Store{DB: d, Jobs: q, Events: events, Accounts: accounts, Callbacks: callbacks, Network: h.core, Now: h.clock.Now}
	sims.Register()
	h.Store = &Store{DB: d, Jobs: q, Events: events, Callbacks: callbacks, Sims: sims, Stock: h.stock, Now: h.clock.Now}
	h.Register()
	check(t, d.Write(t.Context(), func(tx *db.Tx) error {
		a, _, err := accounts.Create(t.Context(), tx, "", "a customer")
		h.account = a.SID
		return err
	}))
	return h
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fleet makes a Fleet with a data limit in megabytes.
func (h *house) fleet(t testing.TB, limit int64) sim.Fleet {
	t.Helper()
	a, err := h.Sims.CreateAccess(t.Context(), h.account, "", nil)
	check(t, err)
	f, err := h.Sims.CreateFleet(t.Context(), sim.Fleet{Account: h.account, Access: a.SID, Data: true, SMS: true, DataLimit: limit})
	check(t, err)
	return f
}

// sim makes a Sim in a Fleet, new unless a status is given.
func (h *house) sim(t testing.TB, fleet sim.Fleet, status sim.Status) sim.Sim {
	t.Helper()
	h.sims++
	iccid, err := ident.NewICCID(fmt.Sprintf("8988307%012d", h.sims))
	check(t, err)
	sid := account.NewSID(sim.SimPrefix)
	now := h.clock.Now().UnixMicro()
	check(t, h.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(t.Context(), `insert into sim (sid, account_sid, iccid, status, fleet_sid, created_at, updated_at)
			values ($1, $2, $3, 'new', $4, $5, $5)`, sid, h.account, string(iccid), fleet.SID, now)
		return err
	}))
	imsi, err := ident.ParseIMSI(fmt.Sprintf("99970%010d", h.sims))
	check(t, err)
	h.stock[Subscriber{IMSI: imsi}] = iccid
	h.stock[Subscriber{MSISDN: fmt.Sprintf("4991000%05d", h.sims)}] = iccid
	if status != "" {
		h.become(t, sid, status)
	}
	return h.one(t, sid)
}

// become changes a Sim's status and waits for it. The queue must run.
func (h *house) become(t testing.TB, sid string, status sim.Status) {
	t.Helper()
	_, _, err := h.Sims.UpdateSim(t.Context(), h.account, sid, sim.SimUpdate{Status: status})
	check(t, err)
	await(t, "a Sim that is "+string(status), func() bool { return h.one(t, sid).Status == status })
}

func (h *house) one(t testing.TB, sid string) sim.Sim {
	t.Helper()
	one, err := h.Sims.Sim(t.Context(), h.account, sid)
	check(t, err)
	return one
}

// run runs the queue for the time of the test.
func (h *house) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Jobs.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// await waits until something has come about.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	look, late := time.NewTicker(2*time.Millisecond), time.After(2*time.Minute)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("no %s in two minutes", what)
		}
	}
}

// use counts data of a Sim now.
func (h *house) use(t testing.TB, one sim.Sim, up, down int64) {
	t.Helper()
	h.useAt(t, one, h.clock.Now(), up, down)
}

func (h *house) useAt(t testing.TB, one sim.Sim, at time.Time, up, down int64) {
	t.Helper()
	check(t, h.DB.Write(t.Context(), func(tx *db.Tx) error {
		return h.Add(t.Context(), tx, []Use{{SIM: one, At: at, Upload: up, Download: down}})
	}))
}

func (h *house) periods(t testing.TB, sid string) []Period {
	t.Helper()
	l, err := h.Periods(t.Context(), h.account, sid, sim.Page{Limit: 100})
	check(t, err)
	return l.Items
}

// events returns the kinds of the events about a subject, oldest first.
func (h *house) events(t testing.TB, subject string) (kinds []string) {
	t.Helper()
	check(t, h.DB.Read(t.Context(), func(q db.Query) error {
		list, err := h.Events.List(t.Context(), q, event.Filter{Subject: subject, Limit: 1000})
		kinds = nil
		for _, e := range list {
			kinds = append(kinds, e.Kind)
		}
		slices.Reverse(kinds)
		return err
	}))
	return kinds
}

// total is what an account's records say altogether.
func (h *house) total(t testing.TB, f RecordFilter) (up, down int64) {
	t.Helper()
	list, _, err := h.Records(t.Context(), h.account, f, RecordPage{Limit: 1000})
	check(t, err)
	for _, r := range list {
		up, down = up+r.Upload, down+r.Download
	}
	return up, down
}
