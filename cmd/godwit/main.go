// Godwit is an open eSIM platform in one binary: the Super SIM REST API, the
// SM-DP+ behind it, the Remote Manager API and the eIM behind that, and a
// software eUICC, an LPA, an agent and virtual devices to try it all with.
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
	"godwit/lab"
)

// version is set by the linker in releases.
var version = "dev"

// commands is the whole command line. Each command lives in a file of its own,
// named after it.
type commands struct {
	Config      kong.ConfigFlag    `help:"JSON file with flag values." type:"existingfile" placeholder:"FILE"`
	Serve       serveCommand       `cmd:"" help:"Run the server."`
	Demo        demoCommand        `cmd:"" help:"Do the whole job once, step by step, with a virtual device."`
	Credentials credentialsCommand `cmd:"" help:"Print, as JSON, where a server is and how to talk to it."`
	Profile     profileCommand     `cmd:"" help:"Look at profile packages: check, show, templates."`
	Stock       stockCommand       `cmd:"" help:"The SM-DP+'s profile types and stock."`
	Operator    operatorCommand    `cmd:"" help:"Who may order profiles over ES2+."`
	Order       orderCommand       `cmd:"" help:"Order profiles: many at a time, or one by one over ES2+."`
	Charge      chargeCommand      `cmd:"" help:"What profiles cost, and the ledger."`
	Card        cardCommand        `cmd:"" help:"SIMs that are made elsewhere: plastic cards and pre-installed profiles."`
	User        userCommand        `cmd:"" help:"Users of the Remote Manager API: add, list, roles, passwords."`
	Networks    networksCommand    `cmd:"" help:"The catalogue of mobile networks."`
	Privacy     privacyCommand     `cmd:"" help:"Delete personal data, of one device or by age, and leave a proof of it."`
	Core        coreCommand        `cmd:"" help:"The core network that serves Sims."`
	LPA         lpaCommand         `cmd:"" name:"lpa" help:"Download and manage profiles on a software eUICC."`
	Agent       agent.Command      `cmd:"" help:"Be the IPA on a device: enrol, poll the eIM, drive the eUICC, report."`
	EUICC       euiccCommand       `cmd:"" name:"euicc" help:"Make software eUICCs, and put them under other assistants."`
	PKI         pkiCommand         `cmd:"" name:"pki" help:"The certificates that the server stands for: make, import, show, issue, block."`
	Usage       usageCommand       `cmd:"" help:"Data usage of Sims."`
	Explain     explainCommand     `cmd:"" help:"Put a result code or a message into words."`
	Lab         labCommand         `cmd:"" help:"Virtual devices by the thousand, with faults from a seed: a sandbox, a load, and a judge."`
	Bench       benchCommand       `cmd:"" help:"Measure a server, and the floor of this machine."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

type versionCommand struct{}

func (versionCommand) Run() error {
	fmt.Fprintln(stdout, "godwit", version)
	return nil
}

// words stand in help texts under their names.
var words = kong.Vars{"fault_kinds": lab.KindNames()}

// Exit codes: done, refused or failed, wrong use.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	// The first signal asks for an orderly end; a second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	agent.Version = version
	var cli commands
	kctx := commandline.Parse("godwit", &cli, args, os.Stderr,
		kong.Description("An open eSIM platform: the Super SIM API with an SM-DP+, the Remote Manager API with an eIM, and a software eUICC, an LPA, an agent and virtual devices to try them with."),
		words,
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if kctx == nil {
		return exitUsage
	}
	err := kctx.Run()
	if err == nil {
		err = stdout.failure()
	}
	if err != nil {
		var code exitError
		if errors.As(err, &code) {
			return int(code)
		}
		fmt.Fprintln(os.Stderr, "godwit:", err)
		return exitFailed
	}
	return 0
}

// An exitError ends the program with a code after everything that is to be said
// has been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }
