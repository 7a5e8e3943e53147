package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/euicc"
	"godwit/ident"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	supersim "github.com/twilio/twilio-go/rest/supersim/v1"
)

// TestCustomer is a customer's whole story with the vendor's own client: a
// reservation at the real server, a download onto a chip through its SM-DP+, an
// activation, and signed callbacks about all of it.
func TestCustomer(t *testing.T) {
	p := startServer(t, "--callback-allow", "127.0.0.0/8")
	base, err := url.Parse(p.credentials.BaseURL)
	if err != nil {
		t.Fatal(err)
	}
	direct := &client.Client{
		Credentials: client.NewCredentials(p.credentials.AccountSID, p.credentials.AuthToken),
		HTTPClient:  &http.Client{Transport: detour{base.Host}, Timeout: time.Minute},
	}
	direct.SetAccountSid(p.credentials.AccountSID)
	api := twilio.NewRestClientWithParams(twilio.ClientParams{Client: direct}).SupersimV1

	// The customer's own server, which believes nobody.
	calls := make(chan url.Values, 100)
	check := client.NewRequestValidator(p.credentials.AuthToken)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		params := map[string]string{}
		for name := range r.PostForm {
			params[name] = r.PostForm.Get(name)
		}
		if !check.Validate("http://"+r.Host+r.URL.RequestURI(), params, r.Header.Get("X-Twilio-Signature")) {
			t.Errorf("callback with a wrong signature: %v", r.PostForm)
		}
		calls <- r.PostForm
	}))
	defer hook.Close()
	// told waits for the callback that has the given value.
	told := func(name, value string) url.Values {
		t.Helper()
		late := time.After(longest)
		for {
			select {
			case form := <-calls:
				if form.Get(name) == value {
					return form
				}
			case <-late:
				t.Fatalf("no callback with %s=%s in %s", name, value, longest)
			}
		}
	}

	eid, err := ident.NewEID("890490320001234512345123456780")
	if err != nil {
		t.Fatal(err)
	}
	config, err := chipOf(p.set(), eid)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "chip")
	card, err := euicc.New(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := card.Close(); err != nil {
		t.Fatal(err)
	}

	reservation, err := api.CreateEsimProfile((&supersim.CreateEsimProfileParams{}).SetGenerateMatchingId(true).SetCallbackUrl(hook.URL))
	if err != nil {
		t.Fatal(err)
	}
	told("ESimProfileStatus", "available")
	if reservation, err = api.FetchEsimProfile(*reservation.Sid); err != nil {
		t.Fatal(err)
	}
	godwit(t, "lpa", "--euicc", dir, "download", "LPA:"+*reservation.ActivationCode)
	if form := told("ESimProfileStatus", "installed"); form.Get("Eid") != string(eid) || form.Get("SimIccid") != *reservation.Iccid {
		t.Errorf("callback %v", form)
	}
	if reservation, err = api.FetchEsimProfile(*reservation.Sid); err != nil || *reservation.Status != "installed" || *reservation.Eid != string(eid) {
		t.Errorf("reservation %+v, %v", reservation, err)
	}

	profiles, err := api.ListNetworkAccessProfile(nil)
	if err != nil || len(profiles) == 0 {
		t.Fatalf("a fresh server has a network access profile: %v, %v", profiles, err)
	}
	if _, err := api.CreateFleet((&supersim.CreateFleetParams{}).SetNetworkAccessProfile(*profiles[0].Sid).SetUniqueName("trackers")); err != nil {
		t.Fatal(err)
	}
	one, err := api.UpdateSim(*reservation.SimSid, (&supersim.UpdateSimParams{}).SetFleet("trackers").SetStatus("active").SetCallbackUrl(hook.URL))
	if err != nil || *one.Status != "scheduled" {
		t.Fatalf("activation: %+v, %v", one, err)
	}
	told("SimStatus", "active")
	if one, err = api.FetchSim(*one.Sid); err != nil || *one.Status != "active" || one.FleetSid == nil {
		t.Errorf("Sim %+v, %v", one, err)
	}
}

// detour sends the vendor's client to our server: it knows only its own host.
type detour struct{ host string }

func (d detour) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "supersim.twilio.com" && r.URL.Host != d.host {
		return nil, fmt.Errorf("the client went astray to %s", r.URL)
	}
	there := r.Clone(r.Context())
	there.URL.Scheme, there.URL.Host, there.Host = "http", d.host, d.host
	return http.DefaultTransport.RoundTrip(there)
}

// TestNarrowCallbacks: a server that is told so calls back about a reservation
// once, although it is downloaded and installed.
func TestNarrowCallbacks(t *testing.T) {
	p := startServer(t, "--narrow-callbacks", "--callback-allow", "127.0.0.1:9")
	var one struct {
		SID    string `json:"sid"`
		Status string `json:"status"`
		Code   string `json:"activation_code"`
	}
	is := func(status string) {
		t.Helper()
		for deadline := time.Now().Add(longest); one.Status != status; pause() {
			if p.call("/v1/ESimProfiles/"+one.SID, nil, &one); time.Now().After(deadline) {
				t.Fatalf("the reservation stays %s", one.Status)
			}
		}
	}
	p.call("/v1/ESimProfiles", url.Values{"GenerateMatchingId": {"true"}, "CallbackUrl": {"http://127.0.0.1:9/#rc=0"}}, &one)
	is("available")
	dir := filepath.Join(t.TempDir(), "chip")
	godwit(t, "euicc", "new", "--data", p.data, "--dir", dir)
	godwit(t, "lpa", "--euicc", dir, "download", "LPA:"+one.Code)
	is("installed")
	// Callbacks are stored with the change that they tell about.
	var told struct {
		Callbacks []struct {
			Parameters string `json:"parameters"`
		} `json:"callbacks"`
	}
	p.call("/v1/Callbacks?SubjectSid="+one.SID, nil, &told)
	if len(told.Callbacks) != 1 || !strings.Contains(told.Callbacks[0].Parameters, "ESimProfileStatus=available") {
		t.Errorf("callbacks %+v, want one of available", told.Callbacks)
	}
}
