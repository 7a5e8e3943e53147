package event

import (
	"context"
	"database/sql"
	"fmt"
	"sync"

	"godwit/db"
)

// AppendMany records events as part of the transaction, in their order and in
// few statements.
func (l *Log) AppendMany(ctx context.Context, tx *db.Tx, events []Event) error {
	rows := make([][]any, len(events))
	for i, e := range events {
		row, err := l.row(e)
		if err != nil {
			return err
		}
		rows[i] = row
	}
	statement := insertManySQLite
	if tx.Postgres() {
		statement = insertManyPostgres
	}
	for len(rows) > 0 {
		n := min(32, len(rows)) // as in db.Tx.ExecMany
		if err := l.appendSome(ctx, tx, statement, rows[:n]); err != nil {
			return fmt.Errorf("record %d events: %w", len(events), err)
		}
		rows = rows[n:]
	}
	for _, e := range events {
		collect(ctx, e)
	}
	if len(events) > 0 {
		tx.AfterCommit(l.tell)
	}
	return nil
}

const (
	insertManySQLite   = `insert into event (txid, id, kind, subject, account, at, data, evidence, evidence_kind) select 0, v.* from (values `
	insertManyPostgres = `insert into event (txid, id, kind, subject, account, at, data, evidence, evidence_kind) select pg_current_xact_id()::text::bigint, v.* from (values `
	// insertManyEnd: "where true" tells SQLite's parser that "on conflict" does
	// not belong to a join.
	insertManyEnd = `) v where true on conflict (id) do nothing returning id`
)

// appendSome inserts rows that fit into one statement. Two nodes may think of
// one number in the same microsecond; what was not taken for that reason gets
// another.
func (l *Log) appendSome(ctx context.Context, tx *db.Tx, statement string, rows [][]any) error {
	for range 10 {
		args := make([]any, 0, 8*len(rows))
		text := []byte(statement)
		for i, row := range rows {
			id, err := l.newID(ctx, tx)
			if err != nil {
				return err
			}
			row[0] = id
			text = appendTuple(text, i, tx.Postgres())
			args = append(args, row...)
		}
		taken := make(map[int64]bool, len(rows))
		if err := scanIDs(ctx, tx, string(text)+insertManyEnd, args, taken); err != nil {
			return err
		}
		left := rows[:0:0]
		for _, row := range rows {
			if !taken[row[0].(int64)] {
				left = append(left, row)
			}
		}
		if rows = left; len(rows) == 0 {
			return nil
		}
	}
	return fmt.Errorf("no free numbers for %d events", len(rows))
}

// appendTuple writes the placeholders of one row. PostgreSQL takes the types of
// all rows from the first.
func appendTuple(text []byte, i int, postgres bool) []byte {
	types := [...]string{"bigint", "text", "text", "text", "bigint", "text", "bytea", "text"}
	if i > 0 {
		text = append(text, ',')
	}
	text = append(text, '(')
	for j, name := range types {
		if j > 0 {
			text = append(text, ',')
		}
		if !postgres {
			text = append(text, '?') // as in db.Tx.ExecMany
			continue
		}
		text = fmt.Appendf(text, "$%d", i*len(types)+j+1)
		if i == 0 {
			text = append(append(text, "::"...), name...)
		}
	}
	return append(text, ')')
}

func scanIDs(ctx context.Context, tx *db.Tx, text string, args []any, into map[int64]bool) error {
	var rows *sql.Rows
	rows, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		into[id] = true
	}
	return rows.Err()
}

// A Witness remembers the first event that is recorded under its context, each
// time since it was last cleared. It tells who sees only a request from outside
// what has come of it.
type Witness struct {
	mu    sync.Mutex
	seen  bool
	first Event
}

type witnessKey struct{}

// WithWitness returns a context under which w sees what is recorded.
func WithWitness(ctx context.Context, w *Witness) context.Context {
	return context.WithValue(ctx, witnessKey{}, w)
}

// Clear forgets: the transaction is tried again.
func (w *Witness) Clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, w.first = false, Event{}
}

// First returns the first event seen, or false if there was none.
func (w *Witness) First() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first, w.seen
}

func collect(ctx context.Context, e Event) {
	w, _ := ctx.Value(witnessKey{}).(*Witness)
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen {
		w.seen, w.first = true, e
	}
}
