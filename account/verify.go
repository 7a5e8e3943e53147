package account

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
)

// A Caller is who has proved to be one.
type Caller struct {
	Account string // whose resources the call is about
	Key     string // SID of the API key that was used, empty for the auth token
	Client  string // the API client whose access token was used, empty for the others
	Other   bool   // the client is for other products than Super SIM
	User    string // who logged in to the Remote Manager, empty elsewhere
	Role    Role   // of the user

	until time.Time // when the key expires, of a user's API key
}

// Verify checks a pair of HTTP Basic credentials: account SID and auth token, or
// API key SID and its secret. What it refuses is Unauthorized, in the same words
// whatever was wrong.
func (s *Store) Verify(ctx context.Context, user, password string) (Caller, error) {
	// A credential is known by the hash of all of it, so that looking it up
	// compares nothing that a caller could guess bit by bit.
	id := sha256.Sum256([]byte(user + "\x00" + password))
	now := s.Now()
	if c, ok := s.callers.get(id, now); ok {
		return c, nil
	}
	seen := s.callers.version()
	c, err := s.verify(ctx, user, password)
	if err != nil {
		return Caller{}, err
	}
	s.callers.put(seen, id, c, now)
	return c, nil
}

func (s *Store) verify(ctx context.Context, user, password string) (Caller, error) {
	var c Caller
	var text string
	switch {
	case !named(user):
		return Caller{}, errRefused
	case strings.HasPrefix(user, Prefix):
		text = `select a.sid, '', a.token_hash, a.status, coalesce(p.status, 'active') from account a
			left join account p on p.sid = a.parent_sid where a.sid = $1`
	case strings.HasPrefix(user, KeyPrefix):
		text = `select a.sid, k.sid, k.secret_hash, a.status, coalesce(p.status, 'active') from api_key k join account a on a.sid = k.account_sid
			left join account p on p.sid = a.parent_sid where k.sid = $1`
	default:
		return Caller{}, errRefused
	}
	var want []byte
	var status, parent Status
	err := s.db.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, text, user).Scan(&c.Account, &c.Key, &want, &status, &parent)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Caller{}, fmt.Errorf("read credentials: %w", err)
	}
	have := sha256.Sum256([]byte(password))
	if subtle.ConstantTimeCompare(have[:], want) != 1 || status != Active || parent != Active {
		return Caller{}, errRefused
	}
	return c, nil
}

// named reports whether a text may be the name of a credential: all of them are of
// letters, digits and a few signs. What a stranger sends else is no question to a
// database, which may refuse it as no text at all.
func named(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

var errRefused = fault.New(fault.Unauthorized, "Authenticate: the username must be an account SID or an API key SID, the password its auth token or secret")
