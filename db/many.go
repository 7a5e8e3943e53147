package db

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// manyRows is how many rows one statement of [Tx.ExecMany] and [QueryIn]
// carries: always as many but for the last, so that the statement stays
// prepared; few, since SQLite copies each page that a statement of several rows
// changes, to take it back if a later row fails.
const manyRows = 32

// ExecMany runs a statement for many rows, some at a time, and returns how
// many rows of the table it has changed. The statement has, in braces, the types
// of one row's columns where the rows go:
//
//	insert into t (a, b) values {text, bigint}
//	update t set b = v.column2 from (values {text, bigint}) v where a = v.column1
//
// Types are text, bigint or boolean; an insert may leave the braces empty, and
// must for bytea. fixed are the parameters $1, $2 .. of all of them.
func (tx *Tx) ExecMany(ctx context.Context, statement string, fixed []any, rows [][]any) (changed int64, err error) {
	for len(rows) > 0 {
		n := min(manyRows, len(rows))
		text, err := withRows(statement, len(fixed), len(rows[0]), n, tx.engine)
		if err != nil {
			return changed, err
		}
		args := make([]any, 0, len(fixed)+n*len(rows[0]))
		args = append(args, fixed...)
		for _, row := range rows[:n] {
			args = append(args, row...)
		}
		result, err := tx.ExecContext(ctx, text, args...)
		if err != nil {
			return changed, err
		}
		some, err := result.RowsAffected()
		if err != nil {
			return changed, err
		}
		changed += some
		rows = rows[n:]
	}
	return changed, nil
}

// withRows puts placeholders in the place of the braces. The first row names
// its types: PostgreSQL would take all of a bare list for text.
func withRows(statement string, fixed, width, n int, e engine) (string, error) {
	before, rest, ok := strings.Cut(statement, "{")
	types, after, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return "", fmt.Errorf("statement %.60q has no place for rows", statement)
	}
	var names []string
	if types != "" {
		if names = strings.Split(types, ","); len(names) != width {
			return "", fmt.Errorf("statement %.60q names %d columns, its rows have %d", statement, len(names), width)
		}
	}
	var b strings.Builder
	b.Grow(len(before) + len(after) + n*width*7 + 40*len(names))
	b.WriteString(before)
	place := placeholders(before, fixed, e)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for j := range width {
			if j > 0 {
				b.WriteByte(',')
			}
			if i == 0 && names != nil {
				b.WriteString("cast(" + place() + " as " + strings.TrimSpace(names[j]) + ")")
				continue
			}
			b.WriteString(place())
		}
		b.WriteByte(')')
	}
	b.WriteString(after)
	return b.String(), nil
}

// placeholders returns what writes the next placeholder of a text whose fixed
// parameters stand before it. On SQLite those that come many at a time have no
// names where that does not change their order: the driver asks for each
// parameter's name, and SQLite walks past all named ones before to find it.
func placeholders(before string, fixed int, e engine) func() string {
	plain := e == sqliteEngine
	for i := range fixed {
		plain = plain && named(before, "$"+strconv.Itoa(i+1))
	}
	if plain {
		return func() string { return "?" }
	}
	number := fixed
	return func() string {
		number++
		return "$" + strconv.Itoa(number)
	}
}

// named reports whether a text has a parameter of this name.
func named(text, name string) bool {
	for {
		_, rest, ok := strings.Cut(text, name)
		if !ok || rest == "" || rest[0] < '0' || rest[0] > '9' {
			return ok
		}
		text = rest
	}
}

// QueryIn runs a query for many keys, some at a time, and calls scan for
// each row found. The query has {} where the keys go: where sid in ({}). fixed
// are the parameters $1, $2 .. of all of them.
func QueryIn(ctx context.Context, q Query, query string, fixed []any, keys []string, scan func(*sql.Rows) error) error {
	before, after, ok := strings.Cut(query, "{}")
	if !ok {
		return fmt.Errorf("query %.60q has no place for keys", query)
	}
	e := postgresEngine // or not known, which is the same here
	if tx, ok := q.(*Tx); ok {
		e = tx.engine
	}
	for len(keys) > 0 {
		n := min(manyRows, len(keys))
		var b strings.Builder
		b.WriteString(before)
		place := placeholders(before, len(fixed), e)
		args := make([]any, 0, len(fixed)+n)
		args = append(args, fixed...)
		for i, key := range keys[:n] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(place())
			args = append(args, key)
		}
		b.WriteString(after)
		if err := queryRows(ctx, q, b.String(), args, scan); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func queryRows(ctx context.Context, q Query, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
