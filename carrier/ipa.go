package carrier

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// IPA is how Osmocom programs frame what they tell each other: two octets of
// length, one that names the stream, then the message. Where the stream is the
// extended one, the message begins with the octet of its extension.
const (
	streamCCM      = 0xFE // connection management
	streamExtended = 0xEE

	extensionCTRL = 0x00
	extensionGSUP = 0x05
)

// appendFrame appends one message. It panics on one of more than 64 KiB, and
// nothing here makes such.
func appendFrame(b []byte, stream byte, message ...[]byte) []byte {
	n := 0
	for _, m := range message {
		n += len(m)
	}
	if n > 0xFFFF {
		panic("carrier: an IPA message is too long")
	}
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, stream)
	for _, m := range message {
		b = append(b, m...)
	}
	return b
}

// readFrame reads one message.
func readFrame(r io.Reader) (stream byte, message []byte, err error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	message = make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(r, message); err != nil {
		return 0, nil, fmt.Errorf("IPA message cut off: %w", err)
	}
	return head[2], message, nil
}

// Messages of connection management.
const (
	ccmPing    = 0x00
	ccmPong    = 0x01
	ccmGetID   = 0x04
	ccmAnswer  = 0x05
	ccmConfirm = 0x06
)

// Tags of what a peer may ask to know about us.
const (
	tagSerial = 0x00
	tagName   = 0x01
	tagUnitID = 0x08
)

// answerCCM returns what a message of connection management wants as an
// answer, nil for nothing. To who we are the name is the answer throughout: an
// HLR only has to tell its peers apart.
func answerCCM(message []byte, name string) ([]byte, error) {
	if len(message) == 0 {
		return nil, errors.New("an IPA message of connection management is empty")
	}
	switch message[0] {
	case ccmPing:
		return appendFrame(nil, streamCCM, []byte{ccmPong}), nil
	case ccmGetID:
		answer := []byte{ccmAnswer}
		for _, tag := range []byte{tagSerial, tagName, tagUnitID} {
			answer = binary.BigEndian.AppendUint16(answer, uint16(2+len(name)))
			answer = append(answer, tag)
			answer = append(append(answer, name...), 0)
		}
		return appendFrame(nil, streamCCM, answer), nil
	}
	return nil, nil
}
