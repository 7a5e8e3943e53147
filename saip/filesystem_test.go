package saip

import (
	"encoding/hex"
	"testing"

	"godwit/tlv"
)

func filesOf(t testing.TB, der []byte) *FileSystem {
	t.Helper()
	p, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	fs, err := p.FileSystem()
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// What the elements of the published test profile make.
func TestFilesOfTestProfile(t *testing.T) {
	fs := filesOf(t, sample(t, "TS48v7_SAIP2.3_BERTLV_SUCI.der"))
	for _, tt := range []struct {
		path    string
		kind    FileType
		size    int
		records int
		sfi     byte
		begins  string
	}{
		{"2FE2", Transparent, 10, 0, 2, "98001032547698103214"},
		{"2F00", LinearFixed, 0x84, 4, 0x1E, "61144f0ca0000000871002"},
		{"2F06", LinearFixed, 0x2B2, 15, 6, "80015ea40683010a95"},
		{"7FD06F07", Transparent, 9, 0, 7, "080910101032547698"},
		{"7FD06F46", Transparent, 17, 0, 0, "0147534d411154455354ffffffffffffff"},      // fill pattern
		{"7FD06F42", LinearFixed, 84, 2, 0, "ffffff"},                                  // template's default content
		{"7FD06F3C", LinearFixed, 0x6E0, 10, 0, "00ffff"},                              // pattern in every record
		{"7FD06F5C", Transparent, 3, 0, 0x10, "ffffff"},                                // repeat pattern
		{"7FD06FE3", Transparent, 18, 0, 0x1E, "ffffffffffffffffffffffff000000000001"}, // offset before content
		{"7FD06F80", Cyclic, 210, 5, 0x14, "ffffffffffffffffff"},
		{"7FD05FC04F07", Transparent, 0x76, 0, 7, "a0020000ffff"},
		{"7F105F3A4F09", LinearFixed, 20, 10, 1, "0000"},             // generic file management
		{"7F105F3A4F16", LinearFixed, 20, 10, 6, "0001000200000000"}, // with contents
		{"7F104F09", 0, 0, 0, 0, ""},
		{"7F105F3E4F02", BERTLV, 0, 0, 2, ""},
		{"7F106F3A", LinearFixed, 0x118, 10, 10, "546573746e722e31"}, // a link
	} {
		path, err := hex.DecodeString(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		f := fs.Find(path)
		if tt.kind == 0 {
			if f != nil {
				t.Errorf("%s is there", tt.path)
			}
			continue
		}
		if f == nil {
			t.Errorf("%s is not there", tt.path)
			continue
		}
		f = f.Content()
		begins := hex.EncodeToString(f.Data[:min(len(f.Data), len(tt.begins)/2)])
		if f.Type != tt.kind || len(f.Data) != tt.size || f.Records() != tt.records || f.SFI != tt.sfi || begins != tt.begins {
			t.Errorf("%s: %s of %d octets, %d records, short identifier %02X, begins %s", tt.path, f.Type, len(f.Data), f.Records(), f.SFI, begins)
		}
	}
	if r := fs.Find([]byte{0x7F, 0xD0, 0x6F, 0x3C}).Record(10); r[0] != 0 || r[1] != 0xFF || r[175] != 0xFF {
		t.Errorf("the last short message is %x", r)
	}
	if len(fs.ADFs) != 3 || fs.Application([]byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x04}) != fs.ADFs[2] {
		t.Errorf("applications %v", fs.ADFs)
	}
	if fs.ADFs[0].AKA == nil || fs.ADFs[0].AKA.Algorithm != XOR || fs.ADFs[1].AKA != nil {
		t.Error("the USIM should have the test algorithm, the CSIM none")
	}
}

// Files that a package does not mention exist where its template makes them.
func TestFilesByDefault(t *testing.T) {
	fs := filesOf(t, MinimalUSIM().Bytes())
	for path, size := range map[string]int{
		"7FD06F7E": 11, "7FD06F73": 14, "7FD06FC4": 128, "7FD06F08": 33, "7FD06FE3": 18, "7FD06F3B": 520, "7FD06F42": 38,
	} {
		if n := len(file(t, fs, path).Data); n != size {
			t.Errorf("%s has %d octets, want %d", path, n, size)
		}
	}
	if fs.Find([]byte{0x7F, 0xD0, 0x6F, 0x40}) != nil {
		t.Error("EF.MSISDN is there, although its template makes nothing by default")
	}
}

func TestDoNotCreate(t *testing.T) {
	p := fresh(t)
	usim := p.Element(KindUSIM).node
	hpplmn := usim.child(0xA7)
	hpplmn.children = []*node{leaf(tagDoNotCreate)}
	if filesOf(t, reparse(t, p).Bytes()).Find([]byte{0x7F, 0xD0, 0x6F, 0x31}) != nil {
		t.Error("a file that is not to be created is there")
	}
}

func TestAccess(t *testing.T) {
	fs := filesOf(t, FullUSIM().Bytes())
	codes := func(refs ...byte) func(byte) bool {
		return func(r byte) bool {
			for _, have := range refs {
				if have == r {
					return true
				}
			}
			return false
		}
	}
	for _, tt := range []struct {
		name, path string
		op         Operation
		given      []byte
		allowed    bool
	}{
		{"ICCID is for everybody", "2FE2", Read, nil, true},
		{"ICCID never changes", "2FE2", Update, []byte{refPIN1, refADM1}, false},
		{"IMSI asks for PIN1", "7FD06F07", Read, nil, false},
		{"IMSI with PIN1", "7FD06F07", Read, []byte{refPIN1}, true},
		{"IMSI is changed by ADM", "7FD06F07", Update, []byte{refPIN1}, false},
		{"IMSI changed by ADM", "7FD06F07", Update, []byte{refADM1}, true},
		{"FDN is changed with PIN2", "7FD06F3B", Update, []byte{refPIN1}, false},
		{"FDN changed with PIN2", "7FD06F3B", Update, []byte{refPIN2}, true},
		{"provider name is for everybody", "7FD06F46", Read, nil, true},
		{"rules of a DF within the USIM", "7FD05FC04F01", Update, []byte{refPIN1}, true},
		{"the USIM's own SUCI file is not for the phone", "7FD05FD04F01", Read, []byte{refPIN1}, false},
		{"nothing to increase", "7FD06F07", Increase, []byte{refPIN1}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fs.Allowed(file(t, fs, tt.path), tt.op, codes(tt.given...)); got != tt.allowed {
				t.Errorf("allowed = %v", got)
			}
		})
	}
}

func TestConditionTemplates(t *testing.T) {
	pin, adm := "a40683010195"+"0108", "a40683010a950108"
	for _, tt := range []struct {
		name, condition string
		given           byte
		want            bool
	}{
		{"any of two", "a010" + pin + adm, refADM1, true},
		{"any of two, neither", "a010" + pin + adm, 5, false},
		{"all of two", "af10" + pin + adm, refADM1, false},
		{"all of one", "af08" + pin, refPIN1, true},
	} {
		b, err := hex.DecodeString(tt.condition)
		if err != nil {
			t.Fatal(err)
		}
		e, err := tlv.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := satisfied(e, func(r byte) bool { return r == tt.given }); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestFCP(t *testing.T) {
	fs := filesOf(t, FullUSIM().Bytes())
	for _, tt := range []struct{ name, path, want string }{
		{"transparent", "2FE2", "62178202412183022fe28a01058b032f060b8002000a880110"},
		{"linear fixed", "2F00", "621a8205422100260283022f008a01058b032f060a8002004c8801f0"},
		{"application", "7FD0", "623482027821" + "8410a0000000871002ffffffff8900000100" + "a503800171" + "8a0105" + "8b032f060e" + "c60f90017083010183018183010a83010b"},
	} {
		if got := hex.EncodeToString(fs.FCP(file(t, fs, tt.path))); got != tt.want {
			t.Errorf("%s\n have %s\n want %s", tt.name, got, tt.want)
		}
	}
}

// Every line of the templates reads, tags are in order and identifiers are not
// given twice in a directory.
func TestTemplateText(t *testing.T) {
	n := 0
	for kind := range templateText {
		directory, seen := "", map[string]bool{}
		for i, c := range components(kind) {
			n++
			if c.kind == DF || c.kind == ADF {
				directory = c.name
			}
			if i > 0 && c.tag <= components(kind)[i-1].tag {
				t.Errorf("%s: tag of %s is not behind that of the file before", kind, c.name)
			}
			key := directory + hex.EncodeToString([]byte{byte(c.id >> 8), byte(c.id)})
			if c.id != 0 && c.kind != DF && seen[key] {
				t.Errorf("%s: identifier %04X of %s is given twice", kind, c.id, c.name)
			}
			seen[key] = true
			for version := 1; version <= 3; version++ {
				if s := c.size(version); c.content != "" && s.length > 0 && len(fillDefault(c.content, s.length)) != s.length {
					t.Errorf("%s: default of %s has another size", kind, c.name)
				}
			}
		}
	}
	if n < 390 {
		t.Errorf("only %d files", n)
	}
}
