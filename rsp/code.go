package rsp

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"

	"godwit/ident"
)

// HashCode returns the hash of a confirmation code, which is all that a server
// keeps of it.
func HashCode(code string) [HashSize]byte { return sha256.Sum256([]byte(code)) }

// HashCodeForRun returns hashCc: what the eUICC signs when the user has given
// the code. SGP.22 v2.5, 5.7.5.
func HashCodeForRun(hash [HashSize]byte, id TransactionID) [HashSize]byte {
	return sha256.Sum256(append(hash[:len(hash):len(hash)], id.octets...))
}

// CheckCode reports whether hashed, as it came from an eUICC, belongs to the
// code with the given hash, in constant time.
func CheckCode(hash [HashSize]byte, id TransactionID, hashed []byte) bool {
	want := HashCodeForRun(hash, id)
	return subtle.ConstantTimeCompare(want[:], hashed) == 1
}

// An ActivationCode tells an LPA where a profile waits. SGP.22 v2.5, 4.1.
type ActivationCode struct {
	Address      string // of the SM-DP+
	MatchingID   ident.MatchingID
	OID          ident.OID // of the SM-DP+, or empty
	CodeRequired bool
}

// maxActivationCode is the longest activation code, without its prefix.
const maxActivationCode = 255

// ParseActivationCode reads an activation code, with or without the prefix
// "LPA:" of its QR form. Its errors do not repeat the code, which is a secret: with
// a character too many any part of it may stand in any place.
func ParseActivationCode(s string) (*ActivationCode, error) {
	s = strings.TrimSpace(s)
	if len(s) >= 4 && strings.EqualFold(s[:4], "LPA:") {
		s = s[4:]
	}
	if len(s) > maxActivationCode {
		return nil, fmt.Errorf("an activation code has at most %d characters; this has %d", maxActivationCode, len(s))
	}
	fields := strings.Split(s, "$")
	if fields[0] != "1" {
		return nil, fmt.Errorf("an activation code begins with 1$ or LPA:1$; this is another format")
	}
	if len(fields) < 3 {
		return nil, fmt.Errorf("an activation code has an SM-DP+ address and a matching identifier: 1$address$identifier")
	}
	// Fields after the fifth belong to a newer version and are ignored.
	fields = append(fields, "", "")
	code := &ActivationCode{Address: fields[1]}
	if err := CheckAddress(code.Address); err != nil {
		return nil, fmt.Errorf("activation code: %w", err)
	}
	var err error
	if code.MatchingID, err = ident.ParseMatchingID(fields[2]); err != nil {
		return nil, fmt.Errorf("activation code: %w", err)
	}
	if fields[3] != "" {
		if code.OID, err = ident.ParseOID(fields[3]); err != nil {
			return nil, fmt.Errorf("activation code: what follows the matching identifier is an object identifier, two or more numbers with dots between them, or nothing")
		}
	}
	switch fields[4] {
	case "":
	case "1":
		code.CodeRequired = true
	default:
		return nil, fmt.Errorf("activation code: the confirmation code flag at its end is 1 or missing")
	}
	return code, nil
}

// String returns the code without prefix: 1$address$identifier.
func (c *ActivationCode) String() string {
	s := "1$" + c.Address + "$" + string(c.MatchingID)
	switch {
	case c.CodeRequired:
		return s + "$" + string(c.OID) + "$1"
	case c.OID != "":
		return s + "$" + string(c.OID)
	}
	return s
}

// QR returns the text of the QR code.
func (c *ActivationCode) QR() string { return "LPA:" + c.String() }

// CheckAddress checks the characters of a server address: a host name, and a
// port where it is not 443.
func CheckAddress(s string) error {
	host, port, hasPort := strings.Cut(s, ":")
	if host == "" {
		return fmt.Errorf("the server address is empty")
	}
	for i, c := range host {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '-' {
			return fmt.Errorf("a server address is made of letters, digits, dots and hyphens; character %d is %q", i+1, c)
		}
	}
	if strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return fmt.Errorf("server address %q has an empty label", host)
	}
	if hasPort && (port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "") {
		return fmt.Errorf("server address %q has a malformed port", s)
	}
	return nil
}

// SameAddress compares two server addresses: whole, without regard to letter
// case.
func SameAddress(a, b string) bool { return strings.EqualFold(a, b) }
