package sim

import (
	"strings"
	"testing"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// TestDescribe has every refusal come out as sentences that name the code.
func TestDescribe(t *testing.T) {
	p := &Profile{Type: "usim"}
	for _, tt := range []struct {
		name string
		f    *rsp.Failure
		code int
		want []string
	}{
		{"no stock", rsp.Refuse(rsp.TypeUnavailable, ""), 83500, []string{`"usim"`, "in stock"}},
		{"known code", rsp.Refuse(rsp.EIDInvalid, ""), 83501, []string{"downloadOrder 8.1.1/2.1", "EID"}},
		{"known code with the SM-DP+'s words", rsp.Refuse(rsp.EIDInvalid, "eid: it should end in 35"), 83501, []string{"8.1.1/2.1", "it should end in 35. "}},
		{"unknown code", &rsp.Failure{StatusCode: rsp.StatusCode{Subject: "9.9", Reason: "9.9"}}, 83501, []string{"9.9/9.9", "said no more"}},
		{"unknown code with words", &rsp.Failure{StatusCode: rsp.StatusCode{Subject: "9.9", Reason: "9.9"}, Message: "closed on Sundays"}, 83501, []string{"closed on Sundays."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, message := describeRefusal("downloadOrder", p, tt.f)
			checkMessage(t, code, message, tt.code, tt.want)
		})
	}
}

func checkMessage(t *testing.T, code int, message string, wantCode int, want []string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("code %d, want %d", code, wantCode)
	}
	for _, word := range want {
		if !strings.Contains(message, word) {
			t.Errorf("message %q has no %q in it", message, word)
		}
	}
	if !strings.HasSuffix(message, ".") || strings.Contains(message, "..") || strings.Contains(message, "  ") {
		t.Errorf("message %q is not made of sentences", message)
	}
}

// TestDescribeWhatTheChipSigned prefers the eUICC's own reason to the status
// code that was made of it.
func TestDescribeWhatTheChipSigned(t *testing.T) {
	key, err := pki.GenerateKey(pki.P256)
	if err != nil {
		t.Fatal(err)
	}
	oid, err := ident.ParseOID("1.3.6.1.4.1.31746.1")
	if err != nil {
		t.Fatal(err)
	}
	pir := &rsp.InstallationResult{
		TransactionID: rsp.NewTransactionID(), OID: oid, Command: rsp.CommandLoadElements, Error: rsp.InstallMemory,
		Notification: rsp.NotificationMetadata{Sequence: 1, Event: rsp.EventInstall, Address: "smdp.example.com", ICCID: firstICCID},
	}
	signed, err := pir.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	r := &rsp.ProgressInfo{Point: rsp.PointInstallation, Status: rsp.Refuse(rsp.EUICCFailed, "").Header().Execution, ResultData: signed}
	code, message := describeProgress(r)
	checkMessage(t, code, message, 83504, []string{"did not install", "install 5 10", "memory"})
	r.ResultData = []byte{0xBF, 0x37, 0x01}
	code, message = describeProgress(r)
	checkMessage(t, code, message, 83504, []string{"did not install", "8.1/4.2"})
	r.ResultData, r.Status.Code = nil, nil
	code, message = describeProgress(r)
	checkMessage(t, code, message, 83504, []string{"no reason"})
}
