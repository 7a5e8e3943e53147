// Package ident holds the numbers and names that the field identifies things
// by: EID, ICCID, IMSI, PLMN, matching ID, object identifier. Each is a type
// whose values have passed its parser, so that inside the program a number is
// right by its type. It also knows the octets that each of them travels in.
package ident

import (
	"crypto/rand"
	"fmt"
	"strings"
)

// digits reports whether s is made of decimal digits alone.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// An EID names one eUICC: 32 digits, the first two 89, whose value is 1 modulo
// 97. SGP.29, 4.
type EID string

// ParseEID reads an EID and checks its check digits.
func ParseEID(s string) (EID, error) {
	if err := EIDForm(s); err != nil {
		return "", err
	}
	if mod97(s) != 1 {
		return "", fmt.Errorf("EID %s has wrong check digits: the last two digits should be %s", s, eidCheck(s[:30]))
	}
	return EID(s), nil
}

// EIDForm checks only that s is 32 decimal digits. The vendors of the Super SIM
// API accept EIDs with wrong check digits, and so must its door.
func EIDForm(s string) error {
	if len(s) != 32 || !digits(s) {
		return fmt.Errorf("an EID is 32 decimal digits; this has %d characters", len(s))
	}
	return nil
}

// NewEID completes the first 30 digits of an EID with its check digits.
func NewEID(first30 string) (EID, error) {
	if len(first30) != 30 || !digits(first30) {
		return "", fmt.Errorf("an EID is made from 30 decimal digits; this has %d characters", len(first30))
	}
	return EID(first30 + eidCheck(first30)), nil
}

func eidCheck(first30 string) string { return fmt.Sprintf("%02d", 98-mod97(first30+"00")) }

func mod97(s string) int {
	n := 0
	for i := range len(s) {
		n = (n*10 + int(s[i]-'0')) % 97
	}
	return n
}

// Octets returns the 16 octets of the EID: two digits each, not swapped.
func (e EID) Octets() []byte { return pack(string(e), false) }

// EIDFromOctets reads 16 octets as an EID without judging its check digits.
func EIDFromOctets(b []byte) (EID, error) {
	s := fmt.Sprintf("%x", b)
	if err := EIDForm(s); err != nil {
		return "", err
	}
	return EID(s), nil
}

// An ICCID names one profile: 19 or 20 digits, the last of them a Luhn check
// digit. ITU-T E.118.
type ICCID string

// ParseICCID reads an ICCID of 19 or 20 digits, padded with F or not, and
// checks its check digit.
func ParseICCID(s string) (ICCID, error) {
	s = strings.TrimRight(s, "Ff")
	if (len(s) != 19 && len(s) != 20) || !digits(s) {
		return "", fmt.Errorf("an ICCID is 19 or 20 decimal digits; this has %d characters", len(s))
	}
	if want := Luhn(s[:len(s)-1]); s[len(s)-1] != want {
		return "", fmt.Errorf("ICCID %s has a wrong check digit: it should end in %c", s, want)
	}
	return ICCID(s), nil
}

// NewICCID completes 18 or 19 digits with the check digit.
func NewICCID(body string) (ICCID, error) {
	if (len(body) != 18 && len(body) != 19) || !digits(body) {
		return "", fmt.Errorf("an ICCID is made from 18 or 19 decimal digits; this has %d characters", len(body))
	}
	return ICCID(body + string(Luhn(body))), nil
}

// Luhn returns the check digit of ITU-T E.118 for the digits in body, as ICCIDs
// and IMEIs have it at their end.
func Luhn(body string) byte {
	sum := 0
	for i := range len(body) {
		d := int(body[len(body)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return byte('0' + (10-sum%10)%10)
}

// Octets returns the 10 octets of EF.ICCID and of tag 5A: digits swapped in
// pairs, odd lengths filled with F.
func (i ICCID) Octets() []byte { return pack(pad(string(i), 20), true) }

// HeaderOctets returns the 10 octets of the profile header of a SAIP package,
// where digits stand in their order.
func (i ICCID) HeaderOctets() []byte { return pack(pad(string(i), 20), false) }

// ICCIDFromOctets reads the octets of tag 5A without judging the check digit:
// test profiles carry wrong ones.
func ICCIDFromOctets(b []byte) (ICCID, error) {
	s := strings.TrimRight(unpack(b, true), "f")
	if len(b) != 10 || len(s) < 18 || !digits(s) {
		return "", fmt.Errorf("ICCID octets %x are not 18 to 20 swapped digits", b)
	}
	return ICCID(s), nil
}

// An IMSI names one subscription: up to 15 digits that begin with the MCC.
type IMSI string

// ParseIMSI reads an IMSI of 6 to 15 digits.
func ParseIMSI(s string) (IMSI, error) {
	if len(s) < 6 || len(s) > 15 || !digits(s) {
		return "", fmt.Errorf("an IMSI is 6 to 15 decimal digits; this has %d characters", len(s))
	}
	return IMSI(s), nil
}

// Octets returns the 9 octets of EF.IMSI. 3GPP TS 31.102, 4.2.2.
func (i IMSI) Octets() []byte {
	parity := "1"
	if len(i)%2 == 1 {
		parity = "9"
	}
	body := pack(pad(parity+string(i), 16), true)
	return append([]byte{byte((len(i) + 2) / 2)}, body...)
}

// IMSIFromOctets reads the content of EF.IMSI.
func IMSIFromOctets(b []byte) (IMSI, error) {
	if len(b) != 9 || b[0] == 0 || b[0] > 8 {
		return "", fmt.Errorf("EF.IMSI %x is malformed", b)
	}
	s := unpack(b[1:1+b[0]], true)
	return ParseIMSI(strings.TrimRight(s[1:], "f"))
}

// A PLMN is a mobile network: three digits of MCC, two or three of MNC.
type PLMN struct{ MCC, MNC string }

// ParsePLMN reads a network as MCC and MNC written one after the other, with
// or without a slash or hyphen between them.
func ParsePLMN(s string) (PLMN, error) {
	d := strings.NewReplacer("/", "", "-", "").Replace(s)
	if len(d) < 5 || len(d) > 6 || !digits(d) {
		return PLMN{}, fmt.Errorf("a network is three digits of MCC and two or three of MNC, not %q", s)
	}
	return PLMN{MCC: d[:3], MNC: d[3:]}, nil
}

// Octets returns the three octets of 3GPP TS 24.008, 10.5.1.13.
func (p PLMN) Octets() []byte {
	mnc3 := "f"
	if len(p.MNC) == 3 {
		mnc3 = p.MNC[2:]
	}
	return pack(p.MCC[:2]+p.MCC[2:]+mnc3+p.MNC[:2], true)
}

func (p PLMN) String() string { return p.MCC + "/" + p.MNC }

// A MatchingID names an order towards the LPA: digits, capital letters and
// hyphens. SGP.22, 4.1.1.
type MatchingID string

// ParseMatchingID checks the characters and the length of a matching ID.
func ParseMatchingID(s string) (MatchingID, error) {
	if len(s) > 255 {
		return "", fmt.Errorf("a matching ID has at most 255 characters; this has %d", len(s))
	}
	for i, c := range s {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && c != '-' {
			return "", fmt.Errorf("a matching ID is made of 0-9, A-Z and hyphens; character %d is %q", i+1, c)
		}
	}
	return MatchingID(s), nil
}

// NewMatchingID returns a random matching ID of five groups of five characters:
// 125 bits.
func NewMatchingID() MatchingID {
	// 32 characters, so that every random octet gives five bits without bias.
	const alphabet = "0123456789ABCDEFGHJKLMNPQRTUVWXY"
	var random [25]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the program first
	out := make([]byte, 0, 29)
	for i, r := range random {
		if i > 0 && i%5 == 0 {
			out = append(out, '-')
		}
		out = append(out, alphabet[r&31])
	}
	return MatchingID(out)
}

// pad fills s with f up to n digits.
func pad(s string, n int) string { return s + strings.Repeat("f", max(0, n-len(s))) }

// pack turns an even number of hexadecimal digits into octets, the second digit
// of each pair in the high half if swapped.
func pack(s string, swapped bool) []byte {
	out := make([]byte, len(s)/2)
	for i := range out {
		hi, lo := nibble(s[2*i]), nibble(s[2*i+1])
		if swapped {
			hi, lo = lo, hi
		}
		out[i] = hi<<4 | lo
	}
	return out
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xF
}

func unpack(b []byte, swapped bool) string {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, o := range b {
		hi, lo := o>>4, o&0xF
		if swapped {
			hi, lo = lo, hi
		}
		out = append(out, hex[hi], hex[lo])
	}
	return string(out)
}
