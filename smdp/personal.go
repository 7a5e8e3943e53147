package smdp

import (
	"fmt"

	"godwit/ident"
	"godwit/saip"
	"godwit/tlv"
)

// The personal data of a profile are kept as a short run of TLVs, sealed. A
// million profiles are stored with about a hundred octets each, and a download
// reads them in a microsecond.
const (
	fieldK tlv.Tag = 0x81 + iota
	fieldOPc
	fieldAlgorithm
	fieldSEQ
	fieldPIN1
	fieldPUK1
	fieldPIN2
	fieldPUK2
	fieldADM1
	fieldADM2
	fieldSPN
	fieldSMSC
	fieldRouting
	fieldIMPI
	fieldIMPU // repeated
	fieldDomain
	fieldACC
	fieldMNCLength
)

// appendPersonal writes what is particular to one profile. ICCID, IMSI and
// MSISDN have columns of their own.
func appendPersonal(dst []byte, p *saip.Personal) []byte {
	octets := func(tag tlv.Tag, v []byte) {
		if len(v) > 0 {
			dst = tlv.Append(dst, tag, v)
		}
	}
	number := func(tag tlv.Tag, n int64) {
		if n != 0 {
			dst = tlv.AppendInt(dst, tag, n)
		}
	}
	octets(fieldK, p.K)
	octets(fieldOPc, p.OPc)
	number(fieldAlgorithm, int64(p.Algorithm))
	number(fieldSEQ, int64(p.SEQ))
	octets(fieldPIN1, []byte(p.PIN1))
	octets(fieldPUK1, []byte(p.PUK1))
	octets(fieldPIN2, []byte(p.PIN2))
	octets(fieldPUK2, []byte(p.PUK2))
	octets(fieldADM1, []byte(p.ADM1))
	octets(fieldADM2, []byte(p.ADM2))
	octets(fieldSPN, []byte(p.SPN))
	octets(fieldSMSC, []byte(p.SMSC))
	octets(fieldRouting, []byte(p.RoutingIndicator))
	octets(fieldIMPI, []byte(p.IMPI))
	for _, u := range p.IMPU {
		octets(fieldIMPU, []byte(u))
	}
	octets(fieldDomain, []byte(p.Domain))
	number(fieldACC, int64(p.ACC))
	number(fieldMNCLength, int64(p.MNCLength))
	return dst
}

// readPersonal lays the data of one profile over base, which holds what its
// type says for all.
func readPersonal(base saip.Personal, iccid ident.ICCID, imsi ident.IMSI, msisdn string, data []byte) (saip.Personal, error) {
	p := base
	p.ICCID, p.IMSI = iccid, imsi
	if msisdn != "" {
		p.MSISDN = msisdn
	}
	var impu []string
	r := tlv.NewReader(data)
	for !r.Empty() {
		e := r.Next()
		number := func() int64 {
			n, err := tlv.DecodeInt(e.Value)
			if err != nil {
				r.Fail(err)
			}
			return n
		}
		switch e.Tag {
		case fieldK:
			p.K = e.Value
		case fieldOPc:
			p.OPc = e.Value
		case fieldAlgorithm:
			p.Algorithm = saip.Algorithm(number())
		case fieldSEQ:
			p.SEQ = uint64(number())
		case fieldPIN1:
			p.PIN1 = string(e.Value)
		case fieldPUK1:
			p.PUK1 = string(e.Value)
		case fieldPIN2:
			p.PIN2 = string(e.Value)
		case fieldPUK2:
			p.PUK2 = string(e.Value)
		case fieldADM1:
			p.ADM1 = string(e.Value)
		case fieldADM2:
			p.ADM2 = string(e.Value)
		case fieldSPN:
			p.SPN = string(e.Value)
		case fieldSMSC:
			p.SMSC = string(e.Value)
		case fieldRouting:
			p.RoutingIndicator = string(e.Value)
		case fieldIMPI:
			p.IMPI = string(e.Value)
		case fieldIMPU:
			impu = append(impu, string(e.Value))
		case fieldDomain:
			p.Domain = string(e.Value)
		case fieldACC:
			p.ACC = uint16(number())
		case fieldMNCLength:
			p.MNCLength = int(number())
		default:
			r.Fail(fmt.Errorf("%w: field %s of personal data is unknown to this release", tlv.ErrTag, e.Tag))
		}
	}
	if impu != nil {
		p.IMPU = impu
	}
	if err := r.Err(); err != nil {
		return saip.Personal{}, fmt.Errorf("read personal data of %s: %w", iccid, err)
	}
	return p, nil
}
