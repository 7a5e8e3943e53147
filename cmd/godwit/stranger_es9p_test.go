package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"godwit/db"
	"godwit/internal/reference"
	"godwit/rsp"
)

// es9pClient is pySim's ES9+ client with the published test eUICC's keys.
type es9pClient struct {
	t     *testing.T
	line  []string
	url   string
	tlsCA string // file with the CI of the TLS certificate
	curve string // of the eUICC's certificates: nist or brp
}

func (c es9pClient) run(args ...string) (string, error) {
	c.t.Helper()
	upper := strings.ToUpper(c.curve)
	return runStranger(c.t, c.line, append([]string{
		"--url", c.url, "--server-ca-cert", c.tlsCA, "--certificate-path", filepath.Join(reference.Dir(c.t), "sgp26", c.curve),
		"--euicc-certificate", "CERT_EUICC_ECDSA_" + upper + ".der", "--euicc-private-key", "SK_EUICC_ECDSA_" + upper + ".pem",
		"--eum-certificate", "CERT_EUM_ECDSA_" + upper + ".der", "--ci-certificate", "CERT_CI_ECDSA_" + upper + ".der",
	}, args...)...)
}

// download fetches a profile and compares the package that the client decrypted
// with the one that the server must have made.
func (c es9pClient) download(p *process, iccid, matchingID string, args ...string) {
	c.t.Helper()
	out := c.t.TempDir()
	said, err := c.run(append([]string{"download", "--matchingId", matchingID, "--output-path", out}, args...)...)
	if err != nil {
		c.t.Fatalf("es9p_client download: %v\n%s", err, said)
	}
	files, _ := filepath.Glob(filepath.Join(out, "*.upp.der"))
	if len(files) != 1 || !strings.HasPrefix(filepath.Base(files[0]), iccid) {
		c.t.Fatalf("es9p_client stored %v, want one package of %s", files, iccid)
	}
	got, err := os.ReadFile(files[0])
	if err != nil {
		c.t.Fatal(err)
	}
	if want := packageOf(c.t, p, iccid); !bytes.Equal(got, want) {
		c.t.Fatalf("the client decrypted a package of %d octets that differs from the server's of %d", len(got), len(want))
	}
}

// notify delivers one notification of the chip.
func (c es9pClient) notify(args ...string) {
	c.t.Helper()
	if said, err := c.run(args...); err != nil {
		c.t.Fatalf("es9p_client %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

// padded is an ICCID as the client wants it: with an even number of digits.
func padded(iccid string) string {
	if len(iccid)%2 != 0 {
		return iccid + "f"
	}
	return iccid
}

// lastRun is the transaction in which a profile was delivered last.
func (w witness) lastRun(t *testing.T, iccid string) (id string) {
	t.Helper()
	err := w.d.Read(t.Context(), func(q db.Query) error {
		return q.QueryRowContext(t.Context(), `select run from profile where iccid = $1`, iccid).Scan(&id)
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestStrangerES9Plus has a client of others download from our SM-DP+, decrypt
// what it was given, and report what a chip would: on both curves.
func TestStrangerES9Plus(t *testing.T) {
	line := stranger(t, "GODWIT_ES9P_CLIENT", "")
	p := startServerAs(t, sgp26(t, sgp26Both))
	w := witnessOf(t, p)
	for i, curve := range []string{"nist", "brp"} {
		t.Run(curve, func(t *testing.T) {
			// Go has no TLS on brainpool curves: here the transport is NIST for both.
			// TestStrangerBrainpoolTLS has the other.
			client := es9pClient{t, line, p.credentials.ES9URL, ciFile(t, "nist"), curve}
			r := book(t, p, "GenerateMatchingId", "true")
			code, err := rsp.ParseActivationCode("LPA:" + r.ActivationCode)
			if err != nil {
				t.Fatal(err)
			}
			client.download(p, r.ICCID, string(code.MatchingID))
			waitFor(t, p, r, "downloaded")

			sequence := []string{"--iccid", padded(r.ICCID), "--sequence-nr"}
			number := func(n int) []string { return append(sequence[:3:3], string(rune('0'+4*i+n))) }
			client.notify(append([]string{
				"notification-install", "--transaction-id", w.lastRun(t, r.ICCID), "--smdpp-oid", "2.999.10",
				"--isdp-aid", "A0000005591010FFFFFFFF8900001000", "--sima-response", "3007A0053003800100",
			}, number(0)...)...)
			waitFor(t, p, r, "installed")
			if r.EID != string(sgp26EID) {
				t.Errorf("the reservation names eUICC %s, want %s", r.EID, sgp26EID)
			}
			if kind := w.proof(t, r.SID); kind != "sgp22.installation_result" {
				t.Errorf("evidence of the installation is of kind %q", kind)
			}
			later := []string{"enable", "disable", "delete"}
			if curve != "nist" {
				later = later[:1] // each takes a second
			}
			for n, operation := range later {
				client.notify(append([]string{"notification", operation}, number(n+1)...)...)
			}
			w.wantReported(t, r.ICCID, append([]string{"install installed"}, later...)...)
		})
	}
}

// TestStrangerES9PlusConfirmationCode orders over ES2+ with a confirmation code:
// the client gets the profile with the code only.
func TestStrangerES9PlusConfirmationCode(t *testing.T) {
	line := stranger(t, "GODWIT_ES9P_CLIENT", "")
	p := startServerAs(t, sgp26(t, sgp26NIST))
	client := es9pClient{t, line, p.credentials.ES9URL, ciFile(t, "nist"), "nist"}

	iccid := strings.TrimSpace(string(godwit(t, "order", "download", "--data", p.data, "--type", defaultType)))
	text := strings.TrimSpace(string(godwit(t, "order", "confirm", "--data", p.data, iccid, "--code", "12345678")))
	code, err := rsp.ParseActivationCode(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if !code.CodeRequired {
		t.Errorf("the activation code %s does not say that a confirmation code is needed", text)
	}
	out := t.TempDir()
	if said, err := client.run("download", "--matchingId", string(code.MatchingID), "--output-path", out, "--confirmation-code", "87654321"); err == nil {
		t.Fatalf("a wrong confirmation code was taken:\n%s", said)
	} else if !strings.Contains(said, "8.2.7") || !strings.Contains(said, "3.8") {
		t.Fatalf("a wrong confirmation code was refused with another result than 8.2.7/3.8:\n%s", said)
	}
	client.download(p, iccid, string(code.MatchingID), "--confirmation-code", "12345678")
}
