package iot

import (
	"fmt"

	"godwit/rsp"
	"godwit/tlv"
)

// ProfileInfo is what an eUICC tells about one profile, the fields of SGP.32
// included.
type ProfileInfo = rsp.ProfileInfo

// An OpResult is what became of one command: EuiccResultData. SGP.32 v1.2,
// 2.11.2.1. Code is 0 when it was done.
type OpResult struct {
	Op         Op
	Code       int64
	Profiles   []ProfileInfo // listProfileInfo
	Eims       []EimInfo     // listEim
	Token      *int64        // addEim: the token that the eUICC made
	RAT        []rsp.Rule    // getRAT
	Terminated bool          // the list was broken off here, with Code [TerminatedUnknown] and so on; Op is unknown
}

// resultTags are the tags of results that are one number.
var resultTags = map[Op]tlv.Tag{
	OpEnable: 0x83, OpDisable: 0x84, OpDelete: 0x85, OpImmediate: 0x87, OpDeleteEim: 0x89, OpUpdateEim: 0x8A,
	OpRollback: 0x8C, OpSetFallback: 0x8D, OpDropFallback: 0x8E,
}

// Tags of the other results.
const (
	tagRAT     tlv.Tag = 0xA6
	tagAddEim  tlv.Tag = 0xA8
	tagListEim tlv.Tag = 0xAB
)

func (o *OpResult) append(dst []byte) []byte {
	if o.Terminated {
		return tlv.AppendInt(dst, tlv.Integer, o.Code)
	}
	switch o.Op {
	case OpList:
		if o.Code != rsp.ResultOK {
			return rsp.AppendListError(dst, rsp.TagGetProfilesInfo, o.Code)
		}
		return rsp.AppendProfileInfoList(dst, o.Profiles)
	case OpGetRAT:
		return tlv.AppendNested(dst, tagRAT, func(dst []byte) []byte { return rsp.AppendRules(dst, o.RAT) })
	case OpAddEim:
		return tlv.AppendNested(dst, tagAddEim, func(dst []byte) []byte {
			if o.Token != nil && o.Code == rsp.ResultOK {
				return tlv.AppendInt(dst, 0x84, *o.Token)
			}
			return tlv.AppendInt(dst, tlv.Integer, o.Code)
		})
	case OpListEim:
		return tlv.AppendNested(dst, tagListEim, func(dst []byte) []byte {
			if o.Code != rsp.ResultOK {
				return tlv.AppendInt(dst, 0x81, o.Code)
			}
			return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
				for i := range o.Eims {
					dst = o.Eims[i].append(dst)
				}
				return dst
			})
		})
	case OpSetDefaultDP:
		return rsp.AppendResult(dst, TagSetDefaultDPAddress, o.Code)
	}
	return tlv.AppendInt(dst, resultTags[o.Op], o.Code)
}

func readOpResult(e tlv.Element) (o *OpResult, err error) {
	o = &OpResult{}
	switch e.Tag {
	case tlv.Integer:
		o.Terminated = true
		o.Code, err = tlv.DecodeInt(e.Value)
	case rsp.TagGetProfilesInfo:
		o.Op = OpList
		err = o.readProfiles(e)
	case tagRAT:
		o.Op = OpGetRAT
		o.RAT, err = rsp.ReadRules(e.Reader())
		if len(o.RAT) > MaxProfiles {
			err = fmt.Errorf("%w: a table of more than %d rules", tlv.ErrTooLong, MaxProfiles)
		}
	case tagAddEim:
		o.Op = OpAddEim
		err = o.readArm(e, func(arm tlv.Element) (err error) {
			if arm.Tag != 0x84 {
				return tlv.ErrMissing
			}
			var n int64
			n, err = tlv.DecodeInt(arm.Value)
			o.Token = &n
			return err
		})
	case tagListEim:
		o.Op = OpListEim
		err = o.readArm(e, func(arm tlv.Element) (err error) {
			// Peers write a plain SEQUENCE around the list, or nothing at all.
			list := arm
			if r := arm.Reader(); arm.Tag == tlv.Sequence && r.Peek() == 0x80 {
				list = e
			} else if arm.Tag != 0xA0 && arm.Tag != tlv.Sequence {
				return tlv.ErrMissing
			}
			o.Eims, err = readEimInfos(list)
			return err
		})
	case TagSetDefaultDPAddress:
		o.Op = OpSetDefaultDP
		err = o.readArm(e, func(arm tlv.Element) (err error) {
			if arm.Tag != 0x80 {
				return tlv.ErrMissing
			}
			o.Code, err = tlv.DecodeInt(arm.Value)
			return err
		})
	default:
		if o.Op = named(resultTags, e.Tag); o.Op != OpUnknown {
			o.Code, err = tlv.DecodeInt(e.Value)
		}
	}
	return o, err
}

// readArm reads a CHOICE of a number, which is a failure, and something else.
func (o *OpResult) readArm(e tlv.Element, other func(tlv.Element) error) error {
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return err
	}
	if arm.Tag == tlv.Integer || arm.Tag == 0x81 {
		o.Code, err = tlv.DecodeInt(arm.Value)
		return err
	}
	return other(arm)
}

// readProfiles reads the list, or the number in its place. Peers that leave out
// the A0 around the list, or write a plain SEQUENCE, are understood.
func (o *OpResult) readProfiles(e tlv.Element) error {
	r := e.Reader()
	if r.Peek() == 0x81 || r.Peek() == tlv.Integer {
		o.Code = r.Int(r.Peek())
		return r.Err()
	}
	if around := r.Peek(); around == 0xA0 || around == tlv.Sequence {
		r = r.Sub(around)
	}
	o.Profiles = []ProfileInfo{}
	for _, e := range elements(&r, MaxProfiles) {
		p, err := rsp.ReadProfileInfo(e)
		if err != nil {
			return err
		}
		o.Profiles = append(o.Profiles, *p)
	}
	return r.Err()
}
