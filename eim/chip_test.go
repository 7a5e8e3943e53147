package eim

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	software "godwit/euicc"
	"godwit/ident"
	"godwit/iot"
	"godwit/lpa"
	"godwit/pki"
	"godwit/rsp"
	"godwit/saip"
	"godwit/smdp"
)

// A chipDevice is the software eUICC of SGP.32 with the barest of IPAs: it carries
// messages between the eIM and the chip, and downloads through the eIM alone.
type chipDevice struct {
	w       *world
	eid     ident.EID
	chip    *lpa.Chip
	compact bool // the IPA minimises bytes
}

// A dp is a real SM-DP+ behind real TLS.
type dp struct {
	server  *smdp.Server
	address string
}

func newDP(t *testing.T, d *db.DB) *dp {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	p := &dp{address: s.Listener.Addr().String()}
	identity, err := authorities().ci.IssueIdentity(pki.Subject{Organization: "Test", CommonName: "Test SM-DP+"}, "2.999.10",
		[]string{"127.0.0.1"}, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if p.server, err = smdp.Open(t.Context(), d, smdp.Config{Addresses: []string{p.address}}); err != nil {
		t.Fatal(err)
	}
	l, err := p.server.Listen(smdp.Trust{Identities: []*pki.Identity{identity}})
	if err != nil {
		t.Fatal(err)
	}
	if s.TLS, err = l.TLS(); err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = l.Handler()
	s.StartTLS()
	t.Cleanup(s.Close)
	template := saip.Templates()[0]
	if err := p.server.AddType(t.Context(), smdp.ProfileType{
		ID: template.Name, Template: template.Bytes(), Protection: smdp.PPK, Metadata: smdp.Metadata{
			ServiceProvider: "Test", Name: template.Name,
			Notifications: []smdp.Notification{{Events: []string{"enable", "disable", "delete"}}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.server.Generate(t.Context(), smdp.Range{Type: template.Name, ICCID: "8988000000100000000", IMSI: "001010001000000", Count: 10}, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// order prepares a profile and returns its activation code.
func (p *dp) order(t *testing.T, confirmation string) (string, ident.ICCID) {
	t.Helper()
	got, err := p.server.DownloadOrders(t.Context(), smdp.LocalOperator, []rsp.DownloadOrder{{Type: saip.Templates()[0].Name}})
	if err == nil {
		err = got[0].Header.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	confirmed, err := p.server.ConfirmOrders(t.Context(), smdp.LocalOperator, []rsp.ConfirmOrder{{ICCID: got[0].ICCID, ConfirmationCode: confirmation, Release: true}})
	if err == nil {
		err = confirmed[0].Header.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	code := rsp.ActivationCode{Address: p.address, MatchingID: confirmed[0].MatchingID, CodeRequired: confirmation != ""}
	return code.String(), got[0].ICCID
}

func newChipDevice(t *testing.T, w *world) *chipDevice {
	t.Helper()
	w.devices++
	eid, err := ident.NewEID("8904903277777777777777777777" + string(rune('0'+w.devices/10)) + string(rune('0'+w.devices%10)))
	if err != nil {
		t.Fatal(err)
	}
	cred, err := authorities().eum.Issue(pki.Request{Role: pki.EUICC, Subject: pki.Subject{CommonName: "Test eUICC"}, EID: eid, NotBefore: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	card, err := software.NewMemory(software.Config{
		EID: eid, IoT: true, Roots: []*pki.Certificate{authorities().ci.Certificate},
		Credentials: []software.Credential{{EUM: authorities().eum.Certificate, EUICC: cred.Certificate, Key: cred.Key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	v := &chipDevice{w: w, eid: eid}
	if v.chip, err = lpa.OpenChip(card); err != nil {
		t.Fatal(err)
	}
	var initial iot.EimConfiguration
	w.write(func(tx *db.Tx) error {
		if err := w.server.Register(t.Context(), tx, EUICC{EID: eid}); err != nil {
			return err
		}
		initial, err = w.server.Initial(t.Context(), tx, eid)
		return err
	})
	added, err := iot.ParseAddInitialEimResult(v.do(iot.AppendAddInitialEim(nil, []iot.EimConfiguration{initial})))
	if err != nil || added.Error != 0 {
		t.Fatalf("AddInitialEim: %+v %v", added, err)
	}
	return v
}

// do has the chip carry out a function.
func (v *chipDevice) do(request []byte) []byte {
	v.w.t.Helper()
	answer, err := v.chip.StoreData(request)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return answer
}

func (v *chipDevice) run() {
	v.w.t.Helper()
	for range 50 {
		p := v.w.ask(&iot.GetEimPackageRequest{EID: v.eid}).(*iot.GetEimPackageResponse)
		if p.Error == iot.EimNoPackage {
			return
		}
		q := &iot.ProvideEimPackageResult{EID: v.eid}
		switch {
		case p.EUICCPackage != nil:
			q.PackageResult = v.do(p.EUICCPackage)
		case p.DataRequest != nil:
			q.DataResponse = v.data(p.DataRequest)
		case p.DownloadTrigger != nil:
			q.DownloadResult = v.download(p.DownloadTrigger)
			if q.DownloadResult == nil {
				continue
			}
		default:
			v.w.t.Fatalf("%+v", p)
		}
		if pending, err := v.chip.Retrieve(rsp.NotificationFilter{}); err == nil && q.PackageResult != nil {
			q.Notifications = [][]byte{}
			for _, n := range pending {
				raw := n.Raw
				if v.compact {
					if raw, err = iot.CompactNotification(raw); err != nil {
						v.w.t.Fatal(err)
					}
				}
				q.Notifications = append(q.Notifications, raw)
			}
		}
		answer := v.w.ask(q).(*iot.ProvideEimPackageResultResponse)
		for _, n := range answer.Acknowledged {
			v.do(rsp.AppendRemoveNotification(nil, n))
		}
	}
	v.w.t.Fatal("the eIM always has something to do")
}

func (v *chipDevice) data(der []byte) []byte {
	v.w.t.Helper()
	q, err := iot.ParseDataRequest(der)
	if err != nil {
		v.w.t.Fatal(err)
	}
	certs, err := iot.ParseCerts(v.do(iot.AppendGetCerts(nil, q.CI)))
	if err != nil {
		v.w.t.Fatal(err)
	}
	info1, err := v.chip.Info1()
	if err != nil {
		v.w.t.Fatal(err)
	}
	info2, err := v.chip.Info2()
	if err != nil {
		v.w.t.Fatal(err)
	}
	p := iot.DataResponse{
		TransactionID: q.TransactionID, EUMCertificate: certs.EUM, EUICCCertificate: certs.EUICC, Info1: info1, Info2: info2.Raw,
		Capabilities: &iot.Capabilities{Features: iot.IndirectDownload},
	}
	return p.Append(nil)
}

// download is the IPA's part of an indirect download. The installation result
// goes to the eIM as a notification; nil is what is left to report then.
func (v *chipDevice) download(der []byte) []byte {
	v.w.t.Helper()
	t, err := iot.ParseDownloadTrigger(der)
	if err != nil {
		v.w.t.Fatal(err)
	}
	failed := func() []byte {
		reason := int64(127)
		return (&iot.DownloadResult{TransactionID: t.TransactionID, Reason: &reason}).Append(nil)
	}
	challenge, err := v.chip.Challenge()
	if err != nil {
		v.w.t.Fatal(err)
	}
	proof := v.w.ask(&iot.InitiateAuthenticationRequest{EUICCChallenge: challenge, TransactionID: t.TransactionID}).(*iot.InitiateAuthenticationResponse)
	if proof.Error != 0 || proof.Failure != nil {
		return failed()
	}
	context := rsp.CtxParams1{MatchingID: proof.MatchingID, Device: rsp.DeviceInfo{TAC: [4]byte{0x35, 0x29, 0x06, 0x11}}}
	ready := v.do(rsp.AppendAuthenticateServer(nil, &rsp.InitiateAuthenticationResponse{
		ServerSigned1: proof.ServerSigned1, ServerSignature1: proof.ServerSignature1, CIKeyID: proof.CIKeyID, ServerCertificate: proof.ServerCertificate,
	}, &context))
	if v.compact {
		if ready, err = iot.CompactAuthenticate(ready, false, true); err != nil {
			v.w.t.Fatal(err)
		}
	}
	offer := v.w.ask(&iot.AuthenticateClientRequest{TransactionID: proof.TransactionID, AuthenticateServerResponse: ready}).(*iot.AuthenticateClientResponse)
	if offer.Error != 0 || offer.Failure != nil {
		return failed()
	}
	prepared := v.do(rsp.AppendPrepareDownload(nil, &rsp.AuthenticateClientResponse{
		SMDPSigned2: offer.SMDPSigned2, SMDPSignature2: offer.SMDPSignature2, SMDPCertificate: offer.SMDPCertificate,
	}, offer.HashedCode))
	if v.compact {
		if prepared, err = iot.CompactPrepare(prepared, offer.HashedCode != nil); err != nil {
			v.w.t.Fatal(err)
		}
	}
	got := v.w.ask(&iot.GetBoundProfilePackageRequest{TransactionID: proof.TransactionID, PrepareDownloadResponse: prepared}).(*iot.GetBoundProfilePackageResponse)
	if got.Error != 0 || got.Failure != nil {
		return failed()
	}
	bound, err := rsp.ParseBoundProfilePackage(got.BoundProfilePackage)
	if err != nil {
		v.w.t.Fatal(err)
	}
	n, err := v.chip.Load(bound.Units())
	if err != nil {
		v.w.t.Fatal(err)
	}
	raw := n.Raw
	if v.compact {
		if raw, err = iot.CompactNotification(raw); err != nil {
			v.w.t.Fatal(err)
		}
	}
	v.w.ask(&iot.HandleNotification{Notification: raw})
	v.do(rsp.AppendRemoveNotification(nil, n.Metadata.Sequence))
	return nil
}

// works runs the job queue until a condition holds.
func (w *world) works(until func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.jobs.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !until() {
		select {
		case <-tick.C:
		case err := <-ended:
			w.t.Fatalf("the job queue has ended: %v", err)
		}
	}
	cancel()
	if err := <-ended; err != nil && ctx.Err() == nil {
		w.t.Fatal(err)
	}
}

// TestSoftwareEUICC takes a real chip of SGP.32 from its first contact through an
// indirect download from a real SM-DP+ to the enabling and the deletion of the
// profile.
func TestSoftwareEUICC(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, json := range []bool{false, true} {
			if json {
				d = map[bool]func() *db.DB{false: func() *db.DB { return dbtest.SQLite(t) }, true: func() *db.DB { return dbtest.Postgres(t) }}[d.Postgres()]()
			}
			t.Run(map[bool]string{false: "asn1", true: "json"}[json], func(t *testing.T) { softwareEUICC(t, d, json) })
		}
	})
}

func softwareEUICC(t *testing.T, d *db.DB, json bool) {
	p := newDP(t, d)
	w := newWorld(t, d)
	w.json = json
	v := newChipDevice(t, w)
	v.compact = !json // the compact forms are those of the ASN.1 binding
	v.run()
	if len(w.inventories) != 1 || len(w.inventories[0].Profiles) != 0 {
		t.Fatalf("first contact: %+v", w.inventories)
	}

	code, iccid := p.order(t, "1234")
	refusedID := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret(code), ConfirmationCode: db.Secret("4321")})
	v.run()
	if o := w.outcome(refusedID); o.Stage != Failed || o.Reason != "confirmation_required" {
		t.Errorf("wrong confirmation code: %+v", o)
	}
	unknown := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret("1$" + p.address + "$NOSUCHCODE")})
	v.run()
	if o := w.outcome(unknown); o.Stage != Failed || o.Reason != "code_invalid" {
		t.Errorf("unknown matching identifier: %+v", o)
	}
	nowhere := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret("1$127.0.0.1:1$X")})
	v.run()
	if o := w.outcome(nowhere); o.Stage != Failed || o.Reason != "smdp_unreachable" {
		t.Errorf("SM-DP+ that is not there: %+v", o)
	}

	download := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret(code), ConfirmationCode: db.Secret("1234"), ICCID: iccid})
	v.run()
	if o := w.outcome(download); o.Stage != Done || o.ICCID != iccid || o.Witness != ByEUICC {
		t.Fatalf("download: %+v", o)
	}
	if heard := w.heard(download); len(heard) != 2 || heard[1] != downloading {
		t.Errorf("while the download was under way %q was told", heard)
	}
	w.works(func() bool {
		info, _, err := p.server.Profile(t.Context(), iccid)
		if err != nil {
			t.Fatal(err)
		}
		return info.State == smdp.Installed
	})

	for _, c := range []struct {
		kind   Kind
		reason string
	}{
		{Enable, "complete"},
		{Enable, "already_done"},
		{Delete, "profile_active"},
		{Disable, "complete"},
		{Delete, "complete"},
		{Delete, "profile_missing"},
	} {
		id := w.queue(Task{EID: v.eid, Kind: c.kind, ICCID: iccid})
		v.run()
		if o := w.outcome(id); o.Reason != c.reason || o.Witness != ByEUICC {
			t.Errorf("%s: %+v", c.kind, o)
		}
		last := w.inventories[len(w.inventories)-1].Profiles
		switch {
		case c.reason == "complete" && c.kind == Delete || c.reason == "profile_missing":
			if len(last) != 0 {
				t.Errorf("after %s: %+v", c.kind, last)
			}
		case len(last) != 1 || *last[0].Enabled != (c.kind == Enable || c.reason == "profile_active"):
			t.Errorf("after %s: %+v", c.kind, last)
		}
	}
	w.works(func() bool { // the eUICC's own notifications have reached the SM-DP+
		return w.count(`select count(*) from notification where iccid = $1 and event in ('install', 'enable', 'disable', 'delete')`, string(iccid)) == 4
	})
	for _, k := range []Kind{GetRAT, ListEIM, Immediate} {
		id := w.queue(Task{EID: v.eid, Kind: k})
		v.run()
		if o := w.outcome(id); o.Stage != Done {
			t.Errorf("%s: %+v", k, o)
		}
	}
	if err := w.server.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := w.queue(Task{EID: v.eid, Kind: UpdateEIM, EIM: &iot.EimConfiguration{ID: eimID, FQDN: eimID}})
	v.run()
	if o := w.outcome(id); o.Stage != Done {
		t.Errorf("update of the eIM: %+v", o)
	}
	id = w.queue(Task{EID: v.eid, Kind: List})
	v.run()
	if o := w.outcome(id); o.Stage != Done {
		t.Errorf("after the update: %+v", o)
	}
	// The last association: with it the eIM serves the eUICC no more.
	id = w.queue(Task{EID: v.eid, Kind: DeleteEIM, EIM: &iot.EimConfiguration{ID: eimID}})
	after := w.queue(Task{EID: v.eid, Kind: ListEIM})
	answer := w.ask(&iot.GetEimPackageRequest{EID: v.eid}).(*iot.GetEimPackageResponse)
	w.ask(&iot.ProvideEimPackageResult{EID: v.eid, PackageResult: v.do(answer.EUICCPackage)})
	if o := w.outcome(id); o.Stage != Done {
		t.Errorf("deletion of the eIM: %+v", o)
	}
	if o := w.outcome(after); o.Stage != Cancelled {
		t.Errorf("what waited behind it: %+v", o)
	}
	if p := w.ask(&iot.GetEimPackageRequest{EID: v.eid}).(*iot.GetEimPackageResponse); p.Error != iot.EimEIDNotFound {
		t.Errorf("after the deletion: %+v", p)
	}
}
