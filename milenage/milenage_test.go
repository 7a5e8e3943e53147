package milenage

import (
	"bytes"
	"crypto/sha3"
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

// vectors of both sets: inputs, then what must come out.
type set struct {
	name                              string
	k, rand, sqn, amf, op             string
	opc, f1, f1s, f2, f3, f4, f5, f5s string
	iterations                        int
}

// 3GPP TS 35.208, clause 4.3, test sets 1 and 3 to 6.
var milenageSets = []set{
	{
		"set 1", "465b5ce8b199b49faa5f0a2ee238a6bc", "23553cbe9637a89d218ae64dae47bf35", "ff9bb4d0b607", "b9b9", "cdc202d5123e20f62b6d676ac72cb318",
		"cd63cb71954a9f4e48a5994e37a02baf", "4a9ffac354dfafb3", "01cfaf9ec4e871e9", "a54211d5e3ba50bf",
		"b40ba9a3c58b2a05bbf0d987b21bf8cb", "f769bcd751044604127672711c6d3441", "aa689c648370", "451e8beca43b", 0,
	},
	{
		"set 3", "fec86ba6eb707ed08905757b1bb44b8f", "9f7c8d021accf4db213ccff0c7f71a6a", "9d0277595ffc", "725c", "dbc59adcb6f9a0ef735477b7fadf8374",
		"1006020f0a478bf6b699f15c062e42b3", "9cabc3e99baf7281", "95814ba2b3044324", "8011c48c0c214ed2",
		"5dbdbb2954e8f3cde665b046179a5098", "59a92d3b476a0443487055cf88b2307b", "33484dc2136b", "deacdd848cc6", 0,
	},
	{
		"set 4", "9e5944aea94b81165c82fbf9f32db751", "ce83dbc54ac0274a157c17f80d017bd6", "0b604a81eca8", "9e09", "223014c5806694c007ca1eeef57f004f",
		"a64a507ae1a2a98bb88eb4210135dc87", "74a58220cba84c49", "ac2cc74a96871837", "f365cd683cd92e96",
		"e203edb3971574f5a94b0d61b816345d", "0c4524adeac041c4dd830d20854fc46b", "f0b9c08ad02e", "6085a86c6f63", 0,
	},
	{
		"set 5", "4ab1deb05ca6ceb051fc98e77d026a84", "74b0cd6031a1c8339b2b6ce2b8c4a186", "e880a1b580b6", "9f07", "2d16c5cd1fdf6b22383584e3bef2a8d8",
		"dcf07cbd51855290b92a07a9891e523e", "49e785dd12626ef2", "9e85790336bb3fa2", "5860fc1bce351e7e",
		"7657766b373d1c2138f307e3de9242f9", "1c42e960d89b8fa99f2744e0708ccb53", "31e11a609118", "fe2555e54aa9", 0,
	},
	{
		"set 6", "6c38a116ac280c454f59332ee35c8c4f", "ee6466bc96202c5a557abbeff8babf63", "414b98222181", "4464", "1ba00a1a7c6700ac8c3ff3e96ad08725",
		"3803ef5363b947c6aaa225e58fae3934", "078adfb488241a57", "80246b8d0186bcf1", "16c8233f05a0ac28",
		"3f8c7587fe8e4b233af676aede30ba3b", "a7466cc1e6b2a1337d49d3b66e95d7b4", "45b0f69ab06c", "1f53cd2b1113", 0,
	},
}

// 3GPP TS 35.233, clauses 6.3 to 6.8.
var tuakSets = []set{
	{
		"set 1", "abababababababababababababababab", "42424242424242424242424242424242", "111111111111", "ffff",
		"5555555555555555555555555555555555555555555555555555555555555555",
		"bd04d9530e87513c5d837ac2ad954623a8e2330c115305a73eb45d1f40cccbff", "f9a54e6aeaa8618d", "e94b4dc6c7297df3", "657acd64",
		"d71a1e5c6caffe986a26f783e5c78be1", "be849fa2564f869aecee6f62d4337e72", "719f1e9b9054", "e7af6b3d0e38", 1,
	},
	{
		"set 2", "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0", "0123456789abcdef0123456789abcdef", "0123456789ab", "abcd",
		"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		"305425427e18c503c8a4b294ea72c95d0c36c6c6b29d0c65de5974d5977f8524", "c0b8c2d4148ec7aa5f1d78a97e4d1d58", "ef81af7290f7842c6ceafa537fa0745b",
		"e9d749dc4eea0035", "a4cb6f6529ab17f8337f27baa8234d47", "2274155ccf4199d5e2abcbf621907f90", "480a9345cc1e", "f84eb338848c", 1,
	},
	{
		"set 3", "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0", "0123456789abcdef0123456789abcdef", "0123456789ab", "abcd",
		"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		"305425427e18c503c8a4b294ea72c95d0c36c6c6b29d0c65de5974d5977f8524",
		"d97b75a1776065271b1e212bc3b1bf173f438b21e6c64a55a96c372e085e5cc5", "427bbf07c6e3a86c54f8c5216499f3909a6fd4a164c9fe235b1550258111b821",
		"07021c73e7635c7d", "4d59ac796834eb85d11fa148a5058c3c", "126d47500136fdc5ddfd14f19ebf16749ce4b6435323fbb5715a3a796a6082bd",
		"1d6622c4e59a", "f84eb338848c", 1,
	},
	{
		"set 4", "b8da837a50652d6ac7c97da14f6acc61", "6887e55425a966bd86c9661a5fa72be8", "0dea2ee2c5af", "df1e",
		"0952be13556c32ebc58195d9dd930493e12a9003669988ffde5fa1f0fe35cc01",
		"2bc16eb657a68e1f446f08f57c0efb1d493527a2e652ce281eb6ca0e4487760a", "749214087958dd8f58bfcdf869d8ae3f", "619e865afe80e382aee13063f9dfb56d",
		"4041ce438e3e38e8aa96562eed83ac43", "3e3bc01bea0cd914c4c2c83ce2d92757", "666a8e6f577b1aa77b7fd53cebb8a3d6", "1f880d005119", "45e617d77fe5", 1,
	},
	{
		"set 5", "1574ca56881d05c189c82880f789c9cd4244955f4426aa2b69c29f15770e5aa5", "c570aac68cde651fb1e3088322498bef", "c89bb71f3a41", "297d",
		"e59f6eb10ea406813f4991b0b9e02f181edf4c7e17b480f66d34da35ee88c95e",
		"3c6052e41532a28a47aa3cbb89f223e8f3aaa976aecd48bc3e7d6165a55eff62", "d7340dad02b4cb01", "c6021e2e66accb15",
		"84d89b41db1867ffd4c7ba1d82163f4d526a20fbae5418fbb526940b1eeb905c", "d419676afe5ab58c1d8bee0d43523a4d2f52ef0b31a4676a0c334427a988fe65",
		"205533e505661b61d05cc0eac87818f4", "d7b3d2d4980a", "ca9655264986", 1,
	},
	{
		"set 6, two iterations", "1574ca56881d05c189c82880f789c9cd4244955f4426aa2b69c29f15770e5aa5", "c570aac68cde651fb1e3088322498bef", "c89bb71f3a41", "297d",
		"e59f6eb10ea406813f4991b0b9e02f181edf4c7e17b480f66d34da35ee88c95e",
		"b04a66f26c62fcd6c82de22a179ab65506ecf47f56245cd149966cfa9cec7a51",
		"90d2289ed1ca1c3dbc2247bb480d431ac71d2e4a7677f6e997cfddb0cbad88b7", "427355dbac30e825063aba61b556e87583abac638e3ab01c4c884ad9d458dc2f",
		"d67e6e64590d22eecba7324afa4af4460c93f01b24506d6e12047d789a94c867", "ede57edfc57cdffe1aae75066a1b7479bbc3837438e88d37a801cccc9f972b89",
		"48ed9299126e5057402fe01f9201cf25249f9c5c0ed2afcf084755daff1d3999", "6aae8d18c448", "8c5f33b61f4e", 2,
	},
}

func (s set) check(t *testing.T, f Functions, opc []byte) {
	t.Helper()
	rand, sqn, amf := [16]byte(unhex(t, s.rand)), SQN(unhex(t, s.sqn)), [2]byte(unhex(t, s.amf))
	res, ck, ik, ak := f.F2345(rand)
	aks := f.F5Star(rand)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"OPc", opc, s.opc},
		{"f1", f.F1(rand, sqn, amf), s.f1},
		{"f1*", f.F1Star(rand, sqn, amf), s.f1s},
		{"f2", res, s.f2},
		{"f3", ck, s.f3},
		{"f4", ik, s.f4},
		{"f5", ak[:], s.f5},
		{"f5*", aks[:], s.f5s},
	} {
		if hex.EncodeToString(c.got) != c.want {
			t.Errorf("%s = %x, want %s", c.name, c.got, c.want)
		}
	}
}

func TestMilenageSets(t *testing.T) {
	for _, s := range milenageSets {
		t.Run(s.name, func(t *testing.T) {
			k := unhex(t, s.k)
			opc, err := OPc(k, unhex(t, s.op))
			if err != nil {
				t.Fatal(err)
			}
			m, err := New(k, opc)
			if err != nil {
				t.Fatal(err)
			}
			s.check(t, m, opc)
		})
	}
}

func TestTUAKSets(t *testing.T) {
	for _, s := range tuakSets {
		t.Run(s.name, func(t *testing.T) {
			k := unhex(t, s.k)
			topc, err := TOPc(k, unhex(t, s.op), s.iterations)
			if err != nil {
				t.Fatal(err)
			}
			m, err := NewTUAK(k, topc, Lengths{MAC: len(s.f1) / 2, RES: len(s.f2) / 2, CK: len(s.f3) / 2, IK: len(s.f4) / 2}, s.iterations)
			if err != nil {
				t.Fatal(err)
			}
			s.check(t, m, topc)
		})
	}
}

// The permutation is the one inside the standard library's SHA-3.
func TestKeccakAgainstSHA3(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 0, 135).Draw(t, "message")
		var block [200]byte
		copy(block[:], message)
		block[len(message)] ^= 0x06
		block[135] ^= 0x80
		state := loadKeccak(&block)
		state.permute()
		want := sha3.Sum256(message)
		var got [32]byte
		for i := range got {
			got[i] = byte(state[i/8] >> (8 * (i % 8)))
		}
		if got != want {
			t.Fatalf("one block gives %x, SHA3-256 is %x", got, want)
		}
	})
}

func TestKeysOfWrongLength(t *testing.T) {
	for _, n := range []int{0, 15, 17, 32} {
		if _, err := New(make([]byte, n), make([]byte, 16)); err == nil {
			t.Errorf("New took a key of %d octets", n)
		}
		if _, err := OPc(make([]byte, 16), make([]byte, n)); err == nil {
			t.Errorf("OPc took an OP of %d octets", n)
		}
	}
	if _, err := NewTUAK(make([]byte, 24), make([]byte, 32), DefaultLengths, 1); err == nil {
		t.Error("NewTUAK took a key of 24 octets")
	}
	if _, err := NewTUAK(make([]byte, 16), make([]byte, 32), DefaultLengths, 0); err == nil {
		t.Error("NewTUAK took no iterations")
	}
	if _, err := NewTUAK(make([]byte, 16), make([]byte, 32), Lengths{MAC: 9, RES: 8, CK: 16, IK: 16}, 1); err == nil {
		t.Error("NewTUAK took a MAC of nine octets")
	}
	odd := DefaultConstants
	odd.R[2] = 33
	if _, err := NewWithConstants(make([]byte, 16), make([]byte, 16), odd); err == nil {
		t.Error("NewWithConstants took a rotation of 33 bits")
	}
}

// drawFunctions returns either set under a random key.
func drawFunctions(t *rapid.T) Functions {
	octets := func(n int, label string) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label) }
	var f Functions
	var err error
	switch rapid.SampledFrom([]string{"milenage", "tuak", "xor"}).Draw(t, "set") {
	case "milenage":
		f, err = New(octets(16, "k"), octets(16, "opc"))
	case "tuak":
		f, err = NewTUAK(octets(32, "k"), octets(32, "topc"), DefaultLengths, 1)
	case "xor":
		f, err = NewXOR(octets(16, "k"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Network and USIM agree; a repeat is answered by a resynchronisation that the
// network can read, and after which it is accepted.
func TestNetworkAndUSIM(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFunctions(t)
		usim := &USIM{Functions: f}
		rand := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "rand"))
		sqn := SQNOf(rapid.Uint64Range(1<<INDBits, MaxSEQ<<INDBits-1).Draw(t, "sqn"))
		v := NewVector(f, rand, sqn, [2]byte{0x80, 0})

		answer, err := usim.Authenticate(v.RAND[:], v.AUTN[:])
		if err != nil {
			t.Fatalf("fresh challenge refused: %v", err)
		}
		if !v.Accepts(answer.RES) || !bytes.Equal(v.CK, answer.CK) || !bytes.Equal(v.IK, answer.IK) {
			t.Fatal("network and USIM disagree")
		}

		_, err = usim.Authenticate(v.RAND[:], v.AUTN[:])
		var repeat *SyncError
		if !errors.As(err, &repeat) {
			t.Fatalf("repeated challenge: %v, want a SyncError", err)
		}
		back, err := Resync(f, rand, repeat.AUTS[:])
		if err != nil {
			t.Fatalf("AUTS refused: %v", err)
		}
		if back != sqn {
			t.Fatalf("AUTS carries %x, the USIM accepted %x", back, sqn)
		}
		next := NewVector(f, rand, SQNOf(back.Number()+1<<INDBits), [2]byte{0x80, 0})
		if _, err := usim.Authenticate(next.RAND[:], next.AUTN[:]); err != nil {
			t.Fatalf("challenge after resynchronisation refused: %v", err)
		}
	})
}

func TestForgedChallenge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFunctions(t)
		v := NewVector(f, [16]byte{1}, SQNOf(64), [2]byte{})
		bit := rapid.IntRange(0, 127).Draw(t, "bit")
		v.AUTN[bit/8] ^= 1 << (bit % 8)
		usim := &USIM{Functions: f}
		if _, err := usim.Authenticate(v.RAND[:], v.AUTN[:]); !errors.Is(err, ErrMAC) {
			t.Fatalf("AUTN with bit %d turned: %v, want ErrMAC", bit, err)
		}
		if usim.SEQ != [1 << INDBits]uint64{} {
			t.Fatal("a forged challenge moved the sequence numbers")
		}
	})
}

func TestFreshness(t *testing.T) {
	f, err := New(make([]byte, 16), make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name            string
		delta, ageLimit uint64
		accepted        map[int]uint64
		seq             uint64
		ind             int
		fresh           bool
	}{
		{"first", 0, 0, nil, 1, 0, true},
		{"zero is never fresh", 0, 0, nil, 0, 0, false},
		{"same again", 0, 0, map[int]uint64{3: 7}, 7, 3, false},
		{"same under another index", 0, 0, map[int]uint64{3: 7}, 7, 4, true},
		{"older under another index", 0, 0, map[int]uint64{3: 7}, 1, 4, true},
		{"too old", 0, 5, map[int]uint64{3: 7}, 1, 4, false},
		{"just not too old", 0, 6, map[int]uint64{3: 7}, 1, 4, true},
		{"far ahead without bound", 0, 0, map[int]uint64{3: 7}, 1 << 40, 3, true},
		{"just within the bound", 10, 0, map[int]uint64{3: 7}, 17, 3, true},
		{"beyond the bound", 10, 0, map[int]uint64{3: 7}, 18, 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			usim := &USIM{Functions: f, Delta: tt.delta, AgeLimit: tt.ageLimit}
			for i, seq := range tt.accepted {
				usim.SEQ[i] = seq
			}
			v := NewVector(f, [16]byte{}, SQNOf(tt.seq<<INDBits|uint64(tt.ind)), [2]byte{})
			_, err := usim.Authenticate(v.RAND[:], v.AUTN[:])
			if (err == nil) != tt.fresh {
				t.Errorf("Authenticate error = %v, want fresh %v", err, tt.fresh)
			}
		})
	}
}

// 3GPP TS 34.108, 8.1.2, by hand: K is zero, so that XDOUT is RAND.
func TestXOR(t *testing.T) {
	f, err := NewXOR(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	rand := [16]byte(unhex(t, "000102030405060708090a0b0c0d0e0f"))
	res, ck, ik, ak := f.F2345(rand)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"RES", res, "000102030405060708090a0b0c0d0e0f"},
		{"CK", ck, "0102030405060708090a0b0c0d0e0f00"},
		{"IK", ik, "02030405060708090a0b0c0d0e0f0001"},
		{"AK", ak[:], "030405060708"},
		{"MAC", f.F1(rand, SQN{1, 1, 1, 1, 1, 1}, [2]byte{0xFF, 0xFF}), "010003020504f9f8"},
	} {
		if hex.EncodeToString(c.got) != c.want {
			t.Errorf("%s = %x, want %s", c.name, c.got, c.want)
		}
	}
	if _, err := NewXOR(make([]byte, 15)); err == nil {
		t.Error("NewXOR took a key of 15 octets")
	}
}

func TestMalformedInputs(t *testing.T) {
	f, err := New(make([]byte, 16), make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&USIM{Functions: f}).Authenticate(make([]byte, 15), make([]byte, 16)); !errors.Is(err, ErrLength) {
		t.Errorf("RAND of 15 octets: %v", err)
	}
	if _, err := Resync(f, [16]byte{}, make([]byte, 13)); !errors.Is(err, ErrLength) {
		t.Errorf("AUTS of 13 octets: %v", err)
	}
	if _, err := Resync(f, [16]byte{}, make([]byte, 14)); !errors.Is(err, ErrMAC) {
		t.Errorf("AUTS of zeros: %v", err)
	}
}
