package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// A SecretStatus says whether a webhook secret signs. One of an account may.
type SecretStatus string

const (
	SecretActive  SecretStatus = "active"
	SecretPending SecretStatus = "pending"
)

// A WebhookSecret signs callbacks in KORE's dialect.
type WebhookSecret struct {
	ID         string
	Account    string
	Name       string
	Status     SecretStatus
	CreatedAt  time.Time
	ModifiedAt time.Time
}

// CreateSecret makes a webhook secret, which signs from then on, and returns it
// with its text, which is shown this once.
func (s *Store) CreateSecret(ctx context.Context, tx *db.Tx, account, name string) (WebhookSecret, string, error) {
	now := s.Now()
	w := WebhookSecret{ID: secretPrefix + newULID(now), Account: account, Name: name, Status: SecretActive, CreatedAt: now, ModifiedAt: now}
	if err := s.retireSecret(ctx, tx, account, now); err != nil {
		return WebhookSecret{}, "", err
	}
	text := newSecret() + newSecret()
	if _, err := tx.ExecContext(ctx, `insert into webhook_secret (id, account_sid, name, status, sealed, created_at, modified_at)
		values ($1, $2, $3, $4, $5, $6, $6)`, w.ID, account, name, string(w.Status), s.db.Seal(secretRow(w.ID), []byte(text)), db.Micros(now)); err != nil {
		return WebhookSecret{}, "", fmt.Errorf("store webhook secret %s: %w", w.ID, err)
	}
	tx.AfterCommit(s.signatures.forget)
	return w, text, s.events.Append(ctx, tx, event.Event{Kind: "webhook_secret.created", Subject: w.ID, Account: account, At: now, Data: map[string]string{"name": name}})
}

func secretRow(id string) string { return "webhook_secret/" + id }

// retireSecret has the secret that signs now step back.
func (s *Store) retireSecret(ctx context.Context, tx *db.Tx, account string, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `update webhook_secret set status = 'pending', modified_at = $1 where account_sid = $2 and status = 'active'`,
		db.Micros(now), account); err != nil {
		return fmt.Errorf("retire the webhook secret of %s: %w", account, err)
	}
	return nil
}

const secretColumns = `id, account_sid, name, status, created_at, modified_at`

func scanSecret(row db.Row) (WebhookSecret, error) {
	var w WebhookSecret
	var created, modified int64
	err := row.Scan(&w.ID, &w.Account, &w.Name, &w.Status, &created, &modified)
	w.CreatedAt, w.ModifiedAt = db.Time(created), db.Time(modified)
	return w, err
}

// UpdateSecret renames a webhook secret, or has it sign or not; nil leaves as
// it is.
func (s *Store) UpdateSecret(ctx context.Context, tx *db.Tx, account, id string, name *string, status *SecretStatus) (WebhookSecret, error) {
	w, err := scanSecret(tx.QueryRowContext(ctx, `select `+secretColumns+` from webhook_secret where id = $1 and account_sid = $2`+tx.ForUpdate(), id, account))
	if errors.Is(err, sql.ErrNoRows) {
		return WebhookSecret{}, fault.New(fault.NotFound, "webhook secret %.60q was not found", id)
	}
	if err != nil {
		return WebhookSecret{}, fmt.Errorf("read webhook secret %.60q: %w", id, err)
	}
	now := s.Now()
	if name != nil {
		w.Name = *name
	}
	if status != nil && *status != w.Status {
		if *status != SecretActive && *status != SecretPending {
			return WebhookSecret{}, fault.Field("Status", "must be active or pending, not %.40q", string(*status))
		}
		if *status == SecretActive {
			if err := s.retireSecret(ctx, tx, account, now); err != nil {
				return WebhookSecret{}, err
			}
		}
		w.Status = *status
	}
	w.ModifiedAt = now
	if _, err := tx.ExecContext(ctx, `update webhook_secret set name = $1, status = $2, modified_at = $3 where id = $4`,
		w.Name, string(w.Status), db.Micros(now), id); err != nil {
		return WebhookSecret{}, fmt.Errorf("store webhook secret %s: %w", id, err)
	}
	tx.AfterCommit(s.signatures.forget)
	return w, s.events.Append(ctx, tx, event.Event{Kind: "webhook_secret.updated", Subject: id, Account: account, At: now, Data: map[string]string{"name": w.Name, "status": string(w.Status)}})
}

// Secrets returns the webhook secrets of an account in the order of their
// making, offset of them passed over, and how many there are. An empty status is
// any.
func (s *Store) Secrets(ctx context.Context, q db.Query, account string, status SecretStatus, offset, limit int) (list []WebhookSecret, count int, err error) {
	const those = ` from webhook_secret where account_sid = $1 and ($2 = '' or status = $2)`
	if err := q.QueryRowContext(ctx, `select count(*)`+those, account, string(status)).Scan(&count); err != nil {
		return nil, 0, fmt.Errorf("count webhook secrets of %s: %w", account, err)
	}
	list, err = db.All(ctx, q, scanSecret, `select `+secretColumns+those+` order by created_at, id limit $3 offset $4`, account, string(status), limit, offset)
	if err != nil {
		return nil, 0, fmt.Errorf("list webhook secrets of %s: %w", account, err)
	}
	return list, count, nil
}

// Signing returns what signs the callbacks of an account, for the sender.
func (s *Store) Signing(ctx context.Context, account string) (callback.Signing, error) {
	now := s.Now()
	if found, ok := s.signatures.get(account, now); ok {
		return found, nil
	}
	token, err := s.SigningToken(ctx, account)
	if err != nil {
		return callback.Signing{}, err
	}
	seen := s.signatures.version()
	made := callback.Signing{Token: token}
	for range 2 {
		err = s.db.Read(ctx, func(q db.Query) error { return s.readSigning(ctx, q, account, &made) })
		if !errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err = s.db.Write(ctx, func(tx *db.Tx) error { return s.firstSetting(ctx, tx, account) }); err != nil {
			break
		}
	}
	if err != nil {
		return callback.Signing{}, fmt.Errorf("read what signs callbacks of %s: %w", account, err)
	}
	s.signatures.put(seen, account, made, now)
	return made, nil
}

// firstSetting gives an account the usual settings, if it has none.
func (s *Store) firstSetting(ctx context.Context, tx *db.Tx, account string) error {
	var key [32]byte
	rand.Read(key[:])
	_, err := tx.ExecContext(ctx, `insert into callback_setting (account_sid, dialect, sealed) values ($1, $2, $3) on conflict (account_sid) do nothing`,
		account, string(callback.Twilio), s.db.Seal(settingRow(account), key[:]))
	return err
}

func settingRow(account string) string { return "callback_setting/" + account }

func (s *Store) readSigning(ctx context.Context, q db.Query, account string, into *callback.Signing) error {
	var sealed []byte
	if err := q.QueryRowContext(ctx, `select dialect, sealed from callback_setting where account_sid = $1`, account).Scan(&into.Dialect, &sealed); err != nil {
		return err
	}
	key, err := s.db.Unseal(settingRow(account), sealed)
	if err != nil {
		return err
	}
	into.Standard = key
	var id string
	err = q.QueryRowContext(ctx, `select id, sealed from webhook_secret where account_sid = $1 and status = 'active'`, account).Scan(&id, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		into.Secret = nil
		return nil
	}
	if err != nil {
		return err
	}
	into.Secret, err = s.db.Unseal(secretRow(id), sealed)
	return err
}

// SetDialect says in which dialect an account gets its callbacks.
func (s *Store) SetDialect(ctx context.Context, tx *db.Tx, account string, to callback.Dialect) error {
	if !to.Known() {
		return fault.Field("Dialect", "must be twilio or kore, not %.40q", string(to))
	}
	if err := s.firstSetting(ctx, tx, account); err != nil {
		return fmt.Errorf("store callback settings of %s: %w", account, err)
	}
	if _, err := tx.ExecContext(ctx, `update callback_setting set dialect = $1 where account_sid = $2`, string(to), account); err != nil {
		return fmt.Errorf("store callback settings of %s: %w", account, err)
	}
	tx.AfterCommit(s.signatures.forget)
	return s.events.Append(ctx, tx, event.Event{Kind: "callback.dialect", Subject: account, Account: account, At: s.Now(), Data: map[string]string{"dialect": string(to)}})
}

// RotateStandard gives an account a new key for the Standard Webhooks signature.
func (s *Store) RotateStandard(ctx context.Context, tx *db.Tx, account string) error {
	if err := s.firstSetting(ctx, tx, account); err != nil {
		return fmt.Errorf("store callback settings of %s: %w", account, err)
	}
	var key [32]byte
	rand.Read(key[:])
	if _, err := tx.ExecContext(ctx, `update callback_setting set sealed = $1 where account_sid = $2`, s.db.Seal(settingRow(account), key[:]), account); err != nil {
		return fmt.Errorf("store callback settings of %s: %w", account, err)
	}
	tx.AfterCommit(s.signatures.forget)
	return s.events.Append(ctx, tx, event.Event{Kind: "callback.key_rotated", Subject: account, Account: account, At: s.Now()})
}

// StandardSecret writes a Standard Webhooks key as their libraries read it.
func StandardSecret(key db.Secret) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// EndpointNotice records that an endpoint was paused or resumed.
func (s *Store) EndpointNotice(ctx context.Context, tx *db.Tx, n callback.Notice) error {
	kind := "callback.endpoint_resumed"
	if n.Paused {
		kind = "callback.endpoint_paused"
	}
	return s.events.Append(ctx, tx, event.Event{Kind: kind, Subject: n.Account, Account: n.Account, At: s.Now(), Data: map[string]any{
		"endpoint": n.Endpoint, "failures": n.Failures, "since": n.Since.UTC().Format(time.RFC3339), "last_error": n.LastError,
	}})
}

// signatures remembers what signs callbacks. The zero value is ready.
type signatures struct {
	mu      sync.Mutex
	changes uint64
	known   map[string]remembered[callback.Signing]
}

func (c *signatures) version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

func (c *signatures) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	clear(c.known)
}

func (c *signatures) get(account string, now time.Time) (callback.Signing, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.known[account]
	return r.value, ok && now.Before(r.until)
}

func (c *signatures) put(seen uint64, account string, what callback.Signing, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == seen {
		put(&c.known, account, what, now)
	}
}

// Dialect returns in which dialect an account gets its callbacks.
func (s *Store) Dialect(ctx context.Context, q db.Query, account string) (callback.Dialect, error) {
	var d callback.Dialect
	err := q.QueryRowContext(ctx, `select dialect from callback_setting where account_sid = $1`, account).Scan(&d)
	if errors.Is(err, sql.ErrNoRows) {
		return callback.Twilio, nil
	}
	if err != nil {
		return "", fmt.Errorf("read callback settings of %s: %w", account, err)
	}
	return d, nil
}
