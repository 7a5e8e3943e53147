package usage

import (
	"net/netip"
	"strings"
	"time"

	"godwit/db"
	"godwit/ident"
)

// A Kind says what a report tells about a session.
type Kind int

// The kinds, by their numbers in Acct-Status-Type (RFC 2866, 5.1).
const (
	Start   Kind = 1
	Stop    Kind = 2
	Interim Kind = 3

	accountingOn  Kind = 7 // the reporter has begun anew
	accountingOff Kind = 8 // the reporter is about to end
)

// A Report is what a core network says about one data session. Counters are of
// the whole session until the report.
type Report struct {
	NAS        string // who reports, the same for all reports of a session
	Session    string // the session's name there
	Kind       Kind
	Subscriber Subscriber
	At         time.Time // when it was made
	Exact      bool      // At was told by the reporter, not taken from the report's arrival
	Seconds    int64     // duration of the session until then, -1 if not told
	Upload     int64     // octets from the device
	Download   int64     // octets to the device
	Wide       bool      // the counters have more than 32 bits, as told
	Network    ident.PLMN
	Addresses  []netip.Addr // of the device
}

// A session is what the reports of one session have come to. Its counters are
// the highest that any report had. As a session's counters only grow, the sum of
// all growth is right as soon as the last report has arrived once: it does not
// matter which of the others were lost, came twice or came late.
type session struct {
	SIM       string
	Seconds   int64
	Upload    int64
	Download  int64
	Wide      bool
	Open      bool
	Restarted bool // its reporter has begun anew since it began
	BeganAt   time.Time
	LastAt    time.Time
	Addresses []netip.Addr
	held      []netip.Addr // those by which its device is found, as they are stored
}

// fresh is a session of which nothing is known yet.
func fresh(sid string, r Report) session {
	return session{SIM: sid, Seconds: -1, Open: true, BeganAt: r.began()}
}

// holds are the addresses by which its device is to be found.
func (s session) holds() []netip.Addr {
	if !s.Open {
		return nil
	}
	return s.Addresses
}

// began is when the session of a report began, as far as it tells.
func (r Report) began() time.Time {
	if r.Seconds > 0 {
		return r.At.Add(-time.Duration(r.Seconds) * time.Second)
	}
	return r.At
}

// reuses reports whether r is of another session under the name of s: of one
// that began after all that is known of s. Its Start tells that, and where that
// was lost the duration in a later report does; s need not have ended, for its
// Stop may be lost as well. A reporter whose clock is not known can tell it only
// after it has begun anew: before that, what looks like a new session may be an
// old report that comes late, and counting that again would be wrong.
func (s session) reuses(r Report) bool {
	told := r.Exact || s.Restarted
	switch {
	case !told || !r.began().After(s.LastAt):
		return false
	case r.Kind == Start:
		return true
	case r.Seconds < 0:
		return false // nothing tells when it began
	}
	// Durations are rounded, and some leave out pauses: of a session that has not
	// been seen to end only a shorter one is another's.
	return r.Exact && !s.Open || r.Seconds < s.Seconds
}

// take returns the session after a report, and how much it has grown.
func (s session) take(r Report) (next session, up, down int64) {
	if r.Exact && r.At.Before(s.BeganAt) {
		return s, 0, 0 // of an earlier session with this name, or lower than what is known
	}
	next = s
	newer := r.At.After(s.LastAt)
	if newer {
		next.LastAt = r.At
		if len(r.Addresses) > 0 {
			next.Addresses = r.Addresses
		}
	}
	if r.Kind == Stop {
		next.Open = false
	}
	next.Wide = s.Wide || r.Wide
	next.Seconds = max(s.Seconds, r.Seconds)
	next.Upload = s.counter(s.Upload, r.Upload, r)
	next.Download = s.counter(s.Download, r.Download, r)
	return next, next.Upload - s.Upload, next.Download - s.Download
}

// counter returns a counter after a report.
//
// Some reporters count 32 bits and begin anew at 4 GiB without saying so (RFC
// 2869, 5.1 has the attribute with which to say it). For them the session's
// duration tells whether a lower counter is an older one or one that has begun
// anew; a report that is older than what is known is then of no use.
func (s session) counter(known, told int64, r Report) int64 {
	const wrap = 1 << 32
	if s.Wide || r.Wide || r.Seconds < 0 || s.Seconds < 0 {
		return max(known, told)
	}
	if r.Seconds < s.Seconds {
		return known
	}
	told += known &^ (wrap - 1)
	if told < known && r.Seconds > s.Seconds {
		told += wrap
	}
	return max(known, told)
}

const sessionColumns = `sim_sid, seconds, upload, download, wide, addresses, is_open, began_at, last_at`

func scanSession(r db.Row) (session, error) {
	var s session
	var addresses string
	var began, last, restarted int64
	err := r.Scan(&s.SIM, &s.Seconds, &s.Upload, &s.Download, &s.Wide, &addresses, &s.Open, &began, &last, &restarted)
	s.BeganAt, s.LastAt, s.Restarted = db.Time(began), db.Time(last), restarted >= began
	s.Addresses = parseAddresses(addresses)
	s.held = s.holds()
	return s, err
}

// parseAddresses reads what joinAddresses wrote.
func parseAddresses(text string) []netip.Addr {
	var all []netip.Addr
	for one := range strings.FieldsSeq(text) {
		if a, err := netip.ParseAddr(one); err == nil {
			all = append(all, a)
		}
	}
	return all
}

func joinAddresses(all []netip.Addr) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}
