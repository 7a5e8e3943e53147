// Package once answers a repeated request like the first. A client that does
// not know whether its request was heard sends it again under the same
// Idempotency-Key; what it asked for is made once.
//
// The key is written in the very transaction that makes the thing, so there is
// no moment at which a crash could make it twice: of two requests with one key,
// the second's transaction fails as a whole and is answered like the first. Keys
// are an account's own and are remembered for a day. A request that was refused
// made nothing, and its key is free again.
package once

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"godwit/db"
	"godwit/event"
)

// Remembered is how long a key is kept.
const Remembered = 24 * time.Hour

// A Keeper keeps keys and answers.
type Keeper struct {
	DB    *db.DB
	Now   func() time.Time // the clock, time.Now if nil
	Began time.Time        // when this process began, zero if that does not matter
}

func (k *Keeper) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// A Digest is the hash of a whole request: what tells a repetition from another
// request under the same key.
type Digest = [sha256.Size]byte

// An Answer is what the first request was answered with. Where the process died
// between making the thing and keeping the answer, Status is zero, and Subject
// alone says what was made.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
	Subject     string // SID of what the request has made

	// Patience is how long the answer may still come where Status is zero: not
	// at all if the process that owed it is known to be dead.
	Patience time.Duration
}

// patience is how long after a key was written its answer is written too.
const patience = 5 * time.Second

// Errors of [Keeper.Find] and of transactions under [Keeper.Along].
var (
	// ErrOther says that the key was used with another request.
	ErrOther = errors.New("the key was used with another request")
	// ErrRepeated says that another request with the key was faster. Nothing
	// of this one's transaction is left; Find knows what to answer.
	ErrRepeated = errors.New("another request with the same key was faster")
)

// Find returns the answer to a request that was carried out before; ok is false
// for one that was not.
func (k *Keeper) Find(ctx context.Context, account, key string, digest Digest) (a Answer, ok bool, err error) {
	var had []byte
	var at int64
	err = k.DB.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, `select digest, subject, status, content_type, body, created_at from request_once
			where account_sid = $1 and key = $2 and created_at >= $3`, account, key, db.Micros(k.now().Add(-Remembered))).
			Scan(&had, &a.Subject, &a.Status, &a.ContentType, &a.Body, &at)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Answer{}, false, nil
	case err != nil:
		return Answer{}, false, fmt.Errorf("look for an earlier request: %w", err)
	case string(had) != string(digest[:]):
		return Answer{}, false, ErrOther
	case a.Status != 0:
		if a.Body, err = k.DB.Unseal(answerRow(account, key), a.Body); err != nil {
			return Answer{}, false, fmt.Errorf("open the answer to an earlier request: %w", err)
		}
	}
	// A SQLite file has one server: what was written before it began is nobody's
	// work any more.
	if written := db.Time(at); k.DB.Postgres() || !written.Before(k.Began) {
		a.Patience = max(0, written.Add(patience).Sub(k.now()))
	}
	return a, true, nil
}

// Along returns a context under which the first transaction that is committed
// also keeps the key, or fails with [ErrRepeated].
func (k *Keeper) Along(ctx context.Context, account, key string, digest Digest) context.Context {
	a := &along{keeper: k, account: account, key: key, digest: digest}
	return event.WithWitness(db.WithAlong(ctx, a), &a.witness)
}

type along struct {
	keeper       *Keeper
	account, key string
	digest       Digest
	witness      event.Witness
}

// Begin forgets what an earlier try of the transaction has made.
func (a *along) Begin() { a.witness.Clear() }

// Commit writes the key. A later transaction of the same request finds it
// written and leaves it.
func (a *along) Commit(ctx context.Context, tx *db.Tx) error {
	made, _ := a.witness.First()
	now := a.keeper.now()
	result, err := tx.ExecContext(ctx, `insert into request_once (account_sid, key, digest, subject, status, content_type, created_at)
		values ($1, $2, $3, $4, 0, '', $5) on conflict (account_sid, key) do update
		set digest = excluded.digest, subject = excluded.subject, status = 0, content_type = '', body = null, created_at = excluded.created_at
		where request_once.created_at < $6`,
		a.account, a.key, a.digest[:], made.Subject, db.Micros(now), db.Micros(now.Add(-Remembered)))
	if err != nil {
		return fmt.Errorf("keep key: %w", err)
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = ErrRepeated
	}
	return err
}

// Keep stores the answer to a request whose key was written. It is sealed, for
// some answers show a secret.
func (k *Keeper) Keep(ctx context.Context, account, key string, digest Digest, a Answer) error {
	sealed := k.DB.Seal(answerRow(account, key), a.Body)
	err := k.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `update request_once set status = $1, content_type = $2, body = $3
			where account_sid = $4 and key = $5 and digest = $6`, a.Status, a.ContentType, sealed, account, key, digest[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	return nil
}

func answerRow(account, key string) string { return "request_once/" + account + "/" + key }

// Run forgets keys that are old enough, until ctx is over.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := k.Forget(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Forget removes keys that are older than a day.
func (k *Keeper) Forget(ctx context.Context) error {
	for {
		var n int64
		err := k.DB.Write(ctx, func(tx *db.Tx) error {
			result, err := tx.ExecContext(ctx, `delete from request_once where (account_sid, key) in (
				select account_sid, key from request_once where created_at < $1 order by created_at limit 500)`, db.Micros(k.now().Add(-Remembered)))
			if err != nil {
				return err
			}
			n, err = result.RowsAffected()
			return err
		})
		if err != nil || n < 500 {
			return err
		}
	}
}
