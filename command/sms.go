package command

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/sim"
	"godwit/smsc"
)

// An SMS is one short message to a device or from it.
type SMS struct {
	SID       string
	Account   string
	SIM       string // SID
	Direction Direction
	Status    Status
	Payload   string
	Reason    string // why it failed
	Callback  sim.Callback
	CreatedAt time.Time
	UpdatedAt time.Time

	reference uint16    // see the table
	messageID string    // the SMSC's
	doubtAt   time.Time // zero for no doubt
	claimedAt time.Time // by the job that has it in its hands
	attempts  int
}

// Key returns the message's place in lists.
func (m SMS) Key() sim.Key { return sim.Key{At: m.CreatedAt.UnixMicro(), SID: m.SID} }

const selectSMS = `select sid, account_sid, sim_sid, direction, status, payload, reason, coalesce(callback_url, ''), callback_method,
	reference, message_id, doubt_at, attempts, created_at, updated_at from sms_command`

func scanSMS(r db.Row) (SMS, error) {
	var m SMS
	var doubt, created, updated int64
	err := r.Scan(&m.SID, &m.Account, &m.SIM, &m.Direction, &m.Status, &m.Payload, &m.Reason, &m.Callback.URL, &m.Callback.Method,
		&m.reference, &m.messageID, &doubt, &m.attempts, &created, &updated)
	if doubt != 0 {
		m.doubtAt = db.Time(doubt)
	}
	m.CreatedAt, m.UpdatedAt = db.Time(created), db.Time(updated)
	return m, err
}

// SendSMS takes a message for a device. It is sent afterwards.
func (s *Store) SendSMS(ctx context.Context, account, ref, payload string, tell sim.Callback) (m SMS, err error) {
	if err := checkText(payload); err != nil {
		return m, err
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		one, fleet, err := s.target(ctx, tx, account, ref)
		if err != nil {
			return err
		}
		if !fleet.SMS {
			return fault.Field("Sim", "SMS commands are off in the Sim's Fleet %s (SmsCommandsEnabled), for good: the Sim needs another Fleet", fleet.SID)
		}
		now := s.now()
		m = SMS{
			SID: freshSID(SMSPrefix), Account: account, SIM: one.SID, Direction: ToSim, Status: Queued, Payload: payload,
			Callback: tell, CreatedAt: now, UpdatedAt: now, reference: uint16(1 + rand.N(0xFFFF)),
		}
		if err := s.wake(ctx, tx, "sms_command", smsArgs{}); err != nil {
			return err
		}
		if err := insertSMS(ctx, tx, m); err != nil {
			return err
		}
		if err := s.record(ctx, tx, event.Event{
			Kind: "sms_command.queued", Subject: m.SID, Account: account, Data: map[string]any{"sim": one.SID},
		}); err != nil {
			return err
		}
		return nil
	})
	return m, err
}

// checkText refuses what does not fit into one short message.
func checkText(payload string) error {
	if payload == "" {
		return fault.Field("Payload", "must not be empty")
	}
	n, bad, ok := smsc.Septets(payload)
	if !ok {
		return fault.Field("Payload", "%q is no character of the GSM 7-bit alphabet (3GPP TS 23.038), which SMS commands are written in", bad)
	}
	if n > smsc.MaxSeptets {
		return fault.Field("Payload", "must take at most %d characters, not %d; those of the alphabet's extension table (^{}\\[~]|€) take two", smsc.MaxSeptets, n)
	}
	return nil
}

func insertSMS(ctx context.Context, tx *db.Tx, m SMS) error {
	if _, err := tx.ExecContext(ctx, `insert into sms_command (sid, account_sid, sim_sid, direction, status, payload, reason,
		callback_url, callback_method, reference, message_id, lease, doubt_at, attempts, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, '', $7, $8, $9, '', 0, 0, 0, $10, $10)`,
		m.SID, m.Account, m.SIM, string(m.Direction), string(m.Status), m.Payload,
		db.Null(m.Callback.URL), method(m.Callback.Method), int64(m.reference), m.CreatedAt.UnixMicro()); err != nil {
		return fmt.Errorf("store SMS command: %w", err)
	}
	return nil
}

// SMS returns one message.
func (s *Store) SMS(ctx context.Context, account, sid string) (m SMS, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		if !sim.IsSID(sid, SMSPrefix) {
			return fault.New(fault.NotFound, "there is no SMS command %.80q", sid)
		}
		m, err = scanSMS(q.QueryRowContext(ctx, selectSMS+` where sid = $1 and account_sid = $2`, sim.Canonical(sid), account))
		if db.None(err) {
			return fault.New(fault.NotFound, "there is no SMS command %s", sid)
		}
		return err
	})
	return m, err
}

// A Filter selects commands; empty members fit all.
type Filter struct {
	SIM       string // SID or unique name
	ICCID     string // IP commands only
	Status    Status
	Direction Direction
}

// SMSs lists an account's short messages.
func (s *Store) SMSs(ctx context.Context, account string, f Filter, p sim.Page) (l sim.List[SMS], err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		c, nothing, err := s.conditions(ctx, q, account, f)
		if err != nil || nothing {
			return err
		}
		l, err = sim.QueryPage(ctx, q, scanSMS, selectSMS, c, p)
		return err
	})
	return l, err
}

func (s *Store) conditions(ctx context.Context, q db.Query, account string, f Filter) (c *sim.Conditions, nothing bool, err error) {
	sid, nothing, err := s.simFilter(ctx, q, account, f.SIM)
	if err != nil || nothing {
		return nil, nothing, err
	}
	c = &sim.Conditions{}
	c.Equal("account_sid", account)
	c.Equal("sim_sid", sid)
	c.Equal("sim_iccid", f.ICCID)
	c.Equal("status", string(f.Status))
	c.Equal("direction", string(f.Direction))
	return c, false, nil
}

// advanceSMS takes a message to its next status, records it and tells the
// customer.
func (s *Store) advanceSMS(ctx context.Context, tx *db.Tx, m *SMS, to Status, proof event.Event) error {
	if !may(smsMoves, m.Status, to) {
		return fmt.Errorf("SMS command %s cannot go from %s to %s", m.SID, m.Status, to)
	}
	m.Status, m.UpdatedAt = to, s.now()
	if _, err := tx.ExecContext(ctx, `update sms_command set status = $1, reason = $2, message_id = $3, doubt_at = 0, updated_at = $4 where sid = $5`,
		string(to), m.Reason, m.messageID, m.UpdatedAt.UnixMicro(), m.SID); err != nil {
		return fmt.Errorf("store SMS command %s: %w", m.SID, err)
	}
	data := map[string]any{"sim": m.SIM}
	if m.messageID != "" {
		data["message_id"] = m.messageID
	}
	if m.Reason != "" {
		data["reason"] = m.Reason
	}
	proof.Kind, proof.Subject, proof.Account, proof.Data = "sms_command."+string(to), m.SID, m.Account, data
	if err := s.record(ctx, tx, proof); err != nil {
		return err
	}
	one, err := s.Sims.BySID(ctx, tx, m.SIM)
	if err != nil {
		return err
	}
	if to == Sent {
		if err := s.count(ctx, tx, m.SIM); err != nil {
			return err
		}
	}
	return s.tell(ctx, tx, m.Account, m.SID, m.Callback, smsParams(*m, one))
}

// smsParams are the parameters of callbacks about short messages. Command repeats
// Payload: receivers written for an older form of the API read that.
func smsParams(m SMS, one sim.Sim) []callback.Param {
	return []callback.Param{
		{Name: "AccountSid", Value: m.Account},
		{Name: "ApiVersion", Value: "v1"},
		{Name: "Command", Value: m.Payload},
		{Name: "CommandSid", Value: m.SID},
		{Name: "Direction", Value: string(m.Direction)},
		{Name: "Payload", Value: m.Payload},
		{Name: "PayloadType", Value: "text"},
		{Name: "SimSid", Value: m.SIM},
		{Name: "SimUniqueName", Value: one.UniqueName},
		{Name: "Status", Value: string(m.Status)},
	}
}
