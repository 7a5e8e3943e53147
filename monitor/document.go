package monitor

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"godwit/event"
)

// A Message is one change, as it is told.
type Message struct {
	JSON  []byte // an object
	At    time.Time
	place event.Place
}

// readAtOnce is how many events are looked at together.
const readAtOnce = 200

// A bound is how much is read at a time.
type bound struct {
	size   int  // messages
	octets int  // of them together
	one    bool // but one in any case
	looks  int  // at events, readAtOnce each; any number if zero
}

// messages returns what a monitor is to tell after a place. full says that a
// bound ended it; else there is no more. next is the place to go on from.
func (s *Store) messages(ctx context.Context, m Monitor, from event.Place, b bound) (list []Message, next event.Place, full bool, err error) {
	f := event.Filter{Account: m.Account, Kinds: s.kinds(m.Topics)}
	next = from
	for look := 1; ; look++ {
		events, end, err := s.Events.After(ctx, f, next, readAtOnce)
		if err != nil {
			return list, next, false, err
		}
		for _, e := range events {
			if topic, key, ok := s.Source.About(e.Event); ok && m.wants(topic, key) {
				text, err := s.Source.Message(ctx, e.Event)
				if err != nil {
					return list, next, false, fmt.Errorf("message of event %d: %w", e.ID, err)
				}
				if b.octets -= len(text); b.octets < 0 && (len(list) > 0 || !b.one) {
					return list, next, true, nil
				}
				list = append(list, Message{text, e.At, e.Place})
			}
			if next = e.Place; len(list) == b.size {
				return list, next, true, nil
			}
		}
		if next = end; len(events) < readAtOnce || look == b.looks {
			return list, next, len(events) == readAtOnce, nil
		}
	}
}

// document puts messages together. One without any is a keep-alive.
func document(list []Message) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Document":{"Msg":[`)
	for i, m := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(m.JSON)
	}
	b.WriteString(`]}}`)
	return b.Bytes()
}

const (
	attemptTime = 15 * time.Second // for one request
	patience    = 5 * time.Second  // with one under way at the end
	answerLimit = 64 << 10         // octets of an answer that are read; nothing in there matters
)

// send makes one attempt and says in words why it failed; nothing if it did not.
func (s *Store) send(ctx context.Context, m Monitor, body []byte) string {
	ended := ctx
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), attemptTime, fmt.Errorf("no answer within %v", attemptTime))
	defer cancel()
	stop := context.AfterFunc(ended, func() { time.AfterFunc(patience, cancel) })
	defer stop()
	if m.Compression == "gzip" {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body) // into memory, which does not fail
		_ = w.Close()
		body = b.Bytes()
	}
	q, err := http.NewRequestWithContext(ctx, m.Method, m.URL, bytes.NewReader(body))
	if err != nil {
		return "the request cannot be made"
	}
	q.Header.Set("User-Agent", "godwit")
	q.Header.Set("Content-Type", "application/json")
	if m.Compression == "gzip" {
		q.Header.Set("Content-Encoding", "gzip")
	}
	switch {
	case m.secrets.Token == "":
	case strings.Contains(m.secrets.Token, ":"):
		q.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(m.secrets.Token)))
	default:
		q.Header.Set("Authorization", "Bearer "+m.secrets.Token)
	}
	for _, h := range m.secrets.Headers {
		q.Header.Del(h[0]) // also of User-Agent
	}
	for _, h := range m.secrets.Headers {
		q.Header.Add(h[0], h[1])
	}
	a, err := s.Client.Do(q)
	if err != nil {
		return s.Words(ctx, err)
	}
	defer a.Body.Close()
	// The status decides. What follows it is read so that the connection can
	// serve again, and may fail.
	_, _ = io.Copy(io.Discard, io.LimitReader(a.Body, answerLimit))
	switch a.StatusCode / 100 {
	case 2:
		return ""
	case 3:
		return fmt.Sprintf("answered %d: redirects are not followed", a.StatusCode)
	}
	return strings.TrimSpace(fmt.Sprintf("answered %d %s", a.StatusCode, http.StatusText(a.StatusCode)))
}
