package rsp

import (
	"time"

	"godwit/ident"
)

// ES2+ is what an operator asks of an SM-DP+. SGP.22 v2.5, 5.3. The types below
// are the JSON binding and the Go functions alike: in the process they are
// passed as they are, one for each profile.

// DownloadOrder takes a profile out of stock. ICCID or Type must be given.
type DownloadOrder struct {
	Header RequestHeader `json:"header"`
	EID    ident.EID     `json:"eid,omitempty"`
	ICCID  ident.ICCID   `json:"iccid,omitempty"`
	Type   string        `json:"profileType,omitempty"`
}

// DownloadOrderResult names the profile that was taken.
type DownloadOrderResult struct {
	Header ResponseHeader `json:"header"`
	ICCID  ident.ICCID    `json:"iccid,omitempty"`
}

// ConfirmOrder says how the profile will be asked for.
type ConfirmOrder struct {
	Header           RequestHeader     `json:"header"`
	ICCID            ident.ICCID       `json:"iccid"`
	EID              ident.EID         `json:"eid,omitempty"`
	MatchingID       *ident.MatchingID `json:"matchingId,omitempty"` // nil: the SM-DP+ makes one; empty: none, the EID finds the profile
	ConfirmationCode string            `json:"confirmationCode,omitempty"`
	SMDSAddress      string            `json:"smdsAddress,omitempty"`
	Release          bool              `json:"releaseFlag"`
}

// ConfirmOrderResult holds what the activation code is made of.
type ConfirmOrderResult struct {
	Header      ResponseHeader   `json:"header"`
	EID         ident.EID        `json:"eid,omitempty"`
	MatchingID  ident.MatchingID `json:"matchingId"`
	SMDPAddress string           `json:"smdpAddress,omitempty"`
}

// Final states of a cancelled order's profile.
const (
	FinalAvailable   = "Available"   // back into stock
	FinalUnavailable = "Unavailable" // out of stock for good
)

// CancelOrder ends an order that has not been installed.
type CancelOrder struct {
	Header     RequestHeader     `json:"header"`
	ICCID      ident.ICCID       `json:"iccid"`
	EID        ident.EID         `json:"eid,omitempty"`
	MatchingID *ident.MatchingID `json:"matchingId,omitempty"`
	Final      string            `json:"finalProfileStatusIndicator"`
}

// CancelOrderResult says whether the order was cancelled.
type CancelOrderResult struct {
	Header ResponseHeader `json:"header"`
}

// ReleaseProfile allows the download of a confirmed profile.
type ReleaseProfile struct {
	Header RequestHeader `json:"header"`
	ICCID  ident.ICCID   `json:"iccid"`
}

// ReleaseProfileResult says whether the profile was released.
type ReleaseProfileResult struct {
	Header ResponseHeader `json:"header"`
}

// A NotificationPoint is where in a download the SM-DP+ reports.
type NotificationPoint int

// The points of SGP.22 v2.5, 5.3.5, and those in use for what an eUICC reports
// later.
const (
	PointEligibility  NotificationPoint = 1 // eligibility and attempt limit check
	PointConfirmation NotificationPoint = 2 // confirmation code failed
	PointDownload     NotificationPoint = 3 // bound profile package delivered
	PointInstallation NotificationPoint = 4 // installation succeeded or failed
	PointDeleted      NotificationPoint = 5
	PointEnabled      NotificationPoint = 101
	PointDisabled     NotificationPoint = 102
)

// ProgressInfo is HandleDownloadProgressInfo: what the SM-DP+ tells the
// operator about one profile.
type ProgressInfo struct {
	Header     RequestHeader     `json:"header"`
	EID        ident.EID         `json:"eid,omitempty"`
	ICCID      ident.ICCID       `json:"iccid"`
	Type       string            `json:"profileType"`
	Timestamp  Timestamp         `json:"timestamp"`
	Point      NotificationPoint `json:"notificationPointId"`
	Status     Execution         `json:"notificationPointStatus"`
	ResultData []byte            `json:"resultData,omitempty"` // the profile installation result, as the eUICC signed it
}

// A Timestamp is a time in UTC to the second: 2026-11-20T10:00:00Z.
type Timestamp struct{ time.Time }

// MarshalText writes the form of SGP.22.
func (t Timestamp) MarshalText() ([]byte, error) {
	return []byte(t.UTC().Format("2006-01-02T15:04:05Z")), nil
}

// MarshalJSON keeps the embedded time from writing its own form.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05Z"`)), nil
}

// Function names, as they stand in the paths of the JSON binding.
const (
	FnDownloadOrder  = "downloadOrder"
	FnConfirmOrder   = "confirmOrder"
	FnCancelOrder    = "cancelOrder"
	FnReleaseProfile = "releaseProfile"
	FnProgressInfo   = "handleDownloadProgressInfo"
)
