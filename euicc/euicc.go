// Package euicc is a software eUICC: a card that speaks APDUs, holds profiles
// and authenticates subscribers, as strict as a chip.
//
// It is for trying servers and assistants without hardware, and for catching
// their mistakes: it verifies every certificate, signature, MAC and order of
// SGP.22 v2.5 and refuses what a chip refuses. Told to be an IoT chip, it speaks
// SGP.32 v1.2 and takes its orders from eIMs. It shares only wire formats
// with the servers of this module.
//
// It is not a secure element: whoever reads its directory reads its keys. It
// runs no applets: the applications of a profile are checked, counted and kept,
// never executed, and over-the-air management (ES6, RFM) is not there.
package euicc

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync"

	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
)

// A Credential is what the eUICC signs with under one CI: its certificate, the
// EUM's that issued it, and the private key.
type Credential struct {
	EUM   *pki.Certificate
	EUICC *pki.Certificate
	Key   crypto.Signer
}

// A Config is what a chip leaves the factory with.
type Config struct {
	EID ident.EID
	// Credentials in order of preference, one for each CI that the chip can
	// sign under (euiccCiPKIdListForSigning).
	Credentials []Credential
	// Roots in order of preference: the CI certificates that servers are
	// verified with (euiccCiPKIdListForVerification).
	Roots []*pki.Certificate

	// DefaultDP is the default SM-DP+ address from the factory, may be empty.
	DefaultDP string
	// RootDS is the address of the root SM-DS.
	RootDS string

	// Memory is the non-volatile memory for profiles in octets; 0 means
	// [DefaultMemory].
	Memory int
	// Capability is the set of services offered to profiles; 0 means
	// [DefaultCapability].
	Capability rsp.UICCCapability
	// NoTestProfiles makes the chip refuse profiles of class test.
	NoTestProfiles bool
	// ForbiddenPPR are the policy rules that the chip takes from no profile.
	ForbiddenPPR rsp.PPR
	// RAT lists which operators may set which policy rules; nil means
	// [DefaultRAT].
	RAT []rsp.Rule

	// SVN is the version of SGP.22 that the chip announces; zero means 2.5.0.
	SVN rsp.Version
	// Firmware is the chip's own version.
	Firmware rsp.Version

	// Terminal makes the card answer like one behind a T=0 reader: a command
	// that has both data and an answer always ends in 61xx. Without it the
	// answer comes at once, as PC/SC readers with T=1 and in-process callers
	// like it.
	Terminal bool

	// IoT makes the chip one of SGP.32: it takes orders from eIMs, in signed
	// packages, and not from an LPA.
	IoT bool
	// Eims are associated when the chip leaves the factory; of no chip but an IoT
	// one. Without them the first IPA may add one.
	Eims []iot.EimConfiguration

	// Faults make the chip misbehave.
	Faults Faults
}

// Faults are what a chip can be told to do wrong, to try servers with.
type Faults struct {
	// WrongSignature flips one bit of signatures of the kinds set.
	WrongSignature Signed
	// KeepNotifications makes RemoveNotificationFromList answer "done" and
	// keep the notification, so that the assistant delivers it again.
	KeepNotifications bool
	// Silent makes the chip answer nothing at all: [Card.Transmit] returns
	// [ErrSilent].
	Silent bool
	// PowerCutAfter cuts the power when so many segments of a bound profile
	// package have been taken (counted from 1); 0 never does. Transmit returns
	// [ErrSilent] until the card is reset.
	PowerCutAfter int
	// RefusePackages makes the chip answer every package that it could execute
	// with this code, signed (EuiccPackageErrorCode); 0 never does.
	RefusePackages int64
	// RepeatChallenge makes the chip give the same challenge each time.
	RepeatChallenge bool
}

// Signed is a set of the objects that a chip signs.
type Signed uint8

// The signed objects.
const (
	SignedAuthentication Signed = 1 << iota // euiccSigned1
	SignedDownload                          // euiccSigned2
	SignedResult                            // profile installation result
	SignedNotification                      // other notifications
	SignedCancel                            // cancel session
	SignedPackageResult                     // eUICC package results and errors
)

// ErrSilent is what a chip that does not answer leaves its reader with.
var ErrSilent = errors.New("the card does not answer")

// ErrClosed is returned by a card after Close.
var ErrClosed = errors.New("the card is closed")

// A Card is one eUICC. It is safe for concurrent use: commands are taken one
// after the other, as a card does.
type Card struct {
	mu     sync.Mutex
	cfg    Config
	store  store
	state  *state
	broken error // set when the store failed: nothing can be promised any more

	channels [maxChannels]*channel
	session  *session
	fresh    *fresh // profile installed since the last challenge
	powered  bool
	toolkit  toolkit
	roots    *pki.Roots
	current  *system         // file system of the enabled profile, once it was needed
	pins     map[string]bool // codes that were presented since the reset
}

// New makes a chip in an empty or absent directory and opens it.
func New(dir string, cfg Config) (*Card, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s, err := createDisk(dir, cfg)
	if err != nil {
		return nil, fmt.Errorf("make eUICC in %s: %w", dir, err)
	}
	return start(cfg, s)
}

// Open opens the chip in a directory. It is the only one to use the directory
// until [Card.Close].
func Open(dir string) (*Card, error) {
	s, cfg, err := openDisk(dir)
	if err != nil {
		return nil, fmt.Errorf("open eUICC in %s: %w", dir, err)
	}
	return start(cfg, s)
}

// NewMemory makes a chip that lives in memory only. It is cheap: thousands of
// them download profiles at once to load a server.
func NewMemory(cfg Config) (*Card, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return start(cfg, &memory{state: cfg.blank(), packages: map[string][]byte{}})
}

func start(cfg Config, s store) (*Card, error) {
	st, err := s.load()
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	c := &Card{cfg: cfg, store: s, state: st}
	if c.roots, err = cfg.roots(st.CRLs); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := c.Reset(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return c, nil
}

// Close powers the card down and gives its directory free.
func (c *Card) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.broken, ErrClosed) {
		return nil
	}
	c.powerDown()
	c.broken = ErrClosed
	return c.store.close()
}

// SetFaults changes how the chip misbehaves from now on.
func (c *Card) SetFaults(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Faults = f
}

// SetTerminal changes between the T=0 form of answers and the direct one.
func (c *Card) SetTerminal(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Terminal = on
}

// EID returns the chip's number.
func (c *Card) EID() ident.EID { return c.cfg.EID }

// CIs returns the CI certificates that servers are verified with. A real chip
// tells only their key identifiers; an assistant beside this one needs them for
// TLS.
func (c *Card) CIs() []*pki.Certificate { return slices.Clone(c.cfg.Roots) }
