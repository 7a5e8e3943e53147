package ipa_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"godwit/iot"
	"godwit/ipa"
	"godwit/lpa"
	"godwit/rsp"
)

// inBubble runs a test for both kinds of chips in a time of its own.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	theAuthority()
	now := time.Now() // of the certificates
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(now))
				test(t, makeWorld(t, k, true))
			})
		})
	}
}

// run starts the device's loop and returns what ends it.
func (w *world) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	device := w.device
	go func() { ended <- device.Run(ctx) }()
	t.Cleanup(cancel)
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	}
}

// TestRollback: with the new profile the eIM is out of reach. The device tries for
// as long as it was told, goes back, and the eIM hears both.
func TestRollback(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := w.install(2)
		w.eim.psmo(enable(p[0], false))
		w.settle()
		w.device.ReachFor = 3 * time.Minute
		w.network = func(string) error {
			if w.enabled() == p[1] {
				return errLost
			}
			return nil
		}
		var steps []ipa.Step
		w.device.Progress = func(p ipa.Progress) { steps = append(steps, p.Step) }
		order := w.eim.psmo(enable(p[1], true))
		start := time.Now()
		w.settle()
		if took := time.Since(start); took < 3*time.Minute || took > 4*time.Minute {
			t.Errorf("it took %v", took)
		}
		r := order.result(w)
		if len(r.Results) != 2 || r.Results[0].Op != iot.OpEnable || r.Results[1].Op != iot.OpRollback || r.Results[1].Code != 0 {
			t.Errorf("results %+v", r.Results)
		}
		if len(order.results) != 1 || w.enabled() != p[0] {
			t.Errorf("%d results, %s is enabled", len(order.results), w.enabled())
		}
		reached, back := 0, 0
		for _, s := range steps {
			switch s {
			case ipa.StepReach:
				reached++
			case ipa.StepRollback:
				back++
			}
		}
		if reached < 5 || back != 1 {
			t.Errorf("%d tries, %d rollbacks", reached, back)
		}
	})
}

// TestTrialPassed: the network of the new profile takes a while, and is there.
// There is no way back then.
func TestTrialPassed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := w.install(2)
		w.eim.psmo(enable(p[0], false))
		w.settle()
		w.device.ReachFor = 3 * time.Minute
		var tries atomic.Int32
		w.device.Reach = func(context.Context) error {
			if tries.Add(1) < 4 {
				return errors.New("not registered yet")
			}
			return nil
		}
		order := w.eim.psmo(enable(p[1], true))
		w.settle()
		if got := order.codes(w); len(got) != 1 || got[0] != 0 || w.enabled() != p[1] {
			t.Errorf("codes %v, %s is enabled", got, w.enabled())
		}
		if _, err := w.device.Chip.Rollback(); err == nil {
			t.Error("the chip went back after its result was delivered")
		}
	})
}

// TestTrialStopped: the program is stopped in the middle of the trial. The next
// one goes on with it.
func TestTrialStopped(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := w.install(2)
		w.eim.psmo(enable(p[0], false))
		w.settle()
		w.change = func(p *ipa.IPA) { p.ReachFor = 3 * time.Minute }
		w.change(w.device)
		w.network = func(string) error {
			if w.enabled() == p[1] {
				return errLost
			}
			return nil
		}
		order := w.eim.psmo(enable(p[1], true))
		stop := w.run(t)
		time.Sleep(time.Minute)
		stop()
		if w.enabled() != p[1] {
			t.Fatalf("%s is enabled", w.enabled())
		}
		w.start()
		stop = w.run(t)
		time.Sleep(10 * time.Minute)
		stop()
		if _, results := order.count(w); w.enabled() != p[0] || results != 1 {
			t.Errorf("%s is enabled, %d results", w.enabled(), results)
		}
	})
}

// TestFallback: the eIM is out of reach, the fallback profile comes, the eIM is
// told, and the device goes back when it is asked to.
func TestFallback(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := w.install(2)
		order := w.eim.psmo(enable(p[0], false), iot.PSMO{Op: iot.OpSetFallback, ICCID: p[1]})
		w.settle()
		wantCodes(t, "fallback attribute", order.codes(w), 0, 0)
		w.network = func(string) error {
			if w.enabled() == p[0] {
				return errLost
			}
			return nil
		}
		w.device.FallbackAfter = 2 * time.Hour
		stop := w.run(t)
		time.Sleep(2*time.Hour - time.Minute)
		if w.enabled() != p[0] {
			t.Error("the fallback came too early")
		}
		time.Sleep(2 * time.Minute)
		if w.enabled() != p[1] {
			t.Error("there was no fallback")
		}
		time.Sleep(2 * time.Hour)
		stop()
		heard := false
		for _, q := range w.eim.asked() {
			heard = heard || q.StateChanged && q.Cause != nil && *q.Cause == iot.CauseFallback
		}
		if !heard {
			t.Error("the eIM did not hear of the fallback")
		}
		w.network = func(string) error { return nil }
		if err := w.device.ReturnFromFallback(); err != nil || w.enabled() != p[0] {
			t.Errorf("back: %v, %s is enabled", err, w.enabled())
		}
		if err := w.device.ReturnFromFallback(); err == nil {
			t.Error("it went back twice")
		} else if entry, ok := ipa.Explain(err); !ok || entry.Title == "" {
			t.Errorf("%v is not explained", err)
		}
	})
}

// TestNoFallback: an eIM that answers with an error is there.
func TestNoFallback(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := w.install(2)
		w.eim.psmo(enable(p[0], false), iot.PSMO{Op: iot.OpSetFallback, ICCID: p[1]})
		w.settle()
		w.eim.set(func() { w.eim.status = 503 })
		w.device.FallbackAfter = 2 * time.Hour
		stop := w.run(t)
		time.Sleep(5 * time.Hour)
		stop()
		if w.enabled() != p[0] {
			t.Error("the fallback profile was enabled")
		}
	})
}

// TestImmediateEnable: profiles of the SM-DP+ that the eIM named are enabled at
// once, and the eIM hears that something changed.
func TestImmediateEnable(t *testing.T) {
	for _, c := range []struct {
		name string
		set  iot.ImmediateEnable
		want bool
	}{
		{"all", iot.ImmediateEnable{Allowed: true}, true},
		{"this SM-DP+", iot.ImmediateEnable{Allowed: true, OID: testOID, Address: dpAddress}, true},
		{"another SM-DP+", iot.ImmediateEnable{Allowed: true, OID: "2.999.77", Address: "other.example.com"}, false},
		{"none", iot.ImmediateEnable{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				set := w.eim.psmo(iot.PSMO{Op: iot.OpImmediate, Immediate: &c.set})
				iccid := w.dp.offer(3)
				order := w.eim.trigger(iot.DownloadTrigger{ActivationCode: "1$" + dpAddress + "$ABC"})
				w.settle()
				wantCodes(t, "configuration", set.codes(w), 0)
				if order.download(w).Installation == nil {
					t.Fatal("no installation")
				}
				if (w.enabled() == iccid) != c.want {
					t.Errorf("%q is enabled", w.enabled())
				}
				heard := false
				for _, q := range w.eim.asked() {
					heard = heard || q.StateChanged && q.Cause != nil && *q.Cause == iot.CauseImmediateEnable
				}
				if heard != c.want {
					t.Errorf("the eIM heard of it: %v", heard)
				}
			})
		})
	}
}

// TestRun: pauses grow while the eIM is away, up to the cap, and are the interval
// when it has nothing; work is taken at once; it stops when it is told to.
func TestRun(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := w.install(1)
		w.device.Interval, w.device.Backoff, w.device.MaxBackoff = 10*time.Minute, 4*time.Second, time.Minute
		var down atomic.Bool
		var mu sync.Mutex
		var tries []time.Time
		down.Store(true)
		w.network = func(host string) error {
			if !down.Load() {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			tries = append(tries, time.Now())
			return errLost
		}
		stop := w.run(t)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		for i := 2; i < len(tries); i++ {
			pause := tries[i].Sub(tries[i-1])
			most := min(4*time.Second<<(i-1), time.Minute)
			if pause > most || pause < most/2 {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, most/2, most)
			}
		}
		if len(tries) < 10 {
			t.Errorf("%d tries", len(tries))
		}
		mu.Unlock()
		down.Store(false)
		time.Sleep(time.Minute)
		w.device.SetInterval(20 * time.Minute)
		first := len(w.eim.asked())
		if first == 0 {
			t.Fatal("no poll came")
		}
		time.Sleep(12 * time.Minute) // the interval that was set before
		time.Sleep(23 * time.Minute)
		if got := len(w.eim.asked()) - first; got != 2 {
			t.Errorf("%d polls in 35 minutes", got)
		}
		// Work is taken together.
		for range 5 {
			w.eim.psmo(enable(p[0], false))
		}
		w.device.Wake()
		synctest.Wait()
		if w.eim.waiting() != 0 {
			t.Errorf("%d packages wait", w.eim.waiting())
		}
		// An eIM that asks for an hour gets it.
		w.eim.set(func() { w.eim.retry = "3600" })
		w.device.Wake()
		synctest.Wait()
		before := len(w.eim.asked())
		time.Sleep(59 * time.Minute)
		if got := len(w.eim.asked()) - before; got != 0 {
			t.Errorf("%d polls while the eIM wanted none", got)
		}
		time.Sleep(2 * time.Minute)
		if got := len(w.eim.asked()) - before; got != 1 {
			t.Errorf("%d polls after the eIM's hour", got)
		}
		stop()
	})
}

// TestStuckEIM: an eIM that does not get on is not asked without pause.
func TestStuckEIM(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		p := w.install(1)
		w.eim.stuck = true
		order := w.eim.psmo(enable(p[0], false))
		stop := w.run(t)
		time.Sleep(time.Hour)
		stop()
		handed, results := order.count(w)
		if handed < 5 || handed > 30 {
			t.Errorf("the package was fetched %d times in an hour", handed)
		}
		if results == 0 || w.enabled() != p[0] || w.dp.events(rsp.EventEnable) > 1 {
			t.Errorf("%d results, %q is enabled", results, w.enabled())
		}
	})
}

// TestConnect: an IPA that was given no client makes the one of its chip's eIM.
func TestConnect(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.device.ESipa, w.device.EimID = nil, ""
		w.device.Connect = func(c *iot.EimConfiguration) (*ipa.Client, error) {
			return ipa.NewClient(c, ipa.Trust{Dial: w.dial})
		}
		w.settle()
		if len(w.eim.asked()) == 0 || w.device.EimID != eimID {
			t.Errorf("%d polls at %q", len(w.eim.asked()), w.device.EimID)
		}
	})
}

// TestRunCannot: what is missing is said.
func TestRunCannot(t *testing.T) {
	w := newWorld(t, consumerChip)
	for _, p := range []*ipa.IPA{
		{}, {Chip: w.device.Chip}, {Chip: w.device.Chip, LPA: &lpa.LPA{Chip: w.device.LPA.Chip}},
	} {
		if err := p.Run(t.Context()); err == nil {
			t.Error("an IPA without parts runs")
		}
	}
}
