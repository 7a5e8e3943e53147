package main

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/ident"
	"godwit/lab"
)

// labChaosCommand is a customer with a fleet that has faults, and the judge of
// what becomes of its operations.
type labChaosCommand struct {
	dataFlags
	labFlags
	Devices     int           `help:"How many devices." default:"100" placeholder:"N"`
	For         time.Duration `help:"How long operations are started." default:"1m"`
	Settle      time.Duration `help:"How long operations have to end after that; faults that pass have passed then." default:"5m"`
	Rate        float64       `help:"Operations started in a second; by default each device has one a minute." placeholder:"N"`
	Codes       int           `help:"How many profiles are ordered for the devices; by default two for each." placeholder:"N"`
	ProfileType string        `help:"Profile type to order." default:"lte-5g"`
	Carrier     string        `help:"Carrier that the codes are registered under." default:"Lab"`
	JSON        bool          `name:"json" help:"Print the verdict as JSON."`
}

func (c labChaosCommand) Run(ctx context.Context) error {
	config, err := c.config(c.Devices)
	if err != nil {
		return err
	}
	l, err := c.lab(ctx, config)
	if err != nil {
		return err
	}
	if c.Rate <= 0 {
		c.Rate = max(1, float64(c.Devices)/60)
	}
	if c.Codes <= 0 {
		c.Codes = 2 * c.Devices
	}
	chaos := lab.Chaos{Lab: l, For: c.For, Settle: c.Settle, Limit: time.Hour, Rate: c.Rate, Say: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}}
	if chaos.Codes, err = c.order(ctx); err != nil {
		return fmt.Errorf("order profiles: %w", err)
	}
	watched := watch(l, !c.JSON)
	f, err := chaos.Run(ctx)
	watched()
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(f)
	} else {
		printVerdict(f)
	}
	if err == nil && len(f.Violations) > 0 {
		return exitError(exitFailed)
	}
	return err
}

// order orders profiles that any eUICC may fetch, and returns their codes. The
// server may be killed meanwhile.
func (c labChaosCommand) order(ctx context.Context) (codes []lab.Code, err error) {
	client, err := apiFlags{dataFlags: c.dataFlags}.client(ctx)
	if err != nil {
		return nil, err
	}
	var o bulkOrder
	form := url.Values{"Count": {strconv.Itoa(c.Codes)}, "ProfileType": {c.ProfileType}, "GenerateMatchingId": {"true"}}
	client.key = rand.Text()
	err = client.insist(ctx, func() error {
		return client.read(ctx, http.MethodPost, ordersPath, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), &o)
	})
	if err != nil {
		return nil, err
	}
	if err := client.await(ctx, &o, func(bulkOrder) {}); err != nil {
		return nil, err
	}
	err = client.insist(ctx, func() error {
		codes, err = c.codes(ctx, client, o.SID)
		return err
	})
	return codes, err
}

// codes reads the codes of an order.
func (c labChaosCommand) codes(ctx context.Context, client *apiClient, sid string) (codes []lab.Code, err error) {
	answer, err := client.do(ctx, http.MethodGet, ordersPath+"/"+sid+"/Results.csv", "", nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	r := csv.NewReader(answer)
	head, err := r.Read()
	if err != nil {
		return nil, err
	}
	iccid, code := slices.Index(head, "iccid"), slices.Index(head, "activation_code")
	if iccid < 0 || code < 0 {
		return nil, fmt.Errorf("the result of an order has the columns %v", head)
	}
	for {
		line, err := r.Read()
		if errors.Is(err, io.EOF) {
			return codes, nil
		}
		if err != nil {
			return nil, err
		}
		if line[code] != "" {
			codes = append(codes, lab.Code{ICCID: ident.ICCID(line[iccid]), ActivationCode: line[code], Carrier: c.Carrier})
		}
	}
}

// printVerdict tells people how it went.
func printVerdict(f *lab.Figures) {
	printLab(f.Lab)
	fmt.Fprintf(stdout, "\n%d requests were taken; refused at once:\n", f.Posted)
	for _, why := range sortedKeys(f.Refused) {
		fmt.Fprintf(stdout, "  %7d %s\n", f.Refused[why], why)
	}
	for _, counts := range []map[string]int{f.Operations, f.Transactions} {
		for _, name := range sortedKeys(counts) {
			fmt.Fprintf(stdout, "  %-28s %7d\n", name, counts[name])
		}
	}
	for _, why := range sortedKeys(f.Reasons) {
		fmt.Fprintf(stdout, "  failed: %-20s %7d\n", why, f.Reasons[why])
	}
	fmt.Fprintf(stdout, "%d profiles were installed on chips, %d records compared, settled after %.0f s\n\n", f.Installed, f.Profiles, f.Settled)
	if f.Waiting > 0 {
		fmt.Fprintf(stdout, "%d operations and transactions wait for the server's time limit, on devices that cannot be believed\n", f.Waiting)
	}
	if len(f.Violations) == 0 {
		fmt.Fprintln(stdout, "VERDICT: everything has ended, in a state that its device confirms, once; the records are what the chips hold")
		return
	}
	rules := map[string]int{}
	for _, v := range f.Violations {
		rules[v.Rule]++
		fmt.Fprintf(stdout, "NOT SO: %s\n  %s: %s\n", v.Rule, v.Device, v.What)
	}
	fmt.Fprintf(stdout, "\nVERDICT: %d violations %v\n", len(f.Violations), rules)
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
