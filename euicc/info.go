package euicc

import (
	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
)

// Versions of the profile package format that the card installs.
var (
	packageVersion  = rsp.Version{2, 3, 1}
	packageVersions = []rsp.Version{{3, 3, 1}}
)

// profileOverhead is what a profile takes beside its package: the ISD-P and the
// tables of the file system.
const profileOverhead = 2048

// volatileMemory is what the card announces as free volatile memory. It does not
// run out of it.
const volatileMemory = 16 << 10

// info1 is what the chip says of itself to everybody.
func (cfg *Config) info1() rsp.EUICCInfo1 {
	i := rsp.EUICCInfo1{SVN: cfg.SVN}
	for _, ci := range cfg.Roots {
		i.Verification = append(i.Verification, ci.SubjectKeyID)
	}
	for _, cred := range cfg.Credentials {
		i.Signing = append(i.Signing, cred.EUM.AuthorityKeyID)
	}
	return i
}

// info2 is what the chip signs of itself. SGP.22 v2.5, 4.3.
func (c *Card) info2() *rsp.EUICCInfo2 {
	info1 := c.cfg.info1()
	free := c.free()
	can := rsp.CRLSupport | rsp.DeviceInfoExtensibility | rsp.ServiceSpecificData
	if free > profileOverhead {
		can |= rsp.AdditionalProfile
	}
	if !c.cfg.NoTestProfiles {
		can |= rsp.TestProfileSupport
	}
	info := &rsp.EUICCInfo2{
		ProfileVersion: packageVersion, AdditionalVersions: packageVersions,
		SVN: c.cfg.SVN, Firmware: c.cfg.Firmware,
		Resource: rsp.CardResource{
			Applications: uint32(len(c.state.Profiles)), FreeNonVolatile: uint32(free), FreeVolatile: volatileMemory,
		},
		UICC: c.cfg.Capability, RSP: can,
		TS102241: rsp.Version{15, 0, 0}, GlobalPlatform: rsp.Version{2, 3, 0},
		Verification: info1.Verification, Signing: info1.Signing,
		Category:          new(int64(2)), // medium eUICC
		ForbiddenPPRs:     c.cfg.ForbiddenPPR,
		ProtectionProfile: rsp.Version{0, 0, 1}, // none: this is software, and no site was accredited
	}
	if c.cfg.IoT {
		info.IPAMode = new(int64(0)) // the IPA is in the device
		info.IoT = &rsp.IoTInfo{Versions: iotVersions, Emergency: true, Fallback: true}
	}
	return info
}

// free returns the memory left for profiles.
func (c *Card) free() int { return max(0, c.cfg.Memory-c.state.used()) }

// isAddress reports whether s can be the name of a server, or none at all.
func isAddress(s string) bool {
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '.' && r != '-' && r != ':' {
			return false
		}
	}
	return len(s) <= 253+6 // a name, and a port where a test bench has one
}

// A Profile describes one profile on the chip, for people.
type Profile struct {
	ICCID    ident.ICCID
	AID      []byte
	Enabled  bool
	Nickname string
	Provider string
	Name     string
	Class    rsp.ProfileClass
	Memory   int
}

// Profiles lists the profiles on the chip.
func (c *Card) Profiles() []Profile {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Profile, 0, len(c.state.Profiles))
	for _, p := range c.state.Profiles {
		shown := Profile{ICCID: p.ICCID, AID: p.AID, Enabled: p.Enabled, Memory: p.Size}
		if p.Nickname != nil {
			shown.Nickname = *p.Nickname
		}
		if m, err := rsp.ParseMetadata(p.Metadata); err == nil {
			shown.Provider, shown.Name, shown.Class = m.ServiceProvider, m.Name, m.Class
		}
		out = append(out, shown)
	}
	return out
}

// Status is the card at a glance, for people.
type Status struct {
	EID           ident.EID
	SVN           rsp.Version
	CIs           [][]byte // subject key identifiers that servers are verified with
	SigningCIs    [][]byte
	DefaultDP     string
	RootDS        string
	Memory, Free  int
	Profiles      int
	Notifications int

	// Of an IoT chip.
	IoT      bool
	Eims     []iot.EimConfiguration // with the counters and tokens of now
	Results  int                    // package results that wait
	Fallback ident.ICCID            // the fallback profile, or empty
}

// Status describes the card.
func (c *Card) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		EID: c.cfg.EID, SVN: c.cfg.SVN, DefaultDP: c.state.DefaultDP, RootDS: c.cfg.RootDS, Memory: c.cfg.Memory,
		Free: c.free(), Profiles: len(c.state.Profiles), Notifications: len(c.state.Notifications),
	}
	for _, ci := range c.cfg.Roots {
		s.CIs = append(s.CIs, ci.SubjectKeyID)
	}
	s.IoT, s.Eims, s.Results, s.Fallback = c.cfg.IoT, c.state.configurations(""), len(c.state.Results), c.state.Fallback
	for _, cred := range c.cfg.Credentials {
		s.SigningCIs = append(s.SigningCIs, cred.EUM.AuthorityKeyID)
	}
	return s
}
