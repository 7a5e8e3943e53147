package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// apiFlags find a server's API: on this machine by its data directory, else by
// its address and the credentials in the environment.
type apiFlags struct {
	dataFlags
	Server     string `help:"Address of the API, where it is not on this machine." placeholder:"URL"`
	AccountSID string `name:"account-sid" env:"TWILIO_ACCOUNT_SID,GODWIT_ACCOUNT_SID" help:"Account, with --server." placeholder:"AC…"`
	AuthToken  string `env:"TWILIO_AUTH_TOKEN,GODWIT_AUTH_TOKEN" help:"Its auth token, with --server; better in the environment." placeholder:"TOKEN"`
}

// An apiClient speaks the Super SIM API.
type apiClient struct {
	base, user, password string
	// key goes with each POST, so that one whose answer was lost can be made again.
	key string
}

// A noServerError is the error of a request where nobody listens.
type noServerError struct {
	base string
	err  error
}

func (e *noServerError) Error() string {
	return fmt.Sprintf("no server listens at %s, where one of this data directory was last: start it with `godwit serve`", e.base)
}

func (e *noServerError) Unwrap() error { return e.err }

// away reports whether a request failed since the server was not there, or went
// away in the middle of it.
func away(err error) bool {
	_, unasked := errors.AsType[*url.Error](err)
	_, broken := errors.AsType[*net.OpError](err)
	return unasked || broken || errors.Is(err, io.ErrUnexpectedEOF)
}

// longestAway is how long a server may be away.
const longestAway = 30 * time.Second

// insist makes a request again, while the server is away, for [longestAway] at most.
func (c *apiClient) insist(ctx context.Context, request func() error) error {
	for since := time.Now(); ; {
		err := request()
		if !away(err) || ctx.Err() != nil || time.Since(since) > longestAway {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (f apiFlags) client(ctx context.Context) (*apiClient, error) {
	if f.Server != "" {
		if f.AccountSID == "" || f.AuthToken == "" {
			return nil, errors.New("--server needs credentials: set GODWIT_ACCOUNT_SID and GODWIT_AUTH_TOKEN")
		}
		return &apiClient{base: strings.TrimSuffix(f.Server, "/"), user: f.AccountSID, password: f.AuthToken}, nil
	}
	found, err := f.credentials(ctx)
	if err != nil {
		return nil, err
	}
	return &apiClient{base: found.BaseURL, user: found.AccountSID, password: found.AuthToken}, nil
}

// do makes one request and returns the answer's body, to be closed. A refusal is
// an error with the server's words.
func (c *apiClient) do(ctx context.Context, method, path, kind string, body io.Reader) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(c.user, c.password)
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	if c.key != "" && method == http.MethodPost {
		request.Header.Set("Idempotency-Key", c.key)
	}
	response, err := http.DefaultClient.Do(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, &noServerError{c.base, err}
	}
	if err != nil {
		return nil, err
	}
	if response.StatusCode < 300 {
		return response.Body, nil
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var refusal struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(content, &refusal); err != nil {
		return nil, fmt.Errorf("the server answered %s: %.200s", response.Status, content)
	}
	return nil, fmt.Errorf("the server refused (%d): %s", refusal.Code, refusal.Message)
}

// read makes one request and reads its JSON.
func (c *apiClient) read(ctx context.Context, method, path, kind string, body io.Reader, into any) error {
	answer, err := c.do(ctx, method, path, kind, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	return json.NewDecoder(answer).Decode(into)
}

// bulkOrder is an order as the API shows it.
type bulkOrder struct {
	SID       string `json:"sid"`
	Status    string `json:"status"`
	Count     int64  `json:"count"`
	Available int64  `json:"available"`
	Failed    int64  `json:"failed"`
	Canceled  int64  `json:"canceled"`
}

func (o bulkOrder) ended() bool { return o.Status == "completed" || o.Status == "canceled" }

const ordersPath = "/v1/ESimProfiles/Orders"

// orderBulkCommand orders many profiles and fetches the result.
type orderBulkCommand struct {
	apiFlags
	File        string `arg:"" optional:"" type:"existingfile" help:"CSV file with the columns eid, count, profile_type, label."`
	Count       int64  `help:"How many profiles, in place of a file."`
	ProfileType string `name:"type" help:"Profile type of lines that name none."`
	Label       string `help:"Words of yours for the order."`
	MatchingID  bool   `name:"matching-id" help:"Give profiles for an EID a matching ID as well."`
	Callback    string `help:"URL to call when the order has ended." placeholder:"URL"`
	PerProfile  bool   `help:"Call it for each profile too."`
	Partial     bool   `help:"Take the order although the stock is too small for it."`
	DryRun      bool   `help:"Check and tell, order nothing."`
	NoWait      bool   `help:"Do not wait for the end."`
	Output      string `short:"o" help:"Where the result goes: .csv, .zip (QR codes) or .pdf (sheet)." placeholder:"FILE"`
	JSON        bool   `name:"json" help:"Print the order as JSON."`
}

// Validate holds the file and the number apart.
func (c orderBulkCommand) Validate() error {
	if (c.File == "") == (c.Count == 0) {
		return errors.New("give a file or --count")
	}
	return nil
}

func (c orderBulkCommand) Run(ctx context.Context) error {
	format, err := c.format()
	if err != nil {
		return err
	}
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	form := c.form()
	path, kind, body := ordersPath, "application/x-www-form-urlencoded", io.Reader(strings.NewReader(form.Encode()))
	if c.File != "" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		path, kind, body = path+"?"+form.Encode(), "text/csv", f
	}
	if c.DryRun {
		return c.dryRun(ctx, client, path, kind, body)
	}
	var o bulkOrder
	if err := client.read(ctx, http.MethodPost, path, kind, body, &o); err != nil {
		return err
	}
	if !c.NoWait {
		m := newMeter("preparing", int(o.Count))
		err := client.await(ctx, &o, func(o bulkOrder) { m.at(int(o.Available + o.Failed)) })
		m.end()
		if err != nil {
			return err
		}
	}
	if c.Output != "" {
		if err := client.save(ctx, ordersPath+"/"+o.SID+"/Results."+format, c.Output); err != nil {
			return err
		}
	}
	if c.JSON {
		if err := printJSON(o); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(stdout, "%s is %s: %d available, %d failed, %d canceled of %d\n", o.SID, o.Status, o.Available, o.Failed, o.Canceled, o.Count)
	}
	if o.Failed > 0 {
		return exitError(exitFailed)
	}
	return nil
}

func (c orderBulkCommand) form() url.Values {
	form := url.Values{}
	for name, value := range map[string]string{"ProfileType": c.ProfileType, "Label": c.Label, "CallbackUrl": c.Callback} {
		if value != "" {
			form.Set(name, value)
		}
	}
	for name, value := range map[string]bool{"GenerateMatchingId": c.MatchingID, "Partial": c.Partial, "DryRun": c.DryRun} {
		if value {
			form.Set(name, "true")
		}
	}
	if c.PerProfile {
		form.Set("CallbackPer", "profile")
	}
	if c.Count > 0 {
		form.Set("Count", fmt.Sprint(c.Count))
	}
	return form
}

// format is what the result is to be, by its file's name.
func (c orderBulkCommand) format() (string, error) {
	if c.Output == "" {
		return "", nil
	}
	for _, format := range []string{"csv", "zip", "pdf"} {
		if strings.HasSuffix(c.Output, "."+format) {
			return format, nil
		}
	}
	return "", fmt.Errorf("--output %s: its name must end in .csv, .zip or .pdf", c.Output)
}

func (c orderBulkCommand) dryRun(ctx context.Context, client *apiClient, path, kind string, body io.Reader) error {
	answer, err := client.do(ctx, http.MethodPost, path, kind, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	content, err := io.ReadAll(answer)
	if err != nil {
		return err
	}
	var plan struct {
		Acceptable bool  `json:"acceptable"`
		Count      int64 `json:"count"`
		Types      []struct {
			Type    string `json:"profile_type"`
			Count   int64  `json:"count"`
			InStock *int64 `json:"in_stock"`
		} `json:"profile_types"`
		Errors []struct {
			Line    int    `json:"line"`
			Column  string `json:"column"`
			Message string `json:"message"`
		} `json:"errors"`
		ErrorsCount int `json:"errors_count"`
	}
	if err := json.Unmarshal(content, &plan); err != nil {
		return err
	}
	if c.JSON {
		if _, err := io.Copy(os.Stdout, bytes.NewReader(content)); err != nil {
			return err
		}
	} else {
		for _, e := range plan.Errors {
			fmt.Fprintf(stdout, "line %d: %s\n", e.Line, strings.TrimSpace(e.Column+" "+e.Message))
		}
		if more := plan.ErrorsCount - len(plan.Errors); more > 0 {
			fmt.Fprintf(stdout, "and %d more lines with errors\n", more)
		}
		for _, t := range plan.Types {
			if t.InStock != nil && *t.InStock < t.Count {
				fmt.Fprintf(stdout, "profile type %s: %d wanted, %d in stock\n", t.Type, t.Count, *t.InStock)
			}
		}
		if plan.Acceptable {
			fmt.Fprintf(stdout, "%d profiles can be ordered\n", plan.Count)
		}
	}
	if !plan.Acceptable {
		return exitError(exitFailed)
	}
	return nil
}

// await waits for the end of an order. A server that is away for a moment is
// asked again.
func (c *apiClient) await(ctx context.Context, o *bulkOrder, progress func(bulkOrder)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !o.ended() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		err := c.insist(ctx, func() error { return c.read(ctx, http.MethodGet, ordersPath+"/"+o.SID, "", nil, o) })
		if err != nil {
			return err
		}
		progress(*o)
	}
	return nil
}

// save writes an answer to a file.
func (c *apiClient) save(ctx context.Context, path, name string) error {
	answer, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, answer)
	return errors.Join(err, f.Close())
}
