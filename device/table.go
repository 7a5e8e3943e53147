package device

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"godwit/db"
	"godwit/fault"
	"godwit/query"
)

// A table is how one kind of record is read: one, several, by its key or in
// pages.
type table[T any] struct {
	name    string // of one record, in refusals
	selects string // "select … from …"
	is      string // condition on the record's key, which is $1
	account string // column with the account
	scan    func(r db.Row, more ...any) (T, error)
	place   func(T) int64 // in the order of lists
}

// one returns the first record that rest, which follows "from …", finds.
func (t table[T]) one(ctx context.Context, q db.Query, rest string, args ...any) (T, error) {
	return t.scan(q.QueryRowContext(ctx, t.selects+" "+rest, args...))
}

// all returns the records that rest finds.
func (t table[T]) all(ctx context.Context, q db.Query, rest string, args ...any) ([]T, error) {
	return db.All(ctx, q, func(r db.Row) (T, error) { return t.scan(r) }, t.selects+" "+rest, args...)
}

// read returns a record by its key, whoever has it. suffix ends the query.
func (t table[T]) read(ctx context.Context, q db.Query, key any, suffix string) (T, error) {
	return t.one(ctx, q, "where "+t.is+suffix, key)
}

// find is read for an account: a record of another account is not there.
func (t table[T]) find(ctx context.Context, q db.Query, account string, key any, suffix string) (x T, err error) {
	x, err = t.one(ctx, q, "where "+t.is+" and "+t.account+" = $2"+suffix, key, account)
	if db.None(err) {
		return x, fault.New(fault.NotFound, "there is no %s %v", t.name, key)
	}
	if err != nil {
		return x, fmt.Errorf("read %s %v: %w", t.name, key, err)
	}
	return x, nil
}

// get is find in a transaction of its own.
func (t table[T]) get(ctx context.Context, d *db.DB, account string, key any) (x T, err error) {
	err = d.Read(ctx, func(q db.Query) error {
		x, err = t.find(ctx, q, account, key, "")
		return err
	})
	return x, err
}

// found is a record and its value of the order.
type found[T any] struct {
	item  T
	value any
}

// manyMatches is from where on a list is rather read in its order than sorted
// after its condition: with n records and m matches, the one reads about n/m
// times a page's size, the other m.
const manyMatches = 50_000

func (t table[T]) page(ctx context.Context, d *db.DB, account string, spec query.Spec) (p query.Page[T], err error) {
	err = d.Read(ctx, func(q db.Query) error {
		statement, args, err := t.statement(ctx, q, d.Postgres(), account, spec)
		if err != nil {
			return err
		}
		all, err := db.All(ctx, q, func(r db.Row) (f found[T], err error) {
			f.item, err = t.scan(r, &f.value)
			return f, err
		}, statement, args...)
		if err != nil {
			return err
		}
		page := query.NextPage(spec, all, func(f found[T]) (value, key any) { return f.value, t.place(f.item) })
		p = query.Page[T]{Next: page.Next, Items: make([]T, len(page.Items))}
		for i, f := range page.Items {
			p.Items[i] = f.item
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("read a page: %w", err)
	}
	return p, nil
}

// statement writes the query of a page. PostgreSQL knows how many records match
// a condition; SQLite does not: it would sort a million to show the first
// thousand, or read a million in order to find the one. So the matches are counted, up to a
// bound, and the planner is left one way.
func (t table[T]) statement(ctx context.Context, q db.Query, postgres bool, account string, spec query.Spec) (string, []any, error) {
	at := strings.LastIndex(t.selects, "from ")
	columns, from := strings.TrimSpace(t.selects[:at]), t.selects[at:]
	st := spec.SQL(2)
	write := func(where, order string) string {
		return fmt.Sprintf("%s, %s %s where %s = $1 and %s order by %s limit %d", columns, st.Column, from, t.account, where, order, st.Limit)
	}
	text, args := write(st.Where, st.OrderBy), append([]any{account}, st.Args...)
	if postgres || spec.Where == nil {
		return text, args, nil
	}
	plan, err := planOf(ctx, q, text, args)
	if err != nil {
		return "", nil, err
	}
	if oneValue.MatchString(plan) && !strings.Contains(plan, "ORDER BY") {
		return text, args, nil // one value's records lie together, in order
	}
	condition, of := spec.Where.SQL(2)
	of = append([]any{account}, of...)
	all := fmt.Sprintf("select 1 %s where %s = $1 and %s", from, t.account, condition)
	var matches int
	if err := q.QueryRowContext(ctx, fmt.Sprintf("select count(*) from (%s limit %d)", all, manyMatches), of...).Scan(&matches); err != nil {
		return "", nil, err
	}
	after, _ := strings.CutPrefix(st.Where, condition)
	if matches < manyMatches {
		found, err := t.few(ctx, q, all, of, condition+plussed(after), st)
		return fmt.Sprintf("%s, %s %s where %s.rowid in (%s) order by %s", columns, st.Column, from, t.alias(), found, plussed(st.OrderBy)), args, err
	}
	return write("(case when "+condition+" then 1 else 0 end) = 1"+after, st.OrderBy), args, nil
}

// few finds a page of few matches: by the index that finds all of them, and in
// that index alone where it has all columns concerned. A plus sign takes a column
// from the planner's sight.
func (t table[T]) few(ctx context.Context, q db.Query, all string, of []any, where string, st query.Statement) (string, error) {
	plan, err := planOf(ctx, q, all, of)
	if err != nil {
		return "", err
	}
	from := t.selects[strings.LastIndex(t.selects, "from "):]
	if m := oneIndex.FindStringSubmatch(plan); m != nil {
		from += " indexed by " + m[1]
	}
	return fmt.Sprintf("select %s.rowid %s where %s = $1 and %s order by %s limit %d", t.alias(), from, t.account, where, plussed(st.OrderBy), st.Limit), nil
}

// alias is what the table is called in the query.
func (t table[T]) alias() string { return t.selects[strings.LastIndexByte(t.selects, ' ')+1:] }

// planOf is how SQLite would run a query, one step a line.
func planOf(ctx context.Context, q db.Query, text string, args []any) (string, error) {
	steps, err := db.All(ctx, q, func(r db.Row) (step string, err error) {
		var id, parent, unused int64
		err = r.Scan(&id, &parent, &unused, &step)
		return step, err
	}, "explain query plan "+text, args...)
	if err != nil {
		return "", fmt.Errorf("explain: %w", err)
	}
	return strings.Join(steps, "\n"), nil
}

// oneIndex is a plan of a single search of one index.
var oneIndex = regexp.MustCompile(`^SEARCH \w+ USING (?:COVERING )?INDEX (\w+) [^\n]*$`)

// oneValue is a step of SQLite's plan that reads the records of one value of an
// indexed field.
var oneValue = regexp.MustCompile(`\(account_sid=\? AND \w+=\?`)

var columnName = regexp.MustCompile(`\b[a-z]\.[a-z0-9_]+\b`)

func plussed(text string) string { return columnName.ReplaceAllString(text, "+$0") }

// placeholders returns $first, $first+1, … for each of the values, and the
// values as arguments.
func placeholders(first int, values []string) (string, []any) {
	var b strings.Builder
	args := make([]any, len(values))
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
		args[i] = v
	}
	return b.String(), args
}
