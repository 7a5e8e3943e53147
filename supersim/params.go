package supersim

import (
	"strings"
	"unicode"

	"godwit/fault"
	"godwit/sim"
	"godwit/web"
)

// uniqueName reads the UniqueName parameter: nil when it was not sent, empty
// when the name is to go.
func uniqueName(f *web.Form) *string {
	if !f.Has("UniqueName") {
		return nil
	}
	name := f.Text("UniqueName", maxName)
	switch {
	case strings.TrimSpace(name) != name:
		f.Fail("UniqueName", "must not begin or end with a blank")
	case strings.ContainsFunc(name, unicode.IsControl):
		f.Fail("UniqueName", "must not have control characters, such as line breaks")
	case name == "." || name == "..":
		f.Fail("UniqueName", "must not be %q: clients take that out of paths", name)
	}
	return &name
}

// maxName is the longest unique name, in characters.
const maxName = 255

// callback reads where to tell about something: the parameters with the address
// and the method, such as CallbackUrl and CallbackMethod.
func (d *door) callback(f *web.Form, url, method string) sim.Callback {
	return sim.Callback{URL: d.callbackURL(f, url), Method: f.Method(method)}
}

// callbackURL reads an address that can be called, see [callback.Sender.Check].
func (d *door) callbackURL(f *web.Form, name string) string {
	v := f.URL(name)
	if refusal, refused := fault.As(d.sims.Callbacks.Check(name, v)); refused {
		f.Fail(name, "%s", refusal.Message)
	}
	return v
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// words turns statuses into the words of a parameter.
func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, one := range all {
		out[i] = string(one)
	}
	return out
}
