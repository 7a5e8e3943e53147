package euicc

import (
	"crypto"
	"errors"
	"io"
	"slices"

	"godwit/iot"
	"godwit/rsp"
)

// A notification waits until the LPA has delivered it. An installation result
// is kept as it was signed; the others are signed when they are fetched.
type notification struct {
	Metadata rsp.NotificationMetadata `json:"metadata"`
	CI       []byte                   `json:"ci"`               // whose credential signs
	Result   []byte                   `json:"result,omitempty"` // BF37
}

// notify records an event for every address that the profile's metadata wants
// it reported to. SGP.22 v2.5, 3.5.
func (c *Card) notify(s *state, p *profile, event rsp.Event) error {
	m, err := rsp.ParseMetadata(p.Metadata)
	if err != nil {
		return err
	}
	for _, config := range m.Notifications {
		if config.Events&event == 0 {
			continue
		}
		s.Notifications = append(s.Notifications, &notification{
			Metadata: rsp.NotificationMetadata{
				Sequence: s.nextSequence(), Event: event, Address: config.Address, ICCID: p.ICCID,
			},
			CI: p.CI,
		})
	}
	return nil
}

// result signs and records the outcome of an installation, and returns it.
func (c *Card) result(s *state, run *loading, finish func(*rsp.InstallationResult)) ([]byte, error) {
	cred := c.cfg.credential(run.CI)
	if cred == nil {
		return nil, errors.New("the chip has lost the credential of a run")
	}
	r := rsp.InstallationResult{
		TransactionID: run.TransactionID,
		OID:           run.OID,
		Notification: rsp.NotificationMetadata{
			Sequence: s.nextSequence(), Event: rsp.EventInstall, Address: run.Address, ICCID: run.ICCID,
		},
	}
	finish(&r)
	raw, err := r.Sign(c.signer(cred, SignedResult))
	if err != nil {
		return nil, err
	}
	s.Notifications = append(s.Notifications, &notification{Metadata: r.Notification, CI: run.CI, Result: raw})
	return raw, nil
}

// listNotification: SGP.22 v2.5, 5.7.9.
func (c *Card) listNotification(data []byte) ([]byte, error) {
	events, err := rsp.ParseListNotification(data)
	if err != nil {
		return rsp.AppendListError(nil, rsp.TagListNotification, rsp.ResultUndefined), nil
	}
	list := []rsp.NotificationMetadata{}
	for _, n := range c.state.Notifications {
		if events == 0 || events&n.Metadata.Event != 0 {
			list = append(list, n.Metadata)
		}
	}
	return rsp.AppendNotificationList(nil, list), nil
}

// retrieveNotifications: SGP.22 v2.5, 5.7.10.
func (c *Card) retrieveNotifications(data []byte) ([]byte, error) {
	if c.cfg.IoT && iot.IsRetrieveResults(data) {
		return c.retrieveResults()
	}
	filter, err := rsp.ParseRetrieveNotifications(data)
	if err != nil {
		return rsp.AppendListError(nil, rsp.TagRetrieveNotifications, rsp.ResultUndefined), nil
	}
	var list [][]byte
	for _, n := range c.state.Notifications {
		if !filter.Matches(&n.Metadata) {
			continue
		}
		if n.Result != nil {
			list = append(list, n.Result)
			continue
		}
		cred := c.cfg.credential(n.CI)
		if cred == nil {
			return rsp.AppendListError(nil, rsp.TagRetrieveNotifications, rsp.ResultUndefined), nil
		}
		signed, err := n.Metadata.Sign(c.signer(cred, SignedNotification), cred.EUICC.Raw, cred.EUM.Raw)
		if err != nil {
			return nil, err
		}
		list = append(list, signed)
	}
	return rsp.AppendNotifications(nil, list), nil
}

// removeNotification: SGP.22 v2.5, 5.7.11.
func (c *Card) removeNotification(data []byte) ([]byte, error) {
	sequence, err := rsp.ParseRemoveNotification(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	is := func(n *notification) bool { return n.Metadata.Sequence == sequence }
	isResult := func(r *packageResult) bool { return r.Sequence == sequence }
	if !slices.ContainsFunc(c.state.Notifications, is) && !slices.ContainsFunc(c.state.Results, isResult) {
		return rsp.AppendResult(nil, rsp.TagRemoveNotification, rsp.ResultNotFound), nil
	}
	if !c.cfg.Faults.KeepNotifications {
		err := c.update(func(s *state) error {
			s.Notifications = slices.DeleteFunc(s.Notifications, is)
			s.Results = slices.DeleteFunc(s.Results, isResult)
			if s.Rollback != nil && s.Rollback.Sequence == sequence {
				s.Rollback = nil // the eIM was reached through the new profile
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return rsp.AppendResult(nil, rsp.TagRemoveNotification, rsp.ResultOK), nil
}

// interrupted ends an installation that the power was cut in.
func (c *Card) interrupted() error {
	return c.update(func(s *state) error {
		run := s.Loading
		s.Loading = nil
		_, err := c.result(s, run, func(r *rsp.InstallationResult) {
			r.Command, r.Error = run.Command, rsp.InstallInterrupted
		})
		return err
	})
}

// signer returns the key of a credential, or one that signs wrongly if the chip
// was told to.
func (c *Card) signer(cred *Credential, what Signed) crypto.Signer {
	if c.cfg.Faults.WrongSignature&what != 0 {
		return wrongSigner{cred.Key}
	}
	return cred.Key
}

// A wrongSigner signs something else.
type wrongSigner struct{ crypto.Signer }

// Sign signs the digest with one bit flipped.
func (w wrongSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	other := slices.Clone(digest)
	other[0] ^= 1
	return w.Signer.Sign(random, other, opts)
}

// class returns the class of a profile; one that cannot be read is operational.
func (p *profile) class() rsp.ProfileClass {
	if m, err := rsp.ParseMetadata(p.Metadata); err == nil {
		return m.Class
	}
	return rsp.ClassOperational
}

// ppr returns the policy rules of a profile.
func (p *profile) ppr() rsp.PPR {
	if m, err := rsp.ParseMetadata(p.Metadata); err == nil {
		return m.PPRs
	}
	return 0
}

// find returns the profile that an LPA means.
func (s *state) selected(sel rsp.Selector) *profile {
	if sel.Class != nil {
		return nil
	}
	return s.find(func(p *profile) bool { return p.matches(sel) })
}
