// Package account is who the customers are and how they prove it: the main
// account, its subaccounts, auth tokens and API keys.
//
// A subaccount is addressed with its own SID and token; its parent's credentials
// do not act on it.
package account

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// Prefixes of this package's SIDs.
const (
	Prefix    = "AC"
	KeyPrefix = "SK"
)

// Status is where an account stands.
type Status string

const (
	Active    Status = "active"
	Suspended Status = "suspended" // its credentials are refused
	Closed    Status = "closed"    // for good
)

// moves lists what may become of an account.
var moves = map[Status][]Status{
	Active:    {Suspended, Closed},
	Suspended: {Active, Closed},
}

// An Account is one customer.
type Account struct {
	SID       string
	Parent    string // empty for the main account
	Name      string
	Status    Status
	CreatedAt time.Time
	UpdatedAt time.Time
}

// A Store keeps accounts.
type Store struct {
	db     *db.DB
	events *event.Log
	Now    func() time.Time

	callers    memory[[sha256.Size]byte, Caller] // by the hash of their credentials
	signatures memory[string, callback.Signing]  // by account
	signing    tokenKeys
	learnt     time.Time // when keys of tokens were last read because of an unknown one
	bearers    bearers
	passwords  passwords
}

// New returns the accounts of a database.
func New(d *db.DB, events *event.Log) *Store {
	return &Store{db: d, events: events, Now: time.Now}
}

// Create adds an account and returns it with its auth token, which can be
// asked for again with [Store.Token].
func (s *Store) Create(ctx context.Context, tx *db.Tx, parent, name string) (Account, string, error) {
	now := s.Now()
	a := Account{SID: NewSID(Prefix), Parent: parent, Name: name, Status: Active, CreatedAt: now, UpdatedAt: now}
	if parent != "" {
		p, err := s.Get(ctx, tx, parent)
		if err != nil {
			return Account{}, "", err
		}
		if p.Parent != "" || p.Status != Active {
			return Account{}, "", fault.New(fault.Conflict, "account %s cannot have subaccounts: it must be active and a main account itself", parent)
		}
	}
	token := newSecret()
	hash := sha256.Sum256([]byte(token))
	if _, err := tx.ExecContext(ctx, `insert into account (sid, parent_sid, name, status, token_hash, token_sealed, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8)`, a.SID, db.Null(parent), name, string(a.Status),
		hash[:], s.db.Seal(tokenRow(a.SID), []byte(token)), db.Micros(now), db.Micros(now)); err != nil {
		return Account{}, "", fmt.Errorf("store account %s: %w", a.SID, err)
	}
	if err := s.addCustomer(ctx, tx, a.SID); err != nil {
		return Account{}, "", err
	}
	return a, token, s.events.Append(ctx, tx, event.Event{Kind: "account.created", Subject: a.SID, Account: a.SID, At: now, Data: map[string]string{"name": name, "parent": parent}})
}

func tokenRow(sid string) string { return "account/" + sid + "/token" }

// Get returns an account.
func (s *Store) Get(ctx context.Context, q db.Query, sid string) (Account, error) {
	a, err := scan(q.QueryRowContext(ctx, `select `+columns+` from account where sid = $1`, sid))
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, fault.New(fault.NotFound, "account %s was not found", sid)
	}
	if err != nil {
		return Account{}, fmt.Errorf("read account %s: %w", sid, err)
	}
	return a, nil
}

// List returns accounts in the order of their making: the subaccounts of
// parent, or the main accounts if it is empty. after is the last one of the page before.
func (s *Store) List(ctx context.Context, q db.Query, parent string, after Account, limit int) ([]Account, error) {
	list, err := db.All(ctx, q, scan, `select `+columns+` from account
		where coalesce(parent_sid, '') = $1 and (created_at, sid) > ($2, $3) order by created_at, sid limit $4`,
		parent, keyTime(after.CreatedAt), after.SID, limit)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}

// A Filter selects accounts; empty members fit all.
type Filter struct {
	Name   string
	Status Status
}

// Family returns an account and its subaccounts, itself first and then in the
// order of their making, offset of them passed over.
func (s *Store) Family(ctx context.Context, q db.Query, sid string, f Filter, offset, limit int) ([]Account, error) {
	list, err := db.All(ctx, q, scan, `select `+columns+` from account where (sid = $1 or parent_sid = $1) and ($2 = '' or name = $2) and ($3 = '' or status = $3)
		order by case when sid = $1 then 0 else 1 end, created_at, sid limit $4 offset $5`, sid, f.Name, string(f.Status), limit, offset)
	if err != nil {
		return nil, fmt.Errorf("list the family of %s: %w", sid, err)
	}
	return list, nil
}

// keyTime is a time in a key of a page; before everything if there is none.
func keyTime(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return db.Micros(t)
}

const columns = `sid, coalesce(parent_sid, ''), name, status, created_at, updated_at`

func scan(row db.Row) (Account, error) {
	var a Account
	var created, updated int64
	err := row.Scan(&a.SID, &a.Parent, &a.Name, &a.Status, &created, &updated)
	a.CreatedAt, a.UpdatedAt = db.Time(created), db.Time(updated)
	return a, err
}

// SetStatus suspends an account, takes it back, or closes it. Its credentials
// and those of its subaccounts are refused from then on, on other nodes within [CacheTime].
func (s *Store) SetStatus(ctx context.Context, tx *db.Tx, sid string, to Status) error {
	a, err := s.Get(ctx, tx, sid)
	if err != nil {
		return err
	}
	if !a.Status.CanBecome(to) {
		return fault.New(fault.Conflict, "an account that is %s cannot become %s", a.Status, to)
	}
	now := s.Now()
	if _, err := tx.ExecContext(ctx, `update account set status = $1, updated_at = $2 where sid = $3`, string(to), db.Micros(now), sid); err != nil {
		return fmt.Errorf("store status of %s: %w", sid, err)
	}
	tx.AfterCommit(s.callers.forget)
	return s.events.Append(ctx, tx, event.Event{Kind: "account.status", Subject: sid, Account: sid, At: now, Data: map[string]Status{"from": a.Status, "to": to}})
}

// Rename gives an account another name.
func (s *Store) Rename(ctx context.Context, tx *db.Tx, sid, name string) error {
	now := s.Now()
	n, err := tx.Exec(ctx, `update account set name = $1, updated_at = $2 where sid = $3`, name, db.Micros(now), sid)
	if err != nil {
		return fmt.Errorf("store name of %s: %w", sid, err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "account %s was not found", sid)
	}
	return s.events.Append(ctx, tx, event.Event{Kind: "account.renamed", Subject: sid, Account: sid, At: now, Data: map[string]string{"name": name}})
}

// CanBecome reports whether an account in s may become t.
func (s Status) CanBecome(t Status) bool {
	for _, to := range moves[s] {
		if to == t {
			return true
		}
	}
	return false
}

// Token returns the auth token of an account, which signs its callbacks.
func (s *Store) Token(ctx context.Context, q db.Query, sid string) (db.Secret, error) {
	var sealed []byte
	err := q.QueryRowContext(ctx, `select token_sealed from account where sid = $1`, sid).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "account %s was not found", sid)
	}
	if err != nil {
		return nil, fmt.Errorf("read token of %s: %w", sid, err)
	}
	token, err := s.db.Unseal(tokenRow(sid), sealed)
	if err != nil {
		return nil, fmt.Errorf("token of %s: %w", sid, err)
	}
	return token, nil
}

// RotateToken gives an account a new auth token. The old one is refused from
// then on, on other nodes within [CacheTime].
func (s *Store) RotateToken(ctx context.Context, tx *db.Tx, sid string) (string, error) {
	token := newSecret()
	hash := sha256.Sum256([]byte(token))
	now := s.Now()
	n, err := tx.Exec(ctx, `update account set token_hash = $1, token_sealed = $2, updated_at = $3 where sid = $4`,
		hash[:], s.db.Seal(tokenRow(sid), []byte(token)), db.Micros(now), sid)
	if err != nil {
		return "", fmt.Errorf("store token of %s: %w", sid, err)
	}
	if n == 0 {
		return "", fault.New(fault.NotFound, "account %s was not found", sid)
	}
	tx.AfterCommit(s.callers.forget)
	tx.AfterCommit(s.signatures.forget)
	return token, s.events.Append(ctx, tx, event.Event{Kind: "account.token_rotated", Subject: sid, Account: sid, At: now})
}
