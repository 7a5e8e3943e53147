package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"godwit/bench"
	"godwit/db"
	"godwit/eim"
	"godwit/ident"
	"godwit/iot"
	"godwit/jobs"
	"godwit/pki"
	"godwit/trust"
)

// benchPollCommand polls the eIM of a server that runs on this machine, as IPAs
// do for whose eUICCs nothing waits.
type benchPollCommand struct {
	dataFlags
	EIDs    int     `name:"eids" help:"eUICCs that are registered for it, and forgotten afterwards." default:"2000"`
	Clients int     `help:"Connections, each with one poll at a time." default:"32"`
	Binding string  `help:"Binding of ESipa: asn1, json, or half of the connections each." enum:"asn1,json,both" default:"both"`
	Seconds float64 `help:"How long to poll." default:"10"`
	JSON    bool    `name:"json" help:"Print one JSON object."`
}

// pollFigures are a contract: scripts read them.
type pollFigures struct {
	PerSecond float64 `json:"polls_per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	ServerCPU float64 `json:"server_cpu_us"` // of one poll
	BenchCPU  float64 `json:"bench_cpu_us"`  // of one poll, on this side
	Errors    int     `json:"errors"`
	Polls     int     `json:"polls"`
	EIDs      int     `json:"eids"`
	Clients   int     `json:"clients"`
	Binding   string  `json:"binding"`
	Seconds   float64 `json:"seconds"`
	firstErr  error
}

// Validate refuses a load that is none.
func (c benchPollCommand) Validate() error {
	if c.EIDs < 1 || c.EIDs > 10_000_000 || c.Clients < 1 || c.Seconds <= 0 {
		return errors.New("--eids is 1 to 10000000, --clients 1 or more, --seconds more than 0")
	}
	return nil
}

// pollEID begins the EIDs of the load: those of chips that only the built-in
// test set would vouch for. The time follows, so that each load has its own: what
// a server on SQLite remembers of an eUICC is not changed behind its back.
const pollEID = trust.EIDPrefix + "96"

func (c benchPollCommand) Run(ctx context.Context) error {
	at, err := c.addresses()
	if err != nil {
		return err
	}
	set, err := trust.Load(c.pkiDir(), at.Set)
	if err != nil {
		return err
	}
	d, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	load := bench.EIM{URL: at.ES9URL, Roots: x509.NewCertPool()}
	for _, i := range set.Identities() {
		load.Roots.AppendCertsFromPEM(i.CI.PEM())
	}
	if load.EIDs, err = pollEIDs(c.EIDs); err != nil {
		return err
	}
	key, err := pki.GenerateKey(pki.P256)
	if err != nil {
		return err
	}
	load.Answer = func(_ ident.EID, p *iot.GetEimPackageResponse) (*iot.ProvideEimPackageResult, error) {
		return answerPoll(key, p)
	}
	manager, err := registrar(ctx, d, set)
	if err != nil {
		return err
	}
	if err := registerPolled(ctx, d, manager, load.EIDs, key); err != nil {
		return err
	}
	defer forgetPolled(context.WithoutCancel(ctx), d, manager, load.EIDs)
	m := newMeter("first contact", c.EIDs)
	err = load.Settle(ctx, min(c.Clients, 16), m.at)
	m.end()
	if err != nil {
		return err
	}
	figures, err := c.measure(ctx, &load, at.BaseURL)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := json.NewEncoder(stdout).Encode(figures); err != nil {
			return err
		}
	} else {
		figures.print()
	}
	if figures.Errors > 0 {
		return fmt.Errorf("%d polls failed, the first with: %w", figures.Errors, figures.firstErr)
	}
	return ctx.Err()
}

// measure makes one run, after a short one that does not count.
func (c benchPollCommand) measure(ctx context.Context, load *bench.EIM, base string) (*pollFigures, error) {
	if _, err := load.Poll(ctx, c.Binding, c.Clients, time.Second); err != nil {
		return nil, err
	}
	before, err := serverProcess(ctx, base)
	if err != nil {
		return nil, err
	}
	ours := ownCPU()
	r, err := load.Poll(ctx, c.Binding, c.Clients, time.Duration(c.Seconds*float64(time.Second)))
	if err != nil {
		return nil, err
	}
	ours = ownCPU() - ours
	after, err := serverProcess(ctx, base)
	if err != nil {
		return nil, err
	}
	f := &pollFigures{
		PerSecond: r.PerSecond(), P50: r.Percentile(0.50), P99: r.Percentile(0.99), Errors: r.Errors, Polls: r.Requests,
		EIDs: len(load.EIDs), Clients: c.Clients, Binding: c.Binding, Seconds: r.Elapsed.Seconds(), firstErr: r.FirstErr,
	}
	if r.Requests > 0 {
		f.ServerCPU = (after.cpu - before.cpu) * 1e6 / float64(r.Requests)
		f.BenchCPU = ours * 1e6 / float64(r.Requests)
	}
	return f, nil
}

func (f *pollFigures) print() {
	fmt.Fprintf(stdout, `%d empty polls for %d eUICCs (%s) on %d connections in %.1f s, %d errors
  polls per second        %8.0f
  time of a poll          %8.2f ms p50   %.2f ms p99
  processor               %8.1f µs of the server each, %.1f µs of this program
`, f.Polls, f.EIDs, f.Binding, f.Clients, f.Seconds, f.Errors, f.PerSecond, f.P50, f.P99, f.ServerCPU, f.BenchCPU)
}

func pollEIDs(n int) ([]ident.EID, error) {
	eids, run := make([]ident.EID, n), time.Now().Unix()
	for i := range eids {
		var err error
		if eids[i], err = ident.NewEID(pollEID + fmt.Sprintf("%012d%08d", run, i)); err != nil {
			return nil, err
		}
	}
	return eids, nil
}

// registrar is an eIM on the server's database that registers and serves nothing.
func registrar(ctx context.Context, d *db.DB, set *trust.Set) (*eim.Server, error) {
	roots, err := set.Roots()
	if err != nil {
		return nil, err
	}
	queue, err := jobs.New(d)
	if err != nil {
		return nil, err
	}
	return eim.Open(ctx, d, eim.Config{FQDN: "localhost", Roots: roots, Jobs: queue})
}

// pollChunk is how many eUICCs one transaction registers.
const pollChunk = 200

// registerPolled registers the eUICCs as those of an agent with one key: what is
// measured does not ask who signs.
func registerPolled(ctx context.Context, d *db.DB, manager *eim.Server, eids []ident.EID, key crypto.Signer) error {
	public, err := pki.PublicKeyOf(key)
	if err != nil {
		return err
	}
	return eachPolled(ctx, d, eids, func(tx *db.Tx, eid ident.EID) error {
		return manager.Register(ctx, tx, eim.EUICC{EID: eid, AgentKey: public.Info()})
	})
}

func forgetPolled(ctx context.Context, d *db.DB, manager *eim.Server, eids []ident.EID) error {
	return eachPolled(ctx, d, eids, func(tx *db.Tx, eid ident.EID) error { return manager.Forget(ctx, tx, eid) })
}

func eachPolled(ctx context.Context, d *db.DB, eids []ident.EID, do func(tx *db.Tx, eid ident.EID) error) error {
	for len(eids) > 0 {
		n := min(pollChunk, len(eids))
		err := d.Write(ctx, func(tx *db.Tx) error {
			for _, eid := range eids[:n] {
				if err := do(tx, eid); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		eids = eids[n:]
	}
	return nil
}

// answerPoll is the agent of an eUICC without profiles.
func answerPoll(key crypto.Signer, p *iot.GetEimPackageResponse) (*iot.ProvideEimPackageResult, error) {
	if p.DataRequest != nil {
		q, err := iot.ParseDataRequest(p.DataRequest)
		if err != nil {
			return nil, err
		}
		answer := iot.DataResponse{TransactionID: q.TransactionID}
		return &iot.ProvideEimPackageResult{DataResponse: answer.Append(nil)}, nil
	}
	q, err := iot.ReadPackageRequest(p.EUICCPackage)
	if err != nil {
		return nil, err
	}
	result, err := bench.EmptyList(q).Sign(key, nil)
	return &iot.ProvideEimPackageResult{PackageResult: result}, err
}
