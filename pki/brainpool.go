package pki

//lint:file-ignore SA1019 the standard library offers no other way to a curve that is not its own

import (
	"crypto"
	"crypto/ecdsa"
	"io"
	"math/big"
)

// A brainpoolKey is a private key on brainpoolP256r1. Its public half is a
// [*PublicKey], because the standard library's functions on public keys refuse
// the curve.
//
// The arithmetic underneath is big-integer arithmetic: slow, and not in
// constant time. A server that signs with such a key lets a patient neighbour
// on the same processor measure it; production keys of this curve belong in a
// hardware module.
type brainpoolKey struct {
	private *ecdsa.PrivateKey
	public  *PublicKey
}

// brainpoolPoint reads an uncompressed point and checks that it is on the curve.
func brainpoolPoint(point []byte) (*ecdsa.PublicKey, error) {
	x, y := new(big.Int).SetBytes(point[1:33]), new(big.Int).SetBytes(point[33:])
	c := BrainpoolP256r1.elliptic()
	if p := c.Params().P; x.Cmp(p) >= 0 || y.Cmp(p) >= 0 || !c.IsOnCurve(x, y) {
		return nil, ErrPoint
	}
	return &ecdsa.PublicKey{Curve: c, X: x, Y: y}, nil
}

func newBrainpoolPublic(public *ecdsa.PublicKey) (*PublicKey, error) {
	var point [PointSize]byte
	point[0] = 4
	public.X.FillBytes(point[1:33])
	public.Y.FillBytes(point[33:])
	return ParsePublicKey(BrainpoolP256r1, point[:])
}

func newBrainpoolKey(private *ecdsa.PrivateKey) (*brainpoolKey, error) {
	public, err := newBrainpoolPublic(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	return &brainpoolKey{private: private, public: public}, nil
}

// brainpoolKeyFrom makes the key whose private number is d.
func brainpoolKeyFrom(d []byte) (*brainpoolKey, error) {
	c := BrainpoolP256r1.elliptic()
	n := new(big.Int).SetBytes(d)
	if n.Sign() == 0 || n.Cmp(c.Params().N) >= 0 {
		return nil, ErrKey
	}
	x, y := c.ScalarBaseMult(d)
	return newBrainpoolKey(&ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: c, X: x, Y: y}, D: n})
}

// number returns the private number, 32 octets.
func (k *brainpoolKey) number() []byte { return k.private.D.FillBytes(make([]byte, 32)) }

// agree returns the X coordinate of the product with a peer's point.
func (k *brainpoolKey) agree(peer *PublicKey) (z [32]byte, err error) {
	x, y := BrainpoolP256r1.elliptic().ScalarMult(peer.ecdsa.X, peer.ecdsa.Y, k.number())
	if x.Sign() == 0 && y.Sign() == 0 {
		return z, ErrPoint // infinity: the curve has prime order, so the peer is broken
	}
	x.FillBytes(z[:])
	return z, nil
}

// Public returns the public half, a [*PublicKey].
func (k *brainpoolKey) Public() crypto.PublicKey { return k.public }

// Sign signs a digest and returns the DER form of the signature.
func (k *brainpoolKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.private.Sign(random, digest, opts)
}

// String keeps the private number out of logs.
func (k *brainpoolKey) String() string { return "[secret]" }

// GoString keeps the private number out of logs.
func (k *brainpoolKey) GoString() string { return "[secret]" }
