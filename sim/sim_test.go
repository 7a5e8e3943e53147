package sim

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/jobs"
)

// put sets a Sim's status and Fleet as they stand, for tests of what follows.
func (h *house) put(t testing.TB, one Sim, status Status, fleet string) Sim {
	t.Helper()
	err := h.DB.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(context.Background(), `update sim set status = $1, fleet_sid = $2 where sid = $3`, string(status), db.Null(fleet), one.SID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return h.sim(t, one.Account, one.SID)
}

func ptr[T any](v T) *T { return &v }

// TestSimUpdates goes through the table of the reference, row by row.
func TestSimUpdates(t *testing.T) {
	const none, first, second = "", "first", "second"
	tests := []struct {
		name   string
		status Status // of the Sim before, and its Fleet
		fleet  string
		update SimUpdate
		code   int    // of the refusal
		later  bool   // by way of scheduled
		want   Status // in the end
		in     string // its Fleet in the end
	}{
		{name: "new to ready", status: New, fleet: first, update: SimUpdate{Status: Ready}, later: true, want: Ready, in: first},
		{name: "new to active", status: New, fleet: first, update: SimUpdate{Status: Active}, later: true, want: Active, in: first},
		{name: "new to active with a Fleet", status: New, update: SimUpdate{Status: Active, Fleet: ptr(first)}, later: true, want: Active, in: first},
		{name: "new to active without Fleet", status: New, update: SimUpdate{Status: Active}, code: 83007},
		{name: "new to active, leaving the Fleet", status: New, fleet: first, update: SimUpdate{Status: Active, Fleet: ptr(none)}, code: 83007},
		{name: "new to inactive", status: New, fleet: first, update: SimUpdate{Status: Inactive}, code: 83010},
		{name: "active to inactive", status: Active, fleet: first, update: SimUpdate{Status: Inactive}, later: true, want: Inactive, in: first},
		{name: "inactive to active", status: Inactive, fleet: first, update: SimUpdate{Status: Active}, later: true, want: Active, in: first},
		{name: "inactive to active without Fleet", status: Inactive, update: SimUpdate{Status: Active}, code: 83007},
		{name: "ready to inactive", status: Ready, fleet: first, update: SimUpdate{Status: Inactive}, later: true, want: Inactive, in: first},
		{name: "ready to active", status: Ready, fleet: first, update: SimUpdate{Status: Active}, want: Active, in: first},
		{name: "active to ready", status: Active, fleet: first, update: SimUpdate{Status: Ready}, code: 83010},
		{name: "inactive to ready", status: Inactive, fleet: first, update: SimUpdate{Status: Ready}, code: 83010},
		{name: "the status it has", status: Active, fleet: first, update: SimUpdate{Status: Active}, want: Active, in: first},
		{name: "status while scheduled", status: Scheduled, fleet: first, update: SimUpdate{Status: Active}, code: 83010},
		{name: "Fleet while scheduled", status: Scheduled, fleet: first, update: SimUpdate{Fleet: ptr(second)}, code: 83009},
		{name: "name while scheduled", status: Scheduled, fleet: first, update: SimUpdate{UniqueName: ptr("x")}, want: Scheduled, in: first},
		{name: "Fleet of a new one", status: New, update: SimUpdate{Fleet: ptr(first)}, want: New, in: first},
		{name: "Fleet of an inactive one", status: Inactive, fleet: first, update: SimUpdate{Fleet: ptr(second)}, want: Inactive, in: second},
		{name: "Fleet of an active one", status: Active, fleet: first, update: SimUpdate{Fleet: ptr(second)}, later: true, want: Active, in: second},
		{name: "Fleet of a ready one", status: Ready, fleet: first, update: SimUpdate{Fleet: ptr(second)}, later: true, want: Ready, in: second},
		{name: "the Fleet it has", status: Active, fleet: first, update: SimUpdate{Fleet: ptr(first)}, want: Active, in: first},
		{name: "Fleet and status", status: Ready, fleet: first, update: SimUpdate{Status: Active, Fleet: ptr(second)}, later: true, want: Active, in: second},
		{name: "unknown Fleet", status: New, update: SimUpdate{Fleet: ptr("nobody")}, code: 83006},
		{name: "leaving the Fleet, new", status: New, fleet: first, update: SimUpdate{Fleet: ptr(none)}, want: New},
		{name: "leaving the Fleet, inactive", status: Inactive, fleet: first, update: SimUpdate{Fleet: ptr(none)}, want: Inactive},
		{name: "leaving the Fleet, active", status: Active, fleet: first, update: SimUpdate{Fleet: ptr(none)}, code: 83008},
		{name: "leaving the Fleet, ready", status: Ready, fleet: first, update: SimUpdate{Fleet: ptr(none)}, code: 83008},
		{name: "leaving the Fleet, going active", status: Ready, fleet: first, update: SimUpdate{Status: Active, Fleet: ptr(none)}, code: 83008},
		{name: "leaving the Fleet, going inactive", status: Active, fleet: first, update: SimUpdate{Status: Inactive, Fleet: ptr(none)}, later: true, want: Inactive},
		{name: "nothing", status: Active, fleet: first, want: Active, in: first},
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				ac := h.account(t, "")
				fleets := map[string]string{"": ""}
				for _, name := range []string{first, second} {
					fleets[name] = h.fleet(t, ac, name).SID
				}
				p := h.available(t, Reservation{Account: ac, EID: testEID})
				before := h.put(t, h.sim(t, ac, p.SIM), tt.status, fleets[tt.fleet])
				tt.update.Callback = Callback{URL: "https://hooks.example.com"}
				got, later, err := h.UpdateSim(t.Context(), ac, p.SIM, tt.update)
				if tt.code != 0 {
					if refusal, ok := fault.As(err); !ok || refusal.Code != tt.code {
						t.Fatalf("error %v, want code %d", err, tt.code)
					}
					if after := h.sim(t, ac, p.SIM); after != before {
						t.Errorf("a refused update made it %+v of %+v", after, before)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if later != tt.later {
					t.Fatalf("goes on later: %v, want %v", later, tt.later)
				}
				if later && (got.Status != Scheduled || got.Fleet != before.Fleet) {
					t.Errorf("meanwhile it is %s in Fleet %q, want scheduled in %q", got.Status, got.Fleet, before.Fleet)
				}
				if stored := h.sim(t, ac, p.SIM); stored != got {
					t.Errorf("stored is %+v, answered %+v", stored, got)
				}
				if err := h.carryOut(t.Context(), jobs.Hand{}); err != nil {
					t.Fatal(err)
				}
				end := h.sim(t, ac, p.SIM)
				if end.Status != tt.want || end.Fleet != fleets[tt.in] {
					t.Errorf("in the end it is %s in Fleet %q, want %s in %q", end.Status, end.Fleet, tt.want, tt.in)
				}
				calls := h.callbacks(t, p.SIM)
				if (len(calls) == 1) != tt.later {
					t.Fatalf("%d callbacks", len(calls))
				}
				if tt.later {
					form, err := url.ParseQuery(calls[0].Form)
					if err != nil {
						t.Fatal(err)
					}
					want := url.Values{"SimSid": {p.SIM}, "SimUniqueName": {""}, "SimStatus": {string(tt.want)}, "AccountSid": {ac}}
					if form.Encode() != want.Encode() {
						t.Errorf("callback %v, want %v", form, want)
					}
					if sub := h.core.subscriber(p.SIM); sub.Attach != tt.want.Attaches() || sub.ICCID != p.ICCID {
						t.Errorf("the core network was told %+v", sub)
					}
				}
			})
		}
	})
}

// TestMovesAgreeWithTheReference keeps the state table as the documents have it.
func TestMovesAgreeWithTheReference(t *testing.T) {
	allowed := map[Status]string{New: "active ready", Ready: "active inactive", Active: "inactive", Inactive: "active", Scheduled: ""}
	for _, from := range Statuses {
		var to []string
		for _, s := range Statuses {
			if from.Way(s) != Never {
				to = append(to, string(s))
			}
		}
		slices.Sort(to)
		if got := strings.Join(to, " "); got != allowed[from] {
			t.Errorf("from %s one may ask for %q, want %q", from, got, allowed[from])
		}
	}
	for from, all := range profileMoves {
		if from.Final() != (len(all) == 0) {
			t.Errorf("%s is final: %v, and leads to %v", from, from.Final(), all)
		}
	}
}

func TestUniqueNames(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		ac, other := h.account(t, ""), h.account(t, "")
		a := h.available(t, Reservation{Account: ac, EID: testEID}).SIM
		b := h.available(t, Reservation{Account: ac, EID: testEID}).SIM
		foreign := h.available(t, Reservation{Account: other, EID: testEID}).SIM
		name := func(account, sim, name string) error {
			_, _, err := h.UpdateSim(t.Context(), account, sim, SimUpdate{UniqueName: &name})
			return err
		}
		for _, tt := range []struct {
			what string
			err  error
			code int
			ok   bool
		}{
			{"a name", name(ac, a, "tracker 1"), 0, true},
			{"the same name again", name(ac, a, "tracker 1"), 0, true},
			{"a name that is taken", name(ac, b, "tracker 1"), 83011, false},
			{"in another account", name(other, foreign, "tracker 1"), 0, true},
			{"a SID for a name", name(ac, b, "HS00000000000000000000000000000001"), 0, false},
			{"a SID of another kind", name(ac, b, "HF00000000000000000000000000000001"), 0, true},
			{"another account's Sim", name(ac, foreign, "x"), 0, false},
		} {
			refusal, refused := fault.As(tt.err)
			if (tt.err == nil) != tt.ok || refused && refusal.Code != tt.code {
				t.Errorf("%s: %v", tt.what, tt.err)
			}
		}
		if one := h.sim(t, ac, "tracker 1"); one.SID != a {
			t.Errorf("the name leads to %s, want %s", one.SID, a)
		}
		if one := h.sim(t, ac, strings.ToUpper(a)); one.SID != a {
			t.Errorf("the SID in capitals leads to %s, want %s", one.SID, a)
		}
		if err := name(ac, a, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Sim(t.Context(), ac, "tracker 1"); !fault.Is(err, fault.NotFound) {
			t.Errorf("the name that was taken away: %v", err)
		}
		if err := name(ac, b, "tracker 1"); err != nil {
			t.Errorf("the name is free again: %v", err)
		}
	})
}

// TestNamesGivenTogether gives one name to many Sims at the same moment: one
// gets it.
func TestNamesGivenTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		ac := h.account(t, "")
		const n = 8
		var sims []string
		for range n {
			sims = append(sims, h.available(t, Reservation{Account: ac, EID: testEID}).SIM)
		}
		results := make(chan error, n)
		for _, sid := range sims {
			go func() {
				_, _, err := h.UpdateSim(context.Background(), ac, sid, SimUpdate{UniqueName: ptr("the one")})
				results <- err
			}()
		}
		won := 0
		for range n {
			err := <-results
			if err == nil {
				won++
				continue
			}
			if refusal, ok := fault.As(err); !ok || refusal.Code != CodeNameTaken {
				t.Errorf("error %v", err)
			}
		}
		if won != 1 {
			t.Errorf("%d Sims got the name", won)
		}
	})
}

func TestMoveBetweenAccounts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		parent, stranger := h.account(t, ""), h.account(t, "")
		child := h.account(t, parent)
		own, theirs := h.fleet(t, parent, "own"), h.fleet(t, child, "theirs")
		sid := h.available(t, Reservation{Account: parent, EID: testEID}).SIM
		move := func(caller, to string, fleet *string) error {
			_, later, err := h.UpdateSim(t.Context(), caller, sid, SimUpdate{Account: &to, Fleet: fleet})
			if later {
				t.Error("a move is done at once")
			}
			return err
		}
		if err := move(parent, stranger, nil); !fault.Is(err, fault.Forbidden) {
			t.Errorf("to a stranger: %v", err)
		}
		// Capital digits name the same account, as with every SID.
		if err := move(parent, child[:2]+strings.ToUpper(child[2:]), nil); err != nil {
			t.Errorf("to a subaccount: %v", err)
		}
		if h.sim(t, child, sid).Account != child {
			t.Error("it has not moved")
		}
		if _, err := h.Sim(t.Context(), parent, sid); !fault.Is(err, fault.NotFound) {
			t.Errorf("the parent still sees it: %v", err)
		}
		if err := move(child, parent, nil); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a subaccount may not move it up: %v", err)
		}
		if err := move(stranger, stranger, nil); !fault.Is(err, fault.NotFound) {
			t.Errorf("a stranger fetches it: %v", err)
		}
		if err := move(parent, parent, nil); err != nil {
			t.Errorf("back, by its parent: %v", err)
		}
		if _, _, err := h.UpdateSim(t.Context(), parent, sid, SimUpdate{Fleet: &own.SID}); err != nil {
			t.Fatal(err)
		}
		if err := move(parent, child, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("out of a Fleet without a word: %v", err)
		}
		if refusal, _ := fault.As(move(parent, child, &own.SID)); refusal == nil || refusal.Code != CodeFleetUnknown {
			t.Errorf("into a Fleet of the wrong account: %v", refusal)
		}
		if err := move(parent, child, &theirs.UniqueName); err != nil {
			t.Errorf("into a Fleet of the new account: %v", err)
		}
		if one := h.sim(t, child, sid); one.Fleet != theirs.SID {
			t.Errorf("it is in Fleet %q", one.Fleet)
		}
		h.put(t, h.sim(t, child, sid), Active, theirs.SID)
		if err := move(parent, parent, ptr("")); !fault.Is(err, fault.Invalid) {
			t.Errorf("an active one: %v", err)
		}
	})
}

// TestCoreNetworkRefuses has an activation fail: the Sim goes back to what it
// was and its customer is told so.
func TestCoreNetworkRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mood  func(*core)
		tries int
	}{
		{"refusal", func(c *core) { c.refuses = true }, 1},
		{"silence", func(c *core) { c.silent = true }, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				h := newHouse(t, d)
				ac := h.account(t, "")
				first, second := h.fleet(t, ac, "first"), h.fleet(t, ac, "second")
				one := h.put(t, h.sim(t, ac, h.available(t, Reservation{Account: ac, EID: testEID}).SIM), Active, first.SID)
				h.core.set(tt.mood)
				if _, _, err := h.UpdateSim(t.Context(), ac, one.SID, SimUpdate{Fleet: &second.SID, Callback: Callback{URL: "https://hooks.example.com"}}); err != nil {
					t.Fatal(err)
				}
				for range tt.tries {
					if err := h.carryOut(t.Context(), jobs.Hand{}); err != nil {
						t.Fatal(err)
					}
					h.clock.Forward(time.Minute)
				}
				end := h.sim(t, ac, one.SID)
				if end.Status != Active || end.Fleet != first.SID {
					t.Errorf("it is %s in %q", end.Status, end.Fleet)
				}
				if calls := h.callbacks(t, one.SID); len(calls) != 1 || !strings.Contains(calls[0].Form, "SimStatus=active") {
					t.Errorf("callbacks %+v", calls)
				}
				h.core.set(func(c *core) { c.refuses, c.silent = false, false })
				run(t, h, func() bool { return h.core.subscriber(one.SID).Attach })
			})
		})
	}
}

// TestServiceChanges has the core network told about the Sims of a Fleet when
// their networks change.
func TestServiceChanges(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		ac := h.account(t, "")
		networks := h.Catalogue.Networks(NetworkFilter{Country: "US"}, Page{Limit: 3}).Items
		f := h.fleet(t, ac, "", networks[0].SID)
		one := h.sim(t, ac, h.available(t, Reservation{Account: ac, EID: testEID}).SIM)
		if _, _, err := h.UpdateSim(t.Context(), ac, one.SID, SimUpdate{Status: Active, Fleet: &f.SID}); err != nil {
			t.Fatal(err)
		}
		reaches := func(want ...Network) func() bool {
			return func() bool {
				sub := h.core.subscriber(one.SID)
				var plmns int
				for _, n := range want {
					plmns += len(n.Identifiers)
					for _, p := range n.Identifiers {
						if !slices.Contains(sub.Networks, p) {
							return false
						}
					}
				}
				return sub.Attach && len(sub.Networks) == plmns
			}
		}
		run(t, h, reaches(networks[0]))
		if _, _, err := h.AddNetwork(t.Context(), ac, f.Access, networks[1].SID); err != nil {
			t.Fatal(err)
		}
		run(t, h, reaches(networks[0], networks[1]))
		if err := h.RemoveNetwork(t.Context(), ac, f.Access, networks[0].SID); err != nil {
			t.Fatal(err)
		}
		run(t, h, reaches(networks[1]))
		other, err := h.CreateAccess(t.Context(), ac, "other", []string{networks[2].SID})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.UpdateFleet(t.Context(), ac, f.SID, FleetUpdate{Access: &other.UniqueName}); err != nil {
			t.Fatal(err)
		}
		run(t, h, reaches(networks[2]))
	})
}
