package commandline

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// A config is the content of a file with the values of flags: one JSON object
// whose members are called like the flags.
type config struct {
	file   string
	values map[string]any
}

func readConfig(r io.Reader) (kong.Resolver, error) {
	c := config{file: "the configuration", values: map[string]any{}}
	if f, ok := r.(interface{ Name() string }); ok {
		c.file = f.Name()
	}
	var given map[string]any
	if err := json.NewDecoder(r).Decode(&given); err != nil {
		return nil, fmt.Errorf("%s is not a JSON object of flags and values: %w", c.file, err)
	}
	for name, value := range given {
		c.values[flagName(name)] = value
	}
	return c, nil
}

// flagName lets members have underscores where flags have hyphens.
func flagName(member string) string { return strings.ReplaceAll(member, "_", "-") }

// Validate refuses members that no command has a flag for: what is misspelt would
// be left out without a word.
func (c config) Validate(app *kong.Application) error {
	known := map[string]bool{}
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			known[f.Name] = true
		}
		for _, child := range n.Children {
			walk(child)
		}
	}
	walk(app.Node)
	for name := range c.values {
		if !known[name] {
			return fmt.Errorf("%s: there is no flag --%s", c.file, name)
		}
	}
	return nil
}

// Resolve is the value that the file has for a flag.
func (c config) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	return c.values[flag.Name], nil
}
