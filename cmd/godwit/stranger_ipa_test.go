package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/eim"
	"godwit/ident"
	"godwit/internal/reference"
	"godwit/iot"
	"godwit/jobs"
	"godwit/pki"
	"godwit/rsp"
	"godwit/trust"
)

// ourEIM is our eIM on a database of its own, with what it has reported.
type ourEIM struct {
	t      *testing.T
	db     *db.DB
	server *eim.Server
	url    string // over TLS

	mu          sync.Mutex
	late        time.Duration // by which its clock is ahead
	outcomes    map[string]eim.Outcome
	inventories []eim.Inventory
}

// startOurEIM starts an eIM that believes the eUICCs of one trust set and has TLS
// of another.
func startOurEIM(t *testing.T, d *db.DB, believed, set *trust.Set) *ourEIM {
	t.Helper()
	o := &ourEIM{t: t, db: d, outcomes: map[string]eim.Outcome{}}
	roots, err := believed.Roots()
	if err != nil {
		t.Fatal(err)
	}
	queue, err := jobs.New(d)
	if err != nil {
		t.Fatal(err)
	}
	o.server, err = eim.Open(t.Context(), d, eim.Config{
		ID: "eim.example.com", FQDN: "localhost", Roots: roots, Jobs: queue,
		Now: func() time.Time {
			o.mu.Lock()
			defer o.mu.Unlock()
			return time.Now().Add(o.late)
		},
		Outcome: func(_ context.Context, _ *db.Tx, outcome eim.Outcome) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.outcomes[outcome.TaskID] = outcome
			return nil
		},
		Inventory: func(_ context.Context, _ *db.Tx, i eim.Inventory) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.inventories = append(o.inventories, i)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewServer(o.server.Handler())
	t.Cleanup(backend.Close)
	_, port, _ := strings.Cut(tlsFor(t, strings.TrimPrefix(backend.URL, "http://"), set.Members[0].Identity.TLS), ":")
	o.url = "https://localhost:" + port
	return o
}

func (o *ourEIM) write(do func(ctx context.Context, tx *db.Tx) error) {
	o.t.Helper()
	if err := o.db.Write(o.t.Context(), func(tx *db.Tx) error { return do(o.t.Context(), tx) }); err != nil {
		o.t.Fatal(err)
	}
}

// queue gives it a task for the published test eUICC and returns the number of
// that.
func (o *ourEIM) queue(task eim.Task) string {
	o.t.Helper()
	var id [16]byte
	rand.Read(id[:])
	task.ID, task.EID = hex.EncodeToString(id[:]), sgp26EID
	o.write(func(ctx context.Context, tx *db.Tx) error { return o.server.Queue(ctx, tx, task) })
	return task.ID
}

// outcome returns how a task has ended; it is zero while it has not.
func (o *ourEIM) outcome(id string) eim.Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.outcomes[id]
}

// wantDone returns the outcome of a task, which must be that it was done.
func (o *ourEIM) wantDone(id, said string) eim.Outcome {
	o.t.Helper()
	outcome := o.outcome(id)
	if outcome.Stage != eim.Done || outcome.Code != 0 || outcome.Witness != eim.ByEUICC || len(outcome.Evidence) == 0 {
		o.t.Fatalf("outcome of task %s: %+v\n%s", id, outcome, said)
	}
	return outcome
}

// listed returns the profiles that the eUICC has listed last: true where enabled.
func (o *ourEIM) listed() map[ident.ICCID]bool {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.inventories) == 0 {
		o.t.Fatal("the eIM has reported no list of profiles")
	}
	last := o.inventories[len(o.inventories)-1]
	if last.Witness != eim.ByEUICC {
		o.t.Errorf("the list of profiles is the word of %q", last.Witness)
	}
	m := map[ident.ICCID]bool{}
	for _, p := range last.Profiles {
		m[p.ICCID] = p.Enabled != nil && *p.Enabled
	}
	return m
}

// foreignChip is the key of the foreign software eUICC, by its certificate: the
// published one, issued again in 2024.
func foreignChip(t *testing.T) *pki.PublicKey {
	t.Helper()
	c, err := pki.ParseCertificate(reference.File(t, "sgp26", "eim", "CERT_EUICC_SIG_NIST.der"))
	if err != nil {
		t.Fatal(err)
	}
	return c.PublicKey
}

// TestStrangerIPA has a foreign IPA with a foreign eUICC poll our eIM, download
// from our SM-DP+ what the eIM tells it to, manage the profile, and be believed:
// everything that changes anything is signed by that eUICC.
func TestStrangerIPA(t *testing.T) {
	stranger(t, "GODWIT_OPENIOTRSP_IPA", "")
	set := sgp26(t, sgp26NIST)
	p := startServerAs(t, set)
	w := witnessOf(t, p)
	kind := oldType(t, p)
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		o := startOurEIM(t, d, set, set)
		ipa := newMockIPA(t, o.url+rsp.PathASN1, ciFile(t, "nist"))
		key := foreignChip(t)

		// A stranger is told that nobody knows it.
		ipa.polls()
		var known int
		if err := d.Read(t.Context(), func(q db.Query) error {
			return q.QueryRowContext(t.Context(), `select count(*) from eim_euicc`).Scan(&known)
		}); err != nil || known != 0 {
			t.Fatalf("%d eUICCs after the poll of a stranger (%v)", known, err)
		}

		// First contact: certificates and an empty list, without anybody's order.
		o.write(func(ctx context.Context, tx *db.Tx) error {
			return o.server.Register(ctx, tx, eim.EUICC{EID: sgp26EID})
		})
		said := ipa.polls()
		var certificate []byte
		if err := d.Read(t.Context(), func(q db.Query) error {
			return q.QueryRowContext(t.Context(), `select certificate from eim_euicc where contacted and trouble = ''`).Scan(&certificate)
		}); err != nil || !slices.Equal(certificate, reference.File(t, "sgp26", "eim", "CERT_EUICC_SIG_NIST.der")) {
			t.Fatalf("certificate after the first contact: %x, %v\n%s", certificate, err, said)
		}
		if got := o.listed(); len(got) != 0 {
			t.Errorf("profiles at first contact: %v", got)
		}

		iccid, code := orderOf(t, p, kind)
		task := o.queue(eim.Task{Kind: eim.Download, ICCID: iccid, ActivationCode: db.Secret(code)})
		said = ipa.polls()
		outcome := o.wantDone(task, said)
		w.wantReported(t, string(iccid), "install installed")
		if outcome.ICCID != iccid {
			t.Errorf("the download brought %s, want %s", outcome.ICCID, iccid)
		}
		result, err := iot.ParseDownloadResult(outcome.Evidence)
		if err != nil {
			t.Fatal(err)
		}
		installation, err := rsp.ParsePendingNotification(result.Installation)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := installation.VerifyInstallation(key); err != nil {
			t.Errorf("evidence of the download: %v", err)
		}

		for _, c := range []struct {
			task    eim.Task
			enabled bool
			there   bool
		}{
			{eim.Task{Kind: eim.Enable, ICCID: iccid}, true, true},
			{eim.Task{Kind: eim.SetFallback, ICCID: iccid}, true, true},
			{eim.Task{Kind: eim.UnsetFallback}, true, true},
			{eim.Task{Kind: eim.Disable, ICCID: iccid}, false, true},
			{eim.Task{Kind: eim.GetRAT}, false, true},
			{eim.Task{Kind: eim.Immediate}, false, true},
			{eim.Task{Kind: eim.SetDefaultDP, Address: "dp.example.com"}, false, true},
			{eim.Task{Kind: eim.ListEIM}, false, true},
			{eim.Task{Kind: eim.Delete, ICCID: iccid}, false, false},
		} {
			task := o.queue(c.task)
			outcome := o.wantDone(task, ipa.polls())
			id, _ := hex.DecodeString(task)
			got, err := iot.VerifyPackageResult(outcome.Evidence, key, nil)
			if err != nil || !slices.Equal(got.TransactionID, id) {
				t.Errorf("evidence of %s: %+v, %v", c.task.Kind, got, err)
			}
			o.queue(eim.Task{Kind: eim.List})
			ipa.polls()
			if enabled, there := o.listed()[iccid]; enabled != c.enabled || there != c.there {
				t.Errorf("after %s the eUICC lists %v", c.task.Kind, o.listed())
			}
		}

		// It says nothing of downloads that fail: the eIM gives them up after a
		// time, and goes on.
		_, code = orderOf(t, p, defaultType) // of a version that it does not read
		task = o.queue(eim.Task{Kind: eim.Download, ActivationCode: db.Secret(code), Until: time.Now().Add(time.Hour)})
		if said, err := ipa.poll(); err == nil || !strings.Contains(said, "reads profile packages of version") {
			t.Fatalf("the foreign IPA at a profile of a later version: %v\n%s", err, said)
		}
		if outcome := o.outcome(task); outcome.Stage != eim.Sent {
			t.Errorf("outcome of the download before its time: %+v", outcome)
		}
		o.mu.Lock()
		o.late = 2 * time.Hour
		o.mu.Unlock()
		next := o.queue(eim.Task{Kind: eim.GetRAT})
		o.wantDone(next, ipa.polls())
		if outcome := o.outcome(task); outcome.Stage != eim.Lost || outcome.Reason != "device_timeout" {
			t.Errorf("outcome of a download that nobody reported: %+v", outcome)
		}
	})
}

// TestStrangerIPADoubted has the foreign IPA poll an eIM that does not trust the
// CI of its eUICC: nothing but the questions who it is goes out, and what waits for it fails.
func TestStrangerIPADoubted(t *testing.T) {
	stranger(t, "GODWIT_OPENIOTRSP_IPA", "")
	private, err := trust.NewTest(testSet, []string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := dbtest.SQLite(t)
	o := startOurEIM(t, d, private, sgp26(t, sgp26NIST))
	ipa := newMockIPA(t, o.url+rsp.PathASN1, ciFile(t, "nist"))
	o.write(func(ctx context.Context, tx *db.Tx) error {
		return o.server.Register(ctx, tx, eim.EUICC{EID: sgp26EID})
	})
	task := o.queue(eim.Task{Kind: eim.GetRAT})
	said := ipa.polls()
	if strings.Contains(said, "kind=euicc-package") || !strings.Contains(said, "kind=ipa-euicc-data") {
		t.Errorf("an eUICC of a CI that is not trusted was given\n%s", said)
	}
	if outcome := o.outcome(task); outcome.Stage != eim.Failed || outcome.Reason != "refused" || !strings.Contains(outcome.Message, "is not trusted here") {
		t.Errorf("outcome of a task for it: %+v", outcome)
	}
	var contacted bool
	var trouble string
	if err := d.Read(t.Context(), func(q db.Query) error {
		return q.QueryRowContext(t.Context(), `select contacted, trouble from eim_euicc`).Scan(&contacted, &trouble)
	}); err != nil || contacted || trouble == "" {
		t.Errorf("contacted %v, trouble %q, %v", contacted, trouble, err)
	}
}

// manage makes one call of the Remote Manager API and returns its status.
func (p *process) manage(method, path string, body, into any) int {
	p.t.Helper()
	content, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.credentials.BaseURL+"/ws/v1"+path, bytes.NewReader(content))
	if err != nil {
		p.t.Fatal(err)
	}
	r.SetBasicAuth(p.credentials.RMUser, p.credentials.RMPassword)
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer a.Body.Close()
	content, err = io.ReadAll(a.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if into == nil {
		return a.StatusCode
	}
	if err := json.Unmarshal(content, into); err != nil || a.StatusCode/100 != 2 {
		p.t.Fatalf("%s %s: %s %s (%v)", method, path, a.Status, content, err)
	}
	return a.StatusCode
}

// TestStrangerIPAServer has the foreign IPA do what users of the Remote Manager
// API ask of its device, all of it by one server: API, eIM, SM-DP+.
func TestStrangerIPAServer(t *testing.T) {
	stranger(t, "GODWIT_OPENIOTRSP_IPA", "")
	p := startServerAs(t, sgp26(t, sgp26NIST))
	w := witnessOf(t, p)
	ipa := newMockIPA(t, p.credentials.ES9URL+rsp.PathASN1, ciFile(t, "nist"))
	iccid, code := orderOf(t, p, oldType(t, p))

	const device = "00000000-00000000-0004F3FF-FF00A1B2"
	if status := p.manage("POST", "/devices/inventory", map[string]any{"id": device, "eids": []string{string(sgp26EID)}}, nil); status != 201 {
		t.Fatalf("register the device: status %d", status)
	}
	ipa.polls()
	if status := p.manage("POST", "/esim_activation_codes/inventory", map[string]string{
		"iccid": string(iccid), "carrier": "Godwit", "activation_code": code,
	}, nil); status != 201 {
		t.Fatalf("register the activation code: status %d", status)
	}
	profile := func() (answer struct{ Status, Carrier string }, there bool) {
		t.Helper()
		var list struct {
			List []struct{ ICCID, Status, Carrier string }
		}
		p.manage("GET", "/esim_profiles/inventory", nil, &list)
		for _, one := range list.List {
			if one.ICCID == string(iccid) {
				return struct{ Status, Carrier string }{one.Status, one.Carrier}, true
			}
		}
		return answer, false
	}
	for _, step := range []struct {
		action, status string
		there          bool
		evidence       string
	}{
		{"download", "", false, "profile-download-result"}, // its list does not name the profile as it should
		{"enable", "active", true, "euicc-package-result"},
	} {
		var began, ended struct {
			Transaction, Status, ICCID, Message string
			MessageCode                         string `json:"message_code"`
		}
		p.manage("POST", "/esim_profiles/"+step.action, map[string]string{"device_id": device, "eid": string(sgp26EID), "iccid": string(iccid)}, &began)
		if began.Status != "in_progress" {
			t.Fatalf("%s: %+v", step.action, began)
		}
		said := ipa.polls()
		p.manage("GET", "/esim_profiles/progress/"+began.Transaction, nil, &ended)
		if ended.Status != "complete" || ended.MessageCode != "complete" || ended.ICCID != string(iccid) {
			t.Fatalf("%s ended as %+v\n%s", step.action, ended, said)
		}
		if proof := w.proof(t, began.Transaction); proof != step.evidence {
			t.Errorf("the evidence of %s is %q, want %q", step.action, proof, step.evidence)
		}
		if got, there := profile(); there != step.there || got.Status != step.status {
			t.Errorf("after %s the profile is %+v, there: %v", step.action, got, there)
		}
	}
	w.wantReported(t, string(iccid), "install installed")
	// It is the only profile: without it the device could not be reached.
	if status := p.manage("POST", "/esim_profiles/disable", map[string]string{"device_id": device, "eid": string(sgp26EID), "iccid": string(iccid)}, nil); status != 409 {
		t.Errorf("disable the only profile: status %d", status)
	}
}
