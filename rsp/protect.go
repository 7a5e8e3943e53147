package rsp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"godwit/ident"
	"godwit/tlv"
)

// Tags of the segments of a bound profile package.
const (
	TagSegmentProfile  tlv.Tag = 0x86 // encrypted: the profile
	TagSegmentCommand  tlv.Tag = 0x87 // encrypted: ConfigureISDP, ReplaceSessionKeys
	TagSegmentMetadata tlv.Tag = 0x88 // in plain, with a MAC: StoreMetadata
)

// Sizes of a segment. SGP.22 v2.5, 2.5.3: at most 1020 octets with tag and
// length. That leaves 1008 for the ciphertext, of which one at least is padding.
const (
	MaxSegment = 1020
	MaxPlain   = 1007
)

// maxReceived is how long a received segment may be. A server in the field cuts
// one octet too late and sends 1036.
const maxReceived = 1100

// Parameters of the key agreement. SGP.22 v2.5, 5.5.1.
const (
	keyTypeAES   = 0x88
	keyLengthAES = 0x10
)

// Keys protect a bound profile package: agreed between server and eUICC, or
// chosen by the server to protect the profile (PPK). They print as a placeholder.
type Keys struct {
	Chaining [16]byte // initial MAC chaining value
	ENC      [16]byte
	MAC      [16]byte
}

func (Keys) String() string       { return "[secret]" }
func (Keys) GoString() string     { return "[secret]" }
func (Keys) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Bytes returns the 48 octets of the keys, for sealed storage.
func (k *Keys) Bytes() []byte {
	return append(append(append(make([]byte, 0, 48), k.Chaining[:]...), k.ENC[:]...), k.MAC[:]...)
}

// ParseKeys reads what [Keys.Bytes] wrote.
func ParseKeys(b []byte) (*Keys, error) {
	if len(b) != 48 {
		return nil, fmt.Errorf("session keys have 48 octets, not %d", len(b))
	}
	return &Keys{[16]byte(b[:16]), [16]byte(b[16:32]), [16]byte(b[32:])}, nil
}

// DeriveKeys makes keys of the secret z that two one-time keys agree on: the X
// coordinate, 32 octets. ANSI X9.63 with SHA-256; SGP.22 v2.5, 2.6.4.1 and
// annex G.
func DeriveKeys(z, hostID []byte, eid ident.EID) *Keys {
	octets := eid.Octets()
	shared := make([]byte, 0, 4+len(hostID)+len(octets))
	shared = append(shared, keyTypeAES, keyLengthAES, byte(len(hostID)))
	shared = append(shared, hostID...)
	shared = append(shared, byte(len(octets)))
	shared = append(shared, octets...)
	var out [64]byte
	x963(out[:], z, shared)
	return &Keys{[16]byte(out[:16]), [16]byte(out[16:32]), [16]byte(out[32:48])}
}

// x963 fills out with the key derivation function of ANSI X9.63 over SHA-256.
func x963(out, z, shared []byte) {
	h := sha256.New()
	var counter [4]byte
	var block [sha256.Size]byte
	for i := uint32(1); len(out) > 0; i++ {
		binary.BigEndian.PutUint32(counter[:], i)
		h.Reset()
		h.Write(z)
		h.Write(counter[:])
		h.Write(shared)
		out = out[copy(out, h.Sum(block[:0])):]
	}
}

// Errors of opening a segment. They are what an eUICC reports as a fault of
// security or of structure.
var (
	ErrMAC     = errors.New("segment has a wrong MAC")
	ErrSegment = errors.New("segment is malformed")
)

// A Protection is one direction of the secure channel in which the segments of
// a bound profile package travel: SCP03t, "BSP" in version 3. SGP.22 v2.5,
// 2.5.3. The order of calls is the order of segments.
type Protection struct {
	enc      cipher.Block
	mac      *cmac
	chaining [16]byte
	counter  uint64
}

// NewProtection begins with keys at the first segment.
func NewProtection(keys *Keys) *Protection {
	p := &Protection{}
	p.Replace(keys)
	return p
}

// Replace goes on with other keys, as after ReplaceSessionKeys: the counter
// starts again.
func (p *Protection) Replace(keys *Keys) {
	enc, err := aes.NewCipher(keys.ENC[:])
	if err != nil {
		panic(err) // the type fixes the length
	}
	mac, err := aes.NewCipher(keys.MAC[:])
	if err != nil {
		panic(err)
	}
	*p = Protection{enc: enc, mac: newCMAC(mac), chaining: keys.Chaining, counter: 1}
}

// AppendEncrypted appends plain, at most [MaxPlain] octets, as an encrypted
// segment.
func (p *Protection) AppendEncrypted(dst []byte, tag tlv.Tag, plain []byte) []byte {
	start := len(dst)
	padded := (len(plain)/16 + 1) * 16
	dst = tlv.AppendHeader(dst, tag, padded+8)
	at := len(dst)
	dst = append(dst, plain...)
	dst = append(dst, 0x80)
	dst = append(dst, zeros[:padded-len(plain)-1]...)
	vector := p.vector()
	previous := vector[:]
	for b := dst[at:]; len(b) > 0; b = b[16:] {
		subtle.XORBytes(b, b[:16], previous)
		p.enc.Encrypt(b, b)
		previous = b[:16]
	}
	return p.seal(dst, start)
}

// AppendPlain appends plain as a segment that anybody can read and nobody
// change.
func (p *Protection) AppendPlain(dst []byte, tag tlv.Tag, plain []byte) []byte {
	start := len(dst)
	dst = append(tlv.AppendHeader(dst, tag, len(plain)+8), plain...)
	p.counter++ // counts segments, encrypted or not
	return p.seal(dst, start)
}

var zeros [16]byte

// vector returns the initial vector of the next segment.
func (p *Protection) vector() (v [16]byte) {
	binary.BigEndian.PutUint64(v[8:], p.counter)
	p.enc.Encrypt(v[:], v[:])
	p.counter++
	return v
}

// seal appends the MAC of the segment that begins at start.
func (p *Protection) seal(dst []byte, start int) []byte {
	p.chaining = p.mac.sum(p.chaining, true, dst[start:])
	return append(dst, p.chaining[:8]...)
}

// Open checks the MAC of a segment as it arrived and returns its plain content.
// After an error the protection is of no more use.
func (p *Protection) Open(segment []byte) ([]byte, error) {
	e, err := tlv.Parse(segment)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSegment, err)
	}
	if len(segment) > maxReceived || len(e.Value) < 8 {
		return nil, fmt.Errorf("%w: %d octets", ErrSegment, len(segment))
	}
	body, mac := e.Value[:len(e.Value)-8], MAC(e.Value[len(e.Value)-8:])
	p.chaining = p.mac.sum(p.chaining, true, segment[:len(segment)-8])
	if !mac.Equal(MAC(p.chaining[:8])) {
		return nil, ErrMAC
	}
	switch e.Tag {
	case TagSegmentMetadata:
		p.counter++
		return body, nil
	case TagSegmentProfile, TagSegmentCommand:
	default:
		return nil, fmt.Errorf("%w: tag %s", ErrSegment, e.Tag)
	}
	if len(body) == 0 || len(body)%16 != 0 {
		return nil, fmt.Errorf("%w: ciphertext of %d octets", ErrSegment, len(body))
	}
	vector := p.vector()
	plain := make([]byte, len(body))
	cipher.NewCBCDecrypter(p.enc, vector[:]).CryptBlocks(plain, body)
	// The MAC has vouched for the segment: how the padding fails tells nobody
	// anything.
	trimmed := bytes.TrimRight(plain, "\x00")
	if len(trimmed) == 0 || trimmed[len(trimmed)-1] != 0x80 || len(plain)-len(trimmed) > 15 {
		return nil, fmt.Errorf("%w: padding", ErrSegment)
	}
	return trimmed[:len(trimmed)-1], nil
}
