package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"godwit/carrier"
	"godwit/carrier/coretest"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/milenage"
	"godwit/rsp"
	"godwit/saip"
	"godwit/smdp"
)

// A field is one device with a downloaded profile, its Sim, and the core
// network that it meets.
type field struct {
	*process
	device   *testDevice
	sim      string
	personal saip.Personal
	hlr      *coretest.HLR
}

// newField starts a server with a core network, and has one profile downloaded
// and enabled.
func newField(t *testing.T, hlr *coretest.HLR, args ...string) *field {
	t.Helper()
	f := newFieldAt(t, "osmohlr://"+hlr.Control, args...)
	f.hlr = hlr
	return f
}

// newFieldAt is [newField] with the core network at an address.
func newFieldAt(t *testing.T, core string, args ...string) *field {
	t.Helper()
	p := startServer(t, append([]string{"--core", core}, args...)...)
	f := &field{process: p}
	fleet := newFleet(t, p.set(), 1)
	fleet.reserve(p, "")
	if err := fleet.download(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.device = fleet.devices[0]
	iccid := ident.ICCID(f.device.reservation.ICCID)
	if err := f.device.lpa.Chip.Enable(rsp.Selector{ICCID: iccid}, true); err != nil {
		t.Fatal(err)
	}
	f.sim = f.device.reservation.SimSID
	s, err := smdp.Open(t.Context(), p.database(dataFlags{}), smdp.Config{Addresses: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	if f.personal, err = s.Personal(t.Context(), iccid); err != nil {
		t.Fatal(err)
	}
	f.fleet("field", url.Values{})
	return f
}

// fleet makes a Fleet with the network access profile of a fresh server.
func (f *field) fleet(name string, form url.Values) {
	f.t.Helper()
	var accesses struct {
		List []struct {
			SID string `json:"sid"`
		} `json:"network_access_profiles"`
	}
	f.call("/v1/NetworkAccessProfiles", nil, &accesses)
	if len(accesses.List) == 0 {
		f.t.Fatal("a fresh server has no network access profile")
	}
	form.Set("UniqueName", name)
	form.Set("NetworkAccessProfile", accesses.List[0].SID)
	if status := f.call("/v1/Fleets", form, nil); status != http.StatusCreated {
		f.t.Fatalf("Fleet %s was answered with %d", name, status)
	}
}

// update asks for a change of the Sim that takes the core network.
func (f *field) update(form url.Values) {
	f.t.Helper()
	if status := f.call("/v1/Sims/"+f.sim, form, nil); status != http.StatusAccepted {
		f.t.Fatalf("%v was answered with %d", form, status)
	}
}

func (f *field) status() string {
	f.t.Helper()
	var one struct {
		Status string `json:"status"`
	}
	f.call("/v1/Sims/"+f.sim, nil, &one)
	return one.Status
}

// becomes waits until the Sim has a status.
func (f *field) becomes(want string) {
	f.t.Helper()
	for deadline := time.Now().Add(longest); ; pause() {
		is := f.status()
		if is == want {
			return
		}
		if is != "scheduled" || time.Now().After(deadline) {
			f.t.Fatalf("the Sim is %s, want %s", is, want)
		}
	}
}

// attach is what a switch does with a device that comes: it has the USIM answer
// challenges of the HLR, and says that it is here.
func (f *field) attach() (challenges int, err error) {
	f.t.Helper()
	home, err := carrier.DialGSUP(f.t.Context(), f.hlr.GSUP, "sgsn")
	if err != nil {
		f.t.Fatal(err)
	}
	defer home.Close()
	var v milenage.Vector
	v, err = carrier.Authenticate(f.t.Context(), home, f.personal.IMSI, ident.PLMN{}, func(random, autn [16]byte) (carrier.Answer, error) {
		challenges++
		return authenticate(f.device.card, random[:], autn[:])
	})
	if err != nil {
		return challenges, err
	}
	if len(v.CK) != 16 || len(v.IK) != 16 {
		f.t.Errorf("the HLR's vector has a CK of %d octets and an IK of %d", len(v.CK), len(v.IK))
	}
	return challenges, home.UpdateLocation(f.t.Context(), f.personal.IMSI, carrier.Packet)
}

func (f *field) attaches(challenges int) {
	f.t.Helper()
	asked, err := f.attach()
	if err != nil {
		f.t.Fatalf("the device is not served: %v", err)
	}
	if asked != challenges {
		f.t.Errorf("the USIM was asked %d times, want %d", asked, challenges)
	}
}

func (f *field) refused(words string) {
	f.t.Helper()
	if _, err := f.attach(); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), words) {
		f.t.Errorf("attach: %v, want a refusal with %q", err, words)
	}
}

// check runs `godwit core check`.
func (f *field) check(code int, args ...string) (out struct {
	carrier.Report
	Core   string
	Drifts []carrier.Drift
},
) {
	f.t.Helper()
	command := program(f.t.Context(), append([]string{"core", "check", "--json", "--data", f.data}, args...)...)
	text, err := command.Output()
	if err != nil && command.ProcessState == nil || command.ProcessState.ExitCode() != code {
		var said []byte
		if failed, ok := err.(*exec.ExitError); ok {
			said = failed.Stderr
		}
		f.t.Fatalf("core check: %v, want exit code %d\n%s%s", err, code, text, said)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		f.t.Fatalf("core check printed %q: %v", text, err)
	}
	return out
}

// TestOsmoHLR has a server tell a real HLR about its Sims: the USIM of a
// downloaded profile passes with vectors that the HLR made while its Sim is
// active, and is refused otherwise.
func TestOsmoHLR(t *testing.T) {
	// The server's own check, an hour's and one at the start, would repair what
	// is drifted here before the command has seen it.
	f := newField(t, coretest.StartHLR(t), "--core-check", "0s")
	f.refused("IMSI unknown")

	f.update(url.Values{"Status": {"active"}, "Fleet": {"field"}})
	f.becomes("active")
	f.attaches(1)
	f.attaches(1)

	f.update(url.Values{"Status": {"inactive"}})
	f.becomes("inactive")
	f.refused("IMSI unknown")

	// The HLR begins to count anew, the USIM does not: it asks for
	// resynchronisation, once.
	f.update(url.Values{"Status": {"active"}})
	f.becomes("active")
	f.attaches(2)
	f.attaches(1)

	// A Fleet without data, and back.
	f.fleet("mute", url.Values{"DataEnabled": {"false"}})
	f.update(url.Values{"Fleet": {"mute"}})
	f.becomes("active")
	f.refused("GPRS")
	f.update(url.Values{"Fleet": {"field"}})
	f.becomes("active")
	f.attaches(1)
	if out := f.check(0); out.Drifted != 0 || out.Sims != 1 || out.Core != "osmohlr://"+f.hlr.Control {
		t.Errorf("check %+v", out)
	}

	// Somebody changes the HLR by hand.
	hand := carrier.NewOsmoHLR(f.hlr.Control)
	defer hand.Close()
	subscriber := carrier.Subscriber{
		IMSI: f.personal.IMSI, ICCID: f.personal.ICCID, Algorithm: f.personal.Algorithm,
		K: f.personal.K, OPc: f.personal.OPc, Attach: true, SMS: true,
	}
	if err := hand.Apply(t.Context(), subscriber); err != nil {
		t.Fatal(err)
	}
	f.refused("GPRS")
	out := f.check(1)
	if out.Drifted != 1 || out.Repaired != 0 || len(out.Drifts) != 1 || out.Drifts[0].SIM != f.sim ||
		len(out.Drifts[0].Differences) != 1 || out.Drifts[0].Differences[0] != (carrier.Difference{What: "data", Want: "on", Is: "off"}) {
		t.Errorf("check %+v", out)
	}
	f.refused("GPRS")
	if out = f.check(0, "--repair"); out.Drifted != 1 || out.Repaired != 1 {
		t.Errorf("repair %+v", out)
	}
	f.attaches(1)

	// Or loses it.
	if err := hand.Delete(t.Context(), subscriber); err != nil {
		t.Fatal(err)
	}
	f.refused("IMSI unknown")
	if out = f.check(0, "--repair"); out.Repaired != 1 {
		t.Errorf("repair %+v", out)
	}
	f.attaches(2)

	d := f.database(dataFlags{})
	var list []event.Event
	if err := d.Read(t.Context(), func(q db.Query) (err error) {
		list, err = event.New(d).List(t.Context(), q, event.Filter{Subject: f.sim, Kind: "sim.core_drift"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 {
		t.Errorf("%d events of drift, want 3", len(list))
	}
}

// TestCoreNetworkIsLookedAfter has somebody switch a Sim off in the HLR by hand,
// and another that is inactive on; the server puts both right by itself.
func TestCoreNetworkIsLookedAfter(t *testing.T) {
	f := newField(t, coretest.StartHLR(t), "--core-check", "1s")
	f.update(url.Values{"Status": {"active"}, "Fleet": {"field"}})
	f.becomes("active")
	hand := carrier.NewOsmoHLR(f.hlr.Control)
	defer hand.Close()
	subscriber := carrier.Subscriber{
		IMSI: f.personal.IMSI, ICCID: f.personal.ICCID, Algorithm: f.personal.Algorithm, K: f.personal.K, OPc: f.personal.OPc,
	}
	for _, want := range []bool{true, false} {
		subscriber.Attach, subscriber.Data, subscriber.SMS = !want, !want, !want
		if err := hand.Apply(t.Context(), subscriber); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(longest); ; pause() {
			if _, err := f.attach(); (err == nil) == want {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s after somebody changed the HLR by hand, the device is served: %v", longest, !want)
			}
		}
		if want {
			f.update(url.Values{"Status": {"inactive"}})
			f.becomes("inactive")
		}
	}
}

// TestCoreNetworkDown activates a Sim while the HLR is down, deactivates it
// while it is down again, and kills the server in between: the Sim waits, and
// goes on when the HLR is back.
func TestCoreNetworkDown(t *testing.T) {
	f := newField(t, coretest.NewHLR(t))
	f.update(url.Values{"Status": {"active"}, "Fleet": {"field"}})
	waits := func() {
		t.Helper()
		for deadline := time.Now().Add(longest); !strings.Contains(f.output.String(), "the core network did not take an update"); pause() {
			if time.Now().After(deadline) {
				t.Fatalf("the server did not try to tell the HLR in %s", longest)
			}
		}
		if is := f.status(); is != "scheduled" {
			t.Errorf("while the HLR is down the Sim is %s, want scheduled", is)
		}
	}
	waits()
	f.hlr.Start()
	f.becomes("active")
	f.attaches(1)

	f.hlr.Stop()
	f.update(url.Values{"Status": {"inactive"}})
	f.kill()
	f.start()
	waits()
	f.hlr.Start()
	f.becomes("inactive")
	f.refused("IMSI unknown")
}

// TestOpen5GS has a server keep the documents of an Open5GS.
func TestOpen5GS(t *testing.T) {
	address := "open5gs+" + coretest.Mongo(t) + "open5gs_serve"
	f := newFieldAt(t, address)
	core, err := carrier.NewOpen5GS(address)
	if err != nil {
		t.Fatal(err)
	}
	defer core.Close()
	is := func(attach, data bool) {
		t.Helper()
		list, err := core.Compare(t.Context(), carrier.Subscriber{
			IMSI: f.personal.IMSI, ICCID: f.personal.ICCID, Algorithm: f.personal.Algorithm,
			K: f.personal.K, OPc: f.personal.OPc, Attach: attach, Data: data, SMS: attach,
		})
		if err != nil || len(list) > 0 {
			t.Errorf("in the document %v, %v", list, err)
		}
	}
	is(false, false)
	f.update(url.Values{"Status": {"active"}, "Fleet": {"field"}})
	f.becomes("active")
	is(true, true)
	f.fleet("mute", url.Values{"DataEnabled": {"false"}})
	f.update(url.Values{"Fleet": {"mute"}})
	f.becomes("active")
	is(true, false)
	if out := f.check(0); out.Drifted != 0 || out.Sims != 1 {
		t.Errorf("check %+v", out)
	}
	f.update(url.Values{"Status": {"inactive"}})
	f.becomes("inactive")
	is(false, false)
}
