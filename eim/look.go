package eim

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"godwit/db"
	"godwit/ident"
)

// A sight is what a poll needs to know of an eUICC.
type sight struct {
	found   bool
	active  bool
	listDue int64
	octets  []byte        // of the package under way
	until   sql.NullInt64 // when its task is given up
	due     sql.NullInt64 // when the next task may go out
}

const sightSQL = `select e.eid, e.active, e.list_due_at, p.octets,
		(select t.until_at from eim_task t where t.id = p.task),
		(select min(t.due_at) from eim_task t where t.eid = e.eid and t.stage = 'queued' and (e.contacted or t.urgency = 0))
	from eim_euicc e left join eim_package p on p.eid = e.eid where e.eid `

func (v *sight) targets(eid *ident.EID) []any {
	return []any{eid, &v.active, &v.listDue, &v.octets, &v.until, &v.due}
}

// look reads what there is to do for an eUICC. On PostgreSQL, polls that come
// at once share a statement: the way to the server costs more than the row.
func (s *Server) look(ctx context.Context, eid ident.EID) (v sight, err error) {
	if s.db.Postgres() {
		return s.looks.ask(ctx, s.db, eid)
	}
	var same ident.EID
	err = s.db.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, sightSQL+`= $1`, string(eid)).Scan(v.targets(&same)...)
	})
	v.found = err == nil
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return v, err
}

// looks gathers polls. Each is read by a statement that begins after it came,
// so it sees all that was committed before.
type looks struct {
	mu      sync.Mutex
	waiting []*asked
	running int
}

type asked struct {
	eid  ident.EID
	done chan struct{}
	v    sight
	err  error
}

const (
	looksAtOnce = 2   // statements under way
	looksMost   = 128 // polls of one statement
	lookTime    = 10 * time.Second
)

func (l *looks) ask(ctx context.Context, d *db.DB, eid ident.EID) (sight, error) {
	a := &asked{eid: eid, done: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, a)
	if l.running < looksAtOnce {
		l.running++
		go l.work(context.WithoutCancel(ctx), d)
	}
	l.mu.Unlock()
	select {
	case <-a.done:
		return a.v, a.err
	case <-ctx.Done():
		return sight{}, ctx.Err()
	}
}

// work reads until nobody waits.
func (l *looks) work(ctx context.Context, d *db.DB) {
	for {
		l.mu.Lock()
		n := min(len(l.waiting), looksMost)
		batch := l.waiting[:n:n]
		l.waiting = l.waiting[n:]
		if n == 0 {
			l.running--
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		read(ctx, d, batch)
		for _, a := range batch {
			close(a.done)
		}
	}
}

func read(ctx context.Context, d *db.DB, batch []*asked) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	// Few lengths of the list, so that few statements are prepared.
	size := 1
	for size < len(batch) {
		size *= 2
	}
	args := make([]any, size)
	var list strings.Builder
	for i := range args {
		args[i] = string(batch[min(i, len(batch)-1)].eid)
		if i > 0 {
			list.WriteString(", ")
		}
		fmt.Fprintf(&list, "$%d", i+1)
	}
	found := make(map[ident.EID]sight, len(batch))
	err := d.Read(ctx, func(q db.Query) error {
		rows, err := q.QueryContext(ctx, sightSQL+`in (`+list.String()+`)`, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v := sight{found: true}
			var eid ident.EID
			if err := rows.Scan(v.targets(&eid)...); err != nil {
				return err
			}
			found[eid] = v
		}
		return rows.Err()
	})
	for _, a := range batch {
		a.v, a.err = found[a.eid], err
	}
}
