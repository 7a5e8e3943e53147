package iot

import (
	"crypto"
	"errors"
	"fmt"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// A PackageRequest is what an eIM wants an eUICC to do: euiccPackageSigned of
// BF51. One of the two lists is set. SGP.32 v1.2, 2.11.1.1.
type PackageRequest struct {
	EimID         string
	EID           ident.EID
	Counter       int64
	TransactionID []byte // eimTransactionId, 1 to 16 octets, or nil
	PSMO          []PSMO
	ECO           []ECO
}

// append appends the part that is signed.
func (p *PackageRequest) append(dst []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
		dst = tlv.AppendString(dst, 0x80, p.EimID)
		dst = tlv.Append(dst, rsp.TagICCID, p.EID.Octets())
		dst = tlv.AppendInt(dst, 0x81, p.Counter)
		dst = appendTransactionID(dst, 0x82, p.TransactionID)
		if p.ECO != nil {
			return tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
				for i := range p.ECO {
					dst = p.ECO[i].append(dst)
				}
				return dst
			})
		}
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			for i := range p.PSMO {
				dst = p.PSMO[i].append(dst)
			}
			return dst
		})
	})
}

// Check returns an error when an eUICC that keeps to SGP.32 would not process the
// package: the rules of 2.11.1.1.
func (p *PackageRequest) Check() error {
	switch {
	case p.EimID == "" || len(p.EimID) > MaxEimID:
		return fmt.Errorf("an eIM identifier has 1 to %d octets, not %d", MaxEimID, len(p.EimID))
	case len(p.EID) != 32:
		return fmt.Errorf("the package names no EID")
	case p.Counter < 0 || p.Counter > MaxCounter:
		return fmt.Errorf("the counter of a package is 0 to %d, not %d", MaxCounter, p.Counter)
	case p.TransactionID != nil && (len(p.TransactionID) == 0 || len(p.TransactionID) > 16):
		return fmt.Errorf("a transaction identifier has 1 to 16 octets, not %d", len(p.TransactionID))
	case (len(p.PSMO) == 0) == (len(p.ECO) == 0):
		return fmt.Errorf("a package has profile operations or eIM operations, one of the two")
	case len(p.PSMO)+len(p.ECO) > MaxCommands:
		return fmt.Errorf("a package has at most %d commands, not %d", MaxCommands, len(p.PSMO)+len(p.ECO))
	}
	return checkOrder(p.PSMO)
}

// Sign returns the whole package, BF51, signed by the eIM. token is the
// association token that eIM and eUICC agreed on, or nil.
func (p *PackageRequest) Sign(signer crypto.Signer, token *int64) ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	signed := p.append(nil)
	signature, err := sign(signer, signed, token)
	if err != nil {
		return nil, fmt.Errorf("sign eUICC package: %w", err)
	}
	return tlv.AppendNested(nil, TagPackage, func(dst []byte) []byte {
		return rsp.AppendSignature(append(dst, signed...), signature)
	}), nil
}

// requestParts takes a package apart: what is signed, and the signature.
func requestParts(der []byte) (signed tlv.Element, sig []byte, err error) {
	e, err := tlv.ParseTag(der, TagPackage)
	if err != nil {
		return signed, nil, fmt.Errorf("read eUICC package: %w", err)
	}
	r := e.Reader()
	signed = r.Element(tlv.Sequence)
	sig = signature(&r)
	return signed, sig, wrap("read eUICC package", r.Err())
}

// ReadPackageHeader reads who a package claims to be from and which order it
// names, without a verdict on its signature: the eUICC finds the key by it.
func ReadPackageHeader(der []byte) (eim string, id []byte, err error) {
	signed, _, err := requestParts(der)
	if err != nil {
		return "", nil, err
	}
	r := signed.Reader()
	eim = eimID(&r)
	r.Fixed(rsp.TagICCID, 16)
	r.Int(0x81)
	id = transactionID(&r, 0x82)
	return eim, id, wrap("read eUICC package", r.Err())
}

// VerifyPackageRequest checks the eIM's signature over the octets as they arrived
// and the token, and only then reads the package. The error wraps
// [rsp.ErrSignature] when the signature is wrong. Commands that cannot be read
// are in the lists with [OpUnknown]: the eUICC executes those before them. Where
// the lists themselves cannot be read, the package comes without them beside the
// error, which wraps [tlv.ErrTooLong] when one is too long.
func VerifyPackageRequest(der []byte, key *pki.PublicKey, token *int64) (*PackageRequest, error) {
	signed, sig, err := requestParts(der)
	if err != nil {
		return nil, err
	}
	if !verify(key, signed.Raw, sig, token) {
		return nil, fmt.Errorf("eimSignature: %w", rsp.ErrSignature)
	}
	return readPackageRequest(signed)
}

// UnreadableCode is the error code with which an eUICC refuses a package whose
// lists it cannot read, by the error of [VerifyPackageRequest]; 0 without one.
func UnreadableCode(err error) int64 {
	switch {
	case errors.Is(err, tlv.ErrTooLong):
		return PackageTooLong
	case err != nil:
		return PackageUndefined
	}
	return rsp.ResultOK
}

// ReadPackageRequest reads a package without a verdict on its signature. It is
// for the IPA, which looks at what it passes on, and for showing it to people.
// With an error the package is to be ignored.
func ReadPackageRequest(der []byte) (*PackageRequest, error) {
	signed, _, err := requestParts(der)
	if err != nil {
		return nil, err
	}
	return readPackageRequest(signed)
}

func readPackageRequest(signed tlv.Element) (*PackageRequest, error) {
	r := signed.Reader()
	p := &PackageRequest{EimID: eimID(&r)}
	// An eUICC compares the octets with its own EID: odd ones are refused there,
	// with a signed error.
	octets := r.Fixed(rsp.TagICCID, 16)
	p.Counter = r.Int(0x81)
	p.TransactionID = transactionID(&r, 0x82)
	list := r.Next()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read eUICC package: %w", err)
	}
	p.EID, _ = ident.EIDFromOctets(octets)
	commands := list.Reader()
	items := elements(&commands, MaxCommands)
	if err := commands.Err(); err != nil {
		return p, fmt.Errorf("read eUICC package: %w", err)
	}
	if second := r.Peek(); second == 0xA0 || second == 0xA1 {
		return p, fmt.Errorf("read eUICC package: %w: a second list of commands", tlv.ErrTrailing)
	}
	switch list.Tag {
	case 0xA0:
		for _, e := range items {
			p.PSMO = append(p.PSMO, readPSMO(e))
		}
	case 0xA1:
		for _, e := range items {
			p.ECO = append(p.ECO, readECO(e))
		}
	default:
		return p, fmt.Errorf("read eUICC package: %w: a list of commands, have %s", tlv.ErrMissing, list.Tag)
	}
	return p, nil
}
