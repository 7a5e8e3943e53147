package supersim

import (
	"net/http"
	"strings"

	"godwit/sim"
	"godwit/web"
)

func (d *door) networkRoutes() []web.Route {
	return []web.Route{
		{Path: "/v1/Networks", Methods: map[string]web.Handler{"GET": d.listNetworks}},
		{Path: "/v1/Networks/{sid}", Methods: map[string]web.Handler{"GET": d.fetchNetwork}},
	}
}

type identifierJSON struct {
	MCC string `json:"mcc"` // never a number: leading zeros matter
	MNC string `json:"mnc"`
}

type networkJSON struct {
	SID         string           `json:"sid"`
	Name        string           `json:"friendly_name"`
	Country     string           `json:"iso_country"`
	Identifiers []identifierJSON `json:"identifiers"`
	URL         string           `json:"url"`
}

func showIdentifiers(n sim.Network) []identifierJSON {
	all := make([]identifierJSON, len(n.Identifiers))
	for i, p := range n.Identifiers {
		all[i] = identifierJSON{p.MCC, p.MNC}
	}
	return all
}

func showNetwork(r *web.Request) func(sim.Network) networkJSON {
	return func(n sim.Network) networkJSON {
		return networkJSON{
			SID: n.SID, Name: n.Name, Country: n.Country, Identifiers: showIdentifiers(n),
			URL: r.Base + "/v1/Networks/" + n.SID,
		}
	}
}

// networkFilter reads the filters of both lists of networks.
func networkFilter(f *web.Form) sim.NetworkFilter {
	filter := sim.NetworkFilter{Country: country(f), MCC: f.String("Mcc"), MNC: f.String("Mnc")}
	if n := filter.MCC; n != "" && (len(n) != 3 || strings.Trim(n, "0123456789") != "") {
		f.Fail("Mcc", "must be a mobile country code of three digits, not %.40q", n)
	}
	if n := filter.MNC; n != "" && (len(n) < 2 || len(n) > 3 || strings.Trim(n, "0123456789") != "") {
		f.Fail("Mnc", "must be a mobile network code of two or three digits, of which leading zeros count, not %.40q", n)
	}
	return filter
}

// country reads IsoCountry.
func country(f *web.Form) string {
	text := f.String("IsoCountry")
	if text == "" {
		return ""
	}
	c, err := sim.ParseCountry(text)
	if err != nil {
		f.Fail("IsoCountry", "%v", err)
	}
	return c
}

func (d *door) listNetworks(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	filter := networkFilter(f)
	if err := f.Err(); err != nil {
		return err
	}
	return list(w, r, "networks", p, d.sims.Catalogue.Networks(filter, sp), sim.Network.Key, showNetwork(r))
}

func (d *door) fetchNetwork(w http.ResponseWriter, r *web.Request) error {
	n, ok := d.sims.Catalogue.Network(r.Param("sid"))
	if !ok {
		return web.NotFound(r)
	}
	return web.WriteJSON(w, http.StatusOK, showNetwork(r)(n))
}
