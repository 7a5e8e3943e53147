package reader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/damonto/euicc-go/driver/mbim"
)

// mbimProxy is where mbim-proxy of libmbim listens.
const mbimProxy = "@mbim-proxy"

// proxySeconds is how long the proxy may take to begin with a modem.
const proxySeconds = 30

// group marks our logical channels at the modem: those that a program of ours
// left open when it was killed can be closed, and nobody else's are.
const group = 0x676F6477

// A uicc is a modem's low-level access to its card over MBIM.
type uicc struct {
	talk *talk
	last uint32
}

// OpenMBIM opens the eUICC of a modem behind mbim-proxy. Slot 0 is the one in
// use.
func OpenMBIM(socket, device string, slot uint8) (Card, error) {
	t, err := dialProxy(socket, "mbim-proxy", "libmbim-proxy", framed)
	if err != nil {
		return nil, err
	}
	return newMBIM(t, device, slot)
}

func newMBIM(t *talk, device string, slot uint8) (Card, error) {
	u := &uicc{talk: t}
	err := u.begin(device)
	if err == nil && slot > 0 {
		err = u.choose(uint32(slot) - 1)
	}
	if err == nil {
		// A modem that has none of the group refuses.
		r := mbim.CloseLogicalChannelRequest{TransactionID: u.next(), Group: group}
		if err = u.ask("close what was left open", r.Request()); isRefusal(err) {
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("modem at %s: %w", device, err), u.shut())
	}
	return &channelled{way: u}, nil
}

// begin has the proxy open the device, and the modem begin the dialogue.
func (u *uicc) begin(device string) error {
	config := mbim.ProxyConfigRequest{TransactionID: u.next(), DevicePath: device, Timeout: proxySeconds}
	if err := u.talk.unopened(u.ask("open the device", config.Request())); err != nil {
		return err
	}
	open := mbim.OpenDeviceRequest{TransactionID: u.next()}
	return u.ask("begin", open.Request())
}

func (u *uicc) next() uint32 {
	u.last++
	return u.last
}

// ask makes one request.
func (u *uicc) ask(what string, r *mbim.Request) error {
	// The proxy opens the modem for the first of its clients, which takes a
	// while: all requests have the patience of those that ask the card.
	r.ReadTimeout = apduTime
	return u.talk.ask(what, apduTime, func() error { return r.Transmit(u.talk) })
}

// choose makes a slot, counted from 0, the one in use if it is not.
func (u *uicc) choose(slot uint32) error {
	mapped := mbim.DeviceSlotMappingsRequest{TransactionID: u.next()}
	query := mapped.Request()
	query.Response = few{mapped.Response}
	err := u.ask("tell its slots", query)
	if refused, ok := errors.AsType[*refusal](err); ok {
		// Modems with one slot need not know the request.
		if slot > 0 {
			return fmt.Errorf("slot %d: %w", slot+1, refused)
		}
		return nil
	}
	if err != nil {
		return err
	}
	slots := mapped.Response.SlotMappings
	if len(slots) == 0 {
		return errors.New("the modem uses no slot")
	}
	if slots[0].Slot == slot {
		return nil
	}
	// What is in use by another part of the modem changes places with ours.
	if i := slices.Index(slots, mbim.SlotMapping{Slot: slot}); i > 0 {
		slots[i] = slots[0]
	}
	slots[0].Slot = slot
	change := mbim.DeviceSlotMappingsRequest{TransactionID: u.next(), MapCount: uint32(len(slots)), SlotMappings: slots}
	set := change.Request()
	set.Response = few{change.Response}
	if err := u.ask(fmt.Sprintf("use slot %d", slot+1), set); err != nil {
		return err
	}
	return waitFor(func() (bool, error) {
		status := mbim.SubscriberReadyStatusRequest{TransactionID: u.next()}
		err := u.ask("tell whether the card is ready", status.Request())
		if err != nil {
			return false, err
		}
		switch status.Response.ReadyState {
		case mbim.MBIMSubscriberReadyStateInitialized, mbim.MBIMSubscriberReadyStateNoEsimProfile,
			mbim.MBIMSubscriberReadyStateDeviceLocked, mbim.MBIMSubscriberReadyStateNotActivated:
			return true, nil
		}
		return false, nil
	})
}

// few keeps the library from making room for as many slots as a modem claims to
// have.
type few struct {
	*mbim.DeviceSlotMappingsResponse
}

const maxSlots = 16

func (f few) UnmarshalBinary(data []byte) error {
	if len(data) >= 4 && binary.LittleEndian.Uint32(data) > maxSlots {
		return fmt.Errorf("the modem claims %d slots", binary.LittleEndian.Uint32(data))
	}
	return f.DeviceSlotMappingsResponse.UnmarshalBinary(data)
}

func (u *uicc) open(aid []byte) (int, error) {
	r := mbim.OpenLogicalChannelRequest{TransactionID: u.next(), AppId: aid, Group: group}
	if err := u.ask("open it", r.Request()); err != nil {
		return 0, err
	}
	// The status is that of the card, its first octet the low one. A channel 0 is
	// a failure too.
	if sw := byte(r.Response.Status); sw != 0x90 && sw != 0x61 || r.Response.Channel == 0 {
		return 0, &refusal{fmt.Sprintf("the card refused with %02X%02X", sw, byte(r.Response.Status>>8))}
	}
	return number(r.Response.Channel)
}

func (u *uicc) close(channel int) error {
	r := mbim.CloseLogicalChannelRequest{TransactionID: u.next(), Channel: uint32(channel), Group: group}
	return u.ask("close the logical channel", r.Request())
}

func (u *uicc) transmit(channel int, apdu []byte) ([]byte, error) {
	if len(apdu) > maxCarried {
		return nil, errLong
	}
	r := mbim.TransmitAPDURequest{TransactionID: u.next(), Channel: uint32(channel), APDU: apdu}
	if err := u.ask("carry a command", r.Request()); err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint16(r.Response.Response, uint16(r.Response.Status)), nil
}

func (u *uicc) shut() error { return u.talk.end() }

// framed is MBIM: type (4; an answer's is the request's with the highest bit),
// length of all (4), transaction (4). A command's answer goes on with fragments (4)
// and number of this one (4), service (16), command (4), status (4), length of
// the rest (4). Integers begin with the low octet. MBIM 1.0, 9.
var framed = dialect{name: "MBIM", header: 12, length: mbimLength, answers: mbimAnswers}

var errFrame = errors.New("a message that is not formed like one")

const (
	mbimCommandDone = 48 // octets before what a command's answer carries
	mbimOpenDone    = 16
	mbimAnswer      = 0x80000000
)

func mbimLength(header []byte) (int, error) {
	n := binary.LittleEndian.Uint32(header[4:])
	if n < uint32(len(header)) || n > maxMessage {
		return 0, errFrame
	}
	return int(n), nil
}

func mbimAnswers(message, request []byte) (bool, error) {
	kind := mbim.MessageType(binary.LittleEndian.Uint32(message))
	asked := mbim.MessageType(binary.LittleEndian.Uint32(request))
	if string(message[8:12]) != string(request[8:12]) {
		return false, nil
	}
	switch {
	case kind == mbimFunctionError:
		if len(message) < mbimOpenDone {
			return false, errFrame
		}
		return false, fmt.Errorf("protocol error %d", binary.LittleEndian.Uint32(message[12:]))
	case kind != asked|mbimAnswer:
		return false, nil
	case asked != mbim.MessageTypeCommand:
		if len(message) != mbimOpenDone {
			return false, errFrame
		}
		return true, nil
	}
	if len(message) < mbimCommandDone || string(message[20:40]) != string(request[20:40]) {
		return false, errFrame
	}
	if binary.LittleEndian.Uint32(message[12:]) != 1 || binary.LittleEndian.Uint32(message[16:]) != 0 {
		return false, errors.New("an answer in several fragments, which none of ours needs")
	}
	if int(binary.LittleEndian.Uint32(message[44:])) != len(message)-mbimCommandDone {
		return false, errFrame
	}
	return true, nil
}

// mbimFunctionError is how a modem refuses a message as such.
const mbimFunctionError mbim.MessageType = 0x80000004
