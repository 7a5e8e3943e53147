package sim

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"
	"godwit/jobs"
	"godwit/rsp"
)

const testEID = "89049032123451234512345678901235"

// statuses lists the states that a reservation has gone through, by its events.
func statuses(t *testing.T, h *house, sid string) string {
	t.Helper()
	var all []string
	for _, e := range h.events(t, sid) {
		all = append(all, strings.TrimPrefix(e.Kind, "esim_profile."))
	}
	return strings.Join(all, " ")
}

// told lists the states that a reservation's customer was told, by callbacks.
func told(t *testing.T, h *house, sid string) string {
	t.Helper()
	var all []string
	for _, d := range h.callbacks(t, sid) {
		form, err := url.ParseQuery(d.Form)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, form.Get("ESimProfileStatus"))
	}
	return strings.Join(all, " ")
}

func TestLifeOfAReservation(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		ac := h.account(t, "")
		p, err := h.Reserve(t.Context(), Reservation{Account: ac, EID: testEID, WantsCode: true, Callback: Callback{URL: "https://hooks.example.com/x", Method: "GET"}})
		if err != nil {
			t.Fatal(err)
		}
		if p.Status != ProfileNew || p.Settled() || p.ActivationCode() != "" {
			t.Errorf("a fresh reservation is %+v", p)
		}
		if err := h.reserve(t.Context(), jobs.Hand{}); err != nil {
			t.Fatal(err)
		}
		p = h.profile(t, p)
		if p.Status != ProfileAvailable || p.Address != "smdp.example.com" || p.EID != testEID ||
			p.ActivationCode() != "1$smdp.example.com$"+string(p.MatchingID) || len(p.MatchingID) != 29 {
			t.Errorf("the prepared reservation is %+v", p)
		}
		one := h.sim(t, ac, p.SIM)
		if one.Status != New || one.ICCID != p.ICCID || one.Fleet != "" || one.UniqueName != "" {
			t.Errorf("its Sim is %+v", one)
		}
		if s := h.yard.state(p.ICCID); s != "released" {
			t.Errorf("at the SM-DP+ the profile is %s", s)
		}
		downloaded, installed := h.report(p, rsp.PointDownload, nil), h.report(p, rsp.PointInstallation, nil)
		// Each twice, and the first once more at the end.
		for _, batch := range [][]rsp.ProgressInfo{{downloaded, downloaded}, {installed}, {installed, downloaded}} {
			if err := h.Progress(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		if got := statuses(t, h, p.SID); got != "new reserving available downloaded installed" {
			t.Errorf("events: %s", got)
		}
		if got := told(t, h, p.SID); got != "available downloaded installed" {
			t.Errorf("callbacks: %s", got)
		}
		last := h.events(t, p.SID)[4]
		if string(last.Evidence) != "\xBF\x37\x00" || last.EvidenceKind != evidencePIR {
			t.Errorf("the installation is proved by %x (%s)", last.Evidence, last.EvidenceKind)
		}
		for _, e := range h.events(t, p.SID)[2:] {
			if len(e.Evidence) == 0 {
				t.Errorf("event %s has no evidence", e.Kind)
			}
		}
		form, err := url.ParseQuery(h.callbacks(t, p.SID)[0].Form)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"ESimProfileSid": p.SID, "SimSid": p.SIM, "SimIccid": string(p.ICCID), "ESimProfileStatus": "available",
			"Eid": testEID, "SmdpPlusAddress": "smdp.example.com", "ErrorCode": "", "ErrorMessage": "",
		} {
			if got, ok := form[name]; !ok || got[0] != want {
				t.Errorf("callback parameter %s is %q, want %q", name, got, want)
			}
		}
		if len(form) != 8 {
			t.Errorf("callback has %d parameters: %v", len(form), form)
		}
	})
}

func TestNarrowCallbacks(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.NarrowCallbacks = true
		p := h.available(t, Reservation{Account: h.account(t, ""), WantsCode: true, Callback: Callback{URL: "https://hooks.example.com/esim"}})
		for _, point := range []rsp.ProgressInfo{h.report(p, rsp.PointDownload, nil), h.report(p, rsp.PointInstallation, nil)} {
			if err := h.Progress(t.Context(), []rsp.ProgressInfo{point}); err != nil {
				t.Fatal(err)
			}
		}
		if got := statuses(t, h, p.SID); got != "new reserving available downloaded installed" {
			t.Errorf("events: %s", got)
		}
		if got := told(t, h, p.SID); got != "available" {
			t.Errorf("callbacks: %s", got)
		}
	})
}

func TestReservationByEIDHasNoCode(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		p := h.available(t, Reservation{Account: h.account(t, ""), EID: testEID})
		if p.MatchingID != "" || p.ActivationCode() != "" {
			t.Errorf("a reservation by EID alone has matching ID %q and code %q", p.MatchingID, p.ActivationCode())
		}
	})
}

func TestReservationByCodeLearnsItsEID(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		p := h.available(t, Reservation{Account: h.account(t, ""), WantsCode: true})
		if p.EID != "" {
			t.Errorf("EID %q before the download", p.EID)
		}
		if err := h.Progress(t.Context(), []rsp.ProgressInfo{h.report(p, rsp.PointDownload, nil)}); err != nil {
			t.Fatal(err)
		}
		if p = h.profile(t, p); p.EID != testEID || p.Status != ProfileDownloaded {
			t.Errorf("after the download it is %s for EID %q", p.Status, p.EID)
		}
	})
}

func TestReservationRefused(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	ac := h.account(t, "")
	for _, tt := range []struct {
		name string
		r    Reservation
		text string
	}{
		{"neither EID nor code", Reservation{}, "GenerateMatchingId"},
		{"EID of the documentation", Reservation{EID: "89049032000001000000128489aaaaaa"}, "hide some digits"},
		{"EID too short", Reservation{EID: "8904903212345123451234567890123"}, "32 decimal digits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Account = ac
			_, err := h.Reserve(t.Context(), tt.r)
			refusal, ok := fault.As(err)
			if !ok || refusal.Field != "Eid" || refusal.Kind != fault.Invalid || !strings.Contains(refusal.Message, tt.text) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := h.Reserve(t.Context(), Reservation{Account: ac, EID: "89049032123451234512345678901234"}); err != nil {
		t.Errorf("an EID with wrong check digits was refused: %v", err)
	}
}

// TestReservationFails makes everything go wrong that an SM-DP+ can answer.
func TestReservationFails(t *testing.T) {
	for _, tt := range []struct {
		name      string
		before    func(h *house)
		report    func(h *house, p Profile) rsp.ProgressInfo
		code      string
		words     []string
		cancelled bool
	}{
		{name: "no stock", before: func(h *house) { h.yard.stock = 0 }, code: "83500", words: []string{"in stock", "operator", "Nothing was charged"}},
		{
			name: "unknown type", before: func(h *house) { h.yard.refuse["downloadOrder"] = rsp.Refuse(rsp.TypeUnknown, "no such type") },
			code: "83500", words: []string{`"test"`},
		},
		{
			name: "order refused", before: func(h *house) { h.yard.refuse["downloadOrder"] = rsp.Refuse(rsp.EIDInvalid, "eid: wrong check digits") },
			code: "83501", words: []string{"8.1.1/2.1"},
		},
		{
			name: "confirmation refused", before: func(h *house) { h.yard.refuse["confirmOrder"] = rsp.Refuse(rsp.MatchingIDInUse, "") },
			code: "83501", words: []string{"8.2.6/3.3"}, cancelled: true,
		},
		{
			name: "release refused", before: func(h *house) { h.yard.refuse["releaseProfile"] = rsp.Refuse(rsp.ICCIDState, "") },
			code: "83501", words: []string{"8.2.1/3.5"}, cancelled: true,
		},
		{
			name: "eUICC not eligible", code: "83503", words: []string{"8.2.5/4.3"},
			report: func(h *house, p Profile) rsp.ProgressInfo {
				return h.report(p, rsp.PointEligibility, rsp.Refuse(rsp.NoEligibleProfile, ""))
			},
		},
		{
			name: "order expired", code: "83503", words: []string{"not downloaded in time", "8.8.5/4.10"},
			report: func(h *house, p Profile) rsp.ProgressInfo {
				return h.report(p, rsp.PointDownload, &rsp.Failure{StatusCode: rsp.OrderExpired, Status: rsp.Expired})
			},
		},
		{
			name: "not enough memory", code: "83504", words: []string{"did not install", "8.1/4.8"},
			report: func(h *house, p Profile) rsp.ProgressInfo {
				return h.report(p, rsp.PointInstallation, rsp.Refuse(rsp.MemoryInsufficient, ""))
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				h := newHouse(t, d)
				if tt.before != nil {
					h.yard.set(func(*yard) { tt.before(h) })
				}
				p, err := h.Reserve(t.Context(), Reservation{Account: h.account(t, ""), EID: testEID, Callback: Callback{URL: "https://hooks.example.com"}})
				if err != nil {
					t.Fatal(err)
				}
				if err := h.reserve(t.Context(), jobs.Hand{}); err != nil {
					t.Fatal(err)
				}
				if tt.report != nil {
					if err := h.Progress(t.Context(), []rsp.ProgressInfo{tt.report(h, h.profile(t, p))}); err != nil {
						t.Fatal(err)
					}
				}
				p = h.profile(t, p)
				if p.Status != ProfileFailed || p.ErrorCode != tt.code {
					t.Fatalf("it is %s with code %s (%s), want code %s", p.Status, p.ErrorCode, p.ErrorMessage, tt.code)
				}
				for _, word := range tt.words {
					if !strings.Contains(p.ErrorMessage, word) {
						t.Errorf("message %q has no %q in it", p.ErrorMessage, word)
					}
				}
				if (p.SIM != "") != (tt.report != nil) {
					t.Errorf("its Sim is %q", p.SIM)
				}
				want := "failed"
				if tt.report != nil {
					want = "available failed"
				}
				if got := told(t, h, p.SID); got != want {
					t.Errorf("callbacks %q, want %q", got, want)
				}
				if tt.cancelled {
					run(t, h, func() bool {
						h.yard.mu.Lock()
						defer h.yard.mu.Unlock()
						return len(h.yard.orders) == 1 && h.yard.orders[firstICCID] == "cancelled"
					})
				}
			})
		})
	}
}

// firstICCID is the first profile that a yard hands out.
const firstICCID = ident.ICCID("8900112000000000016")

// TestProgressBeforeTheAnswer has the eUICC install a profile before the answer
// to releaseProfile has arrived.
func TestProgressBeforeTheAnswer(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		p, err := h.Reserve(t.Context(), Reservation{Account: h.account(t, ""), WantsCode: true, Callback: Callback{URL: "https://hooks.example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		h.yard.set(func(y *yard) { y.silence["releaseProfile"] = losesAnswer })
		if err := h.reserve(t.Context(), jobs.Hand{}); err == nil {
			t.Fatal("the lost answer was not noticed")
		}
		waiting := h.profile(t, p)
		if waiting.Status != ProfileReserving || waiting.Settled() {
			t.Fatalf("it is %s", waiting.Status)
		}
		if err := h.Progress(t.Context(), []rsp.ProgressInfo{h.report(waiting, rsp.PointInstallation, nil)}); err != nil {
			t.Fatal(err)
		}
		h.yard.set(func(y *yard) { clear(y.silence) })
		h.clock.Forward(reserveLease)
		if err := h.reserve(t.Context(), jobs.Hand{}); err != nil {
			t.Fatal(err)
		}
		if got := statuses(t, h, p.SID); got != "new reserving available installed" {
			t.Errorf("events: %s", got)
		}
		if got := told(t, h, p.SID); got != "available installed" {
			t.Errorf("callbacks: %s", got)
		}
	})
}

func TestUnreachableSMDP(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.yard.set(func(y *yard) { y.silence["downloadOrder"] = losesCall })
		p, err := h.Reserve(t.Context(), Reservation{Account: h.account(t, ""), EID: testEID})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.reserve(t.Context(), jobs.Hand{}); err == nil {
				t.Fatal("silence was taken for an answer")
			}
			if p = h.profile(t, p); p.Status != ProfileReserving {
				t.Fatalf("it is %s after silence", p.Status)
			}
			h.clock.Forward(reservePatience/2 + time.Minute)
		}
		if err := h.reserve(t.Context(), jobs.Hand{}); err == nil {
			t.Fatal("silence was taken for an answer")
		}
		if p = h.profile(t, p); p.Status != ProfileFailed || p.ErrorCode != "83502" {
			t.Errorf("it is %s with code %q at the end of all patience", p.Status, p.ErrorCode)
		}
	})
}

// TestLostOrderGoesBack gives a profile back whose order was made, but whose
// answer never came.
func TestLostOrderGoesBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.yard.set(func(y *yard) { y.silence["downloadOrder"] = losesAnswer })
		if _, err := h.Reserve(t.Context(), Reservation{Account: h.account(t, ""), EID: testEID}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.reserve(t.Context(), jobs.Hand{}); err == nil {
				t.Fatal("silence was taken for an answer")
			}
			h.clock.Forward(reservePatience + time.Minute)
		}
		if s := h.yard.state(firstICCID); s != "ordered" {
			t.Fatalf("the profile is %s", s)
		}
		h.yard.set(func(y *yard) { clear(y.silence) })
		run(t, h, func() bool { return h.yard.state(firstICCID) == "cancelled" })
	})
}

// TestStrangersProgress passes over reports about profiles of other callers.
func TestStrangersProgress(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	report := h.report(Profile{ICCID: firstICCID}, rsp.PointDownload, nil)
	if err := h.Progress(t.Context(), []rsp.ProgressInfo{report}); err != nil {
		t.Error(err)
	}
}

// A warning about the installation says that the eUICC may try again: the
// reservation waits for the end.
func TestWarningIsNoEnd(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t))
	p, err := h.Reserve(t.Context(), Reservation{Account: h.account(t, ""), EID: testEID, Callback: Callback{URL: "https://hooks.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.reserve(t.Context(), jobs.Hand{}); err != nil {
		t.Fatal(err)
	}
	p = h.profile(t, p)
	warning := rsp.Refuse(rsp.EUICCFailed, "interrupted")
	warning.Status = rsp.WithWarning
	for _, r := range []rsp.ProgressInfo{
		h.report(p, rsp.PointDownload, nil), h.report(p, rsp.PointInstallation, warning), h.report(p, rsp.PointInstallation, nil),
	} {
		if err := h.Progress(t.Context(), []rsp.ProgressInfo{r}); err != nil {
			t.Fatal(err)
		}
		want := ProfileInstalled
		if r.Point == rsp.PointDownload || r.Status.Status == rsp.WithWarning {
			want = ProfileDownloaded
		}
		if got := h.profile(t, p).Status; got != want {
			t.Errorf("after point %d, %s, it is %s, want %s", r.Point, r.Status.Status, got, want)
		}
	}
}
