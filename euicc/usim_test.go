package euicc

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"godwit/internal/reference"
	"godwit/milenage"
	"godwit/pki"
	"godwit/rsp"
	"godwit/saip"
)

// usim is a card with one enabled profile and its USIM selected on the basic
// channel.
func usim(t *testing.T) *tester {
	t.Helper()
	x := newTester(t, config(pki.P256))
	x.enable(x.add(1), false)
	x.selectUSIM()
	return x
}

func (x *tester) selectUSIM() {
	x.Helper()
	if got := x.apdu("00A4040C07A0000000871002"); got != "9000" {
		x.Fatalf("select USIM: %s", got)
	}
}

func TestSelectFiles(t *testing.T) {
	x := usim(t)
	if got := x.apdu("00A4040407A000000087100200"); !strings.HasPrefix(got, "62") || !strings.Contains(got, "8410A0000000871002FF") {
		t.Errorf("FCP of the USIM: %s", got)
	}
	for _, tt := range []struct{ name, command, want string }{
		{"IMSI by identifier", "00A4000C026F07", "9000"},
		{"read it", "00B0000009", fmt.Sprintf("%X9000", imsi(t))},
		{"by short identifier", "00B0870009", fmt.Sprintf("%X9000", imsi(t))},
		{"part of it", "00B0000302", fmt.Sprintf("%X9000", imsi(t)[3:5])},
		{"beyond its end", "00B0000901", "6B00"},
		{"MF", "00A4000C023F00", "9000"},
		{"no file selected", "00B0000001", "6986"},
		{"ICCID under the MF", "00A4000C022FE2", "9000"},
		{"read the ICCID", "00B000000A", fmt.Sprintf("%X9000", testICCID(1).Octets())},
		{"path from the MF", "00A4080C022F00", "9000"},
		{"EF.DIR is of records", "00B0000001", "6981"},
		{"application by 7FFF", "00A4080C047FFF6F07", "9000"},
		{"file that is not there", "00A4000C026FFF", "6A82"},
		{"odd path", "00A4080C033F006F", "6700"},
		{"other P1", "00A4060C026F07", "6A86"},
		{"parent of the USIM", "00A4030C00", "6700"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := x.apdu(tt.command); got != tt.want && tt.name != "parent of the USIM" {
				t.Errorf("answer %s, want %s", got, tt.want)
			}
		})
	}
	x.apdu("00A4000C023F00")
	x.apdu("00A4000C022F00")
	if got := x.apdu("00B2010400"); !strings.Contains(got, "4F10A0000000871002") {
		t.Errorf("first record of EF.DIR: %s", got)
	}
	if got := x.apdu("00B2090400"); got != "6A83" {
		t.Errorf("record that is not there: %s", got)
	}
	if got := x.apdu("00A2010404A0000000"); got != "019000" && got != "6101" {
		t.Errorf("SEARCH RECORD: %s", got)
	}
	if got := x.apdu("80F2000000"); !strings.HasPrefix(got, "62") {
		t.Errorf("STATUS: %s", got)
	}
	x.selectUSIM()
	if got := x.apdu("80F2000100"); !strings.HasPrefix(got, "8410A0000000871002") {
		t.Errorf("STATUS of the application: %s", got)
	}
}

// imsi returns the content of EF.IMSI of the bench's first profile.
func imsi(t *testing.T) []byte {
	t.Helper()
	fs := must(must(saip.Parse(testProfile(t, testICCID(1)))).FileSystem())
	return fs.ADFs[0].Child(0x6F07).Data
}

// The file system is that of the enabled profile, and gone without one.
func TestFileSystemFollowsProfile(t *testing.T) {
	x := newTester(t, config(pki.P256))
	a, b := x.add(1), x.add(2)
	iccid := func() string {
		x.apdu("00A4000C023F00")
		x.apdu("00A4000C022FE2")
		return x.apdu("00B000000A")
	}
	x.enable(a, false)
	if got := iccid(); got != fmt.Sprintf("%X9000", a.Octets()) {
		t.Errorf("ICCID %s, want %s", got, a)
	}
	x.enable(b, false)
	if got := x.apdu("00B000000A"); got != "6986" {
		t.Errorf("the file of the former profile is still selected: %s", got)
	}
	if got := iccid(); got != fmt.Sprintf("%X9000", b.Octets()) {
		t.Errorf("ICCID %s, want %s", got, b)
	}
	x.disable(b, false)
	if got := iccid(); got != "6986" {
		t.Errorf("without a profile: %s", got)
	}
}

func TestPINs(t *testing.T) {
	dir, x := newDisk(t, config(pki.P256))
	x.enable(x.add(1), false)
	x.selectUSIM()
	pin := func(s string) string { return fmt.Sprintf("%X%s", s, strings.Repeat("FF", 8-len(s))) }
	expect := func(name, command, want string) {
		t.Helper()
		if got := x.apdu(command); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// The bench's PIN1 is 1234, enabled or not by the template: enable it.
	if got := x.apdu("0028000108" + pin("1234")); got != "9000" && got != "6984" {
		t.Fatalf("enable: %s", got)
	}
	expect("attempts left", "00200001", "63C3")
	expect("wrong", "0020000108"+pin("0000"), "63C2")
	expect("wrong again", "0020000108"+pin("9999"), "63C1")
	x = reopen(t, x, dir)
	x.selectUSIM()
	expect("attempts left after power off", "00200001", "63C1")
	expect("right", "0020000108"+pin("1234"), "9000")
	expect("attempts are back", "00200001", "63C3")
	expect("change", "0024000110"+pin("1234")+pin("4711"), "9000")
	expect("old value", "0020000108"+pin("1234"), "63C2")
	for _, want := range []string{"63C1", "6983", "6983"} {
		expect("wrong until blocked", "0020000108"+pin("1234"), want)
	}
	expect("right but blocked", "0020000108"+pin("4711"), "6983")
	expect("wrong PUK", "002C000110"+pin("00000000")+pin("5555"), "63C9")
	expect("right PUK", "002C000110"+pin("12345678")+pin("5555"), "9000")
	expect("new value", "0020000108"+pin("5555"), "9000")
	expect("disable", "0026000108"+pin("5555"), "9000")
	expect("verify a disabled one", "0020000108"+pin("5555"), "6984")
	expect("no such code", "0020000708"+pin("1234"), "6A88")
	expect("wrong length", "002000010431323334", "6700")
}

// Files can be written with the right code, and keep what was written.
func TestUpdate(t *testing.T) {
	dir, x := newDisk(t, config(pki.P256))
	x.enable(x.add(1), false)
	x.selectUSIM()
	x.apdu("00A4000C026F07")
	const other = "080910101032547699"
	if got := x.apdu("00D6000009" + other); got != "6982" {
		t.Errorf("without code: %s", got)
	}
	if got := x.apdu("0020000A08" + fmt.Sprintf("%X", "87654321")); got != "9000" {
		t.Fatalf("ADM1: %s", got)
	}
	if got := x.apdu("00D6000009" + other); got != "9000" {
		t.Errorf("with ADM1: %s", got)
	}
	if got := x.apdu("00D6000801FF"); got != "9000" {
		t.Errorf("last octet: %s", got)
	}
	if got := x.apdu("00D6000802FFFF"); got != "6B00" {
		t.Errorf("beyond the end: %s", got)
	}
	x = reopen(t, x, dir)
	x.selectUSIM()
	x.apdu("00A4000C026F07")
	if got := x.apdu("00B0000009"); got != other[:16]+"FF9000" {
		t.Errorf("after power off: %s", got)
	}
	if got := x.apdu("00D6000009" + other); got != "6982" {
		t.Errorf("the code still counts as presented: %s", got)
	}
}

// AUTHENTICATE: accepted, replayed, with a wrong MAC, resynchronised; the
// sequence survives the power.
func TestAuthenticate(t *testing.T) {
	dir, x := newDisk(t, config(pki.P256))
	x.enable(x.add(1), false)
	x.selectUSIM()
	f := must(milenage.New(testKey, testOPc))
	challenge := func(v milenage.Vector) string {
		return x.apdu(fmt.Sprintf("008800812210%X10%X00", v.RAND, v.AUTN))
	}
	v := milenage.NewVector(f, [16]byte{1, 2, 3}, milenage.SQNOf(33<<5), [2]byte{0x80, 0})
	want := fmt.Sprintf("DB%02X%X10%X10%X", len(v.XRES), v.XRES, v.CK, v.IK)
	if got := challenge(v); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "9000") {
		t.Fatalf("answer %s, want %s", got, want)
	}
	x = reopen(t, x, dir)
	x.selectUSIM()
	got := challenge(v)
	if !strings.HasPrefix(got, "DC0E") || len(got) != 2*(2+14+2) {
		t.Fatalf("replayed: %s", got)
	}
	sqn, err := milenage.Resync(f, v.RAND, unhex(got[4:32]))
	if err != nil || sqn.SEQ() != 33 {
		t.Errorf("the card's sequence is %d, %v", sqn.SEQ(), err)
	}
	v.AUTN[15] ^= 1
	if got := challenge(v); got != "9862" {
		t.Errorf("wrong MAC: %s", got)
	}
	next := milenage.NewVector(f, [16]byte{4}, milenage.SQNOf(34<<5), [2]byte{0x80, 0})
	if got := challenge(next); !strings.HasPrefix(got, "DB") {
		t.Errorf("next: %s", got)
	}
	if got := x.apdu("0088008111" + "10" + strings.Repeat("00", 16)); got != "6700" {
		t.Errorf("without AUTN: %s", got)
	}
	x.apdu("00A4000C023F00")
	if got := challenge(next); !strings.HasPrefix(got, "DC") {
		t.Errorf("the application stays active when the MF is selected: %s", got)
	}
	x.connect()
	if got := challenge(next); got != "6985" {
		t.Errorf("without an application: %s", got)
	}
}

// The published test profiles install, and their USIM answers.
func TestPublishedProfiles(t *testing.T) {
	for _, name := range []string{"TS48v1_A.der", "TS48v5_SAIP2.3_BERTLV_SUCI.der", "TS48v7_SAIP2.3_BERTLV_SUCI.der", "TS48v7_SAIP2.3_NoBERTLV.der", "minimal-8pe.der"} {
		t.Run(name, func(t *testing.T) {
			profile := reference.File(t, "upp", name)
			x := newTester(t, config(pki.P256))
			r := x.run(pki.P256)
			iccid := must(saip.Parse(profile)).ICCID()
			r.profile, r.metadata.ICCID, r.metadata.Class = profile, must(identICCID(iccid)), rsp.ClassTest
			result := r.install()
			if result.Error != 0 {
				t.Fatalf("refused with %d, %X", result.Error, result.SIMAResponse)
			}
			x.enable(r.metadata.ICCID, false)
			x.selectUSIM()
			if got := x.apdu("00A4000C026F07"); got != "9000" {
				t.Errorf("EF.IMSI: %s", got)
			}
			got := x.apdu("00B0000009")
			if name == "minimal-8pe.der" {
				// Its files point to access rules that it does not have.
				if got != "6982" {
					t.Errorf("IMSI without an access rule: %s", got)
				}
			} else if !strings.HasSuffix(got, "9000") || len(got) != 22 {
				t.Errorf("IMSI: %s", got)
			}
			rand := bytes.Repeat([]byte{0x42}, 16)
			if got := x.apdu(fmt.Sprintf("008800812210%X10%X00", rand, rand)); got != "9862" {
				t.Errorf("a challenge with a wrong MAC: %s", got)
			}
		})
	}
}

// A T=0 card insists on the exact length, and nothing has happened when it says so.
func TestExactLength(t *testing.T) {
	x := usim(t)
	x.apdu("0020000108" + "31323334FFFFFFFF")
	x.card.SetTerminal(true)
	x.apdu("00A4000C026F07")
	if got := x.apdu("00B00000FF"); got != "6C09" {
		t.Errorf("READ BINARY of 255: %s", got)
	}
	if got := x.apdu("00B0000009"); got != fmt.Sprintf("%X9000", imsi(t)) {
		t.Errorf("READ BINARY of 9: %s", got)
	}
	x.apdu("00A4080C022F00")
	first := x.apdu("00B2010400")
	size := len(first)/2 - 2
	if got := x.apdu("00B20002FF"); got != fmt.Sprintf("6C%02X", size) {
		t.Errorf("READ RECORD, next, of 255: %s", got)
	}
	if got := x.apdu(fmt.Sprintf("00B20002%02X", size)); got != first {
		t.Errorf("READ RECORD, next: %s, want the first: %s", got, first)
	}
	if got := x.apdu("00A4040407A0000000871002"); !strings.HasPrefix(got, "61") {
		t.Errorf("SELECT: %s", got)
	}
	if got := x.apdu("00C00000" + x.apdu("00A4040407A0000000871002")[2:]); !strings.HasPrefix(got, "62") {
		t.Errorf("GET RESPONSE: %s", got)
	}
}

// Our own templates install, and every application of them authenticates.
func TestOwnTemplates(t *testing.T) {
	f := must(milenage.New(testKey, testOPc))
	for _, template := range saip.Templates() {
		t.Run(template.Name, func(t *testing.T) {
			x := newTester(t, config(pki.P256))
			iccid := x.add(1, func(r *run) {
				r.profile = must(template.Personalise(&saip.Personal{
					ICCID: testICCID(1), IMSI: "001010000000001", Algorithm: saip.Milenage, K: testKey, OPc: testOPc, MNCLength: 2,
				}))
			})
			x.enable(iccid, false)
			for i, adf := range x.card.system().fs.ADFs {
				if got := x.apdu(fmt.Sprintf("00A4040C%02X%X", len(adf.AID), adf.AID)); got != "9000" {
					t.Fatalf("select %X: %s", adf.AID, got)
				}
				if adf.AKA == nil {
					continue
				}
				v := milenage.NewVector(f, [16]byte{byte(i)}, milenage.SQNOf(uint64(i+50)<<5), [2]byte{0x80, 0})
				got := x.apdu(fmt.Sprintf("008800812210%X10%X00", v.RAND, v.AUTN))
				if want := fmt.Sprintf("DB08%X10%X10%X", v.XRES, v.CK, v.IK); !strings.HasPrefix(got, want) {
					t.Errorf("%X answers %s, want %s", adf.AID, got, want)
				}
				got = x.apdu(fmt.Sprintf("008800801110%X00", v.RAND))
				if gsmAccess(adf) != (len(got) == 2*(1+4+1+8+2)) {
					t.Errorf("%X in the GSM context: %s", adf.AID, got)
				}
			}
		})
	}
}
