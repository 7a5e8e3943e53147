package agent

import (
	"errors"
	"fmt"
	"sync"

	"godwit/ident"
	"godwit/lpa"
	"godwit/reader"
)

// A steady card is one that is opened again when the way to it broke: the
// reader was unplugged, the modem restarted, the card was reset by others. What
// was opened on the card before is gone then, and the card says so.
type steady struct {
	open func() (reader.Card, error)

	mu    sync.Mutex
	card  reader.Card // nil while the way is broken
	eid   ident.EID   // of the chip that was there first
	known bool
}

// A wayError is one of the way to the card, not of the card.
type wayError struct{ err error }

func (e *wayError) Error() string { return "the way to the eUICC: " + e.err.Error() }
func (e *wayError) Unwrap() error { return e.err }

// errOther says that another eUICC is in the device.
var errOther = errors.New("another eUICC is in the device")

// Transmit sends one command, after opening the card if need be.
func (s *steady) Transmit(apdu []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, err
	}
	// A channel is opened anew when the card has forgotten the old one. It may be
	// another card.
	if s.known && opensChannel(apdu) {
		if err := s.same(); err != nil {
			s.drop()
			return nil, &wayError{err}
		}
	}
	response, err := s.card.Transmit(apdu)
	if err != nil {
		s.drop()
		return nil, &wayError{err}
	}
	return response, nil
}

// opensChannel reports whether a command is MANAGE CHANNEL that opens one.
func opensChannel(apdu []byte) bool {
	return len(apdu) > 3 && apdu[0] == 0x00 && apdu[1] == 0x70 && apdu[2] == 0x00
}

// same finds out whether the chip is still the one that was there first.
func (s *steady) same() error {
	eid, err := eidOf(s.card)
	if err != nil {
		return err
	}
	if s.known && eid != s.eid {
		return fmt.Errorf("%w: %s in place of %s", errOther, eid, s.eid)
	}
	s.eid, s.known = eid, true
	return nil
}

func (s *steady) ready() error {
	if s.card != nil {
		return nil
	}
	card, err := s.open()
	if err != nil {
		return &wayError{err}
	}
	s.card = card
	if err := s.same(); err != nil {
		s.drop()
		return &wayError{err}
	}
	return nil
}

// forget has the next chip be the first.
func (s *steady) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eid, s.known = "", false
}

// drop gives up a way that is broken.
func (s *steady) drop() {
	_ = s.card.Close()
	s.card = nil
}

// EID returns the number of the chip, which is asked if need be.
func (s *steady) EID() (ident.EID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.ready()
	return s.eid, err
}

// with has f look at the card as it is now, if it is there.
func (s *steady) with(f func(reader.Card)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.card != nil {
		f(s.card)
	}
}

func (s *steady) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.card == nil {
		return nil
	}
	err := s.card.Close()
	s.card = nil
	return err
}

// eidOf asks a card for its number, on a channel of its own.
func eidOf(card lpa.Card) (ident.EID, error) {
	chip, err := lpa.OpenChip(card)
	if err != nil {
		return "", err
	}
	eid, err := chip.EID()
	return eid, errors.Join(err, chip.Close())
}
