package iot

import (
	"fmt"

	"godwit/rsp"
	"godwit/tlv"
)

// Tags of what an IPA can be asked for, in tag list and answer alike. SGP.32
// v1.2, 2.11.1.2. Asking for anything else is answered with incorrectTagList.
const (
	DataNotifications    tlv.Tag = 0xA0
	DataDefaultDP        tlv.Tag = 0x81
	DataResults          tlv.Tag = 0xA2
	DataInfo1            tlv.Tag = 0xBF20
	DataInfo2            tlv.Tag = 0xBF22
	DataRootDS           tlv.Tag = 0x83
	DataToken            tlv.Tag = 0x84
	DataEUMCertificate   tlv.Tag = 0xA5
	DataEUICCCertificate tlv.Tag = 0xA6
	DataCapabilities     tlv.Tag = 0xA8
	DataDevice           tlv.Tag = 0xA9
)

// Codes of an IPA that does not answer (IpaEuiccDataErrorCode).
const (
	DataIncorrectTags int64 = 1
	DataCINotFound    int64 = 5
	DataECallActive   int64 = 104
	DataUndefined     int64 = 127
)

// A DataRequest asks the IPA for what it and the eUICC can tell: BF52. SGP.32
// v1.2, 2.11.1.2.
type DataRequest struct {
	Tags          []tlv.Tag               // [DataInfo2] and so on
	CI            []byte                  // key identifier of the CI whose certificates are wanted, may be cut short, or nil
	Notifications *rsp.NotificationFilter // which of them, nil for all
	Results       *int64                  // the sequence number of the package result wanted, nil for all
	TransactionID []byte                  // eimTransactionId, or nil
}

// Append appends the request.
func (q *DataRequest) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagData, func(dst []byte) []byte {
		dst = tlv.AppendNested(dst, rsp.TagTagList, func(dst []byte) []byte {
			for _, tag := range q.Tags {
				dst = tlv.AppendTag(dst, tag)
			}
			return dst
		})
		if q.CI != nil {
			dst = tlv.Append(dst, tlv.OctetString, q.CI)
		}
		if q.Notifications != nil {
			dst = tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
				if q.Notifications.Sequence != nil {
					return tlv.AppendInt(dst, 0x80, *q.Notifications.Sequence)
				}
				return tlv.AppendBits(dst, 0x81, uint64(q.Notifications.Events))
			})
		}
		if q.Results != nil {
			dst = tlv.AppendNested(dst, 0xA2, func(dst []byte) []byte { return tlv.AppendInt(dst, 0x80, *q.Results) })
		}
		return appendTransactionID(dst, 0x83, q.TransactionID)
	})
}

// ParseDataRequest reads the request.
func ParseDataRequest(der []byte) (*DataRequest, error) {
	e, err := tlv.ParseTag(der, TagData)
	if err != nil {
		return nil, fmt.Errorf("read IpaEuiccDataRequest: %w", err)
	}
	r := e.Reader()
	list := r.Value(rsp.TagTagList)
	q := &DataRequest{CI: r.OptionalValue(tlv.OctetString)}
	if e, ok := r.Optional(0xA1); ok {
		f := rsp.NotificationFilter{}
		if f, err = readFilter(e); err != nil {
			return nil, fmt.Errorf("read IpaEuiccDataRequest: %w", err)
		}
		q.Notifications = &f
	}
	if e, ok := r.Optional(0xA2); ok {
		inner := e.Reader()
		n := inner.Int(0x80)
		q.Results = &n
		r.Fail(inner.Err())
	}
	q.TransactionID = transactionID(&r, 0x83)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read IpaEuiccDataRequest: %w", err)
	}
	if len(list) > 256 {
		return nil, fmt.Errorf("read IpaEuiccDataRequest: %w: a tag list of %d octets", tlv.ErrTooLong, len(list))
	}
	q.Tags, err = rsp.Tags(list)
	return q, wrap("read IpaEuiccDataRequest", err)
}

// readFilter reads a search criterion for notifications.
func readFilter(e tlv.Element) (f rsp.NotificationFilter, err error) {
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return f, err
	}
	switch arm.Tag {
	case 0x80:
		var n int64
		n, err = tlv.DecodeInt(arm.Value)
		f.Sequence = &n
	case 0x81:
		var set uint64
		set, err = tlv.Bits(arm.Value)
		f.Events = rsp.Event(set)
	default:
		err = fmt.Errorf("%w: search criterion, have %s", tlv.ErrMissing, arm.Tag)
	}
	return f, err
}

// Features is a set of what an IPA can do.
type Features uint64

// Features, by their bit. SGP.32 v1.2, 2.11.2.2.
const (
	DirectDownload         Features = 1 << iota // it talks to SM-DP+ and SM-DS itself
	IndirectDownload                            // through the eIM
	EimHandlesDownloadData                      // the eIM handles activation codes and addresses
	EimMakesContext                             // the eIM makes ctxParams1
	EimChecksMetadata                           // the eIM looks at the profile metadata
	MinimiseBytes                               // compact forms on ESipa
)

// Capabilities are what an IPA says of itself.
type Capabilities struct {
	Features  Features
	Protocols Protocols // 0 when absent
}

// A DataResponse is the answer to a [DataRequest]. Fields that were not asked for
// are zero: nil, not empty.
type DataResponse struct {
	Notifications    [][]byte // whole elements, as the eUICC signed them or in their compact form
	DefaultDP        *string
	Results          [][]byte // package results, BF51
	Info1            []byte   // BF20
	Info2            []byte   // BF22
	RootDS           *string
	Token            *int64 // association token
	EUMCertificate   []byte // DER
	EUICCCertificate []byte // DER
	TransactionID    []byte // eimTransactionId
	Capabilities     *Capabilities
	Device           []byte // content of deviceInfo, as it is

	Error *int64 // [DataIncorrectTags] and so on; nil with data
	Raw   []byte // as it arrived
}

// Append appends the answer.
func (p *DataResponse) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagData, func(dst []byte) []byte {
		if p.Error != nil {
			return tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
				return tlv.AppendInt(appendTransactionID(dst, 0x80, p.TransactionID), tlv.Integer, *p.Error)
			})
		}
		return tlv.AppendNested(dst, 0xA0, p.appendFields)
	})
}

func (p *DataResponse) appendFields(dst []byte) []byte {
	if p.Notifications != nil {
		dst = appendRaws(dst, DataNotifications, p.Notifications)
	}
	if p.DefaultDP != nil {
		dst = tlv.AppendString(dst, DataDefaultDP, *p.DefaultDP)
	}
	if p.Results != nil {
		dst = appendRaws(dst, DataResults, p.Results)
	}
	dst = append(append(dst, p.Info1...), p.Info2...)
	if p.RootDS != nil {
		dst = tlv.AppendString(dst, DataRootDS, *p.RootDS)
	}
	dst = appendOptionalInt(dst, DataToken, p.Token)
	dst = appendCertificate(dst, DataEUMCertificate, p.EUMCertificate)
	dst = appendCertificate(dst, DataEUICCCertificate, p.EUICCCertificate)
	dst = appendTransactionID(dst, 0x87, p.TransactionID)
	if p.Capabilities != nil {
		dst = tlv.AppendNested(dst, DataCapabilities, func(dst []byte) []byte {
			dst = tlv.AppendBits(dst, 0x80, uint64(p.Capabilities.Features))
			if p.Capabilities.Protocols != 0 {
				dst = tlv.AppendBits(dst, 0x81, uint64(p.Capabilities.Protocols))
			}
			return dst
		})
	}
	if p.Device != nil {
		dst = tlv.Append(dst, DataDevice, p.Device)
	}
	return dst
}

// appendCertificate appends a certificate whose outer SEQUENCE is replaced by tag.
func appendCertificate(dst []byte, tag tlv.Tag, der []byte) []byte {
	if der == nil {
		return dst
	}
	if e, err := tlv.ParseTag(der, tlv.Sequence); err == nil {
		der = e.Value
	}
	return tlv.Append(dst, tag, der)
}

// ParseDataResponse reads the answer. Unknown fields are passed over, and the
// order of fields is not looked at.
func ParseDataResponse(der []byte) (*DataResponse, error) {
	arm, err := dataArm(der)
	if err != nil {
		return nil, fmt.Errorf("read IpaEuiccDataResponse: %w", err)
	}
	p := &DataResponse{Raw: der}
	r := arm.Reader()
	switch arm.Tag {
	case 0xA1:
		p.TransactionID = transactionID(&r, 0x80)
		code := optionalInt(&r, 0x81) // from peers that tag the code too
		if code == nil {
			code = new(r.Int(tlv.Integer))
		}
		p.Error = code
		return p, wrap("read IpaEuiccDataResponse", r.Err())
	case 0xA0:
	default:
		return nil, fmt.Errorf("read IpaEuiccDataResponse: %w: have %s", tlv.ErrMissing, arm.Tag)
	}
	for !r.Empty() {
		e := r.Next()
		if r.Err() != nil {
			break
		}
		if err := p.read(e); err != nil {
			return nil, fmt.Errorf("read IpaEuiccDataResponse: field %s: %w", e.Tag, err)
		}
	}
	return p, wrap("read IpaEuiccDataResponse", r.Err())
}

// dataArm finds the arm of the answer. Peers that leave it out and write the
// fields into BF52 itself are understood.
func dataArm(der []byte) (tlv.Element, error) {
	whole, err := tlv.ParseTag(der, TagData)
	if err != nil {
		return whole, err
	}
	r := whole.Reader()
	fields := elements(&r, MaxNotifications)
	if err := r.Err(); err != nil {
		return whole, err
	}
	if len(fields) == 1 && (fields[0].Tag == 0xA1 || fields[0].Tag == 0xA0 && !onlyNotifications(fields[0])) {
		return fields[0], nil
	}
	whole.Tag = 0xA0
	for _, e := range fields {
		if e.Tag == tlv.Integer {
			whole.Tag = 0xA1
		}
	}
	return whole, nil
}

// onlyNotifications tells notificationsList from the arm of the answer, which has
// the same tag: by what is in it.
func onlyNotifications(e tlv.Element) bool {
	r := e.Reader()
	list := elements(&r, MaxNotifications)
	for _, e := range list {
		switch e.Tag {
		case rsp.TagInstallationResult, tlv.Sequence, 0xA1: // a compact installation result, A0, is the list within the arm
		default:
			return false
		}
	}
	return len(list) > 0
}

func (p *DataResponse) read(e tlv.Element) (err error) {
	switch e.Tag {
	case DataNotifications:
		p.Notifications, err = raws(e, MaxNotifications)
	case DataDefaultDP:
		p.DefaultDP = new(string(e.Value))
	case DataResults:
		p.Results, err = raws(e, MaxNotifications)
	case DataInfo1:
		p.Info1 = e.Raw
	case DataInfo2:
		p.Info2 = e.Raw
	case DataRootDS:
		p.RootDS = new(string(e.Value))
	case DataToken:
		var n int64
		n, err = tlv.DecodeInt(e.Value)
		p.Token = &n
	case DataEUMCertificate:
		p.EUMCertificate, err = wholeSequence(e)
	case DataEUICCCertificate:
		p.EUICCCertificate, err = wholeSequence(e)
	case 0x87:
		r := tlv.NewReader(e.Raw)
		p.TransactionID = transactionID(&r, 0x87)
		err = r.Err()
	case DataCapabilities:
		p.Capabilities, err = readCapabilities(e)
	case DataDevice:
		p.Device = e.Value
	}
	return err
}

func readCapabilities(e tlv.Element) (*Capabilities, error) {
	r := e.Reader()
	features, protocols := r.Value(0x80), r.OptionalValue(0x81)
	if err := r.Err(); err != nil {
		return nil, err
	}
	set, err := tlv.Bits(features)
	if err != nil {
		return nil, err
	}
	c := &Capabilities{Features: Features(set)}
	if protocols != nil {
		set, err = tlv.Bits(protocols)
		c.Protocols = Protocols(set)
	}
	return c, err
}
