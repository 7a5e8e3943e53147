package iot

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"godwit/rsp"
	"godwit/tlv"
)

// Function returns the name of the function that a request belongs to, "" when it
// is none of ESipa's.
func Function(q any) string {
	switch q.(type) {
	case *GetEimPackageRequest:
		return FnGetEimPackage
	case *ProvideEimPackageResult:
		return FnProvideResult
	case *HandleNotification:
		return rsp.FnHandleNotification
	case *InitiateAuthenticationRequest:
		return rsp.FnInitiateAuthentication
	case *AuthenticateClientRequest:
		return rsp.FnAuthenticateClient
	case *GetBoundProfilePackageRequest:
		return rsp.FnGetBoundProfilePackage
	case *CancelSessionRequest:
		return rsp.FnCancelSession
	}
	return ""
}

// MarshalJSONRequest writes a request, a pointer to one of the types that
// [ParseASN1Request] returns. It panics on any other type.
func MarshalJSONRequest(q any) []byte {
	o := newObject()
	switch q := q.(type) {
	case *GetEimPackageRequest:
		o.text(nameEID, string(q.EID))
		if q.StateChanged {
			o.values[nameStateChange[0]] = true
		}
		if q.Cause != nil {
			o.values[nameCause[0]] = *q.Cause
		}
		o.text(nameRPLMN, strings.ToUpper(hex.EncodeToString(q.RPLMN)))
	case *ProvideEimPackageResult:
		o.text(nameEID, string(q.EID)).octets(nameResult, q.appendResult(nil))
	case *HandleNotification:
		if q.Result != nil {
			o.octets(nameProvide, q.Result.appendASN1(nil))
		} else {
			o.octets(nameNotification, q.Notification)
		}
	case *InitiateAuthenticationRequest:
		o.octets(nameChallenge, q.EUICCChallenge).text(nameAddress, q.SMDPAddress).octets(nameInfo1, q.EUICCInfo1)
		o.text(nameOrder, strings.ToUpper(hex.EncodeToString(q.TransactionID)))
	case *AuthenticateClientRequest:
		o.run(q.TransactionID).octets(nameServer, q.AuthenticateServerResponse)
	case *GetBoundProfilePackageRequest:
		o.run(q.TransactionID).octets(namePrepare, q.PrepareDownloadResponse)
	case *CancelSessionRequest:
		o.run(q.TransactionID).octets(nameCancel, q.CancelSessionResponse)
	default:
		panic(fmt.Sprintf("iot: no ESipa request is a %T", q))
	}
	return o.encode()
}

// MarshalJSONResponse writes an eIM's answer, a pointer to one of the response
// types. It panics on any other type. HandleNotification has none.
func MarshalJSONResponse(p any) []byte {
	o := newObject()
	o.values["header"] = rsp.Succeeded
	switch p := p.(type) {
	case *GetEimPackageResponse:
		o.octets(namePackage, p.EUICCPackage).octets(nameData, p.DataRequest).octets(nameTrigger, p.DownloadTrigger)
		if p.Error != 0 {
			o.values[nameGetError[0]] = p.Error
		}
	case *ProvideEimPackageResultResponse:
		switch {
		case p.Error != 0:
			o.values[nameProvideError[0]] = p.Error
		case len(p.Acknowledged) > 0:
			o.octets(nameAcknowledged, AppendAcknowledgements(nil, p.Acknowledged))
		}
	case *InitiateAuthenticationResponse:
		if o.header(&p.Refused, rsp.TagInitiateAuthentication) {
			break
		}
		o.run(p.TransactionID).octets(nameSigned1, p.ServerSigned1).octets(nameSignature1, p.ServerSignature1)
		o.octets(nameCI, p.CIKeyID).octets(nameCertificate, p.ServerCertificate).octets(nameContext, p.Context)
		if p.MatchingID != nil {
			o.values[nameMatchingID[0]] = *p.MatchingID
		}
	case *AuthenticateClientResponse:
		if o.header(&p.Refused, rsp.TagAuthenticateClient) {
			break
		}
		o.run(p.TransactionID)
		if p.SMDS {
			o.octets(nameTrigger, p.Trigger)
			break
		}
		o.octets(nameMetadata, p.ProfileMetadata).octets(nameSigned2, p.SMDPSigned2).octets(nameSignature2, p.SMDPSignature2)
		o.octets(nameBinding, p.SMDPCertificate).octets(nameHashedCode, p.HashedCode)
	case *GetBoundProfilePackageResponse:
		if !o.header(&p.Refused, rsp.TagGetBoundProfilePackage) {
			o.run(p.TransactionID).octets(nameBound, p.BoundProfilePackage)
		}
	case *CancelSessionResponse:
		o.header(&p.Refused, rsp.TagCancelSession)
	default:
		panic(fmt.Sprintf("iot: no ESipa answer is a %T", p))
	}
	return o.encode()
}

// header writes the header of a relayed function and reports whether it failed.
func (o object) header(f *Refused, function tlv.Tag) bool {
	failure := f.failure(function)
	if failure == nil {
		return false
	}
	o.values["header"] = failure.Header()
	return true
}

// ParseJSONResponse reads an eIM's answer to a function. The result is what
// [ParseASN1Response] returns.
func ParseJSONResponse(function string, body []byte) (any, error) {
	m := parseMembers(body)
	p, err := m.response(function)
	if m.err != nil {
		err = m.err
	}
	if err != nil {
		return nil, fmt.Errorf("read ESipa answer %s: %w", function, err)
	}
	return p, nil
}

func (m *members) response(function string) (any, error) {
	if m.err != nil {
		return nil, nil
	}
	switch function {
	case FnGetEimPackage:
		p := &GetEimPackageResponse{
			EUICCPackage: m.element(namePackage), DataRequest: m.element(nameData), DownloadTrigger: m.element(nameTrigger),
		}
		if n := m.number(nameGetError); n != nil {
			p.Error = *n
		}
		if p.Error == 0 && p.EUICCPackage == nil && p.DataRequest == nil && p.DownloadTrigger == nil {
			p.Error = m.otherwise(EimNoPackage)
		}
		return p, nil
	case FnProvideResult:
		p := &ProvideEimPackageResultResponse{}
		if raw := m.element(nameAcknowledged); raw != nil {
			var err error
			p.Acknowledged, err = ParseAcknowledgements(raw)
			m.fail(nameAcknowledged, err)
		} else if n := m.number(nameProvideError); n != nil {
			p.Error = *n
		} else {
			p.Error = m.otherwise(0)
		}
		return p, nil
	case rsp.FnInitiateAuthentication:
		p := &InitiateAuthenticationResponse{Refused: m.refused(rsp.TagInitiateAuthentication)}
		if !p.failed() {
			p.TransactionID = m.run(nameRun)
			p.ServerSigned1, p.ServerSignature1 = m.needed(nameSigned1), m.needed(nameSignature1)
			p.CIKeyID, p.ServerCertificate = m.needed(nameCI), m.needed(nameCertificate)
			p.Context = m.element(nameContext)
			if _, ok := m.find(nameMatchingID); ok {
				p.MatchingID = new(m.text(nameMatchingID))
			}
		}
		return p, nil
	case rsp.FnAuthenticateClient:
		p := &AuthenticateClientResponse{Refused: m.refused(rsp.TagAuthenticateClient)}
		if p.failed() {
			return p, nil
		}
		p.TransactionID = m.run(nameRun)
		if _, signed := m.find(nameSigned2); !signed {
			p.SMDS, p.Trigger = true, m.element(nameTrigger)
			return p, nil
		}
		p.ProfileMetadata, p.SMDPSigned2 = m.element(nameMetadata), m.needed(nameSigned2)
		p.SMDPSignature2, p.SMDPCertificate = m.needed(nameSignature2), m.needed(nameBinding)
		if p.HashedCode = m.octets(nameHashedCode); p.HashedCode != nil && len(p.HashedCode) != rsp.HashSize {
			m.fail(nameHashedCode, fmt.Errorf("%w: a hash has %d octets, not %d", tlv.ErrValue, rsp.HashSize, len(p.HashedCode)))
		}
		return p, nil
	case rsp.FnGetBoundProfilePackage:
		p := &GetBoundProfilePackageResponse{Refused: m.refused(rsp.TagGetBoundProfilePackage)}
		if !p.failed() {
			p.TransactionID, p.BoundProfilePackage = m.run(nameRun), m.needed(nameBound)
		}
		return p, nil
	case rsp.FnCancelSession:
		return &CancelSessionResponse{m.refused(rsp.TagCancelSession)}, nil
	}
	return nil, fmt.Errorf("%w: no function of ESipa", tlv.ErrTag)
}

// needed reads an element that must be there.
func (m *members) needed(names []string) []byte {
	b := m.element(names)
	if b == nil {
		m.fail(names, tlv.ErrMissing)
	}
	return b
}

// failure reads the header. Without one the function is taken to have succeeded.
func (m *members) failure() *rsp.Failure {
	v, ok := m.find([]string{"header"})
	if !ok {
		return nil
	}
	var h rsp.ResponseHeader
	m.fail([]string{"header"}, json.Unmarshal(v, &h))
	f, _ := rsp.AsFailure(h.Err())
	return f
}

// refused reads the header of a relayed function.
func (m *members) refused(function tlv.Tag) Refused {
	if f := m.failure(); f != nil {
		return Refuse(function, f)
	}
	return Refused{}
}

// otherwise returns the number for an answer that has no other: 127 when its
// header says that it failed.
func (m *members) otherwise(n int64) int64 {
	if m.failure() != nil {
		return EimUndefined
	}
	return n
}
