// Package lab runs virtual devices, thousands in one process: each is a software
// eUICC with an agent and a life. They boot, enrol, poll their eIM, move, lose
// their network and their power, and do what the server orders; faults strike
// them in chosen proportions, from a seed, so that the same seed makes the same
// fleet with the same fate.
//
// It is the sandbox for those who try a server, and the load and the judge for
// those who build one. Nothing in it is simulated that a server can see: keys,
// certificates, packages, downloads and TLS are real.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"godwit/durable"
	"godwit/ident"
	"godwit/lpa"
	"godwit/pki"
)

// A Server is where the devices go.
type Server struct {
	URL            string // of the APIs: http://localhost:8080
	User, Password string // of somebody who may register devices
	// Dial, if set, makes the connections to SM-DP+ and eIM.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Config is what a lab is made with. Its zero durations stand for the defaults.
type Config struct {
	Server  Server
	Factory Factory
	Devices int
	Seed    uint64
	Rates   Rates
	// Consumer is the share of devices whose eUICC speaks SGP.22 and whose agent
	// does the rest.
	Consumer float64
	// Indirect has profiles downloaded through the eIM.
	Indirect bool
	// Dir keeps the devices; they go on from there when the lab is started again,
	// as after a power cut. Empty: they are in memory.
	Dir string

	Interval    time.Duration // between polls; [DefaultInterval]
	Ramp        time.Duration // in which all have booted; the interval
	ReportEvery time.Duration // device facts; ten intervals
	ReachFor    time.Duration // how long a new profile is tried; one interval and a half, 5 s at least
}

// DefaultInterval is the time between two polls of a device.
const DefaultInterval = 30 * time.Second

// Bounds of what is done at a time: sessions, and connections.
const (
	maxSessions = 512
	maxFlight   = 128
)

// A Lab is a fleet of virtual devices.
type Lab struct {
	Config
	devices []*Device

	roots *pki.Roots
	es9   *http.Client
	plain *http.Transport
	mu    sync.Mutex
	eims  map[string]http.RoundTripper

	sessions chan struct{}
	flight   chan struct{}
	turns    chan struct{}
	calm     atomic.Bool
	running  sync.WaitGroup
	alarms   sync.Mutex // held while alarms are set
	factory  *Factory
	began    time.Time
	count    counts
}

// CheckDevices refuses what is no number of devices of a lab.
func CheckDevices(n int) error {
	if n < 1 || n > 999_999 {
		return fmt.Errorf("a lab has 1 to 999999 devices, not %d", n)
	}
	return nil
}

// New makes a lab. Its devices are switched on by [Lab.Run].
func New(c Config) (*Lab, error) {
	if err := CheckDevices(c.Devices); err != nil {
		return nil, err
	}
	c.Interval = orElse(c.Interval, DefaultInterval)
	c.Ramp = orElse(c.Ramp, c.Interval)
	c.ReportEvery = orElse(c.ReportEvery, 10*c.Interval)
	c.ReachFor = orElse(c.ReachFor, max(c.Interval*3/2, 5*time.Second))
	l := &Lab{
		Config: c, factory: &c.Factory, eims: map[string]http.RoundTripper{},
		sessions: make(chan struct{}, maxSessions), flight: make(chan struct{}, maxFlight),
		turns: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	prefix, err := c.Factory.prefix()
	if err != nil {
		return nil, err
	}
	if err := l.factory.open(c.Seed, prefix); err != nil {
		return nil, err
	}
	if l.roots, err = pki.NewRoots(c.Factory.Roots...); err != nil {
		return nil, err
	}
	l.es9 = lpa.NewHTTPClient(lpa.Trust{Roots: l.roots, Dial: c.Server.Dial})
	l.plain = &http.Transport{MaxIdleConnsPerHost: maxFlight, IdleConnTimeout: 30 * time.Second}
	life, err := l.life()
	if err != nil {
		return nil, err
	}
	l.devices = make([]*Device, c.Devices)
	for i := range l.devices {
		plan, err := NewPlan(c.Seed, i+1, life, prefix, c.Rates)
		if err != nil {
			return nil, err
		}
		d := &Device{lab: l, plan: plan}
		if c.Dir != "" {
			d.dir = filepath.Join(c.Dir, plan.Name)
		}
		d.set(Off)
		l.devices[i] = d
	}
	return l, nil
}

// lifeFile keeps the seed of a directory, and how often its lab was started.
const lifeFile = "lab.json"

// life counts the starts of a lab with a directory.
func (l *Lab) life() (uint64, error) {
	if l.Dir == "" {
		return 1, nil
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return 0, err
	}
	kept := struct {
		Seed  uint64 `json:"seed"`
		Lives uint64 `json:"lives"`
	}{Seed: l.Seed}
	path := filepath.Join(l.Dir, lifeFile)
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, &kept)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	if kept.Seed != l.Seed {
		return 0, fmt.Errorf("the devices in %s were made with seed %d: use that, or another directory", l.Dir, kept.Seed)
	}
	kept.Lives++
	if content, err = json.Marshal(kept); err != nil {
		return 0, err
	}
	return kept.Lives, durable.WriteFile(path, content, 0o600)
}

func orElse(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}

// Devices returns all devices, in order of their numbers.
func (l *Lab) Devices() []*Device { return l.devices }

// ByEID returns the device with an eUICC, nil when there is none.
func (l *Lab) ByEID(eid ident.EID) *Device {
	for _, d := range l.devices {
		if d.plan.EID == eid {
			return d
		}
	}
	return nil
}

// Calm ends the faults that pass: from now on everything arrives and nothing is
// cut off. Lasting ones stay.
func (l *Lab) Calm() { l.calm.Store(true) }

// Run switches the devices on, one after the other, and keeps them alive until
// the context ends. When it returns no device does anything any more.
func (l *Lab) Run(ctx context.Context) error {
	l.began = time.Now()
	l.alarms.Lock()
	for i, d := range l.devices {
		boot := time.Duration(i) * l.Ramp / time.Duration(len(l.devices))
		l.running.Add(1)
		d.timer = time.AfterFunc(boot, func() { l.wake(ctx, d) })
	}
	l.alarms.Unlock()
	<-ctx.Done()
	l.alarms.Lock()
	for _, d := range l.devices {
		if d.timer.Stop() {
			l.running.Done()
		}
	}
	l.alarms.Unlock()
	l.running.Wait()
	for _, d := range l.devices {
		d.busy.Lock()
		d.shut()
		d.busy.Unlock()
	}
	l.es9.CloseIdleConnections()
	l.plain.CloseIdleConnections()
	return nil
}

// wake gives a device its session when it is its turn, and sets the alarm for the
// next. It runs in the goroutine of a timer: a device that sleeps has none.
func (l *Lab) wake(ctx context.Context, d *Device) {
	defer l.running.Done()
	d.set(Waking)
	select {
	case l.sessions <- struct{}{}:
	case <-ctx.Done():
		return
	}
	pause := d.session(ctx)
	<-l.sessions
	l.alarms.Lock()
	defer l.alarms.Unlock()
	if ctx.Err() != nil {
		return
	}
	l.running.Add(1)
	d.timer.Reset(pause)
}
