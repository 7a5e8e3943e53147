package sim

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"godwit/db"
)

// A Key is an item's place in a list: newest first, ties by SID. The zero value
// is no place.
type Key struct {
	At  int64 // when the item was created, in microseconds
	SID string
}

// String writes the key for a page token.
func (k Key) String() string { return strconv.FormatInt(k.At, 10) + " " + k.SID }

// ParseKey reads what [Key.String] wrote.
func ParseKey(s string) (Key, error) {
	at, sid, ok := strings.Cut(s, " ")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || sid == "" || len(sid) > 64 {
		return Key{}, fmt.Errorf("place %.80q in a list is not a number and a SID", s)
	}
	return Key{At: n, SID: sid}, nil
}

// A Page is the part of a list that is asked for: after a key, before a key, or
// after a number of items. Pages by key cost the same anywhere in a list, and
// items that appear meanwhile neither repeat nor hide others.
type Page struct {
	Limit         int
	Offset        int
	After, Before Key
}

// A List is one page of items.
type List[T any] struct {
	Items []T
	More  bool // items follow the last one
}

// Conditions select the rows of a list. The zero value selects all.
type Conditions struct {
	text []string
	args []any
}

// Add adds a condition, with one $ for each of its arguments in order.
func (c *Conditions) Add(condition string, args ...any) {
	var b strings.Builder
	for i, part := range strings.Split(condition, "$") {
		if i > 0 {
			c.args = append(c.args, args[i-1])
			b.WriteString("$" + strconv.Itoa(len(c.args)))
		}
		b.WriteString(part)
	}
	c.text = append(c.text, b.String())
}

// Equal adds a condition on a column unless the value is empty.
func (c *Conditions) Equal(column, value string) {
	if value != "" {
		c.Add(column+" = $", value)
	}
}

func (c *Conditions) with(condition string, args ...any) *Conditions {
	more := &Conditions{slices.Clone(c.text), slices.Clone(c.args)}
	more.Add(condition, args...)
	return more
}

// QueryPage returns one page of what "select … from …" finds under at least one
// condition. The table has the columns created_at and sid.
func QueryPage[T interface{ Key() Key }](ctx context.Context, q db.Query, scan func(db.Row) (T, error), query string, c *Conditions, p Page) (List[T], error) {
	backward := false
	here := c
	switch {
	case p.After != Key{}:
		here = c.with("(created_at, sid) < ($, $)", p.After.At, p.After.SID)
	case p.Before != Key{}:
		here, backward = c.with("(created_at, sid) > ($, $)", p.Before.At, p.Before.SID), true
	}
	order := " order by created_at desc, sid desc"
	if backward {
		order = " order by created_at, sid"
	}
	text := query + " where " + strings.Join(here.text, " and ") + order + " limit " + strconv.Itoa(p.Limit+1)
	if p.Offset > 0 {
		text += " offset " + strconv.Itoa(p.Offset)
	}
	items, err := db.All(ctx, q, scan, text, here.args...)
	if err != nil {
		return List[T]{}, err
	}
	l := List[T]{Items: items, More: len(items) > p.Limit}
	if l.More {
		l.Items = items[:p.Limit]
	}
	if backward {
		slices.Reverse(l.Items)
		l.More = false
		if n := len(l.Items); n > 0 {
			last := l.Items[n-1].Key()
			next := c.with("(created_at, sid) < ($, $)", last.At, last.SID)
			after, err := db.All(ctx, q, scan, query+" where "+strings.Join(next.text, " and ")+" order by created_at desc, sid desc limit 1", next.args...)
			if err != nil {
				return List[T]{}, err
			}
			l.More = len(after) > 0
		}
	}
	return l, nil
}
