package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// A Client is an OAuth client of an account: what asks for access tokens with
// its identifier and secret.
type Client struct {
	ID        string
	Account   string
	Name      string
	Owner     string // an e-mail address, for the record
	Products  []string
	Locked    *bool         // a locked client cannot be deleted; nil where nothing was said
	Lifetime  time.Duration // of its tokens
	CreatedAt time.Time
}

// Lifetimes are those that a client's tokens may have.
var Lifetimes = []time.Duration{time.Hour, 24 * time.Hour, 30 * 24 * time.Hour, 24 * 30 * 24 * time.Hour}

// Products are what a client may be for.
var Products = []string{SuperSIM, "ProgrammableWireless"}

// SuperSIM is the product that is served here.
const SuperSIM = "SuperSIM"

// CreateClient adds a client and returns it with its secret, which is shown this
// once. Of c, the account, name, owner, products, lock and lifetime count. A recoverable
// secret can be read again with [Store.ClientSecret].
func (s *Store) CreateClient(ctx context.Context, tx *db.Tx, c Client, recoverable bool) (Client, string, error) {
	if c.Lifetime == 0 {
		c.Lifetime = Lifetimes[0]
	}
	if !slices.Contains(Lifetimes, c.Lifetime) {
		return Client{}, "", fault.Field("lifetime", "must be one of 3600, 86400, 2592000 and 62208000 seconds, not %d", int64(c.Lifetime/time.Second))
	}
	if len(c.Products) == 0 {
		c.Products = Products
	}
	for _, p := range c.Products {
		if !slices.Contains(Products, p) {
			return Client{}, "", fault.Field("scopes", "product %.40q is none of SuperSIM and ProgrammableWireless", p)
		}
	}
	if _, err := s.Get(ctx, tx, c.Account); err != nil {
		return Client{}, "", err
	}
	products, err := json.Marshal(c.Products)
	if err != nil {
		return Client{}, "", err
	}
	now := s.Now()
	c.ID, c.CreatedAt = clientPrefix+newULID(now), now
	secret := newSecret() + newSecret()
	hash := sha256.Sum256([]byte(secret))
	var sealed []byte
	if recoverable {
		sealed = s.db.Seal(clientRow(c.ID), []byte(secret))
	}
	var locked sql.NullBool
	if c.Locked != nil {
		locked = sql.NullBool{Bool: *c.Locked, Valid: true}
	}
	if _, err := tx.ExecContext(ctx, `insert into api_client (id, account_sid, name, owner, products, locked, lifetime, secret_hash, secret_sealed, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, c.ID, c.Account, c.Name, c.Owner, string(products), locked,
		int64(c.Lifetime/time.Second), hash[:], sealed, db.Micros(now)); err != nil {
		return Client{}, "", fmt.Errorf("store client %s: %w", c.ID, err)
	}
	return c, secret, s.events.Append(ctx, tx, event.Event{Kind: "api_client.created", Subject: c.ID, Account: c.Account, At: now, Data: map[string]string{"name": c.Name}})
}

func clientRow(id string) string { return "api_client/" + id + "/secret" }

const clientColumns = `id, account_sid, name, owner, products, locked, lifetime, created_at`

func scanClient(row db.Row) (Client, error) {
	var c Client
	var products string
	var locked sql.NullBool
	var lifetime, created int64
	if err := row.Scan(&c.ID, &c.Account, &c.Name, &c.Owner, &products, &locked, &lifetime, &created); err != nil {
		return c, err
	}
	if locked.Valid {
		c.Locked = &locked.Bool
	}
	c.Lifetime, c.CreatedAt = time.Duration(lifetime)*time.Second, db.Time(created)
	return c, json.Unmarshal([]byte(products), &c.Products)
}

// Client returns a client of one of the given accounts.
func (s *Store) Client(ctx context.Context, q db.Query, account, id string) (Client, error) {
	c, err := scanClient(q.QueryRowContext(ctx, `select `+clientColumns+` from api_client
		where id = $1 and account_sid in (select sid from account where sid = $2 or parent_sid = $2)`, id, account))
	if errors.Is(err, sql.ErrNoRows) {
		return Client{}, fault.New(fault.NotFound, "API client %.60q was not found", id)
	}
	if err != nil {
		return Client{}, fmt.Errorf("read client %.60q: %w", id, err)
	}
	return c, nil
}

// Clients returns the clients of an account and its subaccounts in the order of
// their making, offset of them passed over, and how many there are.
func (s *Store) Clients(ctx context.Context, q db.Query, account string, offset, limit int) (list []Client, count int, err error) {
	const those = ` from api_client where account_sid in (select sid from account where sid = $1 or parent_sid = $1)`
	if err := q.QueryRowContext(ctx, `select count(*)`+those, account).Scan(&count); err != nil {
		return nil, 0, fmt.Errorf("count clients of %s: %w", account, err)
	}
	list, err = db.All(ctx, q, scanClient, `select `+clientColumns+those+` order by created_at, id limit $2 offset $3`, account, limit, offset)
	if err != nil {
		return nil, 0, fmt.Errorf("list clients of %s: %w", account, err)
	}
	return list, count, nil
}

// DeleteClient withdraws a client with all its tokens; these are refused from
// then on, on other nodes within [CacheTime].
func (s *Store) DeleteClient(ctx context.Context, tx *db.Tx, account, id string) error {
	c, err := s.Client(ctx, tx, account, id)
	if err != nil {
		return err
	}
	if c.Locked != nil && *c.Locked {
		return fault.New(fault.Conflict, "API client %s is locked: it cannot be deleted", id)
	}
	if _, err := tx.ExecContext(ctx, `delete from api_client where id = $1`, id); err != nil {
		return fmt.Errorf("delete client %s: %w", id, err)
	}
	tx.AfterCommit(s.callers.forget)
	return s.events.Append(ctx, tx, event.Event{Kind: "api_client.deleted", Subject: id, Account: c.Account, At: s.Now()})
}

// ClientSecret returns the first client of an account whose secret can be
// read again, with it; an empty Client when there is none.
func (s *Store) ClientSecret(ctx context.Context, q db.Query, account string) (id string, secret db.Secret, err error) {
	var sealed []byte
	err = q.QueryRowContext(ctx, `select id, secret_sealed from api_client where account_sid = $1 and secret_sealed is not null
		order by created_at, id limit 1`, account).Scan(&id, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("read the client of %s: %w", account, err)
	}
	plain, err := s.db.Unseal(clientRow(id), sealed)
	if err != nil {
		return "", nil, fmt.Errorf("secret of %s: %w", id, err)
	}
	return id, plain, nil
}

// VerifyClient checks a client's identifier and secret. What it refuses is
// Unauthorized, in the same words whatever was wrong.
func (s *Store) VerifyClient(ctx context.Context, id, secret string) (Client, error) {
	if !named(id) {
		return Client{}, errClient
	}
	var c Client
	var want []byte
	have := sha256.Sum256([]byte(secret))
	err := s.db.Read(ctx, func(q db.Query) error {
		err := q.QueryRowContext(ctx, `select c.secret_hash from api_client c join account a on a.sid = c.account_sid
			left join account p on p.sid = a.parent_sid
			where c.id = $1 and a.status = 'active' and coalesce(p.status, 'active') = 'active'`, id).Scan(&want)
		if err != nil {
			return err
		}
		c, err = scanClient(q.QueryRowContext(ctx, `select `+clientColumns+` from api_client where id = $1`, id))
		return err
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Client{}, fmt.Errorf("read client: %w", err)
	}
	if err != nil || subtle.ConstantTimeCompare(have[:], want) != 1 {
		return Client{}, errClient
	}
	return c, nil
}

var errClient = fault.New(fault.Unauthorized, "Invalid client or Invalid client credentials")
