package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/mattn/go-isatty"

	"godwit/bench"
	"godwit/es2"
	"godwit/ident"
	"godwit/rsp"
	"godwit/trust"
)

// benchDownloadCommand puts downloads on a server that runs on this machine.
type benchDownloadCommand struct {
	dataFlags
	Clients     []int  `help:"Downloads at a time; several numbers, as 1,8,32, make a run each." default:"8"`
	Downloads   int    `help:"Downloads of each run." default:"3000"`
	Through     string `help:"Who orders the profiles: an operator over ES2+, or a customer over the Super SIM API." enum:"operator,api" default:"operator"`
	NewTLS      bool   `help:"A new TLS connection for each call."`
	ProfileType string `help:"Profile type to order." default:"lte-5g"`
	NoFloor     bool   `help:"Do not measure the floor first."`
	JSON        bool   `name:"json" help:"Print one JSON object."`
}

// downloadFigures are a contract: scripts read them.
type downloadFigures struct {
	PerSecond float64            `json:"downloads_per_second"`
	P50       float64            `json:"p50_ms"`
	P95       float64            `json:"p95_ms"`
	P99       float64            `json:"p99_ms"`
	ServerCPU float64            `json:"server_cpu_ms"` // of one download
	FloorCPU  float64            `json:"floor_cpu_ms"`
	Errors    int                `json:"errors"`
	Clients   int                `json:"clients"`
	Seconds   float64            `json:"seconds"`
	Downloads int                `json:"downloads"`
	NewTLS    bool               `json:"new_tls"`
	Through   string             `json:"through"`
	Octets    int                `json:"package_octets"`
	Steps     map[string]float64 `json:"step_p50_ms"`
	firstErr  error
}

// Validate refuses a load that is none.
func (c benchDownloadCommand) Validate() error {
	if slices.Min(append([]int{c.Downloads}, c.Clients...)) < 1 {
		return fmt.Errorf("--clients and --downloads are 1 or more")
	}
	return nil
}

func (c benchDownloadCommand) Run(ctx context.Context) error {
	at, err := c.addresses()
	if err != nil {
		return err
	}
	set, err := trust.Load(c.pkiDir(), at.Set)
	if err != nil {
		return err
	}
	member, ok := set.Member(trust.NIST)
	if !ok || member.Issuer == nil {
		return fmt.Errorf("set %s has no CI of ours on P-256: chips for the load cannot be made", at.Set)
	}
	load := downloadLoad{benchDownloadCommand: c, at: at, member: member}
	if load.octets, err = c.packageSize(ctx); err != nil {
		return err
	}
	if load.maker, err = bench.NewMaker(member.Issuer, trust.EIDPrefix); err != nil {
		return err
	}
	if c.Through == "api" {
		if load.customer, err = newReserver(ctx, c.dataFlags); err != nil {
			return err
		}
	}
	var all []*downloadFigures
	for _, clients := range c.Clients {
		figures, err := load.run(ctx, clients)
		if err != nil {
			return err
		}
		if all = append(all, figures); !c.JSON {
			figures.print()
		}
		if figures.Errors > 0 {
			break
		}
	}
	if c.JSON {
		var out any = all
		if len(c.Clients) == 1 {
			out = all[0]
		}
		if err := json.NewEncoder(stdout).Encode(out); err != nil {
			return err
		}
	}
	if last := all[len(all)-1]; last.Errors > 0 {
		return fmt.Errorf("%d downloads failed, the first with: %w", last.Errors, last.firstErr)
	}
	return ctx.Err()
}

// packageSize is how many octets a profile package of the type has, about: the
// floor is to bind and send as much as the server.
func (c benchDownloadCommand) packageSize(ctx context.Context) (int, error) {
	s, done, err := c.openStock(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	types, err := s.Types(ctx)
	if err != nil {
		return 0, err
	}
	for _, t := range types {
		if t.ID == c.ProfileType {
			return len(t.Template), nil
		}
	}
	return 0, fmt.Errorf("--profile-type: there is no profile type %s; `godwit stock types` lists them", c.ProfileType)
}

// A downloadLoad is what all runs of one command share.
type downloadLoad struct {
	benchDownloadCommand
	at       addresses
	member   *trust.Member
	octets   int // of a profile package
	maker    *bench.Maker
	customer *reserver // orders in place of an operator
}

// loadSlices is how many slices a run has.
const loadSlices = 5

// run makes one run: the floor, the orders, the downloads.
func (c *downloadLoad) run(ctx context.Context, clients int) (*downloadFigures, error) {
	figures := &downloadFigures{Clients: clients, NewTLS: c.NewTLS, Through: c.Through, Octets: c.octets, Steps: map[string]float64{}}
	watched := !c.JSON && isatty.IsTerminal(os.Stderr.Fd())
	say := func(format string, args ...any) {
		if watched {
			fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
		}
	}
	say("making %d chips and ordering their profiles ..", c.Downloads)
	downloads, err := c.maker.Downloads(c.Downloads)
	if err != nil {
		return nil, err
	}
	var reserved []string
	if c.customer != nil {
		reserved, err = c.customer.reserve(ctx, downloads)
	} else {
		err = c.order(ctx, downloads)
	}
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.member.Identity.CI.PEM())
	target := bench.Target{URL: c.at.ES9URL, Address: c.at.SMDPAddress, OID: c.member.Identity.OID(), Roots: pool}
	var floor *bench.FloorProcess
	if !c.NoFloor {
		if floor, err = startFloor(ctx, c.octets); err != nil {
			return nil, err
		}
		defer floor.Stop()
		if _, err := floor.CPU(ctx, 100+clients, clients, !c.NewTLS); err != nil { // not counted
			return nil, err
		}
	}
	// The floor is measured between slices of the load: what else the machine
	// does, and how fast its processor goes, is then the same for both.
	result, used, slice := &bench.Result{}, 0.0, max((c.Downloads+loadSlices-1)/loadSlices, clients)
	for part := range slices.Chunk(downloads, slice) {
		if floor != nil {
			cost, err := floor.CPU(ctx, len(part), clients, !c.NewTLS)
			if err != nil {
				return nil, err
			}
			figures.FloorCPU += cost * float64(len(part)) / float64(c.Downloads)
		}
		before, err := serverCPU(ctx, c.at.BaseURL)
		if err != nil {
			return nil, err
		}
		done := result.Downloads
		result.Join(bench.Run(ctx, target, part, clients, !c.NewTLS, func(more int) { say("%d of %d downloads", done+more, c.Downloads) }))
		if c.customer != nil && result.Errors == 0 && ctx.Err() == nil {
			// What follows a download is part of its price.
			if err := c.customer.settled(ctx, reserved[done:done+len(part)], clients); err != nil {
				return nil, err
			}
		}
		after, err := serverCPU(ctx, c.at.BaseURL)
		if err != nil {
			return nil, err
		}
		used += after - before
	}
	say("")
	figures.PerSecond, figures.Errors, figures.Downloads = result.PerSecond(), result.Errors, result.Downloads
	figures.P50, figures.P95, figures.P99 = result.Percentile(0.50), result.Percentile(0.95), result.Percentile(0.99)
	figures.Seconds, figures.firstErr = result.Elapsed.Seconds(), result.FirstErr
	if result.Downloads > 0 {
		figures.ServerCPU = used * 1000 / float64(result.Downloads)
	}
	for _, step := range []string{rsp.FnInitiateAuthentication, rsp.FnAuthenticateClient, rsp.FnGetBoundProfilePackage, rsp.FnHandleNotification} {
		figures.Steps[step] = result.StepPercentile(step, 0.50)
	}
	return figures, nil
}

func (f *downloadFigures) print() {
	fmt.Fprintf(stdout, `%d downloads by %d clients in %.1f s, %d errors
  downloads per second    %8.1f
  time of a download      %8.1f ms p50   %.1f ms p95   %.1f ms p99
  processor of the server %8.3f ms each`, f.Downloads, f.Clients, f.Seconds, f.Errors, f.PerSecond, f.P50, f.P95, f.P99, f.ServerCPU)
	if f.FloorCPU > 0 {
		fmt.Fprintf(stdout, ", %.2f times the floor of %.3f ms", f.ServerCPU/f.FloorCPU, f.FloorCPU)
	}
	fmt.Fprintln(stdout)
}

// order has profiles prepared over ES2+, one for each download.
func (c *downloadLoad) order(ctx context.Context, downloads []bench.Download) error {
	base := filepath.Join(c.Data, operatorFile)
	certificate, err := tls.LoadX509KeyPair(base+".pem", base+".key")
	if err != nil {
		return fmt.Errorf("the test operator's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.member.Identity.CI.PEM())
	client := &es2.Client{
		URL: c.at.ES9URL, Requester: testRequester, Parallel: 16,
		HTTP: es2.NewHTTP(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}}),
	}
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	for begin := 0; begin < len(downloads); begin += 500 {
		chunk := downloads[begin:min(begin+500, len(downloads))]
		orders := make([]rsp.DownloadOrder, len(chunk))
		for i := range orders {
			orders[i].Header.Call = fmt.Sprintf("bench-%s-%d-o", run, begin+i)
			orders[i].Type = c.ProfileType
		}
		ordered, err := client.DownloadOrders(ctx, orders)
		if err != nil {
			return fmt.Errorf("order profiles: %w", err)
		}
		confirms := make([]rsp.ConfirmOrder, len(chunk))
		for i, o := range ordered {
			if err := o.Header.Err(); err != nil {
				return fmt.Errorf("order a profile: %w", err)
			}
			confirms[i].Header.Call = fmt.Sprintf("bench-%s-%d-c", run, begin+i)
			confirms[i].ICCID, confirms[i].Release = o.ICCID, true
		}
		confirmed, err := client.ConfirmOrders(ctx, confirms)
		if err != nil {
			return fmt.Errorf("confirm orders: %w", err)
		}
		for i, o := range confirmed {
			if err := o.Header.Err(); err != nil {
				return fmt.Errorf("confirm an order: %w", err)
			}
			chunk[i].MatchingID = ident.MatchingID(o.MatchingID)
		}
	}
	return nil
}

// serverCPU returns the processor time that a server has used, in seconds, as
// it says itself.
func serverCPU(ctx context.Context, base string) (float64, error) {
	p, err := serverProcess(ctx, base)
	return p.cpu, err
}
