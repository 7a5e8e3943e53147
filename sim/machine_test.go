package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/jobs"
	"godwit/rsp"

	"pgregory.net/rapid"
)

// nextCase sets the cases apart that share a database.
var nextCase atomic.Int64

// TestReservationMachine drives reservations through random interleavings of
// everything that may happen to them: jobs that run, die half-way or overlap,
// an SM-DP+ that refuses, falls silent before or after it has acted, reports
// that come early, late, twice and out of order.
func TestReservationMachine(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		rapid.Check(t, func(rt *rapid.T) { reservationMachine(t, rt, d) })
	})
}

func reservationMachine(t *testing.T, rt *rapid.T, d *db.DB) {
	h := newHouse(t, d)
	ctx := context.Background()
	h.clock.Forward(time.Duration(nextCase.Add(1)) * 24 * time.Hour) // leases of earlier cases have lapsed
	h.yard.made = int(nextCase.Load()) * 100_000                     // and their profiles are others
	h.yard.stock = rapid.IntRange(0, 6).Draw(rt, "stock")
	ac := h.account(t, "")
	var all []Profile
	pick := func(rt *rapid.T) *Profile {
		if len(all) == 0 {
			rt.Skip("no reservation yet")
		}
		p := &all[rapid.IntRange(0, len(all)-1).Draw(rt, "reservation")]
		*p = h.profile(t, *p)
		return p
	}
	check := func(err error) {
		if err != nil {
			rt.Fatal(err)
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"reserve": func(rt *rapid.T) {
			code := rapid.Bool().Draw(rt, "code")
			r := Reservation{Account: ac, WantsCode: code, Callback: Callback{URL: "https://hooks.example.com"}}
			if !code || rapid.Bool().Draw(rt, "eid") {
				r.EID = testEID
			}
			p, err := h.Reserve(ctx, r)
			check(err)
			all = append(all, p)
		},
		"run the job": func(*rapid.T) { _ = h.reserve(ctx, jobs.Hand{}) }, // fails where the SM-DP+ is silent
		"die after the claim": func(*rapid.T) {
			_, _, err := h.claim(ctx, jobs.Hand{Job: 1})
			check(err)
		},
		"come again": func(*rapid.T) { _ = h.reserve(ctx, jobs.Hand{Job: 1, Again: true}) },
		"die after the order": func(*rapid.T) {
			batch, _, err := h.claim(ctx, jobs.Hand{})
			check(err)
			_, _ = h.order(ctx, batch)
		},
		"die after the confirmation": func(*rapid.T) {
			batch, _, err := h.claim(ctx, jobs.Hand{})
			check(err)
			if batch, err = h.order(ctx, batch); err == nil && len(batch) > 0 {
				_, _ = h.confirm(ctx, batch)
			}
		},
		"two at a time": func(*rapid.T) {
			batch, _, err := h.claim(ctx, jobs.Hand{})
			check(err)
			h.clock.Forward(2 * reserveLease) // the first is so slow that the second takes over
			_ = h.reserve(ctx, jobs.Hand{})
			_ = h.prepare(ctx, batch)
		},
		"time passes": func(rt *rapid.T) {
			h.clock.Forward(rapid.SampledFrom([]time.Duration{time.Second, 2 * reserveLease}).Draw(rt, "time"))
		},
		"the SM-DP+ changes its mood": func(rt *rapid.T) {
			function := rapid.SampledFrom([]string{"downloadOrder", "confirmOrder", "releaseProfile"}).Draw(rt, "function")
			mood := rapid.SampledFrom([]silence{speaks, losesCall, losesAnswer}).Draw(rt, "mood")
			refuses := rapid.Bool().Draw(rt, "refuses")
			h.yard.set(func(y *yard) {
				clear(y.refuse)
				clear(y.silence)
				y.silence[function] = mood
				if refuses {
					y.refuse[function] = rsp.Refuse(rsp.ICCIDState, "a bad mood")
				}
			})
		},
		"a report": func(rt *rapid.T) {
			p := pick(rt)
			if h.yard.state(p.ICCID) != "released" {
				rt.Skip("nothing to report: nobody can download it")
			}
			var reports []rsp.ProgressInfo
			for range rapid.IntRange(1, 3).Draw(rt, "reports") {
				point := rapid.SampledFrom([]rsp.NotificationPoint{rsp.PointEligibility, rsp.PointDownload, rsp.PointInstallation, rsp.PointEnabled}).Draw(rt, "point")
				var failure *rsp.Failure
				if rapid.IntRange(0, 3).Draw(rt, "fails") == 0 {
					failure = rsp.Refuse(rsp.PackageFailed, "")
				}
				reports = append(reports, h.report(*p, point, failure))
			}
			check(h.Progress(ctx, reports))
		},
		"": func(rt *rapid.T) {
			iccids := map[ident.ICCID]string{}
			for i := range all {
				all[i] = h.profile(t, all[i])
				checkReservation(rt, t, h, all[i])
				p := all[i]
				if other := iccids[p.ICCID]; p.ICCID != "" && p.Status != ProfileFailed && other != "" {
					rt.Fatalf("%s and %s have one profile", p.SID, other)
				}
				iccids[p.ICCID] = p.SID
			}
		},
	})
	// In the end all is well again, and nothing is left hanging.
	h.yard.set(func(y *yard) {
		clear(y.refuse)
		clear(y.silence)
	})
	h.clock.Forward(2 * reserveLease)
	check(h.reserve(ctx, jobs.Hand{}))
	for _, p := range all {
		p = h.profile(t, p)
		checkReservation(rt, t, h, p)
		if p.Status == ProfileNew || p.Status == ProfileReserving {
			rt.Fatalf("%s is left %s", p.SID, p.Status)
		}
		if p.Status == ProfileAvailable && h.yard.state(p.ICCID) != "released" {
			rt.Fatalf("%s is available, its profile %s", p.SID, h.yard.state(p.ICCID))
		}
	}
}

// checkReservation compares a reservation with its events and callbacks: the
// state, what proves it and what its customer was told go together.
func checkReservation(rt *rapid.T, t *testing.T, h *house, p Profile) {
	var last ProfileStatus
	var tell []string
	for _, e := range h.events(t, p.SID) {
		to := ProfileStatus(strings.TrimPrefix(e.Kind, "esim_profile."))
		if last == "" && to != ProfileNew || last != "" && !last.CanBecome(to) {
			rt.Fatalf("%s went from %q to %s", p.SID, last, to)
		}
		last = to
		if to != ProfileNew && to != ProfileReserving {
			tell = append(tell, string(to))
			if len(e.Evidence) == 0 && p.ErrorCode != fmt.Sprint(CodeUnreachable) { // silence proves nothing
				rt.Fatalf("%s became %s without evidence", p.SID, to)
			}
		}
	}
	if last != p.Status {
		rt.Fatalf("%s is %s, its last event says %s", p.SID, p.Status, last)
	}
	if got, want := told(t, h, p.SID), strings.Join(tell, " "); got != want {
		rt.Fatalf("the customer of %s was told %q, want %q", p.SID, got, want)
	}
	if wasAvailable := slices.Contains(tell, "available"); wasAvailable != (p.SIM != "") {
		rt.Fatalf("%s was available: %v, its Sim is %q", p.SID, wasAvailable, p.SIM)
	}
	if p.SIM != "" && h.sim(t, p.Account, p.SIM).ICCID != p.ICCID {
		rt.Fatalf("%s and its Sim have different profiles", p.SID)
	}
	if p.Status == ProfileFailed != (p.ErrorCode != "" && p.ErrorMessage != "") {
		rt.Fatalf("%s is %s with code %q and message %q", p.SID, p.Status, p.ErrorCode, p.ErrorMessage)
	}
	if p.Settled() && p.WantsCode != (p.MatchingID != "") {
		rt.Fatalf("%s wants a code: %v, its matching ID is %q", p.SID, p.WantsCode, p.MatchingID)
	}
}

// TestSimMachine drives Sims through random updates, core networks in every
// mood, jobs that die, and changes of their Fleets' networks.
func TestSimMachine(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		rapid.Check(t, func(rt *rapid.T) { simMachine(t, rt, d) })
	})
}

func simMachine(t *testing.T, rt *rapid.T, d *db.DB) {
	h := newHouse(t, d)
	ctx := context.Background()
	h.clock.Forward(time.Duration(nextCase.Add(1)) * 24 * time.Hour)
	h.yard.made = int(nextCase.Load()) * 100_000
	ac := h.account(t, "")
	networks := h.Catalogue.Networks(NetworkFilter{}, Page{Limit: 5}).Items
	fleets := []Fleet{h.fleet(t, ac, "first", networks[0].SID), h.fleet(t, ac, "second")}
	var sims []string
	for range 2 {
		sims = append(sims, h.available(t, Reservation{Account: ac, EID: testEID}).SIM)
	}
	callbacks := map[string]int{}
	check := func(err error) {
		if err != nil {
			rt.Fatal(err)
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"update": func(rt *rapid.T) {
			sid := rapid.SampledFrom(sims).Draw(rt, "sim")
			u := SimUpdate{
				Status:   rapid.SampledFrom([]Status{"", Ready, Active, Inactive}).Draw(rt, "status"),
				Callback: Callback{URL: "https://hooks.example.com"},
			}
			switch fleet := rapid.IntRange(0, 3).Draw(rt, "fleet"); fleet {
			case 0:
			case 1:
				u.Fleet = ptr("")
			default:
				u.Fleet = &fleets[fleet-2].SID
			}
			before := h.sim(t, ac, sid)
			one, later, err := h.UpdateSim(ctx, ac, sid, u)
			after := h.sim(t, ac, sid)
			switch {
			case err != nil && after != before:
				rt.Fatalf("refused (%v), and yet it became %+v of %+v", err, after, before)
			case err == nil && one != after:
				rt.Fatalf("answered %+v, stored %+v", one, after)
			case later != (err == nil && after.Status == Scheduled && before.Status != Scheduled):
				rt.Fatalf("goes on later: %v, before %+v, after %+v", later, before, after)
			}
			if later {
				callbacks[sid]++
			}
		},
		"carry out":  func(*rapid.T) { check(h.carryOut(ctx, jobs.Hand{})) },
		"die":        func(*rapid.T) { _, _, err := h.claimChanges(ctx, jobs.Hand{Job: 1}); check(err) },
		"come again": func(*rapid.T) { check(h.carryOut(ctx, jobs.Hand{Job: 1, Again: true})) },
		"time":       func(*rapid.T) { h.clock.Forward(2 * changeLease) },
		"a bad mood": func(rt *rapid.T) {
			h.core.set(func(c *core) { c.refuses, c.silent = rapid.Bool().Draw(rt, "refuses"), rapid.Bool().Draw(rt, "silent") })
		},
		"networks": func(rt *rapid.T) {
			f := rapid.SampledFrom(fleets).Draw(rt, "fleet")
			n := rapid.SampledFrom(networks).Draw(rt, "network")
			if rapid.Bool().Draw(rt, "add") {
				_, _, err := h.AddNetwork(ctx, ac, f.Access, n.SID)
				check(err)
				return
			}
			_ = h.RemoveNetwork(ctx, ac, f.Access, n.SID) // which need not be there
		},
		"": func(rt *rapid.T) {
			for _, sid := range sims {
				checkSim(rt, t, h, ac, sid)
			}
		},
	})
	h.core.set(func(c *core) { c.refuses, c.silent = false, false })
	for range 3 {
		h.clock.Forward(2 * changeLease)
		check(h.carryOut(ctx, jobs.Hand{}))
	}
	for _, sid := range sims {
		one := h.sim(t, ac, sid)
		checkSim(rt, t, h, ac, sid)
		if one.Status == Scheduled {
			rt.Fatalf("%s is left scheduled", sid)
		}
		if got := len(h.callbacks(t, sid)); got != callbacks[sid] {
			rt.Fatalf("%s has %d callbacks after %d updates that went on later", sid, got, callbacks[sid])
		}
		// The jobs that follow changes of networks have not run here; what
		// they do makes the core network equal to the Sim.
		check(h.syncSim(ctx, syncSimArgs{SIM: sid}))
		if sub := h.core.subscriber(sid); sub.Attach != one.Status.Attaches() {
			rt.Fatalf("%s is %s, the core network lets it attach: %v", sid, one.Status, sub.Attach)
		}
	}
}

// checkSim compares a Sim with its events: every move is one of the table.
func checkSim(rt *rapid.T, t *testing.T, h *house, ac, sid string) {
	one := h.sim(t, ac, sid)
	status, from := New, New // from: where the update under way began
	for _, e := range h.events(t, sid) {
		var data struct {
			Status *change `json:"status"`
			Reason string  `json:"reason"`
		}
		if err := json.Unmarshal(e.Data.(json.RawMessage), &data); err != nil {
			rt.Fatal(err)
		}
		if data.Status == nil {
			continue
		}
		to := Status(data.Status.To)
		if Status(data.Status.From) != status {
			rt.Fatalf("%s: an event says it was %s, it was %s", sid, data.Status.From, status)
		}
		switch {
		case to == Scheduled:
			from = status
		case status == Scheduled && data.Reason != "" && to != from:
			rt.Fatalf("%s: a failed update began at %s and ended at %s", sid, from, to)
		case status == Scheduled && to != from && from.Way(to) == Never:
			rt.Fatalf("%s went from %s to %s", sid, from, to)
		case status != Scheduled && status.Way(to) != AtOnce:
			rt.Fatalf("%s went from %s to %s at once", sid, status, to)
		}
		status = to
	}
	if status != one.Status {
		rt.Fatalf("%s is %s, its events say %s", sid, one.Status, status)
	}
	if one.Status.Attaches() && one.Fleet == "" {
		rt.Fatalf("%s is %s without a Fleet", sid, one.Status)
	}
	var waiting int
	if err := h.DB.Read(context.Background(), func(q db.Query) error {
		return q.QueryRowContext(context.Background(), `select count(*) from sim_change where sim_sid = $1`, sid).Scan(&waiting)
	}); err != nil {
		rt.Fatal(err)
	}
	if (waiting == 1) != (one.Status == Scheduled) {
		rt.Fatalf("%s is %s with %d updates under way", sid, one.Status, waiting)
	}
	for _, d := range h.callbacks(t, sid) {
		form, err := url.ParseQuery(d.Form)
		if err != nil || form.Get("SimStatus") == string(Scheduled) {
			rt.Fatalf("callback %q, %v", d.Form, err)
		}
	}
}

// TestManyReservations prepares a rush of reservations with few jobs.
func TestManyReservations(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.yard.stock = 2000
		ac := h.account(t, "")
		const n = reserveBatch + 50
		results := make(chan error, n)
		limit := make(chan struct{}, 32)
		for range n {
			limit <- struct{}{}
			go func() {
				_, err := h.Reserve(context.Background(), Reservation{Account: ac, WantsCode: true})
				<-limit
				results <- err
			}()
		}
		for range n {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
		count := func(status ProfileStatus) (n int) {
			if err := d.Read(t.Context(), func(q db.Query) error {
				return q.QueryRowContext(t.Context(), `select count(*) from esim_profile where status = $1`, string(status)).Scan(&n)
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		run(t, h, func() bool { return count(ProfileAvailable) == n })
		if h.yard.made != n {
			t.Errorf("%d profiles were taken for %d reservations", h.yard.made, n)
		}
		if got := fmt.Sprint(count(ProfileNew), count(ProfileReserving), count(ProfileFailed)); got != "0 0 0" {
			t.Errorf("left over: %s", got)
		}
	})
}
