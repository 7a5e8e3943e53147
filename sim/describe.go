package sim

import (
	"fmt"
	"strings"

	"godwit/explain"
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
	return CodeRefused, "The SM-DP+ refused to prepare a profile (" + function + " " + f.StatusCode.String() + "): " +
		inWords(f.StatusCode, f.Message) + " Nothing was charged."
}

// describeProgress puts a failed download into words. What the eUICC signed says
// more than the status code that the SM-DP+ made of it.
func describeProgress(r *rsp.ProgressInfo) (code int, message string) {
	code, what := CodeDownload, "The download was refused or broken off"
	if r.Point == rsp.PointInstallation {
		code, what = CodeInstall, "The eUICC did not install the profile"
	}
	if r.Status.Status == rsp.Expired {
		what = "The profile was not downloaded in time"
	}
	if e, ok := signedReason(r.ResultData); ok {
		return code, what + " (" + e.Code + "): " + advice(e)
	}
	if r.Status.Code == nil {
		return code, what + ": the SM-DP+ gave no reason."
	}
	return code, what + " (" + r.Status.Code.String() + "): " + inWords(r.Status.Code.StatusCode, r.Status.Code.Message)
}

// signedReason explains the profile installation result that came with a
// report. The SM-DP+ has verified its signature.
func signedReason(result []byte) (explain.Entry, bool) {
	if len(result) == 0 {
		return explain.Entry{}, false
	}
	n, err := rsp.ParsePendingNotification(result)
	if err != nil {
		return explain.Entry{}, false
	}
	pir, err := rsp.ReadInstallation(n)
	if err != nil || pir.Error == 0 {
		return explain.Entry{}, false
	}
	return explain.InstallError(int(pir.Command), int(pir.Error))
}

// inWords explains a status code. What the SM-DP+ itself had to say about the
// case stands first.
func inWords(code rsp.StatusCode, message string) string {
	e, ok := explain.Status(code.Subject, code.Reason)
	switch {
	case !ok && message == "":
		return "the SM-DP+ said no more than this code."
	case !ok:
		return sentence(message)
	case message == "":
		return advice(e)
	}
	return sentence(message) + " " + advice(e)
}

// advice returns the cause and what to do.
func advice(e explain.Entry) string {
	return strings.TrimSpace(sentence(e.Cause) + " " + sentence(e.Next))
}

// sentence ends a text with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
