package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"godwit/charge"
)

// chargeCommand is the operator's side of prices and the ledger.
type chargeCommand struct {
	Prices chargePricesCommand `cmd:"" help:"Show the price list."`
	Set    chargeSetCommand    `cmd:"" help:"Set what profiles cost from now on."`
	Remove chargeRemoveCommand `cmd:"" help:"Take a price off the list."`
	Export chargeExportCommand `cmd:"" help:"Write the ledger as CSV."`
}

// priceKey says whose price of what.
type priceKey struct {
	Account     string `help:"Account; every account when empty." placeholder:"AC…"`
	ProfileType string `name:"type" help:"Profile type; every type when empty."`
}

func (f dataFlags) ledger(ctx context.Context) (*charge.Ledger, func() error, error) {
	d, err := f.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &charge.Ledger{DB: d}, d.Close, nil
}

type chargePricesCommand struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c chargePricesCommand) Run(ctx context.Context) error {
	l, done, err := c.ledger(ctx)
	if err != nil {
		return err
	}
	defer done()
	prices, err := l.Prices(ctx, "")
	if err != nil {
		return err
	}
	if c.JSON {
		type row struct {
			Account  string `json:"account"`
			Type     string `json:"profile_type"`
			Amount   string `json:"amount"`
			Currency string `json:"currency"`
		}
		rows := []row{}
		for _, p := range prices {
			rows = append(rows, row{p.Account, p.Type, p.Amount.String(), p.Currency})
		}
		return printJSON(rows)
	}
	for _, p := range prices {
		account, kind := p.Account, p.Type
		if account == "" {
			account = "every account"
		}
		if kind == "" {
			kind = "every type"
		}
		fmt.Fprintf(stdout, "%-34s  %-20s  %s %s\n", account, kind, p.Amount, p.Currency)
	}
	return nil
}

type chargeSetCommand struct {
	dataFlags
	priceKey
	Amount   string `arg:"" help:"Price of one profile, such as 1.25."`
	Currency string `arg:"" help:"ISO 4217, such as EUR."`
}

func (c chargeSetCommand) Run(ctx context.Context) error {
	amount, err := charge.ParseAmount(c.Amount)
	if err != nil {
		return err
	}
	l, done, err := c.ledger(ctx)
	if err != nil {
		return err
	}
	defer done()
	return l.SetPrice(ctx, charge.Price{Account: c.Account, Type: c.ProfileType, Amount: amount, Currency: c.Currency})
}

type chargeRemoveCommand struct {
	dataFlags
	priceKey
}

func (c chargeRemoveCommand) Run(ctx context.Context) error {
	l, done, err := c.ledger(ctx)
	if err != nil {
		return err
	}
	defer done()
	return l.RemovePrice(ctx, c.Account, c.ProfileType)
}

type chargeExportCommand struct {
	dataFlags
	Account string    `help:"Only this account's." placeholder:"AC…"`
	Order   string    `help:"Only this order's." placeholder:"HO…"`
	From    time.Time `help:"From this moment on." format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME"`
	To      time.Time `help:"Up to this moment." format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME"`
}

func (c chargeExportCommand) Run(ctx context.Context) error {
	l, done, err := c.ledger(ctx)
	if err != nil {
		return err
	}
	defer done()
	return l.Export(ctx, os.Stdout, charge.Filter{Account: c.Account, Order: c.Order, From: c.From, To: c.To})
}
