package trust

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/ident"
	"godwit/pki"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func saved(t *testing.T) (folder string, set *Set) {
	t.Helper()
	folder = t.TempDir()
	set, err := NewTest("test", []string{"smdp.example.com", "127.0.0.1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Save(folder, false); err != nil {
		t.Fatal(err)
	}
	return folder, set
}

func TestASetComesBackAsItWasSaved(t *testing.T) {
	folder, set := saved(t)
	back, err := Load(folder, "test")
	if err != nil {
		t.Fatal(err)
	}
	if back.Kind != Test || len(back.Members) != 2 || back.Members[0].Name != NIST {
		t.Fatalf("came back as %+v", back)
	}
	for _, m := range back.Members {
		was, _ := set.Member(m.Name)
		if string(m.Identity.CI.Raw) != string(was.Identity.CI.Raw) || m.Identity.OID() != oid || m.Issuer == nil || m.EUM == nil {
			t.Errorf("CI %s came back different", m.Name)
		}
		if err := m.Identity.Verify(now); err != nil {
			t.Errorf("CI %s: %v", m.Name, err)
		}
		// The chips of the EUM are believed.
		eid, _ := ident.NewEID(EIDPrefix + strings.Repeat("7", 22))
		chip, err := m.EUM.Issue(pki.Request{Role: pki.EUICC, EID: eid, NotBefore: now, Subject: pki.Subject{CommonName: "chip"}})
		if err != nil {
			t.Fatal(err)
		}
		roots, err := back.Roots()
		if err != nil {
			t.Fatal(err)
		}
		if chain, err := roots.VerifyEUICC(m.EUM.Certificate.Raw, chip.Certificate.Raw, m.Identity.ID(), now); err != nil || chain.EID != eid {
			t.Errorf("CI %s: chip %v, %v", m.Name, chain, err)
		}
	}
}

func TestSaveNeverOverwritesUnasked(t *testing.T) {
	folder, set := saved(t)
	if err := set.Save(folder, false); err == nil {
		t.Error("a set was overwritten")
	}
	before, _ := set.Member(NIST)
	serial := string(before.Identity.TLS.Certificate.Serial)
	if err := set.RenewTLS([]string{"other.example.com"}, now); err != nil {
		t.Fatal(err)
	}
	if err := set.Save(folder, true); err != nil {
		t.Fatal(err)
	}
	back, err := Load(folder, "test")
	if err != nil {
		t.Fatal(err)
	}
	after, _ := back.Member(NIST)
	if string(after.Identity.TLS.Certificate.Serial) == serial || after.Identity.TLS.Certificate.DNSNames[0] != "other.example.com" {
		t.Error("the TLS certificate was not renewed")
	}
	entries, _ := os.ReadDir(folder)
	if len(entries) != 1 {
		t.Errorf("%d entries are left in the folder, want the set alone", len(entries))
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		spoil      func(t *testing.T, dir string)
	}{
		{"a key that others may read", "chmod 600", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "nist", "dppb.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"a key of another certificate", "does not belong", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "nist", "dppb.key"), filepath.Join(dir, "nist", "dpauth.key")); err != nil {
				t.Fatal(err)
			}
		}},
		{"certificates of another CI", "issuer", func(t *testing.T, dir string) {
			for _, f := range []string{"dpauth.pem", "dpauth.key"} {
				content, err := os.ReadFile(filepath.Join(dir, "brainpool", f))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "nist", f), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a kind that is none", "kind", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "set.json"), []byte(`{"kind":"both"}`), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder, _ := saved(t)
			tt.spoil(t, filepath.Join(folder, "test"))
			if _, err := Load(folder, "test"); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
		})
	}
}
