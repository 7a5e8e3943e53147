package euicc

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"godwit/iot"
	"godwit/rsp"
)

// maxAssociations bounds the eIMs of one chip.
const maxAssociations = 8

// associate adds an eIM whose configuration has been judged. It returns the token
// that the chip made, or nil.
func (s *state) associate(c *iot.EimConfiguration) *int64 {
	kept := *c
	a := &association{ID: c.ID}
	if c.Counter != nil {
		a.Counter = *c.Counter
	}
	if c.Token != nil && *c.Token == iot.AskToken {
		s.Tokens++
		a.Token = new(s.Tokens)
	}
	kept.Counter, kept.Token = nil, nil
	a.Config = kept.Append(nil)
	s.Eims = append(s.Eims, a)
	return a.Token
}

func (s *state) eim(id string) *association {
	if i := slices.IndexFunc(s.Eims, func(a *association) bool { return a.ID == id }); i >= 0 {
		return s.Eims[i]
	}
	return nil
}

// replaceEim puts a changed copy in the place of an association.
func (s *state) replaceEim(a *association, changed association) {
	s.Eims[slices.Index(s.Eims, a)] = &changed
}

// configuration returns what is kept of an eIM, with the counter and the token of
// now.
func (a *association) configuration() (*iot.EimConfiguration, error) {
	c, err := iot.ParseEimConfiguration(a.Config)
	if err != nil {
		return nil, fmt.Errorf("the chip's own memory: %w", err)
	}
	c.Counter, c.Token = new(a.Counter), a.Token
	return c, nil
}

// configurations lists the eIMs, or the one with the identifier.
func (s *state) configurations(id string) []iot.EimConfiguration {
	list := []iot.EimConfiguration{}
	for _, a := range s.Eims {
		if id != "" && a.ID != id {
			continue
		}
		if c, err := a.configuration(); err == nil {
			list = append(list, *c)
		}
	}
	return list
}

// eimConfigurations is ES10b.GetEimConfigurationData of SGP.32.
func (c *Card) eimConfigurations(data []byte) ([]byte, error) {
	id, err := iot.ParseGetEimConfiguration(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	return iot.AppendEimConfigurations(nil, c.state.configurations(id)), nil
}

// judge says whether a configuration can be taken: 0, or the code that refuses.
func (cfg *Config) judge(c *iot.EimConfiguration) int64 {
	key, err := c.Key()
	switch {
	case err != nil, key == nil, c.IDType < 0 || c.IDType > iot.EimIDProprietary:
		// An eIM without a key could never send a package.
		return iot.ResultCommandError
	case c.CI != nil && !cfg.signsUnder(c.CI):
		return iot.ResultCIUnknown
	case c.Counter != nil && (*c.Counter < 0 || *c.Counter > iot.MaxCounter):
		return iot.ResultCounter
	case c.Token != nil && *c.Token != iot.AskToken:
		// The chip makes tokens; it takes none.
		return iot.ResultInvalidToken
	}
	return rsp.ResultOK
}

func (cfg *Config) signsUnder(ci []byte) bool { return cfg.eimCredential(ci) != nil }

// eimCredential returns what the chip signs with for an eIM: the preferred
// credential where the eIM names no CI. The identifier may be cut short.
func (cfg *Config) eimCredential(ci []byte) *Credential {
	for i := range cfg.Credentials {
		if bytes.HasPrefix(cfg.Credentials[i].EUM.AuthorityKeyID, ci) {
			return &cfg.Credentials[i]
		}
	}
	return nil
}

// checkEims judges the associations that a chip leaves the factory with.
func (cfg *Config) checkEims() error {
	if len(cfg.Eims) > 0 && !cfg.IoT {
		return errors.New("only an IoT eUICC is associated with eIMs")
	}
	if code := cfg.judgeAll(cfg.Eims); code != rsp.ResultOK {
		return fmt.Errorf("the eUICC does not take the configuration of its eIMs: error %d", code)
	}
	return nil
}

func (cfg *Config) judgeAll(list []iot.EimConfiguration) int64 {
	seen := map[string]bool{}
	for i := range list {
		code := cfg.judge(&list[i])
		switch {
		case len(list) > maxAssociations:
			return iot.ResultMemory
		case seen[list[i].ID]:
			return iot.ResultCommandError
		case code != rsp.ResultOK:
			return code
		}
		seen[list[i].ID] = true
	}
	return rsp.ResultOK
}

// addInitialEim is ES10b.AddInitialEim of SGP.32. Anybody may do it, as long as
// there is no eIM.
func (c *Card) addInitialEim(data []byte) ([]byte, error) {
	list, err := iot.ParseAddInitialEim(data)
	if err != nil {
		return (&iot.AddInitialEimResult{Error: iot.ResultCommandError}).Append(nil), nil
	}
	answer := iot.AddInitialEimResult{Error: c.cfg.judgeAll(list)}
	switch {
	case len(c.state.Eims) > 0:
		answer.Error = iot.ResultAssociated
	case len(list) == 0:
		answer.Error = iot.ResultCommandError
	}
	if answer.Error != rsp.ResultOK {
		return answer.Append(nil), nil
	}
	err = c.update(func(s *state) error {
		for i := range list {
			answer.Tokens = append(answer.Tokens, s.associate(&list[i]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer.Append(nil), nil
}

// addEim: SGP.32 v1.2, 3.5.1.1.
func (cfg *Config) addEim(s *state, c *iot.EimConfiguration) iot.OpResult {
	r := iot.OpResult{Op: iot.OpAddEim}
	switch {
	case s.eim(c.ID) != nil:
		r.Code = iot.ResultAssociated
	case len(s.Eims) >= maxAssociations:
		r.Code = iot.ResultMemory
	default:
		if r.Code = cfg.judge(c); r.Code == rsp.ResultOK {
			r.Token = s.associate(c)
		}
	}
	return r
}

// updateEim: SGP.32 v1.2, 3.5.1.3. What is not there stays as it is. A counter can
// go back only with another key: packages under the old one could be replayed.
func (cfg *Config) updateEim(s *state, c *iot.EimConfiguration) int64 {
	a := s.eim(c.ID)
	if a == nil {
		return iot.ResultEimNotFound
	}
	old, err := a.configuration()
	if err != nil {
		return rsp.ResultUndefined
	}
	merged, changed := *old, *a
	if c.FQDN != "" {
		merged.FQDN = c.FQDN
	}
	if c.IDType != 0 {
		merged.IDType = c.IDType
	}
	if c.PublicKey != nil || c.Certificate != nil {
		merged.PublicKey, merged.Certificate = c.PublicKey, c.Certificate
	}
	if c.TLSPublicKey != nil || c.TLSCertificate != nil {
		merged.TLSPublicKey, merged.TLSCertificate = c.TLSPublicKey, c.TLSCertificate
	}
	if c.Protocols != 0 {
		merged.Protocols, merged.Indirect = c.Protocols, c.Indirect
	}
	if c.CI != nil {
		merged.CI = c.CI
	}
	merged.Counter, merged.Token = c.Counter, nil
	if code := cfg.judge(&merged); code != rsp.ResultOK {
		return code
	}
	if c.Counter != nil {
		changed.Counter = *c.Counter
	}
	before, _ := old.Key()
	after, _ := merged.Key()
	switch {
	case c.Token != nil:
		return iot.ResultCommandError // the answer has no place for a new one
	case changed.Counter < a.Counter && after.Equal(before):
		return iot.ResultCounter
	}
	merged.Counter = nil
	changed.Config = merged.Append(nil)
	s.replaceEim(a, changed)
	return rsp.ResultOK
}

// deleteEim: SGP.32 v1.2, 3.5.1.2.
func (s *state) deleteEim(id string) int64 {
	a := s.eim(id)
	if a == nil {
		return iot.ResultEimNotFound
	}
	s.Eims = slices.DeleteFunc(s.Eims, func(b *association) bool { return b == a })
	if len(s.Eims) == 0 {
		return iot.ResultLastEimDeleted
	}
	return rsp.ResultOK
}

// listEim: SGP.32 v1.2, 3.5.1.4.
func (s *state) listEim() iot.OpResult {
	r := iot.OpResult{Op: iot.OpListEim, Eims: []iot.EimInfo{}}
	for _, c := range s.configurations("") {
		info := iot.EimInfo{ID: c.ID}
		if c.IDType == iot.EimIDOID || c.IDType == iot.EimIDFQDN {
			info.Type = c.IDType
		}
		r.Eims = append(r.Eims, info)
	}
	return r
}
