// Package reader is the ways to an eUICC that is no program of ours: a reader
// behind pcscd, a modem behind its AT commands, and any other program that
// carries APDUs. Each way is an lpa.Card.
//
// The names are those of the command line: euicc:DIR, pcsc:READER,
// at:/dev/ttyUSB2, exec:PROGRAM.
package reader

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"godwit/euicc"
)

// A Card is an eUICC that has been reached. It carries one command at a time and
// is safe for concurrent use.
type Card interface {
	// Transmit sends one command APDU and returns the response with its two
	// status octets. After an error of the way the card is to be opened again:
	// its logical channels may be gone.
	Transmit(apdu []byte) ([]byte, error)
	Close() error
}

// Open opens the card that a name says:
//
//	euicc:DIR            the software eUICC in a directory
//	pcsc:                the first reader with a card; pcsc:PART takes the first
//	                     whose name has PART in it
//	at:DEVICE            a modem's AT port; with ?mode=csim or ?mode=cgla where
//	                     the modem's own word is wrong, ?baud=9600 for real wires
//	exec:PROGRAM ARGS    a program that answers lpac's stdio APDU protocol
func Open(name string) (Card, error) {
	kind, rest, port, err := parse(name)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "euicc":
		return euicc.Open(rest)
	case "pcsc":
		return OpenPCSC(PCSCSocket(), rest)
	case "at":
		return OpenModem(port)
	}
	return Exec(strings.Fields(rest))
}

// Check finds what is wrong with a name. What the name leads to is not touched.
func Check(name string) error {
	_, _, _, err := parse(name)
	return err
}

func parse(name string) (kind, rest string, port Port, err error) {
	kind, rest, found := strings.Cut(name, ":")
	switch {
	case !found:
		return "", "", port, fmt.Errorf("card %q: it is euicc:DIR, pcsc:READER, at:DEVICE or exec:PROGRAM", name)
	case kind == "at":
		if port, err = parsePort(rest); err != nil {
			return "", "", port, fmt.Errorf("card %q: %w", name, err)
		}
	case (kind == "euicc" || kind == "exec") && strings.TrimSpace(rest) == "":
		return "", "", port, fmt.Errorf("card %q: what follows the colon is missing", name)
	case kind != "euicc" && kind != "pcsc" && kind != "exec":
		return "", "", port, fmt.Errorf("card %q: there is no way called %q; it is euicc, pcsc, at or exec", name, kind)
	}
	return kind, rest, port, nil
}

// parsePort reads DEVICE[?mode=…&baud=…].
func parsePort(text string) (Port, error) {
	device, query, _ := strings.Cut(text, "?")
	p := Port{Device: device}
	if device == "" {
		return p, errors.New("the device of the AT port is missing, as /dev/ttyUSB2")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return p, err
	}
	for key, list := range values {
		value := list[len(list)-1]
		switch key {
		case "mode":
			switch p.Mode = Mode(value); p.Mode {
			case CGLA, CSIM:
			default:
				return p, fmt.Errorf("mode is %s or %s, not %q", CGLA, CSIM, value)
			}
		case "baud":
			if p.Baud, err = strconv.Atoi(value); err != nil || p.Baud < 300 || p.Baud > 4_000_000 {
				return p, fmt.Errorf("baud is a number from 300 to 4000000, not %q", value)
			}
		default:
			return p, fmt.Errorf("%q is no setting of an AT port; it has mode and baud", key)
		}
	}
	return p, nil
}
