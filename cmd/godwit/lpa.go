package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"godwit/euicc"
	"godwit/explain"
	"godwit/ident"
	"godwit/lpa"
	"godwit/pki"
	"godwit/rsp"
)

// lpaCommand is the assistant on a software eUICC: download, manage, notify.
type lpaCommand struct {
	lpaFlags

	Download      lpaDownloadCommand `cmd:"" help:"Download a profile."`
	Events        lpaEventsCommand   `cmd:"" help:"Ask an SM-DS what waits for the eUICC."`
	List          lpaListCommand     `cmd:"" help:"List the profiles."`
	Enable        lpaEnableCommand   `cmd:"" help:"Enable a profile; the one that was enabled is disabled."`
	Disable       lpaDisableCommand  `cmd:"" help:"Disable a profile."`
	Delete        lpaDeleteCommand   `cmd:"" help:"Delete a disabled profile."`
	Nickname      lpaNicknameCommand `cmd:"" help:"Name a profile."`
	Notifications lpaNotifications   `cmd:"" help:"What the eUICC has to report."`
	Info          lpaInfoCommand     `cmd:"" help:"What the eUICC says of itself."`
	Chip          lpaChipCommand     `cmd:"" help:"Settings of the eUICC."`
}

// lpaFlags say which eUICC, and how servers are reached.
type lpaFlags struct {
	EUICC   string        `name:"euicc" required:"" type:"path" help:"Directory of the software eUICC." placeholder:"DIR"`
	JSON    bool          `name:"json" help:"Print JSON."`
	CI      []string      `name:"ci" type:"existingfile" help:"Further CI certificates whose TLS servers are accepted." placeholder:"FILE"`
	TLSCA   []string      `name:"tls-ca" type:"existingfile" help:"Ordinary authorities that are accepted for TLS besides, for laboratories with a proxy." placeholder:"FILE"`
	Connect string        `help:"Connect here, whatever address a server has." placeholder:"HOST:PORT"`
	ASN1    bool          `name:"asn1" help:"Speak the ASN.1 binding in place of JSON."`
	Timeout time.Duration `default:"2m" help:"How long all of it may take."`
}

// An assistant is an LPA with its chip, for the time of one command.
type assistant struct {
	*lpa.LPA
	card *euicc.Card
}

func (f lpaFlags) open() (*assistant, error) {
	card, err := euicc.Open(f.EUICC)
	if err != nil {
		return nil, err
	}
	a, err := f.assistant(card)
	if err != nil {
		return nil, errors.Join(err, card.Close())
	}
	return a, nil
}

func (f lpaFlags) assistant(card *euicc.Card) (*assistant, error) {
	roots, err := pki.NewRoots(card.CIs()...)
	if err != nil {
		return nil, err
	}
	trust := lpa.Trust{Roots: roots}
	for _, name := range f.CI {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		cis, err := pki.ParseCertificates(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, ci := range cis {
			if err := roots.Add(ci); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for _, name := range f.TLSCA {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if trust.Extra == nil {
			trust.Extra = x509.NewCertPool()
		}
		if !trust.Extra.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", name)
		}
	}
	if f.Connect != "" {
		trust.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, f.Connect)
		}
	}
	chip, err := lpa.OpenChip(card)
	if err != nil {
		return nil, err
	}
	// Who names a CI or an authority on the command line means it, whether the
	// chip lists it or not.
	return &assistant{&lpa.LPA{
		Chip: chip, HTTP: lpa.NewHTTPClient(trust), ASN1: f.ASN1, AnyCI: len(f.CI)+len(f.TLSCA) > 0,
	}, card}, nil
}

func (a *assistant) Close() error { return a.card.Close() }

// with opens the chip, runs what the command does on it and says what went
// wrong in the form that was asked for.
func (f lpaFlags) with(ctx context.Context, run func(context.Context, *assistant) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	a, err := f.open()
	if err != nil {
		return err
	}
	err = run(ctx, a)
	if closed := a.Close(); err == nil {
		return closed
	}
	return f.failed(err)
}

// lpaFailure is how an error is told in JSON.
type lpaFailure struct {
	Error     string         `json:"error"`
	Step      lpa.Step       `json:"step,omitempty"`
	Cancelled *int64         `json:"cancel_reason,omitempty"`
	Explained *explain.Entry `json:"explained,omitempty"`
}

func (f lpaFlags) failed(err error) error {
	if _, said := errors.AsType[exitError](err); said {
		return err
	}
	entry, known := lpa.Explain(err)
	if !f.JSON {
		fmt.Fprintln(os.Stderr, "godwit:", err)
		if known {
			fmt.Fprint(os.Stderr, entry)
		}
		return exitError(exitFailed)
	}
	told := lpaFailure{Error: err.Error()}
	if e, ok := errors.AsType[*lpa.Error](err); ok {
		told.Step = e.Step
		if e.Cancelled != nil {
			told.Cancelled = new(int64(*e.Cancelled))
		}
	}
	if known {
		told.Explained = &entry
	}
	return errors.Join(printJSON(told), exitError(exitFailed))
}

type lpaDownloadCommand struct {
	Code             string  `arg:"" optional:"" help:"Activation code (LPA:1$…). Without one the default SM-DP+ of the eUICC is asked."`
	ConfirmationCode string  `help:"Confirmation code, if the order has one." placeholder:"CODE"`
	SMDS             *string `name:"smds" help:"Download what this SM-DS announces; empty: the eUICC's root SM-DS." placeholder:"HOST"`
	Enable           bool    `help:"Enable the profile afterwards."`
	Yes              bool    `short:"y" help:"Agree to everything."`
}

// lpaDownload is a download in JSON.
type lpaDownload struct {
	ICCID         ident.ICCID `json:"iccid"`
	Name          string      `json:"name"`
	Provider      string      `json:"service_provider"`
	Class         string      `json:"class"`
	AID           string      `json:"aid"`
	Address       string      `json:"smdp_address"`
	TransactionID string      `json:"transaction_id"`
	Notified      bool        `json:"notified"`
	Enabled       bool        `json:"enabled"`
	Steps         []lpaStep   `json:"steps"`
}

type lpaStep struct {
	Step  lpa.Step `json:"step"`
	MS    float64  `json:"ms"`
	About string   `json:"about,omitempty"`
	Error string   `json:"error,omitempty"`
}

func (c lpaDownloadCommand) Run(ctx context.Context, l *lpaCommand) error {
	if c.Code != "" && c.SMDS != nil {
		return fmt.Errorf("an activation code says where the profile is; --smds asks elsewhere: give one of them")
	}
	return l.with(ctx, func(ctx context.Context, a *assistant) error {
		requests, err := c.requests(ctx, l, a)
		if err != nil {
			return err
		}
		out := []lpaDownload{}
		for _, q := range requests {
			d, err := c.download(ctx, l, a, q)
			if err != nil {
				return err
			}
			out = append(out, *d)
		}
		if !l.JSON {
			if len(out) == 0 {
				fmt.Fprintln(stdout, "Nothing waits for this eUICC.")
			}
			return nil
		}
		if c.SMDS == nil {
			return printJSON(out[0])
		}
		return printJSON(out)
	})
}

// requests returns what is to be downloaded.
func (c lpaDownloadCommand) requests(ctx context.Context, l *lpaCommand, a *assistant) ([]lpa.Request, error) {
	if c.SMDS != nil {
		events, err := a.Events(ctx, *c.SMDS)
		if err != nil {
			return nil, err
		}
		var list []lpa.Request
		for _, e := range events {
			list = append(list, lpa.FromEvent(e))
		}
		return list, nil
	}
	if c.Code == "" {
		return []lpa.Request{{}}, nil
	}
	code, err := rsp.ParseActivationCode(c.Code)
	if err != nil {
		return nil, err
	}
	// The code says whether the order has a confirmation code, so that nobody
	// comes to the server without one. SGP.22 v2.5, 4.1.
	if code.CodeRequired && c.ConfirmationCode == "" && !c.asks(l) {
		return nil, fmt.Errorf("the activation code says that the order has a confirmation code: give it with --confirmation-code")
	}
	return []lpa.Request{lpa.FromActivationCode(code)}, nil
}

// asks reports whether there is somebody to ask.
func (c lpaDownloadCommand) asks(l *lpaCommand) bool {
	return !l.JSON && !c.Yes && isatty.IsTerminal(os.Stdin.Fd())
}

func (c lpaDownloadCommand) download(ctx context.Context, l *lpaCommand, a *assistant, q lpa.Request) (*lpaDownload, error) {
	d := &lpaDownload{Steps: []lpaStep{}}
	a.Progress = func(p lpa.Progress) {
		s := lpaStep{Step: p.Step, MS: float64(p.Took.Microseconds()) / 1000, About: p.About}
		mark := "  "
		if p.Err != nil {
			s.Error, mark = p.Err.Error(), "! "
		}
		d.Steps = append(d.Steps, s)
		if !l.JSON {
			fmt.Fprintf(stdout, "%s%-24s %8.1f ms  %s\n", mark, p.Step, s.MS, p.About)
		}
	}
	in := bufio.NewReader(os.Stdin)
	ask := c.asks(l)
	q.Consent = func(_ context.Context, o *lpa.Offer) (lpa.Decision, error) {
		if !l.JSON {
			fmt.Fprintf(stdout, "%s offers %q of %q, ICCID %s (%s)\n", o.Address, o.Metadata.Name, o.Metadata.ServiceProvider, o.Metadata.ICCID, o.Metadata.Class)
			if o.RulesConsent {
				fmt.Fprintln(stdout, "Its policy rules need your consent: it cannot be disabled or deleted by you alone.")
			}
		}
		if !ask {
			return lpa.Accept, nil
		}
		answer, err := question(in, "Download it? [y/N, l for later] ")
		if err != nil {
			return lpa.Postpone, err
		}
		switch strings.ToLower(answer) {
		case "y", "yes":
			return lpa.Accept, nil
		case "l", "later":
			return lpa.Postpone, nil
		}
		return lpa.Reject, nil
	}
	q.ConfirmationCode = func(context.Context, *lpa.Offer) (string, error) {
		if c.ConfirmationCode != "" || !ask {
			return c.ConfirmationCode, nil
		}
		return question(in, "Confirmation code: ")
	}
	r, err := a.Download(ctx, q)
	if err != nil {
		return nil, err
	}
	d.ICCID, d.Name, d.Provider, d.Class = r.Metadata.ICCID, r.Metadata.Name, r.Metadata.ServiceProvider, r.Metadata.Class.String()
	d.AID, d.Address, d.TransactionID, d.Notified = fmt.Sprintf("%X", r.AID), r.Address, r.TransactionID.String(), r.NotifyError == nil
	if r.NotifyError != nil && !l.JSON {
		fmt.Fprintf(os.Stderr, "The profile is installed; the server could not be told yet: %v\n", r.NotifyError)
	}
	if c.Enable {
		if err := a.Chip.Enable(rsp.Selector{ICCID: d.ICCID}, false); err != nil {
			return nil, err
		}
		d.Enabled = true
		if _, err := a.Notify(ctx); err != nil {
			return nil, err
		}
	}
	if !l.JSON {
		fmt.Fprintf(stdout, "Installed %s.\n", d.ICCID)
	}
	return d, nil
}

// question asks at the terminal and returns the line that was typed.
func question(in *bufio.Reader, text string) (string, error) {
	fmt.Fprint(stdout, text)
	line, err := in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}

type lpaEventsCommand struct {
	Address string `arg:"" optional:"" help:"SM-DS; default: the eUICC's root SM-DS."`
}

func (c lpaEventsCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(ctx context.Context, a *assistant) error {
		events, err := a.Events(ctx, c.Address)
		if err != nil {
			return err
		}
		if l.JSON {
			return printJSON(append([]rsp.EventEntry{}, events...))
		}
		for _, e := range events {
			fmt.Fprintln(stdout, e.ServerAddress, e.EventID)
		}
		return nil
	})
}
