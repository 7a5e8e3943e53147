package usage

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"godwit/db"
	"godwit/ident"
	"godwit/sim"
)

const (
	hour = int64(3600)
	day  = 24 * hour
)

// A place is where data was used, for which account.
type place struct {
	Account, Fleet, Network, Country string
}

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.Account, other.Account), cmp.Compare(p.Fleet, other.Fleet),
		cmp.Compare(p.Network, other.Network), cmp.Compare(p.Country, other.Country))
}

// A subject is one Sim in one account, or all Sims of the account if SIM is
// empty.
type subject struct{ Account, SIM string }

func (s subject) compare(other subject) int {
	return cmp.Or(cmp.Compare(s.Account, other.Account), cmp.Compare(s.SIM, other.SIM))
}

// A cell is one counter.
type cell struct {
	subject, at, place int64
}

func (c cell) compare(other cell) int {
	return cmp.Or(cmp.Compare(c.subject, other.subject), cmp.Compare(c.at, other.at), cmp.Compare(c.place, other.place))
}

type amount struct{ up, down int64 }

// count adds uses to the counters: of each Sim and of its account, by hour and
// by day. Everything is done in one order, so that two that count at the same
// time do not wait for each other in a circle.
func (s *Store) count(ctx context.Context, tx *db.Tx, uses []Use) error {
	subjects, places := map[subject]int64{}, map[place]int64{}
	for _, u := range uses {
		subjects[subject{u.SIM.Account, ""}], subjects[subject{u.SIM.Account, u.SIM.SID}] = 0, 0
		places[s.place(u)] = 0
	}
	if err := number(ctx, tx, subjects, subject.compare, `usage_subject`, []string{"account_sid", "sim_sid"},
		func(k subject) []any { return []any{k.Account, k.SIM} }); err != nil {
		return err
	}
	if err := number(ctx, tx, places, place.compare, `usage_place`, []string{"account_sid", "fleet_sid", "network_sid", "iso_country"},
		func(k place) []any { return []any{k.Account, k.Fleet, k.Network, k.Country} }); err != nil {
		return err
	}
	hours, days := map[cell]amount{}, map[cell]amount{}
	for _, u := range uses {
		at, p := u.At.Unix(), places[s.place(u)]
		for _, who := range []string{"", u.SIM.SID} {
			n := subjects[subject{u.SIM.Account, who}]
			plus(hours, cell{n, at / hour, p}, u)
			plus(days, cell{n, at / day, p}, u)
		}
	}
	if err := addCells(ctx, tx, "usage_hour", "hour", hours); err != nil {
		return err
	}
	return addCells(ctx, tx, "usage_day", "day", days)
}

func plus(to map[cell]amount, c cell, u Use) {
	a := to[c]
	to[c] = amount{a.up + u.Upload, a.down + u.Download}
}

// number finds the numbers of subjects or places, and gives new ones to those
// that have none.
func number[K comparable](ctx context.Context, tx *db.Tx, all map[K]int64, compare func(K, K) int, table string, columns []string, values func(K) []any) error {
	conditions, slots := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		slots[i] = fmt.Sprintf("$%d", i+1)
		conditions[i] = c + " = " + slots[i]
	}
	find := `select id from ` + table + ` where ` + strings.Join(conditions, " and ")
	for _, k := range slices.SortedFunc(maps.Keys(all), compare) {
		var id int64
		err := tx.QueryRowContext(ctx, find, values(k)...).Scan(&id)
		if db.None(err) {
			// Where another node takes the same number, the engine has the
			// transaction repeated.
			err = tx.QueryRowContext(ctx, `insert into `+table+` (id, `+strings.Join(columns, ", ")+`)
				values ((select coalesce(max(id), 0) + 1 from `+table+`), `+strings.Join(slots, ", ")+`) on conflict do nothing returning id`, values(k)...).Scan(&id)
		}
		if err != nil {
			return fmt.Errorf("number of %v in %s: %w", k, table, err)
		}
		all[k] = id
	}
	return nil
}

const cellsAtOnce = 100

// addCells adds amounts to counters.
func addCells(ctx context.Context, tx *db.Tx, table, column string, cells map[cell]amount) error {
	for chunk := range slices.Chunk(slices.SortedFunc(maps.Keys(cells), cell.compare), cellsAtOnce) {
		rows, args := make([]string, len(chunk)), make([]any, 0, 5*len(chunk))
		for i, c := range chunk {
			rows[i] = fmt.Sprintf("($%d, $%d, $%d, $%d, $%d)", 5*i+1, 5*i+2, 5*i+3, 5*i+4, 5*i+5)
			args = append(args, c.subject, c.at, c.place, cells[c].up, cells[c].down)
		}
		if _, err := tx.ExecContext(ctx, `insert into `+table+` (subject, `+column+`, place, upload, download) values `+strings.Join(rows, ", ")+`
			on conflict (subject, `+column+`, place) do update set upload = `+table+`.upload + excluded.upload, download = `+table+`.download + excluded.download`,
			args...); err != nil {
			return fmt.Errorf("count in %s: %w", table, err)
		}
	}
	return nil
}

// place returns where a use counts: for the Sim's present account and Fleet.
func (s *Store) place(u Use) place {
	at := s.networks.find(s.Sims.Catalogue, u.Network)
	return place{Account: u.SIM.Account, Fleet: u.SIM.Fleet, Network: at.network, Country: at.country}
}

// A networkCache keeps which Network of the catalogue has an identifier.
type networkCache struct {
	mu    sync.Mutex
	of    *sim.Catalogue
	found map[ident.PLMN]location
}

type location struct{ network, country string }

// find returns the Network of an identifier and its country. Of an identifier
// that the catalogue lacks, another network's with the same MCC tells the country.
func (c *networkCache) find(in *sim.Catalogue, p ident.PLMN) location {
	if in == nil || p == (ident.PLMN{}) {
		return location{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of != in {
		c.of, c.found = in, map[ident.PLMN]location{}
	}
	at, ok := c.found[p]
	if ok {
		return at
	}
	if l := in.Networks(sim.NetworkFilter{MCC: p.MCC, MNC: p.MNC}, sim.Page{Limit: 1}).Items; len(l) > 0 {
		at = location{l[0].SID, l[0].Country}
	} else if l := in.Networks(sim.NetworkFilter{MCC: p.MCC}, sim.Page{Limit: 1}).Items; len(l) > 0 {
		at = location{"", l[0].Country}
	}
	if len(c.found) < 100_000 {
		c.found[p] = at
	}
	return at
}

// hourOf returns the beginning of the hour that is n hours after 1970.
func hourOf(n int64) time.Time { return time.Unix(n*hour, 0).UTC() }

func dayOf(n int64) time.Time { return time.Unix(n*day, 0).UTC() }
