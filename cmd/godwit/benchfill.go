package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"godwit/db"
	"godwit/sim"
	"godwit/trust"
)

// benchFillCommand makes Sims for measuring what depends on their number.
type benchFillCommand struct {
	dataFlags
	Sims    int    `help:"How many." default:"1000000"`
	First   int    `help:"Number of the first one: how many an earlier run has made." default:"0"`
	Plastic bool   `help:"Cards of plastic, without an ESimProfile each."`
	Account string `help:"Whose they are; the main account's by default." placeholder:"AC…"`
	JSON    bool   `name:"json" help:"Print one JSON object."`
}

// The numbers of such cards: ICCIDs and IMSIs of test networks, EIDs of chips
// that only the built-in test set would vouch for.
const (
	fillICCID = "8999955"
	fillIMSI  = "99955"
	fillEID   = trust.EIDPrefix + "95"
)

// mostFilled is what the shortest of these numbers has room for.
const mostFilled = 1_000_000_000

// Validate refuses numbers that there are none of.
func (c benchFillCommand) Validate() error {
	if c.Sims < 1 || c.First < 0 || c.First+c.Sims > mostFilled {
		return fmt.Errorf("--sims is 1 or more, --first 0 or more, and there is room for %d in all", mostFilled)
	}
	return nil
}

func (c benchFillCommand) Run(ctx context.Context) error {
	release, err := c.claim()
	if err != nil {
		return err
	}
	defer release()
	store, done, err := c.cards(ctx)
	if err != nil {
		return err
	}
	defer done()
	f := sim.Filling{Account: c.Account, First: c.First, Sims: c.Sims, ICCID: fillICCID, IMSI: fillIMSI, EID: fillEID}
	if c.Plastic {
		f.EID = ""
	}
	if f.Account == "" {
		if err := store.DB.Read(ctx, func(q db.Query) error {
			f.Account, err = mainAccount(ctx, q, store.Accounts)
			return err
		}); err != nil {
			return err
		}
	}
	m := newMeter("Sims", c.Sims)
	began := time.Now()
	err = store.Fill(ctx, f, m.at)
	took := time.Since(began).Seconds()
	m.end()
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(stdout).Encode(map[string]any{"sims": c.Sims, "seconds": took})
	}
	fmt.Fprintf(stdout, "%d Sims made in %.1f s\n", c.Sims, took)
	return nil
}
