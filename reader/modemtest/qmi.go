package modemtest

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Errors of QMI.
const (
	qmiMalformed    = 1
	qmiNoResources  = 68
	qmiNoEffect     = 26
	qmiBadClient    = 7
	qmiInternal     = 3
	qmiUnsupported  = 94
	qmiBadArgument  = 48
	qmiUnknown      = 71
	qmiClientsOut   = 5
	qmiNoSim        = 102
	serviceUIM      = 0x0B
	maxClients      = 4
	physicalPresent = 2
)

// A qmiRequest is a request taken apart.
type qmiRequest struct {
	service, client byte
	id              uint16
	elements        map[byte][]byte
}

// An element is a TLV of an answer.
type element struct {
	kind  byte
	value []byte
}

// ServeQMI serves one connection. A program that is gone keeps its client IDs and
// channels: qmi-proxy gives nothing back.
func (m *Modem) ServeQMI(conn io.ReadWriteCloser) {
	m.serve(conn, 3, func(h []byte) int { return int(binary.LittleEndian.Uint16(h[1:])) + 1 }, func(message []byte) ([]byte, bool) {
		if message[0] != 1 || len(message) < 12 {
			return nil, false
		}
		return m.answerQMI(message)
	})
}

// ServeQRTR serves one connection whose every read is one message, without the
// header of the control port.
func (m *Modem) ServeQRTR(conn io.ReadWriteCloser) {
	m.enter(conn)
	defer m.leave(conn)
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		if err != nil || n < 7 {
			return
		}
		// As if it came at the control port, from the client 0 that QRTR knows.
		message := slices.Concat([]byte{1}, le16(n+5), []byte{0, serviceUIM, 0}, buf[:n])
		m.mu.Lock()
		answer, _ := m.answerQMI(message)
		m.mu.Unlock()
		if _, err := conn.Write(answer[6:]); err != nil {
			return
		}
	}
}

// answer answers one message with its header; false is to hang up.
func (m *Modem) answerQMI(message []byte) ([]byte, bool) {
	q := qmiRequest{service: message[4], client: message[5], elements: map[byte][]byte{}}
	// Control messages count transactions in one octet, the others in two.
	transaction, rest := message[7:8], message[8:]
	flags := byte(1)
	if q.service != 0 {
		transaction, rest, flags = message[7:9], message[9:], 2
	}
	if len(rest) < 4 {
		return nil, false
	}
	q.id = binary.LittleEndian.Uint16(rest)
	for body := rest[4:]; len(body) >= 3; {
		n := int(binary.LittleEndian.Uint16(body[1:]))
		if n > len(body)-3 {
			return nil, false
		}
		q.elements[body[0]] = body[3 : 3+n]
		body = body[3+n:]
	}
	m.heard = append(m.heard, fmt.Sprintf("%02X %04X", q.service, q.id))
	code, elements := m.performQMI(q)
	if code < 0 {
		return nil, false
	}
	for i := range elements {
		elements[i].value = m.cut(elements[i].value)
	}
	result := slices.Concat(le16(min(code, 1)), le16(code))
	answer := m.qmiMessage(q, flags, transaction, append([]element{{0x02, result}}, elements...))
	if m.Noisy {
		late := slices.Clone(transaction)
		late[0]--
		failed := []element{{0x02, []byte{1, 0, 3, 0}}}
		others, toAll := q, q
		others.client++
		toAll.client = 0xFF
		answer = slices.Concat(
			m.qmiMessage(q, flags<<1, make([]byte, len(transaction)), []element{{0x10, []byte{9}}}), // an indication
			m.qmiMessage(toAll, flags<<1, transaction, []element{{0x10, nil}}),
			m.qmiMessage(q, flags, late, failed),             // an answer that was late
			m.qmiMessage(others, flags, transaction, failed), // an answer to somebody else
			answer)
	}
	return answer, true
}

func (m *Modem) qmiMessage(q qmiRequest, flags byte, transaction []byte, elements []element) []byte {
	var body []byte
	for _, e := range elements {
		body = slices.Concat(body, []byte{e.kind}, le16(len(e.value)), e.value)
	}
	inner := slices.Concat([]byte{flags}, transaction, le16(int(q.id)), le16(len(body)), body)
	return slices.Concat([]byte{1}, le16(len(inner)+5), []byte{0x80, q.service, q.client}, inner)
}

// perform does what is asked. A code below zero is to hang up.
func (m *Modem) performQMI(q qmiRequest) (int, []element) {
	switch q.service {
	case 0:
		return m.control(q)
	case serviceUIM:
		if q.client != 0 && (int(q.client) > len(m.clients) || !m.clients[q.client-1]) {
			return qmiBadClient, nil
		}
		return m.uim(q)
	}
	return qmiUnknown, nil
}

func (m *Modem) control(q qmiRequest) (int, []element) {
	switch q.id {
	case 0xFF00: // libqmi's: open the device
		if m.Lost || len(q.elements[1]) == 0 {
			return -1, nil
		}
		return 0, nil
	case 0x0021: // versions: of control and of UIM
		return 0, []element{{0x01, slices.Concat([]byte{2, 0}, le16(1), le16(5), []byte{serviceUIM}, le16(1), le16(46))}}
	case 0x0026, 0x0027: // data format, sync
		return 0, nil
	case 0x0022:
		if len(q.elements[1]) != 1 || q.elements[1][0] != serviceUIM {
			return qmiBadArgument, nil
		}
		n := slices.Index(m.clients, false)
		if n < 0 {
			n = len(m.clients)
			m.clients = append(m.clients, false)
		}
		if n >= maxClients {
			return qmiClientsOut, nil
		}
		m.clients[n] = true
		return 0, []element{{0x01, []byte{serviceUIM, byte(n + 1)}}}
	case 0x0023:
		if len(q.elements[1]) != 2 || !m.release(q.elements[1][1]) {
			return qmiBadClient, nil
		}
		return 0, []element{{0x01, q.elements[1]}}
	}
	return qmiUnknown, nil
}

func (m *Modem) release(client byte) bool {
	if client == 0 || int(client) > len(m.clients) || !m.clients[client-1] {
		return false
	}
	m.clients[client-1] = false
	return true
}

func (m *Modem) uim(q qmiRequest) (int, []element) {
	switch q.id {
	case 0x0047, 0x0046:
		if m.Single {
			return qmiUnsupported, nil
		}
		if q.id == 0x0047 {
			return 0, []element{{0x10, m.slots()}}
		}
		return m.switchSlot(q), nil
	case 0x002F:
		return 0, []element{{0x10, m.cardStatus()}}
	}
	// The rest is about the card in the one slot that is in use.
	if slot := q.elements[1]; len(slot) != 1 || slot[0] != 1 {
		return qmiBadArgument, nil
	}
	switch q.id {
	case 0x0042:
		aid := q.elements[0x10]
		if len(aid) < 1 || int(aid[0]) != len(aid)-1 {
			return qmiMalformed, nil
		}
		if m.card() == nil {
			return qmiNoSim, nil
		}
		n, err := m.openChannel(uint32(q.client), aid[1:])
		if err != nil {
			return qmiNoResources, nil
		}
		return 0, []element{{0x10, []byte{byte(n)}}, {0x11, []byte{0x90, 0x00}}}
	case 0x003F:
		number := q.elements[0x11]
		if len(number) != 1 || m.closeChannel(int(number[0])) != nil {
			return qmiBadArgument, nil
		}
		return 0, nil
	case 0x003B:
		apdu, number := q.elements[2], q.elements[0x10]
		if len(apdu) < 2 || int(binary.LittleEndian.Uint16(apdu)) != len(apdu)-2 || len(number) != 1 {
			return qmiMalformed, nil
		}
		response, err := m.carry(int(number[0]), apdu[2:])
		if err != nil {
			return qmiInternal, nil
		}
		return 0, []element{{0x10, slices.Concat(le16(len(response)), response)}}
	}
	return qmiUnknown, nil
}

func (m *Modem) slots() []byte {
	list := []byte{byte(len(m.Cards))}
	for i, card := range m.Cards {
		state, active, logical := uint32(1), uint32(0), byte(0)
		if card != nil {
			state = physicalPresent
		}
		if i == m.active {
			active, logical = 1, 1
		}
		list = slices.Concat(list, le32(state), le32(active), []byte{logical, 0})
	}
	return list
}

func (m *Modem) switchSlot(q qmiRequest) int {
	logical, physical := q.elements[1], q.elements[2]
	if len(logical) != 1 || logical[0] != 1 || len(physical) != 4 {
		return qmiMalformed
	}
	slot := int(binary.LittleEndian.Uint32(physical)) - 1
	switch {
	case slot == m.active:
		return qmiNoEffect
	case m.use(slot) != nil:
		return qmiBadArgument
	}
	return 0
}

// cardStatus tells of one card with one application, a USIM that is ready.
func (m *Modem) cardStatus() []byte {
	none := []byte{0xFF, 0xFF}
	status := slices.Concat([]byte{0, 0}, none, none, none, []byte{1})
	if m.card() == nil {
		return append(status, 0, 0, 0, 0, 0, 0)
	}
	status = append(status, 1, 0, 3, 10, 0, 1, 2, 7, 0, 0, 0, 0, 16)
	return append(append(status, make([]byte, 16)...), 0, 1, 3, 10, 1, 3, 10)
}
