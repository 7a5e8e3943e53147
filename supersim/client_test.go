package supersim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/rsp"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	vendor "github.com/twilio/twilio-go/rest/supersim/v1"
)

// detour sends the vendor's client to our door: it knows only the vendor's
// host.
type detour struct{ host string }

func (d detour) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "supersim.twilio.com" && r.URL.Host != d.host {
		return nil, fmt.Errorf("the client went astray to %s", r.URL)
	}
	there := r.Clone(r.Context())
	there.URL.Scheme, there.URL.Host, there.Host = "http", d.host, d.host
	return http.DefaultTransport.RoundTrip(there)
}

// vendorClient is the official client with an account's credentials.
func vendorClient(h *house, user, password string) *vendor.ApiService {
	u, err := url.Parse(h.server.URL)
	if err != nil {
		panic(err) // httptest's own
	}
	base := &client.Client{
		Credentials: client.NewCredentials(user, password),
		HTTPClient:  &http.Client{Transport: detour{u.Host}, Timeout: time.Minute},
	}
	base.SetAccountSid(user)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: base}).SupersimV1
}

// TestOfficialClient does a customer's whole work with the vendor's own client
// over real HTTP.
func TestOfficialClient(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d, "")
		api := vendorClient(h, h.account, h.token)
		hook := h.calls.server.URL + "/hook?tenant=7"

		// A network access profile with networks, and a Fleet.
		networks, err := api.ListNetwork((&vendor.ListNetworkParams{}).SetIsoCountry("us").SetLimit(2))
		if err != nil {
			t.Fatal(err)
		}
		if len(networks) != 2 || *networks[0].IsoCountry != "US" || len(*networks[0].Identifiers) == 0 {
			t.Fatalf("networks %+v", networks)
		}
		nap, err := api.CreateNetworkAccessProfile((&vendor.CreateNetworkAccessProfileParams{}).
			SetUniqueName("everywhere").SetNetworks([]string{*networks[0].Sid, *networks[1].Sid}))
		if err != nil {
			t.Fatal(err)
		}
		if members, err := api.ListNetworkAccessProfileNetwork(*nap.Sid, nil); err != nil || len(members) != 2 {
			t.Fatalf("networks of the profile: %v, %v", members, err)
		}
		if err := api.DeleteNetworkAccessProfileNetwork("everywhere", *networks[0].Sid); err != nil {
			t.Fatal(err)
		}
		if _, err := api.FetchNetworkAccessProfileNetwork("everywhere", *networks[0].Sid); codeOf(err) != 20404 {
			t.Errorf("the removed network: %v", err)
		}
		if back, err := api.CreateNetworkAccessProfileNetwork("everywhere", (&vendor.CreateNetworkAccessProfileNetworkParams{}).SetNetwork(*networks[0].Sid)); err != nil || *back.Sid != *networks[0].Sid {
			t.Fatalf("adding it again: %+v, %v", back, err)
		}
		fleet, err := api.CreateFleet((&vendor.CreateFleetParams{}).SetNetworkAccessProfile("everywhere").SetUniqueName("my fleet"))
		if err != nil {
			t.Fatal(err)
		}
		if *fleet.NetworkAccessProfileSid != *nap.Sid || fleet.DataLimit != 1000 || !*fleet.DataEnabled || !*fleet.SmsCommandsEnabled || *fleet.DataMetering != "payg" {
			t.Errorf("fleet %+v", fleet)
		}
		if fleet, err = api.UpdateFleet("my fleet", (&vendor.UpdateFleetParams{}).SetDataLimit(500)); err != nil || fleet.DataLimit != 500 {
			t.Errorf("updated fleet %+v, %v", fleet, err)
		}

		// A reservation, and what its customer is told.
		p, err := api.CreateEsimProfile((&vendor.CreateEsimProfileParams{}).SetEid(testEID).SetGenerateMatchingId(true).SetCallbackUrl(hook))
		if err != nil {
			t.Fatal(err)
		}
		if *p.Status != "new" || p.Iccid != nil || p.SimSid != nil || p.ActivationCode != nil || *p.Eid != testEID {
			t.Errorf("fresh reservation %+v", p)
		}
		call := h.calls.next(t)
		if call.Get("ESimProfileStatus") != "available" || call.Get("ESimProfileSid") != *p.Sid || call.Get("tenant") != "7" || call.Get("method") != "POST" {
			t.Errorf("callback %v", call)
		}
		if p, err = api.FetchEsimProfile(*p.Sid); err != nil {
			t.Fatal(err)
		}
		if *p.Status != "available" || *p.ActivationCode != "1$smdp.example.net$"+*p.MatchingId || *p.SmdpPlusAddress != "smdp.example.net" {
			t.Errorf("settled reservation %+v", p)
		}
		h.report(t, *p.Iccid, rsp.PointDownload, nil)
		h.report(t, *p.Iccid, rsp.PointInstallation, nil)
		var told []string
		for range 2 {
			told = append(told, h.calls.next(t).Get("ESimProfileStatus"))
		}
		slices.Sort(told) // they may overtake each other
		if got := strings.Join(told, " "); got != "downloaded installed" {
			t.Errorf("callbacks %s", got)
		}
		if list, err := api.ListEsimProfile((&vendor.ListEsimProfileParams{}).SetStatus("installed").SetSimSid(*p.SimSid).SetEid(testEID)); err != nil || len(list) != 1 || *list[0].Sid != *p.Sid {
			t.Errorf("list %v, %v", list, err)
		}

		// The Sim is activated; GET callback.
		s, err := api.UpdateSim(*p.SimSid, (&vendor.UpdateSimParams{}).SetUniqueName("tracker").SetFleet("my fleet").SetStatus("active").SetCallbackUrl(hook).SetCallbackMethod("GET"))
		if err != nil {
			t.Fatal(err)
		}
		if *s.Status != "scheduled" || s.FleetSid != nil || *s.UniqueName != "tracker" {
			t.Errorf("scheduled Sim %+v", s)
		}
		call = h.calls.next(t)
		if call.Get("SimStatus") != "active" || call.Get("SimSid") != *s.Sid || call.Get("SimUniqueName") != "tracker" || call.Get("AccountSid") != h.account || call.Get("method") != "GET" {
			t.Errorf("callback %v", call)
		}
		if s, err = api.FetchSim("tracker"); err != nil || *s.Status != "active" || *s.FleetSid != *fleet.Sid {
			t.Errorf("active Sim %+v, %v", s, err)
		}
		if list, err := api.ListSim((&vendor.ListSimParams{}).SetFleet("my fleet").SetStatus("active").SetIccid(*s.Iccid)); err != nil || len(list) != 1 {
			t.Errorf("list %v, %v", list, err)
		}

		// Refusals arrive as the client's own error type.
		for _, tt := range []struct {
			what string
			code int
			do   func() error
		}{
			{"neither EID nor code", 20001, func() error { _, err := api.CreateEsimProfile(&vendor.CreateEsimProfileParams{}); return err }},
			{"unknown reservation", 20404, func() error { _, err := api.FetchEsimProfile("HP00000000000000000000000000000000"); return err }},
			{"unknown Sim", 20404, func() error { _, err := api.FetchSim("nobody"); return err }},
			{"active to ready", 83010, func() error {
				_, err := api.UpdateSim("tracker", (&vendor.UpdateSimParams{}).SetStatus("ready"))
				return err
			}},
			{"status that is none", 20001, func() error {
				_, err := api.UpdateSim("tracker", (&vendor.UpdateSimParams{}).SetStatus("new"))
				return err
			}},
			{"unknown Fleet", 83006, func() error {
				_, err := api.UpdateSim("tracker", (&vendor.UpdateSimParams{}).SetFleet("nobody"))
				return err
			}},
			{"out of the Fleet", 83008, func() error { _, err := api.UpdateSim("tracker", (&vendor.UpdateSimParams{}).SetFleet("")); return err }},
			{"Fleet without profile", 20001, func() error { _, err := api.CreateFleet(&vendor.CreateFleetParams{}); return err }},
			{"name that is taken", 20001, func() error {
				_, err := api.CreateFleet((&vendor.CreateFleetParams{}).SetNetworkAccessProfile("everywhere").SetUniqueName("my fleet"))
				return err
			}},
			{"wrong token", 20003, func() error {
				_, err := vendorClient(h, h.account, "00000000000000000000000000000000").FetchSim("tracker")
				return err
			}},
			{"another customer", 20404, func() error {
				sid, token := h.customer(t, "")
				_, err := vendorClient(h, sid, token).FetchSim(*s.Sid)
				return err
			}},
		} {
			if err := tt.do(); codeOf(err) != tt.code {
				t.Errorf("%s: %v, want code %d", tt.what, err, tt.code)
			}
		}
	})
}

func codeOf(err error) int {
	var refusal *client.TwilioRestError
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return 0
}

// TestOfficialClientPages has the vendor's client walk through a list in its
// three ways: all at once, streaming, and back again.
func TestOfficialClientPages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d, "")
		api := vendorClient(h, h.account, h.token)
		const n = 12
		var want []string
		for i := range n {
			nap, err := api.CreateNetworkAccessProfile((&vendor.CreateNetworkAccessProfileParams{}).SetUniqueName(fmt.Sprint("profile ", i)))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, *nap.Sid)
		}
		slices.Reverse(want)
		list, err := api.ListNetworkAccessProfile((&vendor.ListNetworkAccessProfileParams{}).SetPageSize(5))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range list {
			got = append(got, *one.Sid)
		}
		if !slices.Equal(got, want) {
			t.Errorf("list %v, want %v", got, want)
		}
		got = nil
		records, failures := api.StreamNetworkAccessProfile((&vendor.ListNetworkAccessProfileParams{}).SetPageSize(4))
		for one := range records {
			got = append(got, *one.Sid)
		}
		if err := <-failures; err != nil || !slices.Equal(got, want) {
			t.Errorf("stream %v, %v", got, err)
		}
		first, err := api.PageNetworkAccessProfile((&vendor.ListNetworkAccessProfileParams{}).SetPageSize(5), "", "")
		if err != nil || link(first.Meta.PreviousPageUrl) != "" || first.Meta.PageSize != 5 {
			t.Fatalf("first page %+v, %v", first, err)
		}
		second, err := h.page(link(first.Meta.NextPageUrl))
		if err != nil || second.Meta.Page != 1 || *second.NetworkAccessProfiles[0].Sid != want[5] {
			t.Fatalf("second page %+v, %v", second, err)
		}
		third, err := h.page(link(second.Meta.NextPageUrl))
		if err != nil || len(third.NetworkAccessProfiles) != 2 || link(third.Meta.NextPageUrl) != "" {
			t.Fatalf("third page %+v, %v", third, err)
		}
		back, err := h.page(link(third.Meta.PreviousPageUrl))
		if err != nil || back.Meta.Page != 1 || *back.NetworkAccessProfiles[0].Sid != want[5] || link(back.Meta.NextPageUrl) == "" {
			t.Fatalf("back on the second page %+v, %v", back, err)
		}
		// Clients that count pages without a token come to an end, too.
		for page := range 4 {
			counted, err := api.PageNetworkAccessProfile((&vendor.ListNetworkAccessProfileParams{}).SetPageSize(5), "", fmt.Sprint(page))
			if err != nil {
				t.Fatal(err)
			}
			want := []int{5, 5, 2, 0}[page]
			if len(counted.NetworkAccessProfiles) != want || (link(counted.Meta.NextPageUrl) != "") != (page < 2) {
				t.Errorf("page %d has %d items and next link %q", page, len(counted.NetworkAccessProfiles), link(counted.Meta.NextPageUrl))
			}
		}
	})
}

// link is a link of a page, empty for none.
func link(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// page follows a link as it stands, as clients do.
func (h *house) page(link string) (*vendor.ListNetworkAccessProfileResponse, error) {
	r, err := http.NewRequest(http.MethodGet, link, nil)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth(h.account, h.token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var page vendor.ListNetworkAccessProfileResponse
	return &page, json.NewDecoder(answer.Body).Decode(&page)
}
