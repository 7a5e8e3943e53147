package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"godwit/db"
	"godwit/fault"
)

var errLogin = fault.New(fault.Unauthorized, "the user's name or password is wrong")

// VerifyUser checks the name and password of a user. What it refuses is
// Unauthorized, in the same words whatever was wrong. A right pair is remembered
// for [CacheTime] and then costs a look at the database, not another hash; so
// is a wrong one, for programs that do not stop asking.
func (s *Store) VerifyUser(ctx context.Context, name, password string) (Caller, error) {
	name = strings.ToLower(name)
	if !userName.MatchString(name) || len(password) > maxPassword {
		return Caller{}, errLogin
	}
	id := sha256.Sum256([]byte("user\x00" + name + "\x00" + password))
	now := s.Now()
	if c, ok := s.callers.get(id, now); ok {
		return c, nil
	}
	if s.passwords.refused(id, now) {
		return Caller{}, errLogin
	}
	seen := s.callers.version()
	c := Caller{User: name}
	stored, err := s.readLogin(ctx, &c, `select u.account_sid, u.role, u.password_hash, a.status, coalesce(p.status, 'active') from login_user u
		join account a on a.sid = u.account_sid left join account p on p.sid = a.parent_sid where u.name = $1`, name)
	if err != nil {
		return Caller{}, err
	}
	right, err := s.passwords.check(ctx, id, password, stored)
	if err != nil {
		return Caller{}, err
	}
	if !right || c.Account == "" {
		s.passwords.refuse(id, now)
		return Caller{}, errLogin
	}
	s.callers.put(seen, id, c, now)
	return c, nil
}

// readLogin reads a user for a caller. Where there is none that may log in, the
// account stays empty.
func (s *Store) readLogin(ctx context.Context, c *Caller, text string, args ...any) (hash string, err error) {
	var sid string
	var status, parent Status
	err = s.db.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, text, args...).Scan(&sid, &c.Role, &hash, &status, &parent)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read user: %w", err)
	}
	if err == nil && status == Active && parent == Active {
		c.Account = sid
	}
	return hash, nil
}

var errUserKey = fault.New(fault.Unauthorized, "the API key's identifier or secret is wrong, or the key has expired")

// VerifyUserKey checks the identifier and secret of a user's API key.
func (s *Store) VerifyUserKey(ctx context.Context, key, secret string) (Caller, error) {
	if !named(key) {
		return Caller{}, errUserKey
	}
	id := sha256.Sum256([]byte("key\x00" + key + "\x00" + secret))
	now := s.Now()
	if c, ok := s.callers.get(id, now); ok && now.Before(c.until) {
		return c, nil
	}
	seen := s.callers.version()
	c := Caller{Key: key}
	var want []byte
	var status, parent Status
	var allowed bool
	var expires int64
	err := s.db.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, `select u.account_sid, u.name, u.role, k.secret_hash, k.expires_at, c.api_keys, a.status, coalesce(p.status, 'active')
			from user_key k join login_user u on u.name = k.user_name join account a on a.sid = u.account_sid
			join customer c on c.account_sid = a.sid left join account p on p.sid = a.parent_sid where k.id = $1`,
			key).Scan(&c.Account, &c.User, &c.Role, &want, &expires, &allowed, &status, &parent)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Caller{}, fmt.Errorf("read API key: %w", err)
	}
	have := sha256.Sum256([]byte(secret))
	c.until = db.Time(expires)
	if subtle.ConstantTimeCompare(have[:], want) != 1 || status != Active || parent != Active || !now.Before(c.until) {
		return Caller{}, errUserKey
	}
	if !allowed {
		return Caller{}, fault.New(fault.Unauthorized, "API keys are off in this account: an administrator allows them first")
	}
	s.callers.put(seen, id, c, now)
	return c, nil
}

// What argon2id costs: 19 MiB and two passes. RFC 9106 leaves the choice to the
// application; passwords that are made here have 128 bits in any case.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashSize   = 32
	saltSize   = 16
)

// hashing has a place for each password that is being hashed: a few at a time,
// for each takes memory, and strangers may ask for it.
var hashing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// hash is argon2id as above, when its turn has come.
func hash(ctx context.Context, password string, salt []byte, passes, memory uint32) ([]byte, error) {
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, passes, memory, 1, hashSize), nil
}

// A Password is one that a user is to have, and its hash in the PHC string
// format.
type Password struct {
	Text db.Secret
	hash string
}

// NewPassword checks a password and hashes it; an empty one is made. That waits
// its turn behind those who log in and takes some time, so call it before the
// transaction that stores the password: others wait for that.
func NewPassword(ctx context.Context, text string) (Password, error) {
	if text == "" {
		text = newSecret()
	} else if err := checkPassword(text); err != nil {
		return Password{}, err
	}
	var salt [saltSize]byte
	rand.Read(salt[:])
	sum, err := hash(ctx, text, salt[:], hashPasses, hashMemory)
	if err != nil {
		return Password{}, err
	}
	enc := base64.RawStdEncoding
	return Password{Text: db.Secret(text), hash: fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s",
		argon2.Version, hashMemory, hashPasses, enc.EncodeToString(salt[:]), enc.EncodeToString(sum))}, nil
}

// passwords remembers which credentials were right, and which wrong. The zero
// value is ready.
type passwords struct {
	mu    sync.Mutex
	right map[[sha256.Size]byte]string    // credentials that were found right, with the hash that they matched
	wrong map[[sha256.Size]byte]time.Time // and wrong, until when
}

// check compares a password with a hash. For an empty one it takes the same time
// and says no, so that nobody learns which users there are.
func (p *passwords) check(ctx context.Context, id [sha256.Size]byte, password, stored string) (bool, error) {
	p.mu.Lock()
	known, ok := p.right[id]
	p.mu.Unlock()
	if ok && known == stored {
		return true, nil
	}
	var version, memory, passes uint32
	salt, want := make([]byte, saltSize), []byte(nil)
	if stored == "" {
		memory, passes = hashMemory, hashPasses
	} else {
		var err error
		parts := strings.Split(stored, "$")
		if len(parts) != 6 || parts[1] != "argon2id" {
			return false, errors.New("a password's hash has a form that is not known")
		}
		_, err1 := fmt.Sscanf(parts[2], "v=%d", &version)
		_, err2 := fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &memory, &passes)
		salt, err = base64.RawStdEncoding.DecodeString(parts[4])
		if err == nil {
			want, err = base64.RawStdEncoding.DecodeString(parts[5])
		}
		if err = errors.Join(err1, err2, err); err != nil || version != argon2.Version {
			return false, fmt.Errorf("a password's hash does not read: version %d, %w", version, err)
		}
	}
	sum, err := hash(ctx, password, salt, passes, memory)
	if err != nil {
		return false, err
	}
	if subtle.ConstantTimeCompare(sum, want) != 1 {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.right == nil || len(p.right) >= cacheSize {
		p.right = map[[sha256.Size]byte]string{}
	}
	p.right[id] = stored
	return true, nil
}

func (p *passwords) refused(id [sha256.Size]byte, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.wrong[id])
}

func (p *passwords) refuse(id [sha256.Size]byte, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wrong == nil || len(p.wrong) >= cacheSize {
		p.wrong = map[[sha256.Size]byte]time.Time{}
	}
	p.wrong[id] = now.Add(CacheTime)
}

// forgive forgets which credentials were wrong: one may be right now.
func (p *passwords) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.wrong)
}
