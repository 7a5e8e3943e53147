package sim

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"godwit/charge"
	"godwit/db"
	"godwit/event"
	"godwit/ident"
)

// ReserveMany stores the reservations of an order, items first, first+1, …, as
// part of the caller's transaction. Those that the SM-DP+ can hand out at once
// are available then. It returns the others for [Store.Prepare]: they are born
// reserving, held as by the job that prepares single ones; should the caller
// die, that job takes them up. An order has an item only once.
func (s *Store) ReserveMany(ctx context.Context, tx *db.Tx, order string, first int64, wanted []Reservation) (left []Profile, err error) {
	now := s.now()
	list := make([]Profile, len(wanted))
	batch := make([]*Profile, len(wanted))
	events := make([]event.Event, len(wanted))
	for i, r := range wanted {
		if r.Type == "" {
			r.Type = s.ProfileType
		}
		p := &list[i]
		*p = Profile{
			SID: freshSID(ProfilePrefix), Account: r.Account, Status: ProfileReserving, EID: r.EID, WantsCode: r.WantsCode, Type: r.Type,
			Order: order, Item: first + int64(i), CreatedAt: now, UpdatedAt: now, callback: r.Callback,
		}
		batch[i] = p
		events[i] = event.Event{
			Kind: "esim_profile.new", Subject: p.SID, Account: p.Account, At: now,
			Data: map[string]any{"eid": p.EID, "generate_matching_id": p.WantsCode, "profile_type": p.Type, "order": order, "item": p.Item},
		}
	}
	ready, taken, err := s.handOut(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	if err := s.Events.AppendMany(ctx, tx, events); err != nil {
		return nil, err
	}
	err = s.makeAvailable(ctx, tx, ready, func(now time.Time) error {
		rows := make([][]any, len(list))
		for i := range list {
			p := &list[i]
			lease := int64(0)
			if !p.Settled() {
				lease = now.Add(reserveLease).UnixMicro()
			}
			rows[i] = []any{
				p.SID, p.Account, string(p.Status), db.Null(p.EID), p.WantsCode, p.Type, db.Null(p.callback.URL), p.callback.method(), lease,
				now.UnixMicro(), now.UnixMicro(), order, p.Item,
				db.Null(string(p.ICCID)), db.Null(string(p.MatchingID)), db.Null(p.Address), db.Null(p.SIM),
			}
		}
		_, err := tx.ExecMany(ctx, `insert into esim_profile (sid, account_sid, status, eid, generate_matching_id, profile_type,
			callback_url, callback_method, lease, created_at, updated_at, order_sid, order_item, iccid, matching_id, smdp_plus_address, sim_sid)
			values {}`, nil, rows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store %d reservations: %w", len(list), err)
	}
	if err := s.failHanded(ctx, tx, taken); err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Status == ProfileReserving {
			left = append(left, list[i])
		}
	}
	return left, nil
}

// Prepare orders profiles at the SM-DP+ for reservations that are being
// prepared, those of [Store.ReserveMany] or [Store.Unsettled]. It may be called
// again, and beside the job that prepares single ones. An error means that some
// of them are not settled; those wait for the next one who tries.
func (s *Store) Prepare(ctx context.Context, batch []Profile) error {
	return s.prepare(ctx, batch)
}

// Unsettled returns those items of an order, from first to last, that are still
// being prepared.
func (s *Store) Unsettled(ctx context.Context, order string, first, last int64) (list []Profile, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		list, err = db.All(ctx, q, scanProfile, selectProfile+` where order_sid = $1 and order_item between $2 and $3
			and status in ('new', 'reserving') order by order_item`, order, first, last)
		return err
	})
	return list, err
}

// Items returns those items of an order, from first to last, in their order.
func (s *Store) Items(ctx context.Context, order string, first, last int64) (list []Profile, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		list, err = db.All(ctx, q, scanProfile, selectProfile+` where order_sid = $1 and order_item between $2 and $3
			order by order_item`, order, first, last)
		return err
	})
	return list, err
}

// FailedItems returns up to limit items of an order behind a given one that
// have failed.
func (s *Store) FailedItems(ctx context.Context, order string, after int64, limit int) (list []Profile, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		list, err = db.All(ctx, q, scanProfile, selectProfile+` where order_sid = $1 and order_item > $2 and status = 'failed'
			order by order_item limit $3`, order, after, limit)
		return err
	})
	return list, err
}

// CountItems says how many items of an order, from first to last, are settled:
// with a profile, or failed before they got one.
func (s *Store) CountItems(ctx context.Context, q db.Query, order string, first, last int64) (available, failed int64, err error) {
	err = q.QueryRowContext(ctx, `select count(sim_sid), coalesce(sum(case when status = 'failed' and sim_sid is null then 1 else 0 end), 0)
		from esim_profile where order_sid = $1 and order_item between $2 and $3`, order, first, last).Scan(&available, &failed)
	if err != nil {
		err = fmt.Errorf("count items of %s: %w", order, err)
	}
	return available, failed, err
}

// A held is a reservation that is still being prepared, and its place in the
// batch that it is of.
type held struct {
	*Profile
	i int
}

// keep runs a step on those reservations of a batch that are still being
// prepared, all in one transaction, and returns those that the step returns.
func (s *Store) keep(ctx context.Context, batch []Profile, step func(tx *db.Tx, still []held) ([]held, error)) (kept []Profile, err error) {
	at := make(map[string]int, len(batch))
	sids := make([]string, len(batch))
	for i := range batch {
		at[batch[i].SID], sids[i] = i, batch[i].SID
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		kept = nil
		found := make([]*Profile, len(batch)) // what is missing, another job has settled
		if err := db.QueryIn(ctx, tx, selectProfile+` where sid in ({}) and status = 'reserving'`+tx.ForUpdate(), nil, sids, func(rows *sql.Rows) error {
			p, err := scanProfile(rows)
			found[at[p.SID]] = &p
			return err
		}); err != nil {
			return fmt.Errorf("read reservations: %w", err)
		}
		var still []held
		for i, p := range found {
			if p != nil {
				still = append(still, held{p, i})
			}
		}
		if len(still) == 0 {
			return nil
		}
		passed, err := step(tx, still)
		for _, h := range passed {
			kept = append(kept, *h.Profile)
		}
		return err
	})
	return kept, err
}

// A released is a reservation whose profile may be downloaded, with the
// SM-DP+'s answer that says so.
type released struct {
	*Profile
	proof []byte
}

// iccidsTaken returns the ICCIDs among those of a batch that another
// reservation or Sim has.
func iccidsTaken(ctx context.Context, tx *db.Tx, batch []*Profile) (map[ident.ICCID]bool, error) {
	owner := make(map[ident.ICCID]string, len(batch))
	taken := map[ident.ICCID]bool{}
	var keys []string
	for _, h := range batch {
		if _, twice := owner[h.ICCID]; twice {
			taken[h.ICCID] = true
		}
		owner[h.ICCID] = h.SID
		keys = append(keys, string(h.ICCID))
	}
	for _, query := range []string{
		`select iccid, sid from esim_profile where iccid in ({}) and status <> 'failed'`,
		`select iccid, '' from sim where iccid in ({})`,
	} {
		if err := db.QueryIn(ctx, tx, query, nil, keys, func(rows *sql.Rows) error {
			var iccid ident.ICCID
			var sid string
			err := rows.Scan(&iccid, &sid)
			if sid != owner[iccid] {
				taken[iccid] = true
			}
			return err
		}); err != nil {
			return nil, fmt.Errorf("look for ICCIDs: %w", err)
		}
	}
	return taken, nil
}

// storePrepared writes down what reservations are made of.
func storePrepared(ctx context.Context, tx *db.Tx, batch []held) error {
	rows := make([][]any, len(batch))
	for i, h := range batch {
		rows[i] = []any{h.SID, string(h.ICCID), string(h.MatchingID), h.Address}
	}
	_, err := tx.ExecMany(ctx, `update esim_profile set iccid = v.column2, matching_id = nullif(v.column3, ''), smdp_plus_address = v.column4
		from (values {text, text, text, text}) v where sid = v.column1`, nil, rows)
	if err != nil {
		return fmt.Errorf("store prepared reservations: %w", err)
	}
	return nil
}

// storeAvailable writes down that reservations have their profiles.
func storeAvailable(ctx context.Context, tx *db.Tx, batch []released) error {
	rows := make([][]any, len(batch))
	for i, r := range batch {
		rows[i] = []any{r.SID, r.SIM, r.UpdatedAt.UnixMicro(), string(r.ICCID), string(r.MatchingID), r.Address}
	}
	_, err := tx.ExecMany(ctx, `update esim_profile set status = 'available', sim_sid = v.column2, lease = 0, updated_at = v.column3,
		iccid = v.column4, matching_id = nullif(v.column5, ''), smdp_plus_address = v.column6
		from (values {text, text, bigint, text, text, text}) v where sid = v.column1`, nil, rows)
	if err != nil {
		return fmt.Errorf("store %d profiles as available: %w", len(rows), err)
	}
	return nil
}

// makeAvailable is [Store.advance] for many reservations whose profiles are
// released. store is called when they have their Sims' SIDs, to write their rows
// down with that time.
func (s *Store) makeAvailable(ctx context.Context, tx *db.Tx, batch []released, store func(now time.Time) error) error {
	now := s.now()
	sims, settings := make([][]any, len(batch)), make([][]any, len(batch))
	events := make([]event.Event, 0, 2*len(batch))
	entries := make([]charge.Entry, len(batch))
	for i, r := range batch {
		p := r.Profile
		if !p.Status.CanBecome(ProfileAvailable) {
			return fmt.Errorf("%s cannot become %s from %s", p.SID, ProfileAvailable, p.Status)
		}
		from := p.Status
		p.SIM, p.Status, p.UpdatedAt = freshSID(SimPrefix), ProfileAvailable, now
		sims[i] = []any{p.SIM, p.Account, string(p.ICCID), string(New), now.UnixMicro(), now.UnixMicro()}
		settings[i] = []any{freshSID(SettingsPrefix), p.SIM, string(p.ICCID), now.UnixMicro(), now.UnixMicro(), now.UnixMicro()}
		events = append(events,
			event.Event{
				Kind: "sim.new", Subject: p.SIM, Account: p.Account, At: now,
				Data: map[string]any{"iccid": p.ICCID, "esim_profile": p.SID},
			},
			event.Event{
				Kind: "esim_profile." + string(ProfileAvailable), Subject: p.SID, Account: p.Account, At: now,
				Data:     map[string]any{"from": from, "to": p.Status, "iccid": p.ICCID, "sim": p.SIM, "smdp_plus_address": p.Address},
				Evidence: r.proof, EvidenceKind: evidenceES2,
			})
		entries[i] = p.entry()
	}
	if err := store(now); err != nil {
		return err
	}
	if len(batch) == 0 {
		return nil
	}
	if _, err := tx.ExecMany(ctx, `insert into sim (sid, account_sid, iccid, status, created_at, updated_at) values {}`, nil, sims); err != nil {
		return fmt.Errorf("store %d Sims: %w", len(sims), err)
	}
	if _, err := tx.ExecMany(ctx, `insert into settings_update (sid, sim_sid, iccid, completed_at, created_at, updated_at, status, package,
		version, settings, reason, lease) select v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, 'successful',
		'`+FactorySettings+`', '1.0.0', '[]', '', 0 from (values {text, text, text, bigint, bigint, bigint}) v`, nil, settings); err != nil {
		return fmt.Errorf("store the factory settings of %d Sims: %w", len(settings), err)
	}
	if err := s.Events.AppendMany(ctx, tx, events); err != nil {
		return err
	}
	if s.Ledger != nil {
		if err := s.Ledger.Add(ctx, tx, entries...); err != nil {
			return err
		}
	}
	for _, r := range batch {
		if err := s.tell(ctx, tx, r.Profile); err != nil {
			return err
		}
	}
	return nil
}

// entry is what the ledger has about a profile that has become available.
func (p *Profile) entry() charge.Entry {
	return charge.Entry{
		Profile: p.SID, Account: p.Account, SIM: p.SIM, ICCID: string(p.ICCID), Type: p.Type, Order: p.Order, At: p.UpdatedAt,
	}
}
