package query

import (
	"fmt"
	"strconv"
	"strings"

	"godwit/fault"
)

// An Order is what a list is sorted by: one field, ties by the key. Records
// without the field come first ascending, last descending.
type Order struct {
	field, key *Field
	desc       bool
}

// ParseOrder reads an "orderby" parameter: a field, with "asc" or "desc" before
// or after it, in any case. An empty one is the schema's own order. What it
// refuses is [fault.Invalid].
func ParseOrder(text string, s *Schema) (Order, error) {
	o := Order{key: s.key()}
	words := strings.Fields(text)
	if len(words) == 0 {
		if words = strings.Fields(s.DefaultOrder); len(words) == 0 {
			words = []string{s.Key}
		}
	}
	switch len(words) {
	case 1:
	case 2:
		direction, field := words[1], words[0]
		if s.Field(field) == nil && s.Field(direction) != nil {
			direction, field = field, direction
		}
		switch strings.ToLower(direction) {
		case "asc":
		case "desc":
			o.desc = true
		default:
			if s.Field(field) == nil {
				field = text
				return Order{}, unknownOrder(field, s)
			}
			return Order{}, fault.Field("orderby", "%.40q is no direction: it is asc or desc, before or after the field", direction)
		}
		words = []string{field}
	default:
		return Order{}, fault.Field("orderby", "must be one field with asc or desc before or after it, not %.80q", text)
	}
	if o.field = s.Field(words[0]); o.field == nil {
		return Order{}, unknownOrder(words[0], s)
	}
	if o.field.Kind == Tags || o.field.Kind == Position {
		return Order{}, fault.Field("orderby", "a list cannot be sorted by %s", o.field.Name)
	}
	return o, nil
}

func unknownOrder(name string, s *Schema) error {
	return fault.Field("orderby", "%.80q is not a field that lists can be sorted by: %s", name, strings.Join(s.sortable(), ", "))
}

func (s *Schema) sortable() []string {
	var names []string
	for _, f := range s.Fields {
		if f.Kind != Tags && f.Kind != Position {
			names = append(names, f.Name)
		}
	}
	return names
}

// String writes the order as "orderby" takes it.
func (o Order) String() string {
	if o.desc {
		return o.field.Name + " desc"
	}
	return o.field.Name
}

// column is what records are compared by.
func (o Order) column() string { return o.field.compared() }

func (o Order) by() string {
	direction := ""
	if o.desc {
		direction = " desc"
	}
	if o.field == o.key {
		return o.column() + direction
	}
	tie := o.column() + direction + ", " + o.key.compared() + direction
	if o.field.Nullable {
		// The engines do not agree where null is sorted.
		return "case when " + o.column() + " is null then 0 else 1 end" + direction + ", " + tie
	}
	return tie
}

// after is the condition that a record comes after a place in the order.
func (o Order) after(c *Cursor, first int) (string, []any) {
	if c == nil {
		return "", nil
	}
	sign := ">"
	if o.desc {
		sign = "<"
	}
	one, two := "$"+strconv.Itoa(first), "$"+strconv.Itoa(first+1)
	column, key := o.column(), o.key.compared()
	if o.field == o.key {
		return fmt.Sprintf("%s %s %s", key, sign, one), []any{c.Key}
	}
	both := fmt.Sprintf("(%s, %s) %s (%s, %s)", column, key, sign, one, two)
	if !o.field.Nullable {
		return both, []any{c.Value, c.Key}
	}
	same := fmt.Sprintf("%s is null and %s %s %s", column, key, sign, one)
	switch {
	case c.Value == nil && o.desc:
		return "(" + same + ")", []any{c.Key}
	case c.Value == nil:
		return fmt.Sprintf("(%s is not null or %s)", column, same), []any{c.Key}
	case o.desc:
		return fmt.Sprintf("(%s is null or %s)", column, both), []any{c.Value, c.Key}
	default:
		return fmt.Sprintf("(%s is not null and %s)", column, both), []any{c.Value, c.Key}
	}
}
