package sim

import (
	"context"
	"fmt"

	"godwit/db"
	"godwit/ident"
)

// policies are what Fleets say of their Sims, each read once for all of its Sims
// that one transaction or page has.
type policies struct {
	store *Store
	q     db.Query
	known map[string]policy
}

type policy struct {
	fleet    Fleet
	networks []ident.PLMN
}

func (s *Store) policies(q db.Query) *policies { return &policies{s, q, map[string]policy{}} }

func (p *policies) of(ctx context.Context, sid string) (policy, error) {
	if known, ok := p.known[sid]; ok {
		return known, nil
	}
	var read policy
	var err error
	if read.fleet, err = scanFleet(p.q.QueryRowContext(ctx, selectFleet+` where sid = $1`, sid)); err != nil {
		return read, fmt.Errorf("read %s: %w", sid, err)
	}
	networks, err := p.store.members(ctx, p.q, read.fleet.Access)
	if err != nil {
		return read, err
	}
	for _, n := range networks {
		read.networks = append(read.networks, n.Identifiers...)
	}
	p.known[sid] = read
	return read, nil
}

// subscriber returns what the core network is to know about a Sim.
func (p *policies) subscriber(ctx context.Context, one Sim) (Subscriber, error) {
	sub := Subscriber{SIM: one.SID, Account: one.Account, ICCID: one.ICCID}
	if !one.Status.Attaches() || one.Fleet == "" {
		return sub, nil
	}
	policy, err := p.of(ctx, one.Fleet)
	if err != nil {
		return sub, err
	}
	fleet := policy.fleet
	sub.Attach, sub.Data, sub.SMS, sub.Limit, sub.Networks = true, fleet.Data, fleet.SMS, fleet.DataLimit, policy.networks
	if p.store.DataOff != nil && sub.Data {
		off, err := p.store.DataOff(ctx, p.q, one)
		if err != nil {
			return sub, err
		}
		sub.Data = !off
	}
	return sub, nil
}
