package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var curves = []Curve{P256, BrainpoolP256r1}

func newKey(t testing.TB, c Curve) (crypto.Signer, *PublicKey) {
	t.Helper()
	key, err := GenerateKey(c)
	if err != nil {
		t.Fatal(err)
	}
	public, err := PublicKeyOf(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

func TestSignVerify(t *testing.T) {
	for _, c := range curves {
		t.Run(c.String(), func(t *testing.T) {
			key, public := newKey(t, c)
			_, other := newKey(t, c)
			msg := []byte("serverSigned1")
			sig, err := Sign(key, msg)
			if err != nil {
				t.Fatal(err)
			}
			if len(sig) != SignatureSize || !public.Verify(msg, sig) {
				t.Fatalf("own signature of %d octets refused", len(sig))
			}
			if other.Verify(msg, sig) || public.Verify([]byte("serverSigned2"), sig) {
				t.Error("signature good for another key or message")
			}
			for i := range sig {
				flipped := bytes.Clone(sig)
				flipped[i] ^= 0x10
				if i%16 == 0 && public.Verify(msg, flipped) {
					t.Errorf("signature good with octet %d changed", i)
				}
			}
			n := c.elliptic().Params().N.FillBytes(make([]byte, 32))
			for name, bad := range map[string][]byte{
				"nothing": nil, "short": sig[:63], "long": append(bytes.Clone(sig), 0), "zeros": make([]byte, 64),
				"r zero": append(make([]byte, 32), sig[32:]...), "s zero": append(bytes.Clone(sig[:32]), make([]byte, 32)...),
				"r is the order": append(bytes.Clone(n), sig[32:]...), "all ones": bytes.Repeat([]byte{0xFF}, 64),
			} {
				if public.Verify(msg, bad) {
					t.Errorf("%s: good signature", name)
				}
			}
		})
	}
}

// TestRawSignature turns raw signatures into DER and back, with every pattern of
// leading zeros and high bits.
func TestRawSignature(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sig := make([]byte, SignatureSize)
		for _, half := range [][]byte{sig[:32], sig[32:]} {
			n := rapid.IntRange(0, 32).Draw(t, "octets")
			copy(half[32-n:], rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "number"))
		}
		back, err := RawSignature(appendSignature(nil, sig))
		if err != nil || !bytes.Equal(back, sig) {
			t.Fatalf("%x came back as %x, %v", sig, back, err)
		}
	})
}

func TestRawSignatureRefused(t *testing.T) {
	for name, in := range map[string]string{
		"empty": "", "not a sequence": "020101", "one number": "3003020101", "three numbers": "3009020101020101020101",
		"negative": "30060201FF020101", "no octets": "30050200020101", "trailing": "300602010102010100",
		"33 octets": "30260221" + "01" + strings.Repeat("00", 32) + "020101",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if sig, err := RawSignature(b); err == nil {
			t.Errorf("%s: read as %x", name, sig)
		}
	}
}

// A hardware module's key: a signer of a type that nobody here knows.
type module struct {
	crypto.Signer
	broken bool
}

func (m module) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if m.broken {
		return nil, errors.New("token removed")
	}
	return m.Signer.Sign(random, digest, opts)
}

func TestForeignSigner(t *testing.T) {
	key, public := newKey(t, P256)
	sig, err := Sign(module{Signer: key}, []byte("x"))
	if err != nil || !public.Verify([]byte("x"), sig) {
		t.Errorf("signature of a module: %x, %v", sig, err)
	}
	if _, err := Sign(module{Signer: key, broken: true}, []byte("x")); err == nil || !strings.Contains(err.Error(), "token removed") {
		t.Errorf("error of a broken module = %v", err)
	}
	if _, err := MarshalKey(module{Signer: key}); err == nil {
		t.Error("a module's key came out")
	}
}

func TestParsePublicKey(t *testing.T) {
	for _, c := range curves {
		_, public := newKey(t, c)
		for name, point := range map[string][]byte{
			"empty": nil, "zeros": append([]byte{4}, make([]byte, 64)...), "all ones": append([]byte{4}, bytes.Repeat([]byte{0xFF}, 64)...),
			"compressed": append([]byte{2}, public.Bytes()[1:33]...), "off curve": offCurve(public.Bytes()), "infinity": {0},
		} {
			if _, err := ParsePublicKey(c, point); !errors.Is(err, ErrPoint) {
				t.Errorf("%s, %s: error = %v, want %v", c, name, err, ErrPoint)
			}
		}
		again, err := ParsePublicKey(c, public.Bytes())
		if err != nil || !again.Equal(public) {
			t.Errorf("%s: own key refused: %v", c, err)
		}
	}
	_, public := newKey(t, P256)
	if _, err := ParsePublicKey(BrainpoolP256r1, public.Bytes()); !errors.Is(err, ErrPoint) {
		t.Errorf("point of the other curve: %v", err)
	}
	if _, err := ParsePublicKey(0, public.Bytes()); !errors.Is(err, ErrCurve) {
		t.Errorf("no curve: %v", err)
	}
}

func offCurve(point []byte) []byte {
	out := bytes.Clone(point)
	out[64] ^= 1
	return out
}

func TestAgreement(t *testing.T) {
	for _, c := range curves {
		t.Run(c.String(), func(t *testing.T) {
			a, err := GenerateAgreementKey(c)
			if err != nil {
				t.Fatal(err)
			}
			b, err := GenerateAgreementKey(c)
			if err != nil {
				t.Fatal(err)
			}
			za, errA := a.Agree(b.Public())
			zb, errB := b.Agree(a.Public())
			if errA != nil || errB != nil || za != zb || za == [32]byte{} {
				t.Fatalf("%x, %v and %x, %v", za, errA, zb, errB)
			}
			stored, err := ParseAgreementKey(c, a.Bytes())
			if err != nil || !bytes.Equal(stored.Public(), a.Public()) {
				t.Fatalf("stored key: %v", err)
			}
			if z, err := stored.Agree(b.Public()); err != nil || z != za {
				t.Errorf("stored key agrees on %x, %v", z, err)
			}
			for name, bad := range map[string][]byte{"off curve": offCurve(b.Public()), "empty": nil, "infinity": {0}} {
				if _, err := a.Agree(bad); !errors.Is(err, ErrPoint) {
					t.Errorf("%s: error = %v, want %v", name, err, ErrPoint)
				}
			}
			n := c.elliptic().Params().N.FillBytes(make([]byte, 32))
			for name, bad := range map[string][]byte{"zero": make([]byte, 32), "the order": n, "short": make([]byte, 31)} {
				if _, err := ParseAgreementKey(c, bad); !errors.Is(err, ErrKey) {
					t.Errorf("private number %s: error = %v, want %v", name, err, ErrKey)
				}
			}
			if got := fmt.Sprintf("%v %+v %#v %s", a, a, a, a); strings.Trim(strings.ReplaceAll(got, "[secret]", ""), " ") != "" {
				t.Errorf("one-time key prints as %s", got)
			}
		})
	}
}

// TestBrainpoolVector is the example of RFC 7027, A.1: both private numbers and
// the X coordinate that they agree on.
func TestBrainpoolVector(t *testing.T) {
	parse := func(s string) *AgreementKey {
		d, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParseAgreementKey(BrainpoolP256r1, d)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a := parse("81DB1EE100150FF2EA338D708271BE38300CB54241D79950F77B063039804F1D")
	b := parse("55E40BC41E37E3E2AD25C3C6654511FFA8474A91A0032087593852D3E7D76BD3")
	z, err := a.Agree(b.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ToUpper(hex.EncodeToString(z[:])); got != "89AFC39D41D3B327814B80940B042590F96556EC91E6AE7939BCE31F3A18BF2B" {
		t.Errorf("Z = %s", got)
	}
	if got := strings.ToUpper(hex.EncodeToString(a.Public()[1:33])); got != "44106E913F92BC02A1705D9953A8414DB95E1AAA49E81D9E85F929A8E3100BE5" {
		t.Errorf("X of A = %s", got)
	}
}

func TestKeyFiles(t *testing.T) {
	for _, c := range curves {
		t.Run(c.String(), func(t *testing.T) {
			key, public := newKey(t, c)
			text, err := MarshalKey(key)
			if err != nil {
				t.Fatal(err)
			}
			back, err := ParseKey(text)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := PublicKeyOf(back); err != nil || !again.Equal(public) {
				t.Errorf("key came back as another one: %v", err)
			}
			if c == BrainpoolP256r1 {
				if got := fmt.Sprintf("%v %+v %#v", key, key, key); got != "[secret] [secret] [secret]" {
					t.Errorf("key prints as %s", got)
				}
			}
		})
	}
	for name, in := range map[string]string{
		"empty": "", "a certificate": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
		"encrypted": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"garbage":   "hello", "empty sequence": "0\x00",
		// secp256k1, made for this test
		"another curve": "-----BEGIN EC PRIVATE KEY-----\nMC4CAQEEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBoAcGBSuBBAAK\n-----END EC PRIVATE KEY-----\n",
	} {
		if _, err := ParseKey([]byte(in)); err == nil {
			t.Errorf("%s: read as a key", name)
		}
	}
}

// TestKeyOfAnotherHalf refuses a file whose public half is not the private
// one's: somebody pasted two keys together.
func TestKeyOfAnotherHalf(t *testing.T) {
	a, _ := newKey(t, BrainpoolP256r1)
	_, b := newKey(t, BrainpoolP256r1)
	der := a.(*brainpoolKey).pkcs8()
	at := bytes.Index(der, a.(*brainpoolKey).public.Bytes())
	copy(der[at:], b.Bytes())
	if _, err := ParseKey(der); !errors.Is(err, ErrKey) {
		t.Errorf("error = %v, want %v", err, ErrKey)
	}
}

func TestParseCurve(t *testing.T) {
	for in, want := range map[string]Curve{"nist": P256, "P-256": P256, "brp": BrainpoolP256r1, "brainpoolP256r1": BrainpoolP256r1, "p384": 0} {
		if got, err := ParseCurve(in); got != want || (err == nil) != (want != 0) {
			t.Errorf("ParseCurve(%q) = %v, %v", in, got, err)
		}
	}
}

// TestVerifyAllocates holds the hot path to few allocations: it runs four times
// in each download.
func TestVerifyAllocates(t *testing.T) {
	key, public := newKey(t, P256)
	msg := []byte("euiccSigned1")
	sig, err := Sign(key, msg)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(msg)
	der := appendSignature(nil, sig)
	floor := testing.AllocsPerRun(20, func() { ecdsa.VerifyASN1(public.ecdsa, digest[:], der) })
	own := testing.AllocsPerRun(20, func() { public.Verify(msg, sig) })
	if own > floor+1 {
		t.Errorf("Verify allocates %v times, crypto/ecdsa alone %v times", own, floor)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, c := range curves {
		key, _ := newKey(f, c)
		text, err := MarshalKey(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := ParseKey(b)
		if err != nil {
			return
		}
		if _, err := MarshalKey(key); err != nil {
			t.Errorf("a key that was read cannot be written: %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, c := range curves {
		b.Run(c.String(), func(b *testing.B) {
			key, public := newKey(b, c)
			msg := make([]byte, 600)
			rand.Read(msg)
			sig, err := Sign(key, msg)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if !public.Verify(msg, sig) {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	key, _ := newKey(b, P256)
	msg := make([]byte, 600)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Sign(key, msg); err != nil {
			b.Fatal(err)
		}
	}
}
