package euicc

import (
	"bytes"

	"godwit/ident"
	"godwit/rsp"
	"godwit/saip"
	"godwit/tlv"
)

// Status values of a profile element. TCA eUICC Profile Package, PEStatus.
const (
	peNotSupported       = 1
	peBadValues          = 3
	peNotEnoughMemory    = 4
	peInvalidFormat      = 5
	peInvalidParameter   = 6
	peTemplate           = 9
	peFeature            = 10
	pePINMissing         = 11
	peUnsupportedVersion = 31
)

// peStatus maps what the validator found to what a chip reports.
var peStatus = map[string]int{
	saip.RuleOrder:     peInvalidFormat,
	saip.RuleUniqueID:  peInvalidParameter,
	saip.RuleHeader:    peInvalidParameter,
	saip.RuleServices:  peFeature,
	saip.RuleTemplates: peTemplate,
	saip.RuleICCID:     peBadValues,
	saip.RuleAKA:       peBadValues,
	saip.RuleCode:      pePINMissing,
	saip.RuleFile:      peBadValues,
	saip.RuleAccess:    peBadValues,
	saip.RuleDomain:    peInvalidParameter,
	saip.RuleLength:    peNotEnoughMemory,
}

// statusOK is the response of a package interpreter that is content: one
// EUICCResponse with PEStatus 0.
var statusOK = []byte{0x30, 0x07, 0xA0, 0x05, 0x30, 0x03, 0x80, 0x01, 0x00}

// elementFailed is the failure of one profile element. A negative id is one that
// is not known: that of the header.
func elementFailed(code, id int) error {
	return &failure{reason: rsp.InstallElement, sima: tlv.AppendNested(nil, tlv.Sequence, func(b []byte) []byte {
		b = tlv.AppendNested(b, 0xA0, func(b []byte) []byte {
			return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				b = tlv.AppendInt(b, 0x80, int64(code))
				return tlv.AppendInt(b, 0x81, int64(id))
			})
		})
		return tlv.Append(b, 0x81, nil) // profileInstallationAborted
	})}
}

// interpret goes through the profile elements as the chip's package interpreter
// does, and returns the memory that the profile will take.
func (c *Card) interpret(l *loader) (int, error) {
	pkg, err := saip.Parse(l.content)
	if err != nil {
		return 0, elementFailed(peInvalidFormat, 0)
	}
	if first := pkg.Elements[0]; first.Kind != saip.KindHeader {
		return 0, elementFailed(peInvalidFormat, first.ID)
	}
	if ident.ICCID(pkg.ICCID()) != l.metadata.ICCID {
		return 0, fail(rsp.InstallDataMismatch)
	}
	needs := pkg.Needs()
	if !readsVersion(needs.Major, needs.Minor) {
		return 0, elementFailed(peUnsupportedVersion, 0)
	}
	if len(needs.Missing(uint64(c.cfg.Capability))) > 0 {
		return 0, elementFailed(peFeature, 0)
	}
	for _, e := range pkg.Elements {
		// What is not known and not mandated is skipped.
		if !known(e.Kind) && e.Mandated {
			return 0, elementFailed(peNotSupported, e.ID)
		}
	}
	for _, problem := range pkg.Validate() {
		if !problem.Warning {
			code, ok := peStatus[problem.Rule]
			if !ok {
				code = peBadValues
			}
			return 0, elementFailed(code, problem.PE)
		}
	}
	if l.metadata.Class == rsp.ClassTest {
		if err := testKeys(pkg); err != nil {
			return 0, err
		}
	}
	size := max(needs.Memory, len(l.content)) + profileOverhead
	if size > c.free() {
		return 0, fail(rsp.InstallMemory)
	}
	return size, nil
}

// readsVersion reports whether the chip installs packages of a version: one of
// its own majors, not newer than it knows.
func readsVersion(major, minor int) bool {
	for _, v := range append([]rsp.Version{packageVersion}, packageVersions...) {
		if major == int(v[0]) && minor <= int(v[1]) {
			return true
		}
	}
	return false
}

// known reports whether the chip knows a kind of profile element. All kinds of
// version 3.3 have a name.
func known(k saip.Kind) bool {
	return k >= saip.KindHeader && k <= saip.KindEnd || k >= saip.KindMF && k <= saip.KindDFSNPN ||
		k >= saip.KindDF5GProSe && k <= saip.KindOptIoT
}

// testKeys refuses a test profile with a key that could be a subscriber's: the
// octets of a test key count up from zero. SGP.22 v2.5, 2.4.5.3.
func testKeys(pkg *saip.Package) error {
	fs, err := pkg.FileSystem()
	if err != nil {
		return elementFailed(peBadValues, 0)
	}
	for _, adf := range fs.ADFs {
		if adf.AKA == nil {
			continue
		}
		want := make([]byte, len(adf.AKA.K))
		for i := range want {
			want[i] = byte(i)
		}
		if !bytes.Equal(adf.AKA.K, want) {
			return fail(rsp.InstallInvalidTestKey)
		}
	}
	return nil
}
