package smdp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"godwit/db"
	"godwit/rsp"
)

// A function is one function of ES2+ as it runs for many profiles in one
// transaction. Q is its request and R its answer.
type function[Q, R any] struct {
	name   string
	header func(q *Q) *rsp.RequestHeader
	answer func(r *R) *rsp.ResponseHeader
	do     func(ctx context.Context, tx *db.Tx, i int, q Q) (R, error) // i: which of the calls q is
	// plain carries out at once, in few statements, those of the calls whose
	// numbers it is given that go well as a matter of course, and returns their
	// answers by number. The others go to do, one by one. It may be nil.
	plain func(ctx context.Context, tx *db.Tx, which []int) (map[int]R, error)
}

// callBatch bounds how many rows one statement of es2_call carries.
const callBatch = 100

// runCalls executes calls for an operator in one transaction and returns their
// answers in order. A refusal is an answer of its call alone; an error is
// trouble of ours, and then nothing was done at all.
//
// Two calls with one call identifier are a call and its retry: the retry gets
// the first answer, whatever has happened to the profile since. SGP.22 v2.5,
// 5.2.2. A call without an identifier, which only the program itself may make,
// is never taken for a retry.
func runCalls[Q, R any](ctx context.Context, s *Server, op *Operator, f function[Q, R], calls []Q) ([]R, error) {
	digests := make([][]byte, len(calls))
	for i := range calls {
		plain := calls[i]
		*f.header(&plain) = rsp.RequestHeader{}
		encoded, err := json.Marshal(plain)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", f.name, err)
		}
		sum := sha256.Sum256(encoded)
		digests[i] = sum[:]
	}
	var answers []R
	err := s.db.Write(ctx, func(tx *db.Tx) error {
		answers = make([]R, len(calls))
		ids := make([]string, 0, len(calls))
		for i := range calls {
			if id := f.header(&calls[i]).Call; id != "" {
				ids = append(ids, id)
			}
		}
		known, err := readCalls(ctx, tx, op.Requester, ids)
		if err != nil {
			return err
		}
		var fresh []storedCall
		easy, err := runPlain(ctx, tx, op, f, calls, known)
		if err != nil {
			return err
		}
		for i := range calls {
			refuse := func(err error) { *f.answer(&answers[i]) = rsp.HeaderFor(err) }
			header := f.header(&calls[i])
			if op.ID != LocalOperator {
				if refusal := checkHeader(op, *header); refusal != nil {
					refuse(refusal)
					continue
				}
			}
			if earlier, ok := known[header.Call]; ok {
				if earlier.function != f.name || !bytes.Equal(earlier.digest, digests[i]) {
					refuse(rsp.Refuse(rsp.ParameterInvalid,
						"functionCallIdentifier %q was used for another request; a retry repeats its request exactly", header.Call))
					continue
				}
				if err := json.Unmarshal([]byte(earlier.answer), &answers[i]); err != nil {
					return fmt.Errorf("read answer of call %s: %w", header.Call, err)
				}
				continue
			}
			answer, done := easy[i]
			if !done {
				answer, err = f.do(ctx, tx, i, calls[i])
			}
			if _, refused := rsp.AsFailure(err); err != nil && !refused {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			*f.answer(&answer) = rsp.HeaderFor(err)
			answers[i] = answer
			if header.Call == "" {
				continue
			}
			encoded, err := json.Marshal(answer)
			if err != nil {
				return fmt.Errorf("encode answer of %s: %w", f.name, err)
			}
			call := storedCall{header.Call, f.name, digests[i], string(encoded)}
			known[header.Call] = call
			fresh = append(fresh, call)
		}
		return s.storeCalls(ctx, tx, op.Requester, fresh)
	})
	if err != nil {
		return nil, err
	}
	for i := range answers {
		settle(ctx, "es2plus", f.name, f.answer(&answers[i]).Err())
	}
	return answers, nil
}

// runPlain has the plain calls among those of our own program that are made
// for the first time carried out together.
func runPlain[Q, R any](ctx context.Context, tx *db.Tx, op *Operator, f function[Q, R], calls []Q, known map[string]storedCall) (map[int]R, error) {
	if f.plain == nil || op.ID != LocalOperator {
		return nil, nil
	}
	var which []int
	seen := make(map[string]bool, len(calls))
	for i := range calls {
		id := f.header(&calls[i]).Call
		if _, repeated := known[id]; repeated || id == "" || seen[id] {
			continue
		}
		seen[id] = true
		which = append(which, i)
	}
	if len(which) < 2 {
		return nil, nil
	}
	answers, err := f.plain(ctx, tx, which)
	if err != nil {
		return nil, fmt.Errorf("%s of %d profiles: %w", f.name, len(which), err)
	}
	return answers, nil
}

// checkHeader refuses a call whose header is not the operator's.
func checkHeader(op *Operator, h rsp.RequestHeader) *rsp.Failure {
	switch {
	case h.Requester == "":
		return rsp.Refuse(rsp.ParameterMissing, "header.functionRequesterIdentifier is missing")
	case h.Call == "":
		return rsp.Refuse(rsp.ParameterMissing, "header.functionCallIdentifier is missing")
	case len(h.Call) > 255:
		return rsp.Refuse(rsp.ParameterInvalid, "header.functionCallIdentifier has more than 255 characters")
	case h.Requester != op.Requester:
		return rsp.Refuse(rsp.CallerForbidden, "functionRequesterIdentifier %q is not that of the client certificate's operator", h.Requester)
	}
	return nil
}

// A storedCall is a call that was answered before.
type storedCall struct {
	id, function string
	digest       []byte
	answer       string
}

func readCalls(ctx context.Context, q db.Query, requester string, ids []string) (map[string]storedCall, error) {
	known := make(map[string]storedCall, len(ids))
	for len(ids) > 0 {
		n := min(callBatch, len(ids))
		args := make([]any, 0, n+1)
		args = append(args, requester)
		for _, id := range ids[:n] {
			args = append(args, id)
		}
		rows, err := q.QueryContext(ctx, `select call_id, function, digest, answer from es2_call
			where requester = $1 and call_id in (`+placeholders(2, n)+`)`, args...)
		if err != nil {
			return nil, fmt.Errorf("read earlier calls: %w", err)
		}
		for rows.Next() {
			var c storedCall
			if err := rows.Scan(&c.id, &c.function, &c.digest, &c.answer); err != nil {
				rows.Close()
				return nil, fmt.Errorf("read earlier calls: %w", err)
			}
			known[c.id] = c
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("read earlier calls: %w", err)
		}
		ids = ids[n:]
	}
	return known, nil
}

func (s *Server) storeCalls(ctx context.Context, tx *db.Tx, requester string, calls []storedCall) error {
	now := s.now()
	for len(calls) > 0 {
		n := min(callBatch, len(calls))
		args := make([]any, 0, 6*n)
		for _, c := range calls[:n] {
			args = append(args, requester, c.id, c.function, c.digest, c.answer, now)
		}
		if _, err := tx.ExecContext(ctx, `insert into es2_call (requester, call_id, function, digest, answer, created_at) values `+
			tuples(6, n), args...); err != nil {
			return fmt.Errorf("store calls: %w", err)
		}
		calls = calls[n:]
	}
	return nil
}

// placeholders returns "$first, .., $last" for n parameters.
func placeholders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	return b.String()
}

// tuples returns n tuples of width placeholders, numbered through from $1.
func tuples(width, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + placeholders(1+i*width, width) + ")")
	}
	return b.String()
}
