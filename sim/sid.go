package sim

import (
	"crypto/rand"
	"encoding/hex"
)

// Prefixes of the identifiers of this package's things. A SID is a prefix and
// 32 hexadecimal digits.
const (
	ProfilePrefix = "HP" // a reservation: the ESimProfile of the API
	SimPrefix     = "HS"
	FleetPrefix   = "HF"
	AccessPrefix  = "HA" // a network access profile
	NetworkPrefix = "HW"
)

// newSID returns a fresh identifier.
func newSID(prefix string) string {
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the program first
	return prefix + hex.EncodeToString(random[:])
}

// IsSID reports whether s has the shape of an identifier with the given
// prefix. Clients of the hosted services accept both cases of the digits.
func IsSID(s, prefix string) bool {
	if len(s) != 34 || s[:2] != prefix {
		return false
	}
	for _, c := range []byte(s[2:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
