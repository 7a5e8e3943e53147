package euicc

import (
	"cmp"
	"errors"
	"slices"

	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
)

// Bounds of an IoT chip, in octets and entries.
const (
	maxPackage = 16 << 10 // of a package: sizeOverflow above it
	maxList    = 16 << 10 // of a list in a result: resultSizeOverflow above it
	maxResults = 64       // results that wait; the oldest gives way
)

// takePackage is ES10b.LoadEuiccPackage of SGP.32. The checks are in their order;
// what is refused before the signature has been verified is refused without one.
func (c *Card) takePackage(data []byte) ([]byte, error) {
	id, transaction, err := iot.ReadPackageHeader(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	unsigned := &iot.PackageResult{Unsigned: true, EimID: id, TransactionID: transaction}
	eim := c.state.eim(id)
	if eim == nil {
		return unsigned.Sign(nil, nil)
	}
	unsigned.Token = eim.Token
	config, err := eim.configuration()
	if err != nil {
		return nil, err
	}
	key, err := config.Key()
	if err != nil || key == nil {
		return unsigned.Sign(nil, nil)
	}
	q, err := iot.VerifyPackageRequest(data, key, eim.Token)
	if errors.Is(err, rsp.ErrSignature) {
		return unsigned.Sign(nil, nil)
	}
	if q == nil {
		return nil, refusal(swWrongData)
	}
	unreadable := iot.UnreadableCode(err)
	cred := c.cfg.eimCredential(config.CI)
	if cred == nil {
		return nil, errors.New("the chip has lost the credential for an eIM")
	}
	run := &execution{c: c, q: q, cred: cred, token: eim.Token}
	if code := cmp.Or(c.judgePackage(q, eim, len(data)), unreadable); code != rsp.ResultOK {
		return run.sign(&iot.PackageResult{ErrorCode: &code})
	}
	before := c.state.enabled()
	err = c.update(func(s *state) error {
		counted := *eim
		counted.Counter = q.Counter
		s.replaceEim(eim, counted)
		return run.execute(s)
	})
	if err != nil {
		return nil, err
	}
	if before != c.state.enabled() {
		c.restart(true)
	}
	return run.answer, nil
}

// judgePackage says why a package whose signature is good is not executed, or 0.
func (c *Card) judgePackage(q *iot.PackageRequest, eim *association, size int) int64 {
	switch {
	case q.EID != c.cfg.EID:
		return iot.PackageInvalidEID
	case q.Counter > iot.MaxCounter:
		return iot.PackageCounter
	case q.Counter <= eim.Counter:
		return iot.PackageReplay
	case c.state.emergency():
		return iot.PackageECallActive
	case size > maxPackage:
		return iot.PackageTooLong
	}
	return c.cfg.Faults.RefusePackages
}

// An execution is the run of one package. Profiles change at its end: the commands
// see each other's outcome, what is to be reported comes after the result.
type execution struct {
	c     *Card
	q     *iot.PackageRequest
	cred  *Credential
	token *int64 // with which the answer is signed

	before            *profile // enabled at the begin
	enabled, disabled bool     // there was such a command
	deleted           bool
	undo              *profile // enabled with rollback
	changes           []change
	results           []iot.OpResult
	answer            []byte
}

// sign completes and signs an answer.
func (x *execution) sign(p *iot.PackageResult) ([]byte, error) {
	p.EimID, p.Counter, p.TransactionID = x.q.EimID, x.q.Counter, x.q.TransactionID
	return p.Sign(x.c.signer(x.cred, SignedPackageResult), x.token)
}

// execute runs the commands on a state that is to be committed: counter, changes,
// result and notifications are one commit.
func (x *execution) execute(s *state) error {
	x.before = s.enabled()
	for i := range x.q.PSMO {
		if !x.add(x.profileCommand(s, &x.q.PSMO[i])) {
			break
		}
	}
	for i := range x.q.ECO {
		if !x.add(x.eimCommand(s, &x.q.ECO[i])) {
			break
		}
	}
	sequence := s.nextSequence()
	var err error
	if x.answer, err = x.sign(&iot.PackageResult{Sequence: sequence, Results: x.results}); err != nil {
		return err
	}
	s.keepResult(sequence, x.answer)
	before := ident.ICCID("")
	if x.before != nil {
		before = x.before.ICCID
	}
	if enabledICCID(s) != before {
		// A change that is not the eIM's own undoing ends what could be undone or
		// returned from before.
		s.Rollback, s.InFallback, s.BeforeFallback = nil, false, ""
	}
	if x.undo != nil && x.undo.ICCID == enabledICCID(s) {
		s.Rollback = &rollback{
			EimID: x.q.EimID, Sequence: sequence, Previous: x.before.ICCID, Enabled: x.undo.ICCID,
		}
	}
	for _, change := range x.changes {
		if err := x.c.notify(s, change.profile, change.event); err != nil {
			return err
		}
	}
	return nil
}

// add records a result and reports whether the next command is to be executed. One
// that failed does not stop those after it; one that could not be processed does.
func (x *execution) add(r iot.OpResult) bool {
	x.results = append(x.results, r)
	return !r.Terminated
}

func (s *state) keepResult(sequence int64, raw []byte) {
	if len(s.Results) >= maxResults {
		s.Results = slices.Delete(s.Results, 0, len(s.Results)-maxResults+1)
	}
	s.Results = append(s.Results, &packageResult{Sequence: sequence, Raw: raw})
}

func terminated(code int64) iot.OpResult { return iot.OpResult{Terminated: true, Code: code} }

// profileCommand runs one profile state management operation. SGP.32 v1.2, 3.4.
func (x *execution) profileCommand(s *state, p *iot.PSMO) iot.OpResult {
	r := iot.OpResult{Op: p.Op}
	target := s.byICCID(p.ICCID)
	switch p.Op {
	case iot.OpEnable:
		if x.enabled {
			return terminated(iot.TerminatedUnknown) // one of a kind
		}
		x.enabled = true
		r.Code = x.enable(s, target, p.Rollback)
	case iot.OpDisable:
		if x.disabled {
			return terminated(iot.TerminatedUnknown)
		}
		x.disabled = true
		if r.Code = x.policy(s.mayDisable(target)); r.Code == rsp.ResultOK {
			x.changes = append(x.changes, s.switchTo(nil)...)
		}
	case iot.OpDelete:
		x.deleted = true
		r.Code = x.delete(s, target)
	case iot.OpList:
		return x.list(s, p)
	case iot.OpGetRAT:
		r.RAT = x.c.cfg.RAT
	case iot.OpImmediate:
		s.Immediate = p.Immediate
		if !p.Immediate.Allowed {
			s.Immediate = nil
		}
	case iot.OpSetFallback:
		r.Code = s.setFallback(target)
	case iot.OpDropFallback:
		r.Code = s.dropFallback()
	case iot.OpSetDefaultDP:
		r.Code = s.setDefaultDP(p.Address)
	default:
		return terminated(iot.TerminatedUnknown)
	}
	return r
}

// policy gives refusals of enabling and disabling the numbers that they have here.
func (x *execution) policy(code int64) int64 {
	switch {
	case x.c.toolkit.busy:
		return rsp.ResultCATBusy
	case code == rsp.ResultWrongReenabling:
		return rsp.ResultPolicy
	}
	return code
}

func (x *execution) enable(s *state, target *profile, rollback bool) int64 {
	if code := x.policy(s.mayEnable(target)); code != rsp.ResultOK {
		return code
	}
	if rollback {
		if x.before == nil || s.byICCID(x.before.ICCID) == nil {
			return iot.ResultNoRollback // there is nothing to go back to
		}
		x.undo = target
	}
	x.changes = append(x.changes, s.switchTo(target)...)
	return rsp.ResultOK
}

func (x *execution) delete(s *state, target *profile) int64 {
	if code := s.mayDelete(target); code != rsp.ResultOK {
		return code
	}
	switch {
	case x.undo != nil && target.ICCID == x.before.ICCID:
		return iot.ResultNoRollback
	case s.Rollback != nil && target.ICCID == s.Rollback.Previous:
		return iot.ResultNoRollback
	case s.InFallback && target.ICCID == s.BeforeFallback:
		return iot.ResultReturnFallback
	}
	s.erase(target)
	x.changes = append(x.changes, change{target, rsp.EventDelete})
	return rsp.ResultOK
}

func (x *execution) list(s *state, p *iot.PSMO) iot.OpResult {
	r := iot.OpResult{Op: iot.OpList}
	if x.enabled || x.disabled || x.deleted {
		r.Code = iot.ResultChangeOngoing
		return r
	}
	if r.Profiles, r.Code = s.profilesInfo(p.List, x.c.cfg.defaultTags()); r.Code != rsp.ResultOK {
		return r
	}
	if len(rsp.AppendProfileInfoList(nil, r.Profiles)) > maxList {
		return terminated(iot.TerminatedTooLong)
	}
	return r
}

// eimCommand runs one eIM configuration operation. SGP.32 v1.2, 3.5.1.
func (x *execution) eimCommand(s *state, o *iot.ECO) iot.OpResult {
	r := iot.OpResult{Op: o.Op}
	switch o.Op {
	case iot.OpAddEim:
		return x.c.cfg.addEim(s, o.Config)
	case iot.OpUpdateEim:
		r.Code = x.c.cfg.updateEim(s, o.Config)
	case iot.OpDeleteEim:
		r.Code = s.deleteEim(o.EimID)
	case iot.OpListEim:
		return s.listEim()
	default:
		return terminated(iot.TerminatedUnknown)
	}
	return r
}
