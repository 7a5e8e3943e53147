package supersim

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"godwit/fault"
	"godwit/sim"
	"godwit/usage"
	"godwit/web"
)

// Imports of usage and the callback about data limits are extensions: the
// hosted services measure for themselves, and tell of limits by mail.

// maxImport is the largest import, in octets.
const maxImport = 32 << 20

func (d *door) usageRoutes() []web.Route {
	if d.usage == nil {
		return nil
	}
	return []web.Route{
		{Path: "/v1/UsageRecords", Methods: map[string]web.Handler{"GET": d.listUsage}},
		{Path: "/v1/UsageRecords/Imports", Methods: map[string]web.Handler{"POST": d.importUsage}, MaxBody: maxImport, Patience: upload},
		{Path: "/v1/DataLimitCallback", Methods: map[string]web.Handler{"GET": d.fetchLimitCallback, "POST": d.updateLimitCallback}},
	}
}

type usageJSON struct {
	AccountSID   string          `json:"account_sid"`
	SimSID       *string         `json:"sim_sid"`
	NetworkSID   *string         `json:"network_sid"`
	FleetSID     *string         `json:"fleet_sid"`
	ISOCountry   *string         `json:"iso_country"`
	Period       usagePeriodJSON `json:"period"`
	DataUpload   int64           `json:"data_upload"`
	DataDownload int64           `json:"data_download"`
	DataTotal    int64           `json:"data_total"`
	TotalBilled  float64         `json:"data_total_billed"`
	BilledUnit   *string         `json:"billed_unit"` // null: what data costs is not this server's to say
}

type usagePeriodJSON struct {
	StartTime string `json:"start_time"`
	EndTime   string `json:"end_time"`
}

// listUsage adds up usage. Parameters that cannot be read have codes of their
// own here, those of paging the usual one.
func (d *door) listUsage(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p := f.Page(koreLimit(r, 249)) // KORE's document has 249
	at := usage.RecordPage{Limit: p.Size, Offset: p.Offset()}
	if p.Position != "" {
		place, err := usage.ParsePlace(p.Position)
		switch {
		case err != nil:
			f.Fail("PageToken", "is not one that this list has given out")
		case p.Backward:
			at.Before = &place
		default:
			at.After = &place
		}
	}
	filter := usage.RecordFilter{
		SIM: f.String("Sim"), Fleet: f.String("Fleet"), Network: f.String("Network"), Country: country(f),
		Group:       usage.Group(f.OneOf("Group", words(usage.Groups)...)),
		Granularity: usage.Granularity(f.OneOf("Granularity", words(usage.Granularities)...)),
		Start:       instant(f, "StartTime"), End: instant(f, "EndTime"),
	}
	if n := filter.Network; n != "" && !sim.IsSID(n, sim.NetworkPrefix) {
		f.Fail("Network", "must be the SID of a Network: %s and 32 hexadecimal digits, not %.40q", sim.NetworkPrefix, n)
	}
	f.Code(usage.CodeInvalid, "Sim", "Fleet", "Network", "IsoCountry", "Group", "Granularity", "StartTime", "EndTime")
	if err := f.Err(); err != nil {
		return err
	}
	if filter, err = d.usage.Complete(filter); err != nil {
		return err
	}
	records, more, err := d.usage.Records(r.Context(), r.Caller.Account, filter, at)
	if err != nil {
		return err
	}
	items := make([]usageJSON, len(records))
	for i, one := range records {
		items[i] = usageJSON{
			AccountSID: r.Caller.Account, SimSID: text(one.SIM), NetworkSID: text(one.Network), FleetSID: text(one.Fleet), ISOCountry: text(one.Country),
			Period:     usagePeriodJSON{date(one.Start), date(one.End)},
			DataUpload: one.Upload, DataDownload: one.Download, DataTotal: one.Upload + one.Download,
		}
	}
	if more {
		pinTimes(r, filter)
	}
	first, last := "", ""
	if n := len(records); n > 0 {
		first, last = records[0].Place(filter.Group).String(), records[n-1].Place(filter.Group).String()
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"usage_records": items, "meta": p.Meta(r, "usage_records", first, last, more)})
}

// pinTimes has the links to other pages name the times of this one: what was
// left out means another time by the time that a client follows them.
func pinTimes(r *web.Request, f usage.RecordFilter) {
	q := r.URL.Query()
	for name, at := range map[string]time.Time{"StartTime": f.Start, "EndTime": f.End} {
		if q.Get(name) == "" {
			q.Set(name, date(at))
		}
	}
	r.URL.RawQuery = q.Encode()
}

// instant reads a time near enough to count with.
func instant(f *web.Form, name string) time.Time {
	t := f.Time(name)
	if f.String(name) != "" && (t.Year() < 1971 || t.Year() > 9000) { // of several reasons the first counts
		f.Fail(name, "must lie in the years from 1971 to 9000, not in %d", t.Year())
	}
	return t
}

type importJSON struct {
	AccountSID string `json:"account_sid"`
	Lines      int    `json:"lines"`
	Repeated   bool   `json:"repeated"`
}

// importUsage takes a file of what Sims have used, CSV or JSON.
func (d *door) importUsage(w http.ResponseWriter, r *web.Request) error {
	if err := d.usage.MayImport(r.Context(), r.Caller.Account); err != nil {
		return err
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read request body: %w", err)
	}
	var lines []usage.Line
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "text/csv":
		lines, err = usage.ReadCSV(bytes.NewReader(content))
	case "application/json":
		lines, err = usage.ReadJSON(bytes.NewReader(content))
	default:
		err = fault.New(fault.Invalid, "an import is sent with Content-Type text/csv or application/json, not %.60q", kind)
	}
	if err != nil {
		return err
	}
	done, err := d.usage.Import(r.Context(), r.Caller.Account, content, lines)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, importJSON{r.Caller.Account, done.Lines, done.Repeated})
}

type limitCallbackJSON struct {
	AccountSID     string  `json:"account_sid"`
	CallbackURL    *string `json:"callback_url"`
	CallbackMethod string  `json:"callback_method"`
}

func (d *door) fetchLimitCallback(w http.ResponseWriter, r *web.Request) error {
	c, err := d.usage.LimitCallback(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, limitCallbackJSON{r.Caller.Account, text(c.URL), c.Method})
}

func (d *door) updateLimitCallback(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	c := d.callback(f, "CallbackUrl", "CallbackMethod")
	if err := f.Err(); err != nil {
		return err
	}
	if c, err = d.usage.SetLimitCallback(r.Context(), r.Caller.Account, c); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, limitCallbackJSON{r.Caller.Account, text(c.URL), c.Method})
}
