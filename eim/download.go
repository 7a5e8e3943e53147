package eim

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"godwit/db"
	"godwit/explain"
	"godwit/iot"
	"godwit/rsp"
	"godwit/tlv"
)

// takeDownload takes how a download ended, BF54.
func (s *Server) takeDownload(ctx context.Context, tx *db.Tx, c *claim, der []byte) error {
	d, err := iot.ParseDownloadResult(der)
	if err != nil {
		c.code = undefined
		return nil
	}
	e, t, w, err := s.place(ctx, tx, c, d.TransactionID, isMessage(0x54))
	if err != nil || e == nil {
		return err
	}
	v := &evidence{kind: evidenceDownload, octets: der, witness: ByIPA}
	if len(d.Installation) > 0 {
		return s.takeInstallation(ctx, tx, c, e, t, w, d.Installation, v)
	}
	if t == nil || w == nil || t.kind != Download || t.stage != Sent {
		return nil
	}
	if err := s.keep(ctx, tx, c.eid, t.id, v, accepted, ""); err != nil {
		return err
	}
	o := ending{code: undefined, evidence: v}
	if d.Reason != nil && *d.Reason != 0 {
		o.code = *d.Reason
	}
	if err := s.whyNot(ctx, tx, t, d.Detail, &o); err != nil {
		return err
	}
	if o.code == iot.PackageECallActive {
		o.message, o.reached = "an emergency call was under way", false
	}
	return s.finish(ctx, tx, t, fail, o)
}

// takeInstallation takes the eUICC's word on a download: BF37, alone or in a
// result of the IPA.
func (s *Server) takeInstallation(ctx context.Context, tx *db.Tx, c *claim, e *euicc, t *task, w *underWay, pir []byte, v *evidence) error {
	refuse := func(format string, args ...any) error {
		return s.keep(ctx, tx, c.eid, taskID(t), v, refused, fmt.Sprintf(format, args...))
	}
	n, err := rsp.ParsePendingNotification(pir)
	if err != nil || !n.Installation {
		return refuse("it holds no profile installation result: %v", err)
	}
	key, err := e.chipKey()
	if err != nil {
		return err
	}
	var result *rsp.InstallationResult
	switch {
	case key != nil:
		v.witness = ByEUICC
		result, err = c.verifier.installation(n, key)
	case len(e.agentKey) > 0:
		// An eUICC of SGP.22 has no command for its certificates, so its agent may
		// not have them; the list of profiles that follows is signed.
		result, err = rsp.ReadInstallation(n)
	default:
		return refuse("no certificate of the eUICC is known that could prove it")
	}
	if err != nil {
		return refuse("%v", err)
	}
	same, err := s.known(ctx, tx, c.eid, v)
	if err != nil {
		return err
	}
	waits := t != nil && w != nil && t.kind == Download && t.stage == Sent
	if key == nil && !waits && !same {
		// Anybody may have made it up, and have an SM-DP+ called by it.
		if is, err := full(ctx, tx, c.eid); err != nil || is {
			return err
		}
	}
	if err := s.relay(ctx, tx, n); err != nil {
		return err
	}
	c.acknowledge(result.Notification.Sequence)
	if same {
		return nil
	}
	if !waits {
		why := "no download of this eIM is under way for it"
		if t != nil {
			why = fmt.Sprintf("its task is %s", t.stage)
		}
		if err := s.keep(ctx, tx, c.eid, taskID(t), v, late, why); err != nil {
			return err
		}
		return s.wantList(ctx, tx, e.eid, s.now())
	}
	if err := s.keep(ctx, tx, c.eid, t.id, v, accepted, ""); err != nil {
		return err
	}
	o := ending{reason: "complete", iccid: result.Notification.ICCID, evidence: v}
	a := succeed
	switch {
	case result.Error != 0:
		a, o.code, o.reached = fail, int64(result.Error), true
		o.reason, o.message = installReason(result)
	case t.iccid != "" && o.iccid != "" && t.iccid != o.iccid:
		a, o.code, o.reason = fail, undefined, "iccid_mismatch"
		o.message = fmt.Sprintf("profile %s was installed; %s was expected", o.iccid, t.iccid)
	}
	if err := s.finish(ctx, tx, t, a, o); err != nil {
		return err
	}
	return s.wantList(ctx, tx, e.eid, s.now())
}

// installReason says why an eUICC did not install a profile.
func installReason(r *rsp.InstallationResult) (reason, message string) {
	reason = "refused"
	switch r.Error {
	case rsp.InstallMemory:
		reason = "no_memory"
	case rsp.InstallICCIDExists:
		reason = "already_done"
	case rsp.InstallPPRNotAllowed:
		reason = "policy"
	}
	message = fmt.Sprintf("the eUICC could not install the profile: reason %d in command %d", r.Error, r.Command)
	if entry, ok := explain.InstallError(int(r.Command), int(r.Error)); ok {
		message = entry.Cause
	}
	return reason, message
}

// whyNot says why a download came to nothing before the eUICC could vouch for
// anything: by the SM-DP+'s last word if it went through here, else by the answer
// that the IPA passes on.
func (s *Server) whyNot(ctx context.Context, q db.Query, t *task, detail []byte, o *ending) error {
	err := q.QueryRowContext(ctx, `select reason, message from eim_package where task = $1`, t.id).Scan(&o.reason, &o.message)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read what the SM-DP+ said to task %s: %w", t.id, err)
	}
	if o.reason == "" {
		o.reason, o.message, o.reached = readDetail(detail)
	}
	return nil
}

// readDetail reads errorResponse. What is in there is the answer that ended the
// download: one of ES9+ in either binding, or one of the eUICC. Whether the SM-DP+
// was reached is in the reason, where it is the SM-DP+'s own.
func readDetail(detail []byte) (reason, message string, reached bool) {
	const unknown = "the IPA reports that the download came to nothing"
	if len(detail) == 0 {
		return "refused", unknown, true
	}
	var answer struct {
		Header rsp.ResponseHeader `json:"header"`
	}
	if json.Unmarshal(detail, &answer) == nil && answer.Header.Execution.Code != nil {
		f, _ := rsp.AsFailure(answer.Header.Err())
		reason, message = failureReason(f)
		return reason, message, false
	}
	if code, err := rsp.ParseStatusCode(strings.TrimSpace(string(detail))); err == nil {
		reason, message = failureReason(&rsp.Failure{StatusCode: code})
		return reason, message, false
	}
	if reason, message, reached, ok := relayRefusal(detail); ok {
		return reason, message, reached
	}
	if f := asn1Failure(detail); f != nil {
		reason, message = failureReason(f)
		return reason, message, false
	}
	if r, err := rsp.ParseAuthenticateServerResponse(detail); err == nil && r.Error != 0 {
		// The SM-DP+ gets the code with the eUICC's answer, and there was none.
		reason, message = explained(explain.AuthenticateError(int(r.Error)))
		return reason, message, false
	}
	if r, err := rsp.ParsePrepareDownloadResponse(detail); err == nil && r.Error != 0 {
		reason, message = explained(explain.DownloadError(int(r.Error)))
		return reason, message, true
	}
	return "refused", unknown, true
}

// relayRefusal reads the number with which a relayed function of ESipa failed. An
// SM-DP+ gets the code with the second of them.
func relayRefusal(detail []byte) (reason, message string, reached, ok bool) {
	p, err := iot.ParseASN1Response(detail)
	if err != nil {
		return "", "", false, false
	}
	var n int64
	var tag tlv.Tag
	var function string
	switch p := p.(type) {
	case *iot.InitiateAuthenticationResponse:
		n, tag, function = p.Error, rsp.TagInitiateAuthentication, "InitiateAuthentication"
	case *iot.AuthenticateClientResponse:
		n, tag, function = p.Error, rsp.TagAuthenticateClient, "AuthenticateClient"
	case *iot.GetBoundProfilePackageResponse:
		n, tag, function = p.Error, rsp.TagGetBoundProfilePackage, "GetBoundProfilePackage"
	}
	if n == 0 {
		return "", "", false, false
	}
	reached = tag != rsp.TagInitiateAuthentication
	if f := rsp.ASN1Failure(tag, n); f.StatusCode != rsp.ExecutionFailed {
		f.Message = ""
		reason, message = failureReason(f)
		return reason, message, reached, true
	}
	if entry, known := explain.ESipa(function, int(n)); known {
		return "refused", entry.Cause, reached, true
	}
	return "refused", fmt.Sprintf("%s failed with error %d", function, n), reached, true
}

// asn1Failure reads the failure in an answer of the ASN.1 binding of ES9+; nil is
// none.
func asn1Failure(detail []byte) *rsp.Failure {
	var h rsp.ResponseHeader
	p, err := rsp.ParseASN1Response(detail)
	if err != nil {
		return nil
	}
	switch p := p.(type) {
	case *rsp.InitiateAuthenticationResponse:
		h = p.Header
	case *rsp.AuthenticateClientResponse:
		h = p.Header
	case *rsp.GetBoundProfilePackageResponse:
		h = p.Header
	default:
		return nil
	}
	f, _ := rsp.AsFailure(h.Err())
	return f
}

func explained(entry explain.Entry, ok bool) (reason, message string) {
	if !ok {
		return "refused", "the eUICC refused the SM-DP+"
	}
	return "refused", entry.Cause
}

// failureReason says in a short code and in words why an SM-DP+ refused.
func failureReason(f *rsp.Failure) (reason, message string) {
	message = f.Message
	if entry, ok := explain.Status(f.Subject, f.Reason); ok {
		if message = entry.Cause; f.Message != "" {
			message += " The SM-DP+ says: " + f.Message
		}
	}
	if message == "" {
		message = "the SM-DP+ refused with " + f.StatusCode.String()
	}
	switch f.StatusCode {
	case rsp.StatusCode{Subject: "8.8", Reason: "5.1"}: // what an IPA says in an SM-DP+'s place
		if message = "the device could not reach the SM-DP+"; f.Message != "" {
			message += ": " + f.Message
		}
		return "smdp_unreachable", message
	case rsp.DSInaccessible:
		return "smdp_unreachable", message
	case rsp.MatchingIDRefused, rsp.EIDMismatch, rsp.NotReleased, rsp.AddressRefused:
		return "code_invalid", message
	case rsp.OrderExpired, rsp.TooManyDownloads, rsp.RebindingRefused:
		return "code_used", message
	case rsp.CodeMissing, rsp.CodeRefused, rsp.CodeAttemptsExceeded:
		return "confirmation_required", message
	case rsp.MemoryInsufficient:
		return "no_memory", message
	case rsp.PPRRefused:
		return "policy", message
	}
	return "smdp_refused", message
}
