package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/internal/reference"
	"godwit/pki"
	"godwit/trust"
)

// pkiRun runs the command line and wants the given exit code.
func pkiRun(t *testing.T, exit int, args ...string) {
	t.Helper()
	if got := run(append([]string{"pki"}, args...)); got != exit {
		t.Fatalf("godwit pki %s: exit %d, want %d", strings.Join(args, " "), got, exit)
	}
}

func TestPKICommands(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	folder := filepath.Join(data, "pki")
	load := func(name string) *trust.Set {
		t.Helper()
		set, err := trust.Load(folder, name)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	pkiRun(t, exitFailed, "show", "--data", data)
	pkiRun(t, 0, "init", "--data", data, "--host", "rsp.example.com", "--host", "127.0.0.1")
	pkiRun(t, exitFailed, "init", "--data", data) // never over what is there
	m, _ := load("test").Member(trust.NIST)
	if got := m.Identity.TLS.Certificate.DNSNames; len(got) != 1 || got[0] != "rsp.example.com" {
		t.Errorf("TLS certificate for %v", got)
	}

	pkiRun(t, 0, "issue", "tls", "--data", data, "new.example.com")
	renewed, _ := load("test").Member(trust.NIST)
	if got := renewed.Identity.TLS.Certificate.DNSNames; len(got) != 1 || got[0] != "new.example.com" {
		t.Errorf("renewed TLS certificate for %v", got)
	}
	if string(renewed.Identity.Auth.Certificate.Raw) != string(m.Identity.Auth.Certificate.Raw) {
		t.Error("renewing TLS changed DPauth")
	}

	base := filepath.Join(data, "operator")
	pkiRun(t, 0, "issue", "operator", "--data", data, "--out", base, "op.example.com")
	pkiRun(t, exitFailed, "issue", "operator", "--data", data, "--out", base, "op.example.com") // never over what is there
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(m.Identity.CI.PEM())
	content, err := os.ReadFile(base + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	operator, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := operator.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(base + ".key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file %v, %v", info, err)
	}

	chips := filepath.Join(data, "chip")
	pkiRun(t, exitFailed, "issue", "euicc", "--data", data, "--out", chips, "89049032123451234512345678901236")
	pkiRun(t, 0, "issue", "euicc", "--data", data, "--out", chips, "89049032123451234512345678901235")
	verify := func() error {
		roots, err := load("test").Roots()
		if err != nil {
			t.Fatal(err)
		}
		der := func(name string) []byte {
			content, err := os.ReadFile(filepath.Join(chips, trust.NIST, name))
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode(content)
			return block.Bytes
		}
		_, err = roots.VerifyEUICC(der("eum.pem"), der("euicc.pem"), nil, time.Now())
		return err
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	pkiRun(t, 0, "block", "--data", data, filepath.Join(folder, "test", trust.NIST, "eum.pem"))
	if p, ok := pki.AsProblem(verify()); !ok || p.Check != pki.CheckRevocation {
		t.Errorf("after the EUM was blocked: %v", p)
	}
	pkiRun(t, exitFailed, "block", "--data", data, base+".key")

	var out strings.Builder
	if err := printSets(&out, []*trust.Set{load("test")}, time.Now().AddDate(3, 0, -20)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"set test (test trust)", "1 revoked", "REVOKED", "EXPIRES IN 1", "EIDs 89049032…", "for new.example.com"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	pkiRun(t, 0, "show", "--data", data, "--json")
	pkiRun(t, exitFailed, "show", "--data", data, "nothing")
}

func TestPKIImport(t *testing.T) {
	published := filepath.Join(reference.Dir(t), "sgp26")
	data := t.TempDir()
	pkiRun(t, exitFailed, "import", "--data", data, "--set", "live", "--production", published)
	pkiRun(t, exitFailed, "import", "--data", data, "--set", "sgp26", "--oid", "2.x", published)
	pkiRun(t, 0, "import", "--data", data, "--set", "sgp26", "--dry-run", published)
	if _, err := trust.Load(filepath.Join(data, "pki"), "sgp26"); err == nil {
		t.Error("a dry run wrote a set")
	}
	pkiRun(t, 0, "import", "--data", data, "--set", "sgp26", published)
	pkiRun(t, exitFailed, "import", "--data", data, "--set", "sgp26", published)
	pkiRun(t, 0, "import", "--data", data, "--set", "sgp26", "--replace", "--oid", "2.999.12", filepath.Join(published, "nist"))
	set, err := trust.Load(filepath.Join(data, "pki"), "sgp26")
	if err != nil || set.Kind != trust.Test || len(set.Members) != 1 || set.Members[0].Identity.OID() != "2.999.12" {
		t.Errorf("%+v, %v", set, err)
	}
}
