package saip

import (
	"encoding/binary"

	"godwit/tlv"
)

// The pieces that our own templates are built of. They write what annex A of
// the TCA specification has as templates, with every rule and size spelled out,
// so that a chip that knows another version of a template makes the same files.

// A content is what one file of a template says beyond its component.
type content struct {
	aid, pinStatus []byte // of directories
	id             uint16 // temporary identifier of an ADF
	records        int    // number of records, 0 for the component's
	length         int    // size, or length of a record, 0 for the component's
	data           [][]byte
	pattern        []byte // fill pattern in place of the template's
}

// element builds an element with a template: the components named in files, in
// the order of the template.
func element(k Kind, id, version int, files map[string]content) *node {
	n := branch(tlv.Tag(k), peHeader(id), leaf(0x81, templateOID(k, version)...))
	left := len(files)
	for _, c := range components(k) {
		if f, ok := files[c.name]; ok {
			n.children = append(n.children, branch(c.tag, f.members(c, version)...))
			left--
		}
	}
	if left != 0 {
		panic("saip: a template of ours names a file that " + k.String() + " does not have")
	}
	return n
}

// members builds a File.
func (f content) members(c *component, version int) []*node {
	d := branch(tagDescriptor)
	size := c.size(version)
	if f.length != 0 {
		size.length = f.length
	}
	if f.records != 0 {
		size.records = f.records
	}
	add := func(n *node) { d.children = append(d.children, n) }
	switch c.kind {
	case Transparent:
		add(leaf(0x82, 0x41, 0x21))
	case LinearFixed:
		add(leaf(0x82, 0x42, 0x21, byte(size.length>>8), byte(size.length)))
	case Cyclic:
		add(leaf(0x82, 0x46, 0x21, byte(size.length>>8), byte(size.length)))
	}
	if f.id != 0 {
		add(leaf(0x83, byte(f.id>>8), byte(f.id)))
	} else if c.id != 0 && c.name != "mf" {
		add(leaf(0x83, byte(c.id>>8), byte(c.id)))
	}
	if f.aid != nil {
		add(leaf(0x84, f.aid...))
	}
	add(leaf(0x8B, c.security()...))
	if c.kind != DF && c.kind != ADF {
		add(leaf(0x80, shortest(size.length*max(size.records, 1))...))
	}
	if f.pinStatus != nil {
		add(leaf(0xC6, f.pinStatus...))
	}
	if c.kind != DF && c.kind != ADF && c.sfi != 0 {
		add(leaf(0x88, c.sfi<<3))
	}
	if f.pattern != nil {
		add(branch(0xA5, leaf(0xC1, f.pattern...)))
	}
	out := []*node{d}
	for i, v := range f.data {
		out = append(out, leaf(tagContent, v...))
		if gap := size.length - len(v); c.kind == LinearFixed && gap > 0 && i < len(f.data)-1 {
			out = append(out, leaf(tagOffset, shortest(gap)...))
		}
	}
	return out
}

// shortest encodes a positive number without leading zeros.
func shortest(n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(n))
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

// integer encodes a non-negative INTEGER.
func integer(tag tlv.Tag, n int) *node {
	e, err := tlv.Parse(tlv.AppendInt(nil, tag, int64(n)))
	if err != nil {
		panic(err)
	}
	return leaf(tag, e.Value...)
}

// peHeader says that the element is mandatory.
func peHeader(id int) *node { return branch(0xA0, leaf(0x80), integer(0x81, id)) }

// templateNumbers are the last arc of 2.23.143.1.2.n.
var templateNumbers = map[Kind]byte{
	KindMF: 1, KindCD: 2, KindTelecom: 3, KindUSIM: 4, KindOptUSIM: 5, KindPhonebook: 6, KindGSMAccess: 7, KindISIM: 8,
	KindOptISIM: 9, KindCSIM: 10, KindOptCSIM: 11, KindEAP: 12, KindDF5GS: 13, KindDFSAIP: 14,
}

func templateOID(k Kind, version int) []byte {
	oid := []byte{0x67, 0x81, 0x0F, 0x01, 0x02, templateNumbers[k]}
	if version > 1 {
		oid = append(oid, byte(version))
	}
	return oid
}

// header builds the profile header for the elements that follow it.
func header(profileType string, services []Capability, elements []*node) *node {
	list := branch(0xA5)
	for i, c := range serviceOrder {
		for _, s := range services {
			if s == c {
				list.children = append(list.children, leaf(tlv.Context(uint(i))))
			}
		}
	}
	templates := branch(0xA6)
	seen := map[string]bool{}
	for _, n := range elements {
		oid := n.child(0x81).octets()
		if components(Kind(n.tag)) != nil && !seen[string(oid)] {
			seen[string(oid)] = true
			templates.children = append(templates.children, leaf(tlv.OID, oid...))
		}
	}
	return branch(tlv.Tag(KindHeader), integer(0x80, 2), integer(0x81, 3), leaf(0x82, []byte(profileType)...),
		leaf(0x83, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0x04), list, templates)
}

// A pin is one PINConfiguration or PUKConfiguration.
type pin struct {
	reference  int
	value      string
	puk        int
	attributes int
	tries      int
}

func pinCodes(id int, pins ...pin) *node {
	list := branch(0xA0)
	for _, p := range pins {
		n := branch(tlv.Sequence, integer(0x80, p.reference), leaf(0x81, appendPIN(nil, p.value)...))
		if p.puk != 0 {
			n.children = append(n.children, integer(0x82, p.puk))
		}
		n.children = append(n.children, integer(0x83, p.attributes))
		if p.tries != 0 {
			n.children = append(n.children, integer(0x84, p.tries))
		}
		list.children = append(list.children, n)
	}
	return branch(tlv.Tag(KindPINCodes), peHeader(id), branch(0xA1, list))
}

func pukCodes(id int, puks ...pin) *node {
	list := branch(0xA1)
	for _, p := range puks {
		list.children = append(list.children, branch(tlv.Sequence, integer(0x80, p.reference), leaf(0x81, appendPIN(nil, p.value)...)))
	}
	return branch(tlv.Tag(KindPUKCodes), peHeader(id), list)
}

// akaParameter uses Milenage with keys of zeros: a profile gets its own.
func akaParameter(id int) *node {
	return branch(tlv.Tag(KindAKA), peHeader(id), branch(0xA1, branch(0xA1,
		integer(tagAlgorithm, int(Milenage)), leaf(0x81, 0x02), leaf(tagKey, make([]byte, 16)...), leaf(tagOPc, make([]byte, 16)...))))
}

func endOf(id int) *node { return branch(tlv.Tag(KindEnd), peHeader(id)) }

// A rule is an access rule: for each set of operations, the code that allows
// them, or always, or never.
type rule []struct{ operations, code byte }

// Conditions beside the references of codes.
const (
	always   = 0x90
	never    = 0x97
	increase = 0x80 // in operations: by instruction 32
)

// accessRules are those of annex A, 9.9, in its order: the number of a rule is
// the number of its record. Operations: 01 read, 02 update, 08 deactivate, 10
// activate, 40 delete; for directories 02 delete child, 04 create.
var accessRules = []rule{
	{{0x01, always}, {0x02, refPIN1}, {0x58, refADM1}},
	{{0x01, refPIN1}, {0x5A, refADM1}},
	{{0x5B, refADM1}},
	{{0x01, always}, {0x1A, never}, {0x40, refADM1}},
	{{0x03, refPIN1}, {0x58, refADM1}},
	{{0x11, refPIN1}, {0x4A, refADM1}},
	{{0x03, refPIN1}, {0x58, refADM1}, {increase, refPIN1}},
	{{0x01, refPIN1}, {0x02, refPIN2}, {0x58, refADM1}},
	{{0x01, always}, {0x1A, refPIN1}, {0x40, refADM1}},
	{{0x01, always}, {0x5A, refADM1}},
	{{0x01, always}, {0x18, refADM1}, {0x42, never}},
	{{0x01, refPIN1}, {0x5A, never}},
	{{0x13, refPIN1}, {0x48, refADM1}},
	{{0x5E, refADM1}},
}

// arr is an EF.ARR with all rules.
func arr() content {
	c := content{records: len(accessRules)}
	for _, r := range accessRules {
		var record []byte
		for _, part := range r {
			if part.operations == increase {
				record = tlv.Append(record, 0x84, []byte{0x32})
			} else {
				record = tlv.Append(record, 0x80, []byte{part.operations})
			}
			switch part.code {
			case always, never:
				record = tlv.Append(record, tlv.Tag(part.code), nil)
			default: // the code is a PIN: usage qualifier 08, knowledge
				record = tlv.Append(record, 0xA4, []byte{0x83, 0x01, part.code, 0x95, 0x01, 0x08})
			}
		}
		c.data = append(c.data, record)
		c.length = max(c.length, len(record))
	}
	return c
}

// octets is a content of one value.
func octets(b ...byte) content { return content{data: [][]byte{b}} }

// table is a service table of n octets with some services available.
func table(n int, services ...int) content {
	b := make([]byte, n)
	for _, s := range services {
		setService(b, s, true)
	}
	return octets(b...)
}

// directoryRecord is a record of EF.DIR. ETSI TS 102 221, 13.1.
func directoryRecord(aid []byte, label string) []byte {
	return tlv.AppendNested(nil, 0x61, func(dst []byte) []byte {
		return tlv.AppendString(tlv.Append(dst, 0x4F, aid), 0x50, label)
	})
}
