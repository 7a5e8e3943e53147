package rsp

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"godwit/pki"
)

// The package alone, without the signature of InitialiseSecureChannel.
func BenchmarkSegments(b *testing.B) {
	profile := bytes.Repeat([]byte{0xA5}, 12000)
	buf := make([]byte, 0, 16<<10)
	b.SetBytes(int64(len(profile)))
	for b.Loop() {
		p := NewProtection(&Keys{})
		buf = buf[:0]
		for piece := range slices.Chunk(profile, MaxPlain) {
			buf = p.AppendEncrypted(buf, TagSegmentProfile, piece)
		}
	}
}

func BenchmarkBind(b *testing.B) {
	signer, _ := newKey(b, pki.P256)
	binding := &Binding{
		TransactionID: NewTransactionID(), HostID: []byte("godwit"), ServerKey: make([]byte, PointSize), EUICCKey: make([]byte, PointSize),
		Keys: &Keys{}, OID: "2.999.10", Metadata: testMetadata(0).AppendStored(nil), Profile: bytes.Repeat([]byte{0xA5}, 12000),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := binding.Append(nil, signer); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAuthenticateServerResponse(b *testing.B) {
	signer, key := newKey(b, pki.P256)
	info := EUICCInfo2{SVN: Version{2, 5, 0}, Signing: [][]byte{make([]byte, 20)}, Verification: [][]byte{make([]byte, 20)}, Resource: CardResource{true, 1, 500000, 5000}}
	signed := AppendEUICCSigned1(nil, &ServerSigned1{NewTransactionID(), NewChallenge(), "smdp.example.com", NewChallenge()}, info.Append(nil), (&CtxParams1{MatchingID: new("M")}).Append(nil))
	signature, err := pki.Sign(signer, signed)
	if err != nil {
		b.Fatal(err)
	}
	der := AppendAuthenticateServerResponse(nil, signed, signature, zeroCert, zeroCert)
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseAuthenticateServerResponse(der); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("with signature", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := ParseAuthenticateServerResponse(der)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := p.Verify(key); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkJSONPackage(b *testing.B) {
	p := &GetBoundProfilePackageResponse{Succeeded, NewTransactionID(), make([]byte, 12500)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(p); err != nil {
			b.Fatal(err)
		}
	}
}
