package trust

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"godwit/pki"
)

// crlLife is how long a revocation list of our own says that it is good. Nothing
// here enforces it: an eUICC has no clock and the server reads its own lists.
const crlLife = 10 * 365 * 24 * time.Hour

// Block has a certificate refused from now on: the CI that issued it puts it on
// its revocation list. That takes the CI's private key; where it is somebody
// else's, its owner revokes and [Set.AddCRL] takes the list. An eUICC's own
// certificate cannot be blocked so, because its EUM has no list: block the
// EUM, or cancel the orders of the EID.
func (s *Set) Block(c *pki.Certificate, now time.Time) (*Member, error) {
	m := s.issuerOf(c)
	if m == nil {
		return nil, fmt.Errorf("no CI of set %s issued %s", s.Name, c.Subject)
	}
	if m.Issuer == nil {
		return nil, fmt.Errorf("the private key of CI %s is not here: ask its owner to revoke the certificate, then add the CI's list", m.Name)
	}
	number, entries := int64(1), []pki.Revocation(nil)
	now = now.UTC().Truncate(time.Second)
	if m.CRL != nil {
		old, err := m.readCRL(m.CRL)
		if err != nil {
			return nil, err
		}
		if _, already := old.Revoked(c); already {
			return m, nil
		}
		number, entries = old.Number+1, old.Entries()
		if now.Before(old.ThisUpdate) {
			now = old.ThisUpdate // a clock that was put back must not make the list older
		}
	}
	entries = append(entries, pki.Revocation{Serial: c.Serial, At: now})
	der, err := m.Issuer.IssueCRL(number, entries, now, now.Add(crlLife))
	if err != nil {
		return nil, err
	}
	m.CRL = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	return m, nil
}

// AddCRL takes a revocation list of one of the CIs of the set.
func (s *Set) AddCRL(list []byte) (*Member, *pki.RevocationList, error) {
	var last error
	for _, m := range s.Members {
		roots, err := pki.NewRoots(append(slices.Clone(m.Former), m.Identity.CI)...)
		if err != nil {
			return nil, nil, err
		}
		if m.CRL != nil {
			if _, err := roots.AddCRL(m.CRL); err != nil {
				return nil, nil, fmt.Errorf("revocation list of CI %s: %w", m.Name, err)
			}
		}
		added, err := roots.AddCRL(list)
		if err != nil {
			if p, ok := pki.AsProblem(err); !ok || p.Check != pki.CheckSignature {
				return nil, nil, err
			}
			last = err
			continue
		}
		m.CRL = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: added.Raw})
		return m, added, nil
	}
	return nil, nil, last
}

// readCRL reads a list of this CI.
func (m *Member) readCRL(list []byte) (*pki.RevocationList, error) {
	roots, err := pki.NewRoots(append(slices.Clone(m.Former), m.Identity.CI)...)
	if err != nil {
		return nil, err
	}
	return roots.AddCRL(list)
}

// ReadCRL returns what the CI has revoked, nil when it has no list.
func (m *Member) ReadCRL() (*pki.RevocationList, error) {
	if m.CRL == nil {
		return nil, nil
	}
	return m.readCRL(m.CRL)
}

// issuerOf returns the CI of the set that issued a certificate.
func (s *Set) issuerOf(c *pki.Certificate) *Member {
	n := slices.IndexFunc(s.Members, func(m *Member) bool {
		return bytes.Equal(m.Identity.ID(), c.AuthorityKeyID) && m.Identity.CI.PublicKey.Verify(c.TBS, c.Signature)
	})
	if n < 0 {
		return nil
	}
	return s.Members[n]
}
