package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// A job is available when its time has come. River looks at the time once more
// before it has a job worked, so one that was added just before the machine's
// clock was put back waits for that hour to come again, and where jobs of a kind
// are to be there once at a time, none is added meanwhile.

const (
	clockEvery = time.Minute // how often jobs are looked for whose time lies ahead
	// tolerance is what an available job may be ahead: retries that are near are
	// made available at once.
	tolerance = time.Minute
)

// watchClock has jobs worked that a clock which was put back would keep waiting,
// until ctx is over.
func (q *Queue) watchClock(ctx context.Context) {
	tick := time.NewTicker(q.clock)
	defer tick.Stop()
	for {
		if err := q.catchUp(ctx); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "job queue: cannot look for jobs that a clock which was put back keeps waiting", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// catchUp makes jobs due that are available and whose time lies ahead.
func (q *Queue) catchUp(ctx context.Context) error {
	now, ahead := `datetime('now', 'subsec')`, `datetime('now', 'subsec', '+%d seconds')`
	if q.db.Postgres() {
		now, ahead = `now()`, `now() + interval '%d seconds'`
	}
	ahead = fmt.Sprintf(ahead, int(tolerance.Seconds()))
	result, err := q.db.Pool().ExecContext(ctx, `update river_job set scheduled_at = `+now+` where state = 'available' and scheduled_at > `+ahead)
	if err != nil {
		return err
	}
	if count, err := result.RowsAffected(); err == nil && count > 0 {
		slog.WarnContext(ctx, "job queue: the clock was put back; jobs that were due are worked now", "jobs", count)
		q.wakeAll()
	}
	return nil
}
