// Package milenage holds the authentication and key agreement of a USIM: the
// Milenage and TUAK function sets (3GPP TS 35.206, TS 35.231), the vectors that
// a home network makes of them and the checks that a USIM does (TS 33.102).
//
// It stores nothing: who advances sequence numbers says so durably elsewhere.
package milenage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"
)

// Functions is a set of f1 to f5 functions under one subscriber key. Milenage
// and TUAK are the two. Implementations are safe for concurrent use.
type Functions interface {
	// F1 computes the network's MAC-A.
	F1(rand [16]byte, sqn SQN, amf [2]byte) []byte
	// F1Star computes MAC-S, which vouches for a resynchronisation.
	F1Star(rand [16]byte, sqn SQN, amf [2]byte) []byte
	// F2345 computes the response, the cipher and integrity keys and the
	// anonymity key that hides the sequence number.
	F2345(rand [16]byte) (res, ck, ik []byte, ak [6]byte)
	// F5Star computes the anonymity key of a resynchronisation.
	F5Star(rand [16]byte) (ak [6]byte)
}

// Constants are the rotations (in bits, multiples of 8) and additive constants
// of Milenage. An operator may have its own; TS 35.206, 4.1 gives the defaults.
type Constants struct {
	R [5]byte
	C [5][16]byte
}

// DefaultConstants are those of TS 35.206, 4.1.
var DefaultConstants = Constants{
	R: [5]byte{64, 0, 32, 64, 96},
	C: [5][16]byte{{}, {15: 1}, {15: 2}, {15: 4}, {15: 8}},
}

// A Milenage is the Milenage set under one key.
type Milenage struct {
	block     cipher.Block
	opc       [16]byte
	constants Constants
}

// New returns the Milenage functions of a subscriber key K of 16 octets and its
// OPc.
func New(k, opc []byte) (*Milenage, error) { return NewWithConstants(k, opc, DefaultConstants) }

// NewWithConstants is [New] for an operator with rotations and constants of its
// own.
func NewWithConstants(k, opc []byte, c Constants) (*Milenage, error) {
	if len(k) != 16 || len(opc) != 16 {
		return nil, fmt.Errorf("milenage takes K and OPc of 16 octets, not %d and %d", len(k), len(opc))
	}
	for i, r := range c.R {
		if r%8 != 0 || r >= 128 {
			return nil, fmt.Errorf("milenage rotation r%d is %d bits: only multiples of 8 below 128 are supported", i+1, r)
		}
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	m := &Milenage{block: block, constants: c}
	copy(m.opc[:], opc)
	return m, nil
}

// OPc derives the subscriber's OPc from the operator's OP and K. TS 35.206, 4.1.
func OPc(k, op []byte) ([]byte, error) {
	if len(k) != 16 || len(op) != 16 {
		return nil, fmt.Errorf("OPc is made of K and OP of 16 octets, not %d and %d", len(k), len(op))
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 16)
	block.Encrypt(out, op)
	subtle.XORBytes(out, out, op)
	return out, nil
}

// temp is E_K(RAND xor OPc), which all functions begin with.
func (m *Milenage) temp(rand [16]byte) (out [16]byte) {
	subtle.XORBytes(out[:], rand[:], m.opc[:])
	m.block.Encrypt(out[:], out[:])
	return out
}

// out1 is OUT1, whose halves are MAC-A and MAC-S.
func (m *Milenage) out1(rand [16]byte, sqn SQN, amf [2]byte) (out [16]byte) {
	temp := m.temp(rand)
	var in1 [16]byte
	copy(in1[0:], sqn[:])
	copy(in1[6:], amf[:])
	copy(in1[8:], in1[:8])
	subtle.XORBytes(in1[:], in1[:], m.opc[:])
	out = rotate(in1, m.constants.R[0])
	subtle.XORBytes(out[:], out[:], m.constants.C[0][:])
	subtle.XORBytes(out[:], out[:], temp[:])
	m.block.Encrypt(out[:], out[:])
	subtle.XORBytes(out[:], out[:], m.opc[:])
	return out
}

// outN is OUT2 to OUT5.
func (m *Milenage) outN(temp [16]byte, n int) (out [16]byte) {
	subtle.XORBytes(out[:], temp[:], m.opc[:])
	out = rotate(out, m.constants.R[n-1])
	subtle.XORBytes(out[:], out[:], m.constants.C[n-1][:])
	m.block.Encrypt(out[:], out[:])
	subtle.XORBytes(out[:], out[:], m.opc[:])
	return out
}

// rotate turns x cyclically by bits towards the most significant bit.
func rotate(x [16]byte, bits byte) (out [16]byte) {
	n := copy(out[:], x[bits/8:])
	copy(out[n:], x[:bits/8])
	return out
}

// F1 implements [Functions].
func (m *Milenage) F1(rand [16]byte, sqn SQN, amf [2]byte) []byte {
	out := m.out1(rand, sqn, amf)
	return out[:8]
}

// F1Star implements [Functions].
func (m *Milenage) F1Star(rand [16]byte, sqn SQN, amf [2]byte) []byte {
	out := m.out1(rand, sqn, amf)
	return out[8:]
}

// F2345 implements [Functions].
func (m *Milenage) F2345(rand [16]byte) (res, ck, ik []byte, ak [6]byte) {
	temp := m.temp(rand)
	out2, out3, out4 := m.outN(temp, 2), m.outN(temp, 3), m.outN(temp, 4)
	copy(ak[:], out2[:6])
	return out2[8:], out3[:], out4[:], ak
}

// F5Star implements [Functions].
func (m *Milenage) F5Star(rand [16]byte) (ak [6]byte) {
	out := m.outN(m.temp(rand), 5)
	copy(ak[:], out[:6])
	return ak
}
