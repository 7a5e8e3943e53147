// Package smsc carries short messages to devices and from them: it is an ESME
// at an SMSC, over SMPP v3.4, bound as a transceiver.
//
// [Client.Run] keeps the bind: it connects again with growing pauses, asks after
// the link when nothing comes, and keeps to the pace that the SMSC sets by
// throttling. [Client.Submit] hands over one message and says what is known of it
// afterwards: accepted, refused, not sent, or in doubt. What devices send, and the
// SMSC's receipts, go to [Options].Take, and are confirmed to the SMSC when that
// has kept them.
//
// The package knows no Sims and stores nothing. The messages of the protocol are
// gosmpp's; its sessions are not used, for they lose what became of a message
// when a link breaks.
package smsc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"godwit/db"
)

// A Plan says what sort of number addresses a device: the numbering plan
// indicator of SMPP v3.4, 5.2.6.
type Plan byte

// The plans that this package uses.
const (
	Unknown Plan = 0 // short codes and the like
	E164    Plan = 1 // a telephone number
	E212    Plan = 6 // an IMSI
)

// A Number is the address of a device or a service.
type Number struct {
	Plan   Plan
	Digits string // without +
}

// A Message is what a device is to get.
type Message struct {
	To        Number
	Text      string // of the GSM alphabet, at most 160 septets; see [Septets]
	Reference uint16 // comes back in the receipt, where the SMSC does that
	Validity  time.Duration
}

// Incoming is what the SMSC hands to us: a device's message, or a receipt.
type Incoming struct {
	From, To  Number
	Text      string
	Reference uint16   // user_message_reference, 0 for none
	Receipt   *Receipt // nil for a device's message
	Raw       []byte   // the whole deliver_sm as it came
}

// Options are the choices of a [Client]. What is zero has the value noted.
type Options struct {
	Address    string      // HOST:PORT of the SMSC
	TLS        *tls.Config // for SMSCs behind TLS, nil for none
	SystemID   string
	Password   db.Secret
	SystemType string
	Source     Number        // sender of all messages
	Window     int           // messages that wait for their answer, 16
	Rate       int           // messages a second, no limit
	Enquire    time.Duration // ask after a silent link, 30 s
	Patience   time.Duration // for one answer, 30 s
	Turn       time.Duration // how long a message waits for its turn before it is left, 40 s if zero
	Hold       time.Duration // first pause when the SMSC throttles, doubled while it goes on; 500 ms
	MaxHold    time.Duration // where that doubling ends, but for a quarter of it: how long after the end messages may be held back; 5 s
	Pause      time.Duration // before the second attempt to connect, doubled from there on; 1 s
	MaxPause   time.Duration // where doubling ends, a minute

	// Take keeps what came. On an error the SMSC is told to come again; a
	// [ErrNobody] it is told not to.
	Take func(ctx context.Context, in Incoming) error
	// Bound is told whenever messages can be sent again.
	Bound func(ctx context.Context)
}

// What is known of a message that was not accepted.
var (
	// ErrUnbound means that the message was not sent: there is no link now.
	ErrUnbound = errors.New("not bound to the SMSC")
	// ErrDoubt means that the message was sent and no answer came: the SMSC may
	// have it or not. Nothing in SMPP lets us ask without the SMSC's own
	// message identifier, which was in the answer.
	ErrDoubt = errors.New("the SMSC's answer was lost")
	// ErrNobody refuses a device's message whose sender is not ours.
	ErrNobody = errors.New("the sender is nobody's")
)

// A Client is one ESME.
type Client struct {
	options Options
	window  chan struct{}
	pace    pace

	mu   sync.Mutex
	link *link // nil while unbound
}

// New returns a client that is not bound yet.
func New(o Options) *Client {
	o.Window = cmp.Or(o.Window, 16)
	o.Enquire = cmp.Or(o.Enquire, 30*time.Second)
	o.Patience = cmp.Or(o.Patience, 30*time.Second)
	o.Turn = cmp.Or(o.Turn, 40*time.Second)
	o.Pause = cmp.Or(o.Pause, time.Second)
	o.MaxPause = cmp.Or(o.MaxPause, time.Minute)
	o.Hold = cmp.Or(o.Hold, 500*time.Millisecond)
	o.MaxHold = cmp.Or(o.MaxHold, 5*time.Second)
	c := &Client{options: o, window: make(chan struct{}, o.Window)}
	if o.Rate > 0 {
		c.pace.each = time.Second / time.Duration(o.Rate)
	}
	return c
}

// Run keeps the client bound until ctx is over, then unbinds.
func (c *Client) Run(ctx context.Context) error {
	pause := c.options.Pause
	for ctx.Err() == nil {
		began := time.Now()
		err := c.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > time.Minute {
			pause = c.options.Pause // it had held for a while
		}
		slog.WarnContext(ctx, "no link to the SMSC", "smsc", c.options.Address, "again_in", pause, "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, c.options.MaxPause)
	}
	return nil
}

// serve binds once and holds the bind until it breaks.
func (c *Client) serve(ctx context.Context) error {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", c.options.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.options.TLS != nil {
		secure := tls.Client(conn, c.options.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		conn = secure
	}
	l := newLink(conn, c.options)
	if err := l.bind(); err != nil {
		return err
	}
	slog.InfoContext(ctx, "bound to the SMSC", "smsc", c.options.Address, "system_id", c.options.SystemID)
	c.set(l)
	bound.Set(1)
	defer func() {
		c.set(nil)
		bound.Set(0)
	}()
	if c.options.Bound != nil {
		c.options.Bound(ctx)
	}
	return l.run(ctx)
}

func (c *Client) set(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
}

// current returns the link, nil while there is none.
func (c *Client) current() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// Ready reports whether messages can be sent now.
func (c *Client) Ready() bool { return c.current() != nil }

// Submit hands a message to the SMSC and returns the identifier under which the
// SMSC has accepted it. The error is [ErrUnbound], [ErrDoubt], a [*Refusal] or
// that of a context whose time is over, while the message has not left.
func (c *Client) Submit(ctx context.Context, m Message) (id string, err error) {
	defer func() { submitted.WithLabelValues(outcome(err)).Inc() }()
	if c.current() == nil {
		return "", ErrUnbound
	}
	turn, cancel := context.WithTimeout(ctx, c.options.Turn)
	defer cancel()
	select {
	case c.window <- struct{}{}:
		defer func() { <-c.window }()
	case <-turn.Done():
		return "", turn.Err()
	}
	if err := c.pace.wait(turn); err != nil {
		return "", err
	}
	l := c.current()
	if l == nil {
		return "", ErrUnbound
	}
	id, err = l.submit(ctx, m)
	if refusal, ok := errors.AsType[*Refusal](err); ok && refusal.Throttled() {
		c.pace.hold(c.options.Hold, c.options.MaxHold)
	} else if err == nil {
		c.pace.release()
	}
	return id, err
}

// A pace keeps messages apart in time: as far as configured, and further while
// the SMSC says that it is too fast.
type pace struct {
	each time.Duration

	mu    sync.Mutex
	next  time.Time
	pause time.Duration // the last that throttling has caused
}

// wait waits for this message's turn.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	turn := now
	if p.next.After(now) {
		turn = p.next
	}
	p.next = turn.Add(p.each)
	p.mu.Unlock()
	if !turn.After(now) {
		return nil
	}
	select {
	case <-time.After(turn.Sub(now)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hold lets nothing go for a while, longer each time.
func (p *pace) hold(first, longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := time.Now()
	if p.next.After(until.Add(p.each)) {
		return // several messages were under way when the SMSC began to throttle
	}
	p.pause = min(max(2*p.pause, first), longest)
	p.next = until.Add(p.pause + rand.N(p.pause/4+1))
}

// release forgets that the SMSC was throttling.
func (p *pace) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause = 0
}
