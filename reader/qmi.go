package reader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/damonto/euicc-go/driver/qmi/core"
	"github.com/damonto/euicc-go/driver/qmi/transport/qmi"
)

// qmiProxy is where qmi-proxy of libqmi listens.
const qmiProxy = "@qmi-proxy"

// A uim is a modem's user identity module service over QMI: it opens logical
// channels and carries commands on them.
type uim struct {
	talk      *talk
	transport core.Transport
	client    uint8 // number that the modem gave us; QRTR has none
	slot      uint8 // as requests count: the slots that are in use
	last      uint16
	mine      [maxOpen + 1]bool // channels
	hangUp    func() error
}

// OpenQMI opens the eUICC of a modem behind qmi-proxy. Slot 0 is the one in use.
func OpenQMI(socket, device string, slot uint8) (Card, error) {
	t, err := dialProxy(socket, "qmi-proxy", "libqmi-proxy", qmux)
	if err != nil {
		return nil, err
	}
	return newQMI(t, device, slot)
}

func newQMI(t *talk, device string, slot uint8) (Card, error) {
	u := &uim{talk: t, transport: qmi.New(t), hangUp: t.end}
	err := u.begin(device)
	if err == nil {
		err = u.choose(slot)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("modem at %s: %w", device, err), u.shut())
	}
	return &channelled{way: u}, nil
}

// begin has the proxy open the device, and the modem give us a number.
func (u *uim) begin(device string) error {
	open := core.InternalOpenRequest{TransactionID: u.next(), DevicePath: []byte(device)}
	if err := u.talk.unopened(u.ask("open the device", open.Request())); err != nil {
		return err
	}
	allocate := core.AllocateClientIDRequest{TransactionID: u.next()}
	if err := u.ask("give us a client ID", allocate.Request()); err != nil {
		return err
	}
	u.client = allocate.Response.ClientID
	return nil
}

// next counts requests from 1; those about clients have one octet.
func (u *uim) next() uint16 {
	u.last = u.last%0xFF + 1
	return u.last
}

// ask makes one request.
func (u *uim) ask(what string, r *core.Request) error {
	patience := commandTime
	switch r.MessageID {
	case core.QMIUIMOpenLogicalChannel, core.QMIUIMCloseLogicalChannel, core.QMIUIMSendAPDU, core.QMIUIMSwitchSlot:
		patience = apduTime
	}
	r.ReadTimeout = patience
	return u.talk.ask(what, patience, func() error { return u.transport.Transmit(r) })
}

// choose makes a slot the one in use if it is not, and finds out the number that
// requests have for it: the modem counts the slots in use for itself.
func (u *uim) choose(slot uint8) error {
	u.slot = 1
	request := core.GetSlotStatusRequest{ClientID: u.client, TransactionID: u.next()}
	err := u.ask("tell its slots", request.Request())
	if refused, ok := errors.AsType[*refusal](err); ok {
		// Modems with one slot need not know the request.
		if slot > 1 {
			return fmt.Errorf("slot %d: %w", slot, refused)
		}
		return nil
	}
	if err != nil {
		return err
	}
	slots := request.Response.Slots
	if slot == 0 {
		for _, s := range slots {
			if s.SlotState == core.UIMSlotStateActive && s.LogicalSlot > 0 {
				u.slot = s.LogicalSlot
				break
			}
		}
		return nil
	}
	if int(slot) > len(slots) {
		return fmt.Errorf("slot %d: the modem has %d", slot, len(slots))
	}
	if s := slots[slot-1]; s.SlotState == core.UIMSlotStateActive {
		u.slot = max(s.LogicalSlot, 1)
		return nil
	}
	change := core.SwitchSlotRequest{ClientID: u.client, TransactionID: u.next(), LogicalSlot: 1, PhysicalSlot: uint32(slot)}
	if err := u.ask(fmt.Sprintf("use slot %d", slot), change.Request()); err != nil {
		return err
	}
	return waitFor(func() (bool, error) {
		status := core.GetCardStatusRequest{ClientID: u.client, TransactionID: u.next()}
		err := u.ask("tell whether the card is ready", status.Request())
		return err == nil && status.Response.Ready(), err
	})
}

func (u *uim) open(aid []byte) (int, error) {
	n, err := u.openOnce(aid)
	if isRefusal(err) && u.reclaim() {
		n, err = u.openOnce(aid)
	}
	return n, err
}

func (u *uim) openOnce(aid []byte) (int, error) {
	r := core.OpenLogicalChannelRequest{ClientID: u.client, TransactionID: u.next(), Slot: u.slot, AID: aid}
	if err := u.ask("open it", r.Request()); err != nil {
		return 0, err
	}
	n, err := number(uint32(r.Response.Channel))
	if err == nil {
		u.mine[n] = true
	}
	return n, err
}

// reclaim closes the channels that assistants who were killed left open, and
// reports whether there were any: neither qmi-proxy nor the modem does so, and
// there are few. They are those on which an ISD-R answers and which are not ours.
func (u *uim) reclaim() (found bool) {
	for n := 1; n <= maxOpen; n++ {
		if !u.mine[n] && u.isISDR(n) && u.close(n) == nil {
			found = true
		}
	}
	return found
}

// isISDR asks for the EID on a channel. Other applications know no such command.
// SGP.22 v2.5, 5.7.20.
func (u *uim) isISDR(n int) bool {
	answer, err := u.transmit(n, []byte{onChannel(0x80, n), 0xE2, 0x91, 0x00, 0x06, 0xBF, 0x3E, 0x03, 0x5C, 0x01, 0x5A})
	if err == nil && answer[len(answer)-2] == 0x61 {
		answer, err = u.transmit(n, []byte{onChannel(0x00, n), 0xC0, 0x00, 0x00, answer[len(answer)-1]})
	}
	return err == nil && bytes.HasPrefix(answer, []byte{0xBF, 0x3E})
}

func (u *uim) close(channel int) error {
	u.mine[channel] = false
	r := core.CloseLogicalChannelRequest{ClientID: u.client, TransactionID: u.next(), Slot: u.slot, Channel: byte(channel)}
	return u.ask("close the logical channel", r.Request())
}

func (u *uim) transmit(channel int, apdu []byte) ([]byte, error) {
	if len(apdu) > maxCarried {
		return nil, errLong
	}
	r := core.TransmitAPDURequest{ClientID: u.client, TransactionID: u.next(), Slot: u.slot, Channel: byte(channel), Command: apdu}
	if err := u.ask("carry a command", r.Request()); err != nil {
		return nil, err
	}
	if len(r.Response.Response) < 2 {
		return nil, errNoStatus
	}
	return r.Response.Response, nil
}

func (u *uim) shut() error {
	if u.client != 0 && u.talk.broken == nil {
		// The modem has few numbers to give, and nobody else gives ours back.
		r := core.ReleaseClientIDRequest{TransactionID: u.next(), ClientID: u.client}
		_ = u.ask("take the client ID back", r.Request())
	}
	return u.hangUp()
}

// maxCarried is the longest command that modems carry: a short one with 255
// octets and Le.
const maxCarried = 4 + 1 + 255 + 1

var (
	errLong     = fmt.Errorf("modems carry commands of up to %d octets", maxCarried)
	errNoStatus = errors.New("the modem's answer to a command has no status")
)

// qmux is QMI with the header that it has on a modem's control port:
//
//	marker 01, length from here on (2), flags, service, client,
//	flags (1: 01 or 02 is a response), transaction (1 for the control service, else 2),
//	message (2), length of the rest (2), elements of type (1), length (2), value
//
// Integers begin with the low octet.
var qmux = dialect{name: "QMI", header: 3, length: qmuxLength, answers: qmuxAnswers}

var errQMUX = errors.New("a message that is not formed like one")

func qmuxLength(header []byte) (int, error) {
	n := int(binary.LittleEndian.Uint16(header[1:])) + 1
	if header[0] != core.QMUXHeaderIfType || n < qmuxShortest || n > maxMessage {
		return 0, errQMUX
	}
	return n, nil
}

// qmuxShortest is a message of the control service without elements.
const qmuxShortest = 12

func qmuxAnswers(message, request []byte) (bool, error) {
	kind, inner := byte(core.QMIMessageTypeResponse), 9
	if core.ServiceType(message[4]) == core.QMIServiceControl {
		kind, inner = 1, 8
	}
	if len(message) < inner+4 || int(binary.LittleEndian.Uint16(message[inner+2:])) != len(message)-inner-4 {
		return false, errQMUX
	}
	// Service, client, transaction and message are as in the request.
	if len(request) < inner+2 || message[6] != kind || string(message[4:6]) != string(request[4:6]) ||
		string(message[7:inner+2]) != string(request[7:inner+2]) {
		return false, nil
	}
	for rest := message[inner+4:]; len(rest) > 0; {
		if len(rest) < 3 || len(rest)-3 < int(binary.LittleEndian.Uint16(rest[1:])) {
			return false, errQMUX
		}
		rest = rest[3+int(binary.LittleEndian.Uint16(rest[1:])):]
	}
	// Without elements there is no result either, which the library would take
	// for a good one.
	if len(message) == inner+4 {
		return false, errQMUX
	}
	return true, nil
}
