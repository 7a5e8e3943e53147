// Package event is the record of what happened, each entry with what proved
// it, and the live feed of that record.
//
// An event is appended in the transaction that makes it true and never changes
// afterwards.
package event

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"godwit/db"
)

// An Event is one thing that happened.
type Event struct {
	// ID orders events as they were recorded, nearly: the feed knows better.
	// Append makes it.
	ID int64

	Kind    string    // what happened, "sim.status"; dots and lower case
	Subject string    // what it happened to: a SID, an EID, an ICCID
	Account string    // whose it is; empty for the operator's own
	At      time.Time // when; Append takes the present where it is zero

	// Data is what to know about it. Append stores it as JSON; what is read has
	// json.RawMessage here.
	Data any

	// Evidence is what proved it, as it was received: the eUICC's signed
	// notification, the eIM's result, the core's answer.
	Evidence     []byte
	EvidenceKind string // "sgp22.notification", "device.report", …
}

// A Log is the record of one database.
type Log struct {
	db   *db.DB
	Now  func() time.Time
	poll time.Duration // how often feeds look without having been woken

	mu     sync.Mutex
	lastID int64
	news   chan struct{} // closed and replaced when something was appended
}

// New returns the record of a database.
func New(d *db.DB) *Log {
	return &Log{db: d, Now: time.Now, poll: feedPoll, news: make(chan struct{})}
}

// Append records an event as part of the transaction.
func (l *Log) Append(ctx context.Context, tx *db.Tx, e Event) error {
	row, err := l.row(e)
	if err != nil {
		return err
	}
	statement := insertSQLite
	if tx.Postgres() {
		statement = insertPostgres
	}
	// Two nodes may think of one number in the same microsecond.
	for range 10 {
		id, err := l.newID(ctx, tx)
		if err != nil {
			return fmt.Errorf("record %s of %s: %w", e.Kind, e.Subject, err)
		}
		row[0] = id
		n, err := tx.Exec(ctx, statement, row...)
		if err != nil {
			return fmt.Errorf("record %s of %s: %w", e.Kind, e.Subject, err)
		}
		if n == 1 {
			collect(ctx, e)
			tx.AfterCommit(l.tell)
			return nil
		}
	}
	return fmt.Errorf("record %s of %s: no free number", e.Kind, e.Subject)
}

// row is an event as it is stored, without its number, which is the first value.
func (l *Log) row(e Event) ([]any, error) {
	data := []byte("{}")
	if e.Data != nil {
		var err error
		if data, err = json.Marshal(e.Data); err != nil {
			return nil, fmt.Errorf("event %s of %s: %w", e.Kind, e.Subject, err)
		}
	}
	at := e.At
	if at.IsZero() {
		at = l.Now()
	}
	return []any{int64(0), e.Kind, e.Subject, e.Account, db.Micros(at), string(data), e.Evidence, e.EvidenceKind}, nil
}

// The transaction's number tells the feed on PostgreSQL what was committed
// in which order; see [Log.Subscribe].
const (
	insertSQLite = `insert into event (id, txid, kind, subject, account, at, data, evidence, evidence_kind)
		values ($1, 0, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing`
	insertPostgres = `insert into event (id, txid, kind, subject, account, at, data, evidence, evidence_kind)
		values ($1, pg_current_xact_id()::text::bigint, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing`
)

// newID makes a number that grows with time: microseconds, then ten bits that
// set nodes apart. It stays below 2^63 until the year 2255.
//
// The feed of SQLite relies on its growing, so it goes on from what is there,
// whatever has become of the clock meanwhile.
func (l *Log) newID(ctx context.Context, q db.Query) (int64, error) {
	l.mu.Lock()
	known := l.lastID
	l.mu.Unlock()
	if known == 0 {
		if err := q.QueryRowContext(ctx, `select coalesce(max(id), 0) from event`).Scan(&known); err != nil {
			return 0, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastID = max(max(l.lastID, known)+1, time.Now().UnixMicro()<<10|rand.Int64N(1<<10))
	return l.lastID, nil
}

// A Filter says which events to list. Its zero fields do not matter.
type Filter struct {
	Subject, Account, Kind string
	Kinds                  []string // any of these, each as LIKE has it: "device.%"
	Before                 int64    // older than this event
	Limit                  int      // 50 where it is zero
}

// List returns events, newest first. For the next page set Before to the ID of
// the last.
func (l *Log) List(ctx context.Context, q db.Query, f Filter) ([]Event, error) {
	where, args := f.where()
	if f.Before != 0 {
		args = append(args, f.Before)
		where = append(where, fmt.Sprintf("id < $%d", len(args)))
	}
	limit := f.Limit
	if limit == 0 {
		limit = 50
	}
	args = append(args, limit)
	text := `select ` + columns + ` from event`
	if len(where) > 0 {
		text += ` where ` + strings.Join(where, " and ")
	}
	text += fmt.Sprintf(" order by id desc limit $%d", len(args))
	return list(ctx, q, text, args...)
}

func (f Filter) where() (where []string, args []any) {
	for _, c := range []struct{ column, value string }{{"subject", f.Subject}, {"account", f.Account}, {"kind", f.Kind}} {
		if c.value != "" {
			args = append(args, c.value)
			where = append(where, fmt.Sprintf("%s = $%d", c.column, len(args)))
		}
	}
	if len(f.Kinds) > 0 {
		some := make([]string, len(f.Kinds))
		for i, kind := range f.Kinds {
			args = append(args, kind)
			some[i] = fmt.Sprintf("kind like $%d", len(args))
		}
		where = append(where, "("+strings.Join(some, " or ")+")")
	}
	return where, args
}

const columns = `id, kind, subject, account, at, data, evidence, evidence_kind`

func list(ctx context.Context, q db.Query, text string, args ...any) ([]Event, error) {
	events, err := db.All(ctx, q, func(r db.Row) (Event, error) { return scan(r) }, text, args...)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return events, nil
}

// scan reads one row of columns, after others that the query put before them.
func scan(r db.Row, before ...any) (Event, error) {
	var e Event
	var at int64
	var data string
	err := r.Scan(append(before, &e.ID, &e.Kind, &e.Subject, &e.Account, &at, &data, &e.Evidence, &e.EvidenceKind)...)
	e.At, e.Data = db.Time(at), json.RawMessage(data)
	return e, err
}
