package ident

import (
	"encoding/hex"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestOID(t *testing.T) {
	for _, tt := range []struct{ oid, octets string }{
		{"2.999.10", "88370a"},
		{"2.23.146.1.2.1.4", "67811201020104"},
		{"1.2.840.10045.3.1.7", "2a8648ce3d030107"},
		{"0.39", "27"},
	} {
		oid, err := ParseOID(tt.oid)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(oid.Octets()); got != tt.octets {
			t.Errorf("%s has octets %s, want %s", oid, got, tt.octets)
		}
	}
	for _, bad := range []string{"", "2", "3.1", "1.40", "2.", ".2", "2.-1", "2.01", "2.x", "2.4294967296"} {
		if oid, err := ParseOID(bad); err == nil {
			t.Errorf("ParseOID(%q) gave %s", bad, oid)
		}
	}
	for _, bad := range []string{"", "88", "8001", "8fffffff7f"} {
		b, _ := hex.DecodeString(bad)
		if oid, err := OIDFromOctets(b); err == nil {
			t.Errorf("OIDFromOctets(%s) gave %s", bad, oid)
		}
	}
	t.Run("round trip", rapid.MakeCheck(func(t *rapid.T) {
		top := rapid.IntRange(0, 2).Draw(t, "first")
		second := rapid.IntRange(0, 39).Draw(t, "second")
		oid := OID(fmt.Sprintf("%d.%d", top, second))
		for _, arc := range rapid.SliceOfN(rapid.Int32Min(0), 0, 6).Draw(t, "arcs") {
			oid += OID(fmt.Sprintf(".%d", arc))
		}
		if back, err := OIDFromOctets(oid.Octets()); err != nil || back != oid {
			t.Fatalf("%s came back as %s, %v", oid, back, err)
		}
	}))
}
