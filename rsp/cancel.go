package rsp

import (
	"fmt"

	"godwit/ident"
	"godwit/pki"
	"godwit/tlv"
)

// TagCancelSession is the tag of the command, of its answer, and of the ES9+
// function in the ASN.1 binding.
const TagCancelSession tlv.Tag = 0xBF41

// A CancelReason is why a download is given up.
type CancelReason int64

// Reasons of SGP.22 v2.5, 5.7.14.
const (
	CancelUserRejection    CancelReason = 0
	CancelPostponed        CancelReason = 1
	CancelTimeout          CancelReason = 2
	CancelPPRNotAllowed    CancelReason = 3
	CancelMetadataMismatch CancelReason = 4
	CancelLoadError        CancelReason = 5
	CancelUndefined        CancelReason = 127
)

// Temporary reports whether the user may come back to the same order.
func (c CancelReason) Temporary() bool { return c == CancelPostponed || c == CancelTimeout }

// A CancelSessionRequest is the ES10b command.
type CancelSessionRequest struct {
	TransactionID TransactionID
	Reason        CancelReason
}

// Append appends the command.
func (q *CancelSessionRequest) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagCancelSession, func(dst []byte) []byte {
		return tlv.AppendInt(q.TransactionID.Append(dst, 0x80), 0x81, int64(q.Reason))
	})
}

// ParseCancelSessionRequest reads the command.
func ParseCancelSessionRequest(der []byte) (*CancelSessionRequest, error) {
	e, err := tlv.ParseTag(der, TagCancelSession)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	q := &CancelSessionRequest{TransactionID: transactionID(&r, 0x80), Reason: CancelReason(r.Int(0x81))}
	return q, wrap("read CancelSessionRequest", r.Err())
}

// CancelSessionSigned is what an eUICC vouches for when a download is given up.
// The only way to one is [CancelSessionResponse.Verify].
type CancelSessionSigned struct {
	TransactionID TransactionID
	OID           ident.OID // of the SM-DP+, from its DPauth certificate
	Reason        CancelReason
}

// AppendCancelSessionSigned appends the structure that an eUICC signs.
func AppendCancelSessionSigned(dst []byte, id TransactionID, oid ident.OID, reason CancelReason) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
		dst = tlv.Append(id.Append(dst, 0x80), 0x81, oid.Octets())
		return tlv.AppendInt(dst, 0x82, int64(reason))
	})
}

// A CancelSessionResponse is the eUICC's answer.
type CancelSessionResponse struct {
	TransactionID TransactionID // as the octets claim; zero with an error
	Error         int64         // 5 invalid transaction identifier, 127 undefined; 0 when the eUICC agreed

	signed, signature []byte
}

// AppendCancelSessionResponse appends the answer of an eUICC that agrees.
func AppendCancelSessionResponse(dst, signed, signature []byte) []byte {
	return tlv.AppendNested(dst, TagCancelSession, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			return AppendSignature(append(dst, signed...), signature)
		})
	})
}

// AppendCancelSessionError appends the answer of an eUICC that knows no such run.
func AppendCancelSessionError(dst []byte, code int64) []byte {
	return tlv.AppendNested(dst, TagCancelSession, func(dst []byte) []byte {
		return tlv.AppendInt(dst, 0x81, code)
	})
}

// ParseCancelSessionResponse reads the answer.
func ParseCancelSessionResponse(der []byte) (*CancelSessionResponse, error) {
	arm, err := tlv.ParseChoice(der, TagCancelSession)
	if err != nil {
		return nil, err
	}
	p := &CancelSessionResponse{}
	if arm.Tag != 0xA0 {
		p.Error, err = tlv.DecodeInt(arm.Value)
		if err == nil && (arm.Tag != 0x81 && arm.Tag != tlv.Integer || p.Error == 0) {
			err = fmt.Errorf("%w: have %s", tlv.ErrMissing, arm.Tag)
		}
		return p, wrap("read CancelSessionResponse", err)
	}
	r := arm.Reader()
	signed := r.Element(tlv.Sequence)
	p.signed = signed.Raw
	p.signature = r.Fixed(TagSignature, SignatureSize)
	inner := signed.Reader()
	p.TransactionID = transactionID(&inner, 0x80)
	for _, r := range []*tlv.Reader{&r, &inner} {
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read CancelSessionResponse: %w", err)
		}
	}
	return p, nil
}

// Verify checks the eUICC's signature with the key of its certificate, and then
// reads what it vouches for.
func (p *CancelSessionResponse) Verify(key *pki.PublicKey) (*CancelSessionSigned, error) {
	if p.Error != 0 {
		return nil, fmt.Errorf("the eUICC did not cancel: error %d", p.Error)
	}
	if !key.Verify(p.signed, p.signature) {
		return nil, fmt.Errorf("euiccCancelSessionSignature: %w", ErrSignature)
	}
	e, err := tlv.ParseTag(p.signed, tlv.Sequence)
	if err != nil {
		return nil, fmt.Errorf("read euiccCancelSessionSigned: %w", err)
	}
	r := e.Reader()
	s := &CancelSessionSigned{TransactionID: transactionID(&r, 0x80)}
	oid := r.Value(0x81)
	s.Reason = CancelReason(r.Int(0x82))
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read euiccCancelSessionSigned: %w", err)
	}
	if s.OID, err = ident.OIDFromOctets(oid); err != nil {
		return nil, fmt.Errorf("read euiccCancelSessionSigned: %w", err)
	}
	return s, nil
}
