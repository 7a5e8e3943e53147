package device

import (
	"context"

	"godwit/query"
)

var deviceTable = table[Device]{
	name: "device", selects: selectDevice, is: "d.device_id = $1", account: "d.account_sid", scan: scanDevice,
	place: func(x Device) int64 { return micros(x.CreatedAt) },
}

// DeviceSchema is the fields by which devices are listed. The account's own number,
// customer_id, is the door's to add, here and in the other schemas.
var DeviceSchema = &query.Schema{
	Key: "registration_date",
	Fields: []query.Field{
		{Name: "id", Kind: query.Text, SQL: "d.device_id", Upper: true},
		{Name: "registration_date", Kind: query.Time, SQL: "d.created_at"},
		{Name: "name", Kind: query.Text, SQL: "d.name", Folded: "d.name_folded"},
		{Name: "description", Kind: query.Text, SQL: "d.description", Folded: "d.description_folded"},
		{Name: "contact", Kind: query.Text, SQL: "d.contact", Folded: "d.contact_folded"},
		{Name: "location", Kind: query.Text, SQL: "d.location", Folded: "d.location_folded"},
		{Name: "notes", Kind: query.Text, SQL: "d.notes", Folded: "d.notes_folded"},
		{Name: "group", Kind: query.Group, SQL: "d.group_path", Folded: "d.group_folded"},
		{Name: "tags", Kind: query.Tags, SQL: "exists (select 1 from device_tag g where g.device_id = d.device_id and %s)", Folded: "g.tag_folded"},
		{Name: "type", Kind: query.Text, SQL: "d.type", Folded: "d.type_folded"},
		{Name: "vendor_id", Kind: query.Number, SQL: "d.vendor_id", Nullable: true},
		{Name: "geoposition", Kind: query.Position, SQL: "d.longitude", Latitude: "d.latitude", Nullable: true},
		{Name: "restricted_status", Kind: query.Enum, SQL: "d.restricted_status", Values: RestrictedStatuses},
		{Name: "maintenance_mode", Kind: query.Enum, SQL: "d.maintenance_mode", Values: []string{"on", "off"}},
		{Name: "connection_status", Kind: query.Enum, SQL: "d.connection_status", Values: []string{"connected", "disconnected"}},
		// What nobody here judges or counts is known by name, so that queries for it do
		// not fail: no device has it, and the health of all is unknown.
		{Name: "health_status", Kind: query.Enum, SQL: "cast('" + HealthUnknown + "' as text)", Values: HealthStatuses},
		{Name: "authenticated_connection", Kind: query.Bool, SQL: "cast(null as boolean)", Nullable: true},
		{Name: "in_maintenance_window", Kind: query.Text, SQL: "cast('' as text)"},
		{Name: "alerts", Kind: query.Number, SQL: "cast(null as bigint)", Nullable: true},
		{Name: "last_connect", Kind: query.Time, SQL: "nullif(d.last_connect, 0)", Nullable: true},
		{Name: "last_disconnect", Kind: query.Time, SQL: "nullif(d.last_disconnect, 0)", Nullable: true},
		{Name: "last_disconnect_reason", Kind: query.Text, SQL: "d.last_disconnect_reason"},
		{Name: "last_update", Kind: query.Time, SQL: "nullif(d.last_update, 0)", Nullable: true},
		{Name: "esims_reported", Kind: query.Time, SQL: "nullif(d.esims_reported_at, 0)", Nullable: true},
		{Name: "firmware_version", Kind: query.Text, SQL: "d.firmware_version"},
		{Name: "firmware_status", Kind: query.Text, SQL: "d.firmware_status"},
		{Name: "mac", Kind: query.Text, SQL: "d.mac", Upper: true},
		{Name: "serial_number", Kind: query.Text, SQL: "d.serial_number"},
		{Name: "sku", Kind: query.Text, SQL: "d.sku"},
		{Name: "product_id", Kind: query.Text, SQL: "d.product_id"},
		{Name: "ip", Kind: query.Text, SQL: "d.ip"},
		{Name: "public_ip", Kind: query.Text, SQL: "d.public_ip"},
		{Name: "address", Kind: query.Text, SQL: "d.address"},
		{Name: "phone_number", Kind: query.Text, SQL: "d.phone_number"},
		{Name: "carrier", Kind: query.Text, SQL: "d.carrier", Folded: "d.carrier_folded"},
		{Name: "carrier2", Kind: query.Text, SQL: "d.carrier2", Folded: "d.carrier2_folded"},
		{Name: "network", Kind: query.Text, SQL: "d.network", Folded: "d.network_folded"},
		{Name: "network2", Kind: query.Text, SQL: "d.network2", Folded: "d.network2_folded"},
		{Name: "apn", Kind: query.Text, SQL: "d.apn"},
		{Name: "apn2", Kind: query.Text, SQL: "d.apn2"},
		{Name: "iccid", Kind: query.Text, SQL: "d.iccid", Folded: "d.iccid"},
		{Name: "iccid2", Kind: query.Text, SQL: "d.iccid2", Folded: "d.iccid2"},
		{Name: "cellular_modem_id", Kind: query.Text, SQL: "d.cellular_modem_id", Folded: "d.cellular_modem_id"},
		{Name: "cellular_modem2_id", Kind: query.Text, SQL: "d.cellular_modem2_id", Folded: "d.cellular_modem2_id"},
		{Name: "signal_strength", Kind: query.Number, SQL: "d.signal_strength", Nullable: true},
		{Name: "signal_strength2", Kind: query.Number, SQL: "d.signal_strength2", Nullable: true},
		{Name: "signal_percent", Kind: query.Number, SQL: "d.signal_percent", Nullable: true},
		{Name: "signal_percent2", Kind: query.Number, SQL: "d.signal_percent2", Nullable: true},
		{Name: "signal_quality", Kind: query.Number, SQL: "d.signal_quality", Nullable: true},
		{Name: "signal_quality2", Kind: query.Number, SQL: "d.signal_quality2", Nullable: true},
		{Name: "updated", Kind: query.Time, SQL: "d.updated_at"},
	},
}

// DevicesPage returns a page of an account's devices, by [DeviceSchema].
func (s *Store) DevicesPage(ctx context.Context, account string, spec query.Spec) (query.Page[Device], error) {
	return deviceTable.page(ctx, s.DB, account, spec)
}

var esimTable = table[ESIM]{
	name: "eSIM", selects: selectESIM, is: "e.eid = $1", account: "e.account_sid", scan: scanESIM,
	place: func(x ESIM) int64 { return micros(x.CreatedAt) },
}

// ESIMSchema is the fields by which eSIMs are listed.
var ESIMSchema = &query.Schema{
	Key: "created",
	Fields: []query.Field{
		{Name: "eid", Kind: query.Text, SQL: "e.eid", Folded: "e.eid"},
		{Name: "device_id", Kind: query.Text, SQL: "e.device_id", Upper: true},
		{Name: "kind", Kind: query.Enum, SQL: "e.kind", Values: ESIMKinds},
		{Name: "reported", Kind: query.Time, SQL: "nullif(e.reported_at, 0)", Nullable: true},
		{Name: "last_seen", Kind: query.Time, SQL: "nullif(e.seen_at, 0)", Nullable: true},
		{Name: "created", Kind: query.Time, SQL: "e.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "e.updated_at"},
	},
}

// ESIMsPage returns a page of an account's eSIMs, by [ESIMSchema].
func (s *Store) ESIMsPage(ctx context.Context, account string, spec query.Spec) (query.Page[ESIM], error) {
	return esimTable.page(ctx, s.DB, account, spec)
}

var profileTable = table[Profile]{
	selects: selectProfile, account: "p.account_sid", scan: scanProfile,
	place: func(x Profile) int64 { return micros(x.CreatedAt) },
}

// ProfileSchema is the fields by which profiles are listed.
var ProfileSchema = &query.Schema{
	Key: "created",
	Fields: []query.Field{
		{Name: "iccid", Kind: query.Text, SQL: "p.iccid", Folded: "p.iccid"},
		{Name: "eid", Kind: query.Text, SQL: "p.eid", Folded: "p.eid"},
		{Name: "device_id", Kind: query.Text, SQL: "p.device_id", Upper: true},
		{Name: "id", Kind: query.Number, SQL: "p.number"},
		{Name: "carrier", Kind: query.Text, SQL: "p.carrier", Folded: "p.carrier_folded"},
		{Name: "normalized_carrier", Kind: query.Text, SQL: "p.normalized_carrier", Folded: "p.normalized_folded"},
		{Name: "code_carrier", Kind: query.Text, SQL: "p.code_carrier", Folded: "p.code_folded"},
		{Name: "name", Kind: query.Text, SQL: "p.name", Folded: "p.name_folded"},
		{Name: "status", Kind: query.Enum, SQL: "p.status", Values: []string{active, inactive}},
		{Name: "type", Kind: query.Text, SQL: "p.type", Folded: "p.type_folded"},
		{Name: "created", Kind: query.Time, SQL: "p.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "p.updated_at"},
	},
}

// ProfilesPage returns a page of the profiles on an account's eSIMs, by
// [ProfileSchema].
func (s *Store) ProfilesPage(ctx context.Context, account string, spec query.Spec) (query.Page[Profile], error) {
	return profileTable.page(ctx, s.DB, account, spec)
}

var codeTable = table[Code]{
	selects: selectCode, account: "c.account_sid", scan: scanCode,
	place: func(x Code) int64 { return micros(x.CreatedAt) },
}

// CodeSchema is the fields by which activation codes are listed. Their secret is
// none.
var CodeSchema = &query.Schema{
	Key: "created",
	Fields: []query.Field{
		{Name: "iccid", Kind: query.Text, SQL: "c.iccid", Folded: "c.iccid"},
		{Name: "carrier", Kind: query.Text, SQL: "c.carrier", Folded: "c.carrier_folded"},
		{Name: "normalized_carrier", Kind: query.Text, SQL: "c.normalized_carrier", Folded: "c.normalized_folded"},
		{Name: "status", Kind: query.Enum, SQL: "c.status", Values: texts(CodeStatuses)},
		{Name: "device_id", Kind: query.Text, SQL: "c.device_id", Upper: true},
		{Name: "eid", Kind: query.Text, SQL: "c.eid", Folded: "c.eid"},
		{Name: "created", Kind: query.Time, SQL: "c.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "c.updated_at"},
	},
}

// CodesPage returns a page of an account's activation codes, by [CodeSchema].
func (s *Store) CodesPage(ctx context.Context, account string, spec query.Spec) (query.Page[Code], error) {
	return codeTable.page(ctx, s.DB, account, spec)
}
