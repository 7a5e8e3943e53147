package trust

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/ident"
	"godwit/internal/reference"
	"godwit/pki"
)

// TestImportOfPublishedFolder makes a set of everything that SGP.26 published:
// two CIs, two SM-DP+s under each, and certificates that must not be used.
func TestImportOfPublishedFolder(t *testing.T) {
	folder := filepath.Join(reference.Dir(t), "sgp26")
	at := now.AddDate(0, 0, 11)
	set, findings, err := Import{Name: "sgp26", Kind: Test, Now: at}.Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Members) != 2 {
		t.Fatalf("%d CIs", len(set.Members))
	}
	for name, id := range map[string]string{NIST: published[0], Brainpool: published[1]} {
		m, ok := set.Member(name)
		if !ok || fmt.Sprintf("%X", m.Identity.ID()) != id || m.Identity.OID() != "2.999.10" || m.Issuer == nil || m.EUM == nil || m.Identity.TLS == nil {
			t.Fatalf("CI %s: %+v", name, m)
		}
		if err := m.Identity.Verify(at); err != nil {
			t.Errorf("CI %s: %v", name, err)
		}
		if y := m.Identity.TLS.Certificate.NotAfter.Year(); y != 2029 {
			t.Errorf("CI %s: the TLS certificate taken ends in %d, the other one lasts until 2029", name, y)
		}
	}
	if m, _ := set.Member(NIST); m.Identity.CI.NotAfter.Year() != 2059 {
		t.Errorf("the older certificate of the CI was taken: it ends in %d", m.Identity.CI.NotAfter.Year())
	}
	used := 0
	for _, f := range findings {
		if f.Used {
			used++
		}
		if f.Used != (f.Why == "") || f.What == "" {
			t.Errorf("finding %+v", f)
		}
		if f.Used && strings.Contains(f.File, "invalid") {
			t.Errorf("an invalid certificate was used: %+v", f)
		}
	}
	if used < 20 {
		t.Errorf("only %d of %d used", used, len(findings))
	}
	// What is saved comes back.
	dir := t.TempDir()
	if err := set.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	if back, err := Load(dir, "sgp26"); err != nil || back.Kind != Test || len(back.Members) != 2 {
		t.Errorf("came back as %+v, %v", back, err)
	}

	second, _, err := Import{Name: "second", Kind: Test, OID: "2.999.12", Now: at}.Read(filepath.Join(folder, "nist"))
	if err != nil || second.Members[0].Identity.OID() != "2.999.12" || second.Members[0].Identity.TLS != nil {
		t.Errorf("the second SM-DP+: %+v, %v", second, err)
	}
	if _, _, err := (Import{Name: "live", Kind: Production, Now: at}).Read(folder); err == nil || !strings.Contains(err.Error(), "only be test trust") {
		t.Errorf("the published CI as production trust: %v", err)
	}
}

// own is a CI of an operator's own with a server under it, as files.
func own(t *testing.T, dir string, edit func(name string, content []byte) []byte) *pki.Issuer {
	t.Helper()
	ci, err := pki.NewTestCI(pki.P256, pki.Request{NotBefore: now, Subject: pki.Subject{Organization: "Operator", CommonName: "Operator CI"}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := ci.IssueIdentity(pki.Subject{Organization: "Operator", CommonName: "SM-DP+"}, "1.3.6.1.4.1.99999.1", []string{"rsp.example.com"}, now)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"root.cer": ci.Certificate.Raw, "a/readme.txt": []byte("hello")}
	for name, c := range map[string]*pki.Credential{"a/one": id.Auth, "b/two": id.PB, "b/three": id.TLS} {
		key, err := pki.MarshalKey(c.Key)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = append(c.Certificate.PEM(), key...) // both in one file
	}
	crl, err := ci.IssueCRL(1, nil, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	files["list.crl"] = crl
	for name, content := range files {
		if edit != nil {
			if content = edit(name, content); content == nil {
				continue
			}
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return ci
}

func TestImportOfOwnFiles(t *testing.T) {
	dir := t.TempDir()
	own(t, dir, nil)
	set, findings, err := Import{Name: "live", Kind: Production, Now: now}.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := set.Member(NIST)
	if !ok || set.Kind != Production || m.Issuer != nil || m.EUM != nil || m.CRL == nil || m.Identity.OID() != "1.3.6.1.4.1.99999.1" || m.Identity.TLS == nil {
		t.Errorf("set %+v, member %+v", set, m)
	}
	if len(findings) != 8 {
		t.Errorf("%d findings: %+v", len(findings), findings)
	}
	if roots, err := set.Roots(); err != nil || len(roots.IDs()) != 1 {
		t.Errorf("roots: %v", err)
	}
}

func TestImportRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		imp  Import
		edit func(name string, content []byte) []byte
		says string
	}{
		{"no kind", Import{Now: now}, nil, "say whether"},
		{"no CI", Import{Kind: Test, Now: now}, func(name string, content []byte) []byte {
			if name == "root.cer" {
				return nil
			}
			return content
		}, "no CI certificate"},
		{"no DPpb", Import{Kind: Test, Now: now}, func(name string, content []byte) []byte {
			if name == "b/two" {
				return nil
			}
			return content
		}, "DPauth and a DPpb"},
		{"no key", Import{Kind: Test, Now: now}, func(name string, content []byte) []byte {
			if name == "a/one" {
				return content[:strings.Index(string(content), "-----BEGIN PRIVATE")]
			}
			return content
		}, "private keys of both"},
		{"another SM-DP+", Import{Kind: Test, Now: now, OID: "2.999.10"}, nil, "2.999.10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			own(t, dir, tt.edit)
			if set, _, err := tt.imp.Read(dir); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%+v, error %v, want one that says %q", set, err, tt.says)
			}
		})
	}
	if _, _, err := (Import{Kind: Test, Now: now}).Read(filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("a folder that is not there was read")
	}
}

func TestTwoServersNeedAChoice(t *testing.T) {
	dir := t.TempDir()
	ci := own(t, dir, nil)
	other, err := ci.IssueIdentity(pki.Subject{Organization: "Operator", CommonName: "second"}, "1.3.6.1.4.1.99999.2", []string{"b.example.com"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range []*pki.Credential{other.Auth, other.PB, other.TLS} {
		key, err := pki.MarshalKey(c.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("second", n)), append(c.Certificate.PEM(), key...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := (Import{Kind: Production, Now: now}).Read(dir); err == nil || !strings.Contains(err.Error(), "--oid") {
		t.Errorf("error %v", err)
	}
	set, _, err := Import{Kind: Production, Now: now, OID: "1.3.6.1.4.1.99999.2"}.Read(dir)
	if err != nil || set.Members[0].Identity.TLS.Certificate.DNSNames[0] != "b.example.com" {
		t.Errorf("%+v, %v", set, err)
	}
}

// TestBlock blocks two certificates one after the other and takes a list from
// elsewhere.
func TestBlock(t *testing.T) {
	folder, set := saved(t)
	m, _ := set.Member(NIST)
	chip, err := m.EUM.Issue(pki.Request{Role: pki.EUICC, EID: ident.EID(EIDPrefix + "123451234512345678901235"), NotBefore: now})
	if err != nil {
		t.Fatal(err)
	}
	verify := func() error {
		roots, err := set.Roots()
		if err != nil {
			t.Fatal(err)
		}
		_, err = roots.VerifyEUICC(m.EUM.Certificate.Raw, chip.Certificate.Raw, nil, now)
		return err
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	if _, err := set.Block(m.Identity.Auth.Certificate, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // blocking twice changes nothing
		if by, err := set.Block(m.EUM.Certificate, now); err != nil || by != m {
			t.Fatal(err)
		}
	}
	list, err := m.ReadCRL()
	if err != nil || list.Len() != 2 || list.Number != 2 {
		t.Fatalf("list %+v, %v", list, err)
	}
	if p, ok := pki.AsProblem(verify()); !ok || p.Check != pki.CheckRevocation {
		t.Errorf("blocked EUM: %v", p)
	}
	if _, err := set.Block(chip.Certificate, now); err == nil {
		t.Error("an eUICC certificate went on the list of a CI that did not issue it")
	}
	if err := set.Save(folder, true); err != nil {
		t.Fatal(err)
	}
	back, err := Load(folder, set.Name)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := back.Member(NIST); again == nil || len(again.CRL) == 0 {
		t.Error("the list was not kept")
	}

	newer, err := m.Issuer.IssueCRL(3, nil, now.Add(2*time.Hour), now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if by, l, err := set.AddCRL(newer); err != nil || by != m || l.Number != 3 || verify() != nil {
		t.Errorf("newer list: %+v, %v, %v", l, err, verify())
	}
	older, err := m.Issuer.IssueCRL(2, nil, now, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := set.AddCRL(older); err == nil {
		t.Error("an older list was taken")
	}
	stranger := own(t, t.TempDir(), nil)
	foreign, err := stranger.IssueCRL(9, nil, now.AddDate(1, 0, 0), now.AddDate(2, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := set.AddCRL(foreign); err == nil {
		t.Error("a stranger's list was taken")
	}
	m.Issuer = nil
	if _, err := set.Block(m.Identity.PB.Certificate, now); err == nil || !strings.Contains(err.Error(), "ask its owner") {
		t.Errorf("blocking without the CI's key: %v", err)
	}
}
