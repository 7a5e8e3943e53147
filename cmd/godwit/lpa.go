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
	EUICC   string        `name:"euicc" required:"" type:"existingdir" help:"Directory of the software eUICC." placeholder:"DIR"`
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
		requests, err := c.requests(ctx, a)
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
				fmt.Println("Nothing waits for this eUICC.")
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
func (c lpaDownloadCommand) requests(ctx context.Context, a *assistant) ([]lpa.Request, error) {
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
	q := lpa.FromActivationCode(code)
	return []lpa.Request{q}, nil
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
			fmt.Printf("%s%-24s %8.1f ms  %s\n", mark, p.Step, s.MS, p.About)
		}
	}
	in := bufio.NewReader(os.Stdin)
	ask := !l.JSON && !c.Yes && isatty.IsTerminal(os.Stdin.Fd())
	q.Consent = func(_ context.Context, o *lpa.Offer) (lpa.Decision, error) {
		if !l.JSON {
			fmt.Printf("%s offers %q of %q, ICCID %s (%s)\n", o.Address, o.Metadata.Name, o.Metadata.ServiceProvider, o.Metadata.ICCID, o.Metadata.Class)
			if o.RulesConsent {
				fmt.Println("Its policy rules need your consent: it cannot be disabled or deleted by you alone.")
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
		fmt.Printf("Installed %s.\n", d.ICCID)
	}
	return d, nil
}

// question asks at the terminal and returns the line that was typed.
func question(in *bufio.Reader, text string) (string, error) {
	fmt.Print(text)
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
			fmt.Println(e.ServerAddress, e.EventID)
		}
		return nil
	})
}

type lpaListCommand struct{}

// lpaProfile is a profile in JSON.
type lpaProfile struct {
	ICCID    ident.ICCID `json:"iccid"`
	AID      string      `json:"aid"`
	State    string      `json:"state"`
	Name     string      `json:"name"`
	Provider string      `json:"service_provider"`
	Nickname string      `json:"nickname,omitempty"`
	Class    string      `json:"class"`
	PPR1     bool        `json:"ppr1,omitempty"` // cannot be disabled
	PPR2     bool        `json:"ppr2,omitempty"` // cannot be deleted
}

func (lpaListCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(_ context.Context, a *assistant) error {
		list, err := a.Chip.Profiles(rsp.Selector{})
		if err != nil {
			return err
		}
		out := []lpaProfile{}
		for _, p := range list {
			out = append(out, profileOf(p))
		}
		if l.JSON {
			return printJSON(out)
		}
		if len(out) == 0 {
			fmt.Println("No profiles.")
		}
		for _, p := range out {
			fmt.Printf("%-20s  %-8s  %-11s  %s", p.ICCID, p.State, p.Class, p.Name)
			if p.Nickname != "" {
				fmt.Printf(" (%s)", p.Nickname)
			}
			fmt.Println()
		}
		return nil
	})
}

func profileOf(p rsp.ProfileInfo) lpaProfile {
	out := lpaProfile{
		ICCID: p.ICCID, AID: fmt.Sprintf("%X", p.AID), State: "disabled", Name: value(p.Name), Provider: value(p.ServiceProvider),
		Nickname: value(p.Nickname), Class: rsp.ClassOperational.String(),
	}
	if p.Enabled != nil && *p.Enabled {
		out.State = "enabled"
	}
	if p.Class != nil {
		out.Class = p.Class.String()
	}
	if p.PPRs != nil {
		out.PPR1, out.PPR2 = *p.PPRs&rsp.PPR1 != 0, *p.PPRs&rsp.PPR2 != 0
	}
	return out
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// lpaChange is a command that changes one profile and reports it.
type lpaChange struct {
	ICCID string `arg:"" name:"iccid" help:"The profile: its ICCID, or the beginning of it if no other begins so."`
	Quiet bool   `name:"no-notify" help:"Leave the notifications in the eUICC."`
}

// change finds the profile, changes it and delivers the notifications.
func (c lpaChange) change(ctx context.Context, l *lpaCommand, done string, change func(*lpa.Chip, rsp.Selector) error) error {
	return l.with(ctx, func(ctx context.Context, a *assistant) error {
		iccid, err := find(a.Chip, c.ICCID)
		if err != nil {
			return err
		}
		if err := change(a.Chip, rsp.Selector{ICCID: iccid}); err != nil {
			return err
		}
		var deliveries []lpa.Delivery
		if !c.Quiet {
			if deliveries, err = a.Notify(ctx); err != nil {
				return err
			}
		}
		if l.JSON {
			return printJSON(struct {
				ICCID         ident.ICCID   `json:"iccid"`
				Result        string        `json:"result"`
				Notifications []lpaDelivery `json:"notifications"`
			}{iccid, done, deliveriesOf(deliveries)})
		}
		fmt.Printf("%s is %s.\n", iccid, done)
		return printDeliveries(deliveries)
	})
}

// find returns the ICCID of the one profile that begins with s.
func find(chip *lpa.Chip, s string) (ident.ICCID, error) {
	list, err := chip.Profiles(rsp.Selector{})
	if err != nil {
		return "", err
	}
	var found []ident.ICCID
	for _, p := range list {
		if string(p.ICCID) == s {
			return p.ICCID, nil
		}
		if strings.HasPrefix(string(p.ICCID), s) {
			found = append(found, p.ICCID)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("the eUICC has no profile whose ICCID begins with %s", s)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%d profiles have an ICCID that begins with %s: give more digits", len(found), s)
}

type lpaEnableCommand struct{ lpaChange }

func (c lpaEnableCommand) Run(ctx context.Context, l *lpaCommand) error {
	return c.change(ctx, l, "enabled", func(chip *lpa.Chip, s rsp.Selector) error { return chip.Enable(s, false) })
}

type lpaDisableCommand struct{ lpaChange }

func (c lpaDisableCommand) Run(ctx context.Context, l *lpaCommand) error {
	return c.change(ctx, l, "disabled", func(chip *lpa.Chip, s rsp.Selector) error { return chip.Disable(s, false) })
}

type lpaDeleteCommand struct{ lpaChange }

func (c lpaDeleteCommand) Run(ctx context.Context, l *lpaCommand) error {
	return c.change(ctx, l, "deleted", func(chip *lpa.Chip, s rsp.Selector) error { return chip.Delete(s) })
}

type lpaNicknameCommand struct {
	lpaChange
	Name string `arg:"" optional:"" help:"The name; none takes it away."`
}

func (c lpaNicknameCommand) Run(ctx context.Context, l *lpaCommand) error {
	c.Quiet = true // there is nothing to report
	done := fmt.Sprintf("named %q", c.Name)
	if c.Name == "" {
		done = "without a nickname"
	}
	return c.change(ctx, l, done, func(chip *lpa.Chip, s rsp.Selector) error { return chip.SetNickname(s.ICCID, c.Name) })
}

type lpaNotifications struct {
	List lpaNotificationsListCommand `cmd:"" default:"withargs" help:"List what waits."`
	Send lpaNotificationsSendCommand `cmd:"" help:"Deliver what waits."`
}

type lpaNotificationsListCommand struct{}

// lpaDelivery is a notification in JSON.
type lpaDelivery struct {
	Sequence  int64       `json:"seq"`
	Event     string      `json:"event"`
	ICCID     ident.ICCID `json:"iccid,omitempty"`
	Address   string      `json:"address"`
	Delivered bool        `json:"delivered"`
	Error     string      `json:"error,omitempty"`
}

func deliveryOf(n rsp.NotificationMetadata) lpaDelivery {
	return lpaDelivery{Sequence: n.Sequence, Event: n.Event.String(), ICCID: n.ICCID, Address: n.Address}
}

func deliveriesOf(list []lpa.Delivery) []lpaDelivery {
	out := []lpaDelivery{}
	for _, d := range list {
		told := deliveryOf(d.Metadata)
		told.Delivered = d.Err == nil
		if d.Err != nil {
			told.Error = d.Err.Error()
		}
		out = append(out, told)
	}
	return out
}

// printDeliveries prints what became of notifications.
func printDeliveries(list []lpa.Delivery) error {
	for _, d := range deliveriesOf(list) {
		fate := "delivered"
		if !d.Delivered {
			fate = "waits: " + d.Error
		}
		fmt.Printf("%6d  %-8s  %-20s  %s  %s\n", d.Sequence, d.Event, d.ICCID, d.Address, fate)
	}
	return nil
}

func (lpaNotificationsListCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(_ context.Context, a *assistant) error {
		list, err := a.Chip.Pending()
		if err != nil {
			return err
		}
		out := []lpaDelivery{}
		for _, n := range list {
			out = append(out, deliveryOf(n))
		}
		if l.JSON {
			return printJSON(out)
		}
		if len(out) == 0 {
			fmt.Println("Nothing waits.")
		}
		for _, n := range out {
			fmt.Printf("%6d  %-8s  %-20s  %s\n", n.Sequence, n.Event, n.ICCID, n.Address)
		}
		return nil
	})
}

type lpaNotificationsSendCommand struct {
	Wait bool `help:"Try again, with pauses, until everything is delivered or --timeout is over."`
}

func (c lpaNotificationsSendCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(ctx context.Context, a *assistant) error {
		send := a.Notify
		if c.Wait {
			send = a.NotifyUntil
		}
		list, err := send(ctx)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if l.JSON {
			err = printJSON(deliveriesOf(list))
		} else {
			err = printDeliveries(list)
		}
		for _, d := range list {
			if d.Err != nil {
				return errors.Join(err, fmt.Errorf("notification %d waits: %w", d.Metadata.Sequence, d.Err))
			}
		}
		return err
	})
}

type lpaInfoCommand struct{}

// lpaInfo is what the eUICC says of itself, in JSON.
type lpaInfo struct {
	EID             ident.EID `json:"eid"`
	DefaultDP       string    `json:"default_smdp,omitempty"`
	RootDS          string    `json:"root_smds,omitempty"`
	SVN             string    `json:"svn"`
	ProfileVersion  string    `json:"profile_version"`
	Firmware        string    `json:"firmware"`
	FreeNonVolatile uint32    `json:"free_nonvolatile"`
	FreeVolatile    uint32    `json:"free_volatile"`
	Verification    []string  `json:"ci_verification"`
	Signing         []string  `json:"ci_signing"`
	Capability      string    `json:"uicc_capability"`
	RSPCapability   string    `json:"rsp_capability"`
	SAS             string    `json:"sas_accreditation"`
}

func (lpaInfoCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(_ context.Context, a *assistant) error {
		eid, err := a.Chip.EID()
		if err != nil {
			return err
		}
		addresses, err := a.Chip.Addresses()
		if err != nil {
			return err
		}
		info, err := a.Chip.Info2()
		if err != nil {
			return err
		}
		out := lpaInfo{
			EID: eid, DefaultDP: addresses.DefaultDP, RootDS: addresses.RootDS, SVN: info.SVN.String(),
			ProfileVersion: info.ProfileVersion.String(), Firmware: info.Firmware.String(),
			FreeNonVolatile: info.Resource.FreeNonVolatile, FreeVolatile: info.Resource.FreeVolatile,
			Verification: hexList(info.Verification), Signing: hexList(info.Signing),
			Capability: fmt.Sprintf("%b", info.UICC), RSPCapability: fmt.Sprintf("%b", info.RSP), SAS: info.SASAccreditation,
		}
		if l.JSON {
			return printJSON(out)
		}
		for _, line := range [][2]string{
			{"EID", string(out.EID)}, {"default SM-DP+", out.DefaultDP}, {"root SM-DS", out.RootDS}, {"SGP.22", out.SVN},
			{"profile package", out.ProfileVersion}, {"firmware", out.Firmware}, {"free memory", fmt.Sprintf("%d octets", out.FreeNonVolatile)},
			{"CI, verification", strings.Join(out.Verification, " ")}, {"CI, signing", strings.Join(out.Signing, " ")},
		} {
			fmt.Printf("%-17s %s\n", line[0], line[1])
		}
		return nil
	})
}

func hexList(list [][]byte) []string {
	out := []string{}
	for _, b := range list {
		out = append(out, fmt.Sprintf("%X", b))
	}
	return out
}

type lpaChipCommand struct {
	DefaultSMDP lpaChipDefaultCommand `cmd:"" name:"default-smdp" help:"Set or clear the default SM-DP+."`
	Reset       lpaChipResetCommand   `cmd:"" help:"Delete profiles, or the default SM-DP+."`
}

type lpaChipDefaultCommand struct {
	Address string `arg:"" optional:"" help:"The address; none clears it."`
}

func (c lpaChipDefaultCommand) Run(ctx context.Context, l *lpaCommand) error {
	return l.with(ctx, func(_ context.Context, a *assistant) error {
		if c.Address != "" {
			if err := rsp.CheckAddress(c.Address); err != nil {
				return err
			}
		}
		if err := a.Chip.SetDefaultDP(c.Address); err != nil {
			return err
		}
		if l.JSON {
			return printJSON(map[string]string{"default_smdp": c.Address})
		}
		return nil
	})
}

type lpaChipResetCommand struct {
	Operational bool `help:"Delete the operational profiles."`
	Test        bool `help:"Delete the test profiles that were downloaded."`
	DefaultSMDP bool `name:"default-smdp" help:"Clear the default SM-DP+."`
}

func (c lpaChipResetCommand) Run(ctx context.Context, l *lpaCommand) error {
	var options rsp.ResetOptions
	for option, wanted := range map[rsp.ResetOptions]bool{
		rsp.ResetOperational: c.Operational, rsp.ResetFieldTest: c.Test, rsp.ResetDefaultDP: c.DefaultSMDP,
	} {
		if wanted {
			options |= option
		}
	}
	if options == 0 {
		fmt.Fprintln(os.Stderr, "godwit: say what goes: --operational, --test or --default-smdp")
		return exitError(exitUsage)
	}
	return l.with(ctx, func(ctx context.Context, a *assistant) error {
		if err := a.Chip.Reset(options); err != nil {
			return err
		}
		deliveries, err := a.Notify(ctx)
		if err != nil {
			return err
		}
		if l.JSON {
			return printJSON(deliveriesOf(deliveries))
		}
		return printDeliveries(deliveries)
	})
}
