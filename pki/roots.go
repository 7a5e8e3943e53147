package pki

import (
	"bytes"
	"crypto/sha256"
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

	generation int // changes whenever trust does
}

// A root is one CI key. A CI that was renamed has a certificate for each name:
// eUICCs certified under the old one live for decades.
type root struct {
	id           []byte // subject key identifier
	certificates []*Certificate
	revoked      *RevocationList
}

// issuerOf returns the certificate that bears the name which c says issued it,
// or any when none does.
func (r *root) issuerOf(c *Certificate) *Certificate {
	for _, ci := range r.certificates {
		if bytes.Equal(ci.Subject.Raw, c.Issuer.Raw) {
			return ci
		}
	}
	return r.certificates[0]
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

// Add trusts one more CI. A certificate of a key and a name that are known
// already replaces the old one, as at a renewal; one of a known key under
// another name is trusted beside it.
func (r *Roots) Add(ci *Certificate) error {
	if err := checkRoot(ci); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	known := r.find(ci.SubjectKeyID)
	if known == nil {
		r.list = append(r.list, &root{id: ci.SubjectKeyID, certificates: []*Certificate{ci}})
		return nil
	}
	if !known.certificates[0].PublicKey.Equal(ci.PublicKey) {
		return problem(CI, CheckRoot, "%s has the key identifier of %s and another key", ci.Subject, known.certificates[0].Subject)
	}
	for n, old := range known.certificates {
		if bytes.Equal(old.Subject.Raw, ci.Subject.Raw) {
			known.certificates[n] = ci
			return nil
		}
	}
	known.certificates = append(known.certificates, ci)
	return nil
}

// IDs returns the subject key identifiers of the CIs, as euiccInfo1 lists them.
func (r *Roots) IDs() [][]byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ids := make([][]byte, 0, len(r.list))
	for _, ci := range r.list {
		ids = append(ids, ci.id)
	}
	return ids
}

// Lookup returns the trusted CI with the given subject key identifier, or nil.
func (r *Roots) Lookup(id []byte) *Certificate {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if ci := r.find(id); ci != nil {
		return ci.certificates[0]
	}
	return nil
}

// Certificates returns the trusted CIs.
func (r *Roots) Certificates() []*Certificate {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*Certificate
	for _, ci := range r.list {
		out = append(out, ci.certificates...)
	}
	return out
}

func (r *Roots) find(id []byte) *root {
	i := slices.IndexFunc(r.list, func(ci *root) bool { return bytes.Equal(ci.id, id) })
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
// does in authenticateClient: EUM certificate by a trusted CI, eUICC
// certificate by the EUM and within what the CI permitted the EUM. The error is
// a [*Problem].
//
// ci, if not nil, is the subject key identifier of the CI that the eUICC was
// asked to use (euiccCiPKIdToBeUsed); a chain to another trusted CI is refused
// then.
func (r *Roots) VerifyEUICC(eum, euicc, ci []byte, now time.Time) (*Chain, error) {
	above, p := r.verifyEUM(eum, ci, now)
	if p != nil {
		return nil, p
	}
	leaf, err := ParseCertificate(euicc)
	if err != nil {
		return nil, problem(EUICC, CheckParse, "%v", err)
	}
	if p := checkIssued(EUICC, leaf, above.eum, now); p != nil {
		return nil, p
	}
	eid, err := leaf.EID()
	if err != nil {
		return nil, problem(EUICC, CheckNameConstraint, "%v", err)
	}
	return &Chain{CI: above.ci, EUM: above.eum, EUICC: leaf, EID: eid}, nil
}

// verifyEUM verifies the certificate of an eUICC manufacturer. There are few of
// them and each vouches for millions of eUICCs, so those that have passed are
// remembered.
func (r *Roots) verifyEUM(der, ci []byte, now time.Time) (verifiedEUM, *Problem) {
	r.mu.RLock()
	known, ok := r.eums.get(der)
	generation := r.generation
	r.mu.RUnlock()
	if ok && (ci == nil || bytes.Equal(ci, known.ci.SubjectKeyID)) {
		return known, checkValidity(EUM, known.eum, now)
	}
	c, root, p := r.verifyBelow(EUM, der, ci, now)
	if p != nil {
		return verifiedEUM{}, p
	}
	fresh := verifiedEUM{eum: c, ci: root}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation == generation { // nobody took trust away while this one was checked
		r.eums.put(der, fresh)
	}
	return fresh, nil
}

// VerifyServer verifies a certificate directly below a CI without a clock, as
// an eUICC does with DPauth and DPpb. ci, if not nil, is the subject key
// identifier of the only CI to accept. The error is a [*Problem].
func (r *Roots) VerifyServer(role Role, der, ci []byte) (*Certificate, error) {
	c, _, p := r.verifyBelow(role, der, ci, time.Time{})
	if p != nil {
		return nil, p
	}
	return c, nil
}

// VerifyTLS verifies a server's TLS certificate for a host, as an LPA does: role
// is [DPTLS] or [DSTLS], and 0 accepts both. host has no port. The error is a
// [*Problem].
func (r *Roots) VerifyTLS(role Role, der []byte, host string, now time.Time) (*Certificate, error) {
	if role == 0 {
		role = DPTLS
		if c, err := ParseCertificate(der); err == nil && c.Role() == DSTLS {
			role = DSTLS
		}
	}
	c, _, p := r.verifyBelow(role, der, nil, now)
	if p != nil {
		return nil, p
	}
	if p := checkHost(role, c, host); p != nil {
		return nil, p
	}
	return c, nil
}

// verifyBelow verifies a certificate that a CI has issued itself and returns it
// with its CI.
func (r *Roots) verifyBelow(role Role, der, ci []byte, now time.Time) (c, above *Certificate, p *Problem) {
	c, err := ParseCertificate(der)
	if err != nil {
		return nil, nil, problem(role, CheckParse, "%v", err)
	}
	if len(c.AuthorityKeyID) == 0 {
		return nil, nil, problem(role, CheckIssuer, "it does not name its issuer's key")
	}
	r.mu.RLock()
	var revoked *RevocationList
	if found := r.find(c.AuthorityKeyID); found != nil {
		above, revoked = found.issuerOf(c), found.revoked
	}
	r.mu.RUnlock()
	if above == nil {
		return nil, nil, problem(role, CheckRoot, "its CI %X (%s) is not trusted here", c.AuthorityKeyID, c.Issuer)
	}
	if ci != nil && !bytes.Equal(ci, above.SubjectKeyID) {
		return nil, nil, problem(role, CheckRoot, "its CI is %X, but %X was asked for", above.SubjectKeyID, ci)
	}
	if p := checkIssued(role, c, above, now); p != nil {
		return nil, nil, p
	}
	if revoked != nil {
		if at, ok := revoked.Revoked(c); ok {
			return nil, nil, problem(role, CheckRevocation, "its CI revoked it on %s", at.Format(time.RFC3339))
		}
	}
	return c, above, nil
}

// AddCRL takes a revocation list of one of the CIs, in PEM or DER, after
// checking its signature. A list that is older than the one in use is refused.
// The error is a [*Problem] of role [CI].
func (r *Roots) AddCRL(b []byte) (*RevocationList, error) {
	l, err := parseCRL(b)
	if err != nil {
		return nil, problem(CI, CheckParse, "revocation list: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ci := range r.list {
		if !slices.ContainsFunc(ci.certificates, l.signedBy) {
			continue
		}
		if old := ci.revoked; old != nil && l.ThisUpdate.Before(old.ThisUpdate) {
			return nil, problem(CI, CheckValidity, "the revocation list of %s is older than the one of %s in use",
				l.ThisUpdate.Format(time.RFC3339), old.ThisUpdate.Format(time.RFC3339))
		}
		ci.revoked = l
		r.forget()
		return l, nil
	}
	return nil, problem(CI, CheckSignature, "no trusted CI signed the revocation list of %q", l.Issuer)
}

// forget drops what was verified under the trust of before.
func (r *Roots) forget() {
	r.generation++
	r.eums.clear()
}

// verifiedEUM is an EUM certificate that has passed every check but the one of
// its dates, which is made at each use.
type verifiedEUM struct{ eum, ci *Certificate }

// maxEUMs bounds the memory that strangers can make the cache take. Fewer than
// fifty manufacturers are accredited.
const maxEUMs = 256

// An eumCache remembers verified EUM certificates by the SHA-256 of their octets.
type eumCache struct {
	verified map[[sha256.Size]byte]verifiedEUM
}

func (c *eumCache) get(der []byte) (verifiedEUM, bool) {
	v, ok := c.verified[sha256.Sum256(der)]
	return v, ok
}

func (c *eumCache) put(der []byte, v verifiedEUM) {
	if c.verified == nil {
		c.verified = make(map[[sha256.Size]byte]verifiedEUM)
	}
	if len(c.verified) >= maxEUMs {
		for victim := range c.verified { // any will do
			delete(c.verified, victim)
			break
		}
	}
	c.verified[sha256.Sum256(der)] = v
}

func (c *eumCache) clear() { clear(c.verified) }
