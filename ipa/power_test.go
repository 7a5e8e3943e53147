package ipa_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"godwit/ident"
	"godwit/iot"
	"godwit/ipa"
	"godwit/rsp"
)

// live polls until nothing waits or the power is gone, which it reports.
func (w *world) live() (cut bool) {
	w.Helper()
	for range 200 {
		more, err := w.device.Poll(context.Background())
		switch {
		case w.fuse.Blown():
			return true
		case err != nil && !errors.Is(err, errLost):
			w.Fatal(err)
		case err == nil && !more:
			return false
		}
	}
	w.Fatal("the work does not end")
	return false
}

// cutEverywhere lives through a scenario again and again, and takes the power away
// before and after everything that the device does to the world, one place each
// time. Then the device starts again and ends its work. The stride is odd, so that
// cuts before and after deeds take turns.
func cutEverywhere(t *testing.T, stride int, scenario func(w *world) (check func())) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			cuts := 0
			for at := 1; ; at += stride {
				w := newWorld(t, k)
				check := scenario(w)
				w.fuse.Set(at)
				cut := w.live()
				w.fuse.Set(0)
				if cut {
					w.start()
					w.live()
				}
				check()
				w.card.Close()
				if t.Failed() {
					t.Fatalf("the power was cut at deed %d", at)
				}
				if !cut {
					break
				}
				cuts++
			}
			if cuts < 10 {
				t.Errorf("only %d places to cut the power at", cuts)
			}
			t.Logf("%d cuts", cuts)
		})
	}
}

// one returns the codes of a package that has exactly one result.
func (w *world) one(what string, t *task) []int64 {
	w.Helper()
	if len(t.results) != 1 {
		w.Errorf("%s has %d results", what, len(t.results))
		return nil
	}
	return t.codes(w)
}

func (w *world) expect(what string, t *task, want ...int64) {
	w.Helper()
	if got := w.one(what, t); !slices.Equal(got, want) {
		w.Errorf("%s: codes %v, want %v", what, got, want)
	}
}

// TestPowerCutInPackages: no package is executed twice, and no result is lost.
func TestPowerCutInPackages(t *testing.T) {
	cutEverywhere(t, 3, func(w *world) func() {
		p := w.install(2)
		a := w.eim.psmo(enable(p[0], false))
		b := w.eim.psmo(enable(p[1], false))
		c := w.eim.psmo(remove(p[0]))
		d := w.eim.psmo(disable(p[1]))
		other := w.configuration()
		other.ID = "second"
		e := w.eim.eco(iot.ECO{Op: iot.OpAddEim, Config: &other})
		f := w.eim.psmo(list())
		return func() {
			w.expect("enable", a, 0)
			w.expect("enable another", b, 0)
			w.expect("delete", c, 0)
			w.expect("disable", d, 0)
			w.expect("add", e, 0)
			w.expect("list", f, 0)
			if !slices.Equal(w.iccids(), p[1:]) || w.enabled() != "" {
				w.Errorf("profiles %v, %s is enabled", w.iccids(), w.enabled())
			}
			if n := w.dp.events(rsp.EventEnable); n != 2 {
				w.Errorf("the SM-DP+ heard of %d profiles enabled, want 2: %+v", n, w.dp.other)
			}
			if n := w.dp.events(rsp.EventDelete); n != 1 {
				w.Errorf("the SM-DP+ heard of %d profiles deleted, want 1", n)
			}
			if left := must(w.device.Chip.Results()); len(left) != 0 {
				w.Errorf("%d results wait", len(left))
			}
		}
	})
}

// TestPowerCutInDelete: a profile takes its fallback attribute with it.
func TestPowerCutInDelete(t *testing.T) {
	cutEverywhere(t, 3, func(w *world) func() {
		p := w.install(1)
		set := w.eim.psmo(iot.PSMO{Op: iot.OpSetFallback, ICCID: p[0]})
		gone := w.eim.psmo(remove(p[0]))
		unset := w.eim.psmo(iot.PSMO{Op: iot.OpDropFallback})
		return func() {
			w.expect("set", set, 0)
			w.expect("delete", gone, 0)
			w.expect("unset", unset, iot.ResultNoFallback)
		}
	})
}

// TestPowerCutInDownload: the profile comes, once, and the eIM hears the chip's
// word on it.
func TestPowerCutInDownload(t *testing.T) {
	for _, indirect := range []bool{false, true} {
		t.Run(fmt.Sprintf("indirect %v", indirect), func(t *testing.T) {
			cutEverywhere(t, 3, func(w *world) func() {
				w.dp.retry = true
				w.change = func(p *ipa.IPA) { p.Indirect = indirect }
				w.change(w.device)
				iccid := w.dp.offer(9)
				order := w.eim.trigger(iot.DownloadTrigger{ActivationCode: "1$" + dpAddress + "$ABC"})
				return func() {
					if len(order.results) != 1 {
						w.Errorf("%d results", len(order.results))
						return
					}
					if r := order.download(w); r.Installation == nil {
						w.Errorf("reason %v, %s", r.Reason, r.Detail)
					} else if reason := installation(r); reason != 0 {
						w.Errorf("the installation failed with %d", reason)
					}
					if !slices.Equal(w.iccids(), []ident.ICCID{iccid}) {
						w.Errorf("profiles %v", w.iccids())
					}
					if good, bad := w.dp.installed(); good != 1 || bad > 1 {
						w.Errorf("the SM-DP+ heard of %d installations, %d failures", good, bad)
					}
					if left := must(w.device.LPA.Chip.Pending()); len(left) != 0 {
						w.Errorf("%d notifications wait", len(left))
					}
				}
			})
		})
	}
}

// TestPowerCutInRollback: the new profile does not reach the eIM. Wherever the
// power is cut, the device comes back to the old one, and the eIM hears it.
func TestPowerCutInRollback(t *testing.T) {
	cutEverywhere(t, 3, func(w *world) func() {
		p := w.install(2)
		first := w.eim.psmo(enable(p[0], false))
		w.settle()
		w.expect("enable", first, 0)
		w.network = func(string) error {
			if w.enabled() == p[1] {
				return errLost
			}
			return nil
		}
		trial := w.eim.psmo(enable(p[1], true))
		return func() {
			r := trial.result(w)
			if n := len(r.Results); n == 0 || r.Results[n-1].Op != iot.OpRollback || r.Results[n-1].Code != 0 {
				w.Errorf("results %+v", r.Results)
			}
			if len(trial.results) != 1 {
				w.Errorf("%d results", len(trial.results))
			}
			if w.enabled() != p[0] {
				w.Errorf("%s is enabled", w.enabled())
			}
		}
	})
}
