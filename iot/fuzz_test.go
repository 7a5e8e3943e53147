package iot

import (
	"bytes"
	"testing"

	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// fuzz gives every octet string to read, which must come to an end without panic.
// The seeds are the known answers.
func fuzz(f *testing.F, read func(t *testing.T, b []byte), seeds ...[]byte) {
	for _, b := range knownAnswers() {
		f.Add(b)
	}
	for _, b := range seeds {
		f.Add(b)
	}
	f.Fuzz(read)
}

// A package that was read is written as something that reads the same again.
func FuzzPackageRequest(f *testing.F) {
	key := must(pki.PublicKeyOf(must(pki.GenerateKey(pki.P256))))
	fuzz(f, func(t *testing.T, b []byte) {
		if _, err := VerifyPackageRequest(b, key, nil); err == nil {
			t.Fatal("verified")
		}
		_, _, _ = ReadPackageHeader(b)
		p, err := ReadPackageRequest(b)
		if err != nil || p.Check() != nil {
			return
		}
		again, err := ReadPackageRequest(signedMessage(0, p.append(nil)))
		if err != nil || !bytes.Equal(again.append(nil), p.append(nil)) {
			t.Fatalf("%v: %+v, then %+v", err, p, again)
		}
	})
}

func FuzzPackageResult(f *testing.F) {
	key := must(pki.PublicKeyOf(must(pki.GenerateKey(pki.P256))))
	fuzz(f, func(t *testing.T, b []byte) {
		if p, err := VerifyPackageResult(b, key, nil); err == nil && !p.Unsigned {
			t.Fatal("verified")
		}
		header, err := ReadResultHeader(b)
		p, whole := ReadResult(b)
		if whole == nil && (err != nil || header.Sequence != p.Sequence || header.EimID != p.EimID) {
			t.Fatalf("%v: header %+v of %+v", err, header, p)
		}
	})
}

func FuzzESipa(f *testing.F) {
	requests, answers := relayed()
	var seeds [][]byte
	for _, q := range requests {
		seeds = append(seeds, AppendASN1Request(nil, q))
	}
	for _, p := range answers {
		seeds = append(seeds, AppendASN1Response(nil, p))
	}
	fuzz(f, func(t *testing.T, b []byte) {
		if q, err := ParseASN1Request(b); err == nil {
			raw := AppendASN1Request(nil, q)
			if again, err := ParseASN1Request(raw); err != nil || !bytes.Equal(AppendASN1Request(nil, again), raw) {
				t.Fatalf("%X became %X: %v", b, raw, err)
			}
			j, err := ParseJSONRequest(Function(q), MarshalJSONRequest(q))
			if err != nil && utf8Clean(b) {
				t.Fatalf("%X through JSON: %v", b, err)
			}
			_ = j
		}
		if p, err := ParseASN1Response(b); err == nil {
			raw := AppendASN1Response(nil, p)
			if again, err := ParseASN1Response(raw); err != nil || !bytes.Equal(AppendASN1Response(nil, again), raw) {
				t.Fatalf("%X became %X: %v", b, raw, err)
			}
			MarshalJSONResponse(p)
		}
	}, seeds...)
}

// utf8Clean reports whether the octets hold only what JSON keeps as it is, and no
// notification that is empty.
func utf8Clean(b []byte) bool { return bytes.HasPrefix(b, []byte{0xBF, 0x4F}) }

func FuzzJSON(f *testing.F) {
	requests, answers := relayed()
	functions := []string{
		FnGetEimPackage, FnProvideResult, rsp.FnHandleNotification, rsp.FnInitiateAuthentication, rsp.FnAuthenticateClient,
		rsp.FnGetBoundProfilePackage, rsp.FnCancelSession,
	}
	for i := range functions {
		for _, q := range requests {
			f.Add(byte(i), MarshalJSONRequest(q))
		}
		for _, p := range answers {
			f.Add(byte(i), MarshalJSONResponse(p))
		}
	}
	f.Fuzz(func(_ *testing.T, function byte, b []byte) {
		name := functions[int(function)%len(functions)]
		if q, err := ParseJSONRequest(name, b); err == nil {
			MarshalJSONRequest(q)
		}
		if p, err := ParseJSONResponse(name, b); err == nil {
			MarshalJSONResponse(p)
		}
	})
}

func FuzzES10b(f *testing.F) {
	fuzz(f, func(_ *testing.T, b []byte) {
		_, _ = ParseDataRequest(b)
		_, _ = ParseDataResponse(b)
		_, _ = ParseDownloadTrigger(b)
		_, _ = ParseDownloadResult(b)
		_, _ = ParseEimConfigurations(b)
		_, _ = ParseGetEimConfiguration(b)
		_, _ = ParseAddInitialEim(b)
		_, _ = ParseAddInitialEimResult(b)
		_, _ = ParseCerts(b)
		_, _ = ParseGetCerts(b)
		_, _, _ = ParseRollback(b)
		_, _ = ParseConfigureImmediate(b)
		_, _ = ParseResults(b)
		_, _ = ParseMemoryReset(b)
		_, _ = ParseMemoryResetResult(b)
		_, _ = ParseConnectivityParameters(b)
		_, _ = ParseSetDefaultDP(b)
		_, _ = ParseRefresh(b, TagImmediateEnable)
		IsRetrieveResults(b)
		FindISDRTemplate(b)
	}, AppendAddInitialEim(nil, []EimConfiguration{{ID: "e", PublicKey: unhex("30023000")}}))
}

func FuzzCompact(f *testing.F) {
	server := rsp.ServerSigned1{TransactionID: testRun, EUICCChallenge: make([]byte, 16), ServerChallenge: make([]byte, 16)}
	info := rsp.EUICCInfo2{SVN: rsp.Version{2, 5, 0}}
	certificate := tlv.Append(nil, tlv.Sequence, nil)
	fuzz(f, func(_ *testing.T, b []byte) {
		_, _ = ExpandAuthenticate(b, AuthenticateParts{
			ServerSigned1: server.Append(nil), EUICCInfo2: info.Append(nil), EUICCCertificate: certificate, EUMCertificate: certificate,
		})
		_, _ = CompactAuthenticate(b, true, true)
		_, _ = ExpandPrepare(b, PrepareParts{TransactionID: testRun})
		_, _ = CompactPrepare(b, true)
		_, _ = ExpandCancel(b, CancelParts{TransactionID: testRun, OID: testOID})
		_, _ = ExpandNotification(b, NotificationParts{OID: testOID, EUICCCertificate: certificate, EUMCertificate: certificate})
		_, _ = CompactNotification(b)
		CompactSequence(b)
	})
}
