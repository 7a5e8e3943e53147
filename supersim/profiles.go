package supersim

import (
	"net/http"

	"godwit/sim"
	"godwit/web"
)

func (d *door) profileRoutes() []web.Route {
	return []web.Route{
		{Path: "/v1/ESimProfiles", Methods: map[string]web.Handler{"GET": d.listProfiles, "POST": d.createProfile}},
		// A reservation can neither be changed nor deleted.
		{Path: "/v1/ESimProfiles/{sid}", Methods: map[string]web.Handler{"GET": d.fetchProfile}},
	}
}

type profileJSON struct {
	SID             string  `json:"sid"`
	AccountSID      string  `json:"account_sid"`
	ICCID           *string `json:"iccid"`
	SimSID          *string `json:"sim_sid"`
	Status          string  `json:"status"`
	EID             *string `json:"eid"`
	SMDPPlusAddress *string `json:"smdp_plus_address"`
	MatchingID      *string `json:"matching_id"`
	ActivationCode  *string `json:"activation_code"`
	ErrorCode       *string `json:"error_code"`
	ErrorMessage    *string `json:"error_message"`
	DateCreated     string  `json:"date_created"`
	DateUpdated     string  `json:"date_updated"`
	URL             string  `json:"url"`
}

func showProfile(r *web.Request) func(sim.Profile) profileJSON {
	return func(p sim.Profile) profileJSON {
		j := profileJSON{
			SID: p.SID, AccountSID: p.Account, Status: string(p.Status), EID: text(p.EID),
			ErrorCode: text(p.ErrorCode), ErrorMessage: text(p.ErrorMessage),
			DateCreated: date(p.CreatedAt), DateUpdated: date(p.UpdatedAt), URL: r.Base + "/v1/ESimProfiles/" + p.SID,
		}
		if p.Settled() {
			j.ICCID, j.SimSID, j.SMDPPlusAddress = text(p.ICCID), text(p.SIM), text(p.Address)
			j.MatchingID, j.ActivationCode = text(p.MatchingID), text(p.ActivationCode())
		}
		return j
	}
}

func (d *door) createProfile(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	want := sim.Reservation{
		Account: r.Caller.Account, EID: f.String("Eid"), WantsCode: f.Bool("GenerateMatchingId", false), Callback: d.callback(f, "CallbackUrl", "CallbackMethod"),
	}
	if refusal := sim.CheckEID(want.EID); refusal != nil {
		f.Refuse(refusal)
	}
	if err := f.Err(); err != nil {
		return err
	}
	p, err := d.sims.Reserve(r.Context(), want)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showProfile(r)(p))
}

func (d *door) fetchProfile(w http.ResponseWriter, r *web.Request) error {
	p, err := d.sims.Profile(r.Context(), r.Caller.Account, r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showProfile(r)(p))
}

func (d *door) listProfiles(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	filter := sim.ProfileFilter{EID: f.String("Eid"), SIM: f.String("SimSid"), Status: sim.ProfileStatus(f.OneOf("Status", words(sim.ProfileStatuses)...))}
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.sims.Profiles(r.Context(), r.Caller.Account, filter, sp)
	if err != nil {
		return err
	}
	return list(w, r, "esim_profiles", p, l, sim.Profile.Key, showProfile(r))
}
