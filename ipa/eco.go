package ipa

import (
	"bytes"
	"slices"

	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
)

// configure carries out one eIM configuration operation in memory: the caller
// saves it together with its result.
func (c *consumer) configure(q *iot.ECO) iot.OpResult {
	o := iot.OpResult{Op: q.Op}
	switch q.Op {
	case iot.OpAddEim:
		o.Token, o.Code = c.add(q.Config)
	case iot.OpUpdateEim:
		o.Code = c.update(q.Config)
	case iot.OpDeleteEim:
		at, _ := c.find(q.EimID)
		if at < 0 {
			o.Code = iot.ResultEimNotFound
			break
		}
		c.state.Eims = slices.Delete(c.state.Eims, at, at+1)
		if len(c.state.Eims) == 0 {
			o.Code = iot.ResultLastEimDeleted
		}
	case iot.OpListEim:
		o.Eims = []iot.EimInfo{}
		for i := range c.state.Eims {
			if config, err := iot.ParseEimConfiguration(c.state.Eims[i].Config); err == nil {
				o.Eims = append(o.Eims, iot.EimInfo{ID: config.ID, Type: config.IDType})
			}
		}
	default:
		return iot.OpResult{Terminated: true, Code: iot.TerminatedUnknown}
	}
	return o
}

// add associates an eIM, and returns the token if it asked for one.
func (c *consumer) add(config *iot.EimConfiguration) (*int64, int64) {
	if key, err := config.Key(); err != nil || key == nil {
		return nil, iot.ResultCommandError
	}
	at, _ := c.find(config.ID)
	switch {
	case at >= 0:
		return nil, iot.ResultAssociated
	case len(c.state.Eims) >= iot.MaxEims:
		return nil, iot.ResultMemory
	case config.Token != nil && *config.Token != iot.AskToken:
		return nil, iot.ResultInvalidToken
	case config.Counter != nil && (*config.Counter < 0 || *config.Counter > iot.MaxCounter):
		return nil, iot.ResultCounter
	}
	a := association{}
	if config.Counter != nil {
		a.Counter = *config.Counter
	}
	if config.Token != nil {
		c.state.LastToken++
		a.Token = new(c.state.LastToken)
	}
	a.Config = stored(*config)
	c.state.Eims = append(c.state.Eims, a)
	return a.Token, rsp.ResultOK
}

// stored returns a configuration without what the association counts itself.
func stored(config iot.EimConfiguration) []byte {
	config.Counter, config.Token = nil, nil
	return config.Append(nil)
}

// update replaces the fields that are there. The counter may restart with another
// key only: the old packages would be good again.
func (c *consumer) update(change *iot.EimConfiguration) int64 {
	at, config := c.find(change.ID)
	if at < 0 {
		return iot.ResultEimNotFound
	}
	a := &c.state.Eims[at]
	otherKey := false
	if change.PublicKey != nil || change.Certificate != nil {
		before, _ := config.Key()
		after, err := change.Key()
		if err != nil {
			return iot.ResultCommandError
		}
		otherKey = before == nil || !bytes.Equal(before.Bytes(), after.Bytes())
		config.PublicKey, config.Certificate = change.PublicKey, change.Certificate
	}
	if n := change.Counter; n != nil {
		if *n < 0 || *n > iot.MaxCounter || *n < a.Counter && !otherKey {
			return iot.ResultCounter
		}
		a.Counter = *n
	}
	if change.TLSPublicKey != nil || change.TLSCertificate != nil {
		config.TLSPublicKey, config.TLSCertificate = change.TLSPublicKey, change.TLSCertificate
	}
	if change.FQDN != "" {
		config.FQDN = change.FQDN
	}
	if change.IDType != 0 {
		config.IDType = change.IDType
	}
	if change.Protocols != 0 {
		config.Protocols = change.Protocols
	}
	if change.CI != nil {
		config.CI = change.CI
	}
	config.Indirect = config.Indirect || change.Indirect
	a.Config = stored(*config)
	return rsp.ResultOK
}

// Eims returns the associations, as ES10b.GetEimConfigurationData does.
func (c *consumer) Eims() ([]iot.EimConfiguration, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	var out []iot.EimConfiguration
	for i := range c.state.Eims {
		a := &c.state.Eims[i]
		config, err := iot.ParseEimConfiguration(a.Config)
		if err != nil {
			return nil, err
		}
		config.Counter, config.Token = new(a.Counter), a.Token
		out = append(out, *config)
	}
	return out, nil
}

// AddInitialEim associates the first eIMs, as ES10b.AddInitialEim does: nobody
// signs for it, so it is possible only while there is none.
func (c *consumer) AddInitialEim(list []iot.EimConfiguration) ([]*int64, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	refuse := func(code int64) ([]*int64, error) {
		c.stale = true // nothing of a list that is refused stays
		return nil, &lpa.ChipError{Function: "AddInitialEim", Code: code}
	}
	if len(c.state.Eims) > 0 {
		return refuse(iot.ResultAssociated)
	}
	if len(list) == 0 {
		return refuse(iot.ResultCommandError)
	}
	var tokens []*int64
	for i := range list {
		token, code := c.add(&list[i])
		if code != rsp.ResultOK {
			return refuse(code)
		}
		tokens = append(tokens, token)
	}
	return tokens, c.save()
}
