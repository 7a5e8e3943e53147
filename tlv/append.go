package tlv

import "math/bits"

// AppendTag appends the octets of tag.
func AppendTag(dst []byte, tag Tag) []byte {
	switch {
	case tag > 0xFFFF:
		return append(dst, byte(tag>>16), byte(tag>>8), byte(tag))
	case tag > 0xFF:
		return append(dst, byte(tag>>8), byte(tag))
	}
	return append(dst, byte(tag))
}

// AppendLength appends n in the shortest form.
func AppendLength(dst []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(dst, byte(n))
	case n < 0x100:
		return append(dst, 0x81, byte(n))
	case n < 0x10000:
		return append(dst, 0x82, byte(n>>8), byte(n))
	case n < 0x1000000:
		return append(dst, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// AppendHeader appends the tag and the length of an element whose n content
// octets follow.
func AppendHeader(dst []byte, tag Tag, n int) []byte { return AppendLength(AppendTag(dst, tag), n) }

// Append appends one element.
func Append(dst []byte, tag Tag, value []byte) []byte {
	return append(AppendHeader(dst, tag, len(value)), value...)
}

// AppendString appends one element whose content octets are those of s.
func AppendString(dst []byte, tag Tag, s string) []byte {
	return append(AppendHeader(dst, tag, len(s)), s...)
}

// AppendNested appends one element whose content is appended by body.
func AppendNested(dst []byte, tag Tag, body func(dst []byte) []byte) []byte {
	dst = AppendTag(dst, tag)
	at := len(dst)
	dst = body(append(dst, 0))
	n := len(dst) - at - 1
	if n < 0x80 {
		dst[at] = byte(n)
		return dst
	}
	// The length needs more than the one octet that was kept free: move the
	// content up. Messages are small, and this saves a buffer for each level.
	var buf [5]byte
	length := AppendLength(buf[:0], n)
	dst = append(dst, length[1:]...)
	copy(dst[at+len(length):], dst[at+1:at+1+n])
	copy(dst[at:], length)
	return dst
}

// AppendInt appends an INTEGER in the fewest octets.
func AppendInt(dst []byte, tag Tag, n int64) []byte {
	magnitude := uint64(n)
	if n < 0 {
		magnitude = ^magnitude
	}
	size := bits.Len64(magnitude)/8 + 1
	dst = AppendHeader(dst, tag, size)
	for i := size - 1; i >= 0; i-- {
		dst = append(dst, byte(n>>(8*i)))
	}
	return dst
}

// AppendBool appends a BOOLEAN: FF for true, 00 for false.
func AppendBool(dst []byte, tag Tag, v bool) []byte {
	if v {
		return append(AppendHeader(dst, tag, 1), 0xFF)
	}
	return append(AppendHeader(dst, tag, 1), 0)
}

// AppendBits appends a BIT STRING with named bits, in DER: trailing zeros
// trimmed. Bit n of set is bit n of the string.
func AppendBits(dst []byte, tag Tag, set uint64) []byte {
	octets := (bits.Len64(set) + 7) / 8
	dst = AppendHeader(dst, tag, octets+1)
	if octets == 0 {
		return append(dst, 0)
	}
	dst = append(dst, byte(octets*8-bits.Len64(set)))
	for i := range octets {
		dst = append(dst, bits.Reverse8(byte(set>>(8*i))))
	}
	return dst
}
