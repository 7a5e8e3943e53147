package ipa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"godwit/explain"
	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
)

// Bounds of answers, in octets: those that bring a profile package, and others.
const (
	maxProfileAnswer = 8 << 20
	maxAnswer        = 1 << 20
)

// maxPause is the longest time that an eIM may keep its IPAs away.
const maxPause = 24 * time.Hour

// A Client calls the functions of one eIM (ESipa). SGP.32 v1.2, 5.14 and 6.
type Client struct {
	// URL is scheme and authority: https://eim.example.com, with a port if it is
	// not 443.
	URL string

	// HTTP carries the requests. [Trust.NewHTTPClient] makes one that talks to the
	// eIM alone.
	HTTP *http.Client

	// JSON uses the JSON binding in place of ASN.1.
	JSON bool

	pause atomic.Int64 // what the last answer asked for in Retry-After
}

// NewClient returns the client for an eIM that its configuration names. Keys that
// the configuration pins take the place of those in t.
func NewClient(c *iot.EimConfiguration, t Trust) (*Client, error) {
	if err := rsp.CheckAddress(c.FQDN); err != nil {
		return nil, fmt.Errorf("eimFqdn of eIM %q: %w", c.ID, err)
	}
	if c.TLSPublicKey != nil || c.TLSCertificate != nil {
		t.PublicKey, t.Certificate = c.TLSPublicKey, c.TLSCertificate
	}
	client, err := t.NewHTTPClient()
	if err != nil {
		return nil, fmt.Errorf("eIM %q: %w", c.ID, err)
	}
	return &Client{URL: "https://" + c.FQDN, HTTP: client}, nil
}

// An ESipaError is a refusal of the eIM: the number that a function answered with.
type ESipaError struct {
	Function string // as SGP.32 calls it
	Code     int64
}

func (e *ESipaError) Error() string {
	if entry, ok := explain.ESipa(e.Function, int(e.Code)); ok {
		return fmt.Sprintf("the eIM refused %s: %s (%d)", e.Function, entry.Title, e.Code)
	}
	return fmt.Sprintf("the eIM refused %s with error %d", e.Function, e.Code)
}

// answered reports whether an error came from the eIM: the way to it is there.
func answered(err error) bool {
	if _, ok := errors.AsType[*ESipaError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*lpa.ProtocolError](err); ok {
		return true
	}
	_, ok := rsp.AsFailure(err)
	return ok
}

// judged reports whether an error is the eIM's verdict on what it was sent, which
// the same message will get again: a number, or an HTTP status that says so.
func judged(err error) bool {
	if _, ok := errors.AsType[*ESipaError](err); ok {
		return true
	}
	e, ok := errors.AsType[*lpa.ProtocolError](err)
	return ok && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}

// GetEimPackage asks for the next package. The error is an [*ESipaError] when the
// eIM has none and says another reason than that nothing waits.
func (c *Client) GetEimPackage(ctx context.Context, q *iot.GetEimPackageRequest) (*iot.GetEimPackageResponse, error) {
	p, err := call[iot.GetEimPackageResponse](ctx, c, q, maxAnswer)
	if err == nil && p.Error != 0 && p.Error != iot.EimNoPackage {
		return nil, &ESipaError{"GetEimPackage", p.Error}
	}
	return p, err
}

// ProvideEimPackageResult brings a result, and returns what the eIM acknowledged.
func (c *Client) ProvideEimPackageResult(ctx context.Context, q *iot.ProvideEimPackageResult) ([]int64, error) {
	p, err := call[iot.ProvideEimPackageResultResponse](ctx, c, q, maxAnswer)
	if err != nil {
		return nil, err
	}
	if p.Error != 0 {
		return nil, &ESipaError{"ProvideEimPackageResult", p.Error}
	}
	return p.Acknowledged, nil
}

// HandleNotification gives the eIM a notification to pass on. Only HTTP status 204
// means that it has it.
func (c *Client) HandleNotification(ctx context.Context, notification []byte) error {
	q := &iot.HandleNotification{Notification: notification}
	status, out, err := c.post(ctx, q, maxAnswer)
	if err == nil && status != http.StatusNoContent {
		err = lpa.Unexpected(c.URL, status, out)
	}
	return err
}

// call makes one function call.
func call[A any](ctx context.Context, c *Client, q any, limit int64) (*A, error) {
	_, body, err := c.post(ctx, q, limit)
	if err != nil {
		return nil, err
	}
	var p any
	if c.JSON {
		p, err = iot.ParseJSONResponse(iot.Function(q), body)
	} else {
		p, err = iot.ParseASN1Response(body)
	}
	if err != nil {
		return nil, &lpa.ProtocolError{URL: c.URL, Status: http.StatusOK, Text: err.Error()}
	}
	a, ok := p.(*A)
	if !ok {
		return nil, fmt.Errorf("the eIM answered another function: %T", p)
	}
	return a, nil
}

// post sends a request and returns status and body of the answer.
func (c *Client) post(ctx context.Context, message any, limit int64) (int, []byte, error) {
	path, contentType := rsp.PathASN1, rsp.ContentTypeASN1
	var body []byte
	if c.JSON {
		path, contentType = iot.PathESipa+iot.Function(message), rsp.ContentType
		body = iot.MarshalJSONRequest(message)
	} else {
		body = iot.AppendASN1Request(nil, message)
	}
	url := strings.TrimSuffix(c.URL, "/") + path
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	q.Header.Set("Content-Type", contentType)
	q.Header.Set("User-Agent", iot.UserAgent)
	q.Header.Set(rsp.HeaderProtocol, iot.Protocol)
	p, err := c.HTTP.Do(q)
	if err != nil {
		return 0, nil, err
	}
	defer p.Body.Close()
	c.notePause(p.Header.Get("Retry-After"))
	out, err := io.ReadAll(io.LimitReader(p.Body, limit+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer of %s: %w", url, err)
	}
	switch {
	case int64(len(out)) > limit:
		return 0, nil, &lpa.ProtocolError{URL: url, Status: p.StatusCode, Text: "the answer is too long"}
	case p.StatusCode != http.StatusOK && p.StatusCode != http.StatusNoContent:
		return 0, nil, lpa.Unexpected(url, p.StatusCode, out)
	}
	return p.StatusCode, out, nil
}

// notePause keeps the time that an answer asks for, in seconds or as a date.
func (c *Client) notePause(header string) {
	if header == "" {
		return
	}
	var pause time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		pause = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		pause = time.Until(at)
	}
	c.pause.Store(int64(min(max(pause, 0), maxPause)))
}

// takePause returns the time that was asked for last, once.
func (c *Client) takePause() time.Duration { return time.Duration(c.pause.Swap(0)) }
