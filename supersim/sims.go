package supersim

import (
	"net/http"

	"godwit/account"
	"godwit/fault"
	"godwit/sim"
	"godwit/web"
)

func (d *door) simRoutes() []web.Route {
	return []web.Route{
		{Path: "/v1/Sims", Methods: map[string]web.Handler{"GET": d.listSims, "POST": d.registerSim}},
		{Path: "/v1/Sims/{sid}", Methods: map[string]web.Handler{"GET": d.fetchSim, "POST": d.updateSim}},
		{Path: "/v1/Sims/{sid}/IpAddresses", Methods: map[string]web.Handler{"GET": d.listAddresses}},
	}
}

type simJSON struct {
	SID         string   `json:"sid"`
	UniqueName  *string  `json:"unique_name"`
	AccountSID  string   `json:"account_sid"`
	ICCID       string   `json:"iccid"`
	Status      string   `json:"status"`
	FleetSID    *string  `json:"fleet_sid"`
	DateCreated string   `json:"date_created"`
	DateUpdated string   `json:"date_updated"`
	URL         string   `json:"url"`
	Links       simLinks `json:"links"`
}

type simLinks struct {
	BillingPeriods string `json:"billing_periods"`
	IPAddresses    string `json:"sim_ip_addresses"`
}

func showSim(r *web.Request) func(sim.Sim) simJSON {
	return func(s sim.Sim) simJSON {
		url := r.Base + "/v1/Sims/" + s.SID
		return simJSON{
			SID: s.SID, UniqueName: text(s.UniqueName), AccountSID: s.Account, ICCID: string(s.ICCID), Status: string(s.Status),
			FleetSID: text(s.Fleet), DateCreated: date(s.CreatedAt), DateUpdated: date(s.UpdatedAt), URL: url,
			Links: simLinks{url + "/BillingPeriods", url + "/IpAddresses"},
		}
	}
}

func (d *door) fetchSim(w http.ResponseWriter, r *web.Request) error {
	s, err := d.sims.Sim(r.Context(), r.Caller.Account, r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showSim(r)(s))
}

// registerSim makes a Sim of a card that its customer holds.
func (d *door) registerSim(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	required := func(name string) string {
		v := f.String(name)
		if v == "" {
			missing := fault.Missing(name)
			missing.Code = sim.CodeRegistrationMissing
			f.Refuse(missing)
		}
		return v
	}
	iccid, code := required("Iccid"), required("RegistrationCode")
	if err := f.Err(); err != nil {
		return err
	}
	s, err := d.sims.RegisterCard(r.Context(), r.Caller.Account, iccid, code)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showSim(r)(s))
}

// updateSim answers 200 when everything is done, and 202 when the core network
// must be told first.
func (d *door) updateSim(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	u := sim.SimUpdate{
		UniqueName: uniqueName(f), Status: sim.Status(f.OneOf("Status", string(sim.Ready), string(sim.Active), string(sim.Inactive))),
		Fleet: f.Optional("Fleet"), Callback: d.callback(f, "CallbackUrl", "CallbackMethod"),
	}
	if to := f.String("AccountSid"); to != "" {
		if !sim.IsSID(to, account.Prefix) {
			f.Fail("AccountSid", "must be the SID of an account, AC and 32 hexadecimal digits, not %.40q", to)
		}
		u.Account = &to
	}
	if u.Fleet != nil && *u.Fleet == "null" {
		*u.Fleet = "" // the documents speak of passing null
	}
	if err := f.Err(); err != nil {
		return err
	}
	s, later, err := d.sims.UpdateSim(r.Context(), r.Caller.Account, r.Param("sid"), u)
	if err != nil {
		return inPath(r, err)
	}
	status := http.StatusOK
	if later {
		status = http.StatusAccepted
	}
	return web.WriteJSON(w, status, showSim(r)(s))
}

func (d *door) listSims(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	filter := sim.SimFilter{Status: sim.Status(f.OneOf("Status", words(sim.Statuses)...)), Fleet: f.String("Fleet"), ICCID: f.String("Iccid")}
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.sims.Sims(r.Context(), r.Caller.Account, filter, sp)
	if err != nil {
		return err
	}
	return list(w, r, "sims", p, l, sim.Sim.Key, showSim(r))
}
