package device

import (
	"encoding/hex"
	"fmt"
	"strings"

	"godwit/ident"
)

// An ID names a device: four groups of eight hexadecimal digits in upper case,
// 00000000-00000000-0004F3FF-FF00A1B2.
type ID string

// ParseID reads a device ID in any case.
func ParseID(s string) (ID, error) {
	groups := strings.Split(s, "-")
	if len(groups) != 4 {
		return "", fmt.Errorf("a device ID is four groups of eight hexadecimal digits with hyphens between them, not %.60q", s)
	}
	for _, g := range groups {
		if _, err := hex.DecodeString(g); err != nil || len(g) != 8 {
			return "", fmt.Errorf("a device ID is four groups of eight hexadecimal digits with hyphens between them, not %.60q", s)
		}
	}
	return ID(strings.ToUpper(s)), nil
}

// IDFromMAC makes the ID of a device from its MAC address, twelve hexadecimal
// digits with colons, hyphens, dots or nothing between them.
func IDFromMAC(mac string) (ID, error) {
	d := strings.ToUpper(strings.NewReplacer(":", "", "-", "", ".", "").Replace(mac))
	if _, err := hex.DecodeString(d); err != nil || len(d) != 12 {
		return "", fmt.Errorf("a MAC address is twelve hexadecimal digits, not %.40q", mac)
	}
	return ID("00000000-00000000-" + d[:6] + "FF-FF" + d[6:]), nil
}

// IDFromIMEI makes the ID of a device from its modem's IMEI of 15 digits.
func IDFromIMEI(imei string) (ID, error) {
	d := strings.NewReplacer("-", "", " ", "").Replace(imei)
	if len(d) != 15 || strings.Trim(d, "0123456789") != "" {
		return "", fmt.Errorf("an IMEI is 15 digits, not %.40q", imei)
	}
	return ID("00010000-00000000-0" + d[:7] + "-" + d[7:]), nil
}

// ParseICCID reads the ICCID of a code or profile: 18 to 20 digits, filled up
// with F or not. Check digits are not judged: test profiles have wrong ones, and
// some operators write ICCIDs without.
func ParseICCID(s string) (ident.ICCID, error) {
	s = strings.TrimRight(strings.TrimSpace(s), "Ff")
	if len(s) < 18 || len(s) > 20 || strings.Trim(s, "0123456789") != "" {
		return "", fmt.Errorf("an ICCID is 18 to 20 decimal digits; this has %d characters", len(s))
	}
	return ident.ICCID(s), nil
}

// SameICCID reports whether two ICCIDs name one profile: they are equal, or
// one has the check digit that the other leaves out.
func SameICCID(a, b ident.ICCID) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == b || len(a)+1 == len(b) && b == a+checkDigit(a)
}

// spellings returns the ICCIDs that name the same profile.
func spellings(i ident.ICCID) []string {
	all := []string{string(i), string(i + checkDigit(i))}
	if short := i[:max(len(i)-1, 0)]; len(short) >= 18 && short+checkDigit(short) == i {
		all = append(all, string(short))
	}
	return all
}

// checkDigit is the digit that makes an ICCID of the digits in body.
func checkDigit(body ident.ICCID) ident.ICCID {
	return ident.ICCID(rune(ident.Luhn(string(body))))
}
