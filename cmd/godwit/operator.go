package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"godwit/fault"
	"godwit/smdp"
)

// operatorCommand looks after who may order over ES2+.
type operatorCommand struct {
	Add    operatorAddCommand    `cmd:"" help:"Let an operator order profiles, by its client certificate."`
	List   operatorListCommand   `cmd:"" help:"List operators."`
	Change operatorChangeCommand `cmd:"" help:"Change what an operator may order, where it is told of progress, or its certificate."`
	Remove operatorRemoveCommand `cmd:"" help:"Forget an operator: its certificate opens nothing any more."`
}

type operatorAddCommand struct {
	dataFlags
	Name            string   `required:"" help:"Name for people."`
	Requester       string   `required:"" help:"functionRequesterIdentifier of its calls."`
	Certificate     string   `type:"existingfile" xor:"certificate" required:"" help:"Its client certificate, PEM or DER. Its key is remembered, so that a renewal with the same key is known. This or --certificate-name." placeholder:"FILE"`
	CertificateName string   `xor:"certificate" required:"" help:"Common name or DNS name in certificates that an authority of the listener issues."`
	Types           []string `default:"*" help:"Profile types that it may order; * is every one."`
	Progress        string   `help:"Base URL of its ES2+ address, for progress calls." placeholder:"URL"`
}

func (c operatorAddCommand) Run(ctx context.Context) error {
	o := smdp.Operator{Name: c.Name, Requester: c.Requester, CertName: c.CertificateName, Types: c.Types, Progress: c.Progress}
	if c.Certificate != "" {
		certificate, err := readClientCertificate(c.Certificate)
		if err != nil {
			return err
		}
		o.KeyPin = smdp.KeyPin(certificate)
	}
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	if o, err = s.AddOperator(ctx, o); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "operator %s (%s) may order %s\n", o.Name, o.ID, strings.Join(o.Types, ", "))
	return nil
}

// readClientCertificate reads one certificate, PEM or DER.
func readClientCertificate(name string) (*x509.Certificate, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(content); block != nil {
		content = block.Bytes
	}
	certificate, err := x509.ParseCertificate(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return certificate, nil
}

type operatorListCommand struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c operatorListCommand) Run(ctx context.Context) error {
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	list, err := s.Operators(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	for _, o := range list {
		known := "key " + o.KeyPin[:min(16, len(o.KeyPin))] + "…"
		if o.KeyPin == "" {
			known = "name " + o.CertName
		}
		fmt.Fprintf(stdout, "%-20s %-20s %-20s %s, orders %s\n", o.ID, o.Requester, o.Name, known, strings.Join(o.Types, ", "))
	}
	return nil
}

type operatorChangeCommand struct {
	dataFlags
	Operator        string   `arg:"" help:"Its id or its functionRequesterIdentifier."`
	Name            *string  `help:"Name for people."`
	Certificate     string   `type:"existingfile" xor:"certificate" help:"Its new client certificate, PEM or DER; the former one counts no longer." placeholder:"FILE"`
	CertificateName string   `xor:"certificate" help:"Common name or DNS name in certificates that an authority of the listener issues; the former certificate counts no longer."`
	Types           []string `help:"Profile types that it may order; * is every one."`
	Progress        *string  `help:"Base URL of its ES2+ address, for progress calls; empty for none." placeholder:"URL"`
}

func (c operatorChangeCommand) Run(ctx context.Context) error {
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	o, err := s.OperatorNamed(ctx, c.Operator)
	if err != nil {
		return err
	}
	if c.Name != nil {
		o.Name = *c.Name
	}
	if c.Certificate != "" {
		certificate, err := readClientCertificate(c.Certificate)
		if err != nil {
			return err
		}
		o.KeyPin, o.CertName = smdp.KeyPin(certificate), ""
	}
	if c.CertificateName != "" {
		o.KeyPin, o.CertName = "", c.CertificateName
	}
	if len(c.Types) > 0 {
		o.Types = c.Types
	}
	if c.Progress != nil {
		o.Progress = *c.Progress
	}
	if err := s.ChangeOperator(ctx, o); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "operator %s (%s) may order %s\n", o.Name, o.ID, strings.Join(o.Types, ", "))
	return nil
}

type operatorRemoveCommand struct {
	dataFlags
	Operator string `arg:"" help:"Its id or its functionRequesterIdentifier."`
	Force    bool   `help:"Also with orders under way or stock of its own: the orders may still be downloaded, the stock stays unused."`
}

func (c operatorRemoveCommand) Run(ctx context.Context) error {
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	o, err := s.OperatorNamed(ctx, c.Operator)
	if err != nil {
		return err
	}
	err = s.RemoveOperator(ctx, o.ID, c.Force)
	if f, ok := fault.As(err); ok && f.Kind == fault.Conflict {
		return fmt.Errorf("%w; --force removes it all the same", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "operator %s (%s) is removed\n", o.Name, o.ID)
	return nil
}
