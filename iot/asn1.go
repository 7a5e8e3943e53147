package iot

import (
	"fmt"

	"godwit/rsp"
	"godwit/tlv"
)

// The ASN.1 binding of ESipa: every function at one path, told apart by the tag
// of its message. Unlike ES9+'s, messages are bare: no A2 is around them. SGP.32
// v1.2, 6.3.

// What goes with the bodies.
const (
	PathESipa = "/gsma/rsp2/esipa/" // of the JSON binding, followed by a function name; [rsp.PathASN1] is the other's
	UserAgent = "gsma-rsp-ipad"
	Protocol  = "gsma/rsp/v2.1.0"
)

// ParseASN1Request reads a request of an IPA. The result is a pointer to one of
// the request types: [GetEimPackageRequest], [ProvideEimPackageResult],
// [HandleNotification], [InitiateAuthenticationRequest],
// [AuthenticateClientRequest], [GetBoundProfilePackageRequest],
// [CancelSessionRequest]. It comes with an error when the error is about its EID.
func ParseASN1Request(body []byte) (any, error) {
	e, err := tlv.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("read ESipa request: %w", err)
	}
	q, err := readRequest(e)
	if err != nil {
		return q, fmt.Errorf("read ESipa request %s: %w", e.Tag, err)
	}
	return q, nil
}

func readRequest(e tlv.Element) (any, error) {
	switch e.Tag {
	case TagGetEimPackage:
		return some(readGetEimPackageRequest(e))
	case TagProvideResult:
		return some(readProvideEimPackageResult(e))
	case rsp.TagHandleNotification:
		return some(readHandleNotification(e))
	case rsp.TagInitiateAuthentication:
		return some(readInitiateRequest(e))
	case rsp.TagAuthenticateClient:
		id, raw, err := memberRequest(e, rsp.TagAuthenticateServer)
		if err != nil {
			return nil, err
		}
		return &AuthenticateClientRequest{id, raw}, nil
	case rsp.TagGetBoundProfilePackage:
		id, raw, err := memberRequest(e, rsp.TagPrepareDownload)
		if err != nil {
			return nil, err
		}
		return &GetBoundProfilePackageRequest{id, raw}, nil
	case rsp.TagCancelSession:
		return some(readCancelRequest(e))
	}
	return nil, fmt.Errorf("%w: no function of ESipa", tlv.ErrTag)
}

// some keeps a nil pointer from becoming something in an interface.
func some[T any](p *T, err error) (any, error) {
	if p == nil {
		return nil, err
	}
	return p, err
}

// AppendASN1Request appends a request, a pointer to one of the types that
// [ParseASN1Request] returns. It panics on any other type.
func AppendASN1Request(dst []byte, q any) []byte {
	switch q := q.(type) {
	case interface{ appendASN1([]byte) []byte }:
		return q.appendASN1(dst)
	case *AuthenticateClientRequest:
		return appendMemberRequest(dst, rsp.TagAuthenticateClient, q.TransactionID, q.AuthenticateServerResponse)
	case *GetBoundProfilePackageRequest:
		return appendMemberRequest(dst, rsp.TagGetBoundProfilePackage, q.TransactionID, q.PrepareDownloadResponse)
	}
	panic(fmt.Sprintf("iot: no ESipa request is a %T", q))
}

// AppendASN1Response appends an eIM's answer, a pointer to one of the response
// types. It panics on any other type. HandleNotification has none.
func AppendASN1Response(dst []byte, p any) []byte {
	switch p := p.(type) {
	case interface{ appendASN1([]byte) []byte }:
		return p.appendASN1(dst)
	case *InitiateAuthenticationResponse:
		return appendRelayed(dst, rsp.TagInitiateAuthentication, 0x81, &p.Refused, 0xA0, p.appendOK)
	case *AuthenticateClientResponse:
		arm := tlv.Tag(0xA0)
		if p.SMDS {
			arm = 0xA1
		}
		return appendRelayed(dst, rsp.TagAuthenticateClient, 0x82, &p.Refused, arm, p.appendOK)
	case *GetBoundProfilePackageResponse:
		return appendRelayed(dst, rsp.TagGetBoundProfilePackage, 0x81, &p.Refused, 0xA0, p.appendOK)
	case *CancelSessionResponse:
		return appendRelayed(dst, rsp.TagCancelSession, 0x81, &p.Refused, 0xA0, func(dst []byte) []byte { return dst })
	}
	panic(fmt.Sprintf("iot: no ESipa answer is a %T", p))
}

func appendRelayed(dst []byte, function, failed tlv.Tag, f *Refused, arm tlv.Tag, ok func([]byte) []byte) []byte {
	return tlv.AppendNested(dst, function, func(dst []byte) []byte {
		if f.failed() {
			return tlv.AppendInt(dst, failed, f.number(function))
		}
		return tlv.AppendNested(dst, arm, ok)
	})
}

// ParseASN1Response reads an eIM's answer. The result is a pointer to one of the
// response types.
func ParseASN1Response(body []byte) (any, error) {
	e, err := tlv.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("read ESipa answer: %w", err)
	}
	p, err := readResponse(e)
	if err != nil {
		return nil, fmt.Errorf("read ESipa answer %s: %w", e.Tag, err)
	}
	return p, nil
}

func readResponse(e tlv.Element) (any, error) {
	switch e.Tag {
	case TagGetEimPackage:
		return some(readGetEimPackageResponse(e))
	case TagProvideResult:
		return some(readProvideEimPackageResultResponse(e))
	}
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return nil, err
	}
	var f Refused
	switch arm.Tag {
	case 0x81, 0x82, tlv.Integer:
		if f.Error, err = errorNumber(arm); err != nil {
			return nil, err
		}
	case 0xA0, 0xA1:
	default:
		return nil, fmt.Errorf("%w: an answer, have %s", tlv.ErrMissing, arm.Tag)
	}
	r := arm.Reader()
	switch e.Tag {
	case rsp.TagInitiateAuthentication:
		p := &InitiateAuthenticationResponse{Refused: f}
		return some(p, readOK(&f, &r, p.readOK))
	case rsp.TagAuthenticateClient:
		p := &AuthenticateClientResponse{Refused: f, SMDS: arm.Tag == 0xA1}
		return some(p, readOK(&f, &r, p.readOK))
	case rsp.TagGetBoundProfilePackage:
		p := &GetBoundProfilePackageResponse{Refused: f}
		return some(p, readOK(&f, &r, p.readOK))
	case rsp.TagCancelSession:
		return &CancelSessionResponse{f}, nil
	}
	return nil, fmt.Errorf("%w: no function of ESipa", tlv.ErrTag)
}

func readOK(f *Refused, r *tlv.Reader, read func(*tlv.Reader)) error {
	if f.failed() {
		return nil
	}
	read(r)
	return r.Err()
}
