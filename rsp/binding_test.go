package rsp

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"godwit/ident"
	"godwit/tlv"
)

// The shapes of the JSON binding, letter by letter. SGP.22 v2.5, 6.5.
func TestJSON(t *testing.T) {
	id, err := ParseTransactionID("0102AB")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		value any
		want  string
	}{
		{
			"success", &InitiateAuthenticationResponse{Succeeded, id, []byte{0x30, 0}, []byte{0x5F, 0x37, 0}, []byte{4, 0}, []byte{0x30, 0}},
			`{"header":{"functionExecutionStatus":{"status":"Executed-Success"}},"transactionId":"0102AB","serverSigned1":"MAA=","serverSignature1":"XzcA","euiccCiPKIdToBeUsed":"BAA=","serverCertificate":"MAA="}`,
		},
		{
			"failure", &InitiateAuthenticationResponse{Header: Refuse(AddressRefused, "not %s", "here").Header()},
			`{"header":{"functionExecutionStatus":{"status":"Failed","statusCodeData":{"subjectCode":"8.8.1","reasonCode":"3.8","message":"not here"}}}}`,
		},
		{
			"no events", &AuthenticateClientES11Response{Succeeded, id, []EventEntry{}},
			`{"header":{"functionExecutionStatus":{"status":"Executed-Success"}},"transactionId":"0102AB","eventEntries":[]}`,
		},
		{
			"download order", &DownloadOrder{RequestHeader{"op", "1"}, "", "89000123456789012341", "test"},
			`{"header":{"functionRequesterIdentifier":"op","functionCallIdentifier":"1"},"iccid":"89000123456789012341","profileType":"test"}`,
		},
		{
			"confirm order with an empty identifier", &ConfirmOrder{Header: RequestHeader{"op", "2"}, ICCID: "89000123456789012341", MatchingID: new(ident.MatchingID(""))},
			`{"header":{"functionRequesterIdentifier":"op","functionCallIdentifier":"2"},"iccid":"89000123456789012341","matchingId":"","releaseFlag":false}`,
		},
		{
			"progress", &ProgressInfo{
				RequestHeader{"dp", "3"},
				"", "89000123456789012341", "test",
				Timestamp{time.Date(2026, 11, 20, 11, 0, 0, 5, time.FixedZone("", 3600))},
				PointInstallation, Succeeded.Execution,
				[]byte{0xBF},
			},
			`{"header":{"functionRequesterIdentifier":"dp","functionCallIdentifier":"3"},"iccid":"89000123456789012341","profileType":"test","timestamp":"2026-11-20T10:00:00Z","notificationPointId":4,"notificationPointStatus":{"status":"Executed-Success"},"resultData":"vw=="}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("wrote %s\nwant  %s", got, tt.want)
			}
			back := reflect.New(reflect.TypeOf(tt.value).Elem()).Interface()
			if err := json.Unmarshal(got, back); err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(back)
			if err != nil || string(again) != tt.want {
				t.Errorf("came back as %s, %v", again, err)
			}
		})
	}
}

func TestFailure(t *testing.T) {
	err := fmt.Errorf("step: %w", Refuse(CodeRefused, "wrong code"))
	f, ok := AsFailure(HeaderFor(err).Err())
	if !ok || f.StatusCode != CodeRefused || f.Message != "wrong code" {
		t.Errorf("%v", f)
	}
	// Trouble of the server's own does not tell its text.
	f, ok = AsFailure(HeaderFor(errors.New("disk on fire")).Err())
	if !ok || f.StatusCode != ExecutionFailed || f.Message != "" {
		t.Errorf("%v", f)
	}
	if err := HeaderFor(nil).Err(); err != nil {
		t.Error(err)
	}
	if err := (ResponseHeader{Execution{Status: WithWarning}}).Err(); err != nil {
		t.Error(err)
	}
	if err := (ResponseHeader{}).Err(); err == nil {
		t.Error("an answer without header is success")
	}
	for _, s := range []string{"8.2.6", "8.2.6/", "/3.8", "8..6/3.8", "a/b"} {
		if c, err := ParseStatusCode(s); err == nil {
			t.Errorf("%q was read as %s", s, c)
		}
	}
	if c, err := ParseStatusCode("8.2.6/3.8"); err != nil || c != MatchingIDRefused {
		t.Errorf("%s, %v", c, err)
	}
}

// Each failure of the ASN.1 binding is a number, and comes back as what it was.
func TestASN1Failures(t *testing.T) {
	for function, codes := range asn1Failures {
		for code, number := range codes {
			header := (&Failure{StatusCode: code}).Header()
			var p any
			switch function {
			case TagInitiateAuthentication:
				p = &InitiateAuthenticationResponse{Header: header}
			case TagAuthenticateClient:
				p = &AuthenticateClientResponse{Header: header}
			case TagGetBoundProfilePackage:
				p = &GetBoundProfilePackageResponse{Header: header}
			case TagCancelSession:
				p = &CancelSessionES9Response{Header: header}
			case tagAuthenticateClientES11:
				p = &AuthenticateClientES11Response{Header: header}
			}
			der := AppendASN1Response(nil, p)
			want := tlv.Append(nil, tagBinding, tlv.Append(nil, function, []byte{0x81, 1, byte(number)}))
			if string(der) != string(want) {
				t.Errorf("%s of %s: %x, want %x", code, function, der, want)
			}
			back, err := ParseASN1Response(der)
			if err != nil {
				t.Fatal(err)
			}
			if reflect.TypeOf(back) != reflect.TypeOf(p) {
				t.Errorf("%T came back as %T", p, back)
			}
			f, ok := AsFailure(reflect.ValueOf(back).Elem().FieldByName("Header").Interface().(ResponseHeader).Err())
			if !ok || codes[f.StatusCode] != number {
				t.Errorf("%s of %s came back as %v", code, function, f)
			}
		}
	}
	// A code without a number of its own.
	der := AppendASN1Response(nil, &CancelSessionES9Response{Header: (&Failure{StatusCode: OIDMismatch}).Header()})
	if want := []byte{0xA2, 6, 0xBF, 0x41, 3, 0x81, 1, 127}; string(der) != string(want) {
		t.Errorf("%x, want %x", der, want)
	}
}

// Requests in the ASN.1 binding say the same as in JSON, and CancelSession is
// understood nested as well.
func TestASN1Requests(t *testing.T) {
	id := NewTransactionID()
	cancel := AppendCancelSessionError(nil, 5)
	for _, q := range []any{
		&InitiateAuthenticationRequest{SMDPAddress: "a", EUICCChallenge: make([]byte, 16), EUICCInfo1: []byte{0xBF, 0x20, 0}},
		&AuthenticateClientRequest{id, AppendAuthenticateServerError(nil, id, AuthInvalidOID)},
		&GetBoundProfilePackageRequest{id, AppendPrepareDownloadError(nil, id, DownloadUndefined)},
		&HandleNotificationRequest{[]byte{0xBF, 0x37, 0}},
		&CancelSessionES9Request{id, cancel},
	} {
		back, err := ParseASN1Request(AppendASN1Request(nil, q))
		if err != nil || !reflect.DeepEqual(back, q) {
			t.Errorf("%+v came back as %+v, %v", q, back, err)
		}
	}
	nested := tlv.Append(nil, tagBinding, tlv.Append(nil, TagCancelSession, append(id.Append(nil, 0x80), cancel...)))
	back, err := ParseASN1Request(nested)
	if err != nil || !reflect.DeepEqual(back, &CancelSessionES9Request{id, cancel}) {
		t.Errorf("nested: %+v, %v", back, err)
	}
}
