package query_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/query"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)

// profiles is a schema of the usual kinds.
var profiles = &query.Schema{
	Key: "iccid", DefaultOrder: "created",
	Fields: []query.Field{
		{Name: "iccid", SQL: "iccid", Folded: "iccid"},
		{Name: "device_id", SQL: "device_id", Upper: true},
		{Name: "carrier", SQL: "carrier", Folded: "carrier_folded"},
		{Name: "note", SQL: "note", Nullable: true},
		{Name: "status", Kind: query.Enum, SQL: "status", Values: []string{"active", "inactive"}},
		{Name: "cause", Kind: query.Enum, SQL: "cause", Nullable: true, Values: []string{"request", "automation"}},
		{Name: "customer_id", Kind: query.Number, SQL: "customer_id"},
		{Name: "signal", Kind: query.Number, SQL: "signal", Nullable: true},
		{Name: "created", Kind: query.Time, SQL: "created_at"},
		{Name: "reported", Kind: query.Time, SQL: "reported_at", Nullable: true},
		{Name: "truth", Kind: query.Bool, SQL: "truth"},
		{Name: "tags", Kind: query.Tags, SQL: "exists (select 1 from tag t where t.iccid = r.iccid and %s)", Folded: "t.folded"},
		{Name: "group", Kind: query.Group, SQL: "path", Folded: "path_folded"},
		{Name: "position", Kind: query.Position, SQL: "lon", Latitude: "lat", Nullable: true},
	},
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		query     string
		line, pos int
		expected  string // within the words of it
	}{
		{"carrier equals 'x'", 1, 10, "endswith (for equals write =)"},
		{"carrier cont 'x'", 1, 13, "contains"},
		{"carrier like 'x'", 1, 9, "(for like write contains, startswith or endswith)"},
		{"carrier is 'x'", 1, 9, "(for is write =)"},
		{"carrier containsx 'x'", 1, 17, "white space after contains"},
		{`carrier = "x"`, 1, 11, "'x'"},
		{`carrier = "o'brien"`, 1, 11, "'o''brien'"},
		{"carrier = “x”", 1, 11, "'x'"},
		{"carrier = x", 1, 11, "'x'"},
		{"carrier == 'x'", 1, 10, "one = is enough"},
		{"carrier = 'x", 1, 13, "quote"},
		{"carrier = 'o'brien'", 1, 14, "and, or, or the end of the query"},
		{"carrier = 'o' 'b'", 1, 15, "doubled"},
		{"carrier", 1, 8, "operator"},
		{"carrier =", 1, 10, "single quotes"},
		{"carrier = null", 1, 11, "empty"},
		{"carrier = 8", 1, 11, "'this'"},
		{"carrier > empty", 1, 11, "empty goes with = and <>"},
		{"carrier = 'x' and", 1, 18, "a field"},
		{"carrier = 'x' && status = 'active'", 1, 15, "write and"},
		{"carrier = 'x',", 1, 14, "joined by"},
		{"(carrier = 'x'", 1, 15, "or )"},
		{"carrier = 'x')", 1, 14, "the end of the query"},
		{"not", 1, 4, "a field"},
		{"nothing = 'x'", 1, 1, "one of the fields iccid"},
		{"1a = 'x'", 1, 1, "a field"},
		{"'carrier' = 'x'", 1, 1, "without quotes"},
		{"status = 'gone'", 1, 10, "'active', 'inactive'"},
		{"status > 'active'", 1, 8, "=, <>"},
		{"status contains 'act'", 1, 8, "=, <>"},
		{"customer_id = '5'", 1, 15, "leave the quotes out"},
		{"customer_id = 0x", 1, 17, "hexadecimal"},
		{"customer_id = 5.", 1, 17, "a digit"},
		{"customer_id contains 5", 1, 13, "=, <>, <"},
		{"customer_id = -5d", 1, 15, "a number"},
		{"created > 1d", 1, 11, "-1d"},
		{"created > 'yesterday'", 1, 11, "ISO 8601"},
		{"created > -1y", 1, 11, "s, m, h, d or w"},
		{"created > -1days", 1, 11, "s, m, h, d or w"},
		{"created > -99999999999w", 1, 11, "292 years"},
		{"truth = 'true'", 1, 9, "true or false"},
		{"carrier within [1,2,3,4]", 1, 9, "position of devices"},
		{"position within [1,2,3]", 1, 23, "comma"},
		{"position within [1,2,3,400]", 1, 17, "area"},
		{"position = [1,2,3,4]", 1, 12, "within"},
		{"carrier =\n  'x'\r\n  or\tstatus = active", 3, 15, "'active'"},
		{"carrier = 'x\x00'", 1, 13, "NUL"},
		{"", 0, 0, ""},
		{strings.Repeat("(", 65) + "carrier = 'x'", 1, 66, "64"},
		{strings.Repeat("not ", 65) + "carrier = 'x'", 1, 261, "64"},
		{strings.Repeat("carrier='x' or ", 300) + "carrier='x'", 1, 4501, "300"},
		{"carrier = '" + strings.Repeat("x", 10_000) + "'", 1, 41, "10000"},
	} {
		t.Run(c.query[:min(len(c.query), 40)], func(t *testing.T) {
			e, err := query.Parse(c.query, profiles, now)
			if c.line == 0 {
				if e != nil || err != nil {
					t.Errorf("got %v, %v", e, err)
				}
				return
			}
			failed, ok := errors.AsType[*query.Error](err)
			if !ok {
				t.Fatalf("got %v and the error %v", e, err)
			}
			if failed.Line != c.line || failed.Pos != c.pos || !strings.Contains(failed.Expected, c.expected) {
				t.Errorf("line %d, pos %d, want %d, %d and %q in:\n%v", failed.Line, failed.Pos, c.line, c.pos, c.expected, failed)
			}
		})
	}
}

func TestMessage(t *testing.T) {
	_, err := query.Parse("carrier equals 'x'", profiles, now)
	want := "Invalid input 'q', expected endswith (for equals write =) (line 1, pos 10):\n" +
		"carrier equals 'x'\n" +
		"         ^"
	if fmt.Sprint(err) != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestUnderstood(t *testing.T) {
	for _, q := range []string{
		"status = 'active' and not iccid = '1'", "carrier contains 'o''brien'", "created > -1d or status <> 'inactive'", "customer_id = 0x109A",
		"iccid startswith '8988'", "carrier='x'and status='active'or(truth=true)", "NOT(CARRIER ENDSWITH 'x')", "tags='x' AND Carrier != 'y'", "not not truth = TRUE",
		"signal >= -10.5", "created<='2026-03-04'", "created>'2026-03-04T05:06:07.089123+01:00'", "created > +30d", "carrier = EMPTY", "not carrier=empty",
		"group startswith '/a/b'", "position within [ -10.5 , 1,+20, 45.25 ]", "position outside[170,-10,-170,10]", "position = empty", " \t\r\n ",
		"carrier <> ''", "carrier contains '%_*?\\'",
	} {
		if _, err := query.Parse(q, profiles, now); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestOrders(t *testing.T) {
	for text, want := range map[string]string{
		"": "created", "carrier": "carrier", "asc carrier": "carrier", "carrier asc": "carrier", "DESC Carrier": "carrier desc", " carrier  DESC ": "carrier desc",
	} {
		o, err := query.ParseOrder(text, profiles)
		if err != nil || o.String() != want {
			t.Errorf("%q: got %v, %v; want %s", text, o, err, want)
		}
	}
	for _, text := range []string{"nothing", "carrier up", "up carrier", "carrier,status", "carrier desc status", "carrier status", "asc desc", "tags", "position desc", "nothing desc", "desc"} {
		if o, err := query.ParseOrder(text, profiles); err == nil {
			t.Errorf("%q: taken as %v", text, o)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, q := range []string{"carrier equals 'x'", "not (tags = 'a' or created > -1d) and position within [1,2,3,4]", "customer_id <= 0x1F", "group = empty", "signal<>1.5"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := query.Parse(text, profiles, now)
		if err != nil {
			failed, ok := errors.AsType[*query.Error](err)
			if !ok || failed.Line < 1 || failed.Pos < 1 || len(failed.Error()) == 0 {
				t.Fatalf("%#v", err)
			}
			return
		}
		where, args := e.SQL(3)
		if where == "" || strings.Count(where, "$") != len(args) {
			t.Fatalf("%q: %s with %d arguments", text, where, len(args))
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(query.Cursor{Query: "a = 'b'", Order: "created desc", Size: 10, Now: now, Value: int64(5), Key: "x"}.Octets())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := query.ParseCursor(b)
		if err != nil {
			return
		}
		again, err := query.ParseCursor(c.Octets())
		if err != nil || again != c {
			t.Fatalf("%+v became %+v: %v", c, again, err)
		}
	})
}
