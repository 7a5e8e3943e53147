// Package es2 is the operator's side of ES2+ (GSMA SGP.22, 5.3): a client of an
// SM-DP+ over mutual TLS, and the receiver of its progress calls. sim orders
// through it when an SM-DP+ of another maker takes the place of our own.
package es2

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/rsp"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// A Client calls the ES2+ functions of one SM-DP+.
type Client struct {
	// URL is where the SM-DP+ is: https://smdp.example.com[:port]. A path in it
	// is put before that of ES2+.
	URL string
	// Requester is the functionRequesterIdentifier of calls that carry none.
	Requester string
	// HTTP carries the calls; see [NewHTTP].
	HTTP *http.Client
	// Parallel bounds the calls that are under way at once; 0 means 8.
	Parallel int
}

// NewHTTP returns an HTTP client with the settings of ES2+: TLS 1.2 or later,
// the operator's certificate, no redirects.
func NewHTTP(config *tls.Config) *http.Client {
	if config == nil {
		config = &tls.Config{}
	}
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     config,
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
		},
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ErrUnreachable says that no answer came: whether the call was carried out is
// not known, and the same call with the same identifier may be made again.
var ErrUnreachable = errors.New("no answer")

// Post calls the function at url with JSON and reads the answer. An answer
// without content leaves out alone. It is the transport of ES2+ and of ES12.
func Post(ctx context.Context, client *http.Client, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode call of %s: %w", url, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call %s: %w", url, err)
	}
	request.Header.Set("Content-Type", rsp.ContentType)
	request.Header.Set(rsp.HeaderProtocol, rsp.Protocol)
	request.Header.Set("User-Agent", "godwit")
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("call %s: %w: %w", url, ErrUnreachable, err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("call %s: %w: %w", url, ErrUnreachable, err)
	}
	switch {
	case answer.StatusCode == http.StatusNoContent:
		return nil
	case answer.StatusCode >= 500:
		return fmt.Errorf("call %s: %w: %s", url, ErrUnreachable, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("call %s: %s: %s", url, answer.Status, strings.TrimSpace(string(content[:min(len(content), 200)])))
	case len(bytes.TrimSpace(content)) == 0:
		return nil
	}
	if err := json.Unmarshal(content, out); err != nil {
		return fmt.Errorf("call %s: read answer: %w", url, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, function string, in, out any) error {
	return Post(ctx, c.HTTP, strings.TrimSuffix(c.URL, "/")+rsp.PathES2+function, in, out)
}

// DownloadOrders takes profiles out of stock. Like the other functions it
// calls for many profiles: answers stand in the order of the calls, and a
// refusal is in the header of its answer. After an error some calls may have been
// carried out; calling again with the same identifiers finds out.
func (c *Client) DownloadOrders(ctx context.Context, calls []rsp.DownloadOrder) ([]rsp.DownloadOrderResult, error) {
	return each[rsp.DownloadOrder, rsp.DownloadOrderResult](ctx, c, rsp.FnDownloadOrder, calls,
		func(q *rsp.DownloadOrder) *rsp.RequestHeader { return &q.Header })
}

// ConfirmOrders says how profiles will be asked for.
func (c *Client) ConfirmOrders(ctx context.Context, calls []rsp.ConfirmOrder) ([]rsp.ConfirmOrderResult, error) {
	return each[rsp.ConfirmOrder, rsp.ConfirmOrderResult](ctx, c, rsp.FnConfirmOrder, calls,
		func(q *rsp.ConfirmOrder) *rsp.RequestHeader { return &q.Header })
}

// ReleaseProfiles allows downloads.
func (c *Client) ReleaseProfiles(ctx context.Context, calls []rsp.ReleaseProfile) ([]rsp.ReleaseProfileResult, error) {
	return each[rsp.ReleaseProfile, rsp.ReleaseProfileResult](ctx, c, rsp.FnReleaseProfile, calls,
		func(q *rsp.ReleaseProfile) *rsp.RequestHeader { return &q.Header })
}

// CancelOrders ends orders.
func (c *Client) CancelOrders(ctx context.Context, calls []rsp.CancelOrder) ([]rsp.CancelOrderResult, error) {
	return each[rsp.CancelOrder, rsp.CancelOrderResult](ctx, c, rsp.FnCancelOrder, calls,
		func(q *rsp.CancelOrder) *rsp.RequestHeader { return &q.Header })
}

func each[Q, R any](ctx context.Context, c *Client, function string, calls []Q, header func(*Q) *rsp.RequestHeader) ([]R, error) {
	answers := make([]R, len(calls))
	g, ctx := errgroup.WithContext(ctx)
	parallel := c.Parallel
	if parallel <= 0 {
		parallel = 8
	}
	g.SetLimit(parallel)
	for i := range calls {
		g.Go(func() error {
			q := calls[i]
			if h := header(&q); h.Requester == "" {
				h.Requester = c.Requester
			}
			return c.call(ctx, function, q, &answers[i])
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return answers, nil
}

// SendProgress tells an operator how one profile gets on.
// ES2+.HandleDownloadProgressInfo.
func (c *Client) SendProgress(ctx context.Context, info rsp.ProgressInfo) error {
	var answer struct {
		Header rsp.ResponseHeader `json:"header"`
	}
	answer.Header = rsp.Succeeded
	if err := c.call(ctx, rsp.FnProgressInfo, info, &answer); err != nil {
		return err
	}
	return answer.Header.Err()
}

// Receiver returns the door for progress calls, to be served at
// [rsp.PathES2]+[rsp.FnProgressInfo]. take stores the news and returns; an error of its has the
// SM-DP+ come again. Calls may be repeated: the call identifier tells.
func Receiver(take func(ctx context.Context, info rsp.ProgressInfo) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(rsp.HeaderProtocol, rsp.Protocol)
		if ct := r.Header.Get("Content-Type"); ct != "" {
			if media, _, err := mime.ParseMediaType(ct); err != nil || media != rsp.ContentType {
				http.Error(w, "progress information is application/json", http.StatusUnsupportedMediaType)
				return
			}
		}
		var info rsp.ProgressInfo
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer)).Decode(&info); err != nil {
			http.Error(w, "the body is no progress information: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := take(r.Context(), info); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
