package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"

	"pgregory.net/rapid"
)

// TestPagesAreStable walks a list forward and back while things are added:
// every item that was there at the beginning comes once, in order.
func TestPagesAreStable(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		ctx := context.Background()
		rapid.Check(t, func(rt *rapid.T) {
			ac := h.account(t, "")
			add := func() string {
				a, err := h.CreateAccess(ctx, ac, "", nil)
				if err != nil {
					rt.Fatal(err)
				}
				return a.SID
			}
			var want []string
			for range rapid.IntRange(0, 12).Draw(rt, "items") {
				want = append(want, add())
			}
			slices.Reverse(want) // newest first
			size := rapid.IntRange(1, 5).Draw(rt, "size")
			page := Page{Limit: size}
			var got []string
			var last Key
			for {
				l, err := h.Accesses(ctx, ac, page)
				if err != nil {
					rt.Fatal(err)
				}
				for _, a := range l.Items {
					got = append(got, a.SID)
				}
				if rapid.Bool().Draw(rt, "one appears") {
					add()
				}
				if !l.More {
					break
				}
				if len(l.Items) != size {
					rt.Fatalf("a page of %d items has one after it, the size is %d", len(l.Items), size)
				}
				last = l.Items[len(l.Items)-1].Key()
				page = Page{Limit: size, After: last}
			}
			if !slices.Equal(got, want) {
				rt.Fatalf("forward %v, want %v", got, want)
			}
			if last == (Key{}) {
				return
			}
			back, err := h.Accesses(ctx, ac, Page{Limit: size, Before: last})
			if err != nil {
				rt.Fatal(err)
			}
			at := slices.Index(want, last.SID)
			var before []string
			for _, a := range back.Items {
				before = append(before, a.SID)
			}
			full := want[:at]
			if n := len(before); n > len(full) && n <= size {
				before = before[n-len(full):] // those that appeared meanwhile stand in front
			}
			if !slices.Equal(before, full[max(0, len(full)-size):]) || len(back.Items) > 0 && !back.More {
				rt.Fatalf("before %s: %v (more %v), want the last %d of %v", last.SID, before, back.More, size, full)
			}
		})
	})
}

func TestKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key{At: rapid.Int64().Draw(t, "at"), SID: rapid.StringMatching("H[A-Z][0-9a-f]{32}").Draw(t, "sid")}
		if back, err := ParseKey(k.String()); err != nil || back != k {
			t.Fatalf("%v came back as %v, %v", k, back, err)
		}
	})
	for _, bad := range []string{"", "1", "x HS", "1 ", "99999999999999999999 HS", "1 " + strings.Repeat("a", 65)} {
		if k, err := ParseKey(bad); err == nil {
			t.Errorf("ParseKey(%q) = %v", bad, k)
		}
	}
}

func TestCatalogue(t *testing.T) {
	c := Builtin()
	all := c.Networks(NetworkFilter{}, Page{Limit: 1000}).Items
	if len(all) < 50 {
		t.Errorf("%d networks: too few for a second page", len(all))
	}
	seen := map[string]string{}
	for _, n := range all {
		if !IsSID(n.SID, NetworkPrefix) {
			t.Errorf("%s has SID %q", n.Name, n.SID)
		}
		for _, p := range n.Identifiers {
			if other := seen[p.String()]; other != "" {
				t.Errorf("%s belongs to %s and to %s", p, other, n.position())
			}
			seen[p.String()] = n.position()
		}
	}
	// A network's SID never changes: customers have it in their programs.
	if n := c.Networks(NetworkFilter{MCC: "001", MNC: "01"}, Page{Limit: 1}).Items; len(n) != 1 || n[0].SID != "HW7ea21fb2a80207420e5161baee30ee08" {
		t.Errorf("the test network is %+v", n)
	}
	for _, tt := range []struct {
		name   string
		filter NetworkFilter
		want   string
	}{
		{"country in any letter case", NetworkFilter{Country: "ie"}, "Lycamobile Three Vodafone eir"},
		{"MCC and MNC of one identifier", NetworkFilter{MCC: "724", MNC: "06"}, "Vivo"},
		{"codes of different identifiers", NetworkFilter{MCC: "310", MNC: "480"}, ""},
		{"country and MNC", NetworkFilter{Country: "DE", MNC: "07"}, "O2"},
		{"leading zeros matter", NetworkFilter{MCC: "001", MNC: "1"}, ""},
	} {
		var names []string
		for _, n := range c.Networks(tt.filter, Page{Limit: 100}).Items {
			names = append(names, n.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	var walked []Network
	page := Page{Limit: 7}
	for {
		l := c.Networks(NetworkFilter{}, page)
		walked = append(walked, l.Items...)
		if !l.More {
			break
		}
		page = Page{Limit: 7, After: l.Items[len(l.Items)-1].Key()}
	}
	if fmt.Sprint(walked) != fmt.Sprint(all) {
		t.Error("the catalogue in pages is not the catalogue")
	}
	if back := c.Networks(NetworkFilter{}, Page{Limit: 7, Before: all[10].Key()}).Items; fmt.Sprint(back) != fmt.Sprint(all[3:10]) {
		t.Errorf("the page before the eleventh is %v", back)
	}
}

func TestReadCatalogue(t *testing.T) {
	for _, tt := range []struct{ name, text, wrong string }{
		{"good", "# remark\n\nUS\tAT&T\t310/410 310/280\n", ""},
		{"blanks for tabs", "US AT&T 310/410", "tabs"},
		{"country in small letters", "us\tAT&T\t310/410", "capital"},
		{"no name", "US\t \t310/410", "no name"},
		{"no identifier", "US\tAT&T\t ", "want country"},
		{"identifier without slash", "US\tAT&T\t310410", "slash"},
		{"identifier with letters", "US\tAT&T\t310/4x0", "slash"},
		{"MNC of one digit", "US\tAT&T\t310/4", "slash"},
		{"slash in the wrong place", "US\tAT&T\t31/0410", "slash"},
		{"twice", "US\tAT&T\t310/410\nUS\tAT&T\t310/280", "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadCatalogue(strings.NewReader(tt.text))
			if (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("error %v, want %q in it", err, tt.wrong)
			}
		})
	}
}

// TestBuiltin: the networks that come with the program are plausible.
func TestBuiltin(t *testing.T) {
	countries, codes := map[string]bool{}, map[string]string{}
	for _, n := range Builtin().list {
		countries[n.Country] = true
		for _, p := range n.Identifiers {
			key := n.Country + " " + p.MCC + "/" + p.MNC
			if other, twice := codes[key]; twice {
				t.Errorf("%s is %s's and %s's", key, other, n.Name)
			}
			codes[key] = n.Name
			// ITU-T E.212, annex A: geographic areas are 2 to 7.
			if geographic := p.MCC[0] >= '2' && p.MCC[0] <= '7'; geographic != (n.Country != "ZZ") {
				t.Errorf("%s has identifier %s/%s", n.position(), p.MCC, p.MNC)
			}
		}
	}
	if len(countries) < 150 || len(codes) < 800 {
		t.Errorf("%d identifiers in %d countries", len(codes), len(countries))
	}
	for key, name := range map[string]string{"DE 262/01": "Telekom", "US 310/410": "AT&T", "GB 234/10": "O2", "FR 208/01": "Orange", "PL 260/06": "Play", "KE 639/02": "Safaricom"} {
		if codes[key] != name {
			t.Errorf("%s is %q, not %q", key, codes[key], name)
		}
	}
}

func TestReadProviders(t *testing.T) {
	const file = `<?xml version="1.0"?><!DOCTYPE serviceproviders SYSTEM "serviceproviders.2.dtd">
		<serviceproviders format="2.0">
		<country code="xx"><name>Xland</name>
			<provider><name>Guest</name><gsm><network-id mcc="299" mnc="03"/><network-id mcc="299" mnc="07"/></gsm></provider>
			<provider primary="true"><name xml:lang="xx">Wirt</name><name>Host</name><gsm><network-id mcc="299" mnc="03"/><network-id mcc="299" mnc="04"/>
				<apn value="a"><name>ignored</name></apn></gsm><cdma><sid value="1"/></cdma></provider>
			<provider><name>Second Guest</name><gsm><network-id mcc="299" mnc="04"/><network-id mcc="299" mnc="x"/></gsm></provider>
			<provider><name>  Apart  from them </name><gsm><network-id mcc="299" mnc="010"/></gsm></provider>
		</country></serviceproviders>`
	list, passed, err := ReadNetworks(strings.NewReader(file))
	got := ""
	for _, n := range list {
		got += n.Country + " " + n.Name + " " + identifiers(n.Identifiers) + "; "
	}
	if want := "XX Apart from them 299/010; XX Guest 299/07; XX Host 299/03 299/04; "; err != nil || got != want || passed != 3 {
		t.Errorf("got %q, %d passed over, %v; want %q", got, passed, err, want)
	}
	for _, wrong := range []string{"<", "<a/>", "<serviceproviders><country>"} {
		if _, _, err := ReadNetworks(strings.NewReader(wrong)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func FuzzReadNetworks(f *testing.F) {
	f.Add("DE\tTelekom\t262/01")
	f.Add(`[{"type":"National","countryCode":"DE","mcc":"262","mnc":"01","brand":"Telekom","status":"Operational"}]`)
	f.Add(`<serviceproviders><country code="de"><provider><name>T</name><gsm><network-id mcc="262" mnc="01"/></gsm></provider></country></serviceproviders>`)
	f.Fuzz(func(t *testing.T, text string) {
		list, _, err := ReadNetworks(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, n := range list {
			if again, err := readNetwork(n.Country + "\t" + n.Name + "\t" + identifiers(n.Identifiers)); err != nil || again.SID != n.SID {
				t.Fatalf("%+v cannot be stored: %v", n, err)
			}
		}
	})
}
