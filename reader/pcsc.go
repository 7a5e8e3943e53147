package reader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// The protocol of pcscd's socket, version 4.4: a header of length and command,
// then a structure of 32-bit integers in the order of octets of the machine.
// It is pcscd's own and stands in no document but its sources' headers; a server
// of a later version speaks it to clients that ask for it.
const (
	pcscMajor = 4
	pcscMinor = 4

	pcscEstablish    = 0x01
	pcscRelease      = 0x02
	pcscConnect      = 0x04
	pcscDisconnect   = 0x06
	pcscTransmit     = 0x09
	pcscVersion      = 0x11
	pcscReadersState = 0x12

	pcscNameLen    = 128
	pcscReaders    = 16 // entries in the answer about readers
	pcscReaderLen  = pcscNameLen + 4 + 4 + 4 + 36 + 4 + 4
	pcscPresent    = 0x0004 // bit of a reader's state: a card is in it
	pcscShared     = 2
	pcscScope      = 2 // system
	pcscT0         = 1
	pcscT1         = 2
	pcscLeave      = 0
	pcscMaxAnswer  = 0x10000 + 2
	pcscPCILength  = 16 // of two unsigned longs; pcscd copies it, no more
	pcscPatience   = 10 * time.Second
	pcscSocketName = "/run/pcscd/pcscd.comm"
)

// PCSCSocket returns where pcscd listens: PCSCLITE_CSOCK_NAME, as for all of its
// clients, or its usual place.
func PCSCSocket() string {
	if name := os.Getenv("PCSCLITE_CSOCK_NAME"); name != "" {
		return name
	}
	return pcscSocketName
}

// A PCSCError is a refusal of pcscd.
type PCSCError uint32

// pcscErrors are those that the owner of a device can do something about.
var pcscErrors = map[PCSCError]string{
	0x80100009: "there is no such reader",
	0x8010000B: "another program has the card for itself",
	0x8010000C: "there is no card in the reader",
	0x80100017: "the reader is gone",
	0x8010001D: "pcscd speaks another version of its protocol",
	0x8010001E: "pcscd is ending",
	0x8010002E: "there is no reader",
	0x8010002F: "the card does not answer properly",
	0x80100066: "the card does not answer to a reset",
	0x80100067: "the card has no power",
	0x80100068: "the card has been reset",
	0x80100069: "the card has been taken out",
}

func (e PCSCError) Error() string {
	if text, ok := pcscErrors[e]; ok {
		return fmt.Sprintf("pcscd: %s (%08X)", text, uint32(e))
	}
	return fmt.Sprintf("pcscd: error %08X", uint32(e))
}

// A pcsc is one connection to a card through pcscd.
type pcsc struct {
	mu       sync.Mutex
	conn     net.Conn
	context  uint32
	card     uint32
	protocol uint32
	broken   error // the dialogue is out of step
}

// OpenPCSC connects to the card in the first reader whose name has part in it.
func OpenPCSC(socket, part string) (Card, error) {
	conn, err := net.DialTimeout("unix", socket, pcscPatience)
	if err != nil {
		return nil, fmt.Errorf("reach pcscd: %w", err)
	}
	p := &pcsc{conn: conn}
	if err := p.connect(part); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return p, nil
}

func (p *pcsc) connect(part string) error {
	if _, err := p.call(pcscVersion, pcscPatience, 2, pcscMajor, pcscMinor, 0); err != nil {
		return err
	}
	opened, err := p.call(pcscEstablish, pcscPatience, 2, pcscScope, 0, 0)
	if err != nil {
		return err
	}
	p.context = opened[1]
	name, err := p.reader(part)
	if err != nil {
		return err
	}
	return p.connectTo(name)
}

// call sends a structure of integers and returns the one that comes back; its
// member at result is the error.
func (p *pcsc) call(command uint32, patience time.Duration, result int, members ...uint32) ([]uint32, error) {
	body := make([]byte, 0, 4*len(members))
	for _, m := range members {
		body = binary.NativeEndian.AppendUint32(body, m)
	}
	if err := p.send(command, patience, body); err != nil {
		return nil, err
	}
	if err := p.receive(body); err != nil {
		return nil, err
	}
	for i := range members {
		members[i] = binary.NativeEndian.Uint32(body[4*i:])
	}
	if e := PCSCError(members[result]); e != 0 {
		return nil, e
	}
	return members, nil
}

// send writes a message and sets how long the answer may take.
func (p *pcsc) send(command uint32, patience time.Duration, parts ...[]byte) error {
	if p.broken != nil {
		return p.broken
	}
	message := binary.NativeEndian.AppendUint32(nil, uint32(len(parts[0])))
	message = binary.NativeEndian.AppendUint32(message, command)
	message = append(message, bytes.Join(parts, nil)...)
	err := p.conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = p.conn.Write(message)
	}
	return p.failed(err)
}

func (p *pcsc) receive(into []byte) error {
	_, err := io.ReadFull(p.conn, into)
	return p.failed(err)
}

func (p *pcsc) failed(err error) error {
	if err != nil {
		p.broken = fmt.Errorf("talk to pcscd: %w", err)
	}
	return p.broken
}

// reader finds a reader with a card by a part of its name.
func (p *pcsc) reader(part string) (string, error) {
	if err := p.send(pcscReadersState, pcscPatience, nil); err != nil {
		return "", err
	}
	list := make([]byte, pcscReaders*pcscReaderLen)
	if err := p.receive(list); err != nil {
		return "", err
	}
	var without []string
	for ; len(list) > 0; list = list[pcscReaderLen:] {
		name, _, _ := strings.Cut(string(list[:pcscNameLen]), "\x00")
		if name == "" || !strings.Contains(name, part) {
			continue
		}
		if binary.NativeEndian.Uint32(list[pcscNameLen+4:])&pcscPresent != 0 {
			return name, nil
		}
		without = append(without, fmt.Sprintf("%q", name))
	}
	if len(without) > 0 {
		return "", fmt.Errorf("pcscd: no card in %s", strings.Join(without, ", "))
	}
	if part != "" {
		return "", fmt.Errorf("pcscd: no reader has %q in its name", part)
	}
	return "", errors.New("pcscd: there is no reader")
}

func (p *pcsc) connectTo(name string) error {
	body := binary.NativeEndian.AppendUint32(nil, p.context)
	body = append(body, make([]byte, pcscNameLen)...)
	copy(body[4:], name)
	for _, m := range []uint32{pcscShared, pcscT0 | pcscT1, 0, 0, 0} {
		body = binary.NativeEndian.AppendUint32(body, m)
	}
	if err := p.send(pcscConnect, apduTime, body); err != nil {
		return err
	}
	if err := p.receive(body); err != nil {
		return err
	}
	member := func(i int) uint32 { return binary.NativeEndian.Uint32(body[4+pcscNameLen+4*i:]) }
	if e := PCSCError(member(4)); e != 0 {
		return fmt.Errorf("connect to the card in %q: %w", name, e)
	}
	p.card, p.protocol = member(2), member(3)
	return nil
}

// Transmit sends one command.
func (p *pcsc) Transmit(apdu []byte) ([]byte, error) {
	if len(apdu) < 4 {
		return nil, errShort
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	header := make([]byte, 0, 32)
	for _, m := range []uint32{
		p.card, p.protocol, pcscPCILength, uint32(len(apdu)), p.protocol, pcscPCILength, pcscMaxAnswer, 0,
	} {
		header = binary.NativeEndian.AppendUint32(header, m)
	}
	if err := p.send(pcscTransmit, apduTime, header, apdu); err != nil {
		return nil, err
	}
	if err := p.receive(header); err != nil {
		return nil, err
	}
	if e := PCSCError(binary.NativeEndian.Uint32(header[28:])); e != 0 {
		return nil, e
	}
	n := binary.NativeEndian.Uint32(header[24:])
	if n < 2 || n > pcscMaxAnswer {
		return nil, p.failed(fmt.Errorf("an answer of %d octets", n))
	}
	answer := make([]byte, n)
	if err := p.receive(answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// Close leaves the card as it is.
func (p *pcsc) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		// pcscd tidies up after clients that are gone.
		_, _ = p.call(pcscDisconnect, pcscPatience, 2, p.card, pcscLeave, 0)
		_, _ = p.call(pcscRelease, pcscPatience, 1, p.context, 0)
	}
	p.broken = errClosed
	return p.conn.Close()
}
