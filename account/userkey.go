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

// A UserKey is a credential that acts for a user: an identifier and a secret,
// for programs.
type UserKey struct {
	ID          string
	User        string
	Description string
	CreatedAt   time.Time
	ExpiresAt   time.Time
}

// KeyLife is how long an API key of a user lives at most, and if nothing else is
// said.
const KeyLife = 365 * 24 * time.Hour

// CreateUserKey makes an API key for a user and returns it with its secret, which
// is shown this once. The account must allow keys. A life of 0 is [KeyLife].
func (s *Store) CreateUserKey(ctx context.Context, tx *db.Tx, account, user, description string, life time.Duration) (UserKey, string, error) {
	u, err := s.User(ctx, tx, account, user)
	if err != nil {
		return UserKey{}, "", err
	}
	c, err := s.Customer(ctx, tx, account)
	if err != nil {
		return UserKey{}, "", err
	}
	if !c.APIKeys {
		return UserKey{}, "", fault.New(fault.Forbidden, "API keys are off in this account: an administrator allows them first")
	}
	if life == 0 {
		life = KeyLife
	}
	if life < time.Second || life > KeyLife {
		return UserKey{}, "", fault.Field("lifetime", "must be 1 second to %d days", int(KeyLife/(24*time.Hour)))
	}
	now := s.Now()
	k := UserKey{ID: newSecret(), User: u.Name, Description: description, CreatedAt: now, ExpiresAt: now.Add(life)}
	secret := newSecret() + newSecret()
	hash := sha256.Sum256([]byte(secret))
	if _, err := tx.ExecContext(ctx, `insert into user_key (id, user_name, description, secret_hash, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)`,
		k.ID, k.User, k.Description, hash[:], db.Micros(now), db.Micros(k.ExpiresAt)); err != nil {
		return UserKey{}, "", fmt.Errorf("store API key %s: %w", k.ID, err)
	}
	return k, secret, s.events.Append(ctx, tx, event.Event{Kind: "user_key.created", Subject: k.ID, Account: account, At: now, Data: map[string]string{"user": k.User}})
}

// UserKeys returns the API keys of a user in the order of their making.
func (s *Store) UserKeys(ctx context.Context, q db.Query, account, user string) ([]UserKey, error) {
	list, err := db.All(ctx, q, func(r db.Row) (k UserKey, err error) {
		var created, expires int64
		err = r.Scan(&k.ID, &k.User, &k.Description, &created, &expires)
		k.CreatedAt, k.ExpiresAt = db.Time(created), db.Time(expires)
		return k, err
	}, `select k.id, k.user_name, k.description, k.created_at, k.expires_at from user_key k
		join login_user u on u.name = k.user_name where u.account_sid = $1 and u.name = $2 order by k.created_at, k.id`, account, user)
	if err != nil {
		return nil, fmt.Errorf("list API keys of %s: %w", user, err)
	}
	return list, nil
}

// DeleteUserKey withdraws an API key of a user.
func (s *Store) DeleteUserKey(ctx context.Context, tx *db.Tx, account, user, id string) error {
	n, err := tx.Exec(ctx, `delete from user_key where id = $1 and user_name in (select name from login_user where name = $2 and account_sid = $3)`, id, user, account)
	if err != nil {
		return fmt.Errorf("delete API key %.60q: %w", id, err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "API key %.60q was not found", id)
	}
	tx.AfterCommit(s.callers.forget)
	return s.events.Append(ctx, tx, event.Event{Kind: "user_key.deleted", Subject: id, Account: account, At: s.Now(), Data: map[string]string{"user": user}})
}
