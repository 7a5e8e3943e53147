package saip

import (
	"encoding/hex"
	"testing"

	"godwit/ident"
)

// Our templates have no problem at all, not even a warning, and what is in them
// reads as a phone reads it.
func TestOwnTemplates(t *testing.T) {
	for _, tpl := range Templates() {
		t.Run(tpl.Name, func(t *testing.T) {
			for _, p := range tpl.Package().Validate() {
				t.Error(p)
			}
			if _, err := ident.ParseICCID(tpl.Package().ICCID()); err != nil {
				t.Error(err)
			}
			fs := filesOf(t, tpl.Bytes())
			imsi, err := ident.IMSIFromOctets(file(t, fs, "7FD06F07").Data)
			if err != nil || imsi != "001010000000001" {
				t.Errorf("IMSI %s (%v)", imsi, err)
			}
			for i, want := range []string{"11f2ffffffffffffffffffffff00", "19f1ffffffffffffffffffffff00"} {
				if got := hex.EncodeToString(file(t, fs, "7FD06FB7").Record(i + 1)); got != want {
					t.Errorf("EF.ECC record %d is %s, want %s", i+1, got, want)
				}
			}
			dir := file(t, fs, "2F00")
			for i, adf := range fs.ADFs {
				if record := dir.Record(i + 1); string(record[4:4+record[3]]) != string(adf.AID) {
					t.Errorf("EF.DIR record %d is %x, the application is %x", i+1, record, adf.AID)
				}
				if adf.AKA == nil || fs.PIN(adf, refPIN2) == nil || fs.PIN(adf, refPIN1) != fs.PIN(fs.MF, refPIN1) {
					t.Errorf("%s lacks keys or codes", adf)
				}
			}
			if c := fs.PIN(fs.MF, refPIN1); c.Enabled() || c.Max != 3 || c.Left != 3 || fs.PUKs[c.PUK].Left != 10 {
				t.Errorf("PIN1 is %+v", c)
			}
		})
	}
}

// A fresh file system is the caller's own.
func TestFileSystemsAreIndependent(t *testing.T) {
	p := MinimalUSIM().Package()
	a, err := p.FileSystem()
	if err != nil {
		t.Fatal(err)
	}
	file(t, a, "7FD06F07").Data[0] = 0x55
	a.PIN(a.MF, refPIN1).Left = 0
	b, err := p.FileSystem()
	if err != nil {
		t.Fatal(err)
	}
	if file(t, b, "7FD06F07").Data[0] == 0x55 || b.PIN(b.MF, refPIN1).Left == 0 {
		t.Error("what one caller changed, another sees")
	}
}
