package usage

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/sim"
)

// Reports of another time than the present count where they say, within these
// bounds; a clock that is further off counts for nothing.
const (
	latest   = 5 * time.Minute
	earliest = 31 * 24 * time.Hour
)

// Record counts what reports tell, all of them or none. Reports may be given
// again, and in any order. It returns how many are about no Sim of ours.
func (s *Store) Record(ctx context.Context, reports []Report) (unknown int, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		unknown = 0
		b := batch{s: s, tx: tx, sessions: map[sessionKey]*session{}, sims: map[Subscriber]*sim.Sim{}, bySID: map[string]*sim.Sim{}}
		for _, r := range reports {
			known, err := b.take(ctx, r)
			if err != nil {
				return err
			}
			if !known {
				unknown++
			}
		}
		return b.store(ctx)
	})
	return unknown, err
}

type sessionKey struct{ nas, id string }

// A batch is the reports of one transaction.
type batch struct {
	s        *Store
	tx       *db.Tx
	sessions map[sessionKey]*session
	order    []sessionKey
	sims     map[Subscriber]*sim.Sim
	bySID    map[string]*sim.Sim
	uses     []Use
}

func (b *batch) take(ctx context.Context, r Report) (known bool, err error) {
	now := b.s.now()
	if r.At.After(now.Add(latest)) || r.At.Before(now.Add(-earliest)) {
		r.At, r.Exact = now, false
	}
	key := sessionKey{r.NAS, r.Session}
	have, err := b.session(ctx, key)
	if err != nil {
		return false, err
	}
	var one *sim.Sim
	switch {
	case have != nil && !have.reuses(r):
		// A subscriber's number may have gone to another Sim since.
		one, err = b.sim(ctx, have.SIM)
	default:
		one, err = b.find(ctx, r.Subscriber)
		if one != nil {
			begun := fresh(one.SID, r)
			if have == nil {
				b.order = append(b.order, key)
			} else {
				begun.held = have.held
			}
			have = &begun
			b.sessions[key] = have
		}
	}
	if err != nil || one == nil {
		return false, err
	}
	next, up, down := have.take(r)
	*have = next
	if up > 0 || down > 0 {
		// What a counter shows was used before it was read.
		b.uses = append(b.uses, Use{SIM: *one, At: r.At.Add(-time.Second), Network: r.Network, Upload: up, Download: down})
	}
	return true, nil
}

// session returns what is known of a session, nil for nothing.
func (b *batch) session(ctx context.Context, key sessionKey) (*session, error) {
	if have, ok := b.sessions[key]; ok {
		return have, nil
	}
	have, err := scanSession(b.tx.QueryRowContext(ctx, `select `+sessionColumns+`, coalesce((select restarted_at from usage_reporter r where r.nas = usage_session.nas), 0)
		from usage_session where nas = $1 and id = $2`+b.tx.ForUpdate(), key.nas, key.id))
	if db.None(err) {
		return nil, nil //nolint:nilnil // nothing is known
	}
	if err != nil {
		return nil, fmt.Errorf("read session %s of %s: %w", key.id, key.nas, err)
	}
	b.sessions[key] = &have
	b.order = append(b.order, key)
	return &have, nil
}

// find returns the Sim of a subscriber, nil for none.
func (b *batch) find(ctx context.Context, who Subscriber) (*sim.Sim, error) {
	if one, ok := b.sims[who]; ok {
		return one, nil
	}
	one, err := b.s.find(ctx, b.tx, who)
	if fault.Is(err, fault.NotFound) {
		b.sims[who] = nil
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, err
	}
	b.sims[who] = &one
	return &one, nil
}

func (b *batch) sim(ctx context.Context, sid string) (*sim.Sim, error) {
	if one, ok := b.bySID[sid]; ok {
		return one, nil
	}
	one, err := b.s.Sims.BySID(ctx, b.tx, sid)
	if fault.Is(err, fault.NotFound) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, err
	}
	b.bySID[sid] = &one
	return &one, nil
}

// find returns the Sim of a subscriber.
func (s *Store) find(ctx context.Context, q db.Query, who Subscriber) (sim.Sim, error) {
	iccid := who.ICCID
	if iccid == "" {
		if s.Stock == nil {
			return sim.Sim{}, fault.New(fault.NotFound, "no list of subscribers: name Sims by ICCID")
		}
		var err error
		if iccid, err = s.Stock.Find(ctx, q, who); err != nil {
			return sim.Sim{}, err
		}
	}
	return s.Sims.ByICCID(ctx, q, iccid)
}

func (b *batch) store(ctx context.Context) error {
	for _, key := range b.order {
		have := b.sessions[key]
		if _, err := b.tx.ExecContext(ctx, `insert into usage_session (nas, id, `+sessionColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
			on conflict (nas, id) do update set sim_sid = excluded.sim_sid, seconds = excluded.seconds, upload = excluded.upload,
			download = excluded.download, wide = excluded.wide, addresses = excluded.addresses, is_open = excluded.is_open,
			began_at = excluded.began_at, last_at = excluded.last_at`,
			key.nas, key.id, have.SIM, have.Seconds, have.Upload, have.Download, have.Wide, joinAddresses(have.Addresses), have.Open,
			have.BeganAt.UnixMicro(), have.LastAt.UnixMicro()); err != nil {
			return fmt.Errorf("store session %s of %s: %w", key.id, key.nas, err)
		}
		if err := b.hold(ctx, key, have); err != nil {
			return fmt.Errorf("store the addresses of session %s of %s: %w", key.id, key.nas, err)
		}
	}
	return b.s.Add(ctx, b.tx, b.uses)
}

// hold stores the addresses of a session if they have changed.
func (b *batch) hold(ctx context.Context, key sessionKey, have *session) error {
	addresses := have.holds()
	if slices.Equal(addresses, have.held) {
		return nil
	}
	if _, err := b.tx.Exec(ctx, `delete from usage_address where nas = $1 and id = $2`, key.nas, key.id); err != nil {
		return err
	}
	for _, a := range addresses {
		if _, err := b.tx.Exec(ctx, `insert into usage_address (address, nas, id) values ($1, $2, $3) on conflict do nothing`, a.String(), key.nas, key.id); err != nil {
			return err
		}
	}
	return nil
}

// Restarted closes the sessions of a reporter that says it has begun anew, or
// is about to end (RFC 2866, 5.1: Accounting-On and Accounting-Off). What
// was still to be reported of them still counts.
func (s *Store) Restarted(ctx context.Context, nas string, at time.Time) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		if _, err := tx.ExecContext(ctx, `insert into usage_reporter (nas, restarted_at) values ($1, $2)
			on conflict (nas) do update set restarted_at = excluded.restarted_at where usage_reporter.restarted_at < excluded.restarted_at`,
			nas, at.UnixMicro()); err != nil {
			return fmt.Errorf("note that %s has begun anew: %w", nas, err)
		}
		if _, err := tx.Exec(ctx, `delete from usage_address where nas = $1 and id in (select id from usage_session where nas = $1 and is_open and last_at <= $2)`,
			nas, at.UnixMicro()); err != nil {
			return fmt.Errorf("close the sessions of %s: %w", nas, err)
		}
		if _, err := tx.ExecContext(ctx, `update usage_session set is_open = $1 where nas = $2 and is_open and last_at <= $3`, false, nas, at.UnixMicro()); err != nil {
			return fmt.Errorf("close the sessions of %s: %w", nas, err)
		}
		return nil
	})
}

const (
	// Silence is after how long without a report a session counts as ended.
	Silence = 24 * time.Hour
	// remember is how long sessions are kept to know repeated reports by.
	remember = 62 * 24 * time.Hour
)

// forgetSessions deletes sessions of which nothing more will be heard.
func (s *Store) forgetSessions(ctx context.Context) (n int, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		result, err := tx.ExecContext(ctx, `delete from usage_session where last_at < $1 and (nas, id) in
			(select nas, id from usage_session where last_at < $1 order by last_at limit `+fmt.Sprint(sweepBatch)+`)`, s.now().Add(-remember).UnixMicro())
		if err != nil {
			return fmt.Errorf("forget old sessions: %w", err)
		}
		gone, err := result.RowsAffected()
		n = int(gone)
		return err
	})
	return n, err
}

// Addresses returns the addresses that a Sim's device has in its open data
// sessions, the newest session first.
func (s *Store) Addresses(ctx context.Context, q db.Query, sid string) ([]netip.Addr, error) {
	lists, err := db.All(ctx, q, db.Only[string], `select addresses from usage_session where sim_sid = $1 and is_open and last_at > $2 order by last_at desc limit 10`,
		sid, s.now().Add(-Silence).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("read the addresses of %s: %w", sid, err)
	}
	var all []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, list := range lists {
		for _, a := range parseAddresses(list) {
			if !seen[a] {
				seen[a] = true
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// ParseMSISDN reads a telephone number: digits, with or without a plus.
func ParseMSISDN(text string) (string, bool) {
	if len(text) > 0 && text[0] == '+' {
		text = text[1:]
	}
	if len(text) < 5 || len(text) > 15 {
		return "", false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return text, true
}

// parsePLMN reads MCC and MNC in one word, as 3GPP TS 29.061 writes them.
func parsePLMN(text string) (ident.PLMN, bool) {
	if len(text) != 5 && len(text) != 6 {
		return ident.PLMN{}, false
	}
	p, err := ident.ParsePLMN(text)
	return p, err == nil
}
