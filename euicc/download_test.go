package euicc

import (
	"bytes"
	"testing"

	"godwit/pki"
	"godwit/rsp"
)

func TestDownload(t *testing.T) {
	for _, curve := range bothCurves {
		t.Run(curve.String(), func(t *testing.T) {
			x := newTester(t, config(curve))
			r := x.run(curve)
			result := r.install()
			if result.Error != 0 {
				t.Fatalf("refused with %d in %d, %X", result.Error, result.Command, result.SIMAResponse)
			}
			if !bytes.Equal(result.AID, rsp.ISDP(0x10)) || !bytes.Equal(result.SIMAResponse, statusOK) {
				t.Errorf("result %+v", result)
			}
			if result.Notification.ICCID != testICCID(1) || result.Notification.Event != rsp.EventInstall {
				t.Errorf("notification %+v", result.Notification)
			}
			profiles := x.card.Profiles()
			if len(profiles) != 1 || profiles[0].ICCID != testICCID(1) || profiles[0].Enabled {
				t.Errorf("profiles %+v", profiles)
			}
		})
	}
}

var _ = pki.P256
