package rsp

import (
	"fmt"

	"godwit/tlv"
)

// A Technology is an access or ability of a device whose supported release it
// announces. The order is that of the tags.
type Technology int

// Technologies.
const (
	GSM Technology = iota
	UTRAN
	CDMA2000OneX
	CDMA2000HRPD
	CDMA2000EHRPD
	EUTRANEPC
	ContactlessFrontEnd
	RSPCRL
	NREPC
	NR5GC
	EUTRAN5GC
	LPASVN
	technologies
)

// DeviceInfo is what the LPA says of the device.
type DeviceInfo struct {
	TAC      [4]byte
	Releases [technologies]Version // by [Technology]; zero when not supported
	IMEI     []byte                // 8 octets, or nil
}

// CtxParams1 is what the LPA adds to the first authentication.
type CtxParams1 struct {
	MatchingID *string // nil: missing, which asks for whatever waits for this EID
	Device     DeviceInfo

	Raw []byte // as it arrived
}

// ParseCtxParams1 reads the context of common authentication.
func ParseCtxParams1(der []byte) (*CtxParams1, error) {
	e, err := tlv.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("read ctxParams1: %w", err)
	}
	return readCtxParams1(e)
}

func readCtxParams1(e tlv.Element) (*CtxParams1, error) {
	if e.Tag != 0xA0 {
		// Version 3 has more arms; none of them is for a download.
		return nil, fmt.Errorf("read ctxParams1: %w: common authentication, have %s", tlv.ErrMissing, e.Tag)
	}
	c := &CtxParams1{Raw: e.Raw}
	r := e.Reader()
	if id, ok := r.Optional(0x80); ok {
		s := string(id.Value)
		c.MatchingID = &s
	}
	device := r.Sub(0xA1)
	copy(c.Device.TAC[:], device.Fixed(0x80, 4))
	capabilities := tlv.NewReader(device.OptionalValue(0xA1)) // mandatory, and yet some LPAs leave it out
	for len(capabilities.Rest()) > 0 && capabilities.Err() == nil {
		e := capabilities.Next()
		if t := Technology(e.Tag) - 0x80; t >= 0 && t < technologies && len(e.Value) == 3 {
			c.Device.Releases[t] = Version(e.Value)
		}
	}
	c.Device.IMEI = device.OptionalValue(0x82)
	for _, r := range []*tlv.Reader{&r, &capabilities, &device} {
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read ctxParams1: %w", err)
		}
	}
	return c, nil
}

// Append appends the context.
func (c *CtxParams1) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
		if c.MatchingID != nil {
			dst = tlv.AppendString(dst, 0x80, *c.MatchingID)
		}
		return tlv.AppendNested(dst, 0xA1, c.Device.append)
	})
}

func (d *DeviceInfo) append(dst []byte) []byte {
	dst = tlv.Append(dst, 0x80, d.TAC[:])
	dst = tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
		for t, v := range d.Releases {
			dst = appendVersion(dst, tlv.Context(uint(t)), v)
		}
		return dst
	})
	if d.IMEI != nil {
		dst = tlv.Append(dst, 0x82, d.IMEI)
	}
	return dst
}
