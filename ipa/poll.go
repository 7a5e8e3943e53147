package ipa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
)

// Poll finishes what was interrupted, delivers what waits, asks the eIM for one
// package, has it executed and delivers the result. It reports whether there may
// be more at once: there was a package, and not the one of the poll before, which an
// eIM hands out again that does not believe the result.
func (p *IPA) Poll(ctx context.Context) (more bool, err error) {
	p.busy.Lock()
	defer p.busy.Unlock()
	if err := p.open(); err != nil {
		return false, err
	}
	if err := p.Chip.LPA().Revive(); err != nil {
		return false, err
	}
	if err := p.resume(ctx); err != nil {
		return false, err
	}
	var answer *iot.GetEimPackageResponse
	err = p.step(StepPoll, p.ESipa.URL, func() error {
		answer, err = p.ask(ctx)
		return err
	})
	if err != nil {
		return false, err
	}
	handed := slices.Concat(answer.EUICCPackage, answer.DataRequest, answer.DownloadTrigger, answer.Unknown)
	p.again = len(handed) > 0 && bytes.Equal(handed, p.last)
	p.last = handed
	switch {
	case answer.EUICCPackage != nil:
		err = p.load(ctx, answer.EUICCPackage)
	case answer.DataRequest != nil:
		err = p.data(ctx, answer.DataRequest)
	case answer.DownloadTrigger != nil:
		err = p.trigger(ctx, answer.DownloadTrigger)
	case answer.Unknown != nil:
		err = p.refuse(ctx, nil, iot.ResultUnknownPackage)
	default:
		p.notify(ctx)
		return false, nil
	}
	if err != nil {
		p.last = nil // it comes again because of us
	}
	return !p.again && err == nil, err
}

// resume finishes what an earlier poll, perhaps of an earlier life, began.
func (p *IPA) resume(ctx context.Context) error {
	if p.state.Trial {
		if err := p.prove(ctx); err != nil {
			return err
		}
	}
	if p.state.Download != nil {
		if err := p.download(ctx); err != nil {
			return err
		}
	}
	if err := p.deliver(ctx); err != nil {
		return err
	}
	if p.state.Reconnect {
		return p.reconnect()
	}
	return nil
}

// ask makes one poll.
func (p *IPA) ask(ctx context.Context) (*iot.GetEimPackageResponse, error) {
	q := &iot.GetEimPackageRequest{EID: p.Chip.EID(), StateChanged: p.state.Changed, Cause: p.state.Cause}
	if p.RPLMN != nil {
		q.RPLMN = p.RPLMN()
	}
	answer, err := p.ESipa.GetEimPackage(ctx, q)
	if err == nil || answered(err) {
		p.noteContact()
	}
	if err != nil {
		return nil, err
	}
	if q.StateChanged {
		p.state.Changed, p.state.Cause = false, nil
		if err := p.save(); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// changed notes that the eIM is to hear of a change that it did not order.
func (p *IPA) changed(cause int64) error {
	p.state.Changed, p.state.Cause = true, &cause
	return p.save()
}

// load has the chip execute a package and delivers the result.
func (p *IPA) load(ctx context.Context, der []byte) error {
	trial, associations := false, false
	if q, err := iot.ReadPackageRequest(der); err == nil {
		trial = slices.ContainsFunc(q.PSMO, func(o iot.PSMO) bool { return o.Op == iot.OpEnable && o.Rollback })
		associations = q.ECO != nil
	}
	if trial || associations {
		p.state.Trial, p.state.Reconnect = trial, p.state.Reconnect || associations
		if err := p.save(); err != nil {
			return err
		}
	}
	var result *iot.PackageResult
	err := p.step(StepPackage, describe(der), func() error {
		answer, err := p.Chip.LoadPackage(der)
		if err != nil {
			return err
		}
		result, err = iot.ReadResult(answer)
		if err == nil {
			err = failed(result)
		}
		return err
	})
	if errors.Is(err, ErrFormat) {
		return p.refuse(ctx, transactionOf(der), iot.ResultInvalidFormat)
	}
	if result == nil {
		return err // what the chip did, or did not, is found by the next poll
	}
	if trial && enabled(result) {
		return p.prove(ctx)
	}
	if trial {
		p.state.Trial = false
		if err := p.save(); err != nil {
			return err
		}
	}
	if result.Unsigned || result.ErrorCode != nil {
		// The chip does not keep these; the eIM sends the package again if this one
		// is lost, and gets the same answer.
		_, err := p.provide(ctx, &iot.ProvideEimPackageResult{PackageResult: result.Raw}, "error of a package")
		return err
	}
	if err := p.Chip.LPA().Revive(); err != nil {
		return err
	}
	return p.deliver(ctx)
}

// enabled reports whether a package has enabled a profile.
func enabled(r *iot.PackageResult) bool {
	return slices.ContainsFunc(r.Results, func(o iot.OpResult) bool { return o.Op == iot.OpEnable && o.Code == rsp.ResultOK })
}

// failed returns what a result says went wrong, for people.
func failed(r *iot.PackageResult) error {
	switch {
	case r.Unsigned:
		return errors.New("the eUICC does not know the eIM, or its signature is wrong")
	case r.ErrorCode != nil:
		return &lpa.ChipError{Function: "EuiccPackage", Code: *r.ErrorCode}
	}
	var errs []error
	for i := range r.Results {
		o := &r.Results[i]
		switch {
		case o.Terminated:
			errs = append(errs, fmt.Errorf("the eUICC broke the package off at command %d: code %d", i+1, o.Code))
		case o.Code != rsp.ResultOK && (o.Op != iot.OpDeleteEim || o.Code != iot.ResultLastEimDeleted):
			errs = append(errs, fmt.Errorf("%s failed with code %d", o.Op, o.Code))
		}
	}
	return errors.Join(errs...)
}

// describe says what is in a package.
func describe(der []byte) string {
	q, err := iot.ReadPackageRequest(der)
	if err != nil {
		return "unreadable"
	}
	text := fmt.Sprintf("%d:", q.Counter)
	for _, o := range q.PSMO {
		text += " " + string(o.Op)
		if o.ICCID != "" {
			text += " " + string(o.ICCID)
		}
	}
	for _, o := range q.ECO {
		text += " " + string(o.Op) + " " + o.EimID
	}
	return text
}

// transactionOf returns the eimTransactionId of a package, if it can be read.
func transactionOf(der []byte) []byte {
	_, id, _ := iot.ReadPackageHeader(der)
	return id
}

// refuse tells the eIM that a package was none.
func (p *IPA) refuse(ctx context.Context, transaction []byte, code int64) error {
	_, err := p.provide(ctx, &iot.ProvideEimPackageResult{Error: &iot.ResultError{TransactionID: transaction, Code: code}}, "refusal of a package")
	return err
}

// provide brings one result and returns the numbers that the eIM acknowledged.
func (p *IPA) provide(ctx context.Context, q *iot.ProvideEimPackageResult, about string) (acknowledged []int64, err error) {
	q.EID = p.Chip.EID()
	err = p.step(StepResult, about, func() error {
		acknowledged, err = p.ESipa.ProvideEimPackageResult(ctx, q)
		return err
	})
	if err == nil {
		p.noteContact()
	}
	return acknowledged, err
}

// holdOff is how long a result rests that the eIM answered but did not
// acknowledge.
const holdOff = time.Minute

// deliver brings the eIM the results that wait, oldest first, until it has
// acknowledged them. The error is of the chip or of the way to the eIM: a result
// that the eIM refuses must not stand before the others.
func (p *IPA) deliver(ctx context.Context) error {
	results, err := p.Chip.Results()
	if err != nil {
		return err
	}
	for _, der := range results {
		header, err := iot.ReadResultHeader(der)
		if err != nil { // one that nobody can read must not stand before the others
			p.log().Warn("the eUICC holds a result that cannot be read", "err", err)
			continue
		}
		n := header.Sequence
		if p.EimID != "" && header.EimID != p.EimID || time.Now().Before(p.held[n]) {
			continue
		}
		acknowledged, err := p.provide(ctx, &iot.ProvideEimPackageResult{PackageResult: der}, fmt.Sprintf("package %d", header.Counter))
		if err != nil && !answered(err) {
			return err
		}
		p.hold(n)
		if err := p.forget(acknowledged, map[int64]bool{n: true}); err != nil {
			return err
		}
	}
	return p.deliverOutcomes(ctx)
}

// hold lets a result rest.
func (p *IPA) hold(n int64) {
	if p.held == nil {
		p.held = map[int64]time.Time{}
	}
	p.held[n] = time.Now().Add(holdOff)
}

// forget has the chip forget what the eIM acknowledged, of what it was sent.
func (p *IPA) forget(acknowledged []int64, sent map[int64]bool) error {
	for _, n := range acknowledged {
		if !sent[n] {
			p.log().Debug("the eIM acknowledged a number that it was not sent", "sequence", n)
			continue
		}
		if err := p.Chip.Remove(n); err != nil {
			return err
		}
		delete(sent, n)
		delete(p.held, n)
	}
	return nil
}

// notify delivers notifications. What stays is tried again later, with growing
// pauses: a server that is gone must not slow the polls.
func (p *IPA) notify(ctx context.Context) {
	if time.Now().Before(p.notifyAfter) {
		return
	}
	p.LPA.Deliver = nil
	if p.Indirect {
		p.LPA.Deliver = func(ctx context.Context, n *rsp.PendingNotification) error {
			return p.ESipa.HandleNotification(ctx, n.Raw)
		}
	}
	deliveries, err := p.LPA.Notify(ctx)
	for _, d := range deliveries {
		err = errors.Join(err, d.Err)
	}
	if err == nil {
		p.notifyFailures, p.notifyAfter = 0, time.Time{}
		return
	}
	p.notifyAfter = time.Now().Add(p.backoff(p.notifyFailures))
	p.notifyFailures++
	p.log().Warn("notifications wait", "err", err, "until", p.notifyAfter)
}

// reconnect makes the client of the eIM that the eUICC is associated with now.
func (p *IPA) reconnect() error {
	if p.Connect == nil {
		p.state.Reconnect = false
		return p.save()
	}
	return p.step(StepConnect, "", func() error {
		eims, err := p.Chip.Eims()
		if err != nil {
			return err
		}
		if len(eims) == 0 {
			if p.ESipa == nil {
				return errors.New("the eUICC is not associated with an eIM")
			}
			p.state.Reconnect = false // the last eIM still gets its results
			return p.save()
		}
		at := slices.IndexFunc(eims, func(c iot.EimConfiguration) bool { return c.ID == p.EimID })
		client, err := p.Connect(&eims[max(at, 0)])
		if err != nil {
			return err
		}
		p.ESipa, p.EimID = client, eims[max(at, 0)].ID
		p.state.Reconnect = false
		return p.save()
	})
}

// noteContact notes that the eIM was reached.
func (p *IPA) noteContact() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.contact = time.Now()
}
