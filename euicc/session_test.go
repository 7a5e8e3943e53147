package euicc

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"godwit/pki"
	"godwit/rsp"
)

// Item 50: every error of AuthenticateServer. Each is made on both curves.
func TestAuthenticateServerErrors(t *testing.T) {
	for _, curve := range bothCurves {
		a := authorities[curve]()
		stranger := newStranger(curve)
		for _, tt := range []struct {
			name   string
			change func(r *run)
			late   func(r *run) // after the challenge
			want   rsp.AuthenticateError
		}{
			{"certificate with a flipped bit", func(r *run) { r.auth = damaged(a.dp.Auth) }, nil, rsp.AuthInvalidCertificate},
			{"certificate of an eUICC manufacturer", func(r *run) { r.auth = a.eum.Credential }, nil, rsp.AuthInvalidCertificate},
			{"signature by another key", func(r *run) { r.sign1 = a.dp.PB.Key }, nil, rsp.AuthInvalidSignature},
			{"no session", nil, func(r *run) { r.connect() }, rsp.AuthNoSession},
			{"DPpb certificate", func(r *run) { r.auth = a.dp.PB }, nil, rsp.AuthInvalidOID},
			{"other challenge", nil, func(r *run) { r.challenge = rsp.NewChallenge() }, rsp.AuthChallengeMismatch},
			{"older challenge", nil, func(r *run) { old := r.challenge; r.challengeCard(); r.challenge = old }, rsp.AuthChallengeMismatch},
			{"certificate of an unknown CI", func(r *run) { r.auth = stranger }, nil, rsp.AuthCIUnknown},
			{"CI that the chip cannot sign under", func(r *run) { r.ciKeyID = bytes.Repeat([]byte{7}, 20) }, nil, rsp.AuthCIUnknown},
		} {
			t.Run(curve.String()+"/"+tt.name, func(t *testing.T) {
				x := newTester(t, config(curve))
				r := x.run(curve)
				if tt.change != nil {
					tt.change(r)
				}
				r.challengeCard()
				if tt.late != nil {
					tt.late(r)
				}
				answer := r.authenticate()
				if answer.Error != tt.want || answer.TransactionID != r.id {
					t.Fatalf("error %d of %s, want %d", answer.Error, answer.TransactionID, tt.want)
				}
				// The challenge is used up.
				if answer := x.run(curve).with(r.challenge).authenticate(); answer.Error != rsp.AuthNoSession {
					t.Errorf("second attempt: error %d, want %d", answer.Error, rsp.AuthNoSession)
				}
			})
		}
	}
}

// with gives a run the challenge of another.
func (r *run) with(challenge []byte) *run { r.challenge = challenge; return r }

// newStranger is the DPauth credential of a CI that nobody trusts.
func newStranger(curve pki.Curve) *pki.Credential {
	ci := must(pki.NewTestCI(curve, pki.Request{NotBefore: testTime}))
	return must(ci.IssueIdentity(pki.Subject{Organization: "Stranger"}, testOID, nil, testTime)).Auth
}

// damaged returns a credential whose certificate has one bit of its signature
// flipped.
func damaged(c *pki.Credential) *pki.Credential {
	raw := bytes.Clone(c.Certificate.Raw)
	raw[len(raw)-1] ^= 1
	return &pki.Credential{Certificate: must(pki.ParseCertificate(raw)), Key: c.Key}
}

// An unsupported curve, error 3: the certificate names P-384.
func TestAuthenticateServerUnsupportedCurve(t *testing.T) {
	x := newTester(t, config(pki.P256))
	r := x.run(pki.P256)
	r.challengeCard()
	certificate := *r.auth.Certificate
	certificate.Raw = onP384(certificate.Raw)
	r.auth = &pki.Credential{Certificate: &certificate, Key: r.auth.Key}
	if answer := r.authenticate(); answer.Error != rsp.AuthUnsupportedCurve {
		t.Errorf("error %d, want %d", answer.Error, rsp.AuthUnsupportedCurve)
	}
}

// onP384 makes a certificate name a curve of the same length that no eUICC has:
// the arc 1.2.840.10045.3.1.7 becomes 1.2.840.10045.3.1.6.
func onP384(raw []byte) []byte {
	return bytes.Replace(raw, []byte("\x2A\x86\x48\xCE\x3D\x03\x01\x07"), []byte("\x2A\x86\x48\xCE\x3D\x03\x01\x06"), 1)
}

// The euiccSigned1 that the server gets says what it is to say.
func TestAuthenticateServer(t *testing.T) {
	for _, curve := range bothCurves {
		t.Run(curve.String(), func(t *testing.T) {
			x := newTester(t, config(bothCurves...))
			r := x.run(curve)
			r.challengeCard()
			answer := r.authenticate()
			chip := authorities[curve]().chip
			if answer.Error != 0 || !bytes.Equal(answer.EUICCCertificate, chip.EUICC.Raw) || !bytes.Equal(answer.EUMCertificate, chip.EUM.Raw) {
				t.Fatalf("answer %+v", answer)
			}
			signed, err := answer.Verify(chip.EUICC.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			if signed.TransactionID != r.id || signed.ServerAddress != testAddress || *signed.Context.MatchingID != "GODWIT" {
				t.Errorf("signed %+v", signed)
			}
			info := signed.Info
			if info.SVN != (rsp.Version{2, 5, 0}) || len(info.Verification) != 2 || len(info.Signing) != 2 ||
				info.Resource.FreeNonVolatile != DefaultMemory || !info.UICC.Has(rsp.USIM|rsp.AKAMilenage) {
				t.Errorf("info %+v", info)
			}
		})
	}
}

// An SM-DS authenticates as an SM-DP+ does, and binds no profiles.
func TestDiscoveryServer(t *testing.T) {
	x := newTester(t, config(pki.P256))
	r := x.run(pki.P256)
	r.auth = must(authorities[pki.P256]().ci.Issue(pki.Request{
		Role: pki.DSAuth, OID: testOID, NotBefore: testTime, Subject: pki.Subject{Organization: "ACME", CommonName: "TEST SM-DS"},
	}))
	r.challengeCard()
	if answer := r.authenticate(); answer.Error != 0 {
		t.Fatalf("refused with %d", answer.Error)
	}
	if answer := r.prepare(nil); answer.Error != rsp.DownloadInvalidCertificate {
		t.Errorf("a package of an SM-DS: error %d, want %d", answer.Error, rsp.DownloadInvalidCertificate)
	}
}

// Item 51: every error of PrepareDownload.
func TestPrepareDownloadErrors(t *testing.T) {
	for _, curve := range bothCurves {
		a := authorities[curve]()
		for _, tt := range []struct {
			name   string
			change func(r *run)
			want   rsp.DownloadError
		}{
			{"certificate with a flipped bit", func(r *run) { r.pb = damaged(a.dp.PB) }, rsp.DownloadInvalidCertificate},
			{"certificate of another server", func(r *run) { r.pb = a.other.PB }, rsp.DownloadInvalidCertificate},
			{"DPauth certificate", func(r *run) { r.pb = a.dp.Auth }, rsp.DownloadInvalidCertificate},
			{"signature by another key", func(r *run) {
				r.pb = &pki.Credential{Certificate: a.dp.PB.Certificate, Key: a.dp.Auth.Key}
			}, rsp.DownloadInvalidSignature},
			{"signature over another euiccSignature1", func(r *run) { r.signature1 = make([]byte, 64) }, rsp.DownloadInvalidSignature},
			{"no session", func(r *run) { r.connect() }, rsp.DownloadNoSession},
			{"only a challenge", func(r *run) { r.challengeCard() }, rsp.DownloadNoSession},
			{"other transaction", func(r *run) { r.id = rsp.NewTransactionID() }, rsp.DownloadInvalidTransactionID},
			{"confirmation code missing", func(r *run) { r.code = "1234" }, rsp.DownloadUndefined},
		} {
			t.Run(curve.String()+"/"+tt.name, func(t *testing.T) {
				x := newTester(t, config(curve))
				r := x.run(curve)
				r.challengeCard()
				if answer := r.authenticate(); answer.Error != 0 {
					t.Fatal(answer.Error)
				}
				tt.change(r)
				if answer := r.prepare(nil); answer.Error != tt.want || answer.TransactionID != r.id {
					t.Errorf("error %d, want %d", answer.Error, tt.want)
				}
			})
		}
	}
	t.Run("unsupported curve", func(t *testing.T) {
		x := newTester(t, config(pki.P256))
		r := x.run(pki.P256)
		r.challengeCard()
		r.authenticate()
		certificate := *r.pb.Certificate
		certificate.Raw = onP384(certificate.Raw)
		r.pb = &pki.Credential{Certificate: &certificate, Key: r.pb.Key}
		if answer := r.prepare(nil); answer.Error != rsp.DownloadUnsupportedCurve {
			t.Errorf("error %d, want %d", answer.Error, rsp.DownloadUnsupportedCurve)
		}
	})
}

func TestPrepareDownloadWithCode(t *testing.T) {
	x := newTester(t, config(pki.P256))
	r := x.run(pki.P256)
	r.challengeCard()
	r.authenticate()
	r.code = "1234"
	if answer := r.prepare(nil); answer.Error != rsp.DownloadUndefined {
		t.Fatalf("without the code: %d", answer.Error)
	}
	// The user finds the code: the run is still there.
	hashed := rsp.HashCodeForRun(rsp.HashCode("1234"), r.id)
	if answer := r.prepare(hashed[:]); answer.Error != 0 {
		t.Errorf("with the code: %d", answer.Error)
	}
}

// Item 51: a one-time key that the server has bound a package to is used again,
// another is not.
func TestOneTimeKeyAgain(t *testing.T) {
	for _, curve := range bothCurves {
		t.Run(curve.String(), func(t *testing.T) {
			x := newTester(t, config(curve))
			first := x.run(curve).ready()
			first.bind()
			x.connect() // the power was cut before the package came

			second := x.run(curve)
			second.reuse = first.euiccKey
			second.ready()
			if !bytes.Equal(second.euiccKey, first.euiccKey) {
				t.Fatal("the key that the server named was not used again")
			}
			// The old package under the new transaction.
			second.binding = first.binding
			second.binding.TransactionID = second.id
			if result := second.load(second.packed().Units()); result.Error != 0 {
				t.Fatalf("refused with %d", result.Error)
			}

			third := x.run(curve)
			third.reuse = first.euiccKey
			third.ready()
			if bytes.Equal(third.euiccKey, first.euiccKey) {
				t.Error("a key was used again after the installation")
			}
			unknown := sha256.Sum256(nil)
			fourth := x.run(curve)
			fourth.reuse = append([]byte{4}, append(unknown[:], unknown[:]...)...)
			fourth.ready()
			if bytes.Equal(fourth.euiccKey, fourth.reuse) {
				t.Error("the card claims to have a key that it never made")
			}
		})
	}
}

func TestCancelSession(t *testing.T) {
	x := newTester(t, config(pki.P256))
	chip := authorities[pki.P256]().chip
	cancel := func(id rsp.TransactionID, reason rsp.CancelReason) *rsp.CancelSessionResponse {
		t.Helper()
		q := rsp.CancelSessionRequest{TransactionID: id, Reason: reason}
		return must(rsp.ParseCancelSessionResponse(x.es10(q.Append(nil))))
	}
	if answer := cancel(rsp.NewTransactionID(), rsp.CancelPostponed); answer.Error != 5 {
		t.Errorf("without a session: error %d", answer.Error)
	}
	for _, tt := range []struct {
		name   string
		to     func(r *run)
		reason rsp.CancelReason
	}{
		{"after AuthenticateServer", func(r *run) { r.challengeCard(); r.authenticate() }, rsp.CancelUserRejection},
		{"after PrepareDownload", func(r *run) { r.ready() }, rsp.CancelTimeout},
		{"while loading", func(r *run) {
			r.ready()
			for _, unit := range r.bind().Units()[:3] {
				r.es10(unit)
			}
		}, rsp.CancelLoadError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := x.run(pki.P256)
			tt.to(r)
			if answer := cancel(rsp.NewTransactionID(), tt.reason); answer.Error != 5 {
				t.Errorf("other transaction: error %d", answer.Error)
			}
			signed, err := cancel(r.id, tt.reason).Verify(chip.EUICC.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			if signed.TransactionID != r.id || signed.OID != testOID || signed.Reason != tt.reason {
				t.Errorf("signed %+v", signed)
			}
			if answer := cancel(r.id, tt.reason); answer.Error != 5 {
				t.Errorf("a second time: error %d", answer.Error)
			}
		})
	}
	x.connect()
	if n := x.card.Status().Notifications; n != 0 {
		t.Errorf("%d notifications of runs that were cancelled", n)
	}
}

// Item 57: a new challenge in the middle of loading drops the old run.
func TestNewChallengeWhileLoading(t *testing.T) {
	x := newTester(t, config(pki.P256))
	old := x.run(pki.P256).ready()
	units := old.bind().Units()
	for _, unit := range units[:4] {
		old.es10(unit)
	}
	if _, sw := x.send([]byte{0xBF, 0x20, 0}); sw != swConditions {
		t.Errorf("another command while loading: %04X", sw)
	}
	if _, sw := x.send([]byte{0xBF, 0x7F, 0}); sw != swDataNotFound {
		t.Errorf("unknown command while loading: %04X", sw)
	}
	next := x.run(pki.P256)
	next.challengeCard()
	if _, sw := x.send(units[4]); sw != swConditions {
		t.Errorf("segment of the old run: %04X", sw)
	}
	list := must(rsp.ParseNotifications(x.es10(rsp.AppendRetrieveNotifications(nil, rsp.NotificationFilter{}))))
	if len(list) != 1 {
		t.Fatalf("%d notifications, want one of the interrupted run", len(list))
	}
	if result := old.verify(list[0].Raw); result.Error != rsp.InstallInterrupted || result.Command != rsp.CommandLoadElements && result.Command != rsp.CommandMetadata {
		t.Errorf("result %+v", result)
	}
	next.authenticate()
	next.prepare(nil)
	if result := next.load(next.bind().Units()); result.Error != 0 {
		t.Errorf("the new run was refused with %d", result.Error)
	}
}
