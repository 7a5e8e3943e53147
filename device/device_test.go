package device

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"
)

func ptr[T any](v T) *T { return &v }

func TestIDs(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(string) (ID, error)
		in   string
		want ID
	}{
		{"as it is", ParseID, "00000000-00000000-0004f3ff-ff00a1b2", "00000000-00000000-0004F3FF-FF00A1B2"},
		{"a group too few", ParseID, "00000000-0004F3FF-FF00A1B2", ""},
		{"not hexadecimal", ParseID, "00000000-00000000-0004F3FG-FF00A1B2", ""},
		{"from a MAC address", IDFromMAC, "00:04:F3:00:A1:B2", "00000000-00000000-0004F3FF-FF00A1B2"},
		{"from a bare MAC address", IDFromMAC, "0004f300a1b2", "00000000-00000000-0004F3FF-FF00A1B2"},
		{"MAC too short", IDFromMAC, "00:04:F3", ""},
		{"from an IMEI", IDFromIMEI, "352099001761481", "00010000-00000000-03520990-01761481"},
		{"IMEI with letters", IDFromIMEI, "35209900176148x", ""},
	} {
		if got, err := c.make(c.in); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q is %q, %v", c.name, c.in, got, err)
		}
	}
}

func TestSameICCID(t *testing.T) {
	nineteen, err := ident.NewICCID("898830300000123456")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{string(nineteen), string(nineteen), true},
		{string(nineteen), "898830300000123456", true},
		{string(nineteen), string(nineteen) + string(checkDigit(nineteen)), true},
		{string(nineteen), string(nineteen) + string('0'+('9'-checkDigit(nineteen)[0]+1)%10), false},
		{string(nineteen), "8988303000001234561", false},
	} {
		a, errA := ParseICCID(c.a)
		b, errB := ParseICCID(c.b + "F")
		if errA != nil || errB != nil || SameICCID(a, b) != c.same || SameICCID(b, a) != c.same {
			t.Errorf("%s and %s are the same: %v, want %v (%v, %v)", a, b, SameICCID(a, b), c.same, errA, errB)
		}
	}
}

// publicKey is a new SubjectPublicKeyInfo. The eIM takes none of P-384.
func publicKey(t *testing.T, curve elliptic.Curve) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestPutDevices creates, changes and refuses, each device for itself.
func TestPutDevices(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		eid := numberedEID(t, 1)
		puts, err := h.PutDevices(t.Context(), h.by, []DevicePatch{
			{
				ID: numberedID(1), Name: ptr("Straße 7"), Group: ptr("/Plant/North/"), Tags: &[]string{"red", "red", "blue"}, MAC: ptr("0004f300a1b2"),
				VendorID: ptr(int64(0x109A)), Position: &Position{Longitude: -93.4, Latitude: 44.9}, InstallCode: db.Secret("HUNTER22"), EIDs: []EIDPatch{{EID: eid}},
			},
			{ID: "banana"},
			{ID: numberedID(2), RestrictedStatus: ptr("gone")},
			{ID: numberedID(3), EIDs: []EIDPatch{{EID: "123"}}},
			{ID: numberedID(4), EIDs: []EIDPatch{{EID: numberedEID(t, 4), AgentKey: []byte("key")}}},
			{ID: numberedID(5), EIDs: []EIDPatch{{EID: numberedEID(t, 5), AgentKey: publicKey(t, elliptic.P384())}}},
			{ID: numberedID(6), EIDs: []EIDPatch{{EID: numberedEID(t, 6), Kind: "iot", AgentKey: publicKey(t, elliptic.P256())}}},
			{ID: numberedID(7), EIDs: []EIDPatch{{EID: numberedEID(t, 7), AgentKey: publicKey(t, elliptic.P256())}}},
		}, PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"", "id", "restricted_status", "eids", "eids", "eids", "eids", ""} {
			refusal, _ := fault.As(puts[i].Err)
			if (refusal == nil) != (want == "") || refusal != nil && refusal.Field != want {
				t.Errorf("device %d: %v, want it refused for %q", i, puts[i].Err, want)
			}
		}
		one, err := h.Device(t.Context(), h.by.Account, numberedID(1))
		if err != nil || one.Group != "Plant/North" || fmt.Sprint(one.Tags) != "[red blue]" || one.MAC != "00:04:F3:00:A1:B2" || one.Position.Longitude != -93.4 || *one.VendorID != 0x109A {
			t.Errorf("%+v, %v", one, err)
		}
		if e, err := h.ESIM(t.Context(), h.by.Account, numberedEID(t, 7)); err != nil || e.Kind != "consumer" || e.AgentKey == nil {
			t.Errorf("an eSIM with an agent key is %+v, %v", e, err)
		}
		if _, err := h.PutDevices(t.Context(), h.by, []DevicePatch{{ID: numberedID(7), EIDs: []EIDPatch{{EID: numberedEID(t, 7), Kind: "iot"}}}}, PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if e, err := h.ESIM(t.Context(), h.by.Account, numberedEID(t, 7)); err != nil || e.Kind != "iot" || e.AgentKey != nil {
			t.Errorf("one that signs itself from now on is %+v, %v", e, err)
		}
		if !h.eim.known[eid] || h.eim.known[numberedEID(t, 4)] {
			t.Errorf("the eIM knows %v", h.eim.known)
		}
		for _, where := range []string{"name = 'STRASSE 7'", "group startswith 'plant'", "group = '/PLANT/north'", "tags = 'Blue'", "geoposition within [-94,44,-93,45]", "vendor_id = 0x109A"} {
			if p, err := h.DevicesPage(t.Context(), h.by.Account, spec(t, DeviceSchema, where, "", 10)); err != nil || len(p.Items) != 1 {
				t.Errorf("%s: %d devices, %v", where, len(p.Items), err)
			}
		}
		puts, err = h.PutDevices(t.Context(), h.by, []DevicePatch{{ID: numberedID(1), Name: ptr("")}, {ID: numberedID(9)}}, PutOptions{UpdateOnly: true})
		if err != nil || puts[0].Err != nil || puts[0].Created || puts[0].Item.Name != "" || puts[0].Item.Group != "Plant/North" || !fault.Is(puts[1].Err, fault.NotFound) {
			t.Errorf("%+v, %v", puts, err)
		}
		stranger := By{Account: "AC" + strings.Repeat("9", 32)}
		puts, err = h.PutDevices(t.Context(), stranger, []DevicePatch{{ID: numberedID(1)}, {ID: numberedID(50), EIDs: []EIDPatch{{EID: eid}}}}, PutOptions{})
		if err != nil || !fault.Is(puts[0].Err, fault.Conflict) || !fault.Is(puts[1].Err, fault.Conflict) {
			t.Errorf("another account took them: %+v, %v", puts, err)
		}
		if _, err := h.Device(t.Context(), stranger.Account, numberedID(1)); !fault.Is(err, fault.NotFound) {
			t.Errorf("another account reads it: %v", err)
		}
		err = d.Read(t.Context(), func(q db.Query) error {
			if _, err := h.ByInstallCode(t.Context(), q, numberedID(1), "HUNTER22"); err != nil {
				t.Error(err)
			}
			for _, id := range []ID{numberedID(1), numberedID(2)} {
				if _, err := h.ByInstallCode(t.Context(), q, id, ""); !fault.Is(err, fault.Unauthorized) {
					t.Errorf("%s without a code: %v", id, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestMove: an eSIM that is put into another device takes its profiles along,
// but not while something runs on it.
func TestMove(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		from, eid := h.device(t, 1)
		to, _ := h.device(t, 2)
		h.report(t, eid, is(numberedICCID(t, 1), "A", true), is(numberedICCID(t, 2), "B", false))
		o := h.begins(t, Order{Work: WorkEnable, Device: from, EID: eid, Carrier: "B"})
		move := DevicePatch{ID: to, EIDs: []EIDPatch{{EID: eid}}}
		puts, err := h.PutDevices(t.Context(), h.by, []DevicePatch{move}, PutOptions{})
		if err != nil || !fault.Is(puts[0].Err, fault.Conflict) {
			t.Fatalf("moved with %s running: %v %v", o.ID, puts[0].Err, err)
		}
		if _, err := h.Cancel(t.Context(), h.by, o.ID); err != nil {
			t.Fatal(err)
		}
		if puts, err = h.PutDevices(t.Context(), h.by, []DevicePatch{move}, PutOptions{}); err != nil || puts[0].Err != nil {
			t.Fatal(puts, err)
		}
		p, err := h.ProfilesPage(t.Context(), h.by.Account, spec(t, ProfileSchema, "device_id = '"+string(to)+"'", "", 10))
		if err != nil || len(p.Items) != 2 {
			t.Errorf("%d profiles moved, %v", len(p.Items), err)
		}
	})
}

// TestSeen keeps who is connected.
func TestSeen(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		see := func() {
			t.Helper()
			if err := h.Seen(t.Context(), []Sighting{{EID: eid, At: h.clock(), Address: "192.0.2.7"}, {EID: numberedEID(t, 99), At: h.clock()}}); err != nil {
				t.Fatal(err)
			}
		}
		status := func() Device {
			t.Helper()
			one, err := h.Device(t.Context(), h.by.Account, id)
			if err != nil {
				t.Fatal(err)
			}
			return one
		}
		see()
		first := status()
		if first.ConnectionStatus != "connected" || first.LastConnect.IsZero() || first.PublicIP != "192.0.2.7" {
			t.Errorf("%+v", first)
		}
		see()
		if again := status(); again.SeenAt != first.SeenAt {
			t.Errorf("two signs of life within a moment are two writes")
		}
		h.pass(time.Minute)
		see()
		if again := status(); !again.SeenAt.After(first.SeenAt) || again.LastConnect != first.LastConnect {
			t.Errorf("%+v", again)
		}
		h.pass(6 * time.Minute)
		if err := h.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if gone := status(); gone.ConnectionStatus != "disconnected" || gone.LastDisconnect.IsZero() || gone.LastDisconnectReason == "" {
			t.Errorf("%+v", gone)
		}
		err := d.Write(t.Context(), func(tx *db.Tx) error {
			return h.PutFacts(t.Context(), tx, id, Facts{FirmwareVersion: "1.2", Modems: [2]Modem{{IMEI: "352099001761481", Carrier: "Mobile", SignalStrength: ptr(int64(-77))}}})
		})
		if err != nil {
			t.Fatal(err)
		}
		if one := status(); one.ConnectionStatus != "connected" || one.FirmwareVersion != "1.2" || *one.Modems[0].SignalStrength != -77 || one.LastUpdate.IsZero() {
			t.Errorf("%+v", one)
		}
		// Of all this the events say what has changed, and nothing of the rest.
		for range 2 { // the second says nothing new
			if err := d.Write(t.Context(), func(tx *db.Tx) error { return h.PutFacts(t.Context(), tx, id, Facts{FirmwareVersion: "1.3"}) }); err != nil {
				t.Fatal(err)
			}
		}
		var kinds []string
		for _, e := range h.events(t, string(id)) {
			kinds = append(kinds, e.Kind)
		}
		if want := []string{"device.created", "device.connected", "device.disconnected", "device.connected", "device.reported"}; !slices.Equal(kinds, want) {
			t.Errorf("events %q, want %q", kinds, want)
		}
	})
}

// TestCodes registers, changes and removes codes, and never shows a secret.
func TestCodes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		iccid := numberedICCID(t, 1)
		put := func(p CodePatch, update bool) Put[Code] {
			t.Helper()
			puts, err := h.PutCodes(t.Context(), h.by, []CodePatch{p}, update)
			if err != nil {
				t.Fatal(err)
			}
			return puts[0]
		}
		for _, c := range []struct {
			p     CodePatch
			field string
		}{
			{CodePatch{ICCID: "12", Carrier: ptr("N"), ActivationCode: db.Secret("1$a.b$C")}, "iccid"},
			{CodePatch{ICCID: iccid, Carrier: ptr("N")}, "activation_code"},
			{CodePatch{ICCID: iccid, Carrier: ptr("N"), ActivationCode: db.Secret("2$a.b$C")}, "activation_code"},
			{CodePatch{ICCID: iccid, ActivationCode: db.Secret("1$a.b$C")}, "carrier"},
			{CodePatch{ICCID: iccid, Carrier: ptr(" - "), ActivationCode: db.Secret("1$a.b$C")}, "carrier"},
		} {
			refusal, _ := fault.As(put(c.p, false).Err)
			if refusal == nil || refusal.Field != c.field {
				t.Errorf("%+v: %v, want it refused for %s", c.p, refusal, c.field)
			}
		}
		one := put(CodePatch{ICCID: iccid, Carrier: ptr("  North   Wind "), ActivationCode: db.Secret("1$rsp.example.net$SECRET-1")}, false)
		if one.Err != nil || !one.Created || one.Item.NormalizedCarrier != "North Wind" || one.Item.Status != CodeAvailable {
			t.Fatalf("%+v", one)
		}
		if again := put(CodePatch{ICCID: iccid + "F", ActivationCode: db.Secret("LPA:1$rsp.example.net$SECRET-2"), ConfirmationCode: db.Secret("77")}, true); again.Err != nil || again.Created || !again.Item.Confirmation || again.Item.Carrier != "  North   Wind " {
			t.Errorf("%+v", again)
		}
		id, eid := h.device(t, 1)
		o := h.begins(t, Order{Work: WorkDownload, Device: id, EID: eid, Carrier: "northwind"})
		if task := h.eim.last(t); string(task.ActivationCode) != "LPA:1$rsp.example.net$SECRET-2" || string(task.ConfirmationCode) != "77" {
			t.Errorf("%q %q", []byte(task.ActivationCode), []byte(task.ConfirmationCode))
		}
		if c, err := h.Code(t.Context(), h.by.Account, iccid); err != nil || c.Device != id || c.EID != eid {
			t.Errorf("%+v, %v", c, err)
		}
		for _, err := range []error{put(CodePatch{ICCID: iccid, ActivationCode: db.Secret("1$a.b$C")}, false).Err, h.DeleteCode(t.Context(), h.by, iccid)} {
			if !fault.Is(err, fault.Conflict) {
				t.Errorf("a reserved code: %v", err)
			}
		}
		h.fails(t, CodeSMDPRefused)
		if fresh := put(CodePatch{ICCID: iccid, ActivationCode: db.Secret("1$a.b$C")}, false); fresh.Err != nil || fresh.Item.Status != CodeAvailable || fresh.Item.Device != "" {
			t.Errorf("a new secret for a spent code: %+v", fresh)
		}
		if err := h.DeleteCode(t.Context(), h.by, iccid); err != nil {
			t.Error(err)
		}
		if err := h.DeleteCode(t.Context(), h.by, iccid); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		h.nowhere(t, "SECRET")
		_ = o
	})
}

// TestCodeOfInstalledProfile registers a code and has its profile come another
// way: nobody is given the code then, and the profile has its carrier.
func TestCodeOfInstalledProfile(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		other, second := h.device(t, 2)
		iccid, tested := h.code(t, 1, "Northwind"), h.code(t, 2, "Contoso")
		tx, err := h.Act(t.Context(), h.by, ActionRequest{Action: Download, Device: id, EID: eid, ActivationCode: db.Secret("1$rsp.example.net$SENT-ALONG")})
		if err != nil {
			t.Fatal(err)
		}
		h.outcome(t, Outcome{TaskID: h.eim.last(t).ID, EID: eid, Stage: StageDone, ICCID: iccid})
		if got := h.tx(t, tx.ID); got.Status != TxComplete || got.ICCID != iccid {
			t.Fatalf("%+v", got)
		}
		trial := is(tested, "Test", false)
		trial.Type = "test" // many eSIMs may have it
		h.report(t, eid, is(iccid, "Mobile", true), trial)
		if c, err := h.Code(t.Context(), h.by.Account, iccid); err != nil || c.Status != CodeDownloaded || c.EID != eid || c.Device != id {
			t.Errorf("%+v, %v", c, err)
		}
		if got := h.codeStatus(t, tested); got != CodeAvailable {
			t.Errorf("the code of a test profile is %s", got)
		}
		if o := h.begins(t, Order{Work: WorkActivate, Device: other, EID: second, Carrier: "Northwind"}); o.MessageCode != CodeNoActivationCode {
			t.Errorf("%+v", o)
		}
		if o := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, Carrier: "Northwind"}); o.Status != OpSuccessful || o.ICCID != iccid {
			t.Errorf("%+v", o)
		}
	})
}

// nowhere fails if a text is in any column of text or any event.
func (h *house) nowhere(t *testing.T, secret string) {
	t.Helper()
	for _, q := range []string{
		`select count(*) from event where data like $1`,
		`select count(*) from esim_transaction where message like $1 or iccid like $1 or code_carrier like $1`,
		`select count(*) from esim_operation where message like $1`,
		`select count(*) from activation_code where carrier like $1`,
	} {
		var n int
		if err := h.DB.Read(t.Context(), func(r db.Query) error {
			return r.QueryRowContext(t.Context(), q, "%"+secret+"%").Scan(&n)
		}); err != nil || n != 0 {
			t.Errorf("%s: %d rows, %v", q, n, err)
		}
	}
}

// TestUpdatedIsNotBeforeCreated has a clock that stands still: places in lists go
// on ahead of it.
func TestUpdatedIsNotBeforeCreated(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		now := h.clock()
		h.Now = func() time.Time { return now }
		for i := range 3 {
			iccid := numberedICCID(t, i)
			puts, err := h.PutCodes(t.Context(), h.by, []CodePatch{{ICCID: iccid, Carrier: ptr("N"), ActivationCode: db.Secret("1$a.b$C")}}, false)
			if err != nil || puts[0].Err != nil {
				t.Fatal(err, puts)
			}
			read, err := h.Code(t.Context(), h.by.Account, iccid)
			for _, c := range []Code{puts[0].Item, read} {
				if err != nil || c.UpdatedAt.Before(c.CreatedAt) {
					t.Errorf("created %s, updated %s, %v", c.CreatedAt, c.UpdatedAt, err)
				}
			}
		}
	})
}

func TestMatchingKey(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"Northwind", "NORTH wind", true},
		{"O'Brien & Söhne", "o’brien söhne", true},
		{"Ｔ－Ｍｏｂｉｌｅ", "T-Mobile", true}, // full width
		{"Straße", "STRASSE", true},
		{"Mobile", "Mobile Plus", false},
		{"Orange", "Orangé", false},
	} {
		if (MatchingKey(c.a) == MatchingKey(c.b)) != c.same {
			t.Errorf("%q and %q: keys %q and %q", c.a, c.b, MatchingKey(c.a), MatchingKey(c.b))
		}
	}
	if got := Clean(" A\t\u00a0 B "); got != "A B" {
		t.Errorf("cleaned: %q", got)
	}
}

// TestAliases give carriers one name, for display and for matching.
func TestAliases(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		ctx := context.Background()
		id, eid := h.device(t, 1)
		h.report(t, eid, is(numberedICCID(t, 1), "Mobile", true), is(numberedICCID(t, 2), "", false))
		h.code(t, 3, "MOBILE!")
		normal := func() string {
			t.Helper()
			p, err := h.Profile(ctx, h.by.Account, numberedICCID(t, 1))
			c, err2 := h.Code(ctx, h.by.Account, numberedICCID(t, 3))
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			return p.NormalizedCarrier + ", " + c.NormalizedCarrier
		}
		if err := h.PutAlias(ctx, h.by, Alias{"mobile", "Northwind"}); err != nil {
			t.Fatal(err)
		}
		if got := normal(); got != "Northwind, Northwind" {
			t.Errorf("by alias: %s", got)
		}
		if o := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, Carrier: "north-wind"}); o.Status != OpSuccessful || o.ICCID != numberedICCID(t, 1) {
			t.Errorf("%+v", o)
		}
		for _, a := range []Alias{{"Northwind", "Southwind"}, {"Breeze", "Mobile"}} {
			if err := h.PutAlias(ctx, h.by, a); !fault.Is(err, fault.Conflict) {
				t.Errorf("a chain of aliases: %v", err)
			}
		}
		if err := h.PutAlias(ctx, h.by, Alias{"??", "X"}); !fault.Is(err, fault.Invalid) {
			t.Errorf("an alias of nothing: %v", err)
		}
		if list, err := h.Aliases(ctx, h.by.Account); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
		if err := h.DeleteAlias(ctx, h.by, "MOBILE"); err != nil {
			t.Fatal(err)
		}
		if got := normal(); got != "Mobile, MOBILE!" {
			t.Errorf("without alias: %s", got)
		}
	})
}

// TestReportIsTheWholeTruth: what it does not name is gone, and two are never
// active.
func TestReportIsTheWholeTruth(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		_, eid := h.device(t, 1)
		a, b, c := numberedICCID(t, 1), numberedICCID(t, 2), numberedICCID(t, 3)
		records := func() string {
			t.Helper()
			p, err := h.ProfilesPage(t.Context(), h.by.Account, spec(t, ProfileSchema, "", "id", 10))
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, one := range p.Items {
				all = append(all, fmt.Sprintf("%d:%s:%s:%s", one.Number, one.ICCID[17:], one.Carrier, one.Status()))
			}
			return strings.Join(all, " ")
		}
		h.report(t, eid, is(a, "A", true), is(b, "B", false))
		was := records()
		h.report(t, eid, is(b, "B", true), is(a, "A", false))
		now := records()
		if was == now || strings.Count(now, ":active") != 1 {
			t.Errorf("%s, then %s", was, now)
		}
		h.report(t, eid, is(b, "B", false), is(c, "C", true), is(c, "twice", true), Reported{ICCID: a, Carrier: "A\x00\xff", Active: true})
		if got := records(); strings.Count(got, ":active") != 1 || strings.Count(got, ":") != 9 || !strings.Contains(got, ":A:") {
			t.Errorf("a report with mistakes: %s", got)
		}
		h.report(t, eid)
		if got := records(); got != "" {
			t.Errorf("an empty report leaves %s", got)
		}
	})
}

// TestRetention removes finished work after its time and nothing before.
func TestRetention(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		iccid, kept := h.code(t, 1, "Northwind"), h.code(t, 2, "Other")
		o := h.begins(t, Order{Work: WorkDownload, Device: id, EID: eid, ICCID: iccid})
		h.done(t)
		h.report(t, eid, is(iccid, "Mobile", true))
		retain := func() {
			t.Helper()
			if err := h.retain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		h.pass(29 * 24 * time.Hour)
		retain()
		if got := h.codeStatus(t, iccid); got != CodeDownloaded {
			t.Errorf("the code is %s", got)
		}
		h.pass(2 * 24 * time.Hour)
		retain()
		if _, err := h.Code(t.Context(), h.by.Account, iccid); !fault.Is(err, fault.NotFound) || h.codeStatus(t, kept) != CodeAvailable {
			t.Errorf("the code after its time: %v", err)
		}
		if got := h.op(t, o.ID); got.Status != OpSuccessful {
			t.Errorf("%+v", got)
		}
		h.pass(60 * 24 * time.Hour)
		retain()
		_, opErr := h.Operation(t.Context(), h.by.Account, o.ID)
		_, txErr := h.Transaction(t.Context(), h.by.Account, o.DownloadTx)
		_, jobErr := h.Job(t.Context(), h.by.Account, o.JobID)
		for _, err := range []error{opErr, txErr, jobErr} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("left after its time: %v", err)
			}
		}
		// The profile still knows which code it came with.
		h.code(t, 5, "Northwind")
		if o := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, Carrier: "Northwind"}); o.ICCID != iccid {
			t.Errorf("%+v", o)
		}
	})
}
