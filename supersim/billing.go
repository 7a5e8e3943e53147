package supersim

import (
	"net/http"

	"godwit/usage"
	"godwit/web"
)

func (d *door) billingRoutes() []web.Route {
	if d.usage == nil {
		return nil
	}
	return []web.Route{{Path: "/v1/Sims/{sid}/BillingPeriods", Methods: map[string]web.Handler{"GET": d.listPeriods}}}
}

// periodJSON has no url: a billing period cannot be fetched by itself.
type periodJSON struct {
	SID         string `json:"sid"`
	AccountSID  string `json:"account_sid"`
	SimSID      string `json:"sim_sid"`
	StartTime   string `json:"start_time"`
	EndTime     string `json:"end_time"`
	PeriodType  string `json:"period_type"`
	DateCreated string `json:"date_created"`
	DateUpdated string `json:"date_updated"`
}

func showPeriod(p usage.Period) periodJSON {
	return periodJSON{
		SID: p.SID, AccountSID: p.Account, SimSID: p.SIM, StartTime: date(p.Start), EndTime: date(p.End),
		PeriodType: string(p.Type), DateCreated: date(p.CreatedAt), DateUpdated: date(p.UpdatedAt),
	}
}

// listPeriods takes a Sim's SID or its unique name.
func (d *door) listPeriods(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.usage.Periods(r.Context(), r.Caller.Account, r.Param("sid"), sp)
	if err != nil {
		return inPath(r, err)
	}
	return list(w, r, "billing_periods", p, l, usage.Period.Key, showPeriod)
}
