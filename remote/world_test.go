package remote_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/device"
	"godwit/event"
	"godwit/ident"
	"godwit/jobs"
	"godwit/monitor"
	"godwit/remote"
)

// A world is a door with everything behind it but the eIM, in whose place the
// test stands: it says what became of the tasks that are queued.
type world struct {
	db       *db.DB
	accounts *account.Store
	devices  *device.Store
	monitors *monitor.Store
	events   *event.Log
	server   *httptest.Server
	account  account.Account
	customer int64
	password string // of admin

	mu    sync.Mutex
	tasks []device.Task
}

func (w *world) Register(context.Context, *db.Tx, device.EUICC) error { return nil }
func (w *world) Forget(context.Context, *db.Tx, ident.EID) error      { return nil }
func (w *world) Cancel(context.Context, *db.Tx, string) (bool, error) { return true, nil }
func (w *world) Queue(_ context.Context, _ *db.Tx, task device.Task) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks = append(w.tasks, task)
	return nil
}

func newWorld(t *testing.T, d *db.DB, options func(*remote.Options)) *world {
	t.Helper()
	events := event.New(d)
	w := &world{db: d, accounts: account.New(d, events), events: events}
	queue, err := jobs.New(d)
	if err != nil {
		t.Fatal(err)
	}
	w.devices = &device.Store{DB: d, Jobs: queue, Events: events, EIM: w}
	w.devices.Register()
	if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
		if w.account, _, err = w.accounts.Create(t.Context(), tx, "", "Main"); err != nil {
			return err
		}
		c, err := w.accounts.Customer(t.Context(), tx, w.account.SID)
		w.customer = c.ID
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.password = w.user(t, w.account.SID, "admin", account.Administrator)
	o := remote.Options{
		DB: d, Accounts: w.accounts, Devices: w.devices, Events: events,
		Configuration: func(_ context.Context, eid ident.EID) ([]byte, error) { return []byte(eid), nil },
	}
	o.Monitors = newMonitors(d, events)
	if options != nil {
		options(&o)
	}
	door := remote.New(o)
	w.monitors = o.Monitors
	w.monitors.Source = door.Monitored()
	w.server = httptest.NewServer(door)
	t.Cleanup(w.server.Close)
	return w
}

func (w *world) user(t *testing.T, sid, name string, role account.Role) (password string) {
	t.Helper()
	made, err := account.NewPassword(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.Write(t.Context(), func(tx *db.Tx) error {
		_, err := w.accounts.CreateUser(t.Context(), tx, account.User{Name: name, Account: sid, Role: role}, made, false)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return string(made.Text)
}

// outcome says what became of the last task.
func (w *world) outcome(t *testing.T, o device.Outcome) {
	t.Helper()
	w.mu.Lock()
	task := w.tasks[len(w.tasks)-1]
	w.mu.Unlock()
	o.TaskID, o.EID, o.Witness, o.At = task.ID, task.EID, "eUICC", time.Now()
	if o.ICCID == "" {
		o.ICCID = task.ICCID
	}
	if err := w.db.Write(t.Context(), func(tx *db.Tx) error { return w.devices.Outcome(t.Context(), tx, o) }); err != nil {
		t.Fatal(err)
	}
}

// report says which profiles are on an eSIM: "iccid status carrier type", one to
// a line.
func (w *world) report(t *testing.T, eid, text string) {
	t.Helper()
	r := device.Report{EID: ident.EID(eid), Witness: "eUICC", EvidenceKind: "test", At: time.Now()}
	for line := range strings.Lines(text) {
		var p struct {
			ICCID, Status, Carrier, Type string
		}
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		r.Profiles = append(r.Profiles, device.Reported{ICCID: ident.ICCID(p.ICCID), Active: p.Status == "active", Carrier: p.Carrier, Type: p.Type})
	}
	if err := w.db.Write(t.Context(), func(tx *db.Tx) error { return w.devices.Report(t.Context(), tx, r) }); err != nil {
		t.Fatal(err)
	}
}
