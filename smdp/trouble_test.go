package smdp

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/rsp"
)

// Trouble of our own is told as such, never as HTTP status 500, and nothing is
// lost: what could not be stored is asked for again.
func TestOwnTrouble(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		exec := func(query string, args ...any) {
			t.Helper()
			if err := d.Write(t.Context(), func(tx *db.Tx) error {
				_, err := tx.ExecContext(t.Context(), query, args...)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("corrupt row", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			var good []byte
			if err := d.Read(t.Context(), func(q db.Query) error {
				return q.QueryRowContext(t.Context(), `select secrets from profile where iccid = $1`, string(o.iccid)).Scan(&good)
			}); err != nil {
				t.Fatal(err)
			}
			bad := bytes.Clone(good)
			bad[len(bad)-1] ^= 1
			exec(`update profile set secrets = $1 where iccid = $2`, bad, string(o.iccid))
			header := c.start().authenticate(str(o.id))
			wantCode(t, header, "8.10/4.2")
			if f, _ := rsp.AsFailure(header.Err()); strings.Contains(f.Message, "seal") {
				t.Errorf("the peer hears of our insides: %q", f.Message)
			}
			w.wantState(o.iccid, Released)
			exec(`update profile set secrets = $1 where iccid = $2`, good, string(o.iccid))
			_, header = w.offeredTo(c, o).download("")
			wantCode(t, header, "")
		})
		t.Run("no room for the eUICC's word", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			s := w.offeredTo(c, o)
			s.download("")
			exec(`alter table notification rename to notification_away`)
			result := rsp.InstallationResult{
				TransactionID: s.initiated.TransactionID, OID: "2.999.10", AID: rsp.ISDP(0x10), SIMAResponse: []byte{0x30, 0},
				Notification: rsp.NotificationMetadata{Sequence: 1, Event: rsp.EventInstall, Address: address, ICCID: o.iccid},
			}
			signed, err := result.Sign(c.cred.Key)
			if err != nil {
				t.Fatal(err)
			}
			status, _ := w.post(rsp.PathES9+rsp.FnHandleNotification, rsp.HandleNotificationRequest{PendingNotification: signed})
			if status != http.StatusServiceUnavailable {
				t.Errorf("HTTP status %d, want 503: the LPA must keep its notification", status)
			}
			exec(`alter table notification_away rename to notification`)
			w.notify(signed)
			w.wantState(o.iccid, Installed)
			w.wantHeard(o.iccid, rsp.PointInstallation, "")
		})
	})
}
