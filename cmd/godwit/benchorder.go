package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// benchOrderCommand measures an order of many profiles.
type benchOrderCommand struct {
	apiFlags
	Profiles    int64  `help:"How many." default:"100000"`
	ProfileType string `name:"type" help:"Profile type; it must have that many in stock (godwit stock generate)."`
	Beside      bool   `help:"Reserve single profiles meanwhile, one after the other, and tell how long each takes."`
	JSON        bool   `name:"json" help:"Print one JSON object."`
}

// orderFigures are a contract: scripts read them.
type orderFigures struct {
	Profiles  int64   `json:"profiles"` // that became available
	Seconds   float64 `json:"seconds"`  // from the request to the last one
	Errors    int64   `json:"errors"`
	PerSec    float64 `json:"profiles_per_second"`
	ServerCPU float64 `json:"server_cpu_seconds,omitempty"` // of all that the server did meanwhile
	// Single reservations beside the order, from the request to available.
	Singles   int     `json:"singles,omitempty"`
	SingleP50 float64 `json:"single_p50_ms,omitempty"`
	SingleMax float64 `json:"single_max_ms,omitempty"`
}

func (c benchOrderCommand) Run(ctx context.Context) error {
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	form := url.Values{"Count": {fmt.Sprint(c.Profiles)}, "Label": {"bench"}}
	if c.ProfileType != "" {
		form.Set("ProfileType", c.ProfileType)
	}
	before, cpuErr := serverCPU(ctx, client.base)
	m := newMeter("preparing", int(c.Profiles))
	began := time.Now()
	var o bulkOrder
	if err := client.read(ctx, http.MethodPost, ordersPath, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), &o); err != nil {
		return err
	}
	until := make(chan struct{})
	singles := make(chan singleTimes, 1)
	if c.Beside {
		go func() { singles <- client.singles(ctx, until) }()
	}
	err = client.await(ctx, &o, func(o bulkOrder) { m.at(int(o.Available + o.Failed)) })
	took := time.Since(began).Seconds()
	m.end()
	close(until)
	if err != nil {
		return err
	}
	figures := orderFigures{Profiles: o.Available, Seconds: took, Errors: o.Failed + o.Canceled, PerSec: float64(o.Available) / took}
	if after, err := serverCPU(ctx, client.base); errors.Join(err, cpuErr) == nil {
		figures.ServerCPU = after - before
	}
	if c.Beside {
		if err := figures.take(<-singles); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(stdout).Encode(figures)
	}
	fmt.Fprintf(stdout, "%d profiles available after %.1f s (%.0f per second), %d errors\n", figures.Profiles, figures.Seconds, figures.PerSec, figures.Errors)
	if figures.ServerCPU > 0 {
		fmt.Fprintf(stdout, "processor of the server %.1f s\n", figures.ServerCPU)
	}
	if figures.Singles > 0 {
		fmt.Fprintf(stdout, "%d single reservations meanwhile: %.0f ms p50, %.0f ms at most\n", figures.Singles, figures.SingleP50, figures.SingleMax)
	}
	return nil
}

// singleTimes are how long single reservations took.
type singleTimes struct {
	took []time.Duration
	err  error
}

func (f *orderFigures) take(s singleTimes) error {
	if s.err != nil || len(s.took) == 0 {
		return s.err
	}
	slices.Sort(s.took)
	f.Singles = len(s.took)
	f.SingleP50 = s.took[len(s.took)/2].Seconds() * 1000
	f.SingleMax = s.took[len(s.took)-1].Seconds() * 1000
	return nil
}

// singlePoll is how often a single reservation is looked at: no more than that
// is added to its time.
const singlePoll = 5 * time.Millisecond

// singles reserves one profile after the other until a channel is closed.
func (c *apiClient) singles(ctx context.Context, until <-chan struct{}) (s singleTimes) {
	tick := time.NewTicker(singlePoll)
	defer tick.Stop()
	for {
		select {
		case <-until:
			return s
		default:
		}
		var p struct {
			SID          string `json:"sid"`
			Status       string `json:"status"`
			ErrorMessage string `json:"error_message"`
		}
		began := time.Now()
		s.err = c.read(ctx, http.MethodPost, "/v1/ESimProfiles", "application/x-www-form-urlencoded", strings.NewReader("GenerateMatchingId=true"), &p)
		for s.err == nil && p.Status != "available" {
			if p.Status == "failed" {
				s.err = fmt.Errorf("a single reservation failed: %s", p.ErrorMessage)
				break
			}
			<-tick.C
			s.err = c.read(ctx, http.MethodGet, "/v1/ESimProfiles/"+p.SID, "", nil, &p)
		}
		if s.err != nil {
			return s
		}
		s.took = append(s.took, time.Since(began))
	}
}
