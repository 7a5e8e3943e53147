package account

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// KORE's names of things: a prefix and 26 lower-case letters and digits, as a
// ULID is written.
const (
	koreAccountPrefix = "acct_"
	clientPrefix      = "apiclient_"
	secretPrefix      = "whs_"
)

// crockford is the alphabet of ULIDs.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// KoreID returns the name that KORE's services have for an account. It is the
// 128 bits of the account's SID in another alphabet, so that there is no table
// of them that could be wrong.
func KoreID(sid string) string {
	b, err := hex.DecodeString(strings.TrimPrefix(sid, Prefix))
	if err != nil || len(b) != 16 {
		return ""
	}
	return koreAccountPrefix + crockford.EncodeToString(b)
}

// ParseKoreID is the way back. It returns "" for what names no account.
func ParseKoreID(id string) (sid string) {
	text, ok := strings.CutPrefix(id, koreAccountPrefix)
	if !ok || len(text) != 26 {
		return ""
	}
	b, err := crockford.DecodeString(text)
	if err != nil || KoreID(Prefix+hex.EncodeToString(b)) != id {
		return "" // spare bits set: not the one spelling
	}
	return Prefix + hex.EncodeToString(b)
}

// newULID makes a ULID: 48 bits of time in milliseconds and 80 at random, the
// highest first, written with 26 digits of which the first has only three bits.
func newULID(at time.Time) string {
	var b [17]byte
	binary.BigEndian.PutUint64(b[:8], uint64(at.UnixMilli())<<16)
	rand.Read(b[6:16])
	for i := 16; i > 0; i-- { // 128 bits become 130
		b[i] = b[i]>>2 | b[i-1]<<6
	}
	b[0] >>= 2
	return crockford.EncodeToString(b[:])[:26]
}
