package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // so that a machine without zones has them

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/jobs"
)

type greet struct {
	Name string `json:"name"`
}

func (greet) Kind() string { return "greet" }

func newQueue(t testing.TB, d *db.DB) *jobs.Queue {
	t.Helper()
	q, err := jobs.New(d)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run works the queue until the test ends or stop is called.
func run(t testing.TB, q *jobs.Queue) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func add(t testing.TB, d *db.DB, q *jobs.Queue, args ...jobs.Args) {
	t.Helper()
	if err := d.Write(t.Context(), func(tx *db.Tx) error {
		for _, a := range args {
			if err := q.Add(t.Context(), tx, a); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// next takes from a channel, but does not wait for ever.
func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing came within two minutes")
		panic("unreachable")
	}
}

func TestAdd(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		q.Unasked()
		got := make(chan jobs.Job[greet], 10)
		jobs.Register(q, func(_ context.Context, j jobs.Job[greet]) error { got <- j; return nil })
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			return errors.Join(q.Add(t.Context(), tx, greet{"nobody"}), errors.New("no"))
		}); err == nil {
			t.Fatal("the write succeeded")
		}
		run(t, q)
		add(t, d, q, greet{"world"})
		j := next(t, got)
		if j.Args.Name != "world" || j.Attempt != 1 || j.Last || time.Since(j.AddedAt).Abs() > time.Minute {
			t.Errorf("got %+v", j)
		}
		for n := range 5 {
			add(t, d, q, greet{fmt.Sprint(n)})
			next(t, got)
		}
		select {
		case j := <-got:
			t.Errorf("another job: %+v", j)
		default:
		}
	})
}

func TestAddMany(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		const number = 500
		var seen sync.Map
		var count atomic.Int32
		done := make(chan bool)
		jobs.Register(q, func(_ context.Context, j jobs.Job[greet]) error {
			if _, twice := seen.LoadOrStore(j.Args.Name, true); twice {
				t.Errorf("%s twice", j.Args.Name)
			}
			if count.Add(1) == number {
				close(done)
			}
			return nil
		})
		run(t, q)
		var many []jobs.Args
		for n := range number {
			many = append(many, greet{fmt.Sprint(n)})
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			return errors.Join(q.AddMany(t.Context(), tx), q.AddMany(t.Context(), tx, many...))
		}); err != nil {
			t.Fatal(err)
		}
		next(t, done)
	})
}

func TestAddUnique(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		addUnique := func(args jobs.Args) {
			t.Helper()
			if err := d.Write(t.Context(), func(tx *db.Tx) error { return q.AddUnique(t.Context(), tx, args) }); err != nil {
				t.Fatal(err)
			}
		}
		started, release := make(chan string, 10), make(chan bool)
		jobs.Register(q, func(_ context.Context, j jobs.Job[greet]) error { started <- j.Args.Name; <-release; return nil })
		addUnique(greet{"a"})
		addUnique(greet{"a"})
		addUnique(greet{"b"})
		run(t, q)
		first := []string{next(t, started), next(t, started)}
		slices.Sort(first)
		if !slices.Equal(first, []string{"a", "b"}) {
			t.Fatalf("worked %q", first)
		}
		// Both are being worked: one more of each may be needed, but not two.
		addUnique(greet{"a"})
		if second := next(t, started); second != "a" {
			t.Fatalf("worked %q", second)
		}
		addUnique(greet{"a"})
		if third := next(t, started); third != "a" {
			t.Fatalf("worked %q", third)
		}
		close(release)
	})
}

func TestFailures(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		attempts := make(chan jobs.Job[greet], 10)
		jobs.Register(q, func(_ context.Context, j jobs.Job[greet]) error {
			attempts <- j
			switch j.Args.Name {
			case "hopeless":
				return jobs.Hopeless(errors.New("there is no such thing"))
			case "panics":
				panic("oh")
			case "recovers":
				if j.Attempt == 2 {
					return nil
				}
			}
			return errors.New("not yet")
		}, jobs.Attempts(2), jobs.Retry(func(int) time.Duration { return 10 * time.Millisecond }))
		run(t, q)
		add(t, d, q, greet{"fails"}, greet{"hopeless"}, greet{"panics"}, greet{"recovers"})
		count := map[string]int{}
		for range 7 {
			j := next(t, attempts)
			count[j.Args.Name]++
			if j.Last != (j.Attempt == 2) || j.Attempt != count[j.Args.Name] {
				t.Errorf("attempt %+v", j)
			}
		}
		if count["fails"] != 2 || count["hopeless"] != 1 || count["panics"] != 2 || count["recovers"] != 2 {
			t.Errorf("attempts %v", count)
		}
		dead := waitForDead(t, q, 3)
		byName := map[string]jobs.Dead{}
		for _, j := range dead {
			byName[string(j.Args)] = j
		}
		h, ok := byName[`{"name":"hopeless"}`]
		if !ok {
			h = byName[`{"name": "hopeless"}`] // PostgreSQL writes JSON its own way
		}
		if h.Attempts != 1 || !strings.Contains(h.Error, "there is no such thing") || h.Kind != "greet" || h.DiedAt.IsZero() {
			t.Errorf("the hopeless one: %+v", h)
		}
		var pages []int64
		for after := ""; ; {
			page, next, err := q.Dead(t.Context(), after, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range page {
				pages = append(pages, j.ID)
			}
			if after = next; next == "" {
				break
			}
		}
		if len(pages) != 3 {
			t.Errorf("%d dead jobs in pages", len(pages))
		}
		if err := q.Revive(t.Context(), h.ID); err != nil {
			t.Fatal(err)
		}
		if j := next(t, attempts); j.Args.Name != "hopeless" || j.Attempt != 2 {
			t.Errorf("revived %+v", j)
		}
		if err := q.Revive(t.Context(), 1<<40); !fault.Is(err, fault.NotFound) {
			t.Errorf("revived what is not there: %v", err)
		}
		if _, _, err := q.Dead(t.Context(), "?", 2); !fault.Is(err, fault.Invalid) {
			t.Errorf("a page that is none: %v", err)
		}
	})
}

// waitForDead reads until number jobs are dead: the queue records it a
// moment after the handler returned.
func waitForDead(t testing.TB, q *jobs.Queue, number int) []jobs.Dead {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-look.C {
		dead, _, err := q.Dead(t.Context(), "", 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(dead) >= number {
			return dead
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are dead, want %d", len(dead), number)
		}
	}
}

type heavy struct{}

func (heavy) Kind() string { return "heavy" }

// TestLanes fills the lane of one kind; another kind goes on.
func TestLanes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		release, busy, got := make(chan bool), make(chan bool, 10), make(chan bool, 1)
		jobs.Register(q, func(context.Context, jobs.Job[heavy]) error { busy <- true; <-release; return nil }, jobs.Lane("heavy", 2))
		jobs.Register(q, func(context.Context, jobs.Job[greet]) error { got <- true; return nil })
		run(t, q)
		add(t, d, q, heavy{}, heavy{}, heavy{}, heavy{}, greet{"quick"})
		next(t, got)
		next(t, busy)
		next(t, busy)
		select {
		case <-busy:
			t.Error("a lane of two works three")
		default:
		}
		close(release)
	})
}

func TestStopWaits(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		entered, release := make(chan bool), make(chan bool)
		var finished atomic.Bool
		jobs.Register(q, func(context.Context, jobs.Job[greet]) error {
			close(entered)
			<-release
			finished.Store(true)
			return nil
		})
		stop := run(t, q)
		add(t, d, q, greet{"slow"})
		next(t, entered)
		time.AfterFunc(50*time.Millisecond, func() { close(release) })
		stop()
		if !finished.Load() {
			t.Error("Run returned while a job was under way")
		}
	})
}

// TestStoppedWhileStarting ends the queue at any moment of its start: that is no
// error.
func TestStoppedWhileStarting(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for wait := time.Duration(0); wait < 20*time.Millisecond; wait += 500 * time.Microsecond {
			q := newQueue(t, d)
			jobs.Register(q, func(context.Context, jobs.Job[greet]) error { return nil })
			// As a signal does it, and not by a deadline, which connections know of too.
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(wait, cancel)
			if err := q.Run(ctx); err != nil {
				t.Errorf("stopped after %s: %v", wait, err)
			}
			cancel()
		}
	})
}

func TestEvery(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q := newQueue(t, d)
		got := make(chan bool, 100)
		jobs.Register(q, func(context.Context, jobs.Job[greet]) error { got <- true; return nil })
		q.Every("greeting", time.Second, greet{"again"})
		run(t, q)
		for range 2 {
			next(t, got)
		}
	})
}

// patient has the URL of the database of a test that [apart] runs.
const patient = "GODWIT_TEST_PATIENT"

// apart runs a test again, in a process of its own with a fresh database: a zone is
// what a process begins with, and in its log the others have a say that have left
// something running. It returns what the test said and what the process logged.
func apart(t *testing.T, name string, environment ...string) (said, logged string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+name+"$")
	cmd.Env = append(append(os.Environ(), patient+"="+dbtest.SQLiteURL(t)), environment...)
	var out, log strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), log.String())
	}
	if passed := "--- PASS: " + name; !strings.Contains(out.String(), passed) {
		t.Fatalf("it did not say %q:\n%s", passed, out.String())
	}
	return out.String(), log.String()
}

// TestTimePasses has a job fail three times with long waits, in time that
// passes as fast as it can, at home and in zones west and east of it.
func TestTimePasses(t *testing.T) {
	if url := os.Getenv(patient); url != "" {
		synctest.Test(t, func(t *testing.T) { timePasses(t, url) })
		return
	}
	for _, zone := range []string{"UTC", "America/St_Johns", "Pacific/Kiritimati"} {
		t.Run(zone, func(t *testing.T) {
			out, _ := apart(t, "TestTimePasses", "TZ="+zone)
			if said := "zone " + zone; !strings.Contains(out, said) {
				t.Errorf("it did not say %q:\n%s", said, out)
			}
		})
	}
}

func timePasses(t *testing.T, url string) {
	t.Logf("zone %v", time.Now().Location())
	d, err := db.Open(t.Context(), url, dbtest.Options())
	if err != nil {
		t.Fatal(err)
	}
	q := newQueue(t, d)
	begun := time.Now()
	at := make(chan time.Duration, 10)
	jobs.Register(q, func(_ context.Context, j jobs.Job[greet]) error {
		at <- time.Since(begun)
		if j.Attempt < 4 {
			return errors.New("not yet")
		}
		return nil
	}, jobs.Retry(func(attempt int) time.Duration { return time.Duration(attempt) * time.Minute }))
	stop := run(t, q)
	add(t, d, q, greet{"patience"})
	for n, want := range []time.Duration{0, time.Minute, 3 * time.Minute, 6 * time.Minute} {
		// SQLite reads the machine's clock and not the test's, so the
		// queue finds a job as soon as it is made ready, seconds early.
		if got := <-at; got < want-10*time.Second || got > want+10*time.Second {
			t.Errorf("attempt %d after %v, want %v", n+1, got, want)
		}
	}
	stop()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestMidnight works the queue from before midnight to after it, when River keeps
// house, and stops it a few times while it is elected: nothing of that may be an
// error.
func TestMidnight(t *testing.T) {
	if url := os.Getenv(patient); url != "" {
		synctest.Test(t, func(t *testing.T) { midnight(t, url) })
		return
	}
	if _, logged := apart(t, "TestMidnight"); logged != "" {
		t.Errorf("the queue complains:\n%s", logged)
	}
}

func midnight(t *testing.T, url string) {
	time.Sleep(24*time.Hour - time.Minute) // it is midnight where virtual time begins
	d, err := db.Open(t.Context(), url, dbtest.Options())
	if err != nil {
		t.Fatal(err)
	}
	q := newQueue(t, d)
	jobs.Register(q, func(context.Context, jobs.Job[greet]) error { return nil })
	for _, lasts := range []time.Duration{2 * time.Minute, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second} {
		stop := run(t, q)
		time.Sleep(lasts) // it ends where a leader is elected, every five seconds
		stop()
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
