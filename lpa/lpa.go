// Package lpa is a local profile assistant: it downloads profiles into an eUICC
// from an SM-DP+, manages them, and delivers the eUICC's notifications. SGP.22
// v2.5, 3 and 5.
//
// It drives any eUICC behind a [Card]: the software one, a reader, a modem. It
// keeps no state: profiles and notifications are in the chip, and what was
// interrupted goes on from there.
package lpa

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"godwit/explain"
	"godwit/rsp"
)

// A Card carries APDUs to an eUICC.
type Card interface {
	// Transmit sends one command APDU and returns the response with its two
	// status octets. The error is of the way to the card; what the card itself
	// refuses is in the status.
	Transmit(apdu []byte) ([]byte, error)
}

// A Step is a stage of a procedure, in the words of SGP.22.
type Step string

// Steps, in their order.
const (
	StepOpen                   Step = "open"
	StepInitiateAuthentication Step = "initiateAuthentication"
	StepAuthenticateServer     Step = "authenticateServer"
	StepAuthenticateClient     Step = "authenticateClient"
	StepConsent                Step = "consent"
	StepPrepareDownload        Step = "prepareDownload"
	StepGetPackage             Step = "getBoundProfilePackage"
	StepLoad                   Step = "loadBoundProfilePackage"
	StepNotify                 Step = "handleNotification"
	StepCancel                 Step = "cancelSession"
	StepManage                 Step = "manageProfile"
)

// Progress tells that a step has ended.
type Progress struct {
	Step  Step
	Took  time.Duration
	Err   error  // nil when it went well
	About string // what the step was about, for people
}

// An LPA is one assistant with its chip. Set the fields before use; an LPA does
// one thing at a time.
type LPA struct {
	Chip *Chip

	// HTTP carries the requests to servers. [NewHTTPClient] makes one that
	// verifies certificates as an LPA must; many assistants can share it.
	HTTP *http.Client

	// ASN1 uses the ASN.1 binding in place of JSON.
	ASN1 bool

	// Device is what servers are told of the device. Its zero value stands for
	// one with GSM, UTRAN, LTE and 5G.
	Device rsp.DeviceInfo

	// AnyCI accepts TLS certificates of CIs that the chip does not list, for
	// laboratories whose TLS ends in a proxy. The roots of the HTTP client
	// decide alone then.
	AnyCI bool

	// Deliver, if set, takes notifications in place of their servers, for an
	// assistant whose eIM passes them on. It returns when the receiver has it.
	Deliver func(context.Context, *rsp.PendingNotification) error

	// Progress, if set, is called at the end of every step.
	Progress func(Progress)
}

// step runs one stage and reports it. Its error says where it happened.
func (l *LPA) step(s Step, about string, run func() error) error {
	start := time.Now()
	err := run()
	if l.Progress != nil {
		l.Progress(Progress{Step: s, Took: time.Since(start), Err: err, About: about})
	}
	if err == nil {
		return nil
	}
	return &Error{Step: s, Err: err}
}

// An Error says at which step a procedure ended. Below it is a [*rsp.Failure] of
// the server, a [*ChipError] or [*InstallError] of the eUICC, a [*CheckError] of
// the LPA itself, or an error of the network or the card.
type Error struct {
	Step Step
	Err  error

	// Cancelled is the reason that was given to both sides, when the LPA gave
	// the download up.
	Cancelled *rsp.CancelReason
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Err) }

// Unwrap returns the error of the step.
func (e *Error) Unwrap() error { return e.Err }

// Explain returns what is known about the code at the root of err: cause, who
// must act, next step. Errors of network and card have none.
func Explain(err error) (explain.Entry, bool) {
	if f, ok := rsp.AsFailure(err); ok {
		return explain.Status(f.Subject, f.Reason)
	}
	if e, ok := errors.AsType[*ChipError](err); ok {
		return explain.ES10(e.Function, int(e.Code))
	}
	if e, ok := errors.AsType[*InstallError](err); ok {
		return explain.InstallError(int(e.Command), int(e.Reason))
	}
	if sw, ok := errors.AsType[StatusWord](err); ok {
		return explain.StatusWord(uint16(sw))
	}
	return explain.Entry{}, false
}

// A ChipError is a refusal of the eUICC: the number that a function answered
// with.
type ChipError struct {
	Function string // as SGP.22 calls it
	Code     int64
}

func (e *ChipError) Error() string {
	if entry, ok := explain.ES10(e.Function, int(e.Code)); ok {
		return fmt.Sprintf("the eUICC refused %s: %s (%d)", e.Function, entry.Title, e.Code)
	}
	return fmt.Sprintf("the eUICC refused %s with error %d", e.Function, e.Code)
}

// An InstallError is an installation that the eUICC ended: its word is signed
// and goes to the server.
type InstallError struct {
	Command      rsp.BPPCommand
	Reason       rsp.InstallError
	SIMAResponse []byte // says which profile element, if one is to blame
}

func (e *InstallError) Error() string {
	title := "unknown reason"
	if entry, ok := explain.InstallError(-1, int(e.Reason)); ok {
		title = entry.Title
	}
	command, _ := explain.BPPCommand(int(e.Command))
	return fmt.Sprintf("the eUICC did not install the profile: %s (reason %d at command %d %s)", title, e.Reason, e.Command, command)
}

// A CheckError is what the LPA itself found wrong with a server or an answer.
type CheckError struct{ What string }

func (e *CheckError) Error() string { return e.What }

func mismatch(format string, args ...any) error { return &CheckError{fmt.Sprintf(format, args...)} }

// DeviceInfo returns what servers are told of the device.
func (l *LPA) DeviceInfo() rsp.DeviceInfo {
	if l.Device.TAC != [4]byte{} || len(l.Device.IMEI) > 0 {
		return l.Device
	}
	d := rsp.DeviceInfo{TAC: [4]byte{0x35, 0x29, 0x06, 0x11}}
	for t, release := range map[rsp.Technology]byte{
		rsp.GSM: 15, rsp.UTRAN: 15, rsp.EUTRANEPC: 15, rsp.NREPC: 15, rsp.NR5GC: 15, rsp.EUTRAN5GC: 15,
	} {
		d.Releases[t] = rsp.Version{release, 0, 0}
	}
	return d
}

// linger returns a context for what has to be said even after the caller gave
// up: the other side keeps a run open until it hears of its end.
func linger(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}
