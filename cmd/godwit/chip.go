package main

import (
	"context"
	"fmt"
	"time"

	"godwit/db"
	"godwit/euicc"
	"godwit/event"
	"godwit/ident"
	"godwit/pki"
	"godwit/trust"
)

// chipOf makes the configuration of a software eUICC under a trust set whose
// EUMs are ours: a certificate and a key under each of its CIs.
func chipOf(set *trust.Set, eid ident.EID) (config euicc.Config, err error) {
	config.EID = eid
	for _, m := range set.Members {
		config.Roots = append(config.Roots, m.Identity.CI)
		if m.EUM == nil {
			continue
		}
		c, err := m.EUM.Issue(pki.Request{
			Role: pki.EUICC, EID: eid, NotBefore: time.Now().Add(-time.Hour).Truncate(time.Second),
			Subject: pki.Subject{CommonName: "Godwit software eUICC"},
		})
		if err != nil {
			return config, fmt.Errorf("issue the eUICC's certificate under CI %s: %w", m.Name, err)
		}
		config.Credentials = append(config.Credentials, euicc.Credential{EUM: m.EUM.Certificate, EUICC: c.Certificate, Key: c.Key})
	}
	if len(config.Credentials) == 0 {
		return config, fmt.Errorf("set %s has no EUM with its private key, so that no eUICC can be made under it", set.Name)
	}
	return config, nil
}

// eventsOf lists what happened to a thing, the last first.
func eventsOf(ctx context.Context, a *app, subject string) (list []event.Event, err error) {
	err = a.db.Read(ctx, func(q db.Query) error {
		list, err = a.events.List(ctx, q, event.Filter{Subject: subject})
		return err
	})
	return list, err
}
