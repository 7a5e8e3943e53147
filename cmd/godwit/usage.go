package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"godwit/account"
	"godwit/callback"
	"godwit/charge"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/jobs"
	"godwit/sim"
	"godwit/smdp"
	"godwit/usage"
)

// usageFlags say where reports of data usage come from.
type usageFlags struct {
	RADIUSListen string   `name:"radius-listen" help:"UDP port for RADIUS accounting from the core network's gateways, usually 1813." placeholder:"HOST:PORT"`
	RADIUSClient []string `name:"radius-client" help:"A gateway, or a network of gateways, with its shared secret; better given as GODWIT_RADIUS_CLIENT. Repeat it for several." placeholder:"ADDRESS[/BITS]=SECRET"`
	radius       net.PacketConn
	clients      []usage.Client
}

// gateways reads the flags: who may report.
func (c *usageFlags) gateways() (all []usage.Client, err error) {
	for _, text := range c.RADIUSClient {
		one, err := usage.ParseClient(text)
		if err != nil {
			return nil, fmt.Errorf("--radius-client: %w", err)
		}
		all = append(all, one)
	}
	switch {
	case c.RADIUSListen == "" && len(all) > 0:
		return nil, errors.New("--radius-client needs --radius-listen")
	case c.RADIUSListen != "" && len(all) == 0:
		return nil, errors.New("--radius-listen needs a --radius-client: reports are believed only from gateways with a shared secret")
	}
	return all, nil
}

// open reads the flags and opens the port.
func (c *usageFlags) open() (err error) {
	if c.clients, err = c.gateways(); err != nil || c.RADIUSListen == "" {
		return err
	}
	if c.radius, err = net.ListenPacket("udp", c.RADIUSListen); err != nil {
		return fmt.Errorf("--radius-listen: %w", err)
	}
	return nil
}

// shut gives the port back.
func (c *usageFlags) shut() error {
	if c.radius == nil {
		return nil
	}
	return c.radius.Close()
}

// usageOf makes the part that keeps what Sims use.
func usageOf(d *db.DB, queue *jobs.Queue, events *event.Log, calls *callback.Sender, sims *sim.Store, server *smdp.Server) *usage.Store {
	s := &usage.Store{DB: d, Jobs: queue, Events: events, Callbacks: calls, Sims: sims, Stock: subscribers{server, sims}}
	s.Register()
	return s
}

// runUsage takes reports until ctx is over.
func (a *app) runUsage(ctx context.Context) error {
	if a.settings.Usage.radius == nil {
		return nil
	}
	l := &usage.Listener{Store: a.usage, Clients: a.settings.Usage.clients}
	return l.Run(ctx, a.settings.Usage.radius)
}

// subscribers are the SM-DP+'s stock and the list of cards as one list of the
// core network's subscribers.
type subscribers struct {
	server *smdp.Server
	sims   *sim.Store
}

func (s subscribers) Find(ctx context.Context, q db.Query, who usage.Subscriber) (ident.ICCID, error) {
	iccid, err := s.server.Subscriber(ctx, q, who.IMSI, who.MSISDN)
	if fault.Is(err, fault.NotFound) {
		return s.sims.CardOf(ctx, q, who.IMSI, who.MSISDN)
	}
	return iccid, err
}

// usageCommand is the operator's side of data usage.
type usageCommand struct {
	Import usageImportCommand `cmd:"" help:"Count what Sims have used, from a CSV or JSON file."`
}

type usageImportCommand struct {
	dataFlags
	File string `arg:"" help:"The file, .json for JSON, else CSV; - is standard input, CSV." placeholder:"FILE"`
	JSON bool   `name:"json" help:"The file is JSON, whatever its name."`
}

func (c usageImportCommand) Run(ctx context.Context) error {
	content, err := readInput(c.File)
	if err != nil {
		return err
	}
	read := usage.ReadCSV
	if c.JSON || strings.EqualFold(filepath.Ext(c.File), ".json") {
		read = usage.ReadJSON
	}
	lines, err := read(bytes.NewReader(content))
	if err != nil {
		return err
	}
	d, err := c.dataFlags.open(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	queue, err := jobs.New(d)
	if err != nil {
		return err
	}
	events := event.New(d)
	networks, err := sim.LoadCatalogue(ctx, d)
	if err != nil {
		return err
	}
	calls := callback.New(d, callback.Options{})
	// The server carries out what follows: this process only writes it down.
	sims := &sim.Store{
		DB: d, Jobs: queue, Events: events, Accounts: account.New(d, events), Callbacks: calls,
		Ledger: &charge.Ledger{DB: d}, Catalogue: networks,
	}
	server, err := smdp.Open(ctx, d, smdp.Config{Addresses: []string{"localhost"}})
	if err != nil {
		return err
	}
	done, err := usageOf(d, queue, events, calls, sims, server).Import(ctx, "", content, lines)
	if err != nil {
		return err
	}
	if done.Repeated {
		fmt.Fprintf(stdout, "%s was imported before; nothing was counted again\n", c.File)
		return nil
	}
	fmt.Fprintf(stdout, "%d lines imported\n", done.Lines)
	return nil
}

// readInput reads a file, or standard input.
func readInput(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}
