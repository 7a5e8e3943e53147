// Package privacy deletes what this program has stored about people: which
// eUICC took a profile, what was written to and from a device, and the evidence
// that names either. It does so for one device when that is asked for
// (privacy.go), and for everything beyond an age as a policy that the server
// carries out by itself (expire.go). An event says what was deleted, and how much
// of it, without repeating it.
//
// Sims, counters and charges stay: they are the books, and name no device once
// this is done. Copies outside of the database, backups above all, are beyond
// its reach.
package privacy

import (
	"context"
	"fmt"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// A Store deletes in one database.
type Store struct {
	DB     *db.DB
	Events *event.Log
	Now    func() time.Time // the clock, time.Now if nil

	// Silence is after how long without a report a data session counts as ended.
	// Zero: nothing but a report ends one.
	Silence time.Duration
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// silentSince is a moment: open data sessions last heard of before it have ended.
func (s *Store) silentSince() int64 {
	if s.Silence == 0 {
		return 0
	}
	return s.now().Add(-s.Silence).UnixMicro()
}

// A Proof says how many rows of each kind of data were cleared.
type Proof map[string]int64

// Erase deletes what is known about the device and the messages of one Sim in one
// transaction, and then from the database's files; an error that comes with a proof
// is of the latter ([db.DB.Purge]). It may be repeated, and must be if the Sim was used
// since. A Sim whose download is not over is refused: what would be deleted is
// still needed.
func (s *Store) Erase(ctx context.Context, sim, why string) (proof Proof, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		proof = Proof{}
		var iccid, account string
		err := tx.QueryRowContext(ctx, `select iccid, account_sid from sim where sid = $1`+tx.ForUpdate(), sim).Scan(&iccid, &account)
		if db.None(err) {
			return fault.New(fault.NotFound, "there is no Sim %.60q", sim)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", sim, err)
		}
		var open int
		if err := tx.QueryRowContext(ctx, `select count(*) from profile where iccid = $1 and state in
			('allocated', 'linked', 'confirmed', 'released', 'downloaded')`, iccid).Scan(&open); err != nil {
			return fmt.Errorf("read the profile of %s: %w", sim, err)
		}
		if open > 0 {
			return fault.New(fault.Conflict, "the profile of %s is still to be downloaded or installed: its eUICC is needed for that", sim)
		}
		eids, err := db.All(ctx, tx, db.Only[string], `select eid from esim_profile where sim_sid = $1 and eid is not null
			union select eid from profile where iccid = $2 and eid <> '' union select eid from card where iccid = $2 and eid <> ''`, sim, iccid)
		if err != nil {
			return fmt.Errorf("look for the eUICCs of %s: %w", sim, err)
		}
		profiles, err := db.All(ctx, tx, db.Only[string], `select sid from esim_profile where sim_sid = $1`, sim)
		if err != nil {
			return fmt.Errorf("look for the profiles of %s: %w", sim, err)
		}
		return s.erase(ctx, tx, subject{sim, iccid, account, eids, profiles}, why, proof)
	})
	if err != nil {
		return nil, err
	}
	return proof, s.DB.Purge(ctx)
}

type subject struct {
	sim, iccid, account string
	eids, profiles      []string
}

// erase clears the columns of a subject. A step names what it clears as its
// proof does.
func (s *Store) erase(ctx context.Context, tx *db.Tx, who subject, why string, proof Proof) error {
	for _, step := range []struct {
		what, statement string
		args            []any
	}{
		{"esim_profile.eid", `update esim_profile set eid = null where sim_sid = $1 and eid is not null`, []any{who.sim}},
		{"profile.eid", `update profile set eid = '', bind_key = null, bind_secret = null where iccid = $1 and (eid <> '' or bind_key is not null)`, []any{who.iccid}},
		{"profile.msisdn", `update profile set msisdn = '' where iccid = $1 and msisdn <> ''`, []any{who.iccid}},
		{"card.eid", `update card set eid = '', msisdn = '' where iccid = $1 and (eid <> '' or msisdn <> '')`, []any{who.iccid}},
		{"run", `delete from run where iccid = $1`, []any{who.iccid}},
		{"notification", `delete from notification where iccid = $1`, []any{who.iccid}},
		{"sms_command.payload", `update sms_command set payload = '' where sim_sid = $1 and status not in ('queued') and payload <> ''`, []any{who.sim}},
		{"sms_receipt", `delete from sms_receipt where sim_sid = $1`, []any{who.sim}},
		{"ip_command.payload", `update ip_command set payload = '', device_ip = '', error_message = '' where sim_sid = $1 and status not in ('queued') and payload <> ''`, []any{who.sim}},
		{
			"usage_address",
			`delete from usage_address where (nas, id) in (select nas, id from usage_session where sim_sid = $1 and (not is_open or last_at < $2))`,
			[]any{who.sim, s.silentSince()},
		},
		{
			"usage_session.addresses",
			`update usage_session set addresses = '' where sim_sid = $1 and (not is_open or last_at < $2) and addresses <> ''`,
			[]any{who.sim, s.silentSince()},
		},
		{"es2_call.answer", `delete from es2_call where answer like $1`, []any{"%" + who.iccid + "%"}},
		{"outbox", `delete from outbox where payload like $1`, []any{"%" + who.iccid + "%"}},
	} {
		if err := clear(ctx, tx, proof, step.what, step.statement, step.args...); err != nil {
			return err
		}
	}
	about := append([]string{who.sim, who.iccid}, who.profiles...)
	about = append(about, who.eids...)
	for _, subject := range about {
		if err := clear(ctx, tx, proof, "callback_delivery", `delete from callback_delivery where subject = $1 and state <> 'due'`, subject); err != nil {
			return err
		}
		if err := clear(ctx, tx, proof, "event", `update event set data = '{"erased":true}', evidence = null, evidence_kind = '' where subject = $1
			and kind <> 'privacy.erased' and (data <> '{"erased":true}' or evidence is not null)`, subject); err != nil {
			return err
		}
	}
	// The lines of an order, which name EIDs in its order for the result.
	for _, eid := range who.eids {
		if err := clear(ctx, tx, proof, "bulk_lines.eid", `update bulk_lines set lines = replace(lines, $1, '"e":""') where order_sid in
			(select order_sid from esim_profile where sim_sid = $2) and lines like $3`, `"e":"`+eid+`"`, who.sim, `%"e":"`+eid+`"%`); err != nil {
			return err
		}
	}
	// Answers kept for repeated requests; without one, the thing is shown as it is.
	if err := clear(ctx, tx, proof, "request_once.body", `update request_once set status = 0, content_type = '', body = null where body is not null
		and subject in (select sid from sms_command where sim_sid = $1 union select sid from ip_command where sim_sid = $1
			union select sid from esim_profile where sim_sid = $1)`, who.sim); err != nil {
		return err
	}
	// Events about messages have the message as their subject.
	if err := clear(ctx, tx, proof, "event", `update event set data = '{"erased":true}', evidence = null, evidence_kind = '' where data <> '{"erased":true}'
		and subject in (select sid from sms_command where sim_sid = $1 union select sid from ip_command where sim_sid = $1)`, who.sim); err != nil {
		return err
	}
	if err := clear(ctx, tx, proof, "callback_delivery", `delete from callback_delivery where state <> 'due'
		and subject in (select sid from sms_command where sim_sid = $1 union select sid from ip_command where sim_sid = $1)`, who.sim); err != nil {
		return err
	}
	return s.Events.Append(ctx, tx, event.Event{
		Kind: "privacy.erased", Subject: who.sim, Account: who.account, At: s.now(),
		Data: map[string]any{"why": why, "deleted": proof},
	})
}

// clear runs one step and adds to the proof what it did.
func clear(ctx context.Context, tx *db.Tx, proof Proof, what, statement string, args ...any) error {
	done, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("delete %s: %w", what, err)
	}
	n, err := done.RowsAffected()
	if n > 0 {
		proof[what] += n
	}
	return err
}
