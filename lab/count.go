package lab

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// counts is what a lab counts.
type counts struct {
	enrolled, polls, failedPolls, requests atomic.Int64
	packages, failedPackages, rollbacks    atomic.Int64
	downloads, failedDownloads             atomic.Int64

	mu     sync.Mutex
	faults map[Kind]int64
	errs   map[string]int64
}

// maxErrors bounds the kinds of errors that are told apart.
const maxErrors = 50

// struck counts a fault.
func (l *Lab) struck(k Kind) {
	l.count.mu.Lock()
	defer l.count.mu.Unlock()
	if l.count.faults == nil {
		l.count.faults = map[Kind]int64{}
	}
	l.count.faults[k]++
}

// failed counts a session that ended with an error. Those that the lab made
// itself are counted as faults already.
func (l *Lab) failed(err error) {
	for _, own := range []error{errNoNetwork, errLostRequest, errLostAnswer, errPower, errCrashed} {
		if errors.Is(err, own) {
			return
		}
	}
	text := plain(err.Error())
	l.count.mu.Lock()
	defer l.count.mu.Unlock()
	if l.count.errs == nil {
		l.count.errs = map[string]int64{}
	}
	if _, known := l.count.errs[text]; !known && len(l.count.errs) >= maxErrors {
		text = "others"
	}
	l.count.errs[text]++
}

// plain takes long numbers out of an error, so that equal ones are equal.
func plain(text string) string {
	var out strings.Builder
	run := 0
	for _, r := range text {
		if r >= '0' && r <= '9' {
			if run++; run == 5 {
				out.WriteString("…")
			}
			if run >= 5 {
				continue
			}
		} else {
			run = 0
		}
		out.WriteRune(r)
	}
	return out.String()
}

// A Summary is what a lab has come to.
type Summary struct {
	Devices  int           `json:"devices"`
	Seed     uint64        `json:"seed"`
	Seconds  float64       `json:"seconds"`
	States   map[State]int `json:"states"`
	Enrolled int64         `json:"enrolled"` // in this run
	Requests int64         `json:"requests"`
	Polls    int64         `json:"polls"`
	PollRate float64       `json:"polls_per_second"`
	PollErrs int64         `json:"failed_polls"`

	Packages        int64 `json:"packages"`
	FailedPackages  int64 `json:"failed_packages"`
	Downloads       int64 `json:"downloads"`
	FailedDownloads int64 `json:"failed_downloads"`
	Rollbacks       int64 `json:"rollbacks"`

	Faults map[Kind]int64   `json:"faults"`
	Errors map[string]int64 `json:"errors"`    // that no fault explains
	Memory float64          `json:"memory_mb"` // of the process, from the system
}

// Summary returns what has happened so far.
func (l *Lab) Summary() Summary {
	c := &l.count
	s := Summary{
		Devices: len(l.devices), Seed: l.Seed, States: map[State]int{}, Enrolled: c.enrolled.Load(), Requests: c.requests.Load(),
		Polls: c.polls.Load(), PollErrs: c.failedPolls.Load(), Packages: c.packages.Load(), FailedPackages: c.failedPackages.Load(),
		Downloads: c.downloads.Load(), FailedDownloads: c.failedDownloads.Load(), Rollbacks: c.rollbacks.Load(),
		Faults: map[Kind]int64{}, Errors: map[string]int64{},
	}
	if !l.began.IsZero() {
		s.Seconds = time.Since(l.began).Seconds()
		s.PollRate = float64(s.Polls) / max(s.Seconds, 0.001)
	}
	for _, d := range l.devices {
		s.States[d.State()]++
	}
	c.mu.Lock()
	for k, n := range c.faults {
		s.Faults[k] = n
	}
	for k, n := range c.errs {
		s.Errors[k] = n
	}
	c.mu.Unlock()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Memory = float64(m.Sys-m.HeapReleased) / 1e6
	return s
}

// Line is the summary in one line, for people who watch.
func (s Summary) Line(rate float64) string {
	var states []string
	for _, st := range []State{Off, Waking, Enrolling, Polling, Sleeping, Away, Down} {
		if n := s.States[st]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, st))
		}
	}
	faults := int64(0)
	for _, n := range s.Faults {
		faults += n
	}
	return fmt.Sprintf("%s · %.0f polls/s · %d packages (%d failed) · %d downloads (%d failed) · %d rollbacks · %d faults",
		strings.Join(states, ", "), rate, s.Packages+s.FailedPackages, s.FailedPackages, s.Downloads+s.FailedDownloads, s.FailedDownloads, s.Rollbacks, faults)
}
