package rsp

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"godwit/ident"
)

func TestActivationCode(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     *ActivationCode // nil: refused
		out      string          // when it is not in
	}{
		{"address and identifier", "1$smdp.example.com$ABC-123", &ActivationCode{Address: "smdp.example.com", MatchingID: "ABC-123"}, ""},
		{"with prefix", "LPA:1$smdp.example.com$ABC", &ActivationCode{Address: "smdp.example.com", MatchingID: "ABC"}, "1$smdp.example.com$ABC"},
		{"prefix in small letters", "lpa:1$a$B", &ActivationCode{Address: "a", MatchingID: "B"}, "1$a$B"},
		{"with OID", "1$smdp.example.com$ABC$2.999.10", &ActivationCode{Address: "smdp.example.com", MatchingID: "ABC", OID: "2.999.10"}, ""},
		{"with OID and code", "1$a.b$M$2.999.10$1", &ActivationCode{Address: "a.b", MatchingID: "M", OID: "2.999.10", CodeRequired: true}, ""},
		{"code without OID", "1$a.b$M$$1", &ActivationCode{Address: "a.b", MatchingID: "M", CodeRequired: true}, ""},
		{"empty identifier", "1$a.b$", &ActivationCode{Address: "a.b"}, ""},
		{"empty identifier and code", "1$a.b$$$1", &ActivationCode{Address: "a.b", CodeRequired: true}, ""},
		{"empty fields at the end", "1$a.b$M$$", &ActivationCode{Address: "a.b", MatchingID: "M"}, "1$a.b$M"},
		{"fields of a newer version", "1$a.b$M$2.999.10$1$x$y", &ActivationCode{Address: "a.b", MatchingID: "M", OID: "2.999.10", CodeRequired: true}, "1$a.b$M$2.999.10$1"},
		{"capital letters in the address", "1$SMDP.Example.com$M", &ActivationCode{Address: "SMDP.Example.com", MatchingID: "M"}, ""},
		{"address with port", "1$localhost:8443$M", &ActivationCode{Address: "localhost:8443", MatchingID: "M"}, ""},
		{"blanks around", " 1$a.b$M\n", &ActivationCode{Address: "a.b", MatchingID: "M"}, "1$a.b$M"},
		{"nothing", "", nil, ""},
		{"another format", "2$a.b$M", nil, ""},
		{"no format", "a.b$M", nil, ""},
		{"no identifier", "1$a.b", nil, ""},
		{"no address", "1$$M", nil, ""},
		{"scheme in the address", "1$https://a.b$M", nil, ""},
		{"dot at the end", "1$a.b.$M", nil, ""},
		{"underscore in the address", "1$a_b$M", nil, ""},
		{"empty port", "1$a.b:$M", nil, ""},
		{"small letters in the identifier", "1$a.b$m", nil, ""},
		{"blank in the identifier", "1$a.b$A B", nil, ""},
		{"malformed OID", "1$a.b$M$2.999.x", nil, ""},
		{"flag other than 1", "1$a.b$M$$2", nil, ""},
		{"identifier alone", "SECRET", nil, ""},
		{"identifier in the place of the OID", "1$a.b$M$SECRET", nil, ""},
		{"identifier in the place of the flag", "1$a.b$M$$SECRET", nil, ""},
		{"too long", "1$a.b$" + strings.Repeat("M", 250), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseActivationCode(tt.in)
			if tt.want == nil {
				if err == nil {
					t.Errorf("read as %+v", got)
				} else if strings.Contains(err.Error(), "SECRET") {
					t.Errorf("the error tells the code: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if *got != *tt.want {
				t.Errorf("read as %+v, want %+v", got, tt.want)
			}
			out := tt.out
			if out == "" {
				out = tt.in
			}
			if got.String() != out || got.QR() != "LPA:"+out {
				t.Errorf("written as %s, want %s", got, out)
			}
		})
	}
}

func TestActivationCodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := ActivationCode{
			Address:      rapid.StringMatching(`[a-zA-Z0-9-]{1,20}(\.[a-zA-Z0-9-]{1,10}){0,3}(:[0-9]{1,5})?`).Draw(t, "address"),
			MatchingID:   ident.MatchingID(rapid.StringMatching(`[A-Z0-9-]{0,40}`).Draw(t, "identifier")),
			OID:          ident.OID(rapid.SampledFrom([]string{"", "2.999.10", "1.2.840.1"}).Draw(t, "oid")),
			CodeRequired: rapid.Bool().Draw(t, "code"),
		}
		out, err := ParseActivationCode(in.QR())
		if err != nil || *out != in {
			t.Fatalf("%s came back as %+v, %v", in.QR(), out, err)
		}
	})
}

func TestTransactionID(t *testing.T) {
	a, err := ParseTransactionID("0a0B")
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseTransactionID("0A0b")
	if err != nil || a != b || a.String() != "0A0B" {
		t.Errorf("%s and %s differ, %v", a, b, err)
	}
	for _, bad := range []string{"", "0", "0g", strings.Repeat("00", 17)} {
		if id, err := ParseTransactionID(bad); err == nil {
			t.Errorf("%q was read as %s", bad, id)
		}
	}
	if one, two := NewTransactionID(), NewTransactionID(); one == two {
		t.Error("two random identifiers are equal")
	}
}

func TestVersion(t *testing.T) {
	for in, want := range map[string]Version{"2.5.0": {2, 5, 0}, "v2.2.2": {2, 2, 2}, "3.1": {3, 1, 0}} {
		if got, err := ParseVersion(in); err != nil || got != want {
			t.Errorf("%s read as %s, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "2", "2.5.0.1", "2.x", "256.0"} {
		if v, err := ParseVersion(bad); err == nil {
			t.Errorf("%q was read as %s", bad, v)
		}
	}
}
