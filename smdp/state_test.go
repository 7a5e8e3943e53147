package smdp

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/rsp"
)

// The table is whole: every state can be reached from stock, every event leads
// from known states to a known state, and what is over stays over.
func TestStateTable(t *testing.T) {
	reached := []State{Available}
	for changed := true; changed; {
		changed = false
		for e := range moves {
			for _, s := range reached {
				if next, ok := s.After(e); ok && !slices.Contains(reached, next) {
					reached = append(reached, next)
					changed = true
				}
			}
		}
	}
	for _, s := range States {
		if !slices.Contains(reached, s) {
			t.Errorf("%s is never reached", s)
		}
	}
	for e, m := range moves {
		for _, s := range append(slices.Clone(m.From), m.To) {
			if !slices.Contains(States, s) {
				t.Errorf("%s names unknown state %q", e, s)
			}
		}
		for _, over := range []State{Installed, Unavailable} {
			if next, ok := over.After(e); ok {
				t.Errorf("%s takes %s to %s", e, over, next)
			}
		}
	}
	if _, ok := Downloaded.After(CancelReturn); ok {
		t.Error("a profile that may be on a chip can go back into stock")
	}
	if next, ok := State("").After(Order); ok {
		t.Errorf("no state at all becomes %s", next)
	}
}

// Whatever operators and eUICCs do in whatever order, a profile is only ever
// where the table lets it be, is delivered to one eUICC, and every end of an
// order is reported once.
func TestRandomLives(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, func(c *Config) { c.MaxDownloadAttempts = 4 })
		chips := []*chip{w.chip(), w.chip()}
		rapid.Check(t, func(rt *rapid.T) {
			w.stock("minimal-usim", 1)
			list, err := w.server.DownloadOrders(t.Context(), LocalOperator, []rsp.DownloadOrder{{Type: "minimal-usim"}})
			if err != nil || list[0].Header.Err() != nil {
				rt.Fatalf("order: %v %v", err, list)
			}
			iccid := list[0].ICCID
			state, owner := Allocated, -1
			id := ""
			orders := 1
			type open struct {
				s         *session
				chip      int
				order     int
				delivered bool
			}
			var runs []*open
			// expect compares with the server; moved is where the model says it should be.
			check := func(what string) {
				got := w.profile(iccid)
				if got.State != state {
					rt.Fatalf("after %s the profile is %s (%s), want %s", what, got.State, got.Failure, state)
				}
			}
			refused := func(h rsp.ResponseHeader) bool { return h.Err() != nil }
			steps := rapid.IntRange(3, 14).Draw(rt, "steps")
			for range steps {
				what := rapid.SampledFrom([]string{
					"confirm", "confirm-free", "release", "authenticate", "authenticate", "deliver", "deliver",
					"install", "break", "cancel", "postpone", "return",
				}).Draw(rt, "step")
				switch what {
				case "confirm", "confirm-free":
					e := Confirm
					if what == "confirm-free" {
						e = ConfirmFree
					}
					got, err := w.server.ConfirmOrders(t.Context(), LocalOperator, []rsp.ConfirmOrder{{ICCID: iccid, Release: e == ConfirmFree}})
					if err != nil {
						rt.Fatal(err)
					}
					next, ok := state.After(e)
					if ok == refused(got[0].Header) {
						rt.Fatalf("%s from %s: %v", what, state, got[0].Header.Err())
					}
					if ok {
						state, id = next, string(got[0].MatchingID)
					}
				case "release":
					got, err := w.server.ReleaseProfiles(t.Context(), LocalOperator, []rsp.ReleaseProfile{{ICCID: iccid}})
					if err != nil {
						rt.Fatal(err)
					}
					next, ok := state.After(Release)
					if ok == refused(got[0].Header) {
						rt.Fatalf("release from %s: %v", state, got[0].Header.Err())
					}
					if ok {
						state = next
					}
				case "return":
					got, err := w.server.CancelOrders(t.Context(), LocalOperator, []rsp.CancelOrder{{ICCID: iccid, EID: w.profile(iccid).EID, Final: rsp.FinalAvailable}})
					if err != nil {
						rt.Fatal(err)
					}
					_, ok := state.After(CancelReturn)
					if ok == refused(got[0].Header) {
						rt.Fatalf("cancel from %s: %v", state, got[0].Header.Err())
					}
					if ok {
						// And it is ordered again at once.
						again, err := w.server.DownloadOrders(t.Context(), LocalOperator, []rsp.DownloadOrder{{ICCID: iccid}})
						if err != nil || refused(again[0].Header) {
							rt.Fatalf("order again: %v %v", err, again)
						}
						state, owner, id, orders = Allocated, -1, "", orders+1
					}
				case "authenticate":
					if id == "" {
						continue
					}
					n := rapid.IntRange(0, 1).Draw(rt, "chip")
					s := chips[n].start()
					err := s.authenticate(&id).Err()
					attempts := w.profile(iccid).DownloadAttempts
					may := state == Released && (owner < 0 || owner == n) || state == Downloaded && owner == n
					if may && err != nil && attempts >= 4 {
						state = Failed
						break
					}
					if may != (err == nil) {
						rt.Fatalf("chip %d authenticates to a profile that is %s for %d: %v", n, state, owner, err)
					}
					if err == nil {
						s.newKey()
						runs = append(runs, &open{s: s, chip: n, order: orders})
					}
				default:
					if len(runs) == 0 {
						continue
					}
					i := rapid.IntRange(0, len(runs)-1).Draw(rt, "run")
					r := runs[i]
					r.s.chip.key = nil
					switch what {
					case "deliver":
						_, header := r.s.download("")
						if header.Err() == nil {
							if next, ok := state.After(Deliver); !ok || owner >= 0 && owner != r.chip || r.order != orders {
								rt.Fatalf("chip %d gets a profile that is %s for %d", r.chip, state, owner)
							} else {
								state, owner, r.delivered = next, r.chip, true
							}
						}
					case "install", "break":
						before := len(w.heard(iccid))
						reason := rsp.InstallError(0)
						if what == "break" {
							reason = rsp.InstallMemory
						}
						r.s.report(iccid, reason)
						got := w.profile(iccid).State
						if got != state {
							want, _ := state.After(InstallDone)
							if what == "break" {
								want, _ = state.After(InstallFailed)
							}
							if got != want || !r.delivered || r.chip != owner || r.order != orders {
								rt.Fatalf("%s takes a profile from %s for %d to %s", what, state, owner, got)
							}
							state = got
							if heard := w.heard(iccid); len(heard) != before+1 || heard[before].Point != rsp.PointInstallation {
								rt.Fatalf("the end was reported %d times", len(heard)-before)
							}
						}
						runs = slices.Delete(runs, i, i+1)
					case "cancel", "postpone":
						reason := rsp.CancelUserRejection
						if what == "postpone" {
							reason = rsp.CancelPostponed
						}
						r.s.cancel(reason, nil)
						if got := w.profile(iccid).State; got != state {
							e := Fail
							if what == "postpone" {
								e = Postpone
							}
							if want, ok := state.After(e); !ok || got != want || r.order != orders || owner >= 0 && r.chip != owner {
								rt.Fatalf("%s takes a profile from %s to %s", what, state, got)
							}
							state = got
						}
						runs = slices.Delete(runs, i, i+1)
					}
				}
				check(what)
			}
			// What is installed was delivered to exactly one chip.
			if info := w.profile(iccid); (info.State == Downloaded || info.State == Installed) && info.EID != chips[owner].eid {
				rt.Fatalf("%s for %s, want %s", info.State, info.EID, chips[owner].eid)
			}
		})
	})
}

// Two nodes on one database serve the calls of one download in turn.
func TestTwoNodes(t *testing.T) {
	d := dbtest.Postgres(t)
	a := newWorld(t, d)
	b := newWorld(t, d)
	urls := []string{a.url, b.url}
	turn := 0
	next := func() {
		turn++
		a.url = urls[turn%2]
	}
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			a.t = t
			o := a.order(wish{})
			next()
			s := a.chip().start()
			next()
			wantCode(t, s.authenticate(str(o.id)), "")
			next()
			got, header := s.download("")
			wantCode(t, header, "")
			a.wantProfile(s.open(got.BoundProfilePackage), o.iccid)
			next()
			next()
			s.report(o.iccid, 0)
			a.wantState(o.iccid, Installed)
			next()
		})
	}
}
