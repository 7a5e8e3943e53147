package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"godwit/tlv"
)

// PointSize is the length of an uncompressed point, 04 | X | Y.
const PointSize = 65

// SignatureSize is the length of a raw signature, r | s. SGP.22 sends no DER
// signatures outside certificates.
const SignatureSize = 64

// ErrPoint reports octets that are no point of the curve.
var ErrPoint = errors.New("not a point of the curve")

// A PublicKey is a point of one of the curves. Every PublicKey in the program
// has been checked to lie on its curve.
type PublicKey struct {
	curve Curve
	point [PointSize]byte
	ecdsa *ecdsa.PublicKey
}

// ParsePublicKey reads an uncompressed point, 65 octets, and checks that it is
// on the curve. A one-time key of a peer that is not would give away our own.
func ParsePublicKey(curve Curve, point []byte) (*PublicKey, error) {
	if len(point) != PointSize || point[0] != 4 {
		return nil, fmt.Errorf("%w: want 04 and 64 octets, have %d octets", ErrPoint, len(point))
	}
	k := &PublicKey{curve: curve}
	copy(k.point[:], point)
	switch curve {
	case P256:
		public, err := ecdsa.ParseUncompressedPublicKey(curve.elliptic(), point)
		if err != nil {
			return nil, ErrPoint
		}
		k.ecdsa = public
	case BrainpoolP256r1:
		public, err := brainpoolPoint(point)
		if err != nil {
			return nil, err
		}
		k.ecdsa = public
	default:
		return nil, ErrCurve
	}
	return k, nil
}

// Curve returns the curve that the key is a point of.
func (k *PublicKey) Curve() Curve { return k.curve }

// Bytes returns the uncompressed point, 65 octets, as 5F49 carries it.
func (k *PublicKey) Bytes() []byte { return k.point[:] }

// ID returns the key identifier: the SHA-1 of the point. It is how SGP.22 names
// a CI (euiccCiPKId). RFC 5280, 4.2.1.2, method 1.
func (k *PublicKey) ID() []byte {
	id := sha1.Sum(k.point[:])
	return id[:]
}

// Equal reports whether both are the same point of the same curve.
func (k *PublicKey) Equal(other crypto.PublicKey) bool {
	o, ok := other.(*PublicKey)
	return ok && k.curve == o.curve && subtle.ConstantTimeCompare(k.point[:], o.point[:]) == 1
}

// Verify reports whether sig, 64 octets r | s, is the key's signature over the
// SHA-256 of msg.
func (k *PublicKey) Verify(msg, sig []byte) bool {
	digest := sha256.Sum256(msg)
	return k.VerifyDigest(digest[:], sig)
}

// VerifyDigest is [PublicKey.Verify] for a message whose SHA-256 is known.
func (k *PublicKey) VerifyDigest(digest, sig []byte) bool {
	if len(sig) != SignatureSize {
		return false
	}
	var buf [SignatureSize + 8]byte
	der := appendSignature(buf[:0], sig)
	return ecdsa.VerifyASN1(k.ecdsa, digest, der)
}

// Sign signs the SHA-256 of msg and returns the raw signature, 64 octets r | s.
// Long-term keys are [crypto.Signer], so that a hardware module can take a
// key's place; they sign a digest and answer in DER, as [ecdsa.PrivateKey] does.
func Sign(signer crypto.Signer, msg []byte) ([]byte, error) {
	digest := sha256.Sum256(msg)
	der, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig, err := RawSignature(der)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sig, nil
}

// PublicKeyOf returns the public half of a signer.
func PublicKeyOf(signer crypto.Signer) (*PublicKey, error) {
	switch public := signer.Public().(type) {
	case *PublicKey:
		return public, nil
	case *ecdsa.PublicKey:
		curve, err := curveNamed(public.Params().Name)
		if err != nil {
			return nil, err
		}
		if curve == BrainpoolP256r1 {
			return newBrainpoolPublic(public)
		}
		point, err := public.Bytes()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPoint, err)
		}
		return ParsePublicKey(curve, point)
	default:
		return nil, fmt.Errorf("%w: a key of type %T", ErrCurve, public)
	}
}

func curveNamed(name string) (Curve, error) {
	for _, c := range []Curve{P256, BrainpoolP256r1} {
		if c.elliptic().Params().Name == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("%w: %s", ErrCurve, name)
}

// GenerateKey makes a long-term key.
func GenerateKey(curve Curve) (crypto.Signer, error) {
	switch curve {
	case P256:
		return ecdsa.GenerateKey(curve.elliptic(), rand.Reader)
	case BrainpoolP256r1:
		key, err := ecdsa.GenerateKey(curve.elliptic(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate key: %w", err)
		}
		return newBrainpoolKey(key)
	}
	return nil, ErrCurve
}

// appendSignature appends a raw signature in the DER form of X.509.
func appendSignature(dst, sig []byte) []byte {
	r, s := trimZeros(sig[:32]), trimZeros(sig[32:])
	n := len(r) + len(s) + 4
	rPad, sPad := r[0]>>7, s[0]>>7
	dst = append(dst, 0x30, byte(n)+rPad+sPad)
	dst = appendPositive(dst, r, rPad)
	return appendPositive(dst, s, sPad)
}

func appendPositive(dst, n []byte, pad byte) []byte {
	dst = append(dst, 0x02, byte(len(n))+pad)
	if pad != 0 {
		dst = append(dst, 0)
	}
	return append(dst, n...)
}

func trimZeros(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

// RawSignature turns the DER form of a signature, ECDSA-Sig-Value, into r | s.
func RawSignature(der []byte) ([]byte, error) {
	r := tlv.NewReader(der)
	seq := r.Sub(tlv.Sequence)
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	out := make([]byte, SignatureSize)
	for _, half := range [][]byte{out[:32], out[32:]} {
		v := seq.Value(tlv.Integer)
		if len(v) == 0 || v[0]&0x80 != 0 {
			seq.Fail(tlv.ErrValue)
			break
		}
		v = trimZeros(v)
		if len(v) > 32 {
			seq.Fail(tlv.ErrValue)
			break
		}
		copy(half[32-len(v):], v)
	}
	if err := seq.Close(); err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	return out, nil
}
