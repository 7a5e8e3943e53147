package ipa_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"godwit/ident"
	"godwit/iot"
	"godwit/ipa"
	"godwit/rsp"
)

// A model is what a chip should be after some operations.
type model struct {
	profiles map[ident.ICCID]bool // enabled
}

func (m *model) apply(o iot.PSMO) int64 {
	on, found := m.profiles[o.ICCID]
	switch {
	case !found:
		return 1
	case on != (o.Op == iot.OpDisable):
		return 2
	}
	switch o.Op {
	case iot.OpEnable:
		for i := range m.profiles {
			m.profiles[i] = false
		}
		m.profiles[o.ICCID] = true
	case iot.OpDisable:
		m.profiles[o.ICCID] = false
	case iot.OpDelete:
		delete(m.profiles, o.ICCID)
	}
	return 0
}

// TestLosses: requests and answers are lost at random, and the power goes at
// random. Every order has one result in the end, that of one execution.
func TestLosses(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { losses(t, r, k) })
		})
	}
}

func losses(t *testing.T, r *rapid.T, k kind) {
	w := newWorld(t, k)
	defer w.card.Close()
	w.dp.retry = true
	indirect := rapid.Bool().Draw(r, "indirect")
	p := w.install(2)
	p = append(p, w.dp.offer(7))
	m := &model{profiles: map[ident.ICCID]bool{p[0]: false, p[1]: false}}

	type order struct {
		what string
		task *task
		want []int64 // nil for a download
	}
	var orders []order
	downloads := 0
	for range rapid.IntRange(1, 8).Draw(r, "orders") {
		kind := rapid.SampledFrom([]string{"enable", "disable", "delete", "download"}).Draw(r, "order")
		if kind == "download" {
			if downloads++; downloads > 1 {
				continue
			}
			m.profiles[p[2]] = false
			orders = append(orders, order{kind, w.eim.trigger(iot.DownloadTrigger{ActivationCode: "1$" + dpAddress + "$ABC"}), nil})
			continue
		}
		o := iot.PSMO{Op: iot.Op(kind), ICCID: rapid.SampledFrom(p).Draw(r, "profile")}
		orders = append(orders, order{fmt.Sprint(kind, " ", o.ICCID), w.eim.psmo(o), []int64{m.apply(o)}})
	}

	// The network.
	dice := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
	chance := rapid.Float64Range(0, 0.6).Draw(r, "losses")
	var mu sync.Mutex
	roll := func(p float64) bool {
		mu.Lock()
		defer mu.Unlock()
		return dice.Float64() < p
	}
	w.eim.lose = func(bool) bool { return roll(chance) }
	w.change = func(p *ipa.IPA) { p.Indirect = indirect }
	w.change(w.device)
	for range 30 {
		if roll(0.2) {
			w.fuse.Set(1 + dice.IntN(60))
		}
		_, _ = w.device.Poll(context.Background()) // what was lost is found below
		if w.fuse.Blown() || roll(0.1) {
			w.fuse.Set(0)
			w.start()
		}
		w.fuse.Set(0)
	}
	mu.Lock()
	chance = 0
	mu.Unlock()
	w.settle()

	for _, o := range orders {
		if len(o.task.results) != 1 {
			r.Fatalf("%s has %d results", o.what, len(o.task.results))
		}
		if o.want == nil {
			d := o.task.download(w)
			if d.Installation == nil {
				// Too many attempts came to nothing: that is a result too. The model
				// knows the rest only if nothing was done with the profile.
				r.Logf("the download came to nothing: %s", d.Detail)
				return
			}
			switch reason := installation(d); reason {
			case 0:
			case rsp.InstallInterrupted: // in all attempts
				r.Logf("the power was lost too often")
				return
			default:
				r.Fatalf("the installation failed with %d", reason)
			}
			continue
		}
		if got := o.task.codes(w); !slices.Equal(got, o.want) {
			r.Fatalf("%s: codes %v, want %v", o.what, got, o.want)
		}
	}
	for _, have := range w.card.Profiles() {
		if on, found := m.profiles[have.ICCID]; !found || on != have.Enabled {
			r.Fatalf("profile %s: enabled %v; it should be there: %v, enabled: %v", have.ICCID, have.Enabled, found, on)
		}
		delete(m.profiles, have.ICCID)
	}
	if len(m.profiles) > 0 {
		r.Fatalf("missing: %v", m.profiles)
	}
}
