package milenage

import (
	"fmt"
	"slices"
)

// Lengths are the output lengths that an operator chose for TUAK, in octets.
type Lengths struct{ MAC, RES, CK, IK int }

// DefaultLengths fit every interface of a 3G to 5G core: AUTN carries a MAC of
// eight octets and no more.
var DefaultLengths = Lengths{MAC: 8, RES: 8, CK: 16, IK: 16}

// A TUAK is the TUAK set (3GPP TS 35.231) under one key.
type TUAK struct {
	k, topc    []byte
	lengths    Lengths
	iterations int
}

// NewTUAK returns the TUAK functions of a key of 16 or 32 octets and its TOPc
// of 32, with the number of Keccak permutations that the operator chose
// (usually 1).
func NewTUAK(k, topc []byte, lengths Lengths, iterations int) (*TUAK, error) {
	if err := checkTUAK(k, topc, iterations); err != nil {
		return nil, err
	}
	if !slices.Contains([]int{8, 16, 32}, lengths.MAC) || !slices.Contains([]int{4, 8, 16, 32}, lengths.RES) ||
		!slices.Contains([]int{16, 32}, lengths.CK) || !slices.Contains([]int{16, 32}, lengths.IK) {
		return nil, fmt.Errorf("TUAK has no outputs of these lengths in octets: MAC %d, RES %d, CK %d, IK %d",
			lengths.MAC, lengths.RES, lengths.CK, lengths.IK)
	}
	return &TUAK{k: slices.Clone(k), topc: slices.Clone(topc), lengths: lengths, iterations: iterations}, nil
}

func checkTUAK(k, top []byte, iterations int) error {
	if len(k) != 16 && len(k) != 32 || len(top) != 32 {
		return fmt.Errorf("TUAK takes K of 16 or 32 octets and TOPc of 32, not %d and %d", len(k), len(top))
	}
	if iterations < 1 || iterations > 255 {
		return fmt.Errorf("TUAK takes 1 to 255 Keccak iterations, not %d", iterations)
	}
	return nil
}

// TOPc derives the subscriber's TOPc from the operator's TOP of 32 octets and K.
// TS 35.231, 6.1.
func TOPc(k, top []byte, iterations int) ([]byte, error) {
	if err := checkTUAK(k, top, iterations); err != nil {
		return nil, err
	}
	t := &TUAK{k: k, topc: top, iterations: iterations}
	out := t.run(0, nil, nil, nil)
	return out.pull(0, 32), nil
}

// Bits of INSTANCE, the octet that keeps the functions apart. TS 35.231, 6.2 to
// 6.6.
const (
	instanceF1Star = 0x80
	instanceF2345  = 0x40
	instanceF5Star = 0xC0
	instanceCK256  = 0x04
	instanceIK256  = 0x02
	instanceK256   = 0x01
)

// lengthBits codes the length of a MAC or response.
func lengthBits(n int) byte {
	switch n {
	case 8:
		return 0x08
	case 16:
		return 0x10
	case 32:
		return 0x20
	}
	return 0 // four octets
}

// F1 implements [Functions].
func (t *TUAK) F1(rand [16]byte, sqn SQN, amf [2]byte) []byte {
	return t.run(lengthBits(t.lengths.MAC), rand[:], amf[:], sqn[:]).pull(0, t.lengths.MAC)
}

// F1Star implements [Functions].
func (t *TUAK) F1Star(rand [16]byte, sqn SQN, amf [2]byte) []byte {
	return t.run(instanceF1Star|lengthBits(t.lengths.MAC), rand[:], amf[:], sqn[:]).pull(0, t.lengths.MAC)
}

// F2345 implements [Functions].
func (t *TUAK) F2345(rand [16]byte) (res, ck, ik []byte, ak [6]byte) {
	instance := instanceF2345 | lengthBits(t.lengths.RES)
	if t.lengths.CK == 32 {
		instance |= instanceCK256
	}
	if t.lengths.IK == 32 {
		instance |= instanceIK256
	}
	out := t.run(instance, rand[:], nil, nil)
	copy(ak[:], out.pull(96, 6))
	return out.pull(0, t.lengths.RES), out.pull(32, t.lengths.CK), out.pull(64, t.lengths.IK), ak
}

// F5Star implements [Functions].
func (t *TUAK) F5Star(rand [16]byte) (ak [6]byte) {
	copy(ak[:], t.run(instanceF5Star, rand[:], nil, nil).pull(96, 6))
	return ak
}

// run lays the inputs out as TS 35.231, 6 does, permutes and returns the state.
// Values stand in the state with their last octet first.
func (t *TUAK) run(instance byte, rand, amf, sqn []byte) *keccakState {
	if len(t.k) == 32 {
		instance |= instanceK256
	}
	var block [200]byte
	put := func(at int, v []byte) {
		for i, o := range v {
			block[at+len(v)-1-i] = o
		}
	}
	put(0, t.topc)
	block[32] = instance
	put(33, []byte("TUAK1.0"))
	put(40, rand)
	put(56, amf)
	put(58, sqn)
	put(64, t.k)
	block[96] = 0x1F // the padding of SHAKE
	block[135] = 0x80
	state := loadKeccak(&block)
	for range t.iterations {
		state.permute()
	}
	return state
}

// pull reads n octets at an offset, the last one first.
func (s *keccakState) pull(at, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		p := at + n - 1 - i
		out[i] = byte(s[p/8] >> (8 * (p % 8)))
	}
	return out
}
