package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sync/errgroup"

	"godwit/command"
	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/rsp"
	"godwit/sim"
	"godwit/smdp"
	"godwit/smsc"
)

// commandFlags say how messages reach devices.
type commandFlags struct {
	SMSC              string   `name:"smsc" help:"SMSC that SMS commands go through, by SMPP v3.4. Without one they wait." placeholder:"[tls://]HOST:PORT"`
	SMSCUser          string   `name:"smsc-user" help:"Our system_id at the SMSC." placeholder:"NAME"`
	SMSCPassword      string   `name:"smsc-password" help:"Our password there; better given as GODWIT_SMSC_PASSWORD." placeholder:"PASSWORD"`
	SMSCType          string   `name:"smsc-type" help:"Our system_type there, if it wants one." placeholder:"NAME"`
	SMSCSource        string   `name:"smsc-source" help:"Sender of SMS commands, as devices see it." default:"000" placeholder:"DIGITS"`
	SMSCWindow        int      `name:"smsc-window" help:"Messages that may wait for the SMSC's answer at a time." default:"16" placeholder:"N"`
	SMSCRate          int      `name:"smsc-rate" help:"Messages a second at most; 0 for no limit of ours." default:"0" placeholder:"N"`
	IPCommandListen   string   `name:"ip-command-listen" help:"UDP port that IP commands leave from and devices' datagrams come to. It must be reachable for devices, and for nobody who could forge their addresses. Without one IP commands fail." placeholder:"HOST:PORT"`
	IPCommandDevice   []string `name:"ip-command-device" help:"A device with a fixed address. Repeat it for several. Others are known by their data sessions." placeholder:"ICCID=ADDRESS"`
	ipCommandListener *command.Port
}

// listen checks the flags and opens the port of IP commands.
func (c *commandFlags) listen() (err error) {
	if _, _, err := c.smsc(); err != nil {
		return err
	}
	if _, err := c.devices(); err != nil {
		return err
	}
	if c.IPCommandListen == "" {
		return nil
	}
	if c.ipCommandListener, err = command.Listen(c.IPCommandListen); err != nil {
		return fmt.Errorf("--ip-command-listen: %w", err)
	}
	return nil
}

// close gives the port back.
func (c *commandFlags) close() error {
	if c.ipCommandListener == nil {
		return nil
	}
	return c.ipCommandListener.Close()
}

// smsc reads --smsc.
func (c *commandFlags) smsc() (address string, secure *tls.Config, err error) {
	address, isTLS := strings.CutPrefix(c.SMSC, "tls://")
	if address == "" {
		return "", nil, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", nil, fmt.Errorf("--smsc: %w", err)
	}
	if c.SMSCUser == "" {
		return "", nil, errors.New("--smsc needs --smsc-user")
	}
	if c.SMSCWindow < 1 || c.SMSCRate < 0 {
		return "", nil, errors.New("--smsc-window must be 1 at least, and --smsc-rate not negative")
	}
	if isTLS {
		secure = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	}
	return address, secure, nil
}

// devices reads --ip-command-device.
func (c *commandFlags) devices() (map[ident.ICCID]netip.Addr, error) {
	known := map[ident.ICCID]netip.Addr{}
	for _, text := range c.IPCommandDevice {
		name, address, _ := strings.Cut(text, "=")
		iccid, err := ident.ParseICCID(name)
		if err != nil {
			return nil, fmt.Errorf("--ip-command-device %q: %w", text, err)
		}
		if known[iccid], err = netip.ParseAddr(address); err != nil {
			return nil, fmt.Errorf("--ip-command-device %q: %w", text, err)
		}
	}
	return known, nil
}

// joinCommands makes the part that sends and takes messages. Whose sessions are
// asked beside the fixed addresses, and who counts, is the caller's to say.
func (a *app) joinCommands(c commandFlags, sessions []command.Sessions, count func(context.Context, *db.Tx, string) error) error {
	devices, err := c.devices()
	if err != nil {
		return err
	}
	address, secure, err := c.smsc()
	if err != nil {
		return err
	}
	a.commands = &command.Store{
		DB: a.db, Jobs: a.queue, Events: a.events, Callbacks: a.calls, Sims: a.sims,
		Numbers: numbers{a.smdp, a.sims}, Port: c.ipCommandListener,
		Sessions: append(command.Either{command.Table{Sims: a.sims, Devices: devices}}, sessions...), Count: count,
	}
	if address != "" {
		a.commands.SMSC = smsc.New(smsc.Options{
			Address: address, TLS: secure, SystemID: c.SMSCUser, Password: db.Secret(c.SMSCPassword), SystemType: c.SMSCType,
			Source: smsc.Number{Digits: c.SMSCSource}, Window: c.SMSCWindow, Rate: c.SMSCRate,
			Take: a.commands.Take, Bound: a.commands.Bound,
		})
	}
	a.commands.Register()
	return nil
}

// runCommands keeps the links to the SMSC and to devices until ctx is over.
func (a *app) runCommands(ctx context.Context) error {
	var g errgroup.Group
	if client := a.commands.SMSC; client != nil {
		g.Go(func() error { return client.Run(ctx) })
	}
	if port := a.commands.Port; port != nil {
		g.Go(func() error { return port.Run(ctx, a.commands.TakeDatagrams) })
	}
	return g.Wait()
}

// numbers are the SM-DP+'s stock and the list of cards as the part that sends
// messages sees them. A card with a telephone number is reached by that, any
// other by its IMSI.
type numbers struct {
	server *smdp.Server
	sims   *sim.Store
}

func (n numbers) Number(ctx context.Context, iccid ident.ICCID) (smsc.Number, error) {
	var imsi ident.IMSI
	var msisdn string
	personal, err := n.server.Personal(ctx, iccid)
	if _, refused := rsp.AsFailure(err); refused {
		var card sim.Card
		card, err = n.sims.Card(ctx, iccid)
		imsi, msisdn = card.IMSI, card.MSISDN
	} else {
		imsi, msisdn = personal.IMSI, personal.MSISDN
	}
	if fault.Is(err, fault.NotFound) {
		return smsc.Number{}, fault.New(fault.NotFound, "the number of the card %s is not known", iccid)
	}
	if err != nil {
		return smsc.Number{}, err
	}
	if digits := strings.TrimPrefix(msisdn, "+"); digits != "" {
		return smsc.Number{Plan: smsc.E164, Digits: digits}, nil
	}
	return smsc.Number{Plan: smsc.E212, Digits: string(imsi)}, nil
}

func (n numbers) ICCID(ctx context.Context, number smsc.Number) (iccid ident.ICCID, err error) {
	var imsi ident.IMSI
	if number.Plan == smsc.E212 {
		imsi = ident.IMSI(number.Digits)
	}
	iccid, ok, err := n.server.Owner(ctx, imsi, number.Digits)
	if err == nil && !ok {
		err = n.sims.DB.Read(ctx, func(q db.Query) error {
			iccid, err = n.sims.CardOf(ctx, q, imsi, number.Digits)
			return err
		})
	}
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "the number %s is nobody's", number.Digits)
	}
	return iccid, err
}
