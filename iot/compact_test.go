package iot

import (
	"bytes"
	"testing"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

const testOID ident.OID = "2.999.10"

// What the IPA takes out the eIM puts back, octet for octet: the eUICC's
// signatures still fit.
func TestCompactForms(t *testing.T) {
	signer := must(pki.GenerateKey(pki.P256))
	key := must(pki.PublicKeyOf(signer))
	certificate := must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: testTime})).Certificate.Raw
	sign := func(b []byte) []byte { return must(pki.Sign(signer, b)) }

	server := rsp.ServerSigned1{TransactionID: testRun, EUICCChallenge: make([]byte, 16), ServerAddress: "dp.example.com", ServerChallenge: make([]byte, 16)}
	info := rsp.EUICCInfo2{
		ProfileVersion: rsp.Version{2, 3, 1}, SVN: rsp.Version{2, 5, 0}, Firmware: rsp.Version{1, 0, 0},
		IPAMode: new(int64(0)), IoT: &rsp.IoTInfo{Versions: []rsp.Version{{1, 2, 0}}, Fallback: true},
	}
	kept := info.Append(nil) // from a time when less was installed
	info.Resource = rsp.CardResource{Applications: 3, FreeNonVolatile: 70000, FreeVolatile: 1000}
	context := (&rsp.CtxParams1{MatchingID: new("X")}).Append(nil)
	signed1 := rsp.AppendEUICCSigned1(nil, &server, info.Append(nil), context)
	whole := rsp.AppendAuthenticateServerResponse(nil, signed1, sign(signed1), certificate, certificate)
	parts := AuthenticateParts{
		ServerSigned1: server.Append(nil), EUICCInfo2: kept, Context: context, EUICCCertificate: certificate, EUMCertificate: certificate,
	}
	for _, has := range []struct{ context, certificates bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		compact := must(CompactAuthenticate(whole, has.context, has.certificates))
		if len(compact) >= len(whole) {
			t.Errorf("%d octets became %d", len(whole), len(compact))
		}
		got, err := ExpandAuthenticate(compact, parts)
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("authenticate %+v: %v", has, err)
			continue
		}
		if _, err := must(rsp.ParseAuthenticateServerResponse(got)).Verify(key); err != nil {
			t.Error(err)
		}
	}
	bare := must(CompactAuthenticate(whole, true, true))
	for _, lacking := range []AuthenticateParts{
		{},
		{ServerSigned1: parts.ServerSigned1, EUICCInfo2: kept, Context: context},
		{EUICCInfo2: kept, Context: context, EUICCCertificate: certificate, EUMCertificate: certificate},
		{ServerSigned1: parts.ServerSigned1, EUICCInfo2: kept, EUICCCertificate: certificate, EUMCertificate: certificate},
		{ServerSigned1: parts.ServerSigned1, EUICCCertificate: certificate, EUMCertificate: certificate},
	} {
		if _, err := ExpandAuthenticate(bare, lacking); err == nil {
			t.Errorf("put together from %+v", lacking)
		}
	}
	passes := func(name string, der []byte, expand func([]byte) ([]byte, error)) {
		if got, err := expand(der); err != nil || !bytes.Equal(got, der) {
			t.Errorf("%s: a whole message was changed: %v", name, err)
		}
	}
	passes("authenticate", whole, func(b []byte) ([]byte, error) { return ExpandAuthenticate(b, AuthenticateParts{}) })
	refused := rsp.AppendAuthenticateServerError(nil, testRun, rsp.AuthCIUnknown)
	passes("refused", refused, func(b []byte) ([]byte, error) { return ExpandAuthenticate(b, AuthenticateParts{}) })
	passes("refused", refused, func(b []byte) ([]byte, error) { return CompactAuthenticate(b, true, true) })

	otpk := append([]byte{4}, make([]byte, 64)...)
	for _, code := range [][]byte{nil, make([]byte, 32)} {
		signed2 := rsp.AppendEUICCSigned2(nil, testRun, otpk, code)
		whole := rsp.AppendPrepareDownloadResponse(nil, signed2, sign(signed2))
		for _, has := range []bool{false, true} {
			compact := must(CompactPrepare(whole, has))
			got, err := ExpandPrepare(compact, PrepareParts{TransactionID: testRun, HashedCode: code})
			if err != nil || !bytes.Equal(got, whole) || len(compact) >= len(whole) {
				t.Errorf("prepare: %v", err)
			}
		}
		passes("prepare", whole, func(b []byte) ([]byte, error) { return ExpandPrepare(b, PrepareParts{}) })
	}
	known := knownAnswers()
	cancelled := must(ParseASN1Request(known["cancel compact"])).(*CancelSessionRequest).CancelSessionResponse
	got := must(ExpandCancel(cancelled, CancelParts{TransactionID: testRun, OID: testOID}))
	if want := rsp.AppendCancelSessionResponse(nil, rsp.AppendCancelSessionSigned(nil, testRun, testOID, rsp.CancelPostponed), testSig); !bytes.Equal(got, want) {
		t.Errorf("cancel: %X, want %X", got, want)
	}
}

func TestCompactNotifications(t *testing.T) {
	signer := must(pki.GenerateKey(pki.P256))
	certificate := must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: testTime})).Certificate.Raw
	kept := NotificationParts{Address: "dp.example.com", OID: testOID, ICCID: testICCID, EUICCCertificate: certificate, EUMCertificate: certificate}
	result := func(change func(*rsp.InstallationResult)) []byte {
		r := rsp.InstallationResult{
			TransactionID: testRun, OID: testOID, AID: rsp.ISDP(0x1234), SIMAResponse: simaSuccess,
			Notification: rsp.NotificationMetadata{Sequence: 300, Event: rsp.EventInstall, Address: kept.Address, ICCID: testICCID},
		}
		change(&r)
		return must(r.Sign(signer))
	}
	other := rsp.NotificationMetadata{Sequence: 301, Event: rsp.EventDelete, Address: "a.b", ICCID: testICCID}
	for name, whole := range map[string][]byte{
		"success":                       result(func(*rsp.InstallationResult) {}),
		"success with another response": result(func(r *rsp.InstallationResult) { r.SIMAResponse = []byte{0x30, 0} }),
		"error":                         result(func(r *rsp.InstallationResult) { r.Error, r.Command, r.SIMAResponse = 10, 5, nil }),
		"error before the ICCID":        result(func(r *rsp.InstallationResult) { r.Error, r.SIMAResponse, r.Notification.ICCID = 2, nil, "" }),
		"an AID of another kind":        result(func(r *rsp.InstallationResult) { r.AID = []byte{1, 2, 3, 4, 5} }),
		"other":                         must(other.Sign(signer, certificate, certificate)),
	} {
		compact := must(CompactNotification(whole))
		got, err := ExpandNotification(compact, kept)
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: %v\n%X\n%X", name, err, got, whole)
		}
		if len(compact) >= len(whole) && name != "an AID of another kind" {
			t.Errorf("%s: %d octets became %d", name, len(whole), len(compact))
		}
		if n, ok := CompactSequence(compact); ok != (len(compact) < len(whole)) || ok && n != 300 && n != 301 {
			t.Errorf("%s: sequence %d %v", name, n, ok)
		}
	}
	if _, err := ExpandNotification(must(CompactNotification(must(other.Sign(signer, certificate, certificate)))), NotificationParts{}); err == nil {
		t.Error("put together without certificates")
	}
}
