package saip

import (
	"encoding/binary"
	"slices"

	"godwit/milenage"
	"godwit/tlv"
)

// Where personal data goes in elements that hold no files.

// header plans the ICCID, whose digits stand unswapped here, and the services,
// which name the algorithm.
func (pl *planner) header(e *Element) {
	pl.value(e.node.child(0x83), fieldICCID, func(dst []byte, p *Personal) []byte { return append(dst, p.ICCID.HeaderOctets()...) })
	services := e.node.child(0xA5)
	if services == nil {
		return
	}
	var listed []Capability
	for _, n := range services.children {
		i := int(n.tag) - 0x80
		if i < 0 || i >= len(serviceOrder) {
			return // a service of a later version: leave the list alone
		}
		listed = append(listed, serviceOrder[i])
	}
	pl.replace[services] = pl.add(services.append(nil), func(dst []byte, f *filling) ([]byte, bool) {
		want := f.plan.needed(listed, f.personal)
		if slices.Equal(want, listed) {
			return dst, false
		}
		return tlv.AppendNested(dst, 0xA5, func(dst []byte) []byte {
			for i, c := range serviceOrder {
				if slices.Contains(want, c) {
					dst = append(dst, 0x80|byte(i), 0)
				}
			}
			return dst
		}), true
	})
}

// needed is a list of capabilities as personal data changes it: the algorithm
// and the length of its key, and a USIM that conceals the SUPI.
func (pl *plan) needed(listed []Capability, p *Personal) []Capability {
	want := listed
	if p.Algorithm != 0 && p.Algorithm != pl.algorithm || p.K != nil && (p.Algorithm == TUAK || pl.algorithm == TUAK) {
		algorithm := p.Algorithm
		if algorithm == 0 {
			algorithm = pl.algorithm
		}
		want = withAlgorithm(want, algorithm, len(p.K))
	}
	if p.SUCI == nil || !p.SUCI.OnUSIM {
		return want
	}
	add := func(c Capability) {
		if !slices.Contains(want, c) {
			want = append(slices.Clone(want), c)
		}
	}
	add(GetIdentity)
	for _, s := range p.SUCI.Schemes {
		switch s.ID {
		case 1:
			add(ProfileA)
		case 2:
			add(ProfileB)
		}
	}
	return want
}

// references of codes that personal data replaces. SAIP, 8.4.
const (
	refPIN1 = 0x01
	refPIN2 = 0x81
	refADM1 = 0x0A
	refADM2 = 0x0B
)

func (pl *planner) pins(e *Element) {
	for _, n := range e.node.at(0xA1, 0xA0).list() {
		value := n.child(0x81)
		switch n.child(0x80).int(0) {
		case refPIN1:
			pl.value(value, fieldPIN1, func(dst []byte, p *Personal) []byte { return appendPIN(dst, p.PIN1) })
		case refPIN2:
			pl.value(value, fieldPIN2, func(dst []byte, p *Personal) []byte { return appendPIN(dst, p.PIN2) })
		case refADM1:
			pl.value(value, fieldADM1, func(dst []byte, p *Personal) []byte { return appendADM(dst, p.ADM1) })
		case refADM2:
			pl.value(value, fieldADM2, func(dst []byte, p *Personal) []byte { return appendADM(dst, p.ADM2) })
		}
	}
}

func (pl *planner) puks(e *Element) {
	for _, n := range e.node.child(0xA1).list() {
		value := n.child(0x81)
		switch n.child(0x80).int(0) {
		case refPIN1:
			pl.value(value, fieldPUK1, func(dst []byte, p *Personal) []byte { return appendPIN(dst, p.PUK1) })
		case refPIN2:
			pl.value(value, fieldPUK2, func(dst []byte, p *Personal) []byte { return appendPIN(dst, p.PUK2) })
		}
	}
}

// aka plans keys and sequence numbers. An akaParameter that maps to another
// application's has none.
func (pl *planner) aka(e *Element) {
	n := e.node.at(0xA1, 0xA1)
	if n == nil {
		return
	}
	if pl.algorithm == 0 {
		pl.algorithm = Algorithm(n.child(tagAlgorithm).int(0))
	}
	pl.value(n.child(tagAlgorithm), fieldAlgorithm, func(dst []byte, p *Personal) []byte { return append(dst, byte(p.Algorithm)) })
	pl.value(n.child(tagKey), fieldK, func(dst []byte, p *Personal) []byte { return append(dst, p.K...) })
	pl.value(n.child(tagOPc), fieldOPc, func(dst []byte, p *Personal) []byte { return append(dst, p.OPc...) })

	// Sequence numbers are the last member: a list of 32 that begins alike.
	write := func(dst []byte, f *filling) ([]byte, bool) {
		if f.personal.SEQ == 0 {
			return dst, false
		}
		seq := milenage.SQNOf(f.personal.SEQ)
		dst = tlv.AppendHeader(dst, 0xA5, 32*8)
		for range 32 {
			dst = tlv.Append(dst, tlv.OctetString, seq[:])
		}
		return dst, true
	}
	pl.has[fieldSEQ] = true
	if old := e.node.child(0xA5); old != nil {
		pl.replace[old] = pl.add(old.append(nil), write)
		return
	}
	pl.insert[e.node] = append(pl.insert[e.node], ins{len(e.node.children), pl.add(nil, write)})
}

// domainKeys plans every symmetric key of a security domain, and a place for new
// ones in the first domain.
func (pl *planner) domainKeys(e *Element) {
	list := e.node.child(0xA2)
	for _, key := range list.list() {
		version, id := key.child(0x83).octets(), key.child(0x82).octets()
		component := key.at(tlv.Sequence, tlv.Sequence)
		data, kind := component.child(0x86), component.child(0x80).octets()
		if len(version) != 1 || len(id) != 1 || len(kind) != 1 || data == nil || kind[0] != keyTypeAES && kind[0] != keyTypeDES {
			continue
		}
		place := keyPlace{version[0], id[0]}
		pl.keys, pl.keyTypes = append(pl.keys, place), append(pl.keyTypes, kind[0])
		pl.replace[data] = pl.add(data.append(nil), func(dst []byte, f *filling) ([]byte, bool) {
			for _, k := range f.personal.SecurityDomainKeys {
				if (keyPlace{k.Version, k.ID}) == place {
					return tlv.Append(dst, 0x86, k.Key), true
				}
			}
			return dst, false
		})
	}
	if pl.has[fieldSecurityDomainKeys] {
		return
	}
	pl.has[fieldSecurityDomainKeys] = true
	if list != nil {
		pl.insert[list] = append(pl.insert[list], ins{len(list.children), pl.add(nil, appendNewKeys)})
		return
	}
	at := len(e.node.children)
	for i, n := range e.node.children {
		if n.tag > 0xA2 {
			at = min(at, i)
		}
	}
	pl.insert[e.node] = append(pl.insert[e.node], ins{at, pl.add(nil, func(dst []byte, f *filling) ([]byte, bool) {
		if len(f.personal.SecurityDomainKeys) == 0 {
			return dst, false
		}
		return tlv.AppendNested(dst, 0xA2, func(dst []byte) []byte {
			dst, _ = appendNewKeys(dst, f)
			return dst
		}), true
	})})
}

// appendNewKeys writes the keys that the template does not have.
func appendNewKeys(dst []byte, f *filling) ([]byte, bool) {
	start := len(dst)
	for _, k := range f.personal.SecurityDomainKeys {
		if slices.Contains(f.plan.keys, keyPlace{k.Version, k.ID}) {
			continue
		}
		dst = tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
			dst = tlv.Append(dst, 0x95, []byte{keyUsage(k.ID)})
			dst = tlv.Append(dst, 0x82, []byte{k.ID})
			dst = tlv.Append(dst, 0x83, []byte{k.Version})
			return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
				return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
					return tlv.Append(tlv.Append(dst, 0x80, []byte{keyTypeAES}), 0x86, k.Key)
				})
			})
		})
	}
	return dst, len(dst) > start
}

// keyUsage is what the key with an identifier is for: 1 enciphers, 2
// authenticates, 3 protects other keys. GlobalPlatform, 11.1.9; ETSI TS 102 225.
func keyUsage(id byte) byte {
	switch id {
	case 1:
		return 0x18
	case 2:
		return 0x14
	}
	return 0x48
}

// put16 writes a 16-bit number.
func put16(out []byte, n uint16) { binary.BigEndian.PutUint16(out, n) }
