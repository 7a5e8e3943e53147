package smdp

import (
	"fmt"
	"slices"
	"strings"
)

// State is where a profile stands at the SM-DP+. SGP.22 v2.5, 3.1.6.
type State string

// The states. A profile is stock, then an order, then what became of it.
const (
	Available   State = "available"   // in stock
	Allocated   State = "allocated"   // ordered, for no eUICC in particular
	Linked      State = "linked"      // ordered for one eUICC
	Confirmed   State = "confirmed"   // has its matching ID; not to be delivered yet
	Released    State = "released"    // may be downloaded
	Downloaded  State = "downloaded"  // bound and handed to one eUICC
	Installed   State = "installed"   // the eUICC has signed that it is there
	Failed      State = "error"       // ended without being installed
	Unavailable State = "unavailable" // taken out of stock for good
)

// States lists every state in the order of a profile's life.
var States = []State{Available, Allocated, Linked, Confirmed, Released, Downloaded, Installed, Failed, Unavailable}

// Event is what moves a profile from one state to another.
type Event string

// The events.
const (
	Order         Event = "order"          // ES2+.DownloadOrder without an EID
	OrderLinked   Event = "order-linked"   // ES2+.DownloadOrder with an EID
	Confirm       Event = "confirm"        // ES2+.ConfirmOrder, releaseFlag false
	ConfirmFree   Event = "confirm-free"   // ES2+.ConfirmOrder, releaseFlag true
	Release       Event = "release"        // ES2+.ReleaseProfile
	Deliver       Event = "deliver"        // the bound package is handed out
	InstallDone   Event = "install-done"   // the eUICC reports success
	InstallFailed Event = "install-failed" // the eUICC reports an error
	InstallRetry  Event = "install-retry"  // the eUICC reports an error, and may try again
	Fail          Event = "fail"           // not eligible, attempts used up, cancelled for good
	Postpone      Event = "postpone"       // cancelled for now: reasons 1 and 2
	CancelReturn  Event = "cancel-return"  // ES2+.CancelOrder, back into stock
	CancelRetire  Event = "cancel-retire"  // ES2+.CancelOrder, out of stock for good
)

// A move is one line of the state machine.
type move struct {
	From []State
	To   State
}

// moves is the whole state machine: the code, the documents and the
// property tests read it from here. SGP.22 v2.5, 3.1.6.
//
// A profile in Error may be cancelled: the operator alone knows whether it was
// consumed, and otherwise its number would be lost. One that was downloaded may
// not, because the eUICC may still install it.
var moves = map[Event]move{
	Order:         {[]State{Available}, Allocated},
	OrderLinked:   {[]State{Available}, Linked},
	Confirm:       {[]State{Allocated, Linked}, Confirmed},
	ConfirmFree:   {[]State{Allocated, Linked}, Released},
	Release:       {[]State{Confirmed}, Released},
	Deliver:       {[]State{Released, Downloaded}, Downloaded},
	InstallDone:   {[]State{Downloaded}, Installed},
	InstallFailed: {[]State{Downloaded}, Failed},
	InstallRetry:  {[]State{Downloaded}, Released},
	Fail:          {[]State{Released, Downloaded}, Failed},
	Postpone:      {[]State{Released, Downloaded}, Released},
	CancelReturn:  {[]State{Allocated, Linked, Confirmed, Released, Failed}, Available},
	CancelRetire:  {[]State{Allocated, Linked, Confirmed, Released, Failed}, Unavailable},
}

// After returns the state that follows s when e happens, or false when e cannot
// happen to a profile in s.
func (s State) After(e Event) (State, bool) {
	m, ok := moves[e]
	if !ok || !slices.Contains(m.From, s) {
		return "", false
	}
	return m.To, true
}

// fromList renders the states that e may start from as an SQL list, so that a
// guarded update and the table above cannot differ.
func fromList(e Event) string {
	quoted := make([]string, len(moves[e].From))
	for i, s := range moves[e].From {
		quoted[i] = "'" + string(s) + "'"
	}
	return strings.Join(quoted, ", ")
}

// guarded returns an update of one profile that happens only where e may
// happen: $1 is the new state, $2 the time, $3 the ICCID. Further settings and
// conditions use the parameters from $4.
func guarded(e Event, set, where string) string {
	if set != "" {
		set = ", " + set
	}
	if where != "" {
		where = " and " + where
	}
	return fmt.Sprintf(`update profile set state = $1, updated_at = $2%s where iccid = $3 and state in (%s)%s`,
		set, fromList(e), where)
}
