package web

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"godwit/fault"
)

// Problems are all refused parameters of one request.
type Problems []*fault.Error

func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i, one := range p {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets [fault.As] find the first problem.
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i, one := range p {
		errs[i] = one
	}
	return errs
}

// A Form reads the parameters of a request. Its getters note what is wrong and
// go on, so that a caller learns about all mistakes at once: read everything,
// then ask [Form.Err]. Names are case-sensitive; unknown ones are ignored.
type Form struct {
	values   url.Values
	problems Problems
}

// PostForm reads the body of a request as a form. Parameters in the query of a
// POST do not count. However long a file the route takes, a form is no longer
// than usual: it is held in memory.
func PostForm(r *Request) (*Form, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	if len(body) == 0 {
		return &Form{}, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, fault.New(fault.Invalid,
			"The request body must be a form: send its parameters with Content-Type application/x-www-form-urlencoded, not %q", r.Header.Get("Content-Type"))
	}
	return parseForm(string(body), "post body")
}

// QueryForm reads the query of a request.
func QueryForm(r *Request) (*Form, error) { return parseForm(r.URL.RawQuery, "query") }

func parseForm(s, where string) (*Form, error) {
	values, err := url.ParseQuery(s)
	if err != nil {
		return nil, fault.New(fault.Invalid, "The %s is not a well-formed list of parameters: %v", where, err)
	}
	return &Form{values: values}, nil
}

// Fail notes that a parameter is refused. The first reason counts.
func (f *Form) Fail(name, format string, args ...any) { f.Refuse(fault.Field(name, format, args...)) }

// Refuse notes a refusal of one parameter. The first of each parameter counts.
func (f *Form) Refuse(refusal *fault.Error) {
	if !slices.ContainsFunc(f.problems, func(p *fault.Error) bool { return p.Field == refusal.Field }) {
		f.problems = append(f.problems, refusal)
	}
}

// Code gives what was refused so far of some parameters a code of its own.
func (f *Form) Code(code int, names ...string) {
	for i, p := range f.problems {
		if slices.Contains(names, p.Field) {
			coded := *p // which may be somebody's own
			coded.Code = code
			f.problems[i] = &coded
		}
	}
}

// Err returns what was wrong with the parameters read so far: nil, one
// [*fault.Error] or [Problems].
func (f *Form) Err() error {
	switch len(f.problems) {
	case 0:
		return nil
	case 1:
		return f.problems[0]
	}
	return f.problems
}

// Has reports whether a parameter was sent, empty or not.
func (f *Form) Has(name string) bool { return len(f.values[name]) > 0 }

// String returns a parameter, or the empty string. A parameter that comes
// twice with different values is refused, for one of them would be lost.
func (f *Form) String(name string) string {
	all := f.texts(name)
	if len(all) == 0 {
		return ""
	}
	for _, v := range all[1:] {
		if v != all[0] {
			f.Fail(name, "was given %d times with different values; give it once", len(all))
			return ""
		}
	}
	return all[0]
}

// Single is String for a parameter that must not be repeated, not even with the
// same value.
func (f *Form) Single(name string) string {
	if n := len(f.values[name]); n > 1 {
		f.Fail(name, "was given %d times; give it once", n)
	}
	return f.String(name)
}

// Optional returns a parameter, or nil when it was not sent. Where that means
// "leave unchanged", an empty value means "clear".
func (f *Form) Optional(name string) *string {
	if !f.Has(name) {
		return nil
	}
	v := f.String(name)
	return &v
}

// Required returns a parameter and refuses its absence.
func (f *Form) Required(name string) string {
	v := f.String(name)
	if v == "" {
		f.Refuse(fault.Missing(name))
	}
	return v
}

// List returns all values of a parameter that may be repeated. Empty ones count
// for nothing.
func (f *Form) List(name string) []string {
	return slices.DeleteFunc(slices.Clone(f.texts(name)), func(v string) bool { return v == "" })
}

// texts returns all values of a parameter, or none where it has one that cannot
// be kept as text.
func (f *Form) texts(name string) []string {
	for _, v := range f.values[name] {
		if why := unfit(v); why != "" {
			f.Fail(name, "%s", why)
			return nil
		}
	}
	return f.values[name]
}

// Bool returns a parameter that is true or false in any letter case, or the
// default when it was not sent.
func (f *Form) Bool(name string, missing bool) bool {
	v := f.String(name)
	switch {
	case v == "":
		return missing
	case strings.EqualFold(v, "true"):
		return true
	case !strings.EqualFold(v, "false"):
		f.Fail(name, "must be true or false, not %.40q", v)
	}
	return false
}

// Int returns a whole number within limits, or the default when it was not
// sent.
func (f *Form) Int(name string, low, high, missing int64) int64 {
	v := f.String(name)
	if v == "" {
		return missing
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < low || n > high {
		f.Fail(name, "must be a whole number from %d to %d, not %.40q", low, high, v)
		return missing
	}
	return n
}

// OneOf returns a parameter that is one of the allowed words, or the empty
// string when it was not sent.
func (f *Form) OneOf(name string, allowed ...string) string {
	v := f.String(name)
	if v != "" && !slices.Contains(allowed, v) {
		f.Fail(name, "must be one of %s, not %.40q", strings.Join(allowed, ", "), v)
		return ""
	}
	return v
}

// Method returns GET or POST, or the empty string when the parameter was not
// sent. Any letter case will do.
func (f *Form) Method(name string) string {
	v := f.String(name)
	switch m := strings.ToUpper(v); m {
	case "", "GET", "POST":
		return m
	}
	f.Fail(name, "must be GET or POST, not %.40q", v)
	return ""
}

// URL returns an absolute http or https address, or the empty string.
func (f *Form) URL(name string) string {
	v := f.String(name)
	if v == "" {
		return ""
	}
	u, err := url.Parse(v)
	port := 1
	if err == nil && u.Port() != "" {
		port, err = strconv.Atoi(u.Port())
	}
	switch {
	case len(v) > 2048:
		f.Fail(name, "must have at most 2048 characters, not %d", len(v))
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		f.Fail(name, "must be an absolute URL that begins with http:// or https://, not %.80q", v)
	case strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		f.Fail(name, "must be a URL without spaces or control characters")
	case port < 1 || port > 65535:
		f.Fail(name, "must have a port from 1 to 65535, not %s", u.Port())
	case strings.ContainsFunc(u.Host, func(c rune) bool { return c > unicode.MaxASCII }):
		f.Fail(name, "must have the host in its ASCII form (xn--…), not %.80q", u.Host)
	default:
		return v
	}
	return ""
}

// Text returns a parameter of at most limit characters.
func (f *Form) Text(name string, limit int) string {
	v := f.String(name)
	if n := len([]rune(v)); n > limit {
		f.Fail(name, "must have at most %d characters, not %d", limit, n)
		return ""
	}
	return v
}

// Time returns a date and time, or the zero time when it was not sent.
func (f *Form) Time(name string) time.Time {
	v := f.String(name)
	if v == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		f.Fail(name, "must be a date and time such as 2026-11-20T10:00:00Z, not %.40q", v)
		return time.Time{}
	}
	return t.UTC()
}
