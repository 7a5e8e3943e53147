package eim

import (
	"encoding/json"
	"strings"
	"testing"

	"godwit/db"
	"godwit/iot"
	"godwit/rsp"
)

func TestDirectDownloads(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v, other := w.device(), w.device()
		v.run()
		other.run()
		code := int64(127)
		detail := func(c rsp.StatusCode) []byte {
			b, err := json.Marshal(map[string]any{"header": rsp.Refuse(c, "no").Header()})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		words := func(text string) []byte {
			b, err := json.Marshal(map[string]any{"header": (&rsp.Failure{StatusCode: rsp.StatusCode{Subject: "1.9", Reason: "9.9"}, Message: text}).Header()})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		reported := func(d []byte) func() *iot.DownloadResult {
			return func() *iot.DownloadResult { return &iot.DownloadResult{Reason: &code, Detail: d} }
		}
		for _, c := range []struct {
			name    string
			result  func() *iot.DownloadResult
			stage   Stage
			reason  string
			witness string
			reached bool // beside what the reason says
		}{
			{"installed", func() *iot.DownloadResult { return &iot.DownloadResult{Installation: v.installation(iccidB, 0)} }, Done, "complete", ByEUICC, false},
			{"no memory", func() *iot.DownloadResult {
				return &iot.DownloadResult{Installation: v.installation(iccidB, rsp.InstallMemory)}
			}, Failed, "no_memory", ByEUICC, true},
			{"there already", func() *iot.DownloadResult {
				return &iot.DownloadResult{Installation: v.installation(iccidB, rsp.InstallICCIDExists)}
			}, Failed, "already_done", ByEUICC, true},
			{"another profile", func() *iot.DownloadResult { return &iot.DownloadResult{Installation: v.installation(iccidA, 0)} }, Failed, "iccid_mismatch", ByEUICC, false},
			{"unknown code", reported(detail(rsp.MatchingIDRefused)), Failed, "code_invalid", ByIPA, false},
			{"used code", reported(detail(rsp.TooManyDownloads)), Failed, "code_used", ByIPA, false},
			{"confirmation", reported(detail(rsp.CodeMissing)), Failed, "confirmation_required", ByIPA, false},
			{"not reached", reported(detail(rsp.StatusCode{Subject: "8.8", Reason: "5.1"})), Failed, "smdp_unreachable", ByIPA, false},
			{"another refusal", reported(detail(rsp.NoEligibleProfile)), Failed, "smdp_refused", ByIPA, false},
			{"the answer in ASN.1", reported(rsp.AppendASN1Response(nil, &rsp.AuthenticateClientResponse{Header: rsp.Refuse(rsp.MatchingIDRefused, "").Header()})), Failed, "code_invalid", ByIPA, false},
			{"a damaged package", func() *iot.DownloadResult {
				return &iot.DownloadResult{Installation: v.installation(iccidB, rsp.InstallSecurity)}
			}, Failed, "refused", ByEUICC, true},
			{"the eUICC's refusal of the server", reported(rsp.AppendAuthenticateServerError(nil, rsp.NewTransactionID(), 2)), Failed, "refused", ByIPA, false},
			{"the eUICC's refusal", reported(rsp.AppendPrepareDownloadError(nil, rsp.NewTransactionID(), rsp.DownloadInvalidSignature)), Failed, "refused", ByIPA, true},
			{"the eIM's refusal to relay", reported([]byte{0xBF, 0x39, 3, 0x81, 1, 52}), Failed, "refused", ByIPA, false},
			{"the SM-DP+'s refusal that was relayed", reported([]byte{0xBF, 0x3B, 3, 0x81, 1, 6}), Failed, "code_invalid", ByIPA, true},
			{"a refusal without a reason", reported([]byte{0xBF, 0x3A, 3, 0x81, 1, 127}), Failed, "refused", ByIPA, true},
			{"junk", reported([]byte{1, 2, 3}), Failed, "refused", ByIPA, true},
			{"words that no database takes", reported(words("a\x00" + strings.Repeat("ö", 2000))), Failed, "smdp_refused", ByIPA, false},
			{"nothing", reported(nil), Failed, "refused", ByIPA, true},
		} {
			id := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret("1$smdp.example.com$ABC"), ICCID: iccidB})
			p := v.poll()
			if !isPackage(p, iot.TagDownloadTrigger) {
				t.Fatalf("%s: %+v", c.name, p)
			}
			trigger, err := iot.ParseDownloadTrigger(p.DownloadTrigger)
			if err != nil || trigger.ActivationCode != "1$smdp.example.com$ABC" {
				t.Fatalf("%+v %v", trigger, err)
			}
			r := c.result()
			r.TransactionID = trigger.TransactionID
			v.provide(&iot.ProvideEimPackageResult{DownloadResult: r.Append(nil)})
			o := w.outcome(id)
			if o.Stage != c.stage || o.Reason != c.reason || o.Witness != c.witness || o.Reason != "complete" && o.Message == "" {
				t.Errorf("%s: %s %s by %s (%s), want %s %s by %s", c.name, o.Stage, o.Reason, o.Witness, o.Message, c.stage, c.reason, c.witness)
			}
			if o.Reached != c.reached {
				t.Errorf("%s: the SM-DP+ was reached: %t", c.name, o.Reached)
			}
			v.run()
		}
		// What another eUICC has signed is nobody's word on this one.
		id := w.queue(Task{EID: v.eid, Kind: Download})
		v.poll()
		d := iot.DownloadResult{TransactionID: hexID(t, id), Installation: other.installation(iccidB, 0)}
		if answer := v.provide(&iot.ProvideEimPackageResult{DownloadResult: d.Append(nil)}); len(answer.Acknowledged) != 0 || w.stage(id) != Sent {
			t.Errorf("another eUICC's installation: %+v, task %s", answer, w.stage(id))
		}
		// The default SM-DP+, without a transaction and without an EID.
		d = iot.DownloadResult{Installation: v.installation(iccidB, 0)}
		first := v.provide(&iot.ProvideEimPackageResult{DownloadResult: d.Append(nil)})
		again := v.provide(&iot.ProvideEimPackageResult{DownloadResult: d.Append(nil)})
		if len(first.Acknowledged) != 1 || len(again.Acknowledged) != 1 || w.outcome(id).Stage != Done {
			t.Errorf("%+v, %+v, task %s", first, again, w.stage(id))
		}
	})
}

func TestIPAErrorsEndTheTask(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		id := w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
		v.poll()
		stranger := iot.ResultError{TransactionID: hexID(t, newTaskID()), Code: iot.ResultUnknownPackage}
		v.provide(&iot.ProvideEimPackageResult{Error: &stranger})
		if got := w.stage(id); got != Sent {
			t.Fatalf("an error for another package made the task %s", got)
		}
		own := iot.ResultError{TransactionID: hexID(t, id), Code: iot.ResultUnknownPackage}
		v.provide(&iot.ProvideEimPackageResult{Error: &own})
		if o := w.outcome(id); o.Stage != Failed || o.Reason != "refused" || o.Witness != ByIPA {
			t.Errorf("%+v", o)
		}
		v.run()
	})
}

func TestContactThatIsNotUnderstoodIsMadeSimpler(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		first, err := iot.ParseDataRequest(v.poll().DataRequest)
		if err != nil {
			t.Fatal(err)
		}
		code := iot.DataIncorrectTags
		d := iot.DataResponse{TransactionID: first.TransactionID, Error: &code}
		v.provide(&iot.ProvideEimPackageResult{DataResponse: d.Append(nil)})
		second, err := iot.ParseDataRequest(v.poll().DataRequest)
		if err != nil {
			t.Fatal(err)
		}
		if len(second.Tags) >= len(first.Tags) || string(second.TransactionID) == string(first.TransactionID) {
			t.Errorf("asked for %v, then for %v", first.Tags, second.Tags)
		}
		v.run()
		if len(w.inventories) != 1 {
			t.Error("no inventory")
		}
	})
}

// nobody is where no SM-DP+ listens: no name server is asked, which may be none.
const nobody = "127.0.0.1:1"

func TestRelayServesNoStrangers(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		v := w.device()
		v.run()
		challenge := rsp.NewChallenge()
		info1 := (&rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}}).Append(nil)
		id := w.queue(Task{EID: v.eid, Kind: Download, ActivationCode: db.Secret("1$" + nobody + "$ABC")})
		for name, q := range map[string]*iot.InitiateAuthenticationRequest{
			"no order":       {EUICCChallenge: challenge, SMDPAddress: nobody, EUICCInfo1: info1},
			"no address":     {EUICCChallenge: challenge, SMDPAddress: "smdp\x00\xff", EUICCInfo1: info1},
			"unknown order":  {EUICCChallenge: challenge, SMDPAddress: nobody, EUICCInfo1: info1, TransactionID: hexID(t, newTaskID())},
			"not yet sent":   {EUICCChallenge: challenge, SMDPAddress: nobody, EUICCInfo1: info1, TransactionID: hexID(t, id)},
			"another SM-DP+": {EUICCChallenge: challenge, SMDPAddress: "evil.example.com", EUICCInfo1: info1, TransactionID: hexID(t, id)},
		} {
			if p := w.ask(q).(*iot.InitiateAuthenticationResponse); p.Error == 0 && p.Failure == nil {
				t.Errorf("%s: %+v", name, p)
			}
		}
		v.poll()
		if p := w.ask(&iot.InitiateAuthenticationRequest{EUICCChallenge: challenge, SMDPAddress: "evil.example.com", EUICCInfo1: info1, TransactionID: hexID(t, id)}).(*iot.InitiateAuthenticationResponse); !w.json && p.Error != iot.RelayAddressMismatch {
			t.Errorf("another SM-DP+: %+v", p)
		}
		if p := w.ask(&iot.AuthenticateClientRequest{TransactionID: rsp.NewTransactionID(), AuthenticateServerResponse: rsp.AppendAuthenticateServerError(nil, rsp.NewTransactionID(), 1)}).(*iot.AuthenticateClientResponse); p.Error == 0 && p.Failure == nil {
			t.Errorf("unknown session: %+v", p)
		}
		if n := w.count(`select count(*) from eim_session`); n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestReadDetailNeverPanics(t *testing.T) {
	told, err := json.Marshal(map[string]any{"header": rsp.Refuse(rsp.NoEligibleProfile, "there is no room").Header()})
	if err != nil {
		t.Fatal(err)
	}
	if _, message, _ := readDetail(told); !strings.HasSuffix(message, "there is no room") {
		t.Errorf("what the SM-DP+ says is not told: %q", message)
	}
	for _, text := range []string{"", "{", `{"header":{}}`, `{"header":{"functionExecutionStatus":{"status":"Failed"}}}`, "8.2.6/3.8", "\xA2\x03\xBF\x3B\x00", strings.Repeat("\xBF", 9)} {
		if reason, message, _ := readDetail([]byte(text)); reason == "" || message == "" {
			t.Errorf("%q: %q %q", text, reason, message)
		}
	}
}
