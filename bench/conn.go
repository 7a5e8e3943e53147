package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"
)

// An apiConn is a connection of HTTP/1.1 that is kept for one request after the
// other. net/http's client hands each request to two goroutines and takes three
// times the processor of this, which on a shared machine the server is missing.
type apiConn struct {
	conn    net.Conn
	in      *bufio.Reader
	headers string // of all requests, with the line that ends them
	out     []byte
	body    []byte
}

// answerTime is how long an answer may take.
const answerTime = 30 * time.Second

// maxAnswer bounds the body of an answer.
const maxAnswer = 16 << 20

func (a API) dial(ctx context.Context) (*apiConn, error) {
	at, err := url.Parse(a.URL)
	if err != nil || at.Host == "" {
		return nil, fmt.Errorf("address %q of the API is not http(s)://HOST[:PORT]", a.URL)
	}
	c, err := dialConn(ctx, at, &tls.Config{ServerName: at.Hostname()})
	if err != nil {
		return nil, fmt.Errorf("connect to the API: %w", err)
	}
	c.headers = " HTTP/1.1\r\nHost: " + at.Host + "\r\nUser-Agent: godwit-bench\r\nAccept: application/json\r\nAuthorization: Basic " +
		base64.StdEncoding.EncodeToString([]byte(a.User+":"+a.Password)) + "\r\n\r\n"
	return c, nil
}

// dialConn connects to a server, over TLS where its scheme is https.
func dialConn(ctx context.Context, at *url.URL, config *tls.Config) (*apiConn, error) {
	address := at.Host
	if at.Port() == "" {
		address = net.JoinHostPort(at.Hostname(), at.Scheme)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if at.Scheme == "https" {
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = secure
	}
	return &apiConn{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

func (c *apiConn) close() { c.conn.Close() }

// get asks for path and query. The body is good until the next call.
func (c *apiConn) get(target string) (status int, body []byte, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return 0, nil, err
	}
	c.out = append(append(append(c.out[:0], "GET "...), target...), c.headers...)
	if _, err := c.conn.Write(c.out); err != nil {
		return 0, nil, fmt.Errorf("GET %s: %w", target, err)
	}
	status, err = c.answer()
	if err != nil {
		return 0, nil, fmt.Errorf("GET %s: %w", target, err)
	}
	return status, c.body, nil
}

// answer reads an answer; its body goes to c.body.
func (c *apiConn) answer() (status int, err error) {
	line, err := c.line()
	if err != nil {
		return 0, err
	}
	if len(line) < len("HTTP/1.1 200") || string(line[:9]) != "HTTP/1.1 " {
		return 0, fmt.Errorf("%.60q is no answer of HTTP/1.1", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("%.60q is no answer of HTTP/1.1", line)
	}
	length, chunked := -1, false
	for {
		line, err := c.line()
		if err != nil {
			return 0, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > maxAnswer {
				return 0, fmt.Errorf("a body of %.20q octets", value)
			}
		case len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	c.body = c.body[:0]
	switch {
	case chunked:
		return status, c.chunks()
	case length < 0:
		return 0, errors.New("an answer without its length")
	}
	return status, c.take(length)
}

// take reads octets of a body.
func (c *apiConn) take(n int) error {
	at := len(c.body)
	if at+n > maxAnswer {
		return errors.New("the body is too large")
	}
	if cap(c.body) < at+n {
		c.body = append(make([]byte, 0, max(2*cap(c.body), at+n)), c.body...)
	}
	c.body = c.body[:at+n]
	_, err := io.ReadFull(c.in, c.body[at:])
	return err
}

// chunks reads a body that comes in chunks. RFC 9112, 7.1.
func (c *apiConn) chunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return fmt.Errorf("chunk size %.20q", line)
		}
		if err := c.take(int(size)); err != nil {
			return err
		}
		if end, err := c.line(); err != nil || len(end) != 0 {
			return errors.Join(err, errors.New("a chunk does not end"))
		}
		if size == 0 {
			return nil
		}
	}
}

// line reads a line without its end.
func (c *apiConn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
