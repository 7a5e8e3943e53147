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

// An address of a device, with its place in the list.
type placed struct {
	netip.Addr
	sim string
}

// listAddresses lists the addresses of a device while it has a data session.
// There are never more than a handful: one page holds them.
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
	var l sim.List[placed]
	if d.sessions != nil && sp.After == (sim.Key{}) {
		if err := d.sims.DB.Read(r.Context(), func(q db.Query) error {
			l = sim.List[placed]{}
			all, err := d.sessions.Addresses(r.Context(), q, s.SID)
			from := min(sp.Offset, len(all))
			to := min(from+sp.Limit, len(all))
			for _, a := range all[from:to] {
				l.Items = append(l.Items, placed{a, s.SID})
			}
			return err
		}); err != nil {
			return err
		}
	}
	return list(w, r, "ip_addresses", p, l, func(a placed) sim.Key { return sim.Key{SID: a.sim} }, func(a placed) addressJSON {
		version := "IPv6"
		if a.Unmap().Is4() {
			version = "IPv4"
		}
		return addressJSON{a.Unmap().String(), version}
	})
}
