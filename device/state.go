package device

import "slices"

// An Action is what is done to one profile.
type Action string

// The actions.
const (
	Download Action = "download"
	Enable   Action = "enable"
	Disable  Action = "disable"
	Delete   Action = "delete"
)

// Actions lists the actions.
var Actions = []Action{Download, Enable, Disable, Delete}

// TxStatus is where a transaction stands. The zero value is no status.
type TxStatus string

// The life of a transaction: one action on one eSIM.
const (
	TxInProgress TxStatus = "in_progress"
	TxComplete   TxStatus = "complete"
	TxFailed     TxStatus = "failed"
	TxUnknown    TxStatus = "unknown" // nobody can say; a later answer may settle it
)

// TxStatuses lists the statuses of a transaction.
var TxStatuses = []TxStatus{TxInProgress, TxComplete, TxFailed, TxUnknown}

var txMoves = map[TxStatus][]TxStatus{
	TxInProgress: {TxComplete, TxFailed, TxUnknown},
	TxUnknown:    {TxComplete, TxFailed},
	TxComplete:   nil,
	TxFailed:     nil,
}

// CanBecome reports whether a transaction in s may go on to t.
func (s TxStatus) CanBecome(t TxStatus) bool { return slices.Contains(txMoves[s], t) }

// Final reports whether nothing follows s.
func (s TxStatus) Final() bool { return s == TxComplete || s == TxFailed }

// A Work is what a multistep operation is to bring about.
type Work string

// The works.
const (
	WorkActivate Work = "activate" // download if needed, then enable
	WorkDownload Work = "download"
	WorkEnable   Work = "enable"
)

// Works lists the works.
var Works = []Work{WorkActivate, WorkDownload, WorkEnable}

// OpStatus is where an operation stands. The zero value is no status.
type OpStatus string

// The life of an operation. The verify states are left when the device itself
// has reported, or when time is up.
const (
	OpStarting       OpStatus = "starting"
	OpDownload       OpStatus = "download"
	OpDownloadVerify OpStatus = "download_verify"
	OpEnable         OpStatus = "enable"
	OpEnableVerify   OpStatus = "enable_verify"
	OpFailed         OpStatus = "failed"
	OpSuccessful     OpStatus = "successful"
)

// OpStatuses lists the statuses in the order of a life.
var OpStatuses = []OpStatus{OpStarting, OpDownload, OpDownloadVerify, OpEnable, OpEnableVerify, OpFailed, OpSuccessful}

// opMoves has the steps of each work. A profile that is on the eSIM already is
// not downloaded, one that is active is not enabled.
var opMoves = map[Work]map[OpStatus][]OpStatus{
	WorkActivate: {
		OpStarting:       {OpDownload, OpEnable, OpSuccessful, OpFailed},
		OpDownload:       {OpDownloadVerify, OpFailed},
		OpDownloadVerify: {OpEnable, OpSuccessful, OpFailed},
		OpEnable:         {OpEnableVerify, OpFailed},
		OpEnableVerify:   {OpSuccessful, OpFailed},
	},
	WorkDownload: {
		OpStarting:       {OpDownload, OpSuccessful, OpFailed},
		OpDownload:       {OpDownloadVerify, OpFailed},
		OpDownloadVerify: {OpSuccessful, OpFailed},
	},
	WorkEnable: {
		OpStarting:     {OpEnable, OpSuccessful, OpFailed},
		OpEnable:       {OpEnableVerify, OpFailed},
		OpEnableVerify: {OpSuccessful, OpFailed},
	},
}

// CanBecome reports whether an operation of work w in s may go on to t.
func (s OpStatus) CanBecome(w Work, t OpStatus) bool { return slices.Contains(opMoves[w][s], t) }

// Final reports whether nothing follows s.
func (s OpStatus) Final() bool { return s == OpFailed || s == OpSuccessful }

// CodeStatus is where an activation code stands. The zero value is no status.
type CodeStatus string

// The life of an activation code.
const (
	CodeAvailable  CodeStatus = "available"
	CodeReserved   CodeStatus = "reserved"   // a download has it
	CodeDownloaded CodeStatus = "downloaded" // its profile is on an eSIM
	CodeSpent      CodeStatus = "spent"      // a download with it reached the profile server and failed, or nobody knows
)

// CodeStatuses lists the statuses in the order of a life.
var CodeStatuses = []CodeStatus{CodeAvailable, CodeReserved, CodeDownloaded, CodeSpent}

// codeMoves: a reserved code is free again only if its download never reached
// the profile server. An available one is downloaded when a device reports a
// profile that came by another secret or without this server. A spent one may
// turn out to be downloaded, and is available again when its owner registers a
// new secret.
var codeMoves = map[CodeStatus][]CodeStatus{
	CodeAvailable:  {CodeReserved, CodeDownloaded},
	CodeReserved:   {CodeAvailable, CodeDownloaded, CodeSpent},
	CodeSpent:      {CodeDownloaded, CodeAvailable},
	CodeDownloaded: nil,
}

// CanBecome reports whether a code in s may go on to t.
func (s CodeStatus) CanBecome(t CodeStatus) bool { return slices.Contains(codeMoves[s], t) }

// RolloutStatus is where a rollout stands. The zero value is no status.
type RolloutStatus string

// The life of a rollout.
const (
	RolloutGathering RolloutStatus = "gathering" // the devices of its query are being written down
	RolloutRunning   RolloutStatus = "running"
	RolloutStopped   RolloutStatus = "stopped" // too many have failed; it may be continued
	RolloutCancelled RolloutStatus = "cancelled"
	RolloutComplete  RolloutStatus = "complete"
)

// RolloutStatuses lists the statuses in the order of a life.
var RolloutStatuses = []RolloutStatus{RolloutGathering, RolloutRunning, RolloutStopped, RolloutCancelled, RolloutComplete}

var rolloutMoves = map[RolloutStatus][]RolloutStatus{
	RolloutGathering: {RolloutRunning, RolloutComplete, RolloutCancelled},
	RolloutRunning:   {RolloutStopped, RolloutComplete, RolloutCancelled},
	RolloutStopped:   {RolloutRunning, RolloutCancelled},
	RolloutCancelled: nil,
	RolloutComplete:  nil,
}

// CanBecome reports whether a rollout in s may go on to t.
func (s RolloutStatus) CanBecome(t RolloutStatus) bool { return slices.Contains(rolloutMoves[s], t) }

// Final reports whether nothing follows s.
func (s RolloutStatus) Final() bool { return s == RolloutCancelled || s == RolloutComplete }

// A Cause says what made an operation begin.
type Cause string

// The causes.
const (
	CauseRequest    Cause = "request"
	CauseAutomation Cause = "automation"
	CauseTemplate   Cause = "template"
)

// Causes lists the causes.
var Causes = []Cause{CauseRequest, CauseAutomation, CauseTemplate}
