package saip

import "godwit/tlv"

// A node is one BER element of a package: a leaf with its value, or a branch
// with its children. raw is the element as it arrived and nil once it or
// anything below has changed.
type node struct {
	tag      tlv.Tag
	value    []byte
	children []*node
	raw      []byte
}

// parseNodes reads b as a sequence of elements.
func parseNodes(b []byte, depth int) ([]*node, error) {
	if depth > tlv.MaxDepth {
		return nil, tlv.ErrTooDeep
	}
	var out []*node
	for len(b) > 0 {
		e, rest, err := tlv.Next(b)
		if err != nil {
			return nil, err
		}
		n := &node{tag: e.Tag, raw: e.Raw}
		if e.Tag.Constructed() {
			if n.children, err = parseNodes(e.Value, depth+1); err != nil {
				return nil, err
			}
		} else {
			n.value = e.Value
		}
		out = append(out, n)
		b = rest
	}
	return out, nil
}

// leaf returns a primitive node.
func leaf(tag tlv.Tag, value ...byte) *node { return &node{tag: tag, value: value} }

// branch returns a constructed node.
func branch(tag tlv.Tag, children ...*node) *node { return &node{tag: tag, children: children} }

// child returns the first child with a tag, or nil.
func (n *node) child(tag tlv.Tag) *node {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.tag == tag {
			return c
		}
	}
	return nil
}

// at follows a path of tags downwards.
func (n *node) at(path ...tlv.Tag) *node {
	for _, tag := range path {
		if n = n.child(tag); n == nil {
			return nil
		}
	}
	return n
}

// octets returns the value of a leaf, nil for none.
func (n *node) octets() []byte {
	if n == nil {
		return nil
	}
	return n.value
}

// int returns the value as a number, or otherwise if the node is absent or no
// integer.
func (n *node) int(otherwise int) int {
	if n == nil {
		return otherwise
	}
	v, err := tlv.DecodeInt(n.value)
	if err != nil || v < -1<<31 || v > 1<<31-1 {
		return otherwise
	}
	return int(v)
}

// append encodes the node.
func (n *node) append(dst []byte) []byte {
	if n.raw != nil {
		return append(dst, n.raw...)
	}
	if !n.tag.Constructed() {
		return tlv.Append(dst, n.tag, n.value)
	}
	return tlv.AppendNested(dst, n.tag, func(dst []byte) []byte {
		for _, c := range n.children {
			dst = c.append(dst)
		}
		return dst
	})
}

// forget drops the octets that arrived, so that the node is encoded anew.
func (n *node) forget() {
	n.raw = nil
	for _, c := range n.children {
		c.forget()
	}
}
