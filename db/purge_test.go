package db_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
)

// TestPurge looks for what was deleted in every file of a database: after updates
// that moved it about, on pages that became free, and in the log.
func TestPurge(t *testing.T) {
	const word = "meet me at the old mill"
	url := dbtest.SQLiteURL(t)
	path := strings.TrimPrefix(url, "sqlite:")
	d := dbtest.Open(t, url)
	makeTable(t, d, `create table thing (k text primary key, v text)`)
	makeTable(t, d, `create index thing_v on thing (v)`)
	makeTable(t, d, `insert into thing (k, v) values ('long', '`+strings.Repeat(word, 1000)+`')`)
	for _, k := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		makeTable(t, d, `insert into thing (k, v) values ('`+k+`', '`+word+`')`)
	}
	makeTable(t, d, `update thing set v = v || v || v where k < 'k'`) // cells move
	if inFiles(t, path, word) == 0 {
		t.Fatal("the word is nowhere before: the test would prove nothing")
	}
	makeTable(t, d, `update thing set v = '' where k < 'x'`)
	makeTable(t, d, `delete from thing`)
	if err := d.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := inFiles(t, path, word); n > 0 {
		t.Errorf("the word is still %d times in the files", n)
	}
	// A read that goes on keeps the log.
	makeTable(t, d, `insert into thing (k, v) values ('x', 'y')`)
	if err := d.Snapshot(t.Context(), func(q db.Query) error {
		var n int
		if err := q.QueryRowContext(t.Context(), `select count(*) from thing`).Scan(&n); err != nil {
			return err
		}
		few, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := d.Purge(few); err == nil {
			t.Error("the log was emptied under a read")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func inFiles(t *testing.T, path, word string) (n int) {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, name := range files {
		octets, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(octets, []byte(word))
	}
	return n
}
