package tlv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNext(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		tag      Tag
		value    string
		rest     string
		err      error
	}{
		{"one octet tag", "8001ff", 0x80, "ff", "", nil},
		{"two octet tag, something after it", "5f37020102ff", 0x5F37, "0102", "ff", nil},
		{"constructed two octet tag", "bf3800", 0xBF38, "", "", nil},
		{"three octet tag", "7f818001aa", 0x7F8180, "", "", ErrTag},
		{"three octet tag, well formed", "bf810201aa", 0xBF8102, "aa", "", nil},
		{"length in two octets", "04820001aa", 0x04, "aa", "", nil},
		{"nothing", "", 0, "", "", ErrTruncated},
		{"tag alone", "bf", 0, "", "", ErrTruncated},
		{"length alone", "0482", 0, "", "", ErrTruncated},
		{"value cut", "0402aa", 0, "", "", ErrTruncated},
		{"indefinite length", "3080aa", 0, "", "", ErrLength},
		{"length in five octets", "04850000000001aa", 0, "", "", ErrLength},
		{"a gigabyte", "04843fffffffaa", 0, "", "", ErrTooLong},
		{"tag number with leading zeros", "bf800101", 0, "", "", ErrTag},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, rest, err := Next(unhex(t, tt.in))
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if e.Tag != tt.tag || hex.EncodeToString(e.Value) != tt.value || hex.EncodeToString(rest) != tt.rest {
				t.Errorf("got %s %x, rest %x", e.Tag, e.Value, rest)
			}
		})
	}
}

func TestReaderKeepsItsFirstError(t *testing.T) {
	r := NewReader(unhex(t, "800101810102"))
	if got := r.Int(0x80); got != 1 {
		t.Errorf("first integer = %d", got)
	}
	r.Value(0x82)
	r.Value(0x81) // would succeed, had the reader not failed before
	if !errors.Is(r.Close(), ErrMissing) {
		t.Errorf("Close = %v, want %v", r.Close(), ErrMissing)
	}
}

func TestReaderCloseRefusesLeftovers(t *testing.T) {
	r := NewReader(unhex(t, "800101810102"))
	r.Value(0x80)
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	if !errors.Is(r.Close(), ErrTrailing) {
		t.Errorf("Close = %v, want %v", r.Close(), ErrTrailing)
	}
}

func TestOptionalTellsEmptyFromAbsent(t *testing.T) {
	r := NewReader(unhex(t, "8000"))
	if v := r.OptionalValue(0x81); v != nil {
		t.Errorf("absent element = %x", v)
	}
	if v := r.OptionalValue(0x80); v == nil || len(v) != 0 {
		t.Errorf("empty element = %#v", v)
	}
}

func TestAppendInt(t *testing.T) {
	for n, want := range map[int64]string{
		0: "020100", 127: "02017f", 128: "02020080", 255: "020200ff", 256: "02020100",
		-1: "0201ff", -128: "020180", -129: "0202ff7f", 1<<62 + 1: "02084000000000000001",
	} {
		if got := hex.EncodeToString(AppendInt(nil, Integer, n)); got != want {
			t.Errorf("AppendInt(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestBitsTrimmedOrNot(t *testing.T) {
	// SGP.22 peers send the install event in both forms.
	for _, in := range []string{"0780", "0080", "008000"} {
		if set, err := Bits(unhex(t, in)); err != nil || set != 1 {
			t.Errorf("Bits(%s) = %b, %v", in, set, err)
		}
	}
	for _, in := range []string{"", "0880", "01"} {
		if _, err := Bits(unhex(t, in)); err == nil {
			t.Errorf("Bits(%q) passed", in)
		}
	}
	if got := hex.EncodeToString(AppendBits(nil, 0x81, 1)); got != "81020780" {
		t.Errorf("AppendBits = %s", got)
	}
}

func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		set := rapid.Uint64().Draw(t, "set")
		value := rapid.SliceOfN(rapid.Byte(), 0, 70000).Draw(t, "value")
		tag := rapid.SampledFrom([]Tag{0x04, 0x80, 0x9F70, 0x5F37, Context(7), Context(55), Context(200)}).Draw(t, "tag")
		outer := rapid.SampledFrom([]Tag{0x30, 0xA0, 0xBF38, ContextConstructed(3), ContextConstructed(300)}).Draw(t, "outer")
		b := AppendNested(nil, outer, func(b []byte) []byte {
			b = AppendInt(b, Integer, n)
			b = AppendBits(b, BitString, set)
			return Append(b, tag, value)
		})
		flat := Append(nil, outer, Append(AppendBits(AppendInt(nil, Integer, n), BitString, set), tag, value))
		if !bytes.Equal(b, flat) {
			t.Fatal("nested and flat writing differ")
		}
		e, err := ParseTag(b, outer)
		if err != nil {
			t.Fatal(err)
		}
		if !outer.Constructed() || tag.Constructed() {
			t.Fatalf("constructed bit of %s or %s misread", outer, tag)
		}
		r := e.Reader()
		if got := r.Int(Integer); got != n {
			t.Fatalf("integer %d came back as %d", n, got)
		}
		if got, err := Bits(r.Value(BitString)); err != nil || got != set {
			t.Fatalf("bits %b came back as %b, %v", set, got, err)
		}
		if got := r.Value(tag); !bytes.Equal(got, value) {
			t.Fatalf("value came back different")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWalkIsBounded(t *testing.T) {
	deep := []byte{0x04, 0x00}
	for range MaxDepth + 2 {
		deep = Append(nil, Sequence, deep)
	}
	if err := Walk(deep, func(int, Element) error { return nil }); !errors.Is(err, ErrTooDeep) {
		t.Errorf("Walk = %v, want %v", err, ErrTooDeep)
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(unhex(f, "bf3803800101"))
	f.Add(unhex(f, "30820004bf8102010203"))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		err := Walk(b, func(depth int, e Element) error {
			if depth == 0 {
				total += len(e.Raw)
			}
			if len(e.Value) > len(e.Raw) || !bytes.HasSuffix(e.Raw, e.Value) {
				t.Fatalf("value of %s is not the end of its octets", e.Tag)
			}
			if again, rest, err := Next(e.Raw); err != nil || len(rest) != 0 || again.Tag != e.Tag {
				t.Fatalf("the octets of %s do not read again: %v", e.Tag, err)
			}
			return nil
		})
		if err == nil && total != len(b) {
			t.Fatalf("walked %d of %d octets", total, len(b))
		}
	})
}

func BenchmarkReader(b *testing.B) {
	message := AppendNested(nil, Sequence, func(b []byte) []byte {
		b = Append(b, 0x80, make([]byte, 16))
		b = Append(b, 0x81, make([]byte, 16))
		b = AppendString(b, 0x83, "smdp.example.com")
		return Append(b, 0x84, make([]byte, 16))
	})
	b.ReportAllocs()
	for b.Loop() {
		e, err := ParseTag(message, Sequence)
		if err != nil {
			b.Fatal(err)
		}
		r := e.Reader()
		r.Fixed(0x80, 16)
		r.Fixed(0x81, 16)
		r.Value(0x83)
		r.Fixed(0x84, 16)
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
