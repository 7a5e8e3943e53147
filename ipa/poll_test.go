package ipa_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"godwit/ident"
	"godwit/iot"
	"godwit/ipa"
	"godwit/lpa"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// each runs a test for both kinds of chips.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) { test(t, newWorld(t, k)) })
	}
}

func wantCodes(t *testing.T, what string, got []int64, want ...int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: codes %v, want %v", what, got, want)
	}
}

// TestPackages: every operation on profiles, its result, and what the chip then
// looks like.
func TestPackages(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.install(2)
		listed := w.eim.psmo(list())
		first := w.eim.psmo(enable(p[0], false))
		twice := w.eim.psmo(enable(p[0], false))
		wrong := w.eim.psmo(remove(p[0]), disable(p[1]))
		swap := w.eim.psmo(enable(p[1], false), remove(p[0]))
		gone := w.eim.psmo(enable(p[0], false))
		rules := w.eim.psmo(iot.PSMO{Op: iot.OpGetRAT}, iot.PSMO{Op: iot.OpSetDefaultDP, Address: "other.example.com"})
		off := w.eim.psmo(disable(p[1]))
		w.settle()

		r := listed.result(w)
		if len(r.Results) != 1 || len(r.Results[0].Profiles) != 2 {
			t.Errorf("list: %+v", r.Results)
		}
		wantCodes(t, "enable", first.codes(w), 0)
		wantCodes(t, "enable what is enabled", twice.codes(w), 2)
		wantCodes(t, "delete what is enabled, disable what is not", wrong.codes(w), 2, 2)
		if got := swap.codes(w); got[0] != 0 {
			t.Errorf("enable another: %v", got)
		}
		if w.kind == consumerChip { // the chip swaps at once
			wantCodes(t, "enable and delete", swap.codes(w), 0, 0)
			wantCodes(t, "enable what is gone", gone.codes(w), 1)
		}
		r = rules.result(w)
		if len(r.Results) != 2 || len(r.Results[0].RAT) != 1 || r.Results[1].Code != 0 {
			t.Errorf("rules and address: %+v", r.Results)
		}
		if a := must(w.device.LPA.Chip.Addresses()); a.DefaultDP != "other.example.com" {
			t.Errorf("the default SM-DP+ is %q", a.DefaultDP)
		}
		wantCodes(t, "disable", off.codes(w), 0)
		if w.enabled() != "" {
			t.Errorf("%s is enabled", w.enabled())
		}
		if got := w.dp.events(rsp.EventEnable); got < 2 {
			t.Errorf("the SM-DP+ heard of %d changes", got)
		}
		if left := must(w.device.Chip.Results()); len(left) != 0 {
			t.Errorf("%d results were not forgotten", len(left))
		}
	})
}

// TestRefusedPackages: packages of strangers, old ones, damaged ones.
func TestRefusedPackages(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.install(1)
		sign := func(change func(*iot.PackageRequest), key func() []byte) *task {
			w.eim.mu.Lock()
			defer w.eim.mu.Unlock()
			w.eim.counter++
			q := &iot.PackageRequest{EimID: eimID, EID: testEID, Counter: w.eim.counter, TransactionID: newID(), PSMO: []iot.PSMO{enable(p[0], false)}}
			change(q)
			k := w.eimKey
			if key != nil {
				k = must(pki.GenerateKey(pki.P256))
			}
			return w.eim.add(&task{id: string(q.TransactionID), der: must(q.Sign(k, w.eim.token)), package_: q})
		}
		forged := sign(func(*iot.PackageRequest) {}, func() []byte { return nil })
		stranger := sign(func(q *iot.PackageRequest) { q.EimID = "another" }, nil)
		misled := sign(func(q *iot.PackageRequest) { q.EID = "89049032123451234512345678901243" }, nil)
		good := sign(func(*iot.PackageRequest) {}, nil)
		replayed := sign(func(q *iot.PackageRequest) { q.Counter = good.package_.Counter }, nil)
		w.settle()
		wantCodes(t, "forged", forged.codes(w), -1)
		wantCodes(t, "of a stranger", stranger.codes(w), -1)
		wantCodes(t, "for another chip", misled.codes(w), -iot.PackageInvalidEID)
		wantCodes(t, "good", good.codes(w), 0)
		wantCodes(t, "replayed", replayed.codes(w), -iot.PackageReplay)

		w.eim.mu.Lock()
		w.eim.add(&task{id: "damaged", der: tlv.Append(nil, iot.TagPackage, []byte{0x30, 0x00})})
		w.eim.mu.Unlock()
		w.settle()
		if len(w.eim.errors) != 1 || w.eim.errors[0].Code != iot.ResultInvalidFormat {
			t.Errorf("a damaged package was answered with %+v", w.eim.errors)
		}
	})
}

// TestPackagesThatNobodyReads: what neither assistant nor chip can read is refused in
// words that the eIM understands, or it would hand it out for ever.
func TestPackagesThatNobodyReads(t *testing.T) {
	const rat = 0xA6
	each(t, func(t *testing.T, w *world) {
		commands := func(n int) []byte {
			return tlv.AppendNested(nil, 0xA0, func(dst []byte) []byte {
				for range n {
					dst = tlv.Append(dst, rat, nil)
				}
				return dst
			})
		}
		w.settle() // the association
		add := func(lists []byte) *task {
			w.eim.mu.Lock()
			defer w.eim.mu.Unlock()
			w.eim.counter++
			id := newID()
			signed := tlv.AppendNested(nil, tlv.Sequence, func(dst []byte) []byte {
				dst = tlv.AppendString(dst, 0x80, eimID)
				dst = tlv.Append(dst, rsp.TagICCID, ident.EID(testEID).Octets())
				dst = tlv.AppendInt(dst, 0x81, w.eim.counter)
				return append(tlv.Append(dst, 0x82, id), lists...)
			})
			token := []byte{0x84, 1, 0}
			if n := w.eim.token; n != nil {
				token = tlv.AppendInt(nil, 0x84, *n)
			}
			signature := must(pki.Sign(w.eimKey, slices.Concat(signed, token)))
			der := tlv.AppendNested(nil, iot.TagPackage, func(dst []byte) []byte { return rsp.AppendSignature(append(dst, signed...), signature) })
			return w.eim.add(&task{id: string(id), der: der})
		}
		many := add(commands(iot.MaxCommands + 1))
		both := add(append(commands(1), tlv.Append(nil, 0xA1, tlv.Append(nil, 0xAB, nil))...))
		neither := add(tlv.Append(nil, 0xA2, nil))
		w.settle()
		wantCodes(t, "too many commands", many.codes(w), -iot.PackageTooLong)
		wantCodes(t, "two lists", both.codes(w), -iot.PackageUndefined)
		wantCodes(t, "no list", neither.codes(w), -iot.PackageUndefined)

		if w.kind != consumerChip {
			add(commands(40_000)) // no chain of STORE DATA carries it
			w.settle()
			if len(w.eim.errors) != 1 || w.eim.errors[0].Code != iot.ResultInvalidFormat || len(w.eim.errors[0].TransactionID) == 0 {
				t.Errorf("what cannot reach the chip was answered with %+v", w.eim.errors)
			}
		}
		w.eim.mu.Lock()
		w.eim.errors = nil
		w.eim.add(&task{id: "unknown", der: tlv.Append(nil, 0xBF60, []byte{0x80, 0x00})})
		w.eim.mu.Unlock()
		w.settle()
		if len(w.eim.errors) != 1 || w.eim.errors[0].Code != iot.ResultUnknownPackage {
			t.Errorf("a package of an unknown kind was answered with %+v", w.eim.errors)
		}
	})
}

// TestEimOperations: the associations change, and the IPA goes where they lead.
func TestEimOperations(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		other := w.configuration()
		other.ID, other.FQDN = "second", "second.example.com"
		add := w.eim.eco(iot.ECO{Op: iot.OpAddEim, Config: &other})
		again := w.eim.eco(iot.ECO{Op: iot.OpAddEim, Config: &other})
		listed := w.eim.eco(iot.ECO{Op: iot.OpListEim})
		moved := w.configuration()
		moved.Counter, moved.Token, moved.FQDN = nil, nil, "moved.example.com"
		update := w.eim.eco(iot.ECO{Op: iot.OpUpdateEim, Config: &moved})
		deleted := w.eim.eco(iot.ECO{Op: iot.OpDeleteEim, EimID: "second"}, iot.ECO{Op: iot.OpDeleteEim, EimID: "third"})
		var connected []string
		w.address["moved.example.com"] = w.address[eimAddress]
		w.change = func(p *ipa.IPA) {
			p.Connect = func(c *iot.EimConfiguration) (*ipa.Client, error) {
				connected = append(connected, c.FQDN)
				return ipa.NewClient(c, ipa.Trust{Dial: w.dial})
			}
		}
		w.start()
		w.settle()
		if r := add.result(w).Results; len(r) != 1 || r[0].Code != 0 || r[0].Token == nil {
			t.Errorf("add: %+v", r)
		}
		wantCodes(t, "add again", again.codes(w), iot.ResultAssociated)
		if r := listed.result(w).Results; len(r) != 1 || len(r[0].Eims) != 2 {
			t.Errorf("list: %+v", r)
		}
		wantCodes(t, "update", update.codes(w), 0)
		wantCodes(t, "delete", deleted.codes(w), 0, iot.ResultEimNotFound)
		if !slices.Contains(connected, "moved.example.com") {
			t.Errorf("connected to %v", connected)
		}
		if _, err := w.device.Chip.AddInitialEim([]iot.EimConfiguration{other}); err == nil {
			t.Error("a first eIM was taken beside another")
		}
	})
}

// TestData: what an IPA tells of itself and the chip.
func TestData(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.install(1)
		w.eim.psmo(enable(p[0], false)) // leaves a notification
		all := []tlv.Tag{
			iot.DataNotifications, iot.DataDefaultDP, iot.DataResults, iot.DataInfo1, iot.DataInfo2, iot.DataRootDS, iot.DataToken,
			iot.DataEUMCertificate, iot.DataEUICCCertificate, iot.DataCapabilities, iot.DataDevice,
		}
		asked := w.eim.ask(iot.DataRequest{Tags: all})
		wrong := w.eim.ask(iot.DataRequest{Tags: []tlv.Tag{0x5A}})
		w.settle()
		a := must(iot.ParseDataResponse(asked.results[0]))
		if a.Error != nil || len(a.Notifications) != 1 || a.DefaultDP == nil || *a.DefaultDP != dpAddress || a.Results == nil ||
			a.Info1 == nil || a.Info2 == nil || a.RootDS == nil || a.Token == nil || *a.Token != *w.eim.token || a.Capabilities == nil || a.Device == nil {
			t.Errorf("data: %+v", a)
		}
		if _, err := must(pki.NewRoots(w.ci.Certificate)).VerifyEUICC(a.EUMCertificate, a.EUICCCertificate, nil, time.Now()); err != nil {
			t.Errorf("certificates: %v", err)
		}
		if a.Capabilities.Features&(iot.DirectDownload|iot.IndirectDownload) != iot.DirectDownload|iot.IndirectDownload {
			t.Errorf("features %b", a.Capabilities.Features)
		}
		if a := must(iot.ParseDataResponse(wrong.results[0])); a.Error == nil || *a.Error != iot.DataIncorrectTags {
			t.Errorf("a wrong tag was answered with %+v", a)
		}
	})
}

// TestDownloads: every way by which a profile comes.
func TestDownloads(t *testing.T) {
	code := iot.DownloadTrigger{ActivationCode: "1$" + dpAddress + "$ABC"}
	for _, c := range []struct {
		name    string
		trigger iot.DownloadTrigger
		change  func(w *world)
		passed  bool // notifications go through the eIM
	}{
		{"direct", code, nil, false},
		{"JSON", code, func(w *world) { w.device.ESipa.JSON = true }, false},
		{"default SM-DP+", iot.DownloadTrigger{DefaultDP: true}, nil, false},
		{"confirmation code", code, func(w *world) {
			w.dp.code = "4711"
			w.device.ConfirmationCode = func(context.Context, *lpa.Offer) (string, error) { return "4711", nil }
		}, false},
		{"the eIM alone has the confirmation code", code, func(w *world) { w.dp.code = "4711" }, false},
		{"the same at the default SM-DP+", iot.DownloadTrigger{DefaultDP: true}, func(w *world) { w.dp.code = "4711" }, false},
		{"indirect", code, func(w *world) { w.device.Indirect = true }, true},
		{"indirect, JSON", code, func(w *world) { w.device.Indirect, w.device.ESipa.JSON = true, true }, true},
		{"indirect, default SM-DP+", iot.DownloadTrigger{DefaultDP: true}, func(w *world) { w.device.Indirect = true }, true},
		{"indirect, the eIM keeps the code", iot.DownloadTrigger{}, func(w *world) { w.device.Indirect, w.eim.keepsCode = true, true }, true},
		{"indirect, the eIM knows the confirmation code", iot.DownloadTrigger{}, func(w *world) { w.device.Indirect, w.dp.code = true, "4711" }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				if c.change != nil {
					c.change(w)
				}
				iccid := w.dp.offer(7)
				order := w.eim.trigger(c.trigger)
				w.settle()
				r := order.download(w)
				if r.Installation == nil {
					t.Fatalf("no installation: reason %v, %s", r.Reason, r.Detail)
				}
				p := must(rsp.ParsePendingNotification(r.Installation))
				word, err := p.VerifyInstallation(w.chip.EUICC.PublicKey)
				if err != nil || word.Error != 0 || word.Notification.ICCID != iccid {
					t.Errorf("the chip's word: %+v, %v", word, err)
				}
				if !slices.Equal(w.iccids(), []ident.ICCID{iccid}) {
					t.Errorf("profiles %v", w.iccids())
				}
				if good, bad := w.dp.installed(); good != 1 || bad != 0 {
					t.Errorf("the SM-DP+ heard of %d installations and %d failures", good, bad)
				}
				if (w.eim.passed > 0) != c.passed {
					t.Errorf("%d notifications went through the eIM", w.eim.passed)
				}
				if left := must(w.device.LPA.Chip.Pending()); len(left) != 0 {
					t.Errorf("%d notifications wait", len(left))
				}
				if w.device.ESipa.JSON != (w.eim.binding["JSON"] > 0) || w.device.ESipa.JSON == (w.eim.binding["ASN.1"] > 0) {
					t.Errorf("bindings %v", w.eim.binding)
				}
			})
		})
	}
}

// TestDownloadRefused: the reasons that an eIM hears.
func TestDownloadRefused(t *testing.T) {
	code := iot.DownloadTrigger{ActivationCode: "1$" + dpAddress + "$ABC"}
	for _, c := range []struct {
		name    string
		trigger iot.DownloadTrigger
		change  func(w *world)
		want    rsp.StatusCode
	}{
		{"used", code, func(w *world) { w.dp.used = true }, rsp.MatchingIDRefused},
		{"used, indirect", code, func(w *world) { w.dp.used, w.device.Indirect = true, true }, rsp.MatchingIDRefused},
		{"no confirmation code", code, func(w *world) { w.dp.code, w.eim.codeless = "4711", true }, rsp.CodeMissing},
		{"no confirmation code, indirect", code, func(w *world) { w.dp.code, w.eim.codeless, w.device.Indirect = "4711", true, true }, rsp.CodeMissing},
		{"no confirmation code, and an eIM that relays nothing", code, func(w *world) { w.dp.code, w.eim.unrelayed = "4711", true }, rsp.CodeMissing},
		{"no activation code", iot.DownloadTrigger{ActivationCode: "nonsense"}, func(*world) {}, rsp.ExecutionFailed},
		{"unknown there", code, func(w *world) {
			w.dp.refuse = map[string]rsp.StatusCode{rsp.FnInitiateAuthentication: rsp.AddressRefused}
		}, rsp.AddressRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, w *world) {
				c.change(w)
				order := w.eim.trigger(c.trigger)
				w.settle()
				r := order.download(w)
				if r.Installation != nil || r.Reason == nil || *r.Reason != iot.DataUndefined {
					t.Fatalf("result %+v", r)
				}
				if f := failure(t, r.Detail); f.StatusCode != c.want {
					t.Errorf("status %s, want %s (%s)", f.StatusCode, c.want, f.Message)
				}
			})
		})
	}
}

// TestUnreachableSMDP: the network may come back; when it does not, the eIM hears
// of it.
func TestUnreachableSMDP(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.network = func(host string) error {
			if host == dpAddress {
				return errLost
			}
			return nil
		}
		order := w.eim.trigger(iot.DownloadTrigger{ActivationCode: "1$" + dpAddress + "$ABC"})
		polls := 0
		for ; len(order.results) == 0 && polls < 10; polls++ {
			if _, err := w.device.Poll(context.Background()); err != nil && !errors.Is(err, errLost) {
				t.Fatal(err)
			}
		}
		if polls < 3 {
			t.Errorf("the IPA gave up after %d tries", polls)
		}
		if f := failure(t, order.download(w).Detail); f.Subject != "8.8" || f.Reason != "5.1" {
			t.Errorf("status %s", f.StatusCode)
		}
	})
}

// TestTriggerAgain: a trigger that comes again is not carried out again.
func TestTriggerAgain(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		order := w.eim.trigger(iot.DownloadTrigger{ActivationCode: "1$" + dpAddress + "$ABC"})
		w.settle()
		w.eim.queue = append(w.eim.queue, order)
		w.start()
		w.settle()
		if order.handed != 2 || len(order.results) != 1 || order.download(w).Installation == nil {
			t.Errorf("handed out %d times, %d results", order.handed, len(order.results))
		}
		if good, _ := w.dp.installed(); good != 1 {
			t.Errorf("%d installations", good)
		}
	})
}

// TestFullDisk: a trigger that could not be written down is not carried out; when
// there is room it is, and the IPA asks for more at once.
func TestFullDisk(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.settle()
		order := w.eim.trigger(iot.DownloadTrigger{ActivationCode: "1$" + dpAddress + "$ABC"})
		journal := w.device.Journal
		w.device.Journal = fullJournal{journal}
		for range 2 {
			if more, err := w.device.Poll(context.Background()); more || err == nil {
				t.Errorf("with a full disk: more %t, %v", more, err)
			}
		}
		w.device.Journal = journal
		if more, err := w.device.Poll(context.Background()); !more || err != nil || len(order.results) != 1 {
			t.Errorf("with room again: more %t, %v, %d results", more, err, len(order.results))
		}
	})
}

type fullJournal struct{ ipa.Journal }

func (fullJournal) Save([]byte) error { return errors.New("no space left on device") }

// TestEimRefuses: what an eIM answers that knows no such EID, or is out of order.
func TestEimRefuses(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.eim.unknown = true
		_, err := w.device.Poll(context.Background())
		if e, ok := errors.AsType[*ipa.ESipaError](err); !ok || e.Code != iot.EimEIDNotFound {
			t.Errorf("error %v", err)
		}
		if entry, ok := ipa.Explain(err); !ok || entry.Next == "" {
			t.Errorf("explained as %+v", entry)
		}
		w.eim.unknown, w.eim.status = false, 503
		if _, err := w.device.Poll(context.Background()); err == nil {
			t.Error("HTTP status 503 was taken for an answer")
		}
	})
}

// TestDeafEIM: a result that is not acknowledged stays, and does not stand in the
// way of others.
func TestDeafEIM(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		p := w.install(1)
		w.eim.deaf = true
		a, b := w.eim.psmo(enable(p[0], false)), w.eim.psmo(disable(p[0]))
		w.settle()
		wantCodes(t, "first", a.codes(w), 0)
		wantCodes(t, "second", b.codes(w), 0)
		if left := must(w.device.Chip.Results()); len(left) != 2 {
			t.Errorf("%d results are kept", len(left))
		}
		w.eim.deaf = false
		w.start()
		w.settle()
		if left := must(w.device.Chip.Results()); len(left) != 0 {
			t.Errorf("%d results are kept", len(left))
		}
	})
}

// TestLocalChange: the eIM hears that the device changed profiles by itself, which
// a chip of SGP.32 allows in the fallback only.
func TestLocalChange(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		if w.kind == iotChip {
			t.Skip("it has no ES10c")
		}
		p := w.install(1)
		if err := w.device.Change(func(c *lpa.Chip) error { return c.Enable(rsp.Selector{ICCID: p[0]}, true) }); err != nil {
			t.Fatal(err)
		}
		w.start() // the news survives
		w.settle()
		w.settle()
		polls := w.eim.asked()
		if len(polls) < 2 || !polls[0].StateChanged || polls[0].Cause == nil || *polls[0].Cause != iot.CauseLocal || polls[len(polls)-1].StateChanged {
			t.Errorf("polls %+v", polls)
		}
	})
}

// TestTooManyResults: an emulated chip throws no result away that the eIM has not
// acknowledged.
func TestTooManyResults(t *testing.T) {
	w := newWorld(t, consumerChip)
	w.eim.deaf = true
	var orders []*task
	for range 257 {
		orders = append(orders, w.eim.psmo(iot.PSMO{Op: iot.OpGetRAT}))
		if _, err := w.device.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantCodes(t, "the last that was kept", orders[255].codes(w), 0)
	wantCodes(t, "the one after it", orders[256].codes(w), -iot.PackageUndefined)
	w.eim.deaf = false
	w.start()
	w.settle()
	later := w.eim.psmo(iot.PSMO{Op: iot.OpGetRAT})
	w.settle()
	wantCodes(t, "after the eIM has heard", later.codes(w), 0)
	if left := must(w.device.Chip.Results()); len(left) != 0 {
		t.Errorf("%d results wait", len(left))
	}
}
