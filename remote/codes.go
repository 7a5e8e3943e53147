package remote

import (
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

func (d *Door) codes(customer int64) resource[device.Code] {
	return resource[device.Code]{
		name: "esim_activation_codes", schema: numbered(device.CodeSchema, customer), page: d.o.Devices.CodesPage, empty: codeJSON{},
		show: func(x device.Code) any { return showCode(x, customer) },
	}
}

func (d *Door) codeRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/esim_activation_codes", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/esim_activation_codes/inventory", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(d.listCodes), http.MethodPost: d.writing(d.putCodes),
		}},
		{Path: root + "/esim_activation_codes/inventory/{iccid}", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(d.fetchCode), http.MethodPut: d.writing(d.updateCode), http.MethodDelete: d.writing(d.deleteCode),
		}},
		{Path: root + "/esim_activation_codes/bulk", MaxBody: maxFile, Methods: map[string]web.Handler{
			http.MethodGet: d.reading(d.exportCodes), http.MethodPost: d.writing(d.importCodes),
		}},
	}
}

func (d *Door) listCodes(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return listOf(d, w, r, d.codes(customer), "")
}

func (d *Door) exportCodes(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return exportOf(d, w, r, d.codes(customer), "")
}

// codeOf reads an activation code of a request. context names it in a refusal.
func codeOf(b *body) (p device.CodePatch, context map[string]any, err error) {
	iccid := b.required("iccid")
	p = device.CodePatch{ICCID: ident.ICCID(iccid), Carrier: b.text("carrier")}
	if code := b.word("activation_code"); code != "" {
		p.ActivationCode = db.Secret(code)
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
	if len(list) > maxExport {
		return fault.New(fault.Invalid, "the request has more than %d records: send them in parts", maxExport)
	}
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	out := make([]any, len(list))
	var patches []device.CodePatch
	var places []int
	contexts := make([]map[string]any, len(list))
	for i, b := range list {
		p, context, err := codeOf(b)
		if context == nil {
			context = map[string]any{"index": i} // it has no key
		}
		contexts[i] = context
		if err != nil {
			out[i] = outcome(err, context)
			continue
		}
		patches, places = append(patches, p), append(places, i)
	}
	puts, err := d.o.Devices.PutCodes(r.Context(), by(r), patches, false)
	if err != nil {
		return err
	}
	for n, put := range puts {
		i := places[n]
		if put.Err != nil {
			out[i] = outcome(put.Err, contexts[i])
		} else {
			out[i] = showCode(put.Code, customer)
		}
	}
	return writeMany(w, http.StatusCreated, out)
}

// iccidKey reads the ICCID in the path. What is none names nothing.
func iccidKey(r *web.Request) (ident.ICCID, error) {
	iccid, err := device.ParseICCID(r.Param("iccid"))
	if err != nil {
		return "", about(fault.New(fault.NotFound, "there is no ICCID %.60q: %v", r.Param("iccid"), err), "iccid", r.Param("iccid"))
	}
	return iccid, nil
}

func (d *Door) fetchCode(w http.ResponseWriter, r *web.Request) error {
	iccid, err := iccidKey(r)
	if err != nil {
		return err
	}
	x, err := d.o.Devices.Code(r.Context(), r.Caller.Account, iccid)
	if err != nil {
		return about(err, "iccid", iccid)
	}
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, showCode(x, customer))
}

func (d *Door) updateCode(w http.ResponseWriter, r *web.Request) error {
	iccid, err := iccidKey(r)
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
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, showCode(puts[0].Code, customer))
}

func (d *Door) deleteCode(w http.ResponseWriter, r *web.Request) error {
	iccid, err := iccidKey(r)
	if err != nil {
		return err
	}
	if err := d.o.Devices.DeleteCode(r.Context(), by(r), iccid); err != nil {
		return about(err, "iccid", iccid)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
