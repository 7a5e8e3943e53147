package iot

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"godwit/internal/reference"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// Signatures are over the octets and the token, of both sides and on both curves.
func TestSignatures(t *testing.T) {
	for _, curve := range []pki.Curve{pki.P256, pki.BrainpoolP256r1} {
		signer := must(pki.GenerateKey(curve))
		key := must(pki.PublicKeyOf(signer))
		stranger := must(pki.PublicKeyOf(must(pki.GenerateKey(curve))))
		request := &PackageRequest{EimID: "e", EID: testEID, Counter: 1, PSMO: []PSMO{{Op: OpGetRAT}}}
		code := PackageReplay
		answers := []*PackageResult{
			{EimID: "e", Counter: 1, Sequence: 9, Results: []OpResult{{Op: OpEnable}}},
			{EimID: "e", Counter: 1, ErrorCode: &code},
		}
		for _, token := range []*int64{nil, new(int64(1)), new(int64(300))} {
			messages := [][]byte{must(request.Sign(signer, token))}
			for _, a := range answers {
				messages = append(messages, must(a.Sign(signer, token)))
			}
			for i, raw := range messages {
				verify := func(raw []byte, key *pki.PublicKey, token *int64) error {
					if i == 0 {
						_, err := VerifyPackageRequest(raw, key, token)
						return err
					}
					_, err := VerifyPackageResult(raw, key, token)
					return err
				}
				if err := verify(raw, key, token); err != nil {
					t.Errorf("%v message %d: %v", curve, i, err)
				}
				if err := verify(raw, stranger, token); !errors.Is(err, rsp.ErrSignature) {
					t.Errorf("%v message %d with another key: %v", curve, i, err)
				}
				if err := verify(raw, key, new(int64(77))); !errors.Is(err, rsp.ErrSignature) {
					t.Errorf("%v message %d with another token: %v", curve, i, err)
				}
				for at := range raw {
					if token != nil {
						break // once is enough
					}
					changed := bytes.Clone(raw)
					changed[at] ^= 1
					if verify(changed, key, token) == nil {
						t.Fatalf("%v message %d: octet %d can be changed", curve, i, at)
					}
				}
			}
		}
	}
	// Without a token the signature is over 84 01 00.
	signer := must(pki.GenerateKey(pki.P256))
	raw := must((&PackageRequest{EimID: "e", EID: testEID, Counter: 1, PSMO: []PSMO{{Op: OpGetRAT}}}).Sign(signer, nil))
	e := must(tlv.ParseTag(raw, TagPackage))
	r := e.Reader()
	signed, signature := r.Next(), r.Next()
	if !must(pki.PublicKeyOf(signer)).Verify(append(bytes.Clone(signed.Raw), 0x84, 0x01, 0x00), signature.Value) {
		t.Error("the token of nobody is not 84 01 00")
	}
}

func TestPackageRules(t *testing.T) {
	signer := must(pki.GenerateKey(pki.P256))
	good := func() *PackageRequest {
		return &PackageRequest{EimID: "e", EID: testEID, Counter: 1, PSMO: []PSMO{{Op: OpEnable, ICCID: testICCID}}}
	}
	tests := map[string]func(p *PackageRequest){
		"1 to 128 octets":          func(p *PackageRequest) { p.EimID = strings.Repeat("e", 129) },
		"no EID":                   func(p *PackageRequest) { p.EID = "" },
		"counter":                  func(p *PackageRequest) { p.Counter = MaxCounter + 1 },
		"1 to 16 octets":           func(p *PackageRequest) { p.TransactionID = make([]byte, 17) },
		"one of the two":           func(p *PackageRequest) { p.ECO = []ECO{{Op: OpListEim}} },
		"profile operations or":    func(p *PackageRequest) { p.PSMO = nil },
		"not a profile operation":  func(p *PackageRequest) { p.PSMO[0].Op = OpAddEim },
		"at most 64":               func(p *PackageRequest) { p.PSMO = make([]PSMO, 65) },
		"at most one enable":       func(p *PackageRequest) { p.PSMO = append(p.PSMO, p.PSMO[0]) },
		"cannot follow":            func(p *PackageRequest) { p.PSMO = append(p.PSMO, PSMO{Op: OpList}) },
		"at most one enable and o": func(p *PackageRequest) { p.PSMO = []PSMO{{Op: OpDisable}, {Op: OpDisable}} },
	}
	if _, err := good().Sign(signer, nil); err != nil {
		t.Fatal(err)
	}
	for want, change := range tests {
		p := good()
		change(p)
		if _, err := p.Sign(signer, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Keys and certificates are understood with and without the SEQUENCE of their own.
func TestNestings(t *testing.T) {
	key := must(pki.PublicKeyOf(must(pki.GenerateKey(pki.P256)))).Info()
	certificate := must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: testTime})).Certificate.Raw
	content := func(der []byte) []byte { return must(tlv.ParseTag(der, tlv.Sequence)).Value }
	for name, config := range map[string]EimConfiguration{
		"key":         {ID: "e", PublicKey: key, TLSPublicKey: key},
		"certificate": {ID: "e", Certificate: certificate, TLSCertificate: certificate},
	} {
		nested := config.Append(nil)
		arm, whole := tlv.Tag(0xA0), key
		if config.Certificate != nil {
			arm, whole = 0xA1, certificate
		}
		body := tlv.AppendString(nil, 0x80, "e")
		for _, tag := range []tlv.Tag{0xA5, 0xA6} {
			body = tlv.Append(body, tag, tlv.Append(nil, arm, content(whole)))
		}
		flat := tlv.Append(nil, tlv.Sequence, body)
		if bytes.Equal(nested, flat) {
			t.Fatal("the two forms do not differ")
		}
		for _, form := range [][]byte{nested, flat, tlv.Append(nil, tlv.Sequence, nested)} {
			got, err := ParseEimConfiguration(form)
			if err != nil || !bytes.Equal(got.Append(nil), nested) {
				t.Errorf("%s: %v, %+v", name, err, got)
				continue
			}
			if k, err := got.Key(); err != nil || k == nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	response := DataResponse{EUMCertificate: certificate, EUICCCertificate: certificate}
	raw := response.Append(nil)
	outer := tlv.Append(nil, TagData, tlv.Append(nil, 0xA0, tlv.Append(tlv.Append(nil, DataEUMCertificate, certificate), DataEUICCCertificate, certificate)))
	if bytes.Contains(raw, certificate) || !bytes.Contains(raw, content(certificate)) {
		t.Error("certificates are written with their SEQUENCE")
	}
	for _, form := range [][]byte{raw, outer} {
		p, err := ParseDataResponse(form)
		if err != nil || !bytes.Equal(p.EUMCertificate, certificate) || !bytes.Equal(p.EUICCCertificate, certificate) {
			t.Errorf("%v %X", err, form[:20])
		}
	}
	certs := Certs{EUM: certificate, EUICC: certificate}
	if p, err := ParseCerts(certs.Append(nil)); err != nil || !bytes.Equal(p.EUICC, certificate) || !bytes.Equal(p.EUM, certificate) {
		t.Errorf("certs: %v", err)
	}
}

// The eIM says by code what is wrong with an EID.
func TestEIDErrors(t *testing.T) {
	for _, test := range []struct {
		body string
		want error
	}{
		{"BF4F00", ErrMissingEID},
		{"BF4F028000", ErrMissingEID},
		{"BF4F125A10890490321234512345123456789012FF", ErrInvalidEID},
		{"BF4F035A0189", ErrInvalidEID},
		{"BF500B5A0189BF5205A10302017F", ErrInvalidEID},
	} {
		q, err := ParseASN1Request(unhex(test.body))
		if !errors.Is(err, test.want) || q == nil {
			t.Errorf("%s: %v, %v", test.body, q, err)
		}
	}
	for body, want := range map[string]error{
		`{}`: ErrMissingEID, `{"eidValue":"8904"}`: ErrInvalidEID, `{"eidValue":null}`: ErrMissingEID,
	} {
		q, err := ParseJSONRequest(FnGetEimPackage, []byte(body))
		if !errors.Is(err, want) || q == nil {
			t.Errorf("%s: %v, %v", body, q, err)
		}
	}
}

// Peers spell members differently.
func TestJSONNames(t *testing.T) {
	result := unhex("BF5105A203800165")
	whole := AppendASN1Request(nil, &ProvideEimPackageResult{EID: testEID, PackageResult: result})
	b64 := base64.StdEncoding.EncodeToString
	for body, want := range map[string]GetEimPackageRequest{
		`{"eidValue":"` + string(testEID) + `"}`:                                                          {EID: testEID},
		`{"EID":"` + string(testEID) + `","notifyStateChange":true,"stateChangeCause":1}`:                 {EID: testEID, StateChanged: true, Cause: new(int64(1))},
		`{"eid_value":"` + string(testEID) + `","notifyStateChange":"","rPlmn":"00f110"}`:                 {EID: testEID, StateChanged: true, RPLMN: []byte{0, 0xF1, 0x10}},
		`{"eidValue":"` + string(testEID) + `","notifyStateChange":false,"rPLMN":"APEQ","unknown":[1,2]}`: {EID: testEID, RPLMN: []byte{0, 0xF1, 0x10}},
	} {
		q, err := ParseJSONRequest(FnGetEimPackage, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if got := AppendASN1Request(nil, q); !bytes.Equal(got, AppendASN1Request(nil, &want)) {
			t.Errorf("%s: %X", body, got)
		}
	}
	for _, body := range []string{
		`{"eidValue":"` + string(testEID) + `","eimPackageResult":"` + b64(result) + `"}`,
		`{"eimPackageResult":"` + b64(whole) + `"}`,
		`{"provideEimPackageResult":"` + b64(whole) + `"}`,
	} {
		q, err := ParseJSONRequest(FnProvideResult, []byte(body))
		if err != nil || !bytes.Equal(AppendASN1Request(nil, q), whole) {
			t.Errorf("%s: %v %+v", body, err, q)
		}
	}
	q, err := ParseJSONRequest(rsp.FnHandleNotification, []byte(`{"provideEimPackageResult":"`+b64(whole)+`"}`))
	if err != nil || q.(*HandleNotification).Result == nil {
		t.Errorf("a result as a notification: %v", err)
	}
	for _, body := range []string{``, `[]`, `{}`, `{"eimPackageResult":"!"}`, `{"eimPackageResult":5}`, `{"eimPackageResult":"MAA"}`} {
		if q, err := ParseJSONRequest(FnProvideResult, []byte(body)); err == nil {
			t.Errorf("%s was read as %+v", body, q)
		}
	}
	for body, want := range map[string]int64{
		`{"header":{"functionExecutionStatus":{"status":"Executed-Success"}},"eimPackageError":1}`: 1,
		`{"eimPackageError":"2"}`: 2,
		`{"header":{"functionExecutionStatus":{"status":"Executed-Success"}},"eimPackageError":0}`: EimNoPackage,
		`{"header":{"functionExecutionStatus":{"status":"Failed"}}}`:                               EimUndefined,
		`{"euiccPackageRequest":"` + b64(unhex("BF5100")) + `","eimPackageError":0}`:               0,
	} {
		p, err := ParseJSONResponse(FnGetEimPackage, []byte(body))
		if err != nil || p.(*GetEimPackageResponse).Error != want {
			t.Errorf("%s: %v %+v", body, err, p)
		}
	}
}

// relayed are messages of the relayed functions, both ways.
func relayed() (requests, answers []any) {
	signature := rsp.AppendSignature(nil, testSig)
	odd := unhex("3006800101BF7F00") // fields that nobody knows
	metadata := unhex("BF25125A0A98000100000000000010910161920162")
	requests = []any{
		&InitiateAuthenticationRequest{EUICCChallenge: make([]byte, 16), SMDPAddress: "a.b", EUICCInfo1: unhex("BF2000"), TransactionID: testOrder},
		&InitiateAuthenticationRequest{EUICCChallenge: make([]byte, 16)},
		&AuthenticateClientRequest{testRun, unhex("BF3802A000")},
		&GetBoundProfilePackageRequest{testRun, unhex("BF2102A200")},
		&CancelSessionRequest{testRun, unhex("BF4103810105")},
		&HandleNotification{Notification: unhex("BF3700")},
		&HandleNotification{Notification: unhex("3000")},
		&HandleNotification{Notification: unhex("A100")},
		&HandleNotification{Result: &ProvideEimPackageResult{EID: testEID, DataResponse: unhex("BF5205A103020101")}},
	}
	answers = []any{
		&InitiateAuthenticationResponse{
			TransactionID: testRun, ServerSigned1: odd, ServerSignature1: signature, CIKeyID: unhex("0401AA"),
			ServerCertificate: unhex("3000"), MatchingID: new(""), Context: unhex("A000"),
		},
		&InitiateAuthenticationResponse{ServerSigned1: odd, ServerSignature1: signature, CIKeyID: unhex("0401AA"), ServerCertificate: unhex("3000")},
		&InitiateAuthenticationResponse{Refused: Refused{Error: 3}},
		&AuthenticateClientResponse{
			TransactionID: testRun, ProfileMetadata: metadata, SMDPSigned2: odd, SMDPSignature2: signature,
			SMDPCertificate: unhex("3000"), HashedCode: make([]byte, 32),
		},
		&AuthenticateClientResponse{SMDPSigned2: odd, SMDPSignature2: signature, SMDPCertificate: unhex("3000")},
		&AuthenticateClientResponse{TransactionID: testRun, SMDS: true, Trigger: unhex("BF5400")},
		&AuthenticateClientResponse{Refused: Refuse(rsp.TagAuthenticateClient, rsp.Refuse(rsp.MatchingIDRefused, "no"))},
		&GetBoundProfilePackageResponse{TransactionID: testRun, BoundProfilePackage: unhex("BF3603BF2300")},
		&CancelSessionResponse{},
		&CancelSessionResponse{Refuse(rsp.TagCancelSession, rsp.Refuse(rsp.TransactionUnknown, "no"))},
		&GetEimPackageResponse{EUICCPackage: unhex("BF5100")},
		&GetEimPackageResponse{DataRequest: unhex("BF52035C0184")},
		&GetEimPackageResponse{DownloadTrigger: unhex("BF5400")},
		&GetEimPackageResponse{Error: EimNoPackage},
		&ProvideEimPackageResultResponse{Acknowledged: []int64{1, 300}},
		&ProvideEimPackageResultResponse{},
		&ProvideEimPackageResultResponse{Error: EimInvalidEID},
	}
	return requests, answers
}

// Both bindings say the same, and keep what was signed octet for octet.
func TestBindings(t *testing.T) {
	requests, answers := relayed()
	for _, q := range requests {
		raw := AppendASN1Request(nil, q)
		back, err := ParseASN1Request(raw)
		if err != nil || !bytes.Equal(AppendASN1Request(nil, back), raw) {
			t.Errorf("%T: %v", q, err)
		}
		j, err := ParseJSONRequest(Function(q), MarshalJSONRequest(q))
		if err != nil || !bytes.Equal(AppendASN1Request(nil, j), raw) {
			t.Errorf("%T through JSON: %v %s", q, err, MarshalJSONRequest(q))
		}
	}
	functions := []string{
		rsp.FnInitiateAuthentication, rsp.FnInitiateAuthentication, rsp.FnInitiateAuthentication, rsp.FnAuthenticateClient,
		rsp.FnAuthenticateClient, rsp.FnAuthenticateClient, rsp.FnAuthenticateClient, rsp.FnGetBoundProfilePackage,
		rsp.FnCancelSession, rsp.FnCancelSession, FnGetEimPackage, FnGetEimPackage, FnGetEimPackage, FnGetEimPackage,
		FnProvideResult, FnProvideResult, FnProvideResult,
	}
	for i, p := range answers {
		raw := AppendASN1Response(nil, p)
		back, err := ParseASN1Response(raw)
		if err != nil || !bytes.Equal(AppendASN1Response(nil, back), raw) {
			t.Errorf("%T: %v\n%X\n%X", p, err, raw, AppendASN1Response(nil, back))
		}
		j, err := ParseJSONResponse(functions[i], MarshalJSONResponse(p))
		if err != nil {
			t.Errorf("%T through JSON: %v %s", p, err, MarshalJSONResponse(p))
			continue
		}
		if got := AppendASN1Response(nil, j); !bytes.Equal(got, raw) {
			t.Errorf("%T through JSON: %X, want %X", p, got, raw)
		}
	}
	raw := AppendASN1Response(nil, answers[6])
	if !bytes.Equal(raw, unhex("BF3B03820106")) {
		t.Errorf("a refusal of ES9+ became %X", raw)
	}
}

// What is seen at peers that keep less to the module is understood.
func TestTolerance(t *testing.T) {
	for _, body := range []string{"BF3D03BF3700", "BF3D023000", "BF3D05A003BF3700"} {
		if _, err := ParseASN1Request(unhex(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
	for _, body := range []string{"BF4F03800101", "BF5000", "BF3B03810108", "BF3903020101"} {
		if _, err := ParseASN1Response(unhex(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
	profile := unhex("E30C5A0A98000100000000000010")
	for _, list := range [][]byte{tlv.Append(nil, 0xA0, profile), profile} {
		o, err := readOpResult(must(tlv.Parse(tlv.Append(nil, rsp.TagGetProfilesInfo, list))))
		if err != nil || len(o.Profiles) != 1 || o.Profiles[0].ICCID != testICCID {
			t.Errorf("%X: %v", list, err)
		}
	}
	for _, list := range []string{"AB07A0053003800165", "AB053003800165"} {
		o, err := readOpResult(must(tlv.Parse(unhex(list))))
		if err != nil || len(o.Eims) != 1 || o.Eims[0].ID != "e" {
			t.Errorf("%s: %v", list, err)
		}
	}
	for _, address := range []string{"BF6503800161", "BF65030C0161"} {
		if p := readPSMO(must(tlv.Parse(unhex(address)))); p.Op != OpSetDefaultDP || p.Address != "a" {
			t.Errorf("%s: %+v", address, p)
		}
	}
	for _, code := range []string{"BF650380017F", "BF650302017F"} {
		if o, err := readOpResult(must(tlv.Parse(unhex(code)))); err != nil || o.Op != OpSetDefaultDP || o.Code != 127 {
			t.Errorf("%s: %v %+v", code, err, o)
		}
	}
	if o, err := readOpResult(must(tlv.Parse(unhex("9F3F0100")))); err != nil || o.Op != OpUnknown || o.Terminated {
		t.Errorf("an unknown result: %v %+v", err, o)
	}
}

// Lists of peers are bounded.
func TestBounds(t *testing.T) {
	many := bytes.Repeat(unhex("800101"), MaxNotifications+1)
	if _, err := ParseAcknowledgements(tlv.Append(nil, TagAcknowledgements, many)); !errors.Is(err, tlv.ErrTooLong) {
		t.Errorf("acknowledgements: %v", err)
	}
	commands := bytes.Repeat(unhex("A600"), MaxCommands+1)
	signed := must(tlv.Parse((&PackageRequest{EimID: "e", EID: testEID}).append(nil)))
	body := append(bytes.TrimSuffix(bytes.Clone(signed.Value), unhex("A000")), tlv.Append(nil, 0xA0, commands)...)
	if _, err := ReadPackageRequest(signedMessage(0, tlv.Append(nil, tlv.Sequence, body))); !errors.Is(err, tlv.ErrTooLong) {
		t.Errorf("commands: %v", err)
	}
	for _, id := range []string{"", strings.Repeat("e", MaxEimID+1)} {
		if _, err := ParseEimConfiguration(tlv.Append(nil, tlv.Sequence, tlv.AppendString(nil, 0x80, id))); err == nil {
			t.Errorf("an eIM identifier of %d octets was taken", len(id))
		}
	}
	if _, err := ParseDownloadTrigger((&DownloadTrigger{ActivationCode: strings.Repeat("1", 256)}).Append(nil)); err == nil {
		t.Error("an activation code of 256 characters was taken")
	}
}

// The published test certificate of an eIM is good for its configuration.
func TestPublishedEimCertificate(t *testing.T) {
	certificate := must(pki.ParseCertificate(reference.File(t, "sgp26", "eim", "CERT_S_EIMsign_ECDSA_NIST.der")))
	signer := must(pki.ParseKey(reference.File(t, "sgp26", "eim", "SK_S_EIMsign_ECDSA_NIST.pem")))
	config := EimConfiguration{ID: "e", Certificate: certificate.Raw}
	read := must(ParseEimConfiguration(config.Append(nil)))
	key := must(read.Key())
	p := &PackageRequest{EimID: "e", EID: testEID, Counter: 1, PSMO: []PSMO{{Op: OpEnable, ICCID: testICCID}}}
	got, err := VerifyPackageRequest(must(p.Sign(signer, nil)), key, nil)
	if err != nil || fmt.Sprint(got.PSMO) != fmt.Sprint(p.PSMO) {
		t.Errorf("%v %+v", err, got)
	}
}
