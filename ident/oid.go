package ident

import (
	"fmt"
	"strconv"
	"strings"
)

// An OID is an object identifier in dotted form, such as the registered ID of
// an SM-DP+, 2.999.10.
type OID string

// maxOIDOctets bounds the octets of an object identifier. The longest in use
// have about a dozen.
const maxOIDOctets = 64

// ParseOID reads an object identifier in dotted form.
func ParseOID(s string) (OID, error) {
	arcs := strings.Split(s, ".")
	if len(arcs) < 2 || len(s) > 4*maxOIDOctets {
		return "", fmt.Errorf("an object identifier is two or more numbers with dots between them, not %q", s)
	}
	for i, arc := range arcs {
		n, err := strconv.ParseUint(arc, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != arc {
			return "", fmt.Errorf("part %d of object identifier %q is not a plain number", i+1, s)
		}
		if i == 0 && n > 2 || i == 1 && arcs[0] != "2" && n > 39 {
			return "", fmt.Errorf("object identifier %q does not exist: part %d is too large", s, i+1)
		}
	}
	return OID(s), nil
}

// Octets returns the content octets of the identifier in DER, without tag and
// length: 2.999.10 is 88 37 0A.
func (o OID) Octets() []byte {
	var out []byte
	var first uint64
	for i, arc := range strings.Split(string(o), ".") {
		n, err := strconv.ParseUint(arc, 10, 64)
		if err != nil {
			return nil
		}
		switch i {
		case 0:
			first = 40 * n
			continue
		case 1:
			n += first
		}
		out = appendBase128(out, n)
	}
	return out
}

func appendBase128(dst []byte, n uint64) []byte {
	shift := 0
	for n>>shift > 0x7F {
		shift += 7
	}
	for ; shift > 0; shift -= 7 {
		dst = append(dst, byte(n>>shift)|0x80)
	}
	return append(dst, byte(n)&0x7F)
}

// OIDFromOctets reads the content octets of an object identifier.
func OIDFromOctets(b []byte) (OID, error) {
	if len(b) == 0 || len(b) > maxOIDOctets || b[len(b)-1]&0x80 != 0 {
		return "", fmt.Errorf("octets %x are not an object identifier", b)
	}
	out := make([]byte, 0, 32)
	var n uint64
	for i, o := range b {
		if n == 0 && o == 0x80 || n > 1<<32 {
			return "", fmt.Errorf("octets %x are not an object identifier", b)
		}
		n = n<<7 | uint64(o&0x7F)
		if o&0x80 != 0 {
			continue
		}
		if len(out) == 0 {
			root := min(n/40, 2)
			out = strconv.AppendUint(out, root, 10)
			n -= 40 * root
		}
		if n > 1<<32-1 {
			return "", fmt.Errorf("arc that ends at octet %d of object identifier %x is too large", i, b)
		}
		out = append(out, '.')
		out = strconv.AppendUint(out, n, 10)
		n = 0
	}
	return OID(out), nil
}
