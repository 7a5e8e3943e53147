package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"godwit/ident"
	"godwit/rsp"
)

// A Target is an SM-DP+ to put load on.
type Target struct {
	URL     string         // https://host:port
	Address string         // SM-DP+ address as an LPA sends it
	OID     ident.OID      // its registered ID
	Roots   *x509.CertPool // what its TLS certificate must chain to
}

// A Download is one download that is to be made.
type Download struct {
	Chip       *Chip
	MatchingID ident.MatchingID
}

// Steps of a download, in their order.
var steps = []string{
	rsp.FnInitiateAuthentication, rsp.FnAuthenticateClient, rsp.FnGetBoundProfilePackage, rsp.FnHandleNotification,
}

// A Result says how a load went. Times are in milliseconds.
type Result struct {
	Downloads int
	Errors    int
	FirstErr  error
	Elapsed   time.Duration
	latencies []time.Duration            // of whole downloads, sorted
	steps     map[string][]time.Duration // of each function, sorted
}

// PerSecond returns completed downloads per second.
func (r *Result) PerSecond() float64 { return float64(r.Downloads) / r.Elapsed.Seconds() }

// Percentile returns the time that the fraction p of the downloads stayed
// within, in milliseconds.
func (r *Result) Percentile(p float64) float64 { return percentile(r.latencies, p) }

// StepPercentile is [Result.Percentile] of one ES9+ function.
func (r *Result) StepPercentile(function string, p float64) float64 {
	return percentile(r.steps[function], p)
}

func percentile(sorted []time.Duration, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := min(len(sorted)-1, int(p*float64(len(sorted))))
	return float64(sorted[at].Microseconds()) / 1000
}

// Run makes the downloads with as many at a time as clients says. keep holds
// each client's TLS connection open; otherwise every call makes a new one.
// progress, if not nil, is called now and then with the number that is done.
func Run(ctx context.Context, t Target, downloads []Download, clients int, keep bool, progress func(done int)) *Result {
	type sample struct {
		total time.Duration
		steps [4]time.Duration
		err   error
	}
	samples := make([]sample, len(downloads))
	var next, done atomic.Int64
	var group sync.WaitGroup
	begin := time.Now()
	for range clients {
		group.Go(func() {
			client := newClient(t, keep)
			defer client.http.CloseIdleConnections()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(downloads) {
					return
				}
				start := time.Now()
				samples[i].steps, samples[i].err = client.download(ctx, downloads[i])
				samples[i].total = time.Since(start)
				if n := done.Add(1); progress != nil && n%64 == 0 {
					progress(int(n))
				}
			}
		})
	}
	group.Wait()
	result := &Result{Elapsed: time.Since(begin), steps: map[string][]time.Duration{}}
	for _, s := range samples[:min(int(next.Load()), len(samples))] {
		if s.err != nil {
			if result.Errors++; result.FirstErr == nil {
				result.FirstErr = s.err
			}
			continue
		}
		result.Downloads++
		result.latencies = append(result.latencies, s.total)
		for i, step := range steps {
			result.steps[step] = append(result.steps[step], s.steps[i])
		}
	}
	slices.Sort(result.latencies)
	for _, times := range result.steps {
		slices.Sort(times)
	}
	return result
}

// Join adds the figures of another run, as if it had followed at once.
func (r *Result) Join(next *Result) {
	if r.FirstErr == nil {
		r.FirstErr = next.FirstErr
	}
	r.Downloads, r.Errors, r.Elapsed = r.Downloads+next.Downloads, r.Errors+next.Errors, r.Elapsed+next.Elapsed
	r.latencies = slices.Sorted(slices.Values(append(r.latencies, next.latencies...)))
	if r.steps == nil {
		r.steps = map[string][]time.Duration{}
	}
	for step, times := range next.steps {
		r.steps[step] = slices.Sorted(slices.Values(append(r.steps[step], times...)))
	}
}

// client is one LPA with a connection of its own.
type client struct {
	target Target
	http   *http.Client
}

func newClient(t Target, keep bool) *client {
	return &client{target: t, http: &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{
				RootCAs: t.Roots,
				// What cards and their LPAs offer; the hybrid default would
				// measure another handshake than the field sees.
				CurvePreferences: []tls.CurveID{tls.CurveP256},
			},
			DisableKeepAlives:   !keep,
			MaxIdleConnsPerHost: 1,
		},
	}}
}

// download makes one whole download and returns the time of each step.
func (c *client) download(ctx context.Context, d Download) (times [4]time.Duration, err error) {
	var initiated rsp.InitiateAuthenticationResponse
	if times[0], err = c.call(ctx, steps[0], rsp.InitiateAuthenticationRequest{
		SMDPAddress: c.target.Address, EUICCChallenge: rsp.NewChallenge(), EUICCInfo1: d.Chip.info1,
	}, &initiated); err != nil {
		return times, err
	}
	answer, err := d.Chip.authenticate(initiated.ServerSigned1, string(d.MatchingID))
	if err != nil {
		return times, fmt.Errorf("%s: %w (server said %+v)", steps[0], err, initiated.Header)
	}
	var offered rsp.AuthenticateClientResponse
	if times[1], err = c.call(ctx, steps[1], rsp.AuthenticateClientRequest{
		TransactionID: initiated.TransactionID, AuthenticateServerResponse: answer,
	}, &offered); err != nil {
		return times, err
	}
	metadata, err := rsp.ParseMetadata(offered.ProfileMetadata)
	if err != nil {
		return times, fmt.Errorf("%s: %w (server said %+v)", steps[1], err, offered.Header)
	}
	if answer, err = d.Chip.prepare(offered.SMDPSigned2, offered.SMDPSignature2); err != nil {
		return times, fmt.Errorf("%s: %w", steps[1], err)
	}
	var bound rsp.GetBoundProfilePackageResponse
	if times[2], err = c.call(ctx, steps[2], rsp.GetBoundProfilePackageRequest{
		TransactionID: initiated.TransactionID, PrepareDownloadResponse: answer,
	}, &bound); err != nil {
		return times, err
	}
	if len(bound.BoundProfilePackage) < 500 {
		return times, fmt.Errorf("%s: no package (server said %+v)", steps[2], bound.Header)
	}
	result, err := d.Chip.installed(initiated.TransactionID, metadata.ICCID, c.target.OID, c.target.Address)
	if err != nil {
		return times, err
	}
	times[3], err = c.call(ctx, steps[3], rsp.HandleNotificationRequest{PendingNotification: result}, nil)
	return times, err
}

// call makes one call of ES9+ and reads the answer into out; nil expects 204.
func (c *client) call(ctx context.Context, function string, in, out any) (time.Duration, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target.URL+rsp.PathES9+function, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", rsp.ContentType)
	request.Header.Set("User-Agent", rsp.UserAgent)
	request.Header.Set(rsp.HeaderProtocol, rsp.Protocol)
	response, err := c.http.Do(request)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", function, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", function, err)
	}
	want := http.StatusOK
	if out == nil {
		want = http.StatusNoContent
	}
	if response.StatusCode != want {
		return 0, fmt.Errorf("%s: HTTP status %d: %.200s", function, response.StatusCode, content)
	}
	if out == nil {
		return took, nil
	}
	if err := json.Unmarshal(content, out); err != nil {
		return 0, fmt.Errorf("%s: %w", function, err)
	}
	return took, nil
}
