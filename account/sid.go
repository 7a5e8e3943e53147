package account

import (
	"crypto/rand"
	"encoding/hex"
)

// NewSID makes an identifier: two capital letters that say what it names, and
// 32 hexadecimal digits at random.
func NewSID(prefix string) string { return prefix + randomHex() }

// newSecret makes a token or secret. Clients refuse to send any but letters
// and digits, so it is hexadecimal too; 128 bits at random.
func newSecret() string { return randomHex() }

func randomHex() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
