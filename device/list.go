package device

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"godwit/db"
	"godwit/query"
)

// A listing is how one kind of record is listed.
type listing[T any] struct {
	selects string // "select … from …"
	account string // column with the account
	scan    func(r row, more ...any) (T, error)
	key     func(T) int64
}

// found is a record and its value of the order.
type found[T any] struct {
	item  T
	value any
}

// manyMatches is from where on a list is rather read in its order than sorted
// after its condition: with n records and m matches, the one reads about n/m
// times a page's size, the other m.
const manyMatches = 50_000

func (l listing[T]) page(ctx context.Context, d *db.DB, account string, spec query.Spec) (p query.Page[T], err error) {
	err = d.Read(ctx, func(q db.Query) error {
		statement, args, err := l.statement(ctx, q, d.Postgres(), account, spec)
		if err != nil {
			return err
		}
		all, err := queryAll(ctx, q, func(r row) (f found[T], err error) {
			f.item, err = l.scan(r, &f.value)
			return f, err
		}, statement, args...)
		if err != nil {
			return err
		}
		page := query.NextPage(spec, all, func(f found[T]) (value, key any) { return f.value, l.key(f.item) })
		p = query.Page[T]{Next: page.Next, Items: make([]T, len(page.Items))}
		for i, f := range page.Items {
			p.Items[i] = f.item
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("read a page: %w", err)
	}
	return p, nil
}

// statement writes the query of a page. PostgreSQL knows how many records match
// a condition; SQLite does not: it would sort a million to show the first
// thousand, or read a million in order to find the one. So the matches are counted, up to a
// bound, and the planner is left one way.
func (l listing[T]) statement(ctx context.Context, q db.Query, postgres bool, account string, spec query.Spec) (string, []any, error) {
	at := strings.LastIndex(l.selects, "from ")
	columns, from := strings.TrimSpace(l.selects[:at]), l.selects[at:]
	st := spec.SQL(2)
	write := func(where, order string) string {
		return fmt.Sprintf("%s, %s %s where %s = $1 and %s order by %s limit %d", columns, st.Column, from, l.account, where, order, st.Limit)
	}
	text, args := write(st.Where, st.OrderBy), append([]any{account}, st.Args...)
	if postgres || spec.Where == nil {
		return text, args, nil
	}
	plan, err := planOf(ctx, q, text, args)
	if err != nil {
		return "", nil, err
	}
	if oneValue.MatchString(plan) && !strings.Contains(plan, "ORDER BY") {
		return text, args, nil // one value's records lie together, in order
	}
	condition, of := spec.Where.SQL(2)
	of = append([]any{account}, of...)
	all := fmt.Sprintf("select 1 %s where %s = $1 and %s", from, l.account, condition)
	var matches int
	if err := q.QueryRowContext(ctx, fmt.Sprintf("select count(*) from (%s limit %d)", all, manyMatches), of...).Scan(&matches); err != nil {
		return "", nil, err
	}
	after, _ := strings.CutPrefix(st.Where, condition)
	if matches < manyMatches {
		found, err := l.few(ctx, q, all, of, condition+plussed(after), st)
		return fmt.Sprintf("%s, %s %s where %s.rowid in (%s) order by %s", columns, st.Column, from, l.alias(), found, plussed(st.OrderBy)), args, err
	}
	return write("(case when "+condition+" then 1 else 0 end) = 1"+after, st.OrderBy), args, nil
}

// few finds a page of few matches: by the index that finds all of them, and in
// that index alone where it has all columns concerned. A plus sign takes a column
// from the planner's sight.
func (l listing[T]) few(ctx context.Context, q db.Query, all string, of []any, where string, st query.Statement) (string, error) {
	plan, err := planOf(ctx, q, all, of)
	if err != nil {
		return "", err
	}
	from := l.selects[strings.LastIndex(l.selects, "from "):]
	if m := oneIndex.FindStringSubmatch(plan); m != nil {
		from += " indexed by " + m[1]
	}
	return fmt.Sprintf("select %s.rowid %s where %s = $1 and %s order by %s limit %d", l.alias(), from, l.account, where, plussed(st.OrderBy), st.Limit), nil
}

// alias is what the table is called in the query.
func (l listing[T]) alias() string { return l.selects[strings.LastIndexByte(l.selects, ' ')+1:] }

// planOf is how SQLite would run a query, one step a line.
func planOf(ctx context.Context, q db.Query, text string, args []any) (string, error) {
	steps, err := queryAll(ctx, q, func(r row) (step string, err error) {
		var id, parent, unused int64
		return step, r.Scan(&id, &parent, &unused, &step)
	}, "explain query plan "+text, args...)
	if err != nil {
		return "", fmt.Errorf("explain: %w", err)
	}
	return strings.Join(steps, "\n"), nil
}

// oneIndex is a plan of a single search of one index.
var oneIndex = regexp.MustCompile(`^SEARCH \w+ USING (?:COVERING )?INDEX (\w+) [^\n]*$`)

// oneValue is a step of SQLite's plan that reads the records of one value of an
// indexed field.
var oneValue = regexp.MustCompile(`\(account_sid=\? AND \w+=\?`)

var columnName = regexp.MustCompile(`\b[a-z]\.[a-z0-9_]+\b`)

func plussed(text string) string { return columnName.ReplaceAllString(text, "+$0") }

var deviceList = listing[Device]{selectDevice, "d.account_sid", scanDeviceWith, func(d Device) int64 { return micros(d.CreatedAt) }}

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
		{Name: "network", Kind: query.Text, SQL: "d.network"},
		{Name: "network2", Kind: query.Text, SQL: "d.network2"},
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
	return deviceList.page(ctx, s.DB, account, spec)
}

var esimList = listing[ESIM]{selectESIM, "e.account_sid", scanESIMWith, func(e ESIM) int64 { return micros(e.CreatedAt) }}

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
	return esimList.page(ctx, s.DB, account, spec)
}

var profileList = listing[Profile]{selectProfile, "p.account_sid", scanProfileWith, func(p Profile) int64 { return micros(p.CreatedAt) }}

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
		{Name: "code_carrier", Kind: query.Text, SQL: "p.code_carrier"},
		{Name: "name", Kind: query.Text, SQL: "p.name"},
		{Name: "status", Kind: query.Enum, SQL: "p.status", Values: []string{active, inactive}},
		{Name: "type", Kind: query.Text, SQL: "p.type", Folded: "p.type_folded"},
		{Name: "created", Kind: query.Time, SQL: "p.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "p.updated_at"},
	},
}

// ProfilesPage returns a page of the profiles on an account's eSIMs, by
// [ProfileSchema].
func (s *Store) ProfilesPage(ctx context.Context, account string, spec query.Spec) (query.Page[Profile], error) {
	return profileList.page(ctx, s.DB, account, spec)
}

var codeList = listing[Code]{selectCode, "c.account_sid", scanCodeWith, func(c Code) int64 { return micros(c.CreatedAt) }}

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
	return codeList.page(ctx, s.DB, account, spec)
}
