package monitor

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"godwit/db"
	"godwit/event"
)

// One node leads: it delivers for all monitors. The lease says until when; who
// does not renew it in time stops, and another takes over. A leader that stopped
// too late moves no place any more, for each is moved from where it was.

// pusher is what wakes the leader of this process.
type pusher struct {
	once    sync.Once
	changed chan struct{} // a monitor was made, changed or removed
	places  chan struct{} // for requests under way
}

const (
	usualLease = 15 * time.Second
	concurrent = 256 // requests under way at a time
	// apart is how far the clocks of two nodes may be apart. A lease that ends
	// later is from before a clock was put back.
	apart = 5 * time.Minute
)

func (s *Store) pusherOf() *pusher {
	s.once.Do(func() { s.changed, s.places = make(chan struct{}, 1), make(chan struct{}, concurrent) })
	return &s.pusher
}

// look has the leader look at the monitors, if it is in this process.
func (s *Store) look() {
	select {
	case s.pusherOf().changed <- struct{}{}:
	default:
	}
}

func (s *Store) lease() time.Duration { return cmp.Or(s.Lease, usualLease) }

// Run delivers, as long as this node leads, until ctx is over.
func (s *Store) Run(ctx context.Context) error {
	me := rand.Text()
	defer s.retire(context.WithoutCancel(ctx), me)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		until, err := s.hold(ctx, me)
		if err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "monitors: cannot ask who leads", "err", err)
		}
		if err == nil && !until.IsZero() {
			s.lead(ctx, me, until)
		}
		timer.Reset(s.lease() / 3)
	}
}

// hold takes the lease or renews it, and returns until when it is; the zero time
// if another has it. On SQLite one server runs at a time, and leads.
func (s *Store) hold(ctx context.Context, me string) (until time.Time, err error) {
	now := time.Now()
	until = now.Add(s.lease())
	if !s.DB.Postgres() {
		return until, nil
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		var holder string
		return tx.QueryRowContext(ctx, `insert into monitor_lead (one, holder, leads_until) values (true, $1, $2)
			on conflict (one) do update set holder = $1, leads_until = $2
			where monitor_lead.holder = $1 or monitor_lead.leads_until < $3 or monitor_lead.leads_until > $4 returning holder`,
			me, until.UnixMicro(), now.UnixMicro(), until.Add(apart).UnixMicro()).Scan(&holder)
	})
	if db.None(err) {
		return time.Time{}, nil
	}
	return until, err
}

// retire gives the lease back.
func (s *Store) retire(ctx context.Context, me string) {
	if !s.DB.Postgres() {
		return
	}
	if err := s.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `update monitor_lead set leads_until = 0 where holder = $1`, me)
		return err
	}); err != nil {
		slog.WarnContext(ctx, "monitors: cannot give the lead back", "err", err)
	}
}

// A crew is the workers of a leader, one for each monitor whose documents are
// sent.
type crew struct {
	s       *Store
	all     sync.WaitGroup
	workers map[int64]*worker
	feed    <-chan event.Event // what may concern one of them; nil while there is none
	stop    context.CancelFunc // of the feed
}

// lead delivers until the lease is over.
func (s *Store) lead(ctx context.Context, me string, until time.Time) {
	ctx, lapse := context.WithCancel(ctx)
	defer lapse()
	over := time.AfterFunc(time.Until(until), lapse)
	defer over.Stop()
	c := &crew{s: s, workers: map[int64]*worker{}}
	defer c.all.Wait()
	defer lapse()
	changed := s.pusherOf().changed
	renew := time.NewTicker(s.lease() / 3)
	defer renew.Stop()
	c.reload(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-c.feed:
			if !ok {
				return
			}
			c.tell(e)
		case <-changed:
			c.reload(ctx)
		case <-renew.C:
			until, err := s.hold(ctx, me)
			switch {
			case err != nil && ctx.Err() == nil:
				slog.WarnContext(ctx, "monitors: cannot renew the lead", "err", err)
			case until.IsZero():
				return // another leads
			default:
				over.Reset(time.Until(until))
			}
			c.reload(ctx)
		}
	}
}

// tell wakes those whom an event may concern.
func (c *crew) tell(e event.Event) {
	topic, key, ok := c.s.Source.About(e)
	if !ok {
		return
	}
	for _, w := range c.workers {
		if w.of.Account == e.Account && w.of.wants(topic, key) {
			w.wakeUp()
		}
	}
}

// reload makes the workers those of the monitors that there are.
func (c *crew) reload(ctx context.Context) {
	monitors, err := c.s.pushed(ctx)
	if err != nil {
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "monitors: cannot read them", "err", err)
		}
		return
	}
	for id, w := range c.workers {
		if m, there := monitors[id]; !there {
			if w.stop(); w.over() {
				delete(c.workers, id)
			}
		} else if m.version != w.of.version || w.over() {
			w.stop()
		}
	}
	// The feed begins before the workers look for themselves, so that nothing
	// falls between.
	switch {
	case len(monitors) > 0 && c.feed == nil:
		feeding, stop := context.WithCancel(ctx)
		feed, err := c.s.Events.Subscribe(feeding, event.Filter{Kinds: c.s.kinds(c.s.Source.Topics())}, 0)
		if err != nil {
			stop()
			slog.WarnContext(ctx, "monitors: cannot follow the events", "err", err)
			return
		}
		c.feed, c.stop = feed, stop
	case len(monitors) == 0 && c.feed != nil:
		c.stop()
		c.feed = nil
	}
	for id, m := range monitors {
		if w := c.workers[id]; w == nil || w.of.version != m.version || w.over() {
			c.start(ctx, m, w)
		}
	}
}

// start has a new worker take over from the one before, when that has ended.
func (c *crew) start(ctx context.Context, m Monitor, before *worker) {
	ctx, stop := context.WithCancel(ctx)
	w := &worker{s: c.s, of: m, stop: stop, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	c.workers[m.ID] = w
	c.all.Go(func() {
		defer close(w.ended)
		defer stop()
		if before != nil {
			<-before.ended
		}
		now, err := c.s.load(ctx, m.ID)
		if err != nil || now.version != m.version {
			if err != nil && ctx.Err() == nil && !db.None(err) {
				slog.WarnContext(ctx, "monitors: cannot read one", "monitor", m.ID, "err", err)
			}
			return // the next look finds it as it is
		}
		w.monitor, w.scanned = now, now.place
		w.run(ctx)
	})
}

// pushed returns the monitors whose documents are to be sent, with what tells
// whom an event concerns. Those of accounts that are suspended or closed wait.
func (s *Store) pushed(ctx context.Context) (map[int64]Monitor, error) {
	var list []Monitor
	if err := s.DB.Read(ctx, func(q db.Query) (err error) {
		list, err = db.All(ctx, q, func(r db.Row) (m Monitor, err error) {
			var topics string
			if err := r.Scan(&m.ID, &m.version, &m.Account, &topics); err != nil {
				return m, err
			}
			err = json.Unmarshal([]byte(topics), &m.Topics)
			return m, err
		}, `select m.id, m.version, m.account_sid, m.topics from monitor m join account a on a.sid = m.account_sid
			where m.type = 'http' and m.status <> 'disabled' and a.status = 'active'`)
		return err
	}); err != nil {
		return nil, err
	}
	monitors := make(map[int64]Monitor, len(list))
	for _, m := range list {
		monitors[m.ID] = m
	}
	return monitors, nil
}

func (s *Store) load(ctx context.Context, id int64) (m Monitor, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		m, err = s.scan(q.QueryRowContext(ctx, `select `+columns+` from monitor where id = $1`, id))
		return err
	})
	return m, err
}

// History returns what there was to tell from a place on, size messages at
// most or as many as 10,000 events give, the place to go on from, and whether there is more already. The zero
// place is where the monitor began.
func (s *Store) History(ctx context.Context, account string, id int64, from event.Place, size int) (list []Message, next event.Place, more bool, err error) {
	m, err := s.Get(ctx, account, id)
	if err != nil {
		return nil, from, false, err
	}
	if !m.Persistent {
		return nil, from, false, errNoHistory(m)
	}
	if from == (event.Place{}) {
		from = m.start
	}
	return s.messages(ctx, m, from, bound{size: size, octets: MaxDocument, one: true, looks: 50})
}

// advance moves the place of a monitor from where it is known to be, with what
// else is to be stored. It is false if it is elsewhere.
func (s *Store) advance(ctx context.Context, tx *db.Tx, m Monitor, to event.Place, sets string, args ...any) (bool, error) {
	result, err := tx.ExecContext(ctx, `update monitor set place_tx = $4, place_id = $5`+sets+`
		where id = $1 and place_tx = $2 and place_id = $3`,
		slices.Concat([]any{m.ID, m.place.TX, m.place.ID, to.TX, to.ID}, args)...)
	if err != nil {
		return false, fmt.Errorf("move monitor %d on: %w", m.ID, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
