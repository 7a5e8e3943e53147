package carrier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ctrl is a client of the control interface that Osmocom programs offer:
// variables are got and set, each with a line of text. It connects when it is
// asked something and keeps a few connections.
type ctrl struct {
	address string
	idle    chan *ctrlConn
}

const (
	ctrlIdle = 4
	// neighbourPatience is how long a core network may take to answer.
	neighbourPatience = 10 * time.Second
)

func newCTRL(address string) *ctrl {
	return &ctrl{address: address, idle: make(chan *ctrlConn, ctrlIdle)}
}

// A ctrlError is an ERROR that the other side answered, in its words.
type ctrlError string

func (e ctrlError) Error() string { return string(e) }

type ctrlConn struct {
	net.Conn
	last atomic.Uint64 // number of the last request
	used bool
}

// get reads a variable.
func (c *ctrl) get(ctx context.Context, variable string) (string, error) {
	return c.ask(ctx, "GET", variable, "")
}

// set writes a variable. Setting a value twice does no harm with those used
// here: a connection that has died meanwhile is replaced without asking.
func (c *ctrl) set(ctx context.Context, variable, value string) error {
	_, err := c.ask(ctx, "SET", variable, value)
	return err
}

func (c *ctrl) ask(ctx context.Context, verb, variable, value string) (string, error) {
	if strings.ContainsAny(variable+value, "\x00\r\n") || strings.Contains(variable, " ") {
		return "", fmt.Errorf("%s is no variable of a control interface, or its value has more than one line", strconv.Quote(variable))
	}
	for {
		conn, err := c.connection(ctx)
		if err != nil {
			return "", err
		}
		answer, err := conn.ask(ctx, verb, variable, value)
		var refused ctrlError
		if err == nil || errors.As(err, &refused) {
			conn.used = true
			c.keep(conn)
			return answer, err
		}
		conn.Close()
		// One that was kept may have been closed by a restart since.
		if !conn.used || ctx.Err() != nil {
			return "", err
		}
	}
}

func (c *ctrl) connection(ctx context.Context) (*ctrlConn, error) {
	select {
	case conn := <-c.idle:
		return conn, nil
	default:
	}
	dialer := net.Dialer{Timeout: neighbourPatience}
	conn, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	return &ctrlConn{Conn: conn}, nil
}

func (c *ctrl) keep(conn *ctrlConn) {
	select {
	case c.idle <- conn:
	default:
		conn.Close()
	}
}

// close ends the connections that are not in use.
func (c *ctrl) close() {
	for {
		select {
		case conn := <-c.idle:
			conn.Close()
		default:
			return
		}
	}
}

// ask sends one request and waits for its answer. What the other side tells of
// its own accord (TRAP) in between is passed over.
func (c *ctrlConn) ask(ctx context.Context, verb, variable, value string) (string, error) {
	stop, err := deadline(ctx, c.Conn)
	if err != nil {
		return "", err
	}
	defer stop()
	id := strconv.FormatUint(c.last.Add(1), 10)
	request := verb + " " + id + " " + variable
	if verb == "SET" {
		request += " " + value
	}
	if _, err := c.Write(appendFrame(nil, streamExtended, []byte{extensionCTRL}, []byte(request))); err != nil {
		return "", err
	}
	for {
		stream, message, err := readFrame(c.Conn)
		if err != nil {
			return "", err
		}
		switch {
		case stream == streamCCM:
			answer, err := answerCCM(message, "godwit")
			if err != nil {
				return "", err
			}
			if _, err := c.Write(answer); err != nil {
				return "", err
			}
			continue
		case stream != streamExtended || len(message) == 0 || message[0] != extensionCTRL:
			continue
		}
		r, err := parseReply(message[1:])
		if err != nil {
			return "", err
		}
		switch {
		case r.verb == "TRAP" || r.id != id:
			continue
		case r.verb == "ERROR":
			return "", ctrlError(r.rest)
		case r.verb == verb+"_REPLY":
			name, answer, _ := strings.Cut(r.rest, " ")
			if name != variable {
				return "", fmt.Errorf("asked for %s, the control interface answered about %.60q", variable, name)
			}
			return answer, nil
		}
		return "", fmt.Errorf("the control interface answered %.60q to a %s", r.verb, verb)
	}
}

// A reply is one line of the other side: a word, the number of the request that
// it answers, the rest.
type reply struct{ verb, id, rest string }

func parseReply(message []byte) (r reply, err error) {
	verb, rest, ok := bytes.Cut(message, []byte(" "))
	id, rest, _ := bytes.Cut(rest, []byte(" "))
	if !ok || len(verb) == 0 || len(id) == 0 {
		return r, fmt.Errorf("the control interface said %.60q, which has no number", message)
	}
	return reply{string(verb), string(id), strings.TrimRight(string(rest), "\x00")}, nil
}

// deadline bounds what is done on a connection by the context and by
// [neighbourPatience].
func deadline(ctx context.Context, conn net.Conn) (stop func() bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	late := time.Now().Add(neighbourPatience)
	if at, ok := ctx.Deadline(); ok && at.Before(late) {
		late = at
	}
	if err := conn.SetDeadline(late); err != nil {
		return nil, err
	}
	return context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }), nil
}

// unreachable says what went wrong on the way to a neighbour.
func unreachable(what, address string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s at %s: %w", what, address, err)
}
