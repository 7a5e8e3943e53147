package modemtest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
)

// Services of MBIM that the modem knows.
const (
	proxyControl   = "838cf7fb8d0d4d7f871ed71dbefbb39b"
	basicConnect   = "a289cc33bcbb8b4fb6b0133ec2aae6df"
	extensions     = "3d01dcc5fef54d050d3abef7058e9aaf"
	lowLevelAccess = "c2f6588ef0374bc98665f4d44bd09367"
)

// Status codes of MBIM.
const (
	mbimFailure     = 2
	mbimNoCard      = 3
	mbimUnsupported = 9
	mbimBadArgument = 21
	mbimNoChannels  = 0x87430001
	mbimBadChannel  = 0x87430003
	mbimReady       = 1
	mbimNoReady     = 2
)

// ServeMBIM serves one connection.
func (m *Modem) ServeMBIM(conn io.ReadWriteCloser) {
	m.serve(conn, 12, func(h []byte) int { return int(binary.LittleEndian.Uint32(h[4:])) }, m.answerMBIM)
}

// answerMBIM answers one message; false is to hang up.
func (m *Modem) answerMBIM(message []byte) ([]byte, bool) {
	kind, transaction := binary.LittleEndian.Uint32(message), message[8:12]
	switch {
	case kind == 1 || kind == 2: // open, close
		m.heard = append(m.heard, fmt.Sprintf("message %d", kind))
		return frame(kind|0x80000000, transaction, le32(0)), true
	case kind != 3 || len(message) < 48:
		return frame(0x80000004, transaction, le32(3)), true
	}
	service, command := hex.EncodeToString(message[20:36]), binary.LittleEndian.Uint32(message[36:])
	content := message[48:]
	if int(binary.LittleEndian.Uint32(message[44:])) != len(content) {
		return frame(0x80000004, transaction, le32(3)), true
	}
	set := binary.LittleEndian.Uint32(message[40:]) == 1
	m.heard = append(m.heard, fmt.Sprintf("%s %d", service[:8], command))
	if m.Lost && service == proxyControl {
		return nil, false
	}
	status, answer := m.performMBIM(service, command, set, content)
	if answer = m.cut(answer); status != 0 {
		answer = nil
	}
	done := func(transaction []byte, status uint32, answer []byte) []byte {
		return frame(0x80000003, transaction, slices.Concat(le32(1), le32(0), message[20:40], le32(status), le32(uint32(len(answer))), answer))
	}
	out := done(transaction, status, answer)
	if m.Noisy {
		late := slices.Clone(transaction)
		late[0]--
		news := slices.Concat(le32(1), le32(0), message[20:40], le32(4), []byte{1, 2, 3, 4})
		out = slices.Concat(frame(7|0x80000000, []byte{0, 0, 0, 0}, news), frame(7, transaction, news), done(late, mbimFailure, nil), frame(0x80000004, late, le32(3)), out)
	}
	return out, true
}

func frame(kind uint32, transaction, rest []byte) []byte {
	return slices.Concat(le32(kind), le32(uint32(12+len(rest))), transaction, rest)
}

// performMBIM does what a command asks, and returns a status and the answer.
func (m *Modem) performMBIM(service string, command uint32, set bool, content []byte) (uint32, []byte) {
	switch fmt.Sprintf("%s %d", service, command) {
	case proxyControl + " 1":
		return 0, nil
	case basicConnect + " 2": // subscriber's readiness; no numbers are told
		state := uint32(mbimReady)
		if m.card() == nil {
			state = mbimNoReady
		}
		return 0, append(le32(state), make([]byte, 24)...)
	case extensions + " 7":
		return m.mapSlots(set, content)
	case lowLevelAccess + " 2":
		return m.openMBIM(content)
	case lowLevelAccess + " 3":
		return m.closeMBIM(content)
	case lowLevelAccess + " 4":
		return m.carryMBIM(content)
	}
	return mbimUnsupported, nil
}

// mapSlots tells or changes the slot of the modem's one executor.
func (m *Modem) mapSlots(set bool, content []byte) (uint32, []byte) {
	if m.Single {
		return mbimUnsupported, nil
	}
	if set {
		if len(content) != 16 || binary.LittleEndian.Uint32(content) != 1 || binary.LittleEndian.Uint32(content[4:]) != 12 {
			return mbimBadArgument, nil
		}
		if err := m.use(int(binary.LittleEndian.Uint32(content[12:]))); err != nil {
			return mbimBadArgument, nil
		}
	}
	return 0, slices.Concat(le32(1), le32(12), le32(4), le32(uint32(m.active)))
}

// openMBIM opens a channel: size and place of the application's name, the
// second parameter of SELECT, the group.
func (m *Modem) openMBIM(content []byte) (uint32, []byte) {
	if len(content) < 16 {
		return mbimBadArgument, nil
	}
	aid, ok := part(content, binary.LittleEndian.Uint32(content[4:]), binary.LittleEndian.Uint32(content))
	if !ok {
		return mbimBadArgument, nil
	}
	if m.card() == nil {
		return mbimNoCard, nil
	}
	n, err := m.openChannel(binary.LittleEndian.Uint32(content[12:]), aid)
	if err != nil {
		return mbimNoChannels, nil
	}
	return 0, slices.Concat(le32(0x0090), le32(uint32(n)), le32(0), le32(16))
}

// closeMBIM closes a channel, or a group of them where the channel is zero.
func (m *Modem) closeMBIM(content []byte) (uint32, []byte) {
	if len(content) != 8 {
		return mbimBadArgument, nil
	}
	n := int(binary.LittleEndian.Uint32(content))
	if n == 0 && m.closeOf(binary.LittleEndian.Uint32(content[4:])) == 0 || n != 0 && m.closeChannel(n) != nil {
		return mbimBadChannel, nil
	}
	return 0, le32(0x0090)
}

// carryMBIM carries a command: channel, secure messaging, kind of class octet,
// size and place of the command.
func (m *Modem) carryMBIM(content []byte) (uint32, []byte) {
	if len(content) < 20 {
		return mbimBadArgument, nil
	}
	apdu, ok := part(content, binary.LittleEndian.Uint32(content[16:]), binary.LittleEndian.Uint32(content[12:]))
	if !ok || len(apdu) > 261 {
		return mbimBadArgument, nil
	}
	response, err := m.carry(int(binary.LittleEndian.Uint32(content)), apdu)
	if err != nil {
		return mbimBadChannel, nil
	}
	n := len(response) - 2
	return 0, slices.Concat([]byte{response[n], response[n+1], 0, 0}, le32(uint32(n)), le32(12), response[:n], make([]byte, -n&3))
}

// part returns what stands at a place in a message.
func part(content []byte, at, size uint32) ([]byte, bool) {
	if uint64(at)+uint64(size) > uint64(len(content)) {
		return nil, false
	}
	return content[at : at+size], true
}
