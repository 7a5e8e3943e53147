package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"godwit/lab"
	"godwit/trust"
)

// labCommand has virtual devices live with a server on this machine.
type labCommand struct {
	Run   labRunCommand   `cmd:"" default:"withargs" help:"Run virtual devices: they enrol, poll, do what they are told, and have faults."`
	Chaos labChaosCommand `cmd:"" help:"Order profiles, start operations over a fleet with faults, and judge: does everything end, truly and once?"`
}

// labFlags say what lives in a lab.
type labFlags struct {
	Faults   string        `help:"Share of requests, sessions, packages, profiles and devices that a fault strikes, as 5%." default:"0" placeholder:"SHARE"`
	Fault    []string      `help:"Share of one kind, as power-cut=1%; repeat it for several. Kinds: ${fault_kinds}." placeholder:"KIND=SHARE"`
	Seed     uint64        `help:"Where the devices and their fate come from: the same seed gives the same." default:"1"`
	Consumer string        `help:"Share of devices whose eUICC is one of SGP.22, with an agent that does the rest." default:"0" placeholder:"SHARE"`
	Indirect bool          `help:"Have the devices download profiles through the eIM."`
	Interval time.Duration `help:"Time between two polls of a device." default:"30s"`
}

// Validate refuses shares that are none.
func (f labFlags) Validate() error {
	_, err := f.config(0)
	return err
}

// config is what the flags say.
func (f labFlags) config(devices int) (c lab.Config, err error) {
	share, err := lab.ParseShare(f.Faults)
	if err != nil {
		return c, fmt.Errorf("--faults: %w", err)
	}
	c = lab.Config{Devices: devices, Seed: f.Seed, Rates: lab.Share(share), Indirect: f.Indirect, Interval: f.Interval}
	for _, one := range f.Fault {
		if err := c.Rates.Set(one); err != nil {
			return c, fmt.Errorf("--fault: %w", err)
		}
	}
	if c.Consumer, err = lab.ParseShare(f.Consumer); err != nil {
		return c, fmt.Errorf("--consumer: %w", err)
	}
	if f.Interval < 100*time.Millisecond {
		return c, fmt.Errorf("--interval: a time of 100ms or more, as 30s, not %s", f.Interval)
	}
	return c, nil
}

// factoryOf makes the chips of a lab under a trust set whose EUMs are ours.
func factoryOf(set *trust.Set) (f lab.Factory, err error) {
	for _, m := range set.Members {
		f.Roots = append(f.Roots, m.Identity.CI)
	}
	m, ok := set.Member(trust.NIST)
	if !ok || m.EUM == nil {
		return f, fmt.Errorf("set %s has no EUM of ours on P-256, so that no eUICC can be made under it", set.Name)
	}
	f.EUM = m.EUM
	return f, nil
}

// serverOf is a server of this machine as devices reach it.
func serverOf(at addresses, user, password string) (lab.Server, error) {
	es9, err := url.Parse(at.ES9URL)
	if err != nil {
		return lab.Server{}, err
	}
	name := at.SMDPAddress
	if _, _, err := net.SplitHostPort(name); err != nil {
		name = net.JoinHostPort(name, "443")
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return lab.Server{
		URL: at.BaseURL, User: user, Password: password,
		// Whatever the server is called in the world, it is here.
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.EqualFold(address, name) {
				address = es9.Host
			}
			return dialer.DialContext(ctx, network, address)
		},
	}, nil
}

// lab makes a lab whose devices live with the server of the data directory, in a
// process of its own.
func (f dataFlags) lab(ctx context.Context, config lab.Config) (*lab.Lab, error) {
	found, err := f.credentials(ctx)
	if err != nil {
		return nil, err
	}
	at, err := f.addresses()
	if err != nil {
		return nil, err
	}
	set, err := trust.Load(f.pkiDir(), at.Set)
	if err != nil {
		return nil, err
	}
	if config.Factory, err = factoryOf(set); err != nil {
		return nil, err
	}
	if found.RMUser == "" || found.RMPassword == "" {
		return nil, errors.New("the server has no user of the Remote Manager API whose password is known here: devices cannot enrol")
	}
	if config.Server, err = serverOf(at, found.RMUser, found.RMPassword); err != nil {
		return nil, err
	}
	useMemory()
	return lab.New(config)
}

// labRunCommand runs virtual devices in a process of their own.
type labRunCommand struct {
	dataFlags
	labFlags
	Devices int           `help:"How many devices." default:"100" placeholder:"N"`
	State   string        `help:"Directory in which the devices survive; they are in memory without one." type:"path" placeholder:"DIR"`
	For     time.Duration `help:"End after this time; without it the devices live until they are stopped." placeholder:"DURATION"`
	Plan    bool          `help:"Print who the devices are and what will happen to them, as JSON lines, and end."`
	Horizon uint64        `help:"With --plan: how many requests, sessions and so on of each device." default:"200"`
	JSON    bool          `name:"json" help:"Print a summary as JSON at the end."`
}

func (c labRunCommand) Run(ctx context.Context) error {
	config, err := c.config(c.Devices)
	if err != nil {
		return err
	}
	if c.Plan {
		return c.printPlan(config)
	}
	config.Dir = c.State
	l, err := c.lab(ctx, config)
	if err != nil {
		return err
	}
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	watched := watch(l, !c.JSON)
	err = l.Run(ctx)
	watched()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(l.Summary())
	}
	printLab(l.Summary())
	return nil
}

// printPlan writes the plans without a server: they need none.
func (c labRunCommand) printPlan(config lab.Config) error {
	if err := lab.CheckDevices(c.Devices); err != nil {
		return err
	}
	out := bufio.NewWriter(stdout)
	encoder := json.NewEncoder(out)
	for n := range c.Devices {
		p, err := lab.NewPlan(config.Seed, n+1, 1, trust.EIDPrefix, config.Rates)
		if err != nil {
			return err
		}
		if err := encoder.Encode(p.Text(config.Consumer, c.Horizon)); err != nil {
			return err
		}
	}
	return out.Flush()
}

// watch shows people how a lab is doing: a line that changes where there is a
// screen, and one every ten seconds where there is none. What it returns ends
// that.
func watch(l *lab.Lab, on bool) (end func()) {
	if !on {
		return func() {}
	}
	screen := isatty.IsTerminal(os.Stderr.Fd())
	every := 10 * time.Second
	if screen {
		every = time.Second
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		polls, at := int64(0), time.Now()
		for {
			select {
			case <-done:
				if screen {
					fmt.Fprint(os.Stderr, "\r\x1b[K")
				}
				return
			case now := <-tick.C:
				s := l.Summary()
				line := s.Line(float64(s.Polls-polls) / now.Sub(at).Seconds())
				polls, at = s.Polls, now
				if screen {
					fmt.Fprint(os.Stderr, "\r\x1b[K"+line)
					continue
				}
				fmt.Fprintln(os.Stderr, line)
			}
		}
	}()
	return func() { close(done); <-ended }
}

// printLab tells people what a lab has come to.
func printLab(s lab.Summary) {
	fmt.Fprintf(stdout, `%d devices of seed %d, %.0f s, %.0f MB
  polls        %8d   %.1f a second, %d failed
  enrolled     %8d
  packages     %8d   and %d with errors
  downloads    %8d   and %d with errors
  rollbacks    %8d
`, s.Devices, s.Seed, s.Seconds, s.Memory, s.Polls, s.PollRate, s.PollErrs, s.Enrolled, s.Packages, s.FailedPackages,
		s.Downloads, s.FailedDownloads, s.Rollbacks)
	for _, k := range lab.Kinds() {
		if n := s.Faults[k]; n > 0 {
			meaning, _ := k.Meaning()
			fmt.Fprintf(stdout, "  %-18s %6d   %s\n", k, n, meaning)
		}
	}
	texts := make([]string, 0, len(s.Errors))
	for text := range s.Errors {
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(a, b string) int { return int(s.Errors[b] - s.Errors[a]) })
	for _, text := range texts {
		fmt.Fprintf(stdout, "  %6d times: %s\n", s.Errors[text], text)
	}
}
