package sim

import (
	"fmt"
	"strings"

	"godwit/rsp"
)

// Codes of failed reservations. The vendors have published the first; the
// others continue it, so that programs can tell who must act.
const (
	CodeNoStock     = 83500 // no profiles in stock
	CodeRefused     = 83501 // the SM-DP+ refused to prepare a profile
	CodeUnreachable = 83502 // the SM-DP+ could not be reached
	CodeDownload    = 83503 // the download was refused or broken off
	CodeInstall     = 83504 // the eUICC did not install the profile
)

// describeRefusal puts an SM-DP+'s refusal to prepare a profile into words.
func describeRefusal(function string, p *Profile, f *rsp.Failure) (code int, message string) {
	switch f.StatusCode {
	case rsp.TypeUnavailable:
		return CodeNoStock, fmt.Sprintf("There are no eSIM profiles of type %q in stock. Nothing was charged. "+
			"The operator of this server must add stock; then reserve again.", p.Type)
	case rsp.TypeUnknown:
		return CodeNoStock, fmt.Sprintf("The SM-DP+ knows no profile type %q, so there is nothing in stock. Nothing was charged. "+
			"The operator of this server must set up the type or configure another one; then reserve again.", p.Type)
	}
	return CodeRefused, "The SM-DP+ refused to prepare a profile: " + inWords(f.StatusCode, f.Message) + " Nothing was charged. (" + function + " " + f.StatusCode.String() + ")"
}

// describeProgress puts a failed download into words.
func describeProgress(r *rsp.ProgressInfo) (code int, message string) {
	code, what := CodeDownload, "The download was refused or broken off: "
	if r.Point == rsp.PointInstallation {
		code, what = CodeInstall, "The eUICC did not install the profile: "
	}
	if r.Status.Status == rsp.Expired {
		what = "The profile was not downloaded in time: "
	}
	if r.Status.Code == nil {
		return code, what + "the SM-DP+ gave no reason."
	}
	return code, what + inWords(r.Status.Code.StatusCode, r.Status.Code.Message) + " (" + r.Status.Code.String() + ")"
}

// inWords explains a status code.
func inWords(code rsp.StatusCode, message string) string {
	if message == "" {
		return "status code " + code.String() + "."
	}
	return sentence(message)
}

// sentence ends a text with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
