package rsp

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"godwit/ident"
	"godwit/internal/reference"
	"godwit/tlv"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 4493, 4.
func TestCMAC(t *testing.T) {
	block, err := aes.NewCipher(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"))
	if err != nil {
		t.Fatal(err)
	}
	c := newCMAC(block)
	if got := hex.EncodeToString(c.k1[:]); got != "fbeed618357133667c85e08f7236a8de" {
		t.Errorf("K1 %s", got)
	}
	if got := hex.EncodeToString(c.k2[:]); got != "f7ddac306ae266ccf90bc11ee46d513b" {
		t.Errorf("K2 %s", got)
	}
	msg := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"+
		"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
		64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		t.Run(fmt.Sprintf("%d octets", n), func(t *testing.T) {
			got := c.sum([16]byte{}, false, msg[:n])
			if hex.EncodeToString(got[:]) != want {
				t.Errorf("MAC %x, want %s", got, want)
			}
			if n > 16 {
				// The first block as chaining value gives the same.
				if chained := c.sum([16]byte(msg[:16]), true, msg[16:n]); chained != got {
					t.Errorf("chained MAC %x, want %x", chained, got)
				}
			}
		})
	}
}

type chain struct {
	SEnc, SMac, MCV string
	Steps           []struct{ Tag, Mode, Plain, Out string }
}

// Recorded from a commercial SM-DP+.
func TestBSPVectors(t *testing.T) {
	var v struct {
		KDF []struct {
			SharedSecret, HostID, EID, SEnc, SMac, InitialMCV string
		}
		ChainSessionKeys, ChainPPK chain
	}
	if err := json.Unmarshal(reference.File(t, "vectors", "bsp", "bsp.json"), &v); err != nil {
		t.Fatal(err)
	}
	for _, k := range v.KDF {
		keys := DeriveKeys(unhex(t, k.SharedSecret), unhex(t, k.HostID), ident.EID(k.EID))
		if want := unhex(t, k.InitialMCV+k.SEnc+k.SMac); !bytes.Equal(keys.Bytes(), want) {
			t.Errorf("keys %x, want %x", keys.Bytes(), want)
		}
	}
	for name, c := range map[string]chain{"session keys": v.ChainSessionKeys, "profile keys": v.ChainPPK} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParseKeys(unhex(t, c.MCV+c.SEnc+c.SMac))
			if err != nil {
				t.Fatal(err)
			}
			in, out := NewProtection(keys), NewProtection(keys)
			for i, step := range c.Steps {
				plain, want := unhex(t, step.Plain), unhex(t, step.Out)
				tag := tlv.Tag(unhex(t, step.Tag)[0])
				var got []byte
				if step.Mode == "mac" {
					got = out.AppendPlain(nil, tag, plain)
				} else {
					got = out.AppendEncrypted(nil, tag, plain)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("segment %d: wrote %x\nwant  %x", i, got, want)
				}
				opened, err := in.Open(want)
				if err != nil || !bytes.Equal(opened, plain) {
					t.Errorf("segment %d: opened %x, %v", i, opened, err)
				}
			}
		})
	}
}

func drawKeys(t *rapid.T, label string) *Keys {
	k, err := ParseKeys(rapid.SliceOfN(rapid.Byte(), 48, 48).Draw(t, label))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestProtectionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := drawKeys(t, "keys")
		in, out := NewProtection(keys), NewProtection(keys)
		for range rapid.IntRange(1, 6).Draw(t, "segments") {
			plain := rapid.SliceOfN(rapid.Byte(), 0, MaxPlain).Draw(t, "plain")
			var segment []byte
			if rapid.Bool().Draw(t, "encrypted") {
				segment = out.AppendEncrypted(nil, TagSegmentProfile, plain)
				if want := encryptedSize(len(plain)); len(segment) != want {
					t.Fatalf("segment of %d octets, foretold %d", len(segment), want)
				}
			} else {
				segment = out.AppendPlain(nil, TagSegmentMetadata, plain)
				if want := plainSize(len(plain)); len(segment) != want {
					t.Fatalf("segment of %d octets, foretold %d", len(segment), want)
				}
			}
			if len(segment) > MaxSegment {
				t.Fatalf("segment of %d octets", len(segment))
			}
			got, err := in.Open(segment)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("opened %x, %v; want %x", got, err, plain)
			}
		}
	})
}

// One changed bit anywhere in a segment, or a segment out of order, is noticed.
func TestProtectionNotices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := drawKeys(t, "keys")
		out := NewProtection(keys)
		plain := rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "plain")
		first := out.AppendEncrypted(nil, TagSegmentCommand, plain)
		second := out.AppendPlain(nil, TagSegmentMetadata, plain)
		if _, err := NewProtection(keys).Open(second); !errors.Is(err, ErrMAC) {
			t.Fatalf("second segment opened before the first: %v", err)
		}
		at := rapid.IntRange(0, len(first)*8-1).Draw(t, "bit")
		first[at/8] ^= 1 << (at % 8)
		if got, err := NewProtection(keys).Open(first); err == nil {
			t.Fatalf("opened a changed segment as %x", got)
		}
	})
}

// A server in the field cuts pieces of 1008 octets and so sends segments of
// 1036: they are received, though never sent.
func TestLongSegment(t *testing.T) {
	keys := &Keys{}
	plain := bytes.Repeat([]byte{0xA5}, 1008)
	segment := NewProtection(keys).AppendEncrypted(nil, TagSegmentProfile, plain)
	if len(segment) != 1036 {
		t.Fatalf("segment of %d octets", len(segment))
	}
	if got, err := NewProtection(keys).Open(segment); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := Keys{ENC: [16]byte{1, 2, 3}}
	for _, s := range []string{
		fmt.Sprint(k), fmt.Sprintf("%v %+v %s", k, &k, k), fmt.Sprintf("%#v", k),
		fmt.Sprint(Secret("abc")), fmt.Sprintf("%#v", Secret("abc")), fmt.Sprintf("key %s", Secret("abc")),
	} {
		if !bytes.Contains([]byte(s), []byte("[secret]")) || bytes.Contains([]byte(s), []byte("abc")) || bytes.Contains([]byte(s), []byte("1, 2")) {
			t.Errorf("prints as %q", s)
		}
	}
}
