package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"godwit/device"
	"godwit/iot"
)

// TestAgentForeign has the agent work for an eIM that it knows by its
// configuration alone, as one of another maker: it enrols nowhere and reports
// nothing, and what the eUICC signs is believed.
func TestAgentForeign(t *testing.T) {
	y := newYard(t)
	p, fresh := y.newPost(5001, true), y.newPost(5003, true)
	_, err := y.devices().PutDevices(t.Context(), y.by, []device.DevicePatch{
		{ID: p.id, EIDs: []device.EIDPatch{{EID: p.eid, Kind: "iot"}}}, {ID: fresh.id, EIDs: []device.EIDPatch{{EID: fresh.eid, Kind: "iot"}}},
	}, device.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := y.app.configuration(t.Context(), p.eid)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	der, text, other := filepath.Join(dir, "eim.der"), filepath.Join(dir, "eim.txt"), filepath.Join(dir, "other")
	for name, content := range map[string][]byte{der: config, text: []byte(base64.StdEncoding.EncodeToString(config) + "\n"), other: []byte("nothing")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.args = []string{"--card", "euicc:" + p.chip, "--state", filepath.Join(dir, "state"), "--ca", y.credentials.CICertificate}
	for _, tt := range []struct {
		name, want string
		more       []string
	}{
		{"no manager", "--server or --eim", nil},
		{"two managers", "--server or --eim", []string{"--eim", der, "--server", y.credentials.BaseURL}},
		{"no configuration", "no EimConfigurationData", []string{"--eim", other}},
		{"no address", "--esipa", []string{"--eim", der, "--esipa", "somewhere"}},
		{"plain HTTP", "--allow-http", []string{"--eim", der, "--esipa", "http://eim.example.com"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if said, err := p.once(t.Context(), tt.more...); err == nil || !strings.Contains(said, tt.want) {
				t.Errorf("%v, want one with %q: %s", err, tt.want, said)
			}
		})
	}

	p.must("--eim", text)
	id := p.act(device.Download, func(r *device.ActionRequest) { r.ActivationCode = y.code() })
	p.must("--eim", der)
	iccid := p.wantDone(id).ICCID
	id = p.act(device.Enable, func(r *device.ActionRequest) { r.ICCID = iccid })
	p.must("--eim", der, "--json")
	p.wantDone(id)
	p.wantProfiles(string(iccid) + " true")

	// Its name need not be an address.
	nameless, err := iot.ParseEimConfiguration(config)
	if err != nil {
		t.Fatal(err)
	}
	nameless.FQDN = ""
	if err := os.WriteFile(other, nameless.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh.args = []string{"--card", "euicc:" + fresh.chip, "--state", filepath.Join(dir, "nameless"), "--ca", y.credentials.CICertificate, "--eim", other}
	if said, err := fresh.once(t.Context()); err == nil || !strings.Contains(said, "give --esipa") {
		t.Errorf("no address at all: %v: %s", err, said)
	}
	fresh.must("--esipa", y.credentials.ES9URL)
	d, err := y.devices().Device(t.Context(), y.by.Account, p.id)
	if err != nil || d.FirmwareVersion != "" {
		t.Errorf("the device has reported: %+v, %v", d.Facts, err)
	}
	consumer := y.newPost(5002, false)
	consumer.args = []string{"--card", "euicc:" + consumer.chip, "--state", filepath.Join(dir, "consumer")}
	if said, err := consumer.once(t.Context(), "--eim", der); err == nil || !strings.Contains(said, "does not speak SGP.32") {
		t.Errorf("a consumer eUICC: %v: %s", err, said)
	}
}
