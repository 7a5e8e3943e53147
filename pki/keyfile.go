package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"godwit/tlv"
)

// ErrKey reports octets that are no private key of a curve in use.
var ErrKey = errors.New("not a private key")

// ParseKey reads a private key in PEM or DER: PKCS #8, or the older form of
// SEC 1 (BEGIN EC PRIVATE KEY) that the published test keys have.
func ParseKey(b []byte) (crypto.Signer, error) {
	rest := b
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "PRIVATE KEY", "EC PRIVATE KEY":
			return parseKeyDER(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, fmt.Errorf("%w in the clear: it is encrypted; decrypt it first (openssl pkey -in FILE)", ErrKey)
		}
	}
	if bytes.Contains(b, []byte("-----BEGIN")) {
		return nil, fmt.Errorf("%w: the PEM text holds no PRIVATE KEY block", ErrKey)
	}
	return parseKeyDER(b)
}

// parseKeyDER reads either form. RFC 5958, 2: version, algorithm, octet string;
// RFC 5915, 3: version 1, octet string, [0] curve.
func parseKeyDER(der []byte) (crypto.Signer, error) {
	r := tlv.NewReader(der)
	seq := r.Sub(tlv.Sequence)
	version := seq.Int(tlv.Integer)
	if err := r.Close(); err != nil || seq.Err() != nil {
		return nil, fmt.Errorf("%w: it is neither PKCS #8 nor SEC 1", ErrKey)
	}
	if seq.Peek() == tlv.OctetString && version == 1 {
		return parseSEC1(seq, 0)
	}
	algorithm := seq.Sub(tlv.Sequence)
	if oid := algorithm.Value(tlv.OID); string(oid) != oidECPublicKey {
		return nil, fmt.Errorf("%w of an elliptic curve", ErrKey)
	}
	curve, err := curveOf(algorithm.Value(tlv.OID))
	if err != nil {
		return nil, err
	}
	inner := tlv.NewReader(seq.Value(tlv.OctetString))
	fields := inner.Sub(tlv.Sequence)
	if v := fields.Int(tlv.Integer); fields.Err() != nil || seq.Err() != nil || v != 1 {
		return nil, fmt.Errorf("%w: damaged PKCS #8", ErrKey)
	}
	return parseSEC1(fields, curve)
}

// parseSEC1 reads what follows the version. The curve may stand outside.
func parseSEC1(seq tlv.Reader, curve Curve) (crypto.Signer, error) {
	number := seq.Value(tlv.OctetString)
	if parameters, ok := seq.Optional(tlv.ContextConstructed(0)); ok {
		p := parameters.Reader()
		named, err := curveOf(p.Value(tlv.OID))
		if err != nil {
			return nil, err
		}
		if curve != 0 && named != curve {
			return nil, fmt.Errorf("%w: it names two curves", ErrKey)
		}
		curve = named
	}
	var point []byte
	if public, ok := seq.Optional(tlv.ContextConstructed(1)); ok {
		p := public.Reader()
		if v := p.Value(tlv.BitString); len(v) > 0 {
			point = v[1:]
		}
	}
	if seq.Err() != nil || len(number) == 0 || len(number) > 32 {
		return nil, fmt.Errorf("%w: damaged SEC 1", ErrKey)
	}
	d := make([]byte, 32)
	copy(d[32-len(number):], number)
	signer, err := keyFrom(curve, d)
	if err != nil {
		return nil, err
	}
	public, err := PublicKeyOf(signer)
	if err != nil {
		return nil, err
	}
	if point != nil && !bytes.Equal(point, public.Bytes()) {
		return nil, fmt.Errorf("%w: its public half belongs to another key", ErrKey)
	}
	return signer, nil
}

func keyFrom(curve Curve, d []byte) (crypto.Signer, error) {
	switch curve {
	case P256:
		key, err := ecdsa.ParseRawPrivateKey(curve.elliptic(), d)
		if err != nil {
			return nil, ErrKey
		}
		return key, nil
	case BrainpoolP256r1:
		return brainpoolKeyFrom(d)
	}
	return nil, fmt.Errorf("%w: it names no curve", ErrKey)
}

// MarshalKey returns a software key as PKCS #8 in PEM. Keys in hardware do not
// come out.
func MarshalKey(signer crypto.Signer) ([]byte, error) {
	var der []byte
	switch key := signer.(type) {
	case *ecdsa.PrivateKey:
		var err error
		if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return nil, fmt.Errorf("write key: %w", err)
		}
	case *brainpoolKey:
		der = key.pkcs8()
	default:
		return nil, fmt.Errorf("a key of type %T cannot be written", signer)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func (k *brainpoolKey) pkcs8() []byte {
	return tlv.AppendNested(nil, tlv.Sequence, func(b []byte) []byte {
		b = tlv.AppendInt(b, tlv.Integer, 0)
		b = appendAlgorithm(b, BrainpoolP256r1)
		return tlv.AppendNested(b, tlv.OctetString, func(b []byte) []byte {
			return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				b = tlv.AppendInt(b, tlv.Integer, 1)
				b = tlv.Append(b, tlv.OctetString, k.number())
				return tlv.AppendNested(b, tlv.ContextConstructed(1), func(b []byte) []byte {
					return appendBits(b, k.public.Bytes())
				})
			})
		})
	})
}

// oidECPublicKey is id-ecPublicKey. RFC 5480, 2.1.1.
const oidECPublicKey = "\x2A\x86\x48\xCE\x3D\x02\x01"

// appendAlgorithm appends the AlgorithmIdentifier of a key.
func appendAlgorithm(dst []byte, curve Curve) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(b []byte) []byte {
		b = tlv.AppendString(b, tlv.OID, oidECPublicKey)
		return tlv.AppendString(b, tlv.OID, curve.oid())
	})
}

// appendBits appends a BIT STRING of whole octets.
func appendBits(dst, value []byte) []byte {
	dst = tlv.AppendHeader(dst, tlv.BitString, len(value)+1)
	return append(append(dst, 0), value...)
}
