// Package pki is the public key infrastructure of SGP.22: certificates and
// their chains by GSMA role, raw signatures and key agreement on both curves,
// what a server holds under one CI, and the maker of a private test CI.
//
// It reads certificates itself, because the standard library has no brainpool
// curve and refuses the name constraints of an EUM certificate. It does no
// input or output: keys and certificates come and go as octets, time is passed
// in.
package pki

import (
	"crypto/elliptic"
	"errors"
	"fmt"

	"github.com/ProtonMail/go-crypto/brainpool"
)

// A Curve is one of the two elliptic curves that every eUICC may use. SGP.22,
// 2.6.7.1.
type Curve uint8

// The curves. The zero value is no curve.
const (
	P256 Curve = iota + 1
	BrainpoolP256r1
)

// ErrCurve reports a curve that SGP.22 does not know, or one where another was due.
var ErrCurve = errors.New("unsupported curve")

// Content octets of the named curves' object identifiers.
const (
	oidP256      = "\x2A\x86\x48\xCE\x3D\x03\x01\x07"
	oidBrainpool = "\x2B\x24\x03\x03\x02\x08\x01\x01\x07"
)

// ParseCurve reads a curve's name as people write it: nist, p-256, brp,
// brainpoolP256r1.
func ParseCurve(s string) (Curve, error) {
	switch s {
	case "nist", "p256", "p-256", "P-256", "prime256v1", "secp256r1":
		return P256, nil
	case "brp", "brainpool", "brainpoolP256r1":
		return BrainpoolP256r1, nil
	}
	return 0, fmt.Errorf("%w: %q is neither nist nor brainpool", ErrCurve, s)
}

func (c Curve) String() string {
	switch c {
	case P256:
		return "NIST P-256"
	case BrainpoolP256r1:
		return "brainpoolP256r1"
	}
	return "no curve"
}

// elliptic returns the curve's arithmetic.
func (c Curve) elliptic() elliptic.Curve {
	if c == BrainpoolP256r1 {
		return brainpool.P256r1()
	}
	return elliptic.P256()
}

func (c Curve) oid() string {
	if c == BrainpoolP256r1 {
		return oidBrainpool
	}
	return oidP256
}

func curveOf(oid []byte) (Curve, error) {
	switch string(oid) {
	case oidP256:
		return P256, nil
	case oidBrainpool:
		return BrainpoolP256r1, nil
	}
	return 0, fmt.Errorf("%w: object identifier %x", ErrCurve, oid)
}
