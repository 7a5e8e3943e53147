package main

import (
	"os/exec"
	"syscall"
)

// endWithTest has a program killed when the test process ends, even one that was
// killed itself and could not clean up.
func endWithTest(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
