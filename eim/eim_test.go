package eim

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
)

// each runs a test on both engines in both bindings.
func each(t *testing.T, body func(t *testing.T, w *world)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, json := range []bool{false, true} {
			t.Run(map[bool]string{false: "asn1", true: "json"}[json], func(t *testing.T) {
				w := newWorld(t, d)
				w.json = json
				w.devices = map[bool]int{false: 0, true: 1000}[json] // EIDs of their own
				body(t, w)
			})
		}
	})
}

func TestFirstContactAsksAndLists(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		first := v.poll()
		if !isPackage(first, iot.TagData) {
			t.Fatalf("the first answer is %+v, want a data request", first)
		}
		again := v.poll()
		if !bytes.Equal(first.DataRequest, again.DataRequest) {
			t.Error("the data request is another on re-send")
		}
		v.provide(v.handle(first))
		second := v.poll()
		if !isPackage(second, iot.TagPackage) {
			t.Fatalf("the second answer is %+v, want a package", second)
		}
		v.provide(v.handle(second))
		if p := v.poll(); p.Error != iot.EimNoPackage {
			t.Fatalf("the third answer is %+v, want none", p)
		}
		if len(w.inventories) != 1 || len(w.inventories[0].Profiles) != 2 || w.inventories[0].Witness != ByEUICC {
			t.Fatalf("inventories: %+v", w.inventories)
		}
		if len(v.pending) != 0 {
			t.Error("the result was not acknowledged")
		}
	})
}

func TestUnknownAndMalformed(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		stranger, err := ident.NewEID("890490329999999999999999999999")
		if err != nil {
			t.Fatal(err)
		}
		if p := w.ask(&iot.GetEimPackageRequest{EID: stranger}).(*iot.GetEimPackageResponse); p.Error != iot.EimEIDNotFound {
			t.Errorf("unknown EID: %+v", p)
		}
		if p := w.ask(&iot.ProvideEimPackageResult{EID: stranger, Error: &iot.ResultError{Code: 1}}).(*iot.ProvideEimPackageResultResponse); p.Error != iot.EimEIDNotFound {
			t.Errorf("result of unknown EID: %+v", p)
		}
		if n := w.count(`select count(*) from eim_result`); n != 0 {
			t.Errorf("%d results of strangers are stored", n)
		}
		for _, c := range []struct {
			path, contentType, body string
			status                  int
			answer                  string
		}{
			{rsp.PathASN1, rsp.ContentTypeASN1, "\xBF\x4F\x00", 200, "\xBF\x4F\x03\x02\x01\x04"},
			{rsp.PathASN1, rsp.ContentTypeASN1, "\xBF\x4F\x03\x5A\x01\x89", 200, "\xBF\x4F\x03\x02\x01\x03"},
			{rsp.PathASN1, rsp.ContentTypeASN1, "", 400, ""},
			{rsp.PathASN1, rsp.ContentTypeASN1, "\xBF\x4F\x84\xFF\xFF\xFF\xFF", 400, ""},
			{rsp.PathASN1, rsp.ContentType, "{}", 415, ""},
			{iot.PathESipa + iot.FnGetEimPackage, rsp.ContentType, `{}`, 200, ""},
			{iot.PathESipa + iot.FnGetEimPackage, rsp.ContentType, `{"eidValue":"12"}`, 200, ""},
			{iot.PathESipa + iot.FnGetEimPackage, rsp.ContentType, `[`, 400, ""},
			{iot.PathESipa + iot.FnProvideResult, rsp.ContentType, `{"eimPackageResult":"####"}`, 400, ""},
			{iot.PathESipa + "somethingElse", rsp.ContentType, `{}`, 404, ""},
			{rsp.PathASN1, rsp.ContentTypeASN1, string(bytes.Repeat([]byte{0xBF}, maxBody+1)), 413, ""},
		} {
			status, _, answer := w.post(c.path, c.contentType, []byte(c.body))
			if status != c.status || c.answer != "" && string(answer) != c.answer {
				t.Errorf("%s %.40q: HTTP status %d %x, want %d %x", c.path, c.body, status, answer, c.status, c.answer)
			}
		}
	})
}

func TestTasksOfEveryKind(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		address := "smdp.example.com"
		for _, c := range []struct {
			task   Task
			stage  Stage
			reason string
		}{
			{Task{Kind: Enable, ICCID: iccidA}, Done, "complete"},
			{Task{Kind: Enable, ICCID: iccidA}, Done, "already_done"},
			{Task{Kind: Delete, ICCID: iccidA}, Failed, "profile_active"},
			{Task{Kind: Disable, ICCID: iccidA}, Done, "complete"},
			{Task{Kind: Disable, ICCID: iccidA}, Done, "already_done"},
			{Task{Kind: Delete, ICCID: iccidA}, Done, "complete"},
			{Task{Kind: Delete, ICCID: iccidA}, Failed, "profile_missing"},
			{Task{Kind: List}, Done, "complete"},
			{Task{Kind: GetRAT}, Done, "complete"},
			{Task{Kind: Immediate}, Done, "complete"},
			{Task{Kind: SetFallback, ICCID: iccidB}, Done, "complete"},
			{Task{Kind: UnsetFallback}, Done, "complete"},
			{Task{Kind: SetDefaultDP, Address: address}, Done, "complete"},
			{Task{Kind: AddEIM, EIM: &iot.EimConfiguration{ID: "other"}}, Done, "complete"},
			{Task{Kind: UpdateEIM, EIM: &iot.EimConfiguration{ID: "other", PublicKey: v.publicKey()}}, Done, "complete"},
			{Task{Kind: DeleteEIM, EIM: &iot.EimConfiguration{ID: "other"}}, Done, "complete"},
			{Task{Kind: ListEIM}, Done, "complete"},
			{Task{Kind: Data}, Done, "complete"},
			{Task{Kind: Download, ActivationCode: db.Secret("1$smdp.example.com$ABC")}, Done, "complete"},
		} {
			c.task.EID = v.eid
			id := w.queue(c.task)
			key := v.eim
			v.run()
			o := w.outcome(id)
			if o.Stage != c.stage || o.Reason != c.reason || o.Kind != c.task.Kind {
				t.Errorf("%s: %s %s (%s), want %s %s", c.task.Kind, o.Stage, o.Reason, o.Message, c.stage, c.reason)
			}
			if len(o.Evidence) == 0 {
				t.Errorf("%s: no evidence", c.task.Kind)
			}
			if heard := w.heard(id); len(heard) != 1 || heard[0] != "" {
				t.Errorf("%s: while it was under way %q was told", c.task.Kind, heard)
			}
			v.eim = key // "other" is not this eIM
		}
		// The eUICC's own profiles are what the last list says.
		last := w.inventories[len(w.inventories)-1]
		if len(last.Profiles) != 1 || last.Profiles[0].ICCID != iccidB {
			t.Errorf("last inventory: %+v", last.Profiles)
		}
	})
}

func (v *device) publicKey() []byte {
	public, err := pki.PublicKeyOf(v.chip.Key)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return public.Info()
}

func TestQueueIsIdempotentAndChecks(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		w.queue(Task{ID: id, EID: v.eid, Kind: Disable, ICCID: iccidB})
		v.run()
		if w.outcome(id).Kind != Enable || v.taken == 0 {
			t.Error("the same ID changed the task")
		}
		for _, c := range []struct {
			task Task
			kind fault.Kind
		}{
			{Task{ID: "x", EID: v.eid, Kind: List}, fault.Invalid},
			{Task{ID: newTaskID(), EID: v.eid, Kind: "dance"}, fault.Invalid},
			{Task{ID: newTaskID(), EID: v.eid, Kind: Enable}, fault.Invalid},
			{Task{ID: newTaskID(), EID: v.eid, Kind: Download, ActivationCode: db.Secret("junk")}, fault.Invalid},
			{Task{ID: newTaskID(), EID: "89049032123451234512345678901235", Kind: List}, fault.NotFound},
		} {
			err := w.db.Write(t.Context(), func(tx *db.Tx) error { return w.server.Queue(t.Context(), tx, c.task) })
			if !fault.Is(err, c.kind) {
				t.Errorf("%+v: %v", c.task, err)
			}
		}
	})
}

func TestDuplicatesAreAnsweredAlike(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		result := v.handle(v.poll())
		first := v.provide(result)
		again := v.provide(result)
		if len(first.Acknowledged) != 1 || fmt.Sprint(first) != fmt.Sprint(again) {
			t.Errorf("%+v, then %+v", first, again)
		}
		w.outcome(id)
	})
}

func TestForgedResultsChangeNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v, other := w.device(), w.device()
		v.run()
		other.run()
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		p := v.poll()
		genuine := v.key
		v.key = other.chip.Key
		forged := v.handle(p)
		if answer := v.provide(forged); len(answer.Acknowledged) != 0 || answer.Error != 0 {
			t.Errorf("a forged result is answered with %+v", answer)
		}
		if got := w.stage(id); got != Sent {
			t.Fatalf("a forged result made the task %s", got)
		}
		if n := w.count(`select count(*) from eim_result where verdict = 'refused' and why like '%signature%' and eid = $1`, string(v.eid)); n != 1 {
			t.Errorf("%d refused results are recorded, want 1", n)
		}
		// The genuine one, which the eUICC still has, is believed.
		v.key = genuine
		v.pending = nil
		v.counter--
		v.enabled = ""
		v.provide(v.handle(v.poll()))
		if o := w.outcome(id); o.Stage != Done {
			t.Errorf("the genuine result made the task %s", o.Stage)
		}
		v.run()
		// A result of another eUICC, signed well, that names the task.
		id = w.queue(Task{EID: v.eid, Kind: Disable, ICCID: iccidA})
		v.poll()
		der := other.sign(&iot.PackageResult{EimID: eimID, Counter: 3, TransactionID: hexID(t, id), Sequence: 9, Results: []iot.OpResult{{Op: iot.OpDisable}}})
		other.provide(&iot.ProvideEimPackageResult{PackageResult: der})
		if got := w.stage(id); got != Sent {
			t.Fatalf("another eUICC's result made the task %s", got)
		}
	})
}

func hexID(t *testing.T, id string) []byte {
	t.Helper()
	transaction, err := rsp.ParseTransactionID(id)
	if err != nil {
		t.Fatal(err)
	}
	return transaction.Octets()
}

func TestForeignChainIsNotBelieved(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device(func(v *device) { v.eum = authorities().foreign })
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA, Until: w.clock.Now().Add(30 * time.Minute)})
		v.run()
		if v.taken != 0 {
			t.Error("an eUICC that is not believed got a package")
		}
		// Nobody waits for it: the task has failed as soon as that was known.
		if o := w.outcome(id); o.Stage != Failed || o.Reason != "refused" {
			t.Errorf("%s %s: %s", o.Stage, o.Reason, o.Message)
		}
		// It is asked again after a while, and believed when the CI is trusted.
		w.clock.Forward(time.Hour)
		if p := v.poll(); !isPackage(p, iot.TagData) {
			t.Errorf("after an hour: %+v", p)
		}
	})
}

func TestReplayedPackageHasItsResultAskedFor(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.handle(v.poll()) // executed; the result is lost on its way
		p := v.poll()
		v.provide(v.handle(p)) // replayError
		if got := w.stage(id); got != Sent {
			t.Fatalf("replayError made the task %s", got)
		}
		ask := v.poll()
		if !isPackage(ask, iot.TagData) {
			t.Fatalf("after replayError: %+v, want a data request", ask)
		}
		v.provide(v.handle(ask))
		if o := w.outcome(id); o.Stage != Done || o.Witness != ByEUICC {
			t.Errorf("%+v", o)
		}
		if len(v.pending) != 0 || v.done[id] != 1 {
			t.Errorf("executed %d times, %d results held", v.done[id], len(v.pending))
		}
		v.run()
	})
}

func TestCounterThatIsBehindCatchesUp(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		v.counter = 100_000 // the database is an old copy
		first := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.run()
		if o := w.outcome(first); o.Stage != Lost {
			t.Errorf("%+v", o)
		}
		v.run()
		second := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.run()
		if o := w.outcome(second); o.Stage != Done {
			t.Errorf("%+v", o)
		}
	})
}

func TestTokenIsLearnt(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := int64(5)
		v := w.device(func(v *device) { v.token = &n })
		v.run()
		changed := int64(7)
		v.token = &changed
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.run()
		if o := w.outcome(id); o.Stage != Done || v.done[id] != 1 {
			t.Errorf("%+v", o)
		}
	})
}

func TestUnknownEIMFailsTheTask(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		other, err := pki.GenerateKey(pki.P256)
		if err != nil {
			t.Fatal(err)
		}
		if v.eim, err = pki.PublicKeyOf(other); err != nil {
			t.Fatal(err)
		}
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.run()
		if o := w.outcome(id); o.Stage != Failed || o.Reason != "refused" || o.Witness != ByIPA {
			t.Errorf("%+v", o)
		}
	})
}

func TestAgentSigns(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		key, err := pki.GenerateKey(pki.P256)
		if err != nil {
			t.Fatal(err)
		}
		v := w.device(func(v *device) { v.agent = key })
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.run()
		if o := w.outcome(id); o.Stage != Done || o.Witness != ByAgent {
			t.Errorf("%+v", o)
		}
	})
}

// TestUnprovedInstallationsAreBounded: the chip of an agent cannot prove what it has
// installed, so anybody may say so; but not as often as he likes.
func TestUnprovedInstallationsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		key, err := pki.GenerateKey(pki.P256)
		if err != nil {
			t.Fatal(err)
		}
		v := w.device(func(v *device) { v.agent = key })
		v.run()
		jobs := w.count(`select count(*) from river_job where kind = 'eim.notify'`)
		for range mostRefused + 20 {
			d := iot.DownloadResult{Installation: v.installation(iccidB, 0)}
			v.provide(&iot.ProvideEimPackageResult{DownloadResult: d.Append(nil)})
		}
		if n := w.count(`select count(*) from eim_result where eid = $1 and kind = $2`, string(v.eid), evidenceDownload); n != mostRefused {
			t.Errorf("%d are stored, want %d", n, mostRefused)
		}
		if n := w.count(`select count(*) from river_job where kind = 'eim.notify'`) - jobs; n > mostRefused {
			t.Errorf("an SM-DP+ is to be called %d times", n)
		}
		// One that is waited for is taken all the same.
		id := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret("1$smdp.example.com$ABC"), ICCID: iccidB})
		v.run()
		if o := w.outcome(id); o.Stage != Done {
			t.Errorf("%+v", o)
		}
	})
}

func TestCancelExpireLose(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		until := w.clock.Now().Add(time.Hour)
		sent := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA, Until: until})
		waiting := w.queue(Task{EID: v.eid, Kind: Disable, ICCID: iccidA, Until: until})
		cancelled := w.queue(Task{EID: v.eid, Kind: Disable, ICCID: iccidB, Until: until})
		p := v.poll()
		if w.cancel(sent) || !w.cancel(cancelled) || w.cancel(cancelled) {
			t.Error("cancelling")
		}
		w.clock.Forward(2 * time.Hour)
		if err := w.server.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o := w.outcome(sent); o.Stage != Lost || o.Reason != "device_timeout" {
			t.Errorf("%+v", o)
		}
		if o := w.outcome(waiting); o.Stage != Expired || o.Reason != "device_offline" {
			t.Errorf("%+v", o)
		}
		if w.stage(cancelled) != Cancelled || len(w.outcomesOf(cancelled)) != 0 {
			t.Error("the cancelled task has an outcome")
		}
		// The lost one was executed after all: evidence, but no second end.
		late := v.provide(v.handle(p))
		if len(late.Acknowledged) != 1 || w.outcome(sent).Stage != Lost {
			t.Errorf("%+v", late)
		}
		if n := w.count(`select count(*) from eim_result where verdict = 'late' and task = $1`, sent); n != 1 {
			t.Errorf("%d late results", n)
		}
		before := len(w.inventories)
		v.run()
		if len(w.inventories) == before {
			t.Error("nobody asked what the profiles are now")
		}
	})
}

// TestDoubtedListMakesRoom: what a user has asked for does not wait behind a list of
// profiles whose signature never verifies, and is told why it failed.
func TestDoubtedListMakesRoom(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.clock.Stop()
		v, other := w.device(), w.device()
		v.run()
		genuine := v.key
		v.key = other.chip.Key
		w.clock.Forward(25 * time.Hour) // a list is due
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA, Until: w.clock.Now().Add(20 * time.Minute)})
		for range 12 {
			if p := v.poll(); p.Error == 0 {
				v.provide(v.handle(p))
			}
			if w.stage(id) == Sent {
				break
			}
		}
		if got := w.stage(id); got != Sent {
			t.Fatalf("behind a list that is not believed the task is %s", got)
		}
		v.provide(v.handle(v.poll()))
		if got := w.stage(id); got != Sent {
			t.Fatalf("a result that does not verify made the task %s", got)
		}
		w.clock.Forward(21 * time.Minute)
		v.poll()
		if o := w.outcome(id); o.Stage != Lost || !strings.Contains(o.Message, "not believed: ") {
			t.Errorf("it ended as %+v", o)
		}
		// A chip that signs rightly again is believed again.
		v.key, v.pending, v.counter = genuine, nil, 0
		before := len(w.inventories)
		for range 4 {
			w.clock.Forward(time.Minute)
			v.run()
		}
		if len(w.inventories) == before {
			t.Error("no list came of a chip that can be believed again")
		}
		if n := w.count(`select count(*) from eim_euicc where eid = $1 and trouble = ''`, string(v.eid)); n != 1 {
			t.Error("the eUICC is still in doubt")
		}
	})
}

func TestStateChangeListsOnceInAWhile(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.clock.Stop() // a list is asked for every ten seconds
		v := w.device()
		v.run()
		w.clock.Forward(time.Minute)
		before := len(w.inventories)
		for range 20 {
			p := w.ask(&iot.GetEimPackageRequest{EID: v.eid, StateChanged: true}).(*iot.GetEimPackageResponse)
			if p.Error == 0 {
				v.provide(v.handle(p))
			}
		}
		if n := len(w.inventories) - before; n != 1 {
			t.Errorf("%d lists for an IPA that always says that something has changed, want 1", n)
		}
		w.clock.Forward(listPause)
		v.run()
		if n := len(w.inventories) - before; n != 2 {
			t.Errorf("%d lists after the pause, want 2", n)
		}
		w.clock.Forward(25 * time.Hour)
		v.run()
		if n := len(w.inventories) - before; n != 3 {
			t.Errorf("%d lists a day later, want 3", n)
		}
	})
}

func TestFailingOutcomeKeepsTheResultWithTheDevice(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		result := v.handle(v.poll())
		result.EID = v.eid
		w.failing = true
		status, _, _ := w.post(rsp.PathASN1, rsp.ContentTypeASN1, iot.AppendASN1Request(nil, result))
		if status != http.StatusServiceUnavailable || w.stage(id) != Sent {
			t.Errorf("HTTP status %d, task %s", status, w.stage(id))
		}
		w.failing = false
		v.provide(result)
		if o := w.outcome(id); o.Stage != Done {
			t.Errorf("%+v", o)
		}
	})
}

func TestForgetAndComeBack(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		counter := v.counter
		sent, waits := w.queue(Task{EID: v.eid, Kind: Download}), w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.poll()
		w.write(func(tx *db.Tx) error { return w.server.Forget(t.Context(), tx, v.eid) })
		if w.stage(sent) != Lost || w.stage(waits) != Cancelled {
			t.Errorf("what was sent is %s, what waited %s", w.stage(sent), w.stage(waits))
		}
		if p := v.poll(); p.Error != iot.EimEIDNotFound {
			t.Errorf("after Forget: %+v", p)
		}
		v.register()
		if v.counter != counter {
			t.Errorf("the counter is %d after the return, was %d", v.counter, counter)
		}
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.run()
		if w.outcome(id).Stage != Done || v.counter <= counter {
			t.Errorf("counter %d", v.counter)
		}
	})
}

func TestRotation(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		old := v.eim
		if err := w.server.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		zero := int64(0)
		id := w.queue(Task{EID: v.eid, Kind: UpdateEIM, EIM: &iot.EimConfiguration{ID: eimID, Counter: &zero}})
		v.run()
		if o := w.outcome(id); o.Stage != Done || v.eim.Equal(old) || v.counter > 2 {
			t.Errorf("%+v, counter %d", o, v.counter)
		}
		w.open()
		id = w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.run()
		if o := w.outcome(id); o.Stage != Done || v.counter > 2 {
			t.Errorf("%+v, counter %d", o, v.counter)
		}
	})
}
