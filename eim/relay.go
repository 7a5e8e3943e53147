package eim

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"godwit/db"
	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// Numbers with which relayed functions fail here, before an SM-DP+ is asked.
const (
	authenticateUnknownRun int64 = 10
	authenticateOtherEID   int64 = 7
	packageUnknownRun      int64 = 95
	cancelUnknownRun       int64 = 1
)

// A session is one indirect download: a row of eim_session.
type session struct {
	address string
	task    string
	eid     ident.EID

	// What IPAs that minimise bytes leave out.
	signed1  []byte
	oid      ident.OID
	iccid    ident.ICCID
	boundKey []byte
	hashed   []byte
}

// initiate relays ESipa.InitiateAuthentication of SGP.32. Only the IPA of a
// download that is under way may have an SM-DP+ called, and only the one of that
// download, so this server calls nobody for strangers.
func (s *Server) initiate(ctx context.Context, q *iot.InitiateAuthenticationRequest) (*iot.InitiateAuthenticationResponse, error) {
	refuse := func(number int64) (*iot.InitiateAuthenticationResponse, error) {
		return &iot.InitiateAuthenticationResponse{Refused: iot.Refused{Error: number}}, nil
	}
	if len(q.TransactionID) == 0 {
		return s.initiateUnnamed(ctx, q)
	}
	var t *task
	info1 := q.EUICCInfo1
	err := s.db.Read(ctx, func(d db.Query) (err error) {
		if t, err = s.taskByTransaction(ctx, d, q.TransactionID); err != nil || t == nil || info1 != nil {
			return err
		}
		return d.QueryRowContext(ctx, `select info1 from eim_euicc where eid = $1`, string(t.eid)).Scan(&info1)
	})
	if err != nil {
		return nil, fmt.Errorf("initiateAuthentication: %w", err)
	}
	if t == nil || t.kind != Download || t.stage != Sent {
		return refuse(iot.RelayUnknownOrder)
	}
	address, code, err := t.source(q.SMDPAddress)
	if err != nil {
		return refuse(iot.RelayAddressMismatch)
	}
	out, err := s.begin(ctx, q.EUICCChallenge, info1, address, t.id, t.eid)
	if err != nil || out.Error != 0 || out.Failure != nil || code == nil {
		return out, err
	}
	if code.OID != "" {
		c, err := pki.ParseCertificate(out.ServerCertificate)
		if err != nil || c.RegisteredID != code.OID {
			return refuse(iot.RelayOIDMismatch)
		}
	}
	id := string(code.MatchingID)
	out.MatchingID = &id
	return out, nil
}

// initiateUnnamed relays the call of an IPA that does not say for which trigger
// it is: it must be for the SM-DP+ of one that is under way, and whose it is shows
// when the eUICC presents its certificate.
func (s *Server) initiateUnnamed(ctx context.Context, q *iot.InitiateAuthenticationRequest) (*iot.InitiateAuthenticationResponse, error) {
	refused := &iot.InitiateAuthenticationResponse{Refused: iot.Refused{Error: iot.RelayUnknownOrder}}
	if rsp.CheckAddress(q.SMDPAddress) != nil || q.EUICCInfo1 == nil {
		return refused, nil
	}
	waits := 0
	err := s.db.Read(ctx, func(d db.Query) error {
		return d.QueryRowContext(ctx, `select count(*) from (select 1 from eim_package where address = $1 and address <> '' limit 1) p`,
			strings.ToLower(q.SMDPAddress)).Scan(&waits)
	})
	if err != nil {
		return nil, fmt.Errorf("initiateAuthentication: %w", err)
	}
	if waits == 0 {
		return refused, nil
	}
	return s.begin(ctx, q.EUICCChallenge, q.EUICCInfo1, q.SMDPAddress, "", "")
}

// begin calls initiateAuthentication of an SM-DP+ and opens the session.
func (s *Server) begin(ctx context.Context, challenge, info1 []byte, address, taskID string, eid ident.EID) (*iot.InitiateAuthenticationResponse, error) {
	answer, err := call(ctx, s, address, rsp.FnInitiateAuthentication, rsp.InitiateAuthenticationRequest{
		SMDPAddress: address, EUICCChallenge: challenge, EUICCInfo1: info1,
	}, func(p *rsp.InitiateAuthenticationResponse) rsp.ResponseHeader { return p.Header })
	if err != nil {
		refused, err := s.refusedBy(ctx, taskID, address, rsp.TagInitiateAuthentication, err)
		return &iot.InitiateAuthenticationResponse{Refused: refused}, err
	}
	certificate, err := pki.ParseCertificate(answer.ServerCertificate)
	if err != nil {
		refused, err := s.refusedBy(ctx, taskID, address, rsp.TagInitiateAuthentication, err)
		return &iot.InitiateAuthenticationResponse{Refused: refused}, err
	}
	opened := false
	err = s.db.Write(ctx, func(tx *db.Tx) (err error) {
		opened, err = changed(tx.ExecContext(ctx, `insert into eim_session (id, address, task, eid, signed1, oid, created_at)
			values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing`,
			answer.TransactionID.String(), address, taskID, string(eid), answer.ServerSigned1, string(certificate.RegisteredID), s.now()))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store session %s: %w", answer.TransactionID, err)
	}
	if !opened { // another SM-DP+ has used the number: whose it is would not be clear
		return &iot.InitiateAuthenticationResponse{Refused: iot.Refused{Error: iot.RelayUndefined}}, nil
	}
	return &iot.InitiateAuthenticationResponse{
		TransactionID: answer.TransactionID, ServerSigned1: answer.ServerSigned1, ServerSignature1: answer.ServerSignature1,
		CIKeyID: answer.CIKeyID, ServerCertificate: answer.ServerCertificate,
	}, nil
}

// claimed gives a session that nobody was named for to the download of the eUICC
// that has shown its certificate.
func (s *Server) claimed(ctx context.Context, id rsp.TransactionID, r *session, eid ident.EID) (t *task, err error) {
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		t, err = s.readTask(ctx, tx, `id = (select task from eim_package where eid = $1 and address = $2) and stage = 'sent'`,
			string(eid), strings.ToLower(r.address))
		if err != nil || t == nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `update eim_session set task = $2, eid = $3 where id = $1 and task = ''`, id.String(), t.id, string(eid))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim session %s: %w", id, err)
	}
	if t != nil {
		r.task, r.eid = t.id, eid
	}
	return t, nil
}

// source returns the SM-DP+ of a download and its activation code, which is nil
// for the default SM-DP+. asked is what the IPA says, "" for nothing.
func (t *task) source(asked string) (string, *rsp.ActivationCode, error) {
	if t.spec.Code == "" {
		return asked, nil, rsp.CheckAddress(asked)
	}
	code, err := rsp.ParseActivationCode(t.spec.Code)
	if err != nil {
		return "", nil, err
	}
	if asked != "" && !rsp.SameAddress(asked, code.Address) {
		return "", nil, errors.New("the IPA asks for another SM-DP+ than that of the activation code")
	}
	return code.Address, code, nil
}

// refusedBy keeps why a call of an SM-DP+ came to nothing, for the outcome of
// the task, and returns what the IPA is told.
func (s *Server) refusedBy(ctx context.Context, taskID, address string, function tlv.Tag, why error) (iot.Refused, error) {
	refused := iot.Refused{Error: iot.RelayUndefined}
	reason, message := "smdp_unreachable", "the SM-DP+ "+address+" cannot be reached: "+why.Error()
	if f, ok := rsp.AsFailure(why); ok {
		refused = iot.Refuse(function, f)
		reason, message = failureReason(f)
	} else {
		slog.WarnContext(ctx, "relayed call failed", "smdp", address, "function", function.String(), "err", why)
	}
	err := s.db.Write(context.WithoutCancel(ctx), func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `update eim_package set reason = $2, message = $3 where task = $1`, taskID, reason, db.Text(message, maxMessage))
		return err
	})
	if err != nil {
		return refused, fmt.Errorf("keep refusal of %s: %w", address, err)
	}
	return refused, nil
}

// address is the SM-DP+ of a download's activation code, in small letters; "" for
// none.
func (t *task) address() string {
	if t.kind != Download || t.spec.Code == "" {
		return ""
	}
	address, _, err := t.source("")
	if err != nil {
		return ""
	}
	return strings.ToLower(address)
}

// session finds an indirect download by the SM-DP+'s transaction, with its task,
// which is nil where it is not known yet. A nil session is none.
func (s *Server) session(ctx context.Context, q db.Query, id rsp.TransactionID) (*session, *task, error) {
	r := &session{}
	err := q.QueryRowContext(ctx, `select address, task, eid, signed1, oid, iccid, bound_key, hashed from eim_session where id = $1`, id.String()).
		Scan(&r.address, &r.task, &r.eid, &r.signed1, &r.oid, &r.iccid, &r.boundKey, &r.hashed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read session %s: %w", id, err)
	}
	if r.task == "" {
		return r, nil, nil
	}
	t, err := s.readTask(ctx, q, `id = $1`, r.task)
	if err != nil || t == nil {
		return nil, nil, err
	}
	return r, t, nil
}

// open is session for what only goes on while the download is under way.
func (s *Server) open(ctx context.Context, id rsp.TransactionID) (r *session, t *task, err error) {
	err = s.db.Read(ctx, func(q db.Query) error {
		r, t, err = s.session(ctx, q, id)
		return err
	})
	if err == nil && t != nil && t.stage != Sent {
		return nil, nil, nil
	}
	return r, t, err
}

// authenticate relays ESipa.AuthenticateClient of SGP.32. What the eUICC signed
// goes on octet for octet.
func (s *Server) authenticate(ctx context.Context, q *iot.AuthenticateClientRequest) (*iot.AuthenticateClientResponse, error) {
	refuse := func(number int64) (*iot.AuthenticateClientResponse, error) {
		return &iot.AuthenticateClientResponse{Refused: iot.Refused{Error: number}}, nil
	}
	r, t, err := s.open(ctx, q.TransactionID)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return refuse(authenticateUnknownRun)
	}
	kept := iot.AuthenticateParts{ServerSigned1: r.signed1}
	err = s.db.Read(ctx, func(d db.Query) error {
		err := d.QueryRowContext(ctx, `select info2, certificate, eum_certificate from eim_euicc where eid = $1`, string(r.eid)).
			Scan(&kept.EUICCInfo2, &kept.EUICCCertificate, &kept.EUMCertificate)
		if errors.Is(err, sql.ErrNoRows) { // an IPA that did not say for whom: then it sends all
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read eUICC %s: %w", r.eid, err)
	}
	response, err := iot.ExpandAuthenticate(q.AuthenticateServerResponse, kept)
	if err != nil {
		return refuse(iot.RelayUndefined)
	}
	p, err := rsp.ParseAuthenticateServerResponse(response)
	if err != nil {
		return refuse(iot.RelayUndefined)
	}
	if p.Error == 0 {
		c, err := pki.ParseCertificate(p.EUICCCertificate)
		if err != nil {
			return refuse(iot.RelayUndefined)
		}
		eid, err := c.EID()
		if err == nil && t == nil {
			if t, err = s.claimed(ctx, q.TransactionID, r, eid); err != nil {
				return nil, err
			}
		}
		if err != nil || eid != r.eid {
			return refuse(authenticateOtherEID)
		}
	}
	answer, err := call(ctx, s, r.address, rsp.FnAuthenticateClient, rsp.AuthenticateClientRequest{
		TransactionID: q.TransactionID, AuthenticateServerResponse: response,
	}, func(p *rsp.AuthenticateClientResponse) rsp.ResponseHeader { return p.Header })
	if err != nil {
		refused, err := s.refusedBy(ctx, r.task, r.address, rsp.TagAuthenticateClient, err)
		return &iot.AuthenticateClientResponse{Refused: refused}, err
	}
	out := &iot.AuthenticateClientResponse{
		TransactionID: q.TransactionID, ProfileMetadata: answer.ProfileMetadata, SMDPSigned2: answer.SMDPSigned2,
		SMDPSignature2: answer.SMDPSignature2, SMDPCertificate: answer.SMDPCertificate,
	}
	if err := s.offered(ctx, t, out); err != nil {
		return nil, err
	}
	return out, nil
}

// offered adds the confirmation code to an offer, where the SM-DP+ asks for one,
// and keeps what an IPA may leave out from here on.
func (s *Server) offered(ctx context.Context, t *task, out *iot.AuthenticateClientResponse) error {
	signed, err := rsp.ReadSMDPSigned2(out.SMDPSigned2)
	if err != nil {
		return nil // the eUICC will refuse it
	}
	if signed.CodeRequired && t != nil && t.spec.Confirmation != "" {
		hash := rsp.HashCodeForRun(rsp.HashCode(t.spec.Confirmation), out.TransactionID)
		out.HashedCode = bytes.Clone(hash[:])
	}
	var iccid ident.ICCID
	if m, err := rsp.ParseMetadata(out.ProfileMetadata); err == nil {
		iccid = m.ICCID
	}
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `update eim_session set iccid = $2, bound_key = $3, hashed = $4 where id = $1`,
			out.TransactionID.String(), string(iccid), orNull(signed.OneTimeKey), orNull(out.HashedCode))
		if err != nil || t == nil {
			return err
		}
		return s.tell(ctx, tx, t, Sent, ending{reason: downloading})
	})
	if err != nil {
		return fmt.Errorf("store session %s: %w", out.TransactionID, err)
	}
	return nil
}

// getPackage relays ESipa.GetBoundProfilePackage of SGP.32.
func (s *Server) getPackage(ctx context.Context, q *iot.GetBoundProfilePackageRequest) (*iot.GetBoundProfilePackageResponse, error) {
	r, _, err := s.open(ctx, q.TransactionID)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return &iot.GetBoundProfilePackageResponse{Refused: iot.Refused{Error: packageUnknownRun}}, nil
	}
	response, err := iot.ExpandPrepare(q.PrepareDownloadResponse, iot.PrepareParts{TransactionID: q.TransactionID, OneTimeKey: r.boundKey, HashedCode: r.hashed})
	if err == nil {
		_, err = rsp.ParsePrepareDownloadResponse(response)
	}
	if err != nil {
		return &iot.GetBoundProfilePackageResponse{Refused: iot.Refused{Error: iot.RelayUndefined}}, nil
	}
	answer, err := call(ctx, s, r.address, rsp.FnGetBoundProfilePackage, rsp.GetBoundProfilePackageRequest{
		TransactionID: q.TransactionID, PrepareDownloadResponse: response,
	}, func(p *rsp.GetBoundProfilePackageResponse) rsp.ResponseHeader { return p.Header })
	if err != nil {
		refused, err := s.refusedBy(ctx, r.task, r.address, rsp.TagGetBoundProfilePackage, err)
		return &iot.GetBoundProfilePackageResponse{Refused: refused}, err
	}
	return &iot.GetBoundProfilePackageResponse{TransactionID: q.TransactionID, BoundProfilePackage: answer.BoundProfilePackage}, nil
}

// cancelSession relays ESipa.CancelSession of SGP.32, also where the task is over.
func (s *Server) cancelSession(ctx context.Context, q *iot.CancelSessionRequest) (*iot.CancelSessionResponse, error) {
	var r *session
	err := s.db.Read(ctx, func(d db.Query) (err error) {
		r, _, err = s.session(ctx, d, q.TransactionID)
		return err
	})
	if err != nil {
		return nil, err
	}
	if r == nil {
		return &iot.CancelSessionResponse{Refused: iot.Refused{Error: cancelUnknownRun}}, nil
	}
	response, err := iot.ExpandCancel(q.CancelSessionResponse, iot.CancelParts{TransactionID: q.TransactionID, OID: r.oid, Reason: rsp.CancelUndefined})
	if err != nil {
		return &iot.CancelSessionResponse{Refused: iot.Refused{Error: iot.RelayUndefined}}, nil
	}
	_, err = call(ctx, s, r.address, rsp.FnCancelSession, rsp.CancelSessionES9Request{
		TransactionID: q.TransactionID, CancelSessionResponse: response,
	}, func(p *rsp.CancelSessionES9Response) rsp.ResponseHeader { return p.Header })
	if f, ok := rsp.AsFailure(err); ok {
		return &iot.CancelSessionResponse{Refused: iot.Refuse(rsp.TagCancelSession, f)}, nil
	}
	if err != nil {
		return &iot.CancelSessionResponse{Refused: iot.Refused{Error: iot.RelayUndefined}}, nil
	}
	return &iot.CancelSessionResponse{}, nil
}
