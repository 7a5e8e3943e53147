package usage

import (
	"testing"
	"time"
)

// A row of periods ends on the day of the month that it began on, or on the last
// of a month that has no such day, and comes back to it. All of it is UTC: hours
// that clocks of people skip or repeat are like others.
func TestMonths(t *testing.T) {
	for anchor, want := range map[string][]string{
		"2028-01-31T10:00:00Z":      {"2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z", "2028-04-30T10:00:00Z", "2028-05-31T10:00:00Z"},
		"2028-02-29T23:59:59Z":      {"2028-03-29T23:59:59Z", "2028-04-29T23:59:59Z"},
		"2028-11-29T00:00:00Z":      {"2028-12-29T00:00:00Z", "2029-01-29T00:00:00Z", "2029-02-28T00:00:00Z", "2029-03-29T00:00:00Z"},
		"2100-01-30T00:00:00Z":      {"2100-02-28T00:00:00Z", "2100-03-30T00:00:00Z"},
		"2026-12-31T23:59:59Z":      {"2027-01-31T23:59:59Z", "2027-02-28T23:59:59Z", "2027-03-31T23:59:59Z"},
		"2026-02-28T02:30:00Z":      {"2026-03-28T02:30:00Z", "2026-04-28T02:30:00Z"},
		"2026-09-25T00:30:00+02:00": {"2026-10-24T22:30:00Z", "2026-11-24T22:30:00Z"},
	} {
		began, err := time.Parse(time.RFC3339, anchor)
		if err != nil {
			t.Fatal(err)
		}
		began = began.UTC()
		start := began
		for _, end := range want {
			got := nextEnd(began, start)
			if got.Format(time.RFC3339) != end {
				t.Errorf("a row since %s has a period from %s to %s, want %s", anchor, start.Format(time.RFC3339), got.Format(time.RFC3339), end)
			}
			start = got
		}
	}
}
