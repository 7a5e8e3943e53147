package ipa

import (
	"errors"

	"godwit/ident"
	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
	"godwit/tlv"
)

// execute carries out one profile operation of the running package. The error is
// of card or journal: the package goes on at the next call.
func (c *consumer) execute(list []iot.PSMO, i int) (iot.OpResult, error) {
	q := &list[i]
	o := iot.OpResult{Op: q.Op}
	var err error
	switch q.Op {
	case iot.OpEnable, iot.OpDisable, iot.OpDelete:
		o.Code, err = c.change(q)
	case iot.OpList:
		if c.changed() {
			o.Code = iot.ResultChangeOngoing
			return o, nil
		}
		o.Profiles, o.Code, err = c.profiles(q.List)
	case iot.OpGetRAT:
		o.RAT, err = c.lpa.RAT()
	case iot.OpImmediate:
		c.state.Immediate = iot.ImmediateEnable{}
		if q.Immediate != nil {
			c.state.Immediate = *q.Immediate
		}
	case iot.OpSetFallback:
		o.Code, err = c.setFallback(q.ICCID)
	case iot.OpDropFallback:
		switch {
		case c.state.Fallback == "":
			o.Code = iot.ResultNoFallback
		case c.state.Return != nil:
			o.Code = iot.ResultFallbackEnabled
		default:
			c.state.Fallback = ""
		}
	case iot.OpSetDefaultDP:
		o.Code, err = refusal(c.lpa.SetDefaultDP(q.Address))
	default:
		return iot.OpResult{Terminated: true, Code: iot.TerminatedUnknown}, nil
	}
	if spoke(err) {
		return iot.OpResult{Op: q.Op, Code: rsp.ResultUndefined}, nil
	}
	return o, err
}

// spoke reports whether an error is the chip's own: it answered with a status
// other than success, or with what is no answer. It would do so again. All other
// errors are of the way to it.
func spoke(err error) bool {
	if _, ok := errors.AsType[lpa.StatusWord](err); ok {
		return true
	}
	for _, known := range []error{tlv.ErrTruncated, tlv.ErrTag, tlv.ErrLength, tlv.ErrTooLong, tlv.ErrTooDeep, tlv.ErrTrailing, tlv.ErrMissing, tlv.ErrValue} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// refusal turns a refusal of the eUICC into its number.
func refusal(err error) (int64, error) {
	if refused, ok := errors.AsType[*lpa.ChipError](err); ok {
		return refused.Code, nil
	}
	return 0, err
}

// changed reports whether the running package has changed profiles already.
func (c *consumer) changed() bool {
	for _, o := range c.state.Running.Results {
		if (o.Op == iot.OpEnable || o.Op == iot.OpDisable || o.Op == iot.OpDelete) && o.Code == rsp.ResultOK {
			return true
		}
	}
	return false
}

// profiles lists the profiles that the request picks. Fields come whole, whatever
// the tag list says.
func (c *consumer) profiles(q *rsp.ProfileInfoListRequest) ([]rsp.ProfileInfo, int64, error) {
	var s rsp.Selector
	if q != nil {
		s = q.Select
	}
	list, err := c.lpa.Profiles(s)
	if code, err := refusal(err); code != 0 || err != nil {
		return nil, code, err
	}
	for i := range list {
		if list[i].ICCID == c.state.Fallback && c.state.Fallback != "" {
			list[i].Fallback = true
		}
	}
	return list, 0, nil
}

// look tells whether a profile is there, whether it is enabled, and which one is.
func (c *consumer) look(iccid ident.ICCID) (found, on bool, enabled ident.ICCID, err error) {
	list, err := c.lpa.Profiles(rsp.Selector{})
	if err != nil {
		return false, false, "", err
	}
	for i := range list {
		is := list[i].Enabled != nil && *list[i].Enabled
		if is {
			enabled = list[i].ICCID
		}
		if list[i].ICCID == iccid {
			found, on = true, is
		}
	}
	return found, on, enabled, nil
}

// change enables, disables or deletes a profile. The journal knows of the attempt
// before the chip does. If an attempt was interrupted, the chip's state says
// whether it was carried out: before it the profile was in the other state.
func (c *consumer) change(q *iot.PSMO) (int64, error) {
	found, on, enabled, err := c.look(q.ICCID)
	if err != nil {
		return 0, err
	}
	r := c.state.Running
	if r.Doing {
		switch {
		case q.Op == iot.OpEnable && on, q.Op == iot.OpDisable && found && !on, q.Op == iot.OpDelete && !found:
			c.changedTo(q)
			return rsp.ResultOK, nil
		}
	} else {
		code := c.forbids(q, found, on)
		if code == 0 && q.Rollback && enabled == "" {
			code = iot.ResultNoRollback // there is nothing to go back to
		}
		if code != 0 {
			return code, nil
		}
		r.Doing = true
		if q.Op == iot.OpEnable && q.Rollback {
			r.Previous, r.Enabled = enabled, q.ICCID
		}
		if err := c.save(); err != nil {
			return 0, err
		}
	}
	s := rsp.Selector{ICCID: q.ICCID}
	switch q.Op {
	case iot.OpEnable:
		err = c.lpa.Enable(s, true)
	case iot.OpDisable:
		err = c.lpa.Disable(s, true)
	case iot.OpDelete:
		err = c.lpa.Delete(s)
	}
	code, err := refusal(err)
	if code != 0 {
		r.Enabled = ""
	}
	if err != nil || code != 0 {
		return known(code), err
	}
	c.changedTo(q)
	return rsp.ResultOK, c.lpa.Revive()
}

// changedTo keeps what a change that was carried out means beside the chip; the
// caller saves it together with the result.
func (c *consumer) changedTo(q *iot.PSMO) {
	if q.Op == iot.OpDelete && c.state.Fallback == q.ICCID {
		c.state.Fallback = ""
	}
}

// forbids returns why a change is not tried, or 0.
func (c *consumer) forbids(q *iot.PSMO, found, on bool) int64 {
	switch {
	case !found:
		return rsp.ResultNotFound
	case on != (q.Op == iot.OpDisable):
		return rsp.ResultWrongState
	case q.Op == iot.OpDelete && c.state.Return != nil && *c.state.Return == q.ICCID:
		return iot.ResultReturnFallback
	}
	return 0
}

// known maps the codes of ES10c to those of results.
func known(code int64) int64 {
	if code == rsp.ResultWrongReenabling {
		return rsp.ResultUndefined
	}
	return code
}

func (c *consumer) setFallback(iccid ident.ICCID) (int64, error) {
	found, _, _, err := c.look(iccid)
	switch {
	case err != nil:
		return 0, err
	case !found:
		return rsp.ResultNotFound, nil
	case c.state.Return != nil:
		return iot.ResultFallbackEnabled, nil
	}
	c.state.Fallback = iccid
	return rsp.ResultOK, nil
}
