package smdp

import (
	"bytes"
	"testing"

	"godwit/db"
	"godwit/pki"
	"godwit/rsp"
)

// SGP.23 4.3.12 to 4.3.15, nominal: ideas 1, 11, 25, 33 and 35.
func TestDownload(t *testing.T) {
	eachVariant(t, func(t *testing.T, d *db.DB, v variant) {
		w := v.of(newWorld(t, d))
		for _, tt := range []struct {
			name string
			c    *chip
			want wish
		}{
			{"NIST, own keys for the profile", w.chip(), wish{}},
			{"brainpool", w.chip(pki.BrainpoolP256r1), wish{}},
			{"large template", w.chip(), wish{typ: "full-usim-isim"}},
			{"confirmation code", w.chip(), wish{code: "0815"}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				w.t = t
				o := w.order(tt.want)
				s := tt.c.start()
				server, err := pki.ParseCertificate(s.initiated.ServerCertificate)
				if err != nil {
					t.Fatal(err)
				}
				signature, err := rsp.ParseSignature(s.initiated.ServerSignature1)
				if err != nil || !server.PublicKey.Verify(s.initiated.ServerSigned1, signature) {
					t.Errorf("serverSignature1 does not verify (%v)", err)
				}
				signed, err := rsp.ReadServerSigned1(s.initiated.ServerSigned1)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(signed.EUICCChallenge, s.challenge) || signed.ServerAddress != address || signed.TransactionID != s.initiated.TransactionID {
					t.Error("serverSigned1 does not repeat challenge, address and transaction")
				}
				if !bytes.Equal(s.initiated.CIKeyID[2:], tt.c.info1.Signing[0]) || server.Role() != pki.DPAuth {
					t.Errorf("chosen CI %X with a %s certificate", s.initiated.CIKeyID[2:], server.Role())
				}
				wantCode(t, s.authenticate(str(o.id)), "")
				signed2, err := rsp.ReadSMDPSigned2(s.offered.SMDPSigned2)
				if err != nil || signed2.CodeRequired != (tt.want.code != "") {
					t.Errorf("ccRequired is %v (%v)", signed2.CodeRequired, err)
				}
				got, header := s.download(tt.want.code)
				wantCode(t, header, "")
				w.wantProfile(s.open(got.BoundProfilePackage), o.iccid)
				w.wantState(o.iccid, Downloaded)
				w.wantHeard(o.iccid, rsp.PointDownload, "")
				pir := s.report(o.iccid, 0)
				w.wantState(o.iccid, Installed)
				info := w.wantHeard(o.iccid, rsp.PointInstallation, "")
				if !bytes.Equal(info.ResultData, pir) || info.EID != tt.c.eid {
					t.Error("the report does not carry the eUICC's word")
				}
				// A repeated result is acknowledged and changes nothing.
				w.notify(pir)
				if n := len(w.heard(o.iccid)); n != 2 {
					t.Errorf("%d reports, want 2", n)
				}
			})
		}
	})
}
