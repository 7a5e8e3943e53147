package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Kind is one thing that goes wrong in the field.
type Kind string

// Kinds of faults.
const (
	LostRequest      Kind = "lost-request"
	LostAnswer       Kind = "lost-answer"
	SlowLink         Kind = "slow-link"
	LostNotification Kind = "lost-notification"
	RefusedPackage   Kind = "refused-package"
	PowerCut         Kind = "power-cut"
	Crash            Kind = "crash"
	Offline          Kind = "offline"
	NoCoverage       Kind = "no-coverage"
	FullMemory       Kind = "full-memory"
	WrongSignature   Kind = "wrong-signature"
	ForeignCI        Kind = "foreign-ci"
)

// An Occasion is what a fault can strike. The share of a fault is counted in its
// occasions, and each device numbers them from 1.
type Occasion string

// Occasions.
const (
	Request      Occasion = "request"      // an HTTP request of the device
	Notification Occasion = "notification" // an HTTP request that delivers a notification
	Package      Occasion = "package"      // an eUICC package that arrives
	Session      Occasion = "session"      // a wake-up of the agent, with its polls
	Profile      Occasion = "profile"      // a profile that is new on the device
	Making       Occasion = "device"       // the making of the device: such a fault stays
)

// A kindInfo is what there is to know of a kind.
type kindInfo struct {
	Kind     Kind
	Strikes  Occasion
	Meaning  string
	Lasting  bool // the device has it for life
	Untruthy bool // no operation of the device may end well
}

// kinds in the order in which they are shown and drawn: of several faults on one
// occasion the first counts.
var kinds = []kindInfo{
	{Kind: LostRequest, Strikes: Request, Meaning: "the request does not arrive"},
	{Kind: LostAnswer, Strikes: Request, Meaning: "the request arrives, its answer does not"},
	{Kind: SlowLink, Strikes: Request, Meaning: "the link takes a second or some"},
	{Kind: LostNotification, Strikes: Notification, Meaning: "a notification does not arrive"},
	{Kind: RefusedPackage, Strikes: Package, Meaning: "one bit of a package is wrong when it arrives, so that the eUICC refuses it"},
	{Kind: PowerCut, Strikes: Session, Meaning: "the power fails before or after an APDU, a write or a request drawn at random"},
	{Kind: Crash, Strikes: Session, Meaning: "the agent dies at such a moment, and is started again"},
	{Kind: Offline, Strikes: Session, Meaning: "the device is out of coverage for a long time"},
	{Kind: NoCoverage, Strikes: Profile, Meaning: "the new profile has no network for a long time"},
	{Kind: FullMemory, Strikes: Making, Meaning: "the eUICC has no room for a profile", Lasting: true, Untruthy: false},
	{Kind: WrongSignature, Strikes: Making, Meaning: "the eUICC signs wrongly", Lasting: true, Untruthy: true},
	{Kind: ForeignCI, Strikes: Making, Meaning: "the eUICC has certificates of a CI that the server does not know", Lasting: true, Untruthy: true},
}

// Kinds returns the names of all kinds.
func Kinds() []Kind {
	out := make([]Kind, len(kinds))
	for i, k := range kinds {
		out[i] = k.Kind
	}
	return out
}

// KindNames names all kinds in one text, for people.
func KindNames() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(Kinds()), " ", ", "), "[]")
}

// Meaning says in words what a kind does, and what it strikes.
func (k Kind) Meaning() (text string, strikes Occasion) {
	for _, i := range kinds {
		if i.Kind == k {
			return i.Meaning, i.Strikes
		}
	}
	return "", ""
}

// Rates are the shares of occasions, from 0 to 1, that a kind strikes.
type Rates map[Kind]float64

// Share has faults strike a share of the occasions of each sort: of requests, of
// sessions and so on. The kinds that strike the same occasions share it.
func Share(of float64) Rates {
	same := map[Occasion]float64{}
	for _, k := range kinds {
		same[k.Strikes]++
	}
	r := Rates{}
	if of > 0 {
		for _, k := range kinds {
			r[k.Kind] = of / same[k.Strikes]
		}
	}
	return r
}

// ParseShare reads a share: 5%, 0.5% or 0.05.
func ParseShare(s string) (float64, error) {
	text, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.ParseFloat(text, 64)
	if percent {
		n /= 100
	}
	if err != nil || !(n >= 0 && n <= 1) {
		return 0, fmt.Errorf("%q is no share: write 5%% or 0.05, from 0 to 100%%", s)
	}
	return n, nil
}

// Set reads the share of one kind, kind=1%.
func (r Rates) Set(s string) error {
	name, share, found := strings.Cut(s, "=")
	if !found || !slices.Contains(Kinds(), Kind(name)) {
		return fmt.Errorf("%q is not KIND=SHARE with one of the kinds %s", s, KindNames())
	}
	n, err := ParseShare(share)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r[Kind(name)] = n
	return nil
}
