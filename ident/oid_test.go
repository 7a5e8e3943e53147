package ident

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func TestOID(t *testing.T) {
	for _, tt := range []struct{ dotted, octets string }{
		{"2.999.10", "88370a"},
		{"2.999.1", "883701"},
		{"2.23.146.1.2.1.0", "67811201020100"},
		{"1.2.840.10045.3.1.7", "2a8648ce3d030107"},
		{"1.3.36.3.3.2.8.1.1.7", "2b2403030208010107"},
		{"0.39", "27"},
		{"2.5.29.4294967295", "551d8fffffff7f"},
	} {
		t.Run(tt.dotted, func(t *testing.T) {
			oid, err := ParseOID(tt.dotted)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(oid.Octets()); got != tt.octets {
				t.Errorf("octets = %s, want %s", got, tt.octets)
			}
			octets, _ := hex.DecodeString(tt.octets)
			if back, err := OIDFromOctets(octets); err != nil || back != oid {
				t.Errorf("read back as %q, %v", back, err)
			}
		})
	}
}

func TestOIDRefused(t *testing.T) {
	for _, s := range []string{"", "2", "2.", ".2", "2.-1", "2.01", "3.1", "1.40", "2.999.4294967296", "2.9x"} {
		if oid, err := ParseOID(s); err == nil {
			t.Errorf("ParseOID(%q) = %q, want an error", s, oid)
		}
	}
	for _, b := range [][]byte{nil, {0x88}, {0x2A, 0x80, 0x01}, {0x88, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, {0x55, 0x90, 0x80, 0x80, 0x80, 0x00}} {
		if oid, err := OIDFromOctets(b); err == nil {
			t.Errorf("OIDFromOctets(%x) = %q, want an error", b, oid)
		}
	}
}

func FuzzOIDFromOctets(f *testing.F) {
	f.Add([]byte{0x88, 0x37, 0x0A})
	f.Fuzz(func(t *testing.T, b []byte) {
		oid, err := OIDFromOctets(b)
		if err != nil {
			return
		}
		if again, err := ParseOID(string(oid)); err != nil || !bytes.Equal(again.Octets(), b) {
			t.Errorf("%x reads as %s, which is %x, %v", b, oid, again.Octets(), err)
		}
	})
}
