package pki

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"godwit/ident"
)

// Roots are the CIs that are trusted, with their revocation lists. It is safe
// for use by many goroutines.
type Roots struct {
	mu   sync.RWMutex
	list []*root // in the order in which they were added
	eums eumCache
}

type root struct {
	certificate *Certificate
	revoked     *RevocationList
}

// NewRoots returns a set of trusted CIs. Each must be a self-signed certificate
// with the policy and the key usage of a CI.
func NewRoots(cis ...*Certificate) (*Roots, error) {
	r := &Roots{}
	for _, ci := range cis {
		if err := r.Add(ci); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Add trusts one more CI. Adding one whose key is known already replaces its
// certificate, as at a renewal.
func (r *Roots) Add(ci *Certificate) error {
	if err := checkRoot(ci); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.eums.clear()
	for _, old := range r.list {
		if bytes.Equal(old.certificate.SubjectKeyID, ci.SubjectKeyID) {
			old.certificate = ci
			return nil
		}
	}
	r.list = append(r.list, &root{certificate: ci})
	return nil
}

// IDs returns the subject key identifiers of the CIs, as euiccInfo1 lists them.
func (r *Roots) IDs() [][]byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ids := make([][]byte, 0, len(r.list))
	for _, ci := range r.list {
		ids = append(ids, ci.certificate.SubjectKeyID)
	}
	return ids
}

// Lookup returns the trusted CI with the given subject key identifier, or nil.
func (r *Roots) Lookup(id []byte) *Certificate {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if ci := r.find(id); ci != nil {
		return ci.certificate
	}
	return nil
}

// Certificates returns the trusted CIs.
func (r *Roots) Certificates() []*Certificate {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]*Certificate, 0, len(r.list))
	for _, ci := range r.list {
		out = append(out, ci.certificate)
	}
	return out
}

func (r *Roots) find(id []byte) *root {
	i := slices.IndexFunc(r.list, func(ci *root) bool { return bytes.Equal(ci.certificate.SubjectKeyID, id) })
	if i < 0 {
		return nil
	}
	return r.list[i]
}

// A Chain is a verified chain from a trusted CI to an eUICC. The only way to one
// is [Roots.VerifyEUICC].
type Chain struct {
	CI, EUM, EUICC *Certificate
	EID            ident.EID
}

// VerifyEUICC verifies the chain of an eUICC at the given time, as a server
// does in authenticateClient: EUM certificate by a trusted CI, eUICC certificate
// by the EUM, within the EUM's name constraints. The error is a [*Problem].
//
// ci, if not nil, is the subject key identifier of the CI that the eUICC was
// asked to use (euiccCiPKIdToBeUsed); a chain to another trusted CI is refused then.
func (r *Roots) VerifyEUICC(eum, euicc, ci []byte, now time.Time) (*Chain, error) {
	return nil, nil
}

// VerifyServer verifies a certificate directly below a CI without a clock, as
// an eUICC does with DPauth and DPpb (SGP.22, 5.7.13). ci, if not nil, is the subject
// key identifier of the only CI to accept.
func (r *Roots) VerifyServer(role Role, der, ci []byte) (*Certificate, error) {
	return nil, nil
}

// VerifyTLS verifies a server's TLS certificate for a host, as an LPA does: role is
// [DPTLS] or [DSTLS], and 0 to accept both. The error is a [*Problem].
func (r *Roots) VerifyTLS(role Role, der []byte, host string, now time.Time) (*Certificate, error) {
	return nil, nil
}

// AddCRL takes a revocation list of one of the CIs in DER or PEM, after checking its
// signature. A list older than the one in use is refused.
func (r *Roots) AddCRL(b []byte) (*RevocationList, error) { return nil, nil }
