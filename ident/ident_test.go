package ident

import (
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseEID(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"published test card", "89049032123451234512345678901235", true},
		{"last digit changed", "89049032123451234512345678901236", false},
		{"a letter", "8904903212345123451234567890123x", false},
		{"too short", "8904903212345123451234567890123", false},
		{"empty", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseEID(tt.in); (err == nil) != tt.ok {
				t.Errorf("ParseEID(%q) error = %v, want ok %v", tt.in, err, tt.ok)
			}
		})
	}
}

func TestOctets(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"ICCID of 20 digits", ICCID("89000123456789012341").Octets(), "98001032547698103214"},
		{"ICCID in a profile header", ICCID("89000123456789012341").HeaderOctets(), "89000123456789012341"},
		{"ICCID of 19 digits", ICCID("8900012345678901234").Octets(), "980010325476981032f4"},
		{"IMSI of 15 digits", IMSI("001010123456789").Octets(), "080910101032547698"},
		{"IMSI of 14 digits", IMSI("00101012345678").Octets(), "0801101010325476f8"},
		{"PLMN with MNC of two digits", PLMN{"001", "01"}.Octets(), "00f110"},
		{"PLMN with MNC of three digits", PLMN{"310", "410"}.Octets(), "130014"},
		{"EID", EID("89049032123451234512345678901235").Octets(), "89049032123451234512345678901235"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hex.EncodeToString(tt.got); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRoundTrips(t *testing.T) {
	digitString := func(n int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			return rapid.StringOfN(rapid.RuneFrom([]rune("0123456789")), n, n, n).Draw(t, "digits")
		})
	}
	t.Run("EID", rapid.MakeCheck(func(t *rapid.T) {
		eid, err := NewEID("89" + digitString(28).Draw(t, "eid"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseEID(string(eid)); err != nil {
			t.Fatal(err)
		}
		if back, err := EIDFromOctets(eid.Octets()); err != nil || back != eid {
			t.Fatalf("%s came back as %s, %v", eid, back, err)
		}
	}))
	t.Run("ICCID", rapid.MakeCheck(func(t *rapid.T) {
		iccid, err := NewICCID(digitString(rapid.IntRange(18, 19).Draw(t, "length")).Draw(t, "iccid"))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ICCIDFromOctets(iccid.Octets()); err != nil || back != iccid {
			t.Fatalf("%s came back as %s, %v", iccid, back, err)
		}
		wrong := []byte(iccid)
		at := rapid.IntRange(0, len(wrong)-1).Draw(t, "at")
		wrong[at] = '0' + (wrong[at]-'0'+1)%10
		if _, err := ParseICCID(string(wrong)); err == nil {
			t.Fatalf("%s passed with digit %d changed", wrong, at)
		}
	}))
	t.Run("IMSI", rapid.MakeCheck(func(t *rapid.T) {
		imsi := IMSI(digitString(rapid.IntRange(6, 15).Draw(t, "length")).Draw(t, "imsi"))
		if back, err := IMSIFromOctets(imsi.Octets()); err != nil || back != imsi {
			t.Fatalf("%s came back as %s, %v", imsi, back, err)
		}
	}))
}

func TestMatchingID(t *testing.T) {
	seen := map[MatchingID]bool{}
	for range 1000 {
		id := NewMatchingID()
		if _, err := ParseMatchingID(string(id)); err != nil {
			t.Fatal(err)
		}
		if len(id) != 29 || strings.Count(string(id), "-") != 4 || seen[id] {
			t.Fatalf("matching ID %s is malformed or came twice", id)
		}
		seen[id] = true
	}
	for _, bad := range []string{"a", "A B", "Ä", "A_B", strings.Repeat("A", 256)} {
		if _, err := ParseMatchingID(bad); err == nil {
			t.Errorf("ParseMatchingID(%q) passed", bad)
		}
	}
}
