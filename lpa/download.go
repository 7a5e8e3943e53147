package lpa

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// A Request says what to download and who decides.
type Request struct {
	// Address of the SM-DP+ (or SM-DS, for an event). Empty: the chip's
	// default SM-DP+.
	Address string
	// MatchingID to ask with; nil asks for what waits for this EID.
	MatchingID *ident.MatchingID
	// OID that the server must have; empty accepts any.
	OID ident.OID

	// Consent asks the user. nil accepts every offer.
	Consent func(context.Context, *Offer) (Decision, error)
	// ConfirmationCode asks the user for the code when the server wants one. nil,
	// or an empty code, postpones the download.
	ConfirmationCode func(context.Context, *Offer) (string, error)

	// Relay, if set, carries the download in place of a connection to the
	// SM-DP+. The address may be empty then: the relay knows the server.
	Relay Relay
	// Loading, if set, is called before the package goes into the chip, with the
	// transaction that the chip's word on it will name. An error ends the run.
	Loading func(rsp.TransactionID) error
	// Installed, if set, is called with the chip's word, of success or failure, in
	// place of the delivery of notifications: who keeps the result delivers too.
	Installed func(context.Context, *Result) error
}

// FromActivationCode returns the request that an activation code stands for.
func FromActivationCode(code *rsp.ActivationCode) Request {
	return Request{Address: code.Address, MatchingID: &code.MatchingID, OID: code.OID}
}

// FromEvent returns the request that an event of an SM-DS stands for.
func FromEvent(e rsp.EventEntry) Request {
	id := ident.MatchingID(e.EventID)
	return Request{Address: e.ServerAddress, MatchingID: &id}
}

// An Offer is what the user is asked about.
type Offer struct {
	Address      string
	Metadata     *rsp.Metadata
	CodeRequired bool
	// RulesConsent is set when the profile brings policy rules to which the user
	// must agree expressly. SGP.22 v2.5, 2.9.2.
	RulesConsent bool
}

// A Decision is the user's answer.
type Decision int

// Decisions. All but the first end the download.
const (
	Accept   Decision = iota
	Reject            // for good: the order ends
	Postpone          // the order waits
	TimedOut          // the user did not answer; the order waits
)

var decisionReasons = map[Decision]rsp.CancelReason{
	Reject: rsp.CancelUserRejection, Postpone: rsp.CancelPostponed, TimedOut: rsp.CancelTimeout,
}

// Errors of users who did not accept.
var (
	ErrRejected  = errors.New("the user rejected the profile")
	ErrPostponed = errors.New("the user postponed the download")
	ErrTimedOut  = errors.New("the user did not answer in time")
	ErrNoCode    = errors.New("the server wants a confirmation code, and there is none")
)

var decisionErrors = map[Decision]error{Reject: ErrRejected, Postpone: ErrPostponed, TimedOut: ErrTimedOut}

// A Result is a profile that was installed.
type Result struct {
	TransactionID rsp.TransactionID
	Address       string
	OID           ident.OID     // of the SM-DP+
	Metadata      *rsp.Metadata // nil when a relay judged it
	AID           []byte
	// Notification is the profile installation result as the eUICC signed it.
	Notification *rsp.PendingNotification
	// NotifyError is why the server could not be told yet. The chip keeps the
	// notification: [LPA.Notify] tries again.
	NotifyError error
}

// maxCascade is how many SM-DS may point to one another.
const maxCascade = 4

// Download takes a profile from a server into the chip: common mutual
// authentication, consent, download, installation, notification. SGP.22 v2.5,
// 3.0.1 and 3.1.3. The error is an [*Error]; when the LPA gave the download up
// it says with which reason.
func (l *LPA) Download(ctx context.Context, q Request) (*Result, error) {
	for range maxCascade {
		s, err := l.authenticate(ctx, q)
		if err != nil {
			return nil, err
		}
		if !s.discovery {
			return l.download(ctx, s, q)
		}
		// The server is an SM-DS that knows where the event really is.
		if q.MatchingID == nil || len(s.events) == 0 {
			return nil, &Error{Step: StepAuthenticateClient, Err: mismatch("%s is an SM-DS and has no event for this eUICC", s.server.address)}
		}
		next := FromEvent(s.events[0])
		q.Address, q.MatchingID = next.Address, next.MatchingID
	}
	return nil, &Error{Step: StepAuthenticateClient, Err: mismatch("the SM-DS point to one another without end")}
}

// Events asks an SM-DS what waits for this chip; an empty address means the
// chip's root SM-DS. SGP.22 v2.5, 3.6.2.
func (l *LPA) Events(ctx context.Context, address string) ([]rsp.EventEntry, error) {
	if address == "" {
		a, err := l.Chip.Addresses()
		if err != nil {
			return nil, &Error{Step: StepOpen, Err: err}
		}
		if address = a.RootDS; address == "" {
			return nil, &Error{Step: StepOpen, Err: mismatch("the eUICC has no SM-DS address")}
		}
	}
	s, err := l.authenticate(ctx, Request{Address: address, MatchingID: new(ident.MatchingID(""))})
	if err != nil {
		return nil, err
	}
	if !s.discovery {
		l.cancel(ctx, s, rsp.CancelPostponed)
		return nil, &Error{Step: StepAuthenticateClient, Err: mismatch("%s is no SM-DS", address)}
	}
	return s.events, nil
}

// A session is a run in which server and chip have proved themselves.
type session struct {
	server server
	id     rsp.TransactionID

	discovery bool // with an SM-DS
	events    []rsp.EventEntry

	offer    *Offered
	metadata *rsp.Metadata // nil: the relay judges the metadata
	signed2  *rsp.SMDPSigned2
}

// authenticate runs the common mutual authentication. SGP.22 v2.5, 3.0.1.
func (l *LPA) authenticate(ctx context.Context, q Request) (*session, error) {
	s := &session{server: server{lpa: l, address: q.Address, relay: q.Relay}}
	var challenge, info1 []byte
	err := l.step(StepOpen, "", func() error {
		if s.server.address == "" && q.Relay == nil {
			a, err := l.Chip.Addresses()
			if err != nil {
				return err
			}
			if s.server.address = a.DefaultDP; a.DefaultDP == "" {
				return mismatch("there is no activation code, and the eUICC has no default SM-DP+")
			}
		}
		if err := rsp.CheckAddress(s.server.address); err != nil && s.server.address != "" {
			return &CheckError{err.Error()}
		}
		var err error
		if info1, err = l.Chip.Info1(); err != nil {
			return err
		}
		info, err := rsp.ParseEUICCInfo1(info1)
		if err != nil {
			return err
		}
		s.server.trustedCI = slices.Concat([][]byte{}, info.Verification)
		challenge, err = l.Chip.Challenge()
		return err
	})
	if err != nil {
		return nil, err
	}

	var proof *Proof
	err = l.step(StepInitiateAuthentication, s.server.address, func() (err error) {
		if proof, err = s.server.initiateAuthentication(ctx, challenge, info1); err != nil {
			return explainTLS(err)
		}
		s.id = proof.TransactionID
		s.discovery, err = s.server.checkProof(&proof.InitiateAuthenticationResponse, q.OID, challenge)
		if err == nil && s.discovery && q.Relay != nil {
			return mismatch("%s is an SM-DS: a relay leads to an SM-DP+", s.server.address)
		}
		return err
	})
	if err != nil {
		return nil, err
	}

	// The chip judges the server and signs.
	var answer []byte
	err = l.step(StepAuthenticateServer, "", func() error {
		context := rsp.CtxParams1{Device: l.DeviceInfo()}
		if q.MatchingID != nil {
			context.MatchingID = new(string(*q.MatchingID))
		}
		var err error
		if answer, err = l.Chip.StoreData(proof.authenticateServer(&context)); err != nil {
			return err
		}
		p, err := rsp.ParseAuthenticateServerResponse(answer)
		if err != nil {
			return err
		}
		if p.Error == 0 {
			return nil
		}
		// The server is told, so that it ends its run; what it says to that does
		// not matter. SGP.22 v2.5, 3.0.1.
		ctx, end := linger(ctx)
		defer end()
		_, _ = s.server.authenticateClient(ctx, s.id, answer)
		return &ChipError{Function: "AuthenticateServer", Code: int64(p.Error)}
	})
	if err != nil {
		return nil, err
	}

	err = l.step(StepAuthenticateClient, s.server.address, func() error {
		if s.discovery {
			p, err := s.server.events(ctx, s.id, answer)
			if err == nil {
				s.events = p.EventEntries
			}
			return err
		}
		var err error
		if s.offer, err = s.server.authenticateClient(ctx, s.id, answer); err != nil {
			return err
		}
		return s.readOffer()
	})
	if err != nil {
		if _, refused := rsp.AsFailure(err); !refused && s.offer != nil && s.offer.SMDPSigned2 != nil {
			return nil, l.giveUp(ctx, s, err, rsp.CancelUndefined)
		}
		return nil, err
	}
	return s, nil
}

// checkProof makes the checks of the LPA on a server that shows its credentials;
// certificate and signature are for the chip. SGP.22 v2.5, 3.0.1. It reports
// whether the server is an SM-DS.
func (s *server) checkProof(p *rsp.InitiateAuthenticationResponse, oid ident.OID, challenge []byte) (discovery bool, err error) {
	signed, err := rsp.ReadServerSigned1(p.ServerSigned1)
	if err != nil {
		return false, err
	}
	if _, err := rsp.ParseSignature(p.ServerSignature1); err != nil {
		return false, err
	}
	if _, err := keyID(p.CIKeyID); err != nil {
		return false, err
	}
	switch {
	case p.TransactionID.IsZero() || signed.TransactionID != p.TransactionID:
		return false, mismatch("the server signed transaction %s and speaks of %s", signed.TransactionID, p.TransactionID)
	case s.address != "" && !rsp.SameAddress(signed.ServerAddress, s.address):
		return false, mismatch("the server says that it is %s, but %s was called", signed.ServerAddress, s.address)
	case !bytes.Equal(signed.EUICCChallenge, challenge):
		return false, mismatch("the server signed another challenge than the eUICC's")
	}
	if s.address == "" { // the relay chose the server
		s.address = signed.ServerAddress
	}
	c, err := pki.ParseCertificate(p.ServerCertificate)
	if err != nil {
		return false, fmt.Errorf("read the server's certificate: %w", err)
	}
	s.oid = c.RegisteredID
	if oid != "" && c.RegisteredID != oid {
		return false, mismatch("the server has OID %s, but the activation code says %s", c.RegisteredID, oid)
	}
	if s.leaf != nil {
		// Who holds the connection is who authenticates.
		leaf, err := pki.ParseCertificate(s.leaf)
		if err != nil {
			return false, fmt.Errorf("read the server's TLS certificate: %w", err)
		}
		if leaf.RegisteredID != "" && leaf.RegisteredID != c.RegisteredID {
			return false, mismatch("the server has OID %s, but its TLS certificate is of %s", c.RegisteredID, leaf.RegisteredID)
		}
	}
	return c.Role() == pki.DSAuth, nil
}

// readOffer reads what the LPA needs of the server's offer.
func (s *session) readOffer() (err error) {
	if s.offer.TransactionID != s.id {
		return mismatch("the server speaks of transaction %s, but this is %s", s.offer.TransactionID, s.id)
	}
	if s.signed2, err = rsp.ReadSMDPSigned2(s.offer.SMDPSigned2); err != nil {
		return err
	}
	if _, err = rsp.ParseSignature(s.offer.SMDPSignature2); err != nil {
		return err
	}
	if s.offer.ProfileMetadata == nil && s.server.relay != nil {
		return nil
	}
	s.metadata, err = rsp.ParseMetadata(s.offer.ProfileMetadata)
	return err
}

// name returns what the offer is called.
func (s *session) name() string {
	if s.metadata == nil {
		return ""
	}
	return s.metadata.Name
}

// download goes on with a session at an SM-DP+ that has made an offer.
func (l *LPA) download(ctx context.Context, s *session, q Request) (*Result, error) {
	var hashed []byte
	err := l.step(StepConsent, s.name(), func() (err error) {
		hashed, err = l.consent(ctx, s, q)
		return err
	})
	if err != nil {
		return nil, l.giveUp(ctx, s, err, consentReason(err))
	}

	var ready []byte
	err = l.step(StepPrepareDownload, "", func() error {
		var err error
		if ready, err = l.Chip.StoreData(rsp.AppendPrepareDownload(nil, &s.offer.AuthenticateClientResponse, hashed)); err != nil {
			return err
		}
		p, err := rsp.ParsePrepareDownloadResponse(ready)
		if err != nil {
			return err
		}
		if p.Error == 0 {
			return nil
		}
		// The server is told, so that it ends its run. SGP.22 v2.5, 3.1.3.
		ctx, end := linger(ctx)
		defer end()
		_, _ = s.server.getBoundProfilePackage(ctx, s.id, ready)
		return &ChipError{Function: "PrepareDownload", Code: int64(p.Error)}
	})
	if err != nil {
		return nil, err
	}

	var units [][]byte
	reason := rsp.CancelUndefined
	err = l.step(StepGetPackage, s.server.address, func() error {
		p, err := s.server.getBoundProfilePackage(ctx, s.id, ready)
		if err != nil {
			return err
		}
		units, reason, err = s.unpack(p)
		return err
	})
	if err != nil {
		if units == nil && reason == rsp.CancelUndefined {
			return nil, err // the server refused, or cannot be reached: nothing is open any more
		}
		return nil, l.giveUp(ctx, s, err, reason)
	}

	if q.Loading != nil {
		if err := q.Loading(s.id); err != nil {
			return nil, l.giveUp(ctx, s, &Error{Step: StepLoad, Err: err}, rsp.CancelPostponed)
		}
	}
	result := &Result{TransactionID: s.id, Address: s.server.address, OID: s.server.oid, Metadata: s.metadata}
	err = l.step(StepLoad, fmt.Sprintf("%d units", len(units)), func() (err error) {
		result.Notification, err = l.Chip.Load(units)
		return err
	})
	if err != nil {
		return nil, l.giveUp(ctx, s, err, rsp.CancelLoadError)
	}
	installed := result.read()
	// The server hears of success and of failure alike, and so do all others
	// that the profile wants to be told.
	if q.Installed != nil {
		result.NotifyError = q.Installed(ctx, result)
	} else {
		result.NotifyError = l.notifyInstalled(ctx, result)
	}
	if installed != nil {
		return nil, &Error{Step: StepLoad, Err: installed}
	}
	return result, nil
}

// consent asks the user, and returns the hashed confirmation code if one is
// wanted. SGP.22 v2.5, 3.1.3, steps 5 to 7.
func (l *LPA) consent(ctx context.Context, s *session, q Request) ([]byte, error) {
	offer := &Offer{Address: s.server.address, Metadata: s.metadata, CodeRequired: s.signed2.CodeRequired}
	if s.metadata != nil && s.metadata.PPRs&(rsp.PPR1|rsp.PPR2) != 0 {
		var err error
		if offer.RulesConsent, err = l.checkRules(s.metadata); err != nil {
			return nil, err
		}
	}
	if q.Consent != nil {
		decision, err := q.Consent(ctx, offer)
		if err != nil {
			return nil, err
		}
		if decision != Accept {
			return nil, decisionErrors[decision]
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.signed2.CodeRequired {
		return nil, nil
	}
	if s.offer.HashedCode != nil {
		return s.offer.HashedCode, nil
	}
	if q.ConfirmationCode == nil {
		return nil, ErrNoCode
	}
	code, err := q.ConfirmationCode(ctx, offer)
	if err != nil {
		return nil, err
	}
	if code == "" {
		return nil, ErrNoCode
	}
	hash := rsp.HashCodeForRun(rsp.HashCode(code), s.id)
	return hash[:], nil
}

// errRules is the error of a profile whose policy rules the chip's owner does
// not allow.
var errRules = errors.New("policy rules not allowed")

// checkRules holds the policy rules of an offered profile to the chip's rules
// authorisation table, and reports whether the user must agree to them. SGP.22
// v2.5, 2.9.2.4 and 2.9.3.1.
func (l *LPA) checkRules(m *rsp.Metadata) (consent bool, err error) {
	rules, err := l.Chip.RAT()
	if err != nil {
		return false, err
	}
	allowed, consent := rsp.Allows(rules, m.Owner, m.PPRs)
	if !allowed {
		return false, fmt.Errorf("%w: the eUICC's table does not let this operator set them", errRules)
	}
	if m.PPRs&rsp.PPR1 == 0 {
		return consent, nil
	}
	// A profile that cannot be disabled comes to a chip without another one, or
	// the user could never go back.
	profiles, err := l.Chip.Profiles(rsp.Selector{Class: new(rsp.ClassOperational)})
	if err != nil {
		return false, err
	}
	if len(profiles) > 0 {
		return false, fmt.Errorf("%w: the profile could not be disabled, and there is an operational profile already", errRules)
	}
	return consent, nil
}

// consentReason is the reason of cancelling that belongs to an error of consent.
func consentReason(err error) rsp.CancelReason {
	for decision, reason := range decisionReasons {
		if errors.Is(err, decisionErrors[decision]) {
			return reason
		}
	}
	switch {
	case errors.Is(err, errRules):
		return rsp.CancelPPRNotAllowed
	case errors.Is(err, context.DeadlineExceeded):
		return rsp.CancelTimeout
	case errors.Is(err, context.Canceled), errors.Is(err, ErrNoCode):
		return rsp.CancelPostponed
	}
	return rsp.CancelUndefined
}

// unpack takes the package apart and compares what the user has seen with what
// has come. SGP.22 v2.5, 3.1.3, step 9.
func (s *session) unpack(p *rsp.GetBoundProfilePackageResponse) (units [][]byte, reason rsp.CancelReason, err error) {
	b, err := rsp.ParseBoundProfilePackage(p.BoundProfilePackage)
	if err != nil {
		return nil, rsp.CancelLoadError, err
	}
	if p.TransactionID != s.id {
		return nil, rsp.CancelLoadError, mismatch("the server speaks of transaction %s, but this is %s", p.TransactionID, s.id)
	}
	stored, err := b.StoredMetadata()
	if err != nil {
		return nil, rsp.CancelLoadError, err
	}
	if s.metadata != nil && !rsp.SameMetadata(s.offer.ProfileMetadata, stored) {
		return nil, rsp.CancelMetadataMismatch, mismatch("the metadata in the package are not those that the user has seen")
	}
	return b.Units(), rsp.CancelUndefined, nil
}

// read reads the chip's word on the installation. The LPA shows it; the server
// verifies it.
func (r *Result) read() error {
	p, err := rsp.ReadInstallation(r.Notification)
	if err != nil {
		return err
	}
	if p.Error != 0 {
		return &InstallError{Command: p.Command, Reason: p.Error, SIMAResponse: p.SIMAResponse}
	}
	r.AID = p.AID
	return nil
}

// giveUp ends a run on both sides and completes the error of the step with the
// reason.
func (l *LPA) giveUp(ctx context.Context, s *session, err error, reason rsp.CancelReason) error {
	if cancelled := l.cancel(ctx, s, reason); cancelled != nil {
		return errors.Join(err, cancelled)
	}
	if e, ok := errors.AsType[*Error](err); ok {
		e.Cancelled = &reason
	}
	return err
}

// cancel has the chip sign that the run is over and tells the server. SGP.22
// v2.5, 3.0.2.
func (l *LPA) cancel(ctx context.Context, s *session, reason rsp.CancelReason) error {
	ctx, end := linger(ctx)
	defer end()
	return l.step(StepCancel, fmt.Sprintf("reason %d", reason), func() error {
		signed, err := l.Chip.CancelSession(s.id, reason)
		if signed == nil {
			return err
		}
		return errors.Join(err, s.server.cancelSession(ctx, s.id, signed))
	})
}

// explainTLS adds to errors of certificates on curves that TLS does not have.
func explainTLS(err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return err
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok && alert == 40 {
		return fmt.Errorf("%w (handshake failure: the server may have certificates of brainpool curves alone, which TLS here does not support)", err)
	}
	return err
}
