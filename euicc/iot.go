package euicc

import (
	"bytes"
	"slices"

	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
	"godwit/tlv"
)

// iotVersions are the versions of SGP.32 that an IoT chip announces.
var iotVersions = []rsp.Version{{1, 2, 0}}

// iotState is what an IoT chip remembers beside the rest.
type iotState struct {
	Eims []*association `json:"eims,omitempty"`
	// Tokens is the newest association token that the chip made. It only grows.
	Tokens int64 `json:"tokens,omitempty"`
	// Results wait for the eIM. Their numbers are those of notifications.
	Results []*packageResult `json:"results,omitempty"`
	// Rollback is set while the last enabled profile can still be taken back.
	Rollback *rollback `json:"rollback,omitempty"`
	// Immediate says which profiles may be enabled right after installation.
	Immediate *iot.ImmediateEnable `json:"immediate,omitempty"`

	Fallback        ident.ICCID `json:"fallback,omitempty"`         // the profile with the fallback attribute
	InFallback      bool        `json:"in_fallback,omitempty"`      // it was enabled by ExecuteFallbackMechanism
	BeforeFallback  ident.ICCID `json:"before_fallback,omitempty"`  // the profile to return to
	BeforeEmergency ident.ICCID `json:"before_emergency,omitempty"` // the profile that the emergency profile took the place of
}

// An association is what the chip knows of one eIM.
type association struct {
	// Config is EimConfigurationData, without counter and token.
	Config  []byte `json:"config"`
	ID      string `json:"id"`
	Counter int64  `json:"counter"` // of the newest package taken
	Token   *int64 `json:"token,omitempty"`
}

// A packageResult is a signed answer to a package.
type packageResult struct {
	Sequence int64  `json:"sequence"`
	Raw      []byte `json:"raw"` // BF51
}

// A rollback is what is needed to take back a change that cut the device off.
type rollback struct {
	EimID    string      `json:"eim_id"`
	Sequence int64       `json:"sequence"` // of the result that was not delivered
	Previous ident.ICCID `json:"previous"` // the profile to go back to
	Enabled  ident.ICCID `json:"enabled"`
}

// A fresh profile has just been installed.
type fresh struct {
	iccid   ident.ICCID
	oid     ident.OID
	address string
}

// iotFunctions are those that SGP.32 adds to ES10b, by tag. SGP.32 v1.2, 5.9.
var iotFunctions map[tlv.Tag]func(c *Card, data []byte) ([]byte, error)

func init() { // a literal would depend on itself
	iotFunctions = map[tlv.Tag]func(c *Card, data []byte) ([]byte, error){
		iot.TagPackage:                (*Card).takePackage,
		iot.TagGetEimConfiguration:    (*Card).eimConfigurations,
		iot.TagGetCerts:               (*Card).getCerts,
		iot.TagAddInitialEim:          (*Card).addInitialEim,
		iot.TagProfileRollback:        (*Card).rollBack,
		iot.TagConfigureImmediate:     (*Card).configureImmediate,
		iot.TagImmediateEnable:        (*Card).immediateEnable,
		iot.TagEnableEmergency:        (*Card).enableEmergency,
		iot.TagDisableEmergency:       (*Card).disableEmergency,
		iot.TagExecuteFallback:        (*Card).executeFallback,
		iot.TagReturnFromFallback:     (*Card).returnFromFallback,
		iot.TagConnectivityParameters: (*Card).connectivityParameters,
		iot.TagMemoryReset:            (*Card).memoryResetIoT,
		iot.TagSetDefaultDPAddress:    (*Card).setDefaultDPIoT,
		iot.TagIPAeActivation:         (*Card).activateIPAe,
	}
}

// consumerOnly are functions of SGP.22 that an IoT chip does not have: what they
// do is for eIMs to order.
var consumerOnly = []tlv.Tag{
	rsp.TagEnableProfile, rsp.TagDisableProfile, rsp.TagDeleteProfile, rsp.TagMemoryReset, rsp.TagSetNickname,
	rsp.TagSetDefaultDPAddress,
}

// defaultTags are the fields of a profile that are shown when nobody names any.
func (cfg *Config) defaultTags() []tlv.Tag {
	if cfg.IoT {
		return append(slices.Clip(defaultTags), 0x9F7B, 0x9F26, 0x9F67)
	}
	return defaultTags
}

// getCerts is ES10b.GetCerts of SGP.32. The key identifier may be cut short.
func (c *Card) getCerts(data []byte) ([]byte, error) {
	ci, err := iot.ParseGetCerts(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	for _, cred := range c.cfg.Credentials {
		if bytes.HasPrefix(cred.EUM.AuthorityKeyID, ci) {
			return (&iot.Certs{EUM: cred.EUM.Raw, EUICC: cred.EUICC.Raw}).Append(nil), nil
		}
	}
	return (&iot.Certs{Error: 1}).Append(nil), nil
}

// connectivityParameters is ES10b.GetConnectivityParameters of SGP.32. No profile
// has any: they are loaded over the air, which this card does not take.
func (c *Card) connectivityParameters([]byte) ([]byte, error) {
	return rsp.AppendListError(nil, iot.TagConnectivityParameters, 1), nil
}

// setDefaultDPIoT is ES10b.SetDefaultDpAddress of SGP.32.
func (c *Card) setDefaultDPIoT(data []byte) ([]byte, error) {
	address, err := iot.ParseSetDefaultDP(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	result, err := c.try(func(s *state) (int64, error) { return s.setDefaultDP(address), nil })
	if err != nil {
		return nil, err
	}
	return rsp.AppendResult(nil, iot.TagSetDefaultDPAddress, result), nil
}

func (s *state) setDefaultDP(address string) int64 {
	if !isAddress(address) {
		return rsp.ResultUndefined
	}
	s.DefaultDP = address
	return rsp.ResultOK
}

// activateIPAe answers the activation of an IPAe. There is no IPA in the chip.
func (c *Card) activateIPAe([]byte) ([]byte, error) {
	return rsp.AppendResult(nil, iot.TagIPAeActivation, 1), nil
}

// retrieveResults is ES10b.RetrieveNotificationsList of SGP.32, for results.
func (c *Card) retrieveResults() ([]byte, error) {
	var list [][]byte
	for _, r := range c.state.Results {
		list = append(list, r.Raw)
	}
	return iot.AppendResults(nil, list), nil
}

// memoryResetIoT is ES10b.eUICCMemoryReset of SGP.32. It knows no policy rules.
func (c *Card) memoryResetIoT(data []byte) ([]byte, error) {
	options, err := iot.ParseMemoryReset(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	answer := iot.MemoryResetResult{}
	switch {
	case c.toolkit.busy:
		answer.Result = rsp.ResultCATBusy
		return answer.Append(nil), nil
	case c.state.emergency():
		answer.Result = iot.ResultECallActive
		return answer.Append(nil), nil
	}
	before := c.state.enabled()
	err = c.update(func(s *state) error {
		done, err := c.resetProfiles(s, options)
		const profileOptions = iot.ResetOperational | iot.ResetFieldTest | iot.ResetDefaultDP | iot.ResetPreloadedTest | iot.ResetProvisioning
		if options&profileOptions != 0 && !done {
			answer.Result = rsp.ResultNotFound
		}
		if options&iot.ResetEims != 0 {
			answer.Eims = new(int64(rsp.ResultOK))
			if len(s.Eims) == 0 {
				*answer.Eims = rsp.ResultNotFound
			}
			s.Eims = nil
		}
		if options&iot.ResetImmediate != 0 {
			answer.Immediate = new(int64(rsp.ResultOK))
			s.Immediate = nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if before != nil && c.state.enabled() == nil {
		c.restart(true)
	}
	return answer.Append(nil), nil
}

// resetProfiles takes away what the options say, and reports whether that was
// anything.
func (c *Card) resetProfiles(s *state, options iot.ResetOptions) (done bool, err error) {
	classes := map[rsp.ProfileClass]iot.ResetOptions{
		rsp.ClassOperational: iot.ResetOperational, rsp.ClassTest: iot.ResetFieldTest, rsp.ClassProvisioning: iot.ResetProvisioning,
	}
	for _, p := range slices.Clone(s.Profiles) {
		if options&classes[p.class()] == 0 {
			continue
		}
		done = true
		if err := c.erase(s, p); err != nil {
			return done, err
		}
	}
	if options&iot.ResetDefaultDP != 0 && s.DefaultDP != c.cfg.DefaultDP {
		s.DefaultDP, done = c.cfg.DefaultDP, true
	}
	return done, nil
}

// isEmergency reports whether a profile is an emergency profile.
func (p *profile) isEmergency() bool {
	m, err := rsp.ParseMetadata(p.Metadata)
	return err == nil && m.Emergency != nil && *m.Emergency
}

// mayFallBack reports whether the owner of a profile lets it be the fallback
// profile.
func (p *profile) mayFallBack() bool {
	m, err := rsp.ParseMetadata(p.Metadata)
	return err == nil && m.FallbackAllowed != nil && *m.FallbackAllowed
}

// emergency reports whether the emergency profile is enabled.
func (s *state) emergency() bool {
	p := s.enabled()
	return p != nil && p.isEmergency()
}
