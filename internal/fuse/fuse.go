// Package fuse cuts the power of a device in a test, at a chosen one of the deeds
// that it does to the world outside of its memory.
package fuse

import (
	"errors"
	"sync"

	"godwit/euicc"
	"godwit/ipa"
)

// ErrPower is what everything answers once the power is gone.
var ErrPower = errors.New("the power is gone")

// A Fuse counts deeds, before and after each. It blows at one of them, and from
// then on nothing works. The zero Fuse lasts.
type Fuse struct {
	mu    sync.Mutex
	at    int // 0 never blows
	count int
}

// Tick counts and returns [ErrPower] from the chosen moment on.
func (f *Fuse) Tick() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.blown() {
		return ErrPower
	}
	return nil
}

// Set arms the fuse anew; 0 makes it last.
func (f *Fuse) Set(at int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.count = at, 0
}

// Blown reports whether the power is gone.
func (f *Fuse) Blown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blown()
}

func (f *Fuse) blown() bool { return f.at > 0 && f.count >= f.at }

// A Card is a chip whose commands are deeds.
type Card struct {
	*euicc.Card
	Fuse *Fuse
}

// Transmit has the chip answer one command.
func (c *Card) Transmit(apdu []byte) ([]byte, error) {
	if err := c.Fuse.Tick(); err != nil {
		return nil, err
	}
	answer, err := c.Card.Transmit(apdu)
	return answer, errors.Join(err, c.Fuse.Tick())
}

// A Journal is one that takes power to be read and written.
type Journal struct {
	ipa.Journal
	Fuse *Fuse
}

// Load reads the journal.
func (j *Journal) Load() ([]byte, error) {
	if err := j.Fuse.Tick(); err != nil {
		return nil, err
	}
	return j.Journal.Load()
}

// Save writes it.
func (j *Journal) Save(document []byte) error {
	if err := j.Fuse.Tick(); err != nil {
		return err
	}
	return errors.Join(j.Journal.Save(document), j.Fuse.Tick())
}
