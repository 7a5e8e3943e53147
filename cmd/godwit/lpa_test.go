package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"godwit/euicc"
	"godwit/ident"
	"godwit/rsp"
)

// TestLPACommand does with the commands of a terminal what a phone does with a
// profile, from the order to the deletion.
func TestLPACommand(t *testing.T) {
	p := startServer(t)
	eid, err := ident.NewEID("890490320001234512345123456789")
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
	// call runs one command, expects an exit code and reads the answer.
	call := func(code int, into any, args ...string) {
		t.Helper()
		var problems bytes.Buffer
		command := program(t.Context(), append([]string{"lpa", "--euicc", dir, "--json"}, args...)...)
		command.Stderr = &problems
		out, err := command.Output()
		got := 0
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			got = failed.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != code {
			t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got, code, out, problems.Bytes())
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatalf("%v: %v in %q", args, err, out)
		}
	}
	order := func(args ...string) (ident.ICCID, string) {
		t.Helper()
		iccid := strings.TrimSpace(string(godwit(t, "order", "download", "--data", p.data, "--type", "minimal")))
		out := godwit(t, append([]string{"order", "confirm", "--data", p.data, iccid}, args...)...)
		return ident.ICCID(iccid), strings.TrimSpace(string(out))
	}

	var info lpaInfo
	call(0, &info, "info")
	if info.EID != eid || info.SVN != "2.5.0" || len(info.Signing) == 0 || info.FreeNonVolatile == 0 {
		t.Errorf("info %+v", info)
	}
	var list []lpaProfile
	call(0, &list, "list")
	if len(list) != 0 {
		t.Errorf("profiles %+v", list)
	}

	godwit(t, "stock", "generate", "--data", p.data, "--type", "minimal", "--iccid", "8999701", "--imsi", "001010000005000", "--count", "3")
	one, code := order("--code", "4711")
	parsed, err := rsp.ParseActivationCode(code)
	if err != nil || !parsed.CodeRequired {
		t.Fatalf("activation code %s, %v", code, err)
	}
	var failure lpaFailure
	call(1, &failure, "download", code)
	if failure.Step != "" {
		t.Errorf("without a code the server was asked: %+v", failure)
	}
	call(1, &failure, "download", code, "--confirmation-code", "1")
	if failure.Step != "getBoundProfilePackage" || failure.Explained == nil || failure.Explained.Code != rsp.CodeRefused.String() {
		t.Errorf("wrong code: %+v", failure)
	}
	var download lpaDownload
	call(0, &download, "download", code, "--confirmation-code", "4711", "--enable")
	if download.ICCID != one || !download.Notified || !download.Enabled || len(download.Steps) < 9 || download.AID == "" {
		t.Errorf("download %+v", download)
	}

	// The second one by EID from the default SM-DP+, in the other binding.
	two, _ := order("--eid", string(eid), "--matching-id", "")
	call(0, nil, "chip", "default-smdp", parsed.Address)
	call(0, &download, "download", "--asn1")
	if download.ICCID != two {
		t.Errorf("download %+v", download)
	}
	call(0, nil, "nickname", string(two), "Work")
	var change struct {
		Result        string
		Notifications []lpaDelivery
	}
	call(0, &change, "enable", string(two))
	if change.Result != "enabled" || len(change.Notifications) != 2 || !change.Notifications[0].Delivered || !change.Notifications[1].Delivered {
		t.Errorf("enable %+v", change)
	}
	call(0, &list, "list")
	if len(list) != 2 || list[0].State != "disabled" || list[1].State != "enabled" || list[1].Nickname != "Work" {
		t.Errorf("profiles %+v", list)
	}
	failure = lpaFailure{}
	call(1, &failure, "delete", string(two))
	if failure.Explained == nil || failure.Explained.Code != "delete 2" {
		t.Errorf("delete what is enabled: %+v", failure)
	}
	call(1, nil, "enable", "8999701") // both begin so
	call(0, nil, "disable", string(two))

	// What cannot be delivered waits and is delivered later.
	p.kill()
	call(0, &change, "delete", string(one))
	if len(change.Notifications) != 1 || change.Notifications[0].Delivered {
		t.Errorf("without a server: %+v", change)
	}
	var waiting []lpaDelivery
	call(1, &waiting, "notifications", "send")
	call(0, &waiting, "notifications")
	if len(waiting) != 1 || waiting[0].Event != "delete" || waiting[0].ICCID != one {
		t.Errorf("waiting %+v", waiting)
	}
	p.start()
	call(0, &waiting, "notifications", "send", "--wait")
	if len(waiting) != 1 || !waiting[0].Delivered {
		t.Errorf("sent %+v", waiting)
	}
	call(2, nil, "chip", "reset")
	call(0, nil, "chip", "reset", "--operational", "--default-smdp")
	call(0, &list, "list")
	if len(list) != 0 {
		t.Errorf("profiles after the reset: %+v", list)
	}
	call(1, nil, "download") // the default SM-DP+ is gone
}
