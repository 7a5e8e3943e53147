package command

import (
	"testing"
	"time"

	"godwit/sim"
	"godwit/smsc/smsctest"
)

// TestThrottled: however long the SMSC throttles, a message goes out soon after the
// end of it, and its time limit holds meanwhile.
func TestThrottled(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		const soon = throttledWait + throttledWait/4
		one := h.device(t, h.fleet(t, true, true).SID, sim.Ready)
		throttling := func(yes bool) {
			h.smsc.Judge(nil)
			if yes {
				h.smsc.Judge(func(string, string) smsctest.Verdict { return smsctest.Throttle })
			}
		}
		throttling(true)
		m := h.send(t, one, "patience")
		for range 12 {
			check(t, h.sendSMS(t.Context()))
			h.wantSMS(t, m, Queued)
			h.clock.Forward(soon)
		}
		throttling(false)
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, m, Sent)

		throttling(true)
		late := h.send(t, one, "late")
		check(t, h.sendSMS(t.Context()))
		h.clock.Forward(smsLife - time.Second)
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, late, Queued)
		h.clock.Forward(soon)
		check(t, h.sendSMS(t.Context()))
		h.wantSMS(t, late, Failed)
	})
}
