package device

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/query"
)

const selectProfile = `select iccid, eid, device_id, account_sid, number, carrier, normalized_carrier, code_carrier, name, status, type, created_at, updated_at
	from device_profile p`

func scanProfile(r db.Row, more ...any) (p Profile, err error) {
	var status string
	var created, updated int64
	err = r.Scan(append([]any{
		&p.ICCID, &p.EID, &p.Device, &p.Account, &p.Number, &p.Carrier, &p.NormalizedCarrier, &p.CodeCarrier, &p.Name, &status, &p.Type, &created, &updated,
	}, more...)...)
	p.Active, p.CreatedAt, p.UpdatedAt = status == active, moment(created), later(moment(updated), moment(created))
	return p, err
}

// Profile returns a profile of an account. Test profiles of one ICCID may be on
// many eSIMs; then it is the one that was reported first.
func (s *Store) Profile(ctx context.Context, account string, iccid ident.ICCID) (p Profile, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		in, args := placeholders(2, spellings(iccid))
		p, err = profileTable.one(ctx, q, `where account_sid = $1 and iccid in (`+in+`) order by created_at limit 1`, append([]any{account}, args...)...)
		if db.None(err) {
			return fault.New(fault.NotFound, "no device has reported a profile %s", iccid)
		}
		return err
	})
	return p, err
}

// ProfileOn returns a profile of an account on one eSIM.
func (s *Store) ProfileOn(ctx context.Context, account string, eid ident.EID, iccid ident.ICCID) (p Profile, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		p, err = profileOn(ctx, q, eid, iccid)
		if db.None(err) || err == nil && p.Account != account {
			return fault.New(fault.NotFound, "eSIM %s has not reported a profile %s", eid, iccid)
		}
		return err
	})
	return p, err
}

// profileOn finds a profile on an eSIM, whichever way its ICCID is written;
// sql.ErrNoRows if there is none.
func profileOn(ctx context.Context, q db.Query, eid ident.EID, iccid ident.ICCID) (Profile, error) {
	in, args := placeholders(2, spellings(iccid))
	p, err := profileTable.one(ctx, q, `where eid = $1 and iccid in (`+in+`) order by status limit 1`, append([]any{string(eid)}, args...)...)
	if err != nil && !db.None(err) {
		return p, fmt.Errorf("read profile %s on %s: %w", iccid, eid, err)
	}
	return p, err
}

// profileOfCarrier finds a profile on an eSIM by keys of its carrier or of the
// carrier of the code that it came with: the active one, or else the newest.
func (s *Store) profileOfCarrier(ctx context.Context, q db.Query, eid ident.EID, keys []string) (Profile, error) {
	if len(keys) == 0 {
		return Profile{}, sql.ErrNoRows
	}
	in, args := placeholders(2, keys)
	condition := `carrier_key in (` + in + `)`
	if !s.ForgetCodes {
		condition += ` or code_key in (` + in + `)`
	}
	p, err := profileTable.one(ctx, q, `where eid = $1 and (`+condition+`) order by status, created_at desc limit 1`, append([]any{string(eid)}, args...)...)
	if err != nil && !db.None(err) {
		return p, fmt.Errorf("look for a profile on %s: %w", eid, err)
	}
	return p, err
}

// Report makes the records of an eSIM's profiles what its device says they are,
// settles what nobody could say before, moves operations on that wait for a
// report, and has rules look. One that was made before another that is known
// changes nothing.
func (s *Store) Report(ctx context.Context, tx *db.Tx, r Report) error {
	e, err := esimTable.read(ctx, tx, string(r.EID), tx.ForUpdate())
	if db.None(err) {
		return nil // of a device that was deleted meanwhile
	}
	if err != nil {
		return fmt.Errorf("read eSIM %s: %w", r.EID, err)
	}
	if r.At.IsZero() {
		r.At = s.now()
	}
	if r.At.Before(e.ReportedAt) {
		return nil
	}
	p := proof{Evidence: r.Evidence, EvidenceKind: r.EvidenceKind, Witness: r.Witness}
	diff, err := s.takeOver(ctx, tx, e, r, p)
	if err != nil {
		return err
	}
	now := s.now()
	if _, err := exec(ctx, tx, "store eSIM", `update esim set reported_at = $2, updated_at = $3 where eid = $1`, string(e.EID), r.At.UnixMicro(), later(now, e.UpdatedAt).UnixMicro()); err != nil {
		return err
	}
	if _, err := exec(ctx, tx, "store device", `update device set esims_reported_at = $2 where device_id = $1 and esims_reported_at < $2`, string(e.Device), r.At.UnixMicro()); err != nil {
		return err
	}
	if err := s.settle(ctx, tx, e.EID, p); err != nil {
		return err
	}
	o, err := runningOperation(ctx, tx, e.EID)
	if err == nil {
		err = s.verify(ctx, tx, &o, p)
	}
	if err != nil && !db.None(err) {
		return err
	}
	if e.ReportedAt.IsZero() {
		if err := s.trigger(ctx, tx, e.Account, e.EID, triggerFirst); err != nil {
			return err
		}
	}
	return s.triggerLost(ctx, tx, e, diff)
}

// takeOver makes the records equal to the report and returns the profiles that
// are gone.
func (s *Store) takeOver(ctx context.Context, tx *db.Tx, e ESIM, r Report, p proof) (gone []Profile, err error) {
	had, err := profileTable.all(ctx, tx, `where eid = $1 order by number`+tx.ForUpdate(), string(e.EID))
	if err != nil {
		return nil, fmt.Errorf("read profiles of %s: %w", e.EID, err)
	}
	said := r.unique()
	kept := had[:0:0]
	for _, h := range had {
		if slices.ContainsFunc(said, func(n Reported) bool { return n.ICCID == h.ICCID }) {
			kept = append(kept, h)
			continue
		}
		if _, err := exec(ctx, tx, "remove profile", `delete from device_profile where eid = $1 and iccid = $2`, string(e.EID), string(h.ICCID)); err != nil {
			return nil, err
		}
		if err := s.recordProfile(ctx, tx, "removed", h, p); err != nil {
			return nil, err
		}
		gone = append(gone, h)
	}
	// Those that are not active come first: two never are, not even for a moment.
	slices.SortStableFunc(said, func(a, b Reported) int { return rank(a) - rank(b) })
	for _, n := range said {
		at := slices.IndexFunc(kept, func(h Profile) bool { return h.ICCID == n.ICCID })
		if at < 0 {
			one, err := s.addProfile(ctx, tx, e, n, kept, p)
			if err != nil {
				return nil, err
			}
			kept = append(kept, one)
			continue
		}
		if err := s.changeProfile(ctx, tx, kept[at], n, p); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

func rank(n Reported) int {
	if n.Active {
		return 1
	}
	return 0
}

// unique is the report as it can be stored: each profile once, one active at
// most, texts that are texts. It is a device's word, and devices err.
func (r Report) unique() []Reported {
	var said []Reported
	taken := false
	for _, n := range r.Profiles {
		if n.ICCID == "" || slices.ContainsFunc(said, func(o Reported) bool { return o.ICCID == n.ICCID }) {
			continue
		}
		n.Active = n.Active && !taken
		taken = taken || n.Active
		n.Carrier, n.Name, n.Type = db.Text(n.Carrier, maxText), db.Text(n.Name, maxText), db.Text(n.Type, maxText)
		said = append(said, n)
	}
	return said
}

func (s *Store) addProfile(ctx context.Context, tx *db.Tx, e ESIM, n Reported, kept []Profile, p proof) (Profile, error) {
	one := Profile{ICCID: n.ICCID, EID: e.EID, Device: e.Device, Account: e.Account, Number: 1, Carrier: n.Carrier, Name: n.Name, Active: n.Active, Type: n.Type, UpdatedAt: s.now()}
	for slices.ContainsFunc(kept, func(h Profile) bool { return h.Number == one.Number }) {
		one.Number++
	}
	name, err := carrierOf(ctx, tx, e.Account, n.Carrier)
	if err != nil {
		return one, err
	}
	one.NormalizedCarrier = name.Normal
	if one.CodeCarrier, err = s.cameWith(ctx, tx, e, n); err != nil {
		return one, err
	}
	created, err := s.insert(ctx, tx, "profile", `insert into device_profile (eid, iccid, device_id, account_sid, number, carrier, carrier_folded, carrier_key,
		normalized_carrier, normalized_folded, code_carrier, code_key, name, status, type, type_folded, updated_at, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) on conflict do nothing`,
		string(one.EID), string(one.ICCID), string(one.Device), one.Account, one.Number, name.Name, name.Folded, name.Key, name.Normal, name.NormalFolded,
		one.CodeCarrier, MatchingKey(one.CodeCarrier), one.Name, one.Status(), one.Type, query.Fold(one.Type), one.UpdatedAt.UnixMicro())
	if err != nil {
		return one, err
	}
	one.CreatedAt = moment(created)
	one.UpdatedAt = later(one.UpdatedAt, one.CreatedAt)
	return one, s.recordProfile(ctx, tx, "added", one, p)
}

// cameWith returns the carrier of the code that a profile was downloaded with,
// empty if it is not known. A code that was thought to be spent was downloaded.
func (s *Store) cameWith(ctx context.Context, tx *db.Tx, e ESIM, n Reported) (string, error) {
	in, args := placeholders(2, spellings(n.ICCID))
	last, err := txTable.one(ctx, tx, `where eid = $1 and action = 'download' and code_iccid <> '' and iccid in (`+in+`)
		order by created_at desc limit 1`, append([]any{string(e.EID)}, args...)...)
	if err != nil && !db.None(err) {
		return "", fmt.Errorf("look for the download of %s: %w", n.ICCID, err)
	}
	c, err := codeOf(ctx, tx, e.Account, n.ICCID)
	if err != nil && !db.None(err) {
		return "", err
	}
	switch {
	case c.Status == CodeSpent && c.tx != "" && c.tx == last.ID:
		err = s.moveCode(ctx, tx, c, CodeDownloaded, last.ID)
	case c.Status == CodeAvailable && n.Type != test: // a test profile may be on many eSIMs
		// It came by a secret that was sent along, or without this server: no second
		// eSIM gets it, and a choice that falls on this code would fail.
		c.Device, c.EID = e.Device, e.EID
		last.codeCarrier, err = c.Carrier, s.moveCode(ctx, tx, c, CodeDownloaded, "")
	default:
		err = nil
	}
	if s.ForgetCodes {
		return "", err
	}
	return last.codeCarrier, err
}

func (s *Store) changeProfile(ctx context.Context, tx *db.Tx, was Profile, n Reported, p proof) error {
	if was.Active == n.Active && was.Carrier == n.Carrier && was.Name == n.Name && was.Type == n.Type {
		return nil
	}
	is := was
	is.Active, is.Carrier, is.Name, is.Type, is.UpdatedAt = n.Active, n.Carrier, n.Name, n.Type, later(s.now(), was.UpdatedAt)
	name, err := carrierOf(ctx, tx, is.Account, is.Carrier)
	if err != nil {
		return err
	}
	if _, err := exec(ctx, tx, "store profile", `update device_profile set status = $3, carrier = $4, carrier_folded = $5, carrier_key = $6, normalized_carrier = $7,
		normalized_folded = $8, name = $9, type = $10, type_folded = $11, updated_at = $12 where eid = $1 and iccid = $2`,
		string(is.EID), string(is.ICCID), is.Status(), name.Name, name.Folded, name.Key, name.Normal, name.NormalFolded, is.Name, is.Type, query.Fold(is.Type),
		is.UpdatedAt.UnixMicro()); err != nil {
		return err
	}
	what := "changed"
	if was.Active != is.Active {
		what = map[bool]string{true: "enabled", false: "disabled"}[is.Active]
	}
	return s.recordProfile(ctx, tx, what, is, p)
}

func (s *Store) recordProfile(ctx context.Context, tx *db.Tx, what string, one Profile, p proof) error {
	return s.recordProof(ctx, tx, "esim.profile_"+what, string(one.EID), one.Account, map[string]any{
		"iccid": one.ICCID, "device_id": one.Device, "id": one.Number, "status": one.Status(), "carrier": one.Carrier, "type": one.Type,
	}, p)
}

// recordProfiles records that the same became of all profiles of an eSIM.
func (s *Store) recordProfiles(ctx context.Context, tx *db.Tx, what string, eid ident.EID) error {
	all, err := profileTable.all(ctx, tx, `where eid = $1 order by number`, string(eid))
	if err != nil {
		return fmt.Errorf("read profiles of %s: %w", eid, err)
	}
	for _, one := range all {
		if err := s.recordProfile(ctx, tx, what, one, proof{}); err != nil {
			return err
		}
	}
	return nil
}

// settle ends transactions of which nobody could say what became of them and
// whose end the report shows.
func (s *Store) settle(ctx context.Context, tx *db.Tx, eid ident.EID, p proof) error {
	open, err := txTable.all(ctx, tx, `where eid = $1 and status = 'unknown' order by created_at`+tx.ForUpdate(), string(eid))
	if err != nil {
		return fmt.Errorf("read unknown transactions of %s: %w", eid, err)
	}
	for _, t := range open {
		if t.ICCID == "" {
			continue
		}
		found, err := profileOn(ctx, tx, eid, t.ICCID)
		if err != nil && !db.None(err) {
			return err
		}
		there := err == nil
		if map[Action]bool{Download: there, Enable: there && found.Active, Disable: there && !found.Active, Delete: !there}[t.Action] {
			if there {
				t.ICCID = found.ICCID
			}
			if err := s.moveTx(ctx, tx, &t, TxComplete, CodeComplete, "The device's report shows it", p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Seen notes signs of life. Each eSIM's latest counts; of those that come within
// half a minute, one is written down.
func (s *Store) Seen(ctx context.Context, list []Sighting) error {
	latest := map[ident.EID]Sighting{}
	for _, one := range list {
		if one.At.After(latest[one.EID].At) {
			latest[one.EID] = one
		}
	}
	eids := make([]string, 0, len(latest))
	for eid := range latest {
		eids = append(eids, string(eid))
	}
	slices.Sort(eids) // so that two nodes do not wait for each other
	for part := range slices.Chunk(eids, 500) {
		if err := s.DB.Write(ctx, func(tx *db.Tx) error { return s.seen(ctx, tx, part, latest) }); err != nil {
			return fmt.Errorf("note signs of life: %w", err)
		}
	}
	return nil
}

const sightingEvery = 30 * time.Second

func (s *Store) seen(ctx context.Context, tx *db.Tx, eids []string, latest map[ident.EID]Sighting) error {
	byDevice := map[string]Sighting{}
	var back []string // perhaps disconnected until now
	var esims [][]any
	err := db.QueryIn(ctx, tx, `select e.eid, e.device_id, e.seen_at, d.connection_status from esim e join device d on d.device_id = e.device_id where e.eid in ({})`, nil, eids,
		func(rows *sql.Rows) error {
			var eid ident.EID
			var id, status string
			var seen int64
			if err := rows.Scan(&eid, &id, &seen, &status); err != nil {
				return err
			}
			one := latest[eid]
			if status == "connected" && one.At.Sub(moment(seen)) < sightingEvery {
				return nil
			}
			esims = append(esims, []any{string(eid), one.At.UnixMicro()})
			if status != "connected" {
				back = append(back, id)
			}
			if one.At.After(byDevice[id].At) {
				byDevice[id] = one
			}
			return nil
		})
	if err != nil {
		return err
	}
	if _, err := tx.ExecMany(ctx, `update esim set seen_at = v.column2 from (values {text, bigint}) v where eid = v.column1 and seen_at < v.column2`, nil, esims); err != nil {
		return err
	}
	ids := make([]string, 0, len(byDevice))
	for id := range byDevice {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	rows := make([][]any, len(ids))
	for i, id := range ids {
		rows[i] = []any{id, byDevice[id].At.UnixMicro(), byDevice[id].Address}
	}
	if err := s.recordConnected(ctx, tx, back); err != nil {
		return err
	}
	_, err = tx.ExecMany(ctx, `update device set seen_at = v.column2, public_ip = case when v.column3 = '' then public_ip else v.column3 end,
		last_connect = case when connection_status = 'connected' then last_connect else v.column2 end, connection_status = 'connected'
		from (values {text, bigint, text}) v where device_id = v.column1 and seen_at < v.column2`, nil, rows)
	return err
}

// recordConnected records which of the devices were not connected until now.
// They are few: a device that polls is.
func (s *Store) recordConnected(ctx context.Context, tx *db.Tx, ids []string) error {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var events []event.Event
	if err := db.QueryIn(ctx, tx, `select device_id, account_sid from device where connection_status <> 'connected' and device_id in ({}) order by device_id`+tx.ForUpdate(), nil, ids,
		func(rows *sql.Rows) error {
			e := event.Event{Kind: "device.connected", At: s.now(), Data: map[string]any{"to": "connected"}}
			if err := rows.Scan(&e.Subject, &e.Account); err != nil {
				return err
			}
			events = append(events, e)
			return nil
		}); err != nil {
		return fmt.Errorf("look who was disconnected: %w", err)
	}
	return s.Events.AppendMany(ctx, tx, events)
}
