package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// A Cursor is the place in a list after which its next page begins, and all that
// is needed to go on: clients may send it with nothing else. It is a key, not a
// number of records: pages stay true while records come and go.
type Cursor struct {
	Query string    // as it was sent
	Order string    // as [Order.String] writes it
	Size  int       // of the pages
	Now   time.Time // from which times are counted that the query gives as offsets
	Value any       // the field that is sorted by, of the last record: string, int64, bool or nil
	Key   any       // of the last record: string or int64
}

// wireCursor keeps numbers apart from texts, and whole.
type wireCursor struct {
	Query string `json:"q,omitempty"`
	Order string `json:"o"`
	Size  int    `json:"s"`
	Now   int64  `json:"t"`
	Value place  `json:"v"`
	Key   place  `json:"k"`
}

type place struct {
	Text   *string `json:"t,omitempty"`
	Number *int64  `json:"n,omitempty"`
	Truth  *bool   `json:"b,omitempty"`
}

// Octets writes the cursor. Who gives it to clients seals it: it is believed
// when it comes back.
func (c Cursor) Octets() []byte {
	b, err := json.Marshal(wireCursor{Query: c.Query, Order: c.Order, Size: c.Size, Now: c.Now.UnixMicro(), Value: toPlace(c.Value), Key: toPlace(c.Key)})
	if err != nil {
		panic(err) // it has no values that JSON cannot hold
	}
	return b
}

// ParseCursor reads what [Cursor.Octets] wrote.
func ParseCursor(b []byte) (Cursor, error) {
	var w wireCursor
	if err := json.Unmarshal(b, &w); err != nil {
		return Cursor{}, fmt.Errorf("cursor: %w", err)
	}
	c := Cursor{Query: w.Query, Order: w.Order, Size: w.Size, Now: time.UnixMicro(w.Now).UTC(), Value: w.Value.value(), Key: w.Key.value()}
	if c.Key == nil || c.Size < 1 {
		return Cursor{}, errors.New("cursor: no key or no size")
	}
	return c, nil
}

func toPlace(v any) place {
	switch v := v.(type) {
	case nil:
		return place{}
	case string:
		return place{Text: &v}
	case []byte:
		s := string(v)
		return place{Text: &s}
	case int64:
		return place{Number: &v}
	case int:
		n := int64(v)
		return place{Number: &n}
	case bool:
		return place{Truth: &v}
	default:
		panic(fmt.Sprintf("query: a cursor cannot hold a %T", v))
	}
}

func (p place) value() any {
	switch {
	case p.Text != nil && utf8.ValidString(*p.Text):
		return *p.Text
	case p.Number != nil:
		return *p.Number
	case p.Truth != nil:
		return *p.Truth
	}
	return nil
}

// NextPage makes a page of the records that a [Statement] found, of which there may be
// one too many. place returns a record's value of Statement.Column, as it was
// scanned into an any, and its key.
func NextPage[T any](s Spec, found []T, place func(T) (value, key any)) Page[T] {
	if len(found) <= s.Size {
		return Page[T]{Items: found}
	}
	found = found[:s.Size]
	value, key := place(found[s.Size-1])
	next := Cursor{Order: s.Order.String(), Size: s.Size, Value: s.Order.field.scanned(value), Key: key}
	if s.Where != nil {
		next.Query, next.Now = s.Where.text, s.Where.now
	}
	return Page[T]{Items: found, Next: &next}
}
