package smdp

import (
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/rsp"
)

// Where the operator of the server wants it, an order outlives failed
// installations: as often as configured, for reasons that may be cured, for the
// same eUICC. SGP.22 v2.5, 5.6.4.
func TestRetryInstallation(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, func(c *Config) { c.RetryInstallations = 2 })
		fail := func(t *testing.T, c *chip, o ordered, reason rsp.InstallError) []byte {
			t.Helper()
			c.newKey()
			s := w.offeredTo(c, o)
			if signed, err := rsp.ReadSMDPSigned2(s.offered.SMDPSigned2); err != nil || signed.OneTimeKey != nil {
				t.Errorf("the server offers to use one-time key %X again (%v)", signed.OneTimeKey, err)
			}
			_, header := s.download("")
			wantCode(t, header, "")
			return s.report(o.iccid, reason)
		}
		t.Run("installed at the third time", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			for i := range 2 {
				pir := fail(t, c, o, rsp.InstallInterrupted)
				w.wantState(o.iccid, Released)
				if got := w.wantHeard(o.iccid, rsp.PointInstallation, "8.1/4.2"); got.Status.Status != rsp.WithWarning {
					t.Errorf("failure %d is told as %s", i+1, got.Status.Status)
				}
				w.notify(pir) // once more, for the answer was lost
				w.wantState(o.iccid, Released)
				// It stays this eUICC's.
				wantCode(t, w.chip().start().authenticate(str(o.id)), "8.1.1/3.8")
			}
			fail(t, c, o, 0)
			w.wantState(o.iccid, Installed)
			w.wantHeard(o.iccid, rsp.PointInstallation, "")
		})
		t.Run("once too often", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			fail(t, c, o, rsp.InstallMemory)
			fail(t, c, o, rsp.InstallSecurity)
			fail(t, c, o, rsp.InstallMemory)
			w.wantState(o.iccid, Failed)
			if got := w.wantHeard(o.iccid, rsp.PointInstallation, "8.1/4.8"); got.Status.Status != rsp.Failed {
				t.Errorf("the end is told as %s", got.Status.Status)
			}
			wantCode(t, c.start().authenticate(str(o.id)), "8.2.6/3.8")
		})
		t.Run("a reason that stays", func(t *testing.T) {
			for _, reason := range []rsp.InstallError{
				rsp.InstallUnsupportedCRT, rsp.InstallUnsupportedOperation, rsp.InstallUnsupportedClass, rsp.InstallICCIDExists,
				rsp.InstallElement, rsp.InstallDataMismatch, rsp.InstallInvalidTestKey, rsp.InstallPPRNotAllowed,
			} {
				w.t = t
				c, o := w.chip(), w.order(wish{})
				fail(t, c, o, reason)
				w.wantState(o.iccid, Failed)
			}
		})
		t.Run("the failures of an earlier order do not count", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			for range 3 {
				fail(t, c, o, rsp.InstallMemory)
			}
			got, err := w.server.CancelOrders(t.Context(), LocalOperator, []rsp.CancelOrder{{ICCID: o.iccid, EID: c.eid, Final: rsp.FinalAvailable}})
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, got[0].Header, "")
			again, err := w.server.DownloadOrders(t.Context(), LocalOperator, []rsp.DownloadOrder{{ICCID: o.iccid}})
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, again[0].Header, "")
			confirmed, err := w.server.ConfirmOrders(t.Context(), LocalOperator, []rsp.ConfirmOrder{{ICCID: o.iccid, Release: true}})
			if err != nil {
				t.Fatal(err)
			}
			fail(t, c, ordered{o.iccid, confirmed[0].MatchingID}, rsp.InstallMemory)
			w.wantState(o.iccid, Released)
		})
	})
}
