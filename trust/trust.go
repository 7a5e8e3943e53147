// Package trust keeps on disk what a server stands for: sets of CIs, each with
// the server's certificates and keys under it.
//
// A folder holds one directory per set, a set one directory per CI:
//
//	pki/test/set.json         what kind of trust it is
//	pki/test/nist/ci.pem      the CI, and after it the CI under former names;
//	                          ci.key beside it where the CI is ours
//	pki/test/nist/dpauth.pem  and dpauth.key, likewise dppb, tls, dsauth, dstls
//	pki/test/nist/eum.pem     and eum.key, where we also make eUICCs
//	pki/test/nist/crl.pem     what the CI has revoked, if anything
//
// A set is test trust or production trust, never both, and a listener serves
// one set.
package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"godwit/ident"
	"godwit/pki"
)

// A Kind tells test trust from production trust.
type Kind string

// The kinds.
const (
	Test       Kind = "test"       // its private keys may be known to anybody
	Production Kind = "production" // certified by the GSMA or an operator's own CI
)

// A Set is what one listener stands for.
type Set struct {
	Name    string
	Kind    Kind
	Members []*Member
}

// A Member is one CI of a set.
type Member struct {
	Name     string
	Identity *pki.Identity
	Issuer   *pki.Issuer // the CI with its private key; nil where it is not ours
	EUM      *pki.Issuer // the manufacturer under which we make software eUICCs; nil where there is none
	CRL      []byte      // nil where there is none
	// Former are certificates of the same CI key under names that the CI had
	// before. EUMs that were certified then are still in the field.
	Former []*pki.Certificate
}

// Identities returns the server's certificates under each CI.
func (s *Set) Identities() []*pki.Identity {
	identities := make([]*pki.Identity, len(s.Members))
	for i, m := range s.Members {
		identities[i] = m.Identity
	}
	return identities
}

// Roots returns the CIs of the set with what they have revoked.
func (s *Set) Roots() (*pki.Roots, error) {
	roots, err := pki.NewRoots()
	if err != nil {
		return nil, err
	}
	for _, m := range s.Members {
		if err := roots.Add(m.Identity.CI); err != nil {
			return nil, fmt.Errorf("set %s, CI %s: %w", s.Name, m.Name, err)
		}
		for _, former := range m.Former {
			if err := roots.Add(former); err != nil {
				return nil, fmt.Errorf("set %s, CI %s, former name: %w", s.Name, m.Name, err)
			}
		}
		if m.CRL != nil {
			if _, err := roots.AddCRL(m.CRL); err != nil {
				return nil, fmt.Errorf("set %s, revocation list of CI %s: %w", s.Name, m.Name, err)
			}
		}
	}
	return roots, nil
}

// Member returns the CI of that name.
func (s *Set) Member(name string) (*Member, bool) {
	i := slices.IndexFunc(s.Members, func(m *Member) bool { return m.Name == name })
	if i < 0 {
		return nil, false
	}
	return s.Members[i], true
}

// Credentials returns the server's own certificates under the CI, with their keys.
func (m *Member) Credentials() (own []*pki.Credential) {
	i := m.Identity
	for _, c := range []*pki.Credential{i.Auth, i.PB, i.TLS, i.DSAuth, i.DSTLS} {
		if c != nil {
			own = append(own, c)
		}
	}
	return own
}

// Names of the CIs of a private test set, one for each curve.
const (
	NIST      = "nist"
	Brainpool = "brainpool"
)

// EIDPrefix begins the EIDs that the EUM of a private test set may certify: the
// one of the published test cards.
const EIDPrefix = "89049032"

// oid is the registered ID of a private test SM-DP+.
const oid ident.OID = "2.999.10"

// NewTest makes a private test set: a CI of its own on each curve, and under it
// the server's certificates for hosts and an EUM.
func NewTest(name string, hosts []string, now time.Time) (*Set, error) {
	set := &Set{Name: name, Kind: Test}
	start := now.Add(-time.Hour).Truncate(time.Second) // clocks of lab machines differ
	for _, part := range []struct {
		name  string
		curve pki.Curve
	}{{NIST, pki.P256}, {Brainpool, pki.BrainpoolP256r1}} {
		ci, err := pki.NewTestCI(part.curve, pki.Request{
			Role: pki.CI, OID: "2.999.1", NotBefore: start,
			Subject: pki.Subject{Country: "XX", Organization: "Godwit", OrganizationalUnit: "TESTCERT", CommonName: "Godwit test CI " + part.name},
		})
		if err != nil {
			return nil, fmt.Errorf("make test CI %s: %w", part.name, err)
		}
		member := &Member{Name: part.name, Issuer: ci}
		member.Identity, err = ci.IssueIdentity(pki.Subject{Organization: "Godwit", CommonName: "Godwit SM-DP+"}, oid, hosts, start)
		if err != nil {
			return nil, fmt.Errorf("issue the server's certificates under test CI %s: %w", part.name, err)
		}
		member.EUM, err = ci.IssueEUM(pki.Request{
			OID: "2.999.5", EIDPrefix: EIDPrefix, NotBefore: start,
			Subject: pki.Subject{Country: "XX", Organization: "Godwit", CommonName: "Godwit test EUM"},
		})
		if err != nil {
			return nil, fmt.Errorf("issue the EUM certificate under test CI %s: %w", part.name, err)
		}
		set.Members = append(set.Members, member)
	}
	return set, nil
}

// RenewTLS issues TLS certificates for other hosts, where the CI is ours.
func (s *Set) RenewTLS(hosts []string, now time.Time) error {
	for _, m := range s.Members {
		if m.Issuer == nil {
			return fmt.Errorf("the private key of CI %s is not here: ask its owner for a TLS certificate, then import that", m.Name)
		}
		tls, err := m.Issuer.Issue(pki.Request{
			Role: pki.DPTLS, OID: m.Identity.OID(), Hosts: hosts, NotBefore: now.Add(-time.Hour).Truncate(time.Second),
			Subject: pki.Subject{Organization: "Godwit", CommonName: hosts[0]},
		})
		if err != nil {
			return fmt.Errorf("issue TLS certificate under CI %s: %w", m.Name, err)
		}
		m.Identity.TLS = tls
	}
	return nil
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// setFile is what set.json holds.
type setFile struct {
	Kind Kind `json:"kind"`
}

// Save writes a set into the folder. It appears there whole or not at all; a
// set of that name is replaced when replace is given and otherwise refused.
func (s *Set) Save(folder string, replace bool) (err error) {
	if !validName.MatchString(s.Name) {
		return fmt.Errorf("the name of a set is made of a-z, 0-9 and hyphens, not %q", s.Name)
	}
	if s.Kind != Test && s.Kind != Production {
		return fmt.Errorf("a set is of kind %s or %s, not %q", Test, Production, s.Kind)
	}
	target := filepath.Join(folder, s.Name)
	if _, err := os.Stat(target); err == nil && !replace {
		return fmt.Errorf("there is a set %q already in %s", s.Name, folder)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(folder, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	content, err := json.MarshalIndent(setFile{Kind: s.Kind}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(fresh, "set.json"), append(content, '\n'), 0o644); err != nil {
		return err
	}
	for _, m := range s.Members {
		if err := m.save(filepath.Join(fresh, m.Name)); err != nil {
			return fmt.Errorf("write CI %s of set %s: %w", m.Name, s.Name, err)
		}
	}
	if !replace {
		return os.Rename(fresh, target)
	}
	old := fresh + "-old"
	defer os.RemoveAll(old)
	if err := os.Rename(target, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(fresh, target)
}

// part is one pair of files of a member.
type part struct {
	name string
	get  func(m *Member) *pki.Credential
	set  func(m *Member, c *pki.Credential)
}

// parts lists the credentials of a member by file name.
var parts = []part{
	{"dpauth", func(m *Member) *pki.Credential { return m.Identity.Auth }, func(m *Member, c *pki.Credential) { m.Identity.Auth = c }},
	{"dppb", func(m *Member) *pki.Credential { return m.Identity.PB }, func(m *Member, c *pki.Credential) { m.Identity.PB = c }},
	{"tls", func(m *Member) *pki.Credential { return m.Identity.TLS }, func(m *Member, c *pki.Credential) { m.Identity.TLS = c }},
	{"dsauth", func(m *Member) *pki.Credential { return m.Identity.DSAuth }, func(m *Member, c *pki.Credential) { m.Identity.DSAuth = c }},
	{"dstls", func(m *Member) *pki.Credential { return m.Identity.DSTLS }, func(m *Member, c *pki.Credential) { m.Identity.DSTLS = c }},
}

func (m *Member) save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	write := func(name string, c *pki.Credential) error {
		if err := os.WriteFile(filepath.Join(dir, name+".pem"), c.Certificate.PEM(), 0o644); err != nil {
			return err
		}
		key, err := pki.MarshalKey(c.Key)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name+".key"), key, 0o600)
	}
	for _, p := range parts {
		if c := p.get(m); c != nil {
			if err := write(p.name, c); err != nil {
				return err
			}
		}
	}
	if m.EUM != nil {
		if err := write("eum", m.EUM.Credential); err != nil {
			return err
		}
	}
	if m.CRL != nil {
		if err := os.WriteFile(filepath.Join(dir, "crl.pem"), m.CRL, 0o644); err != nil {
			return err
		}
	}
	if m.Issuer != nil {
		if err := write("ci", m.Issuer.Credential); err != nil {
			return err
		}
	}
	ci := m.Identity.CI.PEM()
	for _, former := range m.Former {
		ci = append(ci, former.PEM()...)
	}
	return os.WriteFile(filepath.Join(dir, "ci.pem"), ci, 0o644)
}
