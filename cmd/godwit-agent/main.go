// Godwit-agent is the agent for devices in the field and nothing else: small,
// without a database, for every processor that Go knows. `godwit agent` is the
// same.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"godwit/agent"
	"godwit/cmd/commandline"
)

// version is set by the linker in releases.
var version = "dev"

type commands struct {
	Config  kong.ConfigFlag  `help:"JSON file with flag values." type:"existingfile" placeholder:"FILE"`
	Version kong.VersionFlag `help:"Print the version." env:"-"`
	agent.Command
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills

	var cli commands
	kctx := commandline.Parse("godwit-agent", &cli, args, os.Stderr,
		kong.Description("The IPA of a Godwit server on a device: polls its eIM, drives the eUICC, downloads profiles, reports."),
		kong.Vars{"version": "godwit-agent " + version},
	)
	if kctx == nil {
		return 2
	}
	agent.Version = version
	if err := cli.Command.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "godwit-agent:", err)
		return 1
	}
	return 0
}
