package lpa

import (
	"errors"
	"fmt"

	"godwit/explain"
	"godwit/ident"
	"godwit/rsp"
	"godwit/tlv"
)

// A Chip is the ISD-R of an eUICC on a logical channel of its own. SGP.22 v2.5,
// 5.7.
type Chip struct {
	card    Card
	channel byte
	buf     []byte
}

// A StatusWord is a status other than success.
type StatusWord uint16

const swSuccess StatusWord = 0x9000

// WrongData is the status of an eUICC that cannot read a request.
const WrongData StatusWord = 0x6A80

// ErrTooLong is the error of a request that no chain of STORE DATA can carry.
var ErrTooLong = errors.New("the request does not fit a chain of STORE DATA")

func (s StatusWord) Error() string {
	if entry, ok := explain.StatusWord(uint16(s)); ok {
		return fmt.Sprintf("card status %04X: %s", uint16(s), entry.Title)
	}
	return fmt.Sprintf("card status %04X", uint16(s))
}

// ok reports success. 91xx announces a proactive command: the profile change
// has happened and a REFRESH follows.
func (s StatusWord) ok() bool { return s == swSuccess || s>>8 == 0x91 }

// maxIdle is how often a card may send us on without bringing data. Two happen:
// 61xx at the end of a command, and 6Cxx to the GET RESPONSE after it.
const maxIdle = 4

// maxBlock is how much one STORE DATA carries, and maxBlocks how many make a
// chain: the number of a block is one octet.
const (
	maxBlock  = 255
	maxBlocks = 256
)

// OpenChip opens a logical channel and selects the ISD-R on it.
func OpenChip(card Card) (*Chip, error) {
	c := &Chip{card: card, buf: make([]byte, 0, 5+maxBlock)}
	// The device has all parts of an LPA; cards that know no TERMINAL
	// CAPABILITY refuse, which does no harm. SGP.22 v2.5, 3.4.2.
	if _, err := card.Transmit([]byte{0x80, 0xAA, 0x00, 0x00, 0x05, 0xA9, 0x03, 0x83, 0x01, 0x07}); err != nil {
		return nil, fmt.Errorf("open eUICC: %w", err)
	}
	opened, sw, err := c.transmit([]byte{0x00, 0x70, 0x00, 0x00, 0x01})
	if err != nil {
		return nil, fmt.Errorf("open logical channel: %w", err)
	}
	if sw != swSuccess || len(opened) != 1 || opened[0] == 0 || opened[0] > 19 {
		return nil, fmt.Errorf("open logical channel: %w, answer %x", sw, opened)
	}
	c.channel = opened[0]
	_, sw, err = c.transmit(append([]byte{c.class(0x00), 0xA4, 0x04, 0x00, byte(len(rsp.ISDR))}, rsp.ISDR...))
	if err == nil && !sw.ok() {
		err = sw
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("select ISD-R: %w", err), c.Close())
	}
	return c, nil
}

// Close gives the logical channel back.
func (c *Chip) Close() error {
	_, sw, err := c.transmit([]byte{0x00, 0x70, 0x80, c.channel, 0x00})
	if err == nil && !sw.ok() {
		err = sw
	}
	if err != nil {
		return fmt.Errorf("close logical channel: %w", err)
	}
	return nil
}

// class adds the channel to a class octet. ETSI TS 102 221, 10.1.1: channels
// from 4 use another form.
func (c *Chip) class(base byte) byte {
	if c.channel < 4 {
		return base | c.channel
	}
	return base | 0x40 | (c.channel - 4)
}

// transmit sends one command and fetches all of its answer.
func (c *Chip) transmit(apdu []byte) ([]byte, StatusWord, error) {
	var data []byte
	idle := 0 // rounds that brought nothing
	for {
		answer, err := c.card.Transmit(apdu)
		if err != nil {
			return nil, 0, err
		}
		if len(answer) < 2 {
			return nil, 0, fmt.Errorf("the card answered %d octets", len(answer))
		}
		n := len(answer) - 2
		data = append(data, answer[:n]...)
		if n == 0 {
			idle++
		}
		if len(data) > tlv.MaxElement || idle > maxIdle {
			return nil, 0, fmt.Errorf("the card's answer does not end")
		}
		sw := StatusWord(answer[n])<<8 | StatusWord(answer[n+1])
		switch sw >> 8 {
		case 0x61: // more to fetch
			apdu = []byte{c.class(0x00), 0xC0, 0x00, 0x00, byte(sw)}
		case 0x6C: // the same again, with this length
			if len(apdu) < 5 || apdu[4] == byte(sw) {
				return data, sw, nil
			}
			apdu = append(apdu[:4:4], byte(sw))
		default:
			return data, sw, nil
		}
	}
}

// StoreData sends one ES10 request as a chain of blocks and returns the answer,
// which may be empty. The error wraps [ErrTooLong], or is a [StatusWord], or of the
// way to the chip.
func (c *Chip) StoreData(request []byte) ([]byte, error) {
	if len(request) > maxBlock*maxBlocks {
		return nil, fmt.Errorf("%w: %d octets", ErrTooLong, len(request))
	}
	for number := 0; ; number++ {
		block := request[:min(len(request), maxBlock)]
		request = request[len(block):]
		p1 := byte(0x11)
		if len(request) == 0 {
			p1 = 0x91
		}
		c.buf = append(append(c.buf[:0], c.class(0x80), 0xE2, p1, byte(number), byte(len(block))), block...)
		answer, sw, err := c.transmit(c.buf)
		if err != nil {
			return nil, err
		}
		if !sw.ok() {
			return answer, sw
		}
		if len(request) == 0 {
			return answer, nil
		}
	}
}

// ask sends a request without content and returns the answer.
func (c *Chip) ask(tag tlv.Tag) ([]byte, error) { return c.StoreData(rsp.AppendEmpty(nil, tag)) }

// order sends a request whose answer is one number.
func (c *Chip) order(function string, tag tlv.Tag, request []byte) error {
	answer, err := c.StoreData(request)
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	code, err := rsp.ParseResult(answer, tag)
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	if code != rsp.ResultOK {
		return &ChipError{Function: function, Code: code}
	}
	return nil
}

// read sends a request and reads the answer.
func read[T any](c *Chip, function string, request []byte, parse func([]byte) (T, error)) (T, error) {
	var zero T
	answer, err := c.StoreData(request)
	if err != nil {
		return zero, fmt.Errorf("%s: %w", function, err)
	}
	v, err := parse(answer)
	if listError, ok := errors.AsType[*rsp.ListError](err); ok {
		return zero, &ChipError{Function: function, Code: listError.Code}
	}
	if err != nil {
		return zero, fmt.Errorf("%s: %w", function, err)
	}
	return v, nil
}

// EID returns the number of the eUICC.
func (c *Chip) EID() (ident.EID, error) {
	return read(c, "GetEID", rsp.AppendGetEID(nil), rsp.ParseEID)
}

// Info1 returns EUICCInfo1 as it is to be sent.
func (c *Chip) Info1() ([]byte, error) { return c.ask(rsp.TagEUICCInfo1) }

// Info2 returns what the eUICC can do.
func (c *Chip) Info2() (*rsp.EUICCInfo2, error) {
	return read(c, "GetEUICCInfo", rsp.AppendEmpty(nil, rsp.TagEUICCInfo2), rsp.ParseEUICCInfo2)
}

// Challenge opens a run: the eUICC forgets one that was open.
func (c *Chip) Challenge() ([]byte, error) {
	return read(c, "GetEUICCChallenge", rsp.AppendEmpty(nil, rsp.TagGetEUICCChallenge), rsp.ParseChallenge)
}

// Addresses returns where the eUICC looks for profiles by itself.
func (c *Chip) Addresses() (*rsp.ConfiguredAddresses, error) {
	return read(c, "GetEuiccConfiguredAddresses", rsp.AppendEmpty(nil, rsp.TagConfiguredAddresses), rsp.ParseConfiguredAddresses)
}

// SetDefaultDP sets the default SM-DP+; an empty address clears it.
func (c *Chip) SetDefaultDP(address string) error {
	return c.order("SetDefaultDpAddress", rsp.TagSetDefaultDPAddress, rsp.AppendSetDefaultDPAddress(nil, address))
}

// RAT returns the rules authorisation table.
func (c *Chip) RAT() ([]rsp.Rule, error) {
	return read(c, "GetRAT", rsp.AppendEmpty(nil, rsp.TagGetRAT), rsp.ParseRAT)
}

// profileTags asks for all fields of a profile but the icon.
var profileTags = []byte{0x5A, 0x4F, 0x9F, 0x70, 0x90, 0x91, 0x92, 0x93, 0x95, 0xB6, 0xB7, 0x99}

// Profiles lists the profiles that the selector picks.
func (c *Chip) Profiles(s rsp.Selector) ([]rsp.ProfileInfo, error) {
	q := rsp.ProfileInfoListRequest{Select: s, Tags: profileTags}
	return read(c, "GetProfilesInfo", q.Append(nil), rsp.ParseProfileInfoList)
}

// Enable enables a profile; the one that was enabled is disabled.
func (c *Chip) Enable(s rsp.Selector, refresh bool) error {
	q := rsp.ProfileRequest{Select: s, Refresh: refresh}
	return c.order("EnableProfile", rsp.TagEnableProfile, q.Append(nil, rsp.TagEnableProfile))
}

// Disable disables a profile.
func (c *Chip) Disable(s rsp.Selector, refresh bool) error {
	q := rsp.ProfileRequest{Select: s, Refresh: refresh}
	return c.order("DisableProfile", rsp.TagDisableProfile, q.Append(nil, rsp.TagDisableProfile))
}

// Delete deletes a profile that is disabled.
func (c *Chip) Delete(s rsp.Selector) error {
	return c.order("DeleteProfile", rsp.TagDeleteProfile, rsp.AppendDeleteProfile(nil, s))
}

// maxNickname is what profileNickname holds. SGP.22 v2.5, 5.7.21.
const maxNickname = 64

// SetNickname names a profile; an empty name takes the nickname away.
func (c *Chip) SetNickname(iccid ident.ICCID, name string) error {
	if len(name) > maxNickname {
		return fmt.Errorf("a nickname has at most %d octets of UTF-8; this has %d", maxNickname, len(name))
	}
	q := rsp.NicknameRequest{ICCID: iccid, Nickname: name}
	return c.order("SetNickname", rsp.TagSetNickname, q.Append(nil))
}

// Reset deletes what the options say.
func (c *Chip) Reset(options rsp.ResetOptions) error {
	return c.order("eUICCMemoryReset", rsp.TagMemoryReset, rsp.AppendMemoryReset(nil, options))
}

// Pending lists the notifications that wait in the chip.
func (c *Chip) Pending() ([]rsp.NotificationMetadata, error) {
	return read(c, "ListNotification", rsp.AppendListNotification(nil, 0), rsp.ParseNotificationList)
}

// Retrieve returns notifications as they are to be sent.
func (c *Chip) Retrieve(f rsp.NotificationFilter) ([]rsp.PendingNotification, error) {
	return read(c, "RetrieveNotificationsList", rsp.AppendRetrieveNotifications(nil, f), rsp.ParseNotifications)
}

// Remove makes the chip forget a notification that was delivered.
func (c *Chip) Remove(sequence int64) error {
	return c.order("RemoveNotificationFromList", rsp.TagRemoveNotification, rsp.AppendRemoveNotification(nil, sequence))
}

// Load sends the units of a bound profile package until the chip answers with
// its result, which comes after the last one or at the first error.
func (c *Chip) Load(units [][]byte) (*rsp.PendingNotification, error) {
	for i, unit := range units {
		answer, err := c.StoreData(unit)
		if err != nil {
			return nil, fmt.Errorf("unit %d of %d: %w", i+1, len(units), err)
		}
		if len(answer) == 0 {
			continue
		}
		result, err := rsp.ParsePendingNotification(answer)
		if err != nil {
			return nil, fmt.Errorf("unit %d of %d: %w", i+1, len(units), err)
		}
		return result, nil
	}
	return nil, errors.New("the eUICC took the whole package and gave no result")
}

// CancelSession makes the chip end a run and returns its signed word for the
// server.
func (c *Chip) CancelSession(id rsp.TransactionID, reason rsp.CancelReason) ([]byte, error) {
	q := rsp.CancelSessionRequest{TransactionID: id, Reason: reason}
	answer, err := c.StoreData(q.Append(nil))
	if err != nil {
		return nil, fmt.Errorf("CancelSession: %w", err)
	}
	p, err := rsp.ParseCancelSessionResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("CancelSession: %w", err)
	}
	if p.Error != 0 {
		return answer, &ChipError{Function: "CancelSession", Code: p.Error}
	}
	return answer, nil
}

// Revive opens another logical channel when the card has forgotten this one: a
// change of profiles ends in a reset of the card (REFRESH).
func (c *Chip) Revive() error {
	_, err := c.EID()
	if _, answered := errors.AsType[StatusWord](err); !answered {
		return err
	}
	fresh, err := OpenChip(c.card)
	if err != nil {
		return err
	}
	c.channel = fresh.channel
	return nil
}
