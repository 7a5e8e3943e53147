package account

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// Access tokens are JWTs of RFC 9068's kind, signed with ES256. Clients read
// their exp; what else is in there is for us.

// issuer stands in every token, and only tokens with it are ours.
const issuer = "godwit"

// claims are what a token says.
type claims struct {
	Issuer   string           `json:"iss"`
	Subject  string           `json:"sub"` // the client
	Account  string           `json:"account_id"`
	Client   string           `json:"client_id"`
	Scope    string           `json:"scope"`
	ID       string           `json:"jti"`
	IssuedAt *jwt.NumericDate `json:"iat"`
	Expiry   *jwt.NumericDate `json:"exp"`
}

// A Token is an access token with what its owner is told about it.
type Token struct {
	Text    string
	Expires time.Duration
	Scope   string
}

// tokenKeys are the keys of this installation, by key identifier.
type tokenKeys struct {
	mu   sync.Mutex
	list []jose.JSONWebKey // private; the newest first
}

// Issue makes an access token for a client that has proved itself. It may
// write, so it is not for use inside a transaction.
func (s *Store) Issue(ctx context.Context, c Client) (Token, error) {
	keys, err := s.keys(ctx, true)
	if err != nil {
		return Token{}, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: keys[0]}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		return Token{}, fmt.Errorf("sign a token: %w", err)
	}
	now := s.Now()
	scope := strings.Join(c.Products, " ")
	text, err := jwt.Signed(signer).Claims(claims{
		Issuer: issuer, Subject: c.ID, Account: KoreID(c.Account), Client: c.ID, Scope: scope, ID: newULID(now),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(c.Lifetime)),
	}).Serialize()
	if err != nil {
		return Token{}, fmt.Errorf("sign a token: %w", err)
	}
	return Token{Text: text, Expires: c.Lifetime, Scope: scope}, nil
}

// keys returns the signing keys, the newest first. The first one is made when
// there is none and one is needed.
func (s *Store) keys(ctx context.Context, needed bool) ([]jose.JSONWebKey, error) {
	s.signing.mu.Lock()
	defer s.signing.mu.Unlock()
	if len(s.signing.list) > 0 {
		return s.signing.list, nil
	}
	if err := s.readKeys(ctx); err != nil || len(s.signing.list) > 0 || !needed {
		return s.signing.list, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of tokens: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the key of tokens: %w", err)
	}
	kid := newULID(s.Now())
	// Two nodes may come here together: both keys are good, and each learns of
	// the other's when it meets a token that was signed with it.
	if err := s.db.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `insert into token_key (kid, key_sealed, created_at) values ($1, $2, $3)`,
			kid, s.db.Seal(keyRow(kid), encoded), db.Micros(s.Now()))
		return err
	}); err != nil {
		return nil, fmt.Errorf("store the key of tokens: %w", err)
	}
	return s.signing.list, s.readKeys(ctx)
}

func keyRow(kid string) string { return "token_key/" + kid }

// readKeys reads them all anew. The caller holds the lock. The list is replaced, not
// changed: others may be reading the old one.
func (s *Store) readKeys(ctx context.Context) error {
	var list []jose.JSONWebKey
	err := s.db.Read(ctx, func(q db.Query) error {
		list = nil
		rows, err := q.QueryContext(ctx, `select kid, key_sealed from token_key order by created_at desc, kid`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kid string
			var sealed []byte
			if err := rows.Scan(&kid, &sealed); err != nil {
				return err
			}
			encoded, err := s.db.Unseal(keyRow(kid), sealed)
			if err != nil {
				return err
			}
			key, err := x509.ParsePKCS8PrivateKey(encoded)
			if err != nil {
				return err
			}
			list = append(list, jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(jose.ES256), Use: "sig"})
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("read the keys of tokens: %w", err)
	}
	s.signing.list = list
	return nil
}

// KeySet returns the public keys with which anybody can check a token, as the
// JSON of RFC 7517.
func (s *Store) KeySet(ctx context.Context) ([]byte, error) {
	keys, err := s.keys(ctx, true)
	if err != nil {
		return nil, err
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public())
	}
	return json.Marshal(set)
}

// maxToken is longer than any token of ours.
const maxToken = 2048

// errToken refuses a token, in the same words whatever was wrong.
var errToken = fault.New(fault.Unauthorized, "Authenticate: the access token is not valid, or not valid any more; ask the token endpoint for another")

// VerifyToken checks an access token. A good one is remembered until it
// expires; whether it, its client or its account was withdrawn meanwhile is looked
// up again every [CacheTime].
func (s *Store) VerifyToken(ctx context.Context, text string) (Caller, error) {
	if len(text) > maxToken {
		return Caller{}, errToken
	}
	id := sha256.Sum256([]byte(text))
	now := s.Now()
	known, ok := s.bearers.get(id)
	if ok && !now.Before(known.expires) {
		return Caller{}, errToken
	}
	if c, fresh := s.callers.get(id, now); ok && fresh {
		return c, nil
	}
	if !ok {
		c, err := s.readToken(ctx, text, now)
		if err != nil {
			return Caller{}, err
		}
		known = bearer{client: c.Client, id: c.ID, expires: c.Expiry.Time()}
	}
	seen := s.callers.version()
	c := Caller{Client: known.client}
	var products string
	err := s.db.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, `select a.sid, c.products from api_client c join account a on a.sid = c.account_sid
			left join account p on p.sid = a.parent_sid
			where c.id = $1 and a.status = 'active' and coalesce(p.status, 'active') = 'active'
			and not exists (select 1 from token_revoked where id = $2)`, known.client, known.id).Scan(&c.Account, &products)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Caller{}, errToken
	}
	if err != nil {
		return Caller{}, fmt.Errorf("read the client of a token: %w", err)
	}
	var scopes []string
	if err := json.Unmarshal([]byte(products), &scopes); err != nil {
		return Caller{}, fmt.Errorf("read the products of client %s: %w", c.Client, err)
	}
	c.Other = !slices.Contains(scopes, SuperSIM)
	s.bearers.put(id, known)
	s.callers.put(seen, id, c, now)
	return c, nil
}

// readToken checks a token's signature, and then reads it.
func (s *Store) readToken(ctx context.Context, text string, now time.Time) (c claims, err error) {
	// Only what we sign with: a token that names another algorithm is not read.
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(token.Headers) != 1 {
		return c, errToken
	}
	key, err := s.keyOf(ctx, token.Headers[0].KeyID)
	if err != nil {
		return c, err
	}
	if key == nil {
		return c, errToken
	}
	if err := token.Claims(key.Public(), &c); err != nil {
		return c, errToken
	}
	if c.Issuer != issuer || c.Expiry == nil || !now.Before(c.Expiry.Time()) {
		return c, errToken
	}
	return c, nil
}

// keyOf returns the key of an identifier, nil for an unknown one. A key that
// another node made is learnt, once in a while: strangers can name keys too.
func (s *Store) keyOf(ctx context.Context, kid string) (*jose.JSONWebKey, error) {
	keys, err := s.keys(ctx, false)
	if err != nil {
		return nil, err
	}
	named := func(k jose.JSONWebKey) bool { return k.KeyID == kid }
	if i := slices.IndexFunc(keys, named); i >= 0 {
		return &keys[i], nil
	}
	s.signing.mu.Lock()
	defer s.signing.mu.Unlock()
	if now := s.Now(); now.Sub(s.learnt) < time.Second {
		return nil, nil
	} else {
		s.learnt = now
	}
	if err := s.readKeys(ctx); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(s.signing.list, named); i >= 0 {
		return &s.signing.list[i], nil
	}
	return nil, nil
}

// Revoke withdraws one token of a client before it expires. A text that is no
// token of that client is passed over: RFC 7009, 2.2.
func (s *Store) Revoke(ctx context.Context, c Client, text string) error {
	if len(text) > maxToken {
		return nil
	}
	now := s.Now()
	read, err := s.readToken(ctx, text, now)
	if _, refused := fault.As(err); refused || err == nil && read.Client != c.ID {
		return nil
	}
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *db.Tx) error {
		if _, err := tx.ExecContext(ctx, `delete from token_revoked where expires_at < $1`, db.Micros(now)); err != nil {
			return fmt.Errorf("forget tokens that have expired: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `insert into token_revoked (id, expires_at) values ($1, $2) on conflict (id) do nothing`,
			read.ID, db.Micros(read.Expiry.Time())); err != nil {
			return fmt.Errorf("revoke a token of %s: %w", c.ID, err)
		}
		tx.AfterCommit(s.callers.forget)
		return s.events.Append(ctx, tx, event.Event{Kind: "token.revoked", Subject: c.ID, Account: c.Account, At: now})
	})
}

// A bearer is a token whose signature was found right.
type bearer struct {
	client, id string
	expires    time.Time
}

// bearers remembers them by the hash of the token. The zero value is ready.
type bearers struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]bearer
}

func (b *bearers) get(id [sha256.Size]byte) (bearer, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.known[id]
	return known, ok
}

func (b *bearers) put(id [sha256.Size]byte, one bearer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil || len(b.known) >= cacheSize {
		b.known = map[[sha256.Size]byte]bearer{}
	}
	b.known[id] = one
}
