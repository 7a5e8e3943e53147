package main

import (
	"os"
	"testing"
)

// asProgram makes the test binary behave as the program itself, so that tests
// start, kill and start again real server processes.
const asProgram = "GODWIT_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}
