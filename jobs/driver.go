package jobs

import (
	"context"
	"database/sql"
	"encoding/json"

	"godwit/db"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
)

// A driver is River's driver for the engine with a listener of our own. River
// knows no wake-up over database/sql and would find a new job only at its next
// poll; here the commit of the transaction that added it says so, in the
// process. Other processes find it by polling.
type driver struct {
	riverdriver.Driver[*sql.Tx]
	woken chan string // lanes with something new
}

func newDriver(d *db.DB) *driver {
	// The buffer is for a rush; a wake-up that does not fit is one of many.
	w := &driver{woken: make(chan string, 64)}
	if d.Postgres() {
		w.Driver = riverdatabasesql.New(d.Pool())
	} else {
		w.Driver = riversqlite.New(d.Pool())
	}
	return w
}

// SupportsListener makes River ask for the listener below.
func (w *driver) SupportsListener() bool { return true }

// SupportsListenNotify keeps River from sending notices through PostgreSQL:
// their commits would queue up behind each other.
func (w *driver) SupportsListenNotify() bool { return false }

func (w *driver) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener {
	return listener{w.woken}
}

// wake has the workers of a lane look for jobs now.
func (w *driver) wake(lane string) {
	select {
	case w.woken <- lane:
	default:
	}
}

// listener hands wake-ups to River as if they were notices of the database.
type listener struct{ woken <-chan string }

func (listener) Close(context.Context) error            { return nil }
func (listener) Connect(context.Context) error          { return nil }
func (listener) Listen(context.Context, string) error   { return nil }
func (listener) Unlisten(context.Context, string) error { return nil }
func (listener) Ping(context.Context) error             { return nil }
func (listener) Schema() string                         { return "" }
func (listener) SetAfterConnectExec(string)             {}

func (l listener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case lane := <-l.woken:
		payload, err := json.Marshal(map[string]string{"queue": lane})
		if err != nil {
			return nil, err
		}
		return &riverdriver.Notification{Topic: "river_insert", Payload: string(payload)}, nil
	}
}
