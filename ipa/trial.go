package ipa

import (
	"context"
	"errors"
	"time"

	"godwit/iot"
	"godwit/lpa"
)

// DefaultReachFor is how long the IPA tries to reach the eIM through a new
// profile.
const DefaultReachFor = 5 * time.Minute

// Pauses between the tries.
const (
	firstTry   = 2 * time.Second
	longestTry = 30 * time.Second
)

// prove tries whether the eIM can be reached through the profile that a package
// enabled with rollback, by delivering its result, and goes back if it cannot.
// When the context ends the trial goes on at the next poll. SGP.32 v1.2, 3.3.1.
func (p *IPA) prove(ctx context.Context) error {
	limit := orElse(p.ReachFor, DefaultReachFor)
	within, end := context.WithTimeout(ctx, limit)
	defer end()
	var err error
	for pause := firstTry; ; pause = min(2*pause, longestTry) {
		if err = p.step(StepReach, p.ESipa.URL, func() error { return p.reach(within) }); err == nil {
			p.state.Trial = false
			return p.save()
		}
		if p.stale { // nothing is wrong with the network
			return err
		}
		select {
		case <-within.Done():
		case <-time.After(pause):
			continue
		}
		break
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.log().Warn("the eIM cannot be reached through the new profile", "err", err, "tried", limit)
	return p.rollBack(ctx)
}

// reach delivers the results through the profile that is enabled now. Any answer
// of the eIM means that it was reached; so does that nothing waits any more.
func (p *IPA) reach(ctx context.Context) error {
	if err := p.Chip.LPA().Revive(); err != nil {
		return err
	}
	if p.Reach != nil {
		if err := p.Reach(ctx); err != nil {
			return err
		}
	}
	// Connections that were made through the old profile lead nowhere.
	p.ESipa.HTTP.CloseIdleConnections()
	err := p.deliver(ctx)
	if answered(err) {
		return nil
	}
	return err
}

func (p *IPA) rollBack(ctx context.Context) error {
	err := p.step(StepRollback, "", func() error {
		_, err := p.Chip.Rollback()
		return err
	})
	if _, ok := errors.AsType[*lpa.ChipError](err); err != nil && !ok {
		return err // nobody knows what the chip did: the trial goes on
	}
	p.state.Trial = false
	if err := p.save(); err != nil {
		return err
	}
	if err := p.Chip.LPA().Revive(); err != nil {
		return err
	}
	p.ESipa.HTTP.CloseIdleConnections()
	return p.deliver(ctx)
}

// immediate enables the profile that was just installed, if the eIM allowed it.
func (p *IPA) immediate(r *lpa.Result) error {
	err := p.Chip.ImmediateEnable(r)
	if refused, ok := errors.AsType[*lpa.ChipError](err); ok && refused.Code == 1 {
		return nil // it is not allowed, which is the rule
	}
	err = p.step(StepEnable, string(r.Notification.Metadata.ICCID), func() error { return err })
	if _, ok := errors.AsType[*lpa.ChipError](err); ok {
		return nil // the profile is there and can be enabled by a package
	}
	if err != nil {
		return err
	}
	if err := p.Chip.LPA().Revive(); err != nil {
		return err
	}
	return p.changed(iot.CauseImmediateEnable)
}

// fallbackIn returns how long it is until the fallback, if there is to be one.
func (p *IPA) fallbackIn() (time.Duration, bool) {
	if p.FallbackAfter <= 0 {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.contact.IsZero() {
		p.contact = time.Now() // the time begins with Run
	}
	return max(0, p.FallbackAfter-time.Since(p.contact)), true
}

// fallBackWhenDue enables the fallback profile when the eIM was out of reach for
// too long. It is tried once in that time.
func (p *IPA) fallBackWhenDue(ctx context.Context) {
	left, due := p.fallbackIn()
	if !due || left > 0 || ctx.Err() != nil {
		return
	}
	p.noteContact() // the time begins anew
	p.busy.Lock()
	defer p.busy.Unlock()
	err := p.open()
	if err == nil {
		err = p.swap(StepFallback, iot.CauseFallback, func(*lpa.Chip) error { return p.Chip.ExecuteFallback() })
	}
	if err != nil {
		p.log().Warn("no fallback", "err", err)
	}
}

// ReturnFromFallback goes back from the fallback profile to the one before it.
func (p *IPA) ReturnFromFallback() error {
	return p.change(StepReturn, iot.CauseFallback, func(*lpa.Chip) error { return p.Chip.ReturnFromFallback() })
}

// Change changes profiles on the device's own account and has the eIM hear of it.
// It works with the chip while no poll does.
func (p *IPA) Change(change func(*lpa.Chip) error) error {
	return p.change(StepLocal, iot.CauseLocal, change)
}

func (p *IPA) change(s Step, cause int64, change func(*lpa.Chip) error) error {
	p.busy.Lock()
	defer p.busy.Unlock()
	if err := p.open(); err != nil {
		return err
	}
	if err := p.swap(s, cause, change); err != nil {
		return err
	}
	p.Wake()
	return nil
}

// swap notes a change before it is made: the eIM rather hears of one too many.
func (p *IPA) swap(s Step, cause int64, change func(*lpa.Chip) error) error {
	if err := p.changed(cause); err != nil {
		return err
	}
	if err := p.step(s, "", func() error { return change(p.Chip.LPA()) }); err != nil {
		return err
	}
	return p.Chip.LPA().Revive()
}
