package smsc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// MaxSeptets is how much one short message holds. 3GPP TS 23.040, 9.2.3.16.
const MaxSeptets = 160

// Septets returns how much of a short message a text takes: one for each
// character of the GSM default alphabet, two for each of its extension table. ok
// is false where a character is in neither, and bad is the first such. 3GPP TS
// 23.038, 6.2.1.
func Septets(text string) (n int, bad rune, ok bool) {
	if wrong := data.ValidateGSM7String(text); len(wrong) > 0 {
		return 0, wrong[0], false
	}
	for _, r := range text {
		if n++; data.IsEscapeChar(r) {
			n++
		}
	}
	return n, 0, true
}

// submission writes a message as submit_sm. SMPP v3.4, 4.4.1.
func submission(m Message, source Number) (*pdu.SubmitSM, error) {
	q := pdu.NewSubmitSM().(*pdu.SubmitSM)
	var err error
	if q.SourceAddr, err = source.address(); err != nil {
		return nil, err
	}
	if q.DestAddr, err = m.To.address(); err != nil {
		return nil, err
	}
	if err := q.Message.SetMessageWithEncoding(m.Text, data.GSM7BIT); err != nil {
		return nil, fmt.Errorf("text of a short message: %w", err)
	}
	q.RegisteredDelivery = data.SM_SMSC_RECEIPT_REQUESTED
	if m.Validity > 0 {
		q.ValidityPeriod = relative(m.Validity)
	}
	if m.Reference != 0 {
		q.RegisterOptionalParam(pdu.Field{Tag: pdu.TagUserMessageReference, Data: binary.BigEndian.AppendUint16(nil, m.Reference)})
	}
	return q, nil
}

// relative writes a span as time, YYMMDDhhmmsstnnR. SMPP v3.4, 7.1.1.2.
func relative(d time.Duration) string {
	seconds := max(int64(d/time.Second), 1)
	days := seconds / 86400
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", days, seconds/3600%24, seconds/60%60, seconds%60)
}

// address writes a number with its type: international for telephone numbers.
// SMPP v3.4, 5.2.5.
func (n Number) address() (pdu.Address, error) {
	ton := byte(data.GSM_TON_UNKNOWN)
	if n.Plan == E164 {
		ton = data.GSM_TON_INTERNATIONAL
	}
	return pdu.NewAddressWithTonNpiAddr(ton, byte(n.Plan), n.Digits)
}

func numberOf(a pdu.Address) Number {
	return Number{Plan(a.Npi()), strings.TrimPrefix(a.Address(), "+")}
}

// incoming reads a deliver_sm. SMPP v3.4, 4.6.1.
func incoming(p *pdu.DeliverSM, raw []byte) Incoming {
	in := Incoming{From: numberOf(p.SourceAddr), To: numberOf(p.DestAddr), Raw: raw}
	octets, _ := p.Message.GetMessageData() // never fails
	if payload, ok := p.OptionalParameters[pdu.TagMessagePayload]; ok && len(octets) == 0 {
		octets = payload.Data
	}
	in.Text = text(dataCoding(raw), octets)
	if f := p.OptionalParameters[pdu.TagUserMessageReference]; len(f.Data) == 2 {
		in.Reference = binary.BigEndian.Uint16(f.Data)
	}
	if kind := p.EsmClass & 0x3C; kind == data.SM_SMSC_DLV_RCPT_TYPE || kind == data.SM_INTMD_DLV_NOTIFY_TYPE {
		// The text of a receipt is ASCII, whatever its data_coding says.
		in.Receipt = receipt(p.OptionalParameters, string(octets))
	}
	return in
}

// dataCoding finds the data_coding of a deliver_sm that could be read; the library
// keeps only values that it knows.
func dataCoding(raw []byte) byte {
	rest := raw[data.PDU_HEADER_SIZE:]
	skip := func(octets int) { rest = rest[min(octets, len(rest)):] }
	skipText := func() { skip(bytes.IndexByte(rest, 0) + 1) }
	skipText() // service_type
	for range 2 {
		skip(2) // type of number, numbering plan
		skipText()
	}
	skip(3) // esm_class, protocol_id, priority_flag
	skipText()
	skipText()
	skip(2) // registered_delivery, replace_if_present_flag
	if len(rest) == 0 {
		return data.GSM7BITCoding
	}
	return rest[0]
}

// text reads the octets of a message. What cannot be read becomes U+FFFD: the
// octets are in Raw. SMPP v3.4, 5.2.19, and 3GPP TS 23.038, 4 for the groups
// with a message class.
func text(coding byte, octets []byte) (s string) {
	defer func() {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}()
	switch {
	case coding >= 0xF0:
		coding &= 0x04
	case coding >= 0x10 && coding <= 0x1F:
		coding &= 0x0C
	}
	switch coding {
	case data.GSM7BITCoding:
		return septets(octets)
	case data.UCS2Coding:
		units := make([]uint16, len(octets)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(octets[2*i:])
		}
		return string(utf16.Decode(units))
	}
	if utf8.Valid(octets) { // ASCII, and what the device's maker thought of text
		return string(octets)
	}
	latin := make([]rune, len(octets))
	for i, b := range octets {
		latin[i] = rune(b)
	}
	return string(latin)
}

// septets reads the GSM default alphabet, an octet for each septet. Octets that
// are none of it are read as the SMSC's own, which is Latin 1 nearly always.
func septets(octets []byte) string {
	if len(data.ValidateGSM7Buffer(octets)) == 0 {
		if s, err := data.GSM7BIT.Decode(octets); err == nil {
			return s
		}
	}
	return text(data.LATIN1Coding, octets)
}
