package callback

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"godwit/fault"
)

// bodyLimit is how much of an answer is read, only so that the connection can
// be used again; nothing in there matters.
const bodyLimit = 64 << 10

// newGuard makes what decides about addresses: public ones and those that were
// allowed.
func newGuard(o Options) *ssrf.Guardian {
	var v4, v6 []netip.Prefix
	for _, p := range o.Allow {
		if p.Addr().Is4() {
			v4 = append(v4, p.Masked())
		} else {
			v6 = append(v6, p.Masked())
		}
	}
	return ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
}

// allowsHost reports whether a host, with or without its port, may be at any
// address.
func (o Options) allowsHost(host, address string) bool {
	return slices.Contains(o.AllowHosts, host) || slices.Contains(o.AllowHosts, address)
}

// Check refuses a callback URL that can never be called: one that is no absolute
// http or https URL, or whose host is an address that callbacks may not reach.
// Names are judged when they are called, by what they lead to then. field is the
// parameter's name, for the refusal. No URL is no callback.
func (s *Sender) Check(field, raw string) error {
	if raw == "" {
		return nil
	}
	if err := CheckURL(field, raw); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fault.Field(field, "%.100q is not an absolute http or https URL", raw)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil || s.options.allowsHost(u.Hostname(), u.Host) {
		return nil
	}
	network := "tcp4"
	if ip.Is6() {
		network = "tcp6"
	}
	if err := newGuard(s.options).Safe(network, netip.AddrPortFrom(ip, 80).String(), nil); err != nil {
		return fault.Field(field, "callbacks go to public addresses, and %s is none that this server may call; its operator can allow it (--callback-allow)", u.Host)
	}
	return nil
}

// Dialer returns what makes connections to strangers' servers: to public
// addresses and to those that o allows. The address that is checked is the
// address that is dialled, so a name that changes its mind gains nothing.
func Dialer(o Options) func(ctx context.Context, network, address string) (net.Conn, error) {
	guard := newGuard(o)
	// A request that is given up leaves its dial behind; it may not last.
	open := &net.Dialer{Timeout: 10 * time.Second}
	guarded := &net.Dialer{Timeout: open.Timeout, Control: guard.Safe}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err == nil && o.allowsHost(host, address) {
			return open.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, address)
	}
}

// Client returns the client for requests to strangers' servers, by [Dialer]. It
// follows no redirects and knows no proxy.
func Client(o Options) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            Dialer(o),
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
			TLSHandshakeTimeout:    10 * time.Second,
			MaxIdleConns:           1000,
			MaxIdleConnsPerHost:    o.PerEndpoint,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		},
	}
}

// An outcome is how one attempt ended.
type outcome struct {
	at       time.Time
	duration time.Duration
	status   int    // HTTP status, 0 when there was no answer
	err      string // in words, empty when it was delivered
	again    bool   // another attempt may fare better
	unheard  bool   // no connection came about, so the receiver knows nothing of it
}

// request makes one attempt.
func (s *Sender) request(ctx context.Context, d delivery) (o outcome) {
	o.at = s.options.Now()
	begun := time.Now()
	defer func() { o.duration = time.Since(begun) }()

	signing, err := s.options.Signing(ctx, d.account)
	if err != nil {
		o.err, o.again = "the account's auth token, which signs, could not be read", true
		return o
	}
	l := d.target.limits
	ctx, done := context.WithTimeoutCause(ctx, l.total, fmt.Errorf("no complete answer within %v", l.total))
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	// One timer runs until the connection stands, another from the end of the
	// request until the answer begins.
	var connected atomic.Bool
	connecting := time.AfterFunc(l.connect, func() { cancel(fmt.Errorf("no connection within %v", l.connect)) })
	defer connecting.Stop()
	reading := time.AfterFunc(math.MaxInt64, func() { cancel(fmt.Errorf("no answer within %v", l.read)) })
	defer reading.Stop()
	req, err := newRequest(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { connecting.Stop(); connected.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { reading.Reset(l.read) },
	}), d, signing, o.at)
	if err != nil {
		o.err = "the request cannot be made: " + err.Error()
		return o
	}
	answer, err := s.client.Do(req)
	if err != nil {
		o.err = InWords(ctx, err)
		o.unheard = !connected.Load()
		o.again = !errors.Is(err, ssrf.ErrProhibitedIP)
		return o
	}
	defer answer.Body.Close()
	reading.Stop()
	// The status decides. What follows it is read so that the connection can
	// serve again, and may fail.
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, bodyLimit))
	o.status = answer.StatusCode
	switch {
	case o.status/100 == 2:
	case o.status/100 == 3:
		o.err = fmt.Sprintf("answered %d: redirects are not followed", o.status)
	default:
		o.err = strings.TrimSpace(fmt.Sprintf("answered %d %s", o.status, http.StatusText(o.status)))
		o.again = o.status >= 500 || o.status == http.StatusRequestTimeout || o.status == http.StatusTooEarly || o.status == http.StatusTooManyRequests
	}
	return o
}

func newRequest(ctx context.Context, d delivery, signing Signing, now time.Time) (*http.Request, error) {
	form, err := url.ParseQuery(d.form)
	if err != nil {
		return nil, err
	}
	u := d.target.url
	var body io.Reader
	signed, content := form, ""
	if d.method == http.MethodGet {
		if u.RawQuery != "" && d.form != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += d.form
		signed = nil
	} else {
		content = d.form
		body = strings.NewReader(content)
	}
	req, err := http.NewRequestWithContext(ctx, d.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if d.target.user != nil {
		password, _ := d.target.user.Password()
		req.SetBasicAuth(d.target.user.Username(), password)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	}
	req.Header.Set("Accept", "*/*")
	signing.sign(req, d, d.target.given, signed, content, now)
	return req, nil
}

// InWords says why there was no answer to a request of [Client], to the owner of
// the receiver. It names no URL.
func InWords(ctx context.Context, err error) string {
	if cause := context.Cause(ctx); cause != nil {
		return cause.Error()
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // the URL is in the record already
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return fmt.Sprintf("the name %s does not exist", e.Name)
		}
		return fmt.Sprintf("the name %s could not be resolved", e.Name)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate is not trusted: " + e.Err.Error()
	}
	switch {
	case errors.Is(err, ssrf.ErrProhibitedIP):
		return "the address is not a public one, and calling it is not allowed here"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to the host"
	}
	return err.Error()
}
