// Package eim is the eIM of GSMA SGP.32 v1.2: it signs packages for the eUICCs
// of devices in the field, hands them to the IPAs that poll for them (ESipa),
// believes what the eUICCs sign in return and keeps it as evidence.
//
// It knows EIDs and tasks; it knows no accounts, devices or operations. Who
// wants something of an eUICC calls [Server.Queue] in a transaction and hears
// of the end through [Config.Outcome], in the transaction that stores it.
//
// Read the package beside SGP.32 in this order: state.go is the life of a task,
// poll.go ESipa.GetEimPackage, build.go what goes out, result.go
// ESipa.ProvideEimPackageResult with data.go and download.go, relay.go the
// functions of ES9+ that an IPA calls through here, notify.go the notifications.
package eim

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"godwit/db"
	"godwit/ident"
	"godwit/iot"
	"godwit/jobs"
	"godwit/pki"
)

// Config is what an operator of the server may choose.
type Config struct {
	// FQDN is where IPAs reach the server, with its port where it is not 443.
	FQDN string
	// ID is eimId, 1 to 128 characters. eUICCs know the eIM by it, so it stays:
	// empty is what it was at the first start, and then the host of FQDN.
	ID string

	// Roots are the CIs whose eUICCs are believed and whose SM-DP+s are called.
	Roots *pki.Roots

	// TLSTrust is what IPAs are to trust at FQDN: a certificate (of the server or
	// of the authority above it) or a SubjectPublicKeyInfo, DER; nil for nothing.
	TLSTrust []byte

	// Extra are ordinary certification authorities that are accepted of SM-DP+s
	// besides. Dial makes the connections to them: addresses come from devices,
	// so it is to refuse those that this server may not call.
	Extra *x509.CertPool
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)

	Jobs *jobs.Queue // delivers notifications; Open registers the kind

	// Outcome hears that the IPA has a task (Sent; of a download through the eIM once
	// more, "downloading"), and how it ended, once; of an enabling that was done, besides,
	// that the device has undone it (Failed, "rolled_back"). Inventory hears what an eUICC says that
	// it holds, both in the transaction that stores it. Seen hears who has
	// polled, in batches.
	Outcome   func(ctx context.Context, tx *db.Tx, o Outcome) error
	Inventory func(ctx context.Context, tx *db.Tx, i Inventory) error
	Seen      func(ctx context.Context, list []Sighting) error

	Lifetime     time.Duration // of a task that names no end; 0 means 7 days
	Refresh      time.Duration // from one list of profiles to the next; 0 means 24 hours
	ContactRetry time.Duration // after first questions whose answers were not believed; 0 means an hour
	Flush        time.Duration // from one batch of sightings to the next; 0 means 10 seconds
	Sweep        time.Duration // from one look for tasks whose time is over to the next; 0 means 5 seconds
	Retention    time.Duration // of ended tasks and of evidence; 0 means 400 days

	Now func() time.Time // nil means time.Now
}

// An Outcome is how a task stands.
type Outcome struct {
	TaskID  string
	EID     ident.EID
	Kind    Kind
	Stage   Stage // Sent, or an end
	ICCID   ident.ICCID
	Code    int64  // the eUICC's result, 0 for success
	Reason  string // a short code, one of the reasons
	Message string // for people
	// Reached says of a download that came to nothing that the SM-DP+ was reached
	// with the activation code, or that nobody can say that it was not.
	Reached bool

	Evidence     []byte // as it came; nil where nothing came
	EvidenceKind string // one of the evidence kinds
	Witness      string // who vouches for it: [ByEUICC], [ByAgent] or [ByIPA]
	Results      []iot.OpResult
	At           time.Time
}

// An Inventory is a list of profiles that an eUICC, or the agent on its behalf,
// has signed.
type Inventory struct {
	EID          ident.EID
	Profiles     []iot.ProfileInfo
	Evidence     []byte
	EvidenceKind string
	Witness      string
	At           time.Time
}

// A Sighting is a poll.
type Sighting struct {
	EID     ident.EID
	At      time.Time
	Address string // of the peer, without port
}

// A Server is the eIM on one database. Nodes are alike: each has a Server on
// the same database.
type Server struct {
	db        *db.DB
	cfg       Config
	keys      sync.Map // id → crypto.Signer
	client    *http.Client
	idle      idle
	elsewhere elsewhere
	looks     looks
	seen      seen
	numbers   order
}

// Open returns the server on d. It makes the signing key on first use.
func Open(ctx context.Context, d *db.DB, cfg Config) (*Server, error) {
	if cfg.Roots == nil {
		return nil, errors.New("eim: the CIs whose eUICCs are believed are missing")
	}
	if cfg.Jobs == nil {
		return nil, errors.New("eim: a job queue is needed for notifications")
	}
	for _, c := range []struct {
		v         *time.Duration
		otherwise time.Duration
	}{
		{&cfg.Lifetime, 7 * 24 * time.Hour},
		{&cfg.Refresh, 24 * time.Hour},
		{&cfg.ContactRetry, time.Hour},
		{&cfg.Flush, 10 * time.Second},
		{&cfg.Sweep, 5 * time.Second},
		{&cfg.Retention, 400 * 24 * time.Hour},
	} {
		if *c.v == 0 {
			*c.v = c.otherwise
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{db: d, cfg: cfg}
	s.elsewhere.off = !d.Postgres()
	if s.cfg.ID == "" {
		var err error
		if s.cfg.ID, err = s.name(ctx); err != nil {
			return nil, err
		}
	}
	if n := len(s.cfg.ID); n < 1 || n > iot.MaxEimID {
		return nil, fmt.Errorf("eim: the identifier has %d characters; eimId takes 1 to %d", n, iot.MaxEimID)
	}
	s.client = s.newClient()
	s.registerJobs()
	if _, err := s.newestKey(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// ID is eimId, by which eUICCs know the eIM.
func (s *Server) ID() string { return s.cfg.ID }

// now is the time as it is stored.
func (s *Server) now() int64 { return db.Micros(s.cfg.Now()) }

// newID returns an identifier that sorts after all earlier ones of this process.
func (s *Server) newID() string {
	var random [4]byte
	rand.Read(random[:])
	return fmt.Sprintf("%015x", s.numbers.after(s.now())) + hex.EncodeToString(random[:])
}

// newTaskID returns a fresh eimTransactionId.
func newTaskID() string {
	var random [16]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}
