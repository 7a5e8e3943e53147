package db

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	lite "modernc.org/sqlite/lib"
)

// Trouble that an operator can do something about. Errors of Read and Write
// are recognised with errors.Is.
var (
	ErrFull    = errors.New("the disk of the database is full")
	ErrLocked  = errors.New("the database is locked by another process")
	ErrCorrupt = errors.New("the database is damaged: stop the server and restore a backup")
	ErrNewer   = errors.New("the database was written by a newer release of this program")
	ErrOlder   = errors.New("the database is of an older release: run migrate")
)

// IsUnique reports whether err says that a row with this key exists already.
func IsUnique(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() == lite.SQLITE_CONSTRAINT_UNIQUE || e.Code() == lite.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23505"
}

// explain puts words on errors that the engine reports by number.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case lite.SQLITE_FULL:
			return fmt.Errorf("%w: %w", ErrFull, err)
		case lite.SQLITE_BUSY, lite.SQLITE_LOCKED:
			return fmt.Errorf("%w: %w", ErrLocked, err)
		case lite.SQLITE_CORRUPT, lite.SQLITE_NOTADB:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "53100":
			return fmt.Errorf("%w: %w", ErrFull, err)
		case "55P03":
			return fmt.Errorf("%w: %w", ErrLocked, err)
		case "XX001", "XX002":
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return err
}

// repeatable reports whether PostgreSQL asks for the transaction to be
// repeated: serialization_failure or deadlock_detected.
func repeatable(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01")
}

// withoutPassword makes a database URL fit for a log.
func withoutPassword(s string) string {
	if strings.HasPrefix(s, "sqlite:") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "database URL that does not parse"
	}
	if q := u.Query(); q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}
