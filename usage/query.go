package usage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/sim"
)

// A Group is by what usage records are told apart. The zero value is by nothing.
type Group string

// The groups.
const (
	BySIM     Group = "sim"
	ByFleet   Group = "fleet"
	ByNetwork Group = "network"
	ByCountry Group = "isoCountry"
)

// Groups lists them all.
var Groups = []Group{BySIM, ByFleet, ByNetwork, ByCountry}

// A Granularity is how long the periods of usage records are.
type Granularity string

// The granularities.
const (
	Hourly Granularity = "hour"
	Daily  Granularity = "day"
	Whole  Granularity = "all" // one period
)

// Granularities lists them all.
var Granularities = []Granularity{Hourly, Daily, Whole}

// Codes of the vendors' catalogue for usage records.
const (
	CodeInvalid     = 83600
	CodeNotMidnight = 83601
	CodeNotHour     = 83602
	CodeSimsTooLong = 83603
	CodeTooLong     = 83604
	CodeTooEarly    = 83605
	monthsKept      = 18
	monthsOfDays    = 3
	longestHours    = 31 * 24 * time.Hour
	longestSims     = 31 * 24 * time.Hour
)

// A RecordFilter says which usage records to make. Empty members fit all; the
// defaults of the times are for [RecordFilter.complete].
type RecordFilter struct {
	SIM         string // SID or unique name
	Fleet       string // SID or unique name; the Fleet at the time of use
	Network     string // SID
	Country     string
	Group       Group
	Granularity Granularity
	Start, End  time.Time // zero for the default
}

// A Record is what was used in a period. Its members that name a thing are
// empty unless the filter or the group tells it.
type Record struct {
	SIM, Fleet, Network, Country string
	Start, End                   time.Time
	Upload, Download             int64
}

// A Place is where a record stands in its list: newest first, then by what it
// is told apart by.
type Place struct {
	Start  int64 // in seconds
	Member string
}

// String writes the place for a page token.
func (p Place) String() string { return strconv.FormatInt(p.Start, 10) + " " + p.Member }

// ParsePlace reads what [Place.String] wrote.
func ParsePlace(text string) (Place, error) {
	at, member, ok := strings.Cut(text, " ")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || len(member) > 64 {
		return Place{}, fmt.Errorf("place %.80q in a list is not a number and a word", text)
	}
	return Place{n, member}, nil
}

func (p Place) compare(other Place) int {
	return cmp.Or(cmp.Compare(other.Start, p.Start), cmp.Compare(p.Member, other.Member))
}

// Place returns where the record stands in the list of its group.
func (r Record) Place(g Group) Place { return Place{r.Start.Unix(), r.member(g)} }

func (r Record) member(g Group) string {
	switch g {
	case BySIM:
		return r.SIM
	case ByFleet:
		return r.Fleet
	case ByNetwork:
		return r.Network
	case ByCountry:
		return r.Country
	}
	return ""
}

// A RecordPage is the part of a list that is asked for.
type RecordPage struct {
	Limit, Offset int
	After, Before *Place
}

func refuse(code int, field, format string, args ...any) error {
	return &fault.Error{Kind: fault.Invalid, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// complete fills in the times that were not given and refuses those that may
// not be.
func (f *RecordFilter) complete(now time.Time) error {
	explicitStart, explicitEnd := !f.Start.IsZero(), !f.End.IsZero()
	f.Start, f.End = f.Start.UTC(), f.End.UTC()
	if f.Granularity == "" {
		f.Granularity = Whole
	}
	if !explicitEnd {
		f.End = now.Truncate(time.Second)
		// The bucket that has begun is told of as a whole.
		switch f.Granularity {
		case Hourly:
			f.End = f.End.Truncate(time.Hour).Add(time.Hour)
		case Daily:
			f.End = f.End.Truncate(24*time.Hour).AddDate(0, 0, 1)
		}
	}
	if !explicitStart {
		f.Start = months(f.End, -1)
	}
	for _, one := range []struct {
		name     string
		at       time.Time
		explicit bool
	}{{"StartTime", f.Start, explicitStart}, {"EndTime", f.End, explicitEnd}} {
		if !one.explicit {
			continue
		}
		switch {
		case f.Granularity == Daily && !one.at.Equal(one.at.Truncate(24*time.Hour)):
			return refuse(CodeNotMidnight, one.name, "must be a midnight in UTC for Granularity day, not %s", one.at.Format(time.RFC3339))
		case f.Granularity == Hourly && !one.at.Equal(one.at.Truncate(time.Hour)):
			return refuse(CodeNotHour, one.name, "must be a full hour in UTC for Granularity hour, not %s", one.at.Format(time.RFC3339))
		}
	}
	if !f.Start.Before(f.End) {
		return refuse(CodeInvalid, "StartTime", "must be before EndTime; %s is not before %s", f.Start.Format(time.RFC3339), f.End.Format(time.RFC3339))
	}
	if first := months(now.Truncate(24*time.Hour), -monthsKept); f.Start.Before(first) {
		return refuse(CodeTooEarly, "StartTime", "must not be earlier than %d months before the start of today in UTC, which is %s", monthsKept, first.Format(time.RFC3339))
	}
	if f.Group == BySIM && f.End.Sub(f.Start) > longestSims {
		return refuse(CodeSimsTooLong, "Group", "sim allows at most 31 days from StartTime to EndTime, not %s", days(f.Start, f.End))
	}
	switch {
	case f.Granularity == Hourly && f.End.Sub(f.Start) > longestHours:
		return refuse(CodeTooLong, "Granularity", "hour allows at most 31 days from StartTime to EndTime, not %s", days(f.Start, f.End))
	case f.Granularity == Daily && f.End.After(months(f.Start, monthsOfDays)):
		return refuse(CodeTooLong, "Granularity", "day allows at most %d months from StartTime to EndTime, not %s", monthsOfDays, days(f.Start, f.End))
	// What begins today may end today: the limit is counted from the day's start.
	case f.Granularity == Whole && f.End.After(months(f.Start, monthsKept).AddDate(0, 0, 1)):
		return refuse(CodeTooLong, "Granularity", "all allows at most %d months from StartTime to EndTime, not %s", monthsKept, days(f.Start, f.End))
	}
	return nil
}

func days(from, to time.Time) string {
	return strconv.FormatFloat(to.Sub(from).Hours()/24, 'f', -1, 64) + " days"
}

// Complete returns the filter with the times that were left out, or refuses it.
// Whoever asks for a list page by page completes the filter once: its defaults
// go by the clock, and the pages are to be of one time.
func (s *Store) Complete(f RecordFilter) (RecordFilter, error) {
	err := f.complete(s.now())
	return f, err
}

// Records returns one page of an account's usage records, newest first, and
// whether more follow. A filter that names nothing finds nothing.
func (s *Store) Records(ctx context.Context, account string, f RecordFilter, p RecordPage) (list []Record, more bool, err error) {
	now := s.now()
	if err := f.complete(now); err != nil {
		return nil, false, err
	}
	err = s.DB.Snapshot(ctx, func(q db.Query) error {
		list, more = nil, false
		query := query{Query: q, filter: f, account: account}
		known, err := query.resolve(ctx, s)
		if err != nil || !known {
			return err
		}
		if f.Group == BySIM && query.sim == "" {
			list, more, err = query.bySim(ctx, p)
			return err
		}
		all, err := query.all(ctx)
		if err != nil {
			return err
		}
		list, more = cut(all, f.Group, p)
		return nil
	})
	return list, more, err
}

// cut returns a page of a list that is there as a whole.
func cut(all []Record, g Group, p RecordPage) (page []Record, more bool) {
	find := func(at Place) (int, bool) {
		return slices.BinarySearchFunc(all, at, func(r Record, at Place) int { return r.Place(g).compare(at) })
	}
	from := min(p.Offset, len(all))
	switch {
	case p.After != nil:
		n, found := find(*p.After)
		if from = n; found {
			from++
		}
	case p.Before != nil:
		n, _ := find(*p.Before)
		from = max(0, n-p.Limit)
		return all[from:n], n < len(all)
	}
	to := min(from+p.Limit, len(all))
	return all[from:to], to < len(all)
}

// A query is one question for usage records.
type query struct {
	db.Query
	filter  RecordFilter
	account string
	sim     string          // SID, if the filter names one
	subject int64           // whose counters to read, 0 for nobody's
	places  map[int64]place // that fit
	every   bool            // all places of the account do
}

// resolve looks up what the filter names. known is false where it names what
// is not there.
func (q *query) resolve(ctx context.Context, s *Store) (known bool, err error) {
	f := &q.filter
	if f.SIM != "" {
		one, err := s.Sims.Find(ctx, q, q.account, f.SIM)
		switch {
		case err == nil:
			q.sim = one.SID
		case fault.Is(err, fault.NotFound) && sim.IsSID(f.SIM, sim.SimPrefix):
			q.sim = sim.Canonical(f.SIM) // one that has moved away leaves its usage here
		case fault.Is(err, fault.NotFound):
			return false, nil
		default:
			return false, err
		}
	}
	if f.Fleet != "" {
		fleet, err := s.Sims.FindFleet(ctx, q, q.account, f.Fleet)
		if fault.Is(err, fault.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		f.Fleet = fleet.SID
	}
	if f.Network != "" {
		network, ok := s.Sims.Catalogue.Network(f.Network)
		if !ok {
			return false, nil
		}
		f.Network = network.SID
	}
	f.Country = strings.ToUpper(f.Country)
	if err := q.QueryRowContext(ctx, `select id from usage_subject where account_sid = $1 and sim_sid = $2`, q.account, q.sim).Scan(&q.subject); db.None(err) {
		// Nothing was used. Of a Sim that this account has, or had, that is an
		// answer.
		if q.sim == "" {
			return true, nil
		}
		_, err := s.Sims.Find(ctx, q, q.account, q.sim)
		if fault.Is(err, fault.NotFound) {
			return false, nil
		}
		return err == nil, err
	} else if err != nil {
		return false, fmt.Errorf("read subject of usage: %w", err)
	}
	return true, q.findPlaces(ctx)
}

func (q *query) findPlaces(ctx context.Context) error {
	rows, err := q.QueryContext(ctx, `select id, fleet_sid, network_sid, iso_country from usage_place where account_sid = $1`, q.account)
	if err != nil {
		return fmt.Errorf("read places of usage: %w", err)
	}
	defer rows.Close()
	q.places, q.every = map[int64]place{}, true
	for rows.Next() {
		var id int64
		p := place{Account: q.account}
		if err := rows.Scan(&id, &p.Fleet, &p.Network, &p.Country); err != nil {
			return fmt.Errorf("read places of usage: %w", err)
		}
		f := q.filter
		if f.Fleet != "" && f.Fleet != p.Fleet || f.Network != "" && f.Network != p.Network || f.Country != "" && f.Country != p.Country {
			q.every = false
			continue
		}
		q.places[id] = p
	}
	return rows.Err()
}

// record returns an empty record with what the filter names.
func (q *query) record(start, end time.Time) Record {
	return Record{SIM: q.sim, Fleet: q.filter.Fleet, Network: q.filter.Network, Country: q.filter.Country, Start: start, End: end}
}

// A span is a row of hours or of days.
type span struct {
	table, column string
	from, to      int64 // hours or days since 1970; to is exclusive
	of            func(int64) time.Time
	length        time.Duration
}

func hours(from, to int64) span { return span{"usage_hour", "hour", from, to, hourOf, time.Hour} }

func wholeDays(from, to int64) span {
	return span{"usage_day", "day", from, to, dayOf, 24 * time.Hour}
}

// spans returns where the counters of a time stand: whole days where there are
// any, hours at both ends. An hour counts if it begins within the time, so
// that times which follow each other share none.
func spans(f RecordFilter) []span {
	from, to := ceil(f.Start.Unix(), hour), ceil(f.End.Unix(), hour)
	switch f.Granularity {
	case Hourly:
		return []span{hours(from, to)}
	case Daily:
		return []span{wholeDays(from/24, to/24)}
	}
	first, last := ceil(from, 24), to/24
	if first >= last {
		return []span{hours(from, to)}
	}
	return []span{wholeDays(first, last), hours(from, first*24), hours(last*24, to)}
}

func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }

// all returns all records, for groups that are not too many.
func (q *query) all(ctx context.Context) ([]Record, error) {
	f := q.filter
	found := map[Place]*Record{}
	if f.Group == "" {
		// Without a group every period has a record, and be it of nothing.
		if f.Granularity == Whole {
			r := q.record(f.Start, f.End)
			found[r.Place("")] = &r
		} else {
			s := spans(f)[0]
			for at := s.from; at < s.to; at++ {
				r := q.record(s.of(at), s.of(at).Add(s.length))
				found[r.Place("")] = &r
			}
		}
	}
	if q.subject != 0 {
		for _, s := range spans(f) {
			if err := q.sum(ctx, s, found); err != nil {
				return nil, err
			}
		}
	}
	all := make([]Record, 0, len(found))
	for _, r := range found {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b Record) int { return a.Place(f.Group).compare(b.Place(f.Group)) })
	return all, nil
}

// sum adds the counters of a span to the records.
func (q *query) sum(ctx context.Context, s span, found map[Place]*Record) error {
	bucket := s.column
	if q.filter.Granularity == Whole {
		bucket = "0"
	}
	rows, err := q.QueryContext(ctx, `select `+bucket+`, place, sum(upload), sum(download) from `+s.table+`
		where subject = $1 and `+s.column+` >= $2 and `+s.column+` < $3 group by 1, 2`, q.subject, s.from, s.to)
	if err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var at, id, up, down int64
		if err := rows.Scan(&at, &id, &up, &down); err != nil {
			return fmt.Errorf("read counters: %w", err)
		}
		where, fits := q.places[id]
		if !fits {
			continue
		}
		start, end := q.filter.Start, q.filter.End
		if q.filter.Granularity != Whole {
			start, end = s.of(at), s.of(at).Add(s.length)
		}
		r := q.record(start, end)
		switch q.filter.Group {
		case ByFleet:
			r.Fleet = where.Fleet
		case ByNetwork:
			r.Network = where.Network
		case ByCountry:
			r.Country = where.Country
		}
		have, ok := found[r.Place(q.filter.Group)]
		if !ok {
			have = &r
			found[r.Place(q.filter.Group)] = have
		}
		have.Upload += up
		have.Download += down
	}
	return rows.Err()
}
