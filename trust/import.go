package trust

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"godwit/ident"
	"godwit/pki"
)

// An Import says what is to be made of files from elsewhere.
type Import struct {
	Name string    // of the set
	Kind Kind      // test or production
	OID  ident.OID // which SM-DP+ to be, where the files hold several; "" where they hold one
	Now  time.Time
}

// A Finding is what became of one certificate, key or list among the files.
type Finding struct {
	File string
	What string // "DPauth certificate of …"
	Used bool
	Why  string // why it was not used
}

// Limits of what an import reads. A folder named by accident is not read whole.
const (
	maxFiles    = 10_000
	maxFileSize = 4 << 20
)

// published are the CIs of SGP.26, whose private keys everybody has.
var published = []string{
	"F54172BDF98A95D65CBEB88A38A1C11D800A85C3",
	"C0BC70BA36929D43B467FF57570530E57AB8FCD8",
}

// Read makes a set of the certificates and keys in files and folders, whatever
// they are called and whatever else is there: certificates are known by their
// roles, keys by the certificates that they belong to. It reports on everything
// that it recognised. The set is not saved.
func (i Import) Read(paths ...string) (*Set, []Finding, error) {
	if i.Kind != Test && i.Kind != Production {
		return nil, nil, fmt.Errorf("say whether this is %s trust or %s trust", Test, Production)
	}
	b := &basket{Import: i}
	for _, path := range paths {
		if err := b.collect(path); err != nil {
			return nil, nil, err
		}
	}
	set, err := b.set()
	slices.SortStableFunc(b.findings, func(x, y *Finding) int { return strings.Compare(x.File, y.File) })
	findings := make([]Finding, len(b.findings))
	for n, f := range b.findings {
		findings[n] = *f
	}
	return set, findings, err
}

// A basket is what an import has found so far.
type basket struct {
	Import
	files        int
	certificates []found
	keys         []foundKey
	lists        []foundList
	findings     []*Finding
}

type found struct {
	c *pki.Certificate
	f *Finding
}

type foundKey struct {
	signer crypto.Signer
	public *pki.PublicKey
	f      *Finding
}

type foundList struct {
	der []byte
	f   *Finding
}

// collect reads one file, or the files of a folder and the folders in it.
func (b *basket) collect(path string) error {
	return filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() && entry.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		if b.files++; b.files > maxFiles {
			return fmt.Errorf("more than %d files: name the folder that holds the certificates", maxFiles)
		}
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxFileSize {
			return nil // a broken link, a folder behind a link, or no certificate
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b.read(path, content)
		return nil
	})
}

// read takes everything out of one file that it recognises.
func (b *basket) read(path string, content []byte) {
	note := func(what string) *Finding {
		f := &Finding{File: path, What: what, Why: "nothing needs it"}
		b.findings = append(b.findings, f)
		return f
	}
	text := content
	for { // revocation lists in PEM
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if text = rest; block.Type == "X509 CRL" {
			b.lists = append(b.lists, foundList{block.Bytes, note("revocation list")})
		}
	}
	if list, err := pki.ParseCertificates(content); err == nil {
		for _, c := range list {
			b.certificates = append(b.certificates, found{c, note(describe(c))})
		}
	} else if bytes.Contains(content, []byte("BEGIN CERTIFICATE")) {
		note("certificate").Why = err.Error()
	}
	key, err := pki.ParseKey(content)
	switch {
	case err == nil:
		if public, err := pki.PublicKeyOf(key); err == nil {
			b.keys = append(b.keys, foundKey{key, public, note("private key, " + public.Curve().String())})
		}
	case bytes.Contains(content, []byte("PRIVATE KEY-----")):
		note("private key").Why = err.Error()
	}
	if strings.HasSuffix(path, ".crl") && !bytes.HasPrefix(content, []byte("-----")) {
		b.lists = append(b.lists, foundList{content, note("revocation list")})
	}
}

func describe(c *pki.Certificate) string {
	role := "certificate"
	if r := c.Role(); r != 0 {
		role = r.String() + " certificate"
	}
	s := role + " of " + c.Subject.String()
	if c.RegisteredID != "" {
		s += ", registered ID " + string(c.RegisteredID)
	}
	return s
}

// set puts the set together.
func (b *basket) set() (*Set, error) {
	set := &Set{Name: b.Name, Kind: b.Kind}
	cis := b.cis()
	if len(cis) == 0 {
		return nil, errors.New("there is no CI certificate among the files: a self-signed one with the policy 2.23.146.1.2.1.0")
	}
	var missing []error
	for _, group := range cis {
		id := fmt.Sprintf("%X", group[0].c.SubjectKeyID)
		if b.Kind == Production && slices.Contains(published, id) {
			return nil, fmt.Errorf("CI %s is the published test CI, whose private key everybody has: it can only be test trust", id)
		}
		m, err := b.member(group)
		if err != nil {
			missing = append(missing, fmt.Errorf("CI %s (%s): %w", id, group[0].c.Subject, err))
			continue
		}
		set.Members = append(set.Members, m)
	}
	if len(set.Members) == 0 {
		return nil, errors.Join(missing...)
	}
	slices.SortStableFunc(set.Members, func(x, y *Member) int { // as Load has them
		return int(x.Identity.Curve()) - int(y.Identity.Curve())
	})
	nameMembers(set.Members)
	return set, nil
}

// nameMembers names the first CI of each curve after the curve and further ones
// after their key.
func nameMembers(members []*Member) {
	taken := make(map[string]bool)
	for _, m := range members {
		m.Name = NIST
		if m.Identity.CI.PublicKey.Curve() == pki.BrainpoolP256r1 {
			m.Name = Brainpool
		}
		if taken[m.Name] {
			m.Name = fmt.Sprintf("%s-%x", m.Name, m.Identity.ID()[:4])
		}
		taken[m.Name] = true
	}
}

// cis returns the CI certificates by key, of each name the newest, newest first.
func (b *basket) cis() [][]found {
	var groups [][]found
	for _, candidate := range b.certificates {
		if candidate.c.Role() != pki.CI {
			continue
		}
		if _, err := pki.NewRoots(candidate.c); err != nil {
			candidate.f.Why = err.Error()
			continue
		}
		n := slices.IndexFunc(groups, func(g []found) bool { return g[0].c.PublicKey.Equal(candidate.c.PublicKey) })
		if n < 0 {
			groups = append(groups, []found{candidate})
			continue
		}
		groups[n] = append(groups[n], candidate)
	}
	for n, g := range groups {
		slices.SortStableFunc(g, func(x, y found) int { return y.c.NotBefore.Compare(x.c.NotBefore) })
		var names [][]byte
		groups[n] = slices.DeleteFunc(g, func(f found) bool {
			if slices.ContainsFunc(names, func(name []byte) bool { return bytes.Equal(name, f.c.Subject.Raw) }) {
				f.f.Why = "there is a newer certificate of this CI"
				return true
			}
			names = append(names, f.c.Subject.Raw)
			return false
		})
	}
	return groups
}

// member finds what belongs to one CI.
func (b *basket) member(group []found) (*Member, error) {
	m := &Member{Identity: &pki.Identity{CI: group[0].c}}
	roots, err := pki.NewRoots()
	if err != nil {
		return nil, err
	}
	for n, ci := range group {
		if err := roots.Add(ci.c); err != nil {
			return nil, err
		}
		if n > 0 {
			m.Former = append(m.Former, ci.c)
		}
	}
	oid, err := b.chooseOID(roots)
	if err != nil {
		return nil, err
	}
	for _, p := range []struct {
		role pki.Role
		oid  ident.OID
		into **pki.Credential
	}{
		{pki.DPAuth, oid, &m.Identity.Auth},
		{pki.DPPB, oid, &m.Identity.PB},
		{pki.DPTLS, oid, &m.Identity.TLS},
		{pki.DSAuth, "", &m.Identity.DSAuth},
		{pki.DSTLS, "", &m.Identity.DSTLS},
	} {
		*p.into = b.take(roots, p.role, p.oid)
	}
	for _, ci := range group {
		ci.f.Used, ci.f.Why = true, ""
	}
	if eum := b.take(roots, pki.EUM, ""); eum != nil {
		if m.EUM, err = pki.NewIssuer(eum); err != nil {
			return nil, err
		}
	}
	if key := b.key(group[0].c); key != nil {
		key.f.Used, key.f.Why = true, ""
		if m.Issuer, err = pki.NewIssuer(&pki.Credential{Certificate: group[0].c, Key: key.signer}); err != nil {
			return nil, err
		}
	}
	for _, l := range b.lists {
		if _, err := roots.AddCRL(l.der); err != nil {
			if l.f.Why != "" {
				l.f.Why = err.Error()
			}
			continue
		}
		m.CRL = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.der})
		l.f.Used, l.f.Why = true, ""
	}
	return m, m.Identity.Verify(time.Time{})
}

// chooseOID finds out which SM-DP+ the files are of: one with DPauth and DPpb
// and the keys of both. Of several the one that has a TLS certificate is taken,
// or the one that was asked for.
func (b *basket) chooseOID(roots *pki.Roots) (ident.OID, error) {
	var whole, withTLS []ident.OID
	for _, f := range b.candidates(roots, pki.DPAuth, "") {
		oid := f.c.RegisteredID
		if oid == "" || slices.Contains(whole, oid) || len(b.candidates(roots, pki.DPPB, oid)) == 0 {
			continue
		}
		whole = append(whole, oid)
		if len(b.candidates(roots, pki.DPTLS, oid)) > 0 {
			withTLS = append(withTLS, oid)
		}
	}
	switch {
	case b.OID != "":
		if !slices.Contains(whole, b.OID) {
			return "", fmt.Errorf("there are no DPauth and DPpb certificates with keys for the registered ID %s", b.OID)
		}
		return b.OID, nil
	case len(whole) == 0:
		return "", errors.New("it needs a DPauth and a DPpb certificate with the same registered ID, and the private keys of both")
	case len(whole) == 1:
		return whole[0], nil
	case len(withTLS) == 1:
		return withTLS[0], nil
	}
	return "", fmt.Errorf("there are several SM-DP+s, %v: say which one with --oid", whole)
}

// take uses the best certificate of a role that has its key, if there is one.
func (b *basket) take(roots *pki.Roots, role pki.Role, oid ident.OID) *pki.Credential {
	list := b.candidates(roots, role, oid)
	if len(list) == 0 {
		return nil
	}
	for _, other := range list[1:] {
		other.f.Why = "there is a certificate for the same that lasts as long or longer"
	}
	key := b.key(list[0].c)
	list[0].f.Used, list[0].f.Why = true, ""
	key.f.Used, key.f.Why = true, ""
	return &pki.Credential{Certificate: list[0].c, Key: key.signer}
}

// candidates returns the good certificates of a role whose keys are here, the
// best first: valid now, then the one that lasts longest. It notes why others
// are none.
func (b *basket) candidates(roots *pki.Roots, role pki.Role, oid ident.OID) []found {
	var list []found
	for _, f := range b.certificates {
		if f.c.Role() != role || f.f.Used {
			continue
		}
		if _, err := roots.VerifyServer(role, f.c.Raw, nil); err != nil {
			if p, ok := pki.AsProblem(err); !ok || p.Check != pki.CheckRoot || f.f.Why == "nothing needs it" {
				f.f.Why = err.Error()
			}
			continue
		}
		if oid != "" && f.c.RegisteredID != oid && (f.c.RegisteredID != "" || role != pki.DPTLS) {
			f.f.Why = "it is of another SM-DP+"
			continue
		}
		if b.key(f.c) == nil {
			f.f.Why = "its private key is not among the files"
			continue
		}
		list = append(list, f)
	}
	valid := func(c *pki.Certificate) int {
		if b.Now.Before(c.NotBefore) || b.Now.After(c.NotAfter) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(x, y found) int {
		if d := valid(x.c) - valid(y.c); d != 0 {
			return d
		}
		return y.c.NotAfter.Compare(x.c.NotAfter)
	})
	return list
}

func (b *basket) key(c *pki.Certificate) *foundKey {
	n := slices.IndexFunc(b.keys, func(k foundKey) bool { return k.public.Equal(c.PublicKey) })
	if n < 0 {
		return nil
	}
	return &b.keys[n]
}
