package bench

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"
)

// An API is a Super SIM API to read from.
type API struct {
	URL            string // http or https, host and port
	User, Password string // HTTP Basic
}

// What can be read: one resource by its SID, or a page of a list.
const (
	ReadSim      = "sim"
	ReadSims     = "sims"
	ReadProfile  = "esim"
	ReadProfiles = "esims"
)

// resources are where these stand.
var resources = map[string]struct{ path, prefix string }{
	ReadSim: {"/v1/Sims", "HS"}, ReadSims: {"/v1/Sims", "HS"},
	ReadProfile: {"/v1/ESimProfiles", "HP"}, ReadProfiles: {"/v1/ESimProfiles", "HP"},
}

// listSize is the PageSize of lists that are measured, the API's default.
const listSize = "50"

// A Stock is what there is to read: every SID that the API lists, and where its
// pages begin.
type Stock struct {
	what  string
	sids  [][16]byte // without their prefix
	pages []string   // path and query of pages of listSize all over the list
}

// Stored returns how many things the API has listed.
func (s *Stock) Stored() int { return len(s.sids) }

// TakeStock reads a whole list, 1000 items at a time. progress, if not nil, is
// called with the number that is known so far.
func (a API) TakeStock(ctx context.Context, what string, progress func(known int)) (*Stock, error) {
	resource, ok := resources[what]
	if !ok {
		return nil, fmt.Errorf("there is nothing called %q to read", what)
	}
	c, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	s := &Stock{what: what, pages: []string{resource.path + "?PageSize=" + listSize}}
	for next := resource.path + "?PageSize=1000"; next != ""; {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		status, body, err := c.get(next)
		if err != nil {
			return nil, err
		}
		if status != 200 {
			return nil, fmt.Errorf("GET %s: HTTP status %d: %.300s", next, status, body)
		}
		if err := s.add(resource.prefix, body); err != nil {
			return nil, fmt.Errorf("GET %s: %w", next, err)
		}
		if progress != nil {
			progress(len(s.sids))
		}
		if next, err = following(body); err != nil {
			return nil, fmt.Errorf("list %s: %w", what, err)
		}
		if next != "" {
			page, err := url.Parse(next)
			if err != nil {
				return nil, err
			}
			q := page.Query()
			q.Set("PageSize", listSize)
			s.pages = append(s.pages, page.Path+"?"+q.Encode())
		}
	}
	if len(s.sids) == 0 {
		return nil, fmt.Errorf("nothing is stored under %s: nothing can be read", resource.path)
	}
	return s, nil
}

// add notes the SIDs in a page. It looks for them instead of reading the JSON,
// which for millions would take minutes.
func (s *Stock) add(prefix string, body []byte) error {
	mark := []byte(`"sid":"` + prefix)
	for {
		at := bytes.Index(body, mark)
		if at < 0 {
			return nil
		}
		body = body[at+len(mark):]
		var sid [16]byte
		if len(body) < 33 || body[32] != '"' {
			return errors.New("a SID is not 2 letters and 32 digits")
		}
		if _, err := hex.Decode(sid[:], body[:32]); err != nil {
			return fmt.Errorf("a SID is not 2 letters and 32 digits: %w", err)
		}
		s.sids = append(s.sids, sid)
	}
}

// following returns path and query of the next page, "" after the last.
func following(body []byte) (string, error) {
	at := bytes.LastIndex(body, []byte(`"meta":{`))
	if at < 0 {
		return "", errors.New("a page has no meta")
	}
	var meta struct {
		Next *string `json:"next_page_url"`
	}
	if err := json.NewDecoder(bytes.NewReader(body[at+len(`"meta":`):])).Decode(&meta); err != nil {
		return "", fmt.Errorf("meta of a page: %w", err)
	}
	if meta.Next == nil {
		return "", nil
	}
	next, err := url.Parse(*meta.Next)
	if err != nil {
		return "", fmt.Errorf("next page: %w", err)
	}
	return next.RequestURI(), nil
}

// A ReadResult says how reading went. Times are in milliseconds.
type ReadResult struct {
	Requests int // answered well
	Errors   int
	FirstErr error
	Elapsed  time.Duration
	times    []time.Duration // sorted
}

// PerSecond returns good answers per second.
func (r *ReadResult) PerSecond() float64 { return float64(r.Requests) / r.Elapsed.Seconds() }

// Percentile returns the time that the fraction p of the requests stayed
// within, in milliseconds.
func (r *ReadResult) Percentile(p float64) float64 { return percentile(r.times, p) }

// join adds what one connection has done. The times are to be sorted then.
func (r *ReadResult) join(one ReadResult) {
	r.Requests, r.Errors = r.Requests+one.Requests, r.Errors+one.Errors
	r.times = append(r.times, one.times...)
	if r.FirstErr == nil {
		r.FirstErr = one.FirstErr
	}
}

// Read reads for a while, with as many connections as clients says, each with
// one request at a time. Every request picks at random, evenly, among all that is in
// stock; every answer must have status 200 and be about what was asked for.
func (a API) Read(ctx context.Context, s *Stock, clients int, during time.Duration) *ReadResult {
	results := make([]ReadResult, clients)
	var group sync.WaitGroup
	begin := time.Now()
	for i := range results {
		group.Go(func() { a.read(ctx, s, begin.Add(during), &results[i]) })
	}
	group.Wait()
	all := &ReadResult{Elapsed: time.Since(begin)}
	for _, r := range results {
		all.join(r)
	}
	slices.Sort(all.times)
	return all
}

// mostErrors ends a client: what fails that often fails always.
const mostErrors = 10

func (a API) read(ctx context.Context, s *Stock, until time.Time, r *ReadResult) {
	failed := func(err error) {
		if r.Errors++; r.FirstErr == nil {
			r.FirstErr = err
		}
	}
	var c *apiConn
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	choice := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for now := time.Now(); now.Before(until) && ctx.Err() == nil && r.Errors < mostErrors; {
		if c == nil {
			var err error
			if c, err = a.dial(ctx); err != nil {
				failed(err)
				return
			}
		}
		ask := s.pick(choice)
		begin := now
		status, body, err := c.get(ask.target)
		now = time.Now()
		switch {
		case err != nil:
			failed(err)
			c.close()
			c = nil
		case status != 200:
			failed(fmt.Errorf("GET %s: HTTP status %d: %.300s", ask.target, status, body))
		case !bytes.Contains(body, ask.want):
			failed(fmt.Errorf("GET %s: the answer is about something else: %.300s", ask.target, body))
		default:
			r.Requests++
			r.times = append(r.times, now.Sub(begin))
		}
	}
}

// An ask is one request and what must be in its answer.
type ask struct {
	target string
	want   []byte
}

func (s *Stock) pick(choice *rand.Rand) ask {
	switch s.what {
	case ReadSims, ReadProfiles:
		return ask{s.pages[choice.IntN(len(s.pages))], []byte(`"meta":{`)}
	}
	resource := resources[s.what]
	sid := resource.prefix + hex.EncodeToString(s.sids[choice.IntN(len(s.sids))][:])
	return ask{resource.path + "/" + sid, []byte(`"sid":"` + sid + `"`)}
}
