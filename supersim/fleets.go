package supersim

import (
	"net/http"

	"godwit/sim"
	"godwit/web"
)

func (d *door) fleetRoutes() []web.Route {
	return []web.Route{
		{Path: "/v1/Fleets", Methods: map[string]web.Handler{"GET": d.listFleets, "POST": d.createFleet}},
		{Path: "/v1/Fleets/{sid}", Methods: map[string]web.Handler{"GET": d.fetchFleet, "POST": d.updateFleet}},
	}
}

type fleetJSON struct {
	AccountSID              string  `json:"account_sid"`
	SID                     string  `json:"sid"`
	UniqueName              *string `json:"unique_name"`
	DateCreated             string  `json:"date_created"`
	DateUpdated             string  `json:"date_updated"`
	URL                     string  `json:"url"`
	DataEnabled             bool    `json:"data_enabled"`
	DataLimit               int64   `json:"data_limit"`
	DataMetering            string  `json:"data_metering"`
	SMSCommandsEnabled      bool    `json:"sms_commands_enabled"`
	SMSCommandsURL          *string `json:"sms_commands_url"`
	SMSCommandsMethod       string  `json:"sms_commands_method"`
	NetworkAccessProfileSID string  `json:"network_access_profile_sid"`
	IPCommandsURL           *string `json:"ip_commands_url"`
	IPCommandsMethod        string  `json:"ip_commands_method"`
}

func showFleet(r *web.Request) func(sim.Fleet) fleetJSON {
	return func(f sim.Fleet) fleetJSON {
		return fleetJSON{
			AccountSID: f.Account, SID: f.SID, UniqueName: text(f.UniqueName),
			DateCreated: date(f.CreatedAt), DateUpdated: date(f.UpdatedAt), URL: r.Base + "/v1/Fleets/" + f.SID,
			DataEnabled: f.Data, DataLimit: f.DataLimit, DataMetering: "payg", SMSCommandsEnabled: f.SMS,
			SMSCommandsURL: text(f.SMSHook.URL), SMSCommandsMethod: f.SMSHook.Method,
			NetworkAccessProfileSID: f.Access,
			IPCommandsURL:           text(f.IPHook.URL), IPCommandsMethod: f.IPHook.Method,
		}
	}
}

// fleetName reads the UniqueName of a Fleet.
func fleetName(f *web.Form) *string {
	name := uniqueName(f)
	if deref(name) == "null" {
		f.Fail("UniqueName", "must not be null: Fleet=null takes a Sim out of its Fleet")
	}
	return name
}

func (d *door) createFleet(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	want := sim.Fleet{
		Account: r.Caller.Account, UniqueName: deref(fleetName(f)), Access: f.Required("NetworkAccessProfile"),
		Data: f.Bool("DataEnabled", true), DataLimit: f.Int("DataLimit", sim.MinDataLimit, sim.MaxDataLimit, sim.DefaultDataLimit),
		SMS:     f.Bool("SmsCommandsEnabled", true),
		SMSHook: d.callback(f, "SmsCommandsUrl", "SmsCommandsMethod"),
		IPHook:  d.callback(f, "IpCommandsUrl", "IpCommandsMethod"),
	}
	if err := f.Err(); err != nil {
		return err
	}
	fleet, err := d.sims.CreateFleet(r.Context(), want)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showFleet(r)(fleet))
}

// updateFleet ignores DataEnabled and SmsCommandsEnabled: they cannot be
// changed.
func (d *door) updateFleet(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	u := sim.FleetUpdate{UniqueName: fleetName(f)}
	if v := f.String("NetworkAccessProfile"); v != "" {
		u.Access = &v
	}
	if f.String("DataLimit") != "" {
		n := f.Int("DataLimit", sim.MinDataLimit, sim.MaxDataLimit, sim.DefaultDataLimit)
		u.DataLimit = &n
	}
	hook := func(name string) string { return d.callbackURL(f, name) }
	for _, one := range []struct {
		name string
		to   **string
		read func(string) string
	}{
		{"SmsCommandsUrl", &u.SMSURL, hook},
		{"SmsCommandsMethod", &u.SMSMethod, f.Method},
		{"IpCommandsUrl", &u.IPURL, hook},
		{"IpCommandsMethod", &u.IPMethod, f.Method},
	} {
		if f.Has(one.name) {
			v := one.read(one.name)
			*one.to = &v
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	fleet, err := d.sims.UpdateFleet(r.Context(), r.Caller.Account, r.Param("sid"), u)
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showFleet(r)(fleet))
}

func (d *door) fetchFleet(w http.ResponseWriter, r *web.Request) error {
	fleet, err := d.sims.Fleet(r.Context(), r.Caller.Account, r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showFleet(r)(fleet))
}

func (d *door) listFleets(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	access := f.String("NetworkAccessProfile")
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.sims.Fleets(r.Context(), r.Caller.Account, access, sp)
	if err != nil {
		return err
	}
	return list(w, r, "fleets", p, l, sim.Fleet.Key, showFleet(r))
}
