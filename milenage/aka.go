package milenage

import (
	"crypto/subtle"
	"errors"
	"fmt"
)

// A SQN is a sequence number as it travels: 48 bits, of which the last five are
// the index IND and the others the sequence SEQ. TS 33.102, C.1.1.1 and C.3.
type SQN [6]byte

// SEQBits and INDBits are the cut that SAIP profiles use: 32 indices.
const (
	INDBits = 5
	SEQBits = 48 - INDBits
	MaxSEQ  = 1<<SEQBits - 1
)

// SQNOf returns the sequence number of the low 48 bits of n.
func SQNOf(n uint64) (s SQN) {
	for i := range s {
		s[i] = byte(n >> (40 - 8*i))
	}
	return s
}

// Number returns the 48 bits as a number.
func (s SQN) Number() (n uint64) {
	for _, o := range s {
		n = n<<8 | uint64(o)
	}
	return n
}

// SEQ returns the sequence without its index.
func (s SQN) SEQ() uint64 { return s.Number() >> INDBits }

// IND returns the index.
func (s SQN) IND() int { return int(s.Number() & (1<<INDBits - 1)) }

// A Vector is what a home network hands to a serving network to authenticate
// one subscriber once. TS 33.102, 6.3.2.
type Vector struct {
	RAND [16]byte
	AUTN [16]byte
	XRES []byte
	CK   []byte
	IK   []byte
}

// NewVector makes the vector of one challenge.
func NewVector(f Functions, rand [16]byte, sqn SQN, amf [2]byte) Vector {
	res, ck, ik, ak := f.F2345(rand)
	v := Vector{RAND: rand, XRES: res, CK: ck, IK: ik}
	subtle.XORBytes(v.AUTN[:6], sqn[:], ak[:])
	copy(v.AUTN[6:8], amf[:])
	copy(v.AUTN[8:], f.F1(rand, sqn, amf))
	return v
}

// Accepts reports whether res is the expected response.
func (v Vector) Accepts(res []byte) bool {
	return len(v.XRES) > 0 && subtle.ConstantTimeCompare(v.XRES, res) == 1
}

// Refusals of a challenge.
var (
	ErrMAC    = errors.New("the challenge's MAC is wrong: the keys of network and USIM differ, or it was not made by the home network")
	ErrLength = errors.New("malformed challenge")
)

// A SyncError says that a challenge was genuine but its sequence number not
// fresh. AUTS takes the USIM's own sequence number back to the home network.
type SyncError struct{ AUTS [14]byte }

func (e *SyncError) Error() string {
	return "the challenge's sequence number is not fresh: the home network must resynchronise"
}

// Resync reads the AUTS that answered rand and returns the USIM's sequence
// number. The AMF of a resynchronisation is zero. TS 33.102, 6.3.5.
func Resync(f Functions, rand [16]byte, auts []byte) (SQN, error) {
	if len(auts) != 14 {
		return SQN{}, fmt.Errorf("%w: AUTS has %d octets, not 14", ErrLength, len(auts))
	}
	ak := f.F5Star(rand)
	var sqn SQN
	subtle.XORBytes(sqn[:], auts[:6], ak[:])
	if subtle.ConstantTimeCompare(f.F1Star(rand, sqn, [2]byte{}), auts[6:]) != 1 {
		return SQN{}, ErrMAC
	}
	return sqn, nil
}

// A USIM is the card's side: the functions, and the highest sequence accepted
// under each index. TS 33.102, C.2. Not safe for concurrent use.
type USIM struct {
	Functions Functions
	// SEQ holds SEQ_MS of each index.
	SEQ [1 << INDBits]uint64
	// Delta bounds how far ahead a sequence may jump; 0 sets no bound.
	Delta uint64
	// AgeLimit bounds how far a sequence may lag behind the highest accepted
	// one; 0 sets no bound.
	AgeLimit uint64
}

// An Answer is what a USIM computes for a challenge that it accepts.
type Answer struct{ RES, CK, IK []byte }

// Authenticate checks a challenge and answers it. The error is [ErrMAC],
// [ErrLength] or a [*SyncError]; the sequence numbers change only when the
// challenge is accepted, and the caller stores them then.
func (u *USIM) Authenticate(rand, autn []byte) (Answer, error) {
	if len(rand) != 16 || len(autn) != 16 {
		return Answer{}, fmt.Errorf("%w: RAND and AUTN have %d and %d octets, not 16", ErrLength, len(rand), len(autn))
	}
	r := [16]byte(rand)
	res, ck, ik, ak := u.Functions.F2345(r)
	var sqn SQN
	subtle.XORBytes(sqn[:], autn[:6], ak[:])
	mac := u.Functions.F1(r, sqn, [2]byte(autn[6:8]))
	if subtle.ConstantTimeCompare(mac, autn[8:]) != 1 {
		return Answer{}, ErrMAC
	}
	if !u.fresh(sqn) {
		return Answer{}, &SyncError{AUTS: u.auts(r)}
	}
	u.SEQ[sqn.IND()] = sqn.SEQ()
	return Answer{RES: res, CK: ck, IK: ik}, nil
}

// fresh applies TS 33.102, C.2.1 to C.2.3.
func (u *USIM) fresh(sqn SQN) bool {
	seq, highest := sqn.SEQ(), u.highest().SEQ()
	if seq <= u.SEQ[sqn.IND()] {
		return false
	}
	if u.Delta > 0 && seq > highest && seq-highest > u.Delta {
		return false
	}
	return u.AgeLimit == 0 || seq >= highest || highest-seq <= u.AgeLimit
}

// highest returns SQN_MS: the highest sequence accepted, with its index.
func (u *USIM) highest() SQN {
	best := 0
	for i, seq := range u.SEQ {
		if seq > u.SEQ[best] {
			best = i
		}
	}
	return SQNOf(u.SEQ[best]<<INDBits | uint64(best))
}

func (u *USIM) auts(rand [16]byte) (auts [14]byte) {
	sqn, ak := u.highest(), u.Functions.F5Star(rand)
	subtle.XORBytes(auts[:6], sqn[:], ak[:])
	copy(auts[6:], u.Functions.F1Star(rand, sqn, [2]byte{}))
	return auts
}
