package iot

import (
	"fmt"

	"godwit/rsp"
	"godwit/tlv"
)

// A DownloadTrigger tells the IPA to download a profile: BF54. At most one of the
// first three is set; with none the IPA asks the eIM for what waits. SGP.32 v1.2,
// 2.11.1.3.
type DownloadTrigger struct {
	ActivationCode string  // at most 255 characters
	DefaultDP      bool    // from the default SM-DP+
	SMDS           *string // from the SM-DS with this address; empty is the root SM-DS
	TransactionID  []byte  // eimTransactionId, or nil
}

// maxActivationCode is the longest activation code, in octets here: codes are
// ASCII.
const maxActivationCode = 255

// Append appends the trigger.
func (t *DownloadTrigger) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagDownloadTrigger, func(dst []byte) []byte {
		switch {
		case t.ActivationCode != "":
			dst = tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte { return tlv.AppendString(dst, 0x80, t.ActivationCode) })
		case t.DefaultDP:
			dst = tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte { return tlv.Append(dst, 0x81, nil) })
		case t.SMDS != nil:
			dst = tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
				return tlv.AppendNested(dst, 0xA2, func(dst []byte) []byte {
					if *t.SMDS == "" {
						return dst
					}
					return tlv.AppendString(dst, 0x80, *t.SMDS)
				})
			})
		}
		return appendTransactionID(dst, 0x82, t.TransactionID)
	})
}

// ParseDownloadTrigger reads the trigger.
func ParseDownloadTrigger(der []byte) (*DownloadTrigger, error) {
	e, err := tlv.ParseTag(der, TagDownloadTrigger)
	if err != nil {
		return nil, fmt.Errorf("read ProfileDownloadTriggerRequest: %w", err)
	}
	t := &DownloadTrigger{}
	r := e.Reader()
	if e, ok := r.Optional(0xA0); ok {
		arm, err := tlv.Parse(e.Value)
		if err != nil {
			return nil, fmt.Errorf("read ProfileDownloadTriggerRequest: %w", err)
		}
		switch arm.Tag {
		case 0x80:
			t.ActivationCode = string(arm.Value)
			if len(arm.Value) > maxActivationCode {
				r.Fail(fmt.Errorf("%w: an activation code of %d octets", tlv.ErrTooLong, len(arm.Value)))
			}
		case 0x81:
			t.DefaultDP = true
		case 0xA2:
			inner := arm.Reader()
			t.SMDS = new("")
			if !inner.Empty() {
				t.SMDS = new(untagged(&inner))
			}
			r.Fail(inner.Err())
		default:
			r.Fail(fmt.Errorf("%w: a source of the profile, have %s", tlv.ErrMissing, arm.Tag))
		}
	}
	t.TransactionID = transactionID(&r, 0x82)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read ProfileDownloadTriggerRequest: %w", err)
	}
	return t, nil
}

// A DownloadResult is what became of a [DownloadTrigger]: the eUICC's signed word,
// or the reason why there is none. SGP.32 v1.2, 2.11.2.3.
type DownloadResult struct {
	TransactionID []byte // eimTransactionId, or nil
	Installation  []byte // profile installation result BF37, as the eUICC signed it
	Reason        *int64 // when there is none: 104 eCall active, 127 undefined
	Detail        []byte // beside Reason: the answer that made the download fail, or nil
}

// Append appends the result.
func (p *DownloadResult) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagDownloadTrigger, func(dst []byte) []byte {
		dst = appendTransactionID(dst, 0x82, p.TransactionID)
		if p.Reason == nil {
			return append(dst, p.Installation...)
		}
		return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
			dst = tlv.AppendInt(dst, 0x80, *p.Reason)
			if p.Detail != nil {
				dst = tlv.Append(dst, tlv.OctetString, p.Detail)
			}
			return dst
		})
	})
}

// ParseDownloadResult reads the result.
func ParseDownloadResult(der []byte) (*DownloadResult, error) {
	e, err := tlv.ParseTag(der, TagDownloadTrigger)
	if err != nil {
		return nil, fmt.Errorf("read ProfileDownloadTriggerResult: %w", err)
	}
	r := e.Reader()
	p := &DownloadResult{TransactionID: transactionID(&r, 0x82)}
	switch arm := r.Next(); arm.Tag {
	case rsp.TagInstallationResult:
		p.Installation = arm.Raw
	case tlv.Sequence:
		inner := arm.Reader()
		p.Reason = new(inner.Int(0x80))
		p.Detail = inner.OptionalValue(tlv.OctetString)
		r.Fail(inner.Err())
	default:
		r.Fail(fmt.Errorf("%w: a result, have %s", tlv.ErrMissing, arm.Tag))
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read ProfileDownloadTriggerResult: %w", err)
	}
	return p, nil
}
