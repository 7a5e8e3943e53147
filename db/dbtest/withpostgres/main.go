// Withpostgres runs a command with a PostgreSQL server for tests, so that the
// test processes of a whole run share one. Where none is installed it runs the
// command all the same, and the tests say by name what they skipped.
//
// It lets each test process run for half an hour instead of the ten minutes that
// are go test's own: while many run at once, those that start servers and kill
// them take long. A -timeout of the command's own prevails.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"godwit/db/dbtest/server"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: withpostgres COMMAND …")
		os.Exit(2)
	}
	os.Exit(run(os.Args[1:]))
}

func run(command []string) int {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace("-timeout=30m "+os.Getenv("GOFLAGS")))
	if os.Getenv(server.Variable) == "" {
		s, err := server.Start()
		switch {
		case err == nil:
			defer s.Stop()
			cmd.Env = append(cmd.Env, server.Variable+"="+s.URL)
		case server.IsAbsent(err):
			fmt.Fprintln(os.Stderr, "withpostgres:", err)
		default:
			fmt.Fprintln(os.Stderr, "withpostgres:", err)
			return 1
		}
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpostgres:", err)
		return 1
	}
	return 0
}
