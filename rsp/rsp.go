// Package rsp holds the messages of remote SIM provisioning as GSMA SGP.22 v2
// defines them (ES2+, ES8+, ES9+, ES10, ES11, ES12), their signatures, and the
// protection of a bound profile package. Server, software eUICC and LPA share
// it.
//
// Every message has a parser of received octets and an Append function that
// writes it in DER. Parsers keep the octets that a signature covers, share
// memory with their input and tolerate unknown trailing fields. What a peer
// signed is read by a Verify function only: it checks the signature over the
// octets as they arrived and then hands out the fields.
//
// The package does no I/O and keeps no state. Where a peer stands in an
// exchange, and what it may do there, is the business of its users.
package rsp

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"godwit/tlv"
)

// ISDR is the application identifier of the ISD-R, to which an LPA talks.
// SGP.22 v2.5, 2.4.3.
var ISDR = []byte{0xA0, 0, 0, 5, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0, 0, 1, 0}

// ISDP returns the application identifier of the ISD-P with the given running
// number; the first in use is 0x0010.
func ISDP(n uint16) []byte {
	return []byte{0xA0, 0, 0, 5, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0, byte(n >> 8), byte(n), 0}
}

// Tags of signed parts and of the octet strings around keys.
const (
	TagSignature  tlv.Tag = 0x5F37
	TagOneTimeKey tlv.Tag = 0x5F49
	TagICCID      tlv.Tag = 0x5A
	TagISDPAID    tlv.Tag = 0x4F
	TagTagList    tlv.Tag = 0x5C
)

// Sizes of what is random or computed, in octets.
const (
	ChallengeSize = 16
	SignatureSize = 64
	PointSize     = 65 // an uncompressed public key
	HashSize      = 32
)

// A Secret is key material or a code. It prints and logs as a placeholder.
type Secret []byte

func (Secret) String() string       { return "[secret]" }
func (Secret) GoString() string     { return "[secret]" }
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// A TransactionID names one run of a protocol between eUICC and server: 1 to 16
// octets that the server chose. In JSON it is upper-case hexadecimal, and peers
// that differ in letter case mean the same, so it is compared as octets.
type TransactionID struct{ octets string }

// NewTransactionID returns 16 random octets.
func NewTransactionID() TransactionID {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program first
	return TransactionID{string(b[:])}
}

// TransactionIDFromOctets reads the octets of a transaction identifier.
func TransactionIDFromOctets(b []byte) (TransactionID, error) {
	if len(b) < 1 || len(b) > 16 {
		return TransactionID{}, fmt.Errorf("%w: a transaction identifier has 1 to 16 octets, not %d", tlv.ErrValue, len(b))
	}
	return TransactionID{string(b)}, nil
}

// ParseTransactionID reads the hexadecimal form.
func ParseTransactionID(s string) (TransactionID, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return TransactionID{}, fmt.Errorf("transaction identifier: %w", err)
	}
	return TransactionIDFromOctets(b)
}

// String returns upper-case hexadecimal, the form in JSON.
func (t TransactionID) String() string { return strings.ToUpper(hex.EncodeToString([]byte(t.octets))) }

// Octets returns the octets.
func (t TransactionID) Octets() []byte { return []byte(t.octets) }

// IsZero reports whether t is no identifier at all.
func (t TransactionID) IsZero() bool { return t.octets == "" }

// MarshalText writes the hexadecimal form.
func (t TransactionID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the hexadecimal form, or nothing.
func (t *TransactionID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = TransactionID{}
		return nil
	}
	id, err := ParseTransactionID(string(text))
	*t = id
	return err
}

// Append appends the element that holds the identifier.
func (t TransactionID) Append(dst []byte, tag tlv.Tag) []byte {
	return tlv.AppendString(dst, tag, t.octets)
}

// A Version is major, minor and revision.
type Version [3]byte

// ParseVersion reads "2.5.0", with or without a leading v, or "2.5".
func ParseVersion(s string) (Version, error) {
	parts := strings.Split(strings.TrimPrefix(s, "v"), ".")
	if len(parts) < 2 || len(parts) > 3 {
		return Version{}, fmt.Errorf("a version is two or three numbers with dots, not %q", s)
	}
	var v Version
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return Version{}, fmt.Errorf("version %q: %w", s, err)
		}
		v[i] = byte(n)
	}
	return v, nil
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// Compare returns -1, 0 or 1.
func (v Version) Compare(other Version) int { return bytes.Compare(v[:], other[:]) }

// IsZero reports whether v is absent.
func (v Version) IsZero() bool { return v == Version{} }

// NewChallenge returns 16 random octets.
func NewChallenge() []byte {
	b := make([]byte, ChallengeSize)
	rand.Read(b) // never fails: crypto/rand ends the program first
	return b
}

// AppendSignature appends signature in its element 5F37.
func AppendSignature(dst, signature []byte) []byte { return tlv.Append(dst, TagSignature, signature) }

// ParseSignature reads an element 5F37 and returns the 64 octets in it.
func ParseSignature(der []byte) ([]byte, error) {
	e, err := tlv.ParseTag(der, TagSignature)
	if err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	if len(e.Value) != SignatureSize {
		return nil, fmt.Errorf("%w: a signature has 64 octets, not %d", tlv.ErrValue, len(e.Value))
	}
	return e.Value, nil
}

// ErrSignature is returned by every Verify function when a signature does not
// fit the octets and the key.
var ErrSignature = fmt.Errorf("signature does not verify")
