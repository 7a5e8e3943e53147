package usage

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"

	"pgregory.net/rapid"
)

// nextCase sets the cases apart that share a database.
var nextCase atomic.Int64

// A story is a session as it was, told by reports.
type story struct {
	reports  []Report
	up, down int64
}

// drawStory makes a session. Narrow reporters begin anew at 4 GiB.
func drawStory(rt *rapid.T, name string, begin time.Time) story {
	wide := rapid.Bool().Draw(rt, "wide")
	exact := rapid.Bool().Draw(rt, "exact")
	// A narrow counter tells no more than one turn from one report to the next.
	most := int64(1) << 40
	if !wide {
		most = 1<<32 - 1
	}
	s := story{}
	n := rapid.IntRange(0, 6).Draw(rt, "interims")
	for i := range n + 2 {
		kind, seconds := Interim, int64(i*600)
		switch i {
		case 0:
			kind = Start
		case n + 1:
			kind = Stop
		}
		if i > 0 {
			s.up += rapid.Int64Range(0, most).Draw(rt, "up")
			s.down += rapid.Int64Range(0, most).Draw(rt, "down")
		}
		r := Report{
			NAS: "gw", Session: name, Kind: kind, Subscriber: Subscriber{IMSI: "999700000000001"},
			At: begin.Add(time.Duration(seconds) * time.Second), Exact: exact, Seconds: seconds, Upload: s.up, Download: s.down, Wide: wide && i > 0,
		}
		if !wide {
			r.Upload, r.Download = s.up%(1<<32), s.down%(1<<32)
		}
		s.reports = append(s.reports, r)
	}
	return s
}

// TestSessionAlgebra: whatever becomes of the reports on their way, once the
// stop has arrived the sum is right. Reports are doubled, shuffled, and all but
// the stop may be lost; only narrow counters need theirs, for nothing else tells
// how often they have begun anew.
func TestSessionAlgebra(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt, "s", time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
		narrow := !s.reports[len(s.reports)-1].Wide
		var arrive []Report
		for i, r := range s.reports {
			copies := rapid.IntRange(0, 3).Draw(rt, "copies")
			if i == len(s.reports)-1 || narrow {
				copies = max(1, copies)
			}
			for range copies {
				arrive = append(arrive, r)
			}
		}
		if narrow {
			// In order, but for copies of earlier ones that come late.
			for range rapid.IntRange(0, 4).Draw(rt, "late") {
				i := rapid.IntRange(0, len(arrive)-1).Draw(rt, "which")
				arrive = slices.Insert(arrive, rapid.IntRange(i, len(arrive)).Draw(rt, "where"), arrive[i])
			}
		} else {
			arrive = rapid.Permutation(arrive).Draw(rt, "order")
		}
		have, up, down := fresh("HS", arrive[0]), int64(0), int64(0)
		for _, r := range arrive {
			next, u, d := have.take(r)
			if u < 0 || d < 0 || next.Upload < have.Upload || next.Download < have.Download {
				rt.Fatalf("a counter shrank: %+v to %+v", have, next)
			}
			have, up, down = next, up+u, down+d
		}
		if up != s.up || down != s.down || have.Open {
			rt.Fatalf("counted %d up and %d down of %d and %d, open: %v", up, down, s.up, s.down, have.Open)
		}
	})
}

// TestRecordAlgebra is the same through the database, several sessions at a
// time and in several transactions; one session's name is used twice.
func TestRecordAlgebra(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		one := h.sim(t, h.fleet(t, 2_000_000), "")
		rapid.Check(t, func(rt *rapid.T) {
			var all []Report
			upBefore, downBefore := h.total(t, RecordFilter{SIM: one.SID})
			var up, down int64
			base := nextCase.Add(1)
			for i := range rapid.IntRange(1, 3).Draw(rt, "sessions") {
				s := drawStory(rt, fmt.Sprint("s", base, "-", i), h.clock.Now().Add(-3*time.Hour))
				up, down = up+s.up, down+s.down
				all = append(all, s.reports...)
				if !s.reports[len(s.reports)-1].Wide {
					continue // order matters to these
				}
				again := rapid.SliceOfN(rapid.SampledFrom(s.reports), 0, 4).Draw(rt, "again")
				all = append(all, again...)
				all = append(all, s.reports[len(s.reports)-1])
			}
			for chunk := range slices.Chunk(all, rapid.IntRange(1, 7).Draw(rt, "at a time")) {
				unknown, err := h.Record(t.Context(), chunk)
				if err != nil || unknown != 0 {
					rt.Fatalf("%d unknown, %v", unknown, err)
				}
			}
			upAfter, downAfter := h.total(t, RecordFilter{SIM: one.SID})
			if upAfter-upBefore != up || downAfter-downBefore != down {
				rt.Fatalf("counted %d up and %d down, want %d and %d", upAfter-upBefore, downAfter-downBefore, up, down)
			}
			accountUp, accountDown := h.total(t, RecordFilter{})
			if accountUp != upAfter || accountDown != downAfter {
				rt.Fatalf("the account's sum is %d and %d, its only Sim's %d and %d", accountUp, accountDown, upAfter, downAfter)
			}
		})
	})
}

// TestSessionNameUsedAgain: a gateway that begins to count its sessions anew is
// understood, and a late copy of the first Start is not taken for one.
func TestSessionNameUsedAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		one := h.sim(t, h.fleet(t, 1000), "")
		at := h.clock.Now().Add(-2 * time.Hour)
		report := func(kind Kind, minutes int, up int64) Report {
			return Report{
				NAS: "gw", Session: "1", Kind: kind, Subscriber: Subscriber{MSISDN: "499100000001"},
				At: at.Add(time.Duration(minutes) * time.Minute), Exact: true, Seconds: -1, Upload: up,
			}
		}
		start, stop := report(Start, 0, 0), report(Stop, 10, 500)
		for _, r := range []Report{start, stop, start, stop, report(Start, 20, 0), report(Interim, 30, 70), stop, report(Stop, 40, 100)} {
			if unknown, err := h.Record(t.Context(), []Report{r}); err != nil || unknown != 0 {
				t.Fatal(unknown, err)
			}
		}
		if up, _ := h.total(t, RecordFilter{SIM: one.SID}); up != 600 {
			t.Errorf("counted %d, want 600", up)
		}
		if unknown, err := h.Record(t.Context(), []Report{{NAS: "gw", Session: "2", Kind: Start, Subscriber: Subscriber{IMSI: "001010000000001"}, At: at, Seconds: -1}}); err != nil || unknown != 1 {
			t.Errorf("a stranger: %d unknown, %v", unknown, err)
		}
	})
}

// TestReporterBegunAnew: a gateway that restarts forgets its sessions and gives
// their names again, whatever of its reports is lost.
func TestReporterBegunAnew(t *testing.T) {
	const on = accountingOn
	for _, tt := range []struct {
		name  string
		exact bool
		// kind, minute of the report, duration in minutes, octets
		told [][4]int
		want int64
	}{
		{"with all reports", false, [][4]int{{int(Start), 0, 0, 0}, {int(Interim), 10, 10, 500}, {int(on), 15, 0, 0}, {int(Start), 20, 0, 0}, {int(Interim), 25, 5, 70}, {int(Stop), 30, 10, 100}}, 600},
		{"and a copy from before", false, [][4]int{{int(Start), 0, 0, 0}, {int(Stop), 10, 10, 500}, {int(on), 15, 0, 0}, {int(Stop), 16, 10, 500}, {int(Start), 20, 0, 0}, {int(Stop), 30, 10, 100}}, 600},
		{"and the first start is lost", false, [][4]int{{int(Interim), 10, 10, 500}, {int(on), 15, 0, 0}, {int(Interim), 25, 5, 70}, {int(Stop), 30, 10, 100}}, 600},
		{"and stops come after it", false, [][4]int{{int(Interim), 10, 10, 500}, {int(on), 15, 0, 0}, {int(Stop), 15, 15, 700}, {int(Stop), 15, 15, 700}}, 700},
		{"and that is lost, clock told", true, [][4]int{{int(Start), 0, 0, 0}, {int(Interim), 10, 10, 500}, {int(Start), 20, 0, 0}, {int(Interim), 25, 5, 70}, {int(Stop), 30, 10, 100}}, 600},
		{"and that and the start are lost, clock told", true, [][4]int{{int(Start), 0, 0, 0}, {int(Interim), 10, 10, 500}, {int(Interim), 25, 5, 70}, {int(Stop), 30, 10, 100}}, 600},
		{"the start after a stop is lost, clock told", true, [][4]int{{int(Start), 0, 0, 0}, {int(Stop), 10, 10, 500}, {int(Interim), 45, 30, 700}, {int(Interim), 5, 5, 300}}, 1200},
		{"a start that comes late is none, clock told", true, [][4]int{{int(Interim), 10, 10, 500}, {int(Start), 0, 0, 0}, {int(Stop), 30, 30, 600}, {int(Start), 0, 0, 0}}, 600},
		{"a start that comes late is none", false, [][4]int{{int(Interim), 10, 10, 500}, {int(Start), 12, 0, 0}, {int(Stop), 30, 30, 600}, {int(Start), 40, 0, 0}, {int(Stop), 41, 30, 600}}, 600},
		{"without a stop", true, [][4]int{{int(Start), 0, 0, 0}, {int(Interim), 10, 10, 500}, {int(Interim), 50, 50, 900}}, 900},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				h := newHouse(t, d)
				one := h.sim(t, h.fleet(t, 1000), "")
				begin := h.clock.Now().Add(-2 * time.Hour)
				for _, r := range tt.told {
					at := begin.Add(time.Duration(r[1]) * time.Minute)
					if Kind(r[0]) == on {
						check(t, h.Restarted(t.Context(), "gw", at))
						continue
					}
					unknown, err := h.Record(t.Context(), []Report{{
						NAS: "gw", Session: "1", Kind: Kind(r[0]), Subscriber: Subscriber{MSISDN: "499100000001"},
						At: at, Exact: tt.exact, Seconds: int64(r[2]) * 60, Upload: int64(r[3]),
					}})
					if err != nil || unknown != 0 {
						t.Fatal(unknown, err)
					}
				}
				if up, _ := h.total(t, RecordFilter{SIM: one.SID}); up != tt.want {
					t.Errorf("counted %d, want %d", up, tt.want)
				}
			})
		})
	}
}

// TestHourOfUse: what was used counts in the hour before the report.
func TestHourOfUse(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		one := h.sim(t, h.fleet(t, 1000), "")
		full := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
		_, err := h.Record(t.Context(), []Report{
			{NAS: "gw", Session: "1", Kind: Interim, Subscriber: Subscriber{ICCID: one.ICCID}, At: full, Exact: true, Seconds: 600, Upload: 5},
			{NAS: "gw", Session: "2", Kind: Interim, Subscriber: Subscriber{ICCID: one.ICCID}, At: full.AddDate(-3, 0, 0), Exact: true, Seconds: 600, Upload: 7},
		})
		check(t, err)
		list, _, err := h.Records(t.Context(), h.account, RecordFilter{Granularity: Hourly, Group: BySIM}, RecordPage{Limit: 10})
		check(t, err)
		got := ""
		for _, r := range list {
			got += fmt.Sprint(r.Start.Format("15:04 "), r.SIM == one.SID, " ", r.Upload, "; ")
		}
		if want := "09:00 true 7; 08:00 true 5; "; got != want {
			t.Errorf("got %s, want %s (a clock that is years off counts for nothing)", got, want)
		}
	})
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		name    string
		have    session
		report  Report
		upwards int64
	}{
		{"begun anew", session{Seconds: 60, Upload: 1<<32 - 10}, Report{Seconds: 90, Upload: 5}, 15},
		{"begun anew for the second time", session{Seconds: 60, Upload: 2<<32 - 10}, Report{Seconds: 90, Upload: 5}, 15},
		{"an old one", session{Seconds: 60, Upload: 1<<32 + 10}, Report{Seconds: 30, Upload: 1<<32 - 10}, 0},
		{"the same again", session{Seconds: 60, Upload: 1<<32 + 10}, Report{Seconds: 60, Upload: 10}, 0},
		{"the gateway says so itself", session{Seconds: 60, Upload: 1<<32 - 10}, Report{Seconds: 90, Upload: 1<<32 + 5, Wide: true}, 15},
		{"no duration, no guess", session{Seconds: -1, Upload: 1<<32 - 10}, Report{Seconds: -1, Upload: 5}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, up, _ := tt.have.take(tt.report); up != tt.upwards {
				t.Errorf("grew by %d, want %d", up, tt.upwards)
			}
		})
	}
}
