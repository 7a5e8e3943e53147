package euicc

import (
	"godwit/rsp"
	"godwit/tlv"
)

// enable: SGP.22 v2.5, 5.7.16. One profile is enabled at a time: the one that is
// gives way.
func (c *Card) enable(data []byte) ([]byte, error) {
	q, err := rsp.ParseProfileRequest(data, rsp.TagEnableProfile)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	return c.change(rsp.TagEnableProfile, q, func(s *state) (int64, error) {
		p, present := s.selected(q.Select), s.enabled()
		switch {
		case p == nil:
			return rsp.ResultNotFound, nil
		case p.Enabled:
			return rsp.ResultWrongState, nil
		case present != nil && present.ppr()&rsp.PPR1 != 0:
			return rsp.ResultPolicy, nil
		case s.BeforeTest != "" && p.class() != rsp.ClassTest && p.ICCID != s.BeforeTest && s.byICCID(s.BeforeTest) != nil:
			// A test profile gives way only to the profile that it took the place of.
			return rsp.ResultWrongReenabling, nil
		}
		if present != nil {
			if err := c.setEnabled(s, present, false); err != nil {
				return 0, err
			}
		}
		switch {
		case p.class() != rsp.ClassTest:
			s.BeforeTest = ""
		case present != nil && present.class() != rsp.ClassTest:
			s.BeforeTest = present.ICCID
		}
		return rsp.ResultOK, c.setEnabled(s, p, true)
	})
}

// disable: SGP.22 v2.5, 5.7.17.
func (c *Card) disable(data []byte) ([]byte, error) {
	q, err := rsp.ParseProfileRequest(data, rsp.TagDisableProfile)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	return c.change(rsp.TagDisableProfile, q, func(s *state) (int64, error) {
		p := s.selected(q.Select)
		switch {
		case p == nil:
			return rsp.ResultNotFound, nil
		case !p.Enabled:
			return rsp.ResultWrongState, nil
		case p.ppr()&rsp.PPR1 != 0:
			return rsp.ResultPolicy, nil
		}
		return rsp.ResultOK, c.setEnabled(s, p, false)
	})
}

// change runs a change of the enabled profile: result and state in one commit,
// then the card starts over with the new file system.
func (c *Card) change(tag tlv.Tag, q *rsp.ProfileRequest, do func(s *state) (int64, error)) ([]byte, error) {
	if c.toolkit.busy {
		return rsp.AppendResult(nil, tag, rsp.ResultCATBusy), nil
	}
	result, err := c.try(do)
	if err != nil {
		return nil, err
	}
	if result == rsp.ResultOK {
		c.restart(q.Refresh)
	}
	return rsp.AppendResult(nil, tag, result), nil
}

// try runs a function that answers with a number and commits what it did if the
// number is zero.
func (c *Card) try(do func(s *state) (int64, error)) (int64, error) {
	result := int64(rsp.ResultUndefined)
	err := c.update(func(s *state) (err error) {
		if result, err = do(s); err == nil && result != rsp.ResultOK {
			return errRefused
		}
		return err
	})
	if err == errRefused {
		return result, nil
	}
	return result, err
}

// errRefused keeps a refused change from being committed.
const errRefused = refusal(0)

func (c *Card) setEnabled(s *state, p *profile, on bool) error {
	event := rsp.EventDisable
	if on {
		event = rsp.EventEnable
	}
	return c.notify(s, s.edit(p, func(p *profile) { p.Enabled = on }), event)
}

// restart drops everything that belongs to the file system of the profile that
// was enabled: channels go back to the MF of the new one, codes count as not
// presented.
func (c *Card) restart(refresh bool) {
	c.current = nil
	clear(c.pins)
	for _, ch := range c.channels {
		if ch != nil && !ch.isdr {
			c.home(ch)
		}
	}
	if refresh {
		c.toolkit.refresh()
	}
}

// delete: SGP.22 v2.5, 5.7.18.
func (c *Card) delete(data []byte) ([]byte, error) {
	sel, err := rsp.ParseDeleteProfile(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	result, err := c.try(func(s *state) (int64, error) {
		p := s.selected(sel)
		switch {
		case p == nil:
			return rsp.ResultNotFound, nil
		case p.Enabled:
			return rsp.ResultWrongState, nil
		case p.ppr()&rsp.PPR2 != 0:
			return rsp.ResultPolicy, nil
		}
		return rsp.ResultOK, c.erase(s, p)
	})
	if err != nil {
		return nil, err
	}
	return rsp.AppendResult(nil, rsp.TagDeleteProfile, result), nil
}

// erase takes a profile off the chip. Its notifications stay, and one more comes.
func (c *Card) erase(s *state, p *profile) error {
	s.remove(p)
	if s.BeforeTest == p.ICCID {
		s.BeforeTest = ""
	}
	return c.notify(s, p, rsp.EventDelete)
}

// memoryReset: SGP.22 v2.5, 5.7.19. It knows no policy rules, and takes the
// enabled profile as well.
func (c *Card) memoryReset(data []byte) ([]byte, error) {
	options, err := rsp.ParseMemoryReset(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	if c.toolkit.busy {
		return rsp.AppendResult(nil, rsp.TagMemoryReset, rsp.ResultCATBusy), nil
	}
	wasEnabled := c.state.enabled()
	result, err := c.try(func(s *state) (int64, error) {
		done := false
		for _, p := range c.state.Profiles {
			class := p.class()
			if options&rsp.ResetOperational != 0 && class == rsp.ClassOperational ||
				options&rsp.ResetFieldTest != 0 && class == rsp.ClassTest {
				done = true
				if err := c.erase(s, p); err != nil {
					return 0, err
				}
			}
		}
		if options&rsp.ResetDefaultDP != 0 && s.DefaultDP != c.cfg.DefaultDP {
			s.DefaultDP, done = c.cfg.DefaultDP, true
		}
		if !done {
			return rsp.ResultNotFound, nil
		}
		return rsp.ResultOK, nil
	})
	if err != nil {
		return nil, err
	}
	if wasEnabled != nil && c.state.enabled() == nil {
		c.restart(true)
	}
	return rsp.AppendResult(nil, rsp.TagMemoryReset, result), nil
}
