package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"godwit/account"
	"godwit/agentapi"
	"godwit/apidoc"
	"godwit/bulk"
	"godwit/callback"
	"godwit/carrier"
	"godwit/charge"
	"godwit/command"
	"godwit/coreapi"
	"godwit/db"
	"godwit/device"
	"godwit/eim"
	"godwit/event"
	"godwit/jobs"
	"godwit/kore"
	"godwit/monitor"
	"godwit/once"
	"godwit/privacy"
	"godwit/remote"
	"godwit/rsp"
	"godwit/sim"
	"godwit/smdp"
	"godwit/supersim"
	"godwit/trust"
	"godwit/usage"
	"godwit/web"
)

// settings are what one server process is told.
type settings struct {
	API         net.Listener
	RSP         []rspListener
	PublicURL   string         // "" has links follow the request's host
	Proxies     []netip.Prefix // tell that host, where there is no PublicURL
	SMDPAddress []string       // the first is announced
	ProfileType string         // of reservations
	Callbacks   callback.Options
	Trust       []*trust.Set   // for calls of ours to SM-DSs and operators
	OperatorCA  *x509.CertPool // vouch for operators by name; nil where only keys count
	RetryFailed int            // installations

	OrderLifetime time.Duration // 0 has orders never expire

	Rate       float64 // requests of one account in a second; no bound if zero
	Concurrent int     // requests of one account at a time; no bound if zero
	Commands   commandFlags
	Usage      usageFlags
	Field      fieldFlags
	Retention  privacy.Policy

	MoveInactive    bool // Sims that are inactive may move between accounts
	NarrowCallbacks bool // none about download and installation

	Core      string        // address of the core network, "" for the registry in the database
	CoreCheck time.Duration // between two comparisons with it, 0 for none
}

// An rspListener is one port of the SM-DP+ with the trust that it stands for.
type rspListener struct {
	net.Listener
	Set     *trust.Set
	Address string // of the SM-DP+, as LPAs with this trust see it
}

// An app is everything that one server process runs. This page is where the
// parts meet; they know nothing of each other.
type app struct {
	settings settings
	db       *db.DB
	events   *event.Log
	accounts *account.Store
	queue    *jobs.Queue
	calls    *callback.Sender
	smdp     *smdp.Server
	registry *carrier.Registry // that of the database, whether or not it is the core network
	core     *carrier.Link
	sims     *sim.Store
	orders   *bulk.Store
	once     *once.Keeper
	commands *command.Store
	usage    *usage.Store
	devices  *device.Store
	eim      *eim.Server
	agents   *agentapi.Door
	monitors *monitor.Store
	remote   *remote.Door
	api      http.Handler
	rsp      []*smdp.Listener
}

// newApp joins the parts on an open database.
func newApp(ctx context.Context, d *db.DB, s settings) (*app, error) {
	a := &app{settings: s, db: d, events: event.New(d)}
	a.accounts = account.New(d, a.events)
	var err error
	if a.queue, err = jobs.New(d); err != nil {
		return nil, err
	}
	s.Callbacks.Signing, s.Callbacks.Notice = a.accounts.Signing, a.accounts.EndpointNotice
	a.calls = callback.New(d, s.Callbacks)

	var progress func(context.Context, []rsp.ProgressInfo) error
	client, err := clientTrust(s.Trust)
	if err != nil {
		return nil, err
	}
	a.smdp, err = smdp.Open(ctx, d, smdp.Config{
		Addresses: s.SMDPAddress,
		Progress:  func(ctx context.Context, infos []rsp.ProgressInfo) error { return progress(ctx, infos) },
		Trust:     client.config, ClientCertificate: client.certificate, RetryInstallations: s.RetryFailed,
		OrderLifetime: s.OrderLifetime,
	})
	if err != nil {
		return nil, err
	}
	for _, l := range s.RSP {
		if err := expired(l.Set, time.Now()); err != nil {
			return nil, err
		}
		roots, err := l.Set.Roots()
		if err != nil {
			return nil, err
		}
		listener, err := a.smdp.Listen(smdp.Trust{
			Identities: l.Set.Identities(), Address: l.Address, Roots: roots, Operators: s.OperatorCA,
		})
		if err != nil {
			return nil, fmt.Errorf("set %s: %w", l.Set.Name, err)
		}
		a.rsp = append(a.rsp, listener)
	}

	a.registry = carrier.New(d)
	network, err := carrier.Open(s.Core, d)
	if err != nil {
		return nil, fmt.Errorf("--core: %w", err)
	}
	a.core = &carrier.Link{Core: network, Personal: a.personal, DB: d, Events: a.events, Jobs: a.queue}
	networks, err := sim.LoadCatalogue(ctx, d)
	if err != nil {
		return nil, err
	}
	ledger := &charge.Ledger{DB: d}
	a.sims = &sim.Store{
		DB: d, Jobs: a.queue, Events: a.events, Accounts: a.accounts, Callbacks: a.calls, Ledger: ledger,
		Preparer: preparer{a.smdp}, Handout: preparer{a.smdp}, Network: a.core, Catalogue: networks,
		ProfileType: s.ProfileType, Requester: smdp.LocalRequester, SMDPAddress: s.SMDPAddress[0], MoveInactive: s.MoveInactive,
		NarrowCallbacks: s.NarrowCallbacks,
	}
	a.sims.Register()
	a.core.Sims = a.sims
	a.core.Register(s.CoreCheck)
	progress = a.sims.Progress
	a.orders = &bulk.Store{DB: d, Jobs: a.queue, Events: a.events, Callbacks: a.calls, Sims: a.sims, Stock: stock{a.smdp}}
	a.orders.Register()
	a.once = &once.Keeper{DB: d, Began: time.Now()}
	(&privacy.Store{DB: d, Events: a.events, Silence: usage.Silence}).Register(a.queue, s.Retention)
	a.usage = usageOf(d, a.queue, a.events, a.calls, a.sims, a.smdp)
	if err := a.joinCommands(s.Commands, []command.Sessions{a.usage}, a.usage.Command); err != nil {
		return nil, err
	}
	if err := a.joinField(ctx); err != nil {
		return nil, fmt.Errorf("devices in the field: %w", err)
	}

	var requests *slog.Logger
	if slog.Default().Enabled(ctx, slog.LevelDebug) {
		requests = slog.Default()
	}
	rates := &web.Rates{PerSecond: s.Rate}
	address := web.Address{URL: s.PublicURL, Proxies: s.Proxies}
	neighbour := kore.New(kore.Options{DB: d, Accounts: a.accounts, Address: address, Rates: rates, Once: a.once})
	customers := coreapi.New(coreapi.Options{DB: d, Accounts: a.accounts, Address: address, Rates: rates, Once: a.once})
	door := supersim.New(a.sims, supersim.Options{
		VerifyToken: a.accounts.VerifyToken, Rates: rates, Concurrent: s.Concurrent, Callbacks: a.calls, Accounts: a.accounts,
		Authenticate: a.authenticate, Address: address, Orders: a.orders, Ledger: ledger, Once: a.once,
		Commands: a.commands, Sessions: a.commands.Sessions, Usage: a.usage, Log: requests,
	})
	guide := guideOf(address, true, door.Routes, customers.Routes, neighbour.Routes(), a.remote.Routes)
	own := http.NewServeMux()
	own.Handle("GET /metrics", promhttp.Handler())
	own.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	own.HandleFunc("GET /readyz", a.ready)
	// Everything else is the API's, also what names nothing: the mux would
	// redirect unclean paths and answer in plain text, and clients of this API can
	// read neither.
	a.api = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/metrics", path == "/healthz", path == "/readyz":
			own.ServeHTTP(w, r)
		case apidoc.Paths(path):
			guide.ServeHTTP(w, r)
		case agentapi.Paths(path):
			a.agents.ServeHTTP(w, r)
		case remote.Paths(path):
			a.remote.ServeHTTP(w, r)
		case kore.Paths(path):
			neighbour.ServeHTTP(w, r)
		case coreapi.Paths(path):
			customers.ServeHTTP(w, r)
		default:
			door.ServeHTTP(w, r)
		}
	})
	return a, nil
}

// ready answers whether this node can work.
func (a *app) ready(w http.ResponseWriter, r *http.Request) {
	if err := a.db.Ping(r.Context()); err != nil {
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// run serves until ctx is over, then ends in order: no new requests, those
// under way answered, background work stopped.
func (a *app) run(ctx context.Context) error {
	g, work := errgroup.WithContext(context.WithoutCancel(ctx))
	background, stop := context.WithCancel(work)
	g.Go(func() error { return a.queue.Run(background) })
	g.Go(func() error { return a.calls.Run(background) })
	g.Go(func() error { return a.smdp.Run(background) })
	g.Go(func() error { return a.once.Run(background) })
	g.Go(func() error { return a.runCommands(background) })
	g.Go(func() error { return a.runUsage(background) })
	g.Go(func() error { return a.eim.Run(background) })
	g.Go(func() error { return a.monitors.Run(background) })
	g.Go(func() error { return watchCertificates(background, a.settings.Trust) })
	g.Go(func() error { return a.db.WatchClock(background, nil) })

	// Background work ends after the doors have closed, so that what the last
	// requests left behind is not cut off in the middle.
	doors, doorsCtx := errgroup.WithContext(ctx)
	context.AfterFunc(work, func() { a.close() })
	doors.Go(func() error { return serveHTTP(doorsCtx, a.settings.API, a.api) })
	for i, l := range a.settings.RSP {
		door := a.rspDoor(i)
		config, err := a.rsp[i].TLS()
		if err != nil {
			slog.Warn("no TLS on this port; put a terminating proxy in front", "listen", l.Addr().String(), "err", err)
			doors.Go(func() error { return serveHTTP(doorsCtx, l, door) })
			continue
		}
		doors.Go(func() error { return serveHTTP(doorsCtx, tls.NewListener(l, config), door) })
	}
	g.Go(func() error {
		defer stop()
		return doors.Wait()
	})
	return g.Wait()
}

// close makes the doors end at once.
func (a *app) close() {
	a.settings.API.Close()
	for _, l := range a.settings.RSP {
		l.Close()
	}
}

// serveHTTP serves one port until ctx is over, and then answers what is under
// way.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		// What strangers do to a TLS port is no trouble of ours.
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}

// authenticate lets the door read a caller from the account's credentials.
func (a *app) authenticate(ctx context.Context, user, password string) (account.Caller, error) {
	return a.accounts.Verify(ctx, user, password)
}
