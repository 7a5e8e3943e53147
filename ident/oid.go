package ident

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An OID is an object identifier in its dotted form, "2.999.10". SM-DP+ and
// SM-DS have one each, in the registeredID of their certificates.
type OID string

// ParseOID reads the dotted form.
func ParseOID(s string) (OID, error) {
	arcs := strings.Split(s, ".")
	if len(arcs) < 2 {
		return "", fmt.Errorf("an object identifier has at least two numbers with a dot between them, not %q", s)
	}
	for i, arc := range arcs {
		n, err := strconv.ParseUint(arc, 10, 31)
		if err != nil || (len(arc) > 1 && arc[0] == '0') {
			return "", fmt.Errorf("number %d of object identifier %q is not one", i+1, s)
		}
		if (i == 0 && n > 2) || (i == 1 && arcs[0] != "2" && n > 39) {
			return "", fmt.Errorf("number %d of object identifier %q is too large", i+1, s)
		}
	}
	return OID(s), nil
}

// Octets returns the content octets in DER, without tag and length. An OID
// that did not pass a parser has none.
func (o OID) Octets() []byte {
	if _, err := ParseOID(string(o)); err != nil {
		return nil
	}
	var out []byte
	var first uint64
	for i, arc := range strings.Split(string(o), ".") {
		n, _ := strconv.ParseUint(arc, 10, 31) // checked above
		switch i {
		case 0:
			first = n * 40
			continue
		case 1:
			n += first
		}
		shift := 0
		for n>>(shift+7) != 0 {
			shift += 7
		}
		for ; shift > 0; shift -= 7 {
			out = append(out, 0x80|byte(n>>shift))
		}
		out = append(out, byte(n&0x7F))
	}
	return out
}

// OIDFromOctets reads content octets.
func OIDFromOctets(b []byte) (OID, error) {
	if len(b) == 0 || b[len(b)-1]&0x80 != 0 {
		return "", fmt.Errorf("object identifier %x is cut off", b)
	}
	var out strings.Builder
	var n uint64
	start := true
	for _, o := range b {
		if start && o == 0x80 {
			return "", fmt.Errorf("object identifier %x has a number with leading zeros", b)
		}
		n = n<<7 | uint64(o&0x7F)
		if n > math.MaxInt32 {
			return "", fmt.Errorf("object identifier %x has a number above 31 bits", b)
		}
		if start = o&0x80 == 0; !start {
			continue
		}
		if out.Len() == 0 {
			top := min(n/40, 2)
			fmt.Fprintf(&out, "%d.%d", top, n-40*top)
		} else {
			fmt.Fprintf(&out, ".%d", n)
		}
		n = 0
	}
	return OID(out.String()), nil
}
