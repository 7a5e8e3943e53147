package usage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"godwit/db"
)

// A fleet may have a hundred thousand Sims, and their records by the hour are
// more than anyone would hold at once. So this list is never made as a whole:
// each page reads the counters of its own Sims and periods.

// simsAtOnce is how many Sims one look at the counters takes: those of the
// longest page, and the one that tells whether another follows.
const simsAtOnce = 1001

// bySim returns a page of records that are told apart by Sim.
func (q *query) bySim(ctx context.Context, p RecordPage) (list []Record, more bool, err error) {
	if q.subject == 0 || len(q.places) == 0 {
		return nil, false, nil
	}
	w := walk{query: q, need: p.Limit + 1, skip: p.Offset, from: p.After}
	if p.Before != nil {
		w.back, w.from, w.need = true, p.Before, p.Limit
	}
	if q.filter.Granularity == Whole {
		err = w.whole(ctx)
	} else {
		err = w.buckets(ctx)
	}
	if err != nil {
		return nil, false, err
	}
	if w.back {
		slices.Reverse(w.list)
		return w.list, len(w.list) > 0, nil // the page that was come from follows
	}
	if len(w.list) > p.Limit {
		return w.list[:p.Limit], true, nil
	}
	return w.list, false, nil
}

// A walk goes through records from one place on, in the order of the list or
// against it, until it has as many as it needs.
type walk struct {
	*query
	from *Place
	back bool
	skip int // records to pass over first; they are not kept
	need int
	list []Record
}

func (w *walk) add(r Record) {
	switch {
	case w.skip > 0:
		w.skip--
	case len(w.list) < w.need:
		w.list = append(w.list, r)
	}
}

// order returns the words for "further on" and for sorting.
func (w *walk) order() (beyond, sorting string) {
	if w.back {
		return "<", "desc"
	}
	return ">", "asc"
}

// start is where the walk begins among the Sims of a period.
func (w *walk) start(member string) string {
	if member == "" && w.back {
		return "~" // after all SIDs
	}
	return member
}

// whole walks through the Sims of the one period there is.
func (w *walk) whole(ctx context.Context) error {
	beyond, sorting := w.order()
	at := ""
	if w.from != nil {
		at = w.from.Member
	}
	at = w.start(at)
	for len(w.list) < w.need {
		sims, err := w.sims(ctx, `select id, sim_sid from usage_subject where account_sid = $1 and sim_sid <> '' and sim_sid `+beyond+` $2
			order by sim_sid `+sorting+` limit `+strconv.Itoa(simsAtOnce), w.account, at)
		if err != nil || len(sims) == 0 {
			return err
		}
		totals := map[int64]amount{}
		for _, s := range spans(w.filter) {
			if err := w.totals(ctx, s, sims, totals); err != nil {
				return err
			}
		}
		for _, one := range sims {
			at = one.sid
			if a := totals[one.id]; a != (amount{}) {
				r := w.record(w.filter.Start, w.filter.End)
				r.SIM, r.Upload, r.Download = one.sid, a.up, a.down
				w.add(r)
			}
		}
		if len(sims) < simsAtOnce {
			return nil
		}
	}
	return nil
}

type numbered struct {
	id  int64
	sid string
}

func (w *walk) sims(ctx context.Context, text string, args ...any) ([]numbered, error) {
	all, err := db.All(ctx, w, func(r db.Row) (one numbered, err error) {
		err = r.Scan(&one.id, &one.sid)
		return one, err
	}, text, args...)
	if err != nil {
		return nil, fmt.Errorf("read the Sims of usage: %w", err)
	}
	return all, nil
}

// totals adds what Sims used in a span.
func (w *walk) totals(ctx context.Context, s span, sims []numbered, totals map[int64]amount) error {
	if s.from >= s.to {
		return nil
	}
	numbers := make([]string, len(sims))
	for i, one := range sims {
		numbers[i] = strconv.FormatInt(one.id, 10)
	}
	rows, err := w.QueryContext(ctx, `select subject, sum(upload), sum(download) from `+s.table+`
		where subject in (`+strings.Join(numbers, ", ")+`) and `+s.column+` >= $1 and `+s.column+` < $2`+w.within()+` group by subject`, s.from, s.to)
	if err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var a amount
		if err := rows.Scan(&id, &a.up, &a.down); err != nil {
			return fmt.Errorf("read counters: %w", err)
		}
		totals[id] = amount{totals[id].up + a.up, totals[id].down + a.down}
	}
	return rows.Err()
}

// within is the condition on places, if there is one.
func (q *query) within() string {
	if q.every {
		return ""
	}
	return ` and +` + q.anyPlace() // by subject: the index of places would read those of all other Sims, too
}

func (q *query) anyPlace() string {
	var numbers []string
	for _, id := range slices.Sorted(maps.Keys(q.places)) {
		numbers = append(numbers, strconv.FormatInt(id, 10))
	}
	return `place in (` + strings.Join(numbers, ", ") + `)`
}

// buckets walks through the hours or days, and through the Sims of each.
func (w *walk) buckets(ctx context.Context) error {
	s := spans(w.filter)[0]
	used, err := w.used(ctx, s)
	if err != nil {
		return err
	}
	beyond, sorting := w.order()
	for _, bucket := range used {
		at := w.start("")
		if w.from != nil {
			there := w.from.Start
			here := s.of(bucket).Unix()
			if here == there {
				at = w.from.Member
			} else if (here > there) != w.back {
				continue
			}
		}
		rows, err := w.QueryContext(ctx, `select u.sim_sid, sum(c.upload), sum(c.download) from `+s.table+` c join usage_subject u on u.id = c.subject
			where c.`+w.anyPlace()+` and c.`+s.column+` = $1 and u.sim_sid <> '' and u.sim_sid `+beyond+` $2
			group by u.sim_sid order by u.sim_sid `+sorting+` limit `+strconv.Itoa(w.skip+w.need-len(w.list)), bucket, at)
		if err != nil {
			return fmt.Errorf("read counters by Sim: %w", err)
		}
		for rows.Next() {
			r := w.record(s.of(bucket), s.of(bucket).Add(s.length))
			if err := rows.Scan(&r.SIM, &r.Upload, &r.Download); err != nil {
				rows.Close()
				return fmt.Errorf("read counters by Sim: %w", err)
			}
			w.add(r)
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return fmt.Errorf("read counters by Sim: %w", err)
		}
		if len(w.list) >= w.need {
			return nil
		}
	}
	return nil
}

// used returns the hours or days in which the account used anything, in the
// order of the walk. The account's own counters tell it.
func (w *walk) used(ctx context.Context, s span) ([]int64, error) {
	sorting := "desc"
	if w.back {
		sorting = "asc"
	}
	all, err := db.All(ctx, w, db.Only[int64], `select distinct `+s.column+` from `+s.table+` where subject = $1 and `+s.column+` >= $2 and `+s.column+` < $3`+
		w.within()+` order by 1 `+sorting, w.subject, s.from, s.to)
	if err != nil {
		return nil, fmt.Errorf("read when anything was used: %w", err)
	}
	return all, nil
}
