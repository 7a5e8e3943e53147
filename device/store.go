// Package device is the domain of devices in the field: the devices, the eSIMs
// in them, the profiles that they report, activation codes, and the work that is
// done on them: transactions, multistep operations, rollouts, rules.
//
// What is asked of a device goes to the eIM ([EIM.Queue]); what becomes of it
// comes back through [Store.Outcome] and [Store.Report]. A profile's record is
// what the device has said and nothing else: accepting a request creates none,
// nor does the word of a profile server.
//
// The package knows no HTTP. The door is package remote.
package device

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/ident"
	"godwit/jobs"
)

// An EIM carries work to eUICCs and brings back what came of it. Every method is
// part of the caller's transaction.
type EIM interface {
	// Register makes an eUICC known; one that is, is changed.
	Register(ctx context.Context, tx *db.Tx, one EUICC) error
	// Forget ends what is under way on an eUICC and no longer knows it.
	Forget(ctx context.Context, tx *db.Tx, eid ident.EID) error
	// Queue has a task done. The same ID again changes nothing.
	Queue(ctx context.Context, tx *db.Tx, t Task) error
	// Cancel takes a task back. It is false where the IPA has it already.
	Cancel(ctx context.Context, tx *db.Tx, id string) (bool, error)
}

// An EUICC is what the eIM is told about one eSIM.
type EUICC struct {
	EID      ident.EID
	AgentKey []byte // SubjectPublicKeyInfo, DER; set where the agent signs instead of the chip
}

// A Task is one action on one eSIM.
type Task struct {
	ID               string // 32 hexadecimal digits: the transaction's UUID without hyphens
	EID              ident.EID
	Action           Action
	ICCID            ident.ICCID // empty for a download whose profile is not known
	ActivationCode   db.Secret
	ConfirmationCode db.Secret
	Rollback         bool // the device returns to the profile before if the new one cannot reach the eIM
	Until            time.Time
}

// A Stage is where the eIM stands with a task.
type Stage string

// The stages.
const (
	StageQueued    Stage = "queued"
	StageSent      Stage = "sent" // the IPA has it
	StageDone      Stage = "done"
	StageFailed    Stage = "failed"
	StageExpired   Stage = "expired"
	StageCancelled Stage = "cancelled"
	StageLost      Stage = "lost" // nobody can say
)

// An Outcome is the eIM's news of a task.
type Outcome struct {
	TaskID       string
	EID          ident.EID
	Stage        Stage
	ICCID        ident.ICCID // of the profile concerned, where the device has said it
	Code         int64       // the eUICC's or SM-DP+'s own
	Reason       string      // a message code of this package, or empty
	Message      string
	Reached      bool // the profile server was reached with the activation code, or nobody can say
	Evidence     []byte
	EvidenceKind string
	Witness      string // "eUICC", "agent" or "IPA": whose word it is
	At           time.Time
}

// A Report is what a device says is on one of its eSIMs: the whole of it.
type Report struct {
	EID          ident.EID
	Profiles     []Reported
	Evidence     []byte
	EvidenceKind string
	Witness      string
	At           time.Time
}

// Reported is one profile of a report.
type Reported struct {
	ICCID   ident.ICCID
	Active  bool
	Carrier string // service provider name, as the profile has it
	Name    string // profile name
	Type    string // "operational", "bootstrap", "test", others
}

// A Sighting is a sign of life of an eSIM's device.
type Sighting struct {
	EID     ident.EID
	At      time.Time
	Address string
}

// By says who asks, for records and events.
type By struct {
	Account string // SID
	User    string // who, as records show it
	Source  string // which API or service the request came from
}

// data adds who asked to what an event says.
func (by By) data(d map[string]any) map[string]any {
	if d == nil {
		d = map[string]any{}
	}
	if by.User != "" {
		d["by"] = by.User
	}
	if by.Source != "" {
		d["source"] = by.Source
	}
	return d
}

// Limits are what an operator may set. Zero fields take their default.
type Limits struct {
	Transaction time.Duration // for one action; 20 minutes
	Verify      time.Duration // for a device's report; 20 minutes
	Operation   time.Duration // for all steps together; 60 minutes
	KeepWork    time.Duration // finished transactions, operations, rollouts; 90 days
	KeepCodes   time.Duration // codes after their download; 30 days
	Silent      time.Duration // without a sign of life a device is disconnected; 5 minutes
	RuleRetry   time.Duration // before a template tries an eSIM again on which it failed; 24 hours
	Parallel    int           // operations of one rollout that run at a time; 1000
}

func (l Limits) filled() Limits {
	fill := func(d *time.Duration, usual time.Duration) {
		if *d <= 0 {
			*d = usual
		}
	}
	const day = 24 * time.Hour
	fill(&l.Transaction, 20*time.Minute)
	fill(&l.Verify, 20*time.Minute)
	fill(&l.Operation, time.Hour)
	fill(&l.KeepWork, 90*day)
	fill(&l.KeepCodes, 30*day)
	fill(&l.Silent, 5*time.Minute)
	fill(&l.RuleRetry, day)
	if l.Parallel <= 0 {
		l.Parallel = 1000
	}
	return l
}

// A Store keeps the domain's things. Set its fields, call [Store.Register]
// before the job queue runs, then use it; nothing may be changed afterwards.
type Store struct {
	DB     *db.DB
	Jobs   *jobs.Queue
	Events *event.Log
	EIM    EIM
	Limits Limits

	// ForgetCodes keeps a profile from being found by the carrier of the code
	// that it was downloaded with. The hosted service finds it only by the name
	// in the profile, and may activate another one instead.
	ForgetCodes bool

	// Deleted hears of a device that goes, in the transaction; nil is nobody.
	Deleted func(ctx context.Context, tx *db.Tx, id ID) error

	Now func() time.Time // the clock, time.Now if nil

	numbers numbers
}

func (s *Store) now() time.Time { return db.Now(s.Now) }

func (s *Store) limits() Limits { return s.Limits.filled() }

// record appends an event of this package.
func (s *Store) record(ctx context.Context, tx *db.Tx, e event.Event) error {
	if e.At.IsZero() {
		e.At = s.now()
	}
	return s.Events.Append(ctx, tx, e)
}

// numbers makes moments that no other of this process has, for the order of
// lists: the time in microseconds, or a little after it in a rush.
type numbers struct {
	mu   sync.Mutex
	last int64
}

// next returns a moment at least skip after the last one.
func (n *numbers) next(now time.Time, skip int64) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = max(n.last+1+skip, now.UnixMicro())
	return n.last
}

// newUUID returns a random UUID. RFC 9562, 5.4.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return uuidOf(hex.EncodeToString(b[:]))
}

// taskID is a UUID as the eIM writes it.
func taskID(uuid string) string { return strings.ReplaceAll(uuid, "-", "") }

// uuidOf writes 32 hexadecimal digits as a UUID.
func uuidOf(task string) string {
	if len(task) != 32 {
		return task
	}
	return task[:8] + "-" + task[8:12] + "-" + task[12:16] + "-" + task[16:20] + "-" + task[20:]
}

// exec runs a statement and says what it was for if it fails.
func exec(ctx context.Context, tx *db.Tx, what, statement string, args ...any) (int64, error) {
	n, err := tx.Exec(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return n, nil
}

// insert runs an insert for a row with a place of its own in its account's
// lists: the statement takes it as its last argument and does nothing on a
// conflict. Where another node had the same place, it gets another.
func (s *Store) insert(ctx context.Context, tx *db.Tx, what, statement string, args ...any) (created int64, err error) {
	var skip int64
	for try := range 40 {
		created = s.numbers.next(s.now(), skip)
		n, err := exec(ctx, tx, "store "+what, statement, append(args[:len(args):len(args)], created)...)
		if err != nil || n > 0 {
			return created, err
		}
		skip = mathrand.Int64N(1 << min(try+1, 20))
	}
	return 0, fmt.Errorf("store %s: there is one with its key", what)
}

// micros is a time as it is stored, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// moment reads what micros wrote.
func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return db.Time(n)
}
