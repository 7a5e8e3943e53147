package milenage

import (
	"crypto/subtle"
	"fmt"
)

// An XOR is the USIM test algorithm of 3GPP TS 34.108, 8.1.2. Test profiles use
// it; it protects nothing.
type XOR struct{ k [16]byte }

// NewXOR returns the test functions of a key of 16 octets.
func NewXOR(k []byte) (*XOR, error) {
	if len(k) != 16 {
		return nil, fmt.Errorf("the USIM test algorithm takes K of 16 octets, not %d", len(k))
	}
	return &XOR{k: [16]byte(k)}, nil
}

// mix is XDOUT.
func (x *XOR) mix(rand [16]byte) (out [16]byte) {
	subtle.XORBytes(out[:], rand[:], x.k[:])
	return out
}

// F1 implements [Functions].
func (x *XOR) F1(rand [16]byte, sqn SQN, amf [2]byte) []byte {
	out := x.mix(rand)
	mac := append(append(make([]byte, 0, 8), sqn[:]...), amf[:]...)
	subtle.XORBytes(mac, mac, out[:8])
	return mac
}

// F1Star implements [Functions].
func (x *XOR) F1Star(rand [16]byte, sqn SQN, amf [2]byte) []byte { return x.F1(rand, sqn, amf) }

// F2345 implements [Functions]. The response is as long as it can be.
func (x *XOR) F2345(rand [16]byte) (res, ck, ik []byte, ak [6]byte) {
	out := x.mix(rand)
	c, i := rotate(out, 8), rotate(out, 16)
	copy(ak[:], out[3:9])
	return out[:], c[:], i[:], ak
}

// F5Star implements [Functions].
func (x *XOR) F5Star(rand [16]byte) [6]byte {
	_, _, _, ak := x.F2345(rand)
	return ak
}
