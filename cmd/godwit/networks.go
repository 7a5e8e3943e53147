package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"godwit/event"
	"godwit/sim"
)

// networksCommand looks after the catalogue of mobile networks.
type networksCommand struct {
	Import networksImportCommand `cmd:"" help:"Add the networks of a file to those that come with the program."`
	List   networksListCommand   `cmd:"" help:"List all networks that there are."`
}

type networksImportCommand struct {
	dataFlags
	File string `arg:"" type:"existingfile" help:"Lines of country, name and identifiers with tabs between them, a JSON list of codes such as mcc-mnc-list.json of the npm package mcc-mnc-list, or serviceproviders.xml of Debian's package mobile-broadband-provider-info."`
}

func (c networksImportCommand) Run(ctx context.Context) error {
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	list, passed, err := sim.ReadNetworks(file)
	if err != nil {
		return err
	}
	d, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := sim.ImportNetworks(ctx, d, event.New(d), filepath.Base(c.File), list); err != nil {
		return err
	}
	all, err := sim.LoadCatalogue(ctx, d)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d networks were read, %d codes passed over; %d networks are known to servers that start from now on\n", len(list), passed, all.Len())
	return nil
}

type networksListCommand struct {
	dataFlags
	Country string `help:"Only those of this country, two letters."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Validate refuses a country that is none.
func (c networksListCommand) Validate() error {
	if c.Country == "" {
		return nil
	}
	if _, err := sim.ParseCountry(c.Country); err != nil {
		return fmt.Errorf("--country: %w", err)
	}
	return nil
}

func (c networksListCommand) Run(ctx context.Context) error {
	d, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	all, err := sim.LoadCatalogue(ctx, d)
	if err != nil {
		return err
	}
	list := all.Networks(sim.NetworkFilter{Country: c.Country}, sim.Page{Limit: all.Len()}).Items
	if c.JSON {
		type row struct {
			SID         string   `json:"sid"`
			Country     string   `json:"iso_country"`
			Name        string   `json:"friendly_name"`
			Identifiers []string `json:"identifiers"` // MCC and MNC
		}
		rows := []row{}
		for _, n := range list {
			one := row{SID: n.SID, Country: n.Country, Name: n.Name}
			for _, p := range n.Identifiers {
				one.Identifiers = append(one.Identifiers, p.String())
			}
			rows = append(rows, one)
		}
		return printJSON(rows)
	}
	for _, n := range list {
		fmt.Fprintf(stdout, "%s  %s  %-40s %v\n", n.SID, n.Country, n.Name, n.Identifiers)
	}
	return nil
}
