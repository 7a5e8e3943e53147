package euicc

import (
	"slices"
	"unicode/utf8"

	"godwit/rsp"
	"godwit/tlv"
)

// es10 runs one command to the ISD-R, whole by now. SGP.22 v2.5, 5.7.
func (c *Card) es10(data []byte) ([]byte, error) {
	if rsp.IsLoadTag(data) {
		return c.load(data)
	}
	r := tlv.NewReader(data)
	tag := r.Peek()
	f, ok := c.function(tag)
	switch {
	case !ok:
		return nil, refusal(swDataNotFound)
	case c.session.loads() && tag != rsp.TagGetEUICCChallenge && tag != rsp.TagCancelSession:
		// While a package is being loaded only the begin of another run or the
		// end of this one may come between. SGP.22 v2.5, 5.7.6.
		return nil, refusal(swConditions)
	}
	if _, err := tlv.Parse(data); err != nil {
		return nil, refusal(swWrongData)
	}
	return f(c, data)
}

// function finds the function of a tag.
func (c *Card) function(tag tlv.Tag) (func(c *Card, data []byte) ([]byte, error), bool) {
	if c.cfg.IoT {
		if f, ok := iotFunctions[tag]; ok {
			return f, true
		}
		if slices.Contains(consumerOnly, tag) {
			return nil, false
		}
	}
	f, ok := functions[tag]
	return f, ok
}

// functions are those of ES10a, ES10b and ES10c by tag.
var functions map[tlv.Tag]func(c *Card, data []byte) ([]byte, error)

func init() { // a literal would depend on itself
	functions = map[tlv.Tag]func(c *Card, data []byte) ([]byte, error){
		rsp.TagConfiguredAddresses:   (*Card).addresses,
		rsp.TagSetDefaultDPAddress:   (*Card).setDefaultDP,
		rsp.TagEUICCInfo1:            (*Card).getInfo1,
		rsp.TagEUICCInfo2:            (*Card).getInfo2,
		rsp.TagGetEUICCChallenge:     (*Card).getChallenge,
		rsp.TagAuthenticateServer:    (*Card).authenticateServer,
		rsp.TagPrepareDownload:       (*Card).prepareDownload,
		rsp.TagCancelSession:         (*Card).cancelSession,
		rsp.TagListNotification:      (*Card).listNotification,
		rsp.TagRetrieveNotifications: (*Card).retrieveNotifications,
		rsp.TagRemoveNotification:    (*Card).removeNotification,
		rsp.TagLoadCRL:               (*Card).loadCRL,
		rsp.TagGetRAT:                (*Card).getRAT,
		rsp.TagGetProfilesInfo:       (*Card).profilesInfo,
		rsp.TagEnableProfile:         (*Card).enable,
		rsp.TagDisableProfile:        (*Card).disable,
		rsp.TagDeleteProfile:         (*Card).delete,
		rsp.TagMemoryReset:           (*Card).memoryReset,
		rsp.TagGetEUICCData:          (*Card).getEID,
		rsp.TagSetNickname:           (*Card).setNickname,
	}
}

func (c *Card) addresses([]byte) ([]byte, error) {
	a := rsp.ConfiguredAddresses{DefaultDP: c.state.DefaultDP, RootDS: c.cfg.RootDS}
	return a.Append(nil), nil
}

// setDefaultDP: SGP.22 v2.5, 5.7.4. An empty address removes it.
func (c *Card) setDefaultDP(data []byte) ([]byte, error) {
	address, err := rsp.ParseSetDefaultDPAddress(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	if !isAddress(address) {
		return rsp.AppendResult(nil, rsp.TagSetDefaultDPAddress, rsp.ResultUndefined), nil
	}
	if address != c.state.DefaultDP {
		if err := c.update(func(s *state) error { s.DefaultDP = address; return nil }); err != nil {
			return nil, err
		}
	}
	return rsp.AppendResult(nil, rsp.TagSetDefaultDPAddress, rsp.ResultOK), nil
}

func (c *Card) getInfo1([]byte) ([]byte, error) {
	info := c.cfg.info1()
	return info.Append(nil), nil
}

func (c *Card) getInfo2([]byte) ([]byte, error) { return c.info2().Append(nil), nil }

func (c *Card) getRAT([]byte) ([]byte, error) { return rsp.AppendRAT(nil, c.cfg.RAT), nil }

// getEID: SGP.22 v2.5, 5.7.20. Nothing but the EID can be asked for.
func (c *Card) getEID(data []byte) ([]byte, error) {
	if string(data) != string(rsp.AppendGetEID(nil)) {
		return nil, refusal(swWrongData)
	}
	return rsp.AppendEID(nil, c.cfg.EID), nil
}

// setNickname: SGP.22 v2.5, 5.7.21.
func (c *Card) setNickname(data []byte) ([]byte, error) {
	e, err := tlv.ParseTag(data, rsp.TagSetNickname)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	r := e.Reader()
	r.Fixed(rsp.TagICCID, 10)
	// The length is counted in octets here: that is what the chip has room for.
	if name := r.Value(0x90); r.Err() != nil {
		return nil, refusal(swWrongData)
	} else if len(name) > 64 || !utf8.Valid(name) {
		return rsp.AppendResult(nil, rsp.TagSetNickname, rsp.ResultUndefined), nil
	}
	q, err := rsp.ParseNicknameRequest(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	p := c.state.byICCID(q.ICCID)
	if p == nil {
		return rsp.AppendResult(nil, rsp.TagSetNickname, rsp.ResultNotFound), nil
	}
	err = c.update(func(s *state) error {
		s.edit(p, func(p *profile) {
			p.Nickname = nil
			if q.Nickname != "" {
				p.Nickname = &q.Nickname
			}
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rsp.AppendResult(nil, rsp.TagSetNickname, rsp.ResultOK), nil
}

// defaultTags are the fields of a profile that are shown when the LPA names
// none. SGP.22 v2.5, 5.7.15.
var defaultTags = []tlv.Tag{0x5A, 0x4F, 0x9F70, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95}

// profilesInfo: SGP.22 v2.5, 5.7.15.
func (c *Card) profilesInfo(data []byte) ([]byte, error) {
	q, err := rsp.ParseProfileInfoListRequest(data)
	if err != nil {
		return rsp.AppendListError(nil, rsp.TagGetProfilesInfo, 1), nil
	}
	list, code := c.state.profilesInfo(q, c.cfg.defaultTags())
	if code != rsp.ResultOK {
		return rsp.AppendListError(nil, rsp.TagGetProfilesInfo, code), nil
	}
	return rsp.AppendProfileInfoList(nil, list), nil
}

// profilesInfo lists the profiles asked for with the fields asked for, or says
// why not.
func (s *state) profilesInfo(q *rsp.ProfileInfoListRequest, tags []tlv.Tag) ([]rsp.ProfileInfo, int64) {
	if q.Tags != nil {
		var err error
		if tags, err = rsp.Tags(q.Tags); err != nil {
			return nil, 1
		}
	}
	list := []rsp.ProfileInfo{}
	for _, p := range s.Profiles {
		info, err := p.info()
		if err != nil {
			return nil, rsp.ResultUndefined
		}
		if p.matches(q.Select) || q.Select.Class != nil && *q.Select.Class == *info.Class ||
			q.Select.AID == nil && q.Select.ICCID == "" && q.Select.Class == nil {
			info.Fallback = s.Fallback != "" && s.Fallback == p.ICCID
			show(info, tags)
			list = append(list, *info)
		}
	}
	return list, rsp.ResultOK
}

func (p *profile) matches(s rsp.Selector) bool {
	return s.ICCID != "" && s.ICCID == p.ICCID || s.AID != nil && slices.Equal(s.AID, p.AID)
}

// info is everything that there is to tell about a profile.
func (p *profile) info() (*rsp.ProfileInfo, error) {
	m, err := rsp.ParseMetadata(p.Metadata)
	if err != nil {
		return nil, err
	}
	i := &rsp.ProfileInfo{
		ICCID: p.ICCID, AID: p.AID, Enabled: &p.Enabled, Nickname: p.Nickname,
		ServiceProvider: &m.ServiceProvider, Name: &m.Name, IconType: m.IconType, Icon: m.Icon, Class: &m.Class,
		Notifications: m.Notifications, Owner: m.Owner, DPProprietary: p.DPData, Stored: m.Stored,
		Emergency: m.Emergency, FallbackAllowed: m.FallbackAllowed,
	}
	if m.HasPPRs {
		i.PPRs = &m.PPRs
	}
	return i, nil
}

// show leaves only the fields asked for.
func show(i *rsp.ProfileInfo, tags []tlv.Tag) {
	var out rsp.ProfileInfo
	for _, tag := range tags {
		switch tag {
		case 0x5A:
			out.ICCID = i.ICCID
		case 0x4F:
			out.AID = i.AID
		case 0x9F70:
			out.Enabled = i.Enabled
		case 0x90:
			out.Nickname = i.Nickname
		case 0x91:
			out.ServiceProvider = i.ServiceProvider
		case 0x92:
			out.Name = i.Name
		case 0x93:
			out.IconType = i.IconType
		case 0x94:
			out.Icon = i.Icon
		case 0x95:
			out.Class = i.Class
		case 0xB6:
			out.Notifications = i.Notifications
		case 0xB7:
			out.Owner = i.Owner
		case 0xB8:
			out.DPProprietary = i.DPProprietary
		case 0x99:
			out.PPRs = i.PPRs
		case 0xBF22:
			out.Stored = i.Stored
		case 0x9F7B:
			out.Emergency = i.Emergency
		case 0x9F26:
			out.Fallback = i.Fallback
		case 0x9F67:
			out.FallbackAllowed = i.FallbackAllowed
		}
	}
	*i = out
}
