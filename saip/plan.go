package saip

import (
	"godwit/tlv"
)

// A plan is a template cut at the places that personal data goes to: literal
// octets, slots, and branches whose length depends on slots within.
type plan struct {
	parts     []part
	slots     []slot
	files     []*fileEdit
	has       [fieldCount]bool
	algorithm Algorithm // of the first akaParameter
	mncLength int       // of the template's EF.AD
	keys      []keyPlace
	keyTypes  []byte // of keys
}

// A part is one of three things.
type part struct {
	literal []byte
	slot    int // index into slots, plus one
	tag     tlv.Tag
	parts   []part // of a branch
}

// A slot writes whole elements in the place of original. It writes nothing and
// reports false to keep the original.
type slot struct {
	original []byte
	write    func(dst []byte, f *filling) ([]byte, bool)
}

// A keyPlace is a key of a security domain.
type keyPlace struct{ version, id byte }

// planner collects the changes of a tree before it is cut.
type planner struct {
	*plan
	replace map[*node]int   // slot that stands for a node, plus one; dropped for none
	insert  map[*node][]ins // slots between a node's children
}

type ins struct{ before, slot int }

const dropped = -1

func newPlan(p *Package) *plan {
	pl := &planner{plan: &plan{mncLength: 2}, replace: map[*node]int{}, insert: map[*node][]ins{}}
	for _, e := range p.Elements {
		switch {
		case e.Kind == KindHeader:
			pl.header(e)
		case e.Kind == KindPINCodes:
			pl.pins(e)
		case e.Kind == KindPUKCodes:
			pl.puks(e)
		case e.Kind == KindAKA:
			pl.aka(e)
		case e.Kind == KindSecurityDomain:
			pl.domainKeys(e)
		case components(e.Kind) != nil:
			pl.templateFiles(e)
		}
	}
	for _, e := range p.Elements {
		pl.parts = pl.cut(pl.parts, e.node)
	}
	return pl.plan
}

// add makes a slot and returns its number, from 1.
func (pl *planner) add(original []byte, write func([]byte, *filling) ([]byte, bool)) int {
	pl.slots = append(pl.slots, slot{original, write})
	return len(pl.slots)
}

// value replaces the value of a leaf that serves one field.
func (pl *planner) value(n *node, f field, write func(dst []byte, p *Personal) []byte) {
	if n == nil {
		return
	}
	pl.has[f] = true
	tag := n.tag
	pl.replace[n] = pl.add(n.append(nil), func(dst []byte, fl *filling) ([]byte, bool) {
		if !f.set(fl.personal) {
			return dst, false
		}
		return appendCounted(dst, tag, func(dst []byte) []byte { return write(dst, fl.personal) }), true
	})
}

// appendCounted appends an element whose value is shorter than 128 octets.
func appendCounted(dst []byte, tag tlv.Tag, write func([]byte) []byte) []byte {
	dst = append(tlv.AppendTag(dst, tag), 0)
	at := len(dst)
	dst = write(dst)
	dst[at-1] = byte(len(dst) - at)
	return dst
}

// appendLength appends a DER length.
func appendLength(dst []byte, n int) []byte { return tlv.AppendLength(dst, n) }

// changed reports whether anything in n is to be replaced.
func (pl *planner) changed(n *node) bool {
	if pl.replace[n] != 0 || pl.insert[n] != nil {
		return true
	}
	for _, c := range n.children {
		if pl.changed(c) {
			return true
		}
	}
	return false
}

// cut appends the parts of n. Neighbouring literals become one.
func (pl *planner) cut(parts []part, n *node) []part {
	if s := pl.replace[n]; s != 0 {
		if s == dropped {
			return parts
		}
		return append(parts, part{slot: s})
	}
	if !pl.changed(n) {
		if k := len(parts) - 1; k >= 0 && parts[k].literal != nil {
			parts[k].literal = n.append(parts[k].literal)
			return parts
		}
		return append(parts, part{literal: n.append(nil)})
	}
	branch := part{tag: n.tag}
	for i := 0; i <= len(n.children); i++ {
		for _, s := range pl.insert[n] {
			if s.before == i {
				branch.parts = append(branch.parts, part{slot: s.slot})
			}
		}
		if i < len(n.children) {
			branch.parts = pl.cut(branch.parts, n.children[i])
		}
	}
	return append(parts, branch)
}

// A filling is the work of one personalisation. It is used again for the next.
type filling struct {
	personal *Personal
	mnc      int
	images   [][]byte // of plan.files: the new content, nil to keep the old
	least    []int    // of plan.files: octets to write at any rate
	arena    []byte   // images
	written  []byte   // what the slots wrote, one after the other
	ends     []int    // where each slot's octets end
	plan     *plan
	lengths  []int // of branches, in the order of a walk, parents first
	next     int
	total    int // length of the whole package
}

// forget drops what is secret or large.
func (f *filling) forget() {
	clear(f.arena[:cap(f.arena)])
	clear(f.written[:cap(f.written)])
	f.personal = nil
}

// begin makes ready for a personalisation.
func (f *filling) begin(pl *plan, p *Personal) {
	f.plan, f.personal = pl, p
	f.arena, f.written, f.ends, f.lengths = f.arena[:0], f.written[:0], f.ends[:0], f.lengths[:0]
	f.mnc = p.MNCLength
	if f.mnc == 0 {
		f.mnc = pl.mncLength
	}
}

// fill computes all slots and the lengths of all branches.
func (f *filling) fill(pl *plan, p *Personal) error {
	f.begin(pl, p)
	if err := f.fillFiles(); err != nil {
		return err
	}
	for i := range pl.slots {
		s := &pl.slots[i]
		var ok bool
		if f.written, ok = s.write(f.written, f); !ok {
			f.written = append(f.written, s.original...)
		}
		f.ends = append(f.ends, len(f.written))
	}
	f.total = 0
	for i := range pl.parts {
		f.total += f.measure(&pl.parts[i])
	}
	return nil
}

// slot returns what slot number n (from 1) wrote.
func (f *filling) slot(n int) []byte {
	start := 0
	if n > 1 {
		start = f.ends[n-2]
	}
	return f.written[start:f.ends[n-1]]
}

// measure returns the encoded length of a part and notes the lengths of the
// branches within.
func (f *filling) measure(p *part) int {
	switch {
	case p.literal != nil:
		return len(p.literal)
	case p.slot != 0:
		return len(f.slot(p.slot))
	}
	at := len(f.lengths)
	f.lengths = append(f.lengths, 0)
	n := 0
	for i := range p.parts {
		n += f.measure(&p.parts[i])
	}
	f.lengths[at] = n
	return headerLength(p.tag, n) + n
}

func headerLength(tag tlv.Tag, n int) int {
	var buf [12]byte
	return len(tlv.AppendHeader(buf[:0], tag, n))
}

// append encodes a part, after measure, in the same order.
func (f *filling) append(dst []byte, p *part) []byte {
	switch {
	case p.literal != nil:
		return append(dst, p.literal...)
	case p.slot != 0:
		return append(dst, f.slot(p.slot)...)
	}
	dst = tlv.AppendHeader(dst, p.tag, f.lengths[f.next])
	f.next++
	for i := range p.parts {
		dst = f.append(dst, &p.parts[i])
	}
	return dst
}
