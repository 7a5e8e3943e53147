package smdp

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// SGP.23 4.3.12: ideas 2 to 10.
func TestInitiateAuthentication(t *testing.T) {
	for _, asn1 := range []bool{false, true} {
		t.Run(map[bool]string{false: "json", true: "asn1"}[asn1], func(t *testing.T) { testInitiateAuthentication(t, asn1) })
	}
}

func testInitiateAuthentication(t *testing.T, asn1 bool) {
	w := newWorld(t, dbtest.SQLite(t))
	w.asn1 = asn1
	unknown := bytes.Repeat([]byte{0xAB}, 20)
	nist, brp := w.cis[pki.P256].Certificate.SubjectKeyID, w.cis[pki.BrainpoolP256r1].Certificate.SubjectKeyID
	ids := func(ids ...[]byte) [][]byte { return ids }

	t.Run("two calls have different transactions and challenges", func(t *testing.T) {
		w.t = t
		c := w.chip()
		a, b := c.start(), c.start()
		signedA, _ := rsp.ReadServerSigned1(a.initiated.ServerSigned1)
		signedB, _ := rsp.ReadServerSigned1(b.initiated.ServerSigned1)
		if signedA.TransactionID == signedB.TransactionID || bytes.Equal(signedA.ServerChallenge, signedB.ServerChallenge) {
			t.Error("something repeats")
		}
	})
	for _, tt := range []struct {
		name    string
		address string
		info    rsp.EUICCInfo1
		code    string
		ci      []byte
	}{
		{"foreign address", "other.example.com", rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist), Signing: ids(nist)}, "8.8.1/3.8", nil},
		{"no address", "", rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist), Signing: ids(nist)}, "8.8.1/3.8", nil},
		{"address with port", address + ":8443", rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist), Signing: ids(nist)}, "", nist},
		{"address in capitals", strings.ToUpper(address), rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist), Signing: ids(nist)}, "", nist},
		{"unknown signing CIs", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist), Signing: ids(unknown)}, "8.8.2/3.1", nil},
		{"no signing CI", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist)}, "8.8.2/3.1", nil},
		{"version 1", address, rsp.EUICCInfo1{SVN: rsp.Version{1, 9, 0}, Verification: ids(nist), Signing: ids(nist)}, "8.8.3/3.1", nil},
		{"unknown verification CIs", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(unknown), Signing: ids(nist)}, "8.8.4/3.7", nil},
		{"version 2.2.1", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 2, 1}, Verification: ids(nist), Signing: ids(nist)}, "", nist},
		{"version 2.2.2", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 2, 2}, Verification: ids(nist), Signing: ids(nist)}, "", nist},
		{"version 2.3.0", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 3, 0}, Verification: ids(nist), Signing: ids(nist)}, "", nist},
		{"version 3.0.0", address, rsp.EUICCInfo1{SVN: rsp.Version{3, 0, 0}, Verification: ids(nist), Signing: ids(nist)}, "", nist},
		{"brainpool only", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(brp), Signing: ids(brp)}, "", brp},
		{"NIST preferred", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist, brp), Signing: ids(nist, brp)}, "", nist},
		{"brainpool preferred", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist, brp), Signing: ids(brp, nist)}, "", brp},
		{"an unknown CI before a known one", address, rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(unknown, nist), Signing: ids(unknown, nist)}, "", nist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			got := call[rsp.InitiateAuthenticationResponse](w, rsp.FnInitiateAuthentication, rsp.InitiateAuthenticationRequest{
				SMDPAddress: tt.address, EUICCChallenge: rsp.NewChallenge(), EUICCInfo1: tt.info.Append(nil),
			})
			wantCode(t, got.Header, tt.code)
			if tt.code != "" {
				return
			}
			if !bytes.Equal(got.CIKeyID, tlv.Append(nil, tlv.OctetString, tt.ci)) {
				t.Errorf("chose CI %X, want %X", got.CIKeyID, tt.ci)
			}
			signed, err := rsp.ReadServerSigned1(got.ServerSigned1)
			if err != nil || signed.ServerAddress != tt.address {
				t.Errorf("serverAddress %q (%v), want what the LPA sent", signed.ServerAddress, err)
			}
			certificate, err := pki.ParseCertificate(got.ServerCertificate)
			if err != nil || !bytes.Equal(certificate.AuthorityKeyID, tt.ci) {
				t.Errorf("DPauth of CI %X (%v), want %X", certificate.AuthorityKeyID, err, tt.ci)
			}
		})
	}
	t.Run("unknown trailing fields in euiccInfo1", func(t *testing.T) {
		w.t = t
		info := rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids(nist), Signing: ids(nist)}
		e, err := tlv.Parse(info.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		more := tlv.Append(nil, rsp.TagEUICCInfo1, append(bytes.Clone(e.Value), 0x88, 0x02, 0x05, 0x20, 0xB1, 0x02, 0x04, 0x00))
		got := call[rsp.InitiateAuthenticationResponse](w, rsp.FnInitiateAuthentication, rsp.InitiateAuthenticationRequest{
			SMDPAddress: address, EUICCChallenge: rsp.NewChallenge(), EUICCInfo1: more,
		})
		wantCode(t, got.Header, "")
	})
	t.Run("nothing is stored", func(t *testing.T) {
		err := w.db.Read(t.Context(), func(q db.Query) error {
			n, err := db.All(t.Context(), q, db.Only[int], `select count(*) from run`)
			if err == nil && n[0] != 0 {
				t.Errorf("%d runs are stored", n[0])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Idea 10: whatever comes, no door answers with HTTP status 500.
func TestMalformed(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	functions := []string{rsp.FnInitiateAuthentication, rsp.FnAuthenticateClient, rsp.FnGetBoundProfilePackage, rsp.FnCancelSession, rsp.FnHandleNotification}
	bodies := map[string]string{
		"nothing": "", "no JSON": "{", "a number": "7", "null": "null", "empty object": "{}", "list": "[]",
		"wrong types":   `{"transactionId":5,"smdpAddress":[],"euiccChallenge":{},"pendingNotification":1}`,
		"broken base64": `{"transactionId":"00","smdpAddress":"` + address + `","euiccChallenge":"!","euiccInfo1":"?","authenticateServerResponse":"=","prepareDownloadResponse":"=","cancelSessionResponse":"=","pendingNotification":"="}`,
		"broken DER":    `{"transactionId":"00","smdpAddress":"` + address + `","euiccChallenge":"AAAAAAAAAAAAAAAAAAAAAA==","euiccInfo1":"vyD/","authenticateServerResponse":"vzj/","prepareDownloadResponse":"vyH/","cancelSessionResponse":"v0H/","pendingNotification":"vzf/"}`,
		"empty members": `{"transactionId":"","smdpAddress":"` + address + `","euiccChallenge":"","euiccInfo1":"","authenticateServerResponse":"","prepareDownloadResponse":"","cancelSessionResponse":"","pendingNotification":""}`,
		"bad id":        `{"transactionId":"xyz"}`,
		"long id":       `{"transactionId":"` + strings.Repeat("00", 17) + `"}`,
	}
	for _, function := range functions {
		for name, body := range bodies {
			t.Run(function+" "+name, func(t *testing.T) {
				w.t = t
				status, answer := w.postRaw(rsp.PathES9+function, rsp.ContentType, []byte(body))
				if function == rsp.FnHandleNotification {
					if status != http.StatusNoContent {
						t.Errorf("HTTP status %d, want 204", status)
					}
					return
				}
				failed := status == http.StatusOK && bytes.Contains(answer, []byte(`"Failed"`))
				if status != http.StatusBadRequest && !failed {
					t.Errorf("HTTP status %d %s, want 400 or a failed function", status, answer)
				}
			})
		}
	}
	for _, tt := range []struct {
		name, path, contentType string
		body                    []byte
		want                    int
	}{
		{"wrong content type", rsp.PathES9 + rsp.FnInitiateAuthentication, "text/xml", []byte("<a/>"), http.StatusUnsupportedMediaType},
		{"unknown function", rsp.PathES9 + "getRich", rsp.ContentType, []byte("{}"), http.StatusNotFound},
		{"too large", rsp.PathES9 + rsp.FnAuthenticateClient, rsp.ContentType, bytes.Repeat([]byte(" "), maxBody+1), http.StatusRequestEntityTooLarge},
		{"ASN.1 garbage", rsp.PathASN1, rsp.ContentTypeASN1, []byte{0xA2, 0x03, 0xBF, 0x39, 0xFF}, http.StatusBadRequest},
		{"ASN.1 nothing", rsp.PathASN1, rsp.ContentTypeASN1, nil, http.StatusBadRequest},
		{"ES2+ without certificate", rsp.PathES2 + rsp.FnDownloadOrder, rsp.ContentType, []byte("{}"), http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			if status, body := w.postRaw(tt.path, tt.contentType, tt.body); status != tt.want {
				t.Errorf("HTTP status %d %s, want %d", status, body, tt.want)
			}
		})
	}
}

// SGP.23 4.3.14: ideas 12 to 15, 20 to 24.
func TestAuthenticateClient(t *testing.T) {
	eachVariant(t, func(t *testing.T, d *db.DB, v variant) {
		w := v.of(newWorld(t, d, func(c *Config) { c.MaxDownloadAttempts, c.OrderLifetime = 3, time.Hour }))
		w.stock("minimal-usim", 30)
		empty := ident.MatchingID("")
		none := ""
		order := func(want wish) ordered { want.noStock = true; return w.order(want) }

		t.Run("second try after an unknown matching ID", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			wrong := "NO-SUCH-ORDER"
			wantCode(t, c.start().authenticate(&wrong), "8.2.6/3.8")
			w.offeredTo(c, o)
		})
		for _, use := range []struct {
			name string
			id   *ident.MatchingID // of the order
			asks func(o ordered) *string
		}{
			{"activation code", nil, func(o ordered) *string { return str(o.id) }},
			{"default SM-DP+, missing", &empty, func(ordered) *string { return nil }},
			{"default SM-DP+, empty", &empty, func(ordered) *string { return &none }},
			{"order with matching ID, missing", nil, func(ordered) *string { return nil }},
			{"order with matching ID, empty", nil, func(ordered) *string { return &none }},
		} {
			t.Run("EID-linked order, "+use.name, func(t *testing.T) {
				w.t = t
				c := w.chip()
				o := order(wish{eid: c.eid, id: use.id})
				if use.id == nil {
					// Idea 15: another eUICC does not get it, however it asks.
					wantCode(t, w.chip().start().authenticate(str(o.id)), "8.1.1/3.8")
				}
				wantCode(t, w.chip().start().authenticate(nil), "8.1.1/3.8")
				wantCode(t, w.chip().start().authenticate(&none), "8.1.1/3.8")
				s := c.start()
				wantCode(t, s.authenticate(use.asks(o)), "")
				_, header := s.download("")
				wantCode(t, header, "")
			})
		}
		t.Run("order without EID is not found without its matching ID", func(t *testing.T) {
			w.t = t
			order(wish{})
			wantCode(t, w.chip().start().authenticate(nil), "8.1.1/3.8")
			wantCode(t, w.chip().start().authenticate(&none), "8.1.1/3.8")
		})
		t.Run("the older of two orders for an EID goes first", func(t *testing.T) {
			w.t = t
			c := w.chip()
			first := order(wish{eid: c.eid})
			second := order(wish{eid: c.eid})
			for _, o := range []struct {
				iccid ident.ICCID
			}{{first.iccid}, {second.iccid}} {
				s := c.start()
				wantCode(t, s.authenticate(nil), "")
				if _, header := s.download(""); header.Err() != nil {
					t.Fatal(header.Err())
				}
				w.wantState(o.iccid, Downloaded)
				s.report(o.iccid, 0)
				w.wantState(o.iccid, Installed)
			}
		})
		t.Run("transaction unknown, foreign, or not the one signed", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			s := c.start()
			answer := s.answer(str(o.id), nil)
			real := s.initiated.TransactionID
			s.initiated.TransactionID = rsp.NewTransactionID()
			wantCode(t, s.authenticateWith(answer), "8.10.1/3.9")
			s.initiated.TransactionID = c.start().initiated.TransactionID
			wantCode(t, s.authenticateWith(answer), "8.10.1/3.9")
			s.initiated.TransactionID = real
			wantCode(t, s.authenticateWith(answer), "")
		})
		t.Run("transactionId in lower case", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			s := c.start()
			status, body := w.post(rsp.PathES9+rsp.FnAuthenticateClient, map[string]any{
				"transactionId": strings.ToLower(s.initiated.TransactionID.String()), "authenticateServerResponse": s.answer(str(o.id), nil),
			})
			if status != http.StatusOK || !bytes.Contains(body, []byte(rsp.Success)) {
				t.Errorf("HTTP status %d %s", status, body)
			}
		})
		t.Run("flipped signature bit, wrong challenge, wrong address", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			s := c.start()
			answer := s.answer(str(o.id), nil)
			bad := bytes.Clone(answer)
			i := bytes.Index(bad, s.proof)
			bad[i+40] ^= 1
			wantCode(t, s.authenticateWith(bad), "8.1/6.1")
			wantCode(t, s.authenticateWith(s.answer(str(o.id), func(q *rsp.ServerSigned1) { q.ServerChallenge = rsp.NewChallenge() })), "8.1/6.1")
			wantCode(t, s.authenticateWith(s.answer(str(o.id), func(q *rsp.ServerSigned1) { q.ServerAddress = "other.example.com" })), "8.1/6.1")
			wantCode(t, s.authenticateWith(s.answer(str(o.id), func(q *rsp.ServerSigned1) { q.ServerAddress = address + ":8443" })), "8.1/6.1")
			wantCode(t, s.authenticateWith(answer), "")
			w.wantState(o.iccid, Released)
		})
		t.Run("an answer for another challenge of the same chip", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			a, b := c.start(), c.start()
			other, _ := rsp.ReadServerSigned1(a.initiated.ServerSigned1)
			wantCode(t, b.authenticateWith(b.answer(str(o.id), func(q *rsp.ServerSigned1) { q.ServerChallenge = other.ServerChallenge })), "8.1/6.1")
		})
		t.Run("not released", func(t *testing.T) {
			w.t = t
			c := w.chip()
			o := order(wish{held: true, eid: c.eid})
			wantCode(t, c.start().authenticate(str(o.id)), "8.2/1.2")
			wantCode(t, c.start().authenticate(nil), "8.2/1.2")
			w.wantState(o.iccid, Confirmed)
			released, err := w.server.ReleaseProfiles(t.Context(), LocalOperator, []rsp.ReleaseProfile{{ICCID: o.iccid}})
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, released[0].Header, "")
			w.offeredTo(c, o)
		})
		t.Run("same call twice", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			s := c.start()
			answer := s.answer(str(o.id), nil)
			wantCode(t, s.authenticateWith(answer), "")
			offered, proof := s.offered, s.proof
			for range 5 {
				wantCode(t, s.authenticateWith(answer), "8.10.1/3.9")
			}
			s.offered, s.proof = offered, proof
			if got := w.profile(o.iccid); got.DownloadAttempts != 1 || got.State != Released {
				t.Errorf("%d attempts, %s", got.DownloadAttempts, got.State)
			}
			_, header := s.download("")
			wantCode(t, header, "")
		})
		t.Run("attempts exhausted", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			for range 3 {
				w.offeredTo(c, o)
			}
			wantCode(t, c.start().authenticate(str(o.id)), "8.8.5/6.4")
			w.wantState(o.iccid, Failed)
			w.wantHeard(o.iccid, rsp.PointEligibility, "8.8.5/6.4")
			wantCode(t, c.start().authenticate(str(o.id)), "8.8.5/6.4")
		})
		t.Run("not eligible", func(t *testing.T) {
			for i, tt := range []struct {
				name   string
				change func(*rsp.EUICCInfo2)
				code   string
			}{
				{"no further profile", func(i *rsp.EUICCInfo2) { i.RSP = 0 }, "8.2.5/4.3"},
				{"PPR1 forbidden", func(i *rsp.EUICCInfo2) { i.ForbiddenPPRs, i.HasForbiddenPPRs = rsp.PPR1, true }, "8.2.5/4.3"},
				{"no USIM", func(i *rsp.EUICCInfo2) { i.UICC = rsp.AKAMilenage }, "8.2.5/4.3"},
				{"no Milenage", func(i *rsp.EUICCInfo2) { i.UICC &^= rsp.AKAMilenage }, "8.2.5/4.3"},
				{"older package format", func(i *rsp.EUICCInfo2) { i.ProfileVersion = rsp.Version{1, 0, 0} }, "8.2.5/4.3"},
				{"memory", func(i *rsp.EUICCInfo2) { i.Resource.FreeNonVolatile = 100 }, "8.1/4.8"},
			} {
				t.Run(tt.name, func(t *testing.T) {
					w.t = t
					id := fmt.Sprintf("rules-%t-%d", d.Postgres(), i)
					if err := w.server.AddType(t.Context(), ProfileType{
						ID: id, Template: w.template("minimal-usim"),
						Metadata: Metadata{ServiceProvider: "Op", Name: "Ruled", PPRs: []string{"ppr1"}, Owner: &Owner{PLMN: "001/01"}},
					}); err != nil {
						t.Fatal(err)
					}
					c, o := w.chip(), w.order(wish{typ: id})
					tt.change(&c.info2)
					wantCode(t, c.start().authenticate(str(o.id)), tt.code)
					w.wantState(o.iccid, Failed)
					w.wantHeard(o.iccid, rsp.PointEligibility, tt.code)
					wantCode(t, w.chip().start().authenticate(str(o.id)), "8.2.6/3.8")
				})
			}
		})
		t.Run("extra fields everywhere are tolerated and signed", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			c.info2.UICC |= 1 << 40
			s := c.start()
			server, _ := rsp.ReadServerSigned1(s.initiated.ServerSigned1)
			grow := func(der []byte, more ...byte) []byte {
				e, err := tlv.Parse(der)
				if err != nil {
					t.Fatal(err)
				}
				return tlv.Append(nil, e.Tag, append(bytes.Clone(e.Value), more...))
			}
			// ctxParams1 with an unknown capability, an unknown member of deviceInfo and one of its own.
			context := tlv.AppendNested(nil, 0xA0, func(dst []byte) []byte {
				dst = tlv.AppendString(dst, 0x80, string(o.id))
				dst = tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
					dst = tlv.Append(dst, 0x80, []byte{1, 2, 3, 4})
					dst = tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
						dst = tlv.Append(dst, 0x85, []byte{15, 0, 0})
						return tlv.Append(dst, 0x9A, []byte{1})
					})
					return tlv.Append(dst, 0x8F, []byte{9, 9})
				})
				return tlv.Append(dst, 0x8A, []byte{7})
			})
			signed := rsp.AppendEUICCSigned1(nil, server, grow(c.info2.Append(nil), 0xB5, 0x02, 0x05, 0x00), context)
			wantCode(t, s.authenticateWith(s.signAnswer(grow(signed, 0x8C, 0x01, 0x00))), "")
		})
		t.Run("version differs from the one announced", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			c.info2.SVN = rsp.Version{2, 2, 0}
			wantCode(t, c.start().authenticate(str(o.id)), "8.8.3/3.1")
		})
		t.Run("the eUICC refuses the server", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			s := c.start()
			header := s.authenticateWith(rsp.AppendAuthenticateServerError(nil, s.initiated.TransactionID, rsp.AuthInvalidOID))
			if header.Err() == nil {
				t.Error("the function succeeds")
			}
			w.offeredTo(c, o)
		})
		t.Run("order expired, run expired", func(t *testing.T) {
			w.t = t
			c, o := w.chip(), order(wish{})
			late := c.start()
			s := w.offeredTo(c, o)
			w.clock.Forward(20 * time.Minute)
			wantCode(t, late.authenticate(str(o.id)), "8.10.1/3.9")
			_, header := s.download("")
			wantCode(t, header, "8.10.1/3.9")
			w.clock.Forward(time.Hour)
			wantCode(t, c.start().authenticate(str(o.id)), "8.8.5/4.10")
			w.wantState(o.iccid, Failed)
			w.wantHeard(o.iccid, rsp.PointEligibility, "8.8.5/4.10")
			wantCode(t, c.start().authenticate(str(o.id)), "8.8.5/4.10")
		})
	})
}

// template returns the package of a built-in profile type.
func (w *world) template(id string) []byte {
	w.t.Helper()
	t, err := w.server.loadType(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return t.template.Bytes()
}
