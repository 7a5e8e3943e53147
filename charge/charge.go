// Package charge is what profiles cost: price lists and the ledger.
//
// The ledger has one entry for each profile that became available, written in
// the transaction that makes it so: no profile is charged twice, and none is
// forgotten. Entries never change. Where no price is set, an entry of nothing is
// still an entry.
package charge

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
)

// An Amount is money in millionths of its currency's unit.
type Amount int64

const unit = 1_000_000

// String writes the amount as a decimal number with at least two places.
func (a Amount) String() string {
	s := fmt.Sprintf("%d.%06d", a/unit, a%unit)
	cut := strings.TrimRight(s, "0")
	if dot := strings.IndexByte(s, '.'); len(cut) < dot+3 {
		cut = s[:dot+3]
	}
	return cut
}

// ParseAmount reads a decimal number that is not negative, with up to six
// places.
func ParseAmount(s string) (Amount, error) {
	whole, places, dotted := strings.Cut(s, ".")
	n, err := strconv.ParseUint(whole, 10, 40)
	if err != nil || dotted && (places == "" || len(places) > 6) {
		return 0, fault.Field("amount", "must be a decimal number such as 1.25, not negative, with at most six places, not %.40q", s)
	}
	var part uint64
	if dotted {
		if part, err = strconv.ParseUint(places+strings.Repeat("0", 6-len(places)), 10, 40); err != nil {
			return 0, fault.Field("amount", "must be a decimal number such as 1.25, not %.40q", s)
		}
	}
	return Amount(n*unit + part), nil
}

// A Price is what a profile of a type costs an account. An empty account means
// every account, an empty type every type; the most particular price counts,
// the account's before the type's.
type Price struct {
	Account   string
	Type      string
	Amount    Amount
	Currency  string // ISO 4217, three capital letters
	UpdatedAt time.Time
}

// An Entry is one line of the ledger.
type Entry struct {
	Profile  string // SID of the ESimProfile, and the entry's own
	Account  string
	SIM      string
	ICCID    string
	Type     string
	Order    string // SID of the order that the profile is of, empty for a single reservation
	Amount   Amount
	Currency string
	At       time.Time
}

// A Ledger keeps prices and entries.
type Ledger struct {
	DB  *db.DB
	Now func() time.Time // the clock, time.Now if nil
}

func (l *Ledger) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

// NoCurrency is the currency of an entry that has no price.
const NoCurrency = "XXX" // ISO 4217: no currency

// Add writes an entry for each profile that has become available, at its
// account's price. Adding a profile that has its entry fails: whoever makes a
// profile available does so once.
func (l *Ledger) Add(ctx context.Context, tx *db.Tx, entries ...Entry) error {
	prices := map[[2]string]Price{}
	rows := make([][]any, len(entries))
	for i, e := range entries {
		key := [2]string{e.Account, e.Type}
		p, ok := prices[key]
		if !ok {
			var err error
			if p, err = priceOf(ctx, tx, e.Account, e.Type); err != nil {
				return err
			}
			prices[key] = p
		}
		rows[i] = []any{e.Profile, e.Account, e.SIM, e.ICCID, e.Type, e.Order, int64(p.Amount), p.Currency, db.Micros(e.At)}
	}
	if _, err := tx.ExecMany(ctx, `insert into charge (sid, account_sid, sim_sid, iccid, profile_type, order_sid, amount, currency, created_at)
		values {}`, nil, rows); err != nil {
		return fmt.Errorf("charge %d profiles: %w", len(entries), err)
	}
	return nil
}

// priceOf returns the price that counts, or nothing in no currency.
func priceOf(ctx context.Context, q db.Query, account, profileType string) (Price, error) {
	p := Price{Currency: NoCurrency}
	found, err := prices(ctx, q, `where account_sid in ('', $1) and profile_type in ('', $2) order by account_sid desc, profile_type desc limit 1`, account, profileType)
	if err == nil && len(found) == 1 {
		p = found[0]
	}
	return p, err
}

func prices(ctx context.Context, q db.Query, where string, args ...any) ([]Price, error) {
	list, err := db.All(ctx, q, func(r db.Row) (p Price, err error) {
		var updated int64
		err = r.Scan(&p.Account, &p.Type, &p.Amount, &p.Currency, &updated)
		p.UpdatedAt = db.Time(updated)
		return p, err
	}, `select account_sid, profile_type, amount, currency, updated_at from price `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read prices: %w", err)
	}
	return list, nil
}

// SetPrice sets what profiles cost from now on. What is charged already stays.
func (l *Ledger) SetPrice(ctx context.Context, p Price) error {
	if len(p.Currency) != 3 || strings.Trim(p.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fault.Field("currency", "must be three capital letters of ISO 4217 such as EUR, not %.20q", p.Currency)
	}
	if p.Amount < 0 {
		return fault.Field("amount", "must not be negative")
	}
	return l.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `insert into price (account_sid, profile_type, amount, currency, updated_at) values ($1, $2, $3, $4, $5)
			on conflict (account_sid, profile_type) do update set amount = excluded.amount, currency = excluded.currency, updated_at = excluded.updated_at`,
			p.Account, p.Type, int64(p.Amount), p.Currency, db.Micros(l.now()))
		if err != nil {
			return fmt.Errorf("store price: %w", err)
		}
		return nil
	})
}

// RemovePrice takes a price off the list.
func (l *Ledger) RemovePrice(ctx context.Context, account, profileType string) error {
	return l.DB.Write(ctx, func(tx *db.Tx) error {
		result, err := tx.ExecContext(ctx, `delete from price where account_sid = $1 and profile_type = $2`, account, profileType)
		if err != nil {
			return fmt.Errorf("remove price: %w", err)
		}
		n, err := result.RowsAffected()
		if err == nil && n == 0 {
			err = fault.New(fault.NotFound, "there is no price for account %q and profile type %q", account, profileType)
		}
		return err
	})
}

// Prices returns the price list: all of it, or what concerns one account.
func (l *Ledger) Prices(ctx context.Context, account string) (list []Price, err error) {
	err = l.DB.Read(ctx, func(q db.Query) error {
		where, args := `order by account_sid, profile_type`, []any(nil)
		if account != "" {
			where, args = `where account_sid in ('', $1) `+where, []any{account}
		}
		list, err = prices(ctx, q, where, args...)
		return err
	})
	return list, err
}
