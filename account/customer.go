package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// A Customer is an account as the Remote Manager knows it.
type Customer struct {
	ID      int64 // customer_id
	APIKeys bool  // users may have API keys
}

// addCustomer numbers a new account. Accounts that are made at once get
// different numbers: one of the transactions is repeated.
func (s *Store) addCustomer(ctx context.Context, tx *db.Tx, account string) error {
	result, err := tx.ExecContext(ctx, `insert into customer (account_sid, id, api_keys)
		select $1, coalesce(max(id), 1000) + 1, false from customer where true on conflict (id) do nothing`, account)
	if err != nil {
		return fmt.Errorf("number account %s: %w", account, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("number account %s: its number is taken", account))
	}
	return nil
}

// Customer returns what the Remote Manager knows of an account.
func (s *Store) Customer(ctx context.Context, q db.Query, account string) (Customer, error) {
	var c Customer
	err := q.QueryRowContext(ctx, `select id, api_keys from customer where account_sid = $1`, account).Scan(&c.ID, &c.APIKeys)
	if errors.Is(err, sql.ErrNoRows) {
		return Customer{}, fault.New(fault.NotFound, "account %s was not found", account)
	}
	if err != nil {
		return Customer{}, fmt.Errorf("read the number of %s: %w", account, err)
	}
	return c, nil
}

// AllowAPIKeys says whether users of an account may have API keys. Keys that
// there are do not count while they may not.
func (s *Store) AllowAPIKeys(ctx context.Context, tx *db.Tx, account string, allowed bool) error {
	n, err := tx.Exec(ctx, `update customer set api_keys = $1 where account_sid = $2`, allowed, account)
	if err != nil {
		return fmt.Errorf("store settings of %s: %w", account, err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "account %s was not found", account)
	}
	tx.AfterCommit(s.callers.forget)
	return s.events.Append(ctx, tx, event.Event{Kind: "account.api_keys", Subject: account, Account: account, At: s.Now(), Data: map[string]bool{"allowed": allowed}})
}
