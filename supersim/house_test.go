package supersim_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"godwit/account"
	"godwit/bulk"
	"godwit/callback"
	"godwit/command"
	"godwit/db"
	"godwit/event"
	"godwit/ident"
	"godwit/jobs"
	"godwit/rsp"
	"godwit/sim"
	"godwit/supersim"
	"godwit/web"

	validator "github.com/twilio/twilio-go/client"
)

const testEID = "89049032123451234512345678901235"

// A shelf is an SM-DP+ as far as this door needs one: it has profiles until it
// has none. The real one is met in the tests of the whole program.
type shelf struct {
	mu    sync.Mutex
	stock int
	taken int
	known map[string]ident.ICCID
}

func (s *shelf) DownloadOrder(_ context.Context, calls []rsp.DownloadOrder) (all []rsp.DownloadOrderResult, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range calls {
		iccid, ok := s.known[c.Header.Call]
		if !ok && s.taken == s.stock {
			all = append(all, rsp.DownloadOrderResult{Header: rsp.HeaderFor(rsp.Refuse(rsp.TypeUnavailable, ""))})
			continue
		}
		if !ok {
			if iccid, err = ident.NewICCID(fmt.Sprintf("8988307%012d", s.taken)); err != nil {
				return nil, err
			}
			s.taken++
			s.known[c.Header.Call] = iccid
		}
		all = append(all, rsp.DownloadOrderResult{Header: rsp.Succeeded, ICCID: iccid})
	}
	return all, nil
}

// InStock answers as the SM-DP+ does for orders of many.
func (s *shelf) InStock(_ context.Context, profileType string, limit int64) (int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(int64(s.stock-s.taken), limit), profileType == "test", nil
}

func (s *shelf) ConfirmOrder(_ context.Context, calls []rsp.ConfirmOrder) (all []rsp.ConfirmOrderResult, _ error) {
	for _, c := range calls {
		r := rsp.ConfirmOrderResult{Header: rsp.Succeeded, EID: c.EID, SMDPAddress: "smdp.example.net"}
		if c.MatchingID == nil {
			r.MatchingID = ident.NewMatchingID()
		}
		all = append(all, r)
	}
	return all, nil
}

func (s *shelf) ReleaseProfile(_ context.Context, calls []rsp.ReleaseProfile) (all []rsp.ReleaseProfileResult, _ error) {
	for range calls {
		all = append(all, rsp.ReleaseProfileResult{Header: rsp.Succeeded})
	}
	return all, nil
}

func (s *shelf) CancelOrder(_ context.Context, calls []rsp.CancelOrder) (all []rsp.CancelOrderResult, _ error) {
	for range calls {
		all = append(all, rsp.CancelOrderResult{Header: rsp.Succeeded})
	}
	return all, nil
}

// air is a core network that serves everybody.
type air struct{}

func (air) Apply(context.Context, sim.Subscriber) error { return nil }

// A house is a door with everything behind it at work.
type house struct {
	store    *sim.Store
	accounts *account.Store
	shelf    *shelf
	account  string
	token    string
	server   *httptest.Server // the door, over real HTTP
	calls    *receiver
	field    *field
}

// newHouse opens a door. Its links are built for base, or for the address that
// clients use if base is empty.
func newHouse(t testing.TB, d *db.DB, base string) *house {
	t.Helper()
	q, err := jobs.New(d)
	if err != nil {
		t.Fatal(err)
	}
	events := event.New(d)
	accounts := account.New(d, events)
	h := &house{accounts: accounts, shelf: &shelf{stock: 10000, known: map[string]ident.ICCID{}}}
	callbacks := callback.New(d, callback.Options{
		Signing: accounts.Signing, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	})
	h.store = &sim.Store{
		DB: d, Jobs: q, Events: events, Accounts: accounts, Callbacks: callbacks,
		Preparer: h.shelf, Network: air{}, ProfileType: "test", Requester: "godwit",
	}
	h.store.Register()
	orders := &bulk.Store{DB: d, Jobs: q, Events: events, Callbacks: callbacks, Sims: h.store, Stock: h.shelf}
	orders.Register()
	var commands *command.Store
	var links []func(context.Context) error
	h.field, commands, links = newField(t, d, q, events, callbacks, h.store)
	h.account, h.token = h.customer(t, "")
	h.server = httptest.NewServer(supersim.New(h.store, supersim.Options{
		Authenticate: accounts.Verify, Address: web.Address{URL: base}, Commands: commands, Orders: orders,
	}))
	t.Cleanup(h.server.Close)
	h.calls = newReceiver(t, h.token)

	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	for _, part := range append(links, q.Run, callbacks.Run) {
		parts.Go(func() {
			if err := part(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		parts.Wait()
	})
	return h
}

// customer makes an account.
func (h *house) customer(t testing.TB, parent string) (sid, token string) {
	t.Helper()
	err := h.store.DB.Write(context.Background(), func(tx *db.Tx) error {
		a, secret, err := h.accounts.Create(context.Background(), tx, parent, "a customer")
		sid, token = a.SID, secret
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sid, token
}

// report has the SM-DP+ report on a profile.
func (h *house) report(t testing.TB, iccid string, point rsp.NotificationPoint, failure *rsp.Failure) {
	t.Helper()
	r := rsp.ProgressInfo{ICCID: ident.ICCID(iccid), EID: testEID, Point: point, Status: rsp.HeaderFor(nil).Execution}
	if failure != nil {
		r.Status = failure.Header().Execution
	}
	if err := h.store.Progress(context.Background(), []rsp.ProgressInfo{r}); err != nil {
		t.Fatal(err)
	}
}

// A receiver is a customer's server: it checks each callback's signature with
// the vendor's own validator.
type receiver struct {
	server *httptest.Server
	got    chan url.Values
}

func newReceiver(t testing.TB, token string) *receiver {
	t.Helper()
	r := &receiver{got: make(chan url.Values, 1000)}
	check := validator.NewRequestValidator(token)
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if err := q.ParseForm(); err != nil {
			t.Error(err)
		}
		params := map[string]string{}
		for name, values := range q.PostForm {
			params[name] = values[0]
		}
		if !check.Validate("http://"+q.Host+q.URL.RequestURI(), params, q.Header.Get("X-Twilio-Signature")) {
			t.Errorf("callback %s %s %v with wrong signature %q", q.Method, q.URL, q.PostForm, q.Header.Get("X-Twilio-Signature"))
		}
		if q.Header.Get("I-Twilio-Idempotency-Token") == "" {
			t.Error("callback without idempotency token")
		}
		q.Form.Set("method", q.Method)
		r.got <- q.Form
	}))
	t.Cleanup(r.server.Close)
	return r
}

// next returns the next callback.
func (r *receiver) next(t testing.TB) url.Values {
	t.Helper()
	select {
	case form := <-r.got:
		return form
	case <-time.After(2 * time.Minute):
		t.Fatal("no callback in two minutes")
		return nil
	}
}
