package main

import (
	"fmt"

	"godwit/carrier"
	"godwit/euicc"
)

// usimAID begins the application identifiers of USIMs. ETSI TS 101 220, annex E.
var usimAID = []byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02}

// authenticate has the USIM of the enabled profile answer a network's
// challenge, over APDUs as a phone does. 3GPP TS 31.102, 7.1.2.
func authenticate(card *euicc.Card, random, autn []byte) (out carrier.Answer, err error) {
	channel, err := card.OpenChannel(usimAID)
	if err != nil {
		return out, fmt.Errorf("select the USIM: %w", err)
	}
	defer card.CloseChannel(channel)
	command := []byte{byte(channel), 0x88, 0x00, 0x81, byte(2 + len(random) + len(autn)), byte(len(random))}
	command = append(command, random...)
	command = append(command, byte(len(autn)))
	command = append(command, autn...)
	answer, err := exchange(card, channel, append(command, 0))
	if err != nil {
		return out, fmt.Errorf("authenticate: %w", err)
	}
	if len(answer) < 2 || len(answer) < 2+int(answer[1]) {
		return out, fmt.Errorf("authenticate: a response of %d octets", len(answer))
	}
	value := answer[2 : 2+answer[1]]
	switch answer[0] {
	case 0xDB:
		out.RES = value
	case 0xDC:
		out.AUTS = value
	default:
		return out, fmt.Errorf("authenticate: a response with tag %02X", answer[0])
	}
	return out, nil
}

// exchange sends one command and collects the whole response.
func exchange(card *euicc.Card, channel int, command []byte) ([]byte, error) {
	var out []byte
	for {
		response, err := card.Transmit(command)
		if err != nil {
			return nil, err
		}
		if len(response) < 2 {
			return nil, fmt.Errorf("a response of %d octets", len(response))
		}
		body, status := response[:len(response)-2], response[len(response)-2:]
		out = append(out, body...)
		switch status[0] {
		case 0x90, 0x91:
			return out, nil
		case 0x61:
			command = []byte{byte(channel), 0xC0, 0, 0, status[1]}
		default:
			return nil, fmt.Errorf("status %X", status)
		}
	}
}
