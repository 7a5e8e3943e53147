package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/sim"
	"godwit/smsc"
	"godwit/smsc/smsctest"

	"pgregory.net/rapid"
)

// nextCase sets the cases apart that share a database and an SMSC.
var nextCase atomic.Int64

// TestSMSMachine drives messages through random interleavings of everything that
// may happen to them, against an SMSC that speaks SMPP over real connections: jobs
// that run and die, answers that are lost, throttling, receipts of all sorts,
// twice and for messages in doubt, and time.
func TestSMSMachine(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.bound(t)
		fleet := h.fleet(t, true, true).SID
		rapid.Check(t, func(rt *rapid.T) { smsMachine(t, rt, h, fleet) })
	})
}

func smsMachine(t *testing.T, rt *rapid.T, h *house, fleet string) {
	ctx := context.Background()
	h.smsc.Judge(nil)
	one := h.device(t, fleet, sim.Active)
	number, first := nextCase.Add(1), len(h.smsc.Accepted())
	receipted := map[string]map[string]bool{} // by text: what the SMSC has reported
	var all []SMS
	accepted := func() []smsctest.Message { return h.smsc.Accepted()[first:] }
	fatal := func(err error) {
		if err != nil {
			rt.Fatal(err)
		}
	}
	work := func() {
		h.ready(t)
		fatal(h.sendSMS(ctx))
	}
	rt.Repeat(map[string]func(*rapid.T){
		"send": func(rt *rapid.T) {
			m, err := h.SendSMS(ctx, h.account, one.SID, fmt.Sprintf("%d/%d", number, len(all)), hook)
			fatal(err)
			all = append(all, m)
		},
		"run the job": func(*rapid.T) { work() },
		"die after the claim": func(*rapid.T) {
			_, err := h.claimSMS(ctx)
			fatal(err)
		},
		"die before the answer is stored": func(*rapid.T) {
			h.ready(t)
			batch, err := h.claimSMS(ctx)
			fatal(err)
			for _, m := range batch {
				_, _ = h.SMSC.Submit(ctx, smsc.Message{To: h.numbers[one.ICCID], Text: m.Payload, Reference: m.reference}) // nobody hears the answer
				h.ready(t)
			}
		},
		"the SMSC changes its mood": func(rt *rapid.T) {
			mood := rapid.SampledFrom([]smsctest.Verdict{
				smsctest.Accept, smsctest.Accept, smsctest.Throttle, smsctest.Refuse, smsctest.AcceptDrop, smsctest.Drop,
			}).Draw(rt, "mood")
			h.smsc.Judge(func(string, string) smsctest.Verdict { return mood })
		},
		"a receipt": func(rt *rapid.T) {
			got := accepted()
			if len(got) == 0 {
				rt.Skip("nothing to report")
			}
			m := got[rapid.IntRange(0, len(got)-1).Draw(rt, "message")]
			state := rapid.SampledFrom([]string{"DELIVRD", "ENROUTE", "EXPIRED", "UNDELIV", "nonsense"}).Draw(rt, "state")
			if receipted[m.Text] == nil {
				receipted[m.Text] = map[string]bool{}
			}
			receipted[m.Text][state] = true
			if status := h.smsc.Receipt(m, state); status != 0 && status != smsctest.Lost {
				rt.Fatalf("receipt answered with %#x", status)
			}
		},
		"a message of the device": func(*rapid.T) {
			if status := h.smsc.Text(h.numbers[one.ICCID].Digits, 6, "hello", 0); status != 0 && status != smsctest.Lost {
				rt.Fatalf("answered with %#x", status)
			}
		},
		"time passes": func(rt *rapid.T) {
			h.clock.Forward(rapid.SampledFrom([]time.Duration{time.Second, 2 * smsLease, smsLife / 2}).Draw(rt, "time"))
		},
		"": func(rt *rapid.T) {
			for i := range all {
				all[i] = h.sms(t, all[i].SID)
				checkSMS(rt, t, h, all[i], accepted(), receipted[all[i].Payload])
			}
		},
	})
	// In the end all is well again, and nothing is left hanging.
	h.smsc.Judge(nil)
	waits := func() bool {
		return slices.ContainsFunc(all, func(m SMS) bool { return h.sms(t, m.SID).Status == Queued })
	}
	// Twice would do, but for a connection that the SMSC has closed and nobody has
	// noticed yet: what goes out over it is lost once more.
	for n := 0; n < 2 || n < 10 && waits(); n++ {
		h.clock.Forward(2 * smsLease)
		work()
	}
	for _, m := range all {
		m = h.sms(t, m.SID)
		checkSMS(rt, t, h, m, accepted(), receipted[m.Payload])
		if m.Status == Queued {
			rt.Fatalf("%s is left %s", m.SID, m.Status)
		}
	}
}

// checkSMS compares a message with its record, with what its customer was told
// and with what the SMSC has seen.
func checkSMS(rt *rapid.T, t *testing.T, h *house, m SMS, accepted []smsctest.Message, receipted map[string]bool) {
	last, repeated := Queued, 0
	var tell []string
	for i, e := range h.events(t, m.SID) {
		to := Status(strings.TrimPrefix(e.Kind, "sms_command."))
		switch {
		case i == 0:
			if to != Queued {
				rt.Fatalf("%s began as %s", m.SID, to)
			}
			continue
		case to == "repeated":
			if last != Queued {
				rt.Fatalf("%s was sent again when it was %s", m.SID, last)
			}
			repeated++
			continue
		case !may(smsMoves, last, to):
			rt.Fatalf("%s went from %s to %s", m.SID, last, to)
		}
		last = to
		tell = append(tell, string(to))
		if to == Delivered && len(e.Evidence) == 0 {
			rt.Fatalf("%s is delivered without evidence", m.SID)
		}
	}
	if last != m.Status {
		rt.Fatalf("%s is %s, its last event says %s", m.SID, m.Status, last)
	}
	if got, want := h.told(t, m.SID), strings.Join(tell, " "); got != want {
		rt.Fatalf("the customer of %s was told %q, want %q", m.SID, got, want)
	}
	n := 0
	for _, a := range accepted {
		if a.Text == m.Payload {
			n++
		}
	}
	// The SMSC has a message twice only where its answer was lost in between,
	// and then the record says so.
	if n > 1+repeated {
		rt.Fatalf("the SMSC has %s %d times, it was sent again %d times", m.SID, n, repeated)
	}
	if slices.Contains(tell, string(Sent)) && n == 0 {
		rt.Fatalf("%s is %s, and the SMSC has never seen it", m.SID, m.Status)
	}
	if m.Status == Delivered && !receipted["DELIVRD"] {
		rt.Fatalf("%s is delivered, and the SMSC has not said so", m.SID)
	}
	if m.Status == Failed != (m.Reason != "") {
		rt.Fatalf("%s is %s with reason %q", m.SID, m.Status, m.Reason)
	}
}

// TestTables: what is final has no way out, and every status can be reached.
func TestTables(t *testing.T) {
	for name, machine := range map[string]struct {
		moves    map[Status][]Status
		statuses []Status
	}{"SMS": {smsMoves, SMSStatuses}, "IP": {ipMoves, IPStatuses}} {
		reached := map[Status]bool{Queued: true, Received: true}
		for _, from := range machine.statuses {
			next, ok := machine.moves[from]
			if !ok {
				t.Errorf("%s: %s is not in the table", name, from)
			}
			for _, to := range next {
				if !reached[from] {
					t.Error(errors.New("the statuses are not in the order of a life"))
				}
				reached[to] = true
			}
		}
		if len(reached) != len(machine.statuses) {
			t.Errorf("%s: reached %v of %v", name, reached, machine.statuses)
		}
	}
}
