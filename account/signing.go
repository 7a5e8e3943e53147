package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// What signs the callbacks of an account, and in which dialect: its auth token,
// its webhook secret if it has one, and a key for Standard Webhooks.

// Signing returns what signs the callbacks of an account, for the sender.
func (s *Store) Signing(ctx context.Context, account string) (callback.Signing, error) {
	now := s.Now()
	if found, ok := s.signatures.get(account, now); ok {
		return found, nil
	}
	seen := s.signatures.version()
	var made callback.Signing
	var err error
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
	var err error
	if into.Token, err = s.Token(ctx, q, account); err != nil {
		return err
	}
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
