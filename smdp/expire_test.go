package smdp

import (
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/rsp"
)

// TestOrdersExpire: an order whose time is over ends, and who ordered hears of
// it, also when nobody comes for it. One that somebody is at or has fetched does
// not.
func TestOrdersExpire(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, func(c *Config) { c.OrderLifetime = time.Hour })
		left, fetched := w.order(wish{}), w.order(wish{})
		s := w.offeredTo(w.chip(), fetched)
		_, header := s.download("")
		wantCode(t, header, "")
		sweep := func() {
			t.Helper()
			if err := w.server.expireOrders(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		life := w.server.cfg.OrderLifetime
		w.clock.Forward(life / 2)
		later := w.order(wish{})
		w.clock.Forward(life/2 + time.Minute)
		wantCode(t, w.chip().start().authenticate(str(later.id)), "")
		sweep()
		w.wantState(left.iccid, Released) // somebody who came in time may still be at it
		w.clock.Forward(w.server.cfg.RunLifetime)
		sweep()
		w.wantState(left.iccid, Failed)
		w.wantHeard(left.iccid, rsp.PointEligibility, "8.8.5/4.10")
		w.wantState(fetched.iccid, Downloaded)
		w.wantState(later.iccid, Released)
		wantCode(t, w.chip().start().authenticate(str(left.id)), "8.8.5/4.10")
		sweep()
		w.wantState(later.iccid, Released)
	})
}
