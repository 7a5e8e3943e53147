package eim

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
)

// A State is where a task stands, with what the eUICC or its IPA has said.
type State struct {
	ID              string
	EID             ident.EID
	Kind            Kind
	ICCID           ident.ICCID
	Stage           Stage
	Reason, Message string
	CreatedAt       time.Time
	EndedAt         time.Time // zero while it is under way
	Evidence        []byte    // the last that was believed, as it came
	Witness         string
	AgentKey        []byte // SubjectPublicKeyInfo that proved it, where an agent signed
}

// States returns the newest tasks of an eUICC that were asked for, at most limit.
func (s *Server) States(ctx context.Context, q db.Query, eid ident.EID, limit int) (list []State, err error) {
	list, err = db.All(ctx, q, scanState, selectState+` where eid = $1 and not own order by created_at desc, position desc limit $2`, string(eid), limit)
	if err != nil {
		return nil, fmt.Errorf("list tasks of %s: %w", eid, err)
	}
	return list, nil
}

// State returns one task of an eUICC. One that is not there is a
// [fault.NotFound].
func (s *Server) State(ctx context.Context, q db.Query, eid ident.EID, id string) (State, error) {
	one, err := scanState(q.QueryRowContext(ctx, selectState+` where id = $1 and eid = $2`, id, string(eid)))
	if errors.Is(err, sql.ErrNoRows) {
		return State{}, fault.New(fault.NotFound, "eSIM %s has no package %.40q", eid, id)
	}
	if err != nil {
		return State{}, fmt.Errorf("read task %s: %w", id, err)
	}
	err = q.QueryRowContext(ctx, `select evidence, witness, agent_key from eim_result where task = $1 and verdict <> 'refused' order by id desc limit 1`, id).
		Scan(&one.Evidence, &one.Witness, &one.AgentKey)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return State{}, fmt.Errorf("read result of task %s: %w", id, err)
	}
	return one, nil
}

const selectState = `select id, eid, kind, iccid, stage, reason, message, created_at, ended_at from eim_task`

func scanState(row db.Row) (t State, err error) {
	var created, ended int64
	err = row.Scan(&t.ID, &t.EID, &t.Kind, &t.ICCID, &t.Stage, &t.Reason, &t.Message, &created, &ended)
	t.CreatedAt = db.Time(created)
	if ended > 0 {
		t.EndedAt = db.Time(ended)
	}
	return t, err
}
