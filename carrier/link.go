package carrier

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/jobs"
	"godwit/saip"
	"godwit/sim"
)

// A Link joins the domain's Sims to a core network. It is the network as
// package sim wants one, and it looks after what the network remembers: where
// somebody has changed it, or it was restored from a backup, the Sims say how it
// should be.
type Link struct {
	Core Core
	// Personal returns the keys of a profile.
	Personal func(ctx context.Context, iccid ident.ICCID) (saip.Personal, error)

	// What Check needs beside; Apply does not.
	DB     *db.DB
	Events *event.Log
	Jobs   *jobs.Queue
	Sims   *sim.Store
}

// Apply makes the network's subscriber equal to a Sim's.
func (l *Link) Apply(ctx context.Context, s sim.Subscriber) error {
	sub, err := l.subscriber(ctx, s)
	if err != nil {
		return err
	}
	return l.Core.Apply(ctx, sub)
}

func (l *Link) subscriber(ctx context.Context, s sim.Subscriber) (Subscriber, error) {
	personal, err := l.Personal(ctx, s.ICCID)
	if err != nil {
		return Subscriber{}, err
	}
	return Subscriber{
		IMSI: personal.IMSI, ICCID: s.ICCID, Algorithm: personal.Algorithm, K: personal.K, OPc: personal.OPc,
		MSISDN: personal.MSISDN, Attach: s.Attach, Data: s.Data, SMS: s.SMS, Networks: s.Networks,
	}, nil
}

// A Drift is one Sim of which the core network holds something else than it
// should.
type Drift struct {
	SIM         string       `json:"sim"`
	Account     string       `json:"account"`
	IMSI        ident.IMSI   `json:"imsi"`
	Differences []Difference `json:"differences"`
	Repaired    bool         `json:"repaired"`
	Problem     string       `json:"problem,omitempty"` // why it could not be repaired
}

// A Report says what a check found.
type Report struct {
	Sims     int `json:"sims"` // that were compared
	Drifted  int `json:"drifted"`
	Repaired int `json:"repaired"`
}

const (
	checkChunk    = 500
	checkParallel = 8
)

// Check compares every Sim's wanted state with what the core network says, and
// tells found about each that differs; found may be nil. With repair, the
// network is told again. Each difference becomes an event of its Sim.
func (l *Link) Check(ctx context.Context, repair bool, found func(Drift)) (Report, error) {
	var all Report
	for after := ""; ; {
		part, last, err := l.checkChunk(ctx, after, repair, found)
		all.add(part)
		if err != nil {
			return all, err
		}
		if after = last; after == "" {
			return all, l.checked(ctx, all)
		}
	}
}

func (r *Report) add(part Report) {
	r.Sims += part.Sims
	r.Drifted += part.Drifted
	r.Repaired += part.Repaired
}

func (l *Link) checkChunk(ctx context.Context, after string, repair bool, found func(Drift)) (r Report, last string, err error) {
	list, last, err := l.Sims.Wanted(ctx, after, checkChunk)
	if err != nil {
		return r, "", err
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkParallel)
	for _, want := range list {
		group.Go(func() error {
			d, err := l.checkOne(ctx, want, repair)
			if err != nil {
				return fmt.Errorf("compare %s with the core network: %w", want.SIM, err)
			}
			mu.Lock()
			defer mu.Unlock()
			r.Sims++
			if d == nil {
				return nil
			}
			r.Drifted++
			if d.Repaired {
				r.Repaired++
			}
			if found != nil {
				found(*d)
			}
			return nil
		})
	}
	return r, last, group.Wait()
}

// checkOne returns nil for a Sim of which all is as it should be.
func (l *Link) checkOne(ctx context.Context, want sim.Subscriber, repair bool) (*Drift, error) {
	sub, list, err := l.compare(ctx, want)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	// The Sim may have moved on since it was read. Only what differs from what it
	// is now has drifted.
	want, ok, err := l.Sims.WantedOf(ctx, want.SIM)
	if err != nil || !ok {
		return nil, err
	}
	if sub, list, err = l.compare(ctx, want); err != nil || len(list) == 0 {
		return nil, err
	}
	d := &Drift{SIM: want.SIM, Account: want.Account, IMSI: sub.IMSI, Differences: list}
	if repair {
		if err := l.repair(ctx, want, d); err != nil {
			return nil, err
		}
	}
	slog.WarnContext(ctx, "the core network had drifted", "sid", d.SIM, "repaired", d.Repaired, "differences", fmt.Sprint(list), "err", d.Problem)
	return d, l.DB.Write(ctx, func(tx *db.Tx) error {
		return l.Events.Append(ctx, tx, event.Event{Kind: "sim.core_drift", Subject: d.SIM, Account: d.Account, Data: d})
	})
}

// compare asks the core network. That it cannot hold such a subscriber at all
// is a difference too.
func (l *Link) compare(ctx context.Context, want sim.Subscriber) (sub Subscriber, list []Difference, err error) {
	if sub, err = l.subscriber(ctx, want); err != nil {
		return sub, nil, err
	}
	list, err = l.Core.Compare(ctx, sub)
	if refusal, ok := fault.As(err); ok {
		return sub, []Difference{{"subscriber", "taken", "refused: " + refusal.Message}}, nil
	}
	return sub, list, err
}

// repair tells the network again and looks whether that helped.
func (l *Link) repair(ctx context.Context, want sim.Subscriber, d *Drift) error {
	if err := l.Sims.SyncNow(ctx, want.SIM); err != nil {
		return err
	}
	now, ok, err := l.Sims.WantedOf(ctx, want.SIM)
	if err != nil || !ok {
		return err
	}
	_, left, err := l.compare(ctx, now)
	if err != nil {
		return err
	}
	if d.Repaired = len(left) == 0; !d.Repaired {
		d.Problem = fmt.Sprintf("after the network was told again, %v", left[0])
	}
	return nil
}

// checked records the end of a check.
func (l *Link) checked(ctx context.Context, r Report) error {
	slog.InfoContext(ctx, "the core network was compared with the Sims", "sims", r.Sims, "drifted", r.Drifted, "repaired", r.Repaired)
	return l.DB.Write(ctx, func(tx *db.Tx) error {
		return l.Events.Append(ctx, tx, event.Event{Kind: "core.checked", Subject: "core", Data: r})
	})
}

// checkArgs is the job that compares and repairs the next Sims.
type checkArgs struct {
	After  string `json:"after"`
	Report Report `json:"report"`
}

// Kind names the job.
func (checkArgs) Kind() string { return "core.check" }

// Register has the network checked and repaired at intervals; none are made
// with 0. Call it before the job queue runs.
//
// A chunk that is repeated after a crash finds repaired what it repaired. While
// the network cannot be reached a check is tried a few times and then left to
// the next one.
func (l *Link) Register(interval time.Duration) {
	jobs.Register(l.Jobs, func(ctx context.Context, j jobs.Job[checkArgs]) error {
		part, last, err := l.checkChunk(ctx, j.Args.After, true, nil)
		if err != nil {
			return err
		}
		all := j.Args.Report
		all.add(part)
		if last == "" {
			return l.checked(ctx, all)
		}
		return l.DB.Write(ctx, func(tx *db.Tx) error { return l.Jobs.Add(ctx, tx, checkArgs{After: last, Report: all}) })
	}, jobs.Attempts(5), jobs.Lane("core", 1))
	if interval > 0 {
		l.Jobs.Every("core.check", interval, checkArgs{})
	}
}
