package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/query"
)

// By says who asks, for records and events.
type By struct {
	Account string // SID
	User    string
	Source  string // which API the request came from
}

const columns = `id, account_sid, type, topics, url, method, header_names, secrets, persistent, batch_size, batch_duration, compression, description,
	status, version, start_tx, start_id, place_tx, place_id, failures, failing_since, last_error, last_connect, last_sent, created_by, updated_at`

// scan reads a row of columns, and what the query put after them.
func (s *Store) scan(r db.Row, more ...any) (m Monitor, err error) {
	var topics, names string
	var sealed []byte
	var failing, connected, sent, updated int64
	if err := r.Scan(append([]any{
		&m.ID, &m.Account, &m.Type, &topics, &m.URL, &m.Method, &names, &sealed, &m.Persistent, &m.BatchSize, &m.BatchDuration, &m.Compression, &m.Description,
		&m.Status, &m.version, &m.start.TX, &m.start.ID, &m.place.TX, &m.place.ID, &m.failures, &failing, &m.LastError, &connected, &sent, &m.CreatedBy, &updated,
	}, more...)...); err != nil {
		return m, err
	}
	m.CreatedAt, m.UpdatedAt = db.Time(m.ID), db.Time(updated)
	m.FailingSince, m.LastConnect, m.LastSent = moment(failing), moment(connected), moment(sent)
	if err := errors.Join(json.Unmarshal([]byte(topics), &m.Topics), json.Unmarshal([]byte(names), &m.HeaderNames)); err != nil {
		return m, fmt.Errorf("read monitor %d: %w", m.ID, err)
	}
	if sealed == nil {
		return m, nil
	}
	plain, err := s.DB.Unseal(secretRow(m.ID), sealed)
	if err == nil {
		err = json.Unmarshal(plain, &m.secrets)
	}
	if err != nil {
		return m, fmt.Errorf("read credentials of monitor %d: %w", m.ID, err)
	}
	return m, nil
}

func secretRow(id int64) string { return "monitor/" + strconv.FormatInt(id, 10) + "/secrets" }

// moment reads a time as it is stored, 0 for none.
func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return db.Time(n)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// find returns a monitor of an account.
func (s *Store) find(ctx context.Context, q db.Query, account string, id int64, suffix string) (Monitor, error) {
	m, err := s.scan(q.QueryRowContext(ctx, `select `+columns+` from monitor where id = $1`+suffix, id))
	if db.None(err) || err == nil && m.Account != account {
		return Monitor{}, fault.New(fault.NotFound, "there is no monitor %d", id)
	}
	if err != nil {
		return Monitor{}, fmt.Errorf("read monitor %d: %w", id, err)
	}
	return m, nil
}

// Get returns a monitor of an account.
func (s *Store) Get(ctx context.Context, account string, id int64) (m Monitor, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		m, err = s.find(ctx, q, account, id, "")
		return err
	})
	return m, err
}

// Create makes a monitor. It tells what changes from now on.
func (s *Store) Create(ctx context.Context, by By, p Patch) (m Monitor, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		m = Monitor{
			Account: by.Account, Method: "POST", BatchSize: 100, BatchDuration: 1, Compression: "none", CreatedBy: by.User, version: 1,
			UpdatedAt: s.now(),
		}
		if err := s.apply(p, &m); err != nil {
			return err
		}
		// Others of the account wait, so that all of them are counted.
		var sid string
		if err := tx.QueryRowContext(ctx, `select sid from account where sid = $1`+tx.ForUpdate(), m.Account).Scan(&sid); err != nil {
			return fmt.Errorf("hold account %s: %w", m.Account, err)
		}
		var count, last int64
		if err := tx.QueryRowContext(ctx, `select count(*), coalesce(max(id), 0) from monitor where account_sid = $1`, m.Account).Scan(&count, &last); err != nil {
			return fmt.Errorf("count monitors of %s: %w", m.Account, err)
		}
		if count >= MaxMonitors {
			return fault.New(fault.Conflict, "the account has %d monitors, and may have no more: delete one", count)
		}
		if m.place, err = s.Events.End(ctx, tx); err != nil {
			return err
		}
		m.start = m.place
		for m.ID = max(last+1, m.UpdatedAt.UnixMicro()); ; m.ID++ {
			if done, err := s.insert(ctx, tx, m); err != nil || done {
				m.CreatedAt = db.Time(m.ID)
				return errors.Join(err, s.changedBy(ctx, tx, by, "created", m))
			}
		}
	})
	return m, err
}

// insert stores a new monitor; false if its number is taken.
func (s *Store) insert(ctx context.Context, tx *db.Tx, m Monitor) (bool, error) {
	args, err := s.values(m)
	if err != nil {
		return false, err
	}
	result, err := tx.ExecContext(ctx, `insert into monitor (id, topics, url, method, header_names, secrets, persistent, batch_size, batch_duration, compression,
		description, status, version, place_tx, place_id, updated_at, account_sid, type, start_tx, start_id, created_by, failures, failing_since, last_error,
		last_connect, last_sent)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, 0, 0, '', 0, 0) on conflict do nothing`,
		append(args, m.Account, string(m.Type), m.start.TX, m.start.ID, m.CreatedBy)...)
	if err != nil {
		return false, fmt.Errorf("store monitor: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// values are what can change of a monitor, after its number.
func (s *Store) values(m Monitor) ([]any, error) {
	topics, err := json.Marshal(m.Topics)
	if err != nil {
		return nil, fmt.Errorf("write topics: %w", err)
	}
	names, err := json.Marshal(append([]string{}, m.HeaderNames...))
	if err != nil {
		return nil, fmt.Errorf("write headers: %w", err)
	}
	var sealed []byte
	if !m.secrets.none() {
		plain, err := json.Marshal(m.secrets)
		if err != nil {
			return nil, fmt.Errorf("write credentials: %w", err)
		}
		sealed = s.DB.Seal(secretRow(m.ID), plain)
	}
	return []any{
		m.ID, string(topics), m.URL, m.Method, string(names), sealed, m.Persistent, m.BatchSize, m.BatchDuration, m.Compression,
		m.Description, string(m.Status), m.version, m.place.TX, m.place.ID, m.UpdatedAt.UnixMicro(),
	}, nil
}

// Update changes a monitor and has it begin again: its target has to answer
// first, as that of a new one. A monitor that was switched off goes on where it was.
func (s *Store) Update(ctx context.Context, by By, id int64, p Patch) (m Monitor, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if m, err = s.find(ctx, tx, by.Account, id, tx.ForUpdate()); err != nil {
			return err
		}
		if err := s.apply(p, &m); err != nil {
			return err
		}
		m.version++
		m.UpdatedAt = s.now()
		m.FailingSince, m.LastError, m.failures = time.Time{}, "", 0
		args, err := s.values(m)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `update monitor set topics = $2, url = $3, method = $4, header_names = $5, secrets = $6, persistent = $7, batch_size = $8,
			batch_duration = $9, compression = $10, description = $11, status = $12, version = $13, place_tx = $14, place_id = $15, updated_at = $16,
			failures = 0, failing_since = 0, last_error = '' where id = $1`, args...); err != nil {
			return fmt.Errorf("store monitor %d: %w", id, err)
		}
		return s.changedBy(ctx, tx, by, "updated", m)
	})
	return m, err
}

// Delete removes a monitor.
func (s *Store) Delete(ctx context.Context, by By, id int64) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		m, err := s.find(ctx, tx, by.Account, id, tx.ForUpdate())
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `delete from monitor where id = $1`, id); err != nil {
			return fmt.Errorf("delete monitor %d: %w", id, err)
		}
		return s.changedBy(ctx, tx, by, "deleted", m)
	})
}

// changedBy records what was asked for, and has it followed.
func (s *Store) changedBy(ctx context.Context, tx *db.Tx, by By, what string, m Monitor) error {
	data := map[string]any{"type": m.Type, "topics": m.Topics, "status": m.Status, "by": by.User, "source": by.Source}
	if m.Type == HTTP {
		data["target"] = endpoint(m.URL)
	}
	tx.AfterCommit(s.look)
	return s.record(ctx, tx, what, m, data)
}

func (s *Store) record(ctx context.Context, tx *db.Tx, what string, m Monitor, data map[string]any) error {
	return s.Events.Append(ctx, tx, event.Event{
		Kind: "monitor." + what, Subject: strconv.FormatInt(m.ID, 10), Account: m.Account, At: s.now(), Data: data,
	})
}

// Schema is the fields by which monitors are listed.
var Schema = &query.Schema{
	Key: "id",
	Fields: []query.Field{
		{Name: "id", Kind: query.Number, SQL: "id"},
		{Name: "type", Kind: query.Enum, SQL: "type", Values: []string{string(HTTP), string(Polling)}},
		{Name: "status", Kind: query.Enum, SQL: "status", Values: []string{string(Inactive), string(Active), string(Disabled)}},
		{Name: "url", SQL: "url"},
		{Name: "method", Kind: query.Text, SQL: "method", Upper: true},
		{Name: "persistent", Kind: query.Bool, SQL: "persistent"},
		{Name: "batch_size", Kind: query.Number, SQL: "batch_size"},
		{Name: "batch_duration", Kind: query.Number, SQL: "batch_duration"},
		{Name: "compression", Kind: query.Enum, SQL: "compression", Values: []string{"none", "gzip"}},
		{Name: "description", SQL: "description"},
		{Name: "failing_since", Kind: query.Time, SQL: "nullif(failing_since, 0)", Nullable: true},
		{Name: "last_error", SQL: "last_error"},
		{Name: "last_connect", Kind: query.Time, SQL: "nullif(last_connect, 0)", Nullable: true},
		{Name: "last_sent", Kind: query.Time, SQL: "nullif(last_sent, 0)", Nullable: true},
		{Name: "created_by", SQL: "created_by"},
		{Name: "created", Kind: query.Time, SQL: "id"},
		{Name: "updated", Kind: query.Time, SQL: "updated_at"},
	},
}

// Page returns a page of an account's monitors, by [Schema].
func (s *Store) Page(ctx context.Context, account string, spec query.Spec) (p query.Page[Monitor], err error) {
	type found struct {
		monitor Monitor
		value   any
	}
	err = s.DB.Read(ctx, func(q db.Query) error {
		st := spec.SQL(2)
		list, err := db.All(ctx, q, func(r db.Row) (f found, err error) {
			f.monitor, err = s.scan(r, &f.value)
			return f, err
		}, fmt.Sprintf(`select %s, %s from monitor where account_sid = $1 and %s order by %s limit %d`, columns, st.Column, st.Where, st.OrderBy, st.Limit),
			append([]any{account}, st.Args...)...)
		if err != nil {
			return err
		}
		page := query.NextPage(spec, list, func(f found) (value, key any) { return f.value, f.monitor.ID })
		p = query.Page[Monitor]{Next: page.Next}
		for _, f := range page.Items {
			p.Items = append(p.Items, f.monitor)
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("list monitors of %s: %w", account, err)
	}
	return p, nil
}
