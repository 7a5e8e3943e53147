package rsp

import (
	"fmt"
	"math/bits"

	"godwit/ident"
	"godwit/tlv"
)

// A Selector picks profiles: by ICCID, by AID, by class, or all when it is zero.
type Selector struct {
	ICCID ident.ICCID
	AID   []byte
	Class *ProfileClass
}

func (s *Selector) append(dst []byte) []byte {
	switch {
	case s.AID != nil:
		return tlv.Append(dst, TagISDPAID, s.AID)
	case s.ICCID != "":
		return tlv.Append(dst, TagICCID, s.ICCID.Octets())
	case s.Class != nil:
		return tlv.AppendInt(dst, 0x95, int64(*s.Class))
	}
	return dst
}

func (s *Selector) isZero() bool { return s.AID == nil && s.ICCID == "" && s.Class == nil }

func readSelector(e tlv.Element) (Selector, error) {
	switch e.Tag {
	case TagISDPAID:
		return Selector{AID: e.Value}, nil
	case TagICCID:
		iccid, err := ident.ICCIDFromOctets(e.Value)
		return Selector{ICCID: iccid}, err
	case 0x95:
		n, err := tlv.DecodeInt(e.Value)
		class := ProfileClass(n)
		return Selector{Class: &class}, err
	}
	return Selector{}, fmt.Errorf("%w: profile identifier, have %s", tlv.ErrMissing, e.Tag)
}

// A ProfileInfoListRequest asks what profiles there are.
type ProfileInfoListRequest struct {
	Select Selector
	Tags   []byte // tag list, nil for the default selection of fields
}

// Append appends the request.
func (q *ProfileInfoListRequest) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagGetProfilesInfo, func(dst []byte) []byte {
		if !q.Select.isZero() {
			dst = tlv.AppendNested(dst, 0xA0, q.Select.append)
		}
		if q.Tags != nil {
			dst = tlv.Append(dst, TagTagList, q.Tags)
		}
		return dst
	})
}

// ParseProfileInfoListRequest reads the request.
func ParseProfileInfoListRequest(der []byte) (*ProfileInfoListRequest, error) {
	e, err := tlv.ParseTag(der, TagGetProfilesInfo)
	if err != nil {
		return nil, err
	}
	q := &ProfileInfoListRequest{}
	r := e.Reader()
	if e, ok := r.Optional(0xA0); ok {
		inner, err := tlv.Parse(e.Value)
		if err != nil {
			return nil, fmt.Errorf("read ProfileInfoListRequest: %w", err)
		}
		if q.Select, err = readSelector(inner); err != nil {
			return nil, fmt.Errorf("read ProfileInfoListRequest: %w", err)
		}
	}
	q.Tags = r.OptionalValue(TagTagList)
	return q, wrap("read ProfileInfoListRequest", r.Err())
}

// Tags splits a tag list.
func Tags(list []byte) ([]tlv.Tag, error) {
	var out []tlv.Tag
	for i := 0; i < len(list); {
		tag, start := tlv.Tag(list[i]), i
		i++
		for more := tag&0x1F == 0x1F; more; i++ {
			if i == len(list) || i-start == 3 {
				return nil, fmt.Errorf("%w: tag list %X", tlv.ErrTag, list)
			}
			tag, more = tag<<8|tlv.Tag(list[i]), list[i]&0x80 != 0
		}
		out = append(out, tag)
	}
	return out, nil
}

// ProfileInfo is what an eUICC tells about one profile. Fields that it left out
// are zero.
type ProfileInfo struct {
	ICCID           ident.ICCID
	AID             []byte
	Enabled         *bool
	Nickname        *string
	ServiceProvider *string
	Name            *string
	IconType        *int64
	Icon            []byte
	Class           *ProfileClass
	Notifications   []NotificationConfig
	Owner           *OperatorID
	DPProprietary   []byte // content of dpProprietaryData
	PPRs            *PPR
	Stored          []byte // content of serviceSpecificDataStoredInEuicc

	// What SGP.32 adds.
	Emergency       *bool // ecallIndication: an emergency profile
	Fallback        bool  // fallbackAttribute: the profile for lost connectivity
	FallbackAllowed *bool // its owner lets it be the fallback profile
}

// Append appends the element E3.
func (p *ProfileInfo) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagProfileInfo, func(dst []byte) []byte {
		if p.ICCID != "" {
			dst = tlv.Append(dst, TagICCID, p.ICCID.Octets())
		}
		if p.AID != nil {
			dst = tlv.Append(dst, TagISDPAID, p.AID)
		}
		if p.Enabled != nil {
			state := int64(0)
			if *p.Enabled {
				state = 1
			}
			dst = tlv.AppendInt(dst, 0x9F70, state)
		}
		for i, s := range []*string{p.Nickname, p.ServiceProvider, p.Name} {
			if s != nil {
				dst = tlv.AppendString(dst, 0x90+tlv.Tag(i), *s)
			}
		}
		if p.IconType != nil {
			dst = tlv.AppendInt(dst, 0x93, *p.IconType)
		}
		if p.Icon != nil {
			dst = tlv.Append(dst, 0x94, p.Icon)
		}
		if p.Class != nil {
			dst = tlv.AppendInt(dst, 0x95, int64(*p.Class))
		}
		if p.Notifications != nil {
			dst = appendNotificationConfigs(dst, p.Notifications)
		}
		if p.Owner != nil {
			dst = tlv.AppendNested(dst, 0xB7, p.Owner.append)
		}
		if p.DPProprietary != nil {
			dst = tlv.Append(dst, 0xB8, p.DPProprietary)
		}
		if p.PPRs != nil {
			dst = tlv.AppendBits(dst, 0x99, uint64(*p.PPRs))
		}
		if p.Stored != nil {
			dst = tlv.Append(dst, 0xBF22, p.Stored)
		}
		dst = appendOptionalBool(dst, tagEmergency, p.Emergency)
		if p.Fallback {
			dst = tlv.AppendBool(dst, tagFallback, true)
		}
		return appendOptionalBool(dst, tagFallbackAllowed, p.FallbackAllowed)
	})
}

// ReadProfileInfo reads one element E3.
func ReadProfileInfo(e tlv.Element) (*ProfileInfo, error) {
	if e.Tag != TagProfileInfo {
		return nil, fmt.Errorf("read profile information: %w: have %s", tlv.ErrMissing, e.Tag)
	}
	p, err := profileInfo(e)
	return p, wrap("read profile information", err)
}

func profileInfo(e tlv.Element) (*ProfileInfo, error) {
	p := &ProfileInfo{}
	r := e.Reader()
	for len(r.Rest()) > 0 {
		e := r.Next()
		if err := r.Err(); err != nil {
			return nil, err
		}
		if err := p.read(e); err != nil {
			return nil, fmt.Errorf("field %s: %w", e.Tag, err)
		}
	}
	return p, nil
}

func (p *ProfileInfo) read(e tlv.Element) (err error) {
	var n int64
	switch e.Tag {
	case TagICCID:
		// One odd number must not hide the other profiles: this one still has
		// its AID.
		p.ICCID, _ = ident.ICCIDFromOctets(e.Value)
	case TagISDPAID:
		p.AID = e.Value
	case 0x9F70:
		n, err = tlv.DecodeInt(e.Value)
		p.Enabled = new(n == 1)
	case 0x90:
		p.Nickname = new(string(e.Value))
	case 0x91:
		p.ServiceProvider = new(string(e.Value))
	case 0x92:
		p.Name = new(string(e.Value))
	case 0x93:
		n, err = tlv.DecodeInt(e.Value)
		p.IconType = &n
	case 0x94:
		p.Icon = e.Value
	case 0x95:
		n, err = tlv.DecodeInt(e.Value)
		p.Class = new(ProfileClass(n))
	case 0xB6:
		p.Notifications, err = notificationConfigs(e)
	case 0xB7:
		p.Owner, err = operatorID(e)
	case 0xB8:
		p.DPProprietary = e.Value
	case 0x99:
		var set uint64
		set, err = tlv.Bits(e.Value)
		p.PPRs = new(PPR(set))
	case 0xBF22:
		p.Stored = e.Value
	case tagEmergency:
		p.Emergency, err = readBool(e)
	case tagFallback:
		var set *bool
		if set, err = readBool(e); err == nil {
			p.Fallback = *set
		}
	case tagFallbackAllowed:
		p.FallbackAllowed, err = readBool(e)
	}
	return err
}

// AppendProfileInfoList appends the answer to GetProfilesInfo.
func AppendProfileInfoList(dst []byte, profiles []ProfileInfo) []byte {
	return tlv.AppendNested(dst, TagGetProfilesInfo, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			for i := range profiles {
				dst = profiles[i].Append(dst)
			}
			return dst
		})
	})
}

// AppendListError appends the answer of a list function that failed: A0 with
// the list becomes 81 with a number.
func AppendListError(dst []byte, tag tlv.Tag, code int64) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte { return tlv.AppendInt(dst, 0x81, code) })
}

// A ListError is the number that a list function answered with.
type ListError struct {
	Tag  tlv.Tag
	Code int64
}

func (e *ListError) Error() string { return fmt.Sprintf("function %s failed with %d", e.Tag, e.Code) }

// list returns a reader of the items of a list function's answer.
func list(der []byte, tag tlv.Tag) (tlv.Reader, error) {
	arm, err := tlv.ParseChoice(der, tag)
	if err != nil {
		return tlv.Reader{}, err
	}
	switch arm.Tag {
	case 0xA0:
		return arm.Reader(), nil
	case 0x81, tlv.Integer:
		n, err := tlv.DecodeInt(arm.Value)
		if err != nil {
			return tlv.Reader{}, fmt.Errorf("read %s: %w", tag, err)
		}
		return tlv.Reader{}, &ListError{tag, n}
	}
	return tlv.Reader{}, fmt.Errorf("read %s: %w: list, have %s", tag, tlv.ErrMissing, arm.Tag)
}

// ParseProfileInfoList reads the answer to GetProfilesInfo. The error is a
// [*ListError] when the eUICC refused.
func ParseProfileInfoList(der []byte) ([]ProfileInfo, error) {
	r, err := list(der, TagGetProfilesInfo)
	if err != nil {
		return nil, err
	}
	out := []ProfileInfo{}
	for len(r.Rest()) > 0 {
		e := r.Element(TagProfileInfo)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read profile list: %w", err)
		}
		p, err := profileInfo(e)
		if err != nil {
			return nil, fmt.Errorf("read profile list: %w", err)
		}
		out = append(out, *p)
	}
	return out, nil
}

// A ProfileRequest enables or disables the selected profile.
type ProfileRequest struct {
	Select  Selector
	Refresh bool // the device wants a REFRESH
}

// Append appends the request with the tag of EnableProfile or DisableProfile.
func (q *ProfileRequest) Append(dst []byte, tag tlv.Tag) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		dst = tlv.AppendNested(dst, 0xA0, q.Select.append)
		return tlv.AppendBool(dst, 0x81, q.Refresh)
	})
}

// ParseProfileRequest reads the request.
func ParseProfileRequest(der []byte, tag tlv.Tag) (*ProfileRequest, error) {
	e, err := tlv.ParseTag(der, tag)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	choice := r.Sub(0xA0)
	id := choice.Next()
	q := &ProfileRequest{Refresh: r.Bool(0x81)}
	r.Fail(choice.Err())
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read request %s: %w", tag, err)
	}
	if q.Select, err = readSelector(id); err != nil {
		return nil, fmt.Errorf("read request %s: %w", tag, err)
	}
	return q, nil
}

// AppendDeleteProfile appends the request.
func AppendDeleteProfile(dst []byte, s Selector) []byte {
	return tlv.AppendNested(dst, TagDeleteProfile, s.append)
}

// ParseDeleteProfile reads the request.
func ParseDeleteProfile(der []byte) (Selector, error) {
	arm, err := tlv.ParseChoice(der, TagDeleteProfile)
	if err != nil {
		return Selector{}, err
	}
	return readSelector(arm)
}

// ResetOptions say what a memory reset takes away.
type ResetOptions uint64

// Options, by their bit.
const (
	ResetOperational ResetOptions = 1 << iota
	ResetFieldTest
	ResetDefaultDP
)

// AppendMemoryReset appends the request.
func AppendMemoryReset(dst []byte, options ResetOptions) []byte {
	return tlv.AppendNested(dst, TagMemoryReset, func(dst []byte) []byte {
		// All three bits are written, as the LPAs in the field do, not the
		// trimmed form: chips are tested with this one.
		return tlv.Append(dst, 0x82, []byte{5, bits.Reverse8(byte(options)) & 0xE0})
	})
}

// ParseMemoryReset reads the request.
func ParseMemoryReset(der []byte) (ResetOptions, error) {
	set, err := ParseResetBits(der, TagMemoryReset)
	return ResetOptions(set), err
}

// ParseResetBits reads the options of a memory reset, which has other ones and
// another tag in SGP.32.
func ParseResetBits(der []byte, tag tlv.Tag) (uint64, error) {
	e, err := tlv.ParseTag(der, tag)
	if err != nil {
		return 0, err
	}
	r := e.Reader()
	value := r.Value(0x82)
	if err := r.Err(); err != nil {
		return 0, fmt.Errorf("read EuiccMemoryResetRequest: %w", err)
	}
	set, err := tlv.Bits(value)
	return set, wrap("read EuiccMemoryResetRequest", err)
}

// A NicknameRequest names a profile as its user likes.
type NicknameRequest struct {
	ICCID    ident.ICCID
	Nickname string // at most 64 characters; empty takes it away
}

// Append appends the request.
func (q *NicknameRequest) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagSetNickname, func(dst []byte) []byte {
		return tlv.AppendString(tlv.Append(dst, TagICCID, q.ICCID.Octets()), 0x90, q.Nickname)
	})
}

// ParseNicknameRequest reads the request.
func ParseNicknameRequest(der []byte) (*NicknameRequest, error) {
	e, err := tlv.ParseTag(der, TagSetNickname)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	iccid := r.Value(TagICCID)
	name := r.Value(0x90)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read SetNicknameRequest: %w", err)
	}
	q := &NicknameRequest{}
	if q.ICCID, err = ident.ICCIDFromOctets(iccid); err != nil {
		return nil, fmt.Errorf("read SetNicknameRequest: %w", err)
	}
	q.Nickname, err = text(name, 64)
	return q, wrap("read SetNicknameRequest", err)
}
