package smdp

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// errMoved says that a profile changed between reading and writing it. It never
// leaves the package: the step is made again on what is there now.
var errMoved = errors.New("the profile changed meanwhile")

// tries is how often a step is made again because another was faster.
const tries = 5

// An eUICC that has proved who it is.
type client struct {
	id    rsp.TransactionID
	at    int64 // when the identifier was issued
	eid   ident.EID
	key   *pki.PublicKey
	pair  *pair
	info  *rsp.EUICCInfo2
	proof []byte // euiccSignature1
	asks  *string
	in    *rsp.DeviceInfo
}

// authenticateClient has the eUICC prove who it is, finds the order that it
// comes for, and offers the profile. The run is stored here, by the first of the three
// durable writes of a download. ES9+.AuthenticateClient, SGP.22 v2.5, 5.6.3.
func (l *Listener) authenticateClient(ctx context.Context, q *rsp.AuthenticateClientRequest) (*rsp.AuthenticateClientResponse, error) {
	c, err := l.identify(q)
	if err != nil {
		return nil, err
	}
	for range tries {
		answer, err := l.offer(ctx, c)
		missing, ok := errors.AsType[*notLoadedError](err)
		if !ok {
			return answer, err
		}
		if _, err := l.loadType(ctx, missing.id); err != nil {
			return nil, fmt.Errorf("profile type %s: %w", missing.id, err)
		}
	}
	return nil, fmt.Errorf("run %s: its order does not come to rest", c.id)
}

// A notLoadedError names a profile type that has to be read before the
// transaction can go on. It never leaves the package.
type notLoadedError struct{ id string }

func (e *notLoadedError) Error() string { return "profile type " + e.id + " is not loaded" }

// identify makes the checks that need no stored state.
func (l *Listener) identify(q *rsp.AuthenticateClientRequest) (*client, error) {
	unknown := rsp.Refuse(rsp.TransactionUnknown, "no such transaction, or it is over")
	t, ok := l.minter.read(q.TransactionID, l.cfg.Now(), l.cfg.RunLifetime)
	pair := l.pairs[t.trust]
	if !ok || pair == nil {
		return nil, unknown
	}
	m, err := rsp.ParseAuthenticateServerResponse(q.AuthenticateServerResponse)
	if err != nil {
		return nil, malformed("authenticateServerResponse: %v", err)
	}
	if m.TransactionID != q.TransactionID {
		return nil, rsp.Refuse(rsp.TransactionUnknown, "transactionId is not the one that the eUICC signed")
	}
	if m.Error != 0 {
		return nil, rsp.Refuse(rsp.EUICCFailed, "the eUICC refused this server with error %d", m.Error)
	}
	chain, err := l.roots.VerifyEUICC(m.EUMCertificate, m.EUICCCertificate, pair.euicc, l.cfg.Now())
	if err != nil {
		return nil, chainRefusal(err)
	}
	signed, err := m.Verify(chain.EUICC.PublicKey)
	if errors.Is(err, rsp.ErrSignature) {
		return nil, rsp.Refuse(rsp.EUICCSignatureInvalid, "euiccSignature1 does not verify")
	}
	if err != nil {
		return nil, malformed("euiccSigned1: %v", err)
	}
	// The challenge is derived from the address that the LPA called us by: with
	// another address in the signed data it is another challenge.
	if !l.ours(signed.ServerAddress) ||
		subtle.ConstantTimeCompare(signed.ServerChallenge, l.minter.challenge(q.TransactionID, signed.ServerAddress)) != 1 {
		return nil, rsp.Refuse(rsp.EUICCSignatureInvalid, "serverChallenge or serverAddress is not this server's")
	}
	if signed.Info.SVN != t.svn {
		return nil, rsp.Refuse(rsp.SVNUnsupported, "the eUICC signed version %s and had announced %s", signed.Info.SVN, t.svn)
	}
	return &client{
		id: q.TransactionID, at: t.at.Unix(), eid: chain.EID, key: chain.EUICC.PublicKey, pair: pair,
		info: &signed.Info, proof: m.Signature, asks: signed.Context.MatchingID, in: &signed.Context.Device,
	}, nil
}

// chainRefusal turns what is wrong with a chain into a status code.
func chainRefusal(err error) error {
	p, ok := pki.AsProblem(err)
	if !ok {
		return err
	}
	code := rsp.EUMInvalid
	switch {
	case p.Check == pki.CheckRoot:
		code = rsp.CIUnknown
	case p.Role == pki.EUICC && p.Check == pki.CheckValidity:
		code = rsp.EUICCExpired
	case p.Role == pki.EUICC:
		code = rsp.EUICCInvalid
	case p.Check == pki.CheckValidity:
		code = rsp.EUMExpired
	}
	return rsp.Refuse(code, "%s", p.Error())
}

// offer finds the order, decides, and stores the run, all in one transaction:
// the connection that writes has the pages in its cache, and a signature in
// between takes less time than reading them twice.
func (l *Listener) offer(ctx context.Context, c *client) (*rsp.AuthenticateClientResponse, error) {
	var answer *rsp.AuthenticateClientResponse
	var final *rsp.Failure
	var r run
	var p *profile
	err := l.db.Write(ctx, func(tx *db.Tx) (err error) {
		answer, final = nil, nil
		if p, err = l.findOrder(ctx, tx, c); err != nil {
			return err
		}
		if refusal := deliverable(p, c.eid); refusal != nil {
			return refusal
		}
		loaded, ok := l.types.Load(p.Type)
		if !ok {
			return &notLoadedError{p.Type}
		}
		t := loaded.(*loadedType)
		if final, err = l.decide(p, t, c); err != nil {
			return err
		}
		if final != nil {
			return l.end(ctx, tx, p, c, final)
		}
		signed := rsp.SMDPSigned2{TransactionID: c.id, CodeRequired: len(p.codeHash) > 0}
		if key := keptKey(p, c.pair.identity); p.State == Downloaded && key != nil {
			signed.OneTimeKey = key
		}
		raw, signature, err := signed.Sign(c.pair.identity.PB.Key, c.proof)
		if err != nil {
			return err
		}
		now := l.now()
		r = run{
			id: c.id, issued: c.at, state: runAuthenticated, iccid: p.ICCID, eid: c.eid, generation: p.generation,
			ci: hex.EncodeToString(c.pair.identity.ID()), key: c.key, signature2: signature, created: now,
			expires: now + l.cfg.RunLifetime.Microseconds(),
		}
		if ok, err := r.insert(ctx, tx); err != nil || !ok {
			return orElse(err, rsp.Refuse(rsp.TransactionUnknown, "the transaction has been used"))
		}
		// The attempt counts whatever becomes of it.
		if _, err := tx.ExecContext(ctx, `update profile set download_attempts = download_attempts + 1, updated_at = $1
			where iccid = $2`, now, string(p.ICCID)); err != nil {
			return fmt.Errorf("count attempt at %s: %w", p.ICCID, err)
		}
		answer = &rsp.AuthenticateClientResponse{
			Header:          rsp.Succeeded,
			TransactionID:   c.id,
			ProfileMetadata: l.metadataOf(t, p.ICCID).Append(nil),
			SMDPSigned2:     raw,
			SMDPSignature2:  rsp.AppendSignature(nil, signature),
			SMDPCertificate: c.pair.identity.PB.Certificate.Raw,
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if final != nil {
		return nil, final
	}
	p.DownloadAttempts++
	l.recent.put(&r, p)
	return answer, nil
}

// decide returns why the order cannot be fulfilled, or nil.
func (l *Listener) decide(p *profile, t *loadedType, c *client) (*rsp.Failure, error) {
	switch {
	case p.expired(l.now()):
		return rsp.Refuse(rsp.OrderExpired, "the order expired at %s", db.Time(p.Expires).Format("2006-01-02 15:04 MST")), nil
	case p.DownloadAttempts >= l.cfg.MaxDownloadAttempts:
		return rsp.Refuse(rsp.TooManyDownloads, "the profile was asked for %d times", p.DownloadAttempts), nil
	}
	personal, err := l.personal(p, t.defaults)
	if err != nil {
		return nil, err
	}
	return t.eligible(t.template.NeedsFor(&personal), c.info, c.in), nil
}

func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// findOrder finds the order that an eUICC comes for: by its matching ID, or one
// that waits for its EID. SGP.22 v2.5, 5.6.3.
func (l *Listener) findOrder(ctx context.Context, q db.Query, c *client) (*profile, error) {
	if c.asks != nil && *c.asks != "" {
		p, err := profileWhere(ctx, q, `p.matching_id = $1 and p.matching_id <> ''`, *c.asks)
		if errors.Is(err, errNoProfile) {
			return nil, rsp.Refuse(rsp.MatchingIDRefused, "no order has this matching ID")
		}
		if err == nil && p.EID != "" && p.EID != c.eid {
			return nil, rsp.Refuse(rsp.EIDMismatch, "the order is for another eUICC")
		}
		return p, err
	}
	only := ""
	if l.cfg.MatchingIDOnly {
		only = ` and p.matching_id = ''`
	}
	// One that was confirmed without matching ID goes first, and the oldest of
	// them. One that was delivered once goes last: most likely it is installed,
	// and its eUICC's word is still on the way.
	p, err := profileWhere(ctx, q, `p.eid = $1 and p.eid <> '' and p.state in ('confirmed', 'released', 'downloaded')`+only+`
		order by case p.state when 'released' then 0 when 'downloaded' then 1 else 2 end,
			case when p.matching_id = '' then 0 else 1 end, p.ordered_at, p.iccid limit 1`, string(c.eid))
	if errors.Is(err, errNoProfile) {
		return nil, rsp.Refuse(rsp.EIDMismatch, "no order waits for EID %s", c.eid)
	}
	return p, err
}

// deliverable refuses a profile in a state in which nobody may download it, or
// not this eUICC.
func deliverable(p *profile, eid ident.EID) *rsp.Failure {
	switch p.State {
	case Released:
		return nil
	case Downloaded:
		if p.EID != eid {
			return rsp.Refuse(rsp.EIDMismatch, "the profile was delivered to another eUICC")
		}
		return nil
	case Confirmed:
		return rsp.Refuse(rsp.NotReleased, "the operator has not released the profile yet")
	case Failed:
		// What ended the order for good is worth hearing again.
		if code, err := rsp.ParseStatusCode(p.Failure); err == nil && code.Subject == rsp.OrderExpired.Subject {
			return rsp.Refuse(code, "the order is over")
		}
		return rsp.Refuse(rsp.MatchingIDRefused, "the order ended without installation: %s", p.Failure)
	}
	return rsp.Refuse(rsp.MatchingIDRefused, "the order was fulfilled or ended before")
}

var failSQL = guarded(Fail, failedFields, "generation = $5")

const failedFields = `failure = $4, generation = generation + 1, bind_key = null, bind_secret = null`

// end takes the profile to Error because it cannot be delivered, and tells the
// operator.
func (l *Listener) end(ctx context.Context, tx *db.Tx, p *profile, c *client, final *rsp.Failure) error {
	// A call that is repeated does no harm.
	var used string
	err := tx.QueryRowContext(ctx, `select transaction_id from run where issued_at = $1 and transaction_id = $2`, c.at, c.id.String()).Scan(&used)
	if err == nil {
		return rsp.Refuse(rsp.TransactionUnknown, "the transaction has been used")
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return l.fail(ctx, tx, p, c.eid, rsp.PointEligibility, final, nil)
}

// fail moves a profile to Error in a transaction, with all that follows from it.
// It returns errMoved when the profile has moved since p was read.
func (s *Server) fail(ctx context.Context, tx *db.Tx, p *profile, eid ident.EID, point rsp.NotificationPoint, why *rsp.Failure, evidence []byte) error {
	ok, err := changed(tx.ExecContext(ctx, failSQL, string(Failed), s.now(), string(p.ICCID), why.StatusCode.String(), p.generation))
	if err != nil {
		return fmt.Errorf("end order of %s: %w", p.ICCID, err)
	}
	if !ok {
		return errMoved
	}
	if err := s.out.progress(ctx, tx, p, eid, point, why, evidence); err != nil {
		return err
	}
	return s.out.deleteEvent(ctx, tx, p)
}
