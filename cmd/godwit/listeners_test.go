package main

import (
	"path/filepath"
	"testing"

	"godwit/rsp"
	"godwit/trust"
)

// TestEachPortHasItsAddress loads a profile through the second port, whose CI
// the first port's chips do not know: the eUICC is told to report to that port,
// and what it reports arrives.
func TestEachPortHasItsAddress(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	godwit(t, "pki", "init", "--data", data, "--set", "lab", "--host", "localhost")
	ports := freePorts(t, 1)
	p := startServerIn(t, data, "--rsp-listen", ports[0]+"=lab")
	lab, err := trust.Load(filepath.Join(data, "pki"), "lab")
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, lab, 1)
	d := f.devices[0]
	d.reservation = d.reserveWith(p, "")
	d.available(p)
	request := d.request()
	request.Address = "localhost:" + ports[0][len("127.0.0.1:"):]
	result, err := d.lpa.Download(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if result.NotifyError != nil {
		t.Fatalf("the installation result did not arrive: %v", result.NotifyError)
	}
	for _, n := range result.Metadata.Notifications {
		if n.Address != request.Address {
			t.Errorf("the eUICC is told to report to %s, it loaded from %s", n.Address, request.Address)
		}
	}
	f.check(p)
	if err := d.lpa.Chip.Enable(rsp.Selector{ICCID: result.Metadata.ICCID}, false); err != nil {
		t.Fatal(err)
	}
	sent, err := d.lpa.Notify(t.Context())
	if err != nil || len(sent) == 0 {
		t.Fatalf("%d notifications were sent: %v", len(sent), err)
	}
	for _, n := range sent {
		if n.Err != nil {
			t.Errorf("notification %s: %v", n.Metadata.Event, n.Err)
		}
	}
	// The first port knows nothing of that CI.
	request.Address = p.credentials.SMDPAddress
	if _, err := d.lpa.Download(t.Context(), request); err == nil {
		t.Error("a chip of another CI was served at the first port")
	}
}
