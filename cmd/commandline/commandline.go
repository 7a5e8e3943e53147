// Package commandline is what the programs have in common: how they take flags
// from arguments, environment and a file, how they describe them, and what they
// say of those that are wrong.
package commandline

import (
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// Parse reads args into a command line, whose name is the program's and its
// environment's: flags have twins GODWIT_… there. What is wrong is written to
// problems, with where to read on; there is no context then.
func Parse(name string, cli any, args []string, problems io.Writer, more ...kong.Option) *kong.Context {
	parser, err := kong.New(cli, append([]kong.Option{
		kong.Name(name),
		kong.DefaultEnvars("GODWIT"),
		kong.Configuration(readConfig),
		kong.ValueFormatter(describe),
	}, more...)...)
	if err != nil {
		fmt.Fprintf(problems, "%s: %v\n", name, err)
		return nil
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(problems, "%s: %v\nRun \"%s --help\" for what there is.\n", name, err, command(name, err))
		return nil
	}
	return kctx
}

// command is the command that was meant, as far as it was understood.
func command(name string, err error) string {
	wrong, ok := errors.AsType[*kong.ParseError](err)
	if !ok || wrong.Context == nil {
		return name
	}
	for _, path := range wrong.Context.Path {
		if path.Command != nil {
			name = path.Command.FullPath()
		}
	}
	return name
}

// describe adds to the help of a flag its default, where the name of its value
// stands in the default's place.
func describe(v *kong.Value) string {
	if v.Flag == nil || v.Flag.PlaceHolder == "" || v.Default == "" {
		return kong.DefaultHelpValueFormatter(v)
	}
	more := *v
	more.Help += " Default: " + v.Default + "."
	return kong.DefaultHelpValueFormatter(&more)
}
