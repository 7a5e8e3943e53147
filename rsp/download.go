package rsp

import (
	"crypto"
	"fmt"

	"godwit/pki"
	"godwit/tlv"
)

// TagPrepareDownload is the tag of the command and of its answer.
const TagPrepareDownload tlv.Tag = 0xBF21

// SMDPSigned2 is what an SM-DP+ vouches for before a download.
type SMDPSigned2 struct {
	TransactionID TransactionID
	CodeRequired  bool
	OneTimeKey    []byte // the eUICC's key that a kept package is bound to, or nil
}

// Append appends the structure.
func (s *SMDPSigned2) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
		dst = s.TransactionID.Append(dst, 0x80)
		dst = tlv.AppendBool(dst, tlv.Boolean, s.CodeRequired)
		if s.OneTimeKey != nil {
			dst = tlv.Append(dst, TagOneTimeKey, s.OneTimeKey)
		}
		return dst
	})
}

// Sign returns the octets of the structure and the DPpb key's signature, which
// covers the eUICC's first signature as well.
func (s *SMDPSigned2) Sign(signer crypto.Signer, euiccSignature1 []byte) (raw, signature []byte, err error) {
	raw = s.Append(nil)
	signature, err = pki.Sign(signer, AppendSignature(raw[:len(raw):len(raw)], euiccSignature1))
	return raw, signature, err
}

// ReadSMDPSigned2 reads the structure without a verdict on its signature. It is
// for the LPA, which needs to know whether to ask for a confirmation code; the
// eUICC verifies.
func ReadSMDPSigned2(raw []byte) (*SMDPSigned2, error) {
	e, err := tlv.ParseTag(raw, tlv.Sequence)
	if err != nil {
		return nil, fmt.Errorf("read smdpSigned2: %w", err)
	}
	r := e.Reader()
	s := &SMDPSigned2{}
	s.TransactionID = transactionID(&r, 0x80)
	s.CodeRequired = r.Bool(tlv.Boolean)
	if r.Peek() == TagOneTimeKey {
		s.OneTimeKey = r.Fixed(TagOneTimeKey, PointSize)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read smdpSigned2: %w", err)
	}
	return s, nil
}

// A PrepareDownloadRequest is the ES10b command by which the LPA asks the eUICC
// to get ready.
type PrepareDownloadRequest struct {
	HashedCode  []byte // hashCc, 32 octets or nil
	Certificate []byte // DPpb, DER

	signed2, signature2 []byte
}

// AppendPrepareDownload appends the command made of a server's answer, whose
// members are passed on as they arrived.
func AppendPrepareDownload(dst []byte, answer *AuthenticateClientResponse, hashedCode []byte) []byte {
	return tlv.AppendNested(dst, TagPrepareDownload, func(dst []byte) []byte {
		dst = append(dst, answer.SMDPSigned2...)
		dst = append(dst, answer.SMDPSignature2...)
		if hashedCode != nil {
			dst = tlv.Append(dst, tlv.OctetString, hashedCode)
		}
		return append(dst, answer.SMDPCertificate...)
	})
}

// ParsePrepareDownloadRequest reads the command.
func ParsePrepareDownloadRequest(der []byte) (*PrepareDownloadRequest, error) {
	e, err := tlv.ParseTag(der, TagPrepareDownload)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	q := &PrepareDownloadRequest{}
	q.signed2 = r.Element(tlv.Sequence).Raw
	q.signature2 = r.Fixed(TagSignature, SignatureSize)
	if r.Peek() == tlv.OctetString {
		q.HashedCode = r.Fixed(tlv.OctetString, HashSize)
	}
	q.Certificate = r.Element(tlv.Sequence).Raw
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read PrepareDownloadRequest: %w", err)
	}
	return q, nil
}

// Verify checks the SM-DP+'s signature with the key of its DPpb certificate, and
// then reads what it vouches for. euiccSignature1 is the eUICC's own.
func (q *PrepareDownloadRequest) Verify(key *pki.PublicKey, euiccSignature1 []byte) (*SMDPSigned2, error) {
	if !key.VerifyDigest(digest(q.signed2, AppendSignature(nil, euiccSignature1)), q.signature2) {
		return nil, fmt.Errorf("smdpSignature2: %w", ErrSignature)
	}
	return ReadSMDPSigned2(q.signed2)
}

// Signature returns smdpSignature2, which euiccSignature2 covers.
func (q *PrepareDownloadRequest) Signature() []byte { return q.signature2 }

// A DownloadError is why an eUICC would not prepare a download.
type DownloadError int64

// Reasons of SGP.22 v2.5, 5.7.5.
const (
	DownloadInvalidCertificate   DownloadError = 1
	DownloadInvalidSignature     DownloadError = 2
	DownloadUnsupportedCurve     DownloadError = 3
	DownloadNoSession            DownloadError = 4
	DownloadInvalidTransactionID DownloadError = 5
	DownloadUndefined            DownloadError = 127
)

// EUICCSigned2 is what an eUICC vouches for before a download. The only way to
// one is [PrepareDownloadResponse.Verify].
type EUICCSigned2 struct {
	TransactionID TransactionID
	OneTimeKey    []byte // otPK.eUICC, an uncompressed point that nobody has checked yet
	HashedCode    []byte // hashCc, nil when absent
}

// AppendEUICCSigned2 appends the structure that an eUICC signs.
func AppendEUICCSigned2(dst []byte, id TransactionID, oneTimeKey, hashedCode []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
		dst = id.Append(dst, 0x80)
		dst = tlv.Append(dst, TagOneTimeKey, oneTimeKey)
		if hashedCode != nil {
			dst = tlv.Append(dst, tlv.OctetString, hashedCode)
		}
		return dst
	})
}

// SignEUICCSigned2 returns the eUICC's signature over signed2, which covers the
// SM-DP+'s second signature as well.
func SignEUICCSigned2(signer crypto.Signer, signed2, smdpSignature2 []byte) ([]byte, error) {
	return pki.Sign(signer, AppendSignature(signed2[:len(signed2):len(signed2)], smdpSignature2))
}

// A PrepareDownloadResponse is the eUICC's answer.
type PrepareDownloadResponse struct {
	TransactionID TransactionID // as the octets claim: good for finding the run, proved by Verify alone
	Error         DownloadError // 0 when the eUICC is ready

	signed2, signature2 []byte
}

// AppendPrepareDownloadResponse appends the answer of an eUICC that is ready.
func AppendPrepareDownloadResponse(dst, signed2, signature []byte) []byte {
	return tlv.AppendNested(dst, TagPrepareDownload, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			return AppendSignature(append(dst, signed2...), signature)
		})
	})
}

// AppendPrepareDownloadError appends the answer of an eUICC that refuses.
func AppendPrepareDownloadError(dst []byte, id TransactionID, reason DownloadError) []byte {
	return appendError(dst, TagPrepareDownload, id, int64(reason))
}

// ParsePrepareDownloadResponse reads the answer.
func ParsePrepareDownloadResponse(der []byte) (*PrepareDownloadResponse, error) {
	arm, err := tlv.ParseChoice(der, TagPrepareDownload)
	if err != nil {
		return nil, err
	}
	p := &PrepareDownloadResponse{}
	r := arm.Reader()
	if arm.Tag != 0xA0 {
		var code int64
		p.TransactionID, code, err = readError(r)
		p.Error = DownloadError(code)
		return p, wrap("read PrepareDownloadResponse", err)
	}
	signed := r.Element(tlv.Sequence)
	p.signed2 = signed.Raw
	p.signature2 = r.Fixed(TagSignature, SignatureSize)
	inner := signed.Reader()
	p.TransactionID = transactionID(&inner, 0x80)
	for _, r := range []*tlv.Reader{&r, &inner} {
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read PrepareDownloadResponse: %w", err)
		}
	}
	return p, nil
}

// Verify checks the eUICC's signature with the key of its certificate, and then
// reads what it vouches for. smdpSignature2 is the server's own of this run.
func (p *PrepareDownloadResponse) Verify(key *pki.PublicKey, smdpSignature2 []byte) (*EUICCSigned2, error) {
	if p.Error != 0 {
		return nil, fmt.Errorf("the eUICC refused the download with error %d", p.Error)
	}
	return VerifyEUICCSigned2(p.signed2, p.signature2, smdpSignature2, key)
}

// VerifyEUICCSigned2 checks signature over the octets of raw as they arrived
// and the SM-DP+'s second signature, and only then reads them.
func VerifyEUICCSigned2(raw, signature, smdpSignature2 []byte, key *pki.PublicKey) (*EUICCSigned2, error) {
	if !key.VerifyDigest(digest(raw, AppendSignature(nil, smdpSignature2)), signature) {
		return nil, fmt.Errorf("euiccSignature2: %w", ErrSignature)
	}
	e, err := tlv.ParseTag(raw, tlv.Sequence)
	if err != nil {
		return nil, fmt.Errorf("read euiccSigned2: %w", err)
	}
	r := e.Reader()
	s := &EUICCSigned2{}
	s.TransactionID = transactionID(&r, 0x80)
	s.OneTimeKey = r.Fixed(TagOneTimeKey, PointSize)
	if r.Peek() == tlv.OctetString {
		s.HashedCode = r.Fixed(tlv.OctetString, HashSize)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read euiccSigned2: %w", err)
	}
	return s, nil
}
