package saip

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"godwit/tlv"
)

// fresh returns our full template as a tree that a test may spoil.
func fresh(t testing.TB) *Package {
	t.Helper()
	p, err := Parse(FullUSIM().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reparse encodes a spoilt tree and reads it again.
func reparse(t testing.TB, p *Package) *Package {
	t.Helper()
	for _, e := range p.Elements {
		e.node.forget()
	}
	again, err := Parse(p.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestValidateFinds(t *testing.T) {
	remove := func(p *Package, k Kind) {
		p.Elements = slices.DeleteFunc(p.Elements, func(e *Element) bool { return e.Kind == k })
	}
	move := func(p *Package, k Kind, to int) {
		i := slices.IndexFunc(p.Elements, func(e *Element) bool { return e.Kind == k })
		e := p.Elements[i]
		p.Elements = slices.Insert(slices.Delete(p.Elements, i, i+1), to, e)
	}
	drop := func(n *node, tag tlv.Tag) {
		n.children = slices.DeleteFunc(n.children, func(c *node) bool { return c.tag == tag })
	}
	for _, tt := range []struct {
		name, rule string
		kind       Kind
		spoil      func(p *Package)
	}{
		{"no end", RuleOrder, KindSecurityDomain, func(p *Package) { remove(p, KindEnd) }},
		{"two ends", RuleOrder, KindEnd, func(p *Package) { p.Elements = append(p.Elements, p.Elements[len(p.Elements)-1]) }},
		{"no header", RuleOrder, KindMF, func(p *Package) { remove(p, KindHeader) }},
		{"header second", RuleOrder, KindMF, func(p *Package) { move(p, KindHeader, 1) }},
		{"MF late", RuleOrder, 0, func(p *Package) { move(p, KindMF, 3) }},
		{"keys before the USIM", RuleOrder, KindAKA, func(p *Package) { move(p, KindAKA, 4) }},
		{"optional files before the USIM", RuleOrder, KindOptUSIM, func(p *Package) { move(p, KindOptUSIM, 4) }},
		{"5GS files without USIM", RuleOrder, KindDF5GS, func(p *Package) { remove(p, KindUSIM) }},
		{"one identification twice", RuleUniqueID, KindPUKCodes, func(p *Package) { p.Elements[2].node.at(0xA0, 0x81).value = []byte{1} }},
		{"version 4", RuleHeader, KindHeader, func(p *Package) { p.Elements[0].node.child(0x80).value = []byte{4} }},
		{"no services", RuleHeader, KindHeader, func(p *Package) { drop(p.Elements[0].node, 0xA5) }},
		{"USIM not announced", RuleServices, KindUSIM, func(p *Package) { drop(p.Elements[0].node.child(0xA5), 0x81) }},
		{"ISIM not announced", RuleServices, KindISIM, func(p *Package) { drop(p.Elements[0].node.child(0xA5), 0x82) }},
		{"template not listed", RuleTemplates, KindMF, func(p *Package) {
			l := p.Elements[0].node.child(0xA6)
			l.children = l.children[1:]
		}},
		{"another ICCID in the header", RuleICCID, KindMF, func(p *Package) { p.Elements[0].node.child(0x83).value[3] ^= 1 }},
		{"short ICCID", RuleICCID, KindHeader, func(p *Package) {
			n := p.Elements[0].node.child(0x83)
			n.value = n.value[1:]
		}},
		{"K of 15 octets", RuleAKA, KindAKA, func(p *Package) {
			n := p.Element(KindAKA).node.at(0xA1, 0xA1, tagKey)
			n.value = n.value[1:]
		}},
		{"unknown algorithm", RuleAKA, KindAKA, func(p *Package) { p.Element(KindAKA).node.at(0xA1, 0xA1, tagAlgorithm).value = []byte{7} }},
		{"keys twice for one application", RuleAKA, KindAKA, func(p *Package) {
			again := *p.Element(KindAKA)
			n, err := Parse(again.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			n.Elements[0].node.at(0xA0, 0x81).value = []byte{99}
			i := slices.IndexFunc(p.Elements, func(e *Element) bool { return e.Kind == KindAKA })
			p.Elements = slices.Insert(p.Elements, i+1, n.Elements[0])
		}},
		{"PIN with a PUK that is not there", RuleCode, KindPINCodes, func(p *Package) { p.Elements[3].node.at(0xA1, 0xA0, 0x30, 0x82).value = []byte{5} }},
		{"PUK of seven octets", RuleCode, KindPUKCodes, func(p *Package) {
			n := p.Elements[2].node.at(0xA1, 0x30, 0x81)
			n.value = n.value[1:]
		}},
		{"content longer than the file", RuleFile, KindUSIM, func(p *Package) {
			n := p.Element(KindUSIM).node.at(0xA3, tagContent)
			n.value = append(n.value[:len(n.value):len(n.value)], 0xFF)
		}},
		{"two applications of one name", RuleFile, KindISIM, func(p *Package) {
			p.Element(KindISIM).node.at(0xA2, 0xA1, 0x84).value = aidUSIM
		}},
		{"rule that is not in the EF.ARR", RuleAccess, KindUSIM, func(p *Package) {
			p.Element(KindUSIM).node.at(0xA3, 0xA1, 0x8B).value = []byte{0x6F, 0x06, 0x20}
		}},
		{"key of odd length in the security domain", RuleDomain, KindSecurityDomain, func(p *Package) {
			n := p.Element(KindSecurityDomain).node
			n.children = append(n.children, branch(0xA2, branch(0x30, leaf(0x95, 0x18), leaf(0x82, 1), leaf(0x83, 1),
				branch(0x30, branch(0x30, leaf(0x80, keyTypeAES), leaf(0x86, 1, 2, 3))))))
		}},
		{"more files than any card holds", RuleLength, KindGenericFiles, func(p *Package) {
			var commands []*node
			for i := range byte(20) {
				commands = append(commands, branch(0x62, leaf(0x82, 0x41, 0x21), leaf(0x83, 0x6E, i), leaf(0x80, 0x04, 0, 0)))
			}
			gfm := branch(0xA1, peHeader(50), branch(0xA1, branch(0x30, commands...)))
			p.Elements = slices.Insert(p.Elements, len(p.Elements)-1, &Element{Kind: KindGenericFiles, ID: 50, node: gfm})
		}},
		{"file management into nowhere", RuleFile, KindGenericFiles, func(p *Package) {
			gfm := branch(0xA1, peHeader(50), branch(0xA1, branch(0x30, leaf(0x80, 0x7F, 0x99))))
			p.Elements = slices.Insert(p.Elements, len(p.Elements)-1, &Element{Kind: KindGenericFiles, ID: 50, node: gfm})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := fresh(t)
			tt.spoil(p)
			problems := reparse(t, p).Validate()
			if !slices.ContainsFunc(problems, func(x Problem) bool { return x.Rule == tt.rule && x.Kind == tt.kind }) {
				t.Errorf("problems %v, want one of rule %s in %s", problems, tt.rule, tt.kind)
			}
			if tt.rule != RuleAccess && len(Refusals(problems)) == 0 {
				t.Error("there is nothing but warnings")
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"nothing", ""},
		{"cut off", "A003800102"[:8]},
		{"no element of a profile", "0403010203"},
		{"element without header", "B000"},
		{"header not first", "B00A8106678 10F010201A000"},
		{"element without identification", "AA04A0028000"},
		{"negative identification", "AA07A00580008101FF"},
		{"large identification", "AA09A0078000 81030FFFFF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(tt.in, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Parse(b); err == nil {
				t.Error("it was read")
			}
		})
	}
}

// Elements of a later version pass through and are reported only if they are
// mandatory.
func TestUnknownElement(t *testing.T) {
	p := fresh(t)
	later := branch(0xBF40, branch(0xA0, leaf(0x81, 77)), leaf(0x81, 1, 2, 3))
	p.Elements = slices.Insert(p.Elements, len(p.Elements)-1, &Element{Kind: 0xBF40, node: later})
	again := reparse(t, p)
	if len(again.Validate()) != 0 {
		t.Errorf("problems %v", again.Validate())
	}
	tpl, err := NewTemplate("later", again.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	der, err := tpl.Personalise(full())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(der, later.append(nil)) {
		t.Error("the unknown element did not pass through")
	}
}

func TestNeeds(t *testing.T) {
	n := FullUSIM().Needs()
	all := uint64(1<<SupportsUSIM | 1<<SupportsISIM | 1<<SupportsMilenage)
	if missing := n.Missing(all); missing != nil {
		t.Errorf("a chip with USIM, ISIM and Milenage lacks %v", missing)
	}
	if missing := n.Missing(all &^ (1 << SupportsISIM)); !slices.Equal(missing, []string{"isim"}) {
		t.Errorf("a chip without ISIM lacks %v", missing)
	}
	if n.Major != 2 || n.Minor != 3 || len(n.Templates) != 9 || n.Templates[0] != "2.23.143.1.2.1" || n.Memory < 8000 {
		t.Errorf("needs %+v", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, tpl := range Templates() {
		f.Add(tpl.Bytes())
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := Parse(der)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Bytes(), der) {
			t.Fatal("what was read is not what is written")
		}
		problems := p.Validate()
		_ = p.Needs()
		_ = Tree(p)
		fs, err := p.FileSystem()
		if err == nil {
			fs.Files(func(f *File) {
				_ = fs.FCP(f)
				_ = fs.Allowed(f, Read, func(byte) bool { return true })
			})
		}
		if len(Refusals(problems)) > 0 {
			return
		}
		tpl, err := NewTemplate("fuzz", der)
		if err != nil {
			t.Fatalf("valid, but no template: %v", err)
		}
		out, err := tpl.Personalise(&Personal{})
		if err != nil || !bytes.Equal(out, der) {
			t.Fatalf("no personal data changed the package (%v)", err)
		}
		if out, err = tpl.Personalise(&Personal{ICCID: "8949000000000000017"}); err == nil {
			if _, err := Parse(out); err != nil {
				t.Fatalf("personalised, it cannot be read: %v", err)
			}
		}
	})
}
