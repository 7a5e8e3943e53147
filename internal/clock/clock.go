// Package clock is a clock that a test turns.
package clock

import (
	"sync"
	"time"
)

// A Clock goes with the machine's until it is stopped. The zero Clock is ready.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
	still time.Time // where it was stopped
}

// At returns a clock that stands at a time.
func At(t time.Time) *Clock { return &Clock{still: t} }

// Now is the time. A clock that stands is a microsecond later at each look, so
// that no two moments are the same.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still.IsZero() {
		return time.Now().Add(c.ahead)
	}
	c.still = c.still.Add(time.Microsecond)
	return c.still
}

// Stop has no time pass from now on but what the test turns the clock forward.
func (c *Clock) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still.IsZero() {
		c.still = time.Now().Add(c.ahead)
	}
}

// Forward turns the clock forward.
func (c *Clock) Forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still.IsZero() {
		c.ahead += d
	} else {
		c.still = c.still.Add(d)
	}
}

// Set stops the clock at a time.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.still = t
}
