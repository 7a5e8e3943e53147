package pki

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"log/slog"
)

// An AgreementKey is a one-time private key for the agreement on session keys
// (otSK.DP, otSK.EUICC). SGP.22, 2.6.7. It prints as a placeholder.
type AgreementKey struct {
	curve  Curve
	p256   *ecdh.PrivateKey
	brp    *brainpoolKey
	public [PointSize]byte
}

// GenerateAgreementKey makes a one-time key.
func GenerateAgreementKey(curve Curve) (*AgreementKey, error) {
	switch curve {
	case P256:
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate one-time key: %w", err)
		}
		return agreementP256(key), nil
	case BrainpoolP256r1:
		key, err := GenerateKey(curve)
		if err != nil {
			return nil, err
		}
		return agreementBrainpool(key.(*brainpoolKey)), nil
	}
	return nil, ErrCurve
}

// ParseAgreementKey reads what [AgreementKey.Bytes] returned.
func ParseAgreementKey(curve Curve, b []byte) (*AgreementKey, error) {
	if len(b) != 32 {
		return nil, ErrKey
	}
	switch curve {
	case P256:
		key, err := ecdh.P256().NewPrivateKey(b)
		if err != nil {
			return nil, ErrKey
		}
		return agreementP256(key), nil
	case BrainpoolP256r1:
		key, err := brainpoolKeyFrom(b)
		if err != nil {
			return nil, err
		}
		return agreementBrainpool(key), nil
	}
	return nil, ErrCurve
}

func agreementP256(key *ecdh.PrivateKey) *AgreementKey {
	k := &AgreementKey{curve: P256, p256: key}
	copy(k.public[:], key.PublicKey().Bytes())
	return k
}

func agreementBrainpool(key *brainpoolKey) *AgreementKey {
	return &AgreementKey{curve: BrainpoolP256r1, brp: key, public: key.public.point}
}

// Curve returns the curve of the key.
func (k *AgreementKey) Curve() Curve { return k.curve }

// Public returns the public half as 5F49 carries it, 65 octets.
func (k *AgreementKey) Public() []byte { return k.public[:] }

// Bytes returns the private number, 32 octets, for sealed storage.
func (k *AgreementKey) Bytes() []byte {
	if k.curve == P256 {
		return k.p256.Bytes()
	}
	return k.brp.number()
}

// Agree returns the shared secret Z: the X coordinate, 32 octets, of the
// product with the peer's one-time key. It refuses a peer on another curve and
// octets that are no point.
func (k *AgreementKey) Agree(peer []byte) ([32]byte, error) {
	var z [32]byte
	if k.curve == P256 {
		public, err := ecdh.P256().NewPublicKey(peer)
		if err != nil {
			return z, ErrPoint
		}
		x, err := k.p256.ECDH(public)
		if err != nil {
			return z, fmt.Errorf("agree on a key: %w", err)
		}
		copy(z[:], x)
		return z, nil
	}
	public, err := ParsePublicKey(k.curve, peer)
	if err != nil {
		return z, err
	}
	return k.brp.agree(public)
}

func (k *AgreementKey) String() string { return "[secret]" }

// GoString keeps the private number out of logs.
func (k *AgreementKey) GoString() string { return "[secret]" }

// LogValue keeps the private number out of logs.
func (k *AgreementKey) LogValue() slog.Value { return slog.StringValue("[secret]") }
