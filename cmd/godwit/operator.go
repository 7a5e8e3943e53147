package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"godwit/smdp"
)

// operatorCommand looks after who may order over ES2+.
type operatorCommand struct {
	Add  operatorAddCommand  `cmd:"" help:"Let an operator order profiles, by its client certificate."`
	List operatorListCommand `cmd:"" help:"List operators."`
}

type operatorAddCommand struct {
	dataFlags
	Name            string   `required:"" help:"Name for people."`
	Requester       string   `required:"" help:"functionRequesterIdentifier of its calls."`
	Certificate     string   `type:"existingfile" xor:"certificate" required:"" help:"Its client certificate, PEM or DER. Its key is remembered, so that a renewal with the same key is known." placeholder:"FILE"`
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
	fmt.Printf("operator %s (%s) may order %s\n", o.Name, o.ID, strings.Join(o.Types, ", "))
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
		fmt.Printf("%-20s %-20s %-20s %s, orders %s\n", o.ID, o.Requester, o.Name, known, strings.Join(o.Types, ", "))
	}
	return nil
}
