package euicc

import (
	"bytes"
	"testing"

	"godwit/pki"
	"godwit/rsp"
)

func (x *tester) notifications(f rsp.NotificationFilter) []rsp.PendingNotification {
	x.Helper()
	return must(rsp.ParseNotifications(x.es10(rsp.AppendRetrieveNotifications(nil, f))))
}

// Item 55: what is reported, to whom, in which order, signed by the chip.
func TestNotifications(t *testing.T) {
	x := newTester(t, config(bothCurves...))
	chip := authorities[pki.P256]().chip
	a := x.add(1)
	x.enable(a, false)
	x.disable(a, false)
	x.delete(a)
	want := []struct {
		event   rsp.Event
		address string
		result  bool
	}{
		{rsp.EventInstall, testAddress, true},
		{rsp.EventInstall, "operator.example.com", false},
		{rsp.EventEnable, testAddress, false},
		{rsp.EventDisable, testAddress, false},
		{rsp.EventDelete, testAddress, false},
		{rsp.EventDelete, "operator.example.com", false},
	}
	list := x.notifications(rsp.NotificationFilter{})
	if len(list) != len(want) {
		t.Fatalf("%d notifications, want %d", len(list), len(want))
	}
	for i, n := range list {
		w := want[i]
		if n.Metadata.Sequence != int64(i+1) || n.Metadata.Event != w.event || n.Metadata.Address != w.address || n.Installation != w.result || n.Metadata.ICCID != a {
			t.Errorf("notification %d is %+v, want %+v", i+1, n.Metadata, w)
		}
		if n.Installation {
			continue
		}
		if _, err := n.VerifyOther(chip.EUICC.PublicKey); err != nil {
			t.Errorf("notification %d: %v", i+1, err)
		}
		if !bytes.Equal(n.EUICCCertificate, chip.EUICC.Raw) || !bytes.Equal(n.EUMCertificate, chip.EUM.Raw) {
			t.Errorf("notification %d has other certificates", i+1)
		}
	}

	t.Run("filters", func(t *testing.T) {
		count := func(got, want int) {
			t.Helper()
			if got != want {
				t.Errorf("%d notifications, want %d", got, want)
			}
		}
		count(len(must(rsp.ParseNotificationList(x.es10(rsp.AppendListNotification(nil, rsp.EventDelete))))), 2)
		count(len(must(rsp.ParseNotificationList(x.es10(rsp.AppendListNotification(nil, rsp.EventInstall|rsp.EventEnable))))), 3)
		count(len(x.notifications(rsp.NotificationFilter{Events: rsp.EventDisable})), 1)
		three, none := int64(3), int64(99)
		if got := x.notifications(rsp.NotificationFilter{Sequence: &three}); len(got) != 1 || got[0].Metadata.Event != rsp.EventEnable {
			t.Errorf("number 3: %+v", got)
		}
		count(len(x.notifications(rsp.NotificationFilter{Sequence: &none})), 0)
		// The same set with zeros that DER would have trimmed.
		count(len(must(rsp.ParseNotificationList(x.es10(unhex("BF280481020010"))))), 2)
	})

	t.Run("removal", func(t *testing.T) {
		if got := x.result(rsp.AppendRemoveNotification(nil, 3)); got != 0 {
			t.Errorf("first: %d", got)
		}
		if got := x.result(rsp.AppendRemoveNotification(nil, 3)); got != rsp.ResultNotFound {
			t.Errorf("second: %d", got)
		}
		if got := len(x.notifications(rsp.NotificationFilter{})); got != 5 {
			t.Errorf("%d left, want 5", got)
		}
	})

	t.Run("numbers grow after everything was removed", func(t *testing.T) {
		for _, n := range x.notifications(rsp.NotificationFilter{}) {
			x.result(rsp.AppendRemoveNotification(nil, n.Metadata.Sequence))
		}
		x.connect()
		x.add(2)
		x.reset(rsp.ResetOperational)
		list := x.notifications(rsp.NotificationFilter{})
		if len(list) != 4 || list[0].Metadata.Sequence != 7 {
			t.Errorf("%d notifications from number %d on", len(list), list[0].Metadata.Sequence)
		}
	})
}

// The chip misbehaves when it is told to.
func TestFaults(t *testing.T) {
	chip := authorities[pki.P256]().chip.EUICC.PublicKey
	x := newTester(t, config(pki.P256))
	x.card.SetFaults(Faults{KeepNotifications: true})
	a := x.add(1)
	if got := x.result(rsp.AppendRemoveNotification(nil, 1)); got != 0 || len(x.notifications(rsp.NotificationFilter{})) != 2 {
		t.Errorf("the notification was not kept (%d)", got)
	}
	x.card.SetFaults(Faults{WrongSignature: SignedNotification})
	x.enable(a, false)
	for _, n := range x.notifications(rsp.NotificationFilter{Events: rsp.EventEnable}) {
		if _, err := n.VerifyOther(chip); err == nil {
			t.Error("the signature is right")
		}
	}
	x.card.SetFaults(Faults{RepeatChallenge: true})
	first := x.es10([]byte{0xBF, 0x2E, 0})
	if !bytes.Equal(first, x.es10([]byte{0xBF, 0x2E, 0})) {
		t.Error("the challenge was not repeated")
	}
	x.card.SetFaults(Faults{Silent: true})
	if _, err := x.card.Transmit([]byte{0, 0x70, 0, 0, 1}); err != ErrSilent {
		t.Errorf("a silent card answered: %v", err)
	}
	x.card.SetFaults(Faults{})
	if !bytes.Equal(x.es10([]byte{0xBF, 0x3E, 3, 0x5C, 1, 0x5A})[5:], testEID.Octets()) {
		t.Error("the card does not behave again")
	}
}
