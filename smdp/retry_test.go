package smdp

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
	"godwit/saip"
)

// keysType adds the minimal profile type under session keys alone.
func (w *world) keysType(metadata Metadata) string {
	w.t.Helper()
	id := fmt.Sprintf("keys-%d", time.Now().UnixNano())
	if metadata.Name == "" {
		metadata.Name, metadata.ServiceProvider = "Keys", "Op"
	}
	if err := w.server.AddType(w.t.Context(), ProfileType{ID: id, Template: w.template("minimal-usim"), Protection: SessionKeys, Metadata: metadata}); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// SGP.23 4.3.13: ideas 26 to 33.
func TestGetBoundProfilePackage(t *testing.T) {
	eachVariant(t, func(t *testing.T, d *db.DB, v variant) {
		w := v.of(newWorld(t, d, func(c *Config) { c.OrderLifetime = time.Hour }))
		session := w.keysType(Metadata{})

		t.Run("segments", func(t *testing.T) {
			icon := largestIcon(t)
			for _, tt := range []struct {
				name     string
				typ      string
				keys     bool
				metadata int // segments
			}{
				{"session keys", session, false, 1},
				{"session keys, metadata in two segments", w.keysType(Metadata{Name: "Icon", ServiceProvider: "Op", Icon: icon}), false, 2},
				{"protection keys", "minimal-usim", true, 1},
			} {
				t.Run(tt.name, func(t *testing.T) {
					w.t = t
					o := w.order(wish{typ: tt.typ})
					s := w.offeredTo(w.chip(), o)
					got, header := s.download("")
					wantCode(t, header, "")
					p, err := rsp.ParseBoundProfilePackage(got.BoundProfilePackage)
					if err != nil {
						t.Fatal(err)
					}
					for _, part := range [][][]byte{p.Configure, p.Metadata, p.Replace, p.Profile} {
						for _, segment := range part {
							if len(segment) > 1020 {
								t.Errorf("a segment of %d octets", len(segment))
							}
						}
					}
					if len(p.Metadata) != tt.metadata {
						t.Errorf("metadata in %d segments, want %d", len(p.Metadata), tt.metadata)
					}
					o2 := s.open(got.BoundProfilePackage)
					if (o2.profileKeys != nil) != tt.keys {
						t.Errorf("protection keys: %v, want %v", o2.profileKeys != nil, tt.keys)
					}
					w.wantProfile(o2, o.iccid)
				})
			}
		})
		t.Run("confirmation code", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{code: "s3cret"})
			_, header := w.offeredTo(c, o).download("")
			wantCode(t, header, "8.2.7/2.2")
			s := w.offeredTo(c, o)
			_, header = s.download("wrong")
			wantCode(t, header, "8.2.7/3.8")
			_, header = s.download("s3cret")
			wantCode(t, header, "8.10.1/3.9")
			w.wantState(o.iccid, Released)
			if n := w.profile(o.iccid).CodeAttempts; n != 1 {
				t.Errorf("%d wrong codes are counted, want 1", n)
			}
			s = w.offeredTo(c, o)
			_, header = s.download("s3cret")
			wantCode(t, header, "")
		})
		t.Run("confirmation code wrong too often", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{code: "s3cret"})
			for i, want := range []string{"8.2.7/3.8", "8.2.7/3.8", "8.2.7/6.4"} {
				_, header := w.offeredTo(c, o).download(fmt.Sprint("wrong", i))
				wantCode(t, header, want)
			}
			w.wantState(o.iccid, Failed)
			w.wantHeard(o.iccid, rsp.PointConfirmation, "8.2.7/6.4")
			wantCode(t, c.start().authenticate(str(o.id)), "8.2.6/3.8")
		})
		t.Run("wrong signature, foreign transaction, points off the curve", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			s := w.offeredTo(c, o)
			good := s.prepare("")
			bad := bytes.Clone(good)
			bad[len(bad)-5] ^= 1
			_, header := s.downloadWith(bad)
			wantCode(t, header, "8.1/6.1")
			offered := s.offered
			other := w.offeredTo(c, o)
			_, header = s.downloadWith(other.prepare(""))
			wantCode(t, header, "8.10.1/3.9")
			s.offered = offered
			otherCurve := map[pki.Curve]pki.Curve{pki.P256: pki.BrainpoolP256r1, pki.BrainpoolP256r1: pki.P256}[c.curve]
			foreign, err := pki.GenerateAgreementKey(otherCurve)
			if err != nil {
				t.Fatal(err)
			}
			off := bytes.Clone(s.key.Public())
			off[64] ^= 1
			zero := make([]byte, 65)
			zero[0] = 4
			for _, point := range [][]byte{off, zero, foreign.Public()} {
				_, header = s.downloadWith(s.prepareWith(point, ""))
				wantCode(t, header, "8.1/6.1")
			}
			w.wantState(o.iccid, Released)
			_, header = s.downloadWith(good)
			wantCode(t, header, "")
		})
		t.Run("the eUICC refuses", func(t *testing.T) {
			for _, reason := range []rsp.DownloadError{1, 2, 3, 4, 5, 127} {
				w.t = t
				c, o := w.chip(), w.order(wish{})
				s := w.offeredTo(c, o)
				good := s.prepare("")
				_, header := s.downloadWith(rsp.AppendPrepareDownloadError(nil, s.initiated.TransactionID, reason))
				if header.Err() == nil {
					t.Error("the function succeeds")
				}
				_, header = s.downloadWith(good)
				wantCode(t, header, "8.10.1/3.9")
				w.wantState(o.iccid, Released)
				_, header = w.offeredTo(c, o).download("")
				wantCode(t, header, "")
			}
		})
		t.Run("retry with the same key", func(t *testing.T) {
			for _, tt := range []struct {
				name, typ, code string
			}{
				{"session keys", session, ""},
				{"session keys and code", session, "42"},
				{"protection keys", "minimal-usim", ""},
				{"protection keys and code", "minimal-usim", "42"},
			} {
				t.Run(tt.name, func(t *testing.T) {
					w.t = t
					c, o := w.chip(), w.order(wish{typ: tt.typ, code: tt.code})
					first := w.offeredTo(c, o)
					a, header := first.download(tt.code)
					wantCode(t, header, "")
					before := first.open(a.BoundProfilePackage)

					second := w.offeredTo(c, o)
					signed, err := rsp.ReadSMDPSigned2(second.offered.SMDPSigned2)
					if err != nil || !bytes.Equal(signed.OneTimeKey, c.key.Public()) {
						t.Errorf("bppEuiccOtpk %X (%v), want the eUICC's key", signed.OneTimeKey, err)
					}
					b, header := second.download(tt.code)
					wantCode(t, header, "")
					after := second.open(b.BoundProfilePackage)
					if len(before.segments) != len(after.segments) {
						t.Fatalf("%d segments, then %d", len(before.segments), len(after.segments))
					}
					for i := range before.segments {
						if !bytes.Equal(before.segments[i], after.segments[i]) {
							t.Errorf("segment %d has changed", i)
						}
					}
					pa, _ := rsp.ParseBoundProfilePackage(a.BoundProfilePackage)
					pb, _ := rsp.ParseBoundProfilePackage(b.BoundProfilePackage)
					if bytes.Equal(pa.Initialise, pb.Initialise) {
						t.Error("InitialiseSecureChannel is that of the first run")
					}
					// The first run's word comes late and does no harm; the second's counts.
					first.report(o.iccid, rsp.InstallInterrupted)
					w.wantState(o.iccid, Downloaded)
					second.report(o.iccid, 0)
					w.wantState(o.iccid, Installed)
				})
			}
		})
		t.Run("retry with another key", func(t *testing.T) {
			for _, typ := range []string{session, "minimal-usim"} {
				t.Run(typ, func(t *testing.T) {
					w.t = t
					c, o := w.chip(), w.order(wish{typ: typ})
					first := w.offeredTo(c, o)
					a, _ := first.download("")
					before := first.open(a.BoundProfilePackage)
					second := w.offeredTo(c, o)
					c.newKey()
					b, header := second.download("")
					wantCode(t, header, "")
					after := second.open(b.BoundProfilePackage)
					pa, _ := rsp.ParseBoundProfilePackage(a.BoundProfilePackage)
					pb, _ := rsp.ParseBoundProfilePackage(b.BoundProfilePackage)
					ca, _ := rsp.ParseInitialiseSecureChannel(pa.Initialise)
					cb, _ := rsp.ParseInitialiseSecureChannel(pb.Initialise)
					if bytes.Equal(ca.ServerKey, cb.ServerKey) {
						t.Error("one secret of the server met two keys of the eUICC")
					}
					same := bytes.Equal(before.segments[0], after.segments[0])
					if kept := before.profileKeys != nil; same != kept {
						t.Errorf("segments kept: %v, want %v", same, kept)
					}
					w.wantProfile(after, o.iccid)
				})
			}
		})
		t.Run("same call twice", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			s := w.offeredTo(c, o)
			answer := s.prepare("")
			a, header := s.downloadWith(answer)
			wantCode(t, header, "")
			b, header := s.downloadWith(answer)
			wantCode(t, header, "")
			if x, y := s.open(a.BoundProfilePackage), s.open(b.BoundProfilePackage); !bytes.Equal(x.segments[0], y.segments[0]) {
				t.Error("the segments have changed")
			}
			c.newKey()
			_, header = s.download("")
			wantCode(t, header, "8.10.1/3.9")
			if n := len(w.heard(o.iccid)); n != 1 {
				t.Errorf("%d reports, want 1", n)
			}
		})
		t.Run("expired between the calls", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			w.clock.Forward(55 * time.Minute)
			s := w.offeredTo(c, o)
			w.clock.Forward(10 * time.Minute)
			_, header := s.download("")
			wantCode(t, header, "8.8.5/4.10")
			w.wantState(o.iccid, Failed)
			w.wantHeard(o.iccid, rsp.PointDownload, "8.8.5/4.10")
		})
		t.Run("cancelled by the operator between the calls", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			s := w.offeredTo(c, o)
			answers, err := w.server.CancelOrders(t.Context(), LocalOperator, []rsp.CancelOrder{{ICCID: o.iccid, Final: rsp.FinalUnavailable}})
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, answers[0].Header, "")
			_, header := s.download("")
			wantCode(t, header, "8.10.1/3.9")
			w.wantState(o.iccid, Unavailable)
		})
		t.Run("personal data of the stock come out on the chip", func(t *testing.T) {
			w.t = t
			o := w.order(wish{typ: "full-usim-isim"})
			s := w.offeredTo(w.chip(), o)
			got, _ := s.download("")
			p, err := saip.Parse(s.open(got.BoundProfilePackage).profile)
			if err != nil {
				t.Fatal(err)
			}
			if problems := saip.Refusals(p.Validate()); len(problems) > 0 {
				t.Errorf("an eUICC would refuse the package: %v", problems)
			}
		})
	})
}

// Idea 34, and the promise that one profile is delivered to one eUICC.
func TestTwoChipsRaceForOneCode(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		rounds := 200
		if d.Postgres() {
			rounds = 60
		}
		w := newWorld(t, d)
		w.stock("minimal-usim", rounds)
		chips := [2]*chip{w.chip(), w.chip()}
		for round := range rounds {
			o := w.order(wish{noStock: true})
			var sessions [2]*session
			for i, c := range chips {
				sessions[i] = w.offeredTo(c, o)
				sessions[i].newKey()
			}
			answers := [2][]byte{sessions[0].prepare(""), sessions[1].prepare("")}
			var codes [2]error
			var group sync.WaitGroup
			for i := range sessions {
				group.Go(func() {
					_, codes[i] = w.listener.getBoundProfilePackage(t.Context(), &rsp.GetBoundProfilePackageRequest{
						TransactionID: sessions[i].initiated.TransactionID, PrepareDownloadResponse: answers[i],
					})
				})
			}
			group.Wait()
			winner := 0
			if codes[0] != nil {
				winner = 1
			}
			f, _ := errors.AsType[*rsp.Failure](codes[1-winner])
			if codes[winner] != nil || f == nil || f.StatusCode != rsp.EIDMismatch {
				t.Fatalf("round %d: %v and %v, want one package and one 8.1.1/3.8", round, codes[0], codes[1])
			}
			if got := w.profile(o.iccid); got.State != Downloaded || got.EID != chips[winner].eid {
				t.Fatalf("round %d: %s for %s, want the winner's", round, got.State, got.EID)
			}
			// The loser cannot cancel what is no longer its own.
			if round == 0 {
				wantCode(t, sessions[1-winner].cancel(rsp.CancelUserRejection, nil), "")
				w.wantState(o.iccid, Downloaded)
			}
			wantCode(t, chips[1-winner].start().authenticate(str(o.id)), "8.1.1/3.8")
		}
	})
}

// Two runs of one eUICC for one order: the first to come gets the package.
func TestTwoRunsOfOneChip(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	c, o := w.chip(), w.order(wish{})
	a, b := w.offeredTo(c, o), w.offeredTo(c, o)
	_, header := b.download("")
	wantCode(t, header, "")
	_, header = a.download("")
	wantCode(t, header, "8.2/3.7")
	a.report(o.iccid, 0) // of a run in which nothing was delivered
	w.wantState(o.iccid, Downloaded)
	b.report(o.iccid, 0)
	w.wantState(o.iccid, Installed)
}

// SGP.23 4.3.15: ideas 36 to 38.
func TestHandleNotification(t *testing.T) {
	eachVariant(t, func(t *testing.T, d *db.DB, v variant) {
		w := v.of(newWorld(t, d))
		delivered := func(t *testing.T) (*session, ordered) {
			t.Helper()
			w.t = t
			c, o := w.chip(), w.order(wish{})
			s := w.offeredTo(c, o)
			_, header := s.download("")
			wantCode(t, header, "")
			return s, o
		}
		for reason, code := range map[rsp.InstallError]string{
			1: "8.1/4.2", 2: "8.2.10/4.2", 3: "8.2.10/4.2", 4: "8.2.10/4.2", 5: "8.2.10/4.2", 6: "8.1/4.2", 7: "8.2.10/4.2", 8: "8.2.10/4.2",
			9: "8.2.1/3.3", 10: "8.1/4.8", 11: "8.1/4.2", 12: "8.2.10/4.2", 13: "8.2.9/3.11", 14: "8.1/4.2", 15: "8.2.8/3.8", 127: "8.1/4.2",
		} {
			t.Run(fmt.Sprintf("error reason %d", reason), func(t *testing.T) {
				s, o := delivered(t)
				pir := s.report(o.iccid, reason)
				w.wantState(o.iccid, Failed)
				if info := w.wantHeard(o.iccid, rsp.PointInstallation, code); !bytes.Equal(info.ResultData, pir) {
					t.Error("the report does not carry the eUICC's word")
				}
			})
		}
		t.Run("what is not to be believed changes nothing", func(t *testing.T) {
			s, o := delivered(t)
			result := rsp.InstallationResult{
				TransactionID: s.initiated.TransactionID, OID: "2.999.10", AID: rsp.ISDP(0x10), SIMAResponse: []byte{0x30, 0},
				Notification: rsp.NotificationMetadata{Sequence: 7, Event: rsp.EventInstall, Address: address, ICCID: o.iccid},
			}
			forged, err := result.Sign(w.chip().cred.Key)
			if err != nil {
				t.Fatal(err)
			}
			w.notify(forged)
			for _, change := range []func(*rsp.InstallationResult){
				func(r *rsp.InstallationResult) { r.TransactionID = rsp.NewTransactionID() },
				func(r *rsp.InstallationResult) { r.OID = "2.999.11" },
				func(r *rsp.InstallationResult) { r.Notification.ICCID = "89000123456789012341" },
			} {
				changed := result
				change(&changed)
				s.reportAs(changed)
			}
			w.wantState(o.iccid, Downloaded)
			s.report(o.iccid, 0)
			w.wantState(o.iccid, Installed)
			s.seq++
			s.report(o.iccid, rsp.InstallMemory) // a second word of the same run
			w.wantState(o.iccid, Installed)
		})
		t.Run("an eUICC that counts from the beginning again", func(t *testing.T) {
			s, o := delivered(t)
			s.report(o.iccid, 0)
			w.wantState(o.iccid, Installed)
			s.chip.seq, o = 0, w.order(wish{}) // made anew, with its EID
			s = w.offeredTo(s.chip, o)
			_, header := s.download("")
			wantCode(t, header, "")
			s.report(o.iccid, 0)
			w.wantState(o.iccid, Installed)
		})
		t.Run("enable, disable, delete", func(t *testing.T) {
			s, o := delivered(t)
			s.report(o.iccid, 0)
			other := func(c *chip, n rsp.NotificationMetadata) {
				t.Helper()
				signed, err := n.Sign(c.cred.Key, c.cred.Certificate.Raw, c.eum)
				if err != nil {
					t.Fatal(err)
				}
				w.notify(signed)
			}
			for i, tt := range []struct {
				event rsp.Event
				point rsp.NotificationPoint
			}{{rsp.EventEnable, rsp.PointEnabled}, {rsp.EventDisable, rsp.PointDisabled}, {rsp.EventDelete, rsp.PointDeleted}} {
				n := rsp.NotificationMetadata{Sequence: int64(100 + i), Event: tt.event, Address: address, ICCID: o.iccid}
				other(s.chip, n)
				w.wantHeard(o.iccid, tt.point, "")
				heard := len(w.heard(o.iccid))
				other(s.chip, n)
				other(w.chip(), n) // another eUICC cannot speak for this one
				forged, err := n.Sign(w.chip().cred.Key, s.cred.Certificate.Raw, s.eum)
				if err != nil {
					t.Fatal(err)
				}
				w.notify(forged)
				if again := len(w.heard(o.iccid)); again != heard {
					t.Errorf("%s: %d reports after repetition and forgeries, want %d", tt.event, again, heard)
				}
			}
			var rows int
			if err := d.Read(t.Context(), func(q db.Query) error {
				return q.QueryRowContext(t.Context(), `select count(*) from notification where eid = $1 and iccid = $2`,
					string(s.eid), string(o.iccid)).Scan(&rows)
			}); err != nil {
				t.Fatal(err)
			}
			if rows != 4 {
				t.Errorf("%d notifications are recorded, want 4", rows)
			}
		})
	})
}

// SGP.23 4.3.16: ideas 39 and 40.
func TestCancelSession(t *testing.T) {
	eachVariant(t, func(t *testing.T, d *db.DB, v variant) {
		w := v.of(newWorld(t, d))
		for _, tt := range []struct {
			reason rsp.CancelReason
			code   string
		}{
			{rsp.CancelUserRejection, "8.2/3.8"},
			{rsp.CancelPostponed, ""},
			{rsp.CancelTimeout, ""},
			{rsp.CancelPPRNotAllowed, "8.2.8/3.8"},
			{rsp.CancelMetadataMismatch, "8.2.9/3.11"},
			{rsp.CancelLoadError, "8.2.10/4.2"},
			{rsp.CancelUndefined, "8.1/4.2"},
		} {
			for _, after := range []string{rsp.FnAuthenticateClient, rsp.FnGetBoundProfilePackage} {
				t.Run(fmt.Sprintf("reason %d after %s", tt.reason, after), func(t *testing.T) {
					w.t = t
					c, o := w.chip(), w.order(wish{})
					s := w.offeredTo(c, o)
					point := rsp.PointDownload
					if after == rsp.FnGetBoundProfilePackage {
						if _, header := s.download(""); header.Err() != nil {
							t.Fatal(header.Err())
						}
						point = rsp.PointInstallation
					}
					wantCode(t, s.cancel(tt.reason, nil), "")
					if tt.code == "" {
						w.wantState(o.iccid, Released)
						_, header := w.offeredTo(c, o).download("")
						wantCode(t, header, "")
						return
					}
					w.wantState(o.iccid, Failed)
					w.wantHeard(o.iccid, point, tt.code)
					wantCode(t, s.cancel(tt.reason, nil), "8.10.1/3.9")
				})
			}
		}
		t.Run("refused", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), w.order(wish{})
			s := w.offeredTo(c, o)
			wantCode(t, s.cancel(0, func(id *rsp.TransactionID, _ *ident.OID) { *id = rsp.NewTransactionID() }), "8.10.1/3.9")
			wantCode(t, s.cancel(0, func(_ *rsp.TransactionID, oid *ident.OID) { *oid = "2.999.11" }), "8.8/3.10")
			signed := rsp.AppendCancelSessionSigned(nil, s.initiated.TransactionID, "2.999.10", 0)
			wantCode(t, s.cancelWith(rsp.AppendCancelSessionResponse(nil, signed, make([]byte, 64))), "8.1/6.1")
			wantCode(t, s.cancelWith(rsp.AppendCancelSessionError(nil, 5)), "8.10.1/3.9")
			real := s.initiated.TransactionID
			s.initiated.TransactionID = rsp.NewTransactionID()
			wantCode(t, s.cancel(0, nil), "8.10.1/3.9")
			s.initiated.TransactionID = real
			w.wantState(o.iccid, Released)
			wantCode(t, s.cancel(0, nil), "")
		})
	})
}

// The ASN.1 binding does the same as the JSON binding.
func TestASN1Binding(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	ask := func(q any) any {
		t.Helper()
		status, body := w.postRaw(rsp.PathASN1, rsp.ContentTypeASN1, rsp.AppendASN1Request(nil, q))
		if status == 204 {
			return nil
		}
		if status != 200 {
			t.Fatalf("HTTP status %d %s", status, body)
		}
		answer, err := rsp.ParseASN1Response(body)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	c, o := w.chip(), w.order(wish{code: "1"})
	s := &session{chip: c, challenge: rsp.NewChallenge()}
	s.initiated = ask(&rsp.InitiateAuthenticationRequest{SMDPAddress: address, EUICCChallenge: s.challenge, EUICCInfo1: c.info1.Append(nil)}).(*rsp.InitiateAuthenticationResponse)
	wantCode(t, s.initiated.Header, "")
	wrong := "WRONG"
	refused := ask(&rsp.AuthenticateClientRequest{TransactionID: s.initiated.TransactionID, AuthenticateServerResponse: s.answer(&wrong, nil)}).(*rsp.AuthenticateClientResponse)
	wantCode(t, refused.Header, "8.2.6/3.8")
	s.offered = ask(&rsp.AuthenticateClientRequest{TransactionID: s.initiated.TransactionID, AuthenticateServerResponse: s.answer(str(o.id), nil)}).(*rsp.AuthenticateClientResponse)
	wantCode(t, s.offered.Header, "")
	got := ask(&rsp.GetBoundProfilePackageRequest{TransactionID: s.initiated.TransactionID, PrepareDownloadResponse: s.prepare("1")}).(*rsp.GetBoundProfilePackageResponse)
	wantCode(t, got.Header, "")
	w.wantProfile(s.open(got.BoundProfilePackage), o.iccid)
	cancelled := ask(&rsp.CancelSessionES9Request{TransactionID: rsp.NewTransactionID(), CancelSessionResponse: rsp.AppendCancelSessionError(nil, 5)}).(*rsp.CancelSessionES9Response)
	wantCode(t, cancelled.Header, "8.10.1/3.9")
	result := rsp.InstallationResult{
		TransactionID: s.initiated.TransactionID, OID: "2.999.10", AID: rsp.ISDP(0x10), SIMAResponse: []byte{0x30, 0},
		Notification: rsp.NotificationMetadata{Sequence: 1, Event: rsp.EventInstall, Address: address, ICCID: o.iccid},
	}
	signed, err := result.Sign(c.cred.Key)
	if err != nil {
		t.Fatal(err)
	}
	if answer := ask(&rsp.HandleNotificationRequest{PendingNotification: signed}); answer != nil {
		t.Errorf("a notification is answered with %v", answer)
	}
	w.wantState(o.iccid, Installed)
}
