package supersim

import (
	"net/http"
	"slices"

	"godwit/charge"
	"godwit/sim"
	"godwit/web"
)

// What profiles cost is an extension: the hosted services bill elsewhere.

func (d *door) chargeRoutes() []web.Route {
	if d.ledger == nil {
		return nil
	}
	return []web.Route{
		{Path: "/v1/Charges", Methods: map[string]web.Handler{"GET": d.listCharges}},
		{Path: "/v1/Charges.csv", Patience: download, Methods: map[string]web.Handler{"GET": d.exportCharges}},
		{Path: "/v1/Prices", Methods: map[string]web.Handler{"GET": d.listPrices}},
	}
}

type chargeJSON struct {
	AccountSID     string  `json:"account_sid"`
	ESimProfileSID string  `json:"esim_profile_sid"`
	SimSID         string  `json:"sim_sid"`
	ICCID          string  `json:"iccid"`
	ProfileType    string  `json:"profile_type"`
	OrderSID       *string `json:"order_sid"`
	Amount         string  `json:"amount"` // decimal: money is no float
	Currency       string  `json:"currency"`
	DateCreated    string  `json:"date_created"`
}

func showCharge(e charge.Entry) chargeJSON {
	return chargeJSON{
		AccountSID: e.Account, ESimProfileSID: e.Profile, SimSID: e.SIM, ICCID: e.ICCID, ProfileType: e.Type, OrderSID: text(e.Order),
		Amount: e.Amount.String(), Currency: e.Currency, DateCreated: date(e.At),
	}
}

// chargeFilter reads what a list and an export may be narrowed to.
func chargeFilter(r *web.Request, f *web.Form) charge.Filter {
	return charge.Filter{
		Account: r.Caller.Account, Order: f.String("OrderSid"), From: f.Time("StartTime"), To: f.Time("EndTime"),
	}
}

func (d *door) listCharges(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	filter := chargeFilter(r, f)
	if err := f.Err(); err != nil {
		return err
	}
	filter.Limit, filter.Offset = sp.Limit+1, sp.Offset
	filter.Before = charge.Place{At: sp.After.At, SID: sp.After.SID}
	if sp.Before != (sim.Key{}) { // back to newer ones: nearest first, then turned round
		filter.After, filter.NewestLast, filter.Limit = charge.Place{At: sp.Before.At, SID: sp.Before.SID}, true, sp.Limit
	}
	found, err := d.ledger.Entries(r.Context(), filter)
	if err != nil {
		return err
	}
	l := sim.List[charge.Entry]{Items: found, More: filter.NewestLast || len(found) > sp.Limit}
	if filter.NewestLast {
		slices.Reverse(l.Items)
	} else if l.More {
		l.Items = found[:sp.Limit]
	}
	place := func(e charge.Entry) sim.Key { return sim.Key{At: e.Place().At, SID: e.Profile} }
	return list(w, r, "charges", p, l, place, showCharge)
}

func (d *door) exportCharges(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	filter := chargeFilter(r, f)
	if err := f.Err(); err != nil {
		return err
	}
	attachment(w, "text/csv; charset=utf-8", "charges.csv")
	return d.ledger.Export(r.Context(), w, filter)
}

func (d *door) listPrices(w http.ResponseWriter, r *web.Request) error {
	prices, err := d.ledger.Prices(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	items := []map[string]any{}
	for _, p := range prices {
		items = append(items, map[string]any{
			"profile_type": text(p.Type), "amount": p.Amount.String(), "currency": p.Currency,
			"own": p.Account != "", "date_updated": date(p.UpdatedAt),
		})
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"prices": items})
}
