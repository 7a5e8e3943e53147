package saip

import (
	"fmt"
	"strings"
)

// A Capability is a bit of UICCCapability, as euiccInfo2 announces them.
type Capability int

// The capabilities of SAIP 3.3.1.
const (
	Contactless Capability = iota
	SupportsUSIM
	SupportsISIM
	SupportsCSIM
	SupportsMilenage
	SupportsCAVE
	SupportsTUAK128
	SupportsTUAK256
	SupportsTestAlgorithm
	_
	GBAUSIM
	GBAISIM
	MBMS
	EAPClient
	JavaCard
	MULTOS
	MultipleUSIM
	MultipleISIM
	MultipleCSIM
	BERTLVFiles
	DFLinks
	CATTP
	GetIdentity
	ProfileA
	ProfileB
	SUCICalculatorAPI
	DNSResolution
	SCP11ac
	SCP11cAuthorization
	S16Mode
	EAKA
	IoTMinimal
)

var capabilityNames = map[Capability]string{
	Contactless: "contactless", SupportsUSIM: "usim", SupportsISIM: "isim", SupportsCSIM: "csim", SupportsMilenage: "milenage",
	SupportsCAVE: "cave", SupportsTUAK128: "tuak128", SupportsTUAK256: "tuak256", SupportsTestAlgorithm: "usim-test-algorithm",
	GBAUSIM: "gba-usim", GBAISIM: "gba-isim", MBMS: "mbms", EAPClient: "eap", JavaCard: "javacard", MULTOS: "multos",
	MultipleUSIM: "multiple-usim", MultipleISIM: "multiple-isim", MultipleCSIM: "multiple-csim", BERTLVFiles: "ber-tlv",
	DFLinks: "dfLink", CATTP: "cat-tp", GetIdentity: "get-identity", ProfileA: "profile-a-x25519", ProfileB: "profile-b-p256",
	SUCICalculatorAPI: "suciCalculatorApi", DNSResolution: "dns-resolution", SCP11ac: "scp11ac",
	SCP11cAuthorization: "scp11c-authorization-mechanism", S16Mode: "s16mode", EAKA: "eaka", IoTMinimal: "iotminimal",
}

func (c Capability) String() string {
	if name, ok := capabilityNames[c]; ok {
		return name
	}
	return fmt.Sprintf("capability %d", int(c))
}

// serviceOrder is the order of ServicesList, and so the tags 80, 81, ..
var serviceOrder = []Capability{
	Contactless, SupportsUSIM, SupportsISIM, SupportsCSIM, SupportsMilenage, SupportsTUAK128, SupportsCAVE, GBAUSIM, GBAISIM,
	MBMS, EAPClient, JavaCard, MULTOS, MultipleUSIM, MultipleISIM, MultipleCSIM, SupportsTUAK256, SupportsTestAlgorithm,
	BERTLVFiles, DFLinks, CATTP, GetIdentity, ProfileA, ProfileB, SUCICalculatorAPI, DNSResolution, SCP11ac,
	SCP11cAuthorization, S16Mode, EAKA,
}

// announced returns the services that the header lists.
func (p *Package) announced() (out []Capability) {
	h := p.Element(KindHeader)
	if h == nil {
		return nil
	}
	for _, n := range h.node.child(0xA5).list() {
		if i := int(n.tag) - 0x80; i >= 0 && i < len(serviceOrder) {
			out = append(out, serviceOrder[i])
		}
	}
	return out
}

// A use is an element that cannot do without a service.
type use struct {
	by         *Element
	capability Capability
}

// used returns what the elements cannot do without.
func (p *Package) used(fs *FileSystem) (out []use) {
	count := map[Kind]int{}
	applications := []struct {
		kind      Kind
		one, more Capability
	}{
		{KindUSIM, SupportsUSIM, MultipleUSIM},
		{KindISIM, SupportsISIM, MultipleISIM},
		{KindCSIM, SupportsCSIM, MultipleCSIM},
	}
	for _, e := range p.Elements {
		count[e.Kind]++
		for _, a := range applications {
			if e.Kind == a.kind {
				out = append(out, use{e, a.one})
				if count[e.Kind] == 2 {
					out = append(out, use{e, a.more})
				}
			}
		}
		switch e.Kind {
		case KindAKA:
			if c, ok := e.algorithmCapability(); ok {
				out = append(out, use{e, c})
			}
		case KindEAP:
			out = append(out, use{e, EAPClient})
		case KindApplication:
			if e.node.at(0xA1, 0xC4) != nil && !p.lists(MULTOS) {
				out = append(out, use{e, JavaCard})
			}
		}
	}
	linked, bertlv := false, false
	fs.Files(func(f *File) {
		if f.Type == BERTLV && !bertlv {
			bertlv = true
			out = append(out, use{f.pe, BERTLVFiles})
		}
		if f.Link != nil && f.Directory() && !linked {
			linked = true
			out = append(out, use{f.pe, DFLinks})
		}
	})
	return out
}

func (p *Package) lists(c Capability) bool {
	for _, a := range p.announced() {
		if a == c {
			return true
		}
	}
	return false
}

// algorithmCapability names the service that an akaParameter uses.
func (e *Element) algorithmCapability() (Capability, bool) {
	n := e.node.at(0xA1, 0xA1)
	switch Algorithm(n.child(tagAlgorithm).int(0)) {
	case Milenage:
		return SupportsMilenage, true
	case TUAK:
		return tuakCapability(len(n.child(tagKey).octets())), true
	case XOR:
		return SupportsTestAlgorithm, true
	}
	return 0, false
}

func tuakCapability(keyLength int) Capability {
	if keyLength == 32 {
		return SupportsTUAK256
	}
	return SupportsTUAK128
}

// Needs is what a package asks of an eUICC, for the eligibility check before a
// download. SGP.22, 4.3 and 5.6.2.
type Needs struct {
	Major, Minor int          // version of the profile package format
	Capabilities []Capability // bits that must be set
	Templates    []string     // identifiers of file system templates, "2.23.143.1.2.1"
	Memory       int          // approximate non-volatile memory in octets
}

// Needs tells what the package asks of an eUICC.
func (p *Package) Needs() Needs {
	fs := p.build()
	n := Needs{Capabilities: p.announced(), Memory: fs.memory()}
	for _, u := range p.used(fs) {
		if !n.has(u.capability) {
			n.Capabilities = append(n.Capabilities, u.capability)
		}
	}
	h := p.Element(KindHeader)
	if h == nil {
		return n
	}
	n.Major, n.Minor = h.node.child(0x80).int(0), h.node.child(0x81).int(0)
	for _, t := range h.node.child(0xA6).list() {
		n.Templates = append(n.Templates, dotted(t.value))
	}
	for _, e := range p.Elements {
		if e.Kind == KindApplication {
			n.Memory += 2 * len(e.Bytes()) // a load file, then its linked form
		}
		if e.Kind == KindIoT && !n.has(IoTMinimal) {
			n.Capabilities = append(n.Capabilities, IoTMinimal)
		}
	}
	return n
}

// memory estimates what the files take: content and some octets of
// administration each.
func (fs *FileSystem) memory() (n int) {
	const perFile = 32
	fs.Files(func(f *File) {
		n += perFile
		if f.Link == nil {
			n += max(len(f.Data), f.MaxSize)
		}
	})
	return n
}

func (n Needs) has(c Capability) bool {
	for _, have := range n.Capabilities {
		if have == c {
			return true
		}
	}
	return false
}

// Missing returns the names of the needed capabilities that are not among the
// bits of an eUICC, bit 0 being contactless. Empty means eligible.
func (n Needs) Missing(capabilities uint64) (names []string) {
	for _, c := range n.Capabilities {
		if capabilities>>uint(c)&1 == 0 {
			names = append(names, c.String())
		}
	}
	return names
}

// dotted writes the octets of an object identifier as numbers.
func dotted(oid []byte) string {
	var out strings.Builder
	n := 0
	for _, o := range oid {
		if n > 1<<24 {
			return fmt.Sprintf("%x", oid)
		}
		n = n<<7 | int(o&0x7F)
		if o&0x80 != 0 {
			continue
		}
		if out.Len() == 0 {
			fmt.Fprintf(&out, "%d.%d", min(n/40, 2), n-40*min(n/40, 2))
		} else {
			fmt.Fprintf(&out, ".%d", n)
		}
		n = 0
	}
	return out.String()
}
