package rsp

import (
	"crypto"
	"crypto/sha256"
	"fmt"

	"godwit/pki"
	"godwit/tlv"
)

// TagAuthenticateServer is the tag of the command and of its answer.
const TagAuthenticateServer tlv.Tag = 0xBF38

// ServerSigned1 is what a server vouches for when it authenticates. SGP.22
// v2.5, 5.6.1.
type ServerSigned1 struct {
	TransactionID   TransactionID
	EUICCChallenge  []byte
	ServerAddress   string
	ServerChallenge []byte
}

// Append appends the structure.
func (s *ServerSigned1) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
		dst = s.TransactionID.Append(dst, 0x80)
		dst = tlv.Append(dst, 0x81, s.EUICCChallenge)
		dst = tlv.AppendString(dst, 0x83, s.ServerAddress)
		return tlv.Append(dst, 0x84, s.ServerChallenge)
	})
}

// Sign returns the octets of the structure and the DPauth (or DSauth) key's
// signature over them.
func (s *ServerSigned1) Sign(signer crypto.Signer) (raw, signature []byte, err error) {
	raw = s.Append(nil)
	signature, err = pki.Sign(signer, raw)
	return raw, signature, err
}

// ReadServerSigned1 reads the structure without a verdict on its signature. It
// is for the LPA, which compares the address with the one it called, and leaves
// the signature to the eUICC. SGP.22 v2.5, 3.0.1.
func ReadServerSigned1(raw []byte) (*ServerSigned1, error) {
	e, err := tlv.ParseTag(raw, tlv.Sequence)
	if err != nil {
		return nil, fmt.Errorf("read serverSigned1: %w", err)
	}
	r := e.Reader()
	s := &ServerSigned1{}
	s.TransactionID = transactionID(&r, 0x80)
	s.EUICCChallenge = r.Fixed(0x81, ChallengeSize)
	s.ServerAddress = string(r.Value(0x83))
	s.ServerChallenge = r.Fixed(0x84, ChallengeSize)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read serverSigned1: %w", err)
	}
	return s, nil
}

// An AuthenticateServerRequest is the ES10b command by which the LPA presents a
// server to the eUICC.
type AuthenticateServerRequest struct {
	CIKeyID     []byte // key under which the eUICC shall sign
	Certificate []byte // of the server, DER
	Context     CtxParams1

	signed1, signature1 []byte
}

// AppendAuthenticateServer appends the command made of a server's answer, whose
// members are passed on as they arrived.
func AppendAuthenticateServer(dst []byte, answer *InitiateAuthenticationResponse, context *CtxParams1) []byte {
	return tlv.AppendNested(dst, TagAuthenticateServer, func(dst []byte) []byte {
		dst = append(dst, answer.ServerSigned1...)
		dst = append(dst, answer.ServerSignature1...)
		dst = append(dst, answer.CIKeyID...)
		dst = append(dst, answer.ServerCertificate...)
		return context.Append(dst)
	})
}

// ParseAuthenticateServerRequest reads the command.
func ParseAuthenticateServerRequest(der []byte) (*AuthenticateServerRequest, error) {
	e, err := tlv.ParseTag(der, TagAuthenticateServer)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	q := &AuthenticateServerRequest{}
	q.signed1 = r.Element(tlv.Sequence).Raw
	q.signature1 = r.Fixed(TagSignature, SignatureSize)
	q.CIKeyID = r.Value(tlv.OctetString)
	q.Certificate = r.Element(tlv.Sequence).Raw
	context := r.Next()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read AuthenticateServerRequest: %w", err)
	}
	c, err := readCtxParams1(context)
	if err != nil {
		return nil, err
	}
	q.Context = *c
	return q, nil
}

// Verify checks the server's signature with the key of its certificate and then
// reads what it vouches for.
func (q *AuthenticateServerRequest) Verify(key *pki.PublicKey) (*ServerSigned1, error) {
	if !key.Verify(q.signed1, q.signature1) {
		return nil, fmt.Errorf("serverSignature1: %w", ErrSignature)
	}
	return ReadServerSigned1(q.signed1)
}

// An AuthenticateError is why an eUICC refused a server.
type AuthenticateError int64

// Reasons of SGP.22 v2.5, 5.7.13.
const (
	AuthInvalidCertificate AuthenticateError = 1
	AuthInvalidSignature   AuthenticateError = 2
	AuthUnsupportedCurve   AuthenticateError = 3
	AuthNoSession          AuthenticateError = 4
	AuthInvalidOID         AuthenticateError = 5
	AuthChallengeMismatch  AuthenticateError = 6
	AuthCIUnknown          AuthenticateError = 7
	AuthUndefined          AuthenticateError = 127
)

// EUICCSigned1 is what an eUICC vouches for when it authenticates. The only way
// to one is [AuthenticateServerResponse.Verify].
type EUICCSigned1 struct {
	TransactionID   TransactionID
	ServerAddress   string
	ServerChallenge []byte
	Info            EUICCInfo2
	Context         CtxParams1
}

// AppendEUICCSigned1 appends the structure that an eUICC signs. info2 and
// context are whole elements; context is repeated as it came from the LPA.
func AppendEUICCSigned1(dst []byte, server *ServerSigned1, info2, context []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
		dst = server.TransactionID.Append(dst, 0x80)
		dst = tlv.AppendString(dst, 0x83, server.ServerAddress)
		dst = tlv.Append(dst, 0x84, server.ServerChallenge)
		dst = append(dst, info2...)
		return append(dst, context...)
	})
}

// An AuthenticateServerResponse is the eUICC's answer to a server.
type AuthenticateServerResponse struct {
	TransactionID    TransactionID     // as the octets claim: good for finding the run, proved by Verify alone
	Error            AuthenticateError // 0 when the eUICC accepted the server
	EUICCCertificate []byte            // DER
	EUMCertificate   []byte            // DER
	Signature        []byte            // euiccSignature1, which smdpSignature2 covers

	signed1 []byte
}

// AppendAuthenticateServerResponse appends the answer of an eUICC that accepts.
func AppendAuthenticateServerResponse(dst, signed1, signature, euiccCertificate, eumCertificate []byte) []byte {
	return tlv.AppendNested(dst, TagAuthenticateServer, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			dst = AppendSignature(append(dst, signed1...), signature)
			return append(append(dst, euiccCertificate...), eumCertificate...)
		})
	})
}

// AppendAuthenticateServerError appends the answer of an eUICC that refuses.
func AppendAuthenticateServerError(dst []byte, id TransactionID, reason AuthenticateError) []byte {
	return appendError(dst, TagAuthenticateServer, id, int64(reason))
}

// ParseAuthenticateServerResponse reads the answer.
func ParseAuthenticateServerResponse(der []byte) (*AuthenticateServerResponse, error) {
	arm, err := tlv.ParseChoice(der, TagAuthenticateServer)
	if err != nil {
		return nil, err
	}
	p := &AuthenticateServerResponse{}
	r := arm.Reader()
	if arm.Tag != 0xA0 {
		var code int64
		p.TransactionID, code, err = readError(r)
		p.Error = AuthenticateError(code)
		return p, wrap("read AuthenticateServerResponse", err)
	}
	signed := r.Element(tlv.Sequence)
	p.signed1 = signed.Raw
	p.Signature = r.Fixed(TagSignature, SignatureSize)
	p.EUICCCertificate = r.Element(tlv.Sequence).Raw
	p.EUMCertificate = r.Element(tlv.Sequence).Raw
	inner := signed.Reader()
	p.TransactionID = transactionID(&inner, 0x80)
	for _, r := range []*tlv.Reader{&r, &inner} {
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read AuthenticateServerResponse: %w", err)
		}
	}
	return p, nil
}

// Verify checks the eUICC's signature with the key of its certificate, and then
// reads what it vouches for.
func (p *AuthenticateServerResponse) Verify(key *pki.PublicKey) (*EUICCSigned1, error) {
	if p.Error != 0 {
		return nil, fmt.Errorf("the eUICC refused the server with error %d", p.Error)
	}
	return VerifyEUICCSigned1(p.signed1, p.Signature, key)
}

// VerifyEUICCSigned1 checks signature over the octets of raw as they arrived,
// and only then reads them.
func VerifyEUICCSigned1(raw, signature []byte, key *pki.PublicKey) (*EUICCSigned1, error) {
	if !key.Verify(raw, signature) {
		return nil, fmt.Errorf("euiccSignature1: %w", ErrSignature)
	}
	e, err := tlv.ParseTag(raw, tlv.Sequence)
	if err != nil {
		return nil, fmt.Errorf("read euiccSigned1: %w", err)
	}
	r := e.Reader()
	s := &EUICCSigned1{}
	s.TransactionID = transactionID(&r, 0x80)
	s.ServerAddress = string(r.Value(0x83))
	s.ServerChallenge = r.Fixed(0x84, ChallengeSize)
	info := r.Element(TagEUICCInfo2)
	context := r.Next()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read euiccSigned1: %w", err)
	}
	i, err := readEUICCInfo2(info)
	if err != nil {
		return nil, fmt.Errorf("read euiccSigned1: %w", err)
	}
	c, err := readCtxParams1(context)
	if err != nil {
		return nil, fmt.Errorf("read euiccSigned1: %w", err)
	}
	s.Info, s.Context = *i, *c
	return s, nil
}

// digest hashes parts one after the other, as a signature over their
// concatenation does.
func digest(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(make([]byte, 0, sha256.Size))
}

// transactionID takes the next element as a transaction identifier.
func transactionID(r *tlv.Reader, tag tlv.Tag) TransactionID {
	v := r.Value(tag)
	if r.Err() != nil {
		return TransactionID{}
	}
	id, err := TransactionIDFromOctets(v)
	if err != nil {
		r.Fail(err)
	}
	return id
}

// appendError appends the arm A1{80 transactionId, 02 code}.
func appendError(dst []byte, tag tlv.Tag, id TransactionID, code int64) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
			return tlv.AppendInt(id.Append(dst, 0x80), tlv.Integer, code)
		})
	})
}

// readError reads that arm. Peers that tag the code as well are understood.
func readError(r tlv.Reader) (TransactionID, int64, error) {
	id := transactionID(&r, 0x80)
	tag := tlv.Integer
	if r.Peek() == 0x81 {
		tag = 0x81
	}
	code := r.Int(tag)
	if code == 0 {
		r.Fail(fmt.Errorf("%w: error code 0", tlv.ErrValue))
	}
	return id, code, r.Err()
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
