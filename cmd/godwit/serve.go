package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"godwit/callback"
	"godwit/carrier"
	"godwit/trust"
	"godwit/web"
)

// serveCommand runs the server.
type serveCommand struct {
	dataFlags
	Listen      string   `help:"Where the APIs listen." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	RSPListen   []string `help:"Where the SM-DP+ listens, with the trust set that the port stands for. Repeat it for several." default:"127.0.0.1:8443" placeholder:"HOST:PORT[=SET]"`
	PublicURL   string   `help:"Address of the APIs as clients see it, for links." placeholder:"URL"`
	SMDPAddress []string `name:"smdp-address" help:"Address of the SM-DP+ as LPAs see it; the first is announced. Default: localhost and the port of the first --rsp-listen." placeholder:"HOST[:PORT]"`
	ProfileType string   `help:"Profile type of reservations." default:"lte-5g"`
	coreFlags
	commandFlags
	usageFlags
	CallbackAllow []string `help:"Private networks or hosts that callbacks may reach." placeholder:"CIDR|HOST[:PORT]"`
	AccountRate   float64  `help:"Requests of one account in a second; more are answered 429. No bound by default." placeholder:"N"`
	Concurrent    int      `name:"account-concurrent" help:"Requests of one account under way at a time; more are answered 429." default:"1000" placeholder:"N"`
	DebugListen   string   `help:"Where the runtime's profiles are served, for measuring; off by default." placeholder:"HOST:PORT"`
	Verbose       bool     `short:"v" help:"Log every request and step."`
}

func (c serveCommand) Run(ctx context.Context) error {
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	began := time.Now()
	s, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if c.DebugListen != "" {
		if err := serveDebug(ctx, c.DebugListen); err != nil {
			return err
		}
	}
	s.print(c, time.Since(began))
	return s.app.run(ctx)
}

// A started server listens and waits for run.
type started struct {
	app       *app
	addresses addresses
	account   string
	fresh     bool
	release   func() error // gives the data directory back
}

// close ends a server that does not run, or runs no longer.
func (s *started) close() {
	s.app.core.Core.Close()
	s.app.db.Close()
	s.release()
}

// start opens everything that serving needs; a fresh data directory is made
// first.
func (c serveCommand) start(ctx context.Context) (s *started, err error) {
	api, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	closers := []func() error{api.Close}
	defer func() {
		if err != nil {
			for _, f := range closers {
				f()
			}
		}
	}()
	config := settings{API: api, ProfileType: c.ProfileType, Rate: c.AccountRate, Concurrent: c.Concurrent, Core: c.Core, CoreCheck: c.interval()}
	sets := make([]string, len(c.RSPListen))
	for i, listen := range c.RSPListen {
		address, set, named := strings.Cut(listen, "=")
		if !named {
			set = testSet
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("--rsp-listen: %w", err)
		}
		closers = append(closers, l.Close)
		config.RSP, sets[i] = append(config.RSP, rspListener{Listener: l}), set
	}
	if config.SMDPAddress = c.SMDPAddress; len(config.SMDPAddress) == 0 {
		config.SMDPAddress = []string{defaultAddress(config.RSP[0].Addr())}
	}
	if c.PublicURL != "" {
		if config.PublicURL, err = web.ParsePublicURL(c.PublicURL); err != nil {
			return nil, fmt.Errorf("--public-url: %w", err)
		}
	}
	if config.Callbacks, err = callbackOptions(c.CallbackAllow); err != nil {
		return nil, err
	}

	if err := c.listen(); err != nil {
		return nil, err
	}
	closers = append(closers, c.commandFlags.close)
	config.Commands = c.commandFlags
	if err := c.usageFlags.open(); err != nil {
		return nil, err
	}
	closers = append(closers, c.usageFlags.shut)
	config.Usage = c.usageFlags

	hosts := tlsHosts(config.SMDPAddress)
	fresh, key, err := c.create(hosts)
	if err != nil {
		return nil, err
	}
	release, err := c.claim()
	if err != nil {
		return nil, err
	}
	closers = append(closers, release)
	for i, name := range sets {
		set, err := trust.Load(c.pkiDir(), name)
		if err != nil {
			return nil, fmt.Errorf("--rsp-listen: %w", err)
		}
		config.RSP[i].Set = set
		config.Trust = append(config.Trust, set)
	}
	d, err := c.openWith(ctx, key)
	if err != nil {
		return nil, err
	}
	closers = append(closers, d.Close)
	if err := c.keepDatabase(); err != nil {
		return nil, err
	}
	a, err := newApp(ctx, d, config)
	if err != nil {
		return nil, err
	}
	closers = append(closers, a.core.Core.Close)
	if err := c.keepCore(c.Core); err != nil {
		return nil, err
	}
	if err := a.furnish(ctx, c.dataFlags); err != nil {
		return nil, err
	}
	s = &started{app: a, fresh: fresh, release: release, addresses: addresses{
		BaseURL:     baseURL(config.PublicURL, api.Addr()),
		ES9URL:      "https://" + net.JoinHostPort(hosts[0], port(config.RSP[0].Addr())),
		SMDPAddress: config.SMDPAddress[0],
		Set:         sets[0],
	}}
	if s.account, err = a.mainAccount(ctx); err != nil {
		return nil, err
	}
	return s, c.saveAddresses(s.addresses)
}

// print says where to go.
func (s *started) print(c serveCommand, took time.Duration) {
	fmt.Printf(`godwit %s is ready after %d ms

  Super SIM API   %s/v1   (account %s)
  SM-DP+          %s   (trust: %s)
  core network    %s
  credentials     godwit credentials --data %s
`, version, took.Milliseconds(), s.addresses.BaseURL, s.account, s.addresses.SMDPAddress, s.addresses.Set,
		carrier.Redacted(c.Core), c.Data)
	if s.fresh {
		fmt.Printf("  new             %s, with a test CI of its own and %d test profiles in stock\n", c.Data, testStock)
	}
	fmt.Println()
}

// callbackOptions reads what callbacks may reach beside public addresses.
func callbackOptions(allow []string) (o callback.Options, err error) {
	for _, text := range allow {
		if !strings.Contains(text, "/") {
			o.AllowHosts = append(o.AllowHosts, text)
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return o, fmt.Errorf("--callback-allow: %w", err)
		}
		o.Allow = append(o.Allow, prefix)
	}
	return o, nil
}

// defaultAddress is how LPAs on this machine reach a listener.
func defaultAddress(a net.Addr) string {
	host := "localhost"
	if tcp, ok := a.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	if p := port(a); p != "443" {
		return net.JoinHostPort(host, p)
	}
	return host
}

// tlsHosts are the names that a test CI certifies for TLS: those of the server
// and of this machine.
func tlsHosts(addresses []string) []string {
	var hosts []string
	seen := map[string]bool{}
	for _, a := range append(addresses, "localhost", "127.0.0.1") {
		if h := strings.ToLower(hostOf(a)); !seen[h] {
			seen[h] = true
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func port(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

func baseURL(public string, a net.Addr) string {
	if public != "" {
		return public
	}
	host, p, _ := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, p)
}
