package device

import (
	"context"
	"fmt"

	"godwit/db"
	"godwit/event"
)

// renameArgs is the job that gives what has a carrier its display name anew, a page
// at a time: of an account's profiles a million may have one carrier. Repeating is
// safe, and so are two at a time: each page looks up the name that is right then.
type renameArgs struct {
	Account string `json:"account"`
	Key     string `json:"key"` // of the carrier
	Codes   bool   `json:"codes"`
	After   int64  `json:"after"`   // moment of the last record that was looked at
	Renamed int64  `json:"renamed"` // so far
}

// Kind names the job.
func (renameArgs) Kind() string { return "device.rename_carrier" }

// renameChunk is how many records one transaction renames. Each is in several
// indexes: the writer is held for some 20 ms.
const renameChunk = 200

// renameCarrier has everything with the carrier of a key renamed, a page of each
// table now and the rest by and by.
func (s *Store) renameCarrier(ctx context.Context, tx *db.Tx, account, key string) error {
	a := renameArgs{Account: account, Key: key}
	for _, a.Codes = range []bool{false, true} {
		_, n, err := renamePage(ctx, tx, a)
		if err != nil {
			return err
		}
		a.Renamed += n
	}
	a.Codes = false
	return s.Jobs.Add(ctx, tx, a)
}

func (s *Store) rename(ctx context.Context, a renameArgs) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		next := a
		last, n, err := renamePage(ctx, tx, a)
		if err != nil {
			return err
		}
		next.Renamed += n
		switch {
		case last > 0:
			next.After = last
		case !a.Codes:
			next.Codes, next.After = true, 0
		default:
			return s.record(ctx, tx, event.Event{Kind: "carrier.renamed", Subject: a.Key, Account: a.Account, Data: map[string]any{"records": next.Renamed}})
		}
		return s.Jobs.Add(ctx, tx, next)
	})
}

// renamePage renames the next records. last is 0 when there are no more.
func renamePage(ctx context.Context, tx *db.Tx, a renameArgs) (last, renamed int64, err error) {
	table := "device_profile"
	if a.Codes {
		table = "activation_code"
	}
	type record struct {
		at            int64
		carrier, name string
	}
	const mine = ` where account_sid = $1 and carrier_key = $2 and created_at > $3`
	page, err := db.All(ctx, tx, func(r db.Row) (x record, err error) {
		err = r.Scan(&x.at, &x.carrier, &x.name)
		return x, err
	}, `select created_at, carrier, normalized_carrier from `+table+mine+` order by created_at limit `+fmt.Sprint(renameChunk), a.Account, a.Key, a.After)
	if err != nil {
		return 0, 0, fmt.Errorf("read carriers: %w", err)
	}
	if len(page) == 0 {
		return 0, 0, nil
	}
	end := page[len(page)-1].at
	names, done := map[string]carrierName{}, map[string]bool{}
	for _, x := range page {
		name, known := names[x.carrier]
		if !known {
			if name, err = carrierOf(ctx, tx, a.Account, x.carrier); err != nil {
				return 0, 0, err
			}
			names[x.carrier] = name
		}
		if done[x.carrier] || x.name == name.Normal {
			continue
		}
		done[x.carrier] = true
		n, err := exec(ctx, tx, "rename carrier", `update `+table+` set normalized_carrier = $5, normalized_folded = $6`+mine+
			` and created_at <= $4 and carrier = $7`, a.Account, a.Key, a.After, end, name.Normal, name.NormalFolded, x.carrier)
		if err != nil {
			return 0, 0, err
		}
		renamed += n
	}
	if len(page) == renameChunk {
		last = end
	}
	return last, renamed, nil
}
