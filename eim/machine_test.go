package eim

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/iot"
)

func TestMovesLeadOn(t *testing.T) {
	for a, m := range moves {
		for _, from := range m.From {
			if from.ended() {
				t.Errorf("%s leads on from %s, which is an end", a, from)
			}
		}
	}
	if from := moves[succeed].From; !slices.Equal(from, []Stage{Sent}) {
		t.Errorf("a task may succeed in %v", from)
	}
}

// TestRandomInterleavings queues, polls, answers, repeats, loses, cancels, lets
// time pass and crashes in any order, and holds the eIM to what must be true
// whatever the order: one package at a time, the same octets until it is over,
// counters that grow, no task that is executed twice or ends twice, none that
// stays for ever.
func TestRandomInterleavings(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		rapid.Check(t, func(rt *rapid.T) {
			w.json = rapid.Bool().Draw(rt, "json")
			v := w.device()
			m := &model{w: w, v: v, octets: map[string][]byte{}}
			for range rapid.IntRange(5, 40).Draw(rt, "steps") {
				m.step(rt, rapid.SampledFrom([]string{
					"queue", "queue", "poll", "poll", "poll", "answer", "answer", "answer", "execute", "repeat",
					"crash", "cancel", "wait", "doze", "change",
				}).Draw(rt, "step"))
				m.check(rt)
			}
			m.settle(rt)
		})
	})
}

type model struct {
	w       *world
	v       *device
	tasks   []string
	gone    []string                       // cancelled
	at      *iot.GetEimPackageResponse     // the IPA holds it, not executed
	results []*iot.ProvideEimPackageResult // what the IPA has sent or could not send
	octets  map[string][]byte              // BF51 by transaction
	counter int64                          // of the last package
}

func (m *model) step(rt *rapid.T, what string) {
	w, v := m.w, m.v
	switch what {
	case "queue":
		kind := rapid.SampledFrom([]Kind{Enable, Disable, List, GetRAT, Download, Data, ListEIM}).Draw(rt, "kind")
		task := Task{EID: v.eid, Kind: kind, Until: w.clock.Now().Add(rapid.SampledFrom([]time.Duration{time.Minute, 2 * time.Hour}).Draw(rt, "until"))}
		if kind == Enable || kind == Disable {
			task.ICCID = iccidA
		}
		m.tasks = append(m.tasks, w.queue(task))
	case "poll", "change":
		p := w.ask(&iot.GetEimPackageRequest{EID: v.eid, StateChanged: what == "change"}).(*iot.GetEimPackageResponse)
		if p.Error != 0 && p.Error != iot.EimNoPackage {
			rt.Fatalf("poll: error %d", p.Error)
		}
		m.at = nil
		if p.Error == 0 {
			m.at = p
		}
		m.compare(rt, p)
	case "answer": // the IPA does what it holds and tells
		if m.at != nil {
			q := v.handle(m.at)
			m.results, m.at = append(m.results, q), nil
			v.provide(q)
		}
	case "execute": // it does it, and the telling is lost
		if m.at != nil {
			m.results, m.at = append(m.results, v.handle(m.at)), nil
		}
	case "repeat":
		if len(m.results) > 0 {
			q := rapid.SampledFrom(m.results).Draw(rt, "result")
			first, again := v.provide(q), v.provide(q)
			if fmt.Sprint(first) != fmt.Sprint(again) {
				rt.Fatalf("a repeated result is answered with %+v, then %+v", first, again)
			}
		}
	case "crash":
		w.open()
	case "cancel":
		if len(m.tasks) > 0 {
			if id := rapid.SampledFrom(m.tasks).Draw(rt, "task"); w.cancel(id) {
				m.gone = append(m.gone, id)
			}
		}
	case "wait", "doze": // with and without the eIM looking what is over
		w.clock.Forward(rapid.SampledFrom([]time.Duration{20 * time.Second, 90 * time.Second, 3 * time.Hour}).Draw(rt, "time"))
		if what == "doze" {
			break
		}
		if err := w.server.sweep(w.t.Context()); err != nil {
			rt.Fatal(err)
		}
	}
}

// compare holds a package to those before it.
func (m *model) compare(rt *rapid.T, p *iot.GetEimPackageResponse) {
	if p.EUICCPackage == nil {
		return
	}
	q, err := iot.VerifyPackageRequest(p.EUICCPackage, m.v.eim, m.v.token)
	if err != nil {
		rt.Fatal(err)
	}
	id := fmt.Sprintf("%x", q.TransactionID)
	if n := m.w.count(`select count(*) from eim_task where id = $1 and stage = 'sent' and until_at > $2`, id, m.w.server.now()); n != 1 {
		rt.Fatalf("the package of task %s goes out and the task is %s or over", id, m.w.stage(id))
	}
	if before, ok := m.octets[id]; ok {
		if !bytes.Equal(before, p.EUICCPackage) {
			rt.Fatalf("the package of task %s has other octets on re-send", id)
		}
		return
	}
	if q.Counter <= m.counter {
		rt.Fatalf("counter %d follows %d", q.Counter, m.counter)
	}
	m.octets[id], m.counter = p.EUICCPackage, q.Counter
}

func (m *model) check(rt *rapid.T) {
	eid := string(m.v.eid)
	packages := m.w.count(`select count(*) from eim_package where eid = $1`, eid)
	sent := m.w.count(`select count(*) from eim_task where eid = $1 and stage = 'sent'`, eid)
	if packages > 1 || packages != sent {
		rt.Fatalf("%d packages are under way for %d tasks", packages, sent)
	}
	for _, id := range m.tasks {
		ends := len(m.w.outcomesOf(id))
		stage := m.w.stage(id)
		want := 0
		if stage.ended() && stage != Cancelled {
			want = 1
		}
		if ends != want {
			rt.Fatalf("task %s is %s and has ended %d times", id, stage, ends)
		}
		if m.v.done[id] > 1 {
			if kind := m.kind(id); kind.signed() {
				rt.Fatalf("task %s (%s) was executed %d times", id, kind, m.v.done[id])
			}
		}
		if slices.Contains(m.gone, id) && (stage != Cancelled || m.v.done[id] > 0) {
			rt.Fatalf("cancelled task %s is %s, executed %d times", id, stage, m.v.done[id])
		}
	}
}

func (m *model) kind(id string) (k Kind) {
	err := m.w.db.Read(m.w.t.Context(), func(q db.Query) error {
		return q.QueryRowContext(m.w.t.Context(), `select kind from eim_task where id = $1`, id).Scan(&k)
	})
	if err != nil {
		m.w.t.Fatal(err)
	}
	return k
}

// settle lets the device do all that is left, and then all time pass.
func (m *model) settle(rt *rapid.T) {
	m.v.run()
	m.check(rt)
	for _, id := range m.tasks {
		switch stage := m.w.stage(id); {
		case !stage.ended():
			rt.Fatalf("task %s is still %s", id, stage)
		case stage == Done && m.kind(id).signed() && m.v.done[id] != 1:
			rt.Fatalf("task %s is done and was executed %d times", id, m.v.done[id])
		}
	}
	if len(m.v.pending) != 0 {
		// Results that were lost and whose tasks nobody asked about any more: the
		// IPA sends them again.
		for _, h := range slices.Clone(m.v.pending) {
			m.v.provide(&iot.ProvideEimPackageResult{PackageResult: h.der})
		}
	}
	if len(m.v.pending) != 0 {
		rt.Fatalf("%d results are never acknowledged", len(m.v.pending))
	}
}
