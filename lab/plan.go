package lab

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"godwit/ident"
)

// A Plan says who a device is and what will happen to it. It follows from the
// seed, the number of the device and the rates alone, so that the same seed makes
// the same devices with the same fate, whatever the time and the server do. What
// happens on an occasion depends on its number: the third request of the device,
// its fifth session.
type Plan struct {
	Seed   uint64
	Number int // from 1
	Life   uint64
	Rates  Rates

	EID     ident.EID
	IMEI    string
	Name    string
	Lasting []Kind
}

// NewPlan makes the plan of a device. prefix begins its EID: 8 digits, those that
// the EUM may certify. life counts the starts of a lab whose devices survive it:
// the numbers of occasions begin again with each. Who the device is, its lasting
// fault included, is the same in all of them.
func NewPlan(seed uint64, number int, life uint64, prefix string, rates Rates) (*Plan, error) {
	p := &Plan{Seed: seed, Number: number, Life: life, Rates: rates, Name: fmt.Sprintf("lab-%05d", number)}
	var err error
	// Labs of other seeds have other devices.
	if p.EID, err = ident.NewEID(fmt.Sprintf("%.8s%010d%012d", prefix, mix(seed)%1e10, number)); err != nil {
		return nil, err
	}
	p.IMEI = imei(seed, number)
	for _, k := range kinds {
		if k.Lasting && len(p.Lasting) == 0 && p.born().chance(k.Kind, 0) < rates[k.Kind] { // one is enough
			p.Lasting = append(p.Lasting, k.Kind)
		}
	}
	return p, nil
}

// imei returns an IMEI under a type allocation code for tests, with its check
// digit. 3GPP TS 23.003, 6.2.1.
func imei(seed uint64, number int) string {
	body := fmt.Sprintf("00101%03d%06d", mix(seed+1)%1000, number%1e6)
	return body + string(rune(ident.Luhn(body)))
}

// born is the plan for draws of what the device is: the same in each of its
// lives.
func (p *Plan) born() *Plan {
	first := *p
	first.Life = 1
	return &first
}

// Has reports whether the device has a lasting fault.
func (p *Plan) Has(k Kind) bool { return slices.Contains(p.Lasting, k) }

// Hopeless reports whether no operation of the device may end well, and what it
// says of itself is to be believed by nobody.
func (p *Plan) Hopeless() bool {
	return slices.ContainsFunc(kinds, func(k kindInfo) bool { return k.Untruthy && p.Has(k.Kind) })
}

// Strikes returns the fault that strikes an occasion, "" for none.
func (p *Plan) Strikes(o Occasion, number uint64) Kind {
	for _, k := range kinds {
		if k.Strikes == o && !k.Lasting && p.chance(k.Kind, number) < p.Rates[k.Kind] {
			return k.Kind
		}
	}
	return ""
}

// chance draws a number from 0 to 1 for an occasion.
func (p *Plan) chance(k Kind, number uint64) float64 {
	return float64(p.draw(string(k), number)>>11) / (1 << 53)
}

// draw returns 64 bits that depend on device, thing and number, and on nothing
// else.
func (p *Plan) draw(thing string, number uint64) uint64 {
	h := mix(p.Seed) ^ mix(uint64(p.Number)<<20+p.Life)
	for i := range len(thing) {
		h = mix(h ^ uint64(thing[i]))
	}
	return mix(h ^ mix(number))
}

// mix is the output function of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// between draws a time, evenly.
func (p *Plan) between(thing string, number uint64, least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(p.draw(thing, number)%uint64(most-least))
}

// upTo draws a number from 1 to most so that small ones are as likely as large
// ones of the same magnitude: short and long work are both cut in the middle.
func (p *Plan) upTo(thing string, number uint64, most int) int {
	u := float64(p.draw(thing, number)>>11) / (1 << 53)
	return min(most, int(math.Exp(u*math.Log(float64(most)+1))))
}

// secret returns 32 octets for a key of the device. The devices of one seed have
// the same keys each time: a server that has met them before knows them again.
// They are as secret as the seed: not at all.
func (p *Plan) secret(what string, try byte) []byte {
	key := binary.BigEndian.AppendUint64([]byte("godwit lab"), p.Seed)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(string(p.EID) + " " + what))
	mac.Write([]byte{try})
	return mac.Sum(nil)
}

// A PlanText is a plan for people and scripts: which occasions faults strike, up
// to a horizon.
type PlanText struct {
	Number  int               `json:"number"`
	Name    string            `json:"name"`
	EID     ident.EID         `json:"eid"`
	IMEI    string            `json:"imei"`
	Kind    string            `json:"kind"` // of eUICC: iot (SGP.32) or consumer (SGP.22)
	Lasting []Kind            `json:"lasting,omitempty"`
	Strikes map[Kind][]uint64 `json:"strikes,omitempty"` // numbers of occasions
}

// Consumer reports whether the device's eUICC is one of SGP.22, where a share of
// all are.
func (p *Plan) Consumer(share float64) bool { return p.born().chance("consumer", 0) < share }

// Text writes the plan out for the first occasions of each sort, in a lab with a
// share of consumer eUICCs.
func (p *Plan) Text(consumer float64, horizon uint64) PlanText {
	t := PlanText{Number: p.Number, Name: p.Name, EID: p.EID, IMEI: p.IMEI, Kind: "iot", Lasting: p.Lasting, Strikes: map[Kind][]uint64{}}
	if p.Consumer(consumer) {
		t.Kind = "consumer"
	}
	for _, o := range []Occasion{Request, Notification, Package, Session, Profile} {
		for n := uint64(1); n <= horizon; n++ {
			if k := p.Strikes(o, n); k != "" {
				t.Strikes[k] = append(t.Strikes[k], n)
			}
		}
	}
	return t
}
