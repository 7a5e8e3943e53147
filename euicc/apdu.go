package euicc

import (
	"errors"
	"fmt"
)

// Status words. ETSI TS 102 221, 10.2.1; GlobalPlatform Card Specification,
// 11.1.3.
const (
	swOK               uint16 = 0x9000
	swMemoryProblem    uint16 = 0x6581
	swWrongLength      uint16 = 0x6700
	swNoChannel        uint16 = 0x6881
	swNoSecureMessage  uint16 = 0x6882
	swWrongStructure   uint16 = 0x6981
	swSecurity         uint16 = 0x6982
	swBlocked          uint16 = 0x6983
	swInvalidated      uint16 = 0x6984
	swConditions       uint16 = 0x6985
	swNoEF             uint16 = 0x6986
	swWrongData        uint16 = 0x6A80
	swFunction         uint16 = 0x6A81
	swFileNotFound     uint16 = 0x6A82
	swRecordNotFound   uint16 = 0x6A83
	swNoSpace          uint16 = 0x6A84
	swWrongP1P2        uint16 = 0x6A86
	swDataNotFound     uint16 = 0x6A88
	swOffset           uint16 = 0x6B00
	swInstruction      uint16 = 0x6D00
	swClass            uint16 = 0x6E00
	swAuthentication   uint16 = 0x9862
	swAttempts         uint16 = 0x63C0
	swMoreData         uint16 = 0x6100
	swExactLength      uint16 = 0x6C00
	swProactive        uint16 = 0x9100
	maxShort                  = 256
	maxExtended               = 65536
	maxChannels               = 20 // 0 to 3 in the class, 4 to 19 in its further form
	basicChannel              = 0
	furtherChannelBase        = 4
)

// A refusal is a status word that ends a command.
type refusal uint16

func (r refusal) Error() string { return fmt.Sprintf("status %04X", uint16(r)) }

// errAPDU reports octets that are no command APDU.
var errAPDU = errors.New("not a command APDU")

// A command is a command APDU taken apart. ISO 7816-4, 5.1.
type command struct {
	cla, ins, p1, p2 byte
	data             []byte
	le               int // octets of answer that the reader asks for, -1 for none
	extended         bool
	channel          int
	proprietary      bool // class 8x or Cx and above
}

func parseCommand(b []byte) (command, error) {
	if len(b) < 4 {
		return command{}, errAPDU
	}
	c := command{cla: b[0], ins: b[1], p1: b[2], p2: b[3], le: -1}
	if b[0] == 0xFF {
		return command{}, errAPDU
	}
	c.readClass()
	rest := b[4:]
	switch {
	case len(rest) == 0:
		return c, nil
	case len(rest) == 1:
		c.le = expected(int(rest[0]), maxShort)
		return c, nil
	case rest[0] != 0:
		return c, c.readBody(rest[1:], int(rest[0]), 1, maxShort)
	case len(rest) == 3: // 00 Le Le
		c.extended = true
		c.le = expected(int(rest[1])<<8|int(rest[2]), maxExtended)
		return c, nil
	case len(rest) > 3:
		c.extended = true
		return c, c.readBody(rest[3:], int(rest[1])<<8|int(rest[2]), 2, maxExtended)
	}
	return c, errAPDU
}

// readBody takes n octets of data, and an expected length of up to size octets
// after them.
func (c *command) readBody(b []byte, n, size, most int) error {
	if n == 0 || len(b) < n {
		return errAPDU
	}
	c.data = b[:n:n]
	switch tail := b[n:]; len(tail) {
	case 0:
	case size:
		le := 0
		for _, o := range tail {
			le = le<<8 | int(o)
		}
		c.le = expected(le, most)
	default:
		return errAPDU
	}
	return nil
}

// expected reads Le, where zero means as much as there can be.
func expected(le, most int) int {
	if le == 0 {
		return most
	}
	return le
}

// readClass splits the class octet. ETSI TS 102 221, 10.1.1.
func (c *command) readClass() {
	c.proprietary = c.cla&0x80 != 0
	if c.cla&0x40 != 0 {
		c.channel = int(c.cla&0x0F) + furtherChannelBase
		return
	}
	c.channel = int(c.cla & 0x03)
}

// secured reports whether the class announces secure messaging, which the card
// has none of.
func (c *command) secured() bool {
	if c.cla&0x40 != 0 {
		return c.cla&0x20 != 0
	}
	return c.cla&0x0C != 0
}

// A response is what a command ends in.
type response struct {
	data []byte
	sw   uint16
}

func (r response) bytes() []byte {
	out := make([]byte, 0, len(r.data)+2)
	out = append(out, r.data...)
	return append(out, byte(r.sw>>8), byte(r.sw))
}

func status(sw uint16) response { return response{sw: sw} }

// Transmit gives the card a command APDU and returns its response APDU, status
// word at the end. Refusals are status words; the error is for a card that
// cannot answer: closed, silent by order, or with a failing memory.
func (c *Card) Transmit(apdu []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, c.broken
	}
	if c.cfg.Faults.Silent || !c.powered {
		return nil, ErrSilent
	}
	cmd, err := parseCommand(apdu)
	if err != nil {
		return status(swWrongLength).bytes(), nil
	}
	r := c.perform(&cmd)
	if c.broken != nil {
		return nil, c.broken
	}
	if !c.powered { // the power was cut while it worked
		return nil, ErrSilent
	}
	return r.bytes(), nil
}

// perform runs one command and gives its answer the form that the reader wants.
func (c *Card) perform(cmd *command) response {
	switch {
	case cmd.secured():
		return status(swNoSecureMessage)
	case cmd.channel >= maxChannels || c.channels[cmd.channel] == nil:
		return status(swNoChannel)
	}
	ch := c.channels[cmd.channel]
	if cmd.ins == insGetResponse { // in the class of the command that it belongs to, or in 0X
		return c.getResponse(ch, cmd)
	}
	ch.pending = nil
	if cmd.ins != insStoreData {
		ch.chain = nil // another command breaks a chain
	}
	before, kit := *ch, c.toolkit
	data, err := c.dispatch(ch, cmd)
	if err != nil {
		if refused, ok := errors.AsType[refusal](err); ok {
			return status(uint16(refused))
		}
		return status(swMemoryProblem)
	}
	r := c.answer(ch, cmd, data)
	if r.sw&0xFF00 == swExactLength { // the reader will ask again: nothing has happened
		*ch, c.toolkit = before, kit
	}
	return r
}

// answer hands out data as the reader asked for it, and keeps the rest for GET
// RESPONSE.
func (c *Card) answer(ch *channel, cmd *command, data []byte) response {
	if len(data) == 0 {
		return status(c.done())
	}
	if c.cfg.Terminal && exact(cmd.ins) && cmd.le > len(data) && cmd.le < maxShort {
		return status(swExactLength | uint16(len(data)))
	}
	if cmd.le < 0 || c.cfg.Terminal && cmd.data != nil {
		ch.pending = data
		return status(swMoreData | remaining(data))
	}
	return c.part(ch, data, cmd.le)
}

// exact reports whether a T=0 card insists on the exact length for an
// instruction. ETSI TS 102 221, 7.3.1.1.
func exact(ins byte) bool {
	return ins == insStatus || ins == insFetch || ins == insReadBinary || ins == insReadRecord
}

// part returns up to n octets of data and keeps the rest.
func (c *Card) part(ch *channel, data []byte, n int) response {
	if n >= len(data) {
		ch.pending = nil
		return response{data: data, sw: c.done()}
	}
	ch.pending = data[n:]
	return response{data: data[:n], sw: swMoreData | remaining(data[n:])}
}

func (c *Card) getResponse(ch *channel, cmd *command) response {
	if cmd.p1 != 0 || cmd.p2 != 0 {
		return status(swWrongP1P2)
	}
	if len(ch.pending) == 0 {
		return status(swConditions)
	}
	if cmd.le < 0 || cmd.data != nil {
		return status(swWrongLength)
	}
	return c.part(ch, ch.pending, cmd.le)
}

// remaining is the second octet of 61xx: 00 stands for 256 or more.
func remaining(data []byte) uint16 {
	if len(data) >= maxShort {
		return 0
	}
	return uint16(len(data))
}

// done is the status word of success: 91xx when the card has something to say.
func (c *Card) done() uint16 {
	if n := c.toolkit.waiting(); n > 0 {
		return swProactive | uint16(n)
	}
	return swOK
}

// Instructions. ETSI TS 102 221, table 10.5.
const (
	insTerminalProfile  = 0x10
	insFetch            = 0x12
	insTerminalResponse = 0x14
	insVerify           = 0x20
	insChangePIN        = 0x24
	insDisablePIN       = 0x26
	insEnablePIN        = 0x28
	insUnblockPIN       = 0x2C
	insManageChannel    = 0x70
	insAuthenticate     = 0x88
	insSearchRecord     = 0xA2
	insSelect           = 0xA4
	insTerminalCap      = 0xAA
	insReadBinary       = 0xB0
	insReadRecord       = 0xB2
	insGetResponse      = 0xC0
	insEnvelope         = 0xC2
	insUpdateBinary     = 0xD6
	insUpdateRecord     = 0xDC
	insStoreData        = 0xE2
	insStatus           = 0xF2
)

// dispatch runs a command and returns the data of its answer.
func (c *Card) dispatch(ch *channel, cmd *command) ([]byte, error) {
	if cmd.proprietary {
		switch cmd.ins {
		case insStoreData:
			return c.storeData(ch, cmd)
		case insStatus:
			return c.describe(ch, cmd)
		case insTerminalCap:
			return nil, c.terminalCapability(cmd)
		case insTerminalProfile, insFetch, insTerminalResponse, insEnvelope:
			return c.toolkitCommand(cmd)
		}
		return nil, refusal(swInstruction)
	}
	switch cmd.ins {
	case insSelect:
		return c.selectFile(ch, cmd)
	case insManageChannel:
		return c.manageChannel(ch, cmd)
	}
	if ch.isdr {
		return nil, refusal(swInstruction)
	}
	switch cmd.ins {
	case insReadBinary:
		return c.readBinary(ch, cmd)
	case insReadRecord:
		return c.readRecord(ch, cmd)
	case insUpdateBinary:
		return nil, c.updateBinary(ch, cmd)
	case insUpdateRecord:
		return nil, c.updateRecord(ch, cmd)
	case insSearchRecord:
		return c.searchRecord(ch, cmd)
	case insVerify, insChangePIN, insDisablePIN, insEnablePIN, insUnblockPIN:
		return nil, c.code(ch, cmd)
	case insAuthenticate:
		return c.authenticate(ch, cmd)
	}
	return nil, refusal(swInstruction)
}

// terminalCapability takes what the device can do. The card does not depend on
// it, but a malformed one is refused. ETSI TS 102 221, 11.1.19.
func (c *Card) terminalCapability(cmd *command) error {
	if cmd.p1 != 0 || cmd.p2 != 0 {
		return refusal(swWrongP1P2)
	}
	if len(cmd.data) < 2 || cmd.data[0] != 0xA9 || int(cmd.data[1]) != len(cmd.data)-2 {
		return refusal(swWrongData)
	}
	return nil
}
