package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"godwit/carrier"
)

// coreFlags say which core network serves the Sims.
type coreFlags struct {
	Core      string        `help:"Core network that serves the Sims: osmohlr://HOST:PORT (control interface), open5gs+mongodb://HOST[:PORT]/DATABASE, or built-in." default:"built-in" placeholder:"URL"`
	CoreCheck time.Duration `help:"How often every Sim is compared with the core network, and the network repaired; 0 for never. The built-in one is not compared." default:"1h" placeholder:"DURATION"`
}

// interval returns how often the network is compared. The built-in one shares
// the Sims' database, so that nobody changes one without the other.
func (c coreFlags) interval() time.Duration {
	if c.Core == "" || c.Core == carrier.BuiltIn {
		return 0
	}
	return max(c.CoreCheck, 0)
}

const coreFile = "core" // the address of the core network, where it is not built in

// keepCore remembers the core network for the commands that come later. The
// address may hold a password.
func (f dataFlags) keepCore(address string) error {
	name := filepath.Join(f.Data, coreFile)
	if address != "" && address != carrier.BuiltIn {
		return keepFile(name, []byte(address+"\n"), 0o600)
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keptCore returns the core network that serve was last given.
func (f dataFlags) keptCore() (string, error) {
	kept, err := os.ReadFile(filepath.Join(f.Data, coreFile))
	if errors.Is(err, fs.ErrNotExist) {
		return carrier.BuiltIn, nil
	}
	return strings.TrimSpace(string(kept)), err
}

// coreCommand looks after the core network.
type coreCommand struct {
	Check coreCheckCommand `cmd:"" help:"Compare every Sim with what the core network holds. Exit code 1 if something differs and was not repaired."`
}

type coreCheckCommand struct {
	dataFlags
	Core    string `help:"Address of the core network; what serve was last given, by default." placeholder:"URL"`
	Repair  bool   `help:"Tell the network again where it differs."`
	JSON    bool   `name:"json" help:"Print one JSON object."`
	Verbose bool   `short:"v" help:"Log every step."`
}

func (c coreCheckCommand) Run(ctx context.Context) error {
	if !c.Verbose {
		slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	}
	a, err := c.app(ctx)
	if err != nil {
		return err
	}
	defer a.db.Close()
	defer a.core.Core.Close()
	drifts := []carrier.Drift{}
	report, err := a.core.Check(ctx, c.Repair, func(d carrier.Drift) {
		drifts = append(drifts, d)
		if !c.JSON {
			fmt.Fprintln(stdout, describeDrift(d))
		}
	})
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(struct {
			carrier.Report
			Core   string          `json:"core"`
			Drifts []carrier.Drift `json:"drifts"`
		}{report, carrier.Redacted(a.settings.Core), drifts})
	} else {
		_, err = fmt.Fprintf(stdout, "%s: %d Sims compared, %d differ, %d repaired\n", carrier.Redacted(a.settings.Core), report.Sims, report.Drifted, report.Repaired)
	}
	if err == nil && report.Drifted > report.Repaired {
		return exitError(exitFailed)
	}
	return err
}

// app joins the parts as a server does, so that a Sim is wanted here exactly as
// it is there, and serves nothing.
func (c coreCheckCommand) app(ctx context.Context) (*app, error) {
	if c.Core == "" {
		kept, err := c.keptCore()
		if err != nil {
			return nil, err
		}
		c.Core = kept
	}
	d, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	s := settings{Core: c.Core, SMDPAddress: []string{"localhost"}}
	if at, err := c.addresses(); err == nil {
		s.SMDPAddress = []string{at.SMDPAddress}
	}
	a, err := newApp(ctx, d, s)
	if err != nil {
		d.Close()
		return nil, err
	}
	return a, nil
}

func describeDrift(d carrier.Drift) string {
	var what []string
	for _, one := range d.Differences {
		what = append(what, one.String())
	}
	text := fmt.Sprintf("%s  IMSI %s: %s", d.SIM, d.IMSI, strings.Join(what, ", "))
	switch {
	case d.Repaired:
		text += "; repaired"
	case d.Problem != "":
		text += "; not repaired: " + d.Problem
	}
	return text
}
