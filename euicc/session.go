package euicc

import (
	"bytes"
	"errors"
	"slices"

	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// A stage is how far a provisioning session has come.
type stage int

const (
	challenged    stage = iota // a challenge is out
	authenticated              // the server has proved itself
	prepared                   // a one-time key is out: a package may come
	arriving                   // a package is being loaded
)

// A session is a run with one server. There is one at a time, whatever the
// channel, and it is gone with the power.
type session struct {
	stage      stage
	challenge  []byte
	id         rsp.TransactionID
	address    string
	cred       *Credential
	ci         []byte           // what cred signs under
	server     *pki.Certificate // DPauth or DSauth
	binder     *pki.Certificate // DPpb
	signature1 []byte           // euiccSignature1
	key        *pki.AgreementKey
	loader     *loader
}

// loads reports whether a bound profile package is arriving.
func (s *session) loads() bool { return s != nil && s.stage == arriving }

// is reports whether the session has come to a stage.
func (s *session) is(at stage) bool { return s != nil && s.stage == at }

// getChallenge opens a run and drops the former one, even in the middle of an
// installation. SGP.22 v2.5, 5.7.7.
func (c *Card) getChallenge([]byte) ([]byte, error) {
	if err := c.drop(); err != nil {
		return nil, err
	}
	challenge := rsp.NewChallenge()
	if c.cfg.Faults.RepeatChallenge {
		clear(challenge)
	}
	c.session, c.fresh = &session{challenge: challenge}, nil
	return rsp.AppendChallenge(nil, challenge), nil
}

// drop ends the session. An installation that it was in has been interrupted.
func (c *Card) drop() error {
	c.session = nil
	if c.state.Loading == nil {
		return nil
	}
	return c.interrupted()
}

// authenticateServer: SGP.22 v2.5, 5.7.13. The challenge is good for one
// attempt, whatever comes of it.
func (c *Card) authenticateServer(data []byte) ([]byte, error) {
	q, err := rsp.ParseAuthenticateServerRequest(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	// What the server signed is looked at before it is verified for one purpose
	// only: an answer that refuses has to name the transaction.
	claimed, err := rsp.ReadServerSigned1(firstElement(data))
	if err != nil {
		return nil, refusal(swWrongData)
	}
	next, server, reason := c.judgeServer(q)
	if c.session.is(challenged) {
		c.session = nil
	}
	if reason != 0 {
		return rsp.AppendAuthenticateServerError(nil, claimed.TransactionID, reason), nil
	}
	info := c.info2()
	signed := rsp.AppendEUICCSigned1(nil, server, info.Append(nil), q.Context.Raw)
	if next.signature1, err = pki.Sign(c.signer(next.cred, SignedAuthentication), signed); err != nil {
		return nil, err
	}
	c.session = next
	return rsp.AppendAuthenticateServerResponse(nil, signed, next.signature1, next.cred.EUICC.Raw, next.cred.EUM.Raw), nil
}

// firstElement returns the first child of a command, whole.
func firstElement(data []byte) []byte {
	e, _, err := tlv.Next(data)
	if err != nil {
		return nil
	}
	r := e.Reader()
	return r.Next().Raw
}

// judgeServer makes the checks of AuthenticateServer in their order and returns
// the session that follows with what the server signed, or the reason why there
// is none.
func (c *Card) judgeServer(q *rsp.AuthenticateServerRequest) (*session, *rsp.ServerSigned1, rsp.AuthenticateError) {
	certificate, err := pki.ParseCertificate(q.Certificate)
	if errors.Is(err, pki.ErrCurve) {
		return nil, nil, rsp.AuthUnsupportedCurve
	}
	if err != nil {
		return nil, nil, rsp.AuthInvalidCertificate
	}
	role := pki.DPAuth
	if certificate.Role() == pki.DSAuth {
		role = pki.DSAuth
	}
	wrongRole := false
	if _, err := c.roots.VerifyServer(role, q.Certificate, nil); err != nil {
		problem, ok := pki.AsProblem(err)
		switch {
		case !ok:
			return nil, nil, rsp.AuthInvalidCertificate
		case problem.Check == pki.CheckRoot:
			return nil, nil, rsp.AuthCIUnknown
		case problem.Check != pki.CheckPolicy:
			return nil, nil, rsp.AuthInvalidCertificate
		}
		wrongRole = true // its turn comes later
	}
	cred := c.cfg.credential(q.CIKeyID)
	if cred == nil {
		return nil, nil, rsp.AuthCIUnknown
	}
	server, err := q.Verify(certificate.PublicKey)
	switch {
	case err != nil:
		return nil, nil, rsp.AuthInvalidSignature
	case !c.session.is(challenged):
		return nil, nil, rsp.AuthNoSession
	case !bytes.Equal(server.EUICCChallenge, c.session.challenge):
		return nil, nil, rsp.AuthChallengeMismatch
	case wrongRole:
		return nil, nil, rsp.AuthInvalidOID
	}
	return &session{
		stage: authenticated, id: server.TransactionID, address: server.ServerAddress,
		cred: cred, ci: q.CIKeyID, server: certificate,
	}, server, 0
}

// prepareDownload: SGP.22 v2.5, 5.7.5. A refusal leaves the run as it was, so
// that the LPA can still cancel it.
func (c *Card) prepareDownload(data []byte) ([]byte, error) {
	q, err := rsp.ParsePrepareDownloadRequest(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	claimed, err := rsp.ReadSMDPSigned2(firstElement(data))
	if err != nil {
		return nil, refusal(swWrongData)
	}
	binder, server, reason := c.judgeBinder(q)
	if reason != 0 {
		return rsp.AppendPrepareDownloadError(nil, claimed.TransactionID, reason), nil
	}
	s := c.session
	key, err := c.oneTimeKey(binder, server.OneTimeKey)
	if err != nil {
		return nil, err
	}
	var hashedCode []byte
	if server.CodeRequired {
		hashedCode = q.HashedCode
	}
	signed := rsp.AppendEUICCSigned2(nil, s.id, key.Public(), hashedCode)
	signature, err := rsp.SignEUICCSigned2(c.signer(s.cred, SignedDownload), signed, q.Signature())
	if err != nil {
		return nil, err
	}
	s.stage, s.binder, s.key = prepared, binder, key
	return rsp.AppendPrepareDownloadResponse(nil, signed, signature), nil
}

// judgeBinder makes the checks of PrepareDownload in their order.
func (c *Card) judgeBinder(q *rsp.PrepareDownloadRequest) (*pki.Certificate, *rsp.SMDPSigned2, rsp.DownloadError) {
	s := c.session
	if s == nil || s.stage == challenged || s.stage == arriving {
		return nil, nil, rsp.DownloadNoSession
	}
	if _, err := pki.ParseCertificate(q.Certificate); errors.Is(err, pki.ErrCurve) {
		return nil, nil, rsp.DownloadUnsupportedCurve
	}
	// The same CI, and the same server, as the certificate that authenticated. An
	// SM-DS hands out no profiles.
	binder, err := c.roots.VerifyServer(pki.DPPB, q.Certificate, s.server.AuthorityKeyID)
	if err != nil || s.server.Role() != pki.DPAuth || binder.RegisteredID == "" || binder.RegisteredID != s.server.RegisteredID {
		return nil, nil, rsp.DownloadInvalidCertificate
	}
	server, err := q.Verify(binder.PublicKey, s.signature1)
	switch {
	case err != nil:
		return nil, nil, rsp.DownloadInvalidSignature
	case server.TransactionID != s.id:
		return nil, nil, rsp.DownloadInvalidTransactionID
	case server.CodeRequired && q.HashedCode == nil:
		return nil, nil, rsp.DownloadUndefined
	}
	return binder, server, 0
}

// oneTimeKey returns the key that the server has bound a package to before, if
// the chip still has it, or a new one. A new key is stored before it is given
// out: the package for it may come in another run.
func (c *Card) oneTimeKey(binder *pki.Certificate, known []byte) (*pki.AgreementKey, error) {
	for _, k := range c.state.OneTime {
		if known != nil && k.OID == binder.RegisteredID && bytes.Equal(k.Public, known) {
			return pki.ParseAgreementKey(k.Curve, k.Key)
		}
	}
	key, err := pki.GenerateAgreementKey(binder.PublicKey.Curve())
	if err != nil {
		return nil, err
	}
	return key, c.update(func(s *state) error {
		if len(s.OneTime) >= maxOneTime {
			s.OneTime = slices.Delete(s.OneTime, 0, len(s.OneTime)-maxOneTime+1)
		}
		s.OneTime = append(s.OneTime, &oneTimeKey{
			OID: binder.RegisteredID, Curve: key.Curve(), Key: key.Bytes(), Public: bytes.Clone(key.Public()),
		})
		return nil
	})
}

// cancelSession: SGP.22 v2.5, 5.7.14.
func (c *Card) cancelSession(data []byte) ([]byte, error) {
	q, err := rsp.ParseCancelSessionRequest(data)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	s := c.session
	if s == nil || s.stage == challenged || s.id != q.TransactionID {
		return rsp.AppendCancelSessionError(nil, 5), nil
	}
	signed := rsp.AppendCancelSessionSigned(nil, s.id, s.server.RegisteredID, q.Reason)
	signature, err := pki.Sign(c.signer(s.cred, SignedCancel), signed)
	if err != nil {
		return nil, err
	}
	if c.state.Loading != nil { // the LPA's word takes the place of an installation result
		if err := c.update(func(st *state) error { st.Loading = nil; return nil }); err != nil {
			return nil, err
		}
	}
	c.session = nil
	return rsp.AppendCancelSessionResponse(nil, signed, signature), nil
}
