// Package query is the Remote Manager query language: the text that a list's
// "query" parameter holds, such as
//
//	carrier contains 'o''brien' and (updated > -1d or not status = 'complete')
//
// [Parse] reads it against a [Schema], the fields of one resource, and refuses
// with the place of the mistake; [Expr.SQL] is the same condition as bound SQL
// that runs alike on SQLite and PostgreSQL. [ParseOrder] reads "orderby", and a
// [Spec] is a whole request of a list: condition, order, size and the place
// where the page begins.
package query

import (
	"fmt"
	"slices"
	"strings"
)

// A Kind is what sort of values a field has.
type Kind int

// The kinds.
const (
	Text     Kind = iota // any text, compared without regard to case; the empty text is an absent one
	Enum                 // one of Field.Values: = and <> only
	Number               // a whole number
	Time                 // microseconds UTC, compared in milliseconds, as answers show them
	Bool                 // true or false
	Tags                 // several texts: a condition holds if one of them satisfies it
	Group                // a path: a leading slash counts for nothing, startswith takes the subtree
	Position             // a place on earth: within and outside only
)

// A Field is one field of a resource and how the store finds it.
type Field struct {
	Name string
	Kind Kind

	// SQL is the column, or an expression that is cheap enough for each row.
	// For Tags it is a condition on one tag of the record with one %s for what is
	// asked of it: "exists (select 1 from device_tag t where t.device_id = d.id and %s)".
	// For a Position it is the column with the longitude in millionths of a degree.
	SQL string

	// Folded is, for Text, Tags and Group, the column that holds [Fold] of the
	// value, or the column itself where values are digits or lower-case ASCII:
	// conditions and orders can then use its index. Without it values are folded
	// by the database, which is right for ASCII alone. A Group's values begin
	// without a slash.
	Folded string

	// Upper says that values are upper-case ASCII, such as identifiers: they are
	// compared as they stand in SQL, and Folded is not needed.
	Upper bool

	// Latitude is the other column of a Position.
	Latitude string

	// Nullable says that SQL, Folded or Latitude may be null. Otherwise an absent
	// text is empty, and numbers, times and truth values are never absent.
	Nullable bool

	Values []string // of an Enum, as they are stored
}

// A Schema is the fields of one resource.
type Schema struct {
	Fields       []Field
	Key          string // name of the field that tells records apart: it is never absent
	DefaultOrder string // as in "orderby"; without it, the key
}

// Field finds a field by its name in any case; nil if there is none.
func (s *Schema) Field(name string) *Field {
	for i := range s.Fields {
		if strings.EqualFold(s.Fields[i].Name, name) {
			return &s.Fields[i]
		}
	}
	return nil
}

// Names lists the fields in their order.
func (s *Schema) Names() []string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return names
}

// key returns the key's field. A schema without it is a mistake of the program.
func (s *Schema) key() *Field {
	f := s.Field(s.Key)
	if f == nil {
		panic(fmt.Sprintf("query: schema has no field %q to be its key", s.Key))
	}
	return f
}

// An Error is a query that cannot be understood, and where.
type Error struct {
	Line, Pos int    // from 1, counted in characters
	Input     string // what stands there
	Expected  string // what was expected
	Query     string // the line that the mistake is in
}

// Error has three lines: what was found and expected, the query, and a caret
// under the place.
func (e *Error) Error() string {
	var caret strings.Builder
	for i, r := range []rune(e.Query) {
		if i >= e.Pos-1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		caret.WriteRune(r)
	}
	return fmt.Sprintf("Invalid input %s, expected %s (line %d, pos %d):\n%s\n%s^", e.Input, e.Expected, e.Line, e.Pos, e.Query, caret.String())
}

// Quote writes a text as a value of a query.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// A Spec is what a list is asked for.
type Spec struct {
	Where *Expr // nil is every record
	Order Order
	Size  int // records of a page, 1 or more
	After *Cursor
}

// Statement is the SQL of a Spec, to be put together as
//
//	select <columns>, <Column> from … where <own conditions> and <Where> order by <OrderBy> limit <Limit>
//
// Column is the value that the list is ordered by; the last record's goes
// into the next page's [Cursor]. Limit is one more than the size of the page:
// a record too many says that there is another page.
type Statement struct {
	Column  string
	Where   string
	OrderBy string
	Args    []any
	Limit   int
}

// SQL writes the statement's parts. The first argument has the number first.
func (s Spec) SQL(first int) Statement {
	where, args := s.Where.SQL(first)
	after, more := s.Order.after(s.After, first+len(args))
	if after != "" {
		where += " and " + after
	}
	return Statement{Column: s.Order.column(), Where: where, OrderBy: s.Order.by(), Args: slices.Concat(args, more), Limit: s.Size + 1}
}

// A Page is what a Spec found.
type Page[T any] struct {
	Items []T
	Next  *Cursor // nil on the last page
}
