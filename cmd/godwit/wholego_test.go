package main

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	supersim "github.com/twilio/twilio-go/rest/supersim/v1"
)

// wholeGo does every operation with the unmodified twilio-go.
func wholeGo(t *testing.T, i *inspector, c credentials) {
	base, err := url.Parse(i.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	open := func(password string) *supersim.ApiService {
		direct := &client.Client{
			Credentials: client.NewCredentials(c.AccountSID, password),
			HTTPClient:  &http.Client{Transport: detour{base.Host}, Timeout: time.Minute},
		}
		direct.SetAccountSid(c.AccountSID)
		return twilio.NewRestClientWithParams(twilio.ClientParams{Client: direct}).SupersimV1
	}
	api := open(c.AuthToken)
	all := served(t, download(t, i.server.URL+"/openapi.json"))
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	refused := func(what string, err error, code int) {
		t.Helper()
		refusal, ok := errors.AsType[*client.TwilioRestError](err)
		if !ok || refusal.Code != code {
			t.Errorf("%s: %v, want code %d", what, err, code)
		}
	}

	networks, err := api.ListNetwork((&supersim.ListNetworkParams{}).SetIsoCountry("us").SetLimit(3))
	must("networks", err)
	_, err = api.FetchNetwork(*networks[0].Sid)
	must("network", err)
	nap, err := api.CreateNetworkAccessProfile((&supersim.CreateNetworkAccessProfileParams{}).
		SetUniqueName("go nap").SetNetworks([]string{*networks[0].Sid, *networks[1].Sid}))
	must("access profile", err)
	_, err = api.FetchNetworkAccessProfile("go nap")
	must("access profile by name", err)
	_, err = api.UpdateNetworkAccessProfile(*nap.Sid, (&supersim.UpdateNetworkAccessProfileParams{}).SetUniqueName("go access"))
	must("name of an access profile", err)
	_, err = api.ListNetworkAccessProfile(nil)
	must("access profiles", err)
	members, err := api.ListNetworkAccessProfileNetwork(*nap.Sid, nil)
	must("members", err)
	if len(members) != 2 {
		t.Errorf("%d members", len(members))
	}
	_, err = api.FetchNetworkAccessProfileNetwork(*nap.Sid, *networks[0].Sid)
	must("member", err)
	must("removal", api.DeleteNetworkAccessProfileNetwork(*nap.Sid, *networks[0].Sid))
	_, err = api.CreateNetworkAccessProfileNetwork(*nap.Sid, (&supersim.CreateNetworkAccessProfileNetworkParams{}).SetNetwork(*networks[2].Sid))
	must("new member", err)

	fleet, err := api.CreateFleet((&supersim.CreateFleetParams{}).SetNetworkAccessProfile(*nap.Sid).SetUniqueName("go fleet"))
	must("fleet", err)
	_, err = api.FetchFleet("go fleet")
	must("fleet by name", err)
	_, err = api.UpdateFleet(*fleet.Sid, (&supersim.UpdateFleetParams{}).SetDataLimit(20))
	must("update of a fleet", err)
	_, err = api.ListFleet((&supersim.ListFleetParams{}).SetNetworkAccessProfile(*nap.Sid))
	must("fleets", err)

	profile, err := api.CreateEsimProfile((&supersim.CreateEsimProfileParams{}).SetGenerateMatchingId(true))
	must("reservation", err)
	for late := time.Now().Add(longest); *profile.Status != "available"; pause() {
		profile, err = api.FetchEsimProfile(*profile.Sid)
		must("reservation", err)
		if time.Now().After(late) {
			t.Fatalf("reservation is %s after %s", *profile.Status, longest)
		}
	}
	_, err = api.ListEsimProfile((&supersim.ListEsimProfileParams{}).SetSimSid(*profile.SimSid))
	must("reservations", err)
	_, err = api.ListSim((&supersim.ListSimParams{}).SetIccid(*profile.Iccid))
	must("sims", err)
	one, err := api.UpdateSim(*profile.SimSid, (&supersim.UpdateSimParams{}).SetUniqueName("go sim").SetFleet("go fleet").SetStatus("active"))
	must("activation", err)
	for late := time.Now().Add(longest); *one.Status != "active"; pause() {
		one, err = api.FetchSim("go sim")
		must("sim", err)
		if time.Now().After(late) {
			t.Fatalf("sim is %s after %s", *one.Status, longest)
		}
	}

	// Each of these runs as soon as it is served.
	for id, step := range map[string]func() error{
		"CreateSim": func() error {
			_, err := api.CreateSim((&supersim.CreateSimParams{}).SetIccid("8988307000000000000").SetRegistrationCode("H3LL0W0RLD"))
			refused("unknown card", err, 83002)
			_, err = api.CreateSim((&supersim.CreateSimParams{}).SetIccid(i.card.iccid).SetRegistrationCode(i.card.code))
			return err
		},
		"ListBillingPeriod":  func() error { _, err := api.ListBillingPeriod(*one.Sid, nil); return err },
		"ListSimIpAddress":   func() error { _, err := api.ListSimIpAddress(*one.Sid, nil); return err },
		"ListSettingsUpdate": func() error { _, err := api.ListSettingsUpdate(nil); return err },
		"ListUsageRecord": func() error {
			_, err := api.ListUsageRecord((&supersim.ListUsageRecordParams{}).SetSim(*one.Sid).SetGranularity("day").SetGroup("sim"))
			return err
		},
		"CreateSmsCommand": func() error {
			m, err := api.CreateSmsCommand((&supersim.CreateSmsCommandParams{}).SetSim("go sim").SetPayload("hello"))
			if err == nil {
				_, err = api.FetchSmsCommand(*m.Sid)
			}
			return err
		},
		"ListSmsCommand": func() error {
			_, err := api.ListSmsCommand((&supersim.ListSmsCommandParams{}).SetSim(*one.Sid))
			return err
		},
		"CreateIpCommand": func() error {
			m, err := api.CreateIpCommand((&supersim.CreateIpCommandParams{}).SetSim("go sim").SetPayload("hello").SetDevicePort(5000))
			if err == nil {
				_, err = api.FetchIpCommand(*m.Sid)
			}
			return err
		},
		"ListIpCommand": func() error {
			_, err := api.ListIpCommand((&supersim.ListIpCommandParams{}).SetSim(*one.Sid))
			return err
		},
	} {
		if slices.Contains(all, id) {
			must(id, step())
		}
	}

	_, err = api.FetchSim("HS00000000000000000000000000000000")
	refused("unknown Sim", err, 20404)
	_, err = api.CreateEsimProfile(nil)
	refused("no EID", err, 20001)
	_, err = open("00000000000000000000000000000000").ListSim(nil)
	refused("wrong token", err, 20003)
}
