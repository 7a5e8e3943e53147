package saip

import "fmt"

// A Template is a profile package that is ready to be personalised. It was
// parsed, checked and cut into a plan once; [Template.Personalise] only fills in.
// It is safe for concurrent use.
type Template struct {
	Name string
	pkg  *Package
	der  []byte
}

// NewTemplate reads and validates der as a template. The error lists every
// problem that makes it unfit.
func NewTemplate(name string, der []byte) (*Template, error) {
	pkg, err := Parse(der)
	if err != nil {
		return nil, err
	}
	return &Template{Name: name, pkg: pkg, der: der}, nil
}

// Bytes returns the template itself, a valid package with its default values.
func (t *Template) Bytes() []byte { return t.der }

// Package returns the parsed template. It must not be changed.
func (t *Template) Package() *Package { return t.pkg }

// Needs returns what profiles of this template ask of an eUICC.
func (t *Template) Needs() Needs { return t.pkg.Needs() }

// Personalise returns the template's package with the personal data in it.
func (t *Template) Personalise(p *Personal) ([]byte, error) { return t.Append(nil, p) }

// Append is [Template.Personalise] into a buffer of the caller.
func (t *Template) Append(dst []byte, p *Personal) ([]byte, error) {
	return nil, fmt.Errorf("template %s: being written", t.Name)
}
