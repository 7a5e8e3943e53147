package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"runtime"

	"modernc.org/sqlite"
)

// openSQLite opens two pools on one file: a single connection that writes, so
// that writers queue in the process instead of failing in the engine, and
// several that may only read.
func (d *DB) openSQLite(path string, o Options) error {
	d.engine, d.path = sqliteEngine, path
	readers := o.Readers
	if readers == 0 {
		readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	err := makeFile(path, o.NoMigrate)
	if err != nil {
		return err
	}
	if d.write, err = sqlitePool(path, true, 1); err != nil {
		return err
	}
	if d.read, err = sqlitePool(path, false, readers); err != nil {
		d.write.Close()
		return err
	}
	d.group = newGroup(d.write)
	return nil
}

// makeFile makes an empty file, which is an empty database, for its owner alone,
// if there is none. What SQLite puts beside it gets the same mode. A file that
// is there is not opened: closing it would take away the locks that
// another connection of this process has on it.
func makeFile(path string, mustExist bool) error {
	if mustExist {
		_, err := os.Stat(path)
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make database: %w", err)
	}
	return f.Close()
}

func sqlitePool(path string, writes bool, size int) (*sql.DB, error) {
	// The job queue's times are texts here, and texts are compared: wherever the
	// server is they must be of one zone.
	set := url.Values{"_dqs": {"0"}, "_error_rc": {"1"}, "_timezone": {"UTC"}}
	pragmas := []string{
		"busy_timeout(5000)", // first: the next one may have to wait for another process
		"journal_mode(wal)",
		// A profile that was delivered stays delivered after a power cut.
		"synchronous(full)",
		"foreign_keys(1)",
		"temp_store(memory)",
		"cache_size(-8000)", // kB for each connection
		// Moving the log into the file flushes the disk too, so not too often.
		"wal_autocheckpoint(4000)",
		"journal_size_limit(67108864)", // a long read must not leave a huge log behind
	}
	if writes {
		set.Set("_txlock", "immediate")
		// What is deleted is gone from the file, not only from its tables.
		pragmas = append(pragmas, "secure_delete(1)")
	} else {
		pragmas = append(pragmas, "query_only(1)")
	}
	set["_pragma"] = pragmas
	connector, err := sqlite.NewConnector("file:" + (&url.URL{Path: path}).EscapedPath() + "?" + set.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	pool := sql.OpenDB(cachingConnector{connector, writes})
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, nil
}

// cachingConnector makes connections that keep their prepared statements.
// Parsing costs SQLite more than running: a point read takes about a third of
// the time when prepared. The cache sits below database/sql, so everything
// gains from it, transactions and the job queue too, and nobody has to carry
// statements about.
type cachingConnector struct {
	driver.Connector
	writes bool
}

func (c cachingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, explain(err)
	}
	return &cachingConn{sqliteConn: conn.(sqliteConn), writes: c.writes, cache: make(map[string]*cachedStmt)}, nil
}

// sqliteConn is what the driver's connections can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// A cachingConn is one connection; database/sql gives it to one goroutine at a
// time, so the cache needs no lock.
type cachingConn struct {
	sqliteConn
	writes bool
	cache  map[string]*cachedStmt
	clock  uint64
}

type cachedStmt struct {
	driver.Stmt
	busy bool   // its rows are being read
	used uint64 // when last, by the connection's clock
}

// Statements are few and fixed; lists with optional filters and bulk inserts
// make some more. What was not used for longest goes first.
const cacheSize = 256

// stmt returns a prepared statement, or nil if the text is better run as it
// is: it is being read from already, or is no single statement.
func (c *cachingConn) stmt(ctx context.Context, query string) (*cachedStmt, error) {
	c.clock++
	if s, ok := c.cache[query]; ok {
		if s.busy {
			return nil, nil
		}
		s.used = c.clock
		return s, nil
	}
	prepared, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(c.cache) >= cacheSize {
		c.evict()
	}
	s := &cachedStmt{Stmt: prepared, used: c.clock}
	c.cache[query] = s
	return s, nil
}

func (c *cachingConn) evict() {
	var oldest string
	var age uint64
	for query, s := range c.cache {
		if !s.busy && (oldest == "" || s.used < age) {
			oldest, age = query, s.used
		}
	}
	if s, ok := c.cache[oldest]; ok {
		s.Close()
		delete(c.cache, oldest)
	}
}

// settled keeps the cancellation of one caller from interrupting a statement
// of the writer: SQLite answers an interrupt by rolling back the transaction,
// which several callers share.
func (c *cachingConn) settled(ctx context.Context) (context.Context, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if c.writes {
		return context.WithoutCancel(ctx), nil
	}
	return ctx, nil
}

func (c *cachingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx, err := c.settled(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (c *cachingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ctx, err := c.settled(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &cachedRows{rows, s}, nil
}

// joinKey in a context makes BeginTx join the transaction that the connection
// is in: the job queue wants one of database/sql, while [group] begins and
// ends it with statements of its own.
type joinKey struct{}

func (c *cachingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if ctx.Value(joinKey{}) != nil {
		return joinedTx{}, nil
	}
	return c.sqliteConn.BeginTx(ctx, opts)
}

// A joinedTx ends when the transaction ends that it has joined.
type joinedTx struct{}

func (joinedTx) Commit() error   { return nil }
func (joinedTx) Rollback() error { return nil }

func (c *cachingConn) Close() error {
	for _, s := range c.cache {
		s.Close()
	}
	clear(c.cache)
	return c.sqliteConn.Close()
}

// cachedRows gives its statement back when it is closed.
type cachedRows struct {
	driver.Rows
	stmt *cachedStmt
}

func (r *cachedRows) Close() error {
	r.stmt.busy = false
	return r.Rows.Close()
}
