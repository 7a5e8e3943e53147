package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"

	"pgregory.net/rapid"
)

// makeTable makes a table for one test.
func makeTable(t testing.TB, d *db.DB, text string) {
	t.Helper()
	if err := d.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(t.Context(), text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func put(ctx context.Context, tx *db.Tx, key string) error {
	_, err := tx.ExecContext(ctx, `insert into thing (k) values ($1)`, key)
	return err
}

func keys(t testing.TB, d *db.DB) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	if err := d.Read(context.Background(), func(q db.Query) error {
		rows, err := q.QueryContext(context.Background(), `select k from thing`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k string
			if err := rows.Scan(&k); err != nil {
				return err
			}
			found[k] = true
		}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

var errMine = errors.New("mine")

// TestWriteExactlySuccesses lets many writers end in every way there is, at the same
// time: what is visible afterwards is exactly what succeeded.
func TestWriteExactlySuccesses(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d, `create table thing (k text primary key)`)
		round := 0
		rapid.Check(t, func(t *rapid.T) {
			round++
			const (
				succeed = iota
				fail
				panics
				exit
				duplicate // breaks a rule of the table
				leave     // its context is cancelled half way
				lose      // SQLite rolls back everything, as it does when the disk is full
				ways
			)
			plan := rapid.SliceOfN(rapid.IntRange(0, ways-1), 1, 24).Draw(t, "ways")
			want := map[string]bool{}
			var mu sync.Mutex
			var all sync.WaitGroup
			for n, way := range plan {
				key := fmt.Sprintf("%d/%d", round, n)
				if way == lose && d.Postgres() {
					way = fail
				}
				all.Go(func() {
					defer func() {
						if p := recover(); p != nil && (way != panics || p != errMine) {
							t.Errorf("writer %d: panic %v", n, p)
						}
					}()
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					err := d.Write(ctx, func(tx *db.Tx) error {
						if err := put(ctx, tx, key); err != nil {
							return err
						}
						switch way {
						case fail:
							return errMine
						case panics:
							panic(errMine)
						case exit:
							runtime.Goexit()
						case duplicate:
							return put(ctx, tx, key)
						case leave:
							cancel()
							return put(ctx, tx, key+"/more")
						case lose:
							if _, err := tx.SQL().ExecContext(ctx, "rollback"); err != nil {
								return err
							}
							return errMine
						}
						return nil
					})
					mu.Lock()
					defer mu.Unlock()
					switch way {
					case succeed:
						if err != nil {
							t.Errorf("writer %d: %v", n, err)
						}
						want[key] = true
					case fail, lose:
						if !errors.Is(err, errMine) {
							t.Errorf("writer %d: error %v, want its own", n, err)
						}
					case duplicate:
						if !db.IsUnique(err) {
							t.Errorf("writer %d: error %v, want a unique violation", n, err)
						}
					case leave:
						if !errors.Is(err, context.Canceled) {
							t.Errorf("writer %d: error %v, want canceled", n, err)
						}
					default:
						t.Errorf("writer %d returned although it did not end", n)
					}
				})
			}
			all.Wait()
			var visible []string
			if err := d.Write(context.Background(), func(tx *db.Tx) error {
				visible = nil
				rows, err := tx.QueryContext(context.Background(), `delete from thing returning k`)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var k string
					if err := rows.Scan(&k); err != nil {
						return err
					}
					visible = append(visible, k)
				}
				return rows.Err()
			}); err != nil {
				t.Fatal(err)
			}
			for _, k := range visible {
				if !want[k] {
					t.Errorf("%s is visible and did not succeed", k)
				}
			}
			if len(visible) != len(want) {
				t.Errorf("visible are %q, succeeded have %v", visible, want)
			}
		})
	})
}

// TestWritersShareACommit holds one writer in its function until others wait: all
// of them get the same transaction.
func TestWritersShareACommit(t *testing.T) {
	d := dbtest.SQLite(t)
	d.LongGroups() // how quick this machine is says nothing
	makeTable(t, d, `create table thing (k text primary key)`)
	seen := make(chan *sql.Tx, 20)
	entered, release := make(chan bool), make(chan bool)
	var all sync.WaitGroup
	write := func(key string, hold bool) {
		all.Go(func() {
			if err := d.Write(t.Context(), func(tx *db.Tx) error {
				if hold {
					close(entered)
					<-release
				}
				seen <- tx.SQL()
				return put(t.Context(), tx, key)
			}); err != nil {
				t.Error(err)
			}
		})
	}
	write("first", true)
	<-entered
	for n := range 10 {
		write(fmt.Sprint(n), false)
	}
	for d.Waiting() < 10 {
		runtime.Gosched()
	}
	close(release)
	all.Wait()
	close(seen)
	transactions := map[*sql.Tx]int{}
	for tx := range seen {
		transactions[tx]++
	}
	if len(transactions) != 1 {
		t.Errorf("11 writers that waited together took %d transactions", len(transactions))
	}
	if n := len(keys(t, d)); n != 11 {
		t.Errorf("%d are visible, want 11", n)
	}
}

// TestFailedCommitAnswersAll makes the commit itself fail: a foreign key whose
// check was put off to it.
func TestFailedCommitAnswersAll(t *testing.T) {
	d := dbtest.SQLite(t)
	makeTable(t, d, `create table thing (k text primary key)`)
	makeTable(t, d, `create table part (k text references thing (k) deferrable initially deferred)`)
	entered, release := make(chan bool), make(chan bool)
	var all sync.WaitGroup
	all.Go(func() {
		if err := d.Write(t.Context(), func(*db.Tx) error { close(entered); <-release; return errMine }); !errors.Is(err, errMine) {
			t.Errorf("error %v, want its own", err)
		}
	})
	<-entered
	var failed int
	var mu sync.Mutex
	for n := range 5 {
		all.Go(func() {
			after := false
			err := d.Write(t.Context(), func(tx *db.Tx) error {
				tx.AfterCommit(func() { after = true })
				if n == 2 {
					_, err := tx.ExecContext(t.Context(), `insert into part (k) values ('nowhere')`)
					return err
				}
				return put(t.Context(), tx, fmt.Sprint(n))
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
			}
			if (err == nil) != after {
				t.Errorf("writer %d: error %v, but what follows a commit done: %v", n, err, after)
			}
		})
	}
	for d.Waiting() < 5 {
		runtime.Gosched()
	}
	close(release)
	all.Wait()
	if visible := len(keys(t, d)); failed == 0 || visible != 5-failed {
		t.Errorf("%d of 5 writers failed, %d rows are visible", failed, visible)
	}
}

// TestCancelledWhileWaiting leaves the queue at once, and the function is not called.
// TestRolledBackByTheEngine has SQLite end a transaction by itself while the
// first writer goes on as if nothing had happened.
func TestRolledBackByTheEngine(t *testing.T) {
	d := dbtest.SQLite(t)
	makeTable(t, d, `create table thing (k text primary key)`)
	ctx := t.Context()
	if err := d.Write(ctx, func(tx *db.Tx) error { return put(ctx, tx, "there") }); err != nil {
		t.Fatal(err)
	}
	var other sync.WaitGroup
	err := d.Write(ctx, func(tx *db.Tx) error {
		// Somebody waits to go on in the same transaction.
		other.Go(func() {
			if err := d.Write(ctx, func(tx *db.Tx) error { return put(ctx, tx, "other") }); err != nil {
				t.Error(err)
			}
		})
		for d.Waiting() < 1 {
			runtime.Gosched()
		}
		if err := put(ctx, tx, "lost"); err != nil {
			return err
		}
		// As a full disk does, this ends the transaction; the function goes on.
		if _, err := tx.ExecContext(ctx, `insert or rollback into thing (k) values ('there')`); err == nil {
			t.Error("a second row with the same key was stored")
		}
		return nil
	})
	if err == nil {
		t.Error("what was rolled back was reported as written")
	}
	other.Wait()
	// An error that ends a statement alone is the function's own affair.
	if err := d.Write(ctx, func(tx *db.Tx) error {
		if err := put(ctx, tx, "there"); err == nil {
			t.Error("a second row with the same key was stored")
		}
		return put(ctx, tx, "kept")
	}); err != nil {
		t.Error(err)
	}
	if err := d.Write(ctx, func(tx *db.Tx) error { return errors.Join(put(ctx, tx, "undone"), errors.New("no")) }); err == nil {
		t.Error("the function's error got lost")
	}
	if got := keys(t, d); len(got) != 3 || !got["there"] || !got["other"] || !got["kept"] {
		t.Errorf("the table has %v", got)
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	d := dbtest.SQLite(t)
	entered, release := make(chan bool), make(chan bool)
	first := make(chan error)
	go func() {
		first <- d.Write(t.Context(), func(*db.Tx) error { close(entered); <-release; return nil })
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error)
	called := false
	go func() { second <- d.Write(ctx, func(*db.Tx) error { called = true; return nil }) }()
	for d.Waiting() < 1 {
		runtime.Gosched()
	}
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if called {
		t.Error("the function was called although its caller had gone")
	}
	if err := d.Write(t.Context(), func(*db.Tx) error { return nil }); err == nil {
		t.Error("a write to a closed database succeeded")
	}
}

// TestNoLostUpdate has eight writers count together. At PostgreSQL's default
// level most of the steps would be lost without an error.
func TestNoLostUpdate(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d, `create table counter (n bigint not null)`)
		makeTable(t, d, `insert into counter (n) values (0)`)
		const writers, steps = 8, 25
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for range steps {
					if err := d.Write(t.Context(), func(tx *db.Tx) error {
						var n int
						if err := tx.QueryRowContext(t.Context(), `select n from counter`).Scan(&n); err != nil {
							return err
						}
						_, err := tx.ExecContext(t.Context(), `update counter set n = $1`, n+1)
						return err
					}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		var n int
		if err := d.Read(t.Context(), func(q db.Query) error {
			return q.QueryRowContext(t.Context(), `select n from counter`).Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
		if n != writers*steps {
			t.Errorf("counted to %d, want %d", n, writers*steps)
		}
	})
}

// TestTxAfterItsEnd is refused: on SQLite the transaction belongs to another
// writer by then.
func TestTxAfterItsEnd(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var kept *db.Tx
		if err := d.Write(t.Context(), func(tx *db.Tx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.ExecContext(t.Context(), `select 1`); err == nil {
			t.Error("ExecContext worked")
		}
		if _, err := kept.QueryContext(t.Context(), `select 1`); err == nil {
			t.Error("QueryContext worked")
		}
		var one int
		if err := kept.QueryRowContext(t.Context(), `select 1`).Scan(&one); err == nil {
			t.Error("QueryRowContext worked")
		}
	})
}
