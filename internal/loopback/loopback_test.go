package loopback

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const asOther = "GODWIT_TEST_LOOPBACK"

// many are more than could be drawn without a port coming twice: of 22,000 by
// chance eight would.
const many = 300

// TestTake has two processes take hundreds of ports each: none comes twice, and
// those of a process that has ended can be had again.
func TestTake(t *testing.T) {
	l, err := net.Listen("tcp", marks+"0")
	if err != nil {
		t.Skipf("%s skipped: this machine has no loopback network beside 127.0.0.1: %v", t.Name(), err)
	}
	l.Close()
	var mine []string
	for range many {
		mine = append(mine, Take(t))
	}
	if os.Getenv(asOther) != "" {
		os.Stdout.WriteString("took " + strings.Join(mine, " ") + "\n")
		return
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTake$")
	other.Env = append(os.Environ(), asOther+"=1")
	out, err := other.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "took ")
	text, _, _ = strings.Cut(text, "\n")
	theirs := strings.Fields(text)
	if len(theirs) != many {
		t.Fatalf("the other process took %d ports: %s", len(theirs), out)
	}
	all := slices.Sorted(slices.Values(slices.Concat(mine, theirs)))
	if n := len(slices.Compact(all)); n != 2*many {
		t.Errorf("of %d ports %d are different", 2*many, n)
	}
}
