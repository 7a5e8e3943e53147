package smdp

import (
	"context"
	"fmt"
	"time"

	"godwit/db"
	"godwit/ident"
	"godwit/rsp"
)

// ConfirmOrders gives orders their matching ID, confirmation code and, if so
// asked, their release, in one transaction. Where an order names an SM-DS, its
// event is registered there first. ES2+.ConfirmOrder, SGP.22 v2.5, 5.3.2.
func (s *Server) ConfirmOrders(ctx context.Context, operator string, calls []rsp.ConfirmOrder) ([]rsp.ConfirmOrderResult, error) {
	op, err := s.operatorByID(ctx, operator)
	if err != nil {
		return nil, err
	}
	return s.confirmOrders(ctx, op, calls)
}

func (s *Server) confirmOrders(ctx context.Context, op *Operator, calls []rsp.ConfirmOrder) ([]rsp.ConfirmOrderResult, error) {
	registered := make([]registration, len(calls))
	for i, c := range calls {
		if c.SMDSAddress == "" {
			continue
		}
		var err error
		if registered[i], err = s.registerFor(ctx, op, c); err != nil {
			return nil, err
		}
	}
	return runCalls(ctx, s, op, function[rsp.ConfirmOrder, rsp.ConfirmOrderResult]{
		name:   rsp.FnConfirmOrder,
		header: func(q *rsp.ConfirmOrder) *rsp.RequestHeader { return &q.Header },
		answer: func(r *rsp.ConfirmOrderResult) *rsp.ResponseHeader { return &r.Header },
		do: func(ctx context.Context, tx *db.Tx, i int, q rsp.ConfirmOrder) (none rsp.ConfirmOrderResult, err error) {
			at := registered[i]
			if at.refusal != nil {
				return none, at.refusal
			}
			answer, err := s.confirmOrder(ctx, tx, op, q, at.event)
			if err == nil && at.undo != "" {
				if _, err := tx.ExecContext(ctx, `delete from outbox where due_at = $1 and id = $2`, at.due, at.undo); err != nil {
					return none, fmt.Errorf("keep event of %s: %w", q.ICCID, err)
				}
			}
			return answer, err
		},
		plain: func(ctx context.Context, tx *db.Tx, which []int) (map[int]rsp.ConfirmOrderResult, error) {
			return s.confirmMany(ctx, tx, op, calls, which)
		},
	}, calls)
}

// A registration is what became of an order's event at an SM-DS before the
// order is confirmed.
type registration struct {
	event   ident.MatchingID
	undo    string // message in the outbox that deletes the event unless the order is confirmed
	due     int64  // when it does
	refusal *rsp.Failure
}

// undoAfter is how long a registered event waits for its order to be confirmed
// before it is deleted again. A crash in between leaves nothing behind.
const undoAfter = 10 * time.Minute

// registerFor registers the event of an order, if the order could be confirmed
// and was not already.
func (s *Server) registerFor(ctx context.Context, op *Operator, c rsp.ConfirmOrder) (registration, error) {
	var at registration
	var p *profile
	var eid ident.EID
	err := s.db.Read(ctx, func(q db.Query) error {
		if c.Header.Call != "" {
			known, err := readCalls(ctx, q, op.Requester, []string{c.Header.Call})
			if err != nil || len(known) > 0 {
				return err // a retry: its answer is known
			}
		}
		var err error
		p, eid, err = s.checkConfirm(ctx, q, op, c)
		if _, refused := rsp.AsFailure(err); refused {
			p, err = nil, nil // the transaction will find the same and say so
		}
		return err
	})
	if err != nil || p == nil {
		return at, err
	}
	if op.ID != LocalOperator && checkHeader(op, c.Header) != nil {
		return at, nil
	}
	if c.MatchingID != nil {
		at.event = *c.MatchingID
	}
	if at.event == "" {
		at.event = ident.NewMatchingID()
	}
	e := event{EID: eid, ID: at.event}
	at.undo, at.due = s.out.newID(), s.now()+undoAfter.Microseconds()
	if err := s.db.Write(ctx, func(tx *db.Tx) error {
		return s.out.add(ctx, tx, at.undo, kindDeleteEvent, c.SMDSAddress, e, at.due)
	}); err != nil {
		return at, err
	}
	at.refusal = s.registerEvent(ctx, c.SMDSAddress, e, at.undo)
	return at, nil
}
