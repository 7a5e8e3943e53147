package iot

import (
	"errors"
	"fmt"
	"slices"

	"godwit/ident"
	"godwit/rsp"
	"godwit/tlv"
)

// Errors of a message whose EID is missing or is none. Beside them the message is
// returned with what could be read, so that the eIM can answer with the code for
// it.
var (
	ErrMissingEID = errors.New("the message names no EID")
	ErrInvalidEID = errors.New("the EID is not 32 decimal digits")
)

// Codes of an eIM that has no package to give (eimPackageError of
// ESipa.GetEimPackage), or none to take (ESipa.ProvideEimPackageResult).
const (
	EimNoPackage   int64 = 1
	EimEIDNotFound int64 = 2
	EimInvalidEID  int64 = 3
	EimMissingEID  int64 = 4
	EimUndefined   int64 = 127
)

// Codes of an IPA that could not do anything with a package.
const (
	ResultInvalidFormat  int64 = 1
	ResultUnknownPackage int64 = 2
	ResultOther          int64 = 127
)

// Causes of a change that the eIM did not order itself (StateChangeCause).
const (
	CauseOtherEim        int64 = 0
	CauseFallback        int64 = 1
	CauseEmergency       int64 = 2
	CauseLocal           int64 = 3
	CauseReset           int64 = 4
	CauseImmediateEnable int64 = 5
	CauseDeviceChange    int64 = 6
	CauseUndefined       int64 = 127
)

// A GetEimPackageRequest is the IPA's poll: BF4F.
type GetEimPackageRequest struct {
	EID          ident.EID
	StateChanged bool   // notifyStateChange: the eIM should ask for profiles and states
	Cause        *int64 // [CauseFallback] and so on
	RPLMN        []byte // last registered network, 3 octets as 3GPP TS 24.008 codes them, or nil
}

func (q *GetEimPackageRequest) appendASN1(dst []byte) []byte {
	return tlv.AppendNested(dst, TagGetEimPackage, func(dst []byte) []byte {
		dst = tlv.Append(dst, rsp.TagICCID, q.EID.Octets())
		if q.StateChanged {
			dst = tlv.Append(dst, 0x80, nil)
		}
		dst = appendOptionalInt(dst, 0x81, q.Cause)
		if q.RPLMN != nil {
			dst = tlv.Append(dst, 0x82, q.RPLMN)
		}
		return dst
	})
}

func readGetEimPackageRequest(e tlv.Element) (*GetEimPackageRequest, error) {
	q := &GetEimPackageRequest{}
	r := e.Reader()
	id, eidErr := optionalEID(&r)
	if id == "" && eidErr == nil {
		eidErr = ErrMissingEID
	}
	q.EID = id
	_, q.StateChanged = r.Optional(0x80)
	q.Cause = optionalInt(&r, 0x81)
	if r.Peek() == 0x82 {
		q.RPLMN = r.Fixed(0x82, 3)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read GetEimPackageRequest: %w", err)
	}
	return q, wrap("read GetEimPackageRequest", eidErr)
}

// optionalEID takes an EID if there is one. A malformed one is an error of its
// own and does not stop the reader.
func optionalEID(r *tlv.Reader) (ident.EID, error) {
	e, ok := r.Optional(rsp.TagICCID)
	if !ok {
		return "", nil
	}
	id, err := ident.EIDFromOctets(e.Value)
	if err != nil {
		return "", ErrInvalidEID
	}
	return id, nil
}

// A GetEimPackageResponse is the eIM's answer: one package, or the code that says
// why there is none.
type GetEimPackageResponse struct {
	EUICCPackage    []byte // BF51
	DataRequest     []byte // BF52
	DownloadTrigger []byte // BF54
	Unknown         []byte // a package of no kind that this version knows
	Error           int64  // [EimNoPackage] and so on; 0 with a package
}

func (p *GetEimPackageResponse) appendASN1(dst []byte) []byte {
	return tlv.AppendNested(dst, TagGetEimPackage, func(dst []byte) []byte {
		if p.Error != 0 {
			return tlv.AppendInt(dst, tlv.Integer, p.Error)
		}
		return append(dst, slices.Concat(p.EUICCPackage, p.DataRequest, p.DownloadTrigger, p.Unknown)...)
	})
}

func readGetEimPackageResponse(e tlv.Element) (*GetEimPackageResponse, error) {
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return nil, fmt.Errorf("read GetEimPackageResponse: %w", err)
	}
	p := &GetEimPackageResponse{}
	switch arm.Tag {
	case TagPackage:
		p.EUICCPackage = arm.Raw
	case TagData:
		p.DataRequest = arm.Raw
	case TagDownloadTrigger:
		p.DownloadTrigger = arm.Raw
	case tlv.Integer, 0x80: // the second from peers that tag it
		p.Error, err = errorNumber(arm)
	default:
		p.Unknown = arm.Raw
	}
	return p, wrap("read GetEimPackageResponse", err)
}

// errorNumber reads the number of a failure, which is never 0.
func errorNumber(e tlv.Element) (int64, error) {
	n, err := tlv.DecodeInt(e.Value)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: error code 0", tlv.ErrValue)
	}
	return n, err
}

// A ResultError is the IPA's word that it could not do anything with a package.
type ResultError struct {
	TransactionID []byte // eimTransactionId of the package, or nil
	Code          int64  // [ResultInvalidFormat] and so on
}

// A ProvideEimPackageResult brings the eIM what became of a package: BF50. One of
// the results is set; notifications come beside a package result only.
type ProvideEimPackageResult struct {
	EID            ident.EID // may be empty
	PackageResult  []byte    // BF51
	Notifications  [][]byte  // beside PackageResult: whole elements
	DataResponse   []byte    // BF52
	DownloadResult []byte    // BF54
	Error          *ResultError
}

func (q *ProvideEimPackageResult) appendASN1(dst []byte) []byte {
	return tlv.AppendNested(dst, TagProvideResult, func(dst []byte) []byte {
		if q.EID != "" {
			dst = tlv.Append(dst, rsp.TagICCID, q.EID.Octets())
		}
		return q.appendResult(dst)
	})
}

// appendResult appends EimPackageResult.
func (q *ProvideEimPackageResult) appendResult(dst []byte) []byte {
	switch {
	case q.Error != nil:
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			return tlv.AppendInt(appendTransactionID(dst, 0x80, q.Error.TransactionID), tlv.Integer, q.Error.Code)
		})
	case q.PackageResult != nil && q.Notifications != nil:
		return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
			return appendRaws(append(dst, q.PackageResult...), 0xA0, q.Notifications)
		})
	}
	return append(append(append(dst, q.PackageResult...), q.DataResponse...), q.DownloadResult...)
}

func readProvideEimPackageResult(e tlv.Element) (*ProvideEimPackageResult, error) {
	q := &ProvideEimPackageResult{}
	r := e.Reader()
	id, eidErr := optionalEID(&r)
	q.EID = id
	err := q.readResult(r.Next())
	r.Fail(err)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read ProvideEimPackageResult: %w", err)
	}
	return q, wrap("read ProvideEimPackageResult", eidErr)
}

func (q *ProvideEimPackageResult) readResult(e tlv.Element) (err error) {
	switch e.Tag {
	case TagPackage:
		q.PackageResult = e.Raw
	case TagData:
		q.DataResponse = e.Raw
	case TagDownloadTrigger:
		q.DownloadResult = e.Raw
	case tlv.Sequence:
		r := e.Reader()
		q.PackageResult = r.Element(TagPackage).Raw
		list := r.Element(0xA0)
		if err := r.Err(); err != nil {
			return err
		}
		q.Notifications, err = raws(list, MaxNotifications)
	case 0xA0:
		r := e.Reader()
		q.Error = &ResultError{TransactionID: transactionID(&r, 0x80)}
		tag := tlv.Integer
		if r.Peek() == 0x81 { // from peers that tag the code too
			tag = 0x81
		}
		q.Error.Code = r.Int(tag)
		err = r.Err()
	default:
		err = fmt.Errorf("%w: a result, have %s", tlv.ErrMissing, e.Tag)
	}
	return err
}

// A ProvideEimPackageResultResponse is the eIM's answer: the sequence numbers that
// it has got, of package results and notifications, or an error. The IPA has the
// eUICC forget exactly those.
type ProvideEimPackageResultResponse struct {
	Acknowledged []int64 // empty: nothing is to be forgotten
	Error        int64   // [EimEIDNotFound] and so on; 0 otherwise
}

func (p *ProvideEimPackageResultResponse) appendASN1(dst []byte) []byte {
	return tlv.AppendNested(dst, TagProvideResult, func(dst []byte) []byte {
		switch {
		case p.Error != 0:
			return tlv.AppendInt(dst, tlv.Integer, p.Error)
		case len(p.Acknowledged) == 0:
			return tlv.Append(dst, tlv.Sequence, nil)
		}
		return AppendAcknowledgements(dst, p.Acknowledged)
	})
}

func readProvideEimPackageResultResponse(e tlv.Element) (*ProvideEimPackageResultResponse, error) {
	p := &ProvideEimPackageResultResponse{}
	if len(e.Value) == 0 { // from peers that leave the empty SEQUENCE out
		return p, nil
	}
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return nil, fmt.Errorf("read ProvideEimPackageResultResponse: %w", err)
	}
	switch arm.Tag {
	case TagAcknowledgements:
		p.Acknowledged, err = ParseAcknowledgements(arm.Raw)
	case tlv.Sequence:
	case tlv.Integer, 0x81:
		p.Error, err = errorNumber(arm)
	default:
		err = fmt.Errorf("%w: acknowledgements, have %s", tlv.ErrMissing, arm.Tag)
	}
	return p, wrap("read ProvideEimPackageResultResponse", err)
}

// AppendAcknowledgements appends BF53.
func AppendAcknowledgements(dst []byte, sequences []int64) []byte {
	return tlv.AppendNested(dst, TagAcknowledgements, func(dst []byte) []byte {
		for _, n := range sequences {
			dst = tlv.AppendInt(dst, 0x80, n)
		}
		return dst
	})
}

// ParseAcknowledgements reads BF53.
func ParseAcknowledgements(der []byte) ([]int64, error) {
	e, err := tlv.ParseTag(der, TagAcknowledgements)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	list := []int64{}
	for _, e := range elements(&r, MaxNotifications) {
		if e.Tag != 0x80 && e.Tag != tlv.Integer {
			return nil, fmt.Errorf("%w: a sequence number, have %s", tlv.ErrMissing, e.Tag)
		}
		n, err := tlv.DecodeInt(e.Value)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, r.Err()
}
