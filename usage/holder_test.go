package usage

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
)

// TestHolder asks whose an address is after each of many reports: starts, moves
// from address to address, ends, restarts of reporters, silence.
func TestHolder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		f := h.fleet(t, 0)
		type known struct {
			sim       string
			addresses []netip.Addr
			open      bool
			last      time.Time
		}
		sessions := map[sessionKey]*known{}
		pool := make([]netip.Addr, 6)
		for i := range pool {
			pool[i] = netip.AddrFrom4([4]byte{100, 64, 0, byte(i)})
			if i%2 == 1 {
				pool[i] = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i))
			}
		}
		type device struct {
			sid  string
			imsi ident.IMSI
		}
		var devices []device
		for range 3 {
			one := h.sim(t, f, "")
			devices = append(devices, device{one.SID, ident.IMSI(fmt.Sprintf("99970%010d", h.sims))})
		}
		const seed = 1
		r := rand.New(rand.NewPCG(seed, 0))
		for step := range 200 {
			h.clock.Forward(time.Duration(1+r.IntN(90)) * time.Minute)
			at := h.clock.Now()
			n := r.IntN(9)
			key := sessionKey{fmt.Sprint("gw", n%2), fmt.Sprint("s", n)}
			s := sessions[key]
			switch {
			case r.IntN(20) == 0:
				check(t, h.Restarted(t.Context(), key.nas, at))
				for of, s := range sessions {
					if of.nas == key.nas {
						s.open = false
					}
				}
			case s != nil && !s.open: // its name is not used again
			default:
				report := Report{NAS: key.nas, Session: key.id, Kind: Interim, At: at, Exact: true, Seconds: -1, Subscriber: Subscriber{IMSI: devices[n%3].imsi}}
				for _, i := range r.Perm(len(pool))[:r.IntN(3)] {
					report.Addresses = append(report.Addresses, pool[i])
				}
				if s == nil {
					s = &known{sim: devices[n%3].sid, open: true}
					sessions[key] = s
				}
				if r.IntN(6) == 0 {
					report.Kind, s.open = Stop, false
				}
				if s.last = at; len(report.Addresses) > 0 {
					s.addresses = report.Addresses
				}
				for range 1 + r.IntN(2) { // some come twice
					if _, err := h.Record(t.Context(), []Report{report}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, a := range pool {
				var want known
				for _, s := range sessions {
					for _, has := range s.addresses {
						if has == a && s.open && s.last.After(want.last) && s.last.After(at.Add(-Silence)) {
							want = *s
						}
					}
				}
				var got string
				check(t, d.Read(t.Context(), func(q db.Query) (err error) {
					got, err = h.Holder(t.Context(), q, a)
					return err
				}))
				if got != want.sim {
					t.Fatalf("seed %d, step %d: %s is %q's, want %q", seed, step, a, got, want.sim)
				}
			}
		}
		// What is forgotten has no addresses either.
		h.clock.Forward(remember + time.Hour)
		if _, err := h.forgetSessions(t.Context()); err != nil {
			t.Fatal(err)
		}
		var left int
		check(t, d.Read(t.Context(), func(q db.Query) error {
			return q.QueryRowContext(t.Context(), `select count(*) from usage_address`).Scan(&left)
		}))
		if left != 0 {
			t.Errorf("%d addresses of nothing", left)
		}
	})
}
