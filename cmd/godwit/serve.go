package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"godwit/callback"
	"godwit/carrier"
	"godwit/pki"
	"godwit/trust"
	"godwit/web"
)

// serveCommand runs the server.
type serveCommand struct {
	dataFlags
	Listen        string        `help:"Where the APIs listen." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	RSPListen     []string      `help:"Where the SM-DP+ listens, with the trust set that the port stands for. Repeat it for several." default:"127.0.0.1:8443" placeholder:"HOST:PORT[=SET]"`
	PublicURL     string        `help:"Address of the APIs as clients see it, for links." placeholder:"URL"`
	TrustedProxy  []string      `help:"Networks of proxies whose Forwarded and X-Forwarded headers tell the address for links, where no --public-url does." placeholder:"CIDR"`
	SMDPAddress   []string      `name:"smdp-address" help:"Address of the SM-DP+ as LPAs see it, at the port of one trust set or at all; that of the first port is announced in activation codes. Default: localhost with the port." placeholder:"HOST[:PORT][=SET]"`
	ProfileType   string        `help:"Profile type of reservations." default:"lte-5g"`
	OperatorCA    []string      `name:"operator-ca" type:"existingfile" help:"Certificates of the authorities that may vouch for operators by the name in their client certificates, PEM." placeholder:"FILE"`
	OrderLifetime time.Duration `help:"How long after ConfirmOrder a profile may be downloaded, as 720h; without it orders do not expire." placeholder:"DURATION"`
	RetryFailed   int           `name:"retry-failed-installations" help:"How often an order may be downloaded again after the eUICC has reported a failed installation. Not at all by default." placeholder:"N"`
	CallbackAllow []string      `help:"Private networks or hosts that callbacks may reach." placeholder:"CIDR|HOST[:PORT]"`
	Narrow        bool          `name:"narrow-callbacks" help:"Call back about a reservation only when it becomes available or fails, not about download and installation."`
	AccountRate   float64       `help:"Requests of one account in a second; more are answered 429. No bound by default." placeholder:"N"`
	Concurrent    int           `name:"account-concurrent" help:"Requests of one account under way at a time; more are answered 429." default:"1000" placeholder:"N"`
	MoveInactive  bool          `help:"Have Sims that are inactive move between accounts, too; otherwise only new ones do."`
	DebugListen   string        `help:"Where the runtime's profiles are served, for measuring; off by default." placeholder:"HOST:PORT"`
	Verbose       bool          `short:"v" help:"Log every request and step."`
	coreFlags
	commandFlags
	usageFlags
	retentionFlags
	fieldFlags
	sandboxFlags
}

func (c serveCommand) Run(ctx context.Context) error {
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	began := time.Now()
	useMemory()
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
	devices, err := c.sandbox(ctx, s)
	if err != nil {
		return err
	}
	s.print(c, time.Since(began))
	return s.serve(ctx, devices)
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
	config := settings{
		API: api, ProfileType: c.ProfileType, RetryFailed: c.RetryFailed, OrderLifetime: c.OrderLifetime,
		Rate: c.AccountRate, Concurrent: c.Concurrent, Core: c.Core, CoreCheck: c.interval(), MoveInactive: c.MoveInactive, NarrowCallbacks: c.Narrow,
	}
	if config.OperatorCA, err = operatorAuthorities(c.OperatorCA); err != nil {
		return nil, fmt.Errorf("--operator-ca: %w", err)
	}
	if config.Retention, err = c.policy(); err != nil {
		return nil, err
	}
	sets := make([]string, len(c.RSPListen))
	for i, listen := range c.RSPListen {
		address, _, _ := strings.Cut(listen, "=")
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("--rsp-listen: %w", err)
		}
		closers = append(closers, l.Close)
		config.RSP, sets[i] = append(config.RSP, rspListener{Listener: l}), setOf(listen)
	}
	config.address(c.SMDPAddress, sets)
	if c.PublicURL != "" {
		if config.PublicURL, err = web.ParsePublicURL(c.PublicURL); err != nil {
			return nil, fmt.Errorf("--public-url: %w", err)
		}
	}
	if config.Proxies, err = proxies(c.TrustedProxy); err != nil {
		return nil, err
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
	config.Field = c.fieldFlags

	hosts := tlsHosts(config.SMDPAddress)
	fresh, key, err := c.create(hosts, sets)
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
	if fresh {
		debug.FreeOSMemory() // hashing the first user's password took 64 MB
	}
	s = &started{app: a, fresh: fresh, release: release, addresses: addresses{
		BaseURL:     baseURL(config.PublicURL, api.Addr()),
		ES9URL:      es9URL(config.RSP[0], hosts[0]),
		SMDPAddress: config.SMDPAddress[0],
		Set:         sets[0],
	}}
	if s.account, err = a.mainAccount(ctx); err != nil {
		return nil, err
	}
	return s, c.saveAddresses(s.addresses)
}

// es9URL is where commands on this machine reach a listener: under a name that
// its certificate has. host is that of the SM-DP+ address.
func es9URL(l rspListener, host string) string {
	scheme := "http"
	for _, m := range l.Set.Members {
		c := m.Identity.TLS
		if c == nil || c.Certificate.PublicKey.Curve() != pki.P256 {
			continue // Go's TLS cannot show it
		}
		scheme = "https"
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() && slices.Contains(c.Certificate.DNSNames, "localhost") {
			host = "localhost"
		}
		break
	}
	return scheme + "://" + net.JoinHostPort(host, port(l.Addr()))
}

// print says where to go.
func (s *started) print(c serveCommand, took time.Duration) {
	fmt.Fprintf(stdout, `godwit %s is ready after %d ms

  Super SIM API   %s/v1   (account %s)
  Remote Manager  %s/ws/v1
  reference       %s/docs
  SM-DP+, eIM     %s   (trust: %s)
  core network    %s
  credentials     godwit credentials --data %s
`, version, took.Milliseconds(), s.addresses.BaseURL, s.account, s.addresses.BaseURL, s.addresses.BaseURL, s.addresses.SMDPAddress, s.addresses.Set,
		carrier.Redacted(c.Core), c.Data)
	if s.fresh {
		fmt.Fprintf(stdout, "  new             %s, with %d test profiles in stock\n", c.Data, testStock)
	}
	fmt.Fprintln(stdout)
}

// operatorAuthorities reads the authorities of operators' client certificates,
// or returns nil when there are none: then no name counts.
func operatorAuthorities(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s: no certificate in it", name)
		}
	}
	return pool, nil
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
			return o, fmt.Errorf("--callback-allow: a network such as 10.1.0.0/16, HOST or HOST:PORT, not %q", text)
		}
		o.Allow = append(o.Allow, prefix)
	}
	return o, nil
}

// address says under which address each port is reached: the one given for its
// set, else the first that was given for all, else its own.
func (s *settings) address(given, sets []string) {
	ofSet := map[string]string{}
	for _, g := range given {
		address, set, _ := strings.Cut(g, "=")
		s.SMDPAddress = append(s.SMDPAddress, address)
		if _, there := ofSet[set]; !there {
			ofSet[set] = address
		}
	}
	for i := range s.RSP {
		address := cmp.Or(ofSet[sets[i]], ofSet[""])
		if address == "" {
			address = defaultAddress(s.RSP[i].Addr())
			s.SMDPAddress = append(s.SMDPAddress, address)
		}
		s.RSP[i].Address = address
	}
	announced := s.RSP[0].Address
	s.SMDPAddress = slices.DeleteFunc(s.SMDPAddress, func(a string) bool { return a == announced })
	s.SMDPAddress = append([]string{announced}, s.SMDPAddress...)
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
