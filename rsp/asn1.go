package rsp

import (
	"fmt"

	"godwit/tlv"
)

// The ASN.1 binding of ES9+ and ES11: the same functions as in the JSON binding,
// all at one path, with numbers for failures. SGP.22 v2.5, 6.6 and annex H.
// Requests and answers are the Go types of the JSON binding.

// Tags of the functions.
const (
	tagBinding                = tlv.Tag(0xA2)
	TagInitiateAuthentication = tlv.Tag(0xBF39)
	TagAuthenticateClient     = tlv.Tag(0xBF3B)
	TagGetBoundProfilePackage = tlv.Tag(0xBF3A)
	TagHandleNotification     = tlv.Tag(0xBF3D)
	tagAuthenticateClientES11 = tlv.Tag(0xBF40)
)

// asn1Failures gives the number for a status code, function by function. A code
// without a number is 127.
var asn1Failures = map[tlv.Tag]map[StatusCode]int64{
	TagInitiateAuthentication: {
		AddressRefused: 1, DSAddressRefused: 1, SVNUnsupported: 2, DSSVNUnsupported: 2,
		CIUnsupported: 3, DSCIUnsupported: 3, CertificateUnavailable: 3, DSCertificateUnavailable: 3,
	},
	TagAuthenticateClient: {
		EUMInvalid: 1, EUMExpired: 2, EUICCInvalid: 3, EUICCExpired: 4, EUICCSignatureInvalid: 5,
		MatchingIDRefused: 6, EIDMismatch: 7, NoEligibleProfile: 8, CIUnknown: 9,
		TransactionUnknown: 10, MemoryInsufficient: 11,
	},
	TagGetBoundProfilePackage: {
		EUICCSignatureInvalid: 1, CodeMissing: 2, CodeRefused: 3, CodeAttemptsExceeded: 4,
		RebindingRefused: 5, OrderExpired: 6, TransactionUnknown: 95,
	},
	TagCancelSession: {TransactionUnknown: 1, EUICCSignatureInvalid: 2},
	tagAuthenticateClientES11: {
		EUMInvalid: 1, EUMExpired: 2, EUICCInvalid: 3, EUICCExpired: 4, EUICCSignatureInvalid: 5,
		EventUnknown: 6, TransactionUnknown: 7,
	},
}

// asn1Undefined is undefinedError of every function.
const asn1Undefined = 127

// ASN1Error returns the number of the ASN.1 binding for a status code of the
// function with the given tag: 127 where it has none.
func ASN1Error(function tlv.Tag, code StatusCode) int64 {
	if number, known := asn1Failures[function][code]; known {
		return number
	}
	return asn1Undefined
}

// ASN1Failure returns the failure for the number with which a function answered.
func ASN1Failure(function tlv.Tag, number int64) *Failure {
	f := &Failure{StatusCode: ExecutionFailed, Message: fmt.Sprintf("error %d of function %s", number, function)}
	for code, n := range asn1Failures[function] {
		// Codes of SM-DS and SM-DP+ share numbers: the SM-DP+'s is told.
		if n == number && (f.StatusCode == ExecutionFailed || f.Subject > code.Subject ||
			f.Subject == code.Subject && f.Reason > code.Reason) {
			f.StatusCode = code
		}
	}
	return f
}

// ParseASN1Request reads a request of the ASN.1 binding. The result is a
// pointer to one of the request types of the JSON binding.
func ParseASN1Request(body []byte) (any, error) {
	function, err := tlv.ParseChoice(body, tagBinding)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	r := function.Reader()
	var q any
	switch function.Tag {
	case TagInitiateAuthentication:
		q = &InitiateAuthenticationRequest{
			EUICCChallenge: r.Fixed(0x81, ChallengeSize),
			SMDPAddress:    string(r.Value(0x83)),
			EUICCInfo1:     r.Element(TagEUICCInfo1).Raw,
		}
	case TagAuthenticateClient:
		q = &AuthenticateClientRequest{transactionID(&r, 0x80), r.Element(TagAuthenticateServer).Raw}
	case TagGetBoundProfilePackage:
		q = &GetBoundProfilePackageRequest{transactionID(&r, 0x80), r.Element(TagPrepareDownload).Raw}
	case TagHandleNotification:
		q = &HandleNotificationRequest{r.Next().Raw}
	case TagCancelSession:
		q = &CancelSessionES9Request{transactionID(&r, 0x80), cancelMember(r.Next())}
	default:
		return nil, fmt.Errorf("read request: %w: function %s", tlv.ErrTag, function.Tag)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read request %s: %w", function.Tag, err)
	}
	return q, nil
}

// cancelMember returns the whole CancelSessionResponse. The module's automatic
// tags make it A1 inside the request; some encoders nest the BF41 as it is.
func cancelMember(e tlv.Element) []byte {
	if e.Tag == 0xA1 {
		return tlv.Append(nil, TagCancelSession, e.Value)
	}
	return e.Raw
}

// AppendASN1Request appends a request, a pointer to one of the request types of
// the JSON binding. It panics on any other type.
func AppendASN1Request(dst []byte, q any) []byte {
	return tlv.AppendNested(dst, tagBinding, func(dst []byte) []byte {
		switch q := q.(type) {
		case *InitiateAuthenticationRequest:
			return tlv.AppendNested(dst, TagInitiateAuthentication, func(dst []byte) []byte {
				dst = tlv.Append(dst, 0x81, q.EUICCChallenge)
				return append(tlv.AppendString(dst, 0x83, q.Address()), q.EUICCInfo1...)
			})
		case *AuthenticateClientRequest:
			return appendFunction(dst, TagAuthenticateClient, q.TransactionID, q.AuthenticateServerResponse)
		case *GetBoundProfilePackageRequest:
			return appendFunction(dst, TagGetBoundProfilePackage, q.TransactionID, q.PrepareDownloadResponse)
		case *HandleNotificationRequest:
			return tlv.Append(dst, TagHandleNotification, q.PendingNotification)
		case *CancelSessionES9Request:
			inner := q.CancelSessionResponse
			if e, err := tlv.ParseTag(inner, TagCancelSession); err == nil {
				inner = tlv.Append(nil, 0xA1, e.Value)
			}
			return appendFunction(dst, TagCancelSession, q.TransactionID, inner)
		}
		panic(fmt.Sprintf("rsp: no ASN.1 request is a %T", q))
	})
}

func appendFunction(dst []byte, tag tlv.Tag, id TransactionID, member []byte) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		return append(id.Append(dst, 0x80), member...)
	})
}

// AppendASN1Response appends an answer, a pointer to one of the answer types of
// the JSON binding. It panics on any other type. HandleNotification has none.
func AppendASN1Response(dst []byte, p any) []byte {
	return tlv.AppendNested(dst, tagBinding, func(dst []byte) []byte {
		switch p := p.(type) {
		case *InitiateAuthenticationResponse:
			return appendAnswer(dst, TagInitiateAuthentication, p.Header, func(dst []byte) []byte {
				dst = append(p.TransactionID.Append(dst, 0x80), p.ServerSigned1...)
				dst = append(append(dst, p.ServerSignature1...), p.CIKeyID...)
				return append(dst, p.ServerCertificate...)
			})
		case *AuthenticateClientResponse:
			return appendAnswer(dst, TagAuthenticateClient, p.Header, func(dst []byte) []byte {
				dst = append(p.TransactionID.Append(dst, 0x80), p.ProfileMetadata...)
				dst = append(append(dst, p.SMDPSigned2...), p.SMDPSignature2...)
				return append(dst, p.SMDPCertificate...)
			})
		case *GetBoundProfilePackageResponse:
			return appendAnswer(dst, TagGetBoundProfilePackage, p.Header, func(dst []byte) []byte {
				return append(p.TransactionID.Append(dst, 0x80), p.BoundProfilePackage...)
			})
		case *CancelSessionES9Response:
			return appendAnswer(dst, TagCancelSession, p.Header, func(dst []byte) []byte { return dst })
		case *AuthenticateClientES11Response:
			return appendAnswer(dst, tagAuthenticateClientES11, p.Header, func(dst []byte) []byte {
				dst = p.TransactionID.Append(dst, 0x80)
				return tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
					for _, e := range p.EventEntries {
						dst = tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
							return tlv.AppendString(tlv.AppendString(dst, 0x80, e.EventID), 0x81, e.ServerAddress)
						})
					}
					return dst
				})
			})
		}
		panic(fmt.Sprintf("rsp: no ASN.1 answer is a %T", p))
	})
}

func appendAnswer(dst []byte, tag tlv.Tag, header ResponseHeader, ok func([]byte) []byte) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		f, failed := AsFailure(header.Err())
		if !failed {
			return tlv.AppendNested(dst, 0xA0, ok)
		}
		return tlv.AppendInt(dst, 0x81, ASN1Error(tag, f.StatusCode))
	})
}

// ParseASN1Response reads an answer. The result is a pointer to one of the
// answer types of the JSON binding, with the header that the number stands for.
func ParseASN1Response(body []byte) (any, error) {
	function, err := tlv.ParseChoice(body, tagBinding)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	arm, err := tlv.Parse(function.Value)
	if err != nil {
		return nil, fmt.Errorf("read answer %s: %w", function.Tag, err)
	}
	header := Succeeded
	if arm.Tag == 0x81 || arm.Tag == tlv.Integer {
		number, err := tlv.DecodeInt(arm.Value)
		if err != nil {
			return nil, fmt.Errorf("read answer %s: %w", function.Tag, err)
		}
		header = ASN1Failure(function.Tag, number).Header()
		arm.Value = nil
	}
	failed := header.Err() != nil
	r := arm.Reader()
	id := func() TransactionID {
		if failed {
			return TransactionID{}
		}
		return transactionID(&r, 0x80)
	}
	member := func(tag tlv.Tag) []byte {
		if failed {
			return nil
		}
		return r.Element(tag).Raw
	}
	var p any
	switch function.Tag {
	case TagInitiateAuthentication:
		p = &InitiateAuthenticationResponse{header, id(), member(tlv.Sequence), member(TagSignature), member(tlv.OctetString), member(tlv.Sequence)}
	case TagAuthenticateClient:
		p = &AuthenticateClientResponse{header, id(), member(TagStoreMetadata), member(tlv.Sequence), member(TagSignature), member(tlv.Sequence)}
	case TagGetBoundProfilePackage:
		p = &GetBoundProfilePackageResponse{header, id(), member(TagBoundProfilePackage)}
	case TagCancelSession:
		p = &CancelSessionES9Response{header}
	case tagAuthenticateClientES11:
		answer := &AuthenticateClientES11Response{Header: header, TransactionID: id()}
		if !failed {
			entries := r.Sub(0xA1)
			for len(entries.Rest()) > 0 && entries.Err() == nil {
				e := entries.Sub(tlv.Sequence)
				answer.EventEntries = append(answer.EventEntries, EventEntry{string(e.Value(0x80)), string(e.Value(0x81))})
				entries.Fail(e.Err())
			}
			r.Fail(entries.Err())
		}
		p = answer
	default:
		return nil, fmt.Errorf("read answer: %w: function %s", tlv.ErrTag, function.Tag)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read answer %s: %w", function.Tag, err)
	}
	return p, nil
}
