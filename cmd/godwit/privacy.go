package main

import (
	"context"
	"errors"
	"time"

	"godwit/event"
	"godwit/privacy"
)

// privacyCommand deletes personal data. Run expire from a timer to make it a
// policy; a server may be running meanwhile.
type privacyCommand struct {
	Erase  privacyEraseCommand  `cmd:"" help:"Delete what is known of the device and the messages of one Sim."`
	Expire privacyExpireCommand `cmd:"" help:"Delete what has become older than it may."`
}

type privacyEraseCommand struct {
	dataFlags
	SIM string `arg:"" name:"sim" help:"SID of the Sim, HS…"`
	Why string `help:"Reason, for the record; no personal data itself." default:"request"`
}

func (f dataFlags) privacy(ctx context.Context) (*privacy.Store, func() error, error) {
	d, err := f.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &privacy.Store{DB: d, Events: event.New(d)}, d.Close, nil
}

func (c privacyEraseCommand) Run(ctx context.Context) error {
	s, done, err := c.privacy(ctx)
	if err != nil {
		return err
	}
	defer done()
	proof, err := s.Erase(ctx, c.SIM, c.Why)
	if err != nil {
		return err
	}
	return printJSON(proof)
}

type privacyExpireCommand struct {
	dataFlags
	Messages time.Duration `help:"Age at which the text of SMS and IP commands goes." placeholder:"2160h"`
	Evidence time.Duration `help:"Age at which the details and evidence of events, and what callbacks said, go." placeholder:"8760h"`
}

func (c privacyExpireCommand) Run(ctx context.Context) error {
	if c.Messages < 0 || c.Evidence < 0 || c.Messages == 0 && c.Evidence == 0 {
		return errors.New("give --messages or --evidence: an age such as 2160h, which is 90 days")
	}
	s, done, err := c.privacy(ctx)
	if err != nil {
		return err
	}
	defer done()
	proof, err := s.Expire(ctx, privacy.Policy{Messages: c.Messages, Evidence: c.Evidence})
	if err != nil {
		return err
	}
	return printJSON(proof)
}
