package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/euicc"
	"godwit/ident"
	"godwit/lpa"
	"godwit/rsp"
	"godwit/trust"
)

// TestKilledInTheMiddleOfDownloads kills the server, as a power cut would, while
// a hundred devices download, starts it again, and counts: every profile is on
// exactly one chip, none is lost, and no callback is missing.
func TestKilledInTheMiddleOfDownloads(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		hooks := newRecorder(t)
		p := startServer(t, "--callback-allow", hooks.host(), databaseFlag(url))
		hooks.believe(p.credentials.AuthToken)
		f := newFleet(t, p.set(), 100)
		f.reserve(p, hooks.url())

		// Killed twice, at moments that the load itself chooses; the device that
		// chose goes on when the server is back.
		kill, back := make(chan struct{}), make(chan struct{})
		f.installed = func(n int) {
			if n == 20 || n == 60 {
				kill <- struct{}{}
				<-back
			}
		}
		finished := make(chan error, 1)
		go func() { finished <- f.download(t.Context(), nil) }()
		for killed := 0; ; {
			select {
			case <-kill:
				p.kill()
				p.start()
				killed++
				back <- struct{}{}
				continue
			case err := <-finished:
				if err != nil {
					t.Fatal(err)
				}
			}
			if killed != 2 {
				t.Fatalf("the server was killed %d times, want 2", killed)
			}
			break
		}
		f.check(p)
		for _, d := range f.devices {
			for _, status := range []string{"available", "installed"} {
				hooks.wait(t, d.reservation.SID, status)
			}
		}
	})
}

// TestTwoServersOnOneDatabase has the four calls of each download go to two
// servers in turn, kills one of them, and loses nothing.
func TestTwoServersOnOneDatabase(t *testing.T) {
	url := dbtest.PostgresURL(t)
	hooks := newRecorder(t)
	address := "sm-dp.example.com"
	one := startServer(t, "--callback-allow", hooks.host(), "--database", url, "--smdp-address", address)
	two := startServerIn(t, one.data, "--callback-allow", hooks.host(), "--database", url, "--smdp-address", address)
	hooks.believe(one.credentials.AuthToken)
	f := newFleet(t, one.set(), 60)
	f.reserve(one, hooks.url())

	// A balancer before them: one request here, the next one there.
	balance := &balancer{servers: []string{one.args[6], two.args[6]}}
	killed := make(chan struct{})
	f.installed = func(n int) {
		if n == 20 {
			two.kill()
			close(killed)
		}
	}
	if err := f.download(t.Context(), balance); err != nil {
		t.Fatal(err)
	}
	<-killed
	if a, b := balance.taken[0].Load(), balance.taken[1].Load(); a == 0 || b == 0 {
		t.Fatalf("the servers took %d and %d connections: they did not share the load", a, b)
	}
	f.check(one)
	for _, d := range f.devices {
		hooks.wait(t, d.reservation.SID, "installed")
	}
}

// TestTwoEUICCsRaceForOneCode has two chips ask for one profile at once, 200
// times: one wins, and the other is refused.
func TestTwoEUICCsRaceForOneCode(t *testing.T) {
	const races = 200
	p := startServer(t)
	f := newFleet(t, p.set(), 2*races)
	for i := range races {
		f.devices[2*i+1].reservation = f.devices[2*i].reserveWith(p, "")
		f.devices[2*i].reservation = f.devices[2*i+1].reservation
	}
	for _, d := range f.devices {
		d.available(p)
	}
	for i := range races {
		pair := f.devices[2*i : 2*i+2]
		var errs [2]error
		var both sync.WaitGroup
		for j, d := range pair {
			both.Go(func() { _, errs[j] = d.lpa.Download(t.Context(), d.request()) })
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("race %d: both won or both lost: %v, %v", i, errs[0], errs[1])
		}
		for j, err := range errs {
			var refused *rsp.Failure
			if err != nil && !errors.As(err, &refused) {
				t.Errorf("race %d: the loser was not refused by the server: %v", i, err)
			}
			if n := len(pair[j].card.Profiles()); n != map[bool]int{true: 1, false: 0}[err == nil] {
				t.Errorf("race %d: %d profiles on a chip whose download ended with %v", i, n, err)
			}
		}
	}
}

// databaseFlag returns the flag that has a server use the database of a test;
// the engine in a file of its own data directory needs none.
func databaseFlag(url string) string {
	if strings.HasPrefix(url, "sqlite:") {
		return "--database=sqlite"
	}
	return "--database=" + url
}

// A fleet is many devices with software eUICCs under one trust.
type fleet struct {
	t         *testing.T
	devices   []*testDevice
	roots     func() lpa.Trust
	installed func(n int) // hears how many devices have their profile
}

type testDevice struct {
	t           *testing.T
	card        *euicc.Card
	lpa         *lpa.LPA
	reservation *reserved
}

func newFleet(t *testing.T, set *trust.Set, n int) *fleet {
	t.Helper()
	roots, err := set.Roots()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t}
	client := lpa.NewHTTPClient(lpa.Trust{Roots: roots})
	f.roots = func() lpa.Trust { return lpa.Trust{Roots: roots} }
	for i := range n {
		eid, err := ident.NewEID(trust.EIDPrefix + fmt.Sprintf("%022d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		config, err := chipOf(set, eid)
		if err != nil {
			t.Fatal(err)
		}
		card, err := euicc.NewMemory(config)
		if err != nil {
			t.Fatal(err)
		}
		chip, err := lpa.OpenChip(card)
		if err != nil {
			t.Fatal(err)
		}
		f.devices = append(f.devices, &testDevice{t: t, card: card, lpa: &lpa.LPA{Chip: chip, HTTP: client}})
	}
	return f
}

// reserve reserves a profile for every device, and waits until all are
// available.
func (f *fleet) reserve(p *process, hook string) {
	f.t.Helper()
	for _, d := range f.devices {
		d.reservation = d.reserveWith(p, hook)
	}
	for _, d := range f.devices {
		d.available(p)
	}
}

func (d *testDevice) reserveWith(p *process, hook string) *reserved {
	d.t.Helper()
	form := url.Values{"GenerateMatchingId": {"true"}}
	if hook != "" {
		form.Set("CallbackUrl", hook)
	}
	var r reserved
	if status := p.call("/v1/ESimProfiles", form, &r); status != http.StatusCreated {
		d.t.Fatalf("reservation answered %d", status)
	}
	return &r
}

func (d *testDevice) available(p *process) {
	d.t.Helper()
	for deadline := time.Now().Add(longest); d.reservation.ActivationCode == ""; pause() {
		p.call("/v1/ESimProfiles/"+d.reservation.SID, nil, d.reservation)
		if d.reservation.Status == "failed" || time.Now().After(deadline) {
			d.t.Fatalf("%s is %s: %s", d.reservation.SID, d.reservation.Status, d.reservation.ErrorMessage)
		}
	}
}

func (d *testDevice) request() lpa.Request {
	code, err := rsp.ParseActivationCode("LPA:" + d.reservation.ActivationCode)
	if err != nil {
		d.t.Error(err)
		return lpa.Request{}
	}
	return lpa.FromActivationCode(code)
}

// download has every device get its profile, each as a person would: again and
// again until it is there and the server knows it.
func (f *fleet) download(ctx context.Context, b *balancer) error {
	ctx, cancel := context.WithTimeout(ctx, 2*longest)
	defer cancel()
	var done atomic.Int64
	errs := make(chan error, len(f.devices))
	for _, d := range f.devices {
		if b != nil {
			d.lpa.HTTP = b.client(f.roots())
		}
		go func() {
			err := d.persist(ctx)
			if err == nil && f.installed != nil {
				f.installed(int(done.Add(1)))
			}
			errs <- err
		}()
	}
	var all error
	for range f.devices {
		all = errors.Join(all, <-errs)
	}
	return all
}

func (d *testDevice) persist(ctx context.Context) error {
	var last error
	for ctx.Err() == nil {
		if len(d.card.Profiles()) == 0 {
			if _, last = d.lpa.Download(ctx, d.request()); last != nil {
				if _, refused := errors.AsType[*rsp.Failure](last); refused {
					return fmt.Errorf("%s: %w", d.reservation.SID, last)
				}
				pause()
				continue
			}
		}
		waiting, err := d.lpa.Chip.Pending()
		if err != nil {
			return err
		}
		if len(waiting) == 0 {
			return nil
		}
		if _, err := d.lpa.Notify(ctx); err != nil {
			return err
		}
		pause()
	}
	return fmt.Errorf("%s did not come to its end: %w", d.reservation.SID, errors.Join(ctx.Err(), last))
}

// check compares what the chips hold with what the server says.
func (f *fleet) check(p *process) {
	f.t.Helper()
	where := map[string]ident.EID{}
	for _, d := range f.devices {
		profiles := d.card.Profiles()
		if len(profiles) != 1 {
			f.t.Errorf("%s: %d profiles on the chip", d.card.EID(), len(profiles))
			continue
		}
		iccid := string(profiles[0].ICCID)
		if other, twice := where[iccid]; twice {
			f.t.Errorf("profile %s is on %s and on %s", iccid, other, d.card.EID())
		}
		where[iccid] = d.card.EID()
	}
	for _, d := range f.devices {
		for deadline := time.Now().Add(longest); ; pause() {
			var r reserved
			p.call("/v1/ESimProfiles/"+d.reservation.SID, nil, &r)
			if r.Status == "installed" && r.EID == string(where[r.ICCID]) {
				break
			}
			if r.Status == "failed" || time.Now().After(deadline) {
				f.t.Errorf("%s is %s with eUICC %q: %s; it is on %q", r.SID, r.Status, r.EID, r.ErrorMessage, where[r.ICCID])
				break
			}
		}
	}
}

// A balancer sends the calls of each client to the servers in turn, and past one
// that is dead.
type balancer struct {
	servers []string
	taken   [2]atomic.Int64
}

func (b *balancer) client(t lpa.Trust) *http.Client {
	var next atomic.Int64
	t.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		for try := 0; ; try++ {
			at := int(next.Add(1)) % len(b.servers)
			conn, err := dialer.DialContext(ctx, network, b.servers[at])
			if err == nil {
				b.taken[at].Add(1)
				return conn, nil
			}
			if try == len(b.servers) {
				return nil, err
			}
		}
	}
	client := lpa.NewHTTPClient(t)
	client.Transport.(*http.Transport).DisableKeepAlives = true
	return client
}

// A recorder is a customer's server that remembers every callback with a good
// signature.
type recorder struct {
	server *httptest.Server
	mu     sync.Mutex
	token  string
	heard  map[string][]string // states by ESimProfile
	news   chan struct{}
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{heard: map[string][]string{}, news: make(chan struct{})}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *recorder) url() string  { return r.server.URL + "/hook" }
func (r *recorder) host() string { return strings.TrimPrefix(r.server.URL, "http://") }

func (r *recorder) believe(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token = token
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if err := q.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if callback.Sign(db.Secret(r.token), r.url(), q.PostForm) != q.Header.Get("X-Twilio-Signature") {
		http.Error(w, "the signature is wrong", http.StatusForbidden)
		return
	}
	sid := q.PostForm.Get("ESimProfileSid")
	r.heard[sid] = append(r.heard[sid], q.PostForm.Get("ESimProfileStatus"))
	close(r.news)
	r.news = make(chan struct{})
}

// wait waits until a profile's callback with the given state has come.
func (r *recorder) wait(t *testing.T, sid, status string) {
	t.Helper()
	late := time.After(longest)
	for {
		r.mu.Lock()
		heard, news := slices.Clone(r.heard[sid]), r.news
		r.mu.Unlock()
		if slices.Contains(heard, status) {
			return
		}
		select {
		case <-news:
		case <-late:
			t.Errorf("no callback said that %s is %s; heard were %v", sid, status, heard)
			return
		}
	}
}
