package euicc

import (
	"bytes"
	"errors"
	"testing"

	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

func TestImmediateEnable(t *testing.T) {
	tests := []struct {
		name   string
		config *iot.ImmediateEnable
		want   int64
	}{
		{"not configured", nil, 1},
		{"any", &iot.ImmediateEnable{Allowed: true}, 0},
		{"this OID", &iot.ImmediateEnable{Allowed: true, OID: testOID, Address: "RSP.example.com"}, 0},
		{"another OID", &iot.ImmediateEnable{Allowed: true, OID: "2.999.11"}, 1},
		{"another address", &iot.ImmediateEnable{Allowed: true, Address: "dp.example.net"}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := newTester(t, iotConfig(pki.P256))
			if test.config != nil {
				if code := x.result(iot.AppendConfigureImmediate(nil, test.config)); code != 0 {
					t.Fatalf("configure: %d", code)
				}
			}
			x.add(1)
			if code := x.local(iot.TagImmediateEnable); code != test.want {
				t.Errorf("immediate enable: %d, want %d", code, test.want)
			}
			if test.want == 0 && enabledICCID(x.card.state) != testICCID(1) {
				t.Error("the profile is not enabled")
			}
		})
	}
	x, e := newIoT(t)
	if code := x.result(iot.AppendConfigureImmediate(nil, &iot.ImmediateEnable{Allowed: true})); code != iot.ResultAssociated {
		t.Errorf("configured beside an eIM: %d", code)
	}
	x.order(e, iot.PSMO{Op: iot.OpImmediate, Immediate: &iot.ImmediateEnable{Allowed: true}})
	if code := x.local(iot.TagImmediateEnable); code != 4 {
		t.Errorf("without an installation: %d", code)
	}
	x.add(1)
	x.connect()
	if code := x.local(iot.TagImmediateEnable); code != 4 {
		t.Errorf("after a reset: %d", code)
	}
}

func TestFallback(t *testing.T) {
	x, e := newIoT(t)
	x.add(1)
	x.add(2, func(r *run) { r.metadata.FallbackAllowed = new(true) })
	if code := x.local(iot.TagExecuteFallback); code != iot.ResultFallbackMissing {
		t.Errorf("no attribute: %d", code)
	}
	if code := x.local(iot.TagReturnFromFallback); code != iot.ResultFallbackMissing {
		t.Errorf("return without attribute: %d", code)
	}
	x.order(e, iot.PSMO{Op: iot.OpSetFallback, ICCID: testICCID(2)}, enableOf(testICCID(1)))
	if code := x.local(iot.TagReturnFromFallback); code != iot.ResultCommandError {
		t.Errorf("return from nowhere: %d", code)
	}
	if code := x.local(iot.TagExecuteFallback); code != rsp.ResultOK || enabledICCID(x.card.state) != testICCID(2) {
		t.Errorf("fallback: %d", code)
	}
	if code := x.local(iot.TagExecuteFallback); code != rsp.ResultWrongState {
		t.Errorf("fallback again: %d", code)
	}
	if got := codes(x.order(e, deleteOf(testICCID(1)))); got != "delete 21;" {
		t.Errorf("delete of the profile to return to: %s", got)
	}
	x.connect()
	if code := x.local(iot.TagReturnFromFallback); code != rsp.ResultOK || enabledICCID(x.card.state) != testICCID(1) {
		t.Errorf("return: %d", code)
	}
	list := x.order(e, iot.PSMO{Op: iot.OpList}).Results[0].Profiles
	if len(list) != 2 || list[0].Fallback || !list[1].Fallback || list[1].FallbackAllowed == nil {
		t.Errorf("list %+v", list)
	}
}

func TestEmergency(t *testing.T) {
	x, e := newIoT(t)
	x.add(1)
	if code := x.local(iot.TagEnableEmergency); code != iot.ResultEmergencyMissing {
		t.Errorf("no emergency profile: %d", code)
	}
	x.add(2, func(r *run) { r.metadata.Emergency = new(true) })
	x.order(e, enableOf(testICCID(1)))
	if code := x.local(iot.TagDisableEmergency); code != rsp.ResultWrongState {
		t.Errorf("disable: %d", code)
	}
	if code := x.local(iot.TagEnableEmergency); code != rsp.ResultOK || enabledICCID(x.card.state) != testICCID(2) {
		t.Errorf("enable: %d", code)
	}
	if code := x.local(iot.TagEnableEmergency); code != rsp.ResultWrongState {
		t.Errorf("enable again: %d", code)
	}
	p := x.order(e, enableOf(testICCID(1)))
	if p.ErrorCode == nil || *p.ErrorCode != iot.PackageECallActive {
		t.Errorf("a package during an emergency: %+v", p)
	}
	if code := x.local(iot.TagExecuteFallback); code != iot.ResultECallActive {
		t.Errorf("fallback during an emergency: %d", code)
	}
	reset := must(iot.ParseMemoryResetResult(x.es10(iot.AppendMemoryReset(nil, iot.ResetOperational))))
	if reset.Result != iot.ResultECallActive {
		t.Errorf("reset during an emergency: %d", reset.Result)
	}
	if code := x.local(iot.TagDisableEmergency); code != rsp.ResultOK || enabledICCID(x.card.state) != testICCID(1) {
		t.Errorf("disable: %d", code)
	}
	if got := codes(x.order(e, disableOf(testICCID(1)))); got != "disable 0;" { // the counter was not used up
		t.Error(got)
	}
}

// The toolkit says that it is busy between FETCH and TERMINAL RESPONSE.
func TestPackageCATBusy(t *testing.T) {
	x, e := newIoT(t)
	x.add(1)
	x.apdu("80100000021100")
	x.order(e, enableOf(testICCID(1)))
	if got := x.apdu("801200000F"); len(got) < 10 {
		t.Fatalf("REFRESH was not to be fetched: %s", got)
	}
	if got := codes(x.order(e, disableOf(testICCID(1)), enableOf(testICCID(1)))); got != "disable 5;enable 5;" {
		t.Error(got)
	}
	for _, tag := range []tlv.Tag{iot.TagExecuteFallback, iot.TagReturnFromFallback, iot.TagEnableEmergency, iot.TagDisableEmergency, iot.TagImmediateEnable} {
		if code := x.local(tag); code != rsp.ResultCATBusy {
			t.Errorf("%s: %d", tag, code)
		}
	}
}

func TestIoTFaults(t *testing.T) {
	x, e := newIoT(t)
	x.card.SetFaults(Faults{WrongSignature: SignedPackageResult})
	raw := x.es10(must(e.request(iot.PSMO{Op: iot.OpGetRAT}).Sign(e.key, nil)))
	if _, err := iot.VerifyPackageResult(raw, x.card.cfg.Credentials[0].EUICC.PublicKey, nil); !errors.Is(err, rsp.ErrSignature) {
		t.Errorf("the result verifies: %v", err)
	}
	x.card.SetFaults(Faults{RefusePackages: iot.PackageUndefined})
	if p := x.order(e, iot.PSMO{Op: iot.OpGetRAT}); p.ErrorCode == nil || *p.ErrorCode != iot.PackageUndefined {
		t.Errorf("not refused: %+v", p)
	}
}

// An IoT chip takes no orders from an LPA, and says what it is.
func TestIoTChip(t *testing.T) {
	x, _ := newIoT(t)
	iccid := x.add(1)
	q := rsp.ProfileRequest{Select: rsp.Selector{ICCID: iccid}}
	for _, command := range [][]byte{
		q.Append(nil, rsp.TagEnableProfile), q.Append(nil, rsp.TagDisableProfile),
		rsp.AppendDeleteProfile(nil, q.Select), rsp.AppendMemoryReset(nil, rsp.ResetOperational),
		rsp.AppendSetDefaultDPAddress(nil, "a.example.com"),
	} {
		if _, sw := x.send(command); sw != swDataNotFound {
			t.Errorf("%X: %04X", command, sw)
		}
	}
	info := must(rsp.ParseEUICCInfo2(x.es10(rsp.AppendEmpty(nil, rsp.TagEUICCInfo2))))
	if info.IPAMode == nil || *info.IPAMode != 0 || info.IoT == nil || !info.IoT.Fallback || info.IoT.Versions[0] != (rsp.Version{1, 2, 0}) {
		t.Errorf("info2 %+v", info)
	}
	if template := iot.FindISDRTemplate(x.card.fci()); template == nil || template.Enabled || template.IPAe {
		t.Errorf("template %+v", template)
	}
	consumer := newTester(t, config(pki.P256))
	if iot.FindISDRTemplate(consumer.card.fci()) != nil {
		t.Error("a consumer chip says that it speaks SGP.32")
	}
	for tag := range iotFunctions {
		if _, sw := consumer.send(tlv.Append(nil, tag, nil)); sw != swDataNotFound {
			t.Errorf("a consumer chip answers %s with %04X", tag, sw)
		}
	}
	certs := must(iot.ParseCerts(x.es10(iot.AppendGetCerts(nil, nil))))
	chip := authorities[pki.P256]().chip
	if !bytes.Equal(certs.EUICC, chip.EUICC.Raw) || !bytes.Equal(certs.EUM, chip.EUM.Raw) {
		t.Error("GetCerts gives other certificates")
	}
	if must(iot.ParseCerts(x.es10(iot.AppendGetCerts(nil, []byte{1, 2, 3})))).Error != 1 {
		t.Error("certificates of an unknown CI")
	}
	if must(iot.ParseCerts(x.es10(iot.AppendGetCerts(nil, chip.EUM.AuthorityKeyID[:4])))).Error != 0 {
		t.Error("a CI that was cut short is not found")
	}
	if _, err := iot.ParseConnectivityParameters(x.es10(rsp.AppendEmpty(nil, iot.TagConnectivityParameters))); err == nil {
		t.Error("connectivity parameters from nowhere")
	}
	if code := x.result(iot.AppendSetDefaultDP(nil, "b.example.com")); code != 0 || x.card.state.DefaultDP != "b.example.com" {
		t.Errorf("default address: %d", code)
	}
	if code := x.result(unhex("BF420480020780")); code != 1 {
		t.Errorf("activation of an IPAe that is not there: %d", code)
	}
}
