package remote

import (
	"context"
	"encoding/base64"
	"net/http"

	"godwit/device"
	"godwit/fault"
	"godwit/ident"
	"godwit/web"
)

// An esimJSON is an eUICC in a device.
type esimJSON struct {
	EID      string `json:"eid"`
	DeviceID string `json:"device_id"`
	Customer int64  `json:"customer_id"`
	Kind     string `json:"kind,omitempty"`     // ours
	Reported string `json:"reported,omitempty"` // ours: when its profiles were last reported
	Seen     string `json:"last_seen,omitempty"`
}

func showESIM(x device.ESIM, customer int64) any {
	return esimJSON{EID: string(x.EID), DeviceID: string(x.Device), Customer: customer, Kind: x.Kind, Reported: at(x.ReportedAt), Seen: at(x.SeenAt)}
}

func (d *Door) esims(customer int64) resource[device.ESIM] {
	return resource[device.ESIM]{
		name: "esims", schema: numbered(device.ESIMSchema, customer), page: d.o.Devices.ESIMsPage, empty: esimJSON{},
		show: func(x device.ESIM) any { return showESIM(x, customer) },
	}
}

func (d *Door) esimRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/esims", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/esims/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.listESIMs)}},
		{Path: root + "/esims/inventory/{eid}", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.fetchESIM), http.MethodDelete: d.writing(d.deleteESIM)}},
		{Path: root + "/esims/inventory/{eid}/eim_configuration", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.fetchConfiguration)}},
		{Path: root + "/esims/inventory/{eid}/packages", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.listPackages), http.MethodPost: d.writing(d.orderPackage)}},
		{Path: root + "/esims/inventory/{eid}/packages/{id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.fetchPackage)}},
		{Path: root + "/esims/bulk", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.exportESIMs)}},
	}
}

func (d *Door) listESIMs(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return listOf(d, w, r, d.esims(customer), "")
}

func (d *Door) exportESIMs(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return exportOf(d, w, r, d.esims(customer), "")
}

// esim returns the eSIM in the path.
func (d *Door) esim(ctx context.Context, r *web.Request) (device.ESIM, error) {
	text := r.Param("eid")
	if err := ident.EIDForm(text); err != nil {
		return device.ESIM{}, about(fault.New(fault.NotFound, "there is no eSIM %.60q: %v", text, err), "eid", text)
	}
	x, err := d.o.Devices.ESIM(ctx, r.Caller.Account, ident.EID(text))
	return x, about(err, "eid", text)
}

func (d *Door) fetchESIM(w http.ResponseWriter, r *web.Request) error {
	x, err := d.esim(r.Context(), r)
	if err != nil {
		return err
	}
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, showESIM(x, customer))
}

// deleteESIM takes an eSIM out of its device: ours.
func (d *Door) deleteESIM(w http.ResponseWriter, r *web.Request) error {
	x, err := d.esim(r.Context(), r)
	if err != nil {
		return err
	}
	if err := d.o.Devices.DeleteESIM(r.Context(), by(r), x.EID); err != nil {
		return about(err, "eid", x.EID)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// A configurationJSON is what an eUICC is told of the eIM before it can be
// managed: ours.
type configurationJSON struct {
	EID           string `json:"eid"`
	Configuration string `json:"eim_configuration_data"` // base64 of the EimConfigurationData
}

func (d *Door) fetchConfiguration(w http.ResponseWriter, r *web.Request) error {
	x, err := d.esim(r.Context(), r)
	if err != nil {
		return err
	}
	if d.o.Configuration == nil {
		return fault.New(fault.NotFound, "this server has no eIM")
	}
	octets, err := d.o.Configuration(r.Context(), x.EID)
	if err != nil {
		return about(err, "eid", x.EID)
	}
	return web.WriteJSON(w, http.StatusOK, configurationJSON{string(x.EID), base64.StdEncoding.EncodeToString(octets)})
}
