package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"godwit/db"
	"godwit/euicc"
	"godwit/event"
	"godwit/ident"
	"godwit/internal/reference"
	"godwit/lpa"
	"godwit/pki"
	"godwit/saip"
	"godwit/trust"
)

// The tests named Stranger run against programs of others, each as it comes:
// docs/compatibility.md says which, and how they are found. What is not on the
// machine is skipped by name.

// stranger returns the command line of a foreign program: from the environment
// variable, or by its name on the path.
func stranger(t *testing.T, variable, name string) []string {
	t.Helper()
	if line := strings.Fields(os.Getenv(variable)); variable != "" && len(line) > 0 {
		return line
	}
	if name != "" {
		// Debian keeps servers where the path of ordinary users does not lead.
		for _, place := range []string{name, filepath.Join("/usr/sbin", name), filepath.Join("/usr/libexec", name)} {
			if path, err := exec.LookPath(place); err == nil {
				return []string{path}
			}
		}
	}
	if variable == "" {
		t.Skipf("%s skipped: there is no %s on the path", t.Name(), name)
	}
	t.Skipf("%s skipped: %s names no program%s", t.Name(), variable, map[bool]string{true: ", and there is no " + name + " on the path"}[name != ""])
	return nil
}

// environment is this process's for foreign programs. Variables by which this
// machine tells all programs whom to trust would override what the test tells
// them, and a proxy cannot reach what listens here for the time of a test.
func environment() (all []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch strings.ToUpper(name) {
		case "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY":
		default:
			all = append(all, v)
		}
	}
	return all
}

// foreign prepares a foreign program.
//
// The context is not the test's: that one ends before the cleaning up, which
// asks programs to end in order.
func foreign(ctx context.Context, line []string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, line[0], slices.Concat(line[1:], args)...)
	command.Env = environment()
	endWithTest(command)
	command.WaitDelay = 5 * time.Second
	return command
}

// runStranger runs a foreign program to its end and returns all that it said.
func runStranger(t *testing.T, line []string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longest)
	defer cancel()
	out, err := foreign(ctx, line, args...).CombinedOutput()
	return string(out), err
}

// A neighbour is a foreign server.
type neighbour struct {
	output *syncBuffer
	ended  chan struct{}
}

// startStranger starts a foreign server and ends it with the test.
func startStranger(t *testing.T, command *exec.Cmd) *neighbour {
	t.Helper()
	n := &neighbour{output: &syncBuffer{}, ended: make(chan struct{})}
	command.Stdout, command.Stderr = n.output, n.output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		command.Wait()
		close(n.ended)
	}()
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		select {
		case <-n.ended:
		case <-time.After(5 * time.Second):
			command.Process.Kill()
			<-n.ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", command.Path, n.output)
		}
	})
	return n
}

// until asks again until the answer is yes.
func until(t *testing.T, what string, n *neighbour, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(longest); !yes(); pause() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, longest)
		}
		if n == nil {
			continue
		}
		select {
		case <-n.ended:
			t.Fatalf("%s: the program has ended:\n%s", what, n.output)
		default:
		}
	}
}

// Names of the published test sets as the tests install them.
const (
	sgp26NIST  = "sgp26-nist"
	sgp26Both  = "sgp26"
	sgp26Brain = "sgp26-brp"
)

// sgp26 makes a trust set of the published test certificates. Their TLS
// certificates have been issued again, by the published keys, because the
// original ones end early.
func sgp26(t *testing.T, name string) *trust.Set {
	t.Helper()
	dir := filepath.Join(reference.Dir(t), "sgp26")
	folders := map[string][]string{
		sgp26NIST: {"nist", "tls-reissued"}, sgp26Brain: {"brp", "tls-reissued"}, sgp26Both: {"nist", "brp", "tls-reissued"},
	}[name]
	for i := range folders {
		folders[i] = filepath.Join(dir, folders[i])
		if _, err := os.Stat(folders[i]); err != nil {
			t.Skipf("%s skipped: not all of the SGP.26 test certificates are there: %v", t.Name(), err)
		}
	}
	set, findings, err := trust.Import{Name: name, Kind: trust.Test, Now: time.Now()}.Read(folders...)
	if err != nil {
		t.Fatalf("make set %s: %v\n%+v", name, err, findings)
	}
	return set
}

// sgp26EID is the number of the published test eUICC.
const sgp26EID ident.EID = "89049032123451234512345678901235"

// sgp26Chip is the published test eUICC, with its certificate on one curve or on
// both.
func sgp26Chip(t *testing.T, curves ...string) euicc.Config {
	t.Helper()
	config := euicc.Config{EID: sgp26EID}
	for _, curve := range curves {
		upper := strings.ToUpper(curve)
		read := func(name string) *pki.Certificate {
			t.Helper()
			c, err := pki.ParseCertificate(reference.File(t, "sgp26", curve, name))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return c
		}
		key, err := pki.ParseKey(reference.File(t, "sgp26", curve, "SK_EUICC_ECDSA_"+upper+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		config.Roots = append(config.Roots, read("CERT_CI_ECDSA_"+upper+".der"))
		config.Credentials = append(config.Credentials, euicc.Credential{
			EUM: read("CERT_EUM_ECDSA_" + upper + ".der"), EUICC: read("CERT_EUICC_ECDSA_" + upper + ".der"), Key: key,
		})
	}
	return config
}

// ciFile writes a CI certificate of the published set as PEM.
func ciFile(t *testing.T, curve string) string {
	t.Helper()
	c := sgp26Chip(t, curve).Roots[0]
	name := filepath.Join(t.TempDir(), "ci-"+curve+".pem")
	if err := os.WriteFile(name, c.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// startServerAs starts a server whose first SM-DP+ port stands for a published
// test set; it is announced as localhost and its port.
func startServerAs(t *testing.T, set *trust.Set, args ...string) *process {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	// The private set is there as well: the test operator is certified under it.
	private, err := trust.NewTest(testSet, []string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*trust.Set{private, set} {
		if err := s.Save(filepath.Join(data, "pki"), false); err != nil {
			t.Fatal(err)
		}
	}
	ports := freePorts(t, 2)
	return startServerWith(t, data, ports, append([]string{"--rsp-listen", ports[1] + "=" + set.Name}, args...)...)
}

// startServerWith is [startServerIn] with the ports and all SM-DP+ flags given.
func startServerWith(t *testing.T, data string, ports []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, data: data, args: append([]string{"serve", "--data", data, "--listen", ports[0]}, args...)}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("server output:\n%s", p.output)
		}
	})
	return p
}

// newEID makes up the number of an eUICC under the test EUM.
func newEID(t *testing.T, serial int) ident.EID {
	t.Helper()
	eid, err := ident.NewEID(fmt.Sprintf("%s%022d", trust.EIDPrefix, serial))
	if err != nil {
		t.Fatal(err)
	}
	return eid
}

// chipIn makes a software eUICC in a new directory and leaves it there.
func chipIn(t *testing.T, config euicc.Config) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "chip")
	card, err := euicc.New(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := card.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// book reserves a profile over the REST API and waits until it is available.
func book(t *testing.T, p *process, parameter, value string) *reserved {
	t.Helper()
	r := &reserved{}
	if status := p.call("/v1/ESimProfiles", url.Values{parameter: {value}}, r); status != 201 {
		t.Fatalf("reservation: status %d", status)
	}
	waitFor(t, p, r, "available")
	return r
}

// waitFor reads a reservation until it has the status.
func waitFor(t *testing.T, p *process, r *reserved, status string) {
	t.Helper()
	until(t, r.SID+" becomes "+status, nil, func() bool {
		p.call("/v1/ESimProfiles/"+r.SID, nil, r)
		if r.Status == "failed" && status != "failed" {
			t.Fatalf("%s failed: %s", r.SID, r.ErrorMessage)
		}
		return r.Status == status
	})
}

// A witness reads what a server has recorded.
type witness struct{ d *db.DB }

func witnessOf(t *testing.T, p *process) witness {
	t.Helper()
	return witness{p.database(dataFlags{Database: "sqlite"})}
}

// reported returns the events that an eUICC has reported of a profile, with
// their results, in the order in which they came.
func (w witness) reported(t *testing.T, iccid string) (list []string) {
	t.Helper()
	err := w.d.Read(t.Context(), func(q db.Query) error {
		rows, err := q.QueryContext(t.Context(), `select event, result, evidence from notification where iccid = $1 order by seq`, iccid)
		if err != nil {
			return err
		}
		defer rows.Close()
		list = nil
		for rows.Next() {
			var name, result string
			var evidence []byte
			if err := rows.Scan(&name, &result, &evidence); err != nil {
				return err
			}
			if len(evidence) == 0 {
				t.Errorf("%s of %s has no evidence", name, iccid)
			}
			list = append(list, strings.TrimSpace(name+" "+result))
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wantReported waits until the server has heard exactly these events.
func (w witness) wantReported(t *testing.T, iccid string, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(longest); ; pause() {
		got := w.reported(t, iccid)
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server has heard %q of %s, want %q", got, iccid, want)
		}
	}
}

// proof returns what kind of evidence the last event of a thing has.
func (w witness) proof(t *testing.T, subject string) string {
	t.Helper()
	var list []event.Event
	err := w.d.Read(t.Context(), func(q db.Query) (err error) {
		list, err = event.New(w.d).List(t.Context(), q, event.Filter{Subject: subject})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 || len(list[0].Evidence) == 0 {
		return ""
	}
	return list[0].EvidenceKind
}

// packageOf makes the profile package that a server delivers for a profile in
// its stock: a second time, from the same template and personal data.
func packageOf(t *testing.T, p *process, iccid string) []byte {
	t.Helper()
	s, done, err := dataFlags{Data: p.data, Database: "sqlite"}.openStock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	info, ok, err := s.Profile(t.Context(), ident.ICCID(iccid))
	if err != nil || !ok {
		t.Fatalf("read profile %s: %v", iccid, err)
	}
	types, err := s.Types(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range types {
		if kind.ID != info.Type {
			continue
		}
		template, err := saip.NewTemplate(kind.ID, kind.Template)
		if err != nil {
			t.Fatal(err)
		}
		personal, err := s.Personal(t.Context(), ident.ICCID(iccid))
		if err != nil {
			t.Fatal(err)
		}
		out, err := template.Personalise(&personal)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatalf("profile %s is of type %s, which is not there", iccid, info.Type)
	return nil
}

// assistantOn returns our LPA on a card in memory.
func assistantOn(t *testing.T, config euicc.Config) (*euicc.Card, *lpa.LPA) {
	t.Helper()
	card, err := euicc.NewMemory(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	chip, err := lpa.OpenChip(card)
	if err != nil {
		t.Fatal(err)
	}
	return card, &lpa.LPA{Chip: chip}
}

// lastJSON reads the last line of an output that is a JSON object.
func lastJSON(t *testing.T, output string, into any) {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace([]byte(output)), []byte("\n"))
	for _, line := range slices.Backward(lines) {
		if json.Unmarshal(line, into) == nil {
			return
		}
	}
	t.Fatalf("there is no line of JSON in:\n%s", output)
}
