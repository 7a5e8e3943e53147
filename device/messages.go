package device

import "godwit/db"

// The message codes of transactions and operations.
const (
	CodeQueued               = "queued"
	CodeSent                 = "sent"
	CodeDownloading          = "downloading"
	CodeComplete             = "complete"
	CodeDeviceOffline        = "device_offline"
	CodeDeviceTimeout        = "device_timeout"
	CodeUnreachable          = "smdp_unreachable"
	CodeSMDPRefused          = "smdp_refused"
	CodeInvalid              = "code_invalid"
	CodeUsed                 = "code_used"
	CodeConfirmationRequired = "confirmation_required"
	CodeNoMemory             = "no_memory"
	CodeProfileMissing       = "profile_missing"
	CodeProfileActive        = "profile_active"
	CodePolicy               = "policy"
	CodeAlreadyDone          = "already_done"
	CodeRolledBack           = "rolled_back"
	CodeRefused              = "refused"
	CodeICCIDMismatch        = "iccid_mismatch"
	CodeCancelled            = "cancelled"
	CodeLost                 = "lost"
	CodeInternal             = "internal"           // eSIMs of rollouts only
	CodeNoActivationCode     = "no_activation_code" // operations only
	CodeStarting             = "starting"           // operations only
	CodeVerifying            = "verifying"          // operations only
)

// A Message is what a code means.
type Message struct {
	Text string
	// Unreached says that a download which fails for this reason has not
	// reached the profile server, so that its activation code may be used again.
	Unreached bool
	// Passing says that another attempt may succeed without anybody's doing.
	Passing bool
}

// Messages explains the codes. A message of the device or the profile server
// takes the place of the text.
var Messages = map[string]Message{
	CodeQueued:               {Text: "Waiting for the device", Unreached: true},
	CodeSent:                 {Text: "The device has the request"},
	CodeDownloading:          {Text: "The device is downloading the profile"},
	CodeComplete:             {Text: "The eSIM confirms"},
	CodeDeviceOffline:        {Text: "The device cannot be reached", Unreached: true, Passing: true},
	CodeDeviceTimeout:        {Text: "The device has not answered in time", Passing: true},
	CodeUnreachable:          {Text: "The device cannot reach the profile server (SM-DP+)", Unreached: true, Passing: true},
	CodeSMDPRefused:          {Text: "The profile server (SM-DP+) refuses"},
	CodeInvalid:              {Text: "The profile server (SM-DP+) does not know the activation code"},
	CodeUsed:                 {Text: "The activation code has been used"},
	CodeConfirmationRequired: {Text: "The profile needs a confirmation code: give it with the activation code"},
	CodeNoMemory:             {Text: "The eSIM has no room for the profile"},
	CodeProfileMissing:       {Text: "The profile is not on the eSIM", Unreached: true},
	CodeProfileActive:        {Text: "The profile is active", Unreached: true},
	CodePolicy:               {Text: "The profile's rules do not allow it"},
	CodeAlreadyDone:          {Text: "It was so already"},
	CodeRolledBack:           {Text: "The new profile could not reach the eIM; the device has returned to the one before", Passing: true},
	CodeRefused:              {Text: "The eSIM refuses", Unreached: true},
	CodeICCIDMismatch:        {Text: "The profile that was downloaded is another one"},
	CodeCancelled:            {Text: "Cancelled before the device had it", Unreached: true},
	CodeLost:                 {Text: "Nobody can say what became of it", Passing: true},
	CodeInternal:             {Text: "This server could not do its part: its log says why"},
	CodeNoActivationCode:     {Text: "No activation code is available for this carrier or profile"},
	CodeStarting:             {Text: "Looking for a profile or an activation code"},
	CodeVerifying:            {Text: "Waiting for the device's report"},
}

// text returns what is said to a code: the message that came with it, if one
// did.
func text(code, message string) string {
	if message != "" {
		return db.Text(message, maxNotes)
	}
	return Messages[code].Text
}

// unreached reports whether a download that ended with this code never reached
// the profile server. last is the code that it had before; untouched says that
// the eIM still had the request, though perhaps not for the first time.
func unreached(code, last string, untouched bool) bool {
	return Messages[code].Unreached && code != CodeCancelled || untouched && last == CodeQueued
}
