package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"godwit/account"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/saip"
	"godwit/sim"
)

// cardCommand looks after SIMs that are made elsewhere.
type cardCommand struct {
	Import cardImportCommand `cmd:"" help:"Take a list of cards, or of profiles that a factory has installed: all of it or nothing."`
	Count  cardCountCommand  `cmd:"" help:"Count cards."`
}

type cardImportCommand struct {
	dataFlags
	File    string `arg:"" type:"existingfile" help:"CSV file; its first line names the columns, separated by commas or semicolons."`
	Account string `help:"Make them Sims of this account at once. Otherwise customers register them with their codes." placeholder:"AC…"`
	Codes   string `help:"Where to write the registration codes, as CSV." placeholder:"FILE"`
}

// Help is shown by --help.
func (cardImportCommand) Help() string {
	var b strings.Builder
	b.WriteString("Columns:\n")
	for _, c := range sim.CardColumns {
		fmt.Fprintf(&b, "\n    %-8s %s", c.Name, c.Meaning)
	}
	return b.String()
}

// cards opens the store of a data directory for looking after its cards.
func (f dataFlags) cards(ctx context.Context) (*sim.Store, func() error, error) {
	d, err := f.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	events := event.New(d)
	return &sim.Store{DB: d, Events: events, Accounts: account.New(d, events)}, d.Close, nil
}

func (c cardImportCommand) Run(ctx context.Context) error {
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	cards, err := sim.ReadCards(file)
	if err != nil {
		return err
	}
	s, done, err := c.cards(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := c.writeCodes(cards); err != nil {
		return err
	}
	if err := s.ImportCards(ctx, c.Account, filepath.Base(c.File), cards); err != nil {
		return err
	}
	if c.Account != "" {
		fmt.Fprintf(stdout, "%d cards are Sims of %s now\n", len(cards), c.Account)
		return nil
	}
	fmt.Fprintf(stdout, "%d cards can be registered now\n", len(cards))
	return nil
}

// writeCodes writes the codes before anything is stored: those that are made up
// are told nowhere else.
func (c cardImportCommand) writeCodes(cards []sim.Card) error {
	if c.Codes == "" {
		return nil
	}
	file, err := os.OpenFile(c.Codes, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := csv.NewWriter(file)
	_ = w.Write([]string{"iccid", "code"}) // what fails is told by Error
	for _, one := range cards {
		_ = w.Write([]string{string(one.ICCID), string([]byte(one.Code))})
	}
	w.Flush()
	if err := w.Error(); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

type cardCountCommand struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c cardCountCommand) Run(ctx context.Context) error {
	s, done, err := c.cards(ctx)
	if err != nil {
		return err
	}
	defer done()
	free, registered, err := s.CountCards(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(map[string]int64{"registrable": int64(free), "registered": int64(registered)})
	}
	fmt.Fprintf(stdout, "%d can be registered, %d are\n", free, registered)
	return nil
}

// personal returns the keys of a Sim for the core network: a profile's from the
// SM-DP+, a card's from its list.
func (a *app) personal(ctx context.Context, iccid ident.ICCID) (saip.Personal, error) {
	c, err := a.sims.Card(ctx, iccid)
	if fault.Is(err, fault.NotFound) {
		return a.smdp.Personal(ctx, iccid)
	}
	p := saip.Personal{ICCID: c.ICCID, IMSI: c.IMSI, MSISDN: c.MSISDN, K: c.K, OPc: c.OPc, Algorithm: saip.Milenage}
	if len(c.OPc) == 32 {
		p.Algorithm = saip.TUAK
	}
	return p, err
}
