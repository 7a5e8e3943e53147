// Package tlv reads and writes BER and DER as the GSMA protocols use them:
// tags of up to three octets, and raw octets kept, because every signature in
// SGP.22 and SGP.32 is over bytes as they arrived.
//
// A [Reader] is a view that shrinks as elements are taken from it. It never
// copies: every slice that it hands out shares memory with the input. Writing
// is by appending; lengths are always minimal.
//
// The package knows no schema and no ASN.1 types beyond the few whose octets
// need care (integers, booleans, bit strings). X.509 is read elsewhere.
package tlv

import (
	"errors"
	"fmt"
)

// MaxDepth bounds nesting in [Walk]. The deepest message of SGP.22 (a bound
// profile package with metadata) nests eight levels.
const MaxDepth = 32

// MaxElement bounds the length of one element, in octets. A profile package is
// some tens of kilobytes; a length above this is an attack or an accident.
const MaxElement = 4 << 20

// Errors of reading. They are wrapped with the offset or tag concerned.
var (
	ErrTruncated = errors.New("truncated element")
	ErrTag       = errors.New("malformed tag")
	ErrLength    = errors.New("malformed length")
	ErrTooLong   = errors.New("element longer than allowed")
	ErrTooDeep   = errors.New("nesting deeper than allowed")
	ErrTrailing  = errors.New("octets after the last element")
	ErrMissing   = errors.New("missing element")
	ErrValue     = errors.New("malformed value")
)

// A Tag is a BER tag as it is transmitted, read as a big-endian number:
// 0x30, 0x5F37, 0xBF38. Class and constructed bit are part of it.
type Tag uint32

// Universal tags in use.
const (
	Boolean     Tag = 0x01
	Integer     Tag = 0x02
	BitString   Tag = 0x03
	OctetString Tag = 0x04
	Null        Tag = 0x05
	OID         Tag = 0x06
	UTF8String  Tag = 0x0C
	Sequence    Tag = 0x30
	Set         Tag = 0x31
)

// Context returns the primitive context-specific tag [n].
func Context(n uint) Tag { return classTag(0x80, n) }

// ContextConstructed returns the constructed context-specific tag [n].
func ContextConstructed(n uint) Tag { return classTag(0xA0, n) }

func classTag(lead Tag, n uint) Tag {
	if n < 31 {
		return lead | Tag(n)
	}
	if n < 128 {
		return (lead|0x1F)<<8 | Tag(n)
	}
	return (lead|0x1F)<<16 | Tag(0x80|n>>7)<<8 | Tag(n&0x7F)
}

// Constructed reports whether elements with this tag hold other elements.
func (t Tag) Constructed() bool {
	switch {
	case t > 0xFFFF:
		return t&0x200000 != 0
	case t > 0xFF:
		return t&0x2000 != 0
	}
	return t&0x20 != 0
}

// String returns the tag in upper-case hexadecimal, as the specifications
// write it.
func (t Tag) String() string { return fmt.Sprintf("%02X", uint32(t)) }

// An Element is one tag, length and value.
type Element struct {
	Tag   Tag
	Value []byte // the content octets
	Raw   []byte // the whole element, header included, as it arrived
}

// Reader returns a reader of the element's children.
func (e Element) Reader() Reader { return Reader{rest: e.Value} }

// readHeader splits the header off b. Lengths need not be minimal: cards send
// BER, and a signature does not care.
func readHeader(b []byte) (tag Tag, header, length int, err error) {
	if len(b) == 0 {
		return 0, 0, 0, ErrTruncated
	}
	tag, i := Tag(b[0]), 1
	if b[0]&0x1F == 0x1F {
		for {
			if i >= len(b) {
				return 0, 0, 0, ErrTruncated
			}
			if i == 3 {
				return 0, 0, 0, ErrTag
			}
			tag = tag<<8 | Tag(b[i])
			i++
			if b[i-1]&0x80 == 0 {
				break
			}
		}
		if b[1] == 0x80 { // leading zeros in the tag number
			return 0, 0, 0, ErrTag
		}
	}
	if i >= len(b) {
		return 0, 0, 0, ErrTruncated
	}
	n := int(b[i])
	i++
	if n < 0x80 {
		return tag, i, n, nil
	}
	octets := n & 0x7F
	if octets == 0 || octets > 4 { // the indefinite form is not used by any GSMA interface
		return 0, 0, 0, ErrLength
	}
	if i+octets > len(b) {
		return 0, 0, 0, ErrTruncated
	}
	n = 0
	for _, o := range b[i : i+octets] {
		n = n<<8 | int(o)
	}
	if n > MaxElement {
		return 0, 0, 0, ErrTooLong
	}
	return tag, i + octets, n, nil
}

// Next splits the first element off b and returns it with what follows.
func Next(b []byte) (e Element, rest []byte, err error) {
	tag, header, length, err := readHeader(b)
	if err != nil {
		return Element{}, b, err
	}
	end := header + length
	if end > len(b) {
		return Element{}, b, fmt.Errorf("%w: %s says %d octets, %d are left", ErrTruncated, tag, length, len(b)-header)
	}
	return Element{Tag: tag, Value: b[header:end:end], Raw: b[:end:end]}, b[end:], nil
}

// Parse reads b as exactly one element.
func Parse(b []byte) (Element, error) {
	e, rest, err := Next(b)
	if err != nil {
		return Element{}, err
	}
	if len(rest) > 0 {
		return Element{}, fmt.Errorf("%w: %d after %s", ErrTrailing, len(rest), e.Tag)
	}
	return e, nil
}

// ParseTag reads b as exactly one element with the given tag.
func ParseTag(b []byte, tag Tag) (Element, error) {
	e, err := Parse(b)
	if err != nil {
		return Element{}, fmt.Errorf("read %s: %w", tag, err)
	}
	if e.Tag != tag {
		return Element{}, fmt.Errorf("%w: want %s, have %s", ErrMissing, tag, e.Tag)
	}
	return e, nil
}

// ParseChoice reads an element with the given tag that holds exactly one arm of a
// CHOICE, and returns the arm.
func ParseChoice(b []byte, tag Tag) (Element, error) {
	e, err := ParseTag(b, tag)
	if err != nil {
		return Element{}, err
	}
	arm, err := Parse(e.Value)
	if err != nil {
		return Element{}, fmt.Errorf("read %s: %w", tag, err)
	}
	return arm, nil
}

// Walk calls visit for every element of b in order, parents first, with its
// depth from 0. It returns the first error of reading or of visit. Use it on
// foreign bytes that are to be kept or shown as a tree: afterwards every
// constructed element in them is known to be well formed.
func Walk(b []byte, visit func(depth int, e Element) error) error { return walk(b, 0, visit) }

func walk(b []byte, depth int, visit func(int, Element) error) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for len(b) > 0 {
		e, rest, err := Next(b)
		if err != nil {
			return err
		}
		if err := visit(depth, e); err != nil {
			return err
		}
		if e.Tag.Constructed() {
			if err := walk(e.Value, depth+1, visit); err != nil {
				return fmt.Errorf("in %s: %w", e.Tag, err)
			}
		}
		b = rest
	}
	return nil
}
