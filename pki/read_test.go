package pki

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"godwit/tlv"
)

// TestReadRefuses damages a good certificate in one place at a time. Nobody has
// signed the outcome, which is nothing to the reader.
func TestReadRefuses(t *testing.T) {
	b := newBench(t, P256)
	eum, tls := b.eum.Certificate.Raw, b.identity.TLS.Certificate.Raw
	for _, tt := range []struct {
		name     string
		der      []byte
		from, to string
	}{
		{"version 1", eum, "\xA0\x03\x02\x01\x02\x02\x10", "\xA0\x03\x02\x01\x00\x02\x10"},
		{"no version", eum, "\xA0\x03\x02\x01\x02\x02\x10", "\x81\x03\x02\x01\x02\x02\x10"},
		{"ECDSA with SHA-384", eum, oidECDSAWithSHA256, oidECDSAWithSHA256[:7] + "\x03"},
		{"RSA key", eum, oidECPublicKey, "\x2A\x86\x48\xCE\x3D\x02\x02"},
		{"unknown curve", eum, oidP256, oidP256[:7] + "\x06"},
		{"compressed point", eum, "\x03\x42\x00\x04", "\x03\x42\x00\x02"},
		{"odd bits in the point", eum, "\x03\x42\x00\x04", "\x03\x42\x01\x04"},
		{"a month of 13", eum, "\x17\x0D261201", "\x17\x0D261301"},
		{"time without Z", eum, "261201120000Z", "261201120000+"},
		{"name of an unknown string type", eum, "\x0C\x08EUM Test", "\x1C\x08EUM Test"},
		{"name that is no UTF-8", eum, "\x0C\x08EUM Test", "\x0C\x08EUM\xFFTest"},
		{"extension twice", eum, "\x06\x03" + extSubjectKeyID, "\x06\x03" + extAuthorityKeyID},
		{"path length below 0", eum, "\x30\x06\x01\x01\xFF\x02\x01\x00", "\x30\x06\x01\x01\xFF\x02\x01\x80"},
		{"excluded names", eum, "\x30\x32\xA0\x30", "\x30\x32\xA1\x30"},
		{"DNS name with a line break", tls, "rsp.example.com", "rsp\nexample.com"},
		{"IP address of 5 octets", tls, "\x87\x04\x7F\x00\x00\x01\x87\x10", "\x87\x05\x7F\x00\x00\x01\x87\x0F"},
		{"registered ID cut off", tls, "\x88\x03\x88\x37\x0A", "\x88\x03\x88\x37\x8A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !bytes.Contains(tt.der, []byte(tt.from)) {
				t.Fatalf("%x does not occur in %x", tt.from, tt.der)
			}
			der := bytes.ReplaceAll(tt.der, []byte(tt.from), []byte(tt.to))
			if c, err := ParseCertificate(der); !errors.Is(err, ErrCertificate) {
				t.Errorf("read as %+v, error %v", c, err)
			}
		})
	}
	for n := range eum {
		if _, err := ParseCertificate(eum[:n]); err == nil {
			t.Errorf("cut off after %d octets and read", n)
		}
	}
	if _, err := ParseCertificate(append(bytes.Clone(eum), 0)); err == nil {
		t.Error("with an octet behind it and read")
	}
}

func TestReadTime(t *testing.T) {
	for _, tt := range []struct {
		tag  tlv.Tag
		in   string
		want string
	}{
		{utcTime, "491231235959Z", "2049-12-31T23:59:59Z"},
		{utcTime, "500101000000Z", "1950-01-01T00:00:00Z"},
		{utcTime, "680101000000Z", "1968-01-01T00:00:00Z"},
		{utcTime, "690101000000Z", "1969-01-01T00:00:00Z"},
		{generalizedTime, "20500101000000Z", "2050-01-01T00:00:00Z"},
		{generalizedTime, "74960124094858Z", "7496-01-24T09:48:58Z"},
		{generalizedTime, "20500101000000.5Z", ""},
		{utcTime, "4912312359Z", ""},
		{utcTime, "491231235959+0100", ""},
		{utcTime, "490230000000Z", ""},
		{tlv.UTF8String, "491231235959Z", ""},
	} {
		r := tlv.NewReader(tlv.AppendString(nil, tt.tag, tt.in))
		got := readTime(&r)
		if (r.Err() == nil) != (tt.want != "") || tt.want != "" && got.Format(time.RFC3339) != tt.want {
			t.Errorf("%s %q reads as %s, %v; want %q", tt.tag, tt.in, got, r.Err(), tt.want)
		}
		if tt.want == "" {
			continue
		}
		if back := appendTime(nil, got); got.Year() >= 1969 && !bytes.Equal(back, tlv.AppendString(nil, tt.tag, tt.in)) {
			t.Errorf("%q is written as %x", tt.in, back)
		}
	}
}

func TestDirectoryString(t *testing.T) {
	for _, tt := range []struct {
		tag  tlv.Tag
		in   string
		want string
		ok   bool
	}{
		{tlv.UTF8String, "Zürich", "Zürich", true},
		{printableString, "ES", "ES", true},
		{ia5String, "a@b", "a@b", true},
		{bmpString, "\x00Z\x00\xFC", "Zü", true},
		{bmpString, "\xD8\x3D\xDE\x00", "😀", true},
		{bmpString, "\x00", "", false},
		{teletexString, "Z\xFCrich", "Z\xFCrich", false},
		{tlv.OctetString, "x", "", false},
	} {
		e, err := tlv.Parse(tlv.AppendString(nil, tt.tag, tt.in))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := directoryString(e); got != tt.want || ok != tt.ok {
			t.Errorf("%s %q reads as %q, %v", tt.tag, tt.in, got, ok)
		}
	}
}

// brainpoolModule is a hardware module's key on brainpoolP256r1: it shows its
// public half as the standard library's type.
type brainpoolModule struct{ key *brainpoolKey }

func (m brainpoolModule) Public() crypto.PublicKey { return m.key.public.ecdsa }
func (m brainpoolModule) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return m.key.Sign(random, digest, opts)
}

func TestBrainpoolModule(t *testing.T) {
	key, public := newKey(t, BrainpoolP256r1)
	module := brainpoolModule{key.(*brainpoolKey)}
	if got, err := PublicKeyOf(module); err != nil || !got.Equal(public) {
		t.Errorf("public half %v, %v", got, err)
	}
	ci, err := NewTestCI(BrainpoolP256r1, Request{NotBefore: at, Key: module})
	if err != nil || !ci.Certificate.SelfSigned() {
		t.Errorf("a CI whose key is in a module: %v", err)
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	for _, c := range curves {
		k, err := GenerateAgreementKey(c)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		slog.New(slog.NewJSONHandler(&b, nil)).Info("made", "key", k)
		if !strings.Contains(b.String(), `"key":"[secret]"`) {
			t.Errorf("logged as %s", b.String())
		}
		if k.Curve() != c {
			t.Errorf("curve %s", k.Curve())
		}
	}
}

func TestNames(t *testing.T) {
	for role, policy := range map[Role]string{CI: "2.23.146.1.2.1.0", DPPB: "2.23.146.1.2.1.5", EIM: ""} {
		if role.Policy() != policy {
			t.Errorf("policy of %s is %q", role, role.Policy())
		}
	}
	if got := fmt.Sprint(Role(0), Role(99), Curve(0), EUICC); got != "role 0 role 99 no curve eUICC" {
		t.Errorf("names %s", got)
	}
	b := newBench(t, P256)
	if sig, err := b.identity.Auth.Sign([]byte("x")); err != nil || !b.identity.Auth.Certificate.PublicKey.Verify([]byte("x"), sig) {
		t.Errorf("signature of a credential: %x, %v", sig, err)
	}
}

// TestCRLRefuses damages a good list in one place at a time.
func TestCRLRefuses(t *testing.T) {
	b := newBench(t, P256)
	list, err := b.ci.IssueCRL(5, []Revocation{{b.eum.Certificate.Serial, at}}, at, at.AddDate(0, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	number := "\x30\x0A\x06\x03" + extCRLNumber + "\x04\x03\x02\x01\x05"
	for _, tt := range []struct{ name, from, to string }{
		{"version 1", "\x02\x01\x01\x30\x0A", "\x02\x01\x00\x30\x0A"},
		{"a month of 13", "\x17\x0D261201", "\x17\x0D261301"},
		{"critical extension", number, "\x30\x0A\x06\x01\x55\x01\x01\xFF\x04\x02\x05\x00"},
		{"number that is none", number, "\x30\x0A\x06\x03" + extCRLNumber + "\x04\x03\x04\x01\x05"},
	} {
		if !bytes.Contains(list, []byte(tt.from)) {
			t.Fatalf("%s: %x does not occur in %x", tt.name, tt.from, list)
		}
		if l, err := parseCRL(bytes.Replace(list, []byte(tt.from), []byte(tt.to), 1)); err == nil {
			t.Errorf("%s: read as %+v", tt.name, l)
		}
	}
	if _, err := parseCRL(make([]byte, maxCRL+1)); err == nil {
		t.Error("a list without end was read")
	}
}
