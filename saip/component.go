package saip

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"godwit/tlv"
)

// A component is one file of a template.
type component struct {
	name    string
	tag     tlv.Tag
	id      uint16 // 0: the package must say
	kind    FileType
	sizes   []extent // by version of the template, the last for all later ones
	guess   bool     // the template's size is not known here: it is what the content fills
	sfi     byte
	rule    byte   // access rule of annex A
	top     bool   // an ADF, or directly under the MF: its rule is in EF 2F06, not 6F06
	content string // default content, "" if the package must say
}

// An extent is the size of a transparent file, or the number and length of
// records. 0 leaves it to the package.
type extent struct{ records, length int }

// size returns the extent in a version of the template, from 1.
func (c *component) size(version int) extent {
	if len(c.sizes) == 0 {
		return extent{}
	}
	return c.sizes[min(max(version, 1), len(c.sizes))-1]
}

// components returns the files of a kind of element, in the order of their tags;
// nil for elements that hold no files.
var components = func() func(Kind) []*component {
	all := sync.OnceValue(func() map[Kind][]*component {
		out := map[Kind][]*component{}
		for kind, text := range templateText {
			for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
				c := parseComponent(uint(i), line)
				c.top = c.kind == ADF || c.id>>8 == 0x2F || c.id == 0x3F00 || i == 0 && (kind == KindCD || kind == KindTelecom)
				out[kind] = append(out[kind], c)
			}
		}
		return out
	})
	return func(k Kind) []*component { return all()[k] }
}()

// parseComponent reads a line of the templates. The text is part of the
// program, so that a mistake in it is a mistake of ours and ends the program; a
// test reads all of it.
func parseComponent(index uint, line string) *component {
	f := strings.Fields(line)
	if len(f) != 7 {
		panic(fmt.Sprintf("template line %q has %d fields", line, len(f)))
	}
	c := &component{
		name: f[0],
		tag:  tlv.ContextConstructed(2 + index), // after header and templateID
		id:   uint16(number(f[1], 16)),
		kind: map[string]FileType{"D": DF, "A": ADF, "T": Transparent, "L": LinearFixed, "C": Cyclic, "B": BERTLV}[f[2]],
		sfi:  byte(number(f[4], 16)),
		rule: byte(number(f[5], 10)),
	}
	if c.kind == 0 {
		panic(fmt.Sprintf("template line %q has no type", line))
	}
	if c.guess = f[3] == "?"; f[3] != "-" && !c.guess {
		for s := range strings.SplitSeq(f[3], "/") {
			records, length, ok := strings.Cut(s, "x")
			if !ok {
				records, length = "-", s
			}
			c.sizes = append(c.sizes, extent{number(records, 10), number(length, 10)})
		}
	}
	if f[6] != "-" {
		c.content = f[6]
	}
	return c
}

func number(s string, base int) int {
	if s == "-" {
		return 0
	}
	n, err := strconv.ParseUint(s, base, 16)
	if err != nil {
		panic(fmt.Sprintf("template number %q: %v", s, err))
	}
	return int(n)
}

// fillDefault spreads a default content over n octets.
func fillDefault(content string, n int) []byte {
	out := make([]byte, n)
	switch {
	case content == "":
		fillPattern(out, []byte{0xFF})
	case content[0] == '{':
		fillRepeat(out, mustHex(strings.Trim(content, "{}")))
	case content[0] == '*': // the first octet repeats before the rest
		tail := mustHex(content[1:])
		fillPattern(out, tail[:1])
		if n >= len(tail)-1 {
			copy(out[n-len(tail)+1:], tail[1:])
		}
	default:
		fillPattern(out, mustHex(strings.TrimSuffix(content, "*")))
	}
	return out
}

// fillPattern writes pattern once and then its last octet to the end. ETSI TS
// 102 222, 6.3.2.2.2, tag C1.
func fillPattern(out, pattern []byte) {
	for i := copy(out, pattern); i < len(out); i++ {
		out[i] = pattern[len(pattern)-1]
	}
}

// fillRepeat writes pattern over and over. Tag C2.
func fillRepeat(out, pattern []byte) {
	for i := 0; i < len(out); i += len(pattern) {
		copy(out[i:], pattern)
	}
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 {
		panic(fmt.Sprintf("octets %q: %v", s, err))
	}
	return b
}

// templateVersion reads a template OID 2.23.143.1.2.n[.v] and returns v, 1 if it
// is absent.
func templateVersion(oid []byte) int {
	if len(oid) == 7 {
		return int(oid[6])
	}
	return 1
}
