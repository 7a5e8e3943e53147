package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
)

// An EIM is one to poll, as IPAs do.
type EIM struct {
	URL   string // https, host and port
	Roots *x509.CertPool
	EIDs  []ident.EID
	// Answer does what a package says and returns the result. It is asked by
	// Settle alone.
	Answer func(eid ident.EID, p *iot.GetEimPackageResponse) (*iot.ProvideEimPackageResult, error)
}

// A binding is one way to write what is polled for.
type binding struct {
	path, contentType string
	poll              func(q *iot.GetEimPackageRequest) []byte
	empty             []byte // must be in the answer to a poll that finds nothing
}

var bindings = []binding{
	{
		path: rsp.PathASN1, contentType: rsp.ContentTypeASN1, empty: iot.AppendASN1Response(nil, &iot.GetEimPackageResponse{Error: iot.EimNoPackage}),
		poll: func(q *iot.GetEimPackageRequest) []byte { return iot.AppendASN1Request(nil, q) },
	},
	{
		path: iot.PathESipa + iot.FnGetEimPackage, contentType: rsp.ContentType, empty: []byte(`"eimPackageError":1`),
		poll: func(q *iot.GetEimPackageRequest) []byte { return iot.MarshalJSONRequest(q) },
	},
}

func (b *binding) request(host string, body []byte) []byte {
	return append([]byte("POST "+b.path+" HTTP/1.1\r\nHost: "+host+"\r\nUser-Agent: "+iot.UserAgent+"\r\nContent-Type: "+b.contentType+
		"\r\n"+rsp.HeaderProtocol+": "+iot.Protocol+"\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"), body...)
}

func (e *EIM) dial(ctx context.Context) (*apiConn, string, error) {
	at, err := url.Parse(e.URL)
	if err != nil || at.Scheme != "https" || at.Port() == "" {
		return nil, "", fmt.Errorf("address %q of the eIM is not https://HOST:PORT", e.URL)
	}
	c, err := dialConn(ctx, at, &tls.Config{ServerName: at.Hostname(), RootCAs: e.Roots})
	return c, at.Host, err
}

// exchange sends a whole request. The body of the answer is good until the next.
func (c *apiConn) exchange(request []byte) (status int, body []byte, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, nil, err
	}
	status, err = c.answer()
	return status, c.body, err
}

// Settle polls for every eUICC until nothing waits for it.
func (e *EIM) Settle(ctx context.Context, clients int, progress func(done int)) error {
	var mu sync.Mutex
	next, first := 0, error(nil)
	take := func(err error) (ident.EID, bool) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && first == nil {
			first = err
		}
		if first != nil || next == len(e.EIDs) || ctx.Err() != nil {
			return "", false
		}
		next++
		if progress != nil {
			progress(next)
		}
		return e.EIDs[next-1], true
	}
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			c, host, err := e.dial(ctx)
			if err != nil {
				take(err)
				return
			}
			defer c.close()
			for eid, ok := take(nil); ok; eid, ok = take(err) {
				err = e.settle(c, host, eid)
			}
		})
	}
	group.Wait()
	if first != nil {
		return first
	}
	return ctx.Err()
}

// mostPackages bounds what an eIM may have waiting at the beginning.
const mostPackages = 20

func (e *EIM) settle(c *apiConn, host string, eid ident.EID) error {
	ask := func(q any) (any, error) {
		if err := c.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
			return nil, err
		}
		status, body, err := c.exchange(bindings[0].request(host, iot.AppendASN1Request(nil, q)))
		if err != nil {
			return nil, err
		}
		if status != 200 {
			return nil, fmt.Errorf("eIM: HTTP status %d: %.200s", status, body)
		}
		return iot.ParseASN1Response(bytes.Clone(body))
	}
	for range mostPackages {
		p, err := ask(&iot.GetEimPackageRequest{EID: eid})
		if err != nil {
			return err
		}
		answer, ok := p.(*iot.GetEimPackageResponse)
		if !ok {
			return fmt.Errorf("eIM: %T is no answer to a poll", p)
		}
		if answer.Error == iot.EimNoPackage {
			return nil
		}
		if answer.Error != 0 {
			return fmt.Errorf("eIM: error %d in the poll of %s", answer.Error, eid)
		}
		result, err := e.Answer(eid, answer)
		if err != nil {
			return err
		}
		if _, err := ask(result); err != nil {
			return err
		}
	}
	return fmt.Errorf("eIM: something always waits for %s", eid)
}

// Bindings that polls can use.
const (
	PollASN1 = "asn1"
	PollJSON = "json"
	PollBoth = "both" // half of the connections each
)

// A request is written once for each eUICC: a device does it once in minutes, the
// load thousands of times in a second.
func (e *EIM) requests(host string, b *binding) [][]byte {
	out := make([][]byte, len(e.EIDs))
	for i, eid := range e.EIDs {
		out[i] = b.request(host, b.poll(&iot.GetEimPackageRequest{EID: eid}))
	}
	return out
}

// Poll polls for a while on connections that are kept, each with one request at
// a time for an eUICC picked at random. Every answer must say that nothing
// waits.
func (e *EIM) Poll(ctx context.Context, which string, clients int, during time.Duration) (*ReadResult, error) {
	at, err := url.Parse(e.URL)
	if err != nil {
		return nil, err
	}
	written := make([][][]byte, len(bindings))
	for i := range bindings {
		written[i] = e.requests(at.Host, &bindings[i])
	}
	results := make([]ReadResult, clients)
	var group, ready sync.WaitGroup
	ready.Add(clients)
	start := make(chan time.Time)
	for i := range results {
		b := map[string]int{PollASN1: 0, PollJSON: 1, PollBoth: i % 2}[which]
		group.Go(func() { e.poll(ctx, written[b], bindings[b].empty, &ready, start, during, &results[i]) })
	}
	ready.Wait() // every connection is open: handshakes are not what is measured
	begin := time.Now()
	for range clients {
		start <- begin
	}
	group.Wait()
	all := &ReadResult{Elapsed: time.Since(begin)}
	for _, r := range results {
		all.join(r)
	}
	slices.Sort(all.times)
	return all, nil
}

func (e *EIM) poll(ctx context.Context, requests [][]byte, want []byte, ready *sync.WaitGroup, start <-chan time.Time, during time.Duration, r *ReadResult) {
	failed := func(err error) {
		if r.Errors++; r.FirstErr == nil {
			r.FirstErr = err
		}
	}
	c, _, err := e.dial(ctx)
	ready.Done()
	until := (<-start).Add(during)
	if err != nil {
		failed(err)
		return
	}
	defer c.close()
	if err := c.conn.SetDeadline(until.Add(answerTime)); err != nil {
		failed(err)
		return
	}
	choice := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	r.times = make([]time.Duration, 0, 1<<16)
	for now := time.Now(); now.Before(until) && ctx.Err() == nil && r.Errors < mostErrors; {
		begin := now
		status, body, err := c.exchange(requests[choice.IntN(len(requests))])
		now = time.Now()
		switch {
		case err != nil:
			failed(fmt.Errorf("poll: %w", err))
			return
		case status != 200 || !bytes.Contains(body, want):
			failed(fmt.Errorf("poll: HTTP status %d: %.200q", status, body))
		default:
			r.Requests++
			r.times = append(r.times, now.Sub(begin))
		}
	}
}

// EmptyList is what an eUICC without profiles answers to a package that asks for
// its profiles; other packages get no result.
func EmptyList(p *iot.PackageRequest) *iot.PackageResult {
	r := &iot.PackageResult{EimID: p.EimID, Counter: p.Counter, TransactionID: p.TransactionID, Sequence: p.Counter}
	for _, c := range p.PSMO {
		if c.Op == iot.OpList {
			r.Results = append(r.Results, iot.OpResult{Op: iot.OpList, Profiles: []iot.ProfileInfo{}})
		}
	}
	return r
}
