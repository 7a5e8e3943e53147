package saip

import (
	"log/slog"

	"godwit/ident"
)

// Algorithm is the function set of an akaParameter. The zero value leaves the
// template's.
type Algorithm int

// The algorithms of AlgoParameter.
const (
	Milenage Algorithm = 1
	TUAK     Algorithm = 2
	XOR      Algorithm = 3 // the USIM test algorithm of TS 34.108: never for subscribers
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
	IMPU   []string // public IMS identities; empty derives one from the IMSI
	Domain string   // home network domain; empty derives it from the IMSI

	SUCI             *SUCI  // how the SUPI is concealed: EF.SUCI_Calc_Info
	RoutingIndicator string // 1 to 4 digits: EF.Routing_Indicator

	// SecurityDomainKeys replace keys of the issuer security domain that have the same
	// version and identifier. The others stay.
	SecurityDomainKeys []DomainKey
}

// SUCI is the content of EF.SUCI_Calc_Info. TS 31.102, 4.4.11.8.
type SUCI struct {
	Schemes []SUCIScheme // in the order of preference
	Keys    []HomeNetworkKey
	// OnUSIM has the USIM conceal the SUPI, not the phone: the content goes into the
	// DF.SAIP file that only the USIM reads.
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
