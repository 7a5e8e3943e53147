package rsp

import (
	"fmt"
	"math"

	"godwit/tlv"
)

// Tags of the information about an eUICC.
const (
	TagEUICCInfo1 tlv.Tag = 0xBF20
	TagEUICCInfo2 tlv.Tag = 0xBF22
)

// EUICCInfo1 is what an eUICC says of itself before anybody has proved
// anything: its version, and the CI keys that it knows, the preferred first.
type EUICCInfo1 struct {
	SVN          Version
	Verification [][]byte // CI key identifiers against which it verifies
	Signing      [][]byte // CI key identifiers under which it can sign
}

// ParseEUICCInfo1 reads EUICCInfo1.
func ParseEUICCInfo1(der []byte) (*EUICCInfo1, error) {
	e, err := tlv.ParseTag(der, TagEUICCInfo1)
	if err != nil {
		return nil, err
	}
	info := &EUICCInfo1{}
	// Version 3 added fields, and not only at the end: any order will do.
	for r := e.Reader(); !r.Empty() || r.Err() != nil; {
		e := r.Next()
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read EUICCInfo1: %w", err)
		}
		err := error(nil)
		switch e.Tag {
		case 0x82:
			info.SVN, err = version(e)
		case 0xA9:
			info.Verification, err = keyIDs(e)
		case 0xAA:
			info.Signing, err = keyIDs(e)
		}
		if err != nil {
			return nil, fmt.Errorf("read EUICCInfo1: %w", err)
		}
	}
	if info.SVN.IsZero() {
		return nil, fmt.Errorf("read EUICCInfo1: %w: svn", tlv.ErrMissing)
	}
	return info, nil
}

// Append appends the message.
func (i *EUICCInfo1) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagEUICCInfo1, func(dst []byte) []byte {
		dst = tlv.Append(dst, 0x82, i.SVN[:])
		dst = appendKeyIDs(dst, 0xA9, i.Verification)
		return appendKeyIDs(dst, 0xAA, i.Signing)
	})
}

// A UICCCapability is a set of services that an eUICC offers to profiles.
// TCA eUICC Profile Package, annex A.
type UICCCapability uint64

// Capabilities, by their bit.
const (
	Contactless UICCCapability = 1 << iota
	USIM
	ISIM
	CSIM
	AKAMilenage
	AKACave
	AKATUAK128
	AKATUAK256
	USIMTestAlgorithm
	_
	GBAUSIM
	GBAISIM
	MBMS
	EAP
	JavaCard
	Multos
	MultipleUSIM
	MultipleISIM
	MultipleCSIM
	BERTLVFiles
	DFLink
	CATTP
	GetIdentity
	ProfileAX25519
	ProfileBP256
	SUCICalculatorAPI
	DNSResolution
	SCP11ac
	SCP11cAuthorisation
	S16Mode
	EAKA
	IoTMinimal
)

// Has reports whether all of want are in c.
func (c UICCCapability) Has(want UICCCapability) bool { return c&want == want }

// An RSPCapability is a set of abilities of the provisioning part of an eUICC.
type RSPCapability uint64

// Capabilities, by their bit.
const (
	AdditionalProfile RSPCapability = 1 << iota // one more profile can be installed
	CRLSupport
	RPMSupport
	TestProfileSupport
	DeviceInfoExtensibility
	ServiceSpecificData
)

// A CardResource says what is left in an eUICC. ETSI TS 102 226, 8.2.1.7.2.
type CardResource struct {
	Known           bool   // false when the eUICC sent something else
	Applications    uint32 // installed
	FreeNonVolatile uint32 // octets
	FreeVolatile    uint32 // octets
}

// EUICCInfo2 is what an eUICC vouches for about itself.
type EUICCInfo2 struct {
	ProfileVersion     Version // of the profile package that it reads
	SVN                Version
	Firmware           Version
	Resource           CardResource
	UICC               UICCCapability
	TS102241           Version // zero when absent
	GlobalPlatform     Version // zero when absent
	RSP                RSPCapability
	Verification       [][]byte
	Signing            [][]byte
	Category           *int64 // 0 other, 1 basic, 2 medium, 3 contactless
	ForbiddenPPRs      PPR
	HasForbiddenPPRs   bool // the field is there, even if it forbids nothing
	ProtectionProfile  Version
	SASAccreditation   string
	PlatformLabel      string // certificationDataObject, absent when both are empty
	DiscoveryURL       string
	TRE                *uint64 // bits: discrete, integrated, uses remote memory
	TREReference       string
	AdditionalVersions []Version
	IPAMode            *int64   // 0 IPA in the device, 1 in the eUICC; SGP.32 asks for it
	IoT                *IoTInfo // nil when the eUICC does not speak SGP.32

	Raw []byte // as it arrived
}

// Reads reports whether the eUICC processes profile packages of version v: the
// major version must be one of its own, and it must not be older.
func (i *EUICCInfo2) Reads(v Version) bool {
	for _, own := range append([]Version{i.ProfileVersion}, i.AdditionalVersions...) {
		if own[0] == v[0] && own.Compare(v) >= 0 {
			return true
		}
	}
	return false
}

// ParseEUICCInfo2 reads EUICCInfo2.
func ParseEUICCInfo2(der []byte) (*EUICCInfo2, error) {
	e, err := tlv.ParseTag(der, TagEUICCInfo2)
	if err != nil {
		return nil, err
	}
	return readEUICCInfo2(e)
}

func readEUICCInfo2(e tlv.Element) (*EUICCInfo2, error) {
	info := &EUICCInfo2{Raw: e.Raw}
	r := e.Reader()
	for len(r.Rest()) > 0 {
		e := r.Next()
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read EUICCInfo2: %w", err)
		}
		if err := info.read(e); err != nil {
			return nil, fmt.Errorf("read EUICCInfo2: field %s: %w", e.Tag, err)
		}
	}
	if info.SVN.IsZero() {
		return nil, fmt.Errorf("read EUICCInfo2: %w: svn", tlv.ErrMissing)
	}
	return info, nil
}

func (i *EUICCInfo2) read(e tlv.Element) (err error) {
	var set uint64
	switch e.Tag {
	case 0x81:
		i.ProfileVersion, err = version(e)
	case 0x82:
		i.SVN, err = version(e)
	case 0x83:
		i.Firmware, err = version(e)
	case 0x84:
		i.Resource = cardResource(e.Value)
	case 0x85:
		set, err = tlv.Bits(e.Value)
		i.UICC = UICCCapability(set)
	case 0x86:
		i.TS102241, err = version(e)
	case 0x87:
		i.GlobalPlatform, err = version(e)
	case 0x88:
		set, err = tlv.Bits(e.Value)
		i.RSP = RSPCapability(set)
	case 0xA9:
		i.Verification, err = keyIDs(e)
	case 0xAA:
		i.Signing, err = keyIDs(e)
	case 0x8B:
		var n int64
		n, err = tlv.DecodeInt(e.Value)
		i.Category = &n
	case 0x99:
		set, err = tlv.Bits(e.Value)
		i.ForbiddenPPRs, i.HasForbiddenPPRs = PPR(set), true
	case tlv.OctetString:
		i.ProtectionProfile, err = version(e)
	case tlv.UTF8String:
		i.SASAccreditation = string(e.Value)
	case 0xAC:
		r := e.Reader()
		i.PlatformLabel, i.DiscoveryURL = string(r.Value(0x80)), string(r.Value(0x81))
		err = r.Err()
	case 0x8D:
		set, err = tlv.Bits(e.Value)
		i.TRE = &set
	case 0x8E:
		i.TREReference = string(e.Value)
	case 0xAF:
		i.AdditionalVersions, err = versions(e)
	case 0x90:
		var n int64
		n, err = tlv.DecodeInt(e.Value)
		i.IPAMode = &n
	case 0xB4:
		i.IoT, err = iotInfo(e)
	}
	return err
}

// Append appends the message.
func (i *EUICCInfo2) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagEUICCInfo2, func(dst []byte) []byte {
		dst = tlv.Append(dst, 0x81, i.ProfileVersion[:])
		dst = tlv.Append(dst, 0x82, i.SVN[:])
		dst = tlv.Append(dst, 0x83, i.Firmware[:])
		dst = tlv.AppendNested(dst, 0x84, i.Resource.append)
		dst = tlv.AppendBits(dst, 0x85, uint64(i.UICC))
		dst = appendVersion(dst, 0x86, i.TS102241)
		dst = appendVersion(dst, 0x87, i.GlobalPlatform)
		dst = tlv.AppendBits(dst, 0x88, uint64(i.RSP))
		dst = appendKeyIDs(dst, 0xA9, i.Verification)
		dst = appendKeyIDs(dst, 0xAA, i.Signing)
		if i.Category != nil {
			dst = tlv.AppendInt(dst, 0x8B, *i.Category)
		}
		if i.HasForbiddenPPRs || i.ForbiddenPPRs != 0 {
			dst = tlv.AppendBits(dst, 0x99, uint64(i.ForbiddenPPRs))
		}
		dst = tlv.Append(dst, tlv.OctetString, i.ProtectionProfile[:])
		dst = tlv.AppendString(dst, tlv.UTF8String, i.SASAccreditation)
		if i.PlatformLabel != "" || i.DiscoveryURL != "" {
			dst = tlv.AppendNested(dst, 0xAC, func(dst []byte) []byte {
				return tlv.AppendString(tlv.AppendString(dst, 0x80, i.PlatformLabel), 0x81, i.DiscoveryURL)
			})
		}
		if i.TRE != nil {
			dst = tlv.AppendBits(dst, 0x8D, *i.TRE)
		}
		if i.TREReference != "" {
			dst = tlv.AppendString(dst, 0x8E, i.TREReference)
		}
		if len(i.AdditionalVersions) > 0 {
			dst = tlv.AppendNested(dst, 0xAF, func(dst []byte) []byte {
				for _, v := range i.AdditionalVersions {
					dst = tlv.Append(dst, tlv.OctetString, v[:])
				}
				return dst
			})
		}
		if i.IPAMode != nil {
			dst = tlv.AppendInt(dst, 0x90, *i.IPAMode)
		}
		if i.IoT != nil {
			dst = i.IoT.append(dst)
		}
		return dst
	})
}

// cardResource reads what it can: chips are seen that send a single octet here,
// and that is no reason to refuse them.
func cardResource(b []byte) CardResource {
	var c CardResource
	r := tlv.NewReader(b)
	for len(r.Rest()) > 0 {
		e := r.Next()
		if r.Err() != nil {
			return CardResource{}
		}
		var field *uint32
		switch e.Tag {
		case 0x81:
			field = &c.Applications
		case 0x82:
			field = &c.FreeNonVolatile
		case 0x83:
			field = &c.FreeVolatile
		default:
			continue
		}
		// Unsigned, of any length: cards write two, three or four octets.
		var n uint64
		for _, o := range e.Value {
			if n = n<<8 | uint64(o); n > math.MaxUint32 {
				return CardResource{}
			}
		}
		*field, c.Known = uint32(n), true
	}
	return c
}

func (c CardResource) append(dst []byte) []byte {
	for i, n := range []uint32{c.Applications, c.FreeNonVolatile, c.FreeVolatile} {
		size := 4
		if i == 0 {
			size = 1
		}
		b := []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
		for size < 4 && n>>(8*size) != 0 {
			size++
		}
		dst = tlv.Append(dst, tlv.Context(uint(i)+1), b[4-size:])
	}
	return dst
}

func version(e tlv.Element) (Version, error) {
	if len(e.Value) != 3 {
		return Version{}, fmt.Errorf("%w: a version has 3 octets, not %d", tlv.ErrValue, len(e.Value))
	}
	return Version(e.Value), nil
}

func versions(e tlv.Element) ([]Version, error) {
	var out []Version
	r := e.Reader()
	for len(r.Rest()) > 0 {
		v, err := version(r.Element(tlv.OctetString))
		if r.Err() != nil {
			return nil, r.Err()
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func appendVersion(dst []byte, tag tlv.Tag, v Version) []byte {
	if v.IsZero() {
		return dst
	}
	return tlv.Append(dst, tag, v[:])
}

func keyIDs(e tlv.Element) ([][]byte, error) {
	var out [][]byte
	r := e.Reader()
	for len(r.Rest()) > 0 {
		id := r.Value(tlv.OctetString)
		if err := r.Err(); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

func appendKeyIDs(dst []byte, tag tlv.Tag, ids [][]byte) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		for _, id := range ids {
			dst = tlv.Append(dst, tlv.OctetString, id)
		}
		return dst
	})
}
