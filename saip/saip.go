// Package saip reads, checks and personalises profile packages: the TCA eUICC
// Profile Package, Interoperable Format (SAIP) 2.x and 3.x, a concatenation of
// DER profile elements that an eUICC builds a UICC's file system from.
//
// [Parse] keeps every octet, so that an element of a later version passes
// through unharmed. [Package.Validate] tells what an eUICC would refuse before
// it costs a download. A [Template] is parsed once and personalised many times.
// [Package.FileSystem] builds what a chip would build.
//
// Three things are taken on trust, because the public material that this was
// written from is silent: files of CSIM are as large as their content; the bits
// of sqnOptions switch Delta (02) and the age limit (01) on; and TUAK gives
// outputs of the usual lengths whatever algorithmOptions says.
//
// The package does no I/O and knows nothing of SGP.22: protection and delivery
// of a package are the business of rsp.
package saip

import (
	"fmt"

	"godwit/tlv"
)

// A Package is a parsed unprotected profile package.
type Package struct {
	// Elements are the profile elements in their order.
	Elements []*Element
}

// An Element is one profile element (PE).
type Element struct {
	Kind     Kind
	Mandated bool // the eUICC must refuse the package if it does not know this PE
	ID       int  // its identification, unique in the package; 0 for the header
	node     *node
}

// Parse reads a profile package. It refuses what is not a sequence of well
// formed elements; whether the elements make a profile is for [Package.Validate]
// to say. The package does not share memory with der.
func Parse(der []byte) (*Package, error) {
	nodes, err := parseNodes(append([]byte(nil), der...), 0)
	if err != nil {
		return nil, fmt.Errorf("read profile package: %w", err)
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("read profile package: %w: it is empty", tlv.ErrMissing)
	}
	p := &Package{}
	for i, n := range nodes {
		e := &Element{Kind: Kind(n.tag), node: n}
		if !n.tag.Constructed() || n.raw[0]&0xC0 == 0 {
			return nil, fmt.Errorf("read profile package: element %d has tag %s, which no profile element has", i+1, n.tag)
		}
		if e.Kind != KindHeader {
			if err := e.readHeader(); err != nil {
				return nil, fmt.Errorf("read profile package: element %d (%s): %w", i+1, e.Kind, err)
			}
		}
		p.Elements = append(p.Elements, e)
	}
	return p, nil
}

// readHeader reads the PEHeader that every element but the profile header
// begins with: A0{80 00 mandated?, 81 identification}.
func (e *Element) readHeader() error {
	h := e.node.child(0xA0)
	if h == nil || len(e.node.children) == 0 || e.node.children[0] != h {
		return fmt.Errorf("%w: its header A0", tlv.ErrMissing)
	}
	e.Mandated = h.child(0x80) != nil
	id := h.child(0x81)
	if id == nil {
		return fmt.Errorf("%w: identification 81 in its header", tlv.ErrMissing)
	}
	n, err := tlv.DecodeInt(id.value)
	if err != nil {
		return fmt.Errorf("identification: %w", err)
	}
	if n < 0 || n > 32767 {
		return fmt.Errorf("identification %d is outside 0 to 32767", n)
	}
	e.ID = int(n)
	return nil
}

// Bytes encodes the package. What has not been changed comes out as it came in.
func (p *Package) Bytes() []byte {
	var out []byte
	for _, e := range p.Elements {
		out = e.node.append(out)
	}
	return out
}

// Element returns the first element of a kind, or nil.
func (p *Package) Element(k Kind) *Element {
	for _, e := range p.Elements {
		if e.Kind == k {
			return e
		}
	}
	return nil
}

// Bytes encodes the element, tag and length included.
func (e *Element) Bytes() []byte { return e.node.append(nil) }

// String names the element as error reports do.
func (e *Element) String() string {
	if e.Kind == KindHeader {
		return "header"
	}
	return fmt.Sprintf("%s (PE %d)", e.Kind, e.ID)
}
