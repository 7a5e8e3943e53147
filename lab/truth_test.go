package lab

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"
)

// TestRolledBackIsNotTwice: a package that was executed and rolled back has two
// results, also where the power failed in the rollback, so that only the list of
// results tells of it; a package with two results otherwise was executed twice.
func TestRolledBackIsNotTwice(t *testing.T) {
	rollback, err := hex.DecodeString("BF5172A070302B80096C6F63616C686F737481010982106DE2C98093014033840ADC02F6A4663383011630068301008C01005F37402EFDEB5F73C0F92815B3E93750AF1204551574310BA7D1DF62E8B46D4C018D562515B81AC7AD5DFC30A811DB128C95E7714F07622C76BB326AD3792F015DB8B0")
	if err != nil {
		t.Fatal(err)
	}
	result := func(sequence byte) []byte { // of enabling, before it
		der := bytes.Replace(rollback, []byte{0x30, 0x06, 0x83, 0x01, 0x00, 0x8C, 0x01, 0x00}, []byte{0x30, 0x06, 0x83, 0x01, 0x00, 0x83, 0x01, 0x00}, 1)
		return bytes.Replace(der, []byte{0x83, 0x01, 0x16}, []byte{0x83, 0x01, sequence}, 1)
	}
	for name, tt := range map[string]struct {
		results [][]byte
		want    []string
	}{
		"executed":                             {[][]byte{result(0x15)}, nil},
		"executed, its result asked for again": {[][]byte{result(0x15), result(0x15)}, nil},
		"executed and rolled back":             {[][]byte{result(0x15), rollback}, nil},
		"executed twice":                       {[][]byte{result(0x15), result(0x16)}, []string{"6de2c98093014033840adc02f6a46633"}},
	} {
		d := &Device{}
		c := &watchedChip{device: d}
		for _, r := range tt.results {
			c.note(r)
		}
		if got := d.twice(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
