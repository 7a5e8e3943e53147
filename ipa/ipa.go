// Package ipa is an IoT profile assistant: it asks an eIM for work, has the eUICC
// do it, downloads profiles, and brings back what became of it. SGP.32 v1.2, 3.
//
// It drives any eUICC behind an [lpa.Card]: one that speaks SGP.32 by [SGP32], one
// of SGP.22 by [Consumer]. It may be stopped, killed or lose its power at any
// moment: what the chip does not keep is in journals, and the next poll goes on
// from there. No package is executed twice, and no result is lost.
package ipa

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"godwit/explain"
	"godwit/iot"
	"godwit/lpa"
)

// A Step is a stage of the IPA's work.
type Step string

// Steps.
const (
	StepPoll     Step = "poll"     // asking for a package
	StepPackage  Step = "package"  // an eUICC package
	StepData     Step = "data"     // a request for data
	StepDownload Step = "download" // a profile; the steps of the LPA are in between
	StepResult   Step = "result"   // a result on its way to the eIM
	StepReach    Step = "reach"    // is the eIM there through the new profile?
	StepRollback Step = "rollback" // back to the old one
	StepEnable   Step = "immediate enable"
	StepFallback Step = "fallback"
	StepReturn   Step = "return from fallback"
	StepLocal    Step = "local change"
	StepConnect  Step = "connect" // to the eIM that the eUICC names now
)

// Progress tells that a step has ended.
type Progress struct {
	Step  Step
	Took  time.Duration
	Err   error  // nil when it went well
	About string // what the step was about, for people
}

// An IPA is one assistant with its chip and its eIM. Set the fields before use.
// Its methods can be called at once: they wait for one another, but for
// [IPA.Wake] and [IPA.SetInterval].
type IPA struct {
	Chip Chip
	// LPA downloads and delivers notifications, on Chip.LPA(). It needs its HTTP
	// client even when downloads go through the eIM only if notifications do not.
	LPA   *lpa.LPA
	ESipa *Client

	// Journal keeps what the chip does not: a download on its way, results of
	// downloads, a profile on trial. nil keeps it in memory: then a loss of power
	// can lose the result of a download.
	Journal Journal

	// Connect, if set, makes the client, when there is none and when the eUICC's
	// associations change: of the eIM with EimID, as long as it is there, else of
	// the first.
	Connect func(*iot.EimConfiguration) (*Client, error)
	// EimID is the eIM that ESipa leads to. Results of other eIMs are left alone.
	// Empty: there is one.
	EimID string

	// Indirect downloads through the eIM, which delivers the notifications too,
	// even when the activation code is known. Without it this happens only when
	// the eIM keeps the code to itself.
	Indirect bool
	// ConfirmationCode returns the code that an SM-DP+ asks for, or an empty one.
	ConfirmationCode func(context.Context, *lpa.Offer) (string, error)

	// Reach, if set, tries whether the network is there after a profile was
	// enabled with rollback, and may wait for the modem. What counts is then still
	// whether the eIM can be reached.
	Reach func(context.Context) error
	// ReachFor is how long that is tried before the IPA goes back to the old
	// profile; 0 is [DefaultReachFor].
	ReachFor time.Duration

	// FallbackAfter is how long the eIM may be out of reach before the fallback
	// profile is enabled, while Run runs. 0 is never.
	FallbackAfter time.Duration

	// Pauses between polls, see [IPA.Run]; 0 is the default.
	Interval, Backoff, MaxBackoff time.Duration

	// RPLMN, if set, returns the last registered network as 3GPP TS 24.008 codes
	// it, 3 octets, or nil.
	RPLMN func() []byte

	// Progress, if set, is called at the end of every step.
	Progress func(Progress)
	// Log, if set, hears what happens.
	Log *slog.Logger

	busy  sync.Mutex // held by whoever works with the chip
	state *state     // of the journal, nil until it was read
	stale bool       // the journal knows better than state
	held  map[int64]time.Time
	last  []byte // what the eIM handed out last
	again bool   // and it was that before

	notifyFailures int
	notifyAfter    time.Time

	mu          sync.Mutex
	woken       chan struct{}
	newInterval time.Duration
	contact     time.Time // the last one
}

// state is what the journal keeps.
type state struct {
	Changed   bool   // the eIM is to hear that profiles changed
	Cause     *int64 // and why
	Trial     bool   // a package with an enable with rollback is in the chip or beyond
	Reconnect bool   // the associations may have changed
	Download  *download
	Outcomes  []outcome // results of downloads, oldest first
}

// open reads the journal when it was not read or left doubt.
func (p *IPA) open() error {
	if p.state != nil && !p.stale && p.ESipa != nil {
		return nil
	}
	if err := p.check(); err != nil {
		return err
	}
	if p.Journal == nil {
		p.Journal = &MemoryJournal{}
	}
	s := &state{}
	if err := load(p.Journal, s); err != nil {
		return err
	}
	p.state, p.stale = s, false
	if p.ESipa == nil {
		return p.reconnect()
	}
	return nil
}

// save keeps the state. After an error nothing more is done, and the journal is
// read again: what it holds is what counts.
func (p *IPA) save() error {
	err := save(p.Journal, p.state)
	p.stale = err != nil
	return err
}

// step runs one stage and reports it.
func (p *IPA) step(s Step, about string, run func() error) error {
	start := time.Now()
	err := run()
	took := time.Since(start)
	if p.Progress != nil {
		p.Progress(Progress{Step: s, Took: took, Err: err, About: about})
	}
	level := slog.LevelInfo
	if s == StepPoll {
		level = slog.LevelDebug
	}
	if err != nil {
		level = slog.LevelWarn
	}
	p.log().Log(context.Background(), level, "step", "step", string(s), "about", about, "took", took, "err", err)
	return err
}

// Explain returns what is known about the code at the root of err: cause, who must
// act, next step.
func Explain(err error) (explain.Entry, bool) {
	if e, ok := errors.AsType[*ESipaError](err); ok {
		return explain.ESipa(e.Function, int(e.Code))
	}
	return lpa.Explain(err)
}
