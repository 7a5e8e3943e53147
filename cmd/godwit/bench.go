package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"godwit/bench"
)

// benchCommand measures. What it prints can be repeated by anyone with the
// same command.
type benchCommand struct {
	Download benchDownloadCommand `cmd:"" help:"Make downloads from a server on this machine."`
	API      benchAPICommand      `cmd:"" name:"api" help:"Read from the Super SIM API of a running server."`
	Poll     benchPollCommand     `cmd:"" help:"Poll the eIM of a server on this machine for eUICCs that nothing waits for."`
	Fill     benchFillCommand     `cmd:"" help:"Make Sims by the million in a data directory whose server does not run."`
	Order    benchOrderCommand    `cmd:"" help:"Order many profiles at once from a server on this machine, and wait until all are available."`
	Limit    benchLimitCommand    `cmd:"" help:"Measure what this machine can do at best: the floor of one download."`
	Floor    benchFloorCommand    `cmd:"" hidden:""`
}

// benchFloorCommand is the process that `bench limit` starts.
type benchFloorCommand struct {
	PackageSize int `required:""`
}

func (c benchFloorCommand) Run(ctx context.Context) error {
	useMemory() // as the server that is measured against it
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the parent's end is ours
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return bench.ServeFloor(ctx, c.PackageSize, os.Stdout)
}

type benchLimitCommand struct {
	Downloads   int  `help:"Downloads at the floor, each of three rounds." default:"1000"`
	Clients     int  `help:"Downloads at a time." default:"8"`
	NewTLS      bool `help:"A new TLS connection for each call."`
	PackageSize int  `help:"Octets of the profile package; the type lte-5g has some 4,500." default:"4500"`
	JSON        bool `name:"json" help:"Print one JSON object."`
}

func (c benchLimitCommand) Run(ctx context.Context) error {
	limits, err := measureLimits(ctx, c.PackageSize, c.Downloads, c.Clients, !c.NewTLS)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(stdout).Encode(limits)
	}
	fmt.Fprintf(stdout, `one download at the floor  %8.3f ms of processor time (JSON, cryptography and TLS; no storage, no rules)
ECDSA P-256 sign           %8.1f µs
ECDSA P-256 verify         %8.1f µs
one-time key and ECDH      %8.1f µs
TLS handshake, both sides  %8.1f µs
package of %d octets    %8.1f µs
`, limits.FloorCPU, limits.Sign, limits.Verify, limits.Agreement, limits.TLSHandshake, c.PackageSize, limits.Package)
	return nil
}

// measureLimits measures the primitives here and the floor in a process of its
// own: the median of three rounds after one that does not count.
func measureLimits(ctx context.Context, packageSize, downloads, clients int, keep bool) (*bench.Limits, error) {
	limits, err := bench.Primitives(packageSize)
	if err != nil {
		return nil, err
	}
	floor, err := startFloor(ctx, packageSize)
	if err != nil {
		return nil, err
	}
	defer floor.Stop()
	if _, err := floor.CPU(ctx, max(downloads/4, clients), clients, keep); err != nil {
		return nil, err
	}
	rounds := make([]float64, 3)
	for i := range rounds {
		if rounds[i], err = floor.CPU(ctx, downloads, clients, keep); err != nil {
			return nil, err
		}
	}
	limits.FloorCPU = max(min(rounds[0], rounds[1]), min(max(rounds[0], rounds[1]), rounds[2]))
	return limits, nil
}

// startFloor starts the floor in a process of its own. Its profile packages have
// so many octets.
func startFloor(ctx context.Context, packageSize int) (*bench.FloorProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, self, "bench", "floor", fmt.Sprint("--package-size=", packageSize))
	command.Stderr = os.Stderr
	return bench.StartFloor(command)
}
