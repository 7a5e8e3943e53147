package iot

import (
	"fmt"
	"math/bits"

	"godwit/rsp"
	"godwit/tlv"
)

// The functions that SGP.32 adds to ES10b. SGP.32 v1.2, 5.9. Those that answer
// with one number are read by [rsp.ParseResult]: BF59 to BF5E, BF65, BF42.

// AppendRefresh appends a request that says only whether the device wants a
// REFRESH: BF58, BF5A to BF5E.
func AppendRefresh(dst []byte, tag tlv.Tag, refresh bool) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte { return tlv.AppendBool(dst, 0x80, refresh) })
}

// ParseRefresh reads such a request.
func ParseRefresh(der []byte, tag tlv.Tag) (bool, error) {
	e, err := tlv.ParseTag(der, tag)
	if err != nil {
		return false, err
	}
	r := e.Reader()
	refresh := r.Bool(0x80)
	return refresh, wrap("read request "+tag.String(), r.Err())
}

// AppendGetEimConfiguration appends the request for what the eUICC knows of its
// eIMs; an empty id asks for all.
func AppendGetEimConfiguration(dst []byte, id string) []byte {
	return tlv.AppendNested(dst, TagGetEimConfiguration, func(dst []byte) []byte {
		if id == "" {
			return dst
		}
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte { return tlv.AppendString(dst, 0x80, id) })
	})
}

// ParseGetEimConfiguration reads the request.
func ParseGetEimConfiguration(der []byte) (id string, err error) {
	e, err := tlv.ParseTag(der, TagGetEimConfiguration)
	if err != nil {
		return "", err
	}
	r := e.Reader()
	if r.Peek() == 0xA0 {
		r = r.Sub(0xA0)
	}
	if !r.Empty() {
		id = eimID(&r)
	}
	return id, wrap("read GetEimConfigurationDataRequest", r.Err())
}

// AppendEimConfigurations appends the answer.
func AppendEimConfigurations(dst []byte, list []EimConfiguration) []byte {
	return appendConfigurations(dst, TagGetEimConfiguration, list)
}

func appendConfigurations(dst []byte, tag tlv.Tag, list []EimConfiguration) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			for i := range list {
				dst = list[i].Append(dst)
			}
			return dst
		})
	})
}

// ParseEimConfigurations reads the answer.
func ParseEimConfigurations(der []byte) ([]EimConfiguration, error) {
	return readConfigurations(der, TagGetEimConfiguration)
}

func readConfigurations(der []byte, tag tlv.Tag) ([]EimConfiguration, error) {
	arm, err := tlv.ParseChoice(der, tag)
	if err != nil {
		return nil, err
	}
	if arm.Tag != 0xA0 {
		return nil, fmt.Errorf("read %s: %w: eimConfigurationDataList, have %s", tag, tlv.ErrMissing, arm.Tag)
	}
	r := arm.Reader()
	list := []EimConfiguration{}
	for _, e := range elements(&r, MaxEims) {
		c, err := readEimConfiguration(e)
		if err != nil {
			return nil, err
		}
		list = append(list, *c)
	}
	return list, wrap("read "+tag.String(), r.Err())
}

// AppendAddInitialEim appends the request that gives an eUICC its first eIMs.
func AppendAddInitialEim(dst []byte, list []EimConfiguration) []byte {
	return appendConfigurations(dst, TagAddInitialEim, list)
}

// ParseAddInitialEim reads the request.
func ParseAddInitialEim(der []byte) ([]EimConfiguration, error) {
	return readConfigurations(der, TagAddInitialEim)
}

// An AddInitialEimResult is the answer: for each eIM the association token that
// the eUICC made or nil, or an error for all.
type AddInitialEimResult struct {
	Tokens []*int64
	Error  int64 // [ResultAssociated] and so on; 0 when it was done
}

// Append appends the answer.
func (p *AddInitialEimResult) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagAddInitialEim, func(dst []byte) []byte {
		if p.Error != 0 {
			return tlv.AppendInt(dst, 0x81, p.Error)
		}
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			for _, token := range p.Tokens {
				if token == nil {
					dst = tlv.Append(dst, tlv.Null, nil)
				}
				dst = appendOptionalInt(dst, 0x84, token)
			}
			return dst
		})
	})
}

// ParseAddInitialEimResult reads the answer.
func ParseAddInitialEimResult(der []byte) (*AddInitialEimResult, error) {
	arm, err := tlv.ParseChoice(der, TagAddInitialEim)
	if err != nil {
		return nil, err
	}
	p := &AddInitialEimResult{}
	switch arm.Tag {
	case 0x81, tlv.Integer:
		p.Error, err = errorNumber(arm)
		return p, wrap("read AddInitialEimResponse", err)
	case 0xA0:
	default:
		return nil, fmt.Errorf("read AddInitialEimResponse: %w: have %s", tlv.ErrMissing, arm.Tag)
	}
	r := arm.Reader()
	for _, e := range elements(&r, MaxEims) {
		var token *int64
		if e.Tag == 0x84 {
			n, err := tlv.DecodeInt(e.Value)
			if err != nil {
				return nil, fmt.Errorf("read AddInitialEimResponse: %w", err)
			}
			token = &n
		}
		p.Tokens = append(p.Tokens, token)
	}
	return p, wrap("read AddInitialEimResponse", r.Err())
}

// AppendGetCerts appends the request for the eUICC's certificates; ci is the key
// identifier of the CI that they are to come from, or nil for the preferred one.
func AppendGetCerts(dst, ci []byte) []byte {
	return tlv.AppendNested(dst, TagGetCerts, func(dst []byte) []byte {
		if ci == nil {
			return dst
		}
		return tlv.Append(dst, 0x80, ci)
	})
}

// ParseGetCerts reads the request.
func ParseGetCerts(der []byte) (ci []byte, err error) {
	e, err := tlv.ParseTag(der, TagGetCerts)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	ci = r.OptionalValue(0x80)
	return ci, wrap("read GetCertsRequest", r.Err())
}

// Certs are an eUICC's certificates, DER, or the error in their place: 1 invalid
// key identifier, 127 undefined.
type Certs struct {
	EUM, EUICC []byte
	Error      int64
}

// Append appends the answer to GetCerts.
func (p *Certs) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagGetCerts, func(dst []byte) []byte {
		if p.Error != 0 {
			return tlv.AppendInt(dst, 0x81, p.Error)
		}
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			return appendCertificate(appendCertificate(dst, DataEUMCertificate, p.EUM), DataEUICCCertificate, p.EUICC)
		})
	})
}

// ParseCerts reads the answer to GetCerts.
func ParseCerts(der []byte) (*Certs, error) {
	arm, err := tlv.ParseChoice(der, TagGetCerts)
	if err != nil {
		return nil, err
	}
	p := &Certs{}
	if arm.Tag != 0xA0 {
		p.Error, err = errorNumber(arm)
		return p, wrap("read GetCertsResponse", err)
	}
	r := arm.Reader()
	eum, euicc := r.Element(DataEUMCertificate), r.Element(DataEUICCCertificate)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read GetCertsResponse: %w", err)
	}
	if p.EUM, err = wholeSequence(eum); err == nil {
		p.EUICC, err = wholeSequence(euicc)
	}
	return p, wrap("read GetCertsResponse", err)
}

// AppendConfigureImmediate appends the IPA's own form of
// configureImmediateEnable, for an eUICC without eIM.
func AppendConfigureImmediate(dst []byte, i *ImmediateEnable) []byte {
	return i.append(dst, TagConfigureImmediate)
}

// ParseConfigureImmediate reads the request.
func ParseConfigureImmediate(der []byte) (*ImmediateEnable, error) {
	e, err := tlv.ParseTag(der, TagConfigureImmediate)
	if err != nil {
		return nil, err
	}
	i, err := readImmediate(e)
	return i, wrap("read ConfigureImmediateProfileEnablingRequest", err)
}

// AppendRollback appends the answer to ProfileRollback: a number, and when it is 0
// the package result that takes the place of the undelivered one.
func AppendRollback(dst []byte, code int64, result []byte) []byte {
	return tlv.AppendNested(dst, TagProfileRollback, func(dst []byte) []byte {
		return append(tlv.AppendInt(dst, tlv.Integer, code), result...)
	})
}

// ParseRollback reads the answer.
func ParseRollback(der []byte) (code int64, result []byte, err error) {
	e, err := tlv.ParseTag(der, TagProfileRollback)
	if err != nil {
		return 0, nil, err
	}
	r := e.Reader()
	tag := tlv.Integer
	if r.Peek() == 0x80 { // from peers that tag it
		tag = 0x80
	}
	code = r.Int(tag)
	if e, ok := r.Optional(TagPackage); ok {
		result = e.Raw
	}
	return code, result, wrap("read ProfileRollbackResponse", r.Err())
}

// AppendRetrieveResults appends the request for package results that wait, the
// form of RetrieveNotificationsList that SGP.32 adds.
func AppendRetrieveResults(dst []byte) []byte {
	return tlv.AppendNested(dst, rsp.TagRetrieveNotifications, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte { return tlv.Append(dst, 0x82, nil) })
	})
}

// IsRetrieveResults reports whether a RetrieveNotificationsList asks for package
// results.
func IsRetrieveResults(der []byte) bool {
	e, err := tlv.ParseTag(der, rsp.TagRetrieveNotifications)
	if err != nil {
		return false
	}
	r := e.Reader()
	if r.Peek() == 0xA0 {
		r = r.Sub(0xA0)
	}
	return r.Peek() == 0x82
}

// AppendResults appends the answer made of package results as they were signed.
func AppendResults(dst []byte, raw [][]byte) []byte {
	return tlv.AppendNested(dst, rsp.TagRetrieveNotifications, func(dst []byte) []byte {
		return appendRaws(dst, 0xA2, raw)
	})
}

// ParseResults reads the answer: package results, BF51. The error is a
// [*rsp.ListError] when the eUICC refused.
func ParseResults(der []byte) ([][]byte, error) {
	arm, err := tlv.ParseChoice(der, rsp.TagRetrieveNotifications)
	if err != nil {
		return nil, err
	}
	switch arm.Tag {
	case 0xA2:
		list, err := raws(arm, MaxNotifications)
		return list, wrap("read package results", err)
	case 0x81, tlv.Integer:
		n, err := tlv.DecodeInt(arm.Value)
		if err != nil {
			return nil, fmt.Errorf("read package results: %w", err)
		}
		return nil, &rsp.ListError{Tag: rsp.TagRetrieveNotifications, Code: n}
	}
	return nil, fmt.Errorf("read package results: %w: have %s", tlv.ErrMissing, arm.Tag)
}

// ResetOptions say what a memory reset takes away.
type ResetOptions uint64

// Options of ES10b.eUICCMemoryReset of SGP.32, by their bit.
const (
	ResetOperational ResetOptions = 1 << iota
	ResetFieldTest
	ResetDefaultDP
	ResetPreloadedTest
	ResetProvisioning
	ResetEims
	ResetImmediate
)

// AppendMemoryReset appends the request.
func AppendMemoryReset(dst []byte, options ResetOptions) []byte {
	return tlv.AppendNested(dst, TagMemoryReset, func(dst []byte) []byte {
		// All seven bits are written, not the trimmed form, as for SGP.22's reset.
		return tlv.Append(dst, 0x82, []byte{1, bits.Reverse8(byte(options)) & 0xFE})
	})
}

// ParseMemoryReset reads the request.
func ParseMemoryReset(der []byte) (ResetOptions, error) {
	set, err := rsp.ParseResetBits(der, TagMemoryReset)
	return ResetOptions(set), err
}

// A MemoryResetResult is the answer. The last two are nil when they were not asked
// for.
type MemoryResetResult struct {
	Result    int64  // 0, 1 nothing to delete, 5 busy, 104, 127
	Eims      *int64 // 0, 1 nothing to delete, 2 not supported, 127
	Immediate *int64 // 0, 1 not supported, 127
}

// Append appends the answer.
func (p *MemoryResetResult) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagMemoryReset, func(dst []byte) []byte {
		dst = tlv.AppendInt(dst, 0x80, p.Result)
		return appendOptionalInt(appendOptionalInt(dst, 0x81, p.Eims), 0x82, p.Immediate)
	})
}

// ParseMemoryResetResult reads the answer.
func ParseMemoryResetResult(der []byte) (*MemoryResetResult, error) {
	e, err := tlv.ParseTag(der, TagMemoryReset)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	p := &MemoryResetResult{Result: r.Int(0x80), Eims: optionalInt(&r, 0x81), Immediate: optionalInt(&r, 0x82)}
	return p, wrap("read EuiccMemoryResetResponse", r.Err())
}

// AppendSetDefaultDP appends the request; an empty address clears.
func AppendSetDefaultDP(dst []byte, address string) []byte {
	return tlv.AppendNested(dst, TagSetDefaultDPAddress, func(dst []byte) []byte { return tlv.AppendString(dst, 0x80, address) })
}

// ParseSetDefaultDP reads the request.
func ParseSetDefaultDP(der []byte) (string, error) {
	e, err := tlv.ParseTag(der, TagSetDefaultDPAddress)
	if err != nil {
		return "", err
	}
	r := e.Reader()
	tag := tlv.Tag(0x80)
	if r.Peek() == tlv.UTF8String { // from peers without automatic tags
		tag = tlv.UTF8String
	}
	address := string(r.Value(tag))
	return address, wrap("read SetDefaultDpAddressRequest", r.Err())
}

// AppendConnectivityParameters appends the answer to GetConnectivityParameters;
// http is the enabled profile's, as 3GPP TS 31.102 has them.
func AppendConnectivityParameters(dst, http []byte) []byte {
	return tlv.AppendNested(dst, TagConnectivityParameters, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte { return tlv.Append(dst, 0x81, http) })
	})
}

// ParseConnectivityParameters reads the answer. The error is a [*rsp.ListError]
// when there are none (1).
func ParseConnectivityParameters(der []byte) (http []byte, err error) {
	arm, err := tlv.ParseChoice(der, TagConnectivityParameters)
	if err != nil {
		return nil, err
	}
	if arm.Tag != 0xA0 {
		n, err := errorNumber(arm)
		if err != nil {
			return nil, fmt.Errorf("read GetConnectivityParametersResponse: %w", err)
		}
		return nil, &rsp.ListError{Tag: TagConnectivityParameters, Code: n}
	}
	r := arm.Reader()
	http = r.OptionalValue(0x81)
	return http, wrap("read GetConnectivityParametersResponse", r.Err())
}

// An ISDRTemplate is what an ISD-R of an IoT eUICC says of itself when it is
// selected, beside what SGP.22 has.
type ISDRTemplate struct {
	IPAe    bool // there is an IPA in the eUICC
	Enabled bool // a profile is enabled
}

// Append appends the element E1.
func (t *ISDRTemplate) Append(dst []byte) []byte {
	var set uint64
	if t.IPAe {
		set |= 1
	}
	if t.Enabled {
		set |= 2
	}
	return tlv.AppendNested(dst, TagISDRTemplate, func(dst []byte) []byte { return tlv.AppendBits(dst, 0x80, set) })
}

// FindISDRTemplate looks for the template in the answer to SELECT. It returns nil
// when there is none: the eUICC does not speak SGP.32.
func FindISDRTemplate(fci []byte) *ISDRTemplate {
	var found *ISDRTemplate
	// The answer is the card's: what cannot be read is not there.
	_ = tlv.Walk(fci, func(_ int, e tlv.Element) error {
		if e.Tag != TagISDRTemplate || found != nil {
			return nil
		}
		r := e.Reader()
		set, err := tlv.Bits(r.Value(0x80))
		if r.Err() == nil && err == nil {
			found = &ISDRTemplate{IPAe: set&1 != 0, Enabled: set&2 != 0}
		}
		return nil
	})
	return found
}
