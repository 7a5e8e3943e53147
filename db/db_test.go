package db_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("GODWIT_TEST_WRITER"); url != "" {
		writeForEver(url)
	}
	os.Exit(m.Run())
}

// writeForEver is the process that TestKilledProcess kills. It prints the key of
// each write once it was acknowledged.
func writeForEver(url string) {
	d, err := db.Open(context.Background(), url, dbtest.Options())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%d-%d", w, n)
				if err := d.Write(context.Background(), func(tx *db.Tx) error {
					if err := put(context.Background(), tx, key); err != nil {
						return err
					}
					return put(context.Background(), tx, key+"-twin")
				}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(key)
				out.Unlock()
			}
		})
	}
	all.Wait()
}

// TestKilledProcess kills a process with eight writers: all that was
// acknowledged is there, nothing is there by half.
func TestKilledProcess(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d := dbtest.Open(t, url)
		makeTable(t, d, `create table thing (k text primary key)`)
		acknowledged := runAndKill(t, url, 200)
		found := keys(t, d)
		for _, key := range acknowledged {
			if !found[key] {
				t.Errorf("%s was acknowledged and is lost", key)
			}
		}
		for key := range found {
			if twin := strings.TrimSuffix(key, "-twin") + "-twin"; !found[twin] || !found[strings.TrimSuffix(key, "-twin")] {
				t.Errorf("%s is there by half", key)
			}
		}
		if !d.Postgres() {
			var verdict string
			if err := d.Read(t.Context(), func(q db.Query) error {
				return q.QueryRowContext(t.Context(), `pragma integrity_check`).Scan(&verdict)
			}); err != nil || verdict != "ok" {
				t.Errorf("integrity: %s, %v", verdict, err)
			}
		}
	})
}

// runAndKill runs the writing process, kills it after some lines and returns
// them all.
func runAndKill(t *testing.T, url string, lines int) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "GODWIT_TEST_WRITER="+url)
	var trouble strings.Builder
	cmd.Stderr = &trouble
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		got = append(got, scanner.Text())
		if len(got) == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if len(got) < lines {
		t.Fatalf("the process wrote %d lines only: %s", len(got), trouble.String())
	}
	return got[:len(got)-1] // the last line may be cut
}

func TestOpenAtOnce(t *testing.T) {
	// Databases without a schema, so not from the template.
	urls := map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "fresh.db")}
	t.Run("sqlite", func(t *testing.T) { openAtOnce(t, urls["sqlite"]) })
	t.Run("postgres", func(t *testing.T) { openAtOnce(t, dbtest.EmptyPostgresURL(t)) })
}

func openAtOnce(t *testing.T, url string) {
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			d, err := db.Open(t.Context(), url, dbtest.Options())
			if err != nil {
				t.Error(err)
				return
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if name, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file's mode is %v, %v", info.Mode(), err)
		}
	}
	d := dbtest.Open(t, url)
	steps, err := d.Schema(t.Context())
	if err != nil || len(steps) == 0 {
		t.Fatalf("steps %v, %v", steps, err)
	}
	for _, s := range steps {
		if s.AppliedAt.IsZero() {
			t.Errorf("step %d (%s) was not applied", s.Version, s.Name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d := dbtest.Open(t, url)
		makeTable(t, d, `insert into schema_version (version_id, is_applied) values (9999, true)`)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Open(t.Context(), url, dbtest.Options()); !errors.Is(err, db.ErrNewer) {
			t.Errorf("a newer schema: %v", err)
		}
	})
	t.Run("old schema, only looking", func(t *testing.T) {
		o := dbtest.Options()
		o.NoMigrate = true
		name := filepath.Join(t.TempDir(), "x.db")
		if _, err := db.Open(t.Context(), "sqlite:"+name, o); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no file: %v", err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Open(t.Context(), "sqlite:"+name, o); !errors.Is(err, db.ErrOlder) {
			t.Errorf("an empty file: %v", err)
		}
	})
	t.Run("no database", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(name, []byte(strings.Repeat("This is a letter and no database. ", 200)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Open(t.Context(), "sqlite:"+name, dbtest.Options()); !errors.Is(err, db.ErrCorrupt) {
			t.Errorf("error %v", err)
		}
	})
	for _, url := range []string{"", "sqlite:", "mysql://u:geheim@h/d", "postgres://u:geheim@[::1/d"} {
		if _, err := db.Open(t.Context(), url, dbtest.Options()); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestErrorsInWords(t *testing.T) {
	t.Run("disk full", func(t *testing.T) {
		d := dbtest.SQLite(t)
		makeTable(t, d, `create table thing (k text primary key)`)
		var pages int
		if err := d.Pool().QueryRowContext(t.Context(), `pragma page_count`).Scan(&pages); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Pool().ExecContext(t.Context(), fmt.Sprintf(`pragma max_page_count = %d`, pages+20)); err != nil {
			t.Fatal(err)
		}
		var err error
		stored := 0
		for err == nil && stored < 1000 {
			if err = d.Write(t.Context(), func(tx *db.Tx) error { return put(t.Context(), tx, fmt.Sprint(stored, strings.Repeat("x", 2000))) }); err == nil {
				stored++
			}
		}
		if !errors.Is(err, db.ErrFull) {
			t.Errorf("error %v after %d rows", err, stored)
		}
		if n := len(keys(t, d)); n != stored {
			t.Errorf("%d rows are there, %d were acknowledged", n, stored)
		}
	})
	t.Run("locked", func(t *testing.T) {
		url := dbtest.SQLiteURL(t)
		d, other := dbtest.Open(t, url), dbtest.Open(t, url)
		if _, err := d.Pool().ExecContext(t.Context(), `pragma busy_timeout = 10`); err != nil {
			t.Fatal(err)
		}
		if err := other.Write(t.Context(), func(*db.Tx) error {
			if err := d.Write(t.Context(), func(*db.Tx) error { return nil }); !errors.Is(err, db.ErrLocked) {
				t.Errorf("error %v", err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.Write(t.Context(), func(*db.Tx) error { return nil }); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("no row", func(t *testing.T) {
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			if err := d.Read(t.Context(), func(q db.Query) error {
				return q.QueryRowContext(t.Context(), `select sid from account where sid = $1`, "AC0").Scan(new(string))
			}); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("error %v", err)
			}
		})
	})
}

func TestReadCannotWrite(t *testing.T) {
	d := dbtest.SQLite(t)
	makeTable(t, d, `create table thing (k text primary key)`)
	if err := d.Read(t.Context(), func(q db.Query) error {
		return q.QueryRowContext(t.Context(), `insert into thing (k) values ('x') returning k`).Scan(new(string))
	}); err == nil {
		t.Error("a reader wrote")
	}
}

func TestSnapshot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d, `create table thing (k text primary key)`)
		count := func(q db.Query) (n int) {
			if err := q.QueryRowContext(t.Context(), `select count(*) from thing`).Scan(&n); err != nil {
				t.Error(err)
			}
			return n
		}
		if err := d.Snapshot(t.Context(), func(q db.Query) error {
			before := count(q)
			if err := d.Write(t.Context(), func(tx *db.Tx) error { return put(t.Context(), tx, "x") }); err != nil {
				return err
			}
			if after := count(q); after != before {
				t.Errorf("%d rows, then %d in the same snapshot", before, after)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if n := len(keys(t, d)); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

// TestManyStatements uses more texts than the cache of a connection holds, and
// one text twice at a time.
func TestManyStatements(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d, `create table thing (k text primary key)`)
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			for n := range 600 {
				var got int
				if err := tx.QueryRowContext(t.Context(), fmt.Sprintf(`select %d where 1 = $1`, n%400), 1).Scan(&got); err != nil || got != n%400 {
					return fmt.Errorf("statement %d: %d, %w", n, got, err)
				}
			}
			for _, k := range []string{"a", "b", "c"} {
				if err := put(t.Context(), tx, k); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if d.Postgres() {
			return // whose connections carry one query at a time
		}
		pairs := 0
		if err := d.Read(t.Context(), func(q db.Query) error {
			const text = `select k from thing order by k`
			outer, err := q.QueryContext(t.Context(), text)
			if err != nil {
				return err
			}
			defer outer.Close()
			for outer.Next() {
				inner, err := q.QueryContext(t.Context(), text)
				if err != nil {
					return err
				}
				for inner.Next() {
					pairs++
				}
				if err := inner.Close(); err != nil {
					return err
				}
			}
			return outer.Err()
		}); err != nil || pairs != 9 {
			t.Errorf("%d pairs, %v", pairs, err)
		}
	})
}

func TestBackup(t *testing.T) {
	d := dbtest.SQLite(t)
	makeTable(t, d, `create table thing (k text primary key)`)
	makeTable(t, d, `insert into thing (k) values ('x')`)
	name := filepath.Join(t.TempDir(), "copy.db")
	if err := d.Backup(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := d.Backup(t.Context(), name); err == nil {
		t.Error("the copy was overwritten")
	}
	makeTable(t, d, `insert into thing (k) values ('later')`)
	if got := keys(t, dbtest.Open(t, "sqlite:"+name)); len(got) != 1 || !got["x"] {
		t.Errorf("the copy holds %v", got)
	}
}

// BenchmarkStatement compares a statement that stays prepared with one whose
// text is new each time.
func BenchmarkStatement(b *testing.B) {
	d := dbtest.SQLite(b)
	makeTable(b, d, `create table thing (k text primary key, v bigint)`)
	makeTable(b, d, `insert into thing (k, v) values ('x', 1)`)
	run := func(b *testing.B, text func(n int) string) {
		for n := 0; b.Loop(); n++ {
			var v int
			if err := d.Read(b.Context(), func(q db.Query) error {
				return q.QueryRowContext(b.Context(), text(n), "x").Scan(&v)
			}); err != nil {
				b.Fatal(err)
			}
		}
	}
	const read = `select v from thing where k = $1`
	b.Run("prepared", func(b *testing.B) { run(b, func(int) string { return read }) })
	b.Run("new", func(b *testing.B) { run(b, func(n int) string { return fmt.Sprintf("%s -- %d", read, n) }) })
	b.Run("update in one transaction", func(b *testing.B) {
		if err := d.Write(b.Context(), func(tx *db.Tx) error {
			for b.Loop() {
				if _, err := tx.ExecContext(b.Context(), `update thing set v = v + 1 where k = $1`, "x"); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	})
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("durable write/%d", writers), func(b *testing.B) {
			b.SetParallelism(max(1, writers/2))
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := d.Write(b.Context(), func(tx *db.Tx) error {
						_, err := tx.ExecContext(b.Context(), `update thing set v = v + 1 where k = $1`, "x")
						return err
					}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
