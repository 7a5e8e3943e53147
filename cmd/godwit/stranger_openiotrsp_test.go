package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"godwit/db/dbtest"
	"godwit/ident"
)

// openIoTRSPName is the eimId of the foreign eIM.
const openIoTRSPName = "openiotrsp.eim"

// foreignEIM is openiotrsp's eIM server: SGP.32 v1.2, both bindings, over plain
// HTTP, with the published eIM key and believing the published test eUICC.
type foreignEIM struct {
	t   *testing.T
	n   *neighbour
	url string
}

func startForeignEIM(t *testing.T, eid ident.EID, settings ...string) *foreignEIM {
	t.Helper()
	line := stranger(t, "GODWIT_OPENIOTRSP_EIM", "")
	ports := freePorts(t, 2)
	command := foreign(context.Background(), line)
	command.Env = append(append(command.Env,
		"OPENIOTRSP_DATABASE_URL="+dbtest.EmptyPostgresURL(t), "OPENIOTRSP_EIM_LISTEN_ADDR="+ports[0],
		"OPENIOTRSP_ESIPA_COAP_LISTEN_ADDR="+ports[1], // it has no way to leave this out
		"OPENIOTRSP_DEMO_EID="+string(eid), "OPENIOTRSP_DEMO_ENQUEUE_ON_START=false", "OPENIOTRSP_EIM_ID="+openIoTRSPName,
	), settings...)
	f := &foreignEIM{t, startStranger(t, command), "http://" + ports[0]}
	until(t, "the foreign eIM answers", f.n, func() bool {
		p, err := http.Get(f.url + "/healthz")
		if err == nil {
			p.Body.Close()
		}
		return err == nil && p.StatusCode == http.StatusOK
	})
	return f
}

// call makes one call of its API.
func (f *foreignEIM) call(method, path string, body, into any) {
	f.t.Helper()
	content, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.url+"/v1"+path, bytes.NewReader(content))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	p, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer p.Body.Close()
	answer, err := io.ReadAll(p.Body)
	if err != nil || p.StatusCode/100 != 2 {
		f.t.Fatalf("%s %s of the foreign eIM: %s %s (%v)", method, path, p.Status, answer, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			f.t.Fatalf("%s %s of the foreign eIM: %v in %s", method, path, err, answer)
		}
	}
}

// queue has it queue something for an eUICC and returns the number of that.
func (f *foreignEIM) queue(method, path string, body any) int64 {
	f.t.Helper()
	var answer struct {
		Operations []struct{ ID int64 }
	}
	f.call(method, path, body, &answer)
	if len(answer.Operations) != 1 {
		f.t.Fatalf("%s of the foreign eIM queued %d things", path, len(answer.Operations))
	}
	return answer.Operations[0].ID
}

// download has it order a download.
func (f *foreignEIM) download(eid ident.EID, code string) int64 {
	f.t.Helper()
	return f.queue("POST", "/profile-downloads", map[string]string{"eid": string(eid), "activationCode": code})
}

// manage has it order enable, disable or delete of a profile.
func (f *foreignEIM) manage(eid ident.EID, iccid ident.ICCID, method, action string) int64 {
	f.t.Helper()
	// It takes the octets of the command as they are, and puts them so.
	return f.queue(method, fmt.Sprintf("/devices/%s/profiles/%x%s", eid, iccid.Octets(), action), nil)
}

// an end of something that it had queued.
type foreignEnd struct {
	Operation struct{ Kind, Status string }
	Result    struct {
		Status  string
		Payload []byte `json:"payloadBase64"`
	}
}

// end returns what has become of something that it had queued. "done" says that
// it believes the answer: it verifies signatures.
func (f *foreignEIM) end(id int64) (e foreignEnd) {
	f.t.Helper()
	f.call("GET", fmt.Sprintf("/operations/%d", id), nil, &e)
	return e
}

// wantDone fails the test unless it believes that something was done; said is
// what the IPA said meanwhile.
func (f *foreignEIM) wantDone(id int64, said string) foreignEnd {
	f.t.Helper()
	e := f.end(id)
	if e.Operation.Status != "done" || e.Result.Status != "done" || len(e.Result.Payload) == 0 {
		f.t.Fatalf("the foreign eIM says of its operation %d: %+v\n%s", id, e, said)
	}
	return e
}

// profiles returns which profiles it believes to be on an eUICC: ICCID octets in
// hexadecimal, true where enabled.
func (f *foreignEIM) profiles(eid ident.EID) map[string]bool {
	f.t.Helper()
	var answer struct {
		Profiles []struct {
			ICCID     string
			IsEnabled bool
		}
	}
	f.call("GET", "/devices/"+string(eid)+"/status", nil, &answer)
	m := map[string]bool{}
	for _, p := range answer.Profiles {
		m[p.ICCID] = p.IsEnabled
	}
	return m
}

// configuration returns what a chip is to be told of this eIM, in DER.
func (f *foreignEIM) configuration() []byte {
	f.t.Helper()
	var answer struct {
		Payload string `json:"payloadBase64"`
	}
	f.call("POST", "/eims/initial-configuration", map[string]any{"counterValue": 0, "eimFqdn": "localhost"}, &answer)
	der, err := base64.StdEncoding.DecodeString(answer.Payload)
	if err != nil {
		f.t.Fatal(err)
	}
	return der
}

// mockIPA is openiotrsp's IPA with its software eUICC, which is certified as the
// published test eUICC. It is run for one poll at a time and keeps its state in a
// file. Its downloads are real, but it decrypts no packages.
type mockIPA struct {
	t     *testing.T
	line  []string
	state string
	url   string
	ca    string // file with the CI of the eIM's TLS certificate
}

func newMockIPA(t *testing.T, url, ca string) *mockIPA {
	t.Helper()
	return &mockIPA{t, stranger(t, "GODWIT_OPENIOTRSP_IPA", ""), filepath.Join(t.TempDir(), "ipa.json"), url, ca}
}

// poll has it poll once and answer what it is given, and returns what it said.
func (m *mockIPA) poll() (string, error) {
	m.t.Helper()
	command := foreign(m.t.Context(), m.line)
	command.Env = append(command.Env, "OPENIOTRSP_EIM_ESIPA_URL="+m.url, "OPENIOTRSP_MOCKIPA_STATE_PATH="+m.state,
		"OPENIOTRSP_MOCKIPA_ONCE=true", "OPENIOTRSP_MOCKIPA_DOWNLOAD_MODE=live", "OPENIOTRSP_DEMO_EID="+string(sgp26EID))
	if m.ca != "" {
		command.Env = append(command.Env, "SSL_CERT_FILE="+m.ca)
	}
	out, err := command.CombinedOutput()
	return string(out), err
}

// polls has it poll until nothing is left for it, at most 20 times.
func (m *mockIPA) polls() (said string) {
	m.t.Helper()
	for range 20 {
		out, err := m.poll()
		said += out
		if err != nil {
			m.t.Fatalf("the foreign IPA: %v\n%s", err, said)
		}
		if strings.Contains(out, "no eIM package available") {
			return said
		}
	}
	m.t.Fatalf("the foreign IPA finds no end:\n%s", said)
	return ""
}

// oldType makes a profile type of packages of version 2.1, because the foreign
// eUICC says that it reads none of later versions, with a little stock, and
// returns its name.
func oldType(t *testing.T, p *process) string {
	t.Helper()
	const name = "saip21"
	template := godwit(t, "profile", "templates", "minimal-usim")
	header, old := []byte{0x80, 1, 2, 0x81, 1, 3}, []byte{0x80, 1, 2, 0x81, 1, 1} // major-version, minor-version
	if bytes.Count(template[:16], header) != 1 {
		t.Fatalf("the template begins with %x", template[:16])
	}
	file := filepath.Join(t.TempDir(), "template.der")
	if err := os.WriteFile(file, bytes.Replace(template, header, old, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	godwit(t, "stock", "add-type", "--data", p.data, "--template", file, "--name", "Version 2.1", name)
	godwit(t, "stock", "generate", "--data", p.data, "--type", name, "--iccid", "8999702", "--imsi", "001010000007000", "--count", "5")
	return name
}

// orderOf orders a profile of a type and returns its activation code. The code
// names the SM-DP+'s OID: the foreign eUICC puts that into its installation
// result, and can take it from nowhere else.
func orderOf(t *testing.T, p *process, kind string) (iccid ident.ICCID, code string) {
	t.Helper()
	number := strings.TrimSpace(string(godwit(t, "order", "download", "--data", p.data, "--type", kind)))
	code = strings.TrimSpace(string(godwit(t, "order", "confirm", "--data", p.data, number)))
	return ident.ICCID(number), strings.TrimPrefix(code, "LPA:") + "$2.999.10"
}

// TestStrangerOpenIoTRSP has a foreign eIM and a foreign IPA work with each
// other and with our SM-DP+: what these two do when they are among themselves is
// what the other tests compare with.
func TestStrangerOpenIoTRSP(t *testing.T) {
	e := startForeignEIM(t, sgp26EID)
	ipa := newMockIPA(t, e.url+"/esipa", "")
	p := startServerAs(t, sgp26(t, sgp26NIST))
	w := witnessOf(t, p)
	iccid, code := orderOf(t, p, oldType(t, p))

	downloaded := e.download(sgp26EID, code)
	e.wantDone(downloaded, ipa.polls())
	w.wantReported(t, string(iccid), "install installed")
	for _, action := range []string{"/enable", "/disable"} {
		done := e.manage(sgp26EID, iccid, "POST", action)
		e.wantDone(done, ipa.polls())
	}
	listed := e.queue("POST", "/devices/"+string(sgp26EID)+"/profiles/list", nil)
	e.wantDone(listed, ipa.polls())
	if enabled, there := e.profiles(sgp26EID)[fmt.Sprintf("%x", iccid.Octets())]; !there || enabled {
		t.Errorf("the foreign eIM believes %v to be on the foreign eUICC", e.profiles(sgp26EID))
	}
}
