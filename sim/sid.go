package sim

import (
	"strings"

	"godwit/account"
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

// freshSID returns a new identifier.
func freshSID(prefix string) string { return account.NewSID(prefix) }

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

// canonical writes the digits of an identifier as they are stored. What has not
// the shape of one stays as it is.
func canonical(sid string) string {
	if len(sid) == 34 && IsSID(sid, sid[:2]) {
		return sid[:2] + strings.ToLower(sid[2:])
	}
	return sid
}
