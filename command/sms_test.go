package command

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/sim"
	"godwit/smsc/smsctest"

	"github.com/linxGnu/gosmpp/data"
)

var hook = sim.Callback{URL: "https://hooks.example.com/mine"}

// each runs a test in a house of each engine, bound to an SMSC.
func each(t *testing.T, body func(t *testing.T, h *house)) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.bound(t)
		body(t, h)
	})
}

func (h *house) send(t testing.TB, one sim.Sim, payload string) SMS {
	t.Helper()
	m, err := h.SendSMS(context.Background(), h.account, one.SID, payload, hook)
	check(t, err)
	return m
}

func (h *house) wantSMS(t testing.TB, m SMS, want Status) SMS {
	t.Helper()
	m = h.sms(t, m.SID)
	if m.Status != want {
		t.Fatalf("%s is %s (%s), want %s", m.SID, m.Status, m.Reason, want)
	}
	return m
}

// told returns the statuses that a customer was told.
func (h *house) told(t testing.TB, sid string) string {
	t.Helper()
	var all []string
	for _, d := range h.callbacks(t, sid) {
		form, err := url.ParseQuery(d.Form)
		check(t, err)
		all = append(all, form.Get("Status"))
	}
	return strings.Join(all, " ")
}

func TestSMSLife(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		one := h.device(t, h.fleet(t, true, true).SID, sim.Active)
		m := h.send(t, one, "reboot")
		if m.Status != Queued || m.Direction != ToSim {
			t.Fatalf("new: %+v", m)
		}
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, m, Sent)
		got := h.smsc.Next()
		if got.Text != "reboot" || got.From != "000" || got.To != h.numbers[one.ICCID].Digits || got.Validity != "000001000000000R" && got.Validity != "000000235959000R" {
			t.Errorf("the SMSC got %+v", got)
		}
		if status := h.smsc.Receipt(got, "ENROUTE"); status != data.ESME_ROK {
			t.Errorf("receipt answered with %#x", status)
		}
		h.wantSMS(t, m, Sent)
		for range 2 { // the same receipt again changes nothing
			h.smsc.Receipt(got, "DELIVRD")
		}
		h.wantSMS(t, m, Delivered)
		h.smsc.Receipt(got, "UNDELIV")
		h.wantSMS(t, m, Delivered)
		if got := h.told(t, m.SID); got != "sent delivered" {
			t.Errorf("the customer was told %q", got)
		}
		form, err := url.ParseQuery(h.callbacks(t, m.SID)[1].Form)
		check(t, err)
		want := url.Values{
			"AccountSid": {h.account}, "ApiVersion": {"v1"}, "Command": {"reboot"}, "CommandSid": {m.SID}, "Direction": {"to_sim"}, "Payload": {"reboot"},
			"PayloadType": {"text"}, "SimSid": {one.SID}, "SimUniqueName": {one.UniqueName}, "Status": {"delivered"},
		}
		if form.Encode() != want.Encode() {
			t.Errorf("callback %v, want %v", form, want)
		}
		events := h.events(t, m.SID)
		if last := events[len(events)-1]; last.Kind != "sms_command.delivered" || len(last.Evidence) == 0 {
			t.Errorf("last event %+v", last)
		}
	})
}

func TestSMSFails(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		one := h.device(t, h.fleet(t, true, true).SID, sim.Ready)
		undelivered := h.send(t, one, "undelivered")
		check(t, h.sendSMS(t.Context()))
		h.smsc.Receipt(h.smsc.Next(), "EXPIRED")
		if m := h.wantSMS(t, undelivered, Failed); !strings.Contains(m.Reason, "expired") {
			t.Errorf("reason %q", m.Reason)
		}
		h.smsc.Judge(func(string, string) smsctest.Verdict { return smsctest.Refuse })
		refused := h.send(t, one, "refused")
		check(t, h.sendSMS(t.Context()))
		if m := h.wantSMS(t, refused, Failed); !strings.Contains(m.Reason, "number") {
			t.Errorf("reason %q", m.Reason)
		}
		h.smsc.Judge(func(string, string) smsctest.Verdict { return smsctest.Throttle })
		throttled := h.send(t, one, "throttled")
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, throttled, Queued)
		h.clock.Forward(time.Minute)
		h.smsc.Judge(nil)
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, throttled, Sent)
		// Nobody takes it for a day.
		h.smsc.Judge(func(string, string) smsctest.Verdict { return smsctest.Throttle })
		late := h.send(t, one, "late")
		check(t, h.sendSMS(t.Context()))
		h.clock.Forward(23 * time.Hour)
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, late, Queued)
		h.clock.Forward(time.Hour)
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, late, Failed)
		if got := h.told(t, late.SID); got != "failed" {
			t.Errorf("the customer was told %q", got)
		}
		delete(h.numbers, one.ICCID)
		numberless := h.send(t, one, "numberless")
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, numberless, Failed)
	})
}

// TestSMSWithoutSMSC: messages wait, and say why they fail in the end.
func TestSMSWithoutSMSC(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		m := h.send(t, h.device(t, h.fleet(t, true, true).SID, sim.Active), "x")
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, m, Queued)
		h.clock.Forward(smsLife)
		check(t, h.sendSMS(t.Context()))
		if m := h.wantSMS(t, m, Failed); !strings.Contains(m.Reason, "no SMSC") {
			t.Errorf("reason %q", m.Reason)
		}
	})
}

// TestSMSDoubt: where the SMSC's answer is lost, a receipt with our reference
// ends the doubt; without one the message goes again, and the record says so.
func TestSMSDoubt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		one := h.device(t, h.fleet(t, true, true).SID, sim.Active)
		h.smsc.Judge(func(string, string) smsctest.Verdict { return smsctest.AcceptDrop })
		first := h.send(t, one, "first")
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, first, Queued)
		got := h.smsc.Next()
		h.smsc.Judge(nil)
		h.ready(t)
		check(t, h.sendSMS(t.Context())) // within the lease: not again
		h.Bound(t.Context())
		check(t, h.sendSMS(t.Context()))
		h.smsc.Receipt(got, "DELIVRD")
		h.wantSMS(t, first, Delivered)
		if told := h.told(t, first.SID); told != "sent delivered" {
			t.Errorf("the customer was told %q", told)
		}
		h.clock.Forward(2 * smsLease)
		check(t, h.sendSMS(t.Context()))
		if n := len(h.smsc.Accepted()); n != 1 {
			t.Errorf("the SMSC has %d messages, want 1", n)
		}

		h.smsc.Judge(func(string, string) smsctest.Verdict { return smsctest.AcceptDrop })
		second := h.send(t, one, "second")
		check(t, h.sendSMS(t.Context()))
		h.smsc.Judge(nil)
		h.ready(t)
		// The dying link may take one more message with it before it is known to
		// be gone.
		for range 20 {
			h.clock.Forward(smsLease + time.Second)
			check(t, h.sendSMS(t.Context()))
			if h.sms(t, second.SID).Status == Sent {
				break
			}
			h.ready(t)
		}
		h.wantSMS(t, second, Sent)
		if n := len(h.smsc.Accepted()); n != 3 {
			t.Errorf("the SMSC has %d messages, want 3", n)
		}
		var kinds []string
		for _, e := range h.events(t, second.SID) {
			kinds = append(kinds, e.Kind)
		}
		if got := strings.Join(kinds, " "); got != "sms_command.queued sms_command.repeated sms_command.sent" {
			t.Errorf("events %s", got)
		}
	})
}

// TestEarlyReceipt: a receipt may overtake the answer to submit_sm.
func TestEarlyReceipt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		one := h.device(t, h.fleet(t, true, true).SID, sim.Active)
		h.smsc.Early(func(m smsctest.Message) {
			m.Reference = 0 // an SMSC that does not pass references on
			h.smsc.EarlyReceipt(m, "DELIVRD")
		})
		m := h.send(t, one, "quick")
		check(t, h.sendSMS(t.Context()))
		await(t, "receipt", func() bool { return h.sms(t, m.SID).Status == Delivered })
		if told := h.told(t, m.SID); told != "sent delivered" {
			t.Errorf("the customer was told %q", told)
		}
	})
}

func TestSMSFromDevice(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		fleet := h.fleet(t, true, true)
		one := h.device(t, fleet.SID, sim.Active)
		number := h.numbers[one.ICCID]
		for range 2 { // the SMSC has not heard our answer
			if status := h.smsc.Text(number.Digits, byte(number.Plan), "temperature 21°"[:14], 17); status != data.ESME_ROK {
				t.Errorf("status %#x", status)
			}
		}
		l, err := h.SMSs(t.Context(), h.account, Filter{Direction: FromSim}, sim.Page{Limit: 10})
		check(t, err)
		if len(l.Items) != 1 || l.Items[0].Status != Received || l.Items[0].Payload != "temperature 21" || l.Items[0].SIM != one.SID {
			t.Fatalf("kept %+v", l.Items)
		}
		m := l.Items[0]
		calls := h.callbacks(t, m.SID)
		if len(calls) != 1 || calls[0].URL != fleet.SMSHook.URL {
			t.Fatalf("callbacks %+v", calls)
		}
		form, err := url.ParseQuery(calls[0].Form)
		check(t, err)
		want := url.Values{
			"AccountSid": {h.account}, "ApiVersion": {"v1"}, "Command": {m.Payload}, "CommandSid": {m.SID}, "Direction": {"from_sim"}, "Payload": {m.Payload},
			"PayloadType": {"text"}, "SimSid": {one.SID}, "SimUniqueName": {one.UniqueName}, "Status": {"received"},
		}
		if form.Encode() != want.Encode() {
			t.Errorf("callback %v, want %v", form, want)
		}
		// Equal messages without a reference are two.
		h.smsc.Text(number.Digits, byte(number.Plan), "x", 0)
		h.smsc.Text(number.Digits, byte(number.Plan), "x", 0)
		if l, err = h.SMSs(t.Context(), h.account, Filter{SIM: one.UniqueName, Status: Received}, sim.Page{Limit: 10}); err != nil || len(l.Items) != 3 {
			t.Errorf("kept %d, %v, want 3", len(l.Items), err)
		}
		if status := h.smsc.Text("001019999999999", 6, "x", 0); status != data.ESME_RX_P_APPN {
			t.Errorf("nobody's number: status %#x", status)
		}
		mute := h.device(t, h.fleet(t, true, false).SID, sim.Active)
		if status := h.smsc.Text(h.numbers[mute.ICCID].Digits, 6, "x", 0); status != data.ESME_ROK {
			t.Errorf("SMS off: status %#x", status)
		}
		if events := h.events(t, mute.SID); len(events) != 1 || events[0].Kind != "sms_command.dropped" || len(events[0].Evidence) == 0 {
			t.Errorf("SMS off: events %+v", events)
		}
	})
}

func TestSMSRules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		fleet, mute := h.fleet(t, true, true), h.fleet(t, true, false)
		active := h.device(t, fleet.SID, sim.Active)
		for _, tt := range []struct {
			name, sim, payload, field, text string
			code                            int
		}{
			{"no Sim", "HS00000000000000000000000000000000", "x", "Sim", "neither the SID nor the unique name", CodeSim},
			{"new Sim", h.device(t, "", sim.New).SID, "x", "Sim", "ready or active", 0},
			{"inactive Sim", h.device(t, fleet.SID, sim.Inactive).SID, "x", "Sim", "this one is inactive", 0},
			{"SMS off", h.device(t, mute.SID, sim.Active).SID, "x", "Sim", "SmsCommandsEnabled", 0},
			{"empty", active.SID, "", "Payload", "empty", 0},
			{"161", active.SID, strings.Repeat("x", 161), "Payload", "160", 0},
			{"81 of the extension", active.SID, strings.Repeat("€", 81), "Payload", "162", 0},
			{"no GSM character", active.SID, "日", "Payload", "alphabet", 0},
		} {
			t.Run(tt.name, func(t *testing.T) {
				_, err := h.SendSMS(t.Context(), h.account, tt.sim, tt.payload, hook)
				f, ok := fault.As(err)
				if !ok || f.Kind != fault.Invalid || f.Field != tt.field || f.Code != tt.code || !strings.Contains(f.Message, tt.text) {
					t.Errorf("error %+v", err)
				}
			})
		}
		if _, err := h.SendSMS(t.Context(), h.customer(t), active.SID, "x", hook); err == nil {
			t.Error("a stranger's Sim takes commands")
		}
		if _, err := h.SendSMS(t.Context(), h.account, active.UniqueName, strings.Repeat("€", 80), hook); err != nil {
			t.Errorf("160 septets to a unique name: %v", err)
		}
	})
}

// TestNobodyWaitsForTheSweep counts the jobs that a new command adds: the first
// one has a job of its own, and the next ones are taken along by it.
func TestNobodyWaitsForTheSweep(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		one := h.device(t, h.fleet(t, true, true).SID, sim.Active)
		jobs := func(kind string) (n int) {
			check(t, d.Read(t.Context(), func(q db.Query) error {
				return q.QueryRowContext(t.Context(), `select count(*) from river_job where kind = $1`, kind).Scan(&n)
			}))
			return n
		}
		for range 3 {
			h.send(t, one, "wake up")
			_, err := h.SendIP(t.Context(), IPOrder{Account: h.account, SIM: one.SID, Payload: "x", DevicePort: 7})
			check(t, err)
			if sms, ip := jobs("command.sms"), jobs("command.ip"); sms != 1 || ip != 1 {
				t.Fatalf("%d jobs send messages and %d datagrams, want 1 and 1", sms, ip)
			}
		}
	})
}

// TestSlowSMSC has a batch take longer than its lease: who comes second by then
// is the only one who sends.
func TestSlowSMSC(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		one := h.device(t, h.fleet(t, true, true).SID, sim.Active)
		m := h.send(t, one, "once")
		slow, err := h.claimSMS(t.Context())
		check(t, err)
		h.clock.Forward(smsLease + time.Second)
		next, err := h.claimSMS(t.Context())
		check(t, err)
		if len(slow) != 1 || len(next) != 1 {
			t.Fatalf("claimed %v and %v", slow, next)
		}
		check(t, h.submit(t.Context(), slow[0]))
		if n := len(h.smsc.Accepted()); n != 0 {
			t.Errorf("the SMSC has %d messages, want 0: the claim had lapsed", n)
		}
		h.clock.Forward(smsFresh + time.Second) // still below the lease
		check(t, h.submit(t.Context(), next[0]))
		h.wantSMS(t, m, Sent)
		if n := len(h.smsc.Accepted()); n != 1 {
			t.Errorf("the SMSC has %d messages, want 1", n)
		}
	})
}
