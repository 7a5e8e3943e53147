package rsp

import (
	"errors"
	"fmt"
	"strings"
)

// A StatusCode is a subject and a reason. SGP.22 v2.5, 5.2.6.
type StatusCode struct {
	Subject string `json:"subjectCode"`
	Reason  string `json:"reasonCode"`
}

// String returns "8.2.6/3.8".
func (c StatusCode) String() string { return c.Subject + "/" + c.Reason }

// ParseStatusCode reads "8.2.6/3.8".
func ParseStatusCode(s string) (StatusCode, error) {
	subject, reason, ok := strings.Cut(s, "/")
	if !ok || !dotted(subject) || !dotted(reason) {
		return StatusCode{}, fmt.Errorf("a status code is two dotted numbers with a slash between them, not %q", s)
	}
	return StatusCode{subject, reason}, nil
}

func dotted(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}

// Status codes of ES9+.
var (
	AddressRefused         = StatusCode{"8.8.1", "3.8"}  // smdpAddress is not this server's
	CIUnsupported          = StatusCode{"8.8.2", "3.1"}  // no signing CI of the eUICC is trusted here
	SVNUnsupported         = StatusCode{"8.8.3", "3.1"}  // the eUICC's version is not supported
	CertificateUnavailable = StatusCode{"8.8.4", "3.7"}  // no DPauth certificate that the eUICC can verify
	TransactionUnknown     = StatusCode{"8.10.1", "3.9"} // unknown transaction, or a step out of order
	CIUnknown              = StatusCode{"8.11.1", "3.9"} // the EUM certificate's CI is unknown
	EUMInvalid             = StatusCode{"8.1.2", "6.1"}  // EUM certificate: signature, role or constraint
	EUMExpired             = StatusCode{"8.1.2", "6.3"}  // EUM certificate outside its validity
	EUICCInvalid           = StatusCode{"8.1.3", "6.1"}  // eUICC certificate: signature, role or EID range
	EUICCExpired           = StatusCode{"8.1.3", "6.3"}  // eUICC certificate outside its validity
	EUICCSignatureInvalid  = StatusCode{"8.1", "6.1"}    // the eUICC's signature, or challenge or address not ours
	MatchingIDRefused      = StatusCode{"8.2.6", "3.8"}  // matching identifier unknown or not for this use
	EIDMismatch            = StatusCode{"8.1.1", "3.8"}  // the order is for another EID, or none is for this one
	NotReleased            = StatusCode{"8.2", "1.2"}    // the profile has not been released
	OrderExpired           = StatusCode{"8.8.5", "4.10"} // the download order has expired
	TooManyDownloads       = StatusCode{"8.8.5", "6.4"}  // too many attempts to download; the order ends
	NoEligibleProfile      = StatusCode{"8.2.5", "4.3"}  // eUICC or device cannot carry the profile
	MemoryInsufficient     = StatusCode{"8.1", "4.8"}    // not enough memory in the eUICC
	RebindingRefused       = StatusCode{"8.2", "3.7"}    // a bound package cannot be bound again
	CodeMissing            = StatusCode{"8.2.7", "2.2"}  // confirmation code required, none came
	CodeRefused            = StatusCode{"8.2.7", "3.8"}  // confirmation code wrong
	CodeAttemptsExceeded   = StatusCode{"8.2.7", "6.4"}  // too many wrong confirmation codes
	OIDMismatch            = StatusCode{"8.8", "3.10"}   // smdpOid in a cancellation is not ours
)

// Status codes of ES11 and ES12.
var (
	DSAddressRefused         = StatusCode{"8.9.1", "3.8"}
	DSCIUnsupported          = StatusCode{"8.9.2", "3.1"}
	DSSVNUnsupported         = StatusCode{"8.9.3", "3.1"}
	DSCertificateUnavailable = StatusCode{"8.9.4", "3.7"}
	EventUnknown             = StatusCode{"8.9.5", "3.9"}
	EventExists              = StatusCode{"8.9.5", "3.3"}
)

// Status codes of ES2+.
var (
	ICCIDUnknown       = StatusCode{"8.2.1", "3.9"}
	ICCIDInUse         = StatusCode{"8.2.1", "3.3"}
	ICCIDForbidden     = StatusCode{"8.2.1", "1.2"} // the profile belongs to another operator
	ICCIDState         = StatusCode{"8.2.1", "3.5"} // the profile's state does not allow it
	ICCIDInvalid       = StatusCode{"8.2.1", "2.1"}
	TypeUnknown        = StatusCode{"8.2.5", "3.9"}
	TypeUnavailable    = StatusCode{"8.2.5", "3.7"} // no stock left of this type
	TypeForbidden      = StatusCode{"8.2.5", "1.2"}
	TypeRefused        = StatusCode{"8.2.5", "3.8"}
	EIDInvalid         = StatusCode{"8.1.1", "2.1"}
	EIDMissing         = StatusCode{"8.1.1", "2.2"}
	EIDDiffers         = StatusCode{"8.1.1", "3.10"}
	MatchingIDInvalid  = StatusCode{"8.2.6", "2.1"}
	MatchingIDInUse    = StatusCode{"8.2.6", "3.3"}
	MatchingIDDiffers  = StatusCode{"8.2.6", "3.10"}
	DSInaccessible     = StatusCode{"8.9", "5.1"}
	DSFailed           = StatusCode{"8.9", "4.2"}
	ExecutionFailed    = StatusCode{"8.10", "4.2"} // trouble of the server itself
	CallerUnknown      = StatusCode{"1.2", "3.9"}  // functionRequesterIdentifier unknown
	CallerForbidden    = StatusCode{"1.2", "1.2"}
	ParameterInvalid   = StatusCode{"1.6", "2.1"}
	ParameterMissing   = StatusCode{"1.6", "2.2"}
	FinalStatusInvalid = StatusCode{"8.2", "2.1"}
)

// Status codes in progress information that say why an installation failed.
// SGP.22 leaves the mapping to the parties; this is ours.
var (
	UserRejected    = StatusCode{"8.2", "3.8"}
	PPRRefused      = StatusCode{"8.2.8", "3.8"}
	MetadataDiffers = StatusCode{"8.2.9", "3.11"}
	PackageFailed   = StatusCode{"8.2.10", "4.2"}
	EUICCFailed     = StatusCode{"8.1", "4.2"}
)

// Values of functionExecutionStatus.
const (
	Success     = "Executed-Success"
	WithWarning = "Executed-WithWarning"
	Failed      = "Failed"
	Expired     = "Expired"
)

// A Failure is a function result other than success. As an error it travels
// from the rule that refuses to the door that answers, and from the answer to
// the client's caller.
type Failure struct {
	StatusCode
	SubjectID string // subjectIdentifier: what the subject is, when it helps
	Message   string // for people
	Status    string // [Failed] when empty
}

// Refuse returns a failure with a text for people.
func Refuse(code StatusCode, format string, args ...any) *Failure {
	return &Failure{StatusCode: code, Message: fmt.Sprintf(format, args...)}
}

func (f *Failure) Error() string {
	if f.Message == "" {
		return f.StatusCode.String()
	}
	return f.StatusCode.String() + " " + f.Message
}

// AsFailure returns the failure in err's chain, if there is one.
func AsFailure(err error) (*Failure, bool) { return errors.AsType[*Failure](err) }

// A RequestHeader comes with every request of ES2+, ES12 and ES15. Two requests
// of one requester with the same call identifier are one call and its retry.
type RequestHeader struct {
	Requester string `json:"functionRequesterIdentifier"`
	Call      string `json:"functionCallIdentifier"`
}

// A ResponseHeader comes with every answer of the JSON binding.
type ResponseHeader struct {
	Execution Execution `json:"functionExecutionStatus"`
}

// An Execution says how a function ended.
type Execution struct {
	Status string      `json:"status"`
	Code   *StatusData `json:"statusCodeData,omitempty"` // present exactly when Status is not [Success]
}

// StatusData is a status code with what may be said about it.
type StatusData struct {
	StatusCode
	SubjectID string `json:"subjectIdentifier,omitempty"`
	Message   string `json:"message,omitempty"`
}

// Succeeded is the header of an answer that went well.
var Succeeded = ResponseHeader{Execution{Status: Success}}

// Header returns the header that reports f.
func (f *Failure) Header() ResponseHeader {
	status := f.Status
	if status == "" {
		status = Failed
	}
	return ResponseHeader{Execution{status, &StatusData{f.StatusCode, f.SubjectID, f.Message}}}
}

// HeaderFor returns the header that reports err: success when it is nil. An
// error that is no [Failure] is the server's own trouble, whose text is not for
// peers.
func HeaderFor(err error) ResponseHeader {
	if err == nil {
		return Succeeded
	}
	f, ok := AsFailure(err)
	if !ok {
		f = &Failure{StatusCode: ExecutionFailed}
	}
	return f.Header()
}

// Err returns nil for success and a [*Failure] otherwise. A warning is success:
// the function was executed.
func (h ResponseHeader) Err() error {
	e := h.Execution
	if e.Status == Success || e.Status == WithWarning {
		return nil
	}
	f := &Failure{Status: e.Status}
	if e.Code != nil {
		f.StatusCode, f.SubjectID, f.Message = e.Code.StatusCode, e.Code.SubjectID, e.Code.Message
	}
	if e.Status == "" {
		f.Message = "answer without functionExecutionStatus"
	}
	return f
}
