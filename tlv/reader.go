package tlv

import (
	"fmt"
)

// A Reader takes elements one after the other from a run of octets. Its first
// error sticks: later calls return zero values, so a message is read in one go
// and checked once at the end with [Reader.Err] or [Reader.Close].
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a reader of the elements in b.
func NewReader(b []byte) Reader { return Reader{rest: b} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Fail makes the reader fail with err, unless it has failed already. Callers
// use it for values that are well formed and still wrong.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Close returns the first error, or an error when elements are left. A reader
// of an extensible SEQUENCE calls [Reader.Err] instead: unknown trailing
// elements are to be tolerated there.
func (r *Reader) Close() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%w: %d", ErrTrailing, len(r.rest))
	}
	return r.err
}

// Empty reports whether nothing is left, or the reader has failed.
func (r *Reader) Empty() bool { return r.err != nil || len(r.rest) == 0 }

// Rest returns what has not been read yet.
func (r *Reader) Rest() []byte { return r.rest }

// Peek returns the tag of the next element, or 0 when there is none.
func (r *Reader) Peek() Tag {
	if r.Empty() {
		return 0
	}
	tag, _, _, err := readHeader(r.rest)
	if err != nil {
		return 0
	}
	return tag
}

// Next takes the next element, whatever it is.
func (r *Reader) Next() Element {
	if r.err != nil {
		return Element{}
	}
	e, rest, err := Next(r.rest)
	if err != nil {
		r.err = err
		return Element{}
	}
	r.rest = rest
	return e
}

// Optional takes the next element if it has the given tag.
func (r *Reader) Optional(tag Tag) (Element, bool) {
	if r.Peek() != tag {
		return Element{}, false
	}
	e := r.Next()
	return e, r.err == nil
}

// Element takes the next element, which must have the given tag.
func (r *Reader) Element(tag Tag) Element {
	if r.err != nil {
		return Element{}
	}
	e, rest, err := Next(r.rest)
	if err != nil {
		r.err = fmt.Errorf("read %s: %w", tag, err)
		return Element{}
	}
	if e.Tag != tag {
		r.err = fmt.Errorf("%w: want %s, have %s", ErrMissing, tag, e.Tag)
		return Element{}
	}
	r.rest = rest
	return e
}

// Value takes the value of the next element, which must have the given tag.
func (r *Reader) Value(tag Tag) []byte { return r.Element(tag).Value }

// Fixed takes the value of the next element, which must have the given tag
// and exactly n octets.
func (r *Reader) Fixed(tag Tag, n int) []byte {
	v := r.Value(tag)
	if r.err == nil && len(v) != n {
		r.err = fmt.Errorf("%w: %s has %d octets, want %d", ErrValue, tag, len(v), n)
		return nil
	}
	return v
}

// OptionalValue takes the value of the next element if it has the given tag.
// It returns nil when it has not, and a non-nil slice when it has.
func (r *Reader) OptionalValue(tag Tag) []byte {
	e, ok := r.Optional(tag)
	if !ok {
		return nil
	}
	return e.Value
}

// Sub takes the next element, which must have the given tag, and returns a
// reader of its children. A failure of the parent is the child's as well.
func (r *Reader) Sub(tag Tag) Reader {
	e := r.Element(tag)
	return Reader{rest: e.Value, err: r.err}
}

// Int takes the next element as a signed integer of at most 64 bits.
func (r *Reader) Int(tag Tag) int64 {
	v := r.Value(tag)
	if r.err != nil {
		return 0
	}
	n, err := DecodeInt(v)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", tag, err)
	}
	return n
}

// Bool takes the next element as a boolean. Any octet but zero is true.
func (r *Reader) Bool(tag Tag) bool {
	v := r.Fixed(tag, 1)
	return len(v) == 1 && v[0] != 0
}

// SkipTo drops elements until the next one has the given tag or none is left.
// Extensible types grow at their end, but peers differ in what they leave out.
func (r *Reader) SkipTo(tag Tag) bool {
	for !r.Empty() {
		if r.Peek() == tag {
			return true
		}
		r.Next()
	}
	return false
}

// DecodeInt reads the content octets of an INTEGER.
func DecodeInt(v []byte) (int64, error) {
	if len(v) == 0 || len(v) > 8 {
		return 0, fmt.Errorf("%w: integer of %d octets", ErrValue, len(v))
	}
	n := int64(int8(v[0]))
	for _, o := range v[1:] {
		n = n<<8 | int64(o)
	}
	return n, nil
}

// Bits reads the content octets of a BIT STRING as a set: bit n of the result
// is bit n of the string, counted from the first. Trailing zeros may have been
// trimmed or not; bits beyond the 64th are ignored.
func Bits(v []byte) (uint64, error) {
	if len(v) == 0 || v[0] > 7 || len(v) == 1 && v[0] != 0 {
		return 0, fmt.Errorf("%w: bit string", ErrValue)
	}
	var set uint64
	for i, o := range v[1:] {
		if i == 8 {
			break
		}
		for b := range 8 {
			if o&(0x80>>b) != 0 {
				set |= 1 << (8*i + b)
			}
		}
	}
	return set, nil
}
