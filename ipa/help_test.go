package ipa_test

import (
	"encoding/json"
	"testing"

	"godwit/iot"
	"godwit/rsp"
)

// installation returns why a profile was not installed, 0 when it was.
func installation(r *iot.DownloadResult) rsp.InstallError {
	return must(rsp.ReadInstallation(must(rsp.ParsePendingNotification(r.Installation)))).Error
}

// failure reads what an IPA tells of a download that came to nothing.
func failure(t *testing.T, detail []byte) *rsp.Failure {
	t.Helper()
	var answer struct {
		Header rsp.ResponseHeader `json:"header"`
	}
	if err := json.Unmarshal(detail, &answer); err != nil {
		t.Fatalf("detail %q: %v", detail, err)
	}
	f, ok := rsp.AsFailure(answer.Header.Err())
	if !ok {
		t.Fatalf("detail %s is no failure", detail)
	}
	return f
}
