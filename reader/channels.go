package reader

import (
	"errors"
	"fmt"
	"sync"
)

// An opener is a way to a card that does not let a caller open logical channels
// by command: it is asked for an application and gives a number. Modems are so,
// and lpac's stdio protocol is.
type opener interface {
	// open opens a logical channel with an application selected on it.
	open(aid []byte) (int, error)
	close(channel int) error
	transmit(channel int, apdu []byte) ([]byte, error)
	shut() error
}

// maxOpen is how many channels may be open at a time: a card has 20, the basic
// one included. ETSI TS 102 221, 11.1.17.
const maxOpen = 19

// Instructions of ETSI TS 102 221 that are about channels.
const (
	insManageChannel = 0x70
	insSelect        = 0xA4
)

// A channelled is a card over an opener. MANAGE CHANNEL only reserves a number,
// because the channel comes into being with its application: SELECT opens it.
type channelled struct {
	mu   sync.Mutex
	way  opener
	shut bool
	open [maxOpen + 1]*int // by the caller's number; nil is free, unselected is reserved
}

// unselected is the way's number of a channel that has no application yet.
const unselected = -1

var errClosed = errors.New("the card is closed")

var errShort = errors.New("a command APDU has four octets at least")

// Transmit sends one command.
func (c *channelled) Transmit(apdu []byte) ([]byte, error) {
	if len(apdu) < 4 {
		return nil, errShort
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return nil, errClosed
	}
	n := channelOf(apdu[0])
	switch {
	case apdu[1] == insManageChannel && apdu[0]&0x80 == 0:
		return c.manage(n, apdu)
	case n == 0:
		// The basic channel is the modem's own.
		return []byte{0x6E, 0x00}, nil
	case c.open[n] == nil:
		return []byte{0x68, 0x81}, nil // logical channel not supported
	case apdu[1] == insSelect && apdu[0]&0x80 == 0 && apdu[2] == 0x04 && *c.open[n] == unselected:
		return c.choose(n, apdu)
	case *c.open[n] == unselected:
		return []byte{0x69, 0x85}, nil
	}
	number := *c.open[n]
	// Modems set the channel in the class octet themselves, or leave it as it
	// is: with the card's own number in it both are right.
	if number > 0 && number <= maxOpen {
		apdu = append([]byte{onChannel(apdu[0], number)}, apdu[1:]...)
	}
	return c.way.transmit(number, apdu)
}

func (c *channelled) manage(n int, apdu []byte) ([]byte, error) {
	switch apdu[2] {
	case 0x00:
		for free := 1; free <= maxOpen; free++ {
			if c.open[free] == nil {
				c.open[free] = new(unselected)
				return []byte{byte(free), 0x90, 0x00}, nil
			}
		}
		return []byte{0x6A, 0x81}, nil
	case 0x80:
		if apdu[3] != 0 {
			n = int(apdu[3])
		}
		if n == 0 || n > maxOpen || c.open[n] == nil {
			return []byte{0x68, 0x81}, nil
		}
		number := *c.open[n]
		c.open[n] = nil
		if number != unselected {
			if err := c.way.close(number); err != nil {
				return nil, err
			}
		}
		return []byte{0x90, 0x00}, nil
	}
	return []byte{0x6A, 0x86}, nil
}

// choose opens the channel with the application that SELECT names.
func (c *channelled) choose(n int, apdu []byte) ([]byte, error) {
	if len(apdu) < 6 || int(apdu[4]) > len(apdu)-5 || apdu[4] == 0 || apdu[4] > 16 {
		return []byte{0x67, 0x00}, nil
	}
	number, err := c.way.open(apdu[5 : 5+apdu[4]])
	if refused, ok := errors.AsType[*refusal](err); ok {
		return nil, fmt.Errorf("open a logical channel: %w", refused)
	}
	if err != nil {
		return nil, err
	}
	c.open[n] = &number
	return []byte{0x90, 0x00}, nil
}

// Close gives back the channels that are open, and the way.
func (c *channelled) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
	for n, number := range c.open {
		if number != nil && *number != unselected {
			// A way that is broken is closed all the same.
			_ = c.way.close(*number)
		}
		c.open[n] = nil
	}
	return c.way.shut()
}

// A refusal is a card's or modem's "no", where the way itself is sound.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// channelOf reads the channel from a class octet. ETSI TS 102 221, 10.1.1.
func channelOf(class byte) int {
	if class&0x40 != 0 {
		return int(class&0x0F) + 4
	}
	return int(class & 0x03)
}

// onChannel sets the channel in a class octet.
func onChannel(class byte, n int) byte {
	if class&0x40 != 0 {
		class &^= 0x4F
	} else {
		class &^= 0x03
	}
	if n < 4 {
		return class | byte(n)
	}
	return class | 0x40 | byte(n-4)
}
