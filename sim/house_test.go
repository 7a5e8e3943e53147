package sim

import (
	"context"
	"errors"
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
	"godwit/rsp"
)

// errSilence is what a neighbour's call ends with when nothing is known.
var errSilence = errors.New("connection reset by peer")

// A yard is a small SM-DP+ with the one trait that matters here: a repeated call
// identifier is answered like the first. It can refuse, and it can lose its
// answers after or before it has acted.
type yard struct {
	mu      sync.Mutex
	stock   int
	made    int
	answers map[string]any          // by call identifier
	orders  map[ident.ICCID]string  // what became of each profile
	refuse  map[string]*rsp.Failure // by function: refuse the next call
	silence map[string]silence      // by function
	calls   int
}

// silence says how a call gets lost.
type silence int

const (
	speaks silence = iota
	losesCall
	losesAnswer
)

func newYard(stock int) *yard {
	return &yard{stock: stock, answers: map[string]any{}, orders: map[ident.ICCID]string{}, refuse: map[string]*rsp.Failure{}, silence: map[string]silence{}}
}

func perform[Q, R any](y *yard, function string, header func(Q) rsp.RequestHeader, calls []Q, do func(Q) (R, error), refuse func(*R, rsp.ResponseHeader)) ([]R, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.silence[function] == losesCall {
		return nil, errSilence
	}
	var all []R
	for _, q := range calls {
		y.calls++
		id := header(q).Call
		if known, ok := y.answers[id]; ok {
			all = append(all, known.(R))
			continue
		}
		var r R
		var err error
		if f := y.refuse[function]; f != nil {
			err = f
		} else {
			r, err = do(q)
		}
		refuse(&r, rsp.HeaderFor(err))
		y.answers[id] = r
		all = append(all, r)
	}
	if y.silence[function] == losesAnswer {
		return nil, errSilence
	}
	return all, nil
}

func (y *yard) DownloadOrder(_ context.Context, calls []rsp.DownloadOrder) ([]rsp.DownloadOrderResult, error) {
	return perform(y, "downloadOrder", func(q rsp.DownloadOrder) rsp.RequestHeader { return q.Header }, calls,
		func(q rsp.DownloadOrder) (r rsp.DownloadOrderResult, err error) {
			if y.stock == 0 {
				return r, rsp.Refuse(rsp.TypeUnavailable, "no profile of type %q is left", q.Type)
			}
			y.stock--
			y.made++
			iccid, err := ident.NewICCID(fmt.Sprintf("8900112%011d", y.made))
			y.orders[iccid] = "ordered"
			return rsp.DownloadOrderResult{ICCID: iccid}, err
		}, func(r *rsp.DownloadOrderResult, h rsp.ResponseHeader) { r.Header = h })
}

func (y *yard) ConfirmOrder(_ context.Context, calls []rsp.ConfirmOrder) ([]rsp.ConfirmOrderResult, error) {
	return perform(y, "confirmOrder", func(q rsp.ConfirmOrder) rsp.RequestHeader { return q.Header }, calls,
		func(q rsp.ConfirmOrder) (r rsp.ConfirmOrderResult, err error) {
			if y.orders[q.ICCID] != "ordered" || q.Release {
				return r, rsp.Refuse(rsp.ICCIDState, "%s is %s", q.ICCID, y.orders[q.ICCID])
			}
			y.orders[q.ICCID] = "confirmed"
			r = rsp.ConfirmOrderResult{EID: q.EID, SMDPAddress: "SMDP.Example.com:443"}
			if q.MatchingID == nil {
				r.MatchingID = ident.NewMatchingID()
			}
			return r, nil
		}, func(r *rsp.ConfirmOrderResult, h rsp.ResponseHeader) { r.Header = h })
}

func (y *yard) ReleaseProfile(_ context.Context, calls []rsp.ReleaseProfile) ([]rsp.ReleaseProfileResult, error) {
	return perform(y, "releaseProfile", func(q rsp.ReleaseProfile) rsp.RequestHeader { return q.Header }, calls,
		func(q rsp.ReleaseProfile) (r rsp.ReleaseProfileResult, err error) {
			if y.orders[q.ICCID] != "confirmed" {
				return r, rsp.Refuse(rsp.ICCIDState, "%s is %s", q.ICCID, y.orders[q.ICCID])
			}
			y.orders[q.ICCID] = "released"
			return r, nil
		}, func(r *rsp.ReleaseProfileResult, h rsp.ResponseHeader) { r.Header = h })
}

func (y *yard) CancelOrder(_ context.Context, calls []rsp.CancelOrder) ([]rsp.CancelOrderResult, error) {
	return perform(y, "cancelOrder", func(q rsp.CancelOrder) rsp.RequestHeader { return q.Header }, calls,
		func(q rsp.CancelOrder) (r rsp.CancelOrderResult, err error) {
			y.orders[q.ICCID] = "cancelled"
			return r, nil
		}, func(r *rsp.CancelOrderResult, h rsp.ResponseHeader) { r.Header = h })
}

// set changes the yard's mood.
func (y *yard) set(change func(y *yard)) {
	y.mu.Lock()
	defer y.mu.Unlock()
	change(y)
}

// state returns what became of a profile.
func (y *yard) state(iccid ident.ICCID) string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.orders[iccid]
}

// A core is a small core network: it knows what it was told last.
type core struct {
	mu      sync.Mutex
	known   map[string]Subscriber
	told    int
	refuses bool
	silent  bool
}

func (c *core) Apply(_ context.Context, sub Subscriber) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent {
		return errSilence
	}
	if c.refuses {
		return fault.New(fault.Conflict, "subscriber limit reached")
	}
	c.told++
	c.known[sub.SIM] = sub
	return nil
}

func (c *core) set(change func(c *core)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *core) subscriber(sim string) Subscriber {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[sim]
}

// A house is a store with its neighbours and a clock that is set by hand.
type house struct {
	*Store
	yard *yard
	core *core

	clock *clock.Clock
}

func newHouse(t testing.TB, d *db.DB) *house {
	t.Helper()
	q, err := jobs.New(d)
	if err != nil {
		t.Fatal(err)
	}
	events := event.New(d)
	accounts := account.New(d, events)
	h := &house{yard: newYard(1000), core: &core{known: map[string]Subscriber{}}, clock: clock.At(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))}
	h.Store = &Store{
		DB: d, Jobs: q, Events: events, Accounts: accounts,
		Callbacks: callback.New(d, callback.Options{Signing: accounts.Signing, Now: h.clock.Now}),
		Preparer:  h.yard, Network: h.core, ProfileType: "test", Requester: "godwit", SMDPAddress: "default.example.com",
		Now: h.clock.Now,
	}
	h.Register()
	return h
}

// account makes a customer.
func (h *house) account(t testing.TB, parent string) string {
	t.Helper()
	var a account.Account
	err := h.DB.Write(context.Background(), func(tx *db.Tx) (err error) {
		a, _, err = h.Accounts.Create(context.Background(), tx, parent, "a customer")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return a.SID
}

// fleet makes a Fleet whose Sims may use the given networks.
func (h *house) fleet(t testing.TB, account, name string, networks ...string) Fleet {
	t.Helper()
	a, err := h.CreateAccess(context.Background(), account, "", networks)
	if err != nil {
		t.Fatal(err)
	}
	f, err := h.CreateFleet(context.Background(), Fleet{Account: account, UniqueName: name, Access: a.SID, Data: true, SMS: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// available makes a reservation that has settled.
func (h *house) available(t testing.TB, r Reservation) Profile {
	t.Helper()
	p, err := h.Reserve(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.reserve(context.Background(), jobs.Hand{}); err != nil {
		t.Fatal(err)
	}
	p = h.profile(t, p)
	if p.Status != ProfileAvailable {
		t.Fatalf("%s is %s (%s): want it available", p.SID, p.Status, p.ErrorMessage)
	}
	return p
}

func (h *house) profile(t testing.TB, p Profile) Profile {
	t.Helper()
	p, err := h.Profile(context.Background(), p.Account, p.SID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (h *house) sim(t testing.TB, account, sid string) Sim {
	t.Helper()
	one, err := h.Sim(context.Background(), account, sid)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// callbacks returns the parameters of the callbacks about a subject, oldest
// first.
func (h *house) callbacks(t testing.TB, subject string) []callback.Delivery {
	t.Helper()
	var list []callback.Delivery
	err := h.DB.Read(context.Background(), func(q db.Query) (err error) {
		list, err = h.Callbacks.List(context.Background(), q, callback.Filter{Subject: subject, Limit: 100})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// events returns the events about a subject, oldest first.
func (h *house) events(t testing.TB, subject string) []event.Event {
	t.Helper()
	var list []event.Event
	err := h.DB.Read(context.Background(), func(q db.Query) (err error) {
		list, err = h.Events.List(context.Background(), q, event.Filter{Subject: subject, Limit: 1000})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// run works jobs until something has come about.
func run(t *testing.T, h *house, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Jobs.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	look, late := time.NewTicker(10*time.Millisecond), time.After(2*time.Minute)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("it has not come about in two minutes")
		}
	}
}

// report is what the SM-DP+ tells about a profile.
func (h *house) report(p Profile, point rsp.NotificationPoint, failure *rsp.Failure) rsp.ProgressInfo {
	r := rsp.ProgressInfo{
		Header: rsp.RequestHeader{Requester: "smdp", Call: fmt.Sprint(point)}, EID: "89049032123451234512345678901235", ICCID: p.ICCID,
		Point: point, Status: rsp.Succeeded.Execution, Timestamp: rsp.Timestamp{Time: h.clock.Now()},
	}
	if failure != nil {
		r.Status = failure.Header().Execution
	}
	if point == rsp.PointInstallation {
		r.ResultData = []byte{0xBF, 0x37, 0x00}
	}
	return r
}
