// Package server starts a PostgreSQL server that is installed on the machine
// for the time of a test run: a fresh cluster in a temporary folder, reachable
// on a unix socket in there and nowhere else.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable names the environment variable with the URL of a server to use.
const Variable = "GODWIT_TEST_POSTGRES"

// A Server is one that Start started.
type Server struct {
	URL string

	keeper *exec.Cmd
	hold   io.Closer
}

var errAbsent = errors.New("no PostgreSQL server is installed and " + Variable + " is not set")

// IsAbsent reports whether Start failed because there is nothing to start.
func IsAbsent(err error) bool { return errors.Is(err, errAbsent) }

// keep runs the server and ends it, folder and all, when its standard input is
// closed: by Stop, or by the kernel when this process is gone, however it went.
const keep = `
"$1/postgres" -D "$2/data" -k "$2" -h "" \
	-c fsync=off -c synchronous_commit=off -c full_page_writes=off \
	-c max_connections=1000 -c shared_buffers=64MB -c autovacuum=off -c jit=off &
server=$!
cat >/dev/null
kill -QUIT $server
wait $server
rm -rf "$2"
`

// Start makes a cluster and starts a server on it. Nothing there is durable.
func Start() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	// A socket's path has room for about a hundred octets, so not the
	// test's own folder.
	place := os.TempDir()
	if len(place) > 60 {
		place = "/tmp"
	}
	dir, err := os.MkdirTemp(place, "godwit-pg-")
	if err != nil {
		return nil, err
	}
	s, err := start(bin, dir)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func start(bin, dir string) (*Server, error) {
	attributes, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"),
		"-U", "godwit", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.SysProcAttr = attributes
	initdb.Dir = dir
	initdb.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}

	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	keeper := exec.Command("/bin/sh", "-c", keep, "keep", bin, dir)
	keeper.SysProcAttr = attributes
	keeper.Dir = dir
	keeper.Env = initdb.Env
	keeper.Stdout, keeper.Stderr = log, log
	hold, err := keeper.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := keeper.Start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	s := &Server{
		URL:    (&url.URL{Scheme: "postgres", User: url.User("godwit"), Path: "/postgres", RawQuery: "host=" + url.QueryEscape(dir)}).String(),
		keeper: keeper, hold: hold,
	}
	if err := s.wait(); err != nil {
		text, _ := os.ReadFile(log.Name())
		s.Stop()
		return nil, fmt.Errorf("start PostgreSQL: %w\n%s", err, text)
	}
	return s, nil
}

// wait returns once the server answers.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Stop ends the server and removes its folder.
func (s *Server) Stop() error {
	s.hold.Close()
	return s.keeper.Wait()
}

// binaries returns the folder of initdb and postgres: on the path, or where
// Debian and others put the newest version.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb", "/opt/homebrew/opt/postgresql*/bin/initdb"} {
		names, _ := filepath.Glob(pattern) // the patterns are well formed
		found = append(found, names...)
	}
	if len(found) == 0 {
		return "", errAbsent
	}
	return filepath.Dir(slices.Max(found)), nil
}

// unprivileged says how to start the server's programs: they refuse to be run
// by root, so root lends them another user, who gets the folder.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attributes := &syscall.SysProcAttr{Setpgid: true} // an interrupt typed at the tests is not for the server
	if os.Geteuid() != 0 {
		return attributes, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return attributes, os.Chown(dir, int(uid), int(gid))
	}
	return nil, fmt.Errorf("%w for root: there is no user postgres or nobody: %w", errAbsent, fs.ErrNotExist)
}
