package saip

import (
	"bytes"
	"testing"

	"godwit/internal/reference"
)

var samples = []string{
	"TS48v1_A.der", "TS48v5_SAIP2.3_BERTLV_SUCI.der", "TS48v7_SAIP2.3_BERTLV_SUCI.der", "TS48v7_SAIP2.3_NoBERTLV.der", "minimal-8pe.der",
}

func sample(t testing.TB, name string) []byte { return reference.File(t, "upp", name) }

func TestSamplesReencode(t *testing.T) {
	for _, name := range samples {
		t.Run(name, func(t *testing.T) {
			der := sample(t, name)
			p, err := Parse(der)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(p.Bytes(), der) {
				t.Error("kept octets differ from the sample")
			}
			for _, e := range p.Elements {
				e.node.forget()
			}
			if !bytes.Equal(p.Bytes(), der) {
				t.Error("encoded anew, the package differs from the sample")
			}
		})
	}
}

// The test profiles of TS.48 have no problem; the minimal sample has an EF.ARR
// with one record and a header without its algorithm, which chips put up with.
func TestSamplesValidate(t *testing.T) {
	for _, name := range samples {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(sample(t, name))
			if err != nil {
				t.Fatal(err)
			}
			problems := p.Validate()
			if name == "minimal-8pe.der" {
				if len(problems) != 3 {
					t.Errorf("%d problems, want three warnings", len(problems))
				}
				problems = Refusals(problems)
			}
			for _, problem := range problems {
				t.Error(problem)
			}
			if p.ICCID() != "89000123456789012341" {
				t.Errorf("ICCID = %s", p.ICCID())
			}
		})
	}
}
