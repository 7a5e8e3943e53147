package saip

import (
	"encoding/hex"
	"log/slog"
	"unicode/utf16"

	"godwit/fault"
	"godwit/ident"
)

// Personal is what differs from one profile of a template to the next. A field
// left zero keeps what the template says, except where its comment names what
// it is derived from. It prints as its ICCID, never its keys.
type Personal struct {
	ICCID ident.ICCID
	IMSI  ident.IMSI

	Algorithm Algorithm
	K         []byte // 16 octets, or 32 with TUAK
	OPc       []byte // OPc of 16 octets, or TOPc of 32
	SEQ       uint64 // initial sequence of every index, without the index

	MNCLength int    // 2 or 3 digits of MNC in the IMSI: EF.AD
	ACC       uint16 // access class bits; 0 derives one bit from the last digit of the IMSI

	PIN1, PUK1, PIN2, PUK2 string // digits: PINs 4 to 8, PUKs 8
	ADM1, ADM2             string // 4 to 8 digits, or 16 hexadecimal digits

	SPN    string // service provider name
	SMSC   string // service centre address, "+49171..": EF.SMSP
	MSISDN string // the subscriber's number, "+49151.."

	IMPI   string   // private IMS identity; empty derives it from the IMSI (TS 23.003, 13.3)
	IMPU   []string // public IMS identities; empty derives one from the IMSI (13.4B)
	Domain string   // home network domain; empty derives it from the IMSI (13.2)

	SUCI             *SUCI  // how the SUPI is concealed: EF.SUCI_Calc_Info
	RoutingIndicator string // 1 to 4 digits: EF.Routing_Indicator

	// SecurityDomainKeys replace keys of security domains that have the same
	// version and identifier. Others of the template stay; new ones are added, as
	// AES keys, to the first domain.
	SecurityDomainKeys []DomainKey
}

// SUCI is the content of EF.SUCI_Calc_Info. TS 31.102, 4.4.11.8.
type SUCI struct {
	Schemes []SUCIScheme // in the order of preference
	Keys    []HomeNetworkKey
	// OnUSIM has the USIM conceal the SUPI, not the phone: the content goes into the
	// file of DF.SAIP that only the USIM reads.
	OnUSIM bool
}

// A SUCIScheme is a protection scheme (0 null, 1 profile A, 2 profile B) and the
// place of its key in the key list, from 1; 0 with the null scheme.
type SUCIScheme struct{ ID, KeyIndex byte }

// A HomeNetworkKey is a public key of the home network.
type HomeNetworkKey struct {
	ID  byte
	Key []byte // 32 octets for profile A; 33 or 65 for profile B
}

// A DomainKey is one key of a security domain.
type DomainKey struct {
	Version, ID byte
	Key         []byte
}

// String names the profile without its secrets.
func (p Personal) String() string { return "[personal data of " + string(p.ICCID) + "]" }

// GoString names the profile without its secrets.
func (p Personal) GoString() string { return p.String() }

// LogValue names the profile without its secrets.
func (p Personal) LogValue() slog.Value { return slog.StringValue(p.String()) }

// accessClass is the content of EF.ACC: what was asked for, or the one class
// that the last digit of the IMSI gives. TS 22.011, 4.2.
func (p *Personal) accessClass() uint16 {
	if p.ACC != 0 {
		return p.ACC
	}
	return 1 << (p.IMSI[len(p.IMSI)-1] - '0')
}

// homeDomain is the IMS domain of an operator. TS 23.003, 13.2.
func homeDomain(imsi ident.IMSI, mncLength int) string {
	mnc := string(imsi[3 : 3+mncLength])
	if mncLength == 2 {
		mnc = "0" + mnc
	}
	return "ims.mnc" + mnc + ".mcc" + string(imsi[:3]) + ".3gppnetwork.org"
}

// appendPIN writes a code of digits as the card stores it: ASCII, FF to the end.
func appendPIN(dst []byte, digits string) []byte {
	dst = append(dst, digits...)
	for n := len(digits); n < 8; n++ {
		dst = append(dst, 0xFF)
	}
	return dst
}

// checkPIN refuses what is not least to 8 digits.
func checkPIN(field, digits string, least int) error {
	if digits == "" {
		return nil
	}
	if len(digits) < least || len(digits) > 8 || !isDigits(digits) {
		if least == 8 {
			return fault.Field(field, "must be 8 digits")
		}
		return fault.Field(field, "must be %d to 8 digits", least)
	}
	return nil
}

// appendADM writes an administrative code: digits like a PIN, or 8 octets in
// hexadecimal.
func appendADM(dst []byte, code string) []byte {
	if len(code) == 16 {
		b, _ := hex.DecodeString(code) // checked by checkADM
		return append(dst, b...)
	}
	return appendPIN(dst, code)
}

func checkADM(field, code string) error {
	if len(code) == 16 {
		if _, err := hex.DecodeString(code); err == nil {
			return nil
		}
	} else if code == "" || len(code) >= 4 && len(code) <= 8 && isDigits(code) {
		return nil
	}
	return fault.Field(field, "must be 4 to 8 digits or 16 hexadecimal digits")
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// gsmAlphabet maps what the GSM default alphabet has outside or in other places
// than ASCII. TS 23.038, 6.2.1.
var gsmAlphabet = map[rune]byte{
	'@': 0x00, '£': 0x01, '$': 0x02, '¥': 0x03, 'è': 0x04, 'é': 0x05, 'ù': 0x06, 'ì': 0x07, 'ò': 0x08, 'Ç': 0x09, 'Ø': 0x0B,
	'ø': 0x0C, 'Å': 0x0E, 'å': 0x0F, '_': 0x11, 'Æ': 0x1C, 'æ': 0x1D, 'ß': 0x1E, 'É': 0x1F, '¤': 0x24, '¡': 0x40, 'Ä': 0x5B,
	'Ö': 0x5C, 'Ñ': 0x5D, 'Ü': 0x5E, '§': 0x5F, '¿': 0x60, 'ä': 0x7B, 'ö': 0x7C, 'ñ': 0x7D, 'ü': 0x7E, 'à': 0x7F,
}

// gsmCharacter returns the octet of a character, if the alphabet has it.
func gsmCharacter(r rune) (byte, bool) {
	if b, ok := gsmAlphabet[r]; ok {
		return b, true
	}
	if r >= ' ' && r <= 'Z' || r >= 'a' && r <= 'z' {
		return byte(r), true
	}
	return 0, false
}

// appendText writes text as TS 31.102, annex A has it: the GSM alphabet, one
// octet a character, or 80 and UCS2 where that does not do.
func appendText(dst []byte, text string) []byte {
	start := len(dst)
	for _, r := range text {
		b, ok := gsmCharacter(r)
		if !ok {
			dst = append(dst[:start], 0x80)
			for _, unit := range utf16.Encode([]rune(text)) {
				dst = append(dst, byte(unit>>8), byte(unit))
			}
			return dst
		}
		dst = append(dst, b)
	}
	return dst
}

// checkNumber refuses what is no dialling number of at most 20 digits.
func checkNumber(field, s string) error {
	digits := s
	if s != "" && s[0] == '+' {
		digits = s[1:]
	}
	if s != "" && (!isDigits(digits) || len(digits) > 20) {
		return fault.Field(field, "must be a number of 1 to 20 digits, with + in front if it is international")
	}
	return nil
}

// putNumber writes an address at the beginning of out: its length, type of
// number and swapped digits, FF to the end of the 12 octets. TS 31.102, 4.2.26
// and TS 24.011, 8.2.5.1.
func putNumber(out []byte, number string) {
	for i := range out[:12] {
		out[i] = 0xFF
	}
	out[1] = 0x81
	if number[0] == '+' {
		out[1], number = 0x91, number[1:]
	}
	out[0] = byte(1 + (len(number)+1)/2)
	for i := range len(number) {
		d := number[i] - '0'
		if i%2 == 0 {
			out[2+i/2] = 0xF0 | d
		} else {
			out[2+i/2] = d<<4 | out[2+i/2]&0xF
		}
	}
}

// appendSUCI encodes EF.SUCI_Calc_Info: A0 the schemes with their keys' places,
// A1 the keys with their identifiers. TS 31.102, 4.4.11.8.
func (s *SUCI) append(dst []byte) []byte {
	dst = append(dst, 0xA0, byte(2*len(s.Schemes)))
	for _, scheme := range s.Schemes {
		dst = append(dst, scheme.ID, scheme.KeyIndex)
	}
	n := 0
	for _, k := range s.Keys {
		n += 3 + 2 + len(k.Key)
	}
	dst = append(dst, 0xA1)
	dst = appendLength(dst, n)
	for _, k := range s.Keys {
		dst = append(dst, 0x80, 1, k.ID, 0x81, byte(len(k.Key)))
		dst = append(dst, k.Key...)
	}
	return dst
}

func (s *SUCI) check() error {
	if len(s.Schemes) == 0 || len(s.Schemes) > 16 || len(s.Keys) > 16 {
		return fault.Field("SUCI", "needs 1 to 16 protection schemes and at most 16 keys")
	}
	for _, scheme := range s.Schemes {
		if scheme.ID == 0 {
			if scheme.KeyIndex != 0 {
				return fault.Field("SUCI", "the null scheme has no key: its key index is 0")
			}
			continue
		}
		if scheme.ID > 2 {
			return fault.Field("SUCI", "protection scheme %d is none of 0 null, 1 profile A, 2 profile B", scheme.ID)
		}
		if scheme.KeyIndex < 1 || int(scheme.KeyIndex) > len(s.Keys) {
			return fault.Field("SUCI", "scheme %d names key %d of %d", scheme.ID, scheme.KeyIndex, len(s.Keys))
		}
		n := len(s.Keys[scheme.KeyIndex-1].Key)
		if scheme.ID == 1 && n != 32 {
			return fault.Field("SUCI", "a key of profile A (X25519) has 32 octets, not %d", n)
		}
		if scheme.ID == 2 && n != 33 && n != 65 {
			return fault.Field("SUCI", "a key of profile B (P-256) has 33 or 65 octets, not %d", n)
		}
	}
	for _, k := range s.Keys {
		if len(k.Key) == 0 || len(k.Key) > 127 {
			return fault.Field("SUCI", "a home network key of %d octets does not fit", len(k.Key))
		}
	}
	return nil
}
