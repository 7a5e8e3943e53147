// Package smdp is the SM-DP+ of GSMA SGP.22 v2: it keeps profiles in stock,
// takes orders for them (ES2+), and prepares and delivers them to eUICCs
// (ES9+).
//
// It knows profiles, orders, runs and operators; it knows no accounts, Sims or
// Fleets. The program itself is one operator among others ([LocalOperator]): it
// calls the ES2+ functions in the process, many profiles at once, and hears of
// progress through [Config.Progress].
//
// Read the package beside SGP.22 in this order: state.go is the life of a
// profile, order.go ES2+, then initiate.go, authenticate.go, download.go,
// notification.go and cancel.go are the five functions of ES9+.
package smdp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/db"
	"godwit/rsp"
)

// LocalOperator is the id of the program itself as an operator. It may order
// every type, and its progress goes to [Config.Progress].
const LocalOperator = "local"

// Config is what an operator of the server may choose.
type Config struct {
	// Addresses are the names by which LPAs may call this server, with or
	// without a port. The first is announced, as it stands, in ConfirmOrder and
	// in activation codes.
	Addresses []string

	// HostID enters the derivation of session keys and is sent in every
	// package. It identifies nothing; 1 to 16 octets.
	HostID string

	MaxDownloadAttempts int           // of one order; 0 means 10
	MaxCodeAttempts     int           // wrong confirmation codes of one order; 0 means 3
	OrderLifetime       time.Duration // from ConfirmOrder; 0 means that orders do not expire
	RunLifetime         time.Duration // from one step of a download to the last; 0 means 15 minutes

	// RetryInstallations is how often an order goes back to Released after the
	// eUICC has reported a failed installation that another try may cure. By
	// default the first failure ends the order. SGP.22 v2.5, 5.6.4.
	RetryInstallations int

	// MatchingIDOnly refuses a download by EID alone where the order has a
	// matching ID. By default an order for an EID is found either way.
	MatchingIDOnly bool

	// Progress hears how the profiles that LocalOperator ordered get on. Several
	// reports come at once, in their order for each profile. They come again
	// when it fails, and in rare cases when it did not, so it tells repetitions apart by the
	// call identifier.
	Progress func(ctx context.Context, infos []rsp.ProgressInfo) error

	// ClientCertificate is shown to operators' systems (progress) and to SM-DSs
	// (ES12). Trust says whom we trust there; nil means the system's roots.
	ClientCertificate *tls.Certificate
	Trust             *tls.Config

	Now func() time.Time // nil means time.Now
}

// A Server is the SM-DP+ on one database. Nodes are alike: each has a Server on
// the same database, and the calls of one download may go to any of them.
type Server struct {
	db        *db.DB
	cfg       Config
	minter    *minter
	types     sync.Map // id → *loadedType
	listeners sync.Map // operator id → hearing
	recent    memory
	places    places
	client    *http.Client
	out       *outbox
}

// Open returns the server on d. It makes the shared secret on first use.
func Open(ctx context.Context, d *db.DB, cfg Config) (*Server, error) {
	if len(cfg.Addresses) == 0 {
		return nil, errors.New("smdp: at least one address of the server is needed")
	}
	if cfg.HostID == "" {
		cfg.HostID = "godwit"
	}
	if len(cfg.HostID) > 16 {
		return nil, fmt.Errorf("smdp: host identifier %q is longer than 16 octets", cfg.HostID)
	}
	defaults(&cfg.MaxDownloadAttempts, 10)
	defaults(&cfg.MaxCodeAttempts, 3)
	defaults(&cfg.RunLifetime, 15*time.Minute)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{db: d, cfg: cfg}
	s.client = s.newClient()
	key, err := s.sharedKey(ctx, "transaction", minterKeySize)
	if err != nil {
		return nil, err
	}
	if s.minter, err = newMinter(key); err != nil {
		return nil, err
	}
	s.out = newOutbox(s)
	return s, nil
}

func defaults[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// sharedKey returns a secret of n octets that all nodes of the database share.
func (s *Server) sharedKey(ctx context.Context, name string, n int) ([]byte, error) {
	var sealed []byte
	row := "smdp_key/" + name
	err := s.db.Write(ctx, func(tx *db.Tx) error {
		fresh := make([]byte, n)
		rand.Read(fresh)
		// The first node's insert counts; the others read it.
		if _, err := tx.ExecContext(ctx, `insert into smdp_key (name, sealed, created_at) values ($1, $2, $3)
			on conflict (name) do nothing`, name, s.db.Seal(row, fresh), s.now()); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `select sealed from smdp_key where name = $1`, name).Scan(&sealed)
	})
	if err != nil {
		return nil, fmt.Errorf("read shared key %s: %w", name, err)
	}
	key, err := s.db.Unseal(row, sealed)
	if err != nil {
		return nil, fmt.Errorf("read shared key %s: %w", name, err)
	}
	if len(key) != n {
		return nil, fmt.Errorf("read shared key %s: it has %d octets, want %d", name, len(key), n)
	}
	return key, nil
}

// now is the time as it is stored.
func (s *Server) now() int64 { return db.Micros(s.cfg.Now()) }

// Address is the address of the server that activation codes carry.
func (s *Server) Address() string { return s.cfg.Addresses[0] }

// How long what is over is kept, for late repetitions and for people who look.
const (
	keepRuns  = 30 * 24 * time.Hour
	keepCalls = 7 * 24 * time.Hour
)

// Run delivers what waits in the outbox, ends orders whose time is over and
// clears away what is long over, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.out.run(ctx) })
	g.Go(func() error {
		for tick := time.NewTicker(time.Hour); ; {
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				slog.ErrorContext(ctx, "clear away old runs and calls", "err", err)
			}
			if err := s.expireOrders(ctx); err != nil && ctx.Err() == nil {
				slog.ErrorContext(ctx, "end orders whose time is over", "err", err)
			}
			select {
			case <-ctx.Done():
				tick.Stop()
				return nil
			case <-tick.C:
			}
		}
	})
	return g.Wait()
}

// sweep deletes old runs and call identifiers, some at a time so that downloads
// are not held up. An installation result that comes after that is not believed
// any more.
func (s *Server) sweep(ctx context.Context) error {
	runs, calls := s.now()-keepRuns.Microseconds(), s.now()-keepCalls.Microseconds()
	for _, step := range []struct {
		query  string
		before int64
	}{
		{`delete from run where (issued_at, transaction_id) in (select r.issued_at, r.transaction_id from run r
			where r.issued_at < $1 order by r.issued_at limit 500)`, runs / 1e6},
		{`delete from es2_call where created_at in (select created_at from es2_call where created_at < $1
			order by created_at limit 500)`, calls},
	} {
		for {
			var deleted int64
			err := s.db.Write(ctx, func(tx *db.Tx) error {
				result, err := tx.ExecContext(ctx, step.query, step.before)
				if err != nil {
					return err
				}
				deleted, err = result.RowsAffected()
				return err
			})
			if err != nil {
				return err
			}
			if deleted == 0 {
				break
			}
		}
	}
	return nil
}

// changed reports whether a guarded statement found its row.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
