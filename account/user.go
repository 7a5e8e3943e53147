package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// A Role says what a user of the Remote Manager may do.
type Role string

// The roles, with the names that the hosted service has for them.
const (
	Administrator       Role = "administrator"
	ReadWrite           Role = "user"
	ReadOnly            Role = "read-only user"
	Application         Role = "application"           // programs: the API only
	ReadOnlyApplication Role = "read-only application" // likewise
)

// Roles lists the roles.
var Roles = []Role{Administrator, ReadWrite, ReadOnly, Application, ReadOnlyApplication}

// Reads reports whether a role may look at anything: each may.
func (r Role) Reads() bool { return r != "" }

// Writes reports whether a role may change anything.
func (r Role) Writes() bool { return r == Administrator || r == ReadWrite || r == Application }

// Manages reports whether a role may change users and the account.
func (r Role) Manages() bool { return r == Administrator }

// ParseRole reads the name of a role. Hyphens and underscores may stand for
// blanks.
func ParseRole(s string) (Role, error) {
	plain := strings.NewReplacer("_", " ", "-", " ")
	for _, r := range Roles {
		if strings.EqualFold(plain.Replace(s), plain.Replace(string(r))) {
			return r, nil
		}
	}
	return "", fault.Field("role", "must be one of %s, not %.40q", rolesText(), s)
}

func rolesText() string {
	names := make([]string, len(Roles))
	for i, r := range Roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// A User is somebody, or a program, who logs in with a name and a password.
type User struct {
	Name      string // in small letters; no other user of the installation has it
	Account   string
	Role      Role
	CreatedAt time.Time
	UpdatedAt time.Time
}

// userName is what HTTP Basic carries and people type.
var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@+-]{0,63}$`)

// What a password may have. Whoever hashes longer ones works for strangers.
const (
	minPassword = 8
	maxPassword = 128
)

func checkPassword(password string) error {
	if n := utf8.RuneCountInString(password); n < minPassword || len(password) > maxPassword || !utf8.ValidString(password) {
		return fault.Field("password", "must have %d to %d characters", minPassword, maxPassword)
	}
	return nil
}

// CreateUser adds a user. A recoverable password can be read again with
// [Store.UserPassword].
func (s *Store) CreateUser(ctx context.Context, tx *db.Tx, u User, password Password, recoverable bool) (User, error) {
	u.Name = strings.ToLower(u.Name)
	if !userName.MatchString(u.Name) {
		return User{}, fault.Field("name", "must be 1 to 64 letters, digits and . _ @ + -, and begin with a letter or digit")
	}
	if !slices.Contains(Roles, u.Role) {
		return User{}, fault.Field("role", "must be one of %s, not %.40q", rolesText(), string(u.Role))
	}
	if _, err := s.Get(ctx, tx, u.Account); err != nil {
		return User{}, err
	}
	var sealed []byte
	if recoverable {
		sealed = s.db.Seal(userRow(u.Name), password.Text)
	}
	now := s.Now()
	u.CreatedAt, u.UpdatedAt = now, now
	n, err := tx.Exec(ctx, `insert into login_user (name, account_sid, role, password_hash, password_sealed, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $6) on conflict (name) do nothing`, u.Name, u.Account, string(u.Role), password.hash, sealed, db.Micros(now))
	if err != nil {
		return User{}, fmt.Errorf("store user %s: %w", u.Name, err)
	}
	if n == 0 {
		return User{}, fault.New(fault.Conflict, "there is a user %s: names are taken once in an installation", u.Name)
	}
	tx.AfterCommit(s.passwords.forgive)
	return u, s.events.Append(ctx, tx, event.Event{Kind: "user.created", Subject: u.Name, Account: u.Account, At: now, Data: map[string]string{"role": string(u.Role)}})
}

func userRow(name string) string { return "login_user/" + name + "/password" }

const userColumns = `name, account_sid, role, created_at, updated_at`

func scanUser(row db.Row) (User, error) {
	var u User
	var created, updated int64
	err := row.Scan(&u.Name, &u.Account, &u.Role, &created, &updated)
	u.CreatedAt, u.UpdatedAt = db.Time(created), db.Time(updated)
	return u, err
}

// User returns a user of an account.
func (s *Store) User(ctx context.Context, q db.Query, account, name string) (User, error) {
	u, err := scanUser(q.QueryRowContext(ctx, `select `+userColumns+` from login_user where name = $1 and account_sid = $2`, strings.ToLower(name), account))
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, fault.New(fault.NotFound, "user %.64q was not found", name)
	}
	if err != nil {
		return User{}, fmt.Errorf("read user %.64q: %w", name, err)
	}
	return u, nil
}

// Users returns the users of an account in the order of their making.
func (s *Store) Users(ctx context.Context, q db.Query, account string) ([]User, error) {
	list, err := db.All(ctx, q, scanUser, `select `+userColumns+` from login_user where account_sid = $1 order by created_at, name`, account)
	if err != nil {
		return nil, fmt.Errorf("list users of %s: %w", account, err)
	}
	return list, nil
}

// SetRole gives a user another role. The last administrator of an account stays
// one.
func (s *Store) SetRole(ctx context.Context, tx *db.Tx, account, name string, to Role) (User, error) {
	u, err := s.User(ctx, tx, account, name)
	if err != nil {
		return User{}, err
	}
	if !slices.Contains(Roles, to) {
		return User{}, fault.Field("role", "must be one of %s, not %.40q", rolesText(), string(to))
	}
	if u.Role == to {
		return u, nil
	}
	if err := s.keepAdministrator(ctx, tx, u); err != nil {
		return User{}, err
	}
	from := u.Role
	u.Role, u.UpdatedAt = to, s.Now()
	if _, err := tx.ExecContext(ctx, `update login_user set role = $1, updated_at = $2 where name = $3`, string(to), db.Micros(u.UpdatedAt), u.Name); err != nil {
		return User{}, fmt.Errorf("store role of %s: %w", u.Name, err)
	}
	tx.AfterCommit(s.callers.forget)
	return u, s.events.Append(ctx, tx, event.Event{Kind: "user.role", Subject: u.Name, Account: account, At: u.UpdatedAt, Data: map[string]Role{"from": from, "to": to}})
}

// keepAdministrator refuses to lose the last administrator of an account: nobody
// could make another through the API.
func (s *Store) keepAdministrator(ctx context.Context, tx *db.Tx, u User) error {
	if u.Role != Administrator {
		return nil
	}
	// All are locked, so that two of them do not go at once.
	rows, err := tx.QueryContext(ctx, `select name from login_user where account_sid = $1 and role = 'administrator'`+tx.ForUpdate(), u.Account)
	if err != nil {
		return fmt.Errorf("count administrators of %s: %w", u.Account, err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("count administrators of %s: %w", u.Account, err)
	}
	if n < 2 {
		return fault.New(fault.Conflict, "user %s is the last administrator of the account; make another one first", u.Name)
	}
	return nil
}

// SetPassword gives a user another password. The old one is refused from then
// on, on other nodes within [CacheTime].
func (s *Store) SetPassword(ctx context.Context, tx *db.Tx, account, name string, password Password) error {
	u, err := s.User(ctx, tx, account, name)
	if err != nil {
		return err
	}
	now := s.Now()
	if _, err := tx.ExecContext(ctx, `update login_user set password_hash = $1, password_sealed = null, updated_at = $2 where name = $3`, password.hash, db.Micros(now), u.Name); err != nil {
		return fmt.Errorf("store password of %s: %w", u.Name, err)
	}
	tx.AfterCommit(s.callers.forget)
	tx.AfterCommit(s.passwords.forgive)
	return s.events.Append(ctx, tx, event.Event{Kind: "user.password", Subject: u.Name, Account: account, At: now})
}

// DeleteUser removes a user and its API keys.
func (s *Store) DeleteUser(ctx context.Context, tx *db.Tx, account, name string) error {
	u, err := s.User(ctx, tx, account, name)
	if err != nil {
		return err
	}
	if err := s.keepAdministrator(ctx, tx, u); err != nil {
		return err
	}
	for _, statement := range []string{`delete from user_key where user_name = $1`, `delete from login_user where name = $1`} {
		if _, err := tx.ExecContext(ctx, statement, u.Name); err != nil {
			return fmt.Errorf("delete user %s: %w", u.Name, err)
		}
	}
	tx.AfterCommit(s.callers.forget)
	return s.events.Append(ctx, tx, event.Event{Kind: "user.deleted", Subject: u.Name, Account: account, At: s.Now()})
}

// UserPassword returns the first user of an account whose password can be read
// again, with it; an empty name when there is none.
func (s *Store) UserPassword(ctx context.Context, q db.Query, account string) (name string, password db.Secret, err error) {
	var sealed []byte
	err = q.QueryRowContext(ctx, `select name, password_sealed from login_user where account_sid = $1 and password_sealed is not null
		order by created_at, name limit 1`, account).Scan(&name, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("read the user of %s: %w", account, err)
	}
	plain, err := s.db.Unseal(userRow(name), sealed)
	if err != nil {
		return "", nil, fmt.Errorf("password of %s: %w", name, err)
	}
	return name, plain, nil
}
