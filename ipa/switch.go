package ipa

import (
	"slices"

	"godwit/ident"
	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
)

// A cause is why profiles change outside of a package.
type cause string

const (
	causeRollback  cause = "rollback"
	causeFallback  cause = "fallback"
	causeReturn    cause = "return"
	causeImmediate cause = "immediate"
)

// A profileSwitch is such a change: To is enabled, or, if it is empty, Off
// disabled. It is in the journal before the chip hears of it.
type profileSwitch struct {
	Cause   cause
	To, Off ident.ICCID
	From    ident.ICCID // what was enabled before
}

// switchTo notes a switch and carries it out.
func (c *consumer) switchTo(s profileSwitch) error {
	c.state.Switch = &s
	if err := c.save(); err != nil {
		return err
	}
	return c.carryOut()
}

// carryOut does what the noted switch says, unless it was done, and ends it. A
// refusal of the eUICC ends it too and is the error.
func (c *consumer) carryOut() error {
	s := c.state.Switch
	which := s.To
	if which == "" {
		which = s.Off
	}
	_, on, _, err := c.look(which)
	if err != nil {
		return err
	}
	switch {
	case s.To != "" && !on:
		err = c.lpa.Enable(rsp.Selector{ICCID: s.To}, true)
	case s.To == "" && on:
		err = c.lpa.Disable(rsp.Selector{ICCID: s.Off}, true)
	}
	code, broken := refusal(err)
	if broken != nil {
		return broken
	}
	if code == 0 {
		if err := c.lpa.Revive(); err != nil {
			return err
		}
	}
	if e := c.switched(s, code); e != nil {
		return e
	}
	return err
}

// switched writes down what a switch means.
func (c *consumer) switched(s *profileSwitch, code int64) error {
	c.state.Switch = nil
	switch {
	case s.Cause == causeRollback:
		if err := c.rolledBack(code); err != nil {
			return err
		}
	case code != 0:
	case s.Cause == causeFallback:
		c.state.Return = &s.From
	case s.Cause == causeReturn:
		c.state.Return = nil
	}
	return c.save()
}

// Rollback goes back to the profile before the last enable with rollback, as
// ES10b.ProfileRollback does.
func (c *consumer) Rollback() ([]byte, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	a := c.state.Armed
	if a == nil {
		return nil, &lpa.ChipError{Function: "ProfileRollback", Code: 1}
	}
	err := c.switchTo(profileSwitch{Cause: causeRollback, To: a.Previous, Off: a.Enabled})
	if code, broken := refusal(err); broken != nil {
		return nil, broken
	} else if code != 0 {
		err = &lpa.ChipError{Function: "ProfileRollback", Code: code}
	}
	return c.state.Results[len(c.state.Results)-1].Raw, err
}

// rolledBack puts the result of the rollback in the place of that of the package.
func (c *consumer) rolledBack(code int64) error {
	a := c.state.Armed
	q, err := iot.ReadPackageRequest(a.Package)
	if err != nil {
		return err
	}
	if code != 0 {
		code = rsp.ResultUndefined
	}
	results := append(slices.Clone(a.Results), iot.OpResult{Op: iot.OpRollback, Code: code})
	c.state.Sequence++
	der, err := c.sign(q, a.Token, results, c.state.Sequence)
	if err != nil {
		return err
	}
	c.state.Results = slices.DeleteFunc(c.state.Results, func(r storedResult) bool { return r.Sequence == a.Sequence })
	c.state.Results = append(c.state.Results, storedResult{c.state.Sequence, der})
	c.state.Armed = nil
	return nil
}

// ImmediateEnable enables what was installed last when the configuration allows
// it for its SM-DP+, as ES10b.ImmediateEnable does.
func (c *consumer) ImmediateEnable(r *lpa.Result) error {
	if err := c.settle(); err != nil {
		return err
	}
	refuse := func(code int64) error { return &lpa.ChipError{Function: "ImmediateEnable", Code: code} }
	i := &c.state.Immediate
	switch {
	case !i.Allowed:
		return refuse(1)
	case r == nil || r.Notification == nil:
		return refuse(4)
	case i.OID != "" && i.OID != r.OID, i.Address != "" && !rsp.SameAddress(i.Address, r.Address):
		return refuse(1)
	}
	iccid := r.Notification.Metadata.ICCID
	found, on, _, err := c.look(iccid)
	switch {
	case err != nil:
		return err
	case !found:
		return refuse(4)
	case on:
		return nil
	}
	return c.switchTo(profileSwitch{Cause: causeImmediate, To: iccid})
}

// ExecuteFallback enables the profile with the fallback attribute, as
// ES10b.ExecuteFallbackMechanism does.
func (c *consumer) ExecuteFallback() error {
	if err := c.settle(); err != nil {
		return err
	}
	refuse := func(code int64) error { return &lpa.ChipError{Function: "ExecuteFallbackMechanism", Code: code} }
	if c.state.Fallback == "" {
		return refuse(iot.ResultFallbackMissing)
	}
	found, on, enabled, err := c.look(c.state.Fallback)
	switch {
	case err != nil:
		return err
	case !found:
		return refuse(iot.ResultFallbackMissing)
	case on:
		return refuse(rsp.ResultWrongState)
	}
	return c.switchTo(profileSwitch{Cause: causeFallback, To: c.state.Fallback, From: enabled})
}

// ReturnFromFallback goes back to what was enabled before the fallback, as
// ES10b.ReturnFromFallback does.
func (c *consumer) ReturnFromFallback() error {
	if err := c.settle(); err != nil {
		return err
	}
	if c.state.Return == nil || c.state.Fallback == "" {
		return &lpa.ChipError{Function: "ReturnFromFallback", Code: iot.ResultFallbackMissing}
	}
	return c.switchTo(profileSwitch{Cause: causeReturn, To: *c.state.Return, Off: c.state.Fallback})
}
