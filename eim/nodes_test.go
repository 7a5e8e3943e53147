package eim

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/iot"
	"godwit/jobs"
	"godwit/rsp"
)

// node opens another server on the database.
func (w *world) node() *Server {
	w.t.Helper()
	config := w.config
	var err error
	if config.Jobs, err = jobs.New(w.db); err != nil {
		w.t.Fatal(err)
	}
	s, err := Open(w.t.Context(), w.db, config)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// TestOnePackageAmongNodes polls for one eUICC at many nodes at once, and sends
// its result to all of them.
func TestOnePackageAmongNodes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		servers := []*Server{w.server}
		if d.Postgres() {
			servers = append(servers, w.node(), w.node())
		}
		v := w.device()
		v.run()
		for range 10 {
			ids := []string{
				w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA}),
				w.queue(Task{EID: v.eid, Kind: Disable, ICCID: iccidA}),
			}
			for w.stage(ids[1]) == Queued || w.stage(ids[1]) == Sent {
				const askers = 12
				packages := make([][]byte, askers)
				var group sync.WaitGroup
				for i := range askers {
					group.Go(func() {
						octets, code, err := servers[i%len(servers)].poll(t.Context(), v.eid, false, "")
						if err != nil || code != 0 {
							t.Errorf("poll: code %d, %v", code, err)
						}
						packages[i] = octets
					})
				}
				group.Wait()
				for _, p := range packages {
					if !bytes.Equal(p, packages[0]) {
						t.Fatalf("two packages are under way:\n%x\n%x", packages[0], p)
					}
				}
				q := &iot.ProvideEimPackageResult{EID: v.eid, PackageResult: v.execute(packages[0])}
				answers := make([]*iot.ProvideEimPackageResultResponse, len(servers)*3)
				for i := range answers {
					group.Go(func() {
						var err error
						if answers[i], err = servers[i%len(servers)].provide(t.Context(), q); err != nil {
							t.Error(err)
						}
					})
				}
				group.Wait()
				for _, a := range answers {
					if len(a.Acknowledged) != 1 {
						t.Fatalf("%+v", a)
					}
				}
			}
			for _, id := range ids {
				w.outcome(id)
			}
			v.run()
		}
	})
}

// TestQueuedAtOneNodeFetchedAtAnother holds what is remembered of idle eUICCs to
// what other nodes do.
func TestQueuedAtOneNodeFetchedAtAnother(t *testing.T) {
	d := dbtest.Postgres(t)
	w := newWorld(t, d)
	other := w.node()
	v := w.device()
	v.run()
	for range 20 {
		for range 3 {
			if _, code, err := other.poll(t.Context(), v.eid, false, ""); err != nil || code != iot.EimNoPackage {
				t.Fatalf("code %d, %v", code, err)
			}
		}
		w.queue(Task{EID: v.eid, Kind: GetRAT})
		if octets, code, err := other.poll(t.Context(), v.eid, false, ""); err != nil || octets == nil {
			t.Fatalf("a task of another node is not seen: code %d, %v", code, err)
		}
		v.run()
	}
}

// TestIdleIsForgottenAsItChanges has pollers look while tasks are queued: once
// Queue's transaction is through, the next poll must see it, at each node.
func TestIdleIsForgottenAsItChanges(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		servers := []*Server{w.server}
		if d.Postgres() {
			servers = append(servers, w.node())
		}
		v := w.device()
		v.run()
		stop := make(chan struct{})
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, _, err := servers[i%len(servers)].poll(t.Context(), v.eid, false, ""); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for i := range 100 {
			id := w.queue(Task{EID: v.eid, Kind: ListEIM})
			octets, code, err := servers[i%len(servers)].poll(t.Context(), v.eid, false, "")
			if err != nil || octets == nil {
				t.Fatalf("the task is not seen: code %d, %v", code, err)
			}
			if _, err := w.server.provide(t.Context(), &iot.ProvideEimPackageResult{EID: v.eid, PackageResult: v.execute(octets)}); err != nil {
				t.Fatal(err)
			}
			w.outcome(id)
		}
		close(stop)
		group.Wait()
	})
}

// idleAt has a node remember that nothing waits for an eUICC.
func idleAt(t *testing.T, s *Server, v *device) {
	t.Helper()
	for range 2 {
		if _, code, err := s.poll(t.Context(), v.eid, false, ""); err != nil || code != iot.EimNoPackage {
			t.Fatalf("code %d, %v", code, err)
		}
	}
	if !s.idle.has(v.eid, s.now()) {
		t.Fatal("it is not remembered that nothing waits")
	}
}

// TestChangesThatWereMissed: a node that was away for longer than changes are
// kept forgets all, and so does one for which too many have come.
func TestChangesThatWereMissed(t *testing.T) {
	d := dbtest.Postgres(t)
	w := newWorld(t, d)
	other := w.node()
	v := w.device()
	v.run()
	seen := func(what string) {
		t.Helper()
		w.queue(Task{EID: v.eid, Kind: GetRAT})
		// Only the rest of what is written down can tell of it.
		if _, err := d.Pool().ExecContext(t.Context(), `delete from eim_change where eid = $1`, string(v.eid)); err != nil {
			t.Fatal(err)
		}
		if octets, code, err := other.poll(t.Context(), v.eid, false, ""); err != nil || octets == nil {
			t.Fatalf("%s: the task is not seen: code %d, %v", what, code, err)
		}
		v.run()
		v.run()
	}

	idleAt(t, other, v)
	other.elsewhere.asked = other.elsewhere.asked.Add(-2 * changesMissed)
	seen("after a long pause")

	idleAt(t, other, v)
	if _, err := d.Pool().ExecContext(t.Context(), `insert into eim_change (tx, eid) select txid_current(), cast(n as text) from generate_series(1, $1) n`, changesMost); err != nil {
		t.Fatal(err)
	}
	seen("after too many changes")
}

// TestChangesAreCleared: what was written down for other nodes goes once all
// have had their time, and not before.
func TestChangesAreCleared(t *testing.T) {
	d := dbtest.Postgres(t)
	w := newWorld(t, d)
	kept := func(after time.Duration) (n int) {
		t.Helper()
		w.server.elsewhere.then = w.server.elsewhere.then.Add(-after)
		if err := w.server.keepUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.Pool().QueryRowContext(t.Context(), `select count(*) from eim_change`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	w.device().run()
	before := kept(0) // the first time nothing is known to be old
	if before == 0 {
		t.Fatal("nothing was written down")
	}
	// Transactions of other tests on the same server may have been under way.
	if err := d.Pool().QueryRowContext(t.Context(), `select txid_current()`).Scan(&w.server.elsewhere.below); err != nil {
		t.Fatal(err)
	}
	if n := kept(changesKept / 2); n != before {
		t.Errorf("%d changes are left of %d that are new", n, before)
	}
	if n := kept(changesKept); n != 0 {
		t.Errorf("%d changes are left of %d that are old", n, before)
	}
	w.device().run()
	if n := kept(0); n == 0 {
		t.Error("new changes are deleted with the old")
	}
}

// FuzzDoor sends what strangers may send: it is never trouble of ours.
func FuzzDoor(f *testing.F) {
	w := newWorld(f, dbtest.SQLite(f))
	w.devices = 70
	f.Add(false, "", []byte{0xBF, 0x4F, 0})
	for _, q := range []any{
		&iot.GetEimPackageRequest{EID: "89049032123451234512345678901235", StateChanged: true},
		&iot.ProvideEimPackageResult{EID: "89049032123451234512345678901235", Error: &iot.ResultError{Code: 1}},
		&iot.HandleNotification{Notification: []byte{0x30, 0}},
		&iot.InitiateAuthenticationRequest{EUICCChallenge: make([]byte, 16)},
		&iot.CancelSessionRequest{TransactionID: rsp.NewTransactionID(), CancelSessionResponse: rsp.AppendCancelSessionError(nil, 5)},
	} {
		f.Add(false, "", iot.AppendASN1Request(nil, q))
		f.Add(true, iot.Function(q), iot.MarshalJSONRequest(q))
	}
	f.Fuzz(func(t *testing.T, json bool, function string, body []byte) {
		path := rsp.PathASN1
		if json {
			path = iot.PathESipa + iot.FnProvideResult
			if function != "" && len(function) < 40 {
				path = iot.PathESipa + iot.FnGetEimPackage
			}
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
		p := httptest.NewRecorder()
		w.server.Handler().ServeHTTP(p, r)
		if p.Code >= 500 {
			t.Errorf("%s %x: HTTP status %d", path, body, p.Code)
		}
	})
}

// FuzzDetail reads what IPAs put into the result of a download.
func FuzzDetail(f *testing.F) {
	f.Add([]byte(`{"header":{"functionExecutionStatus":{"status":"Failed","statusCodeData":{"subjectCode":"8.2.6","reasonCode":"3.8"}}}}`))
	f.Add(rsp.AppendASN1Response(nil, &rsp.AuthenticateClientResponse{Header: rsp.Refuse(rsp.MatchingIDRefused, "").Header()}))
	f.Add(rsp.AppendPrepareDownloadError(nil, rsp.NewTransactionID(), 5))
	f.Fuzz(func(t *testing.T, detail []byte) {
		if reason, message, _ := readDetail(detail); reason == "" || message == "" {
			t.Errorf("%x: %q %q", detail, reason, message)
		}
	})
}
