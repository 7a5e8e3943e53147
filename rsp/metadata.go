package rsp

import (
	"bytes"
	"fmt"

	"godwit/ident"
	"godwit/tlv"
)

// TagStoreMetadata is the tag of the profile metadata.
const TagStoreMetadata tlv.Tag = 0xBF25

// PPR is a set of profile policy rules.
type PPR uint64

// Rules, by their bit. SGP.22 v2.5, 2.9.1.
const (
	PPRUpdateControl PPR = 1 << iota
	PPR1                 // this profile cannot be disabled
	PPR2                 // this profile cannot be deleted
)

// A ProfileClass is what a profile is for.
type ProfileClass int64

// Classes.
const (
	ClassTest         ProfileClass = 0
	ClassProvisioning ProfileClass = 1
	ClassOperational  ProfileClass = 2
)

func (c ProfileClass) String() string {
	switch c {
	case ClassTest:
		return "test"
	case ClassProvisioning:
		return "provisioning"
	case ClassOperational:
		return "operational"
	}
	return fmt.Sprintf("class %d", int64(c))
}

// An Event is a set of things that happen to a profile and that an eUICC
// reports. In one notification exactly one is set.
type Event uint64

// Events, by their bit.
const (
	EventInstall Event = 1 << iota
	EventEnable
	EventDisable
	EventDelete
)

func (e Event) String() string {
	switch e {
	case EventInstall:
		return "install"
	case EventEnable:
		return "enable"
	case EventDisable:
		return "disable"
	case EventDelete:
		return "delete"
	}
	return fmt.Sprintf("events %04b", uint64(e))
}

// A NotificationConfig asks an eUICC to report events to an address.
type NotificationConfig struct {
	Events  Event
	Address string
}

// An OperatorID names the operator that owns a profile.
type OperatorID struct {
	PLMN       [3]byte // 3GPP TS 24.008
	GID1, GID2 []byte  // nil when absent
}

// Owns reports whether the rule of a rules authorisation table that names o
// holds for a profile of owner. EE in a half octet of the PLMN is a wildcard
// digit, and an absent GID fits any. SGP.22 v2.5, 2.9.2.1.
func (o OperatorID) Owns(owner OperatorID) bool {
	for i, want := range o.PLMN {
		for _, shift := range []uint{0, 4} {
			w := want >> shift & 0xF
			if w != 0xE && w != owner.PLMN[i]>>shift&0xF {
				return false
			}
		}
	}
	return (o.GID1 == nil || bytes.Equal(o.GID1, owner.GID1)) && (o.GID2 == nil || bytes.Equal(o.GID2, owner.GID2))
}

// Metadata is what a user sees of a profile, and what the eUICC must know to
// keep it: StoreMetadataRequest. SGP.22 v2.5, 5.5.3.
type Metadata struct {
	ICCID           ident.ICCID
	ServiceProvider string // at most 32 characters
	Name            string // at most 64 characters
	IconType        *int64 // 0 JPEG, 1 PNG
	Icon            []byte // 64 by 64 pixels, at most 1024 octets
	Class           ProfileClass
	Notifications   []NotificationConfig
	Owner           *OperatorID // required with policy rules
	PPRs            PPR
	HasPPRs         bool   // the field is there, even if no rule is set
	Stored          []byte // content of serviceSpecificDataStoredInEuicc, as it is
	NotStored       []byte // content of serviceSpecificDataNotStoredInEuicc: for the LPA, over ES9+ only
	Emergency       *bool  // ecallIndication of SGP.32
	FallbackAllowed *bool  // of SGP.32: the profile may become the fallback profile

	explicitClass bool // operational was written out, though it is the default
}

// ParseMetadata reads StoreMetadataRequest.
func ParseMetadata(der []byte) (*Metadata, error) {
	e, err := tlv.ParseTag(der, TagStoreMetadata)
	if err != nil {
		return nil, fmt.Errorf("read profile metadata: %w", err)
	}
	m := &Metadata{Class: ClassOperational}
	seen := map[tlv.Tag]bool{}
	r := e.Reader()
	for len(r.Rest()) > 0 {
		e := r.Next()
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read profile metadata: %w", err)
		}
		seen[e.Tag] = true
		if err := m.read(e); err != nil {
			return nil, fmt.Errorf("read profile metadata: field %s: %w", e.Tag, err)
		}
	}
	for _, tag := range []tlv.Tag{TagICCID, 0x91, 0x92} {
		if !seen[tag] {
			return nil, fmt.Errorf("read profile metadata: %w: %s", tlv.ErrMissing, tag)
		}
	}
	return m, nil
}

func (m *Metadata) read(e tlv.Element) (err error) {
	switch e.Tag {
	case TagICCID:
		m.ICCID, err = ident.ICCIDFromOctets(e.Value)
	case 0x91:
		m.ServiceProvider, err = text(e.Value, 32)
	case 0x92:
		m.Name, err = text(e.Value, 64)
	case 0x93:
		var n int64
		n, err = tlv.DecodeInt(e.Value)
		m.IconType = &n
	case 0x94:
		m.Icon = e.Value
		if len(e.Value) > 1024 {
			err = fmt.Errorf("%w: an icon has at most 1024 octets, not %d", tlv.ErrValue, len(e.Value))
		}
	case 0x95:
		var n int64
		n, err = tlv.DecodeInt(e.Value)
		m.Class, m.explicitClass = ProfileClass(n), true
	case 0xB6:
		m.Notifications, err = notificationConfigs(e)
	case 0xB7:
		m.Owner, err = operatorID(e)
	case 0x99:
		var set uint64
		set, err = tlv.Bits(e.Value)
		m.PPRs, m.HasPPRs = PPR(set), true
	case 0xBF22:
		m.Stored = e.Value
	case 0xBF23:
		m.NotStored = e.Value
	case tagEmergency:
		m.Emergency, err = readBool(e)
	case tagFallbackAllowed:
		m.FallbackAllowed, err = readBool(e)
	}
	return err
}

// Check returns an error when the metadata would be refused by an eUICC or LPA
// that keeps to SGP.22.
func (m *Metadata) Check() error {
	switch {
	case m.ICCID == "":
		return fmt.Errorf("profile metadata has no ICCID")
	case len([]rune(m.ServiceProvider)) > 32:
		return fmt.Errorf("the service provider name has at most 32 characters; this has %d", len([]rune(m.ServiceProvider)))
	case len([]rune(m.Name)) > 64:
		return fmt.Errorf("the profile name has at most 64 characters; this has %d", len([]rune(m.Name)))
	case len(m.Icon) > 1024:
		return fmt.Errorf("the icon has at most 1024 octets; this has %d", len(m.Icon))
	case m.Icon != nil && m.IconType == nil:
		return fmt.Errorf("an icon needs its type")
	case m.PPRs != 0 && m.Owner == nil:
		return fmt.Errorf("policy rules need the profile owner beside them")
	}
	return nil
}

// Append appends the metadata with everything that is in m, as it goes to the
// LPA over ES9+.
func (m *Metadata) Append(dst []byte) []byte { return m.append(dst, true) }

// AppendStored appends the metadata as it goes into the bound profile package:
// without what the eUICC does not store.
func (m *Metadata) AppendStored(dst []byte) []byte { return m.append(dst, false) }

func (m *Metadata) append(dst []byte, all bool) []byte {
	return tlv.AppendNested(dst, TagStoreMetadata, func(dst []byte) []byte {
		dst = tlv.Append(dst, TagICCID, m.ICCID.Octets())
		dst = tlv.AppendString(dst, 0x91, m.ServiceProvider)
		dst = tlv.AppendString(dst, 0x92, m.Name)
		if m.IconType != nil {
			dst = tlv.AppendInt(dst, 0x93, *m.IconType)
		}
		if m.Icon != nil {
			dst = tlv.Append(dst, 0x94, m.Icon)
		}
		if m.Class != ClassOperational || m.explicitClass {
			dst = tlv.AppendInt(dst, 0x95, int64(m.Class))
		}
		if m.Notifications != nil {
			dst = appendNotificationConfigs(dst, m.Notifications)
		}
		if m.Owner != nil {
			dst = tlv.AppendNested(dst, 0xB7, m.Owner.append)
		}
		if m.PPRs != 0 || m.HasPPRs {
			dst = tlv.AppendBits(dst, 0x99, uint64(m.PPRs))
		}
		if m.Stored != nil {
			dst = tlv.Append(dst, 0xBF22, m.Stored)
		}
		if m.NotStored != nil && all {
			dst = tlv.Append(dst, 0xBF23, m.NotStored)
		}
		dst = appendOptionalBool(dst, tagEmergency, m.Emergency)
		return appendOptionalBool(dst, tagFallbackAllowed, m.FallbackAllowed)
	})
}

// SameMetadata reports whether the metadata shown to the user is that of the
// package: equal octets, apart from the field that never goes to the eUICC.
// SGP.22 v2.5, 3.1.3.
func SameMetadata(shown, bound []byte) bool {
	if bytes.Equal(shown, bound) {
		return true
	}
	a, err := storedFields(shown)
	if err != nil {
		return false
	}
	b, err := storedFields(bound)
	return err == nil && bytes.Equal(a, b)
}

// storedFields returns the fields of metadata in the octets in which they came,
// without serviceSpecificDataNotStoredInEuicc.
func storedFields(der []byte) ([]byte, error) {
	e, err := tlv.ParseTag(der, TagStoreMetadata)
	if err != nil {
		return nil, err
	}
	var out []byte
	r := e.Reader()
	for len(r.Rest()) > 0 {
		e := r.Next()
		if err := r.Err(); err != nil {
			return nil, err
		}
		if e.Tag != 0xBF23 {
			out = append(out, e.Raw...)
		}
	}
	return out, nil
}

// text reads a string of at most limit characters. The limit of the module is
// in characters, and old servers count octets: both pass.
func text(b []byte, limit int) (string, error) {
	s := string(b)
	if n := len([]rune(s)); n > limit {
		return "", fmt.Errorf("%w: at most %d characters, not %d", tlv.ErrValue, limit, n)
	}
	return s, nil
}

func notificationConfigs(e tlv.Element) ([]NotificationConfig, error) {
	out := []NotificationConfig{}
	r := e.Reader()
	for len(r.Rest()) > 0 {
		item := r.Sub(tlv.Sequence)
		bits := item.Value(0x80)
		address := item.Value(0x81)
		if err := item.Err(); err != nil {
			return nil, err
		}
		set, err := tlv.Bits(bits)
		if err != nil {
			return nil, err
		}
		out = append(out, NotificationConfig{Event(set), string(address)})
	}
	return out, nil
}

func appendNotificationConfigs(dst []byte, configs []NotificationConfig) []byte {
	return tlv.AppendNested(dst, 0xB6, func(dst []byte) []byte {
		for _, c := range configs {
			dst = tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
				return tlv.AppendString(tlv.AppendBits(dst, 0x80, uint64(c.Events)), 0x81, c.Address)
			})
		}
		return dst
	})
}

func operatorID(e tlv.Element) (*OperatorID, error) {
	r := e.Reader()
	o := &OperatorID{}
	copy(o.PLMN[:], r.Fixed(0x80, 3))
	o.GID1 = r.OptionalValue(0x81)
	o.GID2 = r.OptionalValue(0x82)
	return o, r.Err()
}

func (o *OperatorID) append(dst []byte) []byte {
	dst = tlv.Append(dst, 0x80, o.PLMN[:])
	if o.GID1 != nil {
		dst = tlv.Append(dst, 0x81, o.GID1)
	}
	if o.GID2 != nil {
		dst = tlv.Append(dst, 0x82, o.GID2)
	}
	return dst
}

// A Rule of the rules authorisation table says which operators may set which
// policy rules in their profiles. SGP.22 v2.5, 2.9.2.
type Rule struct {
	PPRs            PPR
	Operators       []OperatorID
	ConsentRequired bool
}

// AppendRAT appends GetRatResponse.
func AppendRAT(dst []byte, rules []Rule) []byte {
	return tlv.AppendNested(dst, TagGetRAT, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			return AppendRules(dst, rules)
		})
	})
}

func (u *Rule) append(dst []byte) []byte {
	dst = tlv.AppendBits(dst, 0x80, uint64(u.PPRs))
	dst = tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
		for _, o := range u.Operators {
			dst = tlv.AppendNested(dst, tlv.Sequence, o.append)
		}
		return dst
	})
	flags := uint64(0)
	if u.ConsentRequired {
		flags = 1
	}
	return tlv.AppendBits(dst, 0x82, flags)
}

// AppendRules appends the rules one after the other, without what is around them.
func AppendRules(dst []byte, rules []Rule) []byte {
	for i := range rules {
		dst = tlv.AppendNested(dst, tlv.Sequence, rules[i].append)
	}
	return dst
}

// ParseRAT reads GetRatResponse.
func ParseRAT(der []byte) ([]Rule, error) {
	e, err := tlv.ParseTag(der, TagGetRAT)
	if err != nil {
		return nil, fmt.Errorf("read rules authorisation table: %w", err)
	}
	r := e.Reader()
	list := r.Sub(0xA0)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read rules authorisation table: %w", err)
	}
	return ReadRules(list)
}

// ReadRules reads rules one after the other.
func ReadRules(list tlv.Reader) ([]Rule, error) {
	rules := []Rule{}
	for len(list.Rest()) > 0 {
		item := list.Sub(tlv.Sequence)
		pprs, operators, flags := item.Value(0x80), item.Sub(0xA1), item.Value(0x82)
		if err := item.Err(); err != nil {
			return nil, fmt.Errorf("read rules authorisation table: %w", err)
		}
		set, err := tlv.Bits(pprs)
		if err != nil {
			return nil, fmt.Errorf("read rules authorisation table: %w", err)
		}
		flag, err := tlv.Bits(flags)
		if err != nil {
			return nil, fmt.Errorf("read rules authorisation table: %w", err)
		}
		rule := Rule{PPRs: PPR(set), ConsentRequired: flag&1 != 0}
		for len(operators.Rest()) > 0 {
			e := operators.Element(tlv.Sequence)
			if err := operators.Err(); err != nil {
				return nil, fmt.Errorf("read rules authorisation table: %w", err)
			}
			o, err := operatorID(e)
			if err != nil {
				return nil, fmt.Errorf("read rules authorisation table: %w", err)
			}
			rule.Operators = append(rule.Operators, *o)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// Allows reports whether the table lets the owner of a profile set each of
// pprs, and whether the user has to agree. SGP.22 v2.5, 2.9.2.4.
func Allows(rules []Rule, owner *OperatorID, pprs PPR) (allowed, consent bool) {
	for _, ppr := range []PPR{PPR1, PPR2} {
		if pprs&ppr == 0 {
			continue
		}
		if owner == nil {
			return false, false
		}
		found := false
		for _, rule := range rules {
			if rule.PPRs&ppr == 0 || !rule.names(*owner) {
				continue
			}
			// The first rule that fits decides.
			found, consent = true, consent || rule.ConsentRequired
			break
		}
		if !found {
			return false, false
		}
	}
	return true, consent
}

func (u *Rule) names(owner OperatorID) bool {
	for _, o := range u.Operators {
		if o.Owns(owner) {
			return true
		}
	}
	return false
}
