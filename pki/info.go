package pki

import (
	"fmt"

	"godwit/tlv"
)

// ParsePublicKeyInfo reads a SubjectPublicKeyInfo: the form in which keys travel
// outside of certificates. RFC 5480, 2.
func ParsePublicKeyInfo(der []byte) (*PublicKey, error) {
	if len(der) > MaxCertificate {
		return nil, fmt.Errorf("%w: a public key of %d octets", ErrKey, len(der))
	}
	var c Certificate
	r := tlv.NewReader(der)
	c.readPublicKey(&r)
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	return c.PublicKey, nil
}

// Info returns the key as a SubjectPublicKeyInfo, DER.
func (k *PublicKey) Info() []byte {
	return tlv.AppendNested(nil, tlv.Sequence, func(b []byte) []byte {
		return appendBits(appendAlgorithm(b, k.curve), k.point[:])
	})
}
