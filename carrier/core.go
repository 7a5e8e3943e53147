package carrier

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/milenage"
)

// A Core is a core network: it knows subscribers, and serves or refuses them.
// [Registry], [OsmoHLR] and [Open5GS] are three, and one test suite drives all.
type Core interface {
	// Apply makes the network's subscriber equal to s. Applying the same
	// subscriber twice changes nothing the second time. A [*fault.Error] means
	// that the network will not have it so; after any other error nothing is
	// known, and the call is to be made again.
	Apply(ctx context.Context, s Subscriber) error
	// Compare says in what the network's subscriber differs from s, as far as
	// this network can tell. Of one that may not attach only that matters.
	Compare(ctx context.Context, s Subscriber) ([]Difference, error)
	// Close ends the connections to the network.
	Close() error
}

// A Difference is one thing that a core network holds otherwise than it should.
// Keys are not shown, only that they are others.
type Difference struct {
	What string `json:"what"`
	Want string `json:"want"`
	Is   string `json:"is"`
}

func (d Difference) String() string {
	verb := "is"
	if d.What == theKeys {
		verb = "are"
	}
	return fmt.Sprintf("%s %s %s, not %s", d.What, verb, d.Is, d.Want)
}

const theKeys = "keys"

// differences collects them.
type differences []Difference

func (l *differences) add(what, want, is string) {
	if want != is {
		*l = append(*l, Difference{what, want, is})
	}
}

func (l *differences) flag(what string, want, is bool) {
	l.add(what, onOff(want), onOff(is))
}

// keys adds a difference of key material, of which no more may be said.
func (l *differences) keys(same bool) {
	if !same {
		*l = append(*l, Difference{theKeys, "the profile's", "another's"})
	}
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// unknownThere is the difference of a subscriber that the network has never
// heard of.
var unknownThere = []Difference{{"subscriber", "known", "unknown"}}

// servedThere is the difference of a subscriber that the network should not
// serve.
var servedThere = []Difference{{"attach", "off", "on"}}

// The schemes of core networks in URLs.
const (
	osmoScheme  = "osmohlr"
	mongoScheme = "open5gs+mongodb"
)

// BuiltIn is the address of the registry of this program.
const BuiltIn = "built-in"

// Open returns the core network at an address: osmohlr://HOST:PORT, the control
// interface of an OsmoHLR; open5gs+mongodb://…, the database of an Open5GS; or
// "built-in" or "" for the registry in d. It does not wait for a network that
// cannot be reached now.
func Open(address string, d *db.DB) (Core, error) {
	if address == "" || address == BuiltIn {
		return New(d), nil
	}
	scheme, _, ok := strings.Cut(address, "://")
	switch {
	case ok && scheme == osmoScheme:
		u, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("the address of the core network cannot be read: %w", errors.Unwrap(err))
		}
		if u.Hostname() == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("the address of an OsmoHLR is osmohlr://HOST:PORT, not %q", u.Redacted())
		}
		return NewOsmoHLR(u.Host), nil
	case ok && (scheme == mongoScheme || scheme == mongoScheme+"+srv"):
		return NewOpen5GS(address)
	}
	return nil, fmt.Errorf("a core network is osmohlr://HOST:PORT, open5gs+mongodb://HOST[:PORT]/DATABASE, or %s; its address begins with another scheme", BuiltIn)
}

// Redacted returns the address of a core network without the password that may
// be in it.
func Redacted(address string) string {
	if address == "" {
		return BuiltIn
	}
	u, err := url.Parse(address)
	if err != nil {
		scheme, _, _ := strings.Cut(address, "://")
		return scheme + "://…"
	}
	return u.Redacted()
}

// An AuC makes challenges for subscribers: a [Registry] itself, or an HLR
// behind [GSUP].
type AuC interface {
	// ChallengeIn makes a new vector for a subscriber in a visited network; the
	// zero PLMN is no network in particular.
	ChallengeIn(ctx context.Context, imsi ident.IMSI, visited ident.PLMN) (milenage.Vector, error)
	// Resync takes the USIM's sequence number from the AUTS that answered a
	// challenge.
	Resync(ctx context.Context, imsi ident.IMSI, random [16]byte, auts []byte) error
}

// Authenticate lets a USIM prove itself to its home network as an attach in a
// visited network does: one challenge, and one more after a resynchronisation.
// It returns the vector whose keys both sides now share.
func Authenticate(ctx context.Context, home AuC, imsi ident.IMSI, visited ident.PLMN, usim USIM) (milenage.Vector, error) {
	for attempt := range 2 {
		v, err := home.ChallengeIn(ctx, imsi, visited)
		if err != nil {
			return milenage.Vector{}, err
		}
		a, err := usim(v.RAND, v.AUTN)
		if errors.Is(err, milenage.ErrMAC) {
			return milenage.Vector{}, fault.New(fault.Forbidden,
				"the USIM of IMSI %s does not believe the network: its K or OPc is not the one stored there", imsi)
		}
		if err != nil {
			return milenage.Vector{}, fmt.Errorf("authenticate IMSI %s: %w", imsi, err)
		}
		if a.AUTS == nil || attempt > 0 {
			if !v.Accepts(a.RES) {
				return milenage.Vector{}, fault.New(fault.Forbidden, "the USIM of IMSI %s gave a wrong response", imsi)
			}
			return v, nil
		}
		if err := home.Resync(ctx, imsi, v.RAND, a.AUTS); err != nil {
			return milenage.Vector{}, err
		}
	}
	panic("unreachable")
}
