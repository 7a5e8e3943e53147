package supersim_test

import (
	"context"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/sim"

	vendor "github.com/twilio/twilio-go/rest/supersim/v1"
)

// TestOfficialClientRegisters has the official client register a card and look
// at what the lists of the new Sim hold.
func TestOfficialClientRegisters(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d, "")
		if err := h.store.ImportCards(context.Background(), "", "list", []sim.Card{
			{ICCID: "8988307000000000008", IMSI: "001010000000901", Code: db.Secret("H3LL0W0RLD")},
		}); err != nil {
			t.Fatal(err)
		}
		api := vendorClient(h, h.account, h.token)
		one, err := api.CreateSim((&vendor.CreateSimParams{}).SetIccid("8988307000000000008").SetRegistrationCode("H3LL0W0RLD"))
		if err != nil || *one.Status != "new" {
			t.Fatalf("%+v, %v", one, err)
		}
		updates, err := api.ListSettingsUpdate((&vendor.ListSettingsUpdateParams{}).SetSim(*one.Sid))
		if err != nil || len(updates) != 1 || *updates[0].Status != "successful" || updates[0].DateCompleted == nil {
			t.Errorf("%+v, %v", updates, err)
		}
		addresses, err := api.ListSimIpAddress(*one.Sid, &vendor.ListSimIpAddressParams{})
		if err != nil || len(addresses) != 0 {
			t.Errorf("%+v, %v", addresses, err)
		}
	})
}
