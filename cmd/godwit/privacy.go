package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"godwit/event"
	"godwit/privacy"
	"godwit/usage"
)

// retentionFlags are the policy by which personal data goes.
type retentionFlags struct {
	RetentionMessages time.Duration `help:"Age at which the texts of SMS and IP commands go, as 2160h, which is 90 days. They stay by default." placeholder:"AGE"`
	RetentionEvidence time.Duration `help:"Age at which the details and evidence of events go, and callbacks that have ended. They stay by default." placeholder:"AGE"`
	RetentionDevices  time.Duration `help:"Age at which the EIDs of installed profiles go, and the addresses of ended data sessions. They stay by default." placeholder:"AGE"`
}

// policy reads the flags.
func (c retentionFlags) policy() (privacy.Policy, error) {
	for name, age := range map[string]time.Duration{"messages": c.RetentionMessages, "evidence": c.RetentionEvidence, "devices": c.RetentionDevices} {
		if age != 0 && age < time.Hour {
			return privacy.Policy{}, fmt.Errorf("--retention-%s: an age of 1h or more, such as 2160h, which is 90 days, not %s", name, age)
		}
	}
	return privacy.Policy{Messages: c.RetentionMessages, Evidence: c.RetentionEvidence, Devices: c.RetentionDevices}, nil
}

// privacyCommand deletes personal data. A server may be running meanwhile;
// its own policy are [retentionFlags].
type privacyCommand struct {
	Erase  privacyEraseCommand  `cmd:"" help:"Delete what is known of the device and the messages of one Sim."`
	Expire privacyExpireCommand `cmd:"" help:"Delete what has become older than it may."`
}

type privacyEraseCommand struct {
	dataFlags
	SIM  string `arg:"" name:"sim" help:"SID of the Sim, HS…"`
	Why  string `help:"Reason, for the record; no personal data itself." default:"request"`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (f dataFlags) privacy(ctx context.Context) (*privacy.Store, func() error, error) {
	d, err := f.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &privacy.Store{DB: d, Events: event.New(d), Silence: usage.Silence}, d.Close, nil
}

func (c privacyEraseCommand) Run(ctx context.Context) error {
	s, done, err := c.privacy(ctx)
	if err != nil {
		return err
	}
	defer done()
	proof, err := s.Erase(ctx, c.SIM, c.Why)
	return showProof(proof, c.JSON, err)
}

// showProof prints what was deleted, also where that did not all come to an end.
func showProof(proof privacy.Proof, asJSON bool, err error) error {
	switch {
	case proof == nil:
		return err
	case asJSON:
		return errors.Join(err, printJSON(proof))
	case len(proof) == 0:
		fmt.Fprintln(stdout, "there was nothing to delete")
	}
	for _, what := range slices.Sorted(maps.Keys(proof)) {
		fmt.Fprintf(stdout, "%-24s %9d deleted\n", what, proof[what])
	}
	return err
}

type privacyExpireCommand struct {
	dataFlags
	Messages time.Duration `help:"Age at which the texts of SMS and IP commands go, as 2160h, which is 90 days." placeholder:"AGE"`
	Evidence time.Duration `help:"Age at which the details and evidence of events go, and callbacks that have ended." placeholder:"AGE"`
	Devices  time.Duration `help:"Age at which the EIDs of installed profiles go, and the addresses of ended data sessions." placeholder:"AGE"`
	JSON     bool          `name:"json" help:"Print JSON."`
}

// Validate refuses a policy that is none.
func (c privacyExpireCommand) Validate() error {
	if min(c.Messages, c.Evidence, c.Devices) < 0 || max(c.Messages, c.Evidence, c.Devices) == 0 {
		return errors.New("give --messages, --evidence or --devices: an age such as 2160h, which is 90 days")
	}
	return nil
}

func (c privacyExpireCommand) Run(ctx context.Context) error {
	s, done, err := c.privacy(ctx)
	if err != nil {
		return err
	}
	defer done()
	proof, err := s.Expire(ctx, privacy.Policy{Messages: c.Messages, Evidence: c.Evidence, Devices: c.Devices})
	return showProof(proof, c.JSON, err)
}
