package query_test

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/cases"
	"pgregory.net/rapid"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/query"
)

// record is what the tests ask about. The meaning of conditions is written down
// here a second time, over these values.
type record struct {
	iccid, device, carrier string
	note                   *string
	status                 string
	cause                  *string
	customer               int64
	signal                 *int64
	created                time.Time
	reported               *time.Time
	truth                  bool
	tags                   []string
	group                  string
	position               *[2]int64 // longitude and latitude, in millionths of a degree
}

var (
	carriers  = []string{"", "Mobile", "mobile", "MÖBILE", "möbile", "o'brien", "100%", "a_b", "a*b", `a\b`, "Straße", "STRASSE", "ΣΊΣΥΦΟΣ", "σίσυφος", "e\u0301", "é", "\uD7FF", "\U0010FFFF", "x y"}
	notes     = []string{"", "Öl", "x", "X", "Xy", "%", "a_b", "aXb"}
	paths     = []string{"", "a", "a/b", "A/B/c", "ab", "plant 1", "plant 10", "ä/ö"}
	tagNames  = []string{"x", "X", "Größe", "GRÖSSE", "50%", "a/b"}
	statuses  = []string{"active", "inactive"}
	causes    = []string{"request", "automation"}
	instants  = []time.Time{now, now.Add(time.Microsecond), now.Add(-time.Millisecond), now.Add(-24 * time.Hour), now.Add(30 * 24 * time.Hour), time.Unix(0, 0).UTC()}
	degrees   = []int64{-180_000_000, -170_500_000, -1, 0, 1, 10_000_000, 45_250_000, 90_000_000, 179_999_999}
	numbers   = []int64{-2, -1, 0, 1, 2, 0x109A, 1 << 62}
	identity  = []string{"00000000-00000000-0004F3FF-FF00A1B2", "00000000-00000000-0004F3FF-FF00A1B3", "00010000-00000000-0004F3FF-FF00A1B2"}
	maybe     = rapid.Bool()
	caseFold  = cases.Fold()
	textOps   = []string{"=", "<>", "!=", "<", "<=", ">", ">=", "contains", "startswith", "endswith"}
	orderOps  = textOps[:7]
	enumOps   = textOps[:3]
	fragments = []string{"", "m", "M", "ö", "Ö", "obi", "%", "_", "*", `\`, "'", "ss", "ß", "σ", "Σ", "é", "e\u0301", "a", "/", "/a", "a/", "x", "X", "y", "\uD7FF", "\U0010FFFF", "plant 1", "0004f3", "empty"}
)

func pick[T any](list []T) *rapid.Generator[T] { return rapid.SampledFrom(list) }

func perhaps[T any](t *rapid.T, name string, g *rapid.Generator[T]) *T {
	if maybe.Draw(t, name+"?") {
		v := g.Draw(t, name)
		return &v
	}
	return nil
}

func drawRecord(t *rapid.T, i int) record {
	r := record{
		iccid: fmt.Sprintf("8988%015d", i), device: pick(identity).Draw(t, "device"), carrier: pick(carriers).Draw(t, "carrier"), note: perhaps(t, "note", pick(notes)),
		status: pick(statuses).Draw(t, "status"), cause: perhaps(t, "cause", pick(causes)), customer: pick(numbers).Draw(t, "customer"), signal: perhaps(t, "signal", pick(numbers)),
		created: pick(instants).Draw(t, "created"), reported: perhaps(t, "reported", pick(instants)), truth: maybe.Draw(t, "truth"),
		tags: rapid.SliceOfNDistinct(pick(tagNames), 0, 3, rapid.ID).Draw(t, "tags"), group: pick(paths).Draw(t, "group"),
	}
	if maybe.Draw(t, "position?") {
		r.position = &[2]int64{pick(degrees).Draw(t, "lon"), pick(degrees[2:8]).Draw(t, "lat")}
	}
	return r
}

// An asked is a condition as text, and as a function.
type asked struct {
	text string
	is   func(record) bool
}

func drawExpression(t *rapid.T, depth int) asked {
	kind := rapid.IntRange(0, 5).Draw(t, "node")
	if depth == 0 || kind > 3 {
		return drawCondition(t)
	}
	a := drawExpression(t, depth-1)
	if kind == 0 {
		return asked{rapid.SampledFrom([]string{"not (", "NOT(", "not not not("}).Draw(t, "not") + a.text + ")", func(r record) bool { return !a.is(r) }}
	}
	b := drawExpression(t, depth-1)
	if kind == 1 {
		return asked{"(" + a.text + ") and (" + b.text + ")", func(r record) bool { return a.is(r) && b.is(r) }}
	}
	if kind == 2 {
		return asked{"(" + a.text + ")or(" + b.text + ")", func(r record) bool { return a.is(r) || b.is(r) }}
	}
	// Without brackets, to see which binds tighter.
	c, d, e := drawCondition(t), drawCondition(t), drawCondition(t)
	return asked{
		"not " + c.text + " and " + d.text + " or " + e.text + " and not " + c.text,
		func(r record) bool { return !c.is(r) && d.is(r) || e.is(r) && !c.is(r) },
	}
}

func drawCondition(t *rapid.T) asked {
	switch rapid.IntRange(0, 13).Draw(t, "field") {
	case 0:
		return drawText(t, "iccid", func(r record) string { return r.iccid })
	case 1:
		return drawText(t, "Device_ID", func(r record) string { return r.device })
	case 2, 3:
		return drawText(t, "carrier", func(r record) string { return r.carrier })
	case 4:
		return drawNote(t)
	case 5:
		return drawEnum(t, "status", statuses, func(r record) *string { return &r.status })
	case 6:
		return drawEnum(t, "cause", causes, func(r record) *string { return r.cause })
	case 7:
		return drawNumber(t, "customer_id", func(r record) *int64 { return &r.customer })
	case 8:
		return drawNumber(t, "signal", func(r record) *int64 { return r.signal })
	case 9:
		return drawTime(t, "created", func(r record) *time.Time { return &r.created })
	case 10:
		return drawTime(t, "reported", func(r record) *time.Time { return r.reported })
	case 11:
		op, v := pick(enumOps).Draw(t, "op"), maybe.Draw(t, "value")
		return asked{fmt.Sprintf("truth %s %t", op, v), func(r record) bool { return (r.truth == v) == (op == "=") }}
	case 12:
		return drawTags(t)
	default:
		if maybe.Draw(t, "group or position") {
			return drawGroup(t)
		}
		return drawPosition(t)
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// composed folds without the package: the pairs of composed and decomposed
// letters among the values are few.
func composed(s string) string {
	return strings.ReplaceAll(caseFold.String(strings.ReplaceAll(s, "e\u0301", "é")), "e\u0301", "é")
}

func ordered(c int, op string) bool {
	switch op {
	case "=":
		return c == 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	default:
		return c != 0
	}
}

func textIs(have, op, value string) bool {
	return foldedIs(composed(have), op, composed(value))
}

func foldedIs(have, op, value string) bool {
	if value == "" && (op == "=" || op == "<>" || op == "!=") {
		return (have == "") == (op == "=")
	}
	if have == "" {
		return op == "<>" || op == "!="
	}
	switch op {
	case "contains":
		return strings.Contains(have, value)
	case "startswith":
		return strings.HasPrefix(have, value)
	case "endswith":
		return strings.HasSuffix(have, value)
	}
	return ordered(cmp.Compare(have, value), op)
}

func drawText(t *rapid.T, name string, of func(record) string) asked {
	op := pick(textOps).Draw(t, "op")
	if op == "=" && rapid.IntRange(0, 3).Draw(t, "empty") == 0 {
		return asked{name + " = empty", func(r record) bool { return of(r) == "" }}
	}
	values := slices.Concat(fragments, carriers, notes, identity)
	v := pick(values).Draw(t, "value")
	return asked{fmt.Sprintf("%s %s %s", name, op, quote(v)), func(r record) bool { return textIs(of(r), op, v) }}
}

// drawNote asks about a field that the database folds: ASCII alone, on both.
func drawNote(t *rapid.T) asked {
	op, v := pick(textOps).Draw(t, "op"), pick(slices.Concat(fragments, notes)).Draw(t, "value")
	return asked{"note " + op + " " + quote(v), func(r record) bool {
		have := ""
		if r.note != nil {
			have = *r.note
		}
		return foldedIs(lowerASCII(have), op, lowerASCII(v))
	}}
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func drawEnum(t *rapid.T, name string, values []string, of func(record) *string) asked {
	op, v := pick(enumOps).Draw(t, "op"), pick(append(values, "empty")).Draw(t, "value")
	text := quote(strings.ToUpper(v))
	if v == "empty" {
		text = v
	}
	return asked{name + op + text, func(r record) bool {
		have := of(r)
		return (have != nil && *have == v || have == nil && v == "empty") == (op == "=")
	}}
}

func drawNumber(t *rapid.T, name string, of func(record) *int64) asked {
	op := pick(orderOps).Draw(t, "op")
	text := pick([]string{"-2", "-1.5", "-1", "0", "+1", "1.0", "1.5", "2", "0x109a", "4611686018427387904", "99999999999999999999", "-99999999999999999999", "empty"}).Draw(t, "value")
	if text == "empty" {
		op = pick(enumOps).Draw(t, "op of empty")
		return asked{name + op + text, func(r record) bool { return (of(r) == nil) == (op == "=") }}
	}
	value, ok := new(big.Rat).SetString(strings.TrimPrefix(text, "+"))
	if !ok {
		t.Fatalf("number %q", text)
	}
	return asked{name + op + text, func(r record) bool {
		have := of(r)
		if have == nil {
			return op == "<>" || op == "!="
		}
		return ordered(new(big.Rat).SetInt64(*have).Cmp(value), op)
	}}
}

func drawTime(t *rapid.T, name string, of func(record) *time.Time) asked {
	op := pick(orderOps).Draw(t, "op")
	values := map[string]time.Time{
		"'2026-03-04T05:06:07.089Z'": now, "'2026-03-04T06:06:07.089+01:00'": now, "-0s": now, "+30d": now.Add(30 * 24 * time.Hour), "-1d": now.Add(-24 * time.Hour),
		"-1440m": now.Add(-24 * time.Hour), "-1w": now.Add(-7 * 24 * time.Hour), "'1970-01-01'": time.Unix(0, 0).UTC(), "'2026-03-04T05:06:07'": now.Truncate(time.Second),
	}
	text := rapid.SampledFrom(slices.Sorted(keys(values))).Draw(t, "value")
	v := values[text]
	if name == "reported" && rapid.IntRange(0, 4).Draw(t, "empty") == 0 {
		return asked{name + " <> empty", func(r record) bool { return of(r) != nil }}
	}
	return asked{name + " " + op + text, func(r record) bool {
		have := of(r)
		if have == nil {
			return op == "<>" || op == "!="
		}
		return ordered(have.Truncate(time.Millisecond).Compare(v), op)
	}}
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func drawTags(t *rapid.T) asked {
	op := pick(append(textOps, "empty")).Draw(t, "op")
	if op == "empty" {
		return asked{"tags = empty", func(r record) bool { return len(r.tags) == 0 }}
	}
	v := pick(slices.Concat(tagNames, []string{"", "g", "SS", "%"})).Draw(t, "value")
	some := func(r record, op string) bool {
		return slices.ContainsFunc(r.tags, func(tag string) bool { return textIs(tag, op, v) })
	}
	return asked{"tags " + op + " " + quote(v), func(r record) bool {
		switch {
		case v == "" && op == "=":
			return len(r.tags) == 0
		case op == "<>" || op == "!=":
			return v == "" && len(r.tags) > 0 || v != "" && !some(r, "=")
		}
		return some(r, op)
	}}
}

func drawGroup(t *rapid.T) asked {
	op := pick(textOps).Draw(t, "op")
	v := pick(slices.Concat(paths, []string{"/", "/a", "/A/B/", "plant", "b", "/b"})).Draw(t, "value")
	path := strings.Trim(v, "/")
	return asked{"group " + op + " " + quote(v), func(r record) bool {
		switch op {
		case "startswith":
			return path == "" || textIs(r.group, "=", path) || textIs(r.group, "startswith", path+"/")
		case "contains", "endswith":
			return r.group != "" && (v == "" || textIs("/"+r.group, op, v))
		}
		return textIs(r.group, op, path)
	}}
}

func drawPosition(t *rapid.T) asked {
	op := pick([]string{"within", "outside"}).Draw(t, "op")
	a := pick([][4]string{{"-180", "-90", "180", "90"}, {"-0.000001", "0", "10", "45.25"}, {"170", "-10", "-170", "10"}, {"0", "0", "0", "0"}, {"-0.0000015", "-1", "0.0000015", "1"}}).Draw(t, "area")
	var bounds [4]*big.Rat
	for i, text := range a {
		bounds[i], _ = new(big.Rat).SetString(text)
	}
	return asked{fmt.Sprintf("position %s [%s]", op, strings.Join(a[:], ", ")), func(r record) bool {
		if r.position == nil {
			return false
		}
		lon, lat := big.NewRat(r.position[0], 1_000_000), big.NewRat(r.position[1], 1_000_000)
		inside := lon.Cmp(bounds[0]) >= 0 && lon.Cmp(bounds[2]) <= 0
		if bounds[0].Cmp(bounds[2]) > 0 {
			inside = lon.Cmp(bounds[0]) >= 0 || lon.Cmp(bounds[2]) <= 0
		}
		inside = inside && lat.Cmp(bounds[1]) >= 0 && lat.Cmp(bounds[3]) <= 0
		return inside == (op == "within")
	}}
}

const table = `create table record (iccid text not null primary key, device_id text not null, carrier text not null, carrier_folded text not null, note text,
	status text not null, cause text, customer_id bigint not null, signal bigint, created_at bigint not null, reported_at bigint, truth boolean not null,
	path text not null, path_folded text not null, lon bigint, lat bigint)`

// store replaces what the tables hold.
func store(ctx context.Context, d *db.DB, records []record) error {
	return d.Write(ctx, func(tx *db.Tx) error {
		for _, statement := range []string{"delete from record", "delete from tag"} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		for _, r := range records {
			var reported, lon, lat *int64
			if r.reported != nil {
				n := r.reported.UnixMicro()
				reported = &n
			}
			if r.position != nil {
				lon, lat = &r.position[0], &r.position[1]
			}
			if _, err := tx.ExecContext(ctx, `insert into record values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`, r.iccid, r.device, r.carrier,
				query.Fold(r.carrier), r.note, r.status, r.cause, r.customer, r.signal, r.created.UnixMicro(), reported, r.truth, r.group, query.Fold(r.group), lon, lat); err != nil {
				return err
			}
			for _, tag := range r.tags {
				if _, err := tx.ExecContext(ctx, `insert into tag values ($1, $2)`, r.iccid, query.Fold(tag)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

type found struct {
	iccid string
	value any
}

// page runs a statement as stores do.
func page(ctx context.Context, d *db.DB, spec query.Spec) (query.Page[found], error) {
	var list []found
	err := d.Read(ctx, func(q db.Query) error {
		list = nil
		s := spec.SQL(2)
		rows, err := q.QueryContext(ctx, `select iccid, `+s.Column+` from record r where iccid <> $1 and `+s.Where+` order by `+s.OrderBy+fmt.Sprintf(` limit %d`, s.Limit), slices.Concat([]any{"none"}, s.Args)...)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Where, err)
		}
		defer rows.Close()
		for rows.Next() {
			var f found
			if err := rows.Scan(&f.iccid, &f.value); err != nil {
				return err
			}
			list = append(list, f)
		}
		return rows.Err()
	})
	return query.NextPage(spec, list, func(f found) (value, key any) { return f.value, f.iccid }), err
}

// TestMeaning asks the same of records in Go and of both databases.
func TestMeaning(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		makeTables(t, d)
		rapid.Check(t, func(t *rapid.T) {
			var records []record
			for i := range rapid.IntRange(1, 12).Draw(t, "records") {
				records = append(records, drawRecord(t, i))
			}
			if err := store(ctx, d, records); err != nil {
				t.Fatal(err)
			}
			for range 8 {
				q := drawExpression(t, 3)
				e, err := query.Parse(q.text, profiles, now)
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				for _, r := range records {
					if q.is(r) {
						want = append(want, r.iccid)
					}
				}
				order, err := query.ParseOrder("iccid", profiles)
				if err != nil {
					t.Fatal(err)
				}
				got, err := page(ctx, d, query.Spec{Where: e, Order: order, Size: 100})
				if err != nil {
					t.Fatal(err)
				}
				if have := iccids(got.Items); !slices.Equal(have, want) {
					where, args := e.SQL(2)
					t.Fatalf("%s\n%s %q\nfound %v, want %v", q.text, where, args, have, want)
				}
			}
		})
	})
}

func makeTables(t *testing.T, d *db.DB) {
	t.Helper()
	if err := d.Write(t.Context(), func(tx *db.Tx) error {
		for _, statement := range []string{table, `create table tag (iccid text not null, folded text not null)`} {
			if _, err := tx.ExecContext(t.Context(), statement); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func iccids(list []found) []string {
	var all []string
	for _, f := range list {
		all = append(all, f.iccid)
	}
	return all
}

// TestPages goes through lists in every order, a few records at a time, with
// cursors that were written and read back.
func TestPages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		makeTables(t, d)
		rapid.Check(t, func(t *rapid.T) {
			var records []record
			for i := range rapid.IntRange(1, 20).Draw(t, "records") {
				records = append(records, drawRecord(t, i))
			}
			if err := store(ctx, d, records); err != nil {
				t.Fatal(err)
			}
			by := pick([]string{"iccid", "device_id", "carrier", "note", "status", "cause", "customer_id", "signal", "created", "reported", "truth", "group"}).Draw(t, "orderby")
			if maybe.Draw(t, "desc") {
				by += " desc"
			}
			order, err := query.ParseOrder(by, profiles)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := page(ctx, d, query.Spec{Order: order, Size: len(records)})
			if err != nil {
				t.Fatal(err)
			}
			if whole.Next != nil || !inOrder(records, whole.Items, by) {
				t.Fatalf("by %s: %v, next %v", by, whole.Items, whole.Next)
			}
			spec := query.Spec{Order: order, Size: rapid.IntRange(1, 5).Draw(t, "size")}
			var list []found
			for {
				p, err := page(ctx, d, spec)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, p.Items...)
				if p.Next == nil {
					break
				}
				read, err := query.ParseCursor(p.Next.Octets())
				if err != nil {
					t.Fatal(err)
				}
				spec.After = &read
			}
			if !slices.Equal(iccids(list), iccids(whole.Items)) {
				t.Fatalf("by %s, %d at a time: %v, want %v", by, spec.Size, iccids(list), iccids(whole.Items))
			}
		})
	})
}

// inOrder holds a list against the records that it should have.
func inOrder(records []record, list []found, by string) bool {
	field, direction, _ := strings.Cut(by, " ")
	rank := func(r record) (absent bool, text string, number int64) {
		switch field {
		case "device_id":
			return false, r.device, 0
		case "carrier":
			return false, composed(r.carrier), 0
		case "note":
			if r.note == nil {
				return true, "", 0
			}
			return false, lowerASCII(*r.note), 0
		case "status":
			return false, r.status, 0
		case "cause":
			if r.cause == nil {
				return true, "", 0
			}
			return false, *r.cause, 0
		case "customer_id":
			return false, "", r.customer
		case "signal":
			if r.signal == nil {
				return true, "", 0
			}
			return false, "", *r.signal
		case "created":
			return false, "", r.created.UnixMicro()
		case "reported":
			if r.reported == nil {
				return true, "", 0
			}
			return false, "", r.reported.UnixMicro()
		case "truth":
			if r.truth {
				return false, "", 1
			}
		case "group":
			return false, composed(r.group), 0
		}
		return false, "", 0
	}
	sorted := slices.SortedFunc(slices.Values(records), func(a, b record) int {
		noA, textA, numberA := rank(a)
		noB, textB, numberB := rank(b)
		c := cmp.Or(cmp.Compare(b2i(noB), b2i(noA)), cmp.Compare(textA, textB), cmp.Compare(numberA, numberB), cmp.Compare(a.iccid, b.iccid))
		if direction == "desc" {
			return -c
		}
		return c
	})
	var want []string
	for _, r := range sorted {
		want = append(want, r.iccid)
	}
	return slices.Equal(iccids(list), want)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
