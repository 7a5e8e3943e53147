package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"godwit/db"
	"godwit/jobs"
)

// dataFlags are the flags of every command that works on a data directory.
type dataFlags struct {
	Data     string `help:"Data directory." default:"godwit-data" type:"path" placeholder:"DIR"`
	Database string `help:"sqlite (a file in the data directory) or postgres://…" default:"sqlite" placeholder:"URL"`
	// MasterKey comes from the environment where no file may hold it.
	MasterKey string `help:"Master key in place of the file in the data directory." placeholder:"ID:KEY"`
}

const masterKeyFile = "master.key"

func (f dataFlags) pkiDir() string  { return filepath.Join(f.Data, "pki") }
func (f dataFlags) keyPath() string { return filepath.Join(f.Data, masterKeyFile) }

func (f dataFlags) databaseURL() string {
	if f.Database == "" || f.Database == "sqlite" {
		return "sqlite:" + filepath.Join(f.Data, "godwit.db")
	}
	return f.Database
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
	return openDatabase(ctx, f.databaseURL(), key)
}

func (f dataFlags) loadKey() (db.MasterKey, error) {
	if f.MasterKey != "" {
		return db.ParseMasterKey(f.MasterKey)
	}
	return db.LoadMasterKey(f.keyPath())
}

func openDatabase(ctx context.Context, url string, key db.MasterKey) (*db.DB, error) {
	return db.Open(ctx, url, db.Options{MasterKey: key, Migrations: []db.Migration{jobs.Migration}})
}
