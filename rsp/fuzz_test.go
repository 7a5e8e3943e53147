package rsp

import (
	"bytes"
	"encoding/hex"
	"testing"

	"godwit/pki"
	"godwit/tlv"
)

// fuzz gives every octet string to read, which must come to an end without
// panic. The seeds are the known answers and what the writers make.
func fuzz(f *testing.F, read func([]byte), seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, b []byte) { read(b) })
}

func seed(f *testing.F, s string) []byte {
	f.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

var (
	zeroID   = TransactionID{"0123456789abcdef"}
	zeroSig  = make([]byte, SignatureSize)
	zeroCert = []byte{0x30, 0}
)

func FuzzAuthenticateServerResponse(f *testing.F) {
	_, key := newKey(f, pki.P256)
	info := EUICCInfo2{SVN: Version{2, 5, 0}}
	signed := AppendEUICCSigned1(nil, &ServerSigned1{zeroID, make([]byte, 16), "a", make([]byte, 16)}, info.Append(nil), (&CtxParams1{}).Append(nil))
	fuzz(f, func(b []byte) {
		p, err := ParseAuthenticateServerResponse(b)
		if err != nil {
			return
		}
		if _, err := p.Verify(key); err == nil {
			panic("verified")
		}
		if p.Error == 0 {
			// What the parser took apart is what the signature covers.
			again := AppendAuthenticateServerResponse(nil, p.signed1, p.Signature, p.EUICCCertificate, p.EUMCertificate)
			if _, err := ParseAuthenticateServerResponse(again); err != nil {
				panic(err)
			}
		}
	}, AppendAuthenticateServerResponse(nil, signed, zeroSig, zeroCert, zeroCert), AppendAuthenticateServerError(nil, zeroID, 7))
}

func FuzzPrepareDownloadResponse(f *testing.F) {
	fuzz(f, func(b []byte) { _, _ = ParsePrepareDownloadResponse(b) },
		AppendPrepareDownloadResponse(nil, AppendEUICCSigned2(nil, zeroID, make([]byte, PointSize), make([]byte, 32)), zeroSig),
		AppendPrepareDownloadError(nil, zeroID, 1))
}

func FuzzCancelSession(f *testing.F) {
	fuzz(f, func(b []byte) { _, _ = ParseCancelSessionResponse(b); _, _ = ParseCancelSessionRequest(b) },
		AppendCancelSessionResponse(nil, AppendCancelSessionSigned(nil, zeroID, "2.999.10", 0), zeroSig), AppendCancelSessionError(nil, 5))
}

func FuzzPendingNotification(f *testing.F) {
	signer, _ := newKey(f, pki.P256)
	pir, err := (&InstallationResult{TransactionID: zeroID, OID: "2.999.10", AID: ISDP(16), SIMAResponse: []byte{0x30, 0}}).Sign(signer)
	if err != nil {
		f.Fatal(err)
	}
	other, err := (&NotificationMetadata{1, EventDelete, "a", ""}).Sign(signer, zeroCert, zeroCert)
	if err != nil {
		f.Fatal(err)
	}
	fuzz(f, func(b []byte) {
		p, err := ParsePendingNotification(b)
		if err == nil && !bytes.Equal(p.Raw, b) {
			panic("not as it arrived")
		}
		_, _ = ParseInstallationResultData(b)
		_, _ = ParseNotifications(b)
		_, _ = ParseNotificationList(b)
	}, pir, other, AppendNotifications(nil, [][]byte{pir, other}))
}

func FuzzEUICCInfo(f *testing.F) {
	fuzz(f, func(b []byte) {
		if i, err := ParseEUICCInfo2(b); err == nil {
			if _, err := ParseEUICCInfo2(i.Append(nil)); err != nil {
				panic(err)
			}
		}
		_, _ = ParseEUICCInfo1(b)
	}, (&EUICCInfo2{SVN: Version{2, 5, 0}, Signing: [][]byte{make([]byte, 20)}}).Append(nil), seed(f, "bf20098203020000a900aa00"))
}

func FuzzMetadata(f *testing.F) {
	fuzz(f, func(b []byte) {
		if m, err := ParseMetadata(b); err == nil {
			if _, err := ParseMetadata(m.Append(nil)); err != nil {
				panic(err)
			}
			if !SameMetadata(b, b) {
				panic("not the same as itself")
			}
		}
	}, seed(f, "bf25285a0a98001032547698103214910173920170b609300780020780810161b705800300f11099020640"))
}

func FuzzBoundProfilePackage(f *testing.F) {
	signer, _ := newKey(f, pki.P256)
	b := &Binding{
		TransactionID: zeroID, HostID: []byte{1}, ServerKey: make([]byte, PointSize), EUICCKey: make([]byte, PointSize),
		Keys: &Keys{}, ProfileKeys: &Keys{}, Metadata: testMetadata(1).AppendStored(nil), Profile: make([]byte, 2000),
	}
	der, err := b.Append(nil, signer)
	if err != nil {
		f.Fatal(err)
	}
	fuzz(f, func(b []byte) {
		bpp, err := ParseBoundProfilePackage(b)
		if err != nil {
			return
		}
		if !bytes.Equal(bytes.Join(bpp.Units(), nil)[:len(bpp.units[0])], bpp.units[0]) {
			panic("the units are not the package")
		}
		_, _ = bpp.StoredMetadata()
		_, _, _, _, _ = bpp.Open(&Keys{})
		_, _ = ParseInitialiseSecureChannel(bpp.Initialise)
	}, der)
}

func FuzzLoadUnit(f *testing.F) {
	fuzz(f, func(b []byte) {
		_, _ = ParseLoadUnit(b)
		_, _ = ParseConfigureISDP(b)
		_, _ = ParseReplaceSessionKeys(b)
		_, _ = NewProtection(&Keys{}).Open(b)
	}, seed(f, "a0028700"), seed(f, "a1820400"), seed(f, "8700"), seed(f, "bf3682013abf2300"), seed(f, "bf2407b805800388370a"),
		NewProtection(&Keys{}).AppendEncrypted(nil, TagSegmentProfile, []byte("x")))
}

func FuzzES10Requests(f *testing.F) {
	fuzz(f, func(b []byte) {
		_, _ = ParseAuthenticateServerRequest(b)
		_, _ = ParsePrepareDownloadRequest(b)
		_, _ = ParseProfileInfoListRequest(b)
		_, _ = ParseProfileRequest(b, TagEnableProfile)
		_, _ = ParseDeleteProfile(b)
		_, _ = ParseMemoryReset(b)
		_, _ = ParseNicknameRequest(b)
		_, _ = ParseListNotification(b)
		_, _ = ParseRetrieveNotifications(b)
		_, _ = ParseRemoveNotification(b)
		_, _ = ParseSetDefaultDPAddress(b)
		_, _ = Tags(b)
	}, seed(f, "bf3111a00c5a0a980010325476981032148101ff"), seed(f, "bf2d0aa0039501025c035a9f70"), seed(f, "bf290f5a0a9800103254769810321490016e"),
		seed(f, "bf2b05a003800101"), seed(f, "bf340482020580"), seed(f, "bf330c5a0a98001032547698103214"))
}

func FuzzES10Answers(f *testing.F) {
	fuzz(f, func(b []byte) {
		_, _ = ParseProfileInfoList(b)
		_, _ = ParseRAT(b)
		_, _ = ParseConfiguredAddresses(b)
		_, _ = ParseChallenge(b)
		_, _ = ParseEID(b)
		_, _ = ParseResult(b, TagEnableProfile)
		_, _ = ParseSignature(b)
		_, _ = ReadServerSigned1(b)
		_, _ = ReadSMDPSigned2(b)
	}, AppendProfileInfoList(nil, []ProfileInfo{{ICCID: "89000123456789012341", Enabled: new(true)}}),
		seed(f, "bf4315a013301180020640a1073005800300f11082020780"), seed(f, "bf3c06800161810162"), AppendEID(nil, testEID))
}

func FuzzASN1Binding(f *testing.F) {
	fuzz(f, func(b []byte) {
		if q, err := ParseASN1Request(b); err == nil {
			AppendASN1Request(nil, q)
		}
		if p, err := ParseASN1Response(b); err == nil {
			AppendASN1Response(nil, p)
		}
	}, AppendASN1Request(nil, &AuthenticateClientRequest{zeroID, AppendAuthenticateServerError(nil, zeroID, 7)}),
		AppendASN1Response(nil, &CancelSessionES9Response{Succeeded}),
		tlv.Append(nil, tagBinding, seed(f, "bf400fa00d800101a1083006800165810172")))
}

func FuzzActivationCode(f *testing.F) {
	for _, s := range []string{"LPA:1$a.b$M$2.999.10$1", "1$a$", "1$$$$$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseActivationCode(s)
		if err != nil {
			return
		}
		again, err := ParseActivationCode(c.QR())
		if err != nil || *again != *c {
			t.Errorf("%q read as %+v, and again as %+v, %v", s, c, again, err)
		}
	})
}
