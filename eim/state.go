package eim

import (
	"fmt"
	"strings"
)

// Stage is where a task stands.
type Stage string

// The stages. The last five are ends.
const (
	Queued    Stage = "queued"    // waits for the next poll
	Sent      Stage = "sent"      // the IPA has it
	Done      Stage = "done"      // reported as done
	Failed    Stage = "failed"    // reported as not done
	Expired   Stage = "expired"   // never fetched in its time
	Cancelled Stage = "cancelled" // taken back before it was fetched
	Lost      Stage = "lost"      // fetched, and nobody knows what became of it
)

// Stages lists every stage in the order of a task's life.
var Stages = []Stage{Queued, Sent, Done, Failed, Expired, Cancelled, Lost}

// An action is what moves a task from one stage to another.
type action string

// The actions.
const (
	send    action = "send"    // its package goes out
	succeed action = "succeed" // a believed answer says so
	fail    action = "fail"    // a believed answer says so, or it can never be sent
	expire  action = "expire"  // its time is over and nobody has fetched it
	cancel  action = "cancel"  // it is taken back
	lose    action = "lose"    // its time is over, or its result is gone
	again   action = "again"   // the eUICC refused the package unread: it is made anew
)

type move struct {
	From []Stage
	To   Stage
}

// moves is the whole state machine.
//
// A task that was sent cannot be taken back: the signed package is out and the
// eUICC may execute it at any time until it has seen a greater counter.
var moves = map[action]move{
	send:    {[]Stage{Queued}, Sent},
	succeed: {[]Stage{Sent}, Done},
	fail:    {[]Stage{Queued, Sent}, Failed},
	expire:  {[]Stage{Queued}, Expired},
	cancel:  {[]Stage{Queued}, Cancelled},
	lose:    {[]Stage{Sent}, Lost},
	again:   {[]Stage{Sent}, Queued},
}

// ended reports whether nothing follows.
func (s Stage) ended() bool { return s != Queued && s != Sent }

// guarded returns an update of one task that happens only where a may happen:
// $1 is the new stage, $2 the id. Further settings use the parameters from $3.
func guarded(a action, set string) string {
	m := moves[a]
	quoted := make([]string, len(m.From))
	for i, s := range m.From {
		quoted[i] = "'" + string(s) + "'"
	}
	if set != "" {
		set = ", " + set
	}
	return fmt.Sprintf(`update eim_task set stage = $1%s where id = $2 and stage in (%s)`, set, strings.Join(quoted, ", "))
}
