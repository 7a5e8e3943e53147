package sim

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync/atomic"
	"time"
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

// freshSID returns a new identifier. Its first 14 digits are the microsecond,
// the others are random: what is made together stands together in every index,
// and a million rows cost no more to add to than a thousand. One process never
// makes two of one microsecond. Who knows a SID learns when the thing was made,
// which every answer says anyway; it opens nothing.
func freshSID(prefix string) string {
	var b [16]byte
	now := time.Now().UnixMicro()
	for {
		last := lastSID.Load()
		if now = max(now, last+1); lastSID.CompareAndSwap(last, now) {
			break
		}
	}
	binary.BigEndian.PutUint64(b[:], uint64(now)<<8)
	rand.Read(b[7:])
	return prefix + hex.EncodeToString(b[:])
}

// lastSID is the microsecond of the last identifier.
var lastSID atomic.Int64

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

// Canonical writes the digits of an identifier as they are stored. What has not
// the shape of one stays as it is.
func Canonical(sid string) string {
	if len(sid) == 34 && IsSID(sid, sid[:2]) {
		return sid[:2] + strings.ToLower(sid[2:])
	}
	return sid
}
