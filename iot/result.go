package iot

import (
	"crypto"
	"fmt"

	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// A PackageResult is an eUICC's answer to a package, one of three: the results of
// the commands, signed; a signed error; or an error that is not signed, because
// the eUICC could not find out whom it talks to. SGP.32 v1.2, 2.11.2.1.
type PackageResult struct {
	EimID         string
	Counter       int64  // of the request; not in an unsigned error
	TransactionID []byte // of the request, or nil

	Sequence int64      // of signed results: shares its numbers with notifications
	Results  []OpResult // of signed results

	ErrorCode *int64 // of a signed error: [PackageReplay] and so on

	Unsigned bool   // an unsigned error
	Token    *int64 // of an unsigned error: the association token, may be nil

	Raw []byte // as it arrived, BF51
}

// The arms of BF51.
const (
	armResult        tlv.Tag = 0xA0
	armError         tlv.Tag = 0xA1
	armUnsignedError tlv.Tag = 0xA2
)

func (p *PackageResult) append(dst []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
		dst = tlv.AppendString(dst, 0x80, p.EimID)
		dst = tlv.AppendInt(dst, 0x81, p.Counter)
		dst = appendTransactionID(dst, 0x82, p.TransactionID)
		if p.ErrorCode != nil {
			return tlv.AppendInt(dst, tlv.Integer, *p.ErrorCode)
		}
		dst = tlv.AppendInt(dst, 0x83, p.Sequence)
		return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
			for i := range p.Results {
				dst = p.Results[i].append(dst)
			}
			return dst
		})
	})
}

// Sign returns the whole answer, BF51. An unsigned error takes no signer; token
// is the one of the association, or nil.
func (p *PackageResult) Sign(signer crypto.Signer, token *int64) ([]byte, error) {
	if p.Unsigned {
		return tlv.AppendNested(nil, TagPackage, func(dst []byte) []byte {
			return tlv.AppendNested(dst, armUnsignedError, func(dst []byte) []byte {
				dst = tlv.AppendString(dst, 0x80, p.EimID)
				dst = appendTransactionID(dst, 0x82, p.TransactionID)
				return appendOptionalInt(dst, 0x84, p.Token)
			})
		}), nil
	}
	signed := p.append(nil)
	signature, err := sign(signer, signed, token)
	if err != nil {
		return nil, fmt.Errorf("sign eUICC package result: %w", err)
	}
	arm := armResult
	if p.ErrorCode != nil {
		arm = armError
	}
	return tlv.AppendNested(nil, TagPackage, func(dst []byte) []byte {
		return tlv.AppendNested(dst, arm, func(dst []byte) []byte {
			return rsp.AppendSignature(append(dst, signed...), signature)
		})
	}), nil
}

// ReadResult reads a whole answer without a verdict on its signature. It is for
// the IPA, which got it from the eUICC itself, and for showing it to people.
func ReadResult(der []byte) (*PackageResult, error) {
	arm, err := resultArm(der)
	if err != nil {
		return nil, err
	}
	p, r, err := readHeader(arm, der)
	if err != nil {
		return nil, err
	}
	return p, p.readRest(arm.Tag, r)
}

// ReadResultHeader reads which package an answer claims to be for, without a
// verdict on its signature and without the results: good for finding the order
// and the key.
func ReadResultHeader(der []byte) (*PackageResult, error) {
	arm, err := resultArm(der)
	if err != nil {
		return nil, err
	}
	p, r, err := readHeader(arm, der)
	if err != nil {
		return nil, err
	}
	if arm.Tag != armResult {
		return p, p.readRest(arm.Tag, r)
	}
	p.Sequence = r.Int(0x83)
	return p, wrap("read eUICC package result", r.Err())
}

// VerifyPackageResult checks the eUICC's signature over the octets as they
// arrived and the token, and only then reads the answer. The error wraps
// [rsp.ErrSignature] when the signature is wrong. An unsigned error verifies
// nothing and comes back with Unsigned set: whoever is on the way can send one.
func VerifyPackageResult(der []byte, key *pki.PublicKey, token *int64) (*PackageResult, error) {
	arm, err := resultArm(der)
	if err != nil {
		return nil, err
	}
	if arm.Tag != armUnsignedError {
		r := arm.Reader()
		signed := r.Element(tlv.Sequence)
		sig := signature(&r)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read eUICC package result: %w", err)
		}
		if !verify(key, signed.Raw, sig, token) {
			return nil, fmt.Errorf("euiccSignEPR: %w", rsp.ErrSignature)
		}
	}
	p, r, err := readHeader(arm, der)
	if err != nil {
		return nil, err
	}
	return p, p.readRest(arm.Tag, r)
}

// resultArm finds the arm of an answer. Peers that leave its tag out and write a
// plain SEQUENCE are understood: results have a sequence number, signed errors
// none, and unsigned ones begin with the eIM's name.
func resultArm(der []byte) (tlv.Element, error) {
	arm, err := tlv.ParseChoice(der, TagPackage)
	if err != nil {
		return arm, fmt.Errorf("read eUICC package result: %w", err)
	}
	if arm.Tag != tlv.Sequence {
		return arm, nil
	}
	r := arm.Reader()
	if r.Peek() != tlv.Sequence {
		arm.Tag = armUnsignedError
		return arm, nil
	}
	arm.Tag = armError
	signed := r.Sub(tlv.Sequence)
	for _, e := range elements(&signed, MaxCommands) {
		if e.Tag == 0x83 {
			arm.Tag = armResult
		}
	}
	return arm, nil
}

// readHeader reads the fields that all arms begin with, and returns the reader of
// the others.
func readHeader(arm tlv.Element, der []byte) (*PackageResult, *tlv.Reader, error) {
	p := &PackageResult{Raw: der}
	r := arm.Reader()
	switch arm.Tag {
	case armResult, armError:
		r = r.Sub(tlv.Sequence)
		p.EimID = eimID(&r)
		p.Counter = r.Int(0x81)
	case armUnsignedError:
		p.Unsigned = true
		p.EimID = eimID(&r)
	default:
		return nil, nil, fmt.Errorf("read eUICC package result: %w: have %s", tlv.ErrMissing, arm.Tag)
	}
	p.TransactionID = transactionID(&r, 0x82)
	return p, &r, wrap("read eUICC package result", r.Err())
}

func (p *PackageResult) readRest(arm tlv.Tag, r *tlv.Reader) error {
	switch arm {
	case armResult:
		p.Sequence = r.Int(0x83)
		list := r.Sub(tlv.Sequence)
		items := elements(&list, MaxCommands)
		if err := list.Err(); err != nil {
			return fmt.Errorf("read eUICC package result: %w", err)
		}
		for i, e := range items {
			o, err := readOpResult(e)
			if err != nil {
				return fmt.Errorf("read eUICC package result: result %d: %w", i+1, err)
			}
			p.Results = append(p.Results, *o)
		}
	case armError:
		code := r.Int(tlv.Integer)
		p.ErrorCode = &code
	case armUnsignedError:
		p.Token = optionalInt(r, 0x84)
	}
	return wrap("read eUICC package result", r.Err())
}
