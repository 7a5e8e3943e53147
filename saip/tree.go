package saip

import (
	"fmt"
	"strings"
)

// Tree describes a package for people: its elements, and what its files are.
// Keys and codes are not shown.
func Tree(p *Package) string {
	var out strings.Builder
	fs := p.build()
	byElement := map[*Element][]*File{}
	fs.Files(func(f *File) { byElement[f.pe] = append(byElement[f.pe], f) })
	for _, e := range p.Elements {
		switch {
		case e.Kind == KindHeader:
			n := p.Needs()
			fmt.Fprintf(&out, "header: version %d.%d, ICCID %s, %q\n", n.Major, n.Minor, p.ICCID(), e.node.child(0x82).octets())
			fmt.Fprintf(&out, "  needs %s\n", joined(n.Capabilities))
			fmt.Fprintf(&out, "  templates %s; about %d octets of memory\n", strings.Join(n.Templates, " "), n.Memory)
			continue
		case e.Mandated:
			fmt.Fprintf(&out, "%d %s (mandatory, %d octets)\n", e.ID, e.Kind, len(e.Bytes()))
		default:
			fmt.Fprintf(&out, "%d %s (%d octets)\n", e.ID, e.Kind, len(e.Bytes()))
		}
		e.detail(&out)
		for _, f := range byElement[e] {
			fmt.Fprintf(&out, "  %s\n", f.describeLine())
		}
	}
	return out.String()
}

func joined(cs []Capability) string {
	names := make([]string, len(cs))
	for i, c := range cs {
		names[i] = c.String()
	}
	return strings.Join(names, " ")
}

// detail says what elements without files hold.
func (e *Element) detail(out *strings.Builder) {
	switch e.Kind {
	case KindPINCodes:
		if shared := e.node.at(0xA1, 0x81); shared != nil {
			fmt.Fprintf(out, "  the codes of %X\n", shared.value)
		}
		for _, n := range e.node.at(0xA1, 0xA0).list() {
			fmt.Fprintf(out, "  code %02X, unblocked by %02X, attributes %02X\n", n.child(0x80).int(0), n.child(0x82).int(0), n.child(0x83).int(defaultAttributes))
		}
	case KindPUKCodes:
		for _, n := range e.node.child(0xA1).list() {
			fmt.Fprintf(out, "  PUK %02X\n", n.child(0x80).int(0))
		}
	case KindAKA:
		if n := e.node.at(0xA1, 0xA1); n != nil {
			fmt.Fprintf(out, "  %s, K of %d octets\n", Algorithm(n.child(tagAlgorithm).int(0)), len(n.child(tagKey).octets()))
		} else {
			fmt.Fprintf(out, "  the keys of %X\n", e.node.at(0xA1, 0xA0, 0x81).octets())
		}
	case KindSecurityDomain:
		if aids := e.node.child(0xA1).all(0x4F); len(aids) >= 3 {
			fmt.Fprintf(out, "  %X\n", aids[2].value)
		}
		for _, key := range e.node.child(0xA2).list() {
			fmt.Fprintf(out, "  key %X of version %X\n", key.child(0x82).octets(), key.child(0x83).octets())
		}
	case KindRFM:
		if aids := e.node.all(0x4F); len(aids) >= 1 {
			fmt.Fprintf(out, "  %X\n", aids[0].value)
		}
	}
}

// secretFiles hold what must not be shown.
var secretFiles = map[string]bool{"ef-keys": true, "ef-keysPS": true, "ef-5gauthkeys": true, "ef-kc": true, "ef-kcgprs": true, "ef-hiddenkey": true}

// describeLine shows a file: path, name, structure, size, content in short.
func (f *File) describeLine() string {
	line := f.Path()
	if f.Name != "" {
		line += " " + f.Name
	}
	switch {
	case len(f.linkPath) > 0:
		return line + fmt.Sprintf(": link to %X", f.linkPath)
	case f.Type == ADF:
		return line + fmt.Sprintf(": application %X", f.AID)
	case f.Directory():
		return line + ":"
	case f.Records() > 0:
		line += fmt.Sprintf(": %s, %d records of %d", f.Type, f.Records(), f.RecordLength)
	case f.Type == BERTLV:
		line += fmt.Sprintf(": BER-TLV, up to %d octets", f.MaxSize)
	default:
		line += fmt.Sprintf(": %d octets", len(f.Data))
	}
	if secretFiles[f.Name] || len(f.Data) == 0 {
		return line
	}
	shown := f.Data
	for len(shown) > 1 && shown[len(shown)-1] == 0xFF {
		shown = shown[:len(shown)-1]
	}
	return line + ", " + abbreviate(shown)
}
