package sim

import (
	"context"
	"strings"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
	"godwit/fault"
)

const cardList = `iccid;imsi;k;opc;code;eid
8988307000000000008;001010000000901;00112233445566778899aabbccddeeff;00112233445566778899aabbccddeeff;H3LL0W0RLD;
8988307000000000016;001010000000902;00112233445566778899aabbccddeeff;00112233445566778899aabbccddeeff;FACT0RY001;89049032123451234512345678901235
`

func TestReadCards(t *testing.T) {
	for _, tt := range []struct{ name, from, to, problem string }{
		{"good", "", "", ""},
		{"check digit", "0000008;", "0000007;", "line 2: iccid"},
		{"short key", ";00112233445566778899aabbccddeeff;0", ";00;0", "line 2: k"},
		{"code with a blank", "H3LL0W0RLD", "H3LL0 0RLD", "line 2: code"},
		{"twice", "8988307000000000016", "8988307000000000008", "line 3: the iccid is that of line 2"},
		{"no CSV", "8988307000000000016", `8988"307000000000016`, "line 3"},
		{"no such column", ";eid", ";colour", "column"},
		{"column missing", ";opc", ";msisdn", `column "opc" is missing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cards, err := ReadCards(strings.NewReader(strings.Replace(cardList, tt.from, tt.to, 1)))
			if tt.problem == "" {
				if err != nil || len(cards) != 2 {
					t.Fatalf("%d cards, %v", len(cards), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("refusal %v, want %q", err, tt.problem)
			}
			if err != nil && strings.Contains(err.Error(), "00112233") {
				t.Errorf("a key is in the refusal: %v", err)
			}
		})
	}
}

// FuzzReadCards: whatever a factory sends is a list of cards with all that a card
// has, or is refused.
func FuzzReadCards(f *testing.F) {
	f.Add(cardList)
	f.Add("iccid,imsi,k,opc\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		cards, err := ReadCards(strings.NewReader(text))
		if (err == nil) != (len(cards) > 0) {
			t.Fatalf("%d cards, %v", len(cards), err)
		}
		for _, c := range cards {
			if c.ICCID == "" || c.IMSI == "" || len(c.K) < 16 || len(c.OPc) < 16 || len(c.Code) != codeLen {
				t.Errorf("a card without what it needs was taken: %+v", c)
			}
		}
	})
}

func importCards(t *testing.T, h *house, account string) {
	t.Helper()
	cards, err := ReadCards(strings.NewReader(cardList))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.ImportCards(context.Background(), account, "list.csv", cards); err != nil {
		t.Fatal(err)
	}
}

func TestRegister(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		h := newHouse(t, d)
		ours, theirs := h.account(t, ""), h.account(t, "")
		importCards(t, h, "")
		want := func(code int, account, iccid, word string) *fault.Error {
			t.Helper()
			_, err := h.RegisterCard(ctx, account, iccid, word)
			f, _ := fault.As(err)
			if f == nil || f.Code != code {
				t.Fatalf("RegisterCard(%q, %q) = %v, want code %d", iccid, word, err, code)
			}
			return f
		}
		want(83002, ours, "", "H3LL0W0RLD")
		want(83002, ours, "8988307000000000008", "")
		want(83002, ours, "8988307000000000008", "FACT0RY001")
		want(83002, ours, "8988307000000000024", "H3LL0W0RLD")
		one, err := h.RegisterCard(ctx, ours, "8988307000000000008", "H3LL0W0RLD")
		if err != nil || one.Status != New || one.Fleet != "" {
			t.Fatalf("%+v, %v", one, err)
		}
		if f := want(83003, ours, "8988307000000000008", "H3LL0W0RLD"); !strings.Contains(f.Message, one.SID) {
			t.Errorf("%q does not name %s", f.Message, one.SID)
		}
		want(83002, theirs, "8988307000000000008", "H3LL0W0RLD")

		factory, err := h.RegisterCard(ctx, ours, "8988307000000000016", "FACT0RY001")
		if err != nil {
			t.Fatal(err)
		}
		l, err := h.Profiles(ctx, ours, ProfileFilter{SIM: factory.SID}, Page{Limit: 10})
		if err != nil || len(l.Items) != 1 || l.Items[0].Status != ProfileInstalled || l.Items[0].EID == "" {
			t.Fatalf("%+v, %v", l, err)
		}
		c, err := h.Card(ctx, factory.ICCID)
		if err != nil || len(c.K) != 16 || c.SIM != factory.SID {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestSettingsFollowTheFleet(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		h := newHouse(t, d)
		ours := h.account(t, "")
		child := h.account(t, ours)
		importCards(t, h, ours)
		all, err := h.Sims(ctx, ours, SimFilter{}, Page{Limit: 10})
		if err != nil || len(all.Items) != 2 {
			t.Fatalf("%+v, %v", all, err)
		}
		one := all.Items[0]
		list := func(account string) []SettingsUpdate {
			l, err := h.SettingsUpdates(ctx, account, one.SID, "", Page{Limit: 10})
			if err != nil {
				t.Fatal(err)
			}
			return l.Items
		}
		if l := list(ours); len(l) != 1 || l[0].Package != FactorySettings || l[0].Status != SettingsSuccessful {
			t.Fatalf("%+v", l)
		}
		// The history goes along to a subaccount and back.
		move := func(to string) {
			if _, _, err := h.UpdateSim(ctx, ours, one.SID, SimUpdate{Account: &to}); err != nil {
				t.Fatal(err)
			}
		}
		move(child)
		if len(list(child)) != 1 || len(list(ours)) != 0 {
			t.Fatal("the history did not follow the Sim")
		}
		move(ours)

		nets := Builtin().list
		f := h.fleet(t, ours, "f", nets[0].SID)
		if _, _, err := h.UpdateSim(ctx, ours, one.SID, SimUpdate{Status: Active, Fleet: &f.SID}); err != nil {
			t.Fatal(err)
		}
		run(t, h, func() bool { l := list(ours); return len(l) == 2 && l[0].Status == SettingsSuccessful })
		if _, _, err := h.AddNetwork(ctx, ours, f.Access, nets[5].SID); err != nil {
			t.Fatal(err)
		}
		run(t, h, func() bool {
			l := list(ours)
			return len(l) == 3 && l[0].Version == "1.0.1" && !l[0].CompletedAt.IsZero()
		})
		h.Settler = refuser{}
		if err := h.RemoveNetwork(ctx, ours, f.Access, nets[5].SID); err != nil {
			t.Fatal(err)
		}
		run(t, h, func() bool { l := list(ours); return len(l) == 4 && l[0].Status == SettingsFailed })
		if l := list(ours); !l[0].CompletedAt.IsZero() || l[0].Reason == "" {
			t.Errorf("%+v", l[0])
		}
	})
}

// A refuser is a card that takes no settings.
type refuser struct{}

func (refuser) Settle(context.Context, Subscriber) error {
	return fault.New(fault.Conflict, "file system full")
}

func TestImportNetworks(t *testing.T) {
	list, passed, err := ReadNetworks(strings.NewReader(` [
		{"type":"National","countryCode":"AT","mcc":"232","mnc":"03","brand":"Magenta Telekom","status":"Operational"},
		{"type":"National","countryCode":"AT","mcc":"232","mnc":"98","brand":"Magenta Telekom","status":"Operational"},
		{"type":"National","countryCode":"GE-AB","mcc":"289","mnc":"67","brand":null,"operator":"Aquafon JSC","status":"Operational"},
		{"type":"National","countryCode":"AT","mcc":"232","mnc":"09","brand":"Gone","status":"Not operational"},
		{"type":"International","countryCode":"","mcc":"901","mnc":"01","brand":"ICO","status":"Operational"}]`))
	if err != nil || passed != 2 || len(list) != 2 {
		t.Fatalf("%+v, %d, %v", list, passed, err)
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		for range 2 {
			if err := ImportNetworks(ctx, d, event.New(d), "list", list); err != nil {
				t.Fatal(err)
			}
		}
		c, err := LoadCatalogue(ctx, d)
		if err != nil || c.Len() != Builtin().Len()+1 {
			t.Fatalf("%d networks, %v", c.Len(), err)
		}
		here := c.Networks(NetworkFilter{Country: "at", MCC: "232", MNC: "98"}, Page{Limit: 5}).Items
		if len(here) != 1 || here[0].Name != "Magenta" || !here[0].Has("232", "03") {
			t.Errorf("%+v: want the built-in network with one more identifier", here)
		}
	})
}
