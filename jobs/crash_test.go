package jobs_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/jobs"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("GODWIT_TEST_WORKER"); url != "" {
		workUntilKilled(url)
	}
	os.Exit(m.Run())
}

const killAfter = 200

// mark is a job that writes its number down.
type mark struct {
	Number int `json:"number"`
}

func (mark) Kind() string { return "mark" }

// registerMark sets the handler. It may be repeated: the number is a key.
func registerMark(d *db.DB, q *jobs.Queue, after func(n int)) {
	jobs.Register(q, func(ctx context.Context, j jobs.Job[mark]) error {
		if err := d.Write(ctx, func(tx *db.Tx) error {
			_, err := tx.ExecContext(ctx, `insert into mark (number, times) values ($1, 1) on conflict (number) do update set times = mark.times + 1`, j.Args.Number)
			return err
		}); err != nil {
			return err
		}
		after(j.Args.Number)
		return nil
	})
}

// workUntilKilled is the process that TestKilledWorker kills.
func workUntilKilled(url string) {
	ctx := context.Background()
	d, err := db.Open(ctx, url, dbtest.Options())
	if err == nil {
		var q *jobs.Queue
		if q, err = jobs.New(d); err == nil {
			var worked atomic.Int32
			registerMark(d, q, func(n int) {
				fmt.Println(n)
				if worked.Add(1) > killAfter {
					select {} // with this one in its hands it is killed
				}
			})
			err = q.Run(ctx)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func marks(t testing.TB, d *db.DB) (n int) {
	t.Helper()
	if err := d.Read(t.Context(), func(q db.Query) error {
		return q.QueryRowContext(t.Context(), `select count(*) from mark`).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func addMarks(t testing.TB, d *db.DB, q *jobs.Queue, number int) {
	t.Helper()
	if err := d.Write(t.Context(), func(tx *db.Tx) error {
		if _, err := tx.ExecContext(t.Context(), `create table mark (number bigint primary key, times bigint not null)`); err != nil {
			return err
		}
		var many []jobs.Args
		for n := range number {
			many = append(many, mark{n})
		}
		return q.AddMany(t.Context(), tx, many...)
	}); err != nil {
		t.Fatal(err)
	}
}

// TestKilledWorker kills a process in the middle of a thousand jobs. The next
// one finds every one of them, without waiting long for those that were in its hands.
func TestKilledWorker(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		const number = 1000
		d := dbtest.Open(t, url)
		q := newQueue(t, d)
		addMarks(t, d, q, number)

		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "GODWIT_TEST_WORKER="+url)
		var trouble strings.Builder
		cmd.Stderr = &trouble
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for scanner := bufio.NewScanner(out); scanner.Scan(); lines++ {
			if lines == killAfter {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		if lines < killAfter {
			t.Fatalf("the process worked %d jobs only: %s", lines, trouble.String())
		}
		before := marks(t, d)
		if before >= number {
			t.Fatalf("all %d jobs were done before it was killed", number)
		}

		done := make(chan bool, number*2)
		registerMark(d, q, func(int) { done <- true })
		run(t, q)
		for marks(t, d) < number {
			next(t, done)
		}
	})
}

// TestTwoNodes lets two nodes work one PostgreSQL database: each job once.
func TestTwoNodes(t *testing.T) {
	url := dbtest.PostgresURL(t)
	const number = 2000
	first := dbtest.Open(t, url)
	q := newQueue(t, first)
	addMarks(t, first, q, number)
	var mu sync.Mutex
	share := [2]int{}
	done := make(chan bool, number*2)
	both := make(chan bool) // closed when each node has worked; until then nobody goes on
	for n := range share {
		d := dbtest.Open(t, url)
		node := newQueue(t, d)
		registerMark(d, node, func(int) {
			mu.Lock()
			share[n]++
			if share[n] == 1 && share[1-n] > 0 {
				close(both)
			}
			mu.Unlock()
			done <- true
			select {
			case <-both:
			case <-t.Context().Done():
			}
		})
		run(t, node)
	}
	for range number {
		next(t, done)
	}
	var twice int
	if err := first.Read(t.Context(), func(q db.Query) error {
		return q.QueryRowContext(t.Context(), `select count(*) from mark where times > 1`).Scan(&twice)
	}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if twice != 0 {
		t.Errorf("%d jobs were worked twice; the nodes worked %v", twice, share)
	}
}
