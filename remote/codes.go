package remote

import (
	"context"
	"net/http"

	"godwit/db"
	"godwit/device"
	"godwit/fault"
	"godwit/ident"
	"godwit/web"
)

// A codeJSON is a registered activation code. Its secret goes in and never
// comes out.
type codeJSON struct {
	ICCID             string `json:"iccid"`
	Carrier           string `json:"carrier,omitempty"`
	NormalizedCarrier string `json:"normalized_carrier,omitempty"`
	Status            string `json:"status"`
	DeviceID          string `json:"device_id,omitempty"`
	EID               string `json:"eid,omitempty"`
	Customer          int64  `json:"customer_id"`
	Created           string `json:"created"`
	Updated           string `json:"updated"`
}

func showCode(x device.Code, customer int64) any {
	return codeJSON{
		ICCID: string(x.ICCID), Carrier: x.Carrier, NormalizedCarrier: x.NormalizedCarrier, Status: string(x.Status), DeviceID: string(x.Device), EID: string(x.EID),
		Customer: customer, Created: at(x.CreatedAt), Updated: at(x.UpdatedAt),
	}
}

func (d *Door) codes() resource[device.Code] {
	return resource[device.Code]{
		name: "esim_activation_codes", schema: device.CodeSchema, page: d.o.Devices.CodesPage, empty: codeJSON{},
		show: showCode,
	}
}

func (d *Door) codeRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/esim_activation_codes", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/esim_activation_codes/inventory", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(listOf(d, d.codes())), http.MethodPost: d.writing(d.putCodes),
		}},
		{Path: root + "/esim_activation_codes/inventory/{iccid}", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(fetchOf(d, d.codes(), iccidKey, d.o.Devices.Code)), http.MethodPut: d.writing(d.updateCode), http.MethodDelete: d.writing(deleteOf(iccidKey, d.o.Devices.DeleteCode)),
		}},
		{Path: root + "/esim_activation_codes/bulk", MaxBody: maxFile, Methods: map[string]web.Handler{
			http.MethodGet: d.reading(exportOf(d, d.codes())), http.MethodPost: d.writing(d.importCodes),
		}},
	}
}

// codeOf reads an activation code of a request. context names it in a refusal.
func codeOf(b *body) (p device.CodePatch, context map[string]any, err error) {
	iccid := b.required("iccid")
	p = device.CodePatch{ICCID: ident.ICCID(iccid), Carrier: b.text("carrier")}
	if code := b.word("activation_code"); code != "" {
		p.ActivationCode = db.Secret(code)
	} else if b.has("activation_code") && !b.loose { // an empty value of CSV is an absent one
		b.fail("activation_code", "must not be empty")
	}
	if code := b.word("confirmation_code"); code != "" {
		p.ConfirmationCode = db.Secret(code)
	}
	if iccid != "" {
		context = map[string]any{"iccid": iccid}
	}
	return p, context, b.err
}

func (d *Door) putCodes(w http.ResponseWriter, r *web.Request) error {
	list, _, err := readBodies(r)
	if err != nil {
		return err
	}
	return d.storeCodes(w, r, list)
}

func (d *Door) importCodes(w http.ResponseWriter, r *web.Request) error {
	list, err := readTable(r, "iccid", "carrier", "activation_code", "confirmation_code")
	if err != nil {
		return err
	}
	return d.storeCodes(w, r, list)
}

func (d *Door) storeCodes(w http.ResponseWriter, r *web.Request, list []*body) error {
	return putMany(d, w, r, d.codes(), list, codeOf, func(ctx context.Context, by device.By, patches []device.CodePatch) ([]device.Put[device.Code], error) {
		return d.o.Devices.PutCodes(ctx, by, patches, false)
	})
}

// iccidKey is the ICCID in the path.
var iccidKey = key[ident.ICCID]{"iccid", "iccid", func(text string) (ident.ICCID, error) {
	iccid, err := device.ParseICCID(text)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no ICCID %.60q: %v", text, err)
	}
	return iccid, nil
}}

func (d *Door) updateCode(w http.ResponseWriter, r *web.Request) error {
	iccid, err := iccidKey.of(r)
	if err != nil {
		return err
	}
	b, err := readBody(r)
	if err != nil {
		return err
	}
	if b.values == nil {
		b.values = map[string]any{}
	}
	if own, err := device.ParseICCID(b.word("iccid")); b.has("iccid") && (err != nil || !device.SameICCID(own, iccid)) {
		return about(fault.Field("iccid", "is not that of the path"), "iccid", iccid)
	}
	b.values["iccid"] = string(iccid)
	p, context, err := codeOf(b)
	if err != nil {
		return concerning{err, context}
	}
	puts, err := d.o.Devices.PutCodes(r.Context(), by(r), []device.CodePatch{p}, true)
	if err != nil {
		return err
	}
	if puts[0].Err != nil {
		return about(puts[0].Err, "iccid", iccid)
	}
	return writeOne(d, w, r, http.StatusOK, d.codes(), puts[0].Item)
}
