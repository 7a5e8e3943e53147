// Package monitor tells customers' servers what has changed: documents of
// messages, each with a record as the API shows it, pushed by HTTP or fetched
// by the client.
//
// Nothing is written for a monitor when something changes. The record of events
// is written with every change, in its transaction; a monitor is a place in it.
// One node at a time goes from there on (push.go), and moves the place when the
// target has taken what came before: at least once, in order, whatever dies in
// between.
//
// What the messages are the package does not know: that is the [Source]'s.
package monitor

import (
	"context"
	"net/http"
	"time"

	"godwit/db"
	"godwit/event"
)

// A Type says how messages reach the client.
type Type string

// The types.
const (
	HTTP    Type = "http"    // they are sent
	Polling Type = "polling" // the client fetches them
)

// A Status says where a monitor stands.
type Status string

// The statuses.
const (
	Inactive Status = "inactive" // its target has not answered yet
	Active   Status = "active"
	Disabled Status = "disabled" // switched off: it was asked for, or the target kept failing
)

// Statuses lists them all.
var Statuses = []Status{Inactive, Active, Disabled}

// Bounds of monitors.
const (
	MaxMonitors      = 100 // of an account
	MaxTopics        = 50
	MaxBatchSize     = 1000
	MaxBatchDuration = 3600    // seconds
	MaxDocument      = 1 << 20 // octets of messages, unless one alone is larger
	maxHeaders       = 30
	maxSecrets       = 16 << 10 // octets
	maxURL           = 2000
	maxText          = 255
	maxKey           = 100
)

// A Monitor is what an account wants to be told, and where.
type Monitor struct {
	ID            int64 // the moment of its creation, in microseconds
	Account       string
	Type          Type
	Topics        []string // "devices", or "devices/KEY" for one record
	URL           string
	Method        string   // POST or PUT
	HeaderNames   []string // the values are secret
	Persistent    bool     // what comes while the target is away is kept for it
	BatchSize     int64    // messages of a document
	BatchDuration int64    // seconds that a document waits for more messages
	Compression   string   // "none" or "gzip"
	Description   string
	Status        Status
	FailingSince  time.Time // zero while the target takes what it is sent
	LastError     string    // in words, while it fails
	LastConnect   time.Time
	LastSent      time.Time
	CreatedBy     string
	CreatedAt     time.Time
	UpdatedAt     time.Time

	secrets  secrets
	version  int64
	start    event.Place
	place    event.Place
	failures int64
}

// secrets are what a monitor shows to its target and to nobody else.
type secrets struct {
	Headers [][2]string `json:"headers,omitempty"` // names and values
	Token   string      `json:"token,omitempty"`
}

func (s secrets) none() bool { return len(s.Headers) == 0 && s.Token == "" }

// A Source knows what events are about, and makes messages of them.
type Source interface {
	// Topics lists the resources that can be monitored.
	Topics() []string
	// Kinds returns the kinds of events that are about a resource, as LIKE has them.
	Kinds(topic string) []string
	// About returns the resource and the key of the record that an event is about.
	About(e event.Event) (topic, key string, ok bool)
	// Message returns the message of an event that is about something: a JSON
	// object. An error is trouble of our own.
	Message(ctx context.Context, e event.Event) ([]byte, error)
}

// A Store keeps monitors and, while [Store.Run] runs, serves them. Set its
// fields, then use it.
type Store struct {
	DB     *db.DB
	Events *event.Log
	Source Source

	Client *http.Client                              // for requests to strangers' servers
	Check  func(field, url string) error             // refuses URLs that it would not reach
	Words  func(ctx context.Context, e error) string // says why a request of it failed

	// A monitor is switched off when so many attempts failed one after the
	// other, 10 if zero, over so long a time, 24 hours if zero.
	OffFailures int64
	OffAfter    time.Duration

	// Retry is how long to wait after the failures'th failure; twice as long each
	// time if nil, from a second to five minutes.
	Retry func(failures int64) time.Duration
	// Lease is how long a node leads on when it is not heard of any more, 15
	// seconds if zero.
	Lease time.Duration
	Now   func() time.Time // the clock, time.Now if nil

	pusher
}

func (s *Store) now() time.Time { return db.Now(s.Now) }
