package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"godwit/ident"
)

// A Code lets one eUICC download one profile.
type Code struct {
	ICCID          ident.ICCID `json:"iccid"`
	Carrier        string      `json:"carrier"`
	ActivationCode string      `json:"activation_code"`
}

// A Chaos puts operations on a lab and judges what becomes of them.
type Chaos struct {
	Lab   *Lab
	Codes []Code
	// For is how long operations are started; Settle how long they have to end
	// after that, without passing faults.
	For, Settle time.Duration
	// Limit is how long the server waits for a device that cannot be believed,
	// before it gives its work up: one hour for the whole of an operation.
	Limit time.Duration
	// Rate is how many are started in a second.
	Rate float64
	// Say, if set, hears what happens.
	Say func(format string, args ...any)

	customer *customer
	random   *rand.Rand
	posts    map[ident.EID]int
	refused  map[string]int
}

// Figures is a verdict with what it was reached on.
type Figures struct {
	*Verdict
	Lab      Summary        `json:"lab"`
	Posted   int            `json:"posted"`  // requests to start something
	Refused  map[string]int `json:"refused"` // at once, by what was asked, and why
	Settled  float64        `json:"settled_seconds"`
	Complete bool           `json:"complete"` // nothing was broken off
}

// Run runs the lab for its time and judges. The lab is not to run yet. The error
// is of what kept it from judging.
func (c *Chaos) Run(ctx context.Context) (*Figures, error) {
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	c.customer = &customer{
		http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}, at: c.Lab.Server,
	}
	defer c.customer.http.CloseIdleConnections()
	c.random = rand.New(rand.NewPCG(c.Lab.Seed, 4))
	c.posts, c.refused = map[ident.EID]int{}, map[string]int{}
	if err := c.register(ctx); err != nil {
		return nil, err
	}
	living, end := context.WithCancel(ctx)
	var lives sync.WaitGroup
	lives.Go(func() { _ = c.Lab.Run(living) })
	defer lives.Wait()
	defer end()
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	c.Say("no more operations; waiting for the ends of those that run")
	c.Lab.Calm()
	return c.settle(ctx)
}

// register makes the codes known, some at a time.
func (c *Chaos) register(ctx context.Context) error {
	for chunk := range slices.Chunk(c.Codes, 500) {
		if err := c.customer.again(ctx, http.MethodPost, "/ws/v1/esim_activation_codes/inventory", chunk, nil); err != nil {
			return fmt.Errorf("register activation codes: %w", err)
		}
	}
	c.Say("%d activation codes are registered", len(c.Codes))
	return nil
}

// start starts operations as long as it is time for that.
func (c *Chaos) start(ctx context.Context) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / c.Rate))
	defer tick.Stop()
	over := time.After(c.For)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case <-tick.C:
		}
		d := c.Lab.devices[c.random.IntN(len(c.Lab.devices))]
		id, held, ok := d.peek()
		if !ok {
			continue // it is at work, or has not enrolled yet
		}
		if err := c.post(ctx, d, id, held); err != nil {
			return err
		}
	}
}

// post has one thing done on a device, that makes sense there.
func (c *Chaos) post(ctx context.Context, d *Device, id string, held []Held) error {
	path, body, code := c.choose(held)
	if path == "" {
		return nil
	}
	body["device_id"], body["eid"] = id, string(d.plan.EID)
	err := c.customer.once(ctx, http.MethodPost, "/ws/v1/esim_profiles/"+path, body, nil)
	refused, answered := errors.AsType[*apiError](err)
	if answered {
		c.refused[fmt.Sprintf("%s: %d %s", path, refused.Status, plain(withoutIDs.ReplaceAllString(refused.Message, "…")))]++
		if refused.Status < 500 {
			if code != nil { // it is still good
				c.Codes = append(c.Codes, *code)
			}
			return nil
		}
	}
	if err != nil && !answered && !errors.Is(err, errUnheard) {
		return err
	}
	// What was not heard may have been taken: the lists tell.
	c.posts[d.plan.EID]++
	return nil
}

// withoutIDs finds what names one thing in a refusal, so that equal refusals are
// counted together.
var withoutIDs = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F-]{10,}`)

// mostHeld is how many profiles the judge puts on a chip.
const mostHeld = 3

// choose finds something to do with a chip that holds what it holds.
func (c *Chaos) choose(held []Held) (path string, body map[string]any, code *Code) {
	const operations = "operations/inventory"
	fresh := func(fields map[string]any, path string) (string, map[string]any, *Code) {
		if len(c.Codes) == 0 {
			return "", nil, nil
		}
		code := c.Codes[0]
		c.Codes = c.Codes[1:]
		fields["iccid"] = code.ICCID
		return path, fields, &code
	}
	n := c.random.IntN(10)
	if len(held) == 0 || len(held) < mostHeld && n < 4 {
		switch n % 4 {
		case 0, 1:
			return fresh(map[string]any{"operation": "activate"}, operations)
		case 2:
			return fresh(map[string]any{"operation": "download"}, operations)
		}
		return fresh(map[string]any{}, "download")
	}
	h := held[c.random.IntN(len(held))]
	if h.Enabled && len(held) > 1 && n < 8 { // rather something about another one
		at := slices.IndexFunc(held, func(h Held) bool { return !h.Enabled })
		h = held[max(at, 0)]
	}
	one := map[string]any{"iccid": h.ICCID}
	switch {
	case h.Enabled:
		return "disable", one, nil // refused where nothing can take over, which is part of it
	case n < 5:
		return "enable", one, nil
	case n < 9:
		one["operation"] = []string{"enable", "activate"}[n%2]
		return operations, one, nil
	}
	return "delete", one, nil
}

// settle waits until everything has ended, and judges. What has not ended in time
// is judged as it stands.
func (c *Chaos) settle(ctx context.Context) (*Figures, error) {
	began := time.Now()
	for {
		e, err := c.gather(ctx)
		if err != nil {
			return nil, err
		}
		v := Judge(*e)
		if left := c.Settle - time.Since(began); len(v.Violations) == 0 || left <= 0 {
			posted := 0
			for _, n := range c.posts {
				posted += n
			}
			return &Figures{
				Verdict: v, Lab: c.Lab.Summary(), Posted: posted, Refused: c.refused, Settled: time.Since(began).Seconds(), Complete: true,
			}, nil
		}
		c.Say("%d things are not as they should be yet", len(v.Violations))
		if err := rest(ctx, min(5*time.Second, max(c.Lab.Interval/2, time.Second))); err != nil {
			return nil, err
		}
	}
}

// gather hears both sides.
func (c *Chaos) gather(ctx context.Context) (e *Evidence, err error) {
	e = &Evidence{Now: time.Now(), Limit: c.Limit}
	if e.Transactions, err = list[Transaction](ctx, c.customer, "esim_profiles/transactions"); err != nil {
		return nil, err
	}
	if e.Operations, err = list[Operation](ctx, c.customer, "esim_profiles/operations"); err != nil {
		return nil, err
	}
	if e.Profiles, err = list[ProfileRecord](ctx, c.customer, "esim_profiles"); err != nil {
		return nil, err
	}
	for _, d := range c.Lab.devices {
		w, err := d.witness()
		if err != nil {
			return nil, fmt.Errorf("read the chip of %s: %w", d.plan.Name, err)
		}
		w.Posts = c.posts[w.EID]
		e.Witnesses = append(e.Witnesses, *w)
	}
	return e, nil
}
