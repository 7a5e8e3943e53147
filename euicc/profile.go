package euicc

import (
	"godwit/ident"
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
		p := s.selected(q.Select)
		if code := s.mayEnable(p); code != rsp.ResultOK {
			return code, nil
		}
		return rsp.ResultOK, c.switchTo(s, p)
	})
}

// mayEnable says whether a profile can take the place of the one that is
// enabled: 0, or the code that refuses.
func (s *state) mayEnable(p *profile) int64 {
	present := s.enabled()
	switch {
	case p == nil:
		return rsp.ResultNotFound
	case p.Enabled:
		return rsp.ResultWrongState
	case present != nil && present.ppr()&rsp.PPR1 != 0:
		return rsp.ResultPolicy
	case s.BeforeTest != "" && p.class() != rsp.ClassTest && p.ICCID != s.BeforeTest && s.byICCID(s.BeforeTest) != nil:
		// A test profile gives way only to the profile that it took the place of.
		return rsp.ResultWrongReenabling
	}
	return rsp.ResultOK
}

// switchTo enables a profile in the place of the one that is enabled, or none
// when p is nil, and records the events.
func (c *Card) switchTo(s *state, p *profile) error {
	for _, change := range s.switchTo(p) {
		if err := c.notify(s, change.profile, change.event); err != nil {
			return err
		}
	}
	return nil
}

// A change is one thing that happened to a profile.
type change struct {
	profile *profile
	event   rsp.Event
}

// switchTo changes the states and returns what there is to report.
func (s *state) switchTo(p *profile) []change {
	var changes []change
	present := s.enabled()
	if present != nil {
		changes = append(changes, change{s.edit(present, func(p *profile) { p.Enabled = false }), rsp.EventDisable})
	}
	if p == nil {
		return changes
	}
	switch {
	case p.class() != rsp.ClassTest:
		s.BeforeTest = ""
	case present != nil && present.class() != rsp.ClassTest:
		s.BeforeTest = present.ICCID
	}
	return append(changes, change{s.edit(p, func(p *profile) { p.Enabled = true }), rsp.EventEnable})
}

// mayDisable is mayEnable for disabling.
func (s *state) mayDisable(p *profile) int64 {
	switch {
	case p == nil:
		return rsp.ResultNotFound
	case !p.Enabled:
		return rsp.ResultWrongState
	case p.ppr()&rsp.PPR1 != 0:
		return rsp.ResultPolicy
	}
	return rsp.ResultOK
}

// mayDelete is mayEnable for deleting.
func (s *state) mayDelete(p *profile) int64 {
	switch {
	case p == nil:
		return rsp.ResultNotFound
	case p.Enabled:
		return rsp.ResultWrongState
	case p.ppr()&rsp.PPR2 != 0:
		return rsp.ResultPolicy
	}
	return rsp.ResultOK
}

// disable: SGP.22 v2.5, 5.7.17.
func (c *Card) disable(data []byte) ([]byte, error) {
	q, err := rsp.ParseProfileRequest(data, rsp.TagDisableProfile)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	return c.change(rsp.TagDisableProfile, q, func(s *state) (int64, error) {
		if code := s.mayDisable(s.selected(q.Select)); code != rsp.ResultOK {
			return code, nil
		}
		return rsp.ResultOK, c.switchTo(s, nil)
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
		if code := s.mayDelete(p); code != rsp.ResultOK {
			return code, nil
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
	s.erase(p)
	return c.notify(s, p, rsp.EventDelete)
}

// erase takes a profile off the chip, and out of everything that names it.
func (s *state) erase(p *profile) {
	s.remove(p)
	for _, named := range []*ident.ICCID{&s.BeforeTest, &s.Fallback, &s.BeforeFallback, &s.BeforeEmergency} {
		if *named == p.ICCID {
			*named = ""
		}
	}
	if s.Rollback != nil && s.Rollback.Previous == p.ICCID {
		s.Rollback = nil
	}
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
