package privacy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"godwit/account"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
	"godwit/ident"
	"godwit/privacy"
	"godwit/sim"
)

const (
	eid    = "89049032123451234512345678901235"
	secret = "meet me at the old mill"

	address = "203.0.113.77"
)

// TestErased looks through every text and octet column of the database for what
// was to go.
func TestErased(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		log := event.New(d)
		sims := &sim.Store{DB: d, Events: log, Accounts: account.New(d, log)}
		var ours string
		if err := d.Write(ctx, func(tx *db.Tx) error {
			a, _, err := sims.Accounts.Create(ctx, tx, "", "a customer")
			ours = a.SID
			return err
		}); err != nil {
			t.Fatal(err)
		}
		key := []byte("0123456789abcdef")
		if err := sims.ImportCards(ctx, ours, "list", []sim.Card{{
			ICCID: "8988307000000000006", IMSI: "001010000000901", EID: ident.EID(eid), K: key, OPc: key, Code: []byte("H3LL0W0RLD"),
		}}); err != nil {
			t.Fatal(err)
		}
		l, err := sims.Sims(ctx, ours, sim.SimFilter{}, sim.Page{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		one := l.Items[0]
		if err := d.Write(ctx, func(tx *db.Tx) error {
			if _, err := tx.ExecContext(ctx, `insert into sms_command (sid, account_sid, sim_sid, direction, status, payload, reason,
				callback_method, reference, message_id, lease, doubt_at, attempts, created_at, updated_at)
				values ('HC1', $1, $2, 'to_sim', 'delivered', $3, '', 'POST', 0, '', 0, 0, 0, 1, 1)`, ours, one.SID, secret); err != nil {
				return err
			}
			for _, more := range []string{
				`insert into request_once (account_sid, key, digest, subject, status, content_type, body, created_at) values ('x', 'k', '', 'HC1', 201, 'x', '` + secret + `', 1)`,
				`insert into bulk_lines (order_sid, number, lines, created_at) values ('HO1', 0, '[{"l":2,"e":"` + eid + `","b":"box"},{"l":3,"e":"89049032000000000000000000000021"}]', 1)`,
				`update esim_profile set order_sid = 'HO1', order_item = 1`,
				// The gateway's last word of this session was lost.
				`insert into usage_session (nas, id, sim_sid, seconds, upload, download, wide, addresses, is_open, began_at, last_at)
					values ('gw', '1', '` + one.SID + `', 0, 0, 0, false, '` + address + `', true, 1, 1)`,
				`insert into usage_address (address, nas, id) values ('` + address + `', 'gw', '1')`,
			} {
				if _, err := tx.ExecContext(ctx, more); err != nil {
					return err
				}
			}
			if err := log.Append(ctx, tx, event.Event{Kind: "sms_command.sent", Subject: "HC1", Account: ours, Data: map[string]string{"payload": secret}}); err != nil {
				return err
			}
			return log.Append(ctx, tx, event.Event{Kind: "sim.seen", Subject: one.SID, Evidence: []byte("signed by " + eid), EvidenceKind: "test"})
		}); err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{eid, secret, address} {
			if len(holders(t, d, word)) == 0 {
				t.Fatalf("%q is nowhere before: the test would prove nothing", word)
			}
		}
		s := &privacy.Store{DB: d, Events: log, Silence: silence}
		proof, err := s.Erase(ctx, one.SID, "request 7")
		if err != nil {
			t.Fatal(err)
		}
		if proof["event"] == 0 || proof["sms_command.payload"] != 1 || proof["esim_profile.eid"] != 1 {
			t.Errorf("proof %v", proof)
		}
		for _, word := range []string{`"e":"89049032000000000000000000000021"`, "box"} {
			if len(holders(t, d, word)) != 1 {
				t.Errorf("%q of another line, or a label, is gone", word)
			}
		}
		for _, word := range []string{eid, secret, address} {
			if left := holders(t, d, word); len(left) > 0 {
				t.Errorf("%q is still in %v", word, left)
			}
		}
		var told []event.Event
		if err := d.Read(ctx, func(q db.Query) (err error) {
			told, err = log.List(ctx, q, event.Filter{Subject: one.SID, Kind: "privacy.erased"})
			return err
		}); err != nil || len(told) != 1 || !strings.Contains(fmt.Sprintf("%s", told[0].Data), "sms_command.payload") {
			t.Errorf("proof in events: %v, %v", told, err)
		}
		if again, err := s.Erase(ctx, one.SID, "again"); err != nil || len(again) != 0 {
			t.Errorf("a second time deletes %v, %v", again, err)
		}
	})
}

// holders returns the columns where a word stands.
func holders(t *testing.T, d *db.DB, word string) (found []string) {
	t.Helper()
	for _, c := range []string{
		"esim_profile.eid", "profile.eid", "card.eid", "event.data", "event.subject", "sms_command.payload", "ip_command.payload", "ip_command.device_ip", "ip_command.error_message",
		"sms_receipt.raw", "usage_session.addresses", "usage_address.address",
		"bulk_lines.lines", "request_once.body", "callback_delivery.form", "notification.eid", "run.eid", "es2_call.answer", "outbox.payload", "event.evidence", "notification.evidence",
	} {
		table, column, _ := strings.Cut(c, ".")
		err := d.Read(context.Background(), func(q db.Query) error {
			rows, err := q.QueryContext(context.Background(), `select `+column+` from `+table+` where `+column+` is not null`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var value []byte
				if err := rows.Scan(&value); err != nil {
					return err
				}
				if strings.Contains(string(value), word) {
					found = append(found, c)
				}
			}
			return rows.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
