package account

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// A Key is an API key: a credential of an account that can be withdrawn alone.
type Key struct {
	SID       string
	Account   string
	Name      string
	CreatedAt time.Time
	UpdatedAt time.Time
}

// CreateKey adds an API key and returns it with its secret, which is shown this
// once: only its hash is kept.
func (s *Store) CreateKey(ctx context.Context, tx *db.Tx, account, name string) (Key, string, error) {
	if _, err := s.Get(ctx, tx, account); err != nil {
		return Key{}, "", err
	}
	now := s.Now()
	k := Key{SID: NewSID(KeyPrefix), Account: account, Name: name, CreatedAt: now, UpdatedAt: now}
	secret := newSecret()
	hash := sha256.Sum256([]byte(secret))
	if _, err := tx.ExecContext(ctx, `insert into api_key (sid, account_sid, name, secret_hash, created_at) values ($1, $2, $3, $4, $5)`,
		k.SID, account, name, hash[:], db.Micros(now)); err != nil {
		return Key{}, "", fmt.Errorf("store key %s: %w", k.SID, err)
	}
	return k, secret, s.events.Append(ctx, tx, event.Event{Kind: "api_key.created", Subject: k.SID, Account: account, At: now, Data: map[string]string{"name": name}})
}

// RenameKey gives an API key of an account another name.
func (s *Store) RenameKey(ctx context.Context, tx *db.Tx, account, sid, name string) error {
	now := s.Now()
	n, err := tx.Exec(ctx, `update api_key set name = $1, updated_at = $2 where sid = $3 and account_sid = $4`, name, db.Micros(now), sid, account)
	if err != nil {
		return fmt.Errorf("rename key %s: %w", sid, err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "API key %s was not found", sid)
	}
	return s.events.Append(ctx, tx, event.Event{Kind: "api_key.renamed", Subject: sid, Account: account, At: now, Data: map[string]string{"name": name}})
}

// DeleteKey withdraws an API key of an account.
func (s *Store) DeleteKey(ctx context.Context, tx *db.Tx, account, sid string) error {
	n, err := tx.Exec(ctx, `delete from api_key where sid = $1 and account_sid = $2`, sid, account)
	if err != nil {
		return fmt.Errorf("delete key %s: %w", sid, err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "API key %s was not found", sid)
	}
	tx.AfterCommit(s.callers.forget)
	return s.events.Append(ctx, tx, event.Event{Kind: "api_key.deleted", Subject: sid, Account: account, At: s.Now()})
}

const selectKey = `select sid, account_sid, name, created_at, updated_at from api_key where account_sid = $1`

func scanKey(r db.Row) (k Key, err error) {
	var created, updated int64
	err = r.Scan(&k.SID, &k.Account, &k.Name, &created, &updated)
	k.CreatedAt, k.UpdatedAt = db.Time(created), db.Time(max(created, updated))
	return k, err
}

// Key returns an API key of an account.
func (s *Store) Key(ctx context.Context, q db.Query, account, sid string) (Key, error) {
	k, err := scanKey(q.QueryRowContext(ctx, selectKey+` and sid = $2`, account, sid))
	if db.None(err) {
		return Key{}, fault.New(fault.NotFound, "API key %.60q was not found", sid)
	}
	if err != nil {
		return Key{}, fmt.Errorf("read key %.60q: %w", sid, err)
	}
	return k, nil
}

// Keys returns the API keys of an account in the order of their making, offset
// of them passed over.
func (s *Store) Keys(ctx context.Context, q db.Query, account string, offset, limit int) ([]Key, error) {
	list, err := db.All(ctx, q, scanKey, selectKey+` order by created_at, sid limit $2 offset $3`, account, limit, offset)
	if err != nil {
		return nil, fmt.Errorf("list keys of %s: %w", account, err)
	}
	return list, nil
}
