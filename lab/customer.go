package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A customer is a user of the Remote Manager API, who asks again when the server
// is not there.
type customer struct {
	http *http.Client
	at   Server
}

// errUnheard is the error of a request whose answer was lost: nobody knows what
// became of it.
var errUnheard = errors.New("the answer was lost")

// An apiError is an answer that is no success.
type apiError struct {
	Status  int
	Message string
}

func (e *apiError) Error() string { return fmt.Sprintf("HTTP status %d: %s", e.Status, e.Message) }

// once makes a request once.
func (c *customer) once(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, c.at.URL+path, content)
	if err != nil {
		return err
	}
	q.SetBasicAuth(c.at.User, c.at.Password)
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	p, err := c.http.Do(q)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnheard, err)
	}
	defer p.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(p.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("%w: %w", errUnheard, err)
	}
	if p.StatusCode >= 300 {
		var told struct {
			Message string `json:"error_message"`
		}
		if json.Unmarshal(answer, &told) != nil || told.Message == "" {
			told.Message = string(answer[:min(len(answer), 200)])
		}
		return &apiError{p.StatusCode, told.Message}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// again makes a request that may be made more than once until it is answered.
func (c *customer) again(ctx context.Context, method, path string, body, into any) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := c.once(ctx, method, path, body, into)
		refused, answered := errors.AsType[*apiError](err)
		if err == nil || answered && refused.Status != http.StatusTooManyRequests && refused.Status < 500 || !answered && !errors.Is(err, errUnheard) {
			return err
		}
		if ctx.Err() != nil {
			return err
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
	}
}

// list reads all pages of an inventory.
func list[T any](ctx context.Context, c *customer, resource string) (all []T, err error) {
	next := "/ws/v1/" + resource + "/inventory?" + url.Values{"size": {"1000"}}.Encode()
	for next != "" {
		var page struct {
			List []T    `json:"list"`
			Next string `json:"next_uri"`
		}
		if err := c.again(ctx, http.MethodGet, next, nil, &page); err != nil {
			return nil, fmt.Errorf("list %s: %w", resource, err)
		}
		all, next = append(all, page.List...), page.Next
	}
	return all, nil
}
