package saip

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"godwit/ident"
	"godwit/tlv"
)

// A Problem is one reason why an eUICC would refuse a package, or why a profile
// would not work.
type Problem struct {
	PE      int    // identification of the element concerned, 0 for the header or the whole
	Kind    Kind   // of that element, 0 for the whole
	Rule    string // one of the Rule constants
	Text    string // what is wrong and what would be right
	Warning bool   // the package installs, but something in it will not work
}

// The rules, by names that stay.
const (
	RuleOrder     = "order"
	RuleUniqueID  = "unique-id"
	RuleHeader    = "header"
	RuleServices  = "services"
	RuleTemplates = "templates"
	RuleICCID     = "iccid"
	RuleAKA       = "aka"
	RuleCode      = "codes"
	RuleFile      = "files"
	RuleAccess    = "access-rules"
	RuleDomain    = "security-domain"
	RuleLength    = "length"
)

// MaxLength bounds a package. eUICCs have some hundred kilobytes for all
// profiles together.
const MaxLength = 256 << 10

func (p Problem) Error() string {
	where := "package"
	if p.Kind != 0 {
		where = fmt.Sprintf("%s (PE %d)", p.Kind, p.PE)
	}
	return fmt.Sprintf("%s: %s [rule %s]", where, p.Text, p.Rule)
}

// Validate checks the package against the rules of the format: those that make
// an eUICC refuse it, and, as warnings, those that leave a profile unable to
// work. Nothing found is nil.
func (p *Package) Validate() []Problem {
	v := &validation{p: p, fs: p.build()}
	v.order()
	v.identifications()
	v.header()
	v.services()
	v.templates()
	v.iccid()
	v.authentication()
	v.securityDomains()
	v.accessRules()
	if n := len(p.Bytes()); n > MaxLength {
		v.whole(RuleLength, "it is %d octets long; no eUICC takes more than %d", n, MaxLength)
	}
	return append(v.out, v.fs.trouble...)
}

// Refusals returns the problems that are not warnings.
func Refusals(problems []Problem) []Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool { return p.Warning })
}

// ICCID returns the ICCID of the header as digits, "" if there is none.
func (p *Package) ICCID() string {
	if h := p.Element(KindHeader); h != nil {
		return strings.TrimRight(fmt.Sprintf("%x", h.node.child(0x83).octets()), "f")
	}
	return ""
}

type validation struct {
	p   *Package
	fs  *FileSystem
	out []Problem
}

func (v *validation) fail(e *Element, rule, format string, args ...any) {
	v.out = append(v.out, Problem{PE: e.ID, Kind: e.Kind, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (v *validation) warn(e *Element, rule, format string, args ...any) {
	v.fail(e, rule, format, args...)
	v.out[len(v.out)-1].Warning = true
}

func (v *validation) whole(rule, format string, args ...any) {
	v.out = append(v.out, Problem{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// follows says which element a kind must come after.
var follows = map[Kind][]Kind{
	KindOptUSIM:   {KindUSIM},
	KindPhonebook: {KindUSIM},
	KindGSMAccess: {KindUSIM},
	KindDF5GS:     {KindUSIM},
	KindDFSAIP:    {KindUSIM},
	KindDFSNPN:    {KindUSIM},
	KindDF5GProSe: {KindUSIM},
	KindEAP:       {KindUSIM, KindISIM, KindCSIM},
	KindOptISIM:   {KindISIM},
	KindOptCSIM:   {KindCSIM},
	KindOptIoT:    {KindIoT},
	KindAKA:       {KindUSIM, KindISIM, KindIoT},
	KindCDMA:      {KindCSIM},
}

// order: header first, the MF second, the end last and once, and nothing before
// what it belongs to. TCA, 8.1; reference order of TS.48.
func (v *validation) order() {
	els := v.p.Elements
	if els[0].Kind != KindHeader {
		v.fail(els[0], RuleOrder, "the first element must be the header")
	}
	if len(els) < 2 || els[1].Kind != KindMF && els[1].Kind != KindIoT {
		v.whole(RuleOrder, "the second element must be the mf (or iot)")
	}
	if last := els[len(els)-1]; last.Kind != KindEnd {
		v.fail(last, RuleOrder, "the last element must be the end")
	}
	seen := map[Kind]bool{}
	for i, e := range els {
		if seen[e.Kind] && (e.Kind == KindHeader || e.Kind == KindEnd || e.Kind == KindMF || e.Kind == KindPUKCodes) {
			v.fail(e, RuleOrder, "there may be only one %s", e.Kind)
		}
		if e.Kind == KindEnd && i != len(els)-1 {
			v.fail(e, RuleOrder, "elements follow the end")
		}
		if before := follows[e.Kind]; before != nil && !slices.ContainsFunc(before, func(k Kind) bool { return seen[k] }) {
			v.fail(e, RuleOrder, "it must come after its %s", before[0])
		}
		if _, known := kindNames[e.Kind]; !known && e.Mandated {
			v.warn(e, RuleOrder, "it is mandated, but this program does not know it; an eUICC of the same age will refuse it")
		}
		seen[e.Kind] = true
	}
}

func (v *validation) identifications() {
	seen := map[int]*Element{}
	for _, e := range v.p.Elements {
		if e.Kind == KindHeader {
			continue
		}
		if other := seen[e.ID]; other != nil {
			v.fail(e, RuleUniqueID, "its identification %d is that of the %s as well", e.ID, other.Kind)
		}
		seen[e.ID] = e
	}
}

func (v *validation) header() {
	h := v.p.Element(KindHeader)
	if h == nil {
		return // told by order
	}
	if major := h.node.child(0x80).int(-1); major != 2 && major != 3 {
		v.fail(h, RuleHeader, "major version %d is neither 2 nor 3", major)
	}
	if h.node.child(0x81) == nil {
		v.fail(h, RuleHeader, "the minor version is missing")
	}
	if h.node.child(0xA5) == nil {
		v.fail(h, RuleHeader, "the list of mandatory services (A5) is missing")
	}
	if h.node.child(0xA6) == nil {
		v.fail(h, RuleHeader, "the list of templates (A6) is missing")
	}
	if n := len(h.node.child(0x82).octets()); n > 100 {
		v.fail(h, RuleHeader, "the profile type has %d octets; 100 are allowed", n)
	}
}

// services: what the elements use must be announced, or an eUICC that lacks it
// fails in the middle instead of refusing at once.
func (v *validation) services() {
	h := v.p.Element(KindHeader)
	if h == nil {
		return
	}
	has := map[Capability]bool{}
	for _, c := range v.p.announced() {
		has[c] = true
	}
	for _, u := range v.p.used(v.fs) {
		if has[u.capability] {
			continue
		}
		v.fail(u.by, RuleServices, "it needs the service %s, which the header does not list", u.capability)
		switch u.capability {
		case SupportsUSIM, SupportsISIM, SupportsCSIM:
		default: // an eUICC that has it does not ask whether it was announced
			v.out[len(v.out)-1].Warning = true
		}
	}
}

func (v *validation) templates() {
	h := v.p.Element(KindHeader)
	if h == nil {
		return
	}
	var listed [][]byte
	for _, n := range h.node.child(0xA6).list() {
		listed = append(listed, n.value)
	}
	for _, e := range v.p.Elements {
		if components(e.Kind) == nil {
			continue
		}
		oid := e.node.child(0x81).octets()
		switch {
		case len(oid) == 0:
			v.fail(e, RuleTemplates, "its template identifier (81) is missing")
		case !slices.ContainsFunc(listed, func(o []byte) bool { return bytes.Equal(o, oid) }):
			v.fail(e, RuleTemplates, "its template %s is not in the header's list", dotted(oid))
		}
	}
}

// iccid: header and EF.ICCID name the same profile, the one with its digits in
// order, the other with swapped digits.
func (v *validation) iccid() {
	h := v.p.Element(KindHeader)
	if h == nil {
		return
	}
	header := h.node.child(0x83).octets()
	if len(header) != 10 {
		v.fail(h, RuleICCID, "its ICCID has %d octets, not 10", len(header))
		return
	}
	ef := v.fs.Find([]byte{0x2F, 0xE2})
	if ef == nil {
		v.fail(h, RuleICCID, "the package has no EF.ICCID")
		return
	}
	swapped := make([]byte, len(header))
	for i, o := range header {
		swapped[i] = o<<4 | o>>4
	}
	if !bytes.Equal(ef.Data, swapped) {
		v.fail(ef.pe, RuleICCID, "EF.ICCID is %X, but the header's ICCID asks for %X", ef.Data, swapped)
	}
	if _, err := ident.ICCIDFromOctets(swapped); err != nil {
		v.fail(h, RuleICCID, "%v", err)
	}
}

// authentication: every application that authenticates has keys.
func (v *validation) authentication() {
	for _, adf := range v.fs.ADFs {
		if adf.pe.Kind == KindUSIM || adf.pe.Kind == KindISIM || adf.pe.Kind == KindIoT {
			if adf.AKA == nil {
				v.warn(adf.pe, RuleAKA, "no akaParameter belongs to it: it cannot authenticate")
			}
		}
		if len(adf.AID) < 5 || len(adf.AID) > 16 {
			v.fail(adf.pe, RuleFile, "its application identifier has %d octets, not 5 to 16", len(adf.AID))
		}
		if adf.ID == 0 {
			v.fail(adf.pe, RuleFile, "its ADF has no temporary file identifier")
		}
	}
	for i, a := range v.fs.ADFs {
		for _, b := range v.fs.ADFs[:i] {
			if bytes.Equal(a.AID, b.AID) {
				v.fail(a.pe, RuleFile, "the application identifier %X is there twice", a.AID)
			}
			if a.ID == b.ID {
				v.fail(a.pe, RuleFile, "the temporary file identifier %04X is there twice", a.ID)
			}
		}
	}
}

// securityDomains: keys have lengths that their type allows; RFM and
// applications belong to domains that exist by then.
func (v *validation) securityDomains() {
	domains := map[string]bool{}
	named := func(e *Element, aid []byte) {
		// A domain of the eUICC itself (the ISD-P: A000000559..) needs no element.
		if len(aid) > 0 && !domains[string(aid)] && !bytes.HasPrefix(aid, []byte{0xA0, 0, 0, 5, 0x59}) {
			v.fail(e, RuleDomain, "the security domain %X is not made before it", aid)
		}
	}
	for _, e := range v.p.Elements {
		switch e.Kind {
		case KindSecurityDomain:
			instance := e.node.child(0xA1)
			if aids := instance.all(0x4F); len(aids) >= 3 {
				domains[string(aids[2].value)] = true
			} else {
				v.fail(e, RuleDomain, "its instance needs three application identifiers, of package, class and instance")
			}
			for _, key := range e.node.child(0xA2).list() {
				v.domainKey(e, key)
			}
		case KindRFM:
			if aids := e.node.all(0x4F); len(aids) > 1 {
				named(e, aids[1].value)
			}
		case KindApplication:
			if aids := e.node.child(0xA1).all(0x4F); len(aids) > 1 {
				named(e, aids[1].value)
			}
			for _, instance := range e.node.child(0xA2).list() {
				if aids := instance.all(0x4F); len(aids) > 3 {
					named(e, aids[3].value)
				}
			}
		}
	}
}

// Key types of GlobalPlatform, 11.1.8, that SCP80, SCP81 and SCP03 use.
const (
	keyTypeDES = 0x80
	keyTypeAES = 0x88
)

func (v *validation) domainKey(e *Element, key *node) {
	version, id := key.child(0x83).octets(), key.child(0x82).octets()
	for _, c := range key.child(tlv.Sequence).list() {
		kind, data := c.child(0x80).octets(), c.child(0x86).octets()
		if len(kind) == 1 && !keyLengthAllowed(kind[0], len(data)) {
			v.fail(e, RuleDomain, "key %X of version %X has %d octets, which its type %02X does not allow", id, version, len(data), kind[0])
		}
	}
}

func keyLengthAllowed(kind byte, n int) bool {
	switch kind {
	case keyTypeDES:
		return n == 16 || n == 24
	case keyTypeAES:
		return n == 16 || n == 24 || n == 32
	}
	return n > 0
}

// accessRules: every rule that the package names is in the EF.ARR. An eUICC may
// install a file with a rule that is not there, and then nobody can use the file.
func (v *validation) accessRules() {
	without := map[*Element][]string{}
	v.fs.Files(func(f *File) {
		if len(f.Security) != 3 || !f.ruled {
			return
		}
		if arr := v.fs.accessRuleFile(f); arr == nil || arr.Record(int(f.Security[2])) == nil {
			without[f.pe] = append(without[f.pe], fmt.Sprintf("%s (%X)", f, f.Security))
		}
	})
	for _, e := range v.p.Elements {
		if names := without[e]; names != nil {
			v.warn(e, RuleAccess, "the EF.ARR has no record with the access rule of %s", strings.Join(names, ", "))
		}
	}
}

// all returns the children with a tag.
func (n *node) all(tag tlv.Tag) (out []*node) {
	for _, c := range n.list() {
		if c.tag == tag {
			out = append(out, c)
		}
	}
	return out
}
