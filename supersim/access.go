package supersim

import (
	"net/http"

	"godwit/sim"
	"godwit/web"
)

func (d *door) accessRoutes() []web.Route {
	return []web.Route{
		{Path: "/v1/NetworkAccessProfiles", Methods: map[string]web.Handler{"GET": d.listAccess, "POST": d.createAccess}},
		{Path: "/v1/NetworkAccessProfiles/{sid}", Methods: map[string]web.Handler{"GET": d.fetchAccess, "POST": d.updateAccess}},
		{Path: "/v1/NetworkAccessProfiles/{profile}/Networks", Methods: map[string]web.Handler{"GET": d.listAccessNetworks, "POST": d.addAccessNetwork}},
		{Path: "/v1/NetworkAccessProfiles/{profile}/Networks/{sid}", Methods: map[string]web.Handler{"GET": d.fetchAccessNetwork, "DELETE": d.removeAccessNetwork}},
	}
}

type accessJSON struct {
	SID         string            `json:"sid"`
	UniqueName  *string           `json:"unique_name"`
	AccountSID  string            `json:"account_sid"`
	DateCreated string            `json:"date_created"`
	DateUpdated string            `json:"date_updated"`
	URL         string            `json:"url"`
	Links       map[string]string `json:"links"`
}

func showAccess(r *web.Request) func(sim.Access) accessJSON {
	return func(a sim.Access) accessJSON {
		url := r.Base + "/v1/NetworkAccessProfiles/" + a.SID
		return accessJSON{
			SID: a.SID, UniqueName: text(a.UniqueName), AccountSID: a.Account,
			DateCreated: date(a.CreatedAt), DateUpdated: date(a.UpdatedAt), URL: url,
			Links: map[string]string{"networks": url + "/Networks"},
		}
	}
}

func (d *door) createAccess(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	name, networks := deref(uniqueName(f)), f.List("Networks")
	if err := f.Err(); err != nil {
		return err
	}
	a, err := d.sims.CreateAccess(r.Context(), r.Caller.Account, name, networks)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showAccess(r)(a))
}

func (d *door) updateAccess(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	name := uniqueName(f)
	if err := f.Err(); err != nil {
		return err
	}
	a, err := d.sims.UpdateAccess(r.Context(), r.Caller.Account, r.Param("sid"), name)
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showAccess(r)(a))
}

func (d *door) fetchAccess(w http.ResponseWriter, r *web.Request) error {
	a, err := d.sims.Access(r.Context(), r.Caller.Account, r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showAccess(r)(a))
}

func (d *door) listAccess(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.sims.Accesses(r.Context(), r.Caller.Account, sp)
	if err != nil {
		return err
	}
	return list(w, r, "network_access_profiles", p, l, sim.Access.Key, showAccess(r))
}

type accessNetworkJSON struct {
	SID         string           `json:"sid"` // the network's own
	AccessSID   string           `json:"network_access_profile_sid"`
	Name        string           `json:"friendly_name"`
	Country     string           `json:"iso_country"`
	Identifiers []identifierJSON `json:"identifiers"`
	URL         string           `json:"url"`
}

func showAccessNetwork(r *web.Request, a sim.Access) func(sim.Network) accessNetworkJSON {
	return func(n sim.Network) accessNetworkJSON {
		return accessNetworkJSON{
			SID: n.SID, AccessSID: a.SID, Name: n.Name, Country: n.Country, Identifiers: showIdentifiers(n),
			URL: r.Base + "/v1/NetworkAccessProfiles/" + a.SID + "/Networks/" + n.SID,
		}
	}
}

func (d *door) listAccessNetworks(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	filter := networkFilter(f)
	if err := f.Err(); err != nil {
		return err
	}
	a, l, err := d.sims.AccessNetworks(r.Context(), r.Caller.Account, r.Param("profile"), filter, sp)
	if err != nil {
		return inPath(r, err)
	}
	return list(w, r, "networks", p, l, sim.Network.Key, showAccessNetwork(r, a))
}

func (d *door) addAccessNetwork(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	network := f.Required("Network")
	if err := f.Err(); err != nil {
		return err
	}
	a, n, err := d.sims.AddNetwork(r.Context(), r.Caller.Account, r.Param("profile"), network)
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusCreated, showAccessNetwork(r, a)(n))
}

func (d *door) fetchAccessNetwork(w http.ResponseWriter, r *web.Request) error {
	a, n, err := d.sims.AccessNetwork(r.Context(), r.Caller.Account, r.Param("profile"), r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showAccessNetwork(r, a)(n))
}

func (d *door) removeAccessNetwork(w http.ResponseWriter, r *web.Request) error {
	if err := d.sims.RemoveNetwork(r.Context(), r.Caller.Account, r.Param("profile"), r.Param("sid")); err != nil {
		return inPath(r, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
