// Package reader is the ways to an eUICC that is no program of ours: a reader
// behind pcscd, a modem behind its AT commands, QMI or MBIM, and any other
// program that carries APDUs. Each way is an lpa.Card.
//
// The names are those of the command line: euicc:DIR, pcsc:READER,
// at:/dev/ttyUSB2, qmi:/dev/cdc-wdm0, mbim:/dev/cdc-wdm0, qrtr:, exec:PROGRAM.
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
//	qmi:DEVICE           a modem's QMI port, by way of qmi-proxy
//	mbim:DEVICE          a modem's MBIM port, by way of mbim-proxy
//	qrtr:                the modem in the same chip as the processor, over QRTR
//	exec:PROGRAM ARGS    a program that answers lpac's stdio APDU protocol
//
// qmi, mbim and qrtr have ?slot=2 for the card in another slot than the one in
// use.
func Open(name string) (Card, error) {
	w, err := parse(name)
	if err != nil {
		return nil, err
	}
	return w.open()
}

// Check finds what is wrong with a name. What the name leads to is not touched.
func Check(name string) error {
	_, err := parse(name)
	return err
}

// A way is a name taken apart.
type way struct {
	kind string
	rest string // the directory, the reader, the program
	port Port   // at
	slot uint8  // qmi, mbim, qrtr: 0 is the one in use
}

func (w way) open() (Card, error) {
	switch w.kind {
	case "euicc":
		return euicc.Open(w.rest)
	case "pcsc":
		return OpenPCSC(PCSCSocket(), w.rest)
	case "at":
		return OpenModem(w.port)
	case "qmi":
		return OpenQMI(qmiProxy, w.port.Device, w.slot)
	case "mbim":
		return OpenMBIM(mbimProxy, w.port.Device, w.slot)
	case "qrtr":
		return OpenQRTR(w.slot)
	}
	return Exec(strings.Fields(w.rest))
}

const waysThereAre = "euicc:DIR, pcsc:READER, at:DEVICE, qmi:DEVICE, mbim:DEVICE, qrtr: or exec:PROGRAM"

func parse(name string) (w way, err error) {
	kind, rest, found := strings.Cut(name, ":")
	w = way{kind: kind, rest: rest}
	switch {
	case !found:
		err = errors.New("it is " + waysThereAre)
	case kind == "at" || kind == "qmi" || kind == "mbim" || kind == "qrtr":
		err = w.readPort()
	case kind == "euicc" || kind == "exec":
		if strings.TrimSpace(rest) == "" {
			err = errors.New("what follows the colon is missing")
		}
	case kind != "pcsc":
		err = fmt.Errorf("there is no way called %q; it is %s", kind, waysThereAre)
	}
	if err != nil {
		return w, fmt.Errorf("card %q: %w", name, err)
	}
	return w, nil
}

// readPort reads DEVICE[?mode=…&baud=…&slot=…].
func (w *way) readPort() error {
	device, query, _ := strings.Cut(w.rest, "?")
	w.port.Device = device
	switch {
	case w.kind == "at" && device == "":
		return errors.New("the device of the AT port is missing, as /dev/ttyUSB2")
	case w.kind == "qrtr" && device != "":
		return errors.New("QRTR has no device: it is qrtr: or qrtr:?slot=2")
	case (w.kind == "qmi" || w.kind == "mbim") && !strings.HasPrefix(device, "/"):
		// The proxy opens it, in a directory of its own.
		return errors.New("the device is to be a whole path, as /dev/cdc-wdm0")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return err
	}
	for key, list := range values {
		if err := w.set(key, list[len(list)-1]); err != nil {
			return err
		}
	}
	return nil
}

// set takes one setting of a port.
func (w *way) set(key, value string) (err error) {
	switch {
	case w.kind == "at" && key == "mode":
		switch w.port.Mode = Mode(value); w.port.Mode {
		case CGLA, CSIM:
		default:
			return fmt.Errorf("mode is %s or %s, not %q", CGLA, CSIM, value)
		}
	case w.kind == "at" && key == "baud":
		if w.port.Baud, err = strconv.Atoi(value); err != nil || w.port.Baud < 300 || w.port.Baud > 4_000_000 {
			return fmt.Errorf("baud is a number from 300 to 4000000, not %q", value)
		}
	case w.kind == "at":
		return fmt.Errorf("%q is no setting of an AT port; it has mode and baud", key)
	case key == "slot":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxSlots {
			return fmt.Errorf("slot is a number from 1 to %d, not %q", maxSlots, value)
		}
		w.slot = uint8(n)
	default:
		return fmt.Errorf("%q is no setting of %s; it has slot", key, w.kind)
	}
	return nil
}
