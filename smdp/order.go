package smdp

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"godwit/db"
	"godwit/ident"
	"godwit/rsp"
)

// DownloadOrders takes profiles out of stock, in one transaction. Answers stand
// in the order of the calls; a refusal is in the header of its answer.
// ES2+.DownloadOrder, SGP.22 v2.5, 5.3.1.
func (s *Server) DownloadOrders(ctx context.Context, operator string, calls []rsp.DownloadOrder) ([]rsp.DownloadOrderResult, error) {
	op, err := s.operatorByID(ctx, operator)
	if err != nil {
		return nil, err
	}
	return s.downloadOrders(ctx, op, calls)
}

func (s *Server) downloadOrders(ctx context.Context, op *Operator, calls []rsp.DownloadOrder) ([]rsp.DownloadOrderResult, error) {
	// The types are looked up outside the transaction, which holds others up.
	shelf := s.shelf(op, len(calls))
	for _, c := range calls {
		if _, ok := shelf.known[c.Type]; ok || c.Type == "" {
			continue
		}
		_, err := s.loadType(ctx, c.Type)
		if err != nil && !errors.Is(err, errNoType) {
			return nil, err
		}
		shelf.known[c.Type] = err == nil
	}
	return runCalls(ctx, s, op, function[rsp.DownloadOrder, rsp.DownloadOrderResult]{
		name:   rsp.FnDownloadOrder,
		header: func(q *rsp.DownloadOrder) *rsp.RequestHeader { return &q.Header },
		answer: func(r *rsp.DownloadOrderResult) *rsp.ResponseHeader { return &r.Header },
		do: func(ctx context.Context, tx *db.Tx, _ int, q rsp.DownloadOrder) (rsp.DownloadOrderResult, error) {
			iccid, err := s.downloadOrder(ctx, tx, op, shelf, q)
			return rsp.DownloadOrderResult{ICCID: iccid}, err
		},
		plain: func(ctx context.Context, tx *db.Tx, which []int) (map[int]rsp.DownloadOrderResult, error) {
			return s.orderMany(ctx, tx, op, shelf, calls, which)
		},
	}, calls)
}

func (s *Server) downloadOrder(ctx context.Context, tx *db.Tx, op *Operator, stock *shelf, q rsp.DownloadOrder) (ident.ICCID, error) {
	eid, err := s.checkEID(op, q.EID)
	if err != nil {
		return "", err
	}
	if q.ICCID == "" && q.Type == "" {
		return "", rsp.Refuse(rsp.ParameterMissing, "give iccid, profileType or both")
	}
	if q.Type != "" {
		if !stock.known[q.Type] {
			return "", rsp.Refuse(rsp.TypeUnknown, "there is no profile type %q", q.Type)
		}
		if !op.may(q.Type) {
			return "", rsp.Refuse(rsp.TypeForbidden, "operator %s may not order profile type %q", op.Name, q.Type)
		}
	}
	if q.ICCID != "" {
		return s.orderICCID(ctx, tx, op, eid, q)
	}
	for {
		iccid, ok, err := stock.take(ctx, tx, q.Type)
		if err != nil {
			return "", err
		}
		if !ok {
			return "", rsp.Refuse(rsp.TypeUnavailable, "no profile of type %q is left in stock", q.Type)
		}
		// A call of the same batch that named this ICCID may have been first.
		if ok, err := s.allocate(ctx, tx, op, iccid, eid); err != nil || ok {
			return iccid, err
		}
	}
}

// orderICCID takes one certain profile.
func (s *Server) orderICCID(ctx context.Context, tx *db.Tx, op *Operator, eid ident.EID, q rsp.DownloadOrder) (ident.ICCID, error) {
	p, err := s.ordered(ctx, tx, q.ICCID)
	if err != nil {
		return "", err
	}
	if p.State == Available {
		var visible bool
		if err := tx.QueryRowContext(ctx, `select visible from stock_batch where id = $1`, p.Batch).Scan(&visible); err != nil {
			return "", fmt.Errorf("read stock batch %s: %w", p.Batch, err)
		}
		if !visible { // still being loaded, so not there yet
			return "", unknownICCID(q.ICCID)
		}
	}
	switch {
	case p.Owner != "" && p.Owner != op.ID, p.Operator != "" && p.Operator != op.ID:
		return "", rsp.Refuse(rsp.ICCIDForbidden, "profile %s belongs to another operator", p.ICCID)
	case p.State != Available:
		return "", rsp.Refuse(rsp.ICCIDInUse, "profile %s is %s already", p.ICCID, p.State)
	case q.Type != "" && q.Type != p.Type:
		return "", rsp.Refuse(rsp.TypeRefused, "profile %s is of type %q, not %q", p.ICCID, p.Type, q.Type)
	case !op.may(p.Type):
		return "", rsp.Refuse(rsp.TypeForbidden, "operator %s may not order profile type %q", op.Name, p.Type)
	}
	ok, err := s.allocate(ctx, tx, op, p.ICCID, eid)
	if err == nil && !ok {
		err = rsp.Refuse(rsp.ICCIDInUse, "profile %s was ordered this moment", p.ICCID)
	}
	return p.ICCID, err
}

var (
	allocateSQL = guarded(Order, orderedFields, "")
	linkSQL     = guarded(OrderLinked, orderedFields, "")
)

// orderedFields begin an order anew: nothing of an earlier, cancelled order of
// the same profile is left.
const orderedFields = `operator = $4, eid = $5, ordered_at = $2, matching_id = null, code_hash = null, smds_address = '', expires_at = 0,
	download_attempts = 0, code_attempts = 0, generation = generation + 1, run = '', bind_key = null, bind_secret = null, failure = ''`

func (s *Server) allocate(ctx context.Context, tx *db.Tx, op *Operator, iccid ident.ICCID, eid ident.EID) (bool, error) {
	query, to := allocateSQL, Allocated
	if eid != "" {
		query, to = linkSQL, Linked
	}
	ok, err := changed(tx.ExecContext(ctx, query, string(to), s.now(), string(iccid), op.ID, string(eid)))
	if err != nil {
		return false, fmt.Errorf("order %s: %w", iccid, err)
	}
	return ok, nil
}

// checkEID reads an EID that may be absent. The program's own door has judged
// the check digits of its EIDs by its own rules; others' must be right.
func (s *Server) checkEID(op *Operator, eid ident.EID) (ident.EID, error) {
	if eid == "" {
		return "", nil
	}
	check := func(e string) error { _, err := ident.ParseEID(e); return err }
	if op.ID == LocalOperator {
		check = ident.EIDForm
	}
	if err := check(string(eid)); err != nil {
		return "", rsp.Refuse(rsp.EIDInvalid, "eid: %v", err)
	}
	return eid, nil
}

func unknownICCID(iccid ident.ICCID) error {
	return rsp.Refuse(rsp.ICCIDUnknown, "no profile has ICCID %s", iccid)
}

// ordered reads the profile that a call names.
func (s *Server) ordered(ctx context.Context, q db.Query, named ident.ICCID) (*profile, error) {
	if named == "" {
		return nil, rsp.Refuse(rsp.ParameterMissing, "iccid is missing")
	}
	// Clients pad 19 digits with F. Check digits do not matter for finding it.
	iccid := ident.ICCID(strings.TrimRight(string(named), "Ff"))
	if len(iccid) < 18 || len(iccid) > 20 || strings.Trim(string(iccid), "0123456789") != "" {
		return nil, rsp.Refuse(rsp.ICCIDInvalid, "iccid: an ICCID is 19 or 20 decimal digits")
	}
	p, err := profileByICCID(ctx, q, iccid)
	if errors.Is(err, errNoProfile) {
		return nil, unknownICCID(iccid)
	}
	return p, err
}

// ownOrder reads the profile that a call names, if the operator ordered it.
func (s *Server) ownOrder(ctx context.Context, q db.Query, op *Operator, named ident.ICCID) (*profile, error) {
	p, err := s.ordered(ctx, q, named)
	if err != nil {
		return nil, err
	}
	if p.Operator != op.ID && p.Operator != "" || p.Owner != "" && p.Owner != op.ID {
		return nil, rsp.Refuse(rsp.ICCIDForbidden, "profile %s belongs to another operator", p.ICCID)
	}
	return p, nil
}

func wrongState(p *profile, does string) error {
	return rsp.Refuse(rsp.ICCIDState, "profile %s is %s: it cannot be %s", p.ICCID, p.State, does)
}

var (
	confirmSQL     = guarded(Confirm, confirmedFields, "")
	confirmFreeSQL = guarded(ConfirmFree, confirmedFields, "")
	releaseSQL     = guarded(Release, "", "")
)

const confirmedFields = `eid = $4, matching_id = $5, code_hash = $6, smds_address = $7, expires_at = $8`

// confirmOrder carries out one call. event is the identifier under which the
// order was registered at an SM-DS already, or "".
func (s *Server) confirmOrder(ctx context.Context, tx *db.Tx, op *Operator, q rsp.ConfirmOrder, event ident.MatchingID) (rsp.ConfirmOrderResult, error) {
	var none rsp.ConfirmOrderResult
	p, eid, err := s.checkConfirm(ctx, tx, op, q)
	if err != nil {
		return none, err
	}
	stored, told := event, event
	switch {
	case q.MatchingID != nil && *q.MatchingID == "":
		told = "" // the operator gives its customer none; stored still holds the event's, if any
	case q.MatchingID != nil:
		stored, told = *q.MatchingID, *q.MatchingID
	case event == "":
		stored = ident.NewMatchingID()
		told = stored
	}
	var code []byte
	if q.ConfirmationCode != "" {
		hash := sha256.Sum256([]byte(q.ConfirmationCode))
		code = s.db.Seal(codeRow(p.ICCID), hash[:])
	}
	var expires int64
	if s.cfg.OrderLifetime > 0 {
		expires = s.now() + s.cfg.OrderLifetime.Microseconds()
	}
	query, to := confirmSQL, Confirmed
	if q.Release {
		query, to = confirmFreeSQL, Released
	}
	ok, err := changed(tx.ExecContext(ctx, query, string(to), s.now(), string(p.ICCID),
		string(eid), string(stored), code, q.SMDSAddress, expires))
	if err != nil {
		return none, fmt.Errorf("confirm %s: %w", p.ICCID, err)
	}
	if !ok {
		return none, wrongState(p, "confirmed")
	}
	return rsp.ConfirmOrderResult{EID: eid, MatchingID: told, SMDPAddress: s.Address()}, nil
}

// checkConfirm makes the checks of a ConfirmOrder that need no SM-DS, and
// returns the profile with the EID that the order will have.
func (s *Server) checkConfirm(ctx context.Context, q db.Query, op *Operator, c rsp.ConfirmOrder) (*profile, ident.EID, error) {
	p, err := s.ownOrder(ctx, q, op, c.ICCID)
	if err != nil {
		return nil, "", err
	}
	eid, err := s.checkEID(op, c.EID)
	if err != nil {
		return nil, "", err
	}
	if _, ok := p.State.After(Confirm); !ok {
		return nil, "", wrongState(p, "confirmed")
	}
	if p.EID != "" && eid != "" && eid != p.EID {
		return nil, "", rsp.Refuse(rsp.EIDDiffers, "the order of %s is for EID %s", p.ICCID, p.EID)
	}
	if eid == "" {
		eid = p.EID
	}
	if c.SMDSAddress != "" && eid == "" {
		return nil, "", rsp.Refuse(rsp.EIDMissing, "an event at an SM-DS needs the EID that it is for")
	}
	if c.MatchingID == nil {
		return p, eid, nil
	}
	id, err := ident.ParseMatchingID(string(*c.MatchingID))
	if err != nil {
		return nil, "", rsp.Refuse(rsp.MatchingIDInvalid, "matchingId: %v", err)
	}
	if id == "" {
		if eid == "" {
			return nil, "", rsp.Refuse(rsp.EIDMissing, "an order without matchingId is found by its EID: give one")
		}
		return p, eid, nil
	}
	other, err := profileWhere(ctx, q, `p.matching_id = $1 and p.matching_id <> ''`, string(id))
	if err == nil {
		return nil, "", rsp.Refuse(rsp.MatchingIDInUse, "matchingId %s is that of %s", id, other.ICCID)
	}
	if !errors.Is(err, errNoProfile) {
		return nil, "", err
	}
	return p, eid, nil
}

// ReleaseProfiles allows the download of confirmed profiles.
// ES2+.ReleaseProfile, SGP.22 v2.5, 5.3.4.
func (s *Server) ReleaseProfiles(ctx context.Context, operator string, calls []rsp.ReleaseProfile) ([]rsp.ReleaseProfileResult, error) {
	op, err := s.operatorByID(ctx, operator)
	if err != nil {
		return nil, err
	}
	return s.releaseProfiles(ctx, op, calls)
}

func (s *Server) releaseProfiles(ctx context.Context, op *Operator, calls []rsp.ReleaseProfile) ([]rsp.ReleaseProfileResult, error) {
	return runCalls(ctx, s, op, function[rsp.ReleaseProfile, rsp.ReleaseProfileResult]{
		name:   rsp.FnReleaseProfile,
		header: func(q *rsp.ReleaseProfile) *rsp.RequestHeader { return &q.Header },
		answer: func(r *rsp.ReleaseProfileResult) *rsp.ResponseHeader { return &r.Header },
		do: func(ctx context.Context, tx *db.Tx, _ int, q rsp.ReleaseProfile) (none rsp.ReleaseProfileResult, err error) {
			p, err := s.ownOrder(ctx, tx, op, q.ICCID)
			if err != nil {
				return none, err
			}
			ok, err := changed(tx.ExecContext(ctx, releaseSQL, string(Released), s.now(), string(p.ICCID)))
			if err != nil {
				return none, fmt.Errorf("release %s: %w", p.ICCID, err)
			}
			if !ok {
				return none, wrongState(p, "released")
			}
			return none, nil
		},
		plain: func(ctx context.Context, tx *db.Tx, which []int) (map[int]rsp.ReleaseProfileResult, error) {
			return s.releaseMany(ctx, tx, op, calls, which)
		},
	}, calls)
}

// CancelOrders ends orders that were not delivered. ES2+.CancelOrder, SGP.22
// v2.5, 5.3.3.
func (s *Server) CancelOrders(ctx context.Context, operator string, calls []rsp.CancelOrder) ([]rsp.CancelOrderResult, error) {
	op, err := s.operatorByID(ctx, operator)
	if err != nil {
		return nil, err
	}
	return s.cancelOrders(ctx, op, calls)
}

func (s *Server) cancelOrders(ctx context.Context, op *Operator, calls []rsp.CancelOrder) ([]rsp.CancelOrderResult, error) {
	return runCalls(ctx, s, op, function[rsp.CancelOrder, rsp.CancelOrderResult]{
		name:   rsp.FnCancelOrder,
		header: func(q *rsp.CancelOrder) *rsp.RequestHeader { return &q.Header },
		answer: func(r *rsp.CancelOrderResult) *rsp.ResponseHeader { return &r.Header },
		do: func(ctx context.Context, tx *db.Tx, _ int, q rsp.CancelOrder) (none rsp.CancelOrderResult, err error) {
			return none, s.cancelOrder(ctx, tx, op, q)
		},
	}, calls)
}

var (
	returnSQL = guarded(CancelReturn, cancelledFields, "")
	retireSQL = guarded(CancelRetire, cancelledFields, "")
)

// cancelledFields take every claim on the profile away, also from runs that are
// under way.
const cancelledFields = `operator = '', eid = '', matching_id = null, code_hash = null, smds_address = '', expires_at = 0,
	generation = generation + 1, run = '', bind_key = null, bind_secret = null, failure = ''`

func (s *Server) cancelOrder(ctx context.Context, tx *db.Tx, op *Operator, q rsp.CancelOrder) error {
	p, err := s.ownOrder(ctx, tx, op, q.ICCID)
	if err != nil {
		return err
	}
	query, to := returnSQL, Available
	switch q.Final {
	case rsp.FinalAvailable:
	case rsp.FinalUnavailable:
		query, to = retireSQL, Unavailable
	default:
		return rsp.Refuse(rsp.FinalStatusInvalid, "finalProfileStatusIndicator is %s or %s, not %q",
			rsp.FinalAvailable, rsp.FinalUnavailable, q.Final)
	}
	if _, ok := p.State.After(CancelReturn); !ok {
		return wrongState(p, "cancelled")
	}
	switch {
	case p.EID != "" && q.EID == "":
		return rsp.Refuse(rsp.EIDMissing, "the order of %s is for one EID: name it", p.ICCID)
	case p.EID != q.EID:
		return rsp.Refuse(rsp.EIDDiffers, "the order of %s is not for EID %s", p.ICCID, q.EID)
	case q.MatchingID != nil && string(*q.MatchingID) != p.MatchingID.String:
		return rsp.Refuse(rsp.MatchingIDDiffers, "matchingId %s is not that of %s", *q.MatchingID, p.ICCID)
	}
	ok, err := changed(tx.ExecContext(ctx, query, string(to), s.now(), string(p.ICCID)))
	if err != nil {
		return fmt.Errorf("cancel %s: %w", p.ICCID, err)
	}
	if !ok {
		return wrongState(p, "cancelled")
	}
	return s.out.deleteEvent(ctx, tx, p)
}
