package device

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/query"
)

// A DevicePatch creates a device or changes what it names of one.
type DevicePatch struct {
	ID               ID
	Name             *string
	Description      *string
	Contact          *string
	Location         *string
	Notes            *string
	Group            *string
	Tags             *[]string
	Type             *string
	VendorID         *int64
	Position         *Position
	RestrictedStatus *string
	MaintenanceMode  *string
	InstallCode      db.Secret // nil: as it was
	MAC              *string   // as IDFromMAC reads it
	EIDs             []EIDPatch
}

// PutOptions say what a request may do to devices.
type PutOptions struct {
	UpdateOnly bool // refuse to create
	CreateOnly bool // leave devices as they are that exist
}

// PutDevices creates and changes devices, each for itself: what is refused is in
// the answer, in its place. An error is trouble of our own.
func (s *Store) PutDevices(ctx context.Context, by By, list []DevicePatch, o PutOptions) ([]Put[Device], error) {
	return putEach(ctx, s.DB, list, func(tx *db.Tx, p DevicePatch) (Device, bool, error) { return s.PutDevice(ctx, tx, by, p, o) })
}

// PutDevice creates or changes one device as part of the caller's transaction.
// What it refuses, it refuses before it has written anything.
func (s *Store) PutDevice(ctx context.Context, tx *db.Tx, by By, p DevicePatch, o PutOptions) (Device, bool, error) {
	if _, err := ParseID(string(p.ID)); err != nil {
		return Device{}, false, fault.Field("id", "%v", err)
	}
	d, err := deviceTable.read(ctx, tx, string(p.ID), tx.ForUpdate())
	exists := err == nil
	switch {
	case err != nil && !db.None(err):
		return d, false, fmt.Errorf("read device %s: %w", p.ID, err)
	case exists && d.Account != by.Account:
		return d, false, fault.New(fault.Conflict, "device %s belongs to another account", p.ID)
	case !exists && o.UpdateOnly:
		return d, false, fault.New(fault.NotFound, "there is no device %s", p.ID)
	case exists && o.CreateOnly:
		return d, false, nil
	}
	if !exists {
		d = Device{ID: p.ID, Account: by.Account, ConnectionStatus: "disconnected"}
		d.RestrictedStatus, d.MaintenanceMode = "unrestricted", "off"
	}
	if err := p.apply(&d); err != nil {
		return d, false, err
	}
	for i, e := range p.EIDs {
		if err := s.checkESIM(ctx, tx, by.Account, d.ID, e); err != nil {
			return d, false, err
		}
		if slices.ContainsFunc(p.EIDs[:i], func(other EIDPatch) bool { return other.EID == e.EID }) {
			return d, false, fault.Field("eids", "EID %s is there twice", e.EID)
		}
	}
	if err := s.storeDevice(ctx, tx, &d, p, exists); err != nil {
		return d, false, err
	}
	kind := "device.updated"
	if !exists {
		kind = "device.created"
	}
	if err := s.record(ctx, tx, event.Event{Kind: kind, Subject: string(d.ID), Account: d.Account, Data: by.data(map[string]any{
		"name": d.Name, "group": d.Group, "type": d.Type, "tags": d.Tags,
	})}); err != nil {
		return d, false, err
	}
	for _, e := range p.EIDs {
		if err := s.putESIM(ctx, tx, by, d.ID, e); err != nil {
			return d, false, err
		}
	}
	return d, !exists, s.placed(ctx, tx, d, exists, p)
}

// placed has templates look at a device that has come into a group.
func (s *Store) placed(ctx context.Context, tx *db.Tx, d Device, existed bool, p DevicePatch) error {
	if !existed || p.Group == nil && p.Type == nil {
		return nil
	}
	eids, err := EIDs(ctx, tx, d.ID)
	if err != nil {
		return err
	}
	for _, eid := range eids {
		if err := s.trigger(ctx, tx, d.Account, eid, triggerPlaced); err != nil {
			return err
		}
	}
	return nil
}

// apply changes what the patch names.
func (p DevicePatch) apply(d *Device) error {
	for _, t := range []struct {
		name    string
		of      *string
		to      *string
		longest int
	}{
		{"name", p.Name, &d.Name, maxText},
		{"description", p.Description, &d.Description, maxNotes},
		{"contact", p.Contact, &d.Contact, maxNotes},
		{"location", p.Location, &d.Location, maxNotes},
		{"notes", p.Notes, &d.Notes, maxNotes},
		{"group", p.Group, &d.Group, maxText},
		{"type", p.Type, &d.Type, maxText},
	} {
		if t.of == nil {
			continue
		}
		if err := checkText(t.name, *t.of, t.longest); err != nil {
			return err
		}
		*t.to = *t.of
	}
	d.Group = strings.Trim(d.Group, "/")
	if p.Tags != nil {
		d.Tags = nil
		for _, tag := range *p.Tags {
			if tag == "" {
				return fault.Field("tags", "a tag must not be empty")
			}
			if err := checkText("tags", tag, maxText); err != nil {
				return err
			}
			if !slices.Contains(d.Tags, tag) {
				d.Tags = append(d.Tags, tag)
			}
		}
		if len(d.Tags) > 100 {
			return fault.Field("tags", "a device has at most 100 tags")
		}
	}
	if p.VendorID != nil {
		d.VendorID = p.VendorID
	}
	if p.Position != nil {
		if math.Abs(p.Position.Longitude) > 180 || math.Abs(p.Position.Latitude) > 90 || p.Position.Longitude != p.Position.Longitude || p.Position.Latitude != p.Position.Latitude {
			return fault.Field("geoposition", "a longitude is within ±180 degrees, a latitude within ±90")
		}
		d.Position = p.Position
	}
	if p.RestrictedStatus != nil {
		if !slices.Contains(RestrictedStatuses, *p.RestrictedStatus) {
			return fault.Field("restricted_status", "must be one of %s", strings.Join(RestrictedStatuses, ", "))
		}
		d.RestrictedStatus = *p.RestrictedStatus
	}
	if p.MaintenanceMode != nil {
		if *p.MaintenanceMode != "on" && *p.MaintenanceMode != "off" {
			return fault.Field("maintenance_mode", "must be on or off")
		}
		d.MaintenanceMode = *p.MaintenanceMode
	}
	if p.MAC != nil {
		if _, err := IDFromMAC(*p.MAC); err != nil {
			return fault.Field("mac", "%v", err)
		}
		d.MAC = macText(*p.MAC)
	}
	if len(p.InstallCode) > maxText {
		return fault.Field("install_code", "must have at most %d bytes", maxText)
	}
	return nil
}

// HealthUnknown is the health of every device: nothing here judges it.
const HealthUnknown = "unknown"

// HealthStatuses lists what health_status may be.
var HealthStatuses = []string{"normal", "warning", "error", HealthUnknown}

// RestrictedStatuses lists what restricted_status may be.
var RestrictedStatuses = []string{"unrestricted", "restricted", "disabled", "untrusted"}

// maxNotes bounds longer texts, in bytes.
const maxNotes = 4000

// maxText bounds names and other short texts, in bytes.
const maxText = 255

func checkText(field, text string, longest int) error {
	if len(text) > longest || !db.IsText(text) {
		return fault.Field(field, "must be text in UTF-8 of at most %d bytes", longest)
	}
	return nil
}

// macText writes a MAC address that IDFromMAC has read.
func macText(mac string) string {
	d := strings.ToUpper(strings.NewReplacer(":", "", "-", "", ".", "").Replace(mac))
	return d[:2] + ":" + d[2:4] + ":" + d[4:6] + ":" + d[6:8] + ":" + d[8:10] + ":" + d[10:]
}

// deviceColumns are those that a device's value has, in the order of
// deviceValues and scanDevice.
var deviceColumns = []string{
	"device_id", "account_sid", "name", "description", "contact", "location", "notes", "group_path", "type", "vendor_id", "longitude", "latitude",
	"restricted_status", "maintenance_mode", "tags", "connection_status", "last_connect", "last_disconnect", "last_disconnect_reason",
	"last_update", "seen_at", "esims_reported_at", "firmware_version", "firmware_status", "mac", "serial_number", "sku", "product_id",
	"ip", "public_ip", "address", "phone_number", "carrier", "carrier2", "network", "network2", "apn", "apn2", "iccid", "iccid2",
	"cellular_modem_id", "cellular_modem2_id", "signal_strength", "signal_strength2", "signal_percent", "signal_percent2",
	"signal_quality", "signal_quality2", "updated_at",
}

// foldedColumns are written beside them and never read back.
var foldedColumns = []string{
	"name_folded", "description_folded", "contact_folded", "location_folded", "notes_folded", "group_folded", "type_folded",
	"carrier_folded", "carrier2_folded", "network_folded", "network2_folded",
}

func (d *Device) values() ([]any, error) {
	tags, err := json.Marshal(append([]string{}, d.Tags...))
	if err != nil {
		return nil, fmt.Errorf("write tags: %w", err)
	}
	var longitude, latitude *int64
	if d.Position != nil {
		x, y := int64(math.Round(d.Position.Longitude*1e6)), int64(math.Round(d.Position.Latitude*1e6))
		longitude, latitude = &x, &y
	}
	a, b := &d.Modems[0], &d.Modems[1]
	return []any{
		string(d.ID), d.Account, d.Name, d.Description, d.Contact, d.Location, d.Notes, d.Group, d.Type, d.VendorID, longitude, latitude,
		d.RestrictedStatus, d.MaintenanceMode, string(tags), d.ConnectionStatus, micros(d.LastConnect), micros(d.LastDisconnect), d.LastDisconnectReason,
		micros(d.LastUpdate), micros(d.SeenAt), micros(d.ESIMsReportedAt), d.FirmwareVersion, d.FirmwareStatus, d.MAC, d.SerialNumber, d.SKU, d.ProductID,
		d.IP, d.PublicIP, d.Address, d.PhoneNumber, a.Carrier, b.Carrier, a.Network, b.Network, a.APN, b.APN, a.ICCID, b.ICCID,
		a.IMEI, b.IMEI, a.SignalStrength, b.SignalStrength, a.SignalPercent, b.SignalPercent,
		a.SignalQuality, b.SignalQuality, micros(d.UpdatedAt),
		query.Fold(d.Name), query.Fold(d.Description), query.Fold(d.Contact), query.Fold(d.Location), query.Fold(d.Notes), query.Fold(d.Group),
		query.Fold(d.Type), query.Fold(a.Carrier), query.Fold(b.Carrier), query.Fold(a.Network), query.Fold(b.Network),
	}, nil
}

var selectDevice = `select ` + strings.Join(deviceColumns, ", ") + `, created_at from device d`

func scanDevice(r db.Row, more ...any) (d Device, err error) {
	var tags string
	var longitude, latitude *int64
	var connect, disconnect, update, seen, reported, updated, created int64
	a, b := &d.Modems[0], &d.Modems[1]
	err = r.Scan(append([]any{
		&d.ID, &d.Account, &d.Name, &d.Description, &d.Contact, &d.Location, &d.Notes, &d.Group, &d.Type, &d.VendorID, &longitude, &latitude,
		&d.RestrictedStatus, &d.MaintenanceMode, &tags, &d.ConnectionStatus, &connect, &disconnect, &d.LastDisconnectReason,
		&update, &seen, &reported, &d.FirmwareVersion, &d.FirmwareStatus, &d.MAC, &d.SerialNumber, &d.SKU, &d.ProductID,
		&d.IP, &d.PublicIP, &d.Address, &d.PhoneNumber, &a.Carrier, &b.Carrier, &a.Network, &b.Network, &a.APN, &b.APN, &a.ICCID, &b.ICCID,
		&a.IMEI, &b.IMEI, &a.SignalStrength, &b.SignalStrength, &a.SignalPercent, &b.SignalPercent,
		&a.SignalQuality, &b.SignalQuality, &updated, &created,
	}, more...)...)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(tags), &d.Tags); err != nil {
		return d, fmt.Errorf("read tags of %s: %w", d.ID, err)
	}
	if longitude != nil && latitude != nil {
		d.Position = &Position{Longitude: float64(*longitude) / 1e6, Latitude: float64(*latitude) / 1e6}
	}
	d.LastConnect, d.LastDisconnect, d.LastUpdate, d.SeenAt = moment(connect), moment(disconnect), moment(update), moment(seen)
	d.ESIMsReportedAt, d.UpdatedAt, d.CreatedAt = moment(reported), later(moment(updated), moment(created)), moment(created)
	return d, nil
}

var insertDevice = func() string {
	columns := append(append([]string{}, deviceColumns...), foldedColumns...)
	columns = append(columns, "install_code", "created_at")
	marks := make([]string, len(columns))
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+1)
	}
	return `insert into device (` + strings.Join(columns, ", ") + `) values (` + strings.Join(marks, ", ") + `) on conflict do nothing`
}()

var updateDevice = func() string {
	columns := append(append([]string{}, deviceColumns...), foldedColumns...)
	var sets []string
	for i, c := range columns[1:] {
		sets = append(sets, fmt.Sprintf("%s = $%d", c, i+2))
	}
	sets = append(sets, fmt.Sprintf("install_code = coalesce($%d, install_code)", len(columns)+1))
	return `update device set ` + strings.Join(sets, ", ") + ` where device_id = $1`
}()

// storeDevice writes a device with what the patch says beside it.
func (s *Store) storeDevice(ctx context.Context, tx *db.Tx, d *Device, p DevicePatch, exists bool) error {
	d.UpdatedAt = later(s.now(), d.UpdatedAt)
	values, err := d.values()
	if err != nil {
		return err
	}
	var sealed []byte
	if p.InstallCode != nil {
		sealed = s.DB.Seal(installRow(d.ID), p.InstallCode)
	}
	values = append(values, sealed)
	if exists {
		_, err = exec(ctx, tx, "store device", updateDevice, values...)
	} else {
		var created int64
		created, err = s.insert(ctx, tx, "device", insertDevice, values...)
		d.CreatedAt = moment(created)
		d.UpdatedAt = later(d.UpdatedAt, d.CreatedAt)
	}
	if err != nil || p.Tags == nil {
		return err
	}
	if _, err := exec(ctx, tx, "drop tags", `delete from device_tag where device_id = $1`, string(d.ID)); err != nil {
		return err
	}
	for _, tag := range d.Tags {
		if _, err := exec(ctx, tx, "store tag", `insert into device_tag (device_id, tag, tag_folded) values ($1, $2, $3)`, string(d.ID), tag, query.Fold(tag)); err != nil {
			return err
		}
	}
	return nil
}

func installRow(id ID) string { return "device/" + string(id) + "/install_code" }

// later is the later of two moments: what was updated is never older than it was.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// Device returns a device of an account.
func (s *Store) Device(ctx context.Context, account string, id ID) (Device, error) {
	return deviceTable.get(ctx, s.DB, account, string(id))
}

// FindDevice is Device inside the caller's transaction.
func (s *Store) FindDevice(ctx context.Context, q db.Query, account string, id ID) (Device, error) {
	return deviceTable.find(ctx, q, account, string(id), "")
}

// ByInstallCode returns the device whose install code this is. The refusal is of
// kind [fault.Unauthorized] and the same for a device that is not there, that
// has no install code, or that has another.
func (s *Store) ByInstallCode(ctx context.Context, q db.Query, id ID, code string) (Device, error) {
	refused := fault.New(fault.Unauthorized, "no device %s with this install code", id)
	var sealed []byte
	err := q.QueryRowContext(ctx, `select install_code from device where device_id = $1`, string(id)).Scan(&sealed)
	if db.None(err) || err == nil && sealed == nil {
		return Device{}, refused
	}
	if err != nil {
		return Device{}, fmt.Errorf("read install code of %s: %w", id, err)
	}
	plain, err := s.DB.Unseal(installRow(id), sealed)
	if err != nil {
		return Device{}, err
	}
	if code == "" || subtle.ConstantTimeCompare(plain, []byte(code)) != 1 {
		return Device{}, refused
	}
	return deviceTable.read(ctx, q, string(id), "")
}

// PutFacts takes over what a device says of itself; empty fields leave what is
// there. It is a sign of life too.
func (s *Store) PutFacts(ctx context.Context, tx *db.Tx, id ID, f Facts) error {
	d, err := deviceTable.read(ctx, tx, string(id), tx.ForUpdate())
	if db.None(err) {
		return fault.New(fault.NotFound, "there is no device %s", id)
	}
	if err != nil {
		return fmt.Errorf("read device %s: %w", id, err)
	}
	was := d
	pairs := []struct{ of, to *string }{
		{&f.FirmwareVersion, &d.FirmwareVersion},
		{&f.FirmwareStatus, &d.FirmwareStatus},
		{&f.MAC, &d.MAC},
		{&f.SerialNumber, &d.SerialNumber},
		{&f.SKU, &d.SKU},
		{&f.ProductID, &d.ProductID},
		{&f.IP, &d.IP},
		{&f.PublicIP, &d.PublicIP},
		{&f.Address, &d.Address},
		{&f.PhoneNumber, &d.PhoneNumber},
	}
	for i := range f.Modems {
		of, to := &f.Modems[i], &d.Modems[i]
		pairs = append(pairs, []struct{ of, to *string }{
			{&of.IMEI, &to.IMEI}, {&of.ICCID, &to.ICCID}, {&of.Carrier, &to.Carrier}, {&of.Network, &to.Network}, {&of.APN, &to.APN},
		}...)
		for _, n := range []struct{ of, to **int64 }{
			{&of.SignalStrength, &to.SignalStrength}, {&of.SignalPercent, &to.SignalPercent}, {&of.SignalQuality, &to.SignalQuality},
		} {
			if *n.of != nil {
				*n.to = *n.of
			}
		}
	}
	for _, p := range pairs {
		if *p.of != "" {
			*p.to = db.Text(*p.of, maxText)
		}
	}
	if f.MAC != "" {
		if _, err := IDFromMAC(f.MAC); err != nil {
			return fault.Field("mac", "%v", err)
		}
		d.MAC = macText(f.MAC)
	}
	now := s.now()
	changed := !reflect.DeepEqual(d, was)
	d.LastUpdate = now
	s.connect(&d, now)
	if err := s.storeDevice(ctx, tx, &d, DevicePatch{}, true); err != nil {
		return err
	}
	switch {
	case d.ConnectionStatus != was.ConnectionStatus:
		return s.record(ctx, tx, event.Event{Kind: "device.connected", Subject: string(d.ID), Account: d.Account, Data: map[string]any{"to": d.ConnectionStatus}})
	case changed:
		return s.record(ctx, tx, event.Event{Kind: "device.reported", Subject: string(d.ID), Account: d.Account})
	}
	return nil
}

// connect marks a device as seen.
func (s *Store) connect(d *Device, at time.Time) {
	d.SeenAt = later(at, d.SeenAt)
	if d.ConnectionStatus != "connected" {
		d.ConnectionStatus, d.LastConnect = "connected", at
	}
}

// Types returns the device types in use, with how many devices are of each.
func (s *Store) Types(ctx context.Context, account string) (types map[string]int64, err error) {
	types = map[string]int64{}
	err = s.DB.Read(ctx, func(q db.Query) error {
		rows, err := q.QueryContext(ctx, `select type, count(*) from device where account_sid = $1 and type_folded > '' group by type`, account)
		if err != nil {
			return fmt.Errorf("read device types: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var n int64
			if err := rows.Scan(&name, &n); err != nil {
				return fmt.Errorf("read device types: %w", err)
			}
			types[name] = n
		}
		return rows.Err()
	})
	return types, err
}

// DeleteDevice removes a device with its eSIMs and their profiles' records. Its
// running transactions become unknown, its running operation fails.
func (s *Store) DeleteDevice(ctx context.Context, by By, id ID) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		// Held, so that nobody puts an eSIM into it meanwhile.
		d, err := deviceTable.find(ctx, tx, by.Account, string(id), tx.ForUpdate())
		if err != nil {
			return err
		}
		eids, err := EIDs(ctx, tx, d.ID)
		if err != nil {
			return err
		}
		for _, eid := range eids {
			if err := s.dropESIM(ctx, tx, by, eid, "The device was deleted"); err != nil {
				return err
			}
		}
		for _, statement := range []string{`delete from device_tag where device_id = $1`, `delete from device where device_id = $1`} {
			if _, err := exec(ctx, tx, "delete device", statement, string(d.ID)); err != nil {
				return err
			}
		}
		if s.Deleted != nil {
			if err := s.Deleted(ctx, tx, d.ID); err != nil {
				return err
			}
		}
		return s.record(ctx, tx, event.Event{Kind: "device.deleted", Subject: string(d.ID), Account: d.Account, Data: by.data(nil)})
	})
}
