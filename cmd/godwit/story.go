package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"godwit/callback"
	"godwit/db"
)

// A story is told one line a step: how long it took, what happened, and what
// proves it.
type story struct {
	out    io.Writer
	people bool // a terminal, with somebody before it
	began  time.Time
	last   time.Time
}

func (s *story) tell(what, proof string, args ...any) {
	now := time.Now()
	if s.last.IsZero() {
		s.last = s.began
	}
	mark, strong, weak, reset := "ok", "", "", ""
	if s.people {
		mark, strong, weak, reset = "\x1b[32m✓\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
	}
	fmt.Fprintf(s.out, "%s %5d ms  %s%-33s%s %s%s%s\n", mark, now.Sub(s.last).Milliseconds(), strong, what, reset, weak, fmt.Sprintf(proof, args...), reset)
	s.last = now
}

func (s *story) fail(err error) {
	mark := "FAILED"
	if s.people {
		mark = "\x1b[31m✗\x1b[0m"
	}
	fmt.Fprintf(s.out, "%s %v\n", mark, err)
}

// hooks is a customer's server that takes callbacks. It believes only those
// with a good signature.
type hooks struct {
	url   string
	token string
	heard chan url.Values
	kept  []url.Values // heard, and not yet waited for
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if callback.Sign(db.Secret(h.token), h.url, r.PostForm) != r.Header.Get("X-Twilio-Signature") {
		http.Error(w, "the signature is wrong", http.StatusForbidden)
		return
	}
	h.heard <- r.PostForm
	w.WriteHeader(http.StatusNoContent)
}

// patience is how long a callback may take, on a machine that has much else to do.
const patience = time.Minute

// wait returns the callback that has the given parameters.
func (h *hooks) wait(pairs ...string) (url.Values, error) {
	fits := func(v url.Values) bool {
		for i := 0; i < len(pairs); i += 2 {
			if v.Get(pairs[i]) != pairs[i+1] {
				return false
			}
		}
		return true
	}
	for i, v := range h.kept {
		if fits(v) {
			h.kept = append(h.kept[:i], h.kept[i+1:]...)
			return v, nil
		}
	}
	late := time.After(patience)
	for {
		select {
		case v := <-h.heard:
			if fits(v) {
				return v, nil
			}
			if v.Get("ESimProfileStatus") == "failed" {
				return nil, fmt.Errorf("%s failed: %s %s", v.Get("ESimProfileSid"), v.Get("ErrorCode"), v.Get("ErrorMessage"))
			}
			h.kept = append(h.kept, v)
		case <-late:
			return nil, fmt.Errorf("no callback with %v came within %s", pairs, patience)
		}
	}
}
