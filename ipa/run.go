package ipa

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Pauses between polls, when the fields of [IPA] say nothing else.
const (
	DefaultInterval   = 15 * time.Minute
	DefaultBackoff    = 5 * time.Second
	DefaultMaxBackoff = time.Hour
)

// Run polls until the context ends, and returns nil then: at once while packages
// come, after the interval when none did, and with growing pauses when something
// failed. Pauses vary by chance, so that devices that started together do not
// stay together. An eIM that names a time (Retry-After) is not asked before, and
// one that hands out the same package again and again is not asked faster than
// one that fails.
func (p *IPA) Run(ctx context.Context) error {
	if err := p.check(); err != nil {
		return err
	}
	failures := 0
	for {
		more, err := p.Poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		pause := p.jitter(orElse(p.interval(), DefaultInterval))
		switch {
		case err != nil:
			pause = p.backoff(failures)
			failures++
			p.log().Warn("poll failed", "err", err, "failures", failures, "pause", pause)
		case p.again:
			pause = p.backoff(failures)
			failures++
			p.log().Warn("the eIM hands out a package that it had the result of", "pause", pause)
		case more:
			failures, pause = 0, 0
		default:
			failures = 0
		}
		if p.ESipa != nil {
			pause = max(pause, p.ESipa.takePause())
		}
		if pause > 0 {
			p.log().Debug("waiting", "pause", pause)
		}
		if !p.wait(ctx, pause) {
			return nil
		}
	}
}

// wait waits for the time to pass, for [IPA.Wake], or for the moment of the
// fallback, and reports false when the context ended.
func (p *IPA) wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	var fallback <-chan time.Time
	if left, due := p.fallbackIn(); due && left < pause {
		t := time.NewTimer(left)
		defer t.Stop()
		fallback = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-fallback:
	case <-p.wake():
	}
	p.fallBackWhenDue(ctx)
	return ctx.Err() == nil
}

// backoff doubles the pause with each failure, up to the cap; chance takes up to
// half of it.
func (p *IPA) backoff(failures int) time.Duration {
	first, most := orElse(p.Backoff, DefaultBackoff), orElse(p.MaxBackoff, DefaultMaxBackoff)
	pause := most
	if failures < 30 && first<<failures < most {
		pause = first << failures
	}
	return pause/2 + time.Duration(rand.Int64N(int64(pause/2)+1))
}

// jitter varies a pause by up to a tenth.
func (p *IPA) jitter(pause time.Duration) time.Duration {
	return pause - pause/10 + time.Duration(rand.Int64N(int64(pause/5)+1))
}

// Wake makes [IPA.Run] poll now: the device is back in the network, somebody
// pressed a button, an SMS came.
func (p *IPA) Wake() {
	select {
	case p.wake() <- struct{}{}:
	default: // it is awake already
	}
}

func (p *IPA) wake() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.woken == nil {
		p.woken = make(chan struct{}, 1)
	}
	return p.woken
}

// SetInterval changes the pause between polls while Run runs; it counts from the
// next poll. Zero stands for the field Interval.
func (p *IPA) SetInterval(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newInterval = d
}

func (p *IPA) interval() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return orElse(p.newInterval, p.Interval)
}

// check finds what a poll cannot do without.
func (p *IPA) check() error {
	switch {
	case p.Chip == nil:
		return errors.New("the IPA has no chip")
	case p.LPA == nil || p.LPA.Chip == nil:
		return errors.New("the IPA has no LPA with a chip")
	case p.ESipa == nil && p.Connect == nil:
		return errors.New("the IPA has no eIM")
	}
	return nil
}

func (p *IPA) log() *slog.Logger {
	if p.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Log
}

func orElse(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}
