package saip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/fault"
	"godwit/ident"
	"godwit/milenage"
)

// full is personal data for every field of our full template.
func full() *Personal {
	return &Personal{
		ICCID: "8949000000000000017", IMSI: "262421234567890", Algorithm: Milenage,
		K: bytes.Repeat([]byte{0x11}, 16), OPc: bytes.Repeat([]byte{0x22}, 16), SEQ: 99,
		MNCLength: 2, PIN1: "1234", PUK1: "12345678", PIN2: "5678", PUK2: "87654321", ADM1: "0011223344556677", ADM2: "4711",
		SPN: "Küstennetz", SMSC: "+491710760000", MSISDN: "+4915112345678",
		SUCI:             &SUCI{Schemes: []SUCIScheme{{ID: 1, KeyIndex: 1}, {}}, Keys: []HomeNetworkKey{{ID: 27, Key: bytes.Repeat([]byte{0xA5}, 32)}}},
		RoutingIndicator: "123",
		SecurityDomainKeys: []DomainKey{
			{Version: 1, ID: 1, Key: bytes.Repeat([]byte{1}, 16)},
			{Version: 1, ID: 2, Key: bytes.Repeat([]byte{2}, 16)},
			{Version: 1, ID: 3, Key: bytes.Repeat([]byte{3}, 32)},
		},
	}
}

// personalised builds the files of a personalised template, which must be valid.
func personalised(t testing.TB, tpl *Template, p *Personal) (*Package, *FileSystem) {
	t.Helper()
	der, err := tpl.Personalise(p)
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range Refusals(pkg.Validate()) {
		t.Error(problem)
	}
	for _, e := range pkg.Elements {
		e.node.forget()
	}
	if !bytes.Equal(pkg.Bytes(), der) {
		t.Error("the personalised package is not DER: encoded anew it differs")
	}
	fs, err := pkg.FileSystem()
	if err != nil {
		t.Fatal(err)
	}
	return pkg, fs
}

func file(t testing.TB, fs *FileSystem, path string) *File {
	t.Helper()
	p, err := hex.DecodeString(path)
	if err != nil {
		t.Fatal(err)
	}
	f := fs.Find(p)
	if f == nil {
		t.Fatalf("there is no file %s", path)
	}
	return f.Content()
}

func TestPersonaliseEveryField(t *testing.T) {
	pkg, fs := personalised(t, FullUSIM(), full())
	if pkg.ICCID() != "8949000000000000017" {
		t.Errorf("header names %s", pkg.ICCID())
	}
	for _, tt := range []struct{ name, path, want string }{
		{"EF.ICCID", "2FE2", "989400000000000010f7"},
		{"EF.IMSI", "7FD06F07", "082926242143658709"},
		{"EF.ACC of digit 0", "7FD06F78", "0001"},
		{"EF.AD", "7FD06FAD", "00000002"},
		{"EF.SPN in the GSM alphabet", "7FD06F46", "01" + "4b7e7374656e6e65747a" + "ffffffffffff"},
		{"EF.SMSP", "7FD06F42", "ffffffffffffffffffffe1ffffffffffffffffffffffff0791947101670000ffffffff0000a9"},
		{"EF.MSISDN", "7FD06F40", "ffffffffffffffffffff0891945111325476f8ffffffffff"},
		{"EF.IMPI from the IMSI", "7FB06F02", "8031" + hex.EncodeToString([]byte("262421234567890@ims.mnc042.mcc262.3gppnetwork.org")) + strings.Repeat("ff", 80-51)},
		{"EF.DOMAIN from the IMSI", "7FB06F03", "8021" + hex.EncodeToString([]byte("ims.mnc042.mcc262.3gppnetwork.org")) + strings.Repeat("ff", 64-35)},
		{"EF.SUCI_Calc_Info", "7FD05FC04F07", "a00401010000a1258001" + "1b8120" + strings.Repeat("a5", 32) + strings.Repeat("ff", 160-45)},
		{"EF.SUCI_Calc_Info of the USIM", "7FD05FD04F01", strings.Repeat("ff", 160)},
		{"EF.Routing_Indicator", "7FD05FC04F0A", "21f3ffff"},
	} {
		if got := hex.EncodeToString(file(t, fs, tt.path).Data); got != tt.want {
			t.Errorf("%s\n have %s\n want %s", tt.name, got, tt.want)
		}
	}
	if got := file(t, fs, "7FB06F04").Record(1); !strings.HasPrefix(string(got), "\x80\x35sip:262421234567890@ims.mnc042.mcc262.3gppnetwork.org") {
		t.Errorf("EF.IMPU = %q", got)
	}
	for _, adf := range fs.ADFs {
		if !bytes.Equal(adf.AKA.K, full().K) || !bytes.Equal(adf.AKA.OPc, full().OPc) || adf.AKA.USIM.SEQ[31] != 99 {
			t.Errorf("%s has not got the keys and sequence numbers", adf)
		}
		if c := fs.PIN(adf, refPIN2); string(c.Value[:]) != "5678\xFF\xFF\xFF\xFF" {
			t.Errorf("PIN2 of %s = %q", adf, c.Value)
		}
	}
	for ref, want := range map[byte]string{refPIN1: "1234\xFF\xFF\xFF\xFF", refADM1: "\x00\x11\x22\x33\x44\x55\x66\x77", refADM2: "4711\xFF\xFF\xFF\xFF"} {
		if c := fs.PIN(fs.MF, ref); string(c.Value[:]) != want {
			t.Errorf("code %02X = %q, want %q", ref, c.Value, want)
		}
	}
	if string(fs.PUKs[refPIN1].Value[:]) != "12345678" || string(fs.PUKs[refPIN2].Value[:]) != "87654321" {
		t.Error("PUKs are not those asked for")
	}
	keys := pkg.Element(KindSecurityDomain).node.child(0xA2)
	if n := len(keys.list()); n != 3 {
		t.Errorf("the security domain has %d keys, want 3", n)
	}
}

// The profile answers the challenge of a network that knows its keys.
func TestPersonalisedUSIMAnswers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		algorithm Algorithm
		k, opc    int
		service   Capability
	}{{"Milenage", Milenage, 16, 16, SupportsMilenage}, {"TUAK128", TUAK, 16, 32, SupportsTUAK128}, {"TUAK256", TUAK, 32, 32, SupportsTUAK256}} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Personal{
				ICCID: "8949000000000000017", IMSI: "262421234567890", Algorithm: tt.algorithm,
				K: bytes.Repeat([]byte{7}, tt.k), OPc: bytes.Repeat([]byte{8}, tt.opc),
			}
			for _, tpl := range Templates() {
				pkg, fs := personalised(t, tpl, p)
				if !pkg.lists(tt.service) || len(pkg.Validate()) != 0 {
					t.Errorf("%s: problems %v, services %v", tpl.Name, pkg.Validate(), pkg.announced())
				}
				if missing := tpl.NeedsFor(p).Missing(1 << tt.service); len(missing) == 0 || strings.Contains(fmt.Sprint(missing), "milenage") {
					t.Errorf("%s: NeedsFor misses %v", tpl.Name, missing)
				}
				for _, adf := range fs.ADFs {
					var functions milenage.Functions
					var err error
					if tt.algorithm == TUAK {
						functions, err = milenage.NewTUAK(p.K, p.OPc, milenage.DefaultLengths, 1)
					} else {
						functions, err = milenage.New(p.K, p.OPc)
					}
					if err != nil {
						t.Fatal(err)
					}
					v := milenage.NewVector(functions, [16]byte{9}, milenage.SQNOf(32), [2]byte{0x80})
					answer, err := adf.AKA.USIM.Authenticate(v.RAND[:], v.AUTN[:])
					if err != nil || !v.Accepts(answer.RES) {
						t.Errorf("%s of %s: %v", adf, tpl.Name, err)
					}
				}
			}
		})
	}
}

// Nothing changes but what was asked for.
func TestPersonaliseNothing(t *testing.T) {
	for _, tpl := range append(sampleTemplates(t), Templates()...) {
		der, err := tpl.Personalise(&Personal{})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(der, tpl.Bytes()) {
			t.Errorf("%s: no personal data, and yet it differs", tpl.Name)
		}
	}
}

func sampleTemplates(t testing.TB) []*Template {
	t.Helper()
	var out []*Template
	for _, name := range samples {
		tpl, err := NewTemplate(name, sample(t, name))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tpl)
	}
	return out
}

// Two ICCIDs from one template: only the fields that were given differ.
func TestPersonaliseOnlyWhatWasGiven(t *testing.T) {
	for _, tpl := range append(sampleTemplates(t), Templates()...) {
		t.Run(tpl.Name, func(t *testing.T) {
			_, before := personalised(t, tpl, &Personal{})
			_, after := personalised(t, tpl, &Personal{ICCID: "8949000000000000025", IMSI: "310150123456789", MNCLength: 3})
			allowed := map[string]bool{
				"ef-iccid": true, "ef-imsi": true, "ef-acc": true, "ef-ad": true, "ef-impi": true, "ef-impu": true, "ef-domain": true,
			}
			old := map[string]*File{}
			before.Files(func(f *File) { old[f.Path()] = f })
			n := 0
			after.Files(func(f *File) {
				n++
				was := old[f.Path()]
				if was == nil {
					t.Errorf("%s appeared", f)
					return
				}
				if !bytes.Equal(was.Data, f.Data) && !allowed[f.Name] {
					t.Errorf("%s changed", f)
				}
				if !bytes.Equal(was.Security, f.Security) || was.SFI != f.SFI || was.Type != f.Type {
					t.Errorf("the description of %s changed", f)
				}
			})
			if n != len(old) {
				t.Errorf("%d files became %d", len(old), n)
			}
			if got := file(t, after, "7FD06F07").Data; hex.EncodeToString(got) != "083901511032547698" {
				t.Errorf("EF.IMSI = %x", got)
			}
			if got := file(t, after, "7FD06FAD").Data; got[3] != 3 {
				t.Errorf("EF.AD = %x", got)
			}
		})
	}
}

// IMS identities of real operators are longer than the files of the test
// profiles: the file grows.
func TestPersonaliseGrowsFiles(t *testing.T) {
	for _, tpl := range sampleTemplates(t)[:4] {
		impi := strings.Repeat("x", 200) + "@example.org"
		_, fs := personalised(t, tpl, &Personal{IMSI: "310150123456789", IMPI: impi, IMPU: []string{"sip:a@b.c", "tel:+1"}, Domain: "example.org"})
		if got := string(file(t, fs, "7FB06F02").Data); got != "\x80\x81\xD4"+impi {
			t.Errorf("%s: EF.IMPI = %q", tpl.Name, got)
		}
		impu := file(t, fs, "7FB06F04")
		if !strings.HasPrefix(string(impu.Record(2)), "\x80\x06tel:+1\xFF") || impu.Record(3)[0] != 0xFF {
			t.Errorf("%s: EF.IMPU = %q", tpl.Name, impu.Data)
		}
	}
}

func TestSUCIOnUSIM(t *testing.T) {
	p := full()
	p.SUCI.OnUSIM = true
	pkg, fs := personalised(t, FullUSIM(), p)
	if got := file(t, fs, "7FD05FD04F01").Data; got[0] != 0xA0 {
		t.Errorf("the USIM's file begins with %x", got[:4])
	}
	if got := file(t, fs, "7FD05FC04F07").Data; got[0] != 0xFF {
		t.Errorf("the phone's file begins with %x, want nothing in it", got[:4])
	}
	if ust := file(t, fs, "7FD06F38").Data; ust[15]&0x18 != 0x18 {
		t.Errorf("EF.UST = %x: services 124 and 125 should be set", ust)
	}
	if !pkg.lists(GetIdentity) || !pkg.lists(ProfileA) || pkg.lists(ProfileB) {
		t.Errorf("the header lists %v", pkg.announced())
	}
}

func TestPersonaliseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, field string
		change      func(*Personal)
	}{
		{"short ICCID", "ICCID", func(p *Personal) { p.ICCID = "8949" }},
		{"letters in the IMSI", "IMSI", func(p *Personal) { p.IMSI = "26242x" }},
		{"short PIN", "PIN1", func(p *Personal) { p.PIN1 = "123" }},
		{"letters in a PUK", "PUK1", func(p *Personal) { p.PUK1 = "1234567x" }},
		{"long PIN2", "PIN2", func(p *Personal) { p.PIN2 = "123456789" }},
		{"odd ADM", "ADM1", func(p *Personal) { p.ADM1 = "001122334455667x" }},
		{"key without OPc", "K", func(p *Personal) { p.OPc = nil }},
		{"long key", "K", func(p *Personal) { p.K = make([]byte, 32) }},
		{"TUAK with OPc of Milenage", "K", func(p *Personal) { p.Algorithm = TUAK }},
		{"unknown algorithm", "Algorithm", func(p *Personal) { p.Algorithm = 9 }},
		{"sequence too high", "SEQ", func(p *Personal) { p.SEQ = 1 << 43 }},
		{"MNC of four digits", "MNCLength", func(p *Personal) { p.MNCLength = 4 }},
		{"long provider name", "SPN", func(p *Personal) { p.SPN = "seventeen letters" }},
		{"long name in UCS2", "SPN", func(p *Personal) { p.SPN = "Общество" }},
		{"letters in a number", "MSISDN", func(p *Personal) { p.MSISDN = "+49x" }},
		{"long service centre", "SMSC", func(p *Personal) { p.SMSC = strings.Repeat("1", 21) }},
		{"too many identities", "IMPU", func(p *Personal) { p.IMPU = []string{"a", "b", "c"} }},
		{"long identity", "IMPU", func(p *Personal) { p.IMPU = []string{strings.Repeat("a", 90)} }},
		{"long routing indicator", "RoutingIndicator", func(p *Personal) { p.RoutingIndicator = "12345" }},
		{"scheme without key", "SUCI", func(p *Personal) { p.SUCI.Keys = nil }},
		{"key of wrong length", "SUCI", func(p *Personal) { p.SUCI.Keys[0].Key = make([]byte, 33) }},
		{"domain key of odd length", "SecurityDomainKeys", func(p *Personal) { p.SecurityDomainKeys[0].Key = make([]byte, 15) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := full()
			tt.change(p)
			_, err := FullUSIM().Personalise(p)
			var refusal *fault.Error
			if !errors.As(err, &refusal) || refusal.Field != tt.field {
				t.Errorf("error = %v, want a refusal of %s", err, tt.field)
			}
			if check := FullUSIM().Check(p); check == nil || check.Error() != err.Error() {
				t.Errorf("Check says %v, Personalise %v", check, err)
			}
		})
	}
	if err := FullUSIM().Check(full()); err != nil {
		t.Errorf("Check refuses what is right: %v", err)
	}
	_, err := MinimalUSIM().Personalise(&Personal{IMPI: "a@b"})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("a template without ISIM took an IMPI: %v", err)
	}
}

func TestTextOfSPN(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Godwit", "476f64776974"},
		{"@ß$", "001e02"},
		{"Сеть", "80042104350442044c"},
		{"a{b", "800061007b0062"}, // braces need the extension table, which EF.SPN has not
	} {
		if got := hex.EncodeToString(appendText(nil, tt.in)); got != tt.want {
			t.Errorf("%q = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestPersonalPrintsNoSecrets(t *testing.T) {
	p := full()
	for _, s := range []string{fmt.Sprint(*p), fmt.Sprintf("%+v %#v", p, *p), p.LogValue().String()} {
		if strings.Contains(s, "22 22") || strings.Contains(s, "0x22") || strings.Contains(s, "1234") {
			t.Errorf("printed %s", s)
		}
	}
}

// Any lawful data makes a valid package, whatever is set, in any order of use of
// one template.
func TestPersonaliseProperty(t *testing.T) {
	templates := append(sampleTemplates(t), Templates()...)
	rapid.Check(t, func(rt *rapid.T) {
		tpl := templates[rapid.IntRange(0, len(templates)-1).Draw(rt, "template")]
		p := full()
		if rapid.Bool().Draw(rt, "long ICCID") {
			p.ICCID, _ = ident.NewICCID(rapid.StringMatching(`89[0-9]{17}`).Draw(rt, "iccid"))
		}
		p.IMSI = ident.IMSI(rapid.StringMatching(`[0-9]{6,15}`).Draw(rt, "imsi"))
		p.SPN = rapid.StringMatching(`[A-Za-z ]{1,16}`).Draw(rt, "spn")
		p.MNCLength = rapid.SampledFrom([]int{0, 2, 3}).Draw(rt, "mnc")
		for f := field(0); f < fieldCount; f++ {
			if !tpl.plan.has[f] || rapid.IntRange(0, 3).Draw(rt, f.String()) == 0 {
				p.unset(f)
			}
		}
		if p.K == nil || p.OPc == nil {
			p.K, p.OPc, p.Algorithm = nil, nil, 0
		}
		for i := range p.SecurityDomainKeys {
			p.SecurityDomainKeys[i].Key = p.SecurityDomainKeys[i].Key[:16]
		}
		der, err := tpl.Personalise(p)
		if err != nil {
			rt.Fatal(err)
		}
		pkg, err := Parse(der)
		if err != nil {
			rt.Fatal(err)
		}
		if r := Refusals(pkg.Validate()); len(r) > 0 {
			rt.Fatal(r)
		}
		fs, err := pkg.FileSystem()
		if err != nil {
			rt.Fatal(err)
		}
		if p.IMSI != "" && !bytes.Equal(fs.Find([]byte{0x7F, 0xD0, 0x6F, 0x07}).Data, p.IMSI.Octets()) {
			rt.Fatal("EF.IMSI is another's")
		}
	})
}

// unset takes a field out again.
func (p *Personal) unset(f field) {
	empty := &Personal{}
	switch f {
	case fieldICCID:
		p.ICCID = empty.ICCID
	case fieldIMSI:
		p.IMSI = empty.IMSI
	case fieldAlgorithm, fieldK, fieldOPc:
		p.Algorithm, p.K, p.OPc = 0, nil, nil
	case fieldSEQ:
		p.SEQ = 0
	case fieldMNCLength:
		p.MNCLength = 0
	case fieldACC:
		p.ACC = 0
	case fieldPIN1:
		p.PIN1 = ""
	case fieldPUK1:
		p.PUK1 = ""
	case fieldPIN2:
		p.PIN2 = ""
	case fieldPUK2:
		p.PUK2 = ""
	case fieldADM1:
		p.ADM1 = ""
	case fieldADM2:
		p.ADM2 = ""
	case fieldSPN:
		p.SPN = ""
	case fieldSMSC:
		p.SMSC = ""
	case fieldMSISDN:
		p.MSISDN = ""
	case fieldIMPI:
		p.IMPI = ""
	case fieldIMPU:
		p.IMPU = nil
	case fieldDomain:
		p.Domain = ""
	case fieldSUCI:
		p.SUCI = nil
	case fieldRoutingIndicator:
		p.RoutingIndicator = ""
	case fieldSecurityDomainKeys:
		p.SecurityDomainKeys = nil
	}
}

func BenchmarkPersonalise(b *testing.B) {
	for _, tpl := range append(sampleTemplates(b)[2:3], Templates()...) {
		b.Run(fmt.Sprintf("%s-%d", tpl.Name, len(tpl.Bytes())), func(b *testing.B) {
			p := full()
			for f := field(0); f < fieldCount; f++ {
				if !tpl.plan.has[f] {
					p.unset(f)
				}
			}
			b.ReportAllocs()
			p.SecurityDomainKeys = nil
			for b.Loop() {
				if _, err := tpl.Personalise(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
