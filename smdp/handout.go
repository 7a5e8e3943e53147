package smdp

import (
	"context"
	"fmt"

	"godwit/db"
	"godwit/ident"
	"godwit/rsp"
)

// A Want asks for one profile that may be downloaded at once: for the eUICC
// with this EID, or under a code for whichever shows it, or both.
type Want struct {
	Type string
	EID  ident.EID
	Code bool
}

// A Handed is a profile that may be downloaded.
type Handed struct {
	ICCID      ident.ICCID
	MatchingID ident.MatchingID
	Address    string // of this SM-DP+
}

// HandOut takes profiles out of stock and releases them for the program itself,
// as part of the caller's transaction: ES2+.DownloadOrder and
// ES2+.ConfirmOrder with releaseFlag in one step. Being part of the transaction
// it needs no call identifiers: either all of it happened or nothing did.
//
// It returns what it could do as a matter of course, by the number of the want.
// To the others nothing has happened; the functions themselves find the words
// for why. SGP.22 v2.5, 5.3.1 and 5.3.2.
func (s *Server) HandOut(ctx context.Context, tx *db.Tx, wants []Want) (map[int]Handed, error) {
	op, err := s.operatorByID(ctx, LocalOperator)
	if err != nil {
		return nil, err
	}
	now := s.now()
	var expires int64
	if s.cfg.OrderLifetime > 0 {
		expires = now + s.cfg.OrderLifetime.Microseconds()
	}
	stock := s.shelf(op, len(wants))
	empty := map[string]bool{}
	ready := make(map[int]Handed, len(wants))
	rows := make([][]any, 0, len(wants))
	for i, w := range wants {
		eid, err := s.checkEID(op, w.EID)
		if err != nil || w.Type == "" || empty[w.Type] || eid == "" && !w.Code {
			continue
		}
		iccid, ok, err := stock.take(ctx, tx, w.Type)
		if err != nil {
			return nil, err
		}
		if !ok {
			empty[w.Type] = true
			continue
		}
		r := Handed{ICCID: iccid, Address: s.Address()}
		if w.Code {
			r.MatchingID = ident.NewMatchingID()
		}
		ready[i] = r
		rows = append(rows, []any{string(iccid), string(eid), string(r.MatchingID)})
	}
	if err := updateAll(ctx, tx, handOutSQL, []any{string(handedOut), now, op.ID, expires}, rows); err != nil {
		return nil, fmt.Errorf("hand out %d profiles: %w", len(rows), err)
	}
	for range rows {
		count("es2plus", rsp.FnDownloadOrder, nil)
		count("es2plus", rsp.FnConfirmOrder, nil)
	}
	return ready, nil
}

// handedOut is where two moves at once lead: an order, linked or not, and its
// confirmation with the release.
var handedOut = func() State {
	ordered, _ := Available.After(Order)
	released, _ := ordered.After(ConfirmFree)
	return released
}()

// handOutSQL begins the order anew as orderedFields does.
var handOutSQL = manySQL(Order, `operator = $3, eid = v.column2, ordered_at = $2, matching_id = v.column3, code_hash = null,
	smds_address = '', expires_at = $4, download_attempts = 0, code_attempts = 0, generation = generation + 1, run = '', bind_key = null,
	bind_secret = null, failure = ''`, "text, text, text")
