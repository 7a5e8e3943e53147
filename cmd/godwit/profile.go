package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"godwit/saip"
)

// profileCommand looks at profile packages, without a server.
type profileCommand struct {
	Check     profileCheckCommand     `cmd:"" help:"Validate a profile package: what an eUICC would refuse, and what would not work."`
	Show      profileShowCommand      `cmd:"" help:"Show a profile package as a tree, without its keys and codes."`
	Templates profileTemplatesCommand `cmd:"" help:"List the templates that come with the program, or write one to a file."`
}

// readPackage reads a package from a file, or from standard input for "-": DER,
// or DER as hexadecimal digits or base64.
func readPackage(path string) (*saip.Package, error) {
	var content []byte
	var err error
	if path == "-" {
		content, err = io.ReadAll(os.Stdin)
	} else {
		content, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	text := strings.Join(strings.Fields(string(content)), "")
	if der, err := hex.DecodeString(text); err == nil && len(der) > 0 {
		content = der
	} else if der, err := base64.StdEncoding.DecodeString(text); err == nil && len(der) > 0 {
		content = der
	}
	return saip.Parse(content)
}

type profileCheckCommand struct {
	File string `arg:"" help:"DER file, hexadecimal or base64; - for standard input."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// A checkResult is what check prints as JSON.
type checkResult struct {
	Valid        bool           `json:"valid"`
	ICCID        string         `json:"iccid"`
	Octets       int            `json:"octets"`
	Memory       int            `json:"memory"`
	Capabilities []string       `json:"capabilities"`
	Templates    []string       `json:"templates"`
	Problems     []checkProblem `json:"problems"`
}

type checkProblem struct {
	PE      int    `json:"pe"`
	Element string `json:"element"`
	Rule    string `json:"rule"`
	Text    string `json:"text"`
	Warning bool   `json:"warning"`
}

// Run ends with 1 if an eUICC would refuse the package.
func (c profileCheckCommand) Run() error {
	p, err := readPackage(c.File)
	if err != nil {
		return err
	}
	problems := p.Validate()
	refused := len(saip.Refusals(problems)) > 0
	needs := p.Needs()
	if c.JSON {
		result := checkResult{
			Valid: !refused, ICCID: p.ICCID(), Octets: len(p.Bytes()), Memory: needs.Memory,
			Capabilities: []string{}, Templates: needs.Templates, Problems: []checkProblem{},
		}
		for _, n := range needs.Capabilities {
			result.Capabilities = append(result.Capabilities, n.String())
		}
		for _, x := range problems {
			element := "package"
			if x.Kind != 0 {
				element = x.Kind.String()
			}
			result.Problems = append(result.Problems, checkProblem{x.PE, element, x.Rule, x.Text, x.Warning})
		}
		if err := json.NewEncoder(stdout).Encode(result); err != nil {
			return err
		}
	} else {
		for _, x := range problems {
			severity := "refused"
			if x.Warning {
				severity = "warning"
			}
			fmt.Fprintf(stdout, "%s  %v\n", severity, x)
		}
		verdict := "an eUICC takes it"
		if refused {
			verdict = "an eUICC refuses it"
		}
		fmt.Fprintf(stdout, "ICCID %s, %d octets, %d elements: %s\n", p.ICCID(), len(p.Bytes()), len(p.Elements), verdict)
	}
	if refused {
		return exitError(exitFailed)
	}
	return nil
}

type profileShowCommand struct {
	File string `arg:"" help:"DER file, hexadecimal or base64; - for standard input."`
}

func (c profileShowCommand) Run() error {
	p, err := readPackage(c.File)
	if err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, saip.Tree(p))
	return err
}

type profileTemplatesCommand struct {
	Name string `arg:"" optional:"" help:"Template to write out."`
	Out  string `help:"File to write it to; it must not exist. Standard output without it." placeholder:"FILE"`
	JSON bool   `name:"json" help:"Print one JSON object for each template."`
}

func (c profileTemplatesCommand) Run() error {
	if c.Name != "" {
		return c.write()
	}
	encoder := json.NewEncoder(stdout)
	for _, t := range saip.Templates() {
		if c.JSON {
			if err := encoder.Encode(map[string]any{"name": t.Name, "octets": len(t.Bytes()), "fields": t.Fields()}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(stdout, "%s  %d octets\n  takes %s\n", t.Name, len(t.Bytes()), strings.Join(t.Fields(), " "))
	}
	return nil
}

func (c profileTemplatesCommand) write() error {
	var names []string
	for _, t := range saip.Templates() {
		names = append(names, t.Name)
		if t.Name != c.Name {
			continue
		}
		if c.Out == "" {
			_, err := io.Copy(os.Stdout, bytes.NewReader(t.Bytes()))
			return err
		}
		f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if _, err := f.Write(t.Bytes()); err != nil {
			f.Close()
			return err
		}
		return f.Close()
	}
	return fmt.Errorf("there is no template %q; there are %s", c.Name, strings.Join(names, ", "))
}
