package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// tryReach runs the program that says whether the network is there. It has the
// EID and the eIM's address in its environment, and as long as the trial of the
// new profile lasts.
func (a *agent) tryReach(ctx context.Context, eim string) error {
	c := exec.CommandContext(ctx, a.Reach)
	c.Env = append(os.Environ(), "GODWIT_EID="+string(a.chip.EID()), "GODWIT_EIM_URL="+eim)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	c.WaitDelay = 5 * time.Second
	out, err := c.CombinedOutput()
	if err != nil {
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("--reach-command: %w: %s", err, cut(text))
	}
	return nil
}
