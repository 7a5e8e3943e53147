// Package jobs is durable work: it is added in the transaction that makes it
// necessary and happens at least once afterwards, on this node or another, also
// when the process dies in between.
//
// It wraps River, which nobody else imports. A handler may be called again
// after a crash and must come to the same end; say in its comment why
// repeating is safe. Where a rate matters, one job does a chunk, not one thing.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"godwit/db"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivershared/startstop"
	"github.com/riverqueue/river/rivertype"
)

// Args are what a job is to work on; they are stored as JSON. Kind names the
// sort of job: letters, digits, dots and dashes, the same for ever.
type Args interface{ Kind() string }

// A Job is one attempt at one piece of work.
type Job[T Args] struct {
	Args    T
	ID      int64
	Attempt int  // 1 for the first
	Last    bool // no attempt follows if this one fails
	AddedAt time.Time
}

// A Hand is a job as the holder of what it has claimed. A process that dies leaves
// its claims behind, and the job is worked again under the same number: Again, it
// may let go at once what it holds, for nobody works at it any more. That is so
// for jobs of one attempt ([Attempts]); others come again after a failure, too.
type Hand struct {
	Job   int64
	Again bool
}

// Hand returns the job as a holder.
func (j Job[T]) Hand() Hand { return Hand{j.ID, j.Attempt > 1} }

// LetGo makes free what the job holds in a table if its process has died, so that
// nobody waits for the lease. The table has the columns lease and holder;
// the condition names the index of what waits.
func (h Hand) LetGo(ctx context.Context, d *db.DB, table, waiting string) error {
	if !h.Again {
		return nil
	}
	return d.Write(ctx, func(tx *db.Tx) error {
		// A lease of zero would mean that nobody has begun.
		if _, err := tx.ExecContext(ctx, `update `+table+` set lease = 1 where `+waiting+` and lease > 1 and holder = $1`, h.Job); err != nil {
			return fmt.Errorf("take up what a process left behind in %s: %w", table, err)
		}
		return nil
	})
}

// A Queue takes jobs and, while [Queue.Run] runs, works them. Set it up with
// [New], [Register] and [Queue.Every] before the first Run.
type Queue struct {
	db     *db.DB
	driver *driver
	insert *river.Client[*sql.Tx] // adds and looks, works nothing
	poll   time.Duration          // how often workers look without having been woken
	clock  time.Duration          // how often [Queue.watchClock] looks

	mu       sync.Mutex
	workers  *river.Workers
	lanes    map[string]int // workers of each
	laneOf   map[string]string
	attempts map[string]int
	periodic []*river.PeriodicJob
}

// A lane has workers of its own, so that a rush in one does not hold up another.
// This is the one of kinds that ask for none.
const defaultLane = river.QueueDefault

// New returns the queue of a database.
func New(d *db.DB) (*Queue, error) {
	q := &Queue{
		db:       d,
		driver:   newDriver(d),
		poll:     pollEvery,
		clock:    clockEvery,
		workers:  river.NewWorkers(),
		lanes:    map[string]int{defaultLane: 32},
		laneOf:   map[string]string{},
		attempts: map[string]int{},
	}
	var err error
	q.insert, err = river.NewClient[*sql.Tx](q.driver, &river.Config{Logger: logger(), SkipUnknownJobCheck: true})
	if err != nil {
		return nil, fmt.Errorf("job queue: %w", err)
	}
	return q, nil
}

// An Option says how jobs of one kind are worked.
type Option func(*kind)

type kind struct {
	retry    func(attempt int) time.Duration
	attempts int
	timeout  time.Duration
	lane     string
	workers  int
}

// Retry sets how long to wait after the attempt'th attempt has failed.
func Retry(wait func(attempt int) time.Duration) Option { return func(k *kind) { k.retry = wait } }

// Attempts sets after how many attempts a job is dead.
func Attempts(n int) Option { return func(k *kind) { k.attempts = n } }

// Timeout bounds one attempt.
func Timeout(d time.Duration) Option { return func(k *kind) { k.timeout = d } }

// Lane gives the kind workers of its own; several kinds may share a lane.
func Lane(name string, workers int) Option {
	return func(k *kind) { k.lane, k.workers = name, workers }
}

// What holds where no option says otherwise: attempts after about 1, 2, 4, …
// seconds, then every quarter of an hour, for some three days.
const (
	defaultAttempts = 300
	defaultTimeout  = 5 * time.Minute
	longestTimeout  = 30 * time.Minute
)

// Backoff doubles the wait from first on, up to longest. It is the usual
// argument of [Retry].
func Backoff(first, longest time.Duration) func(attempt int) time.Duration {
	return func(attempt int) time.Duration {
		wait := first
		for ; attempt > 1 && wait < longest; attempt-- {
			wait *= 2
		}
		return min(wait, longest)
	}
}

// Register sets the handler of a kind of job. It panics on a kind that has one:
// that is a mistake in the program.
//
// An error that work returns is a failed attempt, and another follows; see [Hopeless]
// for one that none should follow.
func Register[T Args](q *Queue, work func(context.Context, Job[T]) error, options ...Option) {
	var zero T
	k := kind{retry: Backoff(time.Second, 15*time.Minute), attempts: defaultAttempts, timeout: defaultTimeout, lane: defaultLane}
	for _, option := range options {
		option(&k)
	}
	k.timeout = min(k.timeout, longestTimeout)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.laneOf[zero.Kind()] = k.lane
	q.attempts[zero.Kind()] = k.attempts
	q.lanes[k.lane] = max(q.lanes[k.lane], k.workers)
	river.AddWorker(q.workers, &worker[T]{work: work, kind: k})
}

// Every adds a job each interval, and once when a first node comes up. One
// node at a time does it; an interval may be missed while nodes change over.
func (q *Queue) Every(name string, interval time.Duration, args Args) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.periodic = append(q.periodic, river.NewPeriodicJob(
		river.PeriodicInterval(interval),
		func() (river.JobArgs, *river.InsertOpts) {
			options := q.options(args)
			options.UniqueOpts = waiting
			return args, options
		},
		&river.PeriodicJobOpts{ID: name, RunOnStart: true}))
}

// Add adds a job to the transaction. It is worked as soon as that commits.
func (q *Queue) Add(ctx context.Context, tx *db.Tx, args Args) error {
	_, err := q.add(ctx, tx, args, q.lockedOptions(args))
	return err
}

// AddIn adds a job that is worked after a while, give or take some seconds.
func (q *Queue) AddIn(ctx context.Context, tx *db.Tx, wait time.Duration, args Args) error {
	options := q.lockedOptions(args)
	options.ScheduledAt = time.Now().Add(wait)
	_, err := q.add(ctx, tx, args, options)
	return err
}

// AddMany adds jobs in few statements.
func (q *Queue) AddMany(ctx context.Context, tx *db.Tx, args ...Args) error {
	if len(args) == 0 {
		return nil
	}
	many := make([]river.InsertManyParams, len(args))
	for i, a := range args {
		many[i] = river.InsertManyParams{Args: a, InsertOpts: q.lockedOptions(a)}
	}
	if _, err := q.insert.InsertManyFastTx(settled(ctx), tx.SQL(), many); err != nil {
		return fmt.Errorf("add %d jobs: %w", len(args), err)
	}
	for _, one := range many {
		q.wakeAfter(tx, one.InsertOpts.Queue)
	}
	return nil
}

// Jobs that AddUnique counts as there: everything that has yet to end.
var waiting = river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
	rivertype.JobStateRunning, rivertype.JobStateScheduled,
}}

// AddUnique adds a job unless an equal one is waiting. One that is being worked
// does not count: it may have looked before this transaction's changes.
func (q *Queue) AddUnique(ctx context.Context, tx *db.Tx, args Args) error {
	// River counts a job that is being worked as there, so behind it there is
	// a second place, told apart by the queue's name in the key.
	behind := waiting
	behind.ByQueue = true
	for _, place := range []river.UniqueOpts{waiting, behind, {}} {
		options := q.lockedOptions(args)
		options.UniqueOpts = place
		result, err := q.add(ctx, tx, args, options)
		if err != nil {
			return err
		}
		if !result.UniqueSkippedAsDuplicate || result.Job.State != rivertype.JobStateRunning {
			return nil
		}
	}
	return nil
}

func (q *Queue) add(ctx context.Context, tx *db.Tx, args Args, options *river.InsertOpts) (*rivertype.JobInsertResult, error) {
	result, err := q.insert.InsertTx(settled(ctx), tx.SQL(), args, options)
	if err != nil {
		return nil, fmt.Errorf("add job %s: %w", args.Kind(), err)
	}
	if options.ScheduledAt.IsZero() {
		q.wakeAfter(tx, options.Queue)
	}
	return result, nil
}

// settled keeps a caller's departure from interrupting a statement, as [db.Tx]
// does: it would hurt more than the caller's own work.
func settled(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func (q *Queue) wakeAfter(tx *db.Tx, lane string) { tx.AfterCommit(func() { q.driver.wake(lane) }) }

func (q *Queue) lockedOptions(args Args) *river.InsertOpts {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.options(args)
}

// options are those of the kind. A kind that is not registered in this process
// goes to the default lane; any lane works any kind.
func (q *Queue) options(args Args) *river.InsertOpts {
	lane, ok := q.laneOf[args.Kind()]
	if !ok {
		return &river.InsertOpts{Queue: defaultLane, MaxAttempts: defaultAttempts}
	}
	return &river.InsertOpts{Queue: lane, MaxAttempts: q.attempts[args.Kind()]}
}

// Hopeless marks an error of a handler as one that another attempt cannot
// mend: the job is dead at once.
func Hopeless(err error) error { return &hopeless{err} }

type hopeless struct{ err error }

func (h *hopeless) Error() string { return h.err.Error() }
func (h *hopeless) Unwrap() error { return h.err }

// worker is the handler of one kind, in River's terms.
type worker[T Args] struct {
	work func(context.Context, Job[T]) error
	kind kind
	river.WorkerDefaults[T]
}

func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return w.kind.timeout }

func (w *worker[T]) NextRetry(job *river.Job[T]) time.Time {
	return time.Now().Add(w.kind.retry(job.Attempt))
}

func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	err := w.work(ctx, Job[T]{Args: job.Args, ID: job.ID, Attempt: job.Attempt, Last: job.Attempt >= job.MaxAttempts, AddedAt: job.CreatedAt})
	if err == nil {
		return nil
	}
	dead, isHopeless := errors.AsType[*hopeless](err)
	if !isHopeless {
		say := slog.WarnContext
		if job.Attempt >= job.MaxAttempts {
			say = slog.ErrorContext
		}
		say(ctx, "job failed", "job", job.Kind, "id", job.ID, "attempt", job.Attempt, "of", job.MaxAttempts, "err", err)
		return err
	}
	slog.ErrorContext(ctx, "job is hopeless", "job", job.Kind, "id", job.ID, "attempt", job.Attempt, "err", dead.err)
	return river.JobCancel(dead.err)
}

// logger lets through what River has to say to an operator. Failed jobs are
// logged above, in words of our own, and that the queue is being stopped is no
// error.
func logger() *slog.Logger { return slog.New(quietHandler{slog.Default().Handler()}) }

type quietHandler struct{ slog.Handler }

func (quietHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasSuffix(r.Message, ": Job errored") {
		return nil
	}
	stopping := false
	r.Attrs(func(a slog.Attr) bool {
		text := a.Value.String()
		stopping = strings.Contains(text, context.Canceled.Error()) || strings.Contains(text, startstop.ErrStop.Error())
		return !stopping
	})
	if stopping {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(attrs)}
}

func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(name)}
}
