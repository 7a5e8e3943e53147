package pki

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"godwit/tlv"
)

// A RevocationList is a CI's list of certificates that are no longer good. The
// only way to one is [Roots.AddCRL], which checks its signature. SGP.22,
// 4.5.2.2; RFC 5280, 5.
type RevocationList struct {
	Raw        []byte
	Issuer     Name
	Number     int64 // CRL number, -1 when there is none
	ThisUpdate time.Time
	NextUpdate time.Time // zero when there is none

	tbs, signature []byte
	authorityKeyID []byte
	revoked        map[string]time.Time // by serial number, as content octets
}

// maxCRL bounds the octets of a revocation list.
const maxCRL = tlv.MaxElement

// Len returns how many certificates are on the list.
func (l *RevocationList) Len() int { return len(l.revoked) }

// A Revocation is one entry of a list.
type Revocation struct {
	Serial []byte // content octets of the serial number
	At     time.Time
}

// Entries returns what is on the list, by serial number.
func (l *RevocationList) Entries() []Revocation {
	out := make([]Revocation, 0, len(l.revoked))
	for serial, at := range l.revoked {
		out = append(out, Revocation{Serial: []byte(serial), At: at})
	}
	slices.SortFunc(out, func(a, b Revocation) int { return bytes.Compare(a.Serial, b.Serial) })
	return out
}

// Revoked returns when the certificate was revoked, if it was.
func (l *RevocationList) Revoked(c *Certificate) (time.Time, bool) {
	at, ok := l.revoked[string(c.Serial)]
	return at, ok
}

func (l *RevocationList) signedBy(ci *Certificate) bool {
	return bytes.Equal(l.Issuer.Raw, ci.Subject.Raw) &&
		(l.authorityKeyID == nil || bytes.Equal(l.authorityKeyID, ci.SubjectKeyID)) &&
		ci.KeyUsage&UsageCRLSign != 0 && ci.PublicKey.Verify(l.tbs, l.signature)
}

// parseCRL reads a revocation list. RFC 5280, 5.1.
func parseCRL(b []byte) (*RevocationList, error) {
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	if len(b) > maxCRL {
		return nil, fmt.Errorf("%d octets, at most %d are read", len(b), maxCRL)
	}
	signed, err := readSigned(b)
	if err != nil {
		return nil, err
	}
	l := &RevocationList{
		Raw: b, Number: -1, tbs: signed.tbs.Raw, signature: signed.signature,
		revoked: make(map[string]time.Time),
	}
	r := signed.tbs.Reader()
	if r.Peek() == tlv.Integer && r.Int(tlv.Integer) != 1 {
		return nil, fmt.Errorf("%w: version of the revocation list is not 2", tlv.ErrValue)
	}
	readSignatureAlgorithm(&r)
	l.Issuer = readName(&r)
	l.ThisUpdate = readTime(&r)
	if tag := r.Peek(); tag == utcTime || tag == generalizedTime {
		l.NextUpdate = readTime(&r)
	}
	if entries, ok := r.Optional(tlv.Sequence); ok {
		list := entries.Reader()
		for !list.Empty() {
			l.readEntry(&list)
		}
		r.Fail(list.Err())
	}
	if wrapped, ok := r.Optional(tlv.ContextConstructed(0)); ok {
		extensions := wrapped.Reader()
		if err := l.readExtensions(extensions.Sub(tlv.Sequence)); err != nil {
			return nil, err
		}
		r.Fail(extensions.Close())
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *RevocationList) readEntry(list *tlv.Reader) {
	entry := list.Sub(tlv.Sequence)
	serial := entry.Value(tlv.Integer)
	at := readTime(&entry)
	entry.Optional(tlv.Sequence) // reason and the like: revoked is revoked
	list.Fail(entry.Close())
	if list.Err() == nil {
		l.revoked[string(serial)] = at
	}
}

func (l *RevocationList) readExtensions(list tlv.Reader) error {
	for !list.Empty() {
		x := readExtension(&list)
		if list.Err() != nil {
			break
		}
		r := tlv.NewReader(x.value)
		switch string(x.oid) {
		case extCRLNumber:
			l.Number = r.Int(tlv.Integer)
		case extAuthorityKeyID:
			seq := r.Sub(tlv.Sequence)
			l.authorityKeyID = seq.OptionalValue(tlv.Context(0))
			r.Fail(seq.Err())
		default:
			if x.critical { // a delta or indirect list would be read wrongly
				return fmt.Errorf("critical extension %s is not known here", dotted(x.oid))
			}
			continue
		}
		if err := r.Close(); err != nil {
			return fmt.Errorf("extension %s: %w", dotted(x.oid), err)
		}
	}
	return list.Err()
}
