package device

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/query"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Two names meet where carriers are matched. A code's carrier was typed by a
// person and tends to be the brand on the invoice; a profile's is the service
// provider name in it, and may be as bare as "Mobile".

// Clean is a carrier's name as people are shown it: NFKC, trimmed, white space
// folded to one blank.
func Clean(name string) string {
	return strings.Join(strings.FieldsFunc(norm.NFKC.String(name), unicode.IsSpace), " ")
}

// MatchingKey is what two names have in common that mean one carrier: folded,
// nothing but letters and digits. No part of a name matches another.
func MatchingKey(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) {
			return r
		}
		return -1
	}, norm.NFKC.String(cases.Fold().String(norm.NFKC.String(name))))
}

// An Alias has a carrier shown under, and matched with, another name.
type Alias struct {
	Alias string
	Name  string
}

// Aliases returns an account's aliases by their names.
func (s *Store) Aliases(ctx context.Context, account string) (list []Alias, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		list, err = db.All(ctx, q, func(r db.Row) (a Alias, err error) {
			err = r.Scan(&a.Alias, &a.Name)
			return a, err
		},
			`select alias, name from carrier_alias where account_sid = $1 order by alias_key`, account)
		return err
	})
	return list, err
}

// PutAlias sets the display name of a carrier. An alias leads to a name, not to
// another alias.
func (s *Store) PutAlias(ctx context.Context, by By, a Alias) error {
	a.Alias, a.Name = Clean(a.Alias), Clean(a.Name)
	key, target := MatchingKey(a.Alias), MatchingKey(a.Name)
	switch {
	case key == "" || len(a.Alias) > maxText:
		return fault.Field("alias", "must be a name with letters or digits, of at most %d bytes", maxText)
	case target == "" || len(a.Name) > maxText:
		return fault.Field("name", "must be a name with letters or digits, of at most %d bytes", maxText)
	case key == target && a.Alias == a.Name:
		return fault.Field("alias", "must differ from the name")
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		var chained string
		err := tx.QueryRowContext(ctx, `select alias from carrier_alias where account_sid = $1 and alias_key <> $2
			and (alias_key = $3 and alias_key <> name_key or name_key = $2 and $2 <> $3) limit 1`, by.Account, key, target).Scan(&chained)
		if err == nil {
			return fault.New(fault.Conflict, "%s and %s would make a chain with the alias %s: an alias leads to a name that is none itself", a.Alias, a.Name, chained)
		}
		if !db.None(err) {
			return fmt.Errorf("look for aliases: %w", err)
		}
		if _, err := exec(ctx, tx, "store alias", `insert into carrier_alias (account_sid, alias_key, alias, name, name_key, created_at)
			values ($1, $2, $3, $4, $5, $6) on conflict (account_sid, alias_key) do update set alias = $3, name = $4, name_key = $5`,
			by.Account, key, a.Alias, a.Name, target, s.now().UnixMicro()); err != nil {
			return err
		}
		if err := s.renameCarrier(ctx, tx, by.Account, key); err != nil {
			return err
		}
		return s.record(ctx, tx, event.Event{Kind: "carrier.alias_set", Subject: a.Alias, Account: by.Account, Data: by.data(map[string]any{"alias": a.Alias, "name": a.Name})})
	})
}

// DeleteAlias takes an alias away. What it named is shown by its own name again.
func (s *Store) DeleteAlias(ctx context.Context, by By, alias string) error {
	key := MatchingKey(alias)
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		n, err := exec(ctx, tx, "delete alias", `delete from carrier_alias where account_sid = $1 and alias_key = $2`, by.Account, key)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "there is no alias %s", alias)
		}
		if err := s.renameCarrier(ctx, tx, by.Account, key); err != nil {
			return err
		}
		return s.record(ctx, tx, event.Event{Kind: "carrier.alias_deleted", Subject: alias, Account: by.Account, Data: by.data(nil)})
	})
}

// A carrierName is a carrier's name with all that is stored beside it.
type carrierName struct{ Name, Folded, Key, Normal, NormalFolded string }

// carrierOf prepares a name for storing.
func carrierOf(ctx context.Context, q db.Query, account, name string) (carrierName, error) {
	c := carrierName{Name: name, Folded: query.Fold(name), Key: MatchingKey(name), Normal: Clean(name)}
	if c.Key != "" {
		var shown string
		err := q.QueryRowContext(ctx, `select name from carrier_alias where account_sid = $1 and alias_key = $2`, account, c.Key).Scan(&shown)
		if err != nil && !db.None(err) {
			return c, fmt.Errorf("read alias of %s: %w", name, err)
		}
		if err == nil {
			c.Normal = shown
		}
	}
	c.NormalFolded = query.Fold(c.Normal)
	return c, nil
}

// matchingKeys returns the keys of all names that mean the carrier of this one:
// those whose key, after aliases, is equal. There are none for an empty name.
func matchingKeys(ctx context.Context, q db.Query, account, name string) ([]string, error) {
	key := MatchingKey(name)
	if key == "" {
		return nil, nil
	}
	target := key
	err := q.QueryRowContext(ctx, `select name_key from carrier_alias where account_sid = $1 and alias_key = $2`, account, key).Scan(&target)
	if err != nil && !db.None(err) {
		return nil, fmt.Errorf("read alias of %s: %w", name, err)
	}
	keys, err := db.All(ctx, q, db.Only[string],
		`select alias_key from carrier_alias where account_sid = $1 and name_key = $2 and alias_key <> $2`, account, target)
	if err != nil {
		return nil, fmt.Errorf("read aliases of %s: %w", name, err)
	}
	return append(keys, target), nil
}
