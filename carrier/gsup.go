package carrier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"godwit/fault"
	"godwit/ident"
	"godwit/milenage"
)

// A GSUP is a client of an HLR as a switch (MSC, SGSN, MME) is one: it asks for
// authentication vectors and says that a subscriber has come. The protocol is
// Osmocom's Generic Subscriber Update Protocol.
//
// One request is under way at a time; calls wait for each other.
type GSUP struct {
	address, name string

	mu   sync.Mutex
	conn net.Conn
}

// A Domain says for which of its services a switch asks.
type Domain byte

// The domains.
const (
	Packet  Domain = 1
	Circuit Domain = 2
)

// DialGSUP connects to an HLR under the name of a switch. An HLR gives each
// switch its own index of sequence numbers by its name. TS 33.102, C.1.2.
func DialGSUP(ctx context.Context, address, name string) (*GSUP, error) {
	dialer := net.Dialer{Timeout: neighbourPatience}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, unreachable("GSUP", address, err)
	}
	g := &GSUP{address: address, name: name, conn: conn}
	if err := g.introduce(ctx); err != nil {
		conn.Close()
		return nil, unreachable("GSUP", address, err)
	}
	return g, nil
}

// Close ends the connection.
func (g *GSUP) Close() error { return g.conn.Close() }

// introduce waits until the HLR has asked who this is, and tells it.
func (g *GSUP) introduce(ctx context.Context) error {
	stop, err := deadline(ctx, g.conn)
	if err != nil {
		return err
	}
	defer stop()
	for {
		stream, message, err := readFrame(g.conn)
		if err != nil {
			return err
		}
		if stream != streamCCM {
			continue
		}
		answer, err := answerCCM(message, g.name)
		if err != nil {
			return err
		}
		if _, err := g.conn.Write(answer); err != nil {
			return err
		}
		if message[0] == ccmGetID {
			return nil
		}
	}
}

// Types of messages. A request's answers follow it: refusal, then result.
const (
	gsupUpdateLocation = 0x04
	gsupSendAuthInfo   = 0x08
	gsupInsertData     = 0x10
	gsupInsertedData   = 0x12
)

// Tags of what is in them.
const (
	gsupIMSI   = 0x01
	gsupCause  = 0x02
	gsupTuple  = 0x03
	gsupRAND   = 0x20
	gsupIK     = 0x23
	gsupCK     = 0x24
	gsupAUTN   = 0x25
	gsupAUTS   = 0x26
	gsupRES    = 0x27
	gsupDomain = 0x28
)

// gsupMessage is one message, read.
type gsupMessage struct {
	kind  byte
	items []gsupItem
}

type gsupItem struct {
	tag   byte
	value []byte
}

func (m gsupMessage) find(tag byte) ([]byte, bool) { return findItem(m.items, tag) }

func findItem(items []gsupItem, tag byte) ([]byte, bool) {
	for _, i := range items {
		if i.tag == tag {
			return i.value, true
		}
	}
	return nil, false
}

// parseGSUP reads a message: its type, then items of a tag, a length, a value.
func parseGSUP(b []byte) (m gsupMessage, err error) {
	if len(b) == 0 {
		return m, errors.New("a GSUP message is empty")
	}
	m.kind = b[0]
	m.items, err = parseItems(b[1:])
	if err != nil {
		return m, fmt.Errorf("GSUP message %02X: %w", m.kind, err)
	}
	return m, nil
}

func parseItems(b []byte) (items []gsupItem, err error) {
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return nil, fmt.Errorf("item %02X is cut off", b[0])
		}
		end := 2 + int(b[1])
		items = append(items, gsupItem{b[0], b[2:end]})
		b = b[end:]
	}
	return items, nil
}

func appendItem(b []byte, tag byte, value []byte) []byte {
	return append(append(b, tag, byte(len(value))), value...)
}

// request begins a message about a subscriber.
func request(kind byte, imsi ident.IMSI, domain Domain) []byte {
	b := appendItem([]byte{kind}, gsupIMSI, swapped(string(imsi)))
	return appendItem(b, gsupDomain, []byte{byte(domain)})
}

// swapped packs digits two to an octet, the first one low, and fills with F.
func swapped(digits string) []byte {
	b := make([]byte, 0, (len(digits)+1)/2)
	for i := 0; i < len(digits); i += 2 {
		high := byte(0xF)
		if i+1 < len(digits) {
			high = digits[i+1] - '0'
		}
		b = append(b, high<<4|(digits[i]-'0'))
	}
	return b
}

// A Resynchronisation is what a USIM answered to a challenge whose number was
// not fresh to it.
type Resynchronisation struct {
	RAND [16]byte
	AUTS []byte
}

// SendAuthInfo has the HLR make vectors for a subscriber, after it has taken up
// a resynchronisation if there is one. The HLR's refusal is a [*fault.Error].
func (g *GSUP) SendAuthInfo(ctx context.Context, imsi ident.IMSI, domain Domain, sync *Resynchronisation) ([]milenage.Vector, error) {
	b := request(gsupSendAuthInfo, imsi, domain)
	if sync != nil {
		b = appendItem(b, gsupAUTS, sync.AUTS)
		b = appendItem(b, gsupRAND, sync.RAND[:])
	}
	answer, err := g.ask(ctx, imsi, b)
	if err != nil {
		return nil, err
	}
	var list []milenage.Vector
	for _, i := range answer.items {
		if i.tag != gsupTuple {
			continue
		}
		v, err := parseTuple(i.value)
		if err != nil {
			return nil, fmt.Errorf("the HLR's vectors for IMSI %s: %w", imsi, err)
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the HLR made no vector for IMSI %s", imsi)
	}
	return list, nil
}

func parseTuple(b []byte) (v milenage.Vector, err error) {
	items, err := parseItems(b)
	if err != nil {
		return v, err
	}
	random, _ := findItem(items, gsupRAND)
	autn, ok := findItem(items, gsupAUTN)
	if !ok || len(random) != len(v.RAND) || len(autn) != len(v.AUTN) {
		return v, errors.New("a vector is none of UMTS: it has no RAND and AUTN of 16 octets")
	}
	copy(v.RAND[:], random)
	copy(v.AUTN[:], autn)
	v.XRES, _ = findItem(items, gsupRES)
	v.CK, _ = findItem(items, gsupCK)
	v.IK, _ = findItem(items, gsupIK)
	if len(v.XRES) < 4 || len(v.XRES) > 16 {
		return v, fmt.Errorf("a vector has a RES of %d octets", len(v.XRES))
	}
	return v, nil
}

// UpdateLocation says that a subscriber is with this switch now, and takes what
// the HLR then tells about it. The HLR's refusal is a [*fault.Error].
func (g *GSUP) UpdateLocation(ctx context.Context, imsi ident.IMSI, domain Domain) error {
	_, err := g.ask(ctx, imsi, request(gsupUpdateLocation, imsi, domain))
	return err
}

// ChallengeIn makes one vector. The HLR is not told where the subscriber is: it
// trusts its own switches.
func (g *GSUP) ChallengeIn(ctx context.Context, imsi ident.IMSI, _ ident.PLMN) (milenage.Vector, error) {
	list, err := g.SendAuthInfo(ctx, imsi, Packet, nil)
	if err != nil {
		return milenage.Vector{}, err
	}
	return list[0], nil
}

// Resync takes the USIM's sequence number to the HLR.
func (g *GSUP) Resync(ctx context.Context, imsi ident.IMSI, random [16]byte, auts []byte) error {
	_, err := g.SendAuthInfo(ctx, imsi, Packet, &Resynchronisation{random, auts})
	return err
}

// causes are the reasons that an HLR gives for a refusal. TS 24.008, 10.5.5.14.
var causes = map[byte]string{
	2: "IMSI unknown in HLR", 3: "illegal MS", 6: "illegal ME", 7: "GPRS services not allowed",
	8: "GPRS services and non-GPRS services not allowed", 11: "PLMN not allowed", 17: "network failure",
}

// ask sends a request and waits for its end.
func (g *GSUP) ask(ctx context.Context, imsi ident.IMSI, b []byte) (gsupMessage, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, err := g.exchange(ctx, imsi, b)
	if err != nil {
		if _, refused := fault.As(err); !refused {
			err = unreachable("GSUP", g.address, err)
		}
	}
	return m, err
}

func (g *GSUP) exchange(ctx context.Context, imsi ident.IMSI, b []byte) (m gsupMessage, err error) {
	stop, err := deadline(ctx, g.conn)
	if err != nil {
		return m, err
	}
	defer stop()
	if err := g.send(b); err != nil {
		return m, err
	}
	for {
		stream, message, err := readFrame(g.conn)
		if err != nil {
			return m, err
		}
		if stream == streamCCM {
			answer, err := answerCCM(message, g.name)
			if err != nil {
				return m, err
			}
			if _, err := g.conn.Write(answer); err != nil {
				return m, err
			}
			continue
		}
		if stream != streamExtended || len(message) == 0 || message[0] != extensionGSUP {
			continue
		}
		if m, err = parseGSUP(message[1:]); err != nil {
			return m, err
		}
		about, _ := m.find(gsupIMSI)
		if string(about) != string(swapped(string(imsi))) {
			continue // of an earlier request that was given up
		}
		switch m.kind {
		case gsupInsertData:
			if err := g.send(request(gsupInsertedData, imsi, Packet)); err != nil {
				return m, err
			}
		case b[0] + 1:
			cause, _ := m.find(gsupCause)
			reason := "no cause given"
			if len(cause) == 1 {
				if reason = causes[cause[0]]; reason == "" {
					reason = fmt.Sprintf("cause %d", cause[0])
				}
			}
			return m, fault.New(fault.Forbidden, "the HLR refuses IMSI %s: %s", imsi, reason)
		case b[0] + 2:
			return m, nil
		}
	}
}

func (g *GSUP) send(b []byte) error {
	_, err := g.conn.Write(appendFrame(nil, streamExtended, []byte{extensionGSUP}, b))
	return err
}
