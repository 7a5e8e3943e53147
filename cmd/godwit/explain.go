package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"godwit/explain"
)

// explainCommand puts a code or a message into words.
type explainCommand struct {
	JSON bool     `name:"json" help:"Print JSON."`
	What []string `arg:"" optional:"" passthrough:"" help:"A code (8.2.6/3.8, 83007, install 12, authenticate 6, cancel 3, pe 9, sw 6985) or a message in hexadecimal or base64; - reads the message from standard input."`
}

// Help shows what can be asked.
func (explainCommand) Help() string {
	return `Examples:
  godwit explain 8.2.6/3.8          a status code of SGP.22
  godwit explain install 5 12       the result of an installation: command and reason
  godwit explain pe 9               the status of a profile element
  godwit explain enable 2           the result of a function of the eUICC
  godwit explain 83007              a code of the API
  godwit explain BF37…              a message, as hexadecimal or base64
  godwit explain - < message.txt    the same from a file`
}

// maxPasted bounds what is read from standard input.
const maxPasted = 16 << 20

func (c explainCommand) Run() error {
	return c.run(os.Stdin, stdout, os.Stderr)
}

func (c explainCommand) run(in io.Reader, out, problems io.Writer) error {
	words := c.What
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) > 0 && words[len(words)-1] == "--json" { // typed last, as people do
		words, c.JSON = words[:len(words)-1], true
	}
	text := strings.Join(words, " ")
	if text == "" {
		fmt.Fprintln(problems, "godwit: what is to be explained? Give a code such as 8.2.6/3.8, or a message; see godwit explain --help")
		return exitError(exitUsage)
	}
	if text == "-" {
		content, err := io.ReadAll(io.LimitReader(in, maxPasted))
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		text = string(content)
	}
	if entries := explain.Find(text); len(entries) > 0 {
		return c.printEntries(out, entries)
	}
	b, err := explain.Decode(text)
	if err != nil && !utf8.ValidString(text) {
		b, err = []byte(text), nil // a file of DER
	}
	if err == nil {
		list, err := explain.Message(b)
		if err == nil && (explain.Known(list) || len(b) > 4) {
			return c.printMessage(out, list)
		}
	}
	return c.unknown(out, problems, text)
}

func (c explainCommand) printEntries(out io.Writer, entries []explain.Entry) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(entries)
	}
	for i, e := range entries {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprint(out, e)
	}
	return nil
}

func (c explainCommand) printMessage(out io.Writer, list []explain.Node) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(list)
	}
	_, err := io.WriteString(out, explain.Tree(list))
	return err
}

// unknown says that nothing is known, and what may have been meant.
func (c explainCommand) unknown(out, problems io.Writer, text string) error {
	near := explain.Suggest(text, 6)
	if c.JSON {
		if near == nil {
			near = []explain.Entry{}
		}
		if err := json.NewEncoder(out).Encode(map[string]any{"unknown": text, "suggestions": near}); err != nil {
			return err
		}
		return exitError(exitFailed)
	}
	if len(text) > 60 {
		text = text[:60] + "…"
	}
	fmt.Fprintf(problems, "godwit: nothing is known about %q: it is no code, and no whole message in hexadecimal or base64\n", text)
	for _, e := range near {
		fmt.Fprintf(problems, "  perhaps  %-16s %s\n", e.Code, e.Title)
	}
	return exitError(exitFailed)
}
