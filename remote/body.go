package remote

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"godwit/fault"
	"godwit/web"
)

// A body is one object of a request. Its getters note the first thing that is
// wrong and go on: read everything, then ask err. Unknown members are ignored.
// A null is an absent member.
type body struct {
	values map[string]any
	loose  bool // values are text, from CSV
	err    error
}

// readBodies reads a body that is one object or an array of objects.
func readBodies(r *web.Request) (list []*body, array bool, err error) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, false, fmt.Errorf("read request body: %w", err)
	}
	content = bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\xEF\xBB\xBF")))
	if len(content) == 0 {
		return nil, false, fault.New(fault.Invalid, "the request has no body: send a JSON object")
	}
	if !utf8.Valid(content) {
		return nil, false, fault.New(fault.Invalid, "the request body is not text in UTF-8")
	}
	in := json.NewDecoder(bytes.NewReader(content))
	in.UseNumber() // or large integers would lose digits
	var value any
	if err := in.Decode(&value); err != nil {
		return nil, false, fault.New(fault.Invalid, "the request body is not JSON: %v", err)
	}
	if _, err := in.Token(); err != io.EOF { // More takes a bracket too many for the end
		return nil, false, fault.New(fault.Invalid, "the request body has more than one JSON value")
	}
	if object, ok := value.(map[string]any); ok {
		return []*body{{values: object}}, false, nil
	}
	items, ok := value.([]any)
	if !ok {
		return nil, false, fault.New(fault.Invalid, "the request body must be a JSON object")
	}
	for _, item := range items {
		object, ok := item.(map[string]any)
		b := &body{values: object}
		if !ok {
			b.fail("", "the array must have objects only")
		}
		list = append(list, b)
	}
	return list, true, nil
}

// readBody reads a body that is one object.
func readBody(r *web.Request) (*body, error) {
	list, array, err := readBodies(r)
	if err != nil {
		return nil, err
	}
	if array {
		return nil, fault.New(fault.Invalid, "the request body must be a JSON object, not an array: one request is one action")
	}
	return list[0], nil
}

func (b *body) fail(name, format string, args ...any) {
	if b.err == nil {
		b.err = fault.Field(name, format, args...)
	}
}

// noNUL refuses a text that PostgreSQL would not take.
func (b *body) noNUL(name, text string) {
	if strings.ContainsRune(text, 0) {
		b.fail(name, "must not have the character NUL")
	}
}

// has reports whether a member is there.
func (b *body) has(name string) bool { return b.values[name] != nil }

// text returns a member that is text, nil if it is absent.
func (b *body) text(name string) *string {
	switch v := b.values[name].(type) {
	case nil:
		return nil
	case string:
		b.noNUL(name, v)
		return &v
	case json.Number:
		if b.loose {
			s := v.String()
			return &s
		}
	}
	b.fail(name, "must be text")
	return nil
}

// word returns a member that is text without white space around it, empty if it
// is absent.
func (b *body) word(name string) string {
	if s := b.text(name); s != nil {
		return strings.TrimSpace(*s)
	}
	return ""
}

// required is word of a member that must be there and not be empty.
func (b *body) required(name string) string {
	s := b.word(name)
	if s == "" {
		b.fail(name, "is required")
	}
	return s
}

// number returns a member that is a whole number, also as text and in hex.
func (b *body) number(name string) *int64 {
	var text string
	switch v := b.values[name].(type) {
	case nil:
		return nil
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	default:
		b.fail(name, "must be a whole number")
		return nil
	}
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		text, base = hex, 16
	}
	n, err := strconv.ParseInt(text, base, 64)
	if err != nil {
		b.fail(name, "must be a whole number")
		return nil
	}
	return &n
}

// truth returns a member that is true or false.
func (b *body) truth(name string) *bool {
	switch v := b.values[name].(type) {
	case nil:
		return nil
	case bool:
		return &v
	case string:
		if t, err := strconv.ParseBool(strings.ToLower(v)); err == nil {
			return &t
		}
	}
	b.fail(name, "must be true or false")
	return nil
}

// texts returns a member that is an array of texts; in CSV it is joined with
// commas.
func (b *body) texts(name string) *[]string {
	switch v := b.values[name].(type) {
	case nil:
		return nil
	case string:
		b.noNUL(name, v)
		list := []string{}
		for one := range strings.SplitSeq(v, ",") {
			if one = strings.TrimSpace(one); one != "" {
				list = append(list, one)
			}
		}
		return &list
	case []any:
		list := make([]string, len(v))
		for i, one := range v {
			s, ok := one.(string)
			if !ok {
				b.fail(name, "must be an array of texts")
			}
			b.noNUL(name, s)
			list[i] = s
		}
		return &list
	}
	b.fail(name, "must be an array of texts")
	return nil
}

// at writes a time as answers have it, nothing for none.
func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
