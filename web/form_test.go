package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"godwit/fault"

	"pgregory.net/rapid"
)

func formOf(t testing.TB, query string) *Form {
	t.Helper()
	f, err := parseForm(query, "query")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestForm(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		read        func(*Form) any
		want        any // nil: refused
	}{
		{"string", "A=x", func(f *Form) any { return f.String("A") }, "x"},
		{"string, other letter case", "a=x", func(f *Form) any { return f.String("A") }, ""},
		{"string twice the same", "A=x&A=x", func(f *Form) any { return f.String("A") }, "x"},
		{"string twice", "A=x&A=y", func(f *Form) any { return f.String("A") }, nil},
		{"required", "A=x", func(f *Form) any { return f.Required("A") }, "x"},
		{"required, missing", "", func(f *Form) any { return f.Required("A") }, nil},
		{"required, empty", "A=", func(f *Form) any { return f.Required("A") }, nil},
		{"true", "A=true", func(f *Form) any { return f.Bool("A", false) }, true},
		{"True of scripts", "A=True", func(f *Form) any { return f.Bool("A", false) }, true},
		{"false", "A=FALSE", func(f *Form) any { return f.Bool("A", true) }, false},
		{"bool, default", "", func(f *Form) any { return f.Bool("A", true) }, true},
		{"bool, number", "A=1", func(f *Form) any { return f.Bool("A", true) }, nil},
		{"int", "A=7", func(f *Form) any { return f.Int("A", 1, 9, 5) }, int64(7)},
		{"int, default", "", func(f *Form) any { return f.Int("A", 1, 9, 5) }, int64(5)},
		{"int, too small", "A=0", func(f *Form) any { return f.Int("A", 1, 9, 5) }, nil},
		{"int, too large", "A=10", func(f *Form) any { return f.Int("A", 1, 9, 5) }, nil},
		{"int, hexadecimal", "A=0x7", func(f *Form) any { return f.Int("A", 1, 9, 5) }, nil},
		{"int, beyond 64 bits", "A=99999999999999999999", func(f *Form) any { return f.Int("A", 1, 9, 5) }, nil},
		{"word", "A=new", func(f *Form) any { return f.OneOf("A", "new", "old") }, "new"},
		{"word, unknown", "A=New", func(f *Form) any { return f.OneOf("A", "new", "old") }, nil},
		{"method", "A=post", func(f *Form) any { return f.Method("A") }, "POST"},
		{"method, missing", "", func(f *Form) any { return f.Method("A") }, ""},
		{"method, other", "A=PUT", func(f *Form) any { return f.Method("A") }, nil},
		{"url", "A=https://x.example/p?q%3D1%23ct=2000", func(f *Form) any { return f.URL("A") }, "https://x.example/p?q=1#ct=2000"},
		{"url, relative", "A=/p", func(f *Form) any { return f.URL("A") }, nil},
		{"url, other scheme", "A=ftp://x", func(f *Form) any { return f.URL("A") }, nil},
		{"url without host", "A=http:///p", func(f *Form) any { return f.URL("A") }, nil},
		{"url with a blank", "A=http://x/a+b", func(f *Form) any { return f.URL("A") }, nil},
		{"url with a line break", "A=http://x/a%0Ab", func(f *Form) any { return f.URL("A") }, nil},
		{"url with the last port", "A=http://x:65535/", func(f *Form) any { return f.URL("A") }, "http://x:65535/"},
		{"url with a port beyond", "A=http://x:65536/", func(f *Form) any { return f.URL("A") }, nil},
		{"url with port 0", "A=http://x:0/", func(f *Form) any { return f.URL("A") }, nil},
		{"url with a host in other letters", "A=http://b%C3%BCcher.example/", func(f *Form) any { return f.URL("A") }, nil},
		{"string with a zero", "A=x%00", func(f *Form) any { return f.String("A") }, nil},
		{"string in no encoding", "A=%ff", func(f *Form) any { return f.Required("A") }, nil},
		{"list with a zero", "A=x&A=%00", func(f *Form) any { return len(f.List("A")) }, nil},
		{"list of an empty value", "A=", func(f *Form) any { return len(f.List("A")) }, 0},
		{"text", "A=%C3%A4%C3%A4", func(f *Form) any { return f.Text("A", 2) }, "ää"},
		{"text, too long", "A=abc", func(f *Form) any { return f.Text("A", 2) }, nil},
		{"time", "A=2026-11-20T10:00:00Z", func(f *Form) any { return f.Time("A") }, time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)},
		{"time with an offset", "A=2026-11-20T10:00:00.5%2B01:00", func(f *Form) any { return f.Time("A") }, time.Date(2026, 11, 20, 9, 0, 0, 5e8, time.UTC)},
		{"time, date only", "A=2026-11-20", func(f *Form) any { return f.Time("A") }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := formOf(t, tt.query)
			got := tt.read(f)
			err := f.Err()
			if tt.want == nil {
				refusal, ok := fault.As(err)
				if !ok || refusal.Kind != fault.Invalid || refusal.Field != "A" {
					t.Errorf("error %v, want a refusal of A", err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
	f := formOf(t, "A=&N=1&N=2")
	if v := f.Optional("A"); v == nil || *v != "" {
		t.Error("an empty parameter is there")
	}
	if f.Optional("B") != nil {
		t.Error("a parameter that was not sent is not there")
	}
	if l := f.List("N"); len(l) != 2 || l[0] != "1" || l[1] != "2" {
		t.Errorf("list %v", l)
	}
}

func pageRequest(target string) *Request {
	return &Request{Request: httptest.NewRequest(http.MethodGet, target, nil), Base: "https://sim.example.net"}
}

func TestPage(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		want        Page // zero: refused
	}{
		{"default", "", Page{Size: 50}},
		{"size", "PageSize=7", Page{Size: 7}},
		{"size above the limit is cut", "PageSize=5000", Page{Size: 1000}},
		{"size of nothing", "PageSize=0", Page{}},
		{"size below nothing", "PageSize=-1", Page{}},
		{"size in words", "PageSize=many", Page{}},
		{"page alone is an offset", "PageSize=7&Page=3", Page{Size: 7, Number: 3}},
		{"page below nothing", "Page=-1", Page{}},
		{"page beyond all counting", "Page=99999999999", Page{}},
		{"token", "Page=2&PageToken=" + token("1 a", false), Page{Size: 50, Number: 2, Position: "1 a"}},
		{"token backward", "PageToken=" + token("1 a", true), Page{Size: 50, Position: "1 a", Backward: true}},
		{"token without direction", "PageToken=abc", Page{}},
		{"token cut off", "PageToken=N", Page{}},
		{"token with a zero", "PageToken=" + token("\x00", false), Page{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := formOf(t, tt.query)
			got := f.Page(1000)
			if tt.want == (Page{}) {
				if !fault.Is(f.Err(), fault.Invalid) {
					t.Errorf("%q gave %+v, %v", tt.query, got, f.Err())
				}
				return
			}
			if f.Err() != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, f.Err(), tt.want)
			}
		})
	}
	if o := (Page{Size: 7, Number: 3}).Offset(); o != 21 {
		t.Errorf("offset %d", o)
	}
	if o := (Page{Size: 7, Number: 3, Position: "x"}).Offset(); o != 0 {
		t.Errorf("offset %d beside a token", o)
	}
}

func TestMeta(t *testing.T) {
	r := pageRequest("/v1/Sims?Status=new&Fleet=a%26b&PageSize=2&Page=1&PageToken=Nabc")
	p := Page{Size: 2, Number: 1, Position: "p"}
	m := p.Meta(r, "sims", "first", "last", true)
	const front = "https://sim.example.net/v1/Sims?Fleet=a%26b&Status=new&PageSize=2&Page="
	next, previous := front+"2&PageToken="+token("last", false), front+"0&PageToken="+token("first", true)
	want := Meta{
		Page: 1, PageSize: 2, Key: "sims", FirstPageURL: front + "0",
		URL: front + "1&PageToken=" + token("p", false), NextPageURL: &next, PreviousPageURL: &previous,
	}
	got, wanted := marshal(t, m), marshal(t, want)
	if got != wanted {
		t.Errorf("got  %s\nwant %s", got, wanted)
	}
	only := Page{Size: 50}.Meta(pageRequest("/v1/Sims"), "sims", "", "", false)
	if only.NextPageURL != nil || only.PreviousPageURL != nil {
		t.Errorf("the only page has neighbours: %s", marshal(t, only))
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(marshal(t, only)), &members); err != nil {
		t.Fatal(err)
	}
	if len(members) != 7 {
		t.Errorf("meta has %d members, want seven: %v", len(members), members)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		position := rapid.StringN(1, 80, -1).Filter(func(s string) bool { return storable(s) }).Draw(t, "position")
		backward := rapid.Bool().Draw(t, "backward")
		tok := token(position, backward)
		if strings.ContainsAny(tok, ".&=%+/ ") {
			t.Fatalf("token %q does not survive every client", tok)
		}
		got, back, err := parseToken(tok)
		if err != nil || got != position || back != backward {
			t.Fatalf("%q came back as %q, %v, %v", position, got, back, err)
		}
	})
}

func FuzzForm(f *testing.F) {
	f.Add("PageSize=1&Page=2&PageToken=Nabc&A=%00")
	f.Add("A=%zz&;")
	f.Fuzz(func(t *testing.T, query string) {
		form, err := parseForm(query, "query")
		if err != nil {
			return
		}
		p := form.Page(1000)
		form.Bool("A", false)
		form.Time("A")
		if u := form.URL("A"); u != "" {
			if _, err := url.Parse(u); err != nil {
				t.Errorf("URL %q passed: %v", u, err)
			}
		}
		if p.Size < 1 || p.Size > 1000 || p.Number < 0 || p.Offset() < 0 {
			t.Errorf("page %+v", p)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("/v1/Sims/a%20b.json")
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.Parse("http://x/" + path)
		if err != nil {
			return
		}
		segments, ok := split(u)
		if !ok {
			return
		}
		for _, s := range segments {
			if s == "" || !storable(s) {
				t.Errorf("segment %q", s)
			}
		}
		match("/v1/Sims/{sid}", segments)
	})
}
