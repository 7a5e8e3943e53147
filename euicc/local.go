package euicc

import (
	"errors"
	"slices"

	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
	"godwit/tlv"
)

// Changes of profiles that the IPA asks for without an eIM: going back when a
// package cut the device off, immediate enabling, fallback and emergency (ES10b
// of SGP.32).

// enabledICCID returns the number of the enabled profile, empty without one.
func enabledICCID(s *state) ident.ICCID {
	if p := s.enabled(); p != nil {
		return p.ICCID
	}
	return ""
}

// local runs a change that answers with a number, in one commit, after which the
// card starts over with the profile that is enabled then.
func (c *Card) local(data []byte, tag tlv.Tag, do func(s *state) (int64, error)) ([]byte, error) {
	refresh, err := iot.ParseRefresh(data, tag)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	result := int64(rsp.ResultCATBusy)
	if !c.toolkit.busy {
		if result, err = c.try(do); err != nil {
			return nil, err
		}
	}
	if result == rsp.ResultOK {
		c.restart(refresh)
	}
	return rsp.AppendResult(nil, tag, result), nil
}

// rollBack is ES10b.ProfileRollback of SGP.32. The result that could not be
// delivered gives way to one that says what the eIM has to know: that the change
// was taken back.
func (c *Card) rollBack(data []byte) ([]byte, error) {
	refresh, err := iot.ParseRefresh(data, iot.TagProfileRollback)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	r := c.state.Rollback
	switch {
	case c.toolkit.busy:
		return iot.AppendRollback(nil, rsp.ResultCATBusy, nil), nil
	case r == nil || enabledICCID(c.state) != r.Enabled || c.state.byICCID(r.Previous) == nil:
		return iot.AppendRollback(nil, 1, nil), nil
	}
	var answer []byte
	err = c.update(func(s *state) (err error) {
		answer, err = c.takeBack(s, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.restart(refresh)
	return iot.AppendRollback(nil, rsp.ResultOK, answer), nil
}

func (c *Card) takeBack(s *state, r *rollback) ([]byte, error) {
	is := func(p *packageResult) bool { return p.Sequence == r.Sequence }
	i := slices.IndexFunc(s.Results, is)
	if i < 0 {
		return nil, errors.New("the chip has lost the result of a package")
	}
	old, err := iot.ReadResult(s.Results[i].Raw)
	if err != nil {
		return nil, err
	}
	var token *int64
	var ci []byte
	if eim := s.eim(r.EimID); eim != nil {
		config, err := eim.configuration()
		if err != nil {
			return nil, err
		}
		token, ci = eim.Token, config.CI
	}
	changes := s.switchTo(s.byICCID(r.Previous))
	s.Results, s.Rollback = slices.DeleteFunc(s.Results, is), nil
	fresh := *old
	fresh.Sequence = s.nextSequence()
	fresh.Results = append(slices.Clone(old.Results), iot.OpResult{Op: iot.OpRollback})
	answer, err := fresh.Sign(c.signer(c.cfg.eimCredential(ci), SignedPackageResult), token)
	if err != nil {
		return nil, err
	}
	s.keepResult(fresh.Sequence, answer)
	for _, change := range changes {
		if err := c.notify(s, change.profile, change.event); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// configureImmediate is ES10b.ConfigureImmediateProfileEnabling of SGP.32. Once
// there is an eIM it is for it to say.
func (c *Card) configureImmediate(data []byte) ([]byte, error) {
	i, err := iot.ParseConfigureImmediate(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	if len(c.state.Eims) > 0 {
		return rsp.AppendResult(nil, iot.TagConfigureImmediate, iot.ResultAssociated), nil
	}
	err = c.update(func(s *state) error {
		s.Immediate = i
		if !i.Allowed {
			s.Immediate = nil
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rsp.AppendResult(nil, iot.TagConfigureImmediate, rsp.ResultOK), nil
}

// immediateEnable is ES10b.ImmediateEnable of SGP.32. It is for the profile
// that has just been installed, from an SM-DP+ that the configuration names.
func (c *Card) immediateEnable(data []byte) ([]byte, error) {
	return c.local(data, iot.TagImmediateEnable, func(s *state) (int64, error) {
		i, f := s.Immediate, c.fresh
		switch {
		case i == nil, f != nil && i.OID != "" && i.OID != f.oid,
			f != nil && i.Address != "" && !rsp.SameAddress(i.Address, f.address):
			return 1, nil
		case f == nil:
			return 4, nil
		}
		p := s.byICCID(f.iccid)
		if s.mayEnable(p) != rsp.ResultOK {
			return rsp.ResultUndefined, nil
		}
		return rsp.ResultOK, c.swap(s, p)
	})
}

// swap enables a profile by the device's own decision: nothing can be rolled back
// any more.
func (c *Card) swap(s *state, p *profile) error {
	s.Rollback = nil
	return c.switchTo(s, p)
}

// setFallback: SGP.32 v1.2, 3.4.7.
func (s *state) setFallback(p *profile) int64 {
	switch {
	case p == nil:
		return rsp.ResultNotFound
	case !p.mayFallBack():
		return iot.ResultNoFallback
	case s.Fallback != "" && s.Fallback != p.ICCID && s.Fallback == enabledICCID(s):
		return iot.ResultFallbackEnabled
	}
	s.Fallback = p.ICCID
	return rsp.ResultOK
}

// dropFallback: SGP.32 v1.2, 3.4.8.
func (s *state) dropFallback() int64 {
	switch {
	case s.Fallback == "":
		return iot.ResultNoFallback
	case s.Fallback == enabledICCID(s):
		return iot.ResultFallbackEnabled
	}
	s.Fallback = ""
	return rsp.ResultOK
}

// executeFallback is ES10b.ExecuteFallbackMechanism of SGP.32.
func (c *Card) executeFallback(data []byte) ([]byte, error) {
	return c.local(data, iot.TagExecuteFallback, func(s *state) (int64, error) {
		p, present := s.byICCID(s.Fallback), s.enabled()
		switch {
		case s.emergency():
			return iot.ResultECallActive, nil
		case p == nil:
			return iot.ResultFallbackMissing, nil
		case p.Enabled:
			return rsp.ResultWrongState, nil
		case s.mayEnable(p) != rsp.ResultOK:
			return iot.ResultCommandError, nil
		}
		s.InFallback, s.BeforeFallback = true, ""
		if present != nil {
			s.BeforeFallback = present.ICCID
		}
		return rsp.ResultOK, c.swap(s, p)
	})
}

// returnFromFallback is ES10b.ReturnFromFallback of SGP.32.
func (c *Card) returnFromFallback(data []byte) ([]byte, error) {
	return c.local(data, iot.TagReturnFromFallback, func(s *state) (int64, error) {
		p := s.byICCID(s.BeforeFallback)
		switch {
		case s.Fallback == "":
			return iot.ResultFallbackMissing, nil
		case !s.InFallback || s.Fallback != enabledICCID(s), s.mayEnable(p) != rsp.ResultOK:
			return iot.ResultCommandError, nil
		}
		s.InFallback, s.BeforeFallback = false, ""
		return rsp.ResultOK, c.swap(s, p)
	})
}

// enableEmergency is ES10b.EnableEmergencyProfile of SGP.32. No policy rule
// stands in its way.
func (c *Card) enableEmergency(data []byte) ([]byte, error) {
	return c.local(data, iot.TagEnableEmergency, func(s *state) (int64, error) {
		p, present := s.find((*profile).isEmergency), s.enabled()
		switch {
		case p == nil:
			return iot.ResultEmergencyMissing, nil
		case p.Enabled:
			return rsp.ResultWrongState, nil
		}
		s.BeforeEmergency = ""
		if present != nil {
			s.BeforeEmergency = present.ICCID
		}
		return rsp.ResultOK, c.swap(s, p)
	})
}

// disableEmergency is ES10b.DisableEmergencyProfile of SGP.32. The profile from
// before comes back.
func (c *Card) disableEmergency(data []byte) ([]byte, error) {
	return c.local(data, iot.TagDisableEmergency, func(s *state) (int64, error) {
		if !s.emergency() {
			return rsp.ResultWrongState, nil
		}
		p := s.byICCID(s.BeforeEmergency)
		s.BeforeEmergency = ""
		return rsp.ResultOK, c.swap(s, p)
	})
}
