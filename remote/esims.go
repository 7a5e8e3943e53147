package remote

import (
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

func (d *Door) esims() resource[device.ESIM] {
	return resource[device.ESIM]{
		name: "esims", schema: device.ESIMSchema, page: d.o.Devices.ESIMsPage, empty: esimJSON{},
		show: showESIM,
	}
}

func (d *Door) esimRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/esims", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/esims/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(listOf(d, d.esims()))}},
		{Path: root + "/esims/inventory/{eid}", Methods: map[string]web.Handler{http.MethodGet: d.reading(fetchOf(d, d.esims(), eidKey, d.o.Devices.ESIM)), http.MethodDelete: d.writing(deleteOf(eidKey, d.o.Devices.DeleteESIM))}},
		{Path: root + "/esims/inventory/{eid}/eim_configuration", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.fetchConfiguration)}},
		{Path: root + "/esims/inventory/{eid}/packages", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.listPackages), http.MethodPost: d.writing(d.orderPackage)}},
		{Path: root + "/esims/inventory/{eid}/packages/{id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.fetchPackage)}},
		{Path: root + "/esims/bulk", Methods: map[string]web.Handler{http.MethodGet: d.reading(exportOf(d, d.esims()))}},
	}
}

// eidKey is the EID in the path.
var eidKey = key[ident.EID]{"eid", "eid", func(text string) (ident.EID, error) {
	if err := ident.EIDForm(text); err != nil {
		return "", fault.New(fault.NotFound, "there is no eSIM %.60q: %v", text, err)
	}
	return ident.EID(text), nil
}}

// esim returns the eSIM in the path.
func (d *Door) esim(r *web.Request) (device.ESIM, error) {
	eid, err := eidKey.of(r)
	if err != nil {
		return device.ESIM{}, err
	}
	x, err := d.o.Devices.ESIM(r.Context(), r.Caller.Account, eid)
	return x, about(err, "eid", eid)
}

// A configurationJSON is what an eUICC is told of the eIM before it can be
// managed: ours.
type configurationJSON struct {
	EID           string `json:"eid"`
	Configuration string `json:"eim_configuration_data"` // base64 of the EimConfigurationData
}

func (d *Door) fetchConfiguration(w http.ResponseWriter, r *web.Request) error {
	x, err := d.esim(r)
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
