package saip

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"godwit/fault"
)

// A Template is a profile package that is ready to be personalised. It was
// parsed, checked and cut into a plan once; [Template.Personalise] only fills in.
// It is safe for concurrent use.
type Template struct {
	Name  string
	pkg   *Package
	der   []byte
	plan  *plan
	needs Needs
	pool  sync.Pool // of *filling
}

// NewTemplate reads and validates der as a template. The refusal lists every
// problem that makes it unfit; warnings do not.
func NewTemplate(name string, der []byte) (*Template, error) {
	pkg, err := Parse(der)
	if err != nil {
		return nil, fault.New(fault.Invalid, "template %s: %v", name, err)
	}
	if refusals := Refusals(pkg.Validate()); len(refusals) > 0 {
		texts := make([]string, len(refusals))
		for i, p := range refusals {
			texts[i] = p.Error()
		}
		return nil, fault.New(fault.Invalid, "template %s: %s", name, strings.Join(texts, "; "))
	}
	t := &Template{Name: name, pkg: pkg, der: slices.Clone(der), plan: newPlan(pkg), needs: pkg.Needs()}
	t.pool.New = func() any { return &filling{} }
	return t, nil
}

// Bytes returns the template itself, a valid package with its default values. It
// must not be changed.
func (t *Template) Bytes() []byte { return t.der }

// Package returns the parsed template. It must not be changed.
func (t *Template) Package() *Package { return t.pkg }

// Needs returns what profiles of this template ask of an eUICC.
func (t *Template) Needs() Needs { return t.needs }

// NeedsFor returns what a profile with this personal data asks of an eUICC: the
// algorithm and the concealment of the SUPI may differ from the template's.
func (t *Template) NeedsFor(p *Personal) Needs {
	n := t.needs
	n.Capabilities = t.plan.needed(n.Capabilities, p)
	return n
}

// withAlgorithm replaces the algorithms among capabilities.
func withAlgorithm(in []Capability, a Algorithm, keyLength int) (out []Capability) {
	for _, c := range in {
		switch c {
		case SupportsMilenage, SupportsTUAK128, SupportsTUAK256, SupportsTestAlgorithm:
		default:
			out = append(out, c)
		}
	}
	switch a {
	case Milenage:
		out = append(out, SupportsMilenage)
	case TUAK:
		out = append(out, tuakCapability(keyLength))
	case XOR:
		out = append(out, SupportsTestAlgorithm)
	}
	return out
}

// Fields returns the names of the fields of [Personal] that the template has a
// place for.
func (t *Template) Fields() []string {
	var out []string
	for f := field(0); f < fieldCount; f++ {
		if t.plan.has[f] {
			out = append(out, f.String())
		}
	}
	return out
}

// Personalise returns the template's package with the personal data in it. A
// value that is malformed, or that the template has no place for, is refused
// with the name of its field.
func (t *Template) Personalise(p *Personal) ([]byte, error) {
	return t.Append(nil, p)
}

// Append is [Template.Personalise] into a buffer of the caller.
func (t *Template) Append(dst []byte, p *Personal) ([]byte, error) {
	if err := t.check(p); err != nil {
		return nil, err
	}
	f := t.pool.Get().(*filling)
	defer t.pool.Put(f)
	defer f.forget()
	if err := f.fill(t.plan, p); err != nil {
		return nil, err
	}
	f.next, dst = 0, slices.Grow(dst, f.total)
	for i := range t.plan.parts {
		dst = f.append(dst, &t.plan.parts[i])
	}
	return dst, nil
}

// Check says whether [Template.Personalise] would take the personal data, without
// making the package. It takes a few microseconds, so that a million rows of
// stock can be checked before they are stored.
func (t *Template) Check(p *Personal) error {
	if err := t.check(p); err != nil {
		return err
	}
	f := t.pool.Get().(*filling)
	defer t.pool.Put(f)
	f.begin(t.plan, p)
	err := f.fillFiles()
	f.forget()
	return err
}

// check refuses malformed values and values without a place.
func (t *Template) check(p *Personal) error {
	for f := field(0); f < fieldCount; f++ {
		if f.set(p) && !t.plan.has[f] {
			return fault.Field(f.String(), "template %s has no place for it", t.Name)
		}
	}
	if n := len(p.ICCID); n != 0 && (n < 18 || n > 20 || !isDigits(string(p.ICCID))) {
		return fault.Field("ICCID", "must be 18 to 20 digits")
	}
	if n := len(p.IMSI); n != 0 && (n < 6 || n > 15 || !isDigits(string(p.IMSI))) {
		return fault.Field("IMSI", "must be 6 to 15 digits")
	}
	if p.MNCLength != 0 && p.MNCLength != 2 && p.MNCLength != 3 {
		return fault.Field("MNCLength", "must be 2 or 3")
	}
	if err := t.checkKeys(p); err != nil {
		return err
	}
	for _, c := range []struct {
		name, value string
		least       int
	}{{"PIN1", p.PIN1, 4}, {"PIN2", p.PIN2, 4}, {"PUK1", p.PUK1, 8}, {"PUK2", p.PUK2, 8}} {
		if err := checkPIN(c.name, c.value, c.least); err != nil {
			return err
		}
	}
	if err := checkADM("ADM1", p.ADM1); err != nil {
		return err
	}
	if err := checkADM("ADM2", p.ADM2); err != nil {
		return err
	}
	if err := checkNumber("SMSC", p.SMSC); err != nil {
		return err
	}
	if err := checkNumber("MSISDN", p.MSISDN); err != nil {
		return err
	}
	if r := p.RoutingIndicator; r != "" && (len(r) > 4 || !isDigits(r)) {
		return fault.Field("RoutingIndicator", "must be 1 to 4 digits")
	}
	if p.SUCI != nil {
		if err := p.SUCI.check(); err != nil {
			return err
		}
	}
	return t.checkDomainKeys(p)
}

// checkKeys wants K and OPc together, of the lengths that the algorithm has.
func (t *Template) checkKeys(p *Personal) error {
	if p.SEQ > 1<<43-1 {
		return fault.Field("SEQ", "must be below 2^43")
	}
	algorithm := p.Algorithm
	if algorithm == 0 {
		algorithm = t.plan.algorithm
	}
	if p.Algorithm != 0 && p.Algorithm != t.plan.algorithm && p.K == nil {
		return fault.Field("K", "is needed when the algorithm changes")
	}
	if p.K == nil && p.OPc == nil {
		return nil
	}
	switch {
	case algorithm == Milenage && (len(p.K) != 16 || len(p.OPc) != 16):
		return fault.Field("K", "Milenage takes K and OPc of 16 octets each; these have %d and %d", len(p.K), len(p.OPc))
	case algorithm == TUAK && (len(p.K) != 16 && len(p.K) != 32 || len(p.OPc) != 32):
		return fault.Field("K", "TUAK takes K of 16 or 32 octets and TOPc of 32; these have %d and %d", len(p.K), len(p.OPc))
	case algorithm == XOR && len(p.K) != 16:
		return fault.Field("K", "the test algorithm takes K of 16 octets; this has %d", len(p.K))
	case algorithm < Milenage || algorithm > XOR:
		return fault.Field("Algorithm", "%d is none of 1 Milenage, 2 TUAK, 3 test algorithm", int(algorithm))
	}
	return nil
}

// A field is a member of [Personal].
type field int

const (
	fieldICCID field = iota
	fieldIMSI
	fieldAlgorithm
	fieldK
	fieldOPc
	fieldSEQ
	fieldMNCLength
	fieldACC
	fieldPIN1
	fieldPUK1
	fieldPIN2
	fieldPUK2
	fieldADM1
	fieldADM2
	fieldSPN
	fieldSMSC
	fieldMSISDN
	fieldIMPI
	fieldIMPU
	fieldDomain
	fieldSUCI
	fieldRoutingIndicator
	fieldSecurityDomainKeys
	fieldCount
)

var fieldNames = [fieldCount]string{
	"ICCID", "IMSI", "Algorithm", "K", "OPc", "SEQ", "MNCLength", "ACC", "PIN1", "PUK1", "PIN2", "PUK2", "ADM1", "ADM2", "SPN",
	"SMSC", "MSISDN", "IMPI", "IMPU", "Domain", "SUCI", "RoutingIndicator", "SecurityDomainKeys",
}

func (f field) String() string { return fieldNames[f] }

// set reports whether p says anything about the field.
func (f field) set(p *Personal) bool {
	switch f {
	case fieldICCID:
		return p.ICCID != ""
	case fieldIMSI:
		return p.IMSI != ""
	case fieldAlgorithm:
		return p.Algorithm != 0
	case fieldK:
		return p.K != nil
	case fieldOPc:
		return p.OPc != nil
	case fieldSEQ:
		return p.SEQ != 0
	case fieldMNCLength:
		return p.MNCLength != 0
	case fieldACC:
		return p.ACC != 0
	case fieldPIN1:
		return p.PIN1 != ""
	case fieldPUK1:
		return p.PUK1 != ""
	case fieldPIN2:
		return p.PIN2 != ""
	case fieldPUK2:
		return p.PUK2 != ""
	case fieldADM1:
		return p.ADM1 != ""
	case fieldADM2:
		return p.ADM2 != ""
	case fieldSPN:
		return p.SPN != ""
	case fieldSMSC:
		return p.SMSC != ""
	case fieldMSISDN:
		return p.MSISDN != ""
	case fieldIMPI:
		return p.IMPI != ""
	case fieldIMPU:
		return len(p.IMPU) > 0
	case fieldDomain:
		return p.Domain != ""
	case fieldSUCI:
		return p.SUCI != nil
	case fieldRoutingIndicator:
		return p.RoutingIndicator != ""
	case fieldSecurityDomainKeys:
		return len(p.SecurityDomainKeys) > 0
	}
	panic(fmt.Sprintf("no field %d", int(f)))
}
