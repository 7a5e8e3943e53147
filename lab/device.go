package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"godwit/euicc"
	"godwit/ident"
	"godwit/ipa"
	"godwit/lpa"
)

// A State is what a device is doing.
type State string

// States.
const (
	Off       State = "off"       // it has not been switched on yet
	Waking    State = "waking"    // it waits for its turn
	Enrolling State = "enrolling" // it introduces itself to the server
	Polling   State = "polling"
	Sleeping  State = "sleeping" // until the next poll
	Away      State = "away"     // out of coverage
	Down      State = "down"     // without power, or its agent is starting again
)

// A Device is one virtual device: an eUICC, an agent and a life.
type Device struct {
	lab  *Lab
	plan *Plan
	dir  string // "" in memory

	state atomic.Value // State
	power power

	busy sync.Mutex // held while it does something
	// What it has in memory, where there is no directory.
	card     *euicc.Card
	journals map[string]*ipa.MemoryJournal

	// What is gone with the power.
	way  *poweredCard
	ipa  *ipa.IPA
	chip *watchedChip

	agent    *agent // nil until it has enrolled
	place    place
	truth    truth
	failures int
	retry    time.Duration // what the server asked for

	// Numbers of occasions.
	sessions, requests, notifications, packages uint64

	timer *time.Timer
}

// session wakes the agent, has it do what there is to do, and returns when it
// wants to be woken again.
func (d *Device) session(ctx context.Context) time.Duration {
	d.busy.Lock()
	defer d.busy.Unlock()
	d.sessions++
	n := d.sessions
	kind := d.plan.Strikes(Session, n)
	if d.lab.calm.Load() {
		kind = ""
	}
	end, how := 0, error(nil)
	switch kind {
	case Offline:
		d.lab.struck(kind)
		pause := d.plan.between("away", n, 2*d.lab.Interval, 8*d.lab.Interval)
		d.set(Away)
		return pause
	case PowerCut:
		end, how = d.plan.upTo("cut", n, mostSteps), errPower
	case Crash:
		end, how = d.plan.upTo("cut", n, mostSteps), errCrashed
	}
	d.power.begin(end, d.plan.draw("late", n)&1 == 0, how)
	pause, err := d.work(ctx)
	if gone := d.power.fails(); gone != nil {
		// What it would have said of its end is lost with it.
		d.lab.struck(kind)
		d.shut()
		d.failures = 0
		d.set(Down)
		return d.plan.between("down", n, leastDown, mostDown)
	}
	if d.dir != "" || err != nil && ctx.Err() == nil && d.failures%8 == 7 {
		d.shut() // a directory is opened for a session; and an agent that gets nowhere is started again
	}
	d.set(Sleeping)
	if err == nil {
		d.failures = 0
		return pause
	}
	d.failures++
	if ctx.Err() == nil {
		d.lab.failed(err)
	}
	pause = min(time.Second<<min(d.failures-1, 10), max(d.lab.Interval, 5*time.Second))
	return max(d.retry, pause/2+d.plan.between("backoff", n, 0, pause/2))
}

// mostSteps is the last step of a session at which its end may come. A poll has
// some twenty, a download some hundreds.
const mostSteps = 400

// How long a device is down.
const leastDown, mostDown = time.Second, 8 * time.Second

// mostPolls bounds the polls of one session, so that others have their turn.
const mostPolls = 12

// work is the session of a device that has power.
func (d *Device) work(ctx context.Context) (pause time.Duration, err error) {
	if d.agent == nil || d.ipa == nil {
		d.set(Enrolling)
		if err := d.boot(ctx); err != nil {
			return 0, err
		}
	}
	d.set(Polling)
	for range mostPolls {
		more, err := d.ipa.Poll(ctx)
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
	}
	if err := d.report(ctx); err != nil {
		return 0, err
	}
	interval := d.lab.Interval
	pause = interval - interval/10 + d.plan.between("jitter", d.sessions, 0, interval/5)
	return max(pause, d.retry), nil
}

// boot starts the agent: it opens the chip, enrols if it is new, and gets its IPA
// going where the last one stopped.
func (d *Device) boot(ctx context.Context) error {
	if err := d.openCard(); err != nil {
		return err
	}
	if err := d.way.card.Reset(); err != nil {
		return err
	}
	chip, err := d.openChip()
	if err != nil {
		return fmt.Errorf("open the eUICC: %w", err)
	}
	d.chip, d.truth.known = &watchedChip{Chip: chip, device: d}, false
	if d.agent == nil {
		if err := d.loadAgent(); err != nil {
			return err
		}
	}
	if d.agent == nil {
		if err := d.enrol(ctx); err != nil {
			return fmt.Errorf("enrol: %w", err)
		}
	}
	if err := d.associate(); err != nil {
		return fmt.Errorf("associate the eIM: %w", err)
	}
	client, err := d.lab.esipa(d)
	if err != nil {
		return err
	}
	d.ipa = &ipa.IPA{
		Chip: d.chip, ESipa: client, Journal: d.journal("ipa.json"),
		LPA:      &lpa.LPA{Chip: d.chip.LPA(), HTTP: d.client(d.lab.es9.Transport)},
		ReachFor: d.lab.ReachFor, Progress: d.progress, Indirect: d.lab.Indirect,
	}
	return nil
}

// shut ends the agent.
func (d *Device) shut() {
	d.ipa, d.chip = nil, nil
	if d.way != nil && d.dir != "" {
		d.way.card.Close()
	}
	d.way = nil
}

// client returns an HTTP client of the device over shared connections.
func (d *Device) client(base http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: &link{device: d, base: base}, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// openCard finds the chip, or makes it when the device is new.
func (d *Device) openCard() error {
	card := d.card
	if d.dir != "" || card == nil {
		var err error
		if card, err = d.makeCard(); err != nil {
			return err
		}
		card.SetFaults(d.plan.chipFaults())
		if d.dir == "" {
			d.card = card
		}
	}
	d.way = &poweredCard{power: &d.power, card: card, turns: d.lab.turns, heard: d.heard}
	return nil
}

func (d *Device) makeCard() (*euicc.Card, error) {
	if d.dir == "" {
		config, err := d.newChip()
		if err != nil {
			return nil, err
		}
		return euicc.NewMemory(config)
	}
	dir := filepath.Join(d.dir, "euicc")
	card, err := euicc.Open(dir)
	if !errors.Is(err, os.ErrNotExist) {
		return card, err
	}
	// There is none, or one whose making was cut off.
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	config, err := d.newChip()
	if err != nil {
		return nil, err
	}
	return euicc.New(dir, config)
}

// newChip is what the eUICC of a new device leaves the factory with.
func (d *Device) newChip() (euicc.Config, error) {
	return d.lab.factory.config(d.plan, d.plan.Consumer(d.lab.Consumer))
}

// openChip returns what the IPA works with.
func (d *Device) openChip() (ipa.Chip, error) {
	if !d.consumer() {
		return ipa.SGP32(d.way)
	}
	key, err := d.plan.key("key of the agent")
	if err != nil {
		return nil, err
	}
	if d.plan.Has(WrongSignature) {
		key = wrongSigner{key}
	}
	return ipa.Consumer(d.way, d.journal("chip.json"), key)
}

// consumer reports whether the eUICC, which is open, is one of SGP.22. One that
// was kept is what it was made as, whatever share is asked for now.
func (d *Device) consumer() bool { return !d.way.card.Status().IoT }

// journal returns a journal of the device.
func (d *Device) journal(name string) ipa.Journal {
	if d.dir != "" {
		return poweredJournal{&d.power, ipa.FileJournal(d.dir, name)}
	}
	if d.journals == nil {
		d.journals = map[string]*ipa.MemoryJournal{}
	}
	if d.journals[name] == nil {
		d.journals[name] = &ipa.MemoryJournal{}
	}
	return poweredJournal{&d.power, d.journals[name]}
}

func (d *Device) set(s State) { d.state.Store(s) }

// State returns what the device is doing.
func (d *Device) State() State {
	s, _ := d.state.Load().(State)
	return s
}

// Plan returns who the device is and what is to happen to it.
func (d *Device) Plan() *Plan { return d.plan }

// EID returns the number of its eUICC.
func (d *Device) EID() ident.EID { return d.plan.EID }

// progress counts what the agent does.
func (d *Device) progress(p ipa.Progress) {
	c := &d.lab.count
	switch {
	case p.Step == ipa.StepPoll && p.Err == nil:
		c.polls.Add(1)
	case p.Step == ipa.StepPoll:
		c.failedPolls.Add(1)
	case p.Step == ipa.StepPackage && p.Err == nil:
		c.packages.Add(1)
	case p.Step == ipa.StepPackage:
		c.failedPackages.Add(1)
	case p.Step == ipa.StepDownload && p.Err == nil:
		c.downloads.Add(1)
	case p.Step == ipa.StepDownload:
		c.failedDownloads.Add(1)
	case p.Step == ipa.StepRollback && p.Err == nil:
		c.rollbacks.Add(1)
	}
}
