// Package agent is the program on a device in the field: it enrols the device
// at a server, associates its eUICC with the server's eIM, and is the IPA from
// then on: it polls, drives the chip, reports what the device knows of itself.
//
// It is one package for two programs: `godwit agent`, and the small
// godwit-agent for devices that need nothing else. What it must not lose, it
// keeps in its state directory; it may be killed at any moment and goes on
// where it was.
package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/iot"
	"godwit/ipa"
	"godwit/lpa"
	"godwit/pki"
	"godwit/reader"
)

// An agent is one running agent.
type agent struct {
	Command
	log     *slog.Logger
	state   *directory
	memory  memory
	trust   *trusted
	server  *server
	card    *steady
	metrics *metrics
	chip    ipa.Chip
	kind    string        // of the chip: iot or consumer
	changed chan struct{} // something happened that facts may show
	enrol   bool          // the token is no good
	doubted atomic.Bool   // the token may be no good
}

func (c Command) open(log *slog.Logger) (a *agent, err error) {
	a = &agent{Command: c, log: log, metrics: newMetrics(), changed: make(chan struct{}, 1)}
	if a.trust, err = readTrust(c.CA, c.Connect); err != nil {
		return nil, err
	}
	a.server = &server{c.Server, lpa.NewHTTPClient(a.trust.api())}
	a.card = &steady{open: func() (reader.Card, error) {
		card, err := reader.Open(c.Card)
		if soft, ok := card.(interface{ CIs() []*pki.Certificate }); ok && err == nil {
			a.know(soft.CIs())
		}
		return card, err
	}}
	if a.state, err = openDirectory(c.State); err != nil {
		return nil, fmt.Errorf("--state: %w", err)
	}
	if a.memory, err = a.state.load(); err != nil {
		return nil, errors.Join(err, a.state.close())
	}
	return a, nil
}

// know accepts the servers of the CIs of a software eUICC: a real one tells
// only their key identifiers.
func (a *agent) know(cis []*pki.Certificate) {
	for _, ci := range cis {
		if err := a.trust.addCI(ci); err != nil {
			a.log.Warn("a CI of the eUICC is not accepted", "err", err)
		}
	}
}

func (a *agent) close() {
	if err := a.card.Close(); err != nil {
		a.log.Warn("close the card", "err", err)
	}
	if err := a.state.close(); err != nil {
		a.log.Warn("close the state", "err", err)
	}
}

// Pauses after something failed outside of polls.
const (
	firstPause   = 2 * time.Second
	longestPause = 10 * time.Minute
)

// work lives through one session after the other: a session ends when another
// eUICC is found, or when the server no longer knows the token.
func (a *agent) work(ctx context.Context) error {
	for failures := 0; ; {
		began := time.Now()
		err := a.session(ctx)
		if ctx.Err() != nil || err == nil {
			return nil
		}
		if _, anew := errors.AsType[err401](err); anew && a.Once && failures == 0 {
			failures++
			continue
		}
		if a.Once || lasting(err) {
			return err
		}
		if time.Since(began) > longestPause {
			failures = 0
		}
		pause := pauseAfter(failures, err)
		failures++
		a.log.Warn("cannot work", "err", err, "pause", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// lasting reports whether trying again is of no use until somebody has done
// something.
func lasting(err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	_, set := errors.AsType[*settingError](err)
	return ok && refused.lasting() || set
}

// A settingError is of the agent's settings or of the chip's state: a person has
// to decide.
type settingError struct{ text string }

func (e *settingError) Error() string { return e.text }

// pauseAfter doubles with each failure; chance takes up to half of it, so that
// devices that failed together do not return together. A time that the server
// names is the least, and chance comes on top.
func pauseAfter(failures int, err error) time.Duration {
	half := min(firstPause<<min(failures, 20), longestPause) / 2
	least := half
	if refused, ok := errors.AsType[*refusal](err); ok {
		least = max(least, refused.Wait)
	}
	return least + rand.N(half+1)
}

// session enrols if need be, and works until something about that changes.
func (a *agent) session(ctx context.Context) error {
	if err := a.openChip(); err != nil {
		return err
	}
	if a.Eim != "" {
		if err := a.foreign(); err != nil {
			return err
		}
	} else if a.enrol || a.memory.Token == "" || a.memory.Server != a.Server || a.memory.EID != a.chip.EID() || a.memory.Kind != a.kind {
		if err := a.enrolNow(ctx); err != nil {
			return err
		}
	}
	config, err := a.associate()
	if err != nil {
		return err
	}
	i, err := a.assistant(config)
	if err != nil {
		return err
	}
	a.log.Info("at work", "device", a.memory.DeviceID, "eid", a.chip.EID(), "kind", a.memory.Kind, "eim", config.ID, "url", i.ESipa.URL)
	if a.Once {
		return a.once(ctx, i)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return i.Run(ctx) })
	if a.Eim == "" {
		g.Go(func() error { return a.reports(ctx, i) })
	}
	g.Go(func() error { return a.watchCard(ctx) })
	return g.Wait()
}

// openChip opens the chip that is in the device now.
func (a *agent) openChip() error {
	a.card.Close()
	a.card.forget()
	a.chip = nil
	eid, err := a.card.EID()
	if err != nil {
		return err
	}
	kind := a.Chip
	if kind == "auto" && a.memory.EID == eid {
		kind = a.memory.Kind
	}
	if kind != "consumer" {
		a.chip, err = ipa.SGP32(a.card)
		if err == nil {
			kind = "iot"
		}
		if _, way := errors.AsType[*wayError](err); way || err != nil && kind == "iot" {
			return err
		}
	}
	if a.chip == nil {
		key, err := a.state.key()
		if err != nil {
			return err
		}
		kind = "consumer"
		journal := ipa.FileJournal(a.State, fmt.Sprintf(chipFile, eid))
		if a.chip, err = ipa.Consumer(a.card, journal, key); err != nil {
			return err
		}
	}
	a.kind = kind
	return nil
}

// enrolNow enrols the device: with its token, else as the settings say.
func (a *agent) enrolNow(ctx context.Context) error {
	q := enrolment{DeviceID: a.DeviceID, EIDs: []enrolledChip{{EID: a.chip.EID(), Kind: a.kind}}, facts: a.facts()}
	if q.DeviceID == "" && a.memory.Server == a.Server {
		q.DeviceID = a.memory.DeviceID
	}
	if a.MAC != "" {
		q.MAC = a.MAC
	}
	if a.IMEI != "" {
		q.facts.IMEI = a.IMEI
	}
	if q.DeviceID == "" && q.MAC == "" && q.facts.IMEI == "" {
		return &settingError{"the device has no MAC address and its modem tells no IMEI: give --device-id, --mac or --imei"}
	}
	if q.DeviceID == "" && a.IMEI != "" && a.MAC == "" {
		q.MAC = "" // the ID is to be made of the IMEI
	}
	if a.kind == "consumer" {
		key, err := a.state.key()
		if err != nil {
			return err
		}
		if q.EIDs[0].AgentKey, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
			return err
		}
	}
	prove, err := a.proof(q)
	if err != nil {
		return err
	}
	p, err := a.server.enrol(ctx, prove, q)
	if err != nil {
		// What the device's own word is too little for may be a user's to say.
		if refused, ok := errors.AsType[*refusal](err); ok && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden) && a.hasToken() && a.hasOther() {
			a.log.Warn("the token is not good for that; the device enrols anew", "err", err)
			a.memory.Token, a.enrol = "", true
			return a.enrolNow(ctx)
		}
		return fmt.Errorf("enrol: %w", err)
	}
	m := memory{Server: a.Server, DeviceID: p.DeviceID, Token: p.Token, EID: a.chip.EID(), Kind: a.kind, ESipa: p.ESipa, Poll: p.Poll}
	for _, e := range p.Eims {
		if e.EID == m.EID {
			m.Eim = e.Eim
		}
	}
	if err := a.state.save(m); err != nil {
		return err
	}
	a.memory, a.enrol = m, false
	a.log.Info("enrolled", "device", m.DeviceID, "eid", m.EID, "kind", m.Kind)
	return nil
}

func (a *agent) hasToken() bool { return a.memory.Token != "" && a.memory.Server == a.Server }
func (a *agent) hasOther() bool { return a.InstallCode != "" || a.User != "" }

// proof is what vouches for the device.
func (a *agent) proof(q enrolment) (func(*http.Request), error) {
	switch {
	case a.hasToken():
		return bearer(a.memory.Token), nil
	case a.InstallCode != "":
		id := q.DeviceID
		if id == "" {
			id = strings.ReplaceAll(q.MAC, ":", "-") // the name ends at a colon
		}
		if id == "" {
			id = q.facts.IMEI
		}
		return func(r *http.Request) { r.SetBasicAuth(id, a.InstallCode) }, nil
	case a.User != "":
		return func(r *http.Request) { r.SetBasicAuth(a.User, a.Password) }, nil
	}
	return nil, &settingError{"nothing vouches for this device yet: give --install-code, or --user and --password"}
}

// associate has the chip know the server's eIM.
func (a *agent) associate() (*iot.EimConfiguration, error) {
	config, err := iot.ParseEimConfiguration(a.memory.Eim)
	if err != nil {
		return nil, fmt.Errorf("the server's eIM: %w", err)
	}
	have, err := a.chip.Eims()
	if err != nil {
		return nil, err
	}
	for _, e := range have {
		if e.ID == config.ID {
			return config, nil
		}
	}
	if len(have) > 0 {
		return nil, &settingError{fmt.Sprintf("the eUICC belongs to eIM %q: that one has to add eIM %q (addEim), or to take itself out (deleteEim)", have[0].ID, config.ID)}
	}
	if _, err := a.chip.AddInitialEim([]iot.EimConfiguration{*config}); err != nil {
		return nil, fmt.Errorf("associate eIM %q: %w", config.ID, err)
	}
	a.log.Info("associated", "eim", config.ID)
	return config, nil
}

// assistant joins the IPA.
func (a *agent) assistant(config *iot.EimConfiguration) (*ipa.IPA, error) {
	connect := func(c *iot.EimConfiguration) (*ipa.Client, error) {
		named := c.ID == config.ID && a.memory.ESipa != ""
		if named {
			// eimFqdn may be absent.
			at, err := url.Parse(a.memory.ESipa)
			if err != nil {
				return nil, err
			}
			copied := *c
			copied.FQDN, c = at.Host, &copied
		}
		client, err := ipa.NewClient(c, a.trust.eim())
		if err != nil {
			return nil, err
		}
		client.JSON = a.JSON
		if named {
			client.URL = a.memory.ESipa
		}
		return client, nil
	}
	client, err := connect(config)
	if err != nil {
		return nil, err
	}
	i := &ipa.IPA{
		Chip: a.chip, ESipa: client, Connect: connect, EimID: config.ID, Journal: ipa.FileJournal(a.State, ipaFile),
		LPA:      &lpa.LPA{Chip: a.chip.LPA(), HTTP: lpa.NewHTTPClient(a.trust.smdp()), AnyCI: len(a.CA) > 0},
		Indirect: a.Download == "indirect" || a.Download == "auto" && a.trust.cis == 0,
		Interval: a.Poll, ReachFor: a.ReachFor, FallbackAfter: a.Fallback, Log: a.log, Progress: a.progress,
	}
	if i.Interval == 0 {
		i.Interval = time.Duration(a.memory.Poll) * time.Second
	}
	if a.Reach != "" {
		i.Reach = func(ctx context.Context) error { return a.tryReach(ctx, client.URL) }
	}
	if a.Confirm != "" {
		i.ConfirmationCode = func(context.Context, *lpa.Offer) (string, error) { return a.Confirm, nil }
	}
	return i, nil
}

// progress counts steps, and has facts looked at after those that may change
// them.
func (a *agent) progress(p ipa.Progress) {
	a.metrics.step(p)
	if refused, ok := errors.AsType[*ipa.ESipaError](p.Err); ok && p.Step == ipa.StepPoll && refused.Code == iot.EimEIDNotFound {
		// Perhaps the device was deleted. The server says so to the token.
		a.doubted.Store(true)
		a.wake()
	}
	switch p.Step {
	case ipa.StepPackage, ipa.StepRollback, ipa.StepEnable, ipa.StepFallback, ipa.StepReturn:
		a.wake()
	}
}

// wake has facts looked at.
func (a *agent) wake() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// once does what waits, and ends.
func (a *agent) once(ctx context.Context, i *ipa.IPA) error {
	if a.Eim == "" {
		_, err := a.report(ctx, a.facts())
		if _, anew := errors.AsType[err401](err); anew {
			return err
		}
		if err != nil {
			a.log.Warn("report", "err", err)
		}
	}
	for {
		more, err := i.Poll(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// cardCheck is how often the agent looks whether its eUICC is still there.
const cardCheck = time.Minute

// watchCard ends the session when another eUICC is in the device. A card that
// is away for a while is waited for.
func (a *agent) watchCard(ctx context.Context) error {
	for tick := time.NewTicker(cardCheck); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
		_, err := a.card.EID()
		if errors.Is(err, errOther) {
			return err
		}
		if err != nil {
			a.log.Warn("no eUICC", "err", err)
		}
	}
}
