package privacy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
	"godwit/jobs"
	"godwit/privacy"
)

const retained = 30 * 24 * time.Hour

// A past is a database in which something of every kind happened at a moment,
// each with a word of its own that says of which kind it is.
type past struct {
	db  *db.DB
	log *event.Log
	at  time.Time
}

// lineEID stands in an order, and nowhere else.
const lineEID = "89049032000000000000000000000047"

// cardEID is where a factory has installed the profile.
const cardEID = "89049032000000000000000000000054"

// silence is after how long without a report a data session counts as ended.
const silence = 24 * time.Hour

// words by the policy that lets them go.
var words = map[string][]string{
	"messages": {"text of an SMS", "dGV4dCBvdmVyIElQ", "192.0.2.77", "192.0.2.66", "receipt octets"},
	"evidence": {"event detail", "event evidence", "said by callback", "signed notification"},
	"devices":  {eid, "192.0.2.88", "192.0.2.99", cardEID, lineEID},
}

func newPast(t *testing.T, d *db.DB) *past {
	t.Helper()
	p := &past{d, event.New(d), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	var ours string
	check(t, d.Write(t.Context(), func(tx *db.Tx) error {
		a, _, err := account.New(d, p.log).Create(t.Context(), tx, "", "a customer")
		ours = a.SID
		return err
	}))
	at := p.at.UnixMicro()
	for _, one := range []struct {
		text string
		args []any
	}{
		{`insert into sim (sid, account_sid, iccid, status, created_at, updated_at) values ('HS1', $1, '8988307000000000006', 'inactive', $2, $2)`, []any{ours, at}},
		{`insert into sms_command (sid, account_sid, sim_sid, direction, status, payload, reason, callback_method, reference, message_id, lease, doubt_at, attempts, created_at, updated_at)
			values ('HC1', $1, 'HS1', 'to_sim', 'delivered', 'text of an SMS', '', 'POST', 0, '', 0, 0, 0, $2, $2)`, []any{ours, at}},
		{`insert into sms_command (sid, account_sid, sim_sid, direction, status, payload, reason, callback_method, reference, message_id, lease, doubt_at, attempts, created_at, updated_at)
			values ('HC2', $1, 'HS1', 'to_sim', 'queued', 'still to be sent', '', 'POST', 0, '', 0, 0, 0, $2, $2)`, []any{ours, at}},
		{`insert into ip_command (sid, account_sid, sim_sid, sim_iccid, direction, status, device_ip, device_port, payload_type, payload, error_code, error_message, callback_method, lease, created_at, updated_at)
			values ('HG1', $1, 'HS1', '8988307000000000006', 'to_sim', 'sent', '192.0.2.77', 7, 'binary', 'dGV4dCBvdmVyIElQ', '', 'no way to 192.0.2.66', 'POST', 0, $2, $2)`, []any{ours, at}},
		{`insert into sms_receipt (sim_sid, message_id, state, error, raw, created_at) values ('HS1', '1', 'x', '', $1, $2)`, []any{[]byte("receipt octets"), at}},
		{`insert into callback_delivery (sid, account, subject, url, method, form, token, endpoint, state, apart, attempts, allowed, due_at, last_status, last_error, created_at, updated_at)
			values ('CB1', $1, 'HS1', 'https://h', 'POST', 'said by callback', '', 'https://h', 'delivered', $3, 1, 1, 0, 200, '', $2, $2)`, []any{ours, at, false}},
		{`insert into callback_attempt (delivery_sid, number, at, duration, status, error) values ('CB1', 1, $1, 5, 200, '')`, []any{at}},
		{`insert into callback_delivery (sid, account, subject, url, method, form, token, endpoint, state, apart, attempts, allowed, due_at, last_status, last_error, created_at, updated_at)
			values ('CB2', $1, 'HS1', 'https://h', 'POST', 'still to be told', '', 'https://h', 'due', $3, 1, 1, 0, 200, '', $2, $2)`, []any{ours, at, false}},
		{`insert into notification (eid, seq, event, iccid, evidence, received_at) values ('x', 1, 'install', '8988307000000000006', $1, $2)`, []any{[]byte("signed notification"), at}},
		{`insert into esim_profile (sid, account_sid, status, eid, generate_matching_id, profile_type, iccid, sim_sid, callback_method, lease, created_at, updated_at)
			values ('HP1', $1, 'installed', $3, $4, 't', '8988307000000000006', 'HS1', 'POST', 0, $2, $2)`, []any{ours, at, eid, false}},
		{`insert into esim_profile (sid, account_sid, status, eid, generate_matching_id, profile_type, callback_method, lease, created_at, updated_at)
			values ('HP2', $1, 'new', 'still to be loaded', $3, 't', 'POST', 0, $2, $2)`, []any{ours, at, false}},
		{
			`insert into profile (iccid, state, profile_type, batch, imsi, secrets, eid, updated_at) values ('8988307000000000006', 'installed', 't', 'b', '001010000000001', $3, $2, $1)`,
			[]any{at, eid, []byte{1}},
		},
		{`insert into bulk_order (sid, account_sid, status, label, total, available, failed, canceled, chunks, chunks_ended, wants_code, callback_url, callback_method, callback_per, created_at, updated_at)
			select v.column1, $1, v.column2, '', 1, 0, 0, 0, 1, 1, $3, '', 'POST', 'order', $2, $2 from (values ('HO1', 'canceled'), ('HO2', 'running')) v`, []any{ours, at, false}},
		{`insert into bulk_lines (order_sid, number, lines, created_at) values ('HO1', 0, $2, $1)`, []any{at, `[{"l":2,"e":"` + lineEID + `","b":"box 7"},{"l":3,"n":5},{"l":4,"e":""}]`}},
		{`insert into bulk_lines (order_sid, number, lines, created_at) values ('HO2', 0, '[{"l":2,"e":"still to be ordered"}]', $1)`, []any{at}},
		{`insert into usage_session (nas, id, sim_sid, seconds, upload, download, wide, addresses, is_open, began_at, last_at)
			values ('gw', '1', 'HS1', 0, 0, 0, $2, '192.0.2.88', $2, $1, $1)`, []any{at, false}},
		{`insert into usage_session (nas, id, sim_sid, seconds, upload, download, wide, addresses, is_open, began_at, last_at)
			select 'gw', v.column1, 'HS1', 0, 0, 0, $1, v.column2, $2, $3, v.column3
			from (values ('2', '192.0.2.99', ` + fmt.Sprint(at) + `), ('3', '192.0.2.111', ` + fmt.Sprint(p.at.Add(retained).UnixMicro()) + `)) v`, []any{false, true, at}},
		{`insert into usage_address (address, nas, id) values ('192.0.2.99', 'gw', '2'), ('192.0.2.111', 'gw', '3')`, nil},
		{
			`insert into card (iccid, imsi, msisdn, eid, secrets, sim_sid, source, created_at) values
			('8988307000000000006', '001010000000001', '', $1, $3, 'HS1', '', $2), ('8988307000000000014', '001010000000002', '', 'still to be registered', $3, null, '', $2)`,
			[]any{cardEID, at, []byte{1}},
		},
	} {
		p.write(t, one.text, one.args...)
	}
	check(t, d.Write(t.Context(), func(tx *db.Tx) error {
		return p.log.Append(t.Context(), tx, event.Event{Kind: "k", Subject: "HS1", At: p.at, Data: map[string]string{"a": "event detail"}, Evidence: []byte("event evidence"), EvidenceKind: "test"})
	}))
	for _, all := range words {
		for _, word := range all {
			if len(holders(t, d, word)) == 0 {
				t.Fatalf("%q is nowhere: the test would prove nothing", word)
			}
		}
	}
	return p
}

func (p *past) write(t *testing.T, text string, args ...any) {
	t.Helper()
	check(t, p.db.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(t.Context(), text, args...)
		return err
	}))
}

// left returns the words of a policy that are still there.
func (p *past) left(t *testing.T, policy string) (found []string) {
	t.Helper()
	for _, word := range words[policy] {
		found = append(found, holders(t, p.db, word)...)
	}
	return found
}

// proofs returns what events say was deleted, by policy.
func (p *past) proofs(t *testing.T) map[string]privacy.Proof {
	t.Helper()
	sums := map[string]privacy.Proof{}
	check(t, p.db.Read(t.Context(), func(q db.Query) error {
		list, err := p.log.List(t.Context(), q, event.Filter{Kind: "privacy.expired", Limit: 1000})
		for _, e := range list {
			var told struct {
				Policy  string        `json:"policy"`
				Deleted privacy.Proof `json:"deleted"`
			}
			if err := json.Unmarshal(e.Data.(json.RawMessage), &told); err != nil {
				return err
			}
			if sums[told.Policy] == nil {
				sums[told.Policy] = privacy.Proof{}
			}
			for what, n := range told.Deleted {
				sums[told.Policy][what] += n
			}
		}
		return err
	}))
	return sums
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestExpires: each policy lets its own go, to the second, proves it, and leaves
// what is still needed.
func TestExpires(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy privacy.Policy
		proof  string
	}{
		{"messages", privacy.Policy{Messages: retained}, `map[ip_command.payload:1 sms_command.payload:1 sms_receipt:1]`},
		{"evidence", privacy.Policy{Evidence: retained}, `map[callback_delivery:1 event:1 notification:1]`},
		{"devices", privacy.Policy{Devices: retained}, `map[bulk_lines.eid:1 card.eid:1 esim_profile.eid:1 profile.eid:1 usage_address:1 usage_session.addresses:2]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				p := newPast(t, d)
				now := p.at.Add(retained)
				s := &privacy.Store{DB: d, Events: p.log, Silence: silence, Now: func() time.Time { return now }}
				before := p.left(t, tt.name)
				if proof, err := s.Expire(t.Context(), tt.policy); err != nil || len(proof) > 0 {
					t.Fatalf("too early: %v, %v", proof, err)
				}
				if len(p.left(t, tt.name)) != len(before) {
					t.Fatal("something went too early")
				}
				now = now.Add(time.Second)
				proof, err := s.Expire(t.Context(), tt.policy)
				check(t, err)
				if fmt.Sprint(proof) != tt.proof {
					t.Errorf("deleted %v, want %s", proof, tt.proof)
				}
				if left := p.left(t, tt.name); len(left) > 0 {
					t.Errorf("still in %v", left)
				}
				for other := range words {
					if other != tt.name && len(p.left(t, other)) == 0 {
						t.Errorf("what policy %s is for went, too", other)
					}
				}
				for _, word := range []string{"still to be sent", "still to be told", "still to be loaded", "still to be ordered", "still to be registered", "192.0.2.111", "box 7"} {
					if len(holders(t, d, word)) == 0 {
						t.Errorf("%q is gone", word)
					}
				}
				if told := fmt.Sprint(p.proofs(t)); told != "map["+tt.name+":"+tt.proof+"]" {
					t.Errorf("events tell of %s", told)
				}
				if again, err := s.Expire(t.Context(), tt.policy); err != nil || len(again) > 0 {
					t.Errorf("a second time deletes %v, %v", again, err)
				}
			})
		})
	}
}

// TestExpiresEvents goes through more events than one transaction takes, and on
// from where it was.
func TestExpiresEvents(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := newPast(t, d)
		now := p.at.Add(retained + time.Second)
		s := &privacy.Store{DB: d, Events: p.log, Now: func() time.Time { return now }}
		more := func(n int, at time.Time) {
			t.Helper()
			check(t, d.Write(t.Context(), func(tx *db.Tx) error {
				for range n {
					if err := p.log.Append(t.Context(), tx, event.Event{Kind: "k", Subject: "s", At: at, Evidence: []byte("event evidence")}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		more(1, now.AddDate(1, 0, 0)) // a clock that was wrong: it holds nothing up
		more(2300, p.at)
		more(10, now)
		for i, want := range []int64{2301, 0, 10, 0} {
			if i == 2 {
				now = now.Add(retained + time.Second)
			}
			if proof, err := s.Expire(t.Context(), privacy.Policy{Evidence: retained}); err != nil || proof["event"] != want {
				t.Errorf("run %d cleared %v, %v; want %d", i, proof, err, want)
			}
		}
		if got := p.proofs(t)["evidence"]["event"]; got != 2311 {
			t.Errorf("events tell of %d", got)
		}
		now = now.AddDate(2, 0, 0)
		if _, err := s.Expire(t.Context(), privacy.Policy{Evidence: retained}); err != nil || len(p.left(t, "evidence")) > 0 {
			t.Errorf("in the end evidence is still there %d times, %v", len(p.left(t, "evidence")), err)
		}
	})
}

// TestPolicy: a server with a policy carries it out by itself.
func TestPolicy(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := newPast(t, d)
		q, err := jobs.New(d)
		check(t, err)
		var now atomic.Int64
		now.Store(p.at.Add(retained + time.Second).UnixMicro())
		s := &privacy.Store{DB: d, Events: p.log, Silence: silence, Now: func() time.Time { return db.Time(now.Load()) }}
		s.Register(q, privacy.Policy{Messages: retained, Devices: retained})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- q.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			check(t, <-ended)
		})
		look, late := time.NewTicker(2*time.Millisecond), time.After(2*time.Minute)
		defer look.Stop()
		for done := false; !done; {
			told := p.proofs(t)
			done = len(told["messages"]) == 3 && len(told["devices"]) == 6
			select {
			case <-late:
				t.Fatalf("only %v went in two minutes", told)
			case <-look.C:
			}
		}
		if left := append(p.left(t, "messages"), p.left(t, "devices")...); len(left) > 0 {
			t.Errorf("still in %v", left)
		}
		if len(p.left(t, "evidence")) == 0 {
			t.Error("evidence went without a policy")
		}
	})
}

// A short policy does not take the address of a session of which reports may
// still come; one without a word about silence takes none of any open session.
func TestSilence(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := newPast(t, d)
		now := p.at.Add(silence - time.Minute)
		s := &privacy.Store{DB: d, Events: p.log, Now: func() time.Time { return now }}
		for _, tt := range []struct {
			silence, later time.Duration
			left           int
		}{{silence, 0, 2}, {0, 2 * time.Minute, 2}, {silence, 0, 0}} {
			s.Silence, now = tt.silence, now.Add(tt.later)
			if _, err := s.Expire(t.Context(), privacy.Policy{Devices: time.Hour}); err != nil {
				t.Fatal(err)
			}
			if left := holders(t, d, "192.0.2.99"); len(left) != tt.left {
				t.Errorf("after %s, silence %s: in %v", now.Sub(p.at), tt.silence, left)
			}
		}
	})
}
