package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"godwit/db"
	"godwit/durable"
	"godwit/jobs"
)

// dataFlags are the flags of every command that works on a data directory.
type dataFlags struct {
	Data     string `help:"Data directory." default:"godwit-data" type:"path" placeholder:"DIR"`
	Database string `help:"sqlite (a file in the data directory) or postgres://…; what serve was last given, by default." placeholder:"URL"`
	// MasterKey comes from the environment where no file may hold it.
	MasterKey string `help:"Master key in place of the file in the data directory." placeholder:"ID:KEY"`
}

const (
	masterKeyFile = "master.key"
	databaseFile  = "database" // the URL, where it is not the file beside it
)

func (f dataFlags) pkiDir() string  { return filepath.Join(f.Data, "pki") }
func (f dataFlags) keyPath() string { return filepath.Join(f.Data, masterKeyFile) }

// databaseURL returns which database belongs to the data directory: what the
// flag says, else what serve was given last, else a file in it.
func (f dataFlags) databaseURL() (string, error) {
	url := f.Database
	if url == "" {
		kept, err := os.ReadFile(filepath.Join(f.Data, databaseFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		url = strings.TrimSpace(string(kept))
	}
	if url == "" || url == "sqlite" {
		return "sqlite:" + filepath.Join(f.Data, "godwit.db"), nil
	}
	return url, nil
}

// keepDatabase remembers the flag for the commands that come later. The URL may
// hold a password.
func (f dataFlags) keepDatabase() error {
	if f.Database == "" {
		return nil
	}
	return keepFile(filepath.Join(f.Data, databaseFile), []byte(f.Database+"\n"), 0o600)
}

// keepFile writes a file of the data directory that others read, whole or not at
// all: cut off in the middle, an empty database file would lead to another
// database. A file that has the content already is left alone.
func keepFile(name string, content []byte, mode fs.FileMode) error {
	if is, err := os.ReadFile(name); err == nil && bytes.Equal(is, content) {
		return nil
	}
	return durable.WriteFile(name, content, mode)
}

// exists reports whether the data directory has been made.
func (f dataFlags) exists() bool {
	_, err := os.Stat(f.keyPath())
	return err == nil || f.MasterKey != ""
}

// open opens the database of a data directory that `serve` has made.
func (f dataFlags) open(ctx context.Context) (*db.DB, error) {
	key, err := f.loadKey()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no data directory: run `godwit serve --data %s` once, or name another with --data", f.Data, f.Data)
	}
	if err != nil {
		return nil, err
	}
	return f.openWith(ctx, key)
}

func (f dataFlags) loadKey() (db.MasterKey, error) {
	if f.MasterKey != "" {
		return db.ParseMasterKey(f.MasterKey)
	}
	return db.LoadMasterKey(f.keyPath())
}

// claim takes the data directory for one server. SQLite serves one process of
// this kind: a second one on the same file would deliver what the first is
// delivering. Servers on PostgreSQL may share a directory. The claim ends with
// the process.
func (f dataFlags) claim() (release func() error, err error) {
	url, err := f.databaseURL()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(url, "sqlite:") {
		return func() error { return nil }, nil
	}
	lock, err := os.OpenFile(filepath.Join(f.Data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another server runs on %s; several servers need PostgreSQL (--database)", f.Data)
	}
	return lock.Close, nil
}

func (f dataFlags) openWith(ctx context.Context, key db.MasterKey) (*db.DB, error) {
	url, err := f.databaseURL()
	if err != nil {
		return nil, err
	}
	return db.Open(ctx, url, db.Options{MasterKey: key, Migrations: []db.Migration{jobs.Migration}})
}
