package iot

import (
	"fmt"

	"godwit/ident"
	"godwit/rsp"
	"godwit/tlv"
)

// A PSMO is one profile state management operation. SGP.32 v1.2, 2.11.1.1.2.
type PSMO struct {
	Op        Op
	ICCID     ident.ICCID                 // enable, disable, delete, setFallbackAttribute
	Rollback  bool                        // enable: go back when the eIM cannot be reached
	List      *rsp.ProfileInfoListRequest // listProfileInfo; nil is all profiles with the default fields
	Immediate *ImmediateEnable            // configureImmediateEnable
	Address   string                      // setDefaultDpAddress
}

// ImmediateEnable says whether an IPA may enable a profile right after it was
// installed: all when neither OID nor address is set, else those of the default
// SM-DP+ that is named.
type ImmediateEnable struct {
	Allowed bool
	OID     ident.OID // of the SM-DP+, or empty
	Address string    // of the SM-DP+, or empty
}

// An ECO is one eIM configuration operation. SGP.32 v1.2, 2.11.1.1.1.
type ECO struct {
	Op     Op
	EimID  string            // deleteEim
	Config *EimConfiguration // addEim, updateEim
}

// psmoTags are the tags of the operations.
var psmoTags = map[Op]tlv.Tag{
	OpEnable: 0xA3, OpDisable: 0xA4, OpDelete: 0xA5, OpList: rsp.TagGetProfilesInfo, OpGetRAT: 0xA6,
	OpImmediate: 0xA7, OpSetFallback: 0xA8, OpDropFallback: 0xA9, OpSetDefaultDP: TagSetDefaultDPAddress,
}

var ecoTags = map[Op]tlv.Tag{OpAddEim: 0xA8, OpDeleteEim: 0xA9, OpUpdateEim: 0xAA, OpListEim: 0xAB}

// named is the way back from a table of tags.
func named(tags map[Op]tlv.Tag, tag tlv.Tag) Op {
	for op, t := range tags {
		if t == tag {
			return op
		}
	}
	return OpUnknown
}

// checkOrder holds the rules for a list of profile operations.
func checkOrder(list []PSMO) error {
	seen := map[Op]int{}
	for i := range list {
		op := list[i].Op
		if _, known := psmoTags[op]; !known {
			return fmt.Errorf("command %d is not a profile operation: %q", i+1, op)
		}
		seen[op]++
		switch {
		case seen[OpEnable] > 1, seen[OpDisable] > 1:
			return fmt.Errorf("a package has at most one enable and one disable")
		case op == OpList && seen[OpEnable]+seen[OpDisable]+seen[OpDelete] > 0:
			return fmt.Errorf("listProfileInfo cannot follow enable, disable or delete in one package")
		}
	}
	return nil
}

func (p *PSMO) append(dst []byte) []byte {
	switch p.Op {
	case OpList:
		if p.List == nil {
			return tlv.Append(dst, rsp.TagGetProfilesInfo, nil)
		}
		return p.List.Append(dst)
	case OpImmediate:
		return p.Immediate.append(dst, 0xA7)
	}
	return tlv.AppendNested(dst, psmoTags[p.Op], func(dst []byte) []byte {
		switch p.Op {
		case OpEnable, OpDisable, OpDelete, OpSetFallback:
			dst = tlv.Append(dst, rsp.TagICCID, p.ICCID.Octets())
			if p.Op == OpEnable && p.Rollback {
				dst = tlv.Append(dst, tlv.Null, nil)
			}
		case OpSetDefaultDP:
			dst = tlv.AppendString(dst, 0x80, p.Address)
		}
		return dst
	})
}

// readPSMO reads one command; one that cannot be read is [OpUnknown].
func readPSMO(e tlv.Element) PSMO {
	p := PSMO{Op: named(psmoTags, e.Tag)}
	var err error
	r := e.Reader()
	switch p.Op {
	case OpEnable, OpDisable, OpDelete, OpSetFallback:
		p.ICCID, err = ident.ICCIDFromOctets(r.Value(rsp.TagICCID))
		if p.Op == OpEnable {
			_, p.Rollback = r.Optional(tlv.Null)
		}
	case OpList:
		p.List, err = rsp.ParseProfileInfoListRequest(e.Raw)
	case OpImmediate:
		p.Immediate, err = readImmediate(e)
	case OpSetDefaultDP:
		p.Address = untagged(&r)
	}
	if err != nil || r.Err() != nil {
		return PSMO{Op: OpUnknown}
	}
	return p
}

func (i *ImmediateEnable) append(dst []byte, tag tlv.Tag) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		if i == nil {
			return dst
		}
		if i.Allowed {
			dst = tlv.Append(dst, 0x80, nil)
		}
		if i.OID != "" {
			dst = tlv.Append(dst, 0x81, i.OID.Octets())
		}
		if i.Address != "" {
			dst = tlv.AppendString(dst, 0x82, i.Address)
		}
		return dst
	})
}

func readImmediate(e tlv.Element) (*ImmediateEnable, error) {
	i := &ImmediateEnable{}
	r := e.Reader()
	_, i.Allowed = r.Optional(0x80)
	oid := r.OptionalValue(0x81)
	i.Address = string(r.OptionalValue(0x82))
	if err := r.Err(); err != nil {
		return nil, err
	}
	var err error
	if oid != nil {
		i.OID, err = ident.OIDFromOctets(oid)
	}
	return i, err
}

func (o *ECO) append(dst []byte) []byte {
	tag := ecoTags[o.Op]
	switch o.Op {
	case OpAddEim, OpUpdateEim:
		return o.Config.append(dst, tag)
	case OpDeleteEim:
		return tlv.AppendNested(dst, tag, func(dst []byte) []byte { return tlv.AppendString(dst, 0x80, o.EimID) })
	}
	return tlv.Append(dst, tag, nil)
}

// readECO reads one command; one that cannot be read is [OpUnknown].
func readECO(e tlv.Element) ECO {
	o := ECO{Op: named(ecoTags, e.Tag)}
	var err error
	switch o.Op {
	case OpAddEim, OpUpdateEim:
		o.Config, err = readEimConfiguration(e)
	case OpDeleteEim:
		r := e.Reader()
		o.EimID = eimID(&r)
		err = r.Err()
	}
	if err != nil {
		return ECO{Op: OpUnknown}
	}
	return o
}
