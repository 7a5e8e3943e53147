package device

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"
)

// TestActivation is the course of section 12's example: a code is taken, the
// profile server confirms, the device reports, the profile is enabled, the device
// reports again.
func TestActivation(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		old, iccid := numberedICCID(t, 90), h.code(t, 1, "Northwind")
		h.report(t, eid, Reported{ICCID: old, Active: true, Carrier: "Boot", Type: "bootstrap"})

		o := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, Carrier: "NORTH wind"})
		if o.Status != OpDownload || o.ICCID != iccid || o.DownloadTx == "" || o.EnableTx != "" || o.JobID == 0 || o.Cause != CauseRequest {
			t.Fatalf("begun: %+v", o)
		}
		task := h.eim.last(t)
		if task.ID != strings.ReplaceAll(o.DownloadTx, "-", "") || string(task.ActivationCode) != "LPA:1$rsp.example.net$CODE-1" || task.Action != Download {
			t.Fatalf("task %s of %s, code %q", task.ID, o.DownloadTx, []byte(task.ActivationCode))
		}
		if got := h.codeStatus(t, iccid); got != CodeReserved {
			t.Fatalf("the code is %s", got)
		}
		_, err := h.Begin(t.Context(), h.by, Order{Work: WorkEnable, Device: id, EID: eid, ICCID: old})
		if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), o.ID) {
			t.Fatalf("a second operation: %v", err)
		}
		h.outcome(t, Outcome{TaskID: task.ID, EID: eid, Stage: StageSent})
		if got := h.tx(t, o.DownloadTx); got.MessageCode != CodeSent || got.Status != TxInProgress {
			t.Fatalf("sent: %+v", got)
		}
		h.done(t)
		if got := h.op(t, o.ID); got.Status != OpDownloadVerify || h.codeStatus(t, iccid) != CodeDownloaded {
			t.Fatalf("downloaded: %+v, code %s", got, h.codeStatus(t, iccid))
		}
		if _, err := h.Profile(t.Context(), h.by.Account, iccid); !fault.Is(err, fault.NotFound) {
			t.Fatalf("a profile that nobody has reported: %v", err)
		}
		h.report(t, eid, Reported{ICCID: old, Active: true, Carrier: "Boot", Type: "bootstrap"}, is(iccid, "Mobile", false))
		if got := h.op(t, o.ID); got.Status != OpEnable || got.EnableTx == "" {
			t.Fatalf("reported: %+v", got)
		}
		if task := h.eim.last(t); task.Action != Enable || task.ICCID != iccid || !task.Rollback {
			t.Fatalf("task %+v", task)
		}
		h.done(t)
		if got := h.op(t, o.ID); got.Status != OpEnableVerify {
			t.Fatalf("enabled: %+v", got)
		}
		h.report(t, eid, Reported{ICCID: old, Carrier: "Boot", Type: "bootstrap"}, is(iccid, "Mobile", true))
		if got := h.op(t, o.ID); got.Status != OpSuccessful || got.MessageCode != CodeComplete {
			t.Fatalf("reported again: %+v", got)
		}
		if got := h.path(t, o.ID); got != "starting download download_verify enable enable_verify successful" {
			t.Errorf("its way: %s", got)
		}
		if j, err := h.Job(t.Context(), h.by.Account, o.JobID); err != nil || j.Status != JobComplete || j.Subject != o.ID {
			t.Errorf("job %+v, %v", j, err)
		}

		// The trap: the profile says "Mobile", the code said Northwind. Neither
		// name may take another code.
		h.code(t, 2, "Northwind")
		h.code(t, 3, "Mobile")
		for _, carrier := range []string{"Northwind", "mobile"} {
			again := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, Carrier: carrier})
			if again.Status != OpSuccessful || again.ICCID != iccid || again.MessageCode != CodeAlreadyDone {
				t.Errorf("activated again as %s: %+v", carrier, again)
			}
		}
		h.ForgetCodes = true
		if again := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, Carrier: "Northwind"}); again.Status != OpDownload {
			t.Errorf("as at the hosted service: %+v", again)
		}
	})
}

// TestReportBeforeOutcome: a device that reports first passes a verify state at
// once.
func TestReportBeforeOutcome(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		iccid := h.code(t, 1, "Northwind")
		o := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, ICCID: iccid})
		h.report(t, eid, is(iccid, "Mobile", false))
		if got := h.op(t, o.ID); got.Status != OpDownload {
			t.Fatalf("a report ends no transaction that runs: %+v", got)
		}
		h.done(t)
		if got := h.path(t, o.ID); got != "starting download download_verify enable" {
			t.Fatalf("its way: %s", got)
		}
		if p, err := h.Profile(t.Context(), h.by.Account, iccid); err != nil || p.CodeCarrier != "Northwind" {
			t.Errorf("profile %+v, %v", p, err)
		}
		h.report(t, eid, is(iccid, "Mobile", true))
		h.done(t)
		if got := h.path(t, o.ID); got != "starting download download_verify enable enable_verify successful" {
			t.Errorf("its way: %s", got)
		}
	})
}

// TestCodesFailures is what becomes of a code whose download fails.
func TestCodesFailures(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		for i, c := range []struct {
			name string
			do   func(t *testing.T, o Operation)
			want CodeStatus
			code string
		}{
			{"unreachable", func(t *testing.T, _ Operation) { h.fails(t, CodeUnreachable) }, CodeAvailable, CodeUnreachable},
			{"refused by the server", func(t *testing.T, _ Operation) { h.fails(t, CodeSMDPRefused) }, CodeSpent, CodeSMDPRefused},
			{"no memory", func(t *testing.T, _ Operation) { h.fails(t, CodeNoMemory) }, CodeSpent, CodeNoMemory},
			{"refused by the eSIM", func(t *testing.T, _ Operation) { h.fails(t, CodeRefused) }, CodeAvailable, CodeRefused},
			{"refused by the eSIM, which had the package", func(t *testing.T, _ Operation) {
				task := h.eim.last(t)
				h.eim.set(task.ID, StageFailed)
				h.outcome(t, Outcome{TaskID: task.ID, EID: task.EID, Stage: StageFailed, Reason: CodeRefused, Reached: true})
			}, CodeSpent, CodeRefused},
			{"never fetched", func(t *testing.T, _ Operation) {
				h.pass(21 * time.Minute)
				if err := h.sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}, CodeAvailable, CodeDeviceTimeout},
			{"fetched and silent", func(t *testing.T, _ Operation) {
				task := h.eim.last(t)
				h.eim.set(task.ID, StageSent)
				h.outcome(t, Outcome{TaskID: task.ID, EID: task.EID, Stage: StageSent})
				h.pass(21 * time.Minute)
				if err := h.sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}, CodeSpent, CodeDeviceTimeout},
			{"another profile", func(t *testing.T, _ Operation) {
				task := h.eim.last(t)
				h.outcome(t, Outcome{TaskID: task.ID, EID: task.EID, Stage: StageDone, ICCID: numberedICCID(t, 777)})
			}, CodeSpent, CodeICCIDMismatch},
			{"cancelled", func(t *testing.T, o Operation) {
				if _, err := h.CancelJob(t.Context(), h.by, o.JobID); err != nil {
					t.Fatal(err)
				}
			}, CodeAvailable, CodeCancelled},
		} {
			t.Run(c.name, func(t *testing.T) {
				id, eid := h.device(t, 10+i)
				iccid := h.code(t, 10+i, fmt.Sprint("Carrier ", i))
				o := h.begins(t, Order{Work: WorkDownload, Device: id, EID: eid, Carrier: fmt.Sprint("carrier", i)})
				c.do(t, o)
				got := h.op(t, o.ID)
				if got.Status != OpFailed || got.MessageCode != c.code || got.Message == "" {
					t.Errorf("%+v: want it failed by %s", got, c.code)
				}
				if status := h.codeStatus(t, iccid); status != c.want {
					t.Errorf("the code is %s, want %s", status, c.want)
				}
				if tx := h.tx(t, o.DownloadTx); tx.Status != TxFailed || tx.MessageCode != c.code {
					t.Errorf("%+v", tx)
				}
			})
		}
	})
}

// TestWantedProfileIsShown: an operation that finds nothing says all the same which
// profile it was to find.
func TestWantedProfileIsShown(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		wanted := numberedICCID(t, 9)
		for _, work := range Works {
			o := h.begins(t, Order{Work: work, Device: id, EID: eid, ICCID: wanted})
			if got := h.op(t, o.ID); o.Status != OpFailed || o.ICCID != wanted || got.ICCID != wanted {
				t.Errorf("%s: %s, of profile %q, and %q when it is read", work, o.Status, o.ICCID, got.ICCID)
			}
		}
	})
}

// givenUp begins a download whose device takes the task and then says nothing until
// its time is up.
func (h *house) givenUp(t *testing.T, id ID, eid ident.EID, iccid ident.ICCID) (Operation, Task) {
	t.Helper()
	o := h.begins(t, Order{Work: WorkDownload, Device: id, EID: eid, ICCID: iccid})
	task := h.eim.last(t)
	h.eim.set(task.ID, StageSent)
	h.outcome(t, Outcome{TaskID: task.ID, EID: eid, Stage: StageSent})
	h.pass(21 * time.Minute)
	if err := h.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	return o, task
}

// TestLateNews: what comes after the end is kept and changes nothing but the
// code, which was used or was not.
func TestLateNews(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		iccid := h.code(t, 1, "Northwind")
		o, task := h.givenUp(t, id, eid, iccid)
		done := Outcome{TaskID: task.ID, EID: eid, Stage: StageDone, ICCID: iccid}
		h.outcome(t, done)
		if tx := h.tx(t, o.DownloadTx); tx.Status != TxFailed || h.codeStatus(t, iccid) != CodeDownloaded {
			t.Errorf("%+v, code %s", tx, h.codeStatus(t, iccid))
		}
		last := h.events(t, o.DownloadTx)
		if e := last[len(last)-1]; e.Kind != "esim_transaction.late" || len(e.Evidence) == 0 {
			t.Errorf("the last event is %s with %x", e.Kind, e.Evidence)
		}
		h.report(t, eid, is(iccid, "Mobile", false))
		if got := h.op(t, o.ID); got.Status != OpFailed {
			t.Errorf("%+v", got)
		}
		// News of an eSIM that is another's says nothing.
		other := h.begins(t, Order{Work: WorkEnable, Device: id, EID: eid, ICCID: iccid})
		h.outcome(t, Outcome{TaskID: h.eim.last(t).ID, EID: numberedEID(t, 5), Stage: StageDone})
		if got := h.op(t, other.ID); got.Status != OpEnable {
			t.Errorf("%+v", got)
		}
	})
}

// TestLateFailure says why a device that was given up has failed: its code is free
// again where it never came as far as the profile server.
func TestLateFailure(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		for n, c := range []struct {
			reason string
			want   CodeStatus
		}{{CodeUnreachable, CodeAvailable}, {CodeSMDPRefused, CodeSpent}} {
			id, eid := h.device(t, n)
			iccid := h.code(t, n, "Northwind")
			o, task := h.givenUp(t, id, eid, iccid)
			if got := h.codeStatus(t, iccid); got != CodeSpent {
				t.Fatalf("the code is %s when time is up", got)
			}
			h.outcome(t, Outcome{TaskID: task.ID, EID: eid, Stage: StageFailed, Reason: c.reason})
			if tx := h.tx(t, o.DownloadTx); tx.Status != TxFailed || tx.MessageCode != CodeDeviceTimeout || h.codeStatus(t, iccid) != c.want {
				t.Errorf("after %s: %+v, code %s, want %s", c.reason, tx, h.codeStatus(t, iccid), c.want)
			}
		}
	})
}

// TestUndone: the device has enabled the profile, and gone back since the answer to
// its first word was lost. Its later word ends the operation.
func TestUndone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		iccid := h.code(t, 1, "Northwind")
		h.report(t, eid, is(iccid, "Mobile", false))
		o := h.begins(t, Order{Work: WorkEnable, Device: id, EID: eid, ICCID: iccid})
		task := h.eim.last(t)
		h.outcome(t, Outcome{TaskID: task.ID, EID: eid, Stage: StageDone, ICCID: iccid})
		if got := h.op(t, o.ID); got.Status != OpEnableVerify {
			t.Fatalf("enabled: %+v", got)
		}
		h.outcome(t, Outcome{TaskID: task.ID, EID: eid, Stage: StageFailed, Reason: CodeRolledBack})
		if got := h.op(t, o.ID); got.Status != OpFailed || got.MessageCode != CodeRolledBack {
			t.Errorf("undone: %+v", got)
		}
		if tx := h.tx(t, o.EnableTx); tx.Status != TxComplete {
			t.Errorf("the transaction, which was complete, is %+v", tx)
		}
	})
}

// TestUnknown: nobody can say what became of it until a report shows it.
func TestUnknown(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		iccid := h.code(t, 1, "Northwind")
		o := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, ICCID: iccid})
		h.outcome(t, Outcome{TaskID: h.eim.last(t).ID, EID: eid, Stage: StageLost})
		if tx, op := h.tx(t, o.DownloadTx), h.op(t, o.ID); tx.Status != TxUnknown || op.Status != OpDownload || h.codeStatus(t, iccid) != CodeSpent {
			t.Fatalf("%+v %+v", tx, op)
		}
		h.report(t, eid, is(iccid, "Mobile", false))
		if tx, op := h.tx(t, o.DownloadTx), h.op(t, o.ID); tx.Status != TxComplete || op.Status != OpEnable || h.codeStatus(t, iccid) != CodeDownloaded {
			t.Fatalf("%+v %+v", tx, op)
		}
		// Lost again, and no report: time ends the operation, not the transaction.
		h.outcome(t, Outcome{TaskID: h.eim.last(t).ID, EID: eid, Stage: StageLost})
		h.pass(61 * time.Minute)
		if err := h.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		op := h.op(t, o.ID)
		if tx := h.tx(t, op.EnableTx); tx.Status != TxUnknown || op.Status != OpFailed || op.MessageCode != CodeDeviceTimeout {
			t.Fatalf("%+v %+v", tx, op)
		}
	})
}

// TestActions refuses what section 11 refuses, before anything is created.
func TestActions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		other, otherEID := h.device(t, 2)
		a, b, boot := numberedICCID(t, 1), numberedICCID(t, 2), numberedICCID(t, 3)
		h.report(t, eid, is(a, "A", true), is(b, "B", false), Reported{ICCID: boot, Type: "bootstrap"})
		h.report(t, otherEID, is(numberedICCID(t, 4), "A", true))
		h.code(t, 5, "C")
		for _, c := range []struct {
			name string
			r    ActionRequest
			kind fault.Kind
			in   string
		}{
			{"no such device", ActionRequest{Action: Enable, Device: numberedID(99), EID: eid, ICCID: a}, fault.NotFound, "device"},
			{"eSIM of another device", ActionRequest{Action: Enable, Device: other, EID: eid, ICCID: a}, fault.NotFound, string(otherEID)},
			{"profile that is not there", ActionRequest{Action: Enable, Device: id, EID: eid, ICCID: numberedICCID(t, 44)}, fault.NotFound, "is not on eSIM"},
			{"no profile named", ActionRequest{Action: Enable, Device: id, EID: eid}, fault.Invalid, "iccid"},
			{"unregistered code", ActionRequest{Action: Download, Device: id, EID: eid, ICCID: numberedICCID(t, 45)}, fault.NotFound, "activation code"},
			{"no code at all", ActionRequest{Action: Download, Device: id, EID: eid}, fault.Invalid, "iccid"},
			{"a code that is none", ActionRequest{Action: Download, Device: id, EID: eid, ActivationCode: db.Secret("hello")}, fault.Invalid, "activation_code"},
			{"deleting the active", ActionRequest{Action: Delete, Device: id, EID: eid, ICCID: a}, fault.Conflict, "active"},
			{"deleting the bootstrap", ActionRequest{Action: Delete, Device: id, EID: eid, ICCID: boot}, fault.Conflict, "bootstrap"},
			{"disabling the only one", ActionRequest{Action: Disable, Device: other, EID: otherEID, ICCID: numberedICCID(t, 4)}, fault.Conflict, "bootstrap"},
		} {
			_, err := h.Act(t.Context(), h.by, c.r)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.in) {
				t.Errorf("%s: %v, want kind %d about %q", c.name, err, c.kind, c.in)
			}
		}
		if n := h.eim.count(); n != 0 {
			t.Fatalf("%d tasks of refused requests", n)
		}
		for _, r := range []ActionRequest{{Action: Enable, ICCID: a}, {Action: Disable, ICCID: b}} {
			r.Device, r.EID = id, eid
			tx, err := h.Act(t.Context(), h.by, r)
			if err != nil || tx.Status != TxComplete || tx.MessageCode != CodeAlreadyDone {
				t.Errorf("%s: %+v, %v", r.Action, tx, err)
			}
		}
		tx, err := h.Act(t.Context(), h.by, ActionRequest{Action: Disable, Device: id, EID: eid, ICCID: a})
		if err != nil || tx.Status != TxInProgress {
			t.Fatal(tx, err)
		}
		if _, err := h.Act(t.Context(), h.by, ActionRequest{Action: Enable, Device: id, EID: eid, ICCID: b}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), tx.ID) {
			t.Errorf("a second action: %v", err)
		}
		h.done(t)
		if tx = h.tx(t, tx.ID); tx.Status != TxComplete {
			t.Errorf("%+v", tx)
		}
		// A confirmation code that is missing is missed before a code is used.
		tx, err = h.Act(t.Context(), h.by, ActionRequest{Action: Download, Device: id, EID: eid, ActivationCode: db.Secret("1$rsp.example.net$X$$1")})
		if err != nil || tx.Status != TxFailed || tx.MessageCode != CodeConfirmationRequired {
			t.Errorf("%+v, %v", tx, err)
		}
		tx, err = h.Act(t.Context(), h.by, ActionRequest{Action: Download, Device: id, EID: eid, ActivationCode: db.Secret("1$rsp.example.net$X$$1"), ConfirmationCode: db.Secret("1234")})
		if task := h.eim.last(t); err != nil || tx.Status != TxInProgress || string(task.ConfirmationCode) != "1234" {
			t.Errorf("%+v, %v", tx, err)
		}
	})
}

// TestNoCodeTwice has many operations take the codes of one carrier at once.
func TestNoCodeTwice(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		const devices, codes = 40, 25
		for i := range devices {
			h.device(t, i)
		}
		for i := range codes {
			h.code(t, i, "Northwind")
		}
		ops := make([]Operation, devices)
		errs := make([]error, devices)
		var wait sync.WaitGroup
		for i := range devices {
			wait.Go(func() {
				ops[i], errs[i] = h.Begin(context.Background(), h.by, Order{Work: WorkActivate, Device: numberedID(i), EID: numberedEID(t, i), Carrier: "northwind"})
			})
		}
		wait.Wait()
		taken := map[ident.ICCID]string{}
		failed := 0
		for i, o := range ops {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if o.Status == OpFailed {
				failed++
				if o.MessageCode != CodeNoActivationCode {
					t.Errorf("%+v", o)
				}
				continue
			}
			if other := taken[o.ICCID]; other != "" {
				t.Errorf("%s and %s took the code of %s", o.ID, other, o.ICCID)
			}
			taken[o.ICCID] = o.ID
		}
		if len(taken) != codes || failed != devices-codes {
			t.Errorf("%d of %d codes taken, %d of %d operations without", len(taken), codes, failed, devices-codes)
		}
	})
}

// TestOutcomeBesideReport: an answer and a report that come at the same moment
// see each other, so that no operation waits for a report that is there.
func TestOutcomeBesideReport(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		const n = 40
		var ops []Operation
		for i := range n {
			id, eid := h.device(t, i)
			ops = append(ops, h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, ICCID: h.code(t, i, "Northwind")}))
		}
		errs := make(chan error, 2*n)
		var wait sync.WaitGroup
		for i, o := range ops {
			wait.Go(func() {
				errs <- d.Write(context.Background(), func(tx *db.Tx) error {
					return h.Outcome(context.Background(), tx, Outcome{TaskID: taskID(o.DownloadTx), EID: o.EID, Stage: StageDone, ICCID: o.ICCID})
				})
			})
			wait.Go(func() {
				errs <- d.Write(context.Background(), func(tx *db.Tx) error {
					return h.Report(context.Background(), tx, Report{EID: o.EID, Profiles: []Reported{is(numberedICCID(t, i), "Mobile", false)}, At: h.clock()})
				})
			})
		}
		wait.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range ops {
			if got := h.op(t, o.ID); got.Status != OpEnable {
				t.Errorf("%s is %s", o.ID, got.Status)
			}
		}
	})
}

// TestOldestCodeFirst takes codes in the order of their registration.
func TestOldestCodeFirst(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		if err := h.PutAlias(t.Context(), h.by, Alias{Alias: "North", Name: "Northwind"}); err != nil {
			t.Fatal(err)
		}
		h.code(t, 7, "Northwind")
		h.code(t, 3, "North") // another name of the same
		h.code(t, 5, "Northwind")
		var got []ident.ICCID
		for i := range 3 {
			id, eid := h.device(t, i)
			got = append(got, h.begins(t, Order{Work: WorkDownload, Device: id, EID: eid, Carrier: "Northwind"}).ICCID)
		}
		if want := []ident.ICCID{numberedICCID(t, 7), numberedICCID(t, 3), numberedICCID(t, 5)}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("took %v, want %v", got, want)
		}
	})
}

// TestRetry begins a failed operation once more.
func TestRetry(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		id, eid := h.device(t, 1)
		o := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, Carrier: "Northwind"})
		if o.Status != OpFailed || o.MessageCode != CodeNoActivationCode {
			t.Fatalf("%+v", o)
		}
		h.code(t, 1, "Northwind")
		again, err := h.Retry(t.Context(), h.by, o.ID)
		if err != nil || again.Status != OpDownload || again.RetryOf != o.ID || again.JobID == o.JobID {
			t.Fatalf("%+v, %v", again, err)
		}
		if _, err := h.Retry(t.Context(), h.by, again.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("retry of one that runs: %v", err)
		}
		h.eim.set(h.eim.last(t).ID, StageSent)
		if _, err := h.Cancel(t.Context(), h.by, again.ID); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "the device has") {
			t.Errorf("cancelled what the device has: %v", err)
		}
	})
}

// TestDeleteDevice leaves nothing that runs. A code whose download no device has
// had is free again; of the others nobody knows.
func TestDeleteDevice(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for stage, want := range map[Stage]CodeStatus{StageQueued: CodeAvailable, StageSent: CodeSpent} {
			h := newHouse(t, d)
			h.by.Account = "AC" + string(stage)
			id, eid := h.device(t, 1)
			iccid := h.code(t, 1, "Northwind")
			h.report(t, eid, is(numberedICCID(t, 8), "A", true))
			o := h.begins(t, Order{Work: WorkActivate, Device: id, EID: eid, ICCID: iccid})
			h.eim.set(h.eim.last(t).ID, stage) // the news of it is still on its way
			if err := h.DeleteDevice(t.Context(), h.by, id); err != nil {
				t.Fatal(err)
			}
			if tx, op := h.tx(t, o.DownloadTx), h.op(t, o.ID); tx.Status != TxUnknown || op.Status != OpFailed || h.codeStatus(t, iccid) != want {
				t.Errorf("%+v, %+v, code %s, want %s", tx, op, h.codeStatus(t, iccid), want)
			}
			if _, err := h.ESIM(t.Context(), h.by.Account, eid); !fault.Is(err, fault.NotFound) || h.eim.known[eid] {
				t.Errorf("the eSIM is left: %v", err)
			}
			if p, err := h.ProfilesPage(t.Context(), h.by.Account, spec(t, ProfileSchema, "", "", 10)); err != nil || len(p.Items) != 0 {
				t.Errorf("profiles are left: %+v, %v", p, err)
			}
			h.device(t, 1) // and it may come again
			if err := h.DeleteDevice(t.Context(), h.by, id); err != nil {
				t.Fatal(err)
			}
		}
	})
}
