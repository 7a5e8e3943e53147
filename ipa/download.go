package ipa

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"godwit/ident"
	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
)

// maxAttempts is how often one download is begun: losses of network and of power
// count. The pauses of [IPA.Run] are between them.
const maxAttempts = 8

// maxOutcomes is how many delivered results are remembered, so that a trigger that
// comes again gets its result again.
const maxOutcomes = 8

// A download is a trigger that is being carried out.
type download struct {
	Trigger  []byte // BF54
	Attempts int
	// Run is the SM-DP+'s transaction from the moment at which the chip may have
	// installed the profile: its word on it names the transaction.
	Run rsp.TransactionID
	// Word is what the chip said of a run in which its power was lost: the result,
	// if no other run brings another.
	Word     []byte
	Sequence int64
}

// An outcome is the result of a download.
type outcome struct {
	Order     []byte // eimTransactionId, or nil
	Result    []byte // BF54
	Sequence  int64  // of the notification in it, 0 when there is none
	Delivered bool
}

// trigger begins a download, unless its result is known already.
func (p *IPA) trigger(ctx context.Context, der []byte) error {
	t, err := iot.ParseDownloadTrigger(der)
	if err != nil {
		p.log().Warn("the eIM sent a trigger that cannot be read", "err", err)
		return p.refuse(ctx, nil, iot.ResultInvalidFormat)
	}
	if t.TransactionID != nil {
		for i := range p.state.Outcomes {
			if o := &p.state.Outcomes[i]; bytes.Equal(o.Order, t.TransactionID) {
				o.Delivered = false
				if err := p.save(); err != nil {
					return err
				}
				return p.deliver(ctx)
			}
		}
	}
	p.state.Download = &download{Trigger: der}
	if err := p.save(); err != nil {
		return err
	}
	if err := p.download(ctx); err != nil {
		return err
	}
	return p.deliver(ctx)
}

// download carries out the noted trigger until its result is in the journal. The
// error means that it is not there yet, and that the next poll goes on.
func (p *IPA) download(ctx context.Context) error {
	d := p.state.Download
	t, err := iot.ParseDownloadTrigger(d.Trigger)
	if err != nil {
		return p.finish(&iot.DownloadResult{}, nil, err)
	}
	if !d.Run.IsZero() {
		found, err := p.word(t, d.Run)
		if found || err != nil {
			return err
		}
		// The chip was interrupted, perhaps before it had a word.
		d.Run = rsp.TransactionID{}
	}
	failed := &iot.DownloadResult{TransactionID: t.TransactionID, Reason: new(iot.DataUndefined)}
	if d.Attempts >= maxAttempts {
		return p.finish(failed, nil, fmt.Errorf("the download was interrupted %d times", d.Attempts))
	}
	d.Attempts++
	if err := p.save(); err != nil {
		return err
	}
	err = p.step(StepDownload, source(t), func() error { return p.fetch(ctx, t) })
	switch {
	case p.stale:
		return err
	case p.state.Download == nil: // the chip has spoken
		if !p.Indirect {
			p.notify(ctx)
		}
		return nil
	case err == nil:
		return p.finish(failed, nil, errors.New("the download ended without a result"))
	case ctx.Err() != nil:
		return ctx.Err()
	case final(err) || d.Attempts >= maxAttempts:
		return p.finish(failed, nil, err)
	}
	return err
}

// final reports whether a download that ended with err will end so again: server,
// chip or IPA have judged, and not the network or the card.
func final(err error) bool {
	if _, ok := rsp.AsFailure(err); ok {
		return true
	}
	if _, ok := errors.AsType[*lpa.ChipError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*lpa.CheckError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*ESipaError](err); ok {
		return true
	}
	if e, ok := errors.AsType[*lpa.ProtocolError](err); ok {
		return e.Status < 500
	}
	return errors.Is(err, lpa.ErrNoCode)
}

// source says for people where a profile comes from. The activation code stays
// secret.
func source(t *iot.DownloadTrigger) string {
	switch {
	case t.ActivationCode != "":
		if code, err := rsp.ParseActivationCode(t.ActivationCode); err == nil {
			return "from " + code.Address
		}
		return "by an activation code"
	case t.DefaultDP:
		return "from the default SM-DP+"
	case t.SMDS != nil:
		return "by an SM-DS"
	}
	return "through the eIM"
}

// fetch downloads.
func (p *IPA) fetch(ctx context.Context, t *iot.DownloadTrigger) error {
	q, err := p.source(t)
	if err != nil {
		return err
	}
	q.ConfirmationCode = p.ConfirmationCode
	q.Loading = func(run rsp.TransactionID) error {
		p.state.Download.Run = run
		return p.save()
	}
	q.Installed = func(_ context.Context, r *lpa.Result) error {
		return p.installed(t, r)
	}
	r, err := p.LPA.Download(ctx, q)
	if errors.Is(err, lpa.ErrNoCode) && q.Relay == nil && t.SMDS == nil {
		r, err = p.throughEIM(ctx, q, t)
	}
	if err == nil {
		err = r.NotifyError // of installed, not of notifications
	}
	return err
}

// throughEIM downloads once more, through the eIM: the trigger has no place for a
// confirmation code, but an eIM that was given one answers for the device. That
// an eIM relays nothing leaves the download without its code.
func (p *IPA) throughEIM(ctx context.Context, q lpa.Request, t *iot.DownloadTrigger) (*lpa.Result, error) {
	q.Relay = &relay{p.ESipa, t.TransactionID}
	if q.Address == "" {
		a, err := p.LPA.Chip.Addresses()
		if err != nil {
			return nil, err
		}
		q.Address = a.DefaultDP
	}
	r, err := p.LPA.Download(ctx, q)
	_, unrelayed := errors.AsType[*ESipaError](err)
	if e, ok := errors.AsType[*lpa.ProtocolError](err); ok && e.Status < 500 {
		unrelayed = true
	}
	if unrelayed {
		return nil, lpa.ErrNoCode
	}
	return r, err
}

// source turns a trigger into a request.
func (p *IPA) source(t *iot.DownloadTrigger) (lpa.Request, error) {
	var q lpa.Request
	through := &relay{p.ESipa, t.TransactionID}
	switch {
	case t.ActivationCode != "":
		code, err := rsp.ParseActivationCode(t.ActivationCode)
		if err != nil {
			return q, &lpa.CheckError{What: err.Error()}
		}
		q = lpa.FromActivationCode(code)
	case t.SMDS != nil:
		q.MatchingID, q.Address = new(ident.MatchingID("")), *t.SMDS
		if q.Address == "" {
			a, err := p.LPA.Chip.Addresses()
			if err != nil {
				return q, err
			}
			if q.Address = a.RootDS; q.Address == "" {
				return q, &lpa.CheckError{What: "the eUICC has no SM-DS address"}
			}
		}
		return q, nil // the IPA asks an SM-DS itself
	case t.DefaultDP:
		if !p.Indirect {
			return q, nil
		}
		a, err := p.LPA.Chip.Addresses()
		if err != nil {
			return q, err
		}
		q.Address = a.DefaultDP
	default:
		q.Relay = through
		return q, nil
	}
	if p.Indirect {
		q.Relay = through
	}
	return q, nil
}

// installed keeps the chip's word on an installation, and only then does what may
// follow. The chip keeps the word too until the SM-DP+ has it.
func (p *IPA) installed(t *iot.DownloadTrigger, r *lpa.Result) error {
	n := r.Notification
	if err := p.finish(&iot.DownloadResult{TransactionID: t.TransactionID, Installation: n.Raw}, n, nil); err != nil {
		return err
	}
	if word, err := rsp.ReadInstallation(n); err != nil || word.Error != 0 {
		return nil // nothing to enable; the LPA's own error tells
	}
	return p.immediate(r)
}

// word looks for what the chip said of a run that was interrupted. That its power
// was lost is the result only when the download cannot be repeated. Nobody hears
// of it before: an order that was reported as failed is at its end at most
// servers.
func (p *IPA) word(t *iot.DownloadTrigger, run rsp.TransactionID) (found bool, err error) {
	list, err := p.LPA.Chip.Retrieve(rsp.NotificationFilter{})
	if err != nil {
		return false, err
	}
	for i := range list {
		n := &list[i]
		if !n.Installation || n.TransactionID != run {
			continue
		}
		word, err := rsp.ReadInstallation(n)
		if err == nil && word.Error == rsp.InstallInterrupted && p.state.Download.Attempts < maxAttempts {
			p.state.Download.Word, p.state.Download.Sequence = n.Raw, n.Metadata.Sequence
			return false, nil
		}
		return true, p.finish(&iot.DownloadResult{TransactionID: t.TransactionID, Installation: n.Raw}, n, nil)
	}
	return false, nil
}

// finish puts the result of the download in the journal.
func (p *IPA) finish(r *iot.DownloadResult, n *rsp.PendingNotification, why error) error {
	o := outcome{Order: r.TransactionID}
	switch d := p.state.Download; {
	case n != nil:
		o.Sequence = n.Metadata.Sequence
	case d.Word != nil:
		r.Reason, r.Installation, o.Sequence = nil, d.Word, d.Sequence
	default:
		r.Reason, r.Detail = new(iot.DataUndefined), detail(why)
	}
	o.Result = r.Append(nil)
	p.state.Download = nil
	p.state.Outcomes = append(p.state.Outcomes, o)
	p.trim()
	return p.save()
}

// maxDetail is how much of an error's text goes to the eIM, in octets.
const maxDetail = 200

// smdpInaccessible is how an IPA says that it did not come through to the SM-DP+.
var smdpInaccessible = rsp.StatusCode{Subject: "8.8", Reason: "5.1"}

// detail is what is told of a download that failed before the chip had a word: the
// answer of the SM-DP+ in the JSON binding. Where the IPA gave up itself it has the
// status code that fits best.
func detail(err error) []byte {
	f, ok := rsp.AsFailure(err)
	if !ok {
		text := strings.ToValidUTF8(err.Error(), "?")
		f = &rsp.Failure{StatusCode: statusOf(err), Message: strings.ToValidUTF8(text[:min(len(text), maxDetail)], "")}
	}
	answer, err := json.Marshal(struct {
		Header rsp.ResponseHeader `json:"header"`
	}{f.Header()})
	if err != nil {
		return nil
	}
	return answer
}

func statusOf(err error) rsp.StatusCode {
	if errors.Is(err, lpa.ErrNoCode) {
		return rsp.CodeMissing
	}
	if _, ok := errors.AsType[*lpa.ChipError](err); ok {
		return rsp.EUICCFailed
	}
	if final(err) {
		return rsp.ExecutionFailed
	}
	return smdpInaccessible
}

// trim forgets the oldest delivered results.
func (p *IPA) trim() {
	delivered := 0
	for i := len(p.state.Outcomes) - 1; i >= 0; i-- {
		if !p.state.Outcomes[i].Delivered {
			continue
		}
		if delivered++; delivered > maxOutcomes {
			p.state.Outcomes = append(p.state.Outcomes[:i], p.state.Outcomes[i+1:]...)
		}
	}
}

// deliverOutcomes brings the eIM the results of downloads that wait.
func (p *IPA) deliverOutcomes(ctx context.Context) error {
	for i := range p.state.Outcomes {
		o := &p.state.Outcomes[i]
		if o.Delivered {
			continue
		}
		acknowledged, err := p.provide(ctx, &iot.ProvideEimPackageResult{DownloadResult: o.Result}, "download")
		if err != nil {
			if !judged(err) {
				return err
			}
			// The eIM has judged: it does not want it.
		}
		// Notifications that go to the SM-DP+ directly are the SM-DP+'s to
		// acknowledge. Besides, eIMs have been seen to acknowledge the result of a
		// download with a number of their own.
		sent := map[int64]bool{}
		if o.Sequence != 0 && p.Indirect {
			sent[o.Sequence] = true
		}
		if err := p.forget(acknowledged, sent); err != nil {
			return err
		}
		o.Delivered = true
		if err := p.save(); err != nil {
			return err
		}
	}
	return nil
}
