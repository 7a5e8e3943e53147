package command

import (
	"context"
	"net/netip"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/sim"
)

// A Table is a [Sessions] that is a list: devices with fixed addresses.
type Table struct {
	Sims    *sim.Store
	Devices map[ident.ICCID]netip.Addr
}

// Addresses returns a Sim's address.
func (t Table) Addresses(ctx context.Context, q db.Query, sid string) ([]netip.Addr, error) {
	one, err := t.Sims.BySID(ctx, q, sid)
	if err != nil {
		return nil, err
	}
	if a, ok := t.Devices[one.ICCID]; ok {
		return []netip.Addr{a}, nil
	}
	return nil, nil
}

// Holder returns whose address it is.
func (t Table) Holder(ctx context.Context, q db.Query, a netip.Addr) (string, error) {
	for iccid, its := range t.Devices {
		if its != a.Unmap() {
			continue
		}
		one, err := t.Sims.ByICCID(ctx, q, iccid)
		if fault.Is(err, fault.NotFound) {
			return "", nil // listed before it is ordered
		}
		return one.SID, err
	}
	return "", nil
}

// Either asks several [Sessions] one after the other.
type Either []Sessions

// Addresses returns what the first knows that knows anything.
func (e Either) Addresses(ctx context.Context, q db.Query, sid string) ([]netip.Addr, error) {
	for _, one := range e {
		if all, err := one.Addresses(ctx, q, sid); err != nil || len(all) > 0 {
			return all, err
		}
	}
	return nil, nil
}

// Holder returns what the first knows that knows anything.
func (e Either) Holder(ctx context.Context, q db.Query, a netip.Addr) (string, error) {
	for _, one := range e {
		if sid, err := one.Holder(ctx, q, a); err != nil || sid != "" {
			return sid, err
		}
	}
	return "", nil
}
