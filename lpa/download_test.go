package lpa

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"godwit/euicc"
	"godwit/ident"
	"godwit/rsp"
)

var wholeDownload = []string{
	rsp.FnInitiateAuthentication, rsp.FnAuthenticateClient, rsp.FnGetBoundProfilePackage,
	rsp.FnHandleNotification, rsp.FnHandleNotification,
}

// A profile goes into the chip in both bindings, with and without a confirmation
// code, behind a reader of either kind.
func TestDownload(t *testing.T) {
	for _, tt := range []struct {
		name           string
		asn1, terminal bool
		code           string
	}{
		{"JSON", false, false, ""},
		{"JSON, code", false, true, testCode},
		{"ASN.1", true, true, ""},
		{"ASN.1, code", true, false, testCode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *euicc.Config) { c.Terminal = tt.terminal })
			w.lpa.ASN1, w.code = tt.asn1, tt.code
			var steps []Step
			w.lpa.Progress = func(p Progress) {
				steps = append(steps, p.Step)
				if p.Err != nil || p.Took < 0 {
					t.Errorf("%+v", p)
				}
			}
			q := w.request()
			asked := 0
			q.Consent = func(_ context.Context, o *Offer) (Decision, error) {
				asked++
				if o.Metadata.ICCID != w.metadata.ICCID || o.CodeRequired != (tt.code != "") || o.Address != testAddress || o.RulesConsent {
					t.Errorf("offer %+v", o)
				}
				return Accept, nil
			}
			q.ConfirmationCode = func(context.Context, *Offer) (string, error) { return testCode, nil }
			r, err := w.lpa.Download(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if r.NotifyError != nil || r.Metadata.ICCID != w.metadata.ICCID || !bytes.Equal(r.AID, rsp.ISDP(0x10)) || asked != 1 {
				t.Errorf("%+v, asked %d times", r, asked)
			}
			w.expectCalls(wholeDownload...)
			if got := w.profiles(); !slices.Equal(got, []ident.ICCID{w.metadata.ICCID}) {
				t.Errorf("profiles %v", got)
			}
			if len(w.results) != 1 || w.results[0].Error != 0 || len(w.other) != 1 || w.waiting() != 0 {
				t.Errorf("results %v, notifications %v, %d waiting", w.results, w.other, w.waiting())
			}
			if id := w.seen.Context.MatchingID; id == nil || *id != "GODWIT-1" {
				t.Errorf("matching identifier %v", id)
			}
			want := []Step{
				StepOpen, StepInitiateAuthentication, StepAuthenticateServer, StepAuthenticateClient, StepConsent,
				StepPrepareDownload, StepGetPackage, StepLoad, StepNotify, StepNotify,
			}
			if !slices.Equal(steps, want) {
				t.Errorf("steps %v", steps)
			}
		})
	}
}

// Without an address the chip's default SM-DP+ is asked for whatever waits.
func TestDownloadDefault(t *testing.T) {
	w := newWorld(t)
	if _, err := w.lpa.Download(t.Context(), Request{}); !isCheck(err) {
		t.Errorf("without a default SM-DP+: %v", err)
	}
	if err := w.lpa.Chip.SetDefaultDP(testAddress); err != nil {
		t.Fatal(err)
	}
	if _, err := w.lpa.Download(t.Context(), Request{}); err != nil {
		t.Fatal(err)
	}
	if w.seen.Context.MatchingID != nil {
		t.Errorf("matching identifier %q", *w.seen.Context.MatchingID)
	}
}

// An SM-DS tells where profiles wait; one may point to another.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	w.events[dsAddress] = []rsp.EventEntry{}
	events, err := w.lpa.Events(t.Context(), "")
	if err != nil || len(events) != 0 {
		t.Errorf("%v, %v", events, err)
	}
	if id := w.seen.Context.MatchingID; id == nil || *id != "" {
		t.Errorf("matching identifier %v, want an empty one", id)
	}
	w.events[dsAddress] = []rsp.EventEntry{{EventID: "EVENT-1", ServerAddress: testAddress}}
	events, err = w.lpa.Events(t.Context(), "")
	if err != nil || len(events) != 1 {
		t.Fatalf("%v, %v", events, err)
	}
	if _, err := w.lpa.Download(t.Context(), FromEvent(events[0])); err != nil {
		t.Fatal(err)
	}
	if *w.seen.Context.MatchingID != "EVENT-1" {
		t.Errorf("matching identifier %q", *w.seen.Context.MatchingID)
	}
	// The event stands at another SM-DS, which knows the server.
	w.offer(2)
	if _, err := w.lpa.Download(t.Context(), FromEvent(rsp.EventEntry{EventID: "CASCADE", ServerAddress: dsAddress})); err != nil {
		t.Fatal(err)
	}
	if len(w.profiles()) != 2 {
		t.Errorf("profiles %v", w.profiles())
	}
	// A circle ends.
	w.events[dsAddress] = []rsp.EventEntry{{EventID: "AGAIN", ServerAddress: dsAddress}}
	if _, err := w.lpa.Download(t.Context(), FromEvent(w.events[dsAddress][0])); !isCheck(err) {
		t.Errorf("SM-DS in a circle: %v", err)
	}
	// An SM-DP+ in place of the SM-DS is left without harm to its order.
	if _, err := w.lpa.Events(t.Context(), testAddress); !isCheck(err) || w.cancelled == nil || w.cancelled.Reason != rsp.CancelPostponed {
		t.Errorf("an SM-DP+ asked for events: %v", err)
	}
}

func isCheck(err error) bool {
	_, ok := errors.AsType[*CheckError](err)
	return ok
}

// What the LPA itself must notice before the chip is asked. SGP.22 v2.5, 3.0.1.
func TestServerChecks(t *testing.T) {
	resign := func(w *world, change func(*rsp.ServerSigned1)) func(any) {
		return func(answer any) {
			p := answer.(*rsp.InitiateAuthenticationResponse)
			s := must(rsp.ReadServerSigned1(p.ServerSigned1))
			change(s)
			raw, signature, err := s.Sign(w.auth.Key)
			if err != nil {
				t.Error(err)
			}
			p.ServerSigned1, p.ServerSignature1 = raw, rsp.AppendSignature(nil, signature)
		}
	}
	for _, tt := range []struct {
		name  string
		spoil func(*world) func(any)
		oid   ident.OID
	}{
		{"another address", func(w *world) func(any) {
			return resign(w, func(s *rsp.ServerSigned1) { s.ServerAddress = "other.example.com" })
		}, ""},
		{"another transaction", func(w *world) func(any) {
			return resign(w, func(s *rsp.ServerSigned1) { s.TransactionID = rsp.NewTransactionID() })
		}, ""},
		{"another challenge", func(w *world) func(any) {
			return resign(w, func(s *rsp.ServerSigned1) { s.EUICCChallenge = rsp.NewChallenge() })
		}, ""},
		{"another OID than in the activation code", func(*world) func(any) { return func(any) {} }, "2.999.11"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.spoil[rsp.FnInitiateAuthentication] = tt.spoil(w)
			q := w.request()
			q.OID = tt.oid
			_, err := w.lpa.Download(t.Context(), q)
			if e, ok := errors.AsType[*Error](err); !ok || e.Step != StepInitiateAuthentication || !isCheck(err) {
				t.Errorf("error %v", err)
			}
			w.expectCalls(rsp.FnInitiateAuthentication)
		})
	}
	t.Run("the OID of the activation code", func(t *testing.T) {
		w := newWorld(t)
		q := w.request()
		q.OID = testOID
		if _, err := w.lpa.Download(t.Context(), q); err != nil {
			t.Error(err)
		}
	})
}

// The chip refuses a server or an offer: the server hears of it, and the error
// has the chip's number.
func TestChipRefuses(t *testing.T) {
	flip := func(b []byte) { b[len(b)-1] ^= 1 }
	t.Run("server", func(t *testing.T) {
		w := newWorld(t)
		w.spoil[rsp.FnInitiateAuthentication] = func(a any) { flip(a.(*rsp.InitiateAuthenticationResponse).ServerSignature1) }
		_, err := w.lpa.Download(t.Context(), w.request())
		e, ok := errors.AsType[*ChipError](err)
		if !ok || e.Function != "AuthenticateServer" || e.Code != int64(rsp.AuthInvalidSignature) {
			t.Errorf("error %v", err)
		}
		w.expectCalls(rsp.FnInitiateAuthentication, rsp.FnAuthenticateClient)
		if !slices.Equal(w.errors, []int64{int64(rsp.AuthInvalidSignature)}) {
			t.Errorf("the server heard %v", w.errors)
		}
	})
	t.Run("certificate of another role", func(t *testing.T) {
		w := newWorld(t)
		w.auth = w.dp.PB
		_, err := w.lpa.Download(t.Context(), w.request())
		if e, ok := errors.AsType[*ChipError](err); !ok || e.Function != "AuthenticateServer" {
			t.Errorf("error %v", err)
		}
	})
	t.Run("offer", func(t *testing.T) {
		w := newWorld(t)
		w.spoil[rsp.FnAuthenticateClient] = func(a any) { flip(a.(*rsp.AuthenticateClientResponse).SMDPSignature2) }
		_, err := w.lpa.Download(t.Context(), w.request())
		e, ok := errors.AsType[*ChipError](err)
		if !ok || e.Function != "PrepareDownload" || e.Code != int64(rsp.DownloadInvalidSignature) {
			t.Errorf("error %v", err)
		}
		if entry, known := Explain(err); !known || entry.Cause == "" {
			t.Errorf("no explanation of %v", err)
		}
		if !slices.Equal(w.errors, []int64{int64(rsp.DownloadInvalidSignature)}) {
			t.Errorf("the server heard %v", w.errors)
		}
	})
}

// A refusal of the server reaches the caller with its code, from each function.
func TestServerRefuses(t *testing.T) {
	for function, code := range map[string]rsp.StatusCode{
		rsp.FnInitiateAuthentication: rsp.CIUnsupported,
		rsp.FnAuthenticateClient:     rsp.MatchingIDRefused,
		rsp.FnGetBoundProfilePackage: rsp.CodeRefused,
	} {
		for _, asn1 := range []bool{false, true} {
			w := newWorld(t)
			w.lpa.ASN1 = asn1
			w.refuse[function] = code
			_, err := w.lpa.Download(t.Context(), w.request())
			f, ok := rsp.AsFailure(err)
			if !ok || !asn1 && f.StatusCode != code || asn1 && f.Subject == "" {
				t.Errorf("%s: %v", function, err)
			}
			if entry, known := Explain(err); !known || entry.Next == "" {
				t.Errorf("no explanation of %v", err)
			}
			if calls := w.calls(); calls[len(calls)-1] != function {
				t.Errorf("after the refusal of %s the server was asked %v", function, calls)
			}
			// The chip is free for the next one.
			delete(w.refuse, function)
			if _, err := w.lpa.Download(t.Context(), w.request()); err != nil {
				t.Errorf("after a refusal of %s: %v", function, err)
			}
		}
	}
}

// Trouble of transport is no refusal.
func TestServerBroken(t *testing.T) {
	w := newWorld(t)
	w.status[rsp.FnAuthenticateClient] = http.StatusServiceUnavailable
	_, err := w.lpa.Download(t.Context(), w.request())
	if e, ok := errors.AsType[*ProtocolError](err); !ok || e.Status != http.StatusServiceUnavailable || e.Text != "as ordered" {
		t.Errorf("error %v", err)
	}
}

// A wrong code costs a try and nothing else.
func TestWrongCode(t *testing.T) {
	w := newWorld(t)
	w.code = testCode
	q := w.request()
	q.ConfirmationCode = func(context.Context, *Offer) (string, error) { return "4711", nil }
	_, err := w.lpa.Download(t.Context(), q)
	if f, ok := rsp.AsFailure(err); !ok || f.StatusCode != rsp.CodeRefused || w.cancelled != nil {
		t.Errorf("error %v", err)
	}
	q.ConfirmationCode = func(context.Context, *Offer) (string, error) { return testCode, nil }
	if _, err := w.lpa.Download(t.Context(), q); err != nil {
		t.Error(err)
	}
}

// Each way to give a download up has its reason, signed by the chip. SGP.22
// v2.5, 3.0.2 and 5.7.14.
func TestGivesUp(t *testing.T) {
	decide := func(d Decision) func(*world, *Request) {
		return func(_ *world, q *Request) {
			q.Consent = func(context.Context, *Offer) (Decision, error) { return d, nil }
		}
	}
	for _, tt := range []struct {
		name   string
		set    func(*world, *Request)
		reason rsp.CancelReason
		err    error
	}{
		{"rejected", decide(Reject), rsp.CancelUserRejection, ErrRejected},
		{"postponed", decide(Postpone), rsp.CancelPostponed, ErrPostponed},
		{"no answer", decide(TimedOut), rsp.CancelTimeout, ErrTimedOut},
		{"no code", func(w *world, _ *Request) { w.code = testCode }, rsp.CancelPostponed, ErrNoCode},
		{"empty code", func(w *world, q *Request) {
			w.code = testCode
			q.ConfirmationCode = func(context.Context, *Offer) (string, error) { return "", nil }
		}, rsp.CancelPostponed, ErrNoCode},
		{"the question fails", func(_ *world, q *Request) {
			q.Consent = func(context.Context, *Offer) (Decision, error) { return Accept, errWindow }
		}, rsp.CancelUndefined, errWindow},
		{"policy rules without a rule in the chip", func(w *world, _ *Request) {
			w.metadata.PPRs = rsp.PPR2
			w.metadata.Owner.PLMN = [3]byte{0x99, 0xF9, 0x99}
		}, rsp.CancelPPRNotAllowed, errRules},
		{"metadata changed", func(w *world, _ *Request) {
			w.entered[rsp.FnGetBoundProfilePackage] = func() { w.metadata.Name += "!" }
		}, rsp.CancelMetadataMismatch, nil},
		{"package unreadable", func(w *world, _ *Request) {
			w.spoil[rsp.FnGetBoundProfilePackage] = func(a any) {
				p := a.(*rsp.GetBoundProfilePackageResponse)
				p.BoundProfilePackage = p.BoundProfilePackage[:len(p.BoundProfilePackage)-1]
			}
		}, rsp.CancelLoadError, nil},
		{"metadata unreadable", func(w *world, _ *Request) {
			w.spoil[rsp.FnAuthenticateClient] = func(a any) { a.(*rsp.AuthenticateClientResponse).ProfileMetadata = []byte{0xBF, 0x25, 0} }
		}, rsp.CancelUndefined, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *euicc.Config) {
				c.RAT = []rsp.Rule{{PPRs: rsp.PPR1 | rsp.PPR2, Operators: []rsp.OperatorID{{PLMN: [3]byte{0x00, 0xF1, 0x10}}}, ConsentRequired: true}}
			})
			q := w.request()
			tt.set(w, &q)
			_, err := w.lpa.Download(t.Context(), q)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Cancelled == nil || *e.Cancelled != tt.reason || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("error %v, %+v", err, e)
			}
			if w.cancelled == nil || w.cancelled.Reason != tt.reason || w.cancelled.OID != testOID {
				t.Errorf("the server heard %+v", w.cancelled)
			}
			if calls := w.calls(); calls[len(calls)-1] != rsp.FnCancelSession || len(w.profiles()) != 0 {
				t.Errorf("calls %v, profiles %v", calls, w.profiles())
			}
		})
	}
}

var errWindow = errors.New("no window to ask in")

// The caller's context ends while the user is asked: the order waits, and both
// sides hear of it although the context is over.
func TestContextEnds(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	q := w.request()
	q.Consent = func(context.Context, *Offer) (Decision, error) { cancel(); return Accept, nil }
	_, err := w.lpa.Download(ctx, q)
	if !errors.Is(err, context.Canceled) || w.cancelled == nil || w.cancelled.Reason != rsp.CancelPostponed {
		t.Errorf("error %v, cancelled %+v", err, w.cancelled)
	}
}

// Policy rules that the chip allows come in with the user's consent; PPR1 only
// into a chip without another operational profile. SGP.22 v2.5, 2.9.2.
func TestPolicyRules(t *testing.T) {
	w := newWorld(t)
	w.metadata.PPRs = rsp.PPR1
	q := w.request()
	told := false
	q.Consent = func(_ context.Context, o *Offer) (Decision, error) { told = o.RulesConsent; return Accept, nil }
	if _, err := w.lpa.Download(t.Context(), q); err != nil || !told {
		t.Fatalf("%v, consent asked %v", err, told)
	}
	w.offer(2)
	w.metadata.PPRs = rsp.PPR1
	_, err := w.lpa.Download(t.Context(), q)
	if !errors.Is(err, errRules) || w.cancelled == nil || w.cancelled.Reason != rsp.CancelPPRNotAllowed {
		t.Errorf("second profile with PPR1: %v", err)
	}
}

// The chip ends the installation: its signed word goes to the server, and the
// caller learns the reason.
func TestInstallationFails(t *testing.T) {
	w := newWorld(t)
	w.spoil[rsp.FnGetBoundProfilePackage] = func(a any) {
		b := a.(*rsp.GetBoundProfilePackageResponse).BoundProfilePackage
		b[len(b)-1] ^= 1
	}
	_, err := w.lpa.Download(t.Context(), w.request())
	e, ok := errors.AsType[*InstallError](err)
	if !ok || e.Reason != rsp.InstallSecurity || e.Command != rsp.CommandLoadElements {
		t.Fatalf("error %v", err)
	}
	if entry, known := Explain(err); !known || entry.Who == "" {
		t.Errorf("no explanation of %v", err)
	}
	if len(w.results) != 1 || w.results[0].Error != rsp.InstallSecurity || w.cancelled != nil || len(w.profiles()) != 0 {
		t.Errorf("the server heard %+v, cancelled %+v", w.results, w.cancelled)
	}
	// The same again, sound: the profile comes in.
	delete(w.spoil, rsp.FnGetBoundProfilePackage)
	if _, err := w.lpa.Download(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	// And once more: it is there already.
	_, err = w.lpa.Download(t.Context(), w.request())
	if e, ok := errors.AsType[*InstallError](err); !ok || e.Reason != rsp.InstallICCIDExists {
		t.Errorf("error %v", err)
	}
}

// The power is cut in the middle of loading: after the reset the chip has a
// result to report, and the next download succeeds.
func TestPowerCut(t *testing.T) {
	w := newWorld(t)
	w.card.SetFaults(euicc.Faults{PowerCutAfter: 3})
	_, err := w.lpa.Download(t.Context(), w.request())
	if e, ok := errors.AsType[*Error](err); !ok || e.Step != StepLoad || !errors.Is(err, euicc.ErrSilent) {
		t.Fatalf("error %v", err)
	}
	w.card.SetFaults(euicc.Faults{})
	if err := w.card.Reset(); err != nil {
		t.Fatal(err)
	}
	if w.lpa.Chip, err = OpenChip(w.card); err != nil {
		t.Fatal(err)
	}
	deliveries, err := w.lpa.Notify(t.Context())
	if err != nil || len(deliveries) != 1 || deliveries[0].Err != nil {
		t.Fatalf("%+v, %v", deliveries, err)
	}
	if len(w.results) != 1 || w.results[0].Error != rsp.InstallInterrupted {
		t.Errorf("the server heard %+v", w.results)
	}
	if _, err := w.lpa.Download(t.Context(), w.request()); err != nil {
		t.Error(err)
	}
}

// A notification stays in the chip until its server says 204, and those of one
// profile keep their order. SGP.22 v2.5, 3.5.
func TestNotify(t *testing.T) {
	w := newWorld(t)
	w.status[rsp.FnHandleNotification] = http.StatusInternalServerError
	r, err := w.lpa.Download(t.Context(), w.request())
	if err != nil || r.NotifyError == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if w.waiting() != 2 {
		t.Fatalf("%d notifications wait", w.waiting())
	}
	s := rsp.Selector{ICCID: w.metadata.ICCID}
	if err := errors.Join(w.lpa.Chip.Enable(s, false), w.lpa.Chip.Disable(s, false), w.lpa.Chip.Delete(s)); err != nil {
		t.Fatal(err)
	}
	w.calls()
	deliveries, err := w.lpa.Notify(t.Context())
	if err != nil || len(deliveries) != 5 {
		t.Fatalf("%+v, %v", deliveries, err)
	}
	// One try for this profile at this server: the others wait behind it.
	w.expectCalls(rsp.FnHandleNotification)
	for i, d := range deliveries {
		if (i == 0) == errors.Is(d.Err, errEarlier) {
			t.Errorf("delivery %d: %v", i, d.Err)
		}
	}
	// A proxy that answers 200 has not delivered anything.
	w.status[rsp.FnHandleNotification] = http.StatusOK
	if deliveries, err = w.lpa.Notify(t.Context()); err != nil || deliveries[0].Err == nil || w.waiting() != 5 {
		t.Errorf("after status 200: %+v, %v, %d waiting", deliveries, err, w.waiting())
	}
	// The server is back, after another start of the assistant.
	delete(w.status, rsp.FnHandleNotification)
	if err := w.lpa.Chip.Close(); err != nil {
		t.Fatal(err)
	}
	if w.lpa.Chip, err = OpenChip(w.card); err != nil {
		t.Fatal(err)
	}
	if deliveries, err = w.lpa.NotifyUntil(t.Context()); err != nil || len(deliveries) != 5 || w.waiting() != 0 {
		t.Fatalf("%+v, %v, %d waiting", deliveries, err, w.waiting())
	}
	var events []rsp.Event
	for _, n := range w.other {
		events = append(events, n.Event)
	}
	if !slices.Equal(events, []rsp.Event{rsp.EventInstall, rsp.EventEnable, rsp.EventDisable, rsp.EventDelete}) {
		t.Errorf("the server heard %v", events)
	}
	// A chip that does not forget delivers twice, and nothing breaks.
	w.card.SetFaults(euicc.Faults{KeepNotifications: true})
	w.offer(2)
	if _, err := w.lpa.Download(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	if deliveries, err = w.lpa.Notify(t.Context()); err != nil || len(deliveries) != 2 || len(w.results) != 3 {
		t.Errorf("%+v, %v, %d results", deliveries, err, len(w.results))
	}
}

// Servers that do not answer are asked again after growing pauses, until the
// context ends.
func TestNotifyUntil(t *testing.T) {
	w := newWorld(t)
	w.status[rsp.FnHandleNotification] = http.StatusInternalServerError
	if _, err := w.lpa.Download(t.Context(), w.request()); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		l := &LPA{Chip: w.lpa.Chip, HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			tries++
			return nil, errNoTransport
		})}}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		_, err := l.NotifyUntil(ctx)
		// At 0, 1, 3, 7 and 15 seconds.
		if !errors.Is(err, context.DeadlineExceeded) || tries != 5 || time.Since(start) != 20*time.Second {
			t.Errorf("%d tries in %s, %v", tries, time.Since(start), err)
		}
	})
}
