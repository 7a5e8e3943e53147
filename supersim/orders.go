package supersim

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"godwit/bulk"
	"godwit/fault"
	"godwit/web"
)

// Orders of many profiles are an extension: the hosted services have none. They
// stand below ESimProfiles, whose SIDs cannot look like these paths.

// maxFile is the largest file of an order, in octets: a million lines with long
// labels.
const maxFile = 256 << 20

// How long large files may take on their way, in and out.
const (
	upload   = 15 * time.Minute
	download = time.Hour
)

func (d *door) orderRoutes() []web.Route {
	if d.orders == nil {
		return nil
	}
	const path = "/v1/ESimProfiles/Orders"
	return []web.Route{
		{Path: path, Methods: map[string]web.Handler{"GET": d.listOrders, "POST": d.createOrder}, MaxBody: maxFile, Patience: upload},
		{Path: path + "/{sid}", Methods: map[string]web.Handler{"GET": d.fetchOrder, "POST": d.updateOrder}},
		{Path: path + "/{sid}/Errors", Methods: map[string]web.Handler{"GET": d.listOrderErrors}},
		{Path: path + "/{sid}/Results.csv", Patience: download, Methods: map[string]web.Handler{"GET": d.orderCSV}},
		{Path: path + "/{sid}/Results.zip", Patience: download, Methods: map[string]web.Handler{"GET": d.orderZIP}},
		{Path: path + "/{sid}/Results.pdf", Patience: download, Methods: map[string]web.Handler{"GET": d.orderPDF}},
	}
}

type orderJSON struct {
	SID         string            `json:"sid"`
	AccountSID  string            `json:"account_sid"`
	Status      string            `json:"status"`
	Label       *string           `json:"label"`
	Count       int64             `json:"count"`
	Available   int64             `json:"available"`
	Failed      int64             `json:"failed"`
	Canceled    int64             `json:"canceled"`
	DateCreated string            `json:"date_created"`
	DateUpdated string            `json:"date_updated"`
	URL         string            `json:"url"`
	Links       map[string]string `json:"links"`
}

func showOrder(r *web.Request) func(bulk.Order) orderJSON {
	return func(o bulk.Order) orderJSON {
		url := r.Base + "/v1/ESimProfiles/Orders/" + o.SID
		return orderJSON{
			SID: o.SID, AccountSID: o.Account, Status: string(o.Status), Label: text(o.Label),
			Count: o.Total, Available: o.Available, Failed: o.Failed, Canceled: o.Canceled,
			DateCreated: date(o.CreatedAt), DateUpdated: date(o.UpdatedAt), URL: url,
			Links: map[string]string{
				"errors": url + "/Errors", "results_csv": url + "/Results.csv", "results_zip": url + "/Results.zip", "results_pdf": url + "/Results.pdf",
			},
		}
	}
}

// createOrder takes an order: a form that says how many, or a file of lines
// with the parameters in the query.
func (d *door) createOrder(w http.ResponseWriter, r *web.Request) error {
	var f *web.Form
	var err error
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	file := kind == "text/csv"
	if file {
		f, err = web.QueryForm(r)
	} else {
		f, err = web.PostForm(r)
	}
	if err != nil {
		return err
	}
	want := bulk.Request{
		Account: r.Caller.Account, Label: f.Text("Label", maxName), Type: f.Text("ProfileType", 100),
		WantsCode: f.Bool("GenerateMatchingId", false), Callback: d.callback(f, "CallbackUrl", "CallbackMethod"), PerProfile: f.OneOf("CallbackPer", "order", "profile") == "profile",
		Partial: f.Bool("Partial", false), DryRun: f.Bool("DryRun", false),
	}
	var lines bulk.Lines
	switch {
	case !file:
		if n := f.Int("Count", 1, bulk.MaxItems, 0); n > 0 {
			lines = bulk.Count(n)
		} else if !f.Has("Count") {
			f.Fail("Count", "is missing: say how many profiles, or send a file of lines with Content-Type text/csv and the parameters in the query")
		}
	case f.Has("Count"):
		f.Fail("Count", "cannot stand beside a file: the lines say how many")
	default:
		lines = bulk.CSV(r.Body)
	}
	if err := f.Err(); err != nil {
		return err
	}
	o, plan, err := d.orders.Create(r.Context(), want, lines)
	if refused, ok := errors.AsType[*bulk.Refused](err); ok {
		return problemsOf(refused.Plan)
	}
	if err != nil {
		return err
	}
	if want.DryRun {
		return web.WriteJSON(w, http.StatusOK, showPlan(plan))
	}
	return web.WriteJSON(w, http.StatusCreated, showOrder(r)(o))
}

// maxTold is how many refused lines an error names.
const maxTold = 20

// problemsOf turns refused lines into refused parameters.
func problemsOf(p *bulk.Plan) error {
	var all web.Problems
	for i, x := range p.Problems {
		if i == maxTold {
			break
		}
		field := fmt.Sprintf("File line %d", x.Line)
		switch {
		case x.Line == 0: // of an order without a file, which has nothing else to refuse
			field = "ProfileType"
		case x.Column != "":
			field += " " + x.Column
		}
		all = append(all, fault.Field(field, "%s", x.Text))
	}
	if more := len(p.Problems) + p.More - len(all); more > 0 {
		all = append(all, fault.Field("File", "has %d more lines that are refused; DryRun=true lists them. Nothing was ordered", more))
	}
	return all
}

type planJSON struct {
	DryRun      bool          `json:"dry_run"`
	Acceptable  bool          `json:"acceptable"`
	Count       int64         `json:"count"`
	Lines       int           `json:"lines"`
	Types       []demandJSON  `json:"profile_types"`
	Errors      []problemJSON `json:"errors"`
	ErrorsCount int           `json:"errors_count"`
}

type demandJSON struct {
	Type    string `json:"profile_type"`
	Count   int64  `json:"count"`
	InStock *int64 `json:"in_stock"` // at most count; null where the SM-DP+ does not tell
}

type problemJSON struct {
	Line    int     `json:"line"`
	Column  *string `json:"column"`
	Message string  `json:"message"`
}

func showPlan(p *bulk.Plan) planJSON {
	j := planJSON{
		DryRun: true, Acceptable: len(p.Problems) == 0, Count: p.Total, Lines: p.Lines, Types: []demandJSON{}, Errors: []problemJSON{},
		ErrorsCount: len(p.Problems) + p.More,
	}
	for _, t := range p.Types {
		one := demandJSON{Type: t.Type, Count: t.Wanted}
		if t.InStock >= 0 {
			one.InStock = &t.InStock
			j.Acceptable = j.Acceptable && t.InStock >= t.Wanted
		}
		j.Types = append(j.Types, one)
	}
	for _, x := range p.Problems {
		j.Errors = append(j.Errors, problemJSON{x.Line, text(x.Column), x.Text})
	}
	return j
}

func (d *door) order(r *web.Request) (bulk.Order, error) {
	o, err := d.orders.Get(r.Context(), r.Caller.Account, r.Param("sid"))
	return o, inPath(r, err)
}

func (d *door) fetchOrder(w http.ResponseWriter, r *web.Request) error {
	o, err := d.order(r)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, showOrder(r)(o))
}

func (d *door) updateOrder(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	f.Required("Status")
	f.OneOf("Status", string(bulk.Canceled))
	if err := f.Err(); err != nil {
		return err
	}
	o, err := d.orders.Cancel(r.Context(), r.Caller.Account, r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showOrder(r)(o))
}

func (d *door) listOrders(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	status := bulk.Status(f.OneOf("Status", words(bulk.Statuses)...))
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.orders.List(r.Context(), r.Caller.Account, status, sp)
	if err != nil {
		return err
	}
	return list(w, r, "orders", p, l, bulk.Order.Key, showOrder(r))
}

type orderErrorJSON struct {
	Line           int     `json:"line"`
	Item           int64   `json:"item"`
	Label          *string `json:"label"`
	EID            *string `json:"eid"`
	ESimProfileSID string  `json:"esim_profile_sid"`
	ErrorCode      *string `json:"error_code"`
	ErrorMessage   *string `json:"error_message"`
}

// listOrderErrors lists the items of an order that have failed, in their order.
// Its pages go by item: After=ITEM asks for what stands behind it.
func (d *door) listOrderErrors(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	size := f.Int("PageSize", 1, maxPage, 50)
	after := f.Int("After", 0, bulk.MaxItems, 0)
	if err := f.Err(); err != nil {
		return err
	}
	o, err := d.order(r)
	if err != nil {
		return err
	}
	failed, err := d.orders.Errors(r.Context(), o, after, int(size)+1)
	if err != nil {
		return err
	}
	var next *string
	if len(failed) > int(size) {
		failed = failed[:size]
		link := fmt.Sprintf("%s/v1/ESimProfiles/Orders/%s/Errors?PageSize=%d&After=%d", r.Base, o.SID, size, failed[size-1].Item)
		next = &link
	}
	items := make([]orderErrorJSON, len(failed))
	for i, x := range failed {
		items[i] = orderErrorJSON{x.Line, x.Item, text(x.Label), text(x.Profile.EID), x.Profile.SID, text(x.Profile.ErrorCode), text(x.Profile.ErrorMessage)}
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"errors": items, "next_page_url": next})
}

// attachment begins an answer that is a file.
func attachment(w http.ResponseWriter, kind, name string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}

func (d *door) orderCSV(w http.ResponseWriter, r *web.Request) error {
	o, err := d.order(r)
	if err != nil {
		return err
	}
	attachment(w, "text/csv; charset=utf-8", o.SID+".csv")
	return d.orders.WriteCSV(r.Context(), w, o)
}

func (d *door) orderZIP(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	image := f.OneOf("Image", "svg", "png")
	if err := f.Err(); err != nil {
		return err
	}
	o, err := d.order(r)
	if err != nil {
		return err
	}
	attachment(w, "application/zip", o.SID+".zip")
	return d.orders.WriteZIP(r.Context(), w, o, image != "png", image != "svg")
}

// orderPDF writes a sheet of codes; a long order has several.
func (d *door) orderPDF(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	from := f.Int("From", 1, bulk.MaxItems, 1)
	count := f.Int("Count", 1, bulk.MaxSheet, bulk.MaxSheet)
	if err := f.Err(); err != nil {
		return err
	}
	o, err := d.order(r)
	if err != nil {
		return err
	}
	if !f.Has("From") && !f.Has("Count") && o.Total > bulk.MaxSheet {
		return fault.Field("From", "is needed: the order has %d profiles and a sheet holds %d; ask for From=1, From=%d and so on", o.Total, bulk.MaxSheet, bulk.MaxSheet+1)
	}
	if from > o.Total {
		return fault.Field("From", "must be at most %d: the order has no more profiles", o.Total)
	}
	attachment(w, "application/pdf", o.SID+"-"+strconv.FormatInt(from, 10)+".pdf")
	return d.orders.WritePDF(r.Context(), w, o, from, count)
}
