package rsp

import (
	"fmt"

	"godwit/tlv"
)

// What SGP.32 adds to messages of SGP.22. Its own messages are in package iot.

// Tags in ProfileInfo and in the metadata.
const (
	tagEmergency       tlv.Tag = 0x9F7B
	tagFallback        tlv.Tag = 0x9F26
	tagFallbackAllowed tlv.Tag = 0x9F67
)

// IoTInfo is iotSpecificInfo of EUICCInfo2 as SGP.32 has it.
type IoTInfo struct {
	Versions  []Version // of SGP.32, at least one
	Emergency bool      // the eUICC has the emergency mechanism
	Fallback  bool      // the eUICC has the fallback mechanism
}

func iotInfo(e tlv.Element) (*IoTInfo, error) {
	i := &IoTInfo{}
	r := e.Reader()
	list := r.Element(0xA0)
	_, i.Emergency = r.Optional(0x81)
	_, i.Fallback = r.Optional(0x82)
	if err := r.Err(); err != nil {
		return nil, err
	}
	var err error
	i.Versions, err = versions(list)
	return i, err
}

func (i *IoTInfo) append(dst []byte) []byte {
	return tlv.AppendNested(dst, 0xB4, func(dst []byte) []byte {
		dst = tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			for _, v := range i.Versions {
				dst = tlv.Append(dst, tlv.OctetString, v[:])
			}
			return dst
		})
		if i.Emergency {
			dst = tlv.Append(dst, 0x81, nil)
		}
		if i.Fallback {
			dst = tlv.Append(dst, 0x82, nil)
		}
		return dst
	})
}

func readBool(e tlv.Element) (*bool, error) {
	if len(e.Value) != 1 {
		return nil, fmt.Errorf("%w: a boolean has one octet, not %d", tlv.ErrValue, len(e.Value))
	}
	return new(e.Value[0] != 0), nil
}

func appendOptionalBool(dst []byte, tag tlv.Tag, v *bool) []byte {
	if v == nil {
		return dst
	}
	return tlv.AppendBool(dst, tag, *v)
}
