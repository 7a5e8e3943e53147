package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"godwit/fault"
	"godwit/once"
)

// Headers of repeated requests.
const (
	onceHeader     = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"
)

const (
	maxOnceKey = 255
	// inMemory is how much of a body is kept in memory while it is read for
	// its hash; what is larger goes to a temporary file.
	inMemory = 1 << 20
	// oncePatience is how long a request that was the second waits for the key of
	// the first to be seen.
	oncePatience = 5 * time.Second
	oncePause    = 20 * time.Millisecond
)

// serveOnce answers a POST that carries an Idempotency-Key: like the first one
// with this key if there was one, else by the handler.
func (d *Door) serveOnce(w http.ResponseWriter, r *Request, handler Handler) error {
	key := r.Header.Get(onceHeader)
	if key == "" || len(key) > maxOnceKey || strings.ContainsFunc(key, func(c rune) bool { return c < '!' || c > '~' }) {
		return fault.Field(onceHeader, "must have 1 to %d visible characters of ASCII and no blanks", maxOnceKey)
	}
	digest, body, err := spool(r)
	if err != nil {
		return err
	}
	defer body.Close()
	r.Body = body
	account := r.Caller.Account
	if done, err := d.replay(w, r, key, digest, false); done || err != nil {
		return err
	}
	first := *r
	first.Request = r.WithContext(d.Once.Along(r.Context(), account, key, digest))
	out := &keeping{recorder: recorder{ResponseWriter: w}}
	err = handler(out, &first)
	if errors.Is(err, once.ErrRepeated) {
		if done, err := d.replay(w, r, key, digest, true); done || err != nil {
			return err
		}
		return fault.New(fault.Conflict, "A request with this %s is being carried out; repeat this one in a moment", onceHeader)
	}
	if err != nil || out.status < 200 || out.status > 299 || out.lost {
		return err
	}
	answer := once.Answer{Status: out.status, ContentType: w.Header().Get("Content-Type"), Body: out.body.Bytes()}
	if err := d.Once.Keep(context.WithoutCancel(r.Context()), account, key, digest, answer); err != nil {
		slog.ErrorContext(r.Context(), "an answer is not kept for repetitions", "request", r.ID, "err", err)
	}
	return nil
}

// replay writes the answer to the first request with a key, if there was one.
// Where it is being written this moment, it is waited for.
func (d *Door) replay(w http.ResponseWriter, r *Request, key string, digest once.Digest, expected bool) (bool, error) {
	for deadline := time.Now().Add(oncePatience); ; {
		a, ok, err := d.Once.Find(r.Context(), r.Caller.Account, key, digest)
		switch {
		case errors.Is(err, once.ErrOther):
			return true, fault.Field(onceHeader, "%.40q was used for a request with another path, body or kind of credentials in the last %d hours: "+
				"repeat that request exactly, or use a new key", key, int(once.Remembered.Hours()))
		case err != nil:
			return true, err
		case !ok && !expected:
			return false, nil
		case ok && a.Status != 0:
			w.Header().Set(replayedHeader, "true")
			w.Header().Set("Content-Type", a.ContentType)
			w.WriteHeader(a.Status)
			_, _ = w.Write(a.Body) // an error here means that the client has gone
			return true, nil
		case ok && a.Patience <= 0:
			return true, d.reconstruct(w, r, a)
		case !ok && time.Now().After(deadline):
			return false, nil
		}
		pause := time.NewTimer(oncePause)
		select {
		case <-r.Context().Done():
			pause.Stop()
			return true, r.Context().Err()
		case <-pause.C:
		}
	}
}

// reconstruct answers for a request that was carried out by a process that died
// before it had answered: with the thing as it is now, whether the request made
// it or changed it.
func (d *Door) reconstruct(w http.ResponseWriter, r *Request, a once.Answer) error {
	path := strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, "/"), ".json")
	w.Header().Set(replayedHeader, "true")
	if !r.Route.ShownOnce && (a.Subject != "" && d.show(&created{w}, r, path+"/"+a.Subject) == nil || d.show(w, r, path) == nil) {
		return nil
	}
	w.Header().Del("Allow")
	w.Header().Del(replayedHeader)
	return fault.New(fault.Conflict, "The first request with this %s was carried out (%s), but its answer was lost; look at the resource", onceHeader, a.Subject)
}

// show answers like a GET, if the path leads to one thing and not to a list.
func (d *Door) show(w http.ResponseWriter, r *Request, path string) error {
	there := *r
	there.Request = r.Clone(r.Context())
	there.Method, there.Body = http.MethodGet, http.NoBody
	there.URL.Path, there.URL.RawPath, there.URL.RawQuery = path, "", ""
	handler, err := d.Routes.find(w, &there)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(there.Route.Path, "}") {
		return NotFound(&there)
	}
	return handler(w, &there)
}

// created turns the status of a read into that of a creation.
type created struct{ http.ResponseWriter }

func (c *created) WriteHeader(status int) {
	if status == http.StatusOK {
		status = http.StatusCreated
	}
	c.ResponseWriter.WriteHeader(status)
}

// keeping keeps a copy of an answer, unless that is larger than any that a
// creation has.
type keeping struct {
	recorder
	body bytes.Buffer
	lost bool
}

func (k *keeping) Write(b []byte) (int, error) {
	if k.lost = k.lost || k.body.Len()+len(b) > inMemory; !k.lost {
		k.body.Write(b)
	}
	return k.recorder.Write(b)
}

// spool reads a request's body to its end and returns its digest, and the body
// to be read once more. API keys may do less than their account: what that was
// answered is not for them.
func spool(r *Request) (digest once.Digest, body io.ReadCloser, err error) {
	sum := sha256.New()
	kind := r.Header.Get("Content-Type")
	fmt.Fprintf(sum, "%d %s %d %s %d %s ", len(r.Method), r.Method, len(r.URL.Path), r.URL.Path, len(r.URL.RawQuery), r.URL.RawQuery)
	fmt.Fprintf(sum, "%d %s ", len(kind), kind)
	if r.Caller.Key != "" {
		fmt.Fprint(sum, "key ")
	}
	var start bytes.Buffer
	n, err := io.Copy(io.MultiWriter(&start, sum), io.LimitReader(r.Body, inMemory))
	if err != nil {
		return digest, nil, fmt.Errorf("read request body: %w", err)
	}
	if n < inMemory {
		sum.Sum(digest[:0])
		return digest, io.NopCloser(&start), nil
	}
	body, err = spoolFile(&start, r.Body, sum)
	sum.Sum(digest[:0])
	return digest, body, err
}

func spoolFile(start *bytes.Buffer, rest io.Reader, sum hash.Hash) (io.ReadCloser, error) {
	f, err := os.CreateTemp("", "godwit-request-")
	if err != nil {
		return nil, fmt.Errorf("keep request body: %w", err)
	}
	os.Remove(f.Name()) // it lives as long as it is open
	_, err = start.WriteTo(f)
	if err == nil {
		_, err = io.Copy(io.MultiWriter(f, sum), rest)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("keep request body: %w", err)
	}
	return f, nil
}
