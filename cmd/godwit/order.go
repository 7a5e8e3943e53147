package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"godwit/es2"
	"godwit/explain"
	"godwit/ident"
	"godwit/rsp"
)

// orderCommand speaks ES2+ to an SM-DP+, ours or another's.
type orderCommand struct {
	Bulk     orderBulkCommand     `cmd:"" help:"Order up to a million profiles over the Super SIM API, and get their activation codes."`
	Download orderDownloadCommand `cmd:"" help:"Take profiles out of stock (DownloadOrder)."`
	Confirm  orderConfirmCommand  `cmd:"" help:"Say how a profile will be asked for (ConfirmOrder)."`
	Release  orderReleaseCommand  `cmd:"" help:"Allow the download of a confirmed profile (ReleaseProfile)."`
	Cancel   orderCancelCommand   `cmd:"" help:"End an order (CancelOrder)."`
}

// es2Flags say which SM-DP+ is spoken to, and as whom. On the machine of a
// server its data directory answers all of that.
type es2Flags struct {
	dataFlags
	Server      string `help:"Address of the SM-DP+; default: the one that runs in --data." placeholder:"https://HOST[:PORT]"`
	Certificate string `type:"existingfile" help:"Client certificate of the operator, PEM." placeholder:"FILE"`
	Key         string `type:"existingfile" help:"Its key, PEM." placeholder:"FILE"`
	CA          string `name:"ca" type:"existingfile" help:"Certificate that the server's must come from, PEM." placeholder:"FILE"`
	Requester   string `default:"test-operator" help:"functionRequesterIdentifier."`
	Call        string `help:"functionCallIdentifier; a call with the identifier of an earlier one is its retry. Default: a new one." placeholder:"ID"`
	JSON        bool   `name:"json" help:"Print the answer as JSON."`
}

// Validate holds a certificate and its key together.
func (f es2Flags) Validate() error {
	if (f.Certificate == "") != (f.Key == "") {
		return fmt.Errorf("--certificate and --key belong together: give both, or neither for the test operator of --data")
	}
	return nil
}

// connect returns a client and the header of its call.
func (f es2Flags) connect(ctx context.Context) (*es2.Client, rsp.RequestHeader, error) {
	header := rsp.RequestHeader{Requester: f.Requester, Call: f.Call}
	if header.Call == "" {
		header.Call = rand.Text()
	}
	if f.Server == "" {
		found, err := f.credentials(ctx)
		if err != nil {
			return nil, header, err
		}
		f.Server = found.ES9URL
		if f.Certificate == "" {
			f.Certificate, f.Key = found.OperatorCertificate, found.OperatorKey
		}
		if f.CA == "" {
			f.CA = found.CICertificate
		}
	}
	config := &tls.Config{}
	if f.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		if err != nil {
			return nil, header, fmt.Errorf("client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if f.CA != "" {
		content, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, header, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, header, fmt.Errorf("%s holds no certificate in PEM", f.CA)
		}
	}
	if !strings.Contains(f.Server, "://") {
		f.Server = "https://" + f.Server
	}
	return &es2.Client{URL: f.Server, Requester: f.Requester, HTTP: es2.NewHTTP(config)}, header, nil
}

type orderDownloadCommand struct {
	es2Flags
	Type  string      `help:"Profile type."`
	ICCID ident.ICCID `name:"iccid" help:"A certain profile."`
	EID   ident.EID   `name:"eid" help:"The eUICC that it is for."`
	Count int         `default:"1" help:"How many, with --type."`
}

func (c orderDownloadCommand) Validate() error {
	if c.Count < 1 || c.Count > 1 && c.ICCID != "" {
		return fmt.Errorf("--count is 1 or more, and 1 with --iccid")
	}
	if c.ICCID == "" && c.Type == "" {
		return errors.New("give --type, --iccid or both")
	}
	return c.es2Flags.Validate()
}

func (c orderDownloadCommand) Run(ctx context.Context) error {
	client, header, err := c.connect(ctx)
	if err != nil {
		return err
	}
	calls := make([]rsp.DownloadOrder, c.Count)
	for i := range calls {
		calls[i] = rsp.DownloadOrder{Header: header, Type: c.Type, ICCID: c.ICCID, EID: c.EID}
		if c.Count > 1 {
			calls[i].Header.Call = fmt.Sprintf("%s-%d", header.Call, i+1)
		}
	}
	answers, err := client.DownloadOrders(ctx, calls)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(answers)
	}
	for _, a := range answers {
		if err := a.Header.Err(); err != nil {
			return refused(err)
		}
		fmt.Fprintln(stdout, a.ICCID)
	}
	return nil
}

type orderConfirmCommand struct {
	es2Flags
	ICCID        ident.ICCID       `arg:"" name:"iccid" help:"The profile."`
	EID          ident.EID         `name:"eid" help:"The eUICC that it is for."`
	MatchingID   *ident.MatchingID `name:"matching-id" help:"Matching ID; the server makes one when there is none. Empty: the EID finds the profile."`
	Code         string            `help:"Confirmation code."`
	SMDS         string            `name:"smds" help:"SM-DS that is to tell the eUICC." placeholder:"HOST"`
	HoldDownload bool              `name:"hold" help:"Do not release the profile yet."`
}

func (c orderConfirmCommand) Run(ctx context.Context) error {
	client, header, err := c.connect(ctx)
	if err != nil {
		return err
	}
	answers, err := client.ConfirmOrders(ctx, []rsp.ConfirmOrder{{
		Header: header, ICCID: c.ICCID, EID: c.EID, MatchingID: c.MatchingID, ConfirmationCode: c.Code, SMDSAddress: c.SMDS, Release: !c.HoldDownload,
	}})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(answers[0])
	}
	if err := answers[0].Header.Err(); err != nil {
		return refused(err)
	}
	code := rsp.ActivationCode{Address: answers[0].SMDPAddress, MatchingID: answers[0].MatchingID, CodeRequired: c.Code != ""}
	fmt.Fprintln(stdout, code.QR())
	return nil
}

type orderReleaseCommand struct {
	es2Flags
	ICCID ident.ICCID `arg:"" name:"iccid" help:"The profile."`
}

func (c orderReleaseCommand) Run(ctx context.Context) error {
	client, header, err := c.connect(ctx)
	if err != nil {
		return err
	}
	answers, err := client.ReleaseProfiles(ctx, []rsp.ReleaseProfile{{Header: header, ICCID: c.ICCID}})
	if err != nil {
		return err
	}
	return c.settled(answers[0], answers[0].Header, "released")
}

type orderCancelCommand struct {
	es2Flags
	ICCID      ident.ICCID       `arg:"" name:"iccid" help:"The profile."`
	EID        ident.EID         `name:"eid" help:"The eUICC of the order, if it has one."`
	MatchingID *ident.MatchingID `name:"matching-id" help:"Matching ID of the order, to be sure."`
	Retire     bool              `help:"Take the profile out of stock for good."`
}

func (c orderCancelCommand) Run(ctx context.Context) error {
	client, header, err := c.connect(ctx)
	if err != nil {
		return err
	}
	final := rsp.FinalAvailable
	if c.Retire {
		final = rsp.FinalUnavailable
	}
	answers, err := client.CancelOrders(ctx, []rsp.CancelOrder{{Header: header, ICCID: c.ICCID, EID: c.EID, MatchingID: c.MatchingID, Final: final}})
	if err != nil {
		return err
	}
	return c.settled(answers[0], answers[0].Header, "cancelled")
}

// settled prints how a call without other results ended.
func (f es2Flags) settled(answer any, header rsp.ResponseHeader, done string) error {
	if f.JSON {
		if err := printJSON(answer); err != nil {
			return err
		}
		if header.Err() != nil {
			return exitError(exitFailed)
		}
		return nil
	}
	if err := header.Err(); err != nil {
		return refused(err)
	}
	fmt.Fprintln(stdout, done)
	return nil
}

// refused tells a failed function with what its code means and what to do.
func refused(err error) error {
	fmt.Fprintln(os.Stderr, "godwit:", err)
	if f, ok := rsp.AsFailure(err); ok {
		if entry, known := explain.Status(f.Subject, f.Reason); known {
			fmt.Fprint(os.Stderr, entry)
		}
	}
	return exitError(exitFailed)
}
