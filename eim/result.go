package eim

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"godwit/db"
	"godwit/explain"
	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
)

// busyPause is how long a task waits that the eUICC could not take because of an
// emergency call.
const busyPause = time.Minute

// A claim is one answer of an IPA on its way to be believed or not.
type claim struct {
	eid  ident.EID // as the IPA says, or that of the task; "" while unknown
	acks []int64
	code int64 // provideEimPackageResultError, 0 for none

	verifier *verifier
}

func (c *claim) acknowledge(sequence int64) { c.acks = append(c.acks, sequence) }

// provide takes ESipa.ProvideEimPackageResult of SGP.32. What is not believed
// changes nothing and is acknowledged to nobody. The error is trouble of ours,
// after which the IPA is to come again.
func (s *Server) provide(ctx context.Context, q *iot.ProvideEimPackageResult) (*iot.ProvideEimPackageResultResponse, error) {
	v, err := s.foresee(ctx, broughtBy(q))
	if err != nil {
		return nil, fmt.Errorf("verify result of %s: %w", q.EID, err)
	}
	var c *claim
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		c = &claim{eid: q.EID, verifier: v}
		return s.take(ctx, tx, c, q)
	})
	if err != nil {
		return nil, fmt.Errorf("take result of %s: %w", q.EID, err)
	}
	return &iot.ProvideEimPackageResultResponse{Acknowledged: c.acks, Error: c.code}, nil
}

func (s *Server) take(ctx context.Context, tx *db.Tx, c *claim, q *iot.ProvideEimPackageResult) (err error) {
	switch {
	case q.PackageResult != nil:
		err = s.takePackage(ctx, tx, c, q.PackageResult)
	case q.DataResponse != nil:
		err = s.takeData(ctx, tx, c, q.DataResponse)
	case q.DownloadResult != nil:
		err = s.takeDownload(ctx, tx, c, q.DownloadResult)
	case q.Error != nil:
		err = s.takeError(ctx, tx, c, q.Error)
	default:
		c.code = undefined
	}
	if err != nil || c.code != 0 {
		return err
	}
	return s.takeNotifications(ctx, tx, c, q.Notifications)
}

// place finds the task that an answer is for, and locks its eUICC. tag is the
// message that a package under way must be for an answer that names no
// transaction to belong to it. The task is nil where there is none; the eUICC is
// nil where c.code says why.
func (s *Server) place(ctx context.Context, tx *db.Tx, c *claim, transaction []byte, fits func(octets []byte, counter int64) bool) (*euicc, *task, *underWay, error) {
	if c.eid == "" {
		t, err := s.taskByTransaction(ctx, tx, transaction)
		if err != nil {
			return nil, nil, nil, err
		}
		if t == nil {
			c.code = iot.EimMissingEID
			return nil, nil, nil, nil
		}
		c.eid = t.eid
	}
	e, err := lock(ctx, tx, c.eid)
	if err != nil {
		return nil, nil, nil, err
	}
	if e == nil {
		c.code = iot.EimEIDNotFound
		return nil, nil, nil, nil
	}
	t, err := s.taskByTransaction(ctx, tx, transaction)
	if err != nil || t != nil && t.eid != c.eid {
		return e, nil, nil, err
	}
	w := &underWay{}
	err = tx.QueryRowContext(ctx, `select task, phase, counter, octets from eim_package where eid = $1`, string(c.eid)).
		Scan(&w.task, &w.phase, &w.counter, &w.octets)
	if errors.Is(err, sql.ErrNoRows) {
		w, err = nil, nil
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read package under way: %w", err)
	}
	if t == nil && w != nil && len(transaction) == 0 && fits(w.octets, w.counter) {
		if t, err = s.readTask(ctx, tx, `id = $1`, w.task); err != nil {
			return nil, nil, nil, err
		}
	}
	if w != nil && (t == nil || w.task != t.id) {
		w = nil
	}
	return e, t, w, nil
}

// underWay is a row of eim_package.
type underWay struct {
	task    string
	phase   string
	counter int64
	octets  []byte
}

// isMessage returns what tells whether a package is a message with a tag.
func isMessage(tag byte) func([]byte, int64) bool {
	return func(octets []byte, _ int64) bool { return bytes.HasPrefix(octets, []byte{0xBF, tag}) }
}

// known reports whether the same octets were believed before. The IPA repeats
// what it has no acknowledgement for, and the repetition is answered alike.
func (s *Server) known(ctx context.Context, q db.Query, eid ident.EID, v *evidence) (bool, error) {
	var verdict string
	err := q.QueryRowContext(ctx, `select verdict from eim_result where eid = $1 and digest = $2`, string(eid), v.digest()).Scan(&verdict)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the same result: %w", err)
	}
	return verdict != refused, nil
}

// takePackage takes an eUICC package result, BF51.
func (s *Server) takePackage(ctx context.Context, tx *db.Tx, c *claim, der []byte) error {
	head, err := iot.ReadResultHeader(der)
	if err != nil {
		c.code = undefined
		return nil
	}
	e, t, w, err := s.place(ctx, tx, c, head.TransactionID, func(_ []byte, counter int64) bool {
		return counter > 0 && (head.Unsigned || head.Counter == counter)
	})
	if err != nil || e == nil {
		return err
	}
	v := &evidence{kind: evidencePackage, octets: der}
	refuse := func(format string, args ...any) error {
		return s.keep(ctx, tx, c.eid, taskID(t), v, refused, fmt.Sprintf(format, args...))
	}
	if head.EimID != s.cfg.ID {
		return refuse("it is a result for eIM %q", head.EimID)
	}
	if head.Unsigned {
		v.witness = ByIPA
		return s.unsigned(ctx, tx, e, t, w, head, v)
	}
	key, witness, err := e.key()
	if err != nil {
		return err
	}
	v.witness = witness
	if key == nil {
		return refuse("no certificate of the eUICC is known that could prove it")
	}
	if witness == ByAgent {
		v.agentKey = e.agentKey
	}
	result, err := c.verifier.result(der, key, e.tokenValue())
	if err != nil {
		if failed := refuse("%v", err); failed != nil || t == nil || w == nil || t.stage != Sent {
			return failed
		}
		return s.doubt(ctx, tx, e, t, err.Error())
	}
	if err := s.setTrouble(ctx, tx, e, ""); err != nil {
		return err
	}
	if same, err := s.known(ctx, tx, c.eid, v); err != nil {
		return err
	} else if same {
		if result.ErrorCode == nil {
			c.acknowledge(result.Sequence)
		}
		return nil
	}
	if t == nil || w == nil || t.stage != Sent || w.counter != result.Counter {
		return s.lateWord(ctx, tx, c, e, t, result, v)
	}
	if err := s.keep(ctx, tx, c.eid, t.id, v, accepted, ""); err != nil {
		return err
	}
	if result.ErrorCode != nil {
		return s.signedError(ctx, tx, e, t, w, *result.ErrorCode, v)
	}
	c.acknowledge(result.Sequence)
	return s.apply(ctx, tx, e, t, result, v)
}

// mostDoubted is how many results that nobody can believe a package of the
// eIM's own making is kept under way for.
const mostDoubted = 3

// doubt notes why an eUICC was not believed, for those who will wonder why their
// task ran out of time. Anybody may have sent what did not verify, so it ends no
// task of theirs; but a list of profiles makes room for what waits behind it, and
// comes again later.
func (s *Server) doubt(ctx context.Context, tx *db.Tx, e *euicc, t *task, why string) error {
	if err := s.setTrouble(ctx, tx, e, why); err != nil || !t.own || t.kind != List {
		return err
	}
	var all, here int
	if err := tx.QueryRowContext(ctx, `select count(*), coalesce(sum(case when task = $2 then 1 else 0 end), 0) from eim_result
		where eid = $1 and verdict = 'refused'`, string(e.eid), t.id).Scan(&all, &here); err != nil {
		return fmt.Errorf("count refused results of %s: %w", e.eid, err)
	}
	if here < mostDoubted && all < mostRefused {
		return nil
	}
	return s.retry(ctx, tx, t, s.now()+max(s.listBackoff(t.attempt), listPause).Microseconds())
}

// setTrouble notes why an eUICC is not believed; "" ends the doubt in it.
func (s *Server) setTrouble(ctx context.Context, tx *db.Tx, e *euicc, why string) error {
	if why = db.Text(why, maxMessage); why == e.trouble {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `update eim_euicc set trouble = $2 where eid = $1`, string(e.eid), why); err != nil {
		return fmt.Errorf("keep trouble of %s: %w", e.eid, err)
	}
	e.trouble = why
	return nil
}

func taskID(t *task) string {
	if t == nil {
		return ""
	}
	return t.id
}

// lateWord takes a result that is proved and that nobody waits for any more. It
// moves no task, but it may mean that the profiles are not what they were.
func (s *Server) lateWord(ctx context.Context, tx *db.Tx, c *claim, e *euicc, t *task, result *iot.PackageResult, v *evidence) error {
	why := "no task of this eIM is known for it"
	if t != nil {
		why = fmt.Sprintf("its task is %s", t.stage)
		if t.stage == Sent {
			why = fmt.Sprintf("it is for counter %d, which is not the one under way", result.Counter)
		}
	}
	if err := s.keep(ctx, tx, c.eid, taskID(t), v, late, why); err != nil {
		return err
	}
	if result.ErrorCode != nil {
		return nil
	}
	c.acknowledge(result.Sequence)
	if t != nil && t.kind == List {
		return nil
	}
	if t != nil && t.stage == Done {
		// The answer to the eIM's first word was lost, so the device took the new
		// profile for one without a way to the eIM, and went back.
		if o := judge(t, result.Results); o.reason == rolledBack {
			o.evidence, o.results = v, result.Results
			if err := s.tell(ctx, tx, t, Failed, o); err != nil {
				return err
			}
		}
	}
	return s.wantList(ctx, tx, e.eid, s.now())
}

// signedError takes an eUICC's word that it did not execute a package.
func (s *Server) signedError(ctx context.Context, tx *db.Tx, e *euicc, t *task, w *underWay, code int64, v *evidence) error {
	o := ending{code: code, reason: "refused", evidence: v}
	switch code {
	case iot.PackageReplay:
		if w.phase == phaseAsk {
			return nil
		}
		// It has seen this counter or a greater one: most likely it has executed
		// the package and the result was lost on its way.
		if _, err := tx.ExecContext(ctx, `update eim_package set phase = 'ask', octets = $2 where eid = $1`, string(e.eid), askResult(t)); err != nil {
			return fmt.Errorf("ask for result of task %s: %w", t.id, err)
		}
		return nil
	case iot.PackageECallActive:
		return s.retry(ctx, tx, t, s.now()+busyPause.Microseconds())
	case iot.PackageInvalidEID:
		o.message = "the eUICC has another EID"
	case iot.PackageCounter:
		o.message = "the eUICC takes no greater counter: give it a new key of the eIM"
	case iot.PackageTooLong:
		o.message = "the package is too large for the eUICC"
	default:
		o.message = fmt.Sprintf("the eUICC did not execute the package: error %d", code)
	}
	return s.finish(ctx, tx, t, fail, o)
}

const phaseAsk = "ask"

// unsigned takes the error of an eUICC that does not know this eIM, or does not
// believe its signature. Anybody on the way could have sent it, so it ends no
// more than the package that is under way, whose loss would have the same effect.
func (s *Server) unsigned(ctx context.Context, tx *db.Tx, e *euicc, t *task, w *underWay, result *iot.PackageResult, v *evidence) error {
	if t == nil || w == nil || t.stage != Sent || w.phase == phaseAsk || w.counter == 0 {
		return s.keep(ctx, tx, e.eid, taskID(t), v, refused, "an unsigned error for a package that is not under way")
	}
	if err := s.keep(ctx, tx, e.eid, t.id, v, accepted, ""); err != nil {
		return err
	}
	if n := result.Token; n != nil && (!e.token.Valid || e.token.Int64 != *n) && t.attempt < 3 {
		// It was signed over another association token than the eUICC has. The
		// package under the wrong one can never be executed.
		if _, err := tx.ExecContext(ctx, `update eim_euicc set token = $2 where eid = $1`, string(e.eid), *n); err != nil {
			return fmt.Errorf("store association token of %s: %w", e.eid, err)
		}
		return s.retry(ctx, tx, t, s.now())
	}
	return s.finish(ctx, tx, t, fail, ending{
		code: undefined, reason: "refused", evidence: v,
		message: "the eUICC does not know this eIM, or does not believe its signature",
	})
}

// apply ends a task with what the eUICC has signed.
func (s *Server) apply(ctx context.Context, tx *db.Tx, e *euicc, t *task, result *iot.PackageResult, v *evidence) error {
	o := judge(t, result.Results)
	o.evidence, o.results = v, result.Results
	if again, err := s.withoutRollback(ctx, tx, e, t, &o); err != nil || again {
		return err
	}
	a := fail
	if o.code == 0 || o.reason == "already_done" {
		a = succeed
	}
	if t.kind == List && a == succeed {
		if err := s.listed(ctx, tx, e, result, v); err != nil {
			return err
		}
	}
	if err := s.finish(ctx, tx, t, a, o); err != nil {
		return err
	}
	if a == succeed {
		if err := s.reassociate(ctx, tx, e, t); err != nil {
			return err
		}
	}
	switch t.kind {
	case Enable, Disable, Delete, SetFallback, UnsetFallback:
		// After a failure, too: what we thought of the profiles was wrong.
		return s.wantList(ctx, tx, e.eid, s.now())
	}
	return nil
}

// listed keeps a list of profiles and reports it.
func (s *Server) listed(ctx context.Context, tx *db.Tx, e *euicc, result *iot.PackageResult, v *evidence) error {
	now := s.now()
	if _, err := tx.ExecContext(ctx, `update eim_euicc set profiles = $2, listed_at = $3, list_due_at = $4 where eid = $1`,
		string(e.eid), v.octets, now, now+s.cfg.Refresh.Microseconds()); err != nil {
		return fmt.Errorf("keep profiles of %s: %w", e.eid, err)
	}
	if s.cfg.Inventory == nil {
		return nil
	}
	err := s.cfg.Inventory(ctx, tx, Inventory{
		EID: e.eid, Profiles: result.Results[0].Profiles, Evidence: v.octets, EvidenceKind: v.kind, Witness: v.witness, At: s.cfg.Now(),
	})
	if err != nil {
		return fmt.Errorf("report profiles of %s: %w", e.eid, err)
	}
	return nil
}

// reassociate keeps what a change of this eIM's own configuration in the eUICC
// means for what we send it.
func (s *Server) reassociate(ctx context.Context, tx *db.Tx, e *euicc, t *task) error {
	if t.spec.EIM == nil || t.spec.EIM.ID != s.cfg.ID {
		return nil
	}
	switch t.kind {
	case UpdateEIM:
		counter := e.counter
		if n := t.spec.EIM.Counter; n != nil && t.spec.Key != e.signingKey {
			// With a new key old packages are void, whatever their counters.
			counter = *n
		}
		if _, err := tx.ExecContext(ctx, `update eim_euicc set signing_key = $2, counter = $3 where eid = $1`,
			string(e.eid), t.spec.Key, counter); err != nil {
			return fmt.Errorf("store association of %s: %w", e.eid, err)
		}
	case DeleteEIM:
		// The eUICC takes nothing from here any more.
		if err := s.cancelAll(ctx, tx, e.eid, "the eUICC was told to forget this eIM"); err != nil {
			return err
		}
		return s.Forget(ctx, tx, e.eid)
	}
	return nil
}

// ops are what the results of the kinds are called.
var ops = map[Kind]iot.Op{
	Enable: iot.OpEnable, Disable: iot.OpDisable, Delete: iot.OpDelete, List: iot.OpList, GetRAT: iot.OpGetRAT,
	Immediate: iot.OpImmediate, SetFallback: iot.OpSetFallback, UnsetFallback: iot.OpDropFallback, SetDefaultDP: iot.OpSetDefaultDP,
	AddEIM: iot.OpAddEim, UpdateEIM: iot.OpUpdateEim, DeleteEIM: iot.OpDeleteEim, ListEIM: iot.OpListEim,
}

// judge says how a task ended by its results: one, and for an enabling that was
// to be rolled back the result of that besides or instead. An eUICC that could not
// go back is on the new profile still.
func judge(t *task, results []iot.OpResult) ending {
	for _, r := range results {
		if r.Op != iot.OpRollback || r.Terminated {
			continue
		}
		if r.Code != rsp.ResultOK {
			return ending{reason: "complete", message: fmt.Sprintf("the new profile could not reach the eIM for some time, and the eUICC did not go back: error %d", r.Code)}
		}
		return ending{code: undefined, reason: rolledBack, message: "the new profile could not reach the eIM; the device is back on the old one"}
	}
	if len(results) == 0 {
		return ending{code: undefined, reason: "refused", message: "the eUICC reports no result of the command"}
	}
	r := results[0]
	if r.Terminated {
		return ending{code: undefined, reason: "refused", message: cause("processingTerminated", r.Code, fmt.Sprintf("the eUICC broke off before the command: %d", r.Code))}
	}
	if r.Op != ops[t.kind] {
		return ending{code: undefined, reason: "refused", message: fmt.Sprintf("the result is one of %q, not of %q", r.Op, ops[t.kind])}
	}
	if r.Code == rsp.ResultOK || t.kind == DeleteEIM && r.Code == iot.ResultLastEimDeleted {
		return ending{reason: "complete"}
	}
	reason, message := reasonOf(t.kind, r.Code)
	return ending{code: r.Code, reason: reason, message: message}
}

// functions are the functions of an eUICC that explain the results of the kinds.
var functions = map[Kind]string{
	Enable: "EnableProfile", Disable: "DisableProfile", Delete: "DeleteProfile", List: "GetProfilesInfo",
	Immediate: "ConfigureImmediateEnable", SetFallback: "SetFallbackAttribute", UnsetFallback: "UnsetFallbackAttribute",
	AddEIM: "AddEim", UpdateEIM: "UpdateEim", DeleteEIM: "DeleteEim", ListEIM: "ListEim",
}

// cause says in words why a function of the eUICC failed, and otherwise what is
// known of a code that nobody has explained.
func cause(function string, code int64, otherwise string) string {
	if entry, ok := explain.ES10(function, int(code)); ok && function != "" {
		return entry.Cause
	}
	return otherwise
}

// reasonOf says in a short code and in words why an eUICC did not do something.
func reasonOf(k Kind, code int64) (reason, message string) {
	message = cause(functions[k], code, fmt.Sprintf("the eUICC reports error %d of %s", code, ops[k]))
	switch k {
	case Enable, Disable, Delete, SetFallback:
	default:
		return "refused", message
	}
	switch {
	case code == 1:
		return "profile_missing", "the eUICC has no such profile"
	case code == 2 && k == Enable:
		return "already_done", "the profile is enabled"
	case code == 2 && k == Disable:
		return "already_done", "the profile is disabled"
	case code == 2 && k == Delete:
		return "profile_active", "the profile is enabled; only a disabled one can be deleted"
	case code == 2:
		return "policy", "the profile may not be the fallback profile"
	case code == 3 && k == SetFallback:
		return "profile_active", "the present fallback profile is enabled"
	case code == 3:
		return "policy", "the policy rules of the profile do not allow it"
	case code == 20:
		return "refused", "the eUICC cannot roll back, which was asked for"
	case code == 21:
		return "policy", "the eUICC needs the profile to return from the fallback profile"
	case code == 5:
		return "refused", "the eUICC or its toolkit is busy"
	}
	return "refused", message
}

// takeError takes an IPA's word that it could do nothing with a package.
func (s *Server) takeError(ctx context.Context, tx *db.Tx, c *claim, q *iot.ResultError) error {
	e, t, w, err := s.place(ctx, tx, c, q.TransactionID, func([]byte, int64) bool { return true })
	if err != nil || e == nil {
		return err
	}
	if t == nil || w == nil || t.stage != Sent {
		return nil
	}
	message := fmt.Sprintf("the IPA reports error %d", q.Code)
	switch q.Code {
	case iot.ResultInvalidFormat:
		message = "the IPA does not understand the package"
	case iot.ResultUnknownPackage:
		message = "the IPA does not know this kind of package"
	}
	v := &evidence{kind: evidenceError, octets: iot.AppendASN1Request(nil, &iot.ProvideEimPackageResult{EID: c.eid, Error: q}), witness: ByIPA}
	if err := s.keep(ctx, tx, c.eid, t.id, v, accepted, ""); err != nil {
		return err
	}
	if w.phase == phaseAsk {
		return s.unresolved(ctx, tx, e, t)
	}
	if t.own && t.kind == Data {
		return s.askAgain(ctx, tx, e, t, message, nil)
	}
	if err := s.finish(ctx, tx, t, fail, ending{code: q.Code, reason: "refused", message: message, evidence: v}); err != nil || !t.kind.signed() || t.kind == List {
		return err
	}
	return s.wantList(ctx, tx, e.eid, s.now())
}
