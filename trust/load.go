package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"godwit/pki"
)

// List returns the sets of a folder in the order of their names.
func List(folder string) ([]*Set, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var sets []*Set
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		set, err := Load(folder, e.Name())
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// Load reads one set. It checks that keys belong to their certificates and that
// those come from their CI, but no dates: a server says at its start what has
// expired.
func Load(folder, name string) (*Set, error) {
	dir := filepath.Join(folder, name)
	content, err := os.ReadFile(filepath.Join(dir, "set.json"))
	if err != nil {
		return nil, fmt.Errorf("there is no set %q (`godwit pki show` lists those that there are): %w", name, err)
	}
	var file setFile
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, "set.json"), err)
	}
	if file.Kind != Test && file.Kind != Production {
		return nil, fmt.Errorf("read %s: kind is %q, want %s or %s", filepath.Join(dir, "set.json"), file.Kind, Test, Production)
	}
	set := &Set{Name: name, Kind: file.Kind}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		m, err := loadMember(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("set %s, CI %s: %w", name, e.Name(), err)
		}
		m.Name = e.Name()
		// The first is preferred where an eUICC leaves the choice. NIST costs a
		// server a thirtieth of what brainpool does.
		if m.Identity.Curve() == pki.P256 {
			set.Members = append([]*Member{m}, set.Members...)
			continue
		}
		set.Members = append(set.Members, m)
	}
	if len(set.Members) == 0 {
		return nil, fmt.Errorf("set %s holds no CI", name)
	}
	return set, nil
}

func loadMember(dir string) (*Member, error) {
	m := &Member{Identity: &pki.Identity{}}
	ci, err := loadCredential(dir, "ci")
	switch {
	case errors.Is(err, errNoKey): // somebody else's
	case err != nil:
		return nil, err
	default:
		if m.Issuer, err = pki.NewIssuer(ci); err != nil {
			return nil, fmt.Errorf("ci.pem: %w", err)
		}
	}
	certificates, err := os.ReadFile(filepath.Join(dir, "ci.pem"))
	if err != nil {
		return nil, err
	}
	list, err := pki.ParseCertificates(certificates)
	if err != nil {
		return nil, fmt.Errorf("ci.pem: %w", err)
	}
	m.Identity.CI, m.Former = list[0], list[1:]
	for _, p := range parts {
		c, err := loadCredential(dir, p.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.set(m, c)
	}
	eum, err := loadCredential(dir, "eum")
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoKey):
	case err != nil:
		return nil, err
	default:
		if m.EUM, err = pki.NewIssuer(eum); err != nil {
			return nil, fmt.Errorf("eum.pem: %w", err)
		}
	}
	if m.CRL, err = os.ReadFile(filepath.Join(dir, "crl.pem")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return m, m.Identity.Verify(time.Time{})
}

// errNoKey says that a certificate is there without its private key.
var errNoKey = errors.New("no private key")

// loadCredential reads name.pem and name.key.
func loadCredential(dir, name string) (*pki.Credential, error) {
	certificate, err := os.ReadFile(filepath.Join(dir, name+".pem"))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+".key")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w for %s.pem", errNoKey, name)
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others than its owner: chmod 600 it", path)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := pki.ParseCredential(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s.pem: %w", name, err)
	}
	return c, nil
}
