package rsp

import (
	"crypto/cipher"
	"crypto/subtle"
)

// A MAC is an AES-CMAC cut to the eight octets that travel with a segment.
type MAC [8]byte

// Equal compares in constant time.
func (m MAC) Equal(other MAC) bool { return subtle.ConstantTimeCompare(m[:], other[:]) == 1 }

// cmac computes AES-CMAC, RFC 4493. Go has one, and keeps it to itself.
type cmac struct {
	block  cipher.Block
	k1, k2 [16]byte
}

func newCMAC(block cipher.Block) *cmac {
	c := &cmac{block: block}
	var l [16]byte
	block.Encrypt(l[:], l[:])
	c.k1 = double(l)
	c.k2 = double(c.k1)
	return c
}

// double multiplies by x in GF(2^128) without a branch on the key.
func double(in [16]byte) (out [16]byte) {
	for i := range 15 {
		out[i] = in[i]<<1 | in[i+1]>>7
	}
	out[15] = in[15]<<1 ^ 0x87&-(in[0]>>7)
	return out
}

// sum returns the MAC of msg when state is zero. With the output of another MAC
// as state it returns the MAC of state | msg: a first block costs nothing then,
// because state is exactly one. The message must not be empty in that case.
func (c *cmac) sum(state [16]byte, chained bool, msg []byte) [16]byte {
	if chained {
		c.block.Encrypt(state[:], state[:])
	}
	for len(msg) > 16 {
		subtle.XORBytes(state[:], state[:], msg[:16])
		c.block.Encrypt(state[:], state[:])
		msg = msg[16:]
	}
	last, key := [16]byte{}, &c.k1
	if n := copy(last[:], msg); n < 16 {
		last[n], key = 0x80, &c.k2
	}
	subtle.XORBytes(state[:], state[:], last[:])
	subtle.XORBytes(state[:], state[:], key[:])
	c.block.Encrypt(state[:], state[:])
	return state
}
