package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"godwit/bench"
)

// benchAPICommand reads from a running server.
type benchAPICommand struct {
	apiFlags
	What    string  `help:"What to read: a Sim by SID, a page of 50 Sims anywhere in the list, or the same of ESimProfiles." enum:"sim,sims,esim,esims" default:"sim"`
	Clients []int   `help:"Connections, each with one request at a time; several numbers, as 1,8,32, make a run each." default:"8"`
	Seconds float64 `help:"How long each run reads." default:"10"`
	JSON    bool    `name:"json" help:"Print one JSON object, or an array for several runs."`
}

// apiFigures are a contract: scripts read them.
type apiFigures struct {
	PerSecond float64 `json:"requests_per_second"`
	P50       float64 `json:"p50_ms"`
	P95       float64 `json:"p95_ms"`
	P99       float64 `json:"p99_ms"`
	Errors    int     `json:"errors"`
	Stored    int     `json:"stored"`
	ServerCPU float64 `json:"server_cpu_us"` // of one request
	BenchCPU  float64 `json:"bench_cpu_us"`  // of one request, on this side
	Memory    float64 `json:"server_memory_mb"`
	Requests  int     `json:"requests"`
	Clients   int     `json:"clients"`
	Seconds   float64 `json:"seconds"`
	What      string  `json:"what"`
	firstErr  error
}

// Validate refuses a load that is none.
func (c benchAPICommand) Validate() error {
	if len(c.Clients) == 0 || slices.Min(c.Clients) < 1 || c.Seconds <= 0 {
		return errors.New("--clients is 1 or more, --seconds more than 0")
	}
	return nil
}

func (c benchAPICommand) Run(ctx context.Context) error {
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	api := bench.API{URL: client.base, User: client.user, Password: client.password}
	m := newMeter("listing", 0)
	stock, err := api.TakeStock(ctx, c.What, m.at)
	m.end()
	if err != nil {
		return err
	}
	var all []*apiFigures
	for _, clients := range c.Clients {
		figures, err := c.measure(ctx, api, stock, clients)
		if err != nil {
			return err
		}
		if all = append(all, figures); !c.JSON {
			figures.print()
		}
	}
	if c.JSON {
		var out any = all
		if len(all) == 1 {
			out = all[0]
		}
		if err := json.NewEncoder(stdout).Encode(out); err != nil {
			return err
		}
	}
	for _, f := range all {
		if f.Errors > 0 {
			return fmt.Errorf("%d requests failed, the first with: %w", f.Errors, f.firstErr)
		}
	}
	return ctx.Err()
}

// measure makes one run, after a short one that does not count: connections,
// statements and caches are then as they stay.
func (c benchAPICommand) measure(ctx context.Context, api bench.API, stock *bench.Stock, clients int) (*apiFigures, error) {
	api.Read(ctx, stock, clients, time.Second)
	before, err := serverProcess(ctx, api.URL)
	if err != nil {
		return nil, err
	}
	ours := ownCPU()
	r := api.Read(ctx, stock, clients, time.Duration(c.Seconds*float64(time.Second)))
	ours = ownCPU() - ours
	after, err := serverProcess(ctx, api.URL)
	if err != nil {
		return nil, err
	}
	f := &apiFigures{
		PerSecond: r.PerSecond(), P50: r.Percentile(0.50), P95: r.Percentile(0.95), P99: r.Percentile(0.99), Errors: r.Errors,
		Stored: stock.Stored(), Memory: after.memory / (1 << 20), Requests: r.Requests, Clients: clients, Seconds: r.Elapsed.Seconds(),
		What: c.What, firstErr: r.FirstErr,
	}
	if r.Requests > 0 {
		f.ServerCPU = (after.cpu - before.cpu) * 1e6 / float64(r.Requests)
		f.BenchCPU = ours * 1e6 / float64(r.Requests)
	}
	return f, nil
}

func (f *apiFigures) print() {
	fmt.Fprintf(stdout, `%d requests (%s, of %d stored) by %d clients in %.1f s, %d errors
  requests per second     %8.0f
  time of a request       %8.2f ms p50   %.2f ms p95   %.2f ms p99
  processor               %8.1f µs of the server each, %.1f µs of this program
  memory of the server    %8.0f MB
`, f.Requests, f.What, f.Stored, f.Clients, f.Seconds, f.Errors, f.PerSecond, f.P50, f.P95, f.P99, f.ServerCPU, f.BenchCPU, f.Memory)
}

// ownCPU returns the processor time that this process has used, in seconds.
func ownCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// A processUse is what a server says about its process: processor time in seconds,
// resident memory in octets.
type processUse struct{ cpu, memory float64 }

// serverProcess asks a server for it.
func serverProcess(ctx context.Context, base string) (p processUse, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return p, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return p, fmt.Errorf("the server at %s does not answer: %w", base, err)
	}
	defer response.Body.Close()
	found := 0
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		for name, into := range map[string]*float64{"process_cpu_seconds_total ": &p.cpu, "process_resident_memory_bytes ": &p.memory} {
			value, ok := strings.CutPrefix(lines.Text(), name)
			if !ok {
				continue
			}
			if *into, err = strconv.ParseFloat(value, 64); err != nil {
				return p, err
			}
			found++
		}
	}
	if found != 2 {
		return p, errors.New("the server's /metrics does not tell its processor time and memory")
	}
	return p, nil
}
