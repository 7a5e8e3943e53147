package euicc

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Control messages of the virtual reader: one octet, where an APDU has four or
// more.
const (
	vpcdOff   = 0x00
	vpcdOn    = 0x01
	vpcdReset = 0x02
	vpcdATR   = 0x04
)

// ServeVPCD is the card in a virtual PC/SC reader (vsmartcard's vpcd): messages
// of a length in two octets and a body, both ways. It returns nil when the
// reader goes away, or when ctx ends, which takes the card out.
func (c *Card) ServeVPCD(ctx context.Context, conn net.Conn) error {
	c.SetTerminal(true)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer c.PowerDown()
	// The reader's driver writes length and body apart and waits in between for
	// the acknowledgement, which the kernel would put off for 40 ms.
	in := bufio.NewReader(quickAck{conn})
	for {
		body, err := readMessage(in)
		switch {
		case ctx.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read from the virtual reader: %w", err)
		}
		answer, err := c.vpcd(body)
		if err != nil {
			return err
		}
		if answer == nil {
			continue
		}
		message := append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)
		if _, err := conn.Write(message); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("write to the virtual reader: %w", err)
		}
	}
}

func readMessage(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return body, nil
}

// vpcd does what one message says; nil is no answer.
func (c *Card) vpcd(body []byte) ([]byte, error) {
	if len(body) == 1 {
		switch body[0] {
		case vpcdOff:
			c.PowerDown()
		case vpcdOn, vpcdReset:
			return nil, c.Reset()
		case vpcdATR:
			return c.ATR(), nil
		}
		return nil, nil
	}
	response, err := c.Transmit(body)
	if errors.Is(err, ErrSilent) {
		// A mute card: the reader hears "no precise diagnosis".
		return []byte{0x6F, 0x00}, nil
	}
	return response, err
}
