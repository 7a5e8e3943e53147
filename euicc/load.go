package euicc

import (
	"errors"
	"slices"

	"godwit/rsp"
	"godwit/tlv"
)

// Parts of a bound profile package by the tags of their headers, in order.
const (
	partNone      tlv.Tag = 0
	partConfigure tlv.Tag = 0xA0
	partMetadata  tlv.Tag = 0xA1
	partReplace   tlv.Tag = 0xA2
	partProfile   tlv.Tag = 0xA3
)

// parts says what segments a part is made of, what command it stands for, and
// which part may follow.
var parts = map[tlv.Tag]struct {
	segment tlv.Tag
	command rsp.BPPCommand
	next    []tlv.Tag
}{
	partNone:      {0, rsp.CommandInitialise, []tlv.Tag{partConfigure}},
	partConfigure: {rsp.TagSegmentCommand, rsp.CommandConfigure, []tlv.Tag{partMetadata}},
	partMetadata:  {rsp.TagSegmentMetadata, rsp.CommandMetadata, []tlv.Tag{partReplace, partProfile}},
	partReplace:   {rsp.TagSegmentCommand, rsp.CommandReplaceKeys, []tlv.Tag{partProfile}},
	partProfile:   {rsp.TagSegmentProfile, rsp.CommandLoadElements, nil},
}

// A loader takes a bound profile package as it comes, piece by piece.
type loader struct {
	left       int     // octets of the package still to come
	part       tlv.Tag // part that is arriving
	partLeft   int     // octets of it still to come
	segments   int     // taken so far
	protection *rsp.Protection
	content    []byte // what the segments of the part carried
	dpData     []byte
	metadata   *rsp.Metadata
	rawMeta    []byte
}

// A failure ends an installation.
type failure struct {
	reason rsp.InstallError
	sima   []byte // what the package interpreter says, if it came to that
}

func (f *failure) Error() string { return "installation failed" }

func fail(reason rsp.InstallError) error { return &failure{reason: reason} }

// load takes one unit of a bound profile package. SGP.22 v2.5, 5.7.6 and 2.5.5.
// The last one, or the first that is wrong, is answered with the installation
// result.
func (c *Card) load(data []byte) ([]byte, error) {
	s := c.session
	starts := data[0] == 0xBF
	if s == nil || s.stage != prepared && s.stage != arriving || s.stage == prepared && !starts {
		return nil, refusal(swConditions)
	}
	var err error
	if s.stage == prepared {
		data, err = c.begin(data)
		var refused refusal
		if errors.As(err, &refused) {
			return nil, err
		}
	}
	for err == nil && len(data) > 0 {
		data, err = c.take(s.loader, data)
	}
	if failed, ok := errors.AsType[*failure](err); ok {
		return c.failed(failed)
	}
	if err != nil {
		return nil, err
	}
	if !c.powered || s.loader.left > 0 {
		return nil, nil
	}
	result, err := c.install(s.loader)
	if failed, ok := errors.AsType[*failure](err); ok {
		return c.failed(failed)
	}
	return result, err
}

// failed ends the run, forgets all that was loaded, and records why.
func (c *Card) failed(f *failure) ([]byte, error) {
	var result []byte
	err := c.update(func(s *state) (err error) {
		run := s.Loading
		s.Loading = nil
		result, err = c.result(s, run, func(r *rsp.InstallationResult) {
			r.Command, r.Error, r.SIMAResponse = run.Command, f.reason, f.sima
		})
		return err
	})
	c.session = nil
	return result, err
}

// mark records where the installation is, for the case that the power is cut.
func (c *Card) mark(change func(run *loading)) error {
	return c.update(func(s *state) error {
		run := loading{}
		if s.Loading != nil {
			run = *s.Loading
		}
		change(&run)
		s.Loading = &run
		return nil
	})
}

// begin reads the header of the package and InitialiseSecureChannel, and returns
// what follows in the same unit.
func (c *Card) begin(data []byte) ([]byte, error) {
	s := c.session
	_, length, rest, err := header(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	first, after, err := tlv.Next(rest)
	if err != nil || first.Tag != rsp.TagInitialiseSecureChannel {
		return nil, refusal(swWrongData)
	}
	err = c.mark(func(run *loading) {
		*run = loading{TransactionID: s.id, OID: s.binder.RegisteredID, Address: s.address, CI: s.ci}
	})
	if err != nil {
		return nil, err
	}
	s.stage = arriving
	s.loader = &loader{left: length - len(first.Raw)}
	if s.loader.left <= 0 {
		return nil, fail(rsp.InstallStructure)
	}
	channel, err := rsp.ParseInitialiseSecureChannel(first.Raw)
	if err != nil {
		return nil, fail(rsp.InstallIncorrectInput)
	}
	switch {
	case !channel.IsInstall():
		return nil, fail(rsp.InstallUnsupportedOperation)
	case channel.TransactionID != s.id:
		return nil, fail(rsp.InstallInvalidTransactionID)
	case !channel.SupportedCRT():
		return nil, fail(rsp.InstallUnsupportedCRT)
	case channel.Verify(s.binder.PublicKey, s.key.Public()) != nil:
		return nil, fail(rsp.InstallInvalidSignature)
	}
	z, err := s.key.Agree(channel.ServerKey)
	if err != nil {
		return nil, fail(rsp.InstallIncorrectInput)
	}
	s.loader.protection = rsp.NewProtection(rsp.DeriveKeys(z[:], channel.HostID, c.cfg.EID))
	return after, nil
}

// header reads a tag and a length whose content may not be there.
func header(b []byte) (tag tlv.Tag, length int, rest []byte, err error) {
	n := 1
	if len(b) > 1 && b[0]&0x1F == 0x1F {
		n = 2
	}
	if len(b) <= n {
		return 0, 0, nil, tlv.ErrTruncated
	}
	for _, o := range b[:n] {
		tag = tag<<8 | tlv.Tag(o)
	}
	length = int(b[n])
	rest = b[n+1:]
	if length < 0x80 {
		return tag, length, rest, nil
	}
	octets := length & 0x7F
	if octets == 0 || octets > 3 || len(rest) < octets {
		return 0, 0, nil, tlv.ErrLength
	}
	length = 0
	for _, o := range rest[:octets] {
		length = length<<8 | int(o)
	}
	if length > tlv.MaxElement {
		return 0, 0, nil, tlv.ErrTooLong
	}
	return tag, length, rest[octets:], nil
}

// take takes the header of a part or one segment from data.
func (c *Card) take(l *loader, data []byte) ([]byte, error) {
	if l.left == 0 {
		return nil, fail(rsp.InstallStructure)
	}
	if l.partLeft == 0 {
		return c.takePart(l, data)
	}
	e, rest, err := tlv.Next(data)
	if err != nil || e.Tag != parts[l.part].segment || len(e.Raw) > l.partLeft {
		return nil, fail(rsp.InstallStructure)
	}
	l.left -= len(e.Raw)
	l.partLeft -= len(e.Raw)
	if l.segments++; l.segments == c.cfg.Faults.PowerCutAfter {
		c.powerDown()
		return nil, nil
	}
	plain, err := l.protection.Open(e.Raw)
	if errors.Is(err, rsp.ErrMAC) {
		return nil, fail(rsp.InstallSecurity)
	}
	if err != nil {
		return nil, fail(rsp.InstallStructure)
	}
	l.content = append(l.content, plain...)
	if l.part == partProfile && len(l.content)+profileOverhead > c.free() {
		return nil, fail(rsp.InstallMemory)
	}
	if l.partLeft > 0 {
		return rest, nil
	}
	return rest, c.endPart(l)
}

// takePart takes the header of the next part.
func (c *Card) takePart(l *loader, data []byte) ([]byte, error) {
	tag, length, rest, err := header(data)
	if err != nil || !slices.Contains(parts[l.part].next, tag) {
		return nil, fail(rsp.InstallStructure)
	}
	l.left -= len(data) - len(rest) + length
	if length == 0 || l.left < 0 || tag == partProfile && l.left != 0 || tag != partProfile && l.left == 0 {
		return nil, fail(rsp.InstallStructure)
	}
	l.left += length
	l.part, l.partLeft, l.content = tag, length, nil
	return rest, c.mark(func(run *loading) { run.Command = parts[tag].command })
}

// endPart does what a whole part says. The profile itself is installed when all
// has come.
func (c *Card) endPart(l *loader) error {
	switch l.part {
	case partConfigure:
		configure, err := rsp.ParseConfigureISDP(l.content)
		if err != nil {
			return fail(rsp.InstallIncorrectInput)
		}
		l.dpData = configure.Raw
	case partMetadata:
		return c.storeMetadata(l)
	case partReplace:
		keys, err := rsp.ParseReplaceSessionKeys(l.content)
		if err != nil {
			return fail(rsp.InstallIncorrectInput)
		}
		l.protection.Replace(keys)
	}
	return nil
}

// storeMetadata: SGP.22 v2.5, 5.5.3.
func (c *Card) storeMetadata(l *loader) error {
	m, err := rsp.ParseMetadata(l.content)
	if err != nil || m.NotStored != nil {
		return fail(rsp.InstallIncorrectInput)
	}
	l.metadata, l.rawMeta = m, l.content
	// The result names the profile from here on.
	if err := c.mark(func(run *loading) { run.ICCID = m.ICCID }); err != nil {
		return err
	}
	switch {
	case m.Check() != nil:
		return fail(rsp.InstallIncorrectInput)
	case m.Class < rsp.ClassTest || m.Class > rsp.ClassOperational, m.Class == rsp.ClassTest && c.cfg.NoTestProfiles:
		return fail(rsp.InstallUnsupportedClass)
	case c.state.byICCID(m.ICCID) != nil:
		return fail(rsp.InstallICCIDExists)
	case !c.allows(m):
		return fail(rsp.InstallPPRNotAllowed)
	}
	return nil
}

// allows judges the policy rules of a profile that is to come. SGP.22 v2.5,
// 2.9.2.4 and 2.9.3.1.
func (c *Card) allows(m *rsp.Metadata) bool {
	if m.PPRs&c.cfg.ForbiddenPPR != 0 {
		return false
	}
	if m.PPRs&rsp.PPR1 != 0 {
		// A profile that cannot be disabled comes to a chip without another one,
		// or the user could never go back.
		other := func(p *profile) bool { return p.class() == rsp.ClassOperational }
		if c.state.find(other) != nil {
			return false
		}
	}
	allowed, _ := rsp.Allows(c.cfg.RAT, m.Owner, m.PPRs)
	return allowed
}

// install makes a profile of what was loaded: profile, result, notifications and
// the end of the one-time key in one commit.
func (c *Card) install(l *loader) ([]byte, error) {
	size, err := c.interpret(l)
	if err != nil {
		return nil, err
	}
	name := packageName(c.state.Installed + 1)
	content := l.content
	var result []byte
	var installed *fresh
	err = c.updateWith(map[string][]byte{name: content}, func(s *state) (err error) {
		run := s.Loading
		s.Loading = nil
		p := &profile{
			ICCID: l.metadata.ICCID, AID: s.nextAID(), Metadata: l.rawMeta, CI: run.CI, DPData: l.dpData,
			Package: name, Size: size,
		}
		s.Profiles = append(s.Profiles, p)
		installed = &fresh{iccid: p.ICCID, oid: run.OID, address: run.Address}
		public := c.session.key.Public()
		s.OneTime = slices.DeleteFunc(s.OneTime, func(k *oneTimeKey) bool { return slices.Equal(k.Public, public) })
		result, err = c.result(s, run, func(r *rsp.InstallationResult) {
			r.AID, r.SIMAResponse = p.AID, statusOK
		})
		if err != nil {
			return err
		}
		return c.notify(s, p, rsp.EventInstall)
	})
	if err != nil {
		return nil, err
	}
	c.session, c.fresh = nil, installed
	return result, nil
}
