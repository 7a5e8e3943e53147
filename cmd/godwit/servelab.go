package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"godwit/db"
	"godwit/lab"
	"godwit/trust"
)

// sandboxFlags have virtual devices live inside the server's process.
type sandboxFlags struct {
	Lab        int      `name:"lab" help:"Have so many virtual devices live with the server, kept in its data directory: a sandbox." placeholder:"N"`
	LabOptions labFlags `embed:"" prefix:"lab-"`
}

// check finds what cannot be meant.
func (c sandboxFlags) check() error {
	if c.Lab < 0 {
		return errors.New("--lab: a number from 0")
	}
	if _, err := c.LabOptions.config(c.Lab); err != nil {
		return errors.New(strings.Replace(err.Error(), "--", "--lab-", 1))
	}
	return nil
}

// sandbox makes the lab of a server, nil without one. The devices reach the
// server over its ports like any others: whatever kills it is a power cut for
// them, from which they go on.
func (c serveCommand) sandbox(ctx context.Context, s *started) (*lab.Lab, error) {
	if c.Lab == 0 {
		return nil, nil
	}
	config, err := c.LabOptions.config(c.Lab)
	if err != nil {
		return nil, err
	}
	set, err := trust.Load(c.pkiDir(), s.addresses.Set)
	if err != nil {
		return nil, err
	}
	if config.Factory, err = factoryOf(set); err != nil {
		return nil, fmt.Errorf("--lab: %w", err)
	}
	var user, password string
	err = s.app.db.Read(ctx, func(q db.Query) error {
		name, secret, err := s.app.accounts.UserPassword(ctx, q, s.account)
		user, password = name, string(secret)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("--lab: read the user that devices enrol with: %w", err)
	}
	if user == "" || password == "" {
		return nil, errors.New("--lab: the main account has no user of the Remote Manager API whose password is known here: devices cannot enrol")
	}
	here := s.addresses
	here.BaseURL = baseURL("", s.app.settings.API.Addr())
	if config.Server, err = serverOf(here, user, password); err != nil {
		return nil, err
	}
	config.Dir = filepath.Join(c.Data, "lab")
	return lab.New(config)
}

// serve runs the server, and the lab in it if there is one.
func (s *started) serve(ctx context.Context, l *lab.Lab) error {
	if l == nil {
		return s.app.run(ctx)
	}
	fmt.Fprintf(stdout, `  virtual devices %d of seed %d, which enrol and poll from now on. To see them:
                  curl -u USER:PASSWORD %s/ws/v1/devices/inventory   (rm_user and rm_password of godwit credentials)

`, len(l.Devices()), l.Seed, s.addresses.BaseURL)
	g, work := errgroup.WithContext(ctx)
	g.Go(func() error { return s.app.run(work) })
	g.Go(func() error { return l.Run(work) })
	return g.Wait()
}
