package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

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

// retireSecret has the secret that signs now step back. Touching the account makes
// the engine order those who do so at the same time: the later one sees the
// secret of the earlier.
func (s *Store) retireSecret(ctx context.Context, tx *db.Tx, account string, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `update account set updated_at = updated_at where sid = $1`, account); err != nil {
		return fmt.Errorf("lock account %s: %w", account, err)
	}
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
