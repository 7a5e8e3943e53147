package smdp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"godwit/rsp"
)

// A ticket is what a transaction identifier carries, so that
// initiateAuthentication stores nothing and any node can go on where another
// began: a stranger who asks a million times fills no table.
type ticket struct {
	at    time.Time // when it was issued, to the second
	trust [3]byte   // names the choice of CIs, see [trust.tag]
	svn   rsp.Version
}

// A minter makes and reads transaction identifiers and the server challenges
// that belong to them. All nodes share its key.
type minter struct {
	block cipher.Block
	mac   []byte
}

const minterKeySize = 48

func newMinter(key []byte) (*minter, error) {
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		return nil, err
	}
	return &minter{block: block, mac: bytes.Clone(key[16:minterKeySize])}, nil
}

// mint makes an identifier. It is one enciphered AES block: 4 octets of time, 3
// that name the CIs, 3 of version, 6 at random. Whoever makes up 16 octets
// hits a time of the last minutes and a known choice of CIs once in 2^40
// times, and then still does not know the challenge.
func (m *minter) mint(t ticket) rsp.TransactionID {
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint32(b[:], uint32(t.at.Unix()))
	copy(b[4:], t.trust[:])
	copy(b[7:], t.svn[:])
	rand.Read(b[10:])
	m.block.Encrypt(b[:], b[:])
	id, err := rsp.TransactionIDFromOctets(b[:])
	if err != nil {
		panic(err) // 16 octets are always an identifier
	}
	return id
}

// read returns what an identifier carries, if it was issued within lifetime
// before now.
func (m *minter) read(id rsp.TransactionID, now time.Time, lifetime time.Duration) (ticket, bool) {
	b := id.Octets()
	if len(b) != aes.BlockSize {
		return ticket{}, false
	}
	m.block.Decrypt(b, b)
	t := ticket{at: time.Unix(int64(binary.BigEndian.Uint32(b)), 0)}
	copy(t.trust[:], b[4:])
	copy(t.svn[:], b[7:])
	age := now.Sub(t.at)
	// Clocks of nodes differ a little: a ticket from a moment ahead is fine.
	return t, age >= -5*time.Second && age <= lifetime
}

// challenge derives the server challenge of a transaction. It covers the
// address that the LPA called us by, so that an eUICC's answer with another
// address finds another challenge.
func (m *minter) challenge(id rsp.TransactionID, address string) []byte {
	h := hmac.New(sha256.New, m.mac)
	h.Write([]byte("serverChallenge"))
	h.Write(id.Octets())
	h.Write([]byte(address))
	return h.Sum(nil)[:rsp.ChallengeSize]
}

// sameHost reports whether two addresses name the same host. LPAs write it with
// or without the port, in any case, and some with a trailing dot.
func sameHost(a, b string) bool { return strings.EqualFold(hostOf(a), hostOf(b)) }

func hostOf(address string) string {
	if host, port, ok := strings.Cut(address, ":"); ok && strings.Trim(port, "0123456789") == "" {
		address = host
	}
	return strings.TrimSuffix(address, ".")
}
