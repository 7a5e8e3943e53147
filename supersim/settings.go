package supersim

import (
	"context"
	"net/http"
	"net/netip"

	"godwit/db"
	"godwit/sim"
	"godwit/web"
)

// Sessions know which addresses a Sim's device has at the moment.
type Sessions interface {
	Addresses(ctx context.Context, q db.Query, sim string) ([]netip.Addr, error)
}

func (d *door) settingsRoutes() []web.Route {
	return []web.Route{{Path: "/v1/SettingsUpdates", Methods: map[string]web.Handler{"GET": d.listSettings}}}
}

type packageJSON struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	MoreInfo string `json:"more_info"`
}

type settingsJSON struct {
	SID           string        `json:"sid"`
	ICCID         string        `json:"iccid"`
	SimSID        string        `json:"sim_sid"`
	Status        string        `json:"status"`
	Packages      []packageJSON `json:"packages"`
	DateCompleted *string       `json:"date_completed"`
	DateCreated   string        `json:"date_created"`
	DateUpdated   string        `json:"date_updated"`
}

func showSettings(r *web.Request) func(sim.SettingsUpdate) settingsJSON {
	return func(u sim.SettingsUpdate) settingsJSON {
		j := settingsJSON{
			SID: u.SID, ICCID: string(u.ICCID), SimSID: u.SIM, Status: string(u.Status),
			Packages:    []packageJSON{{u.Package, u.Version, r.Base + "/docs"}},
			DateCreated: date(u.CreatedAt), DateUpdated: date(u.UpdatedAt),
		}
		if !u.CompletedAt.IsZero() {
			at := date(u.CompletedAt)
			j.DateCompleted = &at
		}
		return j
	}
}

func (d *door) listSettings(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	ref, status := f.String("Sim"), sim.SettingsStatus(f.OneOf("Status", words(sim.SettingsStatuses)...))
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.sims.SettingsUpdates(r.Context(), r.Caller.Account, ref, status, sp)
	if err != nil {
		return err
	}
	return list(w, r, "settings_updates", p, l, sim.SettingsUpdate.Key, showSettings(r))
}

type addressJSON struct {
	Address string `json:"ip_address"`
	Version string `json:"ip_address_version"`
}

// An address of a device, with its place in the list, from 1.
type placed struct {
	netip.Addr
	sim   string
	place int
}

func (a placed) key() sim.Key { return sim.Key{At: int64(a.place), SID: a.sim} }

// listAddresses lists the addresses of a device while it has a data session.
// There are never more than a handful.
func (d *door) listAddresses(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	if err := f.Err(); err != nil {
		return err
	}
	s, err := d.sims.Sim(r.Context(), r.Caller.Account, r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	var all []netip.Addr
	if d.sessions != nil {
		if err := d.sims.DB.Read(r.Context(), func(q db.Query) error {
			all, err = d.sessions.Addresses(r.Context(), q, s.SID)
			return err
		}); err != nil {
			return err
		}
	}
	l := cutAddresses(s.SID, all, sp)
	return list(w, r, "ip_addresses", p, l, placed.key, func(a placed) addressJSON {
		version := "IPv6"
		if a.Unmap().Is4() {
			version = "IPv4"
		}
		return addressJSON{a.Unmap().String(), version}
	})
}

// cutAddresses returns a page of a device's addresses.
func cutAddresses(sid string, all []netip.Addr, p sim.Page) (l sim.List[placed]) {
	from := p.Offset
	switch {
	case p.After != (sim.Key{}):
		from = int(max(0, p.After.At))
	case p.Before != (sim.Key{}):
		from = max(0, int(p.Before.At)-1-p.Limit)
	}
	from = min(from, len(all))
	to := min(from+p.Limit, len(all))
	for i, a := range all[from:to] {
		l.Items = append(l.Items, placed{a, sid, from + i + 1})
	}
	l.More = to < len(all)
	return l
}
