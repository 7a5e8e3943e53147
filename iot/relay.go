package iot

import (
	"fmt"

	"godwit/rsp"
	"godwit/tlv"
)

// The functions of ES9+ that an eIM relays. What SM-DP+ and eUICC signed are
// whole elements in the octets in which they came: relay them as they are.

// An InitiateAuthenticationRequest opens a run: BF39.
type InitiateAuthenticationRequest struct {
	EUICCChallenge []byte // 16 octets
	SMDPAddress    string // empty: the eIM knows from its own trigger
	EUICCInfo1     []byte // BF20, nil: the eIM has it
	TransactionID  []byte // eimTransactionId of the trigger, or nil
}

// An InitiateAuthenticationResponse is the server's proof of who it is.
type InitiateAuthenticationResponse struct {
	Refused
	TransactionID     rsp.TransactionID // may be missing: it is in ServerSigned1
	ServerSigned1     []byte            // 30
	ServerSignature1  []byte            // 5F37
	CIKeyID           []byte            // an OCTET STRING, header included
	ServerCertificate []byte            // 30
	MatchingID        *string           // for the IPA that makes ctxParams1 itself
	Context           []byte            // ctxParams1 that the eIM made, A0, or nil
}

// An AuthenticateClientRequest is the eUICC's proof of who it is: BF3B.
type AuthenticateClientRequest struct {
	TransactionID              rsp.TransactionID
	AuthenticateServerResponse []byte // BF38, perhaps in compact form
}

// An AuthenticateClientResponse offers a profile, or, from an SM-DS, says what to
// download.
type AuthenticateClientResponse struct {
	Refused
	TransactionID   rsp.TransactionID // may be missing
	ProfileMetadata []byte            // BF25, nil when the eIM has looked at it
	SMDPSigned2     []byte            // 30
	SMDPSignature2  []byte            // 5F37
	SMDPCertificate []byte            // 30
	HashedCode      []byte            // hashCc, 32 octets, or nil

	SMDS    bool   // the answer is an SM-DS's, and Trigger all that is in it
	Trigger []byte // BF54, or nil
}

// A GetBoundProfilePackageRequest asks for the profile: BF3A.
type GetBoundProfilePackageRequest struct {
	TransactionID           rsp.TransactionID
	PrepareDownloadResponse []byte // BF21, perhaps in compact form
}

// A GetBoundProfilePackageResponse delivers it.
type GetBoundProfilePackageResponse struct {
	Refused
	TransactionID       rsp.TransactionID // may be missing
	BoundProfilePackage []byte            // BF36
}

// A CancelSessionRequest ends a run: BF41.
type CancelSessionRequest struct {
	TransactionID         rsp.TransactionID
	CancelSessionResponse []byte // BF41, perhaps in compact form
}

// A CancelSessionResponse acknowledges.
type CancelSessionResponse struct{ Refused }

// A HandleNotification carries a notification, or a result for the eIM. One of the
// two is set. There is no answer but HTTP status 204.
type HandleNotification struct {
	Notification []byte // BF37 or 30 as the eUICC signed it, or a compact form, A0 or A1
	Result       *ProvideEimPackageResult
}

func readInitiateRequest(e tlv.Element) (*InitiateAuthenticationRequest, error) {
	r := e.Reader()
	q := &InitiateAuthenticationRequest{EUICCChallenge: r.Fixed(0x81, rsp.ChallengeSize)}
	// Peers differ in the order of what follows.
	for !r.Empty() {
		switch e := r.Next(); e.Tag {
		case 0x83:
			q.SMDPAddress = string(e.Value)
		case rsp.TagEUICCInfo1:
			q.EUICCInfo1 = e.Raw
		case 0x82:
			inner := tlv.NewReader(e.Raw)
			q.TransactionID = transactionID(&inner, 0x82)
			r.Fail(inner.Err())
		}
	}
	return q, r.Err()
}

func (q *InitiateAuthenticationRequest) appendASN1(dst []byte) []byte {
	return tlv.AppendNested(dst, rsp.TagInitiateAuthentication, func(dst []byte) []byte {
		dst = tlv.Append(dst, 0x81, q.EUICCChallenge)
		if q.SMDPAddress != "" {
			dst = tlv.AppendString(dst, 0x83, q.SMDPAddress)
		}
		return appendTransactionID(append(dst, q.EUICCInfo1...), 0x82, q.TransactionID)
	})
}

func (p *InitiateAuthenticationResponse) appendOK(dst []byte) []byte {
	dst = appendRunID(dst, p.TransactionID)
	dst = append(append(dst, p.ServerSigned1...), p.ServerSignature1...)
	dst = append(append(dst, p.CIKeyID...), p.ServerCertificate...)
	if p.MatchingID != nil {
		dst = tlv.AppendString(dst, tlv.UTF8String, *p.MatchingID)
	}
	if p.Context != nil {
		dst = tlv.Append(dst, 0xA2, p.Context)
	}
	return dst
}

func (p *InitiateAuthenticationResponse) readOK(r *tlv.Reader) {
	p.TransactionID = runID(r)
	p.ServerSigned1 = r.Element(tlv.Sequence).Raw
	p.ServerSignature1 = r.Element(rsp.TagSignature).Raw
	p.CIKeyID = r.Element(tlv.OctetString).Raw
	p.ServerCertificate = r.Element(tlv.Sequence).Raw
	if id, ok := r.Optional(tlv.UTF8String); ok {
		p.MatchingID = new(string(id.Value))
	}
	p.Context = r.OptionalValue(0xA2)
}

func (p *AuthenticateClientResponse) appendOK(dst []byte) []byte {
	dst = appendRunID(dst, p.TransactionID)
	if p.SMDS {
		return append(dst, p.Trigger...)
	}
	dst = append(append(dst, p.ProfileMetadata...), p.SMDPSigned2...)
	dst = append(append(dst, p.SMDPSignature2...), p.SMDPCertificate...)
	if p.HashedCode != nil {
		dst = tlv.Append(dst, tlv.OctetString, p.HashedCode)
	}
	return dst
}

func (p *AuthenticateClientResponse) readOK(r *tlv.Reader) {
	p.TransactionID = runID(r)
	if p.SMDS {
		if e, ok := r.Optional(TagDownloadTrigger); ok {
			p.Trigger = e.Raw
		}
		return
	}
	if e, ok := r.Optional(rsp.TagStoreMetadata); ok {
		p.ProfileMetadata = e.Raw
	}
	p.SMDPSigned2 = r.Element(tlv.Sequence).Raw
	p.SMDPSignature2 = r.Element(rsp.TagSignature).Raw
	p.SMDPCertificate = r.Element(tlv.Sequence).Raw
	if r.Peek() == tlv.OctetString {
		p.HashedCode = r.Fixed(tlv.OctetString, rsp.HashSize)
	}
}

func (p *GetBoundProfilePackageResponse) appendOK(dst []byte) []byte {
	return append(appendRunID(dst, p.TransactionID), p.BoundProfilePackage...)
}

func (p *GetBoundProfilePackageResponse) readOK(r *tlv.Reader) {
	p.TransactionID = runID(r)
	p.BoundProfilePackage = r.Element(rsp.TagBoundProfilePackage).Raw
}

// memberRequest reads the requests that are a transaction identifier and one
// member of the eUICC's.
func memberRequest(e tlv.Element, member tlv.Tag) (rsp.TransactionID, []byte, error) {
	r := e.Reader()
	id := requiredRunID(&r)
	raw := r.Element(member).Raw
	return id, raw, r.Err()
}

func appendMemberRequest(dst []byte, tag tlv.Tag, id rsp.TransactionID, member []byte) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte { return append(id.Append(dst, 0x80), member...) })
}

func readCancelRequest(e tlv.Element) (*CancelSessionRequest, error) {
	r := e.Reader()
	q := &CancelSessionRequest{TransactionID: requiredRunID(&r)}
	member := r.Next()
	if err := r.Err(); err != nil {
		return nil, err
	}
	switch member.Tag {
	case 0xA1: // by the module: its tag replaces that of the member
		if e, err := tlv.ParseTag(member.Value, rsp.TagCancelSession); err == nil {
			q.CancelSessionResponse = e.Raw // from encoders that put it around the member
			break
		}
		q.CancelSessionResponse = tlv.Append(nil, rsp.TagCancelSession, member.Value)
	case rsp.TagCancelSession:
		q.CancelSessionResponse = member.Raw
	default:
		return nil, fmt.Errorf("%w: cancelSessionResponse, have %s", tlv.ErrMissing, member.Tag)
	}
	return q, nil
}

func (q *CancelSessionRequest) appendASN1(dst []byte) []byte {
	member := q.CancelSessionResponse
	if e, err := tlv.ParseTag(member, rsp.TagCancelSession); err == nil {
		member = tlv.Append(nil, 0xA1, e.Value)
	}
	return appendMemberRequest(dst, rsp.TagCancelSession, q.TransactionID, member)
}

func readHandleNotification(e tlv.Element) (*HandleNotification, error) {
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return nil, err
	}
	q := &HandleNotification{}
	switch arm.Tag {
	case TagProvideResult:
		q.Result, err = readProvideEimPackageResult(arm)
	case rsp.TagInstallationResult, tlv.Sequence: // from peers that leave A0 out
		q.Notification = arm.Raw
	case 0xA0:
		var inner tlv.Element
		inner, err = tlv.Parse(arm.Value)
		if err != nil { // a compact form without the A0 around it
			q.Notification, err = arm.Raw, nil
			break
		}
		q.Notification = inner.Raw
	case 0xA1:
		q.Notification = arm.Raw
	default:
		err = fmt.Errorf("%w: a notification, have %s", tlv.ErrMissing, arm.Tag)
	}
	return q, err
}

func (q *HandleNotification) appendASN1(dst []byte) []byte {
	return tlv.AppendNested(dst, rsp.TagHandleNotification, func(dst []byte) []byte {
		if q.Result != nil {
			return q.Result.appendASN1(dst)
		}
		return tlv.Append(dst, 0xA0, q.Notification)
	})
}

// runID takes the transaction identifier of an SM-DP+ if it is there.
func runID(r *tlv.Reader) rsp.TransactionID {
	if r.Peek() != 0x80 {
		return rsp.TransactionID{}
	}
	return requiredRunID(r)
}

func requiredRunID(r *tlv.Reader) rsp.TransactionID {
	v := r.Value(0x80)
	if r.Err() != nil {
		return rsp.TransactionID{}
	}
	id, err := rsp.TransactionIDFromOctets(v)
	r.Fail(err)
	return id
}

func appendRunID(dst []byte, id rsp.TransactionID) []byte {
	if id.IsZero() {
		return dst
	}
	return id.Append(dst, 0x80)
}
