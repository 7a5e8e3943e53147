package milenage

import (
	"encoding/binary"
	"math/bits"
)

// A keccakState is the state of Keccak-f[1600]: lane x, y at x + 5y.
//
// The standard library has the permutation only inside its sponges, which cannot
// be told to stop where TUAK does.
type keccakState [25]uint64

func loadKeccak(block *[200]byte) *keccakState {
	var s keccakState
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(block[8*i:])
	}
	return &s
}

// keccakRotations and keccakTargets describe the steps rho and pi along the one
// cycle that pi makes of all lanes but the first: lane by lane, where its
// content goes and how far it is rotated. FIPS 202, 3.2.2 and 3.2.3.
var keccakTargets, keccakRotations = func() (target, rotation [24]int) {
	x, y := 1, 0
	for t := range 24 {
		rotation[t] = (t + 1) * (t + 2) / 2 % 64
		x, y = y, (2*x+3*y)%5
		target[t] = x + 5*y
	}
	return target, rotation
}()

// keccakConstants are the round constants of the step iota, made by the shift
// register of FIPS 202, 3.2.5.
var keccakConstants = func() (out [24]uint64) {
	register := byte(1)
	for round := range out {
		for j := range 7 {
			if register&1 == 1 {
				out[round] |= 1 << (1<<j - 1)
			}
			carry := register >> 7
			register <<= 1
			if carry == 1 {
				register ^= 0x71
			}
		}
	}
	return out
}()

// permute applies the 24 rounds of Keccak-f[1600]. FIPS 202, 3.3.
func (s *keccakState) permute() {
	for _, constant := range keccakConstants {
		var column [5]uint64 // theta
		for x := range 5 {
			column[x] = s[x] ^ s[x+5] ^ s[x+10] ^ s[x+15] ^ s[x+20]
		}
		for x := range 5 {
			d := column[(x+4)%5] ^ bits.RotateLeft64(column[(x+1)%5], 1)
			for y := 0; y < 25; y += 5 {
				s[x+y] ^= d
			}
		}
		lane := s[1] // rho and pi
		for t, to := range keccakTargets {
			lane, s[to] = s[to], bits.RotateLeft64(lane, keccakRotations[t])
		}
		for y := 0; y < 25; y += 5 { // chi
			row := [5]uint64(s[y : y+5])
			for x := range 5 {
				s[y+x] = row[x] ^ ^row[(x+1)%5]&row[(x+2)%5]
			}
		}
		s[0] ^= constant // iota
	}
}
