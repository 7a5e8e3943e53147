package account

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"strings"
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
	return koreAccountPrefix + word26(b)
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

// word26 writes 128 bits with 26 digits.
func word26(b []byte) string { return crockford.EncodeToString(b) }

// newWord makes 26 digits at random.
func newWord() string {
	var b [16]byte
	rand.Read(b[:])
	return word26(b[:])
}
