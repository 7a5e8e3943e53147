package command

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/sim"
	"godwit/smsc"
)

// Take keeps what the SMSC hands to us: receipts, and messages of devices.
func (s *Store) Take(ctx context.Context, in smsc.Incoming) error {
	iccid, err := s.Numbers.ICCID(ctx, in.From)
	if fault.Is(err, fault.NotFound) {
		return s.unknownSender(ctx, in)
	}
	if err != nil {
		return fmt.Errorf("look for the card of a number: %w", err)
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		one, err := s.Sims.ByICCID(ctx, tx, iccid)
		if err != nil {
			return err
		}
		if in.Receipt != nil {
			return s.takeReceipt(ctx, tx, one, in)
		}
		return s.takeText(ctx, tx, one, in)
	})
	if fault.Is(err, fault.NotFound) {
		return s.unknownSender(ctx, in)
	}
	return err
}

// unknownSender refuses a message. A receipt is of no use to anybody then, and
// need not come again.
func (s *Store) unknownSender(ctx context.Context, in smsc.Incoming) error {
	if in.Receipt != nil {
		slog.WarnContext(ctx, "a receipt is about nobody", "number", in.From.Digits, "message_id", in.Receipt.ID)
		return nil
	}
	return smsc.ErrNobody
}

// takeReceipt notes what the SMSC says of a message. A receipt that comes again
// changes nothing.
func (s *Store) takeReceipt(ctx context.Context, tx *db.Tx, one sim.Sim, in smsc.Incoming) error {
	m, err := s.receiptFor(ctx, tx, one, in)
	if db.None(err) {
		// It may have overtaken the answer that tells the message's identifier.
		// Touching the messages that wait for one makes the engine order this
		// transaction and the one that stores the answer, so that the later of
		// the two sees the other.
		if _, err := tx.ExecContext(ctx, `update sms_command set updated_at = updated_at where sim_sid = $1 and status = 'queued' and doubt_at > 0`, one.SID); err != nil {
			return fmt.Errorf("look for messages without an answer: %w", err)
		}
		_, err := tx.ExecContext(ctx, `insert into sms_receipt (sim_sid, message_id, state, error, raw, created_at)
			values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
			one.SID, in.Receipt.ID, string(in.Receipt.State), in.Receipt.Error, in.Raw, s.now().UnixMicro())
		return err
	}
	if err != nil {
		return fmt.Errorf("look for the message of a receipt: %w", err)
	}
	return s.apply(ctx, tx, &m, *in.Receipt, in.Raw)
}

// receiptFor finds the message that a receipt is about: by the SMSC's identifier,
// else by our reference where the SMSC's answer is lost. The error is sql.ErrNoRows
// for none.
func (s *Store) receiptFor(ctx context.Context, tx *db.Tx, one sim.Sim, in smsc.Incoming) (m SMS, err error) {
	for _, id := range smsc.SameID(in.Receipt.ID) {
		if id == "" {
			continue
		}
		m, err = scanSMS(tx.QueryRowContext(ctx, selectSMS+` where message_id = $1 and sim_sid = $2 order by created_at desc limit 1`+tx.ForUpdate(), id, one.SID))
		if !db.None(err) {
			return m, err
		}
	}
	m, err = scanSMS(tx.QueryRowContext(ctx, selectSMS+` where sim_sid = $1 and reference = $2 and $2 > 0 and status = 'queued' and doubt_at > 0
		order by created_at desc limit 1`+tx.ForUpdate(), one.SID, int64(in.Reference)))
	if err == nil {
		m.messageID = in.Receipt.ID
	}
	return m, err
}

// apply takes a message to where a receipt says it is.
func (s *Store) apply(ctx context.Context, tx *db.Tx, m *SMS, r smsc.Receipt, raw []byte) error {
	proof := event.Event{Evidence: raw, EvidenceKind: evidenceSMPP}
	if m.Status == Queued {
		// The answer to submit_sm is lost; the receipt proves that it was sent.
		if err := s.advanceSMS(ctx, tx, m, Sent, proof); err != nil {
			return err
		}
	}
	if m.Status != Sent || !r.State.Final() {
		return nil
	}
	if r.State == smsc.Delivered {
		return s.advanceSMS(ctx, tx, m, Delivered, proof)
	}
	m.Reason = "the SMSC reports: " + words[r.State]
	if r.Error != "" && r.Error != "000" {
		m.Reason += ", network error " + r.Error
	}
	return s.advanceSMS(ctx, tx, m, Failed, proof)
}

var words = map[smsc.State]string{
	smsc.Expired:       "the device could not be reached before the message expired",
	smsc.Deleted:       "the message was deleted",
	smsc.Undeliverable: "the message cannot be delivered",
	smsc.Rejected:      "the message was rejected",
	smsc.Lost:          "it does not know what became of the message",
}

// takeEarly applies receipts that came before the answer which says what they are
// about.
func (s *Store) takeEarly(ctx context.Context, tx *db.Tx, m *SMS) error {
	type early struct {
		receipt smsc.Receipt
		raw     []byte
	}
	for _, id := range smsc.SameID(m.messageID) {
		all, err := db.All(ctx, tx, func(r db.Row) (e early, err error) {
			err = r.Scan(&e.receipt.ID, &e.receipt.State, &e.receipt.Error, &e.raw)
			return e, err
		}, `select message_id, state, error, raw from sms_receipt where sim_sid = $1 and message_id = $2 order by created_at`, m.SIM, id)
		if err != nil {
			return fmt.Errorf("read early receipts: %w", err)
		}
		for _, e := range all {
			if err := s.apply(ctx, tx, m, e.receipt, e.raw); err != nil {
				return err
			}
		}
		if len(all) == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, `delete from sms_receipt where sim_sid = $1 and message_id = $2`, m.SIM, id); err != nil {
			return fmt.Errorf("remove early receipts: %w", err)
		}
	}
	return nil
}

// sameMessage is how long a device's reference and text name one message: it
// counts its messages round to 256.
const sameMessage = 10 * time.Minute

// takeText keeps a device's message and tells its Fleet's webhook.
//
// An SMSC that has not heard our answer sends the message again. Where it passes
// the device's reference on, we see that; where it does not, the customer gets the
// message twice, for two equal messages may be meant.
func (s *Store) takeText(ctx context.Context, tx *db.Tx, one sim.Sim, in smsc.Incoming) error {
	fleet, ok, err := s.Sims.FleetOf(ctx, tx, one)
	if err != nil {
		return err
	}
	if why := silenced(one, ok, fleet.SMS, "SMS commands are"); why != "" {
		return s.dropped(ctx, tx, "sms_command.dropped", one, why, in.Raw, evidenceSMPP)
	}
	now := s.now()
	if in.Reference != 0 {
		var before string
		err := tx.QueryRowContext(ctx, `select sid from sms_command where sim_sid = $1 and direction = 'from_sim' and reference = $2 and payload = $3 and created_at > $4 limit 1`,
			one.SID, int64(in.Reference), in.Text, now.Add(-sameMessage).UnixMicro()).Scan(&before)
		if err == nil {
			return nil // the same again
		}
		if !db.None(err) {
			return fmt.Errorf("look for the same message: %w", err)
		}
	}
	m := SMS{
		SID: freshSID(SMSPrefix), Account: one.Account, SIM: one.SID, Direction: FromSim, Status: Received, Payload: in.Text,
		CreatedAt: now, UpdatedAt: now, reference: in.Reference,
	}
	if err := insertSMS(ctx, tx, m); err != nil {
		return err
	}
	if err := s.record(ctx, tx, event.Event{
		Kind: "sms_command.received", Subject: m.SID, Account: m.Account, Data: map[string]any{"sim": m.SIM},
		Evidence: in.Raw, EvidenceKind: evidenceSMPP,
	}); err != nil {
		return err
	}
	if err := s.count(ctx, tx, m.SIM); err != nil {
		return err
	}
	return s.tell(ctx, tx, m.Account, m.SID, fleet.SMSHook, smsParams(m, one))
}

// silenced says why nothing is taken that the device of a Sim sends, empty if it
// is: on tells whether the Sim's Fleet, if it has one, has the service.
func silenced(one sim.Sim, inFleet, on bool, service string) string {
	switch {
	case !one.Status.Attaches():
		return "the Sim is " + string(one.Status)
	case !inFleet:
		return "the Sim is in no Fleet"
	case !on:
		return service + " off in the Sim's Fleet"
	}
	return ""
}

// dropped records that a device has sent something which its Sim may not send.
func (s *Store) dropped(ctx context.Context, tx *db.Tx, kind string, one sim.Sim, why string, raw []byte, evidence string) error {
	return s.record(ctx, tx, event.Event{
		Kind: kind, Subject: one.SID, Account: one.Account, Data: map[string]any{"reason": why}, Evidence: raw, EvidenceKind: evidence,
	})
}

// A Directory is a [Numbers] that is a list: what tests and small set-ups know by
// heart.
type Directory map[ident.ICCID]smsc.Number

// Number returns a card's number.
func (d Directory) Number(_ context.Context, iccid ident.ICCID) (smsc.Number, error) {
	n, ok := d[iccid]
	if !ok {
		return n, fault.New(fault.NotFound, "the card %s has no number", iccid)
	}
	return n, nil
}

// ICCID returns whose number it is.
func (d Directory) ICCID(_ context.Context, n smsc.Number) (ident.ICCID, error) {
	for iccid, its := range d {
		if its.Digits == n.Digits {
			return iccid, nil
		}
	}
	return "", fault.New(fault.NotFound, "the number %s is nobody's", n.Digits)
}
