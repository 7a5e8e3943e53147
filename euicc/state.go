package euicc

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// stateVersion is what is written. Version 1 has nothing of SGP.32 and is read as
// it is: every field since then may be missing.
const stateVersion = 2

// A state is everything that a chip remembers without power. A state that has
// been committed is never changed: a command works on a clone and commits it.
type state struct {
	Version int `json:"version"`

	DefaultDP string `json:"default_dp,omitempty"`
	// Sequence is the number of the newest notification. It only grows: not
	// deletion nor a memory reset takes it back.
	Sequence int64 `json:"sequence"`
	// Installed counts the profiles ever installed. It numbers their ISD-Ps.
	Installed int `json:"installed"`

	Profiles      []*profile      `json:"profiles,omitempty"`
	Notifications []*notification `json:"notifications,omitempty"`

	// Loading is set from the first segment of a bound profile package to the
	// last. Found at power-up, it says that the installation was interrupted.
	Loading *loading `json:"loading,omitempty"`
	// OneTime are the keys of downloads that did not end in an installation.
	// The server may bind a package to the same key again.
	OneTime []*oneTimeKey `json:"one_time,omitempty"`
	// BeforeTest is the operational profile that a test profile took the
	// place of.
	BeforeTest ident.ICCID `json:"before_test,omitempty"`
	// CRLs are the certificate revocation lists loaded, newest of each CI.
	CRLs [][]byte `json:"crls,omitempty"`

	iotState
}

// A profile is one profile on the chip. Its package is kept as it was
// installed; what has changed since then is beside it.
type profile struct {
	ICCID    ident.ICCID `json:"iccid"`
	AID      []byte      `json:"aid"` // of the ISD-P
	Enabled  bool        `json:"enabled,omitempty"`
	Nickname *string     `json:"nickname,omitempty"`
	Metadata []byte      `json:"metadata"`           // BF25 as loaded
	CI       []byte      `json:"ci"`                 // whose credential signs its notifications
	DPData   []byte      `json:"dp_data,omitempty"`  // content of B8 as loaded
	Package  string      `json:"package"`            // name in the store
	Size     int         `json:"size"`               // octets of memory taken
	Files    fileMap     `json:"files,omitempty"`    // contents changed since installation
	Codes    codeMap     `json:"codes,omitempty"`    // PINs and PUKs changed since installation
	Sequence seqMap      `json:"sequence,omitempty"` // accepted SEQ by NAA
}

type (
	fileMap map[string][]byte
	codeMap map[string]code
	seqMap  map[string][]uint64
)

// A loading marks a run of installation.
type loading struct {
	TransactionID rsp.TransactionID `json:"transaction_id"`
	OID           ident.OID         `json:"oid"`     // of the SM-DP+
	Address       string            `json:"address"` // of the SM-DP+
	CI            []byte            `json:"ci"`
	ICCID         ident.ICCID       `json:"iccid,omitempty"`
	Command       rsp.BPPCommand    `json:"command"`
}

// A oneTimeKey is an otSK.EUICC that a package was asked for with.
type oneTimeKey struct {
	OID    ident.OID  `json:"oid"` // of the SM-DP+ that asked
	Curve  pki.Curve  `json:"curve"`
	Key    rsp.Secret `json:"key"`
	Public []byte     `json:"public"`
}

// maxOneTime bounds the keys kept. The oldest gives way.
const maxOneTime = 8

// clone returns a copy that may be changed, as long as the profiles and
// notifications in it are replaced and not written to.
func (s *state) clone() *state {
	c := *s
	c.Profiles = slices.Clone(s.Profiles)
	c.Notifications = slices.Clone(s.Notifications)
	c.OneTime = slices.Clone(s.OneTime)
	c.CRLs = slices.Clone(s.CRLs)
	c.Eims = slices.Clone(s.Eims)
	c.Results = slices.Clone(s.Results)
	return &c
}

// names reports whether a profile's package has the given name.
func (s *state) names(name string) bool {
	return slices.ContainsFunc(s.Profiles, func(p *profile) bool { return p.Package == name })
}

func (s *state) byICCID(iccid ident.ICCID) *profile {
	return s.find(func(p *profile) bool { return p.ICCID == iccid })
}

func (s *state) byAID(aid []byte) *profile {
	return s.find(func(p *profile) bool { return bytes.Equal(p.AID, aid) })
}

func (s *state) enabled() *profile {
	return s.find(func(p *profile) bool { return p.Enabled })
}

func (s *state) find(is func(*profile) bool) *profile {
	if i := slices.IndexFunc(s.Profiles, is); i >= 0 {
		return s.Profiles[i]
	}
	return nil
}

// edit replaces a profile of the state by a copy with change applied to it.
func (s *state) edit(p *profile, change func(*profile)) *profile {
	c := *p
	c.Files, c.Codes, c.Sequence = maps.Clone(p.Files), maps.Clone(p.Codes), maps.Clone(p.Sequence)
	change(&c)
	i := slices.IndexFunc(s.Profiles, func(q *profile) bool { return bytes.Equal(q.AID, p.AID) })
	s.Profiles[i] = &c
	return &c
}

func (s *state) remove(p *profile) {
	s.Profiles = slices.DeleteFunc(s.Profiles, func(q *profile) bool { return bytes.Equal(q.AID, p.AID) })
}

// used returns the memory that the profiles take.
func (s *state) used() int {
	n := 0
	for _, p := range s.Profiles {
		n += p.Size
	}
	return n
}

// nextSequence takes the next notification number.
func (s *state) nextSequence() int64 {
	s.Sequence++
	return s.Sequence
}

// nextAID numbers the ISD-P of the next profile. The first number in use is
// 0010; numbers are not used again while there are others. SGP.22 v2.5, 2.4.5.
func (s *state) nextAID() []byte {
	for {
		s.Installed++
		aid := rsp.ISDP(uint16(0x0F + s.Installed))
		if s.byAID(aid) == nil {
			return aid
		}
	}
}

// packageName names the package of a profile: never the same twice.
func packageName(installed int) string { return fmt.Sprintf("%06d.upp", installed) }

// update runs change on a clone of the state and commits it. When change or the
// store fails, the chip stays as it was.
func (c *Card) update(change func(s *state) error) error {
	return c.updateWith(nil, change)
}

func (c *Card) updateWith(added map[string][]byte, change func(s *state) error) error {
	s := c.state.clone()
	if err := change(s); err != nil {
		return err
	}
	if err := c.store.commit(s, added); err != nil {
		// Whether the state on the disk is the old or the new one is not known:
		// like a chip whose memory fails, the card is mute until it is opened
		// again.
		c.broken = fmt.Errorf("write the eUICC's memory: %w", err)
		return c.broken
	}
	c.state = s
	return nil
}
