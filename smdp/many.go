package smdp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/ident"
	"godwit/rsp"
)

// This file is the short way of the program's own orders, hundreds at a time:
// what needs no decision of its own is done in few statements. Every condition
// here is one of the long way, in order.go and confirm.go; whatever does not
// meet all of them goes that way and is refused there in the right words.

// manySQL returns an update of many profiles that all come from states which e
// may start from: $1 is the new state, $2 the time, the rows' first column the
// ICCID. The state stands inside a function to keep SQLite from looking for the
// rows by it, among all profiles in stock.
func manySQL(e Event, set, types string) string {
	if set != "" {
		set = ", " + set
	}
	return fmt.Sprintf(`update profile set state = $1, updated_at = $2%s from (values {%s}) v where iccid = v.column1 and coalesce(state, '') in (%s)`,
		set, types, fromList(e))
}

// updateAll runs such an update and fails unless it changes every row: they were
// read, and locked, in this transaction.
func updateAll(ctx context.Context, tx *db.Tx, query string, fixed []any, rows [][]any) error {
	changed, err := tx.ExecMany(ctx, query, fixed, rows)
	if err == nil && changed != int64(len(rows)) {
		err = fmt.Errorf("%d of %d profiles changed: others have moved meanwhile", changed, len(rows))
	}
	return err
}

const orderedManyFields = `operator = $3, eid = v.column2, ordered_at = $2, matching_id = null, code_hash = null, smds_address = '', expires_at = 0,
	download_attempts = 0, code_attempts = 0, generation = generation + 1, run = '', bind_key = null, bind_secret = null, failure = ''`

var (
	orderManySQL = manySQL(Order, orderedManyFields, "text, text")
	linkManySQL  = manySQL(OrderLinked, orderedManyFields, "text, text")
)

// orderMany takes stock for the orders that name a type only.
func (s *Server) orderMany(ctx context.Context, tx *db.Tx, op *Operator, stock *shelf, calls []rsp.DownloadOrder, which []int) (map[int]rsp.DownloadOrderResult, error) {
	// An order of the same batch for a certain profile comes first: taking
	// stock must not take that one.
	for _, i := range which {
		if calls[i].ICCID != "" {
			return nil, nil
		}
	}
	answers := make(map[int]rsp.DownloadOrderResult, len(which))
	var free, linked [][]any
	for _, i := range which {
		q := calls[i]
		eid, err := s.checkEID(op, q.EID)
		if err != nil || q.Type == "" || !stock.known[q.Type] || !op.may(q.Type) {
			continue
		}
		iccid, ok, err := stock.take(ctx, tx, q.Type)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		answers[i] = rsp.DownloadOrderResult{ICCID: iccid}
		if row := []any{string(iccid), string(eid)}; eid == "" {
			free = append(free, row)
		} else {
			linked = append(linked, row)
		}
	}
	if err := updateAll(ctx, tx, orderManySQL, []any{string(Allocated), s.now(), op.ID}, free); err != nil {
		return nil, err
	}
	return answers, updateAll(ctx, tx, linkManySQL, []any{string(Linked), s.now(), op.ID}, linked)
}

// An orderRow is what the short way needs to know of a profile.
type orderRow struct {
	state State
	eid   ident.EID
}

// ownMany reads, for update, those of the named profiles that the operator has
// ordered and no other owns.
func ownMany(ctx context.Context, tx *db.Tx, op *Operator, iccids []string) (map[ident.ICCID]orderRow, error) {
	own := make(map[ident.ICCID]orderRow, len(iccids))
	err := db.QueryIn(ctx, tx, `select iccid, state, eid from profile where operator = $1 and owner in ('', $1) and iccid in ({})`+tx.ForUpdate(),
		[]any{op.ID}, iccids, func(rows *sql.Rows) error {
			var iccid ident.ICCID
			var r orderRow
			err := rows.Scan(&iccid, &r.state, &r.eid)
			own[iccid] = r
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	return own, nil
}

const confirmedManyFields = `eid = v.column2, matching_id = v.column3, code_hash = null, smds_address = '', expires_at = v.column4`

var (
	confirmManySQL     = manySQL(Confirm, confirmedManyFields, "text, text, text, bigint")
	confirmFreeManySQL = manySQL(ConfirmFree, confirmedManyFields, "text, text, text, bigint")
	releaseManySQL     = manySQL(Release, "", "text")
)

// confirmMany confirms orders that leave the matching ID to the server, or want
// none.
func (s *Server) confirmMany(ctx context.Context, tx *db.Tx, op *Operator, calls []rsp.ConfirmOrder, which []int) (map[int]rsp.ConfirmOrderResult, error) {
	iccids := make([]string, len(which))
	for n, i := range which {
		iccids[n] = string(calls[i].ICCID)
	}
	own, err := ownMany(ctx, tx, op, iccids)
	if err != nil {
		return nil, err
	}
	var expires int64
	if s.cfg.OrderLifetime > 0 {
		expires = s.now() + s.cfg.OrderLifetime.Microseconds()
	}
	answers := make(map[int]rsp.ConfirmOrderResult, len(which))
	var confirmed, released [][]any
	for _, i := range which {
		q := calls[i]
		p, ok := own[q.ICCID]
		if !ok || q.SMDSAddress != "" || q.ConfirmationCode != "" || q.MatchingID != nil && *q.MatchingID != "" {
			continue
		}
		eid, err := s.checkEID(op, q.EID)
		if _, may := p.state.After(Confirm); err != nil || !may || p.eid != "" && eid != "" && eid != p.eid {
			continue
		}
		if eid == "" {
			eid = p.eid
		}
		var id ident.MatchingID
		if q.MatchingID == nil {
			id = ident.NewMatchingID()
		} else if eid == "" {
			continue
		}
		delete(own, q.ICCID) // a second order of the same profile finds it confirmed
		answers[i] = rsp.ConfirmOrderResult{EID: eid, MatchingID: id, SMDPAddress: s.Address()}
		if row := []any{string(q.ICCID), string(eid), string(id), expires}; q.Release {
			released = append(released, row)
		} else {
			confirmed = append(confirmed, row)
		}
	}
	if err := updateAll(ctx, tx, confirmManySQL, []any{string(Confirmed), s.now()}, confirmed); err != nil {
		return nil, err
	}
	return answers, updateAll(ctx, tx, confirmFreeManySQL, []any{string(Released), s.now()}, released)
}

// releaseMany releases what is confirmed.
func (s *Server) releaseMany(ctx context.Context, tx *db.Tx, op *Operator, calls []rsp.ReleaseProfile, which []int) (map[int]rsp.ReleaseProfileResult, error) {
	iccids := make([]string, len(which))
	for n, i := range which {
		iccids[n] = string(calls[i].ICCID)
	}
	own, err := ownMany(ctx, tx, op, iccids)
	if err != nil {
		return nil, err
	}
	answers := make(map[int]rsp.ReleaseProfileResult, len(which))
	var rows [][]any
	for _, i := range which {
		iccid := calls[i].ICCID
		if _, may := own[iccid].state.After(Release); !may {
			continue
		}
		delete(own, iccid)
		answers[i] = rsp.ReleaseProfileResult{}
		rows = append(rows, []any{string(iccid)})
	}
	return answers, updateAll(ctx, tx, releaseManySQL, []any{string(Released), s.now()}, rows)
}

// HasType reports whether there is a profile type of this name.
func (s *Server) HasType(ctx context.Context, id string) (bool, error) {
	_, err := s.loadType(ctx, id)
	if errors.Is(err, errNoType) {
		return false, nil
	}
	return err == nil, err
}
