package device

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"

	"pgregory.net/rapid"
)

// nextCase sets the cases apart that share a database.
var nextCase atomic.Int64

// TestMachine drives operations and transactions through random interleavings of
// requests, news that comes late, twice or contradicts itself, reports old and
// new, cancels, time that runs out, restarts, and devices that are deleted and
// come again.
func TestMachine(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		rapid.Check(t, func(rt *rapid.T) { newMachine(t, rt, d).run(rt) })
	})
}

// A machine is a house with some devices that have a true state of their own.
type machine struct {
	*house
	t       *testing.T
	d       *db.DB
	eids    []ident.EID
	chips   map[ident.EID]*chip
	iccids  []ident.ICCID // of codes
	news    []Outcome     // all that was ever brought
	reports []Report
	ops     map[string]OpStatus // as they were before the step
	txs     map[string]TxStatus
	step    string
}

// A chip is what is truly on an eSIM.
type chip struct {
	profiles []Reported
	told     *Report // the newest report that was brought
}

func newMachine(t *testing.T, rt *rapid.T, d *db.DB) *machine {
	n := int(nextCase.Add(1))
	m := &machine{house: newHouse(t, d), t: t, d: d, chips: map[ident.EID]*chip{}, ops: map[string]OpStatus{}, txs: map[string]TxStatus{}}
	m.by.Account = fmt.Sprintf("AC%032d", n)
	m.pass(time.Duration(n) * 24 * time.Hour)
	for i := range 2 {
		_, eid := m.device(t, n*10+i)
		m.eids = append(m.eids, eid)
		m.chips[eid] = &chip{}
	}
	for i := range rapid.IntRange(1, 4).Draw(rt, "codes") {
		m.iccids = append(m.iccids, m.code(t, n*100+i, []string{"Northwind", "Mobile"}[i%2]))
	}
	return m
}

func (m *machine) eid(rt *rapid.T) ident.EID { return rapid.SampledFrom(m.eids).Draw(rt, "eSIM") }

func (m *machine) iccid(rt *rapid.T) ident.ICCID {
	if len(m.iccids) == 0 {
		rt.Skip("no code")
	}
	return rapid.SampledFrom(m.iccids).Draw(rt, "profile")
}

func (m *machine) deviceOf(eid ident.EID) ID {
	e, err := m.ESIM(context.Background(), m.by.Account, eid)
	if err != nil {
		return numberedID(0)
	}
	return e.Device
}

// refusable is an error that a request may end with.
func (m *machine) refusable(rt *rapid.T, err error) {
	if _, refused := fault.As(err); err != nil && !refused {
		rt.Fatal(err)
	}
}

func (m *machine) bring(rt *rapid.T, o Outcome) {
	if err := m.DB.Write(context.Background(), func(tx *db.Tx) error { return m.Outcome(context.Background(), tx, o) }); err != nil {
		rt.Fatal(err)
	}
}

func (m *machine) tell(rt *rapid.T, r Report) {
	if err := m.DB.Write(context.Background(), func(tx *db.Tx) error { return m.Report(context.Background(), tx, r) }); err != nil {
		rt.Fatal(err)
	}
	if c := m.chips[r.EID]; c.told == nil || !r.At.Before(c.told.At) {
		c.told = &r
	}
}

// in draws a task in one of some stages.
func (m *machine) in(rt *rapid.T, stages ...Stage) *held {
	var fit []*held
	for _, id := range m.eim.order {
		if t := m.eim.tasks[id]; slices.Contains(stages, t.stage) {
			fit = append(fit, t)
		}
	}
	if len(fit) == 0 {
		rt.Skip("no such task")
	}
	return rapid.SampledFrom(fit).Draw(rt, "task")
}

// carryOut does what a task asks of a chip and says how that ended.
func (c *chip) carryOut(t *held) Outcome {
	o := Outcome{TaskID: t.ID, EID: t.EID, Stage: StageDone, ICCID: t.ICCID, Evidence: []byte(t.ID), EvidenceKind: "euicc-package-result", Witness: "eUICC"}
	at := slices.IndexFunc(c.profiles, func(p Reported) bool { return p.ICCID == t.ICCID })
	switch {
	case t.Action == Download && at >= 0:
		o.Stage, o.Reason = StageFailed, CodeSMDPRefused
	case t.Action == Download:
		c.profiles = append(c.profiles, Reported{ICCID: t.ICCID, Carrier: "Mobile", Type: "operational"})
	case at < 0:
		o.Stage, o.Reason = StageFailed, CodeProfileMissing
	case t.Action == Delete:
		c.profiles = slices.Delete(slices.Clone(c.profiles), at, at+1)
	default:
		c.profiles = slices.Clone(c.profiles)
		for i := range c.profiles {
			c.profiles[i].Active = i == at && t.Action == Enable || i != at && t.Action == Disable && c.profiles[i].Active
		}
	}
	return o
}

func (m *machine) run(rt *rapid.T) {
	ctx := context.Background()
	acts := map[string]func(*rapid.T){
		"act": func(rt *rapid.T) {
			eid := m.eid(rt)
			_, err := m.Act(ctx, m.by, ActionRequest{Action: rapid.SampledFrom(Actions).Draw(rt, "action"), Device: m.deviceOf(eid), EID: eid, ICCID: m.iccid(rt)})
			m.refusable(rt, err)
		},
		"begin": func(rt *rapid.T) {
			eid := m.eid(rt)
			o := Order{Work: rapid.SampledFrom(Works).Draw(rt, "work"), Device: m.deviceOf(eid), EID: eid}
			if rapid.Bool().Draw(rt, "by carrier") {
				o.Carrier = rapid.SampledFrom([]string{"Northwind", "Mobile", "Nobody"}).Draw(rt, "carrier")
			} else {
				o.ICCID = m.iccid(rt)
			}
			_, err := m.Begin(ctx, m.by, o)
			m.refusable(rt, err)
		},
		"fetch": func(rt *rapid.T) {
			t := m.in(rt, StageQueued)
			t.stage = StageSent
			if rapid.Bool().Draw(rt, "heard") {
				m.bring(rt, Outcome{TaskID: t.ID, EID: t.EID, Stage: StageSent})
			}
		},
		"carry out": func(rt *rapid.T) {
			t := m.in(rt, StageSent)
			o := m.chips[t.EID].carryOut(t)
			t.stage = o.Stage
			m.news = append(m.news, o)
			switch rapid.IntRange(0, 3).Draw(rt, "news") {
			case 0: // it comes late or never
			case 1:
				o.Stage = StageLost
				t.stage = StageLost
				m.bring(rt, o)
			default:
				m.bring(rt, o)
			}
		},
		"serve": func(rt *rapid.T) { // all in one, often enough that operations come far
			t := m.in(rt, StageQueued, StageSent)
			o := m.chips[t.EID].carryOut(t)
			t.stage = o.Stage
			m.news = append(m.news, o)
			r := Report{EID: t.EID, Profiles: slices.Clone(m.chips[t.EID].profiles), Evidence: []byte("report"), EvidenceKind: "euicc-package-result", Witness: "eUICC", At: m.clock()}
			m.reports = append(m.reports, r)
			order := rapid.SampledFrom([]string{"news report", "report news", "news", "report"}).Draw(rt, "order")
			for _, what := range strings.Fields(order) {
				if m.step = what; what == "news" {
					m.bring(rt, o)
				} else {
					m.tell(rt, r)
				}
				m.check(rt)
			}
		},
		"begin for good": func(rt *rapid.T) {
			eid := m.eid(rt)
			_, err := m.Begin(ctx, m.by, Order{Work: WorkActivate, Device: m.deviceOf(eid), EID: eid, ICCID: m.iccid(rt)})
			m.refusable(rt, err)
		},
		"fail": func(rt *rapid.T) {
			t := m.in(rt, StageSent)
			t.stage = StageFailed
			o := Outcome{TaskID: t.ID, EID: t.EID, Stage: StageFailed, Reason: rapid.SampledFrom([]string{CodeUnreachable, CodeSMDPRefused, CodeNoMemory, "", "nonsense"}).Draw(rt, "reason")}
			m.news = append(m.news, o)
			m.bring(rt, o)
		},
		"expire": func(rt *rapid.T) {
			t := m.in(rt, StageQueued)
			t.stage = StageExpired
			m.bring(rt, Outcome{TaskID: t.ID, EID: t.EID, Stage: StageExpired})
		},
		"old news": func(rt *rapid.T) {
			if len(m.news) == 0 {
				rt.Skip("no news yet")
			}
			m.bring(rt, rapid.SampledFrom(m.news).Draw(rt, "news"))
		},
		"report": func(rt *rapid.T) {
			eid := m.eid(rt)
			r := Report{EID: eid, Profiles: slices.Clone(m.chips[eid].profiles), Evidence: []byte("report"), EvidenceKind: "euicc-package-result", Witness: "eUICC", At: m.clock()}
			m.reports = append(m.reports, r)
			if rapid.IntRange(0, 3).Draw(rt, "comes") > 0 {
				m.tell(rt, r)
			}
		},
		"old report": func(rt *rapid.T) {
			if len(m.reports) == 0 {
				rt.Skip("no report yet")
			}
			m.tell(rt, rapid.SampledFrom(m.reports).Draw(rt, "report"))
		},
		"cancel": func(rt *rapid.T) {
			id := m.anyOp(rt)
			_, err := m.Cancel(ctx, m.by, id)
			m.refusable(rt, err)
		},
		"retry": func(rt *rapid.T) {
			_, err := m.Retry(ctx, m.by, m.anyOp(rt))
			m.refusable(rt, err)
		},
		"time": func(rt *rapid.T) {
			m.pass(rapid.SampledFrom([]time.Duration{time.Minute, 12 * time.Minute, 25 * time.Minute}).Draw(rt, "time"))
		},
		"time-out": func(rt *rapid.T) {
			m.step = "sweep"
			m.pass(25 * time.Minute)
			if err := m.sweep(ctx); err != nil {
				rt.Fatal(err)
			}
		},
		"sweep": func(*rapid.T) {
			if err := m.sweep(ctx); err != nil {
				rt.Fatal(err)
			}
		},
		"restart": func(*rapid.T) { m.open(m.t, m.d) },
		"move out and in": func(rt *rapid.T) {
			eid := m.eid(rt)
			id := m.deviceOf(eid)
			if err := m.DeleteDevice(ctx, m.by, id); err != nil {
				rt.Fatal(err)
			}
			puts, err := m.PutDevices(ctx, m.by, []DevicePatch{{ID: id, EIDs: []EIDPatch{{EID: eid}}}}, PutOptions{})
			if err != nil || puts[0].Err != nil {
				rt.Fatal(err, puts)
			}
			m.chips[eid].told = nil
		},
	}
	steps := map[string]func(*rapid.T){"": func(rt *rapid.T) { m.check(rt) }}
	for name, act := range acts {
		steps[name] = func(rt *rapid.T) {
			m.step = name
			act(rt)
		}
	}
	steps["serve another"], steps["serve a third"] = steps["serve"], steps["serve"]
	rt.Repeat(steps)
	// In the end time runs out for all that is left.
	m.step = "sweep"
	for range 3 {
		m.pass(61 * time.Minute)
		if err := m.sweep(ctx); err != nil {
			rt.Fatal(err)
		}
		m.check(rt)
	}
	for _, o := range m.allOps(rt) {
		if !o.Status.Final() {
			rt.Fatalf("operation %s is left %s", o.ID, o.Status)
		}
	}
	for _, t := range m.allTxs(rt) {
		if t.Status == TxInProgress {
			rt.Fatalf("transaction %s is left %s", t.ID, t.Status)
		}
	}
	for _, iccid := range m.iccids {
		if m.codeStatus(m.t, iccid) == CodeReserved {
			rt.Fatalf("the code of %s is left reserved", iccid)
		}
	}
}

func (m *machine) allOps(rt *rapid.T) []Operation {
	p, err := m.OperationsPage(context.Background(), m.by.Account, spec(m.t, OperationSchema, "", "", 1000))
	if err != nil {
		rt.Fatal(err)
	}
	return p.Items
}

func (m *machine) allTxs(rt *rapid.T) []Transaction {
	p, err := m.TransactionsPage(context.Background(), m.by.Account, spec(m.t, TransactionSchema, "", "", 1000))
	if err != nil {
		rt.Fatal(err)
	}
	return p.Items
}

func (m *machine) anyOp(rt *rapid.T) string {
	all := m.allOps(rt)
	if len(all) == 0 {
		rt.Skip("no operation yet")
	}
	return rapid.SampledFrom(all).Draw(rt, "operation").ID
}

// check holds the state, and the events that led to it, against the tables.
func (m *machine) check(rt *rapid.T) {
	running := map[ident.EID]string{}
	for _, o := range m.allOps(rt) {
		checkWay(rt, m.path(m.t, o.ID), string(o.Status), func(from, to string) bool { return OpStatus(from).CanBecome(o.Work, OpStatus(to)) }, string(OpStarting))
		if !o.Status.Final() {
			if running[o.EID] != "" {
				rt.Fatalf("%s and %s run on %s", o.ID, running[o.EID], o.EID)
			}
			running[o.EID] = o.ID
		}
		if was := m.ops[o.ID]; (was == OpDownloadVerify || was == OpEnableVerify) && o.Status != was &&
			!slices.Contains([]string{"report", "old report", "sweep", "cancel", "move out and in"}, m.step) {
			rt.Fatalf("%s left %s for %s by %q", o.ID, was, o.Status, m.step)
		}
		if o.Status == OpSuccessful && m.ops[o.ID] != OpSuccessful {
			m.checkSuccess(rt, o)
		}
		if j, err := m.Job(context.Background(), m.by.Account, o.JobID); err != nil || (j.Status == JobInProgress) == o.Status.Final() {
			rt.Fatalf("operation %s is %s, its job %s, %v", o.ID, o.Status, j.Status, err)
		}
		m.ops[o.ID] = o.Status
	}
	acting := map[ident.EID]string{}
	for _, t := range m.allTxs(rt) {
		checkWay(rt, m.path(m.t, t.ID), string(t.Status), func(from, to string) bool { return TxStatus(from).CanBecome(TxStatus(to)) }, string(TxInProgress))
		if t.Status == TxInProgress {
			if acting[t.EID] != "" || running[t.EID] != "" && running[t.EID] != t.Operation {
				rt.Fatalf("%s runs on %s beside %s and %s", t.ID, t.EID, acting[t.EID], running[t.EID])
			}
			acting[t.EID] = t.ID
		}
		if was := m.txs[t.ID]; was.Final() && t.Status != was {
			rt.Fatalf("%s was %s and is %s", t.ID, was, t.Status)
		}
		m.txs[t.ID] = t.Status
	}
	for _, iccid := range m.iccids {
		m.checkCode(rt, iccid)
		on := 0
		for _, c := range m.chips {
			if slices.ContainsFunc(c.profiles, func(p Reported) bool { return p.ICCID == iccid }) {
				on++
			}
		}
		if on > 1 {
			rt.Fatalf("the profile %s was downloaded to %d eSIMs", iccid, on)
		}
	}
	for eid, c := range m.chips {
		m.checkRecords(rt, eid, c)
	}
}

// checkWay compares the events of something with its state table: never
// backwards, one end, and the last is what is stored.
func checkWay(rt *rapid.T, path, status string, can func(from, to string) bool, first string) {
	steps := strings.Fields(path)
	if len(steps) == 0 || steps[0] != first || steps[len(steps)-1] != status {
		rt.Fatalf("it is %s, its events say %q", status, path)
	}
	for i := 1; i < len(steps); i++ {
		if !can(steps[i-1], steps[i]) {
			rt.Fatalf("it went from %s to %s: %q", steps[i-1], steps[i], path)
		}
	}
}

// checkSuccess: what is successful, the device has reported.
func (m *machine) checkSuccess(rt *rapid.T, o Operation) {
	told := m.chips[o.EID].told
	if told == nil || !slices.ContainsFunc(told.Profiles, func(p Reported) bool { return p.ICCID == o.ICCID && (p.Active || o.Work == WorkDownload) }) {
		rt.Fatalf("%s (%s of %s) is successful, the device has said %+v", o.ID, o.Work, o.ICCID, told)
	}
}

// checkCode: a code is one transaction's at a time, and is not taken again after
// it was used.
func (m *machine) checkCode(rt *rapid.T, iccid ident.ICCID) {
	status, holder := CodeAvailable, ""
	for _, e := range m.house.events(m.t, string(iccid)) {
		if e.Account != m.by.Account {
			continue
		}
		to := CodeStatus(strings.TrimPrefix(e.Kind, "activation_code."))
		if !slices.Contains(CodeStatuses, to) {
			continue
		}
		var data struct{ Tx string }
		if err := json.Unmarshal(e.Data.(json.RawMessage), &data); err != nil {
			rt.Fatal(err)
		}
		switch {
		case !status.CanBecome(to):
			rt.Fatalf("the code of %s went from %s to %s", iccid, status, to)
		case status != CodeAvailable && data.Tx != holder:
			rt.Fatalf("the code of %s is %s of %s, and became %s by %s", iccid, status, holder, to, data.Tx)
		}
		status, holder = to, data.Tx
	}
	if got := m.codeStatus(m.t, iccid); got != status {
		rt.Fatalf("the code of %s is %s, its events say %s", iccid, got, status)
	}
}

// checkRecords: the records are the newest report, exactly.
func (m *machine) checkRecords(rt *rapid.T, eid ident.EID, c *chip) {
	page, err := m.ProfilesPage(context.Background(), m.by.Account, spec(m.t, ProfileSchema, "eid = '"+string(eid)+"'", "", 100))
	if err != nil {
		rt.Fatal(err)
	}
	var want, got []string
	if c.told != nil {
		for _, p := range c.told.Profiles {
			want = append(want, fmt.Sprint(p.ICCID, p.Active))
		}
	}
	actives := 0
	for _, p := range page.Items {
		got = append(got, fmt.Sprint(p.ICCID, p.Active))
		if p.Active {
			actives++
		}
	}
	slices.SortFunc(want, cmp.Compare[string])
	slices.SortFunc(got, cmp.Compare[string])
	if !slices.Equal(want, got) || actives > 1 {
		rt.Fatalf("after %q: the records of %s are %v, its device said %v", m.step, eid, got, want)
	}
}
