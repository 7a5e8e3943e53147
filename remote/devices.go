package remote

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"godwit/db"
	"godwit/device"
	"godwit/fault"
	"godwit/ident"
	"godwit/query"
	"godwit/web"
)

// A deviceJSON is a device. Absent values are left out; three are always: see
// [device.DeviceSchema].
type deviceJSON struct {
	ID                   string     `json:"id"`
	Name                 string     `json:"name,omitempty"`
	Description          string     `json:"description,omitempty"`
	Contact              string     `json:"contact,omitempty"`
	Location             string     `json:"location,omitempty"`
	Notes                string     `json:"notes,omitempty"`
	Group                string     `json:"group,omitempty"`
	Tags                 []string   `json:"tags,omitempty"`
	Type                 string     `json:"type,omitempty"`
	VendorID             *int64     `json:"vendor_id,omitempty"`
	Position             *pointJSON `json:"geoposition,omitempty"`
	RestrictedStatus     string     `json:"restricted_status,omitempty"`
	MaintenanceMode      string     `json:"maintenance_mode,omitempty"`
	InMaintenanceWindow  string     `json:"in_maintenance_window,omitempty"`
	ConnectionStatus     string     `json:"connection_status"`
	Authenticated        *bool      `json:"authenticated_connection,omitempty"`
	HealthStatus         string     `json:"health_status"`
	Alerts               *int64     `json:"alerts,omitempty"`
	FirmwareVersion      string     `json:"firmware_version,omitempty"`
	FirmwareStatus       string     `json:"firmware_status,omitempty"`
	MAC                  string     `json:"mac,omitempty"`
	SerialNumber         string     `json:"serial_number,omitempty"`
	SKU                  string     `json:"sku,omitempty"`
	ProductID            string     `json:"product_id,omitempty"`
	IP                   string     `json:"ip,omitempty"`
	PublicIP             string     `json:"public_ip,omitempty"`
	Address              string     `json:"address,omitempty"`
	PhoneNumber          string     `json:"phone_number,omitempty"`
	Carrier              string     `json:"carrier,omitempty"`
	Carrier2             string     `json:"carrier2,omitempty"`
	Network              string     `json:"network,omitempty"`
	Network2             string     `json:"network2,omitempty"`
	APN                  string     `json:"apn,omitempty"`
	APN2                 string     `json:"apn2,omitempty"`
	ICCID                string     `json:"iccid,omitempty"`
	ICCID2               string     `json:"iccid2,omitempty"`
	ModemID              string     `json:"cellular_modem_id,omitempty"`
	Modem2ID             string     `json:"cellular_modem2_id,omitempty"`
	SignalStrength       *int64     `json:"signal_strength,omitempty"`
	SignalStrength2      *int64     `json:"signal_strength2,omitempty"`
	SignalPercent        *int64     `json:"signal_percent,omitempty"`
	SignalPercent2       *int64     `json:"signal_percent2,omitempty"`
	SignalQuality        *int64     `json:"signal_quality,omitempty"`
	SignalQuality2       *int64     `json:"signal_quality2,omitempty"`
	Registration         string     `json:"registration_date,omitempty"`
	LastConnect          string     `json:"last_connect,omitempty"`
	LastDisconnect       string     `json:"last_disconnect,omitempty"`
	LastDisconnectReason string     `json:"last_disconnect_reason,omitempty"`
	LastUpdate           string     `json:"last_update,omitempty"`
	ESIMsReported        string     `json:"esims_reported,omitempty"` // ours: how old what is said of its profiles is
	Customer             int64      `json:"customer_id"`
}

// A pointJSON is a place, in GeoJSON.
type pointJSON struct {
	Type        string    `json:"type"`
	Coordinates []float64 `json:"coordinates"` // longitude, latitude
}

func showDevice(x device.Device, customer int64) any {
	out := deviceJSON{
		ID: string(x.ID), Name: x.Name, Description: x.Description, Contact: x.Contact, Location: x.Location, Notes: x.Notes, Group: x.Group, Tags: x.Tags,
		Type: x.Type, VendorID: x.VendorID, RestrictedStatus: x.RestrictedStatus, MaintenanceMode: x.MaintenanceMode, ConnectionStatus: x.ConnectionStatus,
		HealthStatus:    device.HealthUnknown,
		FirmwareVersion: x.FirmwareVersion, FirmwareStatus: x.FirmwareStatus, MAC: x.MAC, SerialNumber: x.SerialNumber, SKU: x.SKU, ProductID: x.ProductID,
		IP: x.IP, PublicIP: x.PublicIP, Address: x.Address, PhoneNumber: x.PhoneNumber,
		Registration: at(x.CreatedAt), LastConnect: at(x.LastConnect), LastDisconnect: at(x.LastDisconnect), LastDisconnectReason: x.LastDisconnectReason,
		LastUpdate: at(x.LastUpdate), ESIMsReported: at(x.ESIMsReportedAt), Customer: customer,
	}
	if x.Position != nil {
		out.Position = &pointJSON{"Point", []float64{x.Position.Longitude, x.Position.Latitude}}
	}
	one, two := x.Modems[0], x.Modems[1]
	out.Carrier, out.Network, out.APN, out.ICCID, out.ModemID = one.Carrier, one.Network, one.APN, one.ICCID, one.IMEI
	out.Carrier2, out.Network2, out.APN2, out.ICCID2, out.Modem2ID = two.Carrier, two.Network, two.APN, two.ICCID, two.IMEI
	out.SignalStrength, out.SignalPercent, out.SignalQuality = one.SignalStrength, one.SignalPercent, one.SignalQuality
	out.SignalStrength2, out.SignalPercent2, out.SignalQuality2 = two.SignalStrength, two.SignalPercent, two.SignalQuality
	return out
}

func (d *Door) devices() resource[device.Device] {
	return resource[device.Device]{
		name: "devices", schema: device.DeviceSchema, page: d.o.Devices.DevicesPage, empty: deviceJSON{},
		show: showDevice,
	}
}

func (d *Door) deviceRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/devices", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/devices/inventory", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(listOf(d, d.devices(), deviceFilter)), http.MethodPost: d.writing(d.putDevices), http.MethodDelete: d.writing(d.deleteDevices),
		}},
		{Path: root + "/devices/inventory/{id}", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(fetchOf(d, d.devices(), deviceKey, d.o.Devices.Device)), http.MethodPut: d.writing(d.updateDevice), http.MethodDelete: d.writing(deleteOf(deviceKey, d.o.Devices.DeleteDevice)),
		}},
		{Path: root + "/devices/bulk", MaxBody: maxFile, Methods: map[string]web.Handler{
			http.MethodGet: d.reading(exportOf(d, d.devices(), deviceFilter)), http.MethodPost: d.writing(d.importDevices),
		}},
		{Path: root + "/devices/types", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.listTypes)}},
	}
}

// deviceFilter reads the parameters by which devices are chosen beside a query,
// as a query.
func deviceFilter(r *web.Request) (string, error) {
	f, err := web.QueryForm(r)
	if err != nil {
		return "", err
	}
	var all []string
	group, children := f.String("group"), f.Bool("child_groups", true)
	if f.Has("group") {
		// The empty path is the root, which has all groups below it.
		operator := "startswith"
		if !children {
			operator = "="
		}
		all = append(all, "group "+operator+" "+query.Quote(group))
	}
	for name, value := range map[string]string{"tags": f.String("tag"), "type": f.String("type"), "address": f.String("address"), "name": f.String("name")} {
		if value != "" {
			all = append(all, name+" = "+query.Quote(value))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " and "), f.Err()
}

// patchOf reads a device of a request. context names it in a refusal.
func patchOf(b *body, id device.ID) (p device.DevicePatch, context map[string]any, err error) {
	text, mac, imei := b.word("id"), b.word("mac"), b.word("imei")
	context = map[string]any{"id": cmp.Or(text, string(id), mac, imei)}
	p = device.DevicePatch{
		ID: id, Name: b.text("name"), Description: b.text("description"), Contact: b.text("contact"), Location: b.text("location"), Notes: b.text("notes"),
		Group: b.text("group"), Tags: b.texts("tags"), Type: b.text("type"), VendorID: b.number("vendor_id"),
		RestrictedStatus: b.text("restricted_status"), MaintenanceMode: b.text("maintenance_mode"),
	}
	if mac != "" {
		p.MAC = &mac
	}
	if code := b.text("install_code"); code != nil {
		p.InstallCode = db.Secret(*code)
	}
	p.Position = b.position("geoposition")
	p.EIDs = b.eids()
	if b.err != nil {
		return p, context, b.err
	}
	if id != "" {
		return p, context, nil
	}
	switch {
	case text != "":
		p.ID, err = device.ParseID(text)
	case mac != "":
		p.ID, err = device.IDFromMAC(mac)
	case imei != "":
		p.ID, err = device.IDFromIMEI(imei)
	default:
		return p, nil, fault.Field("id", "is required, or the mac that it is derived from")
	}
	if err != nil {
		return p, context, fault.New(fault.Invalid, "Invalid device id: %v", err)
	}
	context["id"] = string(p.ID)
	return p, context, nil
}

// position reads a GeoJSON point.
func (b *body) position(name string) *device.Position {
	v := b.values[name]
	if v == nil {
		return nil
	}
	object, _ := v.(map[string]any)
	list, _ := object["coordinates"].([]any)
	if text, ok := v.(string); ok && b.loose {
		for one := range strings.SplitSeq(text, ",") {
			list = append(list, json.Number(strings.TrimSpace(one)))
		}
	}
	var c [2]float64
	for i := range min(len(list), 2) {
		n, ok := list[i].(json.Number)
		f, err := n.Float64()
		if !ok || err != nil {
			list = nil
			break
		}
		c[i] = f
	}
	if len(list) < 2 {
		b.fail(name, `must be a point like {"type": "Point", "coordinates": [longitude, latitude]}`)
		return nil
	}
	return &device.Position{Longitude: c[0], Latitude: c[1]}
}

// eids reads the eSIMs of a device: ours. Each is an EID, or an object with eid,
// kind and agent_key.
func (b *body) eids() []device.EIDPatch {
	items, _ := b.values["eids"].([]any)
	switch v := b.values["eids"].(type) {
	case nil, []any:
	case string:
		for one := range strings.SplitSeq(v, ",") {
			items = append(items, strings.TrimSpace(one))
		}
	default:
		b.fail("eids", "must be an array of EIDs")
	}
	if one := b.values["eid"]; one != nil {
		items = append(items, one)
	}
	var list []device.EIDPatch
	for _, item := range items {
		p := device.EIDPatch{}
		text := ""
		switch item := item.(type) {
		case string:
			text = item
		case map[string]any:
			inner := &body{values: item}
			text, p.Kind = inner.required("eid"), inner.word("kind")
			if key := inner.word("agent_key"); key != "" {
				var err error
				if p.AgentKey, err = base64.StdEncoding.DecodeString(key); err != nil {
					inner.fail("agent_key", "must be a SubjectPublicKeyInfo in base64")
				}
			}
			if inner.err != nil && b.err == nil {
				b.err = inner.err
			}
		default:
			b.fail("eids", "must be an array of EIDs")
			continue
		}
		eid, err := ident.ParseEID(text)
		if err != nil {
			b.fail("eids", "has one that is wrong: %v", err)
		}
		p.EID = eid
		list = append(list, p)
	}
	return list
}

func (d *Door) putDevices(w http.ResponseWriter, r *web.Request) error {
	list, _, err := readBodies(r)
	if err != nil {
		return err
	}
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	only := f.Bool("update_only", false)
	if err := f.Err(); err != nil {
		return err
	}
	return d.storeDevices(w, r, list, device.PutOptions{UpdateOnly: only})
}

// storeDevices stores devices, each for itself.
func (d *Door) storeDevices(w http.ResponseWriter, r *web.Request, list []*body, o device.PutOptions) error {
	return putMany(d, w, r, d.devices(), list,
		func(b *body) (device.DevicePatch, map[string]any, error) { return patchOf(b, "") },
		func(ctx context.Context, by device.By, patches []device.DevicePatch) ([]device.Put[device.Device], error) {
			return d.o.Devices.PutDevices(ctx, by, patches, o)
		})
}

// deviceColumns are the fields that a CSV of devices may have.
var deviceColumns = []string{
	"id", "mac", "imei", "name", "description", "contact", "location", "notes", "group", "tags", "type", "vendor_id", "geoposition", "restricted_status",
	"maintenance_mode", "install_code", "eids", "eid",
}

func (d *Door) importDevices(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	update := f.Bool("update", false)
	if err := f.Err(); err != nil {
		return err
	}
	list, err := readTable(r, deviceColumns...)
	if err != nil {
		return err
	}
	return d.storeDevices(w, r, list, device.PutOptions{CreateOnly: !update})
}

// deviceKey is the device in the path.
var deviceKey = key[device.ID]{"id", "id", func(text string) (device.ID, error) {
	id, err := device.ParseID(text)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no device %.60q: %v", text, err)
	}
	return id, nil
}}

func (d *Door) updateDevice(w http.ResponseWriter, r *web.Request) error {
	id, err := deviceKey.of(r)
	if err != nil {
		return err
	}
	b, err := readBody(r)
	if err != nil {
		return err
	}
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	only := f.Bool("update_only", false)
	if err := f.Err(); err != nil {
		return err
	}
	p, context, err := patchOf(b, id)
	if err != nil {
		return concerning{err, context}
	}
	if text := b.word("id"); text != "" && !strings.EqualFold(text, string(id)) {
		return about(fault.Field("id", "is not that of the path"), "id", id)
	}
	puts, err := d.o.Devices.PutDevices(r.Context(), by(r), []device.DevicePatch{p}, device.PutOptions{UpdateOnly: only})
	if err != nil {
		return err
	}
	if puts[0].Err != nil {
		return about(puts[0].Err, "id", id)
	}
	status := http.StatusOK
	if puts[0].Created {
		status = http.StatusCreated
	}
	return writeOne(d, w, r, status, d.devices(), puts[0].Item)
}

// deleteDevices removes the devices that a parameter chooses. Without one it
// would be all of them, which nobody means.
func (d *Door) deleteDevices(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	if f.String("tag") == "" && f.String("type") == "" && f.String("address") == "" && f.String("name") == "" {
		return fault.New(fault.Invalid, "say which devices: with tag, type, address or name")
	}
	more, err := deviceFilter(r)
	if err != nil {
		return err
	}
	where, err := query.Parse(more, device.DeviceSchema, d.o.Now())
	if err != nil {
		return err
	}
	order, err := query.ParseOrder("", device.DeviceSchema)
	if err != nil {
		return err
	}
	removed := 0
	for spec := (query.Spec{Where: where, Order: order, Size: maxPage}); ; {
		page, err := d.o.Devices.DevicesPage(r.Context(), r.Caller.Account, spec)
		if err != nil {
			return err
		}
		for _, x := range page.Items {
			switch err := d.o.Devices.DeleteDevice(r.Context(), by(r), x.ID); {
			case fault.Is(err, fault.NotFound): // somebody else was faster
			case err != nil:
				return about(err, "id", x.ID)
			default:
				removed++
			}
		}
		if spec.After = page.Next; page.Next == nil {
			break
		}
	}
	return web.WriteJSON(w, http.StatusOK, countJSON{removed})
}

// A countJSON says how many records something was done to.
type countJSON struct {
	Count int `json:"count"`
}

// A typeJSON is a type of devices in use.
type typeJSON struct {
	Type  string `json:"type"`
	Count int64  `json:"count"`
}

func (d *Door) listTypes(w http.ResponseWriter, r *web.Request) error {
	types, err := d.o.Devices.Types(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	var list []any
	for _, name := range slices.Sorted(maps.Keys(types)) {
		list = append(list, typeJSON{name, types[name]})
	}
	return writeMany(w, http.StatusOK, list)
}
