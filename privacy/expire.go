package privacy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/jobs"
)

// A Policy says how old personal data becomes; zero keeps it.
type Policy struct {
	Messages time.Duration // payloads of commands that have ended, and addresses of devices they went to
	Evidence time.Duration // details and evidence of events, callbacks that have ended, signed notifications
	Devices  time.Duration // EIDs of profiles that are installed or failed, addresses of ended data sessions
}

// any reports whether the policy lets anything go.
func (p Policy) any() bool { return p.Messages > 0 || p.Evidence > 0 || p.Devices > 0 }

// Register sets the handler of the store's job. With a policy it runs every
// hour, on one node at a time. Call it before the queue runs.
func (s *Store) Register(q *jobs.Queue, p Policy) {
	jobs.Register(q, func(ctx context.Context, _ jobs.Job[expireArgs]) error {
		_, err := s.Expire(ctx, p)
		return err
	}, jobs.Attempts(1))
	if p.any() {
		q.Every("privacy.expire", expireInterval, expireArgs{})
	}
}

// expireArgs is the job that carries the policy out.
type expireArgs struct{}

// Kind names the job.
func (expireArgs) Kind() string { return "privacy.expire" }

const (
	expireInterval = time.Hour
	expireBatch    = 1000 // rows in one transaction, so that nobody waits long for it
)

// A rule lets data of one kind go. $1 is the moment that it has to be older than,
// and of data sessions $2 the one before which a silent session has ended.
type rule struct {
	what, statement string
	sessions        bool
}

// oldest is the condition on a table's key that finds the rows to change.
func oldest(table, key, age, condition string) string {
	return fmt.Sprintf(`where (%s) in (select %s from %s where %s < $1 and %s order by %s limit %d)`, key, key, table, age, condition, age, expireBatch)
}

// Each has an index that holds what is still to go, and nothing else where that
// can be said of the row itself.
var (
	messageRules = []rule{
		{what: "sms_command.payload", statement: `update sms_command set payload = '' ` + oldest("sms_command", "sid", "updated_at", "status <> 'queued' and payload <> ''")},
		{what: "ip_command.payload", statement: `update ip_command set payload = '', device_ip = '', error_message = '' ` + oldest("ip_command", "sid", "updated_at", "status <> 'queued' and payload <> ''")},
		{what: "sms_receipt", statement: `delete from sms_receipt ` + oldest("sms_receipt", "sim_sid, message_id, state", "created_at", "true")},
	}
	evidenceRules = []rule{
		{what: "callback_delivery", statement: `delete from callback_delivery ` + oldest("callback_delivery", "sid", "updated_at", "state <> 'due'")},
		{what: "notification", statement: `delete from notification ` + oldest("notification", "eid, seq, event, iccid, transaction_id", "received_at", "true")},
	}
	deviceRules = []rule{
		{what: "esim_profile.eid", statement: `update esim_profile set eid = null ` + oldest("esim_profile", "sid", "updated_at", "eid is not null and status in ('installed', 'failed')")},
		{what: "profile.eid", statement: `update profile set eid = '', bind_key = null, bind_secret = null ` +
			oldest("profile", "iccid", "updated_at", "eid <> '' and state in ('installed', 'error', 'unavailable')")},
		// A card's goes with its ESimProfile's, above; until it is registered there is none.
		{what: "card.eid", statement: `update card set eid = '' ` + oldest("card", "iccid", "created_at",
			"eid <> '' and sim_sid is not null and not exists (select 1 from esim_profile p where p.iccid = card.iccid and p.eid is not null)")},
		{what: "usage_address", sessions: true, statement: `delete from usage_address ` + oldest("usage_address join usage_session using (nas, id)", "address, nas, id", "last_at",
			"(not is_open or last_at < $2)")},
		{what: "usage_session.addresses", sessions: true, statement: `update usage_session set addresses = '' ` + oldest("usage_session", "nas, id", "last_at",
			"addresses <> '' and (not is_open or last_at < $2)")},
	}
)

// Expire deletes what the policy says, and returns how much. It works in small
// transactions; each writes down what it has deleted, so that one that is cut
// short has still told all that it did.
func (s *Store) Expire(ctx context.Context, p Policy) (Proof, error) {
	all := Proof{}
	err := s.expireAll(ctx, p, all)
	if len(all) > 0 {
		err = errors.Join(err, s.DB.Purge(ctx))
	}
	return all, err
}

func (s *Store) expireAll(ctx context.Context, p Policy, all Proof) error {
	for _, one := range []struct {
		why   string
		age   time.Duration
		rules []rule
	}{{"messages", p.Messages, messageRules}, {"evidence", p.Evidence, evidenceRules}, {"devices", p.Devices, deviceRules}} {
		if one.age <= 0 {
			continue
		}
		before := s.now().Add(-one.age)
		for _, r := range one.rules {
			for {
				n, err := s.expire(ctx, one.why, one.age, before, r, all)
				if err != nil {
					return err
				}
				if n < expireBatch {
					break
				}
			}
		}
		var err error
		switch one.why {
		case "evidence":
			err = s.expireEvents(ctx, one.age, before, all)
		case "devices":
			err = s.expireLines(ctx, one.age, before, all)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// expire follows one rule for one batch.
func (s *Store) expire(ctx context.Context, why string, age time.Duration, before time.Time, r rule, all Proof) (n int64, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		proof := Proof{}
		args := []any{before.UnixMicro()}
		if r.sessions {
			args = append(args, s.silentSince())
		}
		if err := clear(ctx, tx, proof, r.what, r.statement, args...); err != nil {
			return err
		}
		n = proof[r.what]
		return s.expired(ctx, tx, why, age, proof)
	})
	all.add(r.what, n)
	return n, err
}

func (p Proof) add(what string, n int64) {
	if n > 0 {
		p[what] += n
	}
}

// expired writes down what a transaction has deleted.
func (s *Store) expired(ctx context.Context, tx *db.Tx, policy string, age time.Duration, proof Proof) error {
	if len(proof) == 0 {
		return nil
	}
	return s.Events.Append(ctx, tx, event.Event{
		Kind: "privacy.expired", Subject: "policy", At: s.now(),
		Data: map[string]any{"policy": policy, "age": age.String(), "deleted": proof},
	})
}

// expireEvents clears events. There are very many, and each is written but once:
// no index by age burdens that. Their numbers grow with time, so that a mark
// says how far all is done.
func (s *Store) expireEvents(ctx context.Context, age time.Duration, before time.Time, all Proof) error {
	var from int64
	if err := s.DB.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, `select coalesce((select done from privacy_mark where what = 'event'), 0)`).Scan(&from)
	}); err != nil {
		return fmt.Errorf("read how far events are cleared: %w", err)
	}
	done, prefix := from, true // everything up to done is cleared, as long as nothing young was met
	for {
		var rows, old int
		var last, cleared, mark int64
		var clean bool
		err := s.DB.Write(ctx, func(tx *db.Tx) error {
			rows, old, last, cleared = 0, 0, from, 0
			found, err := tx.QueryContext(ctx, `select id, at from event where id > $1 order by id limit `+fmt.Sprint(expireBatch), from)
			if err != nil {
				return fmt.Errorf("read events: %w", err)
			}
			defer found.Close()
			clean, mark = prefix, done
			for found.Next() {
				var at int64
				if err := found.Scan(&last, &at); err != nil {
					return fmt.Errorf("read events: %w", err)
				}
				rows++
				if at < before.UnixMicro() {
					old++
				} else {
					clean = false
				}
				if clean {
					mark = last
				}
			}
			if err := found.Err(); err != nil {
				return fmt.Errorf("read events: %w", err)
			}
			found.Close()
			if old == 0 {
				return nil
			}
			proof := Proof{}
			if err := clear(ctx, tx, proof, "event", `update event set data = '{"erased":true}', evidence = null, evidence_kind = ''
				where id > $1 and id <= $2 and at < $3 and kind not like 'privacy.%' and (data <> '{"erased":true}' or evidence is not null)`,
				from, last, before.UnixMicro()); err != nil {
				return err
			}
			cleared = proof["event"]
			if _, err := tx.ExecContext(ctx, `insert into privacy_mark (what, done) values ('event', $1)
				on conflict (what) do update set done = excluded.done`, mark); err != nil {
				return fmt.Errorf("note how far events are cleared: %w", err)
			}
			return s.expired(ctx, tx, "evidence", age, proof)
		})
		if err != nil {
			return err
		}
		all.add("event", cleared)
		if rows < expireBatch || old == 0 {
			return nil
		}
		from, prefix, done = last, clean, mark
	}
}
